"""Dense X with few non-zeros: a fit of two epochs with its zeros left out, against one of the dense array.

    python benchmarks/zeros.py [--rounds 3] [--threads 1] [--dtype float32] [--json out.jsonl]

For each size of the first layer and batch, and several shares of non-zeros: how many times as fast a fit is without
zeros, the search for them included. "-" stands where `cnn.runtime.sparse.largest_share` keeps the array; elsewhere the
ratio should be 1 or more.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path
from unittest import mock

import machine
import numpy as np

import cnn
from cnn.runtime import sparse

INPUTS, UNITS = (32, 64, 96, 128, 512, 1024), (16, 32, 64, 100, 128, 512)
SHARES, BATCHES = (0.02, 0.05, 0.1, 0.2, 0.3), (32, 256)
ROWS = 4096


def ratio(inputs: int, units: int, share: float, batch: int, options: argparse.Namespace) -> float:
    rng = np.random.default_rng(0)
    X = np.where(rng.random((ROWS, inputs)) < share, rng.normal(size=(ROWS, inputs)), 0).astype(options.dtype)
    y = rng.normal(size=ROWS)
    net = cnn.Network([cnn.Dense(units, "relu"), cnn.Dense(1)], dtype=options.dtype, seed=0).build(inputs)
    best = {0.0: np.inf, 1.0: np.inf}
    for _ in range(options.rounds):
        for largest in best:
            with mock.patch.object(sparse, "largest_share", lambda *sizes, largest=largest: largest):
                start = time.perf_counter()
                net.fit(X, y, batch_size=batch, epochs=options.epochs, verbose=0, metrics=(), n_threads=options.threads)
                best[largest] = min(best[largest], time.perf_counter() - start)
    return best[0.0] / best[1.0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2, help="more than one (default %(default)s)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--json", type=Path, help="append a JSON line for each size")
    options = parser.parse_args()
    print(", ".join(f"{key} {value}" for key, value in machine.description().items()))
    print(f"{'inputs':>6} {'units':>5} {'batch':>5}", *(f"{share:6.0%}" for share in SHARES))
    for inputs, units, batch in itertools.product(INPUTS, UNITS, BATCHES):
        found = {share: ratio(inputs, units, share, batch, options) for share in SHARES}
        largest = sparse.largest_share(inputs, units)
        cells = (f"{value:5.2f}{' ' if share <= largest else '-'}" for share, value in found.items())
        print(f"{inputs:6} {units:5} {batch:5}", *cells, flush=True)
        if options.json is not None:
            with options.json.open("a") as file:
                line = {"inputs": inputs, "units": units, "batch": batch, "ratios": found}
                file.write(json.dumps({**machine.description(), "dtype": options.dtype, **line}) + "\n")


if __name__ == "__main__":
    main()
