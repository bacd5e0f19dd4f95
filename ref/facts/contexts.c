/* SPDX-License-Identifier: MIT
 * Context templates in and out.      SPEC §4.2, §9.2 */
#include "ref/facts/contexts.h"

#include <stdlib.h>
#include <string.h>
#include "tensors/json.h"
#include "tokenizer/unicode.h"

static const size_t max_file = (size_t)1 << 24;

/* Allocates the groups and templates to come. */
static enum pmet_status reserve(struct pmet_contexts *c, size_t n_group, size_t n_template,
                                struct pmet_error *err)
{
    PMET_TRY(pmet_calloc(&c->group_start, n_group + 1, sizeof *c->group_start, "contexts", err));
    return pmet_calloc(&c->text, n_template, sizeof *c->text, "contexts", err);
}

/* Appends head + tail as one template. */
static enum pmet_status add_text(struct pmet_contexts *c, const char *head, const char *tail,
                                 struct pmet_error *err)
{
    const size_t n_head = strlen(head), n_tail = strlen(tail);
    char *text;
    PMET_TRY(pmet_calloc(&text, n_head + n_tail + 1, 1, "a template", err));
    memcpy(text, head, n_head);
    memcpy(text + n_head, tail, n_tail);
    c->text[c->n_template++] = text;
    return PMET_OK;
}

static void end_group(struct pmet_contexts *c)
{
    c->group_start[++c->n_group] = c->n_template;
}

static bool has_one_hole(const char *s)
{
    const size_t at = strcspn(s, "{}");
    return s[at] == '{' && s[at + 1] == '}' && !s[at + 2 + strcspn(s + at + 2, "{}")];
}

/* Appends the templates of one JSON list, from item `first`; `group` is its number in the file, for
 * messages. */
static enum pmet_status add_group(struct pmet_contexts *c, const json_t *list, size_t first, size_t group,
                                  const char *path, struct pmet_error *err)
{
    for (size_t i = first; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        const char *text = json_string_value(v);
        if (!text)
            return pmet_fail(err, PMET_FORMAT, "%s: group %zu, template %zu: found %s; expected a string",
                             path, group, i, pmet_json_kind(v));
        if (!has_one_hole(text))
            return pmet_fail(
                err, PMET_INPUT,
                "%s: group %zu, template %zu: found \"%s\"; expected one \"{}\" and no other brace", path,
                group, i, text);
        if (c->n_template == 0 && strcmp(text, "{}") != 0)
            return pmet_fail(
                err, PMET_INPUT,
                "%s: group %zu, template %zu: found \"%s\"; expected \"{}\", the plain prompt, first", path,
                group, i, text);
        PMET_TRY(add_text(c, text, "", err));
    }
    end_group(c);
    return PMET_OK;
}

static enum pmet_status read_nested(struct pmet_contexts *c, const json_t *root, const char *path,
                                    struct pmet_error *err)
{
    const size_t n = json_array_size(root);
    size_t n_template = 0;
    for (size_t g = 0; g < n; g++)
        n_template += json_array_size(json_array_get(root, g));
    PMET_TRY(reserve(c, n, n_template, err));
    for (size_t g = 0; g < n; g++) {
        const json_t *group = json_array_get(root, g);
        if (json_array_size(group) == 0)
            return pmet_fail(err, PMET_FORMAT, "%s: group %zu: found %s; expected an array of templates",
                             path, g, json_is_array(group) ? "an empty array" : pmet_json_kind(group));
        PMET_TRY(add_group(c, group, 0, g, path, err));
    }
    return PMET_OK;
}

/* A flat list: the plain prompt as a group of its own, then what else the list holds. */
static enum pmet_status read_flat(struct pmet_contexts *c, const json_t *root, const char *path,
                                  struct pmet_error *err)
{
    const bool leads = strcmp(json_string_value(json_array_get(root, 0)), "{}") == 0;
    PMET_TRY(reserve(c, 2, json_array_size(root) + 1, err));
    PMET_TRY(add_text(c, "{}", "", err));
    end_group(c);
    if (leads && json_array_size(root) == 1)
        return PMET_OK;
    return add_group(c, root, leads ? 1 : 0, 0, path, err);
}

