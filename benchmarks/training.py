"""Training beside the peers: microseconds of a step of seven networks, in float32.

    python benchmarks/training.py [--cases 10-5-1 ...] [--peers cnn numpy ...] [--json out.jsonl]

All train the same network from the same weights on the same minibatches in the same order; after the first epoch
their losses, computed here in float64 from their weights, must agree. A measurement is a number of epochs as a user
runs them (for cnn: one call of `fit`), warm, over the number of steps. Contestants run in turn, each in a process of
its own with one thread and with all, round by round; the best round counts, and the median is in the JSON lines.
"""

from __future__ import annotations

import sys

import contest
from networks import NETWORKS
from worker import Worker

TOLERANCE = 1e-4  # of losses after an epoch, relative: float32 in another order of summation


def compare(name: str, workers: list[Worker], rounds: int, seconds: float) -> list[contest.Line]:
    """One network: a line for each contestant."""
    network = NETWORKS[name]
    lines = contest.compete(workers, "training", name, rounds, seconds)
    if not lines:
        return []
    reference = next((line for line in lines if line["contestant"] == "cnn"), lines[0])
    head = {"benchmark": "training", "case": name, "batch_size": network.batch_size, "steps": network.n_batches}
    for line in lines:
        error = abs(line["loss"] - reference["loss"]) / reference["loss"]
        line["gflops"] = network.flops / line["us"] / 1e3
        line["agrees"] = error <= TOLERANCE if line["comparable"] else None
        line["loss_error"] = error if line["comparable"] else None
    return [{**head, "optimizer": network.optimizer, **line} for line in lines]


if __name__ == "__main__":
    sys.exit(contest.run(contest.parser(__doc__, NETWORKS, rounds=7, seconds=0.2).parse_args(), compare))
