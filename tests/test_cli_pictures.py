"""`cnn train`, `predict`, `evaluate` and `inspect` for folders of pictures."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn

for name in ("PIL", "typer", "rich", "sklearn", "pandas"):
    pytest.importorskip(name)

from PIL import Image  # noqa: E402

QUICK = ("--epochs", "8", "--batch-size", "16", "--seed", "0")


@pytest.fixture
def folder(run: Any) -> Path:
    """Dark and light pictures, in the folder where the command runs."""
    rng = np.random.default_rng(0)
    for i in range(40):
        place = Path("train") / ("dark", "light")[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 90, (8, 8), dtype=np.uint8) + np.uint8(150 * (i % 2))).save(place / f"{i}.png")
    return Path("train")


def test_train_predict_evaluate_inspect(run: Any, folder: Path) -> None:
    done = run("train", "train", *QUICK, "--effort", "fast", "--valid", "0.2", "--json")
    found = json.loads(done.out)
    assert (found["classes"], found["image_shape"], found["epochs"]) == (["dark", "light"], [8, 8, 1], 8)
    assert found["written"] == ["model.cnn"]
    assert {"accuracy", "val_accuracy"} <= set(found["scores"])
    model = cnn.load("model.cnn")
    assert model.random_state == 0
    done = run("evaluate", "model.cnn", "train", "--json")
    assert json.loads(done.out)["scores"] == {"accuracy": pytest.approx(model.score("train"))}
    for word in ("accuracy", "dark", "light", "40 pictures, 2 of 2 classes"):
        assert word in run("evaluate", "model.cnn", "train").out
    done = run("predict", "model.cnn", "train/dark", "--out", "p.csv", "--probabilities")
    assert (done.code, done.err) == (0, "")
    rows = list(csv.DictReader(Path("p.csv").read_text().splitlines()))
    assert [row["file"] for row in rows] == sorted(str(path) for path in Path("train/dark").iterdir())
    assert [row["prediction"] for row in rows] == model.predict("train/dark").tolist()
    assert set(rows[0]) == {"file", "prediction", "probability_dark", "probability_light"}
    assert "file,prediction" in run("predict", "model.cnn", "train/dark/0.png").out
    shown = run("inspect", "model.cnn")
    for word in ("Conv2D", "dark, light", "8 x 8 pixels, grey"):
        assert word in shown.out
    assert json.loads(run("inspect", "model.cnn", "--json").out)["kind"] == "images"
    for word in ("accuracy, training", "written: model.cnn"):
        assert word in run("train", "train", *QUICK, "--effort", "fast", "--learning-rate", "0.001").out


def test_a_wrong_prediction_is_no_right_one_for_its_first_letters(run: Any, folder: Path) -> None:
    (folder / "dark").rename(folder / "cat")
    (folder / "light").rename(folder / "cats")
    (folder / "dog").mkdir()
    for i in range(10):
        Image.new("L", (8, 8), 60 + i).save(folder / "dog" / f"{i}.png")
    assert run("train", "train", *QUICK, "--effort", "fast", "--epochs", "30").code == 0
    Path("held").mkdir()
    (folder / "cats").rename("held/cat")  # most of them are predicted as cats
    (folder / "dog").rename("held/dog")
    found = json.loads(run("evaluate", "model.cnn", "held", "--json").out)["scores"]["accuracy"]
    assert found == pytest.approx(cnn.load("model.cnn").score("held"))
    assert found < 0.5


def test_pictures_anywhere_in_a_folder_are_predicted_whatever_their_names(run: Any, folder: Path) -> None:
    assert run("train", "train", *QUICK, "--effort", "fast").code == 0
    shutil.copy("train/dark/0.png", os.fsdecode(b"train/\xff.png"))
    Path("train/empty").mkdir()
    done = run("predict", "model.cnn", "train", "--out", "p.csv")
    assert (done.code, done.err) == (0, "")
    files = [row["file"] for row in csv.DictReader(Path("p.csv").read_text("utf-8").splitlines())]
    assert len(files) == 41
    assert str(Path("train") / "\ufffd.png") in files


@pytest.mark.filterwarnings("default")
def test_what_can_be_mended_is_said_in_one_line(run: Any, folder: Path) -> None:
    (folder / "dark" / "a.png").write_bytes(b"no picture")
    for arguments, text in {
        ("train", "train"): "a.png is no picture that can be read",
        ("train", "none.csv"): "say which column to predict: --target NAME (a folder of pictures needs none)",
        ("train", "train", "--hidden", "3"): "--hidden is for tables, and train is a folder of pictures",
        ("train", "train", "--report", "r"): "--report is for tables, and train is a folder of pictures",
        ("train", "train", "--out", "-"): "--out must be a file: a model is not text",
        ("train", "train/dark"): "must hold a folder of pictures for each class, two at least, got 0",
    }.items():
        done = run(*arguments)
        assert done.code == 2
        assert text in done.err, done.err
        assert done.err.count("\n") == 1
    done = run("train", "train", *QUICK, "--effort", "fast", "--skip-broken")
    assert done.code == 0
    assert "1 of 41 pictures can't be read and are left out" in done.err
    (folder / "other").mkdir()
    Image.new("L", (8, 8)).save(folder / "other" / "x.png")
    assert "folder 'other', which is none of the classes of the model" in run("evaluate", "model.cnn", "train").err
    assert "--importance is for tables" in run("evaluate", "model.cnn", "train", "--importance").err
    assert "cnn explain divides predictions among the columns of a table" in run("explain", "model.cnn", "a.csv").err
