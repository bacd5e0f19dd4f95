/* SPDX-License-Identifier: MIT
 * The public header: what it computes agrees with the goldens, what it cannot do it says. */
#include <jansson.h>
#include "pmet.h"
#include "tensors/safetensors.h"
#include "tests/test.h"

static const char model[] = "golden/gptj-A/model", facts[] = "golden/gptj-A/counterfact.json",
                  hparams[] = "golden/gptj-A/hparams/PMET/pmet.json",
                  contexts[] = "golden/gptj-A/contexts.json";

static struct pmet_session *open_on(struct test *t, enum pmet_device device)
{
    struct pmet_session *s = NULL;
    CHECK_DONE(pmet_session_open(model, device, 2, &s, &t->err));
    return s;
}

static struct pmet_session *open_model(struct test *t)
{
    return open_on(t, PMET_DEVICE_CPU);
}

TEST(a_session_says_what_it_holds)
{
    struct pmet_session *s = open_model(t);
    const struct pmet_shape shape = pmet_session_shape(s);
    CHECK_STR(shape.family, "gptj");
    CHECK(shape.n_layer == 6 && shape.n_head == 4 && shape.d_model == 64 && shape.d_ff == 256);
    CHECK(shape.n_vocab == 1024 && shape.n_ctx == 128);
    CHECK(strlen(pmet_session_fingerprint(s)) == 64);
    pmet_session_close(s);
}

static void check_logits(struct test *t, enum pmet_device device)
{
    struct pmet_session *s = open_on(t, device);
    struct pmet_safetensors *st = NULL;
    json_t *prompts = test_json(t, json_load_file("golden/gptj-A/forward_prompts.json", 0, NULL));
    CHECK_DONE(
        pmet_safetensors_open(pmet_io_system(), "golden/gptj-A/forward.fp64.safetensors", &st, &t->err));
    for (size_t r = 0; r < json_array_size(prompts); r++) {
        const char *text = json_string_value(json_array_get(prompts, r));
        int32_t *ids = NULL;
        size_t n = 0;
        const struct pmet_tensor *want = pmet_tensors_find(&st->all, test_text(t, "row%zu.logits", r));
        CHECK_DONE(pmet_encode(s, text, strlen(text), &ids, &n, &t->err));
        float *logits = test_alloc(t, (n * 1024 + 1) * sizeof *logits);
        double *got = test_alloc(t, (n * 1024 + 1) * sizeof *got);
        CHECK_DONE(pmet_logits(s, ids, n, logits, &t->err));
        for (size_t i = 0; i < n * 1024; i++)
            got[i] = (double)logits[i];
        if (CHECK(want && want->n_elem == n * 1024))
            CHECK(test_rel_l2(got, want->data, n * 1024) < 1e-6);
        free(ids);
    }
    pmet_safetensors_close(st);
    pmet_session_close(s);
}

TEST(logits_of_a_text_are_the_goldens)
{
    check_logits(t, PMET_DEVICE_CPU);
}

TEST(logits_on_the_plain_device_are_the_goldens)
{
    check_logits(t, PMET_DEVICE_PLAIN);
}

TEST(text_goes_to_ids_and_back)
{
    static const char text[] = "The capital of France is\n\xe6\x9d\x91\xe4\xb8\x8a";
    struct pmet_session *s = open_model(t);
    int32_t *ids = NULL;
    char *back = NULL;
    size_t n = 0, n_bytes = 0;
    CHECK_DONE(pmet_encode(s, text, strlen(text), &ids, &n, &t->err));
    CHECK_DONE(pmet_decode(s, ids, n, &back, &n_bytes, &t->err));
    CHECK_STR(back, text);
    CHECK(n_bytes == strlen(text));
    free(ids);
    free(back);
    pmet_session_close(s);
}

