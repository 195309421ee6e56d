"""What the command shows: names as they are, nothing that controls a terminal, numbers that fit into it."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn

pd = pytest.importorskip("pandas")
pytest.importorskip("typer")
pytest.importorskip("rich")

from helpers import QUICK  # noqa: E402
from rich.console import Console  # noqa: E402

from cnn.callbacks import Run  # noqa: E402
from cnn.cli.screen import Live, counted  # noqa: E402 (the extra may be missing)

# An escape sequence, a C1 control, an override of the direction, a line's end, DEL; markup and a picture of rich.
BAD = "x\x1b]0;pwned\x07\x1b[2J \x9b31m \u202e\u2066\u200f \u2028 \x7f\nz"
NAMES = [BAD, ":smile:", "[bold]b[/bold]", "back\\"]


def controls(text: str) -> set[str]:
    return {hex(ord(c)) for c in text if (not c.isprintable() and c not in "\n ") or c == "\t"}


@pytest.fixture
def foreign(run: Any) -> Any:
    """A stranger's model and table, whose names and classes are of that kind."""
    rng = np.random.default_rng(0)
    rows = [[*rng.normal(size=3).round(2), rng.choice([f"-{BAD}", "-"]), rng.choice([BAD, "B"])] for _ in range(80)]
    with open("t.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([[*NAMES, "y"], *rows])
    assert run("train", "t.csv", "-t", "y", *QUICK, "--quiet") == (0, "", "")
    return run


@pytest.mark.parametrize("command", [
    "inspect model.cnn", "evaluate model.cnn t.csv --importance", "train t.csv -t y --epochs 1 --members 1",
    "inspect model.cnn --json", "evaluate model.cnn t.csv --importance --json", "predict model.cnn none.csv",
    "train t.csv -t nothing", "predict model.cnn bad.csv", "train t.csv -t :smile: --epochs 1 --members 1",
])  # fmt: skip
def test_names_do_not_control_the_terminal(foreign: Any, command: str) -> None:
    pd.DataFrame({BAD: ["wrong " + BAD], ":smile:": [1], "[bold]b[/bold]": [1], "back\\": ["-"]}).to_csv(
        "bad.csv", index=False
    )
    done = foreign(*command.split())
    assert not controls(done.out + done.err)
    assert (done.code == 0) == (command.split()[-1] not in ("none.csv", "nothing", "bad.csv"))
    if "--json" not in command and done.code == 0:
        shown = (" " + done.out).replace("\n", "")
        for name in (":smile:", "[bold]b[/bold]", "back\\ ", "x\\x1b]0;pwned\\x07\\x1b[2J"):
            assert name.strip() in shown
        assert "back\\\\" not in shown


def test_json_gives_names_back(foreign: Any) -> None:
    assert set(json.loads(foreign("inspect", "model.cnn", "--json").out)["columns"]) == set(NAMES)


def test_cells_on_a_terminal_are_made_visible(foreign: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a file or a pipe they are as they are."""
    assert BAD.splitlines()[0] in foreign("predict", "model.cnn", "t.csv").out
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True)
    done = foreign("predict", "model.cnn", "t.csv")
    assert done.code == 0
    assert not controls(done.out)
    assert len(done.out.splitlines()) == 81


@pytest.mark.filterwarnings("default")
def test_quiet_prints_no_warning(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import warnings

    fit = cnn.TableModel.fit

    def warning(model: Any, *arguments: Any, **how: Any) -> Any:
        warnings.warn("the \x1b[31mlibrary's\x1b[0m", UserWarning, stacklevel=1)
        return fit(model, *arguments, **how)

    monkeypatch.setattr(cnn.TableModel, "fit", warning)
    pd.DataFrame({"x": np.arange(40) % 9, "y": np.arange(40) % 7 + 0.5}).to_csv("t.csv", index=False)
    assert run("train", "t.csv", "-t", "y", *QUICK, "--quiet") == (0, "", "")
    done = run("train", "t.csv", "-t", "y", *QUICK, "--json")
    assert done.err == "cnn: warning: the \\x1b[31mlibrary's\\x1b[0m\n"


@pytest.mark.parametrize(("width", "words"), [
    (160, ["epoch 19/37", "loss 0.0290", "held-out 0.0271", "rows/s", "left"]),
    (80, ["epoch 19/37", "held-out 0.0271", "left"]), (50, ["epoch 19/37", "held-out 0.0271"]), (34, ["epoch 19/37"]),
])  # fmt: skip
def test_progress_shows_a_bar_and_whole_words(width: int, words: list[str]) -> None:
    shown = io.StringIO()
    live = Live(Console(file=shown, force_terminal=True, width=width, legacy_windows=False), 4, 37)
    net: Any = None
    live.on_fit_begin(net, Run(0, 37, 38700, 151, ("loss", "val_loss")))
    live._last = {"loss": 0.029, "val_loss": 0.0271}
    live._drawn, live._seen = 0, {id(net): 18}
    live.on_progress(net, 18, 38700)
    line = shown.getvalue()
    live.close()
    assert any(c in line for c in "━╸╺-")
    assert "…" not in line
    for word in ("network 1/4", *words):
        assert word in line


def test_progress_counts_no_epoch_beyond_the_last() -> None:
    shown, net = io.StringIO(), cnn.Network([cnn.Dense(1)], seed=0)
    live = Live(Console(file=shown, force_terminal=True, width=140), 1, 3)
    live.on_fit_begin(net, Run(0, 3, 20, 1, ("loss",)))
    for epoch in range(3):
        live._drawn = 0.0
        live.on_progress(net, epoch, 20)
        live._drawn = 0.0
        live.on_epoch_end(net, epoch, {"loss": 1.0})
    live.close()
    assert "epoch 3/3" in shown.getvalue()
    assert "epoch 4/3" not in shown.getvalue()


def test_counts() -> None:
    assert [counted(n, "network") for n in (0, 1, 2)] == ["0 networks", "1 network", "2 networks"]


def test_one_network_in_the_page(run: Any) -> None:
    pytest.importorskip("matplotlib")
    pd.DataFrame({"x": np.arange(40) % 9, "y": np.arange(40) % 7 + 0.5}).to_csv("t.csv", index=False)
    done = run("train", "t.csv", "-t", "y", *QUICK, "--report", "report")
    assert "1 network, 2 epochs" in done.out
    assert "The loss of 1 network by epoch" in Path("report/report.html").read_text(encoding="utf-8")
