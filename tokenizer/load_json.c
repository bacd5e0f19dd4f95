/* SPDX-License-Identifier: MIT
 * tokenizer.json, in the forms that GPT-2, GPT-J and NeoX have; any other part is refused by
 * name.      SPEC §2.3 */
#include <stdio.h>
#include <string.h>
#include "tensors/json.h"
#include "tokenizer/model.h"

static enum pmet_status refuse(const struct pmet_vocab_builder *b, const char *field, const json_t *v,
                               const char *expected, struct pmet_error *err)
{
    if (json_is_string(v))
        return pmet_fail(err, PMET_UNSUPPORTED, "%s: %s: found \"%s\"; expected %s", b->path, field,
                         json_string_value(v), expected);
    return pmet_fail(err, PMET_UNSUPPORTED, "%s: %s: found %s; expected %s", b->path, field,
                     pmet_json_kind(v), expected);
}

static bool absent(const json_t *v)
{
    return !v || json_is_null(v);
}

static enum pmet_status flag(const struct pmet_vocab_builder *b, const json_t *obj, const char *where,
                             const char *key, bool fallback, bool *out, struct pmet_error *err)
{
    const json_t *v = json_object_get(obj, key);
    char field[96];
    *out = absent(v) ? fallback : json_is_true(v);
    snprintf(field, sizeof field, "%s.%s", where, key);
    return absent(v) || json_is_boolean(v) ? PMET_OK : refuse(b, field, v, "true or false", err);
}

/* A key that is not in the list, NULL at its end, is refused unless it is off. */
static enum pmet_status only_keys(const struct pmet_vocab_builder *b, const json_t *obj, const char *where,
                                  const char *const *keys, struct pmet_error *err)
{
    json_t *object = (json_t *)(uintptr_t)obj;
    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
        const char *key = json_object_iter_key(it);
        const json_t *v = json_object_iter_value(it);
        size_t i = 0;
        while (keys[i] && strcmp(keys[i], key) != 0)
            i++;
        if (!keys[i] && !absent(v) && !json_is_false(v))
            return pmet_fail(err, PMET_UNSUPPORTED, "%s: %s%s%s: an unknown key, which might change the ids",
                             b->path, where, *where ? "." : "", key);
    }
    return PMET_OK;
}

static enum pmet_status read_normalizer(struct pmet_vocab_builder *b, const json_t *v, struct pmet_error *err)
{
    if (absent(v))
        return PMET_OK;
    const json_t *type = json_object_get(v, "type");
    const char *name = json_string_value(type);
    if (name && strcmp(name, "NFC") == 0) {
        b->tk->nfc = true;
        return PMET_OK;
    }
    const json_t *parts = json_object_get(v, "normalizers");
    if (name && strcmp(name, "Sequence") == 0 && json_array_size(parts) <= 1)
        return read_normalizer(b, json_array_get(parts, 0), err);
    return refuse(b, "normalizer.type", json_is_object(v) ? type : v, "null or NFC", err);
}

static enum pmet_status read_pre_tokenizer(struct pmet_vocab_builder *b, const json_t *v,
                                           struct pmet_error *err)
{
    const json_t *type = json_object_get(v, "type");
    if (!json_is_string(type) || strcmp(json_string_value(type), "ByteLevel") != 0)
        return refuse(b, "pre_tokenizer.type", json_is_object(v) ? type : v, "ByteLevel", err);
    static const char *const keys[] = {"type", "add_prefix_space", "trim_offsets", "use_regex", NULL};
    PMET_TRY(only_keys(b, v, "pre_tokenizer", keys, err));
    PMET_TRY(flag(b, v, "pre_tokenizer", "add_prefix_space", false, &b->tk->add_prefix_space, err));
    return flag(b, v, "pre_tokenizer", "use_regex", true, &b->tk->use_regex, err);
}

/* Must add no token: null, ByteLevel (which moves offsets only), or a template of the text
 * alone. */
