/* SPDX-License-Identifier: MIT
 * A family is one row: two more, made up here with other keys, names and layouts of q, k and v,
 * compute what GPT-J and NeoX compute from the same weights.      SPEC §3.7, §3.8, E23-E36, E38 */
#include <sys/stat.h>
#include "ref/method/pmet_hparams.h"
#include "tests/golden.h"

/* clang-format off */
/* GPT-J with one matrix, [k|v|q] for each head, and a bias for it. */
static const struct pmet_family curl = {
    .name = "curl",
    .config = {.n_layer = {"depth", NULL}, .d_model = {"size", "width"}, .n_head = {"heads", NULL},
               .n_ctx = {"context", NULL}, .d_ff = {"inner", NULL}, .d_ff_factor = 4,
               .ln_eps = {"epsilon", 1e-5}, .rope_base = {NULL, 10000}, .act = "nonlinearity",
               .act_absent = "gelu_new", .rotary_dim = {"turning", NULL}, .rotary_dim_absent = 64},
    .tensor = {.embed = "in.weight", .ln_f_gain = "end.weight", .ln_f_bias = "end.bias",
               .head = "out.weight", .head_bias = "out.bias", .block = "net.{}",
               .ln1_gain = "norm.gain", .ln1_bias = "norm.shift", .qkv = {"kvq.weight"},
               .qkv_bias = {"kvq.bias"}, .attn_out = "attn.weight", .fc_in = "up.weight",
               .fc_in_bias = "up.bias", .fc_out = "down.weight", .fc_out_bias = "down.bias",
               .buffer = {"mask"}},
    .qkv = {.n_matrix = 1, .by_head = true, .place = {2, 0, 1}},
    .rope = PMET_ROPE_INTERLEAVED,
    .module = {"net.{}.down", "net.{}.attn"},
    .ln_f_module = "end",
    .lm_head_module = "out",
};

/* NeoX with three matrices, v, q and k, each with a bias. */
static const struct pmet_family plait = {
    .name = "plait",
    .config = {.n_layer = {"n", NULL}, .d_model = {"d", NULL}, .n_head = {"h", NULL},
               .n_ctx = {"t", NULL}, .d_ff = {"f", NULL}, .ln_eps = {"eps", 1e-5},
               .rope_base = {"base", 10000}, .act = "act", .act_absent = "gelu",
               .rotary_pct = {"part", 0.25}, .parallel = "side_by_side"},
    .tensor = {.embed = "e.weight", .ln_f_gain = "lnf.weight", .ln_f_bias = "lnf.bias",
               .head = "u.weight", .block = "b{}", .ln1_gain = "a.norm.weight",
               .ln1_bias = "a.norm.bias", .ln2_gain = "m.norm.weight", .ln2_bias = "m.norm.bias",
               .qkv = {"a.v.weight", "a.q.weight", "a.k.weight"},
               .qkv_bias = {"a.v.bias", "a.q.bias", "a.k.bias"}, .attn_out = "a.out.weight",
               .attn_out_bias = "a.out.bias", .fc_in = "m.in.weight", .fc_in_bias = "m.in.bias",
               .fc_out = "m.out.weight", .fc_out_bias = "m.out.bias"},
    .qkv = {.n_matrix = 3, .by_head = false, .place = {1, 2, 0}},
    .rope = PMET_ROPE_HALF,
    .module = {"b{}.m.out", "b{}.a.out"},
    .ln_f_module = "lnf",
    .lm_head_module = "u",
};
/* clang-format on */

static const struct pmet_family *const with_made[] = {&pmet_family_gptj, &pmet_family_neox, &curl, &plait,
                                                      NULL};

