/* SPDX-License-Identifier: MIT
 * A checkpoint's tensors bound to a model.      SPEC §3.8 */
#ifndef PMET_REF_MODEL_LOAD_H
#define PMET_REF_MODEL_LOAD_H

#include "ref/model/config.h"
#include "tensors/checkpoint.h"

/* Pointers are (dev). Biases and norms are held as real; matrices stay in the file's dtype, mapped.
 * What a family does not have is NULL. */
struct pmet_layer {
    real *ln1_gain, *ln1_bias; /* before attention; before the FFN, too, where ln2 is NULL */
    real *ln2_gain, *ln2_bias; /* before the FFN */
    struct pmet_weight qkv[3]; /* the family's qkv.n_matrix projections */
    real *qkv_bias[3];
    struct pmet_weight attn_out;
    real *attn_out_bias;
    struct pmet_weight fc_in, fc_out;
    real *fc_in_bias, *fc_out_bias;
};

struct pmet_model {
    struct pmet_config config;
    const struct pmet_ops *op;
    struct pmet_weight embed, head;
    real *head_bias;
    real *ln_f_gain, *ln_f_bias;
    struct pmet_layer *layer; /* [n_layer] */
    const struct pmet_checkpoint *checkpoint;
    void **owned; /* (dev) what the model allocated */
    size_t n_owned;
    const void **mapped; /* (dev) what weight_map returned */
    size_t n_mapped;
    struct pmet_notes notes;
    /* [n_read] of the checkpoint, in the order of the family's table whatever their names there; NULL
     * where zeros stand in */
    const struct pmet_tensor **read;
    size_t n_read;
    double weight_bytes; /* of the tensors that are read, on a device that holds them */
};

/* Binds the checkpoint's tensors to a model after checking every name, dtype and shape against its
 * config. Names may lack the family's prefix or have it twice. Buffers of old checkpoints are
 * ignored; other tensors outside the blocks are noted, those inside refused. ck and op must outlive
 * the model. */
enum pmet_status pmet_model_open(const struct pmet_checkpoint *ck, const struct pmet_ops *op,
                                 struct pmet_model **out, struct pmet_error *err);
/* The same for a model of one of `families` (a list that NULL ends) instead of pmet_families. */
enum pmet_status pmet_model_open_with(const struct pmet_checkpoint *ck, const struct pmet_ops *op,
                                      const struct pmet_family *const *families, struct pmet_model **out,
                                      struct pmet_error *err);
void pmet_model_close(struct pmet_model *model); /* accepts NULL */

/* The matrix of an editable module. Setting data (dev) and dtype PMET_REAL overlays it. */
struct pmet_weight *pmet_model_module(struct pmet_model *model, enum pmet_module module, size_t layer);

/* The checkpoint's tensor of that name, whichever spelling it has there; NULL if there is none. */
const struct pmet_tensor *pmet_model_tensor(const struct pmet_model *model, const char *name);

/* Looks for the first NaN or infinity in the weights; the message names file, tensor and element.
 * PMET_OK if all are finite. What is never read may hold anything: NeoX's masked_bias is -inf in
 * f16. Asks the table's caller after every PMET_FINITE_BLOCK elements of a tensor. */
enum { PMET_FINITE_BLOCK = 1 << 20 };
enum pmet_status pmet_model_check_finite(const struct pmet_model *model, struct pmet_error *err);
/* The same for embedding, head, norms and biases alone, before the work: NaN there need not reach
 * the numbers that a command looks at, as in the row of a token that the text has not. Of GPT-J-6B it
 * reads 0.8 of 12 GB. */
enum pmet_status pmet_model_check_ends(const struct pmet_model *model, struct pmet_error *err);
/* Numbers are not finite: names the weight that is to blame, or `what`: "the logits are". */
enum pmet_status pmet_model_not_finite(const struct pmet_model *model, const char *what,
                                       struct pmet_error *err);

#endif
