"""Rows of X that are given by their non-zeros (CSR), and the deltas of a layer by rows."""
from libc.stdint cimport int32_t, int64_t

from cnn_core.random cimport Noise
from cnn_core.types cimport real

cdef extern from "sparse.h" nogil:
    void cnn_prefetch(const void*)


# Some of the rows of a sparse X. Numbers indptr[i] .. indptr[i + 1] - 1 of `columns` and `values` (of the network's
# type) are those of its row i. Row r of a slab is row order[first + r] of X, or first + r if there is no order.
#
# Where there are staircases (stairs.pxd), the first n_stairs numbers of each row are those of one staircase each.
cdef struct SparseRows:
    const int64_t* indptr
    const int32_t* columns
    const void* values
    const int64_t* order
    Py_ssize_t first
    Noise noise             # of the dropouts below the layer
    Py_ssize_t n_stairs
    const int32_t* stairs   # (n_stairs, 2): the first input of each, ascending, and the one behind its last
    void* prefix            # (n_inputs, n_units): sums of rows of W, which whoever runs the layer has made


# Deltas by rows, `stride` apart, of `width` units side by side; those of the next units stand `apart` behind them.
cdef struct Panels:
    const void* start
    Py_ssize_t width
    Py_ssize_t apart
    Py_ssize_t stride


cdef inline const real* panel_of(const Panels* deltas, Py_ssize_t u, const real* kind) noexcept nogil:
    """Where the deltas of unit u stand; `kind` only tells their type."""
    return <const real*>deltas.start + u // deltas.width * deltas.apart + u % deltas.width


cdef inline SparseRows rows_from(const SparseRows* x, Py_ssize_t first, Noise noise) noexcept nogil:
    """The rows of a slab, of which the first one is that."""
    cdef SparseRows rows = x[0]
    rows.first, rows.noise = first, noise
    return rows


cdef inline int64_t row_of(const SparseRows* x, Py_ssize_t r) noexcept nogil:
    return x.order[x.first + r] if x.order != NULL else x.first + r


cdef inline int64_t stairs_at(const SparseRows* x, Py_ssize_t r) noexcept nogil:
    """Where the numbers of row r begin, those of staircases first."""
    return x.indptr[row_of(x, r)]


cdef inline int64_t numbers_at(const SparseRows* x, Py_ssize_t r) noexcept nogil:
    """Where those begin that are none of a staircase."""
    return x.indptr[row_of(x, r)] + x.n_stairs


cdef inline Py_ssize_t numbers_of(const SparseRows* x, Py_ssize_t r) noexcept nogil:
    """How many of them row r has."""
    return x.indptr[row_of(x, r) + 1] - numbers_at(x, r)


cdef inline void prefetch(const SparseRows* x, Py_ssize_t r, const real* kind) noexcept nogil:
    """Row r will be wanted soon; `kind` only tells the type of the values."""
    cdef int64_t begin = stairs_at(x, r)
    cnn_prefetch(x.columns + begin)
    cnn_prefetch(<const real*>x.values + begin)