/* config.json of the golden, its keys renamed from one row's to the other's. */
static void write_config(const json_t *golden, const struct pmet_family *from, const struct pmet_family *to,
                         const char *path)
{
    const struct pmet_config_keys *a = &from->config, *b = &to->config;
/* clang-format off */
#define BOTH(key) {a->key, b->key}
    /* clang-format on */
    const char *const name[][2] = {BOTH(n_layer.name),    BOTH(d_model.name), BOTH(n_head.name),
                                   BOTH(n_ctx.name),      BOTH(d_ff.name),    BOTH(ln_eps.name),
                                   BOTH(rope_base.name),  BOTH(act),          BOTH(rotary_dim.name),
                                   BOTH(rotary_pct.name), BOTH(parallel),     {"vocab_size", "vocab_size"}};
    json_t *made = json_pack("{s:s}", "model_type", to->name);
    for (size_t i = 0; i < sizeof name / sizeof *name; i++)
        if (name[i][0] && json_object_get(golden, name[i][0]))
            json_object_set(made, name[i][1], json_object_get(golden, name[i][0]));
    char *text = json_dumps(made, 0);
    test_write_file(path, text, strlen(text));
    free(text);
    json_decref(made);
}

/* Rows of q, k, v (part 0, 1, 2), feature i of head e, as SPEC §3.5 has them for the two families
 * and the comments above for the made-up ones: the layouts of the rows themselves are what is
 * tested. */
static size_t row_of(const struct pmet_family *f, const struct pmet_config *c, size_t part, size_t e,
                     size_t i)
{
    static const size_t kvq[3] = {2, 0, 1}, vqk[3] = {1, 2, 0};
    return f == &pmet_family_gptj   ? part * c->d_model + e * c->d_head + i
           : f == &pmet_family_neox ? (3 * e + part) * c->d_head + i
           : f == &curl             ? (3 * e + kvq[part]) * c->d_head + i
                                    : vqk[part] * c->d_model + e * c->d_head + i;
}

/* Projection `matrix` of a made-up family (or its bias, zero where the golden has none) from the
 * golden's. */
static void *arrange_qkv(const struct golden *g, const struct pmet_family *to, size_t l, size_t matrix,
                         bool bias, struct pmet_tensor *out)
{
    const struct pmet_config *c = &g->model->config;
    const struct pmet_tensor_names *names = &c->family->tensor;
    const size_t d = c->d_model, n_matrix = c->family->qkv.n_matrix;
    char block[64], name[128];
    const struct pmet_tensor *t[3] = {NULL};
    pmet_module_name(block, sizeof block, names->block, l);
    for (size_t i = 0; i < n_matrix; i++) {
        const char *suffix = bias ? names->qkv_bias[i] : names->qkv[i];
        snprintf(name, sizeof name, "%s.%s", block, suffix ? suffix : "");
        t[i] = pmet_checkpoint_find(g->ck, name);
    }
    const size_t n_bytes = (bias ? 1 : d) * pmet_dtype_size(t[0] ? t[0]->dtype : PMET_F32);
    char *data = calloc(3 * d, n_bytes);
    for (size_t part = 0; t[0] && part < 3; part++)
        for (size_t k = 0; k < d; k++) {
            const size_t row = row_of(c->family, c, part, k / c->d_head, k % c->d_head),
                         rows = 3 * d / n_matrix;
            memcpy(data + row_of(to, c, part, k / c->d_head, k % c->d_head) * n_bytes,
                   (const char *)t[row / rows]->data + row % rows * n_bytes, n_bytes);
        }
    const size_t n_out = 3 * d / to->qkv.n_matrix;
    *out = (struct pmet_tensor){.dtype = t[0] ? t[0]->dtype : PMET_F32,
                                .n_dim = bias ? 1 : 2,
                                .shape = {n_out, bias ? 0 : d},
                                .n_elem = bias ? n_out : n_out * d,
                                .n_bytes = n_out * n_bytes,
                                .data = data + matrix * n_out * n_bytes};
    return data;
}

enum { N_NAME = sizeof(struct pmet_tensor_names) / sizeof(char *), MAX_TENSOR = 256 };

/* Tensor names as an array; those before `block` are the model's, those after it each block's. */
static const char *const *names_of(const struct pmet_family *f)
{
    return (const char *const *)(const void *)&f->tensor;
}

