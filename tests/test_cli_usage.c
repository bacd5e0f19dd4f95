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
        const char *start = test_text(t, "Usage: pmet %s ", commands[i]);
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
        const char *line, *message; /* between "pmet COMMAND: " and "; see pmet COMMAND --help" */
    } wrong[] = {
        {"", "a command is missing"},
        {"edti", "edti: no such command; did you mean edit?"},
        {"frobnicate", "frobnicate: no such command"},
        {"--model m", "--model: found an option; expected a command first"},
        {"help edti", "edti: no such command; did you mean edit?"},
        {"edit", "--model DIR is missing"},
        {"edit --model m --facts f --stats s", "--out DIR is missing"},
        {"edit --model m --facts f --out o", "--stats DIR is missing"},
        {"edit --model", "--model: an argument is missing; expected DIR"},
        {"edit --modle m", "--modle: no such option; did you mean --model?"},
        {"edit --hpramas=x", "--hpramas: no such option; did you mean --hparams?"},
        {"edit --frobnicate", "--frobnicate: no such option"},
        {"edit --s 1", "--s: short for more than one option, such as --stats"},
        {"edit -\xc3\xa9", "-\\xc3: no such option"},
        {"edit --memory 0x10", "--memory: found \"0x10\"; expected a size such as 800M or 16G"},
        {"edit --model m --facts f --stats s --out o --trace-facts 3", "--trace-facts 3: needs --trace"},
        {"edit -x", "-x: no such option"},
        {"edit --model ''", "--model: found nothing; expected DIR"},
        {"edit --limit three", "--limit: found \"three\"; expected a whole number"},
        {"edit --limit -1", "--limit: found \"-1\"; expected a whole number"},
        {"edit --limit 99999999999999999999",
         "--limit: found \"99999999999999999999\"; expected a whole number"},
        {"edit --ridge -1", "--ridge: found \"-1\"; expected a number not below 0"},
        {"edit --ridge nan", "--ridge: found \"nan\"; expected a number not below 0"},
        {"edit --memory 3X", "--memory: found \"3X\"; expected a size such as 800M or 16G"},
        {"edit --solver lu", "--solver: found \"lu\"; expected auto|cholesky|cg"},
        {"edit --strict=yes", "--strict=yes: takes no argument"},
        {"edit --model m --facts f --stats s --out o --show 2", "--show 2: needs --dry-run"},
        {"edit --model m --facts f --stats s --out o more", "more: one argument too many"},
        {"generate --model m", "--prompt TEXT is missing"},
        {"generate --model m --prompt x --top-k 0", "--top-k: found 0; expected at least 1"},
        {"generate --device tpu", "--device: found \"tpu\"; expected auto|plain|cpu|cuda"},
        {"edit --model m --facts f --stats s --out o --half-activations",
         "--half-activations: needs --device cuda"},
        {"trace --model m --prompts p --out o --device cpu --tf32", "--tf32: needs --device cuda"},
        {"eval --model m --facts f --device cuda --tf32 --half-activations",
         "--half-activations and --tf32: found both; expected one"},
        {"tokenize --model m --tf32", "--tf32: no such option"},
        {"trace --model m --seed 3", "--seed: no such option"},
        {"inspect m --threads 2", "--threads: no such option"},
        {"tokenize --model m a b", "b: one argument too many"},
        {"diff a", "B is missing"},
        {"inspect", "PATH is missing"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const int status = cli(NULL, "%s", wrong[i].line);
        const char *command = "";
        for (size_t k = 0; k < sizeof commands / sizeof *commands; k++)
            if (strncmp(wrong[i].line, commands[k], strlen(commands[k])) == 0)
                command = test_text(t, " %s", commands[k]);
        CHECK_STR(cli_err(), test_text(t, "pmet%s: %s%s see pmet%s --help\n", command, wrong[i].message,
                                       strchr(wrong[i].message, '?') ? "" : ";", command));
        if (status != 2 || cli_out()[0])
            test_fail(t, "\"%s\": exit %d, \"%s\"", wrong[i].line, status, cli_out());
    }
}

