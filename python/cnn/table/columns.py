"""What was learnt of each column, and the inputs of the network it becomes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from cnn.table import blocks, finer, frames, words, writings
from cnn.table.blocks import Curves
from cnn.table.finer import Finer, Stairs
from cnn.table.frames import Array, TableError
from cnn.table.kinds import Kind, kind_of, unknown

# Beyond so many values a column of categories has inputs of 0 and ONE_OF_MANY: chosen by cross-validation.
NARROW, ONE_OF_MANY = 64, 4.0
PERIODS = {"year": 365.2425, "week": 7.0, "day": 1.0}  # of dates, in days


@dataclass(frozen=True)
class Number:
    """A column of numbers x: two inputs, and a third that says "missing" where the training rows had gaps.

    The first is x by rank on the scale of a normal distribution, piecewise linear between `nodes` (quantiles of the
    training rows) and `heights`: outliers and skew are gone. The second is t / sqrt(1 + (t / 3)²) with
    t = (x - center) / scale (median and quartiles): it keeps the distances. Both are 0 where x is missing.
    Then come the finer inputs, if any: one of 0 or 1 for each of the `spikes`, all 0 where x is missing, and a
    staircase at the `edges` (see finer.py), that of the center where x is missing.
    """

    name: str
    nodes: Array
    heights: Array
    center: float
    scale: float
    gaps: bool
    marks: tuple[str, ...] = ()  # words of the training rows that stand for a missing number, such as "unknown"
    writing: str = ""  # of text: one of writings.NUMBERS
    spikes: Array = field(default_factory=lambda: finer.NONE)  # (n,), ascending
    edges: Array = field(default_factory=lambda: finer.NONE)  # (K + 1,), ascending, K >= 2; or (0,)

    kind: ClassVar[str] = "number"

    @cached_property
    def inputs(self) -> list[str]:
        return [
            *["rank", "value", "missing"][: self.coarse],
            *(f"is {value!r}" for value in self.spikes.tolist()),
            *(f"from {edge!r}" for edge in self.edges[:-1].tolist()),
        ]

    @property
    def coarse(self) -> int:
        """How many inputs come before the finer ones."""
        return 3 if self.gaps else 2

    @staticmethod
    def learn(
        name: str, values: Array, marks: tuple[str, ...] = (), writing: str = "", more: Finer | None = None
    ) -> Number:
        """From training rows: NaN where missing, at least one that is not."""
        found = more.learn(values) if more else (finer.NONE, finer.NONE)
        return Number(name, *next(blocks.learn(values[None])), marks, writing, *found)

    @cached_property
    def curve(self) -> Curves:
        """The column as a block of one."""
        return Curves.of([self.nodes], [self.heights], [self.center], [self.scale])

    def values(self, series: Any) -> Array:
        """The cells as numbers; TableError for a word that the training rows did not have in place of a number."""
        values, bad = frames.as_numbers(series, self.writing)
        expected = f"numbers written as {writings.example(self.writing)!r}" if self.writing else "numbers"
        _refuse(self, series, unknown(series, bad, self.marks), expected)
        return values

    def write(self, series: Any, out: Array, stairs: Stairs | None = None) -> None:
        self.write_values(self.values(series), out, stairs)

    def write_values(self, x: Array, out: Array, stairs: Stairs | None = None) -> None:
        """The inputs of those numbers to `out` (n, inputs); or without the staircase, which `stairs` has in short."""
        rank, value, missing = self.curve.inputs(x[None])
        out[:, 0], out[:, 1] = rank[0], value[0]
        if self.gaps:
            out[:, 2] = missing[0]
        self.write_finer(x, out[:, self.coarse :], stairs)

    def write_finer(self, x: Array, out: Array, stairs: Stairs | None = None) -> None:
        """The finer inputs of numbers, NaN where missing, as `write_values`."""
        if k := len(self.spikes):
            finer.write_codes(self.codes(x), out[:, :k])
        if not len(self.edges):
            return
        bins, z = self.stairs(x)
        if stairs is None:
            finer.write_stairs(bins, z, out[:, k:])
        else:
            stairs.bins[...], stairs.z[...] = bins, z

    def codes(self, x: Array) -> Array:
        """(n,) which of the spikes each number is, -1 for none."""
        return finer.codes(x, self.spikes)

    def stairs(self, x: Array) -> tuple[Array, Array]:
        """(bin uint8, z float32) of each number, NaN where missing: its staircase in short (see finer.stairs)."""
        return finer.stairs(np.where(np.isnan(x), self.center, x), self.edges)

    def describe(self) -> tuple[dict[str, Any], dict[str, Array]]:
        plain = {"center": self.center, "scale": self.scale, "gaps": self.gaps, "marks": list(self.marks)}
        plain["writing"] = self.writing
        return plain, {"nodes": self.nodes, "heights": self.heights, "spikes": self.spikes, "edges": self.edges}


@dataclass(frozen=True)
class Boolean:
    """True and false: 1 and -1, 0 where missing; a second input says "missing" where the training rows had gaps."""

    name: str
    gaps: bool

    kind: ClassVar[str] = "boolean"

    @property
    def inputs(self) -> list[str]:
        return ["true", "missing"][: 2 if self.gaps else 1]

    def write(self, series: Any, out: Array, stairs: Stairs | None = None) -> None:
        values, bad = frames.as_booleans(series)
        _refuse(self, series, bad, "true and false")
        missing = np.isnan(values)
        out[:, 0] = np.where(missing, 0.0, 2 * values - 1)
        if self.gaps:
            out[:, 1] = missing

    def describe(self) -> tuple[dict[str, Any], dict[str, Array]]:
        return {"gaps": self.gaps}, {}


@dataclass(frozen=True)
class Category:
    """Text of few values: an input of 0 or 1 for each frequent one, for all rare ones together, and for "missing".

    A value that the training rows did not have counts as a rare one; all inputs are 0 where they had no rare ones. A
    column of many values has `one` in the place of 1: each has few rows to learn from.
    """

    name: str
    values: tuple[str, ...]  # the most frequent one first
    rare: bool
    gaps: bool
    one: float = 1.0

    kind: ClassVar[str] = "category"

    @property
    def inputs(self) -> list[str]:
        return [*self.values, *(["(rare)"] if self.rare else []), *(["(missing)"] if self.gaps else [])]

    @property
    def other_code(self) -> int:
        """The input of a rare or new value, -1 if none."""
        return len(self.values) if self.rare else -1

    @property
    def missing_code(self) -> int:
        """The input of a missing value, -1 if none."""
        return len(self.inputs) - 1 if self.gaps else -1

    def codes(self, series: Any) -> Array:
        """The input of each row that is 1, -1 where none is."""
        codes, labels = words.labels(series)
        places = {value: i for i, value in enumerate(self.values)}
        found = [places.get(label, self.other_code) for label in labels]
        return np.array([*found, self.missing_code], np.int64)[codes]

    def write(self, series: Any, out: Array, stairs: Stairs | None = None) -> None:
        codes = self.codes(series)
        out[...] = 0
        rows = np.flatnonzero(codes >= 0)
        out[rows, codes[rows]] = self.one

    def describe(self) -> tuple[dict[str, Any], dict[str, Array]]:
        return {"values": list(self.values), "rare": self.rare, "gaps": self.gaps, "one": self.one}, {}

    def cut(self, most: int) -> Category:
        """The same with at most so many values of its own."""
        values = self.values[:most]
        one = self.one if len(values) > NARROW else 1.0
        return Category(self.name, values, self.rare or len(values) < len(self.values), self.gaps, one)


@dataclass(frozen=True)
class Date:
    """Dates: the days since 1970 as a `Number`, and sine and cosine of the place in the year, the week and the day."""

    name: str
    days: Number
    periods: tuple[str, ...]
    order: str = writings.DATES[0]  # of text: one of writings.DATES

    kind: ClassVar[str] = "date"

    @property
    def inputs(self) -> list[str]:
        return [*self.days.inputs, *(f"{wave} of {period}" for period in self.periods for wave in ("sine", "cosine"))]

    @staticmethod
    def learn(
        name: str, days: Array, marks: tuple[str, ...] = (), order: str = writings.DATES[0], more: Finer | None = None
    ) -> Date:
        """From training rows: NaN where missing. No spikes: a day that was does not come again."""
        known = days[~np.isnan(days)]
        span = known.max() - known.min()
        has = {"year": span >= 90, "week": span >= 7, "day": bool((known != np.floor(known)).any())}
        more = dataclasses.replace(more, spikes=0) if more else None
        number = Number.learn(name, days, marks, more=more)
        return Date(name, number, tuple(period for period in PERIODS if has[period]), order)

    def values(self, series: Any) -> Array:
        """The cells as days since 1970; TableError for a word that the training rows did not have in place of one."""
        days, bad = frames.as_days(series, self.order)
        written = "" if self.order == writings.DATES[0] else f" written as {self.order}"
        _refuse(self, series, unknown(series, bad, self.days.marks), f"dates{written}")
        return days

    def write(self, series: Any, out: Array, stairs: Stairs | None = None) -> None:
        days = self.values(series)
        first = out.shape[1] - 2 * len(self.periods)
        self.days.write_values(days, out[:, :first], stairs)
        for i, period in enumerate(self.periods):
            angle = 2 * np.pi * np.nan_to_num(days) / PERIODS[period]
            known = ~np.isnan(days)
            out[:, first + 2 * i], out[:, first + 2 * i + 1] = np.sin(angle) * known, np.cos(angle) * known

    def describe(self) -> tuple[dict[str, Any], dict[str, Array]]:
        plain, arrays = self.days.describe()
        del plain["writing"]
        return {"days": plain, "periods": list(self.periods), "order": self.order}, arrays


Column = Number | Boolean | Category | Date


def check_span(column: Number) -> None:
    """Refuses, for use elsewhere, numbers whose differences overflow: np.interp is then of a kind of its own."""
    with np.errstate(over="ignore"):
        if not np.isfinite(np.diff(column.nodes)).all():
            raise TableError(f"column {column.name!r} has numbers whose differences are infinite; scale them first")


def _refuse(column: Column, series: Any, bad: Array, expected: str) -> None:
    if bad.any():
        cell, row = frames.first(series, bad)
        raise TableError(f"column {column.name!r} must hold {expected}, got {cell} at row {row}")


def learn(
    series: Any, rows: Array, most: int, decimal: str | None = None, of: int | None = None, more: Finer | None = None
) -> Column | str:
    """What the training `rows` teach of a column, or why it is of no use; at most so many categories.

    The column may be a sample `of` so many rows; `more` finds the finer inputs of numbers and dates.
    """
    name = str(series.name)
    if strange := frames.strange(series):
        return f"it holds {strange}"
    found = kind_of(series, decimal)
    if found.kind == "number" and not found.writing and words.are_ids(series):
        found = Kind("category")
    if found.kind == "missing":
        return "no values"
    if found.kind == "category":
        learnt = _learn_category(name, series, rows, most)
        return (found.unclear or learnt) if isinstance(learnt, str) else learnt
    if found.kind == "date":
        order = found.writing or writings.DATES[0]
        days, _ = frames.as_days(series.iloc[rows], order)
        return str(_useless(days[None])[0]) or Date.learn(name, days, found.marks, order, more)
    values, _ = frames.as_booleans(series) if found.kind == "boolean" else frames.as_numbers(series, found.writing)
    boolean = found.kind == "boolean"
    return next(_learn_block([name], values[None], rows, boolean, of, more, found.marks, found.writing))


def learn_plain(
    frame: Any, names: Sequence[str], places: Array, rows: Array, of: int | None = None, more: Finer | None = None
) -> dict[str, Column | str]:
    """What `learn` finds, for the columns at these places: numbers or truth values as they are, many at a time.

    Whole numbers of which float64 takes some for others are left out.
    """
    found: dict[str, Column | str] = {}
    truths = np.array([dtype.kind == "b" for dtype in frame.dtypes.iloc[places]], bool)
    for boolean in (True, False):
        these = np.flatnonzero(truths == boolean)
        for some, cells in blocks.read(frame, places[these]):
            part = [names[i] for i in these[some]]
            learnt = _learn_block(part, blocks.known(cells), rows, boolean, of, more)
            long = np.fmax.reduce(np.abs(cells), axis=1) >= frames.EXACT
            for name, row, one, place, many in zip(part, cells, learnt, places[these[some]], long, strict=True):
                if not (many and frame.dtypes.iloc[place].kind in "iu" and words.are_ids(frame.iloc[:, place])):
                    found[name] = "no values" if np.isnan(row).all() else one
    return found


def _learn_block(
    names: Sequence[str], values: Array, rows: Array, boolean: bool, of: int | None, more: Finer | None = None,
    marks: tuple[str, ...] = (), writing: str = "",
) -> Iterator[Column | str]:  # fmt: skip
    """What the training `rows` teach of the columns of a block, all of numbers or all of truth values."""
    part = values[:, rows]
    why = _useless(part)
    if boolean:
        for name, reason, cells in zip(names, why.tolist(), part, strict=True):
            yield reason or Boolean(name, bool(np.isnan(cells).any()))
        return
    why[(why == "") & _counts_rows(values, of)] = "it numbers the rows"
    useful = why == ""
    learnt = blocks.learn(part if useful.all() else part[useful])
    for name, reason, cells in zip(names, why.tolist(), part, strict=True):
        if reason:
            yield reason
            continue
        found = more.learn(cells) if more else (finer.NONE, finer.NONE)
        yield Number(name, *next(learnt), marks, writing, *found)


def _useless(part: Array) -> Array:
    """Why the cells of the training rows teach nothing, for each column of a block; "" if they do."""
    low, high = np.fmin.reduce(part, axis=1), np.fmax.reduce(part, axis=1)  # NaN where no cell is filled
    with np.errstate(all="ignore"):
        same = (high - low <= blocks.CLOSEST) & ~np.isnan(part).any(axis=1)
    return np.where(np.isnan(low), "no values in the training rows", np.where(same, "the same value everywhere", ""))


def _counts_rows(values: Array, of: int | None) -> Array:
    """Whether each row has a whole number of its own in a column of the block, without holes, in any order.

    Of a sample: whether the numbers are different ones within a span of as many as there are rows.
    """
    n = values.shape[1]
    if n < 20:
        return np.zeros(len(values), bool)
    span = values.max(axis=1) - values.min(axis=1) + 1  # not where a cell is missing
    found = span == n if of is None else (span >= n) & (span <= of)
    for i in np.flatnonzero(found):
        found[i] = (values[i] == np.floor(values[i])).all() and len(np.unique(values[i])) == n
    return found


def _learn_category(name: str, series: Any, rows: Array, most: int) -> Category | str:
    least = max(3, min(10, len(rows) // 200))  # a category of few rows teaches noise
    different, filled, counts = words.frequent(series, rows, least)
    gaps = filled < len(rows)
    if different + gaps < 2:
        return "the same value everywhere" if different else "no values in the training rows"
    chosen = tuple(sorted(counts, key=lambda text: (-counts[text], text))[:most])
    one = ONE_OF_MANY if len(chosen) > NARROW else 1.0
    if not chosen or (different > len(rows) / 2 and sum(counts[text] for text in chosen) < 0.05 * len(rows)):
        return f"text of {different:,} different values in {len(rows):,} rows, none frequent"
    return Category(name, chosen, len(chosen) < different, gaps, one)


def coarse(column: Column) -> int:
    """How many inputs a column has without the finer ones of numbers."""
    number = number_of(column)
    return len(column.inputs) - (len(number.inputs) - number.coarse if number else 0)


def stairs_of(column: Column) -> int:
    """How many bins the staircase of a column has; 0 if it has none."""
    number = number_of(column)
    return len(number.edges) - 1 if number and len(number.edges) else 0


def is_wide(column: Column) -> bool:
    """Whether it is of more categories than a network can well be given as dense inputs."""
    return isinstance(column, Category) and len(column.values) > NARROW


def number_of(column: Column) -> Number | None:
    """The column of numbers that a column is or has inside."""
    return column.days if isinstance(column, Date) else column if isinstance(column, Number) else None
