/* SPDX-License-Identifier: MIT
 * Files and folders that appear whole or not at all, whatever call fails; whole files; JSON. */
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tensors/folder.h"
#include "tensors/json.h"
#include "tests/fault.h"
#include "tests/test.h"

static const int errnos[] = {ENOSPC, EROFS, EIO};

static bool holds(struct test *t, const char *path, const char *expected)
{
    const char *got = test_slurp(t, path, NULL);
    return got && strcmp(got, expected) == 0;
}

static enum pmet_status write_file(const struct pmet_io *io, const char *path, const char *text,
                                   struct pmet_error *err)
{
    struct pmet_out *out;
    PMET_TRY(pmet_out_open(io, path, &out, err));
    const enum pmet_status status = pmet_out_write(out, text, strlen(text), err);
    if (status == PMET_OK)
        return pmet_out_commit(out, err);
    pmet_out_discard(out);
    return status;
}

/* Fails every call in turn; `before` is what the file held, or NULL. */
static void fail_each_call(struct test *t, const char *before)
{
    char big[200001];
    memset(big, 'x', sizeof big - 1); /* more than one buffer */
    big[sizeof big - 1] = '\0';
    for (size_t e = 0; e < 3; e++)
        for (size_t k = 0;; k++) {
            struct fault f;
            struct pmet_error err = {PMET_OK, ""};
            const char *dir = test_path("each"), *path = test_path("each/file");
            mkdir(dir, 0777);
            unlink(path);
            if (before)
                test_write_file(path, before, strlen(before));
            fault_begin(&f, k, errnos[e]);
            const enum pmet_status status = write_file(&f.io, path, big, &err);
            if (!f.fired) {
                CHECK(status == PMET_OK && holds(t, path, big) && test_count_files(dir) == 1);
                CHECK(k >= 6); /* open, write, fsync, rename, open and fsync of the folder */
                break;
            }
            const bool untouched = before ? holds(t, path, before) : access(path, F_OK) != 0;
            if (status != PMET_IO || !untouched || test_count_files(dir) != (before ? 1 : 0) ||
                !strstr(err.message, strerror(errnos[e])))
                test_fail(t, "%s (call %zu) fails with %s: status %d, \"%s\", %zu files, original %s", f.call,
                          k, strerror(errnos[e]), (int)status, err.message, test_count_files(dir),
                          untouched ? "untouched" : "changed");
        }
}

TEST(a_file_whose_writing_fails_at_any_call_leaves_nothing_behind)
{
    fail_each_call(t, NULL);
}

TEST(a_file_that_is_replaced_is_untouched_when_any_call_fails)
{
    fail_each_call(t, "the original");
}

/* A file system without hard links replaces all the same. */
TEST(a_file_is_replaced_where_there_are_no_hard_links)
{
    const char *path = test_path("linkless");
    size_t n_link = 0;
    for (size_t k = 0;; k++) {
        struct fault f;
        test_write_file(path, "old", 3);
        fault_begin(&f, k, EPERM);
        const enum pmet_status status = write_file(&f.io, path, "new", &t->err);
        if (!f.fired)
            break;
        if (strcmp(f.call, "link") == 0) {
            CHECK_DONE(status);
            CHECK(holds(t, path, "new"));
            n_link++;
        }
    }
    CHECK(n_link == 1);
}

TEST(short_writes_are_continued)
{
    struct fault f;
    fault_begin(&f, FAULT_NEVER, 0);
    f.max_bytes = 3;
    CHECK_DONE(write_file(&f.io, test_path("short"), "eleven char", &t->err));
    CHECK(holds(t, test_path("short"), "eleven char") && f.n_call > 6);
}

TEST(only_files_and_links_to_files_are_replaced)
{
    mkdir(test_path("folder"), 0777);
    CHECK_REFUSED(write_file(pmet_io_system(), test_path("folder"), "x", &t->err), PMET_INPUT,
                  "folder: found a folder; expected a file or a free name");
    CHECK_REFUSED(write_file(pmet_io_system(), "/dev/null", "x", &t->err), PMET_INPUT,
                  "/dev/null: found something that is not a file; expected a file or a free name");
    test_write_file(test_path("target"), "old", 3);
    CHECK(symlink("target", test_path("link")) == 0);
    CHECK_DONE(write_file(pmet_io_system(), test_path("link"), "new", &t->err));
    struct stat st;
    CHECK(holds(t, test_path("target"), "new") && lstat(test_path("link"), &st) == 0 && S_ISLNK(st.st_mode));
    CHECK_REFUSED(write_file(pmet_io_system(), test_path("none/file"), "x", &t->err), PMET_IO,
                  "none/file: create: No such file or directory");
}

