"""Numbers of 32 bits as the decimals that they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def is_short(dtype: Any) -> bool:
    """Whether cells are numbers of less than 64 bits with a point: np.float32(0.99) is not 0.99."""
    return dtype.kind == "f" and getattr(dtype, "itemsize", 8) < 8


def of(values: Array) -> Array:
    """Float32 numbers, held in float64, as the decimals of 7 digits that they stand for, or as they are.

    So a table has the same cells whether it was kept in float32 or in float64: spikes are at single numbers.
    """
    with np.errstate(all="ignore"):
        places = 6 - np.floor(np.log10(np.abs(values)))
        power = 10.0 ** np.abs(places)
        found = np.where(places >= 0, np.rint(values * power) / power, np.rint(values / power) * power)
        same = found.astype(np.float32) == values.astype(np.float32)
    return np.where(same & np.isfinite(found), found, values)
