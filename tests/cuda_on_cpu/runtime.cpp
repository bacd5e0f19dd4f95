/* SPDX-License-Identifier: MIT
 * CUDA on a CPU: how launches run (cuda_runtime.h says what is checked). */
#include "cuda_runtime.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

/* Limits of sm_80, the smallest: newer devices give a block more shared memory. */
enum {
    MAX_THREADS = 1024,
    MAX_SHARED = 163 * 1024,
    PLAIN_SHARED = 48 * 1024,
    MAX_SITES = 32,
    MAX_OPTIN = 64
};
#ifdef __SANITIZE_ADDRESS__
enum { STACK = 256 * 1024 };
#else
enum { STACK = 64 * 1024 };
#endif

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace cuda_on_cpu
{
grain *grains;
unsigned char *arena;
uint64_t epoch = 1, first_epoch = 1;
uint32_t turn;
int me = -1;

enum state { READY, AT_BARRIER, AT_WARP, DONE };

struct fiber {
    void *at[5]; /* where it continues */
    char *stack;
    void *fake_stack; /* ASan's */
    bool made, begun;
    dim3 index;
    state is;
    int line; /* of the barrier or warp operation that it waits at */
    warp_kind kind;
    unsigned mask;
    int source;
    uint64_t value;
};

static fiber fibers[MAX_THREADS];
static ucontext_t contexts[MAX_THREADS]; /* where they start; with ASan also where they continue */
static uint32_t turns[MAX_THREADS / 32];

/* The launch in progress. */
static struct {
    const char *name;
    void (*call)(const void *);
    const void *thunk;
    int n_thread;
    bool failed;
    size_t n_shared, dynamic_at, dynamic_bytes; /* bytes in use */
    struct {
        const void *site;
        size_t at;
    } site[MAX_SITES];
    int n_site;
} now;

static char message[512];
static cudaError_t last_error;

static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *fmt, ...)
{
    va_list args;
    if (now.failed)
        return;
    now.failed = true;
    last_error = cudaErrorLaunchFailure;
    int n = snprintf(message, sizeof message, "kernel %s, block (%u,%u,%u)", now.name, blockIdx.x, blockIdx.y,
                     blockIdx.z);
    if (me >= 0)
        n += snprintf(message + n, sizeof message - (size_t)n, ", thread (%u,%u,%u)", threadIdx.x,
                      threadIdx.y, threadIdx.z);
    n += snprintf(message + n, sizeof message - (size_t)n, ": ");
    va_start(args, fmt);
    vsnprintf(message + n, sizeof message - (size_t)n, fmt, args);
    va_end(args);
}

/* ---- stacks ---- */

#ifdef __SANITIZE_ADDRESS__
static ucontext_t scheduler_context;
static const void *scheduler_stack;
static size_t scheduler_size;

static void leave(fiber *f)
{
    __sanitizer_start_switch_fiber(&f->fake_stack, scheduler_stack, scheduler_size);
    swapcontext(&contexts[f - fibers], &scheduler_context);
    __sanitizer_finish_switch_fiber(f->fake_stack, NULL, NULL);
}

static void enter(fiber *f)
{
    void *fake;
    __sanitizer_start_switch_fiber(&fake, f->stack, STACK);
    swapcontext(&scheduler_context, &contexts[f - fibers]);
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
}
#else
static void *scheduler[5];

/* The compiler's builtin pair: a few instructions, while libc's functions also look for handlers. */
static __attribute__((noipa)) void jump(void **to)
{
    __builtin_longjmp(to, 1);
}

static __attribute__((noipa)) void leave(fiber *f)
{
    if (__builtin_setjmp(f->at) == 0)
        jump(scheduler);
}

static __attribute__((noipa)) void enter(fiber *f)
{
    if (__builtin_setjmp(scheduler) != 0)
        return;
    if (f->begun)
        jump(f->at);
    f->begun = true;
    setcontext(&contexts[f - fibers]);
}
#endif

