"""Checks of X that holds images (n, height, width, channels) or signals (n, length, channels).

Those of bytes (uint8) stay as they are, for the core scales them by 1 / 255 when it reads them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cnn._common import checks, console

Shape = tuple[int, ...]
_WANTED = {1: "(rows, inputs)", 2: "(rows, length, channels)", 3: "(rows, height, width, channels)"}
Pixels = Literal["bytes", "beyond"] | None  # of images: uint8; numbers beyond [0, 1]; or within it
PIXELS: tuple[Pixels, ...] = (None, "bytes", "beyond")  # in the order of the core
_NUMBERS = 1 << 24  # looked at in one go, some 10 ms: Ctrl-C is seen between two
_COLORS = (1, 3)  # channels of images that may stand first by mistake


@dataclass(frozen=True)
class Images:
    """What X must be for a network that reads images: of that shape but for the rows, or of so many axes beside them.

    `pixels` are those that the network knows: a warning tells of others.

    >>> Images((28, 28, 1)).n_inputs
    784
    """

    shape: Shape | None
    axes: tuple[int, ...] = ()
    pixels: Pixels = None

    @property
    def n_inputs(self) -> int | None:
        """Numbers of a row; None: not known."""
        return None if self.shape is None else math.prod(self.shape)


Takes = Images | int | None  # images, or rows of so many numbers; None: of any number


def alike(X: Any) -> Takes:
    """What must be given to follow X.

    >>> alike(np.ones((5, 3))), alike(np.ones((5, 8, 8, 1)))
    (3, Images(shape=(8, 8, 1), axes=(), pixels=None))
    """
    return plain(X.shape[1:]) if len(X.shape) == 2 else Images(X.shape[1:], (), "bytes" if is_bytes(X) else None)


def is_bytes(X: Any) -> bool:
    """Whether the core scales X by 1 / 255."""
    return isinstance(X, np.ndarray) and X.dtype == np.uint8


def scaled(X: Any, dtype: np.dtype[Any]) -> Any:
    """X as the core reads it, a copy where it is bytes."""
    return X * dtype.type(1 / 255) if is_bytes(X) else X


def reach(X: Any) -> tuple[float, float]:
    """The smallest and the largest number of images, which are some."""
    step = max(1, _NUMBERS // max(1, math.prod(X.shape[1:])))
    pieces = [X[i : i + step] for i in range(0, len(X), step)]
    return float(min(piece.min() for piece in pieces)), float(max(piece.max() for piece in pieces))


def pixels(X: Any) -> Pixels:
    """What images hold."""
    if is_bytes(X):
        return "bytes"
    low, high = reach(X)
    return "beyond" if low < 0 or high > 1 else None


def suits(name: str, X: Any, known: Pixels) -> None:
    """A warning where images hold what the network does not know."""
    if known == "beyond" and is_bytes(X):
        console.warn(
            f"{name} holds bytes (uint8), which are scaled to [0, 1], and the network was trained on numbers beyond "
            f"that: give {_plain_name(name)}.astype(float) if those were not scaled"
        )
    elif known == "bytes" and not is_bytes(X) and X.size:
        low, high = reach(X)
        if low < 0 or high > 1:
            console.warn(
                f"{name} holds numbers from {low:g} to {high:g}, and the network was trained on bytes (uint8), which "
                f"are scaled to [0, 1]: give uint8, or {_plain_name(name)} / 255"
            )


def plain(shape: Shape) -> Any:
    """The shape of a row as errors and comparisons have it: of a row of numbers how many they are."""
    return shape[0] if len(shape) == 1 else shape


def features(name: str, data: Any, dtype: np.dtype[Any], takes: Images, *, look_for_nan: bool = True) -> Any:
    """X in the shape that the network reads, finite (unless somebody else is to look), not copied if it is as needed.

    Raises:
        TypeError, ValueError: wrong types or shapes, numbers that are not finite.
    """
    given = checks.array(name, data)
    images = given.ndim > 2 or (takes.shape is not None and len(takes.shape) > 1)
    kept = given.dtype if images and is_bytes(given) else dtype
    X = checks.numeric(name, given, kept)
    found, row = X.shape, X.shape[1:]
    if takes.shape is not None:
        if row == (math.prod(takes.shape),):
            X = X.reshape(len(X), *takes.shape)
        elif row != takes.shape:
            raise ValueError(
                f"{name} must have shape (rows, {', '.join(map(str, takes.shape))}) for this network, got shape {found}"
                + _hint(name, found, takes.shape)
            )
    elif len(row) not in takes.axes:
        wanted = " or ".join(_WANTED[n] for n in takes.axes)
        raise ValueError(f"{name} must have shape {wanted}, got shape {found}" + _hint_of_axes(name, found, takes.axes))
    elif not math.prod(row):
        raise ValueError(f"{name} has {'no columns' if len(row) == 1 else 'empty images'}: shape {found}")
    if look_for_nan:
        checks.finite(name, X)
    suits(name, X, takes.pixels)
    return X


def _plain_name(name: str) -> str:
    """X without its place in a stream."""
    return name.partition(" of ")[0].partition(" from ")[0]


def _hint(name: str, found: Shape, shape: Shape) -> str:
    """What may be meant by an X that is not of the shape that the network takes."""
    X, row = _plain_name(name), found[1:]
    if found == shape:
        return f"; for one image use {X}[None]"
    if shape[-1] == 1 and row == shape[:-1]:
        return f"; a last axis of 1 makes images of one channel: {X}[..., None]"
    if len(shape) > 1 and row == (shape[-1], *shape[:-1]):
        return f"; channels come last: np.moveaxis({X}, 1, -1)"
    return ""


def _hint_of_axes(name: str, found: Shape, axes: tuple[int, ...]) -> str:
    """The same where the shape is not known yet."""
    X, n = _plain_name(name), max(axes)
    if len(found) == n and n > 1:
        return f"; a last axis of 1 makes {'images' if n == 3 else 'signals'} of one channel: {X}[..., None]"
    if len(found) == 2:
        return f"; build the network for flat rows first: net.build({_WANTED[n].replace('rows, ', '')})"
    return ""


def channels_first(shape: Shape) -> bool:
    """Whether those may be images whose channels stand first.

    >>> channels_first((3, 32, 32)), channels_first((32, 32, 3))
    (True, False)
    """
    return len(shape) == 3 and shape[0] in _COLORS and shape[1] == shape[2] > max(_COLORS) + 1
