"""Activations: the two loops of each, value and derivative, side by side, then what picks the loop.

To add one: its name in `Activation`, its two loops, a line in each of the two functions at the end (and in
`activation_keeps_input` when its derivative needs z), and its formula in tests/reference.py and test_activations.py.
"""
from libc.math cimport sqrt, sqrtf

from cnn_core.gates cimport (z_gelu, z_gelu_slope, z_gelu_tanh, z_gelu_tanh_slope, z_mish, z_mish_slope, z_silu,
                             z_silu_slope)
from cnn_core.types cimport real
from cnn_core.vecmath cimport loop, v_abs, v_copysign, v_expm1, v_sigmoid, v_softplus, v_tanh


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
    SQUAREPLUS


cdef inline bint activation_keeps_input(int kind) noexcept nogil:
    """Whether the derivative is taken from z; the others take it from a = f(z), and z need not be kept."""
    return kind in (GELU, GELU_TANH, SILU, MISH, SOFTPLUS, SOFTSIGN, HARD_SWISH)


cdef inline double activation_default_alpha(int kind) noexcept nogil:
    if kind == LEAKY_RELU:
        return 0.01
    if kind == SQUAREPLUS:
        return 4.0
    return 1.0 if kind == ELU or kind == CELU else 0.0


# Forward: a = f(z), (n,) each; a may be z. Backward: delta *= f', (n,) each, from a = f(z), or from z where it is kept.
# `alpha` is the activation's parameter. Conditions are written so that NaN stays NaN. -------------------------------