TEST(a_seed_fixes_what_is_drawn)
{
    struct pmet_session *s = open_model(t);
    int32_t row[3][24] = {{5, 6}, {5, 6}, {5, 6}};
    CHECK_DONE(pmet_continue(s, row[0], 2, 24, 5, 7, &t->err));
    CHECK_DONE(pmet_continue(s, row[1], 2, 24, 5, 7, &t->err));
    CHECK_DONE(pmet_continue(s, row[2], 2, 24, 5, 8, &t->err));
    CHECK(memcmp(row[0], row[1], sizeof row[0]) == 0);
    CHECK(memcmp(row[0], row[2], sizeof row[0]) != 0);
    pmet_session_close(s);
}

TEST(ids_out_of_range_are_refused)
{
    struct pmet_session *s = open_model(t);
    const int32_t past[] = {1024}, below[] = {-1};
    int32_t ids[200] = {1};
    static float logits[1024];
    struct pmet_error none = {PMET_OK, ""}, high = none, low = none, zero = none, top = none, far = none,
                      token = none;
    CHECK(pmet_logits(s, past, 0, logits, &none) == PMET_INPUT);
    CHECK_STR(none.message, "found 0 ids; expected 1 to 128");
    CHECK(pmet_logits(s, past, 1, logits, &high) == PMET_INPUT);
    CHECK_STR(high.message, "token 0: found id 1024; expected 0 to 1023");
    CHECK(pmet_logits(s, below, 1, logits, &low) == PMET_INPUT);
    CHECK_STR(low.message, "token 0: found id -1; expected 0 to 1023");
    CHECK(pmet_continue(s, ids, 0, 2, 1, 0, &zero) == PMET_INPUT);
    CHECK(pmet_continue(s, ids, 1, 2, 0, 0, &top) == PMET_INPUT);
    CHECK_STR(top.message, "top_k: found 0; expected at least 1");
    CHECK(pmet_continue(s, ids, 1, 129, 1, 0, &far) == PMET_INPUT);
    char *text = NULL;
    size_t n = 0;
    CHECK(pmet_decode(s, past, 1, &text, &n, &token) == PMET_INPUT && !text);
    pmet_session_close(s);
}

static enum pmet_status stop_on_progress(void *user, const struct pmet_event *event, struct pmet_error *err)
{
    (void)err;
    *(size_t *)user += event->kind == PMET_EVENT_PROGRESS;
    return PMET_INTERRUPTED;
}

TEST(an_interrupted_or_incomplete_request_leaves_nothing)
{
    struct pmet_session *s = open_model(t);
    size_t n_call = 0;
    const struct pmet_listener listener = {.user = &n_call, .on_event = stop_on_progress};
    const char *out = test_path("edited"), *stats = test_path("stats"),
               *texts[] = {"golden/gptj-A/stats_text.jsonl"};
    struct pmet_error stopped = {PMET_OK, ""}, lacks = stopped, none = stopped, inside = stopped,
                      again = stopped;
    const struct pmet_stats_request collect = {
        .texts = texts, .n_text = 1, .out = stats, .hparams = hparams, .n_samples = 3, .seed = 1};
    CHECK(pmet_make_stats(s, &collect, &listener, &stopped) == PMET_INTERRUPTED && n_call == 1);
    CHECK(test_count_files(test_tmpdir()) == 0);
    CHECK_OK(pmet_make_stats(s, &collect, NULL, &none), &none);
    struct pmet_edit_request request = {
        .facts = facts, .stats = stats, .hparams = hparams, .contexts = contexts};
    const size_t before = test_count_files(test_tmpdir());
    CHECK(pmet_edit_folder(s, &request, NULL, NULL, &lacks) == PMET_INPUT);
    CHECK_STR(lacks.message, "the request lacks facts, stats or out");
    request.out = "golden/gptj-A/model/edited";
    CHECK(pmet_edit_folder(s, &request, NULL, NULL, &inside) == PMET_INPUT);
    CHECK_STR(inside.message, "golden/gptj-A/model/edited: lies inside golden/gptj-A/model, used for the "
                              "model; expected a path apart from it");
    request.out = out;
    stopped = (struct pmet_error){PMET_OK, ""};
    CHECK(pmet_edit_folder(s, &request, &listener, NULL, &stopped) == PMET_INTERRUPTED);
    CHECK(pmet_make_stats(s, &collect, NULL, &again) == PMET_INPUT);
    CHECK(strstr(again.message, "exists; give --force to replace it"));
    CHECK(test_count_files(test_tmpdir()) == before);
    pmet_session_close(s);
}

