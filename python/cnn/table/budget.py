"""Time as a budget: epochs and networks that fit into so many seconds, and a callback that holds them to it."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from cnn._common import threads
from cnn.callbacks import Callback, Logs
from cnn.table.architecture import network_of
from cnn.table.frames import TableError
from cnn.table.lesson import Lesson
from cnn.table.settings import Settings

_STEPS = 8  # that are timed, after one more
_SPARE = 0.9  # of the time is planned for: scores are taken at the end
_FEW_EPOCHS = 0.4  # of those wished for, before networks are given up


def fitted(
    settings: Settings, found: Lesson, seed: int, start: float, n_threads: int | None, twice: bool = False
) -> Settings:  # fmt: skip
    """The settings, which are `chosen`, with epochs and networks for which `max_seconds` from `start` on are enough.

    Epochs are given up first, to 0.4 of what was wished for, then networks, but for those that the threads train at
    once, then more epochs. `twice`: a pilot takes as long as the fit (`pilot.py`).

    Raises:
        TableError: one epoch of one network takes longer.
    """
    if settings.max_seconds is None:
        return settings
    seconds = _seconds_of_an_epoch(settings, found, seed, n_threads)
    left = (_SPARE * settings.max_seconds - (time.perf_counter() - start)) / (2 if twice else 1)
    at_once = threads.for_training(n_threads, 1 << 20)
    epochs, members = settings.epochs or 1, settings.members or 1
    rounds = -(-members // at_once)
    while rounds > 1 and left / (seconds * rounds) < _FEW_EPOCHS * epochs:
        rounds -= 1
    affordable = int(left / (seconds * rounds))
    if affordable < 1:
        raise TableError(
            f"max_seconds={settings.max_seconds:g} is too short for one epoch, which takes about {seconds:.2g} s after "
            f"the {time.perf_counter() - start:.2g} s that the table has taken"
        )
    return dataclasses.replace(settings, epochs=min(epochs, affordable), members=min(members, rounds * at_once))


def _seconds_of_an_epoch(settings: Settings, found: Lesson, seed: int, n_threads: int | None) -> float:
    """Of one network on one thread, by its first steps."""
    rows, aside = found.of_member(0)
    batch = min(settings.batch_size or 1, len(rows))
    net = network_of(settings, found.goal, found.encoder, seed)
    some = rows[: _STEPS * batch]
    steps = -(-len(some) // batch)
    how: dict[str, Any] = {"batch_size": batch, "metrics": (), "verbose": 0, "n_threads": 1}
    net.fit(some.X[:batch], some.scaled[:batch], epochs=1, **how)
    taken = min(net.fit(some.X, some.scaled, epochs=2, **how).seconds)
    held = time.perf_counter()
    net.predict(aside.X[: 1 << 14], n_threads=1)
    held = (time.perf_counter() - held) * max(1.0, len(aside) / (1 << 14))
    return float(taken / steps * -(-len(rows) // batch) + held)


class Deadline(Callback):
    """Ends a fit after the first epoch that ends too late, by `time.perf_counter()`."""

    def __init__(self, end: float) -> None:
        self.end = end

    def on_epoch_end(self, network: Any, epoch: int, logs: Logs) -> None:
        if time.perf_counter() > self.end:
            network.stop_training = True

    def for_member(self, member: int, members: int) -> Callback:
        return Deadline(self.end)
