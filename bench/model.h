/* SPDX-License-Identifier: MIT
 * A GPT-J of any size with random weights, in the memory of a table. */
#ifndef PMET_BENCH_MODEL_H
#define PMET_BENCH_MODEL_H

#include "ref/delta/objective.h"
#include "ref/facts/hparams.h"
#include "ref/facts/rows.h"
#include "ref/model/model.h"

struct bench_size {
    size_t n_layer, d_model, d_head, n_vocab;
    enum pmet_dtype dtype; /* of the matrices */
};
struct pmet_model *bench_model(const struct pmet_ops *op, const struct bench_size *size);
void bench_model_free(struct pmet_model *model);

/* n ids below n_vocab, the same for the same seed. */
void bench_ids(uint64_t seed, size_t n_vocab, int32_t *id, size_t n);

/* A fact as the published settings give it: a prompt of PROMPT tokens, alone and after five
 * contexts of CONTEXT tokens, the KL row, a target of one token. bench_rows_free releases it. */
enum { BENCH_PROMPT = 8, BENCH_CONTEXT = 10, BENCH_STEPS = 25 };
void bench_rows(size_t n_vocab, struct pmet_fact_rows *rows);
void bench_rows_free(struct pmet_fact_rows *rows);
/* The published hyper-parameters with layers in the same part of the model (GPT-J-6B: 3 to 8 of
 * 28), but for a rate so small that no pass is the last before BENCH_STEPS. */
void bench_hparams(size_t n_layer, struct pmet_hparams *h);

#endif
