"""Fits on dense X with few non-zeros, which leave its zeros out: the bits of a fit that does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Break, same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse as scipy_sparse

import cnn
import cnn_core
from cnn.runtime import products, sparse
from cnn.runtime.sparse import SparseRows, largest_share, without_zeros
from cnn.training import loop

ENGINES = cnn_core.engines()
# Inputs and units of the first layer: rows are shared out, or units are, with dW summed by rows or by columns. Sparse
# rows by themselves would be cut into larger slabs where there are 600 inputs.
SIZES = {"narrow": (600, 70), "narrow by columns": (100, 101), "wide": (1000, 70), "wide by columns": (700, 130)}
pytestmark = pytest.mark.skipif(cnn_core.engine.lanes == 1, reason="sums in vector registers are what is compared")


@pytest.fixture(autouse=True)
def own_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """BLAS sums in an order of its own, and X then stays dense."""
    monkeypatch.setattr(products, "_choice", "own")


def table(n: int, columns: int, seed: int = 0, share: float = 0.12) -> Any:
    rng = np.random.default_rng(seed)
    return np.where(rng.random((n, columns)) < share, rng.normal(size=(n, columns)), 0.0)


def network(units: int, dtype: str, **changes: Any) -> cnn.Network:
    layers = [cnn.Dense(units, "gelu", l2=1e-3), cnn.Dropout(0.2), cnn.Dense(18, "tanh"), cnn.Dense(3)]
    return cnn.Network(layers, **{"loss": "cross_entropy", "dtype": dtype, "seed": 1, **changes})


def fit(net: cnn.Network, X: Any, y: Any, **changes: Any) -> cnn.Network:
    net.fit(X, y, **{"epochs": 2, "batch_size": 150, "verbose": 0, **changes})
    return net


def labels(n: int) -> Any:
    return np.random.default_rng(1).integers(0, 3, n)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each fit kept its dense array."""
    found: list[bool] = []

    def note(X: Any, units: int) -> Any:
        rows = without_zeros(X, units)
        found.append(rows is X)
        return rows

    monkeypatch.setattr(sparse, "without_zeros", note)
    return found


def dense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse, "largest_share", lambda n_inputs, units: 0.0)


@pytest.mark.parametrize("engine", ENGINES.values(), ids=list(ENGINES))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
def test_the_bits_of_the_dense_array(monkeypatch, kept: list[bool], engine: Any, dtype: str, size: str) -> None:
    monkeypatch.setattr(cnn_core, "engine", engine)
    columns, units = SIZES[size]
    X, y = table(431, columns), labels(431)
    weights = np.random.default_rng(2).uniform(0.5, 2, 431)
    options = {"sample_weight": weights, "validation_split": 0.1, "class_weight": "balanced"}
    nets = [fit(network(units, dtype), X, y, n_threads=n, **options) for n in (1, 2, 3)]
    assert nets[0].plan.cut(150).wide == size.startswith("wide")
    assert kept == [False] * 3
    dense(monkeypatch)
    expected = fit(network(units, dtype), X, y, n_threads=1, **options)
    assert kept[3:] == [True]
    assert all(same_bits(net, expected) for net in nets)
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert nets[0].history[name] == expected.history[name]


def edges(dtype: str) -> dict[str, Any]:
    X = table(150, 120).astype(dtype)
    X[7] = X[60:80] = 0
    tiny = np.where(X != 0, np.finfo(dtype).smallest_subnormal, 0).astype(dtype)
    frozen = X.copy()
    frozen.flags.writeable = False
    repeated = np.repeat(X, 2, 0)
    return {
        "zero rows": X, "no number": np.zeros_like(X), "negative zeros": np.where(X == 0, X.dtype.type(-0.0), X),
        "subnormal": tiny, "Fortran order": np.asfortranarray(X), "read-only": frozen, "every other row": repeated[::2],
        "integers": np.rint(3 * X).astype(int), "one row": X[:1], "last column": np.eye(1, 120, 119).repeat(150, 0),
    }  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_edges(monkeypatch, kept: list[bool], dtype: str, tmp_path: Path) -> None:
    cases = edges(dtype)
    np.save(tmp_path / "X.npy", cases["zero rows"])
    cases["memory-mapped"] = np.load(tmp_path / "X.npy", mmap_mode="r")
    before = {name: np.array(X).tobytes() for name, X in cases.items()}
    nets = {name: fit(network(96, dtype), X, labels(len(X)), batch_size=40) for name, X in cases.items()}
    assert kept == [False] * len(cases)
    dense(monkeypatch)
    for name, X in cases.items():
        assert same_bits(nets[name], fit(network(96, dtype), X, labels(len(X)), batch_size=40)), name
        assert np.array(X).tobytes() == before[name]


