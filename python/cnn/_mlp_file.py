"""Estimators as files (docs/files.md): parameters as names and numbers, the network, what the fits have left."""

from __future__ import annotations

import inspect
import math
import numbers
import os
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from sklearn.metrics import get_scorer

from cnn import _check, _json, _mlp_build, activations, container, evaluation, files, layers, losses
from cnn._check import ModelFormatError
from cnn.activations import Activation
from cnn.container import Contents
from cnn.data import Array
from cnn.estimators import MLPClassifier, MLPRegressor
from cnn.losses import Loss
from cnn.network import Network

_CLASSES: dict[str, type[Any]] = {cls.__name__: cls for cls in (MLPClassifier, MLPRegressor)}
_FIELDS = [
    "class", "parameters", "network", "partial", "step", "rate_factor", "rate", "n_iter", "t", "loss", "best_loss",
    "best_validation_score", "no_improvement_count", "history",
]  # fmt: skip
_OF_CLASSES = ["task", "labels", "sparse_labels"]  # further fields of a classifier
# Parameters that may hold what a file can't, and on which no prediction depends.
_FOR_FITS = ("scoring", "metrics", "random_state")
_ODD = ("inf", "-inf", "nan")
_MOST_NUMBERS = 1 << 20  # of all curves together: in lists they take five times the memory that they take in the file
_MOST_LABELS = 1 << 24  # bytes of labels that are text, all as long as the longest


# Saving ---------------------------------------------------------------------------------------------------------------


def save(est: Any, path: str | os.PathLike[str]) -> None:
    """See `BaseMLP.save`."""
    net, name = est.network_, type(est).__name__
    if _CLASSES.get(name) is not type(est):
        raise TypeError(f"a file can hold cnn's own MLPClassifier and MLPRegressor, not a {name}")
    _check_parameters(est, net.loss)
    parameters, left_out = _describe_parameters(est)
    goes_on = est.warm_start or est._partial
    payload = {
        "class": name, "parameters": parameters, "network": files.describe_network(net), "partial": bool(est._partial),
        "step": net.step if goes_on else 0, "rate_factor": float(net.rate_factor),
        "rate": _number(est.__dict__.get("_rate")), "n_iter": int(est.n_iter_), "t": int(est.t_),
        "loss": _number(est.__dict__.get("loss_")), "best_loss": _number(est.best_loss_),
        "best_validation_score": _number(est.best_validation_score_),
        "no_improvement_count": int(est._no_improvement_count), "history": est.history_.names,
    }  # fmt: skip
    tensors = files.network_tensors(net, "network.") | _curves(est)
    if payload["step"]:
        tensors |= files.optimizer_tensors(net)
    if (names := getattr(est, "feature_names_in_", None)) is not None:
        tensors["feature_names"] = container.pack_text([str(name) for name in names])
    if name == "MLPClassifier":
        labels, tensors["classes"] = _describe_classes(est.classes_)
        payload |= {"task": est._task, "labels": labels, "sparse_labels": bool(est._sparse_labels)}
    container.write(path, "estimator", payload, tensors)
    if left_out:
        warnings.warn(
            f"saved without {' and '.join(left_out)}: a file holds names and numbers, not functions and generators. "
            "Give them again, by set_params, before a further fit of the loaded estimator", stacklevel=3,
        )  # fmt: skip


def _defaults(cls: type[Any]) -> dict[str, Any]:
    """The parameters that a file holds."""
    return {name: p.default for name, p in inspect.signature(cls).parameters.items() if name != "callbacks"}


def _describe_parameters(est: Any) -> tuple[dict[str, Any], list[str]]:
    """(the parameters as plain JSON values, the names of those that have their default instead)."""
    described, left_out = {}, []
    for name, default in _defaults(type(est)).items():
        value = getattr(est, name)
        if name == "dtype" and not isinstance(value, str):
            value = _check.real_dtype(value).name
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
        return _number(value)
    if isinstance(value, Mapping):
        return {"items": [[_plain(name, label), _plain(name, weight)] for label, weight in value.items()]}
    if isinstance(value, Iterable):
        return [_plain(name, item) for item in value]
    if (described := files.describe(value)) is value:
        raise TypeError(f"{name}={value!r} can't be saved: a file holds names, numbers and what cnn itself describes")
    return described


def _number(value: Any) -> Any:
    """JSON has no infinity and no NaN."""
    if value is None or math.isfinite(value):
        return None if value is None else float(value)
    return {"float": str(float(value))}


def _curves(est: Any) -> dict[str, Any]:
    """The numbers of all epochs."""
    tensors = {"loss_curve": np.array(est.loss_curve_, float), **files.history_tensors(est.history_)}
    if est.validation_scores_ is not None:
        tensors["validation_scores"] = np.array(est.validation_scores_, float)
    if (n := sum(curve.size for curve in tensors.values())) > _MOST_NUMBERS:
        raise ValueError(f"loss_curve_ and history_ have {n:,} numbers, and a file holds {_MOST_NUMBERS:,}: cut them")
    return tensors


