/* SPDX-License-Identifier: MIT
 * Every key of config.json is read, known not to change a number, refused unless its value is
 * harmless, or unknown to the source library, too.      SPEC §3.7 */
#ifndef PMET_REF_MODEL_CONFIG_KEYS_H
#define PMET_REF_MODEL_CONFIG_KEYS_H

#include <jansson.h>
#include "ref/model/config.h"

enum pmet_key_use { PMET_KEY_UNKNOWN, PMET_KEY_READ, PMET_KEY_PASSED, PMET_KEY_REFUSED };

/* Values beside null with which a refused key changes nothing. */
enum pmet_harmless {
    PMET_HARMLESS_NULL,  /* none */
    PMET_HARMLESS_EMPTY, /* an empty object or array */
    PMET_HARMLESS_TRUE,  /* true */
    PMET_HARMLESS_FULL,  /* an array of "full_attention" alone */
    PMET_HARMLESS_HEAD   /* the width of a head */
};

struct pmet_key_rule {
    const char *key, *family; /* family NULL: all */
    enum pmet_key_use use;    /* PASSED or REFUSED */
    enum pmet_harmless harmless;
};
extern const struct pmet_key_rule pmet_key_rules[]; /* a NULL key ends it */

/* The keys that a family reads, each spelling; into name[PMET_MAX_READ_KEY]. Returns how many. */
enum { PMET_MAX_READ_KEY = 32 };
size_t pmet_read_keys(const struct pmet_family *family, const char **name);
enum pmet_key_use pmet_key_use(const struct pmet_family *family, const char *key,
                               const struct pmet_key_rule **rule);

/* Goes through all keys of config.json once the sizes are known: refuses by name, notes keys that
 * nobody knows. */
enum pmet_status pmet_config_check_keys(json_t *json, const char *path, const struct pmet_config *c,
                                        struct pmet_notes *notes, struct pmet_error *err);

#endif