/* A fiber runs one thread after another, a new one each time it is entered after DONE. */
static void fiber_main(void)
{
    fiber *f = &fibers[me];
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(NULL, &scheduler_stack, &scheduler_size);
#endif
    for (;;) {
        now.call(now.thunk);
        f->is = DONE;
        leave(f);
    }
}

static void make_fiber(fiber *f)
{
    if (!f->stack)
        f->stack = (char *)malloc(STACK);
    ucontext_t *context = &contexts[f - fibers];
    getcontext(context);
    context->uc_stack.ss_sp = f->stack;
    context->uc_stack.ss_size =
        STACK - (size_t)(f - fibers) * 320 % 16384; /* spreads the tops over the cache sets */
    context->uc_link = NULL;
    makecontext(context, fiber_main, 0);
    f->made = true;
    f->begun = false;
    f->fake_stack = NULL;
}

void fail(const char *fmt, ...)
{
    char line[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    note("%s", line);
    fibers[me].made = false; /* the contents of its stack are dropped */
    leave(&fibers[me]);
    __builtin_unreachable();
}

static const char *thread_name(int t, char *text, size_t size)
{
    if (t == MANY)
        snprintf(text, size, "other threads");
    else
        snprintf(text, size, "thread %d", t);
    return text;
}

void found_race(const char *what, size_t at, int other)
{
    char text[32];
    fail("race: shared byte %zu is %s, and %s was there since the last barrier", at, what,
         thread_name(other, text, sizeof text));
}

void found_unset(size_t at)
{
    fail("shared byte %zu is read, and nobody wrote it", at);
}

void found_bound(ptrdiff_t i, size_t n)
{
    fail("shared array of %zu: index %td", n, i);
}

/* ---- shared memory ---- */

static size_t take_shared(size_t n_bytes)
{
    const size_t at = (now.n_shared + 15) / 16 * 16;
    now.n_shared = at + n_bytes;
    return at;
}

size_t static_shared(const void *site, size_t n_bytes)
{
    for (int i = 0; i < now.n_site; i++)
        if (now.site[i].site == site)
            return now.site[i].at;
    if (now.n_site == MAX_SITES)
        fail("more than %d shared arrays", (int)MAX_SITES);
    const size_t at = take_shared(n_bytes);
    if (now.n_shared - now.dynamic_bytes > PLAIN_SHARED)
        fail("static shared memory of %zu bytes; a device has %d", now.n_shared - now.dynamic_bytes,
             (int)PLAIN_SHARED);
    if (now.n_shared > MAX_SHARED)
        fail("shared memory of %zu bytes; a device has %d", now.n_shared, (int)MAX_SHARED);
    now.site[now.n_site].site = site;
    now.site[now.n_site++].at = at;
    return at;
}

size_t dynamic_shared(size_t *n_bytes)
{
    *n_bytes = now.dynamic_bytes;
    return now.dynamic_at;
}

/* ---- barriers and warps ---- */

uint64_t warp_meet(warp_kind kind, unsigned mask, uint64_t value, int source, int line)
{
    fiber *f = &fibers[me];
    if (!(mask >> me % 32 & 1))
        fail("line %d: the mask %08x lacks the calling lane %d", line, mask, me % 32);
    if (kind == WARP_SHUFFLE && !(mask >> source & 1))
        fail("line %d: a shuffle from lane %d, outside of the mask %08x", line, source, mask);
    f->is = AT_WARP;
    f->kind = kind;
    f->mask = mask;
    f->value = value;
    f->source = source;
    f->line = line;
    leave(f);
    return f->value;
}

/* Lets the lanes of each mask continue whose lanes have all arrived. Returns whether there was one. */
static bool settle_warp(int first, int n_lane)
{
    bool any = false;
    for (int lane = 0; lane < n_lane; lane++) {
        fiber *f = &fibers[first + lane];
        uint64_t value[32], ballot = 0;
        int i;
        if (f->is != AT_WARP)
            continue;
        for (i = 0; i < 32; i++) {
            const fiber *g = &fibers[first + i];
            if (!(f->mask >> i & 1))
                continue;
            me = first + lane;
            if (i >= n_lane || g->is == DONE || g->is == AT_BARRIER) {
                note("line %d: the mask %08x names lane %d, which %s", f->line, f->mask, i,
                     i >= n_lane     ? "does not exist"
                     : g->is == DONE ? "has left"
                                     : "waits at a barrier");
                return false;
            }
            if (g->is == READY)
                break;
            if (g->mask != f->mask || g->kind != f->kind || g->line != f->line) {
                note("lane %d is at line %d with mask %08x, lane %d at line %d with mask %08x", lane, f->line,
                     f->mask, i, g->line, g->mask);
                return false;
            }
            value[i] = g->value;
            ballot |= (g->value & 1) << i;
        }
        if (i < 32)
            continue; /* a lane has not arrived */
        const unsigned mask = f->mask;
        const warp_kind kind = f->kind;
        for (i = 0; i < 32; i++)
            if (mask >> i & 1) {
                fiber *g = &fibers[first + i];
                g->value = kind == WARP_BALLOT ? ballot : kind == WARP_SHUFFLE ? value[g->source] : 0;
                g->is = READY;
            }
        const unsigned full = n_lane == 32 ? 0xffffffffu : (1u << n_lane) - 1;
        if (mask == full)
            turns[first / 32]++;
        any = true;
    }
    return any;
}

/* Runs one warp until its threads have returned or wait at a barrier. */
static void run_warp(int first, int n_lane)
{
    do {
        for (int lane = 0; lane < n_lane && !now.failed; lane++) {
            fiber *f = &fibers[first + lane];
            if (f->is != READY)
                continue;
            me = first + lane;
            turn = turns[first / 32];
            threadIdx = f->index;
            if (!f->made)
                make_fiber(f);
            enter(f);
        }
    } while (!now.failed && settle_warp(first, n_lane));
    me = -1;
}

/* Whether threads wait at a barrier, all of them at the same. */
static bool meet_barrier(void)
{
    int n = 0, at = -1;
    for (int t = 0; t < now.n_thread; t++)
        if (fibers[t].is == AT_BARRIER) {
            n++;
            if (at >= 0 && fibers[t].line != fibers[at].line)
                note("thread %d waits at the barrier of line %d, thread %d at that of line %d", at,
                     fibers[at].line, t, fibers[t].line);
            at = t;
        }
    if (n > 0 && n < now.n_thread)
        note("the barrier of line %d is reached by %d of %d threads", fibers[at].line, n, now.n_thread);
    return n > 0;
}

static void run_block(void)
{
    bool again;
    first_epoch = ++epoch;
    now.n_site = 0;
    now.n_shared = 0;
    now.dynamic_at = take_shared(now.dynamic_bytes);
    for (int t = 0; t < now.n_thread; t++)
        fibers[t].is = READY;
    do {
        for (int t = 0; t < now.n_thread && !now.failed; t += 32)
            run_warp(t, now.n_thread - t < 32 ? now.n_thread - t : 32);
        again = !now.failed && meet_barrier() && !now.failed;
        epoch++;
        for (int t = 0; again && t < now.n_thread; t++)
            fibers[t].is = READY;
    } while (again);
    if (now.failed)
        for (int t = 0; t < now.n_thread; t++)
            if (fibers[t].is != DONE)
                fibers[t].made = false;
}

/* ---- failures ---- */

static long fail_at = -1, n_call;
static cudaError_t fail_with;

static void read_environment(void)
{
    static bool read;
    const char *bytes = getenv("CUDA_ON_CPU_MEMORY"), *fail = getenv("CUDA_ON_CPU_FAIL");
    char *end;
    if (!read && bytes)
        cuda_on_cpu_memory(strtoull(bytes, NULL, 10));
    if (!read && fail) {
        const long k = strtol(fail, &end, 10);
        cuda_on_cpu_fail(k, *end ? atoi(end + 1) : (int)cudaErrorECCUncorrectable);
    }
    read = true;
}

cudaError_t failure(void)
{
    read_environment();
    const long k = n_call++;
    const bool lost = fail_with != cudaErrorMemoryAllocation;
    return fail_at >= 0 && (k == fail_at || (k > fail_at && lost)) ? fail_with : cudaSuccess;
}

/* ---- launches ---- */

static struct {
    const void *kernel;
    size_t n_bytes;
} optin[MAX_OPTIN];
static int n_optin;

static size_t dynamic_limit(const void *kernel)
{
    for (int i = 0; i < n_optin; i++)
        if (optin[i].kernel == kernel)
            return optin[i].n_bytes;
    return PLAIN_SHARED;
}

static const char *damaged_edge(void);

void run(const char *name, const void *kernel, dim3 grid, dim3 block, size_t dynamic_bytes,
         void (*call)(const void *), const void *thunk)
{
    const size_t n_thread = (size_t)block.x * block.y * block.z;
    const cudaError_t failed = failure();
    if (failed) {
        last_error = failed;
        return;
    }
    if (!arena) {
        arena = (unsigned char *)malloc(MAX_SHARED);
        grains = (grain *)calloc(MAX_SHARED / GRAIN, sizeof *grains);
    }
    now.name = name;
    now.call = call;
    now.thunk = thunk;
    now.n_thread = (int)n_thread;
    now.failed = false;
    now.dynamic_bytes = dynamic_bytes;
    gridDim = grid;
    blockDim = block;
    blockIdx = dim3(0, 0, 0);
    if (n_thread == 0 || n_thread > MAX_THREADS || block.z > 64 || grid.x == 0 || grid.x > 0x7fffffff ||
        grid.y == 0 || grid.y > 65535 || grid.z == 0 || grid.z > 65535) {
        note("no device takes a grid of %u x %u x %u blocks of %u x %u x %u threads", grid.x, grid.y, grid.z,
             block.x, block.y, block.z);
        last_error = cudaErrorInvalidConfiguration;
        return;
    }
    if (dynamic_bytes > dynamic_limit(kernel)) {
        note("%zu bytes of dynamic shared memory; the kernel may have %zu", dynamic_bytes,
             dynamic_limit(kernel));
        last_error = cudaErrorInvalidValue;
        return;
    }
    for (unsigned t = 0; t < n_thread; t++)
        fibers[t].index = dim3(t % block.x, t / block.x % block.y, t / (block.x * block.y));
    for (unsigned z = 0; z < grid.z && !now.failed; z++)
        for (unsigned y = 0; y < grid.y && !now.failed; y++)
            for (unsigned x = 0; x < grid.x && !now.failed; x++) {
                blockIdx = dim3(x, y, z);
                run_block();
            }
    const char *edge = now.failed ? NULL : damaged_edge();
    if (edge)
        note("%s", edge);
}

/* ---- memory ---- */

enum { EDGE = 256 };
static const unsigned char EDGE_BYTE = 0xa5, FRESH_BYTE = 0xff;

struct allocation {
    allocation *next;
    unsigned char *base; /* EDGE bytes, the memory, EDGE bytes, padding to a multiple of 256 */
    size_t n_bytes;
};
static allocation *allocations;
static size_t memory_bytes = (size_t)1 << 30, used_bytes, n_alive;

static size_t edge_after(const allocation *a)
{
    return EDGE + (EDGE - a->n_bytes % EDGE) % EDGE;
}

/* The edges are poisoned for ASan except during this check. */
static void poison(const allocation *a, bool on)
{
#ifdef __SANITIZE_ADDRESS__
    if (on) {
        __asan_poison_memory_region(a->base, EDGE);
        __asan_poison_memory_region(a->base + EDGE + a->n_bytes, edge_after(a));
    } else {
        __asan_unpoison_memory_region(a->base, a->n_bytes + EDGE + edge_after(a));
    }
#else
    (void)a, (void)on;
#endif
}

static bool edges_whole(const allocation *a)
{
    bool whole = true;
    poison(a, false);
    for (size_t i = 0; i < EDGE; i++)
        whole = whole && a->base[i] == EDGE_BYTE;
    for (size_t i = 0; i < edge_after(a); i++)
        whole = whole && a->base[EDGE + a->n_bytes + i] == EDGE_BYTE;
    poison(a, true);
    return whole;
}

static const char *damaged_edge(void)
{
    static char text[96];
    for (const allocation *a = allocations; a; a = a->next)
        if (!edges_whole(a)) {
            snprintf(text, sizeof text, "a byte beside the device allocation of %zu bytes was written",
                     a->n_bytes);
            return text;
        }
    return NULL;
}

/* Whether n_bytes from p on lie in one device allocation. */
static bool on_device(const void *p, size_t n_bytes)
{
    const unsigned char *at = (const unsigned char *)p;
    for (const allocation *a = allocations; a; a = a->next)
        if (at >= a->base + EDGE && at + n_bytes <= a->base + EDGE + a->n_bytes)
            return true;
    return n_bytes == 0;
}

static cudaError_t refuse(const char *what)
{
    snprintf(message, sizeof message, "%s", what);
    return last_error = cudaErrorInvalidValue;
}

} // namespace cuda_on_cpu

