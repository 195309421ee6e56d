"""House prices in California: from a CSV file with text and gaps to a saved model and a picture.

The table has 20,640 block groups of the 1990 census; the target is the median value of a house, in 100,000 dollars.
Run it: python examples/california_housing.py (matplotlib draws the picture; without it there is none)
"""

from __future__ import annotations

import argparse
import bz2
import csv
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

import cnn

DATA = Path(__file__).resolve().parent / "data" / "california_housing.csv.bz2"
TARGET, TEXT = "median_house_value", "ocean_proximity"
SKEWED = ("total_rooms", "total_bedrooms", "population", "households", "median_income")
Array = np.ndarray[Any, Any]
Numbers = dict[str, Any]


def read_table(path: Path) -> tuple[dict[str, Array], list[str], Array]:
    """Columns of numbers by name (NaN where one is missing), the text column, the target in 100,000 dollars."""
    with bz2.open(path, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name not in (TARGET, TEXT)]
    columns = {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}
    return columns, [row[TEXT] for row in rows], np.array([float(row[TARGET]) for row in rows]) / 100_000


def features(columns: dict[str, Array], text: list[str]) -> tuple[Array, list[str]]:
    """Numbers, logarithms where a column is skewed, and the text one-hot."""
    categories = sorted(set(text))
    numbers = [np.log(column) if name in SKEWED else column for name, column in columns.items()]
    one_hot = [np.array([value == category for value in text], float) for category in categories]
    return np.column_stack([*numbers, *one_hot]), [*columns, *categories]


def measure(X: Array, y: Array, names: list[str], columns: Collection[str]) -> Numbers:
    """What `prepare` and `prices` need to know, from training rows alone."""
    medians = np.nanmedian(X, axis=0)
    filled = np.where(np.isnan(X), medians, X)
    # One-hot columns stay 0 and 1: divided by its small deviation, a rare category would be an outlier.
    numeric = np.array([name in columns for name in names])
    return {
        "features": names, "medians": medians.tolist(),
        "means": np.where(numeric, filled.mean(axis=0), 0.0).tolist(),
        "deviations": np.where(numeric, filled.std(axis=0), 1.0).tolist(),
        "target_mean": float(y.mean()), "target_deviation": float(y.std()),
    }  # fmt: skip


def prepare(X: Array, numbers: Numbers) -> Array:
    """Gaps filled, columns of numbers standardised, as `measure` found it on the training rows."""
    return (np.where(np.isnan(X), numbers["medians"], X) - numbers["means"]) / numbers["deviations"]


def prices(net: cnn.Network, X: Array, numbers: Numbers) -> Array:
    """Predictions in 100,000 dollars, for rows as `features` gives them."""
    return net.predict(prepare(X, numbers)) * numbers["target_deviation"] + numbers["target_mean"]


def split(n: int) -> dict[str, Array]:
    """64 % of the rows to train on, 16 % to validate on, 20 % to test on: drawn once, with a fixed seed."""
    order = np.random.default_rng(0).permutation(n)
    train, validation, test = np.split(order, [int(0.64 * n), int(0.8 * n)])
    return {"train": train, "validation": validation, "test": test}


def draw(path: Path, history: cnn.History, deviation: float, true: Array, predicted: Array) -> None:
    """The learning curve, and predicted against true prices of the test rows."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("no picture: it needs matplotlib (pip install matplotlib)")
        return
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs, best = np.array(history.epoch) + 1, int(np.argmin(history.val_loss))
    left.plot(epochs, np.array(history.rmse) * deviation, label="training")
    left.plot(epochs, np.array(history.val_rmse) * deviation, label="validation")
    left.axvline(epochs[best], color="0.5", ls=":", label=f"kept: epoch {epochs[best]}")
    left.set(xlabel="epoch", ylabel="RMSE (100,000 dollars)", title="Learning curve", ylim=(0.3, 0.9))
    left.legend()
    left.grid(alpha=0.3)

    cells = right.hexbin(true, predicted, gridsize=55, extent=(0, 5.5, 0, 5.5), bins="log", mincnt=1, cmap="viridis")
    figure.colorbar(cells, ax=right, label="block groups")
    right.plot([0, 5.5], [0, 5.5], color="tab:red", lw=1, label="predicted = true")
    right.set(xlabel="true price (100,000 dollars; the census cut them off at 5)", ylabel="predicted",
              title="Test rows", xlim=(0, 5.5), ylim=(0, 5.5), aspect="equal")  # fmt: skip
    right.legend(loc="upper left")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60, help="at most so many (default 60)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for model and picture (default out)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    columns, text, y = read_table(DATA)
    X, names = features(columns, text)
    rows = split(len(y))
    train, validation = rows["train"], rows["validation"]
    numbers = measure(X[train], y[train], names, columns)
    target = (y - numbers["target_mean"]) / numbers["target_deviation"]

    net = cnn.Network(
        [cnn.Dense(96, "relu"), cnn.Dropout(0.05), cnn.Dense(96, "relu"), cnn.Dense(1)],
        loss="mse", optimizer=cnn.AdamW(learning_rate=cnn.schedules.OneCycle(0.01)), seed=0,
    )  # fmt: skip
    history = net.fit(
        prepare(X[train], numbers), target[train], epochs=arguments.epochs, batch_size=128,
        validation_data=(prepare(X[validation], numbers), target[validation]),
        callbacks=[cnn.EarlyStopping(patience=15, restore_best=True)],
    )  # fmt: skip
    net.summary()

    print("\nset            rows    RMSE      R²   (RMSE in 100,000 dollars)")
    for name, index in rows.items():
        predicted = prices(net, X[index], numbers)
        rmse, r2 = cnn.metrics.rmse(y[index], predicted), cnn.metrics.r2(y[index], predicted)
        print(f"{name:<12} {len(index):>6,}  {rmse:>6.4f}  {r2:>6.4f}")
    seconds = sum(history.seconds)
    print(f"\n{len(history)} epochs in {seconds:.2f} s: {len(train) * len(history) / seconds:,.0f} rows per second")

    model, preparation = arguments.out / "california_housing.cnn", arguments.out / "california_housing.json"
    net.save(model)
    preparation.write_text(json.dumps(numbers, indent=1), encoding="utf-8")
    again = prices(cnn.load(model), X[rows["test"]], json.loads(preparation.read_text(encoding="utf-8")))
    test = prices(net, X[rows["test"]], numbers)
    assert np.array_equal(again, test), "the saved model predicts something else"
    picture = arguments.out / "california_housing.png"
    draw(picture, history, numbers["target_deviation"], y[rows["test"]], test)
    print("written:", *(path for path in (model, preparation, picture) if path.exists()))


if __name__ == "__main__":
    main()
