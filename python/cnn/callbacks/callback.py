"""What a callback is, and what a fit tells it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from cnn.files import states
from cnn.files.strict_json import shown
from cnn.runtime.history import History
from cnn.schedules import Schedule

Logs = dict[str, float]

@dataclass
class Run:
    """What a fit tells its callbacks: the numbers of its epochs, rows and steps, and the names that logs will have.

    Args:
        first_epoch, epochs: the numbers of the first epoch and of the last one.
        rows: of an epoch; 0 where a stream does not tell.
        steps_per_epoch: 0 where a stream does not tell.
        names: of the numbers that logs will have.
        step: optimizer steps done before.
        resumed: the folder that the fit is resumed from.
        job: what checkpoints keep of the fit.
        history: what grows by its epochs.
        held_out: the validation rows in memory, whose raw outputs it has at the end of each epoch (`last`).
        begun: the epoch from which warm-ups and schedules count: the first of the fit (of a resumed one as it was
            begun), or 0 where `initial_epoch` is given, as in Keras.
        learning_rate: the optimizer's; None of a fit that has none.

    >>> Run(first_epoch=0, epochs=10, rows=1000, steps_per_epoch=8, names=("loss",)).step
    0
    """

    first_epoch: int
    epochs: int  # the number of the last epoch
    rows: int
    steps_per_epoch: int
    names: tuple[str, ...]
    step: int = 0
    resumed: Path | None = None
    job: Any = None
    history: History | None = None
    held_out: Any = None
    begun: int = 0
    learning_rate: float | Schedule | None = None


class Callback:
    """Override what you need; `network`, a `cnn.Network`, is the one that is trained.

    `network.stop_training = True` ends the fit after the epoch. `needs` says which of "epoch_begin", "train_batch_end",
    "progress" and "epoch_end" it is called for; by default those whose methods it overrides, "progress" in each epoch.
    With "train_batch_end" each step is a call into the core by itself, to the same bits (docs/guide.md).

    >>> class Printer(Callback):
    ...     def on_epoch_end(self, network, epoch, logs):
    ...         print(epoch, sorted(logs))
    """

    needs: tuple[str, ...] | None = None
    writes: ClassVar[bool] = False  # whether it shows or writes something: among several ranks on rank 0 alone

    def check(self, run: Run) -> None:
        """Raises ValueError where this fit can't serve the callback: before anything is touched."""

    def on_fit_begin(self, network: Any, run: Run) -> None:
        """Before the first epoch."""

    def on_epoch_begin(self, network: Any, epoch: int) -> None:
        """Before each epoch."""

    def on_train_batch_end(self, network: Any, batch: int, logs: Logs) -> None:
        """After each step: `batch` is its number in the epoch, from 0 (with L-BFGS an iteration is one).

        Logs are the `loss` of its rows before the step (a mean, with penalties) and its `learning_rate`, which L-BFGS
        has not; `network.step` counts the steps of all epochs.
        """

    def on_progress(self, network: Any, epoch: int, rows: int) -> None:
        """Some times a second: so many more rows are done, up to this epoch."""

    def on_epoch_end(self, network: Any, epoch: int, logs: Logs) -> None:
        """After each epoch, with its numbers (also in `network.history`)."""

    def on_fit_end(self, network: Any) -> None:
        """After the last epoch, or when the fit was broken off."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: numbers, texts, None and arrays, by name (letters, digits, `_`, `.`, `-`)."""
        return {}

    def check_state(self, state: dict[str, Any], network: Any) -> None:
        """Raises ValueError where `restore` could not take this, for a network like that: before anything is touched.

        By default all that `state` gives must be there, numbers as numbers and texts as texts; None stands for any.
        """
        for name, own in self.state().items():
            if name not in state:
                raise ValueError(f"{name!r} is missing")
            if own is not None and state[name] is not None and (kind := states.kind(own)) != states.kind(state[name]):
                raise ValueError(f"{name!r} must be a {kind}, got {shown(state[name])}")

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what `state` gave: after `on_fit_begin`, in a fit that is resumed."""

    def for_member(self, member: int, members: int) -> Callback:
        """The callback for network `member`, from 0, of the `members` that a fit trains side by side."""
        return self


class Function(Callback):
    """Calls f(network, epoch, logs) after each epoch.

    >>> Function(lambda network, epoch, logs: None)  # doctest: +ELLIPSIS
    <cnn.callbacks.callback.Function object at ...>
    """

    def __init__(self, function: Callable[[Any, int, Logs], object]) -> None:
        self.function = function

    def on_epoch_end(self, network: Any, epoch: int, logs: Logs) -> None:
        self.function(network, epoch, logs)


Hook: TypeAlias = Callback | Callable[[Any, int, Logs], object]  # what fits take as callbacks


def all_of(given: Any) -> list[Callback]:
    """The callbacks of a list of them."""
    if isinstance(given, Callback) or not isinstance(given, Iterable):
        raise TypeError(f"callbacks must be a list of callbacks, got {given!r}")
    return [get(callback) for callback in given]


def copies(given: Any, n: int) -> list[list[Callback]]:
    """The callbacks for each of n networks that are trained side by side: copies, or they would get mixed up."""
    hooks = all_of(given)
    return [copy.deepcopy([hook.for_member(i, n) for hook in hooks]) for i in range(n)]


def get(callback: Any) -> Callback:
    """The callback, or one that calls the function given."""
    if isinstance(callback, Callback):
        return callback
    if callable(callback) and not isinstance(callback, type):
        return Function(callback)
    raise TypeError(f"a callback must be a cnn.Callback or a function f(network, epoch, logs), got {callback!r}")
