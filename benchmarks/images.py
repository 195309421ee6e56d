"""Networks of images beside PyTorch, JAX and ONNX Runtime, in float32: every bar, met or missed.

    python benchmarks/images.py [--only lenet three depthwise one many large] [--rounds 5] [--data FOLDER]
        [--json [FILE]]

All train the same networks from the same weights; after the first ten minibatches, in the order of the rows, their
losses, computed here in float64 from their weights, must agree. Then each shuffles the images of every epoch: 60,000 of
MNIST's shape for LeNet-5, random ones, or those of MNIST's files (train-images-idx3-ubyte.gz and labels) in --data.
Contestants live in processes of their own with all threads, and take turns round by round; medians count.

The program ends with 1 where a contestant's loss or prediction is not everybody's. `--quick` shows that all works.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import contest
import kept
import machine
from image_networks import NETWORKS
from peers import IMAGES
from worker import Worker

LOSS_TOLERANCE = 1e-3  # relative, after ten steps of Adam in float32, which divides by roots of small numbers
ERROR = 1e-5  # of probabilities
Bar = tuple[str, str, bool]
TITLES = {
    "lenet 32": "LeNet-5, 32 images", "lenet 128": "LeNet-5, 128 images, 60,000 shuffled",
    "three": "32-32-pool-64-64-pool-128-10, 3 × 3, 128 images",
    "depthwise": "a depthwise-separable network, 32 × 32 × 3, 64 images",
    "large": "four convolutions, 224 × 224, 32 images",
}  # fmt: skip


def measure(workers: list[Worker], work: str, case: Any, rounds: int, seconds: float) -> dict[str, contest.Line]:
    """Median microseconds of a step or a call of each contestant, by the name of its library."""
    lines = contest.compete(workers, work, case, rounds, seconds)
    for line in lines:
        line["us"] = line["us_median"]
        print(f"    {json.dumps({'case': case, **line})}", flush=True)
    return {line["contestant"].removesuffix(" of images"): line for line in lines}


def row(work: str, lines: dict[str, contest.Line]) -> dict[str, Any]:
    """What page.py shows of them."""
    return {"work": work, **{who: line["us"] for who, line in lines.items()}}


def trained(name: str, given: argparse.Namespace, workers: list[Worker], *peers: str) -> dict[str, contest.Line]:
    """A network's training beside those peers, with the distances of their losses."""
    network = NETWORKS[f"quick {name}" if given.quick else name]
    chosen = [worker for worker in workers if worker.peer.removesuffix(" of images") in ("cnn", *peers)]
    lines = measure(chosen, "training", (network.name, given.data), given.rounds, 1e-3 if given.quick else 0.5)
    ours = lines["cnn"]
    given.rows.append(row(f"a step of {TITLES[name]}", lines))
    for line in lines.values():
        line["loss_error"] = abs(line["loss"] - ours["loss"]) / ours["loss"]
        line["images_per_second"] = 1e6 * network.batch_size / line["us"]
    return lines


def losses(name: str, lines: dict[str, contest.Line]) -> Bar:
    worst = max(line["loss_error"] for line in lines.values())
    text = ", ".join(f"{who} {line['loss']:.6f}" for who, line in lines.items())
    return f"{name}: losses agree after the first ten steps, to {LOSS_TOLERANCE:g}", text, worst <= LOSS_TOLERANCE


def times(name: str, lines: dict[str, contest.Line], who: str, title: str, least: float) -> list[Bar]:
    """The bar of a ratio, where that contestant was there."""
    if who not in lines:
        return []
    ours, theirs = lines["cnn"], lines[who]
    variant = f", {theirs['variant']}" if "variant" in theirs else ""
    ratio = theirs["us"] / ours["us"]
    text = f"{ratio:.2f} ({ours['us']:,.1f} us, {title} {theirs['us']:,.1f} us{variant})"
    return [(f"{name}: at least {least:g} times as fast as {title}", text, ratio >= least)]


def lenet(given: argparse.Namespace, workers: list[Worker]) -> list[Bar]:
    bars: list[Bar] = []
    for batch, least in ((32, 6), (128, 5)):
        name = f"lenet {batch}"
        lines = trained(name, given, workers, "torch", "jax")
        bars += times(name, lines, "torch", "PyTorch", least) + times(name, lines, "jax", "JAX", 3)
        bars.append(losses(name, lines))
        if batch == 128:
            rate = lines["cnn"]["images_per_second"]
            bars.append((f"{name}: 100,000 images/s (two quiet cores with AVX-512)", f"{rate:,.0f}", rate >= 1e5))
    return bars


