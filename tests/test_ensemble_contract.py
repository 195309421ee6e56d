"""scikit-learn's own contract of estimators for the ensembles; weights of rows are no copies of rows, as in bagging."""

from __future__ import annotations

import warnings

import pytest

pytest.importorskip("sklearn", minversion="1.9")
from sklearn.utils.estimator_checks import parametrize_with_checks

import cnn


@pytest.mark.parametrize("kind", [cnn.EnsembleClassifier, cnn.EnsembleRegressor])
def test_an_argument_that_it_does_not_have_is_an_error_of_that_class(kind) -> None:
    with pytest.raises(TypeError, match=f"^{kind.__name__} has no argument 'seed': here it is 'random_state'"):
        kind(seed=1)
    with pytest.raises(TypeError, match=f"^{kind.__name__} has no argument 'n_members': here it is 'n_estimators'"):
        kind(n_members=1)


WEIGHTS = "a row of weight 2 is in one fold, its copies may be in two"
EXPECTED = {f"check_sample_weight_equivalence_on_{kind}_data": WEIGHTS for kind in ("dense", "sparse")}
MEMBER = {"hidden_layer_sizes": 50, "learning_rate_init": 0.01, "max_iter": 60}


@parametrize_with_checks(
    [
        cnn.EnsembleClassifier(cnn.MLPClassifier(**MEMBER), n_estimators=3),
        cnn.EnsembleRegressor(cnn.MLPRegressor(**MEMBER), n_estimators=3),
        cnn.EnsembleRegressor(cnn.MLPRegressor(**MEMBER), n_estimators=2, method="snapshots", bootstrap=True),
    ],
    expected_failed_checks=lambda estimator: EXPECTED,
)
def test_contract(estimator, check) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)
