"""Checkpoints: the whole state of a fit in a file, from which it goes on to the same bits."""

from __future__ import annotations

import copy
import os
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np

import cnn_core
from cnn._common import checks
from cnn._common.elsewhere import told
from cnn._common.errors import ModelFormatError
from cnn.callbacks import Callback, Logs, Run
from cnn.files import atomic, container, strict_json
from cnn.files.network import describe_network, history_tensors, network_tensors, optimizer_tensors
from cnn.runtime.data import Array
from cnn.runtime.state import NetworkState
from cnn.training.position import POSITION, FitIdentity, checkpoints, stateful

_UNITS = ("epochs", "steps", "seconds")


class Checkpoint(Callback):
    """Keeps the whole state of the fit in a folder, so that `net.fit(..., resume=folder)` goes on to the same bits.

    A file holds weights, optimizer, position in the epoch, history, best weights and what else callbacks know, and is
    written whole or not at all: at the end of an epoch, or when a call into the core returns (every 50 ms or so) and so
    many steps or seconds have passed; in any case at the end of the fit.

    Files of other trainings are never removed. Where a `TableModel` trains several networks, each has a folder in this
    one, "member-0" and so on.

    Args:
        folder: made when it is not there; files are named after the optimizer step.
        every: so many units lie between two checkpoints, at least.
        unit: "epochs", "steps" or "seconds".
        keep: the newest ones that stay; None keeps all.

    Raises:
        ValueError: the folder holds checkpoints of another training, or later ones.

    >>> Checkpoint("run", every=30, unit="seconds").keep
    3
    """

    @told
    def __init__(
        self, folder: str | os.PathLike[str], every: float = 1, unit: Literal["epochs", "steps", "seconds"] = "epochs",
        keep: int | None = 3,
    ) -> None:  # fmt: skip
        if unit not in _UNITS:
            raise ValueError(f"unit of Checkpoint must be one of {', '.join(_UNITS)}, got {unit!r}")
        self.folder = Path(folder)
        self.unit = unit
        if unit == "seconds":
            self.every = checks.number("every", every, 0, open_low=True)
        else:
            self.every = checks.integer("every", every, 1)
        self.keep = None if keep is None else checks.integer("keep", keep, 1)
        self._run: Run | None = None
        self._own: set[Path] = set()  # the files of this training
        self._saved_step = 0
        self._saved_time = 0.0

    def check(self, run: Run) -> None:
        if run.job is None:
            raise ValueError("Checkpoint keeps what Network.fit does; an estimator's fit can't be resumed")
        if not run.job.ranks.first:
            return
        if not self.folder.is_dir():
            if self.folder.exists() or not self.folder.absolute().parent.is_dir():
                raise ValueError(f"Checkpoint can't write to {self.folder}: it is no folder, or is in none")
            return
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise ValueError(f"Checkpoint can't write to {self.folder}: permission denied")
        resumed = run.resumed is not None and self.folder.samefile(run.resumed)
        training = run.job.position.training
        for step, path in reversed(checkpoints(self.folder)):
            if training_of(path) not in (training, None) or (step > run.step and not resumed):
                raise ValueError(
                    f"{self.folder} holds {path.name} of another fit; go on from it with "
                    f"resume={os.fspath(self.folder)!r}, or give an empty folder"
                )

    def for_member(self, member: int, members: int) -> Callback:
        own = copy.copy(self)
        if members > 1:
            self.folder.mkdir(exist_ok=True)
            own.folder = member_folder(self.folder, member, members)
        return own

    def on_fit_begin(self, network: NetworkState, run: Run) -> None:
        self._run, self._saved_step, self._saved_time = run, network.step, time.monotonic()
        if not run.job.ranks.first:
            return
        self.folder.mkdir(exist_ok=True)
        atomic.sweep(self.folder, r"\.step-\d{12}\.cnn\.")
        training = run.job.position.training
        self._own = {path for _, path in checkpoints(self.folder) if training_of(path) == training}
        self._prune()  # a fit that was killed may not have come to it

    def on_progress(self, network: NetworkState, epoch: int, rows: int) -> None:
        if self.unit != "epochs" and self._due(network):
            self._save(network)

    def on_epoch_end(self, network: NetworkState, epoch: int, logs: Logs) -> None:
        assert self._run is not None
        last = network.stop_training or epoch + 1 >= self._run.epochs
        if last or ((epoch + 1) % self.every == 0 if self.unit == "epochs" else self._due(network)):
            self._save(network)

    def on_fit_end(self, network: NetworkState) -> None:
        self._run = None

    def _due(self, network: NetworkState) -> bool:
        if self.unit == "steps":
            return network.step - self._saved_step >= self.every
        assert self._run is not None
        return self._run.job.ranks.broadcast(time.monotonic() - self._saved_time >= self.every)

    def _save(self, network: NetworkState) -> None:
        """Among several ranks all come here together, and rank 0 writes."""
        assert self._run is not None
        job, position = self._run.job, self._run.job.position
        outputs = job.collect()
        self._saved_step, self._saved_time = network.step, time.monotonic()
        if not job.ranks.first:
            return
        position.stopped = network.stop_training
        path = self.folder / f"step-{network.step:012d}.cnn"
        if path not in self._own and training_of(path) not in (position.training, None):
            raise ValueError(f"{path} is of another fit, which writes to the same folder; give each its own")
        write(path, network, job, outputs)
        self._own.add(path)
        self._prune()

    def _prune(self) -> None:
        """Removes those of this training that are older than the newest ones that stay."""
        if self.keep is not None:
            for path in sorted(self._own)[: -self.keep]:
                path.unlink(missing_ok=True)
                self._own.discard(path)


