"""Schedules of the learning rate, the weight decay and dropout: the number of every step, known before it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn._common import checks, naming
from cnn._common.elsewhere import told

Rates = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Schedule:
    """A learning rate, or another number, as a function of the step. Each fit runs the whole of it; one that is resumed
    goes on.

    Args:
        learning_rate: the rate (or other number) at its largest, >= 0.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    >>> isinstance(Cosine(0.1), Schedule)
    True
    """

    learning_rate: float = 0.001

    def __post_init__(self) -> None:
        self._number("learning_rate", 0)

    @property
    def of_a_fit(self) -> bool:
        """Whether it looks at the epochs or at the end of a fit, and not at the step alone."""
        return True

    def _number(self, name: str, low: float, high: float = math.inf, **ends: bool) -> None:
        object.__setattr__(self, name, checks.number(name, getattr(self, name), low, high, **ends))

    def _integer(self, name: str, low: int) -> None:
        object.__setattr__(self, name, checks.integer(name, getattr(self, name), low))

    @checks.quiet
    def rates(self, first: int, n: int, per_epoch: int, total: int) -> Rates:
        """(n,) float64, the rates of some steps of a fit.

        Args:
            first: steps of the fit done before.
            n: how many rates are wanted.
            per_epoch: steps of an epoch.
            total: steps of the whole fit.
        """
        return self.at(np.arange(first, first + n, dtype=np.float64), per_epoch, max(total, 1))

    def at(self, step: Rates, per_epoch: int, total: int) -> Rates:
        """The rates at steps (n,) that are counted from 0: what a schedule of your own says.

        Args:
            step: (n,) float64, the numbers of the steps.
            per_epoch: steps of an epoch.
            total: steps of the whole fit, >= 1.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Constant(Schedule):
    """A rate that never changes.

    >>> Constant(0.1).rates(0, 2, 10, 100)
    array([0.1, 0.1])
    """

    @property
    def of_a_fit(self) -> bool:
        return False

    def at(self, step: Rates, per_epoch: int, total: int) -> Rates:
        return np.full_like(step, self.learning_rate)


