/* SPDX-License-Identifier: MIT */
#include "cli/kinds.h"

#define BIT(kind) (1u << PMET_KIND_##kind)
#define NEUTRAL (BIT(UNKNOWN) | BIT(EMPTY))

/* What each role takes. Where one kind can be read as another (a list of strings), or a reader says
 * more (texts), both are let through. */
static const struct {
    unsigned takes;
    const char *expects;
} roles[] = {
    [ROLE_MODEL] = {BIT(MODEL) | BIT(UNKNOWN), "a model's folder (config.json, weights, a tokenizer)"},
    [ROLE_FACTS] = {NEUTRAL | BIT(FACTS), "facts (CounterFact, zsRE or plain records, in JSON)"},
    [ROLE_HPARAMS] = {NEUTRAL | BIT(HPARAMS) | BIT(TEXT), "hyper-parameters (JSON or YAML)"},
    [ROLE_CONTEXTS] = {NEUTRAL | BIT(CONTEXTS) | BIT(STRINGS), "context templates (JSON)"},
    [ROLE_STATS] = {NEUTRAL | BIT(STATS) | BIT(MODEL) | BIT(FOLDER), "the folder of statistics"},
    [ROLE_PROMPTS] = {NEUTRAL | BIT(STRINGS) | BIT(CONTEXTS) | BIT(TEXT),
                      "prompts (one a line, or a JSON array of strings)"},
    [ROLE_SNIPPETS] = {NEUTRAL | BIT(SNIPPETS), "attribute snippets (JSON)"},
    [ROLE_TEXT] = {~(BIT(TENSORS) | BIT(TORCH) | BIT(MOMENT) | BIT(HPARAMS) | BIT(SNIPPETS) | BIT(RESULT)),
                   "documents"},
    [ROLE_TENSORS] = {NEUTRAL | BIT(TENSORS) | BIT(MOMENT), "a file of tensors (safetensors)"},
};

const char *who_takes(enum pmet_kind kind)
{
    switch (kind) {
    case PMET_KIND_MODEL:
        return "the other commands take it as --model";
    case PMET_KIND_STATS:
        return "pmet edit --stats takes it";
    case PMET_KIND_WORK:
        return "the command that made it goes on from it, with --work";
    case PMET_KIND_TENSORS:
        return "pmet inspect and pmet diff take it";
    case PMET_KIND_TORCH:
        return "pmet inspect takes it, and its model's folder is for --model";
    case PMET_KIND_MOMENT:
        return "pmet edit --stats takes the folder that holds it";
    case PMET_KIND_PART:
        return "--model takes the folder that holds it";
    case PMET_KIND_FACTS:
        return "pmet edit --facts and pmet eval --facts take it";
    case PMET_KIND_HPARAMS:
        return "pmet edit --hparams and pmet stats --hparams take it";
    case PMET_KIND_CONTEXTS:
        return "pmet edit --contexts takes it";
    case PMET_KIND_STRINGS:
        return "pmet trace --prompts takes it, and pmet stats --text as documents";
    case PMET_KIND_SNIPPETS:
        return "pmet eval --snippets takes it";
    case PMET_KIND_TEXT:
        return "pmet stats --text takes it";
    default:
        return NULL;
    }
}

enum pmet_status check_kind(const struct cli *c, enum role role, const char *path, struct pmet_error *err)
{
    struct pmet_found found;
    struct pmet_error ignored = {PMET_OK, ""};
    if (!path || pmet_kind_of(c->io, path, &found, &ignored) != PMET_OK ||
        (roles[role].takes & 1u << found.kind))
        return PMET_OK;
    const char *next = found.hint ? found.hint : who_takes(found.kind);
    return pmet_fail(err, PMET_INPUT, "%s: found %s; expected %s%s%s", path, found.what, roles[role].expects,
                     next ? "; " : "", next ? next : "");
}
