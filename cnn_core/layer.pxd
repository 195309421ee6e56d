"""A slab through all layers, in buffers of one workspace. No policy, no threads.

A slab is some rows, stored by features: unit u of row r at u * ld + r, where ld is the number of rows rounded up to
whole vectors, so that every loop runs along the rows. What stands beyond the last row is finite, and 0 in every delta.

Each kind of layer has a file of its own, and this one alone chooses among them: `layer_forward`, `layer_backward`, and
for teams that go through wide layers together `layer_gradient` and `layer_delta`, which the dense layer does without.
"""
from libc.stdint cimport int32_t

from cnn_core.add cimport add_backward, add_branches, add_forward
from cnn_core.batch_norm cimport batch_norm_backward, batch_norm_forward, over_rows
from cnn_core.category_embedding cimport category_backward, category_forward, category_gradient
from cnn_core.convolution cimport convolution_backward, convolution_forward
from cnn_core.dense cimport dense_backward, dense_forward
from cnn_core.dropout cimport dropout_backward, dropout_units
from cnn_core.gaussian_noise cimport gaussian_noise
from cnn_core.layer_norm cimport layer_norm_backward, layer_norm_forward, layer_norm_gradient
from cnn_core.numeric_embedding cimport embedding_backward, embedding_forward, embedding_gradient
from cnn_core.parametric cimport parametric_backward, parametric_forward, parametric_gradient
from cnn_core.piecewise_embedding cimport piecewise_backward, piecewise_forward, piecewise_gradient
from cnn_core.pool cimport pool_backward, pool_forward
from cnn_core.prelu cimport prelu_backward, prelu_forward, prelu_gradient
from cnn_core.random cimport Noise
from cnn_core.scale cimport scale_backward, scale_forward, scale_gradient
from cnn_core.slabs cimport Slabs, make_slabs
from cnn_core.sparse cimport first_dense, sparse_backward, sparse_forward
from cnn_core.sparse_rows cimport SparseRows
from cnn_core.tile cimport padded
from cnn_core.types cimport (ADD, AVERAGE_POOL, BATCH_NORM, CATEGORY_EMBEDDING, CONVOLUTION, DENSE, DROPOUT, FLATTEN,
                             GAUSSIAN_NOISE, LAYER_NORM, MAX_POOL, NUMERIC_EMBEDDING, PARAMETRIC, PIECEWISE_EMBEDDING,
                             PRELU, SCALE, LayerSpec, WorkspaceSpec, channels_of, real)


cdef inline bint left_out(int kind, bint training) noexcept nogil:
    """Whether a kind of layer passes on what it reads as it stands: some do but in training."""
    return kind == FLATTEN or not training and (kind == DROPOUT or kind == GAUSSIAN_NOISE)


cdef inline bint moves(int kind) noexcept nogil:
    """Whether a kind of layer that is not dense writes dL/d(input) to another buffer, for it is of another width."""
    return kind == CONVOLUTION or kind == MAX_POOL or kind == AVERAGE_POOL


cdef inline const real* layer_input(const LayerSpec* layers, int i, const WorkspaceSpec* workspace,
                                    const real* scratch, bint training) noexcept nogil:
    """What layer i reads: the output of the layer below, but for layers that are left out; the rows for the first."""
    i -= 1
    while i >= 0 and left_out(layers[i].kind, training):
        i -= 1
    return scratch + (workspace.input if i < 0 else layers[i].output) * workspace.capacity


cdef inline int first_with_parameters(const LayerSpec* layers) noexcept nogil:
    """The lowest layer that learns anything: the way back ends there."""
    cdef int i = 0
    while layers[i].weights < 0 and layers[i].biases < 0:
        i += 1
    return i


