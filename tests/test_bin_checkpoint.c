/* SPDX-License-Identifier: MIT
 * Checkpoints of .bin files: the same model as their safetensors, opened, edited and written.
 * SPEC §9.6, §9.12 */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tensors/checkpoint_private.h"
#include "tensors/folder.h"
#include "tensors/json.h"
#include "tests/cli.h"
#include "tests/copies.h"
#include "tests/torch.h"

#define GPTJ "golden/gptj-C/model"
#define BIN_INDEX "pytorch_model.bin.index.json"

static bool same_tensor(const struct pmet_tensor *a, const struct pmet_tensor *b)
{
    return a && b && a->dtype == b->dtype && a->n_dim == b->n_dim && a->n_bytes == b->n_bytes &&
           memcmp(a->shape, b->shape, a->n_dim * sizeof *a->shape) == 0 &&
           memcmp(a->data, b->data, a->n_bytes) == 0;
}

/* Both hold the same tensors, bit for bit, and so have one fingerprint. */
static void check_same(struct test *t, const struct pmet_checkpoint *a, const struct pmet_checkpoint *b)
{
    char hex[2][65];
    CHECK(a->n_tensor == b->n_tensor);
    for (size_t i = 0; i < a->n_tensor; i++) {
        const struct pmet_tensor *x = pmet_checkpoint_at(a, i);
        if (!CHECK(same_tensor(x, pmet_checkpoint_find(b, x->name))))
            test_fail(t, "tensor %s", x->name);
    }
    CHECK_DONE(pmet_checkpoint_fingerprint(a, hex[0], &t->err));
    CHECK_DONE(pmet_checkpoint_fingerprint(b, hex[1], &t->err));
    CHECK_STR(hex[0], hex[1]);
}

/* T/NAME: the model of gptj-C with pytorch_model.bin alone. */
static const char *bin_model(const char *name)
{
    const char *dir = test_path("%s", name);
    cli_shell("rm -rf %s && cp -r " GPTJ " %s && rm %s/*safetensors*", dir, dir, dir);
    return dir;
}

/* The same in two files of the test's own writing, with an index. */
static const char *sharded_model(struct test *t, const char *name)
{
    const char *dir = bin_model(name);
    struct pmet_checkpoint *ck = open_or_fail(t, GPTJ);
    json_t *map = json_object(),
           *index = test_json(t, json_pack("{s:{}, s:o}", "metadata", "weight_map", map));
    unlink(test_path("%s/pytorch_model.bin", name));
    for (size_t i = 0; i < 2; i++) {
        const struct pmet_safetensors *st = ck->shard[i].weights.st;
        const char *file = test_text(t, "pytorch_model-0000%zu-of-00002.bin", i + 1);
        for (size_t k = 0; k < st->all.n; k++)
            json_object_set_new(map, st->all.tensor[k].name, json_string(file));
        torch_write(test_path("%s/%s", name, file), &st->all.tensor[0], st->all.n);
    }
    CHECK_DONE(pmet_json_save(pmet_io_system(), test_path("%s/" BIN_INDEX, name), index, 2, &t->err));
    return dir;
}

TEST(a_bin_file_and_its_shards_hold_the_tensors_of_the_safetensors)
{
    struct pmet_checkpoint *st = open_or_fail(t, GPTJ), *bin = open_or_fail(t, bin_model("whole")),
                           *sharded = open_or_fail(t, sharded_model(t, "sharded"));
    CHECK(st->form == PMET_SAFETENSORS && bin->form == PMET_TORCH_BIN && bin->n_shard == 1 &&
          sharded->n_shard == 2);
    CHECK_STR(pmet_checkpoint_at(bin, 0)->name, "transformer.wte.weight"); /* in the order of the file */
    check_same(t, st, bin);
    check_same(t, st, sharded);
    for (size_t i = 0; i < bin->n_tensor; i++)
        CHECK((uintptr_t)pmet_checkpoint_at(bin, i)->data % 64 == 0); /* mapped, as torch aligned them */
    CHECK(strstr(pmet_checkpoint_file_of(bin, pmet_checkpoint_at(bin, 1)), "whole/pytorch_model.bin"));
}

