"""Activations by name or with their parameter; the functions themselves are compiled, in cnn_core/activations.pxd."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cnn_core
from cnn._common import checks, elsewhere, naming

_ALIASES = {
    "linear": "identity",
    "none": "identity",
    "logistic": "sigmoid",
    "swish": "silu",
    "leakyrelu": "leaky_relu",
    "hardsigmoid": "hard_sigmoid",
    "hardswish": "hard_swish",
    "hardtanh": "hard_tanh",
    "gelu_exact": "gelu",
}
# What a function's values are within, where that is not all numbers.
RANGES = {
    "sigmoid": (0, 1), "tanh": (-1, 1), "relu": (0, math.inf), "relu6": (0, 6), "softplus": (0, math.inf),
    "softsign": (-1, 1), "hard_sigmoid": (0, 1), "hard_tanh": (-1, 1), "selu": (-1.7581, math.inf),
    "gelu": (-0.17, math.inf), "gelu_tanh": (-0.17, math.inf), "silu": (-0.2785, math.inf), "mish": (-0.3088, math.inf),
    "hard_swish": (-0.375, math.inf),
}  # fmt: skip
NAMES = tuple(kind.name.lower() for kind in cnn_core.Activation)


@dataclass(frozen=True)
class Activation:
    """An elementwise activation a = f(z).

    Args:
        name: one of `cnn.activations.NAMES` (identity, sigmoid, tanh, relu, leaky_relu, relu6, elu, selu, celu, gelu,
            gelu_tanh, silu, mish, softplus, softsign, hard_sigmoid, hard_swish, hard_tanh) or a usual alias.
        alpha: the parameter of leaky_relu (slope below 0, default 0.01), elu and celu (default 1); others have none.

    Raises:
        ValueError: unknown name, or a parameter out of range or for an activation that has none.

    >>> Activation("leaky_relu", alpha=0.1)
    Activation(name='leaky_relu', alpha=0.1)
    >>> Activation("swish").name
    'silu'
    """

    name: str
    alpha: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"the name of an activation must be a string, got {self.name!r}")
        name = naming.normalise(self.name)
        name = _ALIASES.get(name, name)
        if name not in NAMES:
            raise naming.unknown("activation", self.name, NAMES)
        object.__setattr__(self, "name", name)
        default = cnn_core.engine.activation_default_alpha(self.kind)
        if self.alpha is None:
            return
        if default == 0:
            raise ValueError(f"activation {name!r} takes no alpha, got {self.alpha!r}")
        alpha = checks.number(f"alpha of {name}", self.alpha, 0, open_low=name != "leaky_relu")
        object.__setattr__(self, "alpha", alpha)

    @property
    def range(self) -> tuple[float, float]:
        """What its values are within."""
        if self.name in ("elu", "celu"):
            return -self.value, math.inf
        return RANGES.get(self.name, (-math.inf, math.inf))

    @property
    def kind(self) -> int:
        """The number by which the core knows the activation."""
        return int(cnn_core.Activation[self.name.upper()])

    @property
    def value(self) -> float:
        """alpha, or its default."""
        return cnn_core.engine.activation_default_alpha(self.kind) if self.alpha is None else self.alpha


def get(activation: str | Activation) -> Activation:
    """The activation of that name, or the one given.

    >>> get("ReLU")
    Activation(name='relu', alpha=None)
    """
    if isinstance(activation, Activation):
        return activation
    if not isinstance(activation, str):
        near = elsewhere.nearest(type(activation).__name__, (*NAMES, *_ALIASES))  # torch.nn.ReLU()
        hint = f"; {near!r} is one" if near else ""
        raise TypeError(f"activation must be a name or a cnn.Activation, got {activation!r}{hint}")
    return Activation(activation)
