"""What pages as Sphinx and the theme write them lack for keyboards and screen readers.

Code and tables that scroll can be reached by keyboard; the empty corner of a table is no header; the lines of a long
signature are no list of definitions; the two side columns have names; the menus of narrow windows are buttons, which
site.js wires; the page of the search has a heading.
"""

from __future__ import annotations

import re
from pathlib import Path

NAMED = {"sidebar-drawer": "Pages of the site", "toc-drawer": "Contents of this page"}
CORNER = re.compile(r'<th class="head[^"]*">(?:<p></p>)?</th>')
MENU = re.compile(r'<label class="((?:nav|toc)-overlay-icon[^"]*)" for="(\w+)">(.*?)</label>', re.S)
LINES = re.compile(r"<dl>\s*((?:<dd>(?:(?!</?d[ltd]\b).)*</dd>\s*)+)</dl>", re.S)
SCROLLS = re.compile(r'<pre>|<div class="table-wrapper[^"]*"')


def button(match: re.Match[str]) -> str:
    said = NAMED["sidebar-drawer" if match[2] == "__navigation" else "toc-drawer"]
    return f'<button type="button" class="{match[1]}" data-menu="{match[2]}" aria-label="{said}">{match[3]}</button>'


def mended(text: str) -> str:
    """A page as it should be.

    >>> mended('<aside class="toc-drawer"><pre>x</pre></aside>')
    '<aside class="toc-drawer" aria-label="Contents of this page"><pre tabindex="0">x</pre></aside>'
    """
    for name, said in NAMED.items():
        text = text.replace(f'<aside class="{name}">', f'<aside class="{name}" aria-label="{said}">')
    text = MENU.sub(button, text)
    text = CORNER.sub("<td></td>", text)
    text = SCROLLS.sub(lambda match: match[0].removesuffix(">") + ' tabindex="0"' + ">" * match[0].endswith(">"), text)
    return LINES.sub(
        lambda match: re.sub(r"<dd>(.*?)</dd>", r'<span class="sig-line">\1</span>', match[1], flags=re.S), text
    )


def mend(folder: Path) -> None:
    for path in folder.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        better = mended(text)
        if path == folder / "search.html":
            better = better.replace('<div id="search-results">', '<h1>Search</h1>\n<div id="search-results">', 1)
        if better != text:
            path.write_text(better, encoding="utf-8")
