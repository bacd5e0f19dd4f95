/* SPDX-License-Identifier: MIT
 * pmet inspect. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "cli/kinds.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/session.h"
#include "ref/job/record.h"
#include "ref/method/stats.h"
#include "tensors/folder.h"
#include "tensors/npz.h"
#include "tensors/weights.h"

struct job {
    const struct cli *c;
    const char *path;
    bool check;
};

/* How far the check of a model's values is. */
struct checked {
    struct progress *progress;
    size_t n_block;
};

static enum pmet_status check_finite(const char *path, const struct pmet_tensor *t, struct pmet_error *err)
{
    const size_t size = pmet_dtype_size(t->dtype);
    double x;
    size_t i = 0;
    for (size_t n, at; i < t->n_elem; i += n) {
        PMET_TRY(check_stop(err));
        n = t->n_elem - i < PMET_FINITE_BLOCK ? t->n_elem - i : PMET_FINITE_BLOCK;
        at = pmet_first_not_finite((const char *)t->data + i * size, t->dtype, n);
        if (at < n) {
            i += at;
            break;
        }
    }
    if (i == t->n_elem)
        return PMET_OK;
    pmet_to_f64(&x, (const char *)t->data + i * pmet_dtype_size(t->dtype), t->dtype, 1);
    return pmet_fail(err, PMET_NUMERIC, "%s: tensor \"%s\": element %zu is %g; expected a number", path,
                     t->name, i, x);
}

/* ---- a file ---- */

static enum pmet_status inspect_file(const struct job *j, enum pmet_form form, struct pmet_error *err)
{
    struct pmet_weights w = {NULL, NULL, NULL};
    enum pmet_status status;
    double n_bytes = 0;
    PMET_GO(pmet_weights_open(j->c->io, j->path, form, &w, err));
    for (size_t i = 0; i < w.all->n; i++) {
        const struct pmet_tensor *t = &w.all->tensor[i];
        print_line("%-5s %s %s", pmet_dtype_name(t->dtype), t->name, format_shape(t->shape, t->n_dim).text);
        n_bytes += (double)t->n_bytes;
        if (j->check)
            PMET_GO(check_finite(j->path, t, err));
        PMET_GO(check_stop(err));
    }
    for (size_t i = 0; w.st && i < w.st->n_meta; i++)
        print_line("metadata %s: %s", w.st->meta[i].key, w.st->meta[i].value);
    print_line("%s: %zu tensors, %s%s", j->path, w.all->n, format_bytes(n_bytes).text,
               j->check ? "; all values are numbers" : "");
    status = PMET_OK;
done:
    pmet_weights_close(&w);
    return status;
}

/* ---- a folder of statistics ---- */

static enum pmet_status inspect_moment(const struct job *j, const char *file, bool *is_moment,
                                       struct pmet_error *err)
{
    struct pmet_safetensors *st = NULL;
    char *path = NULL;
    double *cov = NULL, count = 0;
    enum pmet_status status;
    PMET_GO(pmet_path_join(j->path, file, &path, err));
    PMET_GO(pmet_safetensors_open(j->c->io, path, &st, err));
    const struct pmet_tensor *mom2 = pmet_tensors_find(&st->all, "mom2"),
                             *n = pmet_tensors_find(&st->all, "count");
    const char *module = pmet_safetensors_metadata(st, "module"),
               *of = pmet_safetensors_metadata(st, "fingerprint"),
               *docs = pmet_safetensors_metadata(st, "samples");
    *is_moment = mom2 && n && n->n_elem == 1 && module && of && mom2->n_dim == 2;
    if (!*is_moment)
        goto done;
    pmet_to_f64(&count, n->data, n->dtype, 1);
    print_line("%s: [%zu,%zu] %s, %.0f tokens of %s documents, of model %.16s", module, mom2->shape[0],
               mom2->shape[1], pmet_dtype_name(mom2->dtype), count, docs ? docs : "?", of);
    if (j->check) {
        const struct pmet_stats_source from = {.io = j->c->io, .dir = j->path, .fingerprint = of};
        struct pmet_stats_info info;
        status = pmet_stats_load(&from, module, mom2->shape[0], &cov, &info, err);
    }
done:
    free(cov);
    free(path);
    pmet_safetensors_close(st);
    return status;
}

/* The sum of a published archive: its header, or with --check all of it. */
static enum pmet_status inspect_published(const struct job *j, const char *file, struct pmet_error *err)
{
    struct pmet_npz *npz = NULL;
    struct pmet_tensor sum;
    char *path = NULL;
    enum pmet_status status;
    PMET_GO(pmet_path_join(j->path, file, &path, err));
    PMET_GO(pmet_npz_open(j->c->io, path, &npz, err));
    PMET_GO(pmet_npz_look(npz, "mom2.mom2", &sum, NULL, err));
    print_line("%s: %s %s, a published archive, of no named model", file,
               format_shape(sum.shape, sum.n_dim).text, pmet_dtype_name(sum.dtype));
    if (j->check) {
        PMET_GO(pmet_npz_find(npz, "mom2.mom2", &sum, err));
        status = check_finite(path, &sum, err);
    }
done:
    pmet_npz_close(npz);
    free(path);
    return status;
}

