"""What both halves of a checkpoint share: where a fit stands, and what must be the same to go on."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cnn._common.images import plain
from cnn.callbacks import Callback
from cnn.mpi.alone import ALONE, Alone
from cnn.mpi.shared import Shared
from cnn.runtime.data import Array, Data
from cnn.runtime.sparse import SparseRows
from cnn.streams.source import Source

_FILE = re.compile(r"step-(\d{12})\.cnn", re.ASCII)
_CHUNK = 1 << 24  # bytes
OLDER_SETTINGS: dict[str, Any] = {"exchange_every": 1, "augment": []}  # of checkpoints that do not name them
POSITION = ("first_epoch", "first_step", "first_record", "epoch", "done", "stopped", "training")


def checkpoints(folder: str | os.PathLike[str]) -> list[tuple[int, Path]]:
    """(step, path) of the checkpoints in a folder, the newest last."""
    found = [(int(match[1]), path) for path in Path(folder).iterdir()
             if (match := _FILE.fullmatch(path.name)) and path.is_file()]  # fmt: skip
    return sorted(found)


@dataclass
class Position:
    """Where a fit stands: `done` steps of `epoch` are made.

    It began with `first_epoch`, at optimizer step `first_step`, with `first_record` epochs in the history. `training`
    is the network's: its further fits and the resumed ones have the same.
    """

    first_epoch: int
    first_step: int
    first_record: int
    epoch: int
    done: int = 0
    stopped: bool = False
    training: str = ""
    report: Array | None = None  # of the steps of this epoch
    outputs: Array | None = None  # of the rows of this epoch

    def restore(self, report: Array, outputs: Array) -> None:
        """What the steps of this epoch have left so far, into a new loop's arrays."""
        report[: self.done], outputs[...] = self.report, self.outputs


@dataclass
class FitIdentity:
    """A fit as checkpoints see it: what must be the same to go on, and what changes."""

    batch: int
    shuffle: bool
    names: tuple[str, ...]
    train: Data | Source
    validation: Data | Source | None
    hooks: Sequence[Callback]
    position: Position
    among: Shared | None = None  # several ranks
    exchange_every: int = 1
    augment: tuple[str, ...] = ()  # how images are changed
    fingerprints: dict[str, Any] | None = None

    @property
    def n_inputs(self) -> Any:
        """Numbers of a row, or the shape of an image."""
        return plain((self.train.first() if isinstance(self.train, Source) else self.train).X.shape[1:])

    def data(self) -> dict[str, Any]:
        """The data's fingerprints, taken once; among ranks that have rows of their own, by all of them together."""
        if self.fingerprints is None:
            together = (lambda own: own) if self.among is None else self.among.fingerprint
            self.fingerprints = {
                "training": together(fingerprint(self.train)),
                "validation": None if self.validation is None else together(fingerprint(self.validation)),
            }
        return self.fingerprints

    @property
    def ranks(self) -> Alone:
        return ALONE if self.among is None else self.among.ranks

    def collect(self) -> Array | None:
        """What a checkpoint needs of all ranks, which call this together: the outputs of the epoch's rows so far."""
        own = self.position.outputs
        if self.among is None:
            return own
        if not self.among.same:
            self.data()
        if own is None:
            return None
        return self.among.gather(own) if self.position.done and own.size else own

    def settings(self) -> dict[str, Any]:
        names = list(self.names)
        return {
            "batch_size": self.batch, "shuffle": self.shuffle, "names": names, "exchange_every": self.exchange_every,
            "augment": list(self.augment),
        }  # fmt: skip


def fingerprint(rows: Data | Source) -> str:
    """SHA-256 of rows: types, shapes and every byte. (`y` is what the targets or the classes are.)

    Of rows that are read while the network trains: of what their source says of itself.
    """
    if isinstance(rows, Source):
        return hashlib.sha256(rows.description().encode()).hexdigest()
    return rows.once("fingerprint", partial(_of_every_byte, rows))


def _of_every_byte(rows: Data) -> str:
    rows = rows.with_own_X()  # a copy for the time being
    digest = hashlib.sha256(str(rows.y.shape).encode())
    X: tuple[Array | None, ...]
    if isinstance(rows.X, SparseRows):
        digest.update(f"sparse{rows.X.shape}".encode())
        X = rows.X.parts() if rows.X.stairs is None else (*rows.X.parts(), rows.X.stairs)
    else:
        X = (rows.X,)
    for array in (*X, rows.targets, rows.classes, rows.weights):
        digest.update(b"none" if array is None else f"{array.dtype.str}{array.shape}".encode())
        if array is not None:
            content = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
            for begin in range(0, len(content), _CHUNK):  # Ctrl-C is seen between two
                digest.update(content[begin : begin + _CHUNK])
    return digest.hexdigest()


def stateful(hooks: Sequence[Callback]) -> list[tuple[Callback, dict[str, Any]]]:
    return [(hook, state) for hook in hooks if (state := hook.state())]
