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


def test_table_models_are_estimators() -> None:
    pd = pytest.importorskip("pandas")
    from sklearn.base import is_classifier, is_regressor
    from sklearn.ensemble import StackingRegressor, VotingClassifier
    from sklearn.multioutput import MultiOutputRegressor

    quick: dict[str, Any] = {"epochs": 20, "members": 1, "hidden": (16,), "seed": 0}
    table = pd.DataFrame(X, columns=list("abcd")).assign(e=np.where(X[:, 3] > 0, "x", "y"))
    classifier, regressor = (cnn.TableModel(task=task, **quick) for task in ("classification", "regression"))
    assert (is_classifier(classifier), is_regressor(regressor), is_classifier(regressor)) == (True, True, False)
    assert cross_val_score(classifier, table, Y["classifier"], cv=2, scoring="roc_auc").min() > 0.8
    assert cross_val_score(regressor, table, Y["regressor"], cv=2).min() > 0.3
    search = GridSearchCV(classifier, {"dropout": [0.0, 0.2]}, cv=2).fit(table, Y["classifier"])
    assert search.best_score_ > 0.7
    votes = VotingClassifier([("table", classifier)], voting="soft").fit(X, Y["classifier"])
    assert votes.score(X, Y["classifier"]) > 0.7
    stack = StackingRegressor([("table", regressor)], cv=2).fit(X, Y["regressor"])
    assert stack.score(X, Y["regressor"]) > 0.3
    both = np.column_stack([Y["regressor"], X[:, 2]])
    several = MultiOutputRegressor(regressor).fit(table, both, sample_weight=np.arange(1.0, 121.0))
    assert several.score(table, both) > 0.3


def test_a_table_with_text_or_gaps_is_told_what_takes_it() -> None:
    """scikit-learn's error as it is, with a note below it."""
    text, gaps = np.array([["a", 1.0], ["b", 2.0]], object), np.array([[np.nan], [2.0]])
    for X, words in ((text, "could not convert string to float"), (gaps, "contains NaN")):
        with pytest.raises(ValueError, match=words) as caught:
            cnn.MLPRegressor(max_iter=1).fit(X, [1.0, 2.0])
        assert caught.value.__notes__[-1].startswith("cnn.TableModel learns from tables with text, dates and gaps")
    with pytest.raises(ValueError, match="0 sample") as caught:
        cnn.MLPRegressor().fit(np.empty((0, 2)), [])
    assert not hasattr(caught.value, "__notes__")
