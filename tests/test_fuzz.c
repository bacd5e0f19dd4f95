/* SPDX-License-Identifier: MIT
 * Damaged input files of every kind, through the library's readers and through whole commands: each
 * ends in success or in one line, never in a signal or a hang, and an output is whole or absent.
 * PMET_LONG=1: thousands of each. */
#include <unistd.h>
#include "ref/cpu/table.h"
#include "ref/method/stats.h"
#include "ref/text/snippets.h"
#include "ref/text/tfidf.h"
#include "ref/model/model.h"
#include "tensors/kind.h"
#include "tests/cli.h"
#include "tests/fuzz.h"
#include "tokenizer/tokenizer.h"

static const char *bench; /* where the damaged file stands in for one of the workbench */
static const char *line;  /* the command that meets it */

static size_t rounds(size_t n, size_t n_long)
{
    const char *v = getenv("PMET_LONG");
    return v && *v && strcmp(v, "0") != 0 ? n_long : n;
}

/* ---- readers ---- */

static enum pmet_status open_model(const char *path, struct pmet_error *err)
{
    struct pmet_ops *op = NULL;
    struct pmet_checkpoint *ck = NULL;
    struct pmet_model *model = NULL;
    char dir[600], fingerprint[65];
    enum pmet_status status;
    (void)path;
    snprintf(dir, sizeof dir, "%s/m", bench);
    PMET_GO(pmet_ops_cpu(1, &op, err));
    PMET_GO(pmet_checkpoint_open(pmet_io_system(), dir, &ck, err));
    PMET_GO(pmet_checkpoint_fingerprint(ck, fingerprint, err));
    PMET_GO(pmet_model_open(ck, op, &model, err));
    struct pmet_error ignored = {PMET_OK, ""};
    pmet_model_check_finite(model, &ignored); /* reads every byte */
done:
    pmet_model_close(model);
    pmet_checkpoint_close(ck);
    pmet_ops_free(op);
    return status;
}

static enum pmet_status open_tokenizer(const char *path, struct pmet_error *err)
{
    static const char text[] = "The capital of France\xe2\x80\x99s\n\n <|extratoken_1|>\xff";
    struct pmet_tokenizer *tk = NULL;
    struct pmet_ids ids = {0};
    struct pmet_text back = {0};
    char dir[600];
    enum pmet_status status;
    (void)path;
    snprintf(dir, sizeof dir, "%s/m", bench);
    PMET_GO(pmet_tokenizer_open(pmet_io_system(), dir, &tk, err));
    struct pmet_error ignored = {PMET_OK, ""};
    if (pmet_tokenizer_encode(tk, text, sizeof text - 1, &ids, &ignored) == PMET_OK)
        pmet_tokenizer_decode(tk, ids.id, ids.n, PMET_DECODE_CLEANUP, &back, &ignored);
done:
    free(ids.id);
    free(back.data);
    pmet_tokenizer_close(tk);
    return status;
}

static enum pmet_status load_stats(const char *path, struct pmet_error *err)
{
    static char fingerprint[65]; /* of golden/gptj-A/model */
    if (!fingerprint[0]) {
        if (cli(NULL, "inspect golden/gptj-A/model") != 0 ||
            sscanf(strstr(cli_out(), "fingerprint"), "fingerprint %64s", fingerprint) != 1)
            exit(1);
    }
    struct pmet_stats_info info;
    double *cov = NULL;
    char dir[600];
    (void)path;
    snprintf(dir, sizeof dir, "%s/s", bench);
    const enum pmet_status status = pmet_stats_load(
        &(struct pmet_stats_source){.io = pmet_io_system(), .dir = dir, .fingerprint = fingerprint},
        "transformer.h.0.mlp.fc_out", 256, &cov, &info, err);
    free(cov);
    return status;
}

static enum pmet_status open_docs(const char *path, struct pmet_error *err)
{
    const char *paths[] = {path};
    struct pmet_docs *docs = NULL;
    const enum pmet_status status = pmet_docs_open(pmet_io_system(), paths, 1, NULL, &docs, err);
    for (size_t i = 0; status == PMET_OK && i < pmet_docs_count(docs); i++) {
        struct pmet_error ignored = {PMET_OK, ""};
        char *text = NULL;
        size_t n;
        if (pmet_docs_get(docs, i, &text, &n, &ignored) == PMET_OK)
            free(text);
    }
    pmet_docs_close(docs);
    return status;
}

