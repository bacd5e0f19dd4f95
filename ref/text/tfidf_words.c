/* SPDX-License-Identifier: MIT
 * The terms that TF-IDF counts (E91).      SPEC §11.7 */
#include <stdlib.h>
#include "ref/text/points.h"

static void lower_all(const struct pmet_points *in, struct pmet_points *out)
{
    for (size_t i = 0; i < in->n; i++) {
        int32_t second;
        pmet_points_put(out, pmet_lower(in->c, in->n, i, &second));
        if (second)
            pmet_points_put(out, second);
    }
}

enum pmet_status pmet_terms(const char *text, size_t n, pmet_on_term *on_term, void *user,
                            struct pmet_error *err)
{
    struct pmet_points points = {0}, lower = {0};
    struct pmet_text term = {0};
    enum pmet_status status;
    PMET_GO(pmet_points_decode(text, n, &points, err));
    lower_all(&points, &lower);
    PMET_GO(pmet_points_status(&lower, err));
    for (size_t i = 0, end; i < lower.n; i = end + 1) {
        for (end = i; end < lower.n && pmet_is_wordlike(lower.c[end]);)
            end++;
        if (end - i < 2)
            continue;
        term.n = 0;
        PMET_GO(pmet_points_encode(lower.c + i, end - i, &term, err));
        PMET_GO(on_term(user, term.data, term.n, err));
    }
done:
    free(points.c);
    free(lower.c);
    free(term.data);
    return status;
}
