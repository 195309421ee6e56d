"""Builds the compiled core, and archives whose bytes depend on the sources alone; all else is in pyproject.toml.

SOURCE_DATE_EPOCH, in seconds since 1970, is the date of all that is packed; without it, that of the last commit.
CNN_ENGINES=best builds, of the engines, only the one that this machine would pick: a third of the work.
CNN_CHECKED=1 builds with Cython's checks of bounds and of None on, for the tests, in folders of its own.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sysconfig
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist
from setuptools.errors import CompileError, LinkError

CHECKED = os.environ.get("CNN_CHECKED") == "1"
BEST_ONLY = os.environ.get("CNN_ENGINES") == "best"
BUILD = "build/checked" if CHECKED else "build"
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": CHECKED,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": CHECKED,
    "nonecheck": CHECKED,
    "freethreading_compatible": True,
}

# No -ffast-math: errno and traps are all that must go for the loops to be vectorised. No debug symbols in the wheel.
# Python itself is built with -fwrapv; here no signed number overflows, and addresses are cheaper without. Some systems
# build it with checks of the stack, too: the loops' arrays of sums would have one in each call. No exception passes
# through C, so nobody unwinds its stack.
UNIX = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-fno-wrapv", "-fno-stack-protector", "-g0",
        "-fno-asynchronous-unwind-tables", "-Wno-unused-function"]  # fmt: skip
UNIX_SMALL = ["-Os"]  # of modules without loops
# Of engines beside the best one: their loops are the same vector code, of which fewer copies are made. That takes off a
# third of their size.
UNIX_COMPACT = ["-O2", "-ftree-vectorize", "-fvect-cost-model=dynamic", "--param=max-inline-insns-single=30"]
# GCC adds loops of shorter vectors behind each loop, for what is left of a slab's whole vectors: nothing. And it makes
# copies of functions, for arguments that some calls have, and in each place that calls a large one: a seventh of the
# best engine, which is no faster for it.
UNIX_WHOLE = ["--param=vect-epilogues-nomask=0", "-fno-ipa-cp-clone", "--param=max-inline-insns-single=100"]
UNIX_CHECKED = ["-O1"]  # compiles in half the time, and bounds are what is measured
UNIX_LEVELS = {"v3": ["-march=x86-64-v3"], "v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"]}
MSVC = ["/O2", "/fp:contract", "/openmp"]
MSVC_LEVELS = {"v3": ["/arch:AVX2"], "v4": ["/arch:AVX512"]}

MODULES = ["finish", "types", "blas", "activations", "links", "losses", "optimizers", "_engine"]
# A build for two processors at once ("universal2") has no flags for one of them, and does with the baseline.
X86_64 = sysconfig.get_platform().endswith(("x86_64", "amd64"))


class BuildCore(build_ext):
    """Runs Cython, gives each extension the flags that the compiler at hand takes, compiles several at a time."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()
        self.force = self.force or CHECKED  # an in-place build can't tell checked modules from others

    def build_extensions(self) -> None:
        if self.compiler.compiler_type == "msvc":
            common, small, openmp, levels, bare = MSVC, [], [], MSVC_LEVELS, []
        else:
            # Apple's Clang has no OpenMP: the core then runs on one thread.
            common, small, levels, bare = UNIX, UNIX_SMALL, UNIX_LEVELS, ["-Wl,-s"] if self.takes(["-Wl,-s"]) else []
            openmp = ["-fopenmp"] if self.takes(["-fopenmp"], "#include <omp.h>") else []
        flags = {f"cnn_core._engine_{level}": extra for level, extra in levels.items()}
        compact = ["cnn_core._engine", "cnn_core._engine_v3"] if X86_64 and levels is UNIX_LEVELS else []
        self.extensions[:] = self.built(flags)
        # Here rather than in the call of setup(), which also runs for an sdist and for the metadata alone.
        made = cythonize(self.extensions, build_dir=f"{BUILD}/cython", compiler_directives=DIRECTIVES)
        sources = {extension.name: extension.sources for extension in made}
        for extension in self.extensions:
            extension.sources = sources[extension.name]
            is_engine = "_engine" in extension.name  # whose loops are looked up by name in tests
            extra = flags.get(extension.name, [] if is_engine else small)
            if is_engine and levels is UNIX_LEVELS:
                more = [*UNIX_WHOLE, *(UNIX_COMPACT if extension.name in compact else [])]
                extra = [*extra, *(flag for flag in more if self.takes([flag])), *(UNIX_CHECKED if CHECKED else [])]
            extension.extra_compile_args = [*common, *openmp, *extra]
            extension.extra_link_args = openmp if is_engine else [*openmp, *bare]
        super().build_extensions()

    def built(self, flags: dict[str, list[str]]) -> list[Extension]:
        """The extensions that the compiler and CNN_ENGINES leave; `flags` are those of engines, best last."""
        # A compiler may be too old for an engine's flags: the package does without that engine.
        made = [extension for extension in self.extensions if self.takes(flags.get(extension.name, []))]
        if not BEST_ONLY:
            return made
        run = [name for name in flags if self.takes([], '#include "cpu_level.h"', f"cnn_cpu_level() < {name[-1]}")]
        best = [extension.name for extension in made if extension.name in ["cnn_core._engine", *run]][-1]
        return [extension for extension in made if "_engine" not in extension.name or extension.name == best]

    def takes(self, flags: list[str], line: str = "", fails: str = "") -> bool:
        """Whether a program with that line compiles and links with those flags, and runs without that failure."""
        with tempfile.TemporaryDirectory() as folder:
            source, program = Path(folder, "probe.c"), Path(folder, "probe")
            source.write_text(f"{line}\nint main(void) {{ return {fails or 0}; }}\n")
            try:
                objects = self.compiler.compile([str(source)], folder, include_dirs=["cnn_core"], extra_postargs=flags)
                self.compiler.link_executable(objects, str(program), extra_postargs=flags)
            except (CompileError, LinkError):
                return False
            return not fails or subprocess.run([program], check=False).returncode == 0


