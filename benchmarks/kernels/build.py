"""Compiles kernels.pyx against the installed `cnn_core`, with the flags of the engine that is in use."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import cnn_core

try:
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
except ImportError as missing:
    sys.exit(f"this benchmark compiles its own timers and needs Cython and setuptools: {missing}")

HERE = Path(__file__).resolve().parent


def flags() -> list[str]:
    """How setup.py compiles the engine in use; the wheel does not carry them."""
    if sys.platform == "win32":
        return ["/O2", "/fp:contract", *{"v3": ["/arch:AVX2"], "v4": ["/arch:AVX512"]}.get(cnn_core.isa, [])]
    levels = {"v3": ["-march=x86-64-v3"], "v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"]}
    common = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-g0", "-Wno-unused-function"]
    return [*common, *levels.get(cnn_core.isa, [])]


def build(quick: bool = False) -> ModuleType:
    """In a temporary folder, which is gone when this returns; the module stays. `quick` builds slow code."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for source in ("kernels.pyx", "timing.h"):
            shutil.copy(HERE / source, folder)
        core = Path(cnn_core.__file__).parent
        arguments = [*flags(), *(["-O0"] if quick and sys.platform != "win32" else [])]
        extension = Extension(
            "kernels", [str(folder / "kernels.pyx")], include_dirs=[str(core)], extra_compile_args=arguments
        )
        directives = {"language_level": 3, "boundscheck": False, "wraparound": False, "cdivision": True}
        made = cythonize([extension], include_path=[str(core.parent)], compiler_directives=directives, quiet=True)
        command = Distribution({"ext_modules": made}).get_command_obj("build_ext")
        command.build_lib = command.build_temp = str(folder)
        command.ensure_finalized()
        command.run()
        spec = importlib.util.spec_from_file_location("kernels", command.get_ext_fullpath("kernels"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module
