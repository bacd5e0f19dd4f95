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
    struct pmet_attention in;
    struct pmet_heads g_q, g_k, g_v, g_out; /* g_out: input */
    struct batch_view batch;
    double *stats; /* [n_tok, n_head, 3]: largest score, sum of exponentials, mean */
};

/* Largest score, sum and mean of the warp's query, one pass over the keys as in the forward. */
static __device__ void query_stats(double stats[3], size_t d, struct row_view r, struct vectors k,
                                   struct vectors v, size_t n_keys, size_t n_all, PMET_SHARED_PTR(real) q,
                                   PMET_SHARED_PTR(real) g_out, PMET_SHARED_PTR(real) tile)
{
    const size_t lane = threadIdx.x % 32;
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
    const size_t e = blockIdx.y, d = a.in.d_head, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const struct row_view r = row_of(a.batch);
    const struct vectors k = vectors_of(a.in, a.in.k, a.in.past_k), v = vectors_of(a.in, a.in.v, a.in.past_v);
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
        load_own(q, own_at(a.in.q, r, t), d);
        load_own(g_out, own_at(a.g_out, r, t), d);
    }
    query_stats(stats, d, r, k, v, n_keys, n_all, q, g_out, tile);
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
        own_at(a.g_q, r, t)[i] = (real)g_q[i];
    if (lane < 3)
        a.stats[3 * ((r.first + t) * a.in.n_head + e) + lane] = lane == 0   ? stats[0]
                                                                : lane == 1 ? stats[1]
                                                                            : stats[2];
}

static __global__ void __launch_bounds__(BLOCK) key_dx(struct dx_args a)
{
    PMET_DYNAMIC_SHARED(double, memory);
    const size_t e = blockIdx.y, d = a.in.d_head, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    struct row_view r = row_of(a.batch);
    const size_t s = r.from + warp; /* own keys only: cached keys have no gradient */
    PMET_SHARED_PTR(double) weights = memory + warp * TILE;
    PMET_SHARED_PTR(double) g_k = memory + WARPS * TILE + warp * d;
    PMET_SHARED_PTR(double) g_v = g_k + WARPS * d;
    PMET_SHARED_PTR(real) own = PMET_SHARED_CAST(real, memory + WARPS * (TILE + 2 * d));
    PMET_SHARED_PTR(real) k = own + warp * d;
    PMET_SHARED_PTR(real) v = k + WARPS * d;
    PMET_SHARED_PTR(real) tile = own + 2 * WARPS * d;
    const struct vectors q = vectors_of(a.in, a.in.q, NULL), g_out = vectors_of(a.in, a.g_out, NULL);
    const double c = 1 / sqrt((double)d);
    clear(g_k, d);
    clear(g_v, d);
    if (s < r.n_own) {
        load_own(k, own_at(a.in.k, r, s), d);
        load_own(v, own_at(a.in.v, r, s), d);
    }
    r.n_past = 0; /* no query is cached */
    for (size_t t0 = r.from / TILE * TILE; t0 < r.n_own; t0 += TILE) {
        const size_t t = t0 + lane, n = s < r.n_own ? pmet_min(TILE, r.n_own - t0) : 0;
        const bool counts = s < r.n_own && t >= s && t < r.n_own;
        const double *stats = a.stats + 3 * ((r.first + (counts ? t : r.from)) * a.in.n_head + e);
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
        own_at(a.g_k, r, s)[i] = (real)g_k[i];
        own_at(a.g_v, r, s)[i] = (real)g_v[i];
    }
}

static enum pmet_status attention_dx(const struct pmet_ops *op, const struct pmet_heads g[3],
                                     const real *g_out, const struct pmet_attention *a,
                                     struct pmet_error *err)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    const size_t query_bytes = attention_bytes(1, 2, a->d_head), key_bytes = attention_bytes(2, 2, a->d_head),
                 n_vector = a->batch->n_tok * a->n_head;
    const struct pmet_heads merged = {(real *)(uintptr_t)g_out, a->n_head * a->d_head, a->d_head};
    struct dx_args x = {*a, g[0], g[1], g[2], merged, {}, NULL};
    dim3 grid;
    if (n_vector * a->d_head == 0)
        return PMET_OK;
    PMET_TRY(pmet_cuda_attention_fits(cuda, key_bytes, a, err));
    PMET_TRY(pmet_cuda_batch(op, a, &x.batch, &grid, err));
    PMET_TRY(pmet_cuda_scratch(cuda, PMET_SCRATCH_RESULT, 3 * n_vector * sizeof *x.stats, &x.stats, err));
    PMET_LAUNCH_SHARED("attention_dx", err, query_dx, grid, query_bytes, cuda->stream, x);
    PMET_LAUNCH_SHARED("attention_dx", err, key_dx, grid, key_bytes, cuda->stream, x);
    return PMET_OK;
}

void pmet_cuda_attention_dx(struct pmet_ops *op)
{
    op->attention_dx = attention_dx;
}
