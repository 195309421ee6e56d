"""Coverage of intervals and sets and calibration of probabilities on rows that a table model has not seen.

python benchmarks/uncertainty.py --data FOLDER [--splits 3]

FOLDER has california_housing.csv.bz2, concrete.csv, adult_train.csv.gz and adult_test.csv.gz; diabetes comes with
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
    yield "california", pd.read_csv(data / "california_housing.csv.bz2"), "median_house_value", 1
    concrete = pd.read_csv(data / "concrete.csv")
    yield "concrete", concrete, concrete.columns[-1], 4
    yield "diabetes", load_diabetes(as_frame=True).frame, "target", 6
    X, y = make_friedman1(4000, noise=1.0, random_state=0)
    yield "friedman", pd.DataFrame(X, columns=[f"x{i}" for i in range(10)]).assign(y=y), "y", 1


def coverage(table: pd.DataFrame, target: str, splits: int) -> dict[str, float]:
    """Of both methods the share of test rows within and the mean width, and the RMSE, by the target's deviation."""
    found = []
    for split in range(splits):
        order, n = np.random.default_rng(split).permutation(len(table)), len(table) // 5
        test, rest = table.iloc[order[:n]], table.iloc[order[n:]]
        model = cnn.TableModel(target, seed=split).fit(rest, verbose=0)
        y = test[target].to_numpy()
        numbers = {"rmse": model.evaluate(test)["rmse"] / y.std()}
        for method in ("mean", "cv+"):
            ends = model.predict_interval(test, coverage=COVERAGE, method=method)
            numbers[f"{method} inside"] = float(np.mean((y >= ends[:, 0]) & (y <= ends[:, 1])))
            numbers[f"{method} width"] = float(np.diff(ends, axis=1).mean() / y.std())
        found.append(numbers)
    return {name: float(np.mean([numbers[name] for numbers in found])) for name in found[0]}


def calibration(data: Path, seed: int) -> dict[str, float]:
    """On Adult's test file: errors of the second class's probability and of the most probable class's, and sets."""
    train, test = (pd.read_csv(data / f"adult_{part}.csv.gz") for part in ("train", "test"))
    model = cnn.TableModel("income", seed=seed).fit(train, verbose=0)
    p, y = model.predict_proba(test), model.goal.numbers(test["income"]).astype(int)
    of_second, of_top = (cnn.uncertainty.reliability(y, said).error for said in (p[:, 1], p))
    found = {"second class": of_second, "most probable": of_top, **model.evaluate(test)}
    for method in ("lac", "aps"):
        sets = model.predict_set(test, coverage=COVERAGE, method=method)
        inside, size = sets[np.arange(len(y)), y].mean(), sets.sum(axis=1).mean()
        found |= {f"{method} inside": float(inside), f"{method} size": float(size)}
    return found


def told(good: bool) -> str:
    return "met" if good else "MISSED"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--splits", type=int, default=3)
    arguments = parser.parse_args()
    for name, table, target, times in tables(arguments.data):
        splits = times * arguments.splits
        found = coverage(table, target, splits)
        inside = found["mean inside"]
        bar = f"bar {BAR[0]} to {BAR[1]}: {told(BAR[0] <= inside <= BAR[1])}"
        print(f"{name:<12} {splits:>2} splits: {inside:.3f} of test rows within intervals of {COVERAGE:g}; {bar}; "
              f"width {found['mean width']:.2f}, RMSE {found['rmse']:.3f} deviations of the target; "
              f"cv+ {found['cv+ inside']:.3f}, width {found['cv+ width']:.2f}", flush=True)  # fmt: skip
    seeds = [calibration(arguments.data, seed) for seed in range(arguments.splits)]
    mean = {name: float(np.mean([one[name] for one in seeds])) for name in seeds[0]}
    worst = max(mean["second class"], mean["most probable"])
    print(f"adult        {len(seeds):>2} seeds: calibration error {mean['second class']:.4f} (second class), "
          f"{mean['most probable']:.4f} (most probable); bar {ECE}: {told(worst <= ECE)}; "
          f"log loss {mean['log_loss']:.4f}, accuracy {mean['accuracy']:.4f}; sets of {COVERAGE:g}: lac "
          f"{mean['lac inside']:.3f} of {mean['lac size']:.2f} classes, aps {mean['aps inside']:.3f} of "
          f"{mean['aps size']:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
