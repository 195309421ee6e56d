"""Metrics, by scikit-learn's definitions, on what `predict` returns: probabilities for classifiers, values otherwise.

Each function takes the true targets as they were given, the prediction and sample weights (or None); labels are
0 .. k - 1, or a table (n, k) of probabilities or of several labels a row. One output says yes above 0.5, or above 0
where targets are ±1. Two classes are averaged as "binary" (of class 1), more as "macro"; a ratio over nothing is 0.

Args:
    y: (n,) or (n, outputs) true values; labels 0 .. k - 1, or a table (n, k) of probabilities or of labels.
    p: predictions, as `predict` gives them.
    weights: (n,) of the rows, >= 0; None: all are equal.
    k: how many of the most probable classes count.

Raises:
    ValueError: shapes that don't belong together, or targets that the metric is not defined for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from cnn._common import checks, interrupt, naming
from cnn.losses import Loss

Array = np.ndarray[Any, Any]
Metric = Callable[[Array, Array, Array | None], float]


def _mean(values: Array, weights: Array | None) -> float:
    """Weighted mean over rows, then over outputs."""
    if weights is None:
        return float(np.mean(values, dtype=np.float64))
    return float(np.mean(np.average(values, axis=0, weights=weights)))


def _flat(y: Array, p: Array) -> tuple[Array, Array]:
    """Both as arrays of as many rows, a single column as (n,)."""
    y, p = np.asarray(y), np.asarray(p)
    if len(y) != len(p):
        raise ValueError(f"{len(y)} targets, but {len(p)} predictions")
    y, p = (a[:, 0] if a.ndim == 2 and a.shape[1] == 1 else a for a in (y, p))
    return y, p


def _difference(y: Array, p: Array) -> Array:
    """p - y as (n, outputs), float64."""
    y, p = _flat(y, p)
    if y.shape != p.shape:
        raise ValueError(f"a target of shape {y.shape} can't be compared with a prediction of shape {p.shape}")
    return (p.astype(np.float64) - y.astype(np.float64)).reshape(len(y), -1)


@checks.quiet
def mae(y: Array, p: Array, weights: Array | None = None) -> float:
    """Mean absolute error.

    >>> mae(np.array([0.0, 2.0]), np.array([1.0, 2.0]))
    0.5
    """
    return _mean(np.abs(_difference(y, p)), weights)


@checks.quiet
def rmse(y: Array, p: Array, weights: Array | None = None) -> float:
    """Root of the mean squared error, for each output; their mean.

    >>> rmse(np.array([0.0, 2.0]), np.array([2.0, 2.0])) ** 2
    2.0000000000000004
    """
    return float(np.mean(np.sqrt(mean_squares(y, p, weights))))


def mean_squares(y: Array, p: Array, weights: Array | None = None) -> Array:
    """The mean squared error of each output.

    >>> mean_squares(np.array([0.0, 2.0]), np.array([2.0, 2.0]))
    array([2.])
    """
    return np.average(_difference(y, p) ** 2, axis=0, weights=weights)


@checks.quiet
def r2(y: Array, p: Array, weights: Array | None = None) -> float:
    """1 - squared error / variance, for each output; their mean. A constant target scores 1 when met, else 0.

    >>> r2(np.array([0.0, 2.0]), np.array([0.0, 2.0]))
    1.0
    """
    if len(y) < 2:
        return float("nan")
    true = np.asarray(y, np.float64).reshape(len(y), -1)
    error = np.average(_difference(y, p) ** 2, axis=0, weights=weights)
    spread = np.average((true - np.average(true, axis=0, weights=weights)) ** 2, axis=0, weights=weights)
    scores = np.where(spread == 0, np.where(error == 0, 1.0, 0.0), 1 - error / spread)
    return float(scores.mean())


def _is_multi_label(y: Array, p: Array) -> bool:
    """Whether two tables are yes and no of each column, and not the probabilities of one class a row."""
    return y.ndim == 2 and not all(np.allclose(table.sum(axis=1), 1, atol=1e-3) for table in (y, p))


def _labels(y: Array, p: Array) -> tuple[Array, Array, int]:
    """True and predicted labels and the number of classes; (n, k) of 0 and 1 for several labels a row (classes 0)."""
    y, p = _flat(y, p)
    if p.ndim == 2 and not _is_multi_label(y, p):
        return (y.argmax(axis=1) if y.ndim == 2 else _classes(y, p.shape[1])), p.argmax(axis=1), p.shape[1]
    y = _yes_or_no(y, signs=True)
    threshold = 0.0 if (y < 0).any() else 0.5
    return (y > 0.5).astype(int), (p > threshold).astype(int), 2 if p.ndim == 1 else 0


def _classes(y: Array, k: int) -> Array:
    """Labels 0 .. k - 1; ValueError for what is none."""
    bad = (y != np.floor(y)) | (y < 0) | (y >= k)
    if bad.any():
        raise ValueError(f"targets must be classes 0 .. {k - 1}, got {y[bad][0]:g} at row {int(bad.argmax())}")
    return y.astype(int)


def _yes_or_no(y: Array, signs: bool = False) -> Array:
    """Targets 0 and 1, or between them as probabilities, with `signs` also -1 and 1; ValueError for others."""
    bad = ~((y >= 0) & (y <= 1))
    if signs and y.ndim == 1:
        bad &= y != -1
    if bad.any():
        also = ", or -1 and 1" if signs and y.ndim == 1 else ""
        row = int(np.argwhere(bad)[0][0])
        raise ValueError(f"targets must be 0 and 1{also} for a metric of classes, got {y[bad][0]:g} at row {row}")
    return y


@checks.quiet
def accuracy(y: Array, p: Array, weights: Array | None = None) -> float:
    """Share of rows whose label (or whole set of labels) is met.

    >>> accuracy(np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]))
    0.5
    """
    true, predicted, _ = _labels(y, p)
    hit = true == predicted
    return _mean(hit.all(axis=1) if hit.ndim == 2 else hit, weights)


@checks.quiet
def top_k_accuracy(y: Array, p: Array, weights: Array | None = None, k: int = 5) -> float:
    """Share of rows whose class is among the k most probable (ties: the higher index first, as scikit-learn).

    >>> top_k_accuracy(np.array([2]), np.array([[0.5, 0.3, 0.2]]), k=2)
    0.0
    """
    true, predicted, n_classes = _labels(y, p)
    if n_classes == 0:
        raise ValueError("top_k_accuracy needs one class a row, got several labels a row")
    if n_classes == 2 and _flat(y, p)[1].ndim == 1:
        return _mean((true == predicted) | (k > 1), weights)
    order = interrupt.apart(np.size(p), partial(np.argsort, np.asarray(p), axis=1, kind="stable"))[:, ::-1]
    return _mean((order[:, :k] == true[:, None]).any(axis=1), weights)


def _counts(y: Array, p: Array, weights: Array | None) -> tuple[Array, Array, Array, bool]:
    """True positives, predicted and actual, for each class; whether only class 1 is asked for."""
    true, predicted, n_classes = _labels(y, p)
    w = np.ones(len(true)) if weights is None else np.asarray(weights, np.float64)
    if n_classes == 0:
        both = [(true * predicted * w[:, None]), (predicted * w[:, None]), (true * w[:, None])]
        hit, said, there = (a.sum(axis=0) for a in both)
        return hit, said, there, False
    hit = np.bincount(true, w * (true == predicted), n_classes)
    said, there = np.bincount(predicted, w, n_classes), np.bincount(true, w, n_classes)
    seen = (np.bincount(predicted, minlength=n_classes) > 0) | (np.bincount(true, minlength=n_classes) > 0)
    if n_classes == 2:
        return hit[1:], said[1:], there[1:], True
    return hit[seen], said[seen], there[seen], False


def _ratio(a: Array, b: Array) -> float:
    return float(np.mean(np.divide(a, b, out=np.zeros(len(a)), where=b > 0)))


@checks.quiet
def precision(y: Array, p: Array, weights: Array | None = None) -> float:
    """True positives / predicted positives.

    >>> precision(np.array([0, 1, 1]), np.array([0.7, 0.8, 0.1]))
    0.5
    """
    hit, said, _, _ = _counts(y, p, weights)
    return _ratio(hit, said)


@checks.quiet
def recall(y: Array, p: Array, weights: Array | None = None) -> float:
    """True positives / actual positives.

    >>> recall(np.array([0, 1, 1]), np.array([0.1, 0.8, 0.1]))
    0.5
    """
    hit, _, there, _ = _counts(y, p, weights)
    return _ratio(hit, there)


@checks.quiet
def f1(y: Array, p: Array, weights: Array | None = None) -> float:
    """Harmonic mean of precision and recall.

    >>> f1(np.array([0, 1]), np.array([0.1, 0.8]))
    1.0
    """
    hit, said, there, _ = _counts(y, p, weights)
    return _ratio(2 * hit, said + there)


def _binary_auc(true: Array, score: Array, weights: Array | None) -> float:
    """Probability that a positive scores above a negative, ties counted half."""
    order = interrupt.apart(len(score), partial(np.argsort, score, kind="stable"))
    score, positive = score[order], true[order].astype(np.float64)
    w = np.ones(len(score)) if weights is None else np.asarray(weights, np.float64)[order]
    last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)
    pos, neg = np.cumsum(positive * w)[last], np.cumsum((1 - positive) * w)[last]
    if pos[-1] == 0 or neg[-1] == 0:
        return float("nan")
    pos_here, neg_before = np.diff(pos, prepend=0), np.concatenate([[0], neg[:-1]])
    neg_here = np.diff(neg, prepend=0)
    return float(np.sum(pos_here * (neg_before + neg_here / 2)) / (pos[-1] * neg[-1]))


@checks.quiet
def roc_auc(y: Array, p: Array, weights: Array | None = None) -> float:
    """Area under the ROC curve; several classes or labels: one against the rest, mean. NaN with one class only.

    >>> roc_auc(np.array([0, 1]), np.array([0.2, 0.8]))
    1.0
    """
    y, p = _flat(y, p)
    if p.ndim == 1:
        return _binary_auc(_yes_or_no(y, signs=True) > 0.5, p, weights)
    y = _classes(y, p.shape[1]) if y.ndim == 1 else _yes_or_no(y)
    if y.ndim == 1:
        if p.shape[1] == 2:
            return _binary_auc(y == 1, p[:, 1], weights)
        y = y[:, None] == np.arange(p.shape[1])
    return float(np.mean([_binary_auc(y[:, j] > 0.5, p[:, j], weights) for j in range(p.shape[1])]))


@checks.quiet
def log_loss(y: Array, p: Array, weights: Array | None = None) -> float:
    """Mean of -log of the probability given to what was true, held at the type's epsilon.

    >>> round(log_loss(np.array([1]), np.array([0.5])), 4)
    0.6931
    """
    y, p = _flat(y, p)
    eps = np.finfo(p.dtype if p.dtype.kind == "f" else np.float64).eps
    p = np.clip(p.astype(np.float64), eps, 1 - eps)
    if p.ndim == 1 or _is_multi_label(y, p):
        y = _yes_or_no(y)
        return _mean(-(y * np.log(p) + (1 - y) * np.log1p(-p)), weights)
    if y.ndim == 1:
        return _mean(-np.log(p[np.arange(len(y)), _classes(y, p.shape[1])]), weights)
    return _mean(-(y * np.log(p)).sum(axis=1), weights)


BY_NAME: dict[str, Metric] = {
    f.__name__: f for f in (mae, rmse, r2, accuracy, top_k_accuracy, precision, recall, f1, roc_auc, log_loss)
}
_ALIASES = {"acc": "accuracy", "auc": "roc_auc", "r2_score": "r2", "root_mean_squared_error": "rmse",
            "mean_absolute_error": "mae", "f1_score": "f1"}  # fmt: skip


# Those that compare classes; those of them that look at the label alone.
_OF_LABELS = {accuracy, top_k_accuracy, precision, recall, f1}
_OF_CLASSES = _OF_LABELS | {roc_auc, log_loss}
# Means over rows.
_MEANS = (mae, accuracy, top_k_accuracy, log_loss)
# Names that logs have for something else.
_TAKEN = ("loss", "learning_rate", "seconds", "epoch")


def named(chosen: Iterable[str | Metric]) -> dict[str, Metric]:
    """The functions by their names.

    Raises:
        ValueError: two of them have one name, or one that logs have for something else.

    >>> list(named(["acc", "f1"]))
    ['accuracy', 'f1']
    """
    found: dict[str, Metric] = {}
    for metric in chosen:
        name, function = get(metric)
        if found.get(name, function) is not function:
            raise ValueError(f"two metrics have the name {name!r}: {found[name]!r} and {function!r}; rename one")
        if name in _TAKEN or name.startswith("val_"):
            raise ValueError(f"a metric can't have the name {name!r}, which logs have for something else; rename it")
        found[name] = function
    return found


def _plain(metric: Metric) -> Any:
    """The function itself, of which a `partial` may be given."""
    while isinstance(metric, partial):
        metric = metric.func
    return metric


def is_own(metric: Metric) -> bool:
    """Whether it is one of this module.

    >>> is_own(partial(top_k_accuracy, k=3))
    True
    """
    return _plain(metric) in BY_NAME.values()


def of_parts(metric: Metric) -> Callable[[Array, Array, Array | None], float | Array] | None:
    """What of each part of the rows makes the metric of them all: itself, a mean over rows, or the squares of rmse.

    None where it has to see all rows at once.

    >>> of_parts(rmse) is mean_squares, of_parts(mae) is mae, of_parts(r2) is None
    (True, True, True)
    """
    if _plain(metric) is rmse:
        return mean_squares
    return metric if _plain(metric) in _MEANS else None


def seen(metric: Metric, loss: Loss, y: Array, p: Array) -> tuple[Array, Array]:
    """(targets, predictions) as that metric sees them: for one of classes, margins say yes above 0."""
    if not loss.margins or _plain(metric) not in _OF_CLASSES:
        return y, p
    return (y > 0).astype(np.float64), (p > 0).astype(np.float64) if _plain(metric) in _OF_LABELS else p


def check_target(name: str, metric: Metric, loss: Loss, y: Array) -> None:
    """Raises ValueError where a metric of classes is to be taken of numbers that are none."""
    if _plain(metric) is log_loss and loss.margins:
        raise ValueError(f"{name} needs probabilities, and the outputs of {loss.name} are margins")
    if _plain(metric) not in _OF_CLASSES or loss.for_classes or y.size == 0:
        return
    bad = y != np.floor(y)
    if y.ndim == 1 or y.shape[1] == 1:  # yes and no
        bad |= (y < -1) | (y > 1)
    if bad.any():
        row = int(np.argwhere(bad)[0][0])
        raise ValueError(
            f"{name} compares classes, and the target holds {y[bad][0]:g} at row {row}: metrics of numbers are "
            "'rmse', 'mae' and 'r2'"
        )


def get(metric: str | Metric) -> tuple[str, Metric]:
    """(name, function) of a metric by name, or of one's own f(y_true, prediction, weights) -> float.

    >>> get("acc")[0]
    'accuracy'
    """
    if callable(metric):
        return getattr(metric, "__name__", type(metric).__name__), metric
    if not isinstance(metric, str):
        raise TypeError(f"a metric must be a name or a function, got {metric!r}")
    name = naming.normalise(metric)
    name = _ALIASES.get(name, name)
    if name not in BY_NAME:
        raise naming.unknown("metric", metric, BY_NAME)
    return name, BY_NAME[name]


def compiled(metric: Metric, loss: Loss, n_outputs: int, y: Array) -> tuple[str, Array] | None:
    """How the core is told to take this metric of these targets, and what it compares with; None where it has it not.

    It sees raw outputs through the loss's link, as the functions here do.
    """
    if loss.n_targets(n_outputs) != n_outputs or loss.margins:
        return None
    if metric is rmse and not loss.for_classes:
        return "rmse", y.reshape(len(y), n_outputs).astype(np.float64)
    if metric is accuracy and loss.one_class and (y.ndim == 1 or not _is_multi_label(y, y)):
        return "classes", (y if y.ndim == 1 else y.argmax(axis=1)).astype(np.int32)
    if metric is accuracy and loss.for_classes and not loss.one_class and (n_outputs == 1 or _is_multi_label(y, y)):
        return "answers", (y.reshape(len(y), n_outputs) > 0.5).astype(np.int32)
    return None


def default_for(loss: Loss) -> tuple[str, ...]:
    """Accuracy for classification, rmse for the rest; nothing for hinge, whose outputs are margins.

    >>> default_for(Loss("cross_entropy"))
    ('accuracy',)
    """
    if loss.margins:
        return ()
    return ("accuracy",) if loss.for_classes else ("rmse",)
