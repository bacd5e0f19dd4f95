/* SPDX-License-Identifier: MIT
 * pmet trace: a forward pass in full.      SPEC §9.5 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "cli/kinds.h"
#include "cli/lines.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/session.h"
#include "cli/tensor_list.h"
#include "tensors/json.h"
#include "tokenizer/unicode.h"

static const size_t max_prompts = (size_t)1 << 28;

struct job {
    const struct cli *c;
    const char *model, *prompts, *out;
    struct pmet_session *s;
    struct tensor_list list;
    bool force;
    size_t row, n_row;
    struct progress progress;
};

static enum pmet_status add(struct job *j, const char *name, size_t n_dim, const size_t *shape,
                            const real *dev, struct pmet_error *err)
{
    char full[72];
    real *to = NULL;
    snprintf(full, sizeof full, "row%zu.%s", j->row, name);
    PMET_TRY(list_add(&j->list, full, PMET_REAL, n_dim, shape, &to, err));
    const struct pmet_tensor *t = &j->list.tensor[j->list.n - 1];
    PMET_TRY(j->s->op->download(j->s->op, to, dev, t->n_bytes, err));
    if (pmet_first_not_finite(to, PMET_REAL, t->n_elem) == t->n_elem)
        return PMET_OK;
    snprintf(full, sizeof full, "row%zu.%s is", j->row, name);
    return pmet_model_not_finite(j->s->model, full, err);
}

/* What a block shows, under the goldens' names. */
static enum pmet_status see(void *user, enum pmet_site site, size_t layer, const real *data, size_t n_tok,
                            size_t width, struct pmet_error *err)
{
    static const char *const name[] = {"hidden", "attn_in", "attn_out", "mlp_key", "mlp_out", "attn_probs"};
    struct job *j = user;
    const bool probs = site == PMET_SITE_ATTN_PROBS;
    const size_t shape[4] = {1, probs ? j->s->model->config.n_head : n_tok, probs ? n_tok : width, n_tok};
    char full[48];
    if (site == PMET_SITE_BLOCK_OUT) /* the next layer's hidden */
        return PMET_OK;
    snprintf(full, sizeof full, "%s.%zu", name[site], layer);
    return add(j, full, probs ? 4 : 3, shape, data, err);
}

static enum pmet_status add_ids(struct job *j, const struct pmet_ids *ids, struct pmet_error *err)
{
    const size_t shape[2] = {1, ids->n};
    char name[64];
    int64_t *to = NULL;
    snprintf(name, sizeof name, "row%zu.input_ids", j->row);
    PMET_TRY(list_add(&j->list, name, PMET_I64, 2, shape, &to, err));
    for (size_t t = 0; t < ids->n; t++)
        to[t] = ids->id[t];
    return PMET_OK;
}

static enum pmet_status forward(struct job *j, const struct pmet_ids *ids, struct pmet_error *err)
{
    const struct pmet_model *model = j->s->model;
    const struct pmet_config *config = &model->config;
    const struct pmet_ops *op = j->s->op;
    const struct pmet_tap tap = {.user = j, .want_probs = true, .see = see};
    const size_t n = ids->n, d = config->d_model;
    struct pmet_rows rows = {0};
    struct pmet_scratch scratch = {0};
    real *x = NULL, *u = NULL, *logits = NULL;
    enum pmet_status status;
    PMET_GO(pmet_batch_alloc(1, n, &rows, err));
    pmet_batch_add(&rows, ids->id, n, 0, 0);
    PMET_GO(pmet_scratch_alloc(model, n, false, &scratch, err));
    PMET_GO(op->alloc(op, n * d * sizeof(real), &x, err));
    PMET_GO(op->alloc(op, n * d * sizeof(real), &u, err));
    PMET_GO(op->alloc(op, n * config->n_vocab * sizeof(real), &logits, err));
    PMET_GO(pmet_embed(model, x, ids->id, n, err));
    PMET_GO(pmet_blocks(model, 0, config->n_layer, x, &rows.batch, NULL, &scratch, &tap, err));
    PMET_GO(see(j, PMET_SITE_HIDDEN, config->n_layer, x, n, d, err));
    PMET_GO(pmet_head(model, logits, u, x, n, err));
    PMET_GO(add(j, "ln_f", 3, (const size_t[]){1, n, d}, u, err));
    status = add(j, "logits", 3, (const size_t[]){1, n, config->n_vocab}, logits, err);
done:
    pmet_batch_free(&rows);
    pmet_scratch_free(&scratch);
    op->release(op, x);
    op->release(op, u);
    op->release(op, logits);
    return status;
}

static enum pmet_status trace_prompt(struct job *j, const char *text, size_t n, struct pmet_error *err)
{
    struct pmet_ids ids = {0};
    enum pmet_status status;
    PMET_GO(pmet_tokenizer_encode(j->s->tk, text, n, &ids, err));
    if (ids.n == 0 || ids.n > j->s->model->config.n_ctx)
        PMET_GO(pmet_fail(err, PMET_INPUT, "%s: prompt %zu: found %zu tokens; expected 1 to %zu", j->prompts,
                          j->row, ids.n, j->s->model->config.n_ctx));
    progress_update(&j->progress, j->row, 0);
    PMET_GO(add_ids(j, &ids, err));
    PMET_GO(forward(j, &ids, err));
    j->row++;
    status = check_stop(err);
done:
    free(ids.id);
    return status;
}

