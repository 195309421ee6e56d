"""Times the compiled kernels of the installed `cnn_core` at C level, on one core:

    python benchmarks/kernels/run.py [--json out.jsonl]

The products of the networks' layers, activations, losses, optimizers, the dropout mask and whole training steps, as
GFLOP/s, share of the peak of multiply-adds measured in the same run, and ns per element. The extension is built for
each run, in a temporary folder, with the flags of the engine that `cnn_core` has chosen (CNN_ISA chooses another).
"""

from __future__ import annotations

import argparse
import json
import sys
import timeit
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import cnn_core
from cnn.runtime.arena import aligned_zeros
from cnn.runtime.products import NARROWEST

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import machine
from networks import NETWORKS, problem
from peers import cnn_fit

from kernels import peaks
from kernels.build import build

ELEMENTS = 2048  # of an activation or a mask: in L1
PANEL, SPAN, DEPTH = 64, 48, 128  # wide.pxd: units that are computed together, back and forth, and terms at a time
GROUP = 16  # types.pxd: rows that stay together when a minibatch is cut
PARAMETERS = 8192  # of an optimizer's step, with its state: in L2
Result = dict[str, Any]


class Bench:
    """All measurements of one dtype; each method yields results, one for each line of the report."""

    def __init__(self, kernels: ModuleType, dtype: str, seconds: float) -> None:
        self.kernels, self.dtype, self.seconds = kernels, np.dtype(dtype), seconds
        self.rng = np.random.default_rng(0)
        self.peak = 1e9 * peaks.fma_gflops(kernels, 1, seconds, dtype)

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

    def products(self, networks: list[str]) -> Iterator[Result]:
        """Forward, weight gradient and input gradient of each layer, with the rows of the first slab, in the blocks in
        which the engine takes them, by its own kernels and, where it may ever ask BLAS, by that."""
        for network in (NETWORKS[name] for name in networks):
            cut = cnn_fit.described(network).plan.cut(network.batch_size)
            groups = -(-network.batch_size // GROUP) // cut.parts  # a chunk is whole groups of rows
            rows = min(cut.capacity, network.batch_size if cut.wide else max(groups, 1) * GROUP)
            ld = cnn_core.engine.row_stride(rows, self.zeros(1))
            for i, (m, n) in enumerate(pairwise(network.sizes)):
                for kind, name in enumerate(("forward", "weights", "inputs")[: 2 + (i > 0)]):
                    for way in ("blas", "tile") if min(m, n) >= NARROWEST else ("tile",):
                        m_block, n_block = m, n
                        if cut.wide:
                            depth = DEPTH if way == "tile" else max(m, n)  # BLAS cuts sums by itself
                            inputs, units = ((depth, SPAN), (PANEL, PANEL), (PANEL, depth))[kind]
                            m_block, n_block = min(m, inputs), min(n, units)
                        arrays = self.normal(m_block, n_block), self.normal(m_block, ld), self.normal(n_block, ld)
                        spare = self.zeros((n_block + 64) * ld)
                        best = self.kernels.layer_product(kind, way == "blas", rows, *arrays, spare, self.seconds)
                        case = f"{network.name}: {name}, {m} to {n}, {rows} rows"
                        result = self.arithmetic(way, case, best, 2 * rows * m_block * n_block)
                        yield {**result, "network": network.name, "layer": [m, n], "flops": 2 * rows * m * n}

    def activations(self, networks: list[str]) -> Iterator[Result]:
        z, a, delta = 2 * self.normal(ELEMENTS), self.zeros(ELEMENTS), self.zeros(ELEMENTS)
        for kind in cnn_core.Activation:
            best = self.kernels.activation_forward(kind, z, a, self.seconds)
            yield self.elements("activation", f"{kind.name.lower()} forward", best, ELEMENTS)
            best = self.kernels.activation_backward(kind, z, a, delta, self.seconds)
            yield self.elements("activation", f"{kind.name.lower()} backward", best, ELEMENTS)

    def losses(self, networks: list[str]) -> Iterator[Result]:
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

    def optimizers(self, networks: list[str]) -> Iterator[Result]:
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

    def dropout(self, networks: list[str]) -> Iterator[Result]:
        best = self.kernels.dropout_mask(self.zeros(ELEMENTS), self.seconds)
        yield self.elements("dropout", "mask", best, ELEMENTS)

    def steps(self, networks: list[str]) -> Iterator[Result]:
        """Whole steps on one thread, in calls of the core for many epochs of the rows as they stand."""
        for network in (NETWORKS[name] for name in networks):
            run = cnn_fit.Loop(problem(network), 1, self.dtype.name).run
            best = min(timeit.repeat(run, number=1, repeat=2))
            n = max(1, round(self.seconds / best))
            best = min(timeit.repeat(run, number=n, repeat=5)) / n / network.n_batches
            yield self.arithmetic("step", f"{network.name}, batch {network.batch_size}", best, network.flops)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write one JSON line for each measurement there")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--seconds", type=float, default=0.05, help="for each measurement (default %(default)s)")
    groups = ["products", "activations", "losses", "optimizers", "dropout", "steps"]
    parser.add_argument("--only", nargs="+", choices=groups, default=groups)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS), metavar="NAME",
                        help=", ".join(NETWORKS))  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="whether it works: compiles faster, slower code")
    options = parser.parse_args()
    kernels = build(options.quick)
    about = machine.description()
    with threadpool_limits(1, user_api="blas"):
        bench = Bench(kernels, options.dtype, options.seconds)
        print(f"{about['cpu']}, load {about['load']}, {cnn_core.isa}, {options.dtype}: "
              f"peak of one core {bench.peak / 1e9:.1f} GFLOP/s")  # fmt: skip
        lines = []
        head = {"benchmark": "kernels", "dtype": options.dtype, "peak_gflops": bench.peak / 1e9}
        for group in options.only:
            for result in getattr(bench, group)(options.networks):
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
