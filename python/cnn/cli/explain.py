"""`cnn explain`: what each column adds to the predictions for a table's rows, piece by piece."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn import explain as explanations
from cnn import loading
from cnn.cli import predict, read, write
from cnn.cli.screen import Screen, counted, figure
from cnn.cli.source import Reading, source
from cnn.explain import Explanation
from cnn.network import Network
from cnn.table import TableModel, frames
from cnn.table.frames import TableError

_DRAWN = 2000  # rows
_LISTED = 20  # columns


@dataclass(frozen=True)
class How:
    """What the rows are compared with, and which output is explained."""

    background: str | None
    samples: int
    seed: int
    chosen: str | None
    raw: bool
    threads: int | None


def explain(
    screen: Screen, path: str, reading: Reading, how: How, out: str | None, only: bool, picture: str | None
) -> None:
    """`cnn explain`."""
    _check_places(screen, out, picture)
    model = loading.load(path)
    net = getattr(model, "network_", model)
    if isinstance(net, Network) and len(net.input_shape) > 1:
        raise TableError(
            f"{path} reads inputs of shape {net.input_shape}, and cnn explain divides predictions among the columns of "
            "a table; in Python: cnn.explain.integrated_gradients(cnn.load(...), images)"
        )
    if reading.decimal is not None and isinstance(model, TableModel):
        raise TableError(f"{path} has learnt how its numbers are written; --decimal is for networks and estimators")
    start = time.perf_counter()
    compared = None if how.background is None else _background(model, how.background, reading)
    seen = _Seen()
    with source(reading) as table, contextlib.nullcontext() if out is None else write.table(out) as writer:
        for piece in read.pieces(table):
            found = _explained(model, predict.rows(model, piece, reading.writing), compared, how)
            seen.add(found)
            if writer is None:
                continue
            columns = _columns(found)
            if not only and (taken := sorted(set(map(str, piece.names)) & set(columns))):
                raise TableError(f"the table has a column {taken[0]!r} already; use --only-shares")
            writer.write(None if only else piece.rows, columns)
    written = [] if out in (None, "-") else [str(out)]
    if picture is not None:
        from cnn import plots

        drawn = seen.first()
        (plots.attributions(drawn) if len(drawn.values) > 1 else plots.attribution(drawn)).savefig(picture, dpi=120)
        written.append(picture)
    if out != "-":
        what = "a row with nothing in it" if how.background is None else f"rows of {how.background}"
        title = f"{counted(seen.rows, 'row')} compared with {what}, {time.perf_counter() - start:.1f} s"
        _tell(screen, seen, title, written)


def _explained(model: Any, rows: Any, compared: Any, how: How) -> Explanation:
    if compared is None:
        found = explanations.integrated_gradients(model, rows, raw=how.raw, n_threads=how.threads)
    else:
        found = explanations.expected_gradients(
            model, rows, compared, samples=how.samples, seed=how.seed, raw=how.raw, n_threads=how.threads
        )
    return _one_output(model, found, how.chosen)


class _Seen:
    """What is kept of the rows: sums, and the first of them for the picture."""

    def __init__(self) -> None:
        self.rows, self.gap, self.base = 0, 0.0, 0.0
        self.names: tuple[str, ...] = ()
        self.output = ""
        self.size: Any = 0.0
        self.sum: Any = 0.0
        self._kept: list[Explanation] = []

    def add(self, found: Explanation) -> None:
        self.names, self.output = found.feature_names, found.output_names[0]
        if sum(len(part.values) for part in self._kept) < _DRAWN:
            self._kept.append(found)
        self.rows += len(found.values)
        self.size = self.size + np.abs(found.values).sum(axis=0)
        self.sum = self.sum + found.values.sum(axis=0)
        self.base += float(found.base_values.sum())
        self.gap += float(np.abs(found.gap).sum())

    def first(self) -> Explanation:
        values, base, data, predictions = (
            np.concatenate([getattr(part, name) for part in self._kept])[:_DRAWN]
            for name in ("values", "base_values", "data", "predictions")
        )
        return dataclasses.replace(self._kept[0], values=values, base_values=base, data=data, predictions=predictions)


def _tell(screen: Screen, seen: _Seen, title: str, written: list[str]) -> None:
    n = max(seen.rows, 1)
    size, mean = seen.size / n, seen.sum / n
    order = np.argsort(-size, kind="stable")
    body = [[seen.names[i], figure(float(size[i])), figure(float(mean[i]))] for i in order[:_LISTED]]
    screen.table(title, ["column", "mean size of its share", "mean share"], body)
    if len(order) > _LISTED:
        screen.say(f"and {len(order) - _LISTED:,} more columns")
    screen.say(f"shares in the prediction of {seen.output}; with the base value, {figure(seen.base / n)} in the mean, "
               f"they add up to it but for {figure(seen.gap / n)} in the mean")  # fmt: skip
    if written:
        screen.say(f"written: {', '.join(written)}")
    screen.result({
        "rows": seen.rows, "explained": seen.output, "base_value": seen.base / n, "gap": seen.gap / n,
        "importance": {seen.names[i]: float(size[i]) for i in order},
        "mean": {seen.names[i]: float(mean[i]) for i in order}, "written": written,
    })  # fmt: skip


def _background(model: Any, path: str, reading: Reading) -> Any:
    """The rows to compare with, whole: as the table is read, but for the format, which its own name tells."""
    with source(dataclasses.replace(reading, path=path, format=None)) as table:
        parts = [predict.rows(model, piece, reading.writing) for piece in read.pieces(table)]
    if not parts:
        raise TableError(f"{path} has no rows to compare with")
    if hasattr(parts[0], "columns"):
        return frames.pandas().concat(parts, ignore_index=True)
    return np.concatenate(parts)


def _one_output(model: Any, found: Explanation, chosen: str | None) -> Explanation:
    """That of the output of this name, or of each row's most probable class."""
    names = found.output_names
    if chosen is not None and chosen not in names:
        raise TableError(f"--class must be one of {', '.join(names)}, got {chosen}")
    if found.values.ndim == 2:
        return found
    if chosen is None and not hasattr(model, "classes_"):
        raise TableError(f"the model has several outputs: say which with --class, one of {', '.join(names)}")
    best = found.predictions.argmax(axis=1) if chosen is None else np.full(len(found.values), names.index(chosen))
    rows = np.arange(len(best))
    return dataclasses.replace(
        found, values=found.values[rows, :, best], base_values=found.base_values[rows, best],
        predictions=found.predictions[rows, best], output_names=(chosen or "the predicted class",),
    )  # fmt: skip


def _columns(found: Explanation) -> dict[str, Any]:
    return {"explained_prediction": found.predictions, "base_value": found.base_values} | {
        f"share_{name}": np.ascontiguousarray(column)
        for name, column in zip(found.feature_names, found.values.T, strict=True)
    }


def _check_places(screen: Screen, out: str | None, picture: str | None) -> None:
    if out is not None:
        write.check_place(out, "--out")
    if out == "-" and screen.as_json:
        raise TableError("--json needs --out: both would go to standard output")
    if picture is not None:
        write.check_picture(picture)
