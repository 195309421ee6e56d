"""Numbers as piecewise linear functions, on a slab: the first `columns` inputs become several numbers each.

A column has bins, whose lower edges and inverse widths are constants of the layer, both (columns, bins); inverse
widths beyond the last bin are 0. For a number x of a column z_m = clip((x - edge_m) inverse_m, 0, 1), of the first bin
down to -1, of the last up to 2, e_j = sum over m of V_jm z_m + c_j, and the output is f(e): the piecewise linear
encoding with a linear layer and relu of Gorishniy, Rubachev & Babenko (2022). V is (columns, size, bins), c (columns,
size). Where f' needs them, the e are kept.
"""
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memmove, memset

from cnn_core.activations cimport activation_backward, activation_forward
from cnn_core.numeric_embedding cimport sum_terms
from cnn_core.tile cimport row_sums, transpose
from cnn_core.types cimport LayerSpec, WorkspaceSpec, real
from cnn_core.vecmath cimport loop

cdef enum:
    PIECES = 64     # rows at a time, whole vectors
    UNITS = 16      # of a column at a time, whole vectors
    TABLE = 128     # bins at a time


cdef inline Py_ssize_t pieces_of(const LayerSpec* layer) noexcept nogil:
    """How many outputs a column has."""
    return (layer.n_units - layer.n_inputs) // layer.columns + 1


cdef inline Py_ssize_t last_bin(const real* inverse, Py_ssize_t bins) noexcept nogil:
    """The last bin of a column."""
    cdef Py_ssize_t m = bins - 1
    while m > 0 and inverse[m] == 0:
        m -= 1
    return m


cdef inline loop count_edges(const real* x, const real* edges, Py_ssize_t last, Py_ssize_t rows,
                             real* bins) noexcept nogil:
    """bins (rows,) = the bin of each x, as a number: how many edges but the first are not above it."""
    cdef Py_ssize_t m, r
    cdef real edge
    for r in range(rows):
        bins[r] = 0
    for m in range(1, last + 1):
        edge = edges[m]
        for r in range(rows):
            bins[r] += <real>1 if x[r] >= edge else <real>0


cdef inline void heights_of(const real* x, const real* edges, const real* inverses, Py_ssize_t last, Py_ssize_t rows,
                            const real* bins, real* z) noexcept nogil:
    """z (rows,) of each x in its bin: between 0 and 1, from -1 on in the first and up to 2 in the last."""
    cdef Py_ssize_t r, j
    cdef real low, high, t
    for r in range(rows):
        j = <Py_ssize_t>bins[r]
        low, high = <real>-1 if j == 0 else <real>0, <real>2 if j == last else <real>1
        t = (x[r] - edges[j]) * inverses[j]
        t = low if t < low else t
        z[r] = high if t > high else t


