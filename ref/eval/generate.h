/* SPDX-License-Identifier: MIT
 * Text from a model: prompts continued together with cached keys and values, greedily or by seeded
 * top-k sampling.      SPEC §4.2 */
#ifndef PMET_REF_EVAL_GENERATE_H
#define PMET_REF_EVAL_GENERATE_H

#include "ref/model/model.h"
#include "tokenizer/tokenizer.h"

/* E77: xoshiro256** seeded by splitmix64, the generator of all sampling. */
struct pmet_rng {
    uint64_t s[4];
};
void pmet_rng_seed(struct pmet_rng *rng, uint64_t seed);
/* Stream (i, j) of a seed: text j of record i has its own, so it does not depend on other texts. */
void pmet_rng_seed_stream(struct pmet_rng *rng, uint64_t seed, uint64_t i, uint64_t j);
uint64_t pmet_rng_next(struct pmet_rng *rng);
double pmet_rng_uniform(struct pmet_rng *rng); /* [0, 1), 53 bits */

struct pmet_generate_options {
    size_t n_total; /* length of the whole row, prompt included, when it ends (there is no stop at eos, as
                       published: X25) */
    size_t top_k;   /* 1: greedy */
    size_t n_batch; /* rows in progress at a time; 0: as memory allows. Results do not depend on it */
};

/* Callback after each token that rows in progress gain; may be NULL. A nonzero return ends
 * generation early, without error. */
typedef int pmet_generate_stop(void *user);

/* Appends tokens to each of n_row rows of ids until it holds n_total (nothing if it already does;
 * refused past the model's n_ctx or if a row is empty), row i drawing from rng[i] alone. */
enum pmet_status pmet_generate(const struct pmet_model *model, struct pmet_ids *row, size_t n_row,
                               const struct pmet_generate_options *options, struct pmet_rng *rng,
                               pmet_generate_stop *stop, void *user, struct pmet_error *err);

/* Published clean-up of generated text: decoded with clean-up, NFKD, "\n\n" to " ", no
 * "<|endoftext|>". */
enum pmet_status pmet_generated_text(const struct pmet_tokenizer *tk, const struct pmet_ids *ids,
                                     struct pmet_text *out, struct pmet_error *err);

struct pmet_contexts;
struct pmet_hparams;
/* Context templates, top-k 5, from the seed, in batches of one length: ten tokens each after "The",
 * "Therefore", "Because", "I", "You", or those that context_length of h asks for. The listener (or NULL)
 * hears of each token. */
enum pmet_status pmet_contexts_generate(const struct pmet_model *model, const struct pmet_tokenizer *tk,
                                        const struct pmet_hparams *h, uint64_t seed,
                                        const struct pmet_listener *listener, struct pmet_contexts *out,
                                        struct pmet_error *err);
/* What stands for them before they are written: templates of PMET_CONTEXT_TOKENS times their tokens (or
 * one or two more), which is taken for their upper bound, since a text that is cleaned up and tokenised
 * again may have more tokens than it was written with. */
enum { PMET_CONTEXT_TOKENS = 2 };
enum pmet_status pmet_contexts_bound(const struct pmet_tokenizer *tk, const struct pmet_hparams *h,
                                     struct pmet_contexts *out, struct pmet_error *err);

#endif
