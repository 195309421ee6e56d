"""Tables larger than memory: learnt from a sample, encoded piece by piece to files, from which networks are trained.

The sample is drawn evenly from all rows, at most 131,072 of them (fewer of wide tables, by 128 MB). By the inequality
of Dvoretzky, Kiefer and Wolfowitz the ranks of all quantiles of n sampled rows are wrong by no more than sqrt(7.3 / n)
with a probability of 1 - 1e-6: 0.0075 for n = 131,072. Rows that are the first with something, such as a gap, a word
for "missing" or a class, are among them in any case.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cnn.table import frames, lesson, messages, scale, targets, writings
from cnn.table.encode import Encoder
from cnn.table.frames import Array, TableError
from cnn.table.lesson import Lesson, Rows
from cnn.table.pieces import differing
from cnn.table.settings import Settings
from cnn.table.target import MOST_CLASSES
from cnn.table.targets import Goal, Names, each_name
from cnn.table.weights import Weights, by_class

_SAMPLE, _SAMPLE_BYTES = 1 << 17, 1 << 27
_ROWS = 1 << 12  # of a table, however wide, that are in the sample
_TARGETS = 1 << 20  # that are looked at together


def of_pieces(
    pieces: Iterable[Any], name: Names, settings: Settings, seed: int, validation: Any, weight: str | None = None,
    n_threads: int | None = None,
) -> Lesson:  # fmt: skip
    """What a table in pieces teaches of one column or several; a row is held out by a hash of seed and number.

    The column `weight` has the weights of the rows.
    """
    frame, rows = survey(pieces, name, seed, weight)
    if weight is not None and _weightless(frame, weight).all():
        raise ValueError("sample_weight is zero for every training row")
    settings, said = scale.settled(frame, name, settings, seed, weight, n_threads)
    goal, known = lesson.learn(frame, name, settings)
    if weight is not None:
        known = known[~_weightless(frame, weight)[known]]  # the others are as if they were not there
    lesson.enough(len(known))
    share = settings.valid if validation is None else 0.0
    train = known[~held_out(seed, frame.index.to_numpy()[known], share)]
    if not len(train):
        raise TableError("no row is left to train on; give valid another share")
    more = settings.finer(goal, lesson.numbers(goal, frame, train))
    encoder = Encoder.learn(frame, name, train, settings.decimal, rows, more, weight)
    counted = Weights(weight, by_class(settings.class_weight, goal, lesson.numbers(goal, frame, known)))
    del frame
    found = _encoded(pieces, encoder, goal, counted, rows, seed, share, validation)
    found.notes += said
    return found


def held_out(seed: int, rows: Array, share: float) -> Array:
    """Which of the rows of these numbers are held out: each with that probability, by SplitMix64 of seed and number."""
    x = rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    x ^= x >> np.uint64(31)
    return (x >> np.uint64(11)) * 2.0**-53 < share


# The first pass -------------------------------------------------------------------------------------------------------


def survey(pieces: Iterable[Any], name: Names, seed: int, weight: str | None = None) -> tuple[Any, int]:
    """(a sample of the rows, whose index are their numbers; how many rows there are).

    Each row has a random key; those with the smallest keys are kept. Rows whose `weight` is 0 are drawn by none.
    """
    pd, rng = frames.pandas(), np.random.default_rng((seed, 4))
    parts: list[Any] = []
    keys: list[Array] = []
    first = _First(each_name(name)[0])  # several are numbers
    rows = most = 0
    limit = 2.0
    for piece in numbered(pieces):
        if not rows:
            width = int(piece.memory_usage(deep=True).sum()) / len(piece)
            most = min(max(1 << int(math.log2(_SAMPLE_BYTES / width)), _ROWS), _SAMPLE)
        drawn = rng.random(len(piece))
        if weight is not None:
            drawn[_weightless(piece, weight)] = math.inf
        drawn[first.of(piece)] = -1.0
        some = np.flatnonzero(drawn < limit)
        parts.append(piece.iloc[some])
        keys.append(drawn[some])
        rows += len(piece)
        if sum(map(len, keys)) > 2 * most:
            parts, keys, limit = _smallest(parts, keys, most)
    if not rows:
        raise TableError("the table has no rows")
    parts, _, _ = _smallest(parts, keys, most)
    whole = pd.concat([*parts, *first.classes])
    return whole[~whole.index.duplicated()].sort_index(), rows


def _weightless(piece: Any, weight: str) -> Array:
    """Which rows have the weight 0; what is no weight is found later, with its row."""
    values, bad = frames.as_numbers(frames.column(piece, weight))
    return np.asarray((values == 0) & ~bad)


def numbered(pieces: Iterable[Any]) -> Iterator[Any]:
    """The frames, each with the numbers of its rows as index, and the columns of the first."""
    pd = frames.pandas()
    begin, names = 0, None
    for given in pieces:
        piece = frames.to_pandas(given)
        if names is None:
            names = piece.columns.tolist()
        elif said := differing(names, piece.columns.tolist()):
            raise TableError(f"the columns of the piece from row {begin:,} on {said}: they must be those of the first")
        if len(piece):
            yield piece.set_axis(pd.RangeIndex(begin, begin + len(piece)), axis=0)
        begin += len(piece)


def _smallest(parts: list[Any], keys: list[Array], most: int) -> tuple[list[Any], list[Array], float]:
    """The rows with the `most` smallest keys, those that are first with something in any case; the next key's limit."""
    whole, drawn = frames.pandas().concat(parts), np.concatenate(keys)
    must = int((drawn < 0).sum())
    if len(drawn) <= most + must:
        return [whole], [drawn], 2.0
    some = np.sort(np.argpartition(drawn, most + must)[: most + must])
    return [whole.iloc[some]], [drawn[some]], float(drawn[some].max())


