/* SPDX-License-Identifier: MIT
 * Kinds of JSON, told by the keys of the first object: files are far larger than what is read of
 * them, so that no parser takes them. */
#include "tensors/kind_private.h"

#include <ctype.h>
#include <string.h>

enum { MOST_KEYS = 48, KEY_SIZE = 40 };

struct keys {
    char key[MOST_KEYS][KEY_SIZE];
    char value[MOST_KEYS]; /* the first character of each */
    size_t n;
};

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && isspace((unsigned char)*at))
        at++;
    return at;
}

/* Behind the string that begins at `at`, or `end`; its first bytes, undecoded, in text[0..size). */
static const char *read_string(const char *at, const char *end, char *text, size_t size)
{
    size_t n = 0;
    for (at++; at < end && *at != '"'; at++) {
        if (n + 1 < size)
            text[n++] = *at;
        if (*at == '\\' && at + 1 < end)
            at++;
    }
    text[n] = '\0';
    return at < end ? at + 1 : end;
}

/* Behind the value that begins at `at`: the comma or bracket that ends it. */
static const char *skip_value(const char *at, const char *end)
{
    char unused[2];
    size_t depth = 0;
    while (at < end && (depth > 0 || (*at != ',' && *at != '}' && *at != ']'))) {
        if (*at == '"') {
            at = read_string(at, end, unused, sizeof unused);
            continue;
        }
        depth += *at == '{' || *at == '[';
        depth -= *at == '}' || *at == ']';
        at++;
    }
    return at;
}

/* The keys of the object that begins at `at`, as many as are there. */
static void read_keys(const char *at, const char *end, struct keys *k)
{
    k->n = 0;
    at = skip_blanks(at + 1, end);
    while (at < end && *at == '"' && k->n < MOST_KEYS) {
        at = skip_blanks(read_string(at, end, k->key[k->n], KEY_SIZE), end);
        if (at == end || *at != ':')
            return;
        at = skip_blanks(at + 1, end);
        if (at == end)
            return;
        k->value[k->n++] = *at;
        at = skip_value(at, end);
        if (at < end && *at == ',')
            at = skip_blanks(at + 1, end);
    }
}

static bool has(const struct keys *k, const char *name)
{
    for (size_t i = 0; i < k->n; i++)
        if (strcmp(k->key[i], name) == 0)
            return true;
    return false;
}

static bool all_numbers(const struct keys *k)
{
    for (size_t i = 0; i < k->n; i++)
        if (!isdigit((unsigned char)k->value[i]))
            return false;
    return k->n > 1;
}

/* Kinds with up to three keys that all must be there; the first that fits. */
static const struct {
    const char *key[3];
    struct pmet_found found;
} by_keys[] = {
    {{"requested_rewrite"}, {PMET_KIND_FACTS, "facts: CounterFact records", NULL}},
    {{"case_id", "stop", "passes"},
     {PMET_KIND_FACTS, "the facts of an edit, as pmet edit reports them", NULL}},
    {{"subject", "src"}, {PMET_KIND_FACTS, "facts: zsRE records", NULL}},
    {{"prompt", "subject"}, {PMET_KIND_FACTS, "facts: plain records", NULL}},
    {{"prompt", "target_new"}, {PMET_KIND_FACTS, "facts: plain records", NULL}},
    {{"relation_id", "samples"}, {PMET_KIND_SNIPPETS, "attribute snippets", NULL}},
    {{"alg_name"}, {PMET_KIND_HPARAMS, "hyper-parameters of EasyEdit", NULL}},
    {{"layers", "v_lr"}, {PMET_KIND_HPARAMS, "hyper-parameters", NULL}},
    {{"layers", "rewrite_module_tmp"}, {PMET_KIND_HPARAMS, "hyper-parameters", NULL}},
    {{"layers", "rewrite_module_tmps"}, {PMET_KIND_HPARAMS, "hyper-parameters", NULL}},
    {{"fingerprint", "base", "ancestors"}, {PMET_KIND_RESULT, "the record of an edit", NULL}},
    {{"pmet", "device", "facts"}, {PMET_KIND_RESULT, "results of pmet eval", NULL}},
    {{"weight_map"}, {PMET_KIND_PART, "the index of a checkpoint's shards", NULL}},
    {{"peft_type"},
     {PMET_KIND_FOREIGN, "the settings of an adapter (PEFT)", "merge it into its model: merge_and_unload()"}},
    {{"model_type"}, {PMET_KIND_PART, "a model's config.json", NULL}},
    {{"architectures"}, {PMET_KIND_PART, "a model's config.json", NULL}},
    {{"added_tokens", "pre_tokenizer"}, {PMET_KIND_PART, "a tokenizer", NULL}},
    {{"tokenizer_class"}, {PMET_KIND_PART, "the settings of a tokenizer", NULL}},
    {{"bos_token_id", "transformers_version"}, {PMET_KIND_PART, "a model's generation_config.json", NULL}},
    {{"bos_token", "eos_token"}, {PMET_KIND_PART, "the special tokens of a tokenizer", NULL}},
    {{"text"}, {PMET_KIND_TEXT, "documents, in JSON", NULL}},
};

static struct pmet_found by_object(const char *at, const char *end)
{
    struct keys k;
    read_keys(at, end, &k);
    for (size_t i = 0; i < sizeof by_keys / sizeof *by_keys; i++) {
        size_t n = 0;
        while (n < 3 && by_keys[i].key[n] && has(&k, by_keys[i].key[n]))
            n++;
        if (n == 3 || !by_keys[i].key[n])
            return by_keys[i].found;
    }
    if (all_numbers(&k))
        return (struct pmet_found){PMET_KIND_PART, "a vocabulary", NULL};
    return (struct pmet_found){PMET_KIND_UNKNOWN, "JSON with keys of no known kind", NULL};
}

struct pmet_found pmet_kind_of_json(const char *text, size_t n)
{
    const char *end = text + n, *at = skip_blanks(text, end);
    char first[256];
    const bool list = *at == '[';
    if (list)
        at = skip_blanks(at + 1, end);
    if (at < end && *at == '{')
        return by_object(at, end);
    const bool nested = list && at < end && *at == '[';
    if (nested)
        at = skip_blanks(at + 1, end);
    if (!list || at == end || *at != '"')
        return (struct pmet_found){PMET_KIND_UNKNOWN, "JSON of no known kind", NULL};
    read_string(at, end, first, sizeof first);
    if (strstr(first, "{}"))
        return (struct pmet_found){PMET_KIND_CONTEXTS, "context templates", NULL};
    return nested ? (struct pmet_found){PMET_KIND_UNKNOWN, "JSON of no known kind", NULL}
                  : (struct pmet_found){PMET_KIND_STRINGS, "a JSON array of strings", NULL};
}
