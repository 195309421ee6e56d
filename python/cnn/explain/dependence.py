"""Partial dependence and individual conditional expectation: what predictions become when one column is moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn._common import checks
from cnn.explain import subject
from cnn.explain.subject import Subject
from cnn.table import TableModel, frames
from cnn.table import given as tables

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Dependence:
    """Predictions of rows whose cell in one column is replaced by each value of a grid.

    Args:
        column: its name.
        kind: of the column: number, boolean, category or date.
        grid: (g,) the values.
        mean: (g,) or (g, outputs), the mean over the rows: the partial dependence.
        individual: (n, g) or (n, g, outputs), each row's: the individual conditional expectation.
        cells: (n,) what the rows have in the column, as it is shown.
        output_names: the classes or targets; a single one where `mean` has one dimension.

    >>> import cnn, numpy as np
    >>> net = cnn.Network([cnn.Dense(1)], seed=0).build(2)
    >>> cnn.explain.partial_dependence(net, np.eye(2), 0)
    Dependence('x0': 2 values, 2 rows; grid, mean, individual, ...)
    """

    column: str
    kind: str
    grid: Array
    mean: Array
    individual: Array
    cells: Array
    output_names: tuple[str, ...]

    def __repr__(self) -> str:
        rows, points = self.individual.shape[:2]
        return f"Dependence({self.column!r}: {points} values, {rows} rows; grid, mean, individual, ...)"


def partial_dependence(
    model: Any,
    data: Any,
    column: str | int,
    *,
    grid: Any = None,
    points: int = 50,
    output: int | None = None,
    raw: bool = False,
    most_rows: int = 2000,
    seed: int = 0,
    n_threads: int | None = None,
) -> Dependence:
    """How predictions depend on a column: the mean over rows (Friedman 2001) and each row's (Goldstein et al. 2015).

    mean(v) = 1/n Σ f(row with v in the column). Where columns tell the same, some of these rows are such as there are
    none: look at `individual`, too.

    Args:
        model: a `Network`, an estimator, an ensemble or a `TableModel`.
        data: rows as `predict` takes them; dense.
        column: its name, or for arrays its number.
        grid: the values; None takes of numbers and dates those of the rows if there are no more than `points`, else so
            many at equal distances between their quantiles 5 % and 95 %, of categories those that the model knows.
        output: the number of the output (class); None takes all.
        points: at most so many values where `grid` is None, >= 2.
        raw: outputs before the loss's link: log-odds of a class, the logarithm of a mean.
        most_rows: of more rows so many are drawn by the seed.
        seed: of the rows that are drawn.
        n_threads: the result has the same bits for every number; None chooses.

    >>> import cnn, numpy as np
    >>> net = cnn.Network([cnn.Dense(1)], dtype="float64", seed=0).build(2)
    >>> net.set_weights({"layers.0.weights": [[2.0], [-1.0]], "layers.0.biases": [3.0]})
    >>> found = cnn.explain.partial_dependence(net, [[1.0, 2.0], [5.0, 4.0]], 0)
    >>> found.grid.tolist(), found.mean.tolist()
    ([1.0, 5.0], [2.0, 10.0])
    """
    of = subject.of(model, raw)
    if of.shape:
        raise ValueError(
            f"partial_dependence takes models of rows of numbers, and this one reads inputs of shape {of.shape}; which "
            "pixels a prediction comes from: cnn.explain.integrated_gradients"
        )
    most = checks.integer("most_rows", most_rows, 1)
    rng = np.random.default_rng(checks.integer("seed", seed, 0))
    points = checks.integer("points", points, 2)
    chosen = of.chosen(output)
    X, shown = of.read("data", data)
    if not len(X):
        raise ValueError("data must have at least one row")
    place = _place(of, column)
    if len(X) > most:
        rows = np.sort(rng.choice(len(X), most, replace=False))
        X, shown = X[rows], shown[rows]
    X = subject.dense(X)
    cells, name = shown[:, place], of.feature_names[place]
    kind, known = _of_table(model, name, cells) if isinstance(model, TableModel) else ("number", cells)
    if grid is not None:
        values = _given(grid, kind)
    else:
        values = known if kind in ("category", "boolean") else _spread(known, points, name, kind)
    inputs = of.order[slice(*np.append(of.begin, of.n_inputs)[place : place + 2].tolist())]
    codes = _codes(of, model, data, name, values)[:, inputs] if isinstance(model, TableModel) else values[:, None]
    found = _moved(of, X, inputs, codes, n_threads)[..., chosen]
    names = tuple(of.output_names[i] for i in chosen)
    if len(chosen) == 1:
        found = found[..., 0]
    return Dependence(name, kind, values, found.mean(axis=0), found, cells, names)


@checks.quiet
def _moved(of: Subject, X: Array, inputs: Array, codes: Array, n_threads: int | None) -> Array:
    """(n, g, outputs) of all rows, with each of the codes in turn as those inputs."""
    X = np.array(X)
    found = np.empty((len(X), len(codes), len(of.output_names)))
    for i, code in enumerate(codes):
        X[:, inputs] = code
        found[:, i] = of.outputs(X, n_threads)
    return found


def _place(of: Subject, column: str | int) -> int:
    if isinstance(column, str):
        if column not in of.feature_names:
            names = ", ".join(map(repr, of.feature_names[:12])) + (", ..." if len(of.feature_names) > 12 else "")
            raise ValueError(f"the model has no column {column!r}; it has {names}")
        return of.feature_names.index(column)
    return checks.integer("column", column, 0, len(of.feature_names) - 1)


def _of_table(model: TableModel, name: str, cells: Array) -> tuple[str, Any]:
    """(the kind of a column, what a grid is made of: its values, or those of the rows as numbers or dates)."""
    column: Any = next(column for column in model.encoder.columns if column.name == name)
    if column.kind == "category":
        return column.kind, np.array(column.values, object)
    if column.kind == "boolean":
        return column.kind, np.array([False, True])
    values = column.values(frames.pandas().Series(cells, name=name).infer_objects())
    return column.kind, values


def _given(grid: Any, kind: str) -> Array:
    found = np.asarray(grid)
    if found.ndim != 1 or not len(found):
        raise ValueError(f"grid must be a list of at least one value, got shape {found.shape}")
    if kind == "number":
        found = checks.numeric("grid", found, np.dtype(np.float64))
        checks.finite("grid", found)
    return found


def _spread(values: Array, points: int, name: str, kind: str) -> Array:
    """A grid of numbers, or of dates, whose values are days since 1970."""
    values = values[np.isfinite(values)].astype(np.float64)
    known = np.unique(values)
    if not len(known):
        raise ValueError(f"column {name!r} has no value in any of the rows: give a grid")
    if len(known) > points:
        low, high = np.quantile(values, [0.05, 0.95]).tolist()
        known = np.linspace(low, high, points)
    return (known * 86_400e6).astype("datetime64[us]") if kind == "date" else known


def _codes(of: Subject, model: TableModel, data: Any, name: str, values: Array) -> Array:
    """The inputs (g, inputs) of a row of the table that has each of these values in the column."""
    frame = tables.frame(data, model.encoder.names)
    row = frame.iloc[np.zeros(len(values), np.intp)].reset_index(drop=True)
    label = next(label for label in frame.columns if str(label) == name)
    row[label] = frames.pandas().Series(values)
    assert of.rows is not None
    return subject.dense(of.rows(row))
