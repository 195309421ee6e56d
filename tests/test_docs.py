"""What the README and the docs show runs as it stands, and so do the examples; links and pictures are there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cnn

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```python\n(.*?)^```", re.M | re.S)
LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]*)?\)")
WITHOUT_PYTHON = {
    "design.md", "do.md", "docs/gallery/index.md", "docs/reference/index.md", "learn.md", "performance.md",
    "performance-diary.md", "stability.md", "understand.md", "wheels.md",
}  # fmt: skip
ELSEWHERE = {"c-api.md"}  # test_c_api.py compiles and runs it


def identity(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in ELSEWHERE], ids=identity)
def test_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after another, in one namespace, in an empty folder."""
    text = page.read_text(encoding="utf-8")
    blocks = [(text.count("\n", 0, match.start(1)), match[1]) for match in FENCE.finditer(text)]
    assert bool(blocks) == ({page.name, page.relative_to(ROOT).as_posix()}.isdisjoint(WITHOUT_PYTHON))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    names: dict[str, Any] = {"__name__": "__main__"}
    for line, block in blocks:  # the newlines keep the page's line numbers in a traceback
        exec(compile("\n" * line + block, str(page), "exec"), names)


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {"#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "examples" / "data" / "README.md"], ids=identity)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if target.startswith("http"):
            continue
        path = (page.parent / target).resolve() if target else page
        # A test run away from the source has no cnn_core and no python folder.
        assert path.exists() or not (ROOT / path.relative_to(ROOT).parts[0]).exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(path), f"{page.name} links to {target}{anchor}"


def test_every_activation_loss_and_callback_is_told_of() -> None:
    activations = (ROOT / "docs" / "activations.md").read_text(encoding="utf-8")
    assert [name for name in cnn.activations.NAMES if f"\n| `{name}` |" not in activations] == []
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    assert [name for name in cnn.losses.NAMES if f"\n| `{name}`" not in guide] == []
    assert [cls.__name__ for cls in cnn.optimizers.BY_NAME.values() if f"`{cls.__name__}`" not in guide] == []
    assert [cls.__name__ for cls in cnn.schedules.BY_NAME.values() if f"`{cls.__name__}`" not in guide] == []
    assert [name for name in cnn.metrics.BY_NAME if f"`{name}`" not in guide] == []


def test_pictures_are_small() -> None:
    pictures = list((ROOT / "docs" / "images").glob("*.png"))
    assert pictures
    assert [path.name for path in pictures if path.stat().st_size > 100_000] == []


def run(program: str, folder: Path, *arguments: str) -> str:
    """The output of a program of the repository, run in that folder."""
    command = [sys.executable, "-W", "error", str(ROOT / program), *arguments]
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_first_network_agrees_with_numpy(tmp_path: Path) -> None:
    found = re.search(r"largest difference in 1,000 epochs: (\S+)", run("examples/first_network.py", tmp_path))
    assert found is not None
    assert float(found[1]) < 1e-6


def test_california_housing(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    output = run("examples/california_housing.py", tmp_path, "--epochs", "8")
    scores = {name: (float(rmse), float(r2)) for name, rmse, r2 in
              re.findall(r"^(train|validation|test) +[\d,]+ +([\d.]+) +([\d.]+)$", output, re.M)}  # fmt: skip
    assert set(scores) == {"train", "validation", "test"}
    assert all(rmse < 0.6 for rmse, _ in scores.values())
    assert all(0.7 < r2 < 1 for _, r2 in scores.values())
    out = tmp_path / "out"
    assert cnn.load(out / "california_housing.cnn").n_inputs == 13
    assert (out / "california_housing.json").exists()
    assert (out / "california_housing.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("program", ["activations.py", "explained.py", "images.py", "overfitting.py"])
def test_figures_can_be_drawn_again(program: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    quick = [] if program == "activations.py" else ["--epochs", "2"]
    run(f"docs/figures/{program}", tmp_path, "--out", str(tmp_path), *quick)
    drawn = {path.name for path in tmp_path.glob("*.png")}
    assert drawn
    assert drawn <= {path.name for path in (ROOT / "docs" / "images").glob("*.png")}
