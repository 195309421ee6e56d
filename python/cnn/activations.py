"""Activations by name or with their parameter; the functions themselves are compiled, in cnn_core/activations.pxd."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import cnn_core
from cnn._common import checks, elsewhere, naming


@dataclass(frozen=True)
class Facts:
    """What there is to know of an activation beside its formula, which is in the core, and how others write it.

    Args:
        low, high: what its values are within; where `low` is "-alpha" that parameter says it.
        initializer: what "auto" stands for in front of it.
        aliases: other usual names.
        alpha_from_0: whether 0 is a value of its parameter, if it has one.
    """

    low: float | Literal["-alpha"] = -math.inf
    high: float = math.inf
    initializer: str = "glorot_uniform"
    aliases: tuple[str, ...] = ()
    alpha_from_0: bool = False


FACTS = {
    "identity": Facts(aliases=("linear", "none")),
    "sigmoid": Facts(0, 1, aliases=("logistic",)),
    "tanh": Facts(-1, 1),
    "relu": Facts(0, initializer="he_normal"),
    "leaky_relu": Facts(initializer="he_normal", aliases=("leakyrelu",), alpha_from_0=True),
    "relu6": Facts(0, 6, "he_normal"),
    "elu": Facts("-alpha", initializer="he_normal"),
    "selu": Facts(-1.7581, initializer="lecun_normal"),
    "celu": Facts("-alpha", initializer="he_normal"),
    "gelu": Facts(-0.17, initializer="he_normal", aliases=("gelu_exact",)),
    "gelu_tanh": Facts(-0.17, initializer="he_normal"),
    "silu": Facts(-0.2785, initializer="he_normal", aliases=("swish",)),
    "mish": Facts(-0.3088, initializer="he_normal"),
    "softplus": Facts(0, initializer="he_normal"),
    "softsign": Facts(-1, 1),
    "hard_sigmoid": Facts(0, 1, aliases=("hardsigmoid",)),
    "hard_swish": Facts(-0.375, initializer="he_normal", aliases=("hardswish",)),
    "hard_tanh": Facts(-1, 1, aliases=("hardtanh",)),
    "squareplus": Facts(0, initializer="he_normal"),
}
NAMES = tuple(kind.name.lower() for kind in cnn_core.Activation)
_ALIASES = {alias: name for name, facts in FACTS.items() for alias in facts.aliases}
# For type checkers and editors; at run time case does not matter.
ActivationName = Literal[
    "identity", "sigmoid", "tanh", "relu", "leaky_relu", "relu6", "elu", "selu", "celu", "gelu", "gelu_tanh",
    "silu", "mish", "softplus", "softsign", "hard_sigmoid", "hard_swish", "hard_tanh", "squareplus", "linear",
    "none", "logistic", "swish", "leakyrelu", "hardsigmoid", "hardswish", "hardtanh", "gelu_exact",
]  # fmt: skip


@dataclass(frozen=True)
class Activation:
    """An elementwise activation a = f(z).

    Args:
        name: one of `cnn.activations.NAMES` (identity, sigmoid, tanh, relu, leaky_relu, relu6, elu, selu, celu, gelu,
            gelu_tanh, silu, mish, softplus, softsign, hard_sigmoid, hard_swish, hard_tanh, squareplus) or a
            usual alias.
        alpha: the parameter of leaky_relu (slope below 0, default 0.01), elu and celu (default 1) and squareplus
            (default 4); others have none.

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
        alpha = checks.number(f"alpha of {name}", self.alpha, 0, open_low=not self.facts.alpha_from_0)
        object.__setattr__(self, "alpha", alpha)

    @property
    def facts(self) -> Facts:
        """Its entry in the table."""
        return FACTS[self.name]

    @property
    def range(self) -> tuple[float, float]:
        """What its values are within."""
        return -self.value if isinstance(self.facts.low, str) else self.facts.low, self.facts.high

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
    return _named(activation)


@lru_cache(maxsize=256)
def _named(name: str) -> Activation:
    """Each layer asks for its own some ten times while a network is built."""
    return Activation(name)
