"""The command on tables: every command reads a cell as the model does, and what comes out is what went in."""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cnn

pd = pytest.importorskip("pandas")
pytest.importorskip("typer")
pytest.importorskip("rich")

from helpers import QUICK  # noqa: E402

from cnn.cli import read_csv  # noqa: E402 (the extra may be missing)

TRAIN = ["train", "t.csv", "-t", "y", *QUICK, "--quiet"]
GOOD = "x,y\n" + "".join(f"{i * i % 23},{i % 7}.5\n" for i in range(40))


@pytest.fixture
def learnt(run: Any) -> Any:
    """Models of a number and of classes, from codes, truth values, dates and numbers with words among them."""
    rng = np.random.default_rng(0)
    n = 200
    table = pd.DataFrame({
        "x": rng.normal(size=n).round(3).astype(str), "code": rng.choice(["01", "02", "A1"], n),
        "flag": rng.choice(["TRUE", "false", "True"], n), "sold": rng.choice(["2020-01-05", "2021-03-04"], n),
    })  # fmt: skip
    table.loc[::9, "x"] = "unknown"
    table["y"] = rng.normal(size=n).round(3).astype(str)
    table["class"] = rng.choice(["01", "02", "A1"], n)
    table.drop(columns="class").to_csv("t.csv", index=False)
    assert run(*TRAIN, "--out", "y.cnn") == (0, "", "")
    table.drop(columns="y").rename(columns={"class": "y"}).to_csv("t.csv", index=False)
    assert run(*TRAIN, "--out", "class.cnn") == (0, "", "")
    return run


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["1.5", "7", "-2e1", " 3 ", "unknown", "NA", "", "1e400"]),
        st.sampled_from(["01", "1", "02", "A1", "new", "", "None", "TRUE"]),
        st.sampled_from(["TRUE", "false", "1", "0", "", "NA"]),
        st.sampled_from(["2020-01-05", "2021-03-04 10:00", "", "?"]),
        st.sampled_from(["0.5", "1", "-3", "", "NA"]), st.sampled_from(["01", "02", "A1", ""]),
    ), min_size=1, max_size=8,
)  # fmt: skip


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_evaluate_scores_what_predict_says(learnt: Any, suffix: str) -> None:
    """For any rows of any cells, the same in CSV, and in a Parquet file of texts."""
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    new = f"new.{suffix}"

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(ROWS)
    def check(rows: list[tuple[str, ...]]) -> None:
        table = pd.DataFrame(rows, columns=["x", "code", "flag", "sold", "y", "class"], dtype=object)
        for model in ("y", "class"):
            cells = table.drop(columns="y").rename(columns={"class": "y"}) if model == "class" else table
            cells.to_csv(new, index=False) if suffix == "csv" else cells.to_parquet(new, index=False)
            done = learnt("predict", f"{model}.cnn", new, "--probabilities" if model == "class" else "--json",
                          "--out", "p.csv")  # fmt: skip
            assert done.code == 0, done.err
            found = pd.read_csv("p.csv", dtype=str, keep_default_na=False)
            known = ~found["y"].isin(["", "NA"])
            done = learnt("evaluate", f"{model}.cnn", new, "--json")
            if not known.any():
                assert "no row has a value of the target 'y'" in done.err
                continue
            assert done.code == 0, done.err
            scores = json.loads(done.out)["scores"]
            true, predicted = found["y"][known], found["predicted_y"][known]
            if model == "y":
                expected = np.sqrt(((true.astype(float) - predicted.astype(float)) ** 2).mean())
                assert scores["rmse"] == pytest.approx(expected, rel=1e-6)
            else:
                assert scores["accuracy"] == pytest.approx((true == predicted).mean())

    check()