def member_folder(folder: str | os.PathLike[str], member: int, members: int) -> Path:
    """Where the checkpoints of one of several networks are."""
    return Path(folder) / f"member-{member}" if members > 1 else Path(folder)


class Set:
    """The checkpoints of several networks in the folders of one: "networks.json" there says how many they are.

    Raises:
        ValueError: it says another number.
        ModelFormatError: it says none.
    """

    def __init__(self, folder: str | os.PathLike[str], members: int) -> None:
        self.path, self.members = Path(folder) / "networks.json", members
        if self.path.is_file():
            try:
                there = strict_json.loads(self.path.read_bytes())["networks"]
            except (ValueError, KeyError, TypeError):
                raise ModelFormatError(f"{self.path} does not say how many networks there are") from None
            if there != members:
                raise ValueError(f"{self.path.parent} holds the checkpoints of {there} networks, here are {members}")

    def begin(self) -> None:
        """Writes it, whole or not at all."""
        atomic.write_whole(self.path, strict_json.dumps({"networks": self.members}).encode())


def training_of(path: Path) -> str | None:
    """The training that a checkpoint is of; None where it can't be read."""
    try:
        return container.peek(path)["position"]["training"] if path.is_file() else None
    except (OSError, ModelFormatError, KeyError, TypeError):
        return None


# The file -------------------------------------------------------------------------------------------------------------


def write(path: Path, net: NetworkState, job: FitIdentity, outputs: Array | None) -> None:
    """The state of this fit as a file, with the outputs of the epoch's rows so far."""
    position = job.position
    tensors = network_tensors(net, "network.")
    tensors |= optimizer_tensors(net) | history_tensors(net.history)
    if position.done:
        assert position.report is not None
        assert outputs is not None
        tensors["epoch.report"] = position.report[: position.done]
        tensors["epoch.outputs"] = outputs
    states = []
    for i, (hook, state) in enumerate(stateful(job.hooks)):
        arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
        tensors |= {f"callbacks.{i}.{name}": value for name, value in arrays.items()}
        numbers = {name: _plain(value) for name, value in state.items() if name not in arrays}
        states.append({"class": type(hook).__name__, "state": numbers, "tensors": list(arrays)})
    payload = {
        "network": describe_network(net),
        "position": {name: getattr(position, name) for name in POSITION},
        "settings": job.settings(),
        "data": job.data(),
        "isa": cnn_core.isa,
        "step": net.step,
        "rate_factor": float(net.rate_factor),
        "activation_choice": net.activation_choice,
        "history": net.history.names,
        "callbacks": states,
    }
    container.write(path, "checkpoint", payload, tensors)


def _plain(value: Any) -> Any:
    """JSON has no infinity and no NaN."""
    if isinstance(value, float):
        return {"float": value.hex()}
    if value is None or isinstance(value, bool | int | str):
        return value
    raise TypeError(f"the state of a callback must be numbers, texts, None or arrays, got {type(value).__name__}")
