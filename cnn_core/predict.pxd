"""Prediction of many rows: in tiles stored by features, or row by row (`predict_few`). No policy, no threads."""
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memcpy

from cnn_core.dense_rows cimport DenseRows, from_bytes, gather_rows
from cnn_core.few cimport FEW, few_buffers, few_scratch, most_of, predict_few
from cnn_core.few_dense cimport Place, alone, place_of
from cnn_core.layer cimport layer_input, slab_forward
from cnn_core.links cimport link_block
from cnn_core.losses cimport loss_link
from cnn_core.random cimport Noise, noise_of
from cnn_core.slabs cimport Slabs, make_slabs, rows_of
from cnn_core.sparse cimport first_dense
from cnn_core.sparse_rows cimport SparseRows, rows_from
from cnn_core.sparse_wide cimport wide_sparse_forward
from cnn_core.team cimport Barrier, barrier, stopped
from cnn_core.tile cimport CNN_VECTORS, padded, scatter
from cnn_core.types cimport DENSE, GROUP, LayerSpec, WorkspaceSpec, real
from cnn_core.update cimport not_finite
from cnn_core.wide cimport weights_of, wide_forward, wide_slabs_forward

cdef enum:
    LARGE = 1 << 21             # bytes of weights that an L2 cache no longer holds: some tiles then share each block
    MOST_TILES = 8              # that do so at once
    MOST_ELEMENTS = 1 << 20     # of all their buffers
    TOGETHER = 1 << 17          # numbers of the buffers of rows that go through the layers together, row by row


