"""`LearningRateScheduler`: what the function gets and gives, in every kind of fit, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from test_callbacks import data, network

import cnn


def test_the_function_gets_epoch_and_rate_and_gives_the_rate() -> None:
    X, y = data()
    net, asked = network(rate=0.1), []

    def rate_of(epoch: int, rate: float) -> float:
        asked.append((epoch, rate))
        return rate if epoch == 0 else 0.9 * rate

    scheduler = cnn.LearningRateScheduler(rate_of)
    history = net.fit(X, y, epochs=4, batch_size=30, verbose=0, callbacks=[scheduler])
    expected = [0.1, 0.09, 0.081, 0.0729]
    np.testing.assert_allclose(history.learning_rate, expected, rtol=1e-15)
    np.testing.assert_allclose([rate for _, rate in asked], [0.1, *expected[:3]], rtol=1e-15)
    assert [epoch for epoch, _ in asked] == [0, 1, 2, 3]
    again = net.fit(X, y, epochs=2, verbose=0, callbacks=[scheduler])  # counts anew, from the rate that it left
    np.testing.assert_allclose(again.learning_rate, [0.0729, 0.06561], rtol=1e-15)
    rest = net.fit(X, y, epochs=12, initial_epoch=11, verbose=0, callbacks=[scheduler])
    assert asked[-1][0] == 11
    np.testing.assert_allclose(rest.learning_rate, [0.059049], rtol=1e-14)


def test_a_schedule_by_a_function_has_the_bits_of_the_schedule() -> None:
    X, y = data()
    step = cnn.Network([cnn.Dense(1)], optimizer=cnn.SGD(cnn.schedules.Step(0.25, epochs=1, factor=0.5)), seed=0)
    step.fit(X, y, epochs=5, batch_size=30, verbose=0)
    by_function = cnn.Network([cnn.Dense(1)], optimizer=cnn.SGD(0.25), seed=0)
    halved = cnn.LearningRateScheduler(lambda epoch, rate: 0.25 * 0.5**epoch)
    by_function.fit(X, y, epochs=5, batch_size=30, verbose=0, callbacks=[halved])
    assert by_function.flat.tobytes() == step.flat.tobytes()


def test_the_function_sees_what_a_plateau_has_made() -> None:
    net = cnn.Network([cnn.Dense(1)], optimizer=cnn.SGD(0.1), seed=0)
    plateau = cnn.ReduceOnPlateau("loss", patience=1, min_delta=1e9)
    kept = cnn.LearningRateScheduler(lambda _, rate: rate)
    rates = net.fit(np.ones((8, 1)), np.ones(8), epochs=3, verbose=0, callbacks=[plateau, kept]).learning_rate
    assert rates == pytest.approx([0.1, 0.1, 0.05])


@pytest.mark.parametrize("breaks_after", [1, 4, 7])
def test_a_function_is_not_asked_twice_for_an_epoch_that_is_resumed(breaks_after: int, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("cnn.training.loop._PIECE_SECONDS", 2e-6)
    X, y = data()

    def fit(*more: cnn.Callback, **how: Any) -> cnn.Network:
        net = network()
        falls = cnn.LearningRateScheduler(lambda epoch, rate: 0.7 * rate)
        hooks = [falls, cnn.Checkpoint(tmp_path / "run", 1, "steps"), *more]
        net.fit(X, y, epochs=4, batch_size=30, verbose=0, callbacks=hooks, **how)
        return net

    class Break(cnn.Callback):
        def on_progress(self, network: cnn.Network, epoch: int, rows: int) -> None:
            if network.step >= breaks_after:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(Break(), resume=None)
    resumed = fit(resume=tmp_path / "run")
    for path in (tmp_path / "run").iterdir():
        path.unlink()
    whole = fit()
    assert resumed.flat.tobytes() == whole.flat.tobytes()
    assert resumed.rate_factor == whole.rate_factor


def test_a_function_for_several_networks_and_for_estimators() -> None:
    pytest.importorskip("sklearn")
    X, y = data()
    falls = cnn.LearningRateScheduler(lambda epoch, rate: 0.01 / (1 + epoch))
    histories = cnn.train_many([network(), network(0.3)], X, y, epochs=3, callbacks=[falls], verbose=0)
    for history in histories:
        assert history.learning_rate == pytest.approx([0.01, 0.005, 0.01 / 3])
    est = cnn.MLPRegressor(hidden_layer_sizes=(4,), max_iter=3, callbacks=[falls], random_state=0)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        est.fit(X, y)
    assert est.history_.learning_rate == pytest.approx([0.01, 0.005, 0.01 / 3])


@pytest.mark.parametrize(("optimizer", "function", "kind", "text"), [
    (cnn.SGD(cnn.schedules.Cosine(0.1)), lambda epoch, rate: rate, ValueError,
     r"needs an optimizer whose learning_rate is a number > 0; it is Cosine\(learning_rate=0.1"),
    (cnn.SGD(0), lambda epoch, rate: rate, ValueError, "a number > 0; it is 0.0"),
    (cnn.SGD(0.1), lambda epoch, rate: -rate, ValueError, r"gives for epoch 0 must be in \[0, inf\), got -0.1"),
    (cnn.SGD(0.1), lambda epoch, rate: math.nan, ValueError, "gives for epoch 0 must be in .* got nan"),
    (cnn.SGD(0.1), lambda epoch, rate: None, TypeError, "gives for epoch 0 must be a number, got None"),
])  # fmt: skip
def test_rates_that_can_not_be(optimizer: Any, function: Any, kind: type[Exception], text: str) -> None:
    net = cnn.Network([cnn.Dense(1)], optimizer=optimizer, seed=0)
    before = net.build(4).flat.copy()
    with pytest.raises(kind, match=text):
        net.fit(*data(), callbacks=[cnn.LearningRateScheduler(function)], verbose=0)
    assert (net.flat == before).all()
    with pytest.raises(TypeError, match=r"LearningRateScheduler takes a function \(epoch, rate\) -> rate, got 0.1"):
        cnn.LearningRateScheduler(0.1)


def test_lbfgs_has_no_rate_to_set() -> None:
    pytest.importorskip("sklearn")
    est = cnn.MLPRegressor(solver="lbfgs", callbacks=[cnn.LearningRateScheduler(lambda epoch, rate: rate)])
    with pytest.raises(ValueError, match="needs an optimizer whose learning_rate is a number > 0; it is none"):
        est.fit(*data())
