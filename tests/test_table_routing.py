"""Metadata routing: scikit-learn's tools pass weights on to a TableModel, beside the loop by hand."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import cnn

pytest.importorskip("pandas")
sklearn = pytest.importorskip("sklearn", minversion="1.4")
from sklearn.base import clone  # noqa: E402
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # it is none of scikit-learn's classes
RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3))
Y = X[:, 0] + RNG.normal(size=120)
W = 1.0 + np.arange(120) % 2 * 9
QUICK: dict[str, Any] = {"task": "regression", "epochs": 3, "members": 1, "hidden": (8,), "seed": 0}


@pytest.fixture(autouse=True)
def routing() -> Iterator[None]:
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def by_hand(fit: bool, score: bool) -> list[float]:
    found = []
    for train, test in KFold(3).split(X):
        model = cnn.TableModel(**QUICK).fit(X[train], Y[train], sample_weight=W[train] if fit else None)
        found.append(model.score(X[test], Y[test], W[test] if score else None))
    return found


@pytest.mark.parametrize(("fit", "score"), [(True, True), (True, False), (False, True)])
def test_weights_go_where_they_are_asked_for(fit: bool, score: bool) -> None:
    model = cnn.TableModel(**QUICK).set_fit_request(sample_weight=fit).set_score_request(sample_weight=score)
    found = cross_validate(model, X, Y, cv=3, params={"sample_weight": W})["test_score"]
    assert found == pytest.approx(by_hand(fit, score), rel=1e-12)
    assert found != pytest.approx(by_hand(not fit, not score), rel=1e-3)
    named = cnn.TableModel(**QUICK).set_fit_request(sample_weight="mine" if fit else None)
    if fit and score:
        named.set_score_request(sample_weight="mine")
        assert cross_val_score(named, X, Y, cv=3, params={"mine": W}) == pytest.approx(found, rel=1e-12)


def test_weights_that_nobody_asked_for_are_an_error() -> None:
    with pytest.raises(ValueError, match="set_fit_request") as caught:
        cross_val_score(cnn.TableModel(**QUICK), X, Y, cv=3, params={"sample_weight": W})
    assert "TableModel" in str(caught.value)


def test_searches_and_pipelines_pass_them_on() -> None:
    model = cnn.TableModel(**QUICK).set_fit_request(sample_weight=True, verbose=True)
    model.set_score_request(sample_weight=True)
    search = GridSearchCV(model, {"hidden": [(8,)]}, cv=3).fit(X, Y, sample_weight=W, verbose=0)
    assert search.best_score_ == pytest.approx(np.mean(by_hand(True, True)), rel=1e-12)
    whole = cnn.TableModel(**QUICK).fit(X, Y, sample_weight=W)
    np.testing.assert_array_equal(search.predict(X), whole.predict(X))
    pipe = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), model).fit(X, Y, sample_weight=W)
    scaled = cnn.TableModel(**QUICK).fit(StandardScaler().fit_transform(X), Y, sample_weight=W)
    np.testing.assert_array_equal(pipe[-1].predict(X), scaled.predict(X))


def test_requests_are_kept_by_copies_and_fits() -> None:
    model = cnn.TableModel(**QUICK)
    assert model.get_metadata_routing().fit.requests["sample_weight"] is None
    assert "n_threads" in model.get_metadata_routing().fit.requests
    assert model.get_metadata_routing().score.requests == {"sample_weight": None}
    assert model.set_fit_request(sample_weight=True) is model
    copies = [clone(model), pickle.loads(pickle.dumps(model)), model.set_params(epochs=2), model.fit(X, Y)]
    for other in copies:
        assert other.get_metadata_routing().fit.requests["sample_weight"] is True
    clone(model).set_fit_request(sample_weight=False)
    model.get_metadata_routing().fit.add_request(param="sample_weight", alias=False)
    assert model.get_metadata_routing().fit.requests["sample_weight"] is True


def test_bad_requests() -> None:
    model = cnn.TableModel(**QUICK)
    with pytest.raises(TypeError, match="fit has no argument 'weight' to pass on; known: sample_weight, validation"):
        model.set_fit_request(weight=True)
    with pytest.raises(TypeError, match="score has no argument 'verbose' to pass on; known: sample_weight"):
        model.set_score_request(verbose=True)
    with pytest.raises(ValueError, match="alias"):
        model.set_fit_request(sample_weight="no name")
    assert model.get_metadata_routing().fit.requests["sample_weight"] is None
    with (
        sklearn.config_context(enable_metadata_routing=False),
        pytest.raises(RuntimeError, match=r"set_score_request is for metadata routing: sklearn\.set_config"),
    ):
        model.set_score_request(sample_weight=True)


def test_the_package_is_there_without_it() -> None:
    program = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import cnn\n"
        "try: cnn.TableModel().set_fit_request(sample_weight=True)\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "metadata routing needs scikit-learn 1.4 or newer (extra 'sklearn'): pip install -U scikit-learn\n"
    )
