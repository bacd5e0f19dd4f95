/* SPDX-License-Identifier: MIT
 * config.json. */
#include "ref/model/config.h"
#include "tensors/json.h"
#include "tests/fuzz/target.h"

void fuzz_one(const char *data, size_t n)
{
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_config config;
    struct pmet_notes notes = {NULL, 0, 0};
    json_t *json = NULL;
    enum pmet_status status = pmet_json_parse(data, n, "config.json", 0, &json, &err);
    if (status == PMET_OK)
        status = pmet_config_read(json, "config.json", pmet_families, &config, &notes, &err);
    fuzz_expect(status, &err);
    pmet_notes_free(&notes);
    json_decref(json);
}
