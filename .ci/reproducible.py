"""Builds sdist and wheel twice from the last commit and fails unless both have the same bytes.

python .ci/reproducible.py: each build has its own folder, umask, time zone and order of hashes, and is made by
`python -m build` of the Python that runs this. CNN_ENGINES=best halves the time.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def built(folder: Path, umask: int, **environ: str) -> dict[str, str]:
    """The SHA-256 of each archive, by its name, of a build in a clone in that folder."""
    env = {key: value for key, value in os.environ.items() if key not in ("SOURCE_DATE_EPOCH", "PYTHONPATH")} | environ
    for command in (["git", "clone", "-q", ROOT, folder], [sys.executable, "-m", "build", "-o", "dist"]):
        cwd = folder if command[0] != "git" else None
        done = subprocess.run(command, cwd=cwd, env=env, umask=umask, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((folder / "dist").iterdir())}


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        one = built(Path(work, "one"), 0o022, TZ="UTC", PYTHONHASHSEED="1")
        two = built(Path(work, "another/and deeper"), 0o077, TZ="Asia/Tokyo", PYTHONHASHSEED="2")
    for name, digest in one.items():
        print(digest, name)
    unlike = [name for name in one.keys() | two.keys() if one.get(name) != two.get(name)]
    if unlike or len(one) != 2:
        raise SystemExit(f"two builds of one commit differ in {unlike or one}")


if __name__ == "__main__":
    main()
