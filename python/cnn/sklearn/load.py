"""Estimators from files: every field is checked as its class would check it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin

from cnn._common import checks
from cnn._common.errors import ModelFormatError
from cnn.files import container
from cnn.files.container import Contents
from cnn.files.descriptions import revive
from cnn.files.network import read_history, read_optimizer, revive_network
from cnn.files.strict_json import shown
from cnn.network import Network
from cnn.sklearn import build
from cnn.sklearn.classifier import MLPClassifier
from cnn.sklearn.regressor import MLPRegressor
from cnn.sklearn.save import MOST_NUMBERS, check_labels, check_parameters, defaults

_CLASSES: dict[str, type[Any]] = {cls.__name__: cls for cls in (MLPClassifier, MLPRegressor)}
_FIELDS = [
    "class", "parameters", "network", "partial", "step", "rate_factor", "rate", "n_iter", "t", "loss", "best_loss",
    "best_validation_score", "no_improvement_count", "history",
]  # fmt: skip
OF_CLASSES = ["task", "labels", "sparse_labels"]  # further fields of a classifier
_ODD = ("inf", "-inf", "nan")


def class_and_fields(
    contents: Contents, classes: dict[str, type[Any]], kind: str, names: list[str], older: dict[str, Any] | None = None
) -> tuple[type[Any], dict[str, Any]]:
    """The class that a file names, and its fields: those of all, and of a classifier those of its classes."""
    name = contents.payload.get("class") if isinstance(contents.payload, dict) else None
    cls = classes.get(name) if isinstance(name, str) else None
    if cls is None:
        raise contents.error(f"it names {shown(name)}, which is no {kind} that this version of cnn knows")
    names = names + (OF_CLASSES if issubclass(cls, ClassifierMixin) else [])
    return cls, dict(zip(names, contents.fields(contents.payload, *names, older=older), strict=True))


def from_file(contents: Contents) -> MLPClassifier | MLPRegressor:
    """The estimator of an open file; ModelFormatError where anything is not as `save` writes it."""
    cls, found = class_and_fields(contents, _CLASSES, "estimator", _FIELDS)
    try:
        est = revive_parameters(contents, cls, found["parameters"])
        net = revive_network(contents, found["network"], Network, "network.")
        check_parameters(est, net.loss)
        if net.one_dimensional or net.loss != build.row_loss(net.loss, net.n_outputs):
            raise ValueError(f"its network has the loss {net.loss!r}")
        if cls is MLPClassifier:
            revive_classes(contents, est, net, *(found[field] for field in OF_CLASSES))
        elif not net.loss.for_classes:
            est._n_targets = net.n_outputs
        else:
            raise ValueError(f"a regressor with the loss {net.loss.name!r}")
        est._adopt(net)
        _revive_course(contents, est, found)
    except (TypeError, ValueError, OverflowError) as error:
        raise cannot_be(contents, error) from None
    return est


def cannot_be(contents: Contents, error: Exception) -> ModelFormatError:
    """The error of a file whose estimator its class refuses."""
    if isinstance(error, ModelFormatError):
        return error
    text = str(error)  # it may show all of a value
    text = text if len(text) <= 300 else text[:297] + "..."
    return contents.error(f"it describes an estimator that can't be: {text}")


def revive_parameters(contents: Contents, cls: type[Any], given: Any) -> Any:
    """The estimator of such parameters, not fitted. One that a later version has added has its default."""
    default = defaults(cls)
    known = [name for name in default if not isinstance(given, dict) or name in given]
    parameters = dict(zip(known, contents.fields(given, *known), strict=True))
    for name, value in parameters.items():
        flag = isinstance(default[name], bool) or name == "restore_best"
        if not flag and any(isinstance(item, bool) for item in (value if isinstance(value, list) else [value])):
            raise ValueError(f"{name}={shown(value)}")  # Python takes true for a number
    return cls(**{name: _value(contents, value) for name, value in parameters.items()})


def _value(contents: Contents, value: Any) -> Any:
    """What `save` has described; lists become tuples."""
    if isinstance(value, list):
        return tuple(_value(contents, item) for item in value)
    if not isinstance(value, dict):
        return value
    if "class" in value:
        return revive(contents, value, object)
    if "float" in value:
        return real(contents, value)
    (items,) = contents.fields(value, "items")
    if not isinstance(items, list) or not all(isinstance(item, list) and len(item) == 2 for item in items):
        raise ValueError("weights of classes must be pairs of a label and a weight")
    labels = [label for label, _ in items]
    if len(set(labels)) < len(labels):
        raise ValueError("two weights of one class")
    return {label: _value(contents, weight) for label, weight in items}


def real(contents: Contents, value: Any) -> float | None:
    """What `save` has written."""
    if isinstance(value, dict):
        (word,) = contents.fields(value, "float")
        if word not in _ODD:
            raise ValueError(f"{shown(word)} is none of {', '.join(_ODD)}")
        return float(word)
    return None if value is None else checks.number("a number", value)


def revive_classes(contents: Contents, est: Any, net: Network, task: Any, labels: Any, sparse: Any) -> None:
    if labels == "text":
        texts = container.unpack_text(contents, "classes")
        check_labels(texts)
        classes = np.array(texts, np.str_)
    elif labels == "numbers" and "classes" in contents.specs:
        classes = contents.read_tensor("classes", contents.specs["classes"].dtype)
    else:
        raise ValueError(f"it has no labels, which are {shown(labels)}")
    if classes.ndim != 1 or not (classes[1:] > classes[:-1]).all():
        raise ValueError("its labels are not different ones in ascending order")
    if classes.dtype.kind == "f" and not np.isfinite(classes).all():
        raise ValueError("its labels are not finite")
    n, several, loss = len(classes), task == "multilabel", net.loss
    fits = {
        "binary": 1 <= n <= 2 and net.n_outputs == (n if loss.one_class else 1),
        "multiclass": n >= 3 and net.n_outputs == n,
        "multilabel": not loss.one_class and net.n_outputs == n,
    }  # fmt: skip
    if not isinstance(task, str) or not fits.get(task) or not loss.for_classes:
        raise ValueError(f"{n} labels, task {shown(task)}, loss {loss.name} and {net.n_outputs} outputs")
    if not isinstance(sparse, bool) or (sparse and not several):
        raise ValueError(f"sparse_labels is {shown(sparse)}")
    if several and not np.array_equal(classes, np.arange(n)):
        raise ValueError("several labels a row, which are not 0, 1, 2, ...")
    est.classes_, est._task, est._sparse_labels = classes, task, sparse


def _revive_course(contents: Contents, est: Any, found: dict[str, Any]) -> None:
    """What the fits have left, into an estimator that has its network."""
    net = est.network_
    if not isinstance(found["partial"], bool):
        raise TypeError(f"partial is {shown(found['partial'])}")
    est._partial = found["partial"]
    if est._partial:
        est._series = 0
    net.counter[0] = checks.integer("step", found["step"], 0, 2**62)
    net.rate_factor = checks.number("rate_factor", found["rate_factor"], 0)
    if net.step:
        read_optimizer(contents, net)
    if found["rate"] is not None:
        est._rate = checks.number("rate", found["rate"], 0)
    est.n_iter_ = checks.integer("n_iter", found["n_iter"], 0, 2**62)
    est.t_ = checks.integer("t", found["t"], 0, 2**62)
    est._no_improvement_count = checks.integer("no_improvement_count", found["no_improvement_count"], 0, 2**62)
    if found["loss"] is not None:
        est.loss_ = real(contents, found["loss"])
    est.best_loss_ = real(contents, found["best_loss"])
    curves = [name for name in contents.specs if name.startswith("history.")] + ["loss_curve", "validation_scores"]
    if (n := sum(math.prod(contents.specs[name].shape) for name in curves if name in contents.specs)) > MOST_NUMBERS:
        raise ValueError(f"{n:,} numbers in its curves, and a file holds {MOST_NUMBERS:,}")
    est.loss_curve_ = _curve(contents, "loss_curve")
    est.history_ = read_history(contents, found["history"])
    est.best_validation_score_ = real(contents, found["best_validation_score"])
    if est.best_validation_score_ is not None:
        est.validation_scores_ = _curve(contents, "validation_scores")
    revive_features(contents, est, net.n_inputs)


def revive_features(contents: Contents, est: Any, n: int) -> None:
    """How many features it takes, and their names, if it knows some."""
    est.n_features_in_ = n
    if "feature_names" in contents.specs:
        names = container.unpack_text(contents, "feature_names")
        if len(names) != n:
            raise ValueError(f"{len(names)} names for {n} features")
        est.feature_names_in_ = np.array(names, object)


def _curve(contents: Contents, name: str) -> list[float]:
    curve = contents.read_tensor(name, np.float64)
    if curve.ndim != 1:
        raise contents.error(f"tensor {name} must have one dimension, got {curve.shape}")
    return curve.tolist()
