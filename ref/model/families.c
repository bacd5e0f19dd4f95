/* SPDX-License-Identifier: MIT */
#include "ref/model/family.h"

#include <stdio.h>
#include <string.h>

const struct pmet_family *const pmet_families[] = {&pmet_family_gptj, &pmet_family_neox, NULL};

const struct pmet_family *pmet_family_find(const struct pmet_family *const *list, const char *name)
{
    while (*list && strcmp((*list)->name, name) != 0)
        list++;
    return *list;
}

void pmet_family_list(const struct pmet_family *const *list, char *text, size_t size)
{
    *text = '\0';
    for (size_t i = 0, n = 0; list[i] && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "%s%s",
                              i == 0        ? ""
                              : list[i + 1] ? ", "
                                            : " or ",
                              list[i]->name);
}

void pmet_module_name(char *name, size_t size, const char *tmpl, size_t layer)
{
    const char *hole = strstr(tmpl, "{}");
    if (!hole)
        snprintf(name, size, "%s", tmpl);
    else
        snprintf(name, size, "%.*s%zu%s", (int)(hole - tmpl), tmpl, layer, hole + 2);
}
