"""Prediction from Python: part of _engine.pyx."""
from cnn_core.few cimport FEW, by_rows, few_scratch, parts_of_row, predict_few
from cnn_core.few_dense cimport Place, alone
from cnn_core.predict cimport rows_together, team_scratch, tiles_at_once
from cnn_core.update cimport not_finite

cdef enum:
    STACK = 1 << 14     # bytes of scratch memory that a few rows take from the stack; more comes from malloc
    LINE = 64           # bytes of a cache line, where the buffers of tiles begin

# Rows of one network, to be predicted by one thread, in tiles or row by row.
cdef struct Tiles:
    const LayerSpec* layers
    int n_layers
    const WorkspaceSpec* workspace      # of a tile
    const void* parameters
    int itemsize                        # 4: float, 8: double
    DenseRows x                         # none: the rows are in `sparse`
    SparseRows sparse
    Py_ssize_t n_rows
    int loss                            # whose link is applied; -1: none
    Py_ssize_t at_once                  # tiles
    Py_ssize_t together                 # rows that are predicted by rows together; 0: they are in tiles
    size_t scratch                      # bytes that are needed
    void* out
    bint finite                         # what was found of x


# More rows than FEW are few as long as weights times rows are no more than this: tiles take 5 us to prepare.
cdef int64_t FEW_WORK = 1 << 16
# Many networks are shared out in blocks of at least so much work (weights times rows), some 100 us.
cdef int64_t BLOCK_WORK = 1 << 21
# Other Python threads may run meanwhile from so much work (multiply-adds) on, some microseconds.
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


cdef enum Pixels:   # of images that a network was trained on
    IN_RANGE        # numbers in [0, 1], as far as is known
    BYTES
    BEYOND          # other numbers


cdef inline bint beyond(const real* x, Py_ssize_t n) noexcept nogil:
    """Whether numbers are outside [0, 1]."""
    cdef bint found = False
    cdef Py_ssize_t i
    for i in range(n):
        found |= (x[i] < 0) | (x[i] > 1)
    return found


