"""An epoch over a Parquet folder of four times the memory limit, beside one on the same rows in memory.

python benchmarks/stream.py [--limit 640] [--rounds 2] [--folder FOLDER] [--seed 0] [--json [FILE]]

The network is 54-256-128-7, batch 256, Adam, on rows of 54 float32 columns in row groups of 50,000, written to FOLDER
(a temporary one; it takes four times the limit of disk). Each round runs two processes, one after the other: one reads
all rows, then trains; one trains on the folder with its data segment limited (`ulimit -d`, RLIMIT_DATA) to so many MB,
Arrow taking its memory from malloc, for its own allocator reserves a GB of addresses, which count.
Times are those of an epoch, the medians of the rounds; the peak is VmHWM. Prints bars met or missed, and returns 1
where one is missed. (Linux)
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import kept
import numpy as np

import cnn

COLUMNS, CLASSES, GROUP = 54, 7, 50_000
TIMES, SLOWER = 4, 1.3  # of the limit; of the time in memory
PEAK = "VmHWM"  # not getrusage's, which a child takes over from the process that started it


def write(folder: Path, rows: int, seed: int) -> None:
    """The rows, some files of them."""
    import pyarrow as pa
    from pyarrow import parquet

    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(COLUMNS, CLASSES)).astype(np.float32)
    per_file = 8 * GROUP
    for number, begin in enumerate(range(0, rows, per_file)):
        X = rng.standard_normal((min(per_file, rows - begin), COLUMNS), np.float32)
        columns = {f"x{j}": X[:, j] for j in range(COLUMNS)}
        table = pa.table({**columns, "y": (X @ weights).argmax(axis=1).astype(np.int32)})
        parquet.write_table(table, folder / f"{number:04}.parquet", row_group_size=GROUP, use_dictionary=False)


def network() -> cnn.Network:
    layers = [cnn.Dense(256, "relu"), cnn.Dense(128, "relu"), cnn.Dense(CLASSES)]
    return cnn.Network(layers, loss="cross_entropy", optimizer=cnn.Adam(0.001), seed=0)


def in_memory(folder: Path) -> cnn.History:
    from pyarrow import parquet

    files = sorted(folder.iterdir())
    rows = sum(parquet.read_metadata(file).num_rows for file in files)
    X, y, begin = np.empty((rows, COLUMNS), np.float32), np.empty(rows, np.int32), 0
    for file in files:
        table = parquet.read_table(file)
        end = begin + table.num_rows
        for j in range(COLUMNS):
            X[begin:end, j] = table.column(j).to_numpy()
        y[begin:end], begin = table.column("y").to_numpy(), end
    return network().fit(X, y, epochs=1, batch_size=256, verbose=0)


def streamed(folder: Path, limit: int) -> cnn.History:
    resource.setrlimit(resource.RLIMIT_DATA, (limit << 20, limit << 20))
    return network().fit(folder, "y", epochs=1, batch_size=256, verbose=0)


def measured(folder: Path, limit: int | None) -> dict[str, Any]:
    """What `one` prints, in a process of its own."""
    words = [sys.executable, __file__, "--one", str(folder), *([] if limit is None else ["--limit", str(limit)])]
    environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def one(folder: Path, limit: int | None) -> None:
    from pyarrow import parquet  # noqa: F401 (what it takes is no part of a fit)

    without = megabytes()
    history = in_memory(folder) if limit is None else streamed(folder, limit)
    print(json.dumps({
        "seconds": history.seconds[0], "loss": history.loss[0], "peak": megabytes(), "without": without,
    }))  # fmt: skip


def megabytes() -> float:
    """The peak of this process up to now."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[PEAK].split()[0]) / 1024


def bar(what: str, value: float, most: float, unit: str) -> bool:
    met = value <= most
    print(f"{what}: {value:.3g}{unit}, at most {most:.3g}{unit}: {'met' if met else 'missed'}")
    return met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, help="MB of the process that reads the folder (640)")
    parser.add_argument("--rows", type=int, help="not four times the limit: to see that it works")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="on the disk that is to be measured")
    parser.add_argument("--seed", type=int, default=0)
    kept.option(parser)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        one(given.one, given.limit)
        return 0
    limit = given.limit or 640
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        rows = given.rows or TIMES * (limit << 20) // (4 * COLUMNS)
        write(Path(name), rows, given.seed)
        size = sum(file.stat().st_size for file in Path(name).iterdir())
        print(f"{rows:,} rows, {rows * 4 * COLUMNS / 2**20:.0f} MB in memory, {size / 2**20:.0f} MB of Parquet")
        rounds = [(measured(Path(name), None), measured(Path(name), limit)) for _ in range(given.rounds)]
    times = [statistics.median(part["seconds"] for part in parts) for parts in zip(*rounds, strict=True)]
    ratio = statistics.median(stream["seconds"] / memory["seconds"] for memory, stream in rounds)
    peak = max(stream["peak"] for _, stream in rounds)
    print(f"an epoch in memory: {times[0]:.2f} s, {1e6 * times[0] / rows:.2f} us a row; streamed: {times[1]:.2f} s")
    memory, stream = rounds[0]
    print(f"peak in memory: {memory['peak']:.0f} MB; losses {memory['loss']:.4f}, {stream['loss']:.4f}")
    row = {"gb": round(size / 1e9, 1), "rows": rows, "peak_mb": round(peak), "without_mb": round(stream["without"])}
    kept.write(kept.answer("stream", [row]), given.json)
    quick = bar("time of the stream by that in memory", ratio, SLOWER, "")
    return 0 if bar("peak of the stream", peak, limit, " MB") and quick else 1


if __name__ == "__main__":
    raise SystemExit(main())
