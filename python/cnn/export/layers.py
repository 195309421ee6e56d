"""Layers elsewhere: each, as its network places it, as nodes of ONNX and as C, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from cnn.export import c_source
from cnn.export.functions import ACTIVATIONS
from cnn.export.graph import Graph
from cnn.layers import Add, CategoryEmbedding, Dense, Dropout, Layer, LayerNorm, Scale
from cnn.network import Network


@dataclass(frozen=True)
class Code:
    """A layer in C: constants; the activation it calls; loops over `int i, j` from {source} to {target} of a width.

    {other} is what a layer that reaches back reads as well.
    """

    tables: list[str]
    function: str
    loops: str
    width: int


@singledispatch
def nodes(layer: Layer, net: Network, i: int, graph: Graph, value: str, name: str) -> str:
    """Appends what the layer at place i makes of a value; `name` stands before the names of its weights.

    What a layer that reaches back reads as well is added by the caller.
    """
    raise ValueError(f"layer {i}, {layer!r}, is not known to export_onnx")


@singledispatch
def code(layer: Layer, net: Network, i: int, prefix: str, number: int) -> Code | None:
    """The layer at place i, none where prediction leaves it out; constants end with its number, begin with a prefix."""
    raise ValueError(f"layer {i}, {layer!r}, is not known to export_c")


@nodes.register
def _(layer: Dense, net: Network, i: int, graph: Graph, value: str, name: str) -> str:
    parts = [f"layers.{i}.weights"] + ([f"layers.{i}.biases"] if layer.use_bias else [])
    value = graph.op("Gemm", value, *(graph.array(name + part, net.parameters[part]) for part in parts))
    return ACTIVATIONS[layer.function.name].onnx(graph, value, layer.function.value)


@code.register
def _(layer: Dense, net: Network, i: int, prefix: str, number: int) -> Code:
    weights, biases = net.parameters[f"layers.{i}.weights"], net.parameters.get(f"layers.{i}.biases")
    w, b = f"{prefix}w{number}", f"{prefix}b{number}"
    tables = [c_source.table(w, weights)] + ([] if biases is None else [c_source.table(b, biases)])
    loops = f"""    for (j = 0; j < {layer.units}; j++)
        {{target}}[j] = {"R(0.0)" if biases is None else f"{b}[j]"};
    for (i = 0; i < {weights.shape[0]}; i++)
        for (j = 0; j < {layer.units}; j++)
            {{target}}[j] = CNN_FMA({{source}}[i], {w}[i][j], {{target}}[j]);
"""
    function = layer.function
    if ACTIVATIONS[function.name].c:
        alpha = c_source.number(net.dtype.type(function.value))
        loops += f"""    for (j = 0; j < {layer.units}; j++)
        {{target}}[j] = f_{function.name}({{target}}[j], {alpha});
"""
    return Code(tables, function.name, loops, layer.units)


@nodes.register
def _(layer: Dropout, net: Network, i: int, graph: Graph, value: str, name: str) -> str:
    return value


@code.register
def _(layer: Dropout, net: Network, i: int, prefix: str, number: int) -> None:
    return None


@nodes.register
def _(layer: Scale, net: Network, i: int, graph: Graph, value: str, name: str) -> str:
    weights = f"layers.{i}.weights"
    return graph.op("Mul", value, graph.array(name + weights, net.parameters[weights]))


@code.register
def _(layer: Scale, net: Network, i: int, prefix: str, number: int) -> Code:
    factors, s = net.parameters[f"layers.{i}.weights"], f"{prefix}s{number}"
    loops = f"""    for (j = 0; j < {len(factors)}; j++)
        {{target}}[j] = {s}[j] * {{source}}[j];
"""
    return Code([c_source.table(s, factors)], "identity", loops, len(factors))


@nodes.register
def _(layer: Add, net: Network, i: int, graph: Graph, value: str, name: str) -> str:
    return value


@code.register
def _(layer: Add, net: Network, i: int, prefix: str, number: int) -> Code:
    units = net.layers[i].n_units
    loops = f"""    for (j = 0; j < {units}; j++)
        {{target}}[j] = {{source}}[j] + {{other}}[j];
"""
    return Code([], "identity", loops, units)


@nodes.register
def _(layer: LayerNorm, net: Network, i: int, graph: Graph, value: str, name: str) -> str:
    gain, bias = (
        graph.array(name + part, net.parameters[part]) for part in (f"layers.{i}.weights", f"layers.{i}.biases")
    )
    centred = graph.op("Sub", value, graph.op("ReduceMean", value, axes=[1]))
    variance = graph.op("ReduceMean", graph.op("Mul", centred, centred), axes=[1])
    normal = graph.op("Div", centred, graph.op("Sqrt", graph.op("Add", variance, layer.epsilon)))
    return graph.op("Add", graph.op("Mul", normal, gain), bias)


@code.register
def _(layer: LayerNorm, net: Network, i: int, prefix: str, number: int) -> Code:
    gain, bias = (net.parameters[f"layers.{i}.{part}"] for part in ("weights", "biases"))
    g, b, n = f"{prefix}g{number}", f"{prefix}h{number}", len(gain)
    epsilon = c_source.number(net.dtype.type(layer.epsilon))
    loops = f"""    {{
        real mean = R(0.0), variance = R(0.0), factor;
        for (j = 0; j < {n}; j++)
            mean += {{source}}[j];
        mean /= R({n}.0);
        for (j = 0; j < {n}; j++)
            variance += ({{source}}[j] - mean) * ({{source}}[j] - mean);
        factor = R(1.0) / F(sqrt)(variance / R({n}.0) + {epsilon});
        for (j = 0; j < {n}; j++)
            {{target}}[j] = ({{source}}[j] - mean) * factor * {g}[j] + {b}[j];
    }}
"""
    return Code([c_source.table(g, gain), c_source.table(b, bias)], "identity", loops, n)


@nodes.register
def _(layer: CategoryEmbedding, net: Network, i: int, graph: Graph, value: str, name: str) -> str:
    last = net.layers[i].n_inputs - 1
    # A row of zeros at each end of the table, for numbers that name no category.
    table = graph.array(f"{name}layers.{i}.weights", np.pad(net.parameters[f"layers.{i}.weights"], ((1, 1), (0, 0))))
    cell = graph.op("Gather", value, graph.array(f"{name}layers.{i}.category", np.array([last])), axis=1)
    place = graph.op("Clip", graph.op("Floor", cell), graph.constant(-1), graph.constant(layer.categories))
    row = graph.op("Flatten", graph.op("Gather", table, graph.cast(graph.op("Add", place, 1.0), np.int64)), axis=1)
    others = graph.op("Gather", value, graph.array(f"{name}layers.{i}.others", np.arange(last)), axis=1)
    return graph.op("Concat", row, others, axis=1)


@code.register
def _(layer: CategoryEmbedding, net: Network, i: int, prefix: str, number: int) -> Code:
    table, w, units = net.parameters[f"layers.{i}.weights"], f"{prefix}e{number}", layer.units
    last = net.layers[i].n_inputs - 1
    cell = f"{{source}}[{last}]"
    loops = f"""    i = {cell} >= R(0.0) && {cell} < R({layer.categories}.0) ? (int){cell} : -1;
    for (j = 0; j < {units}; j++)
        {{target}}[j] = i < 0 ? R(0.0) : {w}[i][j];
    for (j = 0; j < {last}; j++)
        {{target}}[{units} + j] = {{source}}[j];
"""
    return Code([c_source.table(w, table)], "identity", loops, last + units)
