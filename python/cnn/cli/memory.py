"""The memory of the command's process."""

from __future__ import annotations

import contextlib
import ctypes
import sys

_M_MMAP_THRESHOLD = -3  # of malloc.h
_LARGE = 1 << 18  # bytes


def give_back_at_once() -> None:
    """Has large blocks given back to the system when they are freed.

    glibc learns to keep blocks as large as the largest that was freed: a quarter of a small table.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)
