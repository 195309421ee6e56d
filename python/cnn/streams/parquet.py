"""Parquet files and folders of them, row group by row group (needs the extra `arrow`)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cnn._common import checks, elsewhere
from cnn._common.errors import StreamError
from cnn._common.images import Images, Takes
from cnn.runtime.data import Data
from cnn.streams import partitions
from cnn.streams.source import Form, Source, drawn

_SUFFIXES = (".parquet", ".pq")
_BUFFER = 1 << 18  # bytes of a column that are read at a time: a row group need not be in memory as a whole
_FOOTERS = 200_000  # column chunks whose description, some 0.5 kB each, is kept
_TILE = 1 << 11  # rows that stay in cache while their columns are written side by side


@dataclass(frozen=True)
class File:
    """A file as it was found: what tells that another is there now, and the rows of its groups."""

    path: Path
    state: tuple[int, int, int]  # inode, size, time of the last change
    groups: tuple[int, ...]
    size: int  # bytes of its columns, not compressed
    schema: Any = field(compare=False)
    footer: Any = field(default=None, compare=False)  # read already; None in a folder whose footers take much memory
    keys: tuple[tuple[str, Any], ...] = ()  # columns in the names of its folders, which `schema` has, too

    def open(self) -> Any:
        """Raises StreamError where it is no longer what it was."""
        if self.now() != self.state:
            raise StreamError(f"{self.path} has changed since the fit began")
        return _opened(self.path, self.footer)

    def batches(self, opened: Any, rows: int, names: Sequence[str], groups: list[int] | None = None) -> Iterator[Any]:
        """Record batches of up to so many rows with these columns."""
        keys = {name: value for name, value in self.keys if name in names}
        stored = [name for name in names if name not in keys]
        for batch in opened.iter_batches(rows, row_groups=groups, columns=stored):
            yield partitions.with_keys(batch, self.schema, keys) if keys else batch

    def now(self) -> tuple[int, int, int]:
        try:
            return _state(self.path)
        except FileNotFoundError:
            raise StreamError(f"{self.path} is no longer there") from None


@dataclass(frozen=True)
class Unit:
    """Rows begin .. end - 1 of a row group, the first of which is row `before` of its file."""

    file: File
    group: int
    begin: int
    end: int
    before: int


@dataclass(frozen=True)
class Columns:
    """The names of the columns that are X, y (one name for one of them) and weights."""

    X: tuple[str, ...]
    y: str | tuple[str, ...]
    weights: str | None

    @property
    def names(self) -> list[str]:
        targets = (self.y,) if isinstance(self.y, str) else self.y
        return [*self.X, *targets, *(() if self.weights is None else (self.weights,))]


class Parquet(Source):
    """The rows of a file, or of all files of a folder in the order of their names.

    X are all columns but those of the target and the weights; each must hold numbers or truth values, and no gaps.
    """

    def __init__(self, units: Sequence[Unit], columns: Columns, form: Form, takes: Takes = None) -> None:
        self.form, self._units, self._columns = form, units, columns
        self.takes = len(columns.X)
        if isinstance(takes, Images):
            raise ValueError(f"{units[0].file.path} is a table, and the network takes images: give arrays or batches")
        if takes is not None and takes != self.takes:
            known = ", ".join(columns.X[:12]) + (", ..." if len(columns.X) > 12 else "")
            raise ValueError(
                f"{units[0].file.path} has {self.n_inputs} columns beside those of y and sample_weight ({known}), but "
                f"the network takes {takes} inputs"
            )
        self.rows = sum(unit.end - unit.begin for unit in units)

    @staticmethod
    def of(path: str | os.PathLike[str], y: Any, weights: Any, form: Form, takes: Takes) -> Parquet:
        """What fit is given: a path, and the names of the target's column (or columns) and that of the weights."""
        target = y if isinstance(y, str) else tuple(y) if isinstance(y, list | tuple) else None
        if not target or not all(isinstance(name, str) for name in target):
            raise TypeError(f"y must be the name of a column of {os.fspath(path)}, or a list of names, got {y!r}")
        if weights is not None and not isinstance(weights, str):
            raise TypeError(f"sample_weight must be the name of a column of {os.fspath(path)}, got {weights!r}")
        found = files(Path(path))
        columns = _columns(found[0].path, found[0].schema, target, weights)
        for file in found:
            _check(file.path, file.schema, columns)
        units = []
        for file in found:
            before = np.cumsum([0, *file.groups]).tolist()
            units += [Unit(file, i, 0, n, before[i]) for i, n in enumerate(file.groups) if n]
        if not units:
            raise ValueError(f"{os.fspath(path)} has columns but no rows")
        return Parquet(units, columns, form, takes)

    def share(self, begin: int, end: int) -> Parquet:
        """Some of the rows; a row group at an end is read in part."""
        units, at = [], 0
        for unit in self._units:
            n = unit.end - unit.begin
            low, high = max(begin - at, 0), min(end - at, n)
            if low < high:
                units.append(Unit(unit.file, unit.group, unit.begin + low, unit.begin + high, unit.before))
            at += n
        return Parquet(units, self._columns, self.form)

    def first(self) -> Data:
        with closing(self._unit(self._units[0])) as parts:
            return next(parts)

    def description(self) -> str:
        digest = hashlib.sha256()
        for file in dict.fromkeys(unit.file for unit in self._units):
            metadata = file.open().metadata
            groups = [metadata.row_group(i).to_dict() for i in range(metadata.num_row_groups)]
            digest.update(repr((file.path.name, groups, *file.keys)).encode())
        return f"{self.rows} rows of {', '.join(self._columns.names)}: {digest.hexdigest()}"

    def read(self, epoch: int, order: np.random.Generator | None) -> Iterator[Data]:
        for unit in drawn(self._units, order):
            yield from self._unit(unit)

    def _unit(self, unit: Unit) -> Generator[Data]:
        file, name = unit.file.open(), unit.file.path.name
        at = 0
        try:
            for batch in _batches(file, unit, self.piece, self._columns.names):
                low, high = max(unit.begin - at, 0), min(unit.end - at, batch.num_rows)
                if low < high:
                    yield self._rows(batch.slice(low, high - low), f" of {name} from row {unit.before + at + low:,} on")
                at += batch.num_rows
                if at >= unit.end:
                    break
            if at < unit.end:
                raise StreamError(f"{unit.file.path} gives {at} rows of a row group of {unit.end}")
        finally:
            file.close()
        if unit.file.now() != unit.file.state:
            raise StreamError(f"{unit.file.path} has changed since the fit began")

    def _rows(self, batch: Any, place: str) -> Data:
        columns = self._columns
        y = batch.column(columns.y) if isinstance(columns.y, str) else batch.select(list(columns.y))
        weights = None if columns.weights is None else batch.column(columns.weights)
        X = _matrix(batch, columns.X, self.form.dtype)
        if isinstance(X, np.ndarray):
            checks.finite(f"{self.form.prefix}X{place}", X, list(columns.X))
        return self.form.data(X, y, weights, self.takes, place)


