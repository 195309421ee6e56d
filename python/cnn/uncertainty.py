"""How far predictions may be off, by rows that were not trained on: intervals of numbers, sets of classes.

Both are conformal (Vovk et al. 2005, Lei et al. 2018): if further rows are drawn as these were, the share of intervals
or sets that hold the target is the one asked for, whatever the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from cnn._common import checks

Array = np.ndarray[Any, Any]
_KEPT = 4096  # of the errors in order
_AT_ONCE = 1 << 20  # numbers in memory
_PLACES = 20  # at most, of the piecewise linear scale
_OF_A_PLACE = 50  # rows, at least
_FOLDS = 5
_EQUAL = 1e-8  # probabilities so near are the same
_BETTER = 0.99  # by which a scale must make intervals better


@dataclass(frozen=True)
class Residuals:
    """Errors in order, each divided by the scale of its prediction.

    Args:
        rows: of how many rows.
        ranks: (m,) which of the errors in order `scores` are, from 1; of more than 4,096 as many, evenly apart.
        scores: (m,) those errors, target less prediction, in units of the scale.
        places, sizes: the scale as a function of the prediction, linear between places and constant beyond them.
        parts: (m,) which part of the rows each is from, where each part has a prediction of its own; see `cross`.

    >>> found = Residuals.learn(np.array([1.0, -2.0, 0.5, 0.0, -0.5]), np.zeros(5))
    >>> found.quantiles(np.array([10.0]), [0.2, 0.5, 0.8])
    array([[ 8., 10., 11.]])
    """

    rows: int
    ranks: Array
    scores: Array
    places: Array
    sizes: Array
    parts: Array | None = None

    def __post_init__(self) -> None:
        ranks, scores, places, sizes = self.ranks, self.scores, self.places, self.sizes
        if not (len(ranks) == len(scores) > 0 and ranks[0] == 1 and ranks[-1] == self.rows):
            raise ValueError(f"{len(scores)} errors in order with {len(ranks)} ranks of {self.rows} rows")
        if not ((np.diff(ranks) > 0).all() and (np.diff(scores) >= 0).all() and np.isfinite(scores).all()):
            raise ValueError("errors that are not finite numbers in ascending order")
        if not (len(places) == len(sizes) > 0 and (np.diff(places) > 0).all() and np.isfinite(places).all()):
            raise ValueError("a scale without places in ascending order")
        if not (np.isfinite(sizes).all() and (sizes > 0).all()):
            raise ValueError("a scale that is not positive")
        if self.parts is not None and (len(self.parts) != len(scores) or (self.parts < 0).any()):
            raise ValueError("parts that are not a number >= 0 for each error")

    @staticmethod
    def learn(y: Array, predictions: Array, parts: Array | None = None) -> Residuals:
        """Of targets and predictions (n,), n >= 1, by models that were not trained on these rows, for `parts` of them.

        The scale is constant, or follows the prediction where that makes the intervals of 90 % better by 1 % on rows
        left out: by the score of Winkler 1972, the width and 20 times what lies outside.
        """
        error = y.astype(np.float64) - predictions
        scale = _constant()
        if len(error) >= 2 * _FOLDS * _OF_A_PLACE:
            varying = _score(error, predictions, True)
            if varying < _BETTER * _score(error, predictions, False):
                scale = _by_prediction(error, predictions)
        return Residuals.of(error / np.interp(predictions, *scale), scale, parts)

    @staticmethod
    def of(scores: Array, scale: tuple[Array, Array] | None = None, parts: Array | None = None) -> Residuals:
        """These scores (n,) in order; of a constant scale if none is given."""
        order, n = np.argsort(scores, kind="stable"), len(scores)
        ranks = np.arange(1, n + 1)
        if n > _KEPT:
            ranks = np.unique(np.round(np.linspace(1, n, _KEPT)).astype(np.int64))
        kept = order[ranks - 1]
        return Residuals(n, ranks, scores[kept], *(scale or _constant()), None if parts is None else parts[kept])

    def scale(self, predictions: Array) -> Array:
        """By what errors are divided, (n,)."""
        return np.asarray(np.interp(predictions, self.places, self.sizes))

    def quantiles(self, predictions: Array, levels: Sequence[float]) -> Array:
        """(n, k) for levels in (0, 1), in ascending order where the levels are.

        Of n errors in order that of rank floor((n + 1) level) below one half, ceil above: not less than the share asked
        for lies beyond the first or up to the second.

        Raises:
            ValueError: a level so near to 0 or 1 that so few rows say nothing of it.
        """
        found = np.array([self._score(level) for level in levels])
        return np.asarray(predictions[:, None] + self.scale(predictions)[:, None] * found)

    def interval(self, predictions: Array, coverage: float) -> Array:
        """(n, 2) lower and upper ends, as much of the rest beyond the one as beyond the other."""
        rest = self._beyond(coverage)
        return self.quantiles(predictions, (rest, 1 - rest))

    def cross(self, predictions: Array, coverage: float) -> Array:
        """(n, 2) ends of CV+ (Barber, Candès, Ramdas & Tibshirani 2021), of predictions (n, parts).

        Each error stands around what the models predict that did not see its row; the ends have the ranks of
        `interval` among all these. Of n rows further ones are held in a share of 2 coverage - 1 at least, whatever the
        models, and mostly in about the one asked for. Of more than 4,096 errors those that are kept count.
        """
        rest = self._beyond(coverage)
        assert self.parts is not None
        m, found = len(self.scores), np.empty((len(predictions), 2))
        low, high = math.floor(round(rest * (m + 1), 6)) - 1, math.ceil(round((1 - rest) * (m + 1), 6)) - 1
        step = max(1, _AT_ONCE // m)
        for some in (slice(i, i + step) for i in range(0, len(predictions), step)):
            each = predictions[some][:, self.parts]
            each = np.partition(each + self.scale(each) * self.scores, (low, high), axis=1)
            found[some] = each[:, [low, high]]
        return found

    def _beyond(self, coverage: float) -> float:
        """The share of rows beyond each end; ValueError where so few rows say nothing of it."""
        coverage = checks.number("coverage", coverage, 0, 1, open_low=True, open_high=True)
        rest = (1 - coverage) / 2
        least = math.ceil(round(1 / rest - 1, 6))
        if self.rows < least:
            raise ValueError(f"intervals of coverage {coverage:g} need {least:,} rows that were held out, there are "
                             f"{self.rows:,}")  # fmt: skip
        return rest

    def bound(self, coverage: float) -> float:
        """The score of rank ceil((n + 1) coverage): as large a share of further scores, or more, is not above it."""
        coverage = checks.number("coverage", coverage, 0, 1, open_low=True, open_high=True)
        rank = math.ceil(round(coverage * (self.rows + 1), 6))
        if rank > self.rows:
            least = math.ceil(round(1 / (1 - coverage) - 1, 6))
            raise ValueError(f"sets of coverage {coverage:g} need {least:,} rows that were held out, there are "
                             f"{self.rows:,}")  # fmt: skip
        return float(self.scores[np.searchsorted(self.ranks, max(rank, 1))])

    def deviation(self, predictions: Array) -> Array:
        """(n,) the root of the mean squared error at these predictions."""
        return np.asarray(self.scale(predictions) * self._deviation)

    @cached_property
    def _deviation(self) -> float:
        """Of the scores; each stands for those between its rank and its neighbours'."""
        edges = np.concatenate([[0.5], (self.ranks[1:] + self.ranks[:-1]) / 2, [self.rows + 0.5]])
        return float(np.sqrt(np.average(self.scores**2, weights=np.diff(edges))))

    def _score(self, level: float) -> float:
        level = checks.number("a quantile", level, 0, 1, open_low=True, open_high=True)
        rank = round(level * (self.rows + 1), 6)
        low, high = math.floor(rank), math.ceil(rank)
        if not (low >= 1 or level >= 0.5) or not (high <= self.rows or level <= 0.5):
            least = math.ceil(round(1 / min(level, 1 - level) - 1, 6))
            raise ValueError(f"the quantile {level:g} needs {least:,} rows that were held out, there are {self.rows:,}")
        below = self.scores[np.searchsorted(self.ranks, max(low, 1), side="right") - 1]
        above = self.scores[np.searchsorted(self.ranks, min(high, self.rows))]
        return float(below if level < 0.5 else above if level > 0.5 else (below + above) / 2)