static bool make_model(struct test *t, const struct golden *g, const struct pmet_family *to)
{
    const struct pmet_family *from = g->model->config.family;
    const size_t n_layer = g->model->config.n_layer,
                 at_block = offsetof(struct pmet_tensor_names, block) / sizeof(char *),
                 at_qkv = offsetof(struct pmet_tensor_names, qkv) / sizeof(char *);
    static char name[MAX_TENSOR][128];
    void *made[MAX_TENSOR];
    struct pmet_tensor all[MAX_TENSOR];
    size_t n = 0, n_made = 0;
    for (size_t i = 0; i < N_NAME; i++) {
        const char *a = names_of(from)[i], *b = names_of(to)[i];
        const bool is_qkv = i >= at_qkv && i < at_qkv + 6;
        for (size_t l = 0; i != at_block && b && l < (i < at_block ? 1 : n_layer); l++) {
            char block[64];
            pmet_module_name(block, sizeof block, from->tensor.block, l);
            const struct pmet_tensor *found = pmet_checkpoint_find(
                g->ck, test_text(t, i < at_block ? "%s%s" : "%s.%s", i < at_block ? "" : block, a ? a : ""));
            pmet_module_name(block, sizeof block, to->tensor.block, l);
            if (is_qkv)
                made[n_made++] = arrange_qkv(g, to, l, (i - at_qkv) % 3, i >= at_qkv + 3, &all[n]);
            else if (found)
                all[n] = *found;
            else
                continue; /* a buffer */
            snprintf(name[n], sizeof name[n], i < at_block ? "%s%s" : "%s.%s", i < at_block ? "" : block, b);
            all[n].name = name[n];
            n++;
        }
    }
    mkdir(test_path("%s", to->name), 0777);
    write_config(g->ck->config, from, to, test_path("%s/config.json", to->name));
    const bool ok = CHECK_DONE(pmet_safetensors_write(
        pmet_io_system(), test_path("%s/model.safetensors", to->name), all, n, NULL, 0, &t->err));
    while (n_made > 0)
        free(made[--n_made]);
    return ok;
}

/* ---- a pass forward and back ---- */

enum { N_TOK = 11, MAX_LAYER = 8 };

struct pass {
    const struct pmet_ops *op;
    real *value; /* what the taps saw, the logits; from n_forward on the gradient at the embeddings */
    size_t n_forward, n;
};

static enum pmet_status keep(struct pass *p, const real *data, size_t n, struct pmet_error *err)
{
    p->value = realloc(p->value, (p->n + n) * sizeof *p->value);
    p->n += n;
    return p->op->download(p->op, p->value + p->n - n, data, n * sizeof *data, err);
}

static enum pmet_status see(void *user, enum pmet_site site, size_t layer, const real *data, size_t n_tok,
                            size_t width, struct pmet_error *err)
{
    (void)site, (void)layer;
    return keep(user, data, n_tok * width, err);
}

/* E23 to E29 and E36 on two rows; then E38 of random gradients, and E33 or E34 of each block down
 * to the first. */
