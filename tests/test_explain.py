"""Explanations beside the integral in NumPy, finite differences, exact Shapley values of `shap` and scikit-learn's."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import pytest
import reference
from helpers import reference_layers
from scipy import sparse

import cnn
from cnn.explain import Explanation, expected_gradients, gradients, integrated_gradients, partial_dependence

RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 4))
BACKGROUND = RNG.normal(size=(5, 4))
LOSSES = {"mse": 2, "binary_cross_entropy": 2, "poisson": 2, "cross_entropy": 3, "hinge": 1, "gaussian_nll": 4}


def network(loss: str = "mse", units: int = 1, dtype: str = "float64", inputs: int = 4, **how: Any) -> cnn.Network:
    return cnn.Network([cnn.Dense(6, "tanh"), cnn.Dense(5, "mish"), cnn.Dense(units)], loss=loss, dtype=dtype, seed=3,
                       **how).build(inputs)  # fmt: skip


def slopes(f: Any, x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    """df/dx (outputs, inputs) at one row, by differences."""
    steps = h * np.eye(len(x))
    return ((f(x + steps) - f(x - steps)) / (2 * h)).T


def integral(f: Any, x: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(inputs, outputs): the midpoint rule with many points, and gradients by differences."""
    places = (np.arange(100) + 0.5) / 100
    mean = np.mean([slopes(f, b + a * (x - b)) for a in places], axis=0)
    return mean.T * (x - b)[:, None]


@pytest.mark.parametrize("loss", LOSSES)
def test_of_every_link_beside_differences(loss: str) -> None:
    net = network(loss, LOSSES[loss])

    def f(rows: np.ndarray) -> np.ndarray:
        return net.predict(rows).reshape(len(rows), -1)

    found = integrated_gradients(net, X, baseline=BACKGROUND[:1])
    expected = np.stack([integral(f, x, BACKGROUND[0]) for x in X])
    assert found.values.reshape(expected.shape) == pytest.approx(expected, abs=2e-5)
    assert found.predictions == pytest.approx(f(X).reshape(found.predictions.shape), abs=1e-12)
    assert np.abs(found.gap).max() < 1e-9
    assert found.base_values[0] == pytest.approx(f(BACKGROUND[:1])[0], abs=1e-12)
    assert len(found.output_names) == LOSSES[loss]
    one = integrated_gradients(net, X, baseline=BACKGROUND[:1], output=LOSSES[loss] - 1)
    assert one.values == pytest.approx(expected[..., -1], abs=2e-5)
    assert one.values.shape == (7, 4)


def test_raw_outputs_are_those_before_the_link() -> None:
    net = network("binary_cross_entropy")
    found = integrated_gradients(net, X, raw=True)
    assert found.predictions == pytest.approx(net.forward(X)[:, 0], abs=1e-12)
    assert found.values.sum(axis=1) == pytest.approx((net.forward(X) - net.forward(np.zeros((1, 4))))[:, 0], abs=1e-9)


@pytest.mark.parametrize("name", ["relu", "tanh", "softplus"])
def test_beside_the_reference_network(name: str) -> None:
    """The same rule with the gradient of the network in NumPy: W1 f'(z) W2."""
    net = cnn.Network([cnn.Dense(5, name), cnn.Dense(2)], dtype="float64", seed=1).build(4)
    first, second = reference_layers(net)
    slope = reference.ACTIVATIONS[name][1]
    nodes, weights = np.polynomial.legendre.leggauss(9)
    expected = np.zeros((len(X), 4, 2))
    for place, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        z = place * X @ first["W"] + first["b"]
        expected += weight * np.einsum("iu,nu,uk->nik", first["W"], slope(z, 0.0), second["W"]) * X[..., None]
    assert integrated_gradients(net, X, steps=9).values == pytest.approx(expected, abs=1e-12)


def test_a_baseline_for_each_row() -> None:
    net, starts = network(), RNG.normal(size=(7, 4))
    found = integrated_gradients(net, X, baseline=starts)
    each = [integrated_gradients(net, X[i : i + 1], baseline=starts[i : i + 1]).values[0] for i in range(7)]
    assert found.values == pytest.approx(np.stack(each), abs=1e-12)
    assert found.base_values == pytest.approx(net.predict(starts)[:, 0], abs=1e-12)


def additive(dtype: str = "float64") -> cnn.Network:
    """f(x) = g1(x1) + ... + g4(x4): each input has hidden units of its own."""
    net = cnn.Network([cnn.Dense(8, "tanh"), cnn.Dense(1)], dtype=dtype, seed=5).build(4)
    weights = net.get_weights()
    weights["layers.0.weights"] *= np.repeat(np.eye(4), 2, axis=1)
    net.set_weights(weights)
    return net


