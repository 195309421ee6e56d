"""The networks of a table model: trained side by side, each without the rows that it holds out, and their mean."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn import callbacks, many, metrics
from cnn.network import Network
from cnn.runtime.history import History
from cnn.runtime.sparse import SparseRows
from cnn.table import pilot
from cnn.table.architecture import network_of
from cnn.table.frames import Array
from cnn.table.lesson import Lesson, Rows
from cnn.table.settings import Settings
from cnn.table.targets import Goal
from cnn.training import checkpoint

_NEVER = 1 << 30
OF_NUMBERS = ("rmse", "mae", "r2")
_SCORED = 1 << 17  # rows that scores are taken of, where they lie in a file


@dataclass(frozen=True)
class OutOfMember:
    """What networks predict of rows that they were not trained on.

    Args:
        rows: the numbers of the rows, ascending, in the table of the fit, or in the one given as `validation`.
        y: the targets: numbers, or the numbers of the classes.
        outputs: the mean of the networks that held the row out: numbers in units of the target, (n, k) of k targets,
            the probability of the second of two classes, or (n, k) those of all classes.
        parts: the number of the part that the row is in, of those that networks hold out in turn.
    """

    rows: Array
    y: Array
    outputs: Array
    parts: Array | None = None


def train(
    settings: Settings, found: Lesson, seed: int, given: Sequence[callbacks.Callback], verbose: int,
    n_threads: int | None, resume: str | os.PathLike[str] | None, comm: Any,
) -> tuple[tuple[Network, ...], tuple[History, ...]]:  # fmt: skip
    """The networks and the history of each, with the weights of the epoch that was best on the rows held out.

    Where these are few, with the weights at the end of the schedule.
    Side by side; one after another where ranks share out each one's steps, where the rows lie in files, and where a
    callback is for one network at a time.
    """
    members = settings.members or 1
    rows = [found.of_member(member) for member in range(members)]
    networks = [network_of(settings, found.goal, found.encoder, (seed + member) % 2**63) for member in range(members)]
    few = settings.patience is None and min(len(aside) for _, aside in rows) < pilot.FEW
    stop = [] if few else [callbacks.EarlyStopping(patience=settings.patience or _NEVER, restore_best=True)]
    how: dict[str, Any] = {
        "epochs": settings.epochs or 1, "batch_size": settings.batch_size, "metrics": (), "verbose": verbose,
        "n_threads": n_threads,
    }  # fmt: skip
    if members > 1 and comm is None and not found.mapped and all(map(many.is_for_several, given)):
        histories = many.train_many(
            networks, [part.X for part, _ in rows], [part.scaled for part, _ in rows],
            sample_weight=[part.weights for part, _ in rows],
            validation_data=[aside.to_score for _, aside in rows], callbacks=[*stop, *given], resume=resume,
            errors="return", **how,
        )  # fmt: skip
        for error in histories:
            if isinstance(error, Exception):
                raise error
        return tuple(networks), tuple(histories)
    hooks_of_members = [[hook.for_member(member, members) for hook in given] for member in range(members)]
    histories = []
    for member, (net, hooks, (part, aside)) in enumerate(zip(networks, hooks_of_members, rows, strict=True)):
        folder = None if resume is None else checkpoint.member_folder(resume, member, members)
        histories.append(net.fit(
            part.X, part.scaled, sample_weight=part.weights, validation_data=aside.to_score,
            callbacks=[*stop, *hooks], resume=folder, stream=found.mapped, comm=comm, same_rows=True, **how,
        ))  # fmt: skip
    return tuple(networks), tuple(histories)


def mean_output(networks: Sequence[Network], goal: Goal, X: Array | SparseRows, n_threads: int | None) -> Array:
    """Numbers in units of the target (n,), of several (n, k); or probabilities of the second class of two, of all."""
    mean: Array = networks[0].predict(X, n_threads=n_threads).astype(np.float64)
    for net in networks[1:]:
        mean += net.predict(X, n_threads=n_threads)
    mean /= len(networks)
    if goal.task == "regression":
        return goal.predicted(mean)
    return mean


def out_of_member(found: Lesson, goal: Goal, networks: Sequence[Network], n_threads: int | None) -> OutOfMember:
    """Of all rows that are held out; of very many in a file an even part."""
    answers = []
    for part in range(min(found.parts, len(networks))):  # a budget may have left fewer networks than parts
        aside = in_memory(found.of_member(part)[1])
        outputs = mean_output(networks[part :: found.parts], goal, aside.X, n_threads)
        answers.append((aside.numbers, aside.y, outputs, np.full(len(aside), part)))
    rows, y, outputs, parts = (np.concatenate(arrays) for arrays in zip(*answers, strict=True))
    order = np.argsort(rows)
    return OutOfMember(rows[order], y[order], outputs[order], parts[order])


def in_memory(rows: Rows) -> Rows:
    """The rows themselves; of those that lie in a file an even part, in memory."""
    if not isinstance(rows.X, np.memmap):
        return rows
    some = rows[:: -(-len(rows) // _SCORED)]
    return Rows(some.numbers, np.array(some.X), np.array(some.y), some.scaled)


def scores(goal: Goal, y: Array, outputs: Array) -> dict[str, float]:
    """rmse, mae, r2; or accuracy, log_loss, f1 and, where all classes are there, roc_auc.

    Of several targets the means over them, and those of each: "r2_price" of "price".
    """
    if goal.task == "regression":
        found = {name: getattr(metrics, name)(y, outputs) for name in OF_NUMBERS}
        for i, one in enumerate(goal.each if y.ndim == 2 else ()):
            found |= {f"{name}_{one.name}": getattr(metrics, name)(y[:, i], outputs[:, i]) for name in OF_NUMBERS}
        return found
    y = y.astype(np.int64)
    names = ["accuracy", "log_loss", "f1"]
    if len(np.unique(y)) == len(goal.classes):
        names.append("roc_auc")
    return {name: getattr(metrics, name)(y, outputs) for name in names}
