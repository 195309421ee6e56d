"""`cnn train` without any options: seconds, scores on rows it has not seen, and memory.

python benchmarks/train_command.py [--data FOLDER] [--seeds 3] [--rows 1000000]

FOLDER has california_housing.csv.bz2 and adult_train.csv.gz, adult_test.csv.gz. California is split 80/20 by the seed;
Adult has a test file of its own. The memory is that of a made table of so many rows: the largest that a process had
while it trained, less what the same command has that does not find its table, over the size of the data frame.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# Not getrusage, whose peak a child takes over from the process that started it. (Linux)
PEAK = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"


def command(*arguments: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-m", "cnn.cli", *arguments, "--json"], capture_output=True, text=True,
                          check=True)  # fmt: skip
    return json.loads(done.stdout)


def california(data: Path, seed: int, folder: Path) -> tuple[float, float]:
    """(seconds of the command, RMSE of the test rows in 100,000 dollars)."""
    table = pd.read_csv(data / "california_housing.csv.bz2")
    order = np.random.default_rng(seed).permutation(len(table))
    n = len(table) // 5
    table.iloc[order[n:]].to_csv(folder / "train.csv", index=False)
    table.iloc[order[:n]].to_csv(folder / "test.csv", index=False)
    seconds = train(folder / "train.csv", "median_house_value", seed, folder)
    return seconds, command("evaluate", f"{folder}/m.cnn", f"{folder}/test.csv")["scores"]["rmse"] / 100_000


def adult(data: Path, seed: int, folder: Path) -> tuple[float, float]:
    """(seconds of the command, accuracy on the official test file)."""
    seconds = train(data / "adult_train.csv.gz", "income", seed, folder)
    return seconds, command("evaluate", f"{folder}/m.cnn", f"{data}/adult_test.csv.gz")["scores"]["accuracy"]


def train(table: Path, target: str, seed: int, folder: Path) -> float:
    start = time.perf_counter()
    command("train", str(table), "-t", target, "--seed", str(seed), "--out", f"{folder}/m.cnn")
    return time.perf_counter() - start


def memory(rows: int, folder: Path) -> float:
    """How many times the table's memory a training takes at its peak."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({f"x{i}": rng.normal(size=rows) for i in range(8)})
    for i in range(2):
        table[f"c{i}"] = rng.choice([f"value {j}" for j in range(12)], rows)
    table["y"] = table["x0"] + rng.normal(size=rows)
    table.to_csv(folder / "large.csv", index=False)
    table = pd.read_csv(folder / "large.csv")
    size = int(table.memory_usage(deep=True).sum())
    del table
    return 1024 * (peak(folder / "large.csv", folder) - peak(folder / "none.csv", folder)) / size


def peak(table: Path, folder: Path) -> int:
    """The largest memory of `cnn train` on that table, in KiB."""
    arguments = ["cnn", "train", str(table), "-t", "y", "--epochs", "1", "--members", "1", "--quiet", "--out",
                 f"{folder}/m.cnn"]  # fmt: skip
    program = (
        "import sys, cnn.cli\nfrom scipy.special import ndtri  # of what is imported late\n"
        f"sys.argv = {arguments!r}\ntry: cnn.cli.main()\nexcept SystemExit: pass\n{PEAK}"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert table.exists() == (done.stderr == ""), done.stderr
    return int(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[1] / "examples" / "data")
    parser.add_argument("--seeds", type=int, default=3, help="0: memory only")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the table for the memory; 0: leave it out")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for measure, what in ((california, "RMSE"), (adult, "accuracy")) if arguments.seeds else ():
            found = np.array([measure(arguments.data, seed, Path(name)) for seed in range(arguments.seeds)])
            seconds, scores = found.T
            print(f"{measure.__name__}: {what} {' '.join(f'{s:.4f}' for s in scores)}, mean {scores.mean():.4f}; "
                  f"{seconds.max():.1f} s at most", flush=True)  # fmt: skip
        if arguments.rows:
            print(f"memory: {memory(arguments.rows, Path(name)):.1f} times the table of {arguments.rows:,} rows")


if __name__ == "__main__":
    main()
