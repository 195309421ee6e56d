"""The members of an ensemble: the rows and columns that each sees, when it stops, and who predicts which row."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold, check_cv

from cnn.callbacks import Callback, Logs, Run
from cnn.runtime.data import Array, Data
from cnn.runtime.evaluation import Scores
from cnn.runtime.state import NetworkState

_FEWEST_FOLDS, _MOST_FOLDS = 5, 10  # by default: too large a fold costs rows to train on


@dataclass(frozen=True)
class Draw:
    """What a member sees: rows to train on and how often each counts, two halves of its fold, columns (None: all)."""

    rows: Array
    counts: Array | None
    halves: tuple[Array, Array]
    columns: Array | None

    @property
    def samples(self) -> Array:
        """The rows, each as often as it was drawn."""
        return self.rows if self.counts is None else np.repeat(self.rows, self.counts)


def folds(
    cv: Any, members: int, y: Array, known: Array, stratified: bool, random: np.random.RandomState
) -> Iterator[Array]:
    """The rows that one member after another holds out; folds of a number `cv` are drawn anew once all are used.

    Only the `known` rows are shared out: a splitter or splits, which may be about rows by their place, see all of them.

    Raises:
        ValueError: there are fewer rows than folds, or a fold without rows, with all of them or with others.
    """
    n = len(known)
    if cv is None:
        cv = min(max(_FEWEST_FOLDS, min(members, _MOST_FOLDS)), n)
        stratified = stratified and np.unique(y[known], return_counts=True)[1].min() >= cv
    if not isinstance(cv, (int, np.integer)):
        split = check_cv(cv, y, classifier=stratified).split(np.zeros((len(y), 1)), y)
        splits = [_fold(held_out, len(y), known) for _, held_out in split]
        if not splits:
            raise ValueError(f"cv makes no folds: {cv!r}")
        while True:
            yield from splits
    if n < max(cv, 2):
        raise ValueError(f"{max(cv, 2)} folds can't be made of n_samples={n}")
    while True:
        drawn = (StratifiedKFold if stratified else KFold)(cv, shuffle=True, random_state=random)
        yield from (known[held_out] for _, held_out in drawn.split(np.zeros((n, 1)), y[known]))


def _fold(held_out: Any, n: int, known: Array) -> Array:
    """The known ones of the rows of a fold, indices or a mask."""
    rows = np.asarray(held_out)
    rows = np.flatnonzero(rows) if rows.dtype == bool else rows
    if rows.size and not 0 <= rows.min() <= rows.max() < n:
        wrong = rows.min() if rows.min() < 0 else rows.max()
        raise ValueError(f"a fold of cv holds out row {wrong}; the rows are 0 .. {n - 1}")
    found = known[np.isin(known, rows)]
    if len(found) in (0, len(known)):
        raise ValueError(f"a fold of cv holds out {len(found)} of {len(known)} rows: it must be some, and not all")
    return found


def draw(
    held_out: Array, among: Array, n_columns: int, max_samples: Any, max_features: Any, bootstrap: bool,
    random: np.random.RandomState,
) -> Draw:  # fmt: skip
    """A member's rows out of `among`, and its columns, as scikit-learn's bagging draws them."""
    n = _share("max_samples", max_samples, len(among), "rows outside of its fold")
    rows, counts = among, None
    if bootstrap:
        drawn, counts = np.unique(random.randint(len(among), size=n), return_counts=True)
        rows = among[drawn]
    elif n < len(among):
        rows = among[np.sort(random.permutation(len(among))[:n])]
    k = _share("max_features", max_features, n_columns, "columns")
    columns = None if k == n_columns else np.sort(random.permutation(n_columns)[:k])
    shuffled = random.permutation(held_out)
    half = len(shuffled) // 2
    return Draw(rows, counts, (np.sort(shuffled[half:]), np.sort(shuffled[:half])), columns)


def _share(name: str, value: Any, n: int, what: str) -> int:
    """So many of n: a whole number of them, or a share."""
    if isinstance(value, (int, np.integer)):
        if value > n:
            raise ValueError(f"{name}={value} is more than the {n} {what} that a member may draw from")
        return int(value)
    return max(1, int(value * n))


class _Best:
    """The weights of the epoch with the lowest loss, until it has not fallen by `tol` for `patience` epochs."""

    def __init__(self, patience: float, tol: float) -> None:
        self.patience, self.tol = patience, tol
        self.loss, self.last, self.mark = math.inf, -1, math.inf
        self.weights: Array | None = None
        self.done = False

    def see(self, epoch: int, loss: float, weights: Array) -> None:
        if self.done:
            return
        if loss < self.loss or self.weights is None:
            self.loss, self.weights = loss, weights.copy()
        if loss < self.mark - self.tol or self.last < 0:
            self.mark, self.last = loss, epoch
        self.done = epoch - self.last >= self.patience


class Stopping(Callback):
    """Ends a member's training when its fold gets no better, and gives it the weights that were best there.

    Rows that had a say in the choice of an epoch would be predicted too well. So each half of the fold chooses one of
    its own, too, whose weights predict the other half: `honest`. Training goes on until all three have chosen. The
    fold, half after half, are the validation data of the fit.
    """

    def __init__(self, fold: Data, half: int, patience: float, tol: float) -> None:
        self.fold = fold
        self.halves = slice(0, half), slice(half, len(fold))
        self.first, self.second, self.both = (_Best(patience, tol) for _ in range(3))
        self.losses: list[float] = []
        self._scores: list[tuple[slice, Scores]] = []
        self._run: Run | None = None

    def on_fit_begin(self, network: NetworkState, run: Run) -> None:
        self._run = run
        parts = [(half, self.fold.rows(half.start, half.stop)) for half in self.halves]
        self._scores = [(half, Scores(network, rows, {})) for half, rows in parts if len(rows)]

    def on_epoch_end(self, network: NetworkState, epoch: int, logs: Logs) -> None:
        assert self._run is not None
        out = self._run.held_out.last  # of the fold, which is what the fit holds out
        found = [scores.mean_loss(out[half]) for half, scores in self._scores]
        weights = [scores.weight for _, scores in self._scores]
        self.losses.append(sum(loss * w for loss, w in zip(found, weights, strict=True)) / sum(weights))
        self.both.see(epoch, self.losses[-1], network.flat)
        if len(found) == 2:
            self.first.see(epoch, found[0], network.flat)
            self.second.see(epoch, found[1], network.flat)
        network.stop_training = all(best.done for best in self._all)

    def on_fit_end(self, network: NetworkState) -> None:
        self._scores, self._run = [], None
        if self.both.weights is not None:
            network.flat[...] = self.both.weights

    @property
    def _all(self) -> list[_Best]:
        return [self.both, self.first, self.second] if self.first.weights is not None else [self.both]

    @property
    def honest(self) -> tuple[Array | None, Array | None]:
        """The weights to predict each half of the fold with; None where its other half could not choose any."""
        return self.second.weights, self.first.weights


class Snapshots(Callback):
    """Keeps the weights at the end of every `epochs` epochs, where a cosine of the learning rate has come down."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.weights: list[Array] = []

    def on_epoch_end(self, network: NetworkState, epoch: int, logs: Logs) -> None:
        if (epoch + 1) % self.epochs == 0:
            self.weights.append(network.flat.copy())
