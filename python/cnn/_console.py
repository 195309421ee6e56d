"""The one place that prints: a fit goes on where nobody can be shown anything, or not all of its letters."""

from __future__ import annotations

import sys
import warnings

_INNER = {"cnn", "numpy", "contextlib"}  # numpy: its decorator for what underflows


def say(text: str) -> None:
    """Prints a text to standard output; not at all where there is none, and letters that it lacks as escapes.

    >>> say("epoch 1")
    epoch 1
    """
    out = sys.stdout
    if out is None or getattr(out, "closed", False):  # pythonw, a program with windows, a daemon
        return
    try:
        print(text, file=out)
    except UnicodeEncodeError:
        encoding = getattr(out, "encoding", None) or "ascii"
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=out)


def warn(text: str) -> None:
    """A UserWarning at the line outside of the package that led here."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _INNER:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)
