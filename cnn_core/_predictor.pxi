"""Prediction from Python: part of _engine.pyx."""
cimport numpy as cnp

from cnn_core.layer cimport by_rows
from cnn_core.predict cimport FEW, few_scratch, predict_few, tiles_at_once
from cnn_core.update cimport not_finite

cnp.import_array()

cdef enum:
    STACK = 1 << 14     # bytes of scratch memory that a few rows take from the stack; more comes from malloc
    LINE = 64           # bytes of a cache line, where the buffers of tiles begin

# More rows than FEW are few as long as weights times rows are no more than this: tiles take 5 us to prepare.
cdef int64_t FEW_WORK = 1 << 16
# Other Python threads may run meanwhile from so much work (weights times rows) on, some 10 us.
cdef int64_t LET_OTHERS_RUN = 1 << 16


def all_finite(cnp.ndarray a not None):
    """Whether a C-contiguous array of float32 or float64 holds neither NaN nor infinity."""
    cdef Py_ssize_t n = a.size
    cdef const void* data = cnp.PyArray_DATA(a)
    cdef bint bad
    if cnp.PyArray_TYPE(a) == cnp.NPY_FLOAT:
        with nogil:
            bad = not_finite(<const float*>data, n)
    else:
        with nogil:
            bad = not_finite(<const double*>data, n)
    return not bad


