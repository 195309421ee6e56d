"""Callbacks: what happens around epochs and steps. A plain function f(network, epoch, logs) is one too."""

from cnn.callbacks.averaging import AverageWeights
from cnn.callbacks.callback import Callback, Function, Hook, Logs, Run, all_of, copies, get
from cnn.callbacks.mlflow import MLflow
from cnn.callbacks.monitors import EarlyStopping, ReduceOnPlateau, SaveModel
from cnn.callbacks.output import CSVLogger, EpochLines, Progress
from cnn.callbacks.scheduler import LearningRateScheduler
from cnn.callbacks.tensorboard import TensorBoard
from cnn.callbacks.wandb import WandB

__all__ = [
    "AverageWeights", "CSVLogger", "Callback", "EarlyStopping", "EpochLines", "Function", "Hook",
    "LearningRateScheduler", "Logs", "MLflow", "Progress", "ReduceOnPlateau", "Run", "SaveModel", "TensorBoard",
    "WandB", "all_of", "copies", "get",
]  # fmt: skip
