"""What a layer must say of itself; who adds one writes a class like those beside this file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

from cnn import initializers
from cnn._common import checks
from cnn.activations import Activation
from cnn.initializers import Initializer
from cnn.losses import Loss

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Parameter:
    """A parameter of a layer: its initial values, and how the optimizer treats it.

    Args:
        name: of the parameter, and of the field of the core's `LayerSpec` that says where it begins.
        shape: of the array.
        initializer: of its values; "auto" suits them to `activation`.
        learning_rate_factor, decay_factor: what learning rate and weight decay are multiplied by.
        l1, l2: penalty l1 Σ|w| + l2 Σw², part of the loss.
        is_bias: whether it decays only where the optimizer has `decay_biases`.
        values: of a constant, which is kept with the parameters and stays as it is; None: drawn, and learnt.
        running: `values` are the first ones of a running average, which a step moves and the optimizer does not.
    """

    name: str
    shape: tuple[int, ...]
    initializer: Initializer
    activation: str = "identity"
    learning_rate_factor: float = 1.0
    decay_factor: float = 1.0
    l1: float = 0.0
    l2: float = 0.0
    is_bias: bool = False
    values: Any = None
    running: bool = False


@dataclass(frozen=True)
class Layer:
    """A description of a layer: frozen, so that many networks may share one, which bind it to their own parameters.

    `shape` is that of what it reads, without the rows: (inputs,), (length, channels) or (height, width, channels).

    By itself it passes on what it gets. The plan, initial weights, files and reports of a network ask a layer for what
    stands here, and name no class.

    >>> import cnn
    >>> isinstance(cnn.Dense(8), Layer), cnn.Dense(8).output_shape((3,))
    (True, (8,))
    """

    may_be_last: ClassVar[bool] = False

    def check_numbers(self, *names: str, low: float = 0, **ends: Any) -> None:
        """Fields `names` that must be numbers >= low (`ends`: or less than some other) become such, or raise."""
        for name in names:
            number = checks.number(f"{name} of {type(self).__name__}", getattr(self, name), low, **ends)
            object.__setattr__(self, name, number)

    def check_initializers(self) -> None:
        """Fields `initializer` and `bias_initializer` are found by their names, and kept as names where that is all."""
        plain = partial(initializers.plain, "bias_initializer")
        for name, find in (("initializer", initializers.get), ("bias_initializer", plain)):
            initializer = find(getattr(self, name))
            object.__setattr__(self, name, initializer.name if initializer.scale is None else initializer)

    @property
    def is_open(self) -> bool:
        """Whether something is left for the first fit to choose (`settled`)."""
        return False

    @property
    def function(self) -> Activation:
        """The activation function that the engine applies to its outputs."""
        return Activation("identity")

    @property
    def axes(self) -> tuple[int, ...]:
        """How many axes a row of its inputs may have: 1 of numbers, 2 of a signal, 3 of an image; (): as it comes."""
        return ()

    @property
    def reach(self) -> int:
        """It also reads what the layer so many places before it reads; 0: nothing else."""
        return 0

    def flat(self) -> tuple[Layer, ...]:
        """The layers that stand in a network for it: itself, but for a block."""
        return (self,)

    def row(self, shape: Shape) -> int:
        """How many inputs a row has that is no image; ValueError where it is one."""
        if len(shape) != 1:
            raise ValueError(
                f"{type(self).__name__} takes rows of numbers, and gets images of shape {shape}: put cnn.Flatten() or "
                "global pooling before it"
            )
        return shape[0]

    def kept(self, shape: Shape) -> int:
        """How many numbers a row the way back needs beside the outputs: z, a mask, and so on."""
        return 0

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of its output; of a layer that may be the last one the same for any input it takes."""
        return shape

    def parameters(self, shape: Shape) -> tuple[Parameter, ...]:
        """Its parameters, in the order in which they lie in memory and their values are drawn."""
        return ()

    def placed(self, loss: Loss, *, last: bool) -> Layer:
        """The layer as the engine sees it in a network with that loss, `last` or not; ValueError where it can't be."""
        return self

    def settled(self, activation: Activation) -> Self:
        """The layer with its open activation chosen."""
        return self

    def fill(self, spec: Any, shape: Shape) -> None:
        """Writes its kind and its own fields into the core's `LayerSpec`; widths and places are the plan's."""
        raise NotImplementedError
