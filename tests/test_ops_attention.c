/* SPDX-License-Identifier: MIT
 * Rotary embedding and attention over packed rows beside the plain definitions; in double the
 * gradients beside central differences, which checks the plain definitions too
 * (PMET_TEST_DEVICE=plain). SPEC E8, E11-E17, E35 */
#include "tests/device.h"
#include "tests/plain.h"

#define MAX_ROW 8

/* Rows of a batch, what they have cached, and the shape of a head. */
struct shape {
    size_t n_row, n[MAX_ROW], n_past[MAX_ROW], n_head, d_head;
};
static const struct shape shapes[] = {
    {1, {1}, {0}, 1, 1},
    {1, {5}, {0}, 2, 3},
    {0, {0}, {0}, 2, 3},
    {3, {2, 0, 3}, {0, 0, 0}, 3, 2}, /* a row without tokens */
    {1, {17}, {0}, 1, 17},
    {2, {1, 3}, {5, 0}, 2, 5},
    {4, {3, 1, 2, 5}, {0, 65, 2, 17}, 3, 8},
    {2, {65, 64}, {3, 1}, 2, 10},
    {8, {1, 2, 1, 4, 1, 1, 3, 5}, {7, 0, 64, 63, 130, 16, 5, 1}, 5, 20}, /* many short rows behind a past */
};
#define N_SHAPE (sizeof shapes / sizeof *shapes)

/* q, k and v side by side in wider rows with gaps between heads, as in a fused projection: head e
 * of part p begins at e*head_stride + p*(d_head + 1), and one element more ends the row. */
struct field {
    const struct shape *shape;
    struct pmet_batch batch;
    size_t width, head_stride, row_stride, n_pos; /* n_pos: rows of the cache, with a gap before each past */
    double *x[3], *past[2];                       /* dense [n_tok, width], [n_pos, width] */
};

static struct field field_of(struct lab *lab, const struct shape *s, double deviation)
{
    struct field f = {.shape = s, .width = s->n_head * s->d_head, .head_stride = 3 * (s->d_head + 1)};
    size_t *start = lab_index(lab, s->n_row + 1), *past = lab_index(lab, s->n_row),
           *from = lab_index(lab, s->n_row);
    start[0] = 0;
    for (size_t b = 0; b < s->n_row; b++) {
        start[b + 1] = start[b] + s->n[b];
        past[b] = s->n_past[b];
        from[b] = s->n_past[b] ? f.n_pos + 2 : 0;
        f.n_pos += s->n_past[b] ? s->n_past[b] + 2 : 0;
    }
    f.batch = (struct pmet_batch){s->n_row, start[s->n_row], start, past, from};
    f.row_stride = s->n_head * f.head_stride + 1;
    for (int p = 0; p < 3; p++)
        f.x[p] = lab_random(lab, f.batch.n_tok * f.width, deviation);
    return f;
}

static struct field field_with_past(struct lab *lab, const struct shape *s, double deviation)
{
    struct field f = field_of(lab, s, deviation);
    for (int p = 0; p < 2; p++)
        f.past[p] = lab_random(lab, f.n_pos * f.width, deviation);
    return f;
}

static size_t place(const struct field *f, size_t tok, size_t e, size_t part, size_t i)
{
    return tok * f->row_stride + e * f->head_stride + part * (f->shape->d_head + 1) + i;
}

/* The three parts spread into one array; what lies between is NaN. */
static double *spread(struct lab *lab, const struct field *f)
{
    const size_t n = f->batch.n_tok * f->row_stride, d = f->shape->d_head;
    double *x = lab_zeros(lab, n);
    for (size_t i = 0; i < n; i++)
        x[i] = (double)NAN;
    for (size_t tok = 0; tok < f->batch.n_tok; tok++)
        for (size_t e = 0; e < f->shape->n_head; e++)
            for (size_t p = 0; p < 3; p++)
                for (size_t i = 0; i < d; i++)
                    x[place(f, tok, e, p, i)] = f->x[p][tok * f->width + e * d + i];
    return x;
}

/* One part of a spread array, dense again. */
static double *part_of(struct lab *lab, const struct field *f, const double *x, size_t part)
{
    const size_t d = f->shape->d_head;
    double *y = lab_zeros(lab, f->batch.n_tok * f->width);
    for (size_t tok = 0; tok < f->batch.n_tok; tok++)
        for (size_t e = 0; e < f->shape->n_head; e++)
            for (size_t i = 0; i < d; i++)
                y[tok * f->width + e * d + i] = x[place(f, tok, e, part, i)];
    return y;
}

