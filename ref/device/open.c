/* SPDX-License-Identifier: MIT
 * The CUDA table is in libpmet_cuda.so, which is opened only when it is asked for: a machine
 * without a GPU or its libraries runs the same program. */
#include "ref/device/device.h"

#include <dlfcn.h>
#include <string.h>
#include "ref/cpu/table.h"
#include "ref/ops/plain.h"

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

/* A GPU that nobody asked for must compute what the CPU does; one that cannot be opened or tried is
 * ignored. Without a driver cuBLAS, which is slow to load, is not loaded. */
static enum pmet_status open_auto(size_t n_threads, struct pmet_ops **out, struct pmet_error *err)
{
    struct pmet_ops *cpu, *cuda = NULL;
    struct pmet_error why = {PMET_OK, ""};
    PMET_TRY(pmet_ops_cpu(n_threads, &cpu, err));
    *out = cpu;
    if (!dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL))
        return PMET_OK;
    enum pmet_status status = open_cuda(PMET_DEVICE_CUDA, &cuda, &why);
    if (status == PMET_OK)
        status = pmet_ops_trial(cuda, cpu, &why);
    if (status == PMET_OK || status == PMET_NUMERIC) {
        pmet_ops_free(cpu);
        *out = cuda;
        cuda = NULL;
    }
    pmet_ops_free(cuda);
    return status == PMET_NUMERIC ? pmet_fail(err, status, "%s", why.message) : PMET_OK;
}

enum pmet_status pmet_ops_open(enum pmet_device device, size_t n_threads, struct pmet_ops **out,
                               struct pmet_error *err)
{
    switch (device) {
    case PMET_DEVICE_AUTO:
        return open_auto(n_threads, out, err);
    case PMET_DEVICE_PLAIN:
        return pmet_ops_plain(out, err);
    case PMET_DEVICE_CPU:
        return pmet_ops_cpu(n_threads, out, err);
    case PMET_DEVICE_CUDA:
    case PMET_DEVICE_CUDA_HALF:
    case PMET_DEVICE_CUDA_TF32:
        break;
    }
    return open_cuda(device, out, err);
}