def test_exact_shapley_values_of_shap() -> None:
    """Of a sum of functions of single inputs gradients and Shapley values are alike: g(x) - E[g(b)]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports
        shap = pytest.importorskip("shap")
    net = additive()

    def f(rows: np.ndarray) -> np.ndarray:
        return net.predict(rows)[:, 0]

    exact = shap.KernelExplainer(f, BACKGROUND)  # of so few inputs it takes all subsets
    found = expected_gradients(net, X, BACKGROUND, samples=10_000)
    assert found.values == pytest.approx(exact.shap_values(X, silent=True), abs=2e-3)
    assert found.base_values == pytest.approx(np.full(7, exact.expected_value), abs=1e-9)
    found = integrated_gradients(net, X, baseline=BACKGROUND[:1])
    exact = shap.KernelExplainer(f, BACKGROUND[:1])
    assert found.values == pytest.approx(exact.shap_values(X, silent=True), abs=1e-9)
    given = found.to_shap()
    assert isinstance(given, shap.Explanation)
    assert given.feature_names == ["x0", "x1", "x2", "x3"]
    assert np.array_equal(given.values, found.values)
    several = integrated_gradients(network("cross_entropy", 3), X).to_shap()
    assert several[..., 1].values.shape == (7, 4)


def test_linear_networks_have_the_values_of_shap() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shap = pytest.importorskip("shap")
    net = cnn.Network([cnn.Dense(1)], dtype="float64", seed=0).build(4)
    explainer = shap.LinearExplainer((net.layers[0].weights[:, 0], net.layers[0].biases[0]),
                                     shap.maskers.Independent(BACKGROUND))  # fmt: skip
    found = expected_gradients(net, X, BACKGROUND)
    assert found.values == pytest.approx(explainer(X).values, abs=1e-12)
    assert found.base_values == pytest.approx(explainer(X).base_values, abs=1e-12)


def test_without_shap_it_says_which_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(ImportError, match="to_shap needs shap"):
        integrated_gradients(network(), X).to_shap()


def test_expected_gradients_are_the_mean_over_baselines() -> None:
    net = network("binary_cross_entropy")
    found = expected_gradients(net, X, BACKGROUND, samples=10_000)
    each = [integrated_gradients(net, X, baseline=b[None]).values for b in BACKGROUND]
    assert found.values == pytest.approx(np.mean(each, axis=0), abs=1e-3)
    assert found.base_values == pytest.approx(np.full(7, net.predict(BACKGROUND).mean()), abs=1e-12)
    assert np.abs(found.gap).max() < 1e-3
    few = [np.abs(expected_gradients(net, X, BACKGROUND, samples=s).gap).mean() for s in (20, 2000)]
    assert few[1] < few[0] / 3


def test_of_a_large_background_some_rows_are_drawn() -> None:
    net, rows = network(), RNG.normal(size=(50, 4))
    found = [expected_gradients(net, X, rows, samples=10, seed=seed) for seed in (0, 0, 1)]
    assert np.array_equal(found[0].values, found[1].values)
    assert not np.array_equal(found[0].values, found[2].values)
    alone = expected_gradients(net, X[3:4], rows, samples=10)
    assert alone.values[0] == pytest.approx(found[0].values[3], abs=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("units", [1, 3])
def test_bits_and_pieces(dtype: str, units: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bits for every number of threads, and the same numbers whatever is looked at together."""
    net = network("cross_entropy" if units > 1 else "mse", units, dtype)
    rows = RNG.normal(size=(90, 4))
    calls = [lambda n: integrated_gradients(net, rows, steps=33, n_threads=n),
             lambda n: expected_gradients(net, rows, BACKGROUND, samples=33, n_threads=n)]  # fmt: skip
    for call in calls:
        one, more = call(1), call(3)
        assert np.array_equal(one.values, more.values)
        assert np.array_equal(one.predictions, more.predictions)
        assert one.values.dtype == np.float64
        for size in (1, 17, 40 * 4, 1000):
            monkeypatch.setattr(gradients, "_NUMBERS", size)
            assert call(None).values == pytest.approx(one.values, abs=1e-6 if dtype == "float32" else 1e-13)
        monkeypatch.undo()


