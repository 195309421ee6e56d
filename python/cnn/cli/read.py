"""Tables from files: CSV, TSV, Parquet, Feather, npz, each perhaps gzipped, or standard input."""

from __future__ import annotations

import csv
import gzip
import io
import os
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

from cnn.table import frames
from cnn.table.frames import TableError

FORMATS = ("csv", "tsv", "parquet", "feather", "npz")
# Cells that are empty by another name.
MISSING = ("", "?", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "#N/A", "<NA>")
PIECE = 1 << 15  # rows
_PARSED = 1 << 17
_SEPARATORS = ",;\t|"
_SUFFIXES = {"csv": "csv", "txt": "csv", "data": "csv", "tsv": "tsv", "tab": "tsv", "parquet": "parquet",
             "pq": "parquet", "feather": "feather", "arrow": "feather", "npz": "npz"}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A file, or "-" for standard input, which is copied to a temporary file: it is read more than once."""

    path: str
    format: str
    encoding: str | None
    separator: str | None
    content: IO[bytes] | None = None

    @property
    def name(self) -> str:
        return "standard input" if self.path == "-" else self.path

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The bytes from the beginning, unzipped."""
        with open(self.path if self.content is None else os.dup(self.content.fileno()), "rb") as file:
            file.seek(0)
            zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not zipped:
                yield file
                return
            with gzip.open(file) as unzipped:
                yield unzipped  # type: ignore[misc]


@contextmanager
def source(
    path: str, format: str | None = None, encoding: str | None = None, separator: str | None = None
) -> Iterator[Source]:
    """What to read, by the suffix of its name unless the format is given."""
    if format is not None and format not in FORMATS:
        raise TableError(f"--format must be one of {', '.join(FORMATS)}, got {format!r}")
    if separator is not None and len(separator) != 1 and separator != "\\t":
        raise TableError(f"--separator must be one character, got {separator!r}")
    separator = "\t" if separator == "\\t" else separator
    if path == "-":
        if sys.stdin is None:
            raise TableError("standard input is closed")
        with tempfile.TemporaryFile() as copy:
            while chunk := sys.stdin.buffer.read(1 << 20):
                copy.write(chunk)
            copy.flush()
            yield Source(path, format or "csv", encoding, separator, copy)
        return
    if os.path.isdir(path):
        raise TableError(f"{path} is a folder, not a table")
    suffix = Path(path.removesuffix(".gz")).suffix.lower().removeprefix(".")
    if format is None and suffix not in _SUFFIXES:
        raise TableError(f"{path}: can't tell the format by its name; give --format {'|'.join(FORMATS)}")
    yield Source(path, format or _SUFFIXES[suffix], encoding, separator)


def table(source: Source) -> Any:
    """The whole table as a data frame, each column of the type its cells have."""
    if source.format not in ("csv", "tsv"):
        pieces = list(_other(source))
        return pieces[0] if len(pieces) == 1 else frames.pandas().concat(pieces, ignore_index=True)
    encoding, separator = _dialect(source)
    rows = sum(1 for _ in _records(source, encoding, separator)) - 1
    if rows < 1:
        raise TableError(f"{source.name} has a header but no rows")
    pd = frames.pandas()
    how: dict[str, Any] = {
        "sep": separator, "encoding": encoding, "index_col": False, "low_memory": False, "keep_default_na": False,
        "na_values": list(MISSING),
    }  # fmt: skip
    with source.open() as file:  # in pieces: the parser needs several times the memory of what it gives
        parts = list(pd.read_csv(file, chunksize=_PARSED, **how))
    if all(_alike(part.dtypes, parts[0].dtypes) for part in parts):
        return pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
    del parts
    with source.open() as file:  # words in one piece of a column, numbers in another: its type is that of the whole
        return pd.read_csv(file, **how)


def _alike(some: Any, others: Any) -> bool:
    """Whether columns of these types make the same column together as they would be read at once."""
    return all(a == b or (a.kind in "if" and b.kind in "if") for a, b in zip(some, others, strict=True))


def pieces(source: Source) -> Iterator[Any]:
    """The table some rows at a time; the cells of CSV and TSV as the text they are, None where missing."""
    if source.format not in ("csv", "tsv"):
        yield from _other(source)
        return
    encoding, separator = _dialect(source)
    records = _records(source, encoding, separator)
    header = next(records)
    rows: list[list[str]] = []
    none = True
    for record in records:
        rows.append(record)
        if len(rows) == PIECE:
            yield _texts(header, rows)
            rows, none = [], False
    if rows:
        yield _texts(header, rows)
    elif none:
        raise TableError(f"{source.name} has a header but no rows")


def _texts(header: list[str], rows: list[list[str]]) -> Any:
    return frames.pandas().DataFrame(rows, columns=header, dtype=object)


def without_missing(frame: Any) -> Any:
    """A frame of texts with None for cells that are empty by any name: what a model takes."""
    return frame.where(~frame.isin(MISSING), None)


