"""scikit-learn's own contract of estimators: every check, and no failure expected."""

from __future__ import annotations

import warnings

import pytest

pytest.importorskip("sklearn", minversion="1.9")
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

import cnn


@parametrize_with_checks([cnn.MLPClassifier(max_iter=100), cnn.MLPRegressor(max_iter=100)])
def test_contract(estimator, check) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_every_check_of_scikit_learns_own_class_runs(name: str) -> None:
    import sklearn.neural_network

    def names(estimator: object) -> set[str]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            checks = estimator_checks_generator(estimator, legacy=True)
            return {getattr(check, "func", check).__name__ for _, check in checks}

    ours, theirs = names(getattr(cnn, name)()), names(getattr(sklearn.neural_network, name)())
    assert theirs <= ours
    assert {"check_estimator_sparse_tag", "check_estimator_sparse_array", "check_estimator_sparse_matrix"} <= ours
