/* SPDX-License-Identifier: MIT
 * What stands beside the vocabulary: tokenizer_config.json, special_tokens_map.json,
 * added_tokens.json and three keys of config.json. Each key has its effect, is known to have none, or
 * is refused.      SPEC §2.3 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tensors/json.h"
#include "tokenizer/model.h"

#define END_OF_TEXT "<|endoftext|>"
#define COUNT_OF(list) (sizeof(list) / sizeof *(list))

typedef enum pmet_status load_fn(const struct pmet_io *io, const char *path, size_t max_bytes, json_t **out,
                                 struct pmet_error *err);

static enum pmet_status load_if_there(const struct pmet_io *io, const char *dir, const char *name,
                                      load_fn *load, struct pmet_settings_file *file, struct pmet_error *err)
{
    PMET_TRY(pmet_path_join(dir, name, &file->path, err));
    if (access(file->path, F_OK) != 0)
        return PMET_OK;
    PMET_TRY(load(io, file->path, PMET_MAX_TOKENIZER_FILE, &file->root, err));
    if (!json_is_object(file->root))
        return pmet_fail(err, PMET_FORMAT, "%s: found %s; expected an object", file->path,
                         pmet_json_kind(file->root));
    return PMET_OK;
}

/* Class of transformers by the name in tokenizer_config.json or config.json, with or without
 * "Fast"; else by the model. */
static enum pmet_status choose_class(struct pmet_settings *s, struct pmet_error *err)
{
    static const struct {
        const char *name;
        enum pmet_tokenizer_class class;
    } known[] = {{"GPT2Tokenizer", PMET_CLASS_GPT2},
                 {"CodeGenTokenizer", PMET_CLASS_GPT2},
                 {"GPTNeoXTokenizer", PMET_CLASS_NEOX},
                 {"PreTrainedTokenizer", PMET_CLASS_ANY},
                 {"TokenizersBackend", PMET_CLASS_ANY}};
    const struct pmet_settings_file *const file[] = {&s->config, &s->model};
    for (size_t f = 0; f < 2; f++) {
        const json_t *v = json_object_get(file[f]->root, "tokenizer_class");
        const char *name = json_string_value(v);
        if (!v || json_is_null(v))
            continue;
        for (size_t i = 0; name && i < COUNT_OF(known); i++) {
            const size_t n = strlen(known[i].name);
            if (strncmp(name, known[i].name, n) == 0 && (!name[n] || strcmp(name + n, "Fast") == 0)) {
                s->class = known[i].class;
                return PMET_OK;
            }
        }
        return pmet_fail(err, PMET_UNSUPPORTED,
                         "%s: tokenizer_class: found %s%s%s; expected GPT2Tokenizer, GPTNeoXTokenizer or "
                         "PreTrainedTokenizerFast",
                         file[f]->path, name ? "\"" : "", name ? name : pmet_json_kind(v), name ? "\"" : "");
    }
    const char *type = json_string_value(json_object_get(s->model.root, "model_type"));
    if (s->config.root || s->model.root)
        s->class = type && strcmp(type, "gpt_neox") == 0 ? PMET_CLASS_NEOX : PMET_CLASS_GPT2;
    return PMET_OK;
}

enum pmet_status pmet_settings_load(const struct pmet_io *io, const char *dir, struct pmet_settings *s,
                                    struct pmet_error *err)
{
    /* where no length is set, transformers writes 10^30 for model_max_length */
    PMET_TRY(load_if_there(io, dir, "tokenizer_config.json", pmet_json_load_real, &s->config, err));
    PMET_TRY(load_if_there(io, dir, "special_tokens_map.json", pmet_json_load, &s->map, err));
    PMET_TRY(load_if_there(io, dir, "added_tokens.json", pmet_json_load, &s->added, err));
    PMET_TRY(load_if_there(io, dir, "config.json", pmet_json_load, &s->model, err));
    return choose_class(s, err);
}

void pmet_settings_free(struct pmet_settings *s)
{
    struct pmet_settings_file *const file[] = {&s->config, &s->map, &s->added, &s->model};
    for (size_t f = 0; f < COUNT_OF(file); f++) {
        free(file[f]->path);
        json_decref(file[f]->root);
    }
}

static bool in_list(const char *key, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(key, list[i]) == 0)
            return true;
    return false;
}

