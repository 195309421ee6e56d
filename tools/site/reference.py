"""The pages of the reference in Markdown: one for each public name, one for each module with a table of its names."""

from __future__ import annotations

import importlib
import inspect
import re
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import documented
from documented import GROUPS, Public

# Short names of signatures: of lists of names, and of what is said in words.
TYPES = {
    "cnn.activations": ("ActivationName",), "cnn.losses": ("LossName",),
    "cnn._common.types": ("OptimizerName", "ScheduleName", "InitializerName", "MetricName", "Mode"),
}  # fmt: skip
SAID = {
    "Array": "A NumPy array.",
    "Shape": "A tuple of integers: (inputs,), (length, channels) or (height, width, channels).",
    "RealType": '`"float32"`, `"float64"`, or the type itself.',
    "Metric": "A function f(y, prediction, weights) that gives a number.",
    "Hook": "A `cnn.Callback`, or a function f(network, epoch, logs).",
    "Size": "An integer, or two: along y and along x.",
    "Padding": '`"valid"` or `"same"`.',
    "Rates": "A NumPy array of float64, (n,).",
    "Figure": "A figure of matplotlib.",
}
TICKED = re.compile(r"(?<![\[`\w])`(?:cnn\.)?([A-Za-z_][\w.]*)(\(\))?`(?![`\]])")
PAGE = re.compile(r"\(?\bdocs/([\w-]+)\.md\)?")


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for group, title in GROUPS.items():
        names = documented.named(group)
        if not names:
            continue
        (folder / f"{group}.md").write_text(group_page(group, title, names), encoding="utf-8")
        for public in names:
            (folder / f"{page_of(public)}.md").write_text(page(public), encoding="utf-8")
    groups = [group for group in GROUPS if documented.named(group)]
    types(folder)
    listed = "\n".join([*groups, "types"])
    names = {group: ", ".join(f"{{py:obj}}`~{public.name}`" for public in documented.named(group)) for group in groups}
    rows = "\n".join(f"| [{GROUPS[group]}]({group}.md) | {names[group]} |" for group in groups)
    rows += "\n| [Types](types.md) | what names in signatures stand for |"
    index = (folder / "index.md").read_text(encoding="utf-8").replace("<!-- groups -->", rows)
    (folder / "index.md").write_text(f"{index}\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n", encoding="utf-8")


def types(folder: Path) -> None:
    """What short names in signatures stand for."""
    parts = ["# Types\nWhat the names in signatures stand for; names of activations and the like in any case.\n"]
    for module, names in TYPES.items():
        for name in names:
            values = ", ".join(
                f'`"{value}"`' for value in typing.get_args(getattr(importlib.import_module(module), name))
            )
            parts.append(directive("data", name, "", f"One of {values}.", 8))
    parts += [directive("data", name, "", text, 8) for name, text in SAID.items()]
    (folder / "types.md").write_text("\n".join(parts), encoding="utf-8")


def page_of(public: Public) -> str:
    return public.name.removeprefix("cnn.")


def group_page(group: str, title: str, names: list[Public]) -> str:
    intro = ""
    module = getattr(documented.cnn, group, None)
    if inspect.ismodule(module) and module.__doc__:
        doc = documented.parse(module.__doc__)
        intro = "\n\n".join(markdown(text) for text in [doc.summary, *doc.text])
    rows = [
        f"| {{py:obj}}`{public.name} <{public.name}>` | {in_cell(markdown(public.doc.summary))} |" for public in names
    ]
    pages = "\n".join(page_of(public) for public in names)
    return (
        f"# {title}\n{intro}\n\n| name | what it is |\n| --- | --- |\n" + "\n".join(rows)
        + f"\n\n```{{toctree}}\n:hidden:\n\n{pages}\n```\n"
    )  # fmt: skip


def in_cell(text: str) -> str:
    return text.replace("|", "\\|")


def page(public: Public) -> str:
    parts = [f"# {public.name}\n"]
    module, _, name = public.name.rpartition(".")
    parts.append(f"```{{eval-rst}}\n.. py:currentmodule:: {module}\n```\n")
    body = described(public.doc, public.signature, public)
    if public.bases:
        listed = ", ".join(f"{{py:obj}}`{base.name}`" for base in public.bases)
        body.insert(1, f"A {listed}, with what that has.")
    members = [member_text(public, *member) for member in public.members()]
    parts += also_as(public)
    inner = "\n\n".join([*body, *members])
    parts.append(directive(public.kind, signature_text(name, public.signature), module, inner, 8))
    return "\n".join(parts)


def also_as(public: Public) -> list[str]:
    """Anchors `cnn.Run` beside `cnn.callbacks.Run`: the pages of sources name all things of a file by one module."""
    if public.name == f"cnn.{public.short}":
        return []
    names = [public.short, *(f"{public.short}.{name}" for name, _ in public.members())]
    return ["".join(f'<span id="cnn.{name}"></span>' for name in names) + "\n"]


