"""Cells as text: the distinct ones of a column, and how often each is there."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from cnn.table import frames
from cnn.table.frames import Array

_WHOLE, _LONG = re.compile(r"[+-]?[0-9]{1,4000}"), len(str(frames.EXACT))
_TOLD_APART = 0.95  # of different whole numbers


def frequent(series: Any, rows: Array, least: int) -> tuple[int, int, dict[str, int]]:
    """(how many different texts there are, in how many cells, how often each of those that are in `least` cells is).

    All texts if there are no more than two. Of the others only hashes are kept: there may be as many as rows.
    """
    once = list(_texts(series, rows)) if len(series) <= frames.PIECE else None
    parts = [
        (np.fromiter(map(hash, texts), np.int64, len(texts)), found.astype(np.int32))
        for texts, found in once or _texts(series, rows)
    ]
    if not parts:
        return 0, 0, {}
    hashes, n = map(np.concatenate, zip(*parts, strict=True))
    del parts
    order = np.argsort(hashes)
    hashes, n = hashes[order], n[order]
    first = np.flatnonzero(np.diff(hashes, prepend=hashes[:1] - 1))
    different, total = hashes[first], np.add.reduceat(n, first, dtype=np.int64)
    least = least if len(different) > 2 else 1
    wanted = set(different[total >= least].tolist())
    often = dict[str, int]()
    for texts, found in (once or _texts(series, rows)) if wanted else ():
        for text, count in zip(texts, found.tolist(), strict=True):
            if hash(text) in wanted:
                often[text] = often.get(text, 0) + count
    return len(different), int(total.sum()), often


def _texts(series: Any, rows: Array) -> Iterator[tuple[list[str], Array]]:
    for _, piece in frames.pieces(series, rows):
        codes, texts = labels(piece)
        yield texts, np.bincount(codes[codes >= 0], minlength=len(texts))
        del piece


def labels(series: Any) -> tuple[Array, list[str]]:
    """(code of each row, -1 where missing; the distinct cells as text, without blanks around them).

    A whole number is written without a point: a column of 1 and 2 becomes 1.0 and 2.0 as soon as a cell is missing.
    """
    codes, cells = frames.distinct(series)
    texts, names = frames.texts(cells, _whole), dict[str, int]()
    place = [names.setdefault(text, len(names)) if text else -1 for text in texts]
    return np.array([*place, -1], np.int64)[codes], list(names)  # codes of missing cells point to the last


def _whole(cell: Any) -> str:
    return str(int(cell) if isinstance(cell, (float, np.floating)) and cell.is_integer() else cell).strip()


def are_ids(series: Any) -> bool:
    """Whether the first rows hold whole numbers beyond 2^53 of which float64 takes many, 5 %, for others."""
    cells = frames.distinct(series.iloc[: frames.PIECE])[1]
    if series.dtype.kind in "iu":
        whole = set(cells.tolist())
        if not whole or -frames.EXACT < min(whole) <= max(whole) < frames.EXACT:
            return False
    elif not frames.is_text(series):
        return False
    else:
        texts = frames.texts(cells)
        if not any(len(text) >= _LONG for text in texts):
            return False
        whole = set(map(int, filter(_WHOLE.fullmatch, texts)))
    floats = list(map(float, map(str, whole)))
    finite = list(filter(math.isfinite, floats)) or floats  # a few that are infinite are missing numbers
    return len(set(finite)) < _TOLD_APART * len(finite)
