"""From the raw outputs of a network to what is explained, in float64, and its slope."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def value(link: str, z: Array) -> Array:
    """(n, k) of raw outputs (n, k): a link of `cnn.Loss`, or "shares", sigmoids divided by their sum."""
    from scipy.special import expit, softmax

    z = z.astype(np.float64)
    if link == "sigmoid":
        return np.asarray(expit(z))
    if link == "exp":
        return np.exp(z)
    if link == "softmax":
        return np.asarray(softmax(z, axis=1))
    if link == "mean_variance":
        half = z.shape[1] // 2
        return np.concatenate([z[:, :half], np.exp(z[:, half:])], axis=1)
    if link == "shares":
        found = np.asarray(expit(z))
        total = found.sum(axis=1, keepdims=True)
        return np.divide(found, total, out=np.full_like(found, 1 / z.shape[1]), where=total > 0)
    return z


def slope(link: str, z: Array, y: Array, output: int) -> Array:
    """(n, k): d y[:, output] / dz, where y = value(link, z)."""
    one = np.zeros_like(y)
    one[:, output] = 1
    if link in ("softmax", "shares"):  # of y_i = u_i / sum(u): y_i (1[i = j] - y_j) u_j' / u_j
        found: Array = y[:, output, None] * (one - y)
        return found * (1 - value("sigmoid", z)) if link == "shares" else found
    if link == "sigmoid":
        return one * (y * (1 - y))
    if link == "exp" or (link == "mean_variance" and output >= y.shape[1] // 2):
        return one * y
    return one