using namespace cuda_on_cpu;

void __syncthreads(int line)
{
    fiber *f = &fibers[me];
    f->is = AT_BARRIER;
    f->line = line;
    leave(f);
}

cudaError_t cudaMalloc(void **p, size_t n_bytes)
{
    *p = NULL;
    const cudaError_t failed = failure();
    if (failed)
        return failed;
    if (n_bytes == 0)
        return cudaSuccess;
    if (n_bytes > memory_bytes - used_bytes)
        return cudaErrorMemoryAllocation;
    allocation *a = (allocation *)malloc(sizeof *a);
    a->n_bytes = n_bytes;
    a->base = (unsigned char *)aligned_alloc(EDGE, n_bytes + EDGE + edge_after(a));
    memset(a->base, EDGE_BYTE, n_bytes + EDGE + edge_after(a));
    memset(a->base + EDGE, FRESH_BYTE, n_bytes);
    poison(a, true);
    a->next = allocations;
    allocations = a;
    used_bytes += n_bytes;
    n_alive++;
    *p = a->base + EDGE;
    return cudaSuccess;
}

/* The memory is released even where the call fails. */
cudaError_t cudaFree(void *p)
{
    const cudaError_t failed = failure();
    if (!p)
        return failed;
    for (allocation **at = &allocations; *at; at = &(*at)->next) {
        allocation *a = *at;
        if (a->base + EDGE != p)
            continue;
        const bool whole = edges_whole(a);
        poison(a, false);
        *at = a->next;
        used_bytes -= a->n_bytes;
        n_alive--;
        free(a->base);
        free(a);
        return whole ? failed : refuse("cudaFree: a byte beside the allocation was written");
    }
    return refuse("cudaFree: not an allocation");
}

