"""Prediction: few rows and many give the same bits and the reference's numbers, on every engine; `out`; threads."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import scipy.sparse
from helpers import ACTIVATIONS, BLAS, LOSSES, error, reference_layers
from hypothesis import given
from hypothesis import strategies as st

import cnn
import cnn_core
from cnn.runtime import passes, products

ENGINES = cnn_core.engines()
Array = np.ndarray[Any, Any]


def network(sizes: list[int], activation: str = "tanh", loss: str = "mse", **options: Any) -> cnn.Network:
    layers = [cnn.Dense(units, activation, bias_initializer="normal") for units in sizes[1:-1]]
    return cnn.Network([*layers, cnn.Dense(sizes[-1])], loss, seed=1, **options).build(sizes[0])


def rows(net: cnn.Network, n: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(n, net.n_inputs)).astype(net.dtype)


def in_tiles(net: cnn.Network, X: Array, engine: Any, capacity: int = 64, n_threads: int = 1) -> Array:
    """The way of many rows, for any number of them."""
    workspace = net.plan.tiles.workspace.copy()
    workspace["capacity"] = capacity
    out = np.empty((len(X), net.n_outputs), net.dtype)
    predictor = engine.Predictor(net.plan.tiles.layers, workspace, net.flat, net.loss.kind)
    predictor.by_rows = False
    assert predictor.many(X, out, True, n_threads)
    return out


def few(net: cnn.Network, X: Array, engine: Any) -> Array:
    tiles = net.plan.tiles
    out = engine.Predictor(tiles.layers, tiles.workspace, net.flat, net.loss.kind).few(X, None, False)
    assert out is not None
    return out


def same(a: Array, b: Array) -> bool:
    """The same bits; numbers alike where BLAS computes products, for it adds in an order of its own."""
    if BLAS:
        bound = 1e-5 if a.dtype == np.float32 else 1e-13
        return np.allclose(a, b, rtol=bound, atol=bound)
    return a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Any:
    return ENGINES[request.param]


# Two ways, the same bits ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_each_activation(engine: Any, activation: str, dtype: str) -> None:
    net = network([5, 21, 18, 3], activation, dtype=dtype)
    X = 4 * rows(net, 75)
    whole = in_tiles(net, X, engine)
    for begin, n in ((0, 1), (1, 2), (7, 3), (30, 8), (74, 1)):
        assert same(few(net, X[begin : begin + n], engine), whole[begin : begin + n]), (begin, n)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("loss", "outputs"), [
    (loss, n) for loss in LOSSES for n in (1, 2, 7, 16, 33, 100) if (loss, n) != ("cross_entropy", 1)
])  # fmt: skip
def test_each_link(engine: Any, loss: str, outputs: int, dtype: str) -> None:
    net = network([6, 9, reference.n_outputs(loss, outputs)], loss=loss, dtype=dtype)
    net.layers[-1].weights *= 5
    X = rows(net, 20)
    whole = in_tiles(net, X, engine)
    assert same(np.concatenate([few(net, X[i : i + 1], engine) for i in range(20)]), whole)
    assert same(few(net, X[3:9], engine), whole[3:9])
    if loss == "cross_entropy":
        assert np.allclose(whole.sum(axis=1), 1)


@given(
    sizes=st.lists(st.integers(1, 70), min_size=2, max_size=4), n=st.integers(1, 140), bias=st.booleans(),
    dropout=st.booleans(), double=st.booleans(), name=st.sampled_from(sorted(ENGINES)), data=st.data(),
)  # fmt: skip
def test_any_shape(sizes: list[int], n: int, bias: bool, dropout: bool, double: bool, name: str, data: Any) -> None:
    layers: list[Any] = [cnn.Dense(units, "gelu", use_bias=bias) for units in sizes[1:]]
    if dropout:
        layers = [cnn.Dropout(0.5), *layers[:-1], cnn.Dropout(0.5), cnn.Dropout(0.1), layers[-1]]
    net = cnn.Network(layers, dtype="float64" if double else "float32", seed=2).build(sizes[0])
    X = rows(net, n)
    whole = in_tiles(net, X, ENGINES[name], capacity=data.draw(st.sampled_from([16, 64, 256])),
                     n_threads=data.draw(st.sampled_from([1, 2, 3])))  # fmt: skip
    begin = data.draw(st.integers(0, n - 1))
    end = min(n, begin + data.draw(st.integers(1, 8)))
    assert same(few(net, X[begin:end], ENGINES[name]), whole[begin:end])
    expected = X.astype(np.float64)
    for layer in reference_layers(net):
        if "W" in layer:
            z = expected @ layer["W"] + (0 if layer["b"] is None else layer["b"])
            expected = reference.ACTIVATIONS[layer["activation"]][0](z, layer["p"])
    assert error(whole, expected) < (1e-13 if double else 1e-5)


@pytest.mark.parametrize("sizes", [[300, 129, 5], [784, 512, 256, 10], [10, 1], [1, 1]], ids=str)
def test_predict_gives_a_row_the_same_bits_in_any_company(sizes: list[int]) -> None:
    net = network(sizes)
    X = rows(net, 700)
    whole = net.predict(X)
    assert same(whole, in_tiles(net, X, cnn_core.engine))
    for n in (1, 2, 8, 9, 33, 300):
        assert same(net.predict(X[:n]), whole[:n]), n
        assert same(net.predict(X[-n:]), whole[-n:]), n
    for n_threads in (1, 2, 3, 8):
        assert net.predict(X, n_threads=n_threads).tobytes() == whole.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [9, 64 * 3, 64 * 11 + 5])
def test_large_networks_take_several_tiles_at_a_time(engine: Any, n: int, dtype: str) -> None:
    layers = [cnn.Dropout(0.5), cnn.Dense(757, "elu"), cnn.Dropout(0.5), cnn.Dense(3)]
    net = cnn.Network(layers, dtype=dtype, seed=1).build(700)
    X = rows(net, n)
    X[np.random.default_rng(1).random(X.shape) < 0.9] = 0
    whole = in_tiles(net, X, engine)
    first, second = (layer for layer in reference_layers(net) if "W" in layer)
    expected = reference.ACTIVATIONS["elu"][0](X.astype(float) @ first["W"] + first["b"], first["p"])
    expected = expected @ second["W"] + second["b"]
    assert error(whole, expected) < (1e-13 if dtype == "float64" else 1e-5)
    for n_threads in (2, 3):
        assert same(in_tiles(net, X, engine, n_threads=n_threads), whole)
    for begin in range(0, n - 8, 61):
        assert same(few(net, X[begin : begin + 8], engine), whole[begin : begin + 8])
    assert same(net.predict(scipy.sparse.csr_array(X)), net.predict(X))
    X[-1, 0] = np.nan
    with pytest.raises(ValueError, match=f"X holds nan at row {n - 1}, column 0"):
        net.predict(X)


@pytest.mark.skipif(BLAS, reason="BLAS reads the weights in its own way")
def test_every_call_has_as_many_tiles_as_are_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their arithmetic is more than that of a piece."""
    net = network([1024, 2048, 2000])
    pieces = []

    class Watched:
        few, at_once = net.predictor.few, net.predictor.at_once
        parts, bytes = net.predictor.parts, net.predictor.bytes

        @staticmethod
        def many(X: Array, *_: Any, **__: Any) -> bool:
            pieces.append(len(X))
            return True

    assert Watched.at_once == 4  # 64 rows of two buffers of 2,048 numbers are a quarter of what L2 caches hold
    assert network([784, 300, 10]).predictor.at_once == 1
    monkeypatch.setattr(net, "predictor", Watched)
    net.predict(rows(net, 1000), n_threads=2)
    assert pieces == [512, 488]


