/* SPDX-License-Identifier: MIT
 * Values that can be worked out by hand, so that the plain definitions (PMET_TEST_DEVICE=plain) are
 * checked by more than themselves.      SPEC E9, E11-E22, E24, E30, E37, E49, E57, E58, E66,
 * E69-E71 */
#include "tests/device.h"

/* Small integers: every product and sum is exact. */
TEST(products_of_small_integers)
{
    struct lab *lab = lab_open(t);
    const double x[6] = {1, 2, 3, -1, 0, 2}, file[6] = {2, 0, 1, -1, 3, 1}, bias[2] = {10, 20},
                 g[4] = {1, 2, 0, -1};
    const double y[4] = {15, 28, 10, 23}, g_x[6] = {0, 6, 3, 1, -3, -1};
    const double lower[9] = {2, 0, 0, 2, 4, 0, 1, 6, 13};
    const struct pmet_weight w = {lab_in(lab, file, 6), PMET_REAL, 2, 3};
    real *out = lab_out(lab, 4), *out_dx = lab_out(lab, 6), *c = lab_inout(lab, lab_zeros(lab, 9), 9);
    LAB_OK(lab, lab->op->matmul(lab->op, out, 2, lab_in(lab, x, 6), w, lab_in(lab, bias, 2), 2, &lab->err));
    LAB_OK(lab, lab->op->matmul_dx(lab->op, out_dx, lab_in(lab, g, 4), 2, w, false, 2, &lab->err));
    LAB_OK(lab, lab->op->gram(lab->op, c, lab_in(lab, x, 6), 2, 3, &lab->err));
    lab_close_to(lab, "matmul", lab_get(lab, out, 4), y, NULL, 4, 0);
    lab_close_to(lab, "matmul_dx", lab_get(lab, out_dx, 6), g_x, NULL, 6, 0);
    lab_close_to(lab, "gram", lab_get(lab, c, 9), lower, NULL, 9, 0);
}

/* A = L L^T, L = (2 0; 1 3): A x = b for x = (1, -1). */
TEST(a_factor_and_a_solve_of_order_two)
{
    struct lab *lab = lab_open(t);
    const double l[4] = {2, 0, 1, 3}, zero[4] = {0}, a[4] = {4, 2, 2, 10}, b[2] = {2, -8}, x[2] = {1, -1};
    size_t pivot;
    double value;
    double *c = lab_inout_f64(lab, zero, 4), *y = lab_inout_f64(lab, b, 2);
    LAB_OK(lab, lab->op->gemm64(lab->op, false, true, 2, 2, 2, 1, lab_in_f64(lab, l, 4), 2,
                                lab_in_f64(lab, l, 4), 2, 0, c, 2, &lab->err));
    lab_close_f64(lab, "L L^T", lab_get_f64(lab, c, 4), a, NULL, 4, 0);
    LAB_OK(lab, lab->op->cholesky(lab->op, c, 2, &pivot, &value, &lab->err));
    const double *got = lab_get_f64(lab, c, 4);
    CHECK(got[0] == 2 && got[1] == 2 && got[2] == 1 && got[3] == 3); /* the upper triangle stays */
    LAB_OK(lab, lab->op->cholesky_solve(lab->op, c, y, 2, 1, &lab->err));
    lab_close_f64(lab, "x", lab_get_f64(lab, y, 2), x, NULL, 2, 4);
}

/* (1, 5) has mean 3 and variance 4; with eps 5 the root is 3. g_y gain = (3, 0): mean 1.5, mean
 * with n -1. */
TEST(a_norm_of_two_features_and_its_gradient)
{
    struct lab *lab = lab_open(t);
    const double x[2] = {1, 5}, gain[2] = {3, 6}, bias[2] = {1, -1}, y[2] = {-1, 3}, g_y[2] = {1, 0},
                 g_x[2] = {(1.5 - 2.0 / 3) / 3, (-1.5 + 2.0 / 3) / 3};
    real *out = lab_out(lab, 2), *g = lab_inout(lab, lab_zeros(lab, 2), 2);
    LAB_OK(lab, lab->op->layernorm(lab->op, out, lab_in(lab, x, 2), lab_in(lab, gain, 2),
                                   lab_in(lab, bias, 2), 5, 1, 2, &lab->err));
    LAB_OK(lab, lab->op->layernorm_dx(lab->op, g, lab_in(lab, g_y, 2), lab_in(lab, x, 2),
                                      lab_in(lab, gain, 2), 5, 1, 2, &lab->err));
    lab_close_to(lab, "layernorm", lab_get(lab, out, 2), y, NULL, 2, 2);
    lab_close_to(lab, "layernorm_dx", lab_get(lab, g, 2), g_x, NULL, 2, 4);
}

