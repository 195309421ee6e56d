"""Sparse X: the dense mathematics at the cost of the non-zeros, in any format, and no position that is not there."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import BLAS, Break, error, reference_gradient, same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import cnn
import cnn_core
from cnn.runtime import data
from cnn.runtime.sparse import SparseRows, features
from cnn.training import loop

ENGINES = cnn_core.engines()
FORMATS = ("csr", "csc", "coo", "lil", "dok", "bsr", "dia")
# Inputs of the first layer: rows are shared out (narrow), or units are (wide); 37 units end in all parts of a vector.
NARROW, WIDE = 40, 2500


def rows(n: int, columns: int, seed: int = 0, dtype: Any = np.float64, share: float = 0.1) -> Any:
    rng = np.random.default_rng(seed)
    X = sparse.random_array((n, columns), density=share, format="csr", rng=rng, dtype=np.float64)
    X.data[:] = rng.normal(size=X.nnz)
    return X.astype(dtype)


def network(dtype: str = "float64", below: float = 0.0, **changes: Any) -> cnn.Network:
    layers = [cnn.Dropout(below)] if below else []
    layers += [cnn.Dense(37, "gelu", l2=1e-3), cnn.Dropout(0.2), cnn.Dense(18, "tanh"), cnn.Dense(3)]
    return cnn.Network(layers, **{"loss": "cross_entropy", "dtype": dtype, "seed": 1, **changes})


def fit(net: cnn.Network, X: Any, y: Any, **changes: Any) -> cnn.Network:
    net.fit(X, y, **{"epochs": 2, "batch_size": 90, "verbose": 0, **changes})
    return net


@pytest.mark.parametrize("engine", ENGINES.values(), ids=list(ENGINES))
@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-10), ("float32", 2e-4)])
@pytest.mark.parametrize("below", [0.0, 0.3], ids=["", "dropout below"])
@pytest.mark.parametrize("columns", [NARROW, WIDE])
def test_a_fit_is_that_of_the_dense_array(
    monkeypatch, engine, dtype: str, bound: float, below: float, columns: int
) -> None:
    monkeypatch.setattr(cnn_core, "engine", engine)
    X, y = rows(203, columns), np.random.default_rng(1).integers(0, 3, 203)
    weights = np.random.default_rng(2).uniform(0.5, 2, 203)
    nets = [fit(network(dtype, below), x, y, sample_weight=weights, validation_split=0.1, class_weight="balanced")
            for x in (X, X.toarray())]  # fmt: skip
    assert nets[0].plan.cut(90).wide == (columns == WIDE)
    np.testing.assert_allclose(nets[0].flat, nets[1].flat, rtol=bound, atol=bound)
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        np.testing.assert_allclose(nets[0].history[name], nets[1].history[name], rtol=bound)
    np.testing.assert_allclose(nets[0].predict(X), nets[0].predict(X.toarray()), atol=bound)
    found = [nets[0].evaluate(x, y, weights)["loss"] for x in (X, X.toarray())]
    assert found[0] == pytest.approx(found[1], rel=bound)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("columns", [NARROW, WIDE])
def test_same_bits_for_every_number_of_threads(dtype: str, columns: int) -> None:
    X, y = rows(500, columns), np.random.default_rng(1).integers(0, 3, 500)
    nets = [fit(network(dtype, 0.2), X, y, n_threads=n, batch_size=200) for n in (1, 2, 3, 4, 8)]
    assert all(same_bits(nets[0], net) for net in nets[1:])
    assert len({net.predict(X, n_threads=n).tobytes() for net, n in zip(nets, (1, 2, 3, 4, 8), strict=True)}) == 1
    assert len({repr(nets[0].loss_and_gradient(X, y, n_threads=n)) for n in (1, 2, 3, 4, 8)}) == 1


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("columns", [NARROW, WIDE])
def test_gradient_agrees_with_the_reference(columns: int, training: bool) -> None:
    X, y = rows(130, columns), np.random.default_rng(1).integers(0, 3, 130)
    X.data[X.indices % 7 == 3] = 0
    X.eliminate_zeros()
    net = network(below=0.3).build(columns)
    loss, gradient = net.loss_and_gradient(X, y, training=training)
    expected, reference = reference_gradient(net, X.toarray(), y, training=training)
    assert loss == pytest.approx(expected, rel=1e-12)
    assert all(error(gradient[name], reference[name]) < 1e-11 for name in reference)
    # Where no row has a number there is no gradient but the penalty's.
    empty = np.flatnonzero(abs(X).sum(axis=0) == 0)
    assert len(empty)
    np.testing.assert_array_equal(gradient["layers.1.weights"][empty], 2e-3 * net.layers[1].weights[empty])


def test_masks_of_columns_beyond_65536_are_their_own() -> None:
    """The mask of column u once was that of column u + 65,536."""
    n, columns = 64, 3 * 65536
    X = sparse.csr_array(np.ones((n, 2), np.float32))
    X = sparse.csr_array((X.data, np.tile([5, 5 + 65536], n), X.indptr), shape=(n, columns))
    net = cnn.Network([cnn.Dropout(0.5), cnn.Dense(2)], seed=0).build(columns)
    weights = np.zeros((columns, 2), np.float32)
    weights[5], weights[5 + 65536] = (1, 0), (0, 1)
    net.set_weights({"layers.1.weights": weights, "layers.1.biases": np.zeros(2)})
    out = net.forward(X, training=True)
    assert set(np.unique(out)) == {0.0, 2.0}
    assert 10 < (out[:, 0] != out[:, 1]).sum() < 54


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("n", [1, 7, 300])
def test_forward_and_backward(n: int, training: bool) -> None:
    X = rows(n, NARROW)
    net, other = (network(below=0.3).build(NARROW) for _ in range(2))
    out, expected = net.forward(X, training=training), other.forward(X.toarray(), training=training)
    np.testing.assert_allclose(out, expected, atol=1e-12)
    assert net.backward(out) is None
    other.backward(out)
    for name, gradient in net.gradients.items():
        np.testing.assert_allclose(gradient, other.gradients[name], atol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_predict(dtype: str, tmp_path: Path) -> None:
    X, y = rows(1000, NARROW, dtype=dtype), np.random.default_rng(1).integers(0, 3, 1000)
    net = fit(network(dtype), X, y)
    p = net.predict(X)
    parts = np.concatenate([net.predict(X[[i]]) for i in range(20)] + [net.predict(X[20:])])
    if BLAS:  # which sums in an order of its own for each number of rows
        bound = 1e-5 if dtype == "float32" else 1e-13
        np.testing.assert_allclose(p, parts, rtol=bound, atol=bound)
    else:
        np.testing.assert_array_equal(p, parts)
    np.testing.assert_array_equal(net.predict_classes(X), p.argmax(axis=1))
    out = np.empty_like(p)
    assert net.predict(X, out=out) is out
    np.testing.assert_array_equal(out, p)
    # `out` in the memory of X's own numbers
    memory = np.zeros(3 * 1000 + X.nnz, dtype)
    memory[: X.nnz] = X.data
    np.testing.assert_array_equal(
        net.predict(sparse.csr_array((memory[: X.nnz], X.indices, X.indptr), shape=X.shape),
                    out=memory[:3000].reshape(1000, 3)), p)  # fmt: skip


# What is taken --------------------------------------------------------------------------------------------------------

def test_every_format_and_nothing_is_changed() -> None:
    X = rows(60, NARROW)
    y = np.random.default_rng(1).integers(0, 3, 60)
    expected = fit(network(), X.toarray(), y)
    for name in FORMATS:
        for kind in (f"{name}_array", f"{name}_matrix"):
            x = getattr(sparse, kind)(X)
            net = fit(network(), x, y, validation_data=(x, y))
            np.testing.assert_allclose(net.flat, expected.flat, rtol=1e-10, atol=1e-12, err_msg=kind)
            np.testing.assert_allclose(net.predict(x), expected.predict(X.toarray()), atol=1e-10)
            assert (abs(x - X)).sum() == 0


@pytest.mark.parametrize("own", ["float32", "float64"])
@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.int64, np.float32, np.float64])
def test_every_type_of_numbers_and_of_indices(dtype: Any, own: str) -> None:
    X = rows(60, NARROW)
    X.data[:] = np.random.default_rng(0).integers(0, 2, X.nnz)
    X, y = X.astype(dtype), np.random.default_rng(1).integers(0, 3, 60)
    expected = fit(network(own), X.astype(own), y)
    long = X.copy()
    long.indices, long.indptr = long.indices.astype(np.int64), long.indptr.astype(np.int64)
    for x in (X, long):
        before = x.data.tobytes(), x.indices.tobytes(), x.indptr.tobytes()
        assert same_bits(fit(network(own), x, y), expected)
        assert before == (x.data.tobytes(), x.indices.tobytes(), x.indptr.tobytes())


def test_read_only_and_memory_mapped(tmp_path: Path) -> None:
    X, y = rows(60, NARROW), np.random.default_rng(1).integers(0, 3, 60)
    expected = fit(network(), X, y)
    parts = {"data": X.data, "indices": X.indices, "indptr": X.indptr}
    for name, array in parts.items():
        np.save(tmp_path / f"{name}.npy", array)
    mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in parts]
    x = sparse.csr_array(tuple(mapped), shape=X.shape)
    assert not x.data.flags.writeable
    net = fit(network(), x, y)
    assert same_bits(net, expected)
    np.testing.assert_array_equal(net.predict(x), expected.predict(X))


def test_csr_of_the_networks_type_is_not_copied_but_for_its_positions() -> None:
    """Whoever changes X during a fit would else have the engine write where nothing is."""
    X = rows(60, NARROW)
    found = features("X", X, np.dtype(np.float64), None)
    assert isinstance(found, SparseRows)
    assert np.shares_memory(found.values, X.data)
    assert not np.shares_memory(found.indices, X.indices)
    assert not np.shares_memory(found.indptr, X.indptr)
    assert np.shares_memory(found[10:20].values, X.data)
    assert (found[10:20].to_scipy() != X[10:20]).nnz == 0
    assert (found[np.array([3, 1, 1])].to_scipy() != X[[3, 1, 1]]).nnz == 0
    with pytest.raises(ValueError, match=r"read-only|writeable"):
        found.to_scipy().data[0] = 1


@st.composite
def matrices(draw: Any) -> Any:
    """CSR with what SciPy allows: columns in any order and several times, zeros that are given, empty rows."""
    n, columns = draw(st.integers(1, 40)), draw(st.integers(1, 30))
    lengths = draw(st.lists(st.integers(0, 2 * columns), min_size=n, max_size=n))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    total = sum(lengths)
    values = rng.normal(size=total) * rng.integers(0, 2, total)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    return sparse.csr_array((values, rng.integers(0, columns, total), indptr), shape=(n, columns))


@settings(max_examples=60, deadline=None)
@given(matrices(), st.integers(1, 40), st.sampled_from([0.0, 0.4]))
def test_duplicates_disorder_zeros_and_empty_rows(X: Any, units: int, below: float) -> None:
    n, columns = X.shape
    before = X.data.copy(), X.indices.copy(), X.indptr.copy()
    layers = [cnn.Dropout(below)] if below else []
    net = cnn.Network([*layers, cnn.Dense(units, "tanh"), cnn.Dense(1)], dtype="float64", seed=0).build(columns)
    y = np.sin(np.arange(n))
    loss, gradient = net.loss_and_gradient(X, y, training=True)
    expected, dense = net.loss_and_gradient(X.toarray(), y, training=True)
    assert loss == pytest.approx(expected, rel=1e-11)
    for name in gradient:
        np.testing.assert_allclose(gradient[name], dense[name], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(net.predict(X), net.predict(X.toarray()), atol=1e-11)
    for kept, now in zip(before, (X.data, X.indices, X.indptr), strict=True):
        np.testing.assert_array_equal(kept, now)


@pytest.mark.parametrize("columns", [NARROW, WIDE])
def test_few_rows_and_no_numbers(columns: int) -> None:
    net = network().build(columns)
    nothing = sparse.csr_array((70, columns))
    expected = net.predict(np.zeros((1, columns)))
    np.testing.assert_array_equal(net.predict(nothing), np.repeat(expected, 70, axis=0))
    assert net.predict(sparse.csr_array((0, columns))).shape == (0, 3)
    assert net.forward(sparse.csr_array((0, columns))).shape == (0, 3)
    fit(net, nothing, np.arange(70) % 3)
    fit(net, nothing[:1], [1])
    with pytest.raises(ValueError, match="X has no rows"):
        fit(net, sparse.csr_array((0, columns)), [])


# Bad data -------------------------------------------------------------------------------------------------------------

def broken(part: str, at: int, value: Any, kind: str = "csr") -> Any:
    X = getattr(sparse, f"{kind}_array")(rows(30, 12, share=0.3))
    getattr(X, part)[at] = value
    return X


def replaced(part: str, value: Any) -> Any:
    X = rows(30, 12, share=0.3)
    setattr(X, part, value)
    return X


BAD: list[tuple[Any, type[Exception], str]] = [
    (broken("indices", 3, 12), ValueError, r"X has a number in column 12, but its columns are 0 \.\. 11"),
    (broken("indices", 3, -1), ValueError, r"X has a number in column -1, but its columns are 0 \.\. 11"),
    (broken("indices", 3, 30, "csc"), ValueError, r"X has a number in row 30, but its rows are 0 \.\. 29"),
    (broken("col", 3, 12, "coo"), ValueError, "X has a number in column 12"),
    (broken("row", 3, -7, "coo"), ValueError, "X has a number in row -7"),
    (broken("indices", 3, 99, "bsr"), ValueError, "X has a number in column of blocks 99"),
    (broken("indptr", 0, 1), ValueError, "indptr of X must be 31 numbers from 0 on"),
    (broken("indptr", 4, 10_000), ValueError, "indptr of X must not fall, but does so at 5"),
    (broken("indptr", 30, 10_000), ValueError, "indptr of X ends at 10000, but there are 108 indices and 108 numbers"),
    (broken("indptr", 5, -3), ValueError, "indptr of X must not fall, but does so at 5"),
    (replaced("indptr", np.zeros(4, int)), ValueError, "indptr of X must be 31 numbers from 0 on, got 4"),
    (replaced("indices", np.zeros(3, int)), ValueError, "ends at 108, but there are 3 indices"),
    (replaced("indices", np.zeros(108)), ValueError, "indices of X must be a one-dimensional array of integers"),
    (broken("data", 5, np.nan), ValueError, "X holds nan at row 1, column 5; fill or drop such values first"),
    (broken("data", 5, -np.inf), ValueError, "X holds -inf at row 1, column 5"),
    (replaced("data", np.ones(108, complex)), TypeError, "X must hold numbers, got dtype complex128"),
    (rows(30, 12)[:, :0], ValueError, "columns, got shape"),
    (sparse.coo_array(np.ones(30)), ValueError, r"X must have two dimensions \(rows, inputs\), got shape \(30,\)"),
    (rows(30, 11), ValueError, "X has 11 columns, but the network takes 12 inputs"),
]


@pytest.mark.parametrize(("X", "kind", "text"), BAD, ids=[text[:40] for _, _, text in BAD])
def test_bad_data(X: Any, kind: type[Exception], text: str) -> None:
    net = cnn.Network([cnn.Dense(2, "tanh"), cnn.Dense(1)], seed=0).build(12)
    before = net.flat.tobytes()
    for call in (lambda: net.fit(X, np.zeros(30), verbose=0), lambda: net.predict(X), lambda: net.forward(X),
                 lambda: net.loss_and_gradient(X, np.zeros(30)), lambda: net.evaluate(X, np.zeros(30))):  # fmt: skip
        with pytest.raises(kind, match=text):
            call()
    assert net.flat.tobytes() == before
    assert net.step == 0


def test_numbers_that_overflow_float32() -> None:
    X = rows(30, 12)
    X.data[0] = 1e300
    with pytest.raises(ValueError, match="X holds inf at row"):
        cnn.Network([cnn.Dense(1)], seed=0).build(12).predict(X)


# The rest of the package ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("columns", [NARROW, WIDE])
def test_a_fit_goes_on_to_the_same_bits(tmp_path: Path, monkeypatch, columns: int) -> None:
    monkeypatch.setattr(loop, "_PIECE_SECONDS", 1e-9)  # a step at a time
    X, y = rows(300, columns), np.random.default_rng(1).integers(0, 3, 300)

    expected = fit(network(below=0.2), X, y, epochs=4, batch_size=30)
    keep = cnn.Checkpoint(tmp_path / "run", 1, "steps")
    with pytest.raises(KeyboardInterrupt):
        fit(network(below=0.2), X, y, epochs=4, batch_size=30, callbacks=[keep, Break(13)])  # in the second epoch
    other = X.copy()
    other.indices[0] = (other.indices[0] + 1) % columns
    for changed in (other, X * 2, X.toarray(), sparse.csr_array((X.data, X.indices, X.indptr), (300, columns + 1))):
        with pytest.raises(ValueError, match=r"other training data|n_inputs is"):
            fit(network(below=0.2), changed, y, epochs=4, batch_size=30, resume=tmp_path / "run")
    net = fit(network(below=0.2), X.copy(), y, epochs=4, batch_size=30, resume=tmp_path / "run")
    assert same_bits(net, expected)


def test_choice_diagnosis_and_gradient_check() -> None:
    X, y = rows(200, NARROW, share=0.5), np.random.default_rng(1).integers(0, 3, 200)
    layers = [cnn.Dense(6, "auto"), cnn.Dense(3)]
    nets = [cnn.Network(layers, "cross_entropy", dtype="float64", seed=0) for _ in range(2)]
    for net, x in zip(nets, (X, X.toarray()), strict=True):
        net.fit(x, y, epochs=3, verbose=0)
    assert nets[0].activation_choice == nets[1].activation_choice
    a, b = cnn.diagnose(nets[0], X, y), cnn.diagnose(nets[0], X.toarray(), y)
    assert [layer.weight_gradient for layer in a.layers] == pytest.approx([layer.weight_gradient for layer in b.layers])
    assert cnn.gradient_check(nets[0], X, y).error < 1e-4


def test_memory_is_that_of_the_numbers() -> None:
    """Nothing has a size of rows times columns: a fit takes its gradient, and less than twice the data."""
    n, columns, units = 2000, 400_000, 8
    X = rows(n, columns, dtype=np.float32, share=0.0005)
    X.indptr = X.indptr.astype(np.int64)
    size = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    net = cnn.Network([cnn.Dropout(0.2), cnn.Dense(units, "relu"), cnn.Dense(1)], optimizer="adam", seed=0)
    net.build(columns)
    y = np.zeros(n)
    tracemalloc.start()
    try:
        net.fit(X, y, epochs=1, batch_size=100, verbose=0, validation_split=0.1, n_threads=1)
        net.predict(X)
        net.evaluate(X, y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * size + net.flat.nbytes + 2**21  # what it is aligned by


def test_rows_of_data() -> None:
    X = rows(20, NARROW)
    found = data.prepare(X, np.arange(20.0), None, cnn.losses.get("mse"), np.dtype(np.float64), NARROW, 1)
    assert found.X.shape == (20, NARROW)
    np.testing.assert_array_equal(found.rows(4, 9).X.to_scipy().toarray(), X[4:9].toarray())
    np.testing.assert_array_equal(found.rows(9, 4).X.to_scipy().toarray(), X[9:4].toarray())
    np.testing.assert_array_equal(found.take(np.array([7, 2])).rows(1, 2).X.to_scipy().toarray(), X[[2]].toarray())
