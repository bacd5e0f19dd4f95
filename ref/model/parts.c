/* SPDX-License-Identifier: MIT */
#include "ref/model/parts.h"

#include <stdio.h>
#include <string.h>

static void add_text(struct pmet_sha256 *s, const char *text)
{
    pmet_sha256_add(s, text, strlen(text) + 1);
}

/* By their places in the family's table: names may have another prefix, and a tied head may be there
 * or not. */
static void digest_weights(const struct pmet_model *m, char hex[65])
{
    struct pmet_sha256 s;
    pmet_sha256_begin(&s);
    for (size_t i = 0; i < m->n_read; i++) {
        const struct pmet_tensor zeros = {.name = "zeros", .dtype = PMET_F32, .data = ""};
        struct pmet_tensor t = m->read[i] ? *m->read[i] : zeros;
        t.name = m->read[i] ? "" : t.name;
        pmet_digest_tensor(&s, &t);
    }
    pmet_sha256_hex(&s, hex);
}

/* The longest sequence and the vocabulary are no arithmetic: rows of the embedding are weights. */
static void digest_config(const struct pmet_config *c, char hex[65])
{
    struct pmet_sha256 s;
    char text[512];
    snprintf(
        text, sizeof text,
        "%s n_layer %zu d_model %zu n_head %zu d_ff %zu rotary_dim %zu rope %d rope_base %a ln_eps %a act %d "
        "parallel %d attn_bias %d",
        c->family->name, c->n_layer, c->d_model, c->n_head, c->d_ff, c->rotary_dim, (int)c->rope,
        c->rope_base, c->ln_eps, (int)c->act, c->parallel, c->attn_bias);
    pmet_sha256_begin(&s);
    add_text(&s, text);
    pmet_sha256_hex(&s, hex);
}

enum pmet_status pmet_model_parts(const struct pmet_model *model, struct pmet_parts *out,
                                  struct pmet_error *err)
{
    digest_weights(model, out->weights);
    digest_config(&model->config, out->config);
    return pmet_checkpoint_tokenizer_digest(model->checkpoint, out->tokenizer, err);
}

bool pmet_parts_agree(const struct pmet_parts *a, const struct pmet_parts *b)
{
    return a->weights[0] && a->config[0] && strcmp(a->weights, b->weights) == 0 &&
           strcmp(a->config, b->config) == 0;
}

const char *pmet_parts_difference(const struct pmet_parts *a, const struct pmet_parts *b)
{
    return strcmp(a->tokenizer, b->tokenizer) != 0
               ? "the tokenizer's files differ"
               : "config.json is spelled differently, or other tensors than the model's differ";
}
