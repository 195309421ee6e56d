"""`cnn.from_torch`: a `torch.nn.Sequential` as a network with the same outputs. Modules are read without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cnn._common import checks
from cnn._common.types import OptimizerName
from cnn.activations import Activation
from cnn.export.pytorch import BATCH_NORM, TORCH, flattened, in_our_order, torch_out, with_axes_turned
from cnn.export.weights import Array, array_of
from cnn.layers import (
    AvgPool1D,
    AvgPool2D,
    BatchNorm,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    Layer,
    LayerNorm,
    MaxPool1D,
    MaxPool2D,
    ParametricActivation,
    PReLU,
    Shape,
)
from cnn.losses import Loss, LossName
from cnn.network import Network
from cnn.optimizers import Optimizer

_ACTIVATED = (Dense, Conv2D, BatchNorm)  # layers with an activation of their own
_PASSED = (MaxPool1D, MaxPool2D, Flatten)  # which an activation that never falls may stand before as well as behind
_FALL = ("gelu", "gelu_tanh", "silu", "mish", "hard_swish")
_POOLS: dict[str, Any] = {
    "MaxPool1d": MaxPool1D, "MaxPool2d": MaxPool2D, "AvgPool1d": AvgPool1D, "AvgPool2d": AvgPool2D,
}  # fmt: skip
_ADAPTIVE: dict[str, tuple[Any, Any]] = {
    "AdaptiveAvgPool1d": (GlobalAvgPool1D, AvgPool1D), "AdaptiveAvgPool2d": (GlobalAvgPool2D, AvgPool2D),
    "AdaptiveMaxPool1d": (GlobalMaxPool1D, MaxPool1D), "AdaptiveMaxPool2d": (GlobalMaxPool2D, MaxPool2D),
}  # fmt: skip


def from_torch(
    module: Any,
    input_shape: int | Sequence[int] | None = None,
    loss: LossName | Loss = "mse",
    optimizer: OptimizerName | Optimizer = "adam",
    seed: int | None = None,
) -> Network:
    """The network of a `torch.nn.Sequential`: same layers, same weights (copied), and so the same outputs.

    It takes images as (n, height, width, channels), where PyTorch has (n, channels, height, width): weights of
    convolutions are turned, and those behind a Flatten put in its order. `forward` gives what the module gives in
    `eval` mode, `predict` applies the link of the loss. An activation becomes that of the layer before it; where there
    is none, a `ParametricActivation` that does not learn.

    Known are Linear, Conv1d, Conv2d (zeros as padding, as numbers, "same" or by a ZeroPad before it), MaxPool, AvgPool
    (of what is inside the image), AdaptiveAvgPool and AdaptiveMaxPool (to sizes that divide the image's), Flatten,
    BatchNorm1d, BatchNorm2d, LayerNorm of rows, Dropout, PReLU, Identity, nested Sequentials, and the activations that
    docs/from-pytorch.md names.

    Args:
        module: an `nn.Sequential` whose last module with weights is a Linear.
        input_shape: (height, width, channels) of images, (length, channels) of signals; None: the inputs of a Linear.
        loss, optimizer, seed: as of `cnn.Network`; the type is that of the weights, float32 or float64.

    Raises:
        TypeError: no Sequential.
        ValueError: a module that is not there in `cnn`, or does not fit to what it gets; it is named.

    >>> import cnn
    >>> net = cnn.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 1)))  # doctest: +SKIP
    """
    if not _is_sequential(module):
        raise TypeError(
            f"from_torch takes a torch.nn.Sequential, got {type(module).__name__}; the weights of a module with a "
            "forward of its own go into a Network by cnn.from_torch_state_dict"
        )
    leaves = list(_leaves(module))
    shape = _first_inputs(leaves) if input_shape is None else checks.shape("input_shape", input_shape)
    reader = _Reader(shape)
    for k, (place, leaf) in enumerate(leaves):
        following = _name(leaves[k + 1][1]) if k + 1 < len(leaves) else ""
        try:
            reader.take(leaf, following)
        except (TypeError, ValueError) as error:
            raise ValueError(f"module {place}, {leaf!r}: {error}") from None
    dtype: Any = "float64" if reader.dtype == np.float64 else "float32"
    net = Network(reader.layers, loss=loss, optimizer=optimizer, dtype=dtype, seed=seed).build(shape)
    net.set_weights({
        f"layers.{i}.{name}": array for i, weights in enumerate(reader.weights) for name, array in weights.items()
    })  # fmt: skip
    return net


def _name(module: Any) -> str:
    """What PyTorch calls it; empty for a module of someone's own."""
    cls = type(module)
    return cls.__name__ if cls.__module__.split(".")[0] == "torch" else ""


def _is_sequential(module: Any) -> bool:
    """Also one of a class of its own, as long as it runs one module after another."""
    for cls in type(module).__mro__:
        if cls.__name__ == "Sequential" and cls.__module__.split(".")[0] == "torch":
            return True
        if "forward" in vars(cls):
            return False
    return False


