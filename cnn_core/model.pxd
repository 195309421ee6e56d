"""The C API of one network: predict, forward, backward and training steps from nogil code; see docs/c-api.md.

Every function runs on the thread that calls it, allocates nothing, and takes rows as NumPy stores them, (rows, n) in C
order. A `Model` has one set of buffers: each thread needs its own.
"""
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

from cnn_core.dense_rows cimport numbers
from cnn_core.job cimport Job, StepNumbers
from cnn_core.few cimport FEW, by_rows, predict_few
from cnn_core.few_dense cimport Place, alone
from cnn_core.layer cimport slab_backward, slab_forward
from cnn_core.predict cimport predict_tiles, tiles_at_once
from cnn_core.random cimport Noise, noise_of
from cnn_core.sparse_rows cimport SparseRows
from cnn_core.step cimport run
from cnn_core.team cimport Barrier
from cnn_core.tile cimport gather, padded, scatter
from cnn_core.types cimport LayerSpec, LossSpec, OptimizerSpec, SegmentSpec, WorkspaceSpec, real
from cnn_core.update cimport count_blocks
from cnn_core.wide cimport transposed_elements


# Pointers into the arrays of a network and of its buffers. `real*` is the network's type, void* for want of generics.
cdef struct Model:
    const LayerSpec* layers
    int n_layers
    const WorkspaceSpec* workspace      # of a training step
    const WorkspaceSpec* slab           # of all rows at once
    const SegmentSpec* segments
    int n_segments
    const LossSpec* loss
    const OptimizerSpec* optimizer
    Py_ssize_t n_inputs
    Py_ssize_t n_outputs
    Py_ssize_t rows         # that a call may have
    int itemsize            # 4: float, 8: double
    bint wide
    Py_ssize_t n_chunks
    int64_t size            # elements of parameters and of gradients
    void* parameters        # real*, the network's own
    void* gradients         # real*, of the last backward; after a training step the parameters from before it
    void* state             # real*, the optimizer's
    double* scalars
    void* scratch           # real*
    double* sums
    int64_t* counter        # optimizer steps done
    uint64_t seed


cdef inline Model describe(buffers) except *:
    """The model of what `cnn.Network.buffers(rows)` gives, which must be kept for as long as the model is used."""
    cdef const LayerSpec[::1] layers = buffers.layers
    cdef const WorkspaceSpec[::1] workspace = buffers.workspace
    cdef const WorkspaceSpec[::1] slab = buffers.slab
    cdef const SegmentSpec[::1] segments = buffers.segments
    cdef const LossSpec[::1] loss = buffers.loss
    cdef const OptimizerSpec[::1] optimizer = buffers.optimizer
    cdef double[::1] scalars = buffers.scalars
    cdef double[::1] sums = buffers.sums
    cdef int64_t[::1] counter = buffers.counter
    cdef Model model
    memset(&model, 0, sizeof(model))
    model.layers, model.n_layers = &layers[0], <int>layers.shape[0]
    model.workspace, model.slab = &workspace[0], &slab[0]
    model.segments, model.n_segments = &segments[0], <int>segments.shape[0]
    model.loss, model.optimizer = &loss[0], &optimizer[0]
    model.n_inputs, model.n_outputs = layers[0].n_inputs, loss[0].n_outputs
    model.rows, model.itemsize = buffers.rows, buffers.parameters.itemsize
    model.wide, model.n_chunks, model.size = buffers.wide, buffers.n_chunks, buffers.parameters.size
    model.parameters, model.gradients = address(buffers.parameters), address(buffers.gradients)
    model.state, model.scratch = address(buffers.state), address(buffers.scratch)
    model.scalars, model.sums, model.counter, model.seed = &scalars[0], &sums[0], &counter[0], buffers.seed
    return model


cdef inline void* address(array) except? NULL:
    cdef unsigned char[::1] data = array.view("u1")
    return &data[0] if data.shape[0] else NULL


cdef inline void fill_job(const Model* model, Job* job) noexcept nogil:
    """All of a job but its rows and steps, which whoever runs it adds, and its barrier."""
    memset(job, 0, sizeof(job[0]))
    job.layers, job.n_layers, job.workspace = model.layers, model.n_layers, model.workspace
    job.segments, job.n_segments = model.segments, model.n_segments
    job.loss, job.optimizer, job.training = model.loss, model.optimizer, True
    job.wide, job.n_chunks, job.size, job.slots_stride = model.wide, model.n_chunks, model.size, model.size
    job.transposed_size = transposed_elements(model.layers, model.n_layers, model.n_chunks * model.workspace.capacity)
    job.scratch_stride = model.workspace.columns * model.workspace.capacity
    job.gradients, job.state, job.scalars, job.seed = model.gradients, model.state, model.scalars, model.seed
    job.n_blocks = count_blocks(model.segments, model.n_segments)
    job.chunk_loss, job.block_norm = model.sums, model.sums + model.n_chunks
    job.block_penalty = job.block_norm + job.n_blocks
    job.block_bad = <int*>(job.block_penalty + job.n_blocks)
    memset(job.block_bad, 0, job.n_blocks * sizeof(int))


