/* SPDX-License-Identifier: MIT
 * Journals of the store.      SPEC §9.11 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ref/store/private.h"
#include "tensors/json.h"

enum { DIGEST = 64, AROUND = 8 + DIGEST }; /* bytes before and behind those of a record */

struct pmet_journal {
    const struct pmet_io *io;
    char *path;
    const char *what, *way_out; /* the kind of work; what to do where the head is another's */
    int fd;
    double synced;         /* when, in seconds */
    unsigned char *record; /* [capacity] the one being appended */
    size_t capacity;
};

enum pmet_status pmet_open_locked(const struct pmet_io *io, const char *path, int flags, const char *where,
                                  int *fd, struct pmet_error *err)
{
    *fd = io->open(io->user, path, flags, 0666);
    if (*fd < 0)
        return pmet_fail_errno(err, path, "open");
    if (io->lock(io->user, *fd) == 0)
        return PMET_OK;
    return errno == EWOULDBLOCK ? pmet_fail(err, PMET_INPUT, "%s: another process is at work %s", path, where)
                                : pmet_fail_errno(err, path, "lock");
}

/* ---- writing ---- */

static void digest_record(const unsigned char *record, size_t n, char hex[DIGEST + 1])
{
    struct pmet_sha256 sha;
    pmet_sha256_begin(&sha);
    pmet_sha256_add(&sha, record, 8 + n);
    pmet_sha256_hex(&sha, hex);
}

enum pmet_status pmet_journal_sync(struct pmet_journal *j, struct pmet_error *err)
{
    if (j->io->fsync(j->io->user, j->fd) != 0)
        return pmet_fail_errno(err, j->path, "sync");
    j->synced = pmet_seconds();
    return PMET_OK;
}

enum pmet_status pmet_journal_append(struct pmet_journal *j, const void *data, size_t n_bytes,
                                     struct pmet_error *err)
{
    const uint64_t n = n_bytes;
    char hex[DIGEST + 1];
    if (n_bytes > PMET_MAX_RECORD)
        return pmet_fail(err, PMET_UNSUPPORTED, "%s: a record of %zu bytes; expected at most %zu", j->path,
                         n_bytes, PMET_MAX_RECORD);
    PMET_TRY(pmet_grow(&j->record, &j->capacity, n_bytes + AROUND, 1, j->path, err));
    memcpy(j->record, &n, 8);
    memcpy(j->record + 8, data, n_bytes);
    digest_record(j->record, n_bytes, hex);
    memcpy(j->record + 8 + n_bytes, hex, DIGEST);
    PMET_TRY(pmet_write_all(j->io, j->fd, j->record, n_bytes + AROUND, j->path, err));
    return pmet_seconds() - j->synced > 1 ? pmet_journal_sync(j, err) : PMET_OK;
}

/* ---- reading ---- */

/* Bytes of the whole record at data, with its length and digest; 0 if it is torn or damaged. */
static size_t whole_record(const unsigned char *data, size_t n_bytes)
{
    uint64_t n;
    char hex[DIGEST + 1];
    if (n_bytes < AROUND)
        return 0;
    memcpy(&n, data, 8);
    if (n > n_bytes - AROUND || n > PMET_MAX_RECORD)
        return 0;
    const unsigned char *digest = data + 8 + n;
    for (size_t i = 0; i < DIGEST; i++) /* most bytes begin no record: this finds out fast */
        if (!strchr("0123456789abcdef", digest[i]) || digest[i] == '\0')
            return 0;
    digest_record(data, (size_t)n, hex);
    return memcmp(hex, digest, DIGEST) == 0 ? (size_t)n + AROUND : 0;
}

static const char *as_text(const json_t *v, char *text, size_t size)
{
    char *dump = v ? json_dumps(v, PMET_CANONICAL | JSON_ENCODE_ANY) : NULL;
    snprintf(text, size, "%.80s", dump ? dump : "nothing");
    free(dump);
    return text;
}

/* What opening a journal is given besides its file. */
struct opening {
    json_t *head;
    char *head_text; /* the same, canonical */
    pmet_take_record *take;
    void *user;
};

static enum pmet_status compare_heads(const struct pmet_journal *j, const char *text, size_t n, json_t *want,
                                      struct pmet_error *err)
{
    json_t *found, *value;
    const char *key;
    PMET_TRY(pmet_json_parse(text, n, j->path, 0, &found, err));
    enum pmet_status status = PMET_OK;
    json_object_foreach(want, key, value)
    {
        const json_t *other = json_object_get(found, key);
        char a[96], b[96];
        if (status == PMET_OK && !json_equal(other, value))
            status =
                pmet_fail(err, PMET_INPUT, "%s: begun with other %s: found %s; this %s has %s (%s)", j->path,
                          key, as_text(other, a, sizeof a), j->what, as_text(value, b, sizeof b), j->way_out);
    }
    json_decref(found);
    return status;
}

/* The next bytes from *at on that are no hole of the file, up to *end; a system that cannot tell has
 * no holes. A hole reads as zeros, and takes time and memory only to be read. */
static bool next_data(const struct pmet_journal *j, size_t n_bytes, size_t *at, size_t *end)
{
    const off_t data = lseek(j->fd, (off_t)*at, SEEK_DATA),
                hole = data < 0 ? -1 : lseek(j->fd, data, SEEK_HOLE);
    if (data < 0 && errno == ENXIO)
        return false;
    *at = data < 0 ? *at : (size_t)data;
    *end = hole < 0 || (size_t)hole > n_bytes ? n_bytes : (size_t)hole;
    return *at < *end;
}

