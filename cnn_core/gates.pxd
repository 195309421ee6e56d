"""z times a gate between 0 and 1: the values and derivatives of silu, mish, gelu and its approximation by tanh.

For z < 0 the gate shrinks like an exponential e, carried large, for v_down, until it has met z: see vecmath.pxd.
"""
from cnn_core.types cimport real
from cnn_core.vecmath cimport (add_pair, exp_scaled, exp_series, multiply_pair, quotient_rest, tail_divisor, v_abs,
                               v_down, v_pow2, v_whole)


cdef inline real clamp(real z, real bound) noexcept nogil:
    return bound if z > bound else (-bound if z < -bound else z)


cdef inline real times_sigmoid(real z, real e, real e_low) noexcept nogil:
    """z s for the gate s = 1 / (1 + E) where z >= 0, E / (1 + E) where z < 0, with E = v_down(e + e_low)."""
    cdef real flat = v_down(e), d = <real>1 + flat, d_low = ((<real>1 - d) + flat) + v_down(e_low)
    cdef real n = <real>1 if z >= 0 else e, q
    if real is float:
        return z * n / d * (<real>1 if z >= 0 else v_down(<real>1))
    else:
        q = n / d
        n = quotient_rest(n, <real>0 if z >= 0 else e_low, q, d, d_low)
        q = q + n * (1.411764705882353 - 0.47058823529411764 * d)  # 1 / d for d in [1, 2], as in divide_pair
        return z * q * (<real>1 if z >= 0 else v_down(<real>1))


cdef inline real times_sigmoid_slope(real z, real slope, real e) noexcept nogil:
    """The derivative of z s(u), s (1 + z slope (1 - s)), where slope = du/dz, by e = e^-|u|."""
    cdef real inverse = <real>1 / (<real>1 + e), less = e * inverse
    cdef real gate = inverse if z >= 0 else less, rest = less if z >= 0 else inverse
    return gate * (<real>1 + z * slope * rest)


# z sigmoid(z)

cdef inline real z_silu(real z) noexcept nogil:
    cdef real low = 0, bottom = <real>-120 if real is float else <real>-800
    cdef real e = exp_scaled(-v_abs(z), <real>0, &low)
    return times_sigmoid(bottom if z < bottom else z, e, low)

cdef inline real z_silu_slope(real z) noexcept nogil:
    cdef real low = 0, e = exp_scaled(-v_abs(z), <real>0, &low)
    return times_sigmoid_slope(clamp(z, <real>120 if real is float else <real>800), <real>1, v_down(e))


# z sigmoid(u), u = sqrt(8 / pi) (z + 0.044715 z^3); exp magnifies an error of u

cdef inline real gelu_tanh_exponential(real a, real* low) noexcept nogil:
    """e^-u(a) as a sum of two parts, for v_down, for 0 <= a <= 22 (float: 11)."""
    cdef double u, n, w = a
    cdef real r, square, square_low = 0, t, t_low = 0, v, v_low = 0, product, product_low = 0
    if real is float:  # the argument in float64, the rest in float32
        u = -w * (1.5957691216057308 + 0.07135481627260025 * w * w)
        n = v_whole(u * 1.4426950408889634)
        r = <real>(u - n * 0.6931471805599453)
        low[0] = 0
        return (<real>1 + (r + exp_series(r))) * v_pow2(<real>n + <real>64)
    else:
        square = multiply_pair(a, a, &square_low)
        product = multiply_pair(square, <real>0.044715, &product_low)
        product_low += square_low * 0.044715 + square * 2.1960211427085595e-18
        t = add_pair(product, <real>1, &t_low)
        v = multiply_pair(a, t, &v_low)
        v_low += a * (t_low + product_low)
        product = multiply_pair(v, <real>1.5957691216057308, &product_low)
        product_low += v_low * 1.5957691216057308 + v * -9.96930880911092e-17
        return exp_scaled(-product, -product_low, low)

cdef inline real z_gelu_tanh(real z) noexcept nogil:
    cdef real low = 0, last = <real>11 if real is float else <real>22
    cdef real e = gelu_tanh_exponential(v_abs(clamp(z, last)), &low)
    return times_sigmoid(-last if z < -last else z, e, low)

