"""Losses from raw outputs: value and derivative of each side by side.

f is a raw output (a logit, a log rate, a margin), t its target, d = f - t. CONTRIBUTING.md says how
to add a loss.
"""
from libc.stdint cimport int32_t

from cnn_core.links cimport EXP, IDENTITY, MEAN_VARIANCE, ROWS, SIGMOID, SOFTMAX, softmax
from cnn_core.types cimport LossSpec, real
from cnn_core.vecmath cimport exp_pair, loop, v_abs, v_exp, v_log, v_log1p, v_sigmoid, v_softplus, v_tanh


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
    GAMMA
    TWEEDIE
    SQUARED_HINGE
    GAUSSIAN_NLL


cdef inline int loss_link(int loss) noexcept nogil:
    """The output link of a loss."""
    if loss in (POISSON, GAMMA, TWEEDIE):
        return EXP
    if loss == GAUSSIAN_NLL:
        return MEAN_VARIANCE
    if loss == BINARY_CROSS_ENTROPY:
        return SIGMOID
    return SOFTMAX if loss == CROSS_ENTROPY else IDENTITY


# Value of one element; dl/df to delta. -------------------------------------------------------------------------------

# l = d^2
cdef inline real mse(real f, real t, real p, real* delta) noexcept nogil:
    cdef real d = f - t
    delta[0] = <real>2 * d
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
    cdef real e = exp_pair(-<real>2 * m, &low)
    cdef real small = <real>0.04 if real is float else <real>0.0025
    delta[0] = v_tanh(d)
    return (s * (<real>0.5 - s * (<real>(1.0 / 12.0) - s * <real>(1.0 / 45))) if m < small
            else m + v_log1p(e, low) - <real>0.69314718055994530942)


# l = max(p e, (p - 1) e), e = t - f, Koenker & Bassett 1978
cdef inline real quantile(real f, real t, real p, real* delta) noexcept nogil:
    cdef real e = t - f
    delta[0] = -p if e > 0 else (<real>1 - p if e < 0 else e)
    return p * e if e > 0 else (p - <real>1) * e


# l = e^f - t f: the negative log likelihood for the rate e^f, without its constant
cdef inline real poisson(real f, real t, real p, real* delta) noexcept nogil:
    cdef real rate = v_exp(f)
    delta[0] = rate - t
    return rate - t * f


# l = log(1 + e^f) - t f, written so that the large terms never meet; p is the smoothing: t (1 - p) + p / 2
cdef inline real binary_cross_entropy(real f, real t, real p, real* delta) noexcept nogil:
    cdef real s = t * (<real>1 - p) + <real>0.5 * p
    delta[0] = v_sigmoid(f) - s
    return v_softplus(-v_abs(f)) + (f * (<real>1 - s) if f > 0 else -f * s)


# l = max(0, 1 - t f), t = -1 or 1 (0 counts as -1)
cdef inline real hinge(real f, real t, real p, real* delta) noexcept nogil:
    cdef real sign = <real>1 if t > 0 else <real>-1
    cdef real slack = <real>1 - sign * f
    delta[0] = -sign if slack > 0 else <real>0
    return slack if not slack <= 0 else <real>0


# l = t e^-f + f: half the deviance of the mean e^f, without what it is at best
cdef inline real gamma(real f, real t, real p, real* delta) noexcept nogil:
    cdef real ratio = t * v_exp(-f)
    delta[0] = <real>1 - ratio
    return ratio + f


# l = -t e^((1 - p) f) / (1 - p) + e^((2 - p) f) / (2 - p), 1 < p < 2: half the deviance, without what it is at best.
# A target of 0 has no say in the first term, which may be infinite. a = p - 1 and b = 2 - p are rounded once: of a p
# that is rounded already they would have no digits left near 1 and 2.
cdef inline real tweedie(real f, real t, real a, real b, real* delta) noexcept nogil:
    cdef real first = t * v_exp(-a * f) if t > 0 else <real>0
    cdef real second = v_exp(b * f)
    delta[0] = second - first
    return first / a + second / b


# l = max(0, 1 - t f)^2, t = -1 or 1 (0 counts as -1)
cdef inline real squared_hinge(real f, real t, real p, real* delta) noexcept nogil:
    cdef real slope = 0
    cdef real slack = hinge(f, t, p, &slope)
    delta[0] = <real>2 * slack * slope
    return slack * slack


# Their loops; p is the parameter of the loss, or its smoothing. -----------------------------------------------------

cdef inline loop mse_loop(const real* f, const real* t, real p, real* value, real* delta, Py_ssize_t n) noexcept nogil:
    for i in range(n):
        value[i] = mse(f[i], t[i], p, &delta[i])

cdef inline loop mae_loop(const real* f, const real* t, real p, real* value, real* delta, Py_ssize_t n) noexcept nogil:
    for i in range(n):
        value[i] = mae(f[i], t[i], p, &delta[i])

