"""The reference itself: complete, right by central differences, and one whole step of it beside the compiled one."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from helpers import training

import cnn_core
from cnn import losses, optimizers
from cnn.layers import Dense, Dropout
from cnn.runtime import plan

ACTIVATIONS = [kind.name.lower() for kind in cnn_core.Activation]
LOSSES = [kind.name.lower() for kind in cnn_core.Loss]


@pytest.mark.parametrize(
    ("enum", "entries"),
    [
        (cnn_core.Activation, reference.ACTIVATIONS),
        (cnn_core.Loss, reference.LOSSES),
        (cnn_core.Optimizer, reference.OPTIMIZERS),
        (cnn_core.Optimizer, reference.SLOTS),
    ],
)
def test_every_member_has_an_entry(enum, entries):
    assert set(entries) == {member.name.lower() for member in enum}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_slopes_are_central_differences(name):
    value, slope = reference.ACTIVATIONS[name]
    z = np.linspace(-7.013, 7.037, 1201)  # no kink (0, 1, 3, 6) is within the step of a point
    alpha, h = cnn_core.engine.activation_default_alpha(cnn_core.Activation[name.upper()]), 1e-6
    np.testing.assert_allclose(slope(z, alpha), (value(z + h, alpha) - value(z - h, alpha)) / (2 * h), atol=1e-8)


@pytest.mark.parametrize(
    ("name", "z", "slope"),
    [
        ("relu", 0, 0),
        ("leaky_relu", 0, 0.1),
        ("relu6", 0, 0),
        ("relu6", 6, 0),
        ("elu", 0, 0.1),
        ("hard_sigmoid", 3, 0),
        ("hard_swish", -3, 0),
        ("hard_swish", 3, 1),
        ("hard_tanh", 1, 0),
        ("hard_tanh", -1, 0),
    ],
)
def test_slopes_at_kinks(name, z, slope):
    """One-sided derivatives are a convention: these are PyTorch's, for the reference and for every engine."""
    assert reference.ACTIVATIONS[name][1](np.array([float(z)]), 0.1)[0] == slope
    kind = cnn_core.Activation[name.upper()]
    for engine in cnn_core.engines().values():
        saved, delta = np.array([float(z)]), np.ones(1)
        if not engine.activation_keeps_input(kind):
            engine.activation_forward(kind, saved.copy(), saved, 0.1)
        engine.activation_backward(kind, saved, delta, 0.1)
        assert delta[0] == slope


def network(activation: str, k: int, rng: np.random.Generator, rate: float = 0.0):
    def dense(n, m, activation):
        return {
            "W": rng.normal(size=(n, m)) / np.sqrt(n),
            "b": rng.normal(size=m) / 4,
            "activation": activation,
            "p": reference_alpha(activation),
            "penalty": {"W": (0.01, 0.02), "b": (0.003, 0.0)},
        }

    return [{"rate": rate}, dense(4, 6, activation), {"rate": rate}, dense(6, k, "identity")]


def reference_alpha(activation: str) -> float:
    return cnn_core.engine.activation_default_alpha(cnn_core.Activation[activation.upper()])


def data(loss: str, n: int, k: int, rng: np.random.Generator):
    return rng.normal(size=(n, 4)), reference.draw_targets(loss, rng, n, k), rng.uniform(0.1, 2, n)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_is_central_differences(loss):
    rng = np.random.default_rng(3)
    layers, (x, t, w) = network("tanh", reference.n_outputs(loss, 3), rng, rate=0.3), data(loss, 20, 3, rng)
    options = {"p": 0.2, "weights": w, "seed": 7, "i": 5}
    _, _, gradient = reference.loss_and_gradient(layers, loss, x, t, **options)
    for (index, name), g in gradient.items():
        for position in np.ndindex(g.shape):
            theta, h = layers[index][name], 1e-6
            sides = []
            for sign in (1, -1):
                moved = theta.copy()
                moved[position] += sign * h
                layers[index][name] = moved
                sides.append(sum(reference.loss_and_gradient(layers, loss, x, t, **options)[:2]))
            layers[index][name] = theta
            assert g[position] == pytest.approx((sides[0] - sides[1]) / (2 * h), rel=1e-6, abs=2e-8)


@pytest.mark.parametrize(
    "clipping", [{}, {"clip_value": 0.01}, {"clip_norm": 0.05}, {"clip_value": 0.05, "clip_norm": 0.1}]
)
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("loss", LOSSES)
def test_compiled_steps_equal_the_reference(loss, optimizer, clipping):
    rng = np.random.default_rng(11)
    description = optimizers.BY_NAME[optimizer](learning_rate=0.01, weight_decay=0.1, **clipping)
    layers, (x, t, w) = network("silu", k := reference.n_outputs(loss, 3), rng, rate=0.25), data(loss, 50, 3, rng)
    penalties = {"l1": 0.01, "l2": 0.02, "bias_l1": 0.003}
    built = plan.build(
        [Dropout(0.25), Dense(6, "silu", **penalties), Dropout(0.25), Dense(k, **penalties)],
        4,
        losses.get(loss),
        description,
    )
    parameters = np.zeros(built.size)
    views = {}
    for name, (offset, shape) in built.names.items():
        _, index, tensor = name.split(".")
        key = int(index), {"weights": "W", "biases": "b"}[tensor]
        views[key] = parameters[offset : offset + int(np.prod(shape))].reshape(shape)
        views[key][...] = layers[key[0]][key[1]]
    state = {key: np.zeros((built.slots, *view.shape)) for key, view in views.items()}
    made, _, report = training(
        built, np.tile(x, (10, 1)), targets=np.tile(t, (10, 1)), weights=np.tile(w, 10), batch=len(x), seed=42,
        parameters=parameters,
    )  # fmt: skip
    # Learning rate and factors on dropout and decay of each step, as schedules might give them.
    numbers = np.array([[0.01, 1, 1], [0.02, 0.5, 0], [0.005, 0, 2], [0.01, 2.5, 0.5], [0.01, 1, 1]] * 2)
    assert made.run(0, 0, 10, numbers, np.zeros((1, 5)), 1) == 0
    assert made.done == 10
    p = reference.PARAMETERS.get(loss, (0.0,))[0]
    for i, (rate, dropout, decay) in enumerate(numbers, 1):
        h = description.spec()[0].copy()
        h["weight_decay"] *= decay
        layers[0]["rate"] = layers[2]["rate"] = 0.25 * dropout
        value, penalty = reference.train_step(
            layers, loss, cnn_core.Optimizer(h["kind"]).name.lower(), h, i, rate, state, x, t, p=p, weights=w, seed=42
        )
        assert report[i - 1, 0] / report[i - 1, 1] == pytest.approx(value, rel=1e-12)
        assert report[i - 1, 2] == pytest.approx(penalty, rel=1e-12)
    for key, view in views.items():
        np.testing.assert_allclose(view, layers[key[0]][key[1]], rtol=1e-11, atol=1e-13)
