"""scikit-learn's MLP: `fit` for so many epochs on top of what it has learnt, and `predict` or `predict_proba`.

Its squared error is half of everybody else's; twice the rate (SGD) or half the epsilon (Adam) makes the steps equal.
Its Adam adds epsilon before the bias correction, others after it: it gets that of the middle of the first epoch.
Its regressor has no activation on the output: there it has less to do in training, and its loss can't be compared.
"""

from __future__ import annotations

import warnings

import numpy as np
from networks import Network, Parameters, Problem
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

VARIANTS = ("fit",)
NAMES = {"sigmoid": "logistic"}
warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is what was asked for


def built(problem: Problem) -> MLPClassifier | MLPRegressor:
    network = problem.network
    half = 0.5 if network.loss == "mse" else 1.0
    correction = (1 - 0.999 ** ((network.n_batches + 1) / 2)) ** 0.5
    make = MLPRegressor if network.loss == "mse" else MLPClassifier
    net = make(
        hidden_layer_sizes=network.sizes[1:-1], activation=NAMES.get(network.activation, network.activation),
        solver=network.optimizer, alpha=0.0, batch_size=network.batch_size, shuffle=False, random_state=0,
        learning_rate_init=network.learning_rate / (half if network.optimizer == "sgd" else 1.0),
        momentum=0.0, nesterovs_momentum=False, epsilon=1e-8 * half * correction, warm_start=True,
        n_iter_no_change=10**9,
    )  # fmt: skip
    # All classes are met once; then the weights are everybody's.
    net.set_params(max_iter=1).fit(problem.X, _targets(problem))
    for i, (W, b) in enumerate(problem.parameters):
        net.coefs_[i][...], net.intercepts_[i][...] = W, b
    return net


def _targets(problem: Problem) -> np.ndarray:
    return problem.y.ravel() if problem.network.sizes[-1] == 1 else problem.y


class Trainer:
    def __init__(self, problem: Problem, variant: str, threads: int) -> None:
        self.net, self.X, self.y = built(problem), problem.X, _targets(problem)

    def run(self, epochs: int) -> None:
        self.net.set_params(max_iter=epochs).fit(self.X, self.y)

    def parameters(self) -> Parameters:
        return [(W.copy(), b.copy()) for W, b in zip(self.net.coefs_, self.net.intercepts_, strict=True)]


class Predictor:
    def __init__(self, problem: Problem, threads: int) -> None:
        net = built(problem)
        net.out_activation_ = NAMES.get(problem.network.output_activation, net.out_activation_)
        self.predict = net.predict if problem.network.loss == "mse" else net.predict_proba


def comparable(network: Network) -> bool:
    return network.output_activation == "identity"
