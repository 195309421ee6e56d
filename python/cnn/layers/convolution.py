"""Convolutions of images and signals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, ClassVar

import cnn_core
from cnn import activations, initializers
from cnn._common import checks
from cnn._common.types import InitializerName
from cnn.activations import Activation, ActivationName
from cnn.initializers import Initializer
from cnn.layers.layer import Layer, Parameter, Shape
from cnn.layers.window import Padding, Window, axes, checked_size, image, padding, plain, size, sizes


@dataclass(frozen=True)
class Conv2D(Layer):
    """A convolution of images (height, width, channels): a = f(Σ x[y s + i d, x s + j d, c] W[i, j, c] + b).

    For each output pixel (y, x) and filter the sum is over the points (i, j) of the kernel and the channels c of its
    group; s are the strides, d the dilation. W is (kernel height, kernel width, channels / groups, filters), b
    (filters,), as in Keras. (LeCun et al. 1989, "Backpropagation applied to handwritten zip code recognition".)

    Args:
        filters: number of output channels, >= 1.
        kernel_size: height and width of the kernel, in pixels: an integer or two.
        strides: by how many pixels the kernel moves on: an integer or two.
        padding: "valid" takes the pixels at which the kernel is inside the image; "same" puts zeros around, so that
            there are ceil(size / stride) outputs; an integer, or two, so many zeros on both sides (PyTorch's).
        dilation_rate: distance of the kernel's points.
        groups: parts of the channels that don't see one another; both numbers of channels are multiples of it.
        activation: f: a name or a `cnn.Activation`.
        initializer: of W: a name or a `cnn.Initializer`; "auto" suits it to the activation (He's for relu), with
            fan-in kernel height · kernel width · channels / groups.
        bias_initializer: of b: uniform, normal, zeros, ones or constant.
        use_bias: whether there is a b.
        l1, l2: penalty l1 Σ|w| + l2 Σw² on W, part of the loss.
        learning_rate_factor, decay_factor: what learning rate and weight decay are multiplied by for W and b, >= 0.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range; in a network, images smaller than the
            kernel, or channels that groups don't divide.

    >>> import cnn
    >>> net = cnn.Network([Conv2D(6, 5, activation="relu"), cnn.Flatten(), cnn.Dense(10)], seed=0).build((28, 28, 1))
    >>> net.layers[0].weights.shape
    (5, 5, 1, 6)
    """

    rank: ClassVar[int] = 2

    filters: int
    kernel_size: int | tuple[int, ...] = 3
    strides: int | tuple[int, ...] = 1
    padding: Padding | int | tuple[int, ...] = "valid"
    dilation_rate: int | tuple[int, ...] = 1
    groups: int = 1
    activation: ActivationName | Activation = "identity"
    initializer: InitializerName | Initializer = "auto"
    bias_initializer: InitializerName | Initializer = "zeros"
    use_bias: bool = True
    l1: float = 0.0
    l2: float = 0.0
    learning_rate_factor: float = 1.0
    decay_factor: float = 1.0

    def __post_init__(self) -> None:
        put = partial(object.__setattr__, self)
        put("filters", size("filters", self.filters))
        put("groups", size("groups", self.groups))
        if self.filters % self.groups:
            raise ValueError(f"filters must be a multiple of groups={self.groups}, got {self.filters}")
        for name in ("kernel_size", "strides", "dilation_rate"):
            put(name, plain(sizes(name, getattr(self, name), self.rank)))
        put("padding", padding("padding", self.padding, self.rank))
        put("use_bias", checks.flag("use_bias", self.use_bias))
        activation = activations.get(self.activation)
        put("activation", activation.name if activation.alpha is None else activation)
        self.check_initializers()
        self.check_numbers("l1", "l2", "learning_rate_factor", "decay_factor")

    @property
    def function(self) -> Activation:
        return activations.get(self.activation)

    @property
    def axes(self) -> tuple[int, ...]:
        return (self.rank + 1,)

    def _channels(self, channels: int) -> tuple[int, int]:
        """Output channels and groups for so many input channels."""
        if channels % self.groups:
            raise ValueError(f"{type(self).__name__} has groups={self.groups}, and the images have {channels} channels")
        return self.filters, self.groups

    def window(self, shape: Shape) -> Window:
        """Where the kernel stands on images of that shape, and what size that gives."""
        size, _ = image(self, shape, self.rank)
        given = self.kernel_size, self.strides, self.dilation_rate
        kernel, stride, dilation = (sizes("", each, self.rank) for each in given)
        return Window(size, kernel, stride, axes(self.padding, self.rank), dilation, type(self).__name__)

    def output_shape(self, shape: Shape) -> Shape:
        return checked_size(self, (*self.window(shape).out, self._channels(shape[-1])[0]))

    def kept(self, shape: Shape) -> int:
        return math.prod(self.output_shape(shape)) if cnn_core.engine.activation_keeps_input(self.function.kind) else 0

    def parameters(self, shape: Shape) -> tuple[Parameter, ...]:
        filters, groups = self._channels(shape[-1])
        weights = (*sizes("kernel_size", self.kernel_size, self.rank), shape[-1] // groups, filters)
        checks.matrix_sizes(math.prod(weights[:-1]), filters)
        factors = self.learning_rate_factor, self.decay_factor
        how, begin = initializers.get(self.initializer), initializers.get(self.bias_initializer)
        w = Parameter("weights", weights, how, self.function.name, *factors, self.l1, self.l2)
        b = Parameter("biases", (filters,), begin, self.function.name, *factors, is_bias=True)
        return (w, b) if self.use_bias else (w,)

    def fill(self, spec: Any, shape: Shape) -> None:
        spec["kind"] = cnn_core.LayerKind.CONVOLUTION
        spec["activation"], spec["alpha"] = self.function.kind, self.function.value
        window, (filters, groups) = self.window(shape), self._channels(shape[-1])
        window.fill(spec, shape[-1], filters, groups)
        given = self.kernel_size, self.strides, self.dilation_rate
        plain = [sizes("", each, self.rank) for each in given] == [(3, 3), (1, 1), (1, 1)]
        spec["winograd"] = plain and groups == 1 and _winograd_pays(window.out, shape[-1], filters)


def _winograd_pays(size: Sequence[int], channels: int, filters: int) -> bool:
    """Whether 3 x 3 points take less time by Winograd's products (cnn_core/winograd.pxd), in multiplications.

    What its additions take was measured in float32 with AVX-512, where it gains the least; its products go through
    memory and must gain a tenth.
    """
    products, squares = channels * filters, -(-size[0] // 2) * -(-size[1] // 2)
    a_square = 1.35 * 16 * products + 130 * channels + 90 * filters
    fewer = squares * a_square + 8 * products < 9 * math.prod(size) * products
    return fewer and channels % 16 == filters % 16 == 0  # whole vectors, in all instruction sets


@dataclass(frozen=True)
class Conv1D(Conv2D):
    """A convolution of signals (length, channels), such as sound or sensors; W is (kernel, channels / groups, filters).

    Args and Raises: as of `Conv2D`, with one number for each size.

    >>> import cnn
    >>> net = cnn.Network([Conv1D(8, 3), cnn.GlobalAvgPool1D(), cnn.Dense(1)], seed=0).build((100, 2))
    >>> net.layers[0].weights.shape
    (3, 2, 8)
    """

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class DepthwiseConv2D(Layer):
    """A convolution of each channel of an image by itself, with `depth_multiplier` filters for each.

    It is a `Conv2D` with as many groups as there are channels; W is (kernel height, kernel width, 1, outputs), output
    c · depth_multiplier + k being that of channel c. With a 1 x 1 convolution behind it, it is a separable one (Howard
    et al. 2017, "MobileNets").

    Args:
        kernel_size, strides, padding, dilation_rate, activation, initializer, bias_initializer, use_bias, l1, l2,
            learning_rate_factor, decay_factor: as of `Conv2D`.
        depth_multiplier: filters of a channel, >= 1.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range; in a network, images smaller than the
            kernel.

    >>> DepthwiseConv2D(3, padding="same").output_shape((32, 32, 16))
    (32, 32, 16)
    """

    kernel_size: int | tuple[int, ...] = 3
    strides: int | tuple[int, ...] = 1
    padding: Padding | int | tuple[int, ...] = "valid"
    depth_multiplier: int = 1
    dilation_rate: int | tuple[int, ...] = 1
    activation: ActivationName | Activation = "identity"
    initializer: InitializerName | Initializer = "auto"
    bias_initializer: InitializerName | Initializer = "zeros"
    use_bias: bool = True
    l1: float = 0.0
    l2: float = 0.0
    learning_rate_factor: float = 1.0
    decay_factor: float = 1.0

    def __post_init__(self) -> None:
        multiplier = size("depth_multiplier", self.depth_multiplier)
        object.__setattr__(self, "depth_multiplier", multiplier)
        checked = self.grouped(1)
        for field in fields(self):
            if field.name != "depth_multiplier":
                object.__setattr__(self, field.name, getattr(checked, field.name))

    def grouped(self, channels: int) -> Conv2D:
        """The same layer for images of so many channels."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "depth_multiplier"}
        return Conv2D(channels * self.depth_multiplier, groups=channels, **given)

    @property
    def function(self) -> Activation:
        return activations.get(self.activation)

    @property
    def axes(self) -> tuple[int, ...]:
        return (3,)

    def output_shape(self, shape: Shape) -> Shape:
        image(self, shape, 2)
        return self.grouped(shape[-1]).output_shape(shape)

    def kept(self, shape: Shape) -> int:
        return self.grouped(shape[-1]).kept(shape)

    def parameters(self, shape: Shape) -> tuple[Parameter, ...]:
        return self.grouped(shape[-1]).parameters(shape)

    def fill(self, spec: Any, shape: Shape) -> None:
        self.grouped(shape[-1]).fill(spec, shape)
