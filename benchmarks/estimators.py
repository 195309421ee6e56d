"""The estimators beside scikit-learn's on real data: `fit` end to end, scores, a search, single predictions.

    python benchmarks/estimators.py [--sets housing adult ...] [--rounds 5] [--json out.jsonl]

The same parameters, epochs and seeds, in float32. The two libraries take turns in this process, each with one thread
and with all; the best of several rounds counts, and scikit-learn has the number of BLAS threads that is best for it. At
the end all bars are printed, met or missed.
"""

from __future__ import annotations

import argparse
import bz2
import csv
import gzip
import io
import json
import statistics
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import machine
import numpy as np
import report
import sklearn.neural_network as peer
from bars import CORES, Row, number
from bars import time as text
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

import cnn

LIBRARIES = {"scikit-learn": peer, "cnn": cnn}
SETTLE = 0.3  # seconds: BLAS's threads spin for a tenth after a fit of scikit-learn's
BATCH = 200  # rows of a step, by default
SCORE_TOLERANCE = 1e-4  # what the rounding of float32 may do to a mean score
SEARCH_RATIO, ONE_ROW_US = 10, 5

DATA = Path(__file__).resolve().parents[1] / "examples" / "data"
Rows = tuple[Any, Any, Any, Any]  # X and X of the test, y and y of the test
Line = dict[str, Any]


def table(path: Path) -> list[list[str]]:
    unzip = bz2.decompress if path.suffix == ".bz2" else gzip.decompress
    return list(csv.reader(io.StringIO(unzip(path.read_bytes()).decode())))


def housing() -> Rows:
    """8 numeric features, the target in 100,000 dollars; the block groups without a number of bedrooms are left out."""
    header, *rows = table(DATA / "california_housing.csv.bz2")
    column = {name: i for i, name in enumerate(header)}
    names = [name for name in header if name not in ("ocean_proximity", "median_house_value")]
    rows = [row for row in rows if row[column["total_bedrooms"]]]
    X = np.array([[float(row[column[name]]) for name in names] for row in rows])
    y = np.array([float(row[column["median_house_value"]]) / 1e5 for row in rows])
    return split(X, y)


