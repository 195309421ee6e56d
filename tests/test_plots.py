"""The plots hold what they are given; text from outside is never read as a formula."""

from __future__ import annotations

import io
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
