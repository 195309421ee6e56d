"""What the command shows: progress on standard error, tables on standard output."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from cnn.callbacks import Callback, Logs, Run
from cnn.cli.shown import visible
from cnn.cli.write import plain

if TYPE_CHECKING:
    from cnn.network import Network


class Output(Console):
    """A console that takes text as it is, without markup, and leaves a closed pipe to who runs the command."""

    def __init__(self, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Screen:
    """One command's output: for people, as JSON, or nothing but errors. Whatever is printed is made visible first."""

    def __init__(self, quiet: bool = False, as_json: bool = False) -> None:
        self.quiet, self.as_json = quiet, as_json
        self.out, self.err = Output(), Output(stderr=True)

    @property
    def talks(self) -> bool:
        return not (self.quiet or self.as_json)

    def say(self, *lines: str) -> None:
        """Lines of plain text."""
        if self.talks:
            for line in lines:
                self.out.print(_text(line), soft_wrap=True)

    def note(self, line: str) -> None:
        """How a long work goes, on standard error; nothing where nobody sees it."""
        if self.talks and self.err.is_terminal:
            self.err.print(_text(line), soft_wrap=True)

    def warn(self, message: Warning | str, *_: Any, **__: Any) -> None:
        """A warning, on standard error; in place of `warnings.showwarning`."""
        if not self.quiet:
            self.err.print(_text(f"cnn: warning: {' '.join(str(message).split())}"), soft_wrap=True)

    def table(self, title: str, header: list[str], rows: list[list[str]]) -> None:
        """Columns of text; all but the first aligned to the right."""
        if not self.talks:
            return
        self.out.print()
        self.out.print(_text(title, "bold"), soft_wrap=True)
        shown = Table(box=box.SIMPLE_HEAD, header_style="bold", show_header=any(header), pad_edge=False)
        for i, name in enumerate(header):
            shown.add_column(_text(name), justify="right" if i else "left", overflow="fold")
        for row in rows:
            shown.add_row(*map(_text, row))
        self.out.print(shown)

    def result(self, values: dict[str, Any]) -> None:
        """The outcome as one JSON object, if that was asked for."""
        if self.as_json:
            print(json.dumps(plain(values), ensure_ascii=True).replace("\x7f", "\\u007f"))

    def progress(self) -> list[Callback]:
        """Callbacks that show a training live; none where nobody sees it."""
        return [Live(self.err)] if self.talks and self.err.is_terminal else []


def _text(text: str, style: str = "") -> Text:
    """Without markup or pictures: names are shown as they are."""
    return Text(visible(text), style)


class Live(Callback):
    """A bar over all epochs of all networks with both losses, speed and the longest time it can still take."""

    def __init__(self, console: Console, members: int = 1, epochs: int = 1) -> None:
        self._members, self._epochs = members, epochs
        self._seen: dict[int, int] = {}  # epochs of the networks that are trained now
        self._begun, self._ended = 0, 0
        self._rows, self._done, self._start = 1, 0, time.perf_counter()
        self._drawn = 0.0
        self._last: Logs = {}
        self._console, self._width = console, min(24, max(8, console.width // 8))
        self._bar = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(bar_width=self._width),
            TextColumn("{task.fields[numbers]}", markup=False), console=console, transient=True, auto_refresh=False,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=members * epochs, numbers="")

    def for_member(self, member: int, members: int) -> Callback:
        self._members = members
        return _Shared(self)

    def on_fit_begin(self, network: Network, run: Run) -> None:
        if not self._begun:
            self._start = time.perf_counter()
            self._bar.start()
        self._begun += 1
        self._last, self._epochs, self._rows = {}, run.epochs - run.first_epoch, run.rows
        self._seen[id(network)] = 0
        self._bar.update(self._task, total=self._members * self._epochs)

    def on_progress(self, network: Network, epoch: int, rows: int) -> None:
        self._done += rows
        self._draw()

    def on_epoch_end(self, network: Network, epoch: int, logs: Logs) -> None:
        self._seen[id(network)] += 1
        self._last = logs
        self._draw()

    def on_fit_end(self, network: Network) -> None:
        self._ended += self._seen.pop(id(network), None) is not None
        if self._ended == self._members or sys.exc_info()[0] is not None:
            self.close()

    def close(self) -> None:
        self._bar.stop()

    def _draw(self) -> None:
        now = time.perf_counter()
        if now - self._drawn < 0.1:
            return
        self._drawn = now
        speed = self._done / max(now - self._start, 1e-9)
        done = self._ended * self._epochs + sum(self._seen.values())
        left = (self._members * self._epochs - done) * self._rows
        name = f"{len(self._seen)} networks" if len(self._seen) > 1 else f"network {self._begun}/{self._members}"
        room = self._console.width - len(name) - self._width - 2  # blanks between the columns
        numbers = self._numbers(room, f"{speed:,.0f} rows/s", f"at most {_clock(left / speed)} left")
        self._bar.update(self._task, completed=done, numbers=numbers, description=name, refresh=True)

    def _numbers(self, room: int, speed: str, left: str) -> str:
        """As many of the numbers, whole, as there is room for; those that tell more first."""
        loss, held_out = (f"{self._last[k]:.4f}" if k in self._last else "-" for k in ("loss", "val_loss"))
        epoch = f"epoch {min(min(self._seen.values(), default=0) + 1, self._epochs)}/{self._epochs}"
        parts = [epoch, f"loss {loss}", f"held-out {held_out}", speed, left]
        shown = set[int]()
        for i in (0, 2, 4, 1, 3):
            if len("  ".join(parts[k] for k in {*shown, i})) <= room:
                shown.add(i)
        return "  ".join(parts[i] for i in sorted(shown))


class _Shared(Callback):
    """What one of several networks tells the bar of them all."""

    def __init__(self, bar: Live) -> None:
        self.on_fit_begin, self.on_progress = bar.on_fit_begin, bar.on_progress  # type: ignore[method-assign]
        self.on_epoch_end, self.on_fit_end = bar.on_epoch_end, bar.on_fit_end  # type: ignore[method-assign]


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


def counted(n: int, what: str) -> str:
    """A number and the word for it.

    >>> counted(1, "network"), counted(1200, "row")
    ('1 network', '1,200 rows')
    """
    return f"{n:,} {what}{'' if n == 1 else 's'}"
