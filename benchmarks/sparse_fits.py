"""Fits on sparse X beside scikit-learn's: Adult as CSR, a synthetic text, the memory of a fit on the text.

    python benchmarks/sparse_fits.py [--sets adult text memory] [--rounds 3] [--threads 1 2] [--json out.jsonl]

The same parameters, epochs and seeds, in float32; the two libraries take turns in this process, the best of several
rounds counts. For the memory each has a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import estimators
import machine
import numpy as np
import sklearn.neural_network as peer
from scipy import sparse
from threadpoolctl import threadpool_limits

import cnn

Rows = tuple[Any, Any, Any, Any]


def adult() -> Rows:
    X, X_test, y, y_test = estimators.adult()
    return sparse.csr_array(X), sparse.csr_array(X_test), y, y_test


def text() -> Rows:
    """In the sizes of 20 newsgroups: word frequencies by a power law, of each class with 200 words of its own."""
    rng = np.random.default_rng(0)
    rows, columns, words, classes = 13_000, 50_000, 50, 20
    y = rng.integers(0, classes, rows)
    common = np.minimum(columns * rng.power(0.5, (rows, words)), columns - 1).astype(np.int32)
    own = (columns // classes * y[:, None] + rng.integers(0, 200, (rows, words))).astype(np.int32)
    indices = np.sort(np.where(rng.random((rows, words)) < 0.2, own, common), axis=1)
    X = sparse.csr_array(
        (rng.exponential(size=indices.size).astype(np.float32), indices.ravel(), np.arange(0, indices.size + 1, words)),
        shape=(rows, columns),
    )
    return X[:11_000], X[11_000:], y[:11_000], y[11_000:]


SETS = {"adult": (adult, 5), "text": (text, 2)}  # what it is, epochs


def fit_seconds(module: Any, data: Rows, epochs: int, **options: Any) -> tuple[float, float]:
    """(seconds of a fit, test score)."""
    est = module.MLPClassifier(max_iter=epochs, tol=0, n_iter_no_change=epochs, random_state=0, **options)
    start = time.perf_counter()
    est.fit(data[0], data[2])
    return time.perf_counter() - start, float(est.score(data[1], data[3]))


def compare(name: str, rounds: int, threads: list[int]) -> dict[str, Any]:
    load, epochs = SETS[name]
    data = load()
    steps = epochs * -(-data[0].shape[0] // 200)
    found: dict[str, list[float]] = {}
    scores: dict[str, float] = {}
    for _ in range(rounds):
        for n in threads:
            with threadpool_limits(n, user_api="blas"):
                seconds, scores["scikit-learn"] = fit_seconds(peer, data, epochs)
                found.setdefault("scikit-learn", []).append(seconds)
            time.sleep(0.3)  # until its threads have stopped spinning
            seconds, scores["cnn"] = fit_seconds(cnn, data, epochs, n_threads=n)
            found.setdefault(f"cnn {n}", []).append(seconds)
    best = {who: min(times) for who, times in found.items()}
    ratios = {who: best["scikit-learn"] / seconds for who, seconds in best.items()}
    for who, seconds in best.items():
        print(f"{name:8} {who:13} {seconds:8.3f} s {1e6 * seconds / steps:8.1f} us a step {ratios[who]:6.1f} x "
              f"score {scores[who.split()[0]]:.4f}", flush=True)  # fmt: skip
    return {"set": f"sparse {name}", "epochs": epochs, "seconds": best, "ratios": ratios, "scores": scores}


def memory() -> dict[str, Any]:
    """What a fit on the text takes at its peak beyond the data, and beyond what the network itself is made of."""
    found = {}
    for who in ("cnn", "scikit-learn"):
        command = [sys.executable, __file__, "--memory-of", who]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[who] = json.loads(done.stdout)
        of = found[who]
        print(f"memory       {who:13} {of['peak']:6.1f} MB beyond the data ({of['data']:.1f} MB); weights, optimizer's "
              f"state and gradient are {of['network']:.1f} MB, the rest is {of['rest'] / of['data']:.2f} x the data",
              flush=True)  # fmt: skip
    return {"set": "memory", "megabytes": found}


def memory_of(who: str) -> None:
    """Prints the peak of the resident memory of a fit, with the rest of the memory that a first small fit needs there.

    The network is its parameters four times (weights, Adam's two numbers, the gradient).
    """
    X, _, y, _ = text()
    kind = (cnn if who == "cnn" else peer).MLPClassifier
    kind(max_iter=1, random_state=0).fit(X[:400, :500], y[:400])
    data = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = resident("VmRSS")
    est = kind(max_iter=1, random_state=0).fit(X, y)
    peak = resident("VmHWM") - before
    network = 4 * sum(a.nbytes for a in est.coefs_ + est.intercepts_)
    numbers = {"peak": peak, "data": data, "network": network, "rest": peak - network}
    print(json.dumps({name: round(n / 1e6, 2) for name, n in numbers.items()}))


def resident(field: str) -> int:
    """Bytes, of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=[*SETS, "memory"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="*", default=sorted({1, machine.cores()}))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.memory_of:
        memory_of(options.memory_of)
        return
    for name in options.sets:
        found = memory() if name == "memory" else compare(name, options.rounds, options.threads)
        if options.json is not None:
            with options.json.open("a") as file:
                file.write(json.dumps({**machine.description(), **found}) + "\n")


if __name__ == "__main__":
    main()
