/* SPDX-License-Identifier: MIT
 * Log-probabilities, cross entropy and KL over rows of logits, with their gradients: one block per
 * row, which it reads two or three times; sums in double.      SPEC §3.6, §5.2 */
#include "kernels/reduce.cuh"

enum { BLOCK = 256 };

/* log sum_v exp(x[v]) of the block's row; all threads get it, and the first argmax.
 * part [BLOCK + 1], at [BLOCK]. */
static __device__ double log_sum(const real *x, size_t n, size_t *best, PMET_SHARED_PTR(double) part,
                                 PMET_SHARED_PTR(size_t) at)
{
    double top = -HUGE_VAL, sum = 0;
    size_t first = 0;
    for (size_t i = threadIdx.x; i < n; i += BLOCK) /* NaN is never larger */
        if ((double)x[i] > top) {
            top = (double)x[i];
            first = i;
        }
    part[threadIdx.x] = top;
    at[threadIdx.x] = first;
    __syncthreads();
    for (unsigned half = BLOCK / 2; half > 0; half /= 2) { /* the first of equal maxima; 0 if all are -inf */
        if (threadIdx.x < half) {
            const double other = part[threadIdx.x + half], own = part[threadIdx.x];
            const size_t other_at = at[threadIdx.x + half], own_at = at[threadIdx.x];
            if (other > own || (other == own && other_at < own_at)) {
                part[threadIdx.x] = other;
                at[threadIdx.x] = other_at;
            }
        }
        __syncthreads();
    }
    *best = n > 0 && isnan(x[0]) ? 0 : (size_t)at[0]; /* as the loop above: nothing is larger than NaN */
    top = n > 0 ? (double)x[*best] : 0;
    __syncthreads();
    for (size_t i = threadIdx.x; i < n; i += BLOCK)
        sum += exp((double)x[i] - top);
    return top + log(block_sum(sum, part));
}

/* E49: sum_v exp(lp) (lp - lp0) of the block's row of logits */
static __device__ double kl_sum(const real *x, const real *lp0, double z, size_t n_vocab,
                                PMET_SHARED_PTR(double) part)
{
    double sum = 0;
    for (size_t v = threadIdx.x; v < n_vocab; v += BLOCK) {
        const double lp = (double)x[v] - z;
        sum = fma(exp(lp), lp - (double)lp0[v], sum);
    }
    return block_sum(sum, part);
}

/* E37 at the labels and at the best token: what E48 and E52 sum. */
static __global__ void __launch_bounds__(BLOCK)
    xent_rows(double *logp, double *best_logp, int32_t *best, const real *logits, const int32_t *labels,
              size_t n_vocab)
{
    PMET_SHARED(double, part, BLOCK + 1);
    PMET_SHARED(size_t, at, BLOCK);
    const size_t r = blockIdx.x;
    const real *x = logits + r * n_vocab;
    size_t top;
    const double z = log_sum(x, n_vocab, &top, part, at);
    if (threadIdx.x == 0) {
        logp[r] = (double)x[labels[r]] - z;
        best_logp[r] = (double)x[top] - z;
        best[r] = (int32_t)top;
    }
}

/* E57 */
static __global__ void __launch_bounds__(BLOCK)
    xent_dx_rows(real *g_logits, const real *logits, const int32_t *labels, const double *scale,
                 size_t n_vocab)
{
    PMET_SHARED(double, part, BLOCK + 1);
    PMET_SHARED(size_t, at, BLOCK);
    const size_t r = blockIdx.x;
    const real *x = logits + r * n_vocab;
    size_t top;
    const double z = log_sum(x, n_vocab, &top, part, at);
    for (size_t v = threadIdx.x; v < n_vocab; v += BLOCK)
        g_logits[r * n_vocab + v] =
            (real)(scale[r] * (exp((double)x[v] - z) - (v == (size_t)labels[r] ? 1 : 0)));
}

/* E37 */
static __global__ void __launch_bounds__(BLOCK) log_softmax_rows(real *lp, const real *logits, size_t n_vocab)
{
    PMET_SHARED(double, part, BLOCK + 1);
    PMET_SHARED(size_t, at, BLOCK);
    const size_t r = blockIdx.x;
    size_t top;
    const double z = log_sum(logits + r * n_vocab, n_vocab, &top, part, at);
    for (size_t v = threadIdx.x; v < n_vocab; v += BLOCK)
        lp[r * n_vocab + v] = (real)((double)logits[r * n_vocab + v] - z);
}

static __global__ void __launch_bounds__(BLOCK)
    kl_rows(double *kl, const real *logits, const real *lp0, const size_t *which, size_t n_vocab)
{
    PMET_SHARED(double, part, BLOCK + 1);
    PMET_SHARED(size_t, at, BLOCK);
    const size_t r = blockIdx.x;
    const real *x = logits + r * n_vocab;
    size_t top;
    const double z = log_sum(x, n_vocab, &top, part, at);
    const double total = kl_sum(x, lp0 + which[r] * n_vocab, z, n_vocab, part);
    if (threadIdx.x == 0)
        kl[r] = total;
}

