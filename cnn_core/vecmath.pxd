"""exp, log and their kin without branches or calls, so that a loop over them becomes vector code.

Where the float64 bound (2 ULP) would be lost to an intermediate rounding, numbers are carried as unevaluated sums of a
high and a low part. Nothing here relies on fused multiply-add, and nothing breaks when the compiler uses it.
Methods: Cody & Waite's argument reduction; log as in FreeBSD's msun (e_log.c); Dekker's product; the coefficients of
exp and of the normal tail come from tools/fit_polynomials.py. Whole numbers are cast as well, here and in the files
that build on this one: a bare 1 becomes 1.0, and turns float arithmetic into double.
"""
from libc.math cimport copysign, copysignf, fabs, fabsf

from cnn_core.types cimport real

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    /* A loop that must become vector code is a function of its own with all it calls inlined (in one large function the
       compiler's limits on inlining end that); tests/test_vectorised.py finds it by its symbol. */
    #if defined(__GNUC__)
      #pragma GCC diagnostic ignored "-Wattributes"
      #define CNN_LOOP __attribute__((noinline, flatten)) void
    #else
      #define CNN_LOOP void
    #endif
    /* 2^n for whole n: added to 1.5 * 2^(digits - 1), n stands in the low bits of the sum. */
    static inline float cnn_pow2f(float n) {
        float t = n + 12582912.0f; uint32_t u;
        memcpy(&u, &t, 4); u = (u + 127u) << 23; memcpy(&t, &u, 4); return t;
    }
    static inline double cnn_pow2(double n) {
        double t = n + 6755399441055744.0; uint64_t u;
        memcpy(&u, &t, 8); u = (u + 1023u) << 52; memcpy(&t, &u, 8); return t;
    }
    /* The leading half of the significand: the product of two such numbers is exact. */
    static inline float cnn_topf(float x) {
        uint32_t u; memcpy(&u, &x, 4); u &= 0xFFFFF000u; memcpy(&x, &u, 4); return x;
    }
    static inline double cnn_top(double x) {
        uint64_t u; memcpy(&u, &x, 8); u &= 0xFFFFFFFFF8000000u; memcpy(&x, &u, 8); return x;
    }
    /* Exponent e and significand m of x = m 2^e > 0 and normal, with m in [sqrt(1/2), sqrt(2)). */
    static inline float cnn_exponentf(float x) {
        uint32_t u; memcpy(&u, &x, 4); return (float)((int32_t)(u - 0x3F3504F3u) >> 23);
    }
    static inline float cnn_significandf(float x) {
        uint32_t u; memcpy(&u, &x, 4); u -= (uint32_t)((int32_t)(u - 0x3F3504F3u) >> 23) << 23;
        memcpy(&x, &u, 4); return x;
    }
    static inline double cnn_exponent(double x) {
        uint64_t u; double t; memcpy(&u, &x, 8); u -= 0x3FE6A09E667F3BCDu;
        /* an arithmetic shift of 64 bits, and the way from integer to double, by the 1.5 * 2^52 of above */
        u = ((u + 0x4000000000000000u) >> 52) + 0x4338000000000000u - 0x400u; memcpy(&t, &u, 8);
        return t - 6755399441055744.0;
    }
    static inline double cnn_significand(double x) {
        uint64_t u, v; memcpy(&u, &x, 8); v = u - 0x3FE6A09E667F3BCDu; v &= 0xFFF0000000000000u; u -= v;
        memcpy(&x, &u, 8); return x;
    }
    """
    ctypedef void loop "CNN_LOOP"
    float cnn_pow2f(float) noexcept nogil
    double cnn_pow2(double) noexcept nogil
    float cnn_topf(float) noexcept nogil
    double cnn_top(double) noexcept nogil
    float cnn_exponentf(float) noexcept nogil
    double cnn_exponent(double) noexcept nogil
    float cnn_significandf(float) noexcept nogil
    double cnn_significand(double) noexcept nogil


cdef inline real v_abs(real x) noexcept nogil:
    return fabsf(x) if real is float else fabs(x)


cdef inline real v_copysign(real magnitude, real sign) noexcept nogil:
    return copysignf(magnitude, sign) if real is float else copysign(magnitude, sign)


cdef inline real v_pow2(real n) noexcept nogil:
    return cnn_pow2f(n) if real is float else cnn_pow2(n)


cdef inline real v_top(real x) noexcept nogil:
    return cnn_topf(x) if real is float else cnn_top(x)


cdef inline real v_whole(real x) noexcept nogil:
    """The whole number nearest to x, for |x| below 2^22 or 2^51."""
    cdef real magic = <real>12582912.0 if real is float else <real>6755399441055744.0
    return (x + magic) - magic


cdef inline real multiply_pair(real a, real b, real* low) noexcept nogil:
    """a b as a sum of two parts: the rounded product and its error (Dekker 1971)."""
    cdef real p = a * b, a_top = v_top(a), b_top = v_top(b), a_rest = a - a_top, b_rest = b - b_top
    low[0] = ((a_top * b_top - p) + a_top * b_rest + a_rest * b_top) + a_rest * b_rest
    return p


cdef inline real add_pair(real a, real b, real* low) noexcept nogil:
    """a + b as a sum of two parts, for a, b >= 0. By comparison: Knuth's sum breaks when a product is fused into it."""
    cdef real s = a + b
    low[0] = (a - s) + b if a > b else (b - s) + a
    return s


