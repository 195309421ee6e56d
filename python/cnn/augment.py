"""Augmentation: images that are changed at random each time a training step takes them, so that a network does not
learn where they stand or which way they look (Simard, Steinkraus & Platt 2003; Krizhevsky et al. 2012).

`fit(augment=[...])` does it in compiled code while rows are gathered. Numbers are drawn by (seed, step, row of the
minibatch) alone: any number of threads and processes, and a resumed fit, make the same images. Rows that are held out
stay as they are; metrics of training rows are those of the changed images.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

import cnn_core
from cnn._common import checks

Size = int | tuple[int, int]
_MOST = 16  # cnn_core/augment.pxd
_OUTSIDE = {"zeros": cnn_core.Outside.ZEROS, "edge": cnn_core.Outside.EDGE, "reflect": cnn_core.Outside.REFLECT}


@dataclass(frozen=True)
class Augmentation:
    """A change of images, or of signals along their length; frozen, and shared at will.

    Shifts and flips come first, in the order in which they are given, then cutouts, then noise.

    >>> isinstance(Shift(2), Augmentation)
    True
    """

    kind: ClassVar[Any]

    def fill(self, spec: Any, height: int, width: int) -> None:
        """Writes the core's `AugmentSpec` for that height (1 of a signal) and width; ValueError where it can't be."""
        spec["kind"] = self.kind


@dataclass(frozen=True)
class Shift(Augmentation):
    """Moves an image by up to so many pixels along each axis, all distances being as likely.

    With zeros outside that is what a random crop of the padded image gives (He et al. 2016 take 4 pixels of 32).

    Args:
        pixels: the largest distance, >= 1 and less than the image; or two, along y and x, one of which may be 0.
        outside: what comes in: "zeros", "edge" (the pixels there again) or "reflect" (the image mirrored at its edge).

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range; in a fit, images that are too small.

    >>> Shift(4)
    Shift(pixels=4, outside='zeros')
    """

    kind: ClassVar[Any] = cnn_core.Augmentation.SHIFT

    pixels: Size
    outside: Literal["zeros", "edge", "reflect"] = "zeros"

    def __post_init__(self) -> None:
        object.__setattr__(self, "pixels", _sizes("pixels", self.pixels, 0))
        if self.outside not in _OUTSIDE:
            raise ValueError(f"outside must be 'zeros', 'edge' or 'reflect', got {self.outside!r}")

    def fill(self, spec: Any, height: int, width: int) -> None:
        super().fill(spec, height, width)
        spec["size"], spec["outside"] = _along(self.pixels, height), _OUTSIDE[self.outside]
        if (spec["size"] >= (height, width)).any():
            raise ValueError(f"{self!r} moves images of {height} x {width} pixels out of themselves")


@dataclass(frozen=True)
class Flip(Augmentation):
    """Mirrors every other image, left to right or upside down; a signal from its end to its beginning.

    Args:
        horizontal: whether left and right change places, with probability 1/2.
        vertical: whether top and bottom do, by a number of their own.

    Raises:
        TypeError, ValueError: no truth values, or neither.

    >>> Flip()
    Flip(horizontal=True, vertical=False)
    """

    kind: ClassVar[Any] = cnn_core.Augmentation.FLIP

    horizontal: bool = True
    vertical: bool = False

    def __post_init__(self) -> None:
        checks.flag("horizontal", self.horizontal)
        checks.flag("vertical", self.vertical)
        if not (self.horizontal or self.vertical):
            raise ValueError("Flip needs horizontal or vertical")

    def fill(self, spec: Any, height: int, width: int) -> None:
        super().fill(spec, height, width)
        spec["size"] = self.vertical, self.horizontal
        if self.vertical and height == 1:
            raise ValueError(f"{self!r} needs images of more than one row of pixels")


@dataclass(frozen=True)
class Cutout(Augmentation):
    """Zeros in a square whose middle may be any pixel; what lies outside of the image is lost (DeVries & Taylor 2017).

    Args:
        size: of its sides, >= 1 and no larger than the image, or two, height and width.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range; in a fit, images that are too small.

    >>> Cutout((4, 8))
    Cutout(size=(4, 8))
    """

    kind: ClassVar[Any] = cnn_core.Augmentation.CUTOUT

    size: Size

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", _sizes("size", self.size, 1))

    def fill(self, spec: Any, height: int, width: int) -> None:
        super().fill(spec, height, width)
        spec["size"] = _along(self.size, height, missing=1)
        if (spec["size"] > (height, width)).any():
            raise ValueError(f"{self!r} is larger than images of {height} x {width} pixels")


@dataclass(frozen=True)
class Noise(Augmentation):
    """Adds normal numbers of mean 0 to all pixels and channels (Bishop 1995); what they make is not clipped.

    Args:
        stddev: their standard deviation, > 0, in units of what the network reads: of bytes (uint8) that is [0, 1].

    Raises:
        TypeError, ValueError: no number, or one that is not positive.

    >>> Noise(0.05)
    Noise(stddev=0.05)
    """

    kind: ClassVar[Any] = cnn_core.Augmentation.NOISE

    stddev: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "stddev", checks.number("stddev", self.stddev, 0, open_low=True))

    def fill(self, spec: Any, height: int, width: int) -> None:
        super().fill(spec, height, width)
        spec["stddev"] = self.stddev


KINDS: tuple[type[Augmentation], ...] = (Shift, Flip, Cutout, Noise)


def all_of(given: Augmentation | Iterable[Augmentation] | None) -> tuple[Augmentation, ...]:
    """One, several or none.

    >>> all_of(Flip()), all_of(None)
    ((Flip(horizontal=True, vertical=False),), ())
    """
    names = ", ".join(f"cnn.augment.{kind.__name__}" for kind in KINDS)
    if given is None:
        return ()
    if not isinstance(given, Augmentation | Iterable):
        raise TypeError(f"augment must be one of {names} or a list of them, got {given!r}")
    found: tuple[Any, ...] = (given,) if isinstance(given, Augmentation | str) else tuple(given)
    for each in found:
        if type(each) not in KINDS:
            raise TypeError(f"augment must be {names}, got {each!r}")
    if len(found) > _MOST:
        raise ValueError(f"augment must be {_MOST} changes at most, got {len(found)}")
    return found


class Changes(NamedTuple):
    """What the core's `Training.augment` is given."""

    specs: np.ndarray[Any, Any]
    height: int
    width: int
    channels: int