def _describe_classes(classes: Array) -> tuple[str, Array]:
    """(what the labels are, the tensor that holds them)."""
    if classes.dtype.kind in "biuf" and classes.dtype.itemsize <= 8 and classes.dtype != np.float16:
        return "numbers", classes
    if not all(isinstance(label, str) for label in classes.tolist()):
        raise TypeError(f"labels of dtype {classes.dtype} can't be saved: text, numbers and truth values can")
    _check_labels(classes.tolist())
    return "text", container.pack_text([str(label) for label in classes])


def _check_labels(labels: list[str]) -> None:
    """NumPy gives each label the room of the longest, and takes zero bytes at the end for room that is left."""
    if wrong := [label for label in labels if label.endswith("\0")]:
        raise ValueError(f"labels can't end with a zero byte in a file, got {wrong[0]!r}")
    if (size := 4 * len(labels) * max(map(len, labels), default=0)) > _MOST_LABELS:
        raise ValueError(f"labels of {size:,} bytes, all as long as the longest; a file holds {_MOST_LABELS:,}")


# Both -----------------------------------------------------------------------------------------------------------------


def _check_parameters(est: Any, loss: Loss) -> None:
    """ValueError or TypeError for parameters that a fit would refuse whatever its rows are."""
    est._validate_params()
    _mlp_build.hidden_sizes(est.hidden_layer_sizes)
    for kind in set(_each(est.activation)):
        activations.get(kind)
    for rate in _each(est.dropout):
        _check.number("dropout", rate, 0, 1, open_high=True)
    if est.layers is not None:
        layers.checked(est.layers)
    _mlp_build.learning_rate(est)
    _mlp_build.describe_optimizer(est)
    evaluation.resolve(est.metrics, loss)
    if isinstance(est.scoring, str) and est.scoring != "loss":
        get_scorer(est.scoring)
    if isinstance(est, MLPRegressor):
        _mlp_build.regression_loss(est)
        return
    losses.get(est.loss)
    if isinstance(est.class_weight, Mapping):
        for label, weight in est.class_weight.items():
            if not isinstance(label, (str, numbers.Real)):
                raise TypeError(f"class_weight has a weight for {label!r}, which is no label")
            if not isinstance(label, str) and not math.isfinite(label):
                raise ValueError(f"class_weight has a weight for {label!r}; labels are finite")
            _check.number(f"class_weight of {label!r}", weight, 0)


def _each(value: Any) -> list[Any]:
    """The values of a parameter that may be one or a list."""
    return [value] if isinstance(value, (str, Activation)) or not isinstance(value, Iterable) else list(value)


# Loading --------------------------------------------------------------------------------------------------------------


def from_file(contents: Contents) -> MLPClassifier | MLPRegressor:
    """The estimator of an open file; ModelFormatError where anything is not as `save` writes it."""
    name = contents.payload.get("class") if isinstance(contents.payload, dict) else None
    cls = _CLASSES.get(name) if isinstance(name, str) else None
    if cls is None:
        raise contents.error(f"it names {_json.shown(name)}, which is no estimator that this version of cnn knows")
    names = _FIELDS + (_OF_CLASSES if cls is MLPClassifier else [])
    found = dict(zip(names, contents.fields(contents.payload, *names), strict=True))
    try:
        est = _revive_parameters(contents, cls, found["parameters"])
        net = files.revive_network(contents, found["network"], "network.")
        _check_parameters(est, net.loss)
        if net.one_dimensional or net.loss != _mlp_build.row_loss(net.loss, net.n_outputs):
            raise ValueError(f"its network has the loss {net.loss!r}")
        if cls is MLPClassifier:
            _revive_classes(contents, est, net, *(found[field] for field in _OF_CLASSES))
        elif net.loss.target in ("real", "count"):
            est._n_targets = net.n_outputs
        else:
            raise ValueError(f"a regressor with the loss {net.loss.name!r}")
        est._adopt(net)
        _revive_course(contents, est, found)
    except ModelFormatError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        text = str(error)  # it may show all of a value
        text = text if len(text) <= 300 else text[:297] + "..."
        raise contents.error(f"it describes an estimator that can't be: {text}") from None
    return est


def _revive_parameters(contents: Contents, cls: type[Any], given: Any) -> Any:
    """The estimator of such parameters, not fitted. One that a later version has added has its default."""
    defaults = _defaults(cls)
    known = [name for name in defaults if not isinstance(given, dict) or name in given]
    parameters = dict(zip(known, contents.fields(given, *known), strict=True))
    for name, value in parameters.items():
        flag = isinstance(defaults[name], bool) or name == "restore_best"
        if not flag and any(isinstance(item, bool) for item in (value if isinstance(value, list) else [value])):
            raise ValueError(f"{name}={_json.shown(value)}")  # Python takes true for a number
    return cls(**{name: _value(contents, value) for name, value in parameters.items()})


