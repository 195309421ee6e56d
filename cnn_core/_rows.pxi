"""X as Python gives it, dense or sparse: part of _engine.pyx."""

cdef Py_ssize_t find_rows(X, const real* kind, const real** dense, SparseRows* sparse) except -1:
    """Where the rows of X stand, dense (else NULL) or sparse, and how many there are; `kind` only tells their type."""
    cdef const real[:, ::1] table
    cdef const int64_t[::1] indptr
    cdef const int32_t[::1] indices
    cdef const real[::1] values
    dense[0] = NULL
    memset(sparse, 0, sizeof(sparse[0]))
    if not hasattr(X, "indptr"):
        table = X
        dense[0] = &table[0, 0]
        return table.shape[0]
    indptr, indices, values = X.indptr, X.indices, X.values
    sparse.indptr = &indptr[0]
    if indices.shape[0]:
        sparse.columns, sparse.values = &indices[0], &values[0]
    return indptr.shape[0] - 1