cdef inline real exp_series(real r) noexcept nogil:
    """e^r - 1 - r for |r| <= 0.35."""
    cdef real q
    if real is float:
        q = <real>0.00139462634
        q = q * r + <real>0.00836675428
        q = q * r + <real>0.0416662842
        q = q * r + <real>0.16666542
        q = q * r + <real>0.5
    else:
        q = 2.5114813092778474e-08
        q = q * r + 2.76266832479764e-07
        q = q * r + 2.755722694477715e-06
        q = q * r + 2.4801503587533092e-05
        q = q * r + 0.00019841269904074816
        q = q * r + 0.0013888888933056031
        q = q * r + 0.008333333333314158
        q = q * r + 0.04166666666657169
        q = q * r + 0.16666666666666688
        q = q * r + 0.5000000000000006
    return r * r * q


# e^(x + x_low) = 2^n (1 + r + tail), n whole, |r| <= 0.35. For |x| up to a little over the logarithm of the largest
# number, or half as much again below 0. What r has lost by rounding is given on in float64 only: float32 can afford it.
cdef inline real exp_parts(real x, real x_low, real* r_out, real* tail_out) noexcept nogil:
    cdef real n, r, high, rest
    if real is float:
        n = v_whole(x * <real>1.44269504)
        high = x - n * <real>0.693359375
        rest = n * <real>-2.12194440e-4 - x_low
        r = high - rest
        tail_out[0] = exp_series(r)
    else:
        n = v_whole(x * 1.4426950408889634)
        high = x - n * 6.93147180369123816490e-01
        rest = n * 1.90821492927058770002e-10 - x_low
        r = high - rest
        tail_out[0] = ((high - r) - rest) + exp_series(r)
    r_out[0] = r
    return n


cdef inline real v_exp(real x) noexcept nogil:
    """e^x, to about 1 ULP."""
    cdef real n, half, r = 0, tail = 0
    cdef real top = <real>89 if real is float else <real>710, bottom = <real>-105 if real is float else <real>-746
    x = top if x > top else (bottom if x < bottom else x)
    n = exp_parts(x, <real>0, &r, &tail)
    half = v_whole(n * <real>0.5)
    return (<real>1 + (r + tail)) * v_pow2(half) * v_pow2(n - half)  # in two steps: the result may be subnormal


# What is proportional to a vanishing exponential is computed from 2^64 e^x, or 2^512 e^x, and scaled by v_down at the
# very end: e^x itself would be subnormal, its digits lost, while x e^x is still normal.
cdef inline real v_down(real x) noexcept nogil:
    return x * (<real>5.421010862427522e-20 if real is float else <real>7.458340731200207e-155)


cdef inline real exp_scaled(real x, real x_low, real* low) noexcept nogil:
    """e^(x + x_low) as a sum of two parts, for v_down, for x <= 0; x below -120, or -800, counts as that."""
    cdef real n, r = 0, tail = 0, sum1, sum2, scale
    cdef real bottom = <real>-120 if real is float else <real>-800, shift = <real>64 if real is float else <real>512
    n = exp_parts(bottom if x < bottom else x, x_low, &r, &tail)
    sum1 = r + tail
    tail = (r - sum1) + tail
    sum2 = <real>1 + sum1
    scale = v_pow2(n + shift)
    low[0] = (((<real>1 - sum2) + sum1) + tail) * scale
    return sum2 * scale


cdef inline real exp_pair(real x, real* low) noexcept nogil:
    """e^x for x <= 0 as a sum of two parts."""
    cdef real high = exp_scaled(x, <real>0, low)
    low[0] = v_down(low[0])
    return v_down(high)


