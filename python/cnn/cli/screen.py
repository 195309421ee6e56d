"""What the command shows: progress on standard error, tables on standard output."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from cnn.callbacks import Callback, Logs, Run
from cnn.cli.write import plain

if TYPE_CHECKING:
    from cnn.network import Network


class Screen:
    """One command's output: for people, as JSON, or nothing but errors."""

    def __init__(self, quiet: bool = False, as_json: bool = False) -> None:
        self.quiet, self.as_json = quiet, as_json
        self.out = Console(highlight=False)
        self.err = Console(stderr=True, highlight=False)

    @property
    def talks(self) -> bool:
        return not (self.quiet or self.as_json)

    def say(self, *lines: str) -> None:
        """Lines of plain text."""
        if self.talks:
            for line in lines:
                self.out.print(escape(line), soft_wrap=True)

    def table(self, title: str, header: list[str], rows: list[list[str]]) -> None:
        """Columns of text; all but the first aligned to the right."""
        if not self.talks:
            return
        self.out.print(f"\n[bold]{escape(title)}[/bold]", soft_wrap=True)
        shown = Table(box=box.SIMPLE_HEAD, header_style="bold", show_header=any(header), pad_edge=False)
        for i, name in enumerate(header):
            shown.add_column(escape(name), justify="right" if i else "left", overflow="fold")
        for row in rows:
            shown.add_row(*map(escape, row))
        self.out.print(shown)

    def result(self, values: dict[str, Any]) -> None:
        """The outcome as one JSON object, if that was asked for."""
        if self.as_json:
            print(json.dumps(plain(values), ensure_ascii=True))

    def progress(self, members: int, epochs: int) -> list[Callback]:
        """Callbacks that show a training live; none where nobody sees it."""
        return [Live(self.err, members, epochs)] if self.talks and self.err.is_terminal else []


class Live(Callback):
    """A bar over all epochs of all networks with both losses, speed and the longest time it can still take."""

    def __init__(self, console: Console, members: int, epochs: int) -> None:
        self._members, self._member = members, 0
        self._epochs, self._seen, self._before = epochs, 0, 0
        self._rows, self._done, self._start = 1, 0, time.perf_counter()
        self._drawn = 0.0
        self._last: Logs = {}
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[numbers]}"),
            console=console, transient=True, auto_refresh=False,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=members * epochs, numbers="")

    def on_fit_begin(self, network: Network, run: Run) -> None:
        if not self._member:
            self._start = time.perf_counter()
            self._bar.start()
        self._member += 1
        self._last = {}
        self._before, self._seen, self._rows = (self._member - 1) * self._epochs, 0, run.rows

    def on_progress(self, network: Network, epoch: int, rows: int) -> None:
        self._done += rows
        self._draw()

    def on_epoch_end(self, network: Network, epoch: int, logs: Logs) -> None:
        self._seen += 1
        self._last = logs
        self._draw()

    def on_fit_end(self, network: Network) -> None:
        if self._member == self._members or sys.exc_info()[0] is not None:
            self.close()

    def close(self) -> None:
        self._bar.stop()

    def _draw(self) -> None:
        now = time.perf_counter()
        if now - self._drawn < 0.1:
            return
        self._drawn = now
        speed = self._done / max(now - self._start, 1e-9)
        left = (self._members * self._epochs - self._before) * self._rows - self._seen * self._rows
        loss, held_out = (f"{self._last[k]:.4f}" if k in self._last else "-" for k in ("loss", "val_loss"))
        numbers = (
            f"epoch {self._seen + 1}/{self._epochs}  loss {loss}  held-out {held_out}  {speed:,.0f} rows/s  "
            f"at most {_clock(left / speed)} left"
        )
        name = f"network {self._member}/{self._members}"
        done = self._before + self._seen
        self._bar.update(self._task, completed=done, numbers=numbers, description=name, refresh=True)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def figure(value: float) -> str:
    """Four digits that count.

    >>> figure(0.86041), figure(6852.3), figure(123456.7)
    ('0.8604', '6,852', '123,457')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
