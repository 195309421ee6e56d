"""The command on what can't be: one line that says what and where, exit code 2, nothing half-written."""

from __future__ import annotations

import bz2
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import QUICK

pd = pytest.importorskip("pandas")
pytest.importorskip("typer")
pytest.importorskip("rich")


GOOD = "x,y\n" + "".join(f"{i * i},{i % 7}.5\n" for i in range(30))
BAD = {
    "missing target": (GOOD.replace("y", "z", 1), "t.csv has no column 'y'; it has 'x', 'z'"),
    "constant target": ("x,y\n" + "".join(f"{i * i},3\n" for i in range(30)), "3 in every row"),
    "no values": ("x,y\n" + "".join(f",{i}.5\n" for i in range(30)), "no values"),
    "same name": ("x,x,y\n1,2,3\n", "'x': 1 and 2"),
    "no name": ("x,,y\n1,2,3\n", "no name for column 2"),
    "ragged": (GOOD + "1,2,3\n", "line 32: 3 cells, but the header has 2"),
    "short row": (GOOD + "1\n", "line 32: 1 cells"),
    "header only": ("x,y\n", "a header but no rows"),
    "empty": ("", "is empty"),
    "open quote": (GOOD + '"1,2\n', "line"),
    "text in target": (GOOD + "1,oops\n", "'oops' at row 30"),
    "few rows": ("x,y\n1,2.5\n3,4.5\n", "at least 10"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_tables(run: Any, what: str, tmp_path: Path) -> None:
    content, said = BAD[what]
    Path("t.csv").write_text(content)
    done = run("train", "t.csv", "-t", "y", *QUICK, "--task", "regression")
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert done.err.startswith("cnn: ")
    assert done.err.count("\n") == 1
    assert os.listdir(tmp_path) == ["t.csv"]


def test_many_different_texts(run: Any) -> None:
    rows = "".join(f"user {i},{i % 9},{i % 7}.5\n" for i in range(2000))
    Path("t.csv").write_text("who,x,y\n" + rows)
    done = run("train", "t.csv", "-t", "y", *QUICK)
    assert done.code == 0
    assert "left out 'who'" in done.out


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("line", [1, 2, 32, 5000])
def test_wrong_encoding_says_where(run: Any, line: int, end: str) -> None:
    """A file is decoded some thousand bytes at a time; the line is that of the byte all the same."""
    lines = ["x,y"] + [f"{i * i},{i % 7}.5" for i in range(6000)]
    lines[line - 1] = "Zürich,1.5"
    Path("t.csv").write_bytes(end.join(lines).encode("latin-1"))
    done = run("train", "t.csv", "-t", "y", *QUICK)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"cnn: t.csv, line {line}: not utf-8 (byte 0xfc); give --encoding, such as cp1252 (of Windows)\n"


def test_encodings(run: Any) -> None:
    Path("t.csv").write_bytes(GOOD.encode() + "Zürich,1.5\n".encode("latin-1"))
    assert run("train", "t.csv", "-t", "y", *QUICK, "--encoding", "latin-1", "--task", "regression").code == 0
    assert "not known" in run("train", "t.csv", "-t", "y", "--encoding", "klingon").err
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):  # known by their marks
        Path("t.csv").write_bytes(GOOD.encode(encoding))
        assert run("train", "t.csv", "-t", "y", *QUICK, "--quiet") == (0, "", "")
    Path("t.csv").write_bytes(GOOD.encode("utf-16-le"))
    done = run("train", "t.csv", "-t", "y", *QUICK)
    assert (done.code, done.err) == (2, "cnn: t.csv, line 1: zero bytes; give --encoding, such as utf-16-le\n")
    assert run("train", "t.csv", "-t", "y", *QUICK, "--quiet", "--encoding", "utf-16-le").code == 0


def test_without_arguments_it_shows_the_help(run: Any) -> None:
    done = run()
    assert (done.code, done.out) == (2, "")
    assert "\nCommands:\n  train     Train a model on a table, or on a folder of pictures.\n" in done.err


def test_complex_numbers(run: Any) -> None:
    np.savez("t.npz", x=np.arange(50) * 1j, y=np.arange(50) / 2)
    said = "cnn: no column beside 'y' has anything to learn from ('x': it holds complex numbers)\n"
    assert run("train", "t.npz", "-t", "y", *QUICK) == (2, "", said)


def command(arguments: str) -> subprocess.CompletedProcess[bytes]:
    """The command in a shell, for what is odd about its input and output."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONIOENCODING": "ascii"}
    return subprocess.run(f"{shlex.quote(sys.executable)} -P -m cnn.cli {arguments}", shell=True, env=environment,
                          capture_output=True, check=False, timeout=120)  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="a shell, and a device that is full")
def test_odd_input_and_output(run: Any, trained: Path) -> None:
    Path("t.csv").write_text("x,c,k\n1,Zürich 日本,no\n", encoding="utf-8")
    done = command("predict model.cnn t.csv")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode("utf-8").startswith("x,c,k,predicted_y\n1,Zürich 日本,no,")
    for arguments, said in [
        ("predict model.cnn - <&-", b"cnn: standard input is closed\n"),
        ("predict model.cnn - </dev/null", b"cnn: standard input is empty\n"),
        ("predict model.cnn t.csv >&-", b"cnn: standard output is closed\n"),
        ("inspect model.cnn >/dev/full", b"cnn: standard input or output: No space left on device\n"),
    ]:
        done = command(arguments)
        assert (done.returncode, done.stderr) == (2, said)


@pytest.mark.parametrize(("arguments", "said"), [
    (["train", "t.csv", "-t", "y", "--hidden", "a,b"], "--hidden"),
    (["train", "t.csv", "-t", "y", "--hidden", "0"], "hidden"),
    (["train", "t.csv", "-t", "y", "--activation", "rellu"], "relu"),
    (["train", "t.csv", "-t", "y", "--valid", "1.5"], "valid"),
    (["train", "t.csv", "-t", "y", "--epochs", "x"], "--epochs"),
    (["train", "t.csv"], "--target"),
    (["train", "t.csv", "-t", "y", "--out", "none/m.cnn"], "no folder none"),
    (["train", "t.csv", "-t", "y", "--out", "."], "folder"),
    (["train", "nowhere.csv", "-t", "y"], "nowhere.csv: No such file"),
    (["train", "t.doc", "-t", "y"], "--format"),
    (["train", ".", "-t", "y"], "folder"),
    (["predict", "t.csv", "t.csv"], "t.csv"),
    (["predict", "nowhere.cnn", "t.csv"], "nowhere.cnn"),
    (["export", "t.csv"], "--onnx FILE or --c FOLDER"),
    (["sing"], "sing"),
])  # fmt: skip
def test_bad_arguments(run: Any, arguments: list[str], said: str, tmp_path: Path) -> None:
    Path("t.csv").write_text(GOOD)
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert done.err.count("\n") == 1
    assert os.listdir(tmp_path) == ["t.csv"]


TRAIN = ["train", "t.csv", "-t", "y"]
PLACES = [
    ([*TRAIN, "--out", "folder"], "--out folder: that is a folder; give the name of a file"),
    ([*TRAIN, "--out", "none/m.cnn"], "--out none/m.cnn: there is no folder none"),
    ([*TRAIN, "--out", "file/m.cnn"], "--out file/m.cnn: file is a file, not a folder"),
    ([*TRAIN, "--out", "away.cnn"], "--out away.cnn: there is no folder {here}/none"),
    ([*TRAIN, "--out", "t.csv"], "--out t.csv: that is the table itself"),
    ([*TRAIN, "--report", "file"], "--report file: that is a file, not a folder"),
    ([*TRAIN, "--report", "file/a/b"], "--report file/a/b: file is a file, not a folder"),
    ([*TRAIN, "--report", "none/r.html"], "--report none/r.html: there is no folder none"),
    ([*TRAIN, "--report", "taken"], "--report taken/report.html: that is a folder; give the name of a file"),
    (["predict", "m.cnn", "t.csv", "-o", "folder"], "--out folder: that is a folder; give the name of a file"),
    (["predict", "m.cnn", "t.csv", "-o", "none/p.csv"], "--out none/p.csv: there is no folder none"),
    (["export", "m.cnn", "--onnx", "folder"], "--onnx folder: that is a folder; give the name of a file"),
    (["export", "m.cnn", "--onnx", "none/m.onnx"], "--onnx none/m.onnx: there is no folder none"),
    (["export", "m.cnn", "--onnx", "-"], "--onnx must be a file: a graph is not text"),
    (["export", "m.cnn", "--onnx", "m.onnx", "--c", "file"], "--c file: that is a file, not a folder"),
    (["export", "m.cnn", "--c", "taken"], "--c taken/model.c: that is a folder; give the name of a file"),
    (["demo", "--out", "file"], "--out file: that is a file, not a folder"),
    (["demo", "--out", "file/out"], "--out file/out: file is a file, not a folder"),
]  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="links and separators of another kind")
@pytest.mark.parametrize(("arguments", "said"), PLACES, ids=[" ".join([a[0], *a[-2:]]) for a, _ in PLACES])
def test_places_that_can_not_be_written(run: Any, arguments: list[str], said: str, tmp_path: Path) -> None:
    """Said before the work is begun: the table can't be learnt, and the model is none."""
    pytest.importorskip("matplotlib")
    for name, content in (("t.csv", "x,y\n"), ("m.cnn", ""), ("file", "kept")):
        Path(name).write_text(content)
    for name in ("folder", "taken/report.html", "taken/model.c"):
        Path(name).mkdir(parents=True)
    Path("away.cnn").symlink_to("none/m.cnn")
    before = sorted(tmp_path.rglob("*"))
    done = run(*arguments)
    assert (done.code, done.out, done.err) == (2, "", f"cnn: {said.format(here=tmp_path.resolve())}\n")
    assert sorted(tmp_path.rglob("*")) == before
    assert Path("file").read_text() == "kept"


@pytest.mark.skipif(os.name == "nt", reason="permissions of another kind")
def test_folders_without_the_permission(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder, nobody_special(folder):
        monkeypatch.chdir(folder)
        Path("t.csv").write_text("x,y\n")
        Path("locked").mkdir(mode=0o500)
        for option, name in (("--out", "locked/m.cnn"), ("--report", "locked/report")):
            done = run(*TRAIN, option, name)
            assert (done.code, done.err) == (2, f"cnn: {option} {name}: the folder locked can't be written to\n")


@contextmanager
def nobody_special(folder: str) -> Iterator[None]:
    """Root may write everywhere, and so becomes the folder's new owner for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(folder, 65534, 65534)
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_bad_tables_leave_no_folders(run: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    Path("t.csv").write_text("x,y\n")
    assert run(*TRAIN, "--report", "report/of/it").code == 2
    assert os.listdir(tmp_path) == ["t.csv"]


@pytest.mark.parametrize("name", ["t.parquet", "t.feather", "t.npz", "t.csv.gz"])
def test_files_of_another_kind(run: Any, name: str) -> None:
    Path(name).write_bytes(b"\x1f\x8bnothing of the kind")
    done = run("train", name, "-t", "y")
    assert done.code == 2
    assert name in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("content", [b"BZhnothing of the kind", bz2.compress(b"x,y\n" + b"1,2\n" * 999)[:-9]])
def test_bzip2_that_is_broken(run: Any, content: bytes) -> None:
    Path("t.csv.bz2").write_bytes(content)
    done = run("train", "t.csv.bz2", "-t", "y")
    assert done.code == 2
    assert "t.csv.bz2 is not a whole bzip2 file: " in done.err
    assert done.err.count("\n") == 1


def test_npz_runs_no_code(run: Any) -> None:
    np.savez("t.npz", x=np.array([print], dtype=object), allow_pickle=True)
    done = run("train", "t.npz", "-t", "y")
    assert done.code == 2
    assert "t.npz" in done.err


def test_broken_off_predictions_leave_the_old_file(run: Any, trained: Path, tmp_path: Path) -> None:
    Path("out.csv").write_text("old")
    Path("bad.csv").write_text("x,c,k\n1,red,no\n1,red,no,extra\n")
    before = sorted(os.listdir(tmp_path))
    done = run("predict", "model.cnn", "bad.csv", "-o", "out.csv")
    assert (done.code, Path("out.csv").read_text()) == (2, "old")
    assert sorted(os.listdir(tmp_path)) == before


def test_near_names_of_columns(run: Any) -> None:
    Path("t.csv").write_text("Price,area\n" + "1,2\n" * 20)
    assert "no column 'pirce' (did you mean 'Price'?); it has" in run("train", "t.csv", "-t", "pirce").err
    assert "no column 'y'; it has" in run("train", "t.csv", "-t", "y").err


def test_columns_missing_at_prediction(run: Any, trained: Path) -> None:
    Path("new.csv").write_text("x,k\n1,no\n")
    assert "no column 'c'" in run("predict", "model.cnn", "new.csv").err
