/* SPDX-License-Identifier: MIT
 * Log-probabilities, cross entropy and KL beside the plain definitions; in double the gradients
 * beside central differences, which checks the plain definitions too (PMET_TEST_DEVICE=plain).
 * SPEC E37, E48, E49, E57, E58 */
#include "tests/device.h"
#include "tests/plain.h"

static const size_t vocabs[] = {1, 2, 3, 5, 17, 64, 65};
#define N_VOCAB 7

/* A log-probability of size s errs by s eps: by eps * max|logit| and the sum's rounding. */
static void fill(double *size, size_t n, double x)
{
    for (size_t i = 0; i < n; i++)
        size[i] = x;
}

static int32_t *random_labels(struct lab *lab, size_t n, size_t n_vocab)
{
    int32_t *labels = (int32_t *)(void *)lab_zeros(lab, n);
    for (size_t r = 0; r < n; r++)
        labels[r] = (int32_t)lab_below(lab, n_vocab);
    return labels;
}

static void check_xent(struct lab *lab, size_t n, size_t n_vocab, double deviation)
{
    const double *logits = lab_random(lab, n * n_vocab, deviation);
    const int32_t *labels = random_labels(lab, n, n_vocab);
    double *lp = lab_zeros(lab, n * n_vocab), *want = lab_zeros(lab, n), *top = lab_zeros(lab, n),
           *size = lab_zeros(lab, n * n_vocab);
    int32_t *best = lab_out_i32(lab, n);
    double *logp = lab_out_f64(lab, n), *best_logp = lab_out_f64(lab, n);
    real *all = lab_out(lab, n * n_vocab);
    fill(size, n * n_vocab, 8 * deviation + log((double)n_vocab));
    LAB_OK(lab, lab->op->xent(lab->op, logp, best_logp, best, lab_in(lab, logits, n * n_vocab), labels, n,
                              n_vocab, &lab->err));
    LAB_OK(lab, lab->op->log_softmax(lab->op, all, lab_in(lab, logits, n * n_vocab), n, n_vocab, &lab->err));
    for (size_t r = 0; r < n; r++) {
        size_t first = 0;
        plain_log_softmax(lp + r * n_vocab, logits + r * n_vocab, n_vocab);
        for (size_t v = 1; v < n_vocab; v++)
            first = logits[r * n_vocab + v] > logits[r * n_vocab + first] ? v : first;
        want[r] = plain_logp(logits + r * n_vocab, labels[r], n_vocab);
        top[r] = plain_logp(logits + r * n_vocab, (int32_t)first, n_vocab);
        if (best[r] != (int32_t)first)
            test_fail(lab->t, "row %zu: best is %d, expected %zu", r, (int)best[r], first);
        if ((size_t)labels[r] == first && logp[r] != best_logp[r])
            test_fail(lab->t, "row %zu: the best label has %.17g, the best %.17g", r, logp[r], best_logp[r]);
    }
    lab_close_f64(lab, "logp", logp, want, size, n, 16);
    lab_close_f64(lab, "best_logp", best_logp, top, size, n, 16);
    lab_close_f64(lab, "log_softmax", lab_get(lab, all, n * n_vocab), lp, size, n * n_vocab,
                  ONE_ROUNDING + 16);
}

TEST(xent_and_log_softmax_are_logarithms_of_softmax)
{
    for (size_t s = 0; s < N_SIZE; s++)
        for (size_t v = 0; v < N_VOCAB; v++) {
            struct lab *lab = lab_open(t);
            check_xent(lab, test_sizes[s], vocabs[v], v % 2 ? 2 : 30);
        }
}

/* As many as GPT-J's head has rows; the errors of 50,400 terms stay within those of 16. */
TEST(a_row_of_50400_logits)
{
    struct lab *lab = lab_open(t);
    check_xent(lab, 2, 50400, 3);
}

/* Of equal maxima the first is best, and a label among them has exactly the best's log-probability
 * (E52). */
TEST(ties_go_to_the_first)
{
    struct lab *lab = lab_open(t);
    static const double logits[3 * 4] = {1, 3, 3, 2, 5, 5, 5, 5, -1, -2, -1, -1};
    static const int32_t labels[3] = {2, 3, 3}, first[3] = {1, 0, 0};
    int32_t *best = lab_out_i32(lab, 3);
    double *logp = lab_out_f64(lab, 3), *best_logp = lab_out_f64(lab, 3);
    LAB_OK(lab,
           lab->op->xent(lab->op, logp, best_logp, best, lab_in(lab, logits, 12), labels, 3, 4, &lab->err));
    CHECK(memcmp(best, first, sizeof first) == 0);
    lab_same(lab, "label among the best", logp, best_logp, 3);
    CHECK(fabs(logp[1] + log(4)) < 1e-15);
}

