"""A network as a diagram: units and weights, or the blocks that its images become."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cnn.layers import Dense, Layer
from cnn.plots.canvas import ACCENT, HELD_OUT, TRAINING, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
_MOST_UNITS = 12  # of a layer are drawn one by one
_SQUARE = 1.7  # height of the figure's units by their width


class _Drawn(Protocol):
    """What is drawn of a `cnn.Network`."""

    descriptions: tuple[Layer, ...]

    @property
    def input_shape(self) -> Shape: ...

    @property
    def parameters(self) -> Mapping[str, Array]: ...


def network(net: _Drawn) -> Figure:
    """The layers from left to right, a circle for each unit (of wide layers the first and the last), lines the weights.

    Blue lines are weights above 0, red ones below; the stronger, the darker. Of a network for images, the images stand
    as stacks of sheets: the sides grow as the root of height and width, the sheets as the logarithm of the channels.

    Args:
        net: a network that is built.

    >>> import cnn
    >>> len(network(cnn.Network([cnn.Dense(4, "tanh"), cnn.Dense(1)], seed=0).build(2)).axes)
    1
    """
    stages = _stages(net)
    figure = new_figure(1.2 + 2.0 * len(stages), 5.0)
    axes = figure.add_subplot()
    for k, (before, after) in enumerate(itertools.pairwise(stages)):
        if len(before[1]) == 1 and after[2] is not None:
            _weights(axes, k, np.asarray(net.parameters[f"layers.{after[2]}.weights"]))
    for k, (name, shape, _) in enumerate(stages):
        (_units if len(shape) == 1 else _block)(axes, k, shape)
        axes.text(k, -0.62, f"{name}\n{' x '.join(f'{n:,}' for n in shape)}", ha="center", va="top", fontsize=9)
    axes.set(xlim=(-0.5, len(stages) - 0.5), ylim=(-0.85, 0.6))
    axes.axis("off")
    return figure


def _stages(net: _Drawn) -> list[tuple[str, Shape, int | None]]:
    """The inputs, and layers that have weights of units or make another shape: (name, shape, which dense layer)."""
    shape = net.input_shape
    found: list[tuple[str, Shape, int | None]] = [("inputs", shape, None)]
    for i, layer in enumerate(net.descriptions):
        before, shape = shape, layer.output_shape(shape)
        if isinstance(layer, Dense):
            found.append((f"layers.{i}\n{activation_name(layer)}", shape, i))
        elif shape != before or (len(shape) > 1 and hasattr(layer, "kernel_size")):
            found.append((f"layers.{i}\n{type(layer).__name__}", shape, None))
    return found


def _weights(axes: Any, k: int, weights: Array) -> None:
    """Lines from the units of place k to those of the next."""
    from matplotlib.collections import LineCollection

    left, right = (_shown(size) for size in weights.shape)
    view = weights[np.ix_(left, right)]
    strength = np.abs(view) / (np.abs(view).max() or 1)
    lines = [[(k, a), (k + 1, b)] for a in _heights(len(left)) for b in _heights(len(right))]
    colours = [
        (*_rgb(TRAINING if w > 0 else HELD_OUT), 0.08 + 0.8 * float(s))
        for w, s in zip(view.ravel(), strength.ravel(), strict=True)
    ]
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=0.9, zorder=1))


def _units(axes: Any, k: int, shape: Shape) -> None:
    ys = _heights(len(_shown(shape[0])))
    axes.scatter([k] * len(ys), ys, s=130, color="white", edgecolors=ACCENT, lw=1.1, zorder=2)
    if shape[0] > len(ys):
        axes.text(k, (ys[len(ys) // 2 - 1] + ys[len(ys) // 2]) / 2, "⋮", ha="center", va="center", fontsize=15)


def _block(axes: Any, k: int, shape: Shape) -> None:
    """An image in front of its channels, at most some of which are drawn; a signal has height 1."""
    *size, channels = shape if len(shape) == 3 else (1, *shape)
    height, width = (0.085 * math.sqrt(n) for n in size)
    width *= _SQUARE
    deep = min(channels, 2 + round(math.log2(channels)))
    for c in range(deep):  # from behind to the front
        shift = 0.02 * (deep / 2 - c)
        axes.fill([k + _SQUARE * shift + sx * width / 2 for sx in (-1, 1, 1, -1)],
                  [shift + sy * height / 2 for sy in (-1, -1, 1, 1)],
                  facecolor="white", edgecolor=TRAINING, lw=1.1, zorder=2 + c / deep)  # fmt: skip


def activation_name(layer: Any) -> str:
    chosen = layer.activation
    return str(chosen if isinstance(chosen, str) else getattr(chosen, "name", chosen))


def _shown(size: int) -> list[int]:
    """The units that are drawn: all, or as many from either end."""
    half = _MOST_UNITS // 2
    return list(range(size)) if size <= _MOST_UNITS else [*range(half), *range(size - half, size)]


def _heights(n: int) -> list[float]:
    """From top to bottom, a gap in the middle where units are left out."""
    if n < _MOST_UNITS:
        return [0.5 * (n - 1 - 2 * i) / _MOST_UNITS for i in range(n)]
    return [0.52 - 1.04 * (i + (i >= n // 2)) / n for i in range(n)]


def _rgb(colour: str) -> tuple[float, float, float]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))  # type: ignore[return-value]
