/* SPDX-License-Identifier: MIT
 * .npz files that numpy 2.4 wrote: tests/data/stats.npz by np.savez with the members of the
 * published statistics, arrays.npz with each version, order and type, compressed.npz by
 * np.savez_compressed. */
#include <errno.h>
#include "tensors/npz.h"
#include "tests/fault.h"
#include "tests/test.h"

static struct pmet_npz *open_npz(struct test *t, const char *path)
{
    struct pmet_npz *z = NULL;
    CHECK_DONE(pmet_npz_open(pmet_io_system(), path, &z, &t->err));
    return z;
}

static void check_array(struct test *t, struct pmet_npz *z, const char *name, enum pmet_dtype dtype,
                        const size_t *shape, size_t n_dim, const double *expected, size_t n)
{
    struct pmet_tensor x;
    double got[32];
    if (!CHECK_DONE(pmet_npz_find(z, name, &x, &t->err)))
        return;
    CHECK_STR(x.name, name);
    if (!CHECK(x.dtype == dtype && x.n_dim == n_dim && x.n_elem == n && n <= 32 &&
               (n_dim == 0 || memcmp(x.shape, shape, n_dim * sizeof *shape) == 0)))
        return;
    pmet_to_f64(got, x.data, x.dtype, n);
    CHECK_CLOSE(got, expected, n, 0);
}

static void check_stats(struct test *t, const char *path)
{
    struct pmet_npz *z = open_npz(t, path);
    if (!z)
        return;
    const size_t shape[] = {3, 3};
    const double mom2[] = {-2, 0, 2, 0, 2, 4, 2, 4, 6}, count = 7, size = 100000;
    check_array(t, z, "mom2.mom2", PMET_F32, shape, 2, mom2, 9);
    check_array(t, z, "mom2.count", PMET_I64, NULL, 0, &count, 1);
    check_array(t, z, "sample_size", PMET_I64, NULL, 0, &size, 1);
    struct pmet_tensor none;
    CHECK_REFUSED(pmet_npz_find(z, "mom2", &none, &t->err), PMET_INPUT,
                  test_text(t, "%s: holds no array \"mom2\"", path));
    CHECK_DONE(pmet_npz_look(z, "mom2.mom2", &none, NULL, &t->err));
    CHECK(none.dtype == PMET_F32 && none.n_dim == 2 && none.shape[1] == 3 && !none.data);
    pmet_npz_close(z);
}

TEST(the_members_of_published_statistics_are_read_stored_or_deflated)
{
    check_stats(t, "tests/data/stats.npz");
    check_stats(t, "tests/data/compressed.npz");
}

TEST(every_version_and_order_of_npy_gives_the_same_array)
{
    struct pmet_npz *z = open_npz(t, "tests/data/arrays.npz");
    if (!z)
        return;
    const size_t s1[] = {3}, s2[] = {2, 2}, s3[] = {2, 3, 4}, s0[] = {0, 4};
    const double v1[] = {1.5, -2, 3}, v2[] = {1, 2, 3, -4}, v3 = 0.1;
    double count[24];
    for (int i = 0; i < 24; i++)
        count[i] = i;
    check_array(t, z, "v1", PMET_F32, s1, 1, v1, 3);
    check_array(t, z, "v2", PMET_I64, s2, 2, v2, 4);
    check_array(t, z, "v3", PMET_F64, NULL, 0, &v3, 1);
    check_array(t, z, "fortran", PMET_F64, s3, 3, count, 24);
    check_array(t, z, "fortran", PMET_F64, s3, 3, count, 24);
    check_array(t, z, "empty", PMET_F32, s0, 2, count, 0);
    pmet_npz_close(z);
}

#define TYPES "<f2, <f4, <f8, <i4, <i8, |u1 or |b1"

static void refuse(struct test *t, const char *path, const char *name, enum pmet_status status,
                   const char *message)
{
    struct pmet_tensor x;
    struct pmet_npz *z = open_npz(t, path);
    if (!z)
        return;
    CHECK(pmet_npz_find(z, name, &x, &t->err) == status);
    CHECK_STR(strstr(t->err.message, ".npz") ? strstr(t->err.message, ".npz") : t->err.message, message);
    t->err = (struct pmet_error){PMET_OK, ""};
    pmet_npz_close(z);
}

