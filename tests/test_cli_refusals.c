/* SPDX-License-Identifier: MIT
 * Inputs that are refused: one line each, exit 1, and nothing left behind. */
#include <jansson.h>
#include <unistd.h>
#include "tests/cli.h"
#include "tests/refusals.h"

#define EDIT_WITH                                                                                            \
    " --model m --facts facts.json --hparams hparams.json --contexts contexts.json --stats s --limit 1 "     \
    "--out "
#define EDIT_OUT(out) "edit -q --force" EDIT_WITH out
#define EDIT_LOUD "edit --threads 1" EDIT_WITH "out"

static char *replace(const char *text, size_t n, const char *from, const char *to, size_t *n_out)
{
    const size_t nf = strlen(from), nt = strlen(to);
    char *at = memmem(text, n, from, nf), *out;
    if (!at)
        return NULL;
    const size_t head = (size_t)(at - text);
    out = malloc(n - nf + nt + 1);
    memcpy(out, text, head);
    memcpy(out + head, to, nt);
    memcpy(out + head + nt, at + nf, n - head - nf);
    *n_out = n - nf + nt;
    return out;
}

static bool is_tensors(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && strcmp(dot, ".safetensors") == 0;
}

static void replace_in(struct test *t, const char *path, const struct damage *d)
{
    size_t n, m = 0;
    char *text = test_slurp(t, path, &n), *out;
    uint64_t len = 0;
    if (is_tensors(path)) {
        memcpy(&len, text, sizeof len);
        char *head = replace(text + 8, (size_t)len, d->from, d->to, &m);
        out = malloc(n + strlen(d->to) + 1);
        if (CHECK(head)) {
            const uint64_t new_len = m;
            memcpy(out, &new_len, 8);
            memcpy(out + 8, head, m);
            memcpy(out + 8 + m, text + 8 + len, n - 8 - (size_t)len);
            m += n - (size_t)len;
        }
        free(head);
    } else {
        out = replace(text, n, d->from, d->to, &m);
        CHECK(out);
    }
    test_write_file(path, out, m);
    free(out);
}

static void inflict(struct test *t, const char *dir, const struct damage *d)
{
    FILE *f;
    uint64_t len = d->n;
    const char *path = test_text(t, "%s/%s", dir, d->file ? d->file : "");
    switch (d->kind) {
    case NOTHING:
        break;
    case REPLACE:
        replace_in(t, path, d);
        break;
    case WRITE:
        test_write_file(path, d->to, strlen(d->to));
        break;
    case REMOVE:
        cli_shell("rm -r %s", path);
        break;
    case CUT:
        CHECK(truncate(path, (off_t)d->n) == 0);
        break;
    case LENGTH:
    case POKE: /* four bytes: a float's NaN, and the end of a double's */
        if (!(f = fopen(path, "r+b")))
            exit(1);
        fseek(f, d->kind == LENGTH ? 0 : -(long)d->n, d->kind == LENGTH ? SEEK_SET : SEEK_END);
        fwrite(d->kind == LENGTH ? (const void *)&len : "\0\0\xf8\x7f", 1, d->kind == LENGTH ? 8 : 4, f);
        fclose(f);
        break;
    }
}

static void check(struct test *t, const struct refusal *r, size_t i)
{
    const char *name = test_text(t, "%zu", i);
    cli_enter(t, name, r->model ? r->model : "gptj-A"); /* so that messages hold short paths */
    for (size_t k = 0; k < 2; k++)
        inflict(t, ".", &r->damage[k]);
    const size_t before = test_count_files(".");
    const int status = cli(NULL, "%s", r->command);
    const size_t after = test_count_files(".");
    const char *expected =
        test_text(t, "pmet %.*s: %s\n", (int)strcspn(r->command, " "), r->command, r->message);
    if (status != 1 || strcmp(cli_err(), expected) != 0 || after != before || cli_out()[0])
        test_fail(t, "%s: exit %d, %zu files more, \"%s\"\n     found    %s     expected %s", r->what, status,
                  after - before, cli_out(), cli_err(), expected);
    t->n_check++;
    cli_leave();
    cli_shell("rm -r %s", test_path("%s", name));
}

TEST(every_refused_input_has_its_line)
{
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        check(t, &refusals[i], i);
    printf("     %zu refusals\n", sizeof refusals / sizeof *refusals);
}

/* It lists what there is, then fails. Without --check it does not look. */
TEST(a_weight_that_is_no_number_is_found_by_check)
{
    static const struct damage nan = {POKE, "m/model.safetensors", NULL, NULL, 4};
    static const char *const what[2] = {"m", "m/model.safetensors"}, *const is[2] = {
                                                                         "NaN; expected a finite number",
                                                                         "nan; expected a number"};
    const char *dir = cli_bench(t, "nan", "gptj-A");
    inflict(t, dir, &nan);
    for (size_t i = 0; i < 2; i++) {
        char expected[200];
        CHECK(cli(NULL, "inspect %s/%s", dir, what[i]) == 0);
        CHECK(cli(NULL, "inspect --check %s/%s", dir, what[i]) == 1);
        snprintf(expected, sizeof expected,
                 "/m/model.safetensors: tensor \"transformer.wte.weight\": element 65535 is %s\n", is[i]);
        CHECK(strstr(cli_err(), expected));
    }
}

