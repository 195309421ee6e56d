"""What DESIGN and CONTRIBUTING promise of the sources: imports point downward, each concern has its one place."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE, API = ROOT / "cnn_core", ROOT / "python" / "cnn"
if not (CORE / "_engine.pyx").exists():
    pytest.skip("the sources are not beside the tests", allow_module_level=True)

# From the bottom up; a module may import those on earlier lines only.
CORE_ORDER = [
    ["finish", "types"],
    ["vecmath", "blas", "tile", "team"],
    ["gates", "random"],
    ["activations", "losses", "optimizers"],
    ["sparse"],
    ["dense", "job"],
    ["wide", "update"],
    ["sparse_wide"],
    ["step"],
    ["predict"],
    ["model"],
    ["_kernels", "_predictor", "_rows"],
    ["_engine"],
    ["_engine_v3", "_engine_v4"],
    ["__init__"],
]
API_ORDER = [
    ["_elsewhere", "_html", "_version"],
    ["_names", "_console", "_figure", "_types", "_frames"],
    ["_check", "_json", "arena", "atomic"],
    ["_states", "threads"],
    ["activations", "initializers", "schedules", "losses", "sparse", "container"],
    ["layers", "metrics", "optimizers"],
    ["plots"],
    ["plan", "data", "history"],
    ["layer_view"],
    ["state"],
    ["passes", "files"],
    ["evaluation", "reports", "callbacks"],
    ["position", "diagnosis", "gradient_check"],
    ["checkpoint", "resume", "loop"],
    ["training"],
    ["choose_activation"],
    ["network"],
    ["onnx_export", "c_export", "conversions"],
    ["_mlp_build", "_mlp_compat"],
    ["_mlp_training", "_mlp_save"],
    ["_mlp_lbfgs"],
    ["_mlp_base"],
    ["estimators"],
    ["_mlp_load", "_mlp_export"],
    ["table.writings"],
    ["table.frames"],
    ["table.blocks", "table.labels", "table.kinds"],
    ["table.columns"],
    ["table.encode", "table.target"],
    ["table.settings", "table.importance", "table.save"],
    ["table.model"],
    ["table.load", "table.onnx_export", "table.c_export"],
    ["table.__init__"],
    ["loading"],
    ["__init__"],
    ["cli.memory", "cli.shown", "cli.source"],
    ["cli.read_arrow", "cli.read_csv", "cli.write"],
    ["cli.read", "cli.screen"],
    ["cli.bench", "cli.predict", "cli.report"],
    ["cli.commands"],
    ["cli.app"],
    ["cli.__init__"],
    ["cli.__main__", "__main__"],
]
# Methods that are only a door to a function above them import it when they are called. Nobody may add to these unseen.
DOORS = {
    ("onnx_export", "_mlp_export"),  # export_onnx of an estimator
    ("onnx_export", "table.__init__"),  # export_onnx of a table model
    ("onnx_export", "table.onnx_export"),
    ("c_export", "_mlp_export"),  # export_c of an estimator
    ("c_export", "table.__init__"),  # export_c of a table model
    ("c_export", "table.c_export"),
}
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


def python_imports(path: Path, package: str) -> tuple[set[str], set[str]]:
    """Modules of `package` imported when `path` is imported, and those imported later, inside functions."""
    at_once: set[str] = set()
    later: set[str] = set()
    root = CORE if package == "cnn_core" else API

    def member(dotted: str) -> str:
        """The module of that name in the package, a folder's being its __init__; empty if there is none."""
        place = root.joinpath(*dotted.split("."))
        if any(place.with_suffix(suffix).exists() for suffix in (".py", ".pyx")):
            return dotted
        return f"{dotted}.__init__" if (place / "__init__.py").exists() else ""

    def visit(node: ast.AST, found: set[str]) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError(f"{path.name}:{node.lineno} imports relatively")
        if isinstance(node, ast.ImportFrom) and node.module == package:
            found |= {member(alias.name) or "__init__" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith(f"{package}."):
            of = str(node.module).removeprefix(f"{package}.")
            found |= {member(f"{of}.{alias.name}") or member(of) or of for alias in node.names}
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found |= {(*name, "__init__")[1] for name in names if name[0] == package}
        inside = later if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) else found
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(ast.parse(path.read_text()), at_once)
    return at_once, later - at_once


def name_of(path: Path) -> str:
    """The module's name within its package: "network", "table.model", "table.__init__"."""
    return ".".join(path.relative_to(API).with_suffix("").parts)


def rank(order: list[list[str]], module: str) -> int:
    ranks = {name: i for i, names in enumerate(order) for name in names}
    assert module in ranks, f"{module} has no place in the order of modules: give it one"
    return ranks[module]


@pytest.mark.parametrize("path", CORE_FILES, ids=lambda path: path.name)
def test_core_imports_point_downward(path: Path) -> None:
    imported = cython_imports(path, "cnn_core") if path.suffix != ".py" else python_imports(path, "cnn_core")[0]
    for module in imported - {path.stem}:
        assert rank(CORE_ORDER, module) < rank(CORE_ORDER, path.stem), f"{path.name} imports {module}"


@pytest.mark.parametrize("path", API_FILES, ids=name_of)
def test_api_imports_point_downward(path: Path) -> None:
    at_once, later = python_imports(path, "cnn")
    for module in at_once:
        assert rank(API_ORDER, module) < rank(API_ORDER, name_of(path)), f"{path.name} imports {module}"
    upward = {(name_of(path), m) for m in later if rank(API_ORDER, m) >= rank(API_ORDER, name_of(path))}
    assert upward <= DOORS, f"{path.name} calls upward"


def test_every_door_is_in_use() -> None:
    used = {(name_of(path), module) for path in API_FILES for module in python_imports(path, "cnn")[1]}
    assert used >= DOORS


@pytest.mark.parametrize("path", CORE_FILES, ids=lambda path: path.name)
def test_core_knows_nothing_of_the_api(path: Path) -> None:
    assert not re.search(r"^\s*(from|import|cimport)\s+cnn\b", path.read_text(), re.M)


def files_with(pattern: str, files: list[Path]) -> set[str]:
    return {path.name for path in files if re.search(pattern, path.read_text())}


def test_scipy_is_known_to_the_blas_module_only() -> None:
    assert files_with(r"\bscipy\b", CORE_FILES) == {"blas.pyx", "blas.pxd"}


def test_threads_are_started_in_the_engine_only() -> None:
    assert files_with(r"\bprange\b|cython\.parallel|omp parallel", CORE_FILES) == {"_engine.pyx"}


def test_the_machine_is_asked_in_one_place_only() -> None:
    asks = r"\benviron\b|\bgetenv\b|affinity|cgroup|cpu_count"
    assert files_with(asks, API_FILES) == {"threads.py"}
    assert files_with(asks, CORE_FILES) == {"__init__.py"}
    assert re.findall(r"environ\.get\(\"(\w+)", (CORE / "__init__.py").read_text()) == ["CNN_ISA"]


@pytest.mark.parametrize("folder", ["cnn_core", "python/cnn", "tests", "benchmarks", "examples", "tools"])
def test_files_stay_short(folder: str) -> None:
    files = [path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".pyx", ".pxd")]
    long = {path.name: n for path in files if (n := len(path.read_text().splitlines())) > 450}
    assert not long
