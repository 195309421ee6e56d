"""What each part of a table model's recipe gains: the scores without it, on training rows alone.

python benchmarks/table_parts.py [--splits 2] [--members 2] [--only california adult ...] [--data FOLDER]

The training rows of benchmarks/tables.py's first split are split again; its test rows are not looked at. Networks,
seeds and rows are the same for all, so differences are those of the part, but for the noise of so few networks.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import table_data
from sklearn.model_selection import train_test_split

import cnn

PARTS: dict[str, dict[str, Any]] = {
    "all of it": {},
    "with spikes": {"numbers": "spikes+embedding"},
    "without spikes": {"numbers": "embedding"},
    "bins in place of embeddings": {"numbers": "bins"},
    "bins and spikes": {"numbers": "both"},
    "spikes alone": {"numbers": "spikes"},
    "rank and value alone": {"numbers": "plain"},
    "no dropout": {"dropout": 0.0},
    "half of the rate": {"learning_rate": 0.04},
    "relu for mish": {"activation": "relu"},
    "no weight decay": {"weight_decay": 0.0},
    "half of the epochs": {"effort": "fast"},
    "one network": {"members": 1},
}


def scores(table: Any, splits: int, **changed: Any) -> np.ndarray[Any, Any]:
    """Mean RMSE and R², or accuracy and log loss."""
    found = []
    for i in range(splits):
        groups = table[table_data.TARGET] if table_data.is_classes(table) else None
        train, valid = train_test_split(table, test_size=0.2, random_state=100 + i, stratify=groups)
        model = cnn.TableModel(table_data.TARGET, seed=i, **changed)
        got = model.fit(train.reset_index(drop=True), verbose=0).evaluate(valid)
        found.append([got[name] for name in (("rmse", "r2") if groups is None else ("accuracy", "log_loss"))])
    return np.mean(found, axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=table_data.FOLDER)
    parser.add_argument("--splits", type=int, default=2)
    parser.add_argument("--members", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=table_data.TABLES, default=["california", "adult", "concrete"])
    arguments = parser.parse_args()
    for name in arguments.only:
        table, _ = table_data.splits(name, table_data.TABLES[name](arguments.data), 1)[0]
        what = "accuracy, log loss" if table_data.is_classes(table) else "RMSE, R²"
        for part, changed in PARTS.items():
            first, second = scores(table, arguments.splits, **{"members": arguments.members, **changed})
            print(f"{name}, {part}: {what} {first:.4f}, {second:.4f}", flush=True)


if __name__ == "__main__":
    main()
