"""Makes the checkout of a tag ready to be built for a release: python .ci/release.py TAG ADDRESS.

Refuses a tag that is not the version, and writes the repository's address into the metadata: the repository alone knows
where it lives.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def prepare(root: Path, tag: str, address: str) -> str:
    """Adds [project.urls] to that checkout's pyproject.toml; what was done."""
    version = re.search(r'^__version__ = "(.+)"$', (root / "python/cnn/_version.py").read_text(encoding="utf-8"), re.M)
    if version is None or tag != f"v{version[1]}":
        raise SystemExit(f"the tag {tag} does not belong to the version {version and version[1]}")
    changes = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(rf"^## \[{re.escape(version[1])}\] - \d{{4}}-\d\d-\d\d$", changes, re.M):
        raise SystemExit(f"CHANGELOG.md has no date for {version[1]}")
    urls = {"Homepage": address, "Documentation": f"{address}/tree/{tag}/docs", "Issues": f"{address}/issues",
            "Changelog": f"{address}/blob/{tag}/CHANGELOG.md"}  # fmt: skip
    with (root / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("\n[project.urls]\n" + "".join(f'{name} = "{url}"\n' for name, url in urls.items()))
    return f"{version[1]} of {address}"


if __name__ == "__main__":
    print(prepare(Path(__file__).parents[1], *sys.argv[1:]))