def test_words_in_files_with_types_are_words(run: Any) -> None:
    """None is missing in a CSV file; in Parquet and npz, which can say missing, it is the text: on both sides."""
    pytest.importorskip("pyarrow")
    rng = np.random.default_rng(0)
    word = rng.choice(["None", "other"], 100)
    table = pd.DataFrame({"w": word, "y": (word == "None") * 4.0 + rng.normal(size=100)})
    table.to_parquet("t.parquet")
    np.savez("t.npz", w=word, y=table["y"].to_numpy())
    predictions = []
    for name in ("t.parquet", "t.npz"):
        assert run("train", name, "-t", "y", *QUICK, "--quiet").code == 0
        assert set(cnn.load("model.cnn").encoder.columns[0].values) == {"None", "other"}
        assert run("predict", "model.cnn", name, "--only-predictions", "-o", "p.csv").code == 0
        predictions.append(pd.read_csv("p.csv")["predicted_y"])
        assert np.allclose(predictions[-1], cnn.load("model.cnn").predict(table))
    assert predictions[0].equals(predictions[1])


def test_labels_come_back_in_their_spelling(learnt: Any) -> None:
    assert learnt("predict", "class.cnn", "t.csv", "--only-predictions", "-o", "p.csv").code == 0
    assert set(Path("p.csv").read_text().split()[1:]) <= {"01", "02", "A1"}


# Columns that pass through -------------------------------------------------------------------------------------------


@pytest.fixture
def simple(run: Any) -> Any:
    Path("t.csv").write_text(GOOD)
    assert run(*TRAIN) == (0, "", "")
    return run


def arrow_table(n: int) -> Any:
    """Columns of many types, the first rows of which are missing."""
    import pyarrow as pa

    def gaps(cells: list[Any], type: Any) -> Any:
        return pa.array([None] * (n - len(cells)) + cells, type)

    day = datetime.date(9999, 12, 31)
    return pa.table({
        "x": pa.array(np.arange(n) % 23), "id": gaps([2**53 + 1, -(2**63)], pa.int64()),
        "small": gaps([255], pa.uint8()),
        "flag": gaps([True, False], pa.bool_()), "price": gaps([decimal.Decimal("1.10")], pa.decimal128(9, 2)),
        "day": gaps([day], pa.date32()), "f": gaps([0.1], pa.float32()), "late": gaps(["a"], pa.string()),
        "kind": gaps(["b", "c"], pa.string()).dictionary_encode(), "list": gaps([[1, None]], pa.list_(pa.int8())),
        "pair": gaps([{"a": 1}], pa.struct([("a", pa.int32())])),
        "time": gaps([datetime.datetime(2020, 1, 2, 3, 4, 5)], pa.timestamp("us", "Europe/Zurich")),
    })  # fmt: skip


