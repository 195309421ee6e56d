"""Checks of what users give, and the texts of the errors. Each returns the value in the type the package works with."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

import cnn_core
from cnn._common import data_frames

P = ParamSpec("P")
T = TypeVar("T")
FloatArray = np.ndarray[Any, np.dtype[Any]]

# Rows looked at together when data is searched for NaN: a memory-mapped file is never copied whole.
_PIECE = 1 << 16
_NUMBERS = 1 << 24  # some 10 ms
_BLAS_MAX = 2**31 - 1
_PLACES = {  # of a number in an array of so many dimensions
    1: ("row",), 2: ("row", "column"), 3: ("row", "position", "channel"), 4: ("image", "y", "x", "channel"),
}  # fmt: skip
_REAL = (np.dtype(np.float32), np.dtype(np.float64))


def quiet(function: Callable[P, T]) -> Callable[P, T]:
    """The function as it is where NumPy is to say nothing: what underflows is 0, what overflows is found by its value.

    Whatever the program asks of NumPy (`np.seterr`) holds again after it: Ctrl-C leaves NumPy's own `errstate` behind
    at times, and as a decorator it is shared by all threads in NumPy 1.
    """

    @wraps(function)
    def quietly(*args: P.args, **kwargs: P.kwargs) -> T:
        def work() -> T:
            np.seterr(all="ignore")
            return function(*args, **kwargs)

        return cnn_core.finishing(work, [partial(np.seterr, **np.geterr())])

    return quietly


def integer(name: str, value: object, low: int, high: int | None = None) -> int:
    """A whole number of at least `low` (and at most `high`)."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer >= {low}, got {value!r} of type {type(value).__name__}")
    if high is not None and int(value) > high:
        raise ValueError(f"{name} must be an integer in [{low}, {high}], got {value}")
    if int(value) < low:
        raise ValueError(f"{name} must be an integer >= {low}, got {value}")
    return int(value)


