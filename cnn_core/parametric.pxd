"""Between its input and a function of it, by a share for each unit or channel, on a slab: a = z + w (f(z) - z).

The parametric activation of Holzmüller, Grinsztajn & Steinwart (2024). Kept for the way back: f(z) - z.
"""
from cnn_core.activations cimport activation_backward, activation_forward, activation_keeps_input
from cnn_core.tile cimport row_dots
from cnn_core.types cimport LayerSpec, WorkspaceSpec, channels_of, real
from cnn_core.vecmath cimport loop

cdef enum:
    SLOPES = 256    # of one unit that are computed at a time


cdef inline loop blend(const real* w, const real* z, Py_ssize_t n, Py_ssize_t ld, real* f, real* out) noexcept nogil:
    """f (n, ld) -= z; out = z + w f; out may be f, whose differences are lost then."""
    cdef Py_ssize_t u, k
    cdef real share, d
    for u in range(n):
        share = w[u]
        for k in range(u * ld, (u + 1) * ld):
            d = f[k] - z[k]
            f[k] = d
            out[k] = z[k] + share * d


cdef inline loop blend_slopes(real w, const real* slopes, Py_ssize_t n, real* delta) noexcept nogil:
    """delta *= 1 + w (f' - 1), n elements."""
    cdef Py_ssize_t k
    for k in range(n):
        delta[k] *= <real>1 + w * (slopes[k] - <real>1)


cdef inline void parametric_forward(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* parameters,
                                    const real* a, real* scratch, Py_ssize_t ld) noexcept nogil:
    """output (n_units, ld) = a + w (f(a) - a)."""
    cdef real* output = scratch + layer.output * workspace.capacity
    cdef real* f = output if layer.saved < 0 else scratch + layer.saved * workspace.capacity
    cdef Py_ssize_t n = channels_of(layer), p
    activation_forward(layer.activation, a, f, layer.n_units * ld, <real>layer.alpha)
    for p in range(layer.pixels):
        blend(parameters + layer.weights, a + p * n * ld, n, ld, f + p * n * ld, output + p * n * ld)


cdef inline void parametric_gradient(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* scratch,
                                     const real* delta, Py_ssize_t ld, Py_ssize_t first, Py_ssize_t end,
                                     real* gradient, bint add) noexcept nogil:
    """dw = sums over the rows and pixels of delta (f(a) - a), for channels first .. end - 1."""
    cdef const real* kept = scratch + layer.saved * workspace.capacity
    cdef Py_ssize_t n = channels_of(layer), p
    for p in range(layer.pixels):
        row_dots(end - first, ld, delta + (p * n + first) * ld, kept + (p * n + first) * ld, ld,
                 gradient + layer.weights + first, add or p > 0)


cdef inline void parametric_backward(const LayerSpec* layer, const real* parameters, const real* a, real* delta,
                                     Py_ssize_t ld) noexcept nogil:
    """delta *= 1 + w (f'(a) - 1)."""
    cdef const real* w = parameters + layer.weights
    cdef const real* kept
    cdef real values[SLOPES]
    cdef real slopes[SLOPES]
    cdef Py_ssize_t u, k, n, j
    cdef bint from_input = activation_keeps_input(layer.activation)
    for u in range(layer.n_units):
        k = u * ld
        while k < (u + 1) * ld:
            n = min((u + 1) * ld - k, <Py_ssize_t>SLOPES)
            kept = a + k
            if not from_input:
                activation_forward(layer.activation, kept, values, n, <real>layer.alpha)
                kept = values
            for j in range(n):
                slopes[j] = 1
            activation_backward(layer.activation, kept, slopes, n, <real>layer.alpha)
            blend_slopes(w[u % channels_of(layer)], <const real*>slopes, n, delta + k)
            k += n
