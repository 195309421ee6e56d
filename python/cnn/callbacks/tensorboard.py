"""Fits for TensorBoard."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from cnn._common import checks
from cnn._common.elsewhere import told
from cnn.callbacks.callback import Logs, Run
from cnn.callbacks.tracker import Tracker, package, parameters_of
from cnn.runtime.state import NetworkState


class TensorBoard(Tracker):
    """Writes a fit for TensorBoard, with tensorboardX (extra `tensorboard`): then `tensorboard --logdir logs` shows it.

    As with Keras's callback numbers of training rows are in the folder "train" and those of rows held out in
    "validation", with the same tags, "epoch_loss" and so on, and are drawn over one another. Steps are in "steps". A
    further fit goes on in the same folder; one that is resumed takes the place of the epochs that it makes again.

    Args:
        folder: made where it is not there; where a `TableModel` or `train_many` trains several networks, each has
            "member-0" and so on in it.
        histograms: histograms of all weights every so many epochs, 0 for none.
        steps: loss and learning rate of every so many steps, 0 for none. Each step is a call into the core then.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range. ImportError: in `fit`, before anything is
            touched, where tensorboardX is not there.

    >>> TensorBoard("logs", histograms=5).folder.name
    'logs'
    """

    @told
    def __init__(self, folder: str | os.PathLike[str] = "logs", histograms: int = 0, steps: int = 0) -> None:
        super().__init__(steps)
        self.folder = Path(folder)
        self.histograms = checks.integer("histograms of TensorBoard", histograms, 0)
        self._writers: dict[str, Any] = {}
        self._run = Run(0, 0, 0, 0, ())

    def check(self, run: Run) -> None:
        self.package()
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"TensorBoard can't write to {self.folder}: it is no folder")

    @staticmethod
    def package() -> Any:
        """The package, or an ImportError that names the extra."""
        return package("tensorboardX", "cnn.TensorBoard", "tensorboard", "tensorboardX")

    def on_fit_begin(self, network: NetworkState, run: Run) -> None:
        self._run, self._writers = run, {}
        table = "\n".join(f"| {name} | {value} |" for name, value in parameters_of(network, run).items())
        self._writer("train").add_text("fit", f"| parameter | value |\n| --- | --- |\n{table}", run.first_epoch)

    def _writer(self, name: str) -> Any:
        """The writer of a folder."""
        if name not in self._writers:
            run = self._run
            place = self.folder if self.member is None else self.folder / f"member-{self.member}"
            first = (run.step if name == "steps" else run.first_epoch) if run.resumed is not None else None
            suffix = f".{time.time_ns()}"  # a file of another fit may have been begun in the same second
            self._writers[name] = self.package().SummaryWriter(
                str(place / name), purge_step=first, filename_suffix=suffix
            )  # fmt: skip
        return self._writers[name]

    def step_done(self, step: int, logs: Logs) -> None:
        for name, value in logs.items():
            self._writer("steps").add_scalar(name, value, step)

    def on_epoch_end(self, network: NetworkState, epoch: int, logs: Logs) -> None:
        for name, value in logs.items():
            folder = "validation" if name.startswith("val_") else "train"
            self._writer(folder).add_scalar(f"epoch_{name.removeprefix('val_')}", value, epoch)
        if self.histograms and (epoch + 1) % self.histograms == 0:
            for name, values in network.parameters.items():
                self._writer("train").add_histogram(name, values, epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_fit_end(self, network: NetworkState) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}
