"""How long a fit takes to end after Ctrl-C: one JSON line a network, milliseconds from the signal to the exception.

    python benchmarks/interrupt.py [--repeats 20] [--threads N]

The signal is raised by a timer at random moments. "first" counts from a fresh network, whose first call into the core
has no measured duration to go by; the bar is 200 ms.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import threading
import time
from typing import Any

import numpy as np

import cnn

# name: (inputs, hidden units, outputs, rows, batch size or None for all rows)
NETWORKS: dict[str, tuple[int, tuple[int, ...], int, int, int | None]] = {
    "10-5-1, batch 1": (10, (5,), 1, 100_000, 1),
    "10-5-1, batch 100": (10, (5,), 1, 100_000, 100),
    "54-256-128-7, batch 256": (54, (256, 128), 7, 200_000, 256),
    "54-256-128-7, all rows": (54, (256, 128), 7, 200_000, None),
    "1024-2048-2048-1000, batch 512": (1024, (2048, 2048), 1000, 4096, 512),
}


def latency(
    net: cnn.Network, X: np.ndarray, y: np.ndarray, batch: int | None, wait: float, threads: int | None
) -> float:
    """Milliseconds from the signal until `fit` has raised KeyboardInterrupt."""
    sent = [0.0]

    def send() -> None:
        sent[0] = time.perf_counter()
        signal.raise_signal(signal.SIGINT)

    timer = threading.Timer(wait, send)
    timer.start()
    try:
        net.fit(X, y, epochs=10**6, batch_size=batch, validation_split=0.1, verbose=0, n_threads=threads)
    except KeyboardInterrupt:
        return 1e3 * (time.perf_counter() - sent[0])
    raise RuntimeError("the fit ended before the signal")


def measure(name: str, repeats: int, threads: int | None) -> dict[str, Any]:
    inputs, hidden, outputs, rows, batch = NETWORKS[name]
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(rows, inputs)).astype(np.float32), rng.normal(size=(rows, outputs)).astype(np.float32)
    layers = [*(cnn.Dense(units, "tanh") for units in hidden), cnn.Dense(outputs)]
    first = []
    chance = random.Random(0)
    for _ in range(max(repeats // 5, 2)):
        net = cnn.Network(layers, seed=0)
        first.append(latency(net, X, y, batch, chance.uniform(0.05, 0.3), threads))
    later = [latency(net, X, y, batch, chance.uniform(0.1, 0.6), threads) for _ in range(repeats)]
    both = first + later
    return {"network": name, "threads": threads, "first_max_ms": round(max(first), 1),
            "median_ms": round(float(np.median(later)), 1), "max_ms": round(max(both), 1),
            "within_200_ms": max(both) < 200}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=None, help="default: as many as fit itself would take")
    parser.add_argument("--only", default="", help="networks whose name contains this")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored under nohup and in a script's background
    for name in NETWORKS:
        if arguments.only in name:
            print(json.dumps(measure(name, arguments.repeats, arguments.threads)), flush=True)


if __name__ == "__main__":
    main()
