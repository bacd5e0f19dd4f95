/* SPDX-License-Identifier: MIT
 * How much facts take, and how many of them go together. */
#include "ref/delta/pass.h"

/* Suffix tokens of a pass beyond which products get no faster; a device's processors share more. */
enum { TOKENS = 2048, DEVICE_TOKENS = 8192 };

struct count {
    const struct pmet_delta_size *size;
    double bytes;
};

static enum pmet_status count(void *user, const struct pmet_buffer *buffer, struct pmet_error *err)
{
    struct count *c = user;
    (void)err;
    c->bytes += (double)pmet_units(c->size, buffer->unit) * (double)buffer->width * sizeof(real);
    return PMET_OK;
}

size_t pmet_delta_bytes(const struct pmet_model *model, const struct pmet_objective *o,
                        const struct pmet_delta_size *size)
{
    const struct pmet_config *c = &model->config;
    const double d = (double)c->d_model, ff = (double)c->d_ff;
    struct pmet_delta nothing = {.in = {.model = model, .o = o}};
    struct count counted = {.size = size};
    struct pmet_error none;
    (void)pmet_delta_buffers(&nothing, size, &(struct pmet_visitor){&counted, count},
                             &none); /* cannot fail */
    const double scratch = (double)size->n_suffix * (11 * d + 3 * ff),
                 past = (double)size->n_prefix * 2 * d * (double)(c->n_layer - o->layer - 1),
                 bytes = counted.bytes + (scratch + past) * sizeof(real);
    return bytes < 0x1p62 ? (size_t)bytes : SIZE_MAX;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

struct pmet_delta_size pmet_delta_plan(const struct pmet_model *model, const struct pmet_objective *o,
                                       const struct pmet_fact_rows *rows, size_t n, size_t max_bytes)
{
    struct pmet_delta_size all = {0}, most = {0};
    for (size_t i = 0; i < n; i++) {
        struct pmet_delta_size one = {0};
        pmet_delta_size_add(&one, &rows[i]);
        pmet_delta_size_add(&all, &rows[i]);
        most.n_fact = 1;
        most.n_row = larger(most.n_row, one.n_row);
        most.n_prefix = larger(most.n_prefix, one.n_prefix);
        most.n_suffix = larger(most.n_suffix, one.n_suffix);
        most.n_label = larger(most.n_label, one.n_label);
    }
    /* a share of all, by memory and by use; facts differ little in size */
    const double by_bytes = (double)max_bytes / ((double)pmet_delta_bytes(model, o, &all) + 1),
                 by_tokens =
                     (double)(model->op->own_memory ? DEVICE_TOKENS : TOKENS) / ((double)all.n_suffix + 1),
                 share = by_bytes < by_tokens ? by_bytes : by_tokens;
    if (share >= 1)
        return all;
    return (struct pmet_delta_size){.n_fact = larger(most.n_fact, (size_t)(share * (double)all.n_fact)),
                                    .n_row = larger(most.n_row, (size_t)(share * (double)all.n_row)),
                                    .n_prefix = larger(most.n_prefix, (size_t)(share * (double)all.n_prefix)),
                                    .n_suffix = larger(most.n_suffix, (size_t)(share * (double)all.n_suffix)),
                                    .n_label = larger(most.n_label, (size_t)(share * (double)all.n_label))};
}
