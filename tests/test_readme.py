"""The README's Python blocks run as they stand, one after another, in one program."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"
FENCE = re.compile(r"^```python\n(.*?)^```", re.M | re.S)


def test_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = README.read_text(encoding="utf-8")
    blocks = [(text.count("\n", 0, match.start(1)), match[1]) for match in FENCE.finditer(text)]
    assert blocks, "the README shows no Python"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    names: dict[str, Any] = {"__name__": "__main__"}
    for line, block in blocks:
        if ">>>" in block:
            run_session(block, names, line)
        else:  # the newlines keep the README's line numbers in a traceback
            exec(compile("\n" * line + block, str(README), "exec"), names)


def run_session(block: str, names: dict[str, Any], line: int) -> None:
    session = doctest.DocTestParser().get_doctest(block, names, "README", str(README), line)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    report: list[str] = []
    runner.run(session, out=report.append, clear_globs=False)
    names.update(session.globs)
    assert runner.failures == 0, "".join(report)