def _dialect(source: Source) -> tuple[str, str]:
    """(encoding, separator) by the first bytes and the header."""
    try:
        with source.open() as file:
            begin = file.read(4)
            boms = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32"}
            encoding = source.encoding or boms.get(begin, boms.get(begin[:2], "utf-8-sig"))
            file.seek(0)
            try:
                with io.TextIOWrapper(file, encoding=encoding, newline="") as text:
                    header = text.readline()
            except LookupError:
                raise TableError(f"--encoding {encoding!r} is not known; try utf-8, latin-1 or cp1252") from None
    except UnicodeDecodeError:
        header = ""  # the error is told where it stands
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise TableError(f"{source.name} is not a whole gzip file: {error}") from None
    if source.separator is not None:
        return encoding, source.separator
    if source.format == "tsv":
        return encoding, "\t"
    outside = "".join(part for i, part in enumerate(header.split('"')) if i % 2 == 0)
    return encoding, max(_SEPARATORS, key=outside.count)


def _records(source: Source, encoding: str, separator: str) -> Iterator[list[str]]:
    """Header and rows, each of as many cells; TableError with the line where something is wrong."""
    line, reader = 0, csv.reader(())
    try:
        with source.open() as file, io.TextIOWrapper(file, encoding=encoding, newline="") as text:
            reader = csv.reader(text, delimiter=separator, strict=True)
            header: list[str] = []
            for record in reader:
                line = reader.line_num
                if not record:
                    continue
                if not header:
                    header = record
                    if any("\0" in name for name in header):
                        raise TableError(f"{source.name}, line {line}: zero bytes; give --encoding, such as utf-16-le")
                    frames.check_names(header, source.name)
                elif len(record) != len(header):
                    raise TableError(
                        f"{source.name}, line {line}: {len(record)} cells, but the header has {len(header)}"
                    )
                yield record
    except UnicodeDecodeError as error:
        byte, wanted = f"{error.object[error.start]:#x}", encoding.removesuffix("-sig")
        # The reader has had all lines before the bytes that were to be decoded now.
        line = reader.line_num + len((error.object[: error.start] + b".").splitlines())
        raise TableError(
            f"{source.name}, line {line}: not {wanted} (byte {byte}); give --encoding, such as latin-1"
        ) from None
    except UnicodeError as error:
        raise TableError(f"{source.name}, after line {line}: not {encoding}: {error}") from None
    except csv.Error as error:
        raise TableError(f"{source.name}, line {line + 1}: {error}") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise TableError(f"{source.name} is not a whole gzip file: {error}") from None
    if not header:
        raise TableError(f"{source.name} is empty")


def _other(source: Source) -> Iterator[Any]:
    """Pieces of a Parquet or Feather file, or the one table of an npz file."""
    try:
        with source.open() as file:
            yield from _npz(source, file) if source.format == "npz" else _arrow(source, file)
    except TableError:
        raise
    except Exception as error:  # the readers raise what they like
        if isinstance(error, OSError) and error.filename is not None:
            raise
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TableError(f"{source.name} is not a whole {source.format} file: {said}") from None


def _npz(source: Source, file: BinaryIO) -> Iterator[Any]:
    """A vector is a column of its name, a matrix `X` the columns X0, X1, ..."""
    columns: dict[str, Any] = {}
    with np.load(io.BytesIO(file.read()), allow_pickle=False) as arrays:
        for name in arrays.files:
            array = arrays[name]
            if array.ndim not in (1, 2):
                raise TableError(f"{source.name}: array {name!r} has {array.ndim} dimensions; a table takes 1 or 2")
            columns |= {name: array} if array.ndim == 1 else {f"{name}{i}": array[:, i] for i in range(array.shape[1])}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise TableError(f"{source.name}: arrays of different lengths: {lengths}")
    if not lengths or not min(lengths.values()):
        raise TableError(f"{source.name} has no rows")
    yield frames.pandas().DataFrame(columns)


def _arrow(source: Source, file: BinaryIO) -> Iterator[Any]:
    try:
        import pyarrow as pa
        from pyarrow import feather, parquet
    except ImportError:
        raise TableError(f"{source.format} files need pyarrow: pip install 'cnn-core[arrow]'") from None
    content = file if file.seekable() and not isinstance(file, gzip.GzipFile) else io.BytesIO(file.read())
    if source.format == "parquet":
        whole = parquet.ParquetFile(content)
        names, batches = whole.schema_arrow.names, whole.iter_batches(PIECE)
    else:
        names, batches = _feather(pa, feather, content)
    frames.check_names(names, source.name)
    none = True
    for batch in batches:
        if batch.num_rows:
            none = False
            yield pa.Table.from_batches([batch]).to_pandas(ignore_metadata=True)
    if none:
        raise TableError(f"{source.name} has columns but no rows")


def _feather(pa: Any, feather: Any, content: Any) -> tuple[list[str], Iterator[Any]]:
    """(names, batches as they are read); a file of the first version, which has no batches, at once."""
    try:
        whole = pa.ipc.open_file(content)
    except pa.ArrowInvalid:
        content.seek(0)
        table = feather.read_table(content)
        return table.column_names, iter(table.to_batches(PIECE))
    batches = map(whole.get_batch, range(whole.num_record_batches))
    return whole.schema.names, (
        batch.slice(first, PIECE) for batch in batches for first in range(0, batch.num_rows, PIECE)
    )
