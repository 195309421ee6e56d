"""exp, log and their kin without branches or calls, so that a loop over them becomes vector code.

Where the float64 bound (2 ULP) would be lost to an intermediate rounding, numbers are carried as unevaluated sums of a
high and a low part. Nothing here relies on fused multiply-add, and nothing breaks when the compiler uses it.
Methods: Cody & Waite's argument reduction; Taylor's series of exp; log as in FreeBSD's msun (e_log.c);
the normal tail's coefficients come from tools/fit_polynomials.py.
"""
from libc.math cimport copysign, copysignf, fabs, fabsf

from cnn_core.types cimport real

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
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
    static inline float cnn_topf(float x) { uint32_t u; memcpy(&u, &x, 4); u &= 0xFFFFF000u; memcpy(&x, &u, 4); return x; }
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


cdef inline real v_infinity(real sign) noexcept nogil:
    cdef real big = <real>3e38 if real is float else <real>1e308
    return big * big * sign


# e^x = 2^n (1 + r + tail), n whole, |r| <= 0.35. For |x| up to a little over the logarithm of the largest number.
cdef inline real exp_parts(real x, real* r_out, real* tail_out) noexcept nogil:
    cdef real n, r, high, low, q
    if real is float:
        n = (x * <real>1.44269504 + <real>12582912.0) - <real>12582912.0
        high = x - n * <real>0.693359375
        r = high - n * <real>-2.12194440e-4
        low = (high - r) - n * <real>-2.12194440e-4
        q = <real>(1.0 / 5040.0)
        q = q * r + <real>(1.0 / 720.0)
        q = q * r + <real>(1.0 / 120.0)
        q = q * r + <real>(1.0 / 24.0)
        q = q * r + <real>(1.0 / 6.0)
        q = q * r + <real>0.5
    else:
        n = (x * 1.4426950408889634 + 6755399441055744.0) - 6755399441055744.0
        high = x - n * 6.93147180369123816490e-01
        r = high - n * 1.90821492927058770002e-10
        low = (high - r) - n * 1.90821492927058770002e-10
        q = 1.0 / 6227020800.0
        q = q * r + 1.0 / 479001600.0
        q = q * r + 1.0 / 39916800.0
        q = q * r + 1.0 / 3628800.0
        q = q * r + 1.0 / 362880.0
        q = q * r + 1.0 / 40320.0
        q = q * r + 1.0 / 5040.0
        q = q * r + 1.0 / 720.0
        q = q * r + 1.0 / 120.0
        q = q * r + 1.0 / 24
        q = q * r + 1.0 / 6
        q = q * r + 0.5
    r_out[0] = r
    tail_out[0] = low + r * r * q
    return n


cdef inline real v_exp(real x) noexcept nogil:
    """e^x, below 1 ULP."""
    cdef real n, half, r = 0, tail = 0
    cdef real top = <real>89 if real is float else <real>710, bottom = <real>-105 if real is float else <real>-746
    x = top if x > top else (bottom if x < bottom else x)
    n = exp_parts(x, &r, &tail)
    half = v_floor_half(n)
    return (1 + (r + tail)) * v_pow2(half) * v_pow2(n - half)  # in two steps: the result may be subnormal


cdef inline real v_floor_half(real n) noexcept nogil:
    """A whole number near n / 2."""
    cdef real magic = <real>12582912.0 if real is float else <real>6755399441055744.0
    return (n * <real>0.5 + magic) - magic


cdef inline real exp_pair(real x, real* low) noexcept nogil:
    """e^x for x <= 0 as a sum of two parts."""
    cdef real n, half, r = 0, tail = 0, sum1, sum2
    cdef real bottom = <real>-105 if real is float else <real>-746
    x = bottom if x < bottom else x
    n = exp_parts(x, &r, &tail)
    sum1 = r + tail
    tail = (r - sum1) + tail
    sum2 = 1 + sum1
    tail = ((1 - sum2) + sum1) + tail
    half = v_floor_half(n)
    low[0] = tail * v_pow2(half) * v_pow2(n - half)
    return sum2 * v_pow2(half) * v_pow2(n - half)


cdef inline real expm1_pair(real x, real* low) noexcept nogil:
    """e^x - 1 as a sum of two parts, for x from -inf to about the logarithm of the square root of the largest."""
    cdef real n, r = 0, tail = 0, scale, a, b, s, t
    x = <real>-50 if x < -50 else x
    n = exp_parts(x, &r, &tail)
    scale = v_pow2(n)
    a = scale - 1
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
    """(a + a_low) / (b + b_low), about 1 ULP in float64; float32 can afford the plain quotient of the rounded sums."""
    cdef real q
    if real is float:
        return (a + a_low) / (b + b_low)
    else:
        q = a / b
        return q + (a_low - q * b_low) / b


