/* SPDX-License-Identifier: MIT
 * Products with stored weights and sums of outer products beside the plain definitions.      SPEC
 * E24, E30, E66
 *
 * Tolerance: a fast table sums n terms in `real`, the plain one in double, rounded once. |error| <=
 * n eps/2 sum |terms| always; the sums of random terms stay below 2 sqrt(n) eps sum |terms|, and
 * the factor 4 covers bias, both roundings and the double build, where the plain sum errs as
 * much. */
#include "tests/device.h"
#include "tests/plain.h"

static double factor(size_t n_term)
{
    return 4 + 2 * sqrt((double)n_term);
}

static const enum pmet_dtype weight_types[] = {PMET_F64, PMET_F32, PMET_F16, PMET_BF16};

/* The shapes: every size as rows, widths that no panel (16), tile (64) or step divides, and longer
 * sums. */
static const struct {
    size_t n_tok, n_in, n_out;
} shapes[] = {{0, 5, 3},    {1, 0, 3},    {1, 1, 1},      {2, 17, 5},   {3, 64, 65},
              {5, 65, 64},  {17, 3, 2},   {64, 2, 17},    {65, 5, 129}, {16, 100, 0},
              {15, 63, 66}, {33, 97, 31}, {19, 1030, 70}, {2, 70, 1030}};
#define N_SHAPE (sizeof shapes / sizeof *shapes)

/* Elements [n_tok, n] out of rows of `stride`; those between must still be unset. */
static double *dense(struct lab *lab, const double *x, size_t n_tok, size_t n, size_t stride)
{
    double *y = lab_zeros(lab, n_tok * n);
    for (size_t r = 0; r < n_tok; r++)
        for (size_t i = 0; i < stride; i++)
            if (i < n)
                y[r * n + i] = x[r * stride + i];
            else if (!isnan(x[r * stride + i]))
                test_fail(lab->t, "row %zu: element %zu past the row's %zu was written", r, i, n);
    return y;
}

TEST(matmul_is_x_times_w_transposed_for_every_stored_type)
{
    for (size_t type = 0; type < 4; type++)
        for (size_t s = 0; s < N_SHAPE; s++) {
            struct lab *lab = lab_open(t);
            const size_t n = shapes[s].n_tok, n_in = shapes[s].n_in, n_out = shapes[s].n_out,
                         stride = n_out + s % 3;
            double *w;
            const struct pmet_weight weight = lab_weight(lab, weight_types[type], n_out, n_in, &w);
            const double *x = lab_random(lab, n * n_in, 1), *bias = lab_random(lab, n_out, 1);
            double *want = lab_zeros(lab, n * n_out), *size = lab_zeros(lab, n * n_out);
            for (int with_bias = 0; with_bias < 2; with_bias++) {
                real *y = lab_out(lab, n * stride);
                plain_matmul(want, size, x, w, with_bias ? bias : NULL, n, n_in, n_out);
                LAB_OK(lab, lab->op->matmul(lab->op, y, stride, lab_in(lab, x, n * n_in), weight,
                                            with_bias ? lab_in(lab, bias, n_out) : NULL, n, &lab->err));
                lab_close_to(lab, "matmul", dense(lab, lab_get(lab, y, n * stride), n, n_out, stride), want,
                             size, n * n_out, factor(n_in));
            }
        }
}

TEST(matmul_dx_is_g_times_w_set_or_added)
{
    for (size_t type = 0; type < 4; type++)
        for (size_t s = 0; s < N_SHAPE; s++) {
            struct lab *lab = lab_open(t);
            const size_t n = shapes[s].n_tok, n_in = shapes[s].n_in, n_out = shapes[s].n_out,
                         stride = n_out + s % 3;
            double *w;
            const struct pmet_weight weight = lab_weight(lab, weight_types[type], n_out, n_in, &w);
            const double *g = lab_random(lab, n * n_out, 1), *was = lab_random(lab, n * n_in, 1);
            double *want = lab_zeros(lab, n * n_in), *size = lab_zeros(lab, n * n_in),
                   *spaced = lab_zeros(lab, n * stride);
            plain_matmul_dx(want, size, g, w, n, n_in, n_out);
            for (size_t r = 0; r < n * stride; r++)
                spaced[r] = r % stride < n_out ? g[r / stride * n_out + r % stride] : (double)NAN;
            const real *g_y = lab_in(lab, spaced, n * stride);
            real *set = lab_out(lab, n * n_in), *added = lab_inout(lab, was, n * n_in);
            LAB_OK(lab, lab->op->matmul_dx(lab->op, set, g_y, stride, weight, false, n, &lab->err));
            LAB_OK(lab, lab->op->matmul_dx(lab->op, added, g_y, stride, weight, true, n, &lab->err));
            lab_close_to(lab, "set", lab_get(lab, set, n * n_in), want, size, n * n_in, factor(n_out));
            for (size_t i = 0; i < n * n_in; i++) {
                want[i] += was[i];
                size[i] += fabs(was[i]);
            }
            lab_close_to(lab, "added", lab_get(lab, added, n * n_in), want, size, n * n_in, factor(n_out));
        }
}

