/* SPDX-License-Identifier: MIT */
#include "ref/facts/easyedit.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "tensors/json.h"

/* Methods whose files are recognised, by EasyEdit's name for them and, where a file has no
 * alg_name, by a key that those before it in the list do not have. */
static const struct {
    const char *title, *key;
} methods[] = {{"PMET", "rewrite_module_tmps"},
               {"ROME", "context_template_length_params"},
               {"FT", "num_steps"},
               {"MEND", "inner_params"},
               {"MEMIT", "layer_selection"}};

enum rule {
    PASSED, /* says where or how fast, not what is computed */
    METHOD, /* must be the method of the set */
    BATCH,  /* facts edited together: kept, for the caller, who knows how many there are */
    FALSE   /* true would change what is computed */
};
static const struct {
    const char *name;
    enum rule rule;
} keys[] = {
    {"alg_name", METHOD},    {"model_name", PASSED}, {"tokenizer_name", PASSED},  {"stats_dir", PASSED},
    {"results_dir", PASSED}, {"device", PASSED},     {"model_parallel", PASSED},  {"max_length", PASSED},
    {"batch_size", BATCH},   {"fp16", FALSE},        {"use_chat_template", FALSE}};
enum { N_KEY = sizeof keys / sizeof *keys };

static bool in_set(const struct pmet_hparam_set *set, const char *name)
{
    for (size_t i = 0; i < set->n_key; i++)
        if (strcmp(set->key[i].name, name) == 0)
            return true;
    return false;
}

bool pmet_easyedit_key(const struct pmet_hparam_set *set, const char *name)
{
    for (size_t i = 0; i < N_KEY; i++)
        if (strcmp(keys[i].name, name) == 0)
            return !in_set(set, name);
    return false;
}

static enum pmet_status check_method(const json_t *root, const char *path, const struct pmet_hparam_set *set,
                                     struct pmet_error *err)
{
    const json_t *name = json_object_get(root, "alg_name");
    if (json_is_string(name))
        return strcasecmp(json_string_value(name), set->title) == 0
                   ? PMET_OK
                   : pmet_fail(err, PMET_INPUT,
                               "%s: alg_name: found \"%s\"; expected \"%s\" (--method names the method)",
                               path, json_string_value(name), set->title);
    if (name)
        return pmet_fail(err, PMET_INPUT, "%s: alg_name: found %s; expected \"%s\"", path,
                         pmet_json_kind(name), set->title);
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (!json_object_get(root, methods[i].key))
            continue;
        return strcmp(methods[i].title, set->title) == 0 || in_set(set, methods[i].key)
                   ? PMET_OK
                   : pmet_fail(err, PMET_INPUT,
                               "%s: found a file of %s, which has %s; expected one of %s (--method names the "
                               "method)",
                               path, methods[i].title, methods[i].key, set->title);
    }
    return PMET_OK;
}

static enum pmet_status take_batch(const json_t *v, const char *path, struct pmet_hparams *out,
                                   struct pmet_error *err)
{
    if (!json_is_integer(v) || json_integer_value(v) < 1)
        return pmet_fail(err, PMET_INPUT, "%s: batch_size: found %s; expected an integer from 1 on", path,
                         json_is_integer(v) ? "one below 1" : pmet_json_kind(v));
    out->batch_size = (size_t)json_integer_value(v);
    return PMET_OK;
}

enum pmet_status pmet_easyedit_take(const json_t *root, const char *path, struct pmet_hparams *out,
                                    struct pmet_error *err)
{
    size_t n = 0;
    PMET_TRY(check_method(root, path, out->set, err));
    for (size_t i = 0; i < N_KEY; i++) {
        const json_t *v = json_object_get(root, keys[i].name);
        if (!v || in_set(out->set, keys[i].name))
            continue;
        if (keys[i].rule == BATCH)
            PMET_TRY(take_batch(v, path, out, err));
        if (keys[i].rule == FALSE && !json_is_false(v))
            return pmet_fail(err, PMET_UNSUPPORTED, "%s: %s: found %s; expected false", path, keys[i].name,
                             json_is_true(v) ? "true" : pmet_json_kind(v));
        n += (size_t)snprintf(out->passed_over + n, sizeof out->passed_over - n, "%s%s", n ? ", " : "",
                              keys[i].name);
    }
    return PMET_OK;
}
