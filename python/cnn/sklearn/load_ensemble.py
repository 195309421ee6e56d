"""Ensembles from files: every field is checked as its class would check it."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone

from cnn._common import checks
from cnn.files import residuals
from cnn.files.container import Contents
from cnn.files.network import revive_network
from cnn.files.strict_json import shown
from cnn.network import Network
from cnn.sklearn import build
from cnn.sklearn.ensemble import EnsembleClassifier, EnsembleRegressor
from cnn.sklearn.load import (
    OF_CLASSES,
    cannot_be,
    class_and_fields,
    real,
    revive_classes,
    revive_features,
    revive_parameters,
)
from cnn.sklearn.save import check_parameters

_CLASSES: dict[str, type[Any]] = {cls.__name__: cls for cls in (EnsembleClassifier, EnsembleRegressor)}
_FIELDS = ["class", "parameters", "estimator", "networks", "epochs", "inputs", "oom_score", "residuals"]
_OLDER = {"residuals": None}  # of files that were written before it was there


def from_file(contents: Contents) -> EnsembleClassifier | EnsembleRegressor:
    """The ensemble of an open file; ModelFormatError where anything is not as `save` writes it."""
    cls, found = class_and_fields(contents, _CLASSES, "ensemble", _FIELDS, _OLDER)
    try:
        ensemble = revive_parameters(contents, cls, found["parameters"])
        if found["estimator"] is not None:
            ensemble.estimator = revive_parameters(contents, cls._member, found["estimator"])
        ensemble._validate_params()
        _revive_members(contents, ensemble, found)
        _revive_scores(contents, ensemble, found["oom_score"])
        ensemble.residuals_ = residuals.revive(contents, found["residuals"])
        if ensemble.residuals_ is not None and (cls is EnsembleClassifier or ensemble.n_outputs_ > 1):
            raise ValueError("residuals of classes or of several targets")
    except (TypeError, ValueError, OverflowError) as error:
        raise cannot_be(contents, error) from None
    return ensemble


def _revive_members(contents: Contents, ensemble: Any, found: dict[str, Any]) -> None:
    base = ensemble._base()
    inputs = checks.integer("inputs", found["inputs"], 1, 2**31 - 1)
    networks, epochs = found["networks"], found["epochs"]
    if not isinstance(networks, list) or not networks or not isinstance(epochs, list) or len(epochs) != len(networks):
        raise ValueError(f"networks {shown(networks)} and epochs {shown(epochs)}, which are not a list of as many")
    members: list[Any] = []
    features: list[Any] = []
    for i, description in enumerate(networks):
        net = revive_network(contents, description, Network, f"networks.{i}.")
        if net.one_dimensional or net.loss != build.row_loss(net.loss, net.n_outputs):
            raise ValueError(f"network {i} has the loss {net.loss!r}")
        first = members[0].network_ if members else net
        if (net.loss, net.n_outputs, net.dtype) != (first.loss, first.n_outputs, first.dtype):
            raise ValueError(f"network {i} is of another loss, type or number of outputs than the first")
        columns = contents.read_tensor(f"features.{i}", np.int64, (net.n_inputs,))
        if not (columns[1:] > columns[:-1]).all() or columns[0] < 0 or columns[-1] >= inputs:
            raise ValueError(f"features.{i} are not different ones of {inputs} in ascending order")
        if not members:
            check_parameters(base, net.loss)
            _revive_targets(contents, ensemble, net, found)
        members.append(_member(ensemble, base, net, checks.integer("epochs", epochs[i], 0, 2**62)))
        features.append(columns)
    ensemble.estimators_, ensemble.estimators_features_ = members, features
    ensemble.n_outputs_ = members[0].n_outputs_
    revive_features(contents, ensemble, inputs)


def _revive_targets(contents: Contents, ensemble: Any, net: Network, found: dict[str, Any]) -> None:
    """What the ensemble predicts."""
    if isinstance(ensemble, EnsembleClassifier):
        revive_classes(contents, ensemble, net, *(found[field] for field in OF_CLASSES))
    elif net.loss.for_classes:
        raise ValueError(f"a regressor with the loss {net.loss.name!r}")
    else:
        ensemble._n_targets = net.n_outputs


def _member(ensemble: Any, base: Any, net: Network, epochs: int) -> Any:
    est = clone(base)
    for name in ("classes_", "_task", "_sparse_labels", "_n_targets"):
        if hasattr(ensemble, name):
            setattr(est, name, getattr(ensemble, name))
    est.n_features_in_, est._partial = net.n_inputs, False
    est._adopt(net)
    est.n_iter_ = epochs
    return est


def _revive_scores(contents: Contents, ensemble: Any, score: Any) -> None:
    found = real(contents, score)
    if found is None:
        raise TypeError("oom_score is null")
    predicted = contents.read_tensor("oom_prediction", np.float64)
    width = ensemble._values(ensemble.estimators_[0], np.zeros((1, ensemble.n_outputs_))).shape[1:]
    if not predicted.ndim or predicted.shape[1:] != width or np.isinf(predicted).any():
        raise ValueError(f"oom_prediction of shape {predicted.shape} must be (rows, {', '.join(map(str, width))}), "
                         "finite or nan")  # fmt: skip
    ensemble.oom_score_, ensemble.oom_prediction_ = found, predicted
