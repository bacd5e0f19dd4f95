/* SPDX-License-Identifier: MIT
 * The table of the forms of text files, and how each is recognised.      SPEC §7.1 */
#include "ref/facts/text_form.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum refused {
    CSV = PMET_TEXT_READ,
    JSON_NUMBERS,
    PYTHON_LIST,
    PYTHON_DICTS,
    UTF_16,
    UTF_32,
    HTML,
    WIKIPEDIA_XML,
    XML,
    RTF,
    LFS,
    N_REFUSED_BY_TEXT
};

#define PIPE " | pmet stats --text - ..."
#define TO_JSON ".to_json('text.jsonl', orient='records', lines=True)\""
#define WRITE_LINES "write its texts as JSON lines, {\"text\": \"...\"} a line"

static const struct pmet_text_form by_text[N_REFUSED_BY_TEXT] = {
    [PMET_TEXT_JSON_LINES] = {"JSON lines of records", NULL},
    [PMET_TEXT_JSON_STRING_LINES] = {"JSON lines of strings", NULL},
    [PMET_TEXT_JSON_OBJECTS] = {"JSON records over several lines", NULL},
    [PMET_TEXT_JSON_ARRAY] = {"JSON array of records", NULL},
    [PMET_TEXT_JSON_STRING_ARRAY] = {"JSON array of strings", NULL},
    [PMET_TEXT_WIKIEXTRACTOR] = {"wikiextractor", NULL},
    [PMET_TEXT_WIKITEXT] = {"wikitext", NULL},
    [PMET_TEXT_PLAIN] = {"plain text", NULL},
    [CSV] = {"CSV", "python3 -c \"import pandas; pandas.read_csv('FILE', sep=None, engine='python')" TO_JSON},
    [JSON_NUMBERS] = {"JSON array of numbers or arrays", WRITE_LINES},
    [PYTHON_LIST] = {"Python list", "python3 -c \"import ast, json; "
                                    "print(json.dumps(ast.literal_eval(open('FILE').read())))\" > text.json"},
    [PYTHON_DICTS] = {"Python dict", "python3 -c \"import ast, json; [print(json.dumps(ast.literal_eval(x))) "
                                     "for x in open('FILE')]\" > text.jsonl"},
    [UTF_16] = {"UTF-16", "iconv -f UTF-16 -t UTF-8 FILE > text.txt"},
    [UTF_32] = {"UTF-32", "iconv -f UTF-32 -t UTF-8 FILE > text.txt"},
    [HTML] = {"HTML", "pandoc -f html -t plain FILE -o text.txt"},
    [WIKIPEDIA_XML] = {"MediaWiki XML dump", "wikiextractor --json -o texts FILE"},
    [XML] = {"XML", WRITE_LINES},
    [RTF] = {"RTF", "pandoc -f rtf -t plain FILE -o text.txt"},
    [LFS] = {"Git LFS pointer", "git lfs pull"},
};

/* Those with bytes of their own. */
static const struct {
    struct pmet_text_form form;
    size_t at, n;
    const char *magic;
} by_magic[] = {
    {{"gzip, twice", "zcat FILE" PIPE}, 0, 2, "\x1f\x8b"},
    {{"zstd, twice", "zstdcat FILE" PIPE}, 0, 4, "\x28\xb5\x2f\xfd"},
    {{"bzip2", "bzcat FILE" PIPE}, 4, 6, "1AY&SY"},
    {{"xz", "xzcat FILE" PIPE},
     0,
     6,
     "\xfd"
     "7zXZ\0"},
    {{"lz4", "lz4cat FILE" PIPE}, 0, 4, "\x04\x22\x4d\x18"},
    {{"lzip", "lzip -dc FILE" PIPE}, 0, 5, "LZIP\x01"},
    {{"compress (.Z)", "uncompress -c FILE" PIPE}, 0, 2, "\x1f\x9d"},
    {{"7z", "7z x -so FILE" PIPE}, 0, 6, "7z\xbc\xaf\x27\x1c"},
    {{"RAR", "unrar p -inul FILE" PIPE}, 0, 6, "Rar!\x1a\x07"},
    {{"zip", "unzip -p FILE" PIPE}, 0, 4, "PK\x03\x04"},
    {{"tar", "tar -xOf FILE" PIPE}, 257, 5, "ustar"},
    {{"parquet", "python3 -c \"import pandas; pandas.read_parquet('FILE')" TO_JSON}, 0, 4, "PAR1"},
    {{"Arrow", "python3 -c \"import pandas; pandas.read_feather('FILE')" TO_JSON}, 0, 6, "ARROW1"},
    {{"Arrow stream",
      "python3 -c \"import datasets; datasets.Dataset.from_file('FILE').to_json('text.jsonl')\""},
     0,
     4,
     "\xff\xff\xff\xff"},
    {{"Avro", WRITE_LINES}, 0, 4, "Obj\x01"},
    {{"pickle", WRITE_LINES " (reading a pickle runs its code)"}, 0, 1, "\x80"},
    {{"NumPy array", WRITE_LINES}, 0, 6, "\x93NUMPY"},
    {{"HDF5", WRITE_LINES}, 0, 4, "\x89HDF"},
    {{"SQLite", WRITE_LINES}, 0, 15, "SQLite format 3"},
    {{"PDF", "pdftotext FILE text.txt"}, 0, 5, "%PDF-"},
    {{"Word document", "antiword FILE > text.txt"}, 0, 4, "\xd0\xcf\x11\xe0"},
};
enum { N_MAGIC = sizeof by_magic / sizeof *by_magic };

