"""A factor for each unit, a = s x, on a slab: the scaling layer of Holzmüller, Grinsztajn & Steinwart (2024)."""
from cnn_core.types cimport LayerSpec, WorkspaceSpec, real


cdef inline void scale_forward(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* parameters,
                               const real* a, real* scratch, Py_ssize_t ld) noexcept nogil:
    """output (n_units, ld) = s a; output may be a."""
    cdef real* output = scratch + layer.output * workspace.capacity
    cdef Py_ssize_t u, k
    cdef real factor
    for u in range(layer.n_units):
        factor = parameters[layer.weights + u]
        for k in range(u * ld, (u + 1) * ld):
            output[k] = a[k] * factor


cdef inline void scale_gradient(const LayerSpec* layer, const real* a, const real* delta, Py_ssize_t rows,
                                Py_ssize_t ld, Py_ssize_t first, Py_ssize_t end, real* gradient,
                                bint add) noexcept nogil:
    """ds[u] = sum over the rows of delta a, for units first .. end - 1, + ds if add."""
    cdef Py_ssize_t u, r
    cdef double total
    for u in range(first, end):
        total = gradient[layer.weights + u] if add else 0
        for r in range(rows):
            total += <double>delta[u * ld + r] * a[u * ld + r]
        gradient[layer.weights + u] = <real>total


cdef inline void scale_backward(const LayerSpec* layer, const real* parameters, real* delta,
                                Py_ssize_t ld) noexcept nogil:
    """delta *= s."""
    cdef Py_ssize_t u, k
    cdef real factor
    for u in range(layer.n_units):
        factor = parameters[layer.weights + u]
        for k in range(u * ld, (u + 1) * ld):
            delta[k] *= factor