@pytest.mark.parametrize("choice", ["own", "blas"])
def test_the_last_piece_goes_the_way_of_all(choice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """BLAS does not predict a few rows, so where threads cut a call must not decide it: with one a piece is 64 rows."""
    monkeypatch.setattr(passes, "_PIECE_FLOPS", 1e6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "_choice", products.chosen())  # put back
        cnn.set_products(choice)
        net = network([64, 1024, 3])
    for n in (67, 133, 261):
        X = rows(net, n)
        expected = net.predict(X, n_threads=1)
        for n_threads in (2, 3, 4):
            assert np.array_equal(net.predict(X, n_threads=n_threads), expected)


def test_every_way_of_giving_the_same_rows() -> None:
    net = network([6, 20, 3])
    for n in (1, 3, 50, 2000):
        X = rows(net, n)
        expected = net.predict(X)
        wide = np.zeros((n, 12), np.float32)
        wide[:, ::2] = X
        frozen = X.copy()
        frozen.flags.writeable = False
        swapped = X.astype(X.dtype.newbyteorder())
        unaligned = np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(X.shape)
        others = (X.astype(np.float64), np.asfortranarray(X), wide[:, ::2], frozen, swapped, unaligned, X.tolist(),
                  X.view(np.recarray), np.ma.array(X), X[::-1][::-1])  # fmt: skip
        for other in others:
            y = net.predict(other)
            assert type(y) is np.ndarray
            assert y.tobytes() == expected.tobytes()
    assert net.predict(np.empty((0, 6))).shape == (0, 3)


# The present weights --------------------------------------------------------------------------------------------------

def test_predict_sees_every_change_of_the_weights() -> None:
    net = network([3, 4, 1])
    X = rows(net, 2)
    seen = [net.predict(X)]

    def changed() -> None:
        y = net.predict(X)
        assert not np.array_equal(y, seen[-1])
        assert np.array_equal(y, in_tiles(net, X, cnn_core.engine)) or BLAS
        seen.append(y)

    net.layers[0].weights[0, 0] += 1
    changed()
    net.layers[-1].biases = [3.0]
    changed()
    net.set_weights({name: 2 * w for name, w in net.get_weights().items()})
    changed()
    twin = copy.deepcopy(net), pickle.loads(pickle.dumps(net)), copy.copy(net)
    before = net.predict(X)
    net.fit(X, np.ones((2, 1)), epochs=1, verbose=0)
    changed()
    for other in twin:
        assert np.array_equal(other.predict(X), before)
        other.layers[0].weights *= 3
        assert not np.array_equal(other.predict(X), before)
    assert np.array_equal(net.predict(X), seen[-1])


def test_a_network_that_is_not_built() -> None:
    net = cnn.Network([cnn.Dense(2)], seed=0)
    for unbuilt in (net, copy.deepcopy(net)):
        with pytest.raises(cnn.NotBuiltError):
            unbuilt.predict(np.ones((1, 3)))
    assert net.build(3).predict(np.ones((1, 3))).shape == (1, 2)


@pytest.mark.parametrize("n", [1, 300])
def test_one_dimension_after_a_fit_to_one(n: int) -> None:
    net = network([3, 4, 1])
    X = rows(net, n)
    assert net.predict(X).shape == (n, 1)
    net.fit(X, X[:, 0], epochs=1, verbose=0)
    y = net.predict(X)
    assert y.shape == (n,)
    out = np.full(n, np.nan, np.float32)
    assert net.predict(X, out=out) is out
    assert out.tobytes() == y.tobytes()
    with pytest.raises(ValueError, match=rf"shape \({n},\), got shape \({n}, 1\)"):
        net.predict(X, out=out[:, None])


# out ------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("n", [1, 8, 9, 3000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_out_is_filled_and_returned(n: int, dtype: str, tmp_path: Path) -> None:
    net = network([4, 30, 2], dtype=dtype, loss="cross_entropy")
    X = rows(net, n)
    mapped = np.memmap(tmp_path / "out", dtype, "w+", shape=(n, 2))
    for out in (np.empty((n, 2), dtype), mapped):
        assert net.predict(X, out=out) is out
        assert out.tobytes() == net.predict(X).tobytes()
        out[:] = 0
        assert net.predict(X.tolist(), out=out, n_threads=2) is out
        assert out.tobytes() == net.predict(X).tobytes()


@pytest.mark.parametrize("n", [1, 300])
@pytest.mark.parametrize(("make", "kind", "text"), [
    (lambda n: np.empty((n + 1, 2), np.float32), ValueError, r"float32 and shape \(\d+, 2\), got shape \(\d+, 2\)"),
    (lambda n: np.empty(n, np.float32), ValueError, r"got shape \(\d+,\)"),
    (lambda n: np.empty((n, 2)), TypeError, "got dtype float64"),
    (lambda n: np.empty((n, 2), np.dtype(np.float32).newbyteorder()), TypeError, "got dtype [<>]f4"),
    (lambda n: [[0.0, 0.0]] * n, TypeError, "out must be a writeable, C-contiguous array of float32 .*got list"),
    (lambda n: np.empty((n, 4), np.float32)[:, ::2], ValueError, "got one that is not C-contiguous"),
    (lambda n: np.frombuffer(bytes(8 * n), np.float32).reshape(n, 2), ValueError, "got one that is read-only"),
    (lambda n: np.empty(8 * n + 1, np.uint8)[1:].view(np.float32).reshape(n, 2), ValueError, "one that is not aligned"),
], ids=["rows", "dimensions", "float64", "byte order", "list", "strided", "read-only", "not aligned"])  # fmt: skip
def test_out_that_does_not_fit(n: int, make: Any, kind: type[Exception], text: str) -> None:
    net = network([4, 5, 2])
    out = make(n)
    if n == 1 and isinstance(out, np.ndarray) and out.flags.c_contiguous and "strided" in text:
        pytest.skip("one row of two is contiguous")
    with pytest.raises(kind, match=text):
        net.predict(rows(net, n), out=out)


@pytest.mark.parametrize("n", [1, 8, 1000])
def test_out_may_be_the_input_and_overlap_it(n: int) -> None:
    net = network([3, 3])
    memory = np.empty(3 * n + 2, np.float32)
    for shift in (0, 1, 2):
        X, out = memory[: 3 * n].reshape(n, 3), memory[shift : 3 * n + shift].reshape(n, 3)
        X[:] = rows(net, n)
        expected = net.predict(X.copy())
        assert np.array_equal(net.predict(X, out=out), expected)


@pytest.mark.parametrize("n", [1, 4, 500, 20_000])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_not_finite_is_refused_and_out_is_left_alone(n: int, bad: float, dtype: str) -> None:
    net = network([4, 2, 1], dtype=dtype)
    X = rows(net, n)
    X[n // 2, 3] = bad
    out = np.full((n, 1), 7, dtype)
    for options in ({}, {"out": out}, {"n_threads": 2}):
        with pytest.raises(ValueError, match=f"X holds {bad} at row {n // 2}, column 3"):
            net.predict(X, **options)
    assert (out == 7).all()


def test_large_finite_numbers_are_not_refused() -> None:
    net = network([4, 2, 1])
    for n in (1, 100):
        assert net.predict(np.full((n, 4), np.finfo(np.float32).max)).shape == (n, 1)


@pytest.mark.parametrize("n", [1, 100])
def test_other_arguments_are_checked_for_any_number_of_rows(n: int) -> None:
    net = network([4, 2, 1])
    with pytest.raises(ValueError, match="n_threads must be an integer >= 1"):
        net.predict(rows(net, n), n_threads=0)
    with pytest.raises(ValueError, match="X has 3 columns, but the network takes 4 inputs"):
        net.predict(np.ones((n, 3), np.float32))
