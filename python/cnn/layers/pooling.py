"""Pooling of images and signals, and what makes rows of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import cnn_core
from cnn.layers.layer import Layer, Shape
from cnn.layers.window import Padding, Window, axes, image, padding, plain, sizes

_MOST_TAPS = 2**24  # pixels of a window that float32 counts one by one


@dataclass(frozen=True)
class _Windows(Layer):
    """What all kinds of pooling have in common."""

    rank: ClassVar[int] = 2
    kind: ClassVar[Any] = cnn_core.LayerKind.MAX_POOL

    @property
    def axes(self) -> tuple[int, ...]:
        return (self.rank + 1,)

    def window(self, shape: Shape) -> Window:
        """Where the windows stand on images of that shape, and what size that gives."""
        raise NotImplementedError

    def kept(self, shape: Shape) -> int:
        """Of max pooling: which pixel of its window each output is."""
        if self.kind != cnn_core.LayerKind.MAX_POOL:
            return 0
        window = self.window(shape)
        taps = math.prod(min(size, n) for size, n in zip(window.kernel, window.image, strict=True))
        if taps > _MOST_TAPS:
            raise ValueError(f"{type(self).__name__} takes windows of {_MOST_TAPS:,} pixels at most, got {taps:,}")
        return math.prod(self.output_shape(shape))

    def fill(self, spec: Any, shape: Shape) -> None:
        spec["kind"] = self.kind
        self.window(shape).fill(spec, shape[-1], shape[-1], shape[-1])


@dataclass(frozen=True)
class _Pool(_Windows):
    """A window that moves over each channel by itself."""

    pool_size: int | tuple[int, ...] = 2
    strides: int | tuple[int, ...] | None = None
    padding: Padding | int | tuple[int, ...] = "valid"

    def __post_init__(self) -> None:
        pool = sizes("pool_size", self.pool_size, self.rank)
        object.__setattr__(self, "pool_size", plain(pool))
        if self.strides is not None:
            object.__setattr__(self, "strides", plain(sizes("strides", self.strides, self.rank)))
        object.__setattr__(self, "padding", padding("padding", self.padding, self.rank))
        pads = axes(self.padding, self.rank)
        if not isinstance(pads, str) and any(2 * pad > size for pad, size in zip(pads, pool, strict=True)):
            raise ValueError(f"padding must be half of pool_size={self.pool_size} at most, got {self.padding}")

    def window(self, shape: Shape) -> Window:
        size, _ = image(self, shape, self.rank)
        pool = sizes("pool_size", self.pool_size, self.rank)
        stride = pool if self.strides is None else sizes("strides", self.strides, self.rank)
        return Window(size, pool, stride, axes(self.padding, self.rank), what=type(self).__name__)

    def output_shape(self, shape: Shape) -> Shape:
        return (*self.window(shape).out, shape[-1])


@dataclass(frozen=True)
class MaxPool2D(_Pool):
    """The largest number of each channel in windows of an image (height, width, channels).

    Of equal ones the first, row by row, passes the gradient on. (Ranzato et al. 2007; as in Keras and PyTorch.)

    Args:
        pool_size: height and width of a window: an integer or two.
        strides: by how many pixels it moves on; None: its size, so that windows lie side by side.
        padding: "valid": windows that are inside the image; "same": ceil(size / stride) of them, what is outside does
            not count; an integer, or two: so many pixels outside on both sides, half a window at most.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range; in a network, images smaller than it.

    >>> import cnn
    >>> MaxPool2D(2).output_shape((28, 28, 6))
    (14, 14, 6)
    """


@dataclass(frozen=True)
class MaxPool1D(_Pool):
    """The largest number of each channel in windows of a signal (length, channels).

    Args and Raises: as of `MaxPool2D`, with one number for each size.

    >>> MaxPool1D(2).output_shape((100, 3))
    (50, 3)
    """

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class AvgPool2D(_Pool):
    """The mean of each channel in windows of an image (height, width, channels); what is outside does not count.

    Args and Raises: as of `MaxPool2D`.

    >>> AvgPool2D(2, strides=1, padding="same").output_shape((7, 7, 3))
    (7, 7, 3)
    """

    kind: ClassVar[Any] = cnn_core.LayerKind.AVERAGE_POOL


@dataclass(frozen=True)
class AvgPool1D(AvgPool2D):
    """The mean of each channel in windows of a signal (length, channels).

    Args and Raises: as of `MaxPool2D`, with one number for each size.

    >>> AvgPool1D(4).output_shape((100, 3))
    (25, 3)
    """

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class _GlobalPool(_Windows):
    """One window as large as the image."""

    kind: ClassVar[Any] = cnn_core.LayerKind.AVERAGE_POOL

    def window(self, shape: Shape) -> Window:
        size, _ = image(self, shape, self.rank)
        return Window(size, size, size, "valid")

    def output_shape(self, shape: Shape) -> Shape:
        image(self, shape, self.rank)
        return shape[-1:]


@dataclass(frozen=True)
class GlobalAvgPool2D(_GlobalPool):
    """The mean of each channel of an image: (height, width, channels) becomes (channels,).

    (Lin, Chen & Yan 2014, "Network in network".)

    >>> GlobalAvgPool2D().output_shape((7, 7, 64))
    (64,)
    """


@dataclass(frozen=True)
class GlobalAvgPool1D(_GlobalPool):
    """The mean of each channel of a signal: (length, channels) becomes (channels,).

    >>> GlobalAvgPool1D().output_shape((100, 8))
    (8,)
    """

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class GlobalMaxPool2D(_GlobalPool):
    """The largest number of each channel of an image: (height, width, channels) becomes (channels,).

    >>> GlobalMaxPool2D().output_shape((7, 7, 64))
    (64,)
    """

    kind: ClassVar[Any] = cnn_core.LayerKind.MAX_POOL


@dataclass(frozen=True)
class GlobalMaxPool1D(GlobalMaxPool2D):
    """The largest number of each channel of a signal: (length, channels) becomes (channels,).

    >>> GlobalMaxPool1D().output_shape((100, 8))
    (8,)
    """

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class Flatten(Layer):
    """Images as rows of numbers, by rows of pixels, then pixels, then channels, as in Keras.

    Nothing moves: images stand in memory as such rows.

    >>> Flatten().output_shape((7, 7, 64))
    (3136,)
    """

    @property
    def axes(self) -> tuple[int, ...]:
        return (1, 2, 3)

    def output_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)

    def fill(self, spec: Any, shape: Shape) -> None:
        spec["kind"] = cnn_core.LayerKind.FLATTEN