cdef inline void layer_forward(const LayerSpec* layers, int i, const WorkspaceSpec* workspace, const real* parameters,
                               const real* a, real* scratch, real* room, Py_ssize_t rows, Py_ssize_t ld, Noise noise,
                               const int32_t* stop) noexcept nogil:
    """The output of layer i, (n_units, ld), from its input a (n_inputs, ld); `room` is for a convolution to work in."""
    cdef int kind = layers[i].kind
    cdef Slabs slabs
    if kind == DENSE:
        dense_forward(&layers[i], workspace, parameters, a, scratch, rows, ld, stop)
    elif kind == DROPOUT:
        if noise.training:
            dropout_units(&layers[i], i, workspace, a, scratch, 0, layers[i].n_units, rows, ld, noise)
    elif kind == SCALE:
        scale_forward(&layers[i], workspace, parameters, a, scratch, ld)
    elif kind == ADD:
        add_forward(&layers[i], workspace, a,
                    layer_input(layers, layers[i].source, workspace, <const real*>scratch, noise.training), scratch, ld)
    elif kind == LAYER_NORM:
        layer_norm_forward(&layers[i], workspace, parameters, a, scratch, ld)
    elif kind == CATEGORY_EMBEDDING:
        category_forward(&layers[i], workspace, parameters, a, scratch, ld)
    elif kind == PRELU:
        prelu_forward(&layers[i], workspace, parameters, a, scratch, ld)
    elif kind == PARAMETRIC:
        parametric_forward(&layers[i], workspace, parameters, a, scratch, ld)
    elif kind == GAUSSIAN_NOISE:
        if noise.training:
            gaussian_noise(&layers[i], i, workspace, a, scratch, rows, ld, noise)
    elif kind == NUMERIC_EMBEDDING:
        embedding_forward(&layers[i], workspace, parameters, a, scratch, ld)
    elif kind == PIECEWISE_EMBEDDING:
        piecewise_forward(&layers[i], workspace, parameters, a, scratch, ld)
    elif kind == CONVOLUTION:
        convolution_forward(&layers[i], workspace, parameters, a, scratch, room, ld, 0, layers[i].window.out_height,
                            stop)
    elif kind == MAX_POOL or kind == AVERAGE_POOL:
        pool_forward(&layers[i], workspace, a, scratch, ld)
    elif kind == BATCH_NORM:  # the slab is all rows where it needs them all
        slabs = make_slabs(workspace, rows, 0)
        batch_norm_forward(&layers[i], workspace, &slabs, parameters, a, scratch, 0, channels_of(&layers[i]),
                           over_rows(&layers[i], noise.training, rows), stop)


cdef inline bint layer_backward(const LayerSpec* layers, int i, const WorkspaceSpec* workspace, const real* parameters,
                                real* scratch, real* room, Py_ssize_t rows, Py_ssize_t ld, bint training, bint add,
                                real* delta, real* gradient, real* below, bint go_on,
                                const int32_t* stop) noexcept nogil:
    """The gradient of layer i (+ gradient if add) and, to `go_on`, dL/d(input): whether it stands in below or in delta.
    """
    cdef Slabs slabs
    if layers[i].kind == DENSE:
        dense_backward(&layers[i], workspace, parameters,
                       layer_input(layers, i, workspace, <const real*>scratch, training), scratch, rows, ld, add, delta,
                       gradient, below, go_on, stop)
        return True
    if layers[i].kind == CONVOLUTION:
        convolution_backward(&layers[i], workspace, parameters,
                             layer_input(layers, i, workspace, <const real*>scratch, training), scratch, room, rows,
                             ld, add, delta, gradient, below, go_on, stop)
        return True
    if layers[i].kind == MAX_POOL or layers[i].kind == AVERAGE_POOL:
        if go_on:
            pool_backward(&layers[i], workspace, <const real*>scratch, <const real*>delta, ld, below)
        return True
    if layers[i].kind == BATCH_NORM:
        slabs = make_slabs(workspace, rows, 0)
        batch_norm_backward(&layers[i], workspace, &slabs, parameters,
                            layer_input(layers, i, workspace, <const real*>scratch, training), scratch, delta, 0,
                            channels_of(&layers[i]), over_rows(&layers[i], training, rows), go_on, gradient, add, stop)
        return False
    layer_gradient(layers, i, workspace, parameters, <const real*>scratch, <const real*>delta, ld, training, 0,
                   channels_of(&layers[i]), gradient, add)
    if go_on:
        layer_delta(layers, i, workspace, parameters, scratch, delta, ld, training)
    return False


cdef inline void layer_gradient(const LayerSpec* layers, int i, const WorkspaceSpec* workspace, const real* parameters,
                                const real* scratch, const real* delta, Py_ssize_t ld, bint training, Py_ssize_t first,
                                Py_ssize_t end, real* gradient, bint add) noexcept nogil:
    """The gradient of the parameters of channels first .. end - 1 of a layer that is not dense, (+ gradient if add)."""
    cdef int kind = layers[i].kind
    cdef const real* a = layer_input(layers, i, workspace, scratch, training)
    if kind == SCALE:
        scale_gradient(&layers[i], a, delta, ld, first, end, gradient, add)
    elif kind == LAYER_NORM:
        layer_norm_gradient(&layers[i], workspace, scratch, delta, ld, first, end, gradient, add)
    elif kind == CATEGORY_EMBEDDING:
        category_gradient(&layers[i], a, delta, ld, first, end, gradient, add)
    elif kind == PRELU:
        prelu_gradient(&layers[i], a, delta, ld, first, end, gradient, add)
    elif kind == PARAMETRIC:
        parametric_gradient(&layers[i], workspace, scratch, delta, ld, first, end, gradient, add)
    elif kind == NUMERIC_EMBEDDING:
        embedding_gradient(&layers[i], workspace, parameters, scratch, a, delta, ld, first, end, gradient, add)
    elif kind == PIECEWISE_EMBEDDING:
        piecewise_gradient(&layers[i], workspace, parameters, scratch, a, delta, ld, first, end, gradient, add)


