"""Estimators saved and loaded: predictions and further fits to the same bits, labels, what a file can't hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.9")
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import make_scorer, mean_absolute_error

import cnn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X = np.random.default_rng(0).normal(size=(80, 4))
Y = np.c_[X[:, 0] * X[:, 1], X[:, 2] - X[:, 3]]
SHORT: dict[str, Any] = {"hidden_layer_sizes": 5, "max_iter": 4, "random_state": 3}


def loaded(est: Any, path: Path) -> Any:
    est.save(path / "m.cnn")
    return cnn.load(path / "m.cnn")


def same(one: Any, two: Any) -> None:
    """All that can be seen, and the bits of weights and optimizer."""
    for name in ("n_iter_", "t_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_", "loss_",
                 "n_features_in_", "n_outputs_", "n_layers_", "out_activation_"):  # fmt: skip
        assert getattr(one, name) == getattr(two, name), name
    ours, theirs = one.history_.to_dict(), two.history_.to_dict()
    ours.pop("seconds"), theirs.pop("seconds")
    assert ours == theirs
    assert one.network_.flat.tobytes() == two.network_.flat.tobytes()
    assert one.predict(X).tobytes() == two.predict(X).tobytes()
    assert one.get_params() == two.get_params()


@pytest.mark.parametrize("options", [
    {}, {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1}, {"solver": "lbfgs"},
    {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 1, "momentum": 1.0},
    {"dropout": 0.3, "solver": "nadam", "shuffle": False}, {"early_stopping": True, "validation_fraction": 0.3},
    {"learning_rate": cnn.schedules.Cosine(0.1), "dtype": "float32", "metrics": ("r2",)}, {"loss": "quantile"},
], ids=str)  # fmt: skip
def test_a_warm_start_goes_on_as_if_never_saved(options: dict[str, Any], tmp_path) -> None:
    est = cnn.MLPRegressor(**{**SHORT, **options, "warm_start": True}).fit(X, Y)
    again = loaded(est, tmp_path)
    same(est, again)
    same(est.fit(X, Y), again.fit(X, Y))
    assert est.network_.state.tobytes() == again.network_.state.tobytes()


@pytest.mark.parametrize("solver", ["adam", "sgd", cnn.RMSprop(0.01, momentum=0.5)], ids=["adam", "sgd", "own"])
def test_partial_fit_goes_on_as_if_never_saved(solver: Any, tmp_path) -> None:
    labels = np.digitize(Y[:, 1], [-1, 1])
    est = cnn.MLPClassifier(**SHORT, solver=solver).partial_fit(X, labels, classes=[0, 1, 2])
    again = loaded(est, tmp_path)
    for _ in range(2):
        same(est.partial_fit(X, labels), again.partial_fit(X, labels))


def test_after_a_plain_fit_the_optimizer_is_not_kept(tmp_path) -> None:
    est = cnn.MLPRegressor(**SHORT).fit(X, Y)
    again = loaded(est, tmp_path)
    same(est, again)
    assert (again.network_.step, again.network_.state.any()) == (0, False)
    again.partial_fit(X, Y)


@pytest.mark.parametrize("labels", [
    ["b", "a"] * 40, np.array(["é", "", "x y"] * 27, object)[:80], [True, False] * 40, np.arange(80) % 3 - 1,
    (np.arange(80) % 2).astype(np.uint8), np.arange(80) % 4 / 1.0, [7] * 80, (Y > 0).astype(int),
], ids=["text", "objects", "booleans", "integers", "bytes", "floats", "one", "several"])  # fmt: skip
def test_labels_come_back(labels: Any, tmp_path) -> None:
    est = cnn.MLPClassifier(**SHORT).fit(X, labels)
    again = loaded(est, tmp_path)
    same(est, again)
    assert again.classes_.dtype == est.classes_.dtype
    assert again.classes_.tolist() == est.classes_.tolist()
    assert again.predict_proba(X).tobytes() == est.predict_proba(X).tobytes()
    assert again.score(X, labels) == est.score(X, labels)
    again.set_params(warm_start=True).fit(X, labels)


def test_sparse_labels_stay_sparse(tmp_path) -> None:
    from scipy.sparse import csr_matrix

    est = cnn.MLPClassifier(**SHORT).fit(X, csr_matrix((Y > 0).astype(int)))
    assert (loaded(est, tmp_path).predict(X) != est.predict(X)).nnz == 0


def test_names_of_features_are_kept(tmp_path) -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["a", "b", "ü", "=d"])
    again = loaded(cnn.MLPRegressor(**SHORT).fit(frame, Y), tmp_path)
    assert again.feature_names_in_.tolist() == ["a", "b", "ü", "=d"]
    again.predict(frame)
    with pytest.raises(ValueError, match="feature names"):
        again.predict(frame[["b", "a", "ü", "=d"]])


def test_parameters_come_back(tmp_path) -> None:
    given = {
        "hidden_layer_sizes": np.array([4, 3]), "activation": ["relu", cnn.Activation("elu", 0.5)],
        "solver": cnn.Adam(0.1), "dtype": np.float32,
        "class_weight": {np.int64(0): 1, 1: np.float32(0.5)}, "n_iter_no_change": np.inf,
        "metrics": ["f1", "accuracy"], "max_iter": np.int32(3), "shuffle": np.bool_(True), "random_state": 4,
        "scoring": "roc_auc", "early_stopping": True,
    }  # fmt: skip
    est = cnn.MLPClassifier(**given).fit(X, Y[:, 0] > 0)
    found = loaded(est, tmp_path).get_params()
    assert found == {
        **est.get_params(), "hidden_layer_sizes": (4, 3), "activation": ("relu", cnn.Activation("elu", 0.5)),
        "dtype": "float32", "class_weight": {0: 1, 1: 0.5}, "metrics": ("f1", "accuracy"),
    }  # fmt: skip
    again = clone(cnn.load(tmp_path / "m.cnn")).fit(X, Y[:, 0] > 0)
    assert again.predict_proba(X).tobytes() == est.predict_proba(X).tobytes()


def test_layers_and_estimators_of_networks(tmp_path) -> None:
    net = cnn.Network([cnn.Dense(3, "tanh"), cnn.Dense(2)], loss="cross_entropy", seed=0).build(4)
    again = loaded(cnn.MLPClassifier.from_network(net), tmp_path)
    assert np.array_equal(again.predict_proba(X.astype(np.float32)), net.predict(X))
    assert again.classes_.tolist() == [0, 1]
    again.network_.save(tmp_path / "n.cnn")
    inner = cnn.load(tmp_path / "n.cnn")
    assert (inner.loss, inner.descriptions) == (again.network_.loss, again.network_.descriptions)
    assert np.array_equal(inner.predict(X), net.predict(X))
    other = loaded(cnn.MLPClassifier.from_network(inner).partial_fit(X, [0, 1] * 40), tmp_path)
    assert other.predict_proba(X).tobytes() == again.partial_fit(X, [0, 1] * 40).predict_proba(X).tobytes()


def test_blocks_among_the_layers(tmp_path) -> None:
    inner = cnn.Residual([cnn.Dense(3, cnn.Activation("elu", 0.3))])
    est = cnn.MLPRegressor(layers=(cnn.Dense(3), cnn.Residual([cnn.Dense(3), inner]), cnn.Dense(2)), **SHORT).fit(X, Y)
    again = loaded(est, tmp_path)
    assert again.layers == est.layers
    assert again.predict(X).tobytes() == est.predict(X).tobytes()


def test_callbacks_are_not_kept(tmp_path) -> None:
    seen = []
    est = cnn.MLPRegressor(**SHORT, callbacks=[lambda *_: seen.append(1)]).fit(X, Y)
    assert loaded(est, tmp_path).callbacks is None
    assert len(seen) == 4


def test_functions_and_generators_are_left_out_with_a_warning(tmp_path) -> None:
    def biggest(y: Any, p: Any, w: Any) -> float:
        return float(np.abs(y - p).max())

    est = cnn.MLPRegressor(
        **{**SHORT, "random_state": np.random.RandomState(0)}, metrics=["r2", biggest],
        scoring=make_scorer(mean_absolute_error, greater_is_better=False),
    ).fit(X, Y, X_val=X, y_val=Y)  # fmt: skip
    with pytest.warns(UserWarning, match="saved without random_state and scoring and metrics") as caught:
        est.save(tmp_path / "m.cnn")
    assert caught[0].filename == __file__
    again = cnn.load(tmp_path / "m.cnn")
    assert (again.random_state, again.scoring, again.metrics) == (None, None, ())
    assert again.history_.biggest == est.history_.biggest
    assert again.predict(X).tobytes() == est.predict(X).tobytes()


class OwnLoss(cnn.Loss):
    pass


class OwnRate(cnn.schedules.Constant):
    pass


class OwnEstimator(cnn.MLPRegressor):
    pass


@pytest.mark.parametrize(("make", "kind", "said"), [
    (lambda: cnn.MLPRegressor(OwnLoss("mse"), **SHORT), TypeError, "what cnn itself describes, not a OwnLoss"),
    (lambda: cnn.MLPRegressor(learning_rate=OwnRate(0.1), **SHORT), TypeError, "itself describes, not a OwnRate"),
    (lambda: OwnEstimator(**SHORT), TypeError, "cnn's own MLPClassifier and MLPRegressor, not a OwnEstimator"),
])  # fmt: skip
def test_what_a_prediction_depends_on_must_be_ours(make: Any, kind: Any, said: str, tmp_path) -> None:
    est = make().fit(X, Y)
    with pytest.raises(kind, match=said):
        est.save(tmp_path / "m.cnn")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:class_weight names class")
def test_what_can_not_be_saved_leaves_the_old_file(tmp_path, monkeypatch) -> None:
    path = tmp_path / "m.cnn"
    est = cnn.MLPRegressor(**SHORT).fit(X, Y)
    est.save(path)
    before = path.read_bytes()
    dates = cnn.MLPClassifier(**SHORT).fit(X, np.array(["2024-01-01", "2025-01-01"] * 40, "M8[D]"))
    long = cnn.MLPClassifier(**SHORT).fit(X, ["a", "b" * 300] * 40)
    zeros = cnn.MLPClassifier(**SHORT).fit(X, ["a", "b"] * 40)
    zeros.classes_ = np.array(["a", "a\0"], object)
    monkeypatch.setattr("cnn.sklearn.save._MOST_LABELS", 2000)
    many = cnn.MLPRegressor(**SHORT).fit(X, Y)
    many.loss_curve_ = [0.0] * (1 << 20)
    for other, kind, said in [
        (cnn.MLPRegressor(), NotFittedError, "not fitted yet"), (dates, TypeError, "labels of dtype datetime64"),
        (long, ValueError, "labels of 2,400 bytes"),
        (many, ValueError, r"have 1,048,\d+ numbers, and a file holds"),
        (cnn.MLPRegressor(**SHORT).fit(X, Y).set_params(solver="adm"), ValueError, "unknown solver 'adm'"),
        (cnn.MLPRegressor(**SHORT).fit(X, Y).set_params(alpha=-1), ValueError, "'alpha' parameter"),
        (cnn.MLPRegressor(**SHORT).fit(X, Y).set_params(max_iter=10**30), ValueError, "max_iter=10.* can't be saved"),
        (weighed(-(10**19)), ValueError, "class_weight=-10.* can't be saved"),
        (weighed(float("inf")), ValueError, "labels are finite"),
        (zeros, ValueError, "end with a zero byte"),
    ]:  # fmt: skip
        with pytest.raises(kind, match=said):
            other.save(path)
        assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.cnn"]


def weighed(label: Any) -> Any:
    """A fitted classifier with a weight for a label that no row has."""
    return cnn.MLPClassifier(**SHORT, class_weight={0: 1, 1: 2, label: 1}).fit(X, [0, 1] * 40)


def test_saving_changes_nothing(tmp_path) -> None:
    est = cnn.MLPClassifier(**SHORT, warm_start=True).fit(X, Y[:, 0] > 0)
    before = {name: repr(value) for name, value in est.__dict__.items()}
    again = loaded(est, tmp_path)
    assert {name: repr(value) for name, value in est.__dict__.items()} == before
    assert {name: repr(value) for name, value in again.__dict__.items()} == before