def mnist() -> Rows:
    pixels = gzip.decompress((DATA / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((DATA / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    X = np.frombuffer(pixels, np.uint8).reshape(-1, 784).astype(np.float32) / 255
    return tuple(train_test_split(X, np.frombuffer(labels, np.uint8), test_size=0.2, random_state=0))  # type: ignore


def adult() -> Rows:
    """One-hot columns of the text, the numbers standardised; the official test set."""
    train, test = (table(DATA / f"adult_{part}.csv.gz") for part in ("train", "test"))
    header, rows, later = train[0], train[1:], test[1:]
    numeric = [i for i in range(len(header) - 1) if all(r[i].strip().lstrip("-").replace(".", "").isdigit()
                                                        for r in rows[:200])]  # fmt: skip
    words = [i for i in range(len(header) - 1) if i not in numeric]
    scaler, encoder = StandardScaler(), OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    numbers = [np.array([[float(r[i]) for i in numeric] for r in part]) for part in (rows, later)]
    texts = [np.array([[r[i].strip() for i in words] for r in part]) for part in (rows, later)]
    X = [np.hstack([scaler.fit(numbers[0]).transform(n), encoder.fit(texts[0]).transform(t)]).astype(np.float32)
         for n, t in zip(numbers, texts, strict=True)]  # fmt: skip
    y = [np.array([r[-1].strip().rstrip(".") for r in part]) for part in (rows, later)]
    return X[0], X[1], y[0], y[1]


def split(X: Any, y: Any) -> Rows:
    train, test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=0)
    scaler = StandardScaler().fit(train)
    return tuple(a.astype(np.float32) for a in (scaler.transform(train), scaler.transform(test), y_train, y_test))


@dataclass(frozen=True)
class Set:
    """Data, estimator, epochs; times as fast as scikit-learn with one thread, and with four."""

    load: Callable[[], Rows]
    kind: str
    epochs: int
    one: float
    four: float | None = None

    def estimator(self, who: str, seed: int, **options: Any) -> Any:
        kind = getattr(LIBRARIES[who], self.kind)
        return kind(max_iter=self.epochs, tol=0, n_iter_no_change=self.epochs, random_state=seed, **options)


SETS = {
    "housing": Set(housing, "MLPRegressor", 20, one=15),
    "adult": Set(adult, "MLPClassifier", 5, one=6, four=15),
    "mnist": Set(mnist, "MLPClassifier", 5, one=2, four=7),
}


def fits(name: str, options: argparse.Namespace) -> tuple[Line, list[Row]]:
    """Seconds of a fit for each library and number of threads, and the scores of several seeds."""
    case, threads = SETS[name], options.threads
    X, X_test, y, y_test = case.load()
    steps = case.epochs * -(-len(X) // BATCH)
    seconds: dict[str, dict[int, float]] = {who: {} for who in LIBRARIES}
    for _ in range(options.rounds):
        for n in threads:
            for who, best in seconds.items():
                ours = who == "cnn"  # it does without BLAS, whose threads a limit would wake
                time.sleep(SETTLE)
                with nullcontext() if ours else threadpool_limits(n, user_api="blas"):
                    for _ in range(5):  # the first ones after a rest are slower
                        est = case.estimator(who, 0, **({"n_threads": n} if ours else {}))
                        start = time.perf_counter()
                        est.fit(X, y)
                        best[n] = min(time.perf_counter() - start, best.get(n, np.inf))
    scores = {
        who: [float(case.estimator(who, seed).fit(X, y).score(X_test, y_test)) for seed in range(options.seeds)]
        for who in LIBRARIES
    }
    step_us = {who: {n: 1e6 * value / steps for n, value in best.items()} for who, best in seconds.items()}
    bars = {max(threads): case.four, 1: case.one}
    theirs = min(step_us["scikit-learn"], key=lambda n: step_us["scikit-learn"][n])
    rows = [
        _ratio(f"fit of {name}, a step", step_us["cnn"][n], n, step_us["scikit-learn"][theirs], theirs, bar)
        for n, bar in sorted(bars.items()) if bar is not None and n in threads
    ]  # fmt: skip
    means = {who: statistics.mean(found) for who, found in scores.items()}
    gain = means["cnn"] - means["scikit-learn"]
    rows.append(Row(f"test score of {name}, {options.seeds} seeds", f"{means['cnn']:.5f}", "scikit-learn",
                    f"{means['scikit-learn']:.5f}", f"{gain:+.5f}", "≥ 0", "–", gain >= -SCORE_TOLERANCE))  # fmt: skip
    return {"set": name, "epochs": case.epochs, "step_us": step_us, "scores": scores}, rows


def _ratio(work: str, us: float, threads: int | str, their_us: float, their_threads: int | str, bar: float) -> Row:
    return Row(work, f"{text(us)} ({threads})", "scikit-learn", f"{text(their_us)} ({their_threads})",
               f"{number(their_us / us)}×", f"≥ {bar:g}×", "–", their_us >= bar * us)  # fmt: skip


def search(options: argparse.Namespace) -> tuple[Line, list[Row]]:
    """GridSearchCV over 24 settings on California housing, 10 epochs each, by a process on each core.

    Before the first round each library has searched once, so that the processes run and have imported it.
    """
    X, _, y, _ = housing()
    grid = {"hidden_layer_sizes": [(50,), (100,), (50, 50)], "alpha": [1e-4, 1e-2], "learning_rate_init": [1e-3, 1e-2],
            "batch_size": [100, 200]}  # fmt: skip
    best = dict.fromkeys(LIBRARIES, np.inf)
    for done in range(options.rounds + 1):
        for who, module in LIBRARIES.items():
            est = module.MLPRegressor(max_iter=10 if done else 1, random_state=0)
            start = time.perf_counter()
            GridSearchCV(est, grid, n_jobs=-1, cv=3).fit(X, y)
            if done:
                best[who] = min(time.perf_counter() - start, best[who])
    cores = f"{machine.cores()} processes"
    row = _ratio("GridSearchCV, 24 settings, housing", 1e6 * best["cnn"], cores, 1e6 * best["scikit-learn"], cores,
                 SEARCH_RATIO)  # fmt: skip
    return {"set": "search", "seconds": best}, [row]


def one_row(options: argparse.Namespace) -> tuple[Line, list[Row]]:
    """A call of `predict` for one row of California housing."""
    X, _, y, _ = housing()
    best = {}
    for who, module in LIBRARIES.items():
        est = module.MLPRegressor(max_iter=1, random_state=0).fit(X, y)
        row, times = X[:1].copy(), []
        for _ in range(50 * options.rounds):
            start = time.perf_counter()
            for _ in range(20):
                est.predict(row)
            times.append((time.perf_counter() - start) / 20)
        best[who] = 1e6 * min(times)
    row = Row("predict of one row", text(best["cnn"]), "scikit-learn", text(best["scikit-learn"]), text(best["cnn"]),
              f"≤ {ONE_ROW_US:g} µs", "–", best["cnn"] <= ONE_ROW_US)  # fmt: skip
    return {"set": "one row", "us": best}, [row]


WORK: dict[str, Callable[[argparse.Namespace], tuple[Line, list[Row]]]] = {
    **{name: partial(fits, name) for name in SETS}, "search": search, "one_row": one_row,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=list(WORK), default=list(WORK), metavar="SET",
                        help=", ".join(WORK))  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5, help="of the scores")
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, machine.cores()}))
    parser.add_argument("--json", type=Path, help="append a JSON line for each set")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(", ".join(f"{key} {value}" for key, value in machine.description().items()), flush=True)
    rows: list[Row] = []
    for name in options.sets:
        line, found = WORK[name](options)
        print(json.dumps(line), flush=True)
        rows += found
        if options.json is not None:
            with options.json.open("a") as file:
                file.write(json.dumps({**machine.description(), **line}) + "\n")
    if max(options.threads) < CORES:
        print(f"The bars of several threads were set on {CORES} cores; here there are {max(options.threads)}.")
    print(report.bars_table(rows))


if __name__ == "__main__":
    main()
