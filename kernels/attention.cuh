/* SPDX-License-Identifier: MIT
 * What attention and its gradient share: the batch on the device, and tiles of vectors in shared memory.  SPEC §3.3
 *
 * A block takes WARPS queries (or keys) of one row and head, one per warp, and goes through the
 * row's keys (queries) in tiles of 32 vectors, one per lane. So only one tile of the n x n weights
 * exists at a time. The sums of every vector begin at the row's first tile, and a warp skips
 * vectors that it does not attend to: its bits depend neither on the other warps nor on the other
 * rows. */
#ifndef PMET_KERNELS_ATTENTION_CUH
#define PMET_KERNELS_ATTENTION_CUH

#include "kernels/reduce.cuh"

enum { WARPS = BLOCK / 32, TILE = 32 };

/* Rows of vectors: vector j of a row at data + (first + j)*stride, or, for j < n_past, at
 * past + (past_first + j)*past_stride; all of one head. */
struct vectors {
    const real *data, *past;
    size_t stride, past_stride;
};

/* (dev) the batch, and its tiles: block x takes the vectors tile[2x+1] .. +WARPS-1 of row
 * tile[2x]. */
struct batch_view {
    const size_t *row_start, *n_past, *past_start, *probs_at, *tile;
};

/* One block's row. */
struct row_view {
    size_t first, n_own, n_past, past_first, from; /* from: the block's first vector */
};

static __device__ inline struct row_view row_of(struct batch_view b)
{
    const size_t r = b.tile[2 * (size_t)blockIdx.x];
    return {b.row_start[r], b.row_start[r + 1] - b.row_start[r], b.n_past[r], b.past_start[r],
            b.tile[2 * (size_t)blockIdx.x + 1]};
}

/* The vectors of the block's head: own ones in a projection, cached ones n_head*d_head apart. */
static __device__ inline struct vectors vectors_of(struct pmet_attention a, struct pmet_heads x,
                                                   const real *past)
{
    const size_t e = blockIdx.y;
    return {x.data + e * x.head_stride, past ? past + e * a.d_head : NULL, x.row_stride, a.n_head * a.d_head};
}

/* The row's own vector t of the block's head. */
static __device__ inline real *own_at(struct pmet_heads x, struct row_view r, size_t t)
{
    return x.data + (r.first + t) * x.row_stride + blockIdx.y * x.head_stride;
}

static __device__ inline const real *vector_at(struct vectors x, struct row_view r, size_t s)
{
    return s < r.n_past ? x.past + (r.past_first + s) * x.past_stride
                        : x.data + (r.first + s - r.n_past) * x.stride;
}

/* tile[j] = vector s0 + j of the row, cached ones first, for s0 + j < end. A warp loads a vector,
 * so that loads coalesce; later a lane reads a vector: the stride d + 1 keeps the lanes in
 * different banks where d is even. Begins and ends with a barrier of the block. */
static __device__ inline void load_tile(PMET_SHARED_PTR(real) tile, struct vectors x, struct row_view r,
                                        size_t s0, size_t end, size_t d)
{
    __syncthreads();
    for (size_t j = threadIdx.x / 32; j < TILE && s0 + j < end; j += WARPS) {
        const real *from = vector_at(x, r, s0 + j);
        for (size_t i = threadIdx.x % 32; i < d; i += 32)
            tile[j * (d + 1) + i] = from[i];
    }
    __syncthreads();
}

/* Copies the warp's vector to own [d]. */
static __device__ inline void load_own(PMET_SHARED_PTR(real) own, const real *x, size_t d)
{
    for (size_t i = threadIdx.x % 32; i < d; i += 32)
        own[i] = x[i];
    __syncwarp();
}