def changes(given: tuple[Augmentation, ...], shape: tuple[int, ...], axes: tuple[int, ...]) -> Changes | None:
    """Those of inputs of that shape, for a network that reads so many axes; None where nothing is changed.

    Raises:
        ValueError: rows that are no images, or images that are too small.
    """
    if not given:
        return None
    if len(shape) == 1:
        raise ValueError(
            "augment changes images and signals, and these are rows of numbers; the layer cnn.GaussianNoise adds noise"
        )
    if len(shape) == 3:
        height, width, channels = shape
    elif 3 in axes:  # what is flattened may be images without an axis of channels
        height, width, channels = (*shape, 1)
    else:
        height, width, channels = (1, *shape)
    specs = np.zeros(len(given), cnn_core.augment_dtype)
    for spec, each in zip(specs, given, strict=True):
        each.fill(spec, height, width)
    return Changes(specs, height, width, channels)


def _sizes(name: str, given: Any, low: int) -> Size:
    """A number of pixels for both axes, or one for each, not all 0."""
    if not isinstance(given, (tuple, list)):
        return checks.integer(name, given, 1)
    if len(given) != 2:
        raise ValueError(f"{name} must be an integer or two, along y and x, got {given!r}")
    y, x = (checks.integer(name, each, low) for each in given)
    if not (y or x):
        raise ValueError(f"{name} must not be 0 along both axes")
    return y, x


def _along(size: Size, height: int, missing: int = 0) -> tuple[int, int]:
    """The sizes along y and x; of a signal, which has one row, along x alone."""
    if isinstance(size, int):
        return (missing if height == 1 else size), size
    return size