static void check_gaps(struct lab *lab, const struct field *f, const double *x)
{
    size_t n_nan = 0;
    const size_t n = f->batch.n_tok * f->row_stride;
    for (size_t i = 0; i < n; i++)
        n_nan += isnan(x[i]) ? 1 : 0;
    lab->t->n_check++;
    if (n_nan != n - 3 * f->batch.n_tok * f->width)
        test_fail(lab->t, "%zu of %zu elements between the heads were written",
                  n - 3 * f->batch.n_tok * f->width - n_nan, n);
}

static struct pmet_heads heads(const struct field *f, const real *x, size_t part)
{
    union {
        const real *in;
        real *out;
    } u = {x};
    return (struct pmet_heads){u.out + part * (f->shape->d_head + 1), f->row_stride, f->head_stride};
}

static struct pmet_attention attention_of(const struct field *f, const real *x, const real *const past[2],
                                          const struct pmet_batch *batch)
{
    return (struct pmet_attention){heads(f, x, 0), heads(f, x, 1), heads(f, x, 2),   past[0],
                                   past[1],        batch,          f->shape->n_head, f->shape->d_head};
}

/* ---- rotary embedding ---- */

/* The angle errs by position * eps of double (E11), the result is rounded once. */
static void check_rope(struct lab *lab, const struct shape *s, enum pmet_rope style, bool inverse,
                       double base, size_t rotary_dim)
{
    const struct field f = field_of(lab, s, 1);
    const size_t d = s->d_head, n = f.batch.n_tok * f.width;
    size_t last = 0;
    double *size = lab_zeros(lab, n);
    real *x = lab_inout(lab, spread(lab, &f), f.batch.n_tok * f.row_stride);
    LAB_OK(lab, lab->op->rope(lab->op, heads(&f, x, 1), style, inverse, base, rotary_dim, &f.batch, s->n_head,
                              &lab->err));
    for (size_t b = 0; b < s->n_row; b++)
        for (size_t k = 0; k < s->n[b]; k++)
            for (size_t e = 0; e < s->n_head; e++) {
                last = s->n_past[b] + k > last ? s->n_past[b] + k : last;
                plain_rope(f.x[1] + (f.batch.row_start[b] + k) * f.width + e * d, style, inverse, base,
                           rotary_dim, d, s->n_past[b] + k);
            }
    for (size_t i = 0; i < n; i++)
        size[i] = i % d < rotary_dim ? 4 : 0; /* what is not turned keeps its bits */
    const double *got = lab_get(lab, x, f.batch.n_tok * f.row_stride);
    lab_close_f64(lab, "turned", part_of(lab, &f, got, 1), f.x[1], size, n,
                  ONE_ROUNDING + 4 + 2 * (double)last);
    lab_same(lab, "part before", part_of(lab, &f, got, 0), f.x[0], n);
    lab_same(lab, "part after", part_of(lab, &f, got, 2), f.x[2], n);
    check_gaps(lab, &f, got);
}

TEST(rope_turns_pairs_by_position_both_styles_and_ways)
{
    static const struct shape far = {3, {3, 1, 2}, {0, 4094, 1000000}, 2, 10};
    for (size_t s = 0; s <= N_SHAPE; s++)
        for (int k = 0; k < 8; k++) {
            struct lab *lab = lab_open(t);
            const struct shape *shape = s < N_SHAPE ? &shapes[s] : &far;
            const size_t even = shape->d_head / 2 * 2;
            check_rope(lab, shape, k & 1 ? PMET_ROPE_HALF : PMET_ROPE_INTERLEAVED, k & 2,
                       k & 1 ? 5000 : 10000, k & 4 ? even : even / 4 * 2);
        }
}

TEST(turning_and_turning_back_is_the_identity)
{
    for (int k = 0; k < 2; k++) {
        struct lab *lab = lab_open(t);
        const enum pmet_rope style = k ? PMET_ROPE_HALF : PMET_ROPE_INTERLEAVED;
        const struct field f = field_of(lab, &shapes[7], 1);
        const size_t n_all = f.batch.n_tok * f.row_stride, n = f.batch.n_tok * f.width;
        double *size = lab_zeros(lab, n);
        real *x = lab_inout(lab, spread(lab, &f), n_all);
        for (int way = 0; way < 2; way++)
            LAB_OK(lab, lab->op->rope(lab->op, heads(&f, x, 0), style, way == 1, 10000, 10, &f.batch, 2,
                                      &lab->err));
        for (size_t i = 0; i < n; i++)
            size[i] = 4;
        lab_close_f64(lab, "there and back", part_of(lab, &f, lab_get(lab, x, n_all), 0), f.x[0], size, n,
                      2 * ONE_ROUNDING + 4);
    }
}

/* ---- attention ---- */

