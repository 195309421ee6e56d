"""What is public is documented; links of the site are found where they are broken; its pages are made of programs."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

SITE = Path(__file__).resolve().parents[1] / "tools" / "site"
if not SITE.exists():
    pytest.skip("the tools are not beside the tests", allow_module_level=True)


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch):
    def module(name: str) -> ModuleType:
        monkeypatch.syspath_prepend(str(SITE))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return module


def test_every_public_name_and_parameter_is_documented(tool):
    pytest.importorskip("sklearn")
    assert tool("documented").undocumented() == []


def test_what_is_undocumented_is_found(tool, monkeypatch):
    documented = tool("documented")

    def area(width: float, height: float) -> float:
        """Of a rectangle.

        Args:
            width: in metres.
            depth: of something else.
        """
        return width * height

    public = documented.Public("cnn.area", area, "networks")
    monkeypatch.setattr(documented, "everything", lambda: (public,))
    assert documented.undocumented() == [
        "cnn.area: no example",
        "cnn.area: argument 'height' is not told of",
        "cnn.area: tells of 'depth', which is no argument",
    ]


def test_docstrings_are_parsed(tool):
    documented = tool("documented")
    doc = documented.parse("""One line.

    More of it,
    on two lines.

    Args:
        a, b: two
            numbers.
        first, second,
            third: others.

    Raises:
        ValueError: never.

    >>> 1 + 1
    2
    """)
    assert doc.summary == "One line."
    assert doc.text == ["More of it,\non two lines."]
    assert doc.sections["Args"] == [("a, b", "two numbers."), ("first, second, third", "others.")]
    assert doc.sections["Raises"] == [("ValueError", "never.")]
    assert doc.examples == [">>> 1 + 1\n2"]


def test_a_subclass_and_a_reference_tell_of_parameters(tool):
    documented = tool("documented")
    adam = documented.find("cnn.Adam")
    said = documented.described(adam.doc, adam.signature, adam)
    assert "schedule" in said["learning_rate"]
    roc = documented.find("cnn.metrics.roc_auc")
    assert "predictions" in documented.described(roc.doc, roc.signature, roc)["p"]
    regressor = documented.find("MLPRegressor")
    assert documented.described(regressor.doc, regressor.signature, regressor)["tol"]


def test_broken_links_are_found(tool, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text(
        '<a href="sub/page.html#there">1</a><a href="sub/page.html#not">2</a><a href="gone.html">3</a>'
        '<img src="no.png"><a href="https://example.org/a">4</a><a href="https:///nowhere">5</a>'
        '<a href="#own" id="own">6</a>'
    )
    page = tmp_path / "sub" / "page.html"
    page.write_text('<h1 id="there"></h1><a href="../index.html">up</a><a href="../..">out</a>')
    found = tool("links").broken(tmp_path)
    assert [line.partition(" links to ")[2] for line in found] == [
        "sub/page.html#not: that page has no such anchor", "gone.html, which is not there",
        "no.png, which is not there", "https:///nowhere, which is no address", "../.., which is not there",
    ]  # fmt: skip


def test_a_program_runs_cell_by_cell(tool, tmp_path):
    program = tmp_path / "program.py"
    program.write_text('"""A title.\n========\n\nSome `text`.\n"""\n\nx = 1\nprint(x)\n\n# %%\n# Said.\nprint(x + 1)\n')
    programs = tool("programs")
    read = programs.read(program)
    assert (read.title, read.text) == ("A title", "Some `text`.")
    assert [programs.text_and_code(cell) for cell in read.cells] == [("", "x = 1\nprint(x)"), ("Said.", "print(x + 1)")]
    out, _ = programs.run(([str(SITE / "cells.py"), str(program)], tmp_path / "run"))
    assert out.splitlines()[-1] == '[["1\\n", []], ["2\\n", []]]'


def test_notebooks_become_pages_with_words_for_their_pictures(tool, tmp_path):
    picture = {"cell_type": "code", "source": [], "metadata": {}, "outputs": [{"data": {"image/png": "…"}}]}
    text = {"cell_type": "markdown", "source": ["What is wrong? This\n", "is."]}
    told = tool("notebooks").told({"cells": [text, picture]})
    assert told["cells"][1]["metadata"] == {"mystnb": {"image": {"alt": "What is wrong?"}}}
    tool("notebooks").write(tmp_path, tool("pages").Links(tmp_path))
    found = sorted((tmp_path / "notebooks").glob("*.ipynb"))
    assert [path.name for path in found] == [path.name for path in tool("notebooks").NOTEBOOKS]
    assert "(../gallery/digits.md)" in found[0].read_text()
    programs = tool("programs")
    page = programs.page(programs.read(programs.ROOT / "examples/gallery/digits.py"), tool("pages").Links(tmp_path), [])
    assert "[As a notebook](../notebooks/digits.ipynb)" in page
    assert "{download}`digits.ipynb <digits/digits.ipynb>`" in page


def test_pages_are_mended_for_keyboards(tool):
    mended = tool("accessible").mended
    menu = '<label class="nav-overlay-icon" for="__navigation"><i></i></label>'
    button = '<button type="button" class="nav-overlay-icon" data-menu="__navigation" aria-label="Pages of the site">'
    assert mended(menu) == f"{button}<i></i></button>"
    assert mended("<pre>x</pre>") == '<pre tabindex="0">x</pre>'
    assert mended('<div class="table-wrapper wide">') == '<div class="table-wrapper wide" tabindex="0">'
    named = '<th class="head"><p>a</p></th>'
    assert mended(f'<th class="head"><p></p></th>{named}') == f"<td></td>{named}"
    assert mended("<dl>\n<dd>a,</dd>\n</dl>") == '<span class="sig-line">a,</span>\n'
    listed = "<dl><dt>a</dt><dd>b</dd></dl>"
    assert mended(listed) == listed


def test_methods_tell_of_their_arguments(tool):
    documented = tool("documented")

    class Box:
        """A box."""

        def put(self, thing: int, place: int, X: object) -> None:
            """Puts a thing there."""

    public = documented.Public("cnn.Box", Box, "networks")
    assert list(documented.untold(public, "put", Box.put)) == ["place"]
