"""Estimators and tables whose files have right checksums and wrong contents: `ModelFormatError`, and what is wrong."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
from models import parts, refusal, signed

import cnn
from cnn.files import container

pytest.importorskip("sklearn", minversion="1.9")
pytest.importorskip("pandas")
Payload, Tensors = Any, dict[str, Any]
NAMES = [*(name for name in models.several() if name not in ("plain", "classes", "double")), "images"]


def taken_apart(content: bytes) -> tuple[Payload, Tensors]:
    header, data = parts(content)
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            tensors[name] = np.frombuffer(data[begin:end], container._DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return json.loads(header["__metadata__"]["model"]), tensors


def put_together(content: bytes, payload: Payload, tensors: Tensors) -> bytes:
    """The file with these contents instead; all checksums are right."""
    header: dict[str, Any] = {"__metadata__": {**parts(content)[0]["__metadata__"], "model": json.dumps(payload)}}
    data = b""
    for name, value in sorted(tensors.items(), key=lambda item: -item[1].itemsize):
        header[name] = {"dtype": container._NAMES[value.dtype], "shape": list(value.shape),
                        "data_offsets": [len(data), len(data) + value.nbytes]}  # fmt: skip
        data += value.tobytes()
    return signed(header, data)


def forged(content: bytes, change: Callable[[Payload, Tensors], None]) -> bytes:
    payload, tensors = taken_apart(content)
    change(payload, tensors)
    return put_together(content, payload, tensors)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("forged")
    found = {}
    for name, model in [*models.several().items(), ("images", models.one("images"))]:
        model.save(folder / "m.cnn")
        found[name] = (folder / "m.cnn").read_bytes()
    return found


WRONG = [None, True, -1, 2**63, 0.5, "x", [], {"a": 1}, {"float": "inf"}]
NUMBER = (-1, 2**63, 0.5)
# Where one of these is right; everywhere else it is to be refused. (A parameter or setting may be missing.)
RIGHT: dict[str, tuple[Any, ...]] = {
    "partial": (True,), "sparse_labels": (True,), "rate_factor": (2**63, 0.5), "rate": (None, 2**63, 0.5),
    "loss": (None, *NUMBER, {"float": "inf"}), "best_loss": (None, *NUMBER, {"float": "inf"}),
    "best_validation_score": (*NUMBER, {"float": "inf"}), "history.": ("x",),
    "estimator": (None,), "oom_score": (*NUMBER, {"float": "inf"}),
    "parts": (None,), "low": (None, *NUMBER), "high": (None, *NUMBER), "offset": (None, 0.5),
    "named": (True,), "by_blas": (None,),
    "further.low": (None, *NUMBER), "further.high": (None, *NUMBER),
    "further.mean": NUMBER, "further.deviation": (2**63, 0.5),
    "mean": NUMBER, "deviation": (2**63, 0.5), "seed": (2**63,), "seconds": (2**63, 0.5),
    "columns.center": NUMBER, "columns.scale": (2**63, 0.5),
    "columns.days.center": NUMBER, "columns.days.scale": (2**63, 0.5),
}  # fmt: skip
# Of parameters and settings only what is never right: whether the others are, their own tests say.
NEVER = ["x", {"a": 1}, -1]
LABEL = ".class_weight.items."
# Missing in files of earlier versions.
LATER = (
    "writing", "order", "one", "places", "spikes", "edges", "residuals", "class_weight", "low", "high", "further",
    "embedded", "sets", "parts", "offset", "named", "pixels",
    "dropout_factor", "by_blas",
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all fields of a payload, but those of descriptions, which test_files.py forges."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield (*path, step)
        described = isinstance(inner, dict) and "class" in inner
        if step not in ("network", "networks", "layers", "scores") and not described:
            yield from places(inner, (*path, step))


def at(payload: Payload, path: tuple[Any, ...]) -> Any:
    for step in path:
        payload = payload[step]
    return payload


def loads(path: Path, content: bytes) -> bool:
    """Whether the file has a model; any error but the one that refuses it passes through."""
    path.write_bytes(content)
    try:
        models.predictions(model := cnn.load(path), models.rows_of(model))
    except cnn.ModelFormatError:
        return False
    return True


def is_right(path: tuple[Any, ...], value: Any, among: tuple[Any, ...]) -> bool:
    return any(type(value) is type(other) and value == other for other in among)


@pytest.mark.parametrize("name", NAMES)
def test_every_field_has_its_type(name: str, files: dict[str, bytes], tmp_path) -> None:
    """Each field missing, and of every type that is not its own."""
    payload, tensors = taken_apart(files[name])
    for path in places(payload):
        dotted = ".".join("" if isinstance(step, int) else step for step in path).replace("..", ".")
        free = path[0] in ("parameters", "estimator", "settings", "scores")
        for value in NEVER if free else WRONG:
            if is_right(path, value, (at(payload, path), *RIGHT.get(dotted, ()))) or dotted.endswith(LABEL):
                continue
            changed = copy.deepcopy(payload)
            at(changed, path[:-1])[path[-1]] = value
            assert not loads(tmp_path / "m", put_together(files[name], changed, tensors)), (path, value)
        changed = copy.deepcopy(payload)
        del at(changed, path[:-1])[path[-1]]
        loaded = loads(tmp_path / "m", put_together(files[name], changed, tensors))
        later = path[-1] in LATER
        assert not loaded or later or (free and len(path) > 1), path
    payload["more"] = 1
    (tmp_path / "m").write_bytes(put_together(files[name], payload, tensors))
    with pytest.raises(cnn.ModelFormatError, match="unknown field 'more'"):
        cnn.load(tmp_path / "m")


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_has_its_size(name: str, files: dict[str, bytes], tmp_path) -> None:
    """Each tensor missing, short of an element, with a dimension too many, of another type; and one too many."""
    payload, tensors = taken_apart(files[name])
    for tensor, value in tensors.items():
        others = [np.zeros((1, *value.shape), value.dtype)]
        if tensor != "classes":  # labels may be of any type
            with np.errstate(invalid="ignore"):
                others.append(value.astype(np.int16))
        if value.size and (value.ndim != 1 or tensor not in ("loss_curve", "validation_scores")):
            others.append(value.reshape(-1)[:-1])
        for other in others:
            assert not loads(tmp_path / "m", put_together(files[name], payload, {**tensors, tensor: other})), tensor
        left = {key: kept for key, kept in tensors.items() if key != tensor}
        assert not loads(tmp_path / "m", put_together(files[name], payload, left)), tensor
    content = put_together(files[name], payload, {**tensors, "more": np.zeros(1)})
    assert "unknown tensor more" in refusal(tmp_path / "m", content)


def put(*path: Any, value: Any) -> Callable[[Payload, Tensors], None]:
    """A change of one place of the payload."""
    def change(payload: Payload, tensors: Tensors) -> None:
        at(payload, path[:-1])[path[-1]] = value
    return change


def tensor(name: str, value: Any, **fields: Any) -> Callable[[Payload, Tensors], None]:
    """A change of one tensor, and of fields of the payload."""
    def change(payload: Payload, tensors: Tensors) -> None:
        tensors[name] = value
        payload.update(fields)
    return change


def text(*texts: str) -> Any:
    return container.pack_text(list(texts))


def class_of(payload: Payload, tensors: Tensors) -> None:
    """A classifier as a regressor, whose network has a loss for classes."""
    for field in ("task", "labels", "sparse_labels"):
        del payload[field]
    for name in ("class_weight", ):
        del payload["parameters"][name]
    del tensors["classes"]
    payload["class"], payload["parameters"]["loss"], payload["parameters"]["quantile"] = "MLPRegressor", "mse", None


def all_texts(tensors: Tensors) -> list[str]:
    return json.loads(tensors["texts"].tobytes())


def texts_of_table(place: int, value: str | None) -> Callable[[Payload, Tensors], None]:
    def change(payload: Payload, tensors: Tensors) -> None:
        found = all_texts(tensors)
        if value is None:
            del found[place]
        else:
            found[place] = value
        tensors["texts"] = text(*found)
    return change


def floats(second: float) -> Callable[[Payload, Tensors], None]:
    """Two classes of text become these numbers."""
    def change(payload: Payload, tensors: Tensors) -> None:
        tensors["texts"] = text(*all_texts(tensors)[:-2])
        tensors["labels"] = np.array([0.5, second])
        payload["labels"] = "float"
    return change


def falling(payload: Payload, tensors: Tensors) -> None:
    tensors["nodes"] = tensors["nodes"][::-1].copy()


def not_finite(payload: Payload, tensors: Tensors) -> None:
    tensors["heights"] = np.where(np.arange(len(tensors["heights"])) == 2, np.nan, tensors["heights"])


def residuals_of_one(payload: Payload, tensors: Tensors) -> None:
    payload["further"][0]["residuals"] = None
    for name in ("ranks", "scores", "places", "sizes", "parts"):
        del tensors[f"further.0.residuals.{name}"]


def two_targets(payload: Payload, tensors: Tensors) -> None:
    payload["further"] = [{k: payload[k] for k in ("mean", "deviation", "writing", "low", "high", "residuals")}]
    first, reason, *others = all_texts(tensors)
    tensors["texts"] = text(first, reason, "other", reason, *others)


FORGED: dict[str, tuple[str, Any, str]] = {
    "class": ("classifier", put("class", value="os.system"), "names 'os.system', which is no estimator"),
    "class list": ("classifier", put("class", value=["MLPClassifier"]), "which is no estimator"),
    "other class": ("regressor", put("class", value="MLPClassifier"), "the field 'task' is missing"),
    "loss of classes": ("classifier", class_of, "a regressor with the loss 'cross_entropy'"),
    "parameter": ("regressor", put("parameters", "rate", value=1), "unknown field 'rate'"),
    "callbacks": ("regressor", put("parameters", "callbacks", value=None), "unknown field 'callbacks'"),
    "no sizes": ("regressor", put("parameters", "hidden_layer_sizes", value=[0]), "hidden_layer_sizes must be > 0"),
    "true": ("regressor", put("parameters", "max_iter", value=True), "can't be: max_iter=True"),
    "true size": ("regressor", put("parameters", "hidden_layer_sizes", value=[True]), "hidden_layer_sizes=.True."),
    "alpha": ("regressor", put("parameters", "alpha", value=-1.0), "'alpha' parameter of MLPRegressor must be"),
    "activation": ("regressor", put("parameters", "activation", value="rleu"), "unknown activation 'rleu'"),
    "activations": ("classifier", put("parameters", "activation", value=["relu", {}]), "the field 'items' is missing"),
    "solver": ("regressor", put("parameters", "solver", value="adm"), "unknown solver 'adm'"),
    "solver class": ("regressor", put("parameters", "solver", value={"class": "Dense", "units": 1}), "'solver' param"),
    "unknown class": ("regressor", put("parameters", "solver", value={"class": "eval"}), "names 'eval', which"),
    "learning rate": ("labels", put("parameters", "learning_rate", value="cosin"), "unknown learning_rate 'cosin'"),
    "loss": ("classifier", put("parameters", "loss", value="zero_one"), "unknown loss 'zero_one'"),
    "loss of numbers": ("regressor", put("parameters", "loss", value="hinge"), "can't be trained by loss 'hinge'"),
    "metric": ("classifier", put("parameters", "metrics", value=["f2"]), "unknown metric 'f2'"),
    "scoring": ("classifier", put("parameters", "scoring", value="accurate"), "'accurate' is not a valid"),
    "dropout": ("classifier", put("parameters", "dropout", value=[0.1, 1.0]), "dropout must be in .0, 1."),
    "layers": ("regressor", put("parameters", "layers", value=[{"class": "Dropout", "rate": 0.1}]), "be a cnn.Dense"),
    "random state": ("regressor", put("parameters", "random_state", value=2**32), "'random_state' parameter"),
    "weights": ("classifier", put("parameters", "class_weight", value={"items": [["low", 1, 2]]}), "must be pairs"),
    "two weights": ("classifier", put("parameters", "class_weight", "items", value=[["a", 1], ["a", 2]]), "one class"),
    "weight": ("classifier", put("parameters", "class_weight", "items", 0, 1, value=-1), "class_weight of 'low'"),
    "weight of a list": ("classifier", put("parameters", "class_weight", value={"items": [[[], 1]]}), "unhashable"),
    "number": ("classifier", put("parameters", "n_iter_no_change", value={"float": "0x1p3"}), "'0x1p3' is none of inf"),
    "scale": ("classifier", put("network", "loss", "scale", value=2.0), "its network has the loss RowLoss"),
    "scale 0": ("classifier", put("network", "loss", "scale", value=0.0), "scale of RowLoss must be in"),
    "plain loss": ("labels", put("network", "loss", value={"class": "Loss", "name": "mse"}), "has the loss Loss"),
    "losses": ("labels", put("network", "loss", "of", value={"class": "Dropout", "rate": 0.5}), "another cnn.Loss"),
    "flat": ("labels", put("network", "one_dimensional", value=True), "one-dimensional predictions of 2 outputs"),
    "task": ("classifier", put("task", value="binary"), "3 labels, task 'binary', loss cross_entropy and 3 outputs"),
    "task, several": ("classifier", put("task", value="multilabel"), "3 labels, task 'multilabel'"),
    "labels": ("classifier", put("labels", value="numbers"), "not different ones in ascending order"),
    "no labels": ("classifier", put("labels", value="pickle"), "it has no labels, which are 'pickle'"),
    "few labels": ("classifier", tensor("classes", text("a", "b")), "2 labels, task 'multiclass'"),
    "labels twice": ("classifier", tensor("classes", text("a", "b", "b")), "not different ones in ascending order"),
    "order": ("classifier", tensor("classes", text("b", "a", "c")), "not different ones in ascending order"),
    "long label": ("classifier", tensor("classes", text("a", "b", "c" * 2_000_000)), "labels of 24,000,000 bytes"),
    "nan": ("classifier", tensor("classes", np.array([0.0, 1.0, np.nan]), labels="numbers"), "ascending order"),
    "infinite": ("classifier", tensor("classes", np.array([0, 1, np.inf]), labels="numbers"), "labels are not finite"),
    "several": ("labels", tensor("classes", np.array([1, 2])), "which are not 0, 1, 2"),
    "sparse": ("classifier", put("sparse_labels", value=True), "sparse_labels is True"),
    "step": ("classifier", put("step", value=-1), "step must be an integer >= 0"),
    "step 0": ("classifier", put("step", value=0), "unknown tensor optimizer"),
    "rate": ("regressor", put("rate", value=-1.0), r"rate must be in \[0"),
    "history": ("regressor", put("history", value=["loss", "loss", "seconds"]), "have the same name"),
    "no score": ("classifier", put("best_validation_score", value=None), "unknown tensor validation_scores"),
    "names": ("regressor", tensor("feature_names", text("a", "b")), "2 names for 3 features"),
    "curves": ("regressor", tensor("loss_curve", np.zeros(1 << 20)), r"1,048,\d+ numbers in its curves"),
    "matrix": ("regressor", tensor("loss_curve", np.zeros((3, 1))), "must have one dimension"),
    "ensemble, class": ("ensemble", put("class", value="MLPRegressor"), "names 'MLPRegressor', which is no ensemble"),
    "ensemble, setting": ("ensemble", put("parameters", "n_estimators", value=0), "'n_estimators' parameter of Ense"),
    "ensemble, member": ("ensemble", put("estimator", "solver", value="lbfgs"), "members are not trained with solver="),
    "ensemble, alpha": ("ensemble", put("estimator", "alpha", value=-1), "'alpha' parameter of MLPRegressor"),
    "ensemble, empty": ("ensemble", put("networks", value=[]), "which are not a list of as many"),
    "ensemble, epochs": ("ensemble", put("epochs", value=[1]), "which are not a list of as many"),
    "ensemble, epoch": ("ensemble", put("epochs", 1, value=-1), "epochs must be an integer >= 0"),
    "ensemble, inputs": ("ensemble", put("inputs", value=1), "are not different ones of 1 in ascending order"),
    "ensemble, loss": ("ensemble", put("networks", 0, "loss", "scale", value=9.0), "network 0 has the loss RowLoss"),
    "ensemble, losses": ("ensemble", put("networks", 1, "loss", "of", "name", value="log_cosh"), "network 1 "),
    "ensemble, twice": ("ensemble", tensor("features.0", np.array([1, 1])), "features.0 are not different ones of 3"),
    "ensemble, score": ("ensemble", put("oom_score", value=None), "oom_score is null"),
    "ensemble, rows": ("ensemble", tensor("oom_prediction", np.zeros((4, 3))), r"must be \(rows, 2\)"),
    "ensemble, inf": ("ensemble", tensor("oom_prediction", np.full((4, 2), np.inf)), "finite or nan"),
    "ensemble, task": ("ensemble-classes", put("task", value="binary"), "3 labels, task 'binary'"),
    "table, column": ("table", put("columns", 3, "more", value=1), "unknown field 'more'; known: kind, gaps"),
    "table, kind": ("table", put("columns", 3, "kind", value="image"), "there are no columns of kind 'image'"),
    "table, gaps": ("table", put("columns", 3, "gaps", value=1), "expected true or false, got 1"),
    "table, marks": ("table", put("columns", 1, "marks", value=2), "it has \\d+ texts, and needs more"),
    "table, periods": ("table", put("columns", 4, "periods", value=["month"]), "periods of dates are"),
    "table, nodes": ("table", put("columns", 4, "nodes", value=1), "nodes, of which its columns use"),
    "table, no nodes": ("table", put("columns", 0, "nodes", value=0), "nodes of a number must rise"),
    "table, falling": ("table", falling, "nodes of a number must rise"),
    "table, not finite": ("table", not_finite, "nodes and heights of a number must be finite"),
    "table, scale": ("table", put("columns", 0, "scale", value=0), "scale must be in"),
    "table, texts": ("table", texts_of_table(-1, None), r"it has \d+ texts, and needs more"),
    "table, names": ("table", texts_of_table(3, "size"), "two columns with the name 'size'"),
    "table, no target": ("table", texts_of_table(0, ""), "target must be the name of a column"),
    "table, categories": ("table", texts_of_table(6, "Bern"), "values of a category must be different"),
    "table, one": ("table", put("columns", 2, "one", value=0), "one must be in"),
    "table, setting": ("table", put("settings", "depth", value=1), "has no argument 'depth'"),
    "table, width": ("table", put("settings", "hidden", value=[0]), "a width of hidden must be"),
    "table, task": ("table", put("task", value="classification"), "0 classes for 'classification'"),
    "table, classes": ("table-classes", put("classes", value=1001), "1001 classes that are 'text'"),
    "table, one class": ("table-classes", texts_of_table(-1, "no"), "not different ones in ascending order"),
    "table, labels": ("table-classes", put("labels", value="path"), "2 classes that are 'path'"),
    "table, floats": ("table-classes", put("labels", value="float"), "labels must be float64"),
    "table, blanks": ("table-classes", texts_of_table(-1, "no "), "not different ones in ascending order"),
    "table, infinite": ("table-classes", floats(np.inf), "numbers .*inf"),
    "table, not a number": ("table-classes", floats(np.nan), "numbers .*nan"),
    "table, bool": ("table-classes", tensor("labels", np.array([0, 5]), labels="bool"), "texts, and needs"),
    "table, mean": ("table-classes", put("mean", value=0.5), "classes with the mean 0.5"),
    "table, named": ("table", put("named", value=1), "named 1"),
    "table, offset": ("table", put("offset", value=-1), "logarithms of numbers from .* and -1"),
    "table, offset of classes": ("table-classes", put("offset", value=1), "logarithms of numbers from -inf to inf"),
    "table, networks": ("table-classes", put("networks", value={}), "networks {}"),
    "table, network": ("table-classes", put("networks", 0, "loss", value={"class": "Loss", "name": "mse"}), "'mse'"),
    "table, network's": ("table-classes", put("networks", 0, "one_dimensional", value=False), "does not fit"),
    "table, targets": ("table-targets", put("further", value={}), "further targets {}"),
    "table, no further": ("table-targets", put("further", value=[]), "a tensor|texts, and needs|does not fit"),
    "table, further": ("table-targets", put("further", 0, "more", value=1), "unknown field 'more'; known: mean, devi"),
    "table, deviation": ("table-targets", put("further", 0, "deviation", value=0), "deviation must be in"),
    "table, range": ("table-targets", put("further", 0, "low", value=1e9), "numbers from 1000000000.0 to"),
    "table, parts": ("table", put("parts", value=3), "3 parts held out by 2 networks"),
    "table, few parts": ("table", put("parts", value=1), "errors of other parts than those held out, 1"),
    "table, no parts": ("table", put("parts", value=None), "errors of other parts than those held out, None"),
    "table, residuals": ("table-targets", residuals_of_one, "residuals of some targets alone"),
    "table, target twice": ("table-targets", texts_of_table(2, "price"), "target names a column twice"),
    "table, targets of classes": ("table-classes", two_targets, "several targets of classes"),
    "table, score": ("table", put("scores", "training", "rmse", value="1"), "rmse must be a number"),
}  # fmt: skip


@pytest.mark.parametrize("case", FORGED)
def test_what_is_wrong_is_said(case: str, files: dict[str, bytes], tmp_path) -> None:
    name, change, said = FORGED[case]
    found = refusal(tmp_path / "m.cnn", forged(files[name], change))
    assert re.search(said, found), found
    assert len(found) < 600
