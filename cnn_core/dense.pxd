"""Forward and backward of a slab: some rows through all layers, in buffers of one workspace. No policy, no threads."""
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from cnn_core.activations cimport activation_backward, activation_forward
from cnn_core.blas cimport gemm
from cnn_core.random cimport dropout_mask
from cnn_core.types cimport DENSE, LayerSpec, WorkspaceSpec, real


# What a dropout mask depends on, and nothing else; `row` is the slab's first row within the minibatch.
cdef struct Noise:
    bint training
    uint64_t seed
    uint64_t step
    int64_t row


cdef inline const real* layer_input(const LayerSpec* layers, int i, const WorkspaceSpec* workspace, const real* x,
                                    const real* scratch, bint training) noexcept nogil:
    """What layer i reads: the output of the layer below, seen through dropouts that are off; x for the first."""
    i -= 1
    while i >= 0 and layers[i].kind != DENSE and not training:
        i -= 1
    return x if i < 0 else scratch + layers[i].output * workspace.capacity


cdef inline const real* slab_forward(const LayerSpec* layers, int n_layers, const WorkspaceSpec* workspace,
                                     const real* parameters, const real* x, real* scratch, Py_ssize_t rows,
                                     Noise noise) noexcept nogil:
    """Runs x (rows, n_inputs) through the layers; returns the raw output (rows, n_outputs), in scratch."""
    cdef int i
    for i in range(n_layers):
        if layers[i].kind == DENSE:
            dense_forward(&layers[i], workspace, parameters,
                          layer_input(layers, i, workspace, x, <const real*>scratch, noise.training), scratch, rows)
        elif noise.training:
            dropout_forward(&layers[i], i, workspace,
                            layer_input(layers, i, workspace, x, <const real*>scratch, True), scratch, rows, noise)
    return layer_input(layers, n_layers, workspace, x, <const real*>scratch, noise.training)


cdef inline void dense_forward(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* parameters,
                               const real* a, real* scratch, Py_ssize_t rows) noexcept nogil:
    """z = a W + b, output = f(z)."""
    cdef real* output = scratch + layer.output * workspace.capacity
    cdef real* z = output if layer.saved < 0 else scratch + layer.saved * workspace.capacity
    cdef Py_ssize_t n = layer.n_units, r, j
    cdef const real* biases
    if layer.biases >= 0:
        # The product is added to the biases, so that the activation runs flat over all rows at once.
        biases = parameters + layer.biases
        for r in range(rows):
            for j in range(n):
                z[r * n + j] = biases[j]
    gemm(False, False, rows, n, layer.n_inputs, a, layer.n_inputs, parameters + layer.weights, n,
         <real>(layer.biases >= 0), z, n)
    activation_forward(layer.activation, <const real*>z, output, rows * n, <real>layer.alpha)


cdef inline void dropout_forward(const LayerSpec* layer, int index, const WorkspaceSpec* workspace, const real* a,
                                 real* scratch, Py_ssize_t rows, Noise noise) noexcept nogil:
    """output = a * mask; the mask, zeros and 1 / (1 - rate), is kept for the way back."""
    cdef real* output = scratch + layer.output * workspace.capacity
    cdef real* mask = scratch + layer.saved * workspace.capacity
    cdef Py_ssize_t i, n = rows * layer.n_units
    dropout_mask(noise.seed, noise.step, index, noise.row * layer.n_units, layer.rate, mask, n)
    for i in range(n):
        output[i] = a[i] * mask[i]


cdef inline void slab_backward(const LayerSpec* layers, int n_layers, const WorkspaceSpec* workspace,
                               const real* parameters, const real* x, real* scratch, Py_ssize_t rows, bint training,
                               real beta, real* gradient, real* dx) noexcept nogil:
    """gradient = dL/dparameters + beta gradient, from dL/d(output) in the delta buffer; dL/dx to dx unless NULL."""
    cdef real* delta = scratch + workspace.delta * workspace.capacity
    cdef real* below = scratch + workspace.delta_next * workspace.capacity
    cdef const real* mask
    cdef Py_ssize_t k
    cdef int i, lowest = 0
    if dx == NULL:  # nobody asks for the gradient below the first dense layer
        while layers[lowest].kind != DENSE:
            lowest += 1
    for i in range(n_layers - 1, lowest - 1, -1):
        if layers[i].kind == DENSE:
            dense_backward(&layers[i], workspace, parameters,
                           layer_input(layers, i, workspace, x, <const real*>scratch, training), scratch, rows, beta,
                           delta, gradient, below if i > lowest or dx != NULL else NULL)
            delta, below = below, delta
        elif training:
            mask = scratch + layers[i].saved * workspace.capacity
            for k in range(rows * layers[i].n_units):
                delta[k] *= mask[k]
    if dx != NULL:
        memcpy(dx, delta, rows * layers[0].n_inputs * sizeof(real))


cdef inline void dense_backward(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* parameters,
                                const real* a, real* scratch, Py_ssize_t rows, real beta, real* delta, real* gradient,
                                real* below) noexcept nogil:
    """delta *= f'(z); dW = a' delta; db = column sums of delta; below = delta W' unless NULL."""
    cdef int64_t kept = layer.output if layer.saved < 0 else layer.saved
    cdef Py_ssize_t n = layer.n_units, m = layer.n_inputs
    activation_backward(layer.activation, <const real*>(scratch + kept * workspace.capacity), delta, rows * n,
                        <real>layer.alpha)
    gemm(True, False, m, n, rows, a, m, <const real*>delta, n, beta, gradient + layer.weights, n)
    if layer.biases >= 0:
        column_sums(<const real*>delta, rows, n, beta, gradient + layer.biases)
    if below != NULL:
        gemm(False, True, rows, m, n, <const real*>delta, n, parameters + layer.weights, n, <real>0, below, m)


cdef inline void column_sums(const real* a, Py_ssize_t rows, Py_ssize_t n, real beta, real* out) noexcept nogil:
    """out = sum of the rows of a (rows, n) + beta out."""
    cdef Py_ssize_t r, j
    if beta == 0:
        for j in range(n):
            out[j] = 0
    for r in range(rows):
        for j in range(n):
            out[j] += a[r * n + j]
