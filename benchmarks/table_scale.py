"""Whether a skewed target is better learnt as its logarithm, and what the pilot of a table model chooses.

python benchmarks/table_scale.py [--splits 3] [--only diamonds ...]

On the training rows of benchmarks/tables.py's first split alone, split again; of diamonds 20,000. Packages: the extra
`bench`.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import table_data
from sklearn.model_selection import train_test_split
from table_data import TARGET, of_pydataset

import cnn

TABLES = {
    "electricity": of_pydataset("Ecdat/Electricity", "cost"), "tips": of_pydataset("reshape2/tips", "tip"),
    "housing": of_pydataset("Ecdat/Housing", "price"), "cigar": of_pydataset("Ecdat/Cigar", "sales"),
    "bwages": of_pydataset("Ecdat/Bwages", "wage"), "wages1": of_pydataset("Ecdat/Wages1", "wage"),
    "medexp": of_pydataset("Ecdat/MedExp", "med"), "diamonds": table_data.TABLES["diamonds"],
}  # fmt: skip
_MOST = 20_000  # rows


def errors(table: Any, scale: str, splits: int) -> tuple[float, int]:
    """(the mean RMSE over the deviation, on how many splits the logarithm was learnt)."""
    found, logs = [], 0
    for i in range(splits):
        train, valid = train_test_split(table, test_size=0.2, random_state=100 + i)
        if len(train) > _MOST:
            train = train.sample(_MOST, random_state=0)
        model = cnn.TableModel(TARGET, target_scale=scale, seed=i).fit(train.reset_index(drop=True), verbose=0)
        logs += model.goal.offset is not None
        found.append(model.evaluate(valid)["rmse"] / np.std(valid[TARGET].to_numpy()))
    return float(np.mean(found)), logs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES))
    arguments = parser.parse_args()
    for name in arguments.only:
        table, _ = table_data.splits(name, TABLES[name](table_data.FOLDER), 1)[0]
        for scale in ("linear", "log", "auto"):
            error, logs = errors(table, scale, arguments.splits)
            print(f"{name}, {scale}: {error:.4f}, the logarithm {logs} times of {arguments.splits}", flush=True)


if __name__ == "__main__":
    main()