@dataclass(frozen=True)
class Step(Schedule):
    """Multiplied by `factor` every `epochs` epochs.

    Args:
        epochs: between two changes, >= 1.
        factor: > 0.

    >>> Step(1.0, epochs=1, factor=0.5).rates(0, 4, 2, 4)
    array([1. , 1. , 0.5, 0.5])
    """

    epochs: int = 30
    factor: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._integer("epochs", 1)
        self._number("factor", 0, open_low=True)

    def at(self, step: Rates, per_epoch: int, total: int) -> Rates:
        return self.learning_rate * self.factor ** (step // per_epoch // self.epochs)


@dataclass(frozen=True)
class Exponential(Schedule):
    """Multiplied by `factor` every epoch, smoothly: rate · factor^(step / steps per epoch).

    Args:
        factor: of each epoch, > 0.

    >>> Exponential(1.0, factor=0.25).rates(0, 3, 2, 4)
    array([1.  , 0.5 , 0.25])
    """

    factor: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number("factor", 0, open_low=True)

    def at(self, step: Rates, per_epoch: int, total: int) -> Rates:
        return self.learning_rate * self.factor ** (step / per_epoch)


@dataclass(frozen=True)
class Cosine(Schedule):
    """From the rate to `floor` along half a cosine over the whole fit (Loshchilov & Hutter 2017).

    Args:
        floor: the rate at the end, in [0, learning_rate].

    >>> Cosine(1.0).rates(0, 3, 1, 2)
    array([1. , 0.5, 0. ])
    """

    floor: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number("floor", 0, self.learning_rate)

    def at(self, step: Rates, per_epoch: int, total: int) -> Rates:
        done = np.minimum(step / total, 1)
        return self.floor + (self.learning_rate - self.floor) * (1 + np.cos(np.pi * done)) / 2


@dataclass(frozen=True)
class CosineRestarts(Schedule):
    """`Cosine` over and over, each time within `epochs` epochs (SGDR: Loshchilov & Hutter 2017).

    Just before each restart the network stands in a minimum: its snapshots there are an ensemble (Huang et al. 2017).

    Args:
        epochs: between two restarts, >= 1.
        floor: the rate before a restart, in [0, learning_rate].

    >>> CosineRestarts(1.0, epochs=2).rates(0, 4, 1, 4)
    array([1. , 0.5, 1. , 0.5])
    """

    epochs: int = 10
    floor: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._integer("epochs", 1)
        self._number("floor", 0, self.learning_rate)

    def at(self, step: Rates, per_epoch: int, total: int) -> Rates:
        done = step % (self.epochs * per_epoch) / (self.epochs * per_epoch)
        return self.floor + (self.learning_rate - self.floor) * (1 + np.cos(np.pi * done)) / 2


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up from rate / start to the rate in the first `warm` of all steps, then down to rate / (start · end), by cosines.

    Smith & Topin 2018; the shape and the defaults are those of PyTorch's OneCycleLR.

    Args:
        warm: share of the steps on the way up, in (0, 1).
        start: the highest rate over the first one, >= 1.
        end: the first rate over the last one, >= 1.

    >>> OneCycle(1.0).rates(0, 1, 1, 100)
    array([0.04])
    """

    warm: float = 0.3
    start: float = 25.0
    end: float = 1e4

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number("warm", 0, 1, open_low=True, open_high=True)
        self._number("start", 1)
        self._number("end", 1)

    def at(self, step: Rates, per_epoch: int, total: int) -> Rates:
        peak = max(self.warm * total - 1, 1e-9)
        high, low = self.learning_rate, self.learning_rate / self.start
        final = low / self.end
        up = np.clip(step / peak, 0, 1)
        down = np.clip((step - peak) / max(total - 1 - peak, 1e-9), 0, 1)
        rising = high + (low - high) * (1 + np.cos(np.pi * up)) / 2
        falling = final + (high - final) * (1 + np.cos(np.pi * down)) / 2
        return np.where(step <= peak, rising, falling)


@dataclass(frozen=True)
class InverseScaling(Schedule):
    """rate / (t + 1)^power, t the steps done, as scikit-learn's "invscaling".

    Args:
        power: >= 0.

    >>> InverseScaling(1.0).rates(0, 4, 1, 4)[3]
    np.float64(0.5)
    """

    power: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number("power", 0)

    @property
    def of_a_fit(self) -> bool:
        return False

    def at(self, step: Rates, per_epoch: int, total: int) -> Rates:
        return self.learning_rate / (step + 1) ** self.power


@dataclass(frozen=True)
class WarmUp(Schedule):
    """Linearly from 0 over the first `steps` steps, then another schedule (or a constant rate).

    Args:
        learning_rate: a number, or the schedule that comes after; it counts its steps from the first one on.
        steps: until the rate is reached, >= 1.

    >>> WarmUp(0.1, steps=2).rates(0, 3, 1, 3)
    array([0.05, 0.1 , 0.1 ])
    """

    learning_rate: float | Schedule = 0.001  # type: ignore[assignment]
    steps: int = 100

    def __post_init__(self) -> None:
        if not isinstance(self.learning_rate, Schedule):
            self._number("learning_rate", 0)
        self._integer("steps", 1)

    @property
    def of_a_fit(self) -> bool:
        return isinstance(self.learning_rate, Schedule) and self.learning_rate.of_a_fit

    def at(self, step: Rates, per_epoch: int, total: int) -> Rates:
        then = self.learning_rate if isinstance(self.learning_rate, Schedule) else Constant(self.learning_rate)
        return then.at(step, per_epoch, total) * np.minimum((step + 1) / self.steps, 1)


BY_NAME = {
    "constant": Constant,
    "step": Step,
    "exponential": Exponential,
    "cosine": Cosine,
    "cosine_restarts": CosineRestarts,
    "one_cycle": OneCycle,
    "inverse_scaling": InverseScaling,
    "warm_up": WarmUp,
}

for _class in BY_NAME.values():
    _class.__init__ = told(_class.__init__)  # type: ignore[misc]


def first_number(value: float | Schedule) -> float:
    """The number that a schedule makes others of, below all warm-ups; a number itself.

    >>> first_number(WarmUp(Cosine(0.05), steps=10))
    0.05
    """
    while isinstance(value, Schedule):
        value = value.learning_rate
    return value


def get(schedule: str | float | Schedule) -> Schedule:
    """The schedule of that name with its defaults, a constant rate for a number, or the one given.

    >>> get("cosine")
    Cosine(learning_rate=0.001, floor=0.0)
    """
    if isinstance(schedule, Schedule):
        return schedule
    if isinstance(schedule, str):
        name = naming.normalise(schedule)
        if name not in BY_NAME:
            raise naming.unknown("schedule", schedule, BY_NAME)
        return BY_NAME[name]()
    return Constant(checks.number("learning_rate", schedule, 0))
