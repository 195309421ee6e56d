"""`AverageWeights`: beside means taken by hand, over interruptions, for several networks, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Break

import cnn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 4))
Y = X[:, 0] * X[:, 1]


def network(dtype: str = "float32", seed: int = 1) -> cnn.Network:
    return cnn.Network([cnn.Dense(8, "tanh"), cnn.Dense(1)], optimizer=cnn.SGD(0.1), dtype=dtype, seed=seed)


def weights_of_epochs(epochs: int, dtype: str, seed: int = 1) -> list[Any]:
    found: list[Any] = []
    network(dtype, seed).fit(X, Y, epochs=epochs, batch_size=10, verbose=0,
                             callbacks=[lambda net, epoch, logs: found.append(net.flat.astype(float))])  # fmt: skip
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("start", "n"), [(0, 8), (0.5, 4), (0.75, 2), (0.99, 1)])
def test_the_mean_of_the_last_epochs(dtype: str, start: float, n: int) -> None:
    net, average = network(dtype), cnn.AverageWeights(start)
    net.fit(X, Y, epochs=8, batch_size=10, verbose=0, callbacks=[average])
    assert average.epochs == n
    expected = np.mean(weights_of_epochs(8, dtype)[-n:], axis=0)
    np.testing.assert_allclose(net.flat, expected.astype(dtype), rtol=1e-6 if dtype == "float32" else 1e-13)


def test_a_moving_average() -> None:
    net = network("float64")
    net.fit(X, Y, epochs=6, batch_size=10, verbose=0, callbacks=[cnn.AverageWeights(0.4, decay=0.7)])
    mean, *others = weights_of_epochs(6, "float64")[2:]
    for weights in others:
        mean = 0.7 * mean + 0.3 * weights
    np.testing.assert_allclose(net.flat, mean, rtol=1e-12)


def test_a_further_fit_begins_anew() -> None:
    net, average = network(), cnn.AverageWeights(0.5)
    for _ in range(2):
        net.fit(X, Y, epochs=4, batch_size=10, verbose=0, callbacks=[average])
        assert average.epochs == 2


def test_a_fit_that_is_resumed_has_the_same_mean(tmp_path: Path) -> None:
    def fit(net: cnn.Network, *callbacks: Any, **how: Any) -> bytes:
        net.fit(X, Y, epochs=6, batch_size=10, verbose=0, callbacks=[cnn.AverageWeights(0.3, 0.9), *callbacks], **how)
        return net.flat.tobytes()

    expected = fit(network())
    for n in (1, 3):  # before its first epoch, and after it
        with pytest.raises(KeyboardInterrupt):
            fit(network(), cnn.Checkpoint(tmp_path / str(n)), Break(n), resume=tmp_path / str(n))
        assert fit(network(), cnn.Checkpoint(tmp_path / str(n)), resume=tmp_path / str(n)) == expected


def test_side_by_side() -> None:
    nets = [network(seed=seed) for seed in (1, 2)]
    cnn.train_many(nets, X, Y, epochs=4, batch_size=10, verbose=0, callbacks=[cnn.AverageWeights(0.5)])
    for net, seed in zip(nets, (1, 2), strict=True):
        np.testing.assert_allclose(net.flat, np.mean(weights_of_epochs(4, "float32", seed)[2:], axis=0), rtol=1e-6)


def test_what_can_not_be_is_said() -> None:
    for arguments, kind, text in (
        ((1,), ValueError, r"start of AverageWeights must be in \[0, 1\), got 1"),
        (("a",), TypeError, "start of AverageWeights must be a number, got 'a'"),
        ((0.5, 1), ValueError, r"decay of AverageWeights must be in \(0, 1\), got 1"),
    ):
        with pytest.raises(kind, match=text):
            cnn.AverageWeights(*arguments)
    net = network().build(4)
    good = {"epochs": 1, "first": 2, **{f"mean.{name}": np.zeros(view.shape) for name, view in net.parameters.items()}}
    average = cnn.AverageWeights()
    average.check_state(good, net)
    average.check_state({"epochs": 0, "first": 2}, net)
    for wrong, text in (
        ({**good, "epochs": -1}, "'epochs' must be a number of epochs, got -1"),
        ({**good, "mean.layers.0.biases": np.zeros(7)}, "'mean.layers.0.biases' must be a tensor of float64"),
        ({"epochs": 1, "first": 0}, "'mean.layers.0.weights' is missing"),
        ({**good, "more": 1}, "'more' is unknown"),
    ):
        with pytest.raises(ValueError, match=text):
            average.check_state(wrong, net)
