"""Callbacks that say what happens: a progress bar, a line for each epoch, a CSV file."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import TextIO

from cnn._common import console, interrupt
from cnn._common.elsewhere import told
from cnn._common.progress_bar import Bar
from cnn.callbacks.callback import Callback, Logs, Run
from cnn.files import atomic
from cnn.runtime.state import NetworkState


class CSVLogger(Callback):
    """Writes a line for each epoch to a CSV file; a further fit goes on in the same file.

    A fit that is resumed drops the lines of the epochs that it makes again.

    Args:
        path: the file; its folder must be there.

    >>> import tempfile, cnn, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = CSVLogger(f"{folder}/log.csv")
    ...     h = cnn.Network([cnn.Dense(1)]).fit(np.ones((4, 1)), np.ones(4), epochs=2, callbacks=[log], verbose=0)
    ...     print(log.path.read_text().splitlines()[0])
    epoch,loss,rmse,learning_rate,seconds
    """

    writes = True

    @told
    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file: TextIO | None = None

    def check(self, run: Run) -> None:
        atomic.check_place(self.path, f"CSVLogger can't write to {self.path}")
        header = ["epoch", *run.names]
        if self._begun():
            with self.path.open(newline="") as file:
                found = next(csv.reader(file), [])
            if found != header:
                raise ValueError(f"{self.path} has the columns {', '.join(found)}; this fit has {', '.join(header)}")

    def _begun(self) -> bool:
        return self.path.exists() and self.path.stat().st_size > 0

    def on_fit_begin(self, network: NetworkState, run: Run) -> None:
        fresh = not self._begun()
        if run.resumed is not None and not fresh:
            self._drop_from(run.first_epoch)
        self._file = self.path.open("a", newline="")
        if fresh:
            csv.writer(self._file).writerow(["epoch", *run.names])

    def _drop_from(self, epoch: int) -> None:
        """Lines of that epoch and later ones, and one that was cut short."""
        header, *lines = self.path.read_text().splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and int(line.split(",")[0]) < epoch]
        atomic.write_whole(self.path, "".join([header, *kept]).encode())

    def on_epoch_end(self, network: NetworkState, epoch: int, logs: Logs) -> None:
        assert self._file is not None
        csv.writer(self._file).writerow([epoch, *logs.values()])
        self._file.flush()

    def on_fit_end(self, network: NetworkState) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class Progress(Callback):
    """A progress bar over the rows of all epochs, with the latest numbers; `verbose=1` is this.

    >>> Progress().on_fit_end(None)
    """

    needs, writes = ("progress",), True

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._run, self._epoch, self._before = Run(0, 0, 0, 0, ()), 0, 0

    def on_fit_begin(self, network: NetworkState, run: Run) -> None:
        self._run, self._epoch, self._before = run, run.first_epoch, len(run.history or ())
        if (screen := console.errors()) is not None:  # else there is nobody to look on
            rows = run.rows * (run.epochs - run.first_epoch)
            self._bar = Bar(rows, screen)
            if 6.0 * network.plan.size * rows > interrupt.LONG_FLOPS:  # its first step may take long
                self._bar.draw(*self._shown())

    def on_progress(self, network: NetworkState, epoch: int, rows: int) -> None:
        self._epoch = epoch
        if self._bar is not None and self._bar.add(rows):
            self._bar.draw(*self._shown())

    def _shown(self) -> tuple[str, dict[str, float]]:
        run, history = self._run, self._run.history
        names = [name for name in run.names if name not in ("seconds", "learning_rate")]
        numbers = {} if history is None or len(history) <= self._before else {n: history[n][-1] for n in names}
        return f"epoch {self._epoch + 1}/{run.epochs}", numbers

    def on_fit_end(self, network: NetworkState) -> None:
        if self._bar is not None:
            self._bar.close(*self._shown())
            self._bar = None


class ProgressOfMany(Callback):
    """One progress bar over the rows of all epochs of so many networks, which share it.

    >>> ProgressOfMany(1).on_progress(None, 0, 8)
    """

    needs = ("progress",)

    def __init__(self, networks: int) -> None:
        self.networks, self._total, self._ended = networks, 0, 0
        self._rows: dict[int, int] = {}  # to come, of the networks that have begun
        self._bar: Bar | None = None

    def check(self, run: Run) -> None:
        self._total += run.rows * (run.epochs - run.first_epoch)

    def on_fit_begin(self, network: NetworkState, run: Run) -> None:
        self._rows[id(network)] = run.rows * (run.epochs - run.first_epoch)
        if self._bar is None and (screen := console.errors()) is not None:
            self._bar = Bar(self._total, screen)

    def on_progress(self, network: NetworkState, epoch: int, rows: int) -> None:
        if id(network) in self._rows:
            self._rows[id(network)] -= rows
        self._add(rows)

    def on_fit_end(self, network: NetworkState) -> None:
        if (rows := self._rows.pop(id(network), None)) is None:  # it is called twice where a Ctrl-C broke it off
            return
        self._ended += 1
        self._add(rows)  # of epochs that are not made

    def close(self) -> None:
        """Draws it for the last time."""
        if self._bar is not None:
            self._bar.close(*self._shown())
            self._bar = None

    def _add(self, rows: int) -> None:
        if self._bar is not None and self._bar.add(rows):
            self._bar.draw(*self._shown())

    def _shown(self) -> tuple[str, dict[str, float]]:
        return f"{self._ended}/{self.networks} networks", {}


class EpochLines(Callback):
    """Prints a line for each epoch, after `title`; `verbose=2` is this.

    >>> EpochLines().on_epoch_end(None, 0, {"loss": 0.5})
    epoch 1: loss 0.5
    """

    writes = True

    def __init__(self, title: str = "") -> None:
        self.title = title

    def on_epoch_end(self, network: NetworkState, epoch: int, logs: Logs) -> None:
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in logs.items())
        console.say(f"{self.title}epoch {epoch + 1}: {numbers}")
