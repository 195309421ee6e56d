"""One training step, seen by one thread of a team: chunks of the minibatch, the sum of their gradients, the update.

A minibatch is cut into chunks by sizes alone. Each chunk has a partial gradient of its own, partial gradients are added
in the order of the chunks, and sums over parameters go by fixed blocks: so no bit depends on the number of threads.
"""
from libc.math cimport isfinite, sqrt
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy, memset

from cnn_core.dense cimport Noise, slab_backward, slab_forward
from cnn_core.losses cimport loss_block
from cnn_core.optimizers cimport OptimizerStep, optimizer_begin, optimizer_update
from cnn_core.types cimport LayerSpec, LossSpec, OptimizerSpec, SegmentSpec, WorkspaceSpec, real

cdef extern from *:
    """
    #if defined(_OPENMP)
      #include <omp.h>
      #if defined(_MSC_VER)
        #define cnn_barrier() __pragma(omp barrier)
      #else
        #define cnn_barrier() _Pragma("omp barrier")
      #endif
      #define cnn_team_size() omp_get_num_threads()
    #else
      #define cnn_barrier()
      #define cnn_team_size() 1
    #endif
    """
    void barrier "cnn_barrier"() noexcept nogil
    int team_size "cnn_team_size"() noexcept nogil

# Elements of the arena that one thread sums and updates at a time: a few buffers of this size stay in L1.
cdef enum:
    BLOCK = 1024

cdef enum Status:
    DONE
    LOSS_NOT_FINITE
    GRADIENT_NOT_FINITE
    UPDATE_NOT_FINITE
    STOPPED


# What `sweep` does with each block of parameters.
cdef enum Pass:
    REDUCE
    UPDATE
    UNDO


# Everything the team shares. Pointers to scalars of the network's type are void*, for a struct can't be generic;
# each function that takes them out is, and casts them back.
cdef struct Job:
    const LayerSpec* layers
    int n_layers
    const WorkspaceSpec* workspace
    const SegmentSpec* segments
    int n_segments
    const LossSpec* loss
    const OptimizerSpec* optimizer      # NULL: only the gradient is wanted
    int64_t size                        # elements of the parameter arena
    int64_t slots_stride                # elements between two slots of the optimizer's state
    Py_ssize_t n_chunks
    Py_ssize_t n_rows                   # of the data
    Py_ssize_t batch_size
    Py_ssize_t first                    # minibatches first .. last - 1 are run
    Py_ssize_t last
    int64_t step                        # steps done before
    uint64_t seed
    bint training
    const void* X
    const void* targets
    const int32_t* classes
    const void* weights
    const int64_t* order
    void* gradients
    void* state
    void* outputs
    double* scalars
    const double* rates
    double* report
    double* chunk_loss                  # (n_chunks,)
    double* block_norm                  # (n_blocks,): sum of squares of the gradient
    double* block_penalty               # (n_blocks,)
    int* block_bad                      # (n_blocks,): some element is not finite
    Py_ssize_t n_blocks
    const volatile int32_t* stop        # NULL, or set from outside: the minibatch at work is given up
    bint stopping                       # what the team has seen of it
    Py_ssize_t steps_done
    int status


cdef inline Py_ssize_t count_blocks(const SegmentSpec* segments, int n_segments) noexcept nogil:
    cdef Py_ssize_t blocks = 0
    for i in range(n_segments):
        blocks += (segments[i].end - segments[i].begin + BLOCK - 1) // BLOCK
    return blocks


