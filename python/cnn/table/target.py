"""The column that is to be predicted: numbers (regression) or classes (classification)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn.table import columns, frames
from cnn.table.frames import Array, TableError

TASKS = ("regression", "classification")
_FEW = 10  # so many different whole numbers are classes
MOST_CLASSES = 1000
Label = str | int | bool


@dataclass(frozen=True)
class Target:
    """What the target is: its task and why, its classes, or mean and deviation of its numbers in the training rows."""

    name: str
    task: str
    reason: str
    classes: tuple[Label, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0

    @property
    def outputs(self) -> int:
        return 1 if len(self.classes) <= 2 else len(self.classes)

    @property
    def loss(self) -> str:
        """What networks are trained by."""
        if self.task == "regression":
            return "mse"
        return "binary_cross_entropy" if self.outputs == 1 else "cross_entropy"

    def because(self, reason: str) -> Target:
        return dataclasses.replace(self, reason=reason)

    def numbers(self, series: Any) -> Array:
        """Cells as the numbers that metrics take: values, or 0 .. k - 1; TableError for what is missing or unknown."""
        if self.task == "regression":
            values, bad = frames.as_numbers(series)
            bad = bad | np.isnan(values)
            expected = "finite numbers"
        else:
            values, expected = self._codes(series), f"one of its {len(self.classes)} classes"
            bad = values < 0
        if bad.any():
            cell, row = frames.first(series, bad)
            raise TableError(f"the target {self.name!r} must hold {expected} in every row, got {cell} at row {row}")
        return values

    def _codes(self, series: Any) -> Array:
        if isinstance(self.classes[0], str):
            codes, labels = frames.labels(series)
            places: dict[Label, int] = {label: i for i, label in enumerate(self.classes)}
            return np.array([*(places.get(label, -1) for label in labels), -1])[codes]
        values, _ = (frames.as_booleans if isinstance(self.classes[0], bool) else frames.as_numbers)(series)
        known = np.array(self.classes, np.float64)  # sorted
        place = np.searchsorted(known, values).clip(0, len(known) - 1)
        return np.where(known[place] == values, place, -1)

    def scaled(self, values: Array) -> Array:
        """What the network is trained on."""
        if self.task == "classification":
            return values
        scaled = values - self.mean
        scaled /= self.deviation
        return scaled.astype(np.float32)

    def labels(self, codes: Array) -> Array:
        """The classes of these numbers."""
        dtype: Any = object if isinstance(self.classes[0], str) else None
        return np.array(self.classes, dtype)[codes]


def known_rows(series: Any) -> Array:
    """Rows whose target is not missing."""
    known = series.notna().to_numpy(bool)
    if frames.is_text(series):
        known = known & ~series.astype("string").str.strip().isin(["", "nan"]).to_numpy(bool)
    elif series.dtype.kind == "f":
        known = known & np.isfinite(series.to_numpy(np.float64, na_value=np.nan))
    return np.flatnonzero(known)


def learn(series: Any, rows: Array, task: str) -> Target:
    """The target of these rows (those with one); "auto" chooses the task by the kind of its cells."""
    name = str(series.name)
    series = series.iloc[rows]
    if not len(rows):
        raise TableError(f"the target {name!r} has no value in any row")
    kind, _ = columns.kind_of(series)
    if kind == "date":
        raise TableError(f"the target {name!r} holds dates; turn them into numbers or classes")
    chosen, reason = (task, "as asked for") if task != "auto" else _choose(series, kind)
    if chosen == "regression":
        return _regression(name, series, kind, reason)
    return _classification(name, series, kind, reason)


def _choose(series: Any, kind: str) -> tuple[str, str]:
    if kind != "number":
        return "classification", {"boolean": "true and false", "category": "text"}[kind]
    values, bad = frames.as_numbers(series)
    distinct = np.unique(values[~bad])
    if len(distinct) <= _FEW and (distinct == np.floor(distinct)).all() and len(distinct) <= len(series) / 4:
        return "classification", f"{len(distinct)} different whole numbers"
    return "regression", f"numbers, {len(distinct):,} different ones"


def _regression(name: str, series: Any, kind: str, reason: str) -> Target:
    values, bad = frames.as_numbers(series)
    if bad.any() or kind == "category":
        cell, row = frames.first(series, bad)
        raise TableError(f"the target {name!r} must hold numbers for regression, got {cell} at row {row}")
    if values.min() == values.max():
        raise TableError(f"the target {name!r} is {values[0]:g} in every row: there is nothing to learn")
    with np.errstate(over="ignore"):
        mean, deviation = float(values.mean()), float(values.std())
    if not (np.isfinite([mean, deviation]).all() and deviation > 0):
        raise TableError(f"the target {name!r} has numbers from {values.min():g} to {values.max():g}; scale them first")
    return Target(name, "regression", reason, mean=mean, deviation=deviation)


def _classification(name: str, series: Any, kind: str, reason: str) -> Target:
    classes: tuple[Label, ...]
    if kind == "boolean":
        values, _ = frames.as_booleans(series)
        classes = tuple(bool(v) for v in np.unique(values))
    else:
        values, bad = frames.as_numbers(series)
        if kind == "number" and not bad.any() and (values == np.floor(values)).all() and np.abs(values).max() < 2**53:
            classes = tuple(int(v) for v in np.unique(values))
        else:
            classes = tuple(sorted(frames.labels(series)[1]))
    if len(classes) == 1:
        raise TableError(f"the target {name!r} is {classes[0]!r} in every row: there is nothing to learn")
    if len(classes) > min(MOST_CLASSES, max(2, len(series) / 2)):
        raise TableError(
            f"the target {name!r} has {len(classes):,} different values in {len(series):,} rows: neither numbers nor "
            "classes that could be learnt"
        )
    return Target(name, "classification", reason, classes)
