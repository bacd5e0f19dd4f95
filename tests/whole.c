/* SPDX-License-Identifier: MIT */
#include "tests/whole.h"

struct pmet_fact_rows made_rows(struct test *t, struct test_rng *rng, const struct pmet_model *model,
                                const size_t shape[][2], size_t n_row, size_t n_target)
{
    const size_t n_vocab = model->config.n_vocab;
    struct pmet_fact_rows rows = {.n_row = n_row, .n_target = n_target};
    rows.row = test_alloc(t, n_row * sizeof *rows.row);
    rows.target = test_alloc(t, n_target * sizeof *rows.target);
    for (size_t s = 0; s < n_target; s++)
        rows.target[s] = (int32_t)(test_rng_next(rng) % n_vocab);
    for (size_t j = 0; j < n_row; j++) {
        rows.row[j] =
            (struct pmet_row){test_alloc(t, shape[j][0] * sizeof(int32_t)), shape[j][0], shape[j][1]};
        for (size_t i = 0; i < shape[j][0]; i++)
            rows.row[j].id[i] = (int32_t)(test_rng_next(rng) % n_vocab);
    }
    return rows;
}

/* One row in passage. All of it is host memory but x, y, u and what the scratch holds. */
struct passage {
    const struct pmet_model *model;
    struct pmet_rows rows;
    struct pmet_scratch s;
    size_t n, idx, L;
    const struct pmet_objective *o;
    real *x, *y, *u, *logits;     /* (dev) [n, d], [n, n_vocab] */
    real *host_x, *host_a, *host; /* [n, d], [n, d], [n, n_vocab] */
    real *a, *m, *out;            /* [d] of layer L at the lookup index, before any vector */
};

static enum pmet_status see(void *user, enum pmet_site site, size_t layer, const real *data, size_t n_tok,
                            size_t width, struct pmet_error *err)
{
    struct passage *p = user;
    const struct pmet_ops *op = p->model->op;
    (void)n_tok;
    if (layer != p->L)
        return PMET_OK;
    if (site == PMET_SITE_ATTN_OUT) {
        PMET_TRY(op->download(op, p->host_a, data, p->n * width * sizeof(real), err));
        memcpy(p->a, p->host_a + p->idx * width, width * sizeof(real));
    }
    real *at = site == PMET_SITE_MLP_OUT ? p->m : site == PMET_SITE_BLOCK_OUT ? p->out : NULL;
    return at ? op->download(op, at, data + p->idx * width, width * sizeof(real), err) : PMET_OK;
}

static enum pmet_status enter(struct passage *p, const struct pmet_row *row, struct pmet_error *err)
{
    const struct pmet_config *c = &p->model->config;
    const struct pmet_ops *op = p->model->op;
    const size_t n = p->n, n_hidden = n * c->d_model * sizeof(real), n_logit = n * c->n_vocab * sizeof(real);
    real **const dev[3] = {&p->x, &p->y, &p->u};
    PMET_TRY(pmet_batch_alloc(1, n, &p->rows, err));
    pmet_batch_add(&p->rows, row->id, n, 0, 0);
    PMET_TRY(pmet_scratch_alloc(p->model, n, false, &p->s, err));
    for (int i = 0; i < 3; i++)
        PMET_TRY(op->alloc(op, n_hidden, dev[i], err));
    PMET_TRY(op->alloc(op, n_logit, &p->logits, err));
    p->host_x = malloc(n_hidden);
    p->host_a = malloc(n_hidden);
    p->host = malloc(n_logit);
    p->a = malloc(c->d_model * sizeof(real));
    p->m = malloc(c->d_model * sizeof(real));
    p->out = malloc(c->d_model * sizeof(real));
    return pmet_embed(p->model, p->x, p->rows.id, n, err);
}

