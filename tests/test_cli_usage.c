/* SPDX-License-Identifier: MIT
 * Command lines: what is wrong usage, what each command prints and where, exit statuses. */
#include <fcntl.h>
#include <jansson.h>
#include <unistd.h>
#include "cli/progress.h"
#include "tensors/safetensors.h"
#include "tests/cli.h"

static const char *const commands[] = {"edit",     "stats", "eval",    "generate",
                                       "tokenize", "trace", "inspect", "diff"};

TEST(every_command_has_its_help)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char start[64];
        snprintf(start, sizeof start, "Usage: pmet %s ", commands[i]);
        CHECK(cli(NULL, "%s --help", commands[i]) == 0);
        CHECK(strncmp(cli_out(), start, strlen(start)) == 0 && strstr(cli_out(), "\nExample:\n"));
        CHECK_STR(cli_err(), "");
        char *own = strdup(cli_out());
        CHECK(cli(NULL, "help %s", commands[i]) == 0);
        CHECK_STR(cli_out(), own);
        free(own);
        CHECK(cli(NULL, "help") == 0 && strstr(cli_out(), commands[i]));
    }
    CHECK(cli(NULL, "--version") == 0);
    CHECK_STR(cli_out(), "pmet " PMET_VERSION "\n");
}

TEST(wrong_usage_is_one_line_and_exit_2)
{
    static const struct {
        const char *line, *message;
    } wrong[] = {
        {"", "pmet: a command is missing; see pmet --help\n"},
        {"edti", "pmet: edti: no such command; did you mean edit? see pmet --help\n"},
        {"frobnicate", "pmet: frobnicate: no such command; see pmet --help\n"},
        {"--model m", "pmet: --model: found an option; expected a command first; see pmet --help\n"},
        {"help edti", "pmet: edti: no such command; did you mean edit? see pmet --help\n"},
        {"edit", "pmet edit: --model DIR is missing; see pmet edit --help\n"},
        {"edit --model m --facts f --stats s", "pmet edit: --out DIR is missing; see pmet edit --help\n"},
        {"edit --model m --facts f --out o", "pmet edit: --stats DIR is missing; see pmet edit --help\n"},
        {"edit --model", "pmet edit: --model: an argument is missing; expected DIR; see pmet edit --help\n"},
        {"edit --modle m",
         "pmet edit: --modle: no such option; did you mean --model? see pmet edit --help\n"},
        {"edit --hpramas=x",
         "pmet edit: --hpramas: no such option; did you mean --hparams? see pmet edit --help\n"},
        {"edit --frobnicate", "pmet edit: --frobnicate: no such option; see pmet edit --help\n"},
        {"edit --s 1",
         "pmet edit: --s: short for more than one option, such as --stats; see pmet edit --help\n"},
        {"edit -\xc3\xa9", "pmet edit: -\\xc3: no such option; see pmet edit --help\n"},
        {"edit --memory 0x10",
         "pmet edit: --memory: found \"0x10\"; expected a size such as 800M or 16G; see pmet edit --help\n"},
        {"edit --model m --facts f --stats s --out o --trace-facts 3",
         "pmet edit: --trace-facts 3: needs --trace; see pmet edit --help\n"},
        {"edit -x", "pmet edit: -x: no such option; see pmet edit --help\n"},
        {"edit --model ''", "pmet edit: --model: found nothing; expected DIR; see pmet edit --help\n"},
        {"edit --limit three",
         "pmet edit: --limit: found \"three\"; expected a whole number; see pmet edit --help\n"},
        {"edit --limit -1",
         "pmet edit: --limit: found \"-1\"; expected a whole number; see pmet edit --help\n"},
        {"edit --limit 99999999999999999999", "pmet edit: --limit: found \"99999999999999999999\"; expected "
                                              "a whole number; see pmet edit --help\n"},
        {"edit --ridge -1",
         "pmet edit: --ridge: found \"-1\"; expected a number not below 0; see pmet edit --help\n"},
        {"edit --ridge nan",
         "pmet edit: --ridge: found \"nan\"; expected a number not below 0; see pmet edit --help\n"},
        {"edit --memory 3X",
         "pmet edit: --memory: found \"3X\"; expected a size such as 800M or 16G; see pmet edit --help\n"},
        {"edit --solver lu",
         "pmet edit: --solver: found \"lu\"; expected auto|cholesky|cg; see pmet edit --help\n"},
        {"edit --strict=yes", "pmet edit: --strict=yes: takes no argument; see pmet edit --help\n"},
        {"edit --model m --facts f --stats s --out o --show 2",
         "pmet edit: --show 2: needs --dry-run; see pmet edit --help\n"},
        {"edit --model m --facts f --stats s --out o more",
         "pmet edit: more: one argument too many; see pmet edit --help\n"},
        {"generate --model m", "pmet generate: --prompt TEXT is missing; see pmet generate --help\n"},
        {"generate --model m --prompt x --top-k 0",
         "pmet generate: --top-k: found 0; expected at least 1; see pmet generate --help\n"},
        {"generate --device tpu",
         "pmet generate: --device: found \"tpu\"; expected auto|plain|cpu|cuda; see pmet generate --help\n"},
        {"edit --model m --facts f --stats s --out o --half-activations",
         "pmet edit: --half-activations: needs --device cuda; see pmet edit --help\n"},
        {"trace --model m --prompts p --out o --device cpu --tf32",
         "pmet trace: --tf32: needs --device cuda; see pmet trace --help\n"},
        {"eval --model m --facts f --device cuda --tf32 --half-activations",
         "pmet eval: --half-activations and --tf32: found both; expected one; see pmet eval --help\n"},
        {"tokenize --model m --tf32", "pmet tokenize: --tf32: no such option; see pmet tokenize --help\n"},
        {"trace --model m --seed 3", "pmet trace: --seed: no such option; see pmet trace --help\n"},
        {"inspect m --threads 2", "pmet inspect: --threads: no such option; see pmet inspect --help\n"},
        {"tokenize --model m a b", "pmet tokenize: b: one argument too many; see pmet tokenize --help\n"},
        {"diff a", "pmet diff: B is missing; see pmet diff --help\n"},
        {"inspect", "pmet inspect: PATH is missing; see pmet inspect --help\n"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const int status = cli(NULL, "%s", wrong[i].line);
        CHECK_STR(cli_err(), wrong[i].message);
        if (status != 2 || cli_out()[0])
            test_fail(t, "\"%s\": exit %d, \"%s\"", wrong[i].line, status, cli_out());
    }
}

static json_t *one_object(struct test *t)
{
    json_t *v = json_loads(cli_out(), JSON_REJECT_DUPLICATES, NULL);
    CHECK(json_is_object(v));
    return v;
}

TEST(json_is_one_object_and_quiet_is_quiet)
{
    const char *dir = cli_bench(t, "json", "gptj-A");
    CHECK(cli(NULL,
              "stats -q --json --model %s/m --text %s/text.jsonl --hparams %s/hparams.json --out %s/out", dir,
              dir, dir, dir) == 0);
    json_t *v = one_object(t);
    CHECK(json_is_number(json_object_get(json_object_get(v, "seconds"), "stats")));
    CHECK(json_integer_value(json_object_get(v, "used")) == 4);
    CHECK_STR(cli_err(), "");
    json_decref(v);
    CHECK(cli(NULL, "generate -q --json --model %s/m --prompt Egypt --prompt 'The capital' --max-tokens 3",
              dir) == 0);
    v = one_object(t);
    CHECK(json_array_size(json_object_get(v, "results")) == 2);
    CHECK_STR(cli_err(), "");
    json_decref(v);
    CHECK(cli(NULL,
              "edit -q --json --model %s/m --facts %s/facts.json --hparams %s/hparams.json --contexts "
              "%s/contexts.json "
              "--stats %s/s --limit 2 --out %s/edited",
              dir, dir, dir, dir, dir, dir) == 0);
    v = one_object(t);
    static const char *const stages[] = {"load", "stats", "delta", "keys", "solve", "write"};
    for (size_t i = 0; i < 6; i++)
        CHECK(json_number_value(json_object_get(json_object_get(v, "seconds"), stages[i])) > 0);
    CHECK(json_integer_value(json_object_get(v, "peak_memory_bytes")) > 0);
    CHECK(json_integer_value(json_object_get(v, "facts")) == 2);
    CHECK_STR(cli_err(), "");
    json_decref(v);
}

TEST(text_is_tokenized_by_lines_and_as_json_and_back)
{
    static const char lines[] = "The capital of France\n\n  caf\xc3\xa9 \t x\n";
    const char *dir = cli_bench(t, "text", "neox-A");
    char path[600], ids[4096];
    snprintf(path, sizeof path, "%s/lines", dir);
    test_write_file(path, lines, strlen(lines));
    CHECK(cli(NULL, "tokenize --model %s/m %s/lines", dir, dir) == 0);
    snprintf(ids, sizeof ids, "%s", cli_out());
    CHECK(strstr(ids, "\n\n"));
    snprintf(path, sizeof path, "%s/ids", dir);
    test_write_file(path, ids, strlen(ids));
    CHECK(cli(NULL, "tokenize --decode --model %s/m %s/ids", dir, dir) == 0);
    CHECK_STR(cli_out(), lines);
    snprintf(path, sizeof path, "%s/strings.json", dir);
    test_write_file(path, "[\"a\\nb\", \"\"]", 12);
    CHECK(cli(NULL, "tokenize --json --model %s/m %s/strings.json", dir, dir) == 0);
    snprintf(path, sizeof path, "%s/ids.json", dir);
    test_write_file(path, cli_out(), strlen(cli_out()));
    CHECK(cli(NULL, "tokenize --json --decode --model %s/m %s/ids.json", dir, dir) == 0);
    CHECK_STR(cli_out(), "[\"a\\nb\",\"\"]\n");
}

TEST(diff_measures_in_each_of_its_ways)
{
    static const char g[] = "golden/gptj-A/";
    CHECK(cli(NULL, "diff %sforward.fp32.safetensors %sforward.fp32.safetensors", g, g) == 0);
    CHECK(cli(NULL, "diff %sforward.fp32.safetensors %sforward.fp64.safetensors", g, g) == 3);
    CHECK(cli(NULL, "diff %sforward.fp32.safetensors %sforward.fp64.safetensors --rtol 1e-3 --atol 1e-4", g,
              g) == 0);
    CHECK(cli(NULL, "diff %sforward.fp32.safetensors %sforward.fp64.safetensors --rtol 1e-9", g, g) == 3);
    CHECK(cli(NULL,
              "diff %sforward.fp32.safetensors %sforward.fp64.safetensors --yardstick "
              "%sforward.fp32.safetensors",
              g, g, g) == 0);
    CHECK(cli(NULL,
              "diff %sforward.fp32.safetensors %sforward.fp64.safetensors --yardstick "
              "%sforward.fp32.safetensors "
              "--ratio 0.9",
              g, g, g) == 3);
    CHECK(cli(NULL, "diff %sforward.fp32.safetensors %skeys.fp64.safetensors", g, g) == 3);
    CHECK(cli(NULL, "diff %sforward.fp32.safetensors %sforward.fp32.safetensors --require row0.logits", g,
              g) == 0);
    CHECK(cli(NULL, "diff %sforward.fp32.safetensors %sforward.fp32.safetensors --require row9.logits", g,
              g) == 3);
    CHECK(cli(NULL, "diff %sforward.fp32.safetensors golden/neox-C/forward.fp32.safetensors --atol 1e9", g) ==
          3);
}

TEST(a_seed_of_the_command_line_is_the_one_that_draws)
{
    static const char *const seeds[] = {"", "--seed 1", "--seed 2", "--seed 2"};
    char text[4][2000];
    for (size_t i = 0; i < 4; i++) {
        CHECK(cli(NULL,
                  "generate -q --threads 1 --model golden/gptj-A/model --prompt Egypt --max-tokens 20 "
                  "--top-k 5 %s",
                  seeds[i]) == 0);
        snprintf(text[i], sizeof text[i], "%s", cli_out());
    }
    CHECK_STR(text[0], text[1]);
    CHECK_STR(text[2], text[3]);
    CHECK(strcmp(text[1], text[2]) != 0);
}

/* One number in each of three tensors NAME of a kind, off from 1 by the multiples given of the yardstick. */
static int judge(const char *name, double a, double b, double c)
{
    const double off[3] = {a, b, c}, one = 1, yard = 1 + 1e-6;
    double ours[3];
    struct pmet_tensor tensors[3][3];
    char names[3][64];
    static const char *const files[3] = {"ours", "golden", "yard"};
    struct pmet_error err = {PMET_OK, ""};
    for (size_t i = 0; i < 3; i++) {
        snprintf(names[i], sizeof names[i], "%zu.%s", i, name);
        ours[i] = 1 + off[i] * 1e-6;
        for (size_t f = 0; f < 3; f++)
            tensors[f][i] = (struct pmet_tensor){.name = names[i],
                                                 .dtype = PMET_F64,
                                                 .n_dim = 1,
                                                 .shape = {1},
                                                 .n_elem = 1,
                                                 .n_bytes = 8,
                                                 .data = f == 0   ? &ours[i]
                                                         : f == 1 ? &one
                                                                  : &yard};
    }
    for (size_t f = 0; f < 3; f++)
        if (pmet_safetensors_write(pmet_io_system(), test_path("%s", files[f]), tensors[f], 3, NULL, 0,
                                   &err) != PMET_OK)
            return -1;
    const char *dir = test_tmpdir();
    return cli(NULL, "diff %s/ours %s/golden --yardstick %s/yard", dir, dir, dir);
}

/* The rule of acceptance (E1), kind by kind, at both sides of each limit. */
TEST(diff_judges_every_kind_by_its_own_rule)
{
    static const struct {
        const char *name;
        double off[3];
        int status;
    } cases
        [] =
            {
                {"mlp_key", {1.9, 1.9, -1.9}, 0}, /* one computation: each within twice the yardstick */
                {"mlp_key", {0, 0, 2.1}, 3},
                {"delta_mlp", {1, 1.9, 9}, 0}, /* what an optimisation leaves: the median, and none far out */
                {"delta_mlp", {1, 1, 11}, 3},
                {"delta_mlp", {3, 3, 1}, 3},
                {"target_mlp", {3, 3, 1}, 3},
                {"target_init_mlp", {3, 0, 0}, 3}, /* before any optimisation: smooth */
                {"steps.loss", {3, 0.1, 0.1}, 0},  /* scalars: the root mean square of the field */
                {"steps.loss", {4, 1, 1}, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int status = judge(cases[i].name, cases[i].off[0], cases[i].off[1], cases[i].off[2]);
        if (!CHECK(status == cases[i].status))
            test_fail(t, "case %zu, %s: exit %d: %s", i, cases[i].name, status, cli_out());
    }
}

/* After 100 seconds 20 of 60 are done, 10 of them by a run before: 40 are left at 10 s each. */
TEST(the_time_that_is_left_counts_what_this_run_has_done)
{
    const struct cli c = {.command = "edit"};
    const char *path = test_path("progress");
    struct progress p;
    size_t n;
    fflush(stderr);
    const int was = dup(STDERR_FILENO), log = open(path, O_WRONLY | O_CREAT, 0666);
    dup2(log, STDERR_FILENO);
    progress_begin(&p, &c, "optimising", "facts");
    progress_update(&p, 10, 60);
    p.started -= 100;
    p.shown -= 100;
    progress_update(&p, 20, 60);
    fflush(stderr);
    dup2(was, STDERR_FILENO);
    close(was);
    close(log);
    char *text = cli_slurp(path, &n);
    CHECK_STR(text, "pmet edit: optimising: 20 of 60 facts  10.0 s each  6:40 left\n");
    free(text);
}

TEST(colour_is_for_those_who_ask)
{
    setenv("NO_COLOR", "1", 1);
    CHECK(cli(NULL, "generate --color never --model nowhere --prompt x") == 1);
    CHECK(!strchr(cli_err(), '\033'));
    CHECK(cli(NULL, "generate --model nowhere --prompt x") == 1);
    CHECK(!strchr(cli_err(), '\033'));
    CHECK(cli(NULL, "generate --color always --model nowhere --prompt x") == 1);
    CHECK(strchr(cli_err(), '\033'));
    unsetenv("NO_COLOR");
}

TEST_MAIN(CASE(every_command_has_its_help), CASE(wrong_usage_is_one_line_and_exit_2),
          CASE(json_is_one_object_and_quiet_is_quiet), CASE(text_is_tokenized_by_lines_and_as_json_and_back),
          CASE(diff_measures_in_each_of_its_ways), CASE(diff_judges_every_kind_by_its_own_rule),
          CASE(a_seed_of_the_command_line_is_the_one_that_draws),
          CASE(the_time_that_is_left_counts_what_this_run_has_done), CASE(colour_is_for_those_who_ask))
