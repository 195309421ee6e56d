"""Says at the top of a run which build is tested."""

from __future__ import annotations

import os

import cnn_core


def pytest_report_header() -> str:
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    return f"cnn_core: {os.path.dirname(cnn_core.__file__)}, instruction set {cnn_core.isa}, OMP_NUM_THREADS {threads}"
