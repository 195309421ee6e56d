"""A search over the settings of a `TableModel`: the table is encoded once, and the networks trained side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cnn import metrics
from cnn.network import Network
from cnn.runtime import data
from cnn.runtime.data import Array, Data
from cnn.table import TableModel, frames, targets
from cnn.table.architecture import network_of
from cnn.table.settings import Settings
from cnn.table.targets import Goal
from cnn.tuning import study
from cnn.tuning.candidates import Measure, Task
from cnn.tuning.result import SearchResult
from cnn.tuning.space import Function


def tune(
    table: Any, target: str | Sequence[str], *, budget: int, given: Mapping[str, Any], seed: int = 0,
    storage: str | os.PathLike[str] | None = None, say: Callable[[str], object] | None = None,
    n_threads: int | None = None,
) -> tuple[dict[str, Any], SearchResult]:  # fmt: skip
    """(arguments of `TableModel` that were best on its held-out rows, all that was tried).

    Args:
        given: what is not searched: task, valid, epochs, patience, decimal.
        storage: a file that keeps what was tried.

    Raises:
        ValueError: as `TableModel.fit` and `cnn.search`.
    """
    options = study.checked(budget, 3, 16, None, None, storage, f"cnn tune, target {targets.asked(target)}", seed, say)
    first = TableModel(target, **{"target_scale": "linear", **given, "epochs": 1, "members": 1}, seed=seed).fit(
        table, verbose=0, n_threads=n_threads
    )  # fmt: skip
    frame, goal = frames.to_pandas(table), first.goal
    known = goal.known(goal.cells(frame))
    train = np.setdiff1d(known, first.held_out)
    rows, held_out = (_rows(first, frame, which) for which in (train, first.held_out))
    fixed = Settings(**given).chosen(goal.task, len(train), first.encoder.embedded)
    assert fixed.epochs is not None
    fold = np.arange(len(train)), held_out
    task = Task(rows, [fold], _measure(goal), fixed.epochs, fixed.patience, None, n_threads)

    def build(trial: Any) -> tuple[Network, dict[str, Any]]:
        chosen = Settings(**given, **_settings(_suggested(trial))).chosen(goal.task, len(train), first.encoder.embedded)
        return network_of(chosen, goal, first.encoder, seed), {"batch_size": chosen.batch_size}

    result = study.run(Function(build, None), task, options)
    return _settings(result.best_settings), result


def _suggested(trial: Any) -> dict[str, Any]:
    return {
        "units": trial.suggest_int("units", 16, 512, log=True), "depth": trial.suggest_int("depth", 1, 4),
        "activation": trial.suggest_categorical("activation", ["relu", "silu", "tanh"]),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "learning_rate": trial.suggest_float("learning_rate", 1e-3, 0.05, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-4, 0.3, log=True),
        "batch_size": trial.suggest_int("batch_size", 32, 512, log=True),
    }  # fmt: skip


def _settings(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `TableModel`."""
    rest = {name: value for name, value in chosen.items() if name not in ("units", "depth")}
    return {"hidden": (chosen["units"],) * chosen["depth"], **rest}


def _rows(model: TableModel, frame: Any, which: Array) -> Data:
    goal = model.goal
    y = goal.scaled(goal.numbers(goal.cells(frame).iloc[which]))
    net = model.networks[0]
    X = model.encoder.features(frame, which)
    return data.prepare(X, y, None, goal.loss, net.dtype, net.n_inputs, net.n_outputs)


def _measure(goal: Goal) -> Measure:
    """The RMSE in units of the target, of several in units of each one's deviation, or the log loss."""
    if goal.task == "classification":
        return Measure("log_loss", metrics.log_loss, False)
    unit = goal.each[0].deviation if len(goal.each) == 1 else 1.0
    return Measure("rmse", lambda y, p, weights=None: unit * metrics.rmse(y, p, weights), False)
