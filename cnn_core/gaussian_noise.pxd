"""Normal numbers added to a slab while training; in prediction there is nothing to do, on the way back neither."""
from libc.stdint cimport uint64_t

from cnn_core.random cimport Noise, normal_numbers
from cnn_core.types cimport LayerSpec, WorkspaceSpec, real
from cnn_core.vecmath cimport loop


cdef inline loop add_scaled(const real* a, real scale, Py_ssize_t n, real* out) noexcept nogil:
    """out = a + scale out."""
    cdef Py_ssize_t k
    for k in range(n):
        out[k] = a[k] + scale * out[k]


cdef inline void gaussian_noise(const LayerSpec* layer, int index, const WorkspaceSpec* workspace, const real* a,
                                real* scratch, Py_ssize_t rows, Py_ssize_t ld, Noise noise) noexcept nogil:
    """output (n_units, ld) = a + deviation times a normal number; row r of unit u draws number u * 2^34 + r."""
    cdef real* output = scratch + layer.output * workspace.capacity
    cdef Py_ssize_t u, r
    for u in range(layer.n_units):
        normal_numbers(noise.seed, noise.step, index, (<uint64_t>u << 34) + noise.row, output + u * ld, rows)
        for r in range(rows, ld):
            output[u * ld + r] = 0
    add_scaled(a, <real>layer.rate, layer.n_units * ld, output)
