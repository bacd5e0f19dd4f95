/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <dirent.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

bool test_check(struct test *t, bool ok, const char *file, int line, const char *what)
{
    t->n_check++;
    if (!ok)
        test_fail(t, "%s:%d: %s", file, line, what);
    return ok;
}

void test_fail(struct test *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    if (t->n_fail++ == 0)
        printf("FAIL %s\n", t->name);
    if (t->n_fail <= 10) {
        printf("     ");
        vprintf(fmt, args);
        printf("\n");
    }
    va_end(args);
    fflush(stdout);
}

bool test_str(struct test *t, const char *got, const char *expected, const char *file, int line)
{
    t->n_check++;
    if (got && strcmp(got, expected) == 0)
        return true;
    test_fail(t, "%s:%d: found    \"%s\"\n     expected \"%s\"", file, line, got ? got : "(null)", expected);
    return false;
}

bool test_ok(struct test *t, enum pmet_status status, const struct pmet_error *err, const char *file,
             int line)
{
    t->n_check++;
    if (status == PMET_OK)
        return true;
    test_fail(t, "%s:%d: status %d: %s", file, line, (int)status, err->message);
    return false;
}

bool test_close(struct test *t, const double *got, const double *expected, size_t n, double tol,
                const char *file, int line)
{
    t->n_check++;
    for (size_t i = 0; i < n; i++) {
        const double e = fabs(got[i] - expected[i]);
        if (!(e <= tol)) {
            test_fail(t,
                      "%s:%d: element %zu of %zu: found %.17g, expected %.17g, off by %.3g, tolerance %.3g",
                      file, line, i, n, got[i], expected[i], e, tol);
            return false;
        }
        if (tol > 0 && (t->tol == 0 || e / tol > t->worst / t->tol)) {
            t->worst = e;
            t->tol = tol;
        }
    }
    return true;
}

void test_skip(struct test *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(t->skip, sizeof t->skip, fmt, args);
    va_end(args);
}

int test_run(const struct test_case *cases, size_t n, int argc, char **argv)
{
    size_t n_pass = 0, n_fail = 0, n_skip = 0;
    for (size_t i = 0; i < n; i++) {
        struct test t = {.name = cases[i].name};
        if (argc > 1 && !strstr(cases[i].name, argv[1]))
            continue;
        cases[i].fn(&t);
        if (t.n_fail == 0 && t.skip[0]) {
            printf("skip %s: %s\n", t.name, t.skip);
            n_skip++;
            continue;
        }
        if (t.n_fail == 0 && t.n_check == 0)
            test_fail(&t, "checks nothing");
        if (t.n_fail > 0) {
            n_fail++;
            continue;
        }
        n_pass++;
        if (t.tol > 0)
            printf("ok   %-64s worst %.1e  tol %.1e (%.0f %%)\n", t.name, t.worst, t.tol,
                   100 * t.worst / t.tol);
        else
            printf("ok   %s\n", t.name);
        fflush(stdout);
    }
    printf("%zu passed, %zu failed, %zu skipped\n", n_pass, n_fail, n_skip);
    return n_fail > 0;
}

double test_rel_l2(const double *a, const double *b, size_t n)
{
    double d = 0, s = 0;
    for (size_t i = 0; i < n; i++) {
        d += (a[i] - b[i]) * (a[i] - b[i]);
        s += b[i] * b[i];
    }
    return s > 0 ? sqrt(d / s) : sqrt(d);
}

uint64_t test_rng_next(struct test_rng *r)
{
    uint64_t z = r->s += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

double test_rng_uniform(struct test_rng *r)
{
    return (double)(test_rng_next(r) >> 11) * 0x1p-53;
}

double test_rng_normal(struct test_rng *r)
{
    const double u = 1 - test_rng_uniform(r), v = test_rng_uniform(r);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

static char tmpdir[256];
static pid_t tmpdir_owner;

static void remove_tree(const char *path)
{
    DIR *d = opendir(path);
    if (d) {
        for (struct dirent *e; (e = readdir(d));) {
            char child[4096];
            if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
                continue;
            snprintf(child, sizeof child, "%s/%s", path, e->d_name);
            remove_tree(child);
        }
        closedir(d);
    }
    remove(path);
}

static void remove_tmpdir(void)
{
    if (getpid() == tmpdir_owner) /* not when a forked child ends */
        remove_tree(tmpdir);
}

const char *test_tmpdir(void)
{
    if (!tmpdir[0]) {
        const char *base = getenv("TMPDIR");
        if (!base || !*base)
            mkdir("build", 0777); /* may be there */
        snprintf(tmpdir, sizeof tmpdir, "%s/pmet-test-XXXXXX", base && *base ? base : "build");
        if (!mkdtemp(tmpdir)) {
            perror(tmpdir);
            exit(1);
        }
        tmpdir_owner = getpid();
        atexit(remove_tmpdir);
    }
    return tmpdir;
}

const char *test_path(const char *fmt, ...)
{
    static char ring[16][512];
    static size_t next;
    char *out = ring[next++ % 16];
    va_list args;
    const int n = snprintf(out, sizeof ring[0], "%s/", test_tmpdir());
    va_start(args, fmt);
    vsnprintf(out + n, sizeof ring[0] - (size_t)n, fmt, args);
    va_end(args);
    return out;
}

void test_write_file(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f || (n > 0 && fwrite(data, 1, n, f) != n) || fclose(f) != 0) {
        perror(path);
        exit(1);
    }
}

size_t test_count_files(const char *dir)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    if (!d)
        return 0;
    for (struct dirent *e; (e = readdir(d));) {
        char child[4096];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(child, sizeof child, "%s/%s", dir, e->d_name);
        n += 1 + test_count_files(child);
    }
    closedir(d);
    return n;
}
