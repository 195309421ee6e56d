"""What a table model says of what it chose and left out."""

from __future__ import annotations

from cnn.table import writings
from cnn.table.columns import Column, Date, Number
from cnn.table.encode import Encoder
from cnn.table.targets import Goal


def of_a_fit(goal: Goal, encoder: Encoder, without_target: int) -> tuple[str, ...]:
    """What was chosen and left out, a sentence each."""
    what = f" of {len(goal.classes)} classes" if goal.classes else ""
    found = [f"{one.name!r} is predicted by {goal.task}{what} ({one.reason})" for one in goal.each]
    kinds: dict[str, list[str]] = {}
    for column in encoder.columns:
        kinds.setdefault(column.kind, []).append(column.name)
    found += [f"{kind}: {', '.join(names)}" for kind, names in kinds.items()]
    found += [f"left out {name!r}: {why}" for name, why in encoder.dropped.items()]
    readings = [_said(one.name, "numbers", (), writings.example(one.writing)) for one in goal.each]
    found += filter(None, [*readings, *map(_reading, encoder.columns)])
    if without_target:
        found.append(f"left out {without_target:,} rows without a value of {goal.said}")
    return tuple(found)


def infinite(found: dict[str, int]) -> str:
    """What to say of so many infinite numbers in these columns; "" if there are none."""
    found = {name: n for name, n in found.items() if n}
    said = ", ".join(f"{n:,} in {name!r}" for name, n in list(found.items())[:12])
    more = f" and in {len(found) - 12:,} more columns" if len(found) > 12 else ""
    return f"infinite numbers count as missing: {said}{more}" if found else ""


def _reading(column: Column) -> str:
    """How the text of a column is read, as a sentence; "" if there is nothing to say."""
    if isinstance(column, Date):
        return _said(column.name, "dates", column.days.marks, "" if column.order == writings.DATES[0] else column.order)
    if isinstance(column, Number):
        return _said(column.name, "numbers", column.marks, writings.example(column.writing))
    return ""


def _said(name: str, what: str, marks: tuple[str, ...], example: str) -> str:
    """That cells are read as numbers or dates which are written so, and these words as missing."""
    if not (marks or example):
        return ""
    written = f" written as {example}" if example else ""
    return f"{name!r} is read as {what}{written}" + (f", {', '.join(map(repr, marks))} as missing" if marks else "")
