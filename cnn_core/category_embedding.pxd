"""A learnt row of a table for the category that the last input names, on a slab: [its row, the other inputs].

The table W is (categories, width). Input x in [0, categories) names category floor(x); for any other number there are
zeros, and nothing is learnt.
"""
from libc.string cimport memcpy, memmove, memset

from cnn_core.types cimport LayerSpec, WorkspaceSpec, real


cdef inline Py_ssize_t category_of(const LayerSpec* layer, real x) noexcept nogil:
    """The category that x names; -1: none."""
    return <Py_ssize_t>x if 0 <= x < layer.categories else -1


cdef inline Py_ssize_t width_of(const LayerSpec* layer) noexcept nogil:
    """How many numbers a category becomes."""
    return layer.n_units - layer.n_inputs + 1


cdef inline void category_forward(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* parameters,
                                  const real* a, real* scratch, Py_ssize_t ld) noexcept nogil:
    """output (n_units, ld) = [W's row of the category, a but for its last row]."""
    cdef Py_ssize_t width = width_of(layer), others = layer.n_inputs - 1, r, j, category
    cdef real* output = scratch + layer.output * workspace.capacity
    cdef const real* row
    for r in range(ld):
        category = category_of(layer, a[others * ld + r])
        row = parameters + layer.weights + category * width
        for j in range(width):
            output[j * ld + r] = row[j] if category >= 0 else <real>0
    memcpy(output + width * ld, a, others * ld * sizeof(real))


cdef inline void category_gradient(const LayerSpec* layer, const real* a, const real* delta, Py_ssize_t ld,
                                   Py_ssize_t first, Py_ssize_t end, real* gradient, bint add) noexcept nogil:
    """Columns first .. end - 1 of dW, as far as there are: sums of delta over the rows of each category (+ dW if add).

    Beyond the last row delta is 0, and so is what is added there.
    """
    cdef Py_ssize_t width = width_of(layer), last = min(end, width_of(layer)), r, j, category
    cdef real* dw = gradient + layer.weights
    if first >= last:
        return
    for category in range(0 if add else layer.categories):
        memset(dw + category * width + first, 0, (last - first) * sizeof(real))
    for r in range(ld):
        category = category_of(layer, a[(layer.n_inputs - 1) * ld + r])
        if category >= 0:
            for j in range(first, last):
                dw[category * width + j] += delta[j * ld + r]


cdef inline void category_backward(const LayerSpec* layer, real* delta, Py_ssize_t ld) noexcept nogil:
    """delta (n_units, ld) becomes dL/d(input) (n_inputs, ld), 0 for the category."""
    cdef Py_ssize_t width = width_of(layer), others = layer.n_inputs - 1
    memmove(delta, delta + width * ld, others * ld * sizeof(real))
    memset(delta + others * ld, 0, ld * sizeof(real))
