/* SPDX-License-Identifier: MIT
 * Whoever waits may stop, at any time: long operators ask between their blocks, the calls that take
 * long ask their listener, and the command ends by a signal with nothing half written.   SPEC §9.8 */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/cli.h"
#include "pmet.h"
#include "ref/cpu/table.h"
#include "ref/ops/plain.h"
#include "tests/cli.h"

/* ---- operators ---- */

enum { N = 520, ROWS = 70 }; /* of the square matrices; tokens */
struct operands {
    double *a, *b, *c;
    real *x, *y, *w;
    struct pmet_batch batch;
    struct pmet_attention attention;
    struct pmet_heads g[3];
};

/* Asks before the k-th answer say no. */
struct asker {
    size_t n_ask, stop_at;
};

static bool asked(const void *user)
{
    struct asker *a;
    memcpy(&a, &user, sizeof a);
    return a->n_ask++ >= a->stop_at;
}

enum entry { MATMUL, MATMUL_DX, GRAM, GEMM64, CHOLESKY, CHOLESKY_SOLVE, ATTENTION, ATTENTION_DX, N_ENTRY };
/* Asks of each entry at least, on one thread of the fast table and of the plain one: a block of the
 * largest models takes a fraction of a second between two of them. */
static const size_t at_least[2][N_ENTRY] = {{8, 8, 10, 9, 6, 10, 2, 2}, {70, 70, 520, 520, 520, 520, 0, 0}};

/* a is symmetric and positive definite; its factor after CHOLESKY. */
static void set_matrix(struct operands *o)
{
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++)
            o->a[i * N + j] = i == j ? N : 1.0 / (1 + (double)(i > j ? i - j : j - i));
}

static enum pmet_status call(const struct pmet_ops *op, enum entry entry, struct operands *o,
                             struct pmet_error *err)
{
    const struct pmet_weight w = {o->w, PMET_REAL, N, N};
    size_t pivot;
    double value;
    switch (entry) {
    case MATMUL:
        return op->matmul(op, o->y, N, o->x, w, NULL, ROWS, err);
    case MATMUL_DX:
        return op->matmul_dx(op, o->y, o->x, N, w, false, ROWS, err);
    case GRAM:
        return op->gram(op, o->w, o->x, ROWS, N, err);
    case GEMM64:
        return op->gemm64(op, false, false, N, N, N, 1, o->a, N, o->b, N, 0, o->c, N, err);
    case CHOLESKY:
        set_matrix(o);
        return op->cholesky(op, o->a, N, &pivot, &value, err);
    case CHOLESKY_SOLVE:
        return op->cholesky_solve(op, o->a, o->c, N, N, err);
    case ATTENTION:
        return op->attention(op, o->y, &o->attention, NULL, err);
    case ATTENTION_DX:
        return op->attention_dx(op, o->g, o->x, &o->attention, err);
    case N_ENTRY:
        break;
    }
    return PMET_OK;
}

static void make_operands(struct test *t, struct operands *o)
{
    static const size_t row_start[] = {0, ROWS / 2, ROWS}, none[] = {0, 0};
    struct test_rng rng = {5};
    o->a = test_alloc(t, (size_t)N * N * sizeof *o->a);
    o->b = test_alloc(t, (size_t)N * N * sizeof *o->b);
    o->c = test_alloc(t, (size_t)N * N * sizeof *o->c);
    o->w = test_alloc(t, (size_t)N * N * sizeof *o->w);
    o->x = test_alloc(t, (size_t)ROWS * N * sizeof *o->x);
    o->y = test_alloc(t, (size_t)ROWS * N * sizeof *o->y);
    for (size_t i = 0; i < (size_t)ROWS * N; i++)
        o->x[i] = (real)test_rng_normal(&rng);
    o->batch = (struct pmet_batch){2, ROWS, row_start, none, none};
    o->attention = (struct pmet_attention){.q = {o->x, N, N / 2},
                                           .k = {o->x, N, N / 2},
                                           .v = {o->x, N, N / 2},
                                           .batch = &o->batch,
                                           .n_head = 2,
                                           .d_head = N / 2};
    for (size_t i = 0; i < 3; i++)
        o->g[i] = (struct pmet_heads){test_alloc(t, (size_t)ROWS * N * sizeof(real)), N, N / 2};
}

static void close_table(void *op)
{
    pmet_ops_free(op);
}

