"""Losses, gradients and updates that stop being finite: what is said, and which weights are kept."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import same_bits
from test_training import data

import cnn

# What stops being finite ----------------------------------------------------------------------------------------------

def diverging(optimizer: cnn.optimizers.Optimizer) -> cnn.Network:
    return cnn.Network([cnn.Dense(3), cnn.Dense(1)], optimizer=optimizer, dtype="float32", seed=0)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_a_loss_that_is_not_finite_is_named_and_the_last_weights_are_kept(n_threads: int) -> None:
    """Stepping by hand shows where it happens and what the weights were there."""
    X, y = data(256, 40)
    X, y = X * 10, y * 100
    net, twin = (cnn.Network([cnn.Dense(64), cnn.Dense(1)], optimizer=cnn.SGD(1.0), seed=0).build(40) for _ in range(2))
    with pytest.raises(cnn.NonFiniteError) as caught:
        net.fit(X, y, epochs=50, batch_size=96, shuffle=False, verbose=0, n_threads=n_threads)
    epoch, batch = divmod(net.step, 3)
    assert 0 < net.step < 150
    assert f"epoch {epoch + 1}, batch {batch + 1} of 3" in str(caught.value)
    assert "is not finite" in str(caught.value)
    assert np.isfinite(net.flat).all()
    assert np.isfinite(net.state).all()
    for step in range(net.step):
        rows = slice(step % 3 * 96, step % 3 * 96 + 96)
        with np.errstate(over="ignore"):
            twin.update(twin.loss_and_gradient(X[rows], y[rows])[1])
    np.testing.assert_allclose(net.flat, twin.flat, rtol=1e-3)
    assert len(net.history) == epoch


def test_the_batch_that_is_named_is_the_one() -> None:
    X, y = np.ones((40, 2)), np.ones(40)
    y[23] = 1e30  # its square overflows float32
    net = diverging(cnn.SGD(0.001))
    with pytest.raises(cnn.NonFiniteError, match="the loss is not finite in epoch 1, batch 3 of 4"):
        net.fit(X, y, batch_size=10, shuffle=False, verbose=0)
    assert net.step == 2
    twin = diverging(cnn.SGD(0.001))
    twin.fit(X[:20], y[:20], epochs=1, batch_size=10, shuffle=False, verbose=0)
    assert same_bits(net, twin)


@pytest.mark.parametrize("optimizer", [cnn.SGD(1e38), cnn.SGD(1e38, momentum=0.5), cnn.Nadam(3e38), cnn.Adagrad(3e38)])
def test_an_update_that_overflows_is_taken_back_whole(optimizer) -> None:
    X, y = np.full((20, 2), 30.0), np.full(20, 100.0)
    net = diverging(optimizer).build(2)
    net.layers[0].weights[...] = 3e38  # the forward pass stays finite: the next layer has no weight yet
    net.layers[1].weights[...] = 0
    net.layers[0].weights[:, 1:] = 1
    before = net.flat.copy()
    X[:, 0] = 0
    X[:, 1] = 0
    net.layers[1].biases[...] = -3e38 if "Ada" in type(optimizer).__name__ else 0
    before = net.flat.copy()
    with pytest.raises(cnn.NonFiniteError, match="epoch 1, batch 1 of 2"):
        net.fit(X, y, batch_size=10, verbose=0)
    assert net.step == 0
    assert net.flat.tobytes() == before.tobytes()


def test_a_network_goes_on_after_it() -> None:
    X, y = data(60)
    net = diverging(cnn.SGD(0.01, momentum=0.5))
    bad = y.copy()
    bad[:] = 1e30
    net.fit(X, y, epochs=2, verbose=0)
    with pytest.raises(cnn.NonFiniteError):
        net.fit(X, bad, epochs=2, verbose=0)
    assert net.epoch == 2
    assert net.fit(X, y, epochs=3, verbose=0).loss[-1] < net.history.loss[0]


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_averages_of_units_without_a_gradient_end_at_zero(dtype: str, n_threads: int) -> None:
    """They once stayed at the smallest of all numbers, for each of which Intel's processors take many cycles."""
    rng = np.random.default_rng(0)
    X = rng.uniform(0.5, 1, (400, 8))
    net = cnn.Network([cnn.Dense(16, "relu"), cnn.Dense(1)], optimizer=cnn.Adam(1e-3), dtype=dtype, seed=0)
    net.fit(X, X[:, :1], epochs=1, batch_size=100, n_threads=n_threads, verbose=0)
    net.layers[0].weights[:, ::2] = -1  # dead from now on
    net.fit(X, X[:, :1], epochs=2500, batch_size=100, n_threads=n_threads, verbose=0, metrics=())
    assert np.all(net.layers[0].weights[:, ::2] <= -0.9)
    tiny = np.finfo(dtype).tiny
    assert np.count_nonzero(net.state == 0) >= 8 * 9
    assert not np.any((net.state != 0) & (np.abs(net.state) < tiny))
    assert tiny / np.array(2, dtype) > 0  # the caller's arithmetic is what it was
