"""Memory and disk that a library takes: python benchmarks/footprint.py [--json [FILE]].

Each contestant trains two networks for two epochs, in a process of its own with one thread: MB of memory at the peak
beyond what the process had with NumPy, its data and its initial weights. On disk: the files of its distribution and of
all that it requires, beyond Python, NumPy and SciPy.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import kept
from networks import NETWORKS, problem
from packaging.requirements import Requirement

CASES = ("54-256-128-7", "1024-2048-2048-1000")
PEERS = {
    "cnn": "cnn-core",
    "scikit-learn": "scikit-learn",
    "jax": "jax",
    "torch": "torch",
    "onnxruntime": "onnxruntime",
}
GIVEN = {"numpy", "scipy"}
EPOCHS = 2


def peak() -> float:
    """MB that this process had at most; Linux counts in kB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def trained(peer: str, case: str) -> None:
    """Of the child: prints megabytes."""
    from peers import MODULES

    data = problem(NETWORKS[case])
    before = peak()
    module = importlib.import_module(f"peers.{MODULES[peer]}")
    module.Trainer(data, module.VARIANTS[0], 1).run(EPOCHS)
    print(peak() - before)


def of_package(name: str) -> int:
    """Bytes of a package that was not installed as a distribution, without what is there to build it."""
    spec = importlib.util.find_spec(name)
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    return sum(path.stat().st_size for path in folder.rglob("*") if path.suffix in (".py", ".so", ".pxd", ".h", ".pyi"))


def on_disk(distribution: str) -> float | None:
    """MB of a distribution with all that it requires; of cnn those of its packages, wherever they are."""
    found: set[str] = set()
    total, open_names = 0, [distribution]
    while open_names:
        name = re.sub(r"[-_.]+", "-", open_names.pop()).lower()
        if name in found or name in GIVEN:
            continue
        found.add(name)
        try:
            there = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            if name != "cnn-core":
                return None
            total += of_package("cnn") + of_package("cnn_core")
            open_names += ["threadpoolctl", "tqdm"]
            continue
        if name == "cnn-core":
            total += of_package("cnn") + of_package("cnn_core")
        else:
            files = (Path(there.locate_file(file)) for file in there.files or [])
            total += sum(file.stat().st_size for file in files if file.is_file() and file.suffix != ".pyc")
        wanted = map(Requirement, there.requires or [])
        open_names += [one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    return total / 1e6


def measure(peers: list[str], cases: list[str]) -> list[dict[str, Any]]:
    rows = []
    for peer in peers:
        disk = on_disk(PEERS[peer])
        if disk is None:
            print(f"{peer} is absent", file=sys.stderr)
            continue
        row: dict[str, Any] = {"contestant": peer, "disk_mb": round(disk, 1)}
        for case in cases if peer != "onnxruntime" else ():
            command = [sys.executable, __file__, "--child", peer, case]
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
            row[case] = round(float(done.stdout), 1)
        print(row, flush=True)
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--cases", nargs="+", choices=list(NETWORKS), default=list(CASES))
    kept.option(parser)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        trained(*options.child)
        return
    kept.write(kept.answer("footprint", measure(options.peers, options.cases)), options.json)


if __name__ == "__main__":
    main()
