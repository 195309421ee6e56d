"""Table models elsewhere: ONNX Runtime and compiled C take the cells of a row and give what the model gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import run_tool

import cnn

pd = pytest.importorskip("pandas")


def fitted(target: str, **changed: Any) -> tuple[cnn.TableModel, Any]:
    rng = np.random.default_rng(0)
    n = 80
    frame = pd.DataFrame({
        "size": rng.normal(size=n), "town": rng.choice(["Bern", 'G"enf', "Zug\\"], n),
        "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, n), "D"), "new": rng.random(n) < 0.5,
    })  # fmt: skip
    frame["price"] = frame["size"] * 3 + 7 + (frame["town"] == "Bern")
    frame["dear"] = frame["price"] > 7
    frame["grade"] = np.digitize(frame["price"], [6, 8])
    frame = frame.assign(**changed)
    used = frame.drop(columns={"price", "dear", "grade"} - {target})
    return cnn.TableModel(target, epochs=1, members=2, hidden=(8,), seed=0).fit(used, verbose=0), used


def cells(frame: Any, name: str) -> Any:
    if name == "day":
        return ((frame[name] - pd.Timestamp(0)) / pd.Timedelta("1D")).to_numpy(np.float64).reshape(-1, 1)
    text = frame[name].dtype.kind not in "fb"
    return frame[name].to_numpy(object if text else np.float64).reshape(-1, 1)


def test_random_tables_agree_in_onnx_and_c() -> None:
    """In short; the long run is the command."""
    run_tool("export_tables.py", "--count", "10", "--seed", "3")
    run_tool("export_tables.py", "--count", "4", "--seed", "5", "--several")


@pytest.mark.parametrize("target", ["price", "dear", "grade", "town"])
def test_onnx_inputs_and_outputs(target: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    model, frame = fitted(target)
    cnn.export_onnx(model, tmp_path / "m.onnx")
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    kinds = {"size": "double", "town": "string", "day": "double", "new": "double"}
    expected = [(name, f"tensor({kinds[name]})", ["n", 1]) for name in kinds if name != target]
    assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == expected
    for rows in (frame, frame[:1], frame[:0]):
        found = session.run(None, {name: cells(rows, name) for name, _, _ in expected})
        if target == "price":
            np.testing.assert_allclose(found[0], model.predict(rows), atol=1e-5)
            continue
        np.testing.assert_allclose(found[1], model.predict_proba(rows), atol=1e-5)
        np.testing.assert_array_equal(found[0], model.predict(rows))
        assert found[0].dtype == model.classes.dtype
    names = ["prediction"] if target == "price" else ["label", "probabilities"]
    assert [o.name for o in session.get_outputs()] == names


def test_onnx_outputs_make_way_for_columns(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    noise = np.random.default_rng(1).normal(size=80)
    model, _ = fitted("dear", label=noise, label_=noise + 1)
    cnn.export_onnx(model, tmp_path / "m.onnx")
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert [o.name for o in graph.output] == ["label__", "probabilities"]
    assert [i.name for i in graph.input] == list(model.columns)


def test_c_says_columns_and_classes_as_texts_only(tmp_path: Path) -> None:
    source, header = cnn.export_c(fitted("grade")[0], tmp_path, "grade")
    text, said = source.read_text(), header.read_text()
    assert '"G\\042enf"' in text
    assert '"Zug\\134"' in text
    assert "malloc" not in text
    assert '"size",\n    "day",\n    "new"' in text
    assert "extern const char *const grade_classes[3];" in said
    assert "int grade_class(const double *y);" in said
    assert "size" not in said.replace("{", "")


@pytest.mark.parametrize(("changed", "said"), [
    ({"town": ["a\0b", "c"] * 40}, r"column 'town': 'a\\x00b' has a zero byte"),
    ({"town": ["a" * 5000, "c"] * 40}, "column 'town': 'aaa.*has 5,000 bytes; C99 takes texts of 4,095"),
    ({"size": [-1.7e308, 1.7e308] * 40}, "column 'size' has numbers whose differences are infinite; scale them first"),
    ({"n\0": np.arange(80) ** 2.0}, "'n\\\\x00' has a zero byte"),
])  # fmt: skip
def test_c_refuses_what_it_can_not_say(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(cnn.TableError, match=said):
        cnn.export_c(fitted("price", **changed)[0], tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


def test_onnx_refuses_what_it_can_not_say(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    with pytest.raises(cnn.TableError, match="column 'size' has numbers whose differences are infinite"):
        cnn.export_onnx(fitted("price", size=[-1.7e308, 1.7e308] * 40)[0], tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("export", [cnn.export_onnx, cnn.export_c])
def test_models_that_are_none(export: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    with pytest.raises(cnn.NotBuiltError, match="knows no table yet"):
        export(cnn.TableModel("y"), tmp_path / "m")
    with pytest.raises(TypeError, match=f"{export.__name__} takes a Network, an estimator or a TableModel, got dict"):
        export({}, tmp_path / "m")
    assert list(tmp_path.iterdir()) == []