TEST(an_output_that_exists_is_left_as_it_is)
{
    cli_enter(t, "exists", "gptj-A");
    cli_shell("mkdir out");
    CHECK(cli(NULL, "%s", EDIT) == 1);
    CHECK_STR(cli_err(), "pmet edit: out: exists; give --force to replace it\n");
    CHECK(cli(NULL, "%s", STATS) == 1);
    CHECK_STR(cli_err(), "pmet stats: out: exists; give --force to replace it\n");
    CHECK(cli(NULL, "%s --force", STATS) == 0); /* an empty folder */
    CHECK(cli(NULL, "%s --force", EDIT) == 0);  /* statistics alone */
    CHECK(cli(NULL, "%s --force", EDIT) == 0);  /* an edited folder */
    CHECK(cli(NULL, "%s --force", STATS) == 0);
}

static const struct {
    const char *what, *setup; /* of the folder out */
    const char *named;        /* in the message */
} foreign[] = {
    {"a thesis and a repository", "mkdir -p out/other/.git && echo years > out/thesis.txt",
     "holds \"other/\" and 1 more"},
    {"a checkpoint", "cp -r m out", "holds \"config.json\" and"},
    {"a note in an edited folder", "cp -r edited out && echo years > out/notes.txt", "holds \"notes.txt\""},
    {"a folder in an edited folder", "cp -r edited out && mkdir out/runs", "holds \"runs/\""},
    {"a link in an edited folder",
     "cp -r edited out && rm out/merges.txt && ln -s ../m/merges.txt out/merges.txt", "holds \"merges.txt\""},
    {"a record that is none", "cp -r edited out && echo '{}' > out/pmet_edit.json",
     "holds \"config.json\" and"},
    {"a note beside statistics", "cp -r s out && echo years > out/README", "holds \"README\""},
    {"published statistics", "mkdir out && : > out/m_float32_mom2_100000.npz",
     "holds \"m_float32_mom2_100000.npz\""},
    {"tensors that are no statistics", "mkdir out && cp m/model.safetensors out/a.safetensors",
     "holds \"a.safetensors\""},
    {"statistics under another name",
     "mkdir out && cp s/transformer.h.1.mlp.fc_out.safetensors out/mine.safetensors",
     "holds \"mine.safetensors\""},
    {"a hidden file", "mkdir out && echo x > out/.hidden", "holds \".hidden\""},
    {"a name that commands the terminal", "mkdir out && touch \"$(printf 'out/\\033[31m')\"",
     "holds \"\\x1b[31m\""},
};

TEST(force_replaces_nothing_that_the_program_has_not_made)
{
    cli_enter(t, "foreign", "gptj-A");
    CHECK(cli(NULL, "%s", EDIT) == 0);
    cli_shell("mv out edited");
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        cli_shell("%s && cp -r out before", foreign[i].setup);
        const char *const lines[] = {EDIT " --force", STATS " --force", EDIT, STATS};
        for (size_t k = 0; k < sizeof lines / sizeof *lines; k++) {
            const int status = cli(NULL, "%s", lines[k]);
            if (!CHECK(status == 1 && strstr(cli_err(), ": out: holds ") &&
                       strstr(cli_err(), foreign[i].named) &&
                       strstr(cli_err(), "not written by pmet, so that it is not replaced")))
                test_fail(t, "%s: exit %d: %s", foreign[i].what, status, cli_err());
            CHECK(system("diff -r --no-dereference out before > /dev/null") == 0);
        }
        cli_shell("rm -r out before");
    }
}

/* An edited folder of an earlier version has no list: then the files of a checkpoint and ours. */
TEST(force_replaces_an_edited_folder_without_a_list_of_its_files)
{
    cli_enter(t, "unlisted", "gptj-A");
    CHECK(cli(NULL, "%s", EDIT) == 0);
    json_t *record = json_load_file("out/pmet_edit.json", 0, NULL);
    CHECK(json_array_size(json_object_get(record, "files")) > 9);
    CHECK(json_object_del(record, "files") == 0 && json_dump_file(record, "out/pmet_edit.json", 0) == 0);
    json_decref(record);
    CHECK(cli(NULL, "%s --force", EDIT) == 0);
}

