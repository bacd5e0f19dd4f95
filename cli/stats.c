/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/cli.h"
#include "ref/edit/hparams.h"
#include "ref/edit/stats.h"

static int progress(void *user, size_t done, size_t total)
{
    (void)user;
    return cli_progress("documents", done, total);
}

int cli_stats(int argc, char **argv, const struct pmet_io *io)
{
    const char *model = NULL, *out = NULL, *hparams = NULL, *samples = NULL, *length = NULL, *threads = NULL,
               **text = NULL;
    size_t n_text = 0, n_threads = 0, n_samples = 0, max_length = 0;
    bool force = false;
    const struct cli_option options[] = {
        {"model", &model, NULL, NULL, NULL, true, "DIR   the unedited checkpoint"},
        {"text", NULL, NULL, &text, &n_text, true, "FILE...  JSON lines with a \"text\" each, or plain text"},
        {"out", &out, NULL, NULL, NULL, true, "DIR   where the statistics go"},
        {"hparams", &hparams, NULL, NULL, NULL, false,
         "FILE  layers and samples to use [built in for GPT-J-6B and NeoX-20B]"},
        {"samples", &samples, NULL, NULL, NULL, false, "N     documents [of the hyper-parameters]"},
        {"max-length", &length, NULL, NULL, NULL, false, "N     tokens of a document [the model's]"},
        {"threads", &threads, NULL, NULL, NULL, false, "N     [all]"},
        {"force", NULL, &force, NULL, NULL, false, "replace an existing folder"},
        {"quiet", NULL, &cli_quiet, NULL, NULL, false, "no progress"}};
    int status = cli_parse(argc, argv, options, sizeof options / sizeof *options,
                           "pmet stats --model DIR --text FILE... --out DIR [options]");
    if (status != 0 || !cli_number("stats", "threads", threads, &n_threads) ||
        !cli_number("stats", "samples", samples, &n_samples) ||
        !cli_number("stats", "max-length", length, &max_length)) {
        free(text);
        return status < 0 ? EXIT_OK : EXIT_WRONG_USAGE;
    }
    struct pmet_error err = {PMET_OK, ""};
    struct cli_session s = {0};
    struct pmet_hparams h;
    struct pmet_docs *docs = NULL;
    struct pmet_outdir *dir = NULL;
    struct pmet_stats stats = {0};
    char fingerprint[65];
    enum pmet_status ok;
    cli_catch_signals();
#define TRY(call)                                                                                            \
    if ((ok = (call)) != PMET_OK)                                                                            \
    goto done
    TRY(pmet_outdir_begin(io, out, force, &dir, &err));
    TRY(cli_open(io, model, n_threads, &s, &err));
    const struct pmet_config *c = &s.model->config;
    TRY(hparams ? pmet_hparams_load(io, hparams, &h, &err)
                : pmet_hparams_default(pmet_family_name(c->family), c->n_layer, c->d_model, &h, &err));
    if (h.layers[h.n_layer - 1] >= c->n_layer) {
        ok = pmet_fail(&err, PMET_INPUT, "hparams: layers: found %zu; the model's last is %zu",
                       h.layers[h.n_layer - 1], c->n_layer - 1);
        goto done;
    }
    TRY(pmet_checkpoint_fingerprint(s.ck, fingerprint, &err));
    TRY(pmet_docs_open(io, text, n_text, &docs, &err));
    const struct pmet_stats_options o = {.layers = h.layers,
                                         .n_layer = h.n_layer,
                                         .attn = h.n_module == 2,
                                         .n_samples = n_samples ? n_samples : h.mom2_n_samples,
                                         .max_length = max_length,
                                         .seed = 1};
    if (pmet_docs_count(docs) < o.n_samples)
        fprintf(stderr, "pmet: warning: %zu documents; %zu were asked for: all are used\n",
                pmet_docs_count(docs), o.n_samples);
    TRY(pmet_stats_collect(s.model, s.tk, docs, &o, progress, NULL, &stats, &err));
    TRY(pmet_stats_write(io, pmet_outdir_path(dir), s.model, &stats, &o, fingerprint, pmet_docs_sha256(docs),
                         &err));
    ok = pmet_outdir_commit(dir, &err);
    dir = NULL;
    if (ok == PMET_OK)
        printf("%s: second moments of %zu modules over %zu tokens of %zu documents\n", out, stats.n_moment,
               stats.count, stats.n_used);
done:
    pmet_outdir_discard(dir);
    pmet_stats_free(&stats);
    pmet_docs_close(docs);
    cli_close(&s);
    free(text);
    return ok == PMET_OK ? EXIT_OK : cli_fail(&err);
}
