"""The matrix products of a training step alone, by SciPy's own BLAS with all its threads: no peer, but a yardstick."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from networks import Network, Parameters, Problem
from scipy.linalg.blas import sgemm

VARIANTS = ("products",)


def supports(network: Network) -> bool:
    return min(network.sizes) >= 1000


class Trainer:
    """Arrays in Fortran order, as BLAS has them: nothing is copied."""

    def __init__(self, problem: Problem, variant: str, threads: int) -> None:
        network = self.network = problem.network
        rng = np.random.default_rng(0)
        rows = network.batch_size
        self.given = problem.parameters

        def array(m: int, n: int) -> np.ndarray:
            return np.asfortranarray(rng.standard_normal((m, n), np.float32))

        self.layers = [
            {"a": array(m, rows), "W": array(n, m), "z": array(n, rows), "dW": array(n, m), "da": array(m, rows)}
            for m, n in pairwise(network.sizes)
        ]

    def run(self, epochs: int) -> None:
        for _ in range(epochs * self.network.n_batches):
            for layer in self.layers:
                sgemm(1.0, layer["W"], layer["a"], c=layer["z"], overwrite_c=True)
            for i, layer in reversed(list(enumerate(self.layers))):
                sgemm(1.0, layer["z"], layer["a"], c=layer["dW"], overwrite_c=True, trans_b=True)
                if i > 0:
                    sgemm(1.0, layer["W"], layer["z"], c=layer["da"], overwrite_c=True, trans_a=True)

    def parameters(self) -> Parameters:
        return self.given


def comparable(network: Network) -> bool:
    return False
