"""A table some rows at a time: frames one after another, as often as they are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cnn._common import threads
from cnn.streams import parquet
from cnn.table import frames
from cnn.table.frames import TableError

PIECE = 1 << 15  # rows
_AS_FRAME = 3  # times the bytes of Arrow's columns that a frame and its inputs take


class Slices:
    """The rows of a frame that is in memory."""

    def __init__(self, frame: Any) -> None:
        self.frame = frame

    def __iter__(self) -> Iterator[Any]:
        return (self.frame.iloc[begin : begin + PIECE] for begin in range(0, len(self.frame), PIECE))


class ParquetPieces:
    """The rows of a Parquet file, or of all files of a folder in the order of their names."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.files, self.name = parquet.files(Path(path)), os.fspath(path)
        self.rows = sum(sum(file.groups) for file in self.files)
        first, *others = self.files
        for file in others:
            if said := differing(_names(first), _names(file)):
                raise TableError(f"the columns of {file.path} {said}: they must be those of {first.path}")

    @property
    def memory(self) -> int:
        """About how many bytes all of it takes as a frame, with its inputs."""
        return _AS_FRAME * sum(file.size for file in self.files)

    def __iter__(self) -> Iterator[Any]:
        for file in self.files:
            opened = file.open()
            try:
                for batch in file.batches(opened, PIECE, _names(file)):
                    if batch.num_rows:
                        yield frames.of_arrow(batch)
            finally:
                opened.close()


def _names(file: parquet.File) -> list[str]:
    """Its columns, without a row index."""
    aside = parquet.index_names(file.schema)
    return [name for name in file.schema.names if name not in aside]


def differing(names: Sequence[Any], others: Sequence[Any]) -> str:
    """How the columns of a piece differ from the first one's; empty if they do not.

    >>> differing(["a", "b"], ["a"]), differing(["a", "b"], ["b", "a"]), differing(["a"], ["a"])
    ("differ in 'b'", 'stand in another order', '')
    """
    if list(names) == list(others):
        return ""
    other = sorted(set(map(str, names)) ^ set(map(str, others)))
    return f"differ in {', '.join(map(repr, other[:5]))}" if other else "stand in another order"


def of(data: Any, stream: bool | None) -> tuple[Any, Iterable[Any] | None]:
    """(the table as a frame, None), or (None, its pieces): of what is larger than memory, or is to be taken for it.

    Raises:
        TableError: pieces that can be read once.
        TypeError: no table.
    """
    if isinstance(data, str | os.PathLike | ParquetPieces):
        found = data if isinstance(data, ParquetPieces) else ParquetPieces(data)
        if stream or (stream is None and found.memory > threads.free_memory()):
            return None, found
        return _joined(found), None
    if frames.is_table(data):
        frame = frames.to_pandas(data)
        return (None, Slices(frame)) if stream else (frame, None)
    if not hasattr(data, "__iter__"):
        return frames.to_pandas(data), None  # raises
    if isinstance(data, Iterator):
        raise TableError(
            "a table in pieces is read several times: give a list, or an object whose iter() begins anew, got a "
            f"{type(data).__name__}"
        )
    return (None, data) if stream or stream is None else (_joined(data), None)


def _joined(pieces: Iterable[Any]) -> Any:
    parts = [frames.to_pandas(piece) for piece in pieces]
    if not parts:
        raise TableError("the table has no rows")
    return frames.pandas().concat(parts, ignore_index=True)
