"""The first dense layer of rows that are given by their non-zeros (CSR): no X by units is made, zeros cost nothing.

A row's sum runs over its non-zeros in the order in which they stand, so it has the same bits wherever the units or the
rows are cut, and those of the dense layer where the columns ascend. A column may stand in a row twice: its numbers add
up, as SciPy has it.
"""
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from cnn_core.activations cimport activation_backward, activation_forward
from cnn_core.random cimport LANES, dropout_values
from cnn_core.sparse_rows cimport Panels, SparseRows, numbers_at, numbers_of, panel_of, prefetch
from cnn_core.stairs cimport add_stairs, stair_weights
from cnn_core.tile cimport gather, padded, transpose
from cnn_core.types cimport DENSE, GROUP, LayerSpec, WorkspaceSpec, real

cdef enum:
    AHEAD = 8   # rows whose numbers are fetched before their turn, for shuffled rows lie anywhere
    # Non-zeros that are sorted by columns at a time, before they are added to dW: of so many columns at most, so many
    # to a column, and rows of dW of so many bytes; else it costs more than it saves.
    SORTED = 8192
    SORTED_COLUMNS = 4096
    SORTED_SHARE = 4
    SORTED_BYTES = 384

cdef extern from "sparse.h" nogil:
    void cnn_add_rowsf(Py_ssize_t, const float*, const int32_t*, const float*, Py_ssize_t, Py_ssize_t, const float*,
                       float*)
    void cnn_add_rows(Py_ssize_t, const double*, const int32_t*, const double*, Py_ssize_t, Py_ssize_t, const double*,
                      double*)
    void cnn_add_to_rowsf(Py_ssize_t, const float*, const int32_t*, const float*, Py_ssize_t, float*, Py_ssize_t)
    void cnn_add_to_rows(Py_ssize_t, const double*, const int32_t*, const double*, Py_ssize_t, double*, Py_ssize_t)


cdef inline void add_rows(Py_ssize_t count, const real* x, const int32_t* index, const real* w, Py_ssize_t ldw,
                          Py_ssize_t n, const real* start, real* y) noexcept nogil:
    """y (n,) = start (NULL: 0) + x[0] w[index[0]] + x[1] w[index[1]] + ..., in this order; w (any, ldw)."""
    if real is float:
        cnn_add_rowsf(count, x, index, w, ldw, n, start, y)
    else:
        cnn_add_rows(count, x, index, w, ldw, n, start, y)


cdef inline void add_to_rows(Py_ssize_t count, const real* x, const int32_t* index, const real* d, Py_ssize_t n,
                             real* w, Py_ssize_t ldw) noexcept nogil:
    """w[index[k]] (n,) += x[k] d for `count` rows of w (any, ldw), in this order."""
    if real is float:
        cnn_add_to_rowsf(count, x, index, d, n, w, ldw)
    else:
        cnn_add_to_rows(count, x, index, d, n, w, ldw)


cdef inline int first_dense(const LayerSpec* layers) noexcept nogil:
    """The lowest dense layer; below it are dropouts."""
    cdef int i = 0
    while layers[i].kind != DENSE:
        i += 1
    return i


cdef inline Py_ssize_t take(const SparseRows* x, Py_ssize_t r, Py_ssize_t done, const LayerSpec* layers, int i,
                            const int32_t** columns, const real** values, real* masked) noexcept nogil:
    """The numbers of row r but those of staircases and the first `done`, seen through the dropouts below layer i.

    Returns how many, with their columns: 0 at the end of the row. With dropouts they are at most LANES, and stand in
    `masked`.
    """
    cdef int64_t begin = numbers_at(x, r) + done
    cdef Py_ssize_t count = numbers_of(x, r) - done, k
    cdef int j
    columns[0] = x.columns + begin
    values[0] = <const real*>x.values + begin
    if i > 0 and x.noise.training:
        count = min(count, <Py_ssize_t>LANES)
        for k in range(count):
            masked[k] = values[0][k]
        for j in range(i):
            dropout_values(x.noise, j, columns[0], r, layers[j].rate * x.noise.factor, masked, count)
        values[0] = masked
    return count


# Forward --------------------------------------------------------------------------------------------------------------

