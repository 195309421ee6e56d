"""`cnn.cross_validate`: a network or an estimator on all folds at once."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from joblib import parallel_config
from sklearn import model_selection
from sklearn.exceptions import ConvergenceWarning

from cnn import callbacks
from cnn._common import checks, console, html_tables, threads
from cnn._common.elsewhere import nearest
from cnn._common.errors import NonFiniteError
from cnn._common.types import MetricName
from cnn.inspect import reports
from cnn.many import train_many
from cnn.metrics import Metric
from cnn.network import Network
from cnn.runtime import data, evaluation, passes_of_many
from cnn.runtime.data import Array, Data
from cnn.runtime.sparse import SparseRows

_OF_A_FIT = ("epochs", "batch_size", "class_weight", "shuffle", "callbacks", "verbose")
_NOT_SHOWN = ("network", "estimator", "history")


class CrossValidation(dict[str, Any]):
    """Arrays with a number for each fold by name, as scikit-learn's `cross_validate` gives them; prints as a table.

    >>> print(CrossValidation(test_r2=np.array([0.5, 0.7])))
    fold  test_r2
    0         0.5
    1         0.7
    mean      0.6
    std       0.1
    """

    def _rows(self) -> list[tuple[str, ...]]:
        columns = {name: np.asarray(found, float) for name, found in self.items() if name not in _NOT_SHOWN}
        folds = range(len(next(iter(columns.values()), [])))
        rows = [("fold", *columns)]
        rows += [(str(i), *(f"{column[i]:.4g}" for column in columns.values())) for i in folds]
        for name, function in (("mean", np.mean), ("std", np.std)):
            rows.append((name, *(f"{function(column):.4g}" for column in columns.values())))
        return rows

    def __str__(self) -> str:
        rows = self._rows()
        return reports.table(rows, right=len(rows[0]) - 1)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_tables.table(self._rows())


def cross_validate(
    model: Any, X: Any, y: Any, *, cv: Any = 5,
    scoring: Any | MetricName | Iterable[MetricName | Metric] = "auto", groups: Any = None, sample_weight: Any = None,
    return_networks: bool = False, return_train_score: bool = False, n_threads: int | None = None, **options: Any,
) -> Any:  # fmt: skip
    """Trains on all but one fold of the rows and scores on that fold, for every fold, all of them side by side.

    Args:
        model: a `cnn.Network`, of which each fold trains a copy from its initial weights, or an estimator of
            scikit-learn's kind, of which each fold fits a clone in a thread of its own. It stays as it is. Or a list of
            networks (of one type, loss for classes or for numbers, and number of outputs): all folds of all at once.
        X, y: as the model's `fit` takes them.
        cv: a number of folds, or a splitter of scikit-learn's; for classes and a number, folds have equal shares of
            each. A number takes rows in their order, as in scikit-learn: shuffle them, or give a splitter that does.
        scoring: of a network, names of `cnn.metrics` or functions, "auto" by the loss; the loss is always there. Of an
            estimator, what scikit-learn takes; "auto" is its own `score`.
        groups: (n,) for splitters that keep groups together.
        sample_weight: (n,) for training, and for a network's scores.
        return_networks: also "network", the trained networks (of estimators "estimator").
        return_train_score: also the scores on the rows trained on.
        n_threads: the result has the same bits for every number; None chooses.
        **options: of a network, arguments of `Network.fit`: epochs, batch_size, class_weight, shuffle, callbacks,
            verbose (0 here if not given). Each fold has copies of the callbacks.

    Returns:
        A `CrossValidation`, a dict of arrays (folds,), or a list of them for a list of networks: "fit_time",
        "score_time" in seconds, "test_loss", "test_rmse", ..., "epochs". A fold whose training failed for numbers that
        are not finite has NaN, with a warning.

    Raises:
        TypeError, ValueError: before anything is trained.

    >>> import numpy as np, cnn
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> net = cnn.Network([cnn.Dense(8, "tanh"), cnn.Dense(1)], optimizer=cnn.Adam(0.02), seed=0)
    >>> found = cross_validate(net, X, X.sum(axis=1), cv=4, epochs=40, scoring="r2")
    >>> found["test_r2"].shape, bool(found["test_r2"].mean() > 0.9)
    ((4,), True)
    """
    if n_threads is not None:
        checks.integer("n_threads", n_threads, 1)
    several = isinstance(model, (list, tuple))
    if isinstance(model, Network) or (several and model and all(isinstance(one, Network) for one in model)):
        _check_options(options)
        networks: list[Network] = list(model) if several else [model]  # type: ignore[arg-type]
        found = _of_networks(networks, X, y, cv, scoring, groups, sample_weight,
                             return_networks, return_train_score, n_threads, options)  # fmt: skip
        return found if several else found[0]
    if not hasattr(model, "fit") or not hasattr(model, "get_params"):
        raise TypeError(f"cross_validate takes a cnn.Network or an estimator of scikit-learn's kind, got {model!r}")
    if options:
        raise TypeError(f"{next(iter(options))!r} is for networks; give the estimator {type(model).__name__} its own "
                        "parameters")  # fmt: skip
    with _warnings_at_the_caller(), parallel_config(backend="threading", n_jobs=n_threads or threads.available()):
        found = model_selection.cross_validate(
            model, X, y, cv=cv, scoring=None if isinstance(scoring, str) and scoring == "auto" else scoring,
            groups=groups, params=None if sample_weight is None else {"sample_weight": sample_weight},
            return_estimator=return_networks, return_train_score=return_train_score,
        )  # fmt: skip
    return CrossValidation(found)


@contextmanager
def _warnings_at_the_caller() -> Iterator[None]:
    """What fits in other threads say of their convergence, whose stacks the caller is not in, is said of its line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        yield
    for one in caught:
        if issubclass(one.category, ConvergenceWarning):
            console.warn(str(one.message), one.category)
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def _check_options(options: dict[str, Any]) -> None:
    checks.integer("epochs", options.get("epochs", 1), 1)
    for name in options:
        if name not in _OF_A_FIT:
            near = nearest(name, _OF_A_FIT)
            hint = f": here it is {near!r}" if near else ""
            raise TypeError(f"cross_validate has no argument {name!r}{hint}; of a fit it takes {', '.join(_OF_A_FIT)}")


