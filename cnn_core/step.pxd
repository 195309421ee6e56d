"""One training step, seen by one thread of a team: chunks of the minibatch, the sum of their gradients, the update.

A minibatch is cut into chunks by sizes alone. Each chunk has a partial gradient of its own, partial gradients are added
as a fixed binary tree, and sums over parameters go by fixed blocks: so no bit depends on the number of threads.
"""
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset

from cnn_core.batch_rows cimport sum_of_weights, take_loss, take_rows
from cnn_core.dense cimport chunk_begin
from cnn_core.job cimport DONE, GRADIENT_NOT_FINITE, LOSS_NOT_FINITE, STOPPED, UPDATE_NOT_FINITE, Job
from cnn_core.lines cimport (bands_gradient, bands_of, by_lines, lines_delta, lines_forward, lines_slope,
                             partial_elements, phase_from, slabs_backward, sum_of_parts)
from cnn_core.optimizers cimport OptimizerStep, optimizer_begin
from cnn_core.random cimport Noise, noise_of
from cnn_core.layer cimport first_with_parameters, layer_input, moves, slab_backward, slab_forward
from cnn_core.slabs cimport Slabs, make_slabs, rows_of
from cnn_core.sparse cimport first_dense, zero_weights
from cnn_core.sparse_rows cimport SparseRows, rows_from
from cnn_core.sparse_wide cimport wide_sparse_forward, wide_sparse_weights
from cnn_core.stairs cimport stair_sums
from cnn_core.team cimport barrier, flush, note, peek, stopped, unflush
from cnn_core.tile cimport padded
from cnn_core.types cimport CONVOLUTION, DENSE, DROPOUT, LayerSpec, ShareSpec, WorkspaceSpec, real
from cnn_core.update cimport (BAD_GRADIENT, BOTH, GATHER, REDUCE, UNDO, UPDATE, block_errors, for_own_blocks,
                              norm_factor, penalty_share, total)
from cnn_core.wide cimport (PANEL, dense_from, dropouts_from, transpose_panel, wide_delta, wide_forward,
                            wide_gradients, wide_inputs, wide_slab_forward, wide_slabs_delta, wide_slabs_forward,
                            wide_units_forward, wide_weights)
from cnn_core.winograd cimport room_elements


cdef inline ShareSpec whole_minibatch(const Job* job, Py_ssize_t batch, const real* kind) noexcept nogil:
    """All rows of a minibatch."""
    cdef ShareSpec share
    share.begin = batch * job.batch_size
    share.rows = share.all_rows = share.cut_rows = min(job.batch_size, job.n_rows - share.begin)
    share.above, share.first_chunk, share.all_chunks = 0, 0, job.n_chunks
    share.weight = sum_of_weights(job, <const real*>job.weights, share.begin, share.begin + share.rows)
    return share


cdef inline Py_ssize_t own_chunk(const ShareSpec* share, Py_ssize_t chunk) noexcept nogil:
    """The first row of one of this process's chunks, counted from the first of its share."""
    return (chunk_begin(share.cut_rows, share.first_chunk + chunk, share.all_chunks)
            - chunk_begin(share.cut_rows, share.first_chunk, share.all_chunks))


cdef inline void chunk_gradient(Job* job, const real* parameters, real* scratch, Py_ssize_t chunk,
                                const ShareSpec* share, Noise noise, double scale) noexcept nogil:
    """Forward, loss and backward of one chunk of a minibatch, in slabs; its loss and its partial gradient."""
    cdef Py_ssize_t begin = own_chunk(share, chunk), end = own_chunk(share, chunk + 1), rows
    cdef real* gradient = <real*>job.gradients + chunk * job.size
    cdef const real* output
    cdef double loss = 0
    cdef bint add = False
    cdef SparseRows here
    cdef const SparseRows* sparse = NULL if job.X.at != NULL else &here
    if begin == end:  # the minibatch may have fewer groups of rows than there are chunks
        memset(gradient, 0, job.size * sizeof(real))
    while begin < end:
        if stopped(job.stop):
            note(&job.stopping, True)  # read by all after the barrier; whoever writes it writes the same
            break
        rows = min(end - begin, <Py_ssize_t>job.workspace.capacity)
        noise.row = share.above + begin
        take_rows(job, share.begin + begin, rows, noise, scratch)
        here = rows_from(&job.sparse, share.begin + begin, noise)
        output = slab_forward(job.layers, job.n_layers, job.workspace, parameters, scratch, rows, noise, sparse, NULL)
        loss += take_loss(job, output, share.begin + begin, rows, scale, scratch)
        slab_backward(job.layers, job.n_layers, job.workspace, parameters, scratch, rows, job.training, add, gradient,
                      False, sparse, NULL)
        add = True
        begin += rows
    job.chunk_loss[chunk] = loss


