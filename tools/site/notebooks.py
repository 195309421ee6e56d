"""Notebooks of examples/notebooks as pages of the site, with the outputs that they keep: myst-nb draws them.

That these outputs are those of the programs is tested: tests/test_gallery.py runs the notebooks.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pages import ROOT, Links

NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))


def write(staged: Path, links: Links) -> None:
    """Each one as a source of Sphinx's, with its links as they are there."""
    (staged / "notebooks").mkdir()
    for path in NOTEBOOKS:
        place = links.place(path)
        notebook = told(json.loads(path.read_text(encoding="utf-8")))
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = links.rewritten("".join(cell["source"]), path, place)
        (staged / place).write_text(json.dumps(notebook), encoding="utf-8")


def told(notebook: dict[str, Any]) -> dict[str, Any]:
    """With words in the place of each picture: the first sentence of the text above it."""
    said = ""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            said = re.split(r"(?<=[.?!:])\s", "".join(cell["source"]))[0]
        elif any("image/png" in output.get("data", {}) for output in cell["outputs"]):
            cell["metadata"]["mystnb"] = {"image": {"alt": said}}
    return notebook
