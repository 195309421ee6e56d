"""Many networks on California housing: cross-validation of 40 settings beside scikit-learn's, an ensemble beside one.

    python benchmarks/ensembles.py [--rounds 3] [--epochs 10] [--seeds 3]

float32. The 40 settings are those of a grid over widths (two lists of them), penalty, learning rate and batch, with 5
folds and the same epochs for all: `cnn.cross_validate` on all networks at once, and `GridSearchCV` over scikit-learn's
MLPRegressor with a process on each core, which take turns; each searched once before for its processes. Weights and
biases are drawn from the same distributions. The folds lie in the four fifths of the rows that are not for tests. The
ensemble and the single network have the same settings and epochs, hold out a fold each, and keep their best epoch on
it; only their RMSE is taken on the test set, that of one network as the mean of all that were trained: alone, and as
members, which differ in nothing but the fold. At the end all bars are printed, met or missed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
import warnings
from typing import Any

import machine
import numpy as np
import report
import sklearn.neural_network as peer
from bars import CORES, Row, number
from bars import time as text
from estimators import housing
from sklearn.model_selection import GridSearchCV, KFold, ParameterGrid

import cnn

SPEED, GAIN, MORE = 15.0, 0.02, 0.10
STANDARD_ERRORS = 2  # of a mean difference of R²: the two draw other numbers for their weights
# The wider networks are, the more of the time of both is arithmetic, and the less there is to win.
WIDTHS = {
    "16 to 100, 32-32": [(16,), (32,), (64,), (100,), (32, 32)],
    "30 to 100, 50-50, 100-50": [(30,), (50,), (100,), (50, 50), (100, 50)],
}
OTHERS: dict[str, list[Any]] = {"batch_size": [100, 200], "alpha": [1e-4, 1e-2], "learning_rate_init": [1e-3, 1e-2]}
COLUMNS = 8  # of the table
MEMBERS = 8
MEMBER = {"hidden_layer_sizes": (64, 64), "learning_rate_init": 0.003}


def network(
    seed: int, hidden_layer_sizes: tuple[int, ...], alpha: float, learning_rate_init: float, batch_size: int
) -> cnn.Network:
    """scikit-learn's network of these parameters: its loss is half of ours, its penalty divided by the batch."""
    widths, stack = [COLUMNS, *hidden_layer_sizes, 1], []
    for inputs, units in itertools.pairwise(widths):
        biases = cnn.Initializer("uniform", np.sqrt(6 / (inputs + units)))
        kind = "relu" if len(stack) < len(hidden_layer_sizes) else "identity"
        stack.append(cnn.Dense(units, kind, "glorot_uniform", bias_initializer=biases, l2=alpha / batch_size))
    return cnn.Network(stack, optimizer=cnn.Adam(learning_rate_init), seed=seed)


def ours(X: Any, y: Any, folds: KFold, epochs: int, grid: dict[str, list[Any]]) -> np.ndarray:
    """Mean R² of each setting, in the order of scikit-learn's grid."""
    settings = list(ParameterGrid(grid))
    found = np.empty(len(settings))
    for batch in grid["batch_size"]:
        chosen = [i for i, setting in enumerate(settings) if setting["batch_size"] == batch]
        nets = [network(i, **settings[i]) for i in chosen]
        results = cnn.cross_validate(nets, X, y, cv=folds, epochs=epochs, batch_size=batch, scoring="r2")
        found[chosen] = [result["test_r2"].mean() for result in results]
    return found


def theirs(X: Any, y: Any, folds: KFold, epochs: int, grid: dict[str, list[Any]]) -> np.ndarray:
    est = peer.MLPRegressor(max_iter=epochs, tol=0, n_iter_no_change=epochs, random_state=0)
    return GridSearchCV(est, grid, n_jobs=-1, cv=folds, refit=False).fit(X, y).cv_results_["mean_test_score"]


def rows_of(options: argparse.Namespace) -> tuple[Any, Any, Any, Any]:
    X, X_test, y, y_test = housing()
    return X[: options.rows], X_test, y[: options.rows], y_test


