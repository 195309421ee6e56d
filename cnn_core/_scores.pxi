"""Loss and metric of some rows: part of _engine.pyx."""
from cnn_core.metrics cimport ANSWERS_MET, CLASSES_MET, RMSE, MetricSpec, metric_scratch, metric_value

cdef dict METRICS = {"rmse": RMSE, "classes": CLASSES_MET, "answers": ANSWERS_MET}


cdef class Scorer:
    """The loss of some rows, and their rmse or accuracy to the definitions of `cnn.metrics`, of raw outputs.

    Metric "rmse" compares with float64 `truth` (n, k), "classes" with int32 labels (n,), "answers" with int32 zeros and
    ones (n, k); without a metric there is the loss alone. One thread at a time may use it.
    """
    cdef const LossSpec[::1] loss_spec
    cdef MetricSpec metric_spec
    cdef tuple kept
    cdef const void* targets
    cdef const int32_t* classes
    cdef readonly bint measures     # whether there is a metric

    def __cinit__(self, const LossSpec[::1] loss not None, rows, str metric=None, cnp.ndarray truth=None):
        """`rows` have `targets` or `classes`, `weights` and their sum `weight`, all of the outputs' type, or None."""
        cdef MetricSpec* spec = &self.metric_spec
        cdef const double[:, ::1] targets
        cdef const int32_t[::1] labels = rows.classes
        self.loss_spec, self.kept, self.measures = loss, (rows.targets, rows.weights, labels, truth), metric is not None
        self.targets = NULL if rows.targets is None else cnp.PyArray_DATA(rows.targets)
        self.classes = NULL if labels is None else &labels[0]
        spec.loss, spec.n_rows, spec.n_outputs, spec.weight = loss[0].kind, len(rows), loss[0].n_outputs, rows.weight
        spec.weights = NULL if rows.weights is None else cnp.PyArray_DATA(rows.weights)
        if metric is not None:
            spec.kind = METRICS[metric]
            if spec.kind == RMSE:
                targets = truth
                spec.targets = &targets[0, 0]
            else:
                labels = truth.reshape(-1)
                spec.labels = &labels[0]
        spec.scratch = malloc(max(metric_scratch(spec.n_outputs), loss_scratch(spec.n_outputs)))
        if spec.scratch == NULL:
            raise MemoryError(f"no memory for {loss_scratch(spec.n_outputs)} bytes")

    def __dealloc__(self):
        free(self.metric_spec.scratch)

    def loss(self, cnp.ndarray outputs not None, Py_ssize_t first, Py_ssize_t end):
        """The sum of w * loss over rows first .. end - 1 of the raw outputs (n, k) of all rows, C-contiguous."""
        cdef bint single = cnp.PyArray_TYPE(outputs) == cnp.NPY_FLOAT
        cdef const void* data = cnp.PyArray_DATA(outputs)
        cdef double value
        with nogil:
            value = (self.loss_of(<const float*>data, first, end) if single
                     else self.loss_of(<const double*>data, first, end))
        return value

    cdef double loss_of(self, const real* outputs, Py_ssize_t first, Py_ssize_t end) noexcept nogil:
        return rows_loss(&self.loss_spec[0], outputs, <const real*>self.targets, self.classes,
                         <const real*>self.metric_spec.weights, first, end, 1.0, <real*>NULL,
                         <real*>self.metric_spec.scratch)

    def metric(self, cnp.ndarray outputs not None):
        """The metric of raw outputs (n, k), C-contiguous."""
        cdef bint single = cnp.PyArray_TYPE(outputs) == cnp.NPY_FLOAT
        cdef const void* data = cnp.PyArray_DATA(outputs)
        cdef double value
        with nogil:
            value = (metric_value(&self.metric_spec, <const float*>data) if single
                     else metric_value(&self.metric_spec, <const double*>data))
        return value


# Rows that are held out: their loss and metric are taken when an epoch ends, by one thread.
cdef struct HeldOut:
    Tiles tiles
    const LossSpec* loss
    const MetricSpec* metric        # whose targets, weights and scratch memory are the loss's, too
    const void* targets
    const int32_t* classes
    bint measures
    bint penalised
    Py_ssize_t piece                # rows whose losses are added up before they are added to the sum
    void* scratch


cdef double loss_on(HeldOut* held, const Model* model, const real* parameters) noexcept nogil:
    """The mean loss of the rows, with penalties, from their outputs, which are taken here; see `Scores.take`."""
    cdef const real* out = <const real*>held.tiles.out
    cdef Py_ssize_t first = 0, n = held.tiles.n_rows
    cdef double total = 0, penalty = 0
    cdef int i
    sum_stairs(&held.tiles)
    predict_of(&held.tiles, held.scratch, NULL)
    while first < n:
        total += rows_loss(held.loss, out, <const real*>held.targets, held.classes, <const real*>held.metric.weights,
                           first, min(first + held.piece, n), 1.0, <real*>NULL, <real*>held.metric.scratch)
        first += held.piece
    total /= held.metric.weight
    if held.penalised:
        for i in range(model.n_segments):
            penalty += penalty_of(&model.segments[i], parameters + model.segments[i].begin,
                                  model.segments[i].end - model.segments[i].begin)
        total += penalty_share(model.loss, held.metric.weight) * penalty
    return total
