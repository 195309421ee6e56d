"""The figures on overfitting in docs/from-maths-to-code.md: python docs/figures/overfitting.py (half a minute).

A network of 100 and 100 units learns 300 block groups of the California housing table by heart; each cure is drawn over
it. Validation is on the 3,303 rows of the example's validation set.
"""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import cnn

ROOT = Path(__file__).resolve().parents[2]
FEW, MORE, EPOCHS = 300, 2000, 300
# name of the figure: title, then label and network of each cure, with what differs in its training
CURES: dict[str, tuple[str, dict[str, tuple[list[Any], dict[str, Any]]]]] = {}
WIDE = [cnn.Dense(100, "relu"), cnn.Dense(100, "relu"), cnn.Dense(1)]


def penalised(**penalty: float) -> list[Any]:
    return [cnn.Dense(100, "relu", **penalty), cnn.Dense(100, "relu", **penalty), cnn.Dense(1)]


CURES["more_data"] = ("More data, or noise on the inputs", {
    "2,000 rows": (WIDE, {"rows": MORE}),
    "noise of deviation 0.3, drawn anew each epoch": (WIDE, {"noise": 0.3}),
})  # fmt: skip
CURES["smaller_network"] = ("A smaller network", {
    "8 units": ([cnn.Dense(8, "relu"), cnn.Dense(1)], {}),
})  # fmt: skip
CURES["penalties"] = ("L1 and L2 penalties", {
    "l2 = 0.03": (penalised(l2=0.03), {}),
    "l1 = 0.005": (penalised(l1=0.005), {}),
})  # fmt: skip
CURES["dropout"] = ("Dropout", {
    "Dropout(0.4) after both layers": (
        [cnn.Dense(100, "relu"), cnn.Dropout(0.4), cnn.Dense(100, "relu"), cnn.Dropout(0.4), cnn.Dense(1)], {},
    ),
})  # fmt: skip
CURES["early_stopping"] = ("Early stopping", {
    "EarlyStopping(patience=20)": (WIDE, {"callbacks": [cnn.EarlyStopping(patience=20, restore_best=True)]}),
})  # fmt: skip


def load() -> tuple[SimpleNamespace, SimpleNamespace, float]:
    """Training and validation rows (X, y), standardised as the example does it, and the target's deviation."""
    example = SimpleNamespace(**runpy.run_path(str(ROOT / "examples" / "california_housing.py")))
    columns, text, y = example.read_table(example.DATA)
    X, names = example.features(columns, text)
    rows = example.split(len(y))
    train, validation = rows["train"][:MORE], rows["validation"]
    numbers = example.measure(X[train], y[train], names, columns)
    deviation = numbers["target_deviation"]
    X, y = example.prepare(X, numbers), (y - numbers["target_mean"]) / deviation
    return SimpleNamespace(X=X[train], y=y[train]), SimpleNamespace(X=X[validation], y=y[validation]), deviation


def learn(
    layers: list[Any], train: SimpleNamespace, validation: SimpleNamespace, epochs: int, rows: int = FEW,
    noise: float = 0.0, callbacks: list[cnn.Callback] | None = None,
) -> tuple[cnn.Network, cnn.History]:  # fmt: skip
    """The network and its history; with noise, every epoch is a fit of its own to freshly disturbed inputs."""
    net = cnn.Network(layers, optimizer=cnn.Adam(0.002), seed=0)
    X, y = train.X[:rows], train.y[:rows]
    rng = np.random.default_rng(0)
    for _ in range(epochs if noise else 1):
        net.fit(X + noise * rng.normal(size=X.shape), y, epochs=1 if noise else epochs, batch_size=32, verbose=0,
                validation_data=(validation.X, validation.y), callbacks=callbacks or ())  # fmt: skip
    return net, net.history


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    train, validation, deviation = load()

    def report(label: str, net: cnn.Network, history: cnn.History) -> None:
        kept = net.evaluate(validation.X, validation.y)["rmse"]
        numbers = [deviation * rmse for rmse in (history.rmse[-1], kept, min(history.val_rmse))]
        print("{:<46} {:>8.3f} {:>10.3f} {:>7.3f}".format(label, *numbers))

    print(f"{'RMSE in 100,000 dollars':<46} {'training':>8} {'validation':>10} {'best':>7}")
    net, untreated = learn(WIDE, train, validation, arguments.epochs)
    report(f"none ({FEW} rows)", net, untreated)
    for name, (title, cures) in CURES.items():
        figure = Figure(figsize=(6.6, 3.8), layout="constrained")
        axes = figure.subplots()
        curves = {f"untreated ({FEW} rows)": untreated}
        for label, (layers, how) in cures.items():
            net, curves[label] = learn(layers, train, validation, arguments.epochs, **how)
            report(label, net, curves[label])
        for (label, history), colour in zip(curves.items(), ("0.55", "tab:blue", "tab:orange"), strict=False):
            epoch = np.array(history.epoch) + 1
            axes.plot(epoch, np.array(history.val_rmse) * deviation, color=colour, label=label)
            axes.plot(epoch, np.array(history.rmse) * deviation, color=colour, ls=":")
        if name == "early_stopping":
            best = int(np.argmin(history.val_rmse))
            axes.plot(best + 1, history.val_rmse[best] * deviation, "o", color=colour, label="weights kept")
        axes.plot([], [], color="k", label="validation")
        axes.plot([], [], color="k", ls=":", label="training")
        axes.set(xlabel="epoch", ylabel="RMSE (100,000 dollars)", title=title, ylim=(0.1, 1.2))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, ncols=2, loc="upper right")
        figure.savefig(arguments.out / f"{name}.png", dpi=90)


if __name__ == "__main__":
    main()
