/* SPDX-License-Identifier: MIT
 * The store: records and arrays come back as written or not at all, and nothing whole is thrown
 * away unasked.      SPEC §9.11 */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "ref/store/store.h"
#include "tests/fault.h"
#include "tests/test.h"

enum { N_RECORD = 5 };
static const char *const record[N_RECORD] = {"first", "", "a third of some length", "4", "the last one"};

struct taken {
    size_t n;
    bool in_order;
};

static enum pmet_status take(void *user, const void *data, size_t n, struct pmet_error *err)
{
    struct taken *t = user;
    (void)err;
    t->in_order =
        t->in_order && t->n < N_RECORD && strlen(record[t->n]) == n && memcmp(record[t->n], data, n) == 0;
    t->n++;
    return PMET_OK;
}

static enum pmet_status open_file(const struct pmet_io *io, const char *path, int seed, struct taken *t,
                                  struct pmet_journal **j, struct pmet_error *err)
{
    json_t *head = json_pack("{s:s, s:i}", "model", "m", "seed", seed);
    *t = (struct taken){0, true};
    const enum pmet_status status = pmet_journal_open_file(io, path, head, "run", take, t, j, err);
    json_decref(head);
    return status;
}

/* Appends the records behind those that are there. */
static enum pmet_status finish(const struct pmet_io *io, const char *path, struct taken *t,
                               struct pmet_error *err)
{
    struct pmet_journal *j = NULL;
    enum pmet_status status;
    PMET_GO(open_file(io, path, 1, t, &j, err));
    for (size_t i = t->n; i < N_RECORD; i++)
        PMET_GO(pmet_journal_append(j, record[i], strlen(record[i]), err));
    status = pmet_journal_sync(j, err);
done:
    pmet_journal_close(j);
    return status;
}

static char *whole_journal(struct test *t, const char *path, size_t *n)
{
    struct taken taken;
    char *data = NULL;
    CHECK_DONE(finish(pmet_io_system(), path, &taken, &t->err));
    CHECK_DONE(pmet_read_file(pmet_io_system(), path, 1 << 20, &data, n, &t->err));
    return data;
}

static bool same_as(const char *path, const char *data, size_t n)
{
    struct pmet_error err = {PMET_OK, ""};
    char *now = NULL;
    size_t m = 0;
    const bool same = pmet_read_file(pmet_io_system(), path, 1 << 20, &now, &m, &err) == PMET_OK && m == n &&
                      memcmp(now, data, n) == 0;
    free(now);
    return same;
}

TEST(a_journal_cut_anywhere_goes_on_to_the_same_bytes)
{
    const char *path = test_path("cut.journal");
    size_t n, most = 0;
    char *data = whole_journal(t, path, &n);
    for (size_t at = 0; at <= n; at++)
        for (int zeros = 0; zeros < 2; zeros++) { /* a power cut leaves zeros behind */
            struct taken taken;
            test_write_file(path, data, at);
            CHECK(!zeros || truncate(path, (off_t)(at + 500)) == 0);
            CHECK_DONE(finish(pmet_io_system(), path, &taken, &t->err));
            CHECK(taken.in_order && taken.n >= most - (zeros && most > 0) && same_as(path, data, n));
            most = taken.n;
        }
    CHECK(most == N_RECORD);
    free(data);
}

/* Any bit: the record is not handed on; where whole ones stand behind it, the journal is refused
 * with its byte. */
