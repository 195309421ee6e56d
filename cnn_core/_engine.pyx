"""The Python-callable kernels, and the only place that starts threads.

This source is compiled once for every instruction set (`_engine_v3.pyx` and `_engine_v4.pyx` include it). All arrays
are C-contiguous and of one real type; the callers in `cnn` see to it. `p` is the size of the parameter arena. X is an
array (n, n_inputs) or sparse: an object with the arrays `indptr` (n + 1,) int64, `indices` int32 and `values` of CSR,
and `stairs` (s, 2) int32 (see sparse_rows.pxd) or None.
"""
from cpython.pycapsule cimport PyCapsule_GetPointer
from cython.parallel cimport parallel, prange, threadid
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from cnn_core cimport activations as _activations, links as _links, losses as _losses
from cnn_core cimport optimizers as _optimizers, random as _random
from cnn_core.batch_norm cimport over_rows
from cnn_core.blas cimport gemm as _blas_gemm
from cnn_core.augment cimport Augment
from cnn_core.dense cimport chunk_begin
from cnn_core.dense_rows cimport DenseRows, from_bytes, gather_rows
from cnn_core.job cimport DONE, Job, StepNumbers
from cnn_core.lines cimport partial_elements
from cnn_core.layer cimport slab_backward, slab_forward
from cnn_core.model cimport Model, describe, fill_job
from cnn_core.predict cimport predict_apart, predict_tiles
from cnn_core.random cimport BitGenerator, Noise, noise_of
from cnn_core.sparse_rows cimport SparseRows, rows_from
from cnn_core.stairs cimport prefix_elements, stair_sums
from cnn_core.step cimport run
from cnn_core.team cimport Barrier, granted, note, stopped, team_size
from cnn_core.tile cimport CNN_VECTORS, gather, lanes as _lanes, padded, scatter
from cnn_core.types cimport (GROUP, AugmentSpec, LayerSpec, LossSpec, OptimizerSpec, SegmentSpec, ShareSpec,
                             WorkspaceSpec, real)
from cnn_core.update cimport (add_all_partials, clip_values, count_blocks, norm_factor, penalty_of, penalty_share,
                              shrink_by, update_range)
from cnn_core.wide cimport kernels_of, transposed_elements, weights_of, work_of
from cnn_core.winograd cimport room_elements

cdef extern from *:
    """
    #if defined(_OPENMP)
      #include <omp.h>
      #define CNN_HAS_OPENMP 1
    #else
      #include <time.h>
      #define CNN_HAS_OPENMP 0
      static int omp_get_max_threads(void) { return 1; }
      static double omp_get_wtime(void)
      {
          struct timespec now;
          timespec_get(&now, TIME_UTC);
          return now.tv_sec + 1e-9 * now.tv_nsec;
      }
    #endif
    """
    int CNN_HAS_OPENMP
    int omp_get_max_threads() nogil
    double omp_get_wtime() nogil

openmp = bool(CNN_HAS_OPENMP)
lanes = _lanes(<const float*>NULL)  # float32 numbers of a vector; 1 where the compiler has no vector types

include "_rows.pxi"
include "_predictor.pxi"
include "_scores.pxi"
include "_training.pxi"
include "_kernels.pxi"


def raise_flag(int32_t[::1] stop):
    """Sets the `stop` (1,) that a call in another thread looks at."""
    note(&stop[0], 1)


def max_threads():
    """OpenMP's own limit: OMP_NUM_THREADS, the cores it sees, or what threadpoolctl has set."""
    return omp_get_max_threads()


def threads_granted(int n):
    """How many of n threads the system gives to a team of this thread: they are started to see it."""
    return granted(n)


# A chunk of a minibatch is worth a thread of its own from this much arithmetic on (some 5 us of one core).
cdef double CHUNK_FLOPS = 5e5
# Fewer rows a chunk leave the sum of partial gradients to be seen.
cdef Py_ssize_t CHUNK_ROWS = 32, MAX_CHUNKS = 32
# The partial gradients should stay in a core's L2 cache: 1 MB in float32.
cdef int64_t PARTIAL_ELEMENTS = 1 << 18
# A part of a minibatch that uses each weight so often has time to add up its gradient with the others.
cdef Py_ssize_t PASSES = 256
# From so much arithmetic on, a few images are worth the barriers between layers.
cdef double LINES_FLOPS = 2e7
# From so many numbers a row on, slabs have as few rows as there are in a vector of a wide machine.
cdef Py_ssize_t LARGE_IMAGES = 1 << 13
# From so many weights on, units are shared out among the threads instead of rows.
cdef int64_t WIDE_WEIGHTS = 1 << 16
# The buffers of one slab should stay in a core's L2 cache.
cdef Py_ssize_t SLAB_ELEMENTS = 1 << 16, SLAB_ROWS_MIN = 32, SLAB_ROWS_MAX = 320, WIDE_ROWS = 64


