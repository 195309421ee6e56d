"""What training.py and prediction.py share: contestants that take turns, their lines, and the command line."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import machine
from peers import MODULES
from worker import Worker

SETTLE = 0.05  # seconds: idle threads of the contestant before may still spin
Line = dict[str, Any]


@contextmanager
def contestants(peers: Iterable[str], all_threads: int, counts: Iterable[int] = ()) -> Iterator[list[Worker]]:
    """A process for each peer that is there, with one thread and with all, or with each of these counts."""
    workers: list[Worker] = []
    try:
        for peer in peers:
            for threads in counts or sorted({1, all_threads}):
                worker = Worker(peer, threads)
                if worker.absent is not None:
                    print(f"{peer} is absent: {worker.absent}", file=sys.stderr)
                    break
                workers.append(worker)
        yield workers
    finally:
        for worker in workers:
            worker.stop()


def compete(workers: list[Worker], work: str, case: Any, rounds: int, seconds: float) -> list[Line]:
    """A line for each contestant that does this work: best and median microseconds, ratio to the best of cnn."""
    lines: list[Line] = []
    chosen: list[Worker] = []
    for worker in workers:
        time.sleep(SETTLE)
        prepared = worker.prepare(work, case, seconds)
        if prepared is not None:
            chosen.append(worker)
            lines.append({"contestant": worker.peer, "threads": worker.threads, **prepared, "rounds": []})
    for _ in range(rounds):
        for worker, line in zip(chosen, lines, strict=True):
            time.sleep(SETTLE)
            line["rounds"].append(1e6 * worker.measure(seconds))
    for line in lines:
        line["us"], line["us_median"] = min(line["rounds"]), statistics.median(line["rounds"])
    ours = [line["us"] for line in lines if line["contestant"] == "cnn"]
    return [{**line, "ratio": line["us"] / min(ours) if ours else None} for line in lines]


def best(lines: Iterable[Line], contestant: str, **wanted: Any) -> Line | None:
    """The fastest line of a contestant, at its best number of threads; None if it was not there."""
    found = [line for line in lines if line["contestant"] == contestant
             and all(line[key] == value for key, value in wanted.items())]  # fmt: skip
    return min(found, key=lambda line: line["us"], default=None)


def parser(description: str | None, cases: Iterable[str], rounds: int, seconds: float) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(cases), default=list(cases), metavar="CASE",
                        help=", ".join(cases))  # fmt: skip
    parser.add_argument("--peers", nargs="+", choices=list(MODULES), default=list(MODULES))
    parser.add_argument("--threads", type=int, default=machine.cores(), help="what 'all' means (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seconds", type=float, default=seconds, help="a round of a contestant (default %(default)s)")
    parser.add_argument("--json", type=Path, help="append one JSON line for each case and contestant")
    return parser


def run(options: argparse.Namespace, compare: Callable[[str, list[Worker], int, float], list[Line]]) -> int:
    """All cases; the status of the program is 1 if a contestant's result is not everybody's."""
    about = machine.description()
    print(", ".join(f"{key} {value}" for key, value in about.items()), flush=True)
    lines: list[Line] = []
    with contestants(options.peers, options.threads) as workers:
        for case in options.cases:
            new = compare(case, workers, options.rounds, options.seconds)
            for line in new:
                print(text(line), flush=True)
            lines += new
            if options.json:
                with options.json.open("a") as out:
                    out.writelines(json.dumps({**line, "machine": about}) + "\n" for line in new)
    report(lines)
    return 0 if all(line["agrees"] is not False for line in lines) else 1


def text(line: Line) -> str:
    agreement = {True: "agrees", False: "DISAGREES", None: "not comparable"}[line["agrees"]]
    ratio = "" if line["ratio"] is None else f", {line['ratio']:6.2f} x cnn"
    return (f"{line['case']:<26}{line['contestant']:<13}{line['threads']:>3} threads  {line.get('variant', ''):<12}"
            f"{line['us']:>13.2f} us (median {line['us_median']:.2f}) {line['gflops']:7.1f} GFLOP/s{ratio}, "
            f"{agreement}")  # fmt: skip


def report(lines: list[Line]) -> None:
    """A row for each case, a column for each peer: its best, and how many times as long as cnn it takes."""
    peers = list(dict.fromkeys(line["contestant"] for line in lines))
    print(f"\n{'microseconds (ratio to cnn)':<36}" + "".join(f"{peer:>22}" for peer in peers))
    for case in dict.fromkeys(line["case"] for line in lines):
        row = f"{case:<36}"
        for peer in peers:
            line = best(lines, peer, case=case)
            row += f"{'-':>22}" if line is None else f"{line['us']:>12.1f} ({line['ratio'] or 0:7.2f})"
        print(row)
