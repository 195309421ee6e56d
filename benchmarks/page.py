"""The page of performance, told to users: python benchmarks/page.py writes docs/performance.md and its figures.

All between two marks of the page comes from the runs that benchmarks/results keeps: those of compare.py, one for each
processor, and those of images.py, many.py, tables.py, stream.py and footprint.py with `--json`. `--page FILE` writes
another page, `--results FOLDER` takes other runs.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bars
import charts
from contest import best
from report import table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
TRAINED_BY = ("jax", "torch", "scikit-learn", "numpy")
PREDICTED_BY = ("onnxruntime", "jax", "torch", "scikit-learn")
NAMES = {**bars.NAMES, "cnn": "cnn"}
Results = dict[str, Any]


class Kept:
    """The newest run of each processor for compare.py, and of each other question."""

    def __init__(self, folder: Path) -> None:
        runs = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
        runs.sort(key=lambda run: run["date"])
        self.compared = {short(run): run for run in runs if "training" in run}
        self.of = {run["question"]: run for run in runs if "question" in run}


def short(run: Results) -> str:
    """`Intel Xeon`, `AMD EPYC`."""
    cpu = re.sub(r"\((R|TM)\)|Processor|CPU.*", "", run["machine"]["cpu"])
    return " ".join(cpu.split())


def where(run: Results) -> str:
    sets = {"v4": "AVX-512", "v3": "AVX2", "baseline": "SSE2"}
    about = run["machine"]
    return f"{about['cores']} cores of an {short(run)} ({sets.get(about['isa'], about['isa'])}), {run['date']}"


def source(*runs: Results, command: str = "") -> str:
    commands = dict.fromkeys(command or run["command"] for run in runs)
    return f"Measured by {', '.join(f'`{one}`' for one in commands)} on {'; '.join(where(run) for run in runs)}."


def times(value: float) -> str:
    return f"{bars.number(value)}×"


def title_of(case: str) -> str:
    """`1 x 10-5-1` is one row through that network."""
    rows, by, network = case.partition(" x ")
    return f"{int(rows):,} row{'s' * (rows != '1')}, {network}" if by else case


def ratios(run: Results, work: str, case: str, peers: tuple[str, ...]) -> dict[str, float]:
    ours = best(run[work], "cnn", case=case)
    theirs = {peer: best(run[work], peer, case=case) for peer in peers}
    return {peer: line["us"] / ours["us"] for peer, line in theirs.items() if line and ours}


def compared(kept: Kept, work: str, peers: tuple[str, ...], title: str, path: Path) -> str:
    """Times as fast as each peer, on each processor, and the time itself."""
    parts = []
    shown: dict[str, dict[str, dict[str, float]]] = {}
    for name, run in kept.compared.items():
        cases = list(dict.fromkeys(line["case"] for line in run[work]))
        rows = []
        for case in cases:
            ours, found = best(run[work], "cnn", case=case), ratios(run, work, case, peers)
            if ours:
                rows.append(
                    [title_of(case), *(times(found[p]) if p in found else "–" for p in peers), bars.time(ours["us"])]
                )
                shown.setdefault(name, {})[title_of(case)] = {NAMES[p]: value for p, value in found.items()}
        parts.append(
            f"**{name}**: how many times as fast as\n\n" + table([title, *(NAMES[p] for p in peers), "cnn takes"], rows)
        )
    charts.ratios(path, shown, "times as fast")
    return "\n\n".join([*parts, source(*kept.compared.values(), command="python benchmarks/compare.py")])


def training(kept: Kept, images: Path) -> str:
    return compared(kept, "training", TRAINED_BY, "a step of", images / "performance_training.png")


def prediction(kept: Kept, images: Path) -> str:
    return compared(kept, "prediction", PREDICTED_BY, "a call of `predict` with", images / "performance_prediction.png")


def tables(kept: Kept, images: Path) -> str:
    run = kept.of["tables"]
    peers = [name for name in run["rows"][0] if name not in ("table", "score", "seconds")]
    means = {peer: statistics.fmean(row[peer] for row in run["rows"]) for peer in peers}
    ranks: dict[str, list[float]] = {peer: [] for peer in peers}
    for row in run["rows"]:
        for peer in peers:
            ranks[peer].append(
                1
                + sum(row[other] < row[peer] for other in peers)
                + sum(row[other] == row[peer] for other in peers if other != peer) / 2
            )
    named = {"cnn": "`cnn.TableModel`"}
    first = {peer: sum(row[peer] == min(row[p] for p in peers) for row in run["rows"]) for peer in peers}
    rows = [
        [named.get(peer, peer), f"{statistics.fmean(ranks[peer]):.1f}", f"{means[peer]:.3f}", f"{first[peer]}"]
        for peer in sorted(peers, key=means.__getitem__)
    ]
    charts.points(images / "performance_tables.png", {row["table"]: {p: row[p] for p in peers} for row in run["rows"]},
                  "error, as a share of that of saying the mean or the most frequent class")  # fmt: skip
    slowest = max(run["rows"], key=lambda row: row["seconds"])
    return "\n\n".join([
        table(["model, without any options", "mean rank", "mean error", f"first of {len(run['rows'])}"], rows),
        f"A fit of `cnn.TableModel` took {slowest['seconds']:g} s at most ({slowest['table']}). {source(run)}",
    ])  # fmt: skip


def pictures(kept: Kept, images: Path) -> str:
    run = kept.of["images"]
    peers = [peer for peer in ("torch", "onnxruntime") if any(peer in row for row in run["rows"])]
    rows = [
        [row["work"], *(times(row[p] / row["cnn"]) if p in row else "–" for p in peers), bars.time(row["cnn"])]
        for row in run["rows"]
    ]
    shown = {row["work"]: {NAMES[p]: row[p] / row["cnn"] for p in peers if p in row} for row in run["rows"]}
    charts.ratios(images / "performance_images.png", {short(run): shown}, "times as fast")
    return "\n\n".join([f"**{short(run)}**: how many times as fast as",
                        table(["work", *(NAMES[p] for p in peers), "cnn takes"], rows), source(run)])  # fmt: skip


def many(kept: Kept, images: Path) -> str:
    run = kept.of["many"]
    ours = run["rows"][0]["us"]
    rows = [[row["work"], f"{bars.number(row['us'])} µs", times(row["us"] / ours)] for row in run["rows"]]
    charts.lengths(
        images / "performance_many.png",
        {row["work"].replace("`", ""): row["us"] for row in run["rows"]},
        "µs a step and network",
    )
    return "\n\n".join(
        [table(["128 networks of 8-32-32-1, batches of 32", "a step and network", "times as long"], rows), source(run)]
    )


def threads(kept: Kept, images: Path) -> str:
    """What the second core gives, and what equal bits cost."""
    lines = {name: [line for line in run["threads"] if line["work"] == "sweep"] for name, run in kept.compared.items()}
    cases = list(dict.fromkeys(line["case"] for found in lines.values() for line in found))
    gains = {
        name: {line["case"]: line["us"]["1"] / line["us"]["chosen"] for line in found} for name, found in lines.items()
    }
    rows = [[case, *(times(gains[name][case]) if case in gains[name] else "–" for name in gains)] for case in cases]
    costs = {
        name: [line["cost"] for line in run["threads"] if line["work"] == "bits"] for name, run in kept.compared.items()
    }
    told = "; ".join(
        f"{name}: {min(found):+.0%} to {max(found):+.0%}, {statistics.median(found):+.0%} in the middle"
        for name, found in costs.items()
    )
    charts.ratios(
        images / "performance_threads.png",
        {name: {case: {"2 threads": value} for case, value in found.items()} for name, found in gains.items()},
        "times as fast as with one thread",
    )
    return "\n\n".join([
        table(["a step of, two threads", *gains], rows),
        "What the same bits for every number of threads cost beside work that is shared out by the number of threads, "
        f"over {len(next(iter(costs.values())))} networks: {told}.",
        source(*kept.compared.values(), command="python benchmarks/compare.py"),
    ])  # fmt: skip


def memory(kept: Kept, images: Path) -> str:
    run, stream = kept.of["footprint"], kept.of["stream"]["rows"][0]
    cases = [key for key in run["rows"][0] if key not in ("contestant", "disk_mb")]
    ours = run["rows"][0]
    trained = [row for row in run["rows"] if cases[0] in row]
    rows = [
        [NAMES[row["contestant"]], *(f"{row[case]:,.0f} MB ({times(row[case] / ours[case])})" for case in cases)]
        for row in trained
    ]
    charts.ratios(
        images / "performance_memory.png",
        {short(run): {case: {NAMES[row["contestant"]]: row[case] for row in trained} for case in cases}},
        "MB at the peak, beyond NumPy and the data",
        one=False,
    )
    return "\n\n".join([
        table(["trains, one thread", *cases], rows),
        f"Of data larger than memory, {stream['gb']:g} GB of Parquet with {stream['rows'] / 1e6:.1f} million rows, a "
        f"fit takes {stream['peak_mb']} MB at its peak, of which Python, NumPy and Arrow have {stream['without_mb']}. "
        f"{source(run, kept.of['stream'])}",
    ])  # fmt: skip


def install(kept: Kept, images: Path) -> str:
    run = kept.of["footprint"]
    ours = run["rows"][0]["disk_mb"]
    rows = [
        [NAMES[row["contestant"]], f"{row['disk_mb']:,.0f} MB", times(row["disk_mb"] / ours)] for row in run["rows"]
    ]
    charts.lengths(
        images / "performance_install.png",
        {NAMES[row["contestant"]]: row["disk_mb"] for row in run["rows"]},
        "MB on disk",
    )
    return "\n\n".join(
        [table(["installed, beyond Python, NumPy and SciPy", "on disk", "times as much"], rows), source(run)]
    )


PARTS: dict[str, Callable[[Kept, Path], str]] = {
    "training": training, "prediction": prediction, "tables": tables, "images": pictures, "many": many,
    "threads": threads, "memory": memory, "install": install,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "performance.md")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    text, kept = options.page.read_text(encoding="utf-8"), Kept(options.results)
    images = options.page.parent / "images"
    images.mkdir(exist_ok=True)
    for name, part in PARTS.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise SystemExit(f"{options.page} must have one line {begin} and one line {end}")
        before, after = text.split(begin)[0], text.split(end)[1]
        text = f"{before}{begin}\n{part(kept, images)}\n{end}{after}"
    options.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
