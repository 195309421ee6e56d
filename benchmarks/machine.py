"""What a result depends on besides the code: the machine and the versions, for every line of a benchmark's output."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

import cnn_core


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def load() -> float | None:
    """Runnable threads of the last minute. On a busy machine teams of threads that spin hold each other up a
    thousandfold, whoever's they are."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


def description() -> dict[str, str | int | float | None]:
    packages = ("cnn-core", "numpy", "scipy", "scikit-learn", "torch", "jax", "onnxruntime")
    return {
        "cpu": cpu_model(),
        "cores": cores(),
        "load": load(),
        "isa": cnn_core.isa,
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }
