/* SPDX-License-Identifier: MIT
 * facts.journal: records one after the other, each
 *     u64 n | n bytes | 64 hex digits, the SHA-256 of both
 * little-endian. The first is the head, JSON; each other a settled fact. Records are only ever appended, so a
 * kill leaves whole ones and at most one that is torn.      SPEC §9.11 */
#include "ref/job/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "tensors/json.h"
#include "tensors/sha256.h"

enum { DIGEST = 64, HEAD_FORM = JSON_COMPACT | JSON_SORT_KEYS };

struct pmet_fact_journal {
    const struct pmet_io *io;
    char *path;
    int fd;
    double synced;         /* when */
    unsigned char *record; /* [capacity] of a fact */
    size_t capacity;
};

/* A fact's record, before its z of each module. */
struct fact_record {
    uint64_t fact, applied, stop, n_forward, n_updates;
    double first[7], last[7];
    char failure[256];
};

static void put_losses(double out[7], const struct pmet_losses *l)
{
    const double field[7] = {l->nll, l->kl, l->weight_decay, l->loss, l->prob, l->max_prob, l->nll_factor};
    memcpy(out, field, sizeof field);
}

static struct pmet_losses get_losses(const double in[7])
{
    return (struct pmet_losses){in[0], in[1], in[2], in[3], in[4], in[5], in[6]};
}

static size_t fact_bytes(const struct pmet_targets *t)
{
    return sizeof(struct fact_record) + t->n_module * t->d_model * sizeof(real);
}

/* ---- writing ---- */

/* record[8 .. 8+n) is filled: length and digest are added around it. */
static enum pmet_status append(struct pmet_fact_journal *j, unsigned char *record, size_t n,
                               struct pmet_error *err)
{
    const uint64_t length = n;
    struct pmet_sha256 sha;
    char hex[DIGEST + 1];
    memcpy(record, &length, 8);
    pmet_sha256_begin(&sha);
    pmet_sha256_add(&sha, record, 8 + n);
    pmet_sha256_hex(&sha, hex);
    memcpy(record + 8 + n, hex, DIGEST);
    return pmet_write_all(j->io, j->fd, record, 8 + n + DIGEST, j->path, err);
}

/* What has been added is on the disk. */
static enum pmet_status sync_journal(struct pmet_fact_journal *j, struct pmet_error *err)
{
    if (j->io->fsync(j->io->user, j->fd) != 0)
        return pmet_fail_errno(err, j->path, "sync");
    j->synced = pmet_seconds();
    return PMET_OK;
}

enum pmet_status pmet_fact_journal_add(struct pmet_fact_journal *j, const struct pmet_targets *t, size_t i,
                                       struct pmet_error *err)
{
    const struct pmet_fact_report *f = &t->fact[i];
    struct fact_record r = {.fact = i,
                            .applied = f->applied,
                            .stop = (uint64_t)f->result.stop,
                            .n_forward = f->result.n_forward,
                            .n_updates = f->result.n_updates};
    put_losses(r.first, &f->result.first);
    put_losses(r.last, &f->result.last);
    memcpy(r.failure, f->failure, sizeof r.failure);
    unsigned char *at = j->record + 8;
    memcpy(at, &r, sizeof r);
    at += sizeof r;
    for (size_t q = 0; q < t->n_module; q++, at += t->d_model * sizeof(real))
        memcpy(at, t->Z[q] + i * t->d_model, t->d_model * sizeof(real));
    PMET_TRY(append(j, j->record, fact_bytes(t), err));
    return pmet_seconds() - j->synced > 1 ? sync_journal(j, err) : PMET_OK;
}

static enum pmet_status begin(struct pmet_fact_journal *j, json_t *head, struct pmet_error *err)
{
    char *text = json_dumps(head, HEAD_FORM);
    unsigned char *record = NULL;
    enum pmet_status status = text ? PMET_OK : pmet_fail_memory(err, j->path, 0);
    const size_t n = text ? strlen(text) : 0;
    if (status == PMET_OK)
        status = pmet_calloc(&record, 8 + n + DIGEST, 1, j->path, err);
    if (status == PMET_OK) {
        memcpy(record + 8, text, n);
        status = append(j, record, n, err);
    }
    free(record);
    free(text);
    return status == PMET_OK ? sync_journal(j, err) : status;
}

