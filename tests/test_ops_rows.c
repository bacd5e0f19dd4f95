/* SPDX-License-Identifier: MIT
 * Entries that move rows and add to them: exact, or one rounding an addition.      SPEC E23, E46,
 * E59 */
#include "tests/device.h"

static const enum pmet_dtype weight_types[] = {PMET_F64, PMET_F32, PMET_F16, PMET_BF16};

TEST(memory_keeps_bytes_and_is_aligned)
{
    struct lab *lab = lab_open(t);
    for (size_t s = 0; s < N_SIZE; s++) {
        const size_t n = test_sizes[s];
        const double *x = lab_random(lab, n, 1);
        const real *a = lab_in(lab, x, n);
        real *b = lab_out(lab, n);
        CHECK((uintptr_t)a % 64 == 0 && (uintptr_t)b % 64 == 0);
        LAB_OK(lab, lab->op->copy(lab->op, b, a, n * sizeof *b, &lab->err));
        lab_same(lab, "copy", lab_get(lab, b, n), x, n);
        LAB_OK(lab, lab->op->zero(lab->op, b, n * sizeof *b, &lab->err));
        lab_same(lab, "zero", lab_get(lab, b, n), lab_zeros(lab, n), n);
    }
    lab->op->release(lab->op, NULL);
}

TEST(mapped_weights_are_read_as_they_are_in_the_file)
{
    struct lab *lab = lab_open(t);
    const float in_file[5] = {1, -2.5f, 0.25f, 3, -0.0f};
    const int32_t ids[1] = {0};
    const void *dev = NULL;
    real *y = lab_out(lab, 5);
    if (LAB_OK(lab, lab->op->weight_map(lab->op, in_file, sizeof in_file, &dev, &lab->err))) {
        const struct pmet_weight w = {dev, PMET_F32, 1, 5};
        LAB_OK(lab, lab->op->embed(lab->op, y, w, ids, 1, &lab->err));
        const double *got = lab_get(lab, y, 5);
        for (size_t i = 0; i < 5; i++)
            CHECK(got[i] == (double)in_file[i] && !signbit(got[i]) == !signbit(in_file[i]));
        lab->op->weight_unmap(lab->op, dev);
    }
}

/* E23, every stored type: the widened row, bit for bit, in any order and more than once. */
TEST(embed_takes_rows)
{
    struct lab *lab = lab_open(t);
    for (size_t type = 0; type < 4; type++)
        for (size_t s = 0; s < N_SIZE; s++) {
            const size_t n = test_sizes[s], width = test_sizes[N_SIZE - 1 - s];
            double *w, *want = lab_zeros(lab, n * width);
            int32_t ids[65];
            const struct pmet_weight weight = lab_weight(lab, weight_types[type], 7, width, &w);
            for (size_t j = 0; j < n; j++) {
                ids[j] = (int32_t)lab_below(lab, 7);
                memcpy(want + j * width, w + (size_t)ids[j] * width, width * sizeof *want);
            }
            real *y = lab_out(lab, n * width);
            LAB_OK(lab, lab->op->embed(lab->op, y, weight, ids, n, &lab->err));
            lab_same(lab, "embed", lab_get(lab, y, n * width), want, n * width);
        }
}

/* Subnormals, infinities and NaN of the 16-bit types, and the largest and smallest numbers. */
TEST(sixteen_bits_widen_exactly)
{
    static const uint16_t f16[8] = {0x0001, 0x03ff, 0x0400, 0x7bff, 0x8000, 0x7c00, 0xfc00, 0x7e00};
    static const double of_f16[8] = {0x1p-24, 0x3ffp-24, 0x1p-14,   65504,
                                     -0.0,    HUGE_VAL,  -HUGE_VAL, (double)NAN};
    static const uint16_t bf16[8] = {0x0001, 0x007f, 0x0080, 0x7f7f, 0x8000, 0x7f80, 0xff80, 0x7fc0};
    static const double of_bf16[8] = {0x1p-133, 0x7fp-133, 0x1p-126,  0x1.fep127,
                                      -0.0,     HUGE_VAL,  -HUGE_VAL, (double)NAN};
    struct lab *lab = lab_open(t);
    const int32_t ids[1] = {0};
    for (int k = 0; k < 2; k++) {
        const struct pmet_weight w = {lab_in_bytes(lab, k ? bf16 : f16, sizeof f16), k ? PMET_BF16 : PMET_F16,
                                      1, 8};
        real *y = lab_out(lab, 8);
        LAB_OK(lab, lab->op->embed(lab->op, y, w, ids, 1, &lab->err));
        lab_same(lab, "widened", lab_get(lab, y, 8), k ? of_bf16 : of_f16, 7);
        CHECK(isnan(lab_get(lab, y, 8)[7]));
    }
}

TEST(gather_and_scatter_move_rows_and_nothing_else)
{
    struct lab *lab = lab_open(t);
    for (size_t s = 0; s < N_SIZE; s++) {
        const size_t n = test_sizes[s], n_row = n + 3, width = 1 + test_sizes[(s + 3) % N_SIZE];
        const double *x = lab_random(lab, n_row * width, 1), *put = lab_random(lab, n * width, 1);
        size_t *idx = lab_index(lab, n_row);
        double *taken = lab_zeros(lab, n * width), *after = lab_zeros(lab, n_row * width);
        lab_shuffle(lab, idx, n_row);
        memcpy(after, x, n_row * width * sizeof *x);
        for (size_t j = 0; j < n; j++) {
            memcpy(taken + j * width, x + idx[j] * width, width * sizeof *x);
            memcpy(after + idx[j] * width, put + j * width, width * sizeof *x);
        }
        real *y = lab_out(lab, n * width), *z = lab_inout(lab, x, n_row * width);
        LAB_OK(lab, lab->op->gather(lab->op, y, lab_in(lab, x, n_row * width), idx, n, width, &lab->err));
        LAB_OK(lab, lab->op->scatter(lab->op, z, lab_in(lab, put, n * width), idx, n, width, &lab->err));
        lab_same(lab, "gather", lab_get(lab, y, n * width), taken, n * width);
        lab_same(lab, "scatter", lab_get(lab, z, n_row * width), after, n_row * width);
    }
}

