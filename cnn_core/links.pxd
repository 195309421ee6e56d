"""Links: what `predict` makes of raw outputs, of a slab by features or of a few rows, to the same bits."""
from libc.string cimport memcpy

from cnn_core.types cimport real
from cnn_core.vecmath cimport loop, v_exp, v_sigmoid


cpdef enum Link:
    IDENTITY
    SIGMOID
    EXP
    SOFTMAX
    MEAN_VARIANCE   # of the second half of the outputs e^f, of the first half f


cdef enum:
    ROWS = 64   # rows that a softmax takes at a time: their sums stay in L1


cdef inline void softmax(const real* f, real* y, Py_ssize_t ld, real* shift, real* total, Py_ssize_t rows,
                         Py_ssize_t k) noexcept nogil:
    """y = e^(f - m) for up to ROWS rows of a slab, with the maximum m and the sum of each row in shift and total."""
    cdef Py_ssize_t r, j, first
    cdef real part[ROWS]
    for r in range(rows):
        shift[r] = f[r]
        total[r] = 0
    for j in range(1, k):
        for r in range(rows):  # NaN, if there is one
            shift[r] = shift[r] if f[j * ld + r] <= shift[r] else f[j * ld + r]
    for first in range(0, k, 16):  # the sum of sums of 16, which loses less than one long sum
        for r in range(rows):
            part[r] = 0
        for j in range(first, min(first + 16, k)):
            for r in range(rows):
                y[j * ld + r] = v_exp(f[j * ld + r] - shift[r])
            for r in range(rows):
                part[r] += y[j * ld + r]
        for r in range(rows):
            total[r] += part[r]


cdef inline void link_block(int link, const real* out, real* y, Py_ssize_t k, Py_ssize_t ld) noexcept nogil:
    """The link on a slab (k, ld). y may be out."""
    cdef Py_ssize_t i, j, r, b = 0, rows
    cdef Py_ssize_t first = k * ld // 2 if link == MEAN_VARIANCE else 0
    cdef real shift[ROWS]
    cdef real total[ROWS]
    if link == SOFTMAX:
        while b < ld:
            rows = min(ld - b, <Py_ssize_t>ROWS)
            softmax(out + b, y + b, ld, shift, total, rows, k)
            for j in range(k):
                for r in range(rows):
                    y[j * ld + b + r] /= total[r]
            b += ROWS
        return
    if y != out and link in (IDENTITY, MEAN_VARIANCE):
        for i in range(k * ld):
            y[i] = out[i]
    if link == SIGMOID:
        for i in range(k * ld):
            y[i] = v_sigmoid(out[i])
    elif link in (EXP, MEAN_VARIANCE):
        for i in range(first, k * ld):
            y[i] = v_exp(out[i])


cdef inline loop softmax_exponentials(real shift, real* y, Py_ssize_t n) noexcept nogil:
    for j in range(n):
        y[j] = v_exp(y[j] - shift)

cdef inline loop softmax_quotients(real total, real* y, Py_ssize_t n) noexcept nogil:
    for j in range(n):
        y[j] /= total


cdef inline void softmax_row(real* y, Py_ssize_t k, Py_ssize_t ld) noexcept nogil:
    """The softmax of one row of k, padded to ld; maximum and sums as in `link_block`."""
    cdef real shift = y[0], total = 0, part
    cdef Py_ssize_t j, first
    for j in range(1, k):
        shift = shift if y[j] <= shift else y[j]
    softmax_exponentials(shift, y, ld)
    for first in range(0, k, 16):
        part = 0
        for j in range(first, min(first + 16, k)):
            part += y[j]
        total += part
    softmax_quotients(total, y, ld)


cdef inline void link_rows(int link, real* y, real* spare, Py_ssize_t rows, Py_ssize_t k, Py_ssize_t ld) noexcept nogil:
    """The link on rows of k, padded to ld, in place, to the same bits; `spare` has room for as many numbers."""
    cdef Py_ssize_t r
    if link == SOFTMAX:
        for r in range(rows):
            softmax_row(y + r * ld, k, ld)
    elif link == MEAN_VARIANCE:
        link_block(EXP, <const real*>y, spare, 1, rows * ld)
        for r in range(rows):
            memcpy(y + r * ld + k // 2, spare + r * ld + k // 2, (k - k // 2) * sizeof(real))
    else:
        link_block(link, <const real*>y, y, 1, rows * ld)
