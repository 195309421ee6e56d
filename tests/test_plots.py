"""The plots hold what they are given; text from outside is never read as a formula."""

from __future__ import annotations

import io
import itertools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn
from cnn import plots

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def net() -> cnn.Network:
    return cnn.Network([cnn.Dense(20, "relu"), cnn.Dropout(0.1), cnn.Dense(3, "tanh"), cnn.Dense(1)], seed=0).build(4)


def drawn(figure: Any) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=40)
    return out.getvalue()


def test_curves_show_the_history(net: cnn.Network) -> None:
    X = np.random.default_rng(0).normal(size=(50, 4))
    history = cnn.Network(net.descriptions, seed=0).fit(X, X[:, 0], epochs=4, validation_split=0.2, verbose=0)
    loss, rmse = history.plot().axes
    assert loss.get_lines()[0].get_ydata().tolist() == history.loss
    assert rmse.get_lines()[1].get_ydata().tolist() == history.val_rmse
    best = loss.get_lines()[2]
    assert best.get_xdata() == np.argmin(history.val_loss) + 1
    assert len(plots.curves([history, history]).axes[0].get_lines()) == 6
    drawn(plots.curves([history, history]))
    with pytest.raises(TypeError, match="History"):
        plots.curves([])


@pytest.mark.parametrize("n", [1, 50, 5000])
def test_clouds(n: int) -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=n)
    for figure in (plots.predicted_against_true(y, y, r"$\frac{"), plots.residuals(y, y + 1, "a_$b")):
        assert drawn(figure).startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="as many"):
        plots.residuals(y, y[:-1])
    with pytest.raises(ValueError, match="predicted holds nan at row 0"):
        plots.residuals(y, np.append(np.nan, y[1:]))


@pytest.mark.parametrize("n", [200, 5000])
@pytest.mark.parametrize("size", [1e-6, 1.0, 3e3, 2e4, 7e5, 9e6, 9e7, 4e11])
def test_numbers_of_any_size_stand_side_by_side(n: int, size: float) -> None:
    rng = np.random.default_rng(0)
    true = size * rng.uniform(0.3, 1.0, n)
    for figure in (plots.predicted_against_true(true, true), plots.residuals(true, true + size * rng.normal(size=n))):
        figure.draw_without_rendering()
        for axes in figure.axes:
            labels = [label for label in axes.get_xticklabels() if label.get_text()]
            low, high = axes.get_xlim()
            boxes = [b.get_window_extent() for b in labels if low <= b.get_position()[0] <= high]
            assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))
            large = [b.get_text() for b in labels if 1e4 <= abs(b.get_position()[0]) < 1e7]
            assert all("," in text for text in large) or axes.xaxis.get_offset_text().get_text()


def test_years_have_no_separator() -> None:
    figure = plots.predicted_against_true([1990, 2024], [1995, 2020], "year")
    figure.draw_without_rendering()
    assert "2000" in [label.get_text() for label in figure.axes[0].get_xticklabels()]


@pytest.mark.parametrize("n", [30, 5000])
def test_an_outlier_is_counted_and_squeezes_nothing(n: int) -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=n)
    predicted = true + rng.normal(scale=0.1, size=n)
    for figure in (plots.predicted_against_true(true, predicted), plots.residuals(true, predicted)):
        assert [axes.get_title() for axes in figure.axes] == [""] * len(figure.axes)
    predicted[[3, 7]] = 500, -700
    left, right, *_ = plots.residuals(true, predicted).axes
    assert left.get_title() == right.get_title() == f"2 of {n:,} rows outside"
    assert all(-5 < end < 5 for end in (*left.get_xlim(), *left.get_ylim(), *right.get_xlim()))
    assert sum(bar.get_height() for bar in right.patches) == n - 2
    axes = plots.predicted_against_true(true, predicted).axes[0]
    assert axes.get_title() == f"2 of {n:,} rows outside"
    assert all(-5 < end < 5 for end in axes.get_ylim())
    few = plots.residuals(true[:9], predicted[:9]).axes[0]  # of so few, none is left out
    assert few.get_ylim()[1] > 490
    assert few.get_title() == ""


def test_outliers_of_weights_are_counted_too() -> None:
    net = cnn.Network([cnn.Dense(50)], seed=0).build(4)
    net.layers[0].weights[0, 0] = 1e6
    axes = plots.weights(net).axes[0]
    assert axes.get_title().endswith("1 of 200 weights outside")
    assert axes.get_xlim()[1] < 10


def test_confusion_counts_as_scikit_learn_does() -> None:
    sk = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    true, predicted = rng.choice(list("abc"), 60), rng.choice(list("abc"), 60)
    shown = [int(text.get_text()) for text in plots.confusion(true, predicted).axes[0].texts]
    assert shown == sk.confusion_matrix(true, predicted).ravel().tolist()
    assert drawn(plots.confusion([0, 1], [1, 1], [0, 1, 2]))
    with pytest.raises(ValueError, match="lacks"):
        plots.confusion([0, 1], [1, 1], [0])