cdef inline bint phase_ends(Job* job, int phase, bint given_up, int n_threads) noexcept nogil:
    """A barrier; whether the minibatch is given up, on which all threads agree: they look at their own phase alone.

    Whoever has left out work says so before the barrier; in the next phase nobody can before all have left this one or
    read it, for then they find a phase that is not theirs.
    """
    if given_up and peek(&job.stop_phase) == 0:
        note(&job.stop_phase, phase)
    barrier(job.barrier, n_threads)
    if peek(&job.stop_phase) != phase:
        return False
    note(&job.stopping, True)
    return True


cdef inline bint wide_kinds_forward(Job* job, const Slabs* slabs, int first, int end, const real* parameters,
                                    real* scratch, real* room, Noise noise, int thread, int n_threads,
                                    int* phase) noexcept nogil:
    """Layers first .. end - 1, none of them dense, a barrier behind each phase; whether the minibatch is given up.

    A layer that needs all rows at once is a phase of units, a convolution of few slabs one of lines, those between two
    such are one of slabs.
    """
    cdef int next_layer
    cdef bint given_up
    while first < end:
        next_layer = phase_from(job.layers, first, end, job.training, slabs, n_threads)
        if next_layer == first and by_lines(&job.layers[first], slabs, n_threads):
            next_layer += 1
            given_up = lines_forward(job.layers, first, job.workspace, slabs, parameters, scratch, room, job.training,
                                     thread, n_threads, job.stop)
        elif next_layer == first:
            next_layer += 1
            given_up = wide_units_forward(job.layers, first, job.workspace, slabs, parameters, scratch, thread,
                                          n_threads, job.stop)
        else:
            given_up = wide_slabs_forward(job.layers, first, next_layer, job.workspace, slabs, parameters, scratch,
                                          room, noise, thread, n_threads, job.stop)
        phase[0] += 1
        if phase_ends(job, phase[0], given_up, n_threads):
            return True
        first = next_layer
    return False


cdef inline bint wide_moves(Job* job, int i, const Slabs* slabs, const real* parameters, real* scratch, real* room,
                            int64_t delta, int64_t next_delta, real* partial, bint go_on, int thread, int n_threads,
                            int* phase) noexcept nogil:
    """The way back of a layer of another width, a barrier behind each phase; whether the minibatch is given up.

    It is one phase of slabs, but of a convolution of few slabs one for each of its parts, by lines.
    """
    cdef const LayerSpec* layers = job.layers
    cdef const WorkspaceSpec* ws = job.workspace
    cdef bint given_up
    phase[0] += 1
    if layers[i].kind != CONVOLUTION or bands_of(&layers[i], slabs.n) == 1:
        given_up = slabs_backward(layers, i, ws, slabs, parameters, scratch, room, delta, next_delta, partial,
                                  job.training, go_on, thread, n_threads, job.stop)
        return phase_ends(job, phase[0], given_up, n_threads)
    given_up = lines_slope(&layers[i], ws, slabs, scratch, delta, thread, n_threads, job.stop)
    if phase_ends(job, phase[0], given_up, n_threads):
        return True
    phase[0] += 1
    given_up = bands_gradient(layers, i, ws, slabs, scratch, delta, partial, job.training, thread, n_threads, job.stop)
    if go_on and not given_up:
        given_up = lines_delta(layers, i, ws, slabs, parameters, scratch, room, delta, next_delta, thread, n_threads,
                               job.stop)
    return phase_ends(job, phase[0], given_up, n_threads)


