"""Which columns a table model's predictions depend on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cnn import metrics
from cnn._common import checks
from cnn.table import frames
from cnn.table.encode import Encoder
from cnn.table.frames import Array
from cnn.table.targets import Goal


def permutation(
    encoder: Encoder, goal: Goal, outputs: Callable[[Array, int | None], Array], data: Any, repeats: int,
    most_rows: int, seed: int, n_threads: int | None,
) -> Any:  # fmt: skip
    """See `TableModel.feature_importance`."""
    checks.integer("repeats", repeats, 1)
    checks.integer("most_rows", most_rows, 2)
    frame = frames.to_pandas(data)
    rng = np.random.default_rng(checks.integer("seed", seed, 0))
    rows = goal.known(goal.cells(frame))
    if len(rows) < 2:
        raise frames.TableError(f"importance needs two rows with a value of {goal.said}, got {len(rows)}")
    if len(rows) > most_rows:
        rows = np.sort(rng.choice(rows, most_rows, replace=False))
    X, y = encoder.encode(frame, rows), goal.numbers(goal.cells(frame).iloc[rows])
    if goal.task == "classification":
        y = y.astype(np.int64)
    measure = _rmse(y) if goal.task == "regression" else metrics.log_loss
    before = measure(y, outputs(X, n_threads), None)
    rises = {}
    for name, place in encoder.places.items():
        kept, rise = X[:, place].copy(), []
        for _ in range(repeats):
            X[:, place] = kept[rng.permutation(len(rows))]
            rise.append(measure(y, outputs(X, n_threads), None) - before)
        X[:, place] = kept
        rises[name] = (float(np.mean(rise)), float(np.std(rise)))
    names = sorted(rises, key=lambda name: -rises[name][0])
    table = {"importance": [rises[n][0] for n in names], "deviation": [rises[n][1] for n in names]}
    return frames.pandas().DataFrame(table, index=frames.pandas().Index(names, name="column"))


def _rmse(y: Array) -> metrics.Metric:
    """In units of the target; of several the mean over them, each in units of its deviation in these rows."""
    if y.ndim == 1:
        return metrics.rmse
    units = y.std(axis=0)
    units[units == 0] = 1.0
    return lambda y, p, weights: metrics.rmse(y / units, p / units, weights)
