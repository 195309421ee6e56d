"""Pictures of trainings and networks, as matplotlib figures (extra `plot`); `figure.savefig(path)` keeps one.

No function shows a window or touches matplotlib's global state.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from cnn._common import checks
from cnn.layers import Dense, Layer
from cnn.plots.canvas import ACCENT, HELD_OUT, TRAINING, bare, by_logarithms, new_figure, plain
from cnn.plots.classes import reliability as reliability
from cnn.plots.classes import roc as roc
from cnn.plots.diagrams import activation_name
from cnn.plots.diagrams import network as network
from cnn.plots.explanations import attribution as attribution
from cnn.plots.explanations import attributions as attributions
from cnn.plots.explanations import partial_dependence as partial_dependence
from cnn.plots.pictures import filters as filters
from cnn.plots.pictures import saliency as saliency
from cnn.plots.rates import learning_rates as learning_rates
from cnn.plots.searches import search as search

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Array = np.ndarray[Any, Any]
_MANY = 3000  # points; more are counted in cells
_FEW = 10  # values, of which none is left out


@runtime_checkable
class _Curves(Protocol):
    """What `curves` draws, a `cnn.History` above all: epochs from 0, and a number for each of them by name."""

    epoch: list[int]

    @property
    def names(self) -> list[str]: ...

    def __getitem__(self, name: str) -> list[float]: ...

    def __contains__(self, name: object) -> bool: ...


class _Drawn(Protocol):
    """What is drawn of a `cnn.Network`."""

    descriptions: tuple[Layer, ...]

    @property
    def n_inputs(self) -> int: ...

    @property
    def parameters(self) -> Mapping[str, Array]: ...

    def layer_outputs(self, X: Any) -> list[Array]: ...


def curves(histories: _Curves | Iterable[_Curves]) -> Figure:
    """Learning curves, a panel for the loss and one for each metric; several histories are drawn over one another.

    A dot marks the epoch with the best held-out loss, whose weights `EarlyStopping(restore_best=True)` keeps.

    Args:
        histories: what `fit` returns, or a list of that.

    >>> import numpy as np, cnn
    >>> net = cnn.Network([cnn.Dense(1)], seed=0)
    >>> history = net.fit(np.ones((8, 1)), np.ones(8), validation_split=0.5, epochs=3, verbose=0)
    >>> len(curves(history).axes)
    2
    """
    all_of = [histories] if isinstance(histories, _Curves) else list(histories)
    if not all_of or not all(isinstance(history, _Curves) for history in all_of):
        raise TypeError(f"curves takes a History or a list of them, got {histories!r}")
    names = [n for n in all_of[0].names if not n.startswith("val_") and n not in ("learning_rate", "seconds")]
    figure = new_figure(5.5 * max(len(names), 1), 3.8)
    thin = 1.6 if len(all_of) == 1 else 1.0
    for i, name in enumerate(names):
        axes = bare(figure.add_subplot(1, len(names), i + 1))
        for j, history in enumerate(all_of):
            epochs = np.asarray(history.epoch) + 1
            axes.plot(epochs, history[name], color=TRAINING, lw=thin, label=None if j else "training")
            if f"val_{name}" in history:
                held_out = np.asarray(history[f"val_{name}"])
                axes.plot(epochs, held_out, color=HELD_OUT, lw=thin, label=None if j else "validation")
                if name == "loss" and len(held_out) and np.isfinite(held_out).any():
                    best = int(np.nanargmin(held_out))
                    label = None if j else "best epoch"
                    axes.plot(epochs[best], held_out[best], "o", ms=5, color=HELD_OUT, label=label)
        axes.set(xlabel="epoch", ylabel=name.replace("_", " "))
        axes.xaxis.get_major_locator().set_params(integer=True)
        if name == "loss" and all(min(history[name], default=0) > 0 for history in all_of):
            by_logarithms(axes, "y")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
    return figure


def _pair(true: Any, predicted: Any) -> tuple[Array, Array]:
    a, b = np.asarray(true, np.float64).ravel(), np.asarray(predicted, np.float64).ravel()
    if len(a) != len(b) or not len(a):
        raise ValueError(f"as many true as predicted values are needed, at least one; got {len(a)} and {len(b)}")
    checks.finite("true", a)
    checks.finite("predicted", b)
    return a, b


def _limits(values: Array) -> tuple[float, float]:
    """Where an axis ends: all values, but for those that would squeeze the other 99 % into a third of it or less."""
    low, high = float(values.min()), float(values.max())
    if len(values) >= _FEW:
        inner = float(np.quantile(values, 0.005, method="higher")), float(np.quantile(values, 0.995, method="lower"))
        width = inner[1] - inner[0]
        if width > 0:
            inside = values[(values >= inner[0] - width) & (values <= inner[1] + width)]
            low, high = float(inside.min()), float(inside.max())
    return low, high


def _inside(values: Array) -> Array:
    low, high = _limits(values)
    return (values >= low) & (values <= high)


def _outside(shown: Array, what: str) -> str:
    """How many lie beyond the ends of the axes, for the title; empty where none does."""
    return "" if shown.all() else f"{np.sum(~shown):,} of {shown.size:,} {what} outside"


def _cloud(figure: Figure, axes: Any, x: Array, y: Array) -> None:
    """Points, or how many there are in each cell."""
    if len(x) <= _MANY:
        axes.scatter(x, y, s=9, alpha=0.45, color=TRAINING, lw=0)
        return
    cells = axes.hexbin(x, y, gridsize=55, bins="log", mincnt=1, cmap="viridis", lw=0.1)
    figure.colorbar(cells, ax=axes, label="rows")


def predicted_against_true(true: Any, predicted: Any, name: str = "") -> Figure:
    """Predictions (n,) over true values (n,), with the line on which both are equal.

    Args:
        true, predicted: (n,) numbers, n >= 1.
        name: of what is predicted, for the axes.

    >>> axes = predicted_against_true([1.0, 2.0, 3.0], [1.1, 1.9, 3.2], "price").axes[0]
    >>> axes.get_xlabel()
    'true price'
    """
    t, p = _pair(true, predicted)
    figure = new_figure(5.8, 4.8)
    axes = bare(figure.add_subplot())
    shown = _inside(t) & _inside(p)
    _cloud(figure, axes, t[shown], p[shown])
    axes.set_title(_outside(shown, "rows"), fontsize=9)
    ends = np.concatenate([t[shown], p[shown]])
    low, high = ends.min(), ends.max()
    axes.plot([low, high], [low, high], color=HELD_OUT, lw=1.2, label="predicted = true")
    what = plain(name) or "value"
    axes.set(xlabel=f"true {what}", ylabel=f"predicted {what}")
    axes.legend(frameon=False, loc="upper left")
    return figure


def residuals(true: Any, predicted: Any, name: str = "") -> Figure:
    """Predicted minus true (n,) over the prediction, and how often each size occurs.

    Args:
        true, predicted: (n,) numbers, n >= 1.
        name: of what is predicted, for the axes.

    >>> len(residuals([1.0, 2.0, 3.0], [1.1, 1.9, 3.2]).axes)
    2
    """
    t, p = _pair(true, predicted)
    figure = new_figure(9.5, 4.0)
    left, right = (bare(axes) for axes in figure.subplots(1, 2))
    what = plain(name) or "value"
    shown = _inside(p) & _inside(p - t)
    _cloud(figure, left, p[shown], (p - t)[shown])
    left.set_title(_outside(shown, "rows"), fontsize=9)
    left.axhline(0, color=HELD_OUT, lw=1.2)
    left.set(xlabel=f"predicted {what}", ylabel="predicted - true")
    right.set_title(_histogram(right, p - t, "rows"), fontsize=9)
    right.axvline(0, color=HELD_OUT, lw=1.2)
    right.set(xlabel="predicted - true", ylabel="rows")
    return figure


def confusion(true: Any, predicted: Any, labels: Sequence[Any] | None = None) -> Figure:
    """How often each true class (row) was predicted as each class (column); colour is the share of the row.

    Args:
        true, predicted: (n,) classes, n >= 1.
        labels: all classes, in the order of the rows and columns; None: those that are there, sorted.

    >>> axes = confusion(["a", "b", "b"], ["a", "b", "a"]).axes[0]
    >>> [text.get_text() for text in axes.texts]
    ['1', '0', '1', '1']
    """
    t, p = np.asarray(true).ravel(), np.asarray(predicted).ravel()
    if len(t) != len(p) or not len(t):
        raise ValueError(f"as many true as predicted classes are needed, at least one; got {len(t)} and {len(p)}")
    known = list(labels) if labels is not None else sorted({*t.tolist(), *p.tolist()})
    places = {label: i for i, label in enumerate(known)}
    if unknown := {*t.tolist(), *p.tolist()} - set(places):
        raise ValueError(f"labels lacks {sorted(map(str, unknown))[0]!r}")
    counts = np.zeros((len(known), len(known)), np.int64)
    np.add.at(counts, ([places[v] for v in t.tolist()], [places[v] for v in p.tolist()]), 1)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(max(3.8, 1.2 + 0.55 * len(known)), 14)
    figure = new_figure(side + 1.2, side)
    axes = figure.add_subplot()
    image = axes.imshow(share, vmin=0, vmax=1, cmap="Blues")
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.85)
    names = [plain(label)[:24] for label in known]
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_xticks(range(len(known)), names, rotation=0 if max(map(len, names)) < 7 else 40, ha="center"
                    if max(map(len, names)) < 7 else "right", rotation_mode="anchor")  # fmt: skip
    axes.set_yticks(range(len(known)), names)
    if len(known) <= 25:
        for i, j in np.ndindex(counts.shape):
            colour = "white" if share[i, j] > 0.55 else ACCENT
            axes.text(j, i, f"{counts[i, j]:,}", ha="center", va="center", color=colour, fontsize=9)
    return figure


def importance(table: Any, most: int = 20) -> Figure:
    """Bars of `TableModel.feature_importance`, the largest on top; lines are the deviations over the shuffles.

    Args:
        table: with the columns "importance" and "deviation", as `TableModel.feature_importance` gives it.
        most: bars.

    >>> import pandas as pd
    >>> found = pd.DataFrame({"importance": [2.0, 1.0], "deviation": [0.1, 0.2]}, index=["rooms", "town"])
    >>> [text.get_text() for text in importance(found).axes[0].get_yticklabels()]
    ['town', 'rooms']
    """
    shown = table.iloc[:most][::-1]
    figure = new_figure(6.5, 1.1 + 0.3 * len(shown))
    axes = bare(figure.add_subplot())
    names = [plain(name)[:32] for name in shown.index]
    axes.barh(range(len(shown)), shown["importance"], xerr=shown["deviation"], color=TRAINING, height=0.7,
              error_kw={"lw": 1, "ecolor": ACCENT})  # fmt: skip
    axes.set_yticks(range(len(shown)), names)
    axes.set_xlabel("rise of the error when the column is shuffled")
    axes.grid(visible=False, axis="y")
    return figure


def weights(net: _Drawn) -> Figure:
    """How the weights of each layer are spread.

    Args:
        net: a network that is built.

    >>> import cnn
    >>> len(weights(cnn.Network([cnn.Dense(8, "relu"), cnn.Dense(1)], seed=0).build(3)).axes)
    2
    """
    spread = [
        (f"{name.removesuffix('.weights')}\n{' x '.join(map(str, view.shape))}", view)
        for name, view in net.parameters.items() if name.endswith("weights")
    ]  # fmt: skip
    return _spreads(spread, "weight")


def activations(net: _Drawn, X: Any) -> Figure:
    """How the outputs of each layer are spread for the rows X (n, inputs).

    Args:
        net: a network that is built.
        X: rows as `predict` takes them.

    >>> import cnn, numpy as np
    >>> net = cnn.Network([cnn.Dense(8, "relu"), cnn.Dense(1)], seed=0).build(3)
    >>> len(activations(net, np.ones((5, 3))).axes)
    2
    """
    spread = [
        (f"layers.{i}\n{activation_name(layer)}", outputs)
        for i, (layer, outputs) in enumerate(zip(net.descriptions, net.layer_outputs(X), strict=True))
        if isinstance(layer, Dense)
    ]
    return _spreads(spread, "output")


def _histogram(axes: Any, values: Array, what: str) -> str:
    """Draws it; the words for the title on what it leaves out."""
    low, high = _limits(values)
    left_out = _outside((values >= low) & (values <= high), what)
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # one bin for equal values
        low, high = low - 0.5, high + 0.5
    axes.hist(values, bins=min(60, max(8, int(math.sqrt(values.size)))), range=(low, high), color=TRAINING)
    return left_out


def _spreads(values: list[tuple[str, Array]], what: str) -> Figure:
    figure = new_figure(3.0 * len(values), 3.2)
    for i, (name, all_of) in enumerate(values):
        axes = bare(figure.add_subplot(1, len(values), i + 1))
        flat = np.asarray(all_of, np.float64).ravel()
        left_out = _histogram(axes, flat, f"{what}s")
        axes.axvline(0, color=ACCENT, lw=0.8)
        title = f"{name}\nmean {flat.mean():.3g}, deviation {flat.std():.3g}\n{left_out}".rstrip()
        axes.set_title(title, fontsize=9)
        axes.set_xlabel(what)
        if not i:
            axes.set_ylabel("how many")
    return figure
