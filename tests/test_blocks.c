/* SPDX-License-Identifier: MIT
 * The block under all products against its definition, bit by bit, and a row's bits against the
 * number of threads and the groups that a long batch is cut into.      SPEC §1.3 */
#include "ref/cpu/table.h"
#include "ref/ops/ops.h"
#include "ref/cpu/panel.h"
#include "tests/test.h"

static real *random_reals(uint64_t seed, size_t n)
{
    struct test_rng r = {seed};
    real *x = malloc((n + 1) * sizeof *x);
    for (size_t i = 0; x && i < n; i++)
        x[i] = (real)test_rng_normal(&r);
    return x;
}

/* The definition of pmet_block. */
static void block_plain(real acc[PMET_BLOCK][PMET_BLOCK], const real *a, size_t a_row, size_t a_term,
                        const real *b, size_t n_k, size_t step)
{
    for (size_t i = 0; i < PMET_BLOCK; i++)
        for (size_t j = 0; j < PMET_BLOCK; j++)
            for (size_t k = 0; k < n_k; k += step) {
                real s = 0;
                for (size_t q = k; q < n_k && q < k + step; q++)
                    s = pmet_multiply_add(a[i * a_row + q * a_term], b[q * PMET_BLOCK + j], s);
                acc[i][j] += s;
            }
}

TEST(a_block_gives_the_bits_of_its_definition)
{
    static const size_t steps[] = {16, 48, 256}, terms[] = {0, 1, 15, 16, 17, 96, 300, 513};
    for (size_t i = 0; i < 8; i++)
        for (size_t s = 0; s < 3; s++) {
            const size_t n = terms[i];
            real one[PMET_BLOCK][PMET_BLOCK] = {{1}}, two[PMET_BLOCK][PMET_BLOCK] = {{1}};
            real *a = random_reals(n + 1, n * PMET_BLOCK), *b = random_reals(n + 2, n * PMET_BLOCK);
            pmet_block(one, a, n, 1, b, n, steps[s]); /* rows of a side by side, then its terms */
            block_plain(two, a, n, 1, b, n, steps[s]);
            CHECK(memcmp(one, two, sizeof one) == 0);
            pmet_block(one, a, 1, PMET_BLOCK, b, n, steps[s]);
            block_plain(two, a, 1, PMET_BLOCK, b, n, steps[s]);
            CHECK(memcmp(one, two, sizeof one) == 0);
            free(a);
            free(b);
        }
}

TEST(a_long_batch_on_two_threads_gives_the_bits_of_single_rows_on_one)
{
    enum { TOKENS = 1100, OUT = 130, IN = 300 };
    static const size_t batch[] = {1, 600};
    struct pmet_ops *one = NULL, *two = NULL;
    CHECK_DONE(pmet_ops_cpu(1, &one, &t->err));
    CHECK_DONE(pmet_ops_cpu(2, &two, &t->err));
    real *matrix = random_reals(13, OUT * IN), *x = random_reals(14, TOKENS * IN),
         *g = random_reals(15, TOKENS * OUT), *y = random_reals(16, TOKENS * OUT),
         *y1 = random_reals(17, TOKENS * OUT), *g_x = random_reals(18, TOKENS * IN),
         *g_x1 = random_reals(19, TOKENS * IN);
    const struct pmet_weight w = {.data = matrix, .dtype = PMET_REAL, .n_out = OUT, .n_in = IN};
    CHECK_DONE(two->matmul(two, y, OUT, x, w, NULL, TOKENS, &t->err));
    CHECK_DONE(two->matmul_dx(two, g_x, g, OUT, w, false, TOKENS, &t->err));
    for (size_t k = 0; k < 2; k++) {
        for (size_t r = 0; r < TOKENS; r += batch[k]) {
            const size_t n = TOKENS - r < batch[k] ? TOKENS - r : batch[k];
            CHECK_DONE(one->matmul(one, y1 + r * OUT, OUT, x + r * IN, w, NULL, n, &t->err));
            CHECK_DONE(one->matmul_dx(one, g_x1 + r * IN, g + r * OUT, OUT, w, false, n, &t->err));
        }
        CHECK(memcmp(y, y1, TOKENS * OUT * sizeof *y) == 0);
        CHECK(memcmp(g_x, g_x1, TOKENS * IN * sizeof *g_x) == 0);
    }
    real *const all[] = {matrix, x, g, y, y1, g_x, g_x1};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    pmet_ops_free(one);
    pmet_ops_free(two);
}
