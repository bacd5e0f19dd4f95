/* SPDX-License-Identifier: MIT
 * Checkpoint directories: opening them, refusing contradictory ones, writing edited copies whatever
 * fails, fingerprints. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tensors/folder.h"
#include "tests/copies.h"

#define GPTJ "golden/gptj-C/model"
#define NEOX "golden/neox-C/model"
#define SHARD1 "model-00001-of-00002.safetensors"
#define SHARD2 "model-00002-of-00002.safetensors"
#define INDEX "model.safetensors.index.json"

/* A shard of one-element tensors with the given names. */
static void write_shard(const char *path, const char *const *names, size_t n)
{
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_tensor tensors[4];
    const float one = 1;
    for (size_t i = 0; i < n; i++)
        tensors[i] = test_tensor(names[i], PMET_F32, 1, 0, &one);
    if (pmet_safetensors_write(pmet_io_system(), path, tensors, n, NULL, 0, &err) != PMET_OK) {
        printf("%s\n", err.message);
        exit(1);
    }
}

/* A checkpoint of two shards: a and b in a.safetensors, c in b.safetensors. */
static const char *small_checkpoint(const char *index)
{
    static const char *const first[] = {"a", "b"}, *const second[] = {"c"};
    const char *dir = test_path("small");
    pmet_remove_tree(pmet_io_system(), dir);
    mkdir(dir, 0777);
    test_write_text(test_path("small/config.json"), "{\"model_type\":\"gptj\"}");
    write_shard(test_path("small/a.safetensors"), first, 2);
    write_shard(test_path("small/b.safetensors"), second, 1);
    test_write_text(test_path("small/" INDEX), index);
    return dir;
}

static const char good_index[] =
    "{\"metadata\":{\"total_size\":12,\"more\":\"x\"},\"weight_map\":{\"c\":\"b.safetensors\",\"a\":\"a."
    "safetensors\",\"b\":\"a.safetensors\"},\"other\":[1]}";

static void refuse(struct test *t, const char *dir, enum pmet_status expected, const char *message)
{
    struct pmet_checkpoint *ck = NULL;
    CHECK_REFUSED(pmet_checkpoint_open(pmet_io_system(), dir, &ck, &t->err), expected, message);
    CHECK(!ck);
}

