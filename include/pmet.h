/* SPDX-License-Identifier: MIT
 * pmet: precise model editing in a transformer (PMET, arXiv 2308.08742), in C. The public header,
 * in groups:
 *
 *     errors       enum pmet_status, struct pmet_error
 *     session      pmet_session_open, pmet_session_close          a model folder in use
 *     text         pmet_encode, pmet_decode, pmet_logits, pmet_continue
 *     events       struct pmet_listener                           what long calls report
 *     statistics   pmet_make_stats                                second moments of a model's keys
 *     edit         pmet_edit_folder                               facts into a copy of the folder
 *     evaluate     pmet_evaluate                                  how well a model knows them
 *
 * tests/example.c is a whole program. Link with `pkg-config --libs --static pmet`. */
#ifndef PMET_H
#define PMET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PMET_VERSION "0.2.0"

/* ======== errors ========
 * Every function that can fail returns a status and takes, last, a struct pmet_error of the
 * caller's, which must be zero before the call. On failure it holds one line: which file, which
 * field or fact, what was found, what was expected. The library never prints and never exits. */

enum pmet_status {
    PMET_OK = 0,
    PMET_IO,      /* the system refused a call: no such file, no space left */
    PMET_FORMAT,  /* a file breaks the rules of its format */
    PMET_INPUT,   /* well formed, but cannot be accepted: wrong shape, unknown key, facts that contradict */
    PMET_MEMORY,  /* an allocation failed */
    PMET_NUMERIC, /* NaN, infinity, a matrix that is not positive definite */
    PMET_UNSUPPORTED, /* understood, but outside what this build does */
    PMET_INTERRUPTED  /* the caller's listener asked to stop */
};

struct pmet_error {
    enum pmet_status status;
    char message[1024]; /* one line, no newline at its end; empty while status is PMET_OK */
};

/* ======== session ========
 * Open a model's folder once, use the session for any number of calls, close it. Weights are
 * mapped, never copied whole. One thread at a time may use a session; the work itself runs on
 * n_threads. A session sets OpenBLAS, if that is in the build, to one thread for the whole
 * process. */

/* Where a session computes. Auto: a GPU, where the library and a driver are there, the model fits,
 * and a short trial of every kind of operator agrees with the CPU (PMET_NUMERIC where it does not);
 * else the CPU. Plain: one simple loop for each equation, slow, to check the others. The last two
 * are faster and less precise: what enters an F16 or BF16 matrix is rounded to that type (HALF), or
 * both sides of a product with an F32 one to ten bits of fraction (TF32).      SPEC §12.3 */
enum pmet_device {
    PMET_DEVICE_AUTO,
    PMET_DEVICE_PLAIN,
    PMET_DEVICE_CPU,
    PMET_DEVICE_CUDA,
    PMET_DEVICE_CUDA_HALF,
    PMET_DEVICE_CUDA_TF32
};

struct pmet_session;

/* dir: config.json, *.safetensors or pytorch_model*.bin (one file, or shards and their index), the
 * tokenizer's files. device: CUDA is refused where there is none. n_threads 0: as many as the
 * machine has.      SPEC §2, §3, §9.2 */
enum pmet_status pmet_session_open(const char *dir, enum pmet_device device, size_t n_threads,
                                   struct pmet_session **out, struct pmet_error *err);
void pmet_session_close(struct pmet_session *s); /* accepts NULL */

struct pmet_shape {
    const char *family; /* "gptj" or "gpt_neox" */
    size_t n_layer, n_head, d_model, d_ff;
    size_t n_vocab; /* rows of the head: width of the logits */
    size_t n_ctx;   /* positions at most */
};
struct pmet_shape pmet_session_shape(const struct pmet_session *s);
/* 64 hex digits that stand for config, tokenizer and weights.      SPEC §9.6 */
const char *pmet_session_fingerprint(const struct pmet_session *s);

