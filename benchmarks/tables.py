"""Table models beside scikit-learn's estimators on twelve tables (table_data.py), and the bars that they are held to.

python benchmarks/tables.py [--splits 3] [--seeds 3] [--best] [--quick] [--only NAME ...] [--data FOLDER] [--json]

All have the same rows, in one run; means over splits times seeds. Nothing is chosen by a test row: they are looked at
once, here. The error is the RMSE over the deviation of the test rows' targets, or the share of wrong classes over that
of who always says the most frequent class; the rank is by that. Packages: the extra `bench`.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kept
import numpy as np
import pandas as pd
import table_data
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from table_data import TARGET

import cnn

Array = np.ndarray[Any, Any]
OURS, TREES, NETWORK = "cnn", "HistGradientBoosting", "scikit-learn's MLP"
# By the task: of classes, of numbers. Those that draw nothing are fitted once for each split.
OTHERS: dict[str, tuple[Callable[[int], Any], Callable[[int], Any]]] = {
    TREES: (
        lambda seed: HistGradientBoostingClassifier(random_state=seed, categorical_features="from_dtype"),
        lambda seed: HistGradientBoostingRegressor(random_state=seed, categorical_features="from_dtype"),
    ),
    "random forest": (
        lambda seed: RandomForestClassifier(random_state=seed, n_jobs=2),
        lambda seed: RandomForestRegressor(random_state=seed, n_jobs=2),
    ),
    NETWORK: (
        lambda seed: MLPClassifier(random_state=seed),
        lambda seed: TransformedTargetRegressor(MLPRegressor(random_state=seed), transformer=StandardScaler()),
    ),
    "k nearest": (lambda seed: KNeighborsClassifier(), lambda seed: KNeighborsRegressor()),
    "linear": (lambda seed: LogisticRegression(max_iter=1000), lambda seed: Ridge()),
}
TITLES = {"california": "California", "adult": "Adult, its test file", TREES: "histogram gradient boosting"}
DRAW_NOTHING = ("k nearest", "linear")


def by_sklearn(name: str, train: pd.DataFrame, test: pd.DataFrame, seed: int) -> Array:
    """The predictions for the test rows."""
    X, new = train.drop(columns=TARGET), test.drop(columns=TARGET)
    texts = [column for column in X if not pd.api.types.is_numeric_dtype(X[column])]
    estimator = OTHERS[name][0 if table_data.is_classes(train) else 1](seed)
    if name == TREES:
        kinds = {c: pd.CategoricalDtype(sorted(set(X[c].dropna()))) for c in texts}
        return estimator.fit(X.astype(kinds), train[TARGET]).predict(new.astype(kinds))
    numbers = [column for column in X if column not in texts]
    inputs = ColumnTransformer([
        ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        ("texts", OneHotEncoder(min_frequency=10, handle_unknown="infrequent_if_exist", sparse_output=False), texts),
    ])  # fmt: skip
    return make_pipeline(inputs, estimator).fit(X, train[TARGET]).predict(new)


def error(train: pd.DataFrame, y: Array, predicted: Array) -> float:
    """As the head of the file says."""
    if table_data.is_classes(train):
        often = pd.Series(y).value_counts(normalize=True).iloc[0]
        return float(np.mean(y != predicted) / (1 - often))
    return rmse(y, predicted) / float(np.std(y))


def rmse(y: Array, predicted: Array) -> float:
    return float(np.sqrt(np.mean((y - predicted) ** 2)))


def calibration_error(y: Array, p: Array, bins: int = 15) -> float:
    """The expected calibration error of the more probable class (Guo et al. 2017): mean of |accuracy - confidence|."""
    confidence, right = p.max(axis=1), y == p.argmax(axis=1)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    apart = np.bincount(place, right - confidence, bins)
    return float(np.abs(apart).sum() / len(y))


class Run:
    """Errors and scores of all models on all tables."""

    def __init__(self, n_splits: int, seeds: int, effort: str, most_rows: int | None) -> None:
        self.n_splits, self.seeds, self.effort, self.most_rows = n_splits, seeds, effort, most_rows
        self.errors: dict[str, dict[str, list[float]]] = {}
        self.scores: dict[str, list[float]] = {}  # ours: RMSE in units of the target, or accuracy
        self.measures: dict[str, str] = {}  # of these scores
        self.seconds: dict[str, list[float]] = {}
        self.calibration: list[float] = []

    def table(self, name: str, table: pd.DataFrame, others: bool = True) -> None:
        found = self.errors.setdefault(name, {})
        for train, test in table_data.splits(name, table, self.n_splits):
            if self.most_rows is not None and len(train) > self.most_rows:
                train = train_test_split(train, train_size=self.most_rows, random_state=0)[0].reset_index(drop=True)
            y = test[TARGET].to_numpy()
            for seed in range(self.seeds):
                found.setdefault(OURS, []).append(error(train, y, self.ours(name, train, test, seed)))
                for other in OTHERS if others else ():
                    if not seed or other not in DRAW_NOTHING:
                        found.setdefault(other, []).append(error(train, y, by_sklearn(other, train, test, seed)))
        means = ", ".join(f"{model} {np.mean(errors):.4f}" for model, errors in found.items())
        scores, what = self.scores[name], "accuracy" if table_data.is_classes(table) else "RMSE"
        self.measures[name] = what
        print(f"{name}: {what} {np.mean(scores):.4f} ± {np.std(scores):.4f}, {max(self.seconds[name]):.1f} s at most; "
              f"errors: {means}", flush=True)  # fmt: skip

    def ours(self, name: str, train: pd.DataFrame, test: pd.DataFrame, seed: int) -> Array:
        start = time.perf_counter()
        model = cnn.TableModel(TARGET, seed=seed, effort=self.effort).fit(train, verbose=0)  # type: ignore[arg-type]
        self.seconds.setdefault(name, []).append(time.perf_counter() - start)
        predicted, y = model.predict(test), test[TARGET].to_numpy()
        classes = model.task == "classification"
        self.scores.setdefault(name, []).append(float(np.mean(predicted == y)) if classes else rmse(y, predicted))
        if name == "adult":
            codes = np.searchsorted(model.classes.astype(str), y.astype(str))
            self.calibration.append(calibration_error(codes, model.predict_proba(test)))
        return predicted

    def means(self) -> pd.DataFrame:
        """The mean error of each model (columns) on each table (rows)."""
        return pd.DataFrame({t: {m: np.mean(e) for m, e in found.items()} for t, found in self.errors.items()}).T


    def rows(self) -> list[dict[str, Any]]:
        """What page.py shows: the mean errors on each table, our score, and the seconds of our slowest fit."""
        return [
            {"table": TITLES.get(name, name), "score": f"{self.measures[name]} {np.mean(self.scores[name]):.4g}",
             **{TITLES.get(model, model): float(np.mean(each)) for model, each in found.items()},
             "seconds": round(max(self.seconds[name]), 1)}
            for name, found in self.errors.items()
        ]  # fmt: skip


def concrete_of_50_units(folder: Path, splits: int) -> float:
    """The mean RMSE of a single network of 50 hidden units, 90/10."""
    table, found = table_data.concrete(folder), []
    for i in range(splits):
        train, test = train_test_split(table, test_size=0.1, random_state=i)
        model = cnn.TableModel(TARGET, hidden=(50,), members=1, seed=i).fit(train, verbose=0)
        found.append(rmse(test[TARGET].to_numpy(), model.predict(test)))
    return float(np.mean(found))


def bar(what: str, value: float, least: float | None = None, most: float | None = None) -> None:
    met = (least is None or value >= least) and (most is None or value <= most)
    bound = f"at least {least:g}" if least is not None else f"at most {most:g}"
    print(f"{'met   ' if met else 'MISSED'} {what}: {value:.4f}, {bound}", flush=True)


def bars_of_all(run: Run) -> None:
    """The bars of ranks and mean errors."""
    means = run.means()
    ranks = means.rank(axis=1).mean().sort_values()
    print("\nmean rank and mean error:")
    for model, rank in ranks.items():
        print(f"  {model}: {rank:.2f}, {means[model].mean():.4f}")
    others = min(rank for model, rank in ranks.items() if model != OURS and model == NETWORK)
    bar("mean rank, beside the other networks'", float(ranks[OURS]), most=float(others))
    bar("mean error over HistGradientBoosting's", float(means[OURS].mean() / means[TREES].mean()), most=1.02)


def bars_of(run: Run, california: float, adult: float, seconds: float) -> None:
    if "california" in run.scores:
        bar("California, RMSE", float(np.mean(run.scores["california"])), most=california)
    if "adult" in run.scores:
        bar("Adult, accuracy", float(np.mean(run.scores["adult"])), least=adult)
        bar("Adult, expected calibration error", float(np.mean(run.calibration)), most=0.02)
    bar("seconds of a fit", max(max(found) for found in run.seconds.values()), most=seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=table_data.FOLDER)
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=table_data.TABLES, default=list(table_data.TABLES))
    parser.add_argument("--best", action="store_true", help="also effort='best' on California and Adult, for minutes")
    parser.add_argument("--quick", action="store_true", help="one split, one seed, 2,000 rows: that it runs")
    kept.option(parser)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    quick, n = arguments.quick, (1, 1) if arguments.quick else (arguments.splits, arguments.seeds)
    run = Run(*n, "default", 2000 if quick else None)
    for name in arguments.only:
        run.table(name, table_data.TABLES[name](arguments.data))
    bars_of_all(run)
    kept.write(kept.answer("tables", run.rows()), arguments.json)
    bars_of(run, 0.455, 0.872, 10)
    bar("concrete, one network of 50 units, RMSE", concrete_of_50_units(arguments.data, 2 if quick else 20), most=5.2)
    if arguments.best:
        run = Run(*n, "best", 2000 if quick else None)
        for name in ("california", "adult"):
            run.table(name, table_data.TABLES[name](arguments.data), others=False)
        print("\neffort='best':")
        bars_of(run, 0.435, 0.874, 120)


if __name__ == "__main__":
    main()
