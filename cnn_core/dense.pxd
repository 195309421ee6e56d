"""The dense layer on a slab, a = f(W' x + b) (see layer.pxd for how a slab is stored)."""
from libc.stdint cimport int32_t, int64_t

from cnn_core.activations cimport activation_backward, activation_forward
from cnn_core.products cimport matmul
from cnn_core.team cimport stopped
from cnn_core.tile cimport matmul_narrow, lanes, padded, row_sums, transpose
from cnn_core.types cimport GROUP, LayerSpec, WorkspaceSpec, real

cdef enum:
    PANEL_WORK = 200000000  # multiply-adds between two looks at a flag


cdef inline Py_ssize_t chunk_begin(Py_ssize_t rows, Py_ssize_t chunk, Py_ssize_t n_chunks) noexcept nogil:
    """The first of `rows` rows that belongs to a chunk; chunks are whole groups of rows, as even as that allows."""
    return min((rows + GROUP - 1) // GROUP * chunk // n_chunks * GROUP, rows)


cdef inline Py_ssize_t panel_of_work(const LayerSpec* layer, Py_ssize_t outputs, Py_ssize_t rows, Py_ssize_t terms,
                                     const int32_t* stop) noexcept nogil:
    """How many outputs of a product are computed between two looks at `stop`: some 10 ms, and whole tiles of six.

    BLAS takes all at once: its bits depend on the shape.
    """
    if stop == NULL or layer.by_blas or <double>outputs * rows * terms < PANEL_WORK:
        return outputs
    return max(<Py_ssize_t>(PANEL_WORK / (<double>rows * terms)) // 6 * 6, <Py_ssize_t>6)


cdef inline void dense_forward(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* parameters,
                               const real* a, real* scratch, Py_ssize_t rows, Py_ssize_t ld,
                               const int32_t* stop) noexcept nogil:
    """z = W' a + b, output = f(z)."""
    cdef real* output = scratch + layer.output * workspace.capacity
    cdef real* z = output if layer.saved < 0 else scratch + layer.saved * workspace.capacity
    cdef Py_ssize_t n = layer.n_units, m = layer.n_inputs, u = 0, units, panel = panel_of_work(layer, n, rows, m, stop)
    cdef const real* weights = parameters + layer.weights
    cdef const real* biases = parameters + layer.biases if layer.biases >= 0 else NULL
    while u < n and not stopped(stop):
        units = min(n - u, panel)
        matmul(layer.by_blas, units, rows, m, weights + u, 1, n, a, ld, z + u * ld, ld,
               biases + u if biases != NULL else NULL, False, True, <const real*>NULL, 0)
        u += units
    activation_forward(layer.activation, <const real*>z, output, n * ld, <real>layer.alpha)


cdef inline void dense_backward(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* parameters,
                                const real* a, real* scratch, Py_ssize_t rows, Py_ssize_t ld, bint add, real* delta,
                                real* gradient, real* below, bint go_on, const int32_t* stop) noexcept nogil:
    """delta *= f'(z); dW = a delta'; db = row sums of delta; below = W delta, if wanted."""
    cdef int64_t kept = layer.output if layer.saved < 0 else layer.saved
    cdef Py_ssize_t n = layer.n_units, m = layer.n_inputs, transposed = padded(n, parameters), v = 0, inputs
    cdef Py_ssize_t panel = panel_of_work(layer, m, rows, n, stop)
    cdef const real* weights = parameters + layer.weights
    cdef const real* d = <const real*>delta
    cdef real* dw = gradient + layer.weights
    cdef real* db = gradient + layer.biases if layer.biases >= 0 else NULL
    cdef bint narrow = n <= 8 and n < lanes(parameters) and not layer.by_blas
    activation_backward(layer.activation, <const real*>(scratch + kept * workspace.capacity), delta, n * ld,
                        <real>layer.alpha)
    if narrow:
        if db != NULL:
            row_sums(n, ld, d, ld, db, add)
        matmul_narrow(m, n, ld, a, ld, d, ld, dw, add)
    else:  # a vector of units at a time: the deltas of a row side by side, in the buffer that is free until `below`
        transpose(n, ld, d, ld, below, transposed, db, add)
        while v < m and not stopped(stop):
            inputs = min(m - v, panel)
            matmul(layer.by_blas, inputs, n, rows, a + v * ld, ld, 1, <const real*>below, transposed, dw + v * n, n,
                   <const real*>NULL, add, False, <const real*>NULL, 0)
            v += inputs
    if not go_on:
        return
    v = 0
    while v < m and not stopped(stop):
        inputs = min(m - v, panel)
        matmul(layer.by_blas, inputs, rows, n, weights + v * n, n, 1, d, ld, below + v * ld, ld, <const real*>NULL,
               False, True, <const real*>NULL, 0)
        v += inputs