TEST(arrays_of_other_kinds_are_refused)
{
    const char *p = "tests/data/arrays.npz";
    refuse(t, p, "big", PMET_UNSUPPORTED, ".npz: array \"big\": type \">f8\"; expected " TYPES);
    refuse(t, p, "object", PMET_UNSUPPORTED, ".npz: array \"object\": type \"|O\"; expected " TYPES);
    refuse(t, p, "record", PMET_FORMAT, ".npz: array \"record\": found no .npy header of a plain array");
    refuse(t, p, "rank9", PMET_UNSUPPORTED, ".npz: array \"rank9\": found 9 dimensions; expected at most 8");
    refuse(t, p, "short", PMET_FORMAT,
           ".npz: array \"short\": found 8 bytes of data; its shape and type take 12");
    refuse(t, p, "long", PMET_FORMAT,
           ".npz: array \"long\": found 16 bytes of data; its shape and type take 12");
    refuse(t, p, "huge", PMET_FORMAT, ".npz: array \"huge\": shape: the product overflows");
    refuse(t, p, "v9", PMET_UNSUPPORTED, ".npz: array \"v9\": .npy version 9; expected 1, 2 or 3");
    refuse(t, p, "text", PMET_FORMAT, ".npz: array \"text\": found no .npy header of a plain array");
    refuse(t, p, "none", PMET_INPUT, ".npz: holds no array \"none\"");
}

/* Every byte of the file is changed in turn, and the file cut at every length: no crash (the
 * sanitizers see to that), and the matrix is either refused or unharmed: what is not data has no
 * bearing on it. */
static void damage(struct test *t, const char *source, size_t n_least)
{
    char *data;
    size_t n, n_refused = 0;
    const char *path = test_path("damaged.npz");
    const float mom2[] = {-2, 0, 2, 0, 2, 4, 2, 4, 6};
    CHECK_DONE(pmet_read_file(pmet_io_system(), source, SIZE_MAX, &data, &n, &t->err));
    for (size_t i = 0; i < 2 * n; i++) {
        struct pmet_npz *z;
        struct pmet_tensor x;
        const char kept = data[i % n];
        if (i < n)
            data[i] = (char)(kept ^ (i % 2 ? 0xff : 0x01));
        test_write_file(path, data, i < n ? n : i - n);
        data[i % n] = kept;
        t->err = (struct pmet_error){PMET_OK, ""};
        enum pmet_status status = pmet_npz_open(pmet_io_system(), path, &z, &t->err);
        if (status == PMET_OK) {
            status = pmet_npz_find(z, "mom2.mom2", &x, &t->err);
            if (status == PMET_OK &&
                (i >= n || x.n_bytes != sizeof mom2 || memcmp(x.data, mom2, sizeof mom2) != 0))
                test_fail(t, "byte %zu: the damage went unnoticed", i);
            pmet_npz_close(z);
        }
        if (status != PMET_OK && t->err.message[0] == '\0')
            test_fail(t, "byte %zu: refused without a message", i);
        n_refused += status != PMET_OK;
    }
    CHECK(n_refused > n + n_least); /* every cut, and at least every byte of the matrix's member */
    free(data);
}

TEST(damage_is_refused_or_without_effect)
{
    damage(t, "tests/data/stats.npz", 164);
    damage(t, "tests/data/compressed.npz", 80);
}

static void refuse_bytes(struct test *t, const void *data, size_t n, const char *message)
{
    struct pmet_npz *z = NULL;
    test_write_file(test_path("b.npz"), data, n);
    CHECK_REFUSED(pmet_npz_open(pmet_io_system(), test_path("b.npz"), &z, &t->err), PMET_FORMAT, message);
    CHECK(!z);
}

TEST(archives_that_are_none_are_refused)
{
    char end[22] = "PK\5\6", zip64[22] = "PK\5\6";
    refuse_bytes(t, end, 21, "b.npz: found 21 bytes; expected a zip archive");
    refuse_bytes(
        t, "                       ", 23,
        "b.npz: found no end record; expected a zip archive that is complete: copy or download it again");
    end[10] = 1; /* one entry in a directory of no bytes */
    refuse_bytes(t, end, 22, "b.npz: the central directory does not lie within the file");
    memset(zip64 + 10, 0xff, 2);
    refuse_bytes(t, zip64, 22, "b.npz: found no ZIP64 locator before the end record");
}

static size_t put(unsigned char *p, size_t at, uint64_t value, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++)
        p[at + i] = (unsigned char)(value >> 8 * i);
    return at + n_bytes;
}

/* Archives above 4 GiB: all of the directory's numbers in the wide fields. The member is numpy's
 * "v1.npy". */
