"""What scikit-learn's tools ask of an estimator: parameters, kind, features, score; they need not be there for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from types import MethodType
from typing import Any, Self, TypeVar, cast

import numpy as np

from cnn import metrics
from cnn._common import checks
from cnn._common.errors import NoClassesError, not_fitted
from cnn.table import given, labels, targets
from cnn.table.encode import Encoder
from cnn.table.frames import Array, TableError
from cnn.table.routing import Routed
from cnn.table.settings import Settings
from cnn.table.targets import Goal

F = TypeVar("F", bound=Callable[..., Any])


class _OfClasses:
    """A method that models of numbers do not have, as scikit-learn's tools must know before they call it."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method
        update_wrapper(self, method)  # type: ignore[arg-type]

    def __get__(self, model: Any, of: Any = None) -> Any:
        if model is None:
            return self._method
        if getattr(model, "_estimator_type", None) == "regressor":
            raise NoClassesError(f"{self._method.__name__} is for classes; {model.target!r} is predicted as a number")
        return MethodType(self._method, model)


def of_classes(method: F) -> F:
    """The method, of models of classes alone; a NoClassesError (a ValueError) where `hasattr` says no."""
    return cast(F, _OfClasses(method))


class Estimator(Routed):
    """Base of `TableModel`: its arguments as they were given, and what was learnt under scikit-learn's names."""

    settings: Settings
    _given: dict[str, Any]
    _encoder: Encoder | None = None
    _target: Goal | None = None

    # Parameters -------------------------------------------------------------------------------------------------------

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments of the class, as they were given; `deep` changes nothing.

        >>> import cnn
        >>> cnn.TableModel("price", hidden=[8]).get_params()["hidden"]
        [8]
        """
        return dict(self._given)

    def set_params(self, **params: Any) -> Self:
        """Other `params` for the next fit; what was learnt stays. ValueError for one that there is none of."""
        for name in params:
            if name not in self._given:
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {self!r}. Valid parameters are: {list(self._given)!r}."
                )
        made = type(self)(**{**self._given, **params})
        vars(self).update({name: value for name, value in vars(made).items() if name in ("_given", "settings", "seed")})
        return self

    # What was learnt --------------------------------------------------------------------------------------------------

    @property
    def encoder(self) -> Encoder:
        """The columns in use and how they become inputs."""
        if self._encoder is None:
            raise not_fitted("the table model knows no table yet: call fit(table) first")
        return self._encoder

    @property
    def goal(self) -> Goal:
        """What is predicted."""
        self.encoder  # noqa: B018 (raises before the fit)
        assert self._target is not None
        return self._target

    @property
    def target(self) -> Any:
        """The name of the column that is predicted, a tuple of several; None before a fit that is given y."""
        return targets.asked(self._given["target"]) if self._target is None else self._target.name

    @property
    def task(self) -> str:
        """ "regression" or "classification"."""
        return self.goal.task

    @property
    def classes(self) -> Array:
        """The classes, in the order of the columns of `predict_proba`."""
        if self.task == "regression":
            raise NoClassesError(f"{self.target!r} is predicted as a number: there are no classes")
        return labels.array(self.goal.classes)

    @property
    def classes_(self) -> Array:
        """`classes`."""
        return self.classes

    @property
    def n_features_in_(self) -> int:
        """How many columns the table had beside the target."""
        return len(self.encoder.names)

    @property
    def feature_names_in_(self) -> Array:
        """Their names, if the fit was given some."""
        names = self.encoder.names
        if names == given.made_up(len(names)):
            raise AttributeError("the model was fitted to an array: there are no feature_names_in_")
        return np.array(names, object)

    # Scores -----------------------------------------------------------------------------------------------------------

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """R² of numbers, accuracy of classes, on rows with a target; y, or a column of the table if None.

        Of several targets the mean of their R², as scikit-learn's "uniform_average".
        A class that the fit did not know counts as missed. Weights (n,) are those of the rows of X.
        """
        table = self._table(X, y)
        goal, cells = self.goal, self.goal.cells(table)
        rows = goal.known(cells)
        if not len(rows):
            raise TableError(f"no row has a value of {goal.described}")
        weights = None
        if sample_weight is not None:
            weights = checks.weights("sample_weight", sample_weight, np.dtype(np.float64), len(table))[rows]
        predicted = self._outputs_of(table, None, rows)
        if goal.task == "regression":
            return metrics.r2(goal.numbers(cells.iloc[rows]), predicted, weights)
        hit = labels.codes(cells.iloc[rows], goal.classes) == two_columns(predicted).argmax(axis=1)
        return float(np.average(hit, weights=weights))

    def _table(self, X: Any, y: Any = None, where: str = "data") -> Any:
        """The table whose columns are those of the fit, with y as its target if it is given apart."""
        names = self.encoder.names
        if y is None:
            return given.frame(X, names, where)
        return given.joined(X, y, self.goal.name, names)[0]

    def _outputs_of(self, data: Any, n_threads: int | None, rows: Array | None = None) -> Array:
        raise NotImplementedError

    # The kind of estimator --------------------------------------------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return self._encoder is not None

    @property
    def _estimator_type(self) -> str:
        """What scikit-learn before 1.6 asks; an AttributeError where it is not known yet."""
        task = self.settings.aim if self._encoder is None else self.task
        if task == "auto":
            raise AttributeError("the task follows from the target: fit it, or give task=")
        return "classifier" if task == "classification" else "regressor"

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        kind = getattr(self, "_estimator_type", None)
        return Tags(
            estimator_type=kind,
            target_tags=TargetTags(required=self._given["target"] is None, multi_output=kind == "regressor"),
            classifier_tags=ClassifierTags() if kind == "classifier" else None,
            regressor_tags=RegressorTags() if kind == "regressor" else None,
            input_tags=InputTags(allow_nan=True, categorical=True, string=True),
        )


def two_columns(p: Array) -> Array:
    """Probabilities (n, k) of k >= 2 classes, where a network may give that of the second alone; they sum to 1."""
    return np.column_stack([1 - p, p]) if p.ndim == 1 else p / p.sum(axis=1, keepdims=True)