static enum pmet_status open_tfidf(const char *path, struct pmet_error *err)
{
    struct pmet_tfidf *tfidf = NULL;
    char dir[600];
    (void)path;
    snprintf(dir, sizeof dir, "%s/reference", bench);
    PMET_TRY(pmet_tfidf_open(pmet_io_system(), dir, &tfidf, err));
    pmet_tfidf_close(tfidf);
    return PMET_OK;
}

/* The texts of one pair, and the weights of all. */
static enum pmet_status load_snippets(const char *path, struct pmet_error *err)
{
    static const struct pmet_snippet_query query = {"P36", "Q11633092", "France"};
    struct pmet_snippets snippets;
    struct pmet_tfidf *tfidf = NULL;
    struct pmet_error ignored = {PMET_OK, ""};
    if (pmet_tfidf_build(pmet_io_system(), path, &tfidf, &ignored) == PMET_OK)
        pmet_tfidf_close(tfidf);
    PMET_TRY(pmet_snippets_load(pmet_io_system(), path, &query, 1, &snippets, err));
    pmet_snippets_free(&snippets);
    return PMET_OK;
}

/* A whole command: its last line is the error, whatever it warned of before. */
static enum pmet_status run_line(const char *path, struct pmet_error *err)
{
    char here[4096];
    (void)path;
    if (!getcwd(here, sizeof here) || chdir(bench) != 0)
        exit(1);
    const int status = cli(NULL, "%s", line);
    const bool out = access("out", F_OK) == 0;
    if (out)
        cli_shell("rm -r out");
    if (chdir(here) != 0)
        exit(1);
    const char *text = cli_err();
    for (const char *next; strstr(text, "warning: ") && (next = strchr(text, '\n')) &&
                           strncmp(text, "pmet", 4) == 0 && strstr(text, "warning: ") < next;)
        text = next + 1;
    if (status == 0)
        return out == (strstr(line, "--out out") != NULL) && !*text ? PMET_OK
                                                                    : pmet_fail(err, PMET_IO, "%s", "");
    const size_t n = strlen(text);
    if (status == 3) /* diff has found a difference, and says so on standard output */
        return pmet_fail(err, PMET_INPUT, "different");
    if (status > 3 || out || n < 2 || text[n - 1] != '\n')
        return PMET_IO; /* which fuzz() does not accept without a message */
    snprintf(err->message, sizeof err->message, "%.*s", (int)(n - 1), text);
    return err->status = PMET_INPUT;
}

static enum pmet_status find_kind(const char *path, struct pmet_error *err)
{
    struct pmet_found found;
    return pmet_kind_of(pmet_io_system(), path, &found, err);
}

/* ---- kinds ---- */

struct kind {
    const char *what, *model, *file;
    const char *remove; /* files that would be read instead */
    enum pmet_status (*load)(const char *path, struct pmet_error *err);
    const char *line;
    size_t n, n_long;
};

static const char EDIT[] = "edit -q --threads 1 --model m --facts facts.json --hparams hparams.json "
                           "--contexts contexts.json --stats s --limit 1 --out out";