/* E58 */
static __global__ void __launch_bounds__(BLOCK)
    kl_dx_rows(real *g_logits, const real *logits, const real *lp0, const size_t *which, const double *scale,
               size_t n_vocab)
{
    PMET_SHARED(double, part, BLOCK + 1);
    PMET_SHARED(size_t, at, BLOCK);
    const size_t r = blockIdx.x;
    const real *x = logits + r * n_vocab, *ref = lp0 + which[r] * n_vocab;
    size_t top;
    const double z = log_sum(x, n_vocab, &top, part, at), total = kl_sum(x, ref, z, n_vocab, part);
    for (size_t v = threadIdx.x; v < n_vocab; v += BLOCK) {
        const double lp = (double)x[v] - z;
        g_logits[r * n_vocab + v] = (real)(scale[r] * exp(lp) * ((lp - (double)ref[v]) - total));
    }
}

/* There is one block per row. */
static enum pmet_status check_rows(size_t n, struct pmet_error *err)
{
    return n <= INT32_MAX ? PMET_OK
                          : pmet_fail(err, PMET_UNSUPPORTED, "cuda: %zu rows of logits; at most 2^31", n);
}

static enum pmet_status xent(const struct pmet_ops *op, double *logp, double *best_logp, int32_t *best,
                             const real *logits, const int32_t *labels, size_t n, size_t n_vocab,
                             struct pmet_error *err)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    struct pmet_cuda_part part = {labels, n * sizeof *labels, NULL};
    double *result;
    if (n == 0)
        return PMET_OK;
    PMET_TRY(check_rows(n, err));
    PMET_TRY(pmet_cuda_stage(cuda, &part, 1, err));
    PMET_TRY(pmet_cuda_scratch(cuda, PMET_SCRATCH_RESULT, 3 * n * sizeof *result, &result, err));
    PMET_LAUNCH(xent_rows, (unsigned)n, BLOCK, 0, cuda->stream, result, result + n,
                (int32_t *)(result + 2 * n), logits, (const int32_t *)part.dev, n_vocab);
    PMET_TRY(pmet_cuda_launched("xent", err));
    PMET_TRY(pmet_cuda_fetch(cuda, logp, result, n * sizeof *logp, "xent", err));
    PMET_TRY(pmet_cuda_fetch(cuda, best_logp, result + n, n * sizeof *best_logp, "xent", err));
    return pmet_cuda_fetch(cuda, best, result + 2 * n, n * sizeof *best, "xent", err);
}

static enum pmet_status xent_dx(const struct pmet_ops *op, real *g_logits, const real *logits,
                                const int32_t *labels, const double *scale, size_t n, size_t n_vocab,
                                struct pmet_error *err)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    struct pmet_cuda_part part[2] = {{labels, n * sizeof *labels, NULL}, {scale, n * sizeof *scale, NULL}};
    if (n == 0)
        return PMET_OK;
    PMET_TRY(check_rows(n, err));
    PMET_TRY(pmet_cuda_stage(cuda, part, 2, err));
    PMET_LAUNCH(xent_dx_rows, (unsigned)n, BLOCK, 0, cuda->stream, g_logits, logits,
                (const int32_t *)part[0].dev, (const double *)part[1].dev, n_vocab);
    return pmet_cuda_launched("xent_dx", err);
}

static enum pmet_status log_softmax(const struct pmet_ops *op, real *lp, const real *logits, size_t n,
                                    size_t n_vocab, struct pmet_error *err)
{
    if (n == 0)
        return PMET_OK;
    PMET_TRY(check_rows(n, err));
    PMET_LAUNCH(log_softmax_rows, (unsigned)n, BLOCK, 0, pmet_cuda_of(op)->stream, lp, logits, n_vocab);
    return pmet_cuda_launched("log_softmax", err);
}

static enum pmet_status kl(const struct pmet_ops *op, double *out, const real *logits, const real *lp0,
                           const size_t *which, size_t n, size_t n_vocab, struct pmet_error *err)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    struct pmet_cuda_part part = {which, n * sizeof *which, NULL};
    double *result;
    if (n == 0)
        return PMET_OK;
    PMET_TRY(check_rows(n, err));
    PMET_TRY(pmet_cuda_stage(cuda, &part, 1, err));
    PMET_TRY(pmet_cuda_scratch(cuda, PMET_SCRATCH_RESULT, n * sizeof *result, &result, err));
    PMET_LAUNCH(kl_rows, (unsigned)n, BLOCK, 0, cuda->stream, result, logits, lp0, (const size_t *)part.dev,
                n_vocab);
    PMET_TRY(pmet_cuda_launched("kl", err));
    return pmet_cuda_fetch(cuda, out, result, n * sizeof *out, "kl", err);
}

static enum pmet_status kl_dx(const struct pmet_ops *op, real *g_logits, const real *logits, const real *lp0,
                              const size_t *which, const double *scale, size_t n, size_t n_vocab,
                              struct pmet_error *err)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    struct pmet_cuda_part part[2] = {{which, n * sizeof *which, NULL}, {scale, n * sizeof *scale, NULL}};
    if (n == 0)
        return PMET_OK;
    PMET_TRY(check_rows(n, err));
    PMET_TRY(pmet_cuda_stage(cuda, part, 2, err));
    PMET_LAUNCH(kl_dx_rows, (unsigned)n, BLOCK, 0, cuda->stream, g_logits, logits, lp0,
                (const size_t *)part[0].dev, (const double *)part[1].dev, n_vocab);
    return pmet_cuda_launched("kl_dx", err);
}

void pmet_cuda_loss(struct pmet_ops *op)
{
    op->xent = xent;
    op->xent_dx = xent_dx;
    op->log_softmax = log_softmax;
    op->kl = kl;
    op->kl_dx = kl_dx;
}
