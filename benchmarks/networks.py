"""The networks that the benchmarks use, their data and initial weights, and an oracle for outputs and losses."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

Parameters = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Network:
    """A dense network and how it is trained; `n_batches` full minibatches make an epoch."""

    sizes: tuple[int, ...]
    activation: str
    output_activation: str
    loss: str
    optimizer: str
    learning_rate: float
    batch_size: int
    n_batches: int

    @property
    def name(self) -> str:
        return "-".join(map(str, self.sizes))

    @property
    def rows(self) -> int:
        return self.batch_size * self.n_batches

    @property
    def flops(self) -> int:
        """Of the matrix products of one step: forward, weight gradient, and input gradient above the first layer."""
        products = [m * n for m, n in pairwise(self.sizes)]
        return 2 * self.batch_size * (3 * sum(products) - products[0])

    @property
    def bytes(self) -> int:
        """What a step must move at least, each number once: its rows, and parameters with their state, read and
        written."""
        parameters = sum((m + 1) * n for m, n in pairwise(self.sizes))
        copies = {"sgd": 2, "adam": 6}[self.optimizer]
        targets = self.sizes[-1] if self.loss == "mse" else 1
        return 4 * (copies * parameters + self.batch_size * (self.sizes[0] + targets))

    def prediction_flops(self, rows: int) -> int:
        return 2 * rows * sum(m * n for m, n in pairwise(self.sizes))

    def activations(self) -> list[str]:
        return [self.activation] * (len(self.sizes) - 2) + [self.output_activation]


def _classifier(*sizes: int, rate: float, batch_size: int, n_batches: int) -> Network:
    return Network(sizes, "relu", "identity", "cross_entropy", "adam", rate, batch_size, n_batches)


NETWORKS = {
    network.name: network
    for network in (
        Network((10, 5, 1), "sigmoid", "sigmoid", "mse", "sgd", 0.1, batch_size=100, n_batches=100),
        Network((8, 32, 32, 1), "tanh", "identity", "mse", "adam", 1e-3, batch_size=32, n_batches=200),
        _classifier(64, 100, 10, rate=1e-3, batch_size=200, n_batches=50),
        # At 1e-3 the wide ones part ways within an epoch: NumPy with one thread and with four by 0.4 % of the loss.
        _classifier(54, 256, 128, 7, rate=3e-4, batch_size=256, n_batches=40),
        _classifier(784, 512, 256, 10, rate=1e-4, batch_size=128, n_batches=80),
        _classifier(1024, 2048, 2048, 1000, rate=1e-4, batch_size=512, n_batches=8),
        # The task of SimpleChains.jl, which trains on all rows at once.
        Network((4, 32, 16, 4), "tanh", "identity", "mse", "adam", 1e-3, batch_size=10_000, n_batches=1),
    )
}


@dataclass(frozen=True)
class Problem:
    """What every contestant starts from: X (rows, inputs), y, and (W, b) of each layer, in float32.

    y is (rows, outputs) for mean squared error, int64 class numbers (rows,) for cross-entropy.
    """

    network: Network
    X: np.ndarray
    y: np.ndarray
    parameters: Parameters


def problem(network: Network) -> Problem:
    """The same numbers in every process; the noise keeps the loss away from 0, so that training never runs dry."""
    rng = np.random.default_rng(0)
    n_inputs, n_outputs = network.sizes[0], network.sizes[-1]
    X = rng.standard_normal((network.rows, n_inputs), np.float32)
    score = X @ rng.standard_normal((n_inputs, n_outputs), np.float32) / np.sqrt(np.float32(n_inputs))
    score += rng.standard_normal(score.shape, np.float32)
    if network.loss == "cross_entropy":
        y = score.argmax(1)
        y[:n_outputs] = np.arange(n_outputs)  # every class is there: scikit-learn knows only those it has met
    else:
        y = 0.5 + 0.25 * np.tanh(score)
    parameters = []
    for m, n in pairwise(network.sizes):
        bound = np.sqrt(6 / (m + n))  # Glorot & Bengio 2010
        parameters.append((rng.uniform(-bound, bound, (m, n)).astype(np.float32), np.zeros(n, np.float32)))
    return Problem(network, X, y, parameters)


def inputs(network: Network, rows: int) -> np.ndarray:
    """Rows to predict."""
    return np.random.default_rng(1).standard_normal((rows, network.sizes[0]), np.float32)


def outputs(network: Network, parameters: Parameters, X: np.ndarray) -> np.ndarray:
    """(rows, outputs) in float64, before the softmax of a classifier."""
    functions = {
        "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
        "tanh": np.tanh,
        "relu": lambda z: np.maximum(z, 0),
        "identity": lambda z: z,
    }
    a = X.astype(np.float64)
    for (W, b), activation in zip(parameters, network.activations(), strict=True):
        a = functions[activation](a @ W.astype(np.float64) + b)
    return a


def log_softmax(z: np.ndarray) -> np.ndarray:
    z = z - z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def predictions(network: Network, parameters: Parameters, X: np.ndarray) -> np.ndarray:
    """What a prediction must be: values, or the probabilities of a classifier."""
    z = outputs(network, parameters, X)
    return z if network.loss == "mse" else np.exp(log_softmax(z))


def loss(problem: Problem, parameters: Parameters, rows: int = 4096) -> float:
    """The mean loss of a network with these parameters over the first rows, in float64: judges all contestants."""
    z, y = outputs(problem.network, parameters, problem.X[:rows]), problem.y[:rows]
    if problem.network.loss == "mse":
        return float(np.mean((z - y) ** 2))
    return float(-log_softmax(z)[np.arange(len(y)), y].mean())
