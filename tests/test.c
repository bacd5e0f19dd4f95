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

bool test_refused(struct test *t, enum pmet_status status, enum pmet_status expected, const char *message,
                  const char *file, int line)
{
    const char *dir = test_tmpdir(), *got = t->err.message;
    const size_t n = strlen(dir);
    if (strncmp(got, dir, n) == 0 && got[n] == '/')
        got += n + 1;
    bool ok = test_str(t, got, message, file, line);
    if (status != expected || t->err.status != expected) {
        test_fail(t, "%s:%d: status %d; expected %d", file, line, (int)status, (int)expected);
        ok = false;
    }
    t->err = (struct pmet_error){PMET_OK, ""};
    return ok;
}

/* What a claim holds until it ends. */
struct test_owned {
    struct test_owned *next;
    void *p;
    void (*done)(void *p);
};

void *test_own(struct test *t, void *p, void (*done)(void *p))
{
    struct test_owned *o = malloc(sizeof *o);
    *o = (struct test_owned){t->owned, p, done};
    t->owned = o;
    return p;
}

void *test_alloc(struct test *t, size_t n_bytes)
{
    return test_own(t, calloc(n_bytes ? n_bytes : 1, 1), free);
}

const char *test_text(struct test *t, const char *fmt, ...)
{
    va_list args;
    char *text = NULL;
    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) < 0)
        exit(1);
    va_end(args);
    return test_own(t, text, free);
}

static void release_json(void *value)
{
    json_decref(value);
}

json_t *test_json(struct test *t, json_t *value)
{
    return test_own(t, value, release_json);
}

static void let_go(struct test *t)
{
    for (struct test_owned *o; (o = t->owned);) {
        t->owned = o->next;
        o->done(o->p);
        free(o);
    }
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

static struct {
    const char *name;
    test_fn *fn;
} cases[64];
static size_t n_case;

void test_enter(const char *name, test_fn *fn)
{
    if (n_case == sizeof cases / sizeof *cases)
        abort();
    cases[n_case].name = name;
    cases[n_case++].fn = fn;
}

/* argv[1]: only claims whose names hold it. */
int main(int argc, char **argv)
{
    size_t n_pass = 0, n_fail = 0, n_skip = 0;
    for (size_t i = 0; i < n_case; i++) {
        struct test t = {.name = cases[i].name};
        if (argc > 1 && !strstr(cases[i].name, argv[1]))
            continue;
        cases[i].fn(&t);
        let_go(&t);
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

char *test_slurp(struct test *t, const char *path, size_t *n)
{
    struct pmet_error err = {PMET_OK, ""};
    char *data = NULL;
    size_t n_bytes = 0;
    if (pmet_read_file(pmet_io_system(), path, SIZE_MAX, &data, &n_bytes, &err) != PMET_OK)
        return NULL;
    if (n)
        *n = n_bytes;
    return test_own(t, data, free);
}

const char *test_spec_table(struct test *t, const char *heading)
{
    const char *spec = test_slurp(t, "SPEC.md", NULL), *at = spec ? strstr(spec, heading) : NULL;
    for (int line = 0; at && line < 2; line++)
        at = (at = strchr(at, '\n')) ? at + 1 : NULL;
    if (!at)
        test_fail(t, "SPEC.md: no table \"%s\"", heading);
    return at ? at : "";
}

bool test_same_file(struct test *t, const char *a, const char *b)
{
    size_t n, m;
    const char *x = test_slurp(t, a, &n), *y = test_slurp(t, b, &m);
    return x && y && n == m && memcmp(x, y, n) == 0;
}

void test_write_text(const char *path, const char *text)
{
    test_write_file(path, text, strlen(text));
}

struct pmet_tensor test_tensor(const char *name, enum pmet_dtype dtype, size_t n, size_t m, const void *data)
{
    const size_t n_elem = m ? n * m : n;
    return (struct pmet_tensor){name, dtype, m ? 2 : 1, {n, m}, n_elem, n_elem * pmet_dtype_size(dtype),
                                data};
}
