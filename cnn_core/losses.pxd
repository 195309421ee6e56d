"""Losses from raw outputs: value and derivative of each side by side.

f is a raw output (a logit, a log rate, a margin), t its target, d = f - t. To add a loss: its name in `Loss`, its
function or branch here, and the same in tests/reference.py.
"""
from libc.stdint cimport int32_t

from cnn_core.types cimport LossSpec, real
from cnn_core.vecmath cimport exp_pair, v_abs, v_exp, v_log, v_log1p, v_sigmoid, v_softplus, v_tanh


cpdef enum Loss:
    MSE
    MAE
    HUBER
    LOG_COSH
    QUANTILE
    POISSON
    BINARY_CROSS_ENTROPY
    CROSS_ENTROPY
    HINGE


# Value of one element; dl/df to delta. -------------------------------------------------------------------------------

# l = d^2
cdef inline real mse(real f, real t, real p, real* delta) noexcept nogil:
    cdef real d = f - t
    delta[0] = 2 * d
    return d * d


# l = |d|, dl/df = sign d
cdef inline real mae(real f, real t, real p, real* delta) noexcept nogil:
    cdef real d = f - t
    delta[0] = <real>1 if d > 0 else (<real>-1 if d < 0 else d)
    return v_abs(d)


# l = d^2 / 2 for |d| <= p, else p (|d| - p / 2), Huber 1964
cdef inline real huber(real f, real t, real p, real* delta) noexcept nogil:
    cdef real d = f - t, m = v_abs(d), c = p if d > p else (-p if d < -p else d)
    delta[0] = c
    return <real>0.5 * d * d if m <= p else p * (m - <real>0.5 * p)


# l = log cosh d = |d| + log(1 + e^-2|d|) - log 2; near 0, where that cancels, d^2 / 2 - d^4 / 12 + d^6 / 45
cdef inline real log_cosh(real f, real t, real p, real* delta) noexcept nogil:
    cdef real d = f - t, m = v_abs(d), low = 0, s = d * d
    cdef real e = exp_pair(-2 * m, &low)
    cdef real small = <real>0.04 if real is float else <real>0.0025
    delta[0] = v_tanh(d)
    if m < small:
        return s * (<real>0.5 - s * (<real>(1.0 / 12.0) - s * <real>(1.0 / 45)))
    return m + v_log1p(e, low) - <real>0.69314718055994530942


# l = max(p e, (p - 1) e), e = t - f, Koenker & Bassett 1978
cdef inline real quantile(real f, real t, real p, real* delta) noexcept nogil:
    cdef real e = t - f
    delta[0] = -p if e > 0 else (1 - p if e < 0 else e)
    return p * e if e > 0 else (p - 1) * e


# l = e^f - t f: the negative log likelihood for the rate e^f, without its constant
cdef inline real poisson(real f, real t, real p, real* delta) noexcept nogil:
    cdef real rate = v_exp(f)
    delta[0] = rate - t
    return rate - t * f


# l = log(1 + e^f) - t f, written so that the large terms never meet; p is the smoothing: t (1 - p) + p / 2
cdef inline real binary_cross_entropy(real f, real t, real p, real* delta) noexcept nogil:
    cdef real s = t * (1 - p) + <real>0.5 * p
    delta[0] = v_sigmoid(f) - s
    return v_softplus(-v_abs(f)) + (f * (1 - s) if f > 0 else -f * s)


# l = max(0, 1 - t f), t = -1 or 1 (0 counts as -1)
cdef inline real hinge(real f, real t, real p, real* delta) noexcept nogil:
    cdef real sign = <real>1 if t > 0 else <real>-1
    cdef real slack = 1 - sign * f
    delta[0] = -sign if slack > 0 else <real>0
    return slack if not slack <= 0 else <real>0


cdef inline void elementwise(const LossSpec* spec, const real* f, const real* t, real* value, real* delta,
                             Py_ssize_t n) noexcept nogil:
    cdef real p = <real>spec.parameter
    cdef int kind = spec.kind
    cdef Py_ssize_t i
    if kind == MSE:
        for i in range(n):
            value[i] = mse(f[i], t[i], p, delta + i)
    elif kind == MAE:
        for i in range(n):
            value[i] = mae(f[i], t[i], p, delta + i)
    elif kind == HUBER:
        for i in range(n):
            value[i] = huber(f[i], t[i], p, delta + i)
    elif kind == LOG_COSH:
        for i in range(n):
            value[i] = log_cosh(f[i], t[i], p, delta + i)
    elif kind == QUANTILE:
        for i in range(n):
            value[i] = quantile(f[i], t[i], p, delta + i)
    elif kind == POISSON:
        for i in range(n):
            value[i] = poisson(f[i], t[i], p, delta + i)
    elif kind == BINARY_CROSS_ENTROPY:
        p = <real>spec.smoothing
        for i in range(n):
            value[i] = binary_cross_entropy(f[i], t[i], p, delta + i)
    elif kind == HINGE:
        for i in range(n):
            value[i] = hinge(f[i], t[i], p, delta + i)


# Cross-entropy --------------------------------------------------------------------------------------------------------

cdef inline real largest(const real* f, Py_ssize_t k) noexcept nogil:
    """The maximum of a row, NaN if there is one."""
    cdef real m = f[0]
    cdef Py_ssize_t j
    for j in range(1, k):
        m = m if f[j] <= m else f[j]
    return m


