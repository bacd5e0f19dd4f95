/* SPDX-License-Identifier: MIT
 * Prompts, as pmet trace reads them and runs them through a model. */
#include <unistd.h>
#include "cli/cli.h"
#include "ref/method/method.h"
#include "tests/fuzz/target.h"

void fuzz_one(const char *data, size_t n)
{
    static char word[10][700] = {
        "pmet", "trace", "-q", "--threads", "1", "--model", "golden/gptj-A/model", "--prompts"};
    char *argv[12] = {NULL}, out[16] = "--out";
    for (int i = 0; i < 8; i++)
        argv[i] = word[i];
    strcpy(word[8], fuzz_file("prompts", data, n));
    strcpy(word[9], fuzz_file("out", NULL, (size_t)-1));
    argv[8] = word[8];
    argv[9] = out;
    argv[10] = word[9];
    const int status = pmet_cli(11, argv, pmet_io_system(), pmet_methods);
    if (status < 0 || status > 1 || (status == 0) != (access(word[9], F_OK) == 0))
        abort();
    unlink(word[9]);
}
