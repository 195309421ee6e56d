"""Tables from files, as models take them: one reading of each cell, whatever else the file holds."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from cnn.cli import read_arrow, read_csv
from cnn.cli.source import Source
from cnn.table import frames


@dataclass(frozen=True)
class Piece:
    """Some rows of a table."""

    rows: Any  # as the file has them: a record batch of Arrow, or a pandas frame
    aside: tuple[str, ...] = ()  # columns of `rows` that are none of the table's: a row index
    is_text: bool = False  # whether all cells are texts, those that are missing as well

    @property
    def names(self) -> list[str]:
        return list(self.rows.schema.names if hasattr(self.rows, "schema") else self.rows.columns)

    def chosen(self, names: Collection[str] | None) -> list[str]:
        """Which columns `cells` gives."""
        if names is None or not set(names) <= set(self.names):
            return [name for name in self.names if name not in self.aside]
        return [name for name in self.names if name in names]

    def cells(self, names: Collection[str] | None = None) -> Any:
        """A pandas frame for a model: of these columns, or (also if one of them is not there) of all but `aside`.

        Texts of CSV and TSV stay texts, None where missing: what they mean is for the model to say.
        """
        chosen = self.chosen(names)
        if hasattr(self.rows, "schema"):
            return frames.of_arrow(self.rows.select(chosen))
        cells = self.rows[chosen]
        return cells.where(~cells.isin(read_csv.MISSING), None) if self.is_text else cells


def pieces(source: Source) -> Iterator[Piece]:
    """The table some rows at a time."""
    pd = frames.pandas()
    if source.is_text:
        for header, rows in read_csv.pieces(source):
            nameless = () if header[0].strip() else (header[0],)
            yield Piece(pd.DataFrame(rows, columns=header, dtype=object), nameless, True)
    elif source.format == "npz":
        arrays = read_arrow.arrays(source)
        for first in range(0, len(next(iter(arrays.values()))), read_arrow.PIECE):
            part = slice(first, first + read_arrow.PIECE)
            rows = pd.DataFrame({name: array[part] for name, array in arrays.items()})
            yield Piece(rows)
    else:
        for batch in read_arrow.batches(source):
            yield Piece(batch, tuple(read_arrow.index_names(batch.schema)))


def table(source: Source, texts: Collection[str] | None, names: Collection[str] | None = None) -> Any:
    """The whole table as a frame for a model, of these columns or of all but a row index (see `Piece.cells`).

    Columns of CSV and TSV in which each cell is a number or missing become numbers, which take less memory than texts
    and mean the same to a model; not those in `texts`, and none if that is None.
    """
    if source.is_text:
        return read_csv.whole(source, texts, names)
    parts = list(pieces(source))
    if source.format == "npz":
        return frames.pandas().concat([part.cells(names) for part in parts], ignore_index=True)
    return frames.of_arrow(_joined(parts, names))


def _joined(parts: list[Piece], names: Collection[str] | None) -> Any:
    import pyarrow as pa

    whole = pa.Table.from_batches([part.rows for part in parts]).unify_dictionaries()
    return whole.select(parts[0].chosen(names))
