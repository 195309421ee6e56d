"""An `ImageClassifier` elsewhere: its network and the labels."""

from __future__ import annotations

import numpy as np

from cnn.export.c import network_files, source_and_header
from cnn.export.graph import Graph
from cnn.export.onnx import graph_of, started
from cnn.images.classifier import ImageClassifier
from cnn.sklearn.export import classes_of


@graph_of.register
def _(model: ImageClassifier) -> Graph:
    net = model._fitted()
    classes = classes_of(model)
    graph, probabilities = started(net, net.pixels == "bytes")
    index = graph.op("ArgMax", probabilities, axis=1, keepdims=0)
    label = graph.op("Gather", graph.array("classes", classes), index)
    graph.give("label", label, (np.str_ if classes.dtype == object else classes.dtype, ["n"]))
    graph.give("probabilities", probabilities, (net.dtype, ["n", len(classes)]))
    return graph


@source_and_header.register
def _(model: ImageClassifier, name: str) -> tuple[str, str]:
    net = model._fitted()
    return network_files(net, name, net.pixels == "bytes", [str(label) for label in classes_of(model).tolist()])
