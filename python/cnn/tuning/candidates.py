"""The settings under trial: networks that train a part of their epochs at a time, and how good they were at best."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn._common.errors import NonFiniteError
from cnn.callbacks import Callback, Logs, Run
from cnn.many import train_many
from cnn.network import Network
from cnn.runtime.data import Array, Data
from cnn.runtime.evaluation import Scores
from cnn.runtime.sparse import SparseRows
from cnn.runtime.state import NetworkState

LOSS = "loss"  # the metric that is the mean loss, without penalties


@dataclass(frozen=True)
class Measure:
    """What settings are compared by: a metric, or the loss, and whether larger is better."""

    name: str
    metric: Callable[..., float] | None
    larger: bool

    def better(self, a: float, b: float) -> bool:
        """Whether a beats b; NaN never does."""
        return a > b if self.larger else a < b

    @property
    def worst(self) -> float:
        return -math.inf if self.larger else math.inf


@dataclass(frozen=True)
class Task:
    """Rows, the folds (rows to train on; rows held out) of each candidate, and how it is trained."""

    rows: Data
    folds: list[tuple[Array, Data]]
    measure: Measure
    epochs: int
    patience: int | None
    class_weight: Any
    n_threads: int | None


class Watch(Callback):
    """Scores held-out rows after each epoch, keeps the best epoch, and ends a part of the training.

    They are the validation data of the fit.
    """

    def __init__(self, held_out: Data, measure: Measure, patience: int | None) -> None:
        self.held_out, self.measure, self.patience = held_out, measure, patience
        self.best, self.best_epoch, self.until = measure.worst, -1, 0
        self.weights: Array | None = None
        self.stopped = False  # by the patience
        self._scores: Scores | None = None
        self._run: Run | None = None

    def on_fit_begin(self, network: NetworkState, run: Run) -> None:
        self._run = run
        chosen = {} if self.measure.metric is None else {self.measure.name: self.measure.metric}
        self._scores = Scores(network, self.held_out, chosen)

    def on_epoch_end(self, network: NetworkState, epoch: int, logs: Logs) -> None:
        assert self._scores is not None
        assert self._run is not None
        out = self._run.held_out.last
        loss = self.measure.metric is None
        found = self._scores.mean_loss(out) if loss else self._scores.measure(out)[self.measure.name]
        if self.measure.better(found, self.best):
            self.best, self.best_epoch, self.weights = found, epoch, network.flat.copy()
        self.stopped = self.patience is not None and epoch - max(self.best_epoch, 0) >= self.patience
        network.stop_training = self.stopped or epoch + 1 >= self.until

    def on_fit_end(self, network: NetworkState) -> None:
        self._scores, self._run = None, None


@dataclass
class Candidate:
    """One setting: a network for each fold."""

    trial: Any
    networks: list[Network]
    batch_size: int | None
    watches: list[Watch]
    error: NonFiniteError | None = None
    done: int = 0  # epochs asked for
    seconds: float = 0.0

    @property
    def score(self) -> float:
        """The mean over folds of their best epochs'."""
        return float(np.mean([watch.best for watch in self.watches]))

    @property
    def without_score(self) -> bool:
        """Whether its training went well, but a metric of held-out rows was never finite."""
        return self.error is None and not math.isfinite(self.score)

    @property
    def failed(self) -> bool:
        """Whether there is nothing to compare it by."""
        return self.error is not None or self.without_score

    @property
    def epochs(self) -> int:
        """The most that a network was trained."""
        return max(len(net.history) for net in self.networks)

    def take_best(self) -> None:
        """Gives the networks the weights of their best epochs."""
        for net, watch in zip(self.networks, self.watches, strict=True):
            if watch.weights is not None:
                net.flat[...] = watch.weights


def candidate(trial: Any, made: tuple[Network, dict[str, Any]], task: Task) -> Candidate:
    """A candidate of a network that stays as it is, for it may be built but once: each fold gets a copy."""
    net, options = made
    networks = [copy.deepcopy(net) for _ in task.folds]
    watches = [Watch(held_out, task.measure, task.patience) for _, held_out in task.folds]
    return Candidate(trial, networks, options["batch_size"], watches)


def _given(rows: Data) -> tuple[Any, Any, Any]:
    """(X, y, weights) as a fit takes them."""
    return rows.X.to_scipy() if isinstance(rows.X, SparseRows) else rows.X, rows.y, rows.weights


def train(candidates: Sequence[Candidate], until: int, task: Task) -> None:
    """Trains all up to that number of epochs, side by side; one that fails has its error."""
    begin = {one.done for one in candidates}
    assert len(begin) == 1
    work = [(one, fold) for one in candidates for fold, watch in enumerate(one.watches) if not watch.stopped]
    for one in candidates:
        one.done = until
        for watch in one.watches:
            watch.until = until
    if not work:
        return
    X, y, weights = _given(task.rows)
    held_out = [_given(held_out) for _, held_out in task.folds]
    histories = train_many(
        [one.networks[fold] for one, fold in work], X, y, epochs=task.epochs, initial_epoch=begin.pop(),
        batch_size=[one.batch_size for one, _ in work], sample_weight=weights, class_weight=task.class_weight,
        validation_data=[held_out[fold] for _, fold in work],
        callbacks=[[one.watches[fold]] for one, fold in work], rows=[task.folds[fold][0] for _, fold in work],
        metrics=(), verbose=0, n_threads=task.n_threads, errors="return",
    )  # fmt: skip
    for (one, _), history in zip(work, histories, strict=True):
        if isinstance(history, NonFiniteError):
            one.error = history
        elif isinstance(history, Exception):
            raise history
        else:
            one.seconds += sum(history.seconds)
