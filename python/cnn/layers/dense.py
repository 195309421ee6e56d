"""The dense layer."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal

import cnn_core
from cnn import activations, initializers
from cnn._common import checks, naming
from cnn._common.types import InitializerName
from cnn.activations import Activation, ActivationName
from cnn.initializers import Initializer
from cnn.layers.layer import Layer, Parameter, Shape
from cnn.losses import Loss

AUTO = "auto"
# Not activations of the core: the network settles what they stand for.
_FOR_NETWORKS = (AUTO, "softmax")
_FACTORS = ("learning_rate_factor", "decay_factor")


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

    may_be_last: ClassVar[bool] = True

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
        self.check_initializers()
        for name in ("l1", "l2", "bias_l1", "bias_l2"):
            object.__setattr__(self, name, checks.number(name, getattr(self, name), 0))
        for name in _FACTORS:
            object.__setattr__(self, name, _factor(name, getattr(self, name)))

    @property
    def is_open(self) -> bool:
        return self.activation == AUTO

    @property
    def function(self) -> Activation:
        return activations.get(self.activation)

    def kept(self, shape: Shape) -> int:
        return self.units if cnn_core.engine.activation_keeps_input(self.function.kind) else 0

    @property
    def axes(self) -> tuple[int, ...]:
        return (1,)

    def output_shape(self, shape: Shape) -> Shape:
        self.row(shape)
        return (self.units,)

    def parameters(self, shape: Shape) -> tuple[Parameter, ...]:
        n_inputs = self.row(shape)
        checks.matrix_sizes(n_inputs, self.units)
        (rate, bias_rate), (decay, bias_decay) = pair(self.learning_rate_factor), pair(self.decay_factor)
        weights = Parameter(
            "weights", (n_inputs, self.units), initializers.get(self.initializer), self.function.name, rate, decay,
            self.l1, self.l2,
        )  # fmt: skip
        biases = Parameter(
            "biases", (self.units,), initializers.get(self.bias_initializer), self.function.name, bias_rate, bias_decay,
            self.bias_l1, self.bias_l2, is_bias=True,
        )  # fmt: skip
        return (weights, biases) if self.use_bias else (weights,)

    def placed(self, loss: Loss, *, last: bool) -> Dense:
        """A last layer that names its loss's own link leaves it to the loss."""
        name = self.activation if isinstance(self.activation, str) else self.activation.name
        if last and name == loss.link:
            return self if name == "identity" else replace(self, activation="identity")
        if name == "softmax":
            raise ValueError(
                "softmax belongs on the last layer with loss='cross_entropy', which applies it; "
                f"here it stands {'with loss=' + repr(loss.name) if last else 'before the last layer'}"
            )
        return self

    def settled(self, activation: Activation) -> Dense:
        return replace(self, activation=activation) if self.is_open else self

    def fill(self, spec: Any, shape: Shape) -> None:
        spec["kind"] = cnn_core.LayerKind.DENSE
        spec["activation"], spec["alpha"] = self.function.kind, self.function.value

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
