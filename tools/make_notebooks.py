"""Makes notebooks of the gallery's programs, run, with their pictures: python tools/make_notebooks.py [NAME ...]

A program begins with a docstring whose first line is the title; `# %%` begins a section, and the comment right after
it is the section's text. A section that ends by saving a picture shows it in the notebook. Without names the four of
examples/notebooks are made anew. What programs write goes to a temporary folder.
"""

from __future__ import annotations

import argparse
import ast
import base64
import io
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import v4
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NAMES = ("digits", "gradient_descent", "house_prices", "noisy_sensor")
SAVED = re.compile(r'\.savefig\("\w+\.png"\)')


def notebook(program: Path) -> Any:
    """The program as a notebook, which has not been run."""
    first, *sections = re.split(r"^# %%\n", program.read_text(encoding="utf-8"), flags=re.M)
    title, _, *paragraphs = (ast.get_docstring(ast.parse(first)) or "").splitlines()
    told = "\n".join(paragraphs).partition("Run it:")[0].strip()
    made_of = f"This notebook is the program [{program.name}](../gallery/{program.name}), section by section."
    imports = "%matplotlib inline\n" + code(first.split('"""\n')[-1])
    cells = [v4.new_markdown_cell(f"# {title}\n\n{told}\n\n{made_of}"), v4.new_code_cell(imports)]
    for section in sections:
        text = re.match(r"(?:#.*\n)*", section)[0]
        cells.append(v4.new_markdown_cell(re.sub(r"^# ?", "", text, flags=re.M).strip()))
        cells.append(v4.new_code_cell(code(section[len(text) :])))
    for i, cell in enumerate(cells):
        cell.id = f"cell-{i}"  # a random one would differ each time
    return v4.new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})


def code(text: str) -> str:
    """A section's code, which shows its picture as the last line and finds the data from the notebook's folder."""
    text = text.strip().replace("Path(__file__).resolve().parents[1]", 'Path("..")').replace("  # fmt: skip", "")
    shown = SAVED.sub("", text)
    if shown != text and not SAVED.search(text.splitlines()[-1]):
        raise ValueError(f"a picture is saved before the end of the section {text[:60]!r} ...")
    return shown


def run(made: Any) -> Any:
    """The notebook with its outputs, run in a copy of the examples."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(EXAMPLES / "data", Path(folder) / "data")
        (Path(folder) / "notebooks").mkdir()
        resources = {"metadata": {"path": str(Path(folder) / "notebooks")}}
        made = NotebookClient(made, resources=resources, record_timing=False, timeout=300).execute()
    for output in (output for cell in made.cells for output in cell.get("outputs", [])):
        if "image/png" in output.get("data", {}):
            output.data["image/png"] = small(output.data["image/png"])
    return made


def small(picture: str) -> str:
    """A PNG, in base64, in 96 colours: a third of the bytes, and the eye sees no difference."""
    out = io.BytesIO()
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    image.quantize(96, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of examples/gallery (default {' '.join(NAMES)})")
    parser.add_argument("--out", type=Path, default=EXAMPLES / "notebooks", help="folder (default examples/notebooks)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or NAMES:
        path = arguments.out / f"{name}.ipynb"
        nbformat.write(run(notebook(EXAMPLES / "gallery" / f"{name}.py")), path)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
