/* SPDX-License-Identifier: MIT */
#include "ref/job/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ref/event.h"
#include "tensors/json.h"

static const size_t max_record = (size_t)1 << 26;

static void take_part(const json_t *parts, const char *key, char part[65])
{
    const char *value = json_string_value(json_object_get(parts, key));
    if (value && strlen(value) == 64)
        memcpy(part, value, 65);
}

static void read_parts(const json_t *json, struct pmet_parts *out)
{
    take_part(json, "weights", out->weights);
    take_part(json, "config", out->config);
    take_part(json, "tokenizer", out->tokenizer);
}

/* Records of earlier versions have none. */
static enum pmet_status take_parts(struct pmet_record *r, const char *path, struct pmet_error *err)
{
    const json_t *list = json_object_get(r->json, "ancestor_parts");
    read_parts(json_object_get(r->json, "parts"), &r->parts);
    PMET_TRY(pmet_calloc(&r->ancestor_parts, r->n_ancestor, sizeof *r->ancestor_parts, path, err));
    for (size_t i = 0; i < r->n_ancestor; i++)
        read_parts(json_array_get(list, i), &r->ancestor_parts[i]);
    return PMET_OK;
}

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
    return take_parts(r, path, err);
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
    free(r->ancestor_parts);
    memset(r, 0, sizeof *r);
}

bool pmet_record_fits(const struct pmet_record *r, const char *fingerprint, const struct pmet_parts *parts)
{
    return strcmp(r->fingerprint, fingerprint) == 0 || pmet_parts_agree(&r->parts, parts);
}

enum pmet_status pmet_record_read_of(const struct pmet_io *io, const char *dir, const char *fingerprint,
                                     const struct pmet_parts *parts, const struct pmet_listener *listener,
                                     struct pmet_record *out, struct pmet_error *err)
{
    PMET_TRY(pmet_record_read(io, dir, out, err));
    if (out->json && strcmp(out->fingerprint, fingerprint) != 0 && pmet_parts_agree(&out->parts, parts))
        pmet_raise_note(listener, false,
                        "%s/" PMET_RECORD_FILE
                        ": was written before the folder was saved anew: %s; weights and "
                        "arithmetic are the same",
                        dir, pmet_parts_difference(&out->parts, parts));
    if (out->json && !pmet_record_fits(out, fingerprint, parts)) {
        pmet_raise_note(listener, true,
                        "%s/" PMET_RECORD_FILE ": was written for other weights; it is not used", dir);
        pmet_record_free(out);
    }
    return PMET_OK;
}
