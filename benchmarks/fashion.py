"""`ImageClassifier` on Fashion-MNIST (Xiao, Rasul & Vollgraf 2017): accuracy on the 10,000 test images, and seconds.

    python benchmarks/fashion.py FOLDER [--effort fast default best] [--threads 2] [--held-out]

FOLDER holds the four files of the set, *-images-idx3-ubyte.gz and *-labels-idx1-ubyte.gz. With --held-out the test
images are left alone: 50,000 training images teach, and the accuracy is that on the other 10,000.
"""

from __future__ import annotations

import argparse
import gzip
import time
from pathlib import Path
from typing import Any

import numpy as np

import cnn

BARS = {"fast": (0.925, 90.0), "default": (0.935, 300.0)}  # accuracy, seconds


def read(path: Path) -> np.ndarray[Any, Any]:
    """The bytes of an IDX file."""
    content = gzip.decompress(path.read_bytes())
    shape = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(content[3])]
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--effort", nargs="+", default=["fast", "default"], choices=["fast", "default", "best"])
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=None, help="instead of those of the effort")
    parser.add_argument("--held-out", action="store_true", help="leave the test images alone")
    parser.add_argument("--verbose", type=int, default=0)
    arguments = parser.parse_args()
    X, y = (read(arguments.folder / f"train-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
    if arguments.held_out:
        order, kept = np.random.default_rng(0).permutation(len(X)), len(X) * 5 // 6
        X, X_test, y, y_test = X[order[:kept]], X[order[kept:]], y[order[:kept]], y[order[kept:]]
    else:
        X_test, y_test = (read(arguments.folder / f"t10k-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
    print("| effort | epochs | changes | seconds | accuracy | bar |\n| --- | ---: | --- | ---: | ---: | --- |")
    for effort in arguments.effort:
        model = cnn.ImageClassifier(
            effort, epochs=arguments.epochs, random_state=arguments.seed, n_threads=arguments.threads,
            verbose=arguments.verbose,
        )  # fmt: skip
        start = time.perf_counter()
        model.fit(X, y)
        seconds = time.perf_counter() - start
        accuracy = model.score(X_test, y_test)
        least, longest = BARS.get(effort, (0.0, np.inf))
        bar = f"{least:.1%} in {longest:.0f} s: {'met' if accuracy >= least and seconds <= longest else 'MISSED'}"
        changes = ", ".join(map(repr, model.augment_)) or "none"
        print(f"| {effort} | {model.n_iter_} | {changes} | {seconds:.1f} | {accuracy:.2%} | "
              f"{bar if effort in BARS else '-'} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
