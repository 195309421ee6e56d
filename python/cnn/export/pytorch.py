"""Networks to PyTorch, and weights from there, by the names and in the shapes that it expects."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import TYPE_CHECKING, Any

import numpy as np

import cnn_core
from cnn.activations import Activation
from cnn.export.weights import array_of, with_weights
from cnn.layers import (
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalMaxPool2D,
    Layer,
    LayerNorm,
    MaxPool1D,
    MaxPool2D,
    ParametricActivation,
    PReLU,
    Shape,
)
from cnn.layers.window import Window
from cnn.network import Network
from cnn.runtime.plan import placed

if TYPE_CHECKING:
    from torch import Tensor

Array = np.ndarray[Any, Any]

# Activations as modules of torch.nn: the class, and by which name it takes our alpha.
TORCH = {
    "sigmoid": ("Sigmoid", None), "tanh": ("Tanh", None), "relu": ("ReLU", None),
    "leaky_relu": ("LeakyReLU", "negative_slope"), "relu6": ("ReLU6", None), "elu": ("ELU", "alpha"),
    "selu": ("SELU", None), "celu": ("CELU", "alpha"), "gelu": ("GELU", None), "gelu_tanh": ("GELU", None),
    "silu": ("SiLU", None), "mish": ("Mish", None), "softplus": ("Softplus", None), "softsign": ("Softsign", None),
    "hard_sigmoid": ("Hardsigmoid", None), "hard_swish": ("Hardswish", None), "hard_tanh": ("Hardtanh", None),
}  # fmt: skip
_Global = GlobalAvgPool2D | GlobalAvgPool1D | GlobalMaxPool2D
BATCH_NORM = {"weight": "weights", "bias": "biases", "running_mean": "running_mean", "running_var": "running_variance"}
_COUNTER = "num_batches_tracked"  # of steps, beside them, which only PyTorch's momentum=None takes


@dataclass(frozen=True)
class _Module:
    """A module of PyTorch: what its parameters are called there and here; made from torch.nn and their values.

    `orders` says of some, by their names there, which of our units each of PyTorch's is: behind a Flatten.
    """

    names: dict[str, str]
    make: Callable[[Any, Mapping[str, Any]], Any]
    orders: Mapping[str, Array] = field(default_factory=dict)

    def theirs(self, name: str, array: Array) -> Array:
        order = self.orders.get(name)
        return with_axes_turned(array if order is None else array[order])

    def ours(self, name: str, array: Array) -> Array:
        array, order = with_axes_turned(array, back=True), self.orders.get(name)
        return array if order is None else in_our_order(array, order)


def with_axes_turned(array: Array, back: bool = False) -> Array:
    """Weights (*kernel, inputs, units) as PyTorch has them, (units, inputs, *kernel); `back` the other way."""
    if array.ndim < 2:
        return array
    kernel = array.ndim - 2
    axes = [*range(2, kernel + 2), 1, 0] if back else [kernel + 1, kernel, *range(kernel)]
    return array.transpose(axes)


def in_our_order(array: Array, order: Array) -> Array:
    if len(array) != len(order):
        raise ValueError(f"weights behind a Flatten are of {len(order):,} inputs, and these of {len(array):,}")
    return array[np.argsort(order)]


def flattened(shape: Shape) -> Array:
    """Which of our units each of PyTorch's is behind a Flatten of images of that shape: theirs have channels first."""
    return np.moveaxis(np.arange(np.prod(shape)).reshape(shape), -1, 0).ravel()


@singledispatch
def _modules(layer: Layer, i: int, shape: Shape) -> list[_Module]:
    """What stands in the same nn.Sequential for the layer at place i, which reads that shape."""
    raise ValueError(f"layer {i}, {layer!r}, is not known as a module of PyTorch")


def _named(i: int, use_bias: bool = True) -> dict[str, str]:
    return {"weight": f"layers.{i}.weights"} | ({"bias": f"layers.{i}.biases"} if use_bias else {})


def _plain(name: str, *arguments: Any, **how: Any) -> _Module:
    """A module without parameters."""
    return _Module({}, lambda nn, values: getattr(nn, name)(*arguments, **how))


