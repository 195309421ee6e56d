"""The loop of a fit: epochs, the order of rows, learning rates, metrics, callbacks, history."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

import cnn_core
from cnn import _check, arena, callbacks, checkpoint, data, evaluation, resume, schedules, threads
from cnn.data import Array, Data
from cnn.history import History

if TYPE_CHECKING:
    from cnn.network import Network

T = TypeVar("T")

# A call into the core lasts about this long; then signals are looked at and progress is drawn.
_PIECE_SECONDS = 0.05
# How much arithmetic a second is expected before the first measurement: rather too little.
_CAUTIOUS_FLOPS = 5e9
_CAUTIOUS_STEP = 2e-6  # seconds of a step that are not arithmetic


@dataclass
class Settings:
    """The arguments of `Network.fit`."""

    epochs: int
    batch_size: int | None
    validation_split: float
    validation_data: Sequence[Any] | None
    sample_weight: Any
    class_weight: Mapping[int, float] | str | None
    shuffle: bool
    initial_epoch: int | None
    metrics: str | Iterable[Any]
    callbacks: Any
    verbose: int
    n_threads: int | None
    resume: Any = None


@_check.quiet
def fit(net: Network, X: Any, y: Any, settings: Settings) -> History:
    """See `Network.fit`."""
    return threads.a_fit(net, lambda: _fit(net, X, y, settings))


def _fit(net: Network, X: Any, y: Any, s: Settings) -> History:
    epochs = _check.integer("epochs", s.epochs, 0)
    first = net.epoch if s.initial_epoch is None else _check.integer("initial_epoch", s.initial_epoch, 0)
    verbose = int(s.verbose) if isinstance(s.verbose, bool) else _check.integer("verbose", s.verbose, 0)
    _check.flag("shuffle", s.shuffle)
    measured = evaluation.resolve(s.metrics, net.loss)
    hooks = callbacks.all_of(s.callbacks)
    hooks += {0: [], 1: [callbacks.Progress()]}.get(verbose, [callbacks.EpochLines()])
    hooks.sort(key=lambda hook: isinstance(hook, checkpoint.Checkpoint))  # they keep what the others made of an epoch
    if s.n_threads is not None:
        _check.integer("n_threads", s.n_threads, 1)
    train, validation = _split(net, X, y, s)
    for rows in (train, validation):
        evaluation.check(net.loss, rows, net.n_outputs, measured)
    batch = len(train) if s.batch_size is None else min(_check.integer("batch_size", s.batch_size, 1), len(train))

    steps = -(-len(train) // batch)
    names = ["loss", *measured]
    names += [f"val_{name}" for name in names] if validation is not None else []
    at = checkpoint.Position(first, net.step, len(net.history), first, training=net.training_id)
    job = checkpoint.Job(batch, s.shuffle, tuple(names), train, validation, hooks, at)
    saved = None if s.resume is None else resume.find(s.resume, hooks)
    if saved is not None:
        saved.check(net, job)
        at = job.position = saved.position
    last = at.first_epoch + epochs if s.initial_epoch is None else max(epochs, at.first_epoch)
    step, resumed = (net.step, None) if saved is None else (saved.net.step, saved.path.parent)
    shown = (*names, "learning_rate", "seconds")
    run = callbacks.Run(at.epoch, last, len(train), steps, shown, step, resumed, job)
    for hook in hooks:
        hook.check(run)

    if saved is not None:
        saved.restore(net)
    if net.chooses_activation:
        from cnn import choice

        choice.choose_activation(net, train, verbose)
    net.build(train.X.shape[1])
    evaluation.warn_of_range(net, train)
    net.one_dimensional = net.n_outputs == 1 and train.y.ndim == 1
    net.stop_training = at.stopped

    def epochs_to_do() -> None:
        if saved is not None:
            saved.restore_callbacks(hooks)
        begun = None if s.initial_epoch is None else 0  # then the whole is that of `epochs` epochs, as in Keras
        loop = Loop(net, train, batch, s.shuffle, bool(measured), at, last, s.n_threads, last - at.epoch, begun)
        _epochs(loop, hooks, range(at.epoch, last if not at.stopped else at.epoch), validation, measured)

    # A Ctrl-C may come between two of an epoch's numbers.
    cnn_core.finishing(lambda: hooked(hooks, net, run, epochs_to_do), [net.history.trim])
    return net.history.since(at.first_record, run.names)


def _epochs(
    loop: Loop, hooks: list[callbacks.Callback], epochs: range, validation: Data | None, measured: evaluation.Metrics
) -> None:
    net, at = loop.net, loop.at
    for epoch in epochs:
        for hook in hooks:
            hook.on_epoch_begin(net, epoch)
        start = time.perf_counter()
        loss = loop.epoch(epoch, hooks)
        logs = {"loss": loss, **evaluation.measure(net, loop.train, loop.outputs, measured)}
        if validation is not None:
            held_out = evaluation.evaluate(net, validation, measured, loop.asked)
            logs.update({f"val_{name}": value for name, value in held_out.items()})
        logs["learning_rate"] = float(loop.rates[-1])
        logs["seconds"] = time.perf_counter() - start
        net.history.append(epoch, logs)
        at.epoch, at.done = epoch + 1, 0
        for hook in hooks:
            hook.on_epoch_end(net, epoch, logs)
        if net.stop_training:
            break


def _split(net: Network, X: Any, y: Any, s: Settings) -> tuple[Data, Data | None]:
    """Training and validation rows, all checked."""
    share = _check.number("validation_split", s.validation_split, 0, 1, open_high=True)
    if s.validation_data is not None and share > 0:
        raise ValueError("give validation_split or validation_data, not both")
    everything = data.prepare(X, y, s.sample_weight, net.loss, net.dtype, net.known_inputs, net.n_outputs)
    train, validation = everything, None
    if share > 0:
        held_out = round(len(everything) * share)
        if held_out in (0, len(everything)):
            raise ValueError(
                f"validation_split={share:g} of {len(everything)} rows leaves {len(everything) - held_out} to train on "
                f"and {held_out} to validate on"
            )
        train = everything.rows(0, len(everything) - held_out)
        validation = everything.rows(len(everything) - held_out, len(everything))
    if s.validation_data is not None:
        given = data.validation_sets(s.validation_data)
        validation = data.prepare(*given, net.loss, net.dtype, train.X.shape[1], net.n_outputs, "validation ")
    for part, what in ((train, "training"), (validation, "validation")):
        if part is not None and part.weights is not None and not part.weights.any():
            raise ValueError(f"sample_weight is zero for every {what} row")
    return data.with_class_weights(train, s.class_weight, net.loss, net.n_outputs), validation


def hooked(hooks: list[callbacks.Callback], net: Network, run: callbacks.Run, work: Callable[[], T]) -> T:
    """work() between beginning and end of the callbacks; those that have begun are ended whatever happens."""
    ends: list[Callable[[], None]] = []

    def begun() -> T:
        for hook in hooks:
            ends.append(partial(hook.on_fit_end, net))  # first: Ctrl-C may come as soon as it has begun
            try:
                hook.on_fit_begin(net, run)
            except Exception:
                ends.pop()
                raise
        return work()

    return cnn_core.finishing(begun, ends)


class Loop:
    """The buffers of a fit, and one epoch after another in them. Order and rates of an epoch may be overridden."""

    def __init__(
        self, net: Network, train: Data, batch: int, shuffle: bool, keep_outputs: bool, at: checkpoint.Position,
        last: int, n_threads: int | None, epochs: int, begun: int | None = None,
    ) -> None:  # fmt: skip
        # What the search for zeros costs is won back after the first of several epochs.
        self.X = net.plan.without_zeros(train.X) if epochs > 1 else train.X
        plan = self.plan = net.plan.taking(self.X)
        self.net, self.train, self.batch, self.shuffle = net, train, batch, shuffle
        self.steps = -(-len(train) // batch)
        # The steps of the schedule that lie before this fit, which begins it unless it is told otherwise; and all.
        self.at, self.before = at, 0 if begun is None else (at.first_epoch - begun) * self.steps
        self.total = self.before + (last - at.first_epoch) * self.steps
        self.schedule = schedules.get(net.optimizer.learning_rate)
        self.cut = plan.cut_like(net.plan.taking(train.X), batch)
        self.asked = n_threads  # a number that was asked for is kept
        self.n_threads = threads.for_training(n_threads, self.cut.feeds)
        self.gradients = arena.aligned_zeros(self.cut.gradients * plan.size, net.dtype)
        self.scratch = arena.aligned_zeros(self.cut.shared + self.n_threads * self.cut.own, net.dtype)
        self.outputs: Array = np.zeros((len(train), net.n_outputs), net.dtype) if keep_outputs else np.empty((0, 0))
        self.keep_outputs = keep_outputs
        self.report = np.zeros((self.steps, 3))
        self.index = np.empty(len(train) if shuffle else 0, np.int64)
        if at.done:
            at.restore(self.report, self.outputs)
        at.report, at.outputs = self.report, self.outputs
        self.rates = np.zeros(1)
        self.step_seconds = 6.0 * plan.size * batch / _CAUTIOUS_FLOPS + _CAUTIOUS_STEP
        self.per_call = max(1, int(_PIECE_SECONDS / self.step_seconds))

    def order(self, epoch: int) -> Array | None:
        """The rows in the order of that epoch, (n,) int64; None: as they stand."""
        if not self.shuffle:
            return None
        draw = partial(cnn_core.engine.permutation, self.net.seed, epoch, self.index)
        threads.apart(len(self.index), draw)
        return self.index

    def learning_rates(self, epoch: int) -> Array:
        """The learning rate of each step of that epoch."""
        first = self.before + self.net.step - self.at.done - self.at.first_step
        return self.schedule.rates(first, self.steps, self.steps, self.total) * self.net.rate_factor

    def epoch(self, epoch: int, hooks: list[callbacks.Callback]) -> float:
        """All minibatches once; returns the mean loss with penalties."""
        net, order = self.net, self.order(epoch)
        self.rates = self.learning_rates(epoch)
        begin = self.at.done  # more than 0 when the fit is resumed in the middle of an epoch
        if begin:
            for hook in hooks:
                hook.on_progress(net, epoch, min(begin * self.batch, len(self.train)))
        while begin < self.steps:
            end = min(begin + self.per_call, self.steps)
            start = time.perf_counter()
            status = self._steps(begin, end, order)
            if status:
                self._not_finite(epoch, status)
            seconds = time.perf_counter() - start
            self.step_seconds = seconds / (end - begin)
            # Towards the wanted duration, by no more than a factor of four at a time.
            ratio = _PIECE_SECONDS / max(seconds, 1e-9)
            if ratio < 1 or end - begin == self.per_call:
                self.per_call = max(1, int((end - begin) * min(ratio, 4.0)))
            rows = min(end * self.batch, len(self.train)) - begin * self.batch
            self.at.done = end
            for hook in hooks:
                hook.on_progress(net, epoch, rows)
            begin = end
        loss, weight, penalty = self.report.sum(axis=0).tolist()
        return loss / weight + penalty / self.steps

    def _steps(self, begin: int, end: int, order: Array | None) -> int:
        # One step that is long by itself must be given up in its middle for a Ctrl-C to be prompt.
        if self.step_seconds > _PIECE_SECONDS:
            return threads.interruptible(lambda stop: self._run(begin, end, order, stop))
        return self._run(begin, end, order, None)

    def _run(self, begin: int, end: int, order: Array | None, stop: Array | None) -> int:
        net, plan, rows = self.net, self.plan, self.train
        n_threads = threads.share(self.n_threads) if self.asked is None else self.n_threads
        _, status = cnn_core.engine.train_steps(
            plan.layers, self.cut.workspace, self.cut.wide, self.cut.parts, plan.segments, plan.loss, plan.optimizer,
            net.flat, self.gradients, net.state, net.scalars, self.scratch, self.X, rows.targets, rows.classes,
            rows.weights, order, begin, end, self.batch, self.rates[begin:end], net.counter, net.seed,
            self.outputs if self.keep_outputs else None, self.report[begin:end], n_threads, stop,
        )  # fmt: skip
        return int(status)

    def _not_finite(self, epoch: int, status: int) -> None:
        net = self.net
        batch = (net.step - self.at.first_step) % self.steps
        what = {1: "loss", 2: "gradient", 3: "update"}[status]
        if not np.isfinite(net.state).all():
            net.state[...] = 0
        raise _check.NonFiniteError(
            f"the {what} is not finite in epoch {epoch + 1}, batch {batch + 1} of {self.steps}; the network keeps the "
            f"weights of the last finite step. Lower the learning rate (now {self.rates[batch]:g}), standardise inputs "
            "and targets, or clip the gradient (clip_norm of the optimizer)"
        )
