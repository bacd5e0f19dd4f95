/* SPDX-License-Identifier: MIT
 * The library in one page: statistics, an edit, and the model's answer before and after. It
 * includes the public header only.
 *
 *     cc example.c $(pkg-config --cflags --libs pmet) -o example
 *     ./example MODEL TEXT.jsonl FACTS.json HPARAMS.json CONTEXTS.json "PROMPT" OUT */
#include <pmet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum pmet_status on_event(void *user, const struct pmet_event *event, struct pmet_error *err)
{
    static const char *const name[] = {"statistics", "optimising", "editing"};
    (void)user, (void)err;
    if (event->kind == PMET_EVENT_PROGRESS)
        fprintf(stderr, "%s %zu/%zu\n", name[event->phase], event->done, event->total);
    return PMET_OK; /* anything else stops */
}

static int answer(const char *label, const char *dir, const char *prompt, struct pmet_error *err)
{
    struct pmet_session *s = NULL;
    int32_t *ids = NULL, row[64];
    char *text = NULL;
    size_t n = 0, n_bytes = 0;
    const int ok = pmet_session_open(dir, PMET_DEVICE_AUTO, 0, &s, err) == PMET_OK &&
                   pmet_encode(s, prompt, strlen(prompt), &ids, &n, err) == PMET_OK && n > 0 && n <= 56 &&
                   memcpy(row, ids, n * sizeof *row) &&
                   pmet_continue(s, row, n, n + 6, 1, 0, err) == PMET_OK &&
                   pmet_decode(s, row, n + 6, &text, &n_bytes, err) == PMET_OK;
    if (ok)
        printf("%s: %s\n", label, text);
    free(ids);
    free(text);
    pmet_session_close(s);
    return ok;
}

static int edit(char **arg, struct pmet_error *err)
{
    const struct pmet_listener listener = {.on_event = on_event};
    const char *const texts[] = {arg[2]};
    char stats[4096];
    struct pmet_session *s = NULL;
    struct pmet_edit_summary summary;
    snprintf(stats, sizeof stats, "%s-stats", arg[7]);
    const struct pmet_stats_request collect = {
        .texts = texts, .n_text = 1, .out = stats, .hparams = arg[4], .seed = 1};
    const struct pmet_edit_request request = {
        .facts = arg[3], .stats = stats, .out = arg[7], .hparams = arg[4], .contexts = arg[5]};
    const int ok = pmet_session_open(arg[1], PMET_DEVICE_AUTO, 0, &s, err) == PMET_OK &&
                   pmet_make_stats(s, &collect, &listener, err) == PMET_OK &&
                   pmet_edit_folder(s, &request, &listener, &summary, err) == PMET_OK;
    if (ok)
        printf("%zu of %zu facts applied, %zu answered (before: %zu)\n", summary.n_applied, summary.n_fact,
               summary.n_greedy_after, summary.n_greedy_before);
    pmet_session_close(s);
    return ok;
}

int main(int argc, char **argv)
{
    struct pmet_error err = {PMET_OK, ""};
    if (argc != 8) {
        fprintf(stderr, "usage: %s MODEL TEXT FACTS HPARAMS CONTEXTS PROMPT OUT\n", argv[0]);
        return 2;
    }
    if (edit(argv, &err) && answer("before", argv[1], argv[6], &err) &&
        answer("after ", argv[7], argv[6], &err))
        return 0;
    fprintf(stderr, "%s: %s\n", argv[0], err.message);
    return 1;
}
