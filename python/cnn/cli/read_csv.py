"""CSV and TSV: the cells are the texts they are."""

from __future__ import annotations

import csv
import io
import math
import warnings
from collections.abc import Collection, Iterator
from typing import IO, Any

import numpy as np

from cnn.cli.source import BAD_ZIP, Source
from cnn.table import frames
from cnn.table.frames import TableError

LONGEST = 1 << 24  # characters of a row: one line of a forged file must not take all memory
# Cells that are empty by another name.
MISSING = ("", "?", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "#N/A", "<NA>")
PIECE = 1 << 15  # rows
_PARSED = 1 << 17
_LARGE = 1 << 24  # characters of a piece
_SEPARATORS = ",;\t|"
_BOMS = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


class _Lines:
    """The lines of a text, each with its end, and how many characters they have had since this was last set to 0."""

    def __init__(self, text: IO[str], name: str) -> None:
        self._text, self._name, self.length = text, name, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(LONGEST + 1)
        if not line:
            raise StopIteration
        self.length += len(line)
        if self.length > LONGEST:
            raise TableError(f"{self._name} has a row of more than {LONGEST:,} characters, the most that are read")
        return line


def pieces(source: Source) -> Iterator[tuple[list[str], list[list[str]]]]:
    """(names of the columns, cells of some rows), piece by piece; a row index may come first, which has no name."""
    encoding = _encoding(source)
    found = _records(source, encoding, _separator(source, encoding))
    _, header = next(found)
    rows: list[list[str]] = []
    size, none = 0, True
    for length, record in found:
        rows.append(record)
        size += length
        if len(rows) == PIECE or size > _LARGE:
            yield header, rows
            rows, size, none = [], 0, False
    if rows:
        yield header, rows
    elif none:
        raise TableError(f"{source.name} has a header but no rows")


def whole(source: Source, texts: Collection[str] | None, names: Collection[str] | None) -> Any:
    """A frame of these columns, of all that have a name if one of these is not there or for None.

    A column is of numbers where each cell is one or missing, those that `frames.as_numbers` reads; else of texts, as
    those in `texts` (all for None).
    """
    encoding = _encoding(source)
    separator = _separator(source, encoding)
    records = _records(source, encoding, separator)
    _, header = next(records)
    if not sum(1 for _ in records):  # where a row has too many cells or too few, it is told here
        raise TableError(f"{source.name} has a header but no rows")
    wanted = [name for name in header if name.strip()]
    if names is not None and set(names) <= set(wanted):
        wanted = [name for name in wanted if name in names]
    how: dict[str, Any] = {
        "sep": separator, "encoding": encoding,
        "names": header, "header": None if source.reading.header is False else 0,
        "index_col": False, "low_memory": False, "keep_default_na": False, "na_values": list(MISSING),
        "chunksize": _PARSED,
    }  # fmt: skip
    pd = frames.pandas()

    def parsed(columns: list[str], texts: Collection[str]) -> list[Any]:
        """In pieces: the parser needs several times the memory of what it gives."""
        with source.open() as file:
            found = pd.read_csv(file, usecols=columns, dtype={name: str for name in columns if name in texts}, **how)
            return list(found)

    parts = parsed(wanted, wanted if texts is None else texts)
    words = [name for name in wanted if not (_numbers(parts, name) or _texts(parts, name))]
    if words:  # among numbers, truth values or infinite numbers: all of it as text
        for part, again in zip(parts, parsed(words, words), strict=True):
            part[words] = again
    return pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]


def _numbers(parts: list[Any], name: str) -> bool:
    return all(part[name].dtype.kind in "iuf" and not np.isinf(part[name].to_numpy()).any() for part in parts)


def _texts(parts: list[Any], name: str) -> bool:
    """Whether all cells were left as the texts they are."""
    return all(
        part[name].dtype.kind == "O"
        and part[name].map(type).isin([str, float]).all()
        and not part[name].isin(MISSING).any()  # pandas leaves them in a column of whole numbers beyond 64 bits
        for part in parts
    )


def _encoding(source: Source) -> str:
    """As given, or by the first bytes."""
    encoding = source.reading.encoding
    try:
        "".encode(encoding or "utf-8")
    except LookupError:
        raise TableError(f"--encoding {encoding!r} is not known; try utf-8, latin-1 or cp1252") from None
    if encoding is not None:
        return encoding
    with source.open() as file:
        begin = file.read(4)
    return next((name for bom, name in _BOMS.items() if begin.startswith(bom)), "utf-8-sig")