/* A kill tears the last record, a power cut leaves zeros: such an end is cut off. Whole records
 * behind a damaged one are not thrown away unasked, nor is a file that does not begin like this
 * journal's head. */
static enum pmet_status check_end(const struct pmet_journal *j, const unsigned char *data, size_t at,
                                  size_t n_bytes, const char *head, struct pmet_error *err)
{
    const uint64_t n_head = strlen(head);
    size_t end = at, from = at, to;
    bool begun = true, more = false;
    for (; next_data(j, n_bytes, &from, &to); from = to) {
        for (size_t i = from; !more && i < to && i + AROUND <= n_bytes; i++)
            more = whole_record(data + i, n_bytes - i) > 0;
        end = to;
    }
    while (end > at && data[end - 1] == 0)
        end--;
    if (at == 0) {
        const size_t n = end < 8 ? end : 8, n_text = end - n < n_head ? end - n : (size_t)n_head;
        begun = memcmp(data, &n_head, n) == 0 && memcmp(data + n, head, n_text) == 0;
    }
    if (begun && !more)
        return PMET_OK;
    return pmet_fail(
        err, PMET_FORMAT,
        "%s: byte %zu: found a damaged record, or what pmet did not write, and %zu bytes after its "
        "beginning; expected whole records (truncate -s %zu %s)",
        j->path, at, n_bytes - at, at, at > 0 ? "keeps those before it" : "begins again");
}

/* Hands on the whole records; *n_good is where the first one that is torn begins. */
static enum pmet_status take_all(const struct pmet_journal *j, const unsigned char *data, size_t n_bytes,
                                 const struct opening *o, size_t *n_good, struct pmet_error *err)
{
    size_t at = whole_record(data, n_bytes);
    if (at > 0)
        PMET_TRY(compare_heads(j, (const char *)data + 8, at - AROUND, o->head, err));
    for (size_t n; at > 0 && (n = whole_record(data + at, n_bytes - at)) > 0; at += n)
        if (o->take)
            PMET_TRY(o->take(o->user, data + at + 8, n - AROUND, err));
    *n_good = at;
    return at < n_bytes ? check_end(j, data, at, n_bytes, o->head_text, err) : PMET_OK;
}

static enum pmet_status read_back(struct pmet_journal *j, const struct opening *o, struct pmet_error *err)
{
    uint64_t n_bytes;
    size_t n_good = 0;
    if (j->io->size(j->io->user, j->fd, &n_bytes) != 0)
        return pmet_fail_errno(err, j->path, "look at");
    if (n_bytes > 0) {
        void *data = j->io->map(j->io->user, j->fd, (size_t)n_bytes);
        if (data == (void *)-1)
            return pmet_fail_errno(err, j->path, "map");
        const enum pmet_status status = take_all(j, data, (size_t)n_bytes, o, &n_good, err);
        j->io->unmap(j->io->user, data, (size_t)n_bytes);
        PMET_TRY(status);
    }
    if (n_good < n_bytes && j->io->truncate(j->io->user, j->fd, n_good) != 0)
        return pmet_fail_errno(err, j->path, "cut off the torn end of");
    if (n_good > 0)
        return PMET_OK;
    PMET_TRY(pmet_journal_append(j, o->head_text, strlen(o->head_text), err));
    return pmet_journal_sync(j, err);
}

/* ---- opening ---- */

static enum pmet_status open_at(const struct pmet_io *io, char *path, const char *where, const char *way_out,
                                const char *what, struct opening o, struct pmet_journal **out,
                                struct pmet_error *err)
{
    struct pmet_journal *j = NULL;
    enum pmet_status status;
    if (o.head)
        o.head_text = json_dumps(o.head, PMET_CANONICAL);
    if (!o.head_text)
        PMET_GO(pmet_fail_memory(err, path, 0));
    PMET_GO(pmet_calloc(&j, 1, sizeof *j, path, err));
    *j = (struct pmet_journal){
        .io = io, .path = path, .what = what, .way_out = way_out, .fd = -1, .synced = pmet_seconds()};
    path = NULL;
    PMET_GO(pmet_open_locked(io, j->path, O_RDWR | O_CREAT | O_APPEND, where, &j->fd, err));
    PMET_GO(read_back(j, &o, err));
    *out = j;
    j = NULL;
done:
    pmet_journal_close(j);
    free(o.head_text);
    free(path);
    return status;
}

enum pmet_status pmet_journal_open(struct pmet_store *s, const char *name, json_t *head, const char *what,
                                   pmet_take_record *take, void *user, struct pmet_journal **out,
                                   struct pmet_error *err)
{
    const struct opening o = {.head = head, .take = take, .user = user};
    char file[96], *path;
    snprintf(file, sizeof file, "%s.journal", name);
    PMET_TRY(pmet_path_join(s->dir, file, &path, err));
    return open_at(s->io, path, PMET_WAIT_FOLDER, "give another --work", what, o, out, err);
}

enum pmet_status pmet_journal_open_file(const struct pmet_io *io, const char *path, json_t *head,
                                        const char *what, pmet_take_record *take, void *user,
                                        struct pmet_journal **out, struct pmet_error *err)
{
    const struct opening o = {.head = head, .take = take, .user = user};
    char *copy;
    PMET_TRY(pmet_copy_text(path, &copy, path, err));
    return open_at(io, copy, "on it: wait for its end", "remove the file to begin again", what, o, out, err);
}

const char *pmet_journal_path(const struct pmet_journal *j)
{
    return j->path;
}

void pmet_journal_close(struct pmet_journal *j)
{
    if (!j)
        return;
    if (j->fd >= 0)
        j->io->close(j->io->user, j->fd);
    free(j->path);
    free(j->record);
    free(j);
}
