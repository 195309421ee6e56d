"""Times the compiled kernels of the installed `cnn_core` at C level, on one core:

    python benchmarks/kernels/run.py [--json out.jsonl]

The products of six networks' layers, activations, losses, optimizers, the dropout mask and whole training steps, as
GFLOP/s, share of the peak of multiply-adds measured in the same run, and ns per element. The extension is built for
each run, in a temporary folder, with the flags of the engine that `cnn_core` has chosen (CNN_ISA chooses another).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import cnn_core
from cnn import layers, losses, optimizers, plan
from cnn.arena import aligned_zeros

try:
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.errors import CCompilerError, PlatformError
except ImportError as missing:
    sys.exit(f"this benchmark compiles itself and needs Cython and setuptools: {missing}")

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import machine  # noqa: E402
from networks import NETWORKS, Network, problem  # noqa: E402

ELEMENTS = 2048  # of an activation or a mask: in L1
PARAMETERS = 8192  # of an optimizer's step, with its state: in L2
Result = dict[str, Any]


def flags() -> list[str]:
    """How setup.py compiles the engine in use; the wheel does not carry them."""
    if sys.platform == "win32":
        return ["/O2", "/fp:contract", *{"v3": ["/arch:AVX2"], "v4": ["/arch:AVX512"]}.get(cnn_core.isa, [])]
    levels = {"v3": ["-march=x86-64-v3"], "v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"]}
    common = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-g0", "-Wno-unused-function"]
    return [*common, *levels.get(cnn_core.isa, [])]


def build(folder: Path) -> ModuleType:
    """The compiled kernels.pyx, against the .pxd files that lie beside the imported `cnn_core`."""
    for name in ("kernels.pyx", "timing.h"):
        shutil.copy(HERE / name, folder)
    core = Path(cnn_core.__file__).parent
    extension = Extension(
        "kernels", [str(folder / "kernels.pyx")], include_dirs=[str(core)], extra_compile_args=flags()
    )
    directives = {"language_level": 3, "boundscheck": False, "wraparound": False, "cdivision": True}
    (extension,) = cythonize([extension], include_path=[str(core.parent)], compiler_directives=directives, quiet=True)
    command = Distribution({"ext_modules": [extension]}).get_command_obj("build_ext")
    command.build_lib = command.build_temp = str(folder)
    command.ensure_finalized()
    command.run()
    spec = importlib.util.spec_from_file_location("kernels", command.get_ext_fullpath("kernels"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Bench:
    """All measurements of one dtype; each method yields results, one for each line of the report."""

    def __init__(self, kernels: ModuleType, dtype: str, seconds: float) -> None:
        self.kernels, self.dtype, self.seconds = kernels, np.dtype(dtype), seconds
        self.rng = np.random.default_rng(0)
        self.peak = kernels.fma_peak(dtype == "float64", 10 * seconds)

    def normal(self, *shape: int) -> np.ndarray:
        out = aligned_zeros(int(np.prod(shape)), self.dtype).reshape(shape)
        out[...] = self.rng.standard_normal(shape)
        return out

    def zeros(self, *shape: int) -> np.ndarray:
        return aligned_zeros(int(np.prod(shape)), self.dtype).reshape(shape)

    def arithmetic(self, kernel: str, case: str, seconds: float, flops: float) -> Result:
        rate = flops / seconds
        return {"kernel": kernel, "case": case, "us": 1e6 * seconds, "gflops": rate / 1e9, "share": rate / self.peak}

    def elements(self, kernel: str, case: str, seconds: float, n: int) -> Result:
        return {"kernel": kernel, "case": case, "us": 1e6 * seconds, "ns_per_element": 1e9 * seconds / n}

    def products(self) -> Iterator[Result]:
        """Forward, weight gradient and input gradient of each layer, with the rows that a slab has."""
        for network in NETWORKS.values():
            n_chunks, capacity = network_plan(network).chunks(network.batch_size)
            rows = min(capacity, -(-network.batch_size // n_chunks))
            ld = cnn_core.engine.row_stride(rows, self.zeros(1))
            for i, (m, n) in enumerate(pairwise(network.sizes)):
                arrays = self.normal(m, n), self.normal(m, ld), self.normal(n, ld), self.zeros((n + 64) * ld)
                for kind, name in enumerate(("forward", "weights", "inputs")[: 2 + (i > 0)]):
                    for way in ("blas", "tile"):
                        best = self.kernels.layer_product(kind, way == "blas", *arrays, self.seconds)
                        case = f"{network.name}: {name}, {m} to {n}, {rows} rows"
                        yield self.arithmetic(way, case, best, 2 * rows * m * n)

    def activations(self) -> Iterator[Result]:
        z, a, delta = 2 * self.normal(ELEMENTS), self.zeros(ELEMENTS), self.zeros(ELEMENTS)
        for kind in cnn_core.Activation:
            best = self.kernels.activation_forward(kind, z, a, self.seconds)
            yield self.elements("activation", f"{kind.name.lower()} forward", best, ELEMENTS)
            best = self.kernels.activation_backward(kind, z, a, delta, self.seconds)
            yield self.elements("activation", f"{kind.name.lower()} backward", best, ELEMENTS)

    def losses(self) -> Iterator[Result]:
        for kind in cnn_core.Loss:
            rows, k = (ELEMENTS // 16, 16) if kind == cnn_core.Loss.CROSS_ENTROPY else (ELEMENTS, 1)
            spec = np.zeros(1, cnn_core.loss_dtype)
            spec["scale"] = 1.0
            spec["kind"], spec["n_outputs"], spec["parameter"] = kind, k, 0.5
            classes = self.rng.integers(0, k, rows).astype(np.int32) if k > 1 else None
            targets = None if k > 1 else (self.normal(k, rows) > 0).astype(self.dtype)
            value, delta = self.zeros(k, rows), self.zeros(k, rows)
            best = self.kernels.loss_block(
                spec, self.normal(k, rows), targets, classes, value, delta, self.seconds
            )
            yield self.elements("loss", f"{kind.name.lower()} ({rows}, {k})", best, ELEMENTS)

    def optimizers(self) -> Iterator[Result]:
        variants: dict[str, dict[str, float]] = {
            "sgd": {}, "rmsprop": {}, "adagrad": {}, "adadelta": {}, "adam": {}, "nadam": {}, "lion": {},
            "sgd, momentum": {"momentum": 0.9}, "sgd, nesterov": {"momentum": 0.9, "nesterov": 1},
            "rmsprop, momentum": {"momentum": 0.9}, "adam, amsgrad": {"amsgrad": 1},
            "adam, decoupled decay": {"decoupled": 1, "weight_decay": 1e-6},
        }  # fmt: skip
        missing = {kind.name.lower() for kind in cnn_core.Optimizer} - set(variants)
        for name, fields in {**variants, **{name: {} for name in missing}}.items():
            spec = np.zeros(1, cnn_core.optimizer_dtype)
            spec["kind"] = cnn_core.Optimizer[name.partition(",")[0].upper()]
            usual = {"beta_1": 0.9, "beta_2": 0.999, "rho": 0.9, "epsilon": 1e-8}
            for field, number in {**usual, **fields}.items():
                spec[field] = number
            best = self.kernels.optimizer_update(
                spec, self.normal(PARAMETERS), self.normal(PARAMETERS), self.zeros(3 * PARAMETERS), np.zeros(4),
                self.seconds,
            )  # fmt: skip
            yield self.elements("optimizer", name, best, PARAMETERS)

    def dropout(self) -> Iterator[Result]:
        best = self.kernels.dropout_mask(self.zeros(ELEMENTS), self.seconds)
        yield self.elements("dropout", "mask", best, ELEMENTS)

    def steps(self) -> Iterator[Result]:
        """Whole steps on one thread: the time of an epoch, without shuffling, over its steps."""
        for network in NETWORKS.values():
            best = self.epoch(network) / network.n_batches
            yield self.arithmetic("step", f"{network.name}, batch {network.batch_size}", best, network.flops)

    def epoch(self, network: Network) -> float:
        p, data = network_plan(network), problem(network)
        n_chunks, capacity = p.chunks(network.batch_size)
        parameters = self.zeros(p.size)
        for i, (W, b) in enumerate(data.parameters):
            for name, array in ((f"layers.{i}.weights", W), (f"layers.{i}.biases", b)):
                at, shape = p.names[name]
                parameters[at : at + array.size].reshape(shape)[...] = array
        real = network.loss == "mse"
        return self.kernels.epoch(
            p.layers, p.workspace(capacity), p.segments, p.loss, p.optimizer, parameters, self.zeros(n_chunks * p.size),
            self.zeros(max(1, p.slots) * p.size), self.zeros(p.workspace_elements(capacity)),
            data.X.astype(self.dtype), data.y[:, None].astype(self.dtype) if real else None,
            None if real else data.y.astype(np.int32), network.batch_size,
            np.full(network.n_batches, network.learning_rate), self.seconds,
        )  # fmt: skip


def network_plan(network: Network) -> plan.Plan:
    described = [layers.Dense(n, f) for n, f in zip(network.sizes[1:], network.activations(), strict=True)]
    optimizer = optimizers.Adam() if network.optimizer == "adam" else optimizers.SGD()
    return plan.build(described, network.sizes[0], losses.get(network.loss), optimizer)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write one JSON line for each measurement there")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--seconds", type=float, default=0.05, help="for each measurement (default %(default)s)")
    groups = ["products", "activations", "losses", "optimizers", "dropout", "steps"]
    parser.add_argument("--only", nargs="+", choices=groups, default=groups)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            kernels = build(Path(folder))
        except (CCompilerError, PlatformError) as error:
            print(f"this benchmark needs a C compiler: {error}", file=sys.stderr)
            return 1
    about = machine.description()
    with threadpool_limits(1, user_api="blas"):
        bench = Bench(kernels, options.dtype, options.seconds)
        print(f"{about['cpu']}, load {about['load']}, {cnn_core.isa}, {options.dtype}: "
              f"peak of one core {bench.peak / 1e9:.1f} GFLOP/s")  # fmt: skip
        lines = []
        head = {"benchmark": "kernels", "dtype": options.dtype, "peak_gflops": bench.peak / 1e9}
        for group in options.only:
            for result in getattr(bench, group)():
                lines.append({**head, **result})
                number = (
                    f"{result['gflops']:8.1f} GFLOP/s  {result['share']:4.0%} of peak"
                    if "gflops" in result
                    else f"{result['ns_per_element']:8.3f} ns/element"
                )
                print(f"{result['kernel']:<11}{result['case']:<58}{result['us']:12.3f} us  {number}", flush=True)
    if options.json:
        options.json.write_text("".join(json.dumps({**line, "machine": about}) + "\n" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
