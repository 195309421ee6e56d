"""Predictions to files, whole or not at all; no text that we write is a formula to a spreadsheet."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cnn.atomic import replacing
from cnn.table.frames import TableError

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_FORMULA = re.compile(r"^[\s\0]*[=+\-@\t\r]|^[\t\r\n]")


def safe(cell: Any) -> Any:
    """Text with an apostrophe before it where a spreadsheet would run it; numbers as they are.

    >>> safe("=HYPERLINK(A1)"), safe("-5.2"), safe("- none"), safe(3)
    ("'=HYPERLINK(A1)", '-5.2', "'- none", 3)
    """
    if isinstance(cell, str) and _FORMULA.match(cell) and not _NUMBER.fullmatch(cell.strip()):
        return f"'{cell}"
    return cell


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


def check_folder(path: str, option: str, *names: str) -> None:
    """The same for files of these names in a folder, which is there or will be made."""
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


class _Csv:
    """Rows as CSV or TSV; the header with the first of them."""

    def __init__(self, text: Any, separator: str) -> None:
        self._text, self._writer, self._begun = text, csv.writer(text, delimiter=separator, lineterminator="\n"), False

    def write(self, frame: Any) -> None:
        if not self._begun:
            self._writer.writerow([safe(str(name)) for name in frame.columns])
            self._begun = True
        columns = []
        for name in frame.columns:
            values = frame[name].to_numpy(object, na_value=None)
            if frame[name].dtype.kind not in "biuf":
                values = [safe(v if isinstance(v, str) or v is None else str(v)) for v in values]
            columns.append(values)
        self._writer.writerows(zip(*columns, strict=True))
        self._text.flush()


class _Parquet:
    """Rows as Parquet, all of the types that the first piece has."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._writer: Any = None

    def write(self, frame: Any) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        schema = None if self._writer is None else self._writer.schema
        made = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._file, made.schema)
        self._writer.write_table(made)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


@contextlib.contextmanager
def table(path: str) -> Iterator[Any]:
    """Something to `write` pieces of a table to; the file is there, whole, when the block ends well."""
    if path == "-":
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(encoding="utf-8")  # as in files, whatever the terminal has
        yield _Csv(sys.stdout, ",")
        return
    suffix = Path(path.removesuffix(".gz")).suffix.lower()
    if suffix not in (".csv", ".tsv", ".parquet"):
        raise TableError(f"predictions are written as .csv, .tsv (both also .gz) or .parquet, got {path}")
    with replacing(path) as file:
        if suffix == ".parquet":
            try:
                import pyarrow  # noqa: F401
            except ImportError:
                raise TableError("parquet files need pyarrow: pip install 'cnn-core[arrow]'") from None
            writer = _Parquet(file)
            yield writer
            writer.close()
            return
        with contextlib.ExitStack() as stack:
            raw: Any = stack.enter_context(gzip.GzipFile(fileobj=file, mode="wb")) if path.endswith(".gz") else file
            text = io.TextIOWrapper(raw, encoding="utf-8", newline="", write_through=True)
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