/* ======== text ========
 * Text to token ids and back, what a model says next, and text that it continues.
 * What a call allocates, free() releases.
 * Ids are those of the model's own tokenizer; nothing is added in front or behind. */

/* Ids of n_bytes of text, in *ids, which free() releases; *ids is NULL for no ids.      SPEC §2 */
enum pmet_status pmet_encode(const struct pmet_session *s, const char *text, size_t n_bytes, int32_t **ids,
                             size_t *n_ids, struct pmet_error *err);
/* Text of ids, NUL-terminated, in *text, which free() releases; the NUL is not counted. */
enum pmet_status pmet_decode(const struct pmet_session *s, const int32_t *ids, size_t n_ids, char **text,
                             size_t *n_bytes, struct pmet_error *err);
/* logits [n_ids, n_vocab]: row t says what follows ids[0..t]. 1 <= n_ids <= n_ctx.      SPEC §3 */
enum pmet_status pmet_logits(const struct pmet_session *s, const int32_t *ids, size_t n_ids, float *logits,
                             struct pmet_error *err);
/* Fills ids[n_prompt .. n_total-1], each drawn from the top_k likeliest tokens (1: the likeliest)
 * by the seed. There is no stop at an end-of-text token.      SPEC §4.2 */
enum pmet_status pmet_continue(const struct pmet_session *s, int32_t *ids, size_t n_prompt, size_t n_total,
                               size_t top_k, uint64_t seed, struct pmet_error *err);

/* ======== events ========
 * The calls of the groups below take long. They report what they do to a listener, on the thread
 * that made the call. A listener that returns PMET_INTERRUPTED stops the call with nothing written;
 * where a work folder is given, the same request goes on from there. */

enum pmet_phase {
    PMET_PHASE_STATS,    /* documents for second moments */
    PMET_PHASE_ROWS,     /* facts made into rows of tokens */
    PMET_PHASE_CONTEXTS, /* tokens of contexts that the model writes */
    PMET_PHASE_DELTA,    /* facts optimised */
    PMET_PHASE_SOLVE,    /* matrices edited */
    PMET_PHASE_EVALUATE, /* records evaluated */
    PMET_PHASE_TEXT,     /* bytes of text; total 0: not known, a pipe */
    PMET_PHASE_WRITE     /* files of statistics; edited matrices, then the folder that they are in */
};

/* What a long call reports while it runs. */
enum pmet_event_kind {
    PMET_EVENT_PROGRESS, /* `done` of `total` in `phase` */
    PMET_EVENT_POLL,     /* nothing new: raised within long operations, many times a second, for whoever
                            wants to stop them or to show that they go on */
    PMET_EVENT_NOTE,     /* a line worth showing: `text`, `warning` */
    PMET_EVENT_PASS,     /* one pass of the optimisation of fact `index` */
    PMET_EVENT_FACT,     /* the optimisation of fact `index` has ended */
    PMET_EVENT_LAYER,    /* edited matrix `index` has its new value */
    PMET_EVENT_DONE      /* the output stands under its name */
};
struct pmet_event {
    enum pmet_event_kind kind;
    enum pmet_phase phase;
    size_t done, total;
    bool warning;
    const char *text; /* one line, no newline; NULL but for notes */
    size_t index;
    const void *detail; /* the library's own (ref/event.h), or NULL */
};
/* Receives the events of a call, on the thread that made it. A status other than PMET_OK stops the
 * call with that status and nothing written; PMET_INTERRUPTED needs no message. */
struct pmet_listener {
    void *user;
    enum pmet_status (*on_event)(void *user, const struct pmet_event *event,
                                 struct pmet_error *err); /* or NULL */
};
/* Raises a note for everything that opening the folder passed over, left out or replaced: keys of
 * config.json, tensors that are no part of the model.      SPEC §3.7, §3.8 */
void pmet_session_notes(const struct pmet_session *s, const struct pmet_listener *listener);

