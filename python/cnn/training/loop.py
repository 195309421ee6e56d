"""One epoch after another of a fit: the order of rows, learning rates, and calls into the core of some 50 ms."""

from __future__ import annotations

import time
from functools import partial

import numpy as np

import cnn_core
from cnn import schedules
from cnn._common import threads
from cnn._common.errors import NonFiniteError
from cnn.callbacks import Callback
from cnn.runtime import arena
from cnn.runtime.data import Array, Data
from cnn.runtime.state import NetworkState
from cnn.training.position import Position

# A call into the core lasts about this long; then signals are looked at and progress is drawn.
_PIECE_SECONDS = 0.05
# How much arithmetic a second is expected before the first measurement: rather too little.
_CAUTIOUS_FLOPS = 5e9
_CAUTIOUS_STEP = 2e-6  # seconds of a step that are not arithmetic



class Loop:
    """The buffers of a fit, and one epoch after another in them. Order and rates of an epoch may be overridden."""

    def __init__(
        self, net: NetworkState, train: Data, batch: int, shuffle: bool, keep_outputs: bool, at: Position,
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

    def epoch(self, epoch: int, hooks: list[Callback]) -> float:
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
        raise NonFiniteError(
            f"the {what} is not finite in epoch {epoch + 1}, batch {batch + 1} of {self.steps}; the network keeps the "
            f"weights of the last finite step. Lower the learning rate (now {self.rates[batch]:g}), standardise inputs "
            "and targets, or clip the gradient (clip_norm of the optimizer)"
        )
