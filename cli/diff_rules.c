/* SPDX-License-Identifier: MIT
 * The acceptance rule.      SPEC §1.4, E1 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "cli/diff_job.h"
#include "cli/progress.h"

#define SMALLEST 1e-6 /* scalars: errors are relative to |b|, or to this if |b| is less */
#define FAR_OUT 10    /* of its own yardstick, for a single fact of a run */

/* ---- names ---- */

static bool has_prefix(const char *s, const char *head)
{
    return strncmp(s, head, strlen(head)) == 0;
}

/* The name with * for each part that is a number: "3.delta_mlp" is "*.delta_mlp". */
static void make_key(const char *name, char *key, size_t size)
{
    size_t n = 0;
    for (const char *at = name; *at && n + 1 < size;) {
        const size_t len = strcspn(at, "."), digits = strspn(at, "0123456789");
        if (len > 0 && digits == len) {
            key[n++] = '*';
        } else {
            /* row0 -> row* */
            const bool row = has_prefix(at, "row") && len > 3 && strspn(at + 3, "0123456789") == len - 3;
            const size_t keep = row ? 3 : len;
            for (size_t i = 0; i < keep && n + 1 < size; i++)
                key[n++] = at[i];
            if (row && n + 1 < size)
                key[n++] = '*';
        }
        at += len;
        if (*at == '.' && n + 1 < size)
            key[n++] = *at++;
    }
    key[n] = '\0';
}

/* The kind of a name, and its group. */
static enum diff_kind classify(const char *name, char *key, size_t size)
{
    static const char *const scalar[] = {"loss", "nll_loss", "kl_loss", "weight_decay", "prob"},
                             *const matrix[] = {"upd_matrix.", "edited.", "cur_zs.", "layer_ks.", "targets."};
    make_key(name, key, size);
    for (size_t i = 0; i < COUNT_OF(scalar); i++)
        if (has_prefix(key, "*.steps.") && strcmp(key + 8, scalar[i]) == 0)
            return DIFF_SCALAR;
    if (has_prefix(key, "cov_norm_trace.")) /* two numbers: a norm and a trace */
        return DIFF_SCALAR;
    if (has_prefix(key, "*.steps.") || has_prefix(key, "*.delta") || strcmp(key, "*.kl_log_probs_last") == 0)
        return DIFF_RUN;
    if (has_prefix(key, "*.target") && !has_prefix(key, "*.target_init"))
        return DIFF_RUN;
    for (size_t i = 0; i < COUNT_OF(matrix); i++)
        if (has_prefix(key, matrix[i]))
            return DIFF_RUN;
    return DIFF_SMOOTH;
}

/* ---- values ---- */

struct values {
    double *x; /* [n] */
    size_t n, n_dim, shape[PMET_MAX_DIM];
    enum pmet_dtype dtype;
};

static enum pmet_status widen(const struct pmet_tensor *t, struct values *v, struct pmet_error *err)
{
    v->n = t->n_elem;
    v->n_dim = t->n_dim;
    v->dtype = t->dtype;
    memcpy(v->shape, t->shape, sizeof v->shape);
    PMET_TRY(pmet_calloc(&v->x, t->n_elem, sizeof *v->x, t->name, err));
    pmet_to_f64(v->x, t->data, t->dtype, t->n_elem);
    return PMET_OK;
}

/* cov_rows, cov_diag and cov_norm_trace of a module, where a file has cov itself: all three are
 * parts of it. */
static enum pmet_status derive(const struct pmet_safetensors *st, const char *name, const struct values *like,
                               struct values *v, struct pmet_error *err)
{
    static const char *const part[] = {"cov_rows.", "cov_diag.", "cov_norm_trace."};
    size_t which = 0;
    char full[256];
    while (which < COUNT_OF(part) && !has_prefix(name, part[which]))
        which++;
    if (which == COUNT_OF(part))
        return PMET_OK;
    snprintf(full, sizeof full, "cov.%s", name + strlen(part[which]));
    const struct pmet_tensor *t = pmet_tensors_find(&st->all, full);
    if (!t || t->n_dim != 2 || t->shape[0] != t->shape[1] || like->n > t->n_elem ||
        (which == 1 && like->n != t->shape[0]) || (which == 2 && like->n != 2))
        return PMET_OK;
    const size_t n = t->shape[0];
    PMET_TRY(widen(t, v, err));
    double norm = 0, trace = 0;
    for (size_t i = 0; i < v->n; i++)
        norm += v->x[i] * v->x[i];
    for (size_t i = 0; i < n; i++)
        trace += v->x[i * n + i];
    for (size_t i = 0; which == 1 && i < n; i++)
        v->x[i] = v->x[i * n + i];
    if (which == 2) {
        v->x[0] = sqrt(norm);
        v->x[1] = trace;
    }
    v->n = like->n;
    v->n_dim = like->n_dim;
    memcpy(v->shape, like->shape, sizeof v->shape);
    return PMET_OK;
}

