"""JAX on images: a whole shuffled epoch is one compiled call, a scan over the minibatches. Max pooling in two ways."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
from image_networks import FIRST, Conv, Dense, Mean, Network, Pool, Problem
from jax import lax
from jax import numpy as jnp
from networks import Parameters

from peers.jax_scan import update

VARIANTS = ("windows", "reshaped")


def pooled(x: jax.Array, variant: str) -> jax.Array:
    if variant == "windows":
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    n, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    return x.reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))


def outputs(network: Network, variant: str, parameters: Parameters, x: jax.Array) -> jax.Array:
    left = list(parameters)
    for layer in network.layers:
        if isinstance(layer, Pool):
            x = pooled(x, variant)
        elif isinstance(layer, Mean):
            x = x.mean((1, 2))
        elif isinstance(layer, Conv):
            W, b = left.pop(0)
            groups = x.shape[-1] if layer.depthwise else 1
            x = lax.conv_general_dilated(x, W, (1, 1), "SAME" if layer.same else "VALID", feature_group_count=groups,
                                         dimension_numbers=("NHWC", "HWIO", "NHWC"))  # fmt: skip
            x = jax.nn.relu(x + b)
        else:
            assert isinstance(layer, Dense)
            W, b = left.pop(0)
            x = x.reshape(len(x), -1) @ W + b
            x = jax.nn.relu(x) if layer.relu else x
    return x


def mean_loss(network: Network, variant: str, parameters: Parameters, x: jax.Array, y: jax.Array) -> jax.Array:
    z = outputs(network, variant, parameters, x)
    return jnp.mean(jax.nn.logsumexp(z, axis=1) - jnp.take_along_axis(z, y[:, None], axis=1)[:, 0])


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def run_steps(network: Network, variant: str, state: tuple, X: jax.Array, y: jax.Array, order: jax.Array) -> tuple:
    """Steps on rows order (steps, rows of a minibatch)."""

    def train_step(state: tuple, rows: jax.Array) -> tuple:
        loss, gradient = jax.value_and_grad(partial(mean_loss, network, variant))(state[0], X[rows], y[rows])
        return update(network, state, gradient), loss

    return lax.scan(train_step, state, order)


class Trainer:
    def __init__(self, problem: Problem, variant: str, threads: int) -> None:
        self.network, self.variant, self.rng = problem.network, variant, np.random.default_rng(0)
        self.X, self.y = jnp.asarray(problem.X), jnp.asarray(problem.y.astype(np.int32))
        parameters = jax.tree.map(jnp.array, problem.parameters)
        m, v = (jax.tree.map(jnp.zeros_like, parameters) for _ in range(2))
        self.state = (parameters, m, v, jnp.float32(0))

    def _run(self, order: np.ndarray) -> None:
        rows = jnp.asarray(order.astype(np.int32).reshape(-1, self.network.batch_size))
        self.state, losses = run_steps(self.network, self.variant, self.state, self.X, self.y, rows)
        losses.block_until_ready()

    def first(self) -> None:
        self._run(np.arange(min(FIRST * self.network.batch_size, len(self.X))))

    def run(self, epochs: int) -> None:
        for _ in range(epochs):
            self._run(self.rng.permutation(self.network.rows))

    def parameters(self) -> Parameters:
        return [(np.array(W), np.array(b)) for W, b in self.state[0]]
