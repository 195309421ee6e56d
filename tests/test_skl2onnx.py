"""Pipelines that skl2onnx converts with our estimators in them: ONNX Runtime gives what the pipeline predicts."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.9")
skl2onnx = pytest.importorskip("skl2onnx")
runtime = pytest.importorskip("onnxruntime")
from sklearn.ensemble import BaggingRegressor, VotingClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

import cnn  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # skl2onnx's own
]
X = (3 + 2 * np.random.default_rng(0).normal(size=(60, 4))).astype(np.float32)
Y = X[:, 0] * X[:, 1] - 9
THREE = np.digitize(Y, [-5, 5])
QUICK: dict[str, Any] = {"hidden_layer_sizes": (6,), "max_iter": 15, "random_state": 0}


@pytest.fixture(autouse=True)
def registered() -> None:
    cnn.register_skl2onnx()


def converted(model: Any, rows: Any = X, **how: Any) -> dict[str, Any]:
    """The outputs of the converted model by their names."""
    made = skl2onnx.to_onnx(model, rows[:1], **how)
    session = runtime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {session.get_inputs()[0].name: rows}), strict=True))


@pytest.mark.parametrize("opset", [17, None])
@pytest.mark.parametrize("what", ["one target", "two targets", "LayerNorm", "counts"])
def test_regressors(what: str, opset: int | None) -> None:
    y = {"two targets": np.c_[Y, X[:, 2]], "counts": np.round(X[:, 0] ** 2)}.get(what, Y)
    layers = [cnn.Dense(8, "gelu"), cnn.LayerNorm(), cnn.Dropout(0.1), cnn.Dense(1)]
    more: dict[str, Any] = {"LayerNorm": {"layers": layers}, "counts": {"loss": "poisson"}}.get(what, {})
    model = make_pipeline(StandardScaler(), cnn.MLPRegressor(**{**QUICK, **more})).fit(X, y)
    found = converted(model, target_opset=opset)
    assert set(found) == {"variable"}
    assert found["variable"].dtype == np.float32
    np.testing.assert_allclose(found["variable"], model.predict(X).reshape(len(X), -1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("labels", [
    np.array(["a", "ä", ""])[THREE], np.array(["no", "yes"])[(Y > 0).astype(int)], THREE - 1, Y > 0,
    THREE.astype(float), np.zeros(60, int),
], ids=["texts", "two texts", "numbers", "truth values", "whole floats", "one class"])  # fmt: skip
def test_classifiers(labels: Any) -> None:
    est = cnn.MLPClassifier(**QUICK)
    model = make_pipeline(StandardScaler(), est).fit(X, labels)
    found = converted(model, options={"zipmap": False})
    assert set(found) == {"label", "probabilities"}
    np.testing.assert_array_equal(found["label"], model.predict(X).astype(found["label"].dtype))
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(X), atol=1e-6)


def test_a_map_of_probabilities_as_skl2onnx_has_it() -> None:
    model = cnn.MLPClassifier(**QUICK).fit(X, np.array(["a", "b", "c"])[THREE])
    found = converted(model)
    for row, expected in zip(found["output_probability"], model.predict_proba(X), strict=True):
        assert row == pytest.approx(dict(zip("abc", expected, strict=True)), abs=1e-6)


def test_several_labels_a_row() -> None:
    labels = np.c_[Y > 0, X[:, 2] > 3].astype(int)
    model = cnn.MLPClassifier(**QUICK).fit(X, labels)
    found = converted(model, options={"zipmap": False})
    np.testing.assert_array_equal(found["label"], model.predict(X))
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(X), atol=1e-6)


def test_double_precision() -> None:
    rows = X.astype(np.float64)
    model = make_pipeline(StandardScaler(), cnn.MLPRegressor(dtype="float64", **QUICK)).fit(rows, Y)
    found = converted(model, rows)["variable"]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found[:, 0], model.predict(rows), rtol=1e-11)


def test_votes_and_bags_of_them() -> None:
    votes = VotingClassifier([("one", cnn.MLPClassifier(**QUICK)), ("two", cnn.MLPClassifier(**QUICK, alpha=0.1))],
                             voting="soft", flatten_transform=False).fit(X, THREE)  # fmt: skip
    found = converted(votes, options={"zipmap": False})
    np.testing.assert_allclose(found["probabilities"], votes.predict_proba(X), atol=1e-6)
    bag = BaggingRegressor(cnn.MLPRegressor(**QUICK), n_estimators=2, random_state=0).fit(X, Y)
    np.testing.assert_allclose(converted(bag)["variable"][:, 0], bag.predict(X), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("given", "how", "text"), [
    ({"loss": "hinge"}, {}, "loss='hinge' has no probabilities; cnn.export_onnx writes the margins"),
    ({}, {"target_opset": 15}, "a network needs target_opset=17 or more, got 15"),
])  # fmt: skip
def test_what_can_not_be_converted(given: Any, how: Any, text: str) -> None:
    model = cnn.MLPClassifier(**QUICK, **given).fit(X, THREE)
    with pytest.raises(ValueError, match=text):
        converted(model, options={"zipmap": False}, **how)


def test_several_inputs_are_refused() -> None:
    from skl2onnx.common.data_types import FloatTensorType

    model = cnn.MLPRegressor(**QUICK).fit(X, Y)
    halves = [("a", FloatTensorType([None, 2])), ("b", FloatTensorType([None, 2]))]
    with pytest.raises(ValueError, match="the estimator takes one input of 4 columns, got 2"):
        skl2onnx.convert_sklearn(model, initial_types=halves)


def test_without_skl2onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=r"register_skl2onnx needs skl2onnx \(extra 'skl2onnx'\): pip install"):
        cnn.register_skl2onnx()