/* true, false, or -1 where the key is absent or null. */
static enum pmet_status read_switch(const struct pmet_settings_file *file, const char *key, int *out,
                                    struct pmet_error *err)
{
    const json_t *v = json_object_get(file->root, key);
    *out = -1;
    if (!v || json_is_null(v))
        return PMET_OK;
    if (!json_is_boolean(v))
        return pmet_fail(err, PMET_INPUT, "%s: %s: found %s; expected true or false", file->path, key,
                         pmet_json_kind(v));
    *out = json_is_true(v);
    return PMET_OK;
}

static enum pmet_status prefix_space(struct pmet_tokenizer *tk, const struct pmet_settings *s,
                                     bool whole_file, struct pmet_error *err)
{
    int given;
    PMET_TRY(read_switch(&s->config, "add_prefix_space", &given, err));
    if (s->class == PMET_CLASS_GPT2 || s->class == PMET_CLASS_NEOX || !whole_file)
        tk->add_prefix_space = given == 1;
    else if (given >= 0 && tk->add_prefix_space != (given == 1))
        return pmet_fail(err, PMET_UNSUPPORTED,
                         "%s: add_prefix_space: found %s, and %s in tokenizer.json; expected the same, since "
                         "versions of transformers disagree which counts",
                         s->config.path, given ? "true" : "false", given ? "false" : "true");
    return PMET_OK;
}

/* What would put tokens around every text, where any version of transformers does so. */
static enum pmet_status added_around(const struct pmet_settings *s, bool whole_file, struct pmet_error *err)
{
    static const char *const key[] = {"add_bos_token", "add_eos_token"};
    for (size_t i = 0; i < 2; i++) {
        int given;
        PMET_TRY(read_switch(&s->config, key[i], &given, err));
        if (given == 1 && !(whole_file && s->class == PMET_CLASS_GPT2))
            return pmet_fail(err, PMET_UNSUPPORTED,
                             "%s: %s: found true; expected false: no row of the method begins or ends with "
                             "an added token",
                             s->config.path, key[i]);
    }
    return PMET_OK;
}

/* A special token: a string, or an object with content and flags. Where it is an added token
 * already, a string says nothing new. */
static enum pmet_status special_token(struct pmet_vocab_builder *b, const char *where, const json_t *v,
                                      struct pmet_error *err)
{
    struct pmet_added flags = {0};
    if (!v || json_is_null(v) || (json_is_string(v) && !*json_string_value(v)))
        return PMET_OK;
    if (json_is_string(v))
        return pmet_build_added(b, json_string_value(v), -1, NULL, true, err);
    if (!json_is_object(v))
        return pmet_fail(err, PMET_INPUT, "%s: %s: found %s; expected a token", b->path, where,
                         pmet_json_kind(v));
    const char *content;
    bool special;
    PMET_TRY(pmet_read_added_flags(b, v, where, &content, &flags, &special, err));
    return pmet_build_added(b, content, -1, &flags, true, err);
}

static enum pmet_status special_tokens(struct pmet_vocab_builder *b, const char *where, const json_t *list,
                                       struct pmet_error *err)
{
    json_t *object = (json_t *)(uintptr_t)list;
    char at[96];
    if (json_is_object(list)) {
        for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it))
            PMET_TRY(special_token(b, where, json_object_iter_value(it), err));
        return PMET_OK;
    }
    if (list && !json_is_null(list) && !json_is_array(list))
        return pmet_fail(err, PMET_INPUT, "%s: %s: found %s; expected an array of tokens", b->path, where,
                         pmet_json_kind(list));
    for (size_t i = 0; i < json_array_size(list); i++) {
        snprintf(at, sizeof at, "%.60s[%zu]", where, i);
        PMET_TRY(special_token(b, at, json_array_get(list, i), err));
    }
    return PMET_OK;
}

static const char *const token_lists[] = {"additional_special_tokens", "extra_special_tokens",
                                          "model_specific_special_tokens"};

/* Whether the key names a token of its own, as "pad_token" does. */
static bool is_token(const char *key, const json_t *v)
{
    const size_t n = strlen(key);
    return n > 6 && strcmp(key + n - 6, "_token") == 0 && !json_is_boolean(v);
}

/* All special tokens, in the order in which the library gives new ones their ids. A key of
 * special_tokens_map.json comes before the same one of tokenizer_config.json. */
