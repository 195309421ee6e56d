"""Table models of random tables exported to ONNX and to C: both must give what the model gives.

    python tools/export_tables.py --count 100 [--seed 0] [--several] [--data FOLDER]

One target, or two with --several, every kind of column, with gaps, new and nasty texts and names, infinite and extreme
numbers, and with the smallest training that there is. Both must agree to 1e-5 of the magnitude (of the target's
deviation, where that is larger); C is compiled without a warning by each of gcc and clang that is there. With FOLDER,
which has california_housing.csv.bz2 and adult_train.csv.gz, these two as well.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from export_test import COMPILERS, FLAGS

import cnn
from cnn.table.columns import Category

NAMES = ["a", "label", "prediction", "cnn.x", "cnn..x", "a.nodes", "int", '"; }', "é ü", "*/", "a\nb", "x{n}", "??/",
         "concat_3", "\\", "%s", "columns", "n"]  # fmt: skip
WORDS = ["red", "Red", "1", "7", "é", '"', "\\", "??/", "a\nb", "*/", "\\0", "漢字", "x" * 300, "%d", "a b", "{n}",
         "NaN", "\x7f9", "'", "-1e400x"]  # fmt: skip
_DAYS = pd.Timedelta("1D")


def cells(rng: np.random.Generator, n: int) -> Any:
    """A column of some kind."""
    kind = rng.integers(12)
    numbers = rng.normal(size=n) * 10.0 ** rng.integers(-6, 7) + rng.choice([0, 0, 1e6])
    if kind == 0:
        return numbers
    if kind == 1:
        return rng.standard_cauchy(n).astype(np.float32)
    if kind == 2:
        return rng.integers(0, 4, n)
    if kind == 3:
        return rng.integers(-(2**60), 2**60, n)
    if kind == 4:  # numbers as text, with a word for missing ones
        return pd.Series([f"{x:.3g}" for x in numbers], dtype=object).where(rng.random(n) > 0.02, "?")
    if kind == 5:
        return rng.random(n) < 0.4
    if kind == 6:
        return rng.choice(["True", "false"], n)
    if kind == 7:
        return rng.choice(WORDS[: rng.integers(2, 5)], n)
    if kind == 8:
        return rng.choice(WORDS, n, p=rng.dirichlet(np.full(len(WORDS), 0.3)))
    if kind == 11:  # many values, in tables that are large enough
        return np.char.add("value ", rng.integers(0, 80, n).astype(str)).astype(object)
    if kind == 9:
        days = rng.uniform(0, rng.choice([3, 50, 20_000]), n)
        return pd.Timestamp("1960-03-01") + pd.to_timedelta(days.round(rng.choice([0, 3])), "D")
    return pd.to_timedelta(rng.uniform(0, 1e6, n), "s")


def table(rng: np.random.Generator) -> pd.DataFrame:
    n = int(rng.integers(60, 300)) * int(rng.choice([1, 4]))  # columns of small tables have no spikes
    names = rng.choice(NAMES, rng.integers(1, 7), replace=False)
    frame = pd.DataFrame({str(name): pd.Series(cells(rng, n)) for name in [*names, "always"]})
    frame["always"] = rng.normal(size=n)
    for name in frame.columns:
        if rng.random() < 0.5:
            frame[name] = frame[name].astype(object).where(rng.random(n) > 0.1, None).infer_objects()
    goal = frame["always"].fillna(0).to_numpy() + rng.normal(size=n)
    many = np.digitize(goal, [-1, 0, 1])
    frame["the target"] = [goal * 1000 + 1e5, goal > 0, np.array(["no", 'y"es'])[(goal > 0) * 1], many,
                           np.array(["a", "b", "ü\\", "d"])[many]][rng.integers(5)]  # fmt: skip
    return frame


def unseen(frame: pd.DataFrame, model: cnn.TableModel, rng: np.random.Generator) -> pd.DataFrame:
    """The rows again, and with cells as the training never had."""
    other = frame.copy()
    for column in model.encoder.columns:
        where = rng.random(len(frame)) < 0.2
        new: list[Any] = {"category": ["never seen", "", None], "boolean": [None], "date": [None, "2150-07-01"]}.get(
            column.kind, [None, 1e300, -1e300, float("inf"), 0]
        )
        if frame[column.name].dtype.kind in "mM":
            other[column.name] = other[column.name].where(~where, pd.NaT)
        else:
            texts = [None if v is None or v == float("inf") else str(v) for v in new]
            chosen = rng.choice(np.array(texts if frame[column.name].dtype == object else new, object), len(frame))
            other[column.name] = frame[column.name].astype(object).where(~where, pd.Series(chosen, dtype=object))
    return pd.concat([frame, other], ignore_index=True)


def numbers(series: Any, kind: str) -> np.ndarray:
    """Cells as the exports take them: seconds, days, 1 and 0, NaN where missing."""
    if series.dtype.kind == "m":
        return (series / pd.Timedelta("1s")).to_numpy(np.float64)
    if kind == "date":
        return ((pd.to_datetime(series) - pd.Timestamp(0)) / _DAYS).to_numpy(np.float64)
    if kind == "boolean":
        lower = series.astype("string").str.lower()
        return lower.map({"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}).to_numpy(
            np.float64, na_value=np.nan
        )
    return pd.to_numeric(series, errors="coerce").to_numpy(np.float64, na_value=np.nan)


def texts(series: Any) -> np.ndarray:
    return np.array(["" if pd.isna(cell) else str(cell).strip() for cell in series], object)


def by_onnx(model: cnn.TableModel, frame: pd.DataFrame, folder: Path) -> tuple[Any, Any]:
    """(labels or None, numbers or probabilities) of ONNX Runtime, in two batches."""
    import onnxruntime

    cnn.export_onnx(model, folder / "m.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "m.onnx"), options, providers=["CPUExecutionProvider"])
    feed = {c.name: (texts(frame[c.name]) if isinstance(c, Category) else numbers(frame[c.name], c.kind)).reshape(-1, 1)
            for c in model.encoder.columns}  # fmt: skip
    assert [i.name for i in session.get_inputs()] == list(feed)
    halves = [session.run(None, {k: v[rows] for k, v in feed.items()}) for rows in (slice(0, 1), slice(1, None))]
    whole = [np.concatenate(parts) for parts in zip(*halves, strict=True)]
    return (None, whole[0]) if model.task == "regression" else (whole[0], whole[1])


def by_c(model: cnn.TableModel, frame: pd.DataFrame, folder: Path, compiler: str) -> tuple[Any, Any]:
    """The same of the compiled export, row by row."""
    source, _ = cnn.export_c(model, folder)
    library = folder / f"{compiler}-{model.seed}.so"
    subprocess.run([compiler, *FLAGS, str(source), "-o", str(library), "-lm"], check=True)
    loaded = ctypes.CDLL(str(library))
    n, k = len(frame), len(model.goal.each) if model.task == "regression" else len(model.classes)
    numeric = {name: kind for name, kind in model.columns.items() if kind != "category"}
    others = [name for name in model.columns if name not in numeric]
    values = np.column_stack([np.zeros((n, 0)), *(numbers(frame[name], kind) for name, kind in numeric.items())])
    words = np.column_stack([np.zeros((n, 0), object), *(texts(frame[name]) for name in others)])
    targets = list(model.target) if k > 1 and model.task == "regression" else []
    for part, names in (("number", list(numeric)), ("text", others), ("target", targets)):
        check_names(loaded, f"model_{part}_names", names)
    y, labels = np.full((n, k), np.nan), np.zeros(n, int)
    for i in range(n):
        row, out = np.ascontiguousarray(values[i]), y[i]
        strings = (ctypes.c_char_p * max(words.shape[1], 1))(*(w.encode() if w else None for w in words[i]))
        loaded.model_predict(ctypes.c_void_p(row.ctypes.data), strings, ctypes.c_void_p(out.ctypes.data))
        labels[i] = 0 if model.task == "regression" else loaded.model_class(ctypes.c_void_p(out.ctypes.data))
    return (None, y[:, 0] if k == 1 else y) if model.task == "regression" else (model.classes[labels], y)


def check_names(loaded: Any, symbol: str, names: list[str]) -> None:
    if names:
        found = [text.decode() for text in (ctypes.c_char_p * len(names)).in_dll(loaded, symbol)]
        assert found == names, (found, names)


def compare(model: cnn.TableModel, frame: pd.DataFrame, found: tuple[Any, Any]) -> float:
    """The largest difference; the labels must be the same but where two classes are as good."""
    labels, values = found
    if model.task == "regression":
        expected = model.predict(frame)
        deviations = [one.deviation for one in model.goal.each]
        scale = np.maximum(np.abs(expected), deviations if expected.ndim == 2 else deviations[0])
    else:
        expected = model.predict_proba(frame)
        scale = np.ones(1)
        top = np.sort(expected, axis=1)
        clear = top[:, -1] - top[:, -2] > 1e-5
        assert labels.dtype.kind == model.classes.dtype.kind
        np.testing.assert_array_equal(labels[clear], model.predict(frame)[clear])
    assert values.shape == expected.shape, (values.shape, expected.shape)
    worst = float((np.abs(values - expected) / scale).max())
    assert worst <= 1e-5, worst
    return worst


def check(model: cnn.TableModel, frame: pd.DataFrame, onnx: bool) -> dict[str, float]:
    worst = {}
    with tempfile.TemporaryDirectory() as folder:
        if onnx:
            worst["onnx"] = compare(model, frame, by_onnx(model, frame, Path(folder)))
        for compiler in COMPILERS:
            worst[compiler] = compare(model, frame, by_c(model, frame, Path(folder), compiler))
    return worst


def random_model(seed: int, several: bool) -> tuple[cnn.TableModel, pd.DataFrame]:
    """(a model, the rows to compare on)."""
    rng = np.random.default_rng(seed)
    frame = table(rng)
    target: Any = "the target"
    if several:
        target = ['"; } of two', "x{n} of two"]
        frame = frame.drop(columns="the target")
        frame[target] = np.exp(rng.normal(size=(len(frame), 2)))
    hidden = [(), (5,), (16, 3)][rng.integers(3)]
    inputs: Any = rng.choice(["auto", "plain", "spikes", "bins", "both", "embedding", "spikes+embedding"])
    positive = several or (frame[target].dtype.kind == "f" and frame[target].min() > 0)
    scale: Any = rng.choice(["linear", "log"]) if positive else "auto"
    model = cnn.TableModel(
        target, epochs=1, members=int(rng.integers(1, 4)), hidden=hidden, seed=seed, target_scale=scale,
        activation=str(rng.choice(["relu", "gelu", "tanh"])), numbers=str(inputs),
    )  # fmt: skip
    model.fit(frame, verbose=0)
    if rng.random() < 0.5:  # beyond the range of the target, where predictions end
        model.networks[0].layers[-1].weights[...] *= 9
    return model, unseen(frame, model, rng)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--several", action="store_true", help="two targets each")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--skip-onnx", action="store_true", help="where ONNX Runtime is not installed")
    arguments = parser.parse_args()
    worst: dict[str, float] = {}
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        model, frame = random_model(seed, arguments.several)
        try:
            found = check(model, frame, not arguments.skip_onnx)
        except BaseException:
            print(f"table of seed {seed}: {model!r} {model.columns}")
            raise
        worst = {name: max(value, worst.get(name, 0.0)) for name, value in found.items()}
    print(f"{arguments.count} tables: " + ", ".join(f"{name} {value:.2g}" for name, value in worst.items()))
    for name, target in (("california_housing.csv.bz2", "median_house_value"), ("adult_train.csv.gz", "income")):
        if arguments.data is not None:
            frame = pd.read_csv(arguments.data / name, na_values="?", keep_default_na=False)
            model = cnn.TableModel(target, epochs=5, seed=0).fit(frame, verbose=0)
            print(f"{name}, {len(frame):,} rows: {check(model, frame, not arguments.skip_onnx)}")


if __name__ == "__main__":
    sys.exit(main())
