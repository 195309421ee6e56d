"""The first dense layer on compact rows (staircases by lookup) beside the same layer on the dense form.

    python benchmarks/staircase.py [--rounds 30] [--threads 1] [--dtype float32] [--quick]

First the layer alone, forward, backward and gradient of a minibatch with a squared loss on its outputs, for several
sizes; then an epoch of a network as a table has it, 3 x 128 on eight columns. The two take turns, the median counts.
Gradients are compared, too. At the end the bar is printed, met or missed: at 96 bins and 8 columns, 128 units and a
batch of 256, three times as fast as dense, the same numbers to rounding.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import machine
import numpy as np

import cnn
from cnn.runtime import passes
from cnn.runtime.compact import Layout, compact
from cnn.runtime.data import prepare
from cnn.runtime.sparse import SparseRows

COLUMNS, ROUNDING = 8, {"float32": 1e-5, "float64": 1e-13}
# bins of a column, units, batch; the first one has the bar
SIZES = [(96, 128, 256), (48, 128, 256), (24, 128, 256), (12, 128, 256), (6, 128, 256), (3, 128, 256), (96, 64, 256),
         (96, 256, 256), (96, 16, 256), (96, 128, 64)]  # fmt: skip
BAR = 3.0


def rows(n: int, bins: int, dtype: str) -> tuple[SparseRows, Any]:
    """Eight columns that are staircases, and their dense form."""
    rng = np.random.default_rng(0)
    stairs = tuple((bins * i, bins * (i + 1)) for i in range(COLUMNS))
    X = compact(Layout(bins * COLUMNS, stairs=stairs), np.dtype(dtype), bins=rng.integers(0, bins, (n, COLUMNS)),
                heights=rng.random((n, COLUMNS)))  # fmt: skip
    return X, X.to_scipy().toarray()


def gradient_of(net: cnn.Network, X: Any, y: Any, threads: int) -> Callable[[], object]:
    """A function that makes one pass forward and back, in memory that is there."""
    data = prepare(X, y, None, net.loss, net.dtype, net.plan.n_inputs, net.n_outputs)
    plan = net.plan.taking(data.X)
    training = passes.whole(passes.step_buffers(net, plan, plan.cut(len(data)), threads), data.X, data)
    return lambda: training.loss_and_gradient(True, threads)


def medians(calls: list[Callable[[], object]], rounds: int) -> list[float]:
    """Seconds of each, by turns."""
    found: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, times in zip(calls, found, strict=True):
            call()  # what the others have left in the caches is not its own
            start = time.perf_counter()
            for _ in range(3):
                call()
            times.append((time.perf_counter() - start) / 3)
    return [statistics.median(times) for times in found]


def layer(bins: int, units: int, batch: int, options: argparse.Namespace) -> tuple[float, float]:
    """(times as fast, largest difference of the gradients by their largest number)."""
    X, dense = rows(batch, bins, options.dtype)
    y = np.random.default_rng(1).normal(size=(batch, units))
    net = cnn.Network([cnn.Dense(units, "relu")], dtype=options.dtype, seed=0).build(dense.shape[1])
    slow, fast = medians([gradient_of(net, x, y, options.threads) for x in (dense, X)], options.rounds)
    expected, found = (net.loss_and_gradient(x, y)[1] for x in (dense, X))
    size = max(np.abs(value).max() for value in expected.values())
    apart = max(np.abs(value - found[name]).max() for name, value in expected.items()) / size
    print(f"{bins:4} {units:5} {batch:5} {1e6 * slow:10.0f} {1e6 * fast:10.0f} {slow / fast:7.2f} {apart:10.1e}",
          flush=True)  # fmt: skip
    return slow / fast, float(apart)


def epoch(options: argparse.Namespace) -> None:
    """An epoch of 3 x 128 on 96 bins, batch 256, Adam; and a prediction of all rows."""
    X, dense = rows(4096, 96, options.dtype)
    y = np.random.default_rng(1).normal(size=len(dense))
    layers = [layer for _ in range(3) for layer in (cnn.Dense(128, "mish"), cnn.Dropout(0.25))]
    nets = [cnn.Network([*layers, cnn.Dense(1)], dtype=options.dtype, seed=0).build(dense.shape[1]) for _ in range(2)]
    settings = {"epochs": 1, "batch_size": 256, "verbose": 0, "metrics": (), "n_threads": options.threads}
    slow, fast = medians(
        [lambda: nets[0].fit(dense, y, **settings), lambda: nets[1].fit(X, y, **settings)], options.rounds // 5 + 1
    )
    print(f"an epoch of 4,096 rows, 3 x 128 mish: dense {1e3 * slow:.1f} ms, compact {1e3 * fast:.1f} ms, "
          f"{slow / fast:.2f} times as fast")  # fmt: skip
    calls = [lambda: nets[0].predict(dense, n_threads=options.threads),
             lambda: nets[0].predict(X, n_threads=options.threads)]  # fmt: skip
    slow, fast = medians(calls, options.rounds)
    print(f"a prediction of them: dense {1e3 * slow:.2f} ms, compact {1e3 * fast:.2f} ms, "
          f"{slow / fast:.2f} times as fast")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=list(ROUNDING), default="float32")
    parser.add_argument("--quick", action="store_true", help="the size of the bar alone")
    options = parser.parse_args()
    print(", ".join(f"{key} {value}" for key, value in machine.description().items()))
    print("bins units batch   dense us compact us   ratio difference")
    found = [layer(*size, options) for size in (SIZES[:1] if options.quick else SIZES)]
    if not options.quick:
        epoch(options)
    (ratio, apart), bound = found[0], ROUNDING[options.dtype]
    met = ratio >= BAR and apart <= bound
    print(f"{'met' if met else 'missed'}: {ratio:.2f} times as fast as dense at 96 bins, at least {BAR:g}; gradients "
          f"{apart:.1e} apart, at most {bound:g}")  # fmt: skip
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
