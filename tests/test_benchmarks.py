"""The benchmarks run, on a few cases for moments only: what they measure is not looked at here."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cnn
import cnn_core

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
MARKS = "Before.\n<!-- results: begin -->\nold\n<!-- results: end -->\nAfter.\n"
needs_compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CC", "cc")) is None or importlib.util.find_spec("Cython") is None,
    reason="compiles its timers with Cython and a C compiler",
)
if not (BENCHMARKS / "compare.py").exists():
    pytest.skip("the benchmarks are not beside the tests", allow_module_level=True)


def run(folder: Path, program: str, *arguments: str) -> str:
    """The output of a program; it must end well. In a folder of its own, for it may leave files."""
    command = [sys.executable, str(BENCHMARKS / program), *arguments]
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def on_the_page(kept: Path, folder: Path) -> tuple[str, list[dict[str, Any]]]:
    """The page of performance with this run in the place of the one of its question, and the run's rows."""
    pytest.importorskip("matplotlib")
    found = json.loads(kept.read_text(encoding="utf-8"))
    results, page = folder / "results", folder / "page.md"
    results.mkdir()
    for path in (BENCHMARKS / "results").glob("*.json"):
        if json.loads(path.read_text(encoding="utf-8")).get("question") != found["question"]:
            shutil.copy(path, results)
    shutil.copy(kept, results)
    shutil.copy(BENCHMARKS.parent / "docs" / "performance.md", page)
    run(folder, "page.py", "--page", str(page), "--results", str(results))
    return page.read_text(encoding="utf-8"), found["rows"]


@needs_compiler
def test_compare(tmp_path: Path) -> None:
    """Everything once; the page and its picture come from the kept run too, the same."""
    pytest.importorskip("matplotlib")
    kept, page = tmp_path / "run.json", tmp_path / "page.md"
    page.write_text(MARKS)
    picture = tmp_path / "images" / "roofline.png"
    output = run(tmp_path, "compare.py", "--quick", "--peers", "cnn", "numpy", "--json", str(kept),
                 "--markdown", str(page))  # fmt: skip
    written = page.read_text(encoding="utf-8")
    assert written.startswith("Before.\n<!-- results: begin -->\n")
    assert written.endswith("\n<!-- results: end -->\nAfter.\n")
    assert "old" not in written
    assert "bars are met" in written
    assert picture.read_bytes().startswith(b"\x89PNG")
    results = json.loads(kept.read_text(encoding="utf-8"))
    assert results["machine"]["fma_gflops_one_core"] > 0
    assert results["machine"]["copy_gbytes_all_cores"] > 0
    for work in ("training", "prediction", "kernels", "threads"):
        assert results[work], output
    page.write_text(MARKS)
    run(tmp_path, "compare.py", "--from", str(kept), "--markdown", str(page))
    assert page.read_text(encoding="utf-8") == written


@pytest.mark.parametrize(
    ("program", "case"), [("training.py", "10-5-1"), ("prediction.py", "1 x 10-5-1")], ids=["training", "prediction"]
)
def test_beside_peers(program: str, case: str, tmp_path: Path) -> None:
    """Returns 1 if the contestants' results differ."""
    lines = tmp_path / "lines.jsonl"
    run(tmp_path, program, "--cases", case, "--peers", "cnn", "numpy", "--threads", "1", "--rounds", "1",
        "--seconds", "0.001", "--json", str(lines))  # fmt: skip
    found = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [(line["contestant"], line["agrees"]) for line in found] == [("cnn", True), ("numpy", True)]


@needs_compiler
def test_kernels(tmp_path: Path) -> None:
    output = run(tmp_path, "kernels/run.py", "--quick", "--seconds", "0.0001", "--networks", "8-32-32-1")
    kinds = {line.split()[0] for line in output.splitlines()[1:]}
    assert kinds >= {"tile", "blas", "activation", "loss", "optimizer", "dropout", "step"}


def test_threads(tmp_path: Path) -> None:
    output = run(tmp_path, "threads.py", "--quick", "--rounds", "1", "--seconds", "0.001", "--threads", "2")
    assert [line.split()[0] for line in output.splitlines()] == ["sweep", "bits", "pairs"]


def test_products(tmp_path: Path) -> None:
    *_, small, large = run(tmp_path, "products.py", "--quick", "--rounds", "1").splitlines()
    assert [line.split()[0] for line in (small, large)] == ["16-32-32-1", "32-64-64-8"]