cdef class Predictor:
    """The outputs of one network, NumPy in and out: the C API of NumPy checks and makes the arrays.

    It holds the plan and the parameters, and no memory to write to: several threads may call it at once.
    """
    cdef const LayerSpec[::1] layers
    cdef const WorkspaceSpec[::1] workspace
    cdef cnp.ndarray parameters
    cdef int loss, n_layers, typenum
    cdef Py_ssize_t n_inputs, n_outputs
    cdef readonly Py_ssize_t at_once    # tiles that each thread should have in a call of `many`
    cdef int64_t weights
    cdef bint by_rows                   # whether a few rows are predicted stored by rows

    def __cinit__(self, const LayerSpec[::1] layers, const WorkspaceSpec[::1] workspace,
                  cnp.ndarray parameters not None, int loss):
        """The layers' buffers may coincide, for nothing is kept for a way back; `workspace` is that of a tile."""
        self.layers, self.workspace, self.parameters, self.loss = layers, workspace, parameters, loss
        self.n_layers = <int>layers.shape[0]
        self.typenum = cnp.PyArray_TYPE(parameters)
        self.n_inputs, self.n_outputs = layers[0].n_inputs, layers[self.n_layers - 1].n_units
        self.weights, self.by_rows = parameters.size, by_rows(&layers[0], self.n_layers)
        if self.typenum == cnp.NPY_FLOAT:
            self.at_once = tiles_at_once(&layers[0], self.n_layers, &workspace[0], <const float*>NULL)
        else:
            self.at_once = tiles_at_once(&layers[0], self.n_layers, &workspace[0], <const double*>NULL)

    def few(self, X, out, bint flat):
        """The outputs with the loss's link, in `out` unless that is None; None when the call is not for here.

        That is when there is a layer without a function for rows, no or more than a few rows, one that is not finite,
        or when X or `out` is anything but a C-contiguous array of the network's type and the right shape; `flat`: `out`
        is (n,), else (n, n_outputs).
        """
        cdef cnp.npy_intp shape[2]
        cdef int64_t rows
        cdef bint done
        if not self.by_rows or not cnp.PyArray_CheckExact(X):
            return None
        if (cnp.PyArray_TYPE(<cnp.ndarray>X) != self.typenum or not cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>X)
                or cnp.PyArray_NDIM(<cnp.ndarray>X) != 2 or cnp.PyArray_DIM(<cnp.ndarray>X, 1) != self.n_inputs):
            return None
        rows = cnp.PyArray_DIM(<cnp.ndarray>X, 0)
        if rows < 1 or rows > FEW and rows * self.weights > FEW_WORK or flat and self.n_outputs != 1:
            return None
        shape[0], shape[1] = rows, self.n_outputs
        if out is None:
            out = cnp.PyArray_EMPTY(1 if flat else 2, shape, self.typenum, 0)
        elif not self.takes(out, rows, flat):
            return None
        if self.typenum == cnp.NPY_FLOAT:
            done = self.run_few(<const float*>cnp.PyArray_DATA(<cnp.ndarray>X), rows,
                                <float*>cnp.PyArray_DATA(<cnp.ndarray>out))
        else:
            done = self.run_few(<const double*>cnp.PyArray_DATA(<cnp.ndarray>X), rows,
                                <double*>cnp.PyArray_DATA(<cnp.ndarray>out))
        return out if done else None

    cdef bint takes(self, out, int64_t rows, bint flat) noexcept:
        return (cnp.PyArray_CheckExact(out) and cnp.PyArray_TYPE(<cnp.ndarray>out) == self.typenum
                and cnp.PyArray_ISCARRAY(<cnp.ndarray>out) and cnp.PyArray_NDIM(<cnp.ndarray>out) == (1 if flat else 2)
                and cnp.PyArray_DIM(<cnp.ndarray>out, 0) == rows
                and (flat or cnp.PyArray_DIM(<cnp.ndarray>out, 1) == self.n_outputs))

    cdef bint run_few(self, const real* x, int64_t rows, real* out) except -1:
        """Whether x is finite; nothing is written unless it is."""
        cdef const LayerSpec* layers = &self.layers[0]
        cdef const real* parameters = <const real*>cnp.PyArray_DATA(self.parameters)
        cdef size_t size = few_scratch(layers, self.n_layers, rows, parameters) * sizeof(real)
        cdef char stack[STACK]
        cdef void* scratch = stack
        if not_finite(x, rows * self.n_inputs):
            return False
        if size > STACK:
            scratch = malloc(size)
            if scratch == NULL:
                raise MemoryError(f"no memory for {size} bytes")
        if rows * self.weights < LET_OTHERS_RUN:
            predict_few(layers, self.n_layers, parameters, x, rows, self.loss, <real*>scratch, out)
        else:
            with nogil:
                predict_few(layers, self.n_layers, parameters, x, rows, self.loss, <real*>scratch, out)
        if size > STACK:
            free(scratch)
        return True

    def many(self, X, cnp.ndarray out not None, bint link, int n_threads, const int32_t[::1] stop=None):
        """out (n, n_outputs): with the loss's link, or raw; whether X (n, n_inputs) is finite (`out` is not, if not).

        Both are C-contiguous and of the network's type; a sparse X is finite, and the layers are those of such rows.
        `stop` (1,), which another thread may set meanwhile, ends it.
        """
        cdef int loss = self.loss if link else -1
        cdef const int32_t* flag = NULL if stop is None else &stop[0]
        if self.typenum == cnp.NPY_FLOAT:
            return self.run_many(X, loss, <float*>cnp.PyArray_DATA(out), n_threads, flag)
        return self.run_many(X, loss, <double*>cnp.PyArray_DATA(out), n_threads, flag)

    cdef bint run_many(self, X, int loss, real* out, int n_threads, const int32_t* stop) except -1:
        cdef SparseRows sparse
        cdef const real* x
        cdef Py_ssize_t n = find_rows(X, <const real*>out, &x, &sparse)
        cdef const LayerSpec* layers = &self.layers[0]
        cdef const WorkspaceSpec* workspace = &self.workspace[0]
        cdef const real* parameters = <const real*>cnp.PyArray_DATA(self.parameters)
        cdef Py_ssize_t tiles = (n + workspace.capacity - 1) // workspace.capacity
        cdef Py_ssize_t at_once = min(self.at_once, (tiles + n_threads - 1) // n_threads)
        cdef size_t size = n_threads * at_once * workspace.columns * workspace.capacity * sizeof(real)
        cdef char* memory = <char*>malloc(size + LINE)
        cdef real* scratch
        cdef bint finite
        if memory == NULL:
            raise MemoryError(f"no memory for {size} bytes")
        scratch = <real*>(memory + (LINE - <size_t>memory % LINE))
        with nogil:
            finite = predict_team(layers, self.n_layers, workspace, parameters, x, &sparse, n, loss, at_once, scratch,
                                   out, n_threads, stop)
        free(memory)
        return finite
