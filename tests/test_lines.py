"""Few large images: threads share out lines of pixels, to the bits of one thread and the sums of the plain way back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cnn
from cnn.runtime import arena

ROWS = (1, 3, 17, 31)


def network(dtype: str = "float32", optimizer: Any = "adam") -> cnn.Network:
    """Convolutions of several kinds, the lowest layer and the first of a block among them; lines are odd numbers."""
    layers = [
        cnn.Conv2D(12, 3, padding="same", activation="relu"),
        cnn.Residual([cnn.Conv2D(12, 3, padding="same", activation="gelu"), cnn.DepthwiseConv2D(3, padding="same")]),
        cnn.MaxPool2D(3, strides=2),
        cnn.Conv2D(5, 3, 2, activation="tanh"),
        cnn.Flatten(),
        cnn.Dropout(0.2),
        cnn.Dense(7, "relu"),
        cnn.Dense(3),
    ]
    return cnn.Network(layers, loss="cross_entropy", optimizer=optimizer, dtype=dtype, seed=3).build((37, 41, 3))


def data(rows: int, dtype: str) -> tuple[Any, Any]:
    rng = np.random.default_rng(rows)
    return rng.normal(size=(rows, 37, 41, 3)).astype(dtype), rng.integers(0, 3, rows)


@pytest.mark.parametrize("rows", ROWS)
def test_threads_don_t_change_a_bit(rows: int) -> None:
    X, y = data(rows, "float32")
    weights = []
    for n_threads in (1, 2, 3, 5):
        net = network()
        assert net.plan.cut(rows).wide == (rows > 1)
        net.fit(X, y, epochs=2, batch_size=rows, verbose=0, n_threads=n_threads)
        weights.append(net.flat.copy())
    for other in weights[1:]:
        np.testing.assert_array_equal(other, weights[0])


@pytest.mark.parametrize("rows", ROWS)
def test_the_step_is_that_of_the_gradient(rows: int) -> None:
    X, y = data(rows, "float64")
    net, plain = (network("float64", cnn.SGD(0.5)) for _ in range(2))
    before = net.flat.copy()
    net.fit(X, y, epochs=1, batch_size=rows, shuffle=False, verbose=0, n_threads=3)
    z = plain.forward(X, training=True)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(rows), y] -= 1
    plain.backward(p / rows)
    for name, step in arena.views((before - net.flat) / 0.5, net.plan.names).items():
        np.testing.assert_allclose(step, plain.gradients[name], atol=1e-12, err_msg=name)
