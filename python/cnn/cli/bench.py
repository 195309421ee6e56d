"""`cnn bench`: how fast this machine trains."""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np

from cnn import layers, network, optimizers
from cnn._common import threads
from cnn.cli.screen import Screen, figure
from cnn.inspect import reports

# inputs, hidden widths, outputs, rows of a step
_CASES: tuple[tuple[int, tuple[int, ...], int, int], ...] = (
    (8, (32, 32), 1, 32),
    (16, (128, 128, 64), 1, 128),
    (54, (256, 128), 7, 256),
    (784, (512, 256), 10, 128),
    (512, (1024, 1024), 10, 512),
)


def bench(screen: Screen, seconds: float, n_threads: int | None) -> None:
    """Steps a second of some networks, and the arithmetic of their matrix products."""
    config = reports.config()
    used = n_threads or threads.available()
    found = [_measure(*case, seconds=seconds, n_threads=n_threads) for case in _CASES]
    rows = [
        [f["network"], str(f["batch"]), figure(f["microseconds"]), f"{f['steps']:,.0f}", f"{f['gflops']:,.1f}"]
        for f in found
    ]  # fmt: skip
    screen.table(
        f"{config['instruction set']}, up to {used} threads, float32, relu, AdamW",
        ["network", "rows a step", "µs a step", "steps/s", "GFLOP/s"], rows,
    )  # fmt: skip
    screen.result({"config": config, "threads": used, "networks": found})


def _measure(
    inputs: int, hidden: tuple[int, ...], outputs: int, batch: int, seconds: float, n_threads: int | None
) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    widths = [inputs, *hidden, outputs]
    products = [a * b for a, b in itertools.pairwise(widths)]
    # Forward, and the gradients of weights and inputs; the first layer has no gradient of its inputs.
    flops = 2 * batch * (3 * sum(products) - products[0])
    n = batch * min(max(int(2e9 / flops), 4), 1000)  # an epoch takes some ten milliseconds
    X = rng.normal(size=(n, inputs)).astype(np.float32)
    y: Any = rng.normal(size=n) if outputs == 1 else rng.integers(0, outputs, n)
    stack = [layers.Dense(units, "relu") for units in hidden]
    net = network.Network(
        [*stack, layers.Dense(outputs)], loss="mse" if outputs == 1 else "cross_entropy",
        optimizer=optimizers.AdamW(1e-4), seed=0,
    )  # fmt: skip
    settings: dict[str, Any] = {"batch_size": batch, "metrics": (), "verbose": 0, "n_threads": n_threads}
    net.fit(X, y, epochs=1, **settings)
    best, begin = np.inf, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        best = min(best, min(net.fit(X, y, epochs=2, **settings).seconds))
    step = best / (n // batch)
    speeds = {"microseconds": step * 1e6, "steps": 1 / step, "gflops": flops / step / 1e9}
    return {"network": "-".join(map(str, widths)), "batch": batch, **speeds}
