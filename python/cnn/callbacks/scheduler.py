"""The learning rate of each epoch by a function, where it is not known before the fit; else see `cnn.schedules`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from cnn._common import checks
from cnn._common.elsewhere import told
from cnn.callbacks.callback import Callback, Run
from cnn.files import states
from cnn.runtime.state import NetworkState


class LearningRateScheduler(Callback):
    """Sets the learning rate of each epoch, function(epoch, rate) -> rate, as Keras's callback of that name.

    The function gets the number of the epoch, which counts from 0 in each fit (from `initial_epoch` where that is
    given), and the rate of the one before, which `ReduceOnPlateau` may have lowered; what it gives is the rate of all
    steps of the epoch. After the fit the network keeps the last one, as `network.rate_factor`.

    Args:
        function: what it returns must be a finite number >= 0.

    Raises:
        TypeError: no function, or it returns no number. ValueError: a number out of range; in `fit`, before anything is
            touched, an optimizer whose learning rate is a schedule or 0, or a fit without one (L-BFGS).

    >>> import cnn, numpy as np
    >>> net = cnn.Network([cnn.Dense(1)], optimizer=cnn.SGD(0.1), seed=0)
    >>> halved = LearningRateScheduler(lambda epoch, rate: rate / 2 if epoch else rate)
    >>> net.fit(np.ones((8, 1)), np.ones(8), epochs=3, callbacks=[halved], verbose=0).learning_rate
    [0.1, 0.05, 0.025]
    """

    @told
    def __init__(self, function: Callable[[int, float], float]) -> None:
        if not callable(function):
            raise TypeError(f"LearningRateScheduler takes a function (epoch, rate) -> rate, got {function!r}")
        self.function = function
        self._base, self._begun = 1.0, 0
        self._epoch = -1  # the last one whose rate is set

    def check(self, run: Run) -> None:
        if not isinstance(run.learning_rate, float) or run.learning_rate == 0:
            what = "none" if run.learning_rate is None else repr(run.learning_rate)
            raise ValueError(
                f"LearningRateScheduler needs an optimizer whose learning_rate is a number > 0; it is {what}"
            )

    def on_fit_begin(self, network: NetworkState, run: Run) -> None:
        assert isinstance(run.learning_rate, float)
        self._base, self._begun, self._epoch = run.learning_rate, run.begun, -1

    def on_epoch_begin(self, network: NetworkState, epoch: int) -> None:
        if epoch == self._epoch:  # a fit that was broken off within it, and goes on: the function has been asked
            return
        given = self.function(epoch - self._begun, self._base * network.rate_factor)
        what = f"the learning rate that the function of LearningRateScheduler gives for epoch {epoch - self._begun}"
        network.rate_factor = checks.number(what, given, 0, open_high=True) / self._base
        self._epoch = epoch

    def for_member(self, member: int, members: int) -> Callback:
        return copy.copy(self) if members > 1 else self

    def state(self) -> dict[str, Any]:
        return {"epoch": self._epoch}

    def check_state(self, state: dict[str, Any], network: NetworkState) -> None:
        states.expect(state, "epoch", "an epoch, or -1", lambda v: states.whole(v, -1))
        if unknown := set(state) - {"epoch"}:
            raise ValueError(f"{min(unknown)!r} is unknown")

    def restore(self, state: dict[str, Any]) -> None:
        self._epoch = state["epoch"]