static json_t *one_object(struct test *t)
{
    json_t *v = json_loads(cli_out(), JSON_REJECT_DUPLICATES, NULL);
    CHECK(json_is_object(v));
    return test_json(t, v);
}

TEST(json_is_one_object_and_quiet_is_quiet)
{
    cli_enter(t, "json", "gptj-A");
    CHECK(cli(NULL, "stats -q --json --model m --text text.jsonl --hparams hparams.json --out out") == 0);
    json_t *v = one_object(t);
    CHECK(json_is_number(json_object_get(json_object_get(v, "seconds"), "stats")));
    CHECK(json_integer_value(json_object_get(v, "used")) == 4);
    CHECK_STR(json_string_value(json_object_get(json_array_get(json_object_get(v, "texts"), 0), "form")),
              "JSON lines of records");
    CHECK_STR(cli_err(), "");
    CHECK(cli(NULL, "generate -q --json --model m --prompt Egypt --prompt 'The capital' --max-tokens 3") ==
          0);
    v = one_object(t);
    CHECK(json_array_size(json_object_get(v, "results")) == 2);
    CHECK_STR(cli_err(), "");
    CHECK(cli(NULL, "edit -q --json --model m --facts facts.json --hparams hparams.json --contexts "
                    "contexts.json --stats s --limit 2 --out edited") == 0);
    v = one_object(t);
    static const char *const stages[] = {"load", "stats", "delta", "keys", "solve", "write"};
    for (size_t i = 0; i < 6; i++)
        CHECK(json_number_value(json_object_get(json_object_get(v, "seconds"), stages[i])) > 0);
    CHECK(json_integer_value(json_object_get(v, "peak_memory_bytes")) > 0);
    CHECK(json_integer_value(json_object_get(v, "facts")) == 2);
    CHECK_STR(cli_err(), "");
}

TEST(text_is_tokenized_by_lines_and_as_json_and_back)
{
    static const char lines[] = "The capital of France\n\n  caf\xc3\xa9 \t x\n";
    cli_enter(t, "text", "neox-A");
    test_write_text("lines", lines);
    CHECK(cli(NULL, "tokenize --model m lines") == 0);
    const char *ids = test_text(t, "%s", cli_out());
    CHECK(strstr(ids, "\n\n"));
    test_write_text("ids", ids);
    CHECK(cli(NULL, "tokenize --decode --model m ids") == 0);
    CHECK_STR(cli_out(), lines);
    test_write_file("strings.json", "[\"a\\nb\", \"\"]", 12);
    CHECK(cli(NULL, "tokenize --json --model m strings.json") == 0);
    test_write_text("ids.json", cli_out());
    CHECK(cli(NULL, "tokenize --json --decode --model m ids.json") == 0);
    CHECK_STR(cli_out(), "[\"a\\nb\",\"\"]\n");
}

/* As Windows writes them: byte order marks, CR LF, blank lines at the end. */
TEST(text_of_windows_gives_the_ids_of_the_same_text_without_its_marks)
{
    static const char plain[] = "The man\n\n caf\xc3\xa9 x\na\rb\n";
    static const char windows[] = "\xef\xbb\xbfThe man\r\n\r\n\xef\xbb\xbf caf\xc3\xa9 x\r\r\na\rb\r";
    cli_enter(t, "windows", "gptj-A");
    test_write_text("plain", plain);
    test_write_text("windows", windows);
    CHECK(cli(NULL, "tokenize --model m plain") == 0);
    const char *ids = test_text(t, "%s", cli_out());
    CHECK(cli(NULL, "tokenize --model m windows") == 0);
    CHECK_STR(cli_out(), ids);
    test_write_text("ids", test_text(t, "\xef\xbb\xbf%.*s\r\n", (int)strcspn(ids, "\n"), ids));
    CHECK(cli(NULL, "tokenize --decode --model m ids") == 0);
    CHECK_STR(cli_out(), "The man\n");
    test_write_text("strings.json", "\xef\xbb\xbf[\"The man\"]\r\n");
    CHECK(cli(NULL, "tokenize --json --model m strings.json") == 0);
    test_write_file("utf16", "\xff\xfeT\0h\0", 6);
    CHECK(cli(NULL, "tokenize --model m utf16") == 1);
    CHECK_STR(cli_err(),
              "pmet tokenize: utf16: begins as UTF-16; expected UTF-8: convert it with iconv -f UTF-16 "
              "-t UTF-8\n");
    CHECK(cli(NULL, "generate -q --model m --max-tokens 2 --prompt 'The man'") == 0);
    const char *text = test_text(t, "%s", cli_out());
    CHECK(cli(NULL, "generate -q --model m --max-tokens 2 --prompt '\xef\xbb\xbfThe man\r'") == 0);
    CHECK_STR(cli_out(), text);
}

