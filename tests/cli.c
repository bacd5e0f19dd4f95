/* SPDX-License-Identifier: MIT */
#include "tests/cli.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <unistd.h>
#include "cli/cli.h"
#include "ref/method/method.h"

enum { MAX_WORD = 64 };

const struct pmet_method *const *cli_methods = pmet_methods;
const char *cli_stdout;
static char *kept[2];

const char *cli_out(void)
{
    return kept[0] ? kept[0] : "";
}

const char *cli_err(void)
{
    return kept[1] ? kept[1] : "";
}

char *cli_slurp(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    char *text = NULL;
    size_t cap = 0;
    *n = 0;
    if (!f) {
        perror(path);
        exit(1);
    }
    do {
        cap = 2 * cap + 65536;
        text = realloc(text, cap);
        *n += fread(text + *n, 1, cap - *n - 1, f);
    } while (*n + 1 == cap);
    fclose(f);
    text[*n] = '\0';
    return text;
}

/* Of test_tmpdir(), wherever the program has gone since. */
static const char *absolute_tmpdir(void)
{
    static char path[PATH_MAX];
    if (!path[0] && !realpath(test_tmpdir(), path))
        exit(1);
    return path;
}

/* The path of test_tmpdir(), which differs from run to run, becomes "T". */
static void shorten(char *text)
{
    const char *dir = test_tmpdir();
    const size_t n = strlen(dir);
    for (char *at = text; (at = strstr(at, dir));) {
        *at = 'T';
        memmove(at + 1, at + n, strlen(at + n) + 1);
    }
}

static size_t split(char *line, char **word)
{
    size_t n = 0;
    for (char *at = line; *at && n + 1 < MAX_WORD;) {
        while (*at == ' ')
            at++;
        if (!*at)
            break;
        const char end = *at == '\'' ? '\'' : ' ';
        at += end == '\'';
        word[n++] = at;
        while (*at && *at != end)
            at++;
        if (*at)
            *at++ = '\0';
    }
    word[n] = NULL;
    return n;
}

int cli(const struct pmet_io *io, const char *fmt, ...)
{
    static char line[8192];
    char name[] = "pmet", *word[MAX_WORD + 1] = {name}, path[2][PATH_MAX + 8];
    int was[2], status;
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    const size_t n = 1 + split(line, word + 1);
    fflush(stdout);
    fflush(stderr);
    for (int i = 0; i < 2; i++) {
        snprintf(path[i], sizeof path[i], "%s.%s", absolute_tmpdir(),
                 i ? "err" : "out"); /* beside it: not counted */
        const int fd = open(path[i], O_RDWR | O_CREAT | O_TRUNC, 0666);
        was[i] = dup(1 + i);
        dup2(fd, 1 + i);
        close(fd);
    }
    if (cli_stdout) { /* a closed one is held as main() does */
        const int fd = *cli_stdout ? open(cli_stdout, O_WRONLY | O_NOCTTY) : open("/dev/null", O_RDONLY);
        dup2(fd, 1);
        close(fd);
    }
    status = pmet_cli((int)n, word, io ? io : pmet_io_system(), cli_methods);
    fflush(stdout);
    fflush(stderr);
    for (int i = 0; i < 2; i++) {
        size_t size;
        dup2(was[i], 1 + i);
        close(was[i]);
        free(kept[i]);
        kept[i] = cli_slurp(path[i], &size);
        unlink(path[i]);
        shorten(kept[i]);
    }
    return status;
}

void cli_shell(const char *fmt, ...)
{
    char line[4096];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (system(line) != 0) {
        fprintf(stderr, "failed: %s\n", line);
        exit(1);
    }
}

/* Statistics of a golden model, made once a program. */
static const char *stats_of(struct test *t, const char *model)
{
    static char made[4][300];
    for (size_t i = 0; i < 4; i++) {
        const char *path = test_text(t, "%s/stats.%s", test_tmpdir(), model);
        if (strcmp(made[i], path) == 0)
            return made[i];
        if (made[i][0])
            continue;
        snprintf(made[i], sizeof made[i], "%s", path);
        CHECK(cli(NULL,
                  "stats -q --threads 1 --model golden/%s/model --text golden/%s/stats_text.jsonl --hparams "
                  "golden/%s/hparams/PMET/pmet.json --samples 24 --out %s",
                  model, model, model, path) == 0);
        return made[i];
    }
    return NULL;
}

const char *cli_bench(struct test *t, const char *name, const char *model)
{
    const char *dir = test_path("%s", name), *stats = stats_of(t, model);
    cli_shell("mkdir %s && cp -r golden/%s/model %s/m && cp -r %s %s/s && cp golden/%s/contexts.json %s/ && "
              "cp golden/%s/counterfact.json %s/facts.json && head -n 6 golden/%s/stats_text.jsonl > "
              "%s/text.jsonl && cp golden/%s/forward_prompts.json %s/prompts.json && sed "
              "'s/\"v_num_grad_steps\": *[0-9]*/\"v_num_grad_steps\": 2/; s/\"mom2_n_samples\": "
              "*[0-9]*/\"mom2_n_samples\": 4/' golden/%s/hparams/PMET/pmet.json > %s/hparams.json",
              dir, model, dir, stats, dir, model, dir, model, dir, model, dir, model, dir, model, dir);
    return dir;
}

char cli_start[4096];

void cli_leave(void)
{
    if (chdir(cli_start) != 0)
        exit(1);
}

static void leave(void *unused)
{
    (void)unused;
    cli_leave();
}

void cli_enter(struct test *t, const char *name, const char *model)
{
    const char *dir = cli_bench(t, name, model);
    if ((!cli_start[0] && !getcwd(cli_start, sizeof cli_start)) || chdir(dir) != 0)
        exit(1);
    test_own(t, NULL, leave);
}
