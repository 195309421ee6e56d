"""`cnn evaluate` in pieces: the scores of the whole table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn

pd = pytest.importorskip("pandas")
pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("pyarrow")

from helpers import QUICK  # noqa: E402

from cnn.cli import read_arrow, read_csv  # noqa: E402 (the extra may be missing)
from cnn.table import pieces  # noqa: E402


def table(n: int = 230) -> Any:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=n).round(3), "sold": rng.choice(["2020-01-05", "2021-03-04", None], n)})
    frame["y"] = (frame["x"] + (frame["sold"] == "2020-01-05")).round(3)
    frame["k"] = np.where(frame["y"] > 0.3, "01", "2")
    frame.loc[:69, ["y", "k"]] = np.nan  # a whole piece has no target
    return frame


@pytest.fixture
def small(monkeypatch: Any) -> None:
    for module in (read_arrow, read_csv, pieces):
        monkeypatch.setattr(module, "PIECE", 60)


@pytest.mark.parametrize("target", ["y", "k"])
def test_pieces_have_the_scores_of_the_whole_table(run: Any, small: None, target: str) -> None:
    whole = table()
    whole.to_csv("t.csv", index=False)
    whole.to_parquet("t.parquet")
    Path("rows").mkdir()
    for name, part in (("a", whole[:100]), ("b", whole[100:])):
        part.to_parquet(f"rows/{name}.parquet", index=False)
    assert run("train", "t.csv", "-t", target, *QUICK, "--quiet").code == 0
    expected = cnn.load("model.cnn").evaluate(whole)
    assert "roc_auc" in expected or "r2" in expected
    given = (["t.csv"], ["t.csv", "--stream"], ["t.parquet", "--stream"], ["rows"], ["t.csv", "--no-stream"])
    for arguments in given:
        done = run("evaluate", "model.cnn", *arguments, "--json")
        assert (done.code, done.err) == (0, "")
        found = json.loads(done.out)
        assert found["rows"] == 230
        assert found["scores"] == pytest.approx(expected, rel=1e-12)
    both = [json.loads(run("evaluate", "model.cnn", "t.csv", "--importance", "--json", *more).out)["importance"]
            for more in ([], ["--stream"])]  # fmt: skip
    assert both[0] == pytest.approx(both[1])  # the sample is all of so small a table


def test_what_can_not_be_is_told_by_its_row(run: Any, small: None) -> None:
    whole = table()
    whole.to_csv("t.csv", index=False)
    assert run("train", "t.csv", "-t", "k", *QUICK, "--quiet").code == 0
    whole.loc[200, "k"] = "3"
    whole.to_csv("new.csv", index=False)
    texts = [run("evaluate", "model.cnn", "new.csv", *more).err for more in ([], ["--stream"])]
    assert texts[0] == texts[1]
    assert "at row 200" in texts[0]
    whole.assign(k=None).to_csv("new.csv", index=False)
    texts = [run("evaluate", "model.cnn", "new.csv", *more).err for more in ([], ["--stream"])]
    assert texts == ["cnn: no row has a value of the target 'k'\n"] * 2
    whole.drop(columns="k").to_csv("new.csv", index=False)
    assert "no column 'k'" in run("evaluate", "model.cnn", "new.csv", "--stream").err
    assert "is a folder; give a file" in run("evaluate", "model.cnn", ".").err