def three(given: argparse.Namespace, workers: list[Worker]) -> list[Bar]:
    """All that a step takes counts as time of its convolutions: their share of the peak is no less than that."""
    from kernels import peaks
    from kernels.build import build

    kernels, span = build(given.quick), 1e-3 if given.quick else 0.1
    before = peaks.fma_gflops(kernels, given.threads, span)
    lines = trained("three", given, workers, "torch")
    peak = max(before, peaks.fma_gflops(kernels, given.threads, span))
    network = NETWORKS["quick three" if given.quick else "three"]
    rate = network.flops(kernels=True) / lines["cnn"]["us"] / 1e3
    text = f"{rate / peak:.0%} ({rate:.0f} of {peak:.0f} GFLOP/s, dense layers, pooling and optimizer in the time)"
    share = ("three: 70 % of the FMA peak in the convolutions", text, rate >= 0.7 * peak)
    return [*times("three", lines, "torch", "PyTorch", 1.3), losses("three", lines), share]


def depthwise(given: argparse.Namespace, workers: list[Worker]) -> list[Bar]:
    lines = trained("depthwise", given, workers, "torch")
    return [*times("depthwise", lines, "torch", "PyTorch", 2), losses("depthwise", lines)]


def predicted(
    rows: int, given: argparse.Namespace, workers: list[Worker], name: str = "lenet 128", title: str = "LeNet-5"
) -> tuple[dict[str, contest.Line], Bar]:
    case = (f"quick {name}" if given.quick else name, None), rows
    lines = measure(workers, "prediction", case, 3 * given.rounds, 1e-3 if given.quick else 0.1)
    given.rows.append(row(f"predict {'one image' if rows == 1 else f'{rows:,} images'}, {title}", lines))
    text = ", ".join(f"{who} {line['error']:.1e}" for who, line in lines.items())
    agree = max(line["error"] for line in lines.values()) <= ERROR
    return lines, (f"{rows:,} images, {title}: probabilities agree to {ERROR:g}", text, agree)


def one(given: argparse.Namespace, workers: list[Worker]) -> list[Bar]:
    lines, agree = predicted(1, given, workers)
    us = lines["cnn"]["us"]
    bars: list[Bar] = [("one image through LeNet-5 from Python: at most 10 us", f"{us:.2f} us", us <= 10)]
    return [*bars, *times("one image", lines, "onnxruntime", "ONNX Runtime", 5), agree]


def many(given: argparse.Namespace, workers: list[Worker]) -> list[Bar]:
    rows = 100 if given.quick else 10_000
    lines, agree = predicted(rows, given, workers)
    return [*times(f"{rows:,} images", lines, "onnxruntime", "ONNX Runtime", 1.5), agree]


def large(given: argparse.Namespace, workers: list[Worker]) -> list[Bar]:
    """No bar of the project's but this: not slower."""
    lines = trained("large", given, workers, "torch")
    bars = [*times("large", lines, "torch", "PyTorch", 1), losses("large", lines)]
    for rows in (1, 2 if given.quick else 64):
        lines, agree = predicted(rows, given, workers, "large", "224 × 224, four convolutions")
        bars += [*times(f"{rows:,} of 224 x 224", lines, "onnxruntime", "ONNX Runtime", 1), agree]
    return bars


WORKS = {"lenet": lenet, "three": three, "depthwise": depthwise, "one": one, "many": many, "large": large}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(WORKS), default=list(WORKS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=min(2, machine.cores()))
    parser.add_argument("--peers", nargs="+", choices=[name.removesuffix(" of images") for name in IMAGES],
                        default=[name.removesuffix(" of images") for name in IMAGES])  # fmt: skip
    parser.add_argument("--data", help="a folder with MNIST's files, or those of a set like it")
    kept.option(parser)
    parser.add_argument("--quick", action="store_true", help="a few images for moments, to see that all works")
    given = parser.parse_args()
    given.rows = []
    about = machine.description()
    print(", ".join(f"{key} {value}" for key, value in about.items()), flush=True)
    bars: list[Bar] = []
    with contest.contestants([f"{peer} of images" for peer in given.peers], given.threads, [given.threads]) as workers:
        for work in given.only:
            bars += WORKS[work](given, workers)
    print()
    for bar, measured, met in bars:
        print(f"{'met' if met else 'MISSED':<7} {bar:<72} {measured}")
    kept.write(kept.answer("images", given.rows, bars=bars), given.json)
    return 0 if all(met for bar, _, met in bars if " agree " in bar) else 1


if __name__ == "__main__":
    sys.exit(main())
