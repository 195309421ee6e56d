"""Embeddings of numbers: by hand, how they begin, and that their edges stay; test_layers.py has the rest."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

import cnn

X = np.random.default_rng(0).normal(size=(40, 5))


def network(*layers: cnn.layers.Layer, dtype: str = "float64", n: int = 5, **how: object) -> cnn.Network:
    return cnn.Network([*layers, cnn.Dense(2)], dtype=dtype, seed=0, **how).build(n)


# NumericEmbedding -----------------------------------------------------------------------------------------------------


def test_an_embedding_by_hand() -> None:
    net = network(cnn.NumericEmbedding(1, cosines=2, size=3), n=2)
    values = {"frequencies": [[1, 0]], "phases": [[0, np.pi / 2]], "weights": [[[1, 2], [3, 4]]], "biases": [[10, 20]]}
    for name, value in values.items():
        net.parameters[f"layers.0.{name}"][...] = value
    found = net.layer_outputs([[0.25, 7.0], [0.5, 8.0], [1.0, 9.0]])[0]
    np.testing.assert_allclose(found, [[10, 20, 0.25, 7], [9, 17, 0.5, 8], [11, 23, 1, 9]], atol=1e-13)


def test_how_an_embedding_begins() -> None:
    net = network(cnn.NumericEmbedding(cosines=400, size=9, sigma=3.0), n=20)
    w, b, v, c = (net.parameters[f"layers.0.{name}"] for name in ("frequencies", "phases", "weights", "biases"))
    assert w.std() == pytest.approx(3, rel=0.05)
    for uniform, bound in ((b, np.pi), (v, 0.05), (c, 0.05)):
        assert 0.95 * bound < abs(uniform).max() <= bound
    assert abs(v.mean()) < 0.001


def test_an_embedding_learns_what_a_dense_layer_can_not() -> None:
    x = np.random.default_rng(0).uniform(-2, 2, (800, 1))
    y = np.sin(9 * x[:, 0])
    losses = {}
    for name, below in (("dense", []), ("embedding", [cnn.NumericEmbedding(sigma=1.0)])):
        layers = [*below, cnn.Dense(32, "relu"), cnn.Dense(1)]
        losses[name] = cnn.Network(layers, optimizer=cnn.Adam(0.01), seed=0).fit(x, y, epochs=40, verbose=0).loss[-1]
    assert losses["embedding"] < 0.05 * losses["dense"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cosines_of_any_number_are_right(dtype: str) -> None:
    """Against mpmath's, of the same turns: small and huge ones, quarters of a turn, and what is between."""
    rng = np.random.default_rng(0)
    turns = np.concatenate([rng.uniform(-0.5, 0.5, 3000), np.arange(-16, 17) / 8, rng.uniform(-1000, 1000, 1000),
                            2.0 ** np.arange(-60, 100), -(2.0 ** np.arange(20, 60)) - 0.25])  # fmt: skip
    turns = turns.astype(dtype)
    net = network(cnn.NumericEmbedding(1, 1, 2), dtype=dtype, n=1)
    for name, value in (("frequencies", 1), ("weights", 1), ("biases", 0)):
        net.parameters[f"layers.0.{name}"][...] = value
    unit = np.finfo(dtype).eps
    for phase, f in ((0, mpmath.cospi), (-np.pi / 2, mpmath.sinpi)):
        expected = np.array([float(f(2 * float(t))) for t in turns])
        net.parameters["layers.0.phases"][...] = phase
        found = net.layer_outputs(turns[:, None])[0][:, 0]
        # A phase is added to the turns, which rounds them.
        bound = 2 * unit + (0 if phase == 0 else 4 * unit * np.maximum(abs(turns.astype(float)), 1))
        assert (abs(found - expected) <= bound).all()


# PiecewiseEmbedding ---------------------------------------------------------------------------------------------------


