/* SPDX-License-Identifier: MIT
 * Members are .npy files. */
#include "tensors/npz.h"

#include <stdlib.h>
#include <string.h>
#include "tensors/npy.h"
#include "tensors/zip.h"

struct pmet_npz {
    struct pmet_zip *zip;
    void **kept; /* [n_kept] what was unpacked, or turned from column-major */
    size_t n_kept, cap;
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
    for (size_t i = 0; i < z->n_kept; i++)
        free(z->kept[i]);
    free(z->kept);
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

/* n bytes that are released with the archive. */
static enum pmet_status keep(struct pmet_npz *z, size_t n, void **out, struct pmet_error *err)
{
    PMET_TRY(pmet_grow(&z->kept, &z->cap, z->n_kept + 1, sizeof *z->kept, z->zip->path, err));
    PMET_TRY(pmet_calloc(out, n, 1, z->zip->path, err));
    z->kept[z->n_kept++] = *out;
    return PMET_OK;
}

static enum pmet_status find_member(const struct pmet_npz *z, const char *name,
                                    const struct pmet_zip_member **out, struct pmet_error *err)
{
    *out = member_of(z, name);
    if (!*out)
        return pmet_fail(err, PMET_INPUT, "%s: holds no array \"%s\"", z->zip->path, name);
    if ((*out)->unreadable)
        return pmet_fail(err, PMET_UNSUPPORTED,
                         "%s: array \"%s\" %s; expected one that np.savez or np.savez_compressed wrote",
                         z->zip->path, name, (*out)->unreadable);
    return PMET_OK;
}

/* The array's first n bytes: of a member that is deflated in `buffer`. */
static enum pmet_status first_bytes(const struct pmet_npz *z, const struct pmet_zip_member *m, void *buffer,
                                    size_t n, const void **out, struct pmet_error *err)
{
    *out = m->deflated ? buffer : m->data;
    return m->deflated ? pmet_zip_unpack(z->zip, m, buffer, n, err) : PMET_OK;
}

enum pmet_status pmet_npz_look(struct pmet_npz *z, const char *name, struct pmet_tensor *t, uint32_t *crc,
                               struct pmet_error *err)
{
    const struct pmet_zip_member *m;
    unsigned char head[PMET_MAX_NPY_HEADER];
    const void *data;
    bool column_major;
    PMET_TRY(find_member(z, name, &m, err));
    const size_t n = m->n_bytes < sizeof head ? m->n_bytes : sizeof head;
    PMET_TRY(first_bytes(z, m, head, n, &data, err));
    PMET_TRY(pmet_npy_parse(data, n, m->n_bytes, z->zip->path, name, t, &column_major, err));
    t->data = NULL;
    if (crc)
        *crc = m->crc;
    return PMET_OK;
}

enum pmet_status pmet_npz_find(struct pmet_npz *z, const char *name, struct pmet_tensor *t,
                               struct pmet_error *err)
{
    const struct pmet_zip_member *m;
    void *unpacked = NULL, *turned;
    const void *data;
    bool column_major;
    PMET_TRY(pmet_npz_look(z, name, t, NULL, err)); /* before memory is taken for what it says */
    PMET_TRY(find_member(z, name, &m, err));
    if (m->deflated)
        PMET_TRY(keep(z, m->n_bytes, &unpacked, err));
    PMET_TRY(first_bytes(z, m, unpacked, m->n_bytes, &data, err));
    if (!pmet_zip_intact(m, data))
        return pmet_fail(err, PMET_FORMAT,
                         "%s: array \"%s\": its data do not fit its checksum: copy or download it again",
                         z->zip->path, name);
    PMET_TRY(pmet_npy_parse(data, m->n_bytes, m->n_bytes, z->zip->path, name, t, &column_major, err));
    if (!column_major)
        return PMET_OK;
    PMET_TRY(keep(z, t->n_bytes, &turned, err));
    pmet_npy_turn(t, turned);
    t->data = turned;
    return PMET_OK;
}
