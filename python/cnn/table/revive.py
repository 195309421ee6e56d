"""Columns as a file describes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cnn._common import checks
from cnn.table import finer, writings
from cnn.table.columns import PERIODS, Boolean, Category, Column, Date, Number
from cnn.table.frames import Array


def revive(kind: str, name: str, plain: Mapping[str, Any], arrays: Mapping[str, Array]) -> Column:
    """The column that `describe` described; ValueError or TypeError where it can't be one."""
    if kind == "boolean":
        return Boolean(name, _flag(plain["gaps"]))
    if kind == "category":
        values = tuple(plain["values"])
        if not values or not all(isinstance(v, str) for v in values) or len(set(values)) < len(values):
            raise ValueError("the values of a category must be different texts")
        one = checks.number("one", plain["one"], 1, 16)
        return Category(name, values, _flag(plain["rare"]), _flag(plain["gaps"]), one)
    if kind == "date":
        periods = tuple(plain["periods"])
        if not set(periods) <= set(PERIODS):
            raise ValueError(f"periods of dates are {', '.join(PERIODS)}, got {periods!r}")
        if plain["order"] not in writings.DATES:
            raise ValueError(f"dates are written as {', '.join(writings.DATES)}, got {plain['order']!r}")
        return Date(name, _revive_number(name, {**plain["days"], "writing": ""}, arrays), periods, plain["order"])
    if kind == "number":
        return _revive_number(name, plain, arrays)
    raise ValueError(f"there are no columns of kind {kind!r}")


def _revive_number(name: str, plain: Mapping[str, Any], arrays: Mapping[str, Array]) -> Number:
    nodes, heights = arrays["nodes"], arrays["heights"]
    if nodes.shape != heights.shape or nodes.ndim != 1 or not len(nodes) or not (nodes[1:] > nodes[:-1]).all():
        raise ValueError("the nodes of a number must rise, with a height for each")
    center, scale = checks.number("center", plain["center"]), checks.number("scale", plain["scale"], 0, open_low=True)
    marks = tuple(plain["marks"])
    if not (np.isfinite(nodes).all() and np.isfinite(heights).all()):
        raise ValueError("nodes and heights of a number must be finite")
    if not all(isinstance(mark, str) for mark in marks):
        raise TypeError("words for missing numbers must be text")
    if plain["writing"] not in writings.NUMBERS:
        raise ValueError(f"numbers are not written as {plain['writing']!r}")
    spikes, edges = arrays["spikes"], arrays["edges"]
    for what, some in (("spikes", spikes), ("edges", edges)):
        if not (np.isfinite(some).all() and (some[1:] > some[:-1]).all()):
            raise ValueError(f"the {what} of a number must be finite and rise")
    if 0 < len(edges) < 3 or len(edges) > finer.MOST_EDGES:
        raise ValueError(f"a number has no edges or 3 to {finer.MOST_EDGES}, got {len(edges)}")
    return Number(name, nodes, heights, center, scale, _flag(plain["gaps"]), marks, plain["writing"], spikes, edges)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"expected true or false, got {value!r}")
    return value