def cut(const LayerSpec[::1] layers, const WorkspaceSpec[::1] workspace, Py_ssize_t rows):
    """How a minibatch of `rows` rows is cut, from sizes alone: (wide, parts, rows of a slab, shared, own).

    The scratch memory of a call is `shared` elements and `own` for each thread.
    """
    cdef Py_ssize_t i
    cdef int64_t size = weights_of(&layers[0], layers.shape[0]), columns = workspace[0].columns
    cdef double work = work_of(&layers[0], layers.shape[0])
    cdef Py_ssize_t limit, n = 1, groups, slabs, capacity, most = WIDE_ROWS
    cdef bint images = work > size  # weights are used for many pixels
    cdef bint wide = CNN_VECTORS and size >= WIDE_WEIGHTS and 2 * size > work
    for i in range(layers.shape[0]):
        wide |= over_rows(&layers[i], True, max(rows, 2))  # all rows must have passed the layer below
    if images and columns >= LARGE_IMAGES:
        most = GROUP
    wide |= images and rows < 2 * GROUP and 6.0 * work * rows >= LINES_FLOPS  # there are lines to share out
    if wide:
        capacity = min((rows + GROUP - 1) // GROUP * GROUP, most)
        n = (rows + capacity - 1) // capacity
        return (True, n, capacity,
                n * capacity * columns + 2 * transposed_elements(&layers[0], layers.shape[0], n * capacity)
                + partial_elements(&layers[0], layers.shape[0], n, capacity),
                room_elements(&layers[0], layers.shape[0], capacity))
    size += kernels_of(&layers[0], layers.shape[0])
    limit = min(rows // (GROUP if images else CHUNK_ROWS), MAX_CHUNKS, <Py_ssize_t>(6.0 * work * rows / CHUNK_FLOPS),
                max(PARTIAL_ELEMENTS // max(size, 1),
                    <Py_ssize_t>(work * rows / (PASSES * max(size, 1))) if images else 0))
    while 2 * n <= limit:  # a power of two shares out evenly among 2, 4, 8, ... threads
        n *= 2
    groups = ((rows + GROUP - 1) // GROUP + n - 1) // n  # of the largest chunk
    limit = min(max(SLAB_ELEMENTS // max(columns, 1), min(SLAB_ROWS_MIN, most)), SLAB_ROWS_MAX)
    slabs = max(1, (groups * GROUP + limit - 1) // limit)
    capacity = max(1, (groups + slabs - 1) // slabs) * GROUP
    return False, n, capacity, 0, columns * capacity


def room(const LayerSpec[::1] layers):
    """How many numbers a row convolutions work in, beside what they read and write."""
    return room_elements(&layers[0], layers.shape[0], 1)


def first_of_chunk(Py_ssize_t rows, Py_ssize_t chunk, Py_ssize_t n_chunks):
    """The first of `rows` rows that belongs to a chunk, where a minibatch is cut into so many."""
    return chunk_begin(rows, chunk, n_chunks)


cdef void team(Job* job, real* parameters, real* scratch, int n_threads) noexcept nogil:
    """One parallel region for the whole call."""
    n_threads = granted(n_threads)
    if n_threads == 1:
        run(job, parameters, scratch, 0, 1)
    else:
        with parallel(num_threads=n_threads):
            run(job, parameters, scratch, threadid(), team_size())


cdef void side_by_side(Piece* pieces, Py_ssize_t n, int n_threads, const int32_t* stop) noexcept nogil:
    """Makes pieces of different networks, one thread each; who is done takes the next."""
    cdef Py_ssize_t i
    n_threads = granted(<int>min(<Py_ssize_t>n_threads, n))
    for i in prange(n, schedule="dynamic", chunksize=1, num_threads=n_threads):
        make(&pieces[i], 1, stop)


cdef void predict_side_by_side(Tiles* blocks, Py_ssize_t n, char* scratch, size_t stride, int n_threads,
                               const int32_t* stop) noexcept nogil:
    """Predicts blocks of rows of different networks, one thread each; who is done takes the next."""
    cdef Py_ssize_t i
    n_threads = granted(<int>max(1, min(<Py_ssize_t>n_threads, n)))
    for i in prange(n, schedule="dynamic", chunksize=1, num_threads=n_threads):
        predict_of(&blocks[i], scratch + stride * threadid(), stop)


def sums_of_a_step(const SegmentSpec[::1] segments, Py_ssize_t n_chunks):
    """How many float64 numbers a training step needs for its sums."""
    return n_chunks + 3 * count_blocks(&segments[0], <int>segments.shape[0])


cdef bint predict_team(const LayerSpec* layers, int n_layers, const WorkspaceSpec* workspace, const real* parameters,
                       DenseRows x, const SparseRows* sparse, Py_ssize_t n, int loss, Py_ssize_t at_once,
                       real* scratch, real* out, int n_threads, const int32_t* stop) noexcept nogil:
    """What `predict_tiles` gives."""
    cdef int64_t stride = at_once * workspace.columns * workspace.capacity
    cdef int32_t bad = 0
    n_threads = granted(n_threads)
    if n_threads == 1:
        return predict_tiles(layers, n_layers, workspace, parameters, x, sparse, n, loss, at_once, scratch, out, 0, 1,
                             stop)
    with parallel(num_threads=n_threads):
        note_unless(predict_tiles(layers, n_layers, workspace, parameters, x, sparse, n, loss, at_once,
                                  scratch + stride * threadid(), out, threadid(), team_size(), stop), &bad)
    return not bad


cdef bint predict_apart_team(const LayerSpec* layers, int n_layers, const real* parameters, DenseRows x, Py_ssize_t n,
                             int loss, Py_ssize_t together, real* scratch, real* out, int n_threads,
                             const int32_t* stop) noexcept nogil:
    """What `predict_apart` gives."""
    cdef Barrier gate
    cdef int32_t bad = 0
    n_threads = granted(n_threads)
    if n_threads == 1:
        return predict_apart(layers, n_layers, parameters, x, n, loss, together, scratch, out, 0, 1, NULL, stop)
    memset(&gate, 0, sizeof(gate))
    with parallel(num_threads=n_threads):
        note_unless(predict_apart(layers, n_layers, parameters, x, n, loss, together, scratch, out, threadid(),
                                  team_size(), &gate, stop), &bad)
    return not bad


cdef inline void note_unless(bint good, int32_t* bad) noexcept nogil:
    if not good:  # several threads may write the same 1
        note(bad, 1)


cdef void forward_chunks(const LayerSpec* layers, int n_layers, const WorkspaceSpec* workspace,
                         const real* parameters, DenseRows x, const SparseRows* sparse, real* scratch, real* out,
                         Py_ssize_t n, Py_ssize_t n_chunks, Noise noise, int thread, int n_threads,
                         const int32_t* stop) noexcept nogil:
    cdef Py_ssize_t chunk, begin, rows, ld, n_in = layers[0].n_inputs
    cdef const real* output
    cdef SparseRows here
    cdef real* own
    for chunk in range(n_chunks * thread // n_threads, n_chunks * (thread + 1) // n_threads):
        begin = chunk_begin(n, chunk, n_chunks)
        rows = chunk_begin(n, chunk + 1, n_chunks) - begin
        ld = padded(rows, parameters)
        own = scratch + chunk * workspace.columns * workspace.capacity
        noise.row = begin
        if x.at == NULL:
            here = rows_from(sparse, begin, noise)
        else:
            gather_rows(x, rows, ld, n_in, <const int64_t*>NULL, begin, own + workspace.input * workspace.capacity)
        output = slab_forward(layers, n_layers, workspace, parameters, own, rows, noise,
                              &here if x.at == NULL else NULL, stop)
        scatter(rows, ld, layers[n_layers - 1].n_units, output, <const int64_t*>NULL, begin, out)


cdef void forward_team(const LayerSpec* layers, int n_layers, const WorkspaceSpec* workspace, const real* parameters,
                       DenseRows x, const SparseRows* sparse, real* scratch, real* out, Py_ssize_t n,
                       Py_ssize_t n_chunks, Noise noise, int n_threads, const int32_t* stop) noexcept nogil:
    n_threads = granted(n_threads)
    if n_threads == 1:
        forward_chunks(layers, n_layers, workspace, parameters, x, sparse, scratch, out, n, n_chunks, noise, 0, 1, stop)
    else:
        with parallel(num_threads=n_threads):
            forward_chunks(layers, n_layers, workspace, parameters, x, sparse, scratch, out, n, n_chunks, noise,
                           threadid(), team_size(), stop)


def forward(const LayerSpec[::1] layers, const WorkspaceSpec[::1] workspace, const real[::1] parameters,
            real[::1] scratch, X, real[:, ::1] out, Py_ssize_t n_chunks, bint training, int64_t step, uint64_t seed,
            int n_threads, const int32_t[::1] stop=None):
    """out (n, k) = raw outputs; scratch, a workspace for each chunk, keeps what `backward` needs. `stop` ends it."""
    cdef const int32_t* flag = NULL if stop is None else &stop[0]
    cdef Noise noise = noise_of(training, seed, step)
    cdef int n_layers = <int>layers.shape[0]
    cdef SparseRows sparse
    cdef DenseRows x
    cdef Py_ssize_t n = find_rows(X, &parameters[0], &x, &sparse)
    reserve_sums(&sparse, &layers[0], &parameters[0])
    with nogil:
        stair_sums(&sparse, &layers[0], &parameters[0], 0, 1)
        forward_team(&layers[0], n_layers, &workspace[0], &parameters[0], x, &sparse, &scratch[0], &out[0, 0], n,
                     n_chunks, noise, n_threads, flag)
        free_sums(&sparse)


cdef void backward_chunks(const LayerSpec* layers, int n_layers, const WorkspaceSpec* workspace,
                          const real* parameters, real* gradients, int64_t size, const SparseRows* sparse,
                          real* scratch, const real* dout, real* dx, Py_ssize_t n, Py_ssize_t n_chunks, Noise noise,
                          int thread, int n_threads, const int32_t* stop) noexcept nogil:
    cdef Py_ssize_t chunk, begin, rows, ld, n_out = layers[n_layers - 1].n_units
    cdef const real* delta
    cdef SparseRows here
    cdef real* own
    for chunk in range(n_chunks * thread // n_threads, n_chunks * (thread + 1) // n_threads):
        begin = chunk_begin(n, chunk, n_chunks)
        rows = chunk_begin(n, chunk + 1, n_chunks) - begin
        ld = padded(rows, parameters)
        own = scratch + chunk * workspace.columns * workspace.capacity
        gather(rows, ld, n_out, dout, <const int64_t*>NULL, begin,
               own + workspace.delta * workspace.capacity)
        noise.row = begin
        if sparse != NULL:
            here = rows_from(sparse, begin, noise)
        delta = slab_backward(layers, n_layers, workspace, parameters, own, rows, noise.training, False,
                              gradients + chunk * size, dx != NULL, &here if sparse != NULL else NULL, stop)
        if dx != NULL and not stopped(stop):
            scatter(rows, ld, layers[0].n_inputs, delta, <const int64_t*>NULL, begin, dx)


cdef void backward_team(const LayerSpec* layers, int n_layers, const WorkspaceSpec* workspace, const real* parameters,
                        real* gradients, int64_t size, const SparseRows* sparse, real* scratch, const real* dout,
                        real* dx, Py_ssize_t n, Py_ssize_t n_chunks, Noise noise, int n_threads,
                        const int32_t* stop) noexcept nogil:
    n_threads = granted(n_threads)
    if n_threads == 1:
        backward_chunks(layers, n_layers, workspace, parameters, gradients, size, sparse, scratch, dout, dx, n,
                        n_chunks, noise, 0, 1, stop)
    else:
        with parallel(num_threads=n_threads):
            backward_chunks(layers, n_layers, workspace, parameters, gradients, size, sparse, scratch, dout, dx, n,
                            n_chunks, noise, threadid(), team_size(), stop)
    add_all_partials(gradients, size, n_chunks)


def backward(const LayerSpec[::1] layers, const WorkspaceSpec[::1] workspace, const real[::1] parameters,
             real[::1] gradients, real[::1] scratch, X, const real[:, ::1] dout, real[:, ::1] dx, bint training,
             int64_t step, uint64_t seed, int n_threads, const int32_t[::1] stop=None):
    """After `forward` on the same X: dL/dX in dx and the parameters' gradient in gradients[:p], from dL/d(outputs).

    dx is None where X is sparse; step and seed are those of `forward`. `stop` ends it.
    """
    cdef const int32_t* flag = NULL if stop is None else &stop[0]
    cdef Noise noise = noise_of(training, seed, step)
    cdef int n_layers = <int>layers.shape[0]
    cdef int64_t size = parameters.shape[0]
    cdef SparseRows sparse
    cdef DenseRows x
    cdef Py_ssize_t n = find_rows(X, &parameters[0], &x, &sparse)
    cdef real* to = NULL if dx is None else &dx[0, 0]
    with nogil:
        backward_team(&layers[0], n_layers, &workspace[0], &parameters[0], &gradients[0], size,
                      &sparse if x.at == NULL else NULL, &scratch[0], &dout[0, 0], to, n, gradients.shape[0] // size,
                      noise, n_threads, flag)


def row_stride(Py_ssize_t rows, const real[::1] like):
    """Elements between two features of a slab of so many rows: whole vectors of the array's type."""
    return padded(rows, &like[0])
