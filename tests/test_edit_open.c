/* SPDX-License-Identifier: MIT
 * What an edit refuses, it refuses before any pass of the model and before anything large is read;
 * a plan makes no pass at all.      SPEC §9.10 */
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>
#include "ref/job/edit.h"
#include "tests/cli.h"

/* ---- passes, counted ---- */

static size_t n_pass;
static enum pmet_status (*embed)(const struct pmet_ops *op, real *y, struct pmet_weight w, const int32_t *ids,
                                 size_t n_tok, struct pmet_error *err);

static enum pmet_status counted_embed(const struct pmet_ops *op, real *y, struct pmet_weight w,
                                      const int32_t *ids, size_t n_tok, struct pmet_error *err)
{
    n_pass++;
    return embed(op, y, w, ids, n_tok, err);
}

static void close_session(void *s)
{
    pmet_session_close(s);
}

static struct pmet_session *open_session(struct test *t, const char *dir)
{
    struct pmet_session *s = NULL;
    if (!CHECK_DONE(pmet_session_open(dir, PMET_DEVICE_CPU, 1, &s, &t->err)))
        return NULL;
    embed = s->op->embed;
    s->op->embed = counted_embed;
    n_pass = 0;
    return test_own(t, s, close_session);
}

/* A workbench whose edit lacks nothing but contexts. */
static struct pmet_edit_job ready(struct pmet_session *s)
{
    return (struct pmet_edit_job){.s = s,
                                  .method = &pmet_method_pmet,
                                  .request = {.facts = "facts.json",
                                              .stats = "s",
                                              .out = "out",
                                              .hparams = "hparams.json",
                                              .limit = 1,
                                              .seed = 1}};
}

static void make_refusable(void)
{
    char text[2048] = "{\"prompt\": \"{} is\", \"target_new\": \"Lima\", \"subject\": \"";
    cli_shell(
        "cp -r s one && rm one/*.0.mlp.fc_out.safetensors && "
        "cp -r s wide && cp s/*.0.mlp.fc_out.safetensors wide/transformer.h.1.mlp.fc_out.safetensors && "
        "cp -r s other && sed -i 's/\"fingerprint\":\"./\"fingerprint\":\"g/; "
        "s/\"weights\":\"./\"weights\":\"g/' other/*.1.mlp* && "
        "sed 's/v_lr/v_lrr/' hparams.json > bad.json && sed 's/\"layers\": \\[/&90, /' hparams.json > "
        "deep.json && echo '[\"{}\", \"no hole\"]' > holes.json && mkdir there && "
        "echo '{\"prompt\": \"Lima\", \"subject\": \"x\", \"target_new\": \"y\"}' > prompt.json && "
        "echo '{\"prompt\": \"{} is\"}' > lacks.json");
    for (size_t i = 0; i < 300; i++)
        strcat(text, "a b ");
    strcat(text, "\"}");
    test_write_file("long.json", text, strlen(text));
}

/* Each of the inputs, wrong alone: no token goes through the model. */
TEST(what_is_refused_is_refused_before_any_pass)
{
    static const struct {
        struct pmet_edit_request with;
        const char *message;
    } cases[] = {
        {{.out = "there"}, "there: exists; give --force to replace it"},
        {{.out = "s/out"}, "s/out: lies inside s, used for the statistics; expected a path apart from it"},
        {{.stats = "none"}, "none: found no folder; expected the statistics that pmet stats writes"},
        {{.stats = "one"}, "one: holds no statistics of \"transformer.h.0.mlp.fc_out\"; expected"},
        {{.stats = "wide"}, "wide/transformer.h.1.mlp.fc_out.safetensors: holds the moments of"},
        {{.stats = "other"},
         "other/transformer.h.1.mlp.fc_out.safetensors: statistics of another model (fingerprint g"},
        {{.hparams = "bad.json"}, "bad.json: unknown key \"v_lrr\""},
        {{.hparams = "deep.json"}, "deep.json: layers"},
        {{.hparams = "none"}, "none: open: No such file"},
        {{.contexts = "holes.json"}, "holes.json: group 0, template 1: found \"no hole\""},
        {{.contexts = "none"}, "none: open: No such file"},
        {{.facts = "none"}, "none: open: No such file"},
        {{.facts = "lacks.json"}, "lacks.json: record 0 (line 1)"},
        {{.facts = "prompt.json"}, "prompt.json: record 0 (line 1): prompt: found no \"{}\""},
        {{.facts = "long.json"}, "long.json: record 0 (line 1): row 0: found "},
    };
    cli_enter(t, "refused", "gptj-A");
    make_refusable();
    struct pmet_session *s = open_session(t, "m");
    for (size_t i = 0; s && i < sizeof cases / sizeof *cases; i++) {
        struct pmet_edit_job j = ready(s);
        const struct pmet_edit_request *r = &cases[i].with;
        j.request.out = r->out ? r->out : j.request.out;
        j.request.stats = r->stats ? r->stats : j.request.stats;
        j.request.hparams = r->hparams ? r->hparams : j.request.hparams;
        j.request.contexts = r->contexts;
        j.request.facts = r->facts ? r->facts : j.request.facts;
        if (!CHECK(pmet_edit_job_open(&j, &t->err) != PMET_OK) || !CHECK(n_pass == 0) ||
            !CHECK(strncmp(t->err.message, cases[i].message, strlen(cases[i].message)) == 0))
            test_fail(t, "case %zu: found \"%s\"; expected \"%s\"", i, t->err.message, cases[i].message);
        pmet_edit_job_free(&j);
        t->err = (struct pmet_error){PMET_OK, ""};
    }
}

