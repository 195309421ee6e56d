"""Data frames of any library as pandas, cells as numbers, dates and text, and what can be wrong with them."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np

from cnn.table import decimals, writings

Array = np.ndarray[Any, Any]
_INDEX = re.compile(r"__index_level_\d+__")
_BOOLEANS = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0}  # 1 and 0 alone are numbers
_ALIKE = ({float}, {np.float64}, {int}, {np.int64}, {bool})
_INFINITE = [sign + word for sign in ("", "+", "-") for w in ("inf", "infinity") for word in (w, w.title(), w.upper())]
_LARGEST = int(np.finfo(np.float64).max)
EXACT = 1 << 53  # whole numbers up to here are float64
PIECE = 1 << 15  # rows whose cells are looked at together
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # units of dates and durations
_NUMBERS = (bool, int, float, Decimal, np.integer, np.floating, np.bool_)
_TIMES = (date, time, timedelta, np.datetime64, np.timedelta64)


class TableError(ValueError):
    """The table is not as it must be; the text says which column and row."""


def pandas() -> Any:
    """The module, or an error that names the extra."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("tables need pandas (extra 'pandas'): pip install pandas") from error
    return pd


def narwhals() -> Any:
    """The module, or an error that names the extra."""
    try:
        import narwhals.stable.v2 as nw
    except ImportError as error:
        raise ImportError("frames other than pandas' need narwhals (extra 'pandas'): pip install narwhals") from error
    return nw


def is_table(data: Any) -> bool:
    """Whether it is a data frame of any library, lazy or not, or a dict of columns, rather than cells alone."""
    # Asked of the class: a lazy frame would look up its columns.
    return isinstance(data, Mapping) or any(hasattr(type(data), name) for name in ("columns", "column_names"))