cudaError_t cudaMallocHost(void **p, size_t n_bytes)
{
    *p = NULL;
    const cudaError_t failed = failure();
    if (failed)
        return failed;
    *p = malloc(n_bytes ? n_bytes : 1);
    if (*p)
        n_alive++;
    return *p ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFreeHost(void *p)
{
    n_alive -= p != NULL;
    free(p);
    return failure();
}

cudaError_t cudaMemcpy2DAsync(void *dst, size_t dst_pitch, const void *src, size_t src_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t)
{
    const cudaError_t failed = failure();
    if (failed)
        return failed;
    if (width > dst_pitch || width > src_pitch)
        return refuse("cudaMemcpy: rows longer than their pitch");
    for (size_t r = 0; r < height && width > 0; r++) {
        unsigned char *to = (unsigned char *)dst + r * dst_pitch;
        const unsigned char *from = (const unsigned char *)src + r * src_pitch;
        if ((kind != cudaMemcpyDeviceToHost && !on_device(to, width)) ||
            (kind != cudaMemcpyHostToDevice && !on_device(from, width)))
            return refuse("cudaMemcpy: outside of a device allocation");
        memcpy(to, from, width);
    }
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t n_bytes, cudaMemcpyKind kind, cudaStream_t s)
{
    return cudaMemcpy2DAsync(dst, n_bytes, src, n_bytes, n_bytes, 1, kind, s);
}

cudaError_t cudaMemsetAsync(void *dst, int byte, size_t n_bytes, cudaStream_t)
{
    const cudaError_t failed = failure();
    if (failed)
        return failed;
    if (!on_device(dst, n_bytes))
        return refuse("cudaMemset: outside of a device allocation");
    if (n_bytes > 0)
        memset(dst, byte, n_bytes);
    return cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInsufficientDriver:
        return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice:
        return "no CUDA-capable device is detected";
    case cudaErrorECCUncorrectable:
        return "uncorrectable ECC error encountered";
    default:
        return message;
    }
}

