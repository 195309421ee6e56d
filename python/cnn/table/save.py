"""Table models into files (docs/files.md): enumerated names and numbers in the payload, all texts in one tensor."""

from __future__ import annotations

import dataclasses
import math
import os
from typing import Any

import numpy as np

from cnn.files import container, residuals
from cnn.files.descriptions import describe
from cnn.files.network import describe_network, network_tensors
from cnn.table import columns, labels
from cnn.table.frames import Array
from cnn.table.labels import TYPES
from cnn.table.targets import Goal
from cnn.table.training import OF_NUMBERS
from cnn.table.weights import by_class


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Everything but the histories, to one file."""
    goal = model.goal
    texts = [text for one in goal.each for text in (one.name, one.reason)]
    numbers: dict[str, list[Array]] = {name: [np.zeros(0)] for name in ("nodes", "heights", "spikes", "edges")}
    described = [_describe(column, texts, numbers) for column in model.encoder.columns]
    for name, reason in model.dropped.items():
        texts += [name, reason]
    texts += model.notes
    kind = "text" if not goal.classes else next(k for k, cls in TYPES.items() if type(goal.classes[0]) is cls)
    texts += [label for label in goal.classes if isinstance(label, str)]
    plain = labels.array(goal.classes) if kind != "text" else np.zeros(0, np.int64)
    (first, *further), errors = _targets(model)
    payload = {
        "task": goal.task, "named": model._given["target"] is not None, **first, "further": further, "labels": kind,
        "embedded": model.encoder.embedded,
        "classes": len(goal.classes), "columns": described, "dropped": len(model.dropped),
        "places": [model.encoder.names.index(name) for name in model.dropped], "notes": len(model.notes),
        "settings": _settings(model.fitted), "class_weight": _class_weight(model), "seed": model.seed,
        "seconds": model.seconds, "scores": _finite(model.scores, goal),
        "parts": model.parts,
        "sets": None if model.set_scores is None else model.set_scores["lac"].rows,
        "networks": [describe_network(net) for net in model.networks],
    }  # fmt: skip
    arrays = {name: np.concatenate(some) for name, some in numbers.items()}
    for method, scores in (model.set_scores or {}).items():
        errors |= residuals.describe(scores, f"sets.{method}.")[1]
    tensors = {
        **errors,
        "texts": container.pack_text(texts),
        "labels": plain.astype(np.int64) if kind == "bool" else plain,
        **{name: array for name, array in arrays.items() if len(array) or name in ("nodes", "heights")},
    }
    for i, net in enumerate(model.networks):
        tensors.update(network_tensors(net, f"networks.{i}."))
    container.write(path, "table", payload, tensors)


def _targets(model: Any) -> tuple[list[dict[str, Any]], dict[str, Array]]:
    """(what is known of the numbers of each target, the tensors of their residuals)."""
    described, tensors = [], dict[str, Array]()
    for i, (one, found) in enumerate(zip(model.goal.each, model.residuals_of_each, strict=True)):
        rows, errors = residuals.describe(found, prefix(i))
        tensors |= errors
        described.append({
            "mean": one.mean, "deviation": one.deviation, "writing": one.writing, "low": _bound(one.low),
            "high": _bound(one.high), "offset": one.offset, "residuals": rows,
        })  # fmt: skip
    return described, tensors


def prefix(target: int) -> str:
    """Of the tensors of a target's residuals."""
    return "residuals." if not target else f"further.{target - 1}.residuals."


def _settings(settings: Any) -> dict[str, Any]:
    """The arguments but the weights of classes, whose names may be text."""
    plain = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    del plain["class_weight"]
    hidden = None if settings.hidden is None else list(settings.hidden)
    return {**plain, "hidden": hidden, "loss": describe(settings.loss)}


def _class_weight(model: Any) -> Any:
    """ "balanced", or the weight of each class in their order, or None."""
    given = model.fitted.class_weight
    if given is None or isinstance(given, str) or model.task == "regression":
        return None if model.task == "regression" else given
    return by_class(given, model.goal, np.zeros(0)).tolist()  # type: ignore[union-attr]


def _bound(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None


def _finite(scores: dict[str, dict[str, float]], goal: Goal) -> dict[str, dict[str, float]]:
    """Scores that JSON can hold: R² of a single row is none, and those of a target have its number for its name."""
    names = score_names(goal)
    return {
        part: {names.get(k, k): v for k, v in found.items() if math.isfinite(v)} for part, found in scores.items()
    }  # fmt: skip


def score_names(goal: Goal) -> dict[str, str]:
    """The names of the scores of each of several targets: "r2_price" is "r2_0" if "price" is the first."""
    several = enumerate(goal.each if len(goal.each) > 1 else ())
    return {f"{score}_{one.name}": f"{score}_{i}" for i, one in several for score in OF_NUMBERS}


def _describe(column: columns.Column, texts: list[str], numbers: dict[str, list[Array]]) -> dict[str, Any]:
    """The column without its texts and arrays, which are appended to those of all columns; their counts stay."""
    plain, arrays = column.describe()
    texts.append(column.name)
    for part in (plain, plain.get("days")):
        for name in ("marks", "values"):
            if part is not None and name in part:
                texts += part[name]
                part[name] = len(part[name])
    for name, array in arrays.items():
        numbers[name].append(array)
        if name != "heights":  # as many as nodes
            plain[name] = len(array)
    return {"kind": column.kind, **plain}