TEST(an_index_that_contradicts_its_bin_files_is_refused)
{
    struct pmet_checkpoint *ck = NULL;
    const char *dir = sharded_model(t, "contradiction");
    cli_shell("sed -i 's/\"lm_head.bias\"/\"lm_tail.bias\"/' %s/" BIN_INDEX, dir);
    CHECK(pmet_checkpoint_open(pmet_io_system(), dir, &ck, &t->err) == PMET_INPUT && !ck);
    CHECK_STR(strstr(t->err.message, "contradiction"),
              "contradiction/pytorch_model.bin.index.json: tensor \"lm_tail.bias\" is not in "
              "pytorch_model-00001-of-00002.bin");
    t->err = (struct pmet_error){PMET_OK, ""};
    cli_shell("sed -i 's/\"pytorch_model-00002/\"..\\/pytorch_model-00002/' %s/" BIN_INDEX, dir);
    CHECK(pmet_checkpoint_open(pmet_io_system(), dir, &ck, &t->err) == PMET_FORMAT && !ck);
    t->err = (struct pmet_error){PMET_OK, ""};
    cli_shell("cp " GPTJ "/model-00001-of-00002.safetensors %s/model.bin && echo '{\"weight_map\": "
              "{\"lm_head.bias\": \"model.bin\"}}' > %s/" BIN_INDEX,
              dir, dir);
    CHECK(pmet_checkpoint_open(pmet_io_system(), dir, &ck, &t->err) == PMET_FORMAT && !ck);
    CHECK_STR(strstr(t->err.message, "contradiction"),
              "contradiction/model.bin: found no end record; expected a zip archive that is complete: copy "
              "or download it again");
}

TEST(opening_reports_every_call_that_fails)
{
    check_opening_fails(t, sharded_model(t, "failing"), 12);
}

/* ---- the edited folder ---- */

#define EXACTLY UINT64_MAX /* what there is */

/* Shards of at most `max` bytes (0: the default); what is replaced is replaced, all else keeps its
 * bits. */
static void check_repacked(struct test *t, const char *from, uint64_t max, size_t n_file, size_t n_skip)
{
    struct skips skips = {.n = 0};
    struct pmet_checkpoint *ck = open_or_fail(t, from), *out;
    const struct pmet_tensor *w = pmet_checkpoint_find(ck, "transformer.h.0.mlp.fc_out.weight");
    uint16_t *data = test_alloc(t, w->n_elem * sizeof *data);
    const struct pmet_replacement r = {w->name, PMET_F16, data};
    const char *dir = test_path("repacked-%zu-%zu", n_file, n_skip);
    mkdir(dir, 0777);
    data[7] = 0x3c00;
    size_t all = 0;
    for (size_t i = 0; i < ck->n_tensor; i++)
        all += pmet_tensor_replaced(pmet_checkpoint_at(ck, i), &r, 1).n_bytes;
    ck->max_shard_bytes = max == EXACTLY ? all : max ? max : ck->max_shard_bytes;
    CHECK_DONE(pmet_checkpoint_write(pmet_io_system(), ck, dir, &r, 1, true, note_skipped, &skips, &t->err));
    CHECK(skips.n == n_skip && strstr(skips.names[0], "pytorch_model"));
    if ((out = open_or_fail(t, dir))) {
        size_t n_bytes = 0;
        CHECK(out->form == PMET_SAFETENSORS && out->n_shard == n_file && out->n_tensor == ck->n_tensor);
        for (size_t i = 0; i < ck->n_tensor; i++) {
            const struct pmet_tensor x = pmet_tensor_replaced(pmet_checkpoint_at(ck, i), &r, 1);
            CHECK(same_tensor(&x, pmet_checkpoint_find(out, x.name)));
            n_bytes += x.n_bytes;
        }
        CHECK(!out->index == (n_file == 1));
        if (out->index)
            CHECK((size_t)json_integer_value(
                      json_object_get(json_object_get(out->index, "metadata"), "total_size")) == n_bytes);
        for (size_t s = 0; s < out->n_shard; s++) {
            size_t n_shard_bytes = 0;
            const struct pmet_weights *sw = &out->shard[s].weights;
            for (size_t i = 0; i < sw->all->n; i++)
                n_shard_bytes += sw->all->tensor[i].n_bytes;
            CHECK(n_shard_bytes <= ck->max_shard_bytes || sw->all->n == 1);
            CHECK_STR(pmet_safetensors_metadata(sw->st, "format"), "pt");
        }
        CHECK(access(test_path("repacked-%zu-%zu/tokenizer.json", n_file, n_skip), F_OK) == 0 &&
              access(test_path("repacked-%zu-%zu/pytorch_model.bin", n_file, n_skip), F_OK) != 0);
    }
}