/* Base 4/pi^2 and r = 4: at position 1 the first pair turns by 1, the second by (pi^2/4)^(1/2) =
 * pi/2. */
TEST(a_quarter_turn)
{
    static const size_t start[2] = {0, 1}, past[1] = {1}, none[1] = {0};
    const struct pmet_batch batch = {1, 1, start, past, none};
    const double pi = acos(-1), x[5] = {1, 2, 3, 4, 5};
    const double pairs[5] = {cos(1.) - 2 * sin(1.), 2 * cos(1.) + sin(1.), -4, 3, 5},
                 halves[5] = {cos(1.) - 3 * sin(1.), -4, 3 * cos(1.) + sin(1.), 2, 5};
    for (int half = 0; half < 2; half++) {
        struct lab *lab = lab_open(t);
        real *y = lab_inout(lab, x, 5);
        const struct pmet_heads head = {y, 5, 5};
        LAB_OK(lab, lab->op->rope(lab->op, head, half ? PMET_ROPE_HALF : PMET_ROPE_INTERLEAVED, false,
                                  4 / (pi * pi), 4, &batch, 1, &lab->err));
        lab_close_to(lab, half ? "halves" : "pairs", lab_get(lab, y, 5), half ? halves : pairs, NULL, 5, 8);
    }
}

/* d_head 4, so c = 1/2: scores 0 and ln 3 give weights 1/4 and 3/4. The gradient of the second
 * weight's score is p (g_p - mean) = 3/4 (2 - (1/4 (-2) + 3/4 2)) = 3/4, that of the first -3/4. */
TEST(attention_over_two_tokens)
{
    enum { D = 4, N = 2 * D };
    static const size_t start[2] = {0, 2}, none[1] = {0};
    const struct pmet_batch batch = {1, 2, start, none, none};
    const double s = 2 * log(3), q[N] = {1, 0, 0, 0, 1, 0, 0, 0}, k[N] = {0, 5, 0, 0, s, 0, 7, 0},
                 v[N] = {4, 8, 0, -2, 0, 8, 4, 2}, g_out[N] = {0, 0, 0, 0, 0, 0, 0, 1};
    const double probs[4] = {1, 0, 0.25, 0.75}, out[N] = {4, 8, 0, -2, 1, 8, 3, 1},
                 g_q[N] = {0, 0, 0, 0, 0.375 * s, -1.875, 2.625, 0},
                 g_k[N] = {-0.375, 0, 0, 0, 0.375, 0, 0, 0}, g_v[N] = {0, 0, 0, 0.25, 0, 0, 0, 0.75};
    struct lab *lab = lab_open(t);
    const double *in[3] = {q, k, v}, *want[3] = {g_q, g_k, g_v};
    double size[N];
    struct pmet_heads h[3], g[3];
    for (int i = 0; i < 3; i++) {
        h[i] = (struct pmet_heads){lab_inout(lab, in[i], N), D, D};
        g[i] = (struct pmet_heads){lab_out(lab, N), D, D};
    }
    for (int i = 0; i < N; i++)
        size[i] = 4;
    real *y = lab_out(lab, N), *p = lab_out(lab, 4);
    const struct pmet_attention a = {h[0], h[1], h[2], NULL, NULL, &batch, 1, D};
    LAB_OK(lab, lab->op->attention(lab->op, y, &a, p, &lab->err));
    LAB_OK(lab, lab->op->attention_dx(lab->op, g, lab_in(lab, g_out, N), &a, &lab->err));
    lab_close_to(lab, "probs", lab_get(lab, p, 4), probs, size, 4, 1);
    lab_close_to(lab, "out", lab_get(lab, y, N), out, size, N, 2);
    for (int i = 0; i < 3; i++)
        lab_close_to(lab, "gradient", lab_get(lab, g[i].data, N), want[i], size, N, 2);
}