cdef inline void sparse_row(const SparseRows* x, Py_ssize_t r, const LayerSpec* layers, int i, const real* weights,
                            const real* sums, const real* biases, Py_ssize_t units, real* y) noexcept nogil:
    """y (units,) = row r times W, from its column `weights` on, + biases (NULL: 0); `sums`: those of staircases."""
    cdef Py_ssize_t done = 0, count
    cdef const int32_t* columns
    cdef const real* values
    cdef real masked[LANES]
    if x.n_stairs:
        add_stairs(x, r, weights, sums, layers[i].n_units, units, biases, y)
        biases = y
    while True:
        count = take(x, r, done, layers, i, &columns, &values, masked)
        if count == 0 and (done > 0 or x.n_stairs):
            return
        add_rows(count, values, columns, weights, layers[i].n_units, units, biases if done == 0 else y, y)
        if count == 0:
            return
        done += count


cdef inline void sparse_forward(const SparseRows* x, const LayerSpec* layers, int i, const WorkspaceSpec* workspace,
                                const real* parameters, real* scratch, Py_ssize_t rows, Py_ssize_t u,
                                Py_ssize_t end) noexcept nogil:
    """z = W' x + b, output = f(z) for units u .. end - 1 of a slab; they are summed by rows, where the deltas will be.
    """
    cdef const LayerSpec* layer = &layers[i]
    cdef Py_ssize_t ld = padded(rows, parameters), units = end - u, r
    cdef real* output = scratch + layer.output * workspace.capacity + u * ld
    cdef real* z = output if layer.saved < 0 else scratch + layer.saved * workspace.capacity + u * ld
    cdef const real* biases = parameters + layer.biases + u if layer.biases >= 0 else NULL
    cdef const real* sums = <const real*>x.prefix + u if x.n_stairs else NULL
    cdef real* by_rows = scratch + workspace.delta_next * workspace.capacity + u * ld
    for r in range(min(rows, <Py_ssize_t>AHEAD)):
        prefetch(x, r, parameters)
    for r in range(rows):
        if r + AHEAD < rows:
            prefetch(x, r + AHEAD, parameters)
        sparse_row(x, r, layers, i, parameters + layer.weights + u, sums, biases, units, by_rows + r * units)
    gather(rows, ld, units, <const real*>by_rows, <const int64_t*>NULL, 0, z)
    activation_forward(layer.activation, <const real*>z, output, units * ld, <real>layer.alpha)


# Backward -------------------------------------------------------------------------------------------------------------