static void check_table(struct test *t, struct pmet_ops *op, const size_t *least, bool alone)
{
    struct operands o;
    test_own(t, op, close_table);
    make_operands(t, &o);
    for (int e = 0; e < N_ENTRY; e++) {
        struct asker a = {0, SIZE_MAX};
        op->stopped = asked;
        op->stopped_user = &a;
        CHECK_DONE(call(op, (enum entry)e, &o, &t->err));
        const size_t n_ask = a.n_ask;
        if (alone && !CHECK(n_ask >= least[e]))
            test_fail(t, "%s: entry %d asks %zu times", op->kind, e, n_ask);
        const size_t stop_at[] = {0, 1, n_ask / 2, n_ask - 1};
        for (size_t i = 0; i < 4 && n_ask > 0; i++) {
            a = (struct asker){0, stop_at[i]};
            const enum pmet_status status = call(op, (enum entry)e, &o, &t->err);
            /* beside another thread this one may have fewer blocks than before, or none */
            const bool told = alone || a.n_ask > stop_at[i];
            if (!told)
                CHECK(status == PMET_OK);
            else
                CHECK_REFUSED(status, PMET_INTERRUPTED, "interrupted; nothing is written");
            CHECK(!told || a.n_ask == stop_at[i] + 1); /* nobody is asked twice */
        }
        a = (struct asker){0, SIZE_MAX};
        CHECK_DONE(call(op, (enum entry)e, &o, &t->err)); /* the next one begins anew */
        op->stopped = NULL;
        CHECK_DONE(call(op, (enum entry)e, &o, &t->err));
    }
}

TEST(long_operators_ask_between_their_blocks_and_stop)
{
    for (size_t n_thread = 1; n_thread <= 2; n_thread++) {
        struct pmet_ops *op = NULL;
        if (CHECK_DONE(pmet_ops_cpu(n_thread, &op, &t->err)))
            check_table(t, op, at_least[0], n_thread == 1);
    }
}

TEST(plain_operators_ask_and_stop)
{
    struct pmet_ops *op = NULL;
    if (CHECK_DONE(pmet_ops_plain(&op, &t->err)))
        check_table(t, op, at_least[1], true);
}

/* ---- calls that take long ---- */

/* Events of any kind before the k-th say go on; after it none may come (one, where a text ends
 * that the first one cut off). */
static enum pmet_status on_event(void *user, const struct pmet_event *event, struct pmet_error *err)
{
    struct asker *a = user;
    (void)err;
    if (event->kind == PMET_EVENT_NOTE) /* whose answer is not read */
        return PMET_OK;
    return asked(a) ? PMET_INTERRUPTED : PMET_OK;
}

enum job { EDIT, STATS, EVALUATE, N_JOB };

static enum pmet_status run(enum job job, struct pmet_session *s, struct asker *a, struct pmet_error *err)
{
    static const char *const texts[] = {"text.jsonl"};
    const struct pmet_listener listener = {a, on_event};
    const struct pmet_edit_request edit = {
        .facts = "facts.json", .stats = "s", .out = "out", .hparams = "hparams.json", .limit = 1, .seed = 1};
    const struct pmet_stats_request stats = {.texts = texts,
                                             .n_text = 1,
                                             .out = "out",
                                             .hparams = "hparams.json",
                                             .n_samples = 3,
                                             .seed = 1,
                                             .factor = true};
    const struct pmet_evaluate_request evaluate = {
        .facts = "facts.json", .limit = 2, .n_generate = 1, .top_k = 5, .seed = 1};
    struct pmet_evaluation result;
    return job == EDIT    ? pmet_edit_folder(s, &edit, &listener, NULL, err)
           : job == STATS ? pmet_make_stats(s, &stats, &listener, err)
                          : pmet_evaluate(s, NULL, &evaluate, &listener, &result, err);
}

/* Stopped at every answer in some strides: it ends there, leaves nothing, and the session works as
 * before. */
