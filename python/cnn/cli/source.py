"""Where a table comes from: a file, a pipe or standard input, perhaps gzipped, and how its bytes are to be read."""

from __future__ import annotations

import bz2
import gzip
import os
import stat
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

from cnn.table import writings
from cnn.table.frames import TableError

FORMATS = ("csv", "tsv", "parquet", "feather", "npz")
_SUFFIXES = {"csv": "csv", "txt": "csv", "data": "csv", "tsv": "tsv", "tab": "tsv", "parquet": "parquet",
             "pq": "parquet", "feather": "feather", "arrow": "feather", "npz": "npz"}  # fmt: skip
# What unzipping raises where the bytes are no gzip file, or not all of one.
BAD_ZIP = (gzip.BadGzipFile, EOFError, zlib.error)


@dataclass(frozen=True)
class Reading:
    """What the command line says of a table; None is found out."""

    path: str
    format: str | None = None
    encoding: str | None = None
    separator: str | None = None
    header: bool | None = None  # whether the first line names the columns
    decimal: str | None = None  # the mark in numbers that are text, for models that have not learnt one

    @property
    def writing(self) -> str:
        """Of numbers that are text: one of `writings.NUMBERS`."""
        return self.decimal or ""

    @property
    def piped(self) -> bool:
        """Whether it can be read once only, and its name tells nothing: standard input, a FIFO, `<(...)`."""
        return self.path == "-" or (os.path.exists(self.path) and not stat.S_ISREG(os.stat(self.path).st_mode))

    def chosen_format(self) -> str:
        """The format, by the suffix of the name unless it is given."""
        if self.format is not None:
            if self.format not in FORMATS:
                raise TableError(f"--format must be one of {', '.join(FORMATS)}, got {self.format!r}")
            return self.format
        name = self.path.lower().removesuffix(".gz").removesuffix(".bz2")
        if (found := _SUFFIXES.get(Path(name).suffix.removeprefix("."))) is not None:
            return found
        if self.piped:
            return "csv"
        raise TableError(f"{self.path}: can't tell the format by its name; give --format {'|'.join(FORMATS)}")


def _unzip(begin: bytes) -> tuple[str, Any]:
    """How a file is compressed by its first three bytes, and what opens it, None if it isn't."""
    if begin == b"BZh":
        return "bzip2", bz2.open
    return "gzip", gzip.open if begin[:2] == b"\x1f\x8b" else None


@dataclass(frozen=True)
class Source:
    """A table's bytes, which can be read again from the beginning: what comes from a pipe is copied to a file."""

    reading: Reading
    format: str
    content: IO[bytes] | None = None

    @property
    def name(self) -> str:
        return "standard input" if self.reading.path == "-" else self.reading.path

    @property
    def is_text(self) -> bool:
        """Whether its cells are text that says nothing of types."""
        return self.format in ("csv", "tsv")

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The bytes from the beginning, unzipped."""
        with open(self.reading.path if self.content is None else os.dup(self.content.fileno()), "rb") as file:
            file.seek(0)
            begin = file.read(3)
            file.seek(0)
            kind, unzip = _unzip(begin)
            if unzip is None:
                yield file
                return
            with unzip(file) as unzipped:
                try:
                    yield unzipped
                except BAD_ZIP as error:
                    raise TableError(f"{self.name} is not a whole {kind} file: {error}") from None
                except OSError as error:  # what bz2 says of bytes that are none of its own
                    if error.errno is not None:
                        raise
                    raise TableError(f"{self.name} is not a whole {kind} file: {error}") from None

    @contextmanager
    def open_anywhere(self) -> Iterator[BinaryIO]:
        """The bytes for a reader that goes to and fro: what is zipped is unzipped to a temporary file first."""
        with self.open() as file:
            if not isinstance(file, gzip.GzipFile | bz2.BZ2File):
                yield file
                return
            with _copy(file) as copy:
                yield copy


@contextmanager
def source(reading: Reading) -> Iterator[Source]:
    """What to read."""
    if os.path.isdir(reading.path):
        raise TableError(f"{reading.path} is a folder; give a file, or cnn train a folder of Parquet files")
    if reading.separator is not None and len(reading.separator) != 1 and reading.separator != "\\t":
        raise TableError(f"--separator must be one character, got {reading.separator!r}")
    if reading.decimal is not None and reading.decimal not in writings.DECIMALS:
        raise TableError(f"--decimal must be . or , got {reading.decimal!r}")
    format = reading.chosen_format()
    if format not in ("csv", "tsv"):
        given = {"--encoding": reading.encoding, "--separator": reading.separator, "--[no-]header": reading.header}
        for option, value in given.items():
            if value is not None:
                raise TableError(f"{option} is for CSV and TSV tables; {reading.path} is read as {format}")
    if not reading.piped:
        yield Source(reading, format)
        return
    if reading.path == "-" and sys.stdin is None:
        raise TableError("standard input is closed")
    with open(reading.path, "rb") if reading.path != "-" else _standard_input() as pipe, _copy(pipe) as copy:
        yield Source(reading, format, copy)


@contextmanager
def _standard_input() -> Iterator[BinaryIO]:
    yield sys.stdin.buffer  # which stays open


@contextmanager
def _copy(file: Any) -> Iterator[BinaryIO]:
    """All that comes, in a temporary file, at its beginning."""
    with tempfile.TemporaryFile() as copy:
        while chunk := file.read(1 << 20):
            copy.write(chunk)
        copy.flush()
        copy.seek(0)
        yield copy