static enum pmet_status run(const struct pmet_model *m, struct pass *p, struct pmet_error *err)
{
    const struct pmet_config *c = &m->config;
    const struct pmet_ops *op = m->op;
    const size_t d = c->d_model, width[] = {d, d, d, c->n_vocab}, part[] = {d, 3 * d, c->d_ff, d};
    const struct pmet_tap tap = {.user = p, .see = see};
    struct test_rng rng = {5};
    struct pmet_rows rows;
    struct pmet_scratch s;
    struct pmet_saved saved[MAX_LAYER];
    real *x[4]; /* states, two gradients, logits */
    int32_t id[N_TOK];
    *p = (struct pass){.op = op};
    PMET_TRY(pmet_batch_alloc(2, N_TOK, &rows, err));
    PMET_TRY(pmet_scratch_alloc(m, N_TOK, true, &s, err));
    for (size_t i = 0; i < 4; i++)
        PMET_TRY(op->alloc(op, N_TOK * width[i] * sizeof(real), &x[i], err));
    for (size_t l = 0; l < c->n_layer; l++) {
        real **const field[] = {&saved[l].x, &saved[l].qkv, &saved[l].f, &saved[l].y};
        for (size_t i = 0; i < 4; i++)
            PMET_TRY(op->alloc(op, N_TOK * part[i] * sizeof(real), field[i], err));
    }
    for (size_t i = 0; i < N_TOK; i++)
        id[i] = (int32_t)(test_rng_next(&rng) % c->n_vocab);
    pmet_batch_add(&rows, id, 4, 0, 0);
    pmet_batch_add(&rows, id + 4, N_TOK - 4, 0, 0);
    PMET_TRY(pmet_embed(m, x[0], id, N_TOK, err));
    for (size_t l = 0; l < c->n_layer; l++) {
        PMET_TRY(op->copy(op, saved[l].x, x[0], N_TOK * d * sizeof(real), err));
        PMET_TRY(pmet_block(m, l, x[0], saved[l].x, &rows.batch, NULL, &s, &saved[l], &tap, err));
    }
    PMET_TRY(pmet_head(m, x[3], x[1], x[0], N_TOK, err));
    PMET_TRY(keep(p, x[3], N_TOK * c->n_vocab, err));
    p->n_forward = p->n;
    real *g = malloc(N_TOK * c->n_vocab * sizeof *g);
    for (size_t i = 0; i < N_TOK * c->n_vocab; i++)
        g[i] = (real)test_rng_normal(&rng);
    PMET_TRY(op->upload(op, x[3], g, N_TOK * c->n_vocab * sizeof *g, err));
    free(g);
    PMET_TRY(pmet_head_dx(m, x[1], x[2], x[3], x[0], N_TOK, err));
    for (size_t l = c->n_layer; l-- > 0;) {
        PMET_TRY(pmet_block_dx(m, l, x[2], x[1], &saved[l], &rows.batch, NULL, &s, err));
        PMET_TRY(op->copy(op, x[1], x[2], N_TOK * d * sizeof(real), err));
    }
    PMET_TRY(keep(p, x[1], N_TOK * d, err));
    for (size_t l = 0; l < c->n_layer; l++) {
        real *const field[] = {saved[l].x, saved[l].qkv, saved[l].f, saved[l].y};
        for (size_t i = 0; i < 4; i++)
            op->release(op, field[i]);
    }
    for (size_t i = 0; i < 4; i++)
        op->release(op, x[i]);
    pmet_batch_free(&rows);
    pmet_scratch_free(&s);
    return PMET_OK;
}

/* Forward: the same sums in the same order, so the same bits. Backward: matmul_dx adds up the 3
 * d_model outputs of the projection (E30) in the order of its rows, so each block adds sqrt(3
 * d_model) roundings of the sum. */
static void check_same(struct test *t, const struct golden *g, const struct pass *a, const struct pass *b)
{
    const struct pmet_config *c = &g->model->config;
    const double eps = sizeof(real) == 4 ? 1.2e-7 : 2.2e-16, zero = 0;
    size_t n_off = 0;
    if (!CHECK(a->n == b->n && a->n_forward == b->n_forward && a->n_forward > 0 && a->n > a->n_forward))
        return;
    for (size_t k = 0; k < a->n_forward; k++)
        n_off += a->value[k] != b->value[k];
    if (!CHECK(n_off == 0))
        test_fail(t, "%s: %zu of the forward's %zu values differ", g->name, n_off, a->n_forward);
    double distance = 0, norm = 0;
    for (size_t k = a->n_forward; k < a->n; k++) {
        const double x = (double)a->value[k], y = (double)b->value[k];
        distance += (x - y) * (x - y);
        norm += x * x;
    }
    distance = sqrt(distance / norm);
    CHECK_CLOSE(&distance, &zero, 1, (double)c->n_layer * sqrt(3 * (double)c->d_model) * eps);
}

