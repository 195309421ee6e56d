"""Callbacks: what each does, in which order they are called, and what is left when one of them raises."""

from __future__ import annotations

import csv
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cnn


def data(n: int = 100) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4))
    return X, np.sin(X[:, 0]) + 0.1 * rng.normal(size=n)


def network(rate: float = 0.01) -> cnn.Network:
    return cnn.Network([cnn.Dense(8, "tanh"), cnn.Dense(1)], optimizer=cnn.Adam(rate), seed=0)


class Recorder(cnn.Callback):
    """Notes every call."""

    def __init__(self, fail_at: str = "") -> None:
        self.calls: list[str] = []
        self.rows = 0
        self.fail_at = fail_at

    def note(self, call: str) -> None:
        self.calls.append(call)
        if call == self.fail_at:
            raise RuntimeError(f"failed at {call}")

    def check(self, run: cnn.callbacks.Run) -> None:
        self.note("check")

    def on_fit_begin(self, network: cnn.Network, run: cnn.callbacks.Run) -> None:
        self.run = run
        self.note("fit_begin")

    def on_epoch_begin(self, network: cnn.Network, epoch: int) -> None:
        self.note(f"begin {epoch}")

    def on_progress(self, network: cnn.Network, epoch: int, rows: int) -> None:
        self.rows += rows

    def on_epoch_end(self, network: cnn.Network, epoch: int, logs: dict[str, float]) -> None:
        self.logs = logs
        self.note(f"end {epoch}")

    def on_fit_end(self, network: cnn.Network) -> None:
        self.note("fit_end")


def test_the_order_of_the_calls() -> None:
    X, y = data()
    recorder = Recorder()
    network().fit(X, y, epochs=2, batch_size=30, validation_split=0.1, callbacks=[recorder], verbose=0)
    assert recorder.calls == ["check", "fit_begin", "begin 0", "end 0", "begin 1", "end 1", "fit_end"]
    assert recorder.rows == 180
    run = recorder.run
    assert (run.first_epoch, run.epochs, run.rows, run.steps_per_epoch) == (0, 2, 90, 3)
    assert run.names == tuple(recorder.logs) == ("loss", "rmse", "val_loss", "val_rmse", "learning_rate", "seconds")


def test_the_defaults_do_nothing() -> None:
    X, y = data()
    assert len(network().fit(X, y, epochs=2, callbacks=[cnn.Callback()], verbose=0)) == 2


def test_a_function_is_a_callback() -> None:
    X, y = data()
    seen = []
    network().fit(X, y, epochs=3, callbacks=[lambda net, epoch, logs: seen.append((epoch, logs["loss"]))], verbose=0)
    assert [epoch for epoch, _ in seen] == [0, 1, 2]


def test_stop_training() -> None:
    X, y = data()
    net = network()

    def stop(network: cnn.Network, epoch: int, logs: dict[str, float]) -> None:
        network.stop_training = epoch == 1

    assert net.fit(X, y, epochs=9, callbacks=[stop], verbose=0).epoch == [0, 1]
    assert net.fit(X, y, epochs=2, verbose=0).epoch == [2, 3]


@pytest.mark.parametrize("where", ["check", "fit_begin", "begin 1", "end 0", "end 1", "fit_end"])
def test_a_callback_that_raises_leaves_a_usable_network(where: str) -> None:
    X, y = data()
    net, before, failing, after = network(), Recorder(), Recorder(where), Recorder()
    with pytest.raises(RuntimeError, match=f"failed at {where}"):
        net.fit(X, y, epochs=2, callbacks=[before, failing, after], verbose=0)
    for other in (before, after):  # whoever has begun is ended
        assert ("fit_begin" in other.calls) == ("fit_end" in other.calls)
    assert len({len(net.history[name]) for name in net.history.names} | {len(net.history.epoch)}) == 1
    if where == "check":
        assert net.known_inputs is None
    epochs = len(net.history)
    assert net.fit(X, y, epochs=2, verbose=0).epoch == [epochs, epochs + 1]
    assert np.isfinite(net.predict(X)).all()


# Early stopping -------------------------------------------------------------------------------------------------------

def feed(callback: cnn.callbacks.Callback, net: cnn.Network, values: list[float], name: str = "val_loss") -> int:
    """Gives it made-up numbers; the epoch after which it stops the fit, or -1."""
    net.stop_training = False
    callback.on_fit_begin(net, cnn.callbacks.Run(0, len(values), 1, 1, (name,)))
    for epoch, value in enumerate(values):
        net.flat[...] = epoch
        callback.on_epoch_end(net, epoch, {name: value})
        if net.stop_training:
            return epoch
    return -1


