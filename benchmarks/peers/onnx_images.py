"""ONNX Runtime on images: a session on a graph of Conv, MaxPool and Gemm nodes, channels first as it wants them."""

from __future__ import annotations

import onnxruntime
from image_networks import Conv, Dense, Mean, Pool, Problem, channels_first
from onnx import TensorProto, helper, numpy_helper


def model(problem: Problem) -> bytes:
    network, left = problem.network, channels_first(problem.network, problem.parameters)
    nodes, constants, name = [], [], "x"

    def add(operator: str, *more: str, **attributes: object) -> None:
        nonlocal name
        nodes.append(helper.make_node(operator, [name, *more], [f"v{len(nodes)}"], **attributes))
        name = nodes[-1].output[0]

    for i, (layer, below) in enumerate(zip(network.layers, network.shapes(), strict=False)):
        if isinstance(layer, Conv | Dense):
            W, b = left.pop(0)
            constants += [numpy_helper.from_array(W, f"W{i}"), numpy_helper.from_array(b, f"b{i}")]
        if isinstance(layer, Conv):
            pad = layer.size // 2 if layer.same else 0
            add("Conv", f"W{i}", f"b{i}", pads=[pad] * 4, group=below[-1] if layer.depthwise else 1)
            add("Relu")
        elif isinstance(layer, Pool):
            add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
        elif isinstance(layer, Mean):
            add("GlobalAveragePool")
        else:
            if len(network.shapes()[i]) == 3 or isinstance(network.layers[i - 1], Mean):
                add("Flatten")
            add("Gemm", f"W{i}", f"b{i}")
            if layer.relu:
                add("Relu")
    add("Softmax")
    height, width, channels = network.shape
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", channels, height, width]),
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 10])]  # fmt: skip
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


class Predictor:
    """Of images of one channel, which are channels first as they stand."""

    def __init__(self, problem: Problem, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = onnxruntime.InferenceSession(model(problem), options, providers=["CPUExecutionProvider"])
        height, width, channels = problem.network.shape
        assert channels == 1
        self.predict = lambda X: session.run(None, {"x": X.reshape(-1, 1, height, width)})[0]