TEST(sharded_and_single_checkpoints_open)
{
    static const struct {
        const char *dir;
        size_t n_shard;
        const char *name;
    } cases[] = {{GPTJ, 2, "transformer.wte.weight"},
                 {NEOX "/", 2, "gpt_neox.layers.0.mlp.dense_4h_to_h.weight"},
                 {"golden/gptj-A/model", 1, "lm_head.bias"},
                 {"golden/neox-A/model", 1, "embed_out.weight"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pmet_checkpoint *ck;
        if (!CHECK_DONE(pmet_checkpoint_open(pmet_io_system(), cases[i].dir, &ck, &t->err)))
            continue;
        CHECK(ck->n_shard == cases[i].n_shard);
        CHECK(json_is_object(ck->config));
        CHECK(strncmp(ck->dir, cases[i].dir, strlen(ck->dir)) == 0);
        for (size_t k = 0; k < ck->n_tensor; k++) {
            const struct pmet_tensor *x = pmet_checkpoint_at(ck, k);
            CHECK(pmet_checkpoint_find(ck, x->name) == x &&
                  strstr(pmet_checkpoint_file_of(ck, x), ".safetensors"));
        }
        CHECK(pmet_checkpoint_find(ck, cases[i].name) && !pmet_checkpoint_find(ck, "none"));
        pmet_checkpoint_close(ck);
    }
}

TEST(an_index_that_contradicts_its_shards_is_refused)
{
#define MAP(entries) "{\"weight_map\":{" entries "}}"
#define AB "\"a\":\"a.safetensors\",\"b\":\"a.safetensors\""
    static const struct {
        const char *index;
        enum pmet_status status;
        const char *message;
    } cases[] = {
        {MAP(AB ",\"c\":\"z.safetensors\""), PMET_IO,
         "small/z.safetensors: is missing; expected it by model.safetensors.index.json: is the download "
         "complete?"},
        {MAP(AB ",\"d\":\"a.safetensors\",\"c\":\"b.safetensors\""), PMET_INPUT,
         "small/" INDEX ": tensor \"d\" is not in a.safetensors"},
        {MAP("\"a\":\"a.safetensors\",\"c\":\"b.safetensors\""), PMET_INPUT,
         "small/a.safetensors: tensor \"b\" is mapped to no file by " INDEX},
        {MAP(AB), PMET_OK, NULL}, /* b.safetensors is no shard then */
        {MAP(AB ",\"c\":\"../b.safetensors\""), PMET_FORMAT,
         "small/" INDEX ": weight_map: \"c\": found \"../b.safetensors\"; expected a file of this folder"},
        {MAP(AB ",\"c\":\"/etc/passwd\""), PMET_FORMAT,
         "small/" INDEX ": weight_map: \"c\": found \"/etc/passwd\"; expected a file of this folder"},
        {MAP(AB ",\"c\":\"..\""), PMET_FORMAT,
         "small/" INDEX ": weight_map: \"c\": found \"..\"; expected a file of this folder"},
        {MAP(AB ",\"c\":\"\""), PMET_FORMAT,
         "small/" INDEX ": weight_map: \"c\": found \"\"; expected a file of this folder"},
        {MAP(AB ",\"c\":3"), PMET_FORMAT,
         "small/" INDEX ": weight_map: \"c\": found an integer; expected a string"},
        {MAP(AB ",\"a\":\"b.safetensors\""), PMET_FORMAT,
         "small/" INDEX ": line 1 column 58: duplicate object key near '\"a\"'"},
        {MAP(AB ",\"c\":\"config.json\""), PMET_FORMAT,
         "small/config.json: byte 0: header of 6875982213128462971 bytes; expected at most 100000000"},
        {"{\"weight_map\":{\"a\":\"a.safe", PMET_FORMAT,
         "small/" INDEX ": line 1 column 26: not JSON: premature end of input near '\"a.safe'"},
        {"{}", PMET_FORMAT, "small/" INDEX ": weight_map: found nothing; expected an object"},
        {"[]", PMET_FORMAT, "small/" INDEX ": found an array; expected an object"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *dir = small_checkpoint(cases[i].index);
        if (cases[i].message) {
            refuse(t, dir, cases[i].status, cases[i].message);
        } else {
            struct pmet_checkpoint *ck;
            if (CHECK_DONE(pmet_checkpoint_open(pmet_io_system(), dir, &ck, &t->err)))
                pmet_checkpoint_close(ck);
        }
    }
}

TEST(a_tensor_in_two_shards_is_refused)
{
    static const char *const names[] = {"c", "a"};
    const char *dir = small_checkpoint(good_index);
    write_shard(test_path("small/b.safetensors"), names, 2);
    refuse(t, dir, PMET_INPUT, "small/b.safetensors: tensor \"a\" is mapped to a.safetensors by " INDEX);
}

TEST(a_folder_without_weights_is_refused)
{
    const char *dir = small_checkpoint(good_index);
    unlink(test_path("small/" INDEX));
    refuse(
        t, dir, PMET_INPUT,
        "small: found no weights; expected model.safetensors, pytorch_model.bin or shards with their index");
    unlink(test_path("small/config.json"));
    refuse(t, dir, PMET_IO, "small/config.json: open: No such file or directory");
    test_write_text(test_path("small/config.json"), "[1]");
    refuse(t, dir, PMET_FORMAT, "small/config.json: found an array; expected an object");
}

/* As transformers looks for them: each is preferred to what stands below it. */
TEST(weights_are_looked_for_in_the_published_order)
{
    static const char *const names[] = {"model.safetensors", INDEX, "pytorch_model.bin",
                                        "pytorch_model.bin.index.json"};
    const char *dir = small_checkpoint(good_index);
    for (size_t i = 0; i < 4; i++)
        test_write_text(test_path("small/%s", names[i]), "");
    for (size_t i = 0; i < 4; i++) { /* the message tells which one was opened */
        struct pmet_error err = {PMET_OK, ""};
        struct pmet_checkpoint *ck = NULL;
        CHECK(pmet_checkpoint_open(pmet_io_system(), dir, &ck, &err) == PMET_FORMAT);
        CHECK(strstr(err.message, test_path("small/%s: ", names[i])));
        unlink(test_path("small/%s", names[i]));
    }
}

/* All tensors of `ck` are in `edited`, equal but for those replaced. */
static void compare(struct test *t, const struct pmet_checkpoint *ck, const struct pmet_checkpoint *edited,
                    const struct pmet_replacement *r, size_t n)
{
    CHECK(ck->n_tensor == edited->n_tensor);
    for (size_t i = 0; i < ck->n_tensor; i++) {
        const struct pmet_tensor *a = pmet_checkpoint_at(ck, i), *b = pmet_checkpoint_find(edited, a->name);
        const void *data = a->data;
        enum pmet_dtype dtype = a->dtype;
        for (size_t k = 0; k < n; k++)
            if (strcmp(r[k].name, a->name) == 0) {
                data = r[k].data;
                dtype = r[k].dtype;
            }
        if (!b || b->dtype != dtype || b->n_elem != a->n_elem || b->n_dim != a->n_dim ||
            memcmp(b->shape, a->shape, a->n_dim * sizeof *a->shape) != 0 ||
            memcmp(b->data, data, b->n_bytes) != 0)
            test_fail(t, "tensor %s", a->name);
    }
}

TEST(only_shards_with_edits_are_rewritten_and_all_else_is_copied)
{
    struct pmet_checkpoint *ck = open_or_fail(t, GPTJ), *edited;
    const struct pmet_tensor *w = pmet_checkpoint_find(ck, "transformer.h.0.mlp.fc_out.weight");
    float *data = test_alloc(t, w->n_elem * sizeof *data);
    const struct pmet_replacement r = {w->name, PMET_F32, data};
    CHECK(strstr(pmet_checkpoint_file_of(ck, w), SHARD1));
    data[0] = 42;
    const char *out = test_path("edited");
    const struct skips skips = copy_into(t, "edited", ck, &r, 1, false);
    CHECK(skips.n == 1);
    CHECK_STR(skips.names[0], "pytorch_model.bin");
    CHECK(test_same_file(t, GPTJ "/" SHARD2, test_path("edited/" SHARD2)) &&
          !test_same_file(t, GPTJ "/" SHARD1, test_path("edited/" SHARD1)) &&
          test_same_file(t, GPTJ "/" INDEX, test_path("edited/" INDEX)));
    static const char *const rest[] = {"config.json", "tokenizer.json",    "tokenizer_config.json",
                                       "merges.txt",  "added_tokens.json", "special_tokens_map.json",
                                       "vocab.json"};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) {
        if (!CHECK(test_same_file(t, test_text(t, GPTJ "/%s", rest[i]), test_path("edited/%s", rest[i]))))
            test_fail(t, "%s", rest[i]);
    }
    CHECK(test_count_files(out) == 10 && access(test_path("edited/pytorch_model.bin"), F_OK) != 0);
    if ((edited = open_or_fail(t, out)))
        compare(t, ck, edited, &r, 1);
}

TEST(an_edit_that_changes_nothing_gives_the_same_bytes)
{
    static const char *const dirs[] = {GPTJ, NEOX, "golden/neox-A/model"};
    for (size_t i = 0; i < 3; i++) {
        struct pmet_checkpoint *ck = open_or_fail(t, dirs[i]);
        const struct pmet_tensor *w = pmet_checkpoint_at(ck, 1);
        const struct pmet_replacement r = {w->name, w->dtype, w->data};
        copy_into(t, test_text(t, "same%zu", i), ck, &r, 1, false);
        for (size_t s = 0; s < ck->n_shard; s++) {
            CHECK(test_same_file(t, test_text(t, "%s/%s", dirs[i], ck->shard[s].file),
                                 test_path("same%zu/%s", i, ck->shard[s].file)));
        }
    }
}

TEST(another_element_type_is_written_and_counted_in_the_index)
{
    struct pmet_checkpoint *ck = open_or_fail(t, small_checkpoint(good_index)), *edited;
    const uint16_t half = 0x3c00;
    const struct pmet_replacement r = {"c", PMET_F16, &half};
    const char *out = test_path("typed");
    const struct skips skips = copy_into(t, "typed", ck, &r, 1, false);
    CHECK(skips.n == 0);
    if ((edited = open_or_fail(t, out)))
        compare(t, ck, edited, &r, 1);
    json_error_t e;
    json_t *index = test_json(t, json_load_file(test_path("typed/" INDEX), 0, &e));
    json_t *expected = test_json(t, json_loads(good_index, 0, &e));
    json_object_set_new(json_object_get(expected, "metadata"), "total_size", json_integer(10));
    CHECK(index && json_equal(index, expected));
}

TEST(links_are_followed_and_shards_linked_on_demand)
{
    const char *dir = small_checkpoint(good_index);
    mkdir(test_path("small/sub"), 0777);
    test_write_text(test_path("blob"), "text");
    CHECK(symlink("../blob", test_path("small/linked.txt")) == 0);
    CHECK(symlink("nowhere", test_path("small/broken.txt")) == 0);
    CHECK(rename(test_path("small/a.safetensors"), test_path("blob-a")) == 0);
    CHECK(symlink("../blob-a", test_path("small/a.safetensors")) == 0); /* as the hub's cache does */
    struct pmet_checkpoint *ck = open_or_fail(t, dir);
    const float two = 2;
    const struct pmet_replacement r = {"c", PMET_F32, &two};
    const struct skips skips = copy_into(t, "linked", ck, &r, 1, true);
    CHECK(skips.n == 2);
    CHECK_STR(skips.names[0], "broken.txt");
    CHECK_STR(skips.names[1], "sub");
    struct stat a, b;
    CHECK(lstat(test_path("linked/linked.txt"), &a) == 0 && S_ISREG(a.st_mode) && a.st_nlink == 1 &&
          a.st_size == 4);
    CHECK(lstat(test_path("linked/a.safetensors"), &a) == 0 && stat(test_path("blob-a"), &b) == 0 &&
          a.st_ino == b.st_ino && a.st_nlink == 2);
    CHECK(lstat(test_path("linked/b.safetensors"), &a) == 0 && a.st_nlink == 1);
}

TEST(all_other_copies_of_the_weights_are_left_out)
{
    static const char *const copies[] = {"flax_model.msgpack",
                                         "model-q4.gguf",
                                         "MODEL.Q4_K_M.GGUF",
                                         "split.gguf.part1of2",
                                         "ggml-model-f16.bin",
                                         "gpt.ggmlv3",
                                         "model.onnx",
                                         "model.onnx_data",
                                         "model.onnx_data_1",
                                         "model.onnx.data",
                                         "onnx__MatMul_3482",
                                         "b", /* a tensor's name: data of an ONNX export */
                                         "model.safetensors.bak",
                                         "other.safetensors",
                                         "pytorch_model-00001-of-00002.bin",
                                         "pytorch_model.bin.index.json",
                                         "rng.pth",
                                         "model.pt",
                                         "model.ckpt",
                                         "model.ckpt.index",
                                         "model.ckpt-1000.data-00000-of-00001",
                                         "tf_model.h5",
                                         "tf_model.h5.index.json",
                                         "64.tflite",
                                         "rust_model.ot",
                                         "model.mlmodel",
                                         "model.npz"},
                             *const kept[] = {"tokenizer.model",  "vocab.bpe", "a.txt",    "spiece.vocab",
                                              "onnx_config.json", "robot",     "kept.json"};
    const size_t n_copy = sizeof copies / sizeof *copies, n_kept = sizeof kept / sizeof *kept;
    const char *dir = test_text(t, "%s", small_checkpoint(good_index));
    for (size_t i = 0; i < n_copy; i++)
        test_write_text(test_path("small/%s", copies[i]), "x");
    for (size_t i = 0; i < n_kept; i++)
        test_write_text(test_path("small/%s", kept[i]), "x");
    struct pmet_checkpoint *ck = open_or_fail(t, dir);
    const struct skips skips = copy_into(t, "rest", ck, NULL, 0, false);
    CHECK(skips.n == n_copy);
    for (size_t i = 0; i < n_copy; i++)
        if (access(test_path("rest/%s", copies[i]), F_OK) == 0)
            test_fail(t, "%s: copied", copies[i]);
    for (size_t i = 0; i < n_kept; i++)
        if (access(test_path("rest/%s", kept[i]), F_OK) != 0)
            test_fail(t, "%s: left out", kept[i]);
}

TEST(a_replacement_of_no_tensor_is_refused)
{
    struct skips skips = {.n = 0};
    struct pmet_checkpoint *ck = open_or_fail(t, small_checkpoint(good_index));
    const float x = 0;
    const struct pmet_replacement r = {"d", PMET_F32, &x};
    mkdir(test_path("none"), 0777);
    CHECK_REFUSED(pmet_checkpoint_write(pmet_io_system(), ck, test_path("none"), &r, 1, false, note_skipped,
                                        &skips, &t->err),
                  PMET_INPUT, "small: holds no tensor \"d\" to replace");
    CHECK(test_count_files(test_path("none")) == 0);
}

/* Fails each call of writing a copy into parent/out, where an older folder with one file stands if
 * `old`. */
static void fail_each_call(struct test *t, const struct pmet_checkpoint *ck, const struct pmet_replacement *r,
                           bool old, bool link, bool no_copy_range, int code)
{
    for (size_t k = 0;; k++) {
        struct fault f;
        struct pmet_error err = {PMET_OK, ""};
        const char *parent = test_path("parent"), *path = test_path("parent/out");
        pmet_remove_tree(pmet_io_system(), parent);
        mkdir(parent, 0777);
        if (old) {
            mkdir(path, 0777);
            test_write_text(test_path("parent/out/old"), "old");
        }
        fault_begin(&f, k, code);
        f.no_copy_range = no_copy_range;
        const enum pmet_status status = write_copy(&f.io, ck, path, r, 1, link, &err);
        if (!f.fired) {
            CHECK(status == PMET_OK && test_count_files(parent) == 6 && k > 30);
            struct pmet_checkpoint *edited = open_or_fail(t, path);
            if (edited)
                compare(t, ck, edited, r, 1);
            return;
        }
        if (status == PMET_OK && old && test_count_files(parent) == 6)
            continue; /* the mark of the old folder, before it is removed: it did not matter */
        if (status != PMET_IO || test_count_files(parent) != (old ? 2 : 0) ||
            (old && access(test_path("parent/out/old"), F_OK) != 0) || !strstr(err.message, strerror(code)))
            test_fail(t, "%s (call %zu) fails: status %d, \"%s\", %zu entries left", f.call, k, (int)status,
                      err.message, test_count_files(parent));
    }
}

TEST(a_copy_that_fails_at_any_call_leaves_nothing_behind_and_the_original_untouched)
{
    const char *dir = small_checkpoint(good_index);
    test_write_text(test_path("small/vocab.json"), "{}");
    const size_t n_file = test_count_files(dir);
    struct pmet_checkpoint *ck = open_or_fail(t, dir);
    const uint16_t half = 0x3c00;
    const struct pmet_replacement r = {"c", PMET_F16, &half};
    char before[65], after[65];
    CHECK_DONE(pmet_checkpoint_fingerprint(ck, before, &t->err));
    fail_each_call(t, ck, &r, false, false, false, ENOSPC);
    fail_each_call(t, ck, &r, true, false, false, EIO);
    fail_each_call(t, ck, &r, true, true, false, EROFS);
    fail_each_call(t, ck, &r, false, false, true, EIO);
    CHECK_DONE(pmet_checkpoint_fingerprint(ck, after, &t->err));
    CHECK(strcmp(before, after) == 0 && test_count_files(test_path("small")) == n_file);
}

TEST(opening_reports_every_call_that_fails)
{
    check_opening_fails(t, small_checkpoint(good_index), 8);
}

static void fingerprint(struct test *t, const char *dir, char hex[65])
{
    struct pmet_checkpoint *ck = open_or_fail(t, dir);
    if (ck)
        CHECK_DONE(pmet_checkpoint_fingerprint(ck, hex, &t->err));
}

TEST(a_fingerprint_sees_the_model_and_not_its_packing)
{
    char base[65], other[65];
    static const char *const all[] = {"a", "b", "c"};
    const char *dir = small_checkpoint(good_index);
    fingerprint(t, dir, base);
    CHECK(strlen(base) == 64 && strspn(base, "0123456789abcdef") == 64);
    test_write_text(test_path("small/README.md"), "not part of the model");
    write_shard(test_path("small/model.safetensors"), all, 3); /* preferred to the shards */
    fingerprint(t, dir, other);
    CHECK_STR(other, base);
    test_write_text(test_path("small/merges.txt"), "");
    fingerprint(t, dir, other);
    CHECK(strcmp(other, base) != 0);
    unlink(test_path("small/merges.txt"));
    test_write_text(test_path("small/config.json"), "{\"model_type\":\"gpt_neox\"}");
    fingerprint(t, dir, other);
    CHECK(strcmp(other, base) != 0);
}

TEST(a_fingerprint_sees_values_names_types_and_shapes)
{
    char hex[6][65];
    float x[40000] = {0}; /* 160000 bytes: more than sixteen blocks */
    struct pmet_tensor w = test_tensor("w", PMET_F32, 40000, 0, x);
    w.shape[1] = 1;
    mkdir(test_path("fp"), 0777);
    test_write_text(test_path("fp/config.json"), "{}");
    for (int i = 0; i < 6; i++) {
        x[0] = i == 1 ? 1.f : 0;
        x[39999] = i == 2 ? 1.f : 0;
        w.name = i == 3 ? "v" : "w";
        w.dtype = i == 4 ? PMET_I32 : PMET_F32;
        w.n_dim = i == 5 ? 2 : 1;
        CHECK_DONE(pmet_safetensors_write(pmet_io_system(), test_path("fp/model.safetensors"), &w, 1, NULL, 0,
                                          &t->err));
        fingerprint(t, test_path("fp"), hex[i]);
        for (int k = 0; k < i; k++)
            CHECK(strcmp(hex[k], hex[i]) != 0);
    }
}
