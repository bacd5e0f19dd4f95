/* SPDX-License-Identifier: MIT
 * JSON files through jansson, with what jansson leaves open closed: duplicate keys and NUL in
 * strings are refused, depth is limited, a number meant as an integer must be written as one.
 * Messages carry file, line and column. */
#ifndef PMET_TENSORS_JSON_H
#define PMET_TENSORS_JSON_H

#include <jansson.h>
#include "tensors/io.h"

/* Parses n bytes as one JSON value; `path` and `line0` (lines before this text in its file) serve
 * messages only. The caller json_decref()s *out. */
enum pmet_status pmet_json_parse(const char *text, size_t n, const char *path, size_t line0, json_t **out,
                                 struct pmet_error *err);
/* The file as one JSON value, a byte order mark before it passed over; refused above max_bytes. */
enum pmet_status pmet_json_load(const struct pmet_io *io, const char *path, size_t max_bytes, json_t **out,
                                struct pmet_error *err);

/* The same with every number as a double, so that none is too large for an integer. */
enum pmet_status pmet_json_load_real(const struct pmet_io *io, const char *path, size_t max_bytes,
                                     json_t **out, struct pmet_error *err);

/* Writes a value (NULL: out of memory, when it was made), indented, and a newline, atomically. */
enum pmet_status pmet_json_save(const struct pmet_io *io, const char *path, const json_t *value,
                                unsigned indent, struct pmet_error *err);

/* Fields of an object: wrong type or absence is refused with "PATH: KEY: found X; expected Y". */
enum pmet_status pmet_json_size(const json_t *obj, const char *path, const char *key, size_t *out,
                                struct pmet_error *err);
enum pmet_status pmet_json_number(const json_t *obj, const char *path, const char *key, double *out,
                                  struct pmet_error *err);
enum pmet_status pmet_json_bool(const json_t *obj, const char *path, const char *key, bool *out,
                                struct pmet_error *err);
enum pmet_status pmet_json_string(const json_t *obj, const char *path, const char *key, const char **out,
                                  struct pmet_error *err);
/* Values to write: null where x is not finite; an array of n ids. */
json_t *pmet_json_real(double x);
json_t *pmet_json_ids(const int32_t *id, size_t n);
/* A name of the system's, which need not be UTF-8: then as pmet_escape shows it. */
json_t *pmet_json_name(const char *name);
/* What a JSON value is, for messages: "a string", "an array", "nothing" for NULL. */
const char *pmet_json_kind(const json_t *value);

#endif
