"""`cnn.Network.fit`, one call for an epoch, as a user writes it."""

from __future__ import annotations

from networks import Parameters, Problem

import cnn

VARIANTS = ("fit",)


class Trainer:
    def __init__(self, problem: Problem, variant: str, threads: int) -> None:
        network = problem.network
        layers = [cnn.Dense(n, f) for n, f in zip(network.sizes[1:], network.activations(), strict=True)]
        optimizer = {"sgd": cnn.SGD, "adam": cnn.Adam}[network.optimizer](learning_rate=network.learning_rate)
        self.net = cnn.Network(layers, loss=network.loss, optimizer=optimizer, dtype="float32", seed=0)
        self.net.build(network.sizes[0])
        for layer, (W, b) in zip(self.net.layers, problem.parameters, strict=True):
            layer.weights[...] = W
            layer.biases[...] = b
        self.X = problem.X
        self.y = problem.y.astype(problem.X.dtype) if network.loss == "mse" else problem.y
        self.arguments = {"batch_size": network.batch_size, "shuffle": False, "verbose": 0, "metrics": ()}
        self.arguments["n_threads"] = 1 if threads == 1 else None  # None: as many as the work can feed

    def epoch(self) -> None:
        self.net.fit(self.X, self.y, epochs=1, **self.arguments)

    def parameters(self) -> Parameters:
        return [(layer.weights.copy(), layer.biases.copy()) for layer in self.net.layers]
