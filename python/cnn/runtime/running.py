"""Loss and metrics of rows that are seen part by part: means of the parts by their weights."""

from __future__ import annotations

from typing import Any

import numpy as np

import cnn_core
from cnn import metrics
from cnn.runtime import passes
from cnn.runtime.data import Array, Data
from cnn.runtime.evaluation import Metrics, Scores
from cnn.runtime.state import NetworkState


class Running:
    """The sums of an epoch; float64, part after part.

    Raises:
        ValueError: a metric has to see all rows at once.
    """

    def __init__(self, net: NetworkState, chosen: Metrics) -> None:
        self.net, self.chosen = net, chosen
        self._of_parts = {name: metrics.of_parts(name, metric) for name, metric in chosen.items()}
        self.weight, self._loss = 0.0, 0.0
        self._sums: dict[str, Any] = dict.fromkeys(chosen, 0.0)

    def outputs(self, rows: Data, n_threads: int | None) -> None:
        """Predicts the rows and adds their loss and metrics."""
        out = passes.outputs(self.net, rows.X, link=False, n_threads=n_threads)
        self.add(rows, out)
        self._loss += Scores(self.net, rows, {}).mean_loss(out) * rows.weight if rows.weight > 0 else 0.0

    def add(self, rows: Data, out: Array) -> None:
        """Adds the metrics of rows whose raw outputs these are."""
        net, weight = self.net, rows.weight
        if weight == 0:
            return
        self.weight += weight
        if not self.chosen:
            return
        predicted = np.empty_like(out)
        cnn_core.engine.link(net.loss.kind, out, predicted)
        predicted = predicted[:, : net.loss.n_targets(net.n_outputs)]
        if rows.y.ndim == 1 and predicted.shape[1] == 1:
            predicted = predicted[:, 0]
        for name, metric in self.chosen.items():
            value = self._of_parts[name](*metrics.seen(metric, net.loss, rows.y, predicted), rows.weights)
            self._sums[name] = self._sums[name] + weight * np.asarray(value, np.float64)

    def measured(self) -> dict[str, float]:
        """The metrics of all rows."""
        means = {name: total / self.weight for name, total in self._sums.items()}
        return {
            name: float(np.mean(np.sqrt(mean))) if self._of_parts[name] is metrics.mean_squares else float(mean)
            for name, mean in means.items()
        }

    def loss(self) -> float:
        """The mean loss plus penalties of rows that were predicted here."""
        net = self.net
        penalty = cnn_core.engine.penalty(net.plan.segments, net.plan.loss, net.flat, self.weight)
        return self._loss / self.weight + penalty
