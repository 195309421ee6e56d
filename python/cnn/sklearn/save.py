"""Estimators into files (docs/files.md): parameters as names and numbers, the network, what the fits have left."""

from __future__ import annotations

import inspect
import math
import numbers
import os
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.metrics import get_scorer

from cnn import activations, layers, losses
from cnn._common import checks
from cnn.activations import Activation
from cnn.files import container
from cnn.files.descriptions import describe
from cnn.files.network import describe_network, history_tensors, network_tensors, optimizer_tensors
from cnn.losses import Loss
from cnn.runtime import evaluation
from cnn.runtime.data import Array
from cnn.sklearn import build

# Parameters that may hold what a file can't, and on which no prediction depends.
_FOR_FITS = ("scoring", "metrics", "random_state", "cv")
_APART = ("callbacks", "estimator")  # parameters that are not in files, or stand there by themselves
MOST_NUMBERS = 1 << 20  # of all curves together: in lists they take five times the memory that they take in the file
_MOST_LABELS = 1 << 24  # bytes of labels that are text, all as long as the longest


def save(est: Any, path: str | os.PathLike[str]) -> None:
    """See `BaseMLP.save`."""
    net, name = est.network_, type(est).__name__
    if not vars(type(est)).get("_in_files"):
        raise TypeError(f"a file can hold cnn's own MLPClassifier and MLPRegressor, not a {name}")
    check_parameters(est, net.loss)
    parameters, left_out = describe_parameters(est)
    goes_on = est.warm_start or est._partial
    payload = {
        "class": name, "parameters": parameters, "network": describe_network(net), "partial": bool(est._partial),
        "step": net.step if goes_on else 0, "rate_factor": float(net.rate_factor),
        "rate": describe_number(est.__dict__.get("_rate")), "n_iter": int(est.n_iter_), "t": int(est.t_),
        "loss": describe_number(est.__dict__.get("loss_")), "best_loss": describe_number(est.best_loss_),
        "best_validation_score": describe_number(est.best_validation_score_),
        "no_improvement_count": int(est._no_improvement_count), "history": est.history_.names,
    }  # fmt: skip
    tensors = network_tensors(net, "network.") | _curves(est)
    if payload["step"]:
        tensors |= optimizer_tensors(net)
    add_names(est, payload, tensors)
    container.write(path, "estimator", payload, tensors)
    warn_of(left_out)


def warn_of(left_out: list[str]) -> None:
    """Says which parameters a file does not hold."""
    if left_out:
        warnings.warn(
            f"saved without {' and '.join(left_out)}: a file holds names and numbers, not functions and generators. "
            "Give them again, by set_params, before a further fit of the loaded estimator", stacklevel=4,
        )  # fmt: skip


def defaults(cls: type[Any]) -> dict[str, Any]:
    """The parameters that a file holds."""
    return {name: p.default for name, p in inspect.signature(cls).parameters.items() if name not in _APART}


def describe_parameters(est: Any) -> tuple[dict[str, Any], list[str]]:
    """(the parameters as plain JSON values, the names of those that have their default instead)."""
    described, left_out = {}, []
    for name, default in defaults(type(est)).items():
        value = getattr(est, name)
        if name == "dtype" and not isinstance(value, str):
            value = checks.real_dtype(value).name
        try:
            described[name] = _plain(name, value)
        except TypeError:
            if name not in _FOR_FITS:
                raise
            described[name] = _plain(name, default)
            left_out.append(name)
    return described, left_out


