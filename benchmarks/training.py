"""Training beside the peers: microseconds of a step of six networks, in float32.

    python benchmarks/training.py [--networks 10-5-1 ...] [--peers cnn numpy ...] [--json out.jsonl]

All train the same network from the same weights on the same minibatches in the same order; after the first epoch
their losses, computed here in float64 from their weights, must agree. A measurement is whole epochs as a user runs
them (for cnn: a call of `fit` each), warm, over the number of steps. Contestants run in turn, each in a process of its
own with one thread and with all, round by round; the best round counts, and the median is in the JSON lines.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import machine
from networks import NETWORKS
from peers import MODULES
from worker import Worker

SETTLE = 0.05  # idle threads of the contestant before may still spin
TOLERANCE = 1e-4  # of losses after an epoch, relative: float32 in another order of summation
Line = dict[str, Any]


def start(peers: list[str], all_threads: int) -> list[Worker]:
    """A worker for each contestant that is there."""
    workers = []
    for peer in peers:
        for threads in sorted({1, all_threads}):
            worker = Worker(peer, threads)
            if worker.absent is not None:
                print(f"{peer} is absent: {worker.absent}", file=sys.stderr)
                break
            workers.append(worker)
    return workers


def compare(name: str, workers: list[Worker], rounds: int, seconds: float) -> list[Line]:
    """One network: a line for each contestant; ratios are to the best of cnn."""
    network = NETWORKS[name]
    lines: list[Line] = []
    for worker in workers:
        time.sleep(SETTLE)
        prepared = worker.prepare(name)
        lines.append({"contestant": worker.peer, "threads": worker.threads, **prepared, "rounds": []})
    for _ in range(rounds):
        for worker, line in zip(workers, lines, strict=True):
            time.sleep(SETTLE)
            line["rounds"].append(1e6 * worker.measure(seconds))
    reference = next((line for line in lines if line["contestant"] == "cnn"), lines[0])
    for line in lines:
        line["us"], line["us_median"] = min(line["rounds"]), statistics.median(line["rounds"])
        line["gflops"] = network.flops / line["us"] / 1e3
        error = abs(line["loss"] - reference["loss"]) / reference["loss"]
        line["agrees"] = error <= TOLERANCE if line["comparable"] else None
        line["loss_error"] = error if line["comparable"] else None
    best = min(line["us"] for line in lines if line["contestant"] == reference["contestant"])
    head = {"benchmark": "training", "network": name, "batch_size": network.batch_size, "steps": network.n_batches}
    return [{**head, "optimizer": network.optimizer, **line, "ratio": line["us"] / best} for line in lines]


def report(lines: list[Line]) -> None:
    """A row for each network, a column for each peer: its best, and how many times as long as cnn it takes."""
    best: dict[tuple[str, str], Line] = {}
    for line in lines:
        key = (line["network"], line["contestant"])
        if key not in best or line["us"] < best[key]["us"]:
            best[key] = line
    peers = list(dict.fromkeys(line["contestant"] for line in lines))
    print(f"\n{'microseconds a step (ratio to cnn)':<36}" + "".join(f"{peer:>22}" for peer in peers))
    for name in dict.fromkeys(line["network"] for line in lines):
        network = NETWORKS[name]
        row = f"{name + ', ' + str(network.batch_size) + ', ' + network.optimizer:<36}"
        for peer in peers:
            line = best[name, peer]
            row += f"{line['us']:>13.1f} ({line['ratio']:6.2f})"
        print(row)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS), metavar="NAME",
                        help=", ".join(NETWORKS))  # fmt: skip
    parser.add_argument("--peers", nargs="+", choices=list(MODULES), default=list(MODULES))
    parser.add_argument("--threads", type=int, default=machine.cores(), help="what 'all' means (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.2, help="a round of a contestant (default %(default)s)")
    parser.add_argument("--json", type=Path, help="append one JSON line for each network and contestant")
    options = parser.parse_args()
    about = machine.description()
    print(", ".join(f"{key} {value}" for key, value in about.items()), flush=True)
    workers = start(options.peers, options.threads)
    lines = []
    for name in options.networks:
        for line in compare(name, workers, options.rounds, options.seconds):
            agreement = {True: "agrees", False: "DISAGREES", None: "not comparable"}[line["agrees"]]
            print(f"{name:<22}{line['contestant']:<13}{line['threads']:>3} threads  {line['variant']:<12}"
                  f"{line['us']:>13.2f} us (median {line['us_median']:.2f}) {line['gflops']:7.1f} GFLOP/s, "
                  f"{line['ratio']:6.2f} x cnn, loss {line['loss']:.6f} {agreement}", flush=True)  # fmt: skip
            lines.append(line)
            if options.json:
                with options.json.open("a") as out:
                    out.write(json.dumps({**line, "machine": about}) + "\n")
    for worker in workers:
        worker.stop()
    report(lines)
    return 0 if all(line["agrees"] is not False for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
