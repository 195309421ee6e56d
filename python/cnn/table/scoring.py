"""Scores of a table in pieces: of each row the target and the outputs are kept, so that every score sees them all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from cnn._common import console
from cnn.runtime.sparse import SparseRows
from cnn.table import large, lesson, messages, training
from cnn.table.encode import Encoder
from cnn.table.frames import Array, TableError
from cnn.table.targets import Goal


def of_pieces(
    encoder: Encoder, goal: Goal, outputs: Callable[[Array | SparseRows, int | None], Array], pieces: Iterable[Any],
    n_threads: int | None,
) -> dict[str, float]:  # fmt: skip
    """See `TableModel.evaluate`; frames one after another, of one table."""
    targets, found, infinite = list[Array](), list[Array](), dict[str, int]()
    for piece in large.numbered(pieces):
        rows = goal.known(goal.cells(piece))
        for name, n in lesson.infinite_cells(encoder, piece, goal).items():
            infinite[name] = infinite.get(name, 0) + n
        if len(rows):
            targets.append(lesson.numbers(goal, piece, rows))
            found.append(outputs(encoder.features(piece, rows), n_threads))
    if not targets:
        raise TableError(f"no row has a value of {goal.described}")
    if said := messages.infinite(infinite):
        console.warn(said)
    return training.scores(goal, np.concatenate(targets), np.concatenate(found))