cdef inline void wide_gradient(Job* job, const real* parameters, real* scratch, const ShareSpec* share,
                               Noise noise, double scale, int thread, int n_threads) noexcept nogil:
    """Forward, loss and backward of a whole minibatch by the whole team; ends behind a barrier."""
    cdef const WorkspaceSpec* ws = job.workspace
    cdef const LayerSpec* layers = job.layers
    cdef Slabs slabs = make_slabs(ws, share.rows, share.above)
    cdef Py_ssize_t s, first = slabs.n * thread // n_threads, end = slabs.n * (thread + 1) // n_threads
    cdef Py_ssize_t batch_begin = share.begin
    cdef int64_t delta = ws.delta, next_delta = ws.delta_next
    # The deltas by rows stand behind the workspaces of as many slabs as the largest minibatch has.
    cdef real* transposed = scratch + job.n_chunks * slabs.stride
    cdef real* other = transposed + job.transposed_size
    cdef real* partial = other + job.transposed_size  # gradients of a convolution, part by part
    # What convolutions work in: of each thread one.
    cdef real* room = (partial + partial_elements(layers, job.n_layers, job.n_chunks, ws.capacity)
                       + thread * room_elements(layers, job.n_layers, ws.capacity))
    cdef real* own
    cdef bint given_up = False
    cdef int i, below, top, phase = 1, on_sparse = -1 if job.X.at != NULL else first_dense(layers)
    cdef int lowest = first_with_parameters(layers), bottom = dense_from(layers, job.n_layers, 0)
    cdef int alone = phase_from(layers, 0, bottom, job.training, &slabs, n_threads)  # so many layers need no other slab
    if job.exchange != NULL:
        slabs.share = <double>share.rows / share.all_rows
    if on_sparse >= 0:
        zero_weights(&job.sparse, &layers[on_sparse], thread, n_threads, <real*>job.gradients)
    for s in range(first, end):
        if stopped(job.stop):
            given_up = True
            break
        own = scratch + s * slabs.stride
        noise.row = slabs.above + s * slabs.capacity
        take_rows(job, batch_begin + s * slabs.capacity, rows_of(&slabs, s), noise, own)
        if on_sparse < 0:
            wide_slab_forward(layers, 0, alone, ws, parameters, own, room, rows_of(&slabs, s), noise)
    if phase_ends(job, phase, given_up, n_threads):
        return
    if wide_kinds_forward(job, &slabs, alone, bottom, parameters, scratch, room, noise, thread, n_threads, &phase):
        return
    for i in range(job.n_layers):
        if layers[i].kind == DENSE:
            if i == on_sparse:
                given_up = wide_sparse_forward(&job.sparse, layers, job.n_layers, i, ws, &slabs, batch_begin,
                                               parameters, scratch, noise, thread, n_threads, job.stop)
            else:
                given_up = wide_forward(layers, job.n_layers, i, ws, &slabs, parameters, scratch, noise, thread,
                                        n_threads, job.stop)
            phase += 1
            if phase_ends(job, phase, given_up, n_threads):
                return
            # The dropouts above it are done; other kinds need all units of a row.
            below = dropouts_from(layers, job.n_layers, i + 1)
            top = dense_from(layers, job.n_layers, below)
            if wide_kinds_forward(job, &slabs, below, top, parameters, scratch, room, noise, thread, n_threads, &phase):
                return
    for s in range(first, end):
        if stopped(job.stop):
            given_up = True
            break
        wide_loss(job, &slabs, s, batch_begin, scale, scratch + s * slabs.stride, transposed)
    if thread == 0:
        for s in range(slabs.n, job.n_chunks):  # a last minibatch may have fewer slabs
            job.chunk_loss[s] = 0
    phase += 1
    if phase_ends(job, phase, given_up, n_threads):
        return
    i = job.n_layers - 1
    while i >= lowest:
        below = i - 1
        while below >= 0 and layers[below].kind != DENSE:
            below -= 1
        top = i - 1
        while top > below and layers[top].kind == DROPOUT:
            top -= 1
        if i == on_sparse:
            given_up = wide_sparse_weights(&job.sparse, layers, i, &slabs, batch_begin, <const real*>transposed,
                                           <real*>job.gradients, noise, thread, n_threads, job.stop)
        else:
            given_up = wide_weights(layers, i, ws, &slabs, <const real*>scratch, <const real*>transposed,
                                    <real*>job.gradients, job.training, thread, n_threads, job.stop)
        if i > lowest and not given_up:
            given_up = wide_inputs(layers, i, top, ws, &slabs, parameters, scratch, delta, next_delta, other,
                                   job.training, thread, n_threads, job.stop)
        phase += 1
        if phase_ends(job, phase, given_up, n_threads):
            return
        delta, next_delta = next_delta, delta
        transposed, other = other, transposed
        for i in range(top, max(below, lowest - 1), -1):
            if moves(layers[i].kind):
                if wide_moves(job, i, &slabs, parameters, scratch, room, delta, next_delta, partial, i > lowest, thread,
                              n_threads, &phase):
                    return
                delta, next_delta = next_delta, delta
                if layers[i].weights >= 0:  # the barrier keeps the parts until all have read them
                    sum_of_parts(&layers[i], &slabs, <const real*>partial, <real*>job.gradients, thread, n_threads)
                    barrier(job.barrier, n_threads)
                if i == lowest:
                    break
                continue
            # Two phases: units are shared out for the gradient, then slabs, whose deltas it needs as they are.
            if layers[i].weights >= 0:
                given_up = wide_gradients(layers, i, ws, &slabs, parameters, scratch, delta, <real*>job.gradients,
                                          job.training, i > lowest, thread, n_threads, job.stop)
                phase += 1
                if phase_ends(job, phase, given_up, n_threads):
                    return
            if i == lowest:  # nobody asks for the delta below it
                break
            given_up = wide_slabs_delta(layers, i, ws, &slabs, parameters, scratch, delta, transposed, job.training,
                                        thread, n_threads, job.stop)
            phase += 1
            if phase_ends(job, phase, given_up, n_threads):
                return
        i = below


