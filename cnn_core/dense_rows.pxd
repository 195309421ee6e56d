"""Dense rows of X as they are given: numbers of the network's type, or bytes, as images have."""
from libc.stdint cimport int64_t, uint8_t

from cnn_core.tile cimport gather, gather_bytes
from cnn_core.types cimport real


cdef struct DenseRows:
    const void* at      # NULL: there are none
    bint bytes          # uint8, which stand for so many 255ths; else numbers of the network's type


cdef inline DenseRows numbers(const real* x) noexcept nogil:
    cdef DenseRows rows
    rows.at, rows.bytes = x, False
    return rows


cdef inline void gather_rows(DenseRows x, Py_ssize_t rows, Py_ssize_t ld, Py_ssize_t n, const int64_t* order,
                             Py_ssize_t begin, real* out) noexcept nogil:
    """Rows of x (any, n) become columns of a slab, as of `gather`."""
    if x.bytes:
        gather_bytes(rows, ld, n, <const uint8_t*>x.at, order, begin, out)
    else:
        gather(rows, ld, n, <const real*>x.at, order, begin, out)


cdef inline void from_bytes(const uint8_t* x, Py_ssize_t n, real* out) noexcept nogil:
    """out (n,) = so many 255ths."""
    cdef real unit = <real>(1.0 / 255)
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = x[i] * unit
