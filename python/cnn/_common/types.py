"""What type checkers and editors know of arguments: names in their usual form; at run time case does not matter.

A variable of type `str` goes through `cnn.Activation(name)`, `cnn.Loss(name)`, `cnn.optimizers.get(name)` and the like.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np

InitializerName = Literal[
    "auto", "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal",
    "orthogonal", "uniform", "normal", "zeros", "ones", "constant", "xavier_uniform", "xavier_normal",
    "kaiming_uniform", "kaiming_normal", "xavier", "glorot", "he", "lecun", "zero", "one",
]  # fmt: skip

OptimizerName = Literal["sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamw", "nadam", "lion"]

ScheduleName = Literal[
    "constant", "step", "exponential", "cosine", "cosine_restarts", "one_cycle", "inverse_scaling", "warm_up",
]  # fmt: skip

MetricName = Literal[
    "mae", "rmse", "r2", "accuracy", "top_k_accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "acc",
    "auc", "r2_score", "root_mean_squared_error", "mean_absolute_error", "f1_score",
]  # fmt: skip

Mode = Literal["auto", "min", "max"]
RealType: TypeAlias = Literal["float32", "float64"] | np.dtype[Any] | type[np.float32] | type[np.float64] | type[float]
