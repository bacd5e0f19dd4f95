/* SPDX-License-Identifier: MIT
 * pmet eval cut off anywhere goes on where it was, record by record, and gives the same bytes.
 * SPEC §9.11, §11.6 */
#include <errno.h>
#include <unistd.h>
#include "tests/blow.h"
#include "tests/cli.h"
#include "tests/fault.h"

#define RUN "eval -q --threads 1 --model golden/gptj-C/model --facts golden/gptj-C/counterfact.json"
#define OUT RUN " --generate 2 --before golden/gptj-C/model --out %s"

/* Every call fails in turn: one line of failure, no output; then the same command, undisturbed,
 * gives the same bytes. */
TEST(an_evaluation_that_fails_goes_on_where_it_was)
{
    const char *whole = test_path("whole.jsonl"), *out = test_path("fails.jsonl"),
               *partial = test_path("fails.jsonl.partial");
    size_t n_kept = 0;
    struct fault f;
    CHECK(cli(NULL, OUT, whole) == 0);
    fault_begin(&f, FAULT_NEVER, 0);
    CHECK(cli(&f.io, OUT, out) == 0 && test_same_file(t, out, whole));
    unlink(out);
    const size_t n_call = f.n_call,
                 first = n_call > 30 ? n_call - 30 : 0; /* those about the output come last */
    for (size_t k = first; k < n_call; k++) {
        fault_begin(&f, k, ENOSPC);
        CHECK(cli(&f.io, OUT, out) == 1 && f.fired);
        CHECK(access(out, F_OK) != 0);
        n_kept += access(partial, F_OK) == 0;
        if (!CHECK(cli(NULL, OUT, out) == 0 && test_same_file(t, out, whole)))
            test_fail(t, "after call %zu (%s): %s", k, f.call, cli_err());
        CHECK(access(partial, F_OK) != 0);
        unlink(out);
    }
    CHECK(n_kept > 3);
}

/* What a kill -9 leaves: any number of whole lines, and a part of one. */
TEST(any_beginning_of_a_partial_file_is_gone_on_from)
{
    const char *whole = test_path("begun.jsonl"), *out = test_path("goes.jsonl"),
               *partial = test_path("goes.jsonl.partial");
    size_t size, n_went_on = 0;
    struct fault f;
    CHECK(cli(NULL, RUN " --limit 4 --out %s", whole) == 0);
    fault_begin(&f, FAULT_NEVER, 0); /* a run whose last rename fails leaves the partial file of all lines */
    CHECK(cli(&f.io, RUN " --limit 4 --out %s", out) == 0);
    unlink(out);
    const size_t n_call = f.n_call;
    for (size_t k = n_call; k-- > 0 && access(partial, F_OK) != 0;) {
        fault_begin(&f, k, EIO);
        cli(&f.io, RUN " --limit 4 --out %s", out);
        unlink(out);
    }
    char *all = test_slurp(t, partial, &size);
    for (size_t cut = 0; cut <= size; cut += 1 + size / 23) {
        test_write_file(partial, all, cut);
        CHECK(cli(NULL,
                  "eval --threads 1 --model golden/gptj-C/model --facts golden/gptj-C/counterfact.json "
                  "--limit 4 --out %s",
                  out) == 0);
        n_went_on += strstr(cli_err(), "goes on after") != NULL;
        CHECK(test_same_file(t, out, whole));
        unlink(out);
    }
    CHECK(n_went_on > 10);
    all[size / 2] ^= 1; /* a byte that changed: what follows it is not thrown away unasked */
    test_write_file(partial, all, size);
    CHECK(cli(NULL, RUN " --limit 4 --out %s", out) == 1);
    CHECK(strstr(cli_err(), "goes.jsonl.partial: byte ") && strstr(cli_err(), ": found a damaged record, "));
    test_write_file(partial, "mine\n", 5);
    CHECK(cli(NULL, RUN " --limit 4 --out %s", out) == 1);
    CHECK_STR(cli_err(),
              "pmet eval: T/goes.jsonl.partial: byte 0: found a damaged record, or what pmet did not write, "
              "and 5 bytes after its beginning; expected whole records (truncate -s 0 begins again)\n");
    CHECK(access(partial, F_OK) == 0);
    all[size / 2] ^= 1;
    test_write_file(partial, all, size);
    unlink(out);
    CHECK(cli(NULL, RUN " --limit 4 --seed 2 --out %s", out) == 1);
    CHECK_STR(cli_err(), "pmet eval: T/goes.jsonl.partial: begun with other seed: found 1; this evaluation "
                         "has 2 (remove the file to begin again)\n");
    CHECK(cli(NULL, RUN " --limit 3 --out %s", out) == 1 && strstr(cli_err(), "begun with other facts"));
    CHECK(cli(NULL,
              "eval -q --model golden/neox-C/model --facts golden/gptj-C/counterfact.json --limit 4 --out %s",
              out) == 1 &&
          strstr(cli_err(), "begun with other model"));
    CHECK(cli(NULL, RUN " --limit 4 --decode greedy --out %s", out) == 1 &&
          strstr(cli_err(), "begun with other decode"));
}

/* --work, with and without --out: a run killed at any call goes on, and prints and writes what an
 * undisturbed one does. */
TEST(an_evaluation_that_is_killed_goes_on_from_its_work_folder)
{
    const char *work = test_path("w"), *out = test_path("worked.jsonl"), *whole = test_path("plain.jsonl"),
               *journal = test_path("w/eval.journal");
    size_t n_killed = 0, n_went_on = 0;
    CHECK(cli(NULL, RUN " --limit 4 --out %s", whole) == 0);
    CHECK(cli(NULL, RUN " --limit 4") == 0);
    const char *table = test_text(t, "%s", cli_out());
    for (int writes = 0; writes < 2; writes++) {
        const char *line =
            test_text(t,
                      "eval --threads 1 --model golden/gptj-C/model --facts golden/gptj-C/counterfact.json "
                      "--limit 4 --force --work %s%s%s",
                      work, writes ? " --out " : "", writes ? out : "");
        for (size_t k = 0; blow_kills(t, line, k); k += 5) {
            n_killed++;
            CHECK(access(out, F_OK) != 0 || test_same_file(t, out, whole));
            CHECK(cli(NULL, "%s", line) == 0);
            n_went_on += strstr(cli_err(), "w/eval.journal: goes on after ") != NULL;
            CHECK(writes ? test_same_file(t, out, whole) : strcmp(cli_out(), table) == 0);
            CHECK((access(journal, F_OK) == 0) == !writes); /* what is written need not be kept */
            cli_shell("rm -rf %s %s", work, out);
        }
    }
    printf("     killed %zu times, %zu of them with records kept\n", n_killed, n_went_on);
    CHECK(n_killed > 20 && n_went_on > 10);
    CHECK(cli(NULL, RUN " --limit 4 --work %s", work) == 0);
    CHECK(cli(NULL, RUN " --limit 3 --work %s", work) == 1);
    CHECK(strncmp(cli_err(), "pmet eval: T/w/eval.journal: begun with other facts: found ", 59) == 0);
    CHECK(cli(NULL, RUN " --limit 4 --work golden/gptj-C/model/work") == 1 &&
          strstr(cli_err(), "lies inside golden/gptj-C/model, used for the model"));
}
