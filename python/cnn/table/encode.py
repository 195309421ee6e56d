"""A whole table as the inputs of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from cnn._common import checks
from cnn.runtime.compact import Layout, compact
from cnn.runtime.sparse import SparseRows
from cnn.table import blocks, columns, finer, frames
from cnn.table.blocks import Curves
from cnn.table.columns import Boolean, Category, Column, Number
from cnn.table.finer import Finer, Stairs
from cnn.table.frames import Array, TableError
from cnn.table.targets import Names, each_name

_CATEGORIES = 1 << 10  # at most so many of a column get an input of their own
_TOGETHER = 1 << 13  # of all columns together, where columns have more than columns.NARROW
_SMALL = 1 << 26  # bytes of inputs that are never too many, where they are kept dense
_FINER = 1 << 28  # bytes of finer inputs of numbers that are never too many, where they are kept dense
_ROWS_OF_A_SPIKE = 10  # at least, of all columns together: spikes of small tables teach noise
_BINS = 1 << 13  # of all columns together
_EMBEDDED = 64  # columns, at most: of more an embedding would have fewer than 4 numbers


@dataclass(frozen=True)
class _Sheet:
    """Where inputs are written: X has those of each column from `begin` on; in short, codes and stairs are aside."""

    X: Array
    begin: Array
    bins: Array | None = None
    z: Array | None = None
    codes: Array | None = None

    def of(self, i: int, some: slice) -> Array:
        """The inputs of a column in some rows."""
        out: Array = self.X[some, self.begin[i] : self.begin[i + 1]]
        return out

    def stairs(self, place: int, some: slice) -> Stairs | None:
        """The staircase at that place in some rows, if in short."""
        return None if self.bins is None or self.z is None else Stairs(self.bins[some, place], self.z[some, place])


def _count(frame: Any, rows: Array | None) -> int:
    return len(frame) if rows is None else len(rows)


@dataclass(frozen=True)
class Encoder:
    """The columns in use, in the order of the inputs; those left out, and why; the names of all as they stood.

    `embedded`: a staircase is one input, the place on it (`finer.place`), and these inputs come before all others.
    """

    columns: tuple[Column, ...]
    dropped: Mapping[str, str]
    names: tuple[str, ...] = ()
    embedded: bool = False

    @staticmethod
    def learn(
        frame: Any, target: Names, rows: Array, decimal: str | None = None, of: int | None = None,
        more: Finer | None = None, without: str | None = None,
    ) -> Encoder:  # fmt: skip
        """From these rows of a frame; all its columns but the target (or several) and `without`, one not to learn from.

        TableError where nothing can be learnt from.

        The frame may be a sample `of` so many rows. `more` finds the finer inputs of numbers, with the targets of the
        rows; there are fewer in a table that is large.
        """
        there = frames.places(frame).items()
        aside = (*each_name(target), without)
        places = {name: i for name, i in there if name not in aside and not frames.is_index(name)}
        dtypes = frame.dtypes.tolist()
        plain = [name for name, i in places.items() if blocks.is_plain(dtypes[i])]
        memory = int(frame.memory_usage(deep=False).sum())
        if more:
            bytes_, n = (2 * memory, len(frame)) if of is None else (2 * memory * of // len(frame), of)
            dense = max(_FINER, bytes_) // (4 * n * max(len(places), 1))
            leaves = _BINS // max(len(places), 1)
            few = len(rows) // (_ROWS_OF_A_SPIKE * max(len(places), 1))
            more = more.within(min(dense, few), leaves if of is None else min(leaves, dense))
        learnt = columns.learn_plain(frame, plain, np.array([places[name] for name in plain], np.intp), rows, of, more)
        found = {
            name: learnt[name] if name in learnt
            else columns.learn(frame.iloc[:, place], rows, _CATEGORIES, decimal, of, more)
            for name, place in places.items()
        }  # fmt: skip
        dropped = {name: column for name, column in found.items() if isinstance(column, str)}
        kept = [column for column in found.values() if not isinstance(column, str)]
        if not kept:
            why = "; ".join(f"{name!r}: {reason}" for name, reason in list(dropped.items())[:5])
            beside = ", ".join(map(repr, each_name(target)))
            raise TableError(f"no column beside {beside} has anything to learn from" + (f" ({why})" if why else ""))
        # Where they are kept dense, the inputs but the finer ones are to need no more than twice the table's memory.
        room = max(_SMALL, 2 * memory) // (4 * len(frame))
        fewer = _fewer(kept, room, in_files=of is not None)
        stairs = sum(columns.stairs_of(column) > 0 for column in fewer)
        embedded = more is not None and more.embedded and 0 < stairs <= _EMBEDDED
        embedded = embedded and not any(map(columns.is_wide, fewer))  # these are looked up in compact rows
        return Encoder(fewer, dropped, tuple(found), embedded)

    @property
    def inputs(self) -> list[str]:
        """A name for each input of the network."""
        names = [f"{column.name}: {part}" for column in self.columns for part in column.inputs]
        if not self.embedded:
            return names
        stairs = [f"{column.name}: place" for column in self.columns if columns.stairs_of(column)]
        return [*stairs, *(names[i] for i in self._layout[0].plain)]

    @property
    def weight(self) -> int:
        """How many inputs there are for a rule of many: a column of categories has few that are not 0 at a time."""
        if self.embedded:
            return self.n_inputs
        return sum(columns.NARROW if columns.is_wide(column) else len(column.inputs) for column in self.columns)

    @cached_property
    def n_inputs(self) -> int:
        """How many inputs the network has."""
        layout = self._layout[0]
        return len(layout.stairs) + len(layout.plain) if self.embedded else layout.n_inputs

    @cached_property
    def stairs(self) -> list[int]:
        """How many bins each staircase has."""
        return [end - begin for begin, end in self._layout[0].stairs]

    @cached_property
    def places(self) -> dict[str, Array]:
        """Which inputs are those of each column."""
        begin = self._layout[1] + len(self.stairs) if self.embedded else self._begin
        found = {column.name: np.arange(*begin[i : i + 2]) for i, column in enumerate(self.columns)}
        for i, column in enumerate(self.columns):
            if self.embedded and columns.stairs_of(column):
                found[column.name] = np.append(self._stair[i], found[column.name])
        return found

    @checks.quiet
    def encode(self, frame: Any, rows: Array | None = None) -> Array:
        """(n, inputs) float32, of all rows or of these, which must ascend."""
        if self.embedded:
            sheet = self._in_short(frame, rows)
            assert sheet.bins is not None
            assert sheet.z is not None
            return np.hstack([finer.place(sheet.bins, sheet.z), sheet.X])
        sheet = _Sheet(np.empty((_count(frame, rows), self._begin[-1]), np.float32), self._begin)
        self._fill(frame, rows, sheet)
        return sheet.X

    @checks.quiet
    def features(self, frame: Any, rows: Array | None = None) -> Array | SparseRows:
        """The same as networks take them: staircases and many categories in short (compact rows, a number for each)."""
        if not self.in_short:
            return self.encode(frame, rows)
        sheet = self._in_short(frame, rows)
        ones = [column.one for column in self.columns if isinstance(column, Category)]
        return compact(
            self._layout[0], np.float32, plain=sheet.X, bins=sheet.bins, heights=sheet.z, codes=sheet.codes, ones=ones
        )

    def _in_short(self, frame: Any, rows: Array | None) -> _Sheet:
        """The inputs with staircases and codes aside."""
        layout, begin = self._layout
        n, s, c = _count(frame, rows), len(layout.stairs), len(layout.one_hot)
        sheet = _Sheet(
            np.empty((n, begin[-1]), np.float32), begin,
            np.empty((n, s), np.uint8) if s else None, np.empty((n, s), np.float32) if s else None,
            np.empty((n, c), np.int32) if c else None,
        )  # fmt: skip
        self._fill(frame, rows, sheet)
        return sheet

    @cached_property
    def in_short(self) -> bool:
        """Whether `features` are compact rows."""
        return not self.embedded and (bool(self._layout[0].stairs) or any(map(columns.is_wide, self.columns)))

    @cached_property
    def _layout(self) -> tuple[Layout, Array]:
        """(where the inputs of compact rows are, the first one of each column that is neither staircase nor code).

        Of embedded ones: where staircases are, the first one of each column that is none.
        """
        stairs, one_hot, plain, begin, at = list[tuple[int, int]](), list[tuple[int, int]](), list[int](), [0], 0
        for column in self.columns:
            number, end = columns.number_of(column), at + len(column.inputs)
            if number and len(number.edges):
                last = at + len(number.inputs)
                stairs.append((last - len(number.edges) + 1, last))
                plain += range(at, stairs[-1][0])
                at = last
            if isinstance(column, Category) and not self.embedded:
                one_hot.append((at, end))
                at = end
            plain += range(at, end)
            at = end
            begin.append(len(plain))
        return Layout(at, tuple(plain), tuple(stairs), tuple(one_hot)), np.array(begin)

    @cached_property
    def _stair(self) -> list[int]:
        """Which of the staircases a column has, if it has one."""
        numbers = map(columns.number_of, self.columns)
        return (np.cumsum([number is not None and len(number.edges) > 0 for number in numbers]) - 1).tolist()

    @cached_property
    def _code(self) -> list[int]:
        """Which of the columns of categories a column is, if it is one."""
        return (np.cumsum(self._are(Category)) - 1).tolist()

    def _fill(self, frame: Any, rows: Array | None, sheet: _Sheet) -> None:
        there = frames.places(frame)
        if missing := [column.name for column in self.columns if column.name not in there]:
            frames.column(frame, missing[0], "the table")  # raises
        places = np.array([there[column.name] for column in self.columns], np.intp)
        dtypes = frame.dtypes.tolist()
        plain = np.array([blocks.is_plain(dtypes[place]) for place in places])
        text = np.array([blocks.is_text(dtypes[place]) for place in places]) & self._simple
        numbers, booleans = plain & self._are(Number), plain & self._are(Boolean)
        self._write_numbers(frame, places, numbers, rows, sheet)
        self._write_numbers(frame, places, text, rows, sheet, text=True)
        self._write_booleans(frame, places, booleans, rows, sheet)
        for i in np.flatnonzero(~(numbers | text | booleans)).tolist():
            self._write_alone(frame, places, i, rows, sheet)

    def _write_alone(self, frame: Any, places: Array, i: int, rows: Array | None, sheet: _Sheet) -> None:
        """One column; TableError for a cell that can't be."""
        column = self.columns[i]
        for some, cells in frames.pieces(frame.iloc[:, places[i]], rows):
            if isinstance(column, Category) and sheet.codes is not None:
                sheet.codes[some, self._code[i]] = column.codes(cells)
            else:
                column.write(cells, sheet.of(i, some), sheet.stairs(self._stair[i], some))
            del cells

    @checks.quiet
    def infinite(self, frame: Any) -> dict[str, int]:
        """The columns of a frame with infinite numbers, which count as missing, and how many there are."""
        dtypes, there, found = frame.dtypes.tolist(), frames.places(frame), dict[str, int]()
        numbers = {column.name for column in self.columns if isinstance(column, Number)}
        used = [name for name in there if name in self.places or name in self.dropped]
        names = [name for name in used if dtypes[there[name]].kind == "f"]
        for some, cells in blocks.read(frame, np.array([there[name] for name in names], np.intp)):
            found.update(zip(names[some], np.isinf(cells).sum(axis=1).tolist(), strict=True))
        for name in numbers & there.keys() - found.keys():
            found[name] = frames.infinite(frame.iloc[:, there[name]])
        return {name: found[name] for name in there if found.get(name)}

    @cached_property
    def _begin(self) -> Array:
        """The first input of each column, and the number of inputs."""
        return np.cumsum([0, *(len(column.inputs) for column in self.columns)])

    @cached_property
    def _gaps(self) -> Array:
        """Whether a column has an input for "missing"."""
        return np.array([getattr(column, "gaps", False) for column in self.columns])

    @cached_property
    def _finer(self) -> list[bool]:
        """Whether a column is of numbers with finer inputs."""
        return [isinstance(c, Number) and len(c.spikes) + len(c.edges) > 0 for c in self.columns]

    @cached_property
    def _simple(self) -> Array:
        """Whether a column is of numbers that text has as computers write them, without words among them."""
        return np.array([isinstance(c, Number) and not (c.marks or c.writing) for c in self.columns])

    def _are(self, *kinds: type) -> Array:
        return np.array([isinstance(column, kinds) for column in self.columns])

    @cached_property
    def _curves(self) -> tuple[Array, Curves]:
        """(the place of each column among those of numbers, and these as one block)."""
        numbers = [column for column in self.columns if isinstance(column, Number)]
        nodes, heights, center, scale = (
            [getattr(column, part) for column in numbers] for part in ("nodes", "heights", "center", "scale")
        )
        return np.cumsum(self._are(Number)) - 1, Curves.of(nodes, heights, center, scale)

    def _write_numbers(
        self, frame: Any, places: Array, are: Array, rows: Array | None, sheet: _Sheet, text: bool = False
    ) -> None:
        these = np.flatnonzero(are)
        for some, part, cells in blocks.read_pieces(frame, places[these], rows, text):
            which = these[part]
            for i in which[np.isinf(cells).any(axis=1)] if text else ():
                self._write_alone(frame, places, i, rows, sheet)  # raises
            place, curves = self._curves
            cells = blocks.known(cells)
            rank, value, missing = curves.part(place[which]).inputs(cells)
            X, begin, gaps = sheet.X, sheet.begin[which], self._gaps[which]
            X[some, begin], X[some, begin + 1] = rank.T, value.T
            X[some, begin[gaps] + 2] = missing[gaps].T
            for i, x in zip(which.tolist(), cells, strict=True):
                if self._finer[i]:
                    column: Any = self.columns[i]
                    out = sheet.of(i, some)[:, column.coarse :]
                    column.write_finer(x, out, sheet.stairs(self._stair[i], some))

    def _write_booleans(self, frame: Any, places: Array, are: Array, rows: Array | None, sheet: _Sheet) -> None:
        these = np.flatnonzero(are)
        for some, part, cells in blocks.read_pieces(frame, places[these], rows):
            which, cells = these[part], blocks.known(cells)
            missing = np.isnan(cells)
            bad = ~(missing | (cells == 0) | (cells == 1)).all(axis=1)
            for i in which[bad]:
                self._write_alone(frame, places, i, rows, sheet)  # raises
            X, begin, gaps = sheet.X, sheet.begin[which], self._gaps[which]
            X[some, begin] = np.where(missing, 0.0, 2 * cells - 1).T
            X[some, begin[gaps] + 1] = missing[gaps].T


def _fewer(kept: Sequence[Column], room: int, in_files: bool) -> tuple[Column, ...]:
    """The columns with as many categories as all together may have: in few steps of a network, and in memory.

    There is `room` for so many inputs of a row, but the finer ones, where they are dense: always `in_files`.
    """
    most = _CATEGORIES
    while True:
        cut = tuple(column.cut(most) if isinstance(column, Category) else column for column in kept)
        categories = sum(len(column.inputs) for column in cut if isinstance(column, Category))
        wide = any(map(columns.is_wide, cut))
        large = (wide and categories > _TOGETHER) or sum(map(columns.coarse, cut)) > room
        if most == 8 or not large or (wide and not in_files and categories <= _TOGETHER):
            return cut
        most //= 2
