"""Prediction: a few rows at a time stored by rows, many in tiles stored by features. No policy, no threads.

Both ways give the same bits where the compiler has vector types: an output is one sum in the order of the inputs, from
the bias on, and functions are taken of whole vectors.
"""
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memset

from cnn_core.activations cimport activation_forward
from cnn_core.layer cimport layer_input, slab_forward
from cnn_core.links cimport link_block, link_rows
from cnn_core.losses cimport loss_link
from cnn_core.random cimport Noise, noise_of
from cnn_core.slabs cimport Slabs, make_slabs, rows_of
from cnn_core.sparse cimport first_dense
from cnn_core.sparse_rows cimport SparseRows, rows_from
from cnn_core.sparse_wide cimport wide_sparse_forward
from cnn_core.team cimport stopped
from cnn_core.tile cimport CNN_VECTORS, gather, padded, scatter
from cnn_core.types cimport DENSE, LayerSpec, WorkspaceSpec, real
from cnn_core.update cimport not_finite
from cnn_core.vecmath cimport loop, v_exp
from cnn_core.wide cimport weights_of, wide_forward, wide_slabs_forward

cdef enum:
    FEW = 8     # rows up to which they are stored by rows: vectors then run along the units, and none is left empty
    LARGE = 1 << 21             # bytes of weights that an L2 cache no longer holds: some tiles then share each block
    MOST_TILES = 8              # that do so at once
    MOST_ELEMENTS = 1 << 20     # of all their buffers


# A few rows -----------------------------------------------------------------------------------------------------------

cdef inline void add_rows(const int count, const real* x, const real* w, Py_ssize_t n, real* y) noexcept nogil:
    """y (n,) += x[0] w[0] + x[1] w[1] + ... for `count` rows of w (count, n), in this order."""
    cdef Py_ssize_t j
    cdef int k
    cdef real s
    for j in range(n):
        s = y[j]
        for k in range(count):
            s += x[k] * w[k * n + j]
        y[j] = s

cdef inline loop add_8_rows(const real* x, const real* w, Py_ssize_t n, real* y) noexcept nogil:
    add_rows(8, x, w, n, y)

cdef inline loop add_4_rows(const real* x, const real* w, Py_ssize_t n, real* y) noexcept nogil:
    add_rows(4, x, w, n, y)

cdef inline loop add_1_row(const real* x, const real* w, Py_ssize_t n, real* y) noexcept nogil:
    add_rows(1, x, w, n, y)


cdef inline void few_dense(const LayerSpec* layer, const real* parameters, const real* x, Py_ssize_t ldx,
                           Py_ssize_t rows, real* y) noexcept nogil:
    """y (rows, n_units padded) = f(x W + b) for x (rows, ldx); W, read once, is the most of the work."""
    cdef Py_ssize_t n = layer.n_units, m = layer.n_inputs, ldy = padded(n, parameters), r, k = 0
    cdef const real* w = parameters + layer.weights
    memset(y, 0, rows * ldy * sizeof(real))
    if layer.biases >= 0:
        for r in range(rows):
            memcpy(y + r * ldy, parameters + layer.biases, n * sizeof(real))
    while k + 8 <= m:
        for r in range(rows):
            add_8_rows(x + r * ldx + k, w + k * n, n, y + r * ldy)
        k += 8
    if k + 4 <= m:
        for r in range(rows):
            add_4_rows(x + r * ldx + k, w + k * n, n, y + r * ldy)
        k += 4
    while k < m:
        for r in range(rows):
            add_1_row(x + r * ldx + k, w + k * n, n, y + r * ldy)
        k += 1
    activation_forward(layer.activation, <const real*>y, y, rows * ldy, <real>layer.alpha)


cdef inline Py_ssize_t few_scratch(const LayerSpec* layers, int n_layers, Py_ssize_t rows,
                                   const real* kind) noexcept nogil:
    """Elements of scratch memory that `predict_few` needs; `kind` only tells their type."""
    cdef Py_ssize_t widest = 0
    cdef int i
    for i in range(n_layers):
        widest = max(widest, <Py_ssize_t>layers[i].n_units)
    return 2 * rows * padded(widest, kind)


cdef inline void predict_few(const LayerSpec* layers, int n_layers, const real* parameters, const real* x,
                             Py_ssize_t rows, int loss, real* scratch, real* out) noexcept nogil:
    """out (rows, n_outputs) from x (rows, n_inputs), both without padding; raw for loss -1, else with that loss's link.

    `out` is written last, so it may be x.
    """
    cdef Py_ssize_t n = layers[n_layers - 1].n_units, ld = layers[0].n_inputs, r
    cdef real* y = scratch
    cdef real* other = scratch + few_scratch(layers, n_layers, rows, parameters) // 2
    cdef int i
    for i in range(n_layers):
        if layers[i].kind == DENSE:
            few_dense(&layers[i], parameters, x, ld, rows, y)
            x, ld = y, padded(layers[i].n_units, parameters)
            y, other = other, y
    if loss >= 0:
        link_rows(loss_link(loss), other, y, rows, n, ld)
    for r in range(rows):
        memcpy(out + r * n, x + r * ld, n * sizeof(real))


