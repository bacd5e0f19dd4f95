/* SPDX-License-Identifier: MIT
 * A record of an evaluation that an earlier run has finished. */
#include "ref/job/eval_job.h"
#include "tensors/json.h"
#include "tests/fuzz/target.h"

void fuzz_one(const char *data, size_t n)
{
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_summary summary;
    struct pmet_evaluation out;
    json_t *line = NULL;
    memset(&summary, 0, sizeof summary);
    memset(&out, 0, sizeof out);
    enum pmet_status status = pmet_json_parse(data, n, "eval.journal", 0, &line, &err);
    if (status == PMET_OK)
        status = pmet_eval_sum_up(&summary, line, "post", "eval.journal", &err);
    fuzz_expect(status, &err);
    json_decref(line);
    pmet_summary_report(&summary, "post", &out);
}
