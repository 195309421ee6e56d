"""Our own products of dense layers against SciPy's BLAS: steps and predictions of networks of several widths.

    python benchmarks/products.py
    OPENBLAS_CORETYPE=Nehalem CNN_ISA=baseline python benchmarks/products.py --dtype float64

Prints the time by our own kernels divided by that by BLAS: above 1, BLAS is the faster one. The two take turns.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from typing import Any

import numpy as np

import cnn
import cnn_core

# Widths, and rows of a step.
CASES: tuple[tuple[tuple[int, ...], int], ...] = (
    ((16, 32, 32, 1), 64), ((32, 64, 64, 8), 128), ((54, 128, 128, 7), 256), ((54, 256, 128, 7), 256),
    ((256, 256, 256, 10), 128), ((512, 512, 512, 10), 128), ((784, 512, 256, 10), 128), ((1024, 1024, 1024, 10), 256),
    ((1024, 2048, 2048, 1000), 512),
)  # fmt: skip
FLOPS = 1e9  # of an epoch


def network(widths: tuple[int, ...], dtype: str) -> cnn.Network:
    layers = [*(cnn.Dense(units, "relu") for units in widths[1:-1]), cnn.Dense(widths[-1])]
    return cnn.Network(layers, optimizer=cnn.SGD(1e-6), dtype=dtype, seed=0).build(widths[0])


def measure(widths: tuple[int, ...], batch: int, dtype: str, n_threads: int, rounds: int) -> dict[str, list[float]]:
    """[seconds of a step, seconds of predicting those rows] by each."""
    rng = np.random.default_rng(0)
    n = batch * max(1, int(FLOPS / (6 * batch * sum(a * b for a, b in pairwise(widths)))))
    X, y = rng.normal(size=(n, widths[0])).astype(dtype), rng.normal(size=(n, widths[-1])).astype(dtype)
    nets: dict[Any, cnn.Network] = {}
    for by in ("own", "blas"):
        cnn.set_products(by)  # type: ignore[arg-type]
        nets[by] = network(widths, dtype)
    best = {by: [np.inf, np.inf] for by in nets}
    for _ in range(rounds):
        for by, net in nets.items():
            history = net.fit(X, y, epochs=3, batch_size=batch, verbose=0, metrics=(), n_threads=n_threads)
            start = time.perf_counter()
            net.predict(X, n_threads=n_threads)
            seconds = time.perf_counter() - start
            best[by] = [min(best[by][0], min(history.seconds) * batch / n), min(best[by][1], seconds * batch / n)]
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--quick", action="store_true", help="the two smallest networks alone")
    options = parser.parse_args()
    print(f"{cnn_core.isa}, {options.dtype}, {options.threads} threads")
    print(f"{'network':24} batch  step, µs  own / BLAS  predict")
    for widths, batch in CASES[: 2 if options.quick else None]:
        best = measure(widths, batch, options.dtype, options.threads, options.rounds)
        step, prediction = (own / by_blas for own, by_blas in zip(best["own"], best["blas"], strict=True))
        name = "-".join(map(str, widths))
        print(f"{name:24} {batch:5} {best['own'][0] * 1e6:9.1f} {step:11.2f} {prediction:8.2f}")


if __name__ == "__main__":
    main()