/* In containers every run has the same number: then the lock tells whether somebody writes there. */
TEST(leftovers_with_our_own_number_are_removed_unless_they_are_held)
{
    const char *path = test_path("left"), *base = test_path("left.pmet-tmp-%ld-0", (long)getpid()),
               *held = test_path("left.pmet-tmp-%ld-1", (long)getpid());
    struct pmet_out *out;
    test_write_file(base, "stale", 5);
    CHECK_DONE(pmet_out_open(pmet_io_system(), path, &out, &t->err));
    CHECK(access(base, F_OK) == 0 && access(held, F_OK) != 0); /* its name is in use again, by us */
    test_write_file(held, "stale", 5);
    CHECK_DONE(write_file(pmet_io_system(), path, "new", &t->err));
    CHECK(holds(t, path, "new") && access(held, F_OK) != 0 && access(base, F_OK) == 0);
    pmet_out_discard(out);
}

/* Of a folder that holds somebody's thesis: it is not ours. */
static enum pmet_status is_ours(const struct pmet_io *io, const char *path, struct pmet_error *err)
{
    char file[4096];
    (void)io;
    snprintf(file, sizeof file, "%s/thesis", path);
    return access(file, F_OK) == 0 ? pmet_fail(err, PMET_INPUT, "%s: holds a thesis", path) : PMET_OK;
}

/* A folder with a file and a folder inside. */
static enum pmet_status write_folder(const struct pmet_io *io, const char *path, bool force,
                                     struct pmet_error *err)
{
    struct pmet_outdir *dir = NULL;
    char *file = NULL, *sub = NULL;
    enum pmet_status status;
    PMET_GO(pmet_outdir_begin(io, path, force, is_ours, &dir, err));
    PMET_GO(pmet_path_join(pmet_outdir_path(dir), "file", &file, err));
    PMET_GO(pmet_path_join(pmet_outdir_path(dir), "sub", &sub, err));
    PMET_GO(write_file(io, file, "new", err));
    if (io->mkdir(io->user, sub, 0777) != 0)
        PMET_GO(pmet_fail_errno(err, sub, "create"));
    status = pmet_outdir_commit(dir, err);
    dir = NULL;
done:
    pmet_outdir_discard(dir);
    free(file);
    free(sub);
    return status;
}

/* In a child: a folder begun under `path`, its name passed on; it stays until the child is
 * killed. */
static pid_t begin_in_child(const char *path, char temp[256])
{
    int fd[2];
    if (pipe(fd) != 0)
        exit(1);
    const pid_t child = fork();
    if (child == 0) {
        struct pmet_outdir *dir = NULL;
        struct pmet_error err = {PMET_OK, ""};
        char name[256] = "";
        if (pmet_outdir_begin(pmet_io_system(), path, false, NULL, &dir, &err) == PMET_OK) {
            snprintf(name, sizeof name, "%s", pmet_outdir_path(dir));
            char *inside = NULL;
            if (pmet_path_join(name, "file", &inside, &err) == PMET_OK)
                test_write_file(inside, "half", 4);
        }
        if (write(fd[1], name, sizeof name) == sizeof name)
            pause();
        _exit(1);
    }
    close(fd[1]);
    if (read(fd[0], temp, 256) != 256)
        exit(1);
    close(fd[0]);
    return child;
}

static void end_child(pid_t child)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

/* What a killed run left goes with the next run; what a live one fills stays, and not by its
 * process's number alone: here it has the name of one that is dead, as a process in another
 * container would. */
