"""Table models from files: every field is checked as the classes check it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from cnn._common import checks
from cnn._common.errors import ModelFormatError
from cnn.files import container, descriptions, residuals
from cnn.files.container import Contents
from cnn.files.network import revive_network
from cnn.files.strict_json import shown
from cnn.layers import PiecewiseEmbedding
from cnn.losses import Loss
from cnn.network import Network
from cnn.table import columns, finer, revive, targets, writings
from cnn.table.encode import Encoder
from cnn.table.labels import TYPES
from cnn.table.model import TableModel
from cnn.table.save import prefix, score_names
from cnn.table.target import MOST_CLASSES, TASKS, Target
from cnn.table.targets import Goal, Targets
from cnn.uncertainty import Residuals

_NUMBER = ("center", "scale", "gaps", "marks")
_ARRAYS = ("nodes", "spikes", "edges")
_TARGET = ("mean", "deviation", "writing", "low", "high", "offset", "residuals")
_FIELDS = {
    "number": (*_NUMBER, "writing", *_ARRAYS), "boolean": ("gaps",), "category": ("values", "rare", "gaps", "one"),
    "date": ("days", "periods", "order", *_ARRAYS),
}  # fmt: skip
# Of files that were written before these fields were there.
_OLDER: dict[str, dict[str, Any]] = {
    "table": {
        "writing": "", "places": (), "class_weight": None, "residuals": None, "low": None, "high": None, "offset": None,
        "further": [], "named": True, "embedded": False, "sets": None, "parts": None,
    },
    "further": {"offset": None},
    "number": {"writing": "", "spikes": 0, "edges": 0}, "date": {"order": writings.DATES[0], "spikes": 0, "edges": 0},
    "category": {"one": 1.0},
}  # fmt: skip


def from_file(contents: Contents) -> TableModel:
    """The model of an open file; ModelFormatError where anything is not as `save` writes it."""
    fields = contents.fields(
        contents.payload, "task", "labels", "classes", "columns", "dropped", "places", "notes", "settings",
        "class_weight", "seed", "seconds", "scores", "networks", "further", "named", "embedded", "sets",
        "parts", *_TARGET, older=_OLDER["table"],
    )  # fmt: skip
    task, kind, n_classes, described, dropped, places, notes, settings, class_weight, *others = fields
    seed, seconds, scores, nets, further, named, embedded, sets, parts, *first = others
    texts = _Texts(contents, container.unpack_text(contents, "texts"))
    try:
        if kind not in TYPES or not 0 <= _count(n_classes) <= MOST_CLASSES:
            raise ValueError(f"{n_classes} classes that are {kind!r}")
        if not isinstance(further, list):
            raise TypeError(f"further targets {shown(further)}")
        numbers = [first, *(contents.fields(one, *_TARGET, older=_OLDER["further"]) for one in further)]
        names = [texts.take(2) for _ in numbers]
        used, left_out = tuple(_columns(contents, described, texts)), _pairs(texts.take(2 * _count(dropped)))
        encoder = Encoder(
            used, left_out, _names([column.name for column in used], left_out, places),
            checks.flag("embedded", embedded),
        )
        if encoder.embedded and not encoder.stairs:
            raise ValueError("embeddings of no column")
        said = texts.take(_count(notes))
        stored: Any = np.float64 if kind == "float" else np.int64
        if kind == "int" and contents.specs["labels"].dtype == np.uint64:
            stored = np.uint64
        found: list[Any] = contents.read_tensor("labels", stored, (0 if kind == "text" else n_classes,)).tolist()
        if kind == "text":
            found = texts.take(n_classes)
        texts.end()
        if kind == "bool" and not set(found) <= {0, 1}:
            raise ValueError(f"truth values {found}")
        if kind == "float" and not all(map(math.isfinite, found)):
            raise ValueError(f"numbers {found}")
        classes = tuple(TYPES[kind](label) for label in found)
        if task not in TASKS or (task == "classification") != bool(classes) or len(classes) == 1:
            raise ValueError(f"{n_classes} classes for {shown(task)}")
        different = {label.strip() if isinstance(label, str) else label for label in classes}
        if len(different) < n_classes or list(classes) != sorted(classes):
            raise ValueError("its classes are not different ones in ascending order")
        if not isinstance(settings, dict):
            raise TypeError(f"settings {shown(settings)}")
        if settings.get("loss") is not None:
            settings = {**settings, "loss": descriptions.revive(contents, settings["loss"], Loss)}
        weighted = _class_weight(class_weight, classes)
        target: Any = names[0][0] if len(names) == 1 else [name for name, _ in names]
        if not isinstance(named, bool):
            raise TypeError(f"named {shown(named)}")
        if isinstance(settings.get("hidden"), list):
            settings = {**settings, "hidden": tuple(settings["hidden"])}
        targets.asked(target)  # a name, whether it is an argument or not
        seed = checks.integer("seed", seed, 0)
        model = TableModel(target if named else None, **settings, class_weight=weighted, seed=seed)
        model.seconds = checks.number("seconds", seconds, 0)
        each = tuple(
            _target(Target(*of, classes, chosen=model.settings.loss), found)
            for of, found in zip(((name, task, reason) for name, reason in names), numbers, strict=True)
        )
        if classes and further:
            raise ValueError("several targets of classes")
        if len({one.logarithmic for one in each}) > 1:
            raise ValueError("logarithms of some targets alone")
        goal: Goal = each[0] if len(each) == 1 else Targets(each)
        model.scores = _revive_scores(scores, goal)
        if not isinstance(nets, list):
            raise TypeError(f"networks {shown(nets)}")
        networks = tuple(revive_network(contents, net, Network, f"networks.{i}.") for i, net in enumerate(nets))
        n_inputs = encoder.n_inputs
        stairs = encoder.stairs if encoder.embedded else []
        for net in networks:
            begin = net.descriptions[0]
            if stairs and not (isinstance(begin, PiecewiseEmbedding) and [len(e) - 1 for e in begin.edges] == stairs):
                raise ValueError("a network does not begin with embeddings of its numbers")
            if net.n_inputs != n_inputs or net.n_outputs != goal.outputs:
                raise ValueError(f"a network of {net.n_inputs} inputs and {net.n_outputs} outputs does not fit")
            if net.loss.name != goal.loss.name or net.one_dimensional != (net.n_outputs == 1):
                raise ValueError(f"a network with loss {net.loss.name!r} does not fit {task}")
        if not networks:
            raise ValueError("it has no networks")
        known = [residuals.revive(contents, of[-1], prefix(i)) for i, of in enumerate(numbers)]
        if classes and known[0] is not None:
            raise ValueError("classes with residuals")
        if parts is not None and checks.integer("parts", parts, 1) > len(networks):
            raise ValueError(f"{parts} parts held out by {len(networks)} networks")
        for one in filter(None, known):
            if (one.parts is None) != (parts is None) or (one.parts is not None and one.parts.max() >= parts):
                raise ValueError(f"errors of other parts than those held out, {parts}")
        if sets is not None and not classes:
            raise ValueError("sets of classes for numbers")
        if len({found is None for found in known}) > 1:
            raise ValueError("residuals of some targets alone")
        revived = _set_scores(contents, sets)
    except ModelFormatError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise contents.error(f"it describes a table model that can't be: {error}") from None
    model.adopt(encoder, goal, networks, tuple(said))
    some = tuple(found for found in known if found is not None)
    model.residuals = some if len(some) > 1 else known[0]
    model.set_scores, model.parts = revived, parts
    return model


def _set_scores(contents: Contents, rows: Any) -> dict[str, Residuals] | None:
    found = {method: residuals.revive(contents, rows, f"sets.{method}.") for method in ("lac", "aps")}
    return {method: scores for method, scores in found.items() if scores is not None} or None


def _target(goal: Target, found: Sequence[Any]) -> Target:
    """With its numbers: the fields `_TARGET` of a file."""
    mean, deviation, writing, *range_of, _ = found
    mean, deviation = checks.number("mean", mean), checks.number("deviation", deviation, 0, open_low=True)
    if goal.classes and (mean, deviation) != (0, 1):
        raise ValueError(f"classes with the mean {mean} and the deviation {deviation}")
    if writing not in writings.NUMBERS or (goal.classes and writing):
        raise ValueError(f"a target written as {shown(writing)}")
    low, high, offset = (checks.number("a bound", bound) if bound is not None else None for bound in range_of)
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    if low > high or (goal.classes and math.isfinite(high - low)):
        raise ValueError(f"numbers from {low} to {high}")
    if offset is not None and (goal.classes or not 0 <= offset <= high < math.inf or not low + offset > 0):
        raise ValueError(f"logarithms of numbers from {low} to {high} and {offset}")
    return dataclasses.replace(
        goal, mean=mean, deviation=deviation, writing=writing, low=low, high=high, offset=offset
    )  # fmt: skip


def _revive_scores(scores: Any, goal: Goal) -> dict[str, dict[str, float]]:
    if not isinstance(scores, dict) or not all(isinstance(found, dict) for found in scores.values()):
        raise TypeError(f"scores {shown(scores)}")
    names = {number: name for name, number in score_names(goal).items()}
    return {part: {names.get(k, k): checks.number(k, v) for k, v in found.items()} for part, found in scores.items()}


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


class _Arrays:
    """The numbers of all columns, taken one after another; spikes and edges are in files that have some."""

    def __init__(self, contents: Contents) -> None:
        self._arrays = {"nodes": contents.read_tensor("nodes", np.float64)}
        self._arrays["heights"] = contents.read_tensor("heights", np.float64)
        for name in ("spikes", "edges"):
            there = name in contents.specs
            self._arrays[name] = contents.read_tensor(name, np.float64) if there else finer.NONE
        self._at = dict.fromkeys(self._arrays, 0)

    def take(self, nodes: int, spikes: int, edges: int) -> dict[str, Any]:
        """So many of each, and as many heights as nodes."""
        counts = {"nodes": nodes, "heights": nodes, "spikes": spikes, "edges": edges}
        found = {name: self._arrays[name][self._at[name] : self._at[name] + n] for name, n in counts.items()}
        for name, n in counts.items():
            if len(found[name]) != n:
                raise ValueError(f"a column of {n} {name}, of which the file has {len(found[name])}")
            self._at[name] += n
        return found

    def end(self) -> None:
        for name, at in self._at.items():
            if at != (n := len(self._arrays[name])):
                raise ValueError(f"{n} {name}, of which its columns use {at}")


def _class_weight(given: Any, classes: Sequence[Any]) -> Any:
    """The argument of `TableModel`."""
    if given is None or (given == "balanced" and classes):
        return given
    if not isinstance(given, list) or not classes or len(given) != len(classes):
        raise ValueError(f"class_weight {shown(given)} for {len(classes)} classes")
    return dict(zip(classes, given, strict=True))


def _names(used: list[str], left_out: Iterable[str], places: Any) -> tuple[str, ...]:
    """The names of all columns as they stood: those left out at these places, or last where a file has none."""
    names, others = list(used), list(left_out)
    at = list(range(len(names), len(names) + len(others))) if places == () else places
    if not isinstance(at, list) or len(at) != len(others):
        raise ValueError(f"places {shown(at)} of {len(others)} columns")
    for place, name in sorted(zip(map(_count, at), others, strict=True)):
        if place > len(names):
            raise ValueError(f"a column at place {place} of {len(names)}")
        names.insert(place, name)
    if len(set(names)) < len(names):
        raise ValueError("two columns of one name")
    return tuple(names)


def _columns(contents: Contents, described: Any, texts: _Texts) -> Iterator[columns.Column]:
    arrays, names = _Arrays(contents), set()
    if not isinstance(described, list):
        raise TypeError(f"columns {shown(described)}")
    for one in described:
        kind = one.get("kind") if isinstance(one, dict) else None
        if not isinstance(kind, str) or kind not in _FIELDS:
            raise ValueError(f"there are no columns of kind {shown(kind)}")
        found = contents.fields(one, "kind", *_FIELDS[kind], older=_OLDER.get(kind))
        plain = dict(zip(_FIELDS[kind], found[1:], strict=True))
        if kind == "date":
            plain["days"] = dict(zip(_NUMBER, contents.fields(plain["days"], *_NUMBER), strict=True))
        (name,) = texts.take(1)
        if name in names:
            raise ValueError(f"two columns with the name {name!r}")
        names.add(name)
        taken = arrays.take(*(_count(plain.pop(k, 0)) for k in _ARRAYS))
        for part in (plain, plain.get("days", {})):
            part.update({k: texts.take(_count(part[k])) for k in ("marks", "values") if k in part})
        yield revive.revive(kind, name, plain, taken)
    arrays.end()
