"""Numbers out of data frames and nullable columns, of which NumPy would make arrays of objects."""

from __future__ import annotations

import decimal
import numbers
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_ENCODE = "encode it first (pandas.get_dummies, scikit-learn's OneHotEncoder), or let cnn.TableModel do it"
_NO_ARRAYS = (Mapping, set, frozenset, str, bytes, bytearray, Iterator)


def refuse_what_is_no_array(name: str, data: Any) -> None:
    """Raises TypeError for a dict, a generator, a text: NumPy would make one object of them."""
    if isinstance(data, _NO_ARRAYS):
        what = "generator" if isinstance(data, Iterator) else type(data).__name__
        hint = "; list(...) makes one of it" if isinstance(data, Iterator) else ""
        raise TypeError(f"{name} must be an array, a data frame or a list of numbers, got a {what}{hint}")


def as_array(name: str, data: Any) -> Array | None:
    """A frame or a column (pandas, polars, Arrow) of numbers and truth values as an array; None for anything else.

    Raises:
        TypeError: a column holds text or something else that is no number.
        ValueError: a cell is empty, or the frame has no columns.
    """
    if isinstance(data, np.ndarray) or not (hasattr(data, "to_numpy") or hasattr(data, "column_names")):
        return None
    if (columns := _columns(data)) is None:
        return _column(name, "", data) if _shape(data) == 1 else None
    if not columns:
        raise ValueError(f"{name} has no columns")
    kinds = {getattr(getattr(column, "dtype", None), "kind", "O") for _, column in columns}
    if kinds <= set("biuf") and all(isinstance(column.dtype, np.dtype) for _, column in columns):
        if (kinds != {"b"} and "b" in kinds) or len({column.dtype for _, column in columns}) > 1:
            return np.column_stack([np.asarray(column) for _, column in columns])
        return np.asarray(data)
    return np.column_stack([_column(name, label, column) for label, column in columns])


def _columns(data: Any) -> list[tuple[str, Any]] | None:
    """(name, column) of each column of a frame; None where it is none."""
    if hasattr(data, "column_names"):  # Arrow
        return [(str(label), data.column(i)) for i, label in enumerate(data.column_names)]
    if hasattr(data, "iloc") and hasattr(data, "columns"):  # pandas, whose names may be there twice
        return [(str(label), data.iloc[:, i]) for i, label in enumerate(data.columns)]
    if hasattr(data, "get_columns"):  # polars
        return [(column.name, column) for column in data.get_columns()]
    return None


def _shape(data: Any) -> int:
    try:
        return len(data.shape)
    except (AttributeError, TypeError):
        return 1


def _column(name: str, label: str, column: Any) -> Array:
    """One column as float64, or in its own type where it has no gaps."""
    where = f"column {label!r} of {name}" if label else name
    values = column.to_numpy() if hasattr(column, "to_numpy") else np.asarray(column)
    missing = _missing(column)
    if values.dtype.kind in "biuf" and not missing.any():
        return np.asarray(values)
    if missing.any():
        row = int(np.flatnonzero(missing)[0])
        raise ValueError(f"{where} is empty at row {row}; fill or drop such rows first")
    if values.dtype.kind == "O":
        return _numbers_of(where, values)
    raise TypeError(f"{where} holds {_named(values)}, not numbers: {_ENCODE}")


def _missing(column: Any) -> Array:
    for method in ("isna", "is_null"):  # pandas; polars and Arrow
        if hasattr(column, method):
            return np.asarray(getattr(column, method)(), bool)
    return np.zeros(len(column), bool)


def _named(values: Array) -> str:
    return {"M": "dates", "m": "durations", "c": "complex numbers"}.get(values.dtype.kind, "text")


def _numbers_of(where: str, values: Array) -> Array:
    """A column of Python objects without gaps as float64: numbers, truth values, decimals; TypeError else."""
    for row, value in enumerate(values):
        if not isinstance(value, (numbers.Real, decimal.Decimal, np.bool_)):
            raise TypeError(f"{where} holds {value!r:.60} at row {row}, not a number: {_ENCODE}")
    return values.astype(np.float64)
