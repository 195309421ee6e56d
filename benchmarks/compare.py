"""The whole comparison: the machine, training, prediction, kernels and threads, and every bar met or missed.

    python benchmarks/compare.py                   # some ten minutes on two cores; nothing else should run
    python benchmarks/compare.py --quick           # whether it works: a minute, and numbers that mean nothing
    python benchmarks/compare.py --from FILE       # the tables of a run that was kept
    ... --markdown                                 # into docs/development/performance-diary.md, with its picture

Prints tables in Markdown, and keeps the run as benchmarks/results/<cpu>-<date>.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import contest
import kept
import machine
import prediction
import report
import threads
import training
from kernels import peaks
from networks import NETWORKS
from peers import MODULES

from cnn._common.threads import one_blas_thread

ROOT = Path(__file__).resolve().parents[1]
WIDE = ["64-100-10", "54-256-128-7", "784-512-256-10", "1024-2048-2048-1000"]  # whose products are measured
PEAK_SECONDS, KERNEL_SECONDS, THREAD_SECONDS, CALL_SECONDS = 0.1, 0.03, 0.05, 0.05
QUICK = {"training": ["10-5-1", "64-100-10"], "prediction": ["1 x 10-5-1", "10000 x 10-5-1"], "kernels": ["64-100-10"]}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Peaks before and after all else: the better one is the machine's."""
    from kernels.build import build
    from kernels.run import Bench

    quick, cores = options.quick, options.threads
    about: dict[str, Any] = machine.description()
    print(f"{about['cpu']}, {cores} cores, load {about['load']}, {about['isa']}", flush=True)
    kernels = build(quick)
    span, megabytes = (1e-3, 8) if quick else (PEAK_SECONDS, None)
    highest = peaks.measure(kernels, cores, span, megabytes)
    bench = Bench(kernels, "float32", 1e-3 if quick else KERNEL_SECONDS)
    with one_blas_thread():
        products = list(bench.products(QUICK["kernels"] if quick else WIDE))
    results: dict[str, Any] = {"training": [], "prediction": [], "kernels": products}
    with contest.contestants(options.peers, cores) as workers:
        for work, program, cases, rounds, seconds in (
            ("training", training, NETWORKS, options.rounds, options.seconds),
            ("prediction", prediction, prediction.CASES, 2 * options.rounds, CALL_SECONDS),
        ):
            for case in QUICK[work] if quick else cases:
                lines = program.compare(case, workers, rounds, 1e-3 if quick else seconds)
                print("\n".join(map(contest.text, lines)), flush=True)
                results[work] += lines
    results["threads"] = threads.measure(cores, 4 * options.rounds, 1e-3 if quick else THREAD_SECONDS, quick=quick)
    for name, value in peaks.measure(kernels, cores, span, megabytes).items():
        highest[name] = max(value, highest[name])
    about = {**about, "cores": cores, **highest}
    return {"machine": about, "date": kept.today(), "rounds": options.rounds, **results}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="+", choices=list(MODULES), default=list(MODULES))
    parser.add_argument("--threads", type=int, default=machine.cores(), help="what 'all' means (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=7,
                        help="of training; prediction has twice as many, threads four times")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=0.2, help="a round of training (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="a few cases, for moments only; nothing is kept")
    kept.option(parser)
    parser.add_argument("--from", type=Path, dest="kept", help="measure nothing; take a run that was kept")
    page = ROOT / "docs" / "development" / "performance-diary.md"
    parser.add_argument("--markdown", type=Path, nargs="?", const=page, metavar="PAGE",
                        help="write tables and picture into that page (default that of the diary)")  # fmt: skip
    options = parser.parse_args()
    if options.kept:
        results = json.loads(options.kept.read_text(encoding="utf-8"))
    else:
        if options.quick:
            options.rounds = 1
        results = kept.rounded(measure(options))
    print("\n" + report.markdown(results))
    if options.markdown:
        report.write_page(options.markdown, results)
    if not options.kept:
        kept.write(results, options.json or (None if options.quick else kept.FOLDER))
    lines = [*results["training"], *results["prediction"]]
    wrong = [f"{line['case']}: {line['contestant']}" for line in lines if line["agrees"] is False]
    if wrong:
        print("results that are not everybody's: " + ", ".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
