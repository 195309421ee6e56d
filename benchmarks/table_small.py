"""Small tables: table models beside networks trained by L-BFGS, whose penalty and length held-out rows choose.

python benchmarks/table_small.py [--splits 3] [--only diabetes cars ...]

On the training rows of benchmarks/tables.py's first split alone, split again. L-BFGS: ten networks with the parts, rows
and inputs of a table model with bins ("bins", for classes "both") or plain ones, 32 tanh units or twice 32 mish; the
penalty of four and the iterations of 15, 40 and 120 by the mean loss of all rows held out. Errors are the RMSE over the
deviation, or the log loss. Packages: the extra `bench`.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import numpy as np
import table_data
from scipy.optimize import minimize
from sklearn.model_selection import train_test_split
from table_data import TARGET, of_pydataset
from tables import TREES, by_sklearn

import cnn
from cnn.runtime import data
from cnn.sklearn.lbfgs import Objective
from cnn.table import lesson, training
from cnn.table.settings import Settings

TABLES = {
    **{name: table_data.TABLES[name] for name in ("diabetes", "cars", "concrete", "breast_cancer", "wine")},
    "housing": of_pydataset("Ecdat/Housing", "price"), "salaries": of_pydataset("car/Salaries", "salary"),
    "boston": of_pydataset("MASS/Boston", "medv"), "pima": of_pydataset("MASS/Pima.tr", "type"),
}  # fmt: skip
PENALTIES, ITERATIONS, MEMBERS = (1e-4, 3e-3, 3e-2, 1e-1), (15, 40, 120), 10
LBFGS: dict[str, Any] = {
    "L-BFGS, plain inputs": ("plain", (32,), "tanh"), "L-BFGS, bins": ("bins", (32, 32), "mish"),
}  # fmt: skip
Array = np.ndarray[Any, Any]


def minimised(net: cnn.Network, part: lesson.Rows) -> dict[int, Array]:
    """The parameters after each of `ITERATIONS`."""
    net.build(part.X.shape[1])
    net.one_dimensional = net.n_outputs == 1
    rows = data.prepare(part.X, part.scaled, part.weights, net.loss, net.dtype, None, net.n_outputs)
    found: dict[int, Array] = {}
    done = 0

    def keep(intermediate_result: Any) -> None:
        nonlocal done
        done += 1
        if done in ITERATIONS:
            found[done] = intermediate_result.x.copy()

    options = {"maxiter": max(ITERATIONS), "maxfun": 10**6, "gtol": 1e-5, "ftol": 1e-9}
    start = net.flat.astype(np.float64)
    last = minimize(Objective(net, rows, 1), start, method="L-BFGS-B", jac=True, callback=keep, options=options).x
    return {n: found.get(n, last) for n in ITERATIONS}


def by_lbfgs(train: Any, valid: Any, seed: int, numbers: Any, hidden: Any, activation: Any) -> Array:
    """The mean prediction of the networks."""
    if numbers == "bins" and table_data.is_classes(train):
        numbers = "both"
    settings = Settings(numbers=numbers, members=MEMBERS, target_scale="linear")
    found = lesson.of_frame(train, TARGET, settings, seed, None)
    made: dict[tuple[float, int, int], cnn.Network] = {}
    losses: dict[tuple[float, int], list[float]] = {}
    for l2 in PENALTIES:
        for member in range(MEMBERS):
            part, aside = found.of_member(member)
            units = (*((n, activation) for n in hidden), (found.goal.outputs, "identity"))
            stack = [cnn.Dense(n, f, l2=l2) for n, f in units]
            net = cnn.Network(stack, loss=found.goal.loss, seed=seed + member)
            for n, weights in minimised(net, part).items():
                one = cnn.Network(net.descriptions, loss=net.loss).build(part.X.shape[1])
                one.one_dimensional, one.flat[...] = net.one_dimensional, weights
                made[l2, n, member] = one
                losses.setdefault((l2, n), []).append(one.evaluate(*aside.to_score, metrics=())["loss"])
    best = min(losses, key=lambda choice: float(np.mean(losses[choice])))
    networks = [made[*best, member] for member in range(MEMBERS)]
    X = found.encoder.features(valid, np.arange(len(valid)))
    return training.mean_output(networks, found.goal, X, None)


def errors(table: Any, seed: int) -> dict[str, float]:
    groups = table[TARGET] if table_data.is_classes(table) else None
    parts = train_test_split(table, test_size=0.2, random_state=100 + seed, stratify=groups)
    train, valid = (part.reset_index(drop=True) for part in parts)
    kinds: dict[str, Any] = {"bins": "bins" if groups is None else "both", "plain inputs": "plain", "default": "auto"}
    models = {
        name: cnn.TableModel(TARGET, seed=seed, numbers=kind, target_scale="linear").fit(train, verbose=0)
        for name, kind in kinds.items()
    }
    goal = models["default"].goal
    outputs = {name: model._outputs_of(valid, None) for name, model in models.items()}
    outputs |= {name: by_lbfgs(train, valid, seed, *how) for name, how in LBFGS.items()}
    three = ("bins", "plain inputs", "L-BFGS, plain inputs")
    outputs["mean of bins, plain inputs and L-BFGS with these"] = np.mean([outputs[name] for name in three], axis=0)
    if groups is None:
        outputs |= {name: by_sklearn(name, train, valid, seed) for name in ("linear", TREES)}
    y = lesson.numbers(goal, valid, np.arange(len(valid)))
    found = {name: training.scores(goal, y, out) for name, out in outputs.items()}
    return {n: s["rmse"] / float(np.std(y)) if groups is None else s["log_loss"] for n, s in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in arguments.only:
        table, _ = table_data.splits(name, TABLES[name](table_data.FOLDER), 1)[0]
        found = [errors(table, seed) for seed in range(arguments.splits)]
        means = ", ".join(f"{model} {np.mean([one[model] for one in found]):.4f}" for model in found[0])
        print(f"{name}: {means}", flush=True)


if __name__ == "__main__":
    main()
