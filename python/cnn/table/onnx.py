"""Table models as ONNX graphs: what becomes of the columns, the networks, and their mean in units of the target."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cnn.export.graph import Graph
from cnn.export.onnx import check_size, graph_of, network_nodes
from cnn.table import blocks, columns, labels
from cnn.table.columns import Boolean, Category, Date, Number
from cnn.table.model import TableModel
from cnn.table.targets import Goal

_LARGEST = float(np.finfo(np.float64).max)


class _Parts:
    """What columns (n, 1) have become: (n, k) float32 each, with places on staircases apart where they are embedded."""

    def __init__(self, embedded: bool) -> None:
        self.embedded = embedded
        self.places: list[str] = []
        self.others: list[str] = []


@graph_of.register
def _(model: TableModel) -> Graph:
    encoder, goal = model.encoder, model.goal
    check_size(model.networks)
    names = [column.name for column in encoder.columns]
    prefix = "cnn."
    while any(name.startswith(prefix) for name in names):
        prefix += "."
    graph = Graph(np.float64, prefix)
    parts = _Parts(encoder.embedded)
    for column in encoder.columns:
        _COLUMNS[type(column)](graph, column, parts)
        graph.inputs[column.name] = (np.str_ if isinstance(column, Category) else np.float64, ["n", 1])
    mean = _mean(graph, model, graph.op("Concat", *parts.places, *parts.others, axis=1))
    if model.task == "regression":
        value = graph.op("Add", graph.op("Mul", mean, _each(graph, goal, "deviation")), _each(graph, goal, "mean"))
        if goal.logarithmic:
            value = graph.op("Sub", graph.op("Exp", value), _each(graph, goal, "offset"))
        if any(math.isfinite(one.high - one.low) for one in goal.each):
            value = graph.op("Min", graph.op("Max", value, _each(graph, goal, "low")), _each(graph, goal, "high"))
        shape: list[str | int] = ["n"] if goal.outputs == 1 else ["n", goal.outputs]
        graph.give(_free("prediction", names), value, (np.float64, shape))
        return graph
    classes = labels.array(goal.classes)
    p = _two_columns(graph, mean) if goal.outputs == 1 else mean
    label = graph.op("Gather", graph.array("classes", classes), graph.op("ArgMax", p, axis=1, keepdims=0))
    graph.give(_free("label", names), label, (np.str_ if classes.dtype == object else classes.dtype, ["n"]))
    graph.give(_free("probabilities", names), p, (np.float64, ["n", len(classes)]))
    return graph


def _free(name: str, taken: list[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _each(g: Graph, goal: Goal, part: str) -> str | float:
    """This number of the target, or of each of several."""
    found = [getattr(one, part) for one in goal.each]
    return found[0] if len(found) == 1 else g.array(f"targets.{part}", np.array(found))


def _mean(g: Graph, model: TableModel, X: str) -> str:
    """The mean of the networks' predictions, summed in float64 as `TableModel.outputs` does."""
    found = []
    for i, net in enumerate(model.networks):
        g.dtype = net.dtype
        found.append(g.cast(network_nodes(g, net, g.cast(X, net.dtype), f"networks.{i}."), np.float64))
    g.dtype = np.dtype(np.float64)
    total = found[0]
    for value in found[1:]:
        total = g.op("Add", total, value)
    return g.op("Div", total, float(len(found)))


def _two_columns(g: Graph, p: str) -> str:
    column = g.op("Reshape", p, g.array("column", np.array([-1, 1], np.int64)))
    return g.op("Concat", g.op("Sub", 1.0, column), column, axis=1)


# Columns: each (n, 1) becomes (n, k) float32, in parts ---------------------------------------------------------------


def _known(g: Graph, x: str) -> str:
    """Where x is neither NaN nor infinite."""
    return g.op("LessOrEqual", g.op("Abs", x), _LARGEST)


def _missing(g: Graph, known: str) -> str:
    return g.cast(g.op("Not", known), np.float32)