class _First:
    """The rows that are the first with a gap in a column or a word for what is missing.

    `classes` are those that are the first with a value of the target, as long as these may be classes.
    """

    def __init__(self, name: str) -> None:
        self.name, self.classes = name, list[Any]()
        self.seen: dict[str, set[str]] = {}
        self.targets: set[str] = set()

    def of(self, piece: Any) -> Array:
        """Their places in the piece."""
        if len(self.targets) <= MOST_CLASSES:
            new = self._new(frames.column(piece, self.name), self.targets, lambda text: True)
            self.classes = [*self.classes, piece.iloc[new]] if len(self.targets) <= MOST_CLASSES else []
        found: list[int] = []
        for place, label in enumerate(piece.columns):
            series, seen = piece.iloc[:, place], self.seen.setdefault(str(label), set())
            missing = series.isna().to_numpy(bool)
            if "" not in seen and missing.any():
                seen.add("")
                found.append(int(missing.argmax()))
            if frames.is_text(series) and not frames.strange(series):
                found += self._new(series, seen, writings.MISSING.__contains__)
        return np.unique(np.array(found, np.intp))

    @staticmethod
    def _new(series: Any, seen: set[str], wanted: Any) -> list[int]:
        codes, cells = frames.distinct(series)
        found = []
        for code, cell in enumerate(cells):
            text = str(cell).strip().lower()
            if text not in seen and wanted(text):
                seen.add(text)
                found.append(int((codes == code).argmax()))
        return found


# The second pass ------------------------------------------------------------------------------------------------------


def _moments(y: Array, goal: Goal, of: int = 0) -> tuple[float, float, float, float]:
    """Mean and deviation of what is learnt of a target, smallest and largest (Chan, Golub & LeVeque 1983: by parts).

    Where logarithms are learnt, no number is smaller than the smallest of the sample.
    """
    one = goal.each[of]
    n, mean, squares, low, high = 0, 0.0, 0.0, math.inf, -math.inf
    for rows in _parts(y):
        part = rows if rows.ndim == 1 else np.ascontiguousarray(rows[:, of])
        straight = one.straight(part)
        own = float(straight.mean())
        apart, total = own - mean, n + len(part)
        squares += float(((straight - own) ** 2).sum()) + apart**2 * n * len(part) / total
        mean += apart * len(part) / total
        n, low, high = total, min(low, float(part.min())), max(high, float(part.max()))
    return mean, math.sqrt(squares / n), max(low, one.low) if one.logarithmic else low, high


def _parts(y: Array) -> Iterator[Array]:
    """Numbers that lie in a file, some at a time."""
    return (np.asarray(y[begin : begin + _TARGETS]) for begin in range(0, len(y), _TARGETS))


