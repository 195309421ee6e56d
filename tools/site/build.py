"""The site: python tools/site/build.py, as `make docs` does, into build/site/html; warnings and broken links fail it.

    ... --quick      runs no program of the gallery and draws no picture anew

It needs the extra `docs`, and what the programs need. Sources are docs/, the docstrings, and the programs of examples/,
which run meanwhile; build/site/source has the pages as Sphinx takes them.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

import accessible
import documented
import links
import notebooks
import pages
import programs
import reference
from sphinx.cmd.build import build_main

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site")
    options = parser.parse_args()
    begun = time.perf_counter()
    if lines := documented.undocumented():
        print("\n".join(lines))
        return 1
    staged, html = options.out / "source", options.out / "html"
    shutil.rmtree(html, ignore_errors=True)  # pages that are no longer there
    placed = pages.stage(staged)
    seconds = programs.write(staged, placed, options.quick)
    notebooks.write(staged, placed)
    reference.write(staged / "reference")
    placed.write_sources()
    written = time.perf_counter()
    if code := build_main(["-W", "--keep-going", "-q", "-E", "-a", "-c", str(ROOT / "docs"), str(staged), str(html)]):
        return code
    accessible.mend(html)
    if lost := links.broken(html):
        print("\n".join(lost))
        return 1
    slow = ", ".join(f"{name} {each:.0f} s" for name, each in sorted(seconds.items(), key=lambda pair: -pair[1]))
    n_pages = len(list(html.rglob("*.html")))
    print(f"{n_pages} pages in {html}, {len(documented.everything())} public names; no warning, no broken link")
    total, before = time.perf_counter() - begun, written - begun
    print(f"{total:.0f} s, of them pages and programs {before:.0f}" + (f" ({slow}, side by side)" if slow else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
