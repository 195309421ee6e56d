"""What a table teaches: the columns in use, the target, and the rows with what each network holds out of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cnn.runtime.compact import scattered
from cnn.runtime.sparse import SparseRows
from cnn.table import frames, messages, targets
from cnn.table.encode import Encoder
from cnn.table.frames import Array, TableError
from cnn.table.settings import Settings
from cnn.table.targets import Goal, Names
from cnn.table.weights import Weights, by_class

FEWEST = 10  # rows with a target
_HALF = 0.5  # of the rows may be held out by any of the networks: the edges of bins are learnt from the rest
_PIECE = 1 << 16  # rows encoded at a time


@dataclass(frozen=True)
class Rows:
    """Rows of a table: their numbers in it, inputs (n, inputs), targets as metrics take them and as networks do.

    `weights` (n,) say how much each counts in training, None: all the same.
    """

    numbers: Array
    X: Array | SparseRows
    y: Array
    scaled: Array
    weights: Array | None = None

    def __len__(self) -> int:
        return len(self.y)

    @property
    def to_score(self) -> tuple[Array | SparseRows, ...]:
        """As `validation_data` of a fit."""
        return (self.X, self.scaled) if self.weights is None else (self.X, self.scaled, self.weights)

    def __getitem__(self, some: slice) -> Rows:
        """Some of them, not copied."""
        weights = None if self.weights is None else self.weights[some]
        return Rows(self.numbers[some], self.X[some], self.y[some], self.scaled[some], weights)


@dataclass
class Lesson:
    """The rows that teach, and those that each of the networks holds out.

    Either all hold out `aside`; or each one a part of `circle`, which has the parts one after another, the rest of the
    `n` rows behind them and then the parts once more: wherever one of them is left out, the others lie in one piece.
    `bounds` are the beginnings of the parts, and the end of the last one. `mapped`: the arrays lie in files, which
    `close` removes.
    """

    encoder: Encoder
    goal: Goal
    notes: tuple[str, ...]
    infinite: str
    n: int
    circle: Rows
    bounds: tuple[int, ...] = (0,)
    aside: Rows | None = None
    mapped: bool = False
    close: Callable[[], None] = field(default=lambda: None)

    @property
    def parts(self) -> int:
        """How many different rows are held out."""
        return 1 if self.aside is not None else len(self.bounds) - 1

    def of_member(self, member: int) -> tuple[Rows, Rows]:
        """(rows to train on, rows held out) of the network with that number."""
        if self.aside is not None:
            return self.circle, self.aside
        part = member % self.parts
        begin, end = self.bounds[part], self.bounds[part + 1]
        return self.circle[end : begin + self.n], self.circle[begin:end]

    @property
    def trained_on(self) -> int:
        """The rows of which a network is trained on, the fewest."""
        return self.n - max(np.diff(self.bounds).tolist(), default=0)

    @property
    def teaching(self) -> Rows:
        """The rows that any network is trained on."""
        return self.of_member(0)[0] if self.parts == 1 else self.circle[: self.n]

    @property
    def held_out(self) -> Array:
        """The numbers of the rows that any network holds out, in their order."""
        return self.held_out_by(self.parts)

    def held_out_by(self, members: int) -> Array:
        """Those that any of so many networks holds out."""
        if self.aside is not None:
            return self.aside.numbers
        return np.sort(self.circle.numbers[: self.bounds[min(members, self.parts)]])


def of_frame(
    frame: Any, name: Names, settings: Settings, seed: int, validation: Any, weight: str | None = None,
    notes: tuple[str, ...] = (),
) -> Lesson:  # fmt: skip
    """All that a frame teaches of one column or several; the rows held out are parts of its own or a table given.

    Columns and the scale of the target are learnt from all rows that teach any of the networks, but what a column's
    inputs owe to the target from the rest alone: or the rows held out would be known to the networks' inputs. The
    column `weight` has the weights of the rows. The `notes` are added to those of the lesson.
    """
    goal, known = learn(frame, name, settings)
    without = len(frame) - len(known)
    if weight is not None and (counts := Weights(weight).of(frame, known, known)) is not None and counts.any():
        known = known[counts > 0]  # the others are as if they were not there
    enough(len(known))
    counted = Weights(weight, by_class(settings.class_weight, goal, numbers(goal, frame, known)))
    members = settings.chosen(goal.task, len(known)).members or 1
    parts = [known] if validation is not None else split(frame, goal, known, settings.valid, members, seed)
    train = known if len(parts) != 2 else parts[1]
    goal = targets.rescaled(goal, frame, train)
    more = settings.finer(goal, numbers(goal, frame, train), np.isin(train, parts[-1]))
    encoder = Encoder.learn(frame, name, train, settings.decimal, more=more, without=weight)
    said = infinite(encoder, frame, goal)
    notes = noted(goal, encoder, without, said) + notes
    aside = None if validation is None else given(validation, encoder, goal, counted)
    circle = _encoded(frame, encoder, goal, parts, counted)
    bounds = tuple(np.cumsum([0, *map(len, parts[:-1])]).tolist())
    return Lesson(encoder, goal, notes, said, len(known), circle, bounds, aside)


def learn(frame: Any, name: Names, settings: Settings) -> tuple[Goal, Array]:
    """(what the column `name` is as a target, or several are, the rows that have one)."""
    return targets.learn(frame, name, settings.aim, settings.decimal, settings.loss, settings.target_scale == "log")


def _encoded(frame: Any, encoder: Encoder, goal: Goal, parts: Sequence[Array], counted: Weights) -> Rows:
    """The rows of the parts one after another; then all parts but the last two once more."""
    rows = np.concatenate([*parts, *parts[:-2]])
    order = np.argsort(rows, kind="stable")
    dense = np.empty((0 if encoder.in_short else len(rows), encoder.n_inputs), np.float32)
    short: list[SparseRows] = []
    for begin in range(0, len(frame), _PIECE):
        some = order[slice(*np.searchsorted(rows, (begin, begin + _PIECE), sorter=order).tolist())]
        wanted, which = np.unique(rows[some] - begin, return_inverse=True)
        made = encoder.features(frame.iloc[begin : begin + _PIECE], wanted)[which]
        if isinstance(made, SparseRows):
            short.append(made)
        else:
            dense[some] = made
    y = numbers(goal, frame, rows)
    X = scattered(short, order) if short else dense
    return Rows(rows, X, y, goal.scaled(y), counted.of(frame, rows, y))


def enough(rows: int) -> None:
    """Refuses a table of very few rows."""
    if rows < FEWEST:
        raise TableError(f"the table has {rows} rows with a target; a fit needs at least {FEWEST}")


def noted(goal: Goal, encoder: Encoder, without_target: int, said: str) -> tuple[str, ...]:
    """What is to be said of a fit, a sentence each."""
    return messages.of_a_fit(goal, encoder, without_target) + ((said,) if said else ())


def infinite(encoder: Encoder, frame: Any, goal: Goal | None = None) -> str:
    """What to say of infinite numbers in the columns, and in the target if its cells are looked at."""
    return messages.infinite(infinite_cells(encoder, frame, goal))


def infinite_cells(encoder: Encoder, frame: Any, goal: Goal | None) -> dict[str, int]:
    """How many there are in each column, and in the target where it is of numbers and given."""
    found = encoder.infinite(frame)
    if goal is not None and goal.task == "regression":
        found |= {one.name: frames.infinite(one.cells(frame)) for one in goal.each}
    return found


def numbers(goal: Goal, frame: Any, rows: Array) -> Array:
    """The targets of these rows as metrics take them."""
    return goal.numbers(goal.cells(frame).iloc[rows])


def given(validation: Any, encoder: Encoder, goal: Goal, counted: Weights) -> Rows:
    """The rows with a target of a table that is held out as a whole; all count the same if it has no weights."""
    frame = frames.to_pandas(validation, "validation")
    rows = goal.known(goal.cells(frame, "validation"))
    if not len(rows):
        raise TableError(f"no row of validation has a value of {goal.described}")
    try:
        X, y = encoder.features(frame, rows), goal.trainable(goal.cells(frame).iloc[rows])
        if counted.column not in frames.places(frame):
            counted = Weights(None, counted.by_class)
        weights = counted.of(frame, rows, y)
    except TableError as error:
        raise TableError(f"validation: {error}") from None
    return Rows(rows, X, y, goal.scaled(y), weights)


def split(frame: Any, goal: Goal, known: Array, share: float, members: int, seed: int) -> list[Array]:
    """Parts of the rows that are held out, one for each network while they last, and the rest; each in order.

    A part is that share of the rows, and of each class; all parts together are half of the rows at most, or one part.
    """
    rng = np.random.default_rng((seed, 2))
    group = np.zeros(len(known), np.int64)
    if goal.task == "classification":
        group = goal.numbers(goal.cells(frame).iloc[known]).astype(np.int64)
    order = rng.permutation(len(known))
    order = order[np.argsort(group[order], kind="stable")]
    # Walking through the rows class by class, each goes to the next part; those behind the last one are the rest.
    part = np.empty(len(known), np.int64)
    part[order] = np.arange(len(known)) % (1 / share)
    n = min(members, max(int(_HALF / share + 1e-9), 1), len(known) - 1)
    held = [known[part == i] for i in range(n)]
    return [*(rows for rows in held if len(rows)), known[part >= n]]
