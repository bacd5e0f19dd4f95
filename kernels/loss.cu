/* SPDX-License-Identifier: MIT
 * Log-probabilities, cross entropy and KL over rows of logits, with their gradients: one block per
 * row, which it reads two or three times; sums in double.      SPEC §3.6, §5.2 */
#include "kernels/reduce.cuh"

/* The block's row of logits. */
struct row {
    const real *x; /* [n_vocab] */
    size_t best;   /* the first argmax */
    double log_z;  /* log sum_v exp(x[v]) */
};

/* All threads get the same. */
static __device__ struct row row_of(const real *logits, size_t n)
{
    PMET_SHARED(double, part, BLOCK);
    PMET_SHARED(size_t, at, BLOCK);
    const real *x = logits + blockIdx.x * n;
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
    const size_t best = n > 0 && isnan(x[0]) ? 0 : (size_t)at[0]; /* nothing is larger than NaN */
    top = n > 0 ? (double)x[best] : 0;
    for (size_t i = threadIdx.x; i < n; i += BLOCK)
        sum += exp((double)x[i] - top);
    return {x, best, top + log(block_sum(sum))};
}

/* E49: sum_v exp(lp) (lp - lp0) */
static __device__ double kl_sum(struct row r, const real *lp0, size_t n_vocab)
{
    double sum = 0;
    for (size_t v = threadIdx.x; v < n_vocab; v += BLOCK) {
        const double lp = (double)r.x[v] - r.log_z;
        sum = fma(exp(lp), lp - (double)lp0[v], sum);
    }
    return block_sum(sum);
}

/* E37 at the labels and at the best token: what E48 and E52 sum. */
static __global__ void __launch_bounds__(BLOCK)
    xent_rows(double *logp, double *best_logp, int32_t *best, const real *logits, const int32_t *labels,
              size_t n_vocab)
{
    const struct row r = row_of(logits, n_vocab);
    if (threadIdx.x == 0) {
        logp[blockIdx.x] = (double)r.x[labels[blockIdx.x]] - r.log_z;
        best_logp[blockIdx.x] = (double)r.x[r.best] - r.log_z;
        best[blockIdx.x] = (int32_t)r.best;
    }
}

/* E57 */
static __global__ void __launch_bounds__(BLOCK)
    xent_dx_rows(real *g_logits, const real *logits, const int32_t *labels, const double *scale,
                 size_t n_vocab)
{
    const struct row r = row_of(logits, n_vocab);
    const size_t label = (size_t)labels[blockIdx.x];
    for (size_t v = threadIdx.x; v < n_vocab; v += BLOCK)
        g_logits[blockIdx.x * n_vocab + v] =
            (real)(scale[blockIdx.x] * (exp((double)r.x[v] - r.log_z) - (v == label ? 1 : 0)));
}

/* E37 */
static __global__ void __launch_bounds__(BLOCK) log_softmax_rows(real *lp, const real *logits, size_t n_vocab)
{
    const struct row r = row_of(logits, n_vocab);
    for (size_t v = threadIdx.x; v < n_vocab; v += BLOCK)
        lp[blockIdx.x * n_vocab + v] = (real)((double)r.x[v] - r.log_z);
}

static __global__ void __launch_bounds__(BLOCK)
    kl_rows(double *kl, const real *logits, const real *lp0, const size_t *which, size_t n_vocab)
{
    const double total = kl_sum(row_of(logits, n_vocab), lp0 + which[blockIdx.x] * n_vocab, n_vocab);
    if (threadIdx.x == 0)
        kl[blockIdx.x] = total;
}

/* E58 */
static __global__ void __launch_bounds__(BLOCK)
    kl_dx_rows(real *g_logits, const real *logits, const real *lp0, const size_t *which, const double *scale,
               size_t n_vocab)
{
    const struct row r = row_of(logits, n_vocab);
    const real *ref = lp0 + which[blockIdx.x] * n_vocab;
    const double total = kl_sum(r, ref, n_vocab);
    for (size_t v = threadIdx.x; v < n_vocab; v += BLOCK) {
        const double lp = (double)r.x[v] - r.log_z;
        g_logits[blockIdx.x * n_vocab + v] =
            (real)(scale[blockIdx.x] * exp(lp) * ((lp - (double)ref[v]) - total));
    }
}

