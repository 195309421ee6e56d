"""Looks at the built site in a browser: python tools/site/check.py [--pictures FOLDER].

It needs Chromium, and from PyPI playwright and axe-playwright-python (which brings axe). Every door and a sample of
pages is opened at three widths, light and dark: axe finds no violation, nothing is wider than the window, no request
leaves the site or fails. By keyboard: the skip link comes first and leads to the text, what has the focus is seen to
have it, menus open and close. The search finds a name without a network. The first page weighs at most 200 kB, and is
there in a second. Returns 1 if any of it fails; `--pictures` keeps a screenshot of each.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import http.server
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page, Response, sync_playwright

HTML = Path(__file__).resolve().parents[2] / "build" / "site" / "html"
DOORS = ("index", "learn", "do", "reference/index", "understand", "gallery/index")
SAMPLE = (
    "first-steps", "from-maths-to-code", "guide", "tables", "performance", "from-keras", "design", "search",
    "reference/networks", "reference/Network", "reference/Dense", "reference/metrics.f1", "reference/TableModel",
    "programs/first_network", "development/changes", "source/cnn_core/dense.pxd", "genindex",
)  # fmt: skip
WIDTHS = (390, 820, 1440)
SCHEMES = ("light", "dark")
HEAVIEST, SLOWEST = 200_000, 1.0
STOPS = 25  # of the Tab key
# What is in the tree under `main`, `nav` and so on is the theme's; all rules of axe that are not experimental run.
AXE = "() => axe.run(document, {resultTypes: ['violations']})"
FOCUSED = """() => {
    const it = document.activeElement, outlined = e => getComputedStyle(e).outlineStyle !== 'none';
    const drawn = [it, ...(it.labels || [])].filter(outlined), box = (drawn.at(-1) || it).getBoundingClientRect();
    const text = it.innerText || it.getAttribute('aria-label') || it.name || '';
    return {what: it.tagName + ' ' + text.trim().slice(0, 40), href: it.getAttribute('href'), shown: drawn.length > 0,
            inside: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth};
}"""
TEXT_HAS_FOCUS = "() => document.getElementById('furo-main-content').contains(document.activeElement)"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Gives text compressed, as servers of such pages do."""

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.suffix not in (".html", ".css", ".js", ".svg") or not path.is_file():
            super().do_GET()
            return
        body = gzip.compress(path.read_bytes())
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):  # the page was closed meanwhile
            self.wfile.write(body)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def looked_at(page: Page) -> Iterator[str]:
    """What is wrong with the page as it is now."""
    for violation in page.evaluate(AXE)["violations"]:
        nodes = violation["nodes"]
        yield f"axe: {violation['id']} ({violation['impact']}), {len(nodes)} times, first {nodes[0]['html'][:120]}"
    wider = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
    if wider > 0:
        yield f"{wider} px wider than the window"


def opened(browser: Browser, root: str, name: str, pictures: Path | None) -> list[str]:
    """What is wrong with a page at each width, light and dark."""
    page = browser.new_page()
    wrong: list[str] = []

    def seen(response: Response) -> None:
        if response.status >= 400 or not response.url.startswith(root):
            wrong.append(f"asks for {response.url}: {response.status}")

    page.on("response", seen)
    page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    page.goto(f"{root}{name}.html")
    page.evaluate(AXE_SCRIPT)
    for width in WIDTHS:
        for scheme in SCHEMES:
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            wrong += [f"{width} px, {scheme}: {line}" for line in looked_at(page)]
            if pictures:
                page.screenshot(path=pictures / f"{name.replace('/', '_')}-{width}-{scheme}.png")
    page.close()
    return [f"{name}, {line}" for line in wrong]


def by_keyboard(browser: Browser, root: str, name: str, width: int) -> list[str]:
    """Tab through the page: the skip link is first, whatever has the focus shows it, menus open and close."""
    page = browser.new_page(viewport={"width": width, "height": 900}, reduced_motion="reduce")
    page.goto(f"{root}{name}.html")
    wrong = []
    for i in range(STOPS):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUSED)
        if found["what"].startswith("BODY"):  # behind the last stop
            break
        if i == 0 and not (found["href"] or "").startswith("#"):
            wrong.append(f"the first stop is {found['what']}, no skip link")
        if not (found["shown"] and found["inside"]):
            wrong.append(f"no focus is seen on {found['what']!r}")
    page.goto(f"{root}{name}.html")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    if not page.evaluate(TEXT_HAS_FOCUS):
        wrong.append("the skip link does not lead to the text")
    for menu in page.locator("button[data-menu]:visible").all():
        menu.focus()
        page.keyboard.press("Enter")
        opened = menu.get_attribute("aria-expanded")
        page.keyboard.press("Escape")
        if (opened, menu.get_attribute("aria-expanded")) != ("true", "false"):
            wrong.append(f"{menu.get_attribute('aria-label')}: the menu does not open and close")
    page.close()
    return [f"{name}, {width} px, by keyboard: {line}" for line in wrong]


def searched(browser: Browser, root: str) -> list[str]:
    page = browser.new_page()
    page.goto(f"{root}search.html?q=EarlyStopping")
    page.wait_for_selector("#search-results li", timeout=20_000)
    first = page.locator("#search-results li a").first.get_attribute("href") or ""
    page.close()
    return [] if "EarlyStopping" in first else [f"the search for EarlyStopping finds {first} first"]


def weighed(browser: Browser, root: str) -> tuple[int, float, list[str]]:
    """Bytes of the first page as they are sent, and seconds until all is there."""
    page = browser.new_page()
    sizes: list[int] = []
    page.on("requestfinished", lambda request: sizes.append(request.sizes()["responseBodySize"]))
    page.goto(f"{root}index.html", wait_until="load")
    page.wait_for_timeout(500)
    timing = page.evaluate("() => performance.getEntriesByType('navigation')[0].loadEventEnd")
    page.close()
    total, seconds = sum(sizes), timing / 1000
    wrong = [f"the first page weighs {total:,} bytes"] if total > HEAVIEST else []
    return total, seconds, wrong + ([f"the first page takes {seconds:.1f} s"] if seconds > SLOWEST else [])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--html", type=Path, default=HTML)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    options = parser.parse_args()
    programs = sorted(path for folder in ("gallery", "notebooks") for path in (options.html / folder).glob("*.html"))
    names = [*DOORS, *(name for name in SAMPLE if (options.html / f"{name}.html").exists()),
             *(f"{path.parent.name}/{path.stem}" for path in programs if path.stem != "index")]  # fmt: skip
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
    wrong: list[str] = []
    with served(options.html) as root, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=options.chromium)
        for name in names:
            wrong += opened(browser, root, name, options.pictures)
        for name in DOORS:
            wrong += [line for width in (WIDTHS[0], WIDTHS[-1]) for line in by_keyboard(browser, root, name, width)]
        wrong += searched(browser, root)
        total, seconds, heavy = weighed(browser, root)
        wrong += heavy
        browser.close()
    print("\n".join(wrong) or "nothing is wrong")
    print(
        f"{len(names)} pages at {len(WIDTHS)} widths, light and dark; the first weighs {total:,} bytes, {seconds:.2f} s"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
