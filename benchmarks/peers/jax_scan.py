"""JAX: a whole epoch is one compiled call, a scan over the minibatches, whose state is donated to the next.

Predictions are one compiled function, in which the parameters are constants.
"""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
from jax import numpy as jnp
from networks import Network, Parameters, Problem

jax.config.update("jax_platforms", "cpu")
VARIANTS = ("scan",)
FUNCTIONS = {"sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh, "relu": jax.nn.relu, "identity": lambda z: z}


def outputs(network: Network, parameters: Parameters, x: jax.Array) -> jax.Array:
    for (W, b), activation in zip(parameters, network.activations(), strict=True):
        x = FUNCTIONS[activation](x @ W + b)
    return x


def mean_loss(network: Network, parameters: Parameters, x: jax.Array, y: jax.Array) -> jax.Array:
    x = outputs(network, parameters, x)
    if network.loss == "mse":
        return jnp.mean((x - y) ** 2)
    return jnp.mean(jax.nn.logsumexp(x, axis=1) - jnp.take_along_axis(x, y, axis=1)[:, 0])


def update(network: Network, state: tuple, gradient: Parameters) -> tuple:
    parameters, m, v, step = state
    rate = network.learning_rate
    if network.optimizer == "sgd":
        return jax.tree.map(lambda p, g: p - rate * g, parameters, gradient), m, v, step
    step = step + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, gradient)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, gradient)
    a, root = rate / (1 - 0.9**step), jax.lax.rsqrt(1 - 0.999**step)
    return jax.tree.map(lambda p, m, v: p - a * m / (jnp.sqrt(v) * root + 1e-8), parameters, m, v), m, v, step


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def run_epoch(network: Network, state: tuple, X: jax.Array, y: jax.Array) -> tuple:
    def train_step(state: tuple, batch: tuple) -> tuple:
        loss, gradient = jax.value_and_grad(partial(mean_loss, network))(state[0], *batch)
        return update(network, state, gradient), loss

    state, losses = jax.lax.scan(train_step, state, (X, y))
    return state, losses.mean()


class Trainer:
    def __init__(self, problem: Problem, variant: str, threads: int) -> None:
        self.network = network = problem.network
        shape = (network.n_batches, network.batch_size, -1)
        self.X = jnp.asarray(problem.X.reshape(shape))
        y = problem.y if network.loss == "mse" else problem.y.astype(np.int32)
        self.y = jnp.asarray(y.reshape(shape))
        parameters = jax.tree.map(jnp.array, problem.parameters)
        m, v = (jax.tree.map(jnp.zeros_like, parameters) for _ in range(2))
        self.state = (parameters, m, v, jnp.float32(0))

    def run(self, epochs: int) -> None:
        for _ in range(epochs):
            self.state, loss = run_epoch(self.network, self.state, self.X, self.y)
        loss.block_until_ready()

    def parameters(self) -> Parameters:
        return [(np.array(W), np.array(b)) for W, b in self.state[0]]


class Predictor:
    def __init__(self, problem: Problem, threads: int) -> None:
        network, parameters = problem.network, jax.tree.map(jnp.array, problem.parameters)
        link = jax.nn.softmax if network.loss == "cross_entropy" else lambda z: z
        compiled = jax.jit(lambda x: link(outputs(network, parameters, x)))
        self.predict = lambda X: np.asarray(compiled(X))
