/* SPDX-License-Identifier: MIT
 * What most commands open first: a checkpoint, its model and tokenizer, and what it was edited from. */
#ifndef PMET_CLI_SESSION_H
#define PMET_CLI_SESSION_H

#include "cli/command.h"
#include "ref/edit/hparams.h"
#include "ref/model/model.h"
#include "tokenizer/tokenizer.h"

struct session {
    struct pmet_ops *op;
    struct pmet_checkpoint *ck;
    struct pmet_model *model;
    struct pmet_tokenizer *tk;
    char fingerprint[65];
};

/* --device cuda is refused: this build has none. */
enum pmet_status session_open(const struct cli *c, const char *dir, struct session *s,
                              struct pmet_error *err);
void session_close(struct session *s);

/* The file's hyper-parameters, or the built-in ones if path is NULL. Where there are none for the model, a
 * file to start from is printed on standard error, after the error (so the caller passes the status on at
 * once). */
enum pmet_status session_hparams(const struct session *s, const struct cli *c, const char *path,
                                 struct pmet_hparams *out, char **tmpl, struct pmet_error *err);

#define RECORD_FILE "pmet_edit.json"

/* The record of an edited folder: what it is, and what it was edited from, nearest first. */
struct record {
    json_t *json; /* NULL if the folder has none */
    char fingerprint[65];
    const char **ancestor; /* [n_ancestor] fingerprints, in json */
    size_t n_ancestor;
};
enum pmet_status record_read(const struct pmet_io *io, const char *dir, struct record *out,
                             struct pmet_error *err);
void record_free(struct record *r);
/* Writes a JSON value and a newline, atomically. */
enum pmet_status json_save(const struct pmet_io *io, const char *dir, const char *file, const json_t *value,
                           struct pmet_error *err);

/* Refuses an output folder that is, holds or lies inside something that is read; `what` names it ("--model").
 * A path that does not exist passes. */
enum pmet_status check_apart(const char *out, const char *read, const char *what, struct pmet_error *err);
/* Refuses one that exists, unless force; no path beside it is made. */
enum pmet_status check_new(const char *out, bool force, struct pmet_error *err);

#endif
