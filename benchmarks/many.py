"""Many networks at once beside one alone, JAX's vmap, PyTorch's vmap and a loop: every bar, met or missed.

    python benchmarks/many.py [--rounds 5] [--networks 128] [--quick] [--without-peers] [--json [FILE]]

All is measured in turns, `rounds` times, and the best counts. Peers train the same networks on the same minibatches, in
float32, and are left out where they are not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import kept
import numpy as np

import cnn
from cnn._common import threads

WIDTHS, ROWS, BATCH = (8, 32, 32, 1), 2048, 32
STEPS = ROWS // BATCH
SMALL, SMALL_ROWS, SMALL_NETWORKS, SMALL_EPOCHS = (10, 5, 1), 100, 1000, 1000


def rows(n: int, n_inputs: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, n_inputs)).astype(np.float32)
    return X, np.sin(X[:, 0]) + X[:, 1]


def made(widths: tuple[int, ...], n: int) -> list[cnn.Network]:
    hidden = [cnn.Dense(units, "tanh") for units in widths[1:-1]]
    return [cnn.Network([*hidden, cnn.Dense(widths[-1])], seed=i).build(widths[0]) for i in range(n)]


X, Y = rows(ROWS, WIDTHS[0])
TITLES = {  # of what page.py shows, ours first
    "many": "`train_many`", "stopping": "`train_many`, validation and `EarlyStopping` after every epoch",
    "alone": "one network alone, one core", "jax vmap": "JAX, `vmap`", "torch vmap": "PyTorch, `torch.func.vmap`",
    "torch loop": "PyTorch, one after another",
}  # fmt: skip
Run = Callable[[], float]  # microseconds for a step of a network


def timed(work: Callable[[], Any], steps: int) -> float:
    start = time.perf_counter()
    work()
    return 1e6 * (time.perf_counter() - start) / steps


# cnn ------------------------------------------------------------------------------------------------------------------

FIT: dict[str, Any] = {"batch_size": BATCH, "verbose": 0, "metrics": ()}


def alone(epochs: int) -> Run:
    (net,) = made(WIDTHS, 1)
    return lambda: timed(lambda: net.fit(X, Y, epochs=epochs, n_threads=1, **FIT), epochs * STEPS)


def side_by_side(n: int, epochs: int) -> Run:
    nets = made(WIDTHS, n)
    return lambda: timed(lambda: cnn.train_many(nets, X, Y, epochs=epochs, **FIT), n * epochs * STEPS)


def stopping(n: int, epochs: int) -> Run:
    """With a fifth held out, looked at after each epoch by `EarlyStopping`."""
    nets = made(WIDTHS, n)
    options = FIT | {"validation_split": 0.2, "callbacks": [cnn.EarlyStopping(patience=epochs)]}
    return lambda: timed(lambda: cnn.train_many(nets, X, Y, epochs=epochs, **options), n * epochs * STEPS)


def in_threads(n: int, epochs: int) -> Run:
    """A fit at a time in each of as many Python threads as there are cores."""
    nets, cores = made(WIDTHS, n), threads.available()

    def work() -> None:
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(lambda net: net.fit(X, Y, epochs=epochs, n_threads=1, **FIT), nets))

    return lambda: timed(work, n * epochs * STEPS)


def thousand(n: int, epochs: int) -> float:
    """Seconds for so many small networks, epochs of one minibatch."""
    x, y = rows(SMALL_ROWS, SMALL[0])
    nets = made(SMALL, n)
    start = time.perf_counter()
    cnn.train_many(nets, x, y, epochs=epochs, batch_size=None, verbose=0, metrics=())
    return time.perf_counter() - start


# Peers ----------------------------------------------------------------------------------------------------------------

def jax_vmap(n: int, epochs: int) -> Run:
    """All networks in one vmap, all minibatches of an epoch in one scan, compiled."""
    import jax
    import jax.numpy as jnp

    x, y = jnp.asarray(X).reshape(STEPS, BATCH, -1), jnp.asarray(Y).reshape(STEPS, BATCH, 1)
    rng = np.random.default_rng(0)
    shapes = list(itertools.pairwise(WIDTHS))
    weights = [(jnp.asarray(rng.normal(size=(n, a, b)).astype("f") * 0.3), jnp.zeros((n, b))) for a, b in shapes]

    def loss(p: Any, x: Any, y: Any) -> Any:
        for w, b in p[:-1]:
            x = jnp.tanh(x @ w + b)
        return jnp.mean((x @ p[-1][0] + p[-1][1] - y) ** 2)

    def step(carry: Any, batch: Any) -> Any:
        p, m, v, t = carry
        g = jax.grad(loss)(p, *batch)
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        one, two = 1 - 0.9**t, 1 - 0.999**t
        p = jax.tree.map(lambda p, m, v: p - 1e-3 * (m / one) / (jnp.sqrt(v / two) + 1e-8), p, m, v)
        return (p, m, v, t), None

    epoch = jax.jit(jax.vmap(lambda carry: jax.lax.scan(step, carry, (x, y))[0]))
    zeros = jax.tree.map(jnp.zeros_like, weights)
    state = [epoch((weights, zeros, zeros, jnp.zeros(n)))]

    def work() -> None:
        for _ in range(epochs):
            state[0] = epoch(state[0])
        jax.block_until_ready(state[0])

    return lambda: timed(work, n * epochs * STEPS)


def torch_vmap(n: int, epochs: int) -> Run:
    """All networks in one vmap, a minibatch at a time, Adam on the stacked parameters."""
    import torch
    from torch.func import grad, vmap

    x, y = torch.from_numpy(X), torch.from_numpy(Y)[:, None]
    shapes = list(itertools.pairwise(WIDTHS))
    p = [t for a, b in shapes for t in (0.3 * torch.randn(n, a, b), torch.zeros(n, b))]
    m, v, t = [torch.zeros_like(a) for a in p], [torch.zeros_like(a) for a in p], [0]

    def loss(p: Any, x: Any, y: Any) -> Any:
        for i in range(0, len(p) - 2, 2):
            x = torch.tanh(x @ p[i] + p[i + 1])
        return ((x @ p[-2] + p[-1] - y) ** 2).mean()

    gradients = vmap(grad(loss), in_dims=(0, None, None))

    def work() -> None:
        for _ in range(epochs):
            for k in range(0, ROWS, BATCH):
                g = gradients(p, x[k : k + BATCH], y[k : k + BATCH])
                t[0] += 1
                torch._foreach_mul_(m, 0.9)
                torch._foreach_add_(m, g, alpha=0.1)
                torch._foreach_mul_(v, 0.999)
                torch._foreach_addcmul_(v, g, g, 0.001)
                root = torch._foreach_sqrt(torch._foreach_div(v, 1 - 0.999 ** t[0]))
                torch._foreach_add_(root, 1e-8)
                torch._foreach_addcdiv_(p, m, root, -1e-3 / (1 - 0.9 ** t[0]))

    return lambda: timed(work, n * epochs * STEPS)


def torch_loop(epochs: int) -> Run:
    """One network after another, as most people do it: the time of one, with one thread."""
    import torch

    x, y = torch.from_numpy(X), torch.from_numpy(Y)[:, None]
    modules: list[Any] = []
    for a, b in itertools.pairwise(WIDTHS):
        modules += [torch.nn.Linear(a, b), torch.nn.Tanh()]
    net = torch.nn.Sequential(*modules[:-1])
    optimizer = torch.optim.Adam(net.parameters())

    def work() -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        for _ in range(epochs):
            for k in range(0, ROWS, BATCH):
                optimizer.zero_grad()
                torch.nn.functional.mse_loss(net(x[k : k + BATCH]), y[k : k + BATCH]).backward()
                optimizer.step()
        torch.set_num_threads(before)

    return lambda: timed(work, epochs * STEPS)


# The table ------------------------------------------------------------------------------------------------------------

def said(bar: str, measured: str, met: bool) -> None:
    print(f"{'met' if met else 'MISSED':<7} {bar:<72} {measured}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--networks", type=int, default=128)
    parser.add_argument("--quick", action="store_true", help="moments only, to see that all works")
    parser.add_argument("--without-peers", action="store_true")
    kept.option(parser)
    given = parser.parse_args()
    n, cores, epochs = given.networks, threads.available(), 1 if given.quick else 30
    small = (10, 10) if given.quick else (SMALL_NETWORKS, SMALL_EPOCHS)
    runs: dict[str, Run] = {
        "alone": alone(epochs), "many": side_by_side(n, epochs), "stopping": stopping(n, epochs),
        "threads": in_threads(n, epochs),
    }  # fmt: skip
    there = {name for name in ("jax", "torch") if not given.without_peers and importlib.util.find_spec(name)}
    if "jax" in there:
        runs["jax vmap"] = jax_vmap(n, 2)
    if "torch" in there:
        runs |= {"torch vmap": torch_vmap(n, 1), "torch loop": torch_loop(1)}
    us = dict.fromkeys(runs, float("inf"))
    seconds = float("inf")
    for _ in range(given.rounds):
        us = {name: min(us[name], run()) for name, run in runs.items()}
        seconds = min(seconds, thousand(*small))
    print(json.dumps({"networks": n, "cores": cores, "us": {k: round(v, 3) for k, v in us.items()}, "s": seconds}))
    many, share = us["many"], us["alone"] / cores
    said(f"{n} networks: at most one alone on one core / {cores} cores, + 10 %",
         f"{many:.2f} us a step and network, alone {us['alone']:.2f}: {many / share - 1:+.0%}", many <= 1.1 * share)
    said("at most 1.8 us a step and network (two quiet cores)", f"{many:.2f} us", many <= 1.8)
    for name, factor in (("jax vmap", 5), ("torch vmap", 30), ("torch loop", 100)):
        if name in us:
            said(f"at least {factor} times as fast as {name}", f"{us[name] / many:.1f} ({us[name]:.1f} us)",
                 us[name] >= factor * many)
    said(f"{SMALL_NETWORKS:,} networks of 10-5-1, {SMALL_ROWS} rows, {SMALL_EPOCHS:,} epochs: at most 1.5 s",
         f"{seconds:.2f} s", seconds <= 1.5)
    print(f"        beside it, without a bar: {us['threads']:.2f} us by fits in {cores} Python threads, "
          f"{us['stopping']:.2f} us with validation and EarlyStopping after every epoch")
    rows = [{"work": title, "us": us[name]} for name, title in TITLES.items() if name in us]
    kept.write(kept.answer("many", rows), given.json)


if __name__ == "__main__":
    main()