/* The file's JSON; a byte order mark, as some editors write it, is passed over. */
static enum pmet_status load_json(const struct pmet_io *io, const char *path, json_t **root,
                                  struct pmet_error *err)
{
    char *text;
    size_t n;
    PMET_TRY(pmet_read_file(io, path, max_file, &text, &n, err));
    const size_t bom = n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    const enum pmet_status status = pmet_json_parse(text + bom, n - bom, path, 0, root, err);
    free(text);
    return status;
}

enum pmet_status pmet_contexts_load(const struct pmet_io *io, const char *path, struct pmet_contexts *out,
                                    struct pmet_error *err)
{
    json_t *root = NULL;
    enum pmet_status status;
    memset(out, 0, sizeof *out);
    PMET_GO(load_json(io, path, &root, err));
    if (json_array_size(root) == 0)
        status = pmet_fail(err, PMET_FORMAT, "%s: found %s; expected a list of context templates", path,
                           json_is_array(root) ? "an empty array" : pmet_json_kind(root));
    else if (json_is_string(json_array_get(root, 0)))
        status = read_flat(out, root, path, err);
    else
        status = read_nested(out, root, path, err);
done:
    json_decref(root);
    if (status != PMET_OK)
        pmet_contexts_free(out);
    return status;
}

/* E40, from the text to the template. */
enum pmet_status pmet_contexts_from_texts(const char *const *texts, size_t n, struct pmet_contexts *out,
                                          struct pmet_error *err)
{
    enum pmet_status status;
    memset(out, 0, sizeof *out);
    PMET_GO(reserve(out, 2, n + 1, err));
    PMET_GO(add_text(out, "{}", "", err));
    end_group(out);
    for (size_t i = 0; i < n; i++) {
        PMET_GO(add_text(out, texts[i], ". {}", err));
        char *text = out->text[out->n_template - 1];
        const size_t n_text = strlen(texts[i]); /* up to here it is generated; braces there are not ours */
        for (size_t k = strcspn(text, "{}"); k < n_text; k += strcspn(text + k, "{}"))
            text[k] = ' ';
    }
    if (n > 0)
        end_group(out);
    return PMET_OK;
done:
    pmet_contexts_free(out);
    return status;
}

json_t *pmet_contexts_json(const struct pmet_contexts *c)
{
    json_t *root = json_array();
    for (size_t g = 0; g < c->n_group; g++) {
        json_t *group = json_array();
        bool ok = json_array_append_new(root, group) == 0;
        for (size_t i = c->group_start[g]; i < c->group_start[g + 1]; i++)
            ok = ok && json_array_append_new(group, json_string(c->text[i])) == 0;
        if (!ok) {
            json_decref(root);
            return NULL;
        }
    }
    return root;
}

enum pmet_status pmet_contexts_save(const struct pmet_io *io, const char *path,
                                    const struct pmet_contexts *contexts, struct pmet_error *err)
{
    for (size_t i = 0; i < contexts->n_template; i++)
        if (contexts->text[i][pmet_utf8_span(contexts->text[i], strlen(contexts->text[i]))] != '\0')
            return pmet_fail(err, PMET_INPUT, "%s: template %zu is not UTF-8", path, i);
    json_t *root = pmet_contexts_json(contexts);
    const enum pmet_status status = pmet_json_save(io, path, root, 1, err);
    json_decref(root);
    return status;
}

void pmet_contexts_free(struct pmet_contexts *c)
{
    for (size_t i = 0; i < c->n_template; i++)
        free(c->text[i]);
    free(c->text);
    free(c->group_start);
    memset(c, 0, sizeof *c);
}