/* ---- reading ---- */

/* Length of the whole record at data, 0 if it is torn. */
static size_t whole_record(const unsigned char *data, size_t n_bytes)
{
    uint64_t n;
    struct pmet_sha256 sha;
    char hex[DIGEST + 1];
    if (n_bytes < 8 + DIGEST)
        return 0;
    memcpy(&n, data, 8);
    if (n > n_bytes - 8 - DIGEST)
        return 0;
    pmet_sha256_begin(&sha);
    pmet_sha256_add(&sha, data, 8 + (size_t)n);
    pmet_sha256_hex(&sha, hex);
    return memcmp(hex, data + 8 + n, DIGEST) == 0 ? 8 + (size_t)n + DIGEST : 0;
}

static const char *as_text(const json_t *v, char *text, size_t size)
{
    char *dump = v ? json_dumps(v, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY) : NULL;
    snprintf(text, size, "%.80s", dump ? dump : "nothing");
    free(dump);
    return text;
}

static enum pmet_status compare_heads(const struct pmet_fact_journal *j, const char *text, size_t n,
                                      json_t *want, struct pmet_error *err)
{
    json_t *found;
    const char *key;
    json_t *value;
    PMET_TRY(pmet_json_parse(text, n, j->path, 0, &found, err));
    enum pmet_status status = PMET_OK;
    json_object_foreach(want, key, value)
    {
        const json_t *other = json_object_get(found, key);
        char a[96], b[96];
        if (status == PMET_OK && !json_equal(other, value))
            status = pmet_fail(err, PMET_INPUT,
                               "%s: begun with other %s: found %s; this edit has %s (give another --work)",
                               j->path, key, as_text(other, a, sizeof a), as_text(value, b, sizeof b));
    }
    json_decref(found);
    return status;
}

static enum pmet_status take_fact(const struct pmet_fact_journal *j, const unsigned char *data, size_t n,
                                  struct pmet_targets *t, struct pmet_error *err)
{
    struct fact_record r;
    if (n != fact_bytes(t))
        return pmet_fail(err, PMET_FORMAT, "%s: found a record of %zu bytes; expected %zu", j->path, n,
                         fact_bytes(t));
    memcpy(&r, data, sizeof r);
    if (r.fact >= t->n_fact || r.stop > PMET_STOP_MAX)
        return pmet_fail(err, PMET_FORMAT, "%s: found fact %llu of %zu, stop %llu; expected one of this edit",
                         j->path, (unsigned long long)r.fact, t->n_fact, (unsigned long long)r.stop);
    struct pmet_fact_report *f = &t->fact[r.fact];
    f->settled = true;
    f->applied = r.applied != 0;
    f->result = (struct pmet_delta_result){(enum pmet_stop)r.stop, (size_t)r.n_forward, (size_t)r.n_updates,
                                           get_losses(r.first), get_losses(r.last)};
    memcpy(f->failure, r.failure, sizeof f->failure);
    f->failure[sizeof f->failure - 1] = '\0';
    data += sizeof r;
    for (size_t q = 0; q < t->n_module; q++, data += t->d_model * sizeof(real))
        memcpy(t->Z[q] + r.fact * t->d_model, data, t->d_model * sizeof(real));
    return PMET_OK;
}

/* A kill tears the last record, a power cut leaves zeros: such an end, no longer than a record of n bytes, is cut off.
 * Whole facts behind a record that is damaged are not thrown away unasked. */
static enum pmet_status check_end(const struct pmet_fact_journal *j, const unsigned char *data, size_t at,
                                  size_t n_bytes, size_t n, struct pmet_error *err)
{
    size_t i = at;
    while (i < n_bytes && data[i] == 0)
        i++;
    if (n_bytes - at <= 8 + n + DIGEST || i == n_bytes)
        return PMET_OK;
    return pmet_fail(err, PMET_FORMAT,
                     "%s: byte %zu: found a damaged record and %zu bytes after its beginning; expected whole "
                     "records (truncate -s %zu keeps those before it)",
                     j->path, at, n_bytes - at, at);
}