/* Vectors of a site, or of any other than `site`. */
static void add_to(const struct passage *p, const real *const *vector, enum pmet_site site, bool others)
{
    const size_t d = p->model->config.d_model;
    for (size_t v = 0; v < p->o->n_vector; v++)
        for (size_t i = 0; vector[v] && (p->o->site[v] == site) != others && i < d; i++)
            p->host_x[p->idx * d + i] += vector[v][i];
}

/* p->x = states after block L with the vectors in it, of all tokens. E46 */
static enum pmet_status inject(struct passage *p, const real *const *vector, struct pmet_error *err)
{
    const struct pmet_config *c = &p->model->config;
    const struct pmet_layer *w = &p->model->layer[p->L];
    const struct pmet_ops *op = p->model->op;
    const size_t d = c->d_model, n_bytes = p->n * d * sizeof(real);
    const struct pmet_tap tap = {.user = p, .see = see};
    PMET_TRY(op->download(op, p->host_x, p->x, n_bytes, err));
    PMET_TRY(pmet_block(p->model, p->L, p->x, p->x, &p->rows.batch, NULL, &p->s, NULL, &tap, err));
    if (c->parallel) {
        PMET_TRY(op->download(op, p->host_x, p->x, n_bytes, err));
        add_to(p, vector, PMET_SITE_HIDDEN, true);
        return op->upload(op, p->x, p->host_x, n_bytes, err);
    }
    for (size_t i = 0; i < p->n * d; i++)
        p->host_x[i] = p->host_a[i] + p->host_x[i]; /* y */
    add_to(p, vector, PMET_SITE_ATTN_OUT, false);
    PMET_TRY(op->upload(op, p->y, p->host_x, n_bytes, err));
    PMET_TRY(op->layernorm(op, p->u, p->y, w->ln2_gain, w->ln2_bias, c->ln_eps, p->n, d, err));
    PMET_TRY(pmet_ffn(p->model, p->L, p->x, p->s.f, p->s.g, p->u, p->n, err));
    PMET_TRY(op->download(op, p->host_x, p->x, n_bytes, err));
    add_to(p, vector, PMET_SITE_ATTN_OUT, true);
    PMET_TRY(op->upload(op, p->x, p->host_x, n_bytes, err));
    return op->add(op, p->x, p->x, p->y, p->n * d, err);
}

static enum pmet_status pass(struct passage *p, const struct pmet_row *row, const real *const *vector,
                             struct pmet_error *err)
{
    const struct pmet_ops *op = p->model->op;
    const struct pmet_batch *b = &p->rows.batch;
    PMET_TRY(enter(p, row, err));
    PMET_TRY(pmet_blocks(p->model, 0, p->L, p->x, b, NULL, &p->s, NULL, err));
    PMET_TRY(inject(p, vector, err));
    PMET_TRY(pmet_blocks(p->model, p->L + 1, p->model->config.n_layer, p->x, b, NULL, &p->s, NULL, err));
    PMET_TRY(pmet_head(p->model, p->logits, p->u, p->x, p->n, err));
    return op->download(op, p->host, p->logits, p->n * p->model->config.n_vocab * sizeof(real), err);
}

static void leave(struct passage *p)
{
    const struct pmet_ops *op = p->model->op;
    real *const dev[4] = {p->x, p->y, p->u, p->logits}, *const host[6] = {p->host_x, p->host_a, p->host,
                                                                          p->a,      p->m,      p->out};
    for (int i = 0; i < 4; i++)
        op->release(op, dev[i]);
    for (int i = 0; i < 6; i++)
        free(host[i]);
    pmet_batch_free(&p->rows);
    pmet_scratch_free(&p->s);
}

/* Log-probabilities at position `at`. */
static void log_softmax_at(const struct passage *p, size_t at, double *lp)
{
    const size_t n = p->model->config.n_vocab;
    const real *x = p->host + at * n;
    double top = (double)x[0], sum = 0;
    for (size_t v = 0; v < n; v++)
        top = fmax(top, (double)x[v]);
    for (size_t v = 0; v < n; v++)
        sum += exp((double)x[v] - top);
    for (size_t v = 0; v < n; v++)
        lp[v] = (double)x[v] - top - log(sum);
}

