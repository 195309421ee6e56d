"""What DESIGN and CONTRIBUTING promise of the sources: imports point downward, each concern has its one place."""

from __future__ import annotations

import ast
import graphlib
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE, API = ROOT / "cnn_core", ROOT / "python" / "cnn"
if not (CORE / "_engine.pyx").exists():
    pytest.skip("the sources are not beside the tests", allow_module_level=True)

# From the bottom up; a module may import those on earlier lines only.
CORE_ORDER = [
    ["finish", "types"],
    ["axis", "vecmath", "blas", "tile", "team", "slabs"],
    ["dense_rows", "gates", "links", "norm_cells", "random", "products"],
    ["activations", "augment", "losses", "optimizers", "sparse_rows"],
    ["stairs", "metrics"],
    ["sparse"],
    ["depthwise", "winograd"],
    ["convolution", "dense", "dropout", "gaussian_noise", "numeric_embedding", "category_embedding"],
    ["scale", "parametric", "piecewise_embedding", "pool", "prelu", "layer_norm", "add", "job"],
    ["batch_norm"],
    ["layer"],
    ["batch_rows", "few_dense", "lines", "wide", "update"],
    ["few"],
    ["sparse_wide"],
    ["step"],
    ["predict"],
    ["model"],
    ["_kernels", "_predictor", "_rows", "_scores", "_training"],
    ["_engine"],
    ["_engine_v3", "_engine_v4"],
    ["__init__"],
]
# The floors of the API, from the bottom up: modules and folders. Nobody imports from the same floor or a higher one;
# within a folder there are no circles.
FLOORS = [
    ["_version", "_common"],
    ["activations", "augment", "losses", "schedules"],
    ["initializers"],
    ["layers", "metrics", "optimizers", "uncertainty"],
    ["plots"],  # draws data, and knows no network
    ["runtime"],
    ["files", "inspect", "streams"],
    ["callbacks"],
    ["mpi"],
    ["training"],
    ["network"],
    ["many"],
    ["export"],
    ["sklearn", "table"],
    ["explain", "images"],
    ["tuning"],
    ["loading"],
    ["mlflow"],
    ["__init__"],
    ["cli"],
    ["__main__"],
]
CORE_FILES = sorted(path for kind in ("py", "pxd", "pyx", "pxi", "h") for path in CORE.glob(f"*.{kind}"))
API_FILES = sorted(API.rglob("*.py"))


def cython_imports(path: Path, package: str) -> set[str]:
    """Modules of `package` that a Cython source cimports, imports or includes."""
    text = path.read_text()
    found = set(re.findall(rf"^\s*from {package}\.(\w+) c?import ", text, re.M))
    found |= set(re.findall(rf"^\s*c?import {package}\.(\w+)", text, re.M))
    for names in re.findall(rf"^\s*from {package} c?import (.+)$", text, re.M):
        found |= {name.split()[0] for name in names.strip("()").split(",")}
    return found | set(re.findall(r'^include "(\w+)\.p', text, re.M))


