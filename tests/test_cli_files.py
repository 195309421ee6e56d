"""The command on files of other kinds of models, and what it exports."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import table

import cnn

pd = pytest.importorskip("pandas")
pytest.importorskip("typer")
pytest.importorskip("rich")


def test_files_of_estimators(run: Any) -> None:
    """Predicted with, inspected and exported; columns by name if the fit knew names."""
    pytest.importorskip("sklearn")
    rows = table().assign(z=lambda t: t["x"] * 2 - 1)
    rows.to_csv("t.csv", index=False)
    named = cnn.MLPClassifier(3, solver="lbfgs", max_fun=20, random_state=0, max_iter=20, tol=1.0)
    named.fit(rows[["z", "x"]], rows["k"]).save("named.cnn")
    several = cnn.MLPRegressor(hidden_layer_sizes=3, solver="lbfgs", tol=10.0)
    several.fit(rows[["x"]].to_numpy(), rows[["x", "z"]]).save("several.cnn")
    assert run("predict", "named.cnn", "t.csv", "--probabilities", "--threads", 1, "-o", "p.csv").code == 0
    found = pd.read_csv("p.csv")
    assert found["prediction"].str.lstrip("'").tolist() == named.predict(rows[["z", "x"]]).tolist()
    assert np.allclose(found["probability_no"], named.predict_proba(rows[["z", "x"]])[:, 1])
    rows[["x"]].to_csv("x.csv", index=False)
    assert run("predict", "several.cnn", "x.csv", "--only-predictions", "-o", "p.csv").code == 0
    assert np.allclose(pd.read_csv("p.csv")[["prediction_0", "prediction_1"]], several.predict(rows[["x"]].to_numpy()))
    about = json.loads(run("inspect", "named.cnn", "--json").out)
    assert (about["class"], about["features"], about["classes"]) == ("MLPClassifier", ["z", "x"], ["=1+1", "no"])
    assert "MLPRegressor" in run("inspect", "several.cnn").out
    assert run("export", "several.cnn", "--c", "source").code == 0
    for arguments, said in [
        (["evaluate", "named.cnn", "t.csv"], "an estimator, which does not know the column of its target"),
        (["predict", "named.cnn", "x.csv"], "the table has no column 'z'"),
        (["predict", "several.cnn", "t.csv"], "the table has 5 columns, but the network takes 1 inputs"),
        (["predict", "several.cnn", "x.csv", "--probabilities"], "--probabilities is for models of classes"),
    ]:
        done = run(*arguments)
        assert (done.code, done.out) == (2, "")
        assert said in done.err


def test_export_of_a_table_model(run: Any, trained: Path) -> None:
    done = run("export", trained, "--c", "source", "--json")
    assert json.loads(done.out) == {"written": ["source"]}
    assert sorted(path.name for path in Path("source").iterdir()) == ["model.c", "model.h"]
    pytest.importorskip("onnx")
    assert run("export", trained, "--onnx", "m.onnx", "--quiet") == (0, "", "")
    assert Path("m.onnx").exists()
    done = run("export", trained, "--onnx", "none/m.onnx")
    assert (done.code, done.err) == (2, "cnn: --onnx none/m.onnx: there is no folder none\n")


def test_network_predicts_a_table_of_numbers(run: Any) -> None:
    net = cnn.Network([cnn.Dense(2)], seed=0).build(2)
    net.save("net.cnn")
    Path("t.csv").write_text("a,b\n1,2\n-3,4\n")
    found = pd.read_csv(io.StringIO(run("predict", "net.cnn", "t.csv", "--only-predictions").out))
    assert np.allclose(found, net.predict(np.array([[1, 2], [-3, 4]])))
    Path("t.csv").write_text("a\n1\n")
    assert "1 columns, but the network takes 2" in run("predict", "net.cnn", "t.csv").err