cdef inline double sum_of_weights(const Job* job, const real* weights, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef double total = 0
    cdef Py_ssize_t i
    if weights == NULL:
        return end - begin
    for i in range(begin, end):
        total += weights[job.order[i] if job.order != NULL else i]
    return total


cdef inline const real* take(const void* source, const int64_t* order, Py_ssize_t begin, Py_ssize_t rows, Py_ssize_t n,
                             real* buffer) noexcept nogil:
    """Rows begin .. begin + rows of source (any, n) in the given order: in place where they stand so, else gathered."""
    cdef const real* data = <const real*>source
    cdef const real* row
    cdef Py_ssize_t i, j
    if source == NULL:
        return NULL
    if order == NULL:
        return data + begin * n
    for i in range(rows):
        row = data + order[begin + i] * n
        for j in range(n):
            buffer[i * n + j] = row[j]
    return <const real*>buffer


cdef inline void put(const real* output, const int64_t* order, Py_ssize_t begin, Py_ssize_t rows, Py_ssize_t n,
                     real* outputs) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(rows):
        memcpy(outputs + (order[begin + i] if order != NULL else begin + i) * n, output + i * n, n * sizeof(real))


cdef inline void chunk_gradient(Job* job, const real* parameters, real* scratch, Py_ssize_t chunk,
                                Py_ssize_t batch_begin, Py_ssize_t batch_rows, int64_t step,
                                double scale) noexcept nogil:
    """Forward, loss and backward of one chunk of a minibatch, in slabs; its loss and its partial gradient."""
    cdef const WorkspaceSpec* ws = job.workspace
    cdef int64_t capacity = ws.capacity
    cdef Py_ssize_t begin = batch_rows * chunk // job.n_chunks
    cdef Py_ssize_t end = batch_rows * (chunk + 1) // job.n_chunks
    cdef Py_ssize_t n_outputs = job.loss.n_outputs, first, rows, i
    cdef real* gradient = <real*>job.gradients + chunk * job.size
    cdef real* delta = scratch + ws.delta * capacity
    cdef int32_t* gathered = <int32_t*>(scratch + ws.target * capacity)
    cdef const int32_t* classes
    cdef const real* x
    cdef const real* target
    cdef const real* output
    cdef const real* weight
    cdef double loss = 0
    cdef real beta = 0
    cdef Noise noise
    noise.training, noise.seed, noise.step = job.training, job.seed, step
    if begin == end:  # the last minibatch may have fewer rows than there are chunks
        memset(gradient, 0, job.size * sizeof(real))
    while begin < end:
        if job.stop != NULL and job.stop[0]:
            job.stopping = True  # read by all after the barrier; whoever writes it writes the same
            break
        first = batch_begin + begin
        rows = min(end - begin, capacity)
        noise.row = begin
        x = take(job.X, job.order, first, rows, job.layers[0].n_inputs, scratch + ws.input * capacity)
        weight = take(job.weights, job.order, first, rows, 1, scratch + ws.weight * capacity)
        target = NULL
        classes = NULL
        if job.classes == NULL:
            target = take(job.targets, job.order, first, rows, n_outputs, scratch + ws.target * capacity)
        elif job.order == NULL:
            classes = job.classes + first
        else:
            for i in range(rows):
                gathered[i] = job.classes[job.order[first + i]]
            classes = gathered
        output = slab_forward(job.layers, job.n_layers, ws, parameters, x, scratch, rows, noise)
        if job.outputs != NULL:
            put(output, job.order, first, rows, n_outputs, <real*>job.outputs)
        loss += loss_block(job.loss, output, target, classes, weight, scale, scratch + ws.value * capacity, delta, rows)
        slab_backward(job.layers, job.n_layers, ws, parameters, x, scratch, rows, job.training, beta, gradient,
                      <real*>NULL)
        beta = 1
        begin += rows
    job.chunk_loss[chunk] = loss


cdef inline int not_finite(const real* a, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    cdef int bad = 0
    for i in range(n):
        bad |= a[i] - a[i] != 0  # inf - inf and nan - nan are nan
    return bad


cdef inline double sum_of_squares(const real* a, Py_ssize_t n) noexcept nogil:
    """In float64, by eight fixed accumulators: a plain sum can't be vectorised without changing its order."""
    cdef double part[8]
    cdef double total = 0
    cdef Py_ssize_t i, j
    for j in range(8):
        part[j] = 0
    for i in range(0, n - 7, 8):
        for j in range(8):
            part[j] += <double>a[i + j] * <double>a[i + j]
    for i in range(n - n % 8, n):
        part[i % 8] += <double>a[i] * <double>a[i]
    for j in range(8):
        total += part[j]
    return total


cdef inline double penalty_block(const SegmentSpec* segment, const real* theta, real* g, Py_ssize_t n) noexcept nogil:
    """Adds the gradient of l1 sum |w| + l2 sum w^2 to g and returns the penalty."""
    cdef real l1 = <real>segment.l1, l2 = <real>(2 * segment.l2)
    cdef double absolute = 0
    cdef Py_ssize_t i
    if segment.l1 == 0 and segment.l2 == 0:
        return 0
    for i in range(n):
        absolute += -theta[i] if theta[i] < 0 else theta[i]
        g[i] += l2 * theta[i] + (l1 if theta[i] > 0 else (-l1 if theta[i] < 0 else 0))
    return segment.l1 * absolute + segment.l2 * sum_of_squares(theta, n)


cdef inline void reduce_block(const Job* job, const real* parameters, const SegmentSpec* segment, int64_t begin,
                              Py_ssize_t n, Py_ssize_t block) noexcept nogil:
    """Adds the chunks' gradients, the penalty's and the clipping by value; notes norm, penalty and finiteness."""
    cdef real* g = <real*>job.gradients + begin
    cdef const real* partial
    cdef real bound
    cdef Py_ssize_t chunk, i
    for chunk in range(1, job.n_chunks):
        partial = <const real*>job.gradients + chunk * job.size + begin
        for i in range(n):
            g[i] += partial[i]
    job.block_penalty[block] = penalty_block(segment, parameters + begin, g, n)
    job.block_bad[block] = not_finite(<const real*>g, n)
    if job.optimizer != NULL and job.optimizer.clip_value > 0:
        bound = <real>job.optimizer.clip_value
        for i in range(n):
            g[i] = bound if g[i] > bound else (-bound if g[i] < -bound else g[i])
    if job.optimizer != NULL and job.optimizer.clip_norm > 0:
        job.block_norm[block] = sum_of_squares(<const real*>g, n)


cdef inline void update_block(const Job* job, real* parameters, const OptimizerStep* scalars,
                              const SegmentSpec* segment, int64_t begin, Py_ssize_t n, Py_ssize_t block,
                              double shrink) noexcept nogil:
    """Clipping by norm, then the optimizer; the parameters from before take the gradient's place, for `UNDO`."""
    cdef real* theta = parameters + begin
    cdef real* g = <real*>job.gradients + begin
    cdef real before[BLOCK]
    cdef Py_ssize_t i
    if shrink < 1:
        for i in range(n):
            g[i] *= <real>shrink
    memcpy(before, theta, n * sizeof(real))
    optimizer_update(job.optimizer, scalars, segment.rate, segment.decay, theta, <const real*>g,
                     <real*>job.state + begin, job.slots_stride, n)
    job.block_bad[block] = not_finite(<const real*>theta, n)
    memcpy(g, before, n * sizeof(real))


cdef inline void sweep(const Job* job, real* parameters, const OptimizerStep* scalars, double shrink, Pass what,
                       int thread, int n_threads) noexcept nogil:
    """One pass over this thread's share of the blocks of all segments."""
    cdef Py_ssize_t block = 0, lo = job.n_blocks * thread // n_threads, hi = job.n_blocks * (thread + 1) // n_threads
    cdef int64_t begin, n
    for i in range(job.n_segments):
        begin = job.segments[i].begin
        while begin < job.segments[i].end:
            n = min(job.segments[i].end - begin, <int64_t>BLOCK)
            if lo <= block < hi:
                if what == REDUCE:
                    reduce_block(job, <const real*>parameters, &job.segments[i], begin, n, block)
                elif what == UPDATE:
                    update_block(job, parameters, scalars, &job.segments[i], begin, n, block, shrink)
                else:
                    memcpy(parameters + begin, <const real*>job.gradients + begin, n * sizeof(real))
            block += 1
            begin += n


cdef inline double total(const double* parts, Py_ssize_t n) noexcept nogil:
    cdef double s = 0
    for i in range(n):
        s += parts[i]
    return s


cdef inline bint any_bad(const Job* job) noexcept nogil:
    for i in range(job.n_blocks):
        if job.block_bad[i]:
            return True
    return False


cdef inline void run(Job* job, real* parameters, real* scratch, int thread, int n_threads) noexcept nogil:
    """What each thread of the team does: all minibatches of the call, in step with the others."""
    cdef Py_ssize_t batch, begin, end, rows, chunk, done
    cdef double weight, loss, penalty, norm, shrink
    cdef double scalars[4]
    cdef double scalars_before[4]
    cdef OptimizerStep now
    cdef int status = DONE
    if job.optimizer != NULL:
        memcpy(scalars, job.scalars, sizeof(scalars))
    for batch in range(job.first, job.last):
        done = batch - job.first
        begin = batch * job.batch_size
        end = min(begin + job.batch_size, job.n_rows)
        rows = end - begin
        weight = sum_of_weights(job, <const real*>job.weights, begin, end)
        for chunk in range(job.n_chunks * thread // n_threads, job.n_chunks * (thread + 1) // n_threads):
            chunk_gradient(job, <const real*>parameters, scratch, chunk, begin, rows, job.step + done + 1,
                           1 / weight if weight > 0 else 0.0)
        barrier()
        if job.stopping:
            status = STOPPED
            break
        sweep(job, parameters, &now, 1.0, REDUCE, thread, n_threads)
        barrier()
        # From here on every thread comes to the same conclusions from the same numbers.
        loss = total(job.chunk_loss, job.n_chunks)
        penalty = total(job.block_penalty, job.n_blocks)
        if thread == 0:
            job.report[3 * done], job.report[3 * done + 1], job.report[3 * done + 2] = loss, weight, penalty
        if not isfinite(loss + penalty):
            status = LOSS_NOT_FINITE
        elif any_bad(job):
            status = GRADIENT_NOT_FINITE
        if job.optimizer == NULL or status != DONE:
            break
        shrink = 1
        if job.optimizer.clip_norm > 0:
            norm = sqrt(total(job.block_norm, job.n_blocks))
            if norm > job.optimizer.clip_norm:
                shrink = job.optimizer.clip_norm / norm
        memcpy(scalars_before, scalars, sizeof(scalars))
        now = optimizer_begin(job.optimizer, job.step + done + 1, job.rates[done], scalars)
        barrier()  # all have read block_bad, which the update writes anew
        sweep(job, parameters, &now, shrink, UPDATE, thread, n_threads)
        barrier()
        if any_bad(job):
            sweep(job, parameters, &now, shrink, UNDO, thread, n_threads)
            memcpy(scalars, scalars_before, sizeof(scalars))
            status = UPDATE_NOT_FINITE
            break
        if thread == 0:
            job.steps_done = done + 1
    if thread == 0:
        job.status = status
        if job.optimizer != NULL:
            memcpy(job.scalars, scalars, sizeof(scalars))