def eager(data: Any) -> Any:
    """A frame as one of narwhals, read into memory if it is lazy; None if narwhals does not know it."""
    nw = narwhals()
    frame = nw.from_native(data, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        return frame.collect()
    return frame if isinstance(frame, nw.DataFrame) else None


def to_pandas(data: Any, name: str = "data") -> Any:
    """The pandas data frame itself, or one made of a dict of columns or of a frame of another library.

    Narwhals reads those of polars, Arrow, DuckDB, Modin, Ibis, Dask and PySpark; what is lazy is collected.

    Raises TableError for columns without a name or with the name of another.
    """
    pd = pandas()
    if isinstance(data, Mapping):
        try:
            frame = _frame_of(dict(data))
        except ValueError as error:
            raise TableError(f"{name} can't be made a table: {error}") from None
    elif isinstance(data, pd.DataFrame):
        frame = data
    elif is_table(data):
        known = eager(data)
        frame = data.to_pandas() if known is None else _pandas_of(known)
    else:
        raise TypeError(
            f"{name} must be a data frame (pandas, polars, Arrow) or a dict of columns, got {type(data).__name__}"
        )
    check_names(frame.columns.tolist(), name)
    return frame


def _frame_of(columns: dict[Any, Any]) -> Any:
    """pd.DataFrame(columns); thousands of lists of numbers are laid side by side first, as pandas is slow with each."""
    pd = pandas()
    blocks: dict[Any, dict[Any, Any]] = {}  # by type; what is no numbers is left to pandas
    for name, cells in columns.items():
        made: Any = cells
        if isinstance(cells, list) and {*map(type, cells)} in _ALIKE:
            made = np.array(cells)
            made = made if made.dtype.kind != "f" or isinstance(cells[0], float) else cells  # not of 2**63 and -1
        if not isinstance(made, list) and not (isinstance(made, np.ndarray) and made.ndim == 1):
            return pd.DataFrame(columns)
        dtype = made.dtype if isinstance(made, np.ndarray) else np.dtype(object)
        plain = dtype.kind in "biuf" and dtype.isnative
        blocks.setdefault(dtype if plain else None, {})[name] = made
    if len({len(cells) for block in blocks.values() for cells in block.values()}) != 1:
        return pd.DataFrame(columns)
    parts = [
        pd.DataFrame(block if dtype is None else np.column_stack(list(block.values())), columns=list(block))
        for dtype, block in blocks.items()
    ]
    return parts[0] if len(parts) == 1 else pd.concat(parts, axis=1)[list(columns)]


def _pandas_of(known: Any) -> Any:
    """A frame of narwhals as one of pandas, where whole numbers stay whole: Python's where they need 128 bits.

    Beside gaps pandas would take those beyond 2^53 for the nearest float64; others are small enough to be floats.
    """
    pd, nw = pandas(), narwhals()
    whole = [name for name, dtype in known.schema.items() if dtype.is_integer()]
    long = [name for name in whole if known.schema[name] in (nw.Int128, nw.UInt128)]
    gaps = [name for name in whole if name not in long and _loses_digits(known.get_column(name))]
    frame = known.drop(long + gaps).to_pandas() if long or gaps else known.to_pandas()
    for name in long + gaps:
        cells = known.get_column(name).to_list()
        kind = object if name in long else str(known.schema[name])
        frame[name] = pd.Series(cells, index=frame.index, dtype=kind)
    return frame[known.columns] if long or gaps else frame


def _loses_digits(column: Any) -> bool:
    if not column.null_count() or column.null_count() == len(column):
        return False
    return bool(column.max() >= EXACT or column.min() <= -EXACT)


def of_arrow(table: Any) -> Any:
    """Batch or table of Arrow as a pandas frame in which no cell depends on another: whole numbers beside gaps stay."""
    import pyarrow as pa

    pd = pandas()
    nullable = {getattr(pa, f"{sign}int{bits}")(): getattr(pd, f"{sign.upper()}Int{bits}Dtype")()
                for sign in ("", "u") for bits in (8, 16, 32, 64)}  # fmt: skip
    nullable[pa.bool_()] = pd.BooleanDtype()
    try:
        return table.to_pandas(ignore_metadata=True, types_mapper=nullable.get, date_as_object=False)
    except pa.ArrowException as error:
        raise TableError(f"pandas has no type for a column: {error}") from None


def check_names(names: Iterable[Any], where: str) -> None:
    """Refuses columns that can't be told apart."""
    seen: dict[str, int] = {}
    for place, column in enumerate(names, 1):
        if isinstance(column, tuple):
            raise TableError(f"{where} has columns of several levels, such as {column!r}; give it one level of names")
        text = str(column)
        if not text.strip() or text == "nan":
            raise TableError(f"{where} has no name for column {place}")
        if text in seen:
            raise TableError(f"{where} has two columns with the name {text!r}: {seen[text]} and {place}")
        seen[text] = place


def places(frame: Any) -> dict[str, int]:
    """Where the column of each name is, whatever type the frame's names have."""
    return {str(label): place for place, label in enumerate(frame.columns.tolist())}


def column(frame: Any, name: str, where: str = "data") -> Any:
    """The column of that name, whatever type the frame's names have."""
    if name in frame.columns:
        return frame[name]
    for label in frame.columns:
        if str(label) == name:
            return frame[label]
    known = ", ".join(map(repr, map(str, frame.columns[:12]))) + (", ..." if len(frame.columns) > 12 else "")
    names = {str(label).lower(): str(label) for label in frame.columns}
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.7)
    hint = f" (did you mean {names[near[0]]!r}?)" if near else ""
    raise TableError(f"{where} has no column {name!r}{hint}; it has {known or 'no columns'}")


def is_index(name: str) -> bool:
    """Whether Arrow names the index of a data frame so, which is no column."""
    return _INDEX.fullmatch(name) is not None


def is_text(series: Any) -> bool:
    """Whether the cells are text or a mixture, rather than numbers, truth values or dates."""
    return series.dtype.kind not in "biufcmM"


def distinct(series: Any) -> tuple[Array, Any]:
    """(code of each row, -1 where missing; the distinct cells as a series)."""
    pd = pandas()
    try:
        codes, cells = pd.factorize(series)
    except TypeError:
        raise TableError(f"column {str(series.name)!r} holds something else than numbers, text and dates") from None
    if isinstance(cells.dtype, pd.CategoricalDtype):
        cells = cells.astype(cells.categories.dtype)
    return codes, pd.Series(cells, name=series.name)


