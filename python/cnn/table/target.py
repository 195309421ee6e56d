"""The column that is to be predicted: numbers (regression) or classes (classification)."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn._common import checks
from cnn.losses import BinaryCrossEntropy, CrossEntropy, Huber, Loss
from cnn.table import frames, labels, writings
from cnn.table.frames import Array, TableError
from cnn.table.kinds import Kind, kind_of
from cnn.table.labels import Label

TASKS = ("regression", "classification")
_FEW = 10  # so many different whole numbers are classes
_CODE = r"\s*0\d+\s*"  # no number is written with zeros before it
MOST_CLASSES = 1000


@dataclass(frozen=True)
class Target:
    """What the target is: its task and why, its classes, or mean, deviation and range of the numbers that teach.

    With an `offset` networks learn log(y + offset), of which mean and deviation then are; `low` and `high` are of y.
    """

    name: str
    task: str
    reason: str
    classes: tuple[Label, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0
    writing: str = ""  # of numbers as text: one of writings.NUMBERS
    chosen: Loss | None = None  # None: the square of the error, or the log loss
    low: float = -math.inf
    high: float = math.inf
    offset: float | None = None

    @property
    def each(self) -> tuple[Target, ...]:
        """Itself alone; see `targets.Targets`."""
        return (self,)

    @property
    def said(self) -> str:
        """Its name in a sentence."""
        return repr(self.name)

    @property
    def described(self) -> str:
        """What it is in a sentence."""
        return f"the target {self.name!r}"

    def cells(self, frame: Any, where: str = "data") -> Any:
        """Its column."""
        return frames.column(frame, self.name, where)

    @property
    def outputs(self) -> int:
        return 1 if len(self.classes) <= 2 else len(self.classes)

    @property
    def logarithmic(self) -> bool:
        """Whether networks learn logarithms."""
        return self.offset is not None

    @property
    def unit(self) -> float:
        """What outputs of networks are in units of; the smallest there is where these are logarithms."""
        smallest = 1.0 if self.offset is None else self.low + self.offset
        return max(self.deviation * smallest, np.finfo(np.float64).tiny)

    @property
    def loss(self) -> Loss:
        """What networks are trained by, for targets in units of the deviation."""
        if self.task == "classification":
            smoothing = getattr(self.chosen, "label_smoothing", 0.0)
            return BinaryCrossEntropy(smoothing) if self.outputs == 1 else CrossEntropy(smoothing)
        if isinstance(self.chosen, Huber):
            return Huber(self.chosen.delta / self.deviation)
        return self.chosen or Loss("mse")

    def measured(self, mean: float, deviation: float, low: float, high: float) -> Target:
        """With these of its numbers. Losses with a logarithmic link are given multiples of the mean, which keep 0."""
        if self.loss.link == "exp":
            return dataclasses.replace(self, mean=0.0, deviation=mean, low=low, high=high)
        return dataclasses.replace(self, mean=mean, deviation=deviation, low=low, high=high)

    def straight(self, values: Array) -> Array:
        """The numbers, or their logarithms where these are learnt; those below what has taught count as the lowest."""
        return values if self.offset is None else np.log(np.maximum(values, self.low) + self.offset)

    def unbiased(self, y: Array, predicted: Array) -> Target:
        """With predictions that are right on average, where logarithms are learnt and the loss asks for the mean.

        The exponential of a mean logarithm is less than the mean: it is multiplied, offset included, by the mean of
        (y + offset) / (predicted + offset) over rows that were held out (the smearing estimate of Duan 1983).
        """
        if self.offset is None or self.loss.name != "mse":
            return self
        factor = float(((np.maximum(y, self.low) + self.offset) / (predicted + self.offset)).mean())
        return dataclasses.replace(self, mean=self.mean + math.log(factor))

    def because(self, reason: str) -> Target:
        return dataclasses.replace(self, reason=reason)

    @checks.quiet
    def numbers(self, series: Any) -> Array:
        """Cells as the numbers that metrics take: values, or 0 .. k - 1; TableError for what is missing or unknown."""
        if self.task == "regression":
            values, bad = frames.as_numbers(series, self.writing)
            bad = bad | np.isnan(values)
            expected = "finite numbers"
        else:
            values, expected = labels.codes(series, self.classes), f"one of its {len(self.classes)} classes"
            bad = values < 0
        if bad.any():
            cell, row = frames.first(series, bad)
            raise TableError(f"the target {self.name!r} must hold {expected} in every row, got {cell} at row {row}")
        return values

    def trainable(self, series: Any) -> Array:
        """`numbers`, which the loss must be defined for."""
        values, wanted = self.numbers(series), self.loss.facts.targets
        if self.task == "regression" and wanted.wrong is not None and (bad := wanted.wrong(values)).any():
            cell, row = frames.first(series, bad)
            raise TableError(
                f"the target {self.name!r} must be {wanted.expected} for {self.loss.name}, got {cell} at row {row}"
            )
        return values

    @checks.quiet
    def known(self, series: Any) -> Array:
        """The rows whose target is not missing, whatever other rows hold: a word for that is none if it is a class."""
        if self.task == "regression":
            values, bad = frames.as_numbers(series, self.writing)
            return np.flatnonzero(bad | ~np.isnan(values))
        if not frames.is_text(series):
            return known_rows(series)
        codes, cells = frames.distinct(series)
        missing = writings.is_missing(cells) & (labels.codes(cells, self.classes) < 0)
        return np.flatnonzero(~np.append(missing, True)[codes])

    def scaled(self, values: Array) -> Array:
        """What the network is trained on."""
        if self.task == "classification":
            return values
        scaled = self.straight(values) - self.mean
        scaled /= self.deviation
        return scaled.astype(np.float32)

    def predicted(self, outputs: Array) -> Array:
        """Numbers in units of the target, within those that taught, of networks' outputs (float64, overwritten)."""
        outputs *= self.deviation
        outputs += self.mean
        if self.offset is not None:
            np.exp(outputs, out=outputs)
            outputs -= self.offset
        return np.clip(outputs, self.low, self.high, out=outputs)