static bool same_shape(const struct values *a, const struct values *b)
{
    return a->n_dim == b->n_dim && memcmp(a->shape, b->shape, a->n_dim * sizeof *a->shape) == 0;
}

/* |a-b| / |b| in L2; infinite where a difference is not a finite number. */
static double distance(const double *a, const double *b, size_t n, double *max_err)
{
    double diff = 0, norm = 0, most = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = a[i] - b[i];
        if (!isfinite(d)) {
            *max_err = HUGE_VAL;
            return HUGE_VAL;
        }
        diff += d * d;
        norm += b[i] * b[i];
        most = fabs(d) > most ? fabs(d) : most;
    }
    *max_err = most;
    return diff == 0 ? 0 : norm > 0 ? sqrt(diff / norm) : sqrt(diff);
}

static double relative_squares(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        const double r = (a[i] - b[i]) / fmax(fabs(b[i]), SMALLEST);
        sum += isfinite(r) ? r * r : (double)HUGE_VAL;
    }
    return sum;
}

static bool within(const struct diff_job *j, const double *a, const double *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(isfinite(a[i]) && isfinite(b[i]) && fabs(a[i] - b[i]) <= j->atol + j->rtol * fabs(b[i])))
            return false;
    return true;
}

static enum pmet_status read_yardstick(struct diff_job *j, struct diff_entry *e, const struct values *b,
                                       struct pmet_error *err)
{
    struct values y = {0};
    double unused;
    const struct pmet_tensor *t = pmet_tensors_find(&j->y->all, e->name);
    enum pmet_status status;
    if (t)
        PMET_GO(widen(t, &y, err));
    else
        PMET_GO(derive(j->y, e->name, b, &y, err));
    e->has_yard = y.x && same_shape(&y, b);
    if (e->has_yard) {
        e->yard = distance(y.x, b->x, b->n, &unused);
        e->yard_sum = relative_squares(y.x, b->x, b->n);
    }
    status = PMET_OK;
done:
    free(y.x);
    return status;
}

static enum pmet_status measure(struct diff_job *j, const struct pmet_tensor *ta,
                                const struct pmet_tensor *tb, struct diff_entry *e, struct pmet_error *err)
{
    struct values a = {0}, b = {0};
    enum pmet_status status;
    e->name = tb->name;
    e->n_elem = tb->n_elem;
    e->kind = classify(e->name, e->key, sizeof e->key);
    PMET_GO(widen(ta, &a, err));
    PMET_GO(check_stop(err));
    PMET_GO(widen(tb, &b, err));
    PMET_GO(check_stop(err));
    if (!same_shape(&a, &b)) {
        snprintf(e->why, sizeof e->why, "shapes %.71s and %.71s", format_shape(a.shape, a.n_dim).text,
                 format_shape(b.shape, b.n_dim).text);
    } else if (pmet_dtype_is_float(a.dtype) != pmet_dtype_is_float(b.dtype)) {
        snprintf(e->why, sizeof e->why, "types %s and %s", pmet_dtype_name(a.dtype),
                 pmet_dtype_name(b.dtype));
    }
    e->beyond = e->why[0] != '\0';
    if (e->beyond)
        goto done;
    e->dist = distance(a.x, b.x, a.n, &e->max_err);
    PMET_GO(check_stop(err));
    e->sum = relative_squares(a.x, b.x, a.n);
    if (!pmet_dtype_is_float(a.dtype)) {
        e->kind = DIFF_EXACT;
        e->beyond = a.dtype == b.dtype ? memcmp(ta->data, tb->data, ta->n_bytes) != 0 : e->max_err > 0;
    } else if (j->y) {
        status = read_yardstick(j, e, &b, err);
    } else {
        e->beyond = !within(j, a.x, b.x, a.n);
    }
done:
    free(a.x);
    free(b.x);
    return status;
}