static enum pmet_status all_special_tokens(struct pmet_vocab_builder *b, const struct pmet_settings *s,
                                           struct pmet_error *err)
{
    static const char *const keys[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                       "pad_token", "cls_token", "mask_token"};
    const struct pmet_settings_file *const file[] = {&s->map, &s->config};
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        const struct pmet_settings_file *f = file[json_object_get(s->map.root, keys[i]) ? 0 : 1];
        b->path = f->path;
        PMET_TRY(special_token(b, keys[i], json_object_get(f->root, keys[i]), err));
    }
    for (size_t f = 0; f < 2; f++) {
        b->path = file[f]->path;
        for (size_t i = 0; i < COUNT_OF(token_lists); i++)
            PMET_TRY(special_tokens(b, token_lists[i], json_object_get(file[f]->root, token_lists[i]), err));
        for (void *it = json_object_iter(file[f]->root); it; it = json_object_iter_next(file[f]->root, it)) {
            const char *key = json_object_iter_key(it);
            if (is_token(key, json_object_iter_value(it)) && !in_list(key, keys, COUNT_OF(keys)))
                PMET_TRY(special_token(b, key, json_object_iter_value(it), err));
        }
    }
    return PMET_OK;
}

/* Keys that name no token are in the list, off, or refused. */
static enum pmet_status known_keys(const struct pmet_settings_file *file, const char *const *list, size_t n,
                                   struct pmet_error *err)
{
    for (void *it = json_object_iter(file->root); it; it = json_object_iter_next(file->root, it)) {
        const char *key = json_object_iter_key(it);
        const json_t *v = json_object_iter_value(it);
        if (!json_is_null(v) && !json_is_false(v) && !is_token(key, v) && !in_list(key, list, n) &&
            !in_list(key, token_lists, COUNT_OF(token_lists)))
            return pmet_fail(err, PMET_UNSUPPORTED,
                             "%s: %s: an unknown key, which might change the ids; remove it if it does not",
                             file->path, key);
    }
    return PMET_OK;
}

/* Keys of tokenizer_config.json that are read by name, then those that change no id and no text. */
static const char *const config_keys[] = {
    "tokenizer_class", "add_prefix_space", "add_bos_token", "add_eos_token", "split_special_tokens",
    "clean_up_tokenization_spaces", "added_tokens_decoder",
    /* lengths, padding, truncation: rows are packed, and texts are cut where SPEC says so */
    "model_max_length", "max_len", "max_length", "padding_side", "truncation_side", "padding", "truncation",
    "truncation_strategy", "stride", "pad_to_multiple_of", "pad_token_type_id", "model_input_names",
    "return_token_type_ids",
    /* numbers of what is named elsewhere */
    "bos_token_id", "eos_token_id", "unk_token_id", "pad_token_id", "vocab_size",
    /* for offsets, or for the slow classes: the fast ones decode with "replace" whatever it says */
    "trim_offsets", "errors", "do_lower_case", "legacy",
    /* names of files, how the folder was made, templates of chats */
    "name_or_path", "special_tokens_map_file", "tokenizer_file", "vocab_file", "merges_file",
    "added_tokens_file", "init_inputs", "use_fast", "from_slow", "backend", "is_local", "local_files_only",
    "processor_class", "chat_template", "response_template", "chat_control_tokens", "revision", "cache_dir",
    "force_download", "trust_remote_code", "tokenizer_version", "transformers_version", "verbose",
    "_commit_hash", "device_map", "torch_dtype"};

struct numbered {
    json_int_t id;
    const char *content;
    const json_t *flags; /* NULL in added_tokens.json */
};

static int by_id(const void *a, const void *b)
{
    const struct numbered *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id ? 1 : strcmp(x->content, y->content);
}

/* The id written in a key of added_tokens_decoder, or -1. */
static json_int_t id_of_key(const char *key)
{
    json_int_t id = 0;
    for (const char *p = key; *p; p++) {
        if (*p < '0' || *p > '9' || id > PMET_MAX_TOKENS)
            return -1;
        id = 10 * id + (*p - '0');
    }
    return *key ? id : -1;
}

/* Tokens of an object by ascending id, as they get their ids: {"content": id} in added_tokens.json,
 * {"id": {"content": ...}} in added_tokens_decoder. */