static enum pmet_status inspect_stats(const struct job *j, struct pmet_error *err)
{
    char **names = NULL;
    size_t n = 0, n_moment = 0, n_npz = 0;
    enum pmet_status status;
    PMET_GO(pmet_list_folder(j->path, &names, &n, err));
    for (size_t i = 0; i < n; i++) {
        bool is_moment = false;
        if (pmet_ends_with(names[i], ".safetensors"))
            PMET_GO(inspect_moment(j, names[i], &is_moment, err));
        if (pmet_ends_with(names[i], ".npz")) {
            PMET_GO(inspect_published(j, names[i], err));
            n_npz++;
        }
        n_moment += is_moment;
        PMET_GO(check_stop(err));
    }
    print_line("%s: %zu second moments%s", j->path, n_moment + n_npz,
               !j->check   ? ""
               : n_npz > 0 ? "; finite, and those of safetensors symmetric, counted"
                           : "; finite, symmetric, counted");
done:
    pmet_free_names(names, n);
    return status;
}

/* ---- a checkpoint ---- */

static void print_dtypes(const struct pmet_checkpoint *ck)
{
    static const enum pmet_dtype all[] = {PMET_F64, PMET_F32, PMET_F16, PMET_BF16,
                                          PMET_I64, PMET_I32, PMET_U8,  PMET_BOOL};
    double n_elem = 0, n_bytes = 0;
    for (size_t i = 0; i < ck->n_tensor; i++) {
        const struct pmet_tensor *t = pmet_checkpoint_at(ck, i);
        n_bytes += (double)t->n_bytes;
        n_elem += pmet_dtype_is_float(t->dtype) ? (double)t->n_elem : 0;
    }
    printf("tensors      %zu, %.0f parameters, %s:", ck->n_tensor, n_elem, format_bytes(n_bytes).text);
    for (size_t d = 0; d < COUNT_OF(all); d++) {
        size_t n = 0;
        for (size_t i = 0; i < ck->n_tensor; i++)
            n += pmet_checkpoint_at(ck, i)->dtype == all[d];
        if (n > 0)
            printf(" %zu %s", n, pmet_dtype_name(all[d]));
    }
    printf("\nshards      ");
    for (size_t i = 0; i < ck->n_shard; i++) {
        putchar(' ');
        print_plain(ck->shard[i].file, strlen(ck->shard[i].file));
    }
    putchar('\n');
}

static const char *text_of(const json_t *v)
{
    return json_is_string(v) ? json_string_value(v) : "?";
}

static void print_record(const struct pmet_record *r, const struct pmet_session *s)
{
    if (!r->json) {
        printf("edits        none recorded\n");
        return;
    }
    const json_t *facts = json_object_get(r->json, "facts"), *matrices = json_object_get(r->json, "matrices");
    print_line("edited       %lld facts by %s %s, from model %.16s%s",
               (long long)json_integer_value(json_object_get(facts, "applied")),
               text_of(json_object_get(r->json, "method")), text_of(json_object_get(r->json, "version")),
               r->n_ancestor ? r->ancestor[0] : "?",
               pmet_record_fits(r, s->fingerprint, &s->parts) ? ""
                                                              : " -- written for other weights than these");
    for (size_t i = 1; i < r->n_ancestor; i++)
        print_line("             itself from %.16s", r->ancestor[i]);
    for (size_t k = 0; k < json_array_size(matrices); k++) {
        const json_t *m = json_array_get(matrices, k);
        print_line("             %s: |dW|/|W| %.2g, %.2g %% lost in rounding to %s",
                   text_of(json_object_get(m, "module")),
                   json_number_value(json_object_get(m, "update_norm")) /
                       json_number_value(json_object_get(m, "weight_norm")),
                   100 * json_number_value(json_object_get(m, "rounding_lost")),
                   text_of(json_object_get(m, "dtype")));
    }
}

/* Each question is about one more block of a tensor. */
static bool on_block(const void *user)
{
    const struct checked *checked = user;
    return progress_update(checked->progress, checked->progress->done + 1, checked->n_block) != 0;
}

static enum pmet_status check_values(const struct job *j, const struct pmet_session *s,
                                     struct pmet_error *err)
{
    struct progress progress;
    struct checked checked = {&progress, 0};
    for (size_t i = 0; i < s->ck->n_tensor; i++)
        checked.n_block += pmet_checkpoint_at(s->ck, i)->n_elem / PMET_FINITE_BLOCK + 1;
    progress_begin(&progress, j->c, "checking", "blocks of a million numbers");
    progress_update(&progress, 0, checked.n_block);
    s->op->stopped = on_block;
    s->op->stopped_user = &checked;
    const enum pmet_status status = pmet_model_check_finite(s->model, err);
    progress_drop(&progress);
    s->op->stopped = NULL;
    return status;
}

