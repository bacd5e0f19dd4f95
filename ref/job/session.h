/* SPDX-License-Identifier: MIT
 * An open model, as the library's own files see it. */
#ifndef PMET_REF_JOB_SESSION_H
#define PMET_REF_JOB_SESSION_H

#include "pmet.h"
#include "ref/facts/hparams.h"
#include "ref/model/model.h"
#include "ref/store/store.h"
#include "ref/model/parts.h"
#include "tokenizer/tokenizer.h"

struct pmet_session {
    const struct pmet_io *io;
    struct pmet_ops *op;
    size_t n_threads; /* as asked for */
    struct pmet_checkpoint *ck;
    struct pmet_model *model;
    struct pmet_tokenizer *tk;
    char fingerprint[65];
    struct pmet_parts parts; /* of the fingerprint */
};

/* pmet_session_open with a table of system calls, which must outlive the session. */
enum pmet_status pmet_session_open_io(const struct pmet_io *io, const char *dir, enum pmet_device device,
                                      size_t n_threads, struct pmet_session **out, struct pmet_error *err);

/* The file's hyper-parameters, or the built-in ones if path is NULL. A note names the keys that are
 * passed over. */
enum pmet_status pmet_session_hparams(const struct pmet_session *s, const struct pmet_hparam_set *set,
                                      const char *path, const struct pmet_listener *listener,
                                      struct pmet_hparams *out, struct pmet_error *err);

/* From now on the session's operators ask the listener, which must outlive that, whether to stop;
 * NULL: nobody. */
void pmet_session_listen(const struct pmet_session *s, const struct pmet_listener *listener);

/* Refuses an output that is, holds or lies inside something else, under whatever path, or holds what
 * links in that folder point to; `what` names it ("the model"). Either may be NULL, or not exist
 * yet. */
enum pmet_status pmet_check_apart(const char *out, const char *read, const char *what,
                                  struct pmet_error *err);
/* Refuses an output (or NULL) for which there is no folder, or none that may be written to: before
 * the work. */
enum pmet_status pmet_check_writable(const char *out, struct pmet_error *err);
/* Refuses a folder whose name another cannot take: a mount point, or the current folder. */
enum pmet_status pmet_check_movable(const char *out, struct pmet_error *err);
/* Refuses a folder to write for which there is no place; one that exists, unless force; and in any
 * case one with anything in it that the program has not made. */
enum pmet_status pmet_check_new(const struct pmet_io *io, const char *out, bool force,
                                struct pmet_error *err);
/* The pmet_is_ours of folders: empty, an edited folder in which all is what its record lists, or
 * statistics alone. Refuses naming the first other entry. */
enum pmet_status pmet_folder_is_ours(const struct pmet_io *io, const char *path, struct pmet_error *err);
/* The same for a file to write (or NULL): one that exists needs force, unless `same` (or NULL) knows
 * it as an earlier output of its kind. A folder, a pipe, a device and a standard file are refused in
 * any case. */
enum pmet_status pmet_check_new_file(const struct pmet_io *io, const char *out, bool force,
                                     bool (*same)(const struct pmet_io *io, const char *path),
                                     struct pmet_error *err);
bool pmet_is_trace(const struct pmet_io *io, const char *path); /* written by --trace or pmet trace */
/* Removes what killed runs left beside a file to write (or NULL); a note says so. */
enum pmet_status pmet_clear_left(const struct pmet_io *io, const char *out,
                                 const struct pmet_listener *listener, struct pmet_error *err);
/* Opens a work folder; a note says what killed runs had left in it. */
enum pmet_status pmet_open_work(const struct pmet_io *io, const char *dir,
                                const struct pmet_listener *listener, struct pmet_store **out,
                                struct pmet_error *err);
/* Begins the folder `out`; a note says what killed runs had left beside it. */
enum pmet_status pmet_begin_output(const struct pmet_io *io, const char *out, bool force,
                                   const struct pmet_listener *listener, struct pmet_outdir **dir,
                                   struct pmet_error *err);

#endif
