/* SPDX-License-Identifier: MIT
 * Hyper-parameters, in JSON and in EasyEdit's YAML. */
#include "ref/method/pmet_hparams.h"
#include "tests/fuzz/target.h"

void fuzz_one(const char *data, size_t n)
{
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_hparams h = {0};
    const bool json = n > 0 && data[0] == '{';
    const enum pmet_status status = pmet_hparams_load(
        pmet_io_system(), fuzz_file(json ? "h.json" : "h.yaml", data, n), &pmet_hparams_pmet, &h, &err);
    fuzz_expect(status, &err);
    if (status == PMET_OK)
        json_decref(pmet_hparams_json(&h));
}
