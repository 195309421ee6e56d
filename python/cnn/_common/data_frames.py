"""Numbers out of data frames and nullable columns, of which NumPy would make arrays of objects."""

from __future__ import annotations

import decimal
import numbers
from collections.abc import ItemsView, Iterator, KeysView, Mapping, Set, ValuesView
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_ENCODE = "encode it first (pandas.get_dummies, scikit-learn's OneHotEncoder), or let cnn.TableModel do it"
_LABELS = "np.unique(y, return_inverse=True) turns labels into integers, and cnn.TableModel takes them as they are"
_NO_ARRAYS = (Mapping, Set, str, bytes, bytearray, Iterator, KeysView, ValuesView, ItemsView)


def refuse_what_is_no_array(name: str, data: Any) -> None:
    """Raises TypeError for a dict, a generator, a text: NumPy would make one object of them."""
    if isinstance(data, _NO_ARRAYS):
        what, again = type(data).__name__, isinstance(data, Iterator | KeysView | ValuesView | ItemsView)
        hint = "; list(...) makes one of it" if again else ""
        raise no_array(name, what, hint)


def no_array(name: str, what: str, hint: str = "") -> TypeError:
    return TypeError(f"{name} must be an array, a data frame or a list of numbers, got a {what}{hint}")


def names(data: Any) -> list[str] | None:
    """The names of a frame's columns; None where it is none."""
    columns = None if isinstance(data, np.ndarray) else _columns(data)
    return None if columns is None else [label for label, _ in columns]


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
    missing = _missing(column)
    if missing.any():
        row = int(np.flatnonzero(missing)[0])
        raise ValueError(f"{where} is empty at row {row}; fill or drop such rows first")
    values = _values(column)
    if values.dtype.kind in "biuf":
        return values
    hint = _LABELS if name.rpartition(" ")[2] == "y" else _ENCODE
    if values.dtype.kind == "O":
        found = numbers_of(where, values)
        if found is not None:
            return found
        raise TypeError(f"{where} holds {what_is_none(values)}, not a number: {hint}")
    raise TypeError(f"{where} holds {_named(values)}, not numbers: {hint}")


def _values(column: Any) -> Array:
    if hasattr(column, "combine_chunks") or hasattr(column, "buffers"):  # Arrow copies truth values only if told to
        return np.asarray(column.to_numpy(zero_copy_only=False))
    return np.asarray(column.to_numpy())


def _missing(column: Any) -> Array:
    for method in ("isna", "is_null"):  # pandas; polars and Arrow
        if hasattr(column, method):
            found = getattr(column, method)()
            return _values(found) if hasattr(found, "to_numpy") else np.asarray(found, bool)
    return np.zeros(len(column), bool)


def _named(values: Array) -> str:
    return {"M": "dates", "m": "durations", "c": "complex numbers"}.get(values.dtype.kind, "text")


def numbers_of(where: str, values: Array) -> Array | None:
    """An array of Python's numbers, truth values, decimals as float64; None where something in it is no number.

    Raises:
        ValueError: a cell is empty.
    """
    value, place = _first_that_is_none(values)
    if not place:
        return values.astype(np.float64)
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        raise ValueError(f"{where} is empty at {_place(place)}; fill or drop such rows first")
    return None


def what_is_none(values: Array) -> str:
    """The first cell of an array of objects that holds no number, and where; empty for other arrays."""
    if values.dtype.kind != "O":
        return ""
    value, place = _first_that_is_none(values)
    return f"{value!r:.60} at {_place(place)}"


def _place(place: tuple[int, ...]) -> str:
    return f"row {place[0]}" + (f", column {place[1]}" if len(place) > 1 else "")


def _first_that_is_none(values: Array) -> tuple[Any, tuple[int, ...]]:
    """The first cell that holds no number and its place, which is () where all do."""
    for place, value in np.ndenumerate(values):
        if not isinstance(value, (numbers.Real, decimal.Decimal, np.bool_)):
            return value, place
    return None, ()
