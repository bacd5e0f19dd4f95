/* SPDX-License-Identifier: MIT
 * The work folder: an edit that was killed, stopped or failed anywhere goes on, does nothing twice
 * and writes the same bytes; a folder of another edit, or one in use, is refused.     SPEC §9.11 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "ref/store/store.h"
#include "tests/blow.h"
#include "tests/cli.h"
#include "tests/fault.h"

#define INPUTS "--threads 1 --model m --facts facts.json --contexts contexts.json --stats s --limit 3 "
#define EDIT "edit -q " INPUTS "--hparams hparams.json --out out"
#define WORK EDIT " --work w"

static bool is_long(void)
{
    const char *v = getenv("PMET_LONG");
    return v && *v && strcmp(v, "0") != 0;
}

/* Every how many-th call is tried: the sanitizers take a second where others take a tenth. */
static size_t stride(size_t all, size_t some)
{
#ifdef __SANITIZE_ADDRESS__
    return is_long() ? all : 3 * some;
#else
    return is_long() ? all : some;
#endif
}

/* A workbench with the output that is wanted in `reference`. */
static void enter(struct test *t, const char *name)
{
    cli_enter(t, name, "gptj-C");
    CHECK(cli(NULL, EDIT) == 0);
    cli_shell("mv out reference");
}

/* The command again: it ends well, says how many facts it had found done, and its output is the one
 * wanted. */
static void goes_on(struct test *t, const char *after, size_t at)
{
    if (!CHECK(cli(NULL, "edit " INPUTS "--hparams hparams.json --out out --work w") == 0))
        test_fail(t, "%s %zu: %s", after, at, cli_err());
    if (!CHECK(system("diff -r out reference > /dev/null") == 0))
        test_fail(t, "%s %zu: the output differs", after, at);
}

static size_t n_records(const char *journal)
{
    size_t n, records = 0;
    char *data = cli_slurp(journal, &n);
    for (size_t at = 0; at + 8 <= n; records++) {
        uint64_t length;
        memcpy(&length, data + at, 8);
        if (length > n || at + 8 + length + 64 > n)
            break; /* torn */
        at += 8 + (size_t)length + 64;
    }
    free(data);
    return records;
}

TEST(finished_facts_and_matrices_are_not_done_twice)
{
    struct stat first, then;
    enter(t, "twice");
    CHECK(cli(NULL, WORK) == 0);
    CHECK(n_records("w/facts.journal") == 4 && stat("w/matrix-1.safetensors", &first) == 0);
    cli_shell("rm -r out");
    goes_on(t, "finished", 0);
    CHECK(strstr(cli_err(), "w: 3 of 3 facts are done\n") != NULL);
    CHECK(n_records("w/facts.journal") == 4 && stat("w/matrix-1.safetensors", &then) == 0 &&
          then.st_ino == first.st_ino);
    /* a matrix of which a byte changed is solved again */
    cli_shell("rm -r out && printf X | dd of=w/matrix-1.safetensors bs=1 conv=notrunc status=none "
              "seek=$(($(stat -c %%s w/matrix-1.safetensors) - 9))");
    goes_on(t, "damaged", 1);
    /* a trace shows the optimisation, so it runs again; the matrices, too */
    cli_shell("rm -r out");
    CHECK(cli(NULL, WORK " --trace traced.safetensors") == 0);
    CHECK(cli(NULL, EDIT " --force --trace fresh.safetensors") == 0);
    CHECK(system("cmp -s traced.safetensors fresh.safetensors") == 0);
}

/* Writes the store's first matrix anew with one of its numbers changed: whole, and of this edit. */
static void forge(struct test *t, const char *key, const char *value)
{
    struct pmet_store *store;
    struct pmet_safetensors *st;
    struct pmet_pair pair[16];
    char digest[65];
    size_t n = 0;
    CHECK_DONE(pmet_safetensors_open(pmet_io_system(), "w/matrix-0.safetensors", &st, &t->err));
    snprintf(digest, sizeof digest, "%s", pmet_safetensors_metadata(st, "key"));
    for (size_t i = 0; i < st->n_meta; i++) {
        const struct pmet_pair p = st->meta[i];
        if (strcmp(p.key, "key") != 0 && strcmp(p.key, "sha256") != 0 && strcmp(p.key, "format") != 0)
            pair[n++] = strcmp(p.key, key) == 0 ? (struct pmet_pair){key, value} : p;
    }
    CHECK_DONE(pmet_store_open(pmet_io_system(), "w", &store, &t->err));
    CHECK_DONE(pmet_store_put(store, "matrix-0", digest, st->all.tensor, st->all.n, pair, n, &t->err));
    pmet_store_close(store);
    pmet_safetensors_close(st);
}