def pieces(series: Any, rows: Array | None = None) -> Iterator[tuple[slice, Any]]:
    """(the place of some cells among all, the cells) of all rows or of these, which must ascend.

    What is made of a piece stays small. Arrow, where pandas keeps text, gives back after each what it would hold for
    later, as much as a small table; who asks for the next piece must have deleted this one.
    """
    arrow = sys.modules.get("pyarrow")
    for begin in range(0, len(series), PIECE):
        piece = series.iloc[begin : begin + PIECE]
        place = slice(begin, begin + len(piece))
        if rows is not None:
            place = slice(*np.searchsorted(rows, (place.start, place.stop)).tolist())
            if place.start == place.stop:
                continue
            if place.stop - place.start < len(piece):
                piece = _take(piece, rows[place] - begin)
        yield place, piece
        del piece
        if arrow is not None:
            arrow.default_memory_pool().release_unused()


def _take(series: Any, rows: Array) -> Any:
    """Rows of a series; of text as categories, whose codes NumPy takes: Arrow needs several times the memory."""
    pd = pandas()
    if not isinstance(series.dtype, pd.StringDtype):
        return series.iloc[rows]
    codes, cells = distinct(series)
    cells = pd.Categorical.from_codes(codes[rows], cells)
    return pd.Series(cells, index=series.index[rows], name=series.name)


def counts(series: Any, rows: Array | None = None) -> Iterator[tuple[Any, Array]]:
    """(the distinct cells of a piece that are not missing, as a series; how often each is there), piece by piece."""
    for _, piece in pieces(series, rows):
        codes, cells = distinct(piece)
        yield cells, np.bincount(codes[codes >= 0], minlength=len(cells))
        del piece, cells


def texts(cells: Any, of_others: Callable[[Any], str] = lambda cell: str(cell).strip()) -> list[str]:
    """The cells of a series as text without blanks around them; `of_others` makes text of what is none."""
    return [cell.strip() if type(cell) is str else of_others(cell) for cell in cells.to_numpy(object).tolist()]


def strange(series: Any) -> str:
    """What the cells hold if they are neither numbers, truth values, dates nor text: "lists"; "" if they are."""
    pd = pandas()
    dtype = series.dtype
    if dtype.kind == "c":
        return "complex numbers"
    if isinstance(dtype, pd.PeriodDtype | pd.IntervalDtype):
        return "periods" if isinstance(dtype, pd.PeriodDtype) else "intervals"
    if isinstance(dtype, pd.SparseDtype | pd.StringDtype | pd.CategoricalDtype) or not is_text(series):
        return ""
    for begin in range(0, len(series), PIECE):
        cells = series.iloc[begin : begin + PIECE].astype(object)
        for found in set(map(type, cells[cells.notna().to_numpy(bool)])):
            if not issubclass(found, (str, UUID, *_NUMBERS, *_TIMES)):
                return {list: "lists", np.ndarray: "lists", complex: "complex numbers"}.get(
                    found, f"cells of the type {found.__name__}"
                )
    return ""