static void plain_rows(const struct field *f, double *out, double *probs)
{
    const struct shape *s = f->shape;
    for (size_t b = 0, at = 0; b < s->n_row; b++) {
        const size_t first = f->batch.row_start[b] * f->width, past = f->batch.past_start[b] * f->width;
        plain_attention(out + first, probs ? probs + at : NULL, f->x[0] + first, f->x[1] + first,
                        f->x[2] + first, f->past[0] + past, f->past[1] + past, s->n[b], s->n_past[b],
                        s->n_head, s->d_head);
        at += s->n_head * s->n[b] * (s->n_past[b] + s->n[b]);
    }
}

static void plain_rows_dx(const struct field *f, double *g[3], const double *g_out)
{
    const struct shape *s = f->shape;
    for (size_t b = 0; b < s->n_row; b++) {
        const size_t first = f->batch.row_start[b] * f->width, past = f->batch.past_start[b] * f->width;
        plain_attention_dx((double *[]){g[0] + first, g[1] + first, g[2] + first}, g_out + first,
                           f->x[0] + first, f->x[1] + first, f->x[2] + first, f->past[0] + past,
                           f->past[1] + past, s->n[b], s->n_past[b], s->n_head, s->d_head);
    }
}

static size_t count_probs(const struct shape *s)
{
    size_t n = 0;
    for (size_t b = 0; b < s->n_row; b++)
        n += s->n_head * s->n[b] * (s->n_past[b] + s->n[b]);
    return n;
}

/* Sums run in double; a score of size s errs by s eps of double, and so does its weight,
 * relatively: scores here reach 600. */
static void check_attention(struct lab *lab, const struct shape *s, double deviation)
{
    const struct field f = field_with_past(lab, s, deviation);
    const size_t n = f.batch.n_tok * f.width, n_prob = count_probs(s);
    double *want = lab_zeros(lab, n), *size = lab_zeros(lab, n), *p = lab_zeros(lab, n_prob),
           *one = lab_zeros(lab, n_prob);
    const real *x = lab_in(lab, spread(lab, &f), f.batch.n_tok * f.row_stride),
               *past[2] = {f.n_pos ? lab_in(lab, f.past[0], f.n_pos * f.width) : NULL,
                           f.n_pos ? lab_in(lab, f.past[1], f.n_pos * f.width) : NULL};
    const struct pmet_attention a = attention_of(&f, x, past, &f.batch);
    real *out = lab_out(lab, n), *again = lab_out(lab, n), *probs = lab_out(lab, n_prob);
    plain_rows(&f, want, p);
    for (size_t i = 0; i < n; i++)
        size[i] = 4 * deviation;
    for (size_t i = 0; i < n_prob; i++)
        one[i] = 1;
    LAB_OK(lab, lab->op->attention(lab->op, out, &a, probs, &lab->err));
    LAB_OK(lab, lab->op->attention(lab->op, again, &a, NULL, &lab->err));
    const double *got = lab_get(lab, out, n), *got_p = lab_get(lab, probs, n_prob);
    lab_close_f64(lab, "out", got, want, size, n, ONE_ROUNDING + 1000);
    lab_close_f64(lab, "probs", got_p, p, one, n_prob, ONE_ROUNDING + 1000);
    lab_same(lab, "without probs", lab_get(lab, again, n), got, n);
    for (size_t i = 0; i < n_prob; i++)
        if (p[i] == 0 && got_p[i] != 0)
            test_fail(lab->t, "weight %zu of a later token is %g", i, got_p[i]);
}

TEST(attention_is_causal_softmax_over_past_and_own)
{
    for (size_t s = 0; s < N_SHAPE; s++)
        for (int large = 0; large < 2; large++) {
            struct lab *lab = lab_open(t);
            check_attention(lab, &shapes[s], large ? 8 : 1);
        }
}

/* Equal scores, however large, weigh equally; a score far below the largest weighs 0, not NaN. */
TEST(attention_weights_at_the_ends)
{
    struct lab *lab = lab_open(t);
    static const struct shape s = {1, {3}, {0}, 1, 1};
    struct field f = field_with_past(lab, &s, 1);
    const double q[3] = {1e15, 1e15, -1e15}, k[3] = {1e15, 1e15, -1e15},
                 want[9] = {1, 0, 0, 0.5, 0.5, 0, 0, 0, 1};
    memcpy(f.x[0], q, sizeof q);
    memcpy(f.x[1], k, sizeof k);
    const real *x = lab_in(lab, spread(lab, &f), 3 * f.row_stride), *const past[2] = {NULL, NULL};
    const struct pmet_attention a = attention_of(&f, x, past, &f.batch);
    real *out = lab_out(lab, 3), *probs = lab_out(lab, 9);
    LAB_OK(lab, lab->op->attention(lab->op, out, &a, probs, &lab->err));
    lab_same(lab, "probs", lab_get(lab, probs, 9), want, 9);
}

struct probe {
    const struct field *f;
    const double *g_out;
    double *out;
};

