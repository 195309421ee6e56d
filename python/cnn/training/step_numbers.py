"""The numbers of the steps to come, from schedules: what a fit needs of them, and whether dropout can have its own."""

from __future__ import annotations

import numpy as np

from cnn import schedules
from cnn.layers import Dropout
from cnn.runtime.data import Array
from cnn.runtime.state import NetworkState
from cnn.schedules import Schedule

_AHEAD = 4096  # numbers that are made at a time
_DROPOUT, _DECAY = 1, 2  # columns of the numbers that the core takes; 0 is the learning rate


class Ahead:
    """The numbers of a schedule for the steps to come; those of more epochs are made at a time, and kept."""

    def __init__(self, schedule: Schedule, steps: int) -> None:
        self.schedule, self.steps = schedule, steps
        self.made: tuple[int, int, Array] = (0, -1, np.zeros(0))

    def of(self, first: int, n: int, total: int) -> Array:
        """Those of n steps from `first` on, whole epochs, in a schedule of `total`."""
        begin, whole, numbers = self.made
        if total != whole or not begin <= first <= begin + len(numbers) - n:
            more = max(n, min(_AHEAD, total - first) // self.steps * self.steps)
            begin, numbers = first, self.schedule.rates(first, more, self.steps, total)
            self.made = begin, total, numbers
        return numbers[first - begin : first - begin + n]


class Factors:
    """The factors on dropout rates and on the weight decay, each where it has a schedule; else it stays 1."""

    def __init__(self, net: NetworkState, steps: int) -> None:
        decay = net.optimizer.weight_decay
        self.scheduled: list[tuple[int, Ahead, float]] = []
        if net.dropout_factor is not None:
            self.scheduled.append((_DROPOUT, Ahead(net.dropout_factor, steps), 1.0))
        if isinstance(decay, Schedule) and schedules.first_number(decay) > 0:
            self.scheduled.append((_DECAY, Ahead(decay, steps), schedules.first_number(decay)))

    def put(self, numbers: Array, first: int, total: int) -> None:
        """Into the numbers (n, 3) of the steps from `first` on."""
        for column, ahead, divisor in self.scheduled:
            numbers[:, column] = ahead.of(first, len(numbers), total) / divisor


def check_dropout(net: NetworkState, steps: int, total: int) -> None:
    """Raises ValueError where the factor makes a rate that can't be, in any step of a schedule of `total`."""
    rates = [layer.rate for layer in net.descriptions if isinstance(layer, Dropout)]
    if net.dropout_factor is None:
        return
    if not rates:
        raise ValueError(f"dropout_factor={net.dropout_factor!r} needs a cnn.Dropout among the layers")
    for first in range(0, total, _AHEAD):
        made = max(rates) * net.dropout_factor.rates(first, min(_AHEAD, total - first), steps, total)
        for at in np.flatnonzero(~((made >= 0) & (made < 1)))[:1]:
            raise ValueError(
                f"dropout_factor={net.dropout_factor!r} makes a rate of {made[at]:g} in step {first + at + 1} of the "
                "fit: rates of dropout must be in [0, 1)"
            )