cdef inline void table_of(const real* weights, Py_ssize_t n, Py_ssize_t units, Py_ssize_t bins, const real* biases,
                          real* v, real* below, real* total) noexcept nogil:
    """v (bins, UNITS) = weights (units, bins of n) by bins; below (TABLE, UNITS) = what a row has of the bins before.

    That begins with biases (units,), or 0 where these are NULL; total (UNITS,) is what a row beyond all bins has.
    """
    cdef Py_ssize_t u, m
    memset(below, 0, TABLE * UNITS * sizeof(real))
    for u in range(units):
        memcpy(below + u * TABLE, weights + u * n, bins * sizeof(real))
    transpose(UNITS, (bins + UNITS - 1) // UNITS * UNITS, <const real*>below, TABLE, v, UNITS, <real*>NULL, False)
    for u in range(UNITS):
        total[u] = biases[u] if biases != NULL and u < units else <real>0
    for m in range(bins):
        for u in range(UNITS):
            below[m * UNITS + u] = total[u]
            total[u] += v[m * UNITS + u]


cdef inline void look_up(const real* v, const real* below, const real* total, const real* bins, const real* z,
                         Py_ssize_t first, Py_ssize_t n, Py_ssize_t rows, real* out) noexcept nogil:
    """out (rows, UNITS) = what bins first .. first + n - 1 add to rows."""
    cdef Py_ssize_t r, u, j
    for r in range(rows):
        j = <Py_ssize_t>bins[r] - first
        if j < 0:
            memset(out + r * UNITS, 0, UNITS * sizeof(real))
        elif j >= n:
            memcpy(out + r * UNITS, total, UNITS * sizeof(real))
        else:
            for u in range(UNITS):
                out[r * UNITS + u] = below[j * UNITS + u] + z[r] * v[j * UNITS + u]


cdef inline void add_up(const real* d, const real* bins, const real* z, Py_ssize_t first, Py_ssize_t n,
                        Py_ssize_t rows, real* in_bin, real* above, real* beyond) noexcept nogil:
    """in_bin, above (n, UNITS) += z d and d of the rows in each of the bins, beyond (UNITS,) += d of those behind."""
    cdef Py_ssize_t r, u, j
    for r in range(rows):
        j = <Py_ssize_t>bins[r] - first
        if j >= n:
            for u in range(UNITS):
                beyond[u] += d[r * UNITS + u]
        elif j >= 0:
            for u in range(UNITS):
                in_bin[j * UNITS + u] += z[r] * d[r * UNITS + u]
                above[j * UNITS + u] += d[r * UNITS + u]


cdef inline void write_sums(const real* in_bin, const real* above, real* beyond, Py_ssize_t units, Py_ssize_t bins,
                            Py_ssize_t n, real* gradient, bint add) noexcept nogil:
    """gradient (units, bins of n) = what is in each bin and above the ones after it, and beyond (+ gradient)."""
    cdef Py_ssize_t m, u
    for m in range(bins - 1, -1, -1):
        for u in range(units):
            gradient[u * n + m] = in_bin[m * UNITS + u] + beyond[u] + (gradient[u * n + m] if add else <real>0)
            beyond[u] += above[m * UNITS + u]


cdef inline loop bin_slope(const real* x, real edge, real inverse, real low, real high, const real* d,
                           Py_ssize_t rows, real* out) noexcept nogil:
    """out (rows,) += inverse d where (x - edge) inverse lies between low and high."""
    cdef Py_ssize_t r
    cdef real t
    for r in range(rows):
        t = (x[r] - edge) * inverse
        out[r] += d[r] * ((<real>0 if t <= low else inverse) * (<real>0 if t >= high else <real>1))


cdef inline void add_bins(const real* x, const real* edges, const real* inverses, Py_ssize_t last, Py_ssize_t first,
                          Py_ssize_t n, const real* v, const real* below, const real* total, Py_ssize_t units,
                          Py_ssize_t ld, real* e) noexcept nogil:
    """e (units, ld) = what `look_up` gives for x (ld,), bins first .. first + n - 1; += if there are bins before."""
    cdef Py_ssize_t k = 0, u, r, rows
    cdef real bins[PIECES]
    cdef real z[PIECES]
    cdef real found[PIECES * UNITS]
    cdef real turned[UNITS * PIECES]
    while k < ld:
        rows = min(ld - k, <Py_ssize_t>PIECES)
        count_edges(x + k, edges, last, rows, bins)
        heights_of(x + k, edges, inverses, last, rows, <const real*>bins, z)
        look_up(v, below, total, <const real*>bins, <const real*>z, first, n, rows, found)
        transpose(rows, UNITS, <const real*>found, UNITS, turned, PIECES, <real*>NULL, False)
        for u in range(units):
            for r in range(rows):
                e[u * ld + k + r] = turned[u * PIECES + r] + (e[u * ld + k + r] if first else <real>0)
        k += PIECES


cdef inline void piecewise_forward(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* parameters,
                                   const real* a, real* scratch, Py_ssize_t ld) noexcept nogil:
    """output (n_units, ld): f(e) of each column, then the inputs that pass on."""
    cdef Py_ssize_t size = pieces_of(layer), n = layer.bins, c, m, here, unit, units, last
    cdef Py_ssize_t rest = layer.n_inputs - layer.columns
    cdef const real* edges
    cdef const real* inverses
    cdef real* out = scratch + layer.output * workspace.capacity
    cdef real* e = out if layer.saved < 0 else scratch + layer.saved * workspace.capacity
    cdef real total[UNITS]
    cdef real v[TABLE * UNITS]
    cdef real below[TABLE * UNITS]
    for c in range(layer.columns):
        edges, inverses = parameters + layer.edges + c * n, parameters + layer.inverses + c * n
        last = last_bin(inverses, n)
        unit = c * size
        while unit < (c + 1) * size:
            units = min((c + 1) * size - unit, <Py_ssize_t>UNITS)
            m = 0
            while m <= last:
                here = min(last + 1 - m, <Py_ssize_t>TABLE)
                table_of(parameters + layer.weights + unit * n + m, n, units, here,
                         <const real*>NULL if m else parameters + layer.biases + unit, v, below, total)
                add_bins(a + c * ld, edges, inverses, last, m, here, <const real*>v, <const real*>below,
                         <const real*>total, units, ld, e + unit * ld)
                m += TABLE
            unit += UNITS
    activation_forward(layer.activation, <const real*>e, out, layer.columns * size * ld, <real>layer.alpha)
    memcpy(out + layer.columns * size * ld, a + layer.columns * ld, rest * ld * sizeof(real))


cdef inline void delta_of_pieces(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* scratch,
                                 Py_ssize_t unit, Py_ssize_t k, Py_ssize_t rows, Py_ssize_t ld, const real* delta,
                                 real* out) noexcept nogil:
    """out (rows,) = dL/de of a unit, from its output's delta (ld,), for rows from k on."""
    cdef int64_t kept = layer.output if layer.saved < 0 else layer.saved
    memcpy(out, delta + k, rows * sizeof(real))
    activation_backward(layer.activation, scratch + kept * workspace.capacity + unit * ld + k, out, rows,
                        <real>layer.alpha)


cdef inline void bins_gradient(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* parameters,
                               const real* scratch, const real* x, const real* delta, Py_ssize_t ld, Py_ssize_t unit,
                               Py_ssize_t units, Py_ssize_t first, Py_ssize_t last, Py_ssize_t bins, real* gradient,
                               bint add) noexcept nogil:
    """The gradients of V for bins first .. first + bins - 1 of units from `unit` on, and of c with the first bins."""
    cdef Py_ssize_t k = 0, u, rows, n = layer.bins, column = unit // pieces_of(layer)
    cdef const real* edges = parameters + layer.edges + column * n
    cdef const real* inverses = parameters + layer.inverses + column * n
    cdef real places[PIECES]
    cdef real z[PIECES]
    cdef real beyond[UNITS]
    cdef real in_bin[TABLE * UNITS]
    cdef real above[TABLE * UNITS]
    cdef real d[UNITS * PIECES]
    cdef real turned[PIECES * UNITS]
    memset(d, 0, UNITS * PIECES * sizeof(real))
    memset(in_bin, 0, bins * UNITS * sizeof(real))
    memset(above, 0, bins * UNITS * sizeof(real))
    memset(beyond, 0, UNITS * sizeof(real))
    while k < ld:
        rows = min(ld - k, <Py_ssize_t>PIECES)
        count_edges(x + k, edges, last, rows, places)
        heights_of(x + k, edges, inverses, last, rows, <const real*>places, z)
        for u in range(units):
            delta_of_pieces(layer, workspace, scratch, unit + u, k, rows, ld, delta + (unit + u) * ld, d + u * PIECES)
        if first == 0:
            row_sums(units, rows, <const real*>d, PIECES, gradient + layer.biases + unit, add or k > 0)
        transpose(UNITS, rows, <const real*>d, PIECES, turned, UNITS, <real*>NULL, False)
        add_up(<const real*>turned, <const real*>places, <const real*>z, first, bins, rows, in_bin, above, beyond)
        k += PIECES
    write_sums(<const real*>in_bin, <const real*>above, beyond, units, bins, n,
               gradient + layer.weights + unit * n + first, add)


cdef inline void piecewise_gradient(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* parameters,
                                    const real* scratch, const real* a, const real* delta, Py_ssize_t ld,
                                    Py_ssize_t first, Py_ssize_t end, real* gradient, bint add) noexcept nogil:
    """The gradients of the columns whose first output is among units first .. end - 1; those of edges are 0."""
    cdef Py_ssize_t size = pieces_of(layer), n = layer.bins, c, m, unit, last
    for c in range((first + size - 1) // size, min((end + size - 1) // size, <Py_ssize_t>layer.columns)):
        last = last_bin(parameters + layer.inverses + c * n, n)
        if not add:
            memset(gradient + layer.edges + c * n, 0, n * sizeof(real))
            memset(gradient + layer.inverses + c * n, 0, n * sizeof(real))
            memset(gradient + layer.weights + c * size * n, 0, size * n * sizeof(real))
        unit = c * size
        while unit < (c + 1) * size:
            m = 0
            while m <= last:
                bins_gradient(layer, workspace, parameters, scratch, a + c * ld, delta, ld, unit,
                              min((c + 1) * size - unit, <Py_ssize_t>UNITS), m, last,
                              min(last + 1 - m, <Py_ssize_t>TABLE), gradient, add)
                m += TABLE
            unit += UNITS


cdef inline void piecewise_backward(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* parameters,
                                    const real* scratch, const real* a, real* delta, Py_ssize_t ld) noexcept nogil:
    """delta (n_units, ld) becomes dL/d(input) (n_inputs, ld)."""
    cdef Py_ssize_t size = pieces_of(layer), n = layer.bins, c, k, m, j, r, rows, last
    cdef Py_ssize_t rest = layer.n_inputs - layer.columns
    cdef const real* edges
    cdef const real* inverses
    cdef real d[PIECES]
    cdef real dx[PIECES]
    for c in range(layer.columns):
        edges, inverses = parameters + layer.edges + c * n, parameters + layer.inverses + c * n
        last = last_bin(inverses, n)
        k = 0
        while k < ld:
            rows = min(ld - k, <Py_ssize_t>PIECES)
            for j in range(size):
                delta_of_pieces(layer, workspace, scratch, c * size + j, k, rows, ld,
                                <const real*>(delta + (c * size + j) * ld), d)
                memcpy(delta + (c * size + j) * ld + k, d, rows * sizeof(real))
            for r in range(rows):
                dx[r] = 0
            for m in range(last + 1):
                sum_terms(<const real*>(delta + c * size * ld + k), parameters + layer.weights + c * size * n + m, n,
                          size, rows, ld, d)
                bin_slope(a + c * ld + k, edges[m], inverses[m], <real>-1 if m == 0 else <real>0,
                          <real>2 if m == last else <real>1, <const real*>d, rows, dx)
            memcpy(delta + c * ld + k, dx, rows * sizeof(real))  # of outputs that nobody needs any more
            k += rows
    memmove(delta + layer.columns * ld, delta + layer.columns * size * ld, rest * ld * sizeof(real))
