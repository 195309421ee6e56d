"""The kernels one at a time, for tests, benchmarks and the curious: part of _engine.pyx."""

def gemm(const real[:, ::1] a, const real[:, ::1] b, real[:, ::1] out):
    """out = a b."""
    from_blas(&a[0, 0], &b[0, 0], &out[0, 0], a.shape[0], b.shape[1], a.shape[1])


cdef void from_blas(const real* a, const real* b, real* c, int64_t m, int64_t n, int64_t k) noexcept nogil:
    _blas_gemm(False, False, m, n, k, a, k, b, n, <real>0, c, n)


def activation_forward(int kind, const real[::1] z, real[::1] out, double alpha):
    """out = f(z)."""
    if z.shape[0]:
        _activations.activation_forward(kind, &z[0], &out[0], z.shape[0], <real>alpha)


def activation_backward(int kind, const real[::1] saved, real[::1] delta, double alpha):
    """delta *= f'(z), from z where `activation_keeps_input(kind)`, else from f(z)."""
    if saved.shape[0]:
        _activations.activation_backward(kind, &saved[0], &delta[0], saved.shape[0], <real>alpha)


def activation_keeps_input(int kind):
    """Whether the derivative is taken from z (True) or from f(z)."""
    return bool(_activations.activation_keeps_input(kind))


def activation_default_alpha(int kind):
    """The activation's usual parameter; 0 where it has none."""
    return _activations.activation_default_alpha(kind)


cdef enum:
    TILE = 64   # rows that `loss_block` and `link` turn into a slab at a time


cdef size_t loss_scratch(Py_ssize_t k) noexcept nogil:
    """Bytes that `rows_loss` works in, for k outputs."""
    return 4 * (k + 1) * TILE * sizeof(double)


cdef double rows_loss(const LossSpec* spec, const real* outputs, const real* targets, const int32_t* classes,
                      const real* weights, Py_ssize_t first, Py_ssize_t end, double scale, real* delta,
                      real* scratch) noexcept nogil:
    """The sum of w * loss over rows first .. end - 1; delta, unless NULL, = scale * w * dloss/doutputs of them."""
    cdef Py_ssize_t k = spec.n_outputs, rows, ld
    cdef double total = 0
    cdef real* t = scratch + (k + 1) * TILE
    cdef real* value = scratch + 2 * (k + 1) * TILE
    cdef real* d = scratch + 3 * (k + 1) * TILE
    cdef real* w = scratch + k * TILE
    cdef int32_t labels[TILE]
    while first < end:
        rows = min(end - first, <Py_ssize_t>TILE)
        ld = padded(rows, <const real*>scratch)
        gather(rows, ld, k, outputs, <const int64_t*>NULL, first, scratch)
        if targets != NULL:
            gather(rows, ld, spec.n_targets, targets, <const int64_t*>NULL, first, t)
        if weights != NULL:
            gather(rows, ld, 1, weights, <const int64_t*>NULL, first, w)
        if classes != NULL:
            memset(labels, 0, sizeof(labels))
            memcpy(labels, &classes[first], rows * sizeof(int32_t))
        total += _losses.loss_block(spec, <const real*>scratch, <const real*>t if targets != NULL else NULL,
                                    <const int32_t*>labels if classes != NULL else NULL,
                                    <const real*>w if weights != NULL else NULL, scale, value, d, rows, ld)
        if delta != NULL:
            scatter(rows, ld, k, <const real*>d, <const int64_t*>NULL, first, delta)
        first += TILE
    return total


def loss_block(const LossSpec[::1] spec, const real[:, ::1] outputs, const real[:, ::1] targets,
               const int32_t[::1] classes, const real[::1] weights, double scale, real[:, ::1] delta):
    """The sum of w * loss over all rows; delta = scale * w * dloss/doutputs. All arrays by rows, (n, k);
    of targets (n, n_targets)."""
    cdef size_t size = loss_scratch(outputs.shape[1])
    cdef void* scratch = malloc(size)
    cdef double total = 0
    if scratch == NULL:
        raise MemoryError(f"no memory for {size} bytes")
    if outputs.shape[0]:
        total = rows_loss(&spec[0], &outputs[0, 0], NULL if targets is None else &targets[0, 0],
                          NULL if classes is None else &classes[0], NULL if weights is None else &weights[0], 0,
                          outputs.shape[0], scale, &delta[0, 0], <real*>scratch)
    free(scratch)
    return total


def loss_link(int loss):
    """The loss's output link, of `links.Link`."""
    return _losses.loss_link(loss)


def link(int loss, const real[:, ::1] outputs, real[:, ::1] out):
    """out = the output link of the loss applied to raw outputs, both by rows, (n, k)."""
    cdef Py_ssize_t n = outputs.shape[0], k = outputs.shape[1], begin = 0, rows, ld
    cdef real* slab = <real*>malloc(k * TILE * sizeof(real))
    if slab == NULL:
        raise MemoryError(f"no memory for {k * TILE} numbers")
    while begin < n:
        rows = min(n - begin, <Py_ssize_t>TILE)
        ld = padded(rows, <const real*>slab)
        gather(rows, ld, k, &outputs[0, 0], <const int64_t*>NULL, begin, slab)
        _links.link_block(_losses.loss_link(loss), <const real*>slab, slab, k, ld)
        scatter(rows, ld, k, <const real*>slab, <const int64_t*>NULL, begin, &out[0, 0])
        begin += TILE
    free(slab)


