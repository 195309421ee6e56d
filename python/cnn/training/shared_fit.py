"""Fits among several ranks: each minibatch is shared out, all else is agreed on or gathered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import cnn_core
from cnn._common import checks, interrupt
from cnn.callbacks import Callback
from cnn.mpi import shared
from cnn.mpi.alone import Alone
from cnn.mpi.shared import Shared, StayAlike
from cnn.runtime import evaluation, passes
from cnn.runtime.data import Array, Data, Once
from cnn.runtime.evaluation import Scores
from cnn.runtime.plan import Cut
from cnn.runtime.state import NetworkState
from cnn.training.calls import Calls, Evaluation
from cnn.training.checkpoint import Checkpoint
from cnn.training.fit import Asked, Fit, FitOptions, ready, split
from cnn.training.loop import Loop
from cnn.training.position import FitIdentity


def prepare(net: NetworkState, X: Any, y: Any, options: FitOptions, *, ranks: Alone) -> Fit:
    """The fit of these arguments among ranks, all of which call this; nothing is touched.

    Raises:
        ValueError: on all ranks, where they differ: the first difference is named.
        RankError: another rank can't prepare its fit.
    """
    asked = asked_alike(net, options, ranks)
    train, validation = split(net, X, y, asked, Once(), shared.counter(ranks, options.same_rows))
    for rows in (train, validation):
        evaluation.check(net.loss, rows, net.n_outputs, asked.metrics)
    among, batch = Shared.of(ranks, train, validation, options.same_rows), options.batch_size
    batch = among.total if batch is None else min(checks.integer("batch_size", batch, 1), among.total)
    return ready(SharedFit, net, train, validation, batch, asked, among.total, -(-among.total // batch), among)


def asked_alike(net: NetworkState, options: FitOptions, ranks: Alone) -> Asked:
    """What the fit is asked for, the same on all ranks; each looks after each epoch whether all are alike."""
    asked = Asked.of(net, options)
    hooks = [hook for hook in asked.hooks if not isinstance(hook, Checkpoint)]
    kept = [hook for hook in asked.hooks if isinstance(hook, Checkpoint)]  # last: what they keep is agreed on
    shared.agree(ranks, _settings(net, options, asked.metrics))
    return replace(asked, hooks=[*hooks, StayAlike(ranks), *kept])


def _settings(net: NetworkState, options: FitOptions, measured: evaluation.Metrics) -> dict[str, Any]:
    """What must be alike on all ranks, of the network and of the arguments."""
    layers = {f"layers.{i}": layer for i, layer in enumerate(net.descriptions)}
    of_network = {
        "the number of layers": len(layers), **layers, "loss": net.loss, "optimizer": net.optimizer,
        "dropout_factor": net.dropout_factor, "dtype": net.dtype.name, "n_inputs": net.known_inputs,
        "seed": net.seed if net.seed_given else None, "epoch": net.epoch, "step": net.step,
        "the instruction set": cnn_core.isa,
    }  # fmt: skip
    names = (
        "epochs", "batch_size", "validation_split", "class_weight", "shuffle", "initial_epoch", "same_rows",
        "exchange_every", "augment",
    )  # fmt: skip
    of_fit = {name: getattr(options, name) for name in names} | {"metrics": tuple(measured)}
    given = {name: getattr(options, name) is not None for name in ("validation_data", "sample_weight", "resume")}
    return of_network | of_fit | given


class Alike(Fit):
    """A `Fit` whose ranks begin alike and stay so."""

    @property
    def among(self) -> Shared:
        assert self.identity.among is not None
        return self.identity.among

    def _agree(self) -> None:
        shared.begin_alike(self.net, self.identity.ranks)

    def _held_out(self) -> Evaluation | None:
        if self.validation is None:
            return None
        return Evaluation(self.among.scores(self.net, self.validation, self.metrics), self.n_threads)


class SharedFit(Alike):
    """A fit on arrays among ranks."""

    def _loop(self) -> Loop:
        scores = self.among.scores(self.net, self.train, self.metrics)
        return SharedLoop(
            self.net, self.train, self.identity, scores, self.about.epochs, self.n_threads, self.begun,
            self.identity.exchange_every,
        )  # fmt: skip


class Exchanging(Loop):
    """A `Loop` that makes a share of each minibatch, and whose calls end at the same step on all ranks."""

    one_by_one = True
    among: Shared
    every: int
    gradient: Array
    loss_sum: Array

    def exchange(self, memory: passes.Buffers, shares: Array, order_seed: int) -> None:
        """Makes the steps of `training` those of all ranks."""
        self.gradient, self.loss_sum = memory.gradients[: self.net.plan.size], memory.sums[:1]
        self.training.share(shares, self._add if self.every == 1 else self._average, order_seed, self.every)

    def _add(self, steps: int, stop: Array | None) -> None:
        """In a step: the gradient and the loss of all ranks."""
        self.among.ranks.add(self.gradient, self.loss_sum, stop)

    def _average(self, steps: int, stop: Array | None) -> None:
        """Behind some steps that each rank has made alone: the mean of their networks."""
        self.among.average(self.net, self.report[(steps - 1) // self.every * self.every : steps], stop)

    def _whole(self, steps: int) -> int:
        """Steps of a call, at the end of which all are alike."""
        return max(self.every, steps // self.every * self.every)

    def _expect(self, size: int) -> None:
        super()._expect(size)
        self.per_call = self._whole(self.per_call)

    def each_step(self, hooks: Sequence[Callback]) -> None:
        super().each_step(hooks)
        self.alone = self.every  # between exchanges networks differ

    def _measured(self, done: int, seconds: float, fewer: int) -> None:
        super()._measured(done, seconds, fewer)
        self.per_call = self.among.ranks.broadcast(self._whole(self.per_call))  # it goes by rank 0's clock


class SharedLoop(Exchanging):
    """The loop of arrays."""

    def __init__(
        self, net: NetworkState, train: Data, identity: FitIdentity, scores: Scores, last: int, n_threads: int | None,
        begun: int | None, every: int,
    ) -> None:  # fmt: skip
        self.every = every
        assert identity.among is not None
        self.among, at = identity.among, identity.position
        if at.done and at.outputs is not None:
            at.outputs = self.among.own_rows(at.outputs)
        total = self.among.total
        super().__init__(
            net, train, identity.batch, identity.shuffle and identity.batch < total, scores, at, last, n_threads,
            last - at.epoch, begun, rows=total,
        )  # fmt: skip
        self.exchange(self.memory, self.shares, self.among.order_seed(net.seed))

    def _cut(self, cut_of: Callable[[int], Cut]) -> Cut:
        division = self.among.divide(cut_of, self.batch)
        self.shares = division.table
        if self.every > 1:
            self.shares["weight"] = self.shares["rows"]
        return division.cut

    def metrics(self) -> dict[str, float]:
        assert self.scores is not None
        return self.scores.measure(self.among.gather(self.outputs)) if self.scores.chosen else {}

    def _through(self, begin: int, n: int, hooks: list[Callback]) -> Calls[None]:
        if begin == 0 and self.among.same:
            self.outputs[...] = 0  # `gather` adds
        if self.train.weights is not None:
            order: Array | None = None
            if len(self.index):
                interrupt.apart(len(self.index), partial(self.training.draw, self.at.epoch))
                order = self.index
            self.among.weigh(self.shares, self.train.weights, order, alone=self.every > 1)
        yield from super()._through(begin, n, hooks)
