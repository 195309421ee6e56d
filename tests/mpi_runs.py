"""Runs cases of mpi_cases.py on several ranks, and compares what these have left."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import mpi_cases
import numpy as np
import pytest

Found = list[dict[str, Any]]


def mpiexec() -> str:
    """That of this environment, or of the machine."""
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    found = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip("there is no mpiexec")
    return found


def run(case: str, ranks: int, folder: Path, *, good: bool = True) -> Found:
    """What each rank has left."""
    program = [mpiexec(), "-n", str(ranks), sys.executable, mpi_cases.__file__, case, str(folder)]
    # A session of its own: whatever happens, nobody is left behind.
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               start_new_session=True)  # fmt: skip
    try:
        out, _ = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert (process.returncode == 0) == good, out
    (folder / f"{case}.txt").write_text(out)
    return [pickle.loads(file.read_bytes()) for file in sorted(folder.glob(f"{case}-?.pickle"))]


def check_alike(one: dict[str, Any], other: dict[str, Any]) -> None:
    for name in ("weights", "state"):
        np.testing.assert_array_equal(one[name], other[name])
    assert one["step"] == other["step"]
    assert one["history"] == other["history"]
