"""Callbacks that watch one number of an epoch: stop, lower the rate, keep the best network."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterable
from typing import Any

from cnn._common import checks
from cnn._common.elsewhere import nearest, told
from cnn._common.types import Mode
from cnn.callbacks.callback import Callback, Logs, Run
from cnn.files import atomic, states
from cnn.files.network import save_network
from cnn.runtime import arena
from cnn.runtime.data import Array
from cnn.runtime.state import NetworkState

# Names that are better when larger; all others are losses and errors.
LARGER = {"r2", "accuracy", "top_k_accuracy", "precision", "recall", "f1", "roc_auc"}


class _Monitor(Callback):
    """Watches one number of the logs."""

    def __init__(self, monitor: str, mode: Mode, min_delta: float) -> None:
        if not isinstance(monitor, str):
            raise TypeError(f"monitor must be a name such as 'val_loss', got {monitor!r}")
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode must be 'auto', 'min' or 'max', got {mode!r}")
        larger = monitor.removeprefix("val_") in LARGER if mode == "auto" else mode == "max"
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
        start_from_epoch: so many epochs at the beginning of the fit are not looked at, >= 0: neither stopped after nor
            given back, as in Keras.
        baseline: a number that an epoch must also be better than, by more than `min_delta`, to win `patience` epochs
            more, as in Keras; None for none.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range; in `fit` where it has no such number.

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
        start_from_epoch: int = 0,
        baseline: float | None = None,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = checks.integer("patience", patience, 1)
        self.restore_best = bool(restore_best)
        self.start_from_epoch = checks.integer("start_from_epoch", start_from_epoch, 0)
        self.baseline = None if baseline is None else checks.number("baseline", baseline)
        self._first = 0  # the first epoch that is looked at
        self._waits_from = -1  # the last one that won `patience` more
        self.stopped_epoch: int | None = None
        self._network: NetworkState | None = None
        self._best: Array | None = None  # the parameters of the best epoch, in the layout of the network's

    def on_fit_begin(self, network: NetworkState, run: Run) -> None:
        super().on_fit_begin(network, run)
        self.stopped_epoch, self._network, self._best = None, network, None
        self._first = run.begun + self.start_from_epoch
        self._waits_from = self.best_epoch = max(self.best_epoch, self._first - 1)

    def on_epoch_end(self, network: NetworkState, epoch: int, logs: Logs) -> None:
        if epoch < self._first:
            return
        if self.improved(epoch, logs):
            if self.restore_best:
                self._best = network.flat.copy()
            if self.baseline is None or self.best < self._sign * self.baseline - self.min_delta:
                self._waits_from = epoch
        elif epoch - self._waits_from >= self.patience:
            self.stopped_epoch = epoch
            network.stop_training = True

    def on_fit_end(self, network: NetworkState) -> None:
        if self._best is not None:
            network.flat[...] = self._best
        self._network, self._best = None, None

    def state(self) -> dict[str, Any]:
        weights: dict[str, Array] = {}
        if self._network is not None and self._best is not None:
            views = arena.views(self._best, self._network.plan.names)
            weights = {f"weights.{name}": view for name, view in views.items()}
        return {**super().state(), "stopped_epoch": self.stopped_epoch, **self._waiting(), **weights}

    def _waiting(self) -> dict[str, int]:
        """Since when it waits, where the best epoch does not say it."""
        return {} if self.baseline is None else {"waits_from": self._waits_from}

    def _more(self, network: NetworkState) -> Iterable[str]:
        return ("stopped_epoch", *self._waiting(), *(f"weights.{name}" for name in network.parameters))

    def check_state(self, state: dict[str, Any], network: NetworkState) -> None:
        super().check_state(state, network)
        states.expect(state, "stopped_epoch", "an epoch, or null", lambda v: v is None or states.whole(v, 0))
        for name in self._waiting():
            states.expect(state, name, "an epoch, or -1", lambda v: states.whole(v, -1))
        if any(name.startswith("weights.") for name in state):
            for name, array in network.parameters.items():
                what = f"a tensor of {array.dtype} and shape {array.shape}"
                states.expect(state, f"weights.{name}", what, states.alike(array))

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.stopped_epoch = state["stopped_epoch"]
        self._waits_from = state.get("waits_from", self.best_epoch)
        if self._network is not None and any(name.startswith("weights.") for name in state):
            self._best = self._network.flat.copy()
            for name, view in arena.views(self._best, self._network.plan.names).items():
                view[...] = state[f"weights.{name}"]


class ReduceOnPlateau(_Monitor):
    """Multiplies the learning rate by `factor` when the monitored number has not improved for `patience` epochs.

    Args:
        monitor, min_delta, mode: as of `EarlyStopping`.
        factor: in (0, 1).
        patience: epochs without an improvement, >= 1.
        min_rate: the rate does not fall below this share of the optimizer's own, in [0, 1].

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
            lower = max(network.rate_factor * self.factor, self.min_rate)
            network.rate_factor = min(network.rate_factor, lower)  # it may be below `min_rate` already
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
        every: epochs between two saves where there is no monitor, >= 1.
        mode: "min", "max" or "auto" (by the name).

    >>> SaveModel("model-{epoch}.cnn").every
    1
    """

    writes = True

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
