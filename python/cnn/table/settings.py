"""How a table model trains: what the user may set, and what follows from the number of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from cnn import activations, layers, losses, network, optimizers, schedules
from cnn._common import checks
from cnn.activations import ActivationName
from cnn.losses import Loss
from cnn.table import finer, weights, writings
from cnn.table.finer import Finer
from cnn.table.frames import Array
from cnn.table.target import TASKS, Target

Numbers: TypeAlias = Literal["auto", "plain", "spikes", "bins", "both"]

# 2, 4, ... by the rows: more rows need fewer passes and gain less from an average of several networks.
_MEMBERS = ((50_000, 4), (200_000, 2))

# (spikes, bins) that a number becomes beside rank and value.
_FINER = {"plain": (False, False), "spikes": (True, False), "bins": (False, True), "both": (True, True)}
_AUTO = {"regression": "bins", "classification": "spikes"}


@dataclass(frozen=True)
class Settings:
    """The arguments of `TableModel`; None is chosen by the number of rows."""

    task: Literal["auto", "regression", "classification"] = "auto"
    hidden: tuple[int, ...] = (128, 64)
    activation: ActivationName = "relu"
    dropout: float = 0.1
    learning_rate: float = 0.01
    weight_decay: float = 0.01
    batch_size: int | None = None
    epochs: int | None = None
    patience: int = 15
    valid: float = 0.1
    members: int | None = None
    decimal: str | None = None
    numbers: Numbers = "auto"
    loss: Loss | None = None
    class_weight: weights.ClassWeight = None

    def __post_init__(self) -> None:
        if self.task not in ("auto", *TASKS):
            raise ValueError(f"task must be 'auto', 'regression' or 'classification', got {self.task!r}")
        if isinstance(self.hidden, (str, int)) or not isinstance(self.hidden, Sequence):
            raise TypeError(f"hidden must be a list of widths such as (128, 64), got {self.hidden!r}")
        hidden = tuple(checks.integer("a width of hidden", units, 1, 1 << 16) for units in self.hidden)
        object.__setattr__(self, "hidden", hidden)
        activations.get(self.activation)
        checks.number("dropout", self.dropout, 0, 1, open_high=True)
        checks.number("learning_rate", self.learning_rate, 0, open_low=True)
        checks.number("weight_decay", self.weight_decay, 0)
        checks.integer("patience", self.patience, 1)
        for name in ("batch_size", "epochs", "members"):
            if (value := getattr(self, name)) is not None:
                checks.integer(name, value, 1)
        if self.decimal not in (None, *writings.DECIMALS):
            raise ValueError(f"decimal must be '.' or ',' or None, got {self.decimal!r}")
        if self.numbers not in ("auto", *_FINER):
            raise ValueError(f"numbers must be 'auto', 'plain', 'spikes', 'bins' or 'both', got {self.numbers!r}")
        checks.number("valid", self.valid, 0, 1, open_low=True, open_high=True)
        if self.loss is not None:
            object.__setattr__(self, "loss", self._checked_loss(losses.get(self.loss)))
        weights.checked(self.class_weight)
        if self.class_weight is not None and self.aim == "regression":
            raise ValueError("class_weight is for classes, and task or loss is one for numbers")

    def _checked_loss(self, loss: Loss) -> Loss:
        if loss.margins or loss.facts.outputs > 1 or isinstance(loss, losses.RowLoss):
            what = "margins, no probabilities" if loss.margins else "more than a number for each target"
            raise ValueError(f"a TableModel can't be trained by loss {loss.name!r}, whose outputs are {what}")
        if self.task != "auto" and loss.for_classes != (self.task == "classification"):
            kind = "classes" if loss.for_classes else "numbers"
            raise ValueError(f"loss {loss.name!r} is one for {kind}, and task is {self.task!r}")
        return loss

    @property
    def aim(self) -> Literal["auto", "regression", "classification"]:
        """The task, as far as it is known before the fit: the one given, or that of the loss."""
        if self.task != "auto" or self.loss is None:
            return self.task
        return "classification" if self.loss.for_classes else "regression"

    def for_rows(self, n: int) -> Settings:
        """With a number in the place of each None."""
        batch = min(max(2 ** int(math.log2(max(n / 100, 1))), 32), 512)
        epochs = min(max(round(60 * math.sqrt(15_000 / n)), 20), 300)
        members = next((members for rows, members in _MEMBERS if n <= rows), 1)
        given: dict[str, Any] = {**self.__dict__}
        for name, value in (("batch_size", batch), ("epochs", epochs), ("members", members)):
            if given[name] is None:
                given[name] = value
        return Settings(**given)

    def finer(self, target: Target, y: Array) -> Finer | None:
        """The finer inputs that numbers get, with the targets of the rows that they are learnt of."""
        spikes, bins = _FINER[_AUTO[target.task] if self.numbers == "auto" else self.numbers]
        if not spikes and not bins:
            return None
        wanted = finer.targets(target.scaled(y), len(target.classes))
        return Finer(wanted, finer.SPIKES * spikes, finer.LEAVES * bins)

    def network(self, target: Target, seed: int) -> network.Network:
        """One network, untrained."""
        stack: list[layers.Layer] = []
        for units in self.hidden:
            stack.append(layers.Dense(units, self.activation))
            if self.dropout:
                stack.append(layers.Dropout(self.dropout))
        optimizer = optimizers.AdamW(schedules.OneCycle(self.learning_rate), weight_decay=self.weight_decay)
        stack.append(layers.Dense(target.outputs))
        return network.Network(stack, loss=target.loss, optimizer=optimizer, seed=seed)