static enum pmet_status read_post_processor(const struct pmet_vocab_builder *b, const json_t *v,
                                            struct pmet_error *err)
{
    const json_t *type = json_object_get(v, "type");
    const char *name = json_string_value(type);
    if (absent(v) || (name && strcmp(name, "ByteLevel") == 0))
        return PMET_OK;
    if (name && strcmp(name, "Sequence") == 0) {
        const json_t *parts = json_object_get(v, "processors");
        for (size_t i = 0; i < json_array_size(parts); i++)
            PMET_TRY(read_post_processor(b, json_array_get(parts, i), err));
        return PMET_OK;
    }
    if (!name || strcmp(name, "TemplateProcessing") != 0)
        return refuse(b, "post_processor.type", json_is_object(v) ? type : v,
                      "null, ByteLevel or a TemplateProcessing that adds no token", err);
    const json_t *single = json_object_get(v, "single");
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *token = json_object_get(json_array_get(single, i), "SpecialToken");
        if (token)
            return refuse(
                b, "post_processor.single", json_object_get(token, "id"),
                "only the text, as with null: no row of the method begins or ends with an added token", err);
    }
    return json_array_size(single) == 1 ? PMET_OK
                                        : refuse(b, "post_processor.single", single, "one sequence", err);
}

static enum pmet_status read_decoder(const struct pmet_vocab_builder *b, const json_t *v,
                                     struct pmet_error *err)
{
    const json_t *type = json_object_get(v, "type"), *parts = json_object_get(v, "decoders");
    const char *name = json_string_value(type);
    if (absent(v) || (name && strcmp(name, "ByteLevel") == 0))
        return PMET_OK;
    if (name && strcmp(name, "Sequence") == 0 && json_array_size(parts) == 1)
        return read_decoder(b, json_array_get(parts, 0), err);
    return refuse(b, "decoder.type", json_is_object(v) ? type : v, "ByteLevel", err);
}

static enum pmet_status read_merges(struct pmet_vocab_builder *b, const json_t *merges,
                                    struct pmet_error *err)
{
    if (!json_is_array(merges))
        return refuse(b, "model.merges", merges, "an array", err);
    PMET_TRY(pmet_lookup_merges(b->tk, json_array_size(merges), err));
    for (size_t i = 0; i < json_array_size(merges); i++) {
        const json_t *m = json_array_get(merges, i), *l = json_array_get(m, 0), *r = json_array_get(m, 1);
        const char *text = json_string_value(m), *space = text ? strchr(text, ' ') : NULL;
        char where[48];
        snprintf(where, sizeof where, "model.merges[%zu]", i);
        if (space && !strchr(space + 1, ' '))
            PMET_TRY(
                pmet_build_merge(b, text, (size_t)(space - text), space + 1, strlen(space + 1), where, err));
        else if (json_array_size(m) == 2 && json_is_string(l) && json_is_string(r))
            PMET_TRY(pmet_build_merge(b, json_string_value(l), json_string_length(l), json_string_value(r),
                                      json_string_length(r), where, err));
        else
            return refuse(b, where, m, "two tokens, as \"a b\" or [\"a\", \"b\"]", err);
    }
    return PMET_OK;
}

static enum pmet_status read_model(struct pmet_vocab_builder *b, const json_t *model, struct pmet_error *err)
{
    const json_t *type = json_object_get(model, "type"), *v;
    bool byte_fallback, fuse_unk;
    if (!json_is_object(model))
        return refuse(b, "model", model, "an object", err);
    static const char *const keys[] = {"type",
                                       "dropout",
                                       "unk_token",
                                       "continuing_subword_prefix",
                                       "end_of_word_suffix",
                                       "fuse_unk",
                                       "byte_fallback",
                                       "ignore_merges",
                                       "vocab",
                                       "merges",
                                       NULL};
    PMET_TRY(only_keys(b, model, "model", keys, err));
    if (!absent(type) && (!json_is_string(type) || strcmp(json_string_value(type), "BPE") != 0))
        return refuse(b, "model.type", type, "BPE", err);
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < 2; i++) {
        v = json_object_get(model, affixes[i]);
        if (!absent(v) && (!json_is_string(v) || *json_string_value(v))) {
            char field[64];
            snprintf(field, sizeof field, "model.%s", affixes[i]);
            return refuse(b, field, v, "null or \"\"", err);
        }
    }
    v = json_object_get(model, "dropout");
    if (!absent(v) && !(json_is_number(v) && json_number_value(v) == 0))
        return refuse(b, "model.dropout", v, "null", err);
    PMET_TRY(flag(b, model, "model", "byte_fallback", false, &byte_fallback, err));
    PMET_TRY(byte_fallback ? refuse(b, "model.byte_fallback", json_true(), "false", err) : PMET_OK);
    PMET_TRY(flag(b, model, "model", "fuse_unk", false, &fuse_unk, err));
    PMET_TRY(fuse_unk ? refuse(b, "model.fuse_unk", json_true(), "false", err) : PMET_OK);
    PMET_TRY(flag(b, model, "model", "ignore_merges", false, &b->tk->ignore_merges, err));
    v = json_object_get(model, "vocab");
    if (!json_is_object(v))
        return refuse(b, "model.vocab", v, "an object", err);
    PMET_TRY(pmet_build_vocab(b, v, b->path, err));
    PMET_TRY(read_merges(b, json_object_get(model, "merges"), err));
    v = json_object_get(model, "unk_token");
    if (!absent(v) && !json_is_string(v))
        return refuse(b, "model.unk_token", v, "null or a string", err);
    if (json_is_string(v) && json_object_get(json_object_get(model, "vocab"), json_string_value(v)))
        b->tk->unk_id = (int32_t)json_integer_value(
            json_object_get(json_object_get(model, "vocab"), json_string_value(v)));
    return PMET_OK;
}

