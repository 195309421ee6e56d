"""One aligned buffer for many arrays, and named views of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

_ALIGNMENT = 64  # a cache line, and the widest vector
_HUGE_PAGE, _HUGE_FROM = 1 << 21, 1 << 19


def aligned_zeros(n: int, dtype: Any) -> np.ndarray[Any, Any]:
    """n zeros that begin on a cache line. (`n` may be 0.)

    >>> aligned_zeros(3, np.float32).ctypes.data % 64
    0
    """
    return _aligned(np.zeros, n, dtype)


def aligned_empty(n: int, dtype: Any) -> np.ndarray[Any, Any]:
    """The same of any numbers: memory to work in."""
    return _aligned(np.empty, n, dtype)


def _aligned(make: Callable[..., Any], n: int, dtype: Any) -> np.ndarray[Any, Any]:
    dtype = np.dtype(dtype)
    size, alignment = n * dtype.itemsize, _ALIGNMENT
    if size >= _HUGE_FROM:
        # NumPy asks for huge pages from 4 MB on: 3 to 4 % of a wide step. What is not touched takes no memory.
        alignment = _HUGE_PAGE
        raw = make(max(size, 4 * _HUGE_PAGE) + alignment, np.uint8)
    else:
        raw = make(size + alignment, np.uint8)
    start = -raw.ctypes.data % alignment
    return raw[start : start + n * dtype.itemsize].view(dtype)


def views(
    buffer: np.ndarray[Any, Any], names: dict[str, tuple[int, tuple[int, ...]]]
) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays by name: (offset, shape) each, in the buffer."""
    return {name: buffer[at : at + math.prod(shape)].reshape(shape) for name, (at, shape) in names.items()}
