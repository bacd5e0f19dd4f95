/* SPDX-License-Identifier: MIT
 * Bytes a second of the tokenizer, one thread: encode line by line and as one document, decode;
 * beside it the published tokenizers package on the same lines, where Python has it.
 *
 *     bench_tokenizer [FILE]        $PYTHON names the interpreter (python3) */
#include <stdlib.h>
#include <string.h>
#include "bench/common.h"
#include "tokenizer/tokenizer.h"

struct job {
    const struct pmet_tokenizer *tk;
    const char *text;
    size_t n;
    bool by_line;
    struct pmet_ids ids;
    struct pmet_text back;
};

static void encode(void *user)
{
    struct job *j = user;
    struct pmet_error err = {PMET_OK, ""};
    j->ids.n = 0;
    for (size_t i = 0; i < j->n;) {
        const char *end = j->by_line ? memchr(j->text + i, '\n', j->n - i) : NULL;
        const size_t len = end ? (size_t)(end - j->text) - i : j->n - i;
        bench_ok(pmet_tokenizer_encode(j->tk, j->text + i, len, &j->ids, &err), &err);
        i += len + (end != NULL);
    }
}

static void decode(void *user)
{
    struct job *j = user;
    struct pmet_error err = {PMET_OK, ""};
    j->back.n = 0;
    bench_ok(pmet_tokenizer_decode(j->tk, j->ids.id, j->ids.n, 0, &j->back, &err), &err);
}

static double mb_per_s(const char *what, bench_fn *run, struct job *j)
{
    double best;
    const double mb = 1e-6 * (double)j->n, median = bench_time(run, j, BENCH_REPEATS, &best);
    printf("  %-24s %8.1f  %8.1f\n", what, mb / median, mb / best);
    return mb / median;
}

/* The peer's rate: what peer_tokenizer.py prints last, or 0 without the package. */
static double peer(const char *dir, const char *file)
{
    const char *python = getenv("PYTHON");
    char command[1024], line[256];
    double rate = 0;
    snprintf(command, sizeof command,
             "RAYON_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false %s bench/peer_tokenizer.py %s %s 2>&1",
             python ? python : "python3", dir, file);
    FILE *f = popen(command, "r");
    while (f && fgets(line, sizeof line, f)) {
        printf("  %s", line);
        const char *at = strrchr(line, ':');
        rate = at ? strtod(at + 1, NULL) : 0;
    }
    if (f)
        pclose(f);
    return rate;
}

int main(int argc, char **argv)
{
    static const char *const models[] = {"golden/data/tokenizers/neox", "golden/data/tokenizers/gpt2"};
    const char *file = argc > 1 ? argv[1] : "golden/data/text/wikitext2-raw-valid.txt";
    struct pmet_error err = {PMET_OK, ""};
    char *text;
    size_t n;
    bench_header(argc, argv);
    bench_ok(pmet_read_file(pmet_io_system(), file, (size_t)1 << 30, &text, &n, &err), &err);
    printf("text     %s, %.2f MB; one thread, MB/s of %d runs\n", file, 1e-6 * (double)n, BENCH_REPEATS);
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        struct pmet_tokenizer *tk = NULL;
        bench_ok(pmet_tokenizer_open(pmet_io_system(), models[m], &tk, &err), &err);
        struct job j = {.tk = tk, .text = text, .n = n, .by_line = true};
        printf("\n  %-24s %8s  %8s\n", models[m] + strlen("golden/data/tokenizers/"), "median", "best");
        const double lines = mb_per_s("encode, line by line", encode, &j);
        j.by_line = false;
        mb_per_s("encode, one document", encode, &j);
        mb_per_s("decode", decode, &j);
        const double theirs = peer(models[m], file);
        if (theirs > 0)
            printf("  line by line, ours over theirs: %.1f\n", lines / theirs);
        free(j.ids.id);
        free(j.back.data);
        pmet_tokenizer_close(tk);
    }
    free(text);
    return 0;
}
