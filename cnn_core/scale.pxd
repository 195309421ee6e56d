"""A factor for each unit, of images for each channel, a = s x, on a slab.

The scaling layer of Holzmüller, Grinsztajn & Steinwart (2024).
"""
from cnn_core.tile cimport row_dots
from cnn_core.types cimport LayerSpec, WorkspaceSpec, channels_of, real
from cnn_core.vecmath cimport loop


cdef inline loop scale_units(const real* s, const real* a, Py_ssize_t n, Py_ssize_t ld, real* out) noexcept nogil:
    """out (n, ld) = s a; out may be a."""
    cdef Py_ssize_t u, k
    cdef real factor
    for u in range(n):
        factor = s[u]
        for k in range(u * ld, (u + 1) * ld):
            out[k] = a[k] * factor


cdef inline void scale_pixels(const LayerSpec* layer, const real* parameters, const real* a, Py_ssize_t ld,
                              real* out) noexcept nogil:
    """out (n_units, ld) = s a; out may be a."""
    cdef Py_ssize_t n = channels_of(layer), p
    for p in range(layer.pixels):
        scale_units(parameters + layer.weights, a + p * n * ld, n, ld, out + p * n * ld)


cdef inline void scale_forward(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* parameters,
                               const real* a, real* scratch, Py_ssize_t ld) noexcept nogil:
    """output (n_units, ld) = s a; output may be a."""
    scale_pixels(layer, parameters, a, ld, scratch + layer.output * workspace.capacity)


cdef inline loop scale_gradient(const LayerSpec* layer, const real* a, const real* delta, Py_ssize_t ld,
                                Py_ssize_t first, Py_ssize_t end, real* gradient, bint add) noexcept nogil:
    """ds[u] = sum over the rows and pixels of delta a, for channels first .. end - 1, + ds if add.

    Beyond the last row delta is 0, and so is what is added there.
    """
    cdef Py_ssize_t n = channels_of(layer), p
    for p in range(layer.pixels):
        row_dots(end - first, ld, delta + (p * n + first) * ld, a + (p * n + first) * ld, ld,
                 gradient + layer.weights + first, add or p > 0)


cdef inline void scale_backward(const LayerSpec* layer, const real* parameters, real* delta,
                                Py_ssize_t ld) noexcept nogil:
    """delta *= s."""
    scale_pixels(layer, parameters, <const real*>delta, ld, delta)
