"""Staircases in sparse rows: many inputs of the first dense layer, of which a row names one number.

A staircase is a range of inputs. Where a row's number z stands at its input j, the inputs below j are 1, input j is z
and those above are 0: so its product with W is C_j + z W_j, C_j being the sum of W's rows below j. On the way back dW_i
is the sum of z delta over the rows whose number stands at i, and of delta over those whose number stands above it. So a
staircase of any height costs two rows of W, and what W itself takes once a step.
"""
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from cnn_core.sparse_rows cimport Panels, SparseRows, panel_of, stairs_at
from cnn_core.types cimport GROUP, LayerSpec, real
from cnn_core.vecmath cimport loop

cdef enum:
    HIGHEST = 4096      # inputs of a staircase, at most
    STAIR_ROWS = 4096   # rows that are sorted by their input at a time

cdef extern from "sparse.h" nogil:
    void cnn_add_stairsf(Py_ssize_t, const float*, const int32_t*, const float*, const float*, Py_ssize_t, Py_ssize_t,
                         const float*, float*)
    void cnn_add_stairs(Py_ssize_t, const double*, const int32_t*, const double*, const double*, Py_ssize_t, Py_ssize_t,
                        const double*, double*)
    void cnn_stair_weightsf(Py_ssize_t, const int32_t*, const int32_t*, const float*, const float*, Py_ssize_t,
                            Py_ssize_t, bint, float*, Py_ssize_t)
    void cnn_stair_weights(Py_ssize_t, const int32_t*, const int32_t*, const double*, const double*, Py_ssize_t,
                           Py_ssize_t, bint, double*, Py_ssize_t)


cdef inline Py_ssize_t prefix_elements(const SparseRows* x, const LayerSpec* layer) noexcept nogil:
    """Elements of the sums of rows of W."""
    return <Py_ssize_t>layer.n_inputs * layer.n_units if x.n_stairs else 0


cdef inline loop sum_below(real* sums, const real* below, const real* w, Py_ssize_t n) noexcept nogil:
    for i in range(n):
        sums[i] = below[i] + w[i]


cdef inline void stair_sums(const SparseRows* x, const LayerSpec* layer, const real* parameters, int thread,
                            int n_threads) noexcept nogil:
    """This thread's share of C: some groups of units of each staircase."""
    cdef Py_ssize_t n = layer.n_units, groups = (n + GROUP - 1) // GROUP, items = groups * x.n_stairs
    cdef Py_ssize_t item = items * thread // n_threads, last = items * (thread + 1) // n_threads, s, u, units, end
    cdef const real* w = parameters + layer.weights
    cdef real* sums
    cdef int64_t i
    while item < last:
        s, u = item // groups, item % groups * GROUP
        end = min(groups, item % groups + last - item)
        units = min(n, end * GROUP) - u
        sums = <real*>x.prefix + u
        memset(sums + x.stairs[2 * s] * n, 0, units * sizeof(real))
        for i in range(x.stairs[2 * s] + 1, x.stairs[2 * s + 1]):
            sum_below(sums + i * n, <const real*>(sums + (i - 1) * n), w + u + (i - 1) * n, units)
        item += end - item % groups


cdef inline void add_stairs(const SparseRows* x, Py_ssize_t r, const real* w, const real* sums, Py_ssize_t ld,
                            Py_ssize_t n, const real* start, real* y) noexcept nogil:
    """y (n,) = start (NULL: 0) + C_j + z W_j of each staircase of row r, in their order."""
    cdef int64_t at = stairs_at(x, r)
    if real is float:
        cnn_add_stairsf(x.n_stairs, <const float*>x.values + at, x.columns + at, w, sums, ld, n, start, y)
    else:
        cnn_add_stairs(x.n_stairs, <const double*>x.values + at, x.columns + at, w, sums, ld, n, start, y)


cdef inline void stair_weights(const SparseRows* x, const LayerSpec* layer, const Panels* deltas, Py_ssize_t rows,
                               bint add, int thread, int n_threads, real* gradient) noexcept nogil:
    """This thread's share of dW = x delta' (+ dW if add) of all staircases: some panels of units of each."""
    cdef Py_ssize_t panels = (layer.n_units + deltas.width - 1) // deltas.width, items = panels * x.n_stairs, s, panel
    cdef Py_ssize_t item = items * thread // n_threads, last = items * (thread + 1) // n_threads, end, first
    while item < last:
        s, panel = item // panels, item % panels
        end, first = min(panels, panel + last - item), 0
        while first < rows:
            weights_of_stair(x, layer, s, deltas, first, min(rows, first + STAIR_ROWS), add or first > 0,
                             panel * deltas.width, min(<Py_ssize_t>layer.n_units, end * deltas.width), gradient)
            first += STAIR_ROWS
        item += end - panel


cdef inline void weights_of_stair(const SparseRows* x, const LayerSpec* layer, Py_ssize_t s, const Panels* deltas,
                                  Py_ssize_t first, Py_ssize_t last, bint add, Py_ssize_t u, Py_ssize_t end,
                                  real* gradient) noexcept nogil:
    """Units u .. end - 1 of staircase s, of rows first .. last - 1, which are sorted by their input before."""
    cdef int32_t begin = x.stairs[2 * s], height = x.stairs[2 * s + 1] - begin, c
    cdef int32_t starts[HIGHEST + 2]
    cdef int32_t index[STAIR_ROWS]
    cdef real z[STAIR_ROWS]
    cdef Py_ssize_t r, n = layer.n_units, units
    cdef real* dw
    cdef const real* d
    memset(starts, 0, (height + 2) * sizeof(int32_t))
    for r in range(first, last):
        starts[x.columns[stairs_at(x, r) + s] - begin + 2] += 1
    for c in range(2, height + 1):
        starts[c + 1] += starts[c]
    for r in range(first, last):
        c = x.columns[stairs_at(x, r) + s] - begin + 1
        index[starts[c]], z[starts[c]] = <int32_t>r, (<const real*>x.values)[stairs_at(x, r) + s]
        starts[c] += 1
    while u < end:  # starts[c] .. starts[c + 1] - 1 are now those of input c
        d, dw = panel_of(deltas, u, <const real*>z), gradient + layer.weights + begin * n + u
        units = min(end - u, deltas.width)
        if real is float:
            cnn_stair_weightsf(height, starts, index, z, d, deltas.stride, units, add, dw, n)
        else:
            cnn_stair_weights(height, starts, index, z, d, deltas.stride, units, add, dw, n)
        u += units
