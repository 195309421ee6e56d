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
from cnn.runtime import products

# inputs, hidden widths, outputs, rows of a step
_CASES: tuple[tuple[int, tuple[int, ...], int, int], ...] = (
    (8, (32, 32), 1, 32),
    (16, (128, 128, 64), 1, 128),
    (54, (256, 128), 7, 256),
    (784, (512, 256), 10, 128),
    (512, (1024, 1024), 10, 512),
)
# Who computes the products: each is measured.
_BY: tuple[products.Products, ...] = ("own", "blas")


def bench(screen: Screen, seconds: float, n_threads: int | None) -> None:
    """Steps a second of some networks, by our own products and by BLAS's; and which of the two to set."""
    config, before = reports.config(), products.chosen()
    used = n_threads or threads.available()
    try:
        found = [_measure(*case, seconds=seconds, n_threads=n_threads) for case in _CASES]
    finally:
        products.set_products(before)
    rows = [
        [f["network"], str(f["batch"]), *(figure(f["microseconds_by"][by]) for by in _BY), f"{f['steps']:,.0f}",
         f"{f['gflops']:,.1f}"]
        for f in found
    ]  # fmt: skip
    screen.table(
        f"{config['instruction set']}, up to {used} threads, float32, relu, AdamW",
        ["network", "rows a step", "µs a step, own", "µs, BLAS", "steps/s", "GFLOP/s"], rows,
    )  # fmt: skip
    ratio = float(np.exp(np.mean([np.log(f["microseconds_by"]["blas"] / f["microseconds_by"]["own"]) for f in found])))
    best = "own" if ratio > 1 else "blas"
    screen.say(f"With BLAS a step takes {ratio:.2f} times as long as with our own products. {_advice(best)}")
    screen.result({"config": config, "threads": used, "networks": found, "products": best})


def _advice(best: str) -> str:
    """What to set where that is the faster one."""
    now = products.chosen()
    if now == best or (now == "auto" and products.faster_by_blas(1024, 1024) == (best == "blas")):
        return f'The faster one is in use: products are "{now}".'
    return f'The faster one is to be had by cnn.set_products("{best}") or CNN_PRODUCTS={best}.'


def _measure(
    inputs: int, hidden: tuple[int, ...], outputs: int, batch: int, seconds: float, n_threads: int | None
) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    widths = [inputs, *hidden, outputs]
    sizes = [a * b for a, b in itertools.pairwise(widths)]
    # Forward, and the gradients of weights and inputs; the first layer has no gradient of its inputs.
    flops = 2 * batch * (3 * sum(sizes) - sizes[0])
    n = batch * min(max(int(2e9 / flops), 4), 1000)  # an epoch takes some ten milliseconds
    X = rng.normal(size=(n, inputs)).astype(np.float32)
    y: Any = rng.normal(size=n) if outputs == 1 else rng.integers(0, outputs, n)
    settings: dict[str, Any] = {"batch_size": batch, "metrics": (), "verbose": 0, "n_threads": n_threads}
    nets = {by: _network(hidden, outputs) for by in _BY}
    for by, net in nets.items():
        products.set_products(by)  # a network takes it when it is built: now
        net.fit(X, y, epochs=1, **settings)
    best, begin = dict.fromkeys(_BY, np.inf), time.perf_counter()
    while time.perf_counter() - begin < seconds:
        for by, net in nets.items():
            best[by] = min(best[by], min(net.fit(X, y, epochs=2, **settings).seconds))
    steps = {by: found / (n // batch) for by, found in best.items()}
    step = min(steps.values())
    speeds = {"microseconds": step * 1e6, "steps": 1 / step, "gflops": flops / step / 1e9}
    by_each = {by: found * 1e6 for by, found in steps.items()}
    return {"network": "-".join(map(str, widths)), "batch": batch, **speeds, "microseconds_by": by_each}


def _network(hidden: tuple[int, ...], outputs: int) -> network.Network:
    return network.Network(
        [*(layers.Dense(units, "relu") for units in hidden), layers.Dense(outputs)],
        loss="mse" if outputs == 1 else "cross_entropy", optimizer=optimizers.AdamW(1e-4), seed=0,
    )  # fmt: skip
