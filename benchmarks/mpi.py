"""Training over MPI: speed beside threads, the cost model, ranks killed at random moments; prints bars met or missed.

    python benchmarks/mpi.py [--only speed model kills] [--rounds 5] [--kills 200] [--json out.jsonl]

Needs the extra `mpi` and an mpiexec. `mpiexec -n R python benchmarks/mpi.py --job ...` are the runs that it starts.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from typing import Any

import machine
import numpy as np

import cnn
from cnn.mpi.ranks import Ranks

LAYERS, BATCH, STEPS = (784, 512, 256, 10), 512, 20
SPEED_BAR, MODEL_BAR, END_SECONDS = 0.85, 0.2, 30.0
KILL_EPOCHS, KILLS_AT_ONCE = 12, 4
# Of a cluster, for the model of many ranks: seconds and bytes a second of a message between machines (100 Gbit/s).
LATENCY, BANDWIDTH = 2e-6, 12.5e9


# What runs on the ranks -----------------------------------------------------------------------------------------------


def network() -> cnn.Network:
    *hidden, last = LAYERS[1:]
    return cnn.Network([*(cnn.Dense(n, "relu") for n in hidden), cnn.Dense(last)], loss="cross_entropy", seed=0)


def rows(n: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, LAYERS[0])).astype(np.float32), rng.integers(0, LAYERS[-1], n)


def step_seconds(X: Any, y: Any, batch: int, threads: int, comm: Any = None) -> float:
    """The least time of a step, epoch by epoch of one fit; `batch` is that of all ranks."""
    ends: list[float] = []
    network().fit(X, y, batch_size=batch, epochs=5, verbose=0, metrics=(), comm=comm, n_threads=threads,
                  callbacks=[lambda net, epoch, logs: ends.append(time.perf_counter())])  # fmt: skip
    return float(np.diff(ends).min()) / STEPS


def wait_for_all(comm: Any) -> None:
    """A barrier that leaves the cores to the others."""
    request = comm.Ibarrier()
    while not request.Test():
        time.sleep(0.005)


def speed(comm: Any, rounds: int) -> list[Any]:
    """[(two ranks of one thread, two threads of one process), ...], in seconds of a step, by turns."""
    X, y = rows(BATCH * STEPS)
    mine, found = slice(comm.rank, None, comm.size), []
    for _ in range(rounds):
        both = step_seconds(X[mine], y[mine], BATCH, 1, comm)
        alone = step_seconds(X, y, BATCH, comm.size) if comm.rank == 0 else 0.0
        wait_for_all(comm)
        found.append((both, alone))
    return found


def model(comm: Any, rounds: int) -> list[Any]:
    """[(a step, a step of one rank's rows alone, an exchange, one of a single number), ...], in seconds."""
    X, y = rows(BATCH * STEPS)
    mine, found = slice(comm.rank, None, comm.size), []
    size = network().build(LAYERS[0]).plan.size
    for _ in range(rounds):
        whole = step_seconds(X[mine], y[mine], BATCH, 1, comm)
        alone = step_seconds(X[mine], y[mine], BATCH // comm.size, 1) if comm.rank == 0 else 0.0
        wait_for_all(comm)
        ranks = Ranks(comm)
        times = []
        for n in (size, 1):
            values, sums = np.ones(n, np.float32), np.zeros(1)
            begin = time.perf_counter()
            for _ in range(200):
                ranks.add(values, sums)
            times.append((time.perf_counter() - begin) / 200)
        ranks.close()
        found.append((whole, alone, *times))
    return found


def resumable(comm: Any, folder: Path) -> tuple[str, float]:
    """The fit that is killed and gone on from: a digest of its weights, and its seconds."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 16))
    net = cnn.Network([cnn.Dense(32, "tanh"), cnn.Dropout(0.1), cnn.Dense(16, "relu"), cnn.Dense(1)], seed=1)
    faulthandler.register(signal.SIGUSR1)
    (folder / f"{comm.rank}.pid").write_text(str(os.getpid()))
    begin = time.perf_counter()
    net.fit(
        X, X[:, 0] * X[:, 1], epochs=KILL_EPOCHS, batch_size=256, validation_split=0.1, verbose=0, comm=comm,
        same_rows=True, resume=folder / "run",
        callbacks=[cnn.Checkpoint(folder / "run", every=3, unit="steps"), lambda *_: time.sleep(0.02)],
    )  # fmt: skip
    return hashlib.sha256(net.flat.tobytes()).hexdigest(), time.perf_counter() - begin


# What starts them -----------------------------------------------------------------------------------------------------


def start(ranks: int, *arguments: object) -> subprocess.Popen[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    mpiexec = shutil.which("mpiexec", path=path)
    if mpiexec is None:
        sys.exit("there is no mpiexec: pip install mpich")
    command = [mpiexec, "-n", ranks, sys.executable, "-m", "mpi4py", __file__, "--job", *arguments]
    return subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            start_new_session=True)  # fmt: skip


def result(ranks: int, *arguments: object) -> Any:
    """What rank 0 prints as its last line."""
    process = start(ranks, *arguments)
    out, err = process.communicate(timeout=600)
    if process.returncode:
        sys.exit(f"{arguments} on {ranks} ranks failed:\n{err}")
    return json.loads(out.splitlines()[-1])


def bar(met: bool, text: str) -> bool:
    print(f"{'met' if met else 'MISSED':7}{text}")
    return met


def compare_speed(rounds: int, keep: Callable[..., None]) -> bool:
    found = result(2, "speed", "--rounds", rounds)
    both, alone = np.min(found, axis=0)
    ratio = float(np.median([one / two for two, one in found]))
    keep(work="speed", mpi_ms=both * 1e3, threads_ms=alone * 1e3, ratio=ratio)
    name = "-".join(map(str, LAYERS))
    print(f"{name}, batch {BATCH}: 2 ranks {both * 1e3:.2f} ms a step, 2 threads {alone * 1e3:.2f} ms")
    return bar(ratio >= SPEED_BAR, f"2 ranks reach {ratio:.0%} of the speed of 2 threads (bar {SPEED_BAR:.0%})")


def check_model(rounds: int, keep: Callable[..., None]) -> bool:
    cores, met = machine.cores(), True
    size = network().build(LAYERS[0]).plan.size
    steps: dict[int, tuple[float, float]] = {}
    for ranks in (1, 2, 4):
        whole, alone, exchange, short = np.min(result(ranks, "model", "--rounds", rounds), axis=0)
        said = alone * max(1.0, ranks / cores) + (exchange if ranks > 1 else 0.0)
        steps[ranks] = alone, exchange
        keep(work="model", ranks=ranks, step_ms=whole * 1e3, compute_ms=alone * 1e3, exchange_ms=exchange * 1e3,
             short_us=short * 1e6, said_ms=said * 1e3)  # fmt: skip
        text = (f"{ranks} ranks: {whole * 1e3:.2f} ms a step, {BATCH / whole:,.0f} rows/s; the model says "
                f"{said * 1e3:.2f} = {alone * 1e3:.2f} compute (x {max(1.0, ranks / cores):g}) + "
                f"{exchange * 1e3:.2f} exchange")  # fmt: skip
        met &= bar(abs(said / whole - 1) <= MODEL_BAR, f"{text} (bar: within {MODEL_BAR:.0%})")
    row = steps[1][0] / BATCH  # compute of a row, of all ranks alike
    print(f"carried on, {BATCH} rows a rank, {LATENCY * 1e6:g} us and {BANDWIDTH / 1e9:g} GB/s between ranks:")
    for ranks in (8, 64, 1000):
        hops = int(np.ceil(np.log2(ranks)))
        exchange = 2 * hops * LATENCY + 2 * (1 - 1 / ranks) * 4 * size / BANDWIDTH
        step = row * BATCH + exchange
        share = row * BATCH / step
        print(f"  {ranks:5} ranks: {step * 1e3:.2f} ms a step of {BATCH * ranks:,} rows, {share:.0%} of it compute")
    return met


def killed(folder: Path, length: float, chance: random.Random) -> tuple[bool, bool, float]:
    """A run of which one rank is killed, or gets a Ctrl-C, at a random moment of its fit: (it hangs, it was unhurt,
    seconds until it had ended)."""
    moment, rank = chance.uniform(0.0, length), chance.randrange(2)
    sign = signal.SIGKILL if chance.random() < 0.7 else signal.SIGINT
    process, pid = start(2, "resumable", "--folder", folder), folder / f"{rank}.pid"
    while process.poll() is None and not (pid.exists() and pid.read_text()):
        time.sleep(0.01)
    time.sleep(moment)
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.kill(int(pid.read_text()), sign)
    begin, hung = time.perf_counter(), False
    try:
        process.communicate(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        hung = True
        for path in folder.glob("*.pid"):
            with suppress(ProcessLookupError):
                os.kill(int(path.read_text()), signal.SIGUSR1)  # says where it stands
        time.sleep(1)
        os.killpg(process.pid, signal.SIGKILL)
        print(f"rank {rank} got {sign.name}, then all hang:\n{process.communicate()[1]}", file=sys.stderr, flush=True)
    return hung, process.returncode == 0, time.perf_counter() - begin


def killed_and_resumed(folder: Path, length: float, number: int) -> tuple[bool, bool, float, str]:
    """Of a run whose number draws the moment, the rank and the signal: what `killed` says, and the digest in the end;
    the fit goes on with 1 or 2 ranks."""
    chance = random.Random(number)
    folder.mkdir()
    hangs, unhurt, seconds = killed(folder, length, chance)
    found, _ = result(chance.choice((1, 2, 2)), "resumable", "--folder", folder)
    shutil.rmtree(folder)
    return hangs, unhurt, seconds, found


def kill_and_resume(count: int, keep: Callable[..., None]) -> bool:
    """Runs of which a rank is killed, some at a time; each goes on to the bits of the one that is left alone."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(KILLS_AT_ONCE) as pool:
        whole = Path(place) / "whole"
        whole.mkdir()
        expected, length = result(2, "resumable", "--folder", whole)
        hung = other = unhurt = 0
        longest = 0.0
        runs = [pool.submit(killed_and_resumed, Path(place) / str(i), length, i) for i in range(count)]
        for i, run in enumerate(as_completed(runs), 1):
            hangs, ended, seconds, found = run.result()
            hung, unhurt, other = hung + hangs, unhurt + ended, other + (found != expected)
            longest = max(longest, seconds)
            text = f"{i} runs in {time.perf_counter() - begin:.0f} s: {hung} hang, {other} resume to other bits"
            print(f"{text}, {unhurt} had ended before", file=sys.stderr, flush=True)
    keep(work="kills", runs=count, hung=hung, other_bits=other, unhurt=unhurt, longest_s=longest)
    print(f"{count} runs: {unhurt} had ended before, the others ended within {longest:.1f} s")
    met = bar(hung == 0, f"{hung} of {count} runs hang (bar 0)")
    return bar(other == 0, f"{other} of {count} resume to other bits (bar 0)") and met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=("speed", "model", "kills"), default=["speed", "model", "kills"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--job", choices=("speed", "model", "resumable"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job is not None:
        from mpi4py import MPI

        comm = MPI.COMM_WORLD
        found = (resumable(comm, options.folder) if options.job == "resumable"
                 else {"speed": speed, "model": model}[options.job](comm, options.rounds))  # fmt: skip
        if comm.rank == 0:
            print(json.dumps(found))
        return 0

    def keep(**numbers: Any) -> None:
        if options.json is not None:
            with options.json.open("a") as file:
                file.write(json.dumps({**machine.description(), **numbers}) + "\n")

    met = [
        *([compare_speed(options.rounds, keep)] if "speed" in options.only else []),
        *([check_model(options.rounds, keep)] if "model" in options.only else []),
        *([kill_and_resume(options.kills, keep)] if "kills" in options.only else []),
    ]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
