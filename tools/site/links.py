"""Every link of the built site leads somewhere: `python tools/site/links.py FOLDER`.

Pages, pictures, scripts and anchors within the site must be there; what leads out of it is looked at by its form alone.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links and the anchors of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value is not None:
                self.links.append(value)
            elif value and (name == "id" or (tag == "a" and name == "name")):
                self.anchors.add(value)


def broken(folder: Path) -> list[str]:
    folder = folder.resolve()
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            where = f"{path.relative_to(folder)} links to {link}"
            if parts.scheme or parts.netloc:
                if parts.scheme not in ("http", "https", "mailto", "data") or (
                    parts.scheme[0] == "h" and "." not in parts.netloc
                ):
                    found.append(f"{where}, which is no address")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_relative_to(folder) or not target.exists():
                found.append(f"{where}, which is not there")
            elif target in pages and unquote(parts.fragment) not in pages[target].anchors:
                found.append(f"{where}: that page has no such anchor")
    return found


def main() -> int:
    found = broken(Path(sys.argv[1]))
    print("\n".join(sorted(set(found))) or "every link leads somewhere")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
