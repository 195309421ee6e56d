"""Fits on streams that can't be, that break or are interrupted: named errors, and networks that are whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers import run, same_bits
from stream_networks import LABELS, WEIGHTS, Loader, X, Y, batches, network

import cnn

# What can't be --------------------------------------------------------------------------------------------------------

LIST = batches(X, Y)
BAD: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (iter(LIST), {"epochs": 2}, ValueError, "epochs=2 of a list_iterator, which can be read once: give epochs=1"),
    (Loader(X, Y), {"validation_split": 0.1}, ValueError,
     "validation_split needs rows that are read from a file or arrays"),
    (Loader(X, Y), {"sample_weight": WEIGHTS}, ValueError, r"weights of batches stand in them, as \(X, y, weights\)"),
    (Loader(X, Y), {"batch_size": 0}, ValueError, "batch_size must be an integer >= 1, got 0"),
    (Loader(X, Y), {"stream": 1}, TypeError, "stream must be True or False, got 1"),
    (Loader(X, Y), {"validation_data": 3}, TypeError, r"validation_data must be \(X, y\)"),
    (Loader(X, Y), {"validation_data": iter(LIST)}, ValueError, "validation_data must begin anew for each epoch"),
    (Loader(X, Y), {"validation_data": (X[:, :4], Y)}, ValueError,
     "validation X has 4 columns, but the network takes 5"),
    (Loader(X, Y), {"validation_data": [(X[:, :4], Y)]}, ValueError, "validation X of batch 1 has 4 columns, but"),
    (Loader(X, Y), {"class_weight": "balanced"}, ValueError, "class_weight needs integer classes and a loss for them"),
    ([(X, Y, 0 * Y)], {}, ValueError, "sample_weight is zero for every training row"),
    (Loader(X, Y), {"validation_data": [(X, Y, 0 * Y)]}, ValueError, "sample_weight is zero for every validation row"),
    (iter(LIST), {"epochs": 4, "initial_epoch": 2}, ValueError, "which can be read once: give epochs=1"),
    ([(X[:0], Y[:0])], {}, ValueError, "the stream gives no rows to train on"),
    (X, {"y": Y, "stream": True, "batch_size": None}, ValueError, "batch_size=None takes all rows in one step; give a"),
    (X, {"y": Y[:7], "stream": True}, ValueError, "y has 7 rows, but X has 1000"),
    (X, {"y": Y, "stream": True, "validation_split": 1e-9}, ValueError,
     "validation_split=1e-09 of 1000 rows leaves 1000"),
    (X, {"y": None, "stream": True}, TypeError, "y is None; a fit needs a target for every row"),
    (X[:0], {"y": Y[:0], "stream": True}, ValueError, r"X has no rows: shape \(0, 5\)"),
    (X[:, 0], {"y": Y, "stream": True}, ValueError, "X must have two dimensions"),
    ("none.parquet", {"y": "y"}, FileNotFoundError, "there is no none.parquet"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "options", "kind", "text"), BAD, ids=range(len(BAD)))
def test_streams_that_are_refused_leave_the_network_as_it_was(given: Any, options: Any, kind: Any, text: str) -> None:
    net = network()
    net.fit(X, Y, epochs=1, verbose=0)
    before, step = net.flat.copy(), net.step
    with pytest.raises(kind, match=text):
        net.fit(given, **{"y": None, "epochs": 3, "verbose": 0, **options})
    if "zero for every" not in text and "no rows" not in text:
        assert net.flat.tobytes() == before.tobytes()
        assert net.step == step
    assert len(net.history) == 1


def test_schedules_and_balanced_weights_need_to_know_all() -> None:
    with pytest.raises(ValueError, match="the schedule Cosine needs the number of steps, which this stream does"):
        network(optimizer=cnn.Adam(cnn.schedules.Cosine(0.01))).fit(Loader(X, Y), verbose=0)
    with pytest.raises(ValueError, match="class_weight='balanced' counts all rows first, and this stream can be read"):
        network(3, loss="cross_entropy").fit(iter(batches(X, LABELS)), epochs=1, class_weight="balanced", verbose=0)


def test_batches_bring_their_own_targets() -> None:
    with pytest.raises(ValueError, match=r"a list of batches \(X, y\), which have their targets in them: leave"):
        network().fit(batches(X, Y), Y, epochs=1, verbose=0)


def broken(at: int, error: Any) -> Iterator[Any]:
    for number, batch in enumerate(batches(X, Y, lengths=(100,) * 10)):
        if number == at:
            if isinstance(error, BaseException):
                raise error
            batch = error
        yield batch


@pytest.mark.parametrize(("error", "kind", "text"), [
    (OSError("the wire broke"), OSError, "the wire broke"),
    ((X[:9, :4], Y[:9]), ValueError, "X of batch 6 has 4 columns, but the network takes 5 inputs"),
    ((X[:9] * np.nan, Y[:9]), ValueError, "X of batch 6 holds nan at row 0, column 0"),
    ((X[:9].astype(str), Y[:9]), TypeError, "X of batch 6 must hold numbers"),
], ids=["raises", "width", "nan", "text"])  # fmt: skip
def test_a_stream_that_breaks_leaves_the_last_whole_step(error: Any, kind: Any, text: str) -> None:
    net, reference = network(), network()
    net.fit(X, Y, epochs=1, verbose=0)
    reference.fit(X, Y, epochs=1, verbose=0)
    with pytest.raises(kind, match=text):
        net.fit(broken(5, error), epochs=1, batch_size=64, verbose=0)
    reference.fit(X[:448], Y[:448], epochs=1, batch_size=64, shuffle=False, verbose=0)
    assert same_bits(net, reference)
    assert net.step == reference.step
    assert len(net.history) == 1
    net.fit(Loader(X, Y), epochs=1, verbose=0)
    assert net.history.epoch == [0, 1]


def test_each_batch_before_an_error_is_a_step() -> None:
    net, reference = network(), network()
    with pytest.raises(OSError, match="the wire broke"):
        net.fit(broken(5, OSError("the wire broke")), epochs=1, batch_size=None, verbose=0)
    reference.fit(X[:500], Y[:500], epochs=1, batch_size=100, shuffle=False, verbose=0)
    assert same_bits(net, reference)


def test_a_stream_that_ends_early_keeps_the_epochs_before() -> None:
    class Once(Loader):
        def __iter__(self) -> Iterator[Any]:
            self.begun += 1
            return iter(self.given if self.begun == 1 else [])

    net = network()
    with pytest.raises(cnn.StreamError, match="the stream ended early, with 0 batches in epoch 2: it had some before"):
        net.fit(Once(X, Y), epochs=3, verbose=0)
    assert net.history.epoch == [0]


def test_a_loss_that_is_not_finite_is_told_by_its_batch() -> None:
    with pytest.raises(cnn.NonFiniteError, match=r"in epoch 1, batch \d+; the network keeps"):
        network(optimizer=cnn.SGD(1e30)).fit(Loader(X * 1e3, Y * 1e3), epochs=1, batch_size=32, verbose=0)


INTERRUPTED = """
    import os, signal, threading, time
    import cnn, numpy as np
    X, y = np.random.default_rng(0).normal(size=(100, 20)).astype(np.float32), np.zeros(100)
    closed = []

    def forever():
        try:
            while True:
                {wait}
                yield X, y
        finally:
            closed.append(True)

    net = cnn.Network([cnn.Dense(8, "tanh"), cnn.Dense(1)], seed=0)
    net.fit(X, y, epochs=2, verbose=0)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        net.fit(forever(), epochs=1, verbose=0)
    except KeyboardInterrupt:
        time.sleep(0.2)
        assert np.isfinite(net.flat).all() and len(net.history) == 2
        net.fit(X, y, epochs=1, verbose=0)
        print("interrupted", closed, [t.name for t in threading.enumerate() if "ahead" in t.name])
"""


@pytest.mark.parametrize("wait", ["pass", "time.sleep(0.02)"])
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="os.kill can't send Ctrl-C there")
def test_ctrl_c_ends_the_stream(wait: str) -> None:
    assert run(INTERRUPTED.format(wait=wait)) == "interrupted [True] []"


def test_nothing_is_left_behind_after_fits() -> None:
    assert not [thread for thread in threading.enumerate() if thread.name == "cnn reads ahead"]
