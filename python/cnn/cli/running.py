"""A command at work: what the user can mend in one line, and exit codes."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

from cnn.cli.screen import Screen
from cnn.cli.shown import one_line

CLOSED_PIPE = 141  # what a shell says of a program that such a pipe has ended


def run(command: Callable[..., Any], screen: Screen, *arguments: Any) -> None:
    """Runs a command; what the user can mend is told in one line, with exit code 2."""
    try:
        if sys.stdout is None:
            raise ValueError("standard output is closed")
        with warnings.catch_warnings():
            warnings.showwarning = screen.warn
            command(screen, *arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        complain("cnn: interrupted; nothing was written")
        raise SystemExit(130) from None
    except BrokenPipeError:  # the reader of our output has gone; nobody is to be told
        _give_up_output()
        raise SystemExit(CLOSED_PIPE) from None
    except (ValueError, TypeError, OSError, ImportError, MemoryError, FloatingPointError) as error:
        complain(f"cnn: {one_line(error)}")
        _give_up_output()
        raise SystemExit(2) from None


def complain(text: str) -> None:
    """On standard error, if there is one."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print(text, file=sys.stderr, flush=True)


def _give_up_output() -> None:
    """Python would try again, when it ends, to write what can't be written."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