def test_pieces_by_hand() -> None:
    net = network(cnn.PiecewiseEmbedding([[0, 1, 3]], size=2, activation="identity"), n=2)
    net.layers[0].weights[...], net.layers[0].biases[...] = [[[1, 10], [100, 1000]]], [[0, 5]]
    found = net.layer_outputs([[-0.5, 7.0], [-9, 7], [0.25, 7], [2, 7], [5, 7], [99, 7]])[0]
    expected = [[-0.5, -45], [-1, -95], [0.25, 30], [6, 605], [21, 2105], [21, 2105]]
    np.testing.assert_allclose(found, [[*row, 7] for row in expected], atol=1e-13)


def test_edges_stay_as_they_are() -> None:
    layer = cnn.PiecewiseEmbedding.of(X, bins=7, size=3)
    net = network(layer, optimizer=cnn.AdamW(0.1, weight_decay=0.5, decay_biases=True, clip_norm=0.1))
    before = net.get_weights()
    net.fit(X, X[:, :2], epochs=20, batch_size=8, verbose=0)
    for name in ("edges", "inverses"):
        assert np.array_equal(net.parameters[f"layers.0.{name}"], before[f"layers.0.{name}"])
    assert not np.array_equal(net.layers[0].weights, before["layers.0.weights"])
    np.testing.assert_allclose(before["layers.0.edges"][1], np.quantile(X[:, 1], np.arange(7) / 7))
    assert cnn.gradient_check(net, X, X[:, :2]).error < 1e-6


def test_quantiles_that_are_alike_are_one_edge() -> None:
    rows = np.array([[0.0, 1], [0, 2], [0, 3], [1, 4]])
    assert cnn.PiecewiseEmbedding.of(rows, bins=4).edges == ((0, 0.25, 1), (1, 1.75, 2.5, 3.25, 4))


@pytest.mark.parametrize(("bins", "size"), [(1, 1), (2, 17), (127, 15), (128, 16), (129, 16), (300, 33)])
@pytest.mark.parametrize("rows", [1, 63, 64, 65, 200])
def test_bins_are_looked_up_as_the_formula_says(bins: int, size: int, rows: int) -> None:
    """Output and gradients of V, c and x beside sums over all bins, around every block of bins, units and rows."""
    rng = np.random.default_rng(bins + rows)
    edges = [np.cumsum(rng.uniform(0.1, 1, n + 1)) for n in (bins, max(bins // 2, 1))]
    x = np.column_stack([rng.uniform(e[0] - 1, e[-1] + 1, rows) for e in edges] + [rng.normal(size=rows)])
    x[0, 0] = edges[0][bins // 2]  # at an edge
    layer = cnn.PiecewiseEmbedding([e.tolist() for e in edges], size, activation="tanh")
    net = cnn.Network([layer, cnn.Dense(2)], dtype="float64", seed=0).build(3)
    out = net.forward(x)
    V, c = net.layers[0].weights, net.layers[0].biases
    dout, W = rng.normal(size=out.shape), net.layers[1].weights
    dx, gradient, delta = net.backward(dout), net.gradients, dout @ W.T
    expected, slope = [], np.zeros((rows, 3))
    slope[:, 2] = delta[:, -1]
    for k, e in enumerate(edges):
        last = len(e) - 2
        z = (x[:, k, None] - e[:-1]) / np.diff(e)
        low, high = np.where(np.arange(last + 1) == 0, -1.0, 0.0), np.where(np.arange(last + 1) == last, 2.0, 1.0)
        f = np.tanh(np.clip(z, low, high) @ V[k, :, : last + 1].T + c[k])
        expected.append(f)
        de = delta[:, k * size : (k + 1) * size] * (1 - f * f)
        np.testing.assert_allclose(gradient["layers.0.weights"][k, :, : last + 1], de.T @ np.clip(z, low, high),
                                   rtol=1e-9, atol=1e-9)  # fmt: skip
        np.testing.assert_allclose(gradient["layers.0.biases"][k], de.sum(axis=0), rtol=1e-9, atol=1e-9)
        slope[:, k] = ((de @ V[k, :, : last + 1]) * ((z > low) & (z < high)) / np.diff(e)).sum(axis=1)
    np.testing.assert_allclose(out, np.hstack([*expected, x[:, 2:]]) @ W, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(dx[1:], slope[1:], rtol=1e-9, atol=1e-9)  # of row 0 the slope jumps
