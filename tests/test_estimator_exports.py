"""Estimators elsewhere: ONNX Runtime and compiled C give what `predict` and `predict_proba` give."""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.9")
from sklearn.exceptions import NotFittedError

import cnn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X = np.random.default_rng(0).normal(size=(60, 4))
Y = np.c_[X[:, 0] - X[:, 1], X[:, 2] * X[:, 3]]
SEVERAL = (np.c_[Y, X[:, 0]] > 0).astype(int)
SHORT: dict[str, Any] = {"hidden_layer_sizes": 5, "max_iter": 15, "random_state": 3, "learning_rate_init": 0.05}
CLASSES = {
    "two texts": (["no", 'y"es\\'], {}),
    "two numbers": ([3, 7], {}),
    "truth values": ([False, True], {}),
    "two, softmax": (["a", "b"], {"loss": "cross_entropy"}),
    "three texts": (["ä", "", "c"], {}),
    "three numbers": ([1.0, 2.0, -1.0], {"activation": "gelu"}),
    "bytes": (np.array([0, 1, 200], np.uint8), {}),
    "one against the rest": (["a", "b", "c"], {"loss": "binary_cross_entropy"}),
    "two, hinge": (["a", "b"], {"loss": "hinge"}),
    "three, hinge": ([1, 2, 3], {"loss": "hinge"}),
    "one class": (["only"], {}),
    "one class, hinge": ([5], {"loss": "hinge"}),
}


def classifier(what: str, **options: Any) -> Any:
    names, given = CLASSES[what]
    names = np.array(names)
    y = names[np.digitize(Y[:, 0], [-0.5, 0.5][: len(names) - 1])] if len(names) > 1 else names[np.zeros(60, int)]
    return cnn.MLPClassifier(**{**SHORT, **given, **options}).fit(X, y)


def second(est: Any, rows: Any) -> Any:
    """The probabilities, or the margins in their place."""
    if est.network_.loss.target != "sign":
        return est.predict_proba(rows)
    margins = est.network_.predict(rows)
    return margins[:, 0] if margins.shape[1] == 1 and len(est.classes_) == 2 else margins


def by_onnx(est: Any, path: Path, dtype: str) -> Any:
    """The names of the outputs, and what they are for rows."""
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    cnn.export_onnx(est, path / "m.onnx")
    session = runtime.InferenceSession(str(path / "m.onnx"), providers=["CPUExecutionProvider"])
    assert [(i.name, i.shape) for i in session.get_inputs()] == [("X", ["n", 4])]
    names = [o.name for o in session.get_outputs()]
    shapes = [o.shape[1:] for o in session.get_outputs()]

    def answers(rows: Any) -> list[Any]:
        found = session.run(None, {"X": rows.astype(dtype)})
        assert [list(array.shape[1:]) for array in found] == shapes
        return found

    return names, answers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("what", CLASSES)
def test_classifiers_in_onnx(what: str, dtype: str, tmp_path: Path) -> None:
    est = classifier(what, dtype=dtype)
    names, answers = by_onnx(est, tmp_path, dtype)
    assert names == ["label", "scores" if "hinge" in what else "probabilities"]
    for rows in (X, X[:1], X[:0], -30 * X):
        label, scores = answers(rows)
        if not len(rows):
            assert (len(label), len(scores)) == (0, 0)
            continue
        np.testing.assert_array_equal(label, est.predict(rows))
        np.testing.assert_allclose(scores, second(est, rows), rtol=1e-5, atol=1e-5)
        assert label.dtype == (object if est.classes_.dtype.kind == "U" else est.classes_.dtype)
        assert scores.dtype == dtype


@pytest.mark.parametrize("loss", ["log_loss", "hinge"])
def test_several_labels_in_onnx(loss: str, tmp_path: Path) -> None:
    est = cnn.MLPClassifier(**SHORT, loss=loss).fit(X, SEVERAL)
    names, answers = by_onnx(est, tmp_path, "float64")
    assert names == ["label", "scores" if loss == "hinge" else "probabilities"]
    label, scores = answers(X)
    np.testing.assert_array_equal(label, est.predict(X))
    np.testing.assert_allclose(scores, est.network_.predict(X), rtol=1e-5, atol=1e-5)
    assert label.dtype == np.int64


@pytest.mark.parametrize(("y", "loss"), [(Y[:, 0], "squared_error"), (Y, "huber"), (SEVERAL[:, 0], "poisson")])
def test_regressors_in_onnx(y: Any, loss: str, tmp_path: Path) -> None:
    est = cnn.MLPRegressor(**SHORT, loss=loss).fit(X, y)
    names, answers = by_onnx(est, tmp_path, "float64")
    assert names == ["prediction"]
    for rows in (X, X[:1]):
        np.testing.assert_allclose(answers(rows)[0], est.predict(rows), rtol=1e-5, atol=1e-5)


