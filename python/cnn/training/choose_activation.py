"""activation="auto": candidates compared on a part of the data by successive halving (Jamieson & Talwalkar 2016)."""

from __future__ import annotations

import numpy as np

from cnn._common import console
from cnn._common.errors import NonFiniteError
from cnn.activations import Activation
from cnn.layers import Layer
from cnn.runtime import evaluation
from cnn.runtime.data import Data
from cnn.runtime.state import NetworkState
from cnn.training.fit import Fit, of_rows

CANDIDATES = ("relu", "leaky_relu", "elu", "gelu", "silu", "mish", "tanh", "sigmoid")
_MAX_ROWS = 5000  # of the part that the candidates see
_HELD_OUT = 0.25
_STEPS = 60  # of the first round; each round has twice the last one's


def with_activation(layers: tuple[Layer, ...], name: str) -> tuple[Layer, ...]:
    """The layers with every "auto" replaced."""
    chosen = Activation(name)
    return tuple(layer.settled(chosen) for layer in layers)


def settle(fit: Fit) -> None:
    """Chooses the activations of a fit whose network has "auto" layers, unless its checkpoint has them.

    Among several ranks rank 0 does for all.
    """
    if fit.net.chooses_activation and fit.saved is None:
        net, ranks = fit.net, fit.identity.ranks
        if ranks.first:
            choose(net, fit.sample, fit.verbose)
        net.descriptions, net.activation_choice = ranks.broadcast((net.descriptions, net.activation_choice))


def choose(net: NetworkState, rows: Data, verbose: int) -> None:
    """Settles the network's "auto" layers, and says on what grounds in `net.activation_choice`."""
    # A row without weight would have no say, and a part of nothing but such rows no loss.
    counted = np.arange(len(rows)) if rows.weights is None else np.flatnonzero(rows.weights)
    order = np.random.default_rng((net.seed, 2)).permutation(counted)[:_MAX_ROWS]
    held_out = max(1, int(len(order) * _HELD_OUT))
    # With very few rows there is nothing to hold out: all are both trained on and judged by.
    train = rows.take(order[held_out:] if len(order) >= 20 else order)
    validation = rows.take(order[:held_out] if len(order) >= 20 else order)
    batch = min(128, max(1, len(train) // 8))
    epochs = -(-_STEPS * batch // len(train))

    alive = {
        name: NetworkState(
            with_activation(net.descriptions, name), net.loss, net.optimizer, net.dtype, net.seed, net.dropout_factor
        )
        for name in CANDIDATES
    }
    losses: dict[str, float] = {}
    while True:
        for name, candidate in alive.items():
            losses[name] = _loss_after(candidate, train, validation, epochs, batch)
        ranked = sorted(alive, key=lambda name: losses[name])
        if len(ranked) <= 2:
            break
        alive = {name: alive[name] for name in ranked[: (len(ranked) + 1) // 2]}
        epochs *= 2

    best, second = ranked
    dropped = sorted(set(losses) - {best, second}, key=lambda name: losses[name])
    net.descriptions = with_activation(net.descriptions, best)
    net.activation_choice = (
        f"activation='auto' became {best!r}: its loss on held-out rows was {losses[best]:.4g} in the last round, that "
        f"of {second} {losses[second]:.4g}; half of the candidates dropped out in each round before: "
        f"{', '.join(f'{name} {losses[name]:.4g}' for name in dropped) or 'none'} "
        f"({len(order):,} of {len(rows):,} rows)"
    )
    if verbose:
        console.say(net.activation_choice)


def _loss_after(net: NetworkState, train: Data, validation: Data, epochs: int, batch: int) -> float:
    """The held-out loss after some more epochs; infinite for a candidate that diverges."""
    try:
        of_rows(net, train, epochs, batch).run()
    except NonFiniteError:
        return float("inf")
    loss = evaluation.evaluate(net, validation, {})["loss"]
    return loss if np.isfinite(loss) else float("inf")
