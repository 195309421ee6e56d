"""The C kernels of tile.h under one name for float and double; shapes and strides are told there."""
from libc.stdint cimport int64_t, uint8_t

from cnn_core.types cimport real

cdef extern from "tile.h" nogil:
    const int CNN_VECTORS
    const int CNN_WIDE
    ctypedef struct Tap "cnn_tap_t":
        Py_ssize_t a, b, terms
    ctypedef struct Walk "cnn_walk_t":
        Py_ssize_t lines, pixels, a_line, a_pixel, b_line, b_pixel
    ctypedef struct Square "cnn_square_t":
        Py_ssize_t line, pixel, term
        unsigned int inside
    int INPUTS "CNN_INPUTS"
    int OUTPUTS "CNN_OUTPUTS"
    int WEIGHTS "CNN_WEIGHTS"
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
    void cnn_narrow_of_pixelsf(Py_ssize_t, Py_ssize_t, Py_ssize_t, const float*, Py_ssize_t, const float*, Py_ssize_t,
                               const Walk*, float*, bint)
    void cnn_narrow_of_pixels(Py_ssize_t, Py_ssize_t, Py_ssize_t, const double*, Py_ssize_t, const double*, Py_ssize_t,
                              const Walk*, double*, bint)
    void cnn_tapsf(int, Py_ssize_t, const Tap*, Py_ssize_t, const float*, const float*, Py_ssize_t, Py_ssize_t, float*,
                   Py_ssize_t, Py_ssize_t, const float*, bint)
    void cnn_taps(int, Py_ssize_t, const Tap*, Py_ssize_t, const double*, const double*, Py_ssize_t, Py_ssize_t,
                  double*, Py_ssize_t, Py_ssize_t, const double*, bint)
    void cnn_add_pixelsf(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t,
                         const float*, Py_ssize_t, Py_ssize_t, const float*, float*, Py_ssize_t)
    void cnn_add_pixels(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t,
                        const double*, Py_ssize_t, Py_ssize_t, const double*, double*, Py_ssize_t)
    void cnn_sums_of_pixelsf(Py_ssize_t, Py_ssize_t, Py_ssize_t, const float*, Py_ssize_t, float*, bint)
    void cnn_sums_of_pixels(Py_ssize_t, Py_ssize_t, Py_ssize_t, const double*, Py_ssize_t, double*, bint)
    void cnn_pointsf(Py_ssize_t, Py_ssize_t, const Tap*, Py_ssize_t, const float*, const float*, Py_ssize_t,
                     Py_ssize_t, float*, Py_ssize_t, const float*, bint)
    void cnn_points(Py_ssize_t, Py_ssize_t, const Tap*, Py_ssize_t, const double*, const double*, Py_ssize_t,
                    Py_ssize_t, double*, Py_ssize_t, const double*, bint)
    void cnn_point_dotsf(Py_ssize_t, const Py_ssize_t*, const Py_ssize_t*, Py_ssize_t, const float*, const float*,
                         Py_ssize_t, const Walk*, float*)
    void cnn_point_dots(Py_ssize_t, const Py_ssize_t*, const Py_ssize_t*, Py_ssize_t, const double*, const double*,
                        Py_ssize_t, const Walk*, double*)
    void cnn_totals_of_ninef(const float*, float*)
    void cnn_totals_of_nine(const double*, double*)
    void cnn_squaresf(int, const float*, const Square*, float*, const Square*, Py_ssize_t, const float*)
    void cnn_squares(int, const double*, const Square*, double*, const Square*, Py_ssize_t, const double*)
    void cnn_row_sumsf(Py_ssize_t, Py_ssize_t, const float*, Py_ssize_t, float*, bint)
    void cnn_row_sums(Py_ssize_t, Py_ssize_t, const double*, Py_ssize_t, double*, bint)
    void cnn_row_dotsf(Py_ssize_t, Py_ssize_t, const float*, const float*, Py_ssize_t, float*, bint)
    void cnn_row_dots(Py_ssize_t, Py_ssize_t, const double*, const double*, Py_ssize_t, double*, bint)
    void cnn_gatherf(Py_ssize_t, Py_ssize_t, Py_ssize_t, const float*, const int64_t*, Py_ssize_t, float*)
    void cnn_gather(Py_ssize_t, Py_ssize_t, Py_ssize_t, const double*, const int64_t*, Py_ssize_t, double*)
    void cnn_gather_bytesf(Py_ssize_t, Py_ssize_t, Py_ssize_t, const uint8_t*, const int64_t*, Py_ssize_t, float*)
    void cnn_gather_bytes(Py_ssize_t, Py_ssize_t, Py_ssize_t, const uint8_t*, const int64_t*, Py_ssize_t, double*)
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


cdef inline void narrow_of_pixels(Py_ssize_t ni, Py_ssize_t nj, Py_ssize_t nk, const real* a, Py_ssize_t lda,
                                  const real* b, Py_ssize_t ldb, const Walk* walk, real* c, bint add) noexcept nogil:
    """c (ni, nj) = the sum over the pixels of a walk of a b' (+ c), shapes as of `matmul_narrow`."""
    if real is float:
        cnn_narrow_of_pixelsf(ni, nj, nk, a, lda, b, ldb, walk, c, add)
    else:
        cnn_narrow_of_pixels(ni, nj, nk, a, lda, b, ldb, walk, c, add)


