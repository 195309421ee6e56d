"""PyTorch on images, channels last: eager, and compiled by `torch.compile`, each with its fused Adam.

Minibatches are gathered from one tensor by a shuffled index (no DataLoader).
"""

from __future__ import annotations

import torch
from image_networks import FIRST, Conv, Mean, Network, Pool, Problem, channels_first, channels_last
from networks import Parameters
from torch import nn

VARIANTS = ("eager", "compiled")


def described(network: Network) -> nn.Sequential:
    modules: list[nn.Module] = []
    for layer, below in zip(network.layers, network.shapes(), strict=False):
        if isinstance(layer, Conv):
            groups = below[-1] if layer.depthwise else 1
            padding = layer.size // 2 if layer.same else 0
            modules += [nn.Conv2d(below[-1], layer.filters, layer.size, padding=padding, groups=groups), nn.ReLU()]
        elif isinstance(layer, Pool):
            modules.append(nn.MaxPool2d(2))
        elif isinstance(layer, Mean):
            modules += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        else:
            modules += [nn.Flatten()] if len(below) == 3 else []
            n = torch.Size(below).numel()
            modules += [nn.Linear(n, layer.units), nn.ReLU()] if layer.relu else [nn.Linear(n, layer.units)]
    return nn.Sequential(*modules)


def weighed(net: nn.Sequential) -> list[nn.Conv2d | nn.Linear]:
    return [module for module in net if isinstance(module, nn.Conv2d | nn.Linear)]


class Trainer:
    def __init__(self, problem: Problem, variant: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self.network, self.net = problem.network, described(problem.network)
        for module, (W, b) in zip(weighed(self.net), channels_first(problem.network, problem.parameters), strict=True):
            with torch.no_grad():
                module.weight.copy_(torch.from_numpy(W.T if isinstance(module, nn.Linear) else W))
                module.bias.copy_(torch.from_numpy(b))
        self.net.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=problem.network.learning_rate, fused=True)
        self.X, self.y = torch.from_numpy(problem.X), torch.from_numpy(problem.y)
        self.loss = torch.compile(self._loss, dynamic=False) if variant == "compiled" else self._loss

    def _loss(self, X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(self.net(X.permute(0, 3, 1, 2)), y)  # a view, whose channels are last

    def _step(self, X: torch.Tensor, y: torch.Tensor) -> None:
        loss = self.loss(X, y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def first(self) -> None:
        size = self.network.batch_size
        for begin in range(0, min(FIRST * size, len(self.X)), size):
            self._step(self.X[begin : begin + size], self.y[begin : begin + size])

    def run(self, epochs: int) -> None:
        for _ in range(epochs):
            for rows in torch.randperm(len(self.X)).split(self.network.batch_size):
                self._step(self.X[rows], self.y[rows])

    def parameters(self) -> Parameters:
        found = [
            (m.weight.detach().numpy().T if isinstance(m, nn.Linear) else m.weight.detach().numpy(),
             m.bias.detach().numpy().copy())
            for m in weighed(self.net)
        ]  # fmt: skip
        return channels_last(self.network, found)
