"""Training and prediction by the public API."""

from __future__ import annotations

import machine
import numpy as np
from networks import NETWORKS, problem
from peers.cnn_fit import Predictor, Trainer

LARGE = "1024-2048-2048-1000"
ALL = machine.cores()


class Training:
    """A call of `fit` for some epochs, on one thread and on as many as `fit` chooses."""

    params = (list(NETWORKS), ["one", "chosen"])
    param_names = ("network", "threads")
    timeout = 300.0

    def setup(self, name: str, threads: str) -> None:
        self.trainer = Trainer(problem(NETWORKS[name]), "fit", {"one": 1, "chosen": ALL}[threads])
        self.epochs = 1 if name == LARGE else 10
        self.trainer.run(1)

    def time_fit(self, name: str, threads: str) -> None:
        self.trainer.run(self.epochs)


class Prediction:
    """A call of `predict`."""

    params = ([1, 100, 10_000], [name for name in NETWORKS if name != LARGE])
    param_names = ("rows", "network")

    def setup(self, rows: int, name: str) -> None:
        network = NETWORKS[name]
        self.predict = Predictor(problem(network), ALL).predict
        self.X = np.random.default_rng(1).standard_normal((rows, network.sizes[0]), np.float32)
        self.predict(self.X)

    def time_predict(self, rows: int, name: str) -> None:
        self.predict(self.X)


class Construction:
    """A network from its description to the first step."""

    params = ([name for name in NETWORKS if name != LARGE],)
    param_names = ("network",)

    def setup(self, name: str) -> None:
        self.problem = problem(NETWORKS[name])

    def time_first_step(self, name: str) -> None:
        batch = self.problem.network.batch_size
        trainer = Trainer(self.problem, "fit", 1)
        trainer.X, trainer.y = trainer.X[:batch], trainer.y[:batch]
        trainer.run(1)
