/* SPDX-License-Identifier: MIT
 * Gradients of attention to the row's own queries, keys and values.      SPEC §3.3, §5.6
 *   E15  g_v[s]   = sum_{t>=s} p[t,s] g_out[t]
 *   E16  g_p[t,s] = g_out[t] . v[s]
 *        g_w[t,s] = p[t,s] (g_p[t,s] - mean[t]),   mean[t] = sum_r p[t,r] g_p[t,r]
 *   E17  g_q[t]   = c sum_s g_w[t,s] k[s],   g_k[s] = c sum_{t>=s} g_w[t,s] q[t],   c = 1/sqrt(d_head)
 * Two kernels. In the first a warp takes a query and stores its largest score, its sum and mean[t],
 * from which p can be computed again; in the second a warp takes a key. */
#include "kernels/attention.cuh"

struct dx_args {
    struct pmet_heads g_q, g_k, g_v, q, k, v;
    struct pmet_heads g_out; /* input */
    const real *past_k, *past_v;
    struct batch_view batch;
    size_t n_head, d;
    double *stats; /* [n_tok, n_head, 3]: largest score, sum of exponentials, mean */
};

/* Largest score, sum and mean of the warp's query, one pass over the keys as in the forward. */
static __device__ void query_stats(double stats[3], struct dx_args a, struct row_view r, struct vectors k,
                                   struct vectors v, size_t n_keys, size_t n_all, PMET_SHARED_PTR(real) q,
                                   PMET_SHARED_PTR(real) g_out, PMET_SHARED_PTR(real) tile)
{
    const size_t lane = threadIdx.x % 32, d = a.d;
    const double c = 1 / sqrt((double)d);
    struct running s = no_keys_yet();
    double mean = 0;
    for (size_t s0 = 0; s0 < n_all; s0 += TILE) {
        const size_t n = n_keys > s0 ? pmet_min(TILE, n_keys - s0) : 0;
        double p = 0;
        load_tile(tile, k, r, s0, n_all, d);
        if (n > 0)
            p = weigh(&s, q, tile, c, n, d);
        load_tile(tile, v, r, s0, n_all, d);
        if (n > 0)
            mean = s.shrink * mean + warp_sum(lane < n ? p * dot(g_out, tile + lane * (d + 1), d) : 0);
    }
    stats[0] = s.top;
    stats[1] = s.sum;
    stats[2] = mean / s.sum;
}

static __global__ void __launch_bounds__(BLOCK) query_dx(struct dx_args a)
{
    PMET_DYNAMIC_SHARED(double, memory);
    const size_t e = blockIdx.y, d = a.d, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const struct row_view r = row_of(a.batch);
    const struct vectors k = vectors_of(a.k, a.past_k, e, a.n_head, d),
                         v = vectors_of(a.v, a.past_v, e, a.n_head, d);
    PMET_SHARED_PTR(double) weights = memory + warp * TILE;
    PMET_SHARED_PTR(double) g_q = memory + WARPS * TILE + warp * d;
    PMET_SHARED_PTR(real) own = PMET_SHARED_CAST(real, memory + WARPS * (TILE + d));
    PMET_SHARED_PTR(real) q = own + warp * d;
    PMET_SHARED_PTR(real) g_out = q + WARPS * d;
    PMET_SHARED_PTR(real) tile = own + 2 * WARPS * d;
    const size_t t = r.from + warp, n_all = r.n_past + pmet_min(r.from + WARPS, r.n_own),
                 n_keys = t < r.n_own ? r.n_past + t + 1 : 0;
    const double c = 1 / sqrt((double)d);
    double stats[3];
    clear(g_q, d);
    if (t < r.n_own) {
        load_own(q, a.q.data + (r.first + t) * a.q.row_stride + e * a.q.head_stride, d);
        load_own(g_out, a.g_out.data + (r.first + t) * a.g_out.row_stride + e * d, d);
    }
    query_stats(stats, a, r, k, v, n_keys, n_all, q, g_out, tile);
    for (size_t s0 = 0; s0 < n_all; s0 += TILE) {
        const size_t n = n_keys > s0 ? pmet_min(TILE, n_keys - s0) : 0;
        double g_w = 0;
        load_tile(tile, v, r, s0, n_all, d);
        if (lane < n)
            g_w = dot(g_out, tile + lane * (d + 1), d) - stats[2];
        load_tile(tile, k, r, s0, n_all, d);
        if (lane < n)
            g_w *= c * exp(dot(q, tile + lane * (d + 1), d) * c - stats[0]) / stats[1];
        if (n > 0)
            add_weighted(g_q, 1, g_w, weights, tile, 0, n, d);
    }
    if (t >= r.n_own)
        return; /* no barrier follows */
    for (size_t i = lane; i < d; i += 32)
        a.g_q.data[(r.first + t) * a.g_q.row_stride + e * a.g_q.head_stride + i] = (real)g_q[i];
    if (lane < 3)
        a.stats[3 * ((r.first + t) * a.n_head + e) + lane] = lane == 0   ? stats[0]
                                                             : lane == 1 ? stats[1]
                                                                         : stats[2];
}

