/* SPDX-License-Identifier: MIT
 * A journal of the work folder: as it is, and as records whose digests fit. */
#include "ref/store/store.h"
#include "tensors/sha256.h"
#include "tests/fuzz/target.h"

static enum pmet_status take(void *user, const void *data, size_t n, struct pmet_error *err)
{
    size_t *n_record = user;
    (void)err;
    fuzz_touch(data, n);
    ++*n_record;
    return PMET_OK;
}

static void open_and_append(const char *path)
{
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_journal *j = NULL;
    json_t *head = json_pack("{s:i, s:s}", "version", 1, "model", "m");
    size_t n_record = 0;
    fuzz_expect(
        pmet_journal_open_file(pmet_io_system(), path, head, "this edit has", take, &n_record, &j, &err),
        &err);
    if (j) {
        struct pmet_error inner = {PMET_OK, ""};
        fuzz_expect(pmet_journal_append(j, "more", 4, &inner), &inner);
    }
    pmet_journal_close(j);
    json_decref(head);
}

void fuzz_one(const char *data, size_t n)
{
    char *out = malloc(2 * n * 80 + 160), hex[65];
    size_t m = 0;
    open_and_append(fuzz_file("a.journal", data, n));
    while (n > 0) { /* lines become records */
        const char *end = memchr(data, '\n', n);
        const uint64_t len = end ? (uint64_t)(end - data) : n;
        struct pmet_sha256 sha;
        memcpy(out + m, &len, 8);
        memcpy(out + m + 8, data, len);
        pmet_sha256_begin(&sha);
        pmet_sha256_add(&sha, out + m, 8 + len);
        pmet_sha256_hex(&sha, hex);
        memcpy(out + m + 8 + len, hex, 64);
        m += len + 72;
        data += len + (end != NULL);
        n -= len + (end != NULL);
    }
    open_and_append(fuzz_file("a.journal", out, m));
    free(out);
}
