"""NumPy as a careful user writes it: every array made once, one flat vector of parameters, everything in place."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from networks import Parameters, Problem

VARIANTS = ("in place",)


class Trainer:
    def __init__(self, problem: Problem, variant: str, threads: int) -> None:
        network, self.X = problem.network, problem.X
        self.network, self.rows = network, network.batch_size
        self.y = problem.y
        self.theta = np.concatenate([part.ravel() for pair in problem.parameters for part in pair])
        self.gradient = np.zeros_like(self.theta)
        self.layers, self.slopes = self._views(self.theta), self._views(self.gradient)
        self.a = [np.empty((self.rows, n), np.float32) for n in network.sizes[1:]]
        self.delta = [np.empty_like(a) for a in self.a]
        self.spare = [np.empty_like(a) for a in self.a]
        self.column = np.empty((self.rows, 1), np.float32)
        self.index = np.arange(self.rows)
        self.m, self.v = np.zeros_like(self.theta), np.zeros_like(self.theta)
        self.t1, self.t2 = np.empty_like(self.theta), np.empty_like(self.theta)
        self.step = 0
        self.update = {"sgd": self._sgd, "adam": self._adam}[network.optimizer]

    def _views(self, flat: np.ndarray) -> Parameters:
        views, at = [], 0
        for m, n in pairwise(self.network.sizes):
            views.append((flat[at : at + m * n].reshape(m, n), flat[at + m * n : at + (m + 1) * n]))
            at += (m + 1) * n
        return views

    def run(self, epochs: int) -> None:
        for _ in range(epochs):
            for begin in range(0, len(self.X), self.rows):
                self._gradient(self.X[begin : begin + self.rows], self.y[begin : begin + self.rows])
                self.update()

    def _gradient(self, x: np.ndarray, y: np.ndarray) -> None:
        activations = self.network.activations()
        inputs = [x, *self.a]
        for i, (W, b) in enumerate(self.layers):
            np.matmul(inputs[i], W, out=self.a[i])
            self.a[i] += b
            _forward(activations[i], self.a[i])
        self._loss(y)
        for i in reversed(range(len(self.layers))):
            delta = self.delta[i]
            _backward(activations[i], self.a[i], delta, self.spare[i])
            np.matmul(inputs[i].T, delta, out=self.slopes[i][0])
            np.sum(delta, axis=0, out=self.slopes[i][1])
            if i > 0:
                np.matmul(delta, self.layers[i][0].T, out=self.delta[i - 1])

    def _loss(self, y: np.ndarray) -> float:
        """The loss, and its derivative in the last delta."""
        output, delta = self.a[-1], self.delta[-1]
        if self.network.loss == "mse":
            np.subtract(output, y, out=delta)
            loss = float(np.vdot(delta, delta)) / delta.size
            delta *= 2 / delta.size
            return loss
        np.max(output, axis=1, keepdims=True, out=self.column)
        output -= self.column
        np.exp(output, out=delta)
        np.sum(delta, axis=1, keepdims=True, out=self.column)
        delta /= self.column
        delta[self.index, y] -= 1
        delta /= self.rows
        return float((np.log(self.column[:, 0]) - output[self.index, y]).mean())

    def _sgd(self) -> None:
        np.multiply(self.gradient, self.network.learning_rate, out=self.t1)
        self.theta -= self.t1

    def _adam(self) -> None:
        self.step += 1
        correction_1, correction_2 = 1 - 0.9**self.step, 1 - 0.999**self.step
        np.multiply(self.gradient, 0.1, out=self.t1)
        self.m *= 0.9
        self.m += self.t1
        np.multiply(self.gradient, self.gradient, out=self.t1)
        self.t1 *= 0.001
        self.v *= 0.999
        self.v += self.t1
        np.sqrt(self.v, out=self.t1)
        self.t1 *= correction_2**-0.5
        self.t1 += 1e-8
        np.divide(self.m, self.t1, out=self.t2)
        self.t2 *= self.network.learning_rate / correction_1
        self.theta -= self.t2

    def parameters(self) -> Parameters:
        return [(W.copy(), b.copy()) for W, b in self.layers]


class Predictor:
    def __init__(self, problem: Problem, threads: int) -> None:
        self.problem = problem

    def predict(self, X: np.ndarray) -> np.ndarray:
        network, a = self.problem.network, X
        for (W, b), activation in zip(self.problem.parameters, network.activations(), strict=True):
            a = a @ W
            a += b
            _forward(activation, a)
        if network.loss == "cross_entropy":
            a -= a.max(1, keepdims=True)
            np.exp(a, out=a)
            a /= a.sum(1, keepdims=True)
        return a


def _forward(activation: str, z: np.ndarray) -> None:
    if activation == "sigmoid":
        np.negative(z, out=z)
        np.exp(z, out=z)
        z += 1
        np.reciprocal(z, out=z)
    elif activation == "tanh":
        np.tanh(z, out=z)
    elif activation == "relu":
        np.maximum(z, 0, out=z)


def _backward(activation: str, a: np.ndarray, delta: np.ndarray, spare: np.ndarray) -> None:
    if activation == "sigmoid":
        delta *= a
        np.subtract(1, a, out=spare)
        delta *= spare
    elif activation == "tanh":
        np.multiply(a, a, out=spare)
        np.subtract(1, spare, out=spare)
        delta *= spare
    elif activation == "relu":
        np.greater(a, 0, out=spare)
        delta *= spare
