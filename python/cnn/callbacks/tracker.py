"""What the callbacks for TensorBoard, MLflow and Weights & Biases share; each imports its package when a fit begins."""

from __future__ import annotations

import copy
from dataclasses import fields
from importlib import import_module
from typing import Any

from cnn._common import checks
from cnn.callbacks.callback import Callback, Logs, Run
from cnn.inspect.reports import short
from cnn.losses import Loss
from cnn.runtime.state import NetworkState

_LONGEST = 500  # letters of a parameter, of which MLflow takes no more


def package(name: str, who: str, extra: str, install: str) -> Any:
    """The module of an extra; ImportError that names it where it is not there."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"{who} needs {install} (extra {extra!r}): pip install {install}") from error


def described(network: NetworkState) -> dict[str, Any]:
    """Layers, loss, optimizer and its fields, of a network that may not be built.

    >>> from cnn.layers import Dense
    >>> found = described(NetworkState([Dense(2)], seed=0))
    >>> found["layers"], found["optimizer"], found["optimizer.learning_rate"]
    ("Dense(2, 'identity')", 'Adam', 0.001)
    """
    optimizer, loss = network.optimizer, network.loss
    found = {
        "layers": ", ".join(map(short, network.descriptions)),
        "loss": loss.name if type(loss) is Loss else short(loss), "optimizer": type(optimizer).__name__,
        **{f"optimizer.{field.name}": getattr(optimizer, field.name) for field in fields(optimizer)},
        "dtype": network.dtype.name, "seed": network.seed,
    }  # fmt: skip
    return {name: plain(value) for name, value in found.items()}


def parameters_of(network: NetworkState, run: Run) -> dict[str, Any]:
    """What a fit is told with: the same, and sizes.

    >>> from cnn.layers import Dense
    >>> found = parameters_of(NetworkState([Dense(2)], seed=0).build(3), Run(0, 5, 100, 1, ("loss",)))
    >>> found["loss"], found["epochs"], found["rows"], found["parameters"]
    ('mse', 5, 100, 8)
    """
    sizes = {
        "parameters": sum(view.size for view in network.parameters.values()),
        "epochs": run.epochs - run.first_epoch, "rows": run.rows, "steps_per_epoch": run.steps_per_epoch,
    }  # fmt: skip
    return {**described(network), **sizes, **({} if run.job is None else {"batch_size": run.job.batch})}


def plain(value: Any) -> Any:
    """Numbers, truth values and None as they are; all else as text of 500 letters at most."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


class Tracker(Callback):
    """What the callbacks of this file share: numbers of each epoch, and of every so many steps where asked for.

    >>> Tracker(steps=10).needs
    ('epoch_end', 'train_batch_end')
    """

    writes = True

    def __init__(self, steps: int = 0) -> None:
        self.steps = checks.integer(f"steps of {type(self).__name__}", steps, 0)
        self.needs = ("epoch_end", "train_batch_end") if self.steps else ("epoch_end",)
        self.member: int | None = None

    def for_member(self, member: int, members: int) -> Callback:
        if members == 1:
            return self
        own = copy.copy(self)
        own.member = member
        return own

    def on_train_batch_end(self, network: NetworkState, batch: int, logs: Logs) -> None:
        if network.step % self.steps == 0:
            self.step_done(network.step, {f"batch_{name}": value for name, value in logs.items()})

    def step_done(self, step: int, logs: Logs) -> None:
        """Writes the numbers of a step."""