/* To sixteen digits, from tables of the error function and of e. */
TEST(activations_at_one)
{
    static const double value[5] = {0.8411919906082768, 0.8413447460685429, 0.841191990607477, 1,
                                    0.7310585786300049};
    static const double at_minus[5] = {-0.1588080093917232, -0.15865525393145707, -0.1588080093925231, 0,
                                       -0.2689414213699951};
    const double x[2] = {1, -1}, one[2] = {1, 1}, silu_slope = 0.9276705118714869,
                 gelu_slope = 1.0833154705876864;
    for (int kind = 0; kind < 5; kind++) {
        struct lab *lab = lab_open(t);
        const double want[2] = {value[kind], at_minus[kind]}, size[2] = {1, 1};
        real *y = lab_out(lab, 2), *g = lab_out(lab, 2);
        LAB_OK(lab, lab->op->act(lab->op, y, lab_in(lab, x, 2), (enum pmet_act)kind, 2, &lab->err));
        LAB_OK(lab, lab->op->act_dx(lab->op, g, lab_in(lab, one, 2), lab_in(lab, x, 2), (enum pmet_act)kind,
                                    2, &lab->err));
        lab_close_to(lab, "value", lab_get(lab, y, 2), want, size, 2, 4);
        const double slope = lab_get(lab, g, 2)[0];
        CHECK(kind != PMET_SILU || fabs(slope - silu_slope) <= 4 * REAL_EPS);
        CHECK(kind != PMET_GELU || fabs(slope - gelu_slope) <= 4 * REAL_EPS);
    }
}

/* E18-E21: the table of SPEC, which transformers' own functions made. In double it tells the cut
 * constant of gelu_fast. The sums 1 + tanh and 1 + erf cancel at -3: errors are those of x. */
TEST(activations_of_the_table_in_SPEC)
{
    static const enum pmet_act kind[4] = {PMET_GELU_NEW, PMET_GELU_FAST, PMET_GELU, PMET_SILU};
    const char *row = test_spec_table(t, "| x | `gelu_new` |");
    size_t n = 0;
    double x, want[4];
    for (; sscanf(row, "| %lf | %lf | %lf | %lf | %lf |", &x, &want[0], &want[1], &want[2], &want[3]) == 5;
         row = strchr(row, '\n') + 1, n++)
        for (size_t k = 0; k < 4; k++) {
            struct lab *lab = lab_open(t);
            const double size = fabs(x);
            real *y = lab_out(lab, 1);
            LAB_OK(lab, lab->op->act(lab->op, y, lab_in(lab, &x, 1), kind[k], 1, &lab->err));
            lab_close_to(lab, "activation", lab_get(lab, y, 1), &want[k], &size, 1, 4);
        }
    CHECK(n == 4);
}

/* Logits 0 and ln 3: probabilities 1/4 and 3/4; beside 1/2 and 1/2 the divergence is ln 2 - 1/4 ln
 * 4 + 3/4 ln(3/4). */
TEST(losses_of_two_tokens)
{
    struct lab *lab = lab_open(t);
    static const int32_t label = 0;
    static const size_t first = 0;
    const double scale = 2, z[2] = {0, log(3)}, half[2] = {-log(2), -log(2)}, lp[2] = {-log(4), log(0.75)},
                 g[2] = {-1.5, 1.5}, kl = log(2) + 0.25 * lp[0] + 0.75 * lp[1],
                 g_kl[2] = {0.5 * (lp[0] + log(2) - kl), 1.5 * (lp[1] + log(2) - kl)}, size[2] = {1, 1};
    double logp, best_logp, got;
    int32_t best;
    const real *x = lab_in(lab, z, 2), *ref = lab_in(lab, half, 2);
    real *all = lab_out(lab, 2), *g1 = lab_out(lab, 2), *g2 = lab_out(lab, 2);
    LAB_OK(lab, lab->op->xent(lab->op, &logp, &best_logp, &best, x, &label, 1, 2, &lab->err));
    LAB_OK(lab, lab->op->log_softmax(lab->op, all, x, 1, 2, &lab->err));
    LAB_OK(lab, lab->op->kl(lab->op, &got, x, ref, &first, 1, 2, &lab->err));
    LAB_OK(lab, lab->op->xent_dx(lab->op, g1, x, &label, &scale, 1, 2, &lab->err));
    LAB_OK(lab, lab->op->kl_dx(lab->op, g2, x, ref, &first, &scale, 1, 2, &lab->err));
    CHECK(best == 1 && fabs(logp - lp[0]) <= 2 * REAL_EPS && fabs(best_logp - lp[1]) <= 2 * REAL_EPS);
    CHECK(fabs(got - kl) <= 4 * REAL_EPS);
    lab_close_to(lab, "log_softmax", lab_get(lab, all, 2), lp, size, 2, 2);
    lab_close_to(lab, "xent_dx", lab_get(lab, g1, 2), g, size, 2, 4);
    lab_close_to(lab, "kl_dx", lab_get(lab, g2, 2), g_kl, size, 2, 8);
}
