"""What is public, and what its docstrings say: parameters, errors, example; whatever they leave out is named.

    python tools/site/documented.py       # what is undocumented, a line each; returns 1 if there is any

The reference of the site is written from this, so nothing can be public and missing there.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import re
import sys
import types
from collections.abc import Iterator
from typing import Any

import cnn

# Titles of the reference's pages, in their order, by the module that has the names.
GROUPS = {
    "networks": "Networks", "layers": "Layers", "activations": "Activations", "losses": "Losses",
    "optimizers": "Optimizers", "schedules": "Schedules", "initializers": "Initializers", "metrics": "Metrics",
    "callbacks": "Callbacks and checkpoints", "mlflow": "MLflow",
    "augment": "Augmentation", "table": "Tables",
    "sklearn": "Estimators of scikit-learn's kind", "images": "Pictures", "tuning": "Search of settings",
    "explain": "Explanations", "uncertainty": "Uncertainty", "plots": "Pictures of trainings and networks",
    "inspect": "Looking inside", "export": "To and from other libraries", "errors": "Errors",
}  # fmt: skip
# Where the names of modules without a page of their own stand.
PLACES = {"many": "networks", "network": "networks", "loading": "networks", "runtime": "networks"}
WITH_SKLEARN = (
    "EnsembleClassifier",
    "EnsembleRegressor",
    "ImageClassifier",
    "MLPClassifier",
    "MLPRegressor",
    "cross_validate",
)
# What these arguments of methods are, wherever they stand.
COMMON = {
    "X": "rows: (n, inputs), images (n, height, width, channels) or signals (n, length, channels); never changed.",
    "y": "targets of the rows, as `fit` takes them.",
    "data": "a table, as `fit` takes it.",
    "sample_weight": "(n,) weights >= 0 of the rows; None: all are equal.",
    "n_threads": "the result has the same bits for every number; None chooses.",
    "path": "of the file.",
    "network": "the `Network` that is trained.",
    "epoch": "its number, from 0.",
    "run": "what the fit tells of itself.",
    "logs": "numbers by their names.",
    "spec": "a record of the core, which is written.",
    "n_outputs": "numbers of a row that the network gives.",
    "coverage": "the share, in (0, 1).",
}
SECTION = re.compile(r"^(Args|Raises|Returns|Yields|Attributes|Examples?):$")
ENTRY = re.compile(r"^ {4}(\S[^:]*?): *(.*)$")
RANGE = re.compile(r"^(\w+) \.\. (\w+)$")
AS_OF = re.compile(r"\bas (?:of|for) `([\w.]+)`")


@dataclasses.dataclass
class Docstring:
    """One line, the text below it, and what its sections list; the example as lines of a session."""

    summary: str = ""
    text: list[str] = dataclasses.field(default_factory=list)
    sections: dict[str, list[tuple[str, str]]] = dataclasses.field(default_factory=dict)
    examples: list[str] = dataclasses.field(default_factory=list)


def parse(text: str | None) -> Docstring:
    """A docstring in the style of Google, with its sessions taken out.

    >>> parse("One.\\n\\nArgs:\\n    a, b: two\\n        numbers\\n\\n>>> 1\\n1\\n").sections
    {'Args': [('a, b', 'two numbers')]}
    """
    found, paragraph, section, names = Docstring(), [], "", ""
    paragraphs: list[list[str]] = []
    lines = iter(inspect.cleandoc(text or "").splitlines())
    for line in lines:
        if line.lstrip().startswith(">>>"):
            session = [line.strip()]
            indent = len(line) - len(line.lstrip())
            for more in lines:
                if not more.strip():
                    break
                session.append(more[indent:])
            found.examples.append("\n".join(session))
        elif match := SECTION.match(line):
            section = match[1]
            found.sections.setdefault(section, [])
        elif section and (not line.strip() or line.startswith("    ")):
            line, names = names + (line.strip() if names else line), ""
            if re.match(r"^ {4}\S[^:]*,$", line):  # names that go on in the next line
                names = line + " "
            elif entry := ENTRY.match(line):
                found.sections[section].append((entry[1], entry[2]))
            elif line.strip() and found.sections[section]:
                name, said = found.sections[section].pop()
                found.sections[section].append((name, f"{said} {line.strip()}".strip()))
            elif line.strip():  # a section of prose, such as Returns
                found.sections[section].append(("", line.strip()))
        else:
            section = ""
            if line.strip():
                paragraph.append(line)
            elif paragraph:
                paragraphs.append(paragraph)
                paragraph = []
    paragraphs += [paragraph] if paragraph else []
    if paragraphs:
        found.summary = " ".join(paragraphs[0])
        found.text = ["\n".join(each) for each in paragraphs[1:]]
    return found


@dataclasses.dataclass(frozen=True)
class Public:
    """A public name, `cnn.Dense`, what it is, and the page that it is on (its module's)."""

    name: str
    thing: Any
    group: str

    @property
    def short(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def kind(self) -> str:
        if inspect.isclass(self.thing):
            return "exception" if issubclass(self.thing, Exception) else "class"
        return "function" if callable(self.thing) else "data"

    @functools.cached_property
    def doc(self) -> Docstring:
        return parse(self.thing.__doc__)

    @functools.cached_property
    def signature(self) -> inspect.Signature | None:
        return signature(self.thing) if self.kind in ("class", "function") else None

    @property
    def bases(self) -> list[Public]:
        """Classes above it that have a place of their own in the reference."""
        if not inspect.isclass(self.thing):
            return []
        known = {public.thing: public for public in everything() if inspect.isclass(public.thing)}
        return [known[cls] for cls in self.thing.__mro__[1:] if cls in known]

    def members(self) -> Iterator[tuple[str, Any]]:
        """Public methods and properties of ours that no class above with a place of its own has."""
        if self.kind != "class":
            return
        above = {name for base in self.bases for name in dir(base.thing)}
        fields = (
            {field.name for field in dataclasses.fields(self.thing)} if dataclasses.is_dataclass(self.thing) else ()
        )
        seen: set[str] = set()
        for cls in self.thing.__mro__:
            if not cls.__module__.split(".")[0].startswith("cnn"):
                continue
            for name, member in vars(cls).items():
                if name.startswith("_") or name in seen or name in above or name in fields:
                    continue
                seen.add(name)
                if isinstance(member, property | functools.cached_property | classmethod | staticmethod) or (
                    inspect.isfunction(member)
                ):
                    yield name, member


def signature(thing: Any) -> inspect.Signature | None:
    """Without `self`, and with annotations as they are written."""
    if isinstance(thing, classmethod | staticmethod):
        thing = thing.__func__
    if inspect.isclass(thing) and thing.__init__ is object.__init__:
        return None
    try:
        found = inspect.signature(thing)
    except (TypeError, ValueError):
        return None
    return found.replace(parameters=[p for p in found.parameters.values() if p.name not in ("self", "cls")])


@functools.cache
def everything() -> tuple[Public, ...]:
    """All public names: those of `cnn`, and those of its public modules that stand only there."""
    found: dict[int, Public] = {}
    for name in sorted({*cnn.__all__, *WITH_SKLEARN}):
        thing = getattr(cnn, name)
        if not inspect.ismodule(thing):
            found[id(thing)] = Public(f"cnn.{name}", thing, group_of(thing))
    for group, thing in of_modules():
        found.setdefault(id(thing), Public(f"cnn.{group}.{thing.__name__}", thing, group))
    return tuple(sorted(found.values(), key=lambda public: public.name.lower()))


def of_modules() -> Iterator[tuple[str, Any]]:
    """What users name as `cnn.metrics.f1`, by the tables that the modules themselves walk."""
    yield "layers", cnn.layers.Layer
    yield "losses", cnn.losses.RowLoss
    yield from (("optimizers", cls) for cls in (cnn.optimizers.Optimizer, *cnn.optimizers.BY_NAME.values()))
    yield from (("schedules", cls) for cls in (cnn.schedules.Schedule, *cnn.schedules.BY_NAME.values()))
    yield from (("metrics", function) for function in cnn.metrics.BY_NAME.values())
    yield from (("augment", cls) for cls in (cnn.augment.Augmentation, *cnn.augment.KINDS))
    yield "callbacks", cnn.callbacks.Run
    yield "mlflow", importlib.import_module("cnn.mlflow").autolog
    for name in cnn.callbacks.__all__:
        thing = getattr(cnn.callbacks, name)
        if inspect.isclass(thing) and issubclass(thing, cnn.Callback) and name not in ("EpochLines", "Function"):
            yield "callbacks", thing
    yield from (("explain", getattr(cnn.explain, name)) for name in cnn.explain.__all__)
    yield "uncertainty", cnn.uncertainty.Reliability
    yield "uncertainty", cnn.uncertainty.reliability
    for name, thing in vars(cnn.plots).items():
        if name.startswith("_") or name == "new_figure":
            continue
        if getattr(thing, "__annotations__", {}).get("return") == "Figure":
            yield "plots", thing


def group_of(thing: Any) -> str:
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return "errors"
    if isinstance(thing, type | types.FunctionType):
        module = thing.__module__.split(".")[1]
        return (
            module
            if module in GROUPS
            else "callbacks"
            if issubclass_of(thing, cnn.Callback)
            else PLACES.get(module, "networks")
        )
    return "networks"


def issubclass_of(thing: Any, cls: type) -> bool:
    return inspect.isclass(thing) and issubclass(thing, cls)


def named(group: str | None = None) -> list[Public]:
    return [public for public in everything() if group in (None, public.group)]


def find(name: str, near: Public | None = None) -> Public | None:
    """The public thing of that name, with or without its module."""
    found = [public for public in everything() if name in (public.name, public.name.removeprefix("cnn."))]
    same = [public for public in everything() if public.short == name]
    best = found or [public for public in same if near and public.group == near.group] or same
    return best[0] if best else None


def parameters(doc: Docstring, given: inspect.Signature | None) -> dict[str, str]:
    """What is said of each parameter by the section Args; `a, b` speaks of both, `a .. d` of all between, too."""
    said: dict[str, str] = {}
    order = list(given.parameters) if given else []
    for names, text in doc.sections.get("Args", []):
        for name in re.split(r",\s*", names):
            if between := RANGE.match(name):
                part = order[order.index(between[1]) : order.index(between[2]) + 1]
                said.update({each: text for each in part if each not in said})
            else:
                said[name.strip("`* ")] = text
    return said


def described(doc: Docstring, given: inspect.Signature | None, near: Public | None = None) -> dict[str, str]:
    """`parameters`, with what the docstring leaves to another one ("as of `Conv2D`") taken from there."""
    said = parameters(doc, given)
    wanted = [name for name in (given.parameters if given else ()) if name not in said]
    for base in near.bases if near and near.signature is given else ():
        theirs = parameters(base.doc, base.signature)
        said.update({name: theirs[name] for name in wanted if name in theirs and name not in said})
    if near and near.kind == "function" and (module := sys.modules.get(near.thing.__module__)):
        theirs = parameters(parse(module.__doc__), None)  # what all functions of a module take
        said.update({name: theirs[name] for name in wanted if name in theirs and name not in said})
    prose = " ".join([doc.summary, *doc.text])
    for other in AS_OF.findall(prose):
        there = resolve(other, near)
        if there is not None:
            theirs = parameters(parse(inspect.getdoc(there)), signature(there))
            said.update({name: theirs[name] for name in wanted if name in theirs})
    return said


def untold(public: Public, name: str, member: Any) -> Iterator[str]:
    """The arguments of a method that its docstring, or that of its class, does not name."""
    doc, given = parse(docstring_of(public.thing, name, member)), signature(member)
    said = {**COMMON, **described(doc, given, public)}
    above = [each.doc for each in (public, *public.bases)]
    prose = " ".join(text for each in (doc, *above) for text in (each.summary, *each.text))
    for argument in given.parameters if given else ():
        if argument not in said and not re.search(rf"\b{argument}\b", prose):
            yield argument


def resolve(name: str, near: Public | None) -> Any:
    """A public thing, or a method of one: `Network.fit`, `fit`."""
    if public := find(name, near):
        return public.thing
    owner, _, method = name.rpartition(".")
    above = find(owner) if owner else near
    return getattr(above.thing, method, None) if above else None


def is_property(member: Any) -> bool:
    return isinstance(member, property | functools.cached_property)


def function_of(member: Any) -> Any:
    if isinstance(member, property):
        return member.fget
    if isinstance(member, functools.cached_property):
        return member.func
    return member.__func__ if isinstance(member, classmethod | staticmethod) else member


def docstring_of(owner: type, name: str, member: Any) -> str | None:
    """A method's own docstring, or that of the method which it takes the place of."""
    if function_of(member).__doc__:
        return function_of(member).__doc__
    for cls in owner.__mro__[1:]:
        above = vars(cls).get(name)
        if above is not None and getattr(function_of(above) if not isinstance(above, type) else above, "__doc__", None):
            return function_of(above).__doc__
    return None


def undocumented() -> list[str]:
    """A line for each public name without docstring or example, and for each parameter that is not told of."""
    lines = []
    for public in everything():
        if public.kind == "data":
            continue
        if not public.thing.__doc__ or not public.doc.summary:
            lines.append(f"{public.name}: no docstring")
        if public.kind in ("class", "function"):
            if not public.doc.examples:
                lines.append(f"{public.name}: no example")
            said = described(public.doc, public.signature, public)
            given = public.signature.parameters if public.signature else {}
            lines += [f"{public.name}: argument {name!r} is not told of" for name in given if name not in said]
            lines += [
                f"{public.name}: tells of {name!r}, which is no argument"
                for name in parameters(public.doc, public.signature)
                if name not in given
            ]
        for name, member in public.members():
            text = docstring_of(public.thing, name, member)
            if not text:
                lines.append(f"{public.name}.{name}: no docstring")
            elif not is_property(member):
                missing = untold(public, name, member)
                lines += [f"{public.name}.{name}: argument {argument!r} is not told of" for argument in missing]
    return lines


def main() -> int:
    lines = undocumented()
    print("\n".join(lines) or f"{len(everything())} public names, all documented")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
