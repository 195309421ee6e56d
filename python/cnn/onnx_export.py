"""Networks as ONNX graphs."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn import atomic
from cnn.layers import Dense
from cnn.plan import layer_activation

if TYPE_CHECKING:
    from cnn.network import Network

_OPSET, _IR = 17, 8
_FLOAT, _DOUBLE = 1, 11  # onnx.TensorProto
_MAX_BYTES = 2**31 - 2**20  # of a protocol buffer


class _Graph:
    """Nodes and constants, one after another; a value is its name."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def op(self, kind: str, *inputs: str | float, **attributes: Any) -> str:
        """The output of a node; numbers become constants of the network's type."""
        from onnx import helper

        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        output = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [output], name=output, **attributes))
        return output

    def constant(self, value: float) -> str:
        name = f"constant_{float(value).hex()}"
        self.constants[name] = np.array(value, self.dtype)
        return name


def _sigmoid(g: _Graph, z: str) -> str:
    return g.op("Sigmoid", z)


def _expm1(g: _Graph, z: str) -> str:
    """e^z - 1 of what is negative in z, without the loss of digits near 0: 2 tanh(z / 2) / (1 - tanh(z / 2))."""
    t = g.op("Tanh", g.op("Mul", g.op("Min", z, 0.0), 0.5))
    return g.op("Div", g.op("Add", t, t), g.op("Sub", 1.0, t))


def _positive_or(g: _Graph, z: str, otherwise: str) -> str:
    return g.op("Where", g.op("Greater", z, 0.0), z, otherwise)


def _softplus(g: _Graph, z: str) -> str:
    tail = g.op("Log", g.op("Add", 1.0, g.op("Exp", g.op("Neg", g.op("Abs", z)))))
    return g.op("Add", g.op("Max", z, 0.0), tail)


def _selu(g: _Graph, z: str) -> str:
    negative = g.op("Mul", 1.7580993408473768599, _expm1(g, z))
    return g.op("Where", g.op("Greater", z, 0.0), g.op("Mul", 1.0507009873554804935, z), negative)


def _gelu(g: _Graph, z: str) -> str:
    x = g.op("Mul", z, math.sqrt(0.5))
    return g.op("Mul", g.op("Mul", z, 0.5), g.op("Add", 1.0, _erf(g, x)))


def _erf(g: _Graph, x: str) -> str:
    if g.dtype == np.float32:
        return g.op("Erf", x)
    return g.op("Cast", g.op("Erf", g.op("Cast", x, to=_FLOAT)), to=_DOUBLE)  # runtimes have it in float32 only


def _gelu_tanh(g: _Graph, z: str) -> str:
    inner = g.op("Add", 1.0, g.op("Mul", 0.044715, g.op("Mul", z, z)))
    return g.op("Mul", z, g.op("Sigmoid", g.op("Mul", math.sqrt(8 / math.pi), g.op("Mul", z, inner))))


def _clip(low: float, high: float) -> Callable[[_Graph, str, float], str]:
    return lambda g, z, alpha: g.op("Max", g.op("Min", z, high), low)


def _gate(g: _Graph, z: str) -> str:
    return g.op("Div", _clip(0, 6)(g, g.op("Add", z, 3.0), 0), 6.0)


