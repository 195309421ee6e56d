"""What a search may choose: settings with their ranges and choices, and the network of one setting of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn import layers, optimizers, schedules
from cnn._common import checks, naming
from cnn.layers import Layer
from cnn.losses import Loss
from cnn.network import Network

# What is not searched: as of `cnn.Network` and its `fit`, and two hidden layers.
DEFAULTS: dict[str, Any] = {
    "hidden": (64, 64), "units": 64, "depth": 2, "activation": "relu", "dropout": 0.0, "l1": 0.0, "l2": 0.0,
    "optimizer": "adam", "learning_rate": 0.001, "schedule": "constant", "weight_decay": 0.0, "clip_norm": None,
    "batch_size": 128,
}  # fmt: skip
_HOW = "(low, high), (low, high, 'log') or a list of choices"


@dataclass(frozen=True)
class Range:
    """Numbers between two, whole ones if both are; on a log scale with `log`."""

    low: Any
    high: Any
    log: bool
    whole: bool

    @property
    def ends(self) -> tuple[Any, ...]:
        return self.low, self.high

    def suggest(self, trial: Any, name: str) -> Any:
        return (trial.suggest_int if self.whole else trial.suggest_float)(name, self.low, self.high, log=self.log)

    def value(self, found: Any) -> Any:
        return found


@dataclass(frozen=True)
class Choices:
    """One of some values, of which Optuna keeps plain ones as they are and names the others by their text."""

    values: dict[Any, Any]

    @property
    def ends(self) -> tuple[Any, ...]:
        return tuple(self.values.values())

    def suggest(self, trial: Any, name: str) -> Any:
        return self.values[trial.suggest_categorical(name, list(self.values))]

    def value(self, found: Any) -> Any:
        return self.values[found]


def described(name: str, given: Any) -> Range | Choices:
    """The range or the choices of one description.

    >>> described("dropout", (0.0, 0.5))
    Range(low=0.0, high=0.5, log=False, whole=False)

    Raises:
        TypeError, ValueError: it is none, or has no values.
    """
    if isinstance(given, list):
        if not given:
            raise ValueError(f"{name} has no values to choose from: the list is empty")
        plain = (str, int, float, bool, type(None))
        return Choices({value if isinstance(value, plain) else str(value): value for value in given})
    if not isinstance(given, tuple) or len(given) not in (2, 3):
        raise TypeError(f"{name} must be {_HOW}, got {given!r}")
    if isinstance(given[0], str) or isinstance(given[1], str):
        raise TypeError(f"{name} must be {_HOW}; choices are a list, [...], got {given!r}")
    if len(given) == 3 and given[2] != "log":
        raise ValueError(f"the third of {name} can only be 'log', got {given[2]!r}")
    low, high = (checks.number(f"an end of {name}", end) for end in given[:2])
    log = len(given) == 3
    if not low < high:
        raise ValueError(f"{name} has no values: its range must rise, got {given!r}")
    if log and low <= 0:
        raise ValueError(f"{name} on a log scale must begin above 0, got {given!r}")
    if all(isinstance(end, (int, np.integer)) for end in given[:2]):
        return Range(int(low), int(high), log, True)
    return Range(low, high, log, False)


class Space:
    """The settings of a dense network that a search chooses: descriptions by name."""

    def __init__(
        self, given: Mapping[str, Any], n_outputs: int, loss: Loss, dtype: Any, batch_size: int | None
    ) -> None:
        if not given:
            raise ValueError(f"the space is empty: give it one of {', '.join(DEFAULTS)} at least")
        for name in given:
            if name not in DEFAULTS:
                raise naming.unknown("setting", name, DEFAULTS)
        if "hidden" in given and ("units" in given or "depth" in given):
            raise ValueError("hidden gives the widths of all hidden layers; units and depth are in place of it")
        self.settings = {name: described(name, description) for name, description in given.items()}
        self.n_outputs, self.loss, self.dtype, self.batch_size = n_outputs, loss, dtype, batch_size
        for name, setting in self.settings.items():  # what can't be is found before anything is trained
            for end in setting.ends:
                self.network({name: end}, 0)

    @property
    def about(self) -> dict[str, Any]:
        """By which a study tells it from others."""
        return {"choices": repr(self.settings), "loss": repr(self.loss), "batch_size": self.batch_size}

    def __call__(self, trial: Any, seed: int) -> tuple[Network, dict[str, Any]]:
        """The network that Optuna's trial chooses, and the arguments of its fit."""
        return self.network({name: setting.suggest(trial, name) for name, setting in self.settings.items()}, seed)

    def values(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of a trial's parameters."""
        return {name: self.settings[name].value(value) for name, value in found.items()}

    def network(self, chosen: Mapping[str, Any], seed: int) -> tuple[Network, dict[str, Any]]:
        """The network of these settings, and the arguments of its fit."""
        of = {**DEFAULTS, "batch_size": self.batch_size, **chosen}
        widths = of["hidden"]
        if "units" in self.settings or "depth" in self.settings:
            units = checks.integer("units", of["units"], 1)
            widths = (units,) * checks.integer("depth", of["depth"], 0)
        if isinstance(widths, (str, int)) or not hasattr(widths, "__iter__"):
            raise TypeError(f"hidden must be choices of widths such as [(32,), (64, 64)], got {widths!r}")
        stack: list[Layer] = []
        for units in widths:
            stack.append(layers.Dense(units, of["activation"], l1=of["l1"], l2=of["l2"]))
            if of["dropout"]:
                stack.append(layers.Dropout(of["dropout"]))
        stack.append(layers.Dense(self.n_outputs, l1=of["l1"], l2=of["l2"]))
        rate = dataclasses.replace(schedules.get(of["schedule"]), learning_rate=of["learning_rate"])
        name = naming.normalise(of["optimizer"])
        if name not in optimizers.BY_NAME:
            raise naming.unknown("optimizer", of["optimizer"], optimizers.BY_NAME)
        optimizer = optimizers.BY_NAME[name](rate, weight_decay=of["weight_decay"], clip_norm=of["clip_norm"])
        if of["batch_size"] is not None:
            checks.integer("batch_size", of["batch_size"], 1)
        return Network(stack, self.loss, optimizer, self.dtype, seed), {"batch_size": of["batch_size"]}


class Function:
    """A space as a function of Optuna's trial, which builds the network, or a pair of it and arguments of its fit."""

    _KNOWN = ("batch_size",)

    def __init__(self, build: Any, batch_size: int | None) -> None:
        self.build, self.batch_size = build, batch_size
        self.expected: Network | None = None  # what all networks must be like

    @property
    def about(self) -> dict[str, Any]:
        """By which a study tells it from others: what a function builds is up to the user."""
        return {"batch_size": self.batch_size}

    def __call__(self, trial: Any, seed: int) -> tuple[Network, dict[str, Any]]:
        """The network that the function builds; it has its own seed."""
        made = self.build(trial)
        net, options = made if isinstance(made, tuple) and len(made) == 2 else (made, {})
        if not isinstance(net, Network) or not isinstance(options, Mapping):
            raise TypeError("a space that is a function must return a cnn.Network, or a pair of it and a dict with "
                            f"'batch_size', got {made!r}")  # fmt: skip
        for name in options:
            if name not in self._KNOWN:
                raise naming.unknown("argument of a fit", name, self._KNOWN)
        if not trial.params:
            raise ValueError("the space has no values to choose from: the function asked its trial for none "
                             "(trial.suggest_float and its kin)")  # fmt: skip
        like = self.expected or net
        for what, one, other in (("dtype", net.dtype, like.dtype), ("number of outputs", net.n_outputs, like.n_outputs),
                                 ("kind of targets", net.loss.one_class, like.loss.one_class)):  # fmt: skip
            if one != other:
                raise ValueError(f"all networks of a space must have the same {what}, got {one} and {other}")
        return net, {"batch_size": self.batch_size, **options}

    def values(self, found: Mapping[str, Any]) -> dict[str, Any]:
        return dict(found)