cdef inline real v_tanh(real x) noexcept nogil:
    """tanh x = E / (E + 2), E = e^(2|x|) - 1: no loss near 0."""
    cdef real a = v_abs(x), low = 0, high, d, t
    a = <real>20 if a > 20 else a
    high = expm1_pair(a + a, &low)
    d = high + 2
    t = d - high
    return v_copysign(divide_pair(high, low, d, ((high - (d - t)) + (2 - t)) + low), x)


cdef inline real v_sigmoid(real x) noexcept nogil:
    """1 / (1 + e^-x), relatively exact in both tails."""
    cdef real low = 0, e = exp_pair(-v_abs(x), &low), d = 1 + e, d_low = ((1 - d) + e) + low
    return divide_pair(<real>1 if x >= 0 else e, <real>0 if x >= 0 else low, d, d_low)


cdef inline real log_ratio(real f) noexcept nogil:
    """log(1 + f) - f for f in [sqrt(1/2) - 1, sqrt(2) - 1]."""
    cdef real s = f / (2 + f), z = s * s, half = <real>0.5 * f * f, q
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
    cdef real f = (cnn_significandf(x) if real is float else cnn_significand(x)) - 1
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
    cdef real f = (x - 1) * <real>0.5 if far > 0 else x
    cdef real carry = low / (1 + x)
    if real is float:
        return far * <real>0.693359375 + (f + (log_ratio(f) + (far * <real>-2.12194440e-4 + carry)))
    else:
        return (far * 6.93147180369123816490e-01
                + (f + (log_ratio(f) + (far * 1.90821492927058770002e-10 + carry))))


cdef inline real v_softplus(real x) noexcept nogil:
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)."""
    cdef real low = 0, e = exp_pair(-v_abs(x), &low)
    return (<real>0 if x < 0 else x) + v_log1p(e, low)


cdef inline real v_mills(real a) noexcept nogil:
    """G(a) = Phi(-a) exp(a^2/2) for a >= 0: the normal tail without its exponential."""
    cdef real t, g
    if real is float:
        t = (a - 4) / (a + 4)
        g = 8.522479287e-6
        g = g * t + 2.724708619e-5
        g = g * t - 4.908171916e-5
        g = g * t - 0.0001879151868
        g = g * t + 0.0006398387407
        g = g * t + 0.000507971212
        g = g * t - 0.008492210331
        g = g * t + 0.03086474133
        g = g * t - 0.07170740344
        g = g * t + 0.1243792585
        g = g * t - 0.1703977215
        g = g * t + 0.09441064128
    else:
        t = (a - 4) / (a + 4)
        g = -1.173199570924688731e-11
        g = g * t - 9.107281901584419914e-12
        g = g * t + 1.570528473980615839e-10
        g = g * t + 2.764512601780242744e-10
        g = g * t - 7.138862247331259359e-10
        g = g * t - 2.335111277463617915e-9
        g = g * t + 1.008745629345562911e-9
        g = g * t + 1.249590390767100114e-8
        g = g * t + 8.506893676273152783e-9
        g = g * t - 5.347495288824453935e-8
        g = g * t - 9.360946008329351781e-8
        g = g * t + 2.064734587690453887e-7
        g = g * t + 6.612660061783090056e-7
        g = g * t - 8.296278422228156482e-7
        g = g * t - 4.303490553107517754e-6
        g = g * t + 4.631623083701820126e-6
        g = g * t + 0.0000286483324070023827
        g = g * t - 0.00004555490662082237442
        g = g * t - 0.0001871842678935400197
        g = g * t + 0.0006388138531726787695
        g = g * t + 0.0005075620748994558881
        g = g * t - 0.008492095482209506517
        g = g * t + 0.03086480410632479857
        g = g * t - 0.0717074073377339703
        g = g * t + 0.1243792553392633245
        g = g * t - 0.1703977215484554498
        g = g * t + 0.09441064130196893667
    return g


cdef inline real v_normal_tail(real a) noexcept nogil:
    """Phi(-a) for a >= 0."""
    cdef real last = <real>15 if real is float else <real>39
    cdef real top
    a = last if a > last else a
    top = v_top(a)  # a^2 = top^2 + (a - top)(a + top), the first term exact
    return v_exp(top * top * <real>-0.5) * v_exp((a - top) * (a + top) * <real>-0.5) * v_mills(a)