def _number(g: Graph, column: Number, parts: _Parts, x: str | None = None) -> None:
    """`Number.write_values`, with the formula of np.interp."""
    columns.check_span(column)
    x = column.name if x is None else x
    cell, known = x, _known(g, x)
    x = g.op("Where", known, x, column.center)
    inside = g.op("Max", g.op("Min", x, float(column.nodes[-1])), float(column.nodes[0]))
    nodes, heights, slopes = (
        g.array(f"{column.name}.{part}", array)
        for part, array in (("nodes", column.nodes), ("heights", column.heights), ("slopes", _slopes(column)))
    )
    # The last node that is not above x: (n, nodes) compared and counted.
    upto = g.cast(g.op("LessOrEqual", nodes, inside), np.int32)
    count = g.op("ReduceSum", upto, g.array("axis", np.array([1], np.int64)), keepdims=1)
    place = g.op("Sub", count, g.array("one", np.array(1, np.int32)))
    at, height, slope = (g.op("Gather", array, place) for array in (nodes, heights, slopes))
    rank = g.op("Add", g.op("Mul", slope, g.op("Sub", inside, at)), height)
    t = g.op("Sub", g.op("Div", x, column.scale), column.center / column.scale)
    t = g.op("Max", g.op("Min", t, 1e6), -1e6)
    third = g.op("Div", t, blocks.SQUASH)
    value = g.op("Div", t, g.op("Sqrt", g.op("Add", g.op("Mul", third, third), 1.0)))
    parts.others += [g.cast(g.op("Where", known, rank, 0.0), np.float32), g.cast(value, np.float32)]
    if column.gaps:
        parts.others.append(_missing(g, known))
    _finer(g, column, parts, cell, x)


def _finer(g: Graph, column: Number, parts: _Parts, cell: str, x: str) -> None:
    """`Number.write_finer` of a cell, and of x, which is the center where the cell is missing."""
    if len(column.spikes):
        at = g.op("Equal", cell, g.array(f"{column.name}.spikes", column.spikes[None]))
        parts.others.append(g.cast(at, np.float32))
    if k := columns.stairs_of(column):
        low, high = np.zeros((1, k)), np.ones((1, k))
        low[0, 0], high[0, -1] = -1.0, 2.0
        arrays = {"edges": column.edges[None, :-1], "widths": np.diff(column.edges)[None], "low": low, "high": high}
        begins, widths, lowest, highest = (g.array(f"{column.name}.{part}", arrays[part]) for part in arrays)
        z = g.op("Div", g.op("Sub", x, begins), widths)
        z = g.cast(g.op("Max", g.op("Min", z, highest), lowest), np.float32)
        if parts.embedded:  # rounded once, as `finer.place` does
            z = g.op("ReduceSum", g.cast(z, np.float64), g.array("axis", np.array([1], np.int64)), keepdims=1)
            parts.places.append(g.cast(z, np.float32))
        else:
            parts.others.append(z)


def _slopes(column: Number) -> Any:
    return np.append(np.diff(column.heights) / np.diff(column.nodes), 0.0)


def _boolean(g: Graph, column: Boolean, parts: _Parts) -> None:
    known = _known(g, column.name)
    sign = g.op("Where", known, g.op("Sub", g.op("Mul", column.name, 2.0), 1.0), 0.0)
    parts.others += [g.cast(sign, np.float32), *([_missing(g, known)] if column.gaps else [])]


def _category(g: Graph, column: Category, parts: _Parts) -> None:
    k = len(column.inputs)
    code = g.op(
        "LabelEncoder", column.name, domain="ai.onnx.ml", keys_strings=[*column.values, ""],
        values_int64s=[*range(len(column.values)), column.missing_code], default_int64=column.other_code,
    )  # fmt: skip
    hot = g.op("Equal", code, g.array(f"range_{k}", np.arange(k).reshape(1, k)))
    one = hot if column.one == 1 else g.op("Mul", g.cast(hot, np.float64), column.one)
    parts.others.append(g.cast(one, np.float32))


def _date(g: Graph, column: Date, parts: _Parts) -> None:
    days = column.name
    _number(g, column.days, parts, days)
    known = _known(g, days)
    for period in column.periods:
        angle = g.op("Div", g.op("Mul", g.op("Where", known, days, 0.0), 2 * np.pi), columns.PERIODS[period])
        waves = [g.op("Where", known, g.op(wave, angle), 0.0) for wave in ("Sin", "Cos")]
        parts.others += [g.cast(wave, np.float32) for wave in waves]


_COLUMNS: dict[type, Callable[[Graph, Any, _Parts], None]] = {
    Number: _number, Boolean: _boolean, Category: _category, Date: _date,
}  # fmt: skip
