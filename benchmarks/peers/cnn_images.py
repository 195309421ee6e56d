"""`cnn.Network` on images: one call of `fit` for all epochs, and `predict`, as a user writes them."""

from __future__ import annotations

from image_networks import FIRST, Conv, Mean, Network, Pool, Problem
from networks import Parameters

import cnn

VARIANTS = ("fit",)


def described(network: Network) -> cnn.Network:
    layers: list[cnn.layers.Layer] = []
    for layer, below in zip(network.layers, network.shapes(), strict=False):
        if isinstance(layer, Conv):
            options = {"padding": "same" if layer.same else "valid", "activation": "relu"}
            groups = below[-1] if layer.depthwise else 1
            layers.append(cnn.Conv2D(layer.filters, layer.size, groups=groups, **options))
        elif isinstance(layer, Pool):
            layers.append(cnn.MaxPool2D(2))
        elif isinstance(layer, Mean):
            layers.append(cnn.GlobalAvgPool2D())
        else:
            layers += [cnn.Flatten()] if len(below) == 3 else []
            layers.append(cnn.Dense(layer.units, "relu" if layer.relu else "identity"))
    optimizer = cnn.Adam(learning_rate=network.learning_rate)
    return cnn.Network(layers, loss="cross_entropy", optimizer=optimizer, seed=0).build(network.shape)


def weighed(net: cnn.Network) -> list[cnn.runtime.layer_view.LayerView]:
    return [layer for layer in net.layers if isinstance(layer.description, cnn.Conv2D | cnn.Dense)]


def built(problem: Problem) -> cnn.Network:
    net = described(problem.network)
    for layer, (W, b) in zip(weighed(net), problem.parameters, strict=True):
        layer.weights[...] = W
        layer.biases[...] = b
    return net


class Trainer:
    def __init__(self, problem: Problem, variant: str, threads: int) -> None:
        self.net, self.X, self.y = built(problem), problem.X, problem.y
        self.arguments = {"batch_size": problem.network.batch_size, "verbose": 0, "metrics": ()}
        self.arguments["n_threads"] = 1 if threads == 1 else None  # None: as many as the work can feed

    def first(self) -> None:
        rows = FIRST * self.arguments["batch_size"]
        self.net.fit(self.X[:rows], self.y[:rows], epochs=1, shuffle=False, **self.arguments)

    def run(self, epochs: int) -> None:
        self.net.fit(self.X, self.y, epochs=epochs, **self.arguments)

    def parameters(self) -> Parameters:
        return [(layer.weights.copy(), layer.biases.copy()) for layer in weighed(self.net)]


class Predictor:
    def __init__(self, problem: Problem, threads: int) -> None:
        self.predict = built(problem).predict