/* a.b in double, over four interleaved partial sums. */
static __device__ inline double dot(PMET_SHARED_PTR(real) a, PMET_SHARED_PTR(real) b, size_t d)
{
    double s[4] = {0, 0, 0, 0};
    size_t i = 0;
    for (; i + 4 <= d; i += 4)
        for (size_t k = 0; k < 4; k++)
            s[k] = fma((double)a[i + k], (double)b[i + k], s[k]);
    for (; i < d; i++)
        s[0] = fma((double)a[i], (double)b[i], s[0]);
    return (s[0] + s[2]) + (s[1] + s[3]);
}

/* A softmax over tiles of keys: largest score and sum so far; shrink: the factor of all earlier
 * weights since the last tile. */
struct running {
    double top, sum, shrink;
};

static __device__ inline struct running no_keys_yet()
{
    return {-HUGE_VAL, 0, 1};
}

/* The lane's weight exp(q.k c - top), where k is its vector in a tile of n > 0 keys; 0 for lanes
 * from n on. */
static __device__ inline double weigh(struct running *s, PMET_SHARED_PTR(real) q, PMET_SHARED_PTR(real) tile,
                                      double c, size_t n, size_t d)
{
    const size_t lane = threadIdx.x % 32;
    const double score = lane < n ? dot(q, tile + lane * (d + 1), d) * c : -HUGE_VAL,
                 most = fmax(s->top, warp_max(score)), p = lane < n ? exp(score - most) : 0;
    s->shrink = exp(s->top - most);
    s->sum = s->shrink * s->sum + warp_sum(p);
    s->top = most;
    return p;
}

/* acc[i] = shrink acc[i] + sum_j weight[j] tile[j][i], from <= j < n; the lanes divide the features
 * among them. Lane j has weight[j], and all [32] passes it to the other lanes. The caller must
 * reach a barrier before the next call. */
static __device__ inline void add_weighted(PMET_SHARED_PTR(double) acc, double shrink, double weight,
                                           PMET_SHARED_PTR(double) all, PMET_SHARED_PTR(real) tile,
                                           size_t from, size_t n, size_t d)
{
    const size_t lane = threadIdx.x % 32;
    all[lane] = weight;
    __syncwarp();
    for (size_t i = lane; i < d; i += 32) {
        double sum = shrink * acc[i];
        for (size_t j = from; j < n; j++)
            sum = fma((double)all[j], (double)tile[j * (d + 1) + i], sum);
        acc[i] = sum;
    }
}

static __device__ inline void clear(PMET_SHARED_PTR(double) acc, size_t d)
{
    for (size_t i = threadIdx.x % 32; i < d; i += 32)
        acc[i] = 0;
}

/* Shared memory of a block: weights of a tile, n_acc sums and n_own vectors per warp, and a
 * tile. */
static inline size_t attention_bytes(size_t n_acc, size_t n_own, size_t d)
{
    return WARPS * (TILE + n_acc * d) * sizeof(double) + (WARPS * n_own * d + TILE * (d + 1)) * sizeof(real);
}

/* Launches a kernel with more shared memory than the default; leaves the calling function if that
 * failed. */
#define PMET_LAUNCH_SHARED(what, err, kernel, grid, n_bytes, stream, ...)                                    \
    do {                                                                                                     \
        PMET_CUDA_TRY(                                                                                       \
            cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)(n_bytes)), what, \
            err);                                                                                            \
        PMET_LAUNCH(kernel, grid, BLOCK, n_bytes, stream, __VA_ARGS__);                                      \
        PMET_TRY(pmet_cuda_launched(what, err));                                                             \
    } while (0)

/* Copies the batch to the device, with its tiles of WARPS own vectors. grid: a block for each tile
 * and head. */
enum pmet_status pmet_cuda_batch(const struct pmet_ops *op, const struct pmet_attention *a,
                                 struct batch_view *out, dim3 *grid, struct pmet_error *err);
/* Refuses heads whose tiles are too large for a block's shared memory. */
enum pmet_status pmet_cuda_attention_fits(const struct pmet_cuda *cuda, size_t n_bytes,
                                          const struct pmet_attention *a, struct pmet_error *err);

#endif