enum pmet_status pmet_read_added_flags(const struct pmet_vocab_builder *b, const json_t *token,
                                       const char *where, const char **content, struct pmet_added *flags,
                                       bool *special, struct pmet_error *err)
{
    static const char *const keys[] = {"id",         "content", "single_word", "lstrip", "rstrip",
                                       "normalized", "special", "__type",      NULL};
    const json_t *text = json_object_get(token, "content");
    if (!json_is_string(text))
        return pmet_fail(err, PMET_FORMAT, "%s: %s.content: found %s; expected a string", b->path, where,
                         pmet_json_kind(text));
    *content = json_string_value(text);
    PMET_TRY(only_keys(b, token, where, keys, err));
    PMET_TRY(flag(b, token, where, "special", false, special, err));
    PMET_TRY(flag(b, token, where, "normalized", !*special, &flags->normalized, err));
    PMET_TRY(flag(b, token, where, "single_word", false, &flags->single_word, err));
    PMET_TRY(flag(b, token, where, "lstrip", false, &flags->lstrip, err));
    return flag(b, token, where, "rstrip", false, &flags->rstrip, err);
}

static enum pmet_status read_added(struct pmet_vocab_builder *b, const json_t *list, struct pmet_error *err)
{
    if (absent(list))
        return PMET_OK;
    if (!json_is_array(list))
        return refuse(b, "added_tokens", list, "an array", err);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *t = json_array_get(list, i), *id = json_object_get(t, "id");
        struct pmet_added flags = {0};
        const char *content;
        bool special;
        char where[48];
        snprintf(where, sizeof where, "added_tokens[%zu]", i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= PMET_MAX_TOKENS)
            return pmet_fail(err, PMET_FORMAT, "%s: %s.id: found %s; expected an integer from 0 to %d",
                             b->path, where, json_is_integer(id) ? "one out of range" : pmet_json_kind(id),
                             PMET_MAX_TOKENS - 1);
        PMET_TRY(pmet_read_added_flags(b, t, where, &content, &flags, &special, err));
        PMET_TRY(pmet_build_added(b, content, json_integer_value(id), &flags, special, err));
    }
    return PMET_OK;
}

enum pmet_status pmet_load_tokenizer_json(struct pmet_vocab_builder *b, const struct pmet_io *io,
                                          const char *path, struct pmet_error *err)
{
    json_t *root = NULL;
    enum pmet_status status;
    b->path = path;
    PMET_GO(pmet_json_load(io, path, PMET_MAX_TOKENIZER_FILE, &root, err));
    if (!json_is_object(root))
        PMET_GO(refuse(b, "the file", root, "an object", err));
    static const char *const keys[] = {
        "version",       "truncation",     "padding", "added_tokens", "normalizer",
        "pre_tokenizer", "post_processor", "decoder", "model",        NULL};
    const json_t *version = json_object_get(root, "version");
    PMET_GO(only_keys(b, root, "", keys, err));
    if (!absent(version) && (!json_is_string(version) || strcmp(json_string_value(version), "1.0") != 0))
        PMET_GO(refuse(b, "version", version, "1.0", err));
    PMET_GO(read_normalizer(b, json_object_get(root, "normalizer"), err));
    PMET_GO(read_pre_tokenizer(b, json_object_get(root, "pre_tokenizer"), err));
    PMET_GO(read_model(b, json_object_get(root, "model"), err));
    PMET_GO(read_post_processor(b, json_object_get(root, "post_processor"), err));
    PMET_GO(read_decoder(b, json_object_get(root, "decoder"), err));
    status = read_added(b, json_object_get(root, "added_tokens"), err);
done:
    json_decref(root);
    return status;
}
