"""Who computes the matrix products of dense layers: our own kernels, or SciPy's BLAS."""

from __future__ import annotations

import os
from typing import Literal, TypeAlias, cast, get_args

import cnn_core

Products: TypeAlias = Literal["auto", "own", "blas"]
_CHOICES: tuple[str, ...] = get_args(Products)
# BLAS computes whole tiles of an output: for fewer inputs or units there is little to share out.
NARROWEST = 8
# From so many weights on, wider vectors are worth more than what a call of BLAS takes.
_WIDE_WEIGHTS = 1 << 14


def _checked(what: str, choice: object) -> Products:
    if choice not in _CHOICES:
        raise ValueError(f"{what} must be one of {', '.join(_CHOICES)}, got {choice!r}")
    return cast(Products, choice)


_choice = _checked("CNN_PRODUCTS", os.environ.get("CNN_PRODUCTS") or "auto")


def set_products(choice: Products) -> None:
    """Who computes the matrix products of the dense layers of networks that are built from now on.

    A network keeps what it was built with, and has the same bits for every number of threads with each. The environment
    variable CNN_PRODUCTS says what the choice is at first. `cnn bench` measures both on this machine.

    Args:
        choice: "own" kernels, "blas" (SciPy's, for layers of 8 inputs and units or more) or "auto": whichever was
            measured to be faster for the layer's size on this kind of processor.

    Raises:
        ValueError: another name.

    >>> set_products("own")
    >>> set_products("auto")
    """
    global _choice
    _choice = _checked("products", choice)


def chosen() -> Products:
    """What `set_products` or the environment has chosen."""
    return _choice


def by_blas(n_inputs: int, units: int) -> bool:
    """Whether BLAS computes the products of such a layer, if it is built now."""
    if _choice == "own" or min(n_inputs, units) < NARROWEST:
        return False
    return _choice == "blas" or faster_by_blas(n_inputs, units)


def faster_by_blas(n_inputs: int, units: int) -> bool:
    """Whether BLAS is the faster one for such a layer on this kind of processor, by what docs/design.md tells."""
    lanes = cnn_core.engine.lanes
    return lanes == 1 or (lanes == 4 and n_inputs * units >= _WIDE_WEIGHTS and cnn_core.more_than_128_bits())
