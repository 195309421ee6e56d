"""Windows that are too large for the integers of the core."""

from __future__ import annotations

from typing import Any

import pytest

import cnn


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: cnn.Conv2D(4, 3, strides=2**31), "strides must be 2,147,483,647 at most, got 2,147,483,648"),
        (lambda: cnn.Conv1D(4, 3, dilation_rate=2**40), "dilation_rate must be 2,147,483,647 at most"),
        (lambda: cnn.Conv2D(2**31, 1), "filters must be 2,147,483,647 at most"),
        (lambda: cnn.DepthwiseConv2D(3, depth_multiplier=2**31), "depth_multiplier must be 2,147,483,647 at most"),
        (lambda: cnn.Conv2D(4, 3, padding=2**31), "padding must be 2,147,483,647 at most"),
        (lambda: cnn.MaxPool2D(2**31, padding="same"), "pool_size must be 2,147,483,647 at most"),
        (lambda: cnn.AvgPool2D(2, strides=2**31), "strides must be 2,147,483,647 at most"),
        (lambda: cnn.Conv2D(4, 3, padding=2**30).output_shape((8, 8, 1)), "Conv2D reaches over 2147483656 x 21"),
        (lambda: cnn.Conv2D(4, 3, dilation_rate=2**30, padding="same").output_shape((8, 8, 1)), "Conv2D reaches over"),
    ],
)
def test_windows_that_the_core_can_not_count(make: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()
    assert cnn.Conv2D(4, 3, strides=2**31 - 1).output_shape((8, 8, 1)) == (1, 1, 4)
