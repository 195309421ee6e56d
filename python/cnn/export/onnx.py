"""`cnn.export_onnx`: each kind of model registers how it becomes a graph."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import singledispatch

import numpy as np

from cnn.export import images, layers
from cnn.export.functions import LINKS
from cnn.export.graph import Graph
from cnn.export.weights import takes_bytes
from cnn.network import Network
from cnn.runtime.plan import placed

_MAX_BYTES = 2**31 - 2**20  # of a protocol buffer


def export_onnx(model: object, path: str | os.PathLike[str], *, uint8: bool | None = None) -> None:
    """Writes what `model.predict` computes as an ONNX graph (opset 17) for any number n of rows.

    A network: from `X` (n, inputs) to `prediction`. Weights keep their type, float32 or float64; dropout is left out;
    the loss's link is applied. Equal to `predict` in ONNX Runtime to 1e-5, and to 1e-11 in float64 without gelu,
    convolutions and pooling, for which it has float32 alone.

    A network for images: from `X` (n, height, width, channels), as the network has it; inside the graph images stand as
    ONNX's operators want them, channels first (docs/deploy.md). For signals (n, length, channels). If it was trained on
    images of bytes, `X` is uint8, and multiplied by 1 / 255 inside; `uint8` chooses, whatever it was trained on.

    An estimator: from `X` as well. A regressor's `prediction` has the shape that its `predict` gives. A classifier has
    two outputs, as converters of scikit-learn's models name them: `label` (n,), in the type of `classes_`, and
    `probabilities` (n, classes); for several labels a row both are (n, labels). With the loss hinge, which has no
    probabilities, the second one is `scores`, the margins, (n,) for two classes. An `ImageClassifier` goes from
    images, as its network has them, to `label` and `probabilities`.

    A table model, all that becomes of its columns included: an input (n, 1) of each column in use, by its name. Text
    ("" where missing) for categories; float64 (NaN where missing) for numbers, for booleans (1 and 0) and for dates
    (days since 1970 in UTC). Outputs `prediction` (n,) for regression; `label` (n,) and `probabilities` (n, classes)
    for classification; with a `_` after them where a column has that name.

    Needs the extra `onnx`.

    Args:
        model: a `Network`, an estimator or a `TableModel`.
        path: of the file.
        uint8: whether a network for images takes bytes; None: if it was trained on such.

    Raises:
        ImportError: onnx is not installed.
        NotBuiltError: the network has no weights yet, the table model no table.
        NotFittedError: the estimator was not fitted.
        TypeError: what else there is, or classes that are neither text nor numbers.
        ValueError: it has 2 GiB of weights or more, which a protocol buffer can't hold; a column's numbers lie so far
            apart that their differences are infinite; `uint8` of what takes no images.

    >>> import cnn
    >>> cnn.export_onnx(cnn.Network([cnn.Dense(2)]).build(3), "model.onnx")  # doctest: +SKIP
    """
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise ImportError("export_onnx needs onnx (extra 'onnx'): pip install onnx") from error
    of_bytes = takes_bytes(model, uint8)
    graph = _of_network(model, of_bytes) if isinstance(model, Network) else graph_of(model)
    graph.write(path)


@singledispatch
def graph_of(model: object) -> Graph:
    """What the model predicts, from its inputs to its outputs."""
    raise TypeError(f"export_onnx takes a Network, an estimator or a TableModel, got {type(model).__name__}")


@graph_of.register
def _(net: Network) -> Graph:
    return _of_network(net, False)


def _of_network(net: Network, of_bytes: bool) -> Graph:
    graph, value = started(net, of_bytes)
    shape: list[str | int] = ["n"] if net.one_dimensional else ["n", net.n_outputs]
    graph.give("prediction", value, (net.dtype, shape))
    return graph


def started(net: Network, of_bytes: bool = False) -> tuple[Graph, str]:
    """A graph from `X`, rows or images (of bytes), to what the network predicts."""
    check_size([net])
    graph, value = Graph(net.dtype), "X"
    graph.inputs["X"] = (np.uint8 if of_bytes else net.dtype, ["n", *net.input_shape])
    if of_bytes:
        value = graph.op("Mul", graph.cast("X", net.dtype), 1 / 255)
    return graph, network_nodes(graph, net, value)


def check_size(networks: Iterable[Network]) -> None:
    """Refuses more weights than a file can hold."""
    size = sum(net.plan.size * net.dtype.itemsize for net in networks)
    if size > _MAX_BYTES:
        raise ValueError(f"ONNX files hold 2 GiB, and this model has {size:,} bytes")


def network_nodes(graph: Graph, net: Network, value: str, name: str = "") -> str:
    """Appends the nodes of a network; its prediction. `name` stands before the names of its weights."""
    value = images.channels_first(graph, value, net.input_shape)
    read: list[str] = []  # by each layer
    for i, layer in enumerate(placed(net.descriptions, net.loss)):
        read.append(value)
        value = layers.nodes(layer, net, i, graph, value, name)
        if layer.reach:
            value = graph.op("Add", value, read[i - layer.reach])
    value = LINKS[net.loss.link].onnx(graph, value, net.n_outputs)
    if net.one_dimensional:
        value = graph.op("Reshape", value, graph.array("vector", np.array([-1], np.int64)))
    return value