TEST(prompts_of_windows_are_the_prompts_without_marks_and_blank_lines)
{
    cli_enter(t, "prompts", "gptj-A");
    test_write_text("plain.json", "[\"The man\", \" is a \"]");
    test_write_text("plain.txt", "The man\n is a \n");
    test_write_text("windows.txt", "\xef\xbb\xbfThe man\r\n\r\n is a \r\n \t\r\n\r\n");
    test_write_text("windows.json", "\xef\xbb\xbf\r\n[\"The man\",\r\n \" is a \"]\r\n");
    static const char *const file[] = {"plain.json", "plain.txt", "windows.txt", "windows.json"};
    for (size_t i = 0; i < 4; i++) {
        CHECK(cli(NULL, "trace -q --model m --prompts %s --out %zu.safetensors", file[i], i) == 0);
        CHECK(test_same_file(t, "0.safetensors", test_text(t, "%zu.safetensors", i)));
    }
    test_write_text("latin.txt", "The man\ncaf\xe9\n");
    CHECK(cli(NULL, "trace -q --model m --prompts latin.txt --out x.safetensors") == 1);
    CHECK_STR(cli_err(), "pmet trace: latin.txt: line 2: found byte 0xe9; expected text in UTF-8\n");
}

/* Adds to one element of a tensor of floats in a safetensors file. */
static void add_to_element(const char *path, const char *name, size_t i, float x)
{
    size_t n;
    uint64_t n_header;
    json_error_t e;
    float value;
    char *file = cli_slurp(path, &n);
    memcpy(&n_header, file, 8);
    json_t *header = json_loadb(file + 8, n_header, 0, &e);
    const json_t *at = json_object_get(json_object_get(header, name), "data_offsets");
    char *element = file + 8 + n_header + json_integer_value(json_array_get(at, 0)) + 4 * i;
    memcpy(&value, element, 4);
    value += x;
    memcpy(element, &value, 4);
    test_write_file(path, file, n);
    json_decref(header);
    free(file);
}

/* Row 1010 of the head has no token (they end at 999): where the model chooses it, it gives no text,
 * as in transformers, and no run ends because of it. */
TEST(a_row_without_a_token_ends_no_run)
{
    cli_enter(t, "padding", "gptj-A");
    add_to_element("m/model.safetensors", "lm_head.bias", 1010, 1000);
    CHECK(cli(NULL, "generate -q --model m --max-tokens 3 --prompt 'The man'") == 0);
    CHECK_STR(cli_out(), "The man\n");
    CHECK(cli(NULL, "generate -q --json --model m --max-tokens 2 --prompt 'The man'") == 0);
    CHECK(strstr(cli_out(), "1010,\n    1010\n"));
    CHECK(cli(NULL, "eval -q --model m --facts facts.json --limit 1 --generate 1 --out e.jsonl") == 0);
    CHECK(cli(NULL, "stats -q --model m --text text.jsonl --hparams hparams.json --out own") == 0);
    CHECK(cli(NULL,
              "edit -q --model m --facts facts.json --hparams hparams.json --stats own --limit 1 --ridge 1 "
              "--out out") == 0); /* contexts are written by the model */
    test_write_text("ids", "281 1010 527\n");
    CHECK(cli(NULL, "tokenize --decode --model m ids") == 0);
    test_write_text("ids", "281 1024\n");
    CHECK(cli(NULL, "tokenize --decode --model m ids") == 1);
    CHECK_STR(cli_err(), "pmet tokenize: ids: line 1: found token id 1024; expected 0 to 1023\n");
}

