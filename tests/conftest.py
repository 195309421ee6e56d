"""Says at the top of a run which build is tested; the command, for the tests of it."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import pytest
from helpers import QUICK, table

import cnn_core

collect_ignore = ["typed"]  # for type checkers alone
hypothesis.settings.register_profile("cnn", deadline=None)  # no test measures time
hypothesis.settings.load_profile("cnn")


def pytest_report_header() -> str:
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    return f"cnn_core: {os.path.dirname(cnn_core.__file__)}, instruction set {cnn_core.isa}, OMP_NUM_THREADS {threads}"


@pytest.fixture(autouse=True)
def signals_act() -> Iterator[None]:
    """Ctrl-C and its kin end a test's programs, where this run was told to ignore them.

    `nohup` and scripts start what runs in the background so, and a child inherits it.
    """
    usual = {"SIGINT": signal.default_int_handler, "SIGTERM": signal.SIG_DFL, "SIGHUP": signal.SIG_DFL}
    signals = {getattr(signal, name): action for name, action in usual.items() if hasattr(signal, name)}
    ignored = [number for number in signals if signal.getsignal(number) == signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signals[number])
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The command in this process, in an empty folder."""
    from cnn.cli import app

    monkeypatch.chdir(tmp_path)

    def call(*arguments: object, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "argv", ["cnn", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as stopped:
            app.run()
        said = capsys.readouterr()
        return Done(int(stopped.value.code or 0), said.out, said.err)

    return call


@pytest.fixture
def trained(run: Any, tmp_path: Path) -> Path:
    table().to_csv("t.csv", index=False)
    done = run("train", "t.csv", "-t", "y", *QUICK)
    assert done.code == 0, done.err
    return tmp_path / "model.cnn"