cdef inline void wide_loss(const Job* job, const Slabs* slabs, Py_ssize_t s, Py_ssize_t batch_begin, double scale,
                           real* own, real* transposed) noexcept nogil:
    """A slab's loss, and the deltas of the last layer, by units and by rows."""
    cdef const WorkspaceSpec* ws = job.workspace
    cdef Py_ssize_t rows = rows_of(slabs, s), ld = padded(rows, <const real*>own), n = job.loss.n_outputs, u = 0
    cdef real* delta = own + ws.delta * ws.capacity
    job.chunk_loss[s] = take_loss(job, layer_input(job.layers, job.n_layers, ws, <const real*>own, True),
                                  batch_begin + s * slabs.capacity, rows, scale, own)
    wide_delta(job.layers, job.n_layers - 1, ws, own, delta, 0, n, ld)
    while u < n:
        transpose_panel(slabs, s, u, min(n - u, <Py_ssize_t>PANEL), ld, <const real*>delta, transposed)
        u += PANEL


cdef inline int step_status(double loss, int found) noexcept nogil:
    """The status of a step by its loss and what was found in its gradient and update."""
    if not isfinite(loss):
        return LOSS_NOT_FINITE
    if found & BAD_GRADIENT:
        return GRADIENT_NOT_FINITE
    return UPDATE_NOT_FINITE if found else DONE


cdef inline void nothing(Job* job, const real* kind, int thread, int n_threads) noexcept nogil:
    """Gradient and loss of no rows in wide layers; ends behind a barrier."""
    if thread == 0:
        memset(job.gradients, 0, job.size * sizeof(real))
        memset(job.chunk_loss, 0, job.n_chunks * sizeof(double))
    barrier(job.barrier, n_threads)


cdef inline bint exchanged(Job* job, real* parameters, Py_ssize_t batch, int thread, int n_threads) noexcept nogil:
    """Makes the first gradient and loss the sums over all chunks of all processes; False where that failed."""
    if not job.wide:
        for_own_blocks(job, parameters, NULL, 0, 0, GATHER, thread, n_threads)
        barrier(job.barrier, n_threads)
    if thread == 0:
        job.chunk_loss[0] = total(job.chunk_loss, job.n_chunks)
        if job.exchange(job.others, batch) != 0:
            note(&job.stopping, True)
    barrier(job.barrier, n_threads)
    return not peek(&job.stopping)


cdef inline bint averaged(Job* job, Py_ssize_t steps, int thread, int n_threads) noexcept nogil:
    """After so many steps of the epoch, all of which are made here: whether all processes are alike if they must be."""
    if job.average == NULL or (steps % job.average_every and steps < job.n_shares):
        return True
    if thread == 0 and job.average(job.others, steps) != 0:
        note(&job.stopping, True)
    barrier(job.barrier, n_threads)
    return not peek(&job.stopping)