cdef class Predictor:
    """The outputs of one network, NumPy in and out: the C API of NumPy checks and makes the arrays.

    It holds the plan and the parameters, and no memory to write to: several threads may call it at once.
    """
    cdef const LayerSpec[::1] layers
    cdef const WorkspaceSpec[::1] workspace
    cdef cnp.ndarray parameters
    cdef int loss, n_layers, typenum
    cdef Py_ssize_t n_inputs, n_outputs
    cdef public int pixels              # what images it was trained on; X that they do not suit is not for `few`
    cdef readonly Py_ssize_t at_once    # tiles that each thread should have in a call of `many`
    cdef public Py_ssize_t alone        # rows stored by rows, up to which one thread is as soon as a team
    cdef public bint apart              # whether more than FEW rows, too, are stored by rows
    cdef readonly Py_ssize_t few_elements   # of memory that FEW rows take, stored by rows
    cdef int64_t weights
    cdef double work                    # multiply-adds of a row
    cdef cnp.npy_intp axes[3]           # of a row as it may be given, beside (n_inputs,): those of an image
    cdef int n_axes
    cdef public bint by_rows            # whether a few rows are predicted stored by rows
    cdef Py_ssize_t room                # elements of scratch memory that each of them takes
    cdef Py_ssize_t together            # of many, so many go through the layers together

    def __cinit__(self, const LayerSpec[::1] layers, const WorkspaceSpec[::1] workspace,
                  cnp.ndarray parameters not None, int loss, shape=()):
        """The layers' buffers may coincide, for nothing is kept for a way back; `workspace` is that of a tile;
        `shape` that of a row.
        """
        self.layers, self.workspace, self.parameters, self.loss = layers, workspace, parameters, loss
        self.n_layers, self.n_axes = <int>layers.shape[0], <int>len(shape)
        for i, size in enumerate(shape):
            self.axes[i] = size
        self.typenum = cnp.PyArray_TYPE(parameters)
        self.n_inputs, self.n_outputs = layers[0].n_inputs, layers[self.n_layers - 1].n_units
        self.weights, self.by_rows = parameters.size, by_rows(&layers[0], self.n_layers)
        self.alone, self.apart, self.work = FEW, False, work_of(&layers[0], self.n_layers)
        if self.typenum == cnp.NPY_FLOAT:
            self.at_once = tiles_at_once(&layers[0], self.n_layers, &workspace[0], <const float*>NULL)
            self.room = few_scratch(&layers[0], self.n_layers, 1, 1, <const float*>NULL)
            self.few_elements = few_scratch(&layers[0], self.n_layers, FEW, 1, <const float*>NULL)
            self.together = rows_together(&layers[0], self.n_layers, <const float*>NULL)
        else:
            self.at_once = tiles_at_once(&layers[0], self.n_layers, &workspace[0], <const double*>NULL)
            self.room = few_scratch(&layers[0], self.n_layers, 1, 1, <const double*>NULL)
            self.few_elements = few_scratch(&layers[0], self.n_layers, FEW, 1, <const double*>NULL)
            self.together = rows_together(&layers[0], self.n_layers, <const double*>NULL)

    def few(self, X, out, bint flat):
        """The outputs with the loss's link, in `out` unless that is None; None when the call is not for here.

        That is when there is a layer without a function for rows, no or more than a few rows or more than `alone`, one
        that is not finite, or when X or `out` is anything but a C-contiguous array of the network's type and the right
        shape; `flat`: `out` is (n,), else (n, n_outputs).
        """
        cdef cnp.npy_intp shape[2]
        cdef int64_t rows
        cdef bint done, bytes
        if not self.by_rows or not cnp.PyArray_CheckExact(X):
            return None
        bytes = self.n_axes > 1 and cnp.PyArray_TYPE(<cnp.ndarray>X) == cnp.NPY_UINT8 and self.pixels != BEYOND
        if (not (bytes or cnp.PyArray_TYPE(<cnp.ndarray>X) == self.typenum)
                or not cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>X)
                or not self.reads(<cnp.ndarray>X)):
            return None
        rows = cnp.PyArray_DIM(<cnp.ndarray>X, 0)
        if (rows < 1 or rows > FEW and rows * self.weights > FEW_WORK or rows > self.alone
                or flat and self.n_outputs != 1):
            return None
        shape[0], shape[1] = rows, self.n_outputs
        if out is None:
            out = cnp.PyArray_EMPTY(1 if flat else 2, shape, self.typenum, 0)
        elif not self.takes(out, rows, flat):
            return None
        if self.typenum == cnp.NPY_FLOAT:
            done = self.run_few(cnp.PyArray_DATA(<cnp.ndarray>X), bytes, rows,
                                <float*>cnp.PyArray_DATA(<cnp.ndarray>out))
        else:
            done = self.run_few(cnp.PyArray_DATA(<cnp.ndarray>X), bytes, rows,
                                <double*>cnp.PyArray_DATA(<cnp.ndarray>out))
        return out if done else None

    cdef bint reads(self, cnp.ndarray X) noexcept:
        """Whether its rows have the shape of the network's, or as many numbers."""
        cdef int n = cnp.PyArray_NDIM(X), i
        if n == 2:
            return cnp.PyArray_DIM(X, 1) == self.n_inputs
        if n != self.n_axes + 1:
            return False
        for i in range(1, n):
            if cnp.PyArray_DIM(X, i) != self.axes[i - 1]:
                return False
        return True

    cdef bint takes(self, out, int64_t rows, bint flat) noexcept:
        return (cnp.PyArray_CheckExact(out) and cnp.PyArray_TYPE(<cnp.ndarray>out) == self.typenum
                and cnp.PyArray_ISCARRAY(<cnp.ndarray>out) and cnp.PyArray_NDIM(<cnp.ndarray>out) == (1 if flat else 2)
                and cnp.PyArray_DIM(<cnp.ndarray>out, 0) == rows
                and (flat or cnp.PyArray_DIM(<cnp.ndarray>out, 1) == self.n_outputs))

    cdef bint run_few(self, const void* given, bint bytes, int64_t rows, real* out) except -1:
        """Whether x is finite, and of images what they should be; nothing is written unless it is."""
        cdef const real* x = <const real*>given
        cdef const LayerSpec* layers = &self.layers[0]
        cdef const real* parameters = <const real*>cnp.PyArray_DATA(self.parameters)
        cdef size_t size = rows * self.room * sizeof(real)
        cdef char stack[STACK]
        cdef real* work
        cdef void* scratch = stack
        cdef Place place = alone(NULL)
        if bytes:
            size += rows * self.n_inputs * sizeof(real)
        elif not_finite(x, rows * self.n_inputs) or (self.pixels == BYTES and beyond(x, rows * self.n_inputs)):
            return False
        if size > STACK:
            scratch = malloc(size)
            if scratch == NULL:
                raise MemoryError(f"no memory for {size} bytes")
        work = <real*>scratch
        if bytes:
            from_bytes(<const uint8_t*>given, rows * self.n_inputs, work)
            x = work
            work += rows * self.n_inputs
        if rows * self.work < LET_OTHERS_RUN:
            predict_few(layers, self.n_layers, parameters, x, rows, self.loss, work, out, &place)
        else:
            with nogil:
                predict_few(layers, self.n_layers, parameters, x, rows, self.loss, work, out, &place)
        if size > STACK:
            free(scratch)
        return True

    cdef Tiles tiles(self, X, cnp.ndarray out, bint link) except *:
        """Those of all rows; X and `out` as of `many`. Sums of staircases are to be made and freed by whoever asks."""
        cdef Tiles t
        t.layers, t.n_layers, t.workspace = &self.layers[0], self.n_layers, &self.workspace[0]
        t.parameters, t.out = cnp.PyArray_DATA(self.parameters), cnp.PyArray_DATA(out)
        t.itemsize, t.loss, t.finite = cnp.PyArray_ITEMSIZE(self.parameters), self.loss if link else -1, True
        if self.typenum == cnp.NPY_FLOAT:
            t.n_rows = find_rows(X, <const float*>t.parameters, &t.x, &t.sparse)
            reserve_sums(&t.sparse, t.layers, <const float*>NULL)
        else:
            t.n_rows = find_rows(X, <const double*>t.parameters, &t.x, &t.sparse)
            reserve_sums(&t.sparse, t.layers, <const double*>NULL)
        t.at_once = min(self.at_once, (t.n_rows + t.workspace.capacity - 1) // t.workspace.capacity)
        t.scratch = t.at_once * t.workspace.columns * t.workspace.capacity * t.itemsize
        t.together = self.together if self.row_by_row(t.n_rows, t.x.at != NULL) else 0
        if t.together > 0:
            t.scratch = self.apart_bytes(1, 1)
        return t

    cdef bint row_by_row(self, Py_ssize_t rows, bint dense) noexcept nogil:
        """Whether so many rows are predicted stored by rows."""
        return self.by_rows and dense and (rows <= FEW or self.apart)

    cdef size_t apart_bytes(self, Py_ssize_t rows, int n_threads) noexcept nogil:
        """Of the memory that a team works in where rows are stored by rows."""
        if self.typenum == cnp.NPY_FLOAT:
            return sizeof(float) * team_scratch(&self.layers[0], self.n_layers, rows, self.together, n_threads,
                                                <const float*>NULL)
        return sizeof(double) * team_scratch(&self.layers[0], self.n_layers, rows, self.together, n_threads,
                                             <const double*>NULL)

    def parts(self, Py_ssize_t rows, bint dense):
        """How many threads a call of `many` for so many rows, dense or sparse, can feed."""
        cdef Py_ssize_t capacity = self.workspace[0].capacity, parts = 1
        cdef double work, most = 0
        cdef int i
        if not self.row_by_row(rows, dense):
            return (rows + capacity - 1) // capacity
        for i in range(self.n_layers):  # those of the layer with the most work
            work = work_of(&self.layers[i], 1)
            if work > most:
                most, parts = work, parts_of_row(&self.layers[i])
        return rows * parts

    def many(self, X, cnp.ndarray out not None, bint link, int n_threads, const int32_t[::1] stop=None,
             uint8_t[::1] memory=None, Py_ssize_t of=0):
        """out (n, n_outputs): with the loss's link, or raw; whether X (n, n_inputs) is finite (`out` is not, if not).

        Both are C-contiguous and of the network's type; a sparse X is finite, and the layers are those of such rows.
        `stop` (1,), which another thread may set meanwhile, ends it. `memory`, from a cache line on, is what `bytes`
        asks for: calls one after another need not make it anew. X may be a piece `of` so many rows, all of which are
        predicted in the same way.
        """
        cdef int loss = self.loss if link else -1
        cdef const int32_t* flag = NULL if stop is None else &stop[0]
        cdef void* given = NULL if memory is None else <void*>&memory[0]
        if self.typenum == cnp.NPY_FLOAT:
            return self.run_many(X, loss, <float*>cnp.PyArray_DATA(out), n_threads, flag, given, of)
        return self.run_many(X, loss, <double*>cnp.PyArray_DATA(out), n_threads, flag, given, of)

    def bytes(self, Py_ssize_t rows, bint dense, int n_threads, Py_ssize_t of=0):
        """What `many` works in for so many rows, dense or sparse, or fewer; a piece `of` so many."""
        return self.scratch_bytes(rows, self.row_by_row(max(rows, of), dense), n_threads)

    cdef size_t scratch_bytes(self, Py_ssize_t rows, bint apart, int n_threads) noexcept nogil:
        cdef const WorkspaceSpec* workspace = &self.workspace[0]
        cdef int itemsize = 4 if self.typenum == cnp.NPY_FLOAT else 8
        if apart:
            return self.apart_bytes(rows, n_threads)
        return n_threads * self.tiles_of(rows, n_threads) * workspace.columns * workspace.capacity * itemsize

    cdef Py_ssize_t tiles_of(self, Py_ssize_t rows, int n_threads) noexcept nogil:
        """How many tiles each thread takes through a layer before the next one."""
        cdef Py_ssize_t capacity = self.workspace[0].capacity, tiles = (rows + capacity - 1) // capacity
        return min(self.at_once, (tiles + n_threads - 1) // n_threads)

    cdef bint run_many(self, X, int loss, real* out, int n_threads, const int32_t* stop, void* given,
                       Py_ssize_t of) except -1:
        cdef SparseRows sparse
        cdef DenseRows x
        cdef Py_ssize_t n = find_rows(X, <const real*>out, &x, &sparse)
        cdef const LayerSpec* layers = &self.layers[0]
        cdef const WorkspaceSpec* workspace = &self.workspace[0]
        cdef const real* parameters = <const real*>cnp.PyArray_DATA(self.parameters)
        cdef Py_ssize_t at_once = self.tiles_of(n, n_threads)
        cdef bint apart = self.row_by_row(max(n, of), x.at != NULL), finite
        cdef size_t size = self.scratch_bytes(n, apart, n_threads)
        cdef char* memory = NULL
        cdef real* scratch = <real*>given
        reserve_sums(&sparse, layers, parameters)
        if given == NULL:
            memory = <char*>malloc(size + LINE)
            if memory == NULL:
                free_sums(&sparse)
                raise MemoryError(f"no memory for {size} bytes")
            scratch = <real*>(memory + (LINE - <size_t>memory % LINE))
        with nogil:
            if apart:
                finite = predict_apart_team(layers, self.n_layers, parameters, x, n, loss, self.together, scratch, out,
                                            n_threads, stop)
            else:
                stair_sums(&sparse, layers, parameters, 0, 1)
                finite = predict_team(layers, self.n_layers, workspace, parameters, x, &sparse, n, loss, at_once,
                                      scratch, out, n_threads, stop)
        free_sums(&sparse)
        free(memory)
        return finite


cdef void sum_stairs(const Tiles* t) noexcept nogil:
    """Makes the sums of staircases, of the parameters as they are."""
    if t.itemsize == sizeof(float):
        stair_sums(&t.sparse, t.layers, <const float*>t.parameters, 0, 1)
    else:
        stair_sums(&t.sparse, t.layers, <const double*>t.parameters, 0, 1)


cdef void predict_of(Tiles* t, void* scratch, const int32_t* stop) noexcept nogil:
    """Its outputs, and whether x is finite; `scratch` begins on a cache line."""
    if t.together > 0 and t.itemsize == sizeof(float):
        t.finite = predict_apart(t.layers, t.n_layers, <const float*>t.parameters, t.x, t.n_rows, t.loss, t.together,
                                 <float*>scratch, <float*>t.out, 0, 1, NULL, stop)
    elif t.together > 0:
        t.finite = predict_apart(t.layers, t.n_layers, <const double*>t.parameters, t.x, t.n_rows, t.loss, t.together,
                                 <double*>scratch, <double*>t.out, 0, 1, NULL, stop)
    elif t.itemsize == sizeof(float):
        t.finite = predict_tiles(t.layers, t.n_layers, t.workspace, <const float*>t.parameters, t.x,
                                 &t.sparse, t.n_rows, t.loss, t.at_once, <float*>scratch, <float*>t.out, 0, 1, stop)
    else:
        t.finite = predict_tiles(t.layers, t.n_layers, t.workspace, <const double*>t.parameters, t.x,
                                 &t.sparse, t.n_rows, t.loss, t.at_once, <double*>scratch, <double*>t.out, 0, 1, stop)


cdef Tiles block_of(const Tiles* whole, Py_ssize_t first, Py_ssize_t rows) noexcept nogil:
    """Some of its rows, from the first one of a tile on."""
    cdef Tiles t = whole[0]
    cdef Py_ssize_t n_out = t.layers[t.n_layers - 1].n_units
    t.n_rows, t.out = rows, <char*>t.out + first * n_out * t.itemsize
    if t.x.at != NULL:
        t.x.at = <const char*>t.x.at + first * t.layers[0].n_inputs * (1 if t.x.bytes else t.itemsize)
    else:
        t.sparse.indptr += first
    return t


def predict_many(list predictors, list X, list out, bint link, int n_threads, const int32_t[::1] stop=None):
    """`Predictor.many` for each of the networks, side by side: a list of whether each X is finite."""
    cdef Py_ssize_t n = len(predictors), i, first, rows, n_blocks = 0
    cdef const int32_t* flag = NULL if stop is None else &stop[0]
    cdef size_t stride = 0
    cdef Predictor predictor
    cdef Tiles* whole = <Tiles*>malloc((n + 1) * sizeof(Tiles))
    cdef Py_ssize_t* sizes = <Py_ssize_t*>malloc((n + 1) * sizeof(Py_ssize_t))
    cdef Py_ssize_t* owners = NULL
    cdef Tiles* blocks = NULL
    cdef char* scratch = NULL
    try:
        if whole == NULL or sizes == NULL:
            raise MemoryError(f"no memory for {n} networks")
        memset(whole, 0, n * sizeof(Tiles))
        for i in range(n):
            predictor = predictors[i]
            whole[i] = predictor.tiles(X[i], out[i], link)
            rows = whole[i].workspace.capacity
            sizes[i] = rows * max(whole[i].at_once, <Py_ssize_t>(BLOCK_WORK // (predictor.weights * rows)))
            n_blocks += (whole[i].n_rows + sizes[i] - 1) // sizes[i]
            stride = max(stride, whole[i].scratch)
        stride = (stride + LINE - 1) // LINE * LINE
        blocks = <Tiles*>malloc((n_blocks + 1) * sizeof(Tiles))
        owners = <Py_ssize_t*>malloc((n_blocks + 1) * sizeof(Py_ssize_t))
        scratch = <char*>malloc(n_threads * stride + LINE)
        if blocks == NULL or owners == NULL or scratch == NULL:
            raise MemoryError(f"no memory for {n_blocks} blocks and {n_threads * stride} bytes")
        n_blocks = 0
        for i in range(n):
            first = 0
            while first < whole[i].n_rows:
                blocks[n_blocks] = block_of(&whole[i], first, min(sizes[i], whole[i].n_rows - first))
                owners[n_blocks] = i
                first, n_blocks = first + sizes[i], n_blocks + 1
        with nogil:
            for i in range(n):
                sum_stairs(&whole[i])
            predict_side_by_side(blocks, n_blocks, scratch + (LINE - <size_t>scratch % LINE), stride, n_threads, flag)
        for i in range(n_blocks):
            whole[owners[i]].finite &= blocks[i].finite
        return [bool(whole[i].finite) for i in range(n)]
    finally:
        for i in range(n if whole != NULL else 0):
            free_sums(&whole[i].sparse)
        free(whole)
        free(sizes)
        free(blocks)
        free(owners)
        free(scratch)