def optimizer_slots(const OptimizerSpec[::1] spec):
    """How many numbers of state the optimizer keeps for each parameter."""
    return _optimizers.optimizer_slots(&spec[0])


def optimizer_update(const OptimizerSpec[::1] spec, const SegmentSpec[::1] segments, real[::1] theta,
                     real[::1] gradient, real[::1] state, double[::1] scalars, int64_t step, double rate):
    """One step on theta (p,) from its gradient, which becomes the old theta; step counts from 1.

    Penalty and clipping are the loop's; outside it, `penalty` and `clip` are the same.
    """
    cdef _optimizers.OptimizerStep now = _optimizers.optimizer_begin(&spec[0], step, rate, &scalars[0])
    cdef int64_t begin
    for i in range(segments.shape[0]):
        begin = segments[i].begin
        update_range(&spec[0], &now, &segments[i], &theta[begin], &gradient[begin],
                     <real*>NULL if state.shape[0] == 0 else &state[begin], theta.shape[0], segments[i].end - begin)


def clip(const OptimizerSpec[::1] spec, const SegmentSpec[::1] segments, real[::1] gradient):
    """Clips the gradient (p,) by value and by norm, as a step does."""
    cdef double squares = 0, factor
    for i in range(segments.shape[0]):
        squares += clip_values(&spec[0], &segments[i], &gradient[segments[i].begin],
                               segments[i].end - segments[i].begin)
    factor = norm_factor(&spec[0], squares)
    for i in range(segments.shape[0]):
        shrink_by(factor, &segments[i], &gradient[segments[i].begin], segments[i].end - segments[i].begin)


def penalty(const SegmentSpec[::1] segments, const LossSpec[::1] loss, const real[::1] theta, double weight):
    """The penalties that a step on theta (p,) adds to the mean loss of rows whose weights have that sum."""
    cdef double total = 0
    for i in range(segments.shape[0]):
        total += penalty_of(&segments[i], &theta[segments[i].begin], segments[i].end - segments[i].begin)
    return penalty_share(&loss[0], weight) * total


def dropout_mask(uint64_t seed, uint64_t step, uint32_t stream, uint64_t first, double rate, real[::1] out):
    """out = zeros and 1 / (1 - rate), a function of (seed, step, stream, first + i) alone."""
    if out.shape[0]:
        _random.dropout_mask(seed, step, stream, first, rate, &out[0], out.shape[0])


def permutation(uint64_t seed, uint64_t epoch, int64_t[::1] out):
    """out (n,) = a random order of 0 .. n - 1, a function of (seed, epoch) alone."""
    if out.shape[0]:
        with nogil:
            _random.permutation(seed, epoch, &out[0], out.shape[0])


def shuffle(bit_generator, int64_t[::1] x):
    """What `numpy.random.RandomState(bit_generator).shuffle(x)` does to x (n,), in half the time, without the GIL.

    For n up to 2^32: from there on NumPy draws numbers of 64 bits.
    """
    cdef const _random.BitGenerator* bits = <const _random.BitGenerator*>PyCapsule_GetPointer(
        bit_generator.capsule, "BitGenerator")
    if x.shape[0] > <int64_t>1 << 32:
        raise ValueError(f"at most 2**32 rows can be shuffled, got {x.shape[0]}")
    if x.shape[0] > 1:
        with bit_generator.lock, nogil:
            _random.shuffle(bits, &x[0], x.shape[0])


def count_nonzeros(const real[:, ::1] X, int64_t most, int64_t[::1] indptr):
    """indptr[1:] (n,) = indptr[0] and the numbers of X (n, k) but zeros up to each row; whether that is `most` at most.

    Where it is more the rest is not looked at.
    """
    cdef Py_ssize_t n = X.shape[0], k = X.shape[1], i = 0
    with nogil:
        while i < n and indptr[i] <= most:
            indptr[i + 1] = indptr[i] + nonzeros_of(&X[i, 0], k)
            i += 1
    return i == n and indptr[n] <= most


cdef inline int32_t nonzeros_of(const real* row, Py_ssize_t k) noexcept nogil:
    cdef int32_t count = 0
    cdef Py_ssize_t j
    for j in range(k):
        count += row[j] != 0
    return count


def take_nonzeros(const real[:, ::1] X, const int64_t[::1] indptr, int32_t[::1] indices, real[::1] values):
    """The columns and the values of X's numbers but zeros, row after row, `indptr` being what was counted."""
    cdef Py_ssize_t n = X.shape[0], k = X.shape[1], i, j
    cdef int64_t at, end
    with nogil:
        for i in range(n):
            at, end, j = indptr[i], indptr[i + 1], 0
            while at < end and j < k:  # each is written, and stays unless it is none
                indices[at] = <int32_t>j
                values[at] = X[i, j]
                at += X[i, j] != 0
                j += 1
            while at < end:  # another thread has changed X meanwhile
                indices[at], values[at] = 0, 0
                at += 1
