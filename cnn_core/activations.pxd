"""Activations: value and derivative of each side by side, then the loops that a slab runs.

To add one: its name in `Activation`, its two functions, a line in each of the two loops below (and in
`activation_keeps_input` when its derivative needs z), and the same in tests/reference.py.
"""
from cnn_core.types cimport real
from cnn_core.vecmath cimport (v_abs, v_copysign, v_exp, v_expm1, v_normal_tail, v_sigmoid, v_softplus, v_tanh,
                               exp_pair, divide_pair)


cpdef enum Activation:
    IDENTITY
    SIGMOID
    TANH
    RELU
    LEAKY_RELU
    RELU6
    ELU
    SELU
    CELU
    GELU
    GELU_TANH
    SILU
    MISH
    SOFTPLUS
    SOFTSIGN
    HARD_SIGMOID
    HARD_SWISH
    HARD_TANH


cdef inline bint activation_keeps_input(int kind) noexcept nogil:
    """Whether the derivative is taken from z; the others take it from a = f(z), and z need not be kept."""
    return kind in (GELU, GELU_TANH, SILU, MISH, SOFTPLUS, SOFTSIGN, HARD_SWISH)


cdef inline double activation_default_alpha(int kind) noexcept nogil:
    if kind == LEAKY_RELU:
        return 0.01
    return 1.0 if kind == ELU or kind == CELU else 0.0


# f(z) and f'. `alpha` is the activation's parameter. Derivatives take s: a = f(z), or z where z is kept. ------------

# a = 1 / (1 + e^-z), f' = a (1 - a)
cdef inline real sigmoid(real z, real alpha) noexcept nogil:
    return v_sigmoid(z)

cdef inline real sigmoid_slope(real a, real alpha) noexcept nogil:
    return a * (1 - a)


# a = tanh z, f' = 1 - a^2
cdef inline real tanh(real z, real alpha) noexcept nogil:
    return v_tanh(z)

cdef inline real tanh_slope(real a, real alpha) noexcept nogil:
    return (1 - a) * (1 + a)


# a = max(z, 0); f'(0) = 0 as PyTorch has it. Written so that NaN stays NaN.
cdef inline real relu(real z, real alpha) noexcept nogil:
    return <real>0 if z < 0 else z

cdef inline real relu_slope(real a, real alpha) noexcept nogil:
    return <real>0 if a <= 0 else <real>1


# a = z for z > 0, else alpha z (alpha >= 0)
cdef inline real leaky_relu(real z, real alpha) noexcept nogil:
    return z if z > 0 else alpha * z

cdef inline real leaky_relu_slope(real a, real alpha) noexcept nogil:
    return <real>1 if a > 0 else alpha


# a = min(max(z, 0), 6)
cdef inline real relu6(real z, real alpha) noexcept nogil:
    return <real>0 if z < 0 else (<real>6 if z > 6 else z)

cdef inline real relu6_slope(real a, real alpha) noexcept nogil:
    return <real>0 if a <= 0 or a >= 6 else <real>1


# a = z for z > 0, else alpha (e^z - 1)
cdef inline real elu(real z, real alpha) noexcept nogil:
    return z if z > 0 else alpha * v_expm1(<real>0 if z > 0 else z)

cdef inline real elu_slope(real a, real alpha) noexcept nogil:
    return <real>1 if a > 0 else a + alpha


# a = scale (z for z > 0, else alpha (e^z - 1)), Klambauer et al. 2017
cdef inline real selu(real z, real alpha) noexcept nogil:
    return (<real>1.0507009873554804934193349852946 * z if z > 0
            else <real>1.7580993408473768599402175208123 * v_expm1(<real>0 if z > 0 else z))

cdef inline real selu_slope(real a, real alpha) noexcept nogil:
    return <real>1.0507009873554804934193349852946 if a > 0 else a + <real>1.7580993408473768599402175208123


# a = z for z > 0, else alpha (e^(z / alpha) - 1), Barron 2017
cdef inline real celu(real z, real alpha) noexcept nogil:
    return z if z > 0 else alpha * v_expm1((<real>0 if z > 0 else z) / alpha)

cdef inline real celu_slope(real a, real alpha) noexcept nogil:
    return <real>1 if a > 0 else a / alpha + 1


# a = z Phi(z), f' = Phi(z) + z phi(z), Hendrycks & Gimpel 2016
cdef inline real gelu(real z, real alpha) noexcept nogil:
    cdef real tail = v_normal_tail(v_abs(z))
    cdef real last = <real>-15 if real is float else <real>-39
    return (last if z < last else z) * (tail if z < 0 else 1 - tail)

