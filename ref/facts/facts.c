/* SPDX-License-Identifier: MIT
 * Facts files, read one record at a time.      SPEC §4.1, §9.1 */
#include "ref/facts/facts.h"

#include <stdlib.h>
#include <string.h>
#include "ref/facts/facts_record.h"
#include "tensors/elements.h"

/* Records beyond the limit are only walked over. */
static enum pmet_status read_records(struct pmet_elements *e, const struct pmet_facts_options *options,
                                     struct pmet_facts *out, struct pmet_error *err)
{
    size_t cap = 0;
    bool more = true;
    for (size_t n = 0; more; n++) {
        const bool wanted = options->limit == 0 || n < options->limit;
        json_t *json = NULL;
        PMET_TRY(pmet_grow(&out->fact, &cap, out->n_fact + 1, sizeof *out->fact, "facts", err));
        PMET_TRY(pmet_elements_next(e, wanted ? &json : NULL, &more, err));
        if (!json)
            continue;
        struct pmet_fact *f = &out->fact[out->n_fact++];
        *f = (struct pmet_fact){.record = n, .line = pmet_elements_line(e), .case_id = (int64_t)n};
        const enum pmet_status status = pmet_fact_read(json, out->path, options->zsre_alt, f, err);
        json_decref(json);
        PMET_TRY(status);
    }
    return PMET_OK;
}

enum pmet_status pmet_facts_load(const struct pmet_io *io, const char *path,
                                 struct pmet_facts_options options, struct pmet_facts *out,
                                 struct pmet_error *err)
{
    struct pmet_elements *e = NULL;
    enum pmet_status status;
    memset(out, 0, sizeof *out);
    PMET_GO(pmet_copy_text(path, &out->path, path, err));
    PMET_GO(pmet_elements_open(io, path, &e, err));
    PMET_GO(read_records(e, &options, out, err));
    memcpy(out->sha256, pmet_elements_sha256(e), sizeof out->sha256);
    if (out->n_fact == 0)
        status = pmet_fail(err, PMET_INPUT, "%s: holds no facts", path);
    else
        status = pmet_facts_resolve(out, options.conflicts, err);
done:
    pmet_elements_close(e);
    if (status != PMET_OK)
        pmet_facts_free(out);
    return status;
}

void pmet_facts_free(struct pmet_facts *facts)
{
    for (size_t i = 0; i < facts->n_fact; i++) {
        free(facts->fact[i].prompt);
        free(facts->fact[i].subject);
        free(facts->fact[i].target);
        free(facts->fact[i].target_true);
    }
    free(facts->fact);
    free(facts->path);
    memset(facts, 0, sizeof *facts);
}
