"""Coverage of intervals and calibration of probabilities on rows that a table model has not seen.

python benchmarks/uncertainty.py --data FOLDER [--splits 3]

FOLDER has california_housing.csv.gz, concrete.csv, adult_train.csv.gz and adult_test.csv.gz; diabetes comes with
scikit-learn, friedman is made. A fifth of a table is for the test, drawn anew for each split; Adult has a test file.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes, make_friedman1

import cnn

COVERAGE, BAR, ECE = 0.9, (0.88, 0.92), 0.02


def tables(data: Path) -> Iterator[tuple[str, pd.DataFrame, str, int]]:
    """(name, table, target, how many times as many splits: few rows in the test say little)."""
    yield "california", pd.read_csv(data / "california_housing.csv.gz"), "median_house_value", 1
    concrete = pd.read_csv(data / "concrete.csv")
    yield "concrete", concrete, concrete.columns[-1], 4
    yield "diabetes", load_diabetes(as_frame=True).frame, "target", 6
    X, y = make_friedman1(4000, noise=1.0, random_state=0)
    yield "friedman", pd.DataFrame(X, columns=[f"x{i}" for i in range(10)]).assign(y=y), "y", 1


def coverage(table: pd.DataFrame, target: str, splits: int) -> tuple[float, float, float]:
    """(share of test rows within, mean width by the deviation of the target, RMSE by it)."""
    found = []
    for split in range(splits):
        order, n = np.random.default_rng(split).permutation(len(table)), len(table) // 5
        test, rest = table.iloc[order[:n]], table.iloc[order[n:]]
        model = cnn.TableModel(target, seed=split).fit(rest, verbose=0)
        ends, y = model.predict_interval(test, coverage=COVERAGE), test[target].to_numpy()
        width = np.diff(ends, axis=1).mean() / y.std()
        rmse = model.evaluate(test)["rmse"] / y.std()
        found.append((np.mean((y >= ends[:, 0]) & (y <= ends[:, 1])), width, rmse))
    inside, width, rmse = np.mean(found, axis=0).tolist()
    return inside, width, rmse


def calibration(data: Path, seed: int) -> dict[str, float]:
    """Errors on Adult's test file: of the second class's probability, and of the most probable class's."""
    train, test = (pd.read_csv(data / f"adult_{part}.csv.gz") for part in ("train", "test"))
    model = cnn.TableModel("income", seed=seed).fit(train, verbose=0)
    p, y = model.predict_proba(test), model.goal.numbers(test["income"]).astype(int)
    of_second, of_top = (cnn.uncertainty.reliability(y, said).error for said in (p[:, 1], p))
    return {"second class": of_second, "most probable": of_top, **model.evaluate(test)}


def told(good: bool) -> str:
    return "met" if good else "MISSED"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--splits", type=int, default=3)
    arguments = parser.parse_args()
    for name, table, target, times in tables(arguments.data):
        splits = times * arguments.splits
        inside, width, rmse = coverage(table, target, splits)
        bar = f"bar {BAR[0]} to {BAR[1]}: {told(BAR[0] <= inside <= BAR[1])}"
        print(f"{name:<12} {splits:>2} splits: {inside:.3f} of test rows within intervals of {COVERAGE:g}; {bar}; "
              f"width {width:.2f}, RMSE {rmse:.3f} deviations of the target", flush=True)  # fmt: skip
    found = [calibration(arguments.data, seed) for seed in range(arguments.splits)]
    mean = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
    worst = max(mean["second class"], mean["most probable"])
    print(f"adult        {len(found):>2} seeds: calibration error {mean['second class']:.4f} (second class), "
          f"{mean['most probable']:.4f} (most probable); bar {ECE}: {told(worst <= ECE)}; "
          f"log loss {mean['log_loss']:.4f}, accuracy {mean['accuracy']:.4f}")  # fmt: skip


if __name__ == "__main__":
    main()
