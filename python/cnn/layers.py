"""Descriptions of layers: frozen, so that many networks may share one. A network binds them to its own parameters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Literal

from cnn import activations, initializers
from cnn._common import checks, naming
from cnn._common.elsewhere import told
from cnn._common.types import ActivationName, InitializerName
from cnn.activations import Activation
from cnn.initializers import Initializer

# Not activations of the core: the network settles what they stand for.
_FOR_NETWORKS = ("auto", "softmax")
# What may differ between W and b.
_FACTORS = ("learning_rate_factor", "decay_factor")


@dataclass(frozen=True)
class Layer:
    """What all layers share: nothing but their kind."""


@dataclass(frozen=True)
class Dense(Layer):
    """A dense layer, a = f(x W + b), with W (inputs, units) and b (units,).

    Args:
        units: number of outputs, >= 1.
        activation: f: a name, a `cnn.Activation`, "auto" (the first fit tries candidates and chooses) or "softmax" (on
            the last layer, with loss "cross_entropy", where it is the loss's own link).
        initializer: of W: a name or a `cnn.Initializer`; "auto" suits it to the activation.
        bias_initializer: of b: uniform, normal, zeros, ones or constant.
        use_bias: whether there is a b.
        l1, l2: penalty l1 Σ|w| + l2 Σw² on W, part of the loss.
        bias_l1, bias_l2: the same on b.
        learning_rate_factor: what the learning rate is multiplied by for this layer, >= 0: a number, or a pair of them
            for W and for b. A layer of factor 0 stays as it is.
        decay_factor: the same for the optimizer's weight decay (of b only where it has `decay_biases`).

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    >>> Dense(8, activation="tanh").units
    8
    """

    units: int
    activation: ActivationName | Literal["auto", "softmax"] | Activation = "identity"
    initializer: InitializerName | Initializer = "auto"
    bias_initializer: InitializerName | Initializer = "zeros"
    use_bias: bool = True
    l1: float = 0.0
    l2: float = 0.0
    bias_l1: float = 0.0
    bias_l2: float = 0.0
    learning_rate_factor: float | tuple[float, float] = 1.0
    decay_factor: float | tuple[float, float] = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", checks.integer("units", self.units, 1))
        object.__setattr__(self, "use_bias", checks.flag("use_bias", self.use_bias))
        # Names are kept in their usual form: whoever reads the field need not know the aliases.
        if isinstance(self.activation, str) and naming.normalise(self.activation) in _FOR_NETWORKS:
            object.__setattr__(self, "activation", naming.normalise(self.activation))
        else:
            activation = activations.get(self.activation)
            object.__setattr__(self, "activation", activation.name if activation.alpha is None else activation)
        for name in ("initializer", "bias_initializer"):
            initializer = initializers.get(getattr(self, name))
            if name == "bias_initializer" and initializer.name not in initializers.PLAIN:
                known = ", ".join(initializers.PLAIN)
                raise ValueError(f"bias_initializer must be one of {known}, got {initializer.name!r}")
            object.__setattr__(self, name, initializer.name if initializer.scale is None else initializer)
        for name in ("l1", "l2", "bias_l1", "bias_l2"):
            object.__setattr__(self, name, checks.number(name, getattr(self, name), 0))
        for name in _FACTORS:
            object.__setattr__(self, name, _factor(name, getattr(self, name)))

    def __repr__(self) -> str:
        """All fields, but for factors of 1."""
        shown = {field.name: getattr(self, field.name) for field in fields(self)}
        return f"Dense({', '.join(f'{n}={v!r}' for n, v in shown.items() if n not in _FACTORS or v != 1)})"


def _factor(name: str, given: object) -> float | tuple[float, float]:
    """A number >= 0, or a pair of different ones for W and b."""
    if not isinstance(given, (tuple, list)):
        return checks.number(name, given, 0)
    if len(given) != 2:
        raise ValueError(f"{name} must be a number or a pair of them (weights, biases), got {given!r}")
    of_weights = checks.number(f"{name} of the weights", given[0], 0)
    of_biases = checks.number(f"{name} of the biases", given[1], 0)
    return of_weights if of_weights == of_biases else (of_weights, of_biases)


def pair(factor: float | tuple[float, float]) -> tuple[float, float]:
    """A factor as one for W and one for b.

    >>> pair(0.5)
    (0.5, 0.5)
    """
    return factor if isinstance(factor, tuple) else (factor, factor)


@dataclass(frozen=True)
class Dropout(Layer):
    """Sets a share of its inputs to 0 while training and scales the others by 1 / (1 - rate); nothing in prediction.

    The mask is a function of the network's seed, the step and the position alone (Srivastava et al. 2014).

    Args:
        rate: the share, in [0, 1).

    >>> Dropout(0.1)
    Dropout(rate=0.1)
    """

    rate: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", checks.number("rate of Dropout", self.rate, 0, 1, open_high=True))


def checked(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """The layers of a network, the last one dense."""
    if isinstance(layers, Layer) or not isinstance(layers, Iterable):
        raise TypeError(f"layers must be a list of layers such as cnn.Dense(8), got {layers!r}")
    layers = tuple(layers)
    for layer in layers:
        if not isinstance(layer, Layer):
            raise TypeError(f"layers must be cnn.Dense or cnn.Dropout, got {layer!r}")
    if not layers or not isinstance(layers[-1], Dense):
        raise ValueError(f"the last layer must be a cnn.Dense, got {layers[-1] if layers else 'no layers'!r}")
    return layers


for _class in (Dense, Dropout):
    _class.__init__ = told(_class.__init__)  # type: ignore[method-assign]
