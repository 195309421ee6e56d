"""Descriptions (layers, losses, optimizers, ...) as plain JSON values, and back; no class is named by a file alone."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from cnn import activations, augment, initializers, layers, losses, optimizers, schedules
from cnn.files.container import Contents
from cnn.files.strict_json import shown

T = TypeVar("T")
_CLASSES: dict[str, type[Any]] = {
    cls.__name__: cls
    for cls in (
        *layers.KINDS,
        layers.Residual,
        activations.Activation,
        initializers.Initializer,
        *losses.KINDS,
        *optimizers.BY_NAME.values(),
        *schedules.BY_NAME.values(),
        *augment.KINDS,
    )
}


def _fields(cls: type[Any]) -> list[str]:
    return [field.name for field in dataclasses.fields(cls) if field.init]


def _defaults(cls: type[Any]) -> set[str]:
    return {field.name for field in dataclasses.fields(cls) if field.default is not dataclasses.MISSING}


def describe(thing: Any) -> Any:
    """A description (frozen dataclass) as plain JSON values: its class and its fields, blocks with their layers."""
    if isinstance(thing, tuple) and any(map(dataclasses.is_dataclass, thing)):
        return [describe(item) for item in thing]
    if not dataclasses.is_dataclass(thing) or isinstance(thing, type):
        return thing
    name = type(thing).__name__
    if _CLASSES.get(name) is not type(thing):
        raise TypeError(f"a file can hold what cnn itself describes, not a {name}")
    return {"class": name, **{field: describe(getattr(thing, field)) for field in _fields(type(thing))}}


def revive(contents: Contents, value: Any, base: type[T]) -> T:
    """The description that such values stand for, one of `base`; its constructor checks every field."""
    name = value.get("class") if isinstance(value, dict) else None
    cls = _CLASSES.get(name) if isinstance(name, str) else None
    if cls is None:
        raise contents.error(f"it names {shown(name)}, which this version of cnn does not know")
    if not issubclass(cls, base):
        raise contents.error(f"it has a {name} where a {base.__name__} belongs")
    # A field that a later version has added is not in the files of earlier ones: it has its default.
    written = [field for field in _fields(cls) if field in value or field not in _defaults(cls)]
    _, *given = contents.fields(value, "class", *written)
    inner = [_inner(contents, field) for field in given]
    try:
        made: T = cls(**dict(zip(written, inner, strict=True)))
    except (TypeError, ValueError, OverflowError) as error:
        raise contents.error(f"it describes a {name} that can't be: {error}") from None
    return made


def _inner(contents: Contents, field: Any) -> Any:
    """A field's value: a description, several of them, or what stands there."""
    if isinstance(field, list) and any(isinstance(item, dict) for item in field):
        return tuple(revive(contents, item, object) for item in field)
    return revive(contents, field, object) if isinstance(field, dict) else field