TEST(what_killed_runs_left_is_removed_and_what_a_live_one_fills_is_not)
{
    struct pmet_outdir *dir = NULL;
    char first[256], second[256];
    mkdir(test_path("live"), 0777);
    const char *path = test_path("live/out"), *like = test_path("live/out.pmet-tmp-x-0"),
               *file = test_path("live/file"), *left = test_path("live/file.pmet-tmp-999999999-3");
    end_child(begin_in_child(path, first));
    const pid_t child = begin_in_child(path, second); /* removes what the first left */
    CHECK(access(first, F_OK) != 0 && access(second, F_OK) == 0);
    const char *dead = test_text(t, "%s.pmet-tmp-999999999-7", path); /* above any process's number */
    CHECK(rename(second, dead) == 0);
    test_write_file(like, "mine", 4);
    CHECK_DONE(pmet_outdir_begin(pmet_io_system(), path, false, NULL, &dir, &t->err));
    CHECK(pmet_outdir_left(dir, 0) == NULL && access(dead, F_OK) == 0);
    pmet_outdir_discard(dir);
    end_child(child);
    CHECK_DONE(pmet_outdir_begin(pmet_io_system(), path, false, NULL, &dir, &t->err));
    CHECK_STR(pmet_outdir_left(dir, 0), strrchr(dead, '/') + 1);
    CHECK(pmet_outdir_left(dir, 1) == NULL && access(dead, F_OK) != 0 && holds(t, like, "mine"));
    pmet_outdir_discard(dir);
    test_write_file(left, "half", 4);
    CHECK_DONE(write_file(pmet_io_system(), file, "new", &t->err));
    CHECK(holds(t, file, "new") && access(left, F_OK) != 0);
}

/* A table that knows what has been synced. */
static struct {
    char *path[64]; /* of each descriptor */
    char *synced[16];
    size_t n_synced;
    bool unsynced; /* something was renamed without */
} order;

static int order_open(void *user, const char *path, int flags, unsigned mode)
{
    const int fd = pmet_io_system()->open(user, path, flags, mode);
    if (fd >= 0 && fd < 64) {
        free(order.path[fd]);
        order.path[fd] = strdup(path);
    }
    return fd;
}

static int order_fsync(void *user, int fd)
{
    if (order.n_synced < 16)
        order.synced[order.n_synced++] = strdup(order.path[fd]);
    return pmet_io_system()->fsync(user, fd);
}

static int order_rename(void *user, const char *from, const char *to)
{
    bool found = false;
    for (size_t i = 0; i < order.n_synced; i++)
        found = found || strcmp(order.synced[i], from) == 0;
    order.unsynced = order.unsynced || !found;
    return pmet_io_system()->rename(user, from, to);
}

/* A power cut after a rename must find what the name stands for: what is renamed was synced before,
 * the folder that holds the name after it. */
TEST(what_is_renamed_was_synced_before_and_its_folder_after)
{
    struct pmet_io io = *pmet_io_system();
    io.open = order_open;
    io.fsync = order_fsync;
    io.rename = order_rename;
    mkdir(test_path("order"), 0777);
    CHECK_DONE(write_folder(&io, test_path("order/out"), false, &t->err));
    CHECK(!order.unsynced &&
          order.n_synced == 4); /* the file, its folder, the folder itself, the one around it */
    CHECK(order.n_synced == 4 && strcmp(order.synced[3], test_path("order")) == 0);
    for (size_t i = 0; i < 64; i++)
        free(order.path[i]);
    for (size_t i = 0; i < order.n_synced; i++)
        free(order.synced[i]);
}

TEST(a_folder_that_appeared_meanwhile_is_not_replaced)
{
    struct pmet_outdir *dir;
    const char *base = test_path("meanwhile"), *path = test_path("meanwhile/out");
    mkdir(base, 0777);
    CHECK_DONE(pmet_outdir_begin(pmet_io_system(), path, false, NULL, &dir, &t->err));
    mkdir(path, 0777);
    test_write_file(test_path("meanwhile/out/theirs"), "kept", 4);
    CHECK_REFUSED(pmet_outdir_commit(dir, &t->err), PMET_INPUT,
                  "meanwhile/out: appeared while this was written; give --force to replace it");
    CHECK(holds(t, test_path("meanwhile/out/theirs"), "kept") && test_count_files(base) == 2);
}