def _matrix(batch: Any, names: Sequence[str], dtype: np.dtype[Any]) -> Any:
    """The columns side by side; the batch itself where one has gaps, of which the error is made elsewhere."""
    if any(batch.column(name).null_count for name in names):
        return batch.select(list(names))
    X = np.empty((batch.num_rows, len(names)), dtype)
    columns = [batch.column(name).to_numpy(zero_copy_only=False) for name in names]
    with np.errstate(all="ignore"):  # what overflows is found as an infinity, with its place
        for begin in range(0, len(X), _TILE):
            for j, column in enumerate(columns):
                X[begin : begin + _TILE, j] = column[begin : begin + _TILE]
    return X


def _batches(file: Any, unit: Unit, rows: int, names: list[str]) -> Iterator[Any]:
    """The record batches of a row group; what Arrow says of a broken one names the file."""
    import pyarrow as pa

    try:
        yield from unit.file.batches(file, rows, names, [unit.group])
    except (pa.ArrowException, OSError) as error:
        raise StreamError(f"row group {unit.group} of {unit.file.path} can't be read: {error}") from None


def files(path: Path) -> list[File]:
    """The file, or those of the folder and the folders in it."""
    found: list[File] = []
    for one in _paths(path):
        state = _state(one)
        with _opened(one) as file:
            schema, footer = file.schema_arrow, file.metadata
        groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
        size = sum(group.total_byte_size for group in groups)
        found.append(File(one, state, tuple(group.num_rows for group in groups), size, schema, footer))
    if path.is_dir():
        found = _with_keys(path, found)
    if sum(file.footer.num_row_groups * file.footer.num_columns for file in found) > _FOOTERS:
        found = [replace(file, footer=None) for file in found]
    return found


