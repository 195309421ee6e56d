"""The range test: its losses are those of a plain loop, the network stays as it is, the suggestion is the rule's."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn
from cnn import plots
from cnn.table import architecture
from cnn.tuning.learning_rate import suggested

pd = pytest.importorskip("pandas")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4))
Y = X[:, 0] * X[:, 1] + 0.1 * RNG.normal(size=300)


def network(**changes: Any) -> cnn.Network:
    layers = [cnn.Dense(16, "relu"), cnn.Dropout(0.1), cnn.Dense(1)]
    return cnn.Network(layers, **{"optimizer": cnn.SGD(0.1, momentum=0.5), "seed": 0, **changes})


def test_losses_are_those_of_a_plain_loop() -> None:
    """Gradient descent in NumPy on a linear network, at rates that rise by one factor."""
    net = cnn.Network([cnn.Dense(1)], optimizer=cnn.SGD(), dtype="float64", seed=0).build(4)
    w, b = net.layers[0].weights.copy(), net.layers[0].biases.copy()
    found = cnn.find_learning_rate(net, X, Y, low=1e-3, high=1.0, steps=50, batch_size=None)
    rates = np.geomspace(1e-3, 1.0, 50)[: len(found.losses)]
    np.testing.assert_allclose(found.learning_rates, rates, rtol=1e-12)
    for rate, loss in zip(rates, found.losses, strict=True):
        d = X @ w + b - Y[:, None]
        assert loss == pytest.approx(np.mean(d**2), rel=1e-9)
        w, b = w - rate * 2 * X.T @ d / len(X), b - rate * 2 * d.mean(axis=0)


def test_the_network_stays_as_it_is_and_the_test_can_be_made_again() -> None:
    net = network()
    first = cnn.find_learning_rate(net, X, Y)
    assert net.known_inputs is None
    assert len(net.history) == 0
    net.fit(X, Y, epochs=2, verbose=0)

    def inside() -> bytes:
        return pickle.dumps((net.flat, net.state, net.step, net.optimizer, net.history.to_dict(), net.rate_factor))

    before = inside()
    again = cnn.find_learning_rate(net, X, Y)
    assert inside() == before
    assert first.losses[0] != again.losses[0]  # it begins where the network stands
    one, four = (cnn.find_learning_rate(network(), X, Y, n_threads=n) for n in (1, 4))
    assert one.losses.tobytes() == four.losses.tobytes() == first.losses.tobytes()
    assert one.suggestion == first.suggestion


def test_what_is_found() -> None:
    found = cnn.find_learning_rate(network(), X, Y, batch_size=32, steps=150)
    n = len(found.losses)
    assert found.learning_rates.shape == found.losses.shape == found.smoothed.shape == (n,)
    assert found.diverged
    assert n < 150
    assert found.suggestion in found.learning_rates[: int(np.argmin(found.smoothed)) + 1]
    assert repr(found).startswith(f"LearningRateRange(suggestion {found.suggestion:.3g}; {n} steps from 1e-06 to ")
    assert repr(found).endswith(", where the loss diverged)")
    calm = cnn.find_learning_rate(network(), X, Y, high=1e-4, steps=20)
    assert not calm.diverged
    assert len(calm.losses) == 20
    assert calm.learning_rates[-1] == pytest.approx(1e-4)


@pytest.mark.parametrize(("losses", "place"), [
    ([5, 4, 3, 2, 1], 4), ([5, 5, 1, 1, 9], 2), ([3, 5, 1.1, 1, 5], 2), ([-1, -2, -3, -2.9, 7], 2),
    ([0, 1, 2, 3, 4], None), ([2, 2, 2, 2, 2], None),
])  # fmt: skip
def test_the_rule(losses: list[float], place: int | None) -> None:
    rates = np.geomspace(1e-3, 10, 5)
    assert suggested(rates, np.array(losses, float)) == (None if place is None else rates[place])


def test_where_nothing_falls_nothing_is_suggested() -> None:
    net = cnn.Network([cnn.Dense(1, initializer="zeros")], optimizer=cnn.SGD(), seed=0)
    found = cnn.find_learning_rate(net, X, np.zeros(300))
    assert found.suggestion is None
    assert "no rate that lowers the loss" in repr(found)


def test_a_loss_that_is_not_finite_ends_the_test() -> None:
    net = cnn.Network([cnn.Dense(16, "relu"), cnn.Dense(16, "relu"), cnn.Dense(1)], optimizer=cnn.SGD(), seed=0)
    found = cnn.find_learning_rate(net, 100 * X, Y, low=1e-7, high=1e30, steps=20)
    assert found.diverged
    assert np.isfinite(found.losses).all()
    wild = cnn.Network([cnn.Dense(1)], loss="poisson", optimizer=cnn.SGD(), seed=0).build(4)
    wild.layers[0].biases = np.full(1, 1e6)
    with pytest.raises(cnn.NonFiniteError):
        cnn.find_learning_rate(wild, X, np.ones(300))


@pytest.mark.parametrize("loss", ["gaussian_nll", "cross_entropy", "poisson"])
def test_other_losses(loss: str) -> None:
    net = cnn.Network([cnn.Dense(8, "tanh"), cnn.Dense(2)], loss=loss, seed=0)
    y = {"gaussian_nll": Y, "cross_entropy": (Y > 0).astype(int), "poisson": np.ones((300, 2))}[loss]
    assert cnn.find_learning_rate(net, X, y, class_weight="balanced" if loss == "cross_entropy" else None).suggestion


def test_streams_sparse_rows_and_weights() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    batches = [(X[i : i + 60], Y[i : i + 60]) for i in range(0, 300, 60)]
    assert len(cnn.find_learning_rate(network(), batches, steps=30, high=1e-3).losses) == 30
    dense, of_zeros = (
        cnn.find_learning_rate(network(), rows, Y, steps=30, high=1e-3, sample_weight=np.arange(300))
        for rows in (X, sparse.csr_array(X))
    )
    np.testing.assert_allclose(of_zeros.losses, dense.losses, rtol=1e-4)


@pytest.mark.parametrize("solver", ["adam", "sgd", cnn.AdamW(weight_decay=0.1)])
def test_estimators(solver: Any) -> None:
    pytest.importorskip("sklearn")
    est = cnn.MLPRegressor(hidden_layer_sizes=(8,), solver=solver, batch_size=50, random_state=0, early_stopping=True)
    before = repr(est.get_params())
    found = cnn.find_learning_rate(est, X, Y, steps=100)
    assert repr(est.get_params()) == before
    assert not hasattr(est, "network_")
    assert 1e-5 < found.suggestion < 10
    labels = np.where(Y > 0, "yes", "no")
    assert cnn.find_learning_rate(cnn.MLPClassifier(random_state=0), X, labels, steps=50).suggestion is not None


def table() -> dict[str, Any]:
    return {"a": X[:, 0], "town": np.where(X[:, 1] > 0, "Köln", "Genf"), "b": X[:, 2], "y": X[:, 0] + (X[:, 1] > 0)}


def test_table_models_are_tested_by_their_first_network() -> None:
    """The same bits as that network by itself on the same inputs; the model stays as it is."""
    model = cnn.TableModel("y", seed=3, numbers="plain", max_seconds=100, patience=2)
    before = repr(model.get_params())
    found = cnn.find_learning_rate(model, table(), steps=60)
    assert repr(model.get_params()) == before
    assert model.networks == ()
    assert found.suggestion is not None
    fitted = cnn.TableModel("y", seed=3, numbers="plain", members=1, epochs=1).fit(table(), verbose=0)
    settings = fitted.settings.chosen("regression", 300)
    y = fitted.goal.scaled(np.asarray(table()["y"]))
    rows = np.setdiff1d(np.arange(300), fitted.held_out)
    first = architecture.network_of(settings, fitted.goal, fitted.encoder, 3)
    inputs = fitted.encoder.features(pd.DataFrame(table()), rows)
    alone = cnn.find_learning_rate(first, inputs, y[rows], steps=60, batch_size=settings.batch_size)
    assert alone.losses.tobytes() == found.losses.tobytes()
    again = cnn.find_learning_rate(model, table(), steps=60, n_threads=2, sample_weight=np.ones(300))
    assert again.suggestion == found.suggestion
    weighted = cnn.find_learning_rate(model, table(), steps=60, sample_weight=np.arange(300))
    assert weighted.losses.tobytes() != found.losses.tobytes()


def test_table_models_of_classes_with_y_and_in_pieces() -> None:
    rows = table()
    town = rows.pop("town")
    found = cnn.find_learning_rate(cnn.TableModel(seed=0), pd.DataFrame(rows), town, steps=40)
    assert 1e-5 < found.suggestion < 10
    whole = pd.DataFrame(table())
    pieces = [whole.iloc[:150], whole.iloc[150:]]
    assert len(cnn.find_learning_rate(cnn.TableModel("y", seed=0), pieces, steps=20, high=1e-3).losses) == 20


def test_image_classifiers(tmp_path: Path) -> None:
    """The same bits as the network by itself on the same images; of a folder as of an array."""
    pytest.importorskip("sklearn")
    from sklearn.utils import check_random_state

    from cnn.images import recipe

    labels = np.array(["ä", "b", "c"])[RNG.integers(0, 3, 60)]
    images = RNG.integers(0, 120, (60, 8, 8), dtype=np.uint8) + (60 * (labels == "b")).astype(np.uint8)[:, None, None]
    model = cnn.ImageClassifier(random_state=0, validation_split=0.2, max_seconds=100)
    before = repr(model.get_params())
    found = cnn.find_learning_rate(model, images, labels, steps=30)
    assert repr(model.get_params()) == before
    assert not hasattr(model, "network_")
    seed = int(check_random_state(0).randint(2**31 - 1))
    net = recipe.network(recipe.layers((8, 8, 1), 3, 16), seed)
    index = np.unique(labels, return_inverse=True)[1]
    alone = cnn.find_learning_rate(net, images[..., None], index, steps=30, batch_size=16)
    assert alone.losses.tobytes() == found.losses.tobytes()
    shifted = cnn.ImageClassifier(random_state=0, augment=cnn.augment.Shift(2))
    assert cnn.find_learning_rate(shifted, images, labels, steps=30).losses.tobytes() != found.losses.tobytes()
    image = pytest.importorskip("PIL.Image")
    for i, label in enumerate(labels):
        (tmp_path / label).mkdir(exist_ok=True)
        image.fromarray(images[i]).save(tmp_path / label / f"{i}.png")
    assert cnn.find_learning_rate(model, tmp_path, steps=30, high=1.0).suggestion is not None


@pytest.mark.parametrize(("change", "kind", "text"), [
    ({"low": 0}, ValueError, r"low must be in \(0, inf\), got 0"),
    ({"high": 1e-9}, ValueError, r"high must be in \(1e-06, "),
    ({"steps": 9}, ValueError, "steps must be an integer >= 10, got 9"),
    ({"steps": 20.0}, TypeError, "steps must be an integer >= 10, got 20.0 of type float"),
    ({"network": "net"}, TypeError, "find_learning_rate takes a cnn.Network, a cnn.MLPClassifier or .* got 'net'"),
    ({"y": None}, TypeError, "y is None"), ({"batch_size": 0}, ValueError, "batch_size must be an integer >= 1, got 0"),
    ({"network": cnn.MLPRegressor(solver="lbfgs")}, ValueError, "solver='lbfgs' has no learning rate"),
    ({"network": cnn.MLPRegressor(), "batch_size": 7}, ValueError,
     "batch_size is for networks: an estimator has its own parameters, got batch_size=7"),
    ({"network": cnn.TableModel(seed=0), "class_weight": "balanced"}, ValueError, "class_weight is for networks"),
    ({"network": cnn.TableModel("z", seed=0), "y": None, "X": table()}, ValueError, "'z'"),
    ({"network": cnn.ImageClassifier(), "n_threads": 1}, ValueError, "n_threads is for networks"),
    ({"network": cnn.ImageClassifier()}, ValueError, r"X must be images .* got shape \(300, 4\)"),
    ({"network": cnn.ImageClassifier(), "X": np.ones((300, 4, 4)), "sample_weight": Y}, TypeError, "sample_weight"),
    ({"X": iter([(X, Y)]), "y": None}, ValueError, "which can be read once"),
])  # fmt: skip
def test_wrong_arguments(change: dict[str, Any], kind: type[Exception], text: str) -> None:
    given = {"network": network(), "X": X, "y": Y, **change}
    with pytest.raises(kind, match=text):
        cnn.find_learning_rate(given.pop("network"), given.pop("X"), given.pop("y"), **given)


# The picture ----------------------------------------------------------------------------------------------------------

def test_the_picture(tmp_path: Any) -> None:
    pytest.importorskip("matplotlib")
    found = cnn.find_learning_rate(network(), X, Y)
    (axes,) = found.plot(tmp_path / "rates.png").axes
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")
    raw, smooth, at = axes.get_lines()
    assert raw.get_ydata().tolist() == found.losses.tolist()
    assert smooth.get_xdata().tolist() == found.learning_rates.tolist()
    assert at.get_xdata()[0] == found.suggestion
    assert axes.get_ylim()[0] < found.smoothed.min()
    out = io.BytesIO()
    plots.learning_rates([1.0], [2.0]).savefig(out, format="png", dpi=40)  # one step, without a suggestion
    assert out.getvalue().startswith(b"\x89PNG")


@pytest.mark.parametrize(("given", "text"), [
    (([], []), "at least one"), (([0.1], [1.0, 2.0]), r"got \(1,\), \(2,\) and"),
    (([0.1], [np.nan]), "losses holds nan at row 0"), (([0.1], [1.0], [1.0, 2.0]), r"and \(2,\)"),
])  # fmt: skip
def test_wrong_pictures(given: tuple[Any, ...], text: str) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match=text):
        plots.learning_rates(*given)
