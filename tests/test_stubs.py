"""The stubs of the compiled modules, by which mypy checks calls into them, have what the modules have."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import cnn_core

STUBS = sorted(Path(cnn_core.__file__).parent.glob("*.pyi"))
FUNCTIONS = {"cython_function_or_method", "fused_cython_function", "builtin_function_or_method"}


def tree(name: str) -> ast.Module:
    (path,) = (path for path in STUBS if path.stem == name)
    return ast.parse(path.read_text(encoding="utf-8"))


def parameters(node: ast.FunctionDef) -> list[str]:
    return [argument.arg for argument in node.args.args if argument.arg != "self"]


def runtime_parameters(function: Any) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def functions_of(thing: Any) -> set[str]:
    return {name for name, value in vars(thing).items() if type(value).__name__ in FUNCTIONS and name[:1] != "_"}


@pytest.mark.parametrize("module", cnn_core.engines().values(), ids=list(cnn_core.engines()))
def test_functions_and_methods_of_every_engine(module: ModuleType) -> None:
    defined = {node.name: node for node in tree("_engine").body if isinstance(node, ast.FunctionDef)}
    assert set(defined) == functions_of(module)
    for name, node in defined.items():
        assert parameters(node) == runtime_parameters(getattr(module, name)), name
    for node in tree("_engine").body:
        if isinstance(node, ast.ClassDef) and node.name[0] != "_":
            methods = {m.name: m for m in node.body if isinstance(m, ast.FunctionDef) and m.name != "__init__"}
            assert set(methods) == functions_of(getattr(module, node.name)), node.name
            for name, method in methods.items():
                assert parameters(method) == runtime_parameters(getattr(getattr(module, node.name), name)), name


@pytest.mark.parametrize("name", sorted({path.stem for path in STUBS} - {"_engine"}))
def test_functions_and_enums_of_the_small_modules(name: str) -> None:
    module = importlib.import_module(f"cnn_core.{name}")
    for node in tree(name).body:
        if isinstance(node, ast.FunctionDef):
            assert parameters(node) == runtime_parameters(getattr(module, node.name))
        if isinstance(node, ast.ClassDef):
            for member in (m for m in node.body if isinstance(m, ast.Assign)):
                assert isinstance(member.targets[0], ast.Name)
                assert getattr(module, node.name)[member.targets[0].id] == ast.literal_eval(member.value)
