"""Callbacks: what happens around epochs. A plain function f(network, epoch, logs) is one too."""

from __future__ import annotations

import copy
import csv
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TextIO, TypeAlias

from cnn._common import checks, console
from cnn._common.elsewhere import nearest, told
from cnn._common.progress_bar import Bar
from cnn._common.types import Mode
from cnn.files import atomic, states
from cnn.files.network import save_network
from cnn.files.strict_json import shown
from cnn.runtime.history import History
from cnn.runtime.state import NetworkState

Logs = dict[str, float]
# Names that are better when larger; all others are losses and errors.
_LARGER = {"r2", "accuracy", "top_k_accuracy", "precision", "recall", "f1", "roc_auc"}


@dataclass
class Run:
    """What a fit tells its callbacks: the numbers of its epochs, rows and steps, and the names that logs will have.

    `step` are the optimizer steps done before, `resumed` the folder that the fit is resumed from, `job` what
    checkpoints keep of it, `history` what grows by its epochs.
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


class Callback:
    """Override what you need; `network`, a `cnn.Network`, is the one that is trained.

    `network.stop_training = True` ends the fit after the epoch. `needs` says which of "epoch_begin", "progress" and
    "epoch_end" it is called for; by default those whose methods it overrides, "progress" in each epoch.

    >>> class Printer(Callback):
    ...     def on_epoch_end(self, network, epoch, logs):
    ...         print(epoch, sorted(logs))
    """

    needs: ClassVar[tuple[str, ...] | None] = None

    def check(self, run: Run) -> None:
        """Raises ValueError where this fit can't serve the callback: before anything is touched."""

    def on_fit_begin(self, network: Any, run: Run) -> None:
        """Before the first epoch."""

    def on_epoch_begin(self, network: Any, epoch: int) -> None:
        """Before each epoch."""

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
        """The callback for one of several networks that a fit trains one after another, numbered from 0."""
        return self


class Function(Callback):
    """Calls f(network, epoch, logs) after each epoch.

    >>> Function(lambda network, epoch, logs: None)  # doctest: +ELLIPSIS
    <cnn.callbacks.Function object at ...>
    """

    def __init__(self, function: Callable[[Any, int, Logs], object]) -> None:
        self.function = function

    def on_epoch_end(self, network: Any, epoch: int, logs: Logs) -> None:
        self.function(network, epoch, logs)


Hook: TypeAlias = Callback | Callable[[Any, int, Logs], object]  # what fits take as callbacks


class _Monitor(Callback):
    """Watches one number of the logs."""

    def __init__(self, monitor: str, mode: Mode, min_delta: float) -> None:
        if not isinstance(monitor, str):
            raise TypeError(f"monitor must be a name such as 'val_loss', got {monitor!r}")
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode must be 'auto', 'min' or 'max', got {mode!r}")
        larger = monitor.removeprefix("val_") in _LARGER if mode == "auto" else mode == "max"
        self.monitor = monitor
        self.min_delta = checks.number("min_delta", min_delta, 0)
        self.best = math.inf
        self.best_epoch = -1
        self._sign = -1 if larger else 1

    def check(self, run: Run) -> None:
        if self.monitor not in run.names:
            near = nearest(self.monitor, run.names)
            hint = f" (did you mean {near!r}?)" if near else ""
            if self.monitor.startswith("val_") and not any(name.startswith("val_") for name in run.names):
                hint = " (give validation_split or validation_data)"
            raise ValueError(
                f"{type(self).__name__} watches {self.monitor!r}, which this fit does not have{hint}; "
                f"it has {', '.join(run.names)}"
            )

    def on_fit_begin(self, network: NetworkState, run: Run) -> None:
        self.best, self.best_epoch = math.inf, run.first_epoch - 1

    def improved(self, epoch: int, logs: Logs) -> bool:
        """Whether the number is better than ever in this fit by more than `min_delta`; NaN never is."""
        value = self._sign * logs[self.monitor]
        if value < self.best - (self.min_delta if math.isfinite(self.best) else 0):
            self.best, self.best_epoch = value, epoch
            return True
        return False

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch}

    def check_state(self, state: dict[str, Any], network: NetworkState) -> None:
        states.expect(state, "best", "a number, or infinity", lambda v: isinstance(v, float) and not math.isnan(v))
        states.expect(state, "best_epoch", "an epoch, or -1", lambda v: states.whole(v, -1))
        if unknown := set(state) - {"best", "best_epoch", *self._more(network)}:
            raise ValueError(f"{min(unknown)!r} is unknown")

    def _more(self, network: NetworkState) -> Iterable[str]:
        """What else the state may hold."""
        return ()

    def restore(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]


