"""The figure of docs/activations.md: python docs/figures/activations.py.

Each function and its derivative are taken from a network of one unit, z = x: forward gives f(z), backward f'(z).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import cnn

IMAGES = Path(__file__).resolve().parents[1] / "images"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=IMAGES)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    z = np.linspace(-5, 5, 1001)[:, None]
    rows = -(-len(cnn.activations.NAMES) // 6)
    figure = Figure(figsize=(12, 2.2 * rows), layout="constrained")
    grid = list(figure.subplots(rows, 6, sharex=True, sharey=True).flat)
    for axes, name in zip(grid, cnn.activations.NAMES, strict=False):
        unit = cnn.Network([cnn.Dense(1, name, initializer="ones", use_bias=False)], dtype="float64").build(1)
        axes.plot(z, unit.forward(z), label="f(z)")
        axes.plot(z, unit.backward(np.ones_like(z)), label="f′(z)", lw=1)
        axes.set(title=name, ylim=(-2.2, 3.2), xticks=[-4, -2, 0, 2, 4])
        axes.grid(alpha=0.3)
    for axes in grid[len(cnn.activations.NAMES) :]:
        axes.remove()
    figure.axes[0].legend(loc="upper left")
    figure.savefig(arguments.out / "activations.png", dpi=80)


if __name__ == "__main__":
    main()