/* Whatever path it is given by. */
TEST(no_input_is_replaced_under_another_path)
{
    static const struct {
        const char *setup, *line, *message;
    } cases[] = {
        {"ln -s m lm", EDIT_OUT("lm/"), "lm/: is used for"},
        {"true", EDIT_OUT("./m/."), "is used for"},
        {"true", EDIT_OUT("m/../m"), "is used for"},
        {"true", EDIT_OUT("."), "holds m, used for"},
        {"true", EDIT_OUT(".."), "holds m, used for"},
        {"ln -s . here", EDIT_OUT("here/m"), "is used for"},
        {"ln -s m lm", EDIT_OUT("lm/new"), "lies inside m, used for"},
        {"true", EDIT_OUT("s"), "is used for"},
        {"mkdir in && mv facts.json in && ln -s in/facts.json facts.json", EDIT_OUT("in"),
         "holds facts.json, used for"},
        {"mkdir w && cp -r s w/s && rm -r s && ln -s w/s s", EDIT_OUT("w"), "holds s, used for"},
        {"mkdir w && mv m/model.safetensors w && ln -s ../w/model.safetensors m/model.safetensors",
         EDIT_OUT("w"), "holds what m/model.safetensors links to, used for"},
        {"ln facts.json hard", EDIT_OUT("out") " --trace hard", "hard: is used for"},
        {"ln prompts.json hard", "trace -q --model m --prompts prompts.json --out hard --force",
         "hard: is used for --prompts"},
        {"mkdir w && touch w/x", EDIT_OUT("w/.."), "holds m, used for"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *name = test_text(t, "path%zu", i);
        cli_enter(t, name, "gptj-A");
        cli_shell("%s && cp -a . ../before%zu", cases[i].setup, i);
        const int status = cli(NULL, "%s", cases[i].line);
        if (!CHECK(status == 1 && strstr(cli_err(), cases[i].message)))
            test_fail(t, "%s: exit %d: %s", cases[i].line, status, cli_err());
        CHECK(system(test_text(t, "diff -r --no-dereference . ../before%zu > /dev/null", i)) == 0);
        cli_leave();
        cli_shell("rm -r %s %s/before%zu", test_path("%s", name), test_tmpdir(), i);
    }
}

/* A trace over an earlier trace is what one does; over anything else it needs force, and a pipe or a
 * device is never replaced. */
TEST(a_file_of_another_kind_is_not_overwritten_unasked)
{
    static const char trace[] = "trace -q --threads 1 --model m --prompts prompts.json --out ";
    cli_enter(t, "kinds", "gptj-A");
    CHECK(cli(NULL, "%st", trace) == 0 && cli(NULL, "%st", trace) == 0);
    static const struct {
        const char *path, *message;
        bool force_helps;
    } other[] = {
        {"facts.txt", "facts.txt: exists, and is no earlier trace; give --force to replace it\n", true},
        {"copy.safetensors",
         "copy.safetensors: exists, and is no earlier trace; give --force to replace it\n", true},
        {"s", "s: found a folder; expected the name of a file of its own\n", false},
        {"/dev/null",
         "/dev/null: found a pipe or a device, which is never replaced; expected the name of a file of "
         "its own\n",
         false},
        {"fifo",
         "fifo: found a pipe or a device, which is never replaced; expected the name of a file of its own\n",
         false},
        {"/dev/stdout",
         "/dev/stdout: found a file that is open as a standard one; expected the name of a file of its "
         "own\n",
         false},
        {"nowhere", "nowhere: found a link to nothing; expected a file or a free name\n", false},
    };
    cli_shell("cp facts.json facts.txt && cp m/model.safetensors copy.safetensors && mkfifo fifo && "
              "ln -s gone nowhere");
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        for (int force = 0; force < 2; force++) {
            const int status = cli(NULL, "%s%s%s", trace, other[i].path, force ? " --force" : "");
            if (force && other[i].force_helps) {
                CHECK(status == 0);
                continue;
            }
            CHECK_STR(cli_err(), test_text(t, "pmet trace: %s", other[i].message));
            CHECK(status == 1);
        }
    CHECK(cli(NULL, "eval -q --model m --facts facts.json --limit 1 --out fifo --force") == 1);
    CHECK(strstr(cli_err(), "fifo: found a pipe or a device"));
    CHECK(cli(NULL, "eval -q --model m --facts facts.json --limit 1 --out prompts.json") == 1);
    CHECK(strstr(cli_err(), "prompts.json: exists; give --force to replace it\n"));
    CHECK(cli(NULL, "%s --trace prompts.json", EDIT) == 1);
    CHECK(strstr(cli_err(), "prompts.json: exists, and is no earlier trace; give --force"));
    CHECK(cli(NULL, "%s --trace prompts.json", STATS) == 1);
    CHECK(strstr(cli_err(), "prompts.json: exists, and is no earlier trace; give --force"));
    CHECK(access("out", F_OK) != 0);
}

/* The temporary files of single outputs, too. */
TEST(what_a_killed_run_left_of_a_single_output_is_cleared_and_named)
{
    cli_enter(t, "single", "gptj-A");
    static const char *const lines[] = {
        "trace --threads 1 --model m --prompts prompts.json --out t", EDIT_LOUD " --trace t",
        "stats --threads 1 --model m --text text.jsonl --hparams hparams.json --samples 2 --out o2 --trace t",
        "eval --threads 1 --model m --facts facts.json --limit 1 --out t"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        cli_shell("rm -f t; echo half > t.pmet-tmp-999999999-4");
        CHECK(cli(NULL, "%s", lines[i]) == 0);
        if (!CHECK(strstr(cli_err(), ": t.pmet-tmp-999999999-4: left by a run that was killed; removed\n")))
            test_fail(t, "%s: %s", lines[i], cli_err());
        CHECK(access("t.pmet-tmp-999999999-4", F_OK) != 0);
    }
}
