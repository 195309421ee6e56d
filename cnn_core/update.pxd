"""From the gradient to the new parameters, block by block of the arena: sums of parts, penalties, clipping, optimizer.

Sums over parameters go by blocks of fixed size, in float64, so that no bit depends on who adds what.
"""
from libc.math cimport sqrt
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from cnn_core.job cimport Job
from cnn_core.optimizers cimport ADADELTA, ADAGRAD, ADAM, NADAM, RMSPROP, OptimizerStep, optimizer_update
from cnn_core.types cimport LossSpec, OptimizerSpec, SegmentSpec, real
from cnn_core.vecmath cimport loop, v_abs

# Elements of the arena that one thread sums and updates at a time: a few buffers of this size stay in L1.
cdef enum:
    BLOCK = 1024

# What `for_own_blocks` does with each block of parameters.
cdef enum Pass:
    REDUCE
    UPDATE
    BOTH
    UNDO
    GATHER


# What was found in a block, or in several by `|`.
cdef enum Finding:
    BAD_GRADIENT = 1
    BAD_UPDATE = 2


cdef inline Py_ssize_t count_blocks(const SegmentSpec* segments, int n_segments) noexcept nogil:
    cdef Py_ssize_t blocks = 0
    for i in range(n_segments):
        blocks += (segments[i].end - segments[i].begin + BLOCK - 1) // BLOCK
    return blocks


cdef inline loop add_2(real* g, const real* a, Py_ssize_t n) noexcept nogil:
    for i in range(n):
        g[i] += a[i]


cdef inline loop add_4(real* g, const real* a, const real* b, const real* c, Py_ssize_t n) noexcept nogil:
    for i in range(n):
        g[i] = (g[i] + a[i]) + (b[i] + c[i])


cdef inline void add_partials(real* g, int64_t stride, Py_ssize_t n_parts, Py_ssize_t n) noexcept nogil:
    """g (n,) = the sum of this range of all parts, a power of two, as a binary tree: each half alone, then the two.

    Two levels at a time; the sum of a subtree stands in the first of its parts.
    """
    cdef Py_ssize_t part
    cdef real* a
    while n_parts >= 4:
        for part in range(0, n_parts, 4):
            a = g + part * stride
            add_4(a, <const real*>(a + stride), <const real*>(a + 2 * stride), <const real*>(a + 3 * stride), n)
        stride *= 4
        n_parts //= 4
    if n_parts == 2:
        add_2(g, <const real*>(g + stride), n)


cdef inline void add_all_partials(real* gradients, int64_t size, Py_ssize_t n_parts) noexcept nogil:
    """Adds whole gradients (size,), one after the other in memory, as a binary tree."""
    cdef int64_t begin = 0
    while begin < size:
        add_partials(gradients + begin, size, n_parts, min(size - begin, <int64_t>BLOCK))
        begin += BLOCK


