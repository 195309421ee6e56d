"""The compiled core of `cnn`: typed Cython kernels, one engine for each instruction set, the best one picked here.

`engine` is the module in use, `isa` its name; `engines()` gives all that this machine runs. The environment variable
CNN_ISA (baseline, v3 or v4) overrides the choice.
"""
from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

try:
    from cnn_core.activations import Activation
except ModuleNotFoundError as error:
    if error.name != "cnn_core.activations":
        raise
    raise ImportError(
        f"{Path(__file__).parent} holds the sources of cnn_core, which are not compiled there, and hides the installed "
        "package: run Python in another folder, or compile them in place with pip install -e ."
    ) from error
from cnn_core.finish import finishing, locked
from cnn_core.links import Link
from cnn_core.losses import Loss
from cnn_core.optimizers import Optimizer
from cnn_core.types import (
    Augmentation,
    LayerKind,
    Outside,
    augment_dtype,
    cpu_level,
    layer_dtype,
    loss_dtype,
    more_than_128_bits,
    optimizer_dtype,
    segment_dtype,
    share_dtype,
    workspace_dtype,
)

__all__ = [
    "Activation",
    "Augmentation",
    "LayerKind",
    "Link",
    "Loss",
    "Optimizer",
    "Outside",
    "augment_dtype",
    "engine",
    "engines",
    "finishing",
    "get_include",
    "isa",
    "layer_dtype",
    "locked",
    "loss_dtype",
    "more_than_128_bits",
    "optimizer_dtype",
    "segment_dtype",
    "share_dtype",
    "workspace_dtype",
]

_MODULES = {"baseline": "_engine", "v3": "_engine_v3", "v4": "_engine_v4"}


def _load(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(f"cnn_core.{_MODULES[name]}")
    except ModuleNotFoundError:  # not built for this kind of machine
        return None


def _supported() -> list[str]:
    """The instruction sets of this CPU, best last."""
    return list(_MODULES)[: 1 + max(0, cpu_level() - 2)]


def get_include() -> str:
    """The folder of the C headers, for packages that `cimport cnn_core`."""
    return str(Path(__file__).parent)


def engines() -> dict[str, ModuleType]:
    """Every engine that this machine runs, by name."""
    return {name: module for name in _supported() if (module := _load(name)) is not None}


def _pick() -> tuple[str, ModuleType]:
    wanted = os.environ.get("CNN_ISA", "")
    if wanted and wanted not in _MODULES:
        raise ImportError(f"CNN_ISA is {wanted!r}; it takes {', '.join(_MODULES)}")
    for name in [wanted] if wanted else reversed(_supported()):
        module = _load(name) if name in _supported() else None
        if module is not None:
            return name, module
    raise ImportError(f"CNN_ISA is {wanted!r}, which this machine or this build lacks; it has {', '.join(engines())}")


if TYPE_CHECKING:
    from cnn_core import _engine as engine  # the builds have the same functions

    isa: str
else:
    isa, engine = _pick()