TEST(a_changed_bit_hands_on_no_wrong_record)
{
    const char *path = test_path("bit.journal");
    size_t n, n_refused = 0;
    char *data = whole_journal(t, path, &n);
    const size_t last = n - strlen(record[N_RECORD - 1]) - 72;
    for (size_t bit = 0; bit < 8 * n; bit += 3) {
        struct taken taken;
        struct pmet_error err = {PMET_OK, ""};
        data[bit / 8] ^= (char)(1 << bit % 8);
        test_write_file(path, data, n);
        const enum pmet_status status = finish(pmet_io_system(), path, &taken, &err);
        CHECK(taken.in_order);
        if (bit / 8 < last) {
            const char *cut = strstr(err.message, "(truncate -s ");
            CHECK(status == PMET_FORMAT && strstr(err.message, "found a damaged record") && cut &&
                  strtoul(cut + 13, NULL, 10) <= bit / 8 && same_as(path, data, n));
            n_refused++;
        } else {
            CHECK(status == PMET_OK && taken.n == N_RECORD - 1);
        }
        data[bit / 8] ^= (char)(1 << bit % 8);
    }
    CHECK(n_refused > 100);
    free(data);
}

TEST(another_head_or_another_file_is_refused)
{
    const char *path = test_path("other.journal");
    struct pmet_error err = {PMET_OK, ""}, foreign = err, locked = err;
    struct pmet_journal *j;
    struct taken taken;
    size_t n;
    char *data = whole_journal(t, path, &n);
    CHECK(open_file(pmet_io_system(), path, 2, &taken, &j, &err) == PMET_INPUT && taken.n == 0);
    CHECK_STR(
        strrchr(err.message, '/'),
        "/other.journal: begun with other seed: found 1; this run has 2 (remove the file to begin again)");
    CHECK(same_as(path, data, n));
    test_write_file(path, "mine\n", 5);
    CHECK(finish(pmet_io_system(), path, &taken, &foreign) == PMET_FORMAT && same_as(path, "mine\n", 5));
    test_write_file(path, data, n);
    const int fd = open(path, O_RDWR);
    CHECK(fd >= 0 && flock(fd, LOCK_EX) == 0);
    CHECK(finish(pmet_io_system(), path, &taken, &locked) == PMET_INPUT);
    CHECK_STR(strrchr(locked.message, '/'),
              "/other.journal: another process is at work on it: wait for its end");
    close(fd);
    free(data);
}

TEST(a_journal_whose_call_fails_goes_on)
{
    const char *path = test_path("fails.journal");
    size_t n;
    char *data = whole_journal(t, path, &n);
    for (size_t k = 0;; k++) {
        struct fault f;
        struct taken taken;
        struct pmet_error err = {PMET_OK, ""}, none = err;
        unlink(path);
        fault_begin(&f, k, EIO);
        f.max_bytes = 7;
        const enum pmet_status status = finish(&f.io, path, &taken, &err);
        if (!f.fired)
            break;
        CHECK(status == PMET_IO && strncmp(err.message, path, strlen(path)) == 0);
        CHECK_OK(finish(pmet_io_system(), path, &taken, &none), &none);
        CHECK(taken.in_order && same_as(path, data, n));
    }
    free(data);
}

/* ---- a folder ---- */

static const char key[65] = "00000000000000000000000000000000000000000000000000000000000000a1",
                  key2[65] = "00000000000000000000000000000000000000000000000000000000000000a2";

/* Two arrays and a number, under `key`. */
static enum pmet_status put(struct pmet_store *s, const char *name, struct pmet_error *err)
{
    static const double z[] = {1, 2, 3}, a[] = {4};
    const struct pmet_tensor tensor[] = {test_tensor("z", PMET_F64, 3, 0, z),
                                         test_tensor("a", PMET_F64, 1, 0, a)};
    const struct pmet_pair pair = {"norm", "0x1p+0"};
    return pmet_store_put(s, name, key, tensor, 2, &pair, 1, err);
}

static bool get(struct test *t, struct pmet_store *s, const char *name, const char *wanted)
{
    struct pmet_safetensors *st = NULL;
    CHECK_DONE(pmet_store_get(s, name, wanted, 4 * sizeof(double) + 1, &st, &t->err));
    CHECK(!st); /* of another size */
    CHECK_DONE(pmet_store_get(s, name, wanted, 4 * sizeof(double), &st, &t->err));
    if (!st)
        return false;
    const struct pmet_tensor *z = pmet_tensors_find(&st->all, "z");
    CHECK(z && z->n_elem == 3 && memcmp(z->data, (const double[]){1, 2, 3}, 24) == 0);
    CHECK_STR(pmet_safetensors_metadata(st, "norm"), "0x1p+0");
    pmet_safetensors_close(st);
    return true;
}

