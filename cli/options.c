/* SPDX-License-Identifier: MIT
 * Command lines by getopt_long, from tables. */
#include "cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_OPTION = 48, FIRST_VALUE = 1000, HELP_VALUE = 999 };

bool texts_add(struct texts *t, const char *item)
{
    const char **grown = realloc(t->item, (t->n + 1) * sizeof *grown);
    if (!grown)
        return false;
    grown[t->n++] = item;
    t->item = grown;
    return true;
}

void texts_free(struct texts *t)
{
    free(t->item);
    *t = (struct texts){NULL, 0};
}

static bool parse_count(const char *text, size_t *out)
{
    char *end;
    errno = 0;
    if (!isdigit((unsigned char)text[0]))
        return false;
    const unsigned long long n = strtoull(text, &end, 10);
    if (errno || *end || n > SIZE_MAX)
        return false;
    *out = (size_t)n;
    return true;
}

static bool parse_bytes(const char *text, size_t *out)
{
    static const char unit[] = "KMGT";
    char *end;
    errno = 0;
    if (!isdigit((unsigned char)text[0]) || text[strspn(text, "0123456789")] == 'x')
        return false;
    const double n = strtod(text, &end);
    double scale = 1;
    if (*end) {
        const char *at = strchr(unit, toupper((unsigned char)*end));
        if (!at)
            return false;
        for (const char *u = unit; u <= at; u++)
            scale *= 1024;
        end++;
        if (strcmp(end, "") != 0 && strcasecmp(end, "B") != 0 && strcasecmp(end, "iB") != 0)
            return false;
    }
    if (errno || !(n * scale < 0x1p62))
        return false;
    *out = (size_t)(n * scale);
    return true;
}

static bool parse_choice(const char *text, const char *choices, int *out)
{
    const size_t n = strlen(text);
    int i = 0;
    for (const char *at = choices; at; i++) {
        const char *bar = strchr(at, '|');
        const size_t len = bar ? (size_t)(bar - at) : strlen(at);
        if (len == n && memcmp(at, text, n) == 0) {
            *out = i;
            return true;
        }
        at = bar ? bar + 1 : NULL;
    }
    return false;
}

/* -1, or the exit status of a usage error. */
static int take_value(const struct cli *c, const struct option_row *row, const char *text)
{
    char *end;
    double x;
    switch (row->kind & OPTION_KIND) {
    case OPTION_FLAG:
        *(bool *)row->out = true;
        return -1;
    case OPTION_TEXT:
        if (!*text)
            return say_usage(c, "--%s: found nothing; expected %s", row->name, row->arg);
        *(const char **)row->out = text;
        return -1;
    case OPTION_TEXTS:
        if (texts_add(row->out, text))
            return -1;
        return say_usage(c, "--%s: out of memory", row->name);
    case OPTION_COUNT:
        if (parse_count(text, row->out))
            return -1;
        return say_usage(c, "--%s: found \"%s\"; expected a whole number", row->name, text);
    case OPTION_NUMBER:
        errno = 0;
        x = strtod(text, &end);
        if (end == text || *end || errno || !isfinite(x) || x < 0)
            return say_usage(c, "--%s: found \"%s\"; expected a number not below 0", row->name, text);
        *(double *)row->out = x;
        return -1;
    case OPTION_BYTES:
        if (parse_bytes(text, row->out))
            return -1;
        return say_usage(c, "--%s: found \"%s\"; expected a size such as 800M or 16G", row->name, text);
    case OPTION_CHOICE:
        if (parse_choice(text, row->arg, row->out))
            return -1;
        return say_usage(c, "--%s: found \"%s\"; expected %s", row->name, text, row->arg);
    }
    return -1;
}

/* A long option that is none, or short for more than one. */
static int refuse_long(const struct cli *c, const char *word, const struct option_row *const *all, size_t n)
{
    const char *names[MAX_OPTION + 1] = {"help"};
    const size_t len = strcspn(word, "=") - 2;
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)(len < sizeof name ? len : sizeof name - 1), word + 2);
    for (size_t i = 0; i < n; i++) {
        names[1 + i] = all[i]->name;
        if (strncmp(all[i]->name, name, len) == 0) /* getopt took it, were it the only one */
            return say_usage(c, "--%s: short for more than one option, such as --%s", name, all[i]->name);
    }
    const char *near = pmet_nearest(name, names, n + 1);
    return near ? say_usage(c, "--%s: no such option; did you mean --%s?", name, near)
                : say_usage(c, "--%s: no such option", name);
}

