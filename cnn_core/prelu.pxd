"""A slope for each unit, of images for each channel, on a slab, for what is negative: a = max(x, 0) + p min(x, 0).

(He, Zhang, Ren & Sun 2015.)
"""
from cnn_core.tile cimport row_sums
from cnn_core.types cimport LayerSpec, WorkspaceSpec, channels_of, real
from cnn_core.vecmath cimport loop

cdef enum:
    UNITS = 16      # whose sums are taken together, over
    ROWS = 128      # rows at a time, whole vectors: the products stand on the stack


cdef inline loop prelu_units(const real* p, const real* x, Py_ssize_t n, Py_ssize_t ld, real* out) noexcept nogil:
    """out (n, ld) = x for x > 0, else p x."""
    cdef Py_ssize_t u, k
    cdef real slope
    for u in range(n):
        slope = p[u]
        for k in range(u * ld, (u + 1) * ld):
            out[k] = x[k] * (<real>1 if x[k] > 0 else slope)


cdef inline loop prelu_back(const real* p, const real* x, Py_ssize_t n, Py_ssize_t ld, real* delta) noexcept nogil:
    """delta (n, ld) *= 1 for x > 0, else p."""
    cdef Py_ssize_t u, k
    cdef real slope
    for u in range(n):
        slope = p[u]
        for k in range(u * ld, (u + 1) * ld):
            delta[k] *= <real>1 if x[k] > 0 else slope


cdef inline loop negative_products(const real* d, const real* x, Py_ssize_t n, Py_ssize_t rows, Py_ssize_t ld,
                                   real* out) noexcept nogil:
    """out (n, ROWS) = d min(x, 0) of so many rows of d and x (n, ld)."""
    cdef Py_ssize_t u, r
    for u in range(n):
        for r in range(rows):
            out[u * ROWS + r] = d[u * ld + r] * (<real>0 if x[u * ld + r] > 0 else x[u * ld + r])


cdef inline void prelu_forward(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* parameters,
                               const real* a, real* scratch, Py_ssize_t ld) noexcept nogil:
    """output (n_units, ld) = a for a > 0, else p a."""
    cdef real* output = scratch + layer.output * workspace.capacity
    cdef Py_ssize_t n = channels_of(layer), p
    for p in range(layer.pixels):
        prelu_units(parameters + layer.weights, a + p * n * ld, n, ld, output + p * n * ld)


cdef inline void prelu_gradient(const LayerSpec* layer, const real* a, const real* delta, Py_ssize_t ld,
                                Py_ssize_t first, Py_ssize_t end, real* gradient, bint add) noexcept nogil:
    """dp = sums over the rows and pixels of delta min(a, 0), for channels first .. end - 1."""
    cdef real products[UNITS * ROWS]
    cdef Py_ssize_t u = first, k, units, rows, p, at
    while u < end:
        units = min(end - u, <Py_ssize_t>UNITS)
        for p in range(layer.pixels):
            at = (p * channels_of(layer) + u) * ld
            k = 0
            while k < ld:
                rows = min(ld - k, <Py_ssize_t>ROWS)
                negative_products(delta + at + k, a + at + k, units, rows, ld, products)
                row_sums(units, rows, <const real*>products, ROWS, gradient + layer.weights + u, add or p > 0 or k > 0)
                k += rows
        u += units


cdef inline void prelu_backward(const LayerSpec* layer, const real* parameters, const real* a, real* delta,
                                Py_ssize_t ld) noexcept nogil:
    """delta *= the slope at a."""
    cdef Py_ssize_t n = channels_of(layer), p
    for p in range(layer.pixels):
        prelu_back(parameters + layer.weights, a + p * n * ld, n, ld, delta + p * n * ld)
