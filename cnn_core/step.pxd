"""One training step, seen by one thread of a team: chunks of the minibatch, the sum of their gradients, the update.

A minibatch is cut into chunks by sizes alone. Each chunk has a partial gradient of its own, partial gradients are added
in the order of the chunks, and sums over parameters go by fixed blocks: so no bit depends on the number of threads.
"""
from libc.math cimport isfinite, sqrt
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy, memset

from cnn_core.dense cimport Noise, layer_input, slab_backward, slab_forward
from cnn_core.losses cimport loss_block
from cnn_core.optimizers cimport OptimizerStep, optimizer_begin, optimizer_update
from cnn_core.team cimport Barrier, barrier
from cnn_core.tile cimport gather, padded, scatter
from cnn_core.types cimport DENSE, LayerSpec, LossSpec, OptimizerSpec, SegmentSpec, WorkspaceSpec, real
from cnn_core.wide cimport (PANEL, Slabs, make_slabs, rows_of, turn_panel, wide_delta, wide_dropouts, wide_forward,
                            wide_inputs, wide_weights)

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
    int64_t scratch_stride              # elements between the workspaces of two threads
    int64_t slots_stride                # elements between two slots of the optimizer's state
    bint wide                           # units are shared out among the threads (wide.pxd), else rows
    Py_ssize_t n_chunks                 # parts of a minibatch: chunks with a gradient of their own, or slabs
    Py_ssize_t turned_size              # wide: elements of the deltas by rows
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
    int stop_phase                      # wide: when thread 0 saw it
    Py_ssize_t steps_done
    int status
    Barrier* barrier


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


cdef inline void take_rows(const Job* job, Py_ssize_t first, Py_ssize_t rows, real* scratch) noexcept nogil:
    """Gathers rows `first` .. of the epoch's order into a slab: inputs, targets or classes, weights."""
    cdef const WorkspaceSpec* ws = job.workspace
    cdef Py_ssize_t n_in = job.layers[0].n_inputs, n_out = job.loss.n_outputs, ld = padded(rows, <const real*>scratch)
    cdef real* target = scratch + ws.target * ws.capacity
    gather(rows, ld, n_in, <const real*>job.X, job.n_rows * n_in, job.order, first, scratch + ws.input * ws.capacity)
    if job.weights != NULL:
        gather(rows, ld, 1, <const real*>job.weights, job.n_rows, job.order, first, scratch + ws.weight * ws.capacity)
    if job.classes != NULL:
        gather_classes(job, first, rows, ld, <int32_t*>target)
    else:
        gather(rows, ld, n_out, <const real*>job.targets, job.n_rows * n_out, job.order, first, target)


cdef inline double take_loss(const Job* job, const real* output, Py_ssize_t first, Py_ssize_t rows, double scale,
                             real* scratch) noexcept nogil:
    """The loss of a slab's outputs, which are kept where that is asked for; dL/d(output) to the delta buffer."""
    cdef const WorkspaceSpec* ws = job.workspace
    cdef Py_ssize_t n_out = job.loss.n_outputs, ld = padded(rows, output)
    cdef const real* target = scratch + ws.target * ws.capacity
    if job.outputs != NULL:
        scatter(rows, ld, n_out, output, job.order, first, <real*>job.outputs)
    return loss_block(job.loss, output, target if job.classes == NULL else NULL,
                      <const int32_t*>target if job.classes != NULL else NULL,
                      <const real*>(scratch + ws.weight * ws.capacity) if job.weights != NULL else NULL, scale,
                      scratch + ws.value * ws.capacity, scratch + ws.delta * ws.capacity, rows, ld)


cdef inline void chunk_gradient(Job* job, const real* parameters, real* scratch, Py_ssize_t chunk,
                                Py_ssize_t batch_begin, Py_ssize_t batch_rows, Noise noise,
                                double scale) noexcept nogil:
    """Forward, loss and backward of one chunk of a minibatch, in slabs; its loss and its partial gradient."""
    cdef Py_ssize_t begin = batch_rows * chunk // job.n_chunks, end = batch_rows * (chunk + 1) // job.n_chunks, rows
    cdef real* gradient = <real*>job.gradients + chunk * job.size
    cdef const real* output
    cdef double loss = 0
    cdef bint add = False
    if begin == end:  # the last minibatch may have fewer rows than there are chunks
        memset(gradient, 0, job.size * sizeof(real))
    while begin < end:
        if job.stop != NULL and job.stop[0]:
            job.stopping = True  # read by all after the barrier; whoever writes it writes the same
            break
        rows = min(end - begin, <Py_ssize_t>job.workspace.capacity)
        noise.row = begin
        take_rows(job, batch_begin + begin, rows, scratch)
        output = slab_forward(job.layers, job.n_layers, job.workspace, parameters, scratch, rows, noise)
        loss += take_loss(job, output, batch_begin + begin, rows, scale, scratch)
        slab_backward(job.layers, job.n_layers, job.workspace, parameters, scratch, rows, job.training, add, gradient,
                      False)
        add = True
        begin += rows
    job.chunk_loss[chunk] = loss


cdef inline bint phase_ends(Job* job, int phase, int thread, int n_threads) noexcept nogil:
    """A barrier; whether the minibatch is given up, on which all threads agree: they look at their own phase alone."""
    if thread == 0 and job.stop != NULL and job.stop[0] and job.stop_phase == 0:
        job.stop_phase = phase
    barrier(job.barrier, n_threads)
    if job.stop_phase == phase:
        job.stopping = True
    return job.stop_phase == phase