def test_activations_are_those_of_each_layer(net: cnn.Network, monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    seen: list[Any] = []
    spreads = plots._spreads
    monkeypatch.setattr(plots, "_spreads", lambda values, what: [seen.extend(values), spreads(values, what)][1])
    drawn(plots.activations(net, X))
    first = np.maximum(X @ net.layers[0].weights + net.layers[0].biases, 0)
    assert np.allclose(seen[0][1], first, atol=1e-6)
    assert np.allclose(seen[-1][1], net.forward(X), atol=1e-6)


def test_networks_narrow_and_wide(net: cnn.Network) -> None:
    drawn(plots.network(net))
    drawn(plots.weights(net))
    figure = plots.network(cnn.Network([cnn.Dense(1000, "relu"), cnn.Dense(12)], seed=0).build(1))
    assert "1,000" in " ".join(text.get_text() for text in figure.axes[0].texts)


def lines(axes: Any) -> dict[str, tuple[list[float], list[float]]]:
    """The points of each kind in a picture of a search, by their name in the legend."""
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines()}


@pytest.mark.parametrize("sign", [1, -1])
def test_a_search_shows_the_best_and_does_not_let_the_worst_set_the_axis(sign: int) -> None:
    scores = [sign * score for score in (1.0, 1.2, 2.0, 3.0, 50.0)]
    results = {
        "state": ["complete", "complete", "pruned", "pruned", "pruned", "diverged"], "score": [*scores, None],
        "rate": [0.1, 0.2, None, 0.4, None, 0.6], "hidden": [(64,), (16,), (64, 64), (128,), (16,), (16,)],
        "clip": [1.0, None, 0.5, 1.0, 1.0, 1.0],
    }  # fmt: skip
    figure = plots.search(results, "score", {"rate": True, "hidden": None, "clip": None}, larger=sign < 0)
    drawn(figure)
    trials, rates, hidden, clip = figure.axes
    beyond = "given up, beyond the axis"
    assert lines(trials)["best"] == ([1], [sign])
    assert lines(trials)["given up"][1][:2] == [sign * 2, sign * 3]
    assert lines(trials)[beyond] == ([5], [sign * 3])  # at the edge, the median of those that were given up
    assert trials.get_ylim()[1 if sign > 0 else 0] == sign * 3
    assert lines(rates)["trained to the end"][0] == [0.1, 0.2]
    assert np.isnan(lines(rates)["given up"][0][0])
    assert [tick.get_text() for tick in hidden.get_xticklabels()] == ["(16,)", "(64,)", "(64, 64)", "(128,)"]
    assert [tick.get_text() for tick in clip.get_xticklabels()] == ["None", "0.5", "1.0"]
    places = np.array(lines(hidden)["trained to the end"][0])
    assert list(places.round()) == [1, 0]
    assert len({*places, *lines(hidden)[beyond][0]}) == 3  # points of one choice stand side by side
    named = ["given up", beyond, "trained to the end", "best", "best so far"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == named


# In notebooks ---------------------------------------------------------------------------------------------------------


def test_every_plot_shows_itself(net: cnn.Network) -> None:
    import pandas as pd

    X = np.random.default_rng(0).normal(size=(30, 4))
    history = cnn.Network([cnn.Dense(1)], seed=0).fit(X, X[:, 0], epochs=2, verbose=0)
    importance = pd.DataFrame({"importance": [1.0], "deviation": [0.1]}, index=["a"])
    figures = {
        "curves": history.plot(), "predicted_against_true": plots.predicted_against_true(X[0], X[1]),
        "residuals": plots.residuals(X[0], X[1]), "confusion": plots.confusion([0, 1], [1, 1]),
        "importance": plots.importance(importance), "weights": plots.weights(net),
        "activations": plots.activations(net, X), "network": plots.network(net),
        "search": plots.search({"state": ["complete", "pruned", "diverged"], "rmse": [1.0, 2.0, None], "a": [1, 9, 5],
                                "b": ["x", "y$", None]}, "rmse", {"a": True, "b": None}),
    }  # fmt: skip
    public = {name for name, f in vars(plots).items() if getattr(f, "__module__", "") == plots.__name__}
    assert {name for name in public if not name.startswith("_")} | {"search", "network"} == set(figures)
    for figure in figures.values():
        assert figure._repr_png_().startswith(b"\x89PNG")
        again = pickle.loads(pickle.dumps(figure))
        assert drawn(again).startswith(b"\x89PNG")


@pytest.mark.filterwarnings("ignore")  # of Jupyter's own, about its folders and event loops
def test_a_notebook_shows_each_picture_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a line about matplotlib, and after one; see docs of IPython for the types of outputs."""
    pytest.importorskip("ipykernel")
    nbclient = pytest.importorskip("nbclient")
    import nbformat

    monkeypatch.delenv("MPLBACKEND", raising=False)
    make = "import numpy as np, cnn\nh = cnn.Network([cnn.Dense(1)]).fit(np.ones((8, 1)), np.ones(8), verbose=0)\n"
    cells = [f"{make}h.plot()", "%matplotlib inline\nh.plot()", "cnn.plots.residuals([1.0, 2.0], [1.5, 2.0])",
             "import matplotlib.pyplot as plt\nh.plot()"]  # fmt: skip
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    elsewhere = {"metadata": {"path": str(tmp_path)}}  # beside the sources, a notebook would import them
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources=elsewhere).execute()
    for cell in notebook.cells:
        assert [output.output_type for output in cell.outputs] == ["execute_result"], cell.outputs
        assert "image/png" in cell.outputs[0].data
