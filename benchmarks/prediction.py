"""Prediction beside the peers: microseconds of a call from Python, NumPy arrays in and out, in float32.

    python benchmarks/prediction.py [--cases "1 x 10-5-1" ...] [--peers cnn onnxruntime ...] [--json out.jsonl]

A case is a number of rows and a network: values, or the probabilities of a classifier. All have the same weights, and
their results must agree with NumPy's in float64. Calls are timed by `timeit`, warm, in rounds as in training.py, each
contestant with one thread and with all; the best round counts.
"""

from __future__ import annotations

import sys

import contest
from networks import NETWORKS
from worker import Worker

TOLERANCE = 1e-5  # absolute, of numbers of the order of 1: float32, in any order of summation
CASES = {
    f"{rows} x {name}": (name, rows)
    for rows, names in (
        (1, ("10-5-1", "8-32-32-1")),
        (10_000, ("10-5-1", "8-32-32-1", "54-256-128-7", "784-512-256-10")),
    )
    for name in names
}


def compare(case: str, workers: list[Worker], rounds: int, seconds: float) -> list[contest.Line]:
    """One case: a line for each contestant."""
    name, rows = CASES[case]
    lines = contest.compete(workers, "prediction", (name, rows), rounds, seconds)
    for line in lines:
        line["gflops"] = NETWORKS[name].prediction_flops(rows) / line["us"] / 1e3
        line["agrees"] = line["error"] <= TOLERANCE
    return [{"benchmark": "prediction", "case": case, "network": name, "n_rows": rows, **line} for line in lines]


if __name__ == "__main__":
    sys.exit(contest.run(contest.parser(__doc__, CASES, rounds=15, seconds=0.05).parse_args(), compare))
