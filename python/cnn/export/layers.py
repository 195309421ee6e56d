"""Layers elsewhere: each, as its network places it, as nodes of ONNX and as C, side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np

from cnn.export import c_source
from cnn.export.functions import ACTIVATIONS
from cnn.export.graph import Graph
from cnn.layers import (
    Add,
    BatchNorm,
    CategoryEmbedding,
    Dense,
    Dropout,
    GaussianNoise,
    Layer,
    LayerNorm,
    NumericEmbedding,
    ParametricActivation,
    PiecewiseEmbedding,
    PReLU,
    Scale,
)
from cnn.network import Network

_EMBEDDING = ("frequencies", "phases", "weights", "biases")
_NORM = ("weights", "biases", "running_mean", "running_variance")


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


def _of_channels(graph: Graph, net: Network, i: int, name: str, part: str = "weights") -> str:
    """A parameter (units,), of images (channels,), as a constant that fits to values of ONNX."""
    array, shape = net.parameters[f"layers.{i}.{part}"], net.plan.shapes[i]
    return graph.array(f"{name}layers.{i}.{part}", array.reshape(-1, *(1,) * (len(shape) - 1)))


def _at_channels(net: Network, i: int, statement: str) -> str:
    """Loops of a statement over all units {at}, j being the unit, of images the channel."""
    channels, units = net.plan.shapes[i][-1], net.layers[i].n_units
    inner = f"for (j = 0; j < {channels}; j++)"
    if units == channels:
        return f"    {inner}\n        {statement.replace('{at}', 'j')}\n"
    each = f"for (i = 0; i < {units}; i += {channels})"
    return f"    {each}\n        {inner}\n            {statement.replace('{at}', 'i + j')}\n"


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


@nodes.register(Dropout)
@nodes.register(GaussianNoise)
def _(layer: Layer, net: Network, i: int, graph: Graph, value: str, name: str) -> str:
    return value


@code.register(Dropout)
@code.register(GaussianNoise)
def _(layer: Layer, net: Network, i: int, prefix: str, number: int) -> None:
    return None


@nodes.register
def _(layer: Scale, net: Network, i: int, graph: Graph, value: str, name: str) -> str:
    return graph.op("Mul", value, _of_channels(graph, net, i, name))


@code.register
def _(layer: Scale, net: Network, i: int, prefix: str, number: int) -> Code:
    factors, s = net.parameters[f"layers.{i}.weights"], f"{prefix}s{number}"
    loops = _at_channels(net, i, f"{{target}}[{{at}}] = {s}[j] * {{source}}[{{at}}];")
    return Code([c_source.table(s, factors)], "identity", loops, net.layers[i].n_units)


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
    gain, bias = (_of_channels(graph, net, i, name, part) for part in ("weights", "biases"))
    centred = graph.op("Sub", value, graph.op("ReduceMean", value, axes=[1]))
    variance = graph.op("ReduceMean", graph.op("Mul", centred, centred), axes=[1])
    normal = graph.op("Div", centred, graph.op("Sqrt", graph.op("Add", variance, layer.epsilon)))
    return graph.op("Add", graph.op("Mul", normal, gain), bias)


@code.register
def _(layer: LayerNorm, net: Network, i: int, prefix: str, number: int) -> Code:
    gain, bias = net.layers[i].weights, net.layers[i].biases
    g, b, n = f"{prefix}g{number}", f"{prefix}h{number}", len(gain)
    epsilon = c_source.number(net.dtype.type(layer.epsilon))
    units = net.layers[i].n_units
    pixels, at = (f"for (i = 0; i < {units}; i += {n}) ", "[i + j]") if units > n else ("", "[j]")
    loops = f"""    {pixels}{{
        real mean = R(0.0), variance = R(0.0), factor;
        for (j = 0; j < {n}; j++)
            mean += {{source}}{at};
        mean /= R({n}.0);
        for (j = 0; j < {n}; j++)
            variance += ({{source}}{at} - mean) * ({{source}}{at} - mean);
        factor = R(1.0) / F(sqrt)(variance / R({n}.0) + {epsilon});
        for (j = 0; j < {n}; j++)
            {{target}}{at} = ({{source}}{at} - mean) * factor * {g}[j] + {b}[j];
    }}
