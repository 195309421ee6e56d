"""Forward and backward of a slab: some rows through all layers, in buffers of one workspace. No policy, no threads.

A slab is stored by features: unit u of row r at u * ld + r, where ld is the number of rows rounded up to whole vectors,
so that every loop runs along the rows. What stands beyond the last row is finite, and 0 in every delta.
"""
from libc.stdint cimport int32_t, int64_t, uint64_t

from cnn_core.activations cimport activation_backward, activation_forward
from cnn_core.blas cimport gemm
from cnn_core.random cimport Noise, dropout_mask
from cnn_core.sparse cimport SparseRows, first_dense, sparse_backward, sparse_forward
from cnn_core.team cimport stopped
from cnn_core.tile cimport CNN_VECTORS, dots, lanes, padded, product, row_sums, turn
from cnn_core.types cimport DENSE, GROUP, LayerSpec, WorkspaceSpec, real

cdef enum:
    PANEL_WORK = 200000000  # multiply-adds between two looks at a flag


cdef inline Py_ssize_t chunk_begin(Py_ssize_t rows, Py_ssize_t chunk, Py_ssize_t n_chunks) noexcept nogil:
    """The first of `rows` rows that belongs to a chunk; chunks are whole groups of rows, as even as that allows."""
    return min((rows + GROUP - 1) // GROUP * chunk // n_chunks * GROUP, rows)


cdef inline bint by_blas(const LayerSpec* layer) noexcept nogil:
    """Where there are no vector types, BLAS is the faster one, but for narrow layers."""
    return not CNN_VECTORS and layer.n_inputs >= 8 and layer.n_units >= 8


cdef inline const real* layer_input(const LayerSpec* layers, int i, const WorkspaceSpec* workspace,
                                    const real* scratch, bint training) noexcept nogil:
    """What layer i reads: the output of the layer below, seen through dropouts that are off; the rows for the first."""
    i -= 1
    while i >= 0 and layers[i].kind != DENSE and not training:
        i -= 1
    return scratch + (workspace.input if i < 0 else layers[i].output) * workspace.capacity


cdef inline const real* slab_forward(const LayerSpec* layers, int n_layers, const WorkspaceSpec* workspace,
                                     const real* parameters, real* scratch, Py_ssize_t rows, Noise noise,
                                     const SparseRows* sparse, const int32_t* stop) noexcept nogil:
    """Runs the input buffer (n_inputs, ld) through the layers; returns the raw output (n_outputs, ld), in scratch.

    With `sparse` rows (else NULL) there is no input buffer. Where `stop` ends it, the output is of no use.
    """
    cdef Py_ssize_t ld = padded(rows, parameters)
    cdef const real* a
    cdef int i, on_sparse = -1 if sparse == NULL else first_dense(layers)
    for i in range(n_layers):
        a = layer_input(layers, i, workspace, <const real*>scratch, noise.training)
        if i == on_sparse:
            sparse_forward(sparse, layers, i, workspace, parameters, scratch, rows, 0, layers[i].n_units)
        elif layers[i].kind == DENSE:
            dense_forward(&layers[i], workspace, parameters, a, scratch, rows, ld, stop)
        elif noise.training:
            dropout_units(&layers[i], i, workspace, a, scratch, 0, layers[i].n_units, rows, ld, noise)
    return layer_input(layers, n_layers, workspace, <const real*>scratch, noise.training)


cdef inline Py_ssize_t panel_of_work(Py_ssize_t outputs, Py_ssize_t rows, Py_ssize_t terms,
                                     const int32_t* stop) noexcept nogil:
    """How many outputs of a product are computed between two looks at `stop`: some 10 ms, and whole tiles of six."""
    if stop == NULL or <double>outputs * rows * terms < PANEL_WORK:
        return outputs
    return max(<Py_ssize_t>(PANEL_WORK / (<double>rows * terms)) // 6 * 6, <Py_ssize_t>6)


cdef inline void dense_forward(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* parameters,
                               const real* a, real* scratch, Py_ssize_t rows, Py_ssize_t ld,
                               const int32_t* stop) noexcept nogil:
    """z = W' a + b, output = f(z)."""
    cdef real* output = scratch + layer.output * workspace.capacity
    cdef real* z = output if layer.saved < 0 else scratch + layer.saved * workspace.capacity
    cdef Py_ssize_t n = layer.n_units, m = layer.n_inputs, u = 0, r, units, panel = n
    cdef const real* weights = parameters + layer.weights
    cdef const real* biases = parameters + layer.biases if layer.biases >= 0 else NULL
    if by_blas(layer):
        if biases != NULL:
            for u in range(n):
                for r in range(ld):
                    z[u * ld + r] = biases[u]
        gemm(True, False, n, ld, m, weights, n, a, ld, <real>(biases != NULL), z, ld)
    else:
        panel = panel_of_work(n, rows, m, stop)
        while u < n and not stopped(stop):
            units = min(n - u, panel)
            product(units, rows, m, weights + u, 1, n, a, ld, z + u * ld, ld, biases + u if biases != NULL else NULL,
                    False, True)
            u += units
    activation_forward(layer.activation, <const real*>z, output, n * ld, <real>layer.alpha)


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
        dropout_mask(noise.seed, noise.step, index, (<uint64_t>u << 34) + noise.row, layer.rate, mask + u * ld, rows)
    for i in range(first * ld, end * ld):
        output[i] = a[i] * mask[i]


cdef inline const real* slab_backward(const LayerSpec* layers, int n_layers, const WorkspaceSpec* workspace,
                                      const real* parameters, real* scratch, Py_ssize_t rows, bint training, bint add,
                                      real* gradient, bint to_input, const SparseRows* sparse,
                                      const int32_t* stop) noexcept nogil:
    """gradient = dL/dparameters (+ gradient if add), from dL/d(output) (n_outputs, ld) in the delta buffer.

    Returns where dL/d(input) (n_inputs, ld) stands if it is asked for, which can't be with `sparse` rows. Where `stop`
    ends it, neither is of use.
    """
    cdef Py_ssize_t ld = padded(rows, parameters), k
    cdef real* delta = scratch + workspace.delta * workspace.capacity
    cdef real* below = scratch + workspace.delta_next * workspace.capacity
    cdef const real* mask
    cdef int i, lowest = 0
    if not to_input:  # nobody asks for the gradient below the first dense layer
        lowest = first_dense(layers)
    for i in range(n_layers - 1, lowest - 1, -1):
        if sparse != NULL and i == lowest:
            sparse_backward(sparse, layers, i, workspace, scratch, rows, add, delta, below, gradient)
        elif layers[i].kind == DENSE:
            dense_backward(&layers[i], workspace, parameters,
                           layer_input(layers, i, workspace, <const real*>scratch, training), scratch, rows, ld, add,
                           delta, gradient, below, i > lowest or to_input, stop)
            delta, below = below, delta
        elif training:
            mask = scratch + layers[i].saved * workspace.capacity
            for k in range(layers[i].n_units * ld):
                delta[k] *= mask[k]
    return <const real*>delta


cdef inline void dense_backward(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* parameters,
                                const real* a, real* scratch, Py_ssize_t rows, Py_ssize_t ld, bint add, real* delta,
                                real* gradient, real* below, bint go_on, const int32_t* stop) noexcept nogil:
    """delta *= f'(z); dW = a delta'; db = row sums of delta; below = W delta, if wanted."""
    cdef int64_t kept = layer.output if layer.saved < 0 else layer.saved
    cdef Py_ssize_t n = layer.n_units, m = layer.n_inputs, turned = padded(n, parameters), v = 0, inputs
    cdef Py_ssize_t panel = panel_of_work(m, rows, n, stop)
    cdef const real* weights = parameters + layer.weights
    cdef const real* d = <const real*>delta
    cdef real* dw = gradient + layer.weights
    cdef real* db = gradient + layer.biases if layer.biases >= 0 else NULL
    cdef bint blas = by_blas(layer), narrow = n <= 8 and n < lanes(parameters)
    activation_backward(layer.activation, <const real*>(scratch + kept * workspace.capacity), delta, n * ld,
                        <real>layer.alpha)
    if db != NULL and (blas or narrow):
        row_sums(n, ld, d, ld, db, add)
    if blas:
        gemm(False, True, m, n, ld, a, ld, d, ld, <real>add, dw, n)
    elif narrow:
        dots(m, n, ld, a, ld, d, ld, dw, add)
    else:  # a vector of units at a time: the deltas of a row side by side, in the buffer that is free until `below`
        turn(n, ld, d, ld, below, turned, db, add)
        while v < m and not stopped(stop):
            inputs = min(m - v, panel)
            product(inputs, n, rows, a + v * ld, ld, 1, <const real*>below, turned, dw + v * n, n, <const real*>NULL,
                    add, False)
            v += inputs
    if not go_on:
        return
    if blas:
        gemm(False, False, m, ld, n, weights, n, d, ld, <real>0, below, ld)
    else:
        v = 0
        while v < m and not stopped(stop):
            inputs = min(m - v, panel)
            product(inputs, rows, n, weights + v * n, n, 1, d, ld, below + v * ld, ld, <const real*>NULL, False, True)
            v += inputs