def test_ensembles(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", minversion="1.9")
    output = run(tmp_path, "ensembles.py", "--rounds", "1", "--epochs", "1", "--seeds", "1", "--rows", "400")
    assert output.count("| met |") + output.count("| missed |") == 8


def test_estimators(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", minversion="1.9")
    lines = tmp_path / "lines.jsonl"
    output = run(tmp_path, "estimators.py", "--sets", "housing", "one_row", "--rounds", "1", "--seeds", "1",
                 "--threads", "1", "--json", str(lines))  # fmt: skip
    assert [json.loads(line)["set"] for line in lines.read_text().splitlines()] == ["housing", "one row"]
    verdicts = {row.split("|")[1].strip(): row.split("|")[-2].strip() for row in output.splitlines() if row[:1] == "|"}
    assert verdicts["test score of housing, 1 seeds"] == "met"
    assert verdicts["fit of housing, a step"] in ("met", "missed")


def test_many(tmp_path: Path) -> None:
    output = run(tmp_path, "many.py", "--quick", "--rounds", "1", "--networks", "3", "--without-peers", "--json",
                 str(tmp_path / "kept.json")).splitlines()  # fmt: skip
    assert set(json.loads(output[0])["us"]) == {"alone", "many", "stopping", "threads"}
    assert [line.split()[0] in ("met", "MISSED") for line in output[1:5]] == [True, True, True, False]
    page, rows = on_the_page(tmp_path / "kept.json", tmp_path)
    assert [row["work"] for row in rows] == [
        "`train_many`", "`train_many`, validation and `EarlyStopping` after every epoch", "one network alone, one core",
    ]  # fmt: skip
    assert "PyTorch, one after another" not in page


def test_images(tmp_path: Path) -> None:
    said = run(tmp_path, "images.py", "--quick", "--rounds", "1", "--peers", "cnn", "--only", "lenet", "depthwise",
               "one", "many", "large", "--json", str(tmp_path / "bars.json"))  # fmt: skip
    for bar in ("lenet 128: 100,000 images/s", "depthwise: losses agree", "from Python: at most 10 us"):
        assert bar in said
    found = json.loads((tmp_path / "bars.json").read_text(encoding="utf-8"))
    assert len(found["bars"]) == 10
    assert [set(row) for row in found["rows"]] == 8 * [{"work", "cnn"}]
    found["rows"] = [{**row, "torch": 2 * row["cnn"]} for row in found["rows"]]  # the page is about ratios
    (tmp_path / "bars.json").write_text(json.dumps(found), encoding="utf-8")
    assert "| a step of LeNet-5, 32 images | 2.00× |" in on_the_page(tmp_path / "bars.json", tmp_path)[0]


def test_suite_runs_without_asv(tmp_path: Path) -> None:
    output = run(tmp_path, "run_suite.py", "--only", "(10-5-1", "--seconds", "0.001")
    assert {line.split(".")[0] for line in output.splitlines()} == {"Construction", "Training"}
    config = json.loads((BENCHMARKS / "asv.conf.json").read_text(encoding="utf-8"))
    assert (BENCHMARKS / config["benchmark_dir"]).is_dir()


def test_staircase(tmp_path: Path) -> None:
    """Returns 1 where the bar is missed, of which one round says nothing."""
    words = [str(BENCHMARKS / "staircase.py"), "--quick", "--rounds", "1"]
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "times as fast as dense at 96 bins" in done.stdout, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="it limits memory and looks at the peak as Linux has it")
def test_stream(tmp_path: Path) -> None:
    """Returns 1 where a bar is missed, which of so few rows says nothing."""
    (tmp_path / "disk").mkdir()
    words = [str(BENCHMARKS / "stream.py"), "--rows", "20000", "--rounds", "1", "--folder", str(tmp_path / "disk"),
             "--json", str(tmp_path / "kept.json")]  # fmt: skip
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert [line.rpartition(": ")[2] in ("met", "missed") for line in done.stdout.splitlines()[-2:]] == [True, True]
    assert list((tmp_path / "disk").iterdir()) == []
    page, [row] = on_the_page(tmp_path / "kept.json", tmp_path)
    assert 20 < row["without_mb"] < row["peak_mb"]
    assert f"fit takes {row['peak_mb']} MB at its peak, " in page
    assert f"of which Python, NumPy and Arrow have {row['without_mb']}." in page


def test_versions(tmp_path: Path) -> None:
    """Beside itself: the installed packages in a folder that is like a checkout."""
    for name, where in {"benchmarks": BENCHMARKS, "python": Path(cnn.__file__).parents[1],
                        "cnn_core": Path(cnn_core.__file__).parent}.items():  # fmt: skip
        (tmp_path / name).symlink_to(where, target_is_directory=True)
    output = run(tmp_path, "versions.py", str(tmp_path), "--cases", "fit 10-5-1", "predict 1 x 10-5-1", "--threads",
                 "1", "--rounds", "2", "--seconds", "0.001")  # fmt: skip
    assert output.count(" us, x ") == 2


def test_tables(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("pandas")
    said = run(tmp_path, "tables.py", "--quick", "--only", "wine", "concrete", "--json", str(tmp_path / "kept.json"))
    page, rows = on_the_page(tmp_path / "kept.json", tmp_path)
    assert [row["table"] for row in rows] == ["wine", "concrete"]
    assert "| histogram gradient boosting |" in page
    for word in ("wine: accuracy", "concrete: RMSE", "mean rank", "bar", "seconds of a fit", "one network of 50 units"):
        assert word in said.replace("met   ", "bar ").replace("MISSED", "bar")
    said = run(tmp_path, "table_parts.py", "--splits", "1", "--members", "1", "--only", "wine")
    assert "wine, rank and value alone: accuracy, log loss" in said


def test_table_categories(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("pandas")
    said = run(tmp_path, "table_categories.py", "--members", "1", "--only", "made")
    for way in ("64 values", "1,024 values", "1,024 values as 1", "embeddings", "64 values and means"):
        assert f"made, {way}: 0." in said


def test_winograd(tmp_path: Path) -> None:
    said = run(tmp_path, "winograd.py", "--sizes", "4,16,16", "--rounds", "1", "--rows", "8")
    assert [line.split("|")[1].strip() for line in said.splitlines()[2:]] == ["4,16,16"]


def test_large_images(tmp_path: Path) -> None:
    said = run(tmp_path, "large_images.py", "--sizes", "8,4", "--rounds", "1")
    assert [line.split("|")[2].strip() for line in said.splitlines()[2:]] == 3 * ["8,4"]


def test_fashion(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    for name, n in (("train", 60), ("t10k", 12)):
        labels = bytes(i % 2 for i in range(n))
        images = b"".join(bytes([200 * label] * 784) for label in labels)
        size = n.to_bytes(4, "big")
        for kind, head, content in (
            ("images-idx3", b"\0\0\x08\x03" + size + 2 * (28).to_bytes(4, "big"), images),
            ("labels-idx1", b"\0\0\x08\x01" + size, labels),
        ):
            (tmp_path / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + content))
    for more in ([], ["--held-out"]):
        said = run(tmp_path, "fashion.py", str(tmp_path), "--effort", "fast", "--epochs", "1", *more)
        assert "| fast | 1 | none | " in said
        assert "92.5% in 90 s: " in said


def test_learning_rates(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    output = run(tmp_path, "learning_rate.py", "--tables", "1")
    assert output.count("suggested") == 4
    assert "geometric mean x" in output


def test_the_page_of_performance_is_what_the_results_give(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = BENCHMARKS.parent / "docs" / "performance.md"
    copy = tmp_path / "performance.md"
    emptied = re.sub(r"(: begin -->\n).*?(<!-- )", r"\1\2", page.read_text(encoding="utf-8"), flags=re.S)
    copy.write_text(emptied, encoding="utf-8")
    run(tmp_path, "page.py", "--page", str(copy))
    assert copy.read_text(encoding="utf-8") == page.read_text(encoding="utf-8")
    drawn = {path.name for path in (tmp_path / "images").glob("*.png")}
    assert drawn == {path.name for path in (page.parent / "images").glob("performance_*.png")}


@pytest.mark.skipif(sys.platform == "win32", reason="asks the system as Unix does")
def test_footprint(tmp_path: Path) -> None:
    pytest.importorskip("packaging")
    run(tmp_path, "footprint.py", "--peers", "cnn", "--cases", "54-256-128-7", "--json", str(tmp_path / "kept.json"))
    [row] = json.loads((tmp_path / "kept.json").read_text())["rows"]
    assert row["contestant"] == "cnn"
    assert 1 < row["disk_mb"] < 30
    assert row["54-256-128-7"] > 1