cdef inline loop huber_loop(const real* f, const real* t, real p, real* value, real* delta,
                            Py_ssize_t n) noexcept nogil:
    for i in range(n):
        value[i] = huber(f[i], t[i], p, &delta[i])

cdef inline loop log_cosh_loop(const real* f, const real* t, real p, real* value, real* delta,
                               Py_ssize_t n) noexcept nogil:
    for i in range(n):
        value[i] = log_cosh(f[i], t[i], p, &delta[i])

cdef inline loop quantile_loop(const real* f, const real* t, real p, real* value, real* delta,
                               Py_ssize_t n) noexcept nogil:
    for i in range(n):
        value[i] = quantile(f[i], t[i], p, &delta[i])

cdef inline loop poisson_loop(const real* f, const real* t, real p, real* value, real* delta,
                              Py_ssize_t n) noexcept nogil:
    for i in range(n):
        value[i] = poisson(f[i], t[i], p, &delta[i])

cdef inline loop binary_cross_entropy_loop(const real* f, const real* t, real p, real* value, real* delta,
                                           Py_ssize_t n) noexcept nogil:
    for i in range(n):
        value[i] = binary_cross_entropy(f[i], t[i], p, &delta[i])

cdef inline loop hinge_loop(const real* f, const real* t, real p, real* value, real* delta,
                            Py_ssize_t n) noexcept nogil:
    for i in range(n):
        value[i] = hinge(f[i], t[i], p, &delta[i])


cdef inline loop gamma_loop(const real* f, const real* t, real p, real* value, real* delta,
                            Py_ssize_t n) noexcept nogil:
    for i in range(n):
        value[i] = gamma(f[i], t[i], p, &delta[i])


cdef inline loop tweedie_loop(const real* f, const real* t, real a, real b, real* value, real* delta,
                              Py_ssize_t n) noexcept nogil:
    for i in range(n):
        value[i] = tweedie(f[i], t[i], a, b, &delta[i])


cdef inline loop squared_hinge_loop(const real* f, const real* t, real p, real* value, real* delta,
                                    Py_ssize_t n) noexcept nogil:
    for i in range(n):
        value[i] = squared_hinge(f[i], t[i], p, &delta[i])


# l = (s + (f - t)^2 e^-s) / 2 for the mean f and the logarithm s of the variance, Nix & Weigend 1994: the negative log
# likelihood without its constant. Where f = t the variance may be as small as it likes. (In two loops, so that the
# compiler has few enough pointers to look whether they overlap.)
cdef inline loop gaussian_nll_loop(const real* f, const real* s, const real* t, real* value, real* delta_f,
                                   real* delta_s, Py_ssize_t n) noexcept nogil:
    cdef real w, u
    for i in range(n):
        w = v_exp(<real>-0.5 * s[i])
        w = w if f[i] != t[i] else <real>0
        delta_f[i] = (f[i] - t[i]) * w
        delta_s[i] = w
    for i in range(n):
        u = delta_f[i]
        value[i] = <real>0.5 * s[i] + <real>0.5 * u * u
        delta_f[i] = u * delta_s[i]
        delta_s[i] = <real>0.5 - <real>0.5 * u * u


cdef inline void elementwise(const LossSpec* spec, const real* f, const real* t, real* value, real* delta,
                             Py_ssize_t n) noexcept nogil:
    cdef real p = <real>spec.parameter
    cdef int kind = spec.kind
    if kind == MSE:
        mse_loop(f, t, p, value, delta, n)
    elif kind == MAE:
        mae_loop(f, t, p, value, delta, n)
    elif kind == HUBER:
        huber_loop(f, t, p, value, delta, n)
    elif kind == LOG_COSH:
        log_cosh_loop(f, t, p, value, delta, n)
    elif kind == QUANTILE:
        quantile_loop(f, t, p, value, delta, n)
    elif kind == POISSON:
        poisson_loop(f, t, p, value, delta, n)
    elif kind == BINARY_CROSS_ENTROPY:
        binary_cross_entropy_loop(f, t, <real>spec.smoothing, value, delta, n)
    elif kind == HINGE:
        hinge_loop(f, t, p, value, delta, n)
    elif kind == GAMMA:
        gamma_loop(f, t, p, value, delta, n)
    elif kind == TWEEDIE:
        tweedie_loop(f, t, <real>(spec.parameter - 1), <real>(2 - spec.parameter), value, delta, n)
    elif kind == SQUARED_HINGE:
        squared_hinge_loop(f, t, p, value, delta, n)


# Cross-entropy --------------------------------------------------------------------------------------------------------

cdef inline real below(real shift, real f) noexcept nogil:
    """(shift - f) / 4: the difference of two finite logits may overflow, a quarter of it can't."""
    return <real>0.25 * shift - <real>0.25 * f


