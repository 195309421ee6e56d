"""What is installed: its metadata, its files, and what importing it costs the importer."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import cnn
import cnn_core

MAY_REQUIRE = {"numpy", "scipy", "threadpoolctl", "tqdm"}


@pytest.fixture(scope="module")
def distribution() -> metadata.Distribution:
    try:
        return metadata.distribution("cnn-core")
    except metadata.PackageNotFoundError:
        pytest.skip("runs from a checkout, not installed")


def test_needs_four_packages_at_most(distribution: metadata.Distribution) -> None:
    required = {re.split(r"[^\w-]", line)[0] for line in distribution.requires or [] if "extra ==" not in line}
    assert required <= MAY_REQUIRE


def test_metadata(distribution: metadata.Distribution) -> None:
    assert distribution.version == cnn.__version__
    assert distribution.metadata["License-Expression"] == "BSD-3-Clause"
    assert distribution.metadata["Requires-Python"] == ">=3.11"
    assert {"plot", "pandas", "test", "lint"} <= set(distribution.metadata.get_all("Provides-Extra") or [])


def test_pxd_files_are_installed() -> None:
    folder = Path(cnn_core.__file__).parent
    expected = {"types", "vecmath", "blas", "activations", "losses", "optimizers", "random", "dense", "step"}
    expected |= {"__init__", "model", "predict"}
    assert {path.stem for path in folder.glob("*.pxd")} >= expected


def test_types_are_declared() -> None:
    assert (Path(cnn.__file__).parent / "py.typed").exists()


def test_public_names_exist() -> None:
    assert [name for name in cnn.__all__ if not hasattr(cnn, name)] == []
    assert len(set(cnn.__all__)) == len(cnn.__all__)


def test_import_loads_no_optional_and_no_slow_module(tmp_path: Path) -> None:
    program = "import sys, cnn; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    loaded = set(done.stdout.split())
    assert not loaded & {"matplotlib", "pandas", "sklearn", "torch", "jax", "scipy.linalg", "tqdm", "safetensors"}


def test_import_prints_and_warns_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", "import cnn"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