@pytest.mark.parametrize("suffix", ["parquet", "feather"])
def test_columns_of_arrow_come_out_as_they_are(simple: Any, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """With the file's own schema, even where a column is empty in the first piece."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow import feather, parquet

    monkeypatch.setattr("cnn.cli.read_arrow.PIECE", 10)
    table = arrow_table(35)
    (parquet.write_table if suffix == "parquet" else feather.write_feather)(table, f"new.{suffix}")
    done = simple("predict", "model.cnn", f"new.{suffix}", "--out", "p.parquet")
    assert done.code == 0, done.err
    found = parquet.read_table("p.parquet")
    assert found.column_names == [*table.column_names, "predicted_y"]
    for name in table.column_names:
        if name != "kind":
            assert found[name].type == table[name].type, name
        assert found[name].to_pylist() == table[name].to_pylist(), name
    assert found["predicted_y"].type == pa.float64()
    assert simple("predict", "model.cnn", f"new.{suffix}", "--out", "p.csv").code == 0
    with open("p.csv", encoding="utf-8", newline="") as file:
        last = list(csv.reader(file))[-1]
    assert last[:-1] == ["11", str(-(2**63)), "255", "False", "1.10", "9999-12-31", "0.1", "a", "c", "[1, null]",
                         '{"a": 1}', "2020-01-02 04:04:05+01:00"]  # fmt: skip


def test_cells_of_csv_come_out_as_they_are(simple: Any) -> None:
    cells = ["007", "1.50", " a ", 'say "x"', "a,b", "a\rb", "a\nb", "", "NA", "9007199254740993", "3,14", "-5", "-"]
    with open("new.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\r\n").writerows([["note", "x"], *([cell, "1"] for cell in cells)])
    for out, delimiter in (("p.csv", ","), ("p.tsv", "\t")):
        assert simple("predict", "model.cnn", "new.csv", "-o", out).code == 0
        with open(out, encoding="utf-8", newline="") as file:
            content = file.read()
        assert [row[0] for row in csv.reader(io.StringIO(content, newline=""), delimiter=delimiter)][1:] == cells
        assert '"a\rb"' in content  # else a row would begin there
        assert "\r\n" not in content


def test_predictions_have_the_digits_of_float32(simple: Any) -> None:
    done = simple("predict", "model.cnn", "t.csv", "--only-predictions")
    found = done.out.split()[1:]
    assert max(map(len, found)) <= 11
    expected = cnn.load("model.cnn").predict(pd.read_csv("t.csv"))
    assert np.allclose(np.array(found, float), expected, rtol=0, atol=1e-7)
    cnn.Network([cnn.Dense(1)], seed=0).build(1).save("net.cnn")
    Path("one.csv").write_text("x\n1\n")
    assert len(simple("predict", "net.cnn", "one.csv", "--only-predictions").out.split()[1]) <= 12


@pytest.mark.parametrize("name", [None, "row"])
def test_row_index_of_pandas_is_no_column(run: Any, name: str | None) -> None:
    pytest.importorskip("pyarrow")
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=100), "y": rng.normal(size=100)})
    part = table[rng.random(100) < 0.7].rename_axis(name)
    part.to_parquet("t.parquet")
    table.to_csv("t.csv", index=False)
    assert json.loads(run("train", "t.parquet", "-t", "y", *QUICK, "--json").out)["columns"] == {"a": "number"}
    assert run("evaluate", "model.cnn", "t.csv", "--json").code == 0
    assert run("predict", "model.cnn", "t.parquet", "-o", "p.parquet").code == 0
    found = pd.read_parquet("p.parquet")
    assert found.index.equals(part.index)
    assert found.columns.tolist() == ["a", "y", "predicted_y"]
    cnn.Network([cnn.Dense(1)], seed=0).build(2).save("net.cnn")
    assert run("predict", "net.cnn", "t.parquet", "-o", "p.parquet").code == 0


# Headers -------------------------------------------------------------------------------------------------------------


def test_tables_without_a_header(run: Any) -> None:
    rows = "".join(f"{i % 9}.25,{i % 9}.5\n" for i in range(40))
    Path("t.csv").write_text(rows)
    done = run(*TRAIN[:3], "0.5", *QUICK)
    assert done.code == 2
    assert "t.csv: the names of the columns are all numbers, such as '0.25'; give --no-header" in done.err
    assert run("train", "t.csv", "--no-header", "-t", "column2", *QUICK, "--quiet") == (0, "", "")
    model = cnn.load("model.cnn")
    assert model.columns == {"column1": "number"}
    done = run("predict", "model.cnn", "t.csv", "--no-header")
    lines = done.out.splitlines()
    assert lines[0] == "column1,column2,predicted_column2"
    assert [line.rpartition(",")[0] for line in lines[1:]] == rows.split()
    assert json.loads(run("evaluate", "model.cnn", "t.csv", "--no-header", "--json").out)["rows"] == 40
    cnn.Network([cnn.Dense(1)], seed=0).build(2).save("net.cnn")
    assert "--no-header" in run("predict", "net.cnn", "t.csv").err
    assert len(run("predict", "net.cnn", "t.csv", "--no-header").out.splitlines()) == 41


@pytest.mark.filterwarnings("default")
def test_names_that_may_be_a_row_are_said(run: Any) -> None:
    Path("years.csv").write_text("2019,2020\n" + "".join(f"{i % 7},{i % 5}.5\n" for i in range(40)))
    done = run("train", "years.csv", "-t", "2020", *QUICK, "--json")
    assert (done.code, json.loads(done.out)["columns"]) == (0, {"2019": "number"})
    assert done.err.startswith("cnn: warning: years.csv: the names of the columns are all numbers, such as '2019'")
    assert run("train", "years.csv", "-t", "2020", *QUICK, "--header", "--json").err == ""
    assert run("train", "years.csv", "-t", "2020", *QUICK, "--quiet") == (0, "", "")
    Path("iris.csv").write_text("5.1,3.5,setosa\n" * 20)
    assert "2 of the 3 names of the columns are numbers" in run("train", "iris.csv", "-t", "y", *QUICK).err


@pytest.mark.filterwarnings("default")
def test_nameless_first_column_is_left_out_and_said(run: Any) -> None:
    pd.read_csv(io.StringIO(GOOD)).to_csv("t.csv")
    done = run(*TRAIN[:4], *QUICK, "--json")
    assert (done.code, json.loads(done.out)["columns"]) == (0, {"x": "number"})
    assert done.err == "cnn: warning: t.csv: the first column has no name and is left out\n"
    assert run("predict", "model.cnn", "t.csv", "--quiet").out.splitlines()[0] == ",x,y,predicted_y"
    cnn.Network([cnn.Dense(1)], seed=0).build(2).save("net.cnn")
    assert run("predict", "net.cnn", "t.csv", "--quiet").code == 0


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separator_beyond_a_line_break_in_the_header(run: Any, separator: str) -> None:
    rows = [["area\nin m, gross", '5" pipes', "y"], *([i % 9, i % 4, f"{i % 7}.5"] for i in range(40))]
    with open("t.csv", "w", newline="") as file:
        csv.writer(file, delimiter=separator).writerows(rows)
    assert run(*TRAIN).code == 0
    assert set(cnn.load("model.cnn").columns) == {"area\nin m, gross", '5" pipes'}


@pytest.mark.parametrize("numbers", [("3,14", "2,5"), ("1.234,5", "999,25")])
def test_decimal_comma(run: Any, numbers: tuple[str, str]) -> None:
    rows = [f"{numbers[i % 2]};{i % 9},5" for i in range(40)]
    Path("t.csv").write_text("a;y\n" + "\n".join(rows) + "\n")
    assert run(*TRAIN, "--decimal", ",").code == 0
    first = cnn.load("model.cnn")
    assert first.columns == {"a": "number"}
    assert run(*TRAIN).code == 0
    new = pd.DataFrame({"a": [numbers[0]]})
    assert np.array_equal(first.predict(new), cnn.load("model.cnn").predict(new))
    cnn.Network([cnn.Dense(1)], seed=0).build(1).save("net.cnn")
    Path("new.csv").write_text(f'a\n"{numbers[0]}"\n')
    value = float(numbers[0].replace(".", "").replace(",", "."))
    found = float(run("predict", "net.cnn", "new.csv", "--decimal", ",", "--only-predictions").out.split()[1])
    assert found == pytest.approx(cnn.load("net.cnn").predict(np.array([[value]])).item(), rel=1e-6)
    assert "has learnt how its numbers are written" in run("predict", "model.cnn", "t.csv", "--decimal", ",").err
    for arguments in (TRAIN, ["predict", "net.cnn", "new.csv"]):
        done = run(*arguments, "--decimal", ";")
        assert (done.code, "decimal must be" in done.err) == (2, True)


# Large cells, pipes --------------------------------------------------------------------------------------------------


def test_long_cells(simple: Any) -> None:
    before = csv.field_size_limit()
    Path("new.csv").write_text("note,x\n" + f'"{"z" * 200_000}",3\n')
    assert simple("predict", "model.cnn", "new.csv", "-o", "p.csv").code == 0
    assert len(Path("p.csv").read_text().splitlines()[1]) > 200_000
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    "content", ["a" * 5000, 'x\n"' + "a\n" * 2500, "x,y\n" + "a," * 2500], ids=["line", "cell", "row"]
)
def test_rows_without_end_are_refused(simple: Any, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setattr(read_csv, "LONGEST", 1000)
    Path("new.csv.gz").write_bytes(gzip.compress(content.encode()))
    done = simple("predict", "model.cnn", "new.csv.gz")
    assert (done.code, done.out) == (2, "")
    assert "new.csv.gz has a row of more than 1,000 characters" in done.err


def test_case_of_the_suffix(simple: Any) -> None:
    Path("T.CSV.GZ").write_bytes(gzip.compress(GOOD.encode()))
    assert simple("predict", "model.cnn", "T.CSV.GZ", "-o", "P.TSV.GZ").code == 0
    assert gzip.decompress(Path("P.TSV.GZ").read_bytes()).startswith(b"x\ty\tpredicted_y\n")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes")
def test_pipes_are_read_as_standard_input_is(simple: Any) -> None:
    expected = simple("predict", "model.cnn", "t.csv").out
    os.mkfifo("pipe")

    def feed() -> None:
        Path("pipe").write_text(GOOD)

    for arguments in (["predict", "model.cnn", "pipe"], ["train", "pipe", "-t", "y", *QUICK, "--quiet"]):
        thread = threading.Thread(target=feed)
        thread.start()
        done = simple(*arguments)
        thread.join()
        assert (done.code, done.out) == (0, expected if arguments[0] == "predict" else ""), done.err


def test_npz_is_predicted_in_pieces(simple: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez("t.npz", x=np.arange(100) % 23, z=np.ones((100, 2), np.float32))
    monkeypatch.setattr("cnn.cli.read_arrow.PIECE", 7)
    rows, predict = [], cnn.TableModel.predict
    monkeypatch.setattr(cnn.TableModel, "predict", lambda m, t, **how: (rows.append(len(t)), predict(m, t, **how))[1])
    assert simple("predict", "model.cnn", "t.npz", "-o", "p.csv").code == 0
    assert (max(rows), sum(rows)) == (7, 100)
    assert pd.read_csv("p.csv").columns.tolist() == ["x", "z0", "z1", "predicted_y"]
    np.savez("t.npz", X=np.ones((5, 2)), X0=np.ones(5))
    assert "two columns with the name 'X0'" in simple("predict", "model.cnn", "t.npz").err


# The shell is named, not looked for among the parents of the process: there may be none.
NAMED_SHELL = "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"

COMMANDS = ["--help", "train --help", "predict model.cnn t.csv", "evaluate model.cnn t.csv", "inspect model.cnn",
            "inspect model.cnn --json", "export model.cnn --c out", "--show-completion bash"]  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="pipes of another kind")
def test_closed_pipe_ends_every_command_alike(simple: Any) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    environment[NAMED_SHELL] = "1"
    for command in COMMANDS:
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([sys.executable, "-P", "-m", "cnn", *command.split()], stdout=writer, env=environment,
                              stderr=subprocess.PIPE, check=False, timeout=120)  # fmt: skip
        os.close(writer)
        assert (done.returncode, done.stderr) == (141, b""), command


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(run: Any, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    monkeypatch.setenv(NAMED_SHELL, "1")
    assert "_CNN_COMPLETE" in run("--show-completion", shell).out


def test_options_stand_in_groups(run: Any) -> None:
    shown = run("train", "--help").out
    groups = ["The model:", "The training:", "The table:", "The work:", "What comes out:"]
    assert [line for line in shown.splitlines() if line in groups] == groups
    for option, group in (("--hidden", 0), ("--epochs", 1), ("--encoding", 2), ("--threads", 3), ("--json", 4)):
        assert max(groups, key=shown[: shown.index(f"  {option} ")].rfind) == groups[group]
