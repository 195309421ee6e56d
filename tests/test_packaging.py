"""What is installed: its metadata, its files, and what importing it costs the importer."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import cnn
import cnn_core

ROOT = Path(__file__).resolve().parents[1]
MAY_REQUIRE = {"numpy", "scipy", "threadpoolctl", "tqdm"}


@pytest.fixture(scope="module")
def distribution() -> metadata.Distribution:
    try:
        return metadata.distribution("cnn-core")
    except metadata.PackageNotFoundError:
        pytest.skip("runs from a checkout, not installed")


def test_needs_four_packages_at_most(distribution: metadata.Distribution) -> None:
    required = {re.split(r"[^\w-]", line)[0] for line in distribution.requires or [] if "extra ==" not in line}
    assert required <= MAY_REQUIRE


def test_metadata(distribution: metadata.Distribution) -> None:
    assert distribution.version == cnn.__version__
    assert distribution.metadata["License-Expression"] == "BSD-3-Clause"
    assert distribution.metadata["Requires-Python"] == ">=3.11"
    assert {"plot", "pandas", "test", "lint"} <= set(distribution.metadata.get_all("Provides-Extra") or [])


def test_pxd_files_are_installed() -> None:
    folder = Path(cnn_core.__file__).parent
    expected = {"types", "vecmath", "blas", "activations", "losses", "optimizers", "random", "dense", "step"}
    expected |= {"__init__", "model", "predict"}
    assert {path.stem for path in folder.glob("*.pxd")} >= expected


def test_types_are_declared() -> None:
    assert (Path(cnn.__file__).parent / "py.typed").exists()


def test_public_names_exist() -> None:
    assert [name for name in cnn.__all__ if not hasattr(cnn, name)] == []
    assert len(set(cnn.__all__)) == len(cnn.__all__)


def test_import_loads_no_optional_and_no_slow_module(tmp_path: Path) -> None:
    program = "import sys, cnn; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    loaded = set(done.stdout.split())
    assert not loaded & {"matplotlib", "pandas", "sklearn", "torch", "jax", "scipy.linalg", "tqdm", "safetensors"}


def test_import_prints_and_warns_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", "import cnn"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not (ROOT / "CITATION.cff").exists(), reason="the repository is not around the tests")
def test_the_citation_has_the_version_of_the_package() -> None:
    assert f"\nversion: {cnn.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_beside_the_sources_python_says_where_to_run(tmp_path: Path) -> None:
    """The folder `cnn_core` of a clone is found before the installed one."""
    (tmp_path / "cnn_core").mkdir()
    shutil.copy(Path(cnn_core.__file__), tmp_path / "cnn_core")
    program = (
        "import sys\n"
        "sys.meta_path[:] = [finder for finder in sys.meta_path if 'editable' not in repr(finder)]\n"
        "import cnn_core"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: {tmp_path / 'cnn_core'} holds the sources of cnn_core, which are not compiled there, and "
        "hides the installed package: run Python in another folder, or compile them in place with pip install -e ."
    )


@pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="the sources are not around the tests")
def test_an_sdist_has_the_same_bytes_wherever_and_whenever_it_is_packed(tmp_path: Path) -> None:
    """`.ci/reproducible.py` asks the same of a wheel, which takes minutes to build."""
    files = [ROOT / name for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")]
    for pattern in ("cnn_core/*.p*", "cnn_core/*.h", "python/cnn/**/*.py", "python/cnn/py.typed", "examples/data/*"):
        files += ROOT.glob(pattern)
    packed = []
    for name, mode, date in (("a", 0o600, 1.7e9), ("longer/b", 0o664, 1.8e9)):
        folder = tmp_path / name
        for file in files if name == "a" else reversed(files):
            copy = folder / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
            copy.chmod(mode)
            os.utime(copy, (date, date))
        env = os.environ | {"SOURCE_DATE_EPOCH": "1000000000"}
        command = [sys.executable, "setup.py", "-q", "sdist"]
        subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True)
        packed += (folder / "dist").iterdir()
    one, two = packed
    assert one.read_bytes() == two.read_bytes()
    with tarfile.open(one) as sdist:
        members = sdist.getmembers()
    assert {member.mtime for member in members} == {1e9}
    assert {(member.uid, member.gid, member.uname, member.gname) for member in members} == {(0, 0, "", "")}
    assert {member.mode for member in members if member.isfile()} == {0o644}
    names = [member.name.split("/") for member in members]
    assert names == sorted(names)


@pytest.mark.skipif(not (ROOT / "tools/conda").exists(), reason="the repository is not around the tests")
def test_the_conda_recipe_asks_for_what_the_package_asks_for() -> None:
    yaml = pytest.importorskip("yaml")
    recipe = yaml.safe_load((ROOT / "tools/conda/recipe.yaml").read_text(encoding="utf-8"))
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert recipe["context"]["version"] == cnn.__version__
    for kind, wanted, more in (
        ("run", pyproject["project"]["dependencies"], {"python"}),
        ("host", pyproject["build-system"]["requires"], {"python", "pip"}),
    ):
        asked = {text for text in recipe["requirements"][kind] if isinstance(text, str)}  # others are of one system
        assert asked == {text.replace(">=", " >=") for text in wanted} | more
    commands = [f"{name} = {where}" for name, where in pyproject["project"]["scripts"].items()]
    assert recipe["build"]["python"]["entry_points"] == commands
    assert recipe["about"]["license"] == pyproject["project"]["license"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What `.ci/release.py` reads of the repository, of version 1.2.0."""
    (tmp_path / "python/cnn").mkdir(parents=True)
    (tmp_path / "python/cnn/_version.py").write_text('import os\n\n__version__ = "1.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n## [1.2.0] - 2026-11-28\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "cnn-core"\n\n[tool.mypy]\nstrict = true\n')
    return tmp_path