cdef inline real z_gelu_tanh_slope(real z) noexcept nogil:
    cdef real low = 0, c = clamp(z, <real>11 if real is float else <real>22)
    cdef real e = gelu_tanh_exponential(v_abs(c), &low)
    cdef real slope = <real>1.5957691216057308 + <real>0.21406444881780075 * c * c
    return times_sigmoid_slope(c, slope, v_down(e))


# z tanh(softplus z) = z n / (n + 2), n = e^z (e^z + 2); for z >= 0 both are divided by e^2z, so that nothing overflows

cdef inline real z_mish(real z) noexcept nogil:
    cdef real e_low = 0, square_low = 0, bottom = <real>-120 if real is float else <real>-800
    cdef real c = bottom if z < bottom else z, down = v_down(<real>1), scale = <real>1 if z >= 0 else down
    cdef real scaled = exp_scaled(-v_abs(z), <real>0, &e_low), e = scaled * down, square, n, n_low, d, d_low, add, q, y
    if real is float:
        q = <real>2 + e
        add = scaled * q + (scaled * ((<real>2 - q) + e) + <real>2 * e_low)
        n = <real>1 + <real>2 * e if z >= 0 else add
        d = <real>1 + <real>2 * e + <real>2 * e * e if z >= 0 else <real>2 + q * e
        return c * n / d * scale
    else:  # all sums: the larger term first, and what its rounding loses
        square = multiply_pair(scaled, e, &square_low)
        square_low += <real>2 * e * e_low
        n = <real>1 + <real>2 * e if z >= 0 else <real>2 * scaled + square
        n_low = (((<real>1 - n) + <real>2 * e) + <real>2 * e_low * down if z >= 0
                 else ((<real>2 * scaled - n) + square) + (<real>2 * e_low + square_low))
        q = n if z >= 0 else 2
        add = <real>2 * square * down if z >= 0 else n * down
        d = q + add
        d_low = ((q - d) + add) + (n_low + <real>2 * square_low * down if z >= 0 else n_low * down)
        q = n / d
        # 1 / d for d in [1, 5], to some per cent: the best straight line, and a step of Newton
        y = (<real>3 - <real>0.5 * d) * <real>0.2857142857142857
        y = y * (<real>2 - d * y)
        return c * (q + quotient_rest(n, n_low, q, d, d_low) * y) * scale

# with g the gate: f' = g + z (1 - g) (1 + g) sigmoid(z)
cdef inline real z_mish_slope(real z) noexcept nogil:
    cdef real low = 0, e = v_down(exp_scaled(-v_abs(z), <real>0, &low))
    cdef real c = clamp(z, <real>120 if real is float else <real>800)
    cdef real n = <real>1 + <real>2 * e if z >= 0 else e * (<real>2 + e)
    cdef real rest = <real>2 * e * e if z >= 0 else <real>2
    cdef real d = n + rest, inverse = <real>1 / (d * (<real>1 + e)), over = inverse * (<real>1 + e)
    cdef real s = (<real>1 if z >= 0 else e) * inverse * d
    return n * over + c * s * (rest * over) * ((n + d) * over)


# z Phi(z); Phi(-a) = exp(-a^2 / 2) / D(a)

cdef inline real normal_exponential(real a, real* low) noexcept nogil:
    """exp(-a^2/2) as a sum of two parts, for v_down."""
    cdef real square_low = 0, square = multiply_pair(a, a, &square_low)
    return exp_scaled(<real>-0.5 * square, <real>-0.5 * square_low, low)

cdef inline real z_gelu(real z) noexcept nogil:
    cdef real last = <real>15 if real is float else <real>39
    cdef real a = v_abs(clamp(z, last)), c = -last if z < -last else z, down = v_down(<real>1)
    cdef real e_low = 0, d_low = 0, e = normal_exponential(a, &e_low), d = tail_divisor(a, &d_low), q = e / d, s, low
    if real is float:
        low = (e_low - q * d_low) / d
    else:
        low = quotient_rest(e, e_low, q, d, d_low) / d
    s = <real>1 - q * down
    s = s + (((<real>1 - s) - q * down) - low * down)
    return c * (q + low if z < 0 else s) * (down if z < 0 else <real>1)

cdef inline real z_gelu_slope(real z) noexcept nogil:
    cdef real c = clamp(z, <real>15 if real is float else <real>39), a = v_abs(c)
    cdef real low = 0, e = v_down(normal_exponential(a, &low)), tail = e / tail_divisor(a, &low)
    return (tail if z < 0 else <real>1 - tail) + c * e * <real>0.39894228040143267794
