/* SPDX-License-Identifier: MIT
 * Causal attention over packed rows with a cached past.      SPEC §3.3
 * E14 in one pass over the keys. m is the largest score so far, z = sum exp(score - m), o = sum
 * exp(score - m) v; when a larger m' is found, z and o are multiplied by exp(m - m'). */
#include "kernels/attention.cuh"

#include <stdlib.h>

/* out, and the largest score and z of each query and head in top_sum [n_tok, n_head, 2], unless
 * NULL. */
static __global__ void __launch_bounds__(BLOCK)
    attend(real *out, double *top_sum, struct pmet_attention a, struct batch_view batch)
{
    PMET_DYNAMIC_SHARED(double, memory);
    const size_t e = blockIdx.y, d = a.d_head, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const struct row_view r = row_of(batch);
    const struct vectors k = vectors_of(a, a.k, a.past_k), v = vectors_of(a, a.v, a.past_v);
    PMET_SHARED_PTR(double) weights = memory + warp * TILE;
    PMET_SHARED_PTR(double) o = memory + WARPS * TILE + warp * d;
    PMET_SHARED_PTR(real) own = PMET_SHARED_CAST(real, memory + WARPS * (TILE + d));
    PMET_SHARED_PTR(real) q = own + warp * d;
    PMET_SHARED_PTR(real) tile = own + WARPS * d;
    const size_t t = r.from + warp, last = pmet_min(r.from + WARPS, r.n_own), n_all = r.n_past + last,
                 n_keys = t < r.n_own ? r.n_past + t + 1 : 0; /* of this warp's query */
    const double scale = 1 / sqrt((double)d);
    struct running s = no_keys_yet();
    clear(o, d);
    if (t < r.n_own)
        load_own(q, own_at(a.q, r, t), d);
    for (size_t s0 = 0; s0 < n_all; s0 += TILE) {
        const size_t n = n_keys > s0 ? pmet_min(TILE, n_keys - s0) : 0;
        double p = 0;
        load_tile(tile, k, r, s0, n_all, d);
        if (n > 0)
            p = weigh(&s, q, tile, scale, n, d);
        load_tile(tile, v, r, s0, n_all, d);
        if (n > 0)
            add_weighted(o, s.shrink, p, weights, tile, 0, n, d);
    }
    if (t >= r.n_own)
        return; /* no barrier follows */
    for (size_t i = lane; i < d; i += 32)
        out[((r.first + t) * a.n_head + e) * d + i] = (real)(o[i] / s.sum);
    if (top_sum && lane == 0) {
        top_sum[2 * ((r.first + t) * a.n_head + e)] = s.top;
        top_sum[2 * ((r.first + t) * a.n_head + e) + 1] = s.sum;
    }
}

/* The attention weights, for a trace: the block's queries a second time, one lane per key. */
static __global__ void __launch_bounds__(BLOCK)
    write_probs(real *probs, const double *top_sum, struct pmet_attention a, struct batch_view batch)
{
    PMET_DYNAMIC_SHARED(double, memory);
    const size_t e = blockIdx.y, d = a.d_head, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const struct row_view r = row_of(batch);
    const struct vectors k = vectors_of(a, a.k, a.past_k);
    PMET_SHARED_PTR(real) q = PMET_SHARED_CAST(real, memory) + warp * d;
    PMET_SHARED_PTR(real) tile = PMET_SHARED_CAST(real, memory) + WARPS * d;
    const size_t t = r.from + warp, n_all = r.n_past + r.n_own;
    const double scale = 1 / sqrt((double)d);
    if (t < r.n_own)
        load_own(q, own_at(a.q, r, t), d);
    for (size_t s0 = 0; s0 < n_all; s0 += TILE) {
        const size_t s = s0 + lane;
        load_tile(tile, k, r, s0, n_all, d);
        if (t >= r.n_own || s >= n_all)
            continue; /* the tile's barriers still have to be reached */
        const double *z = top_sum + 2 * ((r.first + t) * a.n_head + e);
        const double score = s <= r.n_past + t ? dot(q, tile + lane * (d + 1), d) * scale : 0;
        probs[batch.probs_at[batch.tile[2 * (size_t)blockIdx.x]] + (e * r.n_own + t) * n_all + s] =
            s <= r.n_past + t ? (real)(exp(score - z[0]) / z[1]) : 0;
    }
}