/* ======== statistics ========
 * An edit needs the second moments of the model's keys over ordinary text: made once for each
 * model. Fill a request (zero but for texts, n_text, out and seed is sensible), call, and give
 * `out` to edits as `stats`. The published .npz files serve as well. */

/* Second moments of a text's keys, as an edit needs them, into a new folder.      SPEC §7 */
struct pmet_stats_request {
    const char *const *texts; /* [n_text] files of text, "-" for standard input; forms: SPEC §7.1 */
    size_t n_text;
    const char *out;     /* the folder to make */
    const char *work;    /* folder that keeps sums, so that the same request goes on after a kill; or NULL */
    const char *method;  /* whose hyper-parameters these are: as for an edit */
    const char *hparams; /* layers, modules, number of documents; NULL: built in, where there are some */
    size_t n_samples;    /* documents; 0: as the hyper-parameters say */
    size_t max_length;   /* tokens of a document; 0: what the model takes */
    uint32_t seed;       /* of the sample; 1 as published */
    bool force;          /* replace out if it exists and all in it was made by the library */
    bool factor;         /* keep the factor of each moment, too: small edits are then solved much faster */
};
enum pmet_status pmet_make_stats(const struct pmet_session *s, const struct pmet_stats_request *request,
                                 const struct pmet_listener *listener, struct pmet_error *err);

/* ======== edit ========
 * Fill a request (zero but for facts, stats and out is sensible) and call. The folder `out` appears
 * whole or not at all, was read back, and says in its pmet_edit.json what it is. The session's
 * model stays as it is; open `out` to use the edited one. */

/* Element types of tensors in files. */
enum pmet_dtype { PMET_F64, PMET_F32, PMET_F16, PMET_BF16, PMET_I64, PMET_I32, PMET_U8, PMET_BOOL };

enum pmet_conflicts { PMET_CONFLICTS_REFUSE, PMET_CONFLICTS_FIRST, PMET_CONFLICTS_LAST };

enum pmet_solver {
    PMET_SOLVER_AUTO, /* C's factor, if the statistics have it and facts are few; else Cholesky, if it fits; else CG */
    PMET_SOLVER_CHOLESKY,
    PMET_SOLVER_CG,
    PMET_SOLVER_FACTORED /* what a report may say: Woodbury with a factor of C */
};

/* What an edit by PMET leaves out or does otherwise, as in the ablations of its paper; zero: PMET. */
enum pmet_delta_choice {
    PMET_DELTA_BOTH,
    PMET_DELTA_MLP
}; /* vectors on attention and FFN; on the FFN alone */
enum pmet_modules_choice {
    PMET_MODULES_FILE,
    PMET_MODULES_MLP,
    PMET_MODULES_BOTH
}; /* matrices that are edited */
enum pmet_spread_choice { PMET_SPREAD_SQRT, PMET_SPREAD_EVEN, PMET_SPREAD_LAST }; /* of the residual */
struct pmet_ablation {
    enum pmet_delta_choice delta;
    enum pmet_modules_choice modules;
    enum pmet_spread_choice spread;
};

struct pmet_edit_request {
    const char *facts;   /* CounterFact, zsRE or plain records, JSON array or JSON lines      SPEC §4.1 */
    const char *stats;   /* folder of second moments of this model, or of its base            SPEC §7 */
    const char *out;     /* the folder to make: all of the model's files, edited              SPEC §8.4 */
    const char *method;  /* "pmet" (or NULL), "memit", "rome" */
    const char *hparams; /* the method's published JSON form; NULL: built in, where there are some  §9.3 */
    struct pmet_ablation ablation;
    const char *contexts; /* templates; NULL: written by the model, from the seed              SPEC §4.2 */
    const char *work;     /* folder that keeps what is finished, for the same request later; or NULL */
    size_t limit;         /* the first facts only; 0: all */
    enum pmet_conflicts conflicts;
    bool zsre_alt;     /* zsRE: target from "alt" rather than answers[0] */
    bool skip_invalid; /* leave bad records out, with a warning each, rather than fail */
    enum pmet_solver solver;
    double ridge;     /* added to the diagonal of the solve */
    bool strict;      /* refuse facts whose tokens do not line up */
    bool skip_failed; /* leave out facts whose optimisation meets NaN, rather than fail */
    bool link;        /* hard-link unedited shards */
    bool force;       /* replace out if it exists and all in it was made by the library */
    bool cast;        /* write the edited matrices as out_dtype, not in their file's type */
    enum pmet_dtype out_dtype;
    uint64_t seed;    /* of contexts */
    size_t max_bytes; /* memory to spend; 0: three quarters of what is free */
};

