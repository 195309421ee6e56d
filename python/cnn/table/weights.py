"""How much each row counts in training: the weight it was given, times that of its class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cnn._common import checks
from cnn.table import frames, labels
from cnn.table.frames import Array, TableError
from cnn.table.targets import Goal

_LARGEST = float(np.finfo(np.float32).max)
ClassWeight = Literal["balanced"] | Mapping[Any, float] | None


def checked(given: Any) -> None:
    """Raises TypeError or ValueError for what can't be weights of classes."""
    if given is None or (isinstance(given, str) and given == "balanced"):
        return
    if not isinstance(given, Mapping) or not given:
        raise TypeError(f"class_weight must be 'balanced' or a dict of a weight for each class, got {given!r}")
    for label, weight in given.items():
        checks.number(f"the weight of class {label!r}", weight, 0)


def by_class(given: ClassWeight, goal: Goal, codes: Array) -> Array | None:
    """(k,) the weight of each class: the one given, else 1; balanced n / (k n_j), as scikit-learn has it.

    Raises:
        TableError: weights of a class that there is not, of none, or for numbers.
    """
    if given is None:
        return None
    if goal.task == "regression":
        raise TableError(f"class_weight is for classes; {goal.said} is predicted as a number")
    k = len(goal.classes)
    if isinstance(given, str):
        return len(codes) / (k * np.maximum(np.bincount(codes.astype(np.int64), minlength=k), 1))
    weights = np.ones(k)
    for label, weight in given.items():
        (code,) = labels.codes(frames.pandas().Series([label], dtype=object), goal.classes)
        if code < 0:
            known = ", ".join(map(repr, goal.classes[:12])) + (", ..." if k > 12 else "")
            raise TableError(f"class_weight has {label!r}, but the classes of {goal.said} are {known}")
        weights[code] = weight
    if not weights.any():
        raise TableError("class_weight is zero for every class")
    return weights


@dataclass(frozen=True)
class Weights:
    """Where the weights of rows come from: a column of the table, and the weight of each class."""

    column: str | None = None
    by_class: Array | None = None

    def of(self, frame: Any, rows: Array, y: Array, where: str = "data") -> Array | None:
        """(n,) float32 of these rows, whose targets are y; None where all count the same.

        Raises:
            TableError: weights that are negative, missing, infinite or no numbers.
        """
        found = None
        if self.column is not None:
            cells = frames.column(frame, self.column, where).iloc[rows]
            found, bad = frames.as_numbers(cells)
            bad = bad | ~(found >= 0)
            if bad.any():
                cell, row = frames.first(cells, bad)
                raise TableError(f"the weights {self.column!r} must be finite numbers >= 0, got {cell} at row {row}")
        if self.by_class is not None:
            factors = self.by_class[y.astype(np.int64)]
            found = factors if found is None else found * factors
        if found is None:
            return None
        if (large := found > _LARGEST).any():
            at = int(large.argmax())
            row = frame.index[rows[at]]
            raise TableError(
                f"the weight of row {row} is {found[at]:g}; the largest that training takes is {_LARGEST:g}: scale the "
                "weights"
            )
        return found.astype(np.float32)
