"""Runs a program cell by cell: python tools/site/cells.py PROGRAM, in the folder that is to have its pictures.

A cell begins with a line `# %%`. Writes to stdout, as JSON, what each cell printed and the pictures that it saved.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path

MARK = "# %%"


def split(source: str) -> list[tuple[int, str]]:
    """The cells of a program, each with the number of lines before it."""
    cells, first, lines = [], 0, source.split("\n")
    for i, line in enumerate([*lines, MARK]):
        if line.startswith(MARK):
            cells.append((first, "\n".join(lines[first:i])))
            first = i
    return cells


def main() -> None:
    program = Path(sys.argv[1]).resolve()
    sys.argv = [str(program)]
    sys.path[0] = str(program.parent)
    names = {"__name__": "__main__", "__file__": str(program)}
    found: list[tuple[str, list[str]]] = []
    seen: dict[str, int] = {}
    for before, cell in split(program.read_text(encoding="utf-8")):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * before + cell, str(program), "exec"), names)
        here = {path.name: path.stat().st_mtime_ns for path in Path().glob("*.png")}
        new = sorted((name for name, when in here.items() if seen.get(name) != when), key=lambda name: here[name])
        found.append((printed.getvalue(), new))
        seen = here
    print(json.dumps(found))


if __name__ == "__main__":
    main()