cdef inline int apply_gradient(Job* job, real* parameters, Py_ssize_t done, double weight, double* scalars, int thread,
                       int n_threads) noexcept nogil:
    """From the chunks' gradients to the new parameters; the step's status. Every thread draws the same conclusions."""
    cdef double loss = total(job.chunk_loss, job.n_chunks if job.exchange == NULL else 1), penalty, shrink = 1
    cdef double share = penalty_share(job.loss, weight)
    cdef bint updates = job.optimizer != NULL, by_norm = updates and job.optimizer.clip_norm > 0
    cdef double scalars_before[4]
    cdef OptimizerStep now
    cdef int status = step_status(loss, 0)
    updates = updates and status == DONE
    if updates:
        memcpy(scalars_before, scalars, sizeof(scalars_before))
        now = optimizer_begin(job.optimizer, job.step + done + 1, job.numbers[done].rate, scalars)
        now.decay = job.numbers[done].decay
    # One pass does it all, unless the norm of the whole gradient must be known first.
    for_own_blocks(job, parameters, &now, share, 1.0, BOTH if updates and not by_norm else REDUCE, thread, n_threads)
    barrier(job.barrier, n_threads)
    penalty = total(job.block_penalty, job.n_blocks)
    status = step_status(loss + penalty, block_errors(job))
    if thread == 0:
        job.report[3 * done], job.report[3 * done + 1], job.report[3 * done + 2] = loss, weight, penalty
    if updates and by_norm and status == DONE:
        shrink = norm_factor(job.optimizer, total(job.block_norm, job.n_blocks))
        barrier(job.barrier, n_threads)  # all have read block_bad, which the update writes to
        for_own_blocks(job, parameters, &now, share, shrink, UPDATE, thread, n_threads)
        barrier(job.barrier, n_threads)
        status = step_status(loss + penalty, block_errors(job))
    if updates and status != DONE:
        if not by_norm or status == UPDATE_NOT_FINITE:
            for_own_blocks(job, parameters, &now, share, shrink, UNDO, thread, n_threads)
        memcpy(scalars, scalars_before, sizeof(scalars_before))
    return status


cdef inline void run(Job* job, real* parameters, real* scratch, int thread, int n_threads) noexcept nogil:
    """What each thread of the team does: all minibatches of the call, in step with the others."""
    cdef Py_ssize_t batch, chunk, done
    cdef ShareSpec share
    cdef double scale
    cdef Noise noise = noise_of(job.training, job.seed, 0)
    cdef double scalars[4]
    cdef int status = DONE
    cdef uint64_t arithmetic = flush()
    if job.optimizer != NULL:
        memcpy(scalars, job.scalars, sizeof(scalars))
    for batch in range(job.first, job.last):
        done = batch - job.first
        share = whole_minibatch(job, batch, <const real*>parameters) if job.shares == NULL else job.shares[batch]
        scale = 1 / share.weight if share.weight > 0 else 0.0
        noise.step = job.step + done + 1
        if job.numbers != NULL:
            noise.factor = job.numbers[done].dropout
        if job.sparse.n_stairs:
            stair_sums(&job.sparse, &job.layers[0], <const real*>parameters, thread, n_threads)
            barrier(job.barrier, n_threads)
        if job.wide and share.rows == 0:
            nothing(job, <const real*>parameters, thread, n_threads)
        elif job.wide:
            wide_gradient(job, <const real*>parameters, scratch, &share, noise, scale, thread, n_threads)
        else:
            for chunk in range(job.n_chunks * thread // n_threads, job.n_chunks * (thread + 1) // n_threads):
                chunk_gradient(job, <const real*>parameters, scratch + thread * job.scratch_stride, chunk,
                               &share, noise, scale)
            barrier(job.barrier, n_threads)
        status = STOPPED
        if not peek(&job.stopping) and (job.exchange == NULL or exchanged(job, parameters, batch, thread, n_threads)):
            status = apply_gradient(job, parameters, done, share.weight, scalars, thread, n_threads)
        if status != DONE:
            break
        if thread == 0:
            job.steps_done = done + 1
        if not averaged(job, batch + 1, thread, n_threads):
            status = STOPPED
            break
    if thread == 0:
        job.status = status
        if job.optimizer != NULL:
            memcpy(job.scalars, scalars, sizeof(scalars))
    unflush(arithmetic)