static const struct kind readers[] = {
    {"weights", "gptj-C", "m/model-00001-of-00002.safetensors", NULL, open_model, NULL, 60, 3000},
    {"an index", "gptj-C", "m/model.safetensors.index.json", NULL, open_model, NULL, 100, 3000},
    {"a config", "neox-A", "m/config.json", NULL, open_model, NULL, 100, 3000},
    {"tokenizer.json", "gptj-C", "m/tokenizer.json", NULL, open_tokenizer, NULL, 150, 3000},
    {"tokenizer.json of NeoX", "neox-A", "m/tokenizer.json", NULL, open_tokenizer, NULL, 150, 3000},
    {"vocab.json", "gptj-C", "m/vocab.json", "m/tokenizer.json", open_tokenizer, NULL, 150, 3000},
    {"merges.txt", "gptj-C", "m/merges.txt", "m/tokenizer.json", open_tokenizer, NULL, 150, 3000},
    {"added_tokens.json", "gptj-C", "m/added_tokens.json", "m/tokenizer.json", open_tokenizer, NULL, 150,
     3000},
    {"tokenizer_config.json", "gptj-C", "m/tokenizer_config.json", NULL, open_tokenizer, NULL, 100, 3000},
    {"special_tokens_map.json", "gptj-C", "m/special_tokens_map.json", NULL, open_tokenizer, NULL, 100, 3000},
    {"statistics", "gptj-A", "s/transformer.h.0.mlp.fc_out.safetensors", NULL, load_stats, NULL, 100, 3000},
    {"a text", "gptj-A", "text.jsonl", NULL, open_docs, NULL, 200, 5000},
    {"term weights", "gptj-C", "reference/idf.npy", NULL, open_tfidf, NULL, 100, 3000},
    {"a vocabulary", "gptj-C", "reference/tfidf_vocab.json", NULL, open_tfidf, NULL, 100, 3000},
    {"snippets", "gptj-C", "reference/attribute_snippets.json", NULL, load_snippets, NULL, 100, 3000},
    {"JSON of some kind", "gptj-A", "hparams.json", NULL, find_kind, NULL, 300, 5000},
    {"a file of some kind", "gptj-A", "s/transformer.h.1.mlp.fc_out.safetensors", NULL, find_kind, NULL, 100,
     3000},
};
static const struct kind whole[] = {
    {"facts", "gptj-A", "facts.json", NULL, run_line, EDIT, 40, 300},
    {"hyper-parameters", "gptj-A", "hparams.json", NULL, run_line, EDIT, 40, 300},
    {"contexts", "gptj-A", "contexts.json", NULL, run_line, EDIT, 40, 300},
    {"statistics of an edit", "gptj-A", "s/transformer.h.1.mlp.fc_out.safetensors", NULL, run_line, EDIT, 20,
     300},
    {"weights of an edit", "gptj-A", "m/model.safetensors", NULL, run_line, EDIT, 20, 150},
    {"prompts", "gptj-A", "prompts.json", NULL, run_line,
     "trace --threads 1 -q --model m --prompts prompts.json --out out", 20, 500},
    {"a text to tokenize", "gptj-A", "text.jsonl", NULL, run_line, "tokenize --model m text.jsonl", 100, 600},
    {"tensors to compare", "gptj-A", "s/transformer.h.1.mlp.fc_out.safetensors", NULL, run_line,
     "diff m/model.safetensors s/transformer.h.1.mlp.fc_out.safetensors", 100, 600},
    {"tensors to inspect", "gptj-A", "s/transformer.h.1.mlp.fc_out.safetensors", NULL, run_line,
     "inspect --check s", 100, 600},
};

/* Damages the file of each kind; the file of the workbench becomes a link to what fuzz() writes. */
static void damage_all(struct test *t, const struct kind *kinds, size_t n_kind, const char *prefix)
{
    for (size_t i = 0; i < n_kind; i++) {
        const struct kind *k = &kinds[i];
        size_t n;
        bench = cli_bench(t, test_text(t, "%s%zu", prefix, i), k->model);
        line = k->line;
        cli_shell("mkdir %s/reference && for f in idf.npy tfidf_vocab.json attribute_snippets.json; do cp "
                  "golden/%s/$f %s/reference || exit 1; done",
                  bench, k->model, bench);
        if (k->remove)
            cli_shell("rm %s/%s", bench, k->remove);
        const char *path = test_text(t, "%s/%s", bench, k->file);
        char *text = test_slurp(t, path, &n);
        cli_shell("ln -sf \"$(realpath %s)/damaged\" %s", test_tmpdir(), path);
        alarm(600); /* a hang ends the program */
        const size_t total = rounds(k->n, k->n_long), taken = fuzz(t, text, n, total, 7 + i, k->load);
        alarm(0);
        printf("     %s: %zu damaged, %zu taken\n", k->what, total, taken);
        cli_shell("rm -r %s", bench);
    }
}

TEST(readers_take_or_refuse_in_one_line)
{
    damage_all(t, readers, sizeof readers / sizeof *readers, "reader");
}

TEST(commands_take_or_refuse_and_outputs_are_whole_or_absent)
{
    damage_all(t, whole, sizeof whole / sizeof *whole, "whole");
}
