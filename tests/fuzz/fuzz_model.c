/* SPDX-License-Identifier: MIT
 * config.json and the index of a checkpoint, beside its weights; a model is opened on them. */
#include "ref/model/model.h"
#include "ref/ops/plain.h"
#include "tensors/checkpoint.h"
#include "tests/fuzz/target.h"

void fuzz_one(const char *data, size_t n)
{
    static const char *const names[] = {"config.json", "model.safetensors.index.json"};
    static struct pmet_ops *op;
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_checkpoint *ck = NULL;
    struct pmet_model *model = NULL;
    char hex[65];
    if (!op) {
        fuzz_expect(pmet_ops_plain(&op, &err), &err);
        fuzz_copy("golden/gptj-C/model/model-00001-of-00002.safetensors", "model-00001-of-00002.safetensors");
        fuzz_copy("golden/gptj-C/model/model-00002-of-00002.safetensors", "model-00002-of-00002.safetensors");
    }
    fuzz_files(data, n, names, 2);
    fuzz_expect(pmet_checkpoint_open(pmet_io_system(), fuzz_dir(), &ck, &err), &err);
    if (ck) {
        struct pmet_error digest = {PMET_OK, ""}, open = {PMET_OK, ""};
        fuzz_expect(pmet_checkpoint_fingerprint(ck, hex, &digest), &digest);
        fuzz_expect(pmet_model_open(ck, op, &model, &open), &open);
    }
    pmet_model_close(model);
    pmet_checkpoint_close(ck);
}
