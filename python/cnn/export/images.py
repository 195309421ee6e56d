"""Layers of images elsewhere, as nodes of ONNX and as C: convolutions, pooling, Flatten.

In ONNX a value of images is (rows, channels, height, width), of signals (rows, channels, length), as its operators
want it. In C images stand as in the network, (height, width, channels).
"""

from __future__ import annotations

from textwrap import indent
from typing import Any

import numpy as np

import cnn_core
from cnn.export import c_source
from cnn.export.functions import ACTIVATIONS
from cnn.export.graph import Graph
from cnn.export.layers import Code, code, nodes
from cnn.layers import (
    AvgPool2D,
    Conv2D,
    DepthwiseConv2D,
    Flatten,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalMaxPool2D,
    MaxPool1D,
    MaxPool2D,
    Shape,
)
from cnn.layers.window import Window
from cnn.network import Network

_Global = GlobalAvgPool2D | GlobalAvgPool1D | GlobalMaxPool2D
_AXES = (("row", "u", "above"), ("column", "v", "left"))  # in C: of the output, of the window, of the image


def channels_first(graph: Graph, value: str, shape: Shape) -> str:
    """What the network calls images of that shape as ONNX wants them; rows of numbers as they are."""
    rank = len(shape) - 1
    return graph.op("Transpose", value, perm=[0, rank + 1, *range(1, rank + 1)]) if rank else value


def _grouped(layer: Any, shape: Shape) -> Conv2D:
    return layer.grouped(shape[-1]) if isinstance(layer, DepthwiseConv2D) else layer


# ONNX -----------------------------------------------------------------------------------------------------------------


def _window(layer: Any, shape: Shape) -> dict[str, list[int]]:
    """The attributes that convolutions and pooling share."""
    window = layer.window(shape)
    sizes = {"kernel_shape": window.kernel, "strides": window.stride, "pads": (*window.before, *window.behind)}
    return {name: list(of) for name, of in sizes.items()}


def _single(graph: Graph, kind: str, value: str, *arrays: str, **attributes: Any) -> str:
    """A node in float32: runtimes have convolutions and pooling in no other type."""
    if graph.dtype == np.float32:
        return graph.op(kind, value, *arrays, **attributes)
    return graph.cast(graph.op(kind, graph.cast(value, np.float32), *arrays, **attributes), graph.dtype)


@nodes.register
def _(layer: Conv2D | DepthwiseConv2D, net: Network, i: int, graph: Graph, value: str, name: str) -> str:
    shape = net.plan.shapes[i]
    conv = _grouped(layer, shape)
    rank = conv.rank
    weights = net.parameters[f"layers.{i}.weights"].transpose(rank + 1, rank, *range(rank))
    arrays = {f"layers.{i}.weights": weights}
    if conv.use_bias:
        arrays[f"layers.{i}.biases"] = net.parameters[f"layers.{i}.biases"]
    inputs = [graph.array(name + part, array.astype(np.float32)) for part, array in arrays.items()]
    dilations = list(conv.window(shape).dilation)
    z = _single(graph, "Conv", value, *inputs, group=conv.groups, dilations=dilations, **_window(conv, shape))
    return ACTIVATIONS[conv.function.name].onnx(graph, z, conv.function.value)


@nodes.register
def _(layer: MaxPool2D | MaxPool1D, net: Network, i: int, graph: Graph, value: str, name: str) -> str:
    return _single(graph, "MaxPool", value, **_window(layer, net.plan.shapes[i]))


@nodes.register
def _(layer: AvgPool2D, net: Network, i: int, graph: Graph, value: str, name: str) -> str:
    return _single(graph, "AveragePool", value, count_include_pad=0, **_window(layer, net.plan.shapes[i]))


@nodes.register
def _(layer: _Global, net: Network, i: int, graph: Graph, value: str, name: str) -> str:
    largest = layer.kind == cnn_core.LayerKind.MAX_POOL
    return graph.op("Flatten", _single(graph, "GlobalMaxPool" if largest else "GlobalAveragePool", value), axis=1)


@nodes.register
def _(layer: Flatten, net: Network, i: int, graph: Graph, value: str, name: str) -> str:
    rank = len(net.plan.shapes[i]) - 1  # its rows are the network's: channels last
    value = graph.op("Transpose", value, perm=[0, *range(2, rank + 2), 1]) if rank else value
    return graph.op("Flatten", value, axis=1)


# C --------------------------------------------------------------------------------------------------------------------


def _nested(loops: list[str], body: str) -> str:
    """Loops one in another around statements."""
    heads = "\n".join("    " * depth + loop for depth, loop in enumerate(loops))
    return f"{heads} {{\n{indent(body, '    ' * len(loops))}{'    ' * (len(loops) - 1)}}}\n"


def _pixel(names: list[str], sizes: Shape, channels: int) -> str:
    """Where a pixel begins."""
    place = names[0] if len(names) == 1 else f"({names[0]} * {sizes[1]} + {names[1]})"
    return place if channels == 1 else f"{place} * {channels}"


