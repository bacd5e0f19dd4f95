/* SPDX-License-Identifier: MIT
 * Probabilities of targets after their plain prompts, many facts to a pass.      SPEC §5.2 */
#include "ref/eval/score.h"

#include <math.h>
#include <stdlib.h>

#define BATCH_TOKENS 512 /* rows are packed up to this many tokens */

/* What one pass needs for n_tok tokens and n_label labels. */
struct pass {
    struct pmet_rows rows;
    struct pmet_scratch scratch;
    real *x, *h, *u, *logits; /* (dev) [n_tok, d], [n_label, d] twice, [n_label, n_vocab] */
    size_t *place;            /* [n_label] */
    int32_t *label, *best;
    double *logp, *best_logp;
};

static enum pmet_status pass_open(struct pass *p, const struct pmet_model *model, size_t n_row, size_t n_tok,
                                  size_t n_label, struct pmet_error *err)
{
    const struct pmet_ops *op = model->op;
    const size_t d = model->config.d_model;
    PMET_TRY(pmet_batch_alloc(n_row, n_tok, &p->rows, err));
    PMET_TRY(pmet_scratch_alloc(model, n_tok, false, &p->scratch, err));
    PMET_TRY(op->alloc(op, n_tok * d * sizeof(real), &p->x, err));
    PMET_TRY(op->alloc(op, n_label * d * sizeof(real), &p->h, err));
    PMET_TRY(op->alloc(op, n_label * d * sizeof(real), &p->u, err));
    PMET_TRY(op->alloc(op, n_label * model->config.n_vocab * sizeof(real), &p->logits, err));
    PMET_TRY(pmet_calloc(&p->place, n_label, sizeof *p->place, "labels", err));
    PMET_TRY(pmet_calloc(&p->label, n_label, sizeof *p->label, "labels", err));
    PMET_TRY(pmet_calloc(&p->best, n_label, sizeof *p->best, "labels", err));
    PMET_TRY(pmet_calloc(&p->logp, n_label, sizeof *p->logp, "labels", err));
    return pmet_calloc(&p->best_logp, n_label, sizeof *p->best_logp, "labels", err);
}

static void pass_close(struct pass *p, const struct pmet_ops *op)
{
    pmet_batch_free(&p->rows);
    pmet_scratch_free(&p->scratch);
    op->release(op, p->x);
    op->release(op, p->h);
    op->release(op, p->u);
    op->release(op, p->logits);
    free(p->place);
    free(p->label);
    free(p->best);
    free(p->logp);
    free(p->best_logp);
}

static void fill(struct pass *p, const struct pmet_fact_rows *rows, size_t n_fact)
{
    size_t k = 0;
    for (size_t i = 0; i < n_fact; i++) {
        const struct pmet_row *row = &rows[i].row[0];
        const size_t begin = p->rows.batch.n_tok + row->n_tok - rows[i].n_target;
        pmet_batch_add(&p->rows, row->id, row->n_tok, 0, 0);
        for (size_t s = 0; s < rows[i].n_target; s++, k++) {
            p->place[k] = begin + s;
            p->label[k] = rows[i].target[s];
        }
    }
}

static enum pmet_status score_batch(const struct pmet_model *model, const struct pmet_fact_rows *rows,
                                    size_t n_fact, size_t n_tok, size_t n_label, struct pmet_score *out,
                                    struct pmet_error *err)
{
    const struct pmet_ops *op = model->op;
    const struct pmet_config *c = &model->config;
    struct pass p = {0};
    enum pmet_status status;
    PMET_GO(pass_open(&p, model, n_fact, n_tok, n_label, err));
    fill(&p, rows, n_fact);
    PMET_GO(pmet_embed(model, p.x, p.rows.id, n_tok, err));
    PMET_GO(pmet_blocks(model, 0, c->n_layer, p.x, &p.rows.batch, NULL, &p.scratch, NULL, err));
    PMET_GO(op->gather(op, p.h, p.x, p.place, n_label, c->d_model, err));
    PMET_GO(pmet_head(model, p.logits, p.u, p.h, n_label, err));
    PMET_GO(op->xent(op, p.logp, p.best_logp, p.best, p.logits, p.label, n_label, c->n_vocab, err));
    for (size_t i = 0, k = 0; i < n_fact; i++) {
        double sum = 0;
        out[i].greedy = true;
        for (size_t s = 0; s < rows[i].n_target; s++, k++) {
            sum += p.logp[k];
            out[i].greedy = out[i].greedy && p.best[k] == p.label[k];
        }
        if (!isfinite(sum)) {
            status = pmet_model_not_finite(model, "the logits are", err);
            goto done;
        }
        out[i].prob = exp(sum / (double)rows[i].n_target);
    }
done:
    pass_close(&p, op);
    return status;
}

enum pmet_status pmet_score_facts(const struct pmet_model *model, const struct pmet_fact_rows *rows,
                                  size_t n_fact, struct pmet_score *out, struct pmet_error *err)
{
    for (size_t i = 0, n = 0; i < n_fact; i += n) {
        size_t n_tok = 0, n_label = 0;
        for (n = 0; i + n < n_fact; n++) {
            const size_t more = rows[i + n].row[0].n_tok;
            if (n > 0 && n_tok + more > BATCH_TOKENS)
                break;
            n_tok += more;
            n_label += rows[i + n].n_target;
        }
        PMET_TRY(score_batch(model, rows + i, n, n_tok, n_label, out + i, err));
    }
    return PMET_OK;
}
