/* SPDX-License-Identifier: MIT
 * The methods, by name. */
#include <stdio.h>
#include <string.h>
#include "ref/method/method.h"

const struct pmet_method *const pmet_methods[] = {&pmet_method_pmet, &pmet_method_memit, &pmet_method_rome,
                                                  NULL};

enum pmet_status pmet_method_named(const char *name, const struct pmet_method **out, struct pmet_error *err)
{
    char names[64];
    size_t n = 0;
    for (size_t i = 0; pmet_methods[i]; i++) {
        *out = pmet_methods[name ? i : 0];
        if (!name || strcmp(name, (*out)->name) == 0)
            return PMET_OK;
        if (n < sizeof names)
            n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", (*out)->name);
    }
    return pmet_fail(err, PMET_INPUT, "method: found \"%s\"; expected one of %s", name, names);
}
