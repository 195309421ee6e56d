"""Training from Python: part of _engine.pyx."""
from cnn_core.metrics cimport ANSWERS_MET, CLASSES_MET, RMSE, MetricSpec, metric_scratch, metric_value

cdef dict METRICS = {"rmse": RMSE, "classes": CLASSES_MET, "answers": ANSWERS_MET}

cdef enum:
    FOUND = 5   # numbers of an epoch


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


cdef class Training:
    """Minibatches of one network on some rows, made once a fit: it holds the job, its arrays and their sums.

    Minibatch b of an epoch is rows order[b * batch_size : (b + 1) * batch_size] (order None: as they stand).
    """
    cdef Model model
    cdef Job job
    cdef Barrier gate
    cdef Scorer scorer
    cdef object generator
    cdef const BitGenerator* bits
    cdef tuple kept
    cdef int64_t* order
    cdef double* report
    cdef int64_t drawn                  # the epoch that `order` is of; -1: of none
    cdef double best, tolerance
    cdef int64_t stuck, patience        # patience < 0: nothing is watched
    cdef public double divisor          # of the loss in the epoch's mean over rows
    cdef readonly Py_ssize_t steps      # minibatches of an epoch
    cdef readonly Py_ssize_t done       # steps that the last call of `run` has made

    def __cinit__(self, buffers, X, rows, Py_ssize_t batch_size, double[:, ::1] report, int64_t[::1] order=None,
                  generator=None, outputs=None, Scorer scorer=None):
        """`buffers`: see `cnn.passes.Buffers`; X of `rows`, whose targets, classes and weights are taken.

        `report` (steps, 3) gets the sum of w * loss, the sum of w and the penalty of each step of an epoch, `outputs`
        (or None) the raw outputs of its rows. Each epoch's order is drawn anew: `order` becomes the permutation of
        (seed, epoch), or with a `generator`, a bit generator of NumPy's, is shuffled by it. `scorer`: that of `rows`.
        """
        self.model = describe(buffers)
        fill_job(&self.model, &self.job)
        if self.model.itemsize == sizeof(float):
            self.take(X, rows, outputs, <const float*>NULL)
        else:
            self.take(X, rows, outputs, <const double*>NULL)
        self.kept = buffers, X, rows, outputs, report, order
        self.job.batch_size, self.job.barrier = batch_size, &self.gate
        self.steps = (self.job.n_rows + batch_size - 1) // batch_size
        self.report = &report[0, 0]
        self.order = NULL if order is None else &order[0]
        self.job.order = self.job.sparse.order = self.order
        self.drawn, self.patience, self.divisor, self.scorer, self.generator = -1, -1, 1, scorer, generator
        if generator is not None:
            self.bits = <const BitGenerator*>PyCapsule_GetPointer(generator.capsule, "BitGenerator")

    cdef int take(self, X, rows, outputs, const real* kind) except -1:
        cdef const real[:, ::1] targets = rows.targets
        cdef const int32_t[::1] classes = rows.classes
        cdef const real[::1] weights = rows.weights
        cdef real[:, ::1] kept = outputs
        cdef const real* x
        self.job.n_rows = find_rows(X, kind, &x, &self.job.sparse)
        self.job.X = x
        self.job.targets = NULL if targets is None else <const void*>&targets[0, 0]
        self.job.classes = NULL if classes is None else &classes[0]
        self.job.weights = NULL if weights is None else <const void*>&weights[0]
        self.job.outputs = NULL if kept is None else <void*>&kept[0, 0]
        return 0

    def watch(self, double best, double tolerance, int64_t stuck, int64_t patience):
        """From now on `run` ends behind the epoch with which more than `patience` on end brought no improvement.

        The mean of its rows counts, which must be less than the best by `tolerance`; `stuck` epochs were not, so far.
        """
        self.best, self.tolerance, self.stuck, self.patience = best, tolerance, stuck, patience

    def draw(self, int64_t epoch):
        """Makes `order` that of the epoch, unless it is; `run` does it by itself."""
        if self.generator is None:
            with nogil:
                self.draw_order(epoch)
        else:
            with self.generator.lock, nogil:
                self.draw_order(epoch)

    cdef void draw_order(self, int64_t epoch) noexcept nogil:
        if self.order == NULL or self.drawn == epoch:
            return
        if self.bits == NULL:
            _random.permutation(self.model.seed, epoch, self.order, self.job.n_rows)
        elif self.job.n_rows > 1:
            _random.shuffle(self.bits, self.order, self.job.n_rows)
        self.drawn = epoch

    def run(self, int64_t epoch, Py_ssize_t begin, Py_ssize_t end, const double[:, ::1] numbers, double[:, ::1] found,
            int n_threads, const int32_t[::1] stop=None):
        """Minibatches begin .. end - 1, without the GIL: the status. They count from the epoch's first one on, and go
        on through the epochs after it.

        `numbers` (steps, 3) are learning rate, factor on dropout rates and factor on the weight decay of each step, the
        last two 1 where no schedule says otherwise. `found` (epochs, 5) gets a row for each epoch that is ended: the
        sums of its report, the mean over rows of their minibatch's mean loss (by `divisor`) and penalty, the metric.
        The network's counter of steps is moved on here, so that an interrupt can't part the two.
        Status 0: done; 1, 2, 3: the loss, the gradient or the update of the next step is not finite, and it was not
        made; 4: `stop` (1,), which another thread may set meanwhile, ended the call before the next step was made.
        """
        self.job.stop = NULL if stop is None else &stop[0]
        if self.generator is None:
            self.dispatch(epoch, begin, end, <const StepNumbers*>&numbers[0, 0], &found[0, 0], n_threads)
        else:
            with self.generator.lock:
                self.dispatch(epoch, begin, end, <const StepNumbers*>&numbers[0, 0], &found[0, 0], n_threads)
        self.job.stop = NULL
        return self.job.status

    def summarise(self, double[:, ::1] found):
        """found (1, 5) = what `run` writes for an epoch, when all steps of it are in the report already."""
        if self.model.itemsize == sizeof(float):
            self.end_epoch(&found[0, 0], <const float*>self.model.parameters)
        else:
            self.end_epoch(&found[0, 0], <const double*>self.model.parameters)

    cdef void dispatch(self, int64_t epoch, Py_ssize_t begin, Py_ssize_t end, const StepNumbers* numbers, double* found,
                       int n_threads) noexcept:
        with nogil:
            if self.model.itemsize == sizeof(float):
                self.go(epoch, begin, end, numbers, found, n_threads, <float*>self.model.parameters)
            else:
                self.go(epoch, begin, end, numbers, found, n_threads, <double*>self.model.parameters)

    cdef void go(self, int64_t epoch, Py_ssize_t begin, Py_ssize_t end, const StepNumbers* numbers, double* found,
                 int n_threads, real* parameters) noexcept nogil:
        cdef Job* job = &self.job
        cdef Py_ssize_t at = begin, first
        job.status = DONE
        while at < end and job.status == DONE:
            self.draw_order(epoch + at // self.steps)
            first = at % self.steps
            job.first, job.last = first, min(self.steps, first + end - at)
            job.numbers, job.report = numbers + (at - begin), self.report + 3 * first
            self.work(parameters, n_threads)
            at += job.steps_done
            if job.steps_done and at % self.steps == 0:
                self.end_epoch(found, parameters)
                found += FOUND
                if 0 <= self.patience < self.stuck:
                    break
        self.done = at - begin

    cdef void work(self, real* parameters, int n_threads) noexcept nogil:
        """The job's minibatches, in one parallel region."""
        cdef Job* job = &self.job
        cdef int64_t* counter = self.model.counter
        job.step, job.steps_done, job.status = counter[0], 0, DONE
        job.stopping, job.stop_phase = 0, 0
        memset(&self.gate, 0, sizeof(self.gate))
        team(job, parameters, <real*>self.model.scratch, n_threads)
        counter[0] += job.steps_done

    cdef void end_epoch(self, double* found, const real* kind) noexcept nogil:
        cdef Py_ssize_t b, j, batch = self.job.batch_size
        cdef const double* step
        cdef double mean, rows
        for j in range(FOUND):
            found[j] = 0
        for b in range(self.steps):
            step = self.report + 3 * b
            for j in range(3):
                found[j] += step[j]
            mean = step[0] / step[1] if step[1] > 0 else 0.0
            rows = min(batch, self.job.n_rows - b * batch)
            found[3] += rows * (mean / self.divisor + step[2])
        found[3] /= self.job.n_rows
        self.stuck = self.stuck + 1 if found[3] > self.best - self.tolerance else 0
        self.best = min(self.best, found[3])
        if self.job.outputs != NULL and self.scorer is not None and self.scorer.measures:
            found[4] = metric_value(&self.scorer.metric_spec, <const real*>self.job.outputs)

    def loss_and_gradient(self, bint training, int n_threads, const int32_t[::1] stop=None):
        """(mean loss, penalty) over all rows as one minibatch, with the dropout of the step to come where `training`.

        Their gradient is the first of those of the buffers. Where `stop` ends it, they are of no use.
        """
        cdef Job job = self.job
        cdef Barrier gate
        cdef double report[3]
        memset(&gate, 0, sizeof(gate))
        memset(report, 0, sizeof(report))
        job.optimizer, job.numbers, job.training, job.barrier, job.report = NULL, NULL, training, &gate, report
        job.step, job.first, job.last, job.batch_size = self.model.counter[0], 0, 1, job.n_rows
        job.stop = NULL if stop is None else &stop[0]
        with nogil:
            if self.model.itemsize == sizeof(float):
                team(&job, <float*>self.model.parameters, <float*>self.model.scratch, n_threads)
            else:
                team(&job, <double*>self.model.parameters, <double*>self.model.scratch, n_threads)
        return (report[0] / report[1] if report[1] > 0 else 0.0), report[2]
