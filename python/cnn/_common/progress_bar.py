"""A progress bar that is drawn at its own pace, however often it is told of progress."""

from __future__ import annotations

import os
import time
from functools import cache
from types import SimpleNamespace
from typing import Any

_SECONDS = 0.1  # between two drawings, and before the first
_STYLE = {"unit": "row", "unit_scale": True, "dynamic_ncols": True}


@cache
def _text_style(encoding: str | None) -> dict[str, Any] | None:
    """What `tqdm.format_meter` is given for a stream of this encoding, so that it writes the line of a bar.

    None where a bar is more than lines of text (in a notebook), or leaves none (`TQDM_DISABLE`, `TQDM_LEAVE`).
    """
    from tqdm.auto import tqdm
    from tqdm.std import tqdm as as_text

    if tqdm.display is not as_text.display:
        return None
    nowhere = SimpleNamespace(write=len, flush=lambda: None, encoding=encoding)
    with tqdm(total=1, file=nowhere, **_STYLE) as bar:
        return None if bar.disable or not bar.leave else dict(bar.format_dict)


def _columns(screen: Any) -> int | None:
    """As many letters as tqdm puts in a line of a terminal; None for other streams."""
    try:
        return os.get_terminal_size(screen.fileno()).columns - 1
    except (AttributeError, OSError, TypeError, ValueError):
        return None


class Bar:
    """A bar of tqdm over so many rows (0: nobody knows how many), made with its first drawing:
    that takes as long as a small fit.

    A bar that is closed before it was drawn leaves the line that tqdm would have left.

    >>> import io
    >>> bar = Bar(8, io.StringIO())
    >>> drawn = bar.add(8)
    >>> bar.close("epoch 2/2", {"loss": 0.5})
    """

    def __init__(self, total: int, screen: Any) -> None:
        self._total, self._screen = total or None, screen
        self._bar: Any = None
        self._begin = self._drawn = time.time()  # tqdm's clock
        self._rows = 0

    def add(self, rows: int) -> bool:
        """Counts rows; whether it is time to draw."""
        self._rows += rows
        return not 0 <= time.time() - self._drawn < _SECONDS

    def draw(self, title: str, numbers: dict[str, float]) -> None:
        """Draws what was counted."""
        if self._bar is None:
            from tqdm.auto import tqdm

            self._bar = tqdm(desc=title, total=self._total, file=self._screen, **_STYLE)
            self._bar.start_t = self._bar.last_print_t = self._begin
        self._bar.set_description(title, refresh=False)
        self._bar.set_postfix_str(_shown(numbers), refresh=False)
        self._bar.update(self._rows)
        self._rows, self._drawn = 0, time.time()

    def close(self, title: str, numbers: dict[str, float]) -> None:
        """Draws it for the last time."""
        if self._bar is None and self._line(title, numbers):
            return
        self.draw(title, numbers)
        self._bar.refresh()
        self._bar.close()

    def _line(self, title: str, numbers: dict[str, float]) -> bool:
        """Writes the finished line without a bar; whether that is all a bar would have left."""
        from tqdm.auto import tqdm

        style = _text_style(getattr(self._screen, "encoding", None))
        if style is None or tqdm._instances:  # below the bar of somebody else it has a place of its own
            return False
        line = tqdm.format_meter(**style | {
            "n": self._rows, "total": self._total, "elapsed": time.time() - self._begin, "prefix": title,
            "postfix": _shown(numbers), "ncols": _columns(self._screen),
        })  # fmt: skip
        self._screen.write(f"\r{line}\n")
        self._screen.flush()
        return True


def _shown(numbers: dict[str, float]) -> str:
    return ", ".join(f"{name}={value:.4g}" for name, value in numbers.items())
