"""`fit` of the estimators beside scikit-learn's, end to end on real data: the same parameters and epochs, float32.

Each fit runs in this process, the two libraries in turn; the best of several rounds counts. scikit-learn has the number
of BLAS threads that is best for it. A row is printed and, with --json, written for each data set.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import time
import warnings
from pathlib import Path
from typing import Any

import machine
import numpy as np
import sklearn.neural_network as peer
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

import cnn

DATA = Path(__file__).resolve().parents[1] / "examples" / "data"
Set = tuple[Any, Any, Any, Any]


def table(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(gzip.decompress(path.read_bytes()).decode())))


def housing() -> Set:
    """8 numeric features, the target in 100,000 dollars; the block groups without a number of bedrooms are left out."""
    header, *rows = table(DATA / "california_housing.csv.gz")
    column = {name: i for i, name in enumerate(header)}
    names = [name for name in header if name not in ("ocean_proximity", "median_house_value")]
    rows = [row for row in rows if row[column["total_bedrooms"]]]
    X = np.array([[float(row[column[name]]) for name in names] for row in rows])
    y = np.array([float(row[column["median_house_value"]]) / 1e5 for row in rows])
    return split(X, y)


def mnist() -> Set:
    pixels = gzip.decompress((DATA / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((DATA / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    X = np.frombuffer(pixels, np.uint8).reshape(-1, 784).astype(np.float32) / 255
    return tuple(train_test_split(X, np.frombuffer(labels, np.uint8), test_size=0.2, random_state=0))  # type: ignore


def adult() -> Set:
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


def split(X: Any, y: Any) -> Set:
    train, test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=0)
    scaler = StandardScaler().fit(train)
    return tuple(a.astype(np.float32) for a in (scaler.transform(train), scaler.transform(test), y_train, y_test))


# What it is, the estimator, the number of epochs.
SETS = {
    "housing": (housing, "MLPRegressor", 20), "adult": (adult, "MLPClassifier", 5),
    "mnist": (mnist, "MLPClassifier", 5),
}  # fmt: skip


def fit_seconds(kind: Any, data: Set, epochs: int, **options: Any) -> tuple[float, float]:
    """(seconds of a fit, test score)."""
    est = kind(max_iter=epochs, tol=0, n_iter_no_change=epochs, **{"random_state": 0, **options})
    start = time.perf_counter()
    est.fit(data[0], data[2])
    return time.perf_counter() - start, float(est.score(data[1], data[3]))


def compare(name: str, rounds: int, threads: list[int]) -> dict[str, Any]:
    load, kind, epochs = SETS[name]
    data = load()
    steps = epochs * -(-len(data[0]) // 200)
    found: dict[str, list[float]] = {}
    scores: dict[str, float] = {}
    for _ in range(rounds):
        for n in threads:
            with threadpool_limits(n, user_api="blas"):
                seconds, scores["scikit-learn"] = fit_seconds(getattr(peer, kind), data, epochs)
                found.setdefault("scikit-learn", []).append(seconds)
            seconds, scores["cnn"] = fit_seconds(getattr(cnn, kind), data, epochs, n_threads=n)
            found.setdefault(f"cnn {n}", []).append(seconds)
    best = {who: min(times) for who, times in found.items()}
    ratios = {who: best["scikit-learn"] / seconds for who, seconds in best.items()}
    for who, seconds in best.items():
        print(f"{name:8} {who:13} {seconds:8.3f} s {1e6 * seconds / steps:8.1f} us a step {ratios[who]:6.1f} x "
              f"score {scores[who.split()[0]]:.4f}", flush=True)  # fmt: skip
    return {"set": name, "epochs": epochs, "seconds": best, "ratios": ratios, "scores": scores}


def search() -> dict[str, Any]:
    """GridSearchCV over 24 settings on California housing, n_jobs=-1, 10 epochs each."""
    X, _, y, _ = housing()
    grid = {"hidden_layer_sizes": [(50,), (100,), (50, 50)], "alpha": [1e-4, 1e-2], "learning_rate_init": [1e-3, 1e-2],
            "batch_size": [100, 200]}  # fmt: skip
    seconds = {}
    for who, module in (("scikit-learn", peer), ("cnn", cnn)):
        start = time.perf_counter()
        GridSearchCV(module.MLPRegressor(max_iter=10, random_state=0), grid, n_jobs=-1, cv=3).fit(X, y)
        seconds[who] = time.perf_counter() - start
        print(f"search   {who:13} {seconds[who]:8.3f} s", flush=True)
    return {"set": "search", "seconds": seconds, "ratios": {"cnn": seconds["scikit-learn"] / seconds["cnn"]}}


def one_row() -> dict[str, Any]:
    X, _, y, _ = housing()
    best = {}
    for who, module in (("scikit-learn", peer), ("cnn", cnn)):
        est = module.MLPRegressor(max_iter=1, random_state=0).fit(X, y)
        row, times = X[:1].copy(), []
        for _ in range(200):
            start = time.perf_counter()
            for _ in range(20):
                est.predict(row)
            times.append((time.perf_counter() - start) / 20)
        best[who] = min(times)
        print(f"one row  {who:13} {1e6 * best[who]:8.2f} us", flush=True)
    return {"set": "one row", "seconds": best, "ratios": {"cnn": best["scikit-learn"] / best["cnn"]}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="*", default=[*SETS, "search", "one_row"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="*", default=sorted({1, machine.cores()}))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(json.dumps(machine.description()))
    for name in options.sets:
        extra = {"search": search, "one_row": one_row}
        found = extra[name]() if name in extra else compare(name, options.rounds, options.threads)
        if options.json is not None:
            with options.json.open("a") as file:
                file.write(json.dumps({**machine.description(), **found}) + "\n")


if __name__ == "__main__":
    main()
