/* SPDX-License-Identifier: MIT
 * Help texts, from the tables of options. */
#include "cli/options.h"

enum { MARGIN = 30 };

char option_letter(const struct option_row *row)
{
    return row->kind & SHORT ? row->name[0] : '\0';
}

static void print_row(const struct option_row *row)
{
    char left[96];
    int n = snprintf(left, sizeof left, option_letter(row) ? "  -%c, " : "      ", option_letter(row));
    n += snprintf(left + n, sizeof left - (size_t)n, row->arg ? "--%s %s" : "--%s", row->name, row->arg);
    if (n + 2 > MARGIN)
        printf("%s\n%*s%s\n", left, MARGIN, "", row->help);
    else
        printf("%-*s%s\n", MARGIN, left, row->help);
}

void help_command(const struct command *self, const struct option_row *rows, size_t n_row,
                  const struct option_row *common, size_t n_common)
{
    printf("Usage: pmet %s %s\n\n%s\n\nOptions:\n", self->name, self->usage, self->about);
    for (size_t i = 0; i < n_row; i++)
        print_row(&rows[i]);
    printf("\nCommon options:\n");
    for (size_t i = 0; i < n_common; i++)
        print_row(&common[i]);
    printf("%-*sthis text\n", MARGIN, "  -h, --help");
    printf("\nExample:\n%s\n", self->example);
}

void help_all(const struct command *commands, size_t n)
{
    printf("pmet " PMET_VERSION ": edits facts inside GPT-J and GPT-NeoX models (PMET, arXiv 2308.08742)\n\n"
           "Usage: pmet COMMAND [OPTION]...\n\nCommands:\n");
    for (size_t i = 0; i < n; i++)
        printf("  %-10s%s\n", commands[i].name, commands[i].summary);
    printf("  %-10s%s\n", "help", "this text; pmet help COMMAND is pmet COMMAND --help");
    printf("\nResults go to standard output, everything else to standard error.\n"
           "Exit status: 0 done, 1 failed, 2 wrong usage, 3 a comparison that failed, 128+n after signal n.\n"
           "\nThe usual course:\n"
           "  pmet stats --model MODEL --text wiki.jsonl --out STATS\n"
           "  pmet edit  --model MODEL --facts facts.json --stats STATS --out EDITED\n"
           "  pmet generate --model EDITED --prompt \"The capital of France is\"\n");
}
