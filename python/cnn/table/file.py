"""Table models as files (docs/files.md): enumerated names and numbers in the payload, all texts in one tensor."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn import container, files
from cnn._check import ModelFormatError
from cnn.container import Contents
from cnn.table import columns
from cnn.table.encode import Encoder
from cnn.table.frames import Array
from cnn.table.target import TASKS, Target

if TYPE_CHECKING:
    from cnn.table.model import TableModel

_LABELS = {"text": str, "int": int, "bool": bool}


def save(model: TableModel, path: str | os.PathLike[str]) -> None:
    """Everything but the histories, to one file."""
    goal = model.goal
    texts = [model.target, goal.reason]
    numbers: list[tuple[Array, Array]] = []
    described = [_describe(column, texts, numbers) for column in model.encoder.columns]
    for name, reason in model.dropped.items():
        texts += [name, reason]
    texts += model.notes
    kind = "text" if not goal.classes else next(k for k, cls in _LABELS.items() if type(goal.classes[0]) is cls)
    texts += [str(label) for label in goal.classes if kind == "text"]
    empty = np.zeros(0)
    payload = {
        "task": goal.task, "mean": goal.mean, "deviation": goal.deviation, "labels": kind,
        "classes": len(goal.classes), "columns": described, "dropped": len(model.dropped), "notes": len(model.notes),
        "settings": {**dataclasses.asdict(model.settings), "hidden": list(model.settings.hidden)}, "seed": model.seed,
        "seconds": model.seconds, "scores": _finite(model.scores),
        "networks": [files.describe_network(net) for net in model.networks],
    }  # fmt: skip
    tensors = {
        "texts": container.pack_text(texts),
        "labels": np.array([int(label) for label in goal.classes if kind != "text"], np.int64),
        "nodes": np.concatenate([empty, *(nodes for nodes, _ in numbers)]),
        "heights": np.concatenate([empty, *(heights for _, heights in numbers)]),
    }
    for i, net in enumerate(model.networks):
        tensors.update(files.network_tensors(net, f"networks.{i}."))
    container.write(path, "table", payload, tensors)


def _finite(scores: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Scores that JSON can hold: R² of a single row is none."""
    return {part: {k: v for k, v in found.items() if math.isfinite(v)} for part, found in scores.items()}


def _describe(column: columns.Column, texts: list[str], numbers: list[tuple[Array, Array]]) -> dict[str, Any]:
    """The column without its texts and arrays, which are appended to those of all columns; their counts stay."""
    plain, arrays = column.describe()
    texts.append(column.name)
    for part in (plain, plain.get("days")):
        for name in ("marks", "values"):
            if part is not None and name in part:
                texts += part[name]
                part[name] = len(part[name])
    if arrays:
        numbers.append((arrays["nodes"], arrays["heights"]))
        plain["nodes"] = len(arrays["nodes"])
    return {"kind": column.kind, **plain}


def from_file(contents: Contents) -> TableModel:
    """The model of an open file; ModelFormatError where anything is not as `save` writes it."""
    from cnn.table.model import TableModel

    fields = contents.fields(
        contents.payload, "task", "mean", "deviation", "labels", "classes", "columns", "dropped", "notes", "settings",
        "seed", "seconds", "scores", "networks",
    )  # fmt: skip
    task, mean, deviation, kind, n_classes, described, dropped, notes, settings, seed, seconds, scores, nets = fields
    texts = _Texts(contents, container.unpack_text(contents, "texts"))
    try:
        name, reason = texts.take(2)
        encoder = Encoder(tuple(_columns(contents, described, texts)), _pairs(texts.take(2 * _count(dropped))))
        said = texts.take(_count(notes))
        labels = contents.take("labels", np.int64).tolist()
        if kind == "text":
            labels = texts.take(_count(n_classes))
        classes = tuple(_LABELS[kind](label) for label in labels)
        texts.end()
        fits = (task == "classification") == bool(classes) and len(set(classes)) == n_classes
        if kind not in _LABELS or task not in TASKS or not fits:
            raise ValueError(f"{n_classes} classes for {task!r}")
        if list(classes) != sorted(classes) or not (np.isfinite([mean, deviation]).all() and deviation > 0):
            raise ValueError("its classes are not sorted, or mean and deviation are not finite")
        model = TableModel(name, **settings, seed=seed)
        model.scores = {
            str(part): {str(k): float(v) for k, v in found.items()} for part, found in scores.items()
        }  # fmt: skip
        model.seconds = float(seconds)
        goal = Target(name, task, reason, classes, float(mean), float(deviation))
        networks = tuple(files.revive_network(contents, net, f"networks.{i}.") for i, net in enumerate(nets))
        for net in networks:
            if net.n_inputs != len(encoder.inputs) or net.n_outputs != goal.outputs:
                raise ValueError(f"a network of {net.n_inputs} inputs and {net.n_outputs} outputs does not fit")
            if net.loss.name != model.settings.network(goal, 0).loss.name or not net.one_dimensional == (
                net.n_outputs == 1
            ):
                raise ValueError(f"a network with loss {net.loss.name!r} does not fit {task}")
        if not networks:
            raise ValueError("it has no networks")
    except ModelFormatError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise contents.error(f"it describes a table model that can't be: {error}") from None
    model.adopt(encoder, goal, networks, tuple(said))
    return model


class _Texts:
    """The texts of a file, taken one after another."""

    def __init__(self, contents: Contents, texts: list[str]) -> None:
        self._contents, self._texts, self._at = contents, texts, 0

    def take(self, n: int) -> list[str]:
        if self._at + n > len(self._texts):
            raise self._contents.error(f"it has {len(self._texts)} texts, and needs more")
        self._at += n
        return self._texts[self._at - n : self._at]

    def end(self) -> None:
        if self._at != len(self._texts):
            raise self._contents.error(f"it has {len(self._texts)} texts, and needs {self._at}")


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise ValueError(f"expected a count, got {value!r}")
    return value


def _pairs(texts: list[str]) -> dict[str, str]:
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _columns(contents: Contents, described: Any, texts: _Texts) -> Iterator[columns.Column]:
    nodes, heights = contents.take("nodes", np.float64), contents.take("heights", np.float64)
    at, names = 0, set()
    for one in described:
        plain = dict(one)
        kind, (name,) = plain.pop("kind"), texts.take(1)
        if name in names:
            raise ValueError(f"two columns with the name {name!r}")
        names.add(name)
        n = _count(plain.pop("nodes", 0))
        arrays = {"nodes": nodes[at : at + n], "heights": heights[at : at + n]}
        at += n
        for part in (plain, plain.get("days")):
            if isinstance(part, dict):
                part.update({k: texts.take(_count(part[k])) for k in ("marks", "values") if k in part})
        yield columns.revive(kind, name, plain, arrays)
    if at != len(nodes):
        raise ValueError(f"{len(nodes)} nodes, of which its columns use {at}")
