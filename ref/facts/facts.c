/* SPDX-License-Identifier: MIT
 * Facts files, read one record at a time.      SPEC §4.1, §9.1 */
#include "ref/facts/facts.h"

#include <stdlib.h>
#include <string.h>
#include "ref/facts/facts_record.h"
#include "tensors/elements.h"

static void free_fact(struct pmet_fact *f)
{
    free(f->prompt);
    free(f->subject);
    free(f->target);
    free(f->target_true);
}

static enum pmet_status add_fact(struct pmet_facts *facts, size_t *cap, const struct pmet_fact *f,
                                 struct pmet_error *err)
{
    if (facts->n_fact == *cap) {
        const size_t more = 2 * *cap + 64;
        struct pmet_fact *grown = realloc(facts->fact, more * sizeof *grown);
        if (!grown)
            return pmet_fail_memory(err, "facts", more * sizeof *grown);
        facts->fact = grown;
        *cap = more;
    }
    facts->fact[facts->n_fact++] = *f;
    return PMET_OK;
}

/* Records beyond the limit are only walked over. */
static enum pmet_status read_records(struct pmet_elements *e, const struct pmet_facts_options *options,
                                     struct pmet_facts *out, struct pmet_error *err)
{
    size_t cap = 0;
    bool more = true;
    for (size_t n = 0; more; n++) {
        const bool wanted = options->limit == 0 || n < options->limit;
        json_t *json = NULL;
        PMET_TRY(pmet_elements_next(e, wanted ? &json : NULL, &more, err));
        if (!json)
            continue;
        struct pmet_fact f = {.record = n, .line = pmet_elements_line(e), .case_id = (int64_t)n};
        enum pmet_status status = pmet_fact_read(json, out->path, options->zsre_alt, &f, err);
        if (status == PMET_OK)
            status = add_fact(out, &cap, &f, err);
        json_decref(json);
        if (status != PMET_OK) {
            free_fact(&f);
            return status;
        }
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
    PMET_GO(pmet_calloc(&out->path, strlen(path) + 1, 1, path, err));
    memcpy(out->path, path, strlen(path));
    PMET_GO(pmet_elements_open(io, path, &e, err));
    PMET_GO(read_records(e, &options, out, err));
    memcpy(out->sha256, pmet_elements_sha256(e), sizeof out->sha256);
    if (out->n_fact == 0)
        status = pmet_fail(err, PMET_INPUT, "%s: holds no facts", path);
    else
        status = pmet_facts_settle(out, options.conflicts, err);
done:
    pmet_elements_close(e);
    if (status != PMET_OK)
        pmet_facts_free(out);
    return status;
}

void pmet_facts_free(struct pmet_facts *facts)
{
    for (size_t i = 0; i < facts->n_fact; i++)
        free_fact(&facts->fact[i]);
    free(facts->fact);
    free(facts->path);
    memset(facts, 0, sizeof *facts);
}
