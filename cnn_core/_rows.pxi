"""X as Python gives it, dense or sparse: part of _engine.pyx."""
cimport numpy as cnp

cnp.import_array()

cdef Py_ssize_t find_rows(X, const real* kind, DenseRows* dense, SparseRows* sparse) except -1:
    """Where the rows of X stand, dense or sparse, and how many there are; `kind` only tells their type.

    Dense rows may have axes of their own, as images have, and be bytes, so many 255ths.
    """
    cdef cnp.ndarray table
    cdef const int64_t[::1] indptr
    cdef const int32_t[::1] indices
    cdef const int32_t[:, ::1] stairs
    cdef const real[::1] values
    dense.at, dense.bytes = NULL, False
    memset(sparse, 0, sizeof(sparse[0]))
    if not hasattr(X, "indptr"):
        table = X
        dense.bytes = cnp.PyArray_TYPE(table) == cnp.NPY_UINT8
        if not (dense.bytes or cnp.PyArray_ISFLOAT(table) and cnp.PyArray_ITEMSIZE(table) == <int>sizeof(real)):
            raise ValueError(f"X must be an array of the network's type or of bytes, got {table.dtype}")
        if not cnp.PyArray_ISCARRAY_RO(table):
            raise ValueError("X must be C-contiguous")
        dense.at = cnp.PyArray_DATA(table)
        return cnp.PyArray_DIM(table, 0)
    indptr, indices, values = X.indptr, X.indices, X.values
    stairs = X.stairs
    sparse.indptr = &indptr[0]
    if stairs is not None:
        sparse.n_stairs, sparse.stairs = stairs.shape[0], &stairs[0, 0]
    if indices.shape[0]:
        sparse.columns, sparse.values = &indices[0], &values[0]
    return indptr.shape[0] - 1


cdef int reserve_sums(SparseRows* x, const LayerSpec* layer, const real* kind) except -1:
    """Memory for the sums of staircases, on a cache line, where there are any; `free_sums` gives it back."""
    cdef size_t size = prefix_elements(x, layer) * sizeof(real)
    cdef char* memory
    x.prefix = NULL
    if size == 0:
        return 0
    memory = <char*>malloc(size + 2 * LINE)
    if memory == NULL:
        raise MemoryError(f"no memory for {size} bytes")
    x.prefix = memory + (2 * LINE - <size_t>memory % LINE)
    (<void**>x.prefix - 1)[0] = memory
    return 0


cdef void free_sums(SparseRows* x) noexcept nogil:
    if x.prefix != NULL:
        free((<void**>x.prefix - 1)[0])
    x.prefix = NULL
