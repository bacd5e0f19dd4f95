/* SPDX-License-Identifier: MIT
 * Text of files, names and paths on the terminal: readable, and without effect on it. */
#include <fcntl.h>
#include <jansson.h>
#include <unistd.h>
#include "tensors/safetensors.h"
#include "tensors/text.h"
#include "tests/cli.h"

/* A red title, a C1 control sequence, a direction turned round, a byte that is no UTF-8; then text. */
#define HOSTILE                                                                                              \
    "\x1b]0;owned\x07\x1b[31m\xc2\x9b"                                                                       \
    "2J\xe2\x80\xae\x7f\xe6\x9d\xb1"
#define SHOWN "\\x1b]0;owned\\x07\\x1b[31m\\u009b2J\\u202e\\x7f\xe6\x9d\xb1"

TEST(text_is_escaped_where_it_would_do_more_than_be_read)
{
    static const struct {
        const char *text, *shown;
    } cases[] = {
        {"", ""},
        {"plain ~ text", "plain ~ text"},
        {"caf\xc3\xa9 \xe6\x9d\xb1\xe4\xba\xac \xf0\x9f\x98\x80 \xd9\x85\xe2\x80\x8c\xd8\xa7",
         "caf\xc3\xa9 \xe6\x9d\xb1\xe4\xba\xac \xf0\x9f\x98\x80 \xd9\x85\xe2\x80\x8c\xd8\xa7"},
        {HOSTILE, SHOWN},
        {"a\tb\r\nc\x01", "a\\tb\\r\\nc\\x01"},
        {"C:\\new", "C:\\new"},
        {"\xff\xfe\xc0\x80\xed\xa0\x80", "\\xff\\xfe\\xc0\\x80\\xed\\xa0\\x80"},
        {"cut \xe6\x9d", "cut \\xe6\\x9d"},
        {"\xe2\x81\xa6isolated\xe2\x81\xa9\xe2\x80\xa8line\xef\xbb\xbf\xf3\xa0\x81\x81",
         "\\u2066isolated\\u2069\\u2028line\\ufeff\\U000e0041"},
    };
    char out[200];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t n = pmet_escape(out, sizeof out, cases[i].text, strlen(cases[i].text));
        CHECK_STR(out, cases[i].shown);
        CHECK(n == strlen(cases[i].shown));
    }
    CHECK(pmet_escape(out, sizeof out, "a\0b", 3) == 6);
    CHECK_STR(out, "a\\x00b");
    for (size_t size = 0; size < 12; size++) { /* never past its end, never half a character */
        memset(out, 'X', sizeof out);
        const size_t n = pmet_escape(out, size, "\xe6\x9d\xb1\x1b\xe6\x9d\xb1", 7);
        CHECK(size == 0 || (n < size && out[n] == '\0' && (n == 0 || n == 3 || n == 7 || n == 10)));
        CHECK(out[size] == 'X');
    }
}

/* The whole output: lines of what people read. */
static bool is_harmless(const char *text)
{
    char shown[16];
    for (size_t i = 0, n = strlen(text), len; i < n; i += len) {
        int32_t c;
        len = pmet_utf8_next(text + i, n - i, &c);
        if (c != '\n' &&
            (pmet_escape(shown, sizeof shown, text + i, len) != len || memcmp(shown, text + i, len) != 0))
            return false;
    }
    return true;
}

static void check_shown(struct test *t, const char *line, int status, const char *part)
{
    const int found = cli(NULL, "%s", line);
    const char *both = test_text(t, "%s%s", cli_out(), cli_err());
    if (found != status || !is_harmless(both) || !strstr(both, part))
        test_fail(t, "%s: exit %d: %s", line, found, both);
    t->n_check++;
}

static void write_tensors(struct test *t, const char *path, float value)
{
    const struct pmet_tensor tensor = test_tensor(HOSTILE, PMET_F32, 1, 0, &value);
    const struct pmet_pair meta = {"key" HOSTILE, "value" HOSTILE};
    CHECK_DONE(pmet_safetensors_write(pmet_io_system(), path, &tensor, 1, &meta, 1, &t->err));
}

TEST(names_of_tensors_and_their_metadata_do_nothing_to_the_terminal)
{
    cli_enter(t, "tensors", "gptj-A");
    write_tensors(t, "a.safetensors", 1);
    write_tensors(t, "b.safetensors", 2);
    check_shown(t, "inspect a.safetensors", 0, "F32   " SHOWN " [1]\n");
    check_shown(t, "inspect a.safetensors", 0, "metadata key" SHOWN ": value" SHOWN "\n");
    check_shown(t, "diff a.safetensors b.safetensors", 3, "beyond " SHOWN ": L2 ");
    check_shown(t, "diff a.safetensors a.safetensors -v", 0, "within " SHOWN ": L2 ");
    check_shown(t, "diff a.safetensors a.safetensors --require '" HOSTILE "x'", 3, "missing " SHOWN "x");
    write_tensors(t, "nan.safetensors", 0.0f / (1 - (float)(cli_out()[0] != 0)));
    check_shown(t, "inspect --check nan.safetensors", 1, "tensor \"" SHOWN "\": element 0 is ");
}