@_modules.register
def _(layer: Dense, i: int, shape: Shape) -> list[_Module]:
    def linear(nn: Any, values: Mapping[str, Any]) -> Any:
        n_units, n_inputs = values["weight"].shape
        return nn.Linear(n_inputs, n_units, bias=layer.use_bias, dtype=values["weight"].dtype)

    return [_Module(_named(i, layer.use_bias), linear), *_functions(layer.function)]


@_modules.register
def _(layer: Conv2D | DepthwiseConv2D, i: int, shape: Shape) -> list[_Module]:
    conv = layer.grouped(shape[-1]) if isinstance(layer, DepthwiseConv2D) else layer
    window = conv.window(shape)
    around = [_around(window)] if _hangs_over(window) else []

    def convolution(nn: Any, values: Mapping[str, Any]) -> Any:
        make = getattr(nn, f"Conv{conv.rank}d")
        padding = (0,) * conv.rank if around else window.before
        given = window.kernel, window.stride, padding, window.dilation, conv.groups, conv.use_bias
        return make(shape[-1], conv.filters, *given, dtype=values["weight"].dtype)

    return [*around, _Module(_named(i, conv.use_bias), convolution), *_functions(conv.function)]


def _hangs_over(window: Window) -> bool:
    """Whether it looks further beyond the end of images than beyond their beginning, as PyTorch's numbers can't say."""
    return any(behind > before for before, behind in zip(window.before, window.behind, strict=True))


def _around(window: Window) -> _Module:
    """Zeros on both sides of each axis, the last one first."""
    sides = [side for both in zip(window.before, window.behind, strict=True) for side in both]
    return _plain(f"ZeroPad{len(sides) // 2}d", tuple(sides[-2:] + sides[:-2]))


@_modules.register
def _(layer: MaxPool2D | MaxPool1D | AvgPool2D, i: int, shape: Shape) -> list[_Module]:
    window = layer.window(shape)
    over = _hangs_over(window)  # PyTorch's windows may, too
    if over and torch_out(window.image, window.kernel, window.stride, window.before, over=True) != window.out:
        raise ValueError(f"layer {i}, {layer!r}, has no such padding in PyTorch for images of shape {shape}")
    largest = layer.kind == cnn_core.LayerKind.MAX_POOL
    how: dict[str, Any] = {"ceil_mode": over} | ({} if largest else {"count_include_pad": False})
    kind = f"{'Max' if largest else 'Avg'}Pool{layer.rank}d"
    return [_plain(kind, window.kernel, window.stride, window.before, **how)]