cdef inline void layer_delta(const LayerSpec* layers, int i, const WorkspaceSpec* workspace, const real* parameters,
                             real* scratch, real* delta, Py_ssize_t ld, bint training) noexcept nogil:
    """delta, dL/d(output) of a layer that is not dense, becomes dL/d(input), but for the branches that begin there."""
    cdef int kind = layers[i].kind
    cdef const real* a = layer_input(layers, i, workspace, <const real*>scratch, training)
    if kind == DROPOUT:
        if training:
            dropout_backward(&layers[i], workspace, <const real*>scratch, delta, ld)
    elif kind == SCALE:
        scale_backward(&layers[i], parameters, delta, ld)
    elif kind == ADD:
        add_backward(&layers[i], workspace, scratch, <const real*>delta, ld)
    elif kind == LAYER_NORM:
        layer_norm_backward(&layers[i], workspace, parameters, <const real*>scratch, delta, ld)
    elif kind == CATEGORY_EMBEDDING:
        category_backward(&layers[i], delta, ld)
    elif kind == PRELU:
        prelu_backward(&layers[i], parameters, a, delta, ld)
    elif kind == PARAMETRIC:
        parametric_backward(&layers[i], parameters, a, delta, ld)
    elif kind == NUMERIC_EMBEDDING:
        embedding_backward(&layers[i], parameters, a, delta, ld)
    elif kind == PIECEWISE_EMBEDDING:
        piecewise_backward(&layers[i], workspace, parameters, <const real*>scratch, a, delta, ld)


cdef inline const real* slab_forward(const LayerSpec* layers, int n_layers, const WorkspaceSpec* workspace,
                                     const real* parameters, real* scratch, Py_ssize_t rows, Noise noise,
                                     const SparseRows* sparse, const int32_t* stop) noexcept nogil:
    """Runs the input buffer (n_inputs, ld) through the layers; returns the raw output (n_outputs, ld), in scratch.

    With `sparse` rows (else NULL) there is no input buffer. Where `stop` ends it, the output is of no use.
    """
    cdef Py_ssize_t ld = padded(rows, parameters)
    cdef real* room = scratch + workspace.room * workspace.capacity
    cdef const real* a
    cdef int i, on_sparse = -1 if sparse == NULL else first_dense(layers)
    for i in range(n_layers):
        a = layer_input(layers, i, workspace, <const real*>scratch, noise.training)
        if i == on_sparse:
            sparse_forward(sparse, layers, i, workspace, parameters, scratch, rows, 0, layers[i].n_units)
        else:
            layer_forward(layers, i, workspace, parameters, a, scratch, room, rows, ld, noise, stop)
    return layer_input(layers, n_layers, workspace, <const real*>scratch, noise.training)


cdef inline const real* slab_backward(const LayerSpec* layers, int n_layers, const WorkspaceSpec* workspace,
                                      const real* parameters, real* scratch, Py_ssize_t rows, bint training, bint add,
                                      real* gradient, bint to_input, const SparseRows* sparse,
                                      const int32_t* stop) noexcept nogil:
    """gradient = dL/dparameters (+ gradient if add), from dL/d(output) (n_outputs, ld) in the delta buffer.

    Returns where dL/d(input) (n_inputs, ld) stands if it is asked for, which can't be with `sparse` rows. Where `stop`
    ends it, neither is of use.
    """
    cdef Py_ssize_t ld = padded(rows, parameters)
    cdef real* delta = scratch + workspace.delta * workspace.capacity
    cdef real* below = scratch + workspace.delta_next * workspace.capacity
    cdef real* room = scratch + workspace.room * workspace.capacity
    cdef int i, lowest = 0
    if not to_input:  # nobody asks for the gradient below the first layer with parameters
        lowest = first_with_parameters(layers)
    for i in range(n_layers - 1, lowest - 1, -1):
        if sparse != NULL and i == lowest:
            sparse_backward(sparse, layers, i, workspace, scratch, rows, add, delta, below, gradient)
        elif layer_backward(layers, i, workspace, parameters, scratch, room, rows, ld, training, add, delta, gradient,
                            below, i > lowest or to_input, stop):
            delta, below = below, delta
        if layers[i].branches and (i > lowest or to_input):
            add_branches(layers, i, workspace, <const real*>scratch, 0, layers[i].n_inputs, ld, delta)
    return <const real*>delta