cdef inline void wide_gradient(Job* job, const real* parameters, real* scratch, Py_ssize_t batch_begin,
                               Py_ssize_t batch_rows, Noise noise, double scale, int thread,
                               int n_threads) noexcept nogil:
    """The same of a whole minibatch by the whole team; ends behind a barrier."""
    cdef const WorkspaceSpec* ws = job.workspace
    cdef const LayerSpec* layers = job.layers
    cdef Slabs slabs = make_slabs(ws, batch_rows)
    cdef Py_ssize_t s, first = slabs.n * thread // n_threads, end = slabs.n * (thread + 1) // n_threads
    cdef int64_t delta = ws.delta, next_delta = ws.delta_next
    # The deltas by rows stand behind the workspaces of as many slabs as the largest minibatch has.
    cdef real* turned = scratch + job.n_chunks * slabs.stride
    cdef real* other = turned + job.turned_size
    cdef real* own
    cdef int i, below, phase = 1
    for s in range(first, end):
        own = scratch + s * slabs.stride
        take_rows(job, batch_begin + s * slabs.capacity, rows_of(&slabs, s), own)
        noise.row = s * slabs.capacity
        wide_dropouts(layers, job.n_layers, 0, ws, own, 0, layers[0].n_inputs, rows_of(&slabs, s),
                      padded(rows_of(&slabs, s), parameters), noise)
    if phase_ends(job, phase, thread, n_threads):
        return
    for i in range(job.n_layers):
        if layers[i].kind == DENSE:
            wide_forward(layers, job.n_layers, i, ws, &slabs, parameters, scratch, noise, thread, n_threads)
            phase += 1
            if phase_ends(job, phase, thread, n_threads):
                return
    for s in range(first, end):
        wide_loss(job, &slabs, s, batch_begin, scale, scratch + s * slabs.stride, turned)
    if thread == 0:
        for s in range(slabs.n, job.n_chunks):  # a last minibatch may have fewer slabs
            job.chunk_loss[s] = 0
    phase += 1
    if phase_ends(job, phase, thread, n_threads):
        return
    i = job.n_layers - 1
    while i >= 0:
        below = i - 1
        while below >= 0 and layers[below].kind != DENSE:
            below -= 1
        wide_weights(layers, i, ws, &slabs, <const real*>scratch, <const real*>turned, <real*>job.gradients,
                     job.training, thread, n_threads)
        if below >= 0:
            wide_inputs(layers, i, below, ws, &slabs, parameters, scratch, delta, next_delta, other, job.training,
                        thread, n_threads)
        phase += 1
        if phase_ends(job, phase, thread, n_threads):
            return
        delta, next_delta = next_delta, delta
        turned, other = other, turned
        i = below


cdef inline void wide_loss(const Job* job, const Slabs* slabs, Py_ssize_t s, Py_ssize_t batch_begin, double scale,
                           real* own, real* turned) noexcept nogil:
    """A slab's loss, and the deltas of the last layer, by units and by rows."""
    cdef const WorkspaceSpec* ws = job.workspace
    cdef Py_ssize_t rows = rows_of(slabs, s), ld = padded(rows, <const real*>own), n = job.loss.n_outputs, u = 0
    cdef real* delta = own + ws.delta * ws.capacity
    job.chunk_loss[s] = take_loss(job, layer_input(job.layers, job.n_layers, ws, <const real*>own, True),
                                  batch_begin + s * slabs.capacity, rows, scale, own)
    wide_delta(job.layers, job.n_layers - 1, ws, own, delta, 0, n, ld)
    while u < n:
        turn_panel(slabs, s, u, min(n - u, <Py_ssize_t>PANEL), ld, <const real*>delta, turned)
        u += PANEL


cdef inline void gather_classes(const Job* job, Py_ssize_t first, Py_ssize_t rows, Py_ssize_t ld,
                                int32_t* classes) noexcept nogil:
    cdef Py_ssize_t r
    for r in range(rows):
        classes[r] = job.classes[job.order[first + r] if job.order != NULL else first + r]
    for r in range(rows, ld):
        classes[r] = 0


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
    for chunk in range(1, 1 if job.wide else job.n_chunks):
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
    cdef double weight, scale, loss, penalty, norm, shrink
    cdef Noise noise
    cdef double scalars[4]
    cdef double scalars_before[4]
    cdef OptimizerStep now
    cdef int status = DONE
    noise.training, noise.seed, noise.row = job.training, job.seed, 0
    if job.optimizer != NULL:
        memcpy(scalars, job.scalars, sizeof(scalars))
    for batch in range(job.first, job.last):
        done = batch - job.first
        begin = batch * job.batch_size
        end = min(begin + job.batch_size, job.n_rows)
        rows = end - begin
        weight = sum_of_weights(job, <const real*>job.weights, begin, end)
        scale = 1 / weight if weight > 0 else 0.0
        noise.step = job.step + done + 1
        if job.wide:
            wide_gradient(job, <const real*>parameters, scratch, begin, rows, noise, scale, thread, n_threads)
        else:
            for chunk in range(job.n_chunks * thread // n_threads, job.n_chunks * (thread + 1) // n_threads):
                chunk_gradient(job, <const real*>parameters, scratch + thread * job.scratch_stride, chunk, begin, rows,
                               noise, scale)
            barrier(job.barrier, n_threads)
        if job.stopping:
            status = STOPPED
            break
        sweep(job, parameters, &now, 1.0, REDUCE, thread, n_threads)
        barrier(job.barrier, n_threads)
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
        barrier(job.barrier, n_threads)  # all have read block_bad, which the update writes anew
        sweep(job, parameters, &now, shrink, UPDATE, thread, n_threads)
        barrier(job.barrier, n_threads)
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