def directive(kind: str, head: str, module: str, inner: str, colons: int, *options: str) -> str:
    fence = ":" * colons
    given = "\n".join([*([f":module: {module}"] if module else []), *options])
    return f"{fence}{{py:{kind}}} {head}\n{given}\n\n{inner}\n{fence}\n"


def member_text(public: Public, name: str, member: Any) -> str:
    """A method or property, as a directive within that of its class."""
    text = documented.docstring_of(public.thing, name, member)
    doc = documented.parse(text)
    if documented.is_property(member):
        kind, head, options = "property", name, []
        annotation = documented.function_of(member).__annotations__.get("return")
        if annotation:
            options.append(f":type: {annotation}")
        body = described(doc, None, public)
    else:
        kind, given = "method", documented.signature(member)
        head = signature_text(name, given)
        options = [":classmethod:"] if isinstance(member, classmethod) else []
        options += [":staticmethod:"] if isinstance(member, staticmethod) else []
        body = described(doc, given, public, documented.COMMON)
    return directive(kind, head, "", "\n\n".join(body), 6, *options)


def described(
    doc: documented.Docstring, given: inspect.Signature | None, near: Public, common: Mapping[str, str] | None = None
) -> list[str]:
    """The docstring as Markdown: line, text, fields for parameters, what is returned and raised, the session."""
    parts = [markdown(doc.summary), *map(markdown, doc.text)]
    said = {**(common or {}), **documented.described(doc, given, near)}
    fields: list[str] = []
    for name, parameter in (given.parameters if given else {}).items():
        if name in said:
            fields.append(f":param {name}: {markdown(said[name])}{default(parameter)}")
            if parameter.annotation is not parameter.empty:
                fields.append(f":type {name}: {parameter.annotation}")
    for section, field in (("Returns", "returns"), ("Yields", "returns")):
        fields += [f":{field}: {markdown(' '.join(part for pair in doc.sections[section] for part in pair if part))}"
                   for _ in [0] if section in doc.sections]  # fmt: skip
    for names, text in doc.sections.get("Raises", []):
        for name in re.split(r",\s*", names):
            fields.append(f":raises {name}: {markdown(text)}")
    if fields:
        parts.append("\n".join(fields))
    for attribute, text in doc.sections.get("Attributes", []):
        parts.append(f"`{attribute}`: {markdown(text)}")
    parts += [f"```pycon\n{example}\n```" for example in doc.examples]
    return parts


def default(parameter: inspect.Parameter) -> str:
    if parameter.default is parameter.empty or parameter.default is None:
        return ""
    return f" Default: `{plain(parameter.default)}`."


def plain(value: Any) -> str:
    """A default as it is written, not as an object of this process."""
    if inspect.isfunction(value) or inspect.isclass(value):
        return str(value.__name__)
    text = repr(value)
    return "..." if text.startswith("<") else text


def signature_text(name: str, given: inspect.Signature | None) -> str:
    """`Dense(units: int, activation='identity')`: types stand with the parameters, where there is room."""
    if given is None:
        return name
    bare = [
        parameter.replace(annotation=parameter.empty, default=Shown.of(parameter))
        for parameter in given.parameters.values()
    ]
    returns = f" -> {given.return_annotation}" if isinstance(given.return_annotation, str) else ""
    return f"{name}{inspect.Signature(bare)}{returns if returns != ' -> None' else ''}"


class Shown:
    """A default that `inspect.Signature` writes as `plain` does."""

    def __init__(self, value: Any) -> None:
        self.value = value

    @staticmethod
    def of(parameter: inspect.Parameter) -> Any:
        return parameter.empty if parameter.default is parameter.empty else Shown(parameter.default)

    def __repr__(self) -> str:
        return plain(self.value)


def markdown(text: str) -> str:
    """Names in backticks become links to their place in the reference, docs/files.md one to that page."""

    def linked(match: re.Match[str]) -> str:
        public = documented.find(match[1])
        return f"{{py:obj}}`~{public.name}`" if public else match[0]

    text = PAGE.sub(lambda match: f"{{doc}}`/{match[1]}`", text)
    return "".join(part if i % 2 else escaped(TICKED.sub(linked, part)) for i, part in enumerate(fenced(text)))


def fenced(text: str) -> Iterable[str]:
    """Text and fenced code, in turns."""
    return re.split(r"(^```.*?^```$)", text, flags=re.M | re.S)


def escaped(text: str) -> str:
    """What Markdown would take for emphasis, HTML or a link, outside of code, is text in a docstring."""
    parts = re.split(r"(`+[^`]*`+)", text)
    return "".join(part if i % 2 else re.sub(r"([*<\[\]|])", r"\\\1", part) for i, part in enumerate(parts))
