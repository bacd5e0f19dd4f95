/* SPDX-License-Identifier: MIT
 * Messages, and numbers as people read them. */
#include "cli/command.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include "tensors/text.h"

bool stderr_is_plain(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return (no && *no) || !isatty(STDERR_FILENO) || !term || strcmp(term, "dumb") == 0;
}

static bool progress_is_drawn;

void say_progress(const char *line)
{
    struct winsize size; /* a line that the terminal breaks cannot be drawn over */
    const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    fprintf(stderr, "\r%.*s\033[K", known ? size.ws_col - 1 : 79, line);
    progress_is_drawn = true;
}

void say_no_progress(void)
{
    if (progress_is_drawn)
        fputs("\r\033[K", stderr);
    progress_is_drawn = false;
}

/* "pmet edit: KIND", coloured where that is wanted; the rest of the line follows. */
static void head(const struct cli *c, const char *color, const char *kind)
{
    const bool on = color && (c->color == COLOR_ALWAYS || (c->color == COLOR_AUTO && !stderr_is_plain()));
    say_no_progress();
    fprintf(stderr, "%spmet%s%s:%s %s", on ? color : "", c->command ? " " : "", c->command ? c->command : "",
            on ? "\033[0m" : "", kind);
}

static void put_args(const char *fmt, va_list args)
{
    char line[sizeof((struct pmet_error *)0)->message];
    pmet_line(line, sizeof line, fmt, args);
    fputs(line, stderr);
}

PMET_PRINTF(1, 2) static void put_line(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    put_args(fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

int say_failed(const struct cli *c, const struct pmet_error *err)
{
    const int sig = stop_signal();
    if (!sig && ferror(stdout))
        return EXIT_FAILED;
    head(c, "\033[31m", "");
    if (sig)
        put_line("stopped by signal %d; %s", sig, c->kept[0] ? c->kept : "nothing was left behind");
    else
        fprintf(stderr, "%s\n", err->message);
    return sig ? 128 + sig : EXIT_FAILED;
}

int say_usage(const struct cli *c, const char *fmt, ...)
{
    va_list args;
    head(c, "\033[31m", "");
    va_start(args, fmt);
    put_args(fmt, args);
    va_end(args);
    /* a question needs no more punctuation */
    fprintf(stderr, "%s see pmet %s%s--help\n", strchr(fmt, '?') ? "" : ";", c->command ? c->command : "",
            c->command ? " " : "");
    return EXIT_WRONG_USAGE;
}

void say(const struct cli *c, enum level level, const char *fmt, ...)
{
    va_list args;
    if ((level == NOTE && c->quiet) || (level == DETAIL && !c->verbose))
        return;
    head(c, level == WARNING ? "\033[33m" : NULL, level == WARNING ? "warning: " : "");
    va_start(args, fmt);
    put_args(fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

size_t peak_memory(void)
{
    struct rusage use;
    return getrusage(RUSAGE_SELF, &use) == 0 ? (size_t)use.ru_maxrss * 1024 : 0;
}

struct formatted format_bytes(double n_bytes)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    struct formatted out;
    size_t i = 0;
    for (; i < 4 && n_bytes >= 1024; i++)
        n_bytes /= 1024;
    snprintf(out.text, sizeof out.text, i == 0 ? "%.0f %s" : "%.1f %s", n_bytes, unit[i]);
    return out;
}

struct formatted format_shape(const size_t *shape, size_t n_dim)
{
    struct formatted out = {"["};
    size_t n = 1;
    for (size_t i = 0; i < n_dim; i++)
        n += (size_t)snprintf(out.text + n, sizeof out.text - n, i ? ",%zu" : "%zu", shape[i]);
    snprintf(out.text + n, sizeof out.text - n, "]");
    return out;
}

struct formatted format_seconds(double s)
{
    struct formatted out;
    const long whole = s < 1e9 ? lround(s) : 1000000000L;
    if (s < 10)
        snprintf(out.text, sizeof out.text, "%.1f s", s);
    else if (whole < 3600)
        snprintf(out.text, sizeof out.text, "%ld:%02ld", whole / 60, whole % 60);
    else
        snprintf(out.text, sizeof out.text, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
    return out;
}

/* A character at a time: lines may be long. */
static void print_escaped(const char *text, size_t n, const char *as_is)
{
    char shown[16];
    for (size_t i = 0, len; i < n; i += len) {
        int32_t c;
        len = pmet_utf8_next(text + i, n - i, &c);
        if (c > 0 && c < 0x80 && strchr(as_is, c))
            putchar(c);
        else
            fwrite(shown, 1, pmet_escape(shown, sizeof shown, text + i, len), stdout);
    }
}

void print_plain(const char *text, size_t n)
{
    print_escaped(text, n, "");
}

void print_line(const char *fmt, ...)
{
    char few[1024], *text = few;
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    const int n = vsnprintf(few, sizeof few, fmt, args);
    if (n >= (int)sizeof few && (text = malloc((size_t)n + 1)))
        vsnprintf(text, (size_t)n + 1, fmt, again);
    else
        text = few;
    va_end(again);
    va_end(args);
    print_plain(text, strlen(text));
    putchar('\n');
    if (text != few)
        free(text);
}

void print_exact(const char *text, size_t n)
{
    if (isatty(STDOUT_FILENO))
        print_escaped(text, n, "\n\t");
    else
        fwrite(text, 1, n, stdout);
}

void print_json(json_t *value)
{
    char *text = json_dumps(value, JSON_INDENT(1));
    if (text)
        puts(text);
    else
        puts("null");
    free(text);
    json_decref(value);
}
