"""The epochs of a fit in calls into the core of some 50 ms: as many epochs a call as take that, or a part of one.

The order of each epoch is drawn there (`draw_order` in cnn_core/_training.pxi).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

import cnn_core
from cnn import schedules
from cnn._common import interrupt, threads
from cnn._common.errors import NonFiniteError
from cnn.augment import Changes
from cnn.callbacks import Callback
from cnn.runtime import passes
from cnn.runtime.data import Array, Data
from cnn.runtime.evaluation import Scores
from cnn.runtime.plan import Cut
from cnn.runtime.state import NetworkState
from cnn.training.calls import Calls, Pace, Piece
from cnn.training.position import Position
from cnn.training.step_numbers import Ahead, Factors

# A call into the core lasts about this long; then signals are looked at and progress is drawn.
_PIECE_SECONDS = 0.05
_METRIC, _HELD_OUT = 4, 5  # where `found` has it, and what was held out
# How much arithmetic a second is expected before the first measurement: rather too little.
_CAUTIOUS_FLOPS = 5e9
_CAUTIOUS_STEP, _CAUTIOUS_ROW = 2e-6, 2e-8  # seconds of a step and of a row that are not arithmetic


class Loop:
    """The buffers of a fit, and one call into the core after another on them. Learning rates may be overridden.

    After `run`, `found` has a row for each epoch since `first` (see `Training.run` in cnn_core), `ended` of them whole;
    `rates` are those of all their steps.
    """

    held_out: Scores | None = None  # rows whose numbers the core takes with each epoch
    made = 0  # steps of this epoch on rows that were there before
    alone = 0  # steps of a call, where somebody must see the network after each; 0: as many as take their time
    at_batch: Sequence[Callback] = ()  # who is told of each step
    pace: Pace | None = None  # None: a fit by itself
    spent = 0.0  # seconds in the core

    def __init__(
        self, net: NetworkState, train: Data, batch: int, shuffle: bool, scores: Scores | None, at: Position,
        last: int, n_threads: int | None, epochs: int, begun: int | None = None, *, generator: Any = None,
        cut: Cut | None = None, pace: Pace | None = None, rows: int | None = None,
    ) -> None:  # fmt: skip
        first, X = net.plan.layers[0], train.X
        if epochs > 1:  # what the search for zeros costs is won back after the first of several
            what = "without zeros", *first[["kind", "by_blas", "n_units"]].tolist()
            X = (train.of or train).once(what, partial(net.plan.without_zeros, X))
        plan = net.plan.taking(X)
        self.net, self.train, self.batch = net, train, batch
        self.rows = len(train) if rows is None else rows  # of an epoch
        self.steps = -(-self.rows // batch)
        # The steps of the schedule that lie before this fit, which begins it unless it is told otherwise; and all.
        self.at, self.before = at, 0 if begun is None else (at.first_epoch - begun) * self.steps
        self.total = self.before + (last - at.first_epoch) * self.steps
        self.schedule = schedules.get(net.optimizer.learning_rate)
        self.ahead, self.factors = Ahead(self.schedule, self.steps), Factors(net, self.steps)
        cut = self._cut(partial(plan.cut_like, net.plan.taking(train.X))) if cut is None else cut
        self.asked = n_threads  # a number that was asked for is kept
        self.n_threads = threads.for_training(n_threads, cut.feeds)
        self.scores, measured = scores, scores is not None and bool(scores.chosen)
        self.outputs: Array = np.zeros((len(train), net.n_outputs) if measured else (0, 0), net.dtype)
        self.report = np.zeros((self.steps, 3))
        self.index = np.arange(len(train) if shuffle else 0, dtype=np.int64)
        if at.done:
            at.restore(self.report, self.outputs)
        at.report, at.outputs = self.report, self.outputs
        self.memory = passes.step_buffers(net, plan, cut, self.n_threads)
        self.training = cnn_core.engine.Training(
            self.memory, X, train, batch, self.report,
            order=self.index if shuffle else None, generator=generator if shuffle else None,
            outputs=self.outputs if measured else None,
            scorer=None if scores is None or self.one_by_one else scores.scorer,
        )  # fmt: skip
        self.pace = pace
        self._expect(plan.size)
        self.first, self.begun, self.found, self.rates = at.epoch, net.step - at.done, np.zeros((0, 5)), np.zeros(1)
        self.numbers = np.zeros((0, 3))

    def _expect(self, size: int) -> None:
        """How long a step may last, and how many steps a call, before the first measurement."""
        self.step_seconds = 6.0 * size * self.batch / _CAUTIOUS_FLOPS + _CAUTIOUS_STEP + _CAUTIOUS_ROW * self.batch
        self.per_call = max(1, int(self._wanted / self.step_seconds))

    @property
    def _wanted(self) -> float:
        """How many seconds a call should last."""
        return _PIECE_SECONDS if self.pace is None else self.pace.seconds

    def hold_out(self, scores: Any) -> bool:
        """Whether the numbers of these rows, which are held out, come with each epoch from now on."""
        if not isinstance(scores, Scores) or not (flops := scores.hold_out(self.training, self.asked)):
            return False
        self.held_out = scores
        self.step_seconds += flops / _CAUTIOUS_FLOPS / self.steps
        self.per_call = max(1, int(self._wanted / self.step_seconds))
        return True

    def each_step(self, hooks: Sequence[Callback]) -> None:
        """From now on each step is a call by itself, after which these are told of it."""
        self.alone, self.at_batch = 1, hooks

    def augment(self, changes: Changes) -> None:
        """From now on images are changed in each step."""
        self.training.augment(*changes)

    def _cut(self, cut_of: Callable[[int], Cut]) -> Cut:
        """How minibatches are cut; `cut_of` says it of one process's, by their rows."""
        return cut_of(self.batch)

    def learning_rates(self, epochs: int) -> Array:
        """The learning rate of each step of the epochs to come."""
        return self.ahead.of(self.coming, epochs * self.steps, self.total) * self.net.rate_factor

    @property
    def coming(self) -> int:
        """The first step of the epochs to come, in the schedules."""
        return self.before + self.net.step - self.at.done - self.at.first_step

    @property
    def one_by_one(self) -> bool:
        """Whether each epoch has to be looked at before the next."""
        return self.scores is not None and self.scores.in_python

    @property
    def ended(self) -> int:
        """How many epochs since `first` are ended, by the counter that moves with the weights."""
        return (self.net.step - self.begun) // self.steps

    @property
    def losses(self) -> Array:
        """The mean loss of each epoch that is ended, with penalties."""
        loss, weight, penalty = self.found[: self.ended, :3].T
        return loss / weight + penalty / self.steps

    def metrics(self) -> dict[str, float]:
        """The metrics of the last epoch, which is ended; all numbers of what was held out, where they come with it."""
        found = {name: value for name, (value,) in self.measured(slice(-1, None)).items()}
        if self.scores is not None and self.scores.in_python:
            return self.scores.measure(self.outputs) | found
        return found

    def measured(self, epochs: slice) -> dict[str, list[float]]:
        """The metrics of these rows of `found`, and all numbers of what was held out, where they come with them."""
        found = self.found[epochs]
        scores = self.scores
        columns = dict.fromkeys(() if scores is None or scores.in_python else scores.chosen, _METRIC)
        if self.held_out is not None:
            columns["val_loss"] = _HELD_OUT
            columns |= {f"val_{name}": _HELD_OUT + 1 for name in self.held_out.chosen}
        return {name: found[:, column].tolist() for name, column in columns.items()}

    @property
    def loss(self) -> float:
        """The mean loss of the last epoch, which is ended, with penalties."""
        loss, weight, penalty = self.found[-1, :3].tolist()
        return float(loss / weight + penalty / self.steps)

    def run(self, most: int, hooks: list[Callback]) -> Calls[None]:
        """The rest of an epoch, or where a call into the core may last that long, up to `most` epochs."""
        at, steps, begin = self.at, self.steps, self.at.done  # more than 0: resumed in the middle of an epoch
        n = 1 if begin else max(1, min(most, self.per_call // steps))
        self.begun, self.rates = self.net.step - begin, self.learning_rates(n)
        if len(self.found) != n:
            self.found = np.zeros((n, _HELD_OUT + (2 if self.held_out is not None else 0)))
            self.numbers = np.ones((n * steps, 3))
        self.numbers[:, 0] = self.rates
        self.factors.put(self.numbers, self.coming, self.total)
        self.first = at.epoch  # last: whoever finds it knows that the others are of this run
        if begin:
            self._tell(hooks, 0, begin)
        if begin == steps:
            self.training.summarise(self.found)
        yield from self._through(begin, n, hooks)

    def _through(self, begin: int, n: int, hooks: list[Callback]) -> Calls[None]:
        """The steps of n epochs from `begin` on."""
        at, steps, shares = self.at, self.steps, self.asked is None and self.n_threads > 1
        while begin < n * steps:
            end = min(begin + (self.alone or self.per_call), n * steps)
            if interrupt.takes_long(len(self.index)):  # else the core draws it
                interrupt.apart(len(self.index), partial(self.training.draw, at.epoch))
            found, long = self.found[begin // steps :], self.step_seconds > _PIECE_SECONDS
            status, seconds = yield Piece(
                self.training, self.first, begin, end, self.numbers[begin:end], found, self.n_threads, shares, long,
                self.step_seconds * (end - begin),
            )  # fmt: skip
            done = self.training.done
            if status:
                self._not_finite(begin + done, status)
            self.spent += seconds
            self._measured(done, seconds, 1 if n == 1 else steps)
            if n == 1:
                at.done = self.made + end
            self._tell_of_steps(begin, begin + done)
            self._tell(hooks, begin, begin + done)
            if done < end - begin:  # what is watched has ended it
                break
            begin = end

    def _measured(self, done: int, seconds: float, fewer: int) -> None:
        """Takes the time of a call; the next one has steps for the wanted duration, four times as many at most.

        A call that was by so many steps, or more, shorter than it might have been says nothing of longer ones.
        """
        self.step_seconds = seconds / done
        ratio = self._wanted / max(seconds, 1e-9)
        if ratio < 1 or done > self.per_call - fewer:
            self.per_call = max(1, int(done * min(ratio, 4.0)))

    def _tell_of_steps(self, begin: int, end: int) -> None:
        for step in range(begin, end) if self.at_batch else ():
            loss, weight, penalty = self.report[step % self.steps].tolist()
            logs = {"loss": (loss / weight if weight else 0.0) + penalty, "learning_rate": float(self.rates[step])}
            for hook in self.at_batch:
                hook.on_train_batch_end(self.net, self.made + step % self.steps, logs.copy())

    def _tell(self, hooks: list[Callback], begin: int, end: int) -> None:
        if not hooks:
            return
        rows = [b // self.steps * self.rows + min(b % self.steps * self.batch, self.rows)
                for b in (begin, end)]  # fmt: skip
        for hook in hooks:
            hook.on_progress(self.net, self.first + (end - 1) // self.steps, rows[1] - rows[0])

    def close(self) -> None:
        """Ends what reads rows; may come twice."""

    @property
    def _of_steps(self) -> str:
        return f" of {self.steps}"

    def _not_finite(self, step: int, status: int) -> None:
        """`step` counts from the beginning of epoch `first`."""
        net = self.net
        epoch, batch = self.first + step // self.steps, f"{self.made + step % self.steps + 1}{self._of_steps}"
        what = {1: "loss", 2: "gradient", 3: "update"}[status]
        if not np.isfinite(net.state).all():
            net.state[...] = 0
        raise NonFiniteError(
            f"the {what} is not finite in epoch {epoch + 1}, batch {batch}; the network keeps the "
            f"weights of the last finite step. Lower the learning rate (now {self.rates[step]:g}), standardise inputs "
            "and targets, or clip the gradient (clip_norm of the optimizer)"
        )