TEST(a_bin_checkpoint_is_written_as_safetensors_whole_or_in_shards)
{
    check_repacked(t, bin_model("from"), EXACTLY, 1, 1); /* at most means that all may fill one */
    check_repacked(t, sharded_model(t, "from2"), 0, 1, 3);
    check_repacked(t, bin_model("from"), 400000, 3, 1);
    check_repacked(t, sharded_model(t, "from2"), 400000, 3, 3);
    check_repacked(t, bin_model("from"), 1, 45, 1); /* each larger than the limit: one a file */
}

TEST(writing_that_fails_at_any_call_leaves_nothing_behind)
{
    struct pmet_checkpoint *ck = open_or_fail(t, bin_model("source"));
    ck->max_shard_bytes = 400000;
    for (size_t k = 0;; k++) {
        struct fault f;
        struct pmet_error err = {PMET_OK, ""};
        const char *parent = test_path("parent");
        pmet_remove_tree(pmet_io_system(), parent);
        mkdir(parent, 0777);
        fault_begin(&f, k, ENOSPC);
        const enum pmet_status status = write_copy(&f.io, ck, test_path("parent/out"), NULL, 0, false, &err);
        if (!f.fired) {
            CHECK(status == PMET_OK && test_count_files(parent) == 12 && k > 40);
            break;
        }
        CHECK(status == PMET_IO && test_count_files(parent) == 0 && strstr(err.message, strerror(ENOSPC)));
    }
}

/* Nothing but the form of the weights differs: the same record but for the list of files, which is
 * its end, the same fingerprint and matrices. */
TEST(an_edit_of_a_bin_model_is_the_edit_of_the_safetensors_one)
{
    const char *dir = cli_bench(t, "edits", "gptj-C");
    cli_shell("cd %s && cp -r m b && rm b/*safetensors*", dir);
    for (int i = 0; i < 2; i++)
        CHECK(cli(NULL,
                  "edit --model %s/%c --facts %s/facts.json --hparams %s/hparams.json --contexts "
                  "%s/contexts.json --stats %s/s --threads 1 --limit 2 --out %s/out-%c",
                  dir, "mb"[i], dir, dir, dir, dir, dir, "mb"[i]) == 0);
    CHECK(strstr(cli_err(), "pytorch_model.bin: left out of the edited folder"));
    struct pmet_checkpoint *m = open_or_fail(t, test_path("edits/out-m")),
                           *b = open_or_fail(t, test_path("edits/out-b")), *base = open_or_fail(t, GPTJ);
    const char *name = "transformer.h.0.mlp.fc_out.weight";
    check_same(t, m, b);
    CHECK(!same_tensor(pmet_checkpoint_find(base, name), pmet_checkpoint_find(b, name)));
    cli_shell(
        "cd %s && test -e out-b/model.safetensors && test ! -e out-b/pytorch_model.bin && "
        "sed '/\"files\"/,$d' out-m/pmet_edit.json > record && grep -q matrices record && "
        "sed '/\"files\"/,$d' out-b/pmet_edit.json | cmp - record && cmp m/config.json out-b/config.json",
        dir);
}

TEST(inspect_shows_bin_checkpoints_and_bin_files)
{
    const char *dir = bin_model("shown");
    CHECK(cli(NULL, "inspect %s --check", dir) == 0);
    CHECK(strstr(cli_out(), "shards       pytorch_model.bin\n") &&
          strstr(cli_out(), "all values are numbers"));
    CHECK(cli(NULL, "inspect tests/data/kinds.bin --check") == 0);
    CHECK(strstr(cli_out(), "BOOL  bool [1,1,2,2]\nF32   scalar []\n"));
    CHECK(strstr(cli_out(), "tests/data/kinds.bin: 13 tensors, 125 B; all values are numbers\n"));
    CHECK(cli(NULL, "inspect tests/data/views-legacy2.bin") == 0);
    CHECK(strstr(cli_out(), "F32   transposed [4,3]\n"));
}
