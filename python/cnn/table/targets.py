"""Several columns of numbers that are predicted together, by networks with an output for each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np

from cnn.losses import Huber, Loss
from cnn.table import frames, target
from cnn.table.frames import Array, TableError
from cnn.table.kinds import Kind
from cnn.table.labels import Label
from cnn.table.target import Target

Names: TypeAlias = str | tuple[str, ...]  # of a target, or of several
_CLASSES = "a model each, scikit-learn's MultiOutputClassifier(TableModel(task='classification'))"


@dataclass(frozen=True)
class Targets:
    """Two or more targets of numbers, each in units of its own deviation. Numbers of rows are (n, k).

    A row is known where all of them are: a network is not trained on a part of its outputs.
    """

    each: tuple[Target, ...]
    task: ClassVar[str] = "regression"
    classes: ClassVar[tuple[Label, ...]] = ()

    @property
    def name(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(one.name for one in self.each)

    @property
    def said(self) -> str:
        """Their names in a sentence."""
        *most, last = map(repr, self.name)
        return f"each of {', '.join(most)} and {last}"

    @property
    def described(self) -> str:
        """What they are in a sentence."""
        return self.said.replace("each of", "each of the targets", 1)

    @property
    def outputs(self) -> int:
        return len(self.each)

    @property
    def loss(self) -> Loss:
        """What networks are trained by: the mean over the targets of the loss of each."""
        return self.each[0].loss

    @property
    def chosen(self) -> Loss | None:
        return self.each[0].chosen

    @property
    def logarithmic(self) -> bool:
        return self.each[0].logarithmic

    def cells(self, frame: Any, where: str = "data") -> Any:
        """Their columns as a frame."""
        places = frames.places(frame)
        for one in self.each:
            one.cells(frame, where)  # raises
        return frame.iloc[:, [places[name] for name in self.name]]

    def known(self, cells: Any) -> Array:
        """The rows in which no target is missing."""
        return known_rows([one.known(cells.iloc[:, i]) for i, one in enumerate(self.each)])

    def numbers(self, cells: Any) -> Array:
        """(n, k) see `Target.numbers`."""
        return self._of_cells(cells, Target.numbers)

    def trainable(self, cells: Any) -> Array:
        """(n, k) see `Target.trainable`."""
        return self._of_cells(cells, Target.trainable)

    def _of_cells(self, cells: Any, read: Callable[[Target, Any], Array]) -> Array:
        return np.column_stack([read(one, cells.iloc[:, i]) for i, one in enumerate(self.each)])

    def scaled(self, values: Array) -> Array:
        """(n, k) what networks are trained on."""
        return np.column_stack([one.scaled(values[:, i]) for i, one in enumerate(self.each)])

    def predicted(self, outputs: Array) -> Array:
        """Numbers in units of the targets, of networks' outputs (n, k) (float64, overwritten)."""
        for i, one in enumerate(self.each):
            outputs[:, i] = one.predicted(outputs[:, i])
        return outputs

    def unbiased(self, y: Array, predicted: Array) -> Targets:
        """See `Target.unbiased`."""
        found = (one.unbiased(y[:, i], predicted[:, i]) for i, one in enumerate(self.each))
        return dataclasses.replace(self, each=tuple(found))


Goal: TypeAlias = Target | Targets


def each_name(names: Names) -> tuple[str, ...]:
    """The one name, or all of them."""
    return (names,) if isinstance(names, str) else names


def asked(target: Any) -> Names | None:
    """The name, or a tuple of several; TypeError or ValueError for what are no names."""
    if target is None or (isinstance(target, str) and target):
        return target
    if not isinstance(target, list | tuple) or not target or not all(isinstance(n, str) and n for n in target):
        raise TypeError(f"target must be the name of a column, or a list of such names, got {target!r}")
    if len(set(target)) < len(target):
        raise ValueError(f"target names a column twice: {target!r}")
    return tuple(target) if len(target) > 1 else target[0]


def known_rows(parts: Sequence[Array]) -> Array:
    """The rows that are in each of the parts."""
    found = parts[0]
    for part in parts[1:]:
        found = np.intersect1d(found, part, assume_unique=True)
    return found


def learn(
    frame: Any, names: Names, task: str, decimal: str | None, loss: Loss | None, log: bool = False
) -> tuple[Goal, Array]:
    """(what the columns of these names are as targets, the rows that have all of them).

    Raises:
        TableError: a column that there is not, that can't be a target, or of classes among several.
    """
    columns = [frames.column(frame, name) for name in each_name(names)]
    if len(columns) > 1:
        refuse_classes(task)
    found = [target.reading(cells, task, decimal) for cells in columns]
    known = known_rows([target.known_rows(cells, kind.writing) for cells, kind in zip(columns, found, strict=True)])
    if not len(known) and len(columns) > 1:
        raise TableError(f"no row has a value of each of the targets {', '.join(map(repr, names))}")
    goals = [target.learn(cells, known, task, kind, loss, log) for cells, kind in zip(columns, found, strict=True)]
    return _together(goals, found), known


def _together(goals: list[Target], found: list[Kind]) -> Goal:
    if len(goals) == 1:
        return goals[0]
    for goal, kind in zip(goals, found, strict=True):
        if goal.task == "classification":
            hint = "task='regression' predicts its numbers, and " if kind.kind in ("number", "boolean") else ""
            raise TableError(
                f"several targets are predicted as numbers, and {goal.name!r} is of classes ({goal.reason}): {hint}"
                f"classes take {_CLASSES}"
            )
    if isinstance(goals[0].chosen, Huber):
        raise TableError(
            "cnn.Huber(delta) is in units of the target, and several targets have one each: take loss='huber', in "
            "units of each target's deviation, or a model each, scikit-learn's MultiOutputRegressor"
        )
    return Targets(tuple(goals))


def refuse_classes(task: str) -> None:
    """ValueError where several targets are to be classes."""
    if task == "classification":
        raise ValueError(f"several targets are predicted as numbers; classes take {_CLASSES}")


def rescaled(goal: Goal, frame: Any, rows: Array) -> Goal:
    """With mean, deviation and range of these rows alone."""
    if goal.task != "regression":
        return goal

    def again(one: Target) -> Target:
        kind = Kind("number", writing=one.writing)
        return target.learn(one.cells(frame), rows, "regression", kind, one.chosen, one.logarithmic).because(one.reason)

    found = tuple(map(again, goal.each))
    return found[0] if isinstance(goal, Target) else Targets(found)


def measured(goal: Goal, moments: Callable[[int], tuple[float, float, float, float]]) -> Goal:
    """With these of the numbers of each target: mean, deviation, smallest and largest."""
    found = tuple(one.measured(*moments(i)) for i, one in enumerate(goal.each))
    return found[0] if isinstance(goal, Target) else dataclasses.replace(goal, each=found)
