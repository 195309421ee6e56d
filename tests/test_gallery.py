"""The gallery's programs run, each in a fresh process: they assert what their texts claim, and print what they find."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

import cnn

ROOT = Path(__file__).resolve().parents[1]
GALLERY, TOOL = ROOT / "examples" / "gallery", ROOT / "tools" / "make_notebooks.py"
PROGRAMS, NOTEBOOKS = sorted(GALLERY.glob("*.py")), sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))


def run(name: str, folder: Path) -> str:
    """The output of a program of the gallery, run in that folder; warnings are errors."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn")
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-W", "error", str(GALLERY / f"{name}.py")]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def numbers(pattern: str, output: str) -> list[float]:
    """The number that each match has as its group, without commas between thousands."""
    return [float(found.replace(",", "")) for found in re.findall(pattern, output, re.M)]


def test_gradient_descent(tmp_path: Path) -> None:
    """A step by hand is the network's, and the curvature says from which rate on the walk flies apart."""
    output = run("gradient_descent", tmp_path)
    assert re.search(r"by hand: (.*)", output)[1] == re.search(r"of cnn: +(.*)", output)[1]
    begin, end = numbers(r"beyond it +([\d.]+)", output) + numbers(r"beyond it.* ([\d.]+)$", output)
    assert end > begin
    assert numbers(r"([\d.]+)% of the points", output)[0] > 97


def test_house_prices(tmp_path: Path) -> None:
    """A fifth of the rows is off by so many dollars; nine tenths are within their intervals."""
    output = run("house_prices", tmp_path)
    median, line, trees, model = numbers(r"is off by \$([\d,]+)", output)
    assert model < 32_000 < 45_000 < line < median
    assert model < trees
    assert numbers(r"hold ([\d.]+)%", output)[0] == pytest.approx(90, abs=2)
    cheap, dear = numbers(r"within ± \$([\d,]+)", output)
    assert cheap < dear / 2
    assert cnn.load(tmp_path / "house_prices.cnn").target == "median_house_value"


def test_digits(tmp_path: Path) -> None:
    linear, dense, lenet = numbers(r"accuracy ([\d.]+)%", run("digits", tmp_path))
    assert linear < 93 < 95 <= dense < 98 < lenet
    assert cnn.load(tmp_path / "digits.cnn").input_shape == (28, 28, 1)
    assert (tmp_path / "digits.c").exists()


def test_noisy_sensor(tmp_path: Path) -> None:
    """The band holds 90 % near and far; the same ± for all is too wide near and too narrow far."""
    output = run("noisy_sensor", tmp_path)
    assert numbers(r"^the band .* holds ([\d.]+)%", output) == pytest.approx([90, 90, 90], abs=3)
    _, near, far = numbers(r"^the same .* holds ([\d.]+)%", output)
    assert near > 97
    assert far < 80


def test_surrogate(tmp_path: Path) -> None:
    output = run("surrogate", tmp_path)
    wanted, hits = numbers(r"^for (\d+) m", output), numbers(r"says ([\d.]+) m$", output)
    assert hits == pytest.approx(wanted, abs=1)
    assert len(hits) == 3


def test_fraud(tmp_path: Path) -> None:
    """The network costs least of all that can't see the future; weighed classes make it dear."""
    output = run("fraud", tmp_path)
    costs = dict(re.findall(r"^(.*?) +costs \$ *([\d,]+)", output, re.M))
    dollars = {name: float(found.replace(",", "")) for name, found in costs.items()}
    assert sorted(dollars, key=dollars.__getitem__)[:3] == ["second sight", "the network", "logistic regression"]
    assert dollars["the network"] < 0.4 * dollars["check nothing"] < dollars["classes weighed"]


def test_thousand_models(tmp_path: Path) -> None:
    own, one = numbers(r"([\d.]+) of the 10 broken", run("thousand_models", tmp_path))
    assert own >= 7
    assert one <= 4


@pytest.mark.skipif(shutil.which("cc") is None or shutil.which("size") is None, reason="no C compiler")
def test_microcontroller(tmp_path: Path) -> None:
    """The chosen network fits, and says the same in C."""
    output = run("microcontroller", tmp_path)
    chosen = re.search(r"^chosen: (.*)$", output, re.M)[1]
    flash, memory = (numbers(rf"^{chosen} .*?([\d,]+) B {kind}", output)[0] for kind in ("flash", "memory"))
    assert flash <= 4096
    assert memory <= 3072
    assert numbers(r"differ in (\d+)", output) == [0]
    network, usual = numbers(r"^([\d.]+)% of 2,000", output) + numbers(r"kurtosis: ([\d.]+)%", output)
    assert network > 94 > usual + 5


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_programs_are_short_and_tested(path: Path) -> None:
    assert f"test_{path.stem}" in globals()
    assert 60 <= len(path.read_text(encoding="utf-8").splitlines()) <= 140


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_the_programs(path: Path) -> None:
    """Cell by cell, and with pictures; a change of a program wants `python tools/make_notebooks.py`."""
    nbformat = pytest.importorskip("nbformat")
    made = runpy.run_path(str(TOOL))["notebook"](GALLERY / f"{path.stem}.py")
    kept = nbformat.read(path, as_version=4)
    nbformat.validate(kept)
    sources = [[(cell.cell_type, cell.source) for cell in notebook.cells] for notebook in (kept, made)]
    assert sources[0] == sources[1]
    assert pictures(kept)
    assert path.stat().st_size < 150_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path: Path) -> None:
    """In a kernel, and every picture that is kept is made again."""
    for module in ("nbclient", "ipykernel", "matplotlib", "sklearn", "PIL"):
        pytest.importorskip(module)
    tool = runpy.run_path(str(TOOL))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the kernel's own modules
        done = tool["run"](tool["notebook"](GALLERY / f"{path.stem}.py"))
    errors = [output for cell in done.cells for output in cell.get("outputs", []) if output.output_type == "error"]
    assert errors == []
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert len(pictures(done)) == len(pictures(kept)) > 0


def pictures(notebook: Any) -> list[str]:
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