cdef inline loop identity_forward(const real* z, real* a, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        a[i] = z[i]


# a = 1 / (1 + e^-z), f' = a (1 - a)
cdef inline loop sigmoid_forward(const real* z, real* a, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        a[i] = v_sigmoid(z[i])

cdef inline loop sigmoid_backward(const real* a, real* delta, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        delta[i] *= a[i] * (<real>1 - a[i])


# a = tanh z, f' = 1 - a^2
cdef inline loop tanh_forward(const real* z, real* a, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        a[i] = v_tanh(z[i])

cdef inline loop tanh_backward(const real* a, real* delta, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        delta[i] *= (<real>1 - a[i]) * (<real>1 + a[i])


# a = max(z, 0); f'(0) = 0 as PyTorch has it
cdef inline loop relu_forward(const real* z, real* a, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        a[i] = <real>0 if z[i] < 0 else z[i]

cdef inline loop relu_backward(const real* a, real* delta, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        delta[i] *= <real>0 if a[i] <= 0 else <real>1


# a = z for z > 0, else alpha z (alpha >= 0)
cdef inline loop leaky_relu_forward(const real* z, real* a, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        a[i] = z[i] * (<real>1 if z[i] > 0 else alpha)

cdef inline loop leaky_relu_backward(const real* a, real* delta, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        delta[i] *= <real>1 if a[i] > 0 else alpha


cdef inline real clip(real z, real low, real high) noexcept nogil:
    return low if z < low else (high if z > high else z)

cdef inline real inside(real a, real low, real high) noexcept nogil:
    """1 for low < a < high, else 0."""
    return (<real>0 if a <= low else <real>1) * (<real>0 if a >= high else <real>1)


# a = min(max(z, 0), 6)
cdef inline loop relu6_forward(const real* z, real* a, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        a[i] = clip(z[i], <real>0, <real>6)

cdef inline loop relu6_backward(const real* a, real* delta, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        delta[i] *= inside(a[i], <real>0, <real>6)


cdef inline real negative(real z) noexcept nogil:
    """min(z, 0): what is not used must not overflow."""
    return <real>0 if z > 0 else z


# a = z for z > 0, else alpha (e^z - 1)
cdef inline loop elu_forward(const real* z, real* a, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        a[i] = z[i] if z[i] > 0 else alpha * v_expm1(negative(z[i]))

cdef inline loop elu_backward(const real* a, real* delta, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        delta[i] *= <real>1 if a[i] > 0 else a[i] + alpha


# a = scale (z for z > 0, else alpha (e^z - 1)), Klambauer et al. 2017
cdef inline loop selu_forward(const real* z, real* a, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        a[i] = (<real>1.0507009873554804934193349852946 * z[i] if z[i] > 0
                else <real>1.7580993408473768599402175208123 * v_expm1(negative(z[i])))

cdef inline loop selu_backward(const real* a, real* delta, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        delta[i] *= (<real>1.0507009873554804934193349852946 if a[i] > 0
                     else a[i] + <real>1.7580993408473768599402175208123)


# a = z for z > 0, else alpha (e^(z / alpha) - 1), Barron 2017
cdef inline loop celu_forward(const real* z, real* a, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        a[i] = z[i] if z[i] > 0 else alpha * v_expm1(negative(z[i]) / alpha)

cdef inline loop celu_backward(const real* a, real* delta, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        delta[i] *= <real>1 if a[i] > 0 else a[i] / alpha + <real>1


# a = z Phi(z), f' = Phi(z) + z phi(z), Hendrycks & Gimpel 2016
cdef inline loop gelu_forward(const real* z, real* a, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        a[i] = z_gelu(z[i])

cdef inline loop gelu_backward(const real* z, real* delta, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        delta[i] *= z_gelu_slope(z[i])


# a = z sigmoid(u), u = sqrt(8 / pi) (z + 0.044715 z^3): gelu with tanh for erf
cdef inline loop gelu_tanh_forward(const real* z, real* a, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        a[i] = z_gelu_tanh(z[i])

cdef inline loop gelu_tanh_backward(const real* z, real* delta, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        delta[i] *= z_gelu_tanh_slope(z[i])


# a = z sigmoid(z), f' = s + z s (1 - s), Ramachandran et al. 2017
cdef inline loop silu_forward(const real* z, real* a, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        a[i] = z_silu(z[i])

cdef inline loop silu_backward(const real* z, real* delta, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        delta[i] *= z_silu_slope(z[i])


# a = z tanh(softplus z), Misra 2019
cdef inline loop mish_forward(const real* z, real* a, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        a[i] = z_mish(z[i])

cdef inline loop mish_backward(const real* z, real* delta, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        delta[i] *= z_mish_slope(z[i])


# a = log(1 + e^z), f' = sigmoid(z)
cdef inline loop softplus_forward(const real* z, real* a, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        a[i] = v_softplus(z[i])

cdef inline loop softplus_backward(const real* z, real* delta, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        delta[i] *= v_sigmoid(z[i])


cdef inline real softsign(real z) noexcept nogil:
    cdef real m = v_abs(z)
    m = <real>1e30 if m > <real>1e30 else m
    return v_copysign(m / (<real>1 + m), z)


# a = z / (1 + |z|), f' = 1 / (1 + |z|)^2
cdef inline loop softsign_forward(const real* z, real* a, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        a[i] = softsign(z[i])

cdef inline loop softsign_backward(const real* z, real* delta, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        delta[i] *= <real>1 / (<real>1 + v_abs(z[i])) / (<real>1 + v_abs(z[i]))


# a = min(max(z + 3, 0), 6) / 6
cdef inline loop hard_sigmoid_forward(const real* z, real* a, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        a[i] = clip(z[i] + <real>3, <real>0, <real>6) / <real>6

cdef inline loop hard_sigmoid_backward(const real* a, real* delta, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        delta[i] *= inside(a[i], <real>0, <real>1) * <real>(1.0 / 6.0)


# a = z min(max(z + 3, 0), 6) / 6, Howard et al. 2019
cdef inline loop hard_swish_forward(const real* z, real* a, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        a[i] = (<real>-3 if z[i] < -3 else z[i]) * (clip(z[i] + <real>3, <real>0, <real>6) / <real>6)

cdef inline loop hard_swish_backward(const real* z, real* delta, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        delta[i] *= <real>0 if z[i] <= -3 else (<real>1 if z[i] >= 3 else z[i] / <real>3 + <real>0.5)


# a = min(max(z, -1), 1)
cdef inline loop hard_tanh_forward(const real* z, real* a, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        a[i] = clip(z[i], <real>-1, <real>1)

cdef inline loop hard_tanh_backward(const real* a, real* delta, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        delta[i] *= inside(a[i], <real>-1, <real>1)


cdef inline real half_sum(real z, real alpha) noexcept nogil:
    """(|z| + sqrt(z^2 + alpha)) / 2; where z^2 might overflow, alpha adds nothing."""
    cdef real m = v_abs(z), most = <real>1e18 if real is float else <real>1e150
    cdef real c = m if m < most else most
    cdef real s = c * c + alpha
    s = sqrtf(s) if real is float else sqrt(s)
    return <real>0.5 * m + <real>0.5 * (m if m > most else s)


# a = (z + sqrt(z^2 + alpha)) / 2, for z <= 0 as alpha / 4 divided by (|z| + sqrt(...)) / 2; Barron 2021.
# f' = 1 / (1 + alpha / (4 a^2))
cdef inline loop squareplus_forward(const real* z, real* a, Py_ssize_t n, real alpha) noexcept nogil:
    cdef real q
    for i in range(n):
        q = half_sum(z[i], alpha)
        a[i] = q if z[i] > 0 else <real>0.25 * alpha / q

cdef inline loop squareplus_backward(const real* a, real* delta, Py_ssize_t n, real alpha) noexcept nogil:
    for i in range(n):
        delta[i] *= <real>1 / (<real>1 + <real>0.25 * alpha / (a[i] * a[i]))


# Which loop ---------------------------------------------------------------------------------------------------------

cdef inline void activation_forward(int kind, const real* z, real* a, Py_ssize_t n, real alpha) noexcept nogil:
    """a = f(z), (n,) each; a may be z."""
    if kind == IDENTITY:
        if a != z:
            identity_forward(z, a, n, alpha)
    elif kind == SIGMOID:
        sigmoid_forward(z, a, n, alpha)
    elif kind == TANH:
        tanh_forward(z, a, n, alpha)
    elif kind == RELU:
        relu_forward(z, a, n, alpha)
    elif kind == LEAKY_RELU:
        leaky_relu_forward(z, a, n, alpha)
    elif kind == RELU6:
        relu6_forward(z, a, n, alpha)
    elif kind == ELU:
        elu_forward(z, a, n, alpha)
    elif kind == SELU:
        selu_forward(z, a, n, alpha)
    elif kind == CELU:
        celu_forward(z, a, n, alpha)
    elif kind == GELU:
        gelu_forward(z, a, n, alpha)
    elif kind == GELU_TANH:
        gelu_tanh_forward(z, a, n, alpha)
    elif kind == SILU:
        silu_forward(z, a, n, alpha)
    elif kind == MISH:
        mish_forward(z, a, n, alpha)
    elif kind == SOFTPLUS:
        softplus_forward(z, a, n, alpha)
    elif kind == SOFTSIGN:
        softsign_forward(z, a, n, alpha)
    elif kind == HARD_SIGMOID:
        hard_sigmoid_forward(z, a, n, alpha)
    elif kind == HARD_SWISH:
        hard_swish_forward(z, a, n, alpha)
    elif kind == HARD_TANH:
        hard_tanh_forward(z, a, n, alpha)
    elif kind == SQUAREPLUS:
        squareplus_forward(z, a, n, alpha)


cdef inline void activation_backward(int kind, const real* s, real* delta, Py_ssize_t n, real alpha) noexcept nogil:
    """delta *= f'(z), (n,) each; s is z where `activation_keeps_input(kind)`, else a."""
    if kind == SIGMOID:
        sigmoid_backward(s, delta, n, alpha)
    elif kind == TANH:
        tanh_backward(s, delta, n, alpha)
    elif kind == RELU:
        relu_backward(s, delta, n, alpha)
    elif kind == LEAKY_RELU:
        leaky_relu_backward(s, delta, n, alpha)
    elif kind == RELU6:
        relu6_backward(s, delta, n, alpha)
    elif kind == ELU:
        elu_backward(s, delta, n, alpha)
    elif kind == SELU:
        selu_backward(s, delta, n, alpha)
    elif kind == CELU:
        celu_backward(s, delta, n, alpha)
    elif kind == GELU:
        gelu_backward(s, delta, n, alpha)
    elif kind == GELU_TANH:
        gelu_tanh_backward(s, delta, n, alpha)
    elif kind == SILU:
        silu_backward(s, delta, n, alpha)
    elif kind == MISH:
        mish_backward(s, delta, n, alpha)
    elif kind == SOFTPLUS:
        softplus_backward(s, delta, n, alpha)
    elif kind == SOFTSIGN:
        softsign_backward(s, delta, n, alpha)
    elif kind == HARD_SIGMOID:
        hard_sigmoid_backward(s, delta, n, alpha)
    elif kind == HARD_SWISH:
        hard_swish_backward(s, delta, n, alpha)
    elif kind == HARD_TANH:
        hard_tanh_backward(s, delta, n, alpha)
    elif kind == SQUAREPLUS:
        squareplus_backward(s, delta, n, alpha)