cdef inline bint by_columns(const SparseRows* x, const LayerSpec* layer, bint masked, Py_ssize_t rows,
                            Py_ssize_t pieces, int n_threads, const real* kind) noexcept nogil:
    """Whether dW is summed column by column over a piece of the rows at a time; else row by row.

    Either way a number of dW is one sum in the order of the rows. By columns each is loaded and stored once for a
    piece, and threads share out columns: by rows they share out units, and where a row of dW is no whole number of
    cache lines one line in each belongs to two threads. `kind` only tells the type.
    """
    cdef Py_ssize_t m = layer.n_inputs, r, count, total = 0
    if masked or m > SORTED_COLUMNS or (layer.n_units * <Py_ssize_t>sizeof(real) < SORTED_BYTES and n_threads == 1):
        return False
    for r in range(rows):
        count = numbers_of(x, r)
        if count > SORTED:
            return False
        total += count
    return total >= SORTED_SHARE * m * max(pieces, total // SORTED)


cdef inline void zero_weights(const SparseRows* x, const LayerSpec* layer, int thread, int n_threads,
                              real* gradient) noexcept nogil:
    """This thread's share of dW = 0 but for staircases: most of it stays so. In one piece, as memory does it fastest.
    """
    cdef int64_t n = layer.n_units, begin = 0, size
    cdef Py_ssize_t s
    for s in range(x.n_stairs + 1):
        size = ((x.stairs[2 * s] if s < x.n_stairs else layer.n_inputs) - begin) * n
        memset(gradient + layer.weights + begin * n + size * thread // n_threads, 0,
               (size * (thread + 1) // n_threads - size * thread // n_threads) * sizeof(real))
        if s < x.n_stairs:
            begin = x.stairs[2 * s + 1]


cdef inline void sparse_weights(const SparseRows* x, const LayerSpec* layers, int i, const Panels* deltas,
                                Py_ssize_t rows, bint by_column, int thread, int n_threads,
                                real* gradient) noexcept nogil:
    """This thread's share of dW += x delta' of a slab: some columns, or some groups of units."""
    cdef Py_ssize_t n = layers[i].n_units, groups = (n + GROUP - 1) // GROUP, r = 0, first, count
    cdef int64_t m = layers[i].n_inputs
    if not by_column:
        weights_by_rows(x, layers, i, deltas, rows, groups * thread // n_threads * GROUP,
                        min(n, groups * (thread + 1) // n_threads * GROUP), gradient)
        return
    while r < rows:
        first, count = r, 0
        while r < rows and count + numbers_of(x, r) <= SORTED:
            count += numbers_of(x, r)
            r += 1
        weights_by_columns(x, &layers[i], deltas, first, r, <int32_t>(m * thread // n_threads),
                           <int32_t>(m * (thread + 1) // n_threads), gradient)


cdef inline void weights_by_rows(const SparseRows* x, const LayerSpec* layers, int i, const Panels* deltas,
                                 Py_ssize_t rows, Py_ssize_t u, Py_ssize_t end, real* gradient) noexcept nogil:
    """dW += x delta' of units u .. end - 1, row by row of the slab."""
    cdef Py_ssize_t n = layers[i].n_units, r, v, stop, done, count
    cdef const int32_t* columns
    cdef const real* values
    cdef real masked[LANES]
    for r in range(rows if u < end else 0):
        done = 0
        while True:
            count = take(x, r, done, layers, i, &columns, &values, masked)
            if count == 0:
                break
            v = u
            while v < end:
                stop = min(end, (v // deltas.width + 1) * deltas.width)
                add_to_rows(count, <const real*>values, columns, panel_of(deltas, v, values) + r * deltas.stride,
                            stop - v, gradient + layers[i].weights + v, n)
                v = stop
            done += count


cdef inline void weights_by_columns(const SparseRows* x, const LayerSpec* layer, const Panels* deltas,
                                    Py_ssize_t first, Py_ssize_t last, int32_t begin, int32_t end,
                                    real* gradient) noexcept nogil:
    """dW += x delta' of columns begin .. end - 1, by columns; rows first .. last - 1 have SORTED numbers at most."""
    cdef Py_ssize_t n = layer.n_units, r, k, u = 0
    cdef int32_t to[SORTED_COLUMNS]
    cdef int32_t index[SORTED]
    cdef real values[SORTED]
    cdef int32_t c, at = 0, count
    cdef const int32_t* columns
    cdef const real* numbers
    cdef real* dw
    memset(to, 0, sizeof(to))
    for r in range(first, last):
        columns = x.columns + numbers_at(x, r)
        for k in range(numbers_of(x, r)):
            to[columns[k]] += 1
    for c in range(begin, end):
        count, to[c] = to[c], at
        at += count
    for r in range(first, last):
        columns = x.columns + numbers_at(x, r)
        numbers = <const real*>x.values + numbers_at(x, r)
        for k in range(numbers_of(x, r)):
            c = columns[k]
            if begin <= c < end:
                at = to[c]
                to[c] = at + 1
                index[at], values[at] = <int32_t>r, numbers[k]
    while u < n:
        at = 0
        for c in range(begin, end):  # the numbers of a column now end there
            if to[c] > at:
                dw = gradient + layer.weights + c * n + u
                add_rows(to[c] - at, <const real*>values + at, <const int32_t*>index + at,
                         panel_of(deltas, u, <const real*>values), deltas.stride, min(n - u, deltas.width),
                         <const real*>dw, dw)
                at = to[c]
        u += deltas.width


cdef inline void sparse_backward(const SparseRows* x, const LayerSpec* layers, int i, const WorkspaceSpec* workspace,
                                 real* scratch, Py_ssize_t rows, bint add, real* delta, real* below,
                                 real* gradient) noexcept nogil:
    """delta *= f'(z); dW = x delta' (+ dW); db = row sums of delta (+ db), for all units of a slab."""
    cdef const LayerSpec* layer = &layers[i]
    cdef Py_ssize_t n = layer.n_units, ld = padded(rows, <const real*>scratch), width = padded(n, <const real*>scratch)
    cdef int64_t kept = layer.output if layer.saved < 0 else layer.saved
    cdef Panels deltas
    activation_backward(layer.activation, <const real*>(scratch + kept * workspace.capacity), delta, n * ld,
                        <real>layer.alpha)
    transpose(n, ld, <const real*>delta, ld, below, width,
              gradient + layer.biases if layer.biases >= 0 else <real*>NULL, add)
    if not add:
        zero_weights(x, layer, 0, 1, gradient)
    deltas.start, deltas.width, deltas.apart, deltas.stride = below, n, 0, width
    sparse_weights(x, layers, i, &deltas, rows,
                   by_columns(x, layer, i > 0 and x.noise.training, rows, 1, 1, <const real*>scratch), 0, 1, gradient)
    stair_weights(x, layer, &deltas, rows, add, 0, 1, gradient)
