"""The network of a table model: its layers, and how they learn."""

from __future__ import annotations

import math

from cnn import layers, network, optimizers, schedules
from cnn.activations import ActivationName
from cnn.table.encode import Encoder
from cnn.table.settings import Settings
from cnn.table.targets import Goal

_SLOW = 0.25  # of the learning rate, for embeddings
_SIZE, _WIDTH = 16, 1 << 8  # outputs of an embedding, and of all of them
_WARM = 0.05  # of the steps, in which the rate rises


def network_of(settings: Settings, goal: Goal, encoder: Encoder, seed: int) -> network.Network:
    """One network on the encoder's inputs, of settings that are `chosen`, untrained.

    A layer learns at the rate · 1/√inputs, and its weights decay as if it were the rate alone. A column of many
    categories counts as 64 inputs.
    """
    stack: list[layers.Layer] = []
    width = encoder.weight
    if encoder.embedded:
        size = min(_SIZE, _WIDTH // len(encoder.stairs))
        edges = [range(bins + 1) for bins in encoder.stairs]  # a place is told in stairs
        stack.append(layers.PiecewiseEmbedding(edges, size, learning_rate_factor=_SLOW, decay_factor=1 / _SLOW))
        width += (size - 1) * len(edges)
    for units in settings.hidden or ():
        stack.append(_dense(units, width, settings.activation))
        if settings.dropout:
            stack.append(layers.Dropout(settings.dropout))
        width = units
    stack.append(_dense(goal.outputs, width))
    rates = schedules.OneCycle(settings.learning_rate or 0.0, warm=_WARM)
    optimizer = optimizers.AdamW(rates, weight_decay=settings.weight_decay or 0.0, beta_2=0.95)
    return network.Network(stack, loss=goal.loss, optimizer=optimizer, seed=seed)


def _dense(units: int, n_inputs: int, activation: ActivationName = "identity") -> layers.Dense:
    root = math.sqrt(n_inputs)
    return layers.Dense(units, activation, learning_rate_factor=1 / root, decay_factor=root)
