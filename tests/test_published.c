/* SPDX-License-Identifier: MIT
 * Published second moments: archives of any name that the published code gives them, in the folders
 * where it keeps them, stored or deflated.      SPEC §9.4 */
#include <sys/stat.h>
#include <unistd.h>
#include "ref/method/stats.h"
#include "tests/test.h"
#include "tests/torch.h"

static const float sum[] = {-2, 0, 2, 0, 2, 4, 2, 4, 6};

static void add_array(struct archive *a, bool deflate, const char *name, const char *type, const char *shape,
                      const void *data, size_t n)
{
    char head[128];
    struct bytes member = {.n = 0};
    const int n_head =
        snprintf(head, sizeof head, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }\n", type, shape);
    const unsigned char start[] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)n_head, 0};
    bytes_add(&member, start, sizeof start);
    bytes_text(&member, head);
    bytes_add(&member, data, n);
    archive_add(a, name, member.p, member.n, deflate ? 8 : 0, 0);
    free(member.p);
}

/* What np.savez, or with `deflate` np.savez_compressed, makes of the sum and a count. */
static void write_archive(const char *path, bool deflate, const char *count_type, const void *count,
                          size_t n_count)
{
    struct archive a = {.n_member = 0};
    add_array(&a, deflate, "mom2.count.npy", count_type, "()", count, n_count);
    add_array(&a, deflate, "mom2.mom2.npy", "<f4", "(3, 3)", sum, sizeof sum);
    archive_end(&a, path);
}

/* A fresh folder of archives, the i-th (named from `dir` on) with a count of i + 1. */
static void fill(const char *dir, const char *const *files, bool deflate)
{
    for (int64_t i = 0; i < 4 && files[i]; i++) {
        const int64_t count = i + 1;
        char *path = strdup(test_path("%s/%s", dir, files[i]));
        for (char *slash = path + strlen(test_tmpdir()); (slash = strchr(slash + 1, '/'));) {
            *slash = '\0';
            mkdir(path, 0777);
            *slash = '/';
        }
        write_archive(path, deflate, "<i8", &count, sizeof count);
        free(path);
    }
}

static enum pmet_status load(struct test *t, const char *dir, size_t *count)
{
    const struct pmet_stats_source from = {.io = pmet_io_system(),
                                           .dir = dir,
                                           .fingerprint = "own",
                                           .n_samples = 100000,
                                           .dataset = "wikipedia",
                                           .dtype = "float32"};
    struct pmet_stats_info info = {.count = 0};
    double *c = NULL;
    const enum pmet_status status = pmet_stats_load(&from, "m", 3, &c, &info, &t->err);
    for (size_t i = 0; c && i < 9; i++)
        CHECK(c[i] == (double)(real)((double)sum[i] / (double)info.count));
    CHECK(status != PMET_OK || info.origin == PMET_STATS_UNVERIFIED);
    free(c);
    *count = info.count;
    return status;
}

struct choice {
    const char *files[4];
    size_t chosen; /* the i-th counts i + 1; 0: refused */
    const char *message;
};

#define TWO(a, b)                                                                                            \
    "found /" a " and /" b                                                                                   \
    " for \"m\", between which mom2_n_samples (100000) does not decide; expected one "                       \
    "(--stats with a folder that holds it alone)"

