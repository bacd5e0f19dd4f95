/* SPDX-License-Identifier: MIT
 * Context templates in and out.      SPEC §4.2 */
#include "ref/edit/contexts.h"

#include <stdlib.h>
#include <string.h>
#include "tensors/json.h"

#define MAX_FILE ((size_t)1 << 24)

static size_t count_holes(const char *s)
{
    size_t n = 0;
    for (; (s = strstr(s, "{}")) != NULL; s += 2)
        n++;
    return n;
}

static enum pmet_status add_template(struct pmet_contexts *c, const json_t *v, const char *path,
                                     struct pmet_error *err)
{
    const char *text = json_string_value(v);
    if (!text)
        return pmet_fail(err, PMET_FORMAT, "%s: template %zu: found %s; expected a string", path,
                         c->n_template, pmet_json_kind(v));
    if (count_holes(text) != 1 || strcspn(text, "{") != (size_t)(strstr(text, "{}") - text) ||
        strchr(strstr(text, "{}") + 2, '{') || strchr(text, '}') != strstr(text, "{}") + 1 ||
        strchr(strchr(text, '}') + 1, '}'))
        return pmet_fail(err, PMET_INPUT,
                         "%s: template %zu: found \"%s\"; expected exactly one \"{}\" and no other brace",
                         path, c->n_template, text);
    if (c->n_template == 0 && strcmp(text, "{}") != 0)
        return pmet_fail(err, PMET_INPUT, "%s: template 0: found \"%s\"; expected \"{}\", the plain prompt",
                         path, text);
    PMET_TRY(pmet_calloc(&c->text[c->n_template], strlen(text) + 1, 1, "a template", err));
    memcpy(c->text[c->n_template++], text, strlen(text));
    return PMET_OK;
}

static enum pmet_status reserve(struct pmet_contexts *c, size_t n_group, size_t n_template,
                                struct pmet_error *err)
{
    PMET_TRY(pmet_calloc(&c->group_start, n_group + 1, sizeof *c->group_start, "contexts", err));
    return pmet_calloc(&c->text, n_template, sizeof *c->text, "contexts", err);
}

static enum pmet_status read_nested(struct pmet_contexts *c, const json_t *root, const char *path,
                                    struct pmet_error *err)
{
    size_t total = 0;
    for (size_t g = 0; g < json_array_size(root); g++)
        total += json_array_size(json_array_get(root, g));
    PMET_TRY(reserve(c, json_array_size(root), total, err));
    for (size_t g = 0; g < json_array_size(root); g++) {
        const json_t *group = json_array_get(root, g);
        if (!json_is_array(group) || json_array_size(group) == 0)
            return pmet_fail(err, PMET_FORMAT, "%s: group %zu: found %s; expected an array of templates",
                             path, g, json_is_array(group) ? "an empty array" : pmet_json_kind(group));
        for (size_t i = 0; i < json_array_size(group); i++)
            PMET_TRY(add_template(c, json_array_get(group, i), path, err));
        c->group_start[++c->n_group] = c->n_template;
    }
    return PMET_OK;
}

/* A flat list: the plain prompt, then the list as one group. */
static enum pmet_status read_flat(struct pmet_contexts *c, const json_t *root, const char *path,
                                  struct pmet_error *err)
{
    const size_t n = json_array_size(root),
                 first = strcmp(json_string_value(json_array_get(root, 0)), "{}") == 0 ? 1 : 0;
    json_t *plain = json_string("{}");
    PMET_TRY(reserve(c, 2, n + 1, err));
    const enum pmet_status status = add_template(c, plain, path, err);
    json_decref(plain);
    PMET_TRY(status);
    c->group_start[++c->n_group] = 1;
    for (size_t i = first; i < n; i++)
        PMET_TRY(add_template(c, json_array_get(root, i), path, err));
    if (c->n_template > 1)
        c->group_start[++c->n_group] = c->n_template;
    return PMET_OK;
}

enum pmet_status pmet_contexts_load(const struct pmet_io *io, const char *path, struct pmet_contexts *out,
                                    struct pmet_error *err)
{
    json_t *root = NULL;
    enum pmet_status status;
    memset(out, 0, sizeof *out);
    PMET_GO(pmet_json_load(io, path, MAX_FILE, &root, err));
    if (!json_is_array(root) || json_array_size(root) == 0)
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

enum pmet_status pmet_contexts_from_texts(const char *const *texts, size_t n, struct pmet_contexts *out,
                                          struct pmet_error *err)
{
    enum pmet_status status;
    memset(out, 0, sizeof *out);
    PMET_GO(reserve(out, 2, n + 1, err));
    for (size_t i = 0; i <= n; i++) {
        const char *text = i == 0 ? "" : texts[i - 1];
        const size_t len = strlen(text);
        char *t;
        PMET_GO(pmet_calloc(&t, len + 5, 1, "a template", err));
        for (size_t k = 0; k < len; k++)
            t[k] = text[k] == '{' || text[k] == '}' ? ' ' : text[k];
        memcpy(t + len, i == 0 ? "{}" : ". {}", i == 0 ? 2 : 4);
        out->text[out->n_template++] = t;
        if (i == 0 || i == n)
            out->group_start[++out->n_group] = out->n_template;
    }
    return PMET_OK;
done:
    pmet_contexts_free(out);
    return status;
}

enum pmet_status pmet_contexts_save(const struct pmet_io *io, const char *path,
                                    const struct pmet_contexts *contexts, struct pmet_error *err)
{
    json_t *root = json_array();
    char *text = NULL;
    struct pmet_out *out = NULL;
    enum pmet_status status;
    for (size_t g = 0; g < contexts->n_group; g++) {
        json_t *group = json_array();
        for (size_t i = contexts->group_start[g]; i < contexts->group_start[g + 1]; i++)
            json_array_append_new(group, json_string(contexts->text[i]));
        json_array_append_new(root, group);
    }
    if (!(text = json_dumps(root, JSON_INDENT(1)))) {
        status = pmet_fail_memory(err, path, 0);
        goto done;
    }
    PMET_GO(pmet_out_open(io, path, &out, err));
    PMET_GO(pmet_out_write(out, text, strlen(text), err));
    PMET_GO(pmet_out_write(out, "\n", 1, err));
    status = pmet_out_commit(out, err);
    out = NULL;
done:
    pmet_out_discard(out);
    free(text);
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
