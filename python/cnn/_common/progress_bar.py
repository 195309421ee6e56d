"""A progress bar that is drawn at its own pace, however often it is told of progress."""

from __future__ import annotations

import time
from typing import Any

_SECONDS = 0.1  # between two drawings


class Bar:
    """A bar of tqdm over so many rows.

    >>> import io
    >>> bar = Bar(8, io.StringIO())
    >>> drawn = bar.add(8)
    >>> bar.close("epoch 2/2", {"loss": 0.5})
    """

    def __init__(self, total: int, screen: Any) -> None:
        from tqdm.auto import tqdm

        self._bar = tqdm(total=total, unit="row", unit_scale=True, dynamic_ncols=True, file=screen)
        self._rows, self._drawn = 0, time.monotonic()

    def add(self, rows: int) -> bool:
        """Counts rows; whether it is time to draw."""
        self._rows += rows
        return time.monotonic() - self._drawn >= _SECONDS

    def draw(self, title: str, numbers: dict[str, float]) -> None:
        """Draws what was counted."""
        self._bar.set_description(title, refresh=False)
        self._bar.set_postfix({name: f"{value:.4g}" for name, value in numbers.items()}, refresh=False)
        self._bar.update(self._rows)
        self._rows, self._drawn = 0, time.monotonic()

    def close(self, title: str, numbers: dict[str, float]) -> None:
        """Draws it for the last time."""
        self.draw(title, numbers)
        self._bar.refresh()
        self._bar.close()
