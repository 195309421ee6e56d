"""The estimators on sparse X, beside scikit-learn's own."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.9")
import sklearn.neural_network as peer
from scipy import sparse
from sklearn.ensemble import BaggingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

import cnn

rng = np.random.default_rng(0)
X = sparse.random_array((307, 40), density=0.2, format="csr", rng=rng)
Y = np.asarray(X @ rng.normal(size=40))
W = rng.uniform(0.5, 2, 307)
TARGETS = {
    "regression": Y, "outputs": np.c_[Y, -Y ** 2], "two": (Y > 0).astype(int),
    "several": np.array(["low", "mid", "top"])[np.digitize(Y, [-1, 1])], "labels": np.c_[Y > 0, Y > 1].astype(int),
}  # fmt: skip
FIXED: dict[str, Any] = {"hidden_layer_sizes": (10, 7), "max_iter": 8, "random_state": 3, "alpha": 0.1}
SETTINGS: dict[str, dict[str, Any]] = {
    "adam": {}, "sgd": {"solver": "sgd"}, "early stopping": {"early_stopping": True}, "in order": {"shuffle": False},
    "wide": {"hidden_layer_sizes": 2000, "max_iter": 2},  # units are shared out among threads
}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def kinds(target: str) -> tuple[Any, Any]:
    name = "MLPRegressor" if target in ("regression", "outputs") else "MLPClassifier"
    return getattr(cnn, name), getattr(peer, name)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("target", TARGETS)
def test_same_mathematics(target: str, setting: str) -> None:
    y = TARGETS[target]
    ours, theirs = (kind(**{**FIXED, **SETTINGS[setting]}) for kind in kinds(target))
    ours.fit(sparse.csc_matrix(X), y, W)
    theirs.fit(X, y, W)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
    for mine, its in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-9, atol=1e-9)
    if target in ("regression", "outputs"):
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-9)
    else:
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-9)
    assert ours.score(X, y, W) == pytest.approx(theirs.score(X, y, W))


@pytest.mark.parametrize("target", ["regression", "two", "several"])
def test_partial_fit_and_warm_start(target: str) -> None:
    y = TARGETS[target]
    ours, theirs, dense = (kind(**FIXED) for kind in (*kinds(target), kinds(target)[0]))
    for begin in range(0, 300, 100):
        for est, x in ((ours, X), (theirs, X), (dense, X.toarray())):
            classes = {} if target == "regression" or begin else {"classes": np.unique(y)}
            est.partial_fit(x[begin : begin + 100], y[begin : begin + 100], **classes)
    for other in (theirs, dense):
        np.testing.assert_allclose(ours.coefs_[0], other.coefs_[0], rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="is expecting 40 features"):
        ours.partial_fit(X[:, :5], y)


@pytest.mark.parametrize("target", TARGETS)
def test_lbfgs_and_validation_sets(target: str) -> None:
    y = TARGETS[target]
    for options in ({"solver": "lbfgs"}, {"scoring": "loss"}, {"dropout": 0.2}):
        found = [kinds(target)[0](**{**FIXED, **options}).fit(x[:250], y[:250], W[:250], X_val=x[250:], y_val=y[250:])
                 for x in (X, X.toarray())]  # fmt: skip
        np.testing.assert_allclose(found[0].validation_scores_, found[1].validation_scores_, rtol=1e-6)
        np.testing.assert_allclose(found[0].coefs_[0], found[1].coefs_[0], rtol=1e-6, atol=1e-8)


def test_in_the_company_of_others() -> None:
    texts = [" ".join(rng.choice([f"word{i}" for i in range(60)], 12)) for _ in range(200)]
    label = np.array(["word7" in text.split() for text in texts])
    pipeline = make_pipeline(TfidfVectorizer(), MaxAbsScaler(), cnn.MLPClassifier((8,), max_iter=60, random_state=0))
    search = GridSearchCV(pipeline, {"mlpclassifier__learning_rate_init": [0.01, 0.05]}, cv=2, error_score="raise")
    assert search.fit(texts, label).best_score_ > 0.8
    bag = BaggingClassifier(cnn.MLPClassifier(**FIXED), n_estimators=2, random_state=0)
    assert bag.fit(X, TARGETS["two"]).predict(X).shape == (307,)
    assert cross_val_score(cnn.MLPRegressor(**FIXED), X, Y, cv=2, error_score="raise").shape == (2,)
    est = cnn.MLPClassifier(**FIXED, class_weight="balanced").fit(X, TARGETS["several"])
    again = pickle.loads(pickle.dumps(est))
    np.testing.assert_array_equal(again.predict(X), est.predict(X))
    np.testing.assert_array_equal(again.predict(X), again.predict(X.toarray()))
    assert est.fit(X.astype(np.float32), TARGETS["several"]).coefs_[0].dtype == np.float32


def test_scorers_get_rows_of_scipy() -> None:
    seen = []

    def score(est: Any, x: Any, y: Any) -> float:
        seen.append((type(x), x.shape))
        return float((est.predict(x) == y).mean())

    for scoring in (score, make_scorer(lambda y, p: (y == p).mean()), "accuracy"):
        est = cnn.MLPClassifier(**FIXED, early_stopping=True, scoring=scoring).fit(X, TARGETS["two"])
        assert est.validation_scores_ == pytest.approx(
            cnn.MLPClassifier(**FIXED, early_stopping=True).fit(X, TARGETS["two"]).validation_scores_)  # fmt: skip
    assert set(seen) == {(sparse.csr_array, (31, 40))}


@pytest.mark.parametrize("kind", ["csr", "csc"])
def test_bad_positions(kind: str) -> None:
    est = cnn.MLPRegressor(**FIXED).fit(X, Y)
    bad = getattr(sparse, f"{kind}_array")(X, copy=True)
    bad.indices[7] = 1000
    for call in (lambda: cnn.MLPRegressor(**FIXED).fit(bad, Y), lambda: est.predict(bad),
                 lambda: cnn.MLPRegressor(**FIXED).fit(X, Y, X_val=bad, y_val=Y)):  # fmt: skip
        with pytest.raises(ValueError, match=r"has a number in (column|row) 1000"):
            call()
    bad = X.copy()
    bad.data[3] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        est.predict(bad)