def reading(series: Any, task: str, decimal: str | None) -> Kind:
    """What the target's column holds; classes are texts, however they are written."""
    found = kind_of(series, decimal)
    return dataclasses.replace(found, writing="") if task == "classification" else found


def known_rows(series: Any, writing: str = "") -> Array:
    """Rows whose target is not missing: of numbers or truth values as text also none of the words for "missing"."""
    known = series.notna().to_numpy(bool)
    if frames.is_text(series):
        codes, cells = frames.distinct(series)
        missing = cells.astype("string").str.strip().isin(["", "nan"]).to_numpy(bool)
        for values, bad in (frames.as_numbers(cells, writing), frames.as_booleans(cells)):
            if not bad.any() and not np.isnan(values).all():
                missing = missing | np.isnan(values)  # infinite numbers too
        known = known & ~np.append(missing, True)[codes]
    elif series.dtype.kind == "f":
        known = known & np.isfinite(series.to_numpy(np.float64, na_value=np.nan))
    return np.flatnonzero(known)


def learn(
    series: Any, rows: Array, task: str, found: Kind | None = None, loss: Loss | None = None, log: bool = False
) -> Target:  # fmt: skip
    """The target of these rows (those with one); "auto" chooses the task by the kind of its cells.

    `log`: of numbers the logarithm is learnt, of y + m where some are 0, m the median of the others.
    """
    name = str(series.name)
    series = series.iloc[rows]
    if not len(rows):
        raise TableError(f"the target {name!r} has no value in any row")
    found = found or kind_of(series)
    if found.kind == "date":
        raise TableError(f"the target {name!r} holds dates; turn them into numbers or classes")
    chosen, reason = (task, "as asked for") if task != "auto" else _choose(series, found)
    if chosen == "regression":
        return _regression(Target(name, chosen, reason, writing=found.writing, chosen=loss), series, log)
    if log:
        raise TableError(f"target_scale='log' is for numbers; {name!r} is predicted as a class")
    return dataclasses.replace(_classification(name, series, reason), chosen=loss)


def _choose(series: Any, found: Kind) -> tuple[str, str]:
    if series.dtype.kind == "m":
        return "regression", "durations"
    if found.kind != "number":
        what = "categories" if hasattr(series.dtype, "categories") else "text"
        return "classification", "true and false" if found.kind == "boolean" else what
    _, cells = frames.distinct(series)
    values, _ = frames.as_numbers(cells, found.writing)
    coded = frames.is_text(series) and bool(cells.astype("string").str.fullmatch(_CODE).any())
    few = min(MOST_CLASSES if coded else _FEW, len(series) / 4)
    if len(cells) <= few and (values == np.floor(values)).all():
        return "classification", f"{len(cells)} different " + ("codes with zeros first" if coded else "whole numbers")
    return "regression", f"numbers, {len(cells):,} different ones"


def _regression(goal: Target, series: Any, log: bool) -> Target:
    values, bad = frames.as_numbers(series, goal.writing)
    if bad.any():
        cell, row = frames.first(series, bad)
        raise TableError(f"the target {goal.name!r} must hold numbers for regression, got {cell} at row {row}")
    if values.min() == values.max():
        raise TableError(f"the target {goal.name!r} is {values[0]:g} in every row: there is nothing to learn")
    if log:
        goal = _logarithmic(goal, values)
    straight = goal.straight(values)
    with np.errstate(over="ignore"):
        mean, deviation = float(straight.mean()), float(straight.std())
    if not (np.isfinite([mean, deviation]).all() and deviation > 0):
        raise TableError(
            f"the target {goal.name!r} has numbers from {values.min():g} to {values.max():g}; scale them first"
        )
    goal.trainable(series)
    return goal.measured(mean, deviation, float(values.min()), float(values.max()))


def _logarithmic(goal: Target, values: Array) -> Target:
    """The target of which logarithms are learnt."""
    if values.min() < 0:
        raise TableError(f"target_scale='log' needs numbers >= 0, and the target {goal.name!r} has {values.min():g}")
    offset = 0.0 if values.min() > 0 else float(np.median(values[values > 0]))
    return dataclasses.replace(goal, low=float(values.min()), offset=offset)


def _classification(name: str, series: Any, reason: str) -> Target:
    if series.dtype.kind == "m":
        raise TableError(f"the target {name!r} holds durations; turn them into classes")
    classes = tuple(labels.distinct(series)[1])
    if len(classes) == 1:
        raise TableError(f"the target {name!r} is {classes[0]!r} in every row: there is nothing to learn")
    if len(classes) > min(MOST_CLASSES, max(2, len(series) / 2)):
        raise TableError(
            f"the target {name!r} has {len(classes):,} different values in {len(series):,} rows: neither numbers nor "
            "classes that could be learnt"
        )
    return Target(name, "classification", reason, classes)
