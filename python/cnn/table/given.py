"""What users give: a table with its target, or X and y as scikit-learn takes them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from cnn._common import checks, console
from cnn.table import frames, pieces
from cnn.table.frames import Array, TableError
from cnn.table.targets import Names, each_name

_TARGET, _WEIGHTS = "y", "sample_weight"  # names of what has none


def made_up(n: int) -> tuple[str, ...]:
    """Names of the columns of an array, as scikit-learn makes them up."""
    return tuple(f"x{i}" for i in range(n))


def frame(data: Any, names: Sequence[str] = (), where: str = "data") -> Any:
    """A data frame of any library, a dict of columns or an array (rows, columns) as a pandas frame.

    The columns of an array are those of these names in their order, or x0, x1, ... of a table that is new.

    Raises:
        TableError: columns that can't be told apart, or an array of another number of columns.
        TypeError, ValueError: no table.
    """
    if not is_array(data):
        return frames.to_pandas(data, where)
    cells = _array(data, "X" if where == "data" else where)
    if names and cells.shape[1] != len(names):
        raise TableError(f"X has {cells.shape[1]} features, but TableModel is expecting {len(names)} features as input")
    if names and tuple(names) != made_up(len(names)):
        console.warn("X does not have valid feature names, but TableModel was fitted with feature names")
    made = frames.pandas().DataFrame(cells, columns=list(names or made_up(cells.shape[1])))
    return made.infer_objects() if cells.dtype == object else made


def is_array(data: Any) -> bool:
    """Whether it is an array, or a list of rows, rather than a table with names."""
    if isinstance(data, np.ndarray) or hasattr(data, "toarray"):
        return True
    return not frames.is_table(data) and (hasattr(data, "__array__") or _is_list_of_rows(data))


def _is_list_of_rows(data: Any) -> bool:
    plain = (list, tuple, np.ndarray, int, float, str, np.generic)
    return isinstance(data, list | tuple) and len(data) > 0 and isinstance(data[0], plain)


def _array(data: Any, where: str) -> Array:
    if hasattr(data, "toarray"):
        raise TypeError(
            f"{where} is sparse, but a table has all its cells: give {where}.toarray(), or use cnn.MLPClassifier or "
            "cnn.MLPRegressor"
        )
    checks.refuse_masked(where, data)
    cells = np.asarray(data)
    if cells.ndim != 2:
        raise ValueError(
            f"{where} must have two dimensions (rows, columns), got shape {cells.shape}: Expected 2D array, got "
            f"{cells.ndim}D array instead. Reshape your data, of one column with reshape(-1, 1)"
        )
    if cells.dtype.kind == "c":
        raise ValueError(f"{where} holds complex numbers. Complex data not supported")
    if not cells.shape[1]:
        raise ValueError(f"{where} has 0 feature(s) (shape={cells.shape}) while a minimum of 1 is required.")
    return cells


def learnt(
    data: Any, y: Any, name: Names | None, stream: bool | None, weights: Any = None
) -> tuple[Any, Iterable[Any] | None, Names, str | None]:
    """(the table as a frame, None, the name of its target, that of its weights), or (None, its pieces, both names).

    See `pieces.of`. Several targets have a name each. Weights that are no column already become one.

    Raises:
        TableError, TypeError, ValueError: no table, no target, y or weights of a table in pieces, or of other rows.
    """
    weight = weights if isinstance(weights, str) else None
    if y is None and name is None:
        raise ValueError(
            "This TableModel estimator requires y to be passed, but the target y is None: give fit(X, y), or say which "
            "column of the table it is, TableModel(target)"
        )
    for what, cells in (("y", y), ("sample_weight", weights)):
        if cells is not None and cells is not weight and _is_in_pieces(data):
            raise TypeError(f"{what} is for a frame or an array X; a file and a table in pieces have it as a column")
    if y is not None:
        data, name = joined(data, y, name)
    assert name is not None
    if weight in each_name(name):
        raise TableError(f"sample_weight must be another column than the target, got {weight!r} for both")
    if weights is not weight:
        data, weight = weighted(frame(data), weights, "sample_weight")
    return *pieces.of(data, stream), name, weight


def _is_in_pieces(data: Any) -> bool:
    return isinstance(data, str | os.PathLike) or (
        hasattr(data, "__iter__") and not (is_array(data) or frames.is_table(data))
    )


def held_out(validation: Any, name: Names, weight: str | None) -> Any:
    """The table to hold out, if any, with its target and weights."""
    if not isinstance(validation, tuple):
        return validation
    if len(validation) not in (2, 3):
        raise ValueError(
            f"validation must be a table, (X, y) or (X, y, sample_weight), got a tuple of {len(validation)}"
        )
    table = joined(validation[0], validation[1], name, where=("X of validation", "y of validation"))[0]
    if len(validation) == 2:
        return table
    if weight is None:
        raise ValueError("validation has sample_weight, but the rows to train on have none")
    return weighted(table, validation[2], "sample_weight of validation", weight)[0]


def weighted(table: Any, weights: Any, where: str, name: str = "") -> tuple[Any, str]:
    """(the frame with a column of these weights, its name, a new one if none is given)."""
    cells = _cells(weights, where)
    if len(cells) != len(table):
        raise TableError(f"{where} has {len(cells):,} rows, and the table has {len(table):,}")
    return _with(table, cells, name or _free(_WEIGHTS, table))


def _with(table: Any, cells: Any, name: str) -> tuple[Any, str]:
    table = table.copy(deep=False)
    table[name] = cells.set_axis(table.index)
    return table, name


def _free(name: str, table: Any) -> str:
    there = frames.places(table)
    while name in there:
        name += "_"
    return name


def joined(
    data: Any, y: Any, name: Names | None, names: Sequence[str] = (), where: tuple[str, str] = ("X", "y")
) -> tuple[Any, Names]:
    """(X and y as one frame, the name of the column that y is, or of each); y's rows are those of X by their order.

    The names are those given, y's own, or made up.

    Raises:
        TableError: y has other rows than X, or other columns than are named, or a column of X has its name.
        TypeError, ValueError: no table, no column.
    """
    table = frame(data, names, where[0])
    wanted = () if name is None else each_name(name)
    columns = _columns(y, wanted, where[1])
    found: list[str] = []
    for i, cells in enumerate(columns):
        if len(cells) != len(table):
            raise TableError(f"{where[1]} has {len(cells):,} rows, and {where[0]} has {len(table):,}")
        there = frames.places(table)
        given = wanted[i] if wanted else ""
        named = given or (str(cells.name) if cells.name is not None and str(cells.name).strip() else "")
        if named in there and (
            given or table.iloc[:, there[named]].reset_index(drop=True).equals(cells.reset_index(drop=True))
        ):
            raise TableError(f"{where[0]} has the column {named!r} that {where[1]} is: leave it out of {where[0]}")
        made = _TARGET if len(columns) == 1 else f"{_TARGET}{i}"
        table, new = _with(table, cells, named if named and named not in there else _free(named or made, table))
        found.append(new)
    return table, tuple(found) if len(found) > 1 else found[0]


def _columns(y: Any, wanted: Sequence[str], where: str) -> list[Any]:
    """The columns of one or several targets as series, those of these names where y has names."""
    if frames.is_table(y):
        table = frames.to_pandas(y, where)
        there = frames.places(table)
        if len(wanted) > 1 and any(name in there for name in wanted):
            # One that X has, too, was given another name by the fit.
            named = [name if name in there else name.rstrip("_") for name in wanted]
            columns = [frames.column(table, name, where) for name in named]
        else:
            columns = [table.iloc[:, i] for i in range(len(table.columns))]
    elif getattr(cells := _as_cells(y), "ndim", 1) == 2 and cells.shape[1] > 1:
        checks.refuse_masked(where, y)
        columns = [frames.pandas().Series(cells[:, i]) for i in range(cells.shape[1])]
    else:
        columns = [_cells(y, where)]
    if not columns or (wanted and len(columns) != len(wanted)):
        of = f"{len(wanted)} targets" if len(wanted) > 1 else "one target" if wanted else "a target"
        raise TableError(f"{where} has {len(columns)} columns, and the model has {of}")
    return columns


def _as_cells(y: Any) -> Any:
    pd = frames.pandas()
    held = isinstance(y, pd.Series | pd.Index | pd.api.extensions.ExtensionArray) or hasattr(y, "to_pandas")
    return y if held else np.asarray(y)


def _cells(y: Any, where: str) -> Any:
    """One column as a series of pandas."""
    pd = frames.pandas()
    if frames.is_table(y):
        table = frames.to_pandas(y, where)
        if len(table.columns) != 1:
            raise TableError(f"{where} must be one column, got {len(table.columns)}")
        return table.iloc[:, 0]
    if isinstance(y, pd.Series):
        return y
    if hasattr(y, "to_pandas"):  # a column of polars or Arrow
        return pd.Series(y.to_pandas())
    checks.refuse_masked(where, y)
    cells = _as_cells(y)
    if getattr(cells, "ndim", 1) == 2 and cells.shape[1] == 1:
        cells = cells[:, 0]
    if cells.ndim != 1:
        raise ValueError(f"{where} must have one dimension (rows,), got shape {cells.shape}")
    return pd.Series(cells)