static enum pmet_status numbered_tokens(struct pmet_vocab_builder *b, const char *where, json_t *object,
                                        bool id_first, struct pmet_error *err)
{
    struct numbered *list = NULL;
    size_t n = 0;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&list, json_object_size(object) + 1, sizeof *list, "added tokens", err));
    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
        const char *key = json_object_iter_key(it);
        const json_t *v = json_object_iter_value(it);
        const json_t *content = json_object_get(v, "content");
        if (id_first && !json_is_string(content))
            PMET_GO(pmet_fail(err, PMET_FORMAT, "%s: %s%s.content: found %s; expected a string", b->path,
                              where, key, pmet_json_kind(content)));
        list[n].id = id_first ? id_of_key(key) : json_is_integer(v) ? json_integer_value(v) : -1;
        if (list[n].id < 0 || list[n].id >= PMET_MAX_TOKENS)
            PMET_GO(pmet_fail(err, PMET_FORMAT, "%s: %stoken \"%s\": found %s; expected an id from 0 to %d",
                              b->path, where, id_first ? json_string_value(content) : key,
                              id_first             ? key
                              : json_is_integer(v) ? "an integer out of range"
                                                   : pmet_json_kind(v),
                              PMET_MAX_TOKENS - 1));
        list[n].content = id_first ? json_string_value(content) : key;
        list[n++].flags = id_first ? v : NULL;
    }
    qsort(list, n, sizeof *list, by_id);
    for (size_t i = 0; i < n; i++) {
        struct pmet_added flags = {0};
        bool special = false;
        const char *content = list[i].content;
        char at[64];
        snprintf(at, sizeof at, "%s%lld", where, (long long)list[i].id);
        if (list[i].flags)
            PMET_GO(pmet_read_added_flags(b, list[i].flags, at, &content, &flags, &special, err));
        PMET_GO(pmet_build_added(b, content, list[i].id, list[i].flags ? &flags : NULL, special, err));
    }
done:
    free(list);
    return status;
}

enum pmet_status pmet_settings_apply(struct pmet_vocab_builder *b, const struct pmet_settings *s,
                                     bool whole_file, struct pmet_error *err)
{
    int clean_up, split;
    json_t *decoder = json_object_get(s->config.root, "added_tokens_decoder");
    const json_t *n_vocab = json_object_get(s->model.root, "vocab_size");
    PMET_TRY(prefix_space(b->tk, s, whole_file, err));
    PMET_TRY(added_around(s, whole_file, err));
    PMET_TRY(read_switch(&s->config, "split_special_tokens", &split, err));
    if (split == 1)
        return pmet_fail(err, PMET_UNSUPPORTED, "%s: split_special_tokens: found true; expected false",
                         s->config.path);
    PMET_TRY(read_switch(&s->config, "clean_up_tokenization_spaces", &clean_up, err));
    b->tk->clean_up = clean_up != 0;
    if (!whole_file && s->class == PMET_CLASS_NEOX)
        b->tk->nfc = true;
    if (json_is_integer(n_vocab) && json_integer_value(n_vocab) >= 0 &&
        json_integer_value(n_vocab) <= PMET_MAX_TOKENS)
        b->tk->n_row = (size_t)json_integer_value(n_vocab);
    b->path = s->added.path;
    PMET_TRY(numbered_tokens(b, "", s->added.root, false, err));
    b->path = s->config.path;
    if (decoder && !json_is_null(decoder) && !json_is_object(decoder))
        return pmet_fail(err, PMET_FORMAT, "%s: added_tokens_decoder: found %s; expected an object", b->path,
                         pmet_json_kind(decoder));
    PMET_TRY(
        numbered_tokens(b, "added_tokens_decoder.", json_is_object(decoder) ? decoder : NULL, true, err));
    PMET_TRY(known_keys(&s->config, config_keys, COUNT_OF(config_keys), err));
    PMET_TRY(known_keys(&s->map, NULL, 0, err));
    PMET_TRY(all_special_tokens(b, s, err));
    if (json_object_get(b->vocab, END_OF_TEXT) &&
        (!whole_file || s->class == PMET_CLASS_GPT2 || s->class == PMET_CLASS_NEOX))
        PMET_TRY(pmet_build_added(b, END_OF_TEXT, -1, NULL, true, err));
    return PMET_OK;
}
