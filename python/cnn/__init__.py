"""Compiled neural networks for the CPU: dense networks, trained by gradient descent in compiled code.

>>> import numpy as np
>>> net = Network([Dense(16, "relu"), Dense(1)], loss="mse", optimizer=Adam(learning_rate=0.01), seed=0)
>>> X = np.random.default_rng(0).normal(size=(256, 3))
>>> history = net.fit(X, X.sum(axis=1), epochs=60, verbose=0)
>>> net.evaluate(X, X.sum(axis=1))["rmse"] < 0.2
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn import activations, augment, callbacks, explain, initializers, losses, metrics, optimizers, plots, schedules
from cnn import mlflow as mlflow
from cnn import uncertainty as uncertainty
from cnn._common.elsewhere import missing
from cnn._common.errors import DivergenceError, ModelFormatError, NonFiniteError, NotBuiltError, RankError, StreamError
from cnn._version import __version__ as __version__
from cnn.activations import Activation
from cnn.callbacks import (
    AverageWeights,
    Callback,
    CSVLogger,
    EarlyStopping,
    LearningRateScheduler,
    MLflow,
    Progress,
    ReduceOnPlateau,
    SaveModel,
    TensorBoard,
    WandB,
)
from cnn.export.c import export_c
from cnn.export.from_pytorch import from_torch
from cnn.export.keras import from_keras
from cnn.export.onnx import export_onnx
from cnn.export.pytorch import from_torch_state_dict, to_torch, to_torch_state_dict
from cnn.export.scikit_learn import from_sklearn, to_sklearn
from cnn.initializers import Initializer
from cnn.inspect.diagnosis import Diagnosis, diagnose
from cnn.inspect.gradient_check import GradientCheck, gradient_check
from cnn.inspect.reports import show_config
from cnn.layers import (
    Add,
    AvgPool1D,
    AvgPool2D,
    BatchNorm,
    CategoryEmbedding,
    Conv1D,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GaussianNoise,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    LayerNorm,
    MaxPool1D,
    MaxPool2D,
    NumericEmbedding,
    ParametricActivation,
    PiecewiseEmbedding,
    PReLU,
    Residual,
    Scale,
)
from cnn.loading import load
from cnn.losses import BinaryCrossEntropy, CrossEntropy, Huber, Loss, Quantile, Tweedie
from cnn.many import predict_many, train_many
from cnn.network import Network
from cnn.optimizers import SGD, Adadelta, Adagrad, Adam, AdamW, Lion, Nadam, RMSprop
from cnn.runtime.history import History
from cnn.runtime.products import set_products
from cnn.table import TableModel
from cnn.table.frames import TableError
from cnn.training.checkpoint import Checkpoint
from cnn.tuning import LearningRateRange, SearchResult, find_learning_rate, search

if TYPE_CHECKING:
    # Not in __all__: `from cnn import *` works without scikit-learn, too.
    from cnn.images import ImageClassifier as ImageClassifier
    from cnn.sklearn import EnsembleClassifier as EnsembleClassifier
    from cnn.sklearn import EnsembleRegressor as EnsembleRegressor
    from cnn.sklearn import MLPClassifier as MLPClassifier
    from cnn.sklearn import MLPRegressor as MLPRegressor
    from cnn.sklearn import cross_validate as cross_validate
    from cnn.sklearn import register_skl2onnx as register_skl2onnx
else:
    _WITH_SKLEARN = (
        "EnsembleClassifier", "EnsembleRegressor", "ImageClassifier", "MLPClassifier", "MLPRegressor", "cross_validate",
        "register_skl2onnx",
    )  # fmt: skip

    def __getattr__(name: str) -> object:
        """What needs scikit-learn is imported when it is asked for."""
        if name not in _WITH_SKLEARN:
            raise AttributeError(missing(name, [*__all__, *_WITH_SKLEARN]))
        try:
            from cnn import images, sklearn
        except ImportError as error:  # not there, or one that lacks what later ones have
            text = "needs scikit-learn 1.4 or newer (extra 'sklearn'): pip install -U scikit-learn"
            raise ImportError(f"cnn.{name} {text}") from error
        return getattr(images if name in images.__all__ else sklearn, name)

    def __dir__() -> list[str]:
        return sorted([*globals(), *_WITH_SKLEARN])


__all__ = [
    "SGD", "Activation", "Adadelta", "Adagrad", "Adam", "AdamW", "Add", "AverageWeights", "AvgPool1D", "AvgPool2D",
    "BatchNorm", "BinaryCrossEntropy", "CSVLogger", "Callback", "CategoryEmbedding", "Checkpoint", "Conv1D", "Conv2D",
    "CrossEntropy", "Dense", "DepthwiseConv2D", "Diagnosis", "DivergenceError", "Dropout", "EarlyStopping", "Flatten",
    "GaussianNoise", "GlobalAvgPool1D", "GlobalAvgPool2D", "GlobalMaxPool1D", "GlobalMaxPool2D", "GradientCheck",
    "History", "Huber", "Initializer", "LayerNorm", "LearningRateRange", "LearningRateScheduler", "Lion", "Loss",
    "MLflow", "MaxPool1D", "MaxPool2D", "ModelFormatError", "Nadam", "Network", "NonFiniteError", "NotBuiltError",
    "NumericEmbedding", "PReLU", "ParametricActivation", "PiecewiseEmbedding", "Progress", "Quantile", "RMSprop",
    "RankError", "ReduceOnPlateau", "Residual", "SaveModel", "Scale", "SearchResult", "StreamError", "TableError",
    "TableModel", "TensorBoard", "Tweedie", "WandB", "activations", "augment", "callbacks", "diagnose", "explain",
    "export_c", "export_onnx", "find_learning_rate", "from_keras", "from_sklearn", "from_torch",
    "from_torch_state_dict", "gradient_check", "initializers", "load", "losses", "metrics", "mlflow", "optimizers",
    "plots", "predict_many", "schedules", "search", "set_products", "show_config", "to_sklearn", "to_torch",
    "to_torch_state_dict", "train_many", "uncertainty",
]  # fmt: skip