static __global__ void __launch_bounds__(BLOCK) key_dx(struct dx_args a)
{
    PMET_DYNAMIC_SHARED(double, memory);
    const size_t e = blockIdx.y, d = a.d, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    struct row_view r = row_of(a.batch);
    const size_t s = r.from + warp; /* own keys only: cached keys have no gradient */
    PMET_SHARED_PTR(double) weights = memory + warp * TILE;
    PMET_SHARED_PTR(double) g_k = memory + WARPS * TILE + warp * d;
    PMET_SHARED_PTR(double) g_v = g_k + WARPS * d;
    PMET_SHARED_PTR(real) own = PMET_SHARED_CAST(real, memory + WARPS * (TILE + 2 * d));
    PMET_SHARED_PTR(real) k = own + warp * d;
    PMET_SHARED_PTR(real) v = k + WARPS * d;
    PMET_SHARED_PTR(real) tile = own + 2 * WARPS * d;
    const struct vectors q = vectors_of(a.q, NULL, e, a.n_head, d),
                         g_out = vectors_of(a.g_out, NULL, e, a.n_head, d);
    const double c = 1 / sqrt((double)d);
    clear(g_k, d);
    clear(g_v, d);
    if (s < r.n_own) {
        load_own(k, a.k.data + (r.first + s) * a.k.row_stride + e * a.k.head_stride, d);
        load_own(v, a.v.data + (r.first + s) * a.v.row_stride + e * a.v.head_stride, d);
    }
    r.n_past = 0; /* no query is cached */
    for (size_t t0 = r.from / TILE * TILE; t0 < r.n_own; t0 += TILE) {
        const size_t t = t0 + lane, n = s < r.n_own ? pmet_min(TILE, r.n_own - t0) : 0;
        const bool counts = s < r.n_own && t >= s && t < r.n_own;
        const double *stats = a.stats + 3 * ((r.first + (counts ? t : r.from)) * a.n_head + e);
        double p = 0, g_w = 0;
        load_tile(tile, g_out, r, t0, r.n_own, d);
        if (counts)
            g_w = dot(v, tile + lane * (d + 1), d) - stats[2];
        load_tile(tile, q, r, t0, r.n_own, d);
        if (counts) {
            p = exp(dot(tile + lane * (d + 1), k, d) * c - stats[0]) / stats[1];
            g_w *= c * p;
        }
        const size_t skip = s > t0 ? pmet_min(s - t0, n) : 0; /* queries before the key */
        add_weighted(g_k, 1, g_w, weights, tile, skip, n, d);
        load_tile(tile, g_out, r, t0, r.n_own, d);
        add_weighted(g_v, 1, p, weights, tile, skip, n, d);
    }
    for (size_t i = lane; s < r.n_own && i < d; i += 32) {
        a.g_k.data[(r.first + s) * a.g_k.row_stride + e * a.g_k.head_stride + i] = (real)g_k[i];
        a.g_v.data[(r.first + s) * a.g_v.row_stride + e * a.g_v.head_stride + i] = (real)g_v[i];
    }
}

static enum pmet_status attention_dx(const struct pmet_ops *op, struct pmet_heads g_q, struct pmet_heads g_k,
                                     struct pmet_heads g_v, const real *g_out, struct pmet_heads q,
                                     struct pmet_heads k, struct pmet_heads v, const real *past_k,
                                     const real *past_v, const struct pmet_batch *batch, size_t n_head,
                                     size_t d_head, struct pmet_error *err)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    const size_t query_bytes = attention_bytes(1, 2, d_head), key_bytes = attention_bytes(2, 2, d_head);
    const struct pmet_heads merged = {(real *)(uintptr_t)g_out, n_head * d_head, d_head};
    struct dx_args a = {g_q,    g_k,    g_v, q, k, v, merged, past_k, past_v, {NULL, NULL, NULL, NULL, NULL},
                        n_head, d_head, NULL};
    size_t n_tile;
    if (batch->n_tok * n_head * d_head == 0)
        return PMET_OK;
    PMET_TRY(pmet_cuda_attention_fits(cuda, key_bytes, n_head, d_head, err));
    PMET_TRY(pmet_cuda_batch(op, batch, n_head, &a.batch, &n_tile, err));
    PMET_TRY(pmet_cuda_scratch(cuda, PMET_SCRATCH_RESULT, 3 * batch->n_tok * n_head * sizeof *a.stats,
                               &a.stats, err));
    PMET_CUDA_TRY(
        cudaFuncSetAttribute(query_dx, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)query_bytes),
        "attention_dx", err);
    PMET_CUDA_TRY(cudaFuncSetAttribute(key_dx, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)key_bytes),
                  "attention_dx", err);
    const dim3 grid((unsigned)n_tile, (unsigned)n_head);
    PMET_LAUNCH(query_dx, grid, BLOCK, query_bytes, cuda->stream, a);
    PMET_LAUNCH(key_dx, grid, BLOCK, key_bytes, cuda->stream, a);
    return pmet_cuda_launched("attention_dx", err);
}

void pmet_cuda_attention_dx(struct pmet_ops *op)
{
    op->attention_dx = attention_dx;
}