cdef inline void taps_product(int panel, Py_ssize_t valid, const Tap* taps, Py_ssize_t n, const real* a, const real* b,
                              Py_ssize_t b_step, Py_ssize_t ld, real* c, Py_ssize_t c_step, Py_ssize_t pixels,
                              const real* start, bint add) noexcept nogil:
    """c (valid, ld) of `pixels` neighbours = sum over n taps of a' b, from start (panel,), from c (add) or from 0.

    a has `panel` numbers for each term (8, 6, 4 or 1: `panel_of`), b a row of ld; steps lead to the next pixel.
    """
    if real is float:
        cnn_tapsf(panel, valid, taps, n, a, b, b_step, ld, c, c_step, pixels, start, add)
    else:
        cnn_taps(panel, valid, taps, n, a, b, b_step, ld, c, c_step, pixels, start, add)


cdef inline int panel_of(Py_ssize_t left) noexcept nogil:
    """How many of so many outputs a tile takes: whole tiles, or the smallest that has room for the last ones."""
    if CNN_WIDE and (left == 7 or left > 7 and left != 12):
        return 8
    if left > 4 and (CNN_WIDE or left != 8):
        return 6
    return 4 if left > 1 else 1


cdef inline void add_pixels(Py_ssize_t ni, Py_ssize_t nj, Py_ssize_t pixels, Py_ssize_t rows, const real* a,
                            Py_ssize_t ld, Py_ssize_t a_step, const real* b, Py_ssize_t ldb, Py_ssize_t b_step,
                            const real* start, real* c, Py_ssize_t ldc) noexcept nogil:
    """c (ni, nj) = start (nj,) or c, plus the sum over `pixels` neighbours of a b: a (ni, rows), b (rows, nj).

    The rows of a are ld apart; steps lead to the next pixel.
    """
    if real is float:
        cnn_add_pixelsf(ni, nj, pixels, rows, a, ld, a_step, b, ldb, b_step, start, c, ldc)
    else:
        cnn_add_pixels(ni, nj, pixels, rows, a, ld, a_step, b, ldb, b_step, start, c, ldc)


cdef inline void sums_of_pixels(Py_ssize_t n, Py_ssize_t pixels, Py_ssize_t ld, const real* d, Py_ssize_t step,
                                real* out, bint add) noexcept nogil:
    """out (n,) = sums of the rows of d (n, ld) over all pixels, `step` apart (+ out)."""
    if real is float:
        cnn_sums_of_pixelsf(n, pixels, ld, d, step, out, add)
    else:
        cnn_sums_of_pixels(n, pixels, ld, d, step, out, add)


cdef inline void points_product(Py_ssize_t channels, Py_ssize_t pixels, const Tap* taps, Py_ssize_t n, const real* w,
                                const real* x, Py_ssize_t x_step, Py_ssize_t ld, real* z, Py_ssize_t z_step,
                                const real* start, bint add) noexcept nogil:
    """z (channels, ld) of `pixels` neighbours = the sum over n taps of w[a + channel] times x at b, channel by channel.

    From start (channels,), from z (add) or from 0; steps lead to the next pixel.
    """
    if real is float:
        cnn_pointsf(channels, pixels, taps, n, w, x, x_step, ld, z, z_step, start, add)
    else:
        cnn_points(channels, pixels, taps, n, w, x, x_step, ld, z, z_step, start, add)


cdef inline void point_dots(Py_ssize_t channels, const Py_ssize_t* from_, const Py_ssize_t* to, Py_ssize_t n,
                            const real* x, const real* d, Py_ssize_t ld, const Walk* walk, real* sums) noexcept nogil:
    """sums (channels, 9 vectors) += d times x at from_[i], in vector to[i], over a walk's pixels; n <= 9."""
    if real is float:
        cnn_point_dotsf(channels, from_, to, n, x, d, ld, walk, sums)
    else:
        cnn_point_dots(channels, from_, to, n, x, d, ld, walk, sums)


cdef inline void totals_of_nine(const real* sums, real* out) noexcept nogil:
    """out[i] = the sum of the elements of vector i of 9."""
    if real is float:
        cnn_totals_of_ninef(sums, out)
    else:
        cnn_totals_of_nine(sums, out)


cdef inline void squares(int kind, const real* a, const Square* from_, real* b, const Square* to, Py_ssize_t terms,
                         const real* start) noexcept nogil:
    """b = t a t' for `terms` squares of vectors, t being what `kind` says; see winograd.pxd.

    What of a is not inside counts as 0; of OUTPUTS, which begin with start[term] unless that is NULL, nothing is
    written that is not inside.
    """
    if real is float:
        cnn_squaresf(kind, a, from_, b, to, terms, start)
    else:
        cnn_squares(kind, a, from_, b, to, terms, start)


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


cdef inline void gather_bytes(Py_ssize_t rows, Py_ssize_t ld, Py_ssize_t n, const uint8_t* x, const int64_t* order,
                              Py_ssize_t begin, real* out) noexcept nogil:
    """The same of bytes, which stand for so many 255ths."""
    if real is float:
        cnn_gather_bytesf(rows, ld, n, x, order, begin, out)
    else:
        cnn_gather_bytes(rows, ld, n, x, order, begin, out)


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
