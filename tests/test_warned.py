"""What a fit warns of, at the line that called it, and weights that it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cnn


def data(n: int) -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(0).normal(size=(n, 3))
    return X, np.abs(X[:, 0]).clip(0, 1)


@pytest.mark.parametrize(("activation", "loss", "text"), [
    ("relu", "cross_entropy", r"cross_entropy takes raw outputs, and relu of the last .* within \[0, inf\]"),
    ("tanh", "binary_cross_entropy", "binary_cross_entropy takes raw outputs, and tanh of the last layer"),
    ("softplus", "poisson", "poisson takes raw outputs"),
    ("elu", "cross_entropy", r"elu of the last .* within \[-1, inf\]"),
    ("gelu", "hinge", "hinge takes raw outputs"),
    ("relu", "mse", r"targets reach from -.* relu of the last layer gives numbers within \[0, inf\] alone"),
    ("sigmoid", "mae", r"and sigmoid of the last layer gives numbers within \[0, 1\] alone"),
])  # fmt: skip
def test_a_last_activation_that_can_not_serve_is_warned_of(activation: str, loss: str, text: str) -> None:
    X, y = data(60)
    labels = (y > 0.5).astype(int)
    real = loss in ("mse", "mae")
    units = 2 if loss == "cross_entropy" else 1
    with pytest.warns(UserWarning, match=text) as said:
        cnn.Network([cnn.Dense(units, activation)], loss=loss, seed=0).fit(
            X, y - 3 if real else labels, epochs=1, verbose=0)  # fmt: skip
    assert len(said) == 1
    assert Path(said[0].filename).name == "test_warned.py"
    link = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid"}.get(loss, "identity")
    for fine in ("identity", "leaky_relu", link, *(["hard_tanh"] if loss == "hinge" else [])):
        cnn.Network([cnn.Dense(units, fine)], loss=loss, seed=0).fit(X, y if real else labels, epochs=1, verbose=0)


def test_a_class_without_a_weight_is_warned_of() -> None:
    X, y = data(60)
    labels = (y > 0.5).astype(int)
    net = cnn.Network([cnn.Dense(2)], loss="cross_entropy", seed=0)
    with pytest.warns(UserWarning, match="class_weight has no weight for class 1, which counts as 1") as said:
        net.fit(X, labels, class_weight={0: 2.0}, epochs=1, verbose=0)
    assert Path(said[0].filename).name == "test_warned.py"
    net.fit(X, labels, class_weight={0: 2.0, 1: 1.0}, epochs=1, verbose=0)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer", "ignore:lbfgs failed")
def test_estimators_warn_of_the_same() -> None:
    X, y = data(60)
    labels = np.array(["no", "yes"])[(y > 0.5).astype(int)]
    lacking, unknown = {"no": 2.0}, {"no": 1.0, "yes": 1.0, "x": 3.0}
    for weights, text in ((lacking, "has no weight for class 'yes'"), (unknown, "names class 'x'")):
        with pytest.warns(UserWarning, match=f"class_weight {text}") as said:
            cnn.MLPClassifier(class_weight=weights, max_iter=1, n_iter_no_change=1).fit(X, labels)
        assert Path(next(w for w in said if text in str(w.message)).filename).name == "test_warned.py"
    for solver in ("adam", "lbfgs"):
        with pytest.warns(UserWarning, match="relu of the last layer"):
            cnn.MLPRegressor(layers=[cnn.Dense(1, "relu")], solver=solver, max_iter=1).fit(X, y - 3)
    parts = cnn.MLPClassifier(class_weight={"no": 1.0, "yes": 2.0})
    parts.partial_fit(X[:3], ["no"] * 3, classes=["no", "yes"])  # a batch without a class says nothing of it


@pytest.mark.parametrize("small", [1e-40, 1e-300])
def test_weights_that_count_as_zero_are_named_before_the_fit(small: float) -> None:
    """Below the smallest normal number of float32, which training takes for 0."""
    X, y = data(60)
    labels = (y > 0.5).astype(int)
    net = cnn.Network([cnn.Dense(2)], loss="cross_entropy", seed=0)
    for how in ({"sample_weight": np.full(60, small)}, {"sample_weight": np.where(np.arange(60) == 7, small, 1)},
                {"class_weight": {0: small, 1: small}}):
        with pytest.raises(ValueError, match="which counts as 0: it is below the smallest normal number of float32"):
            net.fit(X, labels, epochs=1, verbose=0, **how)
    assert net.known_inputs is None
    net.fit(X, labels, epochs=1, verbose=0, sample_weight=np.full(60, 2e-38))
