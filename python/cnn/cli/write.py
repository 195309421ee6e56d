"""Predictions to files, whole or not at all, after the columns of the table as its file has them."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cnn.cli.shown import safe, visible
from cnn.files.atomic import replacing
from cnn.table.frames import TableError

PICTURES = (".png", ".svg", ".pdf")


def check_place(path: str, option: str) -> None:
    """Refuses, before any work is done, a file that could not be written."""
    if path == "-":
        return
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise TableError(f"{option} {path}: that is a folder; give the name of a file")
    if target.exists() and not target.is_file():
        raise TableError(f"{option} {path}: that is no regular file, and can't be replaced by one")
    folder = Path(path).parent if target == Path(path).absolute() else target.parent
    if not folder.exists():
        raise TableError(f"{option} {path}: there is no folder {folder}")
    _check_parent(folder, path, option)


def check_picture(path: str) -> None:
    """Refuses a name of --picture that no picture has, or all where none can be drawn."""
    if path == "-":
        raise TableError("--picture must be a file")
    if Path(path).suffix.lower() not in PICTURES:
        raise TableError(f"--picture must end in {', '.join(PICTURES)}, got {path!r}")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise TableError("--picture needs matplotlib (extra 'plot'): pip install matplotlib") from None
    check_place(path, "--picture")


def check_folder(path: str, option: str, *names: str) -> None:
    """Refuses a folder, there already or to be made, in which files of these names could not be written."""
    folder = Path(path)
    while not os.path.lexists(folder):
        folder = folder.parent
    _check_parent(folder, path, option)
    for name in names if folder == Path(path) else ():
        check_place(str(folder / name), option)


def _check_parent(folder: Path, path: str, option: str) -> None:
    if not folder.is_dir():
        what = "that is a file" if folder == Path(path) else f"{folder} is a file"
        raise TableError(f"{option} {path}: {what}, not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise TableError(f"{option} {path}: the folder {folder} can't be written to")


class _Rows:
    """A text that gets a row at each call, with the line's end that csv quotes cells for in every version."""

    def __init__(self, text: Any, for_people: bool) -> None:
        self._text, self._for_people = text, for_people

    def write(self, row: str) -> None:
        row = row.removesuffix("\r\n")
        self._text.write(f"{visible(row) if self._for_people else row}\n")


class _Csv:
    """Rows as CSV or TSV; the header with the first of them."""

    def __init__(self, text: Any, separator: str) -> None:
        rows = _Rows(text, text.isatty())
        # Python 3.11 and 3.12 quote a cell with a carriage return only where that ends the lines.
        self._writer = csv.writer(rows, delimiter=separator, lineterminator="\r\n")
        self._text, self._begun = text, False

    def write(self, rows: Any, predicted: Mapping[str, Any]) -> None:
        """`predicted`, after `rows` of a frame of pandas or a batch of Arrow unless they are None."""
        names = [] if rows is None else list(rows.schema.names if hasattr(rows, "schema") else rows.columns)
        columns = [_texts(rows[name]) for name in names] + [_texts(column) for column in predicted.values()]
        if not self._begun:
            self._writer.writerow([safe(str(name)) for name in (*names, *predicted)])
            self._begun = True
        self._writer.writerows(zip(*columns, strict=True))
        self._text.flush()


def _texts(column: Any) -> Iterable[Any]:
    """Cells as csv writes them: text that no spreadsheet runs, and numbers with all their digits, no more."""
    if hasattr(column, "to_pylist"):
        cells = _of_arrow(column)
    else:
        if column.dtype.kind in "mM":
            column = column.astype(object)  # NumPy would give whole numbers
        cells = list(column) if column.dtype == np.float32 else column.tolist()  # float32 has digits of its own
    return [_cell(cell) for cell in cells]


def _of_arrow(column: Any) -> list[Any]:
    import pyarrow as pa

    if pa.types.is_float32(column.type) or pa.types.is_float16(column.type):
        return list(column.to_numpy(zero_copy_only=False))
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError):  # dates that Python has none for
        return list(column.cast(pa.string()).to_pylist())


def _cell(cell: Any) -> Any:
    if isinstance(cell, str):
        return safe(cell)
    if isinstance(cell, (float, np.floating)):
        return "" if cell != cell else cell
    if cell is None or isinstance(cell, (bool, int)):
        return cell
    if isinstance(cell, (list, dict)):
        return safe(json.dumps(cell, default=str, ensure_ascii=False))
    return "" if str(cell) == "NaT" else safe(str(cell))


