"""PyTorch in eager mode, on slices of one tensor (no DataLoader), with each way its optimizers can be run.

Predictions share memory with NumPy, and gradients are off.
"""

from __future__ import annotations

import torch
from networks import Parameters, Problem
from torch import nn

VARIANTS = ("plain", "foreach", "fused")
ACTIVATIONS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU, "identity": nn.Identity}


def built(problem: Problem) -> nn.Sequential:
    modules: list[nn.Module] = []
    for (W, b), activation in zip(problem.parameters, problem.network.activations(), strict=True):
        linear = nn.Linear(*W.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(W.T))
            linear.bias.copy_(torch.from_numpy(b))
        modules.append(linear)
        if activation != "identity":
            modules.append(ACTIVATIONS[activation]())
    return nn.Sequential(*modules)


class Trainer:
    def __init__(self, problem: Problem, variant: str, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.set_grad_enabled(True)
        network = problem.network
        self.net = built(problem)
        make = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[network.optimizer]
        ways = {"plain": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}
        self.optimizer = make(self.net.parameters(), lr=network.learning_rate, **ways[variant])
        self.X, self.y = torch.from_numpy(problem.X), torch.from_numpy(problem.y)
        self.loss = nn.functional.mse_loss if network.loss == "mse" else nn.functional.cross_entropy
        self.batch_size = network.batch_size

    def run(self, epochs: int) -> None:
        for _ in range(epochs):
            for begin in range(0, len(self.X), self.batch_size):
                rows = slice(begin, begin + self.batch_size)
                loss = self.loss(self.net(self.X[rows]), self.y[rows])
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()

    def parameters(self) -> Parameters:
        linear = [module for module in self.net if isinstance(module, nn.Linear)]
        return [(m.weight.detach().numpy().T.copy(), m.bias.detach().numpy().copy()) for m in linear]


class Predictor:
    def __init__(self, problem: Problem, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        net = built(problem)
        if problem.network.loss == "cross_entropy":
            net.append(nn.Softmax(dim=1))
        self.predict = lambda X: net(torch.from_numpy(X)).numpy()