TEST(a_published_archive_is_found_by_the_pattern_of_its_name)
{
    static const struct choice choices[] = {
        {{"m.npz"}, 1, NULL},
        {{"m_float32_mom2_100000.npz"}, 1, NULL},
        {{"m_float32_mom2_180.npz"}, 1, NULL},
        {{"m_float32_mom2.npz"}, 1, NULL},
        {{"m_float32_mom2_t512_100000.npz"}, 1, NULL},
        {{"m_float32_mom2_t512.npz"}, 1, NULL},
        {{"m_float64_mom2_100000.npz"}, 1, NULL},
        {{"m_float32_mom2_100000.npz", "m.npz"}, 2, NULL},
        {{"m_float32_mom2_50000.npz", "m_float32_mom2_100000.npz", "m_float32_mom2.npz"}, 2, NULL},
        {{"m_float32_mom2_t512_100000.npz", "m_float32_mom2_100000.npz"}, 2, NULL},
        {{"m_float64_mom2_100000.npz", "m_float32_mom2_100000.npz"}, 2, NULL},
        {{"m_float32_mom2_t512_100000.npz", "m_float32_mom2_50000.npz"}, 1, NULL},
        {{"m_float32_mom2_180.npz", "m_float32_mom2_50000.npz"},
         0,
         TWO("m_float32_mom2_180.npz", "m_float32_mom2_50000.npz")},
        {{"m_float32_mom2_t512.npz", "m_float32_mom2.npz"},
         0,
         TWO("m_float32_mom2.npz", "m_float32_mom2_t512.npz")},
        {{"m_float32_mom2_t512_100000.npz", "m_float32_mom2_t128_100000.npz"},
         0,
         TWO("m_float32_mom2_t128_100000.npz", "m_float32_mom2_t512_100000.npz")},
        /* what is near the pattern is not of it */
        {{"m_float32_mom2_x.npz", "m_float32_mom2_180.npz", "m1_float32_mom2_100000.npz"}, 2, NULL},
        {{"m_float32_mom2_180.npz.part", "m_float32_norm_mean_100000.npz", "m_float32_mom2_7.npz"}, 3, NULL},
        /* folders */
        {{"wikipedia_stats/m_float32_mom2_100000.npz"}, 1, NULL},
        {{"gpt/wikipedia_stats/m_float32_mom2_50000.npz"}, 1, NULL},
        {{"wikitext_stats/m_float32_mom2_100000.npz"}, 1, NULL},
        {{"wikitext_stats/m_float32_mom2_100000.npz", "wikipedia_stats/m_float32_mom2_100000.npz"}, 2, NULL},
        {{"a/wikipedia_stats/m_float32_mom2_1.npz", "m_float32_mom2_2.npz"}, 2, NULL},
        {{"a/wikipedia_stats/m_float32_mom2_100000.npz", "b/wikipedia_stats/m_float32_mom2_100000.npz"},
         0,
         TWO("a/wikipedia_stats/m_float32_mom2_100000.npz", "b/wikipedia_stats/m_float32_mom2_100000.npz")},
        {{"a/m_float32_mom2_100000.npz"},
         0,
         "holds no statistics of \"m\"; expected this name with .safetensors behind it (pmet stats) or "
         "_float32_mom2[_tN][_SIZE].npz (published), there or in [MODEL/]wikipedia_stats"},
    };
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        char name[16];
        size_t count = 0;
        snprintf(name, sizeof name, "choice-%zu", i);
        fill(name, choices[i].files, i % 2);
        const char *dir = test_path("%s", name);
        const enum pmet_status status = load(t, dir, &count);
        if (choices[i].chosen && !(CHECK_OK(status, &t->err) && CHECK(count == choices[i].chosen)))
            test_fail(t, "case %zu: found the one of count %zu", i, count);
        if (!choices[i].chosen && CHECK(status == PMET_INPUT))
            CHECK_STR(t->err.message + strlen(dir) + 2, choices[i].message);
        t->err = (struct pmet_error){PMET_OK, ""};
    }
}

/* A count may be of any type that numpy gives one, and must be a whole number above 0. */
TEST(a_count_is_a_whole_number_above_zero)
{
    static const int64_t i64 = 7, negative = -7;
    static const int32_t i32 = 7;
    static const double whole = 7, half = 7.5, huge = 1e300, inf = (double)INFINITY, nan = (double)NAN,
                        zero = 0;
    static const float f32 = 7;
    static const struct {
        const char *type;
        const void *count;
        size_t n;
        const char *found; /* NULL: it is taken */
    } counts[] = {{"<i8", &i64, 8, NULL},      {"<i4", &i32, 4, NULL},      {"<f8", &whole, 8, NULL},
                  {"<f4", &f32, 4, NULL},      {"<i8", &negative, 8, "-7"}, {"<f8", &half, 8, "7.5"},
                  {"<f8", &huge, 8, "1e+300"}, {"<f8", &inf, 8, "inf"},     {"<f8", &nan, 8, "nan"},
                  {"<f8", &zero, 8, "0"}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        size_t count = 0;
        write_archive(test_path("m.npz"), false, counts[i].type, counts[i].count, counts[i].n);
        const enum pmet_status status = load(t, test_tmpdir(), &count);
        if (!counts[i].found)
            CHECK(CHECK_OK(status, &t->err) && count == 7);
        else if (CHECK(status == PMET_INPUT))
            CHECK_STR(strstr(t->err.message, "mom2.count"),
                      test_text(t, "mom2.count: found %s; expected a whole number above 0", counts[i].found));
        t->err = (struct pmet_error){PMET_OK, ""};
    }
    unlink(test_path("m.npz"));
}