cdef inline real sum_in_lanes(const real* a, Py_ssize_t n) noexcept nogil:
    """Sum of a row by eight fixed accumulators: a plain sum can't be vectorised without changing its order."""
    cdef real lane[8]
    cdef real s = 0
    cdef Py_ssize_t i, j
    if n < 16:
        for i in range(n):
            s += a[i]
        return s
    for j in range(8):
        lane[j] = 0
    for i in range(0, n - 7, 8):
        for j in range(8):
            lane[j] += a[i + j]
    for i in range(n - n % 8, n):
        lane[i % 8] += a[i]
    for j in range(8):
        s += lane[j]
    return s


cdef inline void softmax(const real* f, real* y, real* shift, real* total, Py_ssize_t rows,
                         Py_ssize_t k) noexcept nogil:
    """y = e^(f - m), (rows, k), with m and the sum of each row in shift and total (rows,)."""
    cdef Py_ssize_t r, j
    for r in range(rows):
        shift[r] = largest(f + r * k, k)
        for j in range(k):
            y[r * k + j] = f[r * k + j] - shift[r]
    for j in range(rows * k):  # flat, so that few classes fill the vectors too
        y[j] = v_exp(y[j])
    for r in range(rows):
        total[r] = sum_in_lanes(<const real*>(y + r * k), k)


# l = log sum e^f - sum q f, q = (1 - p) t + p / k for label smoothing p; dl/df = softmax(f) - q (for sum q = 1)
cdef inline void cross_entropy(const LossSpec* spec, const real* f, const real* target, const int32_t* classes,
                               real* value, real* delta, Py_ssize_t rows) noexcept nogil:
    cdef Py_ssize_t k = spec.n_outputs, r, j, b, block
    cdef real p = <real>spec.smoothing, even = p / k, q, mean, mass, loss
    cdef real shift[64]
    cdef real total[64]
    cdef real logarithm[64]
    cdef const real* x
    for b in range(0, rows, 64):
        block = min(rows - b, 64)
        softmax(f + b * k, delta + b * k, shift, total, block, k)
        for r in range(block):
            logarithm[r] = v_log(total[r])
        for r in range(block):
            x = f + (b + r) * k
            mass = 1
            loss = 0
            if classes != NULL:
                loss = (shift[r] - x[classes[b + r]]) * (1 - p)
            else:
                mass = 0
                for j in range(k):
                    q = target[(b + r) * k + j] * (1 - p)
                    mass += q
                    # 0 * inf is NaN: a class without mass has no say, however far its logit
                    loss += q * (shift[r] - x[j]) if q != 0 else 0
                mass += p
            if p > 0:
                mean = 0
                for j in range(k):
                    mean += (shift[r] - x[j]) * even
                loss += mean
            value[b + r] = loss + logarithm[r] * mass
            q = mass / total[r]
            for j in range(k):
                delta[(b + r) * k + j] = delta[(b + r) * k + j] * q - even
            if classes != NULL:
                delta[(b + r) * k + classes[b + r]] -= 1 - p
            else:
                for j in range(k):
                    delta[(b + r) * k + j] -= target[(b + r) * k + j] * (1 - p)


# All losses -----------------------------------------------------------------------------------------------------------

cdef inline double loss_block(const LossSpec* spec, const real* out, const real* target, const int32_t* classes,
                              const real* weight, double scale, real* value, real* delta,
                              Py_ssize_t rows) noexcept nogil:
    """Sum of w * loss over some rows, in float64; delta = scale * w * dloss/dout.

    out, delta (rows, k) raw outputs and their derivative; target (rows, k) or classes (rows,), the other NULL;
    weight (rows,) or NULL; value (rows, k) is scratch. A row's loss is its mean over the k outputs, or its
    cross-entropy. Weights are applied here for all losses, as w * loss: a weight of 0 does not hide a NaN.
    """
    cdef Py_ssize_t k = spec.n_outputs, r, j, per_row = k
    cdef double total = 0, row
    cdef real factor
    if spec.kind == CROSS_ENTROPY:
        cross_entropy(spec, out, target, classes, value, delta, rows)
        per_row = 1
    else:
        elementwise(spec, out, target, value, delta, rows * k)
        scale /= k
    if weight == NULL:
        factor = <real>scale
        for j in range(rows * k):
            delta[j] *= factor
        for j in range(rows * per_row):
            total += value[j]
        return total / per_row
    for r in range(rows):
        factor = <real>(scale * weight[r])
        for j in range(k):
            delta[r * k + j] *= factor
        row = 0
        for j in range(per_row):
            row += value[r * per_row + j]
        total += weight[r] * row
    return total / per_row


cdef inline void link_block(int loss, const real* out, real* y, Py_ssize_t rows, Py_ssize_t k) noexcept nogil:
    """The loss's output link, (rows, k): softmax, sigmoid, exp or nothing. y may be out."""
    cdef Py_ssize_t i, j, b, block
    cdef real shift[64]
    cdef real total[64]
    if loss == CROSS_ENTROPY:
        for b in range(0, rows, 64):
            block = min(rows - b, 64)
            softmax(out + b * k, y + b * k, shift, total, block, k)
            for i in range(block):
                for j in range(k):
                    y[(b + i) * k + j] /= total[i]
    elif loss == BINARY_CROSS_ENTROPY:
        for i in range(rows * k):
            y[i] = v_sigmoid(out[i])
    elif loss == POISSON:
        for i in range(rows * k):
            y[i] = v_exp(out[i])
    else:
        for i in range(rows * k):
            y[i] = out[i]