/* Two files of golden/gptj-A. */
static int diff(const char *a, const char *b, const char *options)
{
    return cli(NULL, "diff golden/gptj-A/%s.safetensors golden/gptj-A/%s.safetensors %s", a, b, options);
}

TEST(diff_measures_in_each_of_its_ways)
{
    static const char yardstick[] = "--yardstick golden/gptj-A/forward.fp32.safetensors";
    CHECK(diff("forward.fp32", "forward.fp32", "") == 0);
    CHECK(diff("forward.fp32", "forward.fp64", "") == 3);
    CHECK(diff("forward.fp32", "forward.fp64", "--rtol 1e-3 --atol 1e-4") == 0);
    CHECK(diff("forward.fp32", "forward.fp64", "--rtol 1e-9") == 3);
    CHECK(diff("forward.fp32", "forward.fp64", yardstick) == 0);
    CHECK(diff("forward.fp32", "forward.fp64", test_text(t, "%s --ratio 0.9", yardstick)) == 3);
    CHECK(diff("forward.fp32", "keys.fp64", "") == 3);
    CHECK(diff("forward.fp32", "forward.fp32", "--require row0.logits") == 0);
    CHECK(diff("forward.fp32", "forward.fp32", "--require row9.logits") == 3);
    CHECK(diff("forward.fp32", "../neox-C/forward.fp32", "--atol 1e9") == 3);
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

/* One number in each of three tensors NAME of a kind, off from 1 by the multiples given of the
 * yardstick. */
static int compare(const char *name, double a, double b, double c)
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
            tensors[f][i] = test_tensor(names[i], PMET_F64, 1, 0, f == 0 ? &ours[i] : f == 1 ? &one : &yard);
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
        const int status = compare(cases[i].name, cases[i].off[0], cases[i].off[1], cases[i].off[2]);
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
    char *text = test_slurp(t, path, &n);
    CHECK_STR(text, "pmet edit: optimising: 20 of 60 facts  10.0 s each  6:40 left\n");
}

/* The first line printed may be flushed on its own, or many pages before the end: the cause is the
 * first failure's. */
TEST(a_write_that_fails_names_its_cause_whatever_is_printed)
{
    static const char *const lines[] = {
        "--version",
        "--help",
        "help",
        "edit --help",
        "generate -q --threads 1 --model m --prompt Egypt --max-tokens 1",
        "generate -q --threads 1 --model m --prompt Egypt --prompt Peru --max-tokens 1",
        "generate -q --threads 1 --model m --prompt Egypt --max-tokens 1 --json",
        "tokenize --model m long.txt",
        "tokenize --model m text.jsonl",
        "tokenize --model m --json strings.json",
        "inspect m",
        "inspect --check m/model.safetensors",
        "inspect s",
        "diff -v m/model.safetensors m/model.safetensors",
        "edit -q --threads 1 --model m --facts facts.json --hparams hparams.json --contexts contexts.json "
        "--limit 1 --dry-run --show 1",
        "edit -q --threads 1 --model m --facts facts.json --hparams hparams.json --contexts contexts.json "
        "--limit 1 --dry-run --json",
        "edit -q --threads 1 --model m --facts facts.json --hparams hparams.json --contexts contexts.json "
        "--limit 1 --stats s --out out --trace trace",
        "edit -q --threads 1 --model m --facts facts.json --hparams hparams.json --contexts contexts.json "
        "--limit 1 --stats s --out out --json --force",
        "stats -q --threads 1 --model m --text text.jsonl --hparams hparams.json --samples 2 --out o2",
        "stats -q --threads 1 --model m --text text.jsonl --hparams hparams.json --samples 2 --out o3 --json",
        "eval -q --threads 1 --model m --facts facts.json --limit 1",
        "eval -q --threads 1 --model m --facts facts.json --limit 1 --json",
        "trace -q --threads 1 --model m --prompts prompts.json --out t",
    };
    static const struct {
        const char *to, *message;
    } ends[] = {{"/dev/full", "pmet: standard output: No space left on device\n"},
                {"", "pmet: standard output: Bad file descriptor\n"}};
    cli_enter(t, "full", "gptj-A");
    cli_shell("for i in 1 2 3 4 5 6 7 8; do cat text.jsonl; done > long.txt; echo '[\"a\"]' > strings.json");
    for (size_t e = 0; e < 2; e++)
        for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
            cli_stdout = ends[e].to;
            const int status = cli(NULL, "%s", lines[i]);
            cli_stdout = NULL;
            if (status != 1 || strcmp(cli_err(), ends[e].message) != 0)
                test_fail(t, "%s > %s: exit %d: %s", lines[i], ends[e].to, status, cli_err());
            t->n_check++;
            cli_shell("rm -rf out o2 o3 t trace");
        }
}

