"""Between two fits with warm_start, and of partial_fit, an estimator's network keeps its loss and type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.9")

import cnn

rng = np.random.default_rng(0)
X = rng.normal(size=(90, 4))
Y = X[:, 0] + np.sin(X[:, 1])
LABELS = np.digitize(Y, [-0.5, 0.5])
FIXED: dict[str, Any] = {"hidden_layer_sizes": (5,), "max_iter": 2, "random_state": 0}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize(("kind", "settings", "changed", "name"), [
    ("classifier", {}, {"loss": "hinge"}, "loss"),
    ("classifier", {}, {"loss": cnn.losses.CrossEntropy(0.1)}, "loss"),
    ("classifier", {}, {"label_smoothing": 0.1}, "label_smoothing"),
    ("regressor", {}, {"loss": "huber"}, "loss"),
    ("regressor", {"loss": "quantile"}, {"quantile": 0.9}, "quantile"),
    ("regressor", {}, {"dtype": "float32"}, "dtype"),
    ("classifier", {"dtype": "float32"}, {"dtype": "float64"}, "dtype"),
])  # fmt: skip
@pytest.mark.parametrize("partial", [False, True])
def test_what_no_further_fit_can_change(
    kind: str, settings: dict[str, Any], changed: dict[str, Any], name: str, partial: bool
) -> None:
    made: Any = cnn.MLPClassifier if kind == "classifier" else cnn.MLPRegressor
    est, target = made(warm_start=True, **{**FIXED, **settings}), LABELS if kind == "classifier" else Y
    est.fit(X, target)
    kept = est.network_.flat.tobytes()
    est.set_params(**changed)
    with pytest.raises(ValueError, match=f"^{name} can't change between two fits with warm_start: set warm_start"):
        (est.partial_fit if partial else est.fit)(X, target)
    assert est.network_.flat.tobytes() == kept
    est.set_params(**{key: settings.get(key, made().get_params()[key]) for key in changed}).fit(X, target)
    est.set_params(dtype="auto").fit(X.astype(np.float32), target)  # the network's own, whatever X has
    est.set_params(warm_start=False, **changed).fit(X, target)