static void fail_each_folder_call(struct test *t, bool replace,
                                  int (*exchange)(void *user, const char *a, const char *b))
{
    for (size_t e = 0; e < 3; e++)
        for (size_t k = 0;; k++) {
            struct fault f;
            struct pmet_error err = {PMET_OK, ""};
            const char *parent = test_path("parent"), *path = test_path("parent/out");
            pmet_remove_tree(pmet_io_system(), parent);
            mkdir(parent, 0777);
            if (replace) {
                mkdir(path, 0777);
                test_write_file(test_path("parent/out/old"), "old", 3);
            }
            fault_begin(&f, k, errnos[e]);
            f.io.exchange = exchange ? exchange : f.io.exchange;
            const enum pmet_status status = write_folder(&f.io, path, replace, &err);
            if (!f.fired) {
                CHECK(status == PMET_OK && holds(t, test_path("parent/out/file"), "new") &&
                      test_count_files(parent) == 3);
                CHECK(k > 10);
                break;
            }
            if (status == PMET_OK && replace && holds(t, test_path("parent/out/file"), "new") &&
                test_count_files(parent) == 3)
                continue; /* the mark of the old folder, before it is removed: it did not matter */
            const bool untouched = !replace || holds(t, test_path("parent/out/old"), "old");
            if (status != PMET_IO || !untouched || test_count_files(parent) != (replace ? 2 : 0))
                test_fail(t, "%s (call %zu): status %d, \"%s\", %zu entries, original %s", f.call, k,
                          (int)status, err.message, test_count_files(parent),
                          untouched ? "untouched" : "changed");
        }
}

TEST(a_folder_whose_writing_fails_at_any_call_leaves_nothing_behind)
{
    fail_each_folder_call(t, false, NULL);
}

TEST(a_folder_that_is_replaced_is_untouched_when_any_call_fails)
{
    fail_each_folder_call(t, true, NULL);
}

TEST(a_folder_is_replaced_only_by_force_and_nothing_else_is)
{
    mkdir(test_path("there"), 0777);
    CHECK_REFUSED(write_folder(pmet_io_system(), test_path("there/"), false, &t->err), PMET_INPUT,
                  "there: exists; give --force to replace it");
    test_write_file(test_path("plain"), "x", 1);
    CHECK_REFUSED(write_folder(pmet_io_system(), test_path("plain"), true, &t->err), PMET_INPUT,
                  "plain: found a file; expected a folder to replace, or a free name");
    CHECK(holds(t, test_path("plain"), "x"));
    CHECK(symlink("there", test_path("linked")) == 0);
    CHECK_REFUSED(write_folder(pmet_io_system(), test_path("linked"), true, &t->err), PMET_INPUT,
                  "linked: found a symbolic link; expected a folder to replace, or a free name");
    CHECK_DONE(write_folder(pmet_io_system(), test_path("there/"), true, &t->err));
    CHECK(holds(t, test_path("there/file"), "new"));
    CHECK_DONE(write_folder(pmet_io_system(), test_path("there/./"), true, &t->err));
    CHECK_DONE(write_folder(pmet_io_system(), test_path("there/sub/.."), true, &t->err));
    CHECK(holds(t, test_path("there/file"), "new") && test_count_files(test_path("there")) == 2);
}

/* Asked at begin, and again at commit. */
TEST(a_folder_with_what_is_not_ours_is_not_replaced_by_force)
{
    struct pmet_outdir *dir;
    const char *base = test_path("foreign"), *path = test_path("foreign/out"),
               *thesis = test_path("foreign/out/thesis");
    mkdir(base, 0777);
    mkdir(path, 0777);
    test_write_file(thesis, "years", 5);
    CHECK_REFUSED(write_folder(pmet_io_system(), path, true, &t->err), PMET_INPUT,
                  "foreign/out: holds a thesis");
    unlink(thesis);
    CHECK_DONE(pmet_outdir_begin(pmet_io_system(), path, true, is_ours, &dir, &t->err));
    test_write_file(thesis, "years", 5);
    CHECK_REFUSED(pmet_outdir_commit(dir, &t->err), PMET_INPUT, "foreign/out: holds a thesis");
    CHECK(holds(t, thesis, "years") && test_count_files(base) == 2);
}

/* A folder that only looks like one of ours by its name. */
TEST(a_folder_without_our_mark_is_nobodys_leftover)
{
    struct pmet_outdir *dir = NULL;
    const char *like = test_path("marked.pmet-tmp-999999999-0"), *path = test_path("marked");
    mkdir(like, 0777);
    test_write_file(test_path("marked.pmet-tmp-999999999-0/thesis"), "years", 5);
    CHECK_DONE(pmet_outdir_begin(pmet_io_system(), path, false, is_ours, &dir, &t->err));
    CHECK(pmet_outdir_left(dir, 0) == NULL &&
          holds(t, test_path("marked.pmet-tmp-999999999-0/thesis"), "years"));
    pmet_outdir_discard(dir);
    test_write_file(test_path("marked.pmet-tmp-999999999-0/" PMET_UNFINISHED), "", 0);
    CHECK_DONE(pmet_outdir_begin(pmet_io_system(), path, false, is_ours, &dir, &t->err));
    CHECK(pmet_outdir_left(dir, 0) && access(like, F_OK) != 0);
    pmet_outdir_discard(dir);
}

