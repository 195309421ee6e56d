"""A few images are predicted by rows, to the bits that each has among many."""

from __future__ import annotations

import numpy as np
import pytest

import cnn


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("channels", "filters", "groups"), [(1, 1, 1), (3, 1, 1), (1, 3, 1), (2, 2, 2), (4, 2, 2)])
def test_a_few_images_have_the_bits_of_many(channels: int, filters: int, groups: int, padding: str) -> None:
    """One channel and one filter is the least that a convolution, and a depthwise one, can have."""
    layers = [cnn.Conv2D(filters, 3, padding=padding, groups=groups, bias_initializer="ones"), cnn.Flatten()]
    net = cnn.Network([*layers, cnn.Dense(3)], seed=1).build((6, 7, channels))
    X = np.random.default_rng(0).normal(size=(5000, 6, 7, channels)).astype(np.float32)
    many = net.predict(X)
    for n in (1, 2, 5, 30):
        np.testing.assert_array_equal(net.predict(X[:n]), many[:n])
