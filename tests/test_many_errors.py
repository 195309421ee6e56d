"""Networks trained side by side: what fails, what is interrupted and what is refused leaves the others whole."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from helpers import run, same_bits
from many_networks import Recorder, X, Y, alike, networks

import cnn
import cnn_core
from cnn.training.calls import Pace
from cnn.training.fit import FitOptions, prepare
from cnn.training.loop import Loop
from cnn.training.position import Position


def breaking(net: cnn.Network, epoch: int, logs: dict[str, float]) -> None:
    if epoch == 1:
        raise KeyError("a callback")


@pytest.mark.parametrize("errors", ["raise", "return"])
def test_a_network_that_fails_leaves_the_others_whole(errors: Any) -> None:
    def made() -> list[cnn.Network]:
        nets = networks()
        nets[2] = cnn.Network([cnn.Dense(8, "relu"), cnn.Dense(1)], optimizer=cnn.SGD(1e20), seed=0)
        return nets

    nets, alone = made(), made()
    for a, b in zip(nets, alone, strict=True):
        b.seed = a.seed
    hooks = [[breaking] if i == 4 else [] for i in range(6)]

    def fit() -> Any:
        return cnn.train_many(nets, X, Y, epochs=6, batch_size=16, verbose=0, callbacks=hooks, errors=errors)

    if errors == "raise":
        with pytest.raises(ExceptionGroup, match="2 of 6 networks failed; the others are trained") as info:
            fit()
        failed = list(info.value.exceptions)
    else:
        found = fit()
        failed = [found[2], found[4]]
        assert all(isinstance(found[i], cnn.History) for i in (0, 1, 3, 5))
    assert [type(error) for error in failed] == [cnn.NonFiniteError, KeyError]
    assert [error.__notes__ for error in failed] == [[f"This is of networks[{i}]."] for i in (2, 4)]
    with pytest.raises(cnn.NonFiniteError) as single:
        alone[2].fit(X, Y, epochs=6, batch_size=16, verbose=0)
    assert str(single.value) == str(failed[0])
    assert same_bits(nets[2], alone[2])
    assert len(nets[4].history) == 2
    for i in (0, 1, 3, 5):
        alone[i].fit(X, Y, epochs=6, batch_size=16, verbose=0)
    assert alike([nets[i] for i in (0, 1, 3, 5)], [alone[i] for i in (0, 1, 3, 5)])


INTERRUPTED = """
    import os, signal, threading
    import cnn, numpy as np
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=({rows}, 20)).astype(np.float32), rng.normal(size={rows})
    ended = []
    class Ends(cnn.Callback):
        def on_fit_end(self, network):
            ended.append(network)
    nets = [cnn.Network([cnn.Dense({units}, "tanh"), cnn.Dense(1)], seed=i) for i in range({n})]
    threading.Timer(0.7, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        cnn.train_many(nets, X, y, epochs=100000, batch_size={batch}, verbose=1, n_threads=2,
                       callbacks=[[Ends()] for _ in nets])
    except KeyboardInterrupt:
        begun = [net for net in nets if net.known_inputs]
        for net in begun:
            h = net.history
            assert {{len(h[name]) for name in h.names}} <= {{len(h.epoch)}}, h
            assert h.epoch == list(range(len(h)))
            per_epoch = -(-{rows} // {batch})
            assert len(h) == net.step // per_epoch, (len(h), net.step)
            assert np.isfinite(net.flat).all()
        whole = [net for net in begun if len(net.history)][-1:]
        for net in whole:
            n, same = len(net.history), cnn.Network(net.descriptions, seed=net.seed)
            if n < 500 and net.step == n * per_epoch:
                same.fit(X, y, epochs=n, batch_size={batch}, verbose=0)
                assert np.array_equal(net.flat, same.flat)
        assert len(ended) == len(set(map(id, ended))) == min(len(nets), 64)
        for net in nets[:2]:
            net.fit(X[:50], y[:50], epochs=2, verbose=0)
        print("interrupted", len(begun) == min(len(nets), 64))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill can't send Ctrl-C there")
@pytest.mark.parametrize("options", [
    {"rows": 100, "units": 4, "batch": 10, "n": 100},
    {"rows": 20_000, "units": 64, "batch": 20_000, "n": 30},  # a round takes long, even of one step each
], ids=["small", "long"])  # fmt: skip
def test_ctrl_c(options: dict[str, int]) -> None:
    assert run(INTERRUPTED.format(**options)).endswith("interrupted True")


def test_a_flag_that_is_up_leaves_pieces_undone() -> None:
    pieces, ends, nets = [], [], networks()[:2]
    for net in nets:
        fit = prepare(net, X, Y, FitOptions(epochs=2, batch_size=16))
        fit.begin()
        calls = fit.calls(ends)
        pieces.append(next(calls))
    before = [net.flat.copy() for net in nets]
    assert [status for status, _ in cnn_core.engine.run_many(pieces, 2, np.ones(1, np.int32))] == [4, 4]
    assert all(np.array_equal(a, net.flat) and net.step == 0 for a, net in zip(before, nets, strict=True))
    assert cnn_core.engine.run_many([], 2) == []
    answers = cnn_core.engine.run_many(pieces, 2)
    assert [status for status, _ in answers] == [0, 0]
    assert all(seconds > 0 for _, seconds in answers)
    assert all(net.step == 20 for net in nets)


def test_orders_of_numpys_generators_are_refused() -> None:
    net = networks()[0].build(6)
    train = prepare(net, X, Y, FitOptions(epochs=1, batch_size=16)).train
    generator = np.random.default_rng(0).bit_generator
    loop = Loop(net, train, 16, True, None, Position(0, 0, 0, 0), 1, 1, 1, generator=generator, pace=Pace(0.1))
    with pytest.raises(ValueError, match="a training whose order is drawn by a generator of NumPy's runs alone"):
        cnn_core.engine.run_many([next(loop.run(1, []))], 1)


NET = networks()[0]
WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"networks": []}, ValueError, "networks must be at least one, got none"),
    ({"networks": NET}, TypeError, "networks must be a list of networks, got Network"),
    ({"networks": [NET, 3]}, TypeError, r"networks\[1\] must be a cnn.Network, got int"),
    ({"networks": [NET, networks()[1], NET]}, ValueError, r"networks\[0\] and networks\[2\] are the same; make a copy"),
    ({"errors": "ignore"}, ValueError, "errors must be 'raise' or 'return', got 'ignore'"),
    ({"epochs": [1, 2]}, ValueError, "epochs must be one value for all networks or a list of 6, one for each, got 2"),
    ({"X": [X, X]}, ValueError, "X must be one value for all networks or a list of 6, one for each, got 2"),
    ({"rows": [[1], [2]]}, ValueError, "rows must be one value for all networks or a list of 6"),
    ({"callbacks": [[], []]}, ValueError, "callbacks must be one value for all networks or a list of 6"),
    ({"y": None}, TypeError, "y is None; a fit needs a target for every row"),
    ({"X": [X] * 5 + [X[:9]]}, ValueError, "y has 150"),
    ({"epochs": [1] * 5 + [-1]}, ValueError, "epochs must be"),
    ({"rows": [0, 150]}, ValueError, "rows names row 150; the rows are 0 .. 149"),
    ({"rows": [0.5]}, TypeError, r"rows must be indices of rows or a mask of all 150, got float64 of shape \(1,\)"),
    ({"rows": {"a": [1], "b": [2]}}, TypeError, "or a list of them, one for each, got a dict"),
    ({"rows": ([1], [2, 3])}, TypeError, "rows must be indices for all networks, or a list of them"),
    ({"rows": [[[1], [2, 3]]] * 6}, ValueError, "rows can't be made an array"),
    ({"rows": np.zeros(150, bool)}, ValueError, "rows names no row"),
    ({"rows": [[], *[[1]] * 5]}, ValueError, "rows names no row"),
    ({"callbacks": [Recorder()]}, ValueError, "a Recorder can't be for several networks: give a list of callbacks"),
    ({"callbacks": [[hook] for hook in [Recorder()] * 6]}, ValueError, "have the same Recorder; give each its own"),
    ({"callbacks": [cnn.SaveModel("x.cnn")]}, ValueError, "one over the other: put {member} in it"),
    ({"callbacks": [cnn.EarlyStopping()]}, ValueError, "EarlyStopping watches 'val_loss', which this fit does not"),
    ({"n_threads": 0}, ValueError, "n_threads must be"),
    ({"verbose": -1}, ValueError, "verbose must be"),
    ({"nb_epoch": 3}, TypeError, "train_many has no argument 'nb_epoch': here it is 'epochs'"),
]