def as_numbers(series: Any, writing: str = "") -> tuple[Array, Array]:
    """(float64 values with NaN for what is missing, infinite or no number; which cells hold something else).

    `writing` is one of `writings.NUMBERS`; it holds for text.
    """
    kind = series.dtype.kind
    if kind == "c":
        raise TableError(f"column {str(series.name)!r} holds complex numbers")
    if kind in "biuf":
        values = series.to_numpy(np.float64, na_value=np.nan)
        if decimals.is_short(series.dtype):
            values = decimals.of(values)
        bad = np.zeros(len(values), bool)
    elif kind == "m":
        values, bad = _counted(series, "timedelta64", 1), np.zeros(len(series), bool)
    elif writing:
        values, bad = _by_distinct(series, lambda texts: _refused(texts, writings.numbers(texts, writing)))
    else:
        cells = _as_str(series)
        values = pandas().to_numeric(cells, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        if pandas().__version__.startswith(("1.", "2.")):  # the last digits of its numbers are lost
            values, good = values.copy(), np.isfinite(values)
            values[good] = cells[good].to_numpy(object).astype(np.float64)
        bad = np.isnan(values) & cells.notna().to_numpy(bool)
        if bad.any():  # words for what is missing are not wrong
            bad[bad] = _by_distinct(cells[bad], lambda texts: _refused(texts, np.full(len(texts), np.nan)))[1]
    if not np.isfinite(values).all():
        values = np.where(np.isfinite(values), values, np.nan)
    return values, bad


def as_booleans(series: Any) -> tuple[Array, Array]:
    """(1, 0 or NaN; which cells hold something else)."""
    if series.dtype.kind in "biuf":
        values, _ = as_numbers(series)
        return values, ~np.isnan(values) & (values != 0) & (values != 1)
    return _by_distinct(
        series, lambda texts: _refused(texts, np.array([_BOOLEANS.get(text.lower(), np.nan) for text in texts]))
    )


def as_days(series: Any, order: str = writings.DATES[0]) -> tuple[Array, Array]:
    """(days since 1970 in UTC, NaN where missing or no such day; which cells hold no date).

    `order` is one of `writings.DATES`; it holds for text.
    """
    if series.dtype.kind == "M":
        if str(series.dtype).startswith(("date32", "date64")):
            series = series.astype("timestamp[s][pyarrow]")
        if getattr(series.dt, "tz", None) is not None:
            series = series.dt.tz_convert("UTC").dt.tz_localize(None)
        return _counted(series, "datetime64", 86_400), np.zeros(len(series), bool)

    def read(texts: list[str]) -> tuple[Array, Array]:
        days, other = writings.dates(texts, order)
        return days, other & ~writings.is_missing(texts)

    return _by_distinct(series, read)


def _counted(series: Any, kind: str, seconds: int) -> Array:
    """Dates since 1970 or durations in units of so many seconds: whole ones first, so that no unit changes the bits."""
    unit = getattr(series.dt, "unit", None) or np.datetime_data(series.to_numpy().dtype)[0]
    times = series.to_numpy(f"{kind}[{unit}]", na_value=np.array("NaT", f"{kind}[{unit}]")[()])
    counts, one = times.astype(np.int64), seconds * _PER_SECOND[unit]
    whole = counts // one
    return np.where(np.isnat(times), np.nan, whole + (counts - whole * one) / one)


def _refused(texts: list[str], values: Array) -> tuple[Array, Array]:
    """(the values; which of the texts are none although they are filled)."""
    bad = np.isnan(values)
    bad[bad] = ~writings.is_missing(text for text, none in zip(texts, bad.tolist(), strict=True) if none)
    return values, bad


def _by_distinct(series: Any, read: Callable[[list[str]], tuple[Array, Array]]) -> tuple[Array, Array]:
    """What `read` makes of the distinct cells, as text without blanks around it, in the place of each cell."""
    codes, cells = distinct(series)
    values, bad = read(texts(cells))
    return np.append(values, np.nan)[codes], np.append(bad, False)[codes]


def infinite(series: Any) -> int:
    """How many cells of a column of numbers are infinite; they count as missing."""
    if series.dtype.kind == "f":
        return int(np.isinf(series.to_numpy(np.float64, na_value=np.nan)).sum())
    if not is_text(series):
        return 0
    long = sum(type(cell) is int and abs(cell) > _LARGEST for cell in series) if series.dtype == object else 0
    return int(series.isin(_INFINITE).sum()) + long


def first(series: Any, bad: Array) -> tuple[str, Any]:
    """(the first such cell as text, its row): for errors."""
    row = int(np.flatnonzero(bad)[0])
    cell = str(series.iloc[row])
    label = series.index[row]
    return repr(cell if len(cell) <= 40 else cell[:37] + "..."), label


def _as_str(series: Any) -> Any:
    return series.astype("string")
