"""How a table model trains: what the user may set, and what follows from the task and the number of rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from cnn import activations, losses
from cnn._common import checks
from cnn.activations import ActivationName
from cnn.losses import Loss
from cnn.table import finer, weights, writings
from cnn.table.finer import Finer
from cnn.table.frames import Array
from cnn.table.target import TASKS
from cnn.table.targets import Goal

Numbers: TypeAlias = Literal["auto", "plain", "spikes", "bins", "both", "embedding", "spikes+embedding"]
TargetScale: TypeAlias = Literal["auto", "linear", "log"]
Effort: TypeAlias = Literal["fast", "default", "best"]


@dataclass(frozen=True)
class Recipe:
    """What is chosen for a task: layers of small tables and of others; epochs of 15,000 rows; rows that are many."""

    small: tuple[int, ...]
    hidden: tuple[int, ...]
    dropout: float
    learning_rate: float
    weight_decay: float
    epochs: int
    many: int


@dataclass(frozen=True)
class Budget:
    """What an effort is: networks for small tables, up to many rows and for more; factors of epochs and widths."""

    small: int
    members: int
    large: int
    epochs: float
    width: float


RECIPES = {
    "regression": Recipe((128, 128), (128, 128, 128), 0.25, 0.03, 0.003, 48, 25_000),
    "classification": Recipe((128, 128), (128, 128), 0.3, 0.04, 0.1, 22, 50_000),
}
EMBEDDED = {
    "regression": dataclasses.replace(RECIPES["regression"], dropout=0.2, learning_rate=0.08),
    "classification": dataclasses.replace(RECIPES["classification"], learning_rate=0.08),
}
BUDGETS: dict[str, Budget] = {
    "fast": Budget(4, 2, 1, 0.5, 1.0),
    "default": Budget(10, 4, 2, 1.0, 1.0),
    "best": Budget(20, 12, 4, 1.5, 1.5),
}
_SMALL, _HUGE = 2_000, 200_000  # rows; beyond the last there is one network

_LOGARITHMIC = ("mse", "mae", "quantile")  # losses that may be those of a logarithm
SCALES = ("auto", "linear", "log")
# (spikes, bins, whether these are embedded) that a number becomes beside rank and value.
_FINER = {
    "plain": (False, False, False), "spikes": (True, False, False), "bins": (False, True, False),
    "both": (True, True, False), "embedding": (False, True, True), "spikes+embedding": (True, True, True),
}  # fmt: skip
_AUTO = {"regression": "embedding", "classification": "spikes+embedding"}


@dataclass(frozen=True)
class Settings:
    """The arguments of `TableModel`; None is chosen by the task, the number of rows and the effort."""

    task: Literal["auto", "regression", "classification"] = "auto"
    hidden: tuple[int, ...] | None = None
    activation: ActivationName = "mish"
    dropout: float | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    batch_size: int | None = None
    epochs: int | None = None
    patience: int | None = None
    valid: float = 0.1
    members: int | None = None
    decimal: str | None = None
    numbers: Numbers = "auto"
    target_scale: TargetScale = "auto"
    loss: Loss | None = None
    class_weight: weights.ClassWeight = None
    effort: Effort = "default"
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.task not in ("auto", *TASKS):
            raise ValueError(f"task must be 'auto', 'regression' or 'classification', got {self.task!r}")
        if self.hidden is not None:
            if isinstance(self.hidden, (str, int)) or not isinstance(self.hidden, Sequence):
                raise TypeError(f"hidden must be a list of widths such as (128, 64), got {self.hidden!r}")
            hidden = tuple(checks.integer("a width of hidden", units, 1, 1 << 16) for units in self.hidden)
            object.__setattr__(self, "hidden", hidden)
        activations.get(self.activation)
        if self.dropout is not None:
            checks.number("dropout", self.dropout, 0, 1, open_high=True)
        if self.learning_rate is not None:
            checks.number("learning_rate", self.learning_rate, 0, open_low=True)
        if self.weight_decay is not None:
            checks.number("weight_decay", self.weight_decay, 0)
        for name in ("batch_size", "epochs", "members", "patience"):
            if (value := getattr(self, name)) is not None:
                checks.integer(name, value, 1)
        if self.decimal not in (None, *writings.DECIMALS):
            raise ValueError(f"decimal must be '.' or ',' or None, got {self.decimal!r}")
        if self.numbers not in ("auto", *_FINER):
            raise ValueError(
                "numbers must be 'auto', 'plain', 'spikes', 'bins', 'both', 'embedding' or 'spikes+embedding', got "
                f"{self.numbers!r}"
            )
        if self.target_scale not in SCALES:
            raise ValueError(f"target_scale must be 'auto', 'linear' or 'log', got {self.target_scale!r}")
        checks.number("valid", self.valid, 0, 1, open_low=True, open_high=True)
        if self.loss is not None:
            object.__setattr__(self, "loss", self._checked_loss(losses.get(self.loss)))
        if self.target_scale == "log":
            self._check_log()
        weights.checked(self.class_weight)
        if self.class_weight is not None and self.aim == "regression":
            raise ValueError("class_weight is for classes, and task or loss is one for numbers")
        if self.effort not in BUDGETS:
            raise ValueError(f"effort must be 'fast', 'default' or 'best', got {self.effort!r}")
        if self.max_seconds is not None:
            checks.number("max_seconds", self.max_seconds, 0, open_low=True)

    def _checked_loss(self, loss: Loss) -> Loss:
        if loss.margins or loss.facts.outputs > 1 or isinstance(loss, losses.RowLoss):
            what = "margins, no probabilities" if loss.margins else "more than a number for each target"
            raise ValueError(f"a TableModel can't be trained by loss {loss.name!r}, whose outputs are {what}")
        if self.task != "auto" and loss.for_classes != (self.task == "classification"):
            kind = "classes" if loss.for_classes else "numbers"
            raise ValueError(f"loss {loss.name!r} is one for {kind}, and task is {self.task!r}")
        return loss

    def _check_log(self) -> None:
        if self.aim == "classification":
            raise ValueError("target_scale='log' is for numbers, and task or loss is one for classes")
        if self.loss is not None and self.loss.name not in _LOGARITHMIC:
            what = "has a logarithmic link itself" if self.loss.link == "exp" else "is in units of the target"
            raise ValueError(f"target_scale='log' is not for loss {self.loss.name!r}, which {what}")

    @property
    def aim(self) -> Literal["auto", "regression", "classification"]:
        """The task, as far as it is known before the fit: the one given, or that of the loss."""
        if self.task != "auto" or self.loss is None:
            return self.task
        return "classification" if self.loss.for_classes else "regression"

    def chosen(self, task: str, n: int, embedded: bool = False) -> Settings:
        """With a number in the place of each None, but for `patience`, `decimal` and `max_seconds`; of n rows."""
        recipe, budget = (EMBEDDED if embedded else RECIPES)[task], BUDGETS[self.effort]
        epochs = budget.epochs * recipe.epochs * math.sqrt(15_000 / n)
        many = budget.large if n <= _HUGE else 1
        members = budget.small if n < _SMALL else budget.members if n <= recipe.many else many
        hidden = recipe.small if n < _SMALL else recipe.hidden
        found: dict[str, Any] = {
            "hidden": tuple(round(budget.width * units) for units in hidden), "dropout": recipe.dropout,
            "learning_rate": recipe.learning_rate, "weight_decay": recipe.weight_decay,
            "batch_size": min(max(2 ** int(math.log2(max(n / 50, 1))), 32), 256),
            "epochs": min(max(round(epochs), 4), 300), "members": members,
        }  # fmt: skip
        return dataclasses.replace(self, **{k: v for k, v in found.items() if getattr(self, k) is None})

    def finer(self, target: Goal, y: Array, seen: Array | None = None) -> Finer | None:
        """The finer inputs that numbers get, with the targets of the rows that they are learnt of, or of those seen."""
        spikes, bins, embedded = _FINER[_AUTO[target.task] if self.numbers == "auto" else self.numbers]
        if not spikes and not bins:
            return None
        wanted = finer.targets(target.scaled(y), len(target.classes))
        if seen is not None:
            wanted[~seen] = np.nan
        return Finer(wanted, finer.SPIKES * spikes, finer.LEAVES * bins, embedded)
