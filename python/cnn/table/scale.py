"""Whether the logarithm of a skewed target is learnt: what predicts rows that were held out better in a short pilot."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from cnn import many, metrics
from cnn._common import checks
from cnn.table import calibration, lesson
from cnn.table.architecture import network_of
from cnn.table.frames import Array, TableError
from cnn.table.settings import Settings
from cnn.table.targets import Goal, Names

_SKEWED = 1.0  # the skewness from which on it is tried
_BETTER = 0.95  # of the RMSE
_ROWS, _STEPS = 3_000, 1_000  # of the pilot, at most
_FEW = 2_000  # rows
_OF_FEW, _OF_MANY = (5, 0.1), (2, 0.25)  # networks for each scale, and what each of them holds out
_SECONDS = 5.0  # that a fit must be given to have a pilot


def settled(
    frame: Any, name: Names, settings: Settings, seed: int, weight: str | None, n_threads: int | None
) -> tuple[Settings, tuple[str, ...]]:
    """The settings with a `target_scale` that is not "auto", and what is to be said of it.

    The logarithm is learnt where it makes the RMSE of rows that were held out, in units of the target, at least a
    twentieth smaller: smaller gains are gone with more rows and steps. Tried is it for one target of numbers >= 0 of a
    skewness of at least 1.
    """
    linear = dataclasses.replace(settings, target_scale="linear")
    if settings.target_scale != "auto":
        return settings, ()
    if settings.aim == "classification" or not isinstance(name, str) or (settings.max_seconds or math.inf) < _SECONDS:
        return linear, ()
    goal, known = lesson.learn(frame, name, linear)
    if goal.task != "regression" or not is_tried(goal, frame, known):
        return linear, ()
    try:
        return _compared(frame, name, linear, seed, weight, n_threads, known)
    except TableError:  # of so few rows nothing can be learnt, or of all of them: the fit says so
        return linear, ()


def _compared(
    frame: Any, name: str, linear: Settings, seed: int, weight: str | None, n_threads: int | None, known: Array
) -> tuple[Settings, tuple[str, ...]]:
    """`settled` by a pilot on an even part of the known rows."""
    rows = known[np.linspace(0, len(known) - 1, min(len(known), _ROWS)).astype(np.intp)]
    some = frame.iloc[rows]
    log = dataclasses.replace(linear, target_scale="log")
    before, after = (_error(some, name, one, seed, weight, n_threads) for one in (linear, log))
    said = f"RMSE {after:.4g} with it and {before:.4g} without it on held-out rows of a short pilot"
    if after <= _BETTER * before:
        return log, (f"the logarithm of {name!r} is learnt: {said}",)
    return linear, (f"{name!r} is learnt as it is, its logarithm was tried: {said}",)


@checks.quiet
def is_tried(goal: Goal, frame: Any, known: Array) -> bool:
    """Whether the target may be better learnt as its logarithm."""
    if goal.loss.name != "mse" or goal.each[0].low < 0 or len(known) < 4 * lesson.FEWEST:
        return False
    y = lesson.numbers(goal, frame, known)
    z = (y - y.mean()) / y.std()
    return bool((z**3).mean() >= _SKEWED)


def _error(
    frame: Any, name: str, settings: Settings, seed: int, weight: str | None, n_threads: int | None
) -> float:  # fmt: skip
    """The RMSE of rows that are held out, in units of the target."""
    networks, share = _OF_FEW if len(frame) < _FEW else _OF_MANY
    settings = dataclasses.replace(settings, members=networks, valid=share)
    found = lesson.of_frame(frame, name, settings, seed, None, weight)
    settings = settings.chosen("regression", found.n, found.encoder.embedded)
    steps = -(-found.trained_on // (settings.batch_size or 1))
    parts = [found.of_member(part)[0] for part in range(found.parts)]
    nets = [network_of(settings, found.goal, found.encoder, (seed + part) % 2**63) for part in range(found.parts)]
    many.train_many(
        nets, [part.X for part in parts], [part.scaled for part in parts],
        sample_weight=[part.weights for part in parts], epochs=max(min(settings.epochs or 1, _STEPS // steps), 1),
        batch_size=settings.batch_size, metrics=(), verbose=0, n_threads=n_threads, errors="return",
    )  # fmt: skip
    _, seen = calibration.unbiased(found, nets, n_threads)
    return metrics.rmse(seen.y, seen.outputs)