def _of_networks(
    models: list[Network], X: Any, y: Any, cv: Any, scoring: Any, groups: Any, sample_weight: Any,
    return_networks: bool, return_train_score: bool, n_threads: int | None, options: dict[str, Any],
) -> list[CrossValidation]:  # fmt: skip
    first = models[0]
    for i, model in enumerate(models):
        for what in ("dtype", "n_outputs", "known_inputs"):
            if (one := getattr(model, what)) != (other := getattr(first, what)):
                raise ValueError(f"the networks of a list must have one {what}; it is {other} of the first, and {one} "
                                 f"of number {i}")  # fmt: skip
        if (model.loss.one_class, model.loss.for_classes) != (first.loss.one_class, first.loss.for_classes):
            raise ValueError(f"the networks of a list must have one kind of loss, got {first.loss.name!r} and "
                             f"{model.loss.name!r}")  # fmt: skip
    rows = data.prepare(X, y, sample_weight, first.loss, first.dtype, first.takes, first.n_outputs)
    chosen = evaluation.check(first.loss, rows, first.n_outputs, evaluation.resolve(scoring, first.loss))
    folds = splits(cv, rows, first.loss.for_classes, groups)
    networks = [fresh(model) for model in models for _ in folds]
    hooks = callbacks.copies(options.pop("callbacks", ()), len(networks))
    histories = train_many(
        networks, rows.X.to_scipy() if isinstance(rows.X, SparseRows) else rows.X, rows.y, sample_weight=rows.weights,
        rows=[train for _ in models for train, _ in folds], metrics=(), n_threads=n_threads, errors="return",
        callbacks=hooks, **{"epochs": 10, "verbose": 0, **options},
    )  # fmt: skip
    for history in histories:
        if isinstance(history, Exception) and not isinstance(history, NonFiniteError):
            raise history
    parts = {"test": [rows.take(test) for _, test in folds]}
    if return_train_score:
        parts["train"] = [rows.take(train) for train, _ in folds]
    n, found = len(folds), []
    for i in range(len(models)):
        own = slice(i * n, (i + 1) * n)
        found.append(_scores(networks[own], histories[own], parts, chosen, n_threads))
        if return_networks:
            found[-1]["network"] = networks[own]
    return found


def _scores(
    networks: list[Network], histories: list[Any], parts: dict[str, list[Data]], chosen: evaluation.Metrics,
    n_threads: int | None,
) -> CrossValidation:  # fmt: skip
    """Of the networks of all folds, on the rows of each part."""
    names = ["fit_time", "score_time", "epochs", *(f"{part}_{name}" for part in parts for name in ("loss", *chosen))]
    found = CrossValidation({name: np.full(len(networks), np.nan) for name in names})
    trained = []
    for i, history in enumerate(histories):
        if isinstance(history, NonFiniteError):
            console.warn(f"fold {i} has no scores: {history}")
            continue
        found["fit_time"][i], found["epochs"][i], found["score_time"][i] = sum(history.seconds), len(history), 0.0
        trained.append(i)
    for part, rows in parts.items():
        begin = time.perf_counter()
        outputs = passes_of_many.outputs([networks[i] for i in trained], [rows[i].X for i in trained], n_threads)
        for i, out in zip(trained, outputs, strict=True):
            for name, value in evaluation.Scores(networks[i], rows[i], chosen).of(out).items():
                found[f"{part}_{name}"][i] = value
        found["score_time"][trained] += (time.perf_counter() - begin) / max(len(trained), 1)
    return found


def splits(cv: Any, rows: Data, classes: bool, groups: Any = None) -> list[tuple[Array, Array]]:
    """(rows to train on, rows to score on) of each fold, by scikit-learn's splitters."""
    empty = np.zeros((len(rows), 1))
    found: Sequence[tuple[Array, Array]] = list(
        model_selection.check_cv(cv, rows.y, classifier=classes).split(empty, rows.y, groups)
    )
    if not found:
        raise ValueError(f"cv makes no folds: {cv!r}")
    folds = [(_places(train, len(rows)), _places(test, len(rows))) for train, test in found]
    for i, (train, test) in enumerate(folds):
        if not len(train) or not len(test):
            raise ValueError(f"fold {i} has {len(train)} rows to train on and {len(test)} to score on")
        for part, what in ((train, "train"), (test, "score")):
            if part.min() < 0 or part.max() >= len(rows):
                wrong = part.min() if part.min() < 0 else part.max()
                raise ValueError(f"fold {i} names row {wrong}; the rows are 0 .. {len(rows) - 1}")
            if rows.weights is not None and not rows.weights[part].any():
                raise ValueError(f"sample_weight is zero for every row that fold {i} has to {what} on")
    return folds


def _places(given: Any, n: int) -> Array:
    """The indices of rows, which a mask of them may say."""
    rows = np.asarray(given)
    return np.flatnonzero(rows) if rows.dtype == bool and rows.shape == (n,) else rows


def fresh(net: Network) -> Network:
    """A network of the same descriptions, not trained, nor built."""
    return Network(net.descriptions, net.loss, net.optimizer, net.dtype, net.seed, net.dropout_factor)
