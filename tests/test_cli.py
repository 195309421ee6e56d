"""The command: what it reads and writes, its exit codes, and one line for whatever the user can mend."""

from __future__ import annotations

import csv
import gc
import gzip
import html.parser
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import cnn

pd = pytest.importorskip("pandas")
pytest.importorskip("typer")
pytest.importorskip("rich")

from helpers import QUICK, table  # noqa: E402

from cnn.cli import read, read_arrow, read_csv, shown  # noqa: E402 (the extra may be missing)
from cnn.cli.source import Reading, source  # noqa: E402
from cnn.table import frames  # noqa: E402


def test_train_evaluate_inspect(run: Any, trained: Path) -> None:
    model = cnn.load(trained)
    done = run("evaluate", "model.cnn", "t.csv", "--json", "--importance")
    found = json.loads(done.out)
    assert found["scores"] == pytest.approx(model.evaluate(pd.read_csv("t.csv")))
    assert set(found["importance"]) == {"x", "c", "k"}
    shown = run("inspect", "model.cnn")
    assert (shown.code, shown.err) == (0, "")
    for word in ("regression", "x", "category", "held out"):
        assert word in shown.out
    assert json.loads(run("inspect", "model.cnn", "--json").out)["columns"] == model.columns


def test_seed_decides_and_threads_do_not(run: Any, trained: Path) -> None:
    first = cnn.load(trained).predict(table())
    run("train", "t.csv", "-t", "y", *QUICK, "--threads", "2", "--out", "b.cnn", "--quiet")
    run("train", "t.csv", "-t", "y", *QUICK, "--seed", "1", "--out", "c.cnn", "--quiet")
    assert np.array_equal(cnn.load("b.cnn").predict(table()), first)
    assert not np.array_equal(cnn.load("c.cnn").predict(table()), first)


def test_predictions_stand_beside_the_cells_as_they_were(run: Any, trained: Path) -> None:
    Path("new.csv").write_text("k,note,c,x\nno,007,red,1.50\nno,@home,green,\n")
    done = run("predict", "model.cnn", "new.csv", "-o", "out.csv")
    assert done.code == 0
    lines = Path("out.csv").read_text().splitlines()
    assert lines[0] == "k,note,c,x,predicted_y"
    assert lines[1].startswith("no,007,red,1.50,")
    assert lines[2].startswith("no,'@home,green,,")
    expected = cnn.load(trained).predict(pd.DataFrame({"k": ["no"] * 2, "c": ["red", "green"], "x": [1.5, np.nan]}))
    assert [float(line.split(",")[-1]) for line in lines[1:]] == pytest.approx(expected.tolist())
    alone = run("predict", "model.cnn", "new.csv", "--only-predictions")
    assert alone.out.splitlines() == [line.split(",")[-1] for line in lines]


def test_classes_never_become_formulas(run: Any) -> None:
    table().to_csv("t.csv", index=False)
    run("train", "t.csv", "-t", "k", *QUICK)
    assert list(cnn.load("model.cnn").classes) == ["=1+1", "no"]
    done = run("predict", "model.cnn", "t.csv", "--probabilities", "--only-predictions")
    header, *rows = done.out.splitlines()
    assert header == "predicted_k,probability_=1+1,probability_no"
    assert {row.split(",")[0] for row in rows} <= {"'=1+1", "no"}
    assert all(sum(map(float, row.split(",")[1:])) == pytest.approx(1) for row in rows)