static enum pmet_status trace_json(struct job *j, const char *text, size_t n, struct pmet_error *err)
{
    json_t *list;
    PMET_TRY(pmet_json_parse(text, n, j->prompts, 0, &list, err));
    enum pmet_status status = PMET_OK;
    for (size_t i = 0; status == PMET_OK && i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        status = json_is_string(v) ? trace_prompt(j, json_string_value(v), json_string_length(v), err)
                                   : pmet_fail(err, PMET_INPUT, "%s: prompt %zu: found %s; expected a string",
                                               j->prompts, i, pmet_json_kind(v));
    }
    json_decref(list);
    return status;
}

static bool is_blank(const char *line, size_t n)
{
    while (n > 0 && isspace((unsigned char)line[n - 1]))
        n--;
    return n == 0;
}

static enum pmet_status trace_lines(struct job *j, const char *text, size_t n, struct pmet_error *err)
{
    size_t number = 1;
    for (const char *at = text, *end = text + n; at < end; number++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at)), *line = at;
        size_t n_line = (size_t)((newline ? newline : end) - at);
        line_trim(&line, &n_line);
        const size_t n_text = pmet_utf8_span(line, n_line);
        if (n_text < n_line)
            return pmet_fail(err, PMET_INPUT, "%s: line %zu: found byte 0x%02x; expected text in UTF-8",
                             j->prompts, number, (unsigned char)line[n_text]);
        if (!is_blank(line, n_line))
            PMET_TRY(trace_prompt(j, line, n_line, err));
        at = newline ? newline + 1 : end;
    }
    return PMET_OK;
}

static enum pmet_status trace_text(struct job *j, const char *text, size_t n, struct pmet_error *err)
{
    size_t first = 0;
    PMET_TRY(check_not_utf16(text, n, j->prompts, err));
    line_trim(&text, &n);
    while (first < n && isspace((unsigned char)text[first]))
        first++;
    return first < n && text[first] == '[' ? trace_json(j, text, n, err) : trace_lines(j, text, n, err);
}

static enum pmet_status on_event(void *user, const struct pmet_event *event, struct pmet_error *err)
{
    const struct job *j = user;
    (void)err;
    if (event->kind == PMET_EVENT_NOTE)
        say(j->c, event->warning ? WARNING : NOTE, "%s", event->text);
    return PMET_OK;
}

static enum pmet_status trace(struct job *j, struct pmet_error *err)
{
    const struct pmet_listener listener = {.user = j, .on_event = on_event};
    char *text;
    size_t n;
    PMET_TRY(check_kind(j->c, ROLE_MODEL, j->model, err));
    PMET_TRY(check_kind(j->c, ROLE_PROMPTS, j->prompts, err));
    PMET_TRY(pmet_check_apart(j->out, j->model, "--model", err));
    PMET_TRY(pmet_check_apart(j->out, j->prompts, "--prompts", err));
    PMET_TRY(pmet_check_new_file(j->c->io, j->out, j->force, pmet_is_trace, err));
    PMET_TRY(pmet_clear_left(j->c->io, j->out, &listener, err));
    PMET_TRY(session_open(j->c, j->model, &j->s, err));
    PMET_TRY(pmet_model_check_ends(j->s->model, err));
    PMET_TRY(pmet_read_file(j->c->io, j->prompts, max_prompts, &text, &n, err));
    progress_begin(&j->progress, j->c, "tracing", "prompts");
    const enum pmet_status status = trace_text(j, text, n, err);
    free(text);
    progress_drop(&j->progress);
    PMET_TRY(status);
    if (j->row == 0)
        return pmet_fail(err, PMET_INPUT, "%s: found no prompt; expected at least one", j->prompts);
    return list_write(&j->list, j->c->io, j->out, err);
}

int run_trace(struct cli *c, const struct command *self, int argc, char **argv)
{
    struct job j = {.c = c};
    const struct option_row rows[] = {
        {"model", OPTION_TEXT | REQUIRED, &j.model, "DIR", "the checkpoint"},
        {"prompts", OPTION_TEXT | REQUIRED, &j.prompts, "FILE",
         "a JSON array of strings, or one prompt a line; blank lines, a "
         "byte order mark before a line and CR after it are dropped"},
        {"out", OPTION_TEXT | SHORT | REQUIRED, &j.out, "FILE", "the safetensors file to write"},
        {"force", OPTION_FLAG, &j.force, NULL, "replace --out even if it is no earlier trace"},
    };
    struct pmet_error err = {PMET_OK, ""};
    int status = options_parse(c, self, rows, COUNT_OF(rows), argc, argv, NULL);
    if (status < 0) {
        status = trace(&j, &err) == PMET_OK ? EXIT_DONE : say_failed(c, &err);
        if (status == EXIT_DONE)
            print_line("%s: %zu tensors of %zu prompts", j.out, j.list.n, j.row);
    }
    list_free(&j.list);
    pmet_session_close(j.s);
    return status;
}