/* Numbers of a matrix become an enumeration and a count: one that is none is no number of ours. */
TEST(a_matrix_whose_numbers_are_none_is_solved_again)
{
    static const char *const forged[][2] = {
        {"solver", "1e300"},  {"solver", "-1"}, {"solver", "4"},       {"solver", "1.5"},
        {"solver", "nan"},    {"solver", ""},   {"iterations", "inf"}, {"iterations", "1e300"},
        {"iterations", "-1"}, {"residual", "x"}};
    struct stat first, then;
    enter(t, "forged");
    CHECK(cli(NULL, WORK) == 0);
    for (size_t i = 0; i < sizeof forged / sizeof *forged; i++) {
        forge(t, forged[i][0], forged[i][1]);
        CHECK(stat("w/matrix-0.safetensors", &first) == 0);
        cli_shell("rm -r out");
        goes_on(t, forged[i][1], i);
        if (!CHECK(stat("w/matrix-0.safetensors", &then) == 0 && then.st_ino != first.st_ino))
            test_fail(t, "%s %s: taken", forged[i][0], forged[i][1]);
    }
}

/* What is no part of a target: the targets stay, the matrices are solved again. */
TEST(another_solve_uses_the_targets_and_solves_again)
{
    static const struct {
        const char *change, *inputs; /* of the run after it */
    } other[] = {{"sed 's/\"mom2_update_weight\": [0-9.]*/\"mom2_update_weight\": 77/' hparams.json > h.json",
                  "--stats s --hparams h.json"},
                 {"tr -d ' \\n' < hparams.json | sed 's/\"layers\":.0,1/\"layers\":[1/' > h.json",
                  "--stats s --hparams h.json"},
                 {"true", "--stats s --hparams hparams.json --ridge 3"},
                 {"true", "--stats s2 --hparams hparams.json"}};
    enter(t, "lambda");
    CHECK(cli(NULL, WORK) == 0);
    cli_shell("cp '%s/golden/gptj-C/stats_text.jsonl' more.jsonl", cli_start);
    CHECK(cli(NULL, "stats -q --threads 1 --model m --text more.jsonl --hparams hparams.json --samples 30 "
                    "--out s2") == 0);
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        const char *again = "--threads 1 --model m --facts facts.json --contexts contexts.json --limit 3";
        cli_shell("rm -rf out fresh; %s", other[i].change);
        CHECK(cli(NULL, "edit %s %s --out out --work w", again, other[i].inputs) == 0);
        CHECK(strstr(cli_err(), "w: 3 of 3 facts are done\n") != NULL);
        CHECK(cli(NULL, "edit -q %s %s --out fresh", again, other[i].inputs) == 0);
        if (!CHECK(system("diff -r out fresh > /dev/null") == 0 &&
                   system("diff -r out reference > /dev/null") != 0))
            test_fail(t, "%s", other[i].inputs);
        CHECK((system("grep -q '\"ridge\": 3.0' out/pmet_edit.json") == 0) == (i == 2));
    }
}

/* With less memory `auto` takes another solver, whose last bits are others: no matrix of the first
 * one is reused. */
TEST(another_solver_solves_all_matrices_again)
{
    enter(t, "solver");
    CHECK(cli(NULL, WORK) == 0);
    cli_shell("rm -r out");
    CHECK(cli(NULL, WORK " --memory 312K") == 0); /* 200 x 200 doubles take 312.5 KiB */
    CHECK(cli(NULL, EDIT " --memory 312K --force --out fresh") == 0);
    CHECK(system("diff -r out fresh > /dev/null && grep -q '\"cg\"' out/pmet_edit.json") == 0);
    CHECK(cli(NULL, WORK " --memory 313K --force") == 0);
    CHECK(system("diff -r out reference > /dev/null") == 0);
}