const struct pmet_text_form *pmet_text_form(size_t i)
{
    if (i < N_REFUSED_BY_TEXT)
        return &by_text[i];
    return i - N_REFUSED_BY_TEXT < N_MAGIC ? &by_magic[i - N_REFUSED_BY_TEXT].form : NULL;
}

size_t pmet_text_blanks(const char *p, size_t n)
{
    size_t i = 0;
    while (i < n && (p[i] == ' ' || p[i] == '\t' || p[i] == '\r' || p[i] == '\n'))
        i++;
    return i;
}

/* ---- JSON, as far as the first bytes show it ---- */

/* Bytes of a string in quotes of this kind. The end of the bytes may cut it off: then all of them;
 * 0 if it is none. */
static size_t string(const char *p, size_t n, char quote)
{
    if (n == 0 || *p != quote)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if (p[i] == quote)
            return i + 1;
        if ((unsigned char)p[i] < ' ' && p[i] != '\t')
            return 0;
        i += p[i] == '\\';
    }
    return n;
}

/* Behind n bytes of something comes one of these, white space apart, or the end. */
static bool goes_on(const char *p, size_t n, size_t at, const char *with)
{
    at += pmet_text_blanks(p + at, n - at);
    return at == n || (p[at] && strchr(with, p[at]));
}

/* An array of numbers, words or arrays, and nothing behind it: "[1] a list" is text. */
static bool is_array_of_others(const char *p, size_t n)
{
    size_t depth = 0, i = 0;
    for (; i < n && (i == 0 || depth > 0); i++) {
        if (!p[i] || !strchr("0123456789+-.eE,[]truefalsn \t\r\n", p[i]))
            return false;
        depth += p[i] == '[';
        depth -= p[i] == ']';
    }
    return i + pmet_text_blanks(p + i, n - i) == n;
}

static size_t form_of_array(const char *p, size_t n)
{
    const size_t at = 1 + pmet_text_blanks(p + 1, n - 1);
    if (at == n || p[at] == ']')
        return is_array_of_others(p, n) ? PMET_TEXT_JSON_STRING_ARRAY : PMET_TEXT_PLAIN;
    if (p[at] == '{') {
        const size_t next = at + 1 + pmet_text_blanks(p + at + 1, n - at - 1);
        return next == n || p[next] == '"' || p[next] == '}' ? PMET_TEXT_JSON_ARRAY
               : p[next] == '\''                             ? (size_t)PYTHON_LIST
                                                             : PMET_TEXT_PLAIN;
    }
    for (const char *quote = "\"'"; *quote; quote++) {
        const size_t len = string(p + at, n - at, *quote);
        if (len > 0 && goes_on(p, n, at + len, ",]"))
            return *quote == '"' ? PMET_TEXT_JSON_STRING_ARRAY : (size_t)PYTHON_LIST;
    }
    return is_array_of_others(p, n) ? (size_t)JSON_NUMBERS : PMET_TEXT_PLAIN;
}

/* A record that is still open where its line ends is one over several lines. */
static size_t form_of_object(const char *p, size_t n)
{
    const size_t at = 1 + pmet_text_blanks(p + 1, n - 1);
    size_t depth = 0;
    if (at < n && p[at] == '\'')
        return PYTHON_DICTS;
    if (at < n && p[at] != '"' && p[at] != '}')
        return PMET_TEXT_PLAIN;
    for (size_t i = 0; i < n; i++) {
        const size_t len = string(p + i, n - i, '"');
        if (len == 0 && p[i] == '"')
            break; /* damaged; as a line it is refused with its number */
        i += len > 0 ? len - 1 : 0;
        depth += p[i] == '{' || p[i] == '[';
        depth -= depth > 0 && (p[i] == '}' || p[i] == ']');
        if (depth == 0)
            break;
        if (p[i] == '\n' || p[i] == '\r')
            return PMET_TEXT_JSON_OBJECTS;
    }
    return PMET_TEXT_JSON_LINES;
}

/* Each line that is not blank is a string; the last may be cut off. */
static bool are_string_lines(const char *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        at += pmet_text_blanks(p + at, n - at);
        if (at == n)
            break;
        const size_t len = string(p + at, n - at, '"');
        size_t end = at + len;
        while (end < n && (p[end] == ' ' || p[end] == '\t'))
            end++;
        if (len == 0 || (end < n && p[end] != '\n' && p[end] != '\r'))
            return false;
        at = end;
    }
    return true;
}

/* ---- other text ---- */

static bool begins(const char *p, size_t n, const char *with)
{
    return n >= strlen(with) && strncasecmp(p, with, strlen(with)) == 0;
}

