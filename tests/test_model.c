/* SPDX-License-Identifier: MIT
 * Checkpoints whose tensors are not as the goldens' are: a tied head, buffers, data at odd
 * addresses.      SPEC §3.8 */
#include <sys/stat.h>
#include "ref/method/needs.h"
#include "ref/cpu/table.h"
#include "ref/model/model.h"
#include "tests/test.h"

/* Two rows, of 10 tokens with the subject's last at 3, and the KL row, of which the one at 2
 * matters; two target tokens; six layers, the deltas in layer 2; four passes, three of them with a
 * way back. */
TEST(operations_are_those_counted_by_hand)
{
    const struct pmet_config c = {.n_layer = 6, .d_model = 64, .d_ff = 256, .n_vocab = 1024};
    const struct pmet_hparams h = {.n_layer = 2, .layers = {1, 2}, .n_module = 1};
    struct pmet_row row[2] = {{.n_tok = 10, .lookup_idx = 3}, {.n_tok = 5, .lookup_idx = 2}};
    const struct pmet_fact_rows rows = {.n_row = 2, .row = row, .n_target = 2};
    const double block = 2 * (4 * 64 * 64 + 2 * 64 * 256), head = 2 * 64 * 1024;
    CHECK(pmet_block_flop(&c) == block && pmet_head_flop(&c) == head);
    CHECK(pmet_rows_n_tok(&rows) == 15 && pmet_rows_n_suffix(&rows) == 8);
    const double fixed = (15 * 3 + 7 * 3) * block, pass = 8 * 3 * block + 3 * head;
    CHECK(pmet_delta_flop(&c, 2, &rows, 4) == fixed + 7 * pass && pmet_delta_flop(&c, 2, &rows, 0) == fixed);
    /* keys of layers 1 and 2 over the context's row, outputs of layer 2 over the plain one, before
     * each */
    CHECK(pmet_keys_flop(&c, h.layers, h.n_layer, h.n_module, &rows) == ((2 + 3) * 10 + 2 * 3 * 10) * block);
    CHECK(pmet_solve_flop(30, 4, 5) == 30 * 30 * 30 / 3 + 5 * 30 * 30 * 5 + 2 * 4 * 30 * 5);
}

/* ---- checkpoints ---- */

/* A copy of golden/neox-A in T/NAME: without its head, with an infinite buffer, its data one byte
 * further on. */
static bool make_odd(struct test *t, const char *name, bool tied)
{
    static const char golden[] = "golden/neox-A/model/model.safetensors",
                      buffer[] = "gpt_neox.layers.0.attention.masked_bias";
    static const uint16_t minus_infinity = 0xfc00; /* f16 */
    struct pmet_safetensors *st = NULL;
    char *config = NULL, *data = NULL, path[512];
    size_t n = 0, n_config, n_data;
    const struct pmet_io *io = pmet_io_system();
    mkdir(test_path("%s", name), 0777);
    if (!CHECK_DONE(pmet_safetensors_open(io, golden, &st, &t->err)) ||
        !CHECK_DONE(
            pmet_read_file(io, "golden/neox-A/model/config.json", 1 << 20, &config, &n_config, &t->err)))
        return false;
    struct pmet_tensor *all = test_alloc(t, (st->all.n + 1) * sizeof *all);
    for (size_t i = 0; i < st->all.n; i++)
        if (strcmp(st->all.tensor[i].name, "embed_out.weight") != 0 &&
            strcmp(st->all.tensor[i].name, buffer) != 0)
            all[n++] = st->all.tensor[i];
    all[n++] = (struct pmet_tensor){
        .name = buffer, .dtype = PMET_F16, .n_elem = 1, .n_bytes = 2, .data = &minus_infinity};
    snprintf(path, sizeof path, "%s", test_path("%s/model.safetensors", name));
    bool ok = CHECK_DONE(pmet_safetensors_write(io, path, all, n, NULL, 0, &t->err)) &&
              CHECK_DONE(pmet_read_file(io, path, 1 << 30, &data, &n_data, &t->err));
    if (ok) { /* a blank more in the header moves all data to odd addresses */
        uint64_t n_header;
        char *odd = test_alloc(t, n_data + 1);
        memcpy(&n_header, data, 8);
        const size_t head = 8 + (size_t)n_header++;
        memcpy(odd, &n_header, 8);
        memcpy(odd + 8, data + 8, head - 8);
        odd[head] = ' ';
        memcpy(odd + head + 1, data + head, n_data - head);
        test_write_file(path, odd, n_data + 1);
        char *at = strstr(config, "\"tie_word_embeddings\": false");
        ok = CHECK(at);
        if (ok && tied)
            memcpy(at, "\"tie_word_embeddings\": true ", strlen("\"tie_word_embeddings\": true "));
        test_write_file(test_path("%s/config.json", name), config, n_config);
    }
    free(config);
    free(data);
    pmet_safetensors_close(st);
    return ok;
}

/* Matrices at an address that their type does not allow are copied; a tied head is the embedding;
 * what is computed and never read may hold anything. */
TEST(odd_checkpoints_bind_as_they_should)
{
    struct pmet_ops *op = NULL;
    struct pmet_checkpoint *ck = NULL;
    struct pmet_model *m = NULL;
    if (!make_odd(t, "odd", true) || !CHECK_DONE(pmet_ops_cpu(1, &op, &t->err)))
        return;
    if (CHECK_DONE(pmet_checkpoint_open(pmet_io_system(), test_path("odd"), &ck, &t->err)) &&
        CHECK_DONE(pmet_model_open(ck, op, &m, &t->err))) {
        const struct pmet_tensor *embed = pmet_checkpoint_find(ck, "gpt_neox.embed_in.weight");
        CHECK((uintptr_t)embed->data % 2 == 1 && (uintptr_t)m->embed.data % 4 == 0);
        CHECK(m->head.n_out == embed->shape[0] && memcmp(m->head.data, embed->data, embed->n_bytes) == 0);
        for (size_t l = 0; l < m->config.n_layer; l++)
            CHECK((uintptr_t)m->layer[l].qkv[0].data % 4 == 0 && (uintptr_t)m->layer[l].fc_out.data % 4 == 0);
        CHECK_DONE(pmet_model_check_finite(m, &t->err));
    }
    pmet_model_close(m);
    pmet_checkpoint_close(ck);
    pmet_ops_free(op);
}

TEST(a_head_that_is_missing_is_refused_unless_it_is_tied)
{
    struct pmet_ops *op = NULL;
    struct pmet_checkpoint *ck = NULL;
    struct pmet_model *m = NULL;
    if (!make_odd(t, "headless", false) || !CHECK_DONE(pmet_ops_cpu(1, &op, &t->err)))
        return;
    if (CHECK_DONE(pmet_checkpoint_open(pmet_io_system(), test_path("headless"), &ck, &t->err))) {
        CHECK_REFUSED(pmet_model_open(ck, op, &m, &t->err), PMET_INPUT,
                      "headless: tensor \"embed_out.weight\" is missing; expected it by config.json, unless "
                      "tie_word_embeddings is true");
    }
    pmet_checkpoint_close(ck);
    pmet_ops_free(op);
}
