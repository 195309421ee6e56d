"""Training from Python: part of _engine.pyx."""
cdef enum:
    FOUND = 5       # numbers of an epoch
    HELD_OUT = 2    # and of rows that are held out


# The minibatches of one network on some rows, epoch after epoch: what is needed of them without the GIL.
cdef struct Epochs:
    Model model
    Job job
    Barrier gate
    const MetricSpec* metric        # NULL: none is taken
    HeldOut* held_out               # NULL: none are
    const BitGenerator* bits        # NULL: orders are functions of (seed, epoch)
    int64_t* order                  # NULL: rows as they stand
    const int64_t* index            # where each of them stands in X; NULL: as they do
    int64_t* places                 # `index` in that order; NULL: one of the two is
    double* report
    int64_t drawn                   # the epoch that `order` is of; -1: of none
    double best, tolerance
    int64_t stuck, patience         # patience < 0: nothing is watched
    uint64_t order_seed
    double divisor                  # of the loss in the epoch's mean over rows
    Py_ssize_t steps                # minibatches of an epoch
    Py_ssize_t done                 # steps that the last piece has made


# Minibatches begin .. end - 1 of an epoch and those after it, the arguments of `Training.run`.
cdef struct Piece:
    Epochs* epochs
    int64_t epoch
    Py_ssize_t begin
    Py_ssize_t end
    const StepNumbers* numbers
    double* found
    Py_ssize_t columns              # of `found`
    double seconds                  # that it took


cdef void make(Piece* piece, int n_threads, const int32_t* stop) noexcept nogil:
    """Makes a piece, with a team of so many threads; its status is that of the job."""
    cdef Epochs* e = piece.epochs
    cdef double start = omp_get_wtime()
    e.job.stop = stop
    if e.model.itemsize == sizeof(float):
        make_steps(e, piece, n_threads, <float*>e.model.parameters)
    else:
        make_steps(e, piece, n_threads, <double*>e.model.parameters)
    e.job.stop = NULL
    piece.seconds = omp_get_wtime() - start