/* Huge logits do not overflow, and -infinity has probability 0 without making the others NaN. */
TEST(logits_at_the_ends)
{
    struct lab *lab = lab_open(t);
    const double logits[3 * 4] = {3e38,      3e38, -3e38, 0,     -HUGE_VAL, 2,
                                  -HUGE_VAL, 2,    -3e38, -3e38, -3e38,     -3e38};
    static const int32_t labels[3] = {0, 3, 1};
    const double scale[3] = {1, 1, 1}, g[8] = {-0.5, 0.5, 0, 0, 0, 0.5, 0, -0.5};
    int32_t *best = lab_out_i32(lab, 3);
    double *logp = lab_out_f64(lab, 3), *best_logp = lab_out_f64(lab, 3);
    real *lp = lab_out(lab, 12), *g_logits = lab_out(lab, 12);
    const real *x = lab_in(lab, logits, 12);
    LAB_OK(lab, lab->op->xent(lab->op, logp, best_logp, best, x, labels, 3, 4, &lab->err));
    LAB_OK(lab, lab->op->log_softmax(lab->op, lp, x, 3, 4, &lab->err));
    LAB_OK(lab, lab->op->xent_dx(lab->op, g_logits, x, labels, scale, 3, 4, &lab->err));
    CHECK(best[0] == 0 && best[1] == 1 && best[2] == 0);
    CHECK(logp[0] <= 0 && fabs(logp[1] + log(2)) < 1e-15 && logp[2] <= 0);
    const double *got = lab_get(lab, lp, 12), *got_dx = lab_get(lab, g_logits, 12);
    CHECK(got[4] == -HUGE_VAL && got[6] == -HUGE_VAL && fabs(got[5] + log(2)) < REAL_EPS);
    for (size_t i = 4; i < 8; i++)
        CHECK(fabs(got_dx[i] - g[i]) < REAL_EPS);
    for (size_t i = 0; i < 12; i++)
        CHECK(!isnan(got[i]) && !isnan(got_dx[i]));
}

TEST(kl_is_zero_for_equal_rows_and_positive_otherwise)
{
    struct lab *lab = lab_open(t);
    const size_t n = 5, n_vocab = 65;
    const double *logits = lab_random(lab, n * n_vocab, 3);
    double *shifted = lab_zeros(lab, n * n_vocab), *got = lab_out_f64(lab, n);
    size_t *same = lab_index(lab, n), *other = lab_index(lab, n);
    real *lp0 = lab_out(lab, n * n_vocab);
    for (size_t i = 0; i < n * n_vocab; i++)
        shifted[i] = (double)(real)(logits[i] + 64); /* the same distribution, up to rounding */
    LAB_OK(lab, lab->op->log_softmax(lab->op, lp0, lab_in(lab, logits, n * n_vocab), n, n_vocab, &lab->err));
    LAB_OK(lab,
           lab->op->kl(lab->op, got, lab_in(lab, logits, n * n_vocab), lp0, same, n, n_vocab, &lab->err));
    for (size_t r = 0; r < n; r++)
        CHECK(fabs(got[r]) <=
              8 * REAL_EPS); /* lp0 is rounded to `real`, 8 being its size: all that is left */
    LAB_OK(lab,
           lab->op->kl(lab->op, got, lab_in(lab, shifted, n * n_vocab), lp0, same, n, n_vocab, &lab->err));
    for (size_t r = 0; r < n; r++)
        CHECK(fabs(got[r]) <= 72 * REAL_EPS);
    for (size_t r = 0; r < n; r++)
        other[r] = (r + 1) % n;
    LAB_OK(lab,
           lab->op->kl(lab->op, got, lab_in(lab, logits, n * n_vocab), lp0, other, n, n_vocab, &lab->err));
    for (size_t r = 0; r < n; r++)
        CHECK(got[r] > 0.1);
}