@pytest.mark.parametrize(("cell", "written"), [
    ("=1", "'=1"), ("+1", "+1"), ("-1e-3", "-1e-3"), ("-a", "'-a"), ("@x", "'@x"), ("\t=1", "'\t=1"), (" =1", "' =1"),
    ("+1+1", "'+1+1"), ("a=1", "a=1"), ("", ""), ("\r=x", "'\r=x"),
    ("\ufeff=1", "'\ufeff=1"), ("\u200b@x", "'\u200b@x"), ("\x00=1", "'\x00=1"), ("\u00a0-a", "'\u00a0-a"),
    ("\uff1d1", "'\uff1d1"), ("\uff0b1+1", "'\uff0b1+1"), ("\uff0dA1", "'\uff0dA1"), ("\uff20x", "'\uff20x"),
    ("\u202e=1", "'\u202e=1"), ("\u2212A1", "'\u2212A1"), ("-3,14", "-3,14"), ("-1.234,5", "-1.234,5"),
    ("+5 %", "+5 %"), ("-", "-"), ("-nan", "'-nan"), ("-1,A1", "'-1,A1"), ("\u2126", "\u2126"), ("日本", "日本"),
])  # fmt: skip
def test_safe_cells(cell: str, written: str) -> None:
    assert shown.safe(cell) == written