def test_edges_of_x() -> None:
    net = network()
    kept = X.copy()
    whole = integrated_gradients(net, X).values
    for given in (np.asfortranarray(X), X[::-1][::-1], X.tolist()):
        assert np.array_equal(integrated_gradients(net, given).values, whole)
    frozen = X.copy()
    frozen.flags.writeable = False
    assert np.array_equal(integrated_gradients(net, frozen).values, whole)
    assert np.array_equal(X, kept)
    none = integrated_gradients(net, X[:0])
    assert (none.values.shape, none.gap.shape, none.importance.tolist()) == ((0, 4), (0,), [0.0] * 4)
    assert expected_gradients(net, X[:0], BACKGROUND).values.shape == (0, 4)
    assert integrated_gradients(network(inputs=1), X[:, :1]).values.shape == (7, 1)
    assert np.array_equal(whole[0], integrated_gradients(net, X[:1], steps=64).values[0])
    found = integrated_gradients(net, X)
    assert found.importance == pytest.approx(np.abs(whole).mean(axis=0))
    assert repr(found) == "Explanation(7 rows, 4 features: values, base_values, data, feature_names, ...)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.values = whole  # type: ignore[misc]
    assert isinstance(found, Explanation)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda net: integrated_gradients(net, X[:, :3]), ValueError, "3 columns"),
        (lambda net: integrated_gradients(net, X, baseline=BACKGROUND[:3]), ValueError,
         "baseline must be one row, or one for each of the 7 rows of X, got 3"),
        (lambda net: integrated_gradients(net, X, baseline=[1.0] * 4), ValueError, "baseline must have two dimensions"),
        (lambda net: integrated_gradients(net, X, steps=0), ValueError, "steps must be an integer >= 1, got 0"),
        (lambda net: integrated_gradients(net, X, output=1), ValueError, r"output must be an integer in \[0, 0\]"),
        (lambda net: integrated_gradients(net, X, raw=1), TypeError, "raw must be True or False"),
        (lambda net: integrated_gradients(net, X, n_threads=0), ValueError, "n_threads must be an integer >= 1, got 0"),
        (lambda net: integrated_gradients(net, np.where(X > 1, np.nan, X)), ValueError, "X holds nan"),
        (lambda net: integrated_gradients(net, sparse.csr_array(X)), TypeError, r"X is sparse.*X.toarray\(\)"),
        (lambda net: integrated_gradients(len, X), TypeError, "model must be a cnn.Network, an estimator"),
        (lambda net: integrated_gradients(cnn.Network([cnn.Dense(1)]), X), cnn.NotBuiltError, "build"),
        (lambda net: expected_gradients(net, X, BACKGROUND[:0]), ValueError, "background must have at least one row"),
        (lambda net: expected_gradients(net, X, BACKGROUND, samples=0), ValueError, "samples must be an integer >= 1"),
        (lambda net: expected_gradients(net, X, BACKGROUND, seed=-1), ValueError, "seed must be an integer >= 0"),
        (lambda net: partial_dependence(net, X, "x9"), ValueError, "the model has no column 'x9'; it has 'x0', 'x1'"),
        (lambda net: partial_dependence(net, X, 4), ValueError, r"column must be an integer in \[0, 3\], got 4"),
        (lambda net: partial_dependence(net, X[:0], 0), ValueError, "data must have at least one row"),
        (lambda net: partial_dependence(net, X, 0, grid=[[1.0]]), ValueError, r"grid must be a list.*\(1, 1\)"),
        (lambda net: partial_dependence(net, X, 0, grid=[np.inf]), ValueError, "grid holds inf"),
        (lambda net: partial_dependence(net, X, 0, points=1), ValueError, "points must be an integer >= 2"),
        (lambda net: partial_dependence(net, X, 0, most_rows=0), ValueError, "most_rows must be an integer >= 1"),
    ],
)  # fmt: skip
def test_bad_input(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(network())


def test_categories_have_no_slopes() -> None:
    net = cnn.Network([cnn.CategoryEmbedding(3, 2), cnn.Dense(1)], dtype="float64", seed=0).build(2)
    rows = np.column_stack([X[:, 0], np.arange(7) % 3])
    for call in (lambda: integrated_gradients(net, rows), lambda: expected_gradients(net, rows, rows)):
        with pytest.raises(ValueError, match="a network with a CategoryEmbedding has no slopes by its categories"):
            call()
    found = partial_dependence(net, rows, 1)
    assert found.grid.tolist() == [0, 1, 2]
    moved = np.column_stack([X[:, 0], np.full(7, 2.0)])
    assert found.mean[2] == pytest.approx(net.predict(moved).mean(), abs=1e-12)


def test_partial_dependence_by_hand() -> None:
    net = network("cross_entropy", 3)
    found = partial_dependence(net, X, 2, grid=[-1.0, 0.5])
    for g, value in enumerate((-1.0, 0.5)):
        moved = X.copy()
        moved[:, 2] = value
        assert found.individual[:, g] == pytest.approx(net.predict(moved), abs=1e-12)
        assert found.mean[g] == pytest.approx(net.predict(moved).mean(axis=0), abs=1e-12)
    assert (found.column, found.kind, found.mean.shape) == ("x2", "number", (2, 3))
    assert np.array_equal(found.cells, X[:, 2])
    assert repr(found) == "Dependence('x2': 2 values, 7 rows; grid, mean, individual, ...)"
    one = partial_dependence(net, X, "x2", grid=[-1.0, 0.5], output=1)
    assert np.array_equal(one.mean, found.mean[:, 1])
    assert partial_dependence(net, X, 2).grid.tolist() == sorted(X[:, 2].tolist())
    many = RNG.normal(size=(500, 4))
    spread = partial_dependence(net, many, 2, points=11, most_rows=100)
    low, high = np.quantile(spread.cells, [0.05, 0.95])
    assert spread.grid == pytest.approx(np.linspace(low, high, 11))
    assert spread.individual.shape == (100, 11, 3)
    assert np.array_equal(partial_dependence(net, many, 2, n_threads=1).mean,
                          partial_dependence(net, many, 2, n_threads=3).mean)  # fmt: skip