"""
    return Code([c_source.table(g, gain), c_source.table(b, bias)], "identity", loops, net.layers[i].n_units)


@nodes.register
def _(layer: BatchNorm, net: Network, i: int, graph: Graph, value: str, name: str) -> str:
    gain, bias, mean, variance = (net.parameters[f"layers.{i}.{part}"] for part in _NORM)
    # ONNX's epsilon is a float32 number: what it lacks is added to the variance.
    lacks = layer.epsilon - float(np.float32(layer.epsilon))
    arrays = {"weights": gain, "biases": bias, "mean": mean, "variance": variance + net.dtype.type(lacks)}
    inputs = [graph.array(f"{name}layers.{i}.{part}", array) for part, array in arrays.items()]
    z = graph.op("BatchNormalization", value, *inputs, epsilon=layer.epsilon)
    return ACTIVATIONS[layer.function.name].onnx(graph, z, layer.function.value)


@code.register
def _(layer: BatchNorm, net: Network, i: int, prefix: str, number: int) -> Code:
    gain, bias, mean, variance = (net.parameters[f"layers.{i}.{part}"] for part in _NORM)
    names = m, d, g, b = [f"{prefix}{word}{number}" for word in ("mean", "inverse", "gain", "bias")]
    inverse = 1 / np.sqrt(variance + net.dtype.type(layer.epsilon))
    tables = [c_source.table(*of) for of in zip(names, (mean, inverse, gain, bias), strict=True)]
    function, z = layer.function, f"({{source}}[{{at}}] - {m}[j]) * {d}[j] * {g}[j] + {b}[j]"
    if ACTIVATIONS[function.name].c:
        z = f"f_{function.name}({z}, {c_source.number(net.dtype.type(function.value))})"
    loops = _at_channels(net, i, f"{{target}}[{{at}}] = {z};")
    return Code(tables, function.name, loops, net.layers[i].n_units)


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


@nodes.register
def _(layer: PReLU, net: Network, i: int, graph: Graph, value: str, name: str) -> str:
    negative = graph.op("Mul", graph.op("Min", value, 0.0), _of_channels(graph, net, i, name))
    return graph.op("Add", graph.op("Relu", value), negative)


@code.register
def _(layer: PReLU, net: Network, i: int, prefix: str, number: int) -> Code:
    slopes, p = net.layers[i].weights, f"{prefix}slope{number}"
    a = "{source}[{at}]"
    loops = _at_channels(net, i, f"{{target}}[{{at}}] = {a} > R(0.0) ? {a} : {p}[j] * {a};")
    return Code([c_source.table(p, slopes)], "identity", loops, net.layers[i].n_units)


@nodes.register
def _(layer: ParametricActivation, net: Network, i: int, graph: Graph, value: str, name: str) -> str:
    shares = _of_channels(graph, net, i, name)
    f = ACTIVATIONS[layer.function.name].onnx(graph, value, layer.function.value)
    return graph.op("Add", value, graph.op("Mul", shares, graph.op("Sub", f, value)))


@code.register
def _(layer: ParametricActivation, net: Network, i: int, prefix: str, number: int) -> Code:
    shares, w, function = net.layers[i].weights, f"{prefix}a{number}", layer.function
    a = value = "{source}[{at}]"
    if ACTIVATIONS[function.name].c:
        value = f"f_{function.name}({value}, {c_source.number(net.dtype.type(function.value))})"
    loops = _at_channels(net, i, f"{{target}}[{{at}}] = {a} + {w}[j] * ({value} - {a});")
    return Code([c_source.table(w, shares)], function.name, loops, net.layers[i].n_units)


@nodes.register
def _(layer: NumericEmbedding, net: Network, i: int, graph: Graph, value: str, name: str) -> str:
    w, b, v, c = (net.parameters[f"layers.{i}.{part}"] for part in _EMBEDDING)
    columns = len(w)
    x = _columns(graph, value, columns)
    frequencies = graph.array(f"{name}layers.{i}.frequencies", w[None])
    turns = graph.array(f"{name}layers.{i}.turns", (b / net.dtype.type(2 * math.pi))[None])
    t = graph.op("Add", graph.op("Mul", x, frequencies), turns)
    rest = graph.op("Abs", graph.op("Sub", t, graph.op("Round", t)))
    q = graph.op("Sin", graph.op("Mul", 2 * math.pi, graph.op("Sub", 0.25, rest)))  # cos(2 pi t)
    weights = graph.array(f"{name}layers.{i}.weights", v.transpose(0, 2, 1))
    e = _of_each_column(graph, q, weights, graph.array(f"{name}layers.{i}.biases", c[None]))
    return _before_the_rest(graph, graph.op("Concat", e, x, axis=2), value, columns, layer.size, net.layers[i].n_inputs)


@code.register
def _(layer: NumericEmbedding, net: Network, i: int, prefix: str, number: int) -> Code:
    w, b, v, c = (net.parameters[f"layers.{i}.{part}"] for part in _EMBEDDING)
    names = [f"{prefix}{part[:5]}{number}" for part in _EMBEDDING]
    columns, outputs, size, n = len(w), layer.size - 1, layer.size, net.layers[i].n_inputs
    turns = b / net.dtype.type(2 * math.pi)
    arrays = (w, turns, v.reshape(-1, layer.cosines), c)
    tables = [c_source.table(name, array) for name, array in zip(names, arrays, strict=True)]
    freq, phase, weight, bias = names
    loops = f"""    for (i = 0; i < {columns}; i++) {{
        int m;
        for (j = 0; j < {outputs}; j++)
            {{target}}[i * {size} + j] = {bias}[i][j];
        for (m = 0; m < {layer.cosines}; m++) {{
            real t = CNN_FMA({{source}}[i], {freq}[i][m], {phase}[i][m]), q;
            q = F(cos)(R(6.283185307179586477) * (t - F(rint)(t)));
            for (j = 0; j < {outputs}; j++)
                {{target}}[i * {size} + j] = CNN_FMA({weight}[i * {outputs} + j][m], q, {{target}}[i * {size} + j]);
        }}
        {{target}}[i * {size} + {outputs}] = {{source}}[i];
    }}
    for (i = {columns}; i < {n}; i++)
        {{target}}[i + {columns * outputs}] = {{source}}[i];
