"""`cnn.Network`: one call of `fit` for all epochs, and `predict`, as a user writes them."""

from __future__ import annotations

from networks import Network, Parameters, Problem

import cnn
from cnn.runtime import data
from cnn.runtime.plan import Cut
from cnn.training import loop, position
from cnn.training.calls import drive

VARIANTS = ("fit",)


def described(network: Network, dtype: str = "float32") -> cnn.Network:
    layers = [cnn.Dense(n, f) for n, f in zip(network.sizes[1:], network.activations(), strict=True)]
    optimizer = {"sgd": cnn.SGD, "adam": cnn.Adam}[network.optimizer](learning_rate=network.learning_rate)
    net = cnn.Network(layers, loss=network.loss, optimizer=optimizer, dtype=dtype, seed=0)
    return net.build(network.sizes[0])


def built(problem: Problem, dtype: str = "float32") -> cnn.Network:
    net = described(problem.network, dtype)
    for layer, (W, b) in zip(net.layers, problem.parameters, strict=True):
        layer.weights[...] = W
        layer.biases[...] = b
    return net


class Trainer:
    def __init__(self, problem: Problem, variant: str, threads: int) -> None:
        self.net, self.X, self.y = built(problem), problem.X, problem.y
        self.arguments = {"batch_size": problem.network.batch_size, "shuffle": False, "verbose": 0, "metrics": ()}
        self.arguments["n_threads"] = 1 if threads == 1 else None  # None: as many as the work can feed

    def run(self, epochs: int) -> None:
        self.net.fit(self.X, self.y, epochs=epochs, **self.arguments)

    def parameters(self) -> Parameters:
        return [(layer.weights.copy(), layer.biases.copy()) for layer in self.net.layers]


class Loop:
    """The loop of `fit` by itself, which can be cut in another way than the plan's."""

    def __init__(self, problem: Problem, threads: int, dtype: str = "float32", cut: Cut | None = None) -> None:
        net = built(problem, dtype)
        train = data.prepare(problem.X, problem.y, None, net.loss, net.dtype, net.n_inputs, net.n_outputs)
        network = problem.network
        self.at = position.Position(0, 0, 0, 0)
        self.loop = loop.Loop(net, train, network.batch_size, False, None, self.at, 1, threads, 1, cut=cut)

    def run(self) -> None:
        """An epoch."""
        self.at.done = 0
        drive(self.loop.run(1, []))


class Predictor:
    def __init__(self, problem: Problem, threads: int) -> None:
        self.predict = built(problem).predict