def _value(contents: Contents, value: Any) -> Any:
    """What `_plain` has described; lists become tuples."""
    if isinstance(value, list):
        return tuple(_value(contents, item) for item in value)
    if not isinstance(value, dict):
        return value
    if "class" in value:
        return files.revive(contents, value, object)
    if "float" in value:
        return _real(contents, value)
    (items,) = contents.fields(value, "items")
    if not isinstance(items, list) or not all(isinstance(item, list) and len(item) == 2 for item in items):
        raise ValueError("weights of classes must be pairs of a label and a weight")
    labels = [label for label, _ in items]
    if len(set(labels)) < len(labels):
        raise ValueError("two weights of one class")
    return {label: _value(contents, weight) for label, weight in items}


def _real(contents: Contents, value: Any) -> float | None:
    """What `_number` has written."""
    if isinstance(value, dict):
        (word,) = contents.fields(value, "float")
        if word not in _ODD:
            raise ValueError(f"{_json.shown(word)} is none of {', '.join(_ODD)}")
        return float(word)
    return None if value is None else _check.number("a number", value)


def _revive_classes(contents: Contents, est: Any, net: Network, task: Any, labels: Any, sparse: Any) -> None:
    if labels == "text":
        texts = container.unpack_text(contents, "classes")
        _check_labels(texts)
        classes = np.array(texts, np.str_)
    elif labels == "numbers" and "classes" in contents.specs:
        classes = contents.take("classes", contents.specs["classes"].dtype)
    else:
        raise ValueError(f"it has no labels, which are {_json.shown(labels)}")
    if classes.ndim != 1 or not (classes[1:] > classes[:-1]).all():
        raise ValueError("its labels are not different ones in ascending order")
    if classes.dtype.kind == "f" and not np.isfinite(classes).all():
        raise ValueError("its labels are not finite")
    n, several, target = len(classes), task == "multilabel", net.loss.target
    fits = {
        "binary": 1 <= n <= 2 and net.n_outputs == (n if target == "classes" else 1),
        "multiclass": n >= 3 and net.n_outputs == n,
        "multilabel": target != "classes" and net.n_outputs == n,
    }  # fmt: skip
    if not isinstance(task, str) or not fits.get(task) or target not in ("classes", "binary", "sign"):
        raise ValueError(f"{n} labels, task {_json.shown(task)}, loss {net.loss.name} and {net.n_outputs} outputs")
    if not isinstance(sparse, bool) or (sparse and not several):
        raise ValueError(f"sparse_labels is {_json.shown(sparse)}")
    if several and not np.array_equal(classes, np.arange(n)):
        raise ValueError("several labels a row, which are not 0, 1, 2, ...")
    est.classes_, est._task, est._sparse_labels = classes, task, sparse


def _revive_course(contents: Contents, est: Any, found: dict[str, Any]) -> None:
    """What the fits have left, into an estimator that has its network."""
    net = est.network_
    if not isinstance(found["partial"], bool):
        raise TypeError(f"partial is {_json.shown(found['partial'])}")
    est._partial = found["partial"]
    if est._partial:
        est._series = 0
    net.counter[0] = _check.integer("step", found["step"], 0, 2**62)
    net.rate_factor = _check.number("rate_factor", found["rate_factor"], 0)
    if net.step:
        files.take_optimizer(contents, net)
    if found["rate"] is not None:
        est._rate = _check.number("rate", found["rate"], 0)
    est.n_iter_ = _check.integer("n_iter", found["n_iter"], 0, 2**62)
    est.t_ = _check.integer("t", found["t"], 0, 2**62)
    est._no_improvement_count = _check.integer("no_improvement_count", found["no_improvement_count"], 0, 2**62)
    if found["loss"] is not None:
        est.loss_ = _real(contents, found["loss"])
    est.best_loss_ = _real(contents, found["best_loss"])
    curves = [name for name in contents.specs if name.startswith("history.")] + ["loss_curve", "validation_scores"]
    if (n := sum(math.prod(contents.specs[name].shape) for name in curves if name in contents.specs)) > _MOST_NUMBERS:
        raise ValueError(f"{n:,} numbers in its curves, and a file holds {_MOST_NUMBERS:,}")
    est.loss_curve_ = _curve(contents, "loss_curve")
    est.history_ = files.take_history(contents, found["history"])
    est.best_validation_score_ = _real(contents, found["best_validation_score"])
    if est.best_validation_score_ is not None:
        est.validation_scores_ = _curve(contents, "validation_scores")
    est.n_features_in_ = net.n_inputs
    if "feature_names" in contents.specs:
        names = container.unpack_text(contents, "feature_names")
        if len(names) != net.n_inputs:
            raise ValueError(f"{len(names)} names for {net.n_inputs} features")
        est.feature_names_in_ = np.array(names, object)


def _curve(contents: Contents, name: str) -> list[float]:
    curve = contents.take(name, np.float64)
    if curve.ndim != 1:
        raise contents.error(f"tensor {name} must have one dimension, got {curve.shape}")
    return curve.tolist()
