"""The rate that `cnn.find_learning_rate` suggests beside the best of a grid of nine, by the loss on held-out rows.

python benchmarks/learning_rate.py     five tables, two networks, Adam and SGD: about 10 s; needs scikit-learn
The rows that are held out are a part of those that one would train on: no test rows are looked at.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, make_friedman1

import cnn

GRID = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
OPTIMIZERS = {"Adam": cnn.Adam(), "SGD": cnn.SGD(momentum=0.9)}
EPOCHS, BAR = 30, 1.2


def tables() -> Iterator[tuple[str, Any, Any, str, int]]:
    """(name, X, y, loss, outputs), numbers in standard units."""
    X, y = load_digits(return_X_y=True)
    yield "digits", X / 16, y, "cross_entropy", 10
    X, y = load_diabetes(return_X_y=True)
    yield "diabetes", X / X.std(axis=0), (y - y.mean()) / y.std(), "mse", 1
    X, y = load_breast_cancer(return_X_y=True)
    yield "breast cancer", (X - X.mean(axis=0)) / X.std(axis=0), y, "binary_cross_entropy", 1
    X, y = make_friedman1(3000, 10, noise=1, random_state=0)
    yield "Friedman", X, (y - y.mean()) / y.std(), "mse", 1
    X = np.random.default_rng(0).normal(size=(5000, 20))
    yield "sines", X, np.sin(2 * X[:, 0]) * X[:, 1] + X[:, 2] ** 2, "mse", 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=5, help="so many of them")
    wanted, ratios = parser.parse_args().tables, []
    for name, X, y, loss, outputs in list(tables())[:wanted]:
        order = np.random.default_rng(1).permutation(len(X))
        train, held_out = np.split(order, [int(0.8 * len(X))])
        for kind, optimizer in OPTIMIZERS.items():
            for units in ([32], [64, 64]):

                def network(optimizer: cnn.optimizers.Optimizer) -> cnn.Network:
                    layers = [*(cnn.Dense(n, "relu") for n in units), cnn.Dense(outputs)]  # noqa: B023
                    return cnn.Network(layers, loss=loss, optimizer=optimizer, seed=0)  # noqa: B023

                def held_out_loss(rate: float) -> float:
                    net = network(replace(optimizer, learning_rate=rate))  # noqa: B023
                    try:
                        net.fit(X[train], y[train], epochs=EPOCHS, verbose=0)  # noqa: B023
                    except cnn.NonFiniteError:
                        return math.inf
                    return net.evaluate(X[held_out], y[held_out])["loss"]  # noqa: B023

                found = cnn.find_learning_rate(network(optimizer), X[train], y[train]).suggestion
                assert found is not None
                losses = {rate: held_out_loss(rate) for rate in GRID}
                best = min(losses, key=losses.__getitem__)
                ratios.append(held_out_loss(found) / losses[best])
                print(f"{name:14} {kind:5} {units!s:9} suggested {found:.2g}, best of the grid {best:g}: "
                      f"its loss x {ratios[-1]:.2f}", flush=True)  # fmt: skip
    mean = float(np.exp(np.log(ratios).mean()))
    print(f"geometric mean x {mean:.3f}, bar x {BAR}: {'met' if mean <= BAR else 'missed'}; worst x {max(ratios):.2f}")


if __name__ == "__main__":
    main()