def test_the_choice_depends_on_the_numbers_and_sizes_alone(monkeypatch, kept: list[bool]) -> None:
    few, many = table(300, 120, share=0.1), table(300, 120, share=0.4)
    for X, units in ((few, 100), (many, 100), (few, 8), (few[:, :40], 100)):
        for n_threads, epochs, batch in ((1, 2, 10), (2, 3, 300)):
            fit(network(units, "float32"), X, labels(300), n_threads=n_threads, epochs=epochs, batch_size=batch)
    assert kept == [False] * 2 + [True] * 6
    fit(network(100, "float32"), few, labels(300), epochs=1)
    assert len(kept) == 8  # one epoch alone does not look: it would win too little
    assert largest_share(10_000, 96) == 0.2 > largest_share(10_000, 64) > largest_share(10_000, 16) == 0
    assert largest_share(20, 500) == 0
    exactly = np.zeros((10, 100), np.float32)
    exactly[:, :20] = 1
    assert isinstance(without_zeros(exactly, 96), SparseRows)
    whole = without_zeros(few, 96)
    monkeypatch.setattr(sparse, "_PIECE", 700)  # 5 rows
    for part, expected in zip(without_zeros(few, 96).parts(), whole.parts(), strict=True):
        np.testing.assert_array_equal(part, expected)
    exactly[3, 50] = 1
    assert without_zeros(exactly, 96) is exactly


def test_layers_that_sum_in_another_order_keep_the_array() -> None:
    """Up to 8 units the dense gradient is summed along vectors of rows: fits without zeros could not have its bits."""
    assert all(largest_share(n_inputs, units) == 0 for n_inputs in (1, 100, 10**6) for units in range(9))
    nothing = np.zeros((10, 100))
    assert without_zeros(nothing, 8) is nothing


def test_dropout_below_keeps_the_array(kept: list[bool]) -> None:
    X = table(100, 120)
    net = cnn.Network([cnn.Dropout(0.2), cnn.Dense(100, "relu"), cnn.Dense(1)], seed=0)
    net.fit(X, X[:, 0], epochs=1, verbose=0)
    assert kept == []
    sparse_rows = scipy_sparse.csr_array(X)
    net.fit(sparse_rows, X[:, 0], epochs=1, verbose=0)  # that has its own place for masks


@pytest.mark.parametrize("engine", ENGINES.values(), ids=list(ENGINES))
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_rows_are_those_of_scipy(engine: Any, data: st.DataObject) -> None:
    n, k, dtype = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 70)), data.draw(st.sampled_from("fd"))
    numbers = st.sampled_from([0.0, 0.0, -0.0, 1.5, -2.0, 1e-40])
    X = np.array(data.draw(st.lists(numbers, min_size=n * k, max_size=n * k)), dtype).reshape(n, k)
    expected = scipy_sparse.csr_array(X)
    indptr = np.zeros(n + 1, np.int64)
    assert engine.count_nonzeros(X, expected.nnz, indptr)
    np.testing.assert_array_equal(indptr, expected.indptr)
    indices, values = np.full(expected.nnz, -1, np.int32), np.empty(expected.nnz, dtype)
    engine.take_nonzeros(X, indptr, indices, values)
    np.testing.assert_array_equal(indices, expected.indices)
    np.testing.assert_array_equal(values, expected.data)
    assert not engine.count_nonzeros(X, expected.nnz - 1, indptr)
    # Another thread changes X between the two: no position may lie outside, nothing is read beyond X.
    assert engine.count_nonzeros(X, expected.nnz, indptr)
    for other in (np.zeros_like(X), np.ones_like(X)):
        engine.take_nonzeros(other, indptr, indices, values)
        assert np.all((indices >= 0) & (indices < k))
        assert np.isfinite(values).all()