def torch_out(image: Shape, kernel: Shape, stride: Shape, pad: Shape, *, over: bool) -> Shape:
    """The size of what PyTorch's pooling gives; `over` is its ceil_mode, whose windows begin in the image or before."""
    sizes = []
    for n, k, s, p in zip(image, kernel, stride, pad, strict=True):
        out = -(-(n + 2 * p - k) // s) + 1 if over else (n + 2 * p - k) // s + 1
        sizes.append(out - 1 if over and (out - 1) * s >= n + p else out)
    return tuple(sizes)


@_modules.register
def _(layer: _Global, i: int, shape: Shape) -> list[_Module]:
    largest = layer.kind == cnn_core.LayerKind.MAX_POOL
    return [_plain(f"Adaptive{'Max' if largest else 'Avg'}Pool{layer.rank}d", 1), _plain("Flatten")]


@_modules.register
def _(layer: Flatten, i: int, shape: Shape) -> list[_Module]:
    return [_plain("Flatten")]


@_modules.register
def _(layer: Dropout, i: int, shape: Shape) -> list[_Module]:
    return [_plain("Dropout", layer.rate)]


@_modules.register
def _(layer: LayerNorm, i: int, shape: Shape) -> list[_Module]:
    if len(shape) > 1:
        raise ValueError(f"layer {i}, {layer!r}, of the channels of images, is not known as a module of PyTorch")

    def norm(nn: Any, values: Mapping[str, Any]) -> Any:
        return nn.LayerNorm(len(values["weight"]), eps=layer.epsilon, dtype=values["weight"].dtype)

    return [_Module(_named(i), norm)]


@_modules.register
def _(layer: BatchNorm, i: int, shape: Shape) -> list[_Module]:
    names = {theirs: f"layers.{i}.{ours}" for theirs, ours in BATCH_NORM.items()}

    def norm(nn: Any, values: Mapping[str, Any]) -> Any:
        make = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
        units, dtype = len(values["weight"]), values["weight"].dtype
        return make(units, eps=layer.epsilon, momentum=layer.momentum, dtype=dtype)

    return [_Module(names, norm), *_functions(layer.function)]


@_modules.register
def _(layer: ParametricActivation, i: int, shape: Shape) -> list[_Module]:
    """An activation that stands by itself, as `from_torch` makes it."""
    if layer.learning_rate_factor or layer.initializer != "ones":
        raise ValueError(f"layer {i}, {layer!r}, is not known as a module of PyTorch: its shares are learnt")
    return _functions(layer.function)


@_modules.register
def _(layer: PReLU, i: int, shape: Shape) -> list[_Module]:
    def prelu(nn: Any, values: Mapping[str, Any]) -> Any:
        return nn.PReLU(len(values["weight"]), dtype=values["weight"].dtype)

    return [_Module({"weight": f"layers.{i}.weights"}, prelu)]


def _functions(activation: Activation) -> list[_Module]:
    if activation.name == "identity":
        return []

    def function(nn: Any, values: Mapping[str, Any]) -> Any:
        if activation.name not in TORCH:
            raise ValueError(f"PyTorch has no module for the activation {activation.name}")
        name, parameter = TORCH[activation.name]
        how: dict[str, Any] = {} if parameter is None else {parameter: activation.value}
        how |= {"approximate": "tanh"} if activation.name == "gelu_tanh" else {}
        return getattr(nn, name)(**how)

    return [_Module({}, function)]


def _sequential(net: Network) -> list[_Module]:
    """The modules of the same nn.Sequential: one for each layer, and activations."""
    made: list[_Module] = []
    order: Array | None = None  # of PyTorch's units, from a Flatten to the Dense behind it
    for i, (layer, shape) in enumerate(zip(placed(net.descriptions, net.loss), _shapes(net), strict=True)):
        for module in _modules(layer, i, shape):
            turned = ("weight",) if isinstance(layer, Dense) else tuple(module.names)
            made.append(module if order is None else replace(module, orders=dict.fromkeys(turned, order)))
        if isinstance(layer, Flatten) and len(shape) > 1:
            order = flattened(shape)
        elif isinstance(layer, Dense):
            order = None
    return made


def _shapes(net: Network) -> list[Shape]:
    """What each layer reads; before a network is built that is rows of numbers, for none is asked how many."""
    if net.known_inputs is not None:
        return list(net.plan.shapes[:-1])
    if any(max(layer.axes, default=1) > 1 for layer in net.descriptions):
        raise ValueError("a network for images must know their shape: net.build((height, width, channels)) first")
    return [(1,)] * len(net.descriptions)


def to_torch_state_dict(net: Network) -> dict[str, Tensor]:
    """The weights for `load_state_dict` of the same `torch.nn.Sequential`: "0.weight" (units, inputs), "0.bias", ...

    The Sequential has a Linear for each Dense, the activation's module after it unless it is identity, a Dropout for
    each Dropout, and nothing for the link of the loss (PyTorch's losses, too, take raw outputs). Needs torch.

    A network for images becomes one that takes them as PyTorch has them, (n, channels, height, width): weights of
    convolutions are (filters, channels, height, width), and those behind a Flatten are put in its order. A ZeroPad2d
    stands before a convolution whose padding "same" is more behind than before.

    Args:
        net: a network that is built.

    Raises:
        ImportError: torch is not installed.
        NotBuiltError: the network has no weights yet.
        ValueError: PyTorch has no such layer or activation.

    >>> import cnn
    >>> net = cnn.Network([cnn.Dense(2)], seed=0).build(3)
    >>> cnn.to_torch_state_dict(net)["0.weight"].shape  # doctest: +SKIP
    torch.Size([2, 3])
    """
    torch, parameters = _torch("to_torch_state_dict"), net.parameters
    return {
        f"{place}.{theirs}": torch.from_numpy(np.array(module.theirs(theirs, parameters[ours]), order="C"))
        for place, module in enumerate(_sequential(net)) for theirs, ours in module.names.items()
    }  # fmt: skip


def to_torch(net: Network) -> Any:
    """The network as a `torch.nn.Sequential` with a copy of the weights, in `eval` mode: it gives raw outputs.

    Those of `Network.forward`, to rounding. Its modules are named in `to_torch_state_dict`: the link of the loss
    (softmax, sigmoid, exp) is none of them, for PyTorch's losses bring their own. `train()` turns its Dropouts on.

    Args:
        net: a network that is built.

    Raises:
        ImportError: torch is not installed.
        NotBuiltError: the network has no weights yet.
        ValueError: PyTorch has no such layer or activation.

    >>> import cnn
    >>> net = cnn.Network([cnn.Dense(2)], seed=0).build(3)
    >>> cnn.to_torch(net)  # doctest: +SKIP
    Sequential(
      (0): Linear(in_features=3, out_features=2, bias=True)
    )
    """
    nn = _torch("to_torch").nn
    weights = to_torch_state_dict(net)
    made = nn.Sequential(*(
        module.make(nn, {theirs: weights[f"{place}.{theirs}"] for theirs in module.names})
        for place, module in enumerate(_sequential(net))
    ))  # fmt: skip
    made.load_state_dict(weights)
    return made.eval()


def _torch(name: str) -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError(f"{name} needs PyTorch: pip install torch") from error
    return torch


def from_torch_state_dict(net: Network, state: Any) -> Network:
    """Sets the weights from a state dict or a module of PyTorch, and builds the network if it is not; returns it.

    Modules may have any names ("0.weight", "net.0.weight", "fc1.weight"): one Linear for each Dense, in the order in
    which the module has registered them, or by their numbers where the names differ by numbers alone. Weights of
    convolutions, and those behind a Flatten, are turned from PyTorch's order, channels first.

    Args:
        net: one for images must be built: net.build((height, width, channels)).
        state: a mapping of names to tensors or arrays, or a `torch.nn.Module`, whose `state_dict()` is taken.

    Raises:
        ValueError: other modules, or other shapes; nothing is changed then.

    >>> import numpy as np, cnn
    >>> net = cnn.Network([cnn.Dense(1)])
    >>> net = from_torch_state_dict(net, {"fc.weight": np.array([[1.0, 2.0]]), "fc.bias": np.zeros(1)})
    >>> net.predict(np.ones((1, 2))).item()
    3.0
    """
    if not isinstance(state, Mapping) and callable(getattr(state, "state_dict", None)):
        state = state.state_dict()
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise TypeError(f"state must be a mapping of names to tensors or a torch.nn.Module, got {type(state).__name__}")
    state = {name: value for name, value in state.items() if name.rpartition(".")[2] != _COUNTER}
    modules = [(place, module) for place, module in enumerate(_sequential(net)) if module.names]
    heads = _in_order(dict.fromkeys(name.rpartition(".")[0] for name in state))
    expected = {
        f"{head}.{theirs}" if head else theirs: (ours, module)
        for head, (_, module) in zip(heads, modules, strict=False) for theirs, ours in module.names.items()
    }  # fmt: skip
    if len(heads) != len(modules) or set(expected) != set(state):
        usual = sorted(f"{place}.{what}" for place, module in modules for what in module.names)
        raise ValueError(
            f"the state dict must hold {', '.join(usual)}, got {', '.join(sorted(state))}; names of modules may be "
            "others, but there must be one Linear for each Dense, in their order"
        )
    return with_weights(net, {
        ours: module.ours(name.rpartition(".")[2], array_of(name, state[name]))
        for name, (ours, module) in expected.items()
    })  # fmt: skip


def _in_order(heads: Iterable[str]) -> list[str]:
    """Names of modules in the order of the layers: as they stand, or by number where they differ by numbers alone."""
    given = list(heads)
    parts = {head: re.split(r"(\d+)", head) for head in given}
    numbers = {head: tuple(map(int, found[1::2])) for head, found in parts.items()}
    stems = {head: tuple(found[::2]) for head, found in parts.items()}
    if len(set(stems.values())) == 1:
        return sorted(given, key=numbers.__getitem__)
    for one, other in itertools.pairwise(sorted(given, key=stems.__getitem__)):  # of each stem as they stand
        if stems[one] == stems[other] and numbers[one] > numbers[other]:
            raise ValueError(f"the state dict has {one!r} before {other!r}; give modules in the order of the layers")
    return given