def _separator(source: Source, encoding: str) -> str:
    """As given, or the one that makes the most cells of the header, which may go over several lines."""
    if (given := source.reading.separator) is not None:
        return "\t" if given == "\\t" else given
    if source.format == "tsv":
        return "\t"
    cells = dict.fromkeys(_SEPARATORS, 0)
    for separator in _SEPARATORS:
        try:
            with source.open() as file, io.TextIOWrapper(file, encoding=encoding, newline="") as text, _long_cells():
                reader = csv.reader(_Lines(text, source.name), delimiter=separator, strict=True)
                cells[separator] = len(next(filter(None, reader), ()))
        except (csv.Error, UnicodeError, TableError, *BAD_ZIP):
            continue  # it is told where the rows are read
    return max(cells, key=cells.__getitem__)


class _long_cells:
    """Lets a reader take cells as long as a row may be: the limit is one for the whole process."""

    def __enter__(self) -> None:
        self._before = csv.field_size_limit(LONGEST)

    def __exit__(self, *_: object) -> None:
        csv.field_size_limit(self._before)


def _records(source: Source, encoding: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """(characters, cells) of header and rows, each of as many cells; TableError with the line where that is not so."""
    line, reader = 0, csv.reader(())
    width = 0
    try:
        with source.open() as file, io.TextIOWrapper(file, encoding=encoding, newline="") as text, _long_cells():
            lines = _Lines(text, source.name)
            reader = csv.reader(lines, delimiter=separator, strict=True)
            for record in reader:
                line, length, lines.length = reader.line_num, lines.length, 0
                if not record:
                    continue
                if not width:
                    width = len(record)
                    yield 0, _names(source, record, line)
                    if source.reading.header is not False:
                        continue
                elif len(record) != width:
                    what = "the first row" if source.reading.header is False else "the header"
                    raise TableError(f"{source.name}, line {line}: {len(record)} cells, but {what} has {width}")
                yield length, record
    except UnicodeDecodeError as error:
        byte, wanted = f"{error.object[error.start]:#x}", encoding.removesuffix("-sig")
        # The reader has had all lines before the bytes that were to be decoded now.
        line = reader.line_num + len((error.object[: error.start] + b".").splitlines())
        raise TableError(
            f"{source.name}, line {line}: not {wanted} (byte {byte}); give --encoding, such as cp1252 (of Windows)"
        ) from None
    except UnicodeError as error:
        raise TableError(f"{source.name}, after line {line}: not {encoding}: {error}") from None
    except csv.Error as error:
        raise TableError(f"{source.name}, line {line + 1}: {error}") from None
    if not width:
        raise TableError(f"{source.name} is empty")


def _names(source: Source, first: list[str], line: int) -> list[str]:
    """The names of the columns: the first record itself unless the table has no header."""
    if source.reading.header is False:
        return [f"column{i}" for i in range(1, len(first) + 1)]
    if any("\0" in name for name in first):
        raise TableError(f"{source.name}, line {line}: zero bytes; give --encoding, such as utf-16-le")
    if source.reading.header is None:
        _doubt(source.name, first)
    nameless = len(first) > 1 and not first[0].strip()
    if nameless:  # the row index of pandas.DataFrame.to_csv and of R
        warnings.warn(f"{source.name}: the first column has no name and is left out", stacklevel=1)
    frames.check_names(first[nameless:], source.name)
    return first


def _doubt(name: str, first: list[str]) -> None:
    """Says that the first line seems to be a row; refuses it where the numbers in it can't be names."""
    named = [cell for cell in map(str.strip, first) if cell]
    numbers = [cell for cell in named if _is_number(cell)]
    if not numbers or 2 * len(numbers) < len(named):
        return
    if len(numbers) == len(named):
        said = f"{name}: the names of the columns are all numbers, such as {numbers[0]!r}"
    else:
        said = f"{name}: {len(numbers)} of the {len(named)} names of the columns are numbers, such as {numbers[0]!r}"
    said += "; give --no-header if the first line is a row, --header if it has the names"
    whole = all(cell.isdecimal() for cell in numbers)
    if len(numbers) == len(named) and not (whole and len(set(numbers)) == len(numbers)):
        raise TableError(said)
    warnings.warn(said, stacklevel=1)


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell.replace(",", ".")))
    except ValueError:
        return False