class _Json:
    """Rows as objects of one array, with the types that JSON has; what is missing is null."""

    def __init__(self, text: Any) -> None:
        self._text, self._begun = text, False

    def write(self, rows: Any, predicted: Mapping[str, Any]) -> None:
        """`predicted`, after `rows` of a frame of pandas or a batch of Arrow unless they are None."""
        names = [] if rows is None else list(rows.schema.names if hasattr(rows, "schema") else rows.columns)
        columns = [_values(rows[name]) for name in names] + [_values(column) for column in predicted.values()]
        keys = [str(name) for name in (*names, *predicted)]
        for cells in zip(*columns, strict=True):
            row = json.dumps(plain(dict(zip(keys, cells, strict=True))), ensure_ascii=False, default=str)
            self._text.write(f"{',' if self._begun else '['}\n{row}")
            self._begun = True

    def close(self) -> None:
        self._text.write("\n]\n" if self._begun else "[]\n")


def _values(column: Any) -> list[Any]:
    return _of_arrow(column) if hasattr(column, "to_pylist") else column.astype(object).tolist()


class _Parquet:
    """Rows as Parquet, with the schema that their file has."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._writer: Any = None

    def write(self, rows: Any, predicted: Mapping[str, Any]) -> None:
        """`predicted`, after `rows` of a frame of pandas or a batch of Arrow unless they are None."""
        import pyarrow as pa
        from pyarrow import parquet

        try:
            batch = _batch(pa, rows, predicted)
            if self._writer is None:
                self._writer = parquet.ParquetWriter(self._file, batch.schema)
            self._writer.write_batch(batch)
        except pa.ArrowException as error:
            raise TableError(f"Parquet can't hold that: {error}") from None

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _batch(pa: Any, rows: Any, predicted: Mapping[str, Any]) -> Any:
    new = {name: pa.array(column) for name, column in predicted.items()}
    if rows is None:
        return pa.RecordBatch.from_pydict(new)
    if not hasattr(rows, "schema"):
        rows = pa.RecordBatch.from_pydict({str(name): _array(pa, rows[name]) for name in rows.columns})
    schema = rows.schema
    for name, column in new.items():
        schema = schema.append(pa.field(name, column.type))
    return pa.RecordBatch.from_arrays([*rows.columns, *new.values()], schema=schema)


def _array(pa: Any, column: Any) -> Any:
    """Of a type that follows from the column's alone, whatever cells a piece has."""
    return pa.array(column.to_numpy(), pa.string() if column.dtype.kind == "O" else None, from_pandas=False)


@contextlib.contextmanager
def table(path: str) -> Iterator[Any]:
    """Something to `write` pieces of a table to; the file is there, whole, when the block ends well."""
    if path == "-":
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(encoding="utf-8")  # as in files, whatever the terminal has
        yield _Csv(sys.stdout, ",")
        return
    name = path.lower()
    suffix = Path(name.removesuffix(".gz")).suffix
    if suffix not in (".csv", ".tsv", ".json", ".parquet"):
        raise TableError(f"results are written as .csv, .tsv, .json (each also .gz) or .parquet, got {path}")
    if suffix == ".parquet":
        if name.endswith(".gz"):
            raise TableError(f"Parquet is compressed in itself: give a name that ends in .parquet, got {path}")
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise TableError("parquet files need pyarrow (extra 'arrow'): pip install pyarrow") from None
    with replacing(path) as file:
        if suffix == ".parquet":
            writer = _Parquet(file)
            yield writer
            writer.close()
            return
        with contextlib.ExitStack() as stack:
            raw: Any = stack.enter_context(gzip.GzipFile(fileobj=file, mode="wb")) if name.endswith(".gz") else file
            text = io.TextIOWrapper(raw, encoding="utf-8", newline="", write_through=True)
            if suffix == ".json":
                objects = _Json(text)
                yield objects
                objects.close()
            else:
                yield _Csv(text, "\t" if suffix == ".tsv" else ",")
            text.detach()


def plain(values: Any) -> Any:
    """NumPy values as JSON takes them; what is not finite becomes None."""
    if isinstance(values, dict):
        return {str(k): plain(v) for k, v in values.items()}
    if isinstance(values, (list, tuple)):
        return [plain(v) for v in values]
    if isinstance(values, np.generic):
        values = values.item()
    return None if isinstance(values, float) and not np.isfinite(values) else values