cdef inline real expm1_pair(real x, real* low) noexcept nogil:
    """e^x - 1 as a sum of two parts, for x from -inf to about the logarithm of the square root of the largest."""
    cdef real n, r = 0, tail = 0, scale, a, b, s, t
    n = exp_parts(<real>-50 if x < -50 else x, <real>0, &r, &tail)
    scale = v_pow2(n)
    a = scale - 1
    if real is float:  # its bound has room for what is lost here
        low[0] = 0
        return a + scale * (r + tail)
    else:
        b = scale * r
        s = a + b
        t = s - a
        tail = ((a - (s - t)) + (b - t)) + scale * tail
        t = s + tail
        low[0] = tail - (t - s)
        return t


cdef inline real v_expm1(real x) noexcept nogil:
    """e^x - 1 for x up to 40."""
    cdef real low = 0
    cdef real high = expm1_pair(x, &low)
    return v_copysign(high + low, x)  # the sign matters for -0 alone


cdef inline real divide_pair(real a, real a_low, real b, real b_low) noexcept nogil:
    """(a + a_low) / (b + b_low) for b in [1, 2], about 1 ULP in float64; float32 can afford the plain quotient."""
    cdef real q = a / b
    if real is float:
        return q
    else:  # the correction needs 1 / b to a few per cent only: the best straight line
        return q + (a_low - q * b_low) * (1.411764705882353 - 0.47058823529411764 * b)


cdef inline real quotient_rest(real a, real a_low, real q, real b, real b_low) noexcept nogil:
    """a + a_low - q (b + b_low) for q = a / b rounded: what its rounding has lost, times b."""
    cdef real product_low = 0, product = multiply_pair(q, b, &product_low)
    return ((a - product) - product_low) + (a_low - q * b_low)


cdef inline float exp2_less_1(float z) noexcept nogil:
    """2^z - 1 for z from -inf to 0. A rounding of z moves 2^z by some z 2^z times as much, which stays small."""
    cdef float n, f, scale, q
    z = <float>-50 if z < -50 else z
    n = v_whole(z)
    f = z - n
    scale = v_pow2(n)
    q = <float>0.000154033958
    q = q * f + <float>0.00133907387
    q = q * f + <float>0.00961823761
    q = q * f + <float>0.0555035733
    q = q * f + <float>0.240226492
    q = q * f + <float>0.693147182
    return (scale - <float>1) + scale * f * q


cdef inline real v_tanh(real x) noexcept nogil:
    """tanh x = -E / (2 + E), E = e^(-2|x|) - 1: no loss near 0."""
    cdef real a = v_abs(x), low = 0, high, d
    if real is float:  # powers of 2 need no argument reduction in two steps: a fifth less work
        high = exp2_less_1(<float>-2.88539008 * a)
        return v_copysign(high / (<real>2 + high), x)
    else:
        high = expm1_pair(-<real>2 * a, &low)
        d = <real>2 + high
        return v_copysign(divide_pair(high, low, d, ((<real>2 - d) + high) + low), x)


cdef inline real v_sigmoid(real x) noexcept nogil:
    """1 / (1 + e^-x), relatively exact in both tails."""
    cdef real low = 0, e = exp_pair(-v_abs(x), &low), d = <real>1 + e, d_low = ((<real>1 - d) + e) + low
    return divide_pair(<real>1 if x >= 0 else e, <real>0 if x >= 0 else low, d, d_low)


cdef inline real sine_of_quarter(real y) noexcept nogil:
    """sin(2 pi y) for |y| <= 1/4."""
    cdef real z = y * y, q
    if real is float:
        q = <real>-14.3814344
        q = q * z + <real>42.0078049
        q = q * z + <real>-76.7041702
        q = q * z + <real>81.6052246
        q = q * z + <real>-41.3417015
        q = q * z + <real>6.28318548
    else:
        q = 0.1008563601424792
        q = q * z + -0.7177235883678816
        q = q * z + 3.819927051416261
        q = q * z + -15.094641620566186
        q = q * z + 42.05869392378714
        q = q * z + -76.70585975279853
        q = q * z + 81.60524927607341
        q = q * z + -41.341702240399755
        q = q * z + 6.283185307179586
    return y * q


cdef inline real rest_of_turn(real t) noexcept nogil:
    """t less the whole number nearest to it, in [-1/2, 1/2]; the second time for t that are too large for v_whole."""
    cdef real r = t - v_whole(t)
    return r - v_whole(r)


cdef inline real v_sin_turns(real t) noexcept nogil:
    """sin(2 pi t), within 4 ULP of 1 of that of the t given."""
    cdef real r = rest_of_turn(t), a = v_abs(r)
    return sine_of_quarter(v_copysign(<real>0.5 - a if a > <real>0.25 else a, r))