# l = log sum e^f - sum q f, q = (1 - p) t + p / k for label smoothing p; dl/df = softmax(f) sum q - q
cdef inline void cross_entropy(const LossSpec* spec, const real* f, const real* target, const int32_t* classes,
                               real* value, real* delta, Py_ssize_t rows, Py_ssize_t ld) noexcept nogil:
    """For up to ROWS rows, of which those that are only padding have class 0 or no target at all."""
    cdef Py_ssize_t k = spec.n_outputs, r, j
    cdef real p = <real>spec.smoothing, keep = <real>1 - p, even = p / k, q
    cdef real shift[ROWS]
    cdef real total[ROWS]
    cdef real mass[ROWS]
    cdef const real* x
    softmax(f, delta, ld, shift, total, rows, k)
    for r in range(rows):
        value[r] = 0
        mass[r] = 1
    if classes != NULL:
        for r in range(rows):
            value[r] = below(shift[r], f[classes[r] * ld + r]) * (<real>4 * keep)
    else:
        for r in range(rows):
            mass[r] = p
        for j in range(k):
            x = target + j * ld
            for r in range(rows):
                q = x[r] * keep
                mass[r] += q
                # 0 * inf is NaN: a class without mass has no say, however far its logit
                value[r] += below(shift[r], f[j * ld + r]) * (<real>4 * q) if q != 0 else <real>0
    if p > 0:
        for j in range(k):
            for r in range(rows):
                value[r] += below(shift[r], f[j * ld + r]) * (<real>4 * even)
    for r in range(rows):
        value[r] += v_log(total[r]) * mass[r]
        total[r] = mass[r] / total[r]
    for j in range(k):
        for r in range(rows):
            delta[j * ld + r] = delta[j * ld + r] * total[r] - even
    if classes != NULL:
        for r in range(rows):
            delta[classes[r] * ld + r] -= keep
    else:
        for j in range(k):
            for r in range(rows):
                delta[j * ld + r] -= target[j * ld + r] * keep


# All losses -----------------------------------------------------------------------------------------------------------

cdef inline double sum_in_lanes(const real* a, Py_ssize_t n) noexcept nogil:
    """The sum in float64, by eight fixed accumulators: a plain sum can't be vectorised without changing its order."""
    cdef double lane[8]
    cdef double s = 0
    cdef Py_ssize_t i, j
    for j in range(8):
        lane[j] = 0
    for i in range(0, n - 7, 8):
        for j in range(8):
            lane[j] += <double>a[i + j]
    for i in range(n - n % 8, n):
        lane[i % 8] += <double>a[i]
    for j in range(8):
        s += lane[j]
    return s


cdef inline double loss_block(const LossSpec* spec, const real* out, const real* target, const int32_t* classes,
                              const real* weight, double scale, real* value, real* delta, Py_ssize_t rows,
                              Py_ssize_t ld) noexcept nogil:
    """Sum of w * loss over the rows of a slab, in float64; delta = scale * w * dloss/dout, 0 beyond the last row;
    both times the spec's own scale.

    out, delta (k, ld) raw outputs and their derivative; target (n_targets, ld) or classes (ld,), the other NULL; weight
    (ld,) or NULL; value (k, ld) is scratch. A row's loss is its mean over targets, or its cross-entropy. Weights are
    applied here for all losses, as w * loss: a weight of 0 does not hide a NaN.
    """
    cdef Py_ssize_t k = spec.n_outputs, r, j, b, per_row = spec.n_targets
    cdef real factor
    scale *= spec.scale
    if spec.kind == CROSS_ENTROPY:
        per_row, b = 1, 0
        while b < ld:
            cross_entropy(spec, out + b, target + b if target != NULL else NULL,
                          classes + b if classes != NULL else NULL, value + b, delta + b, min(ld - b, <Py_ssize_t>ROWS),
                          ld)
            b += ROWS
    elif spec.kind == GAUSSIAN_NLL:
        gaussian_nll_loop(out, out + per_row * ld, target, value, delta, delta + per_row * ld, per_row * ld)
        scale /= per_row
    else:
        elementwise(spec, out, target, value, delta, per_row * ld)
        scale /= per_row
    factor = <real>scale
    if weight == NULL:
        for j in range(k * ld):
            delta[j] *= factor
    else:
        for j in range(k):
            for r in range(rows):
                delta[j * ld + r] *= factor * weight[r]
        for j in range(per_row):
            for r in range(rows):
                value[j * ld + r] *= weight[r]
    for j in range(k):
        for r in range(rows, ld):
            delta[j * ld + r] = 0
    for j in range(per_row):
        for r in range(rows, ld):
            value[j * ld + r] = 0
    return spec.scale * (sum_in_lanes(<const real*>value, per_row * ld) / per_row)