cdef inline int not_finite(const real* a, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    cdef int bad = 0
    for i in range(n):
        bad |= a[i] - a[i] != 0  # inf - inf and nan - nan are nan
    return bad


cdef inline double float64_sum(const real* a, Py_ssize_t n, bint squares) noexcept nogil:
    """Of a^2, or of |a|, by eight fixed accumulators: a plain sum can't be vectorised without changing its order."""
    cdef double part[8]
    cdef double total = 0
    cdef Py_ssize_t i, j
    for j in range(8):
        part[j] = 0
    for i in range(0, n - 7, 8):
        for j in range(8):
            part[j] += <double>a[i + j] * <double>a[i + j] if squares else <double>v_abs(a[i + j])
    for i in range(n - n % 8, n):
        part[i % 8] += <double>a[i] * <double>a[i] if squares else <double>v_abs(a[i])
    for j in range(8):
        total += part[j]
    return total


cdef inline loop add_decay(real* g, const real* theta, real l1, real l2, Py_ssize_t n) noexcept nogil:
    """g += l1 sign(theta) + l2 theta."""
    cdef real zero = <real>0
    for i in range(n):
        g[i] += l2 * theta[i] + ((l1 if theta[i] > zero else zero) - (l1 if theta[i] < zero else zero))


cdef inline double penalty_of(const SegmentSpec* segment, const real* theta, Py_ssize_t n) noexcept nogil:
    """l1 sum |w| + l2 sum w^2 of some parameters of a segment."""
    cdef double penalty = 0
    if segment.l1 != 0:
        penalty += segment.l1 * float64_sum(theta, n, False)
    if segment.l2 != 0:
        penalty += segment.l2 * float64_sum(theta, n, True)
    return penalty


cdef inline double penalty_share(const LossSpec* loss, double weight) noexcept nogil:
    """The factor on the penalties of rows whose weights have that sum."""
    return 1 / weight if loss.shared_penalty and weight > 0 else 1.0


cdef inline double clip_values(const OptimizerSpec* spec, const SegmentSpec* segment, real* g,
                               Py_ssize_t n) noexcept nogil:
    """Clipping by value; the sum of squares that the clipping by norm needs, 0 where there is none."""
    cdef real bound = <real>spec.clip_value
    cdef Py_ssize_t i
    if segment.running:
        return 0
    if bound > 0:
        for i in range(n):
            g[i] = bound if g[i] > bound else (-bound if g[i] < -bound else g[i])
    return float64_sum(<const real*>g, n, True) if spec.clip_norm > 0 else 0.0


cdef inline double norm_factor(const OptimizerSpec* spec, double squares) noexcept nogil:
    """What the clipping by norm multiplies a gradient by, from its sum of squares."""
    cdef double norm = sqrt(squares)
    return spec.clip_norm / norm if 0 < spec.clip_norm < norm else 1.0


cdef inline void shrink_by(double factor, const SegmentSpec* segment, real* g, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    if factor < 1 and not segment.running:
        for i in range(n):
            g[i] *= <real>factor


cdef inline void reduce_block(const Job* job, const real* parameters, const SegmentSpec* segment, int64_t begin,
                              Py_ssize_t n, Py_ssize_t block, double share) noexcept nogil:
    """Adds the chunks' gradients, unless that is done, the penalty's and the clipping by value; notes what is found."""
    cdef real* g = <real*>job.gradients + begin
    if not job.wide and job.exchange == NULL:
        add_partials(g, job.size, job.n_chunks, n)
    if segment.l1 != 0 or segment.l2 != 0:
        add_decay(g, parameters + begin, <real>(share * segment.l1), <real>(2 * share * segment.l2), n)
    job.block_penalty[block] = share * penalty_of(segment, parameters + begin, n)
    job.block_bad[block] = BAD_GRADIENT if not_finite(<const real*>g, n) else 0
    if job.optimizer != NULL:
        job.block_norm[block] = clip_values(job.optimizer, segment, g, n)


cdef inline loop take_off(real* theta, real* g, Py_ssize_t n) noexcept nogil:
    """theta -= g, and g becomes the old theta."""
    cdef Py_ssize_t i
    cdef real before
    for i in range(n):
        before = theta[i]
        theta[i] = before - g[i]
        g[i] = before


cdef inline void update_range(const OptimizerSpec* spec, const OptimizerStep* scalars, const SegmentSpec* segment,
                              real* theta, real* g, real* state, Py_ssize_t stride, Py_ssize_t n) noexcept nogil:
    """The new parameters of a part of a segment; g becomes the old ones."""
    if segment.running:
        take_off(theta, g, n)
    else:
        optimizer_update(spec, scalars, segment.rate, segment.decay, theta, g, state, stride, n)


cdef inline void update_block(const Job* job, real* parameters, const OptimizerStep* scalars,
                              const SegmentSpec* segment, int64_t begin, Py_ssize_t n, Py_ssize_t block,
                              double shrink) noexcept nogil:
    """Clipping by norm, then the optimizer, which leaves the parameters from before in g, for `UNDO`."""
    cdef real* theta = parameters + begin
    cdef real* g = <real*>job.gradients + begin
    shrink_by(shrink, segment, g, n)
    update_range(job.optimizer, scalars, segment, theta, g, <real*>job.state + begin, job.slots_stride, n)
    if not_finite(<const real*>theta, n) or squares_overflow(job.optimizer, <const real*>job.state + begin,
                                                             job.slots_stride, n):
        job.block_bad[block] |= BAD_UPDATE


cdef inline bint squares_overflow(const OptimizerSpec* spec, const real* state, Py_ssize_t stride,
                                  Py_ssize_t n) noexcept nogil:
    """Whether a mean or a sum of squares is infinite: every later step of that parameter would be 0, without a word."""
    if spec.kind == ADAM or spec.kind == NADAM:
        return not_finite(state + stride, n)
    return (spec.kind == RMSPROP or spec.kind == ADAGRAD or spec.kind == ADADELTA) and not_finite(state, n)


cdef inline void for_own_blocks(const Job* job, real* parameters, const OptimizerStep* scalars, double share,
                                double shrink, Pass what, int thread, int n_threads) noexcept nogil:
    """One pass over this thread's part of the blocks of all segments; `share` is a factor on the penalties."""
    cdef Py_ssize_t block = 0, lo = job.n_blocks * thread // n_threads, hi = job.n_blocks * (thread + 1) // n_threads
    cdef int64_t begin, n
    for i in range(job.n_segments):
        begin = job.segments[i].begin
        while begin < job.segments[i].end:
            n = min(job.segments[i].end - begin, <int64_t>BLOCK)
            if lo <= block < hi:
                if what == REDUCE or what == BOTH:
                    reduce_block(job, <const real*>parameters, &job.segments[i], begin, n, block, share)
                if what == UPDATE or what == BOTH:
                    update_block(job, parameters, scalars, &job.segments[i], begin, n, block, shrink)
                elif what == GATHER:
                    add_partials(<real*>job.gradients + begin, job.size, job.n_chunks, n)
                elif what == UNDO:
                    memcpy(parameters + begin, <const real*>job.gradients + begin, n * sizeof(real))
            block += 1
            begin += n


cdef inline double total(const double* parts, Py_ssize_t n) noexcept nogil:
    """Of chunks or blocks, as a binary tree too: the first half, the largest power of two, and the rest."""
    cdef Py_ssize_t half = 1
    if n < 2:
        return parts[0] if n == 1 else 0.0
    while 2 * half < n:
        half *= 2
    return total(parts, half) + total(parts + half, n - half)


cdef inline int block_errors(const Job* job) noexcept nogil:
    cdef int found = 0
    for i in range(job.n_blocks):
        found |= job.block_bad[i]
    return found
