/* SPDX-License-Identifier: MIT
 * Text that comes packed or through a pipe: the documents are those of the plain file, to the byte;
 * damage is refused with its place, and nothing makes it grow without limit.      SPEC §7.1 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include "ref/facts/docs.h"
#include "tensors/stream.h"
#include "tests/fault.h"
#include "tests/fuzz.h"

static const char *const TEXT = "golden/gptj-A/stats_text.jsonl";

/* One member after the other into *out, which holds twice n bytes and a bit; returns the length. */
static size_t gzip(struct test *t, const char *text, size_t n, size_t n_member, unsigned char *out)
{
    size_t at = 0;
    for (size_t i = 0; i < n_member; i++) {
        const size_t begin = n * i / n_member, end = n * (i + 1) / n_member;
        z_stream z = {0};
        CHECK(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
        z.next_in = (unsigned char *)(uintptr_t)(text + begin);
        z.avail_in = (unsigned)(end - begin);
        z.next_out = out + at;
        z.avail_out = (unsigned)(2 * n + 4096 - at);
        CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
        at += z.total_out;
        deflateEnd(&z);
    }
    return at;
}

static size_t zstd(struct test *t, const char *text, size_t n, size_t n_frame, unsigned char *out)
{
    static const unsigned char skipped[] = {0x52, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c'};
    size_t at = 0;
    for (size_t i = 0; i < n_frame; i++) {
        const size_t begin = n * i / n_frame, end = n * (i + 1) / n_frame;
        memcpy(out + at, skipped, i > 0 ? sizeof skipped : 0);
        at += i > 0 ? sizeof skipped : 0;
        const size_t got = ZSTD_compress(out + at, 2 * n + 4096 - at, text + begin, end - begin, 3);
        CHECK(!ZSTD_isError(got));
        at += got;
    }
    return at;
}

static void close_docs(void *docs)
{
    pmet_docs_close(docs);
}

static struct pmet_docs *open_one(struct test *t, const char *path)
{
    struct pmet_docs *docs = NULL;
    CHECK_DONE(pmet_docs_open(pmet_io_system(), &path, 1, NULL, &docs, &t->err));
    return test_own(t, docs, close_docs);
}

/* The same documents, and the same hash. */
static void check_same(struct test *t, const struct pmet_docs *docs, const struct pmet_docs *plain,
                       const char *packing)
{
    if (!docs || !plain || !CHECK(pmet_docs_count(docs) == pmet_docs_count(plain)))
        return;
    CHECK_STR(pmet_docs_sha256(docs), pmet_docs_sha256(plain));
    CHECK_STR(pmet_docs_file(docs, 0).packing, packing);
    CHECK_STR(pmet_docs_file(docs, 0).form, "JSON lines of records");
    for (size_t i = 0; i < pmet_docs_count(plain); i++) {
        char *a = NULL, *b = NULL;
        size_t n_a, n_b;
        if (CHECK_DONE(pmet_docs_get(docs, i, &a, &n_a, &t->err)) &&
            CHECK_DONE(pmet_docs_get(plain, i, &b, &n_b, &t->err)))
            CHECK(n_a == n_b && memcmp(a, b, n_a) == 0);
        free(a);
        free(b);
    }
}

TEST(packed_text_is_the_text)
{
    size_t n;
    const char *text = test_slurp(t, TEXT, &n), *path = test_path("text.gz");
    unsigned char *packed = test_alloc(t, 2 * n + 8192);
    const struct pmet_docs *plain = open_one(t, TEXT);
    for (size_t members = 1; members <= 240; members += 239) {
        size_t m = gzip(t, text, n, members, packed);
        test_write_file(path, packed, m);
        check_same(t, open_one(t, path), plain, "gzip");
        memset(packed + m, 0, 1000); /* as on a tape */
        test_write_file(path, packed, m + 1000);
        check_same(t, open_one(t, path), plain, "gzip");
        m = zstd(t, text, n, members, packed);
        test_write_file(path, packed, m);
        check_same(t, open_one(t, path), plain, "zstd");
    }
    CHECK(test_count_files(test_tmpdir()) == 1); /* what it was kept in has no name */
}

/* A file after a packed one, and a packed one after that, in the order given. */
TEST(packed_and_plain_files_follow_each_other)
{
    unsigned char packed[4200];
    const char *paths[] = {test_path("a.gz"), test_path("b"), test_path("c.zst")};
    struct pmet_docs *docs = NULL;
    test_write_file(paths[0], packed, gzip(t, "one\n\ntwo\n", 9, 2, packed));
    test_write_text(paths[1], "three\n");
    test_write_file(paths[2], packed, zstd(t, "[\"four\"]", 8, 1, packed));
    static const char *const expected[] = {"one", "two", "three", "four"};
    if (!CHECK_DONE(pmet_docs_open(pmet_io_system(), paths, 3, NULL, &docs, &t->err)))
        return;
    test_own(t, docs, close_docs);
    CHECK(pmet_docs_count(docs) == 4);
    for (size_t i = 0; i < pmet_docs_count(docs); i++) {
        char *one = NULL;
        size_t n;
        if (CHECK_DONE(pmet_docs_get(docs, i, &one, &n, &t->err)))
            CHECK_STR(one, expected[i]);
        free(one);
    }
    CHECK_STR(pmet_docs_file(docs, 2).form, "JSON array of strings");
}

/* ---- pipes ---- */

struct pipe_end {
    int fd;
    const char *data;
    size_t n, piece;
};

static void *feed(void *user)
{
    const struct pipe_end *p = user;
    for (size_t at = 0; at < p->n; at += p->piece)
        if (write(p->fd, p->data + at, p->n - at < p->piece ? p->n - at : p->piece) < 0)
            break;
    close(p->fd);
    return NULL;
}

TEST(a_pipe_is_read_like_its_file)
{
    size_t n;
    const char *text = test_slurp(t, TEXT, &n);
    unsigned char *packed = test_alloc(t, 2 * n + 8192);
    const size_t n_packed = gzip(t, text, n, 3, packed);
    const struct pmet_docs *plain = open_one(t, TEXT);
    const struct pipe_end ends[] = {
        {0, text, n, 4096}, {0, text, 5000, 1}, {0, (char *)packed, n_packed, 1000}};
    for (size_t i = 0; i < 3; i++)
        for (int by_path = 0; by_path < 2; by_path++) {
            int fd[2];
            pthread_t thread;
            struct pipe_end end = ends[i];
            if (!CHECK(pipe(fd) == 0))
                return;
            end.fd = fd[1];
            const int kept = dup(0);
            if (!by_path)
                dup2(fd[0], 0);
            CHECK(pthread_create(&thread, NULL, feed, &end) == 0);
            struct pmet_docs *docs = open_one(t, by_path ? test_text(t, "/dev/fd/%d", fd[0]) : "-");
            pthread_join(thread, NULL);
            close(fd[0]);
            dup2(kept, 0);
            close(kept);
            if (i != 1)
                check_same(t, docs, plain, i == 0 ? "" : "gzip");
            else if (docs)
                CHECK(pmet_docs_count(docs) > 0);
            if (docs && !by_path)
                CHECK_STR(pmet_docs_file(docs, 0).name, "standard input");
        }
}

/* A file as standard input is used in place, unless some of it was read before. */
TEST(standard_input_may_be_a_file)
{
    const char *path = test_path("text.0");
    test_write_text(path, "{\"text\": \"one\"}\n{\"text\": \"two\"}\n");
    const int kept = dup(0), fd = open(path, O_RDONLY);
    for (int skipped = 0; skipped < 2; skipped++) {
        char *text = NULL;
        size_t n;
        CHECK(lseek(fd, skipped ? 16 : 0, SEEK_SET) >= 0);
        dup2(fd, 0);
        struct pmet_docs *docs = open_one(t, "-");
        if (docs && CHECK(pmet_docs_count(docs) == (skipped ? 1 : 2)) &&
            CHECK_DONE(pmet_docs_get(docs, 0, &text, &n, &t->err)))
            CHECK_STR(text, skipped ? "two" : "one");
        free(text);
    }
    dup2(kept, 0);
    close(kept);
    close(fd);
}

/* A listener hears of a pipe that gives nothing, too, and can end the waiting. */
static enum pmet_status stop(void *user, uint64_t n_read, uint64_t n_total, struct pmet_error *err)
{
    size_t *n = user;
    (void)n_total;
    return n_read > 0 || ++*n < 3 ? PMET_OK : pmet_fail(err, PMET_INTERRUPTED, "enough");
}

TEST(waiting_for_a_pipe_can_be_ended)
{
    int fd[2];
    size_t n_tick = 0, got;
    char byte;
    struct pmet_stream *s = NULL;
    const struct pmet_stream_tick tick = {&n_tick, stop};
    if (!CHECK(pipe(fd) == 0))
        return;
    if (CHECK_DONE(pmet_stream_open(pmet_io_system(), test_text(t, "/dev/fd/%d", fd[0]), &tick, &s, &t->err)))
        CHECK_REFUSED(pmet_stream_read(s, &byte, 1, &got, &t->err), PMET_INTERRUPTED, "enough");
    CHECK(n_tick == 3);
    pmet_stream_close(s);
    close(fd[0]);
    close(fd[1]);
}

/* ---- damage ---- */

static void check_refused(struct test *t, const unsigned char *data, size_t n, const char *message)
{
    const char *path = test_path("text.gz");
    struct pmet_docs *docs = NULL;
    test_write_file(path, data, n);
    CHECK_REFUSED(pmet_docs_open(pmet_io_system(), &path, 1, NULL, &docs, &t->err), PMET_FORMAT, message);
    CHECK(!docs);
}

TEST(damaged_packed_text_is_refused_with_its_byte)
{
    static const char again[] = ": copy or download it again";
    unsigned char data[4200], other[4200];
    const char *text = "one\n\ntwo\n";
    const size_t n = gzip(t, text, 9, 1, data), m = zstd(t, text, 9, 1, other);
    check_refused(t, data, n - 1,
                  test_text(t, "text.gz: byte %zu: the gzip data ends here unfinished%s", n - 1, again));
    check_refused(t, data, 4, test_text(t, "text.gz: byte 4: the gzip data ends here unfinished%s", again));
    check_refused(t, other, m - 1,
                  test_text(t, "text.gz: byte %zu: the zstd data ends here unfinished%s", m - 1, again));
    memcpy(data + n, "more", 4);
    check_refused(t, data, n + 4,
                  test_text(t, "text.gz: byte %zu: damaged gzip data (found something else behind its end)%s",
                            n, again));
    memcpy(other + m, "more", 4);
    check_refused(
        t, other, m + 4,
        test_text(t, "text.gz: byte %zu: damaged zstd data (Unknown frame descriptor)%s", m + 4, again));
    data[n - 5] ^= 1;
    check_refused(
        t, data, n,
        test_text(t, "text.gz: byte %zu: damaged gzip data (incorrect data check)%s", n - 4, again));
    data[2] = 9;
    check_refused(t, data, n,
                  test_text(t, "text.gz: byte 4: damaged gzip data (unknown compression method)%s", again));
    const char *path = test_path("text.zst");
    struct pmet_docs *docs = NULL;
    static const unsigned char wide[] = {0x28, 0xb5, 0x2f, 0xfd, 0, (31 - 10) << 3, 1, 0, 0};
    test_write_file(path, wide, sizeof wide);
    CHECK_REFUSED(
        pmet_docs_open(pmet_io_system(), &path, 1, NULL, &docs, &t->err), PMET_UNSUPPORTED,
        "text.zst: packed by zstd --long with a window beyond 128 MiB: unpack it with zstdcat --long=31 "
        "into a pipe");
}

/* Blocks of 128 KiB of one byte, four bytes each: 8,500 of them are more than a GiB. */
TEST(what_unpacks_to_far_more_than_text_is_refused)
{
    enum { BLOCK = 1 << 17, N = 9000 };
    unsigned char *data = test_alloc(t, 6 + 4 * N), *out = test_alloc(t, BLOCK);
    static const unsigned char head[] = {0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3};
    struct pmet_unpack *u = NULL;
    memcpy(data, head, sizeof head);
    for (size_t i = 0; i < N; i++) {
        const unsigned block = BLOCK << 3 | 1 << 1 | (i == N - 1);
        const unsigned char bytes[4] = {block & 0xff, block >> 8 & 0xff, block >> 16 & 0xff, '\n'};
        memcpy(data + 6 + 4 * i, bytes, 4);
    }
    struct pmet_piece piece = {.in = data, .n_in = 6 + 4 * N, .out = out, .n_out = BLOCK};
    enum pmet_status status = pmet_unpack_open(PMET_PACKING_ZSTD, "bomb", &u, &t->err);
    size_t n_out = 0;
    do {
        piece.at_out = 0;
        status = pmet_unpack_step(u, &piece, &t->err);
        n_out += piece.at_out;
    } while (status == PMET_OK && piece.at_out > 0);
    CHECK(n_out > (size_t)1 << 30 && n_out < ((size_t)1 << 30) + ((size_t)1 << 24));
    CHECK_REFUSED(
        status, PMET_FORMAT,
        test_text(
            t,
            "bomb: byte %zu: unpacks to more than 256 times its size; expected text, which zstd packs far "
            "less",
            piece.at_in));
    pmet_unpack_close(u);
}

TEST(failing_calls_are_reported)
{
    unsigned char packed[4200];
    const char *path = test_path("text.gz");
    test_write_file(path, packed, gzip(t, "one\n\ntwo\n", 9, 1, packed));
    size_t k = 0;
    for (;; k++) {
        struct fault fault;
        struct pmet_docs *docs = NULL;
        struct pmet_error err = {PMET_OK, ""};
        fault_begin(&fault, k, ENOSPC);
        const enum pmet_status status = pmet_docs_open(&fault.io, &path, 1, NULL, &docs, &err);
        if (!fault.fired) {
            CHECK_OK(status, &err);
            pmet_docs_close(docs);
            break;
        }
        CHECK(status == PMET_IO && !docs && strstr(err.message, ": No space left on device"));
        CHECK(strstr(err.message, path) || strstr(err.message, "TMPDIR"));
    }
    CHECK(k == 7); /* open, size, two reads; open of the other; write, map */
    const char *tmpdir = getenv("TMPDIR") ? test_text(t, "%s", getenv("TMPDIR")) : NULL;
    struct pmet_docs *docs = NULL;
    setenv("TMPDIR", "no/such/folder", 1);
    CHECK(pmet_docs_open(pmet_io_system(), &path, 1, NULL, &docs, &t->err) == PMET_IO && !docs);
    CHECK(strstr(t->err.message, "no/such/folder/pmet-text.") &&
          strstr(t->err.message,
                 ": create: No such file or directory; text from a pipe or unpacked is kept here "
                 "meanwhile (TMPDIR)"));
    t->err = (struct pmet_error){PMET_OK, ""};
    unsetenv("TMPDIR");
    if (tmpdir)
        setenv("TMPDIR", tmpdir, 1);
}

static enum pmet_status load_damaged(const char *path, struct pmet_error *err)
{
    struct pmet_docs *docs;
    PMET_TRY(pmet_docs_open(pmet_io_system(), &path, 1, NULL, &docs, err));
    pmet_docs_close(docs);
    return PMET_OK;
}

TEST(damaged_packed_files_are_read_or_refused_in_one_line)
{
    size_t n;
    const char *text = test_slurp(t, "golden/demo/README.md", &n);
    unsigned char *packed = test_alloc(t, 2 * n + 8192);
    const size_t m = gzip(t, text, n, 2, packed), taken = fuzz(t, (char *)packed, m, 1000, 8, load_damaged);
    CHECK(taken < 100);
    const size_t k = zstd(t, text, n, 2, packed),
                 zstd_taken = fuzz(t, (char *)packed, k, 1000, 9, load_damaged);
    CHECK(zstd_taken < 600); /* without a checksum, as by this function */
}