static double norm_of(const real *x, const double *y, size_t d)
{
    double s = 0;
    for (size_t i = 0; i < d; i++)
        s += x ? (double)x[i] * (double)x[i] : y ? y[i] * y[i] : 0;
    return sqrt(s);
}

/* E48, E52 of one row's log-probabilities. */
static void add_row(struct whole *w, const double *logp, const double *best, size_t n_t, size_t n_label_row)
{
    double sum = 0, most = 0;
    for (size_t s = 0; s < n_t; s++) {
        sum += logp[s] / (double)n_t;
        most += best[s] / (double)n_t;
    }
    w->losses.nll -= sum / (double)n_label_row;
    w->losses.prob += exp(sum) / (double)n_label_row;
    w->losses.max_prob += exp(most) / (double)n_label_row;
}

static void read_row(struct whole *w, const struct passage *p, const struct pmet_fact_rows *rows, size_t j)
{
    const size_t n_t = rows->n_target, n_vocab = p->model->config.n_vocab;
    if (j + 1 == rows->n_row) {
        log_softmax_at(p, p->idx, w->kl_lp);
        return;
    }
    double *lp = malloc(n_vocab * sizeof *lp), *logp = w->logp + j * n_t, *best = w->best_logp + j * n_t;
    for (size_t s = 0; s < n_t; s++) {
        log_softmax_at(p, p->n - n_t + s, lp);
        logp[s] = lp[rows->target[s]];
        best[s] = lp[0];
        for (size_t v = 1; v < n_vocab; v++)
            best[s] = fmax(best[s], lp[v]);
    }
    add_row(w, logp, best, n_t, rows->n_row - 1);
    free(lp);
}

bool whole_loss(struct test *t, const struct pmet_model *model, const struct pmet_fact_rows *rows,
                const struct pmet_objective *o, const real *const *vector, double phi, const double *kl0,
                struct whole *out)
{
    const size_t d = model->config.d_model, n_vocab = model->config.n_vocab,
                 n_label = (rows->n_row - 1) * rows->n_target;
    bool ok = true;
    *out = (struct whole){.logp = test_alloc(t, n_label * sizeof(double)),
                          .best_logp = test_alloc(t, n_label * sizeof(double)),
                          .kl_lp = test_alloc(t, n_vocab * sizeof(double))};
    for (size_t v = 0; v < PMET_MAX_VECTOR; v++)
        out->initial[v] = test_alloc(t, d * sizeof(double));
    for (size_t j = 0; ok && j < rows->n_row; j++) {
        struct passage p = {
            .model = model, .n = rows->row[j].n_tok, .idx = rows->row[j].lookup_idx, .L = o->layer, .o = o};
        ok = CHECK_DONE(pass(&p, &rows->row[j], vector, &t->err));
        for (size_t v = 0; ok && j == 0 && v < o->n_vector; v++)
            for (size_t i = 0; i < d; i++)
                out->initial[v][i] = (double)(o->site[v] == PMET_SITE_MLP_OUT    ? p.m
                                              : o->site[v] == PMET_SITE_ATTN_OUT ? p.a
                                                                                 : p.out)[i];
        if (ok)
            read_row(out, &p, rows, j);
        leave(&p);
    }
    struct pmet_losses *l = &out->losses;
    l->nll *= phi;
    l->nll_factor = phi;
    for (size_t v = 0; kl0 && v < n_vocab; v++)
        l->kl += o->kl_factor * exp(out->kl_lp[v]) * (out->kl_lp[v] - kl0[v]);
    for (size_t v = 0; v < o->n_vector; v++)
        l->weight_decay +=
            o->weight_decay * (norm_of(vector[v], NULL, d) / pow(norm_of(NULL, out->initial[v], d), 2));
    l->loss = l->nll + l->kl + l->weight_decay;
    return ok;
}