TEST(a_made_up_family_computes_what_the_known_one_does)
{
    for (size_t i = 0; i < N_GOLDEN; i++) {
        struct golden g;
        struct pmet_checkpoint *ck = NULL;
        struct pmet_model *made = NULL;
        struct pass a = {0}, b = {0};
        if (!golden_open(t, &g, i))
            return;
        const struct pmet_family *to = g.model->config.family == &pmet_family_gptj ? &curl : &plait;
        if (make_model(t, &g, to) &&
            CHECK_DONE(pmet_checkpoint_open(pmet_io_system(), test_path("%s", to->name), &ck, &t->err)) &&
            CHECK_DONE(pmet_model_open_with(ck, g.op, with_made, &made, &t->err))) {
            CHECK(made->config.family == to && made->config.parallel == g.model->config.parallel);
            CHECK(made->config.rope_base == g.model->config.rope_base &&
                  made->config.rotary_dim == g.model->config.rotary_dim);
            CHECK_DONE(run(g.model, &a, &t->err));
            CHECK_DONE(run(made, &b, &t->err));
            check_same(t, &g, &a, &b);
        }
        free(a.value);
        free(b.value);
        pmet_model_close(made);
        pmet_checkpoint_close(ck);
    }
}

static bool is_weight_of(const char *module, const char *block, const char *tensor)
{
    char name[160];
    snprintf(name, sizeof name, "%s%s%s", block ? block : "", block ? "." : "", tensor);
    return strncmp(name, module, strlen(module)) == 0 && strcmp(name + strlen(module), ".weight") == 0;
}

/* What a row says twice, or must say in a certain form. */
TEST(rows_agree_with_themselves)
{
    for (size_t i = 0; with_made[i]; i++) {
        const struct pmet_family *f = with_made[i];
        const struct pmet_tensor_names *n = &f->tensor;
        CHECK_STR(strstr(n->block, "{}"), "{}");
        CHECK(is_weight_of(f->module[PMET_MODULE_MLP], n->block, n->fc_out));
        CHECK(is_weight_of(f->module[PMET_MODULE_ATTN], n->block, n->attn_out));
        CHECK(is_weight_of(f->ln_f_module, NULL, n->ln_f_gain));
        CHECK(is_weight_of(f->lm_head_module, NULL, n->head));
        CHECK(((1 << f->qkv.place[0]) | (1 << f->qkv.place[1]) | (1 << f->qkv.place[2])) == 7);
        for (size_t k = 0; k < 3; k++)
            CHECK((n->qkv[k] != NULL) == (k < f->qkv.n_matrix));
        CHECK(!f->config.rotary_dim.name != !f->config.rotary_pct.name);
        CHECK(n->ln2_gain || !f->config.parallel); /* a sequential block needs a second norm */
        for (size_t k = 0; k < f->n_preset; k++) {
            struct pmet_hparams h;
            const struct pmet_preset *p = &f->preset[k];
            const struct pmet_model model = {.config = {.family = f, .n_layer = p->n_layer}};
            CHECK_DONE(pmet_hparams_default(f, &pmet_hparams_pmet, p->n_layer, p->d_model, &h, &t->err));
            CHECK_DONE(pmet_hparams_check(&h, &model, &t->err));
        }
    }
}

TEST(an_unknown_family_is_told_the_known_ones)
{
    struct pmet_config c;
    struct pmet_notes notes = {0};
    json_t *json = test_json(t, json_pack("{s:s}", "model_type", "bert"));
    const struct {
        const struct pmet_family *const *list;
        const char *message;
    } cases[] = {{pmet_families, "c: model_type: found \"bert\"; expected gptj or gpt_neox"},
                 {with_made, "c: model_type: found \"bert\"; expected gptj, gpt_neox, curl or plait"},
                 {with_made + 3, "c: model_type: found \"bert\"; expected plait"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_REFUSED(pmet_config_read(json, "c", cases[i].list, &c, &notes, &t->err), PMET_UNSUPPORTED,
                      cases[i].message);
    }
}