static const struct pmet_metric *metric(const struct pmet_evaluation *e, const char *name)
{
    for (size_t i = 0; i < e->n_metric; i++)
        if (strcmp(e->metric[i].name, name) == 0)
            return &e->metric[i];
    return NULL;
}

static size_t count_lines(const char *path)
{
    char *text = NULL;
    size_t n = 0, n_line = 0;
    struct pmet_error err = {PMET_OK, ""};
    if (pmet_read_file(pmet_io_system(), path, SIZE_MAX, &text, &n, &err) == PMET_OK)
        for (size_t i = 0; i < n; i++)
            n_line += text[i] == '\n';
    free(text);
    return n_line;
}

/* Progress rises to all, and then there is the end. */
struct heard {
    size_t n_progress, n_done, last, total;
};

static enum pmet_status hear(void *user, const struct pmet_event *event, struct pmet_error *err)
{
    struct heard *h = user;
    (void)err;
    if (event->kind == PMET_EVENT_PROGRESS) {
        h->n_progress += h->n_done == 0 && event->phase == PMET_PHASE_EVALUATE && event->done >= h->last;
        h->last = event->done;
        h->total = event->total;
    }
    h->n_done += event->kind == PMET_EVENT_DONE && event->detail != NULL;
    return PMET_OK;
}

/* A model beside itself has one score twice. test_golden_eval holds the numbers to the published
 * ones. */
TEST(an_evaluation_counts_its_records_and_keeps_their_lines)
{
    static const char *const tail[] = {"rewrite_success", "paraphrase_success", "neighborhood_success",
                                       "neighborhood_diff", "score"};
    struct pmet_session *s = open_model(t), *before = open_model(t);
    const char *out = test_path("results.jsonl");
    struct pmet_evaluate_request request = {.facts = facts, .out = out, .limit = 3, .top_k = 5};
    struct pmet_evaluation e;
    struct pmet_error err = {PMET_OK, ""}, again = err, stopped = err;
    struct heard heard = {0};
    const struct pmet_listener listener = {.user = &heard, .on_event = hear};
    CHECK_OK(pmet_evaluate(s, before, &request, &listener, &e, &err), &err);
    CHECK(heard.n_progress > 1 && heard.n_done == 1 && heard.last == 3 && heard.total == 3);
    CHECK(e.n_record == 3 && count_lines(out) == 4); /* a header, then a record each */
    for (size_t i = 0; i < sizeof tail / sizeof *tail; i++) {
        const struct pmet_metric *a = metric(&e, test_text(t, "post_%s", tail[i])),
                                 *b = metric(&e, test_text(t, "pre_%s", tail[i]));
        CHECK(a && b && a->n == 3 && b->n == 3 && a->mean == b->mean);
    }
    CHECK(!metric(&e, "post_ngram_entropy")); /* no texts were asked for */
    CHECK(pmet_evaluate(s, NULL, &request, NULL, &e, &again) == PMET_INPUT);
    CHECK(strstr(again.message, "results.jsonl: exists; give --force to replace it"));
    size_t n_call = 0;
    const struct pmet_listener stop = {.user = &n_call, .on_event = stop_on_progress};
    request.out = test_path("stopped.jsonl");
    CHECK(pmet_evaluate(s, NULL, &request, &stop, &e, &stopped) == PMET_INTERRUPTED && n_call == 1);
    CHECK(count_lines(test_path("stopped.jsonl")) == 0);
    pmet_session_close(s);
    pmet_session_close(before);
}
