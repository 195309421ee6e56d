"""The errors of rows that a model was not trained on, in its file."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnn._common import checks
from cnn.files.container import Contents
from cnn.uncertainty import Residuals

Array = np.ndarray[Any, Any]
_TENSORS = {"ranks": np.int64, "scores": np.float64, "places": np.float64, "sizes": np.float64}


def describe(found: Residuals | None, prefix: str = "residuals.") -> tuple[int | None, dict[str, Array]]:
    """(the number of rows, tensors) of a file."""
    if found is None:
        return None, {}
    parts = {} if found.parts is None else {f"{prefix}parts": found.parts}
    return found.rows, {f"{prefix}{name}": getattr(found, name) for name in _TENSORS} | parts


def revive(contents: Contents, rows: Any, prefix: str = "residuals.") -> Residuals | None:
    """What `describe` described; ValueError or TypeError where it can't be."""
    if rows is None:
        return None
    arrays: Any = {name: contents.read_tensor(f"{prefix}{name}", dtype) for name, dtype in _TENSORS.items()}
    if any(array.ndim != 1 for array in arrays.values()):
        raise ValueError("residuals that are not vectors")
    if f"{prefix}parts" in contents.specs:  # not in files of earlier versions
        arrays["parts"] = contents.read_tensor(f"{prefix}parts", np.int64, arrays["ranks"].shape)
    return Residuals(checks.integer("residuals", rows, 1), **arrays)
