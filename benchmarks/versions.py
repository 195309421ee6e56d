"""Two versions of `cnn` beside each other: how many times as long the steps and predictions of this one take.

    git worktree add ../before COMMIT && (cd ../before && python setup.py build_ext --inplace)
    python benchmarks/versions.py ../before [--cases ...] [--rounds 30] [--processes 1] [--json out.jsonl]

This version is the one that is installed. Each runs its own `benchmarks/peers/cnn_fit.py` in processes of its own,
with one thread and with all, in turn; who is first changes with every round. The ratio is the median over the rounds,
each of which compares neighbours in time: on a machine that others disturb it wanders less than the ratio of the best.
Quartiles say how far it can be trusted. Where memory lies differs from process to process, and the time of short calls
with it by some 5 %: with --processes each case is run in so many pairs of processes, and their median is said as well.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import machine
import prediction
from contest import SETTLE
from networks import NETWORKS
from worker import Worker

CASES = {f"fit {name}": ("training", name) for name in NETWORKS}
CASES |= {f"predict {name}": ("prediction", case) for name, case in prediction.CASES.items()}


@contextmanager
def _first_on_path(checkout: Path) -> Iterator[None]:
    """A process started meanwhile imports that checkout's programs and package: `spawn` hands sys.path on."""
    path = sys.path[:]
    sys.path[:0] = [str(checkout / folder) for folder in ("benchmarks", "python", ".")]
    try:
        yield
    finally:
        sys.path[:] = path


def compare(old: Worker, new: Worker, case: str, rounds: int, seconds: float) -> dict[str, object]:
    """Quartiles of new / old over the rounds, and the best microseconds of each."""
    for worker in (old, new):
        worker.prepare(*CASES[case], seconds)
    times: dict[Worker, list[float]] = {old: [], new: []}
    for i in range(rounds):
        for worker in (old, new) if i % 2 else (new, old):
            time.sleep(SETTLE)
            times[worker].append(1e6 * worker.measure(seconds))
    low, middle, high = statistics.quantiles([b / a for a, b in zip(times[old], times[new], strict=True)], n=4)
    return {"case": case, "threads": new.threads, "ratio": middle, "quartiles": (low, high),
            "best_ratio": min(times[new]) / min(times[old]), "old_us": min(times[old]),
            "new_us": min(times[new])}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a checkout of the other version, built in place")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), metavar="CASE",
                        help=", ".join(CASES))  # fmt: skip
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, machine.cores()}))
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--processes", type=int, default=1, help="pairs of processes (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.1, help="a round of a version (default %(default)s)")
    parser.add_argument("--json", type=Path, help="append one JSON line for each case")
    options = parser.parse_args()
    print(", ".join(f"{key} {value}" for key, value in machine.description().items()), flush=True)
    ratios: dict[tuple[str, int], list[float]] = {}
    for threads in sorted(options.threads * options.processes):
        with _first_on_path(options.before.resolve()):
            old = Worker("cnn", threads)
        new = Worker("cnn", threads)
        for case in options.cases:
            line = compare(old, new, case, options.rounds, options.seconds)
            ratios.setdefault((case, threads), []).append(float(str(line["ratio"])))
            low, high = line["quartiles"]
            print(f"{case:<36}{threads:>3} threads {line['old_us']:>12.2f} -> {line['new_us']:.2f} "
                  f"us, x {line['ratio']:.3f} ({low:.3f} to {high:.3f}), "
                  f"best x {line['best_ratio']:.3f}", flush=True)  # fmt: skip
            if options.json:
                with options.json.open("a") as out:
                    out.write(json.dumps(line) + "\n")
        old.stop()
        new.stop()
    if options.processes > 1:
        for (case, threads), found in ratios.items():
            print(f"{case:<36}{threads:>3} threads, {len(found)} processes: x {statistics.median(found):.3f} "
                  f"({min(found):.3f} to {max(found):.3f})")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
