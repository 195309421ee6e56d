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
from cnn_core.numeric_embedding cimport add_terms, sum_terms
from cnn_core.tile cimport matmul_narrow, row_sums
from cnn_core.types cimport LayerSpec, WorkspaceSpec, real
from cnn_core.vecmath cimport loop

cdef enum:
    BINS = 16       # whose gradients are computed together, over
    PIECES = 64     # rows at a time, whole vectors


cdef inline Py_ssize_t pieces_of(const LayerSpec* layer) noexcept nogil:
    """How many outputs a column has."""
    return (layer.n_units - layer.n_inputs) // layer.columns + 1


cdef inline Py_ssize_t last_bin(const real* inverse, Py_ssize_t bins) noexcept nogil:
    """The last bin of a column."""
    cdef Py_ssize_t m = bins - 1
    while m > 0 and inverse[m] == 0:
        m -= 1
    return m


cdef inline loop bin_of(const real* x, real edge, real inverse, real low, real high, Py_ssize_t rows,
                        real* z) noexcept nogil:
    """z (rows,) = clip((x - edge) inverse, low, high)."""
    cdef Py_ssize_t r
    cdef real t
    for r in range(rows):
        t = (x[r] - edge) * inverse
        t = low if t < low else t
        z[r] = high if t > high else t


cdef inline loop bin_slope(const real* x, real edge, real inverse, real low, real high, const real* d,
                           Py_ssize_t rows, real* out) noexcept nogil:
    """out (rows,) += inverse d where (x - edge) inverse lies between low and high."""
    cdef Py_ssize_t r
    cdef real t
    for r in range(rows):
        t = (x[r] - edge) * inverse
        out[r] += d[r] * ((<real>0 if t <= low else inverse) * (<real>0 if t >= high else <real>1))


cdef inline void piecewise_forward(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* parameters,
                                   const real* a, real* scratch, Py_ssize_t ld) noexcept nogil:
    """output (n_units, ld): f(e) of each column, then the inputs that pass on."""
    cdef Py_ssize_t size = pieces_of(layer), n = layer.bins, c, k, m, j, r, rows, last
    cdef Py_ssize_t rest = layer.n_inputs - layer.columns
    cdef const real* edges
    cdef const real* inverses
    cdef real* out = scratch + layer.output * workspace.capacity
    cdef real* e = out if layer.saved < 0 else scratch + layer.saved * workspace.capacity
    cdef real z[PIECES]
    for c in range(layer.columns):
        edges, inverses = parameters + layer.edges + c * n, parameters + layer.inverses + c * n
        last = last_bin(inverses, n)
        k = 0
        while k < ld:
            rows = min(ld - k, <Py_ssize_t>PIECES)
            for j in range(size):
                for r in range(rows):
                    e[(c * size + j) * ld + k + r] = parameters[layer.biases + c * size + j]
            for m in range(last + 1):
                bin_of(a + c * ld + k, edges[m], inverses[m], <real>-1 if m == 0 else <real>0,
                       <real>2 if m == last else <real>1, rows, z)
                add_terms(<const real*>z, parameters + layer.weights + c * size * n + m, n, size, rows, ld,
                          e + c * size * ld + k)
            k += rows
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


cdef inline void piecewise_gradient(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* parameters,
                                    const real* scratch, const real* a, const real* delta, Py_ssize_t ld,
                                    Py_ssize_t first, Py_ssize_t end, real* gradient, bint add) noexcept nogil:
    """The gradients of the columns whose first output is among units first .. end - 1; those of edges are 0."""
    cdef Py_ssize_t size = pieces_of(layer), n = layer.bins, c, k, m, i, j, here, rows, unit, last
    cdef const real* edges
    cdef const real* inverses
    cdef real d[PIECES]
    cdef real z[BINS * PIECES]
    for c in range((first + size - 1) // size, min((end + size - 1) // size, <Py_ssize_t>layer.columns)):
        edges, inverses = parameters + layer.edges + c * n, parameters + layer.inverses + c * n
        last = last_bin(inverses, n)
        if not add:
            memset(gradient + layer.edges + c * n, 0, n * sizeof(real))
            memset(gradient + layer.inverses + c * n, 0, n * sizeof(real))
            memset(gradient + layer.weights + c * size * n, 0, size * n * sizeof(real))
        k = 0
        while k < ld:
            rows = min(ld - k, <Py_ssize_t>PIECES)
            m = 0
            while m <= last:
                here = min(last + 1 - m, <Py_ssize_t>BINS)
                for i in range(m, m + here):
                    bin_of(a + c * ld + k, edges[i], inverses[i], <real>-1 if i == 0 else <real>0,
                           <real>2 if i == last else <real>1, rows, z + (i - m) * PIECES)
                for j in range(size):
                    unit = c * size + j
                    delta_of_pieces(layer, workspace, scratch, unit, k, rows, ld, delta + unit * ld, d)
                    matmul_narrow(here, 1, rows, <const real*>z, PIECES, <const real*>d, PIECES,
                                  gradient + layer.weights + unit * n + m, True)
                    if m == 0:
                        row_sums(1, rows, <const real*>d, PIECES, gradient + layer.biases + unit, add or k > 0)
                m += here
            k += rows


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