cdef inline Py_ssize_t tiles_at_once(const LayerSpec* layers, int n_layers, const WorkspaceSpec* workspace,
                                     const real* kind) noexcept nogil:
    """How many tiles a thread takes through a layer before the next one, at most; `kind` only tells their type."""
    if not CNN_VECTORS or weights_of(layers, n_layers) * <int64_t>sizeof(real) < LARGE:
        return 1
    return max(1, min(<Py_ssize_t>MOST_TILES, MOST_ELEMENTS // max(1, workspace.columns * workspace.capacity)))


cdef inline bint predict_tiles(const LayerSpec* layers, int n_layers, const WorkspaceSpec* workspace,
                               const real* parameters, DenseRows x, const SparseRows* sparse, Py_ssize_t n, int loss,
                               Py_ssize_t at_once, real* scratch, real* out, int thread, int n_threads,
                               const int32_t* stop) noexcept nogil:
    """This thread's share of the tiles; whether all of their x is finite. Tiles are cut by sizes alone.

    The rows are in `sparse` if x has none; those are known to be finite. `scratch` has room for `at_once` tiles. Where
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
        for s in range(slabs.n if x.at != NULL else 0):
            ld = padded(rows_of(&slabs, s), parameters)
            own = scratch + s * slabs.stride + workspace.input * capacity
            gather_rows(x, rows_of(&slabs, s), ld, n_in, <const int64_t*>NULL, first + s * capacity, own)
            finite &= not not_finite(<const real*>own, n_in * ld)
        if at_once > 1:
            forward_tiles(layers, n_layers, workspace, &slabs, parameters, sparse if x.at == NULL else NULL, first,
                          scratch, noise, stop)
        else:
            if x.at == NULL:
                few = rows_from(sparse, first, noise)
            slab_forward(layers, n_layers, workspace, parameters, scratch, slabs.rows, noise,
                         &few if x.at == NULL else NULL, stop)
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
            wide_slabs_forward(layers, i, i + 1, workspace, slabs, parameters, scratch,
                               scratch + workspace.room * workspace.capacity, noise, 0, 1, stop)


cdef inline Py_ssize_t rows_together(const LayerSpec* layers, int n_layers, const real* kind) noexcept nogil:
    """How many rows go through the layers together: W is read once for them, and their buffers stay in L2."""
    return max(1, min(<Py_ssize_t>FEW, TOGETHER // few_buffers(layers, n_layers, 1, kind)))


cdef inline Py_ssize_t whole_lines(Py_ssize_t n) noexcept nogil:
    """n elements rounded up to whole lines of cache."""
    return (n + GROUP - 1) // GROUP * GROUP


cdef inline Py_ssize_t apart_scratch(const LayerSpec* layers, int n_layers, Py_ssize_t together,
                                     const real* kind) noexcept nogil:
    """Elements of scratch memory that `predict_apart` needs for each thread: the rows as numbers, and their buffers."""
    return (whole_lines(together * layers[0].n_inputs)
            + whole_lines(few_scratch(layers, n_layers, together, 1, kind)))


cdef inline Py_ssize_t team_scratch(const LayerSpec* layers, int n_layers, Py_ssize_t rows, Py_ssize_t together,
                                    int n_threads, const real* kind) noexcept nogil:
    """Elements for all of a team, or a smaller one: groups of rows that are there, and what threads need for one."""
    cdef Py_ssize_t groups = max(<Py_ssize_t>1, min((rows + together - 1) // together, <Py_ssize_t>n_threads))
    return (groups * apart_scratch(layers, n_layers, together, kind)
            + whole_lines(n_threads * most_of(layers, n_layers, False)))


cdef inline bint predict_apart(const LayerSpec* layers, int n_layers, const real* parameters, DenseRows x,
                               Py_ssize_t n, int loss, Py_ssize_t together, real* scratch, real* out, int thread,
                               int n_threads, Barrier* gate, const int32_t* stop) noexcept nogil:
    """out (n, n_outputs) by `predict_few` for `together` rows at a time; whether all x that this thread saw is finite.

    Each thread has as many of these groups as all others, and those that are left over are shared out themselves.
    Where `stop` ends it, the rest of `out` is of no use.
    """
    cdef Py_ssize_t n_in = layers[0].n_inputs, n_out = layers[n_layers - 1].n_units, rows, first
    cdef Py_ssize_t stride = apart_scratch(layers, n_layers, together, parameters)
    cdef Py_ssize_t buffers = whole_lines(together * n_in)
    cdef Py_ssize_t groups = (n + together - 1) // together, each = groups // n_threads, group
    cdef real* own = scratch + thread * stride
    cdef const real* a
    cdef bint finite = True
    cdef Place place = place_of(thread, n_threads, gate, stop), by_itself = alone(stop)
    for group in range(each * thread, each * (thread + 1)):
        if stopped(stop):
            break
        first = group * together
        rows = min(n - first, together)
        a = numbers_of(x, first * n_in, 0, rows * n_in, own, &finite)
        predict_few(layers, n_layers, parameters, a, rows, loss, own + buffers, out + first * n_out, &by_itself)
    if groups == each * n_threads:
        return finite
    barrier(gate, n_threads)  # what follows works in the memory of all
    for group in range(each * n_threads, groups):
        first = group * together
        rows = min(n - first, together)
        a = numbers_of(x, first * n_in, rows * n_in * thread // n_threads, rows * n_in * (thread + 1) // n_threads,
                       scratch, &finite)
        barrier(gate, n_threads)
        predict_few(layers, n_layers, parameters, a, rows, loss, scratch + buffers, out + first * n_out, &place)
    return finite


cdef inline const real* numbers_of(DenseRows x, Py_ssize_t begin, Py_ssize_t first, Py_ssize_t end, real* room,
                                   bint* finite) noexcept nogil:
    """Where x stands from element `begin` on as numbers: in `room`, if they were bytes.

    This thread looks at, or writes, first .. end - 1 of them.
    """
    if x.bytes:
        from_bytes(<const uint8_t*>x.at + begin + first, end - first, room + first)
        return room
    finite[0] = finite[0] and not not_finite(<const real*>x.at + begin + first, end - first)
    return <const real*>x.at + begin
