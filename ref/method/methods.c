/* SPDX-License-Identifier: MIT
 * The methods there are. */
#include <string.h>
#include "ref/method/method.h"

static const struct pmet_method *const methods[] = {&pmet_method_pmet};

const struct pmet_method *pmet_method_find(const char *name)
{
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strcmp(methods[i]->name, name) == 0)
            return methods[i];
    return NULL;
}
