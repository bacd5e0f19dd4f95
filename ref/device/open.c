/* SPDX-License-Identifier: MIT
 * Which table a program computes on: the plain C one, or the CUDA one of libpmet_cuda.so, which is opened when it is
 * asked for, so that a machine without a GPU or its libraries runs the same program. */
#include "ref/ops/ops.h"

#include <dlfcn.h>
#include <string.h>

typedef enum pmet_status open_fn(size_t n_table, size_t n_real, enum pmet_device device,
                                 struct pmet_ops **out, struct pmet_error *err);

/* The library stays open: what it allocated outlives any one table. */
static enum pmet_status open_cuda(enum pmet_device device, struct pmet_ops **out, struct pmet_error *err)
{
    open_fn *open = NULL;
    void *library = dlopen("libpmet_cuda.so", RTLD_NOW | RTLD_LOCAL);
    void *symbol = library ? dlsym(library, "pmet_ops_cuda") : NULL;
    if (!symbol)
        return pmet_fail(err, PMET_UNSUPPORTED, "cuda: %s (make builds it where nvcc is)", dlerror());
    memcpy(&open, &symbol, sizeof open);
    return open(sizeof **out, sizeof(real), device, out, err);
}

/* A GPU that nobody asked for must compute what plain C does; one that cannot be opened or tried is as good as none.
 * Where there is no driver, cuBLAS, which takes a while, is not loaded. */
static enum pmet_status open_auto(size_t n_threads, struct pmet_ops **out, struct pmet_error *err)
{
    struct pmet_ops *plain, *cuda = NULL;
    struct pmet_error why = {PMET_OK, ""};
    PMET_TRY(pmet_ops_cpu(n_threads, &plain, err));
    *out = plain;
    if (!dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL))
        return PMET_OK;
    enum pmet_status status = open_cuda(PMET_DEVICE_CUDA, &cuda, &why);
    if (status == PMET_OK)
        status = pmet_ops_trial(cuda, plain, &why);
    if (status == PMET_OK || status == PMET_NUMERIC) {
        pmet_ops_free(plain);
        *out = cuda;
        cuda = NULL;
    }
    pmet_ops_free(cuda);
    return status == PMET_NUMERIC ? pmet_fail(err, status, "%s", why.message) : PMET_OK;
}

enum pmet_status pmet_ops_open(enum pmet_device device, size_t n_threads, struct pmet_ops **out,
                               struct pmet_error *err)
{
    if (device == PMET_DEVICE_AUTO)
        return open_auto(n_threads, out, err);
    return device >= PMET_DEVICE_CUDA ? open_cuda(device, out, err) : pmet_ops_cpu(n_threads, out, err);
}

void pmet_ops_free(struct pmet_ops *op)
{
    if (op)
        op->close(op);
}