/* A token's output is the same bits alone, first, last and in the middle of any number of
 * others. */
TEST(a_row_of_a_product_never_depends_on_the_others)
{
    struct lab *lab = lab_open(t);
    const size_t n_in = 97, n_out = 131;
    double *w;
    const struct pmet_weight weight = lab_weight(lab, PMET_F16, n_out, n_in, &w);
    const double *x = lab_random(lab, 65 * n_in, 1), *g = lab_random(lab, 65 * n_out, 1);
    real *y = lab_out(lab, 65 * n_out), *g_x = lab_out(lab, 65 * n_in);
    LAB_OK(lab, lab->op->matmul(lab->op, y, n_out, lab_in(lab, x, 65 * n_in), weight, NULL, 65, &lab->err));
    LAB_OK(lab,
           lab->op->matmul_dx(lab->op, g_x, lab_in(lab, g, 65 * n_out), n_out, weight, false, 65, &lab->err));
    const double *all = lab_get(lab, y, 65 * n_out), *all_dx = lab_get(lab, g_x, 65 * n_in);
    for (size_t s = 1; s < N_SIZE; s++)
        for (size_t from = 0; from + test_sizes[s] <= 65; from += 13) {
            const size_t n = test_sizes[s];
            real *part = lab_out(lab, n * n_out), *part_dx = lab_out(lab, n * n_in);
            LAB_OK(lab, lab->op->matmul(lab->op, part, n_out, lab_in(lab, x + from * n_in, n * n_in), weight,
                                        NULL, n, &lab->err));
            LAB_OK(lab, lab->op->matmul_dx(lab->op, part_dx, lab_in(lab, g + from * n_out, n * n_out), n_out,
                                           weight, false, n, &lab->err));
            lab_same(lab, "matmul", lab_get(lab, part, n * n_out), all + from * n_out, n * n_out);
            lab_same(lab, "matmul_dx", lab_get(lab, part_dx, n * n_in), all_dx + from * n_in, n * n_in);
        }
}

/* E130: one token adds an outer product; the gradients of a wider row are read in place. */
TEST(matmul_dw_adds_the_outer_products_of_all_tokens)
{
    static const size_t widths[] = {0, 1, 2, 17, 65, 127, 129, 200};
    for (size_t s = 0; s < N_SIZE; s++)
        for (size_t extra = 0; extra <= 3; extra += 3) {
            struct lab *lab = lab_open(t);
            const size_t n = test_sizes[s], n_out = widths[(s + 3) % 8], n_in = widths[(s * 3 + 1) % 8],
                         stride = n_out + extra;
            const double *x = lab_random(lab, n * n_in, 1), *wide = lab_random(lab, n * stride, 1);
            double *want = lab_random(lab, n_out * n_in, 1), *size = lab_zeros(lab, n_out * n_in),
                   *g = lab_zeros(lab, n * n_out);
            for (size_t k = 0; k < n * n_out; k++)
                g[k] = wide[k / n_out * stride + k % n_out];
            for (size_t k = 0; k < n_out * n_in; k++)
                size[k] = fabs(want[k]);
            real *c = lab_inout(lab, want, n_out * n_in);
            LAB_OK(lab, lab->op->matmul_dw(lab->op, c, lab_in(lab, wide, n * stride), stride,
                                           lab_in(lab, x, n * n_in), n, n_out, n_in, &lab->err));
            plain_matmul_dw(want, size, g, x, n, n_out, n_in);
            lab_close_to(lab, "matmul_dw", lab_get(lab, c, n_out * n_in), want, size, n_out * n_in,
                         factor(n));
        }
}

/* E66: what is above the diagonal belongs to nobody and stays. */
TEST(gram_adds_to_the_lower_triangle_alone)
{
    static const size_t widths[] = {0, 1, 2, 17, 65, 255, 257, 300};
    for (size_t s = 0; s < N_SIZE; s++) {
        struct lab *lab = lab_open(t);
        const size_t n = test_sizes[s], width = widths[s == 0 ? 3 : s];
        const double *x = lab_random(lab, n * width, 1);
        double *want = lab_random(lab, width * width, 1), *got, *size = lab_zeros(lab, width * width);
        for (size_t i = 0; i < width * width; i++) {
            want[i] = i % width > i / width ? (double)NAN : want[i];
            size[i] = fabs(want[i]);
        }
        real *c = lab_inout(lab, want, width * width);
        LAB_OK(lab, lab->op->gram(lab->op, c, lab_in(lab, x, n * width), n, width, &lab->err));
        got = lab_get(lab, c, width * width);
        plain_gram(want, size, x, n, width);
        for (size_t i = 0; i < width * width; i++)
            if (i % width > i / width) {
                if (!isnan(got[i]))
                    test_fail(t, "[%zu,%zu] above the diagonal was written", i / width, i % width);
                want[i] = got[i] = size[i] = 0;
            }
        lab_close_to(lab, "gram", got, want, size, width * width, factor(n));
    }
}