@pytest.mark.skipif(not (ROOT / ".ci/release.py").exists(), reason="the repository is not around the tests")
def test_a_release_has_the_address_of_its_repository_and_refuses_another_tag(checkout: Path) -> None:
    prepare = runpy.run_path(str(ROOT / ".ci/release.py"))["prepare"]
    before = (checkout / "pyproject.toml").read_text()
    for tag in ("v1.2.1", "1.2.0", "v1.2.0rc1", "v1x2.0"):
        with pytest.raises(SystemExit, match=f"the tag {tag} does not belong to the version 1.2.0"):
            prepare(checkout, tag, "https://example.org/a/b")
    assert (checkout / "pyproject.toml").read_text() == before
    prepare(checkout, "v1.2.0", "https://example.org/a/b")
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    assert project["name"] == "cnn-core"
    assert project["urls"]["Homepage"] == "https://example.org/a/b"
    assert project["urls"]["Changelog"] == "https://example.org/a/b/blob/v1.2.0/CHANGELOG.md"
    (checkout / "CHANGELOG.md").write_text("# Changelog\n## [1.2.0] - Unreleased\n")
    with pytest.raises(SystemExit, match=r"no date for 1\.2\.0"):
        prepare(checkout, "v1.2.0", "https://example.org/a/b")


@pytest.mark.skipif(not (ROOT / "README.md").exists(), reason="the docs are not beside the tests")
def test_nothing_asks_for_a_release_that_may_not_be() -> None:
    """Errors name packages to install, the docs the clone: true before a release and after."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.py"), *ROOT.glob("benchmarks/*.md")]
    files = [*pages, *Path(cnn.__file__).parent.rglob("*.py")]
    asks = [str(path) for path in files if re.search(r"pip install[^`\n]*cnn-core", path.read_text(encoding="utf-8"))]
    assert asks == []


@pytest.mark.skipif(not (ROOT / "README.md").exists(), reason="the docs are not beside the tests")
def test_the_readme_names_the_extras_of_users(distribution: metadata.Distribution) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    extras = set(distribution.metadata.get_all("Provides-Extra") or []) - {"test", "lint", "bench", "docs"}
    assert {name for name in extras if f"`{name}`" not in readme} == set()