static double projected(const void *user)
{
    const struct probe *p = user;
    double sum = 0;
    plain_rows(p->f, p->out, NULL);
    for (size_t i = 0; i < p->f->batch.n_tok * p->f->width; i++)
        sum += p->out[i] * p->g_out[i];
    return sum;
}

/* Differences of a sum of size sqrt(n) (up to 10) at h 1e-3 err by 1e-11 * 10; gradients are of
 * size 1. */
TEST(attention_dx_is_the_gradient_to_own_q_k_v)
{
    for (size_t s = 0; s + 2 < N_SHAPE; s++) { /* without the large ones */
        struct lab *lab = lab_open(t);
        const struct field f = field_with_past(lab, &shapes[s], 1);
        const size_t n = f.batch.n_tok * f.width, n_all = f.batch.n_tok * f.row_stride;
        const double *g_out = lab_random(lab, n, 1);
        const struct probe probe = {&f, g_out, lab_zeros(lab, n)};
        double *size = lab_zeros(lab, n);
        const real *x = lab_in(lab, spread(lab, &f), n_all), *past[2] = {NULL, NULL};
        real *g = lab_out(lab, n_all);
        for (int p = 0; f.n_pos > 0 && p < 2; p++)
            past[p] = lab_in(lab, f.past[p], f.n_pos * f.width);
        const struct pmet_heads g_qkv[3] = {heads(&f, g, 0), heads(&f, g, 1), heads(&f, g, 2)};
        const struct pmet_attention a = attention_of(&f, x, past, &f.batch);
        LAB_OK(lab, lab->op->attention_dx(lab->op, g_qkv, lab_in(lab, g_out, n), &a, &lab->err));
        const double *got = lab_get(lab, g, n_all);
        for (size_t i = 0; i < n; i++)
            size[i] = 4;
        double *g_plain[3] = {lab_zeros(lab, n), lab_zeros(lab, n), lab_zeros(lab, n)};
        plain_rows_dx(&f, g_plain, g_out);
        for (size_t p = 0; p < 3; p++) {
            double *want = g_plain[p];
            if (IN_DOUBLE)
                difference_gradient(want, f.x[p], n, 1e-3, projected, &probe);
            lab_close_f64(lab,
                          p == 0   ? "g_q"
                          : p == 1 ? "g_k"
                                   : "g_v",
                          part_of(lab, &f, got, p), want, size, n, (IN_DOUBLE ? 2e6 : 1000) + ONE_ROUNDING);
        }
        check_gaps(lab, &f, got);
    }
}

/* The same tokens as rows of their own, in another order, with other rows around: the same bits. */
TEST(a_row_of_attention_never_depends_on_the_others)
{
    struct lab *lab = lab_open(t);
    const struct shape *s = &shapes[6];
    const struct field f = field_with_past(lab, s, 1);
    const size_t n = f.batch.n_tok * f.width, n_all = f.batch.n_tok * f.row_stride;
    const double *all = spread(lab, &f), *g_all = lab_random(lab, n, 1);
    const real *past[2] = {lab_in(lab, f.past[0], f.n_pos * f.width),
                           lab_in(lab, f.past[1], f.n_pos * f.width)};
    for (size_t b = 0; b < s->n_row; b++) {
        const size_t first = f.batch.row_start[b], m = s->n[b], start[2] = {0, m};
        const struct pmet_batch one = {1, m, start, f.batch.n_past + b, f.batch.past_start + b};
        real *g[2], *o[2];
        for (int alone = 0; alone < 2; alone++) {
            const struct pmet_batch *batch = alone ? &one : &f.batch;
            const size_t skip = alone ? first : 0;
            const real *x = lab_in(lab, all + skip * f.row_stride, batch->n_tok * f.row_stride);
            o[alone] = lab_out(lab, batch->n_tok * f.width);
            g[alone] = lab_inout(lab, all + skip * f.row_stride, batch->n_tok * f.row_stride);
            const struct pmet_heads g_qkv[3] = {heads(&f, g[alone], 0), heads(&f, g[alone], 1),
                                                heads(&f, g[alone], 2)};
            const struct pmet_attention a = attention_of(&f, x, past, batch);
            LAB_OK(lab, lab->op->attention(lab->op, o[alone], &a, NULL, &lab->err));
            LAB_OK(lab, lab->op->attention_dx(lab->op, g_qkv,
                                              lab_in(lab, g_all + skip * f.width, batch->n_tok * f.width), &a,
                                              &lab->err));
        }
        lab_same(lab, "attention", lab_get(lab, o[1], m * f.width), lab_get(lab, o[0], n) + first * f.width,
                 m * f.width);
        lab_same(lab, "attention_dx", lab_get(lab, g[1], m * f.row_stride),
                 lab_get(lab, g[0], n_all) + first * f.row_stride, m * f.row_stride);
    }
}
