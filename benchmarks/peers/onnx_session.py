"""ONNX Runtime: a session on a graph of Gemm nodes and activations."""

from __future__ import annotations

import numpy as np
import onnxruntime
from networks import Problem
from onnx import TensorProto, helper, numpy_helper

OPERATORS = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}


def model(problem: Problem) -> bytes:
    network = problem.network
    nodes, constants, name = [], [], "x"
    for i, ((W, b), activation) in enumerate(zip(problem.parameters, network.activations(), strict=True)):
        constants += [numpy_helper.from_array(W, f"W{i}"), numpy_helper.from_array(b, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [name, f"W{i}", f"b{i}"], [f"z{i}"]))
        name = f"z{i}"
        if activation in OPERATORS:
            nodes.append(helper.make_node(OPERATORS[activation], [name], [f"a{i}"]))
            name = f"a{i}"
    last = "Softmax" if network.loss == "cross_entropy" else "Identity"
    nodes.append(helper.make_node(last, [name], ["y"]))
    ends = [
        helper.make_tensor_value_info(end, TensorProto.FLOAT, ["rows", n])
        for end, n in (("x", network.sizes[0]), ("y", network.sizes[-1]))
    ]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], constants)
    # An opset and a format that every ONNX Runtime of the last years reads.
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


class Predictor:
    def __init__(self, problem: Problem, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = onnxruntime.InferenceSession(model(problem), options, providers=["CPUExecutionProvider"])
        self.session = session

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self.session.run(None, {"x": X})[0]