static size_t line_length(const char *p, size_t n)
{
    size_t i = 0;
    while (i < n && p[i] != '\n' && p[i] != '\r')
        i++;
    return i;
}

/* A first line of names such as id,text, and a second line parted like it; or a number, and then a
 * quoted field. */
static bool is_in(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static bool is_csv(const char *p, size_t n)
{
    const size_t len = line_length(p, n);
    size_t i = 0, n_name = 1, digits = 0;
    while (digits < len && isdigit((unsigned char)p[digits]))
        digits++;
    if (digits > 0 && digits + 1 < len && is_in(p[digits], ",;\t") && p[digits + 1] == '"')
        return true;
    while (i < len && !is_in(p[i], ",;\t"))
        i++;
    const char by = i < len ? p[i] : '\0';
    for (i = 0; i < len; i++) {
        if (by != '\0' && p[i] == by)
            n_name++;
        else if (!isalnum((unsigned char)p[i]) && !is_in(p[i], "_-\""))
            return false;
    }
    const size_t next = len + pmet_text_blanks(p + len, n - len);
    if (n_name == 1) /* one column: it is quoted */
        return len > 0 && next < n && (begins(p, len, "text") || begins(p, len, "\"text\"")) && len <= 6 &&
               p[next] == '"';
    return next < n && memchr(p + next, by, line_length(p + next, n - next));
}

/* Zeros in every second place. */
static bool is_utf16(const char *p, size_t n)
{
    size_t zeros[2] = {0, 0};
    n = n > 512 ? 512 : n / 2 * 2;
    for (size_t i = 0; i < n; i++)
        zeros[i % 2] += p[i] == '\0';
    return n >= 8 && (zeros[0] == 0) != (zeros[1] == 0) && 4 * (zeros[0] + zeros[1]) > n;
}

/* The row of a mark of an encoding or of bytes that only one format begins with, or SIZE_MAX. */
static size_t magic_row(const char *p, size_t n)
{
    if (n >= 4 && (memcmp(p, "\xff\xfe\0\0", 4) == 0 || memcmp(p, "\0\0\xfe\xff", 4) == 0))
        return UTF_32;
    if ((n >= 2 && (memcmp(p, "\xff\xfe", 2) == 0 || memcmp(p, "\xfe\xff", 2) == 0)) || is_utf16(p, n))
        return UTF_16;
    for (size_t i = 0; i < N_MAGIC; i++)
        if (n >= by_magic[i].at + by_magic[i].n &&
            memcmp(p + by_magic[i].at, by_magic[i].magic, by_magic[i].n) == 0)
            return N_REFUSED_BY_TEXT + i;
    return SIZE_MAX;
}

bool pmet_text_heading(const char *p, size_t n)
{
    while (n > 0 && (*p == ' ' || *p == '\t'))
        p++, n--;
    while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t'))
        n--;
    return n >= 5 && p[0] == '=' && p[1] == ' ' && p[2] != '=' && p[n - 3] != '=' && p[n - 2] == ' ' &&
           p[n - 1] == '=';
}

size_t pmet_text_form_of(const char *head, size_t n)
{
    const size_t magic = magic_row(head, n), at = pmet_text_blanks(head, n);
    const char *p = head + at;
    if (magic != SIZE_MAX)
        return magic;
    n -= at;
    if (n == 0)
        return PMET_TEXT_PLAIN;
    if (begins(p, n, "{\\rtf"))
        return RTF;
    if (*p == '[')
        return form_of_array(p, n);
    if (*p == '{')
        return form_of_object(p, n);
    if (*p == '"' && are_string_lines(p, n))
        return PMET_TEXT_JSON_STRING_LINES;
    if (begins(p, n, "<doc "))
        return PMET_TEXT_WIKIEXTRACTOR;
    if (begins(p, n, "<!doctype html") || begins(p, n, "<html"))
        return HTML;
    if (begins(p, n, "<mediawiki"))
        return WIKIPEDIA_XML;
    if (begins(p, n, "<?xml"))
        return XML;
    if (begins(p, n, "version https://git-lfs"))
        return LFS;
    if (pmet_text_heading(p, line_length(p, n)))
        return PMET_TEXT_WIKITEXT;
    return is_csv(p, n) ? (size_t)CSV : PMET_TEXT_PLAIN;
}

enum pmet_status pmet_text_form_refuse(size_t row, const char *path, struct pmet_error *err)
{
    const struct pmet_text_form *form = pmet_text_form(row);
    const bool named = strcmp(path, "standard input") != 0;
    char hint[600];
    size_t n = 0;
    for (const char *p = form->hint; *p && n + 1 < sizeof hint; p++) {
        if (named && strncmp(p, "FILE", 4) == 0) {
            n += (size_t)snprintf(hint + n, sizeof hint - n, "%s", path);
            n = n < sizeof hint ? n : sizeof hint - 1;
            p += 3;
        } else
            hint[n++] = *p;
    }
    hint[n] = '\0';
    return pmet_fail(err, PMET_FORMAT, "%s: found %s; expected text or JSON: %s", path, form->name, hint);
}
