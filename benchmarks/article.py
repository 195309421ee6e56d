"""Small fits of many epochs: the program of an introductory article, and the iris flowers, beside what others take.

    python benchmarks/article.py [--rounds 7] [--epochs 1000] [--json out.jsonl]

The article's network has 10 inputs, 5 units and one output, and takes all of its 100 rows in each of 1,000 epochs: the
call is `fit(X, y, epochs=1000, batch_size=None, verbose=0)`, with Adam, shuffling and the metric that are the defaults.
Beside it: with the progress bar, with `EarlyStopping` on 100 validation rows, twenty lines of NumPy, and JAX, if it is
installed, with the whole loop compiled. These two do less, plain gradient descent without a metric, which "plain" does
with cnn. Then `MLPClassifier` on iris with its defaults beside scikit-learn's. Contestants take turns of three calls,
times are of the best call; every bar is printed, met or missed, and the program returns 1 if one is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
import numpy as np

import cnn

Array = np.ndarray[Any, Any]
ROWS, INPUTS, UNITS = 100, 10, 5


def in_numpy(X: Array, y: Array, epochs: int) -> list[float]:
    """The article's program, as it is written by hand."""
    rng = np.random.default_rng(0)
    W1, b1 = rng.normal(size=(INPUTS, UNITS)).astype(X.dtype) / 3, np.zeros(UNITS, X.dtype)
    W2, b2 = rng.normal(size=(UNITS, 1)).astype(X.dtype) / 2, np.zeros(1, X.dtype)
    losses, rate = [], X.dtype.type(0.1)
    for _ in range(epochs):
        hidden = np.tanh(X @ W1 + b1)
        difference = hidden @ W2 + b2 - y
        losses.append(float((difference * difference).mean()))
        delta = difference * (2 / len(X))
        below = (delta @ W2.T) * (1 - hidden * hidden)
        W2 -= rate * (hidden.T @ delta)
        b2 -= rate * delta.sum(axis=0)
        W1 -= rate * (X.T @ below)
        b1 -= rate * below.sum(axis=0)
    return losses


def in_jax(X: Array, y: Array, epochs: int) -> Callable[[], Any] | None:
    """The same with the loop compiled; None without JAX."""
    try:
        import jax
        import jax.numpy as jnp
    except ImportError:
        return None

    def loss(weights: Any) -> Any:
        W1, b1, W2, b2 = weights
        return ((jnp.tanh(X @ W1 + b1) @ W2 + b2 - y) ** 2).mean()

    def step(weights: Any, _: Any) -> Any:
        value, slopes = jax.value_and_grad(loss)(weights)
        return tuple(w - 0.1 * g for w, g in zip(weights, slopes, strict=True)), value

    rng = np.random.default_rng(0)
    first = (jnp.array(rng.normal(size=(INPUTS, UNITS)) / 3), jnp.zeros(UNITS),
             jnp.array(rng.normal(size=(UNITS, 1)) / 2), jnp.zeros(1))  # fmt: skip
    whole = jax.jit(lambda weights: jax.lax.scan(step, weights, None, length=epochs))
    return lambda: jax.block_until_ready(whole(first))


def article(epochs: int) -> dict[str, Callable[[], Any]]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2 * ROWS, INPUTS)).astype(np.float32)
    y = np.sin(X[:, :1])
    train, held_out = (X[:ROWS], y[:ROWS]), (X[ROWS:], y[ROWS:])

    def fit(optimizer: Any = "adam", **options: Any) -> None:
        net = cnn.Network([cnn.Dense(UNITS, "tanh"), cnn.Dense(1)], optimizer=optimizer, seed=0)
        net.fit(*train, epochs=epochs, batch_size=None, **{"verbose": 0, **options})

    def with_bar() -> None:
        with contextlib.redirect_stderr(io.StringIO()):
            fit(verbose=1)

    def stopping() -> None:
        fit(validation_data=held_out, callbacks=[cnn.EarlyStopping(patience=epochs)])

    def plain() -> None:
        fit(cnn.SGD(0.1), metrics=())

    cases = {"cnn": fit, "plain": plain, "with bar": with_bar, "EarlyStopping": stopping}
    cases["NumPy"] = lambda: in_numpy(*train, epochs)
    if (rival := in_jax(*train, epochs)) is not None:
        cases["JAX"] = rival
    return cases


def iris() -> dict[str, Callable[[], Any]]:
    from sklearn.datasets import load_iris
    from sklearn.neural_network import MLPClassifier

    X, y = load_iris(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    made: dict[str, Any] = {"cnn": cnn.MLPClassifier, "scikit-learn": MLPClassifier}
    return {name: lambda kind=kind: kind(random_state=0).fit(X, y) for name, kind in made.items()}


def fastest(cases: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Seconds of each case's best call: three in a row in each round, for the one before has emptied the caches."""
    best = dict.fromkeys(cases, np.inf)
    for name, case in [*cases.items()] * rounds:
        for _ in range(3):
            start = time.perf_counter()
            case()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="whether it works: bars are not looked at")
    parser.add_argument("--json", type=Path, help="append a JSON line for each of the two there")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of scikit-learn: 200 epochs are not enough
    about = machine.description()
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    seconds = fastest(article(options.epochs), options.rounds)
    us = {name: 1e6 * value / options.epochs for name, value in seconds.items()}
    flowers = {name: 1e3 * value for name, value in fastest(iris(), options.rounds).items()}
    print("article, us an epoch:", ", ".join(f"{name} {value:.2f}" for name, value in us.items()))
    print("iris, ms a fit:", ", ".join(f"{name} {value:.2f}" for name, value in flowers.items()))
    bars = {
        "an epoch takes 2.5 us at most": us["cnn"] <= 2.5,
        f"NumPy takes {us['NumPy'] / us['cnn']:.1f} times as long, at least 12": us["NumPy"] >= 12 * us["cnn"],
        f"the progress bar costs {us['with bar'] / us['cnn'] - 1:.0%}, at most 10 %": us["with bar"] <= 1.1 * us["cnn"],
        "an epoch with EarlyStopping takes 15 us at most": us["EarlyStopping"] <= 15,
        f"scikit-learn takes {flowers['scikit-learn'] / flowers['cnn']:.1f} times as long on iris, at least 20":
            flowers["scikit-learn"] >= 20 * flowers["cnn"],
    }  # fmt: skip
    if "JAX" in us:
        bars[f"JAX takes {us['JAX'] / us['cnn']:.1f} times as long, at least 3"] = us["JAX"] >= 3 * us["cnn"]
    for bar, met in bars.items():
        print(f"{'met   ' if met else 'MISSED'} {bar}")
    if options.json is not None:
        with options.json.open("a") as file:
            for work, values in (("article", us), ("iris", flowers)):
                file.write(json.dumps({"benchmark": work, "machine": about, "values": values}) + "\n")
    return 0 if options.quick or all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