# Of operators that runtimes have in float32 and in float64.
_ACTIVATIONS: dict[str, Callable[[_Graph, str, float], str]] = {
    "identity": lambda g, z, alpha: z,
    "sigmoid": lambda g, z, alpha: _sigmoid(g, z),
    "tanh": lambda g, z, alpha: g.op("Tanh", z),
    "relu": lambda g, z, alpha: g.op("Relu", z),
    "leaky_relu": lambda g, z, alpha: _positive_or(g, z, g.op("Mul", z, alpha)),
    "relu6": _clip(0, 6),
    "elu": lambda g, z, alpha: _positive_or(g, z, g.op("Mul", _expm1(g, z), alpha)),
    "selu": lambda g, z, alpha: _selu(g, z),
    "celu": lambda g, z, alpha: _positive_or(g, z, g.op("Mul", _expm1(g, g.op("Div", z, alpha)), alpha)),
    "gelu": lambda g, z, alpha: _gelu(g, z),
    "gelu_tanh": lambda g, z, alpha: _gelu_tanh(g, z),
    "silu": lambda g, z, alpha: g.op("Mul", z, _sigmoid(g, z)),
    "mish": lambda g, z, alpha: g.op("Mul", z, g.op("Tanh", _softplus(g, z))),
    "softplus": lambda g, z, alpha: _softplus(g, z),
    "softsign": lambda g, z, alpha: g.op("Div", z, g.op("Add", 1.0, g.op("Abs", z))),
    "hard_sigmoid": lambda g, z, alpha: _gate(g, z),
    "hard_swish": lambda g, z, alpha: g.op("Mul", z, _gate(g, z)),
    "hard_tanh": _clip(-1, 1),
}
_LINKS: dict[str, Callable[[_Graph, str], str]] = {
    "identity": lambda g, f: f,
    "sigmoid": _sigmoid,
    "exp": lambda g, f: g.op("Exp", f),
    "softmax": lambda g, f: g.op("Softmax", f, axis=1),
}


def export_onnx(net: Network, path: str | os.PathLike[str]) -> None:
    """Writes what `net.predict` computes as an ONNX graph (opset 17): `X` (n, inputs) to `prediction`, any n.

    Weights keep their type, float32 or float64; dropout is left out; the loss's link is applied. Equal to `predict` in
    ONNX Runtime to 1e-5, and to 1e-11 in float64 without gelu, for which it has float32 alone. Needs the extra `onnx`:
    pip install 'cnn-core[onnx]'.

    Raises:
        ImportError: onnx is not installed.
        NotBuiltError: the network has no weights yet.
        ValueError: it has 2 GiB of weights or more, which a protocol buffer can't hold.

    >>> import cnn
    >>> cnn.export_onnx(cnn.Network([cnn.Dense(2)]).build(3), "model.onnx")  # doctest: +SKIP
    """
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ImportError as error:
        raise ImportError("export_onnx needs onnx: pip install 'cnn-core[onnx]'") from error
    from cnn import __version__

    if net.plan.size * net.dtype.itemsize > _MAX_BYTES:
        raise ValueError(f"ONNX files hold 2 GiB, and this network has {net.plan.size * net.dtype.itemsize:,} bytes")
    graph, output = _graph(net)
    real = helper.np_dtype_to_tensor_dtype(net.dtype)
    made = helper.make_graph(
        graph.nodes, "cnn",
        [helper.make_tensor_value_info("X", real, ["n", net.n_inputs])],
        [helper.make_tensor_value_info(output, real, ["n"] if net.one_dimensional else ["n", net.n_outputs])],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in graph.constants.items()],
    )  # fmt: skip
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR, producer_name="cnn",
        producer_version=__version__,
    )  # fmt: skip
    onnx.checker.check_model(model, full_check=True)
    atomic.write_whole(path, model.SerializeToString())


def _graph(net: Network) -> tuple[_Graph, str]:
    """The nodes of a network, and the name of the output."""
    graph, value = _Graph(net.dtype), "X"
    for i, layer in enumerate(net.descriptions):
        if not isinstance(layer, Dense):
            continue
        inputs = [f"layers.{i}.weights"] + ([f"layers.{i}.biases"] if layer.use_bias else [])
        graph.constants |= {name: net.parameters[name] for name in inputs}
        value = graph.op("Gemm", value, *inputs)
        activation = layer_activation(layer, net.loss, last=i == len(net.descriptions) - 1)
        value = _ACTIVATIONS[activation.name](graph, value, activation.value)
    value = _LINKS[net.loss.link](graph, value)
    if net.one_dimensional:
        graph.constants["shape"] = np.array([-1], np.int64)
        value = graph.op("Reshape", value, "shape")
    graph.nodes[-1].output[0] = "prediction"
    return graph, "prediction"
