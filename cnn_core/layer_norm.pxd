"""Layer normalisation on a slab (Ba, Kiros & Hinton 2016): a = g (x - mean) / sqrt(variance + epsilon) + b.

Mean and variance are those of a row's units, or of a pixel's channels, the variance with the divisor n. Kept for the
way back: the normalised units and, behind them, 1 / sqrt(variance + epsilon) of each pixel.
"""
from libc.math cimport sqrt, sqrtf
from libc.string cimport memcpy

from cnn_core.tile cimport row_dots, row_sums
from cnn_core.types cimport LayerSpec, WorkspaceSpec, channels_of, real
from cnn_core.vecmath cimport loop

cdef enum:
    NORMALISED = 64     # rows at a time, whole vectors: their sums stand on the stack


cdef inline loop normalise(const real* x, Py_ssize_t n, Py_ssize_t rows, Py_ssize_t ld, real epsilon, real* out,
                           real* inverse) noexcept nogil:
    """out (n, rows) = (x - mean) inverse, inverse (rows,) = 1 / sqrt(variance + epsilon); out may be x."""
    cdef real mean[NORMALISED]
    cdef Py_ssize_t u, r
    cdef real share = <real>1 / <real>n, d
    for r in range(rows):
        mean[r] = 0
        inverse[r] = 0
    for u in range(n):
        for r in range(rows):
            mean[r] += x[u * ld + r]
    for r in range(rows):
        mean[r] *= share
    for u in range(n):
        for r in range(rows):
            d = x[u * ld + r] - mean[r]
            inverse[r] += d * d
    for r in range(rows):
        d = inverse[r] * share + epsilon
        inverse[r] = <real>1 / (sqrtf(d) if real is float else sqrt(d))
    for u in range(n):
        for r in range(rows):
            out[u * ld + r] = (x[u * ld + r] - mean[r]) * inverse[r]


cdef inline loop gain_and_bias(const real* g, const real* b, const real* x, Py_ssize_t n, Py_ssize_t ld,
                               real* out) noexcept nogil:
    """out (n, ld) = g x + b; out may be x."""
    cdef Py_ssize_t u, k
    cdef real factor, term
    for u in range(n):
        factor, term = g[u], b[u]
        for k in range(u * ld, (u + 1) * ld):
            out[k] = x[k] * factor + term


cdef inline loop normalise_back(const real* g, const real* x, const real* inverse, Py_ssize_t n, Py_ssize_t rows,
                                Py_ssize_t ld, real* delta) noexcept nogil:
    """delta (n, rows) = inverse (d - mean of d - x mean of d x) for d = g delta, x being the normalised units."""
    cdef real mean[NORMALISED]
    cdef real product[NORMALISED]
    cdef Py_ssize_t u, r
    cdef real share = <real>1 / <real>n, d
    for r in range(rows):
        mean[r] = 0
        product[r] = 0
    for u in range(n):
        for r in range(rows):
            d = delta[u * ld + r] * g[u]
            delta[u * ld + r] = d
            mean[r] += d
            product[r] += d * x[u * ld + r]
    for r in range(rows):
        mean[r] *= share
        product[r] *= share
    for u in range(n):
        for r in range(rows):
            delta[u * ld + r] = inverse[r] * (delta[u * ld + r] - mean[r] - x[u * ld + r] * product[r])


cdef inline void layer_norm_forward(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* parameters,
                                    const real* a, real* scratch, Py_ssize_t ld) noexcept nogil:
    """output (n_units, ld) = g (a - mean) / sqrt(variance + epsilon) + b."""
    cdef Py_ssize_t n = channels_of(layer), p, at, k, rows
    cdef real* output = scratch + layer.output * workspace.capacity
    cdef real* kept = output if layer.saved < 0 else scratch + layer.saved * workspace.capacity
    cdef real inverse[NORMALISED]
    for p in range(layer.pixels):
        at = p * n * ld
        k = 0
        while k < ld:
            rows = min(ld - k, <Py_ssize_t>NORMALISED)
            normalise(a + at + k, n, rows, ld, <real>layer.alpha, kept + at + k, inverse)
            if layer.saved >= 0:
                memcpy(kept + (layer.n_units + p) * ld + k, inverse, rows * sizeof(real))
            k += rows
        gain_and_bias(parameters + layer.weights, parameters + layer.biases, <const real*>(kept + at), n, ld,
                      output + at)


cdef inline void layer_norm_gradient(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* scratch,
                                     const real* delta, Py_ssize_t ld, Py_ssize_t first, Py_ssize_t end,
                                     real* gradient, bint add) noexcept nogil:
    """dg = sums over the rows and pixels of delta times the normalised units, db = those of delta.

    For channels first .. end - 1.
    """
    cdef const real* kept = scratch + layer.saved * workspace.capacity
    cdef Py_ssize_t n = channels_of(layer), p, at
    for p in range(layer.pixels):
        at = (p * n + first) * ld
        row_dots(end - first, ld, delta + at, kept + at, ld, gradient + layer.weights + first, add or p > 0)
        row_sums(end - first, ld, delta + at, ld, gradient + layer.biases + first, add or p > 0)


cdef inline void layer_norm_backward(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* parameters,
                                     const real* scratch, real* delta, Py_ssize_t ld) noexcept nogil:
    """delta, dL/d(output), becomes dL/d(input)."""
    cdef const real* kept = scratch + layer.saved * workspace.capacity
    cdef Py_ssize_t n = channels_of(layer), p, at, k, rows
    for p in range(layer.pixels):
        at = p * n * ld
        k = 0
        while k < ld:
            rows = min(ld - k, <Py_ssize_t>NORMALISED)
            normalise_back(parameters + layer.weights, kept + at + k, kept + (layer.n_units + p) * ld + k, n, rows, ld,
                           delta + at + k)
            k += rows