enum pmet_status pmet_cuda_batch(const struct pmet_ops *op, const struct pmet_attention *a,
                                 struct batch_view *out, dim3 *grid, struct pmet_error *err)
{
    const struct pmet_batch *batch = a->batch;
    const size_t n_row = batch->n_row;
    size_t n = 0, at = 0, *probs_at;
    for (size_t b = 0; b < n_row; b++)
        n += (batch->row_start[b + 1] - batch->row_start[b] + WARPS - 1) / WARPS;
    PMET_TRY(pmet_calloc(&probs_at, n_row + 2 * n + 1, sizeof *probs_at, "tiles of attention", err));
    size_t *tile = probs_at + n_row, j = 0;
    for (size_t b = 0; b < n_row; b++) {
        const size_t n_own = batch->row_start[b + 1] - batch->row_start[b];
        probs_at[b] = at;
        at += a->n_head * n_own * (batch->n_past[b] + n_own);
        for (size_t t = 0; t < n_own; t += WARPS) {
            tile[j++] = b;
            tile[j++] = t;
        }
    }
    *out = {batch->row_start, batch->n_past, batch->past_start, probs_at, NULL};
    struct pmet_cuda_part part[] = {{&out->row_start, (n_row + 1) * sizeof *probs_at},
                                    {&out->n_past, n_row * sizeof *probs_at},
                                    {&out->past_start, n_row * sizeof *probs_at},
                                    {&out->probs_at, (n_row + 2 * n) * sizeof *probs_at}};
    const enum pmet_status status = pmet_cuda_stage(op, part, 4, err);
    free(probs_at);
    out->tile = out->probs_at + n_row;
    *grid = dim3((unsigned)n, (unsigned)a->n_head);
    return status;
}

enum pmet_status pmet_cuda_attention_fits(const struct pmet_cuda *cuda, size_t n_bytes,
                                          const struct pmet_attention *a, struct pmet_error *err)
{
    if (n_bytes > cuda->shared_bytes)
        return pmet_fail(
            err, PMET_UNSUPPORTED,
            "cuda: attention heads of %zu features need %zu bytes of shared memory; the device has %zu",
            a->d_head, n_bytes, cuda->shared_bytes);
    if (a->n_head > 65535)
        return pmet_fail(err, PMET_UNSUPPORTED, "cuda: %zu attention heads; at most 65535", a->n_head);
    return PMET_OK;
}

static enum pmet_status attention(const struct pmet_ops *op, real *out, const struct pmet_attention *a,
                                  real *probs, struct pmet_error *err)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    const size_t n_bytes = attention_bytes(1, 1, a->d_head), n_vector = a->batch->n_tok * a->n_head;
    struct batch_view batch;
    double *top_sum = NULL;
    dim3 grid;
    if (n_vector * a->d_head == 0)
        return PMET_OK;
    PMET_TRY(pmet_cuda_attention_fits(cuda, n_bytes, a, err));
    PMET_TRY(pmet_cuda_batch(op, a, &batch, &grid, err));
    if (probs)
        PMET_TRY(pmet_cuda_scratch(cuda, PMET_SCRATCH_RESULT, 2 * n_vector * sizeof *top_sum, &top_sum, err));
    PMET_LAUNCH_SHARED("attention", err, attend, grid, n_bytes, cuda->stream, out, top_sum, *a, batch);
    if (probs)
        PMET_LAUNCH_SHARED("attention", err, write_probs, grid, n_bytes, cuda->stream, probs, top_sum, *a,
                           batch);
    return PMET_OK;
}

void pmet_cuda_attention(struct pmet_ops *op)
{
    op->attention = attention;
}
