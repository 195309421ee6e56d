"""What the state of a callback must be, before one is restored from a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cnn.files.strict_json import shown


def kind(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "truth value"
    return "number" if isinstance(value, int | float) else "text" if isinstance(value, str) else "tensor"


def expect(state: dict[str, Any], name: str, what: str, good: Callable[[Any], bool]) -> None:
    if name not in state:
        raise ValueError(f"{name!r} is missing")
    if not good(state[name]):
        raise ValueError(f"{name!r} must be {what}, got {shown(state[name])}")


def whole(value: Any, low: int) -> bool:
    return type(value) is int and low <= value < 2**63


def alike(array: Any) -> Callable[[Any], bool]:
    """Whether a value is an array of the same type and shape."""
    return lambda value: isinstance(value, np.ndarray) and (value.dtype, value.shape) == (array.dtype, array.shape)
