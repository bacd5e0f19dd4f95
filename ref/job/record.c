/* SPDX-License-Identifier: MIT */
#include "ref/job/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ref/event.h"
#include "tensors/json.h"

static const size_t max_record = (size_t)1 << 26;

static enum pmet_status take_ancestors(struct pmet_record *r, const char *path, struct pmet_error *err)
{
    const json_t *list = json_object_get(r->json, "ancestors");
    const char *own;
    PMET_TRY(pmet_json_string(r->json, path, "fingerprint", &own, err));
    if (strlen(own) != 64 || !json_is_array(list))
        return pmet_fail(
            err, PMET_FORMAT,
            "%s: found no fingerprint of 64 digits, or no array of ancestors; expected what pmet "
            "edit writes (without this file the model counts as unedited)",
            path);
    memcpy(r->fingerprint, own, 65);
    PMET_TRY(pmet_calloc(&r->ancestor, json_array_size(list), sizeof *r->ancestor, path, err));
    for (; r->n_ancestor < json_array_size(list); r->n_ancestor++) {
        const json_t *v = json_array_get(list, r->n_ancestor);
        if (!json_is_string(v))
            return pmet_fail(err, PMET_FORMAT, "%s: ancestors[%zu]: found %s; expected a fingerprint", path,
                             r->n_ancestor, pmet_json_kind(v));
        r->ancestor[r->n_ancestor] = json_string_value(v);
    }
    return PMET_OK;
}

enum pmet_status pmet_record_read(const struct pmet_io *io, const char *dir, struct pmet_record *out,
                                  struct pmet_error *err)
{
    char *path;
    enum pmet_status status = PMET_OK;
    memset(out, 0, sizeof *out);
    PMET_TRY(pmet_path_join(dir, PMET_RECORD_FILE, &path, err));
    if (access(path, F_OK) != 0 && errno == ENOENT)
        goto done;
    PMET_GO(pmet_json_load(io, path, max_record, &out->json, err));
    status = take_ancestors(out, path, err);
done:
    free(path);
    if (status != PMET_OK)
        pmet_record_free(out);
    return status;
}

void pmet_record_free(struct pmet_record *r)
{
    json_decref(r->json);
    free(r->ancestor);
    memset(r, 0, sizeof *r);
}

enum pmet_status pmet_record_read_of(const struct pmet_io *io, const char *dir, const char *fingerprint,
                                     const struct pmet_listener *listener, struct pmet_record *out,
                                     struct pmet_error *err)
{
    PMET_TRY(pmet_record_read(io, dir, out, err));
    if (out->json && strcmp(out->fingerprint, fingerprint) != 0) {
        pmet_raise_note(listener, true,
                        "%s/" PMET_RECORD_FILE ": was written for other weights; it is not used", dir);
        pmet_record_free(out);
    }
    return PMET_OK;
}