@pytest.mark.parametrize(("wrong", "kind", "text"), WRONG, ids=[f"{i}-{min(w)}" for i, (w, *_) in enumerate(WRONG)])
def test_wrong_arguments_touch_nothing(wrong: dict[str, Any], kind: type[Exception], text: str) -> None:
    nets = wrong.get("networks", networks())
    with pytest.raises(kind, match=text):
        cnn.train_many(**{"networks": nets, "X": X, "y": Y, "epochs": 2, "verbose": 0, **wrong})
    assert NET.known_inputs is None
    if "networks" not in wrong:
        assert all(net.known_inputs is None and len(net.history) == 0 for net in nets)


def test_networks_that_do_not_fit_the_data_are_named() -> None:
    nets = networks()
    nets[3].build(5)
    with pytest.raises(ValueError, match="X has 6 columns, but the network takes 5 inputs") as info:
        cnn.train_many(nets, X, Y, verbose=0)
    assert info.value.__notes__ == ["This is of networks[3]."]


def test_a_network_that_is_being_fitted_is_refused() -> None:
    nets = networks()

    def again(net: cnn.Network, epoch: int, logs: dict[str, float]) -> None:
        with pytest.raises(RuntimeError, match="this network is being fitted in another thread"):
            cnn.train_many([networks()[0], net], X, Y, epochs=1, verbose=0)

    cnn.train_many(nets, X, Y, epochs=1, verbose=0, callbacks=[again])
    assert all(len(net.history) == 1 for net in nets)


def test_batches_are_for_a_fit() -> None:
    for batches in ([(X, Y), (X[:5], Y[:5])], [(X, Y)], ((X, Y), (X, Y), (X, Y))):
        with pytest.raises(TypeError, match=r"X must be an array, got a (list|tuple) of batches, which are for N"):
            cnn.train_many(networks()[:2], batches, verbose=0)
