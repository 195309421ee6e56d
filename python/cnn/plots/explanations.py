"""Pictures of explanations: the shares of features in predictions, and predictions over a column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from cnn._common import checks
from cnn.plots.canvas import ACCENT, HELD_OUT, TRAINING, bare, new_figure, plain
from cnn.plots.pictures import shares_of_pixels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
_MOST_LINES = 100  # of rows, in one panel
_MOST_POINTS = 2000  # of a feature
_SHORT = 5  # features, whose bar of colours has room for a short label alone
_GREY = "#999999"


class _Shares(Protocol):
    """What is drawn of a `cnn.explain.Explanation`."""

    @property
    def values(self) -> Array: ...
    @property
    def base_values(self) -> Array: ...
    @property
    def predictions(self) -> Array: ...
    @property
    def data(self) -> Array: ...
    @property
    def feature_names(self) -> tuple[str, ...]: ...
    @property
    def output_names(self) -> tuple[str, ...]: ...


@runtime_checkable
class _Moved(Protocol):
    """What is drawn of a `cnn.explain.Dependence`."""

    @property
    def column(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def grid(self) -> Array: ...
    @property
    def mean(self) -> Array: ...
    @property
    def individual(self) -> Array: ...
    @property
    def cells(self) -> Array: ...
    @property
    def output_names(self) -> tuple[str, ...]: ...


def attributions(found: _Shares, output: int | None = None, most: int = 12) -> Figure:
    """The shares of the features that count most, a point for each row; colour is the feature's value among the rows.

    Points that would lie on one another stand above and below the line. Grey: what is missing or has no order. Of
    images each one is drawn, and beside it the shares of its pixels (their channels added), red above 0, blue below.

    Args:
        found: a `cnn.explain.Explanation`; of images of 1 or 3 channels, the first 32.
        output: the number of the output to draw, where there are several; of images None draws each one's largest.
        most: so many features; the others are added up.

    >>> import cnn, numpy as np
    >>> net = cnn.Network([cnn.Dense(1)], seed=0).build(3)
    >>> axes = attributions(cnn.explain.integrated_gradients(net, np.eye(3))).axes[0]
    >>> len(axes.get_yticklabels())
    3
    """
    if found.data.ndim > 2:
        return shares_of_pixels(found, output)
    values, _, _, name = _one(found, output)
    order = np.argsort(-np.abs(values).sum(axis=0), kind="stable")
    shown, rest = order[:most], order[most:]
    names = [plain(found.feature_names[i])[:32] for i in shown]
    rows = np.arange(len(values))
    if len(rows) > _MOST_POINTS:
        rows = rows[np.linspace(0, len(rows) - 1, _MOST_POINTS).astype(np.intp)]
    figure = new_figure(7.5, 1.4 + 0.38 * (len(shown) + bool(len(rest))))
    axes = bare(figure.add_subplot())
    drawn = [(values[rows, i], _ranks(found.data[rows, i])) for i in shown]
    if len(rest):
        names.append(f"{len(rest)} more, added up")
        drawn.append((values[np.ix_(rows, rest)].sum(axis=1), np.full(len(rows), np.nan)))
    colours = None
    for place, (x, ranks) in enumerate(drawn):
        y = len(drawn) - 1 - place + _apart(x, values[rows])
        known = np.isfinite(ranks)
        axes.scatter(x[~known], y[~known], s=9, color=_GREY, lw=0, alpha=0.8)
        if known.any():
            colours = axes.scatter(x[known], y[known], s=9, c=ranks[known], cmap="viridis", vmin=0, vmax=1, lw=0,
                                   alpha=0.8)  # fmt: skip
    axes.axvline(0, color=ACCENT, lw=0.8)
    axes.set_yticks(range(len(names) - 1, -1, -1), names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"share in the prediction of {name}")
    if colours is not None:
        bar: Any = figure.colorbar(colours, ax=axes, aspect=30, pad=0.02, ticks=[0, 1])
        bar.ax.set_yticklabels(["low", "high"])
        bar.set_label("value of the feature, by rank" if len(names) > _SHORT else "value, by rank", labelpad=-12)
        bar.solids.set_alpha(1)
    return figure


def attribution(found: _Shares, row: int = 0, output: int | None = None, most: int = 12) -> Figure:
    """How one row's prediction comes about: bars from the base value to the prediction, the largest share on top.

    Args:
        found, output: see `attributions`.
        row: the number of the row among those explained.
        most: so many features; the others are added up.

    >>> import cnn, numpy as np
    >>> net = cnn.Network([cnn.Dense(1)], seed=0).build(3)
    >>> len(attribution(cnn.explain.integrated_gradients(net, np.eye(3)), row=2).axes[0].patches)
    3
    """
    if found.data.ndim > 2:
        raise ValueError(f"attribution draws a row of numbers, got shape {found.data.shape}; of images: attributions")
    all_values, base, predictions, name = _one(found, output)
    row = checks.integer("row", row, 0, len(all_values) - 1)
    values = all_values[row]
    order = np.argsort(-np.abs(values), kind="stable")
    shown, rest = order[:most], order[most:]
    names = [f"{plain(found.feature_names[i])[:28]} = {_said(found.data[row, i])}" for i in shown]
    sizes = values[shown].tolist()
    if len(rest):
        names.append(f"{len(rest)} more, added up")
        sizes.append(float(values[rest].sum()))
    figure = new_figure(7.0, 1.6 + 0.34 * len(sizes))
    axes = bare(figure.add_subplot())
    ends = base[row] + np.cumsum([0.0, *sizes[::-1]])
    for place, size in enumerate(sizes[::-1]):
        axes.barh(place, size, left=ends[place], color=TRAINING if size >= 0 else HELD_OUT, height=0.7)
        axes.plot([ends[place + 1]] * 2, [place - 0.35, min(place + 1.35, len(sizes) - 0.65)], color=ACCENT, lw=0.7)
    axes.axvline(base[row], color=_GREY, lw=0.9, ls="--")
    axes.set_yticks(range(len(sizes)), names[::-1])
    axes.grid(visible=False, axis="y")
    axes.use_sticky_edges = False
    axes.margins(x=0.08)
    axes.set_xlabel(f"prediction of {name}")
    axes.set_title(f"{_number(base[row])} is the base value, {_number(predictions[row])} the prediction", fontsize=9)
    return figure


def partial_dependence(found: _Moved | Sequence[_Moved], individual: bool = True) -> Figure:
    """The mean prediction over the values of a column, and in grey that of single rows; a panel for each column.

    Marks at the bottom are the deciles of what the rows have there: between two lies a tenth of the rows. Of a
    category bars reach from the lower to the upper decile of the rows' predictions.

    Args:
        found: what `cnn.explain.partial_dependence` gives, or a list of that.
        individual: whether single rows are drawn, at most 100 of them evenly apart.

    >>> import cnn, numpy as np
    >>> net = cnn.Network([cnn.Dense(1)], seed=0).build(3)
    >>> figure = partial_dependence([cnn.explain.partial_dependence(net, np.eye(3), i) for i in range(2)])
    >>> len(figure.axes)
    2
    """
    all_of = [found] if isinstance(found, _Moved) else list(found)
    if not all_of or not all(isinstance(one, _Moved) for one in all_of):
        raise TypeError(f"partial_dependence takes a Dependence or a list of them, got {found!r}")
    columns = min(len(all_of), 3)
    rows = -(-len(all_of) // columns)
    figure = new_figure(0.6 + 3.9 * columns, 3.3 * rows)
    for i, one in enumerate(all_of):
        axes = bare(figure.add_subplot(rows, columns, i + 1))
        (_bars if one.kind in ("category", "boolean") else _lines)(axes, one, individual)
        several = one.mean.ndim == 2
        axes.set(xlabel=plain(one.column), ylabel="" if i % columns else
                 "mean prediction" if several else f"prediction of {plain(one.output_names[0])}")  # fmt: skip
        if several:
            axes.legend(frameon=False, fontsize=8)
    return figure


def _one(found: _Shares, output: int | None) -> tuple[Array, Array, Array, str]:
    """(values, base values, predictions, name) of one output."""
    several = found.values.ndim == 3
    if several and output is None:
        raise ValueError(f"output must be the number of one of the {len(found.output_names)} outputs, got None")
    if not len(found.values):
        raise ValueError("there are no rows to draw")
    i = 0 if output is None else checks.integer("output", output, 0, len(found.output_names) - 1)
    name = plain(found.output_names[i])
    if several:
        return found.values[..., i], found.base_values[:, i], found.predictions[:, i], name
    return found.values, found.base_values, found.predictions, name


def _number(value: Any) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _said(cell: Any) -> str:
    if isinstance(cell, (float, np.floating)):
        return "missing" if cell != cell else _number(cell)
    return "missing" if cell is None else plain(cell)[:20]


def _ranks(cells: Array) -> Array:
    """From 0 to 1 by the order of the cells, equal ones alike; NaN for what is missing or has no order."""
    try:
        numbers = cells.astype(np.float64)
    except (TypeError, ValueError):
        try:
            dates = np.array(cells.tolist(), "datetime64[us]")
        except (TypeError, ValueError):
            return np.full(len(cells), np.nan)
        numbers = np.where(np.isnat(dates), np.nan, dates.astype(np.float64))
    ranks, known = np.full(len(cells), np.nan), np.isfinite(numbers)
    if known.any():
        _, rank = np.unique(numbers[known], return_inverse=True)
        ranks[known] = rank / max(rank.max(), 1)
    return ranks


def _apart(x: Array, all_of: Array) -> Array:
    """How far each point stands from its line: points in the same cell of the axis one above another."""
    low, high = float(all_of.min()), float(all_of.max())
    cells = np.floor((x - low) / ((high - low) or 1.0) * 120).astype(np.intp)
    order = np.argsort(cells, kind="stable")
    first = np.flatnonzero(np.diff(cells[order], prepend=-1))
    within = np.empty(len(x), np.intp)
    within[order] = np.arange(len(x)) - np.repeat(first, np.diff(np.append(first, len(x))))
    steps = np.where(within % 2, 1, -1) * ((within + 1) // 2)
    return np.asarray(steps * min(0.05, 0.4 / max(np.abs(steps).max(), 1)))


def _evenly(n: int) -> Array:
    return np.unique(np.linspace(0, n - 1, min(n, _MOST_LINES)).astype(np.intp))


def _lines(axes: Any, one: _Moved, individual: bool) -> None:
    if one.mean.ndim == 2:
        for i, name in enumerate(one.output_names):
            axes.plot(one.grid, one.mean[:, i], lw=1.8, label=plain(name)[:24])
    else:
        if individual:
            axes.plot(one.grid, one.individual[_evenly(len(one.individual))].T, color=_GREY, lw=0.5, alpha=0.4)
        axes.plot(one.grid, one.mean, color=TRAINING, lw=2.2)
    kind = "datetime64[us]" if one.kind == "date" else np.float64
    known = np.array([cell for cell in one.cells.tolist() if cell is not None and cell == cell], kind)
    if one.kind == "date":
        from cnn._common.figure import dates

        dates(axes.xaxis)
    if len(known):
        deciles = np.quantile(known.astype(np.float64), np.arange(1, 10) / 10)
        axes.plot(
            deciles.astype(kind), np.full(9, 0.0), "|", color=ACCENT, ms=9, transform=axes.get_xaxis_transform(),
            clip_on=False,
        )  # fmt: skip
        axes.set_xlim(one.grid[0], one.grid[-1])


def _bars(axes: Any, one: _Moved, individual: bool) -> None:
    places = np.arange(len(one.grid))
    names = [plain(value)[:14] for value in one.grid.tolist()]
    if one.mean.ndim == 2:
        for i, name in enumerate(one.output_names):
            axes.plot(places, one.mean[:, i], "o", ms=5, label=plain(name)[:24])
    else:
        if individual:
            low, high = np.quantile(one.individual, [0.1, 0.9], axis=0)
            axes.vlines(places, low, high, color=_GREY, lw=4, alpha=0.5)
        axes.plot(places, one.mean, "o", ms=7, color=TRAINING)
    turned = max(map(len, names)) * len(names) > 30
    axes.set_xticks(places, names, rotation=60 if turned else 0, ha="right" if turned else "center",
                    rotation_mode="anchor", fontsize=8 if len(names) > 10 else None)  # fmt: skip
    axes.set_xlim(-0.5, len(names) - 0.5)
