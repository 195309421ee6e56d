"""The compiled gradient against central differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn._common import checks
from cnn.runtime import arena, data, passes
from cnn.runtime.state import NetworkState


@dataclass(frozen=True)
class GradientCheck:
    """What `gradient_check` has found.

    Args:
        errors: of each parameter's gradient, |analytic - numeric| / (|analytic| + |numeric|), by name.
        error: the largest of them.

    >>> GradientCheck({"layers.0.weights": 1e-9}, 1e-9).error
    1e-09
    """

    errors: dict[str, float]
    error: float


@checks.quiet
def gradient_check(
    net: NetworkState, X: Any, y: Any, sample_weight: Any = None, *, step: float = 1e-5, n: int = 20, seed: int = 0
) -> GradientCheck:
    """Compares the compiled gradient with central differences, (L(w + h) - L(w - h)) / 2h, in float64.

    Args:
        net: a network that is built; it stays as it is.
        X, y, sample_weight: as `Network.fit` takes arrays.
        step: h, relative to max(1, |w|).
        n: elements of each parameter that are checked, drawn at random.
        seed: of what is drawn.

    Returns:
        The relative error of each parameter, by Euclidean norm; some 1e-9 where all is well, above 1e-4 something is
        wrong, or a kink of relu and its kin lies within h.

    >>> import cnn, numpy as np
    >>> net = cnn.Network([cnn.Dense(3, "tanh"), cnn.Dense(1)], seed=0).build(2)
    >>> gradient_check(net, np.eye(2), np.ones(2)).error < 1e-7
    True
    """

    checks.number("step", step, 0, open_low=True)
    checks.integer("n", n, 1)
    twin = NetworkState(net.descriptions, net.loss, net.optimizer, "float64", net.seed).build(net.input_shape)
    twin.set_weights(net.get_weights())
    rows = data.prepare(X, y, sample_weight, twin.loss, twin.dtype, twin.inputs, twin.n_outputs)

    def loss() -> float:
        return passes.loss_and_gradient(twin, rows, False, None)[0]

    gradients = arena.views(passes.loss_and_gradient(twin, rows, False, None)[1], twin.plan.names)
    rng = np.random.default_rng(seed)
    errors = {}
    for name, parameter in twin.parameters.items():
        if name in twin.plan.constants:
            continue
        places = rng.permutation(parameter.size)[:n]
        w, analytic = parameter.reshape(-1), gradients[name].reshape(-1)[places]
        numeric = np.empty(len(places))
        for k, place in enumerate(places):
            kept = w[place]
            h = step * max(1.0, abs(kept))
            w[place] = kept + h
            up = loss()
            w[place] = kept - h
            down = loss()
            w[place] = kept
            numeric[k] = (up - down) / (2 * h)
        size = float(np.linalg.norm(analytic) + np.linalg.norm(numeric))
        # Where both are rounding noise there is nothing to compare.
        errors[name] = float(np.linalg.norm(analytic - numeric)) / size if size > 1e-10 else 0.0
    return GradientCheck(errors, max(errors.values()))
