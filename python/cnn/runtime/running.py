"""Loss and metrics of rows that are seen part by part: means of the parts by their weights.

A metric that has to see all rows at once is taken at the end, of the targets and predictions that were kept for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import cnn_core
from cnn import metrics
from cnn.runtime import passes
from cnn.runtime.data import Array, Data
from cnn.runtime.evaluation import Metrics, Scores
from cnn.runtime.state import NetworkState


class Running:
    """The sums of an epoch; float64, part after part."""

    def __init__(self, net: NetworkState, chosen: Metrics) -> None:
        self.net, self.chosen = net, chosen
        self._of_parts = {name: function for name, metric in chosen.items() if (function := metrics.of_parts(metric))}
        self.weight, self._loss = 0.0, 0.0
        self._sums: dict[str, Any] = dict.fromkeys(self._of_parts, 0.0)
        self._kept: list[tuple[Array, Array, Array | None]] = []

    def outputs(self, rows: Data, n_threads: int | None) -> None:
        """Predicts the rows and adds their loss and metrics."""
        out = passes.outputs(self.net, rows.X, link=False, n_threads=n_threads)
        self.add(rows, out)
        self._loss += Scores(self.net, rows, {}).mean_loss(out) * rows.weight if rows.weight > 0 else 0.0

    def add(self, rows: Data, out: Array) -> None:
        """Adds the metrics of rows whose raw outputs these are."""
        net, weight = self.net, rows.weight
        self.weight += weight
        if not self.chosen or not len(rows):
            return
        predicted = np.empty_like(out)
        cnn_core.engine.link(net.loss.kind, out, predicted)
        predicted = predicted[:, : net.loss.n_targets(net.n_outputs)]
        if rows.y.ndim == 1 and predicted.shape[1] == 1:
            predicted = predicted[:, 0]
        if len(self._of_parts) < len(self.chosen):
            self._kept.append((rows.y, predicted, rows.weights))
        if weight == 0:
            return
        for name, function in self._of_parts.items():
            value = function(*metrics.seen(self.chosen[name], net.loss, rows.y, predicted), rows.weights)
            self._sums[name] = self._sums[name] + weight * np.asarray(value, np.float64)

    def together(self, gather: Callable[[Any], list[Any]]) -> None:
        """Adds the sums of all processes, in their order; gather(own) gives what each of them has."""
        found = gather((self.weight, self._loss, self._sums, self._kept))
        self.weight, self._loss = (sum(numbers) for numbers in list(zip(*found, strict=True))[:2])
        self._sums = {name: sum(sums[name] for _, _, sums, _ in found) for name in self._sums}
        self._kept = [rows for *_, kept in found for rows in kept]

    def measured(self) -> dict[str, float]:
        """The metrics of all rows."""
        whole, found = self._whole(), dict[str, float]()
        for name, metric in self.chosen.items():
            if name not in self._sums:
                y, predicted, weights = whole
                found[name] = float(metric(*metrics.seen(metric, self.net.loss, y, predicted), weights))
                continue
            mean = self._sums[name] / self.weight
            found[name] = float(np.mean(np.sqrt(mean)) if self._of_parts[name] is metrics.mean_squares else mean)
        return found

    def _whole(self) -> Any:
        """Targets, predictions and weights of all rows, where they were kept."""
        columns = zip(*self._kept, strict=True)
        return [None if column[0] is None else np.concatenate(column) for column in columns]

    def loss(self) -> float:
        """The mean loss plus penalties of rows that were predicted here."""
        net = self.net
        penalty = cnn_core.engine.penalty(net.plan.segments, net.plan.loss, net.flat, self.weight)
        return self._loss / self.weight + penalty
