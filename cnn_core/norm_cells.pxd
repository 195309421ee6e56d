"""Some rows of some channels of a slab, the cells that batch normalisation works on at a time, and loops over one.

Slabs of images have GROUP rows as a rule: the loops have that for a constant.
"""
from libc.string cimport memset

from cnn_core.tile cimport row_sums
from cnn_core.types cimport GROUP, real
from cnn_core.vecmath cimport loop

cdef enum:
    CELL = 1024     # numbers that are worked on at a time: their sums stand on the stack
    CHANNELS = 64   # of a cell, at most
    PIXELS = 32     # whose squared distances are taken while they are in cache


# Some rows of some channels of a slab: all that have room in a cell. Its numbers lie `at` behind those of the pixel.
cdef struct Cell:
    Py_ssize_t at
    Py_ssize_t size
    Py_ssize_t span         # of a channel
    Py_ssize_t rows         # of which so many are no padding


cdef inline Cell cell_of(Py_ssize_t at, Py_ssize_t n, Py_ssize_t rows, Py_ssize_t ld) noexcept nogil:
    """The cell of n channels that begins there: all of their rows, or of one channel some."""
    cdef Cell cell
    cell.at, cell.size = at, min(n * ld - at, <Py_ssize_t>CELL)
    cell.span = cell.size // n
    cell.rows = min(rows - at, cell.span)
    return cell


cdef inline void distance_rows(const real* x, const real* mean, Py_ssize_t n, Py_ssize_t span, bint first,
                               real* sums) noexcept nogil:
    cdef Py_ssize_t j, r
    cdef real shift, d
    for j in range(n):
        shift = mean[j]
        for r in range(span):
            d = x[j * span + r] - shift
            sums[j * span + r] = d if first else sums[j * span + r] + d


cdef inline loop distance_cell(const real* x, const real* mean, Py_ssize_t n, Py_ssize_t span, bint first,
                               real* sums) noexcept nogil:
    """sums (n, span) += x - mean, or but that if first."""
    if first:
        distance_rows(x, mean, n, span, True, sums)
    elif span == GROUP:
        distance_rows(x, mean, n, GROUP, False, sums)
    else:
        distance_rows(x, mean, n, span, False, sums)


cdef inline void square_rows(const real* x, const real* mean, Py_ssize_t n, Py_ssize_t span, bint first,
                             real* sums) noexcept nogil:
    cdef Py_ssize_t j, r
    cdef real shift, d
    for j in range(n):
        shift = mean[j]
        for r in range(span):
            d = x[j * span + r] - shift
            sums[j * span + r] = d * d if first else sums[j * span + r] + d * d


cdef inline loop square_cell(const real* x, const real* mean, Py_ssize_t n, Py_ssize_t span, bint first,
                             real* sums) noexcept nogil:
    """sums (n, span) += (x - mean)^2, or but that if first."""
    if first:
        square_rows(x, mean, n, span, True, sums)
    elif span == GROUP:
        square_rows(x, mean, n, GROUP, False, sums)
    else:
        square_rows(x, mean, n, span, False, sums)


cdef inline void normalise_rows(const real* x, const real* mean, const real* factor, const real* bias, Py_ssize_t n,
                                Py_ssize_t span, real* out) noexcept nogil:
    cdef Py_ssize_t j, r
    cdef real shift, slope, term
    for j in range(n):
        shift, slope, term = mean[j], factor[j], bias[j]
        for r in range(span):
            out[j * span + r] = (x[j * span + r] - shift) * slope + term


cdef inline loop normalise_cell(const real* x, const real* mean, const real* factor, const real* bias, Py_ssize_t n,
                                Py_ssize_t span, real* out) noexcept nogil:
    """out (n, span) = factor (x - mean) + bias."""
    if span == GROUP:
        normalise_rows(x, mean, factor, bias, n, GROUP, out)
    else:
        normalise_rows(x, mean, factor, bias, n, span, out)


cdef inline void slope_rows(const real* delta, const real* x, const real* mean, Py_ssize_t n, Py_ssize_t span,
                            bint first, real* sums, real* products) noexcept nogil:
    cdef Py_ssize_t j, r
    cdef real shift, d
    for j in range(n):
        shift = mean[j]
        for r in range(span):
            d = delta[j * span + r]
            products[j * span + r] = d * (x[j * span + r] - shift) + (0 if first else products[j * span + r])
            sums[j * span + r] = d + (0 if first else sums[j * span + r])


cdef inline loop slope_cell(const real* delta, const real* x, const real* mean, Py_ssize_t n, Py_ssize_t span,
                            bint first, real* sums, real* products) noexcept nogil:
    """sums (n, span) += delta, products += delta (x - mean), or but that if first."""
    if first:
        slope_rows(delta, x, mean, n, span, True, sums, products)
    elif span == GROUP:
        slope_rows(delta, x, mean, n, GROUP, False, sums, products)
    else:
        slope_rows(delta, x, mean, n, span, False, sums, products)


cdef inline void turn_rows(const real* x, const real* mean, const real* factor, const real* mean_delta,
                           const real* slope, Py_ssize_t n, Py_ssize_t span, real* delta) noexcept nogil:
    cdef Py_ssize_t j, r
    cdef real shift, scale, part, along
    for j in range(n):
        shift, scale, part, along = mean[j], factor[j], mean_delta[j], slope[j]
        for r in range(span):
            delta[j * span + r] = scale * (delta[j * span + r] - part) - along * (x[j * span + r] - shift)


cdef inline loop turn_cell(const real* x, const real* mean, const real* factor, const real* mean_delta,
                           const real* slope, Py_ssize_t n, Py_ssize_t span, real* delta) noexcept nogil:
    """delta (n, span) = factor (delta - mean_delta) - slope (x - mean)."""
    if span == GROUP:
        turn_rows(x, mean, factor, mean_delta, slope, n, GROUP, delta)
    else:
        turn_rows(x, mean, factor, mean_delta, slope, n, span, delta)


cdef inline void clear_padding(const Cell* cell, Py_ssize_t n, real* x) noexcept nogil:
    """x (n, span) = 0 beyond the last row."""
    cdef Py_ssize_t j
    for j in range(n if cell.rows < cell.span else 0):
        memset(x + j * cell.span + cell.rows, 0, (cell.span - cell.rows) * sizeof(real))


cdef inline void sums_of_cell(const Cell* cell, Py_ssize_t n, real* sums, real* out) noexcept nogil:
    """out (n,) = sums of the rows that are no padding."""
    clear_padding(cell, n, sums)
    row_sums(n, cell.span, <const real*>sums, cell.span, out, False)