TEST(a_folder_of_another_edit_is_refused)
{
    static const struct {
        const char *change, *line, *key;
    } other[] = {
        {"sed 's/\"v_lr\": [0-9.]*/\"v_lr\": 0.31/' hparams.json > h.json", INPUTS "--hparams h.json",
         "v_lr"},
        {"true", INPUTS "--hparams hparams.json --limit 2", "facts"},
        {"sed 's/[.] {}/! {}/' contexts.json > c.json",
         "--threads 1 --model m --facts facts.json --contexts c.json --stats s --limit 3 --hparams "
         "hparams.json",
         "contexts"},
        {"tr -d '\\n' < contexts.json | sed 's/] *, *\\[/,/' > g.json", /* the same texts, all in one group */
         "--threads 1 --model m --facts facts.json --contexts g.json --stats s --limit 3 --hparams "
         "hparams.json",
         "contexts"},
        {"cp -r m m2 && sed -i 's/}$/ }/' m2/config.json",
         "--threads 1 --model m2 --facts facts.json --contexts contexts.json --stats s2 --limit 3 --hparams "
         "hparams.json",
         "model"}};
    enter(t, "other");
    CHECK(cli(NULL, WORK) == 0);
    cli_shell("rm -r out");
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        cli_shell("%s", other[i].change);
        if (strcmp(other[i].key, "model") == 0)
            CHECK(cli(NULL, "stats -q --threads 1 --model m2 --text text.jsonl --hparams hparams.json "
                            "--samples 2 --out s2") == 0);
        CHECK(cli(NULL, "edit -q %s --out out --work w", other[i].line) == 1);
        const char *want =
            test_text(t, "pmet edit: w/facts.journal: begun with other %s: found ", other[i].key);
        if (!CHECK(strncmp(cli_err(), want, strlen(want)) == 0))
            test_fail(t, "%s: %s", other[i].key, cli_err());
        CHECK(access("out", F_OK) != 0);
    }
    goes_on(t, "refusal", 0); /* and it is still good for its own */
}

/* Contexts that the model wrote are kept by their seed: another seed's are not taken for them. */
TEST(another_seed_has_other_contexts)
{
    static const char line[] = "edit -q --threads 1 --model m --facts facts.json --stats s --limit 1 "
                               "--hparams hparams.json --work w --out ";
    enter(t, "seed");
    CHECK(cli(NULL, "%sone", line) == 0);
    CHECK(cli(NULL, "%sagain --seed 1", line) == 0);
    CHECK(system("diff -r one again > /dev/null") == 0);
    CHECK(cli(NULL, "%stwo --seed 2", line) == 1);
    CHECK(strncmp(cli_err(), "pmet edit: w/facts.journal: begun with other contexts: ", 55) == 0);
}

TEST(two_processes_do_not_share_a_folder)
{
    enter(t, "two");
    cli_shell("mkdir w");
    const int fd = open("w/facts.journal", O_RDWR | O_CREAT, 0666);
    CHECK(fd >= 0 && flock(fd, LOCK_EX) == 0);
    CHECK(cli(NULL, WORK) == 1);
    CHECK_STR(cli_err(), "pmet edit: w/facts.journal: another process is at work in this folder: wait for "
                         "its end, or give another --work\n");
    close(fd);
    goes_on(t, "release", 0);
}

/* A kill leaves a journal that ends anywhere. */
TEST(a_journal_that_ends_anywhere_is_gone_on_with)
{
    size_t n, n_done = 0;
    enter(t, "torn");
    CHECK(cli(NULL, WORK) == 0);
    char *data = test_slurp(t, "w/facts.journal", &n);
    cli_shell("rm w/matrix-*");
    for (size_t at = 0; at <= n; at += is_long() ? n / 97 : n / 11) {
        cli_shell("rm -r out");
        CHECK(truncate("w/facts.journal", (off_t)at) == 0);
        goes_on(t, "cut at byte", at);
        n_done += strstr(cli_err(), "facts are done") != NULL;
        size_t again;
        char *now = test_slurp(t, "w/facts.journal", &again);
        CHECK(again == n && memcmp(now, data, n) == 0);
    }
    CHECK(n_done > 3);
}

/* A byte that is not as it was written: in the last record that one is done again, elsewhere the
 * journal is refused and says where to cut it. No wrong target is used, and no record behind the
 * damage is thrown away unasked. */
