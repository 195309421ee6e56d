"""Small models of every kind, their predictions, and all of them in words; files taken apart and put together."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn

X = np.random.default_rng(0).normal(size=(40, 3)).round(3)
KINDS = ("network", "estimator", "ensemble", "table", "images")


def table(n: int = 40) -> dict[str, list[Any]]:
    """Columns of every kind with gaps, one of no use, and two targets."""
    rng = np.random.default_rng(1)
    size = rng.normal(size=n).round(3)
    return {
        "size": [None if i % 9 == 4 else float(v) for i, v in enumerate(size)],
        "floor": ["?" if i == 3 else str(i % 4) for i in range(n)],
        "town": [None if i % 11 == 5 else ["Bern", "Genf", "Zürich"][i * i % 3] for i in range(n)],
        "new": [i % 3 == 0 for i in range(n)],
        "sold": [f"2024-{1 + i % 12:02}-{1 + i % 28:02}T06:00" for i in range(n)],
        "same": ["x"] * n,
        "price": [float(v) for v in (size * 3 + 10).round(3)],
        "dear": ["yes" if v > 0 else "no" for v in size],
    }


def one(kind: str) -> Any:
    """The smallest model of a kind."""
    if kind == "network":
        return cnn.Network([cnn.Dense(2)], seed=0).build(3)
    if kind == "estimator":
        return cnn.MLPClassifier(1, random_state=0).partial_fit(X, X[:, 0] > 0, classes=[False, True])
    if kind == "ensemble":
        member = cnn.MLPRegressor(hidden_layer_sizes=1, max_iter=1)
        return cnn.EnsembleRegressor(member, n_estimators=1, random_state=0).fit(X[:5], X[:5, 0])
    if kind == "images":
        small = cnn.ImageClassifier(layers=[cnn.GlobalAvgPool2D(), cnn.Dense(2)], epochs=1, random_state=0)
        return small.fit(np.arange(32, dtype=np.uint8).reshape(8, 2, 2), np.arange(8) % 2)
    rows = {name: table()[name] for name in ("floor", "town", "dear")}
    return cnn.TableModel("dear", hidden=[], members=1, epochs=1, seed=0).fit(rows, verbose=0)


def several() -> dict[str, Any]:
    """Of what golden files are made: once for each format. None may change after a release; add others."""
    labels = np.array(["low", "mid", "top"])[np.digitize(X[:, 0], [-0.5, 0.5])]
    rows = table()
    numbers = {name: cells for name, cells in rows.items() if name != "dear"}
    words = {name: cells for name, cells in rows.items() if name != "price"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so few epochs have not converged
        return {
            "plain": cnn.Network([cnn.Dense(2)], seed=0).build(3),
            "classes": cnn.Network(
                [cnn.Dense(3, cnn.Activation("elu", 0.3)), cnn.Dropout(0.2), cnn.Dense(3, use_bias=False)],
                loss=cnn.CrossEntropy(0.1), optimizer=cnn.SGD(0.1, momentum=0.9), seed=2**64 - 1,
            ).build(3),
            "double": cnn.Network(
                [cnn.Dense(2, "tanh", l1=0.1), cnn.Dense(1)], loss=cnn.Huber(0.3), dtype="float64", seed=1,
                optimizer=cnn.AdamW(cnn.schedules.WarmUp(cnn.schedules.Cosine(0.01), 5), clip_norm=1.0),
            ).build(3),
            "classifier": cnn.MLPClassifier(
                (4, 3), (cnn.Activation("elu", 0.3), "gelu"), dropout=(0.1, 0.0), class_weight={"low": 2.0, "mid": 1},
                learning_rate=cnn.schedules.Step(0.01, epochs=2), warm_start=True, early_stopping=True, metrics=("f1",),
                scoring="neg_log_loss", max_iter=3, random_state=0, dtype="float32", n_iter_no_change=np.inf,
                validation_fraction=0.4,
            ).fit(X, labels),
            "labels": cnn.MLPClassifier(3, "tanh", random_state=1, solver=cnn.Nadam(0.01)).partial_fit(
                X, np.c_[X[:, 0] > 0, X[:, 1] > 0].astype(int), classes=[0, 1]
            ),
            "regressor": cnn.MLPRegressor(
                cnn.Quantile(0.3), layers=(cnn.Dense(2, "tanh"), cnn.Dropout(0.1), cnn.Dense(2, l2=0.1)), max_iter=3,
                solver="sgd", momentum=1.0, learning_rate_init=1e-4, random_state=2, warm_start=True,
            ).fit(X, X[:, :2]),
            "ensemble": cnn.EnsembleRegressor(
                cnn.MLPRegressor(hidden_layer_sizes=(3, 2), max_iter=4, random_state=3), n_estimators=2, bootstrap=True,
                max_samples=0.7, max_features=2, cv=3, random_state=0,
            ).fit(X, X[:, :2]),
            "ensemble-classes": cnn.EnsembleClassifier(
                cnn.MLPClassifier(4, "tanh", class_weight={"low": 2.0}, max_iter=4), n_estimators=2, method="snapshots",
                random_state=1,
            ).fit(X, labels),
            "table": cnn.TableModel("price", hidden=[3], members=2, epochs=2, seed=0).fit(numbers, verbose=0),
            "table-classes": cnn.TableModel("dear", hidden=[2], activation="tanh", epochs=2, members=1, seed=1).fit(
                words, verbose=0
            ),
            "table-numbers": cnn.TableModel("price", numbers="both", hidden=[3], members=1, epochs=2, seed=2).fit(
                {name: cells for name, cells in table(900).items() if name != "dear"}, verbose=0
            ),
            "table-targets": cnn.TableModel(["price", "rent"], hidden=[3], members=2, epochs=2, seed=3).fit(
                {**numbers, "rent": [cell / 9 + i % 5 for i, cell in enumerate(rows["price"])]}, verbose=0
            ),
            "images": cnn.ImageClassifier(
                layers=(
                    cnn.Conv2D(4, 3, strides=(1, 2), padding="same", dilation_rate=(2, 1), use_bias=False),
                    cnn.BatchNorm(activation="relu"), cnn.Residual([cnn.Conv2D(4, 3, padding=1, groups=2)]),
                    cnn.MaxPool2D(2, strides=1, padding="same"), cnn.DepthwiseConv2D(2, depth_multiplier=2),
                    cnn.AvgPool2D((2, 1)), cnn.Flatten(), cnn.Dense(3),
                ),
                augment=(cnn.augment.Shift((1, 0), outside="edge"), cnn.augment.Flip(), cnn.augment.Cutout(2),
                         cnn.augment.Noise(0.1)),
                epochs=2, random_state=0,
            ).fit(pictures(24), labels[:24]),
            "signals": cnn.Network(
                [cnn.Conv1D(3, 2, strides=2, activation="silu"), cnn.MaxPool1D(2), cnn.GlobalAvgPool1D(), cnn.Dense(2)],
                dtype="float64", seed=4,
            ).build((9, 2)),
        }  # fmt: skip


def pictures(n: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(5).integers(0, 256, (n, 6, 7, 2), dtype=np.uint8)


def rows_of(model: Any) -> Any:
    """Rows to predict: an array, or a table."""
    if isinstance(model, cnn.ImageClassifier):
        return pictures(4) if model.image_shape_ == (6, 7, 2) else np.zeros((4, *model.image_shape_), np.uint8)
    if isinstance(model, cnn.Network) and len(model.input_shape) > 1:
        return X[:18].reshape(-1, *model.input_shape)
    return table(4) if isinstance(model, cnn.TableModel) else X[:4]


def predictions(model: Any, rows: Any) -> np.ndarray[Any, Any]:
    """Probabilities where the model has some."""
    if isinstance(model, cnn.Network):
        return model.predict(np.asarray(rows))
    if isinstance(model, cnn.ImageClassifier):
        return model.predict_proba(np.asarray(rows, np.uint8))
    if isinstance(model, cnn.TableModel):
        return model.predict(rows) if model.task == "regression" else model.predict_proba(rows)
    return model.predict_proba(np.asarray(rows)) if hasattr(model, "classes_") else model.predict(np.asarray(rows))


def networks(model: Any) -> list[cnn.Network]:
    if isinstance(model, cnn.TableModel):
        return list(model.networks)
    if hasattr(model, "networks_"):
        return model.networks_
    return [model if isinstance(model, cnn.Network) else model.network_]


# Arguments of `TableModel` as they were when the first golden files were made.
FIRST = {
    "hidden": (128, 64), "activation": "relu", "dropout": 0.1, "learning_rate": 0.01, "weight_decay": 0.01,
    "patience": 15,
}  # fmt: skip


def described(model: Any) -> str:
    """All of a model but its numbers."""
    parts: list[Any] = []
    for net in networks(model):
        parts += [*net.descriptions, net.loss, net.dtype.name, net.seed]
    if isinstance(model, cnn.TableModel):
        defaults = {**vars(type(model.settings)()), **FIRST}
        changed = {k: v for k, v in vars(model.settings).items() if v != defaults[k]}
        parts += [model.target, changed, model.seed, model.notes, model.dropped, model.encoder.inputs]
        parts += [model.classes.tolist()] if model.task == "classification" else []
    elif not isinstance(model, cnn.Network):
        defaults = type(model)().get_params(deep=False)
        changed = {k: v for k, v in sorted(model.get_params(deep=False).items()) if v != defaults[k]}
        parts += [changed]
    if hasattr(model, "networks_"):
        parts += [model.oom_score_, [features.tolist() for features in model.estimators_features_]]
        parts += [est.n_iter_ for est in model.estimators_]
    elif isinstance(model, cnn.ImageClassifier):
        parts += [model.n_iter_, model.history_.names, model.augment_, model.image_shape_]
    elif hasattr(model, "n_iter_"):
        parts += [model.n_iter_, model.t_, model.history_.names]
        parts += [model.network_.step, model.network_.optimizer, len(model.loss_curve_)]
    if hasattr(model, "classes_") and not isinstance(model, cnn.TableModel):
        parts += [model.classes_.tolist(), model.classes_.dtype.str]
    return repr(parts)


# Files ----------------------------------------------------------------------------------------------------------------


def parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    """(header, data) of a file."""
    n = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + n]), content[8 + n :]


def signed(header: str | dict[str, Any], data: bytes, digests: bool = True) -> bytes:
    """The file of a header, with checksums that are right."""
    if isinstance(header, dict):
        if digests:
            spans = {name: entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"}
            sums = {name: hashlib.sha256(data[a:b]).hexdigest() for name, (a, b) in spans.items()}
            header["__metadata__"]["sha256"] = json.dumps(sums)
        header["__metadata__"]["checksum"] = "0" * 64
        header = json.dumps(header, separators=(",", ":"))
    text = header.encode()
    zeroed = len(text).to_bytes(8, "little") + text
    return zeroed[:37] + hashlib.sha256(zeroed).hexdigest().encode() + zeroed[101:] + data


def refusal(path: Path, content: bytes) -> str:
    """The text of the error that such a file is refused with."""
    path.write_bytes(content)
    with pytest.raises(cnn.ModelFormatError) as caught:
        cnn.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)
