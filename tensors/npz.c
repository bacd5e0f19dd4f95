/* SPDX-License-Identifier: MIT
 * Members are .npy files. */
#include "tensors/npz.h"

#include <stdlib.h>
#include <string.h>
#include "tensors/npy.h"
#include "tensors/zip.h"

struct pmet_npz {
    struct pmet_zip *zip;
    void **turned; /* [n_turned] copies of arrays that the file holds column-major */
    size_t n_turned, cap;
};

enum pmet_status pmet_npz_open(const struct pmet_io *io, const char *path, struct pmet_npz **out,
                               struct pmet_error *err)
{
    struct pmet_npz *z;
    PMET_TRY(pmet_calloc(&z, 1, sizeof *z, path, err));
    const enum pmet_status status = pmet_zip_open(io, path, &z->zip, err);
    if (status == PMET_OK)
        *out = z;
    else
        free(z);
    return status;
}

void pmet_npz_close(struct pmet_npz *z)
{
    if (!z)
        return;
    for (size_t i = 0; i < z->n_turned; i++)
        free(z->turned[i]);
    free(z->turned);
    pmet_zip_close(z->zip);
    free(z);
}

static const struct pmet_zip_member *member_of(const struct pmet_npz *z, const char *name)
{
    const size_t n = strlen(name);
    for (size_t i = 0; i < z->zip->n_member; i++) {
        const struct pmet_zip_member *m = &z->zip->member[i];
        if (strncmp(m->name, name, n) == 0 && strcmp(m->name + n, ".npy") == 0)
            return m;
    }
    return NULL;
}

static enum pmet_status keep_turned(struct pmet_npz *z, struct pmet_tensor *t, struct pmet_error *err)
{
    void *data;
    PMET_TRY(pmet_grow(&z->turned, &z->cap, z->n_turned + 1, sizeof *z->turned, z->zip->path, err));
    PMET_TRY(pmet_calloc(&data, t->n_bytes, 1, z->zip->path, err));
    pmet_npy_turn(t, data);
    t->data = z->turned[z->n_turned++] = data;
    return PMET_OK;
}

enum pmet_status pmet_npz_find(struct pmet_npz *z, const char *name, struct pmet_tensor *t,
                               struct pmet_error *err)
{
    const char *path = z->zip->path;
    const struct pmet_zip_member *m = member_of(z, name);
    bool column_major;
    if (!m)
        return pmet_fail(err, PMET_INPUT, "%s: holds no array \"%s\"", path, name);
    if (m->unreadable)
        return pmet_fail(err, PMET_UNSUPPORTED,
                         "%s: array \"%s\" %s; expected a stored one, as np.savez writes", path, name,
                         m->unreadable);
    if (!pmet_zip_intact(m))
        return pmet_fail(err, PMET_FORMAT,
                         "%s: array \"%s\": its data do not fit its checksum: the file is damaged", path,
                         name);
    PMET_TRY(pmet_npy_parse(m->data, m->n_bytes, path, name, t, &column_major, err));
    return column_major ? keep_turned(z, t, err) : PMET_OK;
}
