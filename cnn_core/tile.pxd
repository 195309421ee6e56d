"""The C kernels of tile.h under one name for float and double; shapes and strides are told there."""
from libc.stdint cimport int64_t

from cnn_core.types cimport real

cdef extern from "tile.h" nogil:
    const int CNN_VECTORS
    Py_ssize_t cnn_lanesf()
    Py_ssize_t cnn_lanes()
    void cnn_matmulf(Py_ssize_t, Py_ssize_t, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t, const float*,
                      Py_ssize_t, float*, Py_ssize_t, const float*, bint, bint, const float*, Py_ssize_t)
    void cnn_matmul(Py_ssize_t, Py_ssize_t, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t, const double*,
                     Py_ssize_t, double*, Py_ssize_t, const double*, bint, bint, const double*, Py_ssize_t)
    void cnn_matmul_narrowf(Py_ssize_t, Py_ssize_t, Py_ssize_t, const float*, Py_ssize_t, const float*, Py_ssize_t,
                            float*, bint)
    void cnn_matmul_narrow(Py_ssize_t, Py_ssize_t, Py_ssize_t, const double*, Py_ssize_t, const double*, Py_ssize_t,
                           double*, bint)
    void cnn_row_sumsf(Py_ssize_t, Py_ssize_t, const float*, Py_ssize_t, float*, bint)
    void cnn_row_sums(Py_ssize_t, Py_ssize_t, const double*, Py_ssize_t, double*, bint)
    void cnn_row_dotsf(Py_ssize_t, Py_ssize_t, const float*, const float*, Py_ssize_t, float*, bint)
    void cnn_row_dots(Py_ssize_t, Py_ssize_t, const double*, const double*, Py_ssize_t, double*, bint)
    void cnn_gatherf(Py_ssize_t, Py_ssize_t, Py_ssize_t, const float*, const int64_t*, Py_ssize_t, float*)
    void cnn_gather(Py_ssize_t, Py_ssize_t, Py_ssize_t, const double*, const int64_t*, Py_ssize_t, double*)
    void cnn_scatterf(Py_ssize_t, Py_ssize_t, Py_ssize_t, const float*, const int64_t*, Py_ssize_t, float*)
    void cnn_scatter(Py_ssize_t, Py_ssize_t, Py_ssize_t, const double*, const int64_t*, Py_ssize_t, double*)
    void cnn_transposef(Py_ssize_t, Py_ssize_t, const float*, Py_ssize_t, float*, Py_ssize_t, float*, bint)
    void cnn_transpose(Py_ssize_t, Py_ssize_t, const double*, Py_ssize_t, double*, Py_ssize_t, double*, bint)


cdef inline Py_ssize_t lanes(const real* kind) noexcept nogil:
    """Elements of a vector; `kind` only tells their type."""
    return cnn_lanesf() if real is float else cnn_lanes()


cdef inline Py_ssize_t padded(Py_ssize_t n, const real* kind) noexcept nogil:
    """n rounded up to whole vectors."""
    cdef Py_ssize_t step = lanes(kind)
    return (n + step - 1) // step * step


cdef inline void tile_matmul(Py_ssize_t ni, Py_ssize_t nj, Py_ssize_t nk, const real* a, Py_ssize_t ai, Py_ssize_t ak,
                             const real* b, Py_ssize_t ldb, real* c, Py_ssize_t ldc, const real* start, bint add,
                             bint fill, const real* ahead, Py_ssize_t n_ahead) noexcept nogil:
    """c (ni, nj) = sum over k of a[i ai + k ak] b[k ldb + j], from start[i], from c (add) or from 0.

    fill: c may be written up to whole vectors. Meanwhile n_ahead elements from `ahead` on come to the cache, the next b
    as a rule; it may be anywhere.
    """
    if real is float:
        cnn_matmulf(ni, nj, nk, a, ai, ak, b, ldb, c, ldc, start, add, fill, ahead, n_ahead)
    else:
        cnn_matmul(ni, nj, nk, a, ai, ak, b, ldb, c, ldc, start, add, fill, ahead, n_ahead)


cdef inline void matmul_narrow(Py_ssize_t ni, Py_ssize_t nj, Py_ssize_t nk, const real* a, Py_ssize_t lda,
                               const real* b, Py_ssize_t ldb, real* c, bint add) noexcept nogil:
    """c (ni, nj) = a b' (+ c), a (ni, nk), b (nj, nk), nj <= 8."""
    if real is float:
        cnn_matmul_narrowf(ni, nj, nk, a, lda, b, ldb, c, add)
    else:
        cnn_matmul_narrow(ni, nj, nk, a, lda, b, ldb, c, add)


cdef inline void row_sums(Py_ssize_t n, Py_ssize_t nk, const real* d, Py_ssize_t ld, real* out,
                          bint add) noexcept nogil:
    """out (n,) = sums of the rows of d (n, nk) (+ out)."""
    if real is float:
        cnn_row_sumsf(n, nk, d, ld, out, add)
    else:
        cnn_row_sums(n, nk, d, ld, out, add)


cdef inline void row_dots(Py_ssize_t n, Py_ssize_t nk, const real* d, const real* a, Py_ssize_t ld, real* out,
                          bint add) noexcept nogil:
    """out (n,) = sums of the rows of d a, both (n, nk), (+ out)."""
    if real is float:
        cnn_row_dotsf(n, nk, d, a, ld, out, add)
    else:
        cnn_row_dots(n, nk, d, a, ld, out, add)


cdef inline void gather(Py_ssize_t rows, Py_ssize_t ld, Py_ssize_t n, const real* x, const int64_t* order,
                        Py_ssize_t begin, real* out) noexcept nogil:
    """Rows of x (any, n) become columns of a slab: out[j ld + r]; 0 beyond the last row."""
    if real is float:
        cnn_gatherf(rows, ld, n, x, order, begin, out)
    else:
        cnn_gather(rows, ld, n, x, order, begin, out)


cdef inline void scatter(Py_ssize_t rows, Py_ssize_t ld, Py_ssize_t n, const real* slab, const int64_t* order,
                         Py_ssize_t begin, real* y) noexcept nogil:
    """Columns of a slab become rows of y (any, n)."""
    if real is float:
        cnn_scatterf(rows, ld, n, slab, order, begin, y)
    else:
        cnn_scatter(rows, ld, n, slab, order, begin, y)


cdef inline void transpose(Py_ssize_t n, Py_ssize_t nk, const real* d, Py_ssize_t ld, real* out,
                      Py_ssize_t ldt, real* sums, bint add) noexcept nogil:
    """out (nk, ldt) = the transpose of d (n, nk); sums (n,), or NULL, = sums of the rows of d (+ sums)."""
    if real is float:
        cnn_transposef(n, nk, d, ld, out, ldt, sums, add)
    else:
        cnn_transpose(n, nk, d, ld, out, ldt, sums, add)
