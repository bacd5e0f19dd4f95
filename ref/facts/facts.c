/* SPDX-License-Identifier: MIT
 * Facts files, read one record at a time.      SPEC §4.1, §9.1 */
#include "ref/facts/facts.h"

#include <stdlib.h>
#include <string.h>
#include "ref/facts/facts_record.h"
#include "tensors/elements.h"

/* The next record, into the fact behind the last one. */
static enum pmet_status read_record(struct pmet_elements *e, const struct pmet_facts_options *options,
                                    struct pmet_facts *out, bool *more, struct pmet_error *err)
{
    struct pmet_fact *f = &out->fact[out->n_fact];
    json_t *json;
    bool there;
    PMET_TRY(pmet_elements_next(e, &json, &there, err));
    *more = there; /* not before: it says that the record was read to its end */
    if (!json)
        return PMET_OK;
    const size_t record = pmet_elements_record(e);
    *f = (struct pmet_fact){.record = record, .line = pmet_elements_line(e), .case_id = (int64_t)record};
    const enum pmet_status status = pmet_fact_read(json, out->path, options->zsre_alt, f, err);
    json_decref(json);
    if (status == PMET_OK)
        out->n_fact++;
    else
        pmet_fact_free(f);
    return status;
}

/* A record that failed is left out, if it may be; `more` says whether it was read to its end. */
static enum pmet_status skip_record(struct pmet_elements *e, bool whole, struct pmet_facts *out,
                                    struct pmet_error *err)
{
    const size_t record = pmet_elements_record(e), line = pmet_elements_line(e);
    if (!pmet_skipped_may(err->status) || (!whole && !pmet_elements_skip(e)))
        return err->status;
    return pmet_skipped_add(&out->skipped, record, line, err);
}

/* Records beyond the limit are only walked over. */
static enum pmet_status read_records(struct pmet_elements *e, const struct pmet_facts_options *options,
                                     struct pmet_facts *out, struct pmet_error *err)
{
    size_t cap = 0;
    for (bool more = true; more;) {
        const size_t n = out->n_fact + out->skipped.n;
        PMET_TRY(pmet_grow(&out->fact, &cap, out->n_fact + 1, sizeof *out->fact, "facts", err));
        if (options->limit > 0 && n >= options->limit) {
            PMET_TRY(pmet_elements_next(e, NULL, &more, err));
            continue;
        }
        bool whole = false; /* stays so where the next record cannot be read */
        const enum pmet_status status = read_record(e, options, out, &whole, err);
        if (status == PMET_OK)
            more = whole;
        else if (options->skip_invalid)
            PMET_TRY(skip_record(e, whole, out, err));
        else
            return status;
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
    if (out->n_fact == 0 && out->skipped.n > 0)
        status = pmet_fail(err, PMET_INPUT, "%s: holds no valid facts; record %zu (line %zu): %s", path,
                           out->skipped.item[0].record, out->skipped.item[0].line, out->skipped.item[0].why);
    else if (out->n_fact == 0)
        status = pmet_fail(err, PMET_INPUT, "%s: holds no facts", path);
    else
        status = pmet_facts_resolve(out, options.conflicts, err);
done:
    pmet_elements_close(e);
    if (status != PMET_OK)
        pmet_facts_free(out);
    return status;
}

enum pmet_status pmet_facts_skip(struct pmet_facts *facts, size_t i, struct pmet_error *err)
{
    struct pmet_fact *f = &facts->fact[i];
    PMET_TRY(pmet_skipped_add(&facts->skipped, f->record, f->line, err));
    pmet_fact_free(f);
    memmove(f, f + 1, (--facts->n_fact - i) * sizeof *f);
    return PMET_OK;
}

void pmet_facts_free(struct pmet_facts *facts)
{
    for (size_t i = 0; i < facts->n_fact; i++)
        pmet_fact_free(&facts->fact[i]);
    free(facts->fact);
    free(facts->path);
    pmet_skipped_free(&facts->skipped);
    memset(facts, 0, sizeof *facts);
}
