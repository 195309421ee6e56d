"""Checks an sdist and wheels: size, no debug symbols, what must be in them, what they require.

python .ci/check_dist.py CHECKOUT SDIST WHEEL...: wheels after the first hold the same files, but for engines.
"""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from pathlib import Path

MAY_REQUIRE = {"numpy", "scipy", "threadpoolctl", "tqdm"}
MAX_WHEEL = 3_000_000
IN_SDIST = [
    "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "pyproject.toml", "setup.py",
    "cnn_core/_engine.pyx", "cnn_core/step.pxd", "cnn_core/tile.h", "python/cnn/py.typed", "tests/reference.py",
    "tools/find_python.sh", "benchmarks/", "examples/data/", "examples/gallery/", "docs/",
]  # fmt: skip
SOURCES = ["cnn_core/*.p*", "cnn_core/*.h", "python/**/*.py"]  # all of which are in the sdist
IN_WHEEL = {
    "cnn/py.typed", "cnn_core/py.typed", "cnn_core/_engine.pyi", "cnn_core/__init__.pxd", "cnn_core/types.pxd",
    "cnn_core/step.pxd", "cnn_core/tile.h",
}  # fmt: skip


def names_of(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as opened:
        return set(opened.namelist())


def check_wheel(path: Path) -> str:
    assert path.stat().st_size < MAX_WHEEL, f"{path.name} has {path.stat().st_size:,} bytes"
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        missing = IN_WHEEL - set(names)
        assert not missing, f"{path.name} lacks {missing}"
        assert not [name for name in names if name.endswith((".c", ".pyc"))]
        for name in names:
            if name.endswith(".so"):
                assert b".debug_info" not in wheel.read(name), f"{name} holds debug symbols"
        text = wheel.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    lines = re.findall(r"^Requires-Dist: ([\w-]+)(.*)$", text, re.M)
    required = {name for name, rest in lines if "extra ==" not in rest}
    assert required <= MAY_REQUIRE, f"the wheel requires {required}"
    return f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, requires {', '.join(sorted(required))}"


def check_sdist(path: Path, checkout: Path) -> str:
    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    missing = [want for want in IN_SDIST if not any(name == want or name.startswith(want) for name in names)]
    sources = {str(file.relative_to(checkout)) for kind in SOURCES for file in checkout.glob(kind)}
    assert len(sources) > 100, f"{checkout} is no checkout"
    missing += sorted(sources - names)
    assert not missing, f"{path.name} lacks {missing}"
    built = [name for name in names if name.endswith((".c", ".so", ".pyc"))]
    assert not built, f"{path.name} holds built files: {built}"
    return f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, {len(names)} files"


def main() -> None:
    checkout, sdist, wheel, *others = map(Path, sys.argv[1:])
    print(check_sdist(sdist, checkout))
    print(check_wheel(wheel))
    for other in others:
        unlike = {name for name in names_of(wheel) ^ names_of(other) if "/_engine" not in name}
        assert not unlike, f"only one of {wheel} and {other} holds {sorted(unlike)}"


if __name__ == "__main__":
    main()