/* Takes the whole records; *n_good is where the first torn one begins. */
static enum pmet_status take_all(const struct pmet_fact_journal *j, const unsigned char *data, size_t n_bytes,
                                 json_t *head, struct pmet_targets *t, size_t *n_good, struct pmet_error *err)
{
    size_t at = whole_record(data, n_bytes);
    *n_good = at;
    if (at == 0)
        return check_end(j, data, 0, n_bytes, json_dumpb(head, NULL, 0, HEAD_FORM), err);
    PMET_TRY(compare_heads(j, (const char *)data + 8, at - 8 - DIGEST, head, err));
    for (size_t n; (n = whole_record(data + at, n_bytes - at)) > 0; at += n)
        PMET_TRY(take_fact(j, data + at + 8, n - 8 - DIGEST, t, err));
    *n_good = at;
    return check_end(j, data, at, n_bytes, fact_bytes(t), err);
}

static enum pmet_status read_back(struct pmet_fact_journal *j, json_t *head, struct pmet_targets *t,
                                  struct pmet_error *err)
{
    uint64_t n_bytes;
    size_t n_good = 0;
    if (j->io->size(j->io->user, j->fd, &n_bytes) != 0)
        return pmet_fail_errno(err, j->path, "look at");
    if (n_bytes > 0) {
        void *data = j->io->map(j->io->user, j->fd, (size_t)n_bytes);
        if (data == (void *)-1)
            return pmet_fail_errno(err, j->path, "map");
        const enum pmet_status status = take_all(j, data, (size_t)n_bytes, head, t, &n_good, err);
        j->io->unmap(j->io->user, data, (size_t)n_bytes);
        PMET_TRY(status);
    }
    if (n_good < n_bytes && j->io->truncate(j->io->user, j->fd, n_good) != 0)
        return pmet_fail_errno(err, j->path, "cut off the torn end of");
    return n_good == 0 ? begin(j, head, err) : PMET_OK;
}

/* ---- opening ---- */

static enum pmet_status lock(struct pmet_fact_journal *j, const char *dir, struct pmet_error *err)
{
    if (j->io->mkdir(j->io->user, dir, 0777) != 0 && errno != EEXIST)
        return pmet_fail_errno(err, dir, "create");
    PMET_TRY(pmet_path_join(dir, "facts.journal", &j->path, err));
    j->fd = j->io->open(j->io->user, j->path, O_RDWR | O_CREAT | O_APPEND, 0666);
    if (j->fd < 0)
        return pmet_fail_errno(err, j->path, "open");
    if (j->io->lock(j->io->user, j->fd) == 0)
        return PMET_OK;
    if (errno == EWOULDBLOCK)
        return pmet_fail(err, PMET_INPUT, "%s: another process is at work in this folder", j->path);
    return pmet_fail_errno(err, j->path, "lock");
}

enum pmet_status pmet_fact_journal_open(const struct pmet_io *io, const char *dir, json_t *head,
                                        struct pmet_targets *targets, struct pmet_fact_journal **out,
                                        struct pmet_error *err)
{
    struct pmet_fact_journal *j = NULL;
    enum pmet_status status;
    if (!head)
        return pmet_fail_memory(err, dir, 0);
    PMET_GO(pmet_calloc(&j, 1, sizeof *j, dir, err));
    j->io = io;
    j->fd = -1;
    j->capacity = 8 + fact_bytes(targets) + DIGEST;
    PMET_GO(pmet_calloc(&j->record, j->capacity, 1, dir, err));
    PMET_GO(lock(j, dir, err));
    PMET_GO(read_back(j, head, targets, err));
    j->synced = pmet_seconds();
    *out = j;
    j = NULL;
done:
    pmet_fact_journal_close(j);
    return status;
}

void pmet_fact_journal_close(struct pmet_fact_journal *j)
{
    if (!j)
        return;
    if (j->fd >= 0)
        j->io->close(j->io->user, j->fd);
    free(j->path);
    free(j->record);
    free(j);
}
