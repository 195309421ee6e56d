"""Images as arrays, checked: (n, height, width, channels), bytes or float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnn._common import console
from cnn.runtime.data import Array

_LARGEST = 8.0  # of float images: scaled and standardised ones are smaller, bytes as floats are not


def checked(X: Any, shape: tuple[int, ...] | None = None) -> Array:
    """Images of one size; a grey one needs no last axis. Of bytes nothing is copied; truth values are 0.0 and 1.0.

    A fit (no `shape`) on whole numbers 0 and 1 warns: as bytes they are almost alike.

    Raises:
        TypeError, ValueError: no numbers, not finite, or of another shape than `shape`.
    """
    images = np.asarray(X)
    if images.dtype.kind not in "uifb":
        raise TypeError(f"X must be images of uint8 or of floats, got an array of {images.dtype}")
    if images.ndim == 3 and (shape is None or shape[-1] == 1):
        images = images[..., None]
    if images.ndim != 4 or 0 in images.shape[1:]:
        raise ValueError(
            f"X must be images (n, height, width) or (n, height, width, channels), got shape {np.shape(X)}"
        )
    if shape is not None and images.shape[1:] != shape:
        raise ValueError(f"X must be images of shape {shape}, as those of the fit, got {images.shape[1:]}")
    if images.dtype == bool:
        return images.astype(np.float32)
    if images.dtype.kind in "ui" and shape is None and images.size and images.min() >= 0 and images.max() == 1:
        console.warn("X of whole numbers is 0 or 1, read as 0 and 1/255: if 1 is white, give bool or floats")
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind in "ui":
        if images.size and (images.min() < 0 or images.max() > 255):
            raise ValueError(f"X of whole numbers must lie in 0 .. 255, got {images.min()} .. {images.max()}")
        return images.astype(np.uint8)
    return _floats(images)


def _floats(images: Array) -> Array:
    largest = float(np.abs(images).max(initial=0.0))
    if not np.isfinite(largest):
        raise ValueError("X must be finite, got NaN or infinity")
    if largest > _LARGEST:
        raise ValueError(
            f"float images must be scaled, best to 0 .. 1, got numbers up to {largest:g}: give bytes as uint8"
        )
    return images.astype(np.float32, copy=False)