"""
    return Code(tables, "identity", loops, net.layers[i].n_units)


def _integers(graph: Graph, *numbers: int) -> str:
    return graph.array("i_" + "_".join(map(str, numbers)), np.array(numbers, np.int64))


def _columns(graph: Graph, value: str, columns: int) -> str:
    """The first columns, (rows, columns, 1)."""
    first = graph.op("Slice", value, *(_integers(graph, n) for n in (0, columns, 1)))
    return graph.op("Unsqueeze", first, _integers(graph, 2))


def _of_each_column(graph: Graph, q: str, weights: str, biases: str) -> str:
    """q (rows, columns, terms) times weights (columns, terms, outputs), plus biases (1, columns, outputs)."""
    e = graph.op("Transpose", graph.op("MatMul", graph.op("Transpose", q, perm=[1, 0, 2]), weights), perm=[1, 0, 2])
    return graph.op("Add", e, biases)


def _before_the_rest(graph: Graph, e: str, value: str, columns: int, size: int, n_inputs: int) -> str:
    """What the columns become, side by side, and the other inputs behind them."""
    out = graph.op("Reshape", e, _integers(graph, -1, columns * size))
    if columns == n_inputs:
        return out
    rest = graph.op("Slice", value, *(_integers(graph, n) for n in (columns, n_inputs, 1)))
    return graph.op("Concat", out, rest, axis=1)


def _bounds(layer: PiecewiseEmbedding) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Between which each bin's z lies, (columns, bins)."""
    low, high = np.zeros((len(layer.edges), layer.bins)), np.ones((len(layer.edges), layer.bins))
    low[:, 0] = -1
    for c, edges in enumerate(layer.edges):
        high[c, len(edges) - 2] = 2
    return low, high


