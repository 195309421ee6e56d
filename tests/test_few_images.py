"""A few images are predicted by rows, to the bits that each has among many."""

from __future__ import annotations

import numpy as np
import pytest
from image_networks import STACKS, data, stack

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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", STACKS)
def test_rows_of_a_team_have_the_bits_of_tiles(name: str, dtype: str) -> None:
    """Threads share out lines, pixels and units, or rows where there are more of them."""
    net = stack(name, dtype)
    X = data(net, 37)[0].astype(dtype)
    net.predictor.by_rows = False
    expected = net.predict(X)
    net = stack(name, dtype)
    net.predictor.alone, net.predictor.apart = 0, True
    for n_threads in (1, 2, 3, 8):
        for rows in (1, 2, 7, 8, 9, 37):
            assert np.array_equal(net.predict(X[:rows], n_threads=n_threads), expected[:rows]), (n_threads, rows)
        assert np.array_equal(cnn.predict_many([net] * 3, X, n_threads=n_threads)[1], expected)


@pytest.mark.parametrize("units", [1, 15, 16, 17, 64, 65, 130])
def test_units_of_a_few_rows_are_shared_out(units: int) -> None:
    net = cnn.Network([cnn.Dense(units, "silu"), cnn.Dense(3)], "cross_entropy", seed=0).build(33)
    X = np.random.default_rng(0).normal(size=(8, 33)).astype(np.float32)
    expected = net.predict(X)
    net.predictor.alone = 0
    for n_threads in (1, 2, 3, 8):
        for rows in (1, 3, 8):
            assert np.array_equal(net.predict(X[:rows], n_threads=n_threads), expected[:rows])


@pytest.mark.parametrize("rows", [1, 3, 8, 21])
def test_bytes_and_numbers_that_are_not_finite(rows: int) -> None:
    net = cnn.Network([cnn.Conv2D(5, 3, activation="tanh"), cnn.GlobalAvgPool2D(), cnn.Dense(2)], seed=0)
    net.build((11, 9, 3))
    X = np.random.default_rng(0).integers(0, 256, (rows, 11, 9, 3), np.uint8)
    expected = net.predict(X)
    net.predictor.alone, net.predictor.apart = 0, True
    for n_threads in (1, 2, 5):
        assert np.array_equal(net.predict(X, n_threads=n_threads), expected)
        numbers = X / np.float32(255)
        numbers[-1, -1, -1, -1] = np.nan
        out = np.full((rows, 2), 7, np.float32)
        with pytest.raises(ValueError, match=f"X holds nan at image {rows - 1}, y 10, x 8"):
            net.predict(numbers, n_threads=n_threads, out=out)
        assert (out == 7).all()


def test_when_each_image_is_predicted_by_itself() -> None:
    """Where no cache holds a tile of 32 of them, channels fill vectors, and no dense layer has many weights."""
    rules = {(16, 256): True, (16, 64): False, (8, 512): False}
    for (filters, side), expected in rules.items():
        net = cnn.Network([cnn.Conv2D(filters, 3), cnn.GlobalAvgPool2D(), cnn.Dense(2)]).build((side, side, 1))
        assert net.predictor.apart == expected
    dense = [cnn.Conv2D(16, 3), cnn.Flatten(), cnn.Dense(2)]
    assert not cnn.Network(dense).build((256, 256, 1)).predictor.apart


def test_a_flag_that_is_up_ends_it() -> None:
    net = cnn.Network([cnn.Conv2D(16, 3), cnn.GlobalAvgPool2D(), cnn.Dense(2)], seed=0).build((9, 9, 1))
    net.predictor.apart = True
    X, out = np.ones((32, 9, 9, 1), np.float32), np.full((32, 2), 7, np.float32)  # two times eight for each thread
    assert net.predictor.many(X, out, True, 2, np.ones(1, np.int32))
    assert (out == 7).all()
    assert net.predictor.many(X, out, True, 2, np.zeros(1, np.int32))
    assert np.array_equal(out, net.predict(X))
    memory = np.zeros(net.predictor.bytes(3, True, 2), np.uint8)
    assert net.predictor.many(X[:3], out[:3], True, 2, np.ones(1, np.int32), memory)
    assert not memory.any()  # nor is anything computed by a team


def test_memory_is_that_of_the_rows_that_are_there() -> None:
    layers = [cnn.Conv2D(64, 3, padding="same"), cnn.Conv2D(64, 3, padding="same"), cnn.GlobalAvgPool2D()]
    predictor = cnn.Network([*layers, cnn.Dense(2)]).build((300, 300, 3)).predictor
    assert predictor.apart
    one, many = (predictor.bytes(1, True, n_threads) for n_threads in (1, 64))
    assert many < 2 * one
    assert predictor.bytes(64, True, 64) > 60 * one


def test_a_bias_of_minus_zero() -> None:
    """It is what a sum of -0.0 begins with, alone and in company."""
    for layer in (cnn.Conv2D(2, 3), cnn.DepthwiseConv2D(3), cnn.Conv2D(2, 1), cnn.Conv2D(2, 5)):
        net = cnn.Network([layer, cnn.Flatten(), cnn.Dense(2)], seed=0).build((5, 5, 2))
        for view in net.parameters.values():
            view[...] = -np.abs(view)
        X = np.zeros((40, 5, 5, 2), np.float32)
        assert net.predict(X).tobytes()[:8] == net.predict(X[:1]).tobytes()