def by_c(est: Any, path: Path) -> tuple[Any, Any]:
    """(the outputs of all rows, the labels or None), of the compiled export."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no compiler")
    source, header = cnn.export_c(est, path, "est")
    assert "malloc" not in source.read_text()
    flags = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic", "-shared", "-fPIC"]
    subprocess.run([compiler, *flags, str(source), "-o", str(path / "est.so"), "-lm"], check=True)
    said = header.read_text()
    k = int(said.split("EST_OUTPUTS ")[1].split()[0])
    library, dtype = ctypes.CDLL(str(path / "est.so")), est.network_.dtype
    rows, y = np.ascontiguousarray(X, dtype), np.full((len(X), k), np.nan, dtype)
    for row, out in zip(rows, y, strict=True):
        library.est_predict(ctypes.c_void_p(row.ctypes.data), ctypes.c_void_p(out.ctypes.data))
    outs = [ctypes.c_void_p(out.ctypes.data) for out in y]
    if "est_labels" in said:
        labels = np.full((len(X), k), -1, np.intc)
        for out, row in zip(outs, labels, strict=True):
            library.est_labels(out, ctypes.c_void_p(row.ctypes.data))
        return y, labels
    if "est_class(" not in said:
        return y, None
    count = int(said.split("est_classes[")[1].split("]")[0])
    texts = [text.decode() for text in (ctypes.c_char_p * count).in_dll(library, "est_classes")]
    return y, [texts[library.est_class(out)] for out in outs]


@pytest.mark.skipif(not shutil.which("gcc") and not shutil.which("clang"), reason="no compiler")
@pytest.mark.parametrize("what", [*CLASSES, "several", "several, hinge", "value", "values", "counts"])
def test_estimators_in_c(what: str, tmp_path: Path) -> None:
    dtype = "float32" if "three" in what or what == "values" else "float64"
    tolerance = 1e-5 if dtype == "float32" else 1e-11
    if what in ("value", "values", "counts"):
        loss = "poisson" if what == "counts" else "squared_error"
        y = {"value": Y[:, 0], "values": Y, "counts": SEVERAL[:, 0]}[what]
        est = cnn.MLPRegressor(**SHORT, loss=loss, dtype=dtype).fit(X, y)
        found, labels = by_c(est, tmp_path)
        assert labels is None
        np.testing.assert_allclose(found.reshape(est.predict(X).shape), est.predict(X), rtol=tolerance, atol=tolerance)
        return
    if what.startswith("several"):
        loss = "hinge" if "hinge" in what else "log_loss"
        est = cnn.MLPClassifier(**SHORT, loss=loss, dtype=dtype).fit(X, SEVERAL)
    else:
        est = classifier(what, dtype=dtype)
    found, labels = by_c(est, tmp_path)
    expected = second(est, X)
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=tolerance, atol=tolerance)
    if what.startswith("several"):
        np.testing.assert_array_equal(labels, est.predict(X))
    else:
        assert labels == [str(label) for label in est.predict(X).tolist()]


@pytest.mark.parametrize("export", [cnn.export_onnx, cnn.export_c])
def test_estimators_that_can_not_be_exported(export: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    for cls in (cnn.MLPClassifier, cnn.MLPRegressor):
        with pytest.raises(NotFittedError, match=f"This {cls.__name__} instance is not fitted yet"):
            export(cls(), tmp_path / "m")
    mixed = cnn.MLPClassifier(**SHORT).fit(X, np.array(["a", "b"], object)[(Y[:, 0] > 0).astype(int)])
    mixed.classes_ = np.array([None, 1], object)
    with pytest.raises(TypeError, match="labels of dtype object can't be exported: text, numbers and truth values can"):
        export(mixed, tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_c_refuses_classes_that_it_can_not_say(tmp_path: Path) -> None:
    est = cnn.MLPClassifier(**SHORT).fit(X, np.array(["a\0b", "c"])[(Y[:, 0] > 0).astype(int)])
    with pytest.raises(ValueError, match=r"class 'a\\x00b' has a zero byte"):
        cnn.export_c(est, tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


def test_the_command_exports_estimators(run: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    est = classifier("three texts")
    est.save("m.cnn")
    done = run("export", "m.cnn", "--onnx", "m.onnx", "--c", "source", "--json")
    assert json.loads(done.out) == {"written": ["m.onnx", "source"]}
    label, _ = runtime.InferenceSession("m.onnx", providers=["CPUExecutionProvider"]).run(None, {"X": X})
    assert label.tolist() == est.predict(X).tolist()
    assert "int model_class(const double *y);" in Path("source/model.h").read_text()
