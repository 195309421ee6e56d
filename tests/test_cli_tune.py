"""`cnn tune`: what it finds beside a model trained with those settings, what it writes, what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("optuna", minversion="5")

from helpers import table  # noqa: E402

import cnn  # noqa: E402

QUICK = ("--budget", "4", "--epochs", "6")


@pytest.fixture
def tune(run: Any) -> Any:
    table().to_csv("t.csv", index=False)
    return lambda *arguments: run("tune", "t.csv", *arguments)


@pytest.mark.parametrize(("target", "metric"), [("y", "rmse"), ("k", "log_loss")])
def test_the_best_settings_make_the_model(tune: Any, target: str, metric: str) -> None:
    done = tune("-t", target, *QUICK, "--json")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    scores = [score for score, state in zip(found["tried"][metric], found["tried"]["state"], strict=True)
              if state == "complete"]  # fmt: skip
    assert len(found["tried"][metric]) == 4
    best = found["tried"][metric].index(min(scores))
    settings = found["settings"]
    assert settings["hidden"] == [found["tried"]["units"][best]] * found["tried"]["depth"][best]
    alone = cnn.TableModel(target, **settings, members=1, epochs=6, seed=0).fit(pd.read_csv("t.csv"), verbose=0)
    assert alone.scores["validation"][metric] == pytest.approx(min(scores), rel=1e-4)
    model = cnn.load("model.cnn")
    assert model.settings.hidden == tuple(settings["hidden"])
    assert model.settings.learning_rate == settings["learning_rate"]
    assert model.scores == found["scores"]
    assert found["written"] == ["model.cnn"]


def test_what_it_shows_and_writes(tune: Any) -> None:
    pytest.importorskip("matplotlib")
    done = tune("-t", "y", *QUICK, "--picture", "p.png", "--out", "m.cnn")
    assert (done.code, done.err) == (0, "")
    assert "4 settings, 1 of them trained to the end; those first" in done.out
    for word in ("rmse", "hidden", "activation", "settings: hidden ", "held out", "written: m.cnn, p.png"):
        assert word in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    assert Path("p.png").read_bytes().startswith(b"\x89PNG")
    assert tune("-t", "y", *QUICK, "--quiet").out == ""


def test_a_study_goes_on(tune: Any) -> None:
    first = json.loads(tune("-t", "y", *QUICK, "--study", "s.log", "--json").out)
    again = json.loads(tune("-t", "y", *QUICK, "--study", "s.log", "--json", "--threads", "2").out)
    more = json.loads(tune("-t", "y", "--budget", "6", "--epochs", "6", "--study", "s.log", "--json").out)
    assert again["tried"] == first["tried"]
    assert again["scores"] == first["scores"]
    assert {name: values[:4] for name, values in more["tried"].items()} == first["tried"]
    assert len(more["tried"]["state"]) == 6


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("-t", "z"), "z"),
        (("-t", "y", "--budget", "2"), "Input should be greater than or equal to 3"),
        (("-t", "y", "--budget", "0"), "Invalid value for '--budget'"),
        (("-t", "y", "--picture", "p.txt"), "--picture must end in .png, .svg, .pdf, got 'p.txt'"),
        (("-t", "y", "--out", "-"), "--out must be a file"),
        (("-t", "y", "--out", "t.csv"), "--out t.csv: that is the table itself"),
        (("-t", "y", "--study", "no/s.log"), "--study no/s.log: there is no folder no"),
        (("-t", "y", "--valid", "2"), "valid must be in"),
    ],
)
def test_bad_options(tune: Any, arguments: tuple[str, ...], text: str) -> None:
    done = tune(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert text in done.err
    assert done.err.startswith("cnn: ")
    assert [path.name for path in Path().iterdir()] == ["t.csv"]


def test_without_optuna(tune: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = tune("-t", "y", *QUICK)
    assert (done.code, done.out) == (2, "")
    assert "needs Optuna 5 or newer (extra 'search'): pip install -U optuna" in done.err