def number(
    name: str,
    value: object,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """A finite number in [low, high], either end left out when it is open."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {value!r} of type {type(value).__name__}")
    x = float(value)
    inside = (low < x if open_low else low <= x) and (x < high if open_high else x <= high)
    if not math.isfinite(x) or not inside:
        left, right = "(" if open_low or low == -math.inf else "[", ")" if open_high or high == math.inf else "]"
        raise ValueError(f"{name} must be in {left}{low:g}, {high:g}{right}, got {value!r}")
    return x


def flag(name: str, value: object) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r} of type {type(value).__name__}")
    return bool(value)


def real_dtype(dtype: object) -> np.dtype[Any]:
    """float32 or float64."""
    try:
        found = None if dtype is None else np.dtype(dtype)  # type: ignore[call-overload]
    except TypeError:
        found = None
    if found not in (np.float32, np.float64):
        raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
    return found


def shape(name: str, given: object) -> tuple[int, ...]:
    """How many numbers a row has, or along each of up to three axes, as a tuple.

    >>> shape("n_inputs", 3), shape("n_inputs", [28, 28, 1])
    ((3,), (28, 28, 1))
    """
    sizes = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    if not 1 <= len(sizes) <= 3:
        raise ValueError(f"{name} must be an integer or up to three of them, got {given!r}")
    found = tuple(integer(name, size, 1) for size in sizes)
    if math.prod(found) >= 2**31:
        raise ValueError(f"{name} must be fewer than 2^31 numbers a row, got {given!r}")
    return found


def matrix_sizes(rows: int, columns: int) -> None:
    """Refuses matrices that BLAS could not index with 32 bits."""
    if rows > _BLAS_MAX or columns > _BLAS_MAX or rows * columns > _BLAS_MAX:
        raise ValueError(f"a layer of {rows:,} x {columns:,} weights overflows the 32-bit integers of BLAS")


def refuse_masked(name: str, data: Any) -> None:
    """TypeError for an array some of whose numbers are masked."""
    if isinstance(data, np.ma.MaskedArray) and np.ma.is_masked(data):
        raise TypeError(f"{name} is a masked array, and what is masked would be used; fill it in or drop those rows")


def array(name: str, data: Any) -> FloatArray:
    """`data` as an array of any type; not copied when it is one already."""
    if hasattr(data, "tocsr"):
        raise TypeError(f"{name} is a sparse matrix; a dense array is expected here (use {name}.toarray())")
    refuse_masked(name, data)
    data_frames.refuse_what_is_no_array(name, data)
    found = data_frames.as_array(name, data)
    if found is None:
        try:
            found = np.asarray(data)
        except ValueError as error:  # rows of different lengths
            raise ValueError(f"{name} can't be made an array: {error}") from None
    if found.dtype.kind != "O":
        return found
    if found.ndim == 0:
        hint = "; call it, for what it returns" if callable(data) else ""
        raise data_frames.no_array(name, type(data).__name__, hint)
    plain = data_frames.numbers_of(name, found)
    return found if plain is None else plain


def numeric(name: str, data: Any, dtype: np.dtype[Any]) -> FloatArray:
    """`data` as a C-contiguous array of the network's type; not copied when it is one already."""
    if type(data) is np.ndarray and data.dtype == dtype and data.flags.c_contiguous and data.flags.aligned:
        return data
    given = array(name, data)
    if given.dtype.kind not in "buif":
        what = data_frames.what_is_none(given) or f"dtype {given.dtype}"
        raise TypeError(f"{name} must hold numbers, got {what}; encode text and categories first")
    with np.errstate(all="ignore"):  # a number that overflows is found as an infinity, with its place
        return np.require(given, dtype, ["C_CONTIGUOUS", "ALIGNED"])


def features(
    name: str, data: Any, dtype: np.dtype[Any], n_inputs: int | None, *, look_for_nan: bool = True
) -> FloatArray:
    """X as (n, n_inputs), finite (unless somebody else is to look)."""
    X = numeric(name, data, dtype)
    if X.ndim != 2:
        plain = name.partition(" of ")[0].partition(" from ")[0]
        hint = f"; for one row use {plain}[None, :], for one column {plain}[:, None]" if X.ndim == 1 else ""
        raise ValueError(f"{name} must have two dimensions (rows, inputs), got shape {X.shape}{hint}")
    if X.shape[1] == 0:
        raise ValueError(f"{name} has no columns: shape {X.shape}")
    if n_inputs is not None and X.shape[1] != n_inputs:
        raise ValueError(f"{name} has {X.shape[1]} columns, but the network takes {n_inputs} inputs")
    columns = data_frames.names(data)
    if look_for_nan or columns is not None:
        finite(name, X, columns)
    return X


def output(name: str, out: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> FloatArray:
    """An array that the engine can write results to as it stands."""
    expected = f"{name} must be a writeable, C-contiguous array of {dtype.name} and shape {shape}"
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{expected}, got {type(out).__name__}")
    if out.dtype != dtype:
        raise TypeError(f"{expected}, got dtype {out.dtype}")
    if out.shape != shape:
        raise ValueError(f"{expected}, got shape {out.shape}")
    if not out.flags.carray:
        what = "not C-contiguous" if not out.flags.c_contiguous else "read-only" if out.flags.aligned else "not aligned"
        raise ValueError(f"{expected}, got one that is {what}")
    return out


def finite(name: str, a: FloatArray, columns: list[str] | None = None) -> None:
    """Refuses NaN and infinity, and says where the first one is."""
    plain = a.dtype in _REAL and a.flags.c_contiguous and a.flags.aligned
    if a.dtype.kind != "f" or (plain and _all_finite(a.reshape(-1))):
        return
    for start in range(0, len(a), _PIECE):
        piece = a[start : start + _PIECE]
        # A sum is finite when all its terms are, and much quicker to look at; it may overflow, so then look closer.
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(piece.sum(dtype=np.float64)):
                continue
        bad = np.argwhere(~np.isfinite(piece))
        if len(bad):
            row, *place = bad[0].tolist()
            if len(place) == 1 and columns is not None:
                place = [repr(columns[place[0]])]
            what, *axes = _PLACES[a.ndim]
            where = ", ".join(f"{axis} {at}" for axis, at in zip((what, *axes), (start + row, *place), strict=True))
            raise ValueError(f"{name} holds {piece[tuple(bad[0])]} at {where}; fill or drop such values first")


def _all_finite(a: FloatArray) -> bool:
    """Of one dimension, in pieces: Ctrl-C is seen between two."""
    return all(cnn_core.engine.all_finite(a[i : i + _NUMBERS]) for i in range(0, len(a), _NUMBERS))


def same_rows(name: str, n: int, n_rows: int) -> None:
    if n != n_rows:
        raise ValueError(f"{name} has {n} rows, but X has {n_rows}")


def weights(name: str, data: Any, dtype: np.dtype[Any], n_rows: int, part: bool = False) -> FloatArray:
    """Sample weights (n,): finite, none negative, not all zero, or for `part` of the rows alone."""
    w = numeric(name, data, dtype)
    if w.ndim != 1:
        raise ValueError(f"{name} must have one dimension (rows,), got shape {w.shape}")
    same_rows(name, len(w), n_rows)
    finite_weights(name, array(name, data), dtype)
    finite(name, w)
    if len(w) and (low := float(w.min())) < 0:
        raise ValueError(f"{name} must not be negative, got {low:g} at row {int(w.argmin())}")
    normal_weights(name, array(name, data), dtype)
    if len(w) and not part and not w.any():
        raise ValueError(f"{name} is zero for every row")
    return w


def normal_weights(name: str, w: FloatArray, dtype: np.dtype[Any]) -> None:
    """Refuses weights that count as 0 in training, for they are below the smallest normal number."""
    small = (w > 0) & (w < np.finfo(dtype).tiny)
    if small.any():
        row = int(np.flatnonzero(small)[0])
        raise ValueError(
            f"{name} holds {w[row]:g} at row {row}, which counts as 0: it is below the smallest normal number of "
            f"{dtype.name}, {np.finfo(dtype).tiny:g}; scale the weights"
        )


def finite_weights(name: str, w: FloatArray, dtype: np.dtype[Any]) -> None:
    """Refuses finite weights that are infinite in that type."""
    large = np.isfinite(w) & (w > np.finfo(dtype).max)
    if large.any():
        row = int(np.flatnonzero(large)[0])
        raise ValueError(
            f"{name} holds {w[row]:g} at row {row}, which is infinite in {dtype.name}, whose largest number is "
            f"{np.finfo(dtype).max:g}; scale the weights"
        )


def classes(name: str, data: Any, n_classes: int) -> FloatArray:
    """Labels 0 .. n_classes - 1 as int32."""
    y = array(name, data)
    if y.dtype.kind not in "buif":
        raise TypeError(
            f"{name} must hold integer classes 0 .. {n_classes - 1}, got dtype {y.dtype}; "
            "np.unique(y, return_inverse=True) turns labels into integers"
        )
    if y.dtype.kind == "f":
        finite(name, y)
        if len(bad := np.flatnonzero(y != np.floor(y))):
            raise ValueError(f"{name} must hold whole classes, got {y[bad[0]]!r} at row {bad[0]}")
    outside = np.flatnonzero((y < 0) | (y >= n_classes))
    if len(outside):
        raise ValueError(
            f"{name} must hold classes 0 .. {n_classes - 1} for {n_classes} outputs, got {y[outside[0]]} "
            f"at row {outside[0]}"
        )
    return y.astype(np.int32, order="C")


def real_targets(name: str, data: Any, dtype: np.dtype[Any], n_outputs: int, each: int = 1) -> FloatArray:
    """Targets as (n, n_targets), finite, with so many outputs for each of them; (n,) for one target."""
    y = numeric(name, data, dtype)
    if y.ndim == 1 and n_outputs == each:
        y = y.reshape(-1, 1)
    if y.ndim != 2 or y.shape[1] * each != n_outputs:
        share = f", {each} for each target" if each > 1 else ""
        raise ValueError(f"{name} has shape {np.shape(data)}, but the network has {n_outputs} outputs per row{share}")
    finite(name, y)
    return y
