"""The results of a run as Markdown, and the picture of its training steps below the roof of the machine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bars
from contest import Line, best
from networks import NETWORKS

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
MARKERS = "osD^vPX*hp"  # of networks


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine(results: dict[str, Any]) -> str:
    about = results["machine"]
    packages = ("numpy", "scipy", "scikit-learn", "torch", "jax", "onnxruntime")
    versions = ", ".join(f"{name} {about[name]}" for name in packages if about.get(name))
    return (
        f"{about['cpu']}, {about['cores']} cores, instruction set {about['isa']}, {about['system']}, "
        f"Python {about['python']}, {versions}; {results['date']}, load at the start {about['load']}. Measured in the "
        f"same run: multiply-adds in float32 at {about['fma_gflops_one_core']:g} GFLOP/s on one core and "
        f"{about['fma_gflops_all_cores']:g} on all, copies at {about['copy_gbytes_one_core']:g} and "
        f"{about['copy_gbytes_all_cores']:g} GB/s."
    )


def peers_table(lines: list[Line], title: str) -> str:
    """The best time of each contestant, with its number of threads."""
    peers = [name for name in ("cnn", *bars.NAMES) if best(lines, name) and name != "scipy sgemm"]
    cases = dict.fromkeys(line["case"] for line in lines)
    found = [[case, *((bars.threads(line) if (line := best(lines, peer, case=case)) else "–") for peer in peers)]
             for case in cases]  # fmt: skip
    return table([title, *(bars.NAMES.get(peer, peer) for peer in peers)], found)


def bars_table(rows: list[bars.Row]) -> str:
    return table(
        ["work", "cnn (threads)", "against", "its best (threads)", "reached", "bar", "peak allows", ""],
        [[row.work, row.measured, row.against, row.theirs, row.reached, row.bar, row.limit, row.verdict]
         for row in rows],
    )  # fmt: skip


def markdown(results: dict[str, Any]) -> str:
    rows = bars.rows(results)
    met = sum(row.met for row in rows)
    parts = [machine(results)]
    if results["machine"]["cores"] < bars.CORES:
        parts.append(f"The bars of threaded work were set on {bars.CORES} cores; this machine has "
                     f"{results['machine']['cores']}.")  # fmt: skip
    parts.append(f"{met} of {len(rows)} bars are met.")
    parts.append(bars_table(rows))
    if results["training"]:
        parts += ["A step of training, best time (threads):", peers_table(results["training"], "network")]
    if results["prediction"]:
        parts += ["A call of predict, best time (threads):", peers_table(results["prediction"], "rows x network")]
    sweep = [line for line in results["threads"] if line["work"] == "sweep"]
    if sweep:
        counts = list(sweep[0]["us"])
        parts += ["A step of training by numbers of threads:",
                  table(["network", *counts], [[line["case"], *(bars.time(line["us"][n]) for n in counts)]
                                               for line in sweep])]  # fmt: skip
    return "\n\n".join(parts)


def write_page(page: Path, results: dict[str, Any]) -> None:
    """Puts the results between the two marks of the page, and the picture beside it."""
    text = page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"{page} must have one line {BEGIN} and one line {END}")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{markdown(results)}\n{END}{after}", encoding="utf-8")
    roofline(page.parent / "images" / "roofline.png", results)


def roofline(path: Path, results: dict[str, Any]) -> None:
    """GFLOP/s of each network's step over its operations for each byte that must move, on one core and on all."""
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    about = results["machine"]
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    axes = figure.subplots()
    x = np.geomspace(1, 1000, 200)
    for which, style, label in (("one_core", "--", "one core"), ("all_cores", "-", f"{about['cores']} cores")):
        peak, copy = about[f"fma_gflops_{which}"], about[f"copy_gbytes_{which}"]
        axes.plot(x, np.minimum(peak, copy * x), style, color="0.35", lw=1.4,
                  label=f"roof, {label}: {peak:.0f} GFLOP/s, {copy:.0f} GB/s")  # fmt: skip
    for i, (name, network) in enumerate(NETWORKS.items()):
        intensity = network.flops / network.bytes
        one = best(results["training"], "cnn", case=name, threads=1)
        fastest = best(results["training"], "cnn", case=name)
        if one is None or fastest is None:
            continue
        look = {"marker": MARKERS[i], "color": f"C{i}"}
        axes.plot([intensity] * 2, [one["gflops"], fastest["gflops"]], "-", color=look["color"], lw=1)
        axes.plot(intensity, fastest["gflops"], ls="", ms=10, label=f"{name}, {network.batch_size:,} rows", **look)
        axes.plot(intensity, one["gflops"], ls="", ms=5, mfc="white", zorder=3, **look)
    axes.plot([], [], "o", color="0.35", ms=10, label="as many threads as are best")
    axes.plot([], [], "o", color="0.35", ms=5, mfc="white", label="one thread")
    axes.set(xscale="log", yscale="log", xlim=(2, 400), ylabel="GFLOP/s in float32",
             xlabel="arithmetic intensity: FLOP for each byte that a step must move",
             title=f"Training steps under the roof of {about['cpu']}, {about['isa']}")  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
