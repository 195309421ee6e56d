"""A window that slides over an image: what convolution and pooling layers have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from cnn._common import checks
from cnn.layers.layer import Shape

Padding = Literal["valid", "same"]
MOST = 2**31 - 1  # numbers of an image that the core can count


def size(name: str, given: object, low: int = 1) -> int:
    """An integer of at least `low` that the core can count with."""
    checked = checks.integer(name, given, low)
    if checked > MOST:
        raise ValueError(f"{name} must be {MOST:,} at most, got {checked:,}")
    return checked


def sizes(name: str, given: object, rank: int, low: int = 1) -> tuple[int, ...]:
    """An integer for all axes, or one for each of them, as a tuple."""
    each = tuple(given) if isinstance(given, Sequence) and not isinstance(given, str) else (given,) * rank
    if len(each) != rank:
        raise ValueError(f"{name} must be an integer or {rank} of them, got {given!r}")
    return tuple(size(name, one, low) for one in each)


def plain(each: tuple[int, ...]) -> int | tuple[int, ...]:
    """Sizes as they are written: one integer where all are alike."""
    return each[0] if len(set(each)) == 1 else each


def axes(pad: Padding | int | tuple[int, ...], rank: int) -> Padding | tuple[int, ...]:
    """Padding as a name, or as numbers along each axis."""
    return pad if isinstance(pad, str) else sizes("padding", pad, rank, 0)


def padding(name: str, given: object, rank: int) -> Any:
    """ "valid", "same", or so many zeros on both sides of each axis."""
    if isinstance(given, str):
        if given not in ("valid", "same"):
            raise ValueError(f"{name} must be 'valid', 'same' or integers, got {given!r}")
        return given
    return plain(sizes(name, given, rank, 0))


class Window:
    """Sizes along each axis: `kernel` points, `dilation` apart, that move on by `stride`; `pad` of the image is none.

    `out` is how often it fits, `before` and `behind` how many points it looks beyond the ends of the image.

    >>> Window((28, 28), (5, 5), (1, 1), "valid").out
    (24, 24)
    """

    def __init__(
        self,
        image: Shape,
        kernel: Shape,
        stride: Shape,
        pad: Padding | Shape,
        dilation: Shape | None = None,
        what: str = "",
    ) -> None:
        self.image, self.kernel, self.stride, self.dilation = image, kernel, stride, dilation or (1,) * len(image)
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, self.dilation, strict=True)]
        if pad == "same":
            out = [-(-n // s) for n, s in zip(image, stride, strict=True)]
            missing = [max(0, (o - 1) * s + r - n) for o, s, r, n in zip(out, stride, reach, image, strict=True)]
            self.before = tuple(m // 2 for m in missing)
        else:
            self.before = (0,) * len(image) if isinstance(pad, str) else pad
            room = [n + 2 * b - r for n, b, r in zip(image, self.before, reach, strict=True)]
            if min(room) < 0:
                raise ValueError(
                    f"{what} has a kernel that reaches over {_by(reach)} pixels, and the images have {_by(image)}"
                    + (f" with padding {self.before}" if any(self.before) else "")
                )
            out = [r // s + 1 for r, s in zip(room, stride, strict=True)]
        self.out = tuple(out)
        ends = [(o - 1) * s + r for o, s, r in zip(out, stride, reach, strict=True)]
        if max(ends) > MOST:
            raise ValueError(f"{what} reaches over {_by(ends)} pixels, more than {MOST:,} along an axis")
        self.behind = tuple(max(0, e - b - n) for e, b, n in zip(ends, self.before, image, strict=True))

    def fill(self, spec: Any, channels: int, out_channels: int, groups: int) -> None:
        """Writes the core's `WindowSpec`; a signal is an image of height 1."""
        one = len(self.image) == 1

        def both(values: Shape, missing: int = 1) -> tuple[int, ...]:
            return (missing, *values) if one else values

        window = spec["window"]
        window["height"], window["width"] = both(self.image)
        window["out_height"], window["out_width"] = both(self.out)
        window["kernel_height"], window["kernel_width"] = both(self.kernel)
        window["stride_y"], window["stride_x"] = both(self.stride)
        window["dilation_y"], window["dilation_x"] = both(self.dilation)
        window["top"], window["left"] = both(self.before, 0)
        window["channels"], window["out_channels"], window["groups"] = channels, out_channels, groups


def image(layer: Any, shape: Shape, rank: int) -> tuple[Shape, int]:
    """(height, width) and channels of what a layer reads, of a signal (length,); ValueError for other shapes."""
    if len(shape) != rank + 1:
        wanted = "(length, channels)" if rank == 1 else "(height, width, channels)"
        raise ValueError(
            f"{type(layer).__name__} takes inputs of shape {wanted}, and gets {shape}"
            + ("; a last axis of 1 makes images of one channel: X[..., None]" if len(shape) == rank else "")
        )
    return shape[:-1], shape[-1]


def checked_size(layer: Any, shape: Shape) -> Shape:
    """The shape; ValueError where it has more numbers than the core can count."""
    if math.prod(shape) > MOST:
        raise ValueError(f"{type(layer).__name__} makes {_by(shape)} numbers of a row, more than {MOST:,}")
    return shape


def _by(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))
