"""What rows that networks were not trained on teach a table model of its errors: residuals, and a temperature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnn import metrics, uncertainty
from cnn._common import checks
from cnn.network import Network
from cnn.table import training
from cnn.table.frames import Array
from cnn.table.lesson import Lesson
from cnn.table.targets import Goal
from cnn.table.training import OutOfMember
from cnn.uncertainty import Residuals

_FOLDS = 5
_MOST = 1 << 15  # rows that are looked at, evenly apart
_LEAST = 1e-12  # probability, before its logarithm is taken
_HOTTEST = 20.0
MISSING = (
    "the model does not know the errors of rows that it was not trained on: a file of an earlier version has none; fit "
    "it anew"
)


def of_a_fit(
    found: Lesson, networks: Sequence[Network], n_threads: int | None
) -> tuple[Goal, OutOfMember, Residuals | tuple[Residuals, ...] | None, tuple[str, ...]]:
    """(the target, what networks predict of rows they were not trained on, the errors of numbers, what is to be said).

    Probabilities are calibrated before, but for those of weighted rows, which are not to come true in the table; so are
    numbers whose logarithms are learnt.
    """
    note: tuple[str, ...] = ()
    goal, seen = unbiased(found, networks, n_threads)
    divisor = temperature(seen, goal) if found.circle.weights is None else 1.0
    if divisor != 1:
        before = metrics.log_loss(seen.y.astype(np.int64), seen.outputs)
        cool(networks, divisor)
        seen = training.out_of_member(found, goal, networks, n_threads)
        after = metrics.log_loss(seen.y.astype(np.int64), seen.outputs)
        note = (f"probabilities are calibrated by the temperature {divisor:.3g}: log loss {after:.4g} instead of "
                f"{before:.4g} on held-out rows",)  # fmt: skip
    return goal, seen, None if goal.classes else _residuals(seen), note


def set_scores(goal: Goal, seen: OutOfMember, seed: int) -> dict[str, Residuals] | None:
    """What these rows say of sets of classes; None of numbers."""
    if not goal.classes:
        return None
    p = seen.outputs if seen.outputs.ndim == 2 else np.column_stack([1 - seen.outputs, seen.outputs])
    u = np.random.default_rng((seed, 5)).random(len(seen.y))
    return uncertainty.set_scores(seen.y.astype(np.int64), p, u)


def _residuals(seen: OutOfMember) -> Residuals | tuple[Residuals, ...]:
    """Of the target, or of each of several."""
    if seen.y.ndim == 1:
        return Residuals.learn(seen.y, seen.outputs, seen.parts)
    return tuple(Residuals.learn(y, p, seen.parts) for y, p in zip(seen.y.T, seen.outputs.T, strict=True))


def unbiased(found: Lesson, networks: Sequence[Network], n_threads: int | None) -> tuple[Goal, OutOfMember]:
    """The target that makes right what the mean of logarithms is wrong by, and the predictions with it."""
    goal, seen = found.goal, training.out_of_member(found, found.goal, networks, n_threads)
    if not goal.logarithmic:
        return goal, seen
    goal = goal.unbiased(seen.y, seen.outputs)
    return goal, training.out_of_member(found, goal, networks, n_threads)


def temperature(found: OutOfMember, goal: Goal) -> float:
    """By what logits are to be divided (Guo et al. 2017), 1 where that makes no log loss of rows left out better.

    T has the least log loss. Rows are left out in five parts, and the gain must be twice its standard error: each row
    is predicted by fewer networks than later ones will be, whose mean is less sure of itself.
    """
    if not goal.classes or len(found.y) < 2 * _FOLDS:
        return 1.0
    thin = slice(None, None, -(-len(found.y) // _MOST))
    y, p = found.y[thin].astype(np.int64), found.outputs[thin]
    logs = np.log(np.maximum(np.column_stack([1 - p, p]) if p.ndim == 1 else p, _LEAST))
    fold = np.arange(len(y)) % _FOLDS
    gain = np.empty(len(y))
    for k in range(_FOLDS):
        some = fold == k
        learnt = _best(logs[~some], y[~some])
        gain[some] = _losses(logs[some], y[some], 1.0) - _losses(logs[some], y[some], learnt)
    if gain.mean() <= 2 * gain.std() / np.sqrt(len(y)):
        return 1.0
    return _best(logs, y)


def cool(networks: Sequence[Network], temperature: float) -> None:
    """Divides the logits of networks by the temperature: a factor of the last layer's weights and biases."""
    for net in networks:
        last = max(int(name.split(".")[1]) for name in net.parameters)
        for name, view in net.parameters.items():
            if name.startswith(f"layers.{last}."):
                view[...] = view / temperature


@checks.quiet
def _losses(logs: Array, y: Array, temperature: float) -> Array:
    """(n,) log losses of softmax(logs / temperature)."""
    scaled = logs / temperature
    top = scaled.max(axis=1)
    total = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
    return np.asarray(total - scaled[np.arange(len(y)), y])


@checks.quiet
def _best(logs: Array, y: Array) -> float:
    """The T in [1/20, 20] with the least log loss: Newton's method, for it is convex in 1 / T."""
    inverse = 1.0
    for _ in range(50):
        p = np.exp(inverse * (logs - logs.max(axis=1, keepdims=True)))
        p /= p.sum(axis=1, keepdims=True)
        mean = (p * logs).sum(axis=1)
        slope = (mean - logs[np.arange(len(y)), y]).mean()
        curve = ((p * logs**2).sum(axis=1) - mean**2).mean()
        before, inverse = inverse, float(np.clip(inverse - slope / max(curve, _LEAST), inverse / 2, 2 * inverse))
        inverse = min(max(inverse, 1 / _HOTTEST), _HOTTEST)
        if abs(inverse - before) <= 1e-6 * before:
            break
    return 1 / inverse