def _leaves(module: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Modules with their places, those of Sequentials within it one after another."""
    for i, child in enumerate(module):
        if _is_sequential(child):
            yield from _leaves(child, f"{before}{i}.")
        else:
            yield f"{before}{i}", child


def _first_inputs(leaves: Sequence[tuple[str, Any]]) -> Shape:
    for _, leaf in leaves:
        if _name(leaf) == "Linear":
            return (leaf.in_features,)
        if _name(leaf) not in ("Identity", "Flatten", "Dropout"):
            break
    raise ValueError("input_shape must be given: (height, width, channels) of images, (inputs,) of rows of numbers")


def _each(value: Any, rank: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,) * rank


class _Reader:
    """Layers and their weights, module by module; what the next one reads."""

    def __init__(self, shape: Shape) -> None:
        self.layers: list[Layer] = []
        self.weights: list[dict[str, Array]] = []
        self.shape = shape
        self.order: Array | None = None  # which of our units each of PyTorch's is: from a Flatten to the next Linear
        self.around: tuple[Shape, Shape] | None = None  # zeros before and behind each axis, for the next convolution
        self.dtype: Any = None

    def take(self, module: Any, following: str) -> None:
        name = _name(module)
        if self.around and not name.startswith("Conv"):
            raise ValueError("zeros around images must stand before a convolution")
        if name in _ACTIVATIONS:
            self._activate(_ACTIVATIONS[name](module))
        elif name in _POOLS:
            self._pool(module, _POOLS[name])
        elif name in _ADAPTIVE:
            self._adaptive_pool(module, *_ADAPTIVE[name], following)
        elif name in _KINDS:
            _KINDS[name](self, module)
        else:
            known = ", ".join(sorted([*_KINDS, *_POOLS, *_ADAPTIVE, *_ACTIVATIONS]))
            raise ValueError(f"there is no such layer; known are {known}")

    def _add(self, layer: Layer, **weights: Any) -> None:
        """With its parameters as arrays of PyTorch's shapes, those that are not None."""
        arrays = {name: array_of(name, value) for name, value in weights.items() if value is not None}
        for name, array in arrays.items():
            self.dtype = array.dtype if self.dtype is None else self.dtype
            arrays[name] = with_axes_turned(array, back=True)
            if self.order is not None:
                arrays[name] = in_our_order(arrays[name], self.order)
        layer.output_shape(self.shape)  # before others say what does not fit
        wanted = {parameter.name: parameter.shape for parameter in layer.parameters(self.shape)}
        if any(array.shape != wanted[name] for name, array in arrays.items()):
            found = {name: array.shape for name, array in arrays.items()}
            raise ValueError(f"it gets inputs of shape {self.shape}, channels last, so weights must have the shapes "
                             f"{wanted}, and they have {found}")  # fmt: skip
        self._place(layer, arrays)

    def _place(self, layer: Layer, arrays: dict[str, Array]) -> None:
        self.shape = layer.output_shape(self.shape)
        self.layers.append(layer)
        self.weights.append(arrays)

    def _activate(self, activation: Activation) -> None:
        """An activation, as that of the layer before it where that is the same."""
        k = len(self.layers) - 1
        while k > 0 and isinstance(self.layers[k], _PASSED) and activation.name not in _FALL:
            k -= 1
        layer = self.layers[k] if k >= 0 else None
        if isinstance(layer, _ACTIVATED) and layer.function.name == "identity":
            self.layers[k] = replace(layer, activation=activation)
        else:
            alone = ParametricActivation(activation, learning_rate_factor=0.0, decay_factor=0.0)
            self._place(alone, {"weights": np.ones(alone.parameters(self.shape)[0].shape)})

    def _softmax(self, module: Any) -> None:
        """What the loss cross_entropy brings; the network refuses it anywhere else."""
        if module.dim not in (1, -1) or not isinstance(self.layers[-1] if self.layers else None, Dense):
            raise ValueError("Softmax stands behind the last Linear, with loss='cross_entropy'")
        self.layers[-1] = replace(self.layers[-1], activation="softmax")  # type: ignore[call-arg]

    def _linear(self, module: Any) -> None:
        order, self.order = self.order, None
        weights = array_of("weight", module.weight)
        if order is not None:
            weights = in_our_order(weights.T, order).T
        self._add(Dense(len(weights), use_bias=module.bias is not None), weights=weights, biases=module.bias)

    def _convolution(self, module: Any) -> None:
        rank = len(module.kernel_size)
        if module.padding_mode != "zeros":
            raise ValueError(f"padding_mode {module.padding_mode!r} is not there: padding is of zeros")
        padding: Any = module.padding if isinstance(module.padding, str) else tuple(module.padding)
        padding = padding if any(padding) else "valid"
        made = (Conv1D if rank == 1 else Conv2D)(
            module.out_channels, tuple(module.kernel_size), tuple(module.stride), padding, tuple(module.dilation),
            module.groups, use_bias=module.bias is not None,
        )  # fmt: skip
        if self.around is not None:
            made = self._with_zeros(made)
        self._add(made, weights=module.weight, biases=module.bias)

    def _with_zeros(self, layer: Conv2D) -> Conv2D:
        """The convolution with the zeros that a module before it puts around images."""
        (before, behind), self.around = self.around or ((), ()), None
        if layer.padding != "valid":
            raise ValueError("a convolution with padding of its own can't have more zeros around it")
        for padding in (before, "same"):
            made = replace(layer, padding=padding)
            window = made.window(self.shape)
            if window.before == before and (before == behind or (padding == "same" and window.behind == behind)):
                return made
        raise ValueError(f"zeros around images, {before} before and {behind} behind them, are not those of 'same'")

    def _zeros(self, module: Any) -> None:
        sides = _each(module.padding, 2 * (len(self.shape) - 1))
        self.around = sides[0::2][::-1], sides[1::2][::-1]

    def _pool(self, module: Any, kind: Any) -> None:
        rank = len(self.shape) - 1
        kernel, stride, pad = (_each(size, rank) for size in (module.kernel_size, module.stride, module.padding))
        if set(_each(getattr(module, "dilation", 1), rank)) != {1} or getattr(module, "return_indices", False):
            raise ValueError("pooling with dilation or return_indices is not there")
        if getattr(module, "divisor_override", None) or (any(pad) and getattr(module, "count_include_pad", False)):
            raise ValueError("averages are of what is inside the image: count_include_pad=False, no divisor_override")
        out = torch_out(self.shape[:-1], kernel, stride, pad, over=module.ceil_mode)
        for padding in (pad if any(pad) else "valid", "same"):
            layer = kind(kernel, None if stride == kernel else stride, padding)
            window = layer.window(self.shape)
            if window.before == pad and window.out == out:
                return self._add(layer)
        raise ValueError(f"windows that hang over the end (ceil_mode) are not those of 'same' for images {self.shape}")

    def _adaptive_pool(self, module: Any, whole: Any, window: Any, following: str) -> None:
        rank = whole.rank
        sizes = self.shape[:-1] if len(self.shape) == rank + 1 else ()
        each = zip(sizes, _each(module.output_size, rank), strict=False)
        wanted = tuple(n if out is None else out for n, out in each)
        if set(wanted) <= {1} and following == "Flatten":
            return self._add(whole())
        if not sizes or any(n % out for n, out in zip(sizes, wanted, strict=True)):
            raise ValueError(f"output_size must divide the size of the images, {self.shape}, channels last")
        kernel = tuple(n // out for n, out in zip(sizes, wanted, strict=True))
        return self._add(window(kernel))

    def _flatten(self, module: Any) -> None:
        if module.start_dim != 1 or module.end_dim not in (-1, len(self.shape)):
            raise ValueError("only Flatten() of all but the rows is there")
        if len(self.shape) > 1:
            order = flattened(self.shape)
            self._add(Flatten())
            self.order = order

    def _batch_norm(self, module: Any) -> None:
        if module.weight is None or module.running_mean is None or module.momentum is None:
            raise ValueError("BatchNorm has weights, running averages and a momentum: affine, track_running_stats")
        theirs = {ours: getattr(module, name) for name, ours in BATCH_NORM.items()}
        self._add(BatchNorm(module.eps, module.momentum), **theirs)

    def _layer_norm(self, module: Any) -> None:
        if len(self.shape) > 1 or module.weight is None or module.bias is None:
            raise ValueError("LayerNorm is of rows of numbers, with weights and biases")
        self._add(LayerNorm(module.eps), weights=module.weight, biases=module.bias)

    def _prelu(self, module: Any) -> None:
        slopes = array_of("weight", module.weight)
        self._add(PReLU(), weights=np.repeat(slopes, self.shape[-1]) if len(slopes) == 1 else slopes)

    def _nothing(self, module: Any) -> None:
        """What changes no number."""


_KINDS: dict[str, Callable[[_Reader, Any], None]] = {
    "Linear": _Reader._linear, "Conv1d": _Reader._convolution, "Conv2d": _Reader._convolution,
    "ZeroPad1d": _Reader._zeros, "ZeroPad2d": _Reader._zeros, "Flatten": _Reader._flatten,
    "BatchNorm1d": _Reader._batch_norm, "BatchNorm2d": _Reader._batch_norm, "LayerNorm": _Reader._layer_norm,
    "PReLU": _Reader._prelu, "Softmax": _Reader._softmax, "Identity": _Reader._nothing,
    "Dropout": lambda reader, module: reader._add(Dropout(module.p)),
}  # fmt: skip


def _as_activation(name: str, parameter: str | None) -> Callable[[Any], Activation]:
    def read(module: Any) -> Activation:
        if name == "gelu" and module.approximate == "tanh":
            return Activation("gelu_tanh")
        for field, value in _FIXED.get(name, {}).items():
            if getattr(module, field) != value:
                raise ValueError(f"{field} must be {value:g}")
        usual = Activation(name)
        given = usual.value if parameter is None else getattr(module, parameter)
        return usual if given == usual.value else Activation(name, given)

    return read


_FIXED = {"softplus": {"beta": 1, "threshold": 20}, "hard_tanh": {"min_val": -1, "max_val": 1}}
_ACTIVATIONS = {
    cls: _as_activation(name, parameter) for name, (cls, parameter) in TORCH.items() if name != "gelu_tanh"
}
