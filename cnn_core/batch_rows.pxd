"""The rows of a minibatch: taken into slabs, in the order of the epoch, and the losses of what becomes of them."""
from libc.stdint cimport int32_t, int64_t

from cnn_core.augment cimport augmented_rows
from cnn_core.dense_rows cimport gather_rows
from cnn_core.job cimport Job
from cnn_core.losses cimport loss_block
from cnn_core.random cimport Noise
from cnn_core.tile cimport gather, padded, scatter
from cnn_core.types cimport WorkspaceSpec, real


cdef inline double sum_of_weights(const Job* job, const real* weights, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef double weight = 0
    cdef Py_ssize_t i
    if weights == NULL:
        return end - begin
    for i in range(begin, end):
        weight += weights[job.order[i] if job.order != NULL else i]
    return weight


cdef inline void take_rows(const Job* job, Py_ssize_t first, Py_ssize_t rows, Noise noise,
                           real* scratch) noexcept nogil:
    """Gathers rows `first` .. of the epoch's order into a slab: inputs unless sparse, targets or classes, weights.

    Inputs that are changed on the way stand as rows where deltas come later.
    """
    cdef const WorkspaceSpec* ws = job.workspace
    cdef Py_ssize_t n_in = job.layers[0].n_inputs, ld = padded(rows, <const real*>scratch)
    cdef real* target = scratch + ws.target * ws.capacity
    cdef real* changed = scratch + ws.delta * ws.capacity
    if job.augment.n:
        augmented_rows(&job.augment, job.X, rows, n_in, job.places, first, noise, changed,
                       scratch + ws.delta_next * ws.capacity)
        gather(rows, ld, n_in, <const real*>changed, <const int64_t*>NULL, 0, scratch + ws.input * ws.capacity)
    elif job.X.at != NULL:
        gather_rows(job.X, rows, ld, n_in, job.places, first, scratch + ws.input * ws.capacity)
    if job.weights != NULL:
        gather(rows, ld, 1, <const real*>job.weights, job.order, first, scratch + ws.weight * ws.capacity)
    if job.classes != NULL:
        gather_classes(job, first, rows, ld, <int32_t*>target)
    else:
        gather(rows, ld, job.loss.n_targets, <const real*>job.targets, job.order, first, target)


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


cdef inline void gather_classes(const Job* job, Py_ssize_t first, Py_ssize_t rows, Py_ssize_t ld,
                                int32_t* classes) noexcept nogil:
    cdef Py_ssize_t r
    for r in range(rows):
        classes[r] = job.classes[job.order[first + r] if job.order != NULL else first + r]
    for r in range(rows, ld):
        classes[r] = 0
