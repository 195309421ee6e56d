"""An ONNX graph: nodes and constants one after another, then written as a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from cnn._version import __version__
from cnn.files import atomic

Value = tuple[Any, list[str | int]]  # type and shape
_OPSET, _ML_OPSET, _IR = 17, 3, 8


class Graph:
    """Nodes and constants, one after another; a value is its name, which begins with `prefix`."""

    def __init__(self, dtype: Any, prefix: str = "") -> None:
        self.dtype, self.prefix = np.dtype(dtype), prefix
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.inputs: dict[str, Value] = {}
        self.outputs: dict[str, Value] = {}

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

    def give(self, name: str, value: str, kind: Value) -> None:
        """Makes a value an output of the graph, under that name."""
        if self.nodes[-1].output[0] != value:
            self.op("Identity", value)
        self.nodes[-1].output[0] = name
        self.outputs[name] = kind

    def write(self, path: str | os.PathLike[str]) -> None:
        """Checks the graph and writes it, whole or not at all."""
        import onnx
        from onnx import helper, numpy_helper

        constants = [numpy_helper.from_array(np.ascontiguousarray(v), name) for name, v in self.constants.items()]
        domains = {"": _OPSET, "ai.onnx.ml": _ML_OPSET}
        used = sorted({node.domain for node in self.nodes})
        model = helper.make_model(
            helper.make_graph(self.nodes, "cnn", _declared(self.inputs), _declared(self.outputs), constants),
            opset_imports=[helper.make_opsetid(domain, domains[domain]) for domain in used], ir_version=_IR,
            producer_name="cnn", producer_version=__version__,
        )  # fmt: skip
        onnx.checker.check_model(model, full_check=True)
        atomic.write_whole(path, model.SerializeToString())


def _declared(values: Mapping[str, Value]) -> list[Any]:
    from onnx import helper

    return [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
        for name, (dtype, shape) in values.items()
    ]
