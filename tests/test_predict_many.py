"""Predictions of many networks in one call: those of each alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from many_networks import RNG, X, Y, networks
from scipy import sparse

import cnn
import cnn_core
from cnn.runtime import passes_of_many, products


def built() -> list[cnn.Network]:
    """Of both types and several sizes, one of several outputs, and one that takes tiles together."""
    nets = [net.build(6) for net in networks()]
    nets += [cnn.Network([cnn.Dense(9, "tanh"), cnn.Scale(), cnn.Dense(3)], loss="cross_entropy", seed=7).build(6)]
    nets += [cnn.Network([cnn.Dense(800, "relu"), cnn.Dense(800, "relu"), cnn.Dense(2)], seed=8).build(6)]
    nets[0].fit(X, Y, epochs=1, verbose=0)  # its outputs are then (n,)
    return nets


@pytest.mark.parametrize("n_threads", [1, 2, 3, None])
@pytest.mark.parametrize("n", [1, 8, 150, 3000])
def test_the_bits_are_those_of_predict(n: int, n_threads: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    nets, rows = built(), RNG.normal(size=(n, 6))
    for few in (passes_of_many._FEW_FLOPS, 0.0):
        monkeypatch.setattr(passes_of_many, "_FEW_FLOPS", few)
        found = cnn.predict_many(nets, rows, n_threads=n_threads)
        for net, out in zip(nets, found, strict=True):
            alone = net.predict(rows)
            assert out.shape == alone.shape
            assert out.dtype == alone.dtype
            assert out.tobytes() == alone.tobytes()


def test_rows_of_their_own_dense_and_sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes_of_many, "_FEW_FLOPS", 0.0)
    nets = built()
    Xs: list[Any] = [RNG.normal(size=(n, 6)).astype(np.float32) for n in (0, 1, 70, 500, 64, 65, 3, 129)]
    Xs[3] = sparse.csr_array(Xs[3] * (Xs[3] > 1))
    nets.append(nets[2])  # the same twice
    Xs.append(Xs[2])
    for net, own, out in zip(nets, Xs, cnn.predict_many(nets, Xs, n_threads=2), strict=True):
        assert out.tobytes() == net.predict(own).tobytes()


def test_products_of_blas() -> None:
    nets = built()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "_choice", products.chosen())  # put back
        cnn.set_products("blas")
        nets += built()
    rows = RNG.normal(size=(500, 6))
    for net, out in zip(nets, cnn.predict_many(nets, rows), strict=True):
        assert out.tobytes() == net.predict(rows).tobytes()


@pytest.mark.parametrize("few", [1e12, 0.0])
def test_errors_say_which_network(few: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes_of_many, "_FEW_FLOPS", few)
    nets, rows = built(), RNG.normal(size=(200, 6))
    wrong = rows.copy()
    wrong[150, 2] = np.nan
    for Xs, text, which in (
        ([rows] * 3 + [wrong] + [rows] * 4, "X holds nan at row 150, column 2", 3),
        ([rows] * 7 + [rows[:, :5]], "X has 5 columns, but the network takes 6 inputs", 7),
    ):
        with pytest.raises(ValueError, match=text) as info:
            cnn.predict_many(nets, Xs)
        assert info.value.__notes__ == [f"This is of networks[{which}]."]
    with pytest.raises(cnn.NotBuiltError) as unbuilt:
        cnn.predict_many([nets[0], networks()[0]], rows)
    assert unbuilt.value.__notes__ == ["This is of networks[1]."]
    with pytest.raises(ValueError, match="X must be one value for all networks or a list of 8, one for each, got 2"):
        cnn.predict_many(nets, [rows, rows])
    with pytest.raises(ValueError, match="n_threads must be"):
        cnn.predict_many(nets, rows, n_threads=0)


def test_a_flag_that_is_up_leaves_the_work_undone() -> None:
    nets, rows = built()[1:4], RNG.normal(size=(2000, 6))
    outs = [np.full((2000, net.n_outputs), 7, net.dtype) for net in nets]
    given = [rows.astype(net.dtype) for net in nets]
    predictors = [net.predictor for net in nets]
    stop = np.ones(1, np.int32)
    assert cnn_core.engine.predict_many(predictors, given, outs, True, 2, stop) == [True] * 3
    assert all((out == 7).all() for out in outs)
    assert cnn_core.engine.predict_many(predictors, given, outs, True, 2) == [True] * 3
    assert all(out.tobytes() == net.predict(rows).tobytes() for out, net in zip(outs, nets, strict=True))
    assert cnn_core.engine.predict_many([], [], [], True, 2) == []