def python_imports(path: Path, package: str) -> set[str]:
    """Modules of `package` that `path` imports: at its top, within functions, or for a type alone."""
    found: set[str] = set()
    root = CORE if package == "cnn_core" else API

    def member(dotted: str) -> str:
        """The module of that name in the package, a folder's being its __init__; empty if there is none."""
        place = root.joinpath(*dotted.split("."))
        if any(place.with_suffix(suffix).exists() for suffix in (".py", ".pyx")):
            return dotted
        return f"{dotted}.__init__" if (place / "__init__.py").exists() else ""

    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError(f"{path.name}:{node.lineno} imports relatively")
        if isinstance(node, ast.ImportFrom) and node.module == package:
            found |= {member(alias.name) or "__init__" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith(f"{package}."):
            of = str(node.module).removeprefix(f"{package}.")
            found |= {member(f"{of}.{alias.name}") or member(of) or of for alias in node.names}
        elif isinstance(node, ast.Import):
            dotted = [alias.name for alias in node.names if alias.name.split(".")[0] == package]
            found |= {member(name.partition(".")[2] or "__init__") for name in dotted}
    return found


def name_of(path: Path) -> str:
    """The module's name within its package: "network", "table.model", "table.__init__"."""
    return ".".join(path.relative_to(API).with_suffix("").parts)


def room(module: str) -> str:
    """The folder of a module, or the module itself where it lies flat."""
    return module.split(".")[0]


def rank(order: list[list[str]], module: str) -> int:
    ranks = {name: i for i, names in enumerate(order) for name in names}
    assert module in ranks, f"{module} has no place in the order of modules: give it one"
    return ranks[module]


@pytest.mark.parametrize("path", CORE_FILES, ids=lambda path: path.name)
def test_core_imports_point_downward(path: Path) -> None:
    imported = cython_imports(path, "cnn_core") if path.suffix != ".py" else python_imports(path, "cnn_core")
    for module in imported - {path.stem}:
        assert rank(CORE_ORDER, module) < rank(CORE_ORDER, path.stem), f"{path.name} imports {module}"


@pytest.mark.parametrize("path", API_FILES, ids=name_of)
def test_api_imports_point_downward(path: Path) -> None:
    here = room(name_of(path))
    for other in {room(module) for module in python_imports(path, "cnn")} - {here}:
        assert rank(FLOORS, other) < rank(FLOORS, here), f"{name_of(path)} imports {other}"


def test_no_module_is_imported_by_what_it_imports() -> None:
    """Not by way of others, either; an import within a function or for a type counts."""
    imports = {name_of(path): python_imports(path, "cnn") - {name_of(path)} for path in API_FILES}
    assert list(graphlib.TopologicalSorter(imports).static_order())


def test_every_folder_is_in_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = {f"cnn.{path.parent.name}" for path in API.glob("*/__init__.py")}
    assert folders <= set(project["tool"]["setuptools"]["packages"])


@pytest.mark.parametrize("path", CORE_FILES, ids=lambda path: path.name)
def test_core_knows_nothing_of_the_api(path: Path) -> None:
    assert not re.search(r"^\s*(from|import|cimport)\s+cnn\b", path.read_text(), re.M)


def files_with(pattern: str, files: list[Path]) -> set[str]:
    return {path.name for path in files if re.search(pattern, path.read_text())}


def test_scipy_is_known_to_the_blas_module_only() -> None:
    assert files_with(r"\bscipy\b", CORE_FILES) == {"blas.pyx", "blas.pxd"}


def test_threads_are_started_in_the_engine_only() -> None:
    assert files_with(r"\bprange\b|cython\.parallel|omp parallel", CORE_FILES) == {"_engine.pyx"}


def test_long_calls_are_given_up_on_ctrl_c_in_one_place_only() -> None:
    assert files_with(r"\braise_flag\(", API_FILES) == {"interrupt.py"}
    assert files_with(r"\bthreading\.Thread\(", API_FILES) == {"interrupt.py", "ahead.py"}  # and to read ahead


def test_the_machine_is_asked_in_one_place_only() -> None:
    asks = r"\benviron\b|\bgetenv\b|affinity|cgroup|cpu_count"
    assert files_with(asks, API_FILES) == {"products.py", "threads.py"}
    assert files_with(asks, CORE_FILES) == {"__init__.py"}
    assert re.findall(r"environ\.get\(\"(\w+)", (CORE / "__init__.py").read_text()) == ["CNN_ISA"]


@pytest.mark.parametrize("folder", ["cnn_core", "python/cnn", "tests", "benchmarks", "examples", "tools"])
def test_files_stay_short(folder: str) -> None:
    files = [path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".pyx", ".pxd", ".pxi", ".h")]
    long = {path.name: n for path in files if (n := len(path.read_text().splitlines())) > 400}
    assert not long