@pytest.mark.parametrize("size", SIZES)
def test_a_fit_goes_on_to_the_same_bits(tmp_path: Path, monkeypatch, kept: list[bool], size: str) -> None:
    monkeypatch.setattr(loop, "_PIECE_SECONDS", 1e-9)  # a step at a time
    columns, units = SIZES[size]
    X, y = table(300, columns), labels(300)

    def job(**changes: Any) -> cnn.Network:
        return fit(network(units, "float32"), X, y, batch_size=30, **{"epochs": 4, **changes})

    expected = job()
    assert same_bits(fit(job(epochs=2), X, y, batch_size=30, epochs=2), expected)
    keep = cnn.Checkpoint(tmp_path / "run", 1, "steps")
    with pytest.raises(KeyboardInterrupt):
        job(callbacks=[keep, Break(13)])  # in the second epoch
    assert not any(kept)
    dense(monkeypatch)  # a checkpoint names the array, not what a fit makes of it
    assert same_bits(job(resume=tmp_path / "run"), expected)
    X[0, 0] += 1
    with pytest.raises(ValueError, match="other training data"):
        job(resume=tmp_path / "run")


def test_numbers_that_are_not_finite() -> None:
    X = table(100, 120)
    for value in (np.nan, np.inf):
        X[3, 5] = value
        net = network(100, "float32").build(120)
        with pytest.raises(ValueError, match=rf"X holds {value} at row 3, column 5; fill or drop"):
            net.fit(X, labels(100), verbose=0)
        assert net.step == 0


def test_estimators(monkeypatch, kept: list[bool]) -> None:
    pytest.importorskip("sklearn", minversion="1.9")
    X, y = table(260, 110), labels(260)
    options: dict[str, Any] = {"max_iter": 3, "random_state": 0, "tol": 0, "early_stopping": True}

    def fitted() -> list[Any]:
        with pytest.warns(match="converged"):
            est = cnn.MLPClassifier(**options).fit(X, y)
        other = cnn.MLPClassifier(random_state=0).partial_fit(X[:50], y[:50], classes=[0, 1, 2])
        lbfgs = cnn.MLPRegressor(solver="lbfgs", max_iter=4, max_fun=9, tol=10, random_state=0).fit(X, X[:, 0])
        return [est, other.partial_fit(X, y), lbfgs]

    found = fitted()
    assert kept == [False] * 2  # not in the single epochs of partial_fit
    dense(monkeypatch)
    for est, expected in zip(found, fitted(), strict=True):
        assert est.loss_curve_ == expected.loss_curve_
        assert all(np.array_equal(a, b) for a, b in zip(est.coefs_, expected.coefs_, strict=True))


@pytest.mark.parametrize("part", ["indices", "indptr"])
def test_positions_that_change_during_the_fit_do_no_harm(part: str) -> None:
    """A callback or another thread writes to X: the engine has positions of its own."""
    X = scipy_sparse.random(300, 200, 0.1, "csr", dtype=np.float32, random_state=0)
    X.indices = X.indices.astype(np.int32)
    y = np.ones(300, np.float32)

    def change(*_: Any) -> None:
        getattr(X, part)[1:-1] = 2**31 - 1

    nets = []
    for callbacks in ([], [change]):
        nets.append(cnn.Network([cnn.Dense(64), cnn.Dense(1)], seed=0))
        nets[-1].fit(X, y, epochs=3, verbose=0, callbacks=callbacks)
    assert nets[0].flat.tobytes() == nets[1].flat.tobytes()
