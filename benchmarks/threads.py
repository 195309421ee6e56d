"""Threads: what more of them bring, what equal bits for any number of them cost, and two fits at once.

    python benchmarks/threads.py [--only sweep bits pairs] [--json out.jsonl]

- sweep: a step of networks of several widths and batches, with 1, 2, 4 ... all threads and as many as `fit` chooses;
  no number may be slower than one.
- bits: a step as the engine cuts it, by sizes alone, beside the fastest of several cuts of which bits depend on the
  number of threads: one share of the rows for each thread, in slabs of 32 to 256 rows.
- pairs: two fits in two Python threads beside one alone, one core each: both should run at full speed.

All variants of a case take turns, round by round, and the best round counts.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import machine
from networks import NETWORKS, Network, problem
from peers import cnn_fit

from cnn._common.threads import one_blas_thread
from cnn.runtime.plan import Cut, Plan

Line = dict[str, Any]
WIDTHS = (8, 32, 128, 512)
BATCHES = (32, 256)
PAIRS = ("8-32-32-1", "54-256-128-7")
WORKS = ("sweep", "bits", "pairs")


def fastest(runs: dict[str, Callable[[], object]], rounds: int, seconds: float) -> dict[str, float]:
    """The best seconds of a call of each, in turns of about so many seconds."""
    calls, best = {}, {}
    for name, run in runs.items():
        run()
        began = time.perf_counter()
        run()
        calls[name] = max(1, round(seconds / (time.perf_counter() - began)))
        best[name] = float("inf")
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            for _ in range(calls[name]):
                run()
            best[name] = min(best[name], (time.perf_counter() - began) / calls[name])
    return best


def teams(threads: int) -> list[int]:
    """1, 2, 4 ... and all."""
    return sorted({min(2**i, threads) for i in range(threads.bit_length() + 1)})


def sweep(threads: int, rounds: int, seconds: float, quick: bool = False) -> Iterator[Line]:
    for width in WIDTHS[:1] if quick else WIDTHS:
        for batch in BATCHES[:1] if quick else BATCHES:
            steps = max(2, min(200, int(2e8 / (12 * width * width * batch))))
            network = Network((width, width, width, 1), "relu", "identity", "mse", "adam", 1e-4, batch, steps)
            trainer = cnn_fit.Trainer(problem(network), "fit", 1)

            def fit(n: int | None, trainer: cnn_fit.Trainer = trainer) -> None:
                trainer.arguments["n_threads"] = n
                trainer.run(4)

            runs = {str(n or "chosen"): lambda n=n, fit=fit: fit(n) for n in (*teams(threads), None)}
            us = {name: 1e6 * best / steps / 4 for name, best in fastest(runs, rounds, seconds).items()}
            yield {"work": "sweep", "case": f"{network.name}, batch {batch}", "us": us,
                   "worst": max(us.values()) / us["1"], "best": min(us.values()) / us["1"]}  # fmt: skip


def order_free(plan: Plan, cut: Cut, batch: int, threads: int) -> dict[str, Cut]:
    """Cuts that depend on the number of threads: a share of the rows for each, in slabs of at most so many rows."""
    share = -(-batch // threads)
    cuts = {}
    for rows in (32, 64, 128, 256):
        workspace = plan.workspace(min(rows, share))
        own = int(workspace["capacity"][0]) * plan.columns
        cuts[f"{rows} rows"] = dataclasses.replace(
            cut, wide=False, parts=threads, workspace=workspace, shared=0, own=own, feeds=threads
        )
        if rows >= share:
            break
    return cuts


def bits(threads: int, rounds: int, seconds: float, quick: bool = False) -> Iterator[Line]:
    for network in list(NETWORKS.values())[: 1 if quick else None]:
        # An epoch of the largest takes seconds; two of its steps are enough.
        network = dataclasses.replace(network, n_batches=min(network.n_batches, max(2, int(4e9 / network.flops))))
        data = problem(network)
        plan = cnn_fit.described(network).plan
        cut = plan.cut(network.batch_size)
        team = min(threads, cut.feeds)
        loops = {name: cnn_fit.Loop(data, team, cut=other) for name, other in
                 {"as it is": cut, **order_free(plan, cut, network.batch_size, team)}.items()}  # fmt: skip
        with one_blas_thread():
            best = fastest({name: loop.run for name, loop in loops.items()}, rounds, seconds)
        us = {name: 1e6 * value / network.n_batches for name, value in best.items()}
        free = {name: value for name, value in us.items() if name != "as it is"}
        yield {"work": "bits", "case": f"{network.name}, batch {network.batch_size}", "threads": team, "us": us,
               "fastest": min(free, key=free.__getitem__), "cost": us["as it is"] / min(free.values()) - 1}  # fmt: skip


def pairs(threads: int, rounds: int, seconds: float, quick: bool = False) -> Iterator[Line]:
    if threads < 2:
        return
    for name in PAIRS[:1] if quick else PAIRS:
        network = NETWORKS[name]
        epochs = max(1, int(2e9 / network.flops / network.n_batches))
        trainers = [cnn_fit.Trainer(problem(network), "fit", 1) for _ in range(2)]

        def both(trainers: list[cnn_fit.Trainer] = trainers, epochs: int = epochs) -> None:
            fits = [threading.Thread(target=trainer.run, args=(epochs,)) for trainer in trainers]
            for fit in fits:
                fit.start()
            for fit in fits:
                fit.join()

        best = fastest({"one": lambda t=trainers[0], n=epochs: t.run(n), "two": both}, rounds, seconds)
        us = {which: 1e6 * value / epochs / network.n_batches for which, value in best.items()}
        yield {"work": "pairs", "case": f"{name}, batch {network.batch_size}", "us": us, "worst": us["two"] / us["one"]}


def measure(
    threads: int, rounds: int, seconds: float, works: tuple[str, ...] = WORKS, quick: bool = False
) -> list[Line]:
    lines = []
    for work in works:
        for line in {"sweep": sweep, "bits": bits, "pairs": pairs}[work](threads, rounds, seconds, quick):
            lines.append({"benchmark": "threads", **line})
            print(text(line), flush=True)
    return lines


def text(line: Line) -> str:
    times = ", ".join(f"{name}: {us:.2f}" for name, us in line["us"].items())
    verdict = f"cost {line['cost']:+.1%}" if line["work"] == "bits" else f"at worst {line['worst']:.2f} x one"
    return f"{line['work']:<6} {line['case']:<34} {verdict:<22} us a step  {times}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--threads", type=int, default=machine.cores(), help="what 'all' means (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.05, help="a round of a variant (default %(default)s)")
    parser.add_argument("--json", type=Path, help="write one JSON line for each case there")
    parser.add_argument("--quick", action="store_true", help="the first case of each work alone")
    options = parser.parse_args()
    lines = measure(options.threads, options.rounds, options.seconds, tuple(options.only), options.quick)
    if options.json:
        about = machine.description()
        options.json.write_text("".join(json.dumps({**line, "machine": about}) + "\n" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
