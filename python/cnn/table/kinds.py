"""What a column holds: numbers, truth values, dates or categories, and how its text is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from cnn.table import frames, writings
from cnn.table.frames import Array

_MARKS = 20  # different words that stand for a missing number
_HEAD = 32  # cells
_READABLE = {"true", "false", "inf", "infinity"}  # words that a way of reading takes for a value
_FEW_WORDS = 20  # so many times as many different numbers there must be for words to be none of them


@dataclass(frozen=True)
class Kind:
    """number, boolean, category, date or missing; of text also how it is written, and words for what is missing."""

    kind: str
    marks: tuple[str, ...] = ()
    writing: str = ""
    unclear: str = ""  # why cells that look like numbers or dates are none


def kind_of(series: Any, decimal: str | None = None) -> Kind:
    """What a column holds; `decimal` is the mark that its text has, None finds out."""
    dtype = series.dtype
    if series.isna().all():
        return Kind("missing")
    if hasattr(dtype, "categories"):
        return Kind("category")
    if dtype.kind == "b":
        return Kind("boolean")
    if dtype.kind in "iufmc":  # complex numbers are refused when they are read
        return Kind("number")
    if dtype.kind == "M":
        return Kind("date")
    cells = _Cells(series)
    if cells.are_words:
        return Kind("category")
    number = _number_kind(cells, decimal)
    if isinstance(number, Kind):
        return number
    if (found := _Tally.of(cells, frames.as_booleans)) and found.known and not found.wrong:
        return Kind("boolean", found.words)
    day = _date_kind(cells)
    if isinstance(day, Kind):
        return day
    some = any(text for part, _ in cells for text in frames.texts(part))
    return Kind("category", unclear=number or day) if some else Kind("missing")


class _Cells:
    """The distinct cells of a column and how often each is there, part by part, as often as they are asked for.

    Few cells first: most ways of reading fit no column of text, and some cells show it. Those of the first piece are
    looked up once.
    """

    def __init__(self, series: Any) -> None:
        self.first = next(iter(frames.counts(series.iloc[: frames.PIECE])))
        self.rest = series.iloc[frames.PIECE :]

    @property
    def are_words(self) -> bool:
        """Whether the first cells alone show that no way of reading fits: too many begin with a letter."""
        texts = {text.lower() for text in frames.texts(self.first[0][: 2 * _HEAD]) if text[:1].isalpha()}
        return len(texts - writings.MISSING - _READABLE) > _MARKS

    def __iter__(self) -> Iterator[tuple[Any, Array]]:
        yield from _begin_small(*self.first)
        for part in frames.counts(self.rest):
            yield from _begin_small(*part)


def _begin_small(cells: Any, counts: Array) -> Iterator[tuple[Any, Array]]:
    cells = cells.astype(object)  # Arrow is slow with few cells
    begin, end = 0, _HEAD
    while begin < len(cells):
        yield cells[begin:end], counts[begin:end]
        begin, end = end, 16 * end


@dataclass(frozen=True)
class _Tally:
    """How well a way of reading fits the cells of a column."""

    known: int
    wrong: int  # cells that are filled, are none of these, and hold no word that is always missing
    words: tuple[str, ...]  # in place of a value

    @staticmethod
    def of(column: _Cells, read: Callable[[Any], tuple[Array, Array]]) -> _Tally | None:
        """None if too many words are no values for the column to be of them."""
        known, wrong, words, bad, different = 0, 0, set[str](), set[str](), set[float]()
        for cells, counts in column:
            values, _ = read(cells)
            none = np.isnan(values)
            known += int(counts[~none].sum())
            if len(different) < _FEW_WORDS * _MARKS:
                different |= set(values[~none].tolist())
            texts = frames.texts(cells[none])
            missing = writings.is_missing(texts)
            wrong += int(counts[none][~missing].sum())
            words |= set(texts) - {"", "nan"}
            bad |= {text.lower() for text, good in zip(texts, missing.tolist(), strict=True) if not good}
            if len(bad) > _MARKS:
                return None
        few = wrong <= 0.05 * known or len(different) >= _FEW_WORDS * len(bad)
        return _Tally(known, wrong, tuple(sorted(words))) if known and few else None


def _numbers(cells: Any, writing: str = "") -> tuple[Array, Array]:
    """As frames.as_numbers reads them, but infinite numbers are some: they are no words."""
    values, bad = frames.as_numbers(cells, writing)
    infinite = np.isnan(values) & ~bad
    infinite[infinite] = ~writings.is_missing(frames.texts(cells[infinite]))
    return np.where(infinite, np.inf, values), bad


def _number_kind(column: _Cells, decimal: str | None) -> Kind | str:
    """The numbers that text holds; "" if it holds none, else why they can't be read."""
    best: dict[str, _Tally] = {}
    if decimal != "," and (plain := _Tally.of(column, _numbers)):
        best[""] = plain
        if not plain.wrong:
            return Kind("number", plain.words)
    cells = frames.texts(column.first[0])
    units = ["", *(unit for unit in writings.UNITS if unit in "\n".join(cells))]
    for writing in (mark + unit for unit in units for mark in writings.DECIMALS if mark == (decimal or mark)):
        if found := _Tally.of(column, partial(_numbers, writing=writing)):
            best[writing] = found
    if not best:
        return ""
    chosen = min(best, key=lambda writing: best[writing].wrong)
    other = "," + chosen[1:]
    if chosen.startswith(".") and other in best and best[other].wrong == best[chosen].wrong:
        read = ~np.isnan(writings.numbers(cells, chosen))
        mark = writings.decimal([cell for cell, good in zip(cells, read.tolist(), strict=True) if good], chosen[1:])
        if mark is None:
            return "numbers whose comma may group digits or be the decimal mark: give decimal="
        chosen = mark + chosen[1:]
    return Kind("number", best[chosen].words, chosen)


def _date_kind(column: _Cells) -> Kind | str:
    """The dates that text holds; "" if it holds none, else why they can't be read."""
    best: dict[str, _Tally] = {}
    for order in writings.DATES:
        if found := _Tally.of(column, partial(frames.as_days, order=order)):
            best[order] = found
    if not best:
        return ""
    least = min(found.wrong for found in best.values())
    chosen = [order for order, found in best.items() if found.wrong == least]
    if len(chosen) > 1:
        return f"dates that may be {' or '.join(chosen)}: write them as 2020-01-31"
    return Kind("date", best[chosen[0]].words, chosen[0])


def unknown(series: Any, bad: Array, marks: tuple[str, ...]) -> Array:
    """Which of the bad cells hold no word that the training rows had, in any case."""
    if bad.any() and marks:
        known = {mark.lower() for mark in marks}
        bad[bad] = [str(cell).strip().lower() not in known for cell in series[bad]]
    return bad