def date_of_sources() -> str | None:
    """Seconds since 1970: of the last commit, or, in an unpacked sdist, of its files; None where neither is known."""
    unpacked = Path("PKG-INFO")
    if unpacked.exists():
        return str(int(unpacked.stat().st_mtime))
    try:
        done = subprocess.run(["git", "log", "-1", "--format=%ct"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def mode_of(path: Path) -> int:
    """As git knows it: what may be executed, and what may not, whatever the umask of the checkout."""
    return 0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644


class PackSources(sdist):
    """Packs the sdist in the order of names, with one date, and no trace of who packed it."""

    def make_archive(self, base_name: str, format: str, root_dir: Any = None, base_dir: Any = None, **more: Any) -> Any:
        date = os.environ.get("SOURCE_DATE_EPOCH")
        if format != "gztar" or date is None:
            return super().make_archive(base_name, format, root_dir, base_dir, **more)
        archive, folder = f"{base_name}.tar.gz", Path(base_dir)
        self.mkpath(os.path.dirname(archive))
        with (
            open(archive, "wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=int(date)) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for path in sorted([folder, *folder.rglob("*")]):
                member = tar.gettarinfo(path)
                member.mtime, member.mode = int(date), mode_of(path)
                member.uid = member.gid = 0
                member.uname = member.gname = ""
                with open(os.devnull if path.is_dir() else path, "rb") as content:
                    tar.addfile(member, content)
        return archive


class PackWheel(bdist_wheel):
    """Packs files with the modes that git knows; setuptools takes dates from SOURCE_DATE_EPOCH and sorts names."""

    def write_wheelfile(self, *args: Any, **kwargs: Any) -> None:
        super().write_wheelfile(*args, **kwargs)  # the last of what run() does before it packs the folder
        for path in Path(self.bdist_dir).rglob("*"):
            path.chmod(mode_of(path))


if (date := date_of_sources()) is not None:
    os.environ.setdefault("SOURCE_DATE_EPOCH", date)

# The engine is inlined from every .pxd, .pxi and .h, and the builds for other instruction sets include its source.
inlined = sorted(str(path) for kind in ("*.pxd", "*.pxi", "*.h") for path in Path("cnn_core").glob(kind))
settings = {
    "depends": [*inlined, "cnn_core/_engine.pyx"],
    "include_dirs": ["cnn_core", np.get_include()],
    "define_macros": [("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
}
names = MODULES + [f"_engine_{level}" for level in UNIX_LEVELS if X86_64]
extensions = [Extension(f"cnn_core.{name}", [f"cnn_core/{name}.pyx"], **settings) for name in names]
commands = {"build_ext": BuildCore, "sdist": PackSources, "bdist_wheel": PackWheel}
setup(ext_modules=extensions, cmdclass=commands, options={"build": {"build_base": BUILD}})
