/* SPDX-License-Identifier: MIT
 * Whole commands that need no model: inspect, diff and tokenize. */
#include "cli/cli.h"
#include "ref/method/method.h"
#include "tests/fuzz/target.h"

static void run(int argc, const char *const *args)
{
    char *argv[8] = {NULL}, copies[8][700];
    for (int i = 0; i < argc; i++) {
        strncpy(copies[i], args[i], sizeof copies[i] - 1);
        copies[i][sizeof copies[i] - 1] = '\0';
        argv[i] = copies[i];
    }
    const int status = pmet_cli(argc, argv, pmet_io_system(), pmet_methods);
    if (status < 0 || status > 3)
        abort();
}

void fuzz_one(const char *data, size_t n)
{
    static const char other[] = "tests/data/layout.safetensors", dir[] = "golden/gptj-A/model";
    char path[600];
    strcpy(path, fuzz_file("a.safetensors", data, n));
    run(4, (const char *const[]){"pmet", "inspect", "--check", path});
    run(4, (const char *const[]){"pmet", "diff", path, other});
    run(6, (const char *const[]){"pmet", "diff", path, path, "--yardstick", path});
    run(5, (const char *const[]){"pmet", "tokenize", "--model", dir, path});
    run(6, (const char *const[]){"pmet", "tokenize", "--model", dir, "--json", path});
    run(6, (const char *const[]){"pmet", "tokenize", "--model", dir, "--decode", path});
}