def settings(options: argparse.Namespace, named: str) -> list[Row]:
    X, _, y, _ = rows_of(options)
    folds, best = KFold(5), {"cnn": np.inf, "scikit-learn": np.inf}
    scores: dict[str, np.ndarray] = {}
    grid = {"hidden_layer_sizes": WIDTHS[named], **OTHERS}
    for done in range(options.rounds + 1):
        for who, search in (("cnn", ours), ("scikit-learn", theirs)):
            start = time.perf_counter()
            scores[who] = search(X, y, folds, options.epochs if done else 1, grid)
            if done:
                best[who] = min(time.perf_counter() - start, best[who])
    r2 = {who: sorted(found.round(4)) for who, found in scores.items()}
    print(json.dumps({"widths": named, "seconds": best, "r2": r2}), flush=True)
    cores, ratio = machine.cores(), best["scikit-learn"] / best["cnn"]
    times = {who: text(1e6 * seconds) for who, seconds in best.items()}
    what = f"5 folds x {len(scores['cnn'])} settings of {named}, {options.epochs} epochs"
    rows = [Row(what, f"{times['cnn']} ({cores})",
                "scikit-learn", f"{times['scikit-learn']} ({cores} processes)", f"{number(ratio)}×", f"≥ {SPEED:g}×",
                "–", ratio >= SPEED)]  # fmt: skip
    difference = scores["cnn"] - scores["scikit-learn"]
    noise = STANDARD_ERRORS * float(difference.std(ddof=1)) / np.sqrt(len(difference))
    for what, function, least in (("best", np.max, 0.0), ("mean", np.mean, -noise)):
        a, b = (float(function(scores[who])) for who in ("cnn", "scikit-learn"))
        rows.append(Row(f"{what} R² of these settings", f"{a:.4f}", "scikit-learn", f"{b:.4f}", f"{a - b:+.4f}",
                        f"≥ {least:.4f}", "–", a - b >= least))  # fmt: skip
    return rows


def fitted(members: int, seed: int, X: Any, y: Any, epochs: int, **options: Any) -> tuple[float, Any]:
    """(seconds, ensemble); all epochs are made."""
    member = cnn.MLPRegressor(**MEMBER, max_iter=epochs, n_iter_no_change=np.inf)
    ensemble = cnn.EnsembleRegressor(member, n_estimators=members, cv=MEMBERS, random_state=seed, **options)
    start = time.perf_counter()
    ensemble.fit(X, y)
    return time.perf_counter() - start, ensemble


def root(model: Any, X: Any, y: Any) -> float:
    return float(np.sqrt(np.mean((model.predict(X) - y) ** 2)))


def ensembles(options: argparse.Namespace) -> list[Row]:
    X, X_test, y, y_test = rows_of(options)
    epochs, cores = 6 * options.epochs, machine.cores()
    seconds: dict[int, list[float]] = {1: [], MEMBERS: []}
    rmse: dict[int, list[float]] = {1: [], MEMBERS: []}
    for seed in range(options.seeds):
        for members in seconds:
            one = {"n_threads": 1} if members == 1 else {}
            taken, ensemble = fitted(members, seed, X, y, epochs, **one)
            seconds[members].append(taken)
            rmse[members].append(root(ensemble, X_test, y_test))
            if members > 1:
                rmse[1] += [root(member, X_test, y_test) for member in ensemble.estimators_]
        last = {"seconds": {m: s[-1] for m, s in seconds.items()}, "rmse": rmse[MEMBERS][-1]}
        print(json.dumps({"seed": seed, **last, "R² out of members": ensemble.oom_score_}), flush=True)
    one, all_of = (statistics.mean(rmse[members]) for members in seconds)
    gain = 1 - all_of / one
    alone, together = (min(seconds[members]) for members in seconds)
    most = MEMBERS / cores * alone * (1 + MORE)
    return [
        Row(f"RMSE of an ensemble of {MEMBERS}, {options.seeds} seeds", f"{all_of:.4f}", "one network", f"{one:.4f}",
            f"-{gain:.1%}", f"≥ {GAIN:.0%} less", "–", gain >= GAIN),
        Row(f"fit of an ensemble of {MEMBERS}", f"{text(1e6 * together)} ({cores})", "one network",
            f"{text(1e6 * alone)} (1)", f"{together / alone:.2f} × its time", f"≤ {most / alone:.2f} ×", "–",
            together <= most),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10, help="of a setting; an ensemble has six times as many")
    parser.add_argument("--seeds", type=int, default=3, help="of the ensembles")
    parser.add_argument("--rows", type=int, help="to train on; all if not given")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(", ".join(f"{key} {value}" for key, value in machine.description().items()), flush=True)
    rows = [row for named in WIDTHS for row in settings(options, named)] + ensembles(options)
    if machine.cores() != CORES:
        print(f"Bars are ratios for any number of cores; here there are {machine.cores()}.")
    print(report.bars_table(rows))


if __name__ == "__main__":
    main()
