"""The length of the schedule where few rows are held out: the one of four whose networks predict them best."""

from __future__ import annotations

import dataclasses

import numpy as np

from cnn import many
from cnn.table.architecture import network_of
from cnn.table.lesson import Lesson
from cnn.table.settings import Settings

FEW = 200  # rows held out by a network, by which the best epoch would be a matter of chance
_LENGTHS = (1.0, 1 / 3, 1 / 9, 1 / 27)


def is_needed(asked: Settings, found: Lesson) -> bool:
    """Whether the length is open: neither epochs nor patience are asked for, and few rows are held out."""
    few = min(len(found.of_member(part)[1]) for part in range(found.parts)) < FEW
    return few and asked.epochs is None and asked.patience is None and not found.mapped


def fitted(asked: Settings, settings: Settings, found: Lesson, seed: int, n_threads: int | None) -> Settings:
    """The settings, which are `chosen`, with the epochs by which networks predict best what they hold out, one a part.

    Compared are the mean losses of all rows held out at the end of the schedules: a network's own best epoch among
    hundreds would make few rows seem to be predicted better than others.
    """
    if not is_needed(asked, found):
        return settings
    rows = [found.of_member(part) for part in range(found.parts)]
    lengths = sorted({max(round(length * (settings.epochs or 1)), 1) for length in _LENGTHS}, reverse=True)
    losses = []
    for epochs in lengths:
        networks = [
            network_of(settings, found.goal, found.encoder, (seed + part) % 2**63) for part in range(found.parts)
        ]
        histories = many.train_many(
            networks, [part.X for part, _ in rows], [part.scaled for part, _ in rows],
            sample_weight=[part.weights for part, _ in rows], validation_data=[aside.to_score for _, aside in rows],
            epochs=epochs, batch_size=settings.batch_size, metrics=(), verbose=0, n_threads=n_threads,
        )  # fmt: skip
        losses.append(np.average([h["val_loss"][-1] for h in histories], weights=[len(aside) for _, aside in rows]))
    return dataclasses.replace(settings, epochs=lengths[int(np.argmin(losses))])
