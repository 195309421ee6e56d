"""The first dense layer on sparse rows, seen by one thread of a team that shares out units (see wide.pxd)."""
from libc.stdint cimport int32_t, int64_t

from cnn_core.random cimport Noise
from cnn_core.slabs cimport Slabs, rows_of
from cnn_core.sparse cimport by_columns, sparse_forward, sparse_weights
from cnn_core.sparse_rows cimport Panels, SparseRows, rows_from
from cnn_core.stairs cimport stair_weights
from cnn_core.team cimport stopped
from cnn_core.tile cimport padded
from cnn_core.types cimport GROUP, LayerSpec, WorkspaceSpec, real
from cnn_core.wide cimport PANEL, column_sums, wide_dropouts


cdef inline bint wide_sparse_forward(const SparseRows* x, const LayerSpec* layers, int n_layers, int i,
                                     const WorkspaceSpec* workspace, const Slabs* slabs, Py_ssize_t batch_begin,
                                     const real* parameters, real* scratch, Noise noise, int thread, int n_threads,
                                     const int32_t* stop) noexcept nogil:
    """This thread's groups of units, slab after slab, and the dropouts above them; whether it was given up."""
    cdef Py_ssize_t n = layers[i].n_units, groups = (n + GROUP - 1) // GROUP, items = groups * slabs.n
    cdef Py_ssize_t item = items * thread // n_threads, last = items * (thread + 1) // n_threads, s, group, end
    cdef SparseRows rows
    cdef real* own
    while item < last:
        if stopped(stop):
            return True
        s, group = item // groups, item % groups
        end = min(groups, group + last - item)
        noise.row = slabs.above + s * slabs.capacity
        rows = rows_from(x, batch_begin + s * slabs.capacity, noise)
        own = scratch + s * slabs.stride
        sparse_forward(&rows, layers, i, workspace, parameters, own, rows_of(slabs, s), group * GROUP,
                       min(n, end * GROUP))
        wide_dropouts(layers, n_layers, i + 1, workspace, own, group * GROUP, min(n, end * GROUP), rows_of(slabs, s),
                      padded(rows_of(slabs, s), parameters), noise)
        item += end - group
    return False


cdef inline bint wide_sparse_weights(const SparseRows* x, const LayerSpec* layers, int i, const Slabs* slabs,
                                     Py_ssize_t batch_begin, const real* transposed, real* gradient, Noise noise,
                                     int thread, int n_threads, const int32_t* stop) noexcept nogil:
    """This thread's share of dW += x delta' and db, over all slabs; whether it was given up."""
    cdef const LayerSpec* layer = &layers[i]
    cdef Py_ssize_t n = layer.n_units, panels = (n + PANEL - 1) // PANEL, panel, s
    cdef SparseRows rows = rows_from(x, batch_begin, noise)
    cdef bint by_column = by_columns(&rows, layer, i > 0 and noise.training, slabs.rows, slabs.n, n_threads, transposed)
    cdef Panels deltas
    deltas.width, deltas.stride, deltas.apart = PANEL, PANEL, PANEL * slabs.transposed_rows
    for s in range(slabs.n):
        if stopped(stop):
            return True
        noise.row = slabs.above + s * slabs.capacity
        deltas.start = transposed + s * slabs.capacity * PANEL
        rows = rows_from(x, batch_begin + s * slabs.capacity, noise)
        sparse_weights(&rows, layers, i, &deltas, rows_of(slabs, s), by_column, thread, n_threads, gradient)
    rows, deltas.start = rows_from(x, batch_begin, noise), transposed
    stair_weights(&rows, layer, &deltas, slabs.rows, False, thread, n_threads, gradient)
    for panel in range(panels * thread // n_threads, panels * (thread + 1) // n_threads if layer.biases >= 0 else 0):
        column_sums(slabs, transposed + panel * PANEL * slabs.transposed_rows,
                    min(n - panel * PANEL, <Py_ssize_t>PANEL), gradient + layer.biases + panel * PANEL)
    return False
