"""One matrix product of a dense layer: by the kernels of tile.h, or by SciPy's BLAS where its `LayerSpec` says so."""
from cnn_core.blas cimport gemm
from cnn_core.tile cimport padded, tile_matmul
from cnn_core.types cimport real


cdef inline void matmul(bint by_blas, Py_ssize_t ni, Py_ssize_t nj, Py_ssize_t nk, const real* a, Py_ssize_t ai,
                        Py_ssize_t ak, const real* b, Py_ssize_t ldb, real* c, Py_ssize_t ldc, const real* start,
                        bint add, bint fill, const real* ahead, Py_ssize_t n_ahead) noexcept nogil:
    """What `tile_matmul` computes, ai or ak being 1. BLAS fetches ahead by itself."""
    if by_blas:
        blas_product(ni, padded(nj, b) if fill else nj, nk, a, ai, ak, b, ldb, c, ldc, start, add)
    else:
        tile_matmul(ni, nj, nk, a, ai, ak, b, ldb, c, ldc, start, add, fill, ahead, n_ahead)


cdef inline void blas_product(Py_ssize_t ni, Py_ssize_t nj, Py_ssize_t nk, const real* a, Py_ssize_t ai, Py_ssize_t ak,
                              const real* b, Py_ssize_t ldb, real* c, Py_ssize_t ldc, const real* start,
                              bint add) noexcept nogil:
    cdef Py_ssize_t i, j
    if start != NULL:
        for i in range(ni):
            for j in range(nj):
                c[i * ldc + j] = start[i]
    gemm(ak != 1, False, ni, nj, nk, a, ai if ak == 1 else ak, b, ldb, <real>(add or start != NULL), c, ldc)
