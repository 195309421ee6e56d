"""What the parameters of both estimators may be, for scikit-learn's check and for type checkers."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from cnn._common.types import OptimizerName, ScheduleName
from cnn.activations import Activation, ActivationName
from cnn.losses import Loss
from cnn.optimizers import Optimizer
from cnn.runtime.data import Array
from cnn.schedules import Schedule

Sizes: TypeAlias = int | Sequence[int] | Array
Activations: TypeAlias = ActivationName | Activation | Sequence[ActivationName | Activation]
Solver: TypeAlias = Literal["lbfgs"] | OptimizerName | Optimizer
Rate: TypeAlias = Literal["constant", "invscaling", "adaptive"] | ScheduleName | Schedule
Seed: TypeAlias = int | np.random.RandomState | None

CONSTRAINTS: dict[str, Any] = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [str, Activation, "array-like"],
    "solver": [str, Optimizer],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [str, Schedule],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "power_t": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "loss": [str, Loss],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [Interval(Real, 0, None, closed="left")],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
    "max_fun": [Interval(Integral, 1, None, closed="left")],
    "layers": ["array-like", None],
    "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
    "dropout_factor": [Schedule, None],
    "l1": [Interval(Real, 0, None, closed="left")],
    "label_smoothing": [Interval(Real, 0, 1, closed="left")],
    "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
    "restore_best": ["boolean", StrOptions({"auto"})],
    "scoring": [str, callable, None],
    "metrics": [str, callable, "array-like"],
    "callbacks": ["array-like", None],
    "max_seconds": [Interval(Real, 0, None, closed="neither"), None],
    "dtype": [StrOptions({"auto", "float32", "float64"}), Options(type, {np.float32, np.float64}), np.dtype],
    "n_threads": [Interval(Integral, 1, None, closed="left"), None],
}
