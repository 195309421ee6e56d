"""Labels of classes: cells of a target in the type and the spelling they were given, and which cells mean the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from cnn.table import frames
from cnn.table.frames import Array, TableError

Label = str | int | float | bool
TYPES: dict[str, type] = {"text": str, "int": int, "float": float, "bool": bool}
_WHOLE = re.compile(r"[+-]?[0-9]+")
_TRUTHS = {"true": 1, "false": 0}
# What pandas calls cells of an object column.
_INFERRED = {"string": str, "boolean": bool, "integer": int, "floating": float, "mixed-integer-float": float}


def distinct(series: Any) -> tuple[Array, list[Label]]:
    """(code of each row, -1 where missing; the labels in ascending order).

    Texts are told apart without the blanks around them, and come back in the spelling that most rows have.
    """
    codes, cells = frames.distinct(series)
    kind = _type_of(series, cells)
    if kind is not str:
        found: list[Any] = [kind(cell.item() if isinstance(cell, np.generic) else cell) for cell in cells]
        low, high = (min(found), max(found)) if kind is int and found else (0, 0)
        if low < -(2**63) or high >= (2**63 if low < 0 else 2**64):
            raise TableError(f"the target {str(series.name)!r} holds whole numbers beyond 64 bits; make them text")
        return _ascending(codes, list(range(len(found))), found)
    often = np.bincount(codes[codes >= 0], minlength=len(cells)).tolist()
    texts, spellings = list(map(str, cells)), dict[str, int]()
    for i in sorted(range(len(texts)), key=lambda i: -often[i]):
        spellings.setdefault(texts[i].strip(), i)
    places = {name: place for place, name in enumerate(spellings)}
    return _ascending(codes, [places[text.strip()] for text in texts], [texts[i] for i in spellings.values()])


def _ascending(codes: Array, places: list[int], found: list[Any]) -> tuple[Array, list[Label]]:
    """Codes whose cells have these places among the labels found, as codes of the labels in ascending order."""
    order = sorted(range(len(found)), key=found.__getitem__)
    rank = {place: i for i, place in enumerate(order)}
    return np.array([*(rank[place] for place in places), -1], np.int64)[codes], [found[place] for place in order]


def _type_of(series: Any, cells: Any) -> Any:
    """What makes a label of each of these cells, all of which must be of one type."""
    kind = cells.dtype.kind
    if kind in "biuf":
        return {"b": bool, "f": float}.get(kind, int)
    # As an object 1 is True: the distinct cells of an object column may have lost one of them.
    given = series if series.dtype == object else cells
    inferred = frames.pandas().api.types.infer_dtype(given, skipna=True)
    if inferred == "decimal":
        return int if all(cell == cell.to_integral_value() for cell in cells) else float
    if inferred in ("empty", *_INFERRED):
        return _INFERRED.get(inferred, str)
    known = series[series.notna()]
    types = {type(cell).__name__: repr(cell) for cell in known}
    found = " and ".join(f"{name} ({cell})" for name, cell in types.items())
    raise TableError(f"the target {str(series.name)!r} holds {found}; make all its cells text, or all numbers")


def codes(series: Any, classes: Sequence[Label]) -> Array:
    """The place of each cell's class, -1 for what is missing or none of them.

    A cell of another type is the class that means the same, "1" and 1.0 that of 1, where only one class does.
    """
    truths = all(meaning(label, True) in (0, 1) for label in classes)
    spelled = {label.strip(): i for i, label in enumerate(classes) if isinstance(label, str)}
    meant: dict[Any, int] = {}
    for i, label in enumerate(classes):
        key = meaning(label, truths)
        meant[key] = -1 if key in meant else i
    places, cells = frames.distinct(series)
    found = [
        spelled[cell.strip()] if isinstance(cell, str) and cell.strip() in spelled
        else meant.get(meaning(cell, truths), -1)
        for cell in cells
    ]  # fmt: skip
    return np.array([*found, -1], np.int64)[places]


def meaning(cell: Any, truths: bool) -> Any:
    """A cell as a number, a truth value as 1 or 0 if `truths`, or else as text without blanks around it."""
    cell = cell.item() if isinstance(cell, np.generic) else cell
    if isinstance(cell, bool):
        return int(cell) if truths else str(cell)
    if isinstance(cell, (int, float, Decimal)):
        return cell
    text = str(cell).strip()
    if truths and text.lower() in _TRUTHS:
        return _TRUTHS[text.lower()]
    try:
        return text if "_" in text else int(text) if _WHOLE.fullmatch(text) else float(text)
    except ValueError:
        return text


def array(labels: Sequence[Label]) -> Array:
    """Labels as an array: text as objects, whole numbers as int64, or uint64 where they need it."""
    kind: Any = type(labels[0])
    if kind is int:
        kind = np.uint64 if any(isinstance(label, int) and label >= 2**63 for label in labels) else np.int64
    return np.array(labels, object if kind is str else kind)
