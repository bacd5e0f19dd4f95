/* SPDX-License-Identifier: MIT
 * pmet diff. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "cli/diff_job.h"
#include "cli/kinds.h"

static const char *const kind_name[] = {"exact", "smooth", "run", "scalar"};

static void print_groups(const struct diff_job *j)
{
    printf("%-48s %5s %-6s %9s %9s", "tensors", "n", "kind", "worst L2", "max");
    printf(j->y ? " %8s\n" : "\n", "ratio");
    for (size_t i = 0; i < j->n_group; i++) {
        const struct diff_group *g = &j->group[i];
        char ratio[16] = "";
        if (j->y && g->n_yard > 0)
            snprintf(ratio, sizeof ratio, " %8.3g", g->ratio);
        else if (j->y)
            snprintf(ratio, sizeof ratio, " %8s", "-");
        print_line("%-48s %5zu %-6s %9.1e %9.1e%s%s", g->n == 1 ? g->first->name : g->first->key, g->n,
                   j->y || g->first->kind == DIFF_EXACT ? kind_name[g->first->kind] : "-", g->worst,
                   g->max_err, ratio, g->n_beyond ? "  BEYOND" : "");
    }
}

/* Each tensor past its limit (with --verbose: each), and why. */
static void print_entries(const struct diff_job *j)
{
    for (size_t i = 0; i < j->n_entry; i++) {
        const struct diff_entry *e = &j->entry[i];
        const char *side = e->beyond ? "beyond" : "within";
        if (!e->beyond && !j->c->verbose)
            continue;
        if (e->why[0])
            print_line("%s %s: %s", side, e->name, e->why);
        else if (e->kind == DIFF_EXACT)
            print_line("%s %s: %s", side, e->name, e->beyond ? "integers differ" : "equal");
        else if (e->has_yard)
            print_line("%s %s: L2 %.3e, yardstick %.3e, allowed %.3e, ratio %.3g", side, e->name, e->dist,
                       e->yard, e->allowed, diff_ratio(e));
        else
            print_line("%s %s: L2 %.3e, max %.3e%s", side, e->name, e->dist, e->max_err,
                       j->y ? ", no yardstick" : "");
    }
}

/* The names of --require that are not among those compared and held to a limit. */
static size_t print_missing(const struct diff_job *j)
{
    size_t n = 0;
    for (const char *at = j->require; at && *at;) {
        const size_t len = strcspn(at, ",");
        bool found = false;
        for (size_t i = 0; i < j->n_entry && !found; i++)
            found = strlen(j->entry[i].name) == len && memcmp(j->entry[i].name, at, len) == 0 &&
                    (!j->y || j->entry[i].has_yard || j->entry[i].kind == DIFF_EXACT);
        if (len > 0 && !found) {
            print_line("missing %.*s: required, but not compared", (int)len, at);
            n++;
        }
        at += len + (at[len] == ',');
    }
    return n;
}

static int report(struct diff_job *j)
{
    if (j->n_entry == 0) {
        print_line("%s and %s have no tensor in common", j->a_path, j->b_path);
        return EXIT_DIFFERENT;
    }
    print_groups(j);
    print_entries(j);
    const size_t n_missing = print_missing(j);
    printf("%zu tensors compared, %zu beyond their limit", j->n_entry, j->n_beyond);
    if (j->n_no_yard > 0)
        printf(", %zu without a yardstick (not judged)", j->n_no_yard);
    if (n_missing > 0)
        printf(", %zu required ones missing", n_missing);
    printf("; %zu only in A, %zu only in B\n", j->a->all.n - j->n_entry, j->b->all.n - j->n_entry);
    return j->n_beyond > 0 || n_missing > 0 || j->n_no_yard == j->n_entry ? EXIT_DIFFERENT : EXIT_DONE;
}

static enum pmet_status compare(struct diff_job *j, struct pmet_error *err)
{
    const char *const paths[] = {j->a_path, j->b_path, j->yard_path};
    for (size_t i = 0; i < COUNT_OF(paths); i++)
        PMET_TRY(check_kind(j->c, ROLE_TENSORS, paths[i], err));
    PMET_TRY(pmet_safetensors_open(j->c->io, j->a_path, &j->a, err));
    PMET_TRY(pmet_safetensors_open(j->c->io, j->b_path, &j->b, err));
    if (j->yard_path)
        PMET_TRY(pmet_safetensors_open(j->c->io, j->yard_path, &j->y, err));
    PMET_TRY(diff_measure(j, err));
    return diff_apply_limits(j, err);
}

int run_diff(struct cli *c, const struct command *self, int argc, char **argv)
{
    struct diff_job j = {.c = c, .rtol = -1, .atol = -1, .ratio = -1};
    struct texts paths = {0};
    const struct option_row rows[] = {
        {"rtol", OPTION_NUMBER, &j.rtol, "X", "|a-b| <= atol + rtol |b| for each element (default 0)"},
        {"atol", OPTION_NUMBER, &j.atol, "X", "(default 0)"},
        {"yardstick", OPTION_TEXT, &j.yard_path, "C", "measure in the distance of C from B"},
        {"ratio", OPTION_NUMBER, &j.ratio, "R", "with --yardstick: how many of it (default 2)"},
        {"require", OPTION_TEXT, &j.require, "NAME,...", "tensors that must be compared"},
    };
    struct pmet_error err = {PMET_OK, ""};
    int status = options_parse(c, self, rows, COUNT_OF(rows), argc, argv, &paths);
    if (status < 0 && paths.n != 2)
        status = paths.n > 2 ? say_usage(c, "%s: one argument too many", paths.item[2])
                             : say_usage(c, "%s is missing", paths.n ? "B" : "A");
    if (status < 0 && j.yard_path && (j.rtol >= 0 || j.atol >= 0))
        status = say_usage(c, "--yardstick goes without --rtol and --atol");
    if (status < 0 && !j.yard_path && j.ratio >= 0)
        status = say_usage(c, "--ratio: needs --yardstick");
    if (status < 0) {
        j.a_path = paths.item[0];
        j.b_path = paths.item[1];
        j.rtol = fmax(j.rtol, 0);
        j.atol = fmax(j.atol, 0);
        j.ratio = j.ratio < 0 ? 2 : j.ratio;
        status = compare(&j, &err) == PMET_OK ? report(&j) : say_failed(c, &err);
    }
    free(j.entry);
    free(j.group);
    pmet_safetensors_close(j.a);
    pmet_safetensors_close(j.b);
    pmet_safetensors_close(j.y);
    texts_free(&paths);
    return status;
}