def test_pieces_are_one_table(run: Any, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run("predict", "model.cnn", "t.csv").out
    monkeypatch.setattr("cnn.cli.read_csv.PIECE", 7)
    assert run("predict", "model.cnn", "t.csv").out == whole
    Path("bad.csv").write_text("x,c,k\n" + "1,red,no\n" * 20 + "oops,red,no\n")
    assert "'oops' at row 20" in run("predict", "model.cnn", "bad.csv").err


@pytest.mark.parametrize(
    "name", ["t.tsv", "t.csv.gz", "t.csv.bz2", "t.parquet", "t.feather", "t.npz", "semi.csv", "utf16.csv", "bom.csv"]
)
def test_formats(run: Any, trained: Path, name: str) -> None:
    frame = table()
    if name.endswith((".parquet", ".feather")):
        pytest.importorskip("pyarrow")
    writers = {
        "t.tsv": lambda: frame.to_csv(name, sep="\t", index=False), "t.csv.gz": lambda: frame.to_csv(name, index=False),
        "t.csv.bz2": lambda: frame.to_csv(name, index=False),
        "t.parquet": lambda: frame.to_parquet(name), "t.feather": lambda: frame.to_feather(name),
        "t.npz": lambda: np.savez(name, **{c: frame[c].to_numpy(str if frame[c].dtype.kind == "O" else None)
                                           for c in frame}),
        "semi.csv": lambda: frame.to_csv(name, sep=";", index=False),
        "utf16.csv": lambda: frame.to_csv(name, index=False, encoding="utf-16"),
        "bom.csv": lambda: frame.to_csv(name, index=False, encoding="utf-8-sig"),
    }  # fmt: skip
    writers[name]()
    expected = json.loads(run("evaluate", "model.cnn", "t.csv", "--json").out)
    done = run("evaluate", "model.cnn", name, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["scores"] == pytest.approx(expected["scores"])
    assert run("predict", "model.cnn", name, "--only-predictions").out == run(
        "predict", "model.cnn", "t.csv", "--only-predictions").out  # fmt: skip


def test_standard_input_and_output(run: Any, trained: Path) -> None:
    content = Path("t.csv").read_bytes()
    assert run("predict", "model.cnn", "-", stdin=content).out == run("predict", "model.cnn", "t.csv").out
    zipped = run("train", "-", "-t", "y", *QUICK, "--out", "z.cnn", stdin=gzip.compress(content))
    assert zipped.code == 0
    assert np.array_equal(cnn.load("z.cnn").predict(table()), cnn.load(trained).predict(table()))


def test_types_are_those_of_the_whole_table(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("t.csv").write_text("n,w,b,y\n" + "1,007,True,01\n" * 9 + "2.5,a,,02\n")
    found = []
    for rows in (4, 9, 100):
        monkeypatch.setattr(read_csv, "_PARSED", rows)
        with source(Reading("t.csv")) as file:
            found.append(read.table(file, {"y"}))
    pd.testing.assert_frame_equal(found[0], found[1])
    pd.testing.assert_frame_equal(found[0], found[2])
    assert found[0]["w"].tolist() == ["007"] * 9 + ["a"]
    assert found[0]["n"].tolist() == [1.0] * 9 + [2.5]
    assert found[0]["y"].tolist() == ["01"] * 9 + ["02"]
    assert found[0]["b"].isna().tolist() == [False] * 9 + [True]


CELLS = st.one_of(
    st.floats().map(str), st.integers(-(2**70), 2**70).map(str), st.sampled_from(
        ["", "NA", "?", "1_0", "0x10", " 5 ", "5.", ".5", "1E+5", "1d5", "٣", "1,5", "inf", "nan", " ", "007", "5%",
         "True", "true", "FALSE", "18446744073709551616", "1e400", "-0", "2020-01-01", 'a"b', "a\rb", "a\nb", "\ufeff"]
    ),
)  # fmt: skip


@example([("18446744073709551616", "0.0"), ("0.0", "0.0"), ("", "0.0")], 3)
@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=12), st.integers(1, 12))
def test_numbers_are_those_that_the_model_reads_in_the_text(rows: list[tuple[str, str]], piece: int) -> None:
    """A column that is numbers in the whole table is what the model makes of its texts; else the texts are there."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_csv, "_PARSED", piece)
        patch.setattr(read_csv, "PIECE", piece)
        path = Path(folder, "t.csv")
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("a", "y"), *rows])
        with source(Reading(str(path))) as file:
            whole = read.table(file, {"y"})
            cells = pd.concat([part.cells() for part in read.pieces(file)], ignore_index=True)
    for name in ("a", "y"):
        if name == "a" and whole[name].dtype.kind in "iuf":
            values, bad = frames.as_numbers(cells[name])
            assert not bad.any()
            assert np.allclose(whole[name].to_numpy(float), values, rtol=1e-15, atol=0, equal_nan=True)
            assert np.array_equal(np.isnan(values), cells[name].isna())
        else:
            assert whole[name].astype(object).where(whole[name].notna(), None).tolist() == cells[name].tolist()


@pytest.mark.filterwarnings("ignore:Feather V1:DeprecationWarning")
@pytest.mark.parametrize("options", [{"version": 1}, {"compression": "zstd", "chunksize": 7}, {"chunksize": 50}])
def test_feather_is_read_in_pieces(run: Any, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    feather = pytest.importorskip("pyarrow.feather")
    monkeypatch.setattr(read_arrow, "PIECE", 20)
    frame = table(100)
    feather.write_feather(frame, "t.feather", **options)
    with source(Reading("t.feather")) as file:
        parts = [piece.cells() for piece in read.pieces(file)]
    assert max(map(len, parts)) <= 20
    assert pd.concat(parts, ignore_index=True).equals(frame)


@pytest.mark.parametrize("name", ["p.tsv", "p.csv.gz", "p.parquet"])
def test_written_formats(run: Any, trained: Path, name: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    assert run("predict", "model.cnn", "t.csv", "-o", name, "--only-predictions").code == 0
    readers = {"p.tsv": lambda: pd.read_csv(name, sep="\t"), "p.csv.gz": lambda: pd.read_csv(name),
               "p.parquet": lambda: pd.read_parquet(name)}  # fmt: skip
    expected = cnn.load(trained).predict(table())
    assert np.allclose(readers[name]()["predicted_y"], expected)


class Page(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("target", ["y", "<script>alert(1)</script>$"])
def test_report_is_one_page_without_foreign_code(run: Any, target: str) -> None:
    pytest.importorskip("matplotlib")
    frame = table().rename(columns={"c": "<img src=http://x>", "k": "<script>alert(1)</script>$"})
    frame.to_csv("t.csv", index=False)
    done = run("train", "t.csv", "-t", target, *QUICK, "--report", "report")
    assert done.code == 0, done.err
    page = Page()
    page.feed(Path("report/report.html").read_text())
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "iframe", "link"})
    pictures = [attributes["src"] or "" for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == (4 if target == "y" else 5)
    assert all(source.startswith("data:image/png;base64,") for source in pictures)
    for word in ("<img src=http://x>", "Scores", "Settings", "Versions", "learning rate", cnn.__version__):
        assert word in page.text


def test_quiet_prints_nothing_and_json_one_object(run: Any) -> None:
    table().to_csv("t.csv", index=False)
    assert run("train", "t.csv", "-t", "y", *QUICK, "--quiet") == (0, "", "")
    done = run("train", "t.csv", "-t", "y", *QUICK, "--json")
    assert json.loads(done.out)["written"] == ["model.cnn"]
    assert done.err == ""


def test_the_table_is_let_go_before_the_training(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes as much memory as the networks' inputs; only the page needs it again."""
    table().to_csv("t.csv", index=False)
    kept: list[Any] = []
    fit, whole = cnn.Network.fit, read.table

    def reading(*arguments: Any) -> Any:
        found = whole(*arguments)
        kept.append(weakref.ref(found))
        return found

    def fitting(net: cnn.Network, *arguments: Any, **options: Any) -> Any:
        gc.collect()
        kept.append(kept[-1]())
        return fit(net, *arguments, **options)

    monkeypatch.setattr(read, "table", reading)
    monkeypatch.setattr(cnn.Network, "fit", fitting)
    assert run("train", "t.csv", "-t", "y", *QUICK).code == 0
    assert kept[1:] == [None]


def test_live_progress_shows_both_losses() -> None:
    from rich.console import Console

    from cnn.cli.screen import Live

    shown = io.StringIO()
    live = Live(Console(file=shown, force_terminal=True, width=140), 2, 3)
    live._drawn = -1.0
    net = cnn.Network([cnn.Dense(1)], seed=0)
    X = np.ones((20, 2))
    for _ in range(2):
        live._drawn = 0.0
        net.fit(X, X[:, 0], epochs=3, validation_split=0.5, verbose=0, callbacks=[live])
    live.close()
    for word in ("network 1/2", "network 2/2", "loss", "held-out", "rows/s", "left"):
        assert word in shown.getvalue()


def test_bench_and_demo(run: Any) -> None:
    bench = json.loads(run("bench", "--seconds", "0.01", "--json").out)
    assert all(s["steps"] > 0 and s["gflops"] > 0 and set(s["microseconds_by"]) == {"own", "blas"}
               for s in bench["networks"])  # fmt: skip
    assert bench["products"] in ("own", "blas")
    pytest.importorskip("matplotlib")
    done = run("demo", "--epochs", "2", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["test"]["rmse"] < 80_000
    pictures = ["learning_curves.png", "predicted_against_true.png"]
    assert sorted(os.listdir("out")) == ["california_housing.cnn", *pictures[:1], "predicted.csv", *pictures[1:],
                                         "report.html"]  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_ends_with_130_and_writes_nothing(tmp_path: Path) -> None:
    table(5000).to_csv(tmp_path / "t.csv", index=False)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-P", "-m", "cnn.cli", "train", "t.csv", "-t", "y", "--epochs", "100000",
               "--patience", "100000"]  # fmt: skip
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(3)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said == "cnn: interrupted; nothing was written\n"
    assert os.listdir(tmp_path) == ["t.csv"]


def test_without_the_extra_it_says_which(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import cnn.cli

    monkeypatch.setitem(sys.modules, "typer", None)
    with pytest.raises(SystemExit) as stopped:
        cnn.cli.main()
    assert stopped.value.code == 2
    assert "needs typer (extra 'cli'): pip install typer rich pandas" in capsys.readouterr().err


PAGE = Path(__file__).resolve().parents[1] / "docs" / "command-line.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the docs are not beside the tests")
def test_the_page_runs(run: Any) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("optuna")
    text = PAGE.read_text(encoding="utf-8")
    pytest.importorskip("PIL")
    exec("".join(block.split("```")[0] for block in text.split("```python\n")[1:]), {})
    commands = [line for block in text.split("```sh\n")[1:] for line in block.split("```")[0].splitlines()]
    assert {line.split()[1] for line in commands} == {
        "train", "tune", "predict", "explain", "evaluate", "inspect", "export", "bench", "demo",
    }  # fmt: skip
    for command in commands:
        quick = [*QUICK] if command.startswith("cnn train") and "pictures" not in command else []
        done = run(*command.split()[1:], *quick)
        assert (done.code, done.err) == (0, ""), command
