"""Averaged weights: what a fit leaves is the mean of its last epochs."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from cnn._common import checks
from cnn._common.elsewhere import told
from cnn.callbacks.callback import Callback, Logs, Run
from cnn.files import states
from cnn.runtime import arena
from cnn.runtime.data import Array
from cnn.runtime.state import NetworkState


class AverageWeights(Callback):
    """Gives the network, when the fit ends, the mean of the weights that it had after each of the last epochs.

    The mean of points around a minimum lies flatter and predicts better than the last one (Izmailov et al. 2018,
    "Averaging weights leads to wider optima"); where the learning rate falls to 0 there is little to win. With `decay`
    it is a moving average, m ← decay m + (1 - decay) w. The numbers of the epochs are those of the weights as they are.
    Running averages of `BatchNorm` are weights here; docs/guide.md says how to take them anew.
    Of callbacks that set the weights in the end, such as `EarlyStopping(restore_best=True)`, the last one in the list
    decides.

    Args:
        start: the share of the fit's epochs that are left out, in [0, 1); the last epoch never is.
        decay: None for the plain mean, or a number in (0, 1): the larger, the longer the memory.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    >>> import cnn, numpy as np
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> net, average = cnn.Network([cnn.Dense(1)], seed=0), AverageWeights(start=0.5)
    >>> history = net.fit(X, X[:, 0], epochs=10, callbacks=[average], verbose=0)
    >>> average.epochs
    5
    """

    @told
    def __init__(self, start: float = 0.75, decay: float | None = None) -> None:
        self.start = checks.number("start of AverageWeights", start, 0, 1, open_high=True)
        self.decay = decay
        if decay is not None:
            self.decay = checks.number("decay of AverageWeights", decay, 0, 1, open_low=True, open_high=True)
        self.epochs = 0  # in the mean so far
        self._first = 0
        self._network: NetworkState | None = None
        self._mean: Array | None = None  # in the layout of the network's parameters

    def on_fit_begin(self, network: NetworkState, run: Run) -> None:
        epochs = run.epochs - run.first_epoch
        self._first = min(run.first_epoch + int(self.start * epochs), run.epochs - 1)
        self.epochs, self._network, self._mean = 0, network, None

    def on_epoch_end(self, network: NetworkState, epoch: int, logs: Logs) -> None:
        if epoch < self._first:
            return
        self.epochs += 1
        if self._mean is None:
            self._mean = network.flat.astype(np.float64)
        else:
            self._mean += (network.flat - self._mean) * (1 / self.epochs if self.decay is None else 1 - self.decay)

    def on_fit_end(self, network: NetworkState) -> None:
        if self._mean is not None:
            network.flat[...] = self._mean
        self._network, self._mean = None, None

    def for_member(self, member: int, members: int) -> Callback:
        return copy.copy(self) if members > 1 else self

    def state(self) -> dict[str, Any]:
        weights: dict[str, Array] = {}
        if self._network is not None and self._mean is not None:
            weights = _views(self._mean, self._network)
        return {"epochs": self.epochs, "first": self._first, **weights}

    def check_state(self, state: dict[str, Any], network: NetworkState) -> None:
        for name in ("epochs", "first"):
            states.expect(state, name, "a number of epochs", lambda v: states.whole(v, 0))
        weights = _views(np.zeros(network.flat.size), network) if state["epochs"] else {}
        for name, array in weights.items():
            states.expect(state, name, f"a tensor of float64 and shape {array.shape}", states.alike(array))
        if unknown := set(state) - {"epochs", "first", *weights}:
            raise ValueError(f"{min(unknown)!r} is unknown")

    def restore(self, state: dict[str, Any]) -> None:
        self.epochs, self._first = state["epochs"], state["first"]
        if self.epochs and self._network is not None:
            self._mean = np.zeros(self._network.flat.size)
            for name, view in _views(self._mean, self._network).items():
                view[...] = state[name]


def _views(mean: Array, network: NetworkState) -> dict[str, Array]:
    return {f"mean.{name}": view for name, view in arena.views(mean, network.plan.names).items()}