TEST(a_damaged_journal_gives_no_wrong_target)
{
    size_t n, n_refused = 0;
    struct test_rng rng = {5};
    enter(t, "damage");
    CHECK(cli(NULL, WORK) == 0);
    char *data = test_slurp(t, "w/facts.journal", &n);
    cli_shell("rm w/matrix-*");
    for (int k = 0; k < (is_long() ? 100 : 12); k++) {
        const size_t at = (size_t)(test_rng_next(&rng) % n);
        const char bad = (char)(data[at] ^ (1 << test_rng_next(&rng) % 8));
        const int fd = open("w/facts.journal", O_WRONLY | O_TRUNC);
        CHECK(write(fd, data, n) == (ssize_t)n && pwrite(fd, &bad, 1, (off_t)at) == 1 && close(fd) == 0);
        cli_shell("rm -rf out");
        if (cli(NULL, WORK) == 1) {
            const char *cut = strstr(cli_err(), "(truncate -s ");
            const unsigned long keep = cut ? strtoul(cut + strlen("(truncate -s "), NULL, 10) : n;
            if (!CHECK(strstr(cli_err(), "found a damaged record") && keep <= at))
                test_fail(t, "flip at byte %zu of %zu: %s", at, n, cli_err());
            CHECK(access("out", F_OK) != 0 && truncate("w/facts.journal", (off_t)keep) == 0);
            n_refused++;
        }
        cli_shell("rm -rf out");
        goes_on(t, "flip at byte", at);
    }
    CHECK(n_refused > 3);
}

/* What a power cut may leave of records that were not yet on the disk. */
TEST(a_journal_that_ends_in_zeros_is_gone_on_with)
{
    size_t n, again;
    enter(t, "zeros");
    CHECK(cli(NULL, WORK) == 0);
    char *data = test_slurp(t, "w/facts.journal", &n);
    cli_shell("rm -r w/matrix-* out && truncate -s +100000 w/facts.journal");
    goes_on(t, "zeros behind byte", n);
    char *now = test_slurp(t, "w/facts.journal", &again);
    CHECK(again == n && memcmp(now, data, n) == 0);
}

/* ---- kills, failures and signals ---- */

TEST(killed_at_any_call_it_goes_on)
{
    size_t n_killed = 0, step = stride(1, 7);
    enter(t, "kill");
    for (size_t k = 0; blow_kills(t, WORK, k); k += step) {
        n_killed++;
        cli_shell("rm -rf out");
        goes_on(t, "kill at call", k);
        cli_shell("rm -rf out w"); /* temporary names of the killed stay */
    }
    printf("     killed %zu times\n", n_killed);
    CHECK(n_killed >= (is_long() ? 50u : 8u));
}

/* One kill after the other, never cleaned up between: each run gets further, and no fact is done
 * twice. */
TEST(killed_again_and_again_it_arrives)
{
    enter(t, "again");
    size_t n_done = 0, k = 12;
    while (access("out", F_OK) != 0 &&
           blow_kills(t, WORK, k)) { /* a kill may come after the folder is there */
        const size_t now = access("w/facts.journal", F_OK) == 0 ? n_records("w/facts.journal") : 0;
        CHECK(now >= n_done && now <= 4);
        n_done = now;
        k += 9;
    }
    CHECK(system("diff -r out reference > /dev/null") == 0);
}

TEST(a_call_that_fails_loses_nothing)
{
    static const int errors[] = {ENOSPC, EIO, EROFS};
    enter(t, "fail");
    for (size_t e = 0; e < 3; e++)
        for (size_t k = e;; k += stride(5, 17)) {
            struct fault f;
            fault_begin(&f, k, errors[e]);
            const int status = cli(&f.io, WORK);
            if (!f.fired)
                break;
            CHECK(status == 1 || status == 0);
            if (status == 1 && (strchr(cli_err(), '\n') == NULL || strchr(cli_err(), '\n')[1] != '\0'))
                test_fail(t, "%s at call %zu: %s", f.call, k, cli_err());
            cli_shell("rm -rf out");
            goes_on(t, "failed call", k);
            cli_shell("rm -rf out w");
        }
}

