"""What a table teaches: the columns in use, the target, and the inputs and targets of the rows, some held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cnn.table import frames, messages, target
from cnn.table.encode import Encoder
from cnn.table.frames import Array, TableError
from cnn.table.kinds import Kind
from cnn.table.settings import Settings
from cnn.table.target import Target

_FEWEST = 10  # rows with a target


@dataclass
class Lesson:
    """Inputs X (n, inputs) and targets y (n,) of the rows to train on, those of the rows held out and their numbers.

    `scaled` and `scaled_valid` are the targets that networks are trained on. `mapped`: the arrays lie in files, which
    `close` removes.
    """

    encoder: Encoder
    goal: Target
    notes: tuple[str, ...]
    infinite: str
    X: Array
    y: Array
    X_valid: Array
    y_valid: Array
    held_out: Array
    scaled: Array
    scaled_valid: Array
    mapped: bool = False
    close: Callable[[], None] = field(default=lambda: None)


def of_frame(frame: Any, name: str, settings: Settings, seed: int, validation: Any) -> Lesson:
    """All that a frame teaches of its column `name`; the rows held out are a share of its own or a table given."""
    cells = frames.column(frame, name)
    found = target.reading(cells, settings.task, settings.decimal)
    known = target.known_rows(cells, found.writing)
    goal = target.learn(cells, known, settings.task, found)
    del cells
    enough(len(known))
    train, held_out = _split(frame, goal, known, settings.valid, seed) if validation is None else (known, known[:0])
    encoder = Encoder.learn(frame, name, train, settings.decimal)
    goal = _scaled_target(goal, frame, train)
    said = infinite(encoder, frame, goal)
    notes = noted(goal, encoder, len(frame) - len(known), said)
    if validation is None:
        X_valid, y_valid = encoder.encode(frame, held_out), numbers(goal, frame, held_out)
    else:
        held_out, X_valid, y_valid = given(validation, encoder, goal)
    y = numbers(goal, frame, train)
    X = encoder.encode(frame, train)
    return Lesson(
        encoder, goal, notes, said, X, y, X_valid, y_valid, held_out, goal.scaled(y), goal.scaled(y_valid)
    )  # fmt: skip


def enough(rows: int) -> None:
    """Refuses a table of very few rows."""
    if rows < _FEWEST:
        raise TableError(f"the table has {rows} rows with a target; a fit needs at least {_FEWEST}")


def noted(goal: Target, encoder: Encoder, without_target: int, said: str) -> tuple[str, ...]:
    """What is to be said of a fit, a sentence each."""
    return messages.of_a_fit(goal, encoder, without_target) + ((said,) if said else ())


def infinite(encoder: Encoder, frame: Any, goal: Target | None = None) -> str:
    """What to say of infinite numbers in the columns, and in the target if its cells are looked at."""
    return messages.infinite(infinite_cells(encoder, frame, goal))


def infinite_cells(encoder: Encoder, frame: Any, goal: Target | None) -> dict[str, int]:
    """How many there are in each column, and in the target where it is of numbers and given."""
    found = encoder.infinite(frame)
    if goal is not None and goal.task == "regression":
        found |= {goal.name: frames.infinite(frames.column(frame, goal.name))}
    return found


def numbers(goal: Target, frame: Any, rows: Array) -> Array:
    """The targets of these rows as metrics take them."""
    return goal.numbers(frames.column(frame, goal.name).iloc[rows])


def given(validation: Any, encoder: Encoder, goal: Target) -> tuple[Array, Array, Array]:
    """(rows with a target, their inputs, their targets) of a table that is held out as a whole."""
    frame = frames.to_pandas(validation, "validation")
    rows = goal.known(frames.column(frame, goal.name, "validation"))
    if not len(rows):
        raise TableError(f"no row of validation has a value of the target {goal.name!r}")
    try:
        return rows, encoder.encode(frame, rows), numbers(goal, frame, rows)
    except TableError as error:
        raise TableError(f"validation: {error}") from None


def _split(frame: Any, goal: Target, known: Array, share: float, seed: int) -> tuple[Array, Array]:
    """(rows to train on, rows held out), both in the order of the table; each class gives its share."""
    rng = np.random.default_rng((seed, 2))
    group = np.zeros(len(known), np.int64)
    if goal.task == "classification":
        group = goal.numbers(frames.column(frame, goal.name).iloc[known]).astype(np.int64)
    order = rng.permutation(len(known))
    order = order[np.argsort(group[order], kind="stable")]
    # Wherever the share's count steps up, walking through the rows class by class.
    steps = np.floor(np.arange(len(known) + 1) * share + 0.5 * (1 - share))
    held = np.diff(steps) > 0
    if not held.any() or held.all():
        held[0] = not held[0]
    return np.sort(known[order[~held]]), np.sort(known[order[held]])


def _scaled_target(goal: Target, frame: Any, train: Array) -> Target:
    """Mean and deviation of the training rows alone."""
    if goal.task != "regression":
        return goal
    found = Kind("number", writing=goal.writing)
    return target.learn(frames.column(frame, goal.name), train, "regression", found).because(goal.reason)
