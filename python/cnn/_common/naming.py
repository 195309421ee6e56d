"""Names: looked up whatever their case, and the nearest known one suggested for those that are not known."""

from __future__ import annotations

from collections.abc import Iterable

from cnn._common.elsewhere import nearest
from cnn._common.elsewhere import normalise as normalise


def unknown(what: str, name: object, known: Iterable[str]) -> ValueError:
    """The error for a name that is none of the known ones."""
    names = sorted(set(known))
    near = nearest(str(name), names)
    hint = f" Did you mean {near!r}?" if near else ""
    return ValueError(f"unknown {what} {name!r}.{hint} Known: {', '.join(names)}.")