/* What was moved aside, where a kill came before the new folder took its place, gets its name back;
 * beside the new folder it is what was replaced. */
TEST(a_folder_that_a_killed_run_moved_aside_is_found_again)
{
    struct pmet_outdir *dir = NULL;
    const char *path = test_path("aside"), *old = test_path("aside.pmet-old-999999999-0");
    mkdir(old, 0777);
    test_write_file(test_path("aside.pmet-old-999999999-0/file"), "old", 3);
    CHECK_REFUSED(pmet_outdir_begin(pmet_io_system(), path, false, is_ours, &dir, &t->err), PMET_INPUT,
                  "aside: exists; give --force to replace it");
    CHECK(holds(t, test_path("aside/file"), "old") && access(old, F_OK) != 0);
    mkdir(old, 0777);
    CHECK_DONE(pmet_outdir_begin(pmet_io_system(), path, true, is_ours, &dir, &t->err));
    CHECK(access(old, F_OK) != 0 && access(path, F_OK) == 0);
    pmet_outdir_discard(dir);
}

/* A file system that exchanges no names. */
static int no_exchange(void *user, const char *a, const char *b)
{
    (void)user, (void)a, (void)b;
    errno = EINVAL;
    return -1;
}

TEST(a_folder_is_replaced_where_names_cannot_be_exchanged)
{
    fail_each_folder_call(t, true, no_exchange);
}

TEST(removing_a_folder_follows_no_link)
{
    mkdir(test_path("keep"), 0777);
    test_write_file(test_path("keep/file"), "k", 1);
    mkdir(test_path("remove"), 0777);
    CHECK(symlink("../keep", test_path("remove/link")) == 0);
    pmet_remove_tree(pmet_io_system(), test_path("remove"));
    CHECK(holds(t, test_path("keep/file"), "k") && access(test_path("remove"), F_OK) != 0);
}

TEST(whole_files_are_read_up_to_a_limit)
{
    struct fault f;
    char *data, big[70000];
    size_t n;
    memset(big, 'b', sizeof big);
    test_write_file(test_path("big"), big, sizeof big);
    fault_begin(&f, FAULT_NEVER, 0);
    f.max_bytes = 999;
    if (CHECK_DONE(pmet_read_file(&f.io, test_path("big"), sizeof big, &data, &n, &t->err))) {
        CHECK(n == sizeof big && memcmp(data, big, n) == 0 && data[n] == '\0');
        free(data);
    }
    CHECK_REFUSED(pmet_read_file(pmet_io_system(), test_path("big"), sizeof big - 1, &data, &n, &t->err),
                  PMET_FORMAT, "big: more than 69999 bytes; expected at most that");
    CHECK(pmet_read_file(pmet_io_system(), test_tmpdir(), 100, &data, &n, &t->err) == PMET_IO);
    CHECK(strstr(t->err.message, ": read: Is a directory"));
    t->err = (struct pmet_error){PMET_OK, ""};
    static const char *const calls[] = {"open", "size", "read"};
    for (size_t k = 0; k < 3; k++) {
        fault_begin(&f, k, EIO);
        CHECK_REFUSED(pmet_read_file(&f.io, test_path("big"), sizeof big, &data, &n, &t->err), PMET_IO,
                      test_text(t, "big: %s: Input/output error", calls[k]));
    }
}

