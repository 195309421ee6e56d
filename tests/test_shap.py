"""`shap.Explainer(model, X)` takes our models as they are: exact Shapley values, by the sum over all subsets."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cnn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own, of matplotlib
    shap = pytest.importorskip("shap")
pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3))
Y = X[:, 0] - X[:, 1] * X[:, 2]
LABELS = np.array(["a", "b", "c"])[(Y > -0.5).astype(int) + (Y > 0.5)]
QUICK: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_iter": 15, "random_state": 0, "dtype": "float64"}


def network(units: int, **changes: Any) -> cnn.Network:
    return cnn.Network([cnn.Dense(8, "tanh"), cnn.Dense(units)], dtype="float64", seed=0, **changes)


def fitted(name: str) -> tuple[Any, Callable[[Any], Any]]:
    """A model, and what is explained of it."""
    model: Any
    if name == "network":
        model = network(1)
        model.fit(X, Y, verbose=0)
        return model, model.predict
    if name == "classes":
        model = network(3, loss="cross_entropy")
        model.fit(X, np.searchsorted(["a", "b", "c"], LABELS), verbose=0)
        return model, model.predict
    if name == "regressor":
        model = cnn.MLPRegressor(**QUICK).fit(X, Y)
        return model, model.predict
    if name == "classifier":
        model = cnn.MLPClassifier(**QUICK).fit(X, LABELS)
        return model, model.predict_proba
    if name == "ensemble":
        model = cnn.EnsembleRegressor(cnn.MLPRegressor(**QUICK), n_estimators=2, random_state=0).fit(X, Y)
        return model, model.predict
    model = cnn.EnsembleClassifier(cnn.MLPClassifier(**QUICK), n_estimators=2, random_state=0).fit(X, LABELS)
    return model, model.predict_proba


def shapley(f: Callable[[Any], Any], background: np.ndarray, row: np.ndarray) -> np.ndarray:
    """(features, outputs): each feature's mean part over all orders, others being those of the background."""
    n = len(row)

    def value(known: set[int]) -> np.ndarray:
        rows = background.copy()
        rows[:, sorted(known)] = row[sorted(known)]
        return np.asarray(f(rows)).reshape(len(rows), -1).mean(axis=0)

    parts = []
    for i in range(n):
        others = [j for j in range(n) if j != i]
        parts.append(sum(
            math.factorial(k) * math.factorial(n - k - 1) / math.factorial(n) * (value({*s, i}) - value(set(s)))
            for k in range(n) for s in itertools.combinations(others, k)
        ))  # fmt: skip
    return np.array(parts)


@pytest.mark.parametrize("name", ["network", "classes", "regressor", "classifier", "ensemble", "ensemble of classes"])
def test_models_of_arrays(name: str) -> None:
    model, f = fitted(name)
    assert np.array_equal(model(X), f(X))
    found = shap.Explainer(model, X[:20])(X[:4])
    for row, values in zip(X, found.values, strict=False):
        np.testing.assert_allclose(values.reshape(3, -1), shapley(f, X[:20], row), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("classes", [False, True])
def test_tables_of_numbers(classes: bool) -> None:
    table = pd.DataFrame(X, columns=["a", "b", "c"])
    model = cnn.TableModel(epochs=10, members=1, hidden=(8,), seed=0)
    model.fit(table, LABELS if classes else Y, verbose=0)
    f = model.predict_proba if classes else model.predict
    assert np.array_equal(model(table), f(table))
    found = shap.Explainer(model, table[:20])(table[:3])
    assert found.feature_names == ["a", "b", "c"]

    def of_array(rows: np.ndarray) -> Any:
        return f(pd.DataFrame(rows, columns=["a", "b", "c"]))

    for row, values in zip(X, found.values, strict=False):
        np.testing.assert_allclose(values.reshape(3, -1), shapley(of_array, X[:20], row), rtol=1e-4, atol=1e-5)


def test_a_loss_without_probabilities() -> None:
    model = cnn.MLPClassifier(loss="hinge", **QUICK).fit(X, LABELS)
    with pytest.raises(AttributeError, match="loss='hinge' has no probabilities"):
        model(X)
