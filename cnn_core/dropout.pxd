"""Dropout on a slab (Srivastava et al. 2014); in prediction there is nothing to do."""
from libc.stdint cimport uint64_t

from cnn_core.random cimport Noise, dropout_mask
from cnn_core.types cimport LayerSpec, WorkspaceSpec, real


cdef inline void dropout_units(const LayerSpec* layer, int index, const WorkspaceSpec* workspace, const real* a,
                               real* scratch, Py_ssize_t first, Py_ssize_t end, Py_ssize_t rows, Py_ssize_t ld,
                               Noise noise) noexcept nogil:
    """output = a * mask for units first .. end - 1; the mask, zeros and 1 / (1 - rate), is kept for the way back.

    Row r of unit u draws number u * 2^34 + r of the layer's stream.
    """
    cdef real* output = scratch + layer.output * workspace.capacity
    cdef real* mask = scratch + layer.saved * workspace.capacity
    cdef Py_ssize_t i, u
    for u in range(first, end):
        dropout_mask(noise.seed, noise.step, index, (<uint64_t>u << 34) + noise.row, layer.rate * noise.factor,
                     mask + u * ld, rows)
    for i in range(first * ld, end * ld):
        output[i] = a[i] * mask[i]


cdef inline void dropout_backward(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* scratch,
                                  real* delta, Py_ssize_t ld) noexcept nogil:
    """delta *= mask."""
    cdef const real* mask = scratch + layer.saved * workspace.capacity
    cdef Py_ssize_t k
    for k in range(layer.n_units * ld):
        delta[k] *= mask[k]