struct pmet_edit_summary {
    size_t n_fact, n_applied;
    size_t n_greedy_before, n_greedy_after; /* facts whose target is the model's answer to the plain prompt */
    double rounding_lost;                   /* |round(W') - W'| / |update|, the worst matrix */
    char fingerprint[65];                   /* of the written folder */
};

/* The whole method, from files to a folder: every fact optimised, the targets spread over the
 * layers, the edited folder written whole or not at all, read back, scored, and recorded in its
 * pmet_edit.json. The session's model stays as it is. summary may be NULL.      SPEC §5 to §9 */
enum pmet_status pmet_edit_folder(struct pmet_session *s, const struct pmet_edit_request *request,
                                  const struct pmet_listener *listener, struct pmet_edit_summary *summary,
                                  struct pmet_error *err);

/* ======== evaluate ========
 * Fill a request (zero but for facts and top_k is sensible) and call, with one session or with two
 * side by side. The metrics have the published names; a record's own results go to `out` as a line
 * of JSON. A call that was cut off goes on where it was when it is repeated. */

struct pmet_evaluate_request {
    const char *facts;    /* CounterFact, zsRE or plain records, JSON array or JSON lines      SPEC §11.1 */
    const char *out;      /* JSON lines to write: a header, then a record each; NULL: none     SPEC §11.6 */
    const char *snippets; /* texts about the new objects, which generated texts are compared with; or NULL */
    const char *idf;      /* folder of idf.npy and tfidf_vocab.json; NULL: from the snippets   SPEC §11.7 */
    const char *work;     /* folder that keeps finished records, for the same request later; or NULL */
    size_t limit;         /* the first records only; 0: all */
    size_t n_generate;    /* texts are written and evaluated for the first records */
    size_t top_k;         /* of their sampling; 5 as published */
    uint64_t seed;        /* of their sampling */
    bool skip_invalid;    /* leave bad records out, with a warning each, rather than fail */
    bool greedy;          /* also: does the model go on with the target when it decodes greedily? */
    bool force;           /* replace out if it exists */
};

/* A mean over the records that have it, with its standard deviation, as the published summary gives
 * them: in hundredths, rounded to two digits, but for essence_score. */
struct pmet_metric {
    char name[40]; /* "post_rewrite_success"; "pre_" for the model before the edit */
    size_t n;
    double mean, std; /* std NaN for the score */
};

enum { PMET_MAX_METRIC = 40 };
struct pmet_evaluation {
    size_t n_record;
    size_t n_metric;
    struct pmet_metric metric[PMET_MAX_METRIC];
};

/* Evaluates the session's model on records, and `before` (or NULL) beside it. Finished records are
 * kept in `work`, else in "OUT.partial", until out is written: a call that was cut off goes on
 * where it was when it is repeated, and gives the same bytes.      SPEC §11 */
enum pmet_status pmet_evaluate(struct pmet_session *s, struct pmet_session *before,
                               const struct pmet_evaluate_request *request,
                               const struct pmet_listener *listener, struct pmet_evaluation *result,
                               struct pmet_error *err);

#ifdef __cplusplus
}
#endif
#endif