def _encoded(
    pieces: Iterable[Any], encoder: Encoder, goal: Goal, counted: Weights, rows: int, seed: int, share: float,
    validation: Any,
) -> Lesson:  # fmt: skip
    """The lesson whose rows are in files."""
    folder = tempfile.TemporaryDirectory(prefix="cnn-", ignore_cleanup_errors=True)
    try:
        need, free = rows * (4 * (encoder.n_inputs + 3 * len(goal.each) + 1)), shutil.disk_usage(folder.name).free
        if need > free:
            raise TableError(
                f"the encoded rows take {need / 1e9:.1f} GB in {folder.name}, which has {free / 1e9:.1f} GB: let "
                "TMPDIR name a folder on a larger disk"
            )
        return _written(
            Path(folder.name), pieces, encoder, goal, counted, rows, seed, share, validation, folder.cleanup
        )  # fmt: skip
    except BaseException:
        folder.cleanup()
        raise


def _written(
    folder: Path, pieces: Iterable[Any], encoder: Encoder, goal: Goal, counted: Weights, rows: int, seed: int,
    share: float, validation: Any, close: Any,
) -> Lesson:  # fmt: skip
    infinite, left_out, read, held = dict[str, int](), 0, 0, list[Array]()
    names = ("X", "y", "w", "X_valid", "y_valid", "w_valid")
    files: dict[str, BinaryIO] = {name: (folder / name).open("wb") for name in names}
    try:
        for piece in numbered(pieces):
            known = every = goal.known(goal.cells(piece))
            if counted.column is not None:
                known = known[~_weightless(piece, counted.column)[known]]
            read, left_out = read + len(piece), left_out + len(piece) - len(every)
            for name, n in lesson.infinite_cells(encoder, piece, goal).items():
                infinite[name] = infinite.get(name, 0) + n
            apart = held_out(seed, piece.index.to_numpy()[known], share)
            held.append(piece.index.to_numpy()[known[apart]])
            for some, which in ((known[~apart], ""), (known[apart], "_valid")):
                y = goal.trainable(goal.cells(piece).iloc[some])
                if (weights := counted.of(piece, some, y)) is not None:
                    weights.tofile(files[f"w{which}"])
                encoder.encode(piece, some).tofile(files[f"X{which}"])
                y.astype(np.float64 if goal.task == "regression" else np.int32).tofile(files[f"y{which}"])
    finally:
        for file in files.values():
            file.close()
    if read != rows:
        raise TableError(f"the table gives {read:,} rows, but it had {rows:,} when it was read before")
    numbers, said = np.concatenate(held), messages.infinite(infinite)
    X, y = _mapped(folder, "", encoder, goal)
    if goal.task == "regression":
        goal = targets.measured(goal, partial(_moments, y, goal))
    circle = Rows(np.empty(0, np.int64), X, y, _scaled(folder, "", goal, y), _weights(folder, ""))
    if validation is None:
        X, y = _mapped(folder, "_valid", encoder, goal)
        aside = Rows(numbers, X, y, _scaled(folder, "_valid", goal, y), _weights(folder, "_valid"))
    else:
        aside = lesson.given(validation, encoder, goal, counted)
    notes = lesson.noted(goal, encoder, left_out, said)
    return Lesson(encoder, goal, notes, said, len(circle), circle, (0,), aside, True, close)


def _mapped(folder: Path, which: str, encoder: Encoder, goal: Goal) -> tuple[Array, Array]:
    """X and y of a file each."""
    kind = np.float64 if goal.task == "regression" else np.int32
    path = folder / f"y{which}"
    if not path.stat().st_size:
        raise TableError(f"no row is left to {'be held out' if which else 'train on'}; give valid another share")
    y = _of_file(path, kind, goal)
    return np.memmap(folder / f"X{which}", np.float32, "r", shape=(len(y), encoder.n_inputs)), y


def _weights(folder: Path, which: str) -> Array | None:
    path = folder / f"w{which}"
    return np.memmap(path, np.float32, "r") if path.stat().st_size else None


def _scaled(folder: Path, which: str, goal: Goal, y: Array) -> Array:
    """What networks are trained on; y itself where it holds classes."""
    if goal.task != "regression":
        return y
    path = folder / f"scaled{which}"
    with path.open("wb") as file:
        for part in _parts(y):
            goal.scaled(part).tofile(file)
    return _of_file(path, np.float32, goal)


def _of_file(path: Path, kind: Any, goal: Goal) -> Array:
    """(n,) numbers, or (n, k) of several targets."""
    found: Array = np.memmap(path, kind, "r")
    return found if len(goal.each) == 1 else found.reshape(-1, len(goal.each))
