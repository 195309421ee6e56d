"""The sum of a residual block on a slab: an output plus what an earlier layer reads (He et al. 2016).

On the way back the delta goes two ways: down the block, and, from the buffer where it is kept, to the block's input.
"""
from libc.string cimport memcpy

from cnn_core.types cimport ADD, LayerSpec, WorkspaceSpec, real
from cnn_core.vecmath cimport loop


cdef inline loop add_units(const real* a, const real* b, Py_ssize_t n, real* out) noexcept nogil:
    """out = a + b, n elements; out may be a."""
    cdef Py_ssize_t k
    for k in range(n):
        out[k] = a[k] + b[k]


cdef inline void add_forward(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* a, const real* b,
                             real* scratch, Py_ssize_t ld) noexcept nogil:
    """output (n_units, ld) = a + b, b being the block's input."""
    add_units(a, b, layer.n_units * ld, scratch + layer.output * workspace.capacity)


cdef inline void add_backward(const LayerSpec* layer, const WorkspaceSpec* workspace, real* scratch,
                              const real* delta, Py_ssize_t ld) noexcept nogil:
    """delta stays as it is, and is kept for the block's input."""
    memcpy(scratch + layer.saved * workspace.capacity, delta, layer.n_units * ld * sizeof(real))


cdef inline void add_branches(const LayerSpec* layers, int i, const WorkspaceSpec* workspace, const real* scratch,
                              Py_ssize_t first, Py_ssize_t end, Py_ssize_t ld, real* delta) noexcept nogil:
    """delta, dL/d(input) of layer i for units first .. end - 1, += what comes past the blocks that begin there."""
    cdef int k = i, left = layers[i].branches
    while left > 0:
        k += 1
        if layers[k].kind == ADD and layers[k].source == i:
            add_units(<const real*>(delta + first * ld), scratch + layers[k].saved * workspace.capacity + first * ld,
                      (end - first) * ld, delta + first * ld)
            left -= 1
