"""The progress bar of a fit: a short one leaves the line that tqdm's would have left, without making one."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import tqdm.auto

import cnn
from cnn._common import progress_bar


class Terminal(io.StringIO):
    """A stream of that encoding whose letters stand in a terminal of 80 columns."""

    def __init__(self, encoding: str, columns: int) -> None:
        super().__init__()
        self.name, self.columns = encoding, columns

    encoding = property(lambda self: self.name)

    def fileno(self) -> int:
        if self.columns:
            return self.columns
        raise io.UnsupportedOperation("fileno")


def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the bar and tqdm see from now on, in a list: it goes on when it is set."""
    now = [5.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    monkeypatch.setattr(tqdm.std, "time", lambda: now[0])
    return now


def last_line(screen: io.StringIO) -> str:
    assert screen.getvalue().endswith("\n")
    return screen.getvalue()[:-1].rpartition("\r")[2].rstrip()


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("columns", [0, 50, 80])
@pytest.mark.parametrize("rows", [0, 7, 1200])
def test_a_short_fit_leaves_the_line_of_a_bar(monkeypatch, encoding: str, columns: int, rows: int) -> None:
    monkeypatch.setattr(os, "get_terminal_size", lambda number: os.terminal_size((number, 24)))
    now = clock(monkeypatch)
    screens = [Terminal(encoding, columns) for _ in range(2)]
    with tqdm.auto.tqdm(
        total=1200, unit="row", unit_scale=True, dynamic_ncols=True, file=screens[0], desc="epoch 3/3"
    ) as theirs:
        theirs.set_postfix({"loss": "0.5", "val_loss": "1e-07"}, refresh=False)
        theirs.update(rows)
        now[0] += 0.05
    bar = progress_bar.Bar(1200, screens[1])
    now[0] += 0.05
    assert not bar.add(rows)
    assert screens[1].getvalue() == ""
    bar.close("epoch 3/3", {"loss": 0.5, "val_loss": 1e-7})
    assert last_line(screens[1]) == last_line(screens[0])
    assert screens[1].getvalue().count("\r") == 1


def test_a_bar_is_drawn_once_a_fit_lasts(monkeypatch) -> None:
    now = clock(monkeypatch)
    bar = progress_bar.Bar(1000, screen := io.StringIO())
    assert not bar.add(100)
    now[0] += 1
    assert bar.add(100)
    bar.draw("epoch 1/5", {})
    assert "epoch 1/5:  20%" in screen.getvalue()
    assert "00:01<00:03, 200row/s" in screen.getvalue()  # from the beginning of the fit on
    now[0] += 1
    bar.add(800)
    bar.close("epoch 5/5", {"loss": 0.25})
    assert "epoch 5/5: 100%" in last_line(screen)
    assert "1.00k/1.00k [00:02<00:00, 500row/s, loss=0.25]" in last_line(screen)


def test_a_fit_whose_first_step_is_long_shows_its_bar_at_once(capsys) -> None:
    net = cnn.Network([cnn.Dense(1000), cnn.Dense(1)], seed=0).build(1000)
    progress = cnn.callbacks.Progress()
    for rows, begun in ((10, ""), (1000, "epoch 1/9:   0%")):
        progress.on_fit_begin(net, cnn.callbacks.Run(0, 9, rows, 1, ("loss",)))
        assert begun in (shown := capsys.readouterr().err)
        assert bool(begun) == bool(shown)
        progress.on_fit_end(net)
        assert capsys.readouterr().err.endswith("\n")


def test_within_another_bar_a_short_fit_has_a_place_of_its_own(capsys) -> None:
    X, y = np.ones((100, 4)), np.ones(100)
    with tqdm.auto.tqdm(total=1, desc="outer") as outer:
        cnn.Network([cnn.Dense(1)], seed=0).fit(X, y, epochs=2, verbose=1)
        outer.update()
    text = capsys.readouterr().err
    assert "epoch 2/2: 100%" in text
    assert text.rstrip().rpartition("\r")[2].startswith("outer: 100%")
    assert "\x1b[A" in text  # the bar went below the outer one, and the cursor back


@pytest.mark.parametrize(("name", "value", "shown"), [
    ("TQDM_DISABLE", "1", ""), ("TQDM_ASCII", " x", "xxx"), ("TQDM_COLOUR", "green", "\x1b[32m"), ("", "", "100%")
])  # fmt: skip
def test_a_short_fit_obeys_the_settings_of_tqdm(name: str, value: str, shown: str) -> None:
    program = """
        import cnn, numpy as np
        cnn.Network([cnn.Dense(1)], seed=0).fit(np.ones((8, 1)), np.ones(8), epochs=2, verbose=1)
    """
    environment = dict(os.environ, **({name: value} if name else {}), PYTHONIOENCODING="utf-8")
    done = subprocess.run([sys.executable, "-P", "-c", textwrap.dedent(program)], capture_output=True, text=True,
                          encoding="utf-8", env=environment, check=True)  # fmt: skip
    assert shown in done.stderr
    assert bool(shown) == bool(done.stderr)


def test_where_bars_are_widgets_a_short_fit_makes_one(monkeypatch, capsys) -> None:
    class Widget(tqdm.auto.tqdm):
        def display(self, *arguments: object, **options: object) -> bool:
            made.append(self.n)
            return True

    made: list[float] = []
    monkeypatch.setattr(tqdm.auto, "tqdm", Widget)
    progress_bar._text_style.cache_clear()
    try:
        X, y = np.ones((100, 4)), np.ones(100)
        cnn.Network([cnn.Dense(1)], seed=0).fit(X, y, epochs=2, verbose=1)
    finally:
        progress_bar._text_style.cache_clear()
    assert made[-1] == 200
    assert "epoch" not in capsys.readouterr().err
