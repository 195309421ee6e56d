"""Names: looked up whatever their case, and the nearest known one suggested for those that are not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def normalise(name: str) -> str:
    """`LeakyReLU`, `leaky-relu` and `leaky relu` are all `leaky_relu`'s to find: lower case, underscores."""
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def unknown(what: str, name: object, known: Iterable[str]) -> ValueError:
    """The error for a name that is none of the known ones."""
    names = sorted(set(known))
    near = difflib.get_close_matches(str(name).lower(), names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ValueError(f"unknown {what} {name!r}.{hint} Known: {', '.join(names)}.")
