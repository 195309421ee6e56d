"""`cnn predict`: a table's rows and the predictions for them, piece by piece."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from cnn import loading
from cnn.cli import pictures, read, write
from cnn.cli.read import Piece
from cnn.cli.screen import Screen, counted
from cnn.cli.source import Reading, source
from cnn.network import Network
from cnn.table import TableModel, calibration, frames
from cnn.table.frames import TableError


def predict(
    screen: Screen, path: str, reading: Reading, out: str, only: bool, probabilities: bool, interval: float | None,
    threads: int | None,
) -> None:  # fmt: skip
    """`cnn predict`."""
    write.check_place(out, "--out")
    model = loading.load(path)
    if out == "-" and screen.as_json:
        raise TableError("--json needs --out: both would go to standard output")
    if reading.decimal is not None and isinstance(model, TableModel):
        raise TableError(f"{path} has learnt how its numbers are written; --decimal is for networks and estimators")
    if probabilities and not _has_probabilities(model):
        raise TableError("--probabilities is for models of classes that have some")
    if interval is not None:
        _check_interval(model, interval)
    if pictures.is_model(model):
        pictures.predict(screen, model, reading.path, out, probabilities, threads)
        return
    start, done = time.perf_counter(), 0
    with source(reading) as table, write.table(out) as writer:
        for piece in read.pieces(table):
            try:
                predicted = _predictions(model, piece, reading.writing, probabilities, interval, threads)
            except TableError as error:
                raise TableError(_shifted(error, done)) from None
            if not only and (taken := sorted(set(map(str, piece.names)) & set(predicted))):
                raise TableError(f"the table has a column {taken[0]!r} already; use --only-predictions")
            writer.write(None if only else piece.rows, predicted)
            done += len(next(iter(predicted.values())))
    if out != "-":
        screen.say(f"{counted(done, 'row')} predicted in {time.perf_counter() - start:.1f} s; written: {out}")
        screen.result({"rows": done, "written": [out]})


def _shifted(error: TableError, rows: int) -> str:
    """The text of an error in a piece, its row counted from the beginning of the table."""
    before, found, row = str(error).rpartition(" at row ")
    return f"{before} at row {int(row) + rows}" if found and row.isdigit() else str(error)


def _has_probabilities(model: Any) -> bool:
    if isinstance(model, TableModel):
        return model.task == "classification"
    return hasattr(model, "classes_") and not getattr(model, "estimators_", [model])[0].network_.loss.margins


def rows(model: Any, piece: Piece, writing: str) -> Any:
    """A piece as the model's `predict` takes it.

    An estimator knows its columns by name if it was fitted to a data frame.
    """
    if isinstance(model, TableModel):
        return piece.cells(model.columns)
    if isinstance(model, Network):
        return _matrix(model.n_inputs, piece.cells(), writing)
    names = getattr(model, "feature_names_in_", None)
    cells = piece.cells(names)
    if names is not None:
        cells = frames.pandas().DataFrame({name: frames.column(cells, name, "the table") for name in names})
    X = _matrix(model.n_features_in_, cells, writing)
    return X if names is None else frames.pandas().DataFrame(X, columns=names)


def _check_interval(model: Any, coverage: float) -> None:
    """Before any row is read: whether the model can tell intervals of that coverage."""
    each = model.residuals_of_each if isinstance(model, TableModel) else (getattr(model, "residuals_", None),)
    for found in each:
        if isinstance(model, TableModel) and model.task == "regression" and found is None:
            raise TableError(calibration.MISSING)
        if found is None:
            raise TableError("--interval is for numbers, predicted by models of `cnn train` and by ensembles")
        found.interval(np.zeros(1), coverage)


def _predictions(
    model: Any, piece: Piece, writing: str, probabilities: bool, interval: float | None, threads: int | None
) -> dict[str, Any]:
    cells = rows(model, piece, writing)
    if isinstance(model, Network):
        return _numbered("prediction", model.predict(cells, n_threads=threads))
    if not isinstance(model, TableModel):
        return _estimated(model, cells, probabilities, interval, threads)
    if not probabilities:
        found = model.predict(cells, n_threads=threads)
        return _numbers(model, found, interval) if model.task == "regression" else {f"predicted_{model.target}": found}
    p = model.predict_proba(cells, n_threads=threads)
    columns = {f"predicted_{model.target}": model.classes[p.argmax(axis=1)]}
    return columns | {f"probability_{label}": p[:, i].astype(np.float32) for i, label in enumerate(model.classes)}


def _numbers(model: TableModel, found: Any, interval: float | None) -> dict[str, Any]:
    """The prediction of each target, and the ends of its intervals."""
    columns: dict[str, Any] = {}
    each = zip(model.goal.each, model.residuals_of_each, found.reshape(len(found), model.goal.outputs).T, strict=True)
    for one, residuals, values in each:
        of_target = {f"predicted_{one.name}": values, **_ends(residuals, values, interval, f"_{one.name}")}
        columns |= {name: rounded(column, one.unit) for name, column in of_target.items()}
    return columns


def _ends(residuals: Any, found: Any, interval: float | None, suffix: str = "") -> dict[str, Any]:
    """Of intervals around predictions, if they are asked for."""
    if interval is None:
        return {}
    ends = residuals.interval(found, interval)
    return {f"lower{suffix}": ends[:, 0], f"upper{suffix}": ends[:, 1]}


def rounded(found: Any, deviation: float) -> Any:
    """Predictions without the digits that float32, of which they are computed in units of the deviation, has not.

    >>> rounded(np.array([207123.45678912]), 115000.0)
    array([207123.457])
    """
    digits = 8 - math.floor(math.log10(deviation))
    return np.array([round(value, digits) for value in found.tolist()])


def _estimated(
    model: Any, X: Any, probabilities: bool, interval: float | None, threads: int | None
) -> dict[str, Any]:
    """The predictions of an estimator."""
    found = model.set_params(n_threads=threads).predict(X)
    columns = _numbered("prediction", found.toarray() if hasattr(found, "toarray") else found)
    if interval is not None:
        columns |= _ends(model.residuals_, np.asarray(found, np.float64), interval)
    if probabilities:
        p = model.predict_proba(X)
        columns |= {f"probability_{label}": p[:, i] for i, label in enumerate(model.classes_)}
    return columns


def _numbered(name: str, found: Any) -> dict[str, Any]:
    return {name: found} if found.ndim == 1 else {f"{name}_{i}": column for i, column in enumerate(found.T)}


def _matrix(n_inputs: int, cells: Any, writing: str) -> Any:
    """All columns as numbers, in their order: a network knows no names."""
    if len(cells.columns) != n_inputs:
        raise TableError(f"the table has {len(cells.columns)} columns, but the network takes {n_inputs} inputs")
    columns = []
    for name in cells.columns:
        values, bad = frames.as_numbers(cells[name], writing)
        bad = bad | np.isnan(values)
        if bad.any():
            cell, row = frames.first(cells[name], bad)
            raise TableError(f"column {str(name)!r} must hold numbers for a network, got {cell} at row {row}")
        columns.append(values)
    return np.column_stack(columns)
