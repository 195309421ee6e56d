"""The estimators as users of scikit-learn take them, with every version from 1.4 on; .ci/run has the oldest, too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

sklearn = pytest.importorskip("sklearn", minversion="1.4")

from sklearn.base import clone  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

import cnn  # noqa: E402

X = np.random.default_rng(0).normal(size=(120, 4))
Y = {"classifier": X[:, 0] > 0, "regressor": X[:, 0] - X[:, 1]}
QUICK: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_iter": 200, "learning_rate_init": 0.01, "random_state": 0}
MAKE = {"classifier": cnn.MLPClassifier, "regressor": cnn.MLPRegressor}

pytestmark = pytest.mark.filterwarnings("ignore")  # of versions that are not the newest


@pytest.mark.parametrize("kind", MAKE)
def test_it_learns_in_pipelines_and_searches(kind: str) -> None:
    est, y = MAKE[kind](**QUICK), Y[kind]
    assert cross_val_score(make_pipeline(StandardScaler(), est), X, y, cv=3).min() > 0.8
    search = GridSearchCV(est, {"alpha": [1e-4, 1e-2], "solver": ["adam", "lbfgs"]}, cv=2).fit(X, y)
    assert search.best_score_ > 0.8
    assert clone(est).get_params() == est.get_params()


@pytest.mark.parametrize("kind", MAKE)
def test_names_weights_sparse_x_and_files(kind: str, tmp_path) -> None:
    pd = pytest.importorskip("pandas")
    est, y = MAKE[kind](**QUICK), Y[kind]
    est.fit(pd.DataFrame(X, columns=list("abcd")), y, sample_weight=np.ones(len(X)))
    assert est.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        est.predict(pd.DataFrame(X, columns=list("abdc")))
    dense = clone(est).fit(X, y)
    assert np.array_equal(clone(est).fit(csr_array(X), y).predict(X), dense.predict(X))
    dense.save(tmp_path / "m.cnn")
    assert np.array_equal(cnn.load(tmp_path / "m.cnn").predict(X), dense.predict(X))
    assert dense.partial_fit(X, y).n_iter_ >= 1
    early = MAKE[kind](**{**QUICK, "early_stopping": True}).fit(X, y)
    assert len(early.validation_scores_) == early.n_iter_