/* The plan counts contexts that are not there by what bounds them, above what the written ones then
 * take; with those it makes no pass either. */
TEST(a_plan_makes_no_pass_and_bounds_the_contexts)
{
    struct pmet_edit_plan bound, exact;
    cli_enter(t, "plan", "gptj-A");
    struct pmet_session *s = open_session(t, "m");
    struct pmet_edit_job j = ready(s);
    j.request.limit = 3;
    if (s && CHECK_DONE(pmet_edit_job_open(&j, &t->err)) && CHECK(j.contexts_to_write)) {
        CHECK_DONE(pmet_edit_job_plan(&j, &bound, &t->err));
        CHECK(n_pass == 0 && j.contexts_to_write);
        CHECK_DONE(pmet_edit_job_contexts_write(&j, &t->err));
        CHECK(n_pass == 9 && !j.contexts_to_write); /* one batch: nine tokens behind "I", for all rows */
        CHECK_DONE(pmet_edit_job_plan(&j, &exact, &t->err));
        CHECK(n_pass == 9);
        CHECK(bound.n_row == exact.n_row && bound.n_token > exact.n_token);
        CHECK(bound.longest > exact.longest && bound.longest <= s->model->config.n_ctx);
        CHECK(bound.needs.flop_delta > exact.needs.flop_delta);
        CHECK(bound.needs.flop_keys > exact.needs.flop_keys);
    }
    pmet_edit_job_free(&j);
}

/* Rows that are only bounds are not refused for their length: the written ones may be shorter. */
TEST(a_bound_refuses_nothing)
{
    char text[2048] = "{\"prompt\": \"{} is\", \"target_new\": \"Lima\", \"subject\": \"";
    struct pmet_edit_plan plan;
    cli_enter(t, "bound", "gptj-A");
    struct pmet_session *s = open_session(t, "m");
    if (!s)
        return;
    struct pmet_edit_job j = ready(s);
    for (size_t i = 0; i < s->model->config.n_ctx - 16; i++)
        strcat(text, i ? " a" : "a");
    strcat(text, "\"}");
    test_write_file("long.json", text, strlen(text));
    j.request.facts = "long.json";
    CHECK_DONE(pmet_edit_job_open(&j, &t->err));
    CHECK_DONE(pmet_edit_job_plan(&j, &plan, &t->err));
    CHECK(plan.longest == s->model->config.n_ctx);
    pmet_edit_job_free(&j);
}

TEST(the_plan_says_that_contexts_are_bounds)
{
    static const char line[] = "edit --model m --facts facts.json --hparams hparams.json --limit 1 --dry-run";
    cli_enter(t, "says", "gptj-A");
    CHECK(cli(NULL, "%s --show 1", line) == 0);
    CHECK(strstr(cli_out(),
                 "\ncontexts  6, yet to be written by the model: rows, tokens, memory and time are "
                 "upper bounds\n") != NULL);
    CHECK(strstr(cli_out(), "\n  row 0  The capital") && strstr(cli_out(), "\n  KL     ") &&
          strstr(cli_out(), "\n  rows 1 to 5 wait for their contexts\n") && !strstr(cli_out(), "\n  row 1 "));
    CHECK_STR(cli_err(), "");
    CHECK(cli(NULL, "%s --json", line) == 0 && strstr(cli_out(), "\"contexts_to_write\": true"));
    CHECK(cli(NULL, "%s --json --contexts contexts.json", line) == 0 &&
          strstr(cli_out(), "\"contexts_to_write\": false"));
    CHECK(cli(NULL, "%s --contexts contexts.json", line) == 0 &&
          strstr(cli_out(), "\ncontexts  6, from contexts.json\n") && !strstr(cli_out(), "bound"));
}

/* ---- a model of 6 billion weights, all of them zero: files without blocks ---- */

enum { D = 4096, FF = 4 * D, LAYERS = 28, VOCAB = 50400 };
struct header {
    char text[65536];
    size_t n, offset;
};

