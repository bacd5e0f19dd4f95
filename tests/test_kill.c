/* SPDX-License-Identifier: MIT
 * kill -9 at any call: the output is whole or absent, and the same command then does its work.
 * PMET_LONG=1: every call. */
#include <unistd.h>
#include "tests/blow.h"
#include "tests/cli.h"

#define FILES "--threads 1 --model m --hparams hparams.json --out out"

static void sweep(struct test *t, const char *name, const char *line)
{
    const char *all = getenv("PMET_LONG");
    const size_t step = all && *all && strcmp(all, "0") != 0 ? 1 : 9;
    char here[4096];
    size_t n_killed = 0, n_whole = 0, n_left = 0, n_said = 0;
    const char *dir = cli_bench(t, name, "gptj-C");
    if (!getcwd(here, sizeof here) || chdir(dir) != 0)
        exit(1);
    CHECK(cli(NULL, "%s", line) == 0);
    cli_shell("mv out reference");
    for (size_t k = 0; blow_kills(t, line, k); k += step) {
        n_killed++;
        if (access("out", F_OK) == 0) {
            n_whole++;
            CHECK(system("diff -r out reference > /dev/null") == 0);
        }
        cli_shell("rm -rf out"); /* what was left under a temporary name is the next run's to remove */
        n_left += system("ls | grep -q '^out.pmet-tmp-'") == 0;
        if (!CHECK(cli(NULL, "%s", line) == 0))
            test_fail(t, "after call %zu: %s", k, cli_err());
        n_said += strstr(cli_err(), ": left by a run that was killed; removed\n") != NULL;
        CHECK(system("ls | grep -q '^out.pmet-tmp-'") != 0);
        CHECK(system("diff -r out reference > /dev/null") == 0);
        cli_shell("rm -r out");
    }
    printf("     %s: killed %zu times, the output was whole %zu times\n", name, n_killed, n_whole);
    CHECK(n_killed > 5 && n_left > 2 && (n_said == n_left || strcmp(name, "edit") == 0));
    if (chdir(here) != 0)
        exit(1);
}

TEST(an_edit_that_is_killed_leaves_a_whole_folder_or_none)
{
    sweep(t, "edit", "edit " FILES " --facts facts.json --contexts contexts.json --stats s --limit 1");
}

TEST(statistics_that_are_killed_leave_a_whole_folder_or_none)
{
    sweep(t, "stats", "stats " FILES " --text text.jsonl --samples 2");
}

/* The old folder or the new one: at no moment is there none. The next run clears the rest. */
TEST(a_folder_that_is_replaced_stands_at_every_moment)
{
    static const char line[] =
        "edit " FILES " --facts facts.json --contexts contexts.json --stats s --limit 2 --force";
    const char *all = getenv("PMET_LONG");
    const size_t step = all && *all && strcmp(all, "0") != 0 ? 1 : 5;
    size_t n_old = 0, n_new = 0;
    cli_enter(t, "replaced", "gptj-C");
    CHECK(cli(NULL, "edit -q " FILES " --facts facts.json --contexts contexts.json --stats s --limit 1") ==
          0);
    cli_shell("cp -r out old");
    CHECK(cli(NULL, "%s", line) == 0);
    cli_shell("mv out new && cp -r old out");
    for (size_t k = 0; blow_kills(t, line, k); k += step) {
        const bool is_old = system("diff -r out old > /dev/null 2>&1") == 0,
                   is_new = system("diff -r out new > /dev/null 2>&1") == 0;
        n_old += is_old;
        n_new += is_new;
        if (!CHECK(is_old || is_new))
            test_fail(t, "call %zu", k);
        CHECK(cli(NULL, "%s", line) == 0);
        CHECK(system("ls | grep -q pmet-") != 0 && system("diff -r out new > /dev/null") == 0);
        cli_shell("rm -r out && cp -r old out");
    }
    printf("     the old one stood %zu times, the new one %zu times\n", n_old, n_new);
    CHECK(n_old > 10 && n_new > 0);
}