def _with_keys(path: Path, found: list[File]) -> list[File]:
    """The files of a folder with the columns that the names of folders in it hold; their own ones must say the same."""
    keys = partitions.keys(path, [file.path for file in found])
    if not any(keys):
        return found
    fields, files = partitions.fields(keys), []
    for file, values in zip(found, keys, strict=True):
        new, schema = [name for name in fields if name not in file.schema.names], file.schema
        for name in fields.keys() & values.keys() - set(new):
            if not _holds_only(file.footer, name, values[name]):
                raise ValueError(
                    f"{file.path} has a column {name!r} that holds other values than the one in the names of its "
                    f"folders, {values[name]!r}: rename one of them"
                )
        for name in new:
            if name not in values:
                raise ValueError(
                    f"{file.path} has no column {name!r} in the names of its folders, as other files of {path} have"
                )
            schema = schema.append(fields[name])
        files.append(replace(file, schema=schema, keys=tuple((name, values[name]) for name in new)))
    return files


def _holds_only(footer: Any, name: str, value: Any) -> bool:
    """Whether a column has that value in each row, by the statistics of its row groups."""
    for group in map(footer.row_group, range(footer.num_row_groups)):
        columns = map(group.column, range(group.num_columns))
        found = next(column.statistics for column in columns if column.path_in_schema == name)
        if found is None or (value is None and found.null_count != group.num_rows):
            return False
        if value is not None and (found.null_count or {str(found.min), str(found.max)} != {str(value)}):
            return False
    return True


def has_files(path: str | os.PathLike[str]) -> bool:
    """Whether a folder has Parquet files in it."""
    return bool(_in_folder(Path(path)))


def _in_folder(path: Path) -> list[Path]:
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())
    return [p for p in found if not any(part[0] in "._" for part in p.relative_to(path).parts)]


def _paths(path: Path) -> list[Path]:
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}")
    if not path.is_dir():
        return [path]
    found = _in_folder(path)
    if not found:
        raise FileNotFoundError(f"there is no Parquet file (.parquet or .pq) in {path}")
    return found


def _state(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _opened(path: Path, footer: Any = None) -> Any:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise ImportError("Parquet files need pyarrow (extra 'arrow'): pip install pyarrow") from None
    with suppress(ImportError):  # else Arrow imports it at the first conversion, and drops a Ctrl-C that comes in there
        import pandas  # noqa: F401
    try:
        return parquet.ParquetFile(path, metadata=footer, buffer_size=_BUFFER, pre_buffer=False)
    except ArrowException as error:
        if path.suffix.lower() not in _SUFFIXES and not _begins_as_parquet(path):
            raise StreamError(
                f"{path} is no Parquet file, and of a path fit takes those (files or folders of them). CSV is read by "
                "`cnn train`, or some rows at a time, as batches (X, y) or frames of pandas.read_csv(path, chunksize=n)"
            ) from None
        raise StreamError(f"{path} is not a whole Parquet file: {error}") from None


def _begins_as_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _columns(path: Path, schema: Any, y: str | tuple[str, ...], weights: str | None) -> Columns:
    """Those of the first file."""
    aside = index_names(schema)
    targets = (y,) if isinstance(y, str) else y
    for name in (*targets, *(() if weights is None else (weights,))):
        if name not in schema.names:
            near = elsewhere.nearest(name, schema.names)
            hint = f" (did you mean {near!r}?)" if near else ""
            raise ValueError(f"{path} has no column {name!r}{hint}; it has {', '.join(map(repr, schema.names[:12]))}")
    X = tuple(name for name in schema.names if name not in (*targets, weights) and name not in aside)
    if not X:
        raise ValueError(f"{path} has no columns beside {', '.join(map(repr, targets))}")
    return Columns(X, y, weights)


def index_names(schema: Any) -> set[str]:
    """The columns that pandas wrote a frame's row index to."""
    try:
        written = (schema.pandas_metadata or {}).get("index_columns", ())
        return {name for name in written if isinstance(name, str)}
    except (ValueError, AttributeError, TypeError):  # not as pandas writes it: it says nothing
        return set()


def _check(path: Path, schema: Any, columns: Columns) -> None:
    """Refuses files without one of the columns, and columns that hold no numbers."""
    import pyarrow as pa

    for name in columns.names:
        if (n := schema.names.count(name)) != 1:
            has = f"has no column {name!r}, which the files before it have" if not n else f"has {n} columns {name!r}"
            raise ValueError(f"{path} {has}")
        kind = schema.field(name).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise TypeError(
                f"column {name!r} of {path} holds {kind}, and a network takes numbers: encode it first, or let "
                "cnn.TableModel do it"
            )
