"""scikit-learn's MLP: `partial_fit` is one epoch of its own loop.

Its squared error is half of everybody else's; twice the rate (SGD) or half the epsilon (Adam) makes the steps equal.
Its regressor has no activation on the output: there it has less to do, and its loss can't be compared.
"""

from __future__ import annotations

import numpy as np
from networks import Network, Parameters, Problem
from sklearn.neural_network import MLPClassifier, MLPRegressor

VARIANTS = ("partial_fit",)


class Trainer:
    def __init__(self, problem: Problem, variant: str, threads: int) -> None:
        network = problem.network
        half = 0.5 if network.loss == "mse" else 1.0
        arguments = {
            "hidden_layer_sizes": network.sizes[1:-1],
            "activation": {"sigmoid": "logistic"}.get(network.activation, network.activation),
            "solver": network.optimizer,
            "alpha": 0.0,
            "batch_size": network.batch_size,
            "learning_rate_init": network.learning_rate / (half if network.optimizer == "sgd" else 1.0),
            "shuffle": False,
            "random_state": 0,
            "momentum": 0.0,
            "nesterovs_momentum": False,
            "epsilon": 1e-8 * half,
        }
        self.X = problem.X
        if network.loss == "mse":
            self.y = problem.y.astype(np.float32)
            self.net = MLPRegressor(**arguments).partial_fit(self.X[: network.batch_size], self.y[: network.batch_size])
        else:
            self.y = problem.y
            classes = np.arange(network.sizes[-1])
            self.net = MLPClassifier(**arguments)
            self.net.partial_fit(self.X[: network.batch_size], self.y[: network.batch_size], classes=classes)
        for i, (W, b) in enumerate(problem.parameters):
            self.net.coefs_[i][...], self.net.intercepts_[i][...] = W, b
        del self.net._optimizer  # the next partial_fit starts with a fresh one

    def epoch(self) -> None:
        self.net.partial_fit(self.X, self.y)

    def parameters(self) -> Parameters:
        return [(W.copy(), b.copy()) for W, b in zip(self.net.coefs_, self.net.intercepts_, strict=True)]


def comparable(network: Network) -> bool:
    return network.output_activation == "identity"
