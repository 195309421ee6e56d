"""Tables that `cnn train` reads in pieces: those that need more memory than is free, and folders of Parquet files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np

from cnn._common import threads
from cnn.cli import read
from cnn.cli.source import Reading, Source, source
from cnn.streams import parquet
from cnn.table import frames
from cnn.table.pieces import ParquetPieces

# Times the bytes of a file that its table takes in memory, with the inputs of the network; of one that is zipped more.
_IN_MEMORY, _ZIPPED = 5, 8
_SHOWN = 5000  # rows held out that a page shows


class Pieces:
    """The frames of a file, as often as they are asked for; `rows` when that was done."""

    def __init__(self, found: Source) -> None:
        self.source, self.name, self.rows = found, found.name, 0

    def __iter__(self) -> Iterator[Any]:
        rows = 0
        for piece in read.pieces(self.source):
            cells = piece.cells()
            rows += len(cells)
            yield cells
        self.rows = rows


@contextmanager
def table(reading: Reading, stream: bool | None) -> Iterator[Source | Pieces | ParquetPieces]:
    """The file, to be read as a whole; or its pieces, if they are wanted, or it needs more memory than is free."""
    if os.path.isdir(reading.path) and reading.format in (None, "parquet") and parquet.has_files(reading.path):
        yield ParquetPieces(reading.path)
        return
    with source(reading) as found:
        yield Pieces(found) if stream or (stream is None and found.format != "npz" and _is_large(found)) else found


def _is_large(found: Source) -> bool:
    """By the size of the file."""
    zipped = _zipped(found)
    if found.format == "parquet" and found.content is None and not zipped:
        need = ParquetPieces(found.reading.path).memory
    else:
        size = os.stat(found.reading.path if found.content is None else found.content.fileno()).st_size
        need = _IN_MEMORY * size * (_ZIPPED if zipped else 1)
    return need > threads.free_memory()


def _zipped(found: Source) -> bool:
    """Whether the bytes are those of a gzip file."""
    with open(found.reading.path if found.content is None else os.dup(found.content.fileno()), "rb") as file:
        file.seek(0)
        return file.read(2) == b"\x1f\x8b"


def first(pieces: Iterable[Any]) -> Any:
    """The first frame."""
    with closing(iter(pieces)) as found:  # type: ignore[type-var]
        return next(found)


def rows_of(pieces: Iterable[Any], numbers: Any) -> Any:
    """The first of the rows of these numbers, which ascend, as a frame."""
    wanted, parts, begin = np.asarray(numbers)[:_SHOWN], [], 0
    for piece in pieces:
        low, high = np.searchsorted(wanted, (begin, begin + len(piece)))
        parts.append(piece.iloc[wanted[low:high] - begin])
        begin += len(piece)
        if high == len(wanted):
            break
    return frames.pandas().concat(parts, ignore_index=True)
