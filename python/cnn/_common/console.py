"""The one place that prints: a fit goes on where nobody can be shown anything, or not all of its letters."""

from __future__ import annotations

import sys
import warnings
from contextlib import suppress
from typing import Any

# A closed stream; no console behind it, as in pythonw, a program with windows, a daemon.
_GONE = (OSError, ValueError)
_INNER = {"cnn", "sklearn", "contextlib"}


class Stream:
    """A stream that goes on where nobody reads it, or not all of its letters, which become escapes.

    >>> Stream(sys.stdout).write("epoch 1")
    epoch 1
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Writes what can be written."""
        with suppress(*_GONE):
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                encoding = getattr(self._stream, "encoding", None) or "ascii"
                self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))

    def flush(self) -> None:
        with suppress(*_GONE):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def say(text: str) -> None:
    """Prints a text to standard output, if there is one.

    >>> say("epoch 1")
    epoch 1
    """
    if sys.stdout is not None:
        Stream(sys.stdout).write(f"{text}\n")


def errors() -> Stream | None:
    """Standard error, if there is one that can be written to."""
    if sys.stderr is None or getattr(sys.stderr, "closed", False):
        return None
    return Stream(sys.stderr)


def warn(text: str, category: type[Warning] = UserWarning) -> None:
    """A warning at the line outside of the package that led here."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _INNER:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, category, stacklevel=level)