cdef inline real gelu_slope(real z, real alpha) noexcept nogil:
    cdef real tail = v_normal_tail(v_abs(z))
    cdef real bound = <real>1e9
    cdef real c = bound if z > bound else (-bound if z < -bound else z)
    return (tail if z < 0 else 1 - tail) + c * v_exp(c * c * <real>-0.5) * <real>0.39894228040143267794


# a = z sigmoid(2u), u = sqrt(2 / pi) (z + 0.044715 z^3); 2u is carried as a sum, for exp magnifies its error
cdef inline real gelu_tanh_gate(real z, real* flat) noexcept nogil:
    cdef double w = -14 if z < -14 else (14 if z > 14 else z)
    cdef double low = 0, e, d, y
    cdef double u = 1.5957691216057307117597842397375 * w * (1 + 0.044715 * w * w)
    e = exp_pair(-v_abs(u), &low)
    d = 1 + e
    y = divide_pair(<double>1 if u >= 0 else e, <double>0 if u >= 0 else low, d, ((1 - d) + e) + low)
    flat[0] = <real>(e / d / d * 1.5957691216057307117597842397375 * (1 + 3 * 0.044715 * w * w))
    return <real>y

cdef inline real gelu_tanh(real z, real alpha) noexcept nogil:
    cdef real flat = 0, gate = gelu_tanh_gate(z, &flat)
    return (<real>-14 if z < -14 else z) * gate

cdef inline real gelu_tanh_slope(real z, real alpha) noexcept nogil:
    cdef real flat = 0, gate = gelu_tanh_gate(z, &flat)
    cdef real c = <real>14 if z > 14 else (<real>-14 if z < -14 else z)
    return gate + c * flat


# a = z sigmoid(z), f' = s + z s (1 - s), Ramachandran et al. 2017
cdef inline real silu(real z, real alpha) noexcept nogil:
    cdef real bottom = <real>-800
    return (bottom if z < bottom else z) * v_sigmoid(z)

cdef inline real silu_slope(real z, real alpha) noexcept nogil:
    cdef real bound = <real>800, s = v_sigmoid(z)
    cdef real c = bound if z > bound else (-bound if z < -bound else z)
    return s * (1 + c * v_sigmoid(-c))


# a = z tanh(softplus z) = z (n / (n + 2)), n = e^z (e^z + 2), Misra 2019; with e^-|z| so that nothing overflows
cdef inline real mish_gate(real z, real e) noexcept nogil:
    cdef real n = 1 + 2 * e if z >= 0 else e * (e + 2)
    return n / (n + 2 * e * e if z >= 0 else n + 2)

cdef inline real mish(real z, real alpha) noexcept nogil:
    cdef real bottom = <real>-800
    return (bottom if z < bottom else z) * mish_gate(z, v_exp(-v_abs(z)))

cdef inline real mish_slope(real z, real alpha) noexcept nogil:
    cdef real bound = <real>800, e = v_exp(-v_abs(z)), gate = mish_gate(z, e)
    cdef real c = bound if z > bound else (-bound if z < -bound else z)
    return gate + c * v_sigmoid(z) * (1 - gate) * (1 + gate)


# a = log(1 + e^z), f' = sigmoid(z)
cdef inline real softplus(real z, real alpha) noexcept nogil:
    return v_softplus(z)

cdef inline real softplus_slope(real z, real alpha) noexcept nogil:
    return v_sigmoid(z)


# a = z / (1 + |z|), f' = 1 / (1 + |z|)^2
cdef inline real softsign(real z, real alpha) noexcept nogil:
    cdef real m = v_abs(z)
    m = <real>1e30 if m > <real>1e30 else m
    return v_copysign(m / (1 + m), z)

cdef inline real softsign_slope(real z, real alpha) noexcept nogil:
    cdef real d = 1 / (1 + v_abs(z))
    return d * d


# a = min(max(z + 3, 0), 6) / 6
cdef inline real hard_sigmoid(real z, real alpha) noexcept nogil:
    return relu6(z + 3, alpha) / 6

cdef inline real hard_sigmoid_slope(real a, real alpha) noexcept nogil:
    return <real>0 if a <= 0 or a >= 1 else <real>(1.0 / 6.0)


# a = z min(max(z + 3, 0), 6) / 6, Howard et al. 2019
cdef inline real hard_swish(real z, real alpha) noexcept nogil:
    return (<real>-3 if z < -3 else z) * (relu6(z + 3, alpha) / 6)

cdef inline real hard_swish_slope(real z, real alpha) noexcept nogil:
    return <real>0 if z <= -3 else (<real>1 if z >= 3 else z / 3 + <real>0.5)


# a = min(max(z, -1), 1)
cdef inline real hard_tanh(real z, real alpha) noexcept nogil:
    return <real>-1 if z < -1 else (<real>1 if z > 1 else z)

