"""Ensembles into files (docs/files.md): their parameters, those of their estimator, and the members' networks."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np

from cnn.files import container, residuals
from cnn.files.network import describe_network, network_tensors
from cnn.sklearn.save import add_names, check_parameters, describe_number, describe_parameters


def save(ensemble: Any, path: str | os.PathLike[str]) -> None:
    """See `BaseEnsemble.save`."""
    members = ensemble.estimators_
    name, head = type(ensemble).__name__, members[0]
    if not vars(type(ensemble)).get("_in_files"):
        raise TypeError(f"a file can hold cnn's own EnsembleClassifier and EnsembleRegressor, not a {name}")
    base = head if ensemble.estimator is None else ensemble.estimator
    ensemble._validate_params()
    check_parameters(base, head.network_.loss)
    own, left_out = describe_parameters(ensemble)
    parameters, of_estimator = describe_parameters(base)
    rows, errors = residuals.describe(ensemble.residuals_)
    payload = {
        "class": name, "parameters": own, "estimator": None if ensemble.estimator is None else parameters,
        "networks": [describe_network(est.network_) for est in members], "epochs": [int(e.n_iter_) for e in members],
        "inputs": int(ensemble.n_features_in_), "oom_score": describe_number(ensemble.oom_score_),
        "residuals": rows,
    }  # fmt: skip
    tensors: dict[str, Any] = {"oom_prediction": ensemble.oom_prediction_, **errors}
    for i, (est, columns) in enumerate(zip(members, ensemble.estimators_features_, strict=True)):
        tensors |= network_tensors(est.network_, f"networks.{i}.")
        tensors[f"features.{i}"] = columns.astype(np.int64)
    add_names(ensemble, payload, tensors)
    container.write(path, "ensemble", payload, tensors)
    if left_out := list(dict.fromkeys([*left_out, *(of_estimator if ensemble.estimator is not None else [])])):
        warnings.warn(
            f"saved without {' and '.join(left_out)}: a file holds names and numbers, not functions, splitters and "
            "generators. Give them again, by set_params, before a further fit of the loaded ensemble", stacklevel=3,
        )  # fmt: skip
