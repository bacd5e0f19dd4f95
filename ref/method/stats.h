/* SPDX-License-Identifier: MIT
 * Second moments of the keys, E[k k^T], from text: made in one pass for all edited layers, kept one
 * file a layer and module.      SPEC §7 */
#ifndef PMET_REF_METHOD_STATS_H
#define PMET_REF_METHOD_STATS_H

#include "ref/facts/docs.h"
#include "ref/model/model.h"
#include "ref/model/parts.h"
#include "tokenizer/tokenizer.h"

struct pmet_stats_options {
    const size_t *layers; /* [n_layer] ascending */
    size_t n_layer;
    bool attn;         /* also the moments of attn_out's input */
    size_t n_samples;  /* documents, not keys (X12); 0 or more than there are: all */
    size_t max_length; /* tokens of a document; 0: the model's n_ctx */
    uint32_t seed;     /* of the shuffle; published: 1 */
    bool factor;       /* write the Cholesky factor of each mean, too */
};

struct pmet_moment {
    enum pmet_module module;
    size_t layer, d_in;
    real *mom2; /* host [d_in, d_in], symmetric, the mean */
    /* after pmet_stats_write with options->factor: whether it has a factor, else the pivot that is
     * not positive */
    bool factored;
    size_t pivot;
    double value;
};
struct pmet_stats {
    struct pmet_moment *moment;
    size_t n_moment;
    size_t count;          /* tokens */
    size_t n_docs, n_used; /* documents there are, documents used (empty ones are not) */
};

/* Keeps sums on the way. sum[i] (dev) [d_in, d_in] is moment i's, its lower triangle set;
 * stats->moment lists them. */
struct pmet_stats_keeper {
    void *user;
    /* Before the first document: the sums of an earlier run, its count and n_used, and *next, the
     * first document of the order that they lack; *next 0 and nothing changed where there is
     * none. */
    enum pmet_status (*recall)(void *user, real *const *sum, struct pmet_stats *stats, size_t *next,
                               struct pmet_error *err);
    /* After a batch: the sums hold the documents before `next`. */
    enum pmet_status (*keep)(void *user, real *const *sum, const struct pmet_stats *stats, size_t next,
                             struct pmet_error *err);
};

/* The moments of a text; keeper and listener, which hears of each document, may be NULL. */
enum pmet_status pmet_stats_collect(const struct pmet_model *model, const struct pmet_tokenizer *tk,
                                    const struct pmet_docs *docs, const struct pmet_stats_options *options,
                                    const struct pmet_stats_keeper *keeper,
                                    const struct pmet_listener *listener, struct pmet_stats *out,
                                    struct pmet_error *err);
void pmet_stats_free(struct pmet_stats *stats);

/* Writes one safetensors file for each moment into the existing folder dir: "<module
 * name>.safetensors" with tensors mom2 [d_in, d_in] and count [1] (I64), metadata fingerprint and its parts,
 * module, samples, max_length, seed, text_sha256, version; with options->factor also factor [d_in,
 * d_in] (F64, strict upper triangle 0), L of mom2 = L L^T, unless mom2 is not positive definite:
 * then the moment says at which pivot. */
enum pmet_status pmet_stats_write(const struct pmet_io *io, const char *dir, const struct pmet_model *model,
                                  struct pmet_stats *stats, const struct pmet_stats_options *options,
                                  const char *fingerprint, const char *text_sha256,
                                  const struct pmet_listener *listener, struct pmet_error *err);

/* What is said of a moment without one: layer, pivot, order, value. */
#define PMET_NO_FACTOR                                                                                       \
    "layer %zu: second moments are not positive definite (pivot %zu of %zu is %g): no factor is kept, "      \
    "edits form the "                                                                                        \
    "full matrix"

/* A folder of moments, and the model that they are to serve. */
struct pmet_stats_source {
    const struct pmet_io *io;
    const char *dir, *fingerprint;           /* the folder; the model's */
    const struct pmet_parts *parts;          /* of the same; NULL: not known */
    const char *const *ancestor;             /* [n_ancestor] fingerprints of the models it was edited from */
    const struct pmet_parts *ancestor_parts; /* [n_ancestor]; NULL: not known */
    size_t n_ancestor;
    /* of the hyper-parameters, to choose among published files: mom2_n_samples, mom2_dataset,
     * mom2_dtype; 0 and NULL: unknown */
    size_t n_samples;
    const char *dataset, *dtype;
    const struct pmet_listener *listener; /* or NULL; polled while a matrix is read */
};

/* How a moment's file relates to the model in hand. */
enum pmet_stats_origin { PMET_STATS_VERIFIED, PMET_STATS_OF_BASE, PMET_STATS_UNVERIFIED };

struct pmet_stats_info {
    enum pmet_stats_origin origin;
    size_t count;           /* tokens */
    bool factor;            /* pmet_stats_factor has one */
    const char *difference; /* the folder was saved anew since: in what it differs; else NULL */
    char id[65]; /* tells contents apart: of the metadata and of some blocks of a safetensors, of the
                   * checksums of an .npz */
};

/* What can be said of a module's moments without reading all of them: that there is a file
 * (pmet_stats_find), its shape, count > 0, fingerprint: that of the model, or of one of the
 * n_ancestor bases it was edited from, or parts that agree with theirs. *path, unless path is NULL:
 * the file, free() releases it. */
enum pmet_status pmet_stats_look(const struct pmet_stats_source *from, const char *module_name, size_t d_in,
                                 struct pmet_stats_info *info, char **path, struct pmet_error *err);
/* C of one module, [d_in, d_in] doubles on the host, free() releases it: from a file that
 * pmet_stats_look accepts. Checked as well: finite, symmetric. In the float build values are rounded
 * to float first, as published. */
enum pmet_status pmet_stats_load(const struct pmet_stats_source *from, const char *module_name, size_t d_in,
                                 double **out, struct pmet_stats_info *info, struct pmet_error *err);

/* The factor of C, for E72, of a file whose info has one: it serves this build, whose C is that of
 * pmet_stats_load to the bit. *out, untouched where there is none: [d_in, d_in] doubles, free()
 * releases them. */
enum pmet_status pmet_stats_factor(const struct pmet_stats_source *from, const char *module_name, size_t d_in,
                                   double **out, struct pmet_error *err);

#endif
