"""Builds the compiled core: see pyproject.toml for all else.

CNN_CHECKED=1 builds with Cython's checks of bounds and of None on, for the tests.
"""
from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

CHECKED = os.environ.get("CNN_CHECKED") == "1"
MSVC = sys.platform == "win32"
X86_64 = platform.machine().lower() in ("x86_64", "amd64")
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": CHECKED,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": CHECKED,
    "nonecheck": CHECKED,
    "freethreading_compatible": True,
}


def has_openmp() -> bool:
    """Whether the compiler takes -fopenmp and finds its library; Apple's Clang does not."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text("#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n")
        command = [*os.environ.get("CC", "cc").split(), "-fopenmp", str(source), "-o", str(Path(folder, "probe"))]
        try:
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        except OSError:
            return False


# No -ffast-math: errno and traps are all that must go for the loops to be vectorised. No debug symbols in the wheel.
if MSVC:
    compile_args, link_args, levels = ["/O2", "/fp:contract", "/openmp"], [], {"v3": ["/arch:AVX2"], "v4": ["/arch:AVX512"]}
else:
    openmp = ["-fopenmp"] if has_openmp() else []
    compile_args = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-g0", "-Wno-unused-function", *openmp]
    link_args = openmp
    levels = {"v3": ["-march=x86-64-v3"], "v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"]}
if not X86_64:
    levels = {}

# The engine is inlined from every .pxd, and its source is included by the builds for other instruction sets.
sources = sorted(str(p) for kind in ("*.pxd", "*.h") for p in Path("cnn_core").glob(kind)) + ["cnn_core/_engine.pyx"]


def extension(name: str, extra: list[str] | None = None) -> Extension:
    return Extension(f"cnn_core.{name}", [f"cnn_core/{name}.pyx"], depends=sources, include_dirs=["cnn_core"],
                     extra_compile_args=compile_args + (extra or []), extra_link_args=link_args)


extensions = [extension(name) for name in ("types", "blas", "activations", "losses", "optimizers", "_engine")]
extensions += [extension(f"_engine_{level}", flags) for level, flags in levels.items()]
setup(ext_modules=cythonize(extensions, compiler_directives=DIRECTIVES, nthreads=0))