def mass(p: Array) -> Array:
    """(n, k) for each class the sum of the probabilities of those that are more probable.

    Of two classes of the same probability the later one counts as less probable.

    >>> mass(np.array([[0.25, 0.5, 0.25]])).tolist()
    [[0.5, 0.0, 0.75]]
    """
    order = np.argsort(-p, axis=1, kind="stable")
    ordered = np.take_along_axis(p, order, axis=1)
    found = np.empty(p.shape)
    np.put_along_axis(found, order, np.cumsum(ordered, axis=1) - ordered, axis=1)
    return np.maximum(found, 0.0)


def set_scores(y: Array, p: Array, u: Array) -> dict[str, Residuals]:
    """How unlike the true class was in rows that were not trained on, by each method: numbers that sets are made of.

    Of class numbers y (n,), n >= 1, and probabilities p (n, k): "lac" 1 - p (Sadinle, Lei & Wasserman 2019); "aps" the
    `mass` before it and the part 1 - u of its own p (Romano, Sesia & Candès 2020), u (n,) drawn from [0, 1).
    """
    rows = np.arange(len(y))
    own = p[rows, y]
    return {"lac": Residuals.of(1 - own), "aps": Residuals.of(mass(p)[rows, y] + (1 - u) * own)}


def sets(p: Array, coverage: float, known: dict[str, Residuals], method: str) -> Array:
    """(n, k) truth values: which classes are in the set of each row, of probabilities p (n, k).

    "lac": those whose 1 - p is not above the bound. "aps": from the most probable one on, until their sum reaches it.
    """
    bound = known[method].bound(coverage)
    if method == "lac":
        return np.asarray(1 - p <= bound + _EQUAL)
    before = mass(p)
    return np.asarray((before < bound - _EQUAL) | (before == 0))


