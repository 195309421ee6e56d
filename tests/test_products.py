"""Matrix products by our own kernels and by SciPy's BLAS: right, with equal bits, chosen when a network is built."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from helpers import reference_gradient, run, targets

import cnn
import cnn_core
from cnn.runtime import products

CHOICES = ("own", "blas")
# Inputs, hidden widths and outputs: rows are shared out, or units are; panels and vectors end in the middle.
SIZES = {"narrow": (9, (8, 33, 17), 8), "wide": (70, (331, 258, 65), 9), "some are too narrow": (9, (40, 3, 12), 8)}
rng = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_choice", products.chosen())


def network(size: str, choice: str, dtype: str = "float64", dropout: float = 0.2, **options: Any) -> cnn.Network:
    inputs, hidden, outputs = SIZES[size]
    cnn.set_products(choice)  # type: ignore[arg-type]
    layers: list[Any] = [cnn.Dense(units, "tanh", use_bias=i != 1) for i, units in enumerate(hidden)]
    layers += [cnn.Dropout(dropout), cnn.Dense(outputs)]
    return cnn.Network(layers, dtype=dtype, seed=3, **options).build(inputs)


def rows(size: str, n: int) -> tuple[Any, Any]:
    return rng.normal(size=(n, SIZES[size][0])), rng.normal(size=(n, SIZES[size][2]))


def test_which_layers_blas_computes() -> None:
    assert network("wide", "blas").plan.layers["by_blas"].tolist() == [1, 1, 1, 0, 1]  # a dropout has no products
    assert network("some are too narrow", "blas").plan.layers["by_blas"].tolist() == [1, 0, 0, 0, 1]
    assert network("narrow", "blas").plan.layers["by_blas"].tolist() == [1, 1, 1, 0, 1]
    assert not network("wide", "own").plan.uses_blas
    assert network("wide", "blas").plan.uses_blas


@pytest.mark.parametrize(("shape", "lanes", "wider", "faster"), [
    ((2000, 2000), 16, True, False), ((2000, 2000), 8, True, False), ((128, 128), 4, True, True),
    ((128, 127), 4, True, False), ((2000, 2000), 4, False, False), ((8, 8), 1, False, True),
])  # fmt: skip
def test_auto_takes_what_was_measured_to_be_faster(
    shape: tuple[int, int], lanes: int, wider: bool, faster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cnn_core.engine, "lanes", lanes)
    monkeypatch.setattr(cnn_core, "more_than_128_bits", lambda: wider)
    cnn.set_products("auto")
    assert products.by_blas(*shape) == faster
    assert not products.by_blas(7, 100_000)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n", [1, 15, 200])
def test_gradients_are_the_references(n: int, size: str, choice: str) -> None:
    net = network(size, choice)
    X, y = rows(size, n)
    loss, gradients = net.loss_and_gradient(X, y, training=True)
    expected_loss, expected = reference_gradient(net, X, y, training=True)
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, expected[name], rtol=1e-10, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
def test_both_compute_the_same_numbers(size: str, dtype: str) -> None:
    X, y = rows(size, 300)
    results = []
    for choice in CHOICES:
        net = network(size, choice, dtype, 0.0, optimizer=cnn.SGD(0.01))  # Adam would enlarge what differs
        raw = net.forward(X)
        dX = net.backward(np.ones_like(raw))
        assert dX is not None
        net.fit(X, y, epochs=2, batch_size=60, verbose=0)
        results.append([raw, dX, net.predict(X), net.predict(X[:1]), net.flat])
    bound = 1e-5 if dtype == "float32" else 1e-12
    for own, by_blas in zip(*results, strict=True):
        np.testing.assert_allclose(own, by_blas, rtol=bound, atol=bound)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("size", SIZES)
def test_equal_bits_for_every_number_of_threads(size: str, choice: str) -> None:
    X, y = rows(size, 777)
    bits = set()
    for n_threads in (1, 2, 3, 4):
        net = network(size, choice, "float32")
        history = net.fit(X, y, epochs=2, batch_size=260, validation_split=0.1, verbose=0, n_threads=n_threads)
        loss, gradients = net.loss_and_gradient(X, y, n_threads=n_threads)
        numbers = [repr([history.loss, history.val_loss, loss]).encode(), net.flat, net.predict(X, n_threads=n_threads)]
        bits.add(b"".join(bytes(a) for a in (*numbers, *gradients.values())))
    assert len(bits) == 1


@pytest.mark.parametrize("choice", CHOICES)
def test_sparse_rows(choice: str) -> None:
    """Dense X with zeros stays as it is where BLAS computes its products; sparse rows never go through BLAS."""
    cnn.set_products(choice)  # type: ignore[arg-type]
    X = np.where(rng.random((200, 128)) < 0.02, rng.normal(size=(200, 128)), 0.0)
    net = cnn.Network([cnn.Dense(64, "relu"), cnn.Dense(8)], dtype="float64", seed=0).build(128)
    assert (net.plan.without_zeros(X) is X) == (choice == "blas")
    np.testing.assert_allclose(net.predict(scipy.sparse.csr_array(X)), net.predict(X), rtol=1e-12, atol=1e-14)


def test_a_network_keeps_what_it_was_built_with() -> None:
    X, y = rows("wide", 120)

    def bits(*callbacks: Any) -> bytes:
        net = network("wide", "blas", "float32")
        net.fit(X, y, epochs=3, batch_size=60, verbose=0, callbacks=callbacks)
        return net.flat.tobytes()

    assert bits(lambda net, epoch, logs: cnn.set_products("own")) == bits()
    net = network("wide", "blas")
    cnn.set_products("own")
    assert net.plan.uses_blas
    assert not network("wide", "own").plan.uses_blas


def test_classes_and_weights() -> None:
    X, y, w = rng.normal(size=(90, 20)), targets("cross_entropy", 90, 9, rng), rng.uniform(0.1, 2, 90)
    cnn.set_products("blas")
    net = cnn.Network([cnn.Dense(12, "gelu"), cnn.Dense(9)], "cross_entropy", dtype="float64", seed=1).build(20)
    expected_loss, expected = reference_gradient(net, X, y, w)
    loss, gradients = net.loss_and_gradient(X, y, w)
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, expected[name], rtol=1e-10, atol=1e-14)


def test_unknown_names(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("mkl", "BLAS", None):
        with pytest.raises(ValueError, match=f"products must be one of auto, own, blas, got {name!r}"):
            cnn.set_products(name)  # type: ignore[arg-type]
    cnn.set_products("blas")
    cnn.show_config()
    assert "products               blas" in capsys.readouterr().out


def test_the_environment_chooses() -> None:
    program = "import cnn; print(cnn.Network([cnn.Dense(64)]).build(64).plan.uses_blas)"
    assert run(program, CNN_PRODUCTS="blas") == "True"
    assert run(program, CNN_PRODUCTS="own") == "False"
    with pytest.raises(AssertionError, match="ValueError: CNN_PRODUCTS must be one of auto, own, blas, got 'mkl'"):
        run(program, CNN_PRODUCTS="mkl")


@pytest.mark.parametrize(("choice", "other"), [("blas", "own"), ("own", "blas")])
def test_files_and_estimators_keep_what_their_network_was_built_with(choice: Any, other: Any, tmp_path) -> None:
    exceptions = pytest.importorskip("sklearn.exceptions")
    cnn.set_products(choice)
    X = np.random.default_rng(0).normal(size=(300, 20))
    net = cnn.Network([cnn.Dropout(0.1), cnn.Dense(16, "tanh"), cnn.Dense(9)], seed=0).build(20)
    settings = {"hidden_layer_sizes": (12, 10), "max_iter": 2, "random_state": 0, "n_iter_no_change": 9}
    warm = cnn.MLPRegressor(warm_start=True, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        warm.fit(X, X[:, :9])
        again = copy.deepcopy(warm).set_params(alpha=0.5).fit(X, X[:, :9])
        net.save(tmp_path / "net.cnn")
        warm.save(tmp_path / "est.cnn")
        kept = pickle.dumps(warm)
        cnn.set_products(other)
        loaded = cnn.load(tmp_path / "net.cnn")
        estimators = [cnn.load(tmp_path / "est.cnn"), pickle.loads(kept), copy.deepcopy(warm)]
        warm.set_params(alpha=0.5).fit(X, X[:, :9])
    assert warm.network_.flat.tobytes() == again.network_.flat.tobytes()
    assert loaded.plan.layers["by_blas"].tolist() == net.plan.layers["by_blas"].tolist() == [0, *2 * [choice == "blas"]]
    assert loaded.predict(X).tobytes() == net.predict(X).tobytes()
    estimators.append(cnn.MLPRegressor.from_network(net))
    for est in estimators:
        assert est.network_.plan.uses_blas == (choice == "blas")


def test_a_checkpoint_made_with_other_products_is_told_of(tmp_path) -> None:
    X = np.random.default_rng(0).normal(size=(300, 20))

    def made(choice: Any) -> cnn.Network:
        cnn.set_products(choice)
        return cnn.Network([cnn.Dense(16, "tanh"), cnn.Dense(9)], seed=0)

    def fit(net: cnn.Network, epochs: int, **options: Any) -> cnn.Network:
        net.fit(X, X[:, :9], epochs=epochs, verbose=0, **options)
        return net

    fit(made("blas"), 2, callbacks=[cnn.Checkpoint(tmp_path)])
    whole = fit(made("blas"), 4)
    # One that is not built yet becomes what it was, without a word.
    assert fit(made("own"), 4, resume=tmp_path).flat.tobytes() == whole.flat.tobytes()
    told = r"made with the products of its layers by \['blas', 'blas'\], here they are by \['own', 'own'\]"
    with pytest.warns(UserWarning, match=told + r" \(cnn.set_products\): the fit goes on, but not to the same bits"):
        other = fit(made("own").build(20), 4, resume=tmp_path)
    assert not other.plan.uses_blas


def test_copies_keep_what_their_network_was_built_with() -> None:
    X = np.random.default_rng(0).normal(size=(40, 20))
    for choice, other in (("blas", "own"), ("own", "blas")):
        cnn.set_products(choice)  # type: ignore[arg-type]
        net = cnn.Network([cnn.Dropout(0.1), cnn.Dense(16, "tanh"), cnn.Dense(9)], seed=0).build(20)
        cnn.set_products(other)  # type: ignore[arg-type]
        for copied in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            assert copied.plan.layers["by_blas"].tolist() == net.plan.layers["by_blas"].tolist()
            assert copied.predict(X).tobytes() == net.predict(X).tobytes()