TEST(arrays_come_back_under_their_key_and_undamaged)
{
    const char *dir = test_path("work");
    struct pmet_store *s = NULL, *second = NULL;
    struct pmet_error err = {PMET_OK, ""}, locked = err;
    char *data = NULL;
    size_t n = 0, n_whole = 0;
    CHECK_OK(pmet_store_open(pmet_io_system(), dir, &s, &err), &err);
    CHECK(pmet_store_open(pmet_io_system(), dir, &second, &locked) == PMET_INPUT);
    CHECK_STR(
        strrchr(locked.message, '/'),
        "/pmet.lock: another process is at work in this folder: wait for its end, or give another --work");
    CHECK(!get(t, s, "x", key));
    CHECK_OK(put(s, "x", &err), &err);
    CHECK(get(t, s, "x", key) && !get(t, s, "x", key2));
    const char *path = test_path("work/x.safetensors");
    CHECK_OK(pmet_read_file(pmet_io_system(), path, 1 << 20, &data, &n, &err), &err);
    for (size_t bit = 0; bit < 8 * n; bit += 5) {
        data[bit / 8] ^= (char)(1 << bit % 8);
        test_write_file(path, data, n);
        n_whole += get(t, s, "x", key); /* then with the right values: a bit of "format", of a blank */
        data[bit / 8] ^= (char)(1 << bit % 8);
    }
    CHECK(n_whole < 8 * n / 5 / 10);
    free(data);
    CHECK_OK(put(s, "x", &err), &err);
    CHECK_OK(put(s, "sum-1-0", &err), &err);
    CHECK_OK(put(s, "sum-10-0", &err), &err);
    pmet_store_remove(s, "sum-1-");
    CHECK(!get(t, s, "sum-1-0", key) && get(t, s, "sum-10-0", key));
    /* somebody's own files in the same folder */
    test_write_text(test_path("work/sum-of-all.safetensors"), "mine");
    test_write_text(test_path("work/sum-10-0.csv"), "mine");
    pmet_store_remove(s, "sum-");
    CHECK(!get(t, s, "sum-10-0", key) && get(t, s, "x", key));
    CHECK(access(test_path("work/sum-of-all.safetensors"), F_OK) == 0 &&
          access(test_path("work/sum-10-0.csv"), F_OK) == 0);
    pmet_store_close(s);
    /* what a killed run left of an array */
    test_write_text(test_path("work/x.safetensors.pmet-tmp-999999999-0"), "half");
    CHECK_OK(pmet_store_open(pmet_io_system(), dir, &s, &err), &err);
    CHECK_STR(pmet_store_left(s, 0), "x.safetensors.pmet-tmp-999999999-0");
    CHECK(!pmet_store_left(s, 1) && get(t, s, "x", key));
    CHECK(access(test_path("work/x.safetensors.pmet-tmp-999999999-0"), F_OK) != 0);
    pmet_store_close(s);
}

TEST(a_digest_follows_the_value_and_not_its_spelling)
{
    char a[65], b[65], c[65];
    json_t *one = test_json(t, json_loads("{\"x\":1, \"y\":[2]}", 0, NULL)),
           *two = test_json(t, json_loads("{\"y\":[2],\"x\":1}", 0, NULL));
    CHECK_DONE(pmet_digest_json(one, "", 0, a, &t->err));
    CHECK_DONE(pmet_digest_json(two, "", 0, b, &t->err));
    CHECK_DONE(pmet_digest_json(two, "z", 1, c, &t->err));
    CHECK(strcmp(a, b) == 0 && strcmp(a, c) != 0 && strlen(a) == 64);
}
