"""The figures of docs/performance.md: ratios beside one another, lengths, points of several models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, StrMethodFormatter

# Told apart by people who see colours otherwise, too (Okabe & Ito 2008).
COLOURS = {
    "cnn": "#0072B2", "JAX": "#D55E00", "PyTorch": "#009E73", "scikit-learn": "#CC79A7", "NumPy": "#7F7F7F",
    "ONNX Runtime": "#E69F00", "2 threads": "#0072B2", "histogram gradient boosting": "#D55E00",
    "random forest": "#009E73", "scikit-learn's MLP": "#CC79A7", "k nearest": "#7F7F7F", "linear": "#E69F00",
}  # fmt: skip
MARKERS = dict(zip(COLOURS, "osD^vPosD^vP", strict=True))


def bare(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)


def save(figure: Figure, path: Path) -> None:
    """Without the date and the version of matplotlib: equal results are equal files."""
    figure.savefig(path, dpi=100, metadata={"Software": None})


def logarithmic(axes: Any) -> None:
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xticks([tick for tick in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if low <= tick <= high])
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def ratios(path: Path, shown: dict[str, dict[str, dict[str, float]]], label: str, one: bool = True) -> None:
    """A panel for each processor, a line for each work, a point for each peer; and a line at 1."""
    rows = max(len(cases) for cases in shown.values())
    figure = Figure(figsize=(9, 1.5 + 0.34 * rows), layout="constrained")
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    values = [value for cases in shown.values() for found in cases.values() for value in found.values()]
    for axes, (title, cases) in zip(panels, shown.items(), strict=True):
        bare(axes)
        for i, found in enumerate(cases.values()):
            axes.hlines(
                i, min([1.0] * one + [*found.values()]), max(found.values(), default=1), color="0.8", lw=2, zorder=1
            )
            for peer, value in found.items():
                axes.plot(value, i, MARKERS[peer], color=COLOURS[peer], ms=7, label=peer, zorder=2)
        if one:
            axes.axvline(1, color="0.3", lw=1)
        axes.set(
            xlim=(min([0.8] * one + [0.9 * min(values)]), 1.25 * max(values)),
            ylim=(rows - 0.5, -0.5),
            xlabel=label,
            title=title,
        )
        axes.set_yticks(range(len(cases)), list(cases), fontsize=9)
        logarithmic(axes)
    handles: dict[str, Any] = {}
    for axes in panels:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=len(handles), frameon=False)
    save(figure, path)


def lengths(path: Path, shown: dict[str, float], label: str) -> None:
    figure = Figure(figsize=(8, 1.0 + 0.36 * len(shown)), layout="constrained")
    axes = figure.subplots()
    bare(axes)
    colours = [COLOURS["cnn"] if name == "cnn" or name.startswith("train_many") else "0.6" for name in shown]
    drawn = axes.barh(range(len(shown)), list(shown.values()), color=colours, height=0.7)
    axes.bar_label(drawn, [f"{value:,.3g}" for value in shown.values()], padding=4, fontsize=9)
    axes.set_yticks(range(len(shown)), list(shown), fontsize=9)
    axes.invert_yaxis()
    axes.set(xlabel=label, xlim=(0.8 * min(shown.values()), 2 * max(shown.values())))
    logarithmic(axes)
    save(figure, path)


def points(path: Path, shown: dict[str, dict[str, float]], label: str) -> None:
    """A line for each table, a point for each model; left is better."""
    figure = Figure(figsize=(9, 1.5 + 0.34 * len(shown)), layout="constrained")
    axes = figure.subplots()
    bare(axes)
    for i, found in enumerate(shown.values()):
        axes.hlines(i, min(found.values()), max(found.values()), color="0.8", lw=2, zorder=1)
        for name, value in found.items():
            axes.plot(value, i, MARKERS[name], color=COLOURS[name], ms=9 if name == "cnn" else 6,
                      label=None if i else name, zorder=3 if name == "cnn" else 2)  # fmt: skip
    axes.set_yticks(range(len(shown)), list(shown), fontsize=9)
    axes.invert_yaxis()
    axes.set(xlabel=label)
    figure.legend(loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    save(figure, path)