enum pmet_status diff_measure(struct diff_job *j, struct pmet_error *err)
{
    const size_t n = j->b->all.n;
    struct progress progress;
    enum pmet_status status = PMET_OK;
    PMET_TRY(pmet_calloc(&j->entry, n, sizeof *j->entry, "a comparison", err));
    progress_begin(&progress, j->c, "comparing", "tensors");
    for (size_t i = 0; i < n; i++) {
        const struct pmet_tensor *tb = &j->b->all.tensor[i], *ta = pmet_tensors_find(&j->a->all, tb->name);
        progress_update(&progress, i, n);
        PMET_GO(check_stop(err));
        if (ta)
            PMET_GO(measure(j, ta, tb, &j->entry[j->n_entry++], err));
    }
done:
    progress_drop(&progress);
    return status;
}

/* ---- limits ---- */

double diff_ratio(const struct diff_entry *e)
{
    if (e->kind == DIFF_SCALAR)
        return e->sum == 0 ? 0 : sqrt(e->sum / e->yard_sum);
    return e->dist == 0 ? 0 : e->dist / e->yard;
}

static struct diff_group *group_of(struct diff_job *j, const struct diff_entry *e)
{
    for (size_t i = 0; i < j->n_group; i++)
        if (strcmp(j->group[i].first->key, e->key) == 0)
            return &j->group[i];
    j->group[j->n_group].first = e;
    return &j->group[j->n_group++];
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median of the ratios of a group's entries that have a yardstick; r holds as many as there are
 * entries. */
static double median(const struct diff_job *j, const struct diff_group *g, double *r)
{
    size_t n = 0;
    for (size_t i = 0; i < j->n_entry; i++)
        if (j->entry[i].has_yard && strcmp(j->entry[i].key, g->first->key) == 0)
            r[n++] = diff_ratio(&j->entry[i]);
    if (n == 0)
        return 0;
    qsort(r, n, sizeof *r, ascending);
    const double low = r[(n - 1) / 2], high = r[n / 2];
    return low == high ? low : (low + high) / 2;
}

static enum pmet_status gather_groups(struct diff_job *j, struct pmet_error *err)
{
    double *r;
    PMET_TRY(pmet_calloc(&j->group, j->n_entry, sizeof *j->group, "a comparison", err));
    for (size_t i = 0; i < j->n_entry; i++) {
        const struct diff_entry *e = &j->entry[i];
        struct diff_group *g = group_of(j, e);
        g->n++;
        g->worst = fmax(g->worst, e->dist);
        g->max_err = fmax(g->max_err, e->max_err);
        if (!e->has_yard)
            continue;
        g->n_yard++;
        g->ratio = fmax(g->ratio, diff_ratio(e));
        g->most_yard = fmax(g->most_yard, e->yard);
        g->sum += e->sum;
        g->yard_sum += e->yard_sum;
    }
    PMET_TRY(pmet_calloc(&r, j->n_entry, sizeof *r, "a comparison", err));
    for (size_t i = 0; i < j->n_group; i++) {
        struct diff_group *g = &j->group[i];
        g->median = median(j, g, r);
        if (g->first->kind == DIFF_RUN)
            g->ratio = g->median;
        else if (g->first->kind == DIFF_SCALAR)
            g->ratio = g->sum == 0 ? 0 : sqrt(g->sum / g->yard_sum);
    }
    free(r);
    return PMET_OK;
}

/* For results of an optimisation the median counts, and each that is far out. For scalars the root
 * mean square over the field counts: one fact's value says nothing by itself. */
static void apply_limit(const struct diff_job *j, const struct diff_group *g, struct diff_entry *e)
{
    e->allowed = j->ratio * e->yard;
    if (e->kind == DIFF_RUN)
        e->allowed = fmax(FAR_OUT * e->yard, g->most_yard);
    if (e->kind == DIFF_SCALAR)
        e->beyond = !(sqrt(g->sum) <= j->ratio * sqrt(g->yard_sum));
    else
        e->beyond = !(e->dist <= e->allowed) || (e->kind == DIFF_RUN && !(g->median <= j->ratio));
}

enum pmet_status diff_apply_limits(struct diff_job *j, struct pmet_error *err)
{
    PMET_TRY(gather_groups(j, err));
    for (size_t i = 0; i < j->n_entry; i++) {
        struct diff_entry *e = &j->entry[i];
        struct diff_group *g = group_of(j, e);
        if (j->y && !e->why[0] && e->kind != DIFF_EXACT) {
            if (e->has_yard)
                apply_limit(j, g, e);
            else
                j->n_no_yard++;
        }
        g->n_beyond += e->beyond;
        j->n_beyond += e->beyond;
    }
    return PMET_OK;
}
