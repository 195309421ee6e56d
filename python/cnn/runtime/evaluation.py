"""Mean loss, penalties and metrics of a network's raw outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

import cnn_core
from cnn import metrics
from cnn._common import checks, console, interrupt, threads
from cnn.losses import Loss
from cnn.runtime import passes
from cnn.runtime.data import Array, Data
from cnn.runtime.plan import check_range
from cnn.runtime.sparse import SparseRows
from cnn.runtime.state import NetworkState

Metrics = dict[str, Callable[..., float]]
_TRIED = 64  # rows that metrics are tried on
_PIECE = 1 << 18  # elements whose loss is taken at a time
_FEW_FLOPS = 2e5


def resolve(chosen: str | metrics.Metric | Iterable[str | metrics.Metric], loss: Loss) -> Metrics:
    """Functions by name; "auto" takes what suits the loss."""
    if isinstance(chosen, str):
        chosen = metrics.default_for(loss) if chosen == "auto" else (chosen,)
    elif callable(chosen):
        chosen = (chosen,)
    elif not isinstance(chosen, Iterable):
        raise TypeError(f"metrics must be a name, a function or a list of them (() for none), got {chosen!r}")
    return metrics.named(chosen)


def check(loss: Loss, rows: Data | None, n_outputs: int, chosen: Metrics) -> Metrics:
    """The metrics; ValueError where one does not suit the targets: our own are tried on a few rows, before a fit."""
    if rows is None:
        return chosen
    few, m = rows.rows(0, _TRIED), min(len(rows), _TRIED)
    n_targets = loss.n_targets(n_outputs)
    flat = rows.y.ndim == 1 and n_targets == 1
    predicted = np.full(m if flat else (m, n_targets), 1 / n_outputs if loss.one_class else 0.5)
    for name, metric in chosen.items():
        metrics.check_target(name, metric, loss, rows.y)
        if metrics.is_own(metric) and name not in metrics.default_for(loss):
            metric(*metrics.seen(metric, loss, few.y, predicted), None)
    return chosen


def warn_of_range(net: NetworkState, rows: Data) -> None:
    """A warning where the last layer can't give what the loss or the targets want."""
    if said := check_range(net.descriptions[-1], net.loss, rows.targets):
        console.warn(said)


@checks.quiet
def evaluate(net: NetworkState, rows: Data, chosen: Metrics, n_threads: int | None = None) -> dict[str, float]:
    """{"loss": mean loss plus penalties, metric: value, ...}, without dropout."""
    return Scores(net, rows, chosen).take(n_threads)


class Scores:
    """Loss and metrics of a network on some rows, prepared once for many epochs.

    `last` are the raw outputs of which they were taken last.
    """

    def __init__(self, net: NetworkState, rows: Data, chosen: Metrics) -> None:
        self.net, self.rows, self.chosen, self.weight = net, rows, chosen, rows.weight
        self.last: Array | None = None
        how = None
        if len(chosen) == 1 and len(rows):
            (metric,) = chosen.values()
            k = net.n_outputs
            how = rows.once(("compiled", metric, net.loss, k), lambda: metrics.compiled(metric, net.loss, k, rows.y))
        self.scorer = cnn_core.engine.Scorer(net.plan.loss, rows, *(how or ()))
        # What takes some 10 us needs neither threads nor looks at a flag: its outputs, or None.
        plan, self.few = net.plan, None
        if isinstance(rows.X, np.ndarray) and not plan.uses_blas and plan.tiles.flops * len(rows) < _FEW_FLOPS:
            self.few = np.empty((len(rows), net.n_outputs), net.dtype)
        self.has_penalty = bool((net.plan.segments["l1"] != 0).any() or (net.plan.segments["l2"] != 0).any())

    @property
    def _X(self) -> Array | SparseRows:
        """X of these rows alone, one after another."""
        return self.rows.once("X", lambda: self.rows.with_own_X().X)

    @property
    def in_python(self) -> bool:
        """Whether there are metrics that the core does not have."""
        return bool(self.chosen) and not self.scorer.measures

    def hold_out(self, training: Any, n_threads: int | None) -> float:
        """Has the core's `Training` take the numbers with each epoch, where one thread does it as soon: the arithmetic.

        That is 0 where it does not.
        """
        net, X = self.net, self._X
        plan = net.plan.taking(X)
        flops = len(X) * (plan.flops_of_a_row(X) if isinstance(X, SparseRows) else plan.tiles.flops)
        predictor = passes.predictor_of(net, plan)
        n = threads.for_prediction(n_threads, flops, predictor.parts(len(X), not isinstance(X, SparseRows)))
        if self.in_python or plan.uses_blas or flops > interrupt.LONG_FLOPS or (n > 1 and self.few is None):
            return 0.0
        self.last = out = np.empty((len(X), net.n_outputs), net.dtype)
        training.hold_out(predictor, X, self.scorer, out, self.piece, self.has_penalty)
        return flops

    @property
    def piece(self) -> int:
        """Rows whose losses are added up before they are added to the sum."""
        return max(1, _PIECE // self.net.n_outputs)

    def take(self, n_threads: int | None) -> dict[str, float]:
        """{"loss": mean loss plus penalties, metric: value, ...}, without dropout."""
        self.last = self.outputs(n_threads)
        return self.of(self.last)

    def of(self, out: Array) -> dict[str, float]:
        """The same of raw outputs that are there."""
        net, loss = self.net, self.mean_loss(out)
        if self.has_penalty:
            loss += cnn_core.engine.penalty(net.plan.segments, net.plan.loss, net.flat, self.weight)
        return {"loss": loss, **self.measure(out)}

    def outputs(self, n_threads: int | None) -> Array:
        """The network's raw outputs for these rows."""
        if self.few is not None and self.net.predictor.many(self._X, self.few, False, 1):
            return self.few
        return passes.outputs(self.net, self._X, link=False, n_threads=n_threads)

    def mean_loss(self, out: Array) -> float:
        """sum(w · loss) / sum(w) of raw outputs."""
        total, n, piece = 0.0, len(out), self.piece
        for begin in range(0, n, piece):
            total += self.scorer.loss(out, begin, min(begin + piece, n))
        return total / self.weight

    def measure(self, out: Array) -> dict[str, float]:
        """Metrics of raw outputs, seen through the loss's link; where a target has several, of the first ones."""
        if self.scorer.measures:
            return {name: self.scorer.metric(out) for name in self.chosen}
        if not self.chosen:
            return {}
        net, rows = self.net, self.rows
        predicted = np.empty_like(out)
        cnn_core.engine.link(net.loss.kind, out, predicted)
        predicted = predicted[:, : net.loss.n_targets(net.n_outputs)]
        if rows.y.ndim == 1 and predicted.shape[1] == 1:
            predicted = predicted[:, 0]
        return {
            name: float(metric(*metrics.seen(metric, net.loss, rows.y, predicted), rows.weights))
            for name, metric in self.chosen.items()
        }