TEST(zip64_directories_are_read)
{
    char *npz;
    size_t n, n_data = 128 + 12;
    unsigned char zip[1000] = {0};
    CHECK_DONE(pmet_read_file(pmet_io_system(), "tests/data/arrays.npz", SIZE_MAX, &npz, &n, &t->err));
    size_t at = 30 + 6 + n_data; /* arrays.npz begins with this member: local header, name, data */
    memcpy(zip, npz, at);
    const size_t directory = at;
    memcpy(zip + at, "PK\1\2", 4);
    memcpy(zip + at + 16, npz + 14, 4); /* CRC */
    put(zip, at + 20, 0xffffffffffffffff, 8);
    put(zip, at + 28, 6, 2);
    put(zip, at + 30, 28 + 4, 2);
    put(zip, at + 42, 0xffffffff, 4);
    memcpy(zip + at + 46, "v1.npy", 6);
    at = put(zip, at + 52, 0xcafe, 4); /* another extra field, empty */
    at = put(zip, at, 1 | 24 << 16, 4);
    at = put(zip, at, n_data, 8);
    at = put(zip, at, n_data, 8);
    at = put(zip, at, 0, 8);
    const size_t end64 = at;
    memcpy(zip + at, "PK\6\6", 4);
    put(zip, at + 24, 1, 8);
    put(zip, at + 32, 1, 8);
    put(zip, at + 40, end64 - directory, 8);
    at = put(zip, at + 48, directory, 8);
    memcpy(zip + at, "PK\6\7", 4);
    at = put(zip, at + 8, end64, 8) + 4;
    memcpy(zip + at, "PK\5\6", 4);
    put(zip, at + 8, 0xffffffff, 4);
    at = put(zip, at + 12, 0xffffffffffffffff, 8) + 2;
    const char *path = test_path("wide.npz");
    test_write_file(path, zip, at);
    struct pmet_npz *z = open_npz(t, path);
    const size_t shape[] = {3};
    const double v1[] = {1.5, -2, 3};
    if (z)
        check_array(t, z, "v1", PMET_F32, shape, 1, v1, 3);
    pmet_npz_close(z);
    put(zip, directory + 58, 8, 2); /* the wide field has room for one number of three */
    refuse_bytes(t, zip, at, "b.npz: member \"v1.npy\": its ZIP64 field is cut short");
    put(zip, directory + 58, 24, 2);
    put(zip, directory + 60, UINT64_MAX - 20, 8);
    put(zip, directory + 68, UINT64_MAX - 20, 8);
    refuse_bytes(t, zip, at,
                 "b.npz: member \"v1.npy\": 18446744073709551595 bytes at byte 0 do not lie within the file");
    free(npz);
}

/* tests/data/arrays.npz with `n` bytes of entry `entry` of the central directory replaced. */
static void refuse_entry(struct test *t, size_t entry, size_t at, const char *bytes, size_t n,
                         const char *message)
{
    char *data;
    size_t n_data, p = 0;
    CHECK_DONE(pmet_read_file(pmet_io_system(), "tests/data/arrays.npz", SIZE_MAX, &data, &n_data, &t->err));
    for (size_t seen = 0; p + 4 < n_data; p++)
        if (memcmp(data + p, "PK\1\2", 4) == 0 && seen++ == entry)
            break;
    memcpy(data + p + at, bytes, n);
    refuse_bytes(t, data, n_data, message);
    free(data);
}

TEST(entries_of_the_directory_that_lie_are_refused)
{
    refuse_entry(t, 0, 20, "\xff\xff\xff\0\xff\xff\xff", 8,
                 "b.npz: member \"v1.npy\": 16777215 bytes at byte 0 do not lie within the file");
    refuse_entry(t, 0, 20, "\1", 1, "b.npz: member \"v1.npy\": 1 bytes in the file cannot hold 140");
    refuse_entry(t, 0, 24, "\xff\xff\xff\xff", 4, "b.npz: member \"v1.npy\": its ZIP64 field is cut short");
    refuse_entry(t, 1, 42, "\0\0\0\0", 4, "b.npz: member \"v2.npy\": its local header has another name");
    refuse_entry(t, 1, 42, "\1\0\0\0", 4, "b.npz: member \"v2.npy\": no local header at byte 1");
    refuse_entry(t, 1, 42, "\1\0\0\x7f", 4, "b.npz: member \"v2.npy\": no local header at byte 2130706433");
    refuse_entry(t, 0, 47, "\0", 1, "b.npz: member \"v\": a NUL in its name");
    refuse_entry(t, 1, 42, "\0\0\0\0v1", 6, "b.npz: member \"v1.npy\" twice");
}

TEST(a_system_call_that_fails_is_reported)
{
    for (size_t k = 0;; k++) {
        struct fault f;
        struct pmet_error err = {PMET_OK, ""};
        struct pmet_npz *z = NULL;
        fault_begin(&f, k, EIO);
        const enum pmet_status status = pmet_npz_open(&f.io, "tests/data/stats.npz", &z, &err);
        if (!f.fired) {
            CHECK(status == PMET_OK && k == 3);
            pmet_npz_close(z);
            return;
        }
        CHECK(status == PMET_IO && z == NULL && strstr(err.message, "stats.npz: "));
    }
}
