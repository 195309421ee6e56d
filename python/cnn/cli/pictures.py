"""`cnn train`, `predict`, `evaluate` and `inspect` for folders of pictures."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import cnn
from cnn.cli import write
from cnn.cli.screen import Screen, counted, figure
from cnn.inspect import reports
from cnn.table.frames import TableError

_OF_TABLES = ("hidden", "dropout", "loss", "class_weight", "patience", "members")  # options of `cnn train`


def are_meant(path: str, target: Sequence[str]) -> bool:
    """A folder without a target is one of pictures; TableError for a table without a target."""
    if target:
        return False
    if not os.path.isdir(path):
        raise TableError("say which column to predict: --target NAME (a folder of pictures needs none)")
    return True


def is_model(model: Any) -> bool:
    """Whether it is an `ImageClassifier`, whose class is not asked for: it needs scikit-learn."""
    return hasattr(model, "image_shape_") or type(model).__name__ == "ImageClassifier"


def train(
    screen: Screen, path: str, options: dict[str, Any], others: dict[str, Any], out: str, skip: bool,
    threads: int | None,
) -> None:  # fmt: skip
    """`cnn train FOLDER`; `others` are options for tables, by name, which must not be there."""
    for name, value in {**{f"--{name.replace('_', '-')}": options[name] for name in _OF_TABLES}, **others}.items():
        if value not in (None, False):
            raise TableError(f"{name} is for tables, and {path} is a folder of pictures")
    write.check_place(out, "--out")
    if out == "-":
        raise TableError("--out must be a file: a model is not text")
    start, live = time.perf_counter(), screen.progress()
    model = cnn.ImageClassifier(
        options["effort"], validation_split=options["valid"], epochs=options["epochs"], callbacks=live,
        batch_size=options["batch_size"], max_seconds=options["max_seconds"], random_state=options["seed"],
        on_broken="skip" if skip else "raise", n_threads=threads,
        **({} if options["learning_rate"] is None else {"learning_rate": options["learning_rate"]}),
    )  # fmt: skip
    try:
        model.fit(path)
    finally:
        for callback in live:
            callback.close()  # type: ignore[attr-defined]
    model.set_params(callbacks=None).save(out)
    seconds = time.perf_counter() - start
    scores = {name: model.history_[name][-1] for name in model.history_.names if name.endswith(("loss", "accuracy"))}
    title = f"{_of(model)}, {counted(model.n_iter_, 'epoch')}, {seconds:.1f} s"
    screen.table(title, ["score", ""], [[_words(name), figure(value)] for name, value in scores.items()])
    screen.say(f"written: {out}")
    screen.result({**_about(model), "scores": scores, "seconds": round(seconds, 3), "written": [out]})


def _words(name: str) -> str:
    kind, _, what = name.rpartition("val_")
    return f"{what}, held out" if name.startswith("val_") else f"{kind}{what}, training"


def _of(model: Any) -> str:
    height, width, channels = model.image_shape_
    return f"{len(model.classes_)} classes, {height} x {width} pixels, {'grey' if channels == 1 else 'colour'}"


def _about(model: Any) -> dict[str, Any]:
    return {"classes": model.classes_.tolist(), "image_shape": list(model.image_shape_), "epochs": model.n_iter_,
            "cnn": cnn.__version__}  # fmt: skip


def predict(
    screen: Screen, model: Any, path: str, out: str, probabilities: bool, threads: int | None
) -> None:
    """`cnn predict MODEL FOLDER`, or one picture: a row for each, with its name."""
    from cnn.images import folder  # needs scikit-learn, as the model

    start = time.perf_counter()
    paths = folder.found(path, classes=False).paths
    images, kept = folder.read(paths, model.image_shape_, model.on_broken)
    p = model.set_params(n_threads=threads).predict_proba(images)
    columns = {"file": np.array([_written(paths[i]) for i in kept]), "prediction": model.classes_[p.argmax(axis=1)]}
    if probabilities:
        columns |= {f"probability_{label}": p[:, i] for i, label in enumerate(model.classes_)}
    with write.table(out) as writer:
        writer.write(None, columns)
    if out != "-":
        screen.say(f"{counted(len(kept), 'picture')} in {time.perf_counter() - start:.1f} s; written: {out}")
        screen.result({"pictures": len(kept), "written": [out]})


def _written(path: Path) -> str:
    """A file's name as text; what is no UTF-8 in it is replaced."""
    return os.fsencode(path).decode("utf-8", "replace")


def evaluate(screen: Screen, model: Any, path: str, threads: int | None) -> None:
    """`cnn evaluate MODEL FOLDER`: the accuracy for pictures in a folder for each class."""
    from cnn.images import folder  # needs scikit-learn, as the model

    pictures = folder.found(path, classes=True)
    images, kept = folder.read(pictures.paths, model.image_shape_, model.on_broken)
    labels = np.array(pictures.labels)[kept]
    if unknown := sorted(set(labels.tolist()) - set(map(str, model.classes_))):
        raise TableError(f"{path} has a folder {unknown[0]!r}, which is none of the classes of the model")
    right = model.set_params(n_threads=threads).predict(images).astype(str) == labels
    body = [["all", str(len(right)), figure(float(right.mean()))]]
    each = {label: float(right[labels == label].mean()) for label in np.unique(labels).tolist()}
    body += [[label, str(int((labels == label).sum())), figure(value)] for label, value in each.items()]
    screen.table(f"{counted(len(right), 'picture')}, {len(each)} of {len(model.classes_)} classes",
                 ["class", "pictures", "accuracy"], body)  # fmt: skip
    screen.result({"pictures": len(right), "scores": {"accuracy": float(right.mean())}, "classes": each})


def inspect(screen: Screen, model: Any) -> None:
    """`cnn inspect`."""
    screen.say(*model.summary().splitlines())
    body = [["pictures", _of(model)], ["classes", ", ".join(map(str, model.classes_))],
            ["epochs", str(model.n_iter_)]]  # fmt: skip
    screen.table("ImageClassifier", ["", ""], body)
    layers = [reports.short(layer) for layer in model.network_.descriptions]
    screen.result({"kind": "images", **_about(model), "layers": layers})
