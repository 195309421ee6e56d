"""What is printed about a network and about this installation."""

from __future__ import annotations

import dataclasses
import platform
import reprlib
from html import escape
from typing import Any

import cnn_core
from cnn._common import console, html_tables, threads
from cnn._version import __version__
from cnn.runtime import products
from cnn.runtime.state import NetworkState

_KNOWN = ("units", "rate", "activation", "filters", "kernel_size", "pool_size")


def table(rows: list[tuple[str, ...]], right: int) -> str:
    """Columns of equal width, the last `right` of them aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = len(widths) - right
    lines = (
        "  ".join(c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def short(description: Any) -> str:
    """A description without the fields that have their defaults; those that everybody knows stand without a name."""
    shown: list[str] = []
    named = False
    for f in dataclasses.fields(description):
        value = getattr(description, f.name)
        if f.name in _KNOWN and not named:
            shown.append(repr(value))
        elif value != f.default or f.name == "activation":
            shown.append(f"{f.name}={_short(value)}")
            named = True
    return f"{type(description).__name__}({', '.join(shown)})"


def _short(value: Any) -> str:
    """A value; of a tuple its beginning."""
    few = reprlib.Repr()
    few.maxtuple = 2
    return few.repr(value) if isinstance(value, tuple) else repr(value)


def summary(net: NetworkState) -> str:
    """The table of `Network.summary`."""
    rows, last = _layers(net)
    return f"{table(rows, right=2)}\n{last}"


def html(net: NetworkState) -> str:
    """The table of `Network.summary` for notebooks; of a network that is not built, what it was made of."""
    if net.known_inputs is None:
        return f"<code>{escape(repr(net))}</code>"
    rows, last = _layers(net)
    return html_tables.table(rows, last)


def _layers(net: NetworkState) -> tuple[list[tuple[str, ...]], str]:
    """The rows of the table, and what stands below it."""
    images = len(net.plan.shapes[0]) > 1
    rows: list[tuple[str, ...]] = [("layer", "description", "output" if images else "units", "parameters")]
    if images:
        rows.append(("", "inputs", _by(net.plan.shapes[0]), ""))
    for layer, shape in zip(net.layers, net.plan.shapes[1:], strict=True):
        size = sum(p.size for name, p in net.parameters.items() if name.startswith(f"{layer.name}."))
        rows.append((layer.name, short(layer.description), _by(shape), f"{size:,}"))
    size = sum(p.size for p in net.parameters.values())
    return rows, (
        f"{size:,} parameters, {net.dtype.name}, {size * net.dtype.itemsize:,} bytes; "
        f"loss {net.loss.name}, optimizer {type(net.optimizer).__name__}"
    )


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{n:,}" for n in shape)


def _threads() -> str:
    """How many a fit takes, and how many of them the system gives now."""
    wanted = threads.available()
    given = cnn_core.engine.threads_granted(wanted)
    return str(wanted) if given == wanted else f"{given}: the system gives no more of the {wanted} that there are cores"


def config() -> dict[str, Any]:
    """What runs here: versions, instruction set, OpenMP, threads, BLAS, who computes products."""
    import numpy as np
    import scipy
    from threadpoolctl import threadpool_info

    blas = {
        f"{p['internal_api']} {p['version']}, {p['num_threads']} threads"
        for p in threadpool_info() if p["user_api"] == "blas"
    }  # fmt: skip
    return {
        "cnn": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
        "instruction set": cnn_core.isa,
        "instruction sets here": ", ".join(cnn_core.engines()),
        "OpenMP": "yes" if cnn_core.engine.openmp else "no: training runs on one thread",
        "threads": _threads(),
        "BLAS": "; ".join(sorted(blas)),
        "products": products.chosen(),
    }


def show_config() -> None:
    """Prints versions, the instruction set in use, OpenMP, threads, the BLAS and what `set_products` has chosen.

    >>> show_config()  # doctest: +ELLIPSIS
    cnn ...
    """
    console.say("\n".join(f"{name:<22} {value}" for name, value in config().items()))
