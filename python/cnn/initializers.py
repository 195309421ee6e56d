"""Initial weights: drawn in float64 from a NumPy generator, then rounded to the network's type."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from cnn import activations
from cnn._common import checks, naming

Array = np.ndarray[Any, np.dtype[np.float64]]

# (distribution, scale, fan): variance scale / fan.
_SCALED = {
    "glorot_uniform": ("uniform", 1.0, "mean"),
    "glorot_normal": ("normal", 1.0, "mean"),
    "he_uniform": ("uniform", 2.0, "in"),
    "he_normal": ("normal", 2.0, "in"),
    "lecun_uniform": ("uniform", 1.0, "in"),
    "lecun_normal": ("normal", 1.0, "in"),
}
# Those that need no number of inputs and outputs, which is all that biases can be drawn from.
PLAIN = ("uniform", "normal", "zeros", "ones", "constant")
NAMES = ("auto", *_SCALED, "orthogonal", *PLAIN)
_ALIASES = {"xavier_uniform": "glorot_uniform", "xavier_normal": "glorot_normal", "kaiming_uniform": "he_uniform",
            "kaiming_normal": "he_normal", "xavier": "glorot_uniform", "glorot": "glorot_uniform", "he": "he_normal",
            "lecun": "lecun_normal", "zero": "zeros", "one": "ones"}  # fmt: skip


@dataclass(frozen=True)
class Initializer:
    """How the weights W (n_inputs, units) of a layer begin.

    glorot_* variance 2 / (inputs + units) (Glorot & Bengio 2010); he_* 2 / inputs (He et al. 2015); lecun_* 1 / inputs
    (LeCun et al. 1998); orthogonal (Saxe et al. 2014); uniform in ±scale; normal of deviation scale; constant: scale.
    "auto" is he_normal for the ReLU family, lecun_normal for selu and glorot_uniform for the rest (activations.FACTS).

    Args:
        name: one of `cnn.initializers.NAMES`.
        scale: of uniform and normal (default 0.05), orthogonal (default 1) and constant (default 0).

    >>> Initializer("he_normal").draw((3, 2), np.random.default_rng(0)).shape
    (3, 2)
    """

    name: str
    scale: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"the name of an initializer must be a string, got {self.name!r}")
        name = naming.normalise(self.name)
        name = _ALIASES.get(name, name)
        if name not in NAMES:
            raise naming.unknown("initializer", self.name, NAMES)
        object.__setattr__(self, "name", name)
        if self.scale is not None:
            if name not in ("uniform", "normal", "orthogonal", "constant"):
                raise ValueError(f"initializer {name!r} takes no scale, got {self.scale!r}")
            scale = checks.number(f"scale of {name}", self.scale, -np.inf if name == "constant" else 0)
            object.__setattr__(self, "scale", scale)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator, activation: str = "identity") -> Array:
        """Weights of that `shape` in float64, drawn from `rng`; `activation` decides for "auto".

        Those of a convolution, (height, width, channels, filters), have fan-in height · width · channels, and fan-out
        height · width · filters; orthogonal ones are so as a matrix (fan-in, filters).
        """
        name = activations.FACTS.get(activation, activations.Facts()).initializer if self.name == "auto" else self.name
        points = math.prod(shape[:-2])  # of a convolution's kernel
        fan_in, fan_out = points * shape[-2:][0], points * shape[-1]
        if name in _SCALED:
            kind, scale, fan = _SCALED[name]
            variance = scale / (fan_in if fan == "in" else (fan_in + fan_out) / 2)
            if kind == "normal":
                return rng.normal(0.0, np.sqrt(variance), shape)
            return rng.uniform(-np.sqrt(3 * variance), np.sqrt(3 * variance), shape)
        if name == "orthogonal":
            return (1.0 if self.scale is None else self.scale) * _orthogonal(fan_in, shape[-1], rng).reshape(shape)
        scale = self.scale if self.scale is not None else {"constant": 0.0, "ones": 1.0, "zeros": 0.0}.get(name, 0.05)
        if name == "uniform":
            return rng.uniform(-scale, scale, shape)
        if name == "normal":
            return rng.normal(0.0, scale, shape)
        return np.full(shape, scale)


def _orthogonal(rows: int, columns: int, rng: np.random.Generator) -> Array:
    """Uniformly drawn among matrices with orthonormal rows or columns, whichever are fewer."""
    q, r = np.linalg.qr(rng.normal(size=(max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))
    return q if rows >= columns else q.T


def get(initializer: str | Initializer) -> Initializer:
    """The initializer of that name, or the one given.

    >>> get("zeros")
    Initializer(name='zeros', scale=None)
    """
    if isinstance(initializer, Initializer):
        return initializer
    if not isinstance(initializer, str):
        raise TypeError(f"initializer must be a name or a cnn.Initializer, got {initializer!r}")
    return _named(initializer)


@lru_cache(maxsize=256)
def _named(name: str) -> Initializer:
    return Initializer(name)


def plain(name: str, initializer: str | Initializer) -> Initializer:
    """The initializer of a vector, which has no inputs and outputs to suit: ValueError for another than `PLAIN`."""
    found = get(initializer)
    if found.name not in PLAIN:
        raise ValueError(f"{name} must be one of {', '.join(PLAIN)}, got {found.name!r}")
    return found
