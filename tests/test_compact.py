"""Compact rows: staircases and one-hot columns by one number a cell, with the mathematics of the dense form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Break, error, reference_gradient, same_bits

import cnn
import cnn_core
from cnn.runtime.compact import CompactRows, Layout, compact
from cnn.runtime.sparse import SparseRows
from cnn.training import loop

Array = np.ndarray[Any, Any]
ENGINES = cnn_core.engines()
# Inputs of each staircase: rows are shared out among the threads (narrow), or units are (wide).
NARROW, WIDE = 9, 1000


def layout(height: int) -> Layout:
    """Three staircases that do not stand in order, one of them of a single input; two one-hot columns; an unused input.
    """
    return Layout(
        2 * height + 15,
        plain=(0, 2 * height + 13),
        stairs=((height + 6, 2 * height + 6), (1, height + 1), (height + 5, height + 6)),
        one_hot=((height + 1, height + 5), (2 * height + 6, 2 * height + 13)),
    )


def parts(n: int, height: int, seed: int = 0) -> dict[str, Array]:
    """Numbers and codes of rows of that layout: heights beyond [0, 1] in the first and the last bins."""
    rng, like = np.random.default_rng(seed), layout(height)
    heights_of = [end - begin for begin, end in like.stairs]
    bins = np.stack([rng.integers(0, one, n) for one in heights_of], axis=1)
    heights = rng.uniform(0, 1, bins.shape)
    heights[bins == 0] = rng.uniform(-1, 1, (bins == 0).sum())
    top = bins == np.array(heights_of) - 1
    heights[top] = rng.uniform(0, 2, top.sum())
    codes = np.stack([rng.integers(-1, end - begin, n) for begin, end in like.one_hot], axis=1)
    return {"plain": rng.normal(size=(n, 2)), "bins": bins, "heights": heights, "codes": codes}


def dense_form(like: Layout, plain: Array, bins: Array, heights: Array, codes: Array) -> Array:
    """By the definition, a cell at a time."""
    X = np.zeros((len(plain), like.n_inputs))
    for row in range(len(X)):
        for value, at in zip(plain[row], like.plain, strict=True):
            X[row, at] = value
        for bin_, height, (begin, _) in zip(bins[row], heights[row], like.stairs, strict=True):
            X[row, begin : begin + bin_] = 1
            X[row, begin + bin_] = height
        for code, (begin, _) in zip(codes[row], like.one_hot, strict=True):
            if code >= 0:
                X[row, begin + code] = 1
    return X


def rows(n: int, height: int, dtype: Any = np.float64, seed: int = 0) -> CompactRows:
    made = compact(layout(height), dtype, **parts(n, height, seed))
    assert isinstance(made, CompactRows)
    return made


def both(n: int, height: int, dtype: Any = np.float64) -> tuple[CompactRows, Array]:
    return rows(n, height, dtype), dense_form(layout(height), **parts(n, height)).astype(dtype)


def network(dtype: str = "float64", **changes: Any) -> cnn.Network:
    layers = [cnn.Dense(37, "gelu", l2=1e-3), cnn.Dropout(0.2), cnn.Dense(18, "tanh"), cnn.Dense(3)]
    return cnn.Network(layers, **{"loss": "cross_entropy", "dtype": dtype, "seed": 1, **changes})


def classes(n: int) -> Array:
    return np.random.default_rng(1).integers(0, 3, n)


def fit(net: cnn.Network, X: Any, y: Any, **changes: Any) -> cnn.Network:
    net.fit(X, y, **{"epochs": 2, "batch_size": 90, "verbose": 0, **changes})
    return net


# The dense form ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("height", [1, NARROW, WIDE])
def test_rows_are_those_of_the_dense_form(height: int, dtype: str) -> None:
    X, dense = both(50, height, np.dtype(dtype))
    assert X.dtype == dtype
    assert X.shape == dense.shape
    np.testing.assert_array_equal(X.to_scipy().toarray(), dense)
    np.testing.assert_array_equal(X[10:20].to_scipy().toarray(), dense[10:20])
    np.testing.assert_array_equal(X[10:20][3:5].to_scipy().toarray(), dense[13:15])
    index = np.array([7, 3, 3, 49])
    np.testing.assert_array_equal(X[index].to_scipy().toarray(), dense[index])
    np.testing.assert_array_equal(X[5:][index[:3]].to_scipy().toarray(), dense[5:][index[:3]])
    assert X[:0].to_scipy().shape == (0, dense.shape[1])
    np.testing.assert_array_equal(X.astype(np.dtype(np.float32)).to_scipy().toarray(), dense.astype(np.float32))


def test_rows_without_staircases_are_sparse_rows() -> None:
    like = Layout(4, plain=(3,), one_hot=((0, 3),))
    X = compact(like, np.float64, plain=[[2.0], [0.0]], codes=np.array([[1], [-1]], np.int8))
    assert type(X) is SparseRows
    np.testing.assert_array_equal(X.to_scipy().toarray(), [[0, 1, 0, 2], [0, 0, 0, 0]])
    assert len(X.values) == 2
    net = cnn.Network([cnn.Dropout(0.5), cnn.Dense(2)], seed=0).build(4)
    assert net.predict(X).shape == (2, 2)


@pytest.mark.parametrize("engine", ENGINES.values(), ids=list(ENGINES))
@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-10), ("float32", 2e-4)])
@pytest.mark.parametrize("height", [NARROW, WIDE])
def test_a_fit_is_that_of_the_dense_form(monkeypatch, engine, dtype: str, bound: float, height: int) -> None:
    monkeypatch.setattr(cnn_core, "engine", engine)
    X, dense = both(203, height, np.dtype(dtype))
    y, weights = classes(203), np.random.default_rng(2).uniform(0.5, 2, 203)
    nets = [fit(network(dtype), x, y, sample_weight=weights, validation_split=0.1, class_weight="balanced", n_threads=n)
            for x, n in ((X, 1), (dense, 2), (X, 2))]  # fmt: skip
    assert nets[0].plan.cut(90).wide == (height == WIDE)
    assert same_bits(nets[0], nets[2])
    np.testing.assert_allclose(nets[0].flat, nets[1].flat, rtol=bound, atol=bound)
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        np.testing.assert_allclose(nets[0].history[name], nets[1].history[name], rtol=bound)
    np.testing.assert_allclose(nets[0].predict(X), nets[0].predict(dense), atol=bound)
    found = [nets[0].evaluate(x, y, weights)["loss"] for x in (X, dense)]
    assert found[0] == pytest.approx(found[1], rel=bound)


@pytest.mark.parametrize("height", [NARROW, WIDE])
@pytest.mark.parametrize("units", [1, 5, 8, 16, 37, 64, 130])
def test_gradient_agrees_with_the_reference(height: int, units: int) -> None:
    X, dense = both(130, height)
    net = cnn.Network([cnn.Dense(units, "tanh", l2=1e-3), cnn.Dense(3)], "cross_entropy", dtype="float64", seed=1)
    net.build(dense.shape[1])
    y = classes(130)
    loss, gradient = net.loss_and_gradient(X, y)
    expected, reference = reference_gradient(net, dense, y)
    assert loss == pytest.approx(expected, rel=1e-12)
    assert all(error(gradient[name], reference[name]) < 1e-11 for name in reference)


@pytest.mark.parametrize("height", [NARROW, WIDE])
def test_more_rows_than_are_sorted_at_a_time(height: int) -> None:
    X, dense = both(4096 + 77, height)
    net, y = network().build(dense.shape[1]), classes(len(dense))
    _, gradient = net.loss_and_gradient(X, y)
    _, expected = net.loss_and_gradient(dense, y)
    assert all(error(gradient[name], expected[name]) < 1e-12 for name in expected)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("n", [0, 1, 7, 300])
def test_forward_and_backward(n: int, training: bool) -> None:
    X, dense = both(n, NARROW)
    net, other = (network().build(dense.shape[1]) for _ in range(2))
    out, expected = net.forward(X, training=training), other.forward(dense, training=training)
    np.testing.assert_allclose(out, expected, atol=1e-12)
    assert net.backward(out) is None
    other.backward(out)
    for name, gradient in net.gradients.items():
        np.testing.assert_allclose(gradient, other.gradients[name], atol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("height", [NARROW, WIDE])
def test_same_bits_for_every_number_of_threads(dtype: str, height: int) -> None:
    X, y = rows(500, height, np.dtype(dtype)), classes(500)
    counts = (1, 2, 3, 4, 8)
    nets = [fit(network(dtype), X, y, n_threads=n, batch_size=200) for n in counts]
    assert all(same_bits(nets[0], net) for net in nets[1:])
    assert len({net.predict(X, n_threads=n).tobytes() for net, n in zip(nets, counts, strict=True)}) == 1
    assert len({repr(nets[0].loss_and_gradient(X, y, n_threads=n)) for n in counts}) == 1
    assert len({nets[0].forward(X, n_threads=n).tobytes() for n in counts}) == 1


@pytest.mark.parametrize("height", [NARROW, WIDE])
def test_predict(height: int) -> None:
    X, y = rows(600, height), classes(600)
    net = fit(network(), X, y, epochs=1)
    p = net.predict(X)
    some = [net.predict(X[i : i + 1]) for i in range(5)]
    np.testing.assert_array_equal(p, np.concatenate([*some, net.predict(X[5:])]))
    np.testing.assert_array_equal(net.predict_classes(X), p.argmax(axis=1))
    np.testing.assert_array_equal(net.layer_outputs(X)[0], net.layer_outputs(X[:600])[0])
    out = np.empty_like(p)
    assert net.predict(X, out=out) is out
    np.testing.assert_array_equal(out, p)
    assert net.predict(X[:0]).shape == (0, 3)


# Many networks, and what goes on later -------------------------------------------------------------------------------


@pytest.mark.parametrize("height", [NARROW, WIDE])
def test_many_networks_have_the_bits_of_fits_alone(height: int) -> None:
    X, dense = both(300, height)
    y = classes(300)
    nets = [network(seed=seed) for seed in range(3)]
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 90, "verbose": 0, "validation_split": 0.2}
    cnn.train_many(nets, X, y, **settings)
    alone = [network(seed=seed) for seed in range(3)]
    for net in alone:
        net.fit(X, y, **settings)
    assert all(same_bits(a, b) for a, b in zip(nets, alone, strict=True))
    assert [net.history["val_loss"] for net in nets] == [net.history["val_loss"] for net in alone]
    # The same rows for all, and several kinds of rows.
    for found, net in zip(cnn.predict_many(nets, X), nets, strict=True):
        np.testing.assert_array_equal(found, net.predict(X))
    for found, net, x in zip(cnn.predict_many(nets, [X, dense, X[7:]]), nets, (X, dense, X[7:]), strict=True):
        np.testing.assert_array_equal(found, net.predict(x))
    some = np.arange(0, 300, 2)
    other = cnn.train_many([network()], X, y, rows=[some], **settings)
    assert len(other) == 1


def test_held_out_rows_see_the_weights_of_their_epoch() -> None:
    X, y = rows(400, NARROW), classes(400)
    net = network()
    fit(net, X[:300], y[:300], epochs=3, validation_data=(X[300:], y[300:]))
    assert net.history["val_loss"][-1] == net.evaluate(X[300:], y[300:])["loss"]


def test_a_fit_goes_on_to_the_same_bits(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(loop, "_PIECE_SECONDS", 1e-9)  # a step at a time
    X, y = rows(300, NARROW), classes(300)
    expected = fit(network(), X, y, epochs=4, batch_size=30)
    keep = cnn.Checkpoint(tmp_path / "run", 1, "steps")
    with pytest.raises(KeyboardInterrupt):
        fit(network(), X, y, epochs=4, batch_size=30, callbacks=[keep, Break(13)])
    assert X.stairs is not None
    shorter = CompactRows(X.indptr, X.indices, X.values, X.n_inputs, X.stairs[:2])
    plain = SparseRows(X.indptr, X.indices, X.values, X.n_inputs)
    for changed in (shorter, plain, X.to_scipy()):
        with pytest.raises(ValueError, match="other training data"):
            fit(network(), changed, y, epochs=4, batch_size=30, resume=tmp_path / "run")
    assert same_bits(fit(network(), X, y, epochs=4, batch_size=30, resume=tmp_path / "run"), expected)


def test_the_rest_of_the_package_takes_the_dense_form() -> None:
    X, dense = both(200, NARROW)
    y = classes(200)
    nets = [fit(network(), x, y) for x in (X, dense)]
    found, expected = (cnn.diagnose(net, x, y) for net, x in zip(nets, (X, dense), strict=True))
    weights = [[layer.weight_gradient for layer in one.layers] for one in (found, expected)]
    assert weights[0] == pytest.approx(weights[1])
    assert cnn.gradient_check(nets[0], X, y).error < 1e-4


# Bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", [cnn.Dropout(0.5), cnn.Scale()], ids=["dropout", "scale"])
def test_other_first_layers(below: Any) -> None:
    X, y = rows(30, NARROW), classes(30)
    net = cnn.Network([below, cnn.Dense(3)], "cross_entropy", dtype="float64", seed=0).build(X.n_inputs)
    before = net.flat.tobytes()
    for call in (lambda: net.fit(X, y, verbose=0), lambda: net.predict(X), lambda: net.evaluate(X, y),
                 lambda: net.loss_and_gradient(X, y), lambda: net.forward(X)):  # fmt: skip
        with pytest.raises(ValueError, match=r"compact rows need a cnn\.Dense as the first layer"):
            call()
    assert net.flat.tobytes() == before
    net.predict(X.to_scipy().toarray())


def test_other_inputs_and_streams() -> None:
    X, y = rows(30, NARROW), classes(30)
    with pytest.raises(ValueError, match="X has 33 columns, but the network takes 12 inputs"):
        network().build(12).predict(X)
    with pytest.raises(TypeError, match="X is rows that have been checked, which are in memory: leave stream out"):
        network().fit(X, y, stream=True, verbose=0)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"plain": (5,)}, r"inputs 5 \.\. 5 of a column are not among 0 \.\. 4"),
        ({"stairs": ((3, 3),)}, r"inputs 3 \.\. 2 of a column are not among"),
        ({"one_hot": ((-1, 3),)}, r"inputs -1 \.\. 2 of a column are not among"),
        ({"plain": (1,), "stairs": ((0, 2),)}, r"inputs 0 \.\. 1 of a column belong to another one, too"),
        ({"n_inputs": 5000, "stairs": ((0, 4097),)}, "a staircase has at most 4096 inputs, got 4097"),
    ],
)
def test_bad_layouts(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Layout(**{"n_inputs": 5, **changes})


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"plain": np.zeros((3, 2))}, ValueError, "all parts of compact rows must have as many rows, got"),
        ({"plain": None}, ValueError, r"plain must be of shape \(4, 2\), got None"),
        ({"heights": np.zeros((4, 2))}, ValueError, r"heights must be of shape \(4, 3\), got \(4, 2\)"),
        ({"codes": np.zeros((4, 2))}, TypeError, "codes must be integers, got float64"),
        ({"plain": np.full((4, 2), np.nan)}, ValueError, "plain holds nan at row 0, column 0"),
        ({"heights": np.full((4, 3), "a")}, TypeError, "heights must hold numbers"),
        ({"bins": np.array([[0, 0, 0]] * 3 + [[0, 9, 0]])}, ValueError,
         r"bins must be 0 \.\. 8 in column 1, got 9 in row 3"),
        ({"bins": np.full((4, 3), -1)}, ValueError, r"bins must be 0 \.\. 8 in column 1, got -1 in row 0"),
        ({"codes": np.full((4, 2), 4)}, ValueError, r"codes must be -1 \.\. 3 in column 0, got 4 in row 0"),
    ],
)  # fmt: skip
def test_bad_parts(changes: dict[str, Any], kind: type[Exception], text: str) -> None:
    given = parts(4, NARROW) | changes
    kept = {name: None if array is None else array.copy() for name, array in given.items()}
    with pytest.raises(kind, match=text):
        compact(layout(NARROW), np.float64, **given)
    for name, array in kept.items():
        np.testing.assert_array_equal(given[name], array)