@nodes.register
def _(layer: PiecewiseEmbedding, net: Network, i: int, graph: Graph, value: str, name: str) -> str:
    edges, inverses, v, c = (net.parameters[f"layers.{i}.{part}"] for part in ("edges", "inverses", *_EMBEDDING[2:]))
    before = f"{name}layers.{i}."
    columns, (low, high) = len(edges), _bounds(layer)
    z = graph.op("Sub", _columns(graph, value, columns), graph.array(f"{before}edges", edges[None]))
    z = graph.op("Mul", z, graph.array(f"{before}inverses", inverses[None]))
    z = graph.op("Max", z, graph.array(f"{before}low", low[None].astype(net.dtype)))
    z = graph.op("Min", z, graph.array(f"{before}high", high[None].astype(net.dtype)))
    weights, biases = graph.array(f"{before}weights", v.transpose(0, 2, 1)), graph.array(f"{before}biases", c[None])
    e = _of_each_column(graph, z, weights, biases)
    f = ACTIVATIONS[layer.function.name].onnx(graph, e, layer.function.value)
    return _before_the_rest(graph, f, value, columns, layer.size, net.layers[i].n_inputs)


@code.register
def _(layer: PiecewiseEmbedding, net: Network, i: int, prefix: str, number: int) -> Code:
    edges, inverses, v, c = (net.parameters[f"layers.{i}.{part}"] for part in ("edges", "inverses", *_EMBEDDING[2:]))
    words = ("edge", "width", "piece", "begin", "last")
    edge, inverse, weight, bias, last = (f"{prefix}{word}{number}" for word in words)
    tables = [c_source.table(edge, edges), c_source.table(inverse, inverses), c_source.table(bias, c),
              c_source.table(weight, v.reshape(-1, layer.bins))]  # fmt: skip
    lasts = ", ".join(str(len(of_column) - 2) for of_column in layer.edges)
    tables.append(f"static const int {last}[{len(edges)}] = {{{lasts}}};")
    function, size, n = layer.function, layer.size, net.layers[i].n_inputs
    of_e = f"{{target}}[i * {size} + j]"
    if ACTIVATIONS[function.name].c:
        of_e = f"f_{function.name}({of_e}, {c_source.number(net.dtype.type(function.value))})"
    loops = f"""    for (i = 0; i < {len(edges)}; i++) {{
        int m;
        for (j = 0; j < {size}; j++)
            {{target}}[i * {size} + j] = {bias}[i][j];
        for (m = 0; m <= {last}[i]; m++) {{
            real z = ({{source}}[i] - {edge}[i][m]) * {inverse}[i][m];
            real low = m == 0 ? R(-1.0) : R(0.0), high = m == {last}[i] ? R(2.0) : R(1.0);
            z = z < low ? low : (z > high ? high : z);
            for (j = 0; j < {size}; j++)
                {{target}}[i * {size} + j] = CNN_FMA({weight}[i * {size} + j][m], z, {{target}}[i * {size} + j]);
        }}
        for (j = 0; j < {size}; j++)
            {{target}}[i * {size} + j] = {of_e};
    }}
    for (i = {len(edges)}; i < {n}; i++)
        {{target}}[i + {len(edges) * (size - 1)}] = {{source}}[i];
"""
    return Code(tables, function.name, loops, net.layers[i].n_units)