cdef inline void predict(const Model* model, const real* x, Py_ssize_t rows, bint link, real* out) noexcept nogil:
    """out (rows, n_outputs), for any number of rows: with the loss's output link, or raw."""
    cdef int loss = model.loss.kind if link else -1
    cdef Py_ssize_t at_once = 1
    cdef Place place = alone(NULL)
    if model.wide:  # there are as many workspaces as a minibatch has slabs
        at_once = min(model.n_chunks, tiles_at_once(model.layers, model.n_layers, model.workspace, x))
    if rows <= FEW and by_rows(model.layers, model.n_layers):
        predict_few(model.layers, model.n_layers, <const real*>model.parameters, x, rows, loss, <real*>model.scratch,
                    out, &place)
    else:
        predict_tiles(model.layers, model.n_layers, model.workspace, <const real*>model.parameters, numbers(x),
                      <const SparseRows*>NULL, rows, loss, at_once, <real*>model.scratch, out, 0, 1, NULL)


cdef inline void forward(const Model* model, const real* x, Py_ssize_t rows, bint training, real* out) noexcept nogil:
    """out (rows, n_outputs), raw, rows <= model.rows; what `backward` needs is kept in the buffers.

    `training` turns dropout on, with the masks of the next step.
    """
    cdef Py_ssize_t ld = padded(rows, x)
    cdef real* scratch = <real*>model.scratch
    cdef const real* output
    cdef Noise noise = noise_of(training, model.seed, model.counter[0] + 1)
    gather(rows, ld, model.n_inputs, x, <const int64_t*>NULL, 0,
           scratch + model.slab.input * model.slab.capacity)
    output = slab_forward(model.layers, model.n_layers, model.slab, <const real*>model.parameters, scratch, rows,
                          noise, <const SparseRows*>NULL, NULL)
    scatter(rows, ld, model.n_outputs, output, <const int64_t*>NULL, 0, out)


cdef inline void backward(const Model* model, const real* dout, Py_ssize_t rows, bint training,
                          real* dx) noexcept nogil:
    """After `forward` on as many rows: the parameters' gradient in model.gradients, dL/dx in dx (NULL: not wanted)."""
    cdef Py_ssize_t ld = padded(rows, dout)
    cdef real* scratch = <real*>model.scratch
    cdef const real* delta
    gather(rows, ld, model.n_outputs, dout, <const int64_t*>NULL, 0,
           scratch + model.slab.delta * model.slab.capacity)
    delta = slab_backward(model.layers, model.n_layers, model.slab, <const real*>model.parameters, scratch, rows,
                          training, False, <real*>model.gradients, dx != NULL, <const SparseRows*>NULL,
                          NULL)
    if dx != NULL:
        scatter(rows, ld, model.n_inputs, delta, <const int64_t*>NULL, 0, dx)


cdef inline int train_step(const Model* model, const real* x, const real* targets, const int32_t* classes,
                           const real* weights, Py_ssize_t rows, double rate, double* loss) noexcept nogil:
    """One optimizer step on `rows` rows, rows <= model.rows, as a fit makes it: the same bits. 0, or a `Status`.

    targets (rows, n_targets), or classes (rows,) for cross_entropy, the other NULL; weights (rows,) or NULL. `loss`
    gets the mean loss with penalties before the step. A step that is not finite is not made.
    """
    cdef Job job
    cdef Barrier gate
    cdef double report[3]
    cdef StepNumbers now
    now.rate, now.dropout, now.decay = rate, 1, 1
    memset(&gate, 0, sizeof(gate))
    fill_job(model, &job)
    job.n_rows, job.batch_size, job.first, job.last = rows, rows, 0, 1
    job.step, job.numbers, job.report, job.barrier = model.counter[0], &now, report, &gate
    job.X, job.targets, job.classes, job.weights = numbers(x), targets, classes, weights
    run(&job, <real*>model.parameters, <real*>model.scratch, 0, 1)
    loss[0] = (report[0] / report[1] if report[1] > 0 else 0.0) + report[2]
    model.counter[0] += job.steps_done
    return job.status