cudaError_t cudaGetLastError(void)
{
    const cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

cudaError_t cudaGetDeviceCount(int *n)
{
    *n = 1;
    return failure();
}

cudaError_t cudaSetDevice(int)
{
    return failure();
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *prop, int)
{
    memset(prop, 0, sizeof *prop);
    snprintf(prop->name, sizeof prop->name, "cuda-on-cpu");
    prop->totalGlobalMem = memory_bytes;
    prop->major = 8;
    return failure();
}

/* Clocks and widths: 0, not known. */
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int)
{
    *value = attribute == cudaDevAttrMaxSharedMemoryPerBlockOptin ? MAX_SHARED : 0;
    return failure();
}

cudaError_t cudaMemGetInfo(size_t *n_free, size_t *n_all)
{
    *n_free = memory_bytes - used_bytes;
    *n_all = memory_bytes;
    return failure();
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned)
{
    *s = NULL;
    return failure();
}

cudaError_t cudaStreamDestroy(cudaStream_t)
{
    return failure();
}

cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    const cudaError_t failed = failure();
    return failed ? failed : cudaGetLastError();
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned)
{
    *e = NULL;
    return failure();
}

cudaError_t cudaEventDestroy(cudaEvent_t)
{
    return failure();
}

cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t)
{
    return failure();
}

cudaError_t cudaEventSynchronize(cudaEvent_t)
{
    return failure();
}

cudaError_t cuda_on_cpu_set_dynamic_shared(const void *kernel, size_t n_bytes)
{
    int i = 0;
    const cudaError_t failed = failure();
    if (failed)
        return failed;
    if (n_bytes > MAX_SHARED)
        return refuse("cudaFuncSetAttribute: more shared memory than a device has");
    while (i < n_optin && optin[i].kernel != kernel)
        i++;
    if (i == MAX_OPTIN)
        return refuse("cudaFuncSetAttribute: too many kernels");
    n_optin = i == n_optin ? i + 1 : n_optin;
    optin[i].kernel = kernel;
    optin[i].n_bytes = n_bytes;
    return cudaSuccess;
}

extern "C" void cuda_on_cpu_memory(size_t n_bytes)
{
    memory_bytes = n_bytes;
}

extern "C" void cuda_on_cpu_fail(long k, int error)
{
    fail_at = k;
    fail_with = (cudaError_t)error;
    n_call = 0;
}

extern "C" size_t cuda_on_cpu_alive(void)
{
    return n_alive;
}