TEST(a_signal_says_how_to_go_on)
{
    static const int signals[] = {SIGINT, SIGTERM};
    enter(t, "signal");
    for (size_t i = 0; i < 2; i++) {
        char want[160];
        for (size_t k = 0;; k++) { /* to the first call after a fact is in the journal */
            const int status = cli(blow_at(signals[i], k), WORK);
            CHECK(status == 128 + signals[i]);
            if (strstr(cli_err(), "w keeps 2 of 3 facts") || k > 400)
                break;
            cli_shell("rm -rf w");
        }
        snprintf(
            want, sizeof want,
            "pmet edit: stopped by signal %d; w keeps 2 of 3 facts: the same command goes on from there\n",
            signals[i]);
        CHECK_STR(cli_err(), want);
        CHECK(access("out", F_OK) != 0);
        goes_on(t, "signal", (size_t)signals[i]);
        CHECK(strstr(cli_err(), "w: 2 of 3 facts are done\n") != NULL);
        cli_shell("rm -r out w");
    }
}

/* ---- statistics ---- */

#define STATS                                                                                                \
    "stats -q --threads 1 --model m --text text.jsonl --hparams hparams.json --samples 100 --out out"

static void enter_stats(struct test *t, const char *name)
{
    enter(t, name);
    cli_shell("rm -r reference && cp '%s/golden/gptj-C/stats_text.jsonl' text.jsonl",
              cli_start); /* several batches */
    CHECK(cli(NULL, STATS) == 0);
    cli_shell("mv out reference");
}

static void stats_go_on(struct test *t, const char *after, size_t at)
{
    if (!CHECK(cli(NULL, STATS " --work w") == 0))
        test_fail(t, "%s %zu: %s", after, at, cli_err());
    if (!CHECK(system("diff -r out reference > /dev/null") == 0))
        test_fail(t, "%s %zu: the output differs", after, at);
    CHECK(system("ls w | grep -q -e ^sum- -e ^stats.journal") != 0); /* no longer needed */
}

/* More than a head. */
static bool sums_are_kept(void)
{
    return access("w/stats.journal", F_OK) == 0 && n_records("w/stats.journal") > 1;
}

TEST(statistics_that_are_killed_go_on)
{
    size_t n_killed = 0, n_kept = 0;
    enter_stats(t, "stats");
    for (size_t k = 0; blow_kills(t, STATS " --work w", k); k += stride(1, 11)) {
        n_killed++;
        n_kept += sums_are_kept();
        cli_shell("rm -rf out");
        stats_go_on(t, "kill at call", k);
        CHECK(system("ls | grep -q '^out.pmet-tmp-'") != 0); /* what the killed run left */
        cli_shell("rm -rf out w");
    }
    printf("     killed %zu times, sums were kept %zu times\n", n_killed, n_kept);
    CHECK(n_killed > 3 && n_kept > 1);
}

TEST(statistics_of_other_text_or_in_use_are_refused)
{
    enter_stats(t, "statsother");
    size_t k = 0;
    while (!sums_are_kept() && blow_kills(t, STATS " --work w", k))
        k += 5;
    CHECK(sums_are_kept());
    CHECK(cli(NULL, "stats -q --threads 1 --model m --text text.jsonl --hparams hparams.json --samples 99 "
                    "--out out --work w") == 1);
    CHECK_STR(cli_err(), "pmet stats: w/stats.journal: begun with other samples: found 100; this run has 99 "
                         "(give another --work)\n");
    cli_shell("sed '1d' text.jsonl > other.jsonl");
    CHECK(cli(NULL, "stats -q --threads 1 --model m --text other.jsonl --hparams hparams.json --samples 100 "
                    "--out out --work w") == 1);
    CHECK(strncmp(cli_err(), "pmet stats: w/stats.journal: begun with other text: ", 52) == 0);
    const int fd = open("w/pmet.lock", O_RDWR);
    CHECK(fd >= 0 && flock(fd, LOCK_EX) == 0);
    CHECK(cli(NULL, STATS " --work w") == 1);
    CHECK_STR(cli_err(), "pmet stats: w/pmet.lock: another process is at work in this folder: wait for its "
                         "end, or give another --work\n");
    close(fd);
    CHECK(access("out", F_OK) != 0);
    cli_shell("cp -r w damaged && for f in $(find damaged -name 'sum-*' -size +0); do printf X | dd of=$f "
              "bs=1 conv=notrunc "
              "status=none seek=$(($(stat -c %%s $f) - 9)); done");
    CHECK(cli(NULL, STATS " --work damaged") == 0 && /* a sum with another bit is not used */
          strstr(cli_err(), "pmet stats: warning: damaged: sums are missing or damaged: begins again\n"));
    CHECK(system("diff -r out reference > /dev/null") == 0);
    cli_shell("rm -rf out");
    stats_go_on(t, "refusal", 0);
}
