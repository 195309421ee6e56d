"""Parquet and Feather: the data as Arrow has it; npz: a column or some from each array."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from cnn.cli.source import Source
from cnn.table import frames
from cnn.table.frames import TableError

PIECE = 1 << 15  # rows


def batches(source: Source) -> Iterator[Any]:
    """The record batches of the file, with its own schema."""
    with _telling(source), source.open_anywhere() as file:
        pa = _pyarrow(source.format)
        if source.format == "parquet":
            from pyarrow import parquet

            whole = parquet.ParquetFile(file)
            schema, found = whole.schema_arrow, whole.iter_batches(PIECE)
        else:
            schema, found = _feather(pa, file)
        frames.check_names(schema.names, source.name)
        none = True
        for batch in found:
            if batch.num_rows:
                none = False
                yield batch.replace_schema_metadata(schema.metadata)
        if none:
            raise TableError(f"{source.name} has columns but no rows")


def _pyarrow(format: str) -> Any:
    try:
        import pyarrow as pa
    except ImportError:
        raise TableError(f"{format} files need pyarrow (extra 'arrow'): pip install pyarrow") from None
    return pa


def _feather(pa: Any, file: BinaryIO) -> tuple[Any, Iterator[Any]]:
    """(schema, batches as they are read); a file of the first version, which has no batches, at once."""
    from pyarrow import feather

    try:
        whole = pa.ipc.open_file(file)
    except pa.ArrowInvalid:
        file.seek(0)
        table = feather.read_table(file)
        return table.schema, iter(table.to_batches(PIECE))
    found = map(whole.get_batch, range(whole.num_record_batches))
    return whole.schema, (batch.slice(first, PIECE) for batch in found for first in range(0, batch.num_rows, PIECE))


def index_names(schema: Any) -> list[str]:
    """The columns that pandas wrote a frame's row index to: they are none of the table's."""
    try:
        written = {name for name in (schema.pandas_metadata or {}).get("index_columns", ()) if isinstance(name, str)}
    except (ValueError, AttributeError, TypeError):  # not as pandas writes it: it says nothing
        written = set()
    return [name for name in schema.names if name in written or frames.is_index(name)]


def arrays(source: Source) -> dict[str, Any]:
    """The columns of an npz file: a vector is a column of its name, a matrix `X` the columns X0, X1, ..."""
    columns: dict[str, Any] = {}
    with _telling(source), source.open_anywhere() as file, np.load(file, allow_pickle=False) as found:
        for name in found.files:
            array = found[name]
            if array.ndim not in (1, 2):
                raise TableError(f"{source.name}: array {name!r} has {array.ndim} dimensions; a table takes 1 or 2")
            new = {name: array} if array.ndim == 1 else {f"{name}{i}": array[:, i] for i in range(array.shape[1])}
            frames.check_names([*columns, *new], source.name)
            columns |= new
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise TableError(f"{source.name}: arrays of different lengths: {lengths}")
    if not lengths or not min(lengths.values()):
        raise TableError(f"{source.name} has no rows")
    return columns


@contextmanager
def _telling(source: Source) -> Iterator[None]:
    """Says of a file that can't be read which one it is: the readers raise what they like."""
    try:
        yield
    except TableError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TableError(f"{source.name} is not a whole {source.format} file: {said}") from None