static void add(struct header *h, size_t size, size_t n, size_t m, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
static void add(struct header *h, size_t size, size_t n, size_t m, const char *fmt, ...)
{
    char name[128];
    const size_t n_bytes = size * n * (m ? m : 1);
    va_list args;
    va_start(args, fmt);
    vsnprintf(name, sizeof name, fmt, args);
    va_end(args);
    h->n +=
        (size_t)snprintf(h->text + h->n, sizeof h->text - h->n, "%s\"%s\":{\"dtype\":\"F%zu\",\"shape\":[%zu",
                         h->n > 0 && h->text[h->n - 1] == '}' ? "," : "", name, 8 * size, n);
    if (m)
        h->n += (size_t)snprintf(h->text + h->n, sizeof h->text - h->n, ",%zu", m);
    h->n += (size_t)snprintf(h->text + h->n, sizeof h->text - h->n, "],\"data_offsets\":[%zu,%zu]}",
                             h->offset, h->offset + n_bytes);
    h->offset += n_bytes;
}

/* The header is filled up with blanks, so that data begin at a multiple of 8. */
static size_t header_bytes(const struct header *h)
{
    return (h->n + 2 + 7) / 8 * 8;
}

static void write_sparse(struct test *t, const struct header *h, const char *path)
{
    const size_t n = header_bytes(h);
    unsigned char size[8];
    for (size_t i = 0; i < 8; i++)
        size[i] = (unsigned char)(n >> 8 * i);
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(size, 1, 8, f) == 8 &&
          fprintf(f, "{%s%*s", h->text, (int)(n - h->n - 1), "}") == (int)n && fclose(f) == 0 &&
          truncate(path, (off_t)(8 + n + h->offset)) == 0);
}

static void make_large(struct test *t)
{
    struct header *h = test_alloc(t, sizeof *h);
    add(h, 2, VOCAB, D, "transformer.wte.weight");
    for (int l = 0; l < LAYERS; l++) {
        static const char *const att[] = {"q_proj", "k_proj", "v_proj", "out_proj"};
        for (size_t i = 0; i < 4; i++)
            add(h, 2, D, D, "transformer.h.%d.attn.%s.weight", l, att[i]);
        add(h, 2, D, 0, "transformer.h.%d.ln_1.weight", l);
        add(h, 2, D, 0, "transformer.h.%d.ln_1.bias", l);
        add(h, 2, FF, D, "transformer.h.%d.mlp.fc_in.weight", l);
        add(h, 2, FF, 0, "transformer.h.%d.mlp.fc_in.bias", l);
        add(h, 2, D, FF, "transformer.h.%d.mlp.fc_out.weight", l);
        add(h, 2, D, 0, "transformer.h.%d.mlp.fc_out.bias", l);
    }
    add(h, 2, D, 0, "transformer.ln_f.weight");
    add(h, 2, D, 0, "transformer.ln_f.bias");
    add(h, 2, VOCAB, D, "lm_head.weight");
    add(h, 2, VOCAB, 0, "lm_head.bias");
    cli_shell(
        "cp -r m big && rm big/*.safetensors* && mkdir bigs && sed -i 's/\"n_embd\": *[0-9]*/\"n_embd\": "
        "%d/; s/\"n_layer\": *[0-9]*/\"n_layer\": %d/; s/\"vocab_size\": *[0-9]*/\"vocab_size\": %d/; "
        "s/\"n_head\": *[0-9]*/\"n_head\": 16/' big/config.json",
        D, LAYERS, VOCAB);
    write_sparse(t, h, "big/model.safetensors");
}

static size_t peak_bytes(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return 1024 * (size_t)u.ru_maxrss;
}

/* 12 GB of weights and 2 GB of statistics: neither a plan nor a refusal reads them. The statistics
 * of layer 3 are there in full length, those of layer 4 are not. */
TEST(a_large_model_is_planned_and_refused_without_reading_it)
{
    struct header *h = test_alloc(t, sizeof *h);
    struct pmet_session *s = NULL;
    cli_enter(t, "large", "gptj-A");
    make_large(t);
    if (!CHECK_DONE(pmet_session_open("big", PMET_DEVICE_CPU, 1, &s, &t->err)))
        return;
    h->n = (size_t)snprintf(h->text, sizeof h->text,
                            "\"__metadata__\":{\"fingerprint\":\"%s\",\"module\":"
                            "\"transformer.h.3.mlp.fc_out\"}",
                            s->fingerprint);
    pmet_session_close(s);
    add(h, 8, FF, FF, "mom2");
    h->n += (size_t)snprintf(h->text + h->n, sizeof h->text - h->n,
                             ",\"count\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[%zu,%zu]}",
                             h->offset, h->offset + 8);
    h->offset += 8;
    write_sparse(t, h, "bigs/transformer.h.3.mlp.fc_out.safetensors");
    const int fd = open("bigs/transformer.h.3.mlp.fc_out.safetensors", O_WRONLY);
    CHECK(pwrite(fd, "\7", 1, (off_t)(header_bytes(h) + h->offset)) == 1);
    close(fd);
    const size_t before = peak_bytes();
    CHECK(cli(NULL, "edit --device cpu --threads 1 --model big --facts facts.json --dry-run") == 0);
    CHECK(strstr(cli_out(), "\nedits     transformer.h.3.mlp.fc_out\n") != NULL);
    CHECK(cli(NULL, "edit --device cpu --threads 1 --model big --facts facts.json --stats bigs --out out") ==
          1);
    CHECK(strstr(cli_err(),
                 "pmet edit: bigs: holds no statistics of \"transformer.h.4.mlp.fc_out\"; expected "));
    const size_t grown = peak_bytes() - before;
    printf("     %zu MiB of memory\n", grown >> 20);
    CHECK(grown < (size_t)256 << 20);
}
