"""The sources of the site: docs/ and what it links to, with links as they are there."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from documented import find

ROOT = Path(__file__).resolve().parents[2]
# Pages that stand elsewhere in the repository, and their place in the site.
ELSEWHERE = {
    "README.md": "first-steps.md", "CONTRIBUTING.md": "development/contributing.md",
    "CHANGELOG.md": "development/changes.md", "benchmarks/README.md": "development/benchmarks.md",
    "examples/data/README.md": "programs/data.md",
}  # fmt: skip
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\]\()([^)#\s]*)(#[^)\s]*)?\)")
CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.M | re.S)
NAME = re.compile(r"(?<![\[`\w])`(cnn\.[A-Za-z_][\w.]*)(\(\))?`(?![`\]])")
LANGUAGES = {
    ".py": "python",
    ".pxd": "cython",
    ".pyx": "cython",
    ".pxi": "cython",
    ".h": "c",
    ".sh": "sh",
    ".yml": "yaml",
}


class Links:
    """Where everything of the repository that is linked to stands in the site."""

    def __init__(self, staged: Path) -> None:
        self.staged = staged
        self.sources: set[Path] = set()

    def place(self, path: Path) -> str:
        """The page of a file of the repository, as a path within the site; sources get a page of their own."""
        name = path.relative_to(ROOT).as_posix()
        if name in ELSEWHERE:
            return ELSEWHERE[name]
        if name.startswith("docs/") and path.suffix in (".md", ".png", ".svg"):
            return name.removeprefix("docs/")
        if name.startswith("examples/notebooks/") and path.suffix == ".ipynb":
            return name.removeprefix("examples/")
        if name.startswith("examples/") and path.suffix == ".py":
            return f"{'gallery' if path.parent.name == 'gallery' else 'programs'}/{path.stem}.md"
        if not path.is_file():
            raise SystemExit(f"a link leads to {name}, which is no file")
        self.sources.add(path)
        return f"source/{name}.md"

    def there(self, target: str, page: Path, own: str) -> str:
        """A link of `page`, whose place is `own`, as it must be written there."""
        if not target or re.match(r"\w+:", target):
            return target
        place = self.place((page.parent / target).resolve())
        return os.path.relpath(place, Path(own).parent).replace(os.sep, "/")

    def rewritten(self, text: str, page: Path, own: str) -> str:
        def link(match: re.Match[str]) -> str:
            return f"{match[1]}{self.there(match[2], page, own)}{match[3] or ''})"

        fences = re.split(r"(^```.*?^```$)", text, flags=re.M | re.S)
        return "".join(part if i % 2 else named(LINK.sub(link, part)) for i, part in enumerate(fences))

    def write_sources(self) -> None:
        for path in sorted(self.sources):
            name = path.relative_to(ROOT).as_posix()
            target = self.staged / f"source/{name}.md"
            target.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text(encoding="utf-8")
            language = LANGUAGES.get(path.suffix, "text")
            target.write_text(
                f"---\norphan: true\n---\n# {name}\n\n````{{code-block}} {language}\n:linenos:\n\n{text}\n````\n",
                encoding="utf-8",
            )


def named(text: str) -> str:
    """`cnn.Dense` in text becomes a link to its place in the reference; headings stay as they are."""

    def linked(match: re.Match[str]) -> str:
        public = find(match[1])
        return f"{{py:obj}}`{match[1]} <{public.name}>`" if public else match[0]

    return "\n".join(line if line.startswith("#") else NAME.sub(linked, line) for line in text.split("\n"))


def stage(staged: Path) -> Links:
    """Copies all pages; what is no longer there goes."""
    links = Links(staged)
    pages = {path: links.place(path) for path in sorted((ROOT / "docs").rglob("*.md"))}
    pages.update({ROOT / name: place for name, place in ELSEWHERE.items()})
    shutil.rmtree(staged, ignore_errors=True)
    for page, place in pages.items():
        target = staged / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(links.rewritten(page.read_text(encoding="utf-8"), page, place), encoding="utf-8")
    for picture in (ROOT / "docs").rglob("*.png"):
        target = staged / picture.relative_to(ROOT / "docs")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(picture, target)
    return links
