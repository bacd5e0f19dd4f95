/* SPDX-License-Identifier: MIT
 * Inputs that are refused: one line each, exit 1, and nothing left behind. */
#include <unistd.h>
#include "tests/cli.h"
#include "tests/refusals.h"

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
    cli_shell("mkdir out && echo mine > out/file");
    CHECK(cli(NULL, "%s", EDIT) == 1);
    CHECK_STR(cli_err(), "pmet edit: out: exists; give --force to replace it\n");
    CHECK(cli(NULL, "%s", STATS) == 1);
    CHECK_STR(cli_err(), "pmet stats: out: exists; give --force to replace it\n");
    cli_shell("test \"$(cat out/file)\" = mine");
    CHECK(cli(NULL, "%s --force", STATS) == 0);
    cli_shell("test ! -e out/file");
}
