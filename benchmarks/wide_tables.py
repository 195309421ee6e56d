"""A table of thousands of columns of numbers: seconds before the training, and a prediction of one row.

python benchmarks/wide_tables.py [--rows 2000] [--columns 3000]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

import cnn


def best(call: Callable[[], object], repeats: int = 7) -> float:
    """Milliseconds of the fastest call."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return 1e3 * min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--columns", type=int, default=3000)
    given = parser.parse_args()
    X = np.random.default_rng(0).normal(size=(given.rows, given.columns))
    table = pd.DataFrame(X, columns=[f"x{i}" for i in range(given.columns)]).assign(y=X[:, 0])
    model = cnn.TableModel("y", epochs=1, members=1, hidden=(8,), seed=0)

    print(f"{given.rows:,} rows of {given.columns:,} columns")
    begun: list[float] = []
    start = time.perf_counter()
    model.fit(table, callbacks=[lambda *_: begun.append(time.perf_counter())], verbose=0)
    print(f"until the first epoch has ended   {begun[0] - start:7.2f} s")
    row = table[:1].drop(columns="y")
    cells = {name: [value] for name, value in row.iloc[0].items()}
    print(f"one row, a data frame             {best(lambda: model.predict(row)):7.2f} ms")
    print(f"one row, a dict                   {best(lambda: model.predict(cells)):7.2f} ms")


if __name__ == "__main__":
    main()
