/* SPDX-License-Identifier: MIT
 * pmet hparams. */
#include <stdlib.h>
#include <string.h>
#include "cli/options.h"
#include "ref/method/method.h"
#include "ref/model/config.h"
#include "tensors/json.h"

/* What each key of any method does. A value that E180 scales says how. */
static const struct {
    const char *key, *about, *scaled;
} keys[] = {
    {"layers", "layers that are edited; the last is where the targets are optimised",
     "with the depth of the model"},
    {"clamp_norm_factor", "how long a delta may be, in lengths of the output it is added to", NULL},
    {"layer_selection", "read by the published code, without effect", NULL},
    {"fact_token", "the token whose outputs are changed: the subject's last", NULL},
    {"v_num_grad_steps", "passes of a fact's optimisation at most", NULL},
    {"v_lr", "learning rate of the deltas (Adam)", NULL},
    {"v_loss_layer", "where the loss is read: the model's last layer", "the last layer"},
    {"v_weight_decay", "weight of the deltas' length in the loss", NULL},
    {"kl_factor", "weight of the distance from what the model said of the subject before", NULL},
    {"context_template_length_params", "ROME: length and number of the contexts that the model writes", NULL},
    {"rewrite_module_tmp", "the matrix that is edited (PMET: without effect)", NULL},
    {"rewrite_module_tmps", "the matrices that are edited, in this order", NULL},
    {"layer_module_tmp", "a block of the model", NULL},
    {"mlp_module_tmp", "the FFN of a block, whose output a delta is added to", NULL},
    {"attn_module_tmp", "the attention of a block", NULL},
    {"ln_f_module", "the norm before the head", NULL},
    {"lm_head_module", "the head", NULL},
    {"mom2_adjustment", "ROME: whether the statistics turn the key; else without effect", NULL},
    {"mom2_update_weight", "lambda: how many ordinary keys weigh against the facts; more changes less",
     "in proportion to the width of the FFN, two digits"},
    {"mom2_dataset", "the text of the statistics; recorded only", NULL},
    {"mom2_n_samples", "documents of the statistics", NULL},
    {"mom2_dtype", "of the statistics' sums", NULL},
    {"nll_loss_factor", "weight of the target's probability in the loss", NULL},
};

struct job {
    const struct cli *c;
    const char *model;
    int method;
    bool explain;
};

static enum pmet_status read_config(const struct job *j, struct pmet_config *config, struct pmet_error *err)
{
    char *path;
    json_t *json = NULL;
    struct pmet_notes notes = {0};
    enum pmet_status status;
    PMET_TRY(pmet_path_join(j->model, "config.json", &path, err));
    PMET_GO(pmet_json_load(j->c->io, path, (size_t)1 << 24, &json, err));
    status = pmet_config_read(json, path, pmet_families, config, &notes, err);
done:
    pmet_notes_free(&notes);
    json_decref(json);
    free(path);
    return status;
}

static void explain(const struct pmet_hparam_set *set, bool scaled)
{
    for (size_t i = 0; i < set->n_key; i++)
        for (size_t k = 0; k < COUNT_OF(keys); k++)
            if (strcmp(set->key[i].name, keys[k].key) == 0)
                fprintf(stderr, "  %-20s %s%s%s%s\n", keys[k].key, keys[k].about,
                        scaled && keys[k].scaled ? " (scaled: " : "",
                        scaled && keys[k].scaled ? keys[k].scaled : "", scaled && keys[k].scaled ? ")" : "");
}

static enum pmet_status write_template(const struct job *j, struct pmet_error *err)
{
    const struct pmet_hparam_set *set = j->c->methods[j->method]->hparams;
    struct pmet_hparams_template t = {0};
    struct pmet_config config;
    PMET_TRY(read_config(j, &config, err));
    PMET_TRY(pmet_hparams_template(config.family, set, config.n_layer, config.d_ff, &t, err));
    say(j->c, NOTE,
        t.scaled
            ? "%s for %zu layers, FFN of width %zu: scaled from the published file for %zu layers of width "
              "%zu; a start, to be tuned"
            : "%s for %zu layers, FFN of width %zu: the published file for %zu layers of width %zu",
        set->title, config.n_layer, config.d_ff, t.n_layer, t.d_model);
    if (j->explain)
        explain(set, t.scaled);
    fputs(t.text, stdout);
    free(t.text);
    return PMET_OK;
}

int run_hparams(struct cli *c, const struct command *self, int argc, char **argv)
{
    struct job j = {.c = c};
    const struct option_row rows[] = {
        {"model", OPTION_TEXT | REQUIRED, &j.model, "DIR", "the folder of the model's config.json"},
        {"method", OPTION_CHOICE, &j.method, c->method_names, "(default: the first of these)"},
        {"explain", OPTION_FLAG, &j.explain, NULL, "what each key does, on standard error"},
    };
    struct pmet_error err = {PMET_OK, ""};
    const int status = options_parse(c, self, rows, COUNT_OF(rows), argc, argv, NULL);
    if (status >= 0)
        return status;
    return write_template(&j, &err) == PMET_OK ? EXIT_DONE : say_failed(c, &err);
}