/* What getopt_long could not take: argv's last word, or the letter in optopt. */
static int refuse(const struct cli *c, char *const *argv, int got, const struct option_row *const *all,
                  size_t n)
{
    const char *word = argv[optind - 1];
    if (got == ':') {
        for (size_t i = 0; i < n; i++)
            if ((optopt && optopt == option_letter(all[i])) || optopt == (int)(FIRST_VALUE + i))
                return say_usage(c, "--%s: an argument is missing; expected %s", all[i]->name, all[i]->arg);
    }
    if (optopt >= FIRST_VALUE || optopt == HELP_VALUE)
        return say_usage(c, "%s: takes no argument", word);
    if (optopt > 0x20 && optopt < 0x7f)
        return say_usage(c, "-%c: no such option", optopt);
    return optopt ? say_usage(c, "-\\x%02x: no such option", (unsigned)optopt & 0xff)
                  : refuse_long(c, word, all, n);
}

/* getopt's two tables of n rows. */
static void fill_tables(const struct option_row *const *all, size_t n, struct option *longs, char *shorts)
{
    *shorts++ = ':';
    for (size_t i = 0; i < n; i++) {
        const bool takes = all[i]->arg != NULL;
        longs[i] = (struct option){all[i]->name, takes ? required_argument : no_argument, NULL,
                                   (int)(FIRST_VALUE + i)};
        if (all[i]->kind & SHORT) {
            *shorts++ = option_letter(all[i]);
            if (takes)
                *shorts++ = ':';
        }
    }
    longs[n] = (struct option){"help", no_argument, NULL, HELP_VALUE};
    longs[n + 1] = (struct option){0};
    *shorts++ = 'h';
    *shorts = '\0';
}

/* The faster precisions of a GPU, as devices of their own. -1, or the exit status of a usage
 * error. */
static int take_precision(struct cli *c)
{
    const char *name = c->half_activations ? "half-activations" : "tf32";
    if (!c->half_activations && !c->tf32)
        return -1;
    if (c->half_activations && c->tf32)
        return say_usage(c, "--half-activations and --tf32: found both; expected one");
    if (c->device != PMET_DEVICE_CUDA)
        return say_usage(c, "--%s: needs --device cuda", name);
    c->device = c->tf32 ? PMET_DEVICE_CUDA_TF32 : PMET_DEVICE_CUDA_HALF;
    return -1;
}

int options_parse(struct cli *c, const struct command *self, const struct option_row *rows, size_t n_row,
                  int argc, char **argv, struct texts *operands)
{
    static const size_t first_used[] = {[USES_SEED] = 0, [USES_DEVICE] = 1, [USES_NEITHER] = 5};
    const struct option_row every[] = {
        {"seed", OPTION_COUNT, &c->seed, "N", "of all sampling (default 1)"},
        {"device", OPTION_CHOICE, &c->device, "auto|plain|cpu|cuda",
         "where to compute (default auto: a GPU if there is one; plain is slow, for checks)"},
        {"half-activations", OPTION_FLAG, &c->half_activations, NULL,
         "with cuda: what F16 and BF16 matrices multiply is rounded to their type (faster)"},
        {"tf32", OPTION_FLAG, &c->tf32, NULL,
         "with cuda: products with F32 matrices keep ten bits of fraction (faster)"},
        {"threads", OPTION_COUNT, &c->threads, "N", "threads (default: as many as the machine has)"},
        {"quiet", OPTION_FLAG | SHORT, &c->quiet, NULL, "no progress, no notes"},
        {"verbose", OPTION_FLAG | SHORT, &c->verbose, NULL, "more notes"},
        {"color", OPTION_CHOICE, &c->color, "auto|always|never",
         "colour in messages (default auto: on a terminal, unless NO_COLOR is set)"},
    };
    const struct option_row *all[MAX_OPTION];
    bool seen[MAX_OPTION] = {false};
    struct option longs[MAX_OPTION + 2];
    char shorts[2 * MAX_OPTION + 3];
    const struct option_row *common = every + first_used[self->uses];
    const size_t n_common = COUNT_OF(every) - first_used[self->uses], n = n_row + n_common;
    int got;
    for (size_t i = 0; i < n; i++)
        all[i] = i < n_row ? &rows[i] : &common[i - n_row];
    fill_tables(all, n, longs, shorts);
    opterr = 0;
    optind = 0; /* glibc: start afresh */
    while ((got = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        size_t i = 0;
        if (got == HELP_VALUE || got == 'h') {
            help_command(self, rows, n_row, common, n_common);
            return EXIT_DONE;
        }
        while (i < n && got != (int)(FIRST_VALUE + i) && got != option_letter(all[i]))
            i++;
        if (i == n || got == '?' || got == ':')
            return refuse(c, argv, got, all, n);
        seen[i] = true;
        const int status = take_value(c, all[i], optarg);
        if (status >= 0)
            return status;
    }
    for (size_t i = 0; i < n; i++)
        if ((all[i]->kind & REQUIRED) && !seen[i])
            return say_usage(c, "--%s %s is missing", all[i]->name, all[i]->arg);
    for (int i = optind; i < argc; i++)
        if (!operands || !texts_add(operands, argv[i]))
            return say_usage(c, "%s: one argument too many", argv[i]);
    return take_precision(c);
}