@pytest.mark.parametrize(("options", "values", "stopped", "best"), [
    ({"patience": 2}, [3, 2, 2.5, 2.4, 1], 3, 1),
    ({"patience": 2}, [3, 2, 2.5, 1, 2, 2], 5, 3),
    ({"patience": 1}, [3, 2, 2, 1], 2, 1),
    ({"patience": 2, "min_delta": 0.5}, [3, 2.6, 2.55, 1], 2, 0),
    ({"patience": 2}, [math.nan, 2, math.nan, math.nan, 1], 3, 1),
    ({"patience": 2, "monitor": "val_accuracy"}, [0.1, 0.5, 0.4, 0.5], 3, 1),
    ({"patience": 2, "monitor": "val_accuracy", "mode": "min"}, [0.1, 0.5, 0.4, 0.5], 2, 0),
    ({"patience": 2, "monitor": "mine", "mode": "max"}, [1, 2, 3, 4], -1, 3),
])  # fmt: skip
def test_early_stopping(options, values: list[float], stopped: int, best: int) -> None:
    net = network().build(4)
    callback = cnn.EarlyStopping(**options)
    assert feed(callback, net, values, callback.monitor) == stopped
    assert callback.stopped_epoch == (stopped if stopped >= 0 else None)
    assert callback.best_epoch == best
    callback.on_fit_end(net)
    assert set(net.get_weights()["layers.0.biases"]) == {best}


def test_early_stopping_in_a_fit_restores_the_best_weights() -> None:
    X, y = data(60)
    y = y + np.random.default_rng(1).normal(size=60)
    net = cnn.Network([cnn.Dense(200, "relu"), cnn.Dense(1)], optimizer=cnn.Adam(0.02), seed=0)
    history = net.fit(X, y, epochs=200, validation_split=0.5, verbose=0, callbacks=[cnn.EarlyStopping(patience=5)])
    best = int(np.argmin(history.val_loss))
    assert len(history) == best + 6 < 200
    assert net.evaluate(X[30:], y[30:])["loss"] == history.val_loss[best]
    kept = cnn.Network([cnn.Dense(200, "relu"), cnn.Dense(1)], optimizer=cnn.Adam(0.02), seed=0)
    kept.fit(X, y, epochs=200, validation_split=0.5, verbose=0,
             callbacks=[cnn.EarlyStopping(patience=5, restore_best=False)])  # fmt: skip
    assert kept.evaluate(X[30:], y[30:])["loss"] == history.val_loss[-1]


def test_the_best_weights_are_restored_however_the_fit_ends() -> None:
    X, y = data()
    net, best = network(), {}

    def interrupt(network: cnn.Network, epoch: int, logs: dict[str, float]) -> None:
        if epoch == 0:
            best.update(network.get_weights())
        elif epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, epochs=9, callbacks=[interrupt, cnn.EarlyStopping("learning_rate", patience=9)], verbose=0)
    assert all((net.parameters[name] == value).all() for name, value in best.items())


def as_in_keras(
    values: list[float], patience: int, min_delta: float, sign: int, start_from_epoch: int, baseline: float | None
) -> tuple[int, int]:
    """(the epoch after which Keras's EarlyStopping stops, or -1; the best epoch, or -1), by its counter of waiting."""
    def better(value: float, than: float) -> bool:
        return sign * value + min_delta < sign * than

    best, wait, at = sign * math.inf, 0, -1
    for epoch, value in enumerate(values):
        if epoch < start_from_epoch:
            continue
        wait += 1
        if better(value, best):
            best, at = value, epoch
            if baseline is None or better(value, baseline):
                wait = 0
        elif wait >= patience and epoch > 0:
            return epoch, at
    return -1, at


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=20), st.integers(1, 4), st.sampled_from([0.0, 1.5]),
    st.sampled_from(["min", "max"]), st.integers(0, 6), st.none() | st.integers(-1, 13),
)  # fmt: skip
def test_early_stopping_is_that_of_keras(
    values: list[float], patience: int, min_delta: float, mode: Any, start: int, baseline: float | None
) -> None:
    callback = cnn.EarlyStopping("mine", patience, min_delta, mode, start_from_epoch=start, baseline=baseline)
    net = network().build(4)
    stopped = feed(callback, net, values, "mine")
    expected, best = as_in_keras(values, patience, min_delta, 1 if mode == "min" else -1, start, baseline)
    assert stopped == expected
    before = net.flat.copy()
    callback.on_fit_end(net)
    if best < 0:
        assert (net.flat == before).all()
    else:
        assert callback.best_epoch == best
        assert (net.flat == best).all()


def test_early_stopping_counts_the_epochs_of_the_fit() -> None:
    """A further one begins to count anew; with `initial_epoch` the numbers of the epochs are meant, as in Keras."""
    X, y = data()
    net = network()

    def best(**how: Any) -> int:
        stop = cnn.EarlyStopping("learning_rate", 99, start_from_epoch=3)  # the first that is looked at is the best
        net.fit(X, y, callbacks=[stop], verbose=0, **how)
        return stop.best_epoch

    assert [best(epochs=5), best(epochs=5), best(epochs=20, initial_epoch=10), best(epochs=2)] == [3, 8, 10, 22]