static enum pmet_status check_model(const struct job *j, const struct pmet_session *s,
                                    const struct pmet_record *r, struct pmet_error *err)
{
    PMET_TRY(check_values(j, s, err));
    if (r->json && !pmet_record_fits(r, s->fingerprint, &s->parts))
        return pmet_fail(err, PMET_INPUT,
                         "%s/" PMET_RECORD_FILE
                         ": fingerprint: found %.16s; expected %.16s, that of the weights",
                         j->path, r->fingerprint, s->fingerprint);
    printf("checked      every tensor's name, type and shape; all values are numbers%s\n",
           r->json ? "; the record fits the weights" : "");
    return PMET_OK;
}

static enum pmet_status inspect_model(const struct job *j, struct pmet_error *err)
{
    struct pmet_session *s = NULL;
    struct pmet_record r = {0};
    enum pmet_status status;
    PMET_GO(session_open(j->c, j->path, &s, err));
    PMET_GO(pmet_record_read(j->c->io, j->path, &r, err));
    const struct pmet_config *c = &s->model->config;
    print_line("%s: %s", j->path, c->family->name);
    printf("model        %zu layers of width %zu, %zu heads, FFN %zu, vocabulary %zu (tokenizer %zu), %zu "
           "positions, %s residual\n",
           c->n_layer, c->d_model, c->n_head, c->d_ff, c->n_vocab, pmet_tokenizer_size(s->tk), c->n_ctx,
           c->parallel ? "parallel" : "sequential");
    print_dtypes(s->ck);
    printf("fingerprint  %s\n", s->fingerprint);
    printf("  parts      weights %.16s, config %.16s, tokenizer %.16s\n", s->parts.weights, s->parts.config,
           s->parts.tokenizer);
    print_record(&r, s);
    if (j->check)
        status = check_model(j, s, &r, err);
done:
    pmet_record_free(&r);
    pmet_session_close(s);
    return status;
}

/* ---- anything else ---- */

/* What no command reads is an error; of the rest it is said who takes it. */
static enum pmet_status inspect_other(const struct job *j, const struct pmet_found *found,
                                      struct pmet_error *err)
{
    static const char expected[] = "a checkpoint, a file of tensors, or a folder of statistics";
    const char *takers = who_takes(found->kind), *next = found->hint ? found->hint : takers;
    const bool ours = takers || found->kind == PMET_KIND_RESULT;
    if (!ours)
        return pmet_fail(err, PMET_INPUT, "%s: found %s; expected %s%s%s", j->path, found->what, expected,
                         next ? "; " : "", next ? next : "");
    if (j->check)
        return pmet_fail(err, PMET_INPUT, "%s: found %s; --check reads %s", j->path, found->what, expected);
    print_line("%s: %s%s%s", j->path, found->what, next ? "; " : "", next ? next : "");
    return PMET_OK;
}

static enum pmet_status inspect(const struct job *j, struct pmet_error *err)
{
    struct pmet_found found;
    PMET_TRY(pmet_kind_of(j->c->io, j->path, &found, err));
    const bool named = pmet_ends_with(j->path, ".safetensors") || pmet_ends_with(j->path, ".bin");
    switch (found.kind) {
    case PMET_KIND_MODEL:
        return inspect_model(j, err);
    case PMET_KIND_STATS:
        return inspect_stats(j, err);
    case PMET_KIND_TENSORS:
        return inspect_file(j, PMET_SAFETENSORS, err);
    case PMET_KIND_TORCH:
        return inspect_file(j, PMET_TORCH_BIN, err);
    case PMET_KIND_MOMENT:
        return pmet_ends_with(j->path, ".npz") ? inspect_other(j, &found, err)
                                               : inspect_file(j, PMET_SAFETENSORS, err);
    case PMET_KIND_UNKNOWN: /* its reader says what is wrong with it */
    case PMET_KIND_EMPTY:
        return named ? inspect_file(j, pmet_form_of(j->path), err) : inspect_other(j, &found, err);
    default:
        return inspect_other(j, &found, err);
    }
}

int run_inspect(struct cli *c, const struct command *self, int argc, char **argv)
{
    struct job j = {.c = c};
    struct texts paths = {0};
    const struct option_row rows[] = {
        {"check", OPTION_FLAG, &j.check, NULL, "read all of it and verify"},
    };
    struct pmet_error err = {PMET_OK, ""};
    int status = options_parse(c, self, rows, COUNT_OF(rows), argc, argv, &paths);
    if (status < 0 && paths.n != 1)
        status = paths.n ? say_usage(c, "%s: one argument too many", paths.item[1])
                         : say_usage(c, "PATH is missing");
    if (status < 0) {
        j.path = paths.item[0];
        status = inspect(&j, &err) == PMET_OK ? EXIT_DONE : say_failed(c, &err);
    }
    texts_free(&paths);
    return status;
}
