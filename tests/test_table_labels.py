"""Labels of table models: what was given comes back, in type and spelling; cells of other types that mean the same."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn
from cnn.table import labels, target

pd = pytest.importorskip("pandas")
UP = np.random.default_rng(0).normal(size=60) > 0
QUICK: dict[str, Any] = {"task": "classification", "epochs": 2, "members": 1, "hidden": (4,), "seed": 0}


def two(low: Any, high: Any, kind: Any = object) -> Any:
    return np.array([high if up else low for up in UP], kind)


def fitted(y: Any, **how: Any) -> cnn.TableModel:
    x = np.where(UP, 1.0, -1.0) + np.random.default_rng(1).normal(size=len(UP)) / 9
    return cnn.TableModel("y", **{**QUICK, **how}).fit(pd.DataFrame({"x": x, "y": y}), verbose=0)


def alike(found: Any, expected: Any) -> bool:
    return list(found) == list(expected) and [*map(type, found)] == [*map(type, expected)]


GIVEN: dict[str, tuple[Any, list[Any]]] = {
    "codes": (two("01", "02"), ["01", "02"]),
    "text of numbers": (two("1", "0"), ["0", "1"]),
    "text of halves": (two("0.50", "1.5"), ["0.50", "1.5"]),
    "text of truths": (two("True", "FALSE"), ["FALSE", "True"]),
    "letters": (two("a", "A"), ["A", "a"]),
    "blanks": (two(" <=50K", " >50K"), [" <=50K", " >50K"]),
    "NumPy's text": (two("01", "02", str), ["01", "02"]),
    "string": (pd.array(two("01", "02"), "string"), ["01", "02"]),
    "whole": (two(-1, 1, np.int8), [-1, 1]),
    "large": (two(2**53 + 1, 2**53 + 3, np.int64), [2**53 + 1, 2**53 + 3]),
    "largest": (two(0, 2**64 - 1, np.uint64), [0, 2**64 - 1]),
    "objects": (two(np.int64(7), 9), [7, 9]),
    "Int64": (pd.array(two(2**53 + 1, 2**53 + 3, np.int64), "Int64"), [2**53 + 1, 2**53 + 3]),
    "halves": (two(0.5, 1.5, np.float64), [0.5, 1.5]),
    "whole floats": (two(1.0, 2.0, np.float64), [1.0, 2.0]),
    "float32": (two(0.1, 0.2, np.float32), [float(np.float32(0.1)), float(np.float32(0.2))]),
    "mixed numbers": (two(1, 2.5), [1.0, 2.5]),
    "decimals": (two(Decimal("1.5"), Decimal(2)), [1.5, 2.0]),
    "truth values": (UP, [False, True]),
    "boolean": (pd.array(UP, "boolean"), [False, True]),
    "truths as objects": (UP.astype(object), [False, True]),
    "categories of 10 and 20": (pd.Categorical(two(10, 20, np.int64)), [10, 20]),
    "categories of truths": (pd.Categorical(UP), [False, True]),
    "categories of text": (pd.Categorical(two("01", "02"), categories=["02", "01", "03"]), ["01", "02"]),
    "categories of halves": (pd.Categorical(two(0.5, 1.5, np.float64)), [0.5, 1.5]),
}


@pytest.mark.parametrize("name", GIVEN)
def test_labels_come_back(name: str, tmp_path: Path) -> None:
    y, expected = GIVEN[name]
    model = fitted(y)
    model.save(tmp_path / "m.cnn")
    frame = pd.DataFrame({"x": [-1.0, 1.0] * 10, "y": y[:20]})
    for found in (model, cnn.load(tmp_path / "m.cnn")):
        assert alike(found.classes.tolist(), expected)
        assert set(found.predict(frame).tolist()) <= set(expected)
        assert found.predict_proba(frame).shape == (20, 2)
        assert found.evaluate(frame)["accuracy"] == (found.predict(frame) == np.asarray(frame["y"])).mean()
    assert model.classes.dtype == cnn.load(tmp_path / "m.cnn").classes.dtype


@pytest.mark.parametrize("given", [[2**53 + 1, 2**53 + 3], [0.5, 1.5], [False, True], ["01", "02"]])
def test_labels_of_arrow(given: list[Any]) -> None:
    pa = pytest.importorskip("pyarrow")
    y = pa.array([given[int(up)] for up in UP])
    assert alike(fitted(pd.array(y, pd.ArrowDtype(y.type))).classes.tolist(), given)
    table = pa.table({"x": np.where(UP, 1.0, -1.0), "y": y})
    assert alike(cnn.TableModel("y", **QUICK).fit(table, verbose=0).classes.tolist(), given)


def test_the_spelling_that_most_rows_have() -> None:
    y = two("no", "yes")
    y[[0, 5]] = "yes ", " no"
    assert fitted(y).classes.tolist() == ["no", "yes"]


def test_gaps_and_what_they_make_of_numbers() -> None:
    y = two(1, 2)
    y[3] = None
    assert alike(fitted(pd.Series(y)).classes.tolist(), [1, 2])
    assert alike(fitted(pd.Series(y).astype("Int64")).classes.tolist(), [1, 2])
    assert alike(fitted(pd.Series(y).astype(float)).classes.tolist(), [1.0, 2.0])  # as pandas gives them


@pytest.mark.parametrize(("y", "said"), [
    (two("a", 1), r"holds (str|int) .* and (str|int) .*make all its cells text, or all numbers"),
    (two(True, 0), r"holds (bool|int) .* and (bool|int)"),
    (two(True, "no"), r"holds (bool|str) .* and (bool|str)"),
    (two(b"a", b"b"), r"holds bytes \(b'.'\)"),
    (two(2**64, 1), "beyond 64 bits"), (two(2**63, -1), "beyond 64 bits"),
    (pd.to_timedelta(two(1, 2, int), "s"), "holds durations"),
    (pd.cut(two(1, 2, int), [0, 1, 2]), "holds Interval"),
    (pd.to_datetime(two("2024-01-01", "2024-01-02")), "holds dates"),
])  # fmt: skip
def test_what_can_not_come_back_is_refused(y: Any, said: str) -> None:
    with pytest.raises(cnn.TableError, match=said):
        fitted(y)


@pytest.mark.parametrize(("classes", "cells", "expected"), [
    ((1, 2), ["1", " 2 ", "1.0", "3", True, 1.0, None], [0, 1, 0, -1, -1, 0, -1]),
    (("01", "02"), [1, 2.0, "1", "01", "x"], [0, 1, 0, 0, -1]),
    (("1", "1.0"), ["1", "1.0", 1], [0, 1, -1]),  # 1 may be either
    ((False, True), ["true", "0", 1.0, np.True_, "FALSE", 2], [1, 0, 1, 1, 0, -1]),
    (("FALSE", "True"), [True, "true", 0], [1, 1, 0]),
    ((0, 1), [True, "False", "1"], [1, 0, 1]),
    ((0.5, 1.5), ["0.50", Decimal("1.5"), 0.25], [0, 1, -1]),
    ((2**53 + 1, 2**53 + 3), [str(2**53 + 1), str(2**53 + 2)], [0, -1]),
    (("a", "b "), ["b", " a", "A"], [1, 0, -1]),
    ((10, 11), ["1_0"], [-1]),
])  # fmt: skip
def test_cells_of_another_type_that_mean_a_class(classes: Any, cells: list[Any], expected: list[int]) -> None:
    found = [int(labels.codes(pd.Series([cell], dtype=object), classes)[0]) for cell in cells]
    assert found == expected


@pytest.mark.parametrize(("cells", "task", "reason"), [
    ([f"{i:02}" for i in range(20)] * 5, "classification", "20 different codes with zeros first"),
    ([f"{i}" for i in range(20)] * 5, "regression", "20 different ones"),
    ([f"{i:02}" for i in range(100)], "regression", "100 different ones"),
    ([2**53 + i for i in range(20)] * 5, "regression", "20 different ones"),
    (["3.5", "inf", *map(str, range(50))], "regression", "51 different ones"),
    (pd.to_timedelta(np.arange(8), "s").repeat(9), "regression", "durations"),
    (pd.Categorical([10, 20] * 20), "classification", "categories"),
])  # fmt: skip
def test_the_task_of_text_and_other_types(cells: Any, task: str, reason: str) -> None:
    series = pd.Series(cells, name="y")
    found = target.learn(series, target.known_rows(series), "auto")
    assert found.task == task
    assert reason in found.reason


def test_categories_of_numbers_may_be_predicted_as_numbers() -> None:
    y = pd.Categorical(np.where(UP, 2.5, 1.0))
    assert fitted(y, task="regression").predict({"x": [1.0]}).dtype == np.float64


@pytest.mark.parametrize("name", ["codes", "halves", "large", "largest", "truth values", "blanks"])
def test_onnx_gives_the_labels(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    model = fitted(GIVEN[name][0])
    cnn.export_onnx(model, tmp_path / "m.onnx")
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    x = np.array([[-1.0], [1.0]])
    found, expected = session.run(None, {"x": x})[0], model.predict({"x": x[:, 0]})
    assert found.dtype == expected.dtype
    assert found.tolist() == expected.tolist()


def test_c_has_the_labels_as_text(tmp_path: Path) -> None:
    for name, said in (("codes", '"01",\n    "02"'), ("halves", '"0.5",\n    "1.5"'), ("large", str(2**53 + 3))):
        source, _ = cnn.export_c(fitted(GIVEN[name][0]), tmp_path, "m")
        assert said in source.read_text()


@pytest.mark.parametrize(("cells", "known"), [
    (["1", "nan", "", " ", None, "inf", "2"], [0, 6]), (["true", "FALSE", "nan", "x"], [0, 1, 3]),
    (["None", "-"], [0, 1]), (["None", "a"], [0, 1]), ([True, None, False], [0, 2]), ([1, np.inf, np.nan, 0.5], [0, 3]),
])  # fmt: skip
def test_rows_with_a_target(cells: list[Any], known: list[int]) -> None:
    assert target.known_rows(pd.Series(cells, name="y")).tolist() == known