/* One addition in `real` an element, so the bits are known; several j may share a delta. */
TEST(add_at_and_its_gradient_add_once_each_in_order)
{
    struct lab *lab = lab_open(t);
    for (size_t s = 0; s < N_SIZE; s++) {
        const size_t n = test_sizes[s], n_row = n + 2, width = 1 + test_sizes[(s + 5) % N_SIZE], n_delta = 3;
        double *x = lab_random(lab, n_row * width, 1), *delta = lab_random(lab, n_delta * width, 1);
        size_t *idx = lab_index(lab, n_row), *which = lab_index(lab, n);
        real *y = lab_inout(lab, x, n_row * width), *g = lab_inout(lab, delta, n_delta * width);
        lab_shuffle(lab, idx, n_row);
        for (size_t j = 0; j < n; j++)
            which[j] = lab_below(lab, n_delta);
        LAB_OK(lab, lab->op->add_at(lab->op, y, idx, lab_in(lab, delta, n_delta * width), which, n, width,
                                    &lab->err));
        LAB_OK(lab, lab->op->add_at_grad(lab->op, g, lab_in(lab, x, n_row * width), idx, which, n, width,
                                         &lab->err));
        double *sum = lab_zeros(lab, n_delta * width);
        memcpy(sum, delta, n_delta * width * sizeof *sum);
        for (size_t j = 0; j < n; j++)
            for (size_t i = 0; i < width; i++) {
                double *at = &sum[which[j] * width + i];
                *at = (double)((real)*at + (real)x[idx[j] * width + i]);
            }
        for (size_t j = 0; j < n; j++)
            for (size_t i = 0; i < width; i++) {
                double *at = &x[idx[j] * width + i];
                *at = (double)((real)*at + (real)delta[which[j] * width + i]);
            }
        lab_same(lab, "add_at", lab_get(lab, y, n_row * width), x, n_row * width);
        lab_same(lab, "add_at_grad", lab_get(lab, g, n_delta * width), sum, n_delta * width);
    }
}

TEST(store_heads_merges_heads_into_the_given_places)
{
    struct lab *lab = lab_open(t);
    for (size_t s = 0; s < N_SIZE; s++) {
        const size_t n = test_sizes[s], n_pos = n + 2, n_head = 1 + s % 3,
                     d_head = test_sizes[(s + 2) % N_SIZE];
        const size_t width = n_head * d_head, head_stride = d_head + 2, stride = n_head * head_stride + 1;
        const double *x = lab_random(lab, n * stride, 1), *was = lab_random(lab, n_pos * width, 1);
        double *want = lab_zeros(lab, n_pos * width);
        size_t *idx = lab_index(lab, n_pos);
        lab_shuffle(lab, idx, n_pos);
        memcpy(want, was, n_pos * width * sizeof *want);
        for (size_t j = 0; j < n; j++)
            for (size_t e = 0; e < n_head; e++)
                memcpy(want + idx[j] * width + e * d_head, x + j * stride + e * head_stride,
                       d_head * sizeof *want);
        real *cache = lab_inout(lab, was, n_pos * width), *heads = lab_inout(lab, x, n * stride);
        const struct pmet_heads h = {heads, stride, head_stride};
        LAB_OK(lab, lab->op->store_heads(lab->op, cache, idx, h, n, n_head, d_head, &lab->err));
        lab_same(lab, "store_heads", lab_get(lab, cache, n_pos * width), want, n_pos * width);
        lab_same(lab, "heads", lab_get(lab, heads, n * stride), x, n * stride);
    }
}

/* The order (a + m) + x is part of the contract; the output may be any of the inputs. */
TEST(residual_and_add_round_in_their_order_in_place_too)
{
    struct lab *lab = lab_open(t);
    for (size_t s = 0; s < N_SIZE; s++)
        for (int place = 0; place < 4; place++) {
            const size_t n = test_sizes[s];
            const double *in[3] = {lab_random(lab, n, 1), lab_random(lab, n, 1e-3), lab_random(lab, n, 1e3)};
            double *three = lab_zeros(lab, n), *two = lab_zeros(lab, n);
            real *p[4], *q[4];
            for (size_t i = 0; i < n; i++) {
                two[i] = (double)((real)in[0][i] + (real)in[1][i]);
                three[i] = (double)((real)two[i] + (real)in[2][i]);
            }
            for (int k = 0; k < 3; k++) {
                p[k] = lab_inout(lab, in[k], n);
                q[k] = lab_inout(lab, in[k], n);
            }
            p[3] = lab_out(lab, n);
            q[3] = lab_out(lab, n);
            LAB_OK(lab, lab->op->residual(lab->op, p[place], p[0], p[1], p[2], n, &lab->err));
            LAB_OK(lab, lab->op->add(lab->op, q[place], q[0], q[1], n, &lab->err));
            lab_same(lab, "residual", lab_get(lab, p[place], n), three, n);
            lab_same(lab, "add", lab_get(lab, q[place], n), two, n);
            for (int k = 0; k < 3; k++)
                if (k != place)
                    lab_same(lab, "an operand", lab_get(lab, p[k], n), in[k], n);
        }
}