/* SPEC §3.7: a warning always, a note unless --quiet; names with control characters escaped. */
TEST(what_opening_a_model_passed_over_is_said)
{
    static const char warning[] = "warning: m/config.json: rotary_dims is no key of a gptj model and is "
                                  "passed over; did you mean rotary_dim?";
    static const char *const lines[] = {"generate --model m --prompt x --max-tokens 1",
                                        "trace --model m --prompts prompts.json --out t --force", "inspect m",
                                        "eval --model m --facts facts.json --limit 1"};
    cli_enter(t, "passed-over", "gptj-A");
    cli_shell("sed -i 's/{/{\"rotary_dims\": 4, \"left\\\\u001bover\": 1,/' m/config.json");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        const int n = (int)strcspn(lines[i], " ");
        const char *first = test_text(t, "pmet %.*s: %s\n", n, lines[i], warning),
                   *both = test_text(t,
                                     "%spmet %.*s: m/config.json: no keys of a gptj model, passed over: "
                                     "left\\x1bover\n",
                                     first, n, lines[i]);
        CHECK(cli(NULL, "%s", lines[i]) == 0);
        CHECK(strncmp(cli_err(), both, strlen(both)) == 0);
        CHECK(cli(NULL, "%s -q", lines[i]) == 0);
        CHECK_STR(cli_err(), first);
    }
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

/* A note names each file's form, as it is opened; the result names the forms, also when --quiet. */
TEST(the_form_of_a_text_is_named)
{
    cli_enter(t, "forms", "gptj-A");
    cli_shell("printf '[\"one\",\\n \"two\"]' > a.json; printf 'one\\n\\ntwo\\n' | gzip > b.txt.gz");
    CHECK(cli(NULL, "stats --model m --text a.json --text b.txt.gz --layers 0 --out out") == 0);
    CHECK(strstr(cli_err(), "pmet stats: a.json: JSON array of strings, 2 documents\n"
                            "pmet stats: b.txt.gz: plain text, gzip, 2 documents\n"));
    CHECK(strstr(cli_out(), " documents (of 4: JSON array of strings, plain text)\n"));
    CHECK(cli(NULL, "stats -q --model m --text a.json --layers 0 --out other") == 0);
    CHECK(strstr(cli_out(), " documents (of 2: JSON array of strings)\n"));
    CHECK_STR(cli_err(), "");
}

static FILE *taken;

static int open_and_take(void *user, const char *path, int flags, unsigned mode)
{
    taken = stdout;
    return pmet_io_system()->open(user, path, flags, mode);
}

/* As a C++ library does that a command loads: it flushes at the end of the process what was stdout
 * then. (The address sanitizer tells.) */
TEST(the_commands_standard_output_outlives_it)
{
    struct pmet_io io = *pmet_io_system();
    const FILE *first = NULL;
    io.open = open_and_take;
    for (int run = 0; run < 2; run++) {
        CHECK(cli(&io, "tokenize --model golden/gptj-A/model --json golden/gptj-A/forward_prompts.json") ==
              0);
        CHECK(cli_out()[0] == '[' && taken && taken != stdout && *(const volatile char *)taken != 'x');
        CHECK(fflush(taken) == 0 && (!first || taken == first));
        first = taken;
    }
}