def _plain(name: str, value: Any) -> Any:
    """A value of a parameter as JSON values; TypeError for what is none. Tuples and arrays become lists."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, numbers.Integral):
        if not -(2**63) <= (whole := int(value)) <= 2**64:
            raise ValueError(f"{name}={whole} can't be saved: a file holds whole numbers from -2**63 to 2**64")
        return whole
    if isinstance(value, numbers.Real):
        return describe_number(value)
    if isinstance(value, Mapping):
        return {"items": [[_plain(name, label), _plain(name, weight)] for label, weight in value.items()]}
    if isinstance(value, Iterable):
        return [_plain(name, item) for item in value]
    if (described := describe(value)) is value:
        raise TypeError(f"{name}={value!r} can't be saved: a file holds names, numbers and what cnn itself describes")
    return described


def describe_number(value: Any) -> Any:
    """JSON has no infinity and no NaN."""
    if value is None or math.isfinite(value):
        return None if value is None else float(value)
    return {"float": str(float(value))}


def _curves(est: Any) -> dict[str, Any]:
    """The numbers of all epochs."""
    tensors = {"loss_curve": np.array(est.loss_curve_, float), **history_tensors(est.history_)}
    if est.validation_scores_ is not None:
        tensors["validation_scores"] = np.array(est.validation_scores_, float)
    if (n := sum(curve.size for curve in tensors.values())) > MOST_NUMBERS:
        raise ValueError(f"loss_curve_ and history_ have {n:,} numbers, and a file holds {MOST_NUMBERS:,}: cut them")
    return tensors


def add_names(model: Any, payload: dict[str, Any], tensors: dict[str, Any]) -> None:
    """The names of its columns, and a classifier's labels, put into what a file holds."""
    if (names := getattr(model, "feature_names_in_", None)) is not None:
        tensors["feature_names"] = container.pack_text([str(name) for name in names])
    if is_classifier(model):
        labels, tensors["classes"] = describe_classes(model.classes_)
        payload |= {"task": model._task, "labels": labels, "sparse_labels": bool(model._sparse_labels)}


def describe_classes(classes: Array) -> tuple[str, Array]:
    """(what the labels are, the tensor that holds them); TypeError for what a file can't hold."""
    if classes.dtype.kind in "biuf" and classes.dtype.itemsize <= 8 and classes.dtype != np.float16:
        return "numbers", classes
    if not all(isinstance(label, str) for label in classes.tolist()):
        raise TypeError(f"labels of dtype {classes.dtype} can't be saved: text, numbers and truth values can")
    check_labels(classes.tolist())
    return "text", container.pack_text([str(label) for label in classes])


def check_labels(labels: list[str]) -> None:
    """NumPy gives each label the room of the longest, and takes zero bytes at the end for room that is left."""
    if wrong := [label for label in labels if label.endswith("\0")]:
        raise ValueError(f"labels can't end with a zero byte in a file, got {wrong[0]!r}")
    if (size := 4 * len(labels) * max(map(len, labels), default=0)) > _MOST_LABELS:
        raise ValueError(f"labels of {size:,} bytes, all as long as the longest; a file holds {_MOST_LABELS:,}")


def check_parameters(est: Any, loss: Loss) -> None:
    """ValueError or TypeError for parameters that a fit would refuse whatever its rows are."""
    est._validate_params()
    build.hidden_sizes(est.hidden_layer_sizes)
    for kind in set(_each(est.activation)):
        activations.get(kind)
    for rate in _each(est.dropout):
        checks.number("dropout", rate, 0, 1, open_high=True)
    if est.layers is not None:
        layers.checked(est.layers)
    build.learning_rate(est)
    build.describe_optimizer(est)
    evaluation.resolve(est.metrics, loss)
    if isinstance(est.scoring, str) and est.scoring != "loss":
        get_scorer(est.scoring)
    if is_regressor(est):
        build.regression_loss(est)
        return
    losses.get(est.loss)
    if isinstance(est.class_weight, Mapping):
        for label, weight in est.class_weight.items():
            if not isinstance(label, (str, numbers.Real)):
                raise TypeError(f"class_weight has a weight for {label!r}, which is no label")
            if not isinstance(label, str) and not math.isfinite(label):
                raise ValueError(f"class_weight has a weight for {label!r}; labels are finite")
            checks.number(f"class_weight of {label!r}", weight, 0)


def _each(value: Any) -> list[Any]:
    """The values of a parameter that may be one or a list."""
    return [value] if isinstance(value, (str, Activation)) or not isinstance(value, Iterable) else list(value)
