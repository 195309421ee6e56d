"""Networks, and what table models hold of them, as ONNX graphs."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn._common import checks
from cnn._version import __version__
from cnn.files import atomic
from cnn.layers import Dense
from cnn.network import Network
from cnn.runtime.plan import layer_activation

if TYPE_CHECKING:
    from cnn.sklearn.base import BaseMLP
    from cnn.table import TableModel

Value = tuple[Any, list[str | int]]  # type and shape
_OPSET, _ML_OPSET, _IR = 17, 3, 8
_FLOAT, _DOUBLE = 1, 11  # onnx.TensorProto
_MAX_BYTES = 2**31 - 2**20  # of a protocol buffer


class Graph:
    """Nodes and constants, one after another; a value is its name, which begins with `prefix`."""

    def __init__(self, dtype: Any, prefix: str = "") -> None:
        self.dtype, self.prefix = np.dtype(dtype), prefix
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def op(self, kind: str, *inputs: str | float, **attributes: Any) -> str:
        """The output of a node; numbers become constants of the type that the graph has at this point."""
        from onnx import helper

        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        output = f"{self.prefix}{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [output], name=output, **attributes))
        return output

    def constant(self, value: float) -> str:
        return self.array(f"{self.dtype.name}_{float(value).hex()}", np.array(value, self.dtype))

    def array(self, name: str, value: Any) -> str:
        """A constant array."""
        self.constants[self.prefix + name] = value
        return self.prefix + name

    def cast(self, value: str, dtype: Any) -> str:
        from onnx import helper

        return self.op("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _sigmoid(g: Graph, z: str) -> str:
    return g.op("Sigmoid", z)


def _expm1(g: Graph, z: str) -> str:
    """e^z - 1 of what is negative in z, without the loss of digits near 0: 2 tanh(z / 2) / (1 - tanh(z / 2))."""
    t = g.op("Tanh", g.op("Mul", g.op("Min", z, 0.0), 0.5))
    return g.op("Div", g.op("Add", t, t), g.op("Sub", 1.0, t))


def _positive_or(g: Graph, z: str, otherwise: str) -> str:
    return g.op("Where", g.op("Greater", z, 0.0), z, otherwise)


def _softplus(g: Graph, z: str) -> str:
    tail = g.op("Log", g.op("Add", 1.0, g.op("Exp", g.op("Neg", g.op("Abs", z)))))
    return g.op("Add", g.op("Max", z, 0.0), tail)


def _selu(g: Graph, z: str) -> str:
    negative = g.op("Mul", 1.7580993408473768599, _expm1(g, z))
    return g.op("Where", g.op("Greater", z, 0.0), g.op("Mul", 1.0507009873554804935, z), negative)


def _gelu(g: Graph, z: str) -> str:
    x = g.op("Mul", z, math.sqrt(0.5))
    return g.op("Mul", g.op("Mul", z, 0.5), g.op("Add", 1.0, _erf(g, x)))


def _erf(g: Graph, x: str) -> str:
    if g.dtype == np.float32:
        return g.op("Erf", x)
    return g.op("Cast", g.op("Erf", g.op("Cast", x, to=_FLOAT)), to=_DOUBLE)  # runtimes have it in float32 only


def _gelu_tanh(g: Graph, z: str) -> str:
    inner = g.op("Add", 1.0, g.op("Mul", 0.044715, g.op("Mul", z, z)))
    return g.op("Mul", z, g.op("Sigmoid", g.op("Mul", math.sqrt(8 / math.pi), g.op("Mul", z, inner))))


def _clip(low: float, high: float) -> Callable[[Graph, str, float], str]:
    return lambda g, z, alpha: g.op("Max", g.op("Min", z, high), low)


def _gate(g: Graph, z: str) -> str:
    return g.op("Div", _clip(0, 6)(g, g.op("Add", z, 3.0), 0), 6.0)


# Of operators that runtimes have in float32 and in float64.
_ACTIVATIONS: dict[str, Callable[[Graph, str, float], str]] = {
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
_LINKS: dict[str, Callable[[Graph, str], str]] = {
    "identity": lambda g, f: f,
    "sigmoid": _sigmoid,
    "exp": lambda g, f: g.op("Exp", f),
    "softmax": lambda g, f: g.op("Softmax", f, axis=1),
}


def export_onnx(model: Network | TableModel | BaseMLP, path: str | os.PathLike[str]) -> None:
    """Writes what `model.predict` computes as an ONNX graph (opset 17) for any number n of rows.

    A network: from `X` (n, inputs) to `prediction`. Weights keep their type, float32 or float64; dropout is left out;
    the loss's link is applied. Equal to `predict` in ONNX Runtime to 1e-5, and to 1e-11 in float64 without gelu, for
    which it has float32 alone.

    An estimator: from `X` as well. A regressor's `prediction` has the shape that its `predict` gives. A classifier has
    two outputs, as converters of scikit-learn's models name them: `label` (n,), in the type of `classes_`, and
    `probabilities` (n, classes); for several labels a row both are (n, labels). With the loss hinge, which has no
    probabilities, the second one is `scores`, the margins, (n,) for two classes.

    A table model, all that becomes of its columns included: an input (n, 1) of each column in use, by its name. Text
    ("" where missing) for categories; float64 (NaN where missing) for numbers, for booleans (1 and 0) and for dates
    (days since 1970 in UTC). Outputs `prediction` (n,) for regression; `label` (n,) and `probabilities` (n, classes)
    for classification; with a `_` after them where a column has that name.

    Needs the extra `onnx`.

    Raises:
        ImportError: onnx is not installed.
        NotBuiltError: the network has no weights yet, the table model no table.
        NotFittedError: the estimator was not fitted.
        TypeError: what else there is, or classes that are neither text nor numbers.
        ValueError: it has 2 GiB of weights or more, which a protocol buffer can't hold; a column's numbers lie so far
            apart that their differences are infinite.

    >>> import cnn
    >>> cnn.export_onnx(cnn.Network([cnn.Dense(2)]).build(3), "model.onnx")  # doctest: +SKIP
    """
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise ImportError("export_onnx needs onnx (extra 'onnx'): pip install onnx") from error
    from cnn.table import TableModel

    if isinstance(model, TableModel):
        from cnn.table import onnx as table_onnx

        table_onnx.write(model, path)
        return
    if checks.is_estimator(model):
        from cnn.sklearn import export

        export.write_onnx(model, path)
        return
    if not isinstance(model, Network):
        raise TypeError(f"export_onnx takes a Network, an estimator or a TableModel, got {type(model).__name__}")
    check_size([model])
    graph = Graph(model.dtype)
    output = network_nodes(graph, model, "X")
    graph.nodes[-1].output[0] = output = "prediction"
    shape: list[str | int] = ["n"] if model.one_dimensional else ["n", model.n_outputs]
    write_graph(graph, {"X": (model.dtype, ["n", model.n_inputs])}, {output: (model.dtype, shape)}, path)


def check_size(networks: Iterable[Network]) -> None:
    """Refuses more weights than a file can hold."""
    size = sum(net.plan.size * net.dtype.itemsize for net in networks)
    if size > _MAX_BYTES:
        raise ValueError(f"ONNX files hold 2 GiB, and this model has {size:,} bytes")


def network_nodes(graph: Graph, net: Network, value: str, name: str = "") -> str:
    """Appends the nodes of a network; its prediction. `name` stands before the names of its weights."""
    for i, layer in enumerate(net.descriptions):
        if not isinstance(layer, Dense):
            continue
        parts = [f"layers.{i}.weights"] + ([f"layers.{i}.biases"] if layer.use_bias else [])
        value = graph.op("Gemm", value, *(graph.array(name + part, net.parameters[part]) for part in parts))
        activation = layer_activation(layer, net.loss, last=i == len(net.descriptions) - 1)
        value = _ACTIVATIONS[activation.name](graph, value, activation.value)
    value = _LINKS[net.loss.link](graph, value)
    if net.one_dimensional:
        value = graph.op("Reshape", value, graph.array("vector", np.array([-1], np.int64)))
    return value


def write_graph(
    graph: Graph, inputs: Mapping[str, Value], outputs: Mapping[str, Value], path: str | os.PathLike[str]
) -> None:
    """Checks the graph and writes it, whole or not at all."""
    import onnx
    from onnx import helper, numpy_helper

    def values(named: Mapping[str, Value]) -> list[Any]:
        return [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
            for name, (dtype, shape) in named.items()
        ]

    constants = [numpy_helper.from_array(np.ascontiguousarray(v), name) for name, v in graph.constants.items()]
    domains = {"": _OPSET, "ai.onnx.ml": _ML_OPSET}
    used = sorted({node.domain for node in graph.nodes})
    model = helper.make_model(
        helper.make_graph(graph.nodes, "cnn", values(inputs), values(outputs), constants),
        opset_imports=[helper.make_opsetid(domain, domains[domain]) for domain in used], ir_version=_IR,
        producer_name="cnn", producer_version=__version__,
    )  # fmt: skip
    onnx.checker.check_model(model, full_check=True)
    atomic.write_whole(path, model.SerializeToString())
