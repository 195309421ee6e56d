"""Many writers of one path at once: every save succeeds, the last one wins, nothing is left beside it.

    python tools/concurrent_saves.py --processes 8 --threads 2 --saves 200

Half of the processes give their files a name from the beginning, as systems do that know no files without one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import threading
from pathlib import Path

import numpy as np

import cnn


def network(seed: int) -> cnn.Network:
    return cnn.Network([cnn.Dense(200), cnn.Dense(1)], seed=seed).build(50)


def writer(path: Path, seed: int, threads: int, saves: int, failures: multiprocessing.Queue[str]) -> None:
    if seed % 2 and hasattr(os, "O_TMPFILE"):
        del os.O_TMPFILE

    def save(net: cnn.Network) -> None:
        for _ in range(saves):
            try:
                net.save(path)
            except Exception as error:
                failures.put(f"{type(error).__name__}: {error}")

    workers = [threading.Thread(target=save, args=(network(seed),)) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    failures.put("")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--saves", type=int, default=200)
    how = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.cnn")
        context = multiprocessing.get_context("spawn")
        failures: multiprocessing.Queue[str] = context.Queue()
        processes = [context.Process(target=writer, args=(path, seed, how.threads, how.saves, failures))
                     for seed in range(how.processes)]  # fmt: skip
        for process in processes:
            process.start()
        said: list[str] = []
        while said.count("") < how.processes:
            said.append(failures.get(timeout=600))
        for process in processes:
            process.join()
        wrong = [text for text in said if text]
        died = sum(process.exitcode != 0 for process in processes)
        loaded = cnn.load(path).flat
        if not any(np.array_equal(loaded, network(seed).flat) for seed in range(how.processes)):
            wrong.append("the file holds no network that was saved")
        wrong += [f"{name} is left" for name in os.listdir(folder) if name != path.name]
    saves = how.processes * how.threads * how.saves
    print(f"{saves} saves of one path by {how.processes} processes of {how.threads} threads: {len(wrong)} failures, "
          f"{died} processes died", *wrong[:5], sep="\n")  # fmt: skip
    raise SystemExit(bool(wrong or died))


if __name__ == "__main__":
    main()
