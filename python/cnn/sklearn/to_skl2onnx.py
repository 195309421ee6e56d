"""Estimators within pipelines and ensembles of scikit-learn's that skl2onnx converts (extra `skl2onnx`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnn.export.graph import Graph
from cnn.export.onnx import graph_of
from cnn.sklearn.classifier import MLPClassifier
from cnn.sklearn.regressor import MLPRegressor

_OPSET = 17  # the first one that has all operators in use


def register_skl2onnx() -> None:
    """Tells skl2onnx how a `MLPClassifier` and a `MLPRegressor` are converted, once in a process; again does no harm.

    Then `skl2onnx.to_onnx(pipeline, X[:1])` converts pipelines, votes and bags that hold them. Outputs are named as
    those of scikit-learn's own: "variable" (n, targets) of a regressor, "label" and "probabilities" of a classifier,
    with the option `zipmap`; numbers have the type of the network. Needs the extra `skl2onnx`.

    Raises:
        ImportError: skl2onnx is not installed.
        ValueError: in the conversion: a `target_opset` below 17, a loss without probabilities.

    >>> import cnn
    >>> cnn.register_skl2onnx()  # doctest: +SKIP
    """
    try:
        from skl2onnx import update_registered_converter
    except ImportError as error:
        raise ImportError("register_skl2onnx needs skl2onnx (extra 'skl2onnx'): pip install skl2onnx") from error
    options = {"zipmap": [True, False, "columns"], "output_class_labels": [False, True], "nocl": [False]}
    update_registered_converter(MLPRegressor, "CnnMLPRegressor", _set_types, _add_nodes)
    update_registered_converter(MLPClassifier, "CnnMLPClassifier", _set_types, _add_nodes, options=options)


def _set_types(operator: Any) -> None:
    from skl2onnx.common import data_types as types

    est = operator.raw_operator
    numbers = types.FloatTensorType if est.network_.dtype == np.float32 else types.DoubleTensorType
    n, k = operator.inputs[0].get_first_dimension(), est.network_.n_outputs
    if not hasattr(est, "classes_"):
        operator.outputs[0].type = numbers([n, k])
        return
    several = est._task == "multilabel"
    text = not several and est.classes_.dtype.kind not in "biuf"
    operator.outputs[0].type = (types.StringTensorType if text else types.Int64TensorType)([n, k] if several else [n])
    operator.outputs[1].type = numbers([n, k if several else len(est.classes_)])


def _add_nodes(scope: Any, operator: Any, container: Any) -> None:
    """The nodes of `export_onnx`, under names of their own, between the operator's input and its outputs.

    Raises:
        ValueError: margins in place of probabilities, several inputs, an opset below 17.
    """
    est, version = operator.raw_operator, container.target_opset_any_domain("")
    if version < _OPSET:
        raise ValueError(f"a network needs target_opset={_OPSET} or more, got {version}")
    if len(operator.inputs) > 1:
        raise ValueError(f"the estimator takes one input of {est.n_features_in_} columns, got {len(operator.inputs)}")
    graph = graph_of(est)
    taken = {"X": _input(operator, graph, scope, container)}
    for name, made in zip(graph.outputs, operator.outputs, strict=True):
        if name == "scores":
            loss = est.network_.loss.name
            raise ValueError(f"loss={loss!r} has no probabilities; cnn.export_onnx writes the margins")
        taken[name] = scope.get_unique_variable_name(name)
        _finish(graph, name, taken[name], made, scope, container, est)
    _copy(graph, taken, scope, container, version)


def _input(operator: Any, graph: Graph, scope: Any, container: Any) -> str:
    """The operator's input in the type of the network."""
    given = scope.get_unique_variable_name("X")
    _node(scope, container, "Cast", [operator.inputs[0].full_name], [given], to=_tensor_type(graph.dtype))
    return given


def _finish(graph: Graph, name: str, value: str, made: Any, scope: Any, container: Any, est: Any) -> None:
    """From an output as `export_onnx` has it to that of the operator: numbers (n, k), labels as text or int64."""
    dtype, _ = graph.outputs[name]
    target = made.full_name
    if name == "prediction":
        shape = scope.get_unique_variable_name("shape")
        container.add_initializer(shape, _tensor_type(np.int64), [2], [-1, est.network_.n_outputs])
        _node(scope, container, "Reshape", [value, shape], [target])
    elif name == "label" and np.dtype(dtype).kind in "biuf":
        _node(scope, container, "Cast", [value], [target], to=_tensor_type(np.int64))
    else:
        _node(scope, container, "Identity", [value], [target])


def _copy(graph: Graph, taken: dict[str, str], scope: Any, container: Any, version: int) -> None:
    """Nodes and constants of a graph, under names that nobody else has."""
    from onnx import helper, numpy_helper

    names = dict(taken)
    for name, value in graph.constants.items():
        names[name] = scope.get_unique_variable_name(name)
        if isinstance(value, np.ndarray) and value.dtype == object:
            container.add_initializer(names[name], _tensor_type(object), list(value.shape), value.tolist())
        else:
            tensor = numpy_helper.from_array(np.ascontiguousarray(value))
            tensor.dims[:] = np.shape(value)
            container.add_initializer(names[name], None, None, tensor)
    for node in graph.nodes:
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        inputs = [names[name] if name else "" for name in node.input]
        if node.op_type == "ReduceMean" and version >= 18:  # from then on axes are an input
            axes = scope.get_unique_variable_name("axes")
            given = attributes.pop("axes")
            container.add_initializer(axes, _tensor_type(np.int64), [len(given)], given)
            inputs.append(axes)
        outputs = [names.setdefault(name, scope.get_unique_variable_name(name)) for name in node.output]
        _node(scope, container, node.op_type, inputs, outputs, version, **attributes)


def _node(
    scope: Any, container: Any, kind: str, inputs: list[str], outputs: list[str], version: int = _OPSET, **more: Any
) -> None:
    container.add_node(kind, inputs, outputs, op_version=version, name=scope.get_unique_operator_name(kind), **more)


def _tensor_type(dtype: Any) -> int:
    from onnx import TensorProto, helper

    return int(TensorProto.STRING if dtype is object else helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