cdef inline real v_cos_turns(real t) noexcept nogil:
    """cos(2 pi t), as v_sin_turns."""
    return sine_of_quarter(<real>0.25 - v_abs(rest_of_turn(t)))


cdef inline real log_ratio(real f) noexcept nogil:
    """log(1 + f) - f for f in [sqrt(1/2) - 1, sqrt(2) - 1]."""
    cdef real s = f / (<real>2 + f), z = s * s, half = <real>0.5 * f * f, q
    if real is float:
        q = <real>0.24279078841
        q = q * z + <real>0.28498786688
        q = q * z + <real>0.40000972152
        q = q * z + <real>0.66666662693
    else:
        q = 1.479819860511658591e-01
        q = q * z + 1.531383769920937332e-01
        q = q * z + 1.818357216161805012e-01
        q = q * z + 2.222219843214978396e-01
        q = q * z + 2.857142874366239149e-01
        q = q * z + 3.999999999940941908e-01
        q = q * z + 6.666666666666735130e-01
    return s * (half + q * z) - half


cdef inline real v_log(real x) noexcept nogil:
    """log x for positive normal x; inf for inf, NaN for NaN."""
    cdef real k = cnn_exponentf(x) if real is float else cnn_exponent(x)
    cdef real f = (cnn_significandf(x) if real is float else cnn_significand(x)) - <real>1
    cdef real y
    if real is float:
        y = k * <real>0.693359375 + (f + (log_ratio(f) + k * <real>-2.12194440e-4))
    else:
        y = k * 6.93147180369123816490e-01 + (f + (log_ratio(f) + k * 1.90821492927058770002e-10))
    return y if x - x == 0 else x


cdef inline real v_log1p(real x, real low) noexcept nogil:
    """log(1 + x + low) for x in [0, 1] and low below an ULP of x."""
    # 1 + x is halved, when large, before anything is rounded: f is exact.
    cdef real far = <real>1 if x > <real>0.41421356 else <real>0
    cdef real f = (x - <real>1) * <real>0.5 if far > 0 else x
    cdef real carry
    if real is float:
        return far * <real>0.693359375 + (f + (log_ratio(f) + far * <real>-2.12194440e-4))
    else:
        carry = low * (0.9411764705882353 - 0.47058823529411764 * x)  # low / (1 + x)
        return (far * 6.93147180369123816490e-01
                + (f + (log_ratio(f) + (far * 1.90821492927058770002e-10 + carry))))


cdef inline real v_softplus(real x) noexcept nogil:
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)."""
    cdef real low = 0, e = exp_pair(-v_abs(x), &low)
    return (<real>0 if x < 0 else x) + v_log1p(e, low)


cdef inline real tail_divisor(real a, real* low) noexcept nogil:
    """D(a) = exp(-a^2/2) / Phi(-a) for a >= 0 as a sum of two parts: 2 + sqrt(2 pi) a less what is never a fifth of it.

    The rounding of p / q so counts for little, and all coefficients are positive.
    """
    cdef real p, q, product, product_low = 0, s, s_low = 0, t
    if real is float:
        p = <real>0.0195220318
        p = p * a + <real>0.158439666
        p = p * a + <real>0.561276913
        p = p * a + <real>0.910857737
        q = <real>0.00976212602
        q = q * a + <real>0.0914030299
        q = q * a + <real>0.396215379
        q = q * a + <real>0.916166365
        q = q * a + <real>1
        return add_pair(<real>2.50662827 * a, <real>2 - a * p / q, low)
    else:
        p = 1.0232628786304939e-06
        p = p * a + 2.9949227178601713e-05
        p = p * a + 0.00043021100991521736
        p = p * a + 0.003927148696766379
        p = p * a + 0.0249332474174084
        p = p * a + 0.11385491899965132
        p = p * a + 0.3741543909833298
        p = p * a + 0.856984550655504
        p = p * a + 1.2535113926149117
        p = p * a + 0.9108591530252693
        q = 5.116314393177013e-07
        q = q * a + 1.5615848504767965e-05
        q = q * a + 0.000234677068705729
        q = q * a + 0.0022564159634733127
        q = q * a + 0.01525547872783246
        q = q * a + 0.07546552733121667
        q = q * a + 0.2761990053664453
        q = q * a + 0.7393090047597787
        q = q * a + 1.3910289130297835
        q = q * a + 1.676165774125669
        q = q * a + 1.0
        p = a * p / q
        product = multiply_pair(2.5066282746310007, a, &product_low)
        product_low += a * -1.8328579980459167e-16
        s = add_pair(product, <real>2, &s_low)
        t = s - p
        low[0] = ((s - t) - p) + (s_low + product_low)
        return t