static void sweep(struct test *t, enum job job, size_t n_stop)
{
    struct pmet_session *s = NULL;
    struct asker a = {0, SIZE_MAX};
    cli_enter(t, test_text(t, "stop%d", job), "gptj-A");
    if (!CHECK_DONE(pmet_session_open("m", PMET_DEVICE_CPU, 1, &s, &t->err)))
        return;
    CHECK_DONE(run(job, s, &a, &t->err));
    const size_t n_ask = a.n_ask;
    cli_shell("test ! -e out || mv out reference");
    const size_t before = test_count_files(".");
    for (size_t i = 0; i < n_stop; i++) {
        a = (struct asker){0, i * (n_ask - 1) / n_stop};
        const size_t at = a.stop_at;
        if (job == EDIT && at + 1 == n_ask)
            continue; /* PMET_EVENT_DONE: it stands */
        const enum pmet_status status = run(job, s, &a, &t->err);
        if (!CHECK(status == PMET_INTERRUPTED && strncmp(t->err.message, "interrupted", 11) == 0) ||
            !CHECK(a.n_ask <= at + (job == EVALUATE ? 2 : 1) && test_count_files(".") == before))
            test_fail(t, "job %d, stopped at %zu of %zu: %d, %zu asked, %s", job, at, n_ask, status, a.n_ask,
                      t->err.message);
        t->err = (struct pmet_error){PMET_OK, ""};
    }
    a = (struct asker){0, SIZE_MAX};
    CHECK_DONE(run(job, s, &a, &t->err));
    CHECK(a.n_ask == n_ask);
    CHECK(system("test ! -e reference || diff -r out reference > /dev/null") == 0);
    pmet_session_close(s);
    printf("     job %d: asked %zu times\n", job, n_ask);
    CHECK(n_ask > 2 * n_stop);
}

TEST(an_edit_can_be_stopped_anywhere)
{
    sweep(t, EDIT, 60);
}

TEST(statistics_can_be_stopped_anywhere)
{
    sweep(t, STATS, 30);
}

TEST(an_evaluation_can_be_stopped_anywhere)
{
    sweep(t, EVALUATE, 40);
}

/* ---- the command, and a signal that comes at any time ---- */

static pid_t start(const char *line, const struct pmet_method *const *methods)
{
    char copy[1024], name[] = "pmet", *word[40] = {name};
    int n = 1;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *save, *w = strtok_r(copy, " ", &save); w && n < 39; w = strtok_r(NULL, " ", &save))
        word[n++] = w;
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        const int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        dup2(null, 2);
        for (int sig = SIGHUP; sig <= SIGTERM; sig++)
            signal(sig, SIG_DFL);
        _exit(pmet_cli(n, word, pmet_io_system(), methods));
    }
    return child;
}

/* The exit status of a run that gets sig after a while, -1 if the signal itself ended it: it came
 * before the command had begun. */
static int signalled(const char *line, int sig, double after_s)
{
    int status = 0;
    const pid_t child = start(line, cli_methods);
    usleep((useconds_t)(after_s * 1e6));
    kill(child, sig);
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(a_signal_ends_each_command_and_leaves_nothing)
{
    static const char *const lines[] = {
        "edit -q --model m --facts facts.json --hparams hparams.json --stats s --out out --threads 1",
        "stats -q --model m --text text.jsonl --hparams hparams.json --out out --threads 1",
        "eval -q --model m --facts facts.json --generate 2 --threads 1",
        "generate -q --model m --prompt Egypt --max-tokens 100 --threads 1",
        "trace -q --model m --prompts prompts.json --out out --threads 1",
        "tokenize --model m long.txt",
        "inspect --check m",
        "diff m/model.safetensors m/model.safetensors",
    };
    static const int signals[] = {SIGHUP, SIGINT, SIGTERM};
    struct test_rng rng = {17};
    size_t n_stopped = 0;
    cli_enter(t, "signal", "gptj-A");
    cli_shell("cp m/config.json pad && for i in 1 2 3 4 5 6 7 8 9 10; do cat text.jsonl; done > long.txt");
    const size_t before = test_count_files(".");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        const double started = pmet_seconds();
        int status;
        const pid_t child = start(lines[i], cli_methods);
        waitpid(child, &status, 0);
        const double takes = pmet_seconds() - started;
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        cli_shell("rm -rf out");
        for (size_t k = 0; k < 8; k++) {
            const int sig = signals[k % 3], got = signalled(lines[i], sig, takes * test_rng_uniform(&rng));
            const bool whole = got == 0 && access("out", F_OK) == 0;
            n_stopped += got == 128 + sig;
            if (whole)
                cli_shell("rm -r out");
            if (!CHECK((got == 0 || got == 128 + sig || got == -1) && test_count_files(".") == before))
                test_fail(t, "%s: signal %d: exit %d, %zu files; %zu before", lines[i], sig, got,
                          test_count_files("."), before);
        }
    }
    printf("     stopped %zu times\n", n_stopped);
    CHECK(n_stopped > 5);
}
