"""The figure of docs/explain.md, on the California housing table: python docs/figures/explained.py (some seconds)."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

import cnn

ROOT = Path(__file__).resolve().parents[2]
TARGET = "median_house_value"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--epochs", type=int)
    options = parser.parse_args()
    table = pd.read_csv(ROOT / "examples" / "data" / "california_housing.csv.bz2").sample(frac=1, random_state=0)
    model = cnn.TableModel(TARGET, epochs=options.epochs, seed=0).fit(table[:-1000], verbose=0)
    found = cnn.explain.expected_gradients(model, table[-1000:], table[:200])
    cnn.plots.attributions(found).savefig(options.out / "explained.png", dpi=85)


if __name__ == "__main__":
    main()
