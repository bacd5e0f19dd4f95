/* SPDX-License-Identifier: MIT
 * Files that are mostly a hole: 2 GiB by their size, a few KiB on the disk. No reader takes memory
 * for the hole; what can be told from the size or the beginning is. */
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tensors/safetensors.h"
#include "tests/cli.h"
#include "tests/test.h"

#define HOLE ((off_t)2 << 30)
#define EDIT                                                                                                 \
    "edit -q --threads 1 --model m --facts facts.json --hparams hparams.json --contexts contexts.json "      \
    "--stats s --limit 1 --out out"
#define TOO_LONG(n) ": more than " #n " bytes; expected at most that\n"

static const struct sparse {
    const char *file;
    bool from_zero; /* all of it is the hole; else its contents are before it */
    const char *command;
    int exit;
    const char *message; /* at the end */
} files[] = {
    {"m/config.json", false, "inspect m", 1, TOO_LONG(268435456)},
    {"m/config.json", true, "inspect m", 1, TOO_LONG(268435456)},
    {"m/tokenizer.json", false, "generate --model m --prompt x", 1, TOO_LONG(268435456)},
    {"m/special_tokens_map.json", true, "inspect m", 1, TOO_LONG(268435456)},
    {"m/pmet_edit.json", true, "inspect m", 1, TOO_LONG(67108864)},
    {"m/model.safetensors", true, "inspect m", 1, "not JSON: unexpected token near end of file\n"},
    {"m/pytorch_model.bin", true, "inspect m/pytorch_model.bin", 1, ""},
    {"hparams.json", false, EDIT " --force", 1, TOO_LONG(1048576)},
    {"contexts.json", true, EDIT " --force", 1, TOO_LONG(16777216)},
    {"facts.json", true, EDIT " --force", 1, ""},
    {"s/transformer.h.0.mlp.fc_out.safetensors", true, EDIT " --force", 1, ""},
    {"s/transformer.h.0.mlp.fc_out.safetensors", false, EDIT " --force", 1, ""},
    {"text.jsonl", true, "tokenize --model m text.jsonl", 1, "line 1" TOO_LONG(16777216)},
    {"text.jsonl", true, "tokenize --decode --model m text.jsonl", 1, "line 1" TOO_LONG(16777216)},
    {"text.jsonl", true, "tokenize --json --model m text.jsonl", 1, TOO_LONG(268435456)},
    {"prompts.json", false, "trace --model m --prompts prompts.json --out t.safetensors", 1,
     TOO_LONG(268435456)},
    {"w/facts.journal", false, EDIT " --work w --force", 0, ""},
    {"w/facts.journal", true, EDIT " --work w --force", 0, ""},
    {"w/matrix-0.safetensors", false, EDIT " --work w --force", 0, ""},
    {"w/matrix-0.safetensors", true, EDIT " --work w --force", 0, ""},
};

static size_t peak_mib(void)
{
    struct rusage use;
    return getrusage(RUSAGE_SELF, &use) == 0 ? (size_t)use.ru_maxrss / 1024 : 0;
}

/* A record, or an array under the right key, that is the hole: nothing is summed up over it. */
TEST(a_record_or_an_array_is_not_as_long_as_a_hole)
{
    static const char digits[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    struct pmet_safetensors *st = NULL;
    cli_enter(t, "claims", "gptj-A");
    CHECK(cli(NULL, EDIT " --work w") == 0);
    const size_t before = peak_mib();
    const uint64_t n_record = (uint64_t)HOLE - 8 - 64;
    test_write_file("record", &n_record, sizeof n_record);
    CHECK(truncate("record", HOLE - 64) == 0);
    cli_shell("cp w/facts.journal kept && printf %s >> record && cp --sparse=always record w/facts.journal",
              digits);
    CHECK(cli(NULL, EDIT " --work w --force") == 1);
    CHECK(strstr(cli_err(), "w/facts.journal: byte 0: found a damaged record"));
    cli_shell("mv kept w/facts.journal");
    CHECK_DONE(pmet_safetensors_open(pmet_io_system(), "w/matrix-0.safetensors", &st, &t->err));
    char header[512] = "";
    snprintf(header + 8, sizeof header - 8,
             "{\"__metadata__\":{\"key\":\"%s\",\"sha256\":\"%s\"},\"W\":{\"dtype\":\"U8\",\"shape\":"
             "[%lld],\"data_offsets\":[0,%lld]}}",
             pmet_safetensors_metadata(st, "key"), digits, (long long)HOLE, (long long)HOLE);
    pmet_safetensors_close(st);
    const size_t n = strlen(header + 8);
    const uint64_t n_header = n;
    memcpy(header, &n_header, 8);
    unlink("w/matrix-0.safetensors");
    test_write_file("w/matrix-0.safetensors", header, n + 8);
    CHECK(truncate("w/matrix-0.safetensors", HOLE + (off_t)n + 8) == 0);
    CHECK(cli(NULL, EDIT " --work w --force") == 0);
    if (!CHECK(peak_mib() < before + 200))
        test_fail(t, "%zu MiB, %zu before", peak_mib(), before);
}

TEST(a_hole_of_2_gib_takes_no_memory_in_any_reader)
{
    cli_enter(t, "hole", "gptj-A");
    CHECK(cli(NULL, EDIT " --work w") == 0);
    const size_t before = peak_mib();
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const struct sparse *f = &files[i];
        cli_shell("test -e %s && cp %s kept || true", f->file, f->file);
        if (f->from_zero)
            test_write_file(f->file, "", 0);
        CHECK(truncate(f->file, HOLE) == 0);
        const int status = cli(NULL, "%s", f->command);
        const char *message = cli_err();
        const size_t n = strlen(message), n_end = strlen(f->message);
        if (status != f->exit || n < n_end || strcmp(message + n - n_end, f->message) != 0)
            test_fail(t, "%s: %s: exit %d, %s", f->file, f->command, status, message);
        if (peak_mib() > before + 200)
            test_fail(t, "%s: %s: %zu MiB", f->file, f->command, peak_mib());
        cli_shell("rm %s; if test -e kept; then mv kept %s; fi", f->file, f->file);
    }
}
