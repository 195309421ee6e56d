"""What both ensembles share: parameters, the training of the members, rows that a member has not seen."""

from __future__ import annotations

import copy
import dataclasses
import math
import os
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, _fit_context, clone, is_classifier
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from cnn import callbacks, schedules
from cnn._common.elsewhere import told
from cnn._common.errors import DivergenceError, NonFiniteError
from cnn.callbacks import Callback
from cnn.many import predict_many, train_many
from cnn.network import Network
from cnn.optimizers import Optimizer
from cnn.runtime import passes, sparse
from cnn.runtime.data import Array, Data
from cnn.runtime.sparse import SparseRows
from cnn.sklearn import build, save_ensemble
from cnn.sklearn.compat import validate_data
from cnn.sklearn.constraints import Seed
from cnn.sklearn.members import Draw, Snapshots, Stopping, draw, folds
from cnn.uncertainty import Residuals

Samples = int | float
Method = Literal["independent", "snapshots"]


class BaseEnsemble(BaseEstimator):
    """Base of both ensembles: not to be used by itself."""

    _member: ClassVar[type[Any]]
    estimators_: list[Any]
    residuals_: Residuals | None

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "method": [StrOptions({"independent", "snapshots"})],
        "max_samples": [Interval(Integral, 1, None, closed="left"), Interval(Real, 0, 1, closed="right")],
        "max_features": [Interval(Integral, 1, None, closed="left"), Interval(Real, 0, 1, closed="right")],
        "bootstrap": ["boolean"],
        "early_stopping": ["boolean"],
        "cv": ["cv_object"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    }

    @told
    def __init__(
        self, estimator: Any = None, n_estimators: int = 8, *, method: Method = "independent",
        max_samples: Samples = 1.0, max_features: Samples = 1.0, bootstrap: bool = False, early_stopping: bool = True,
        cv: Any = None, random_state: Seed = None, verbose: bool | int = False, n_threads: int | None = None,
    ) -> None:  # fmt: skip
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.method = method
        self.max_samples = max_samples
        self.max_features = max_features
        self.bootstrap = bootstrap
        self.early_stopping = early_stopping
        self.cv = cv
        self.random_state = random_state
        self.verbose = verbose
        self.n_threads = n_threads

    # Training ---------------------------------------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Trains the members, side by side, on X (n, n_features) and y as their class takes it; returns self.

        Raises:
            ValueError, TypeError: as the members' class, and for parameters that don't go together.
            cnn.DivergenceError: the loss of a member stopped being finite (a ValueError).
        """
        base = self._base()
        rows = base._prepare(X, y, sample_weight, "first")
        random = check_random_state(self.random_state)
        draws = self._draws(base, rows, random)
        stops: list[Stopping | None] | None = None
        if self.method == "snapshots":
            members = self._snapshots(base, rows, draws[0], random)
            draws = draws[:1] * len(members)
        else:
            members, stops = self._independent(base, rows, draws, random)
        made = copy.copy(self)
        for name in ("classes_", "_task", "_sparse_labels", "_n_targets", "n_features_in_", "feature_names_in_"):
            made.__dict__.pop(name, None)
            if hasattr(base, name):
                setattr(made, name, getattr(base, name))
        made.estimators_, made.n_outputs_ = members, members[0].n_outputs_
        made.estimators_features_ = [_all(found.columns, base.n_features_in_) for found in draws]
        made.estimators_samples_ = [found.samples for found in draws]
        made.oom_prediction_ = made._out_of_member(rows, draws, stops)
        made.oom_score_ = made._oom_score(base._targets(rows), sample_weight)
        made.residuals_ = made._residuals(base._targets(rows))
        self.__dict__ = made.__dict__  # all at once: no Ctrl-C leaves a part of it
        return self

    def _base(self) -> Any:
        """A copy of the members' estimator, whose parameters an ensemble can train."""
        own, given = self._member.__name__, self.estimator
        if given is not None and not isinstance(given, self._member):
            what = "a class: call it" if isinstance(given, type) else type(given).__name__
            how = f": cnn.{own}.from_network makes one of it" if isinstance(given, Network) else ""
            raise TypeError(f"estimator must be a cnn.{own}, got {what}{how}")
        base = self._member() if given is None else clone(given)
        base._validate_params()
        for name in ("max_seconds", "scoring"):
            if getattr(base, name) is not None:
                raise ValueError(f"members train whole epochs and stop by their loss: {name} of the estimator must be "
                                 f"None, got {getattr(base, name)!r}")  # fmt: skip
        for name, left_out in (("solver", ("lbfgs",)), ("learning_rate", ("invscaling", "adaptive"))):
            if (value := getattr(base, name)) in left_out:
                raise ValueError(f"members are not trained with {name}={value!r}: give the estimator another one")
        if self.method == "snapshots":
            if base.max_iter < self.n_estimators:
                raise ValueError(f"{self.n_estimators} snapshots need as many epochs, got max_iter={base.max_iter}")
            if base.learning_rate != "constant" or isinstance(base.solver, Optimizer):
                raise ValueError("snapshots have a schedule of their own: give the estimator the name of a solver and "
                                 "learning_rate='constant'")  # fmt: skip
        base._partial = False
        base.n_threads = base.n_threads if self.n_threads is None else self.n_threads
        return base

    def _draws(self, base: Any, rows: Data, random: np.random.RandomState) -> list[Draw]:
        """What each member sees. Rows of no weight are no member's."""
        known = np.arange(len(rows)) if rows.weights is None else np.flatnonzero(rows.weights)
        stratified = is_classifier(self) and rows.y.ndim == 1
        held_out = folds(self.cv, self.n_estimators, rows.y, known, stratified, random)
        found = []
        for _ in range(self.n_estimators):
            fold = next(held_out) if self.early_stopping else known[:0]
            among = np.setdiff1d(known, fold, assume_unique=True)
            how = self.max_samples, self.max_features, self.bootstrap
            found.append(draw(fold, among, base.n_features_in_, *how, random))
        return found

    def _untrained(self, base: Any, rows: Data, found: Draw, random: np.random.RandomState) -> Any:
        """A member whose network has its initial weights."""
        est, seed = clone(base), int(random.randint(2**31 - 1))
        n_features = base.n_features_in_ if found.columns is None else len(found.columns)
        parameters = est.get_params(deep=False)
        vars(est).update({name: value for name, value in vars(base).items() if name not in parameters})
        vars(est).update(n_features_in_=n_features, random_state=seed)
        est.__dict__.pop("feature_names_in_", None)
        loss, n_outputs = base._settle()
        net = build.build(est, n_features, n_outputs, loss, rows.X.dtype, np.random.RandomState(seed))
        net.seed = seed  # of the order of rows
        est._adopt(net)
        return est

    def _independent(
        self, base: Any, rows: Data, draws: list[Draw], random: np.random.RandomState
    ) -> tuple[list[Any], list[Stopping | None]]:
        members = [self._untrained(base, rows, found, random) for found in draws]
        stops: list[Stopping | None] = [None] * len(draws)
        if self.early_stopping:
            how = base.n_iter_no_change, base.tol
            stops = [Stopping(_fold(rows, found), len(found.halves[0]), *how) for found in draws]
        self._train(base, rows, draws, members, stops, base.max_iter)
        return members, stops

    def _snapshots(self, base: Any, rows: Data, found: Draw, random: np.random.RandomState) -> list[Any]:
        """Of one network, at the ends of as many cosines of the learning rate (Huang et al. 2017)."""
        cycle = base.max_iter // self.n_estimators
        base.learning_rate = schedules.CosineRestarts(base.learning_rate_init, epochs=cycle)
        est, kept = self._untrained(base, rows, found, random), Snapshots(cycle)
        self._train(base, rows, [found], [est], [kept], cycle * self.n_estimators)
        members = [copy.deepcopy(est) for _ in kept.weights]
        for member, weights in zip(members, kept.weights, strict=True):
            member.network_.flat[...] = weights
        return members

    def _train(
        self, base: Any, rows: Data, draws: list[Draw], members: list[Any], own: Sequence[Callback | None], epochs: int
    ) -> None:
        copies = callbacks.copies([] if base.callbacks is None else base.callbacks, len(members))
        given = [users if mine is None else [*users, mine] for users, mine in zip(copies, own, strict=True)]
        held_out = [(_given(one.fold) if isinstance(one, Stopping) else None) for one in own]
        X, y, weights = _given(rows)
        if any(found.columns is not None for found in draws):
            X = [X[:, found.columns] for found in draws]
        if any(found.counts is not None for found in draws):
            weights = [_counted(rows, found) for found in draws]
        histories = train_many(
            [member.network_ for member in members], X, y, validation_data=held_out, epochs=epochs,
            batch_size=200 if base.batch_size == "auto" else base.batch_size, sample_weight=weights,
            shuffle=base.shuffle, metrics=base.metrics, callbacks=given,
            rows=[found.rows for found in draws], verbose=int(self.verbose), n_threads=base.n_threads, errors="return",
        )  # fmt: skip
        for error in histories:
            if isinstance(error, NonFiniteError):
                raise DivergenceError(str(error)) from None
            if isinstance(error, Exception):
                raise error
        for member, history, found in zip(members, histories, draws, strict=True):
            losses = list(history.loss)
            vars(member).update(history_=history, loss_curve_=losses, n_iter_=len(losses), loss_=losses[-1],
                                t_=len(losses) * len(found.rows))  # fmt: skip

    # Rows that a member has not seen ----------------------------------------------------------------------------------

    def _out_of_member(self, rows: Data, draws: list[Draw], stops: list[Stopping | None] | None) -> Array:
        """The mean over those members that each row had no part in, neither in training nor in stopping."""
        total, times = np.zeros(0), np.zeros(len(rows))

        def add(est: Any, columns: Array | None, which: Array) -> None:
            nonlocal total
            if len(which):
                out = self._values(est, _outputs(est.network_, _columns(rows.X[which], columns), est.n_threads))
                total = total if total.size else np.zeros((len(rows), *out.shape[1:]))
                total[which] += out
                times[which] += 1

        for i, (est, found) in enumerate(zip(self.estimators_, draws, strict=True)):
            left = np.ones(len(rows), bool)
            left[found.rows] = False
            stop = None if stops is None else stops[i]
            if stop is not None:
                chosen = est.network_.flat.copy()
                for half, weights in zip(found.halves, stop.honest, strict=True):
                    left[half] = False
                    if weights is not None:
                        est.network_.flat[...] = weights
                        add(est, found.columns, half)
                est.network_.flat[...] = chosen
            add(est, found.columns, np.flatnonzero(left))
        if not total.size:
            total = np.zeros((len(rows), *self._values(self.estimators_[0], np.zeros((1, self.n_outputs_))).shape[1:]))
        with np.errstate(invalid="ignore"):
            return total / times.reshape(-1, *[1] * (total.ndim - 1))

    def _oom_score(self, y: Array, sample_weight: Any) -> float:
        """R² or accuracy of `oom_prediction_`, on the rows that have one."""
        predicted = self.oom_prediction_
        known = np.isfinite(predicted.reshape(len(predicted), -1)).all(axis=1)
        weights = np.broadcast_to(np.asarray(1 if sample_weight is None else sample_weight, float), len(y))
        known &= weights > 0
        if known.sum() < 2:
            return math.nan
        return float(self._measure(y[known], predicted[known], weights[known]))

    def _measure(self, y: Array, predicted: Array, weights: Array) -> float:
        raise NotImplementedError

    def _residuals(self, y: Array) -> Residuals | None:
        """What the errors of `oom_prediction_` say of those of new rows, None of classes and of several targets."""
        return None

    # Prediction -------------------------------------------------------------------------------------------------------

    def _values(self, est: Any, out: Array) -> Array:
        """What is averaged of a member's outputs."""
        raise NotImplementedError

    def _of_each(self, X: Any) -> Array:
        """(members, n, ...) float64: the values of all members."""
        check_is_fitted(self)
        if sparse.is_sparse(X):
            sparse.check_positions("X", X)
        net = self.estimators_[0].network_
        X = validate_data(self, X, accept_sparse="csr", dtype=net.dtype, order="C", reset=False)
        every = all(len(columns) == X.shape[1] for columns in self.estimators_features_)
        parts = X if every else [X[:, columns] for columns in self.estimators_features_]
        outputs = predict_many(self.networks_, parts, n_threads=self.n_threads)
        found = [self._values(est, out) for est, out in zip(self.estimators_, outputs, strict=True)]
        return np.stack(found).astype(np.float64)

    @property
    def networks_(self) -> list[Network]:
        """The members' `cnn.Network`s."""
        check_is_fitted(self)
        return [est.network_ for est in self.estimators_]

    def predict_std(self, X: Any) -> Array:
        """How far the members lie apart: the standard deviation of what is averaged, in its shape.

        It is small where the members agree, which is not where they are right: noise of the targets is not in it.
        """
        return self._of_each(X).std(axis=0)

    # Copies -----------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the fitted ensemble to one file (read by `cnn.load`), whole or not at all; see `MLPClassifier.save`.

        The loaded one predicts the same to the last bit. It has no `estimators_samples_`, and its members no curves.

        Raises:
            NotFittedError: there is nothing to save yet.
            TypeError, ValueError: as `MLPClassifier.save`.
        """
        check_is_fitted(self)
        save_ensemble.save(self, path)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _all(columns: Array | None, n: int) -> Array:
    return np.arange(n) if columns is None else columns


def _counted(rows: Data, found: Draw) -> Array:
    """Weights (n,) of rows that count as often as they were drawn."""
    counts = np.zeros(len(rows), rows.X.dtype)
    counts[found.rows] = 1 if found.counts is None else found.counts
    return counts if rows.weights is None else counts * rows.weights


def _columns(X: Any, columns: Array | None) -> Any:
    if columns is None:
        return X
    if isinstance(X, SparseRows):
        return sparse.features("X", X.to_scipy()[:, columns], X.dtype, None)
    return np.ascontiguousarray(X[:, columns])


def _given(rows: Data) -> tuple[Any, Any, Any]:
    """(X, y, weights) as a fit takes them."""
    X = rows.X.to_scipy() if isinstance(rows.X, SparseRows) else rows.X
    return X, rows.classes if rows.targets is None else rows.targets, rows.weights


def _fold(rows: Data, found: Draw) -> Data:
    """The rows that a member holds out, half after half, with the columns that it sees."""
    fold = rows.take(np.concatenate(found.halves))
    return dataclasses.replace(fold, X=_columns(fold.X, found.columns))


def _outputs(net: Network, X: Any, n_threads: int | None) -> Array:
    return passes.outputs(net, X, link=True, n_threads=n_threads)
