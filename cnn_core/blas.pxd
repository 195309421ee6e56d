"""Row-major matrix products over SciPy's BLAS: the only file that knows column-major order and BLAS's integers.

A row-major matrix is its transpose in column-major order, so C = A B is computed as C' = B' A'.

The routines are those of `scipy.linalg.cython_blas`, found at import through its C table rather than by `cimport`:
SciPy 1.18 changed their integer from `int` to `blas_int`, and a `cimport` would tie a wheel to one side of that change.
Integers are passed as 64-bit variables: on the little-endian machines we build for, a routine that reads 32 bits of
them reads the same number (sizes are checked to fit in 32 bits).
"""
from libc.stdint cimport int64_t

from cnn_core.types cimport real

ctypedef void (*gemm_t)(char*, char*, int64_t*, int64_t*, int64_t*, void*, void*, int64_t*, void*, int64_t*,
                        void*, void*, int64_t*) noexcept nogil

cdef gemm_t blas_sgemm
cdef gemm_t blas_dgemm


cdef inline void gemm(bint transpose_a, bint transpose_b, int64_t m, int64_t n, int64_t k, const real* a, int64_t lda,
                      const real* b, int64_t ldb, real beta, real* c, int64_t ldc) noexcept nogil:
    """C = op(A) op(B) + beta C, with op(A) (m, k), op(B) (k, n), C (m, n), all row-major."""
    cdef char ta = c"T" if transpose_a else c"N"
    cdef char tb = c"T" if transpose_b else c"N"
    cdef real one = 1
    if real is float:
        blas_sgemm(&tb, &ta, &n, &m, &k, &one, <void*>b, &ldb, <void*>a, &lda, &beta, c, &ldc)
    else:
        blas_dgemm(&tb, &ta, &n, &m, &k, &one, <void*>b, &ldb, <void*>a, &lda, &beta, c, &ldc)