def _sliding(window: Window, channels: int, outputs: int, before: str, at_each: str, after: str) -> str:
    """Loops over the pixels of the output, `real *to`, and in each over the window's points, `const real *from`.

    Points outside the image are left out.
    """
    pixels, points, places, outside = [], [], [], []
    axes = _AXES[-len(window.image) :]
    for k, (of_output, of_window, of_image) in enumerate(axes):
        pixels.append(f"for (int {of_output} = 0; {of_output} < {window.out[k]}; {of_output}++)")
        points.append(f"for (int {of_window} = 0; {of_window} < {window.kernel[k]}; {of_window}++)")
        terms = ((of_output, window.stride[k]), (of_window, window.dilation[k]))
        place = " + ".join(name if factor == 1 else f"{name} * {factor}" for name, factor in terms)
        places.append(f"{of_image} = {place}" + (f" - {window.before[k]}" if window.before[k] else ""))
        outside += [f"{of_image} < 0"] if window.before[k] else []
        outside += [f"{of_image} >= {window.image[k]}"] if window.behind[k] else []
    point = f"int {', '.join(places)};\n" + (f"if ({' || '.join(outside)})\n    continue;\n" if outside else "")
    point += f"const real *from = {{source}} + {_pixel([axis[2] for axis in axes], window.image, channels)};\n"
    pixel = f"real *to = {{target}} + {_pixel([axis[0] for axis in axes], window.out, outputs)};\n"
    return indent(_nested(pixels, pixel + before + _nested(points, point + at_each) + after), "    ")


@code.register
def _(layer: Conv2D | DepthwiseConv2D, net: Network, i: int, prefix: str, number: int) -> Code:
    shape, weights = net.plan.shapes[i], net.parameters[f"layers.{i}.weights"]
    biases, conv = net.parameters.get(f"layers.{i}.biases"), _grouped(layer, shape)
    filters, w, b = conv.filters, f"{prefix}w{number}", f"{prefix}b{number}"
    seen, of_group = weights.shape[-2], filters // conv.groups  # channels, filters
    tables = [c_source.table(w, weights.reshape(-1, filters))] + ([] if biases is None else [c_source.table(b, biases)])
    window = conv.window(shape)
    point = "v" if conv.rank == 1 else f"u * {window.kernel[1]} + v"
    row = point if seen == 1 else f"({point}) * {seen} + i"
    terms = [] if conv.groups == 1 else ["j" if of_group == seen == 1 else f"j / {of_group} * {seen}"]
    channel = " + ".join(terms + (["i"] if seen > 1 else [])) or "0"
    start = f"for (j = 0; j < {filters}; j++)\n    to[j] = {'R(0.0)' if biases is None else f'{b}[j]'};\n"
    sums = f"""for (j = 0; j < {filters}; j++)
    to[j] = CNN_FMA(from[{channel}], {w}[{row}][j], to[j]);
"""
    sums = sums if seen == 1 else f"for (i = 0; i < {seen}; i++)\n{indent(sums, '    ')}"
    alpha = c_source.number(net.dtype.type(conv.function.value))
    after = ""
    if ACTIVATIONS[conv.function.name].c:
        after = f"for (j = 0; j < {filters}; j++)\n    to[j] = f_{conv.function.name}(to[j], {alpha});\n"
    loops = _sliding(window, shape[-1], filters, start, sums, after)
    return Code(tables, conv.function.name, loops, net.layers[i].n_units)


@code.register
def _(layer: MaxPool2D | MaxPool1D | AvgPool2D, net: Network, i: int, prefix: str, number: int) -> Code:
    shape = net.plan.shapes[i]
    channels, largest = shape[-1], layer.kind == cnn_core.LayerKind.MAX_POOL
    each = f"for (j = 0; j < {channels}; j++)\n    "
    first = "n == 0 || from[j] > to[j] ? from[j] : to[j]" if largest else "n == 0 ? from[j] : to[j] + from[j]"
    mean = "" if largest else f"{each}to[j] /= (real)n;\n"
    at_each = f"{each}to[j] = {first};\nn++;\n"
    loops = _sliding(layer.window(shape), channels, channels, "int n = 0;\n", at_each, mean)
    return Code([], "identity", loops, net.layers[i].n_units)


@code.register
def _(layer: _Global, net: Network, i: int, prefix: str, number: int) -> Code:
    size, channels = net.layers[i].n_inputs, net.plan.shapes[i][-1]
    largest = layer.kind == cnn_core.LayerKind.MAX_POOL
    one = "{target}[j] + {source}[i + j]"
    if largest:
        one = "{source}[i + j] > {target}[j] ? {source}[i + j] : {target}[j]"
    loops = f"""    for (j = 0; j < {channels}; j++)
        {{target}}[j] = {{source}}[j];
    for (i = {channels}; i < {size}; i += {channels})
        for (j = 0; j < {channels}; j++)
            {{target}}[j] = {one};
"""
    if not largest:
        loops += f"""    for (j = 0; j < {channels}; j++)
        {{target}}[j] /= R({size // channels}.0);
"""
    return Code([], "identity", loops, channels)


@code.register
def _(layer: Flatten, net: Network, i: int, prefix: str, number: int) -> None:
    return None