TEST(messages_are_one_printable_line_and_the_first_one_stays)
{
    char name[2000];
    memset(name, 'a', sizeof name);
    for (size_t i = 0; i + 3 < sizeof name; i += 3)
        memcpy(name + i, "\xe2\x82\xac", 3); /* a euro sign, three bytes: 1023 / 3 = 341 of them fit */
    name[sizeof name - 1] = '\0';
    CHECK(pmet_fail(&t->err, PMET_FORMAT, "a\n\x1b[31m\x7f %d", 5) == PMET_FORMAT);
    CHECK_STR(t->err.message, "a\\n\\x1b[31m\\x7f 5");
    CHECK(pmet_fail(&t->err, PMET_INPUT, "second") == PMET_INPUT && t->err.status == PMET_FORMAT);
    CHECK_STR(t->err.message, "a\\n\\x1b[31m\\x7f 5");
    t->err = (struct pmet_error){PMET_OK, ""};
    pmet_fail(&t->err, PMET_INPUT, "x%s", name);
    CHECK(strlen(t->err.message) == 1 + 340 * 3);
    t->err = (struct pmet_error){PMET_OK, ""};
    size_t big;
    void *p;
    CHECK(!pmet_mul_size(SIZE_MAX, 2, &big) && pmet_mul_size(0, SIZE_MAX, &big) && big == 0);
    CHECK(!pmet_add_size(SIZE_MAX, 1, &big) && pmet_add_size(SIZE_MAX, 0, &big));
    CHECK_REFUSED(pmet_calloc(&p, SIZE_MAX / 2, 3, "a matrix", &t->err), PMET_MEMORY,
                  "out of memory: a matrix needs 18446744073709551615 bytes");
}

static void refuse_json(struct test *t, const char *text, size_t n, const char *message)
{
    json_t *v = NULL;
    CHECK_REFUSED(pmet_json_parse(text, n, "f.json", 10, &v, &t->err), PMET_FORMAT, message);
    CHECK(v == NULL);
}

TEST(json_that_is_ambiguous_or_broken_is_refused_with_its_place)
{
    refuse_json(t, "{\"a\":1,\n\"a\":2}", 14, "f.json: line 12 column 3: duplicate object key near '\"a\"'");
    refuse_json(t, "{\"a\\u0000\":1}", 13,
                "f.json: line 11 column 10: found \\u0000 in a string; expected text without it");
    refuse_json(t, "", 0, "f.json: line 11 column 0: not JSON: unexpected token near end of file");
    refuse_json(t, "[1,]", 4, "f.json: line 11 column 4: not JSON: unexpected token near ']'");
    refuse_json(t, "99999999999999999999", 20,
                "f.json: line 11 column 20: not JSON: too big integer near '99999999999999999999'");
    char *deep = test_alloc(t, 200000);
    memset(deep, '[', 200000);
    refuse_json(t, deep, 200000,
                "f.json: line 11 column 2049: not JSON: maximum parsing depth reached near '['");
}

TEST(json_fields_must_be_of_their_type)
{
    json_t *o;
    size_t size;
    double number;
    bool flag;
    const char *string;
    static const char text[] =
        "{\"i\":3,\"f\":2.0,\"e\":1e5,\"n\":-1,\"s\":\"x\",\"b\":true,\"z\":null,\"a\":[]}";
    CHECK_DONE(pmet_json_parse(text, sizeof text - 1, "f", 0, &o, &t->err));
    CHECK_DONE(pmet_json_size(o, "f", "i", &size, &t->err));
    CHECK_DONE(pmet_json_number(o, "f", "i", &number, &t->err));
    CHECK(size == 3 && number == 3);
    CHECK_DONE(pmet_json_number(o, "f", "f", &number, &t->err));
    CHECK_DONE(pmet_json_bool(o, "f", "b", &flag, &t->err));
    CHECK_DONE(pmet_json_string(o, "f", "s", &string, &t->err));
    CHECK(number == 2 && flag && strcmp(string, "x") == 0);
    static const struct {
        const char *key, *message;
    } sizes[] = {{"f", "f: f: found a number with a fraction or exponent; expected an integer"},
                 {"e", "f: e: found a number with a fraction or exponent; expected an integer"},
                 {"n", "f: n: found -1; expected 0 or more"},
                 {"z", "f: z: found null; expected an integer"},
                 {"q", "f: q: found nothing; expected an integer"}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        CHECK_REFUSED(pmet_json_size(o, "f", sizes[i].key, &size, &t->err), PMET_INPUT, sizes[i].message);
    CHECK_REFUSED(pmet_json_bool(o, "f", "i", &flag, &t->err), PMET_INPUT,
                  "f: i: found an integer; expected true or false");
    CHECK_REFUSED(pmet_json_string(o, "f", "a", &string, &t->err), PMET_INPUT,
                  "f: a: found an array; expected a string");
    CHECK_REFUSED(pmet_json_number(o, "f", "s", &number, &t->err), PMET_INPUT,
                  "f: s: found a string; expected a number");
    json_decref(o);
}