/* The status of a kernel of one block per row. */
#define LAUNCH_ROWS(op, what, n, err, kernel, ...)                                                           \
    ((n) == 0 ? PMET_OK                                                                                      \
     : (n) > INT32_MAX                                                                                       \
         ? pmet_fail(err, PMET_UNSUPPORTED, "cuda: %zu rows of logits; at most 2^31", n)                     \
         : (PMET_LAUNCH(kernel, (unsigned)(n), BLOCK, 0, pmet_cuda_of(op)->stream, __VA_ARGS__),             \
            pmet_cuda_launched(what, err)))

static enum pmet_status xent(const struct pmet_ops *op, double *logp, double *best_logp, int32_t *best,
                             const real *logits, const int32_t *labels, size_t n, size_t n_vocab,
                             struct pmet_error *err)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    double *result;
    if (n == 0)
        return PMET_OK;
    PMET_TRY(pmet_cuda_put(op, &labels, n * sizeof *labels, err));
    PMET_TRY(pmet_cuda_scratch(cuda, PMET_SCRATCH_RESULT, 3 * n * sizeof *result, &result, err));
    PMET_TRY(LAUNCH_ROWS(op, "xent", n, err, xent_rows, result, result + n, (int32_t *)(result + 2 * n),
                         logits, labels, n_vocab));
    PMET_TRY(pmet_cuda_fetch(cuda, logp, result, n * sizeof *logp, "xent", err));
    PMET_TRY(pmet_cuda_fetch(cuda, best_logp, result + n, n * sizeof *best_logp, "xent", err));
    return pmet_cuda_fetch(cuda, best, result + 2 * n, n * sizeof *best, "xent", err);
}

static enum pmet_status xent_dx(const struct pmet_ops *op, real *g_logits, const real *logits,
                                const int32_t *labels, const double *scale, size_t n, size_t n_vocab,
                                struct pmet_error *err)
{
    struct pmet_cuda_part part[] = {{&labels, n * sizeof *labels}, {&scale, n * sizeof *scale}};
    PMET_TRY(pmet_cuda_stage(op, part, 2, err));
    return LAUNCH_ROWS(op, "xent_dx", n, err, xent_dx_rows, g_logits, logits, labels, scale, n_vocab);
}

static enum pmet_status log_softmax(const struct pmet_ops *op, real *lp, const real *logits, size_t n,
                                    size_t n_vocab, struct pmet_error *err)
{
    return LAUNCH_ROWS(op, "log_softmax", n, err, log_softmax_rows, lp, logits, n_vocab);
}

static enum pmet_status kl(const struct pmet_ops *op, double *out, const real *logits, const real *lp0,
                           const size_t *which, size_t n, size_t n_vocab, struct pmet_error *err)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    double *result;
    if (n == 0)
        return PMET_OK;
    PMET_TRY(pmet_cuda_put(op, &which, n * sizeof *which, err));
    PMET_TRY(pmet_cuda_scratch(cuda, PMET_SCRATCH_RESULT, n * sizeof *result, &result, err));
    PMET_TRY(LAUNCH_ROWS(op, "kl", n, err, kl_rows, result, logits, lp0, which, n_vocab));
    return pmet_cuda_fetch(cuda, out, result, n * sizeof *out, "kl", err);
}

static enum pmet_status kl_dx(const struct pmet_ops *op, real *g_logits, const real *logits, const real *lp0,
                              const size_t *which, const double *scale, size_t n, size_t n_vocab,
                              struct pmet_error *err)
{
    struct pmet_cuda_part part[] = {{&which, n * sizeof *which}, {&scale, n * sizeof *scale}};
    PMET_TRY(pmet_cuda_stage(op, part, 2, err));
    return LAUNCH_ROWS(op, "kl_dx", n, err, kl_dx_rows, g_logits, logits, lp0, which, scale, n_vocab);
}

void pmet_cuda_loss(struct pmet_ops *op)
{
    op->xent = xent;
    op->xent_dx = xent_dx;
    op->log_softmax = log_softmax;
    op->kl = kl;
    op->kl_dx = kl_dx;
}