class EarlyStopping(_Monitor):
    """Stops when the monitored number has not improved for `patience` epochs (Prechelt 1998).

    Args:
        monitor: a name of the logs: "val_loss", "loss", "val_accuracy", ...
        patience: epochs without an improvement, >= 1.
        min_delta: what counts as an improvement is more than this.
        mode: "min", "max" or "auto" (by the name).
        restore_best: whether the network gets the weights of its best epoch back, however the fit ends.

    >>> EarlyStopping(patience=5, restore_best=True).monitor
    'val_loss'
    """

    @told
    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        mode: Mode = "auto",
        restore_best: bool = True,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = checks.integer("patience", patience, 1)
        self.restore_best = bool(restore_best)
        self.stopped_epoch: int | None = None
        self._weights: Any = None

    def on_fit_begin(self, network: NetworkState, run: Run) -> None:
        super().on_fit_begin(network, run)
        self.stopped_epoch, self._weights = None, None

    def on_epoch_end(self, network: NetworkState, epoch: int, logs: Logs) -> None:
        if self.improved(epoch, logs):
            if self.restore_best:
                self._weights = network.get_weights()
        elif epoch - self.best_epoch >= self.patience:
            self.stopped_epoch = epoch
            network.stop_training = True

    def on_fit_end(self, network: NetworkState) -> None:
        if self._weights is not None:
            network.set_weights(self._weights)
            self._weights = None

    def state(self) -> dict[str, Any]:
        weights = {f"weights.{name}": array for name, array in (self._weights or {}).items()}
        return {**super().state(), "stopped_epoch": self.stopped_epoch, **weights}

    def _more(self, network: NetworkState) -> Iterable[str]:
        return ("stopped_epoch", *(f"weights.{name}" for name in network.parameters))

    def check_state(self, state: dict[str, Any], network: NetworkState) -> None:
        super().check_state(state, network)
        states.expect(state, "stopped_epoch", "an epoch, or null", lambda v: v is None or states.whole(v, 0))
        if any(name.startswith("weights.") for name in state):
            for name, array in network.parameters.items():
                what = f"a tensor of {array.dtype} and shape {array.shape}"
                states.expect(state, f"weights.{name}", what, states.alike(array))

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.stopped_epoch = state["stopped_epoch"]
        weights = {name.removeprefix("weights."): a for name, a in state.items() if name.startswith("weights.")}
        self._weights = weights or None


class ReduceOnPlateau(_Monitor):
    """Multiplies the learning rate by `factor` when the monitored number has not improved for `patience` epochs.

    The rate does not fall below `min_rate` times the optimizer's own.

    >>> ReduceOnPlateau(patience=3).factor
    0.5
    """

    @told
    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.5,
        patience: int = 5,
        min_delta: float = 0.0,
        mode: Mode = "auto",
        min_rate: float = 1e-4,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.factor = checks.number("factor", factor, 0, 1, open_low=True, open_high=True)
        self.patience = checks.integer("patience", patience, 1)
        self.min_rate = checks.number("min_rate", min_rate, 0, 1)
        self._since = 0

    def on_fit_begin(self, network: NetworkState, run: Run) -> None:
        super().on_fit_begin(network, run)
        self._since = 0

    def on_epoch_end(self, network: NetworkState, epoch: int, logs: Logs) -> None:
        self._since = 0 if self.improved(epoch, logs) else self._since + 1
        if self._since >= self.patience:
            network.rate_factor = max(network.rate_factor * self.factor, self.min_rate)
            self._since = 0

    def state(self) -> dict[str, Any]:
        return {**super().state(), "since": self._since}

    def _more(self, network: NetworkState) -> Iterable[str]:
        return ("since",)

    def check_state(self, state: dict[str, Any], network: NetworkState) -> None:
        super().check_state(state, network)
        states.expect(state, "since", "a number of epochs", lambda v: states.whole(v, 0))

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._since = state["since"]


class SaveModel(_Monitor):
    """Saves the network, to predict with, every `every` epochs or whenever the monitored number is the best so far.

    `cnn.Checkpoint` is what an interrupted fit goes on from.

    Args:
        path: the file; "{epoch}" in it becomes the number of the epoch, "{member}" that of the network where a
            `TableModel` trains several.
        monitor: with a name, only improvements are saved.

    >>> SaveModel("model-{epoch}.cnn").every
    1
    """

    @told
    def __init__(
        self, path: str | os.PathLike[str], monitor: str | None = None, every: int = 1, mode: Mode = "auto"
    ) -> None:
        super().__init__(monitor or "loss", mode, 0.0)
        self.path = os.fspath(path)
        self.best_only = monitor is not None
        self.every = checks.integer("every", every, 1)

    def check(self, run: Run) -> None:
        if self.best_only:
            super().check(run)
        atomic.check_place(self._path(run.first_epoch), f"SaveModel can't write to {self.path}")

    def on_epoch_end(self, network: NetworkState, epoch: int, logs: Logs) -> None:
        wanted = self.improved(epoch, logs) if self.best_only else (epoch + 1) % self.every == 0
        if wanted:
            save_network(network, self._path(epoch))

    def _path(self, epoch: int) -> str:
        return self.path.replace("{epoch}", str(epoch))

    def for_member(self, member: int, members: int) -> Callback:
        if members > 1 and "{member}" not in self.path:
            raise ValueError(
                f"SaveModel would write {members} networks to {self.path}, one over the other: put {{member}} in it"
            )
        own = copy.copy(self)
        own.path = self.path.replace("{member}", str(member))
        return own