@dataclass(frozen=True)
class Reliability:
    """Of predictions in bins of equal width of the probability: how many, its mean, and the share that came true.

    Args:
        rows: (bins,) how many.
        predicted, true: (bins,) NaN where there are none.

    >>> reliability([0, 1], [0.2, 0.8]).rows.sum()
    np.int64(2)
    """

    rows: Array
    predicted: Array
    true: Array

    @property
    def error(self) -> float:
        """The expected calibration error (Guo et al. 2017): the mean of |true - predicted| over all rows."""
        known = self.rows > 0
        return float(np.average(np.abs(self.true - self.predicted)[known], weights=self.rows[known]))


def reliability(y: Any, p: Any, bins: int = 15) -> Reliability:
    """Of class numbers y (n,), n >= 1: of p (n,) that class 1 came true; of p (n, k) that the most probable one did.

    Args:
        y: (n,) numbers of classes.
        p: (n,) or (n, k) probabilities.
        bins: of equal width.

    Raises:
        ValueError: no rows, numbers that are no probabilities, or no classes.

    >>> found = reliability([0, 1, 1, 1], [0.1, 0.6, 0.6, 0.7], bins=2)
    >>> found.rows.tolist(), found.true.tolist(), round(found.error, 3)
    ([1, 3], [0.0, 1.0], 0.3)
    """
    y, p = np.asarray(y), np.asarray(p, np.float64)
    checks.integer("bins", bins, 1)
    if len(y) != len(p) or not len(y) or p.ndim not in (1, 2):
        raise ValueError(f"reliability needs as many classes as probabilities, at least one; got {len(y)} and {len(p)}")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("probabilities must be in [0, 1]")
    classes = 2 if p.ndim == 1 else p.shape[1]
    if y.dtype.kind not in "biuf" or not np.isin(y, np.arange(classes)).all():
        raise ValueError(f"y must be numbers of classes, 0 to {classes - 1}, got {np.unique(y)[:5].tolist()}")
    hit, said = (y == 1, p) if p.ndim == 1 else (y == p.argmax(axis=1), p.max(axis=1))
    place = np.minimum((said * bins).astype(np.intp), bins - 1)
    rows = np.bincount(place, minlength=bins)
    known = rows > 0
    means = [
        np.divide(np.bincount(place, values, bins), rows, out=np.full(bins, np.nan), where=known)
        for values in (said, hit.astype(np.float64))
    ]
    return Reliability(rows, *means)


def check_levels(quantiles: Any) -> list[float]:
    """The levels that were asked for, one or several."""
    asked = np.asarray(quantiles, np.float64)
    if asked.ndim > 1 or not asked.size or not ((asked > 0) & (asked < 1)).all():
        raise ValueError(f"quantiles must be numbers in (0, 1), got {quantiles!r}")
    return asked.ravel().tolist()


def _constant() -> tuple[Array, Array]:
    return np.zeros(1), np.ones(1)


def _by_prediction(error: Array, predictions: Array) -> tuple[Array, Array]:
    """(places, mean absolute errors) of as many rows each, in the order of the predictions."""
    order = np.argsort(predictions, kind="stable")
    parts = np.array_split(order, min(_PLACES, max(len(order) // _OF_A_PLACE, 1)))
    places = np.array([predictions[part].mean() for part in parts])
    sizes = np.array([np.abs(error[part]).mean() for part in parts])
    first = np.unique(places, return_index=True)[1]
    places, sizes = places[first], sizes[first]
    mean = float(np.abs(error).mean())
    return (places, np.maximum(sizes, 1e-3 * mean)) if mean > 0 else _constant()


def _score(error: Array, predictions: Array, varying: bool) -> float:
    """Winkler's of intervals of 90 %, by other rows than they are for."""
    fold = np.arange(len(error)) % _FOLDS
    total = 0.0
    for k in range(_FOLDS):
        rest = fold != k
        scale = _by_prediction(error[rest], predictions[rest]) if varying else _constant()
        low, high = np.quantile(error[rest] / np.interp(predictions[rest], *scale), [0.05, 0.95])
        size, off = np.interp(predictions[~rest], *scale), error[~rest]
        outside = np.maximum(size * low - off, 0) + np.maximum(off - size * high, 0)
        total += float((size * (high - low) + 20 * outside).sum())
    return total