# Many rows ------------------------------------------------------------------------------------------------------------

cdef inline Py_ssize_t tiles_at_once(const LayerSpec* layers, int n_layers, const WorkspaceSpec* workspace,
                                     const real* kind) noexcept nogil:
    """How many tiles a thread takes through a layer before the next one, at most; `kind` only tells their type."""
    if not CNN_VECTORS or weights_of(layers, n_layers) * <int64_t>sizeof(real) < LARGE:
        return 1
    return max(1, min(<Py_ssize_t>MOST_TILES, MOST_ELEMENTS // max(1, workspace.columns * workspace.capacity)))


cdef inline bint predict_tiles(const LayerSpec* layers, int n_layers, const WorkspaceSpec* workspace,
                               const real* parameters, const real* x, const SparseRows* sparse, Py_ssize_t n, int loss,
                               Py_ssize_t at_once, real* scratch, real* out, int thread, int n_threads,
                               const int32_t* stop) noexcept nogil:
    """This thread's share of the tiles; whether all of their x is finite. Tiles are cut by sizes alone.

    The rows are in `sparse` if x is NULL; those are known to be finite. `scratch` has room for `at_once` tiles. Where
    `stop` ends it, the rest of `out` is of no use.
    """
    cdef Py_ssize_t capacity = workspace.capacity, tiles = (n + capacity - 1) // capacity, s, first, rows, ld
    cdef Py_ssize_t tile = tiles * thread // n_threads, last = tiles * (thread + 1) // n_threads
    cdef Py_ssize_t n_in = layers[0].n_inputs, n_out = layers[n_layers - 1].n_units
    cdef const real* output
    cdef real* own
    cdef bint finite = True
    cdef SparseRows few
    cdef Slabs slabs
    cdef Noise noise = noise_of(False, 0, 0)
    while tile < last and not stopped(stop):
        first = tile * capacity
        slabs = make_slabs(workspace, min(n - first, min(at_once, last - tile) * capacity), 0)
        for s in range(slabs.n if x != NULL else 0):
            ld = padded(rows_of(&slabs, s), parameters)
            own = scratch + s * slabs.stride + workspace.input * capacity
            gather(rows_of(&slabs, s), ld, n_in, x, <const int64_t*>NULL, first + s * capacity, own)
            finite &= not not_finite(<const real*>own, n_in * ld)
        if at_once > 1:
            forward_tiles(layers, n_layers, workspace, &slabs, parameters, sparse if x == NULL else NULL, first,
                          scratch, noise, stop)
        else:
            if x == NULL:
                few = rows_from(sparse, first, noise)
            slab_forward(layers, n_layers, workspace, parameters, scratch, slabs.rows, noise,
                         &few if x == NULL else NULL, stop)
        for s in range(slabs.n):
            rows = rows_of(&slabs, s)
            ld = padded(rows, parameters)
            output = layer_input(layers, n_layers, workspace, <const real*>(scratch + s * slabs.stride), False)
            if loss >= 0:
                link_block(loss_link(loss), output, <real*>output, n_out, ld)
            if n_out == 1:
                memcpy(out + first + s * capacity, output, rows * sizeof(real))
            else:
                scatter(rows, ld, n_out, output, <const int64_t*>NULL, first + s * capacity, out)
        tile += slabs.n
    return finite


cdef inline void forward_tiles(const LayerSpec* layers, int n_layers, const WorkspaceSpec* workspace,
                               const Slabs* slabs, const real* parameters, const SparseRows* sparse, Py_ssize_t first,
                               real* scratch, Noise noise, const int32_t* stop) noexcept nogil:
    """A layer for all slabs before the next one; the rows from `first` on are in `sparse` unless that is NULL."""
    cdef int i, on_sparse = -1 if sparse == NULL else first_dense(layers)
    for i in range(n_layers):
        if i == on_sparse:
            wide_sparse_forward(sparse, layers, n_layers, i, workspace, slabs, first, parameters, scratch, noise, 0, 1,
                                stop)
        elif layers[i].kind == DENSE:
            wide_forward(layers, n_layers, i, workspace, slabs, parameters, scratch, noise, 0, 1, stop)
        elif on_sparse < i:
            wide_slabs_forward(layers, i, i + 1, workspace, slabs, parameters, scratch, noise, 0, 1, stop)