/* Terms p (lp - lp0) of size deviation * 8 cancel: the sum errs by their size. */
TEST(kl_is_its_sum_against_the_chosen_row)
{
    for (size_t s = 0; s < N_SIZE; s++)
        for (size_t v = 0; v < N_VOCAB; v++) {
            struct lab *lab = lab_open(t);
            const size_t n = test_sizes[s], n_vocab = vocabs[v], n_ref = 3;
            const double *logits = lab_random(lab, n * n_vocab, 2),
                         *ref = lab_random(lab, n_ref * n_vocab, 2);
            double *want = lab_zeros(lab, n), *size = lab_zeros(lab, n), *got = lab_out_f64(lab, n);
            size_t *which = lab_index(lab, n);
            fill(size, n, 20);
            for (size_t r = 0; r < n; r++) {
                which[r] = lab_below(lab, n_ref);
                want[r] = plain_kl(logits + r * n_vocab, ref + which[r] * n_vocab, n_vocab);
            }
            LAB_OK(lab, lab->op->kl(lab->op, got, lab_in(lab, logits, n * n_vocab),
                                    lab_in(lab, ref, n_ref * n_vocab), which, n, n_vocab, &lab->err));
            lab_close_f64(lab, "kl", got, want, size, n, 16);
        }
}

/* Both gradients as differences of sum_r scale[r] (-logp[r]) or (kl[r]). */
struct probe {
    const double *logits, *lp0, *scale;
    const int32_t *labels;
    const size_t *which;
    size_t n, n_vocab;
};

static double nll_sum(const void *user)
{
    const struct probe *p = user;
    double sum = 0;
    for (size_t r = 0; r < p->n; r++)
        sum -= p->scale[r] * plain_logp(p->logits + r * p->n_vocab, p->labels[r], p->n_vocab);
    return sum;
}

static double kl_sum(const void *user)
{
    const struct probe *p = user;
    double sum = 0;
    for (size_t r = 0; r < p->n; r++)
        sum +=
            p->scale[r] * plain_kl(p->logits + r * p->n_vocab, p->lp0 + p->which[r] * p->n_vocab, p->n_vocab);
    return sum;
}

static void plain_gradients(double *g, double *g_kl, const struct probe *p)
{
    for (size_t r = 0, at = 0; r < p->n; r++, at += p->n_vocab) {
        plain_xent_dx(g + at, p->logits + at, p->labels[r], p->scale[r], p->n_vocab);
        plain_kl_dx(g_kl + at, p->logits + at, p->lp0 + p->which[r] * p->n_vocab, p->scale[r], p->n_vocab);
    }
}

/* Sums of size 5 n: differences at h 1e-3 err by 5 n 1e-13; gradients are of size |scale|. */
TEST(xent_dx_and_kl_dx_are_gradients)
{
    static const size_t rows[] = {0, 1, 2, 5};
    const double most = (IN_DOUBLE ? 5e4 : 64) + ONE_ROUNDING;
    for (size_t s = 0; s < 4; s++)
        for (size_t v = 0; v < N_VOCAB; v++) {
            struct lab *lab = lab_open(t);
            const size_t n = rows[s], n_vocab = vocabs[v], m = n * n_vocab;
            double *logits = lab_random(lab, m, 2), *lp0 = lab_random(lab, 3 * n_vocab, 2),
                   *want = lab_zeros(lab, m), *want_kl = lab_zeros(lab, m), *size = lab_zeros(lab, m);
            const double *scale = lab_random(lab, n, 1);
            size_t *which = lab_index(lab, n);
            const int32_t *labels = random_labels(lab, n, n_vocab);
            for (size_t r = 0; r < n; r++)
                which[r] = lab_below(lab, 3);
            fill(size, m, 8);
            const struct probe probe = {logits, lp0, scale, labels, which, n, n_vocab};
            real *g = lab_out(lab, m), *g_kl = lab_out(lab, m);
            const real *x = lab_in(lab, logits, m);
            LAB_OK(lab, lab->op->xent_dx(lab->op, g, x, labels, scale, n, n_vocab, &lab->err));
            LAB_OK(lab, lab->op->kl_dx(lab->op, g_kl, x, lab_in(lab, lp0, 3 * n_vocab), which, scale, n,
                                       n_vocab, &lab->err));
            plain_gradients(want, want_kl, &probe);
            if (IN_DOUBLE) {
                difference_gradient(want, logits, m, 1e-3, nll_sum, &probe);
                difference_gradient(want_kl, logits, m, 1e-3, kl_sum, &probe);
            }
            lab_close_f64(lab, "xent_dx", lab_get(lab, g, m), want, size, m, most);
            lab_close_f64(lab, "kl_dx", lab_get(lab, g_kl, m), want_kl, size, m, most);
        }
}
