"""Small tables and lists as HTML, for notebooks; every text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def table(rows: Sequence[Sequence[object]], caption: str = "") -> str:
    """A table, the first row its head.

    >>> table([["a"], ["<b>"]])
    '<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>&lt;b&gt;</td></tr></tbody></table>'
    """
    head, *body = rows
    top = f"<caption>{escape(caption)}</caption>" if caption else ""
    rows = "".join(_row("td", row) for row in body)
    return f"<table>{top}<thead>{_row('th', head)}</thead><tbody>{rows}</tbody></table>"


def _row(tag: str, cells: Iterable[object]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"


def listed(texts: Iterable[str]) -> str:
    """Sentences as a list; nothing for none."""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<ul>{items}</ul>" if items else ""