class CSVLogger(Callback):
    """Writes a line for each epoch to a CSV file; a further fit goes on in the same file.

    A fit that is resumed drops the lines of the epochs that it makes again.

    >>> import tempfile, cnn, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = CSVLogger(f"{folder}/log.csv")
    ...     h = cnn.Network([cnn.Dense(1)]).fit(np.ones((4, 1)), np.ones(4), epochs=2, callbacks=[log], verbose=0)
    ...     print(log.path.read_text().splitlines()[0])
    epoch,loss,rmse,learning_rate,seconds
    """

    @told
    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file: TextIO | None = None

    def check(self, run: Run) -> None:
        atomic.check_place(self.path, f"CSVLogger can't write to {self.path}")
        header = ["epoch", *run.names]
        if self._begun():
            with self.path.open(newline="") as file:
                found = next(csv.reader(file), [])
            if found != header:
                raise ValueError(f"{self.path} has the columns {', '.join(found)}; this fit has {', '.join(header)}")

    def _begun(self) -> bool:
        return self.path.exists() and self.path.stat().st_size > 0

    def on_fit_begin(self, network: NetworkState, run: Run) -> None:
        fresh = not self._begun()
        if run.resumed is not None and not fresh:
            self._drop_from(run.first_epoch)
        self._file = self.path.open("a", newline="")
        if fresh:
            csv.writer(self._file).writerow(["epoch", *run.names])

    def _drop_from(self, epoch: int) -> None:
        """Lines of that epoch and later ones, and one that was cut short."""
        header, *lines = self.path.read_text().splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and int(line.split(",")[0]) < epoch]
        atomic.write_whole(self.path, "".join([header, *kept]).encode())

    def on_epoch_end(self, network: NetworkState, epoch: int, logs: Logs) -> None:
        assert self._file is not None
        csv.writer(self._file).writerow([epoch, *logs.values()])
        self._file.flush()

    def on_fit_end(self, network: NetworkState) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class Progress(Callback):
    """A progress bar over the rows of all epochs, with the latest numbers; `verbose=1` is this.

    >>> Progress().on_fit_end(None)
    """

    needs = ("progress",)

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._run, self._epoch, self._before = Run(0, 0, 0, 0, ()), 0, 0

    def on_fit_begin(self, network: NetworkState, run: Run) -> None:
        self._run, self._epoch, self._before = run, run.first_epoch, len(run.history or ())
        if (screen := console.errors()) is not None:  # else there is nobody to look on
            self._bar = Bar(run.rows * (run.epochs - run.first_epoch), screen)

    def on_progress(self, network: NetworkState, epoch: int, rows: int) -> None:
        self._epoch = epoch
        if self._bar is not None and self._bar.add(rows):
            self._bar.draw(*self._shown())

    def _shown(self) -> tuple[str, dict[str, float]]:
        run, history = self._run, self._run.history
        names = [name for name in run.names if name not in ("seconds", "learning_rate")]
        numbers = {} if history is None or len(history) <= self._before else {n: history[n][-1] for n in names}
        return f"epoch {self._epoch + 1}/{run.epochs}", numbers

    def on_fit_end(self, network: NetworkState) -> None:
        if self._bar is not None:
            self._bar.close(*self._shown())
            self._bar = None


class EpochLines(Callback):
    """Prints a line for each epoch; `verbose=2` is this.

    >>> EpochLines().on_epoch_end(None, 0, {"loss": 0.5})
    epoch 1: loss 0.5
    """

    def on_epoch_end(self, network: NetworkState, epoch: int, logs: Logs) -> None:
        console.say(f"epoch {epoch + 1}: " + ", ".join(f"{name} {value:.4g}" for name, value in logs.items()))


def all_of(given: Any) -> list[Callback]:
    """The callbacks of a list of them."""
    if isinstance(given, Callback) or not isinstance(given, Iterable):
        raise TypeError(f"callbacks must be a list of callbacks, got {given!r}")
    return [get(callback) for callback in given]


def get(callback: Any) -> Callback:
    """The callback, or one that calls the function given."""
    if isinstance(callback, Callback):
        return callback
    if callable(callback) and not isinstance(callback, type):
        return Function(callback)
    raise TypeError(f"a callback must be a cnn.Callback or a function f(network, epoch, logs), got {callback!r}")
