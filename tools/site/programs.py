"""Programs of examples/ that run while the site is built: a page of each, with its text, pictures, output and code.

The docstring's first line is the title, the rest of it the text; a comment that begins a cell (`# %%`) is text, too.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cells
from pages import ROOT, Links

FIGURES = ("activations", "explained", "images", "overfitting")  # of docs/figures, into docs/images
LONGEST = "overfitting"  # begins first
Shown = list[tuple[str, list[str]]]  # of each cell: what it printed, the pictures that it saved


class Program(NamedTuple):
    """A program with its title, the first paragraph below it, all of its text, and its cells without the docstring."""

    path: Path
    title: str
    text: str
    cells: list[str]

    @property
    def place(self) -> str:
        return f"{'gallery' if self.path.parent.name == 'gallery' else 'programs'}/{self.path.stem}"

    @property
    def notebook(self) -> Path | None:
        """The same as a notebook, where there is one."""
        path = ROOT / "examples" / "notebooks" / f"{self.path.stem}.ipynb"
        return path if path.exists() else None


def read(path: Path) -> Program:
    source = path.read_text(encoding="utf-8")
    first = ast.parse(source).body[0]
    doc = ast.get_docstring(ast.parse(source))
    if not doc or first.end_lineno is None:
        raise SystemExit(f"{path} has no docstring, which is the text of its page")
    title, _, text = doc.partition("\n")
    title = title.strip().rstrip(".").replace("`", "")
    text = re.sub(r"^=+\n", "", text).strip()
    parts = [cell for _, cell in cells.split(source)]
    parts[0] = "\n".join(source.split("\n")[first.end_lineno : parts[0].count("\n") + 1])
    return Program(path, title[:1].upper() + title[1:], text, parts)


def text_and_code(cell: str) -> tuple[str, str]:
    """The comment that begins a cell, as text, and the code below it."""
    lines = cell.split("\n")
    if not lines[0].startswith(cells.MARK):
        return "", cell.strip("\n")
    n = next((i for i, line in enumerate(lines[1:], 1) if not line.startswith("#")), len(lines))
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines[1:n]), "\n".join(lines[n:]).strip("\n")


def page(program: Program, links: Links, shown: Shown) -> str:
    place = f"{program.place}.md"
    parts = [f"# {program.title}", links.rewritten(program.text, program.path, place)]
    for i, cell in enumerate(program.cells):
        text, code = text_and_code(cell)
        printed, pictures = shown[i] if i < len(shown) else ("", [])
        parts.append(links.rewritten(text, program.path, place))
        parts.append(f"````python\n{code}\n````" if code else "")
        parts.append(f"````text\n{printed.rstrip()}\n````" if printed.strip() else "")
        parts += [f"![{Path(name).stem.replace('_', ' ')}]({program.path.stem}/{name})" for name in pictures]
    also = ""
    if name := program.notebook and program.notebook.name:
        taken = f"{{download}}`{name} <{program.path.stem}/{name}>`"
        also = f" [As a notebook](../notebooks/{name}), to run yourself: {taken}."
    parts.append(f"The program is `{program.path.relative_to(ROOT).as_posix()}`.{also}")
    return "\n\n".join(part for part in parts if part) + "\n"


def run(job: tuple[list[str], Path]) -> tuple[str, float]:
    """What a command prints and the seconds it takes, run in that folder without a screen, or a warning."""
    command, folder = job
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "MPLBACKEND": "Agg",
        "PYTHONIOENCODING": "utf-8",
        "COLUMNS": "100",
        "OMP_WAIT_POLICY": "passive",
    }
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-W", "error", *command], cwd=folder, env=environment, capture_output=True,
                          encoding="utf-8", check=False)  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout, time.perf_counter() - begun


def write(staged: Path, links: Links, quick: bool) -> dict[str, float]:
    """All pages, and the pictures of docs/figures anew; the seconds of each program."""
    gallery, examples = (
        [read(path) for path in sorted(ROOT.glob(pattern))] for pattern in ("examples/gallery/*.py", "examples/*.py")
    )
    jobs: dict[str, tuple[list[str], Path]] = {}
    if not quick:
        jobs.update(
            {
                name: ([str(ROOT / "docs" / "figures" / f"{name}.py"), "--out", "."], staged / "images")
                for name in FIGURES
            }
        )
        jobs.update({one.place: ([cells.__file__, str(one.path)], staged / one.place) for one in gallery})
    order = sorted(jobs, key=lambda name: name != LONGEST)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        done = dict(zip(order, pool.map(run, [jobs[name] for name in order]), strict=True))
    for one in [*gallery, *examples]:
        target = staged / f"{one.place}.md"
        target.parent.mkdir(parents=True, exist_ok=True)
        shown = json.loads(done[one.place][0].splitlines()[-1]) if one.place in done else []
        target.write_text(page(one, links, shown), encoding="utf-8")
        if one.notebook:
            (staged / one.place).mkdir(exist_ok=True)
            (staged / one.place / one.notebook.name).write_bytes(one.notebook.read_bytes())
    index(staged / "gallery" / "index.md", gallery, examples)
    return {name: seconds for name, (_, seconds) in done.items()}


def index(path: Path, gallery: list[Program], examples: list[Program]) -> None:
    """Cards of the gallery with a picture each, and the lists of notebooks and of the other programs."""
    cards = []
    for one in gallery:
        pictures = sorted((path.parent / one.path.stem).glob("*.png"), key=lambda each: each.stat().st_mtime_ns)
        picture = f"![{one.title}]({one.path.stem}/{pictures[-1].name})\n\n" if pictures else ""
        cards.append(f":::{{container}} card\n{picture}**[{one.title}]({one.path.stem}.md)**\n:::")
    listed = "\n".join(f"- [{one.title}](../{one.place}.md)" for one in examples)
    noted = [(one.title, one.notebook.name) for one in gallery if one.notebook]
    names = [f"/{one.place}" for one in [*gallery, *examples]]
    names += [f"{title}, a notebook </notebooks/{Path(name).stem}>" for title, name in noted]
    text = path.read_text(encoding="utf-8")
    text = text.replace("<!-- cards -->", "\n".join(["::::{container} cards", *cards, "::::"]) if cards else "")
    text = text.replace("<!-- programs -->", listed)
    text = text.replace("<!-- notebooks -->", "\n".join(f"- [{title}](../notebooks/{name})" for title, name in noted))
    listed = "\n".join([*names, "/programs/data"])
    path.write_text(f"{text}\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n", encoding="utf-8")