cdef inline real hard_tanh_slope(real a, real alpha) noexcept nogil:
    return <real>0 if a <= -1 or a >= 1 else <real>1


# The loops ----------------------------------------------------------------------------------------------------------

cdef inline void activation_forward(int kind, const real* z, real* a, Py_ssize_t n, real alpha) noexcept nogil:
    """a = f(z), (n,) each; a may be z."""
    cdef Py_ssize_t i
    if kind == IDENTITY:
        if a != z:
            for i in range(n):
                a[i] = z[i]
    elif kind == SIGMOID:
        for i in range(n):
            a[i] = sigmoid(z[i], alpha)
    elif kind == TANH:
        for i in range(n):
            a[i] = tanh(z[i], alpha)
    elif kind == RELU:
        for i in range(n):
            a[i] = relu(z[i], alpha)
    elif kind == LEAKY_RELU:
        for i in range(n):
            a[i] = leaky_relu(z[i], alpha)
    elif kind == RELU6:
        for i in range(n):
            a[i] = relu6(z[i], alpha)
    elif kind == ELU:
        for i in range(n):
            a[i] = elu(z[i], alpha)
    elif kind == SELU:
        for i in range(n):
            a[i] = selu(z[i], alpha)
    elif kind == CELU:
        for i in range(n):
            a[i] = celu(z[i], alpha)
    elif kind == GELU:
        for i in range(n):
            a[i] = gelu(z[i], alpha)
    elif kind == GELU_TANH:
        for i in range(n):
            a[i] = gelu_tanh(z[i], alpha)
    elif kind == SILU:
        for i in range(n):
            a[i] = silu(z[i], alpha)
    elif kind == MISH:
        for i in range(n):
            a[i] = mish(z[i], alpha)
    elif kind == SOFTPLUS:
        for i in range(n):
            a[i] = softplus(z[i], alpha)
    elif kind == SOFTSIGN:
        for i in range(n):
            a[i] = softsign(z[i], alpha)
    elif kind == HARD_SIGMOID:
        for i in range(n):
            a[i] = hard_sigmoid(z[i], alpha)
    elif kind == HARD_SWISH:
        for i in range(n):
            a[i] = hard_swish(z[i], alpha)
    elif kind == HARD_TANH:
        for i in range(n):
            a[i] = hard_tanh(z[i], alpha)


cdef inline void activation_backward(int kind, const real* s, real* delta, Py_ssize_t n, real alpha) noexcept nogil:
    """delta *= f'(z), (n,) each; s is z where `activation_keeps_input(kind)`, else a."""
    cdef Py_ssize_t i
    if kind == SIGMOID:
        for i in range(n):
            delta[i] *= sigmoid_slope(s[i], alpha)
    elif kind == TANH:
        for i in range(n):
            delta[i] *= tanh_slope(s[i], alpha)
    elif kind == RELU:
        for i in range(n):
            delta[i] *= relu_slope(s[i], alpha)
    elif kind == LEAKY_RELU:
        for i in range(n):
            delta[i] *= leaky_relu_slope(s[i], alpha)
    elif kind == RELU6:
        for i in range(n):
            delta[i] *= relu6_slope(s[i], alpha)
    elif kind == ELU:
        for i in range(n):
            delta[i] *= elu_slope(s[i], alpha)
    elif kind == SELU:
        for i in range(n):
            delta[i] *= selu_slope(s[i], alpha)
    elif kind == CELU:
        for i in range(n):
            delta[i] *= celu_slope(s[i], alpha)
    elif kind == GELU:
        for i in range(n):
            delta[i] *= gelu_slope(s[i], alpha)
    elif kind == GELU_TANH:
        for i in range(n):
            delta[i] *= gelu_tanh_slope(s[i], alpha)
    elif kind == SILU:
        for i in range(n):
            delta[i] *= silu_slope(s[i], alpha)
    elif kind == MISH:
        for i in range(n):
            delta[i] *= mish_slope(s[i], alpha)
    elif kind == SOFTPLUS:
        for i in range(n):
            delta[i] *= softplus_slope(s[i], alpha)
    elif kind == SOFTSIGN:
        for i in range(n):
            delta[i] *= softsign_slope(s[i], alpha)
    elif kind == HARD_SIGMOID:
        for i in range(n):
            delta[i] *= hard_sigmoid_slope(s[i], alpha)
    elif kind == HARD_SWISH:
        for i in range(n):
            delta[i] *= hard_swish_slope(s[i], alpha)
    elif kind == HARD_TANH:
        for i in range(n):
            delta[i] *= hard_tanh_slope(s[i], alpha)
