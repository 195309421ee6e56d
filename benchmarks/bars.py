"""What `cnn` is to reach, and a row of the comparison for each bar: time, the peer's best, ratio, met or not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from contest import Line, best
from networks import NETWORKS, Network

CORES = 4  # on which the bars of threaded work were set
NAMES = {"jax": "JAX", "torch": "PyTorch", "scikit-learn": "scikit-learn", "onnxruntime": "ONNX Runtime",
         "numpy": "NumPy", "scipy sgemm": "SciPy's sgemm"}  # fmt: skip
# Times faster than the peer at its best number of threads.
TRAINING = {
    "10-5-1": {"jax": 5, "torch": 100},
    "8-32-32-1": {"jax": 3, "torch": 80, "scikit-learn": 30},
    "64-100-10": {"jax": 4, "torch": 12, "scikit-learn": 12},
    "54-256-128-7": {"jax": 3.5, "torch": 4.5},
    "784-512-256-10": {"jax": 1.8, "torch": 2.2},
    "1024-2048-2048-1000": {"jax": 1.1, "torch": 1.5, "scipy sgemm": 0.9},
}
TRAINING_US = {"4-32-16-4": 150}
ONE_ROW_US = {"1 x 10-5-1": 1.0, "1 x 8-32-32-1": 1.3}
PREDICTION = {"10000 x 10-5-1": 1.5, "10000 x 8-32-32-1": 1.5, "10000 x 54-256-128-7": 1.15,
              "10000 x 784-512-256-10": 1.05}  # fmt: skip
GEMM_SHARE, STEP_SHARE, WIDE = 0.85, 0.75, 64
BITS_COST, SLOWER, PAIR = 0.05, 1.05, 1.1  # of times: the last two leave room for the noise of the clock


@dataclass
class Row:
    """A line of the table; `limit` is the largest ratio (or the least time) that the peak of this machine allows."""

    work: str
    measured: str
    against: str
    theirs: str
    reached: str
    bar: str
    limit: str
    met: bool
    in_reach: bool = True

    @property
    def verdict(self) -> str:
        return "met" if self.met else "missed" if self.in_reach else "missed, out of reach here"


def time(us: float) -> str:
    """Three digits."""
    for unit, size in (("s", 1e6), ("ms", 1e3), ("µs", 1.0)):
        if us >= size or unit == "µs":
            return f"{number(us / size)} {unit}"
    raise AssertionError


def number(value: float) -> str:
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{round(value, digits):,.{max(digits, 0)}f}"


def threads(line: Line) -> str:
    return f"{time(line['us'])} ({line['threads']})"


def title(network: Network) -> str:
    loss = {"mse": "MSE", "cross_entropy": "CE"}[network.loss]
    optimizer = {"sgd": "SGD", "adam": "Adam"}[network.optimizer]
    batch = "all 10,000 rows" if network.n_batches == 1 else f"batch {network.batch_size}"
    return f"{network.name} {network.activation} {loss}, {batch}, {optimizer}"


def rows(results: dict[str, Any]) -> list[Row]:
    """Of everything that was measured."""
    return [*_training(results), *_prediction(results), *_shares(results), *_threads(results)]


def _ratio(work: str, ours: Line, theirs: Line, who: str, bar: float, least_us: float) -> Row:
    reached, limit = theirs["us"] / ours["us"], theirs["us"] / least_us
    return Row(work, threads(ours), who, threads(theirs), f"{number(reached)}×", f"≥ {bar:g}×", f"{number(limit)}×",
               reached >= bar, limit >= bar)  # fmt: skip


def _absolute(work: str, ours: Line, theirs: Line | None, who: str, bar: float, least_us: float) -> Row:
    return Row(work, threads(ours), who, threads(theirs) if theirs else "–", time(ours["us"]), f"≤ {bar:g} µs",
               time(least_us), ours["us"] <= bar, least_us <= bar)  # fmt: skip


def _training(results: dict[str, Any]) -> list[Row]:
    peak, lines, found = 1e3 * results["machine"]["fma_gflops_all_cores"], results["training"], []
    for name, network in NETWORKS.items():
        ours = best(lines, "cnn", case=name)
        if ours is None:
            continue
        for peer, bar in TRAINING.get(name, {}).items():
            theirs = best(lines, peer, case=name)
            if theirs is not None:
                found.append(_ratio(title(network), ours, theirs, NAMES[peer], bar, network.flops / peak))
        if name in TRAINING_US:
            theirs = best(lines, "jax", case=name)
            found.append(_absolute(title(network), ours, theirs, "JAX", TRAINING_US[name], network.flops / peak))
    return found


def _prediction(results: dict[str, Any]) -> list[Row]:
    peak, lines, found = 1e3 * results["machine"]["fma_gflops_all_cores"], results["prediction"], []
    for case in dict.fromkeys(line["case"] for line in lines):
        ours, onnx, jax = (best(lines, name, case=case) for name in ("cnn", "onnxruntime", "jax"))
        if ours is None:
            continue
        least_us = NETWORKS[ours["network"]].prediction_flops(ours["n_rows"]) / peak
        work = f"predict {ours['n_rows']:,} row{'s' * (ours['n_rows'] > 1)}, {ours['network']}"
        if case in ONE_ROW_US:
            found.append(_absolute(work, ours, onnx, NAMES["onnxruntime"], ONE_ROW_US[case], least_us))
        elif onnx or jax:
            theirs = min((line for line in (onnx, jax) if line), key=lambda line: line["us"])
            who = NAMES[theirs["contestant"]] + ", the best of ONNX Runtime and JAX"
            found.append(_ratio(work, ours, theirs, who, PREDICTION[case], least_us))
    return found


def gemm_rate(kernels: list[Line], network: str) -> float | None:
    """GFLOP/s of all products of a step in layers at least 64 wide on both sides, as the engine computes them."""
    lines = [line for line in kernels if line["kernel"] == "tile" and line["network"] == network
             and min(line["layer"]) >= WIDE]  # fmt: skip
    if not lines:
        return None
    return sum(line["flops"] for line in lines) / sum(line["flops"] / line["gflops"] for line in lines)


def _shares(results: dict[str, Any]) -> list[Row]:
    peak, found = results["machine"]["fma_gflops_one_core"], []
    measured = [(name, gemm_rate(results["kernels"], name)) for name in NETWORKS]
    wide = [(name, rate) for name, rate in measured if rate is not None]
    shares = [(f"products of {name}, 1 thread", rate, GEMM_SHARE) for name, rate in wide]
    for name, _ in wide:
        line = best(results["training"], "cnn", case=name, threads=1)
        if line is not None:
            shares.append((f"whole step of {name}, 1 thread", line["gflops"], STEP_SHARE))
    for work, rate, bar in shares:
        found.append(Row(work, f"{rate:.0f} GFLOP/s", "peak of one core", f"{peak:.0f} GFLOP/s", f"{rate / peak:.0%}",
                         f"≥ {bar:.0%}", "100%", rate >= bar * peak))  # fmt: skip
    return found


def _threads(results: dict[str, Any]) -> list[Row]:
    lines, found = results["threads"], []

    def worst(work: str, key: str) -> Line | None:
        return max((line for line in lines if line["work"] == work), key=lambda line: line[key], default=None)

    for line in (line for line in lines if line["work"] == "bits"):
        free = line["us"][line["fastest"]]
        found.append(Row(f"equal bits for all thread counts, {line['case']}", f"{time(line['us']['as it is'])} "
                         f"({line['threads']})", f"a share for each thread, slabs of {line['fastest']}", time(free),
                         f"{line['cost']:+.1%}", f"≤ {BITS_COST:.0%}", "–", line["cost"] <= BITS_COST))  # fmt: skip
    line = worst("sweep", "worst")
    if line is not None:
        found.append(Row(f"more threads, at worst: {line['case']}", time(max(line["us"].values())), "one thread",
                         time(line["us"]["1"]), f"{line['worst']:.2f} × its time", f"≤ {SLOWER:g} ×", "–",
                         line["worst"] <= SLOWER))  # fmt: skip
    line = worst("pairs", "worst")
    if line is not None:
        found.append(Row(f"two fits at once, at worst: {line['case']}", time(line["us"]["two"]), "one alone",
                         time(line["us"]["one"]), f"{line['worst']:.2f} × its time", f"≤ {PAIR:g} ×", "–",
                         line["worst"] <= PAIR))  # fmt: skip
    return found