#define FACT(prompt) "[{\"prompt\":\"" prompt "\",\"subject\":\"" JSON "\",\"target_new\":\"Lima\"}]"
#define JSON                                                                                                 \
    "\\u001b]0;owned\\u0007\\u001b[31m\xc2\x9b"                                                              \
    "2J\xe2\x80\xae\x7f\xe6\x9d\xb1"

TEST(subjects_and_prompts_do_nothing_to_the_terminal)
{
    static const char edit[] = "edit --threads 1 --model m --hparams hparams.json --contexts contexts.json ";
    cli_enter(t, "facts", "gptj-A");
    test_write_text("hostile.json", FACT("{} is\\u001b[2J in"));
    test_write_text("bad.json", FACT("It is in"));
    check_shown(t, test_text(t, "%s --facts hostile.json --dry-run --show 1", edit), 0,
                "\"{} is\\x1b[2J in\", subject \"" SHOWN "\"");
    check_shown(t, test_text(t, "%s --facts bad.json --dry-run", edit), 1,
                "the subject \"" SHOWN "\" 0 times");
    check_shown(t, test_text(t, "%s --facts hostile.json --stats s --out out", edit), 0, "  " SHOWN ": Lima");
    CHECK(cli(NULL, "%s -q --facts hostile.json --stats s --out out --force --json", edit) == 0);
    json_t *v = test_json(t, json_loads(cli_out(), 0, NULL)); /* exact */
    const json_t *fact = json_array_get(json_object_get(v, "facts_detail"), 0);
    CHECK_STR(json_string_value(json_object_get(fact, "subject")), HOSTILE);
}

TEST(paths_and_words_of_the_command_line_do_nothing_to_the_terminal)
{
    cli_enter(t, "paths", "gptj-A");
    CHECK(rename("m", "m" HOSTILE) == 0 && rename("s", "s" HOSTILE) == 0);
    check_shown(t, "inspect 'm" HOSTILE "'", 0, "m" SHOWN ": gptj\n");
    check_shown(t, "inspect 's" HOSTILE "' --check", 0, "s" SHOWN ": ");
    check_shown(t, "inspect '" HOSTILE "'", 1, SHOWN ": open: No such file");
    check_shown(t, "generate --prompt x --model '" HOSTILE "'", 1, SHOWN "/config.json: open: No such file");
    check_shown(t, "edit --limit '" HOSTILE "'", 2, "found \"" SHOWN "\"");
    check_shown(t, "edit '--x" HOSTILE "'", 2, SHOWN ": no such option");
    check_shown(t, "'" HOSTILE "'", 2, SHOWN ": no such command");
    check_shown(t, "trace --threads 1 --model 'm" HOSTILE "' --prompts prompts.json --out 'o" HOSTILE "'", 0,
                "o" SHOWN ": ");
    check_shown(t,
                "eval --threads 1 --model 'm" HOSTILE "' --facts facts.json --limit 1 --out 'e" HOSTILE "'",
                0, "e" SHOWN ": 1 records");
    check_shown(t,
                "stats --threads 1 --model 'm" HOSTILE
                "' --text text.jsonl --hparams hparams.json --out 'x" HOSTILE "\xff'",
                0, "x" SHOWN "\\xff: second moments");
    check_shown(t,
                "stats -q --threads 1 --json --model 'm" HOSTILE
                "' --text text.jsonl --hparams hparams.json --out "
                "'x\xff'",
                0, "\"out\": \"x\\\\xff\"");
}

/* A terminal of our own: what is printed to it. */
static const char *on_terminal(struct test *t, const char *line)
{
    static char text[4096];
    const int master = posix_openpt(O_RDWR | O_NOCTTY);
    ssize_t n = 0;
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) {
        test_skip(t, "no pseudo-terminal");
        return NULL;
    }
    const char *name = ptsname(master);
    const int slave = open(name, O_RDWR | O_NOCTTY); /* it stays while the other end reads */
    cli_stdout = name;
    CHECK(cli(NULL, "%s", line) == 0);
    cli_stdout = NULL;
    n = read(master, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    close(slave);
    close(master);
    return text;
}

/* What a model writes is exact in a file and a pipe; to a terminal it is no command. */
TEST(generated_text_is_exact_but_on_a_terminal)
{
    static const char line[] = "generate -q --threads 1 --model m --prompt '" HOSTILE "' --max-tokens 1";
    cli_enter(t, "generated", "gptj-A");
    CHECK(cli(NULL, line) == 0);
    CHECK(strncmp(cli_out(), HOSTILE, strlen(HOSTILE)) == 0);
    const char *seen = on_terminal(t, line);
    CHECK(!seen || strncmp(seen, SHOWN, strlen(SHOWN)) == 0);
    test_write_text("text", HOSTILE "\n");
    CHECK(cli(NULL, "tokenize --model m text") == 0);
    test_write_text("ids", cli_out());
    CHECK(cli(NULL, "tokenize --decode --model m ids") == 0);
    CHECK_STR(cli_out(), HOSTILE "\n");
    seen = on_terminal(t, "tokenize --decode --model m ids");
    CHECK(!seen || strncmp(seen, SHOWN, strlen(SHOWN)) == 0);
}