cdef void make_steps(Epochs* e, const Piece* piece, int n_threads, real* parameters) noexcept nogil:
    cdef Job* job = &e.job
    cdef Py_ssize_t at = piece.begin, first
    cdef double* found = piece.found
    job.status = DONE
    while at < piece.end and job.status == DONE:
        draw_order(e, piece.epoch + at // e.steps)
        first = at % e.steps
        job.first, job.last = first, min(e.steps, first + piece.end - at)
        job.numbers, job.report = piece.numbers + (at - piece.begin), e.report + 3 * first
        in_one_region(e, parameters, n_threads)
        at += job.steps_done
        if job.steps_done and at % e.steps == 0:
            end_epoch(e, found, parameters)
            found += piece.columns
            if 0 <= e.patience < e.stuck:
                break
    e.done = at - piece.begin


cdef void in_one_region(Epochs* e, real* parameters, int n_threads) noexcept nogil:
    """The job's minibatches, in one parallel region."""
    cdef Job* job = &e.job
    cdef int64_t* counter = e.model.counter
    job.step, job.steps_done, job.status = counter[0], 0, DONE
    job.stopping, job.stop_phase = 0, 0
    memset(&e.gate, 0, sizeof(e.gate))
    team(job, parameters, <real*>e.model.scratch, n_threads)
    counter[0] += job.steps_done


cdef void draw_order(Epochs* e, int64_t epoch) noexcept nogil:
    """Makes `order` that of the epoch, unless it is."""
    cdef Py_ssize_t i
    if e.order == NULL or e.drawn == epoch:
        return
    if e.bits == NULL:
        _random.permutation(e.order_seed, epoch, e.order, e.job.n_rows)
    elif e.job.n_rows > 1:
        _random.shuffle(e.bits, e.order, e.job.n_rows)
    if e.places != NULL:
        for i in range(e.job.n_rows):
            e.places[i] = e.index[e.order[i]]
    e.drawn = epoch


cdef void end_epoch(Epochs* e, double* found, const real* parameters) noexcept nogil:
    cdef Py_ssize_t b, j, batch = e.job.batch_size
    cdef const double* step
    cdef double mean, rows, all_rows = 0
    for j in range(FOUND):
        found[j] = 0
    for b in range(e.steps):
        step = e.report + 3 * b
        for j in range(3):
            found[j] += step[j]
        mean = step[0] / step[1] if step[1] > 0 else 0.0
        rows = min(batch, e.job.n_rows - b * batch) if e.job.shares == NULL else e.job.shares[b].all_rows
        found[3] += rows * (mean / e.divisor + step[2])
        all_rows += rows
    found[3] /= all_rows
    e.stuck = e.stuck + 1 if found[3] > e.best - e.tolerance else 0
    e.best = min(e.best, found[3])
    if e.job.outputs != NULL and e.metric != NULL:
        found[4] = metric_value(e.metric, <const real*>e.job.outputs)
    if e.held_out != NULL:
        found[FOUND] = loss_on(e.held_out, &e.model, parameters)
        found[FOUND + 1] = 0
        if e.held_out.measures:
            found[FOUND + 1] = metric_value(e.held_out.metric, <const real*>e.held_out.tiles.out)


cdef int exchange_of(void* training, Py_ssize_t steps) noexcept with gil:
    """Called in the middle of a step, or behind it; what it raises is kept for the end of the call."""
    try:
        (<Training>training).exchange(steps, (<Training>training).stop)
    except BaseException as error:
        (<Training>training).error = error
        return 1
    return 0


cdef class Training:
    """Minibatches of one network on some rows, made once a fit: it holds the job, its arrays and their sums.

    Minibatch b of an epoch is rows order[b * batch_size : (b + 1) * batch_size] (order None: as they stand).
    """
    cdef Epochs epochs
    cdef HeldOut held_out
    cdef char* memory                   # of its tiles
    cdef object generator
    cdef tuple kept, kept_of_held_out
    cdef object exchange        # with the other processes that have a share of the minibatches
    cdef object stop            # of the call of `run`
    cdef object error           # that has ended its exchange
    cdef const ShareSpec[::1] shares
    cdef const AugmentSpec[::1] specs

    def __cinit__(self, buffers, X, rows, Py_ssize_t batch_size, double[:, ::1] report, int64_t[::1] order=None,
                  generator=None, outputs=None, Scorer scorer=None):
        """`buffers`: see `cnn.passes.Buffers`; X of `rows`, whose targets, classes and weights are taken.
        Where these have an `index`, X has their inputs at the rows that it names, which must be there.

        `report` (steps, 3) gets the sum of w * loss, the sum of w and the penalty of each step of an epoch, `outputs`
        (or None) the raw outputs of its rows. Each epoch's order is drawn anew: `order` becomes the permutation of
        (seed, epoch), or with a `generator`, a bit generator of NumPy's, is shuffled by it. `scorer`: that of `rows`.
        """
        cdef Epochs* e = &self.epochs
        cdef const int64_t[::1] index = rows.index
        cdef int64_t[::1] places = None
        memset(e, 0, sizeof(e[0]))
        e.model = describe(buffers)
        fill_job(&e.model, &e.job)
        if e.model.itemsize == sizeof(float):
            take(&e.job, X, rows, outputs, <const float*>NULL)
        else:
            take(&e.job, X, rows, outputs, <const double*>NULL)
        if index is not None:
            e.index, e.job.n_rows = &index[0], index.shape[0]
            if order is not None:
                places = order.copy()
                e.places = &places[0]
        self.kept = buffers, X, rows, outputs, report, order, scorer, index, places
        e.job.batch_size, e.job.barrier = batch_size, &e.gate
        e.steps = (e.job.n_rows + batch_size - 1) // batch_size
        e.report = &report[0, 0]
        e.order = NULL if order is None else &order[0]
        e.job.order = e.order
        e.job.places = e.job.sparse.order = e.order if index is None else e.index if order is None else e.places
        e.drawn, e.patience, e.divisor, self.generator = -1, -1, 1, generator
        e.order_seed = e.model.seed
        if scorer is not None and scorer.measures:
            e.metric = &scorer.metric_spec
        if generator is not None:
            e.bits = <const BitGenerator*>PyCapsule_GetPointer(generator.capsule, "BitGenerator")

    @property
    def divisor(self):
        """Of the loss in the epoch's mean over rows."""
        return self.epochs.divisor

    @divisor.setter
    def divisor(self, double value):
        self.epochs.divisor = value

    @property
    def steps(self):
        """Minibatches of an epoch."""
        return self.epochs.steps

    @property
    def done(self):
        """Steps that the last call has made."""
        return self.epochs.done

    def __dealloc__(self):
        free(self.memory)
        free_sums(&self.epochs.job.sparse)
        free_sums(&self.held_out.tiles.sparse)

    def hold_out(self, Predictor predictor not None, X, Scorer scorer not None, cnp.ndarray out not None,
                 Py_ssize_t piece, bint penalised):
        """From now on an epoch ends with loss and metric of these rows, whose raw outputs (n, k) are left in `out`.

        X are the rows of `scorer`, finite; losses are added up `piece` rows at a time, and where `penalised` penalties
        are added. `found` then has two columns more.
        """
        cdef HeldOut* held = &self.held_out
        free_sums(&held.tiles.sparse)
        held.tiles = predictor.tiles(X, out, False)
        held.loss, held.metric, held.measures = &scorer.loss_spec[0], &scorer.metric_spec, scorer.measures
        held.targets, held.classes = scorer.targets, scorer.classes
        held.piece, held.penalised = piece, penalised
        free(self.memory)
        self.memory = <char*>malloc(held.tiles.scratch + LINE)
        if self.memory == NULL:
            raise MemoryError(f"no memory for {held.tiles.scratch} bytes")
        held.scratch = self.memory + (LINE - <size_t>self.memory % LINE)
        self.kept_of_held_out, self.epochs.held_out = (predictor, X, scorer, out), held

    cdef int fits(self, double[:, ::1] found) except -1:
        cdef Py_ssize_t columns = FOUND + (HELD_OUT if self.epochs.held_out != NULL else 0)
        if found.shape[1] != columns:
            raise ValueError(f"found must have {columns} columns, got {found.shape[1]}")
        return 0

    def share(self, const ShareSpec[::1] shares not None, exchange, uint64_t order_seed, Py_ssize_t every=1):
        """From now on each minibatch is shared out among several processes, and this one has those `shares` (steps,).

        exchange(steps, stop) is called in each step, after so many of the epoch, and makes the first gradient and the
        first sum of the buffers those of all processes, to the same bits on each. With `every` > 1 each makes its steps
        alone, and exchange(steps, stop) makes them alike behind each `every`-th one, and the last of an epoch. An error
        of it ends the call of `run`, which raises it; where `stop`, that of the call, becomes 1, it must give up. The
        order of the own rows is that of `order_seed`.
        """
        cdef Epochs* e = &self.epochs
        self.shares, self.exchange, e.order_seed, e.steps = shares, exchange, order_seed, shares.shape[0]
        e.job.shares, e.job.n_shares, e.job.others = &shares[0], shares.shape[0], <void*>self
        if every == 1:
            e.job.exchange = exchange_of
        else:
            e.job.average, e.job.average_every = exchange_of, every

    def augment(self, const AugmentSpec[::1] specs not None, Py_ssize_t height, Py_ssize_t width, Py_ssize_t channels):
        """From now on rows of X, which are such images, are changed in each step by all `specs`, 16 at most."""
        cdef Augment* augment = &self.epochs.job.augment
        self.specs = specs
        augment.specs, augment.n = &specs[0], <int>specs.shape[0]
        augment.height, augment.width, augment.channels = height, width, channels

    def watch(self, double best, double tolerance, int64_t stuck, int64_t patience):
        """From now on `run` ends behind the epoch with which more than `patience` on end brought no improvement.

        The mean of its rows counts, which must be less than the best by `tolerance`; `stuck` epochs were not, so far.
        """
        cdef Epochs* e = &self.epochs
        e.best, e.tolerance, e.stuck, e.patience = best, tolerance, stuck, patience

    def draw(self, int64_t epoch):
        """Makes `order` that of the epoch, unless it is; `run` does it by itself."""
        if self.generator is None:
            with nogil:
                draw_order(&self.epochs, epoch)
        else:
            with self.generator.lock, nogil:
                draw_order(&self.epochs, epoch)

    cdef Piece piece(self, int64_t epoch, Py_ssize_t begin, Py_ssize_t end, const double[:, ::1] numbers,
                     double[:, ::1] found) except *:
        cdef Piece piece
        self.fits(found)
        piece.columns = found.shape[1]
        piece.epochs, piece.epoch, piece.begin, piece.end, piece.seconds = &self.epochs, epoch, begin, end, 0
        piece.numbers, piece.found = <const StepNumbers*>&numbers[0, 0], &found[0, 0]
        return piece

    def run(self, int64_t epoch, Py_ssize_t begin, Py_ssize_t end, const double[:, ::1] numbers, double[:, ::1] found,
            int n_threads, const int32_t[::1] stop=None):
        """Minibatches begin .. end - 1, without the GIL: the status. They count from the epoch's first one on, and go
        on through the epochs after it.

        `numbers` (steps, 3) are learning rate, factor on dropout rates and factor on the weight decay of each step, the
        last two 1 where no schedule says otherwise. `found` (epochs, 5) gets a row for each epoch that is ended: the
        sums of its report, the mean over rows of their minibatch's mean loss (by `divisor`) and penalty, the metric;
        after `hold_out` two more, loss and metric of those rows.
        The network's counter of steps is moved on here, so that an interrupt can't part the two.
        Status 0: done; 1, 2, 3: the loss, the gradient or the update of the next step is not finite, and it was not
        made; 4: `stop` (1,), which another thread may set meanwhile, ended the call before the next step was made.
        """
        cdef Piece piece = self.piece(epoch, begin, end, numbers, found)
        cdef const int32_t* flag = NULL if stop is None else &stop[0]
        self.error, self.stop = None, stop
        if self.generator is None:
            with nogil:
                make(&piece, n_threads, flag)
        else:
            with self.generator.lock, nogil:
                make(&piece, n_threads, flag)
        if self.error is not None:
            raise self.error
        return self.epochs.job.status

    def summarise(self, double[:, ::1] found):
        """found (1, 5) = what `run` writes for an epoch, when all steps of it are in the report already."""
        cdef const void* parameters = self.epochs.model.parameters
        self.fits(found)
        if self.epochs.model.itemsize == sizeof(float):
            end_epoch(&self.epochs, &found[0, 0], <const float*>parameters)
        else:
            end_epoch(&self.epochs, &found[0, 0], <const double*>parameters)

    def loss_and_gradient(self, bint training, int n_threads, const int32_t[::1] stop=None):
        """(mean loss, penalty) over all rows as one minibatch, with the dropout of the step to come where `training`.

        Their gradient is the first of those of the buffers. Where `stop` ends it, they are of no use.
        """
        cdef Model* model = &self.epochs.model
        cdef Job job = self.epochs.job
        cdef Barrier gate
        cdef double report[3]
        memset(&gate, 0, sizeof(gate))
        memset(report, 0, sizeof(report))
        job.optimizer, job.numbers, job.training, job.barrier, job.report = NULL, NULL, training, &gate, report
        job.step, job.first, job.last, job.batch_size = model.counter[0], 0, 1, job.n_rows
        job.stop = NULL if stop is None else &stop[0]
        with nogil:
            if model.itemsize == sizeof(float):
                team(&job, <float*>model.parameters, <float*>model.scratch, n_threads)
            else:
                team(&job, <double*>model.parameters, <double*>model.scratch, n_threads)
        return (report[0] / report[1] if report[1] > 0 else 0.0), report[2]


cdef int take(Job* job, X, rows, outputs, const real* kind) except -1:
    """The rows that a job is about; `kind` only tells their type."""
    cdef const real[:, ::1] targets = rows.targets
    cdef const int32_t[::1] classes = rows.classes
    cdef const real[::1] weights = rows.weights
    cdef real[:, ::1] kept = outputs
    job.n_rows = find_rows(X, kind, &job.X, &job.sparse)
    reserve_sums(&job.sparse, job.layers, kind)
    job.targets = NULL if targets is None else <const void*>&targets[0, 0]
    job.classes = NULL if classes is None else &classes[0]
    job.weights = NULL if weights is None else <const void*>&weights[0]
    job.outputs = NULL if kept is None else <void*>&kept[0, 0]
    return 0


def run_many(list pieces, int n_threads, const int32_t[::1] stop=None):
    """Makes pieces of several trainings side by side, one thread each, the first ones first: (status, seconds) of each.

    A piece has the arguments of `Training.run` as attributes, and its `training`, which may be in here once; one whose
    order is drawn by a generator of NumPy's, which has a lock, is not for here. Where `stop` is set, those that are not
    begun are left undone.
    """
    cdef Py_ssize_t i, n = len(pieces)
    cdef const int32_t* flag = NULL if stop is None else &stop[0]
    cdef Training training
    cdef Piece* work
    if n == 0:
        return []
    work = <Piece*>malloc(n * sizeof(Piece))
    if work == NULL:
        raise MemoryError(f"no memory for {n * sizeof(Piece)} bytes")
    try:
        for i in range(n):
            piece = pieces[i]
            training = piece.training
            if training.generator is not None:
                raise ValueError("a training whose order is drawn by a generator of NumPy's runs alone")
            work[i] = training.piece(piece.epoch, piece.begin, piece.end, piece.numbers, piece.found)
        with nogil:
            side_by_side(work, n, n_threads, flag)
        return [(work[i].epochs.job.status, work[i].seconds) for i in range(n)]
    finally:
        free(work)