@pytest.mark.parametrize(("make", "kind", "text"), [
    (lambda: cnn.EarlyStopping(start_from_epoch=-1), ValueError, "start_from_epoch must be an integer >= 0, got -1"),
    (lambda: cnn.EarlyStopping(start_from_epoch=1.5), TypeError, "start_from_epoch must be an integer >= 0, got 1.5"),
    (lambda: cnn.EarlyStopping(baseline=math.nan), ValueError, r"baseline must be in \(-inf, inf\), got nan"),
    (lambda: cnn.EarlyStopping(baseline="low"), TypeError, "baseline must be a number, got 'low' of type str"),
])  # fmt: skip
def test_wrong_arguments_of_early_stopping(make: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        make()


# The others -----------------------------------------------------------------------------------------------------------

def test_reduce_on_plateau() -> None:
    net = network()
    callback = cnn.ReduceOnPlateau(patience=2, factor=0.1, min_rate=0.005)
    feed(callback, net.build(4), [3, 2, 2, 2, 2, 1, 1, 1])
    assert net.rate_factor == pytest.approx(0.01)
    feed(callback, net, [1] * 9)
    assert net.rate_factor == 0.005


def test_reduce_on_plateau_never_raises_the_rate() -> None:
    net = cnn.Network([cnn.Dense(1)], optimizer=cnn.SGD(0.1), seed=0)
    net.rate_factor = 1e-6
    reduce = cnn.ReduceOnPlateau("loss", patience=1, min_delta=1e9)
    net.fit(np.ones((8, 1)), np.ones(8), epochs=4, verbose=0, callbacks=[reduce])
    assert net.rate_factor == 1e-6


def test_reduce_on_plateau_acts_on_the_steps_that_follow() -> None:
    X, y = data()
    net = network(rate=0.1)
    history = net.fit(X, y, epochs=5, verbose=0,
                      callbacks=[cnn.ReduceOnPlateau("learning_rate", patience=1, factor=0.5)])  # fmt: skip
    # The rate improves, for the monitor, whenever it falls: so it is cut every other epoch.
    assert history.learning_rate == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025])
    with_half = network(rate=0.1)
    with_half.fit(X, y, epochs=2, verbose=0)
    with_half.rate_factor = 0.5
    with_half.fit(X, y, epochs=2, verbose=0)
    with_half.rate_factor = 0.25
    with_half.fit(X, y, epochs=1, verbose=0)
    assert with_half.flat.tobytes() == net.flat.tobytes()


def test_models_are_saved(tmp_path) -> None:
    X, y = data()
    net = network()
    weights = []
    net.fit(X, y, epochs=5, verbose=0, callbacks=[
        cnn.SaveModel(tmp_path / "every-{epoch}.cnn", every=2), lambda n, e, logs: weights.append(n.flat.copy()),
    ])  # fmt: skip
    assert sorted(p.name for p in tmp_path.iterdir()) == ["every-1.cnn", "every-3.cnn"]
    assert cnn.load(tmp_path / "every-3.cnn").flat.tobytes() == weights[3].tobytes()


def test_the_best_model_is_saved(tmp_path) -> None:
    net = network().build(4)
    callback = cnn.SaveModel(tmp_path / "best.cnn", monitor="val_loss")
    feed(callback, net, [3, 1, 2, 2])
    assert set(cnn.load(tmp_path / "best.cnn").layers[0].biases) == {1}


def test_csv_logger_goes_on_in_the_same_file(tmp_path) -> None:
    X, y = data()
    net, path = network(), tmp_path / "log.csv"
    for _ in range(2):
        net.fit(X, y, epochs=2, validation_split=0.1, callbacks=[cnn.CSVLogger(path)], verbose=0)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2, 3]
    assert [float(row["val_loss"]) for row in rows] == net.history.val_loss
    with pytest.raises(ValueError, match="has the columns epoch, loss"):
        net.fit(X, y, callbacks=[cnn.CSVLogger(path)], verbose=0)
    assert len(net.history) == 4


def test_progress_shows_epochs_and_numbers(capsys) -> None:
    X, y = data()
    network().fit(X, y, epochs=3, validation_split=0.1, verbose=1)
    text = capsys.readouterr().err
    assert "epoch 3/3" in text
    assert "100%" in text
    assert "val_loss=" in text
    network().fit(X, y, epochs=2, verbose=False)
    assert capsys.readouterr() == ("", "")


def test_verbose_2_is_a_line_for_each_epoch(capsys) -> None:
    X, y = data()
    history = network().fit(X, y, epochs=2, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1", "epoch 2"]
    assert f"loss {history.loss[1]:.4g}" in lines[1]
