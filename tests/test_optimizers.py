"""Optimizers of the core, on every engine, in both types, beside the reference; and what describes them."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
import reference
from helpers import OPTIMIZERS, ReferenceTraining

import cnn
import cnn_core
from cnn import optimizers, schedules
from cnn.optimizers import SGD, Adadelta, Adagrad, Adam, AdamW, Lion, Nadam, Optimizer, RMSprop

ENGINES = cnn_core.engines()
NAMES = [kind.name.lower() for kind in cnn_core.Optimizer]
SIZES = (1, 7, 15, 16, 17, 1023, 1024, 1025)
DEFAULTS = {
    "momentum": 0.0, "beta_1": 0.9, "beta_2": 0.99, "rho": 0.95, "epsilon": 1e-6, "weight_decay": 0.0,
    "nesterov": 0, "amsgrad": 0, "epsilon_hat": 0, "decoupled": 0, "clip_value": 0.0, "clip_norm": 0.0,
}  # fmt: skip
# The switches that change an optimizer's formula; each is tried for each weight decay.
SWITCHES = {
    "sgd": [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": 1}],
    "rmsprop": [{}, {"momentum": 0.8}],
    "adam": [{}, {"amsgrad": 1}, {"epsilon_hat": 1}],
}
DECAYS = [{}, {"weight_decay": 0.3}, {"weight_decay": 0.3, "decoupled": 1}]
CASES = [(name, {**switch, **decay}) for name in NAMES for switch in SWITCHES.get(name, [{}]) for decay in DECAYS]

engines = pytest.mark.parametrize("engine", ENGINES.values(), ids=list(ENGINES))
cases = pytest.mark.parametrize(("name", "options"), CASES, ids=lambda v: v if isinstance(v, str) else "-".join(v))


def specify(name: str, options: dict) -> np.ndarray:
    spec = np.zeros(1, cnn_core.optimizer_dtype)
    spec["kind"] = cnn_core.Optimizer[name.upper()]
    for field, value in {**DEFAULTS, **options}.items():
        spec[field] = value
    return spec


def segment(*parts: tuple[int, int, float, float]) -> np.ndarray:
    return np.array([(*part, 0.0, 0.0, 0) for part in parts], cnn_core.segment_dtype)


def gradients(n: int, dtype) -> np.ndarray:
    """Ten steps of gradients of very different sizes, zeros among them."""
    rng = np.random.default_rng(n)
    g = rng.normal(size=(10, n)) * 10 ** rng.uniform(-4, 2, (10, n))
    return np.where(rng.uniform(size=(10, n)) > 0.1, g, 0).astype(dtype)


def ten_steps(engine, name, options, n, dtype, parts):
    """theta after ten steps, from the engine and from the reference, and the state of both."""
    spec = specify(name, options)
    slots, rates = engine.optimizer_slots(spec), 0.01 * 0.8 ** np.arange(10)
    theta = np.random.default_rng(0).normal(size=n).astype(dtype)
    state, scalars = np.zeros(slots * n, dtype), np.zeros(4)
    expected, states = theta.astype(np.float64), np.zeros((slots, n))
    for i, g in enumerate(gradients(n, dtype), start=1):
        kept, left = g.copy(), g.copy()
        for begin, end, *_ in parts:
            left[begin:end] = theta[begin:end]
        engine.optimizer_update(spec, segment(*parts), theta, g, state, scalars, i, rates[i - 1])
        np.testing.assert_array_equal(g, left)  # the old theta
        for begin, end, rate, decay in parts:
            s = slice(begin, end)
            own = states[:, s].copy()
            expected[s] = reference.update(
                name, spec[0], i, rates[i - 1] * rate, expected[s], kept[s].astype(float), own, decay
            )
            states[:, s] = own
    return theta, expected, state.reshape(slots, n), states


@cases
def test_every_optimizer_has_its_slots(name, options):
    spec = specify(name, options)
    for engine in ENGINES.values():
        assert engine.optimizer_slots(spec) == reference.SLOTS[name](spec[0])


@engines
@cases
def test_ten_steps_in_float64(name, options, engine):
    for n in SIZES:
        theta, expected, state, states = ten_steps(engine, name, options, n, np.float64, [(0, n, 1.0, 1.0)])
        np.testing.assert_allclose(theta, expected, rtol=1e-12, atol=1e-14)
        # Slot j of parameter i stands at j * n + i. A running mean cancels: hence the bound on its largest element.
        np.testing.assert_allclose(state, states, rtol=1e-12, atol=1e-14 * max(1.0, np.abs(states).max(initial=0)))


@engines
@cases
def test_ten_steps_in_float32(name, options, engine):
    for n in SIZES:
        theta, expected, _, _ = ten_steps(engine, name, options, n, np.float32, [(0, n, 1.0, 1.0)])
        # A step rounds a few times at the size of theta or of the way made, both about 1: under 2 units a step.
        assert np.all(np.abs(theta - expected) <= 1e-6 * (1 + np.abs(expected)))


@engines
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@cases
def test_segments_have_their_own_rate_and_decay(name, options, dtype, engine):
    parts = [(0, 17, 1.0, 1.0), (17, 40, 0.5, 0.0), (48, 65, 2.0, 0.25)]  # 40 .. 47 belong to nobody
    theta, expected, state, _ = ten_steps(engine, name, options, 70, dtype, parts)
    bound = 1e-12 if dtype is np.float64 else 1e-6
    assert np.all(np.abs(theta - expected) <= bound * (1 + np.abs(expected)))
    untouched = np.r_[40:48, 65:70]
    np.testing.assert_array_equal(theta[untouched], np.random.default_rng(0).normal(size=70).astype(dtype)[untouched])
    assert not state[:, untouched].any()


@engines
@cases
def test_a_split_range_is_updated_to_the_same_bits(name, options, engine):
    for dtype in (np.float32, np.float64):
        whole = ten_steps(engine, name, options, 96, dtype, [(0, 96, 1.0, 1.0)])
        split = ten_steps(engine, name, options, 96, dtype, [(0, 32, 1.0, 1.0), (32, 64, 1.0, 1.0), (64, 96, 1.0, 1.0)])
        np.testing.assert_array_equal(whole[0], split[0])
        np.testing.assert_array_equal(whole[2], split[2])


@engines
def test_first_steps_computed_by_hand(engine):
    def first_step(name, **options):
        spec, theta, g = specify(name, {"epsilon": 0.0, **options}), np.array([1.0, -2.0]), np.array([0.5, -0.25])
        state = np.zeros(2 * engine.optimizer_slots(spec))
        engine.optimizer_update(spec, segment((0, 2, 1.0, 1.0)), theta, g, state, np.zeros(4), 1, 0.1)
        return theta

    def check(theta, expected):
        np.testing.assert_allclose(theta, expected, rtol=1e-14)

    check(first_step("sgd"), [0.95, -1.975])
    check(first_step("sgd", momentum=0.9), [0.95, -1.975])
    check(first_step("sgd", momentum=0.9, nesterov=1), [0.905, -1.9525])
    check(first_step("sgd", weight_decay=0.1), [0.94, -1.955])
    check(first_step("sgd", weight_decay=0.1, decoupled=1), [0.94, -1.955])
    check(first_step("rmsprop", rho=0.75), [0.8, -1.8])
    check(first_step("adagrad"), [0.9, -1.9])
    check(first_step("adam"), [0.9, -1.9])
    check(first_step("adam", weight_decay=0.1), [0.9, -1.9])  # coupled: Adam divides the decay away
    check(first_step("adam", weight_decay=0.1, decoupled=1), [0.89, -1.88])
    check(first_step("lion"), [0.9, -1.9])
    way = 0.1 * 0.1 * np.array([0.5, -0.25]) / np.sqrt([0.0725, 0.025625])
    check(first_step("adadelta", rho=0.75, epsilon=0.01), np.array([1, -2]) - way)


@engines
def test_zero_gradients_move_nothing(engine):
    for name in NAMES:
        spec, theta = specify(name, {}), np.ones(5, np.float32)
        state = np.zeros(5 * engine.optimizer_slots(spec), np.float32)
        g, whole = np.zeros(5, np.float32), segment((0, 5, 1.0, 1.0))
        engine.optimizer_update(spec, whole, theta, g, state, np.zeros(4), 1, 0.1)
        np.testing.assert_array_equal(theta, 1)


@pytest.mark.parametrize("name", [*(name for name in OPTIMIZERS if not name.startswith("clip")), "clip_both"])
def test_layers_have_their_own_rates_and_decays(name: str) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)), rng.normal(size=(60, 3))
    layers = [cnn.Dense(9, "tanh", learning_rate_factor=(0.5, 2.0), decay_factor=(3.0, 0.5)),
              cnn.Dense(5, "sigmoid", learning_rate_factor=0), cnn.Dense(3, decay_factor=0.25)]  # fmt: skip
    optimizer = OPTIMIZERS[name]
    decays = {"weight_decay": 0.2, "decay_biases": True} if hasattr(optimizer, "weight_decay") else {}
    net = cnn.Network(layers, optimizer=dataclasses.replace(optimizer, **decays), dtype="float64", seed=7).build(4)
    before, course = net.get_weights(), ReferenceTraining(net)
    net.fit(X, y, epochs=10, batch_size=None, shuffle=False, verbose=0)
    for _ in range(10):
        course.step(optimizer.learning_rate, X, y)
    for parameter, expected in course.weights().items():
        np.testing.assert_allclose(net.parameters[parameter], expected, rtol=1e-10, atol=1e-13, err_msg=parameter)
        frozen = parameter.startswith("layers.1.")
        assert np.array_equal(net.parameters[parameter], before[parameter]) == frozen


# Descriptions ---------------------------------------------------------------------------------------------------------

TORCH_DEFAULTS = [
    (SGD, {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}),
    (RMSprop, {"learning_rate": 0.01, "rho": 0.99, "epsilon": 1e-8, "momentum": 0.0, "weight_decay": 0.0}),
    (Adagrad, {"learning_rate": 0.01, "epsilon": 1e-10, "weight_decay": 0.0}),
    (Adadelta, {"learning_rate": 1.0, "rho": 0.9, "epsilon": 1e-6, "weight_decay": 0.0}),
    (Adam, {"learning_rate": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0}),
    (AdamW, {"learning_rate": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "weight_decay": 0.01}),
    (Nadam, {"learning_rate": 2e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0}),
    (Lion, {"learning_rate": 1e-4, "beta_1": 0.9, "beta_2": 0.99, "weight_decay": 0.0}),
]


def test_every_optimizer_has_a_description():
    assert {cls.kind for cls in optimizers.BY_NAME.values()} == {kind.name for kind in cnn_core.Optimizer}
    assert set(optimizers.BY_NAME.values()) == {cls for cls, _ in TORCH_DEFAULTS}


@pytest.mark.parametrize(("cls", "defaults"), TORCH_DEFAULTS)
def test_defaults_and_spec(cls, defaults):
    made = cls()
    assert {name: getattr(made, name) for name in defaults} == defaults
    spec = made.spec()
    assert spec.dtype == cnn_core.optimizer_dtype
    assert spec["kind"][0] == cnn_core.Optimizer[cls.kind]
    assert spec["decoupled"][0] == (cls in (AdamW, Lion))
    for name in spec.dtype.names:
        if name not in ("kind", "decoupled"):
            assert spec[name][0] == (getattr(made, name, 0) or 0)
    assert optimizers.get(cls.__name__) == optimizers.get(cls.__name__.upper()) == made
    assert optimizers.get(made) is made


FIELDS = {
    "learning_rate": 0.25, "momentum": 0.75, "nesterov": True, "amsgrad": True, "epsilon_hat": True, "rho": 0.6,
    "beta_1": 0.8,    "beta_2": 0.95, "epsilon": 1e-4, "weight_decay": 0.125, "decay_biases": True, "clip_value": 2.0,
    "clip_norm": 3.0,
}  # fmt: skip


@pytest.mark.parametrize("cls", [cls for cls, _ in TORCH_DEFAULTS])
def test_every_field_reaches_the_spec_and_the_repr(cls):
    names = [field.name for field in dataclasses.fields(cls)]
    made = cls(**{name: FIELDS[name] for name in names})
    assert eval(repr(made)) == made
    assert dataclasses.replace(made) == pickle.loads(pickle.dumps(made)) == made
    assert hash(made) == hash(eval(repr(made)))
    spec = made.spec()
    for name in set(names) - {"learning_rate", "decay_biases"}:
        assert spec[name][0] == FIELDS[name]
    from_numpy = cls(np.float64(0.25), **{name: np.asarray(FIELDS[name])[()] for name in names[1:]})
    assert repr(from_numpy) == repr(made)


def test_only_own_arguments_go_by_position():
    assert SGD(0.1, 0.9, True) == SGD(learning_rate=0.1, momentum=0.9, nesterov=True)
    assert Adam(0.1, 0.8, 0.9) == Adam(learning_rate=0.1, beta_1=0.8, beta_2=0.9)
    with pytest.raises(dataclasses.FrozenInstanceError):
        SGD().momentum = 0.5


def test_schedules_as_rates():
    assert Adam(learning_rate="cosine").learning_rate == schedules.Cosine()
    nested = Adam(schedules.WarmUp(schedules.Cosine(0.1), steps=3))
    assert eval(repr(nested), {**vars(schedules), **vars(optimizers)}) == nested


@pytest.mark.parametrize("cls", [cls for cls, _ in TORCH_DEFAULTS])
def test_errors(cls):
    outside = {
        "learning_rate": (-1.0, r"\[0, inf\)"), "momentum": (1.5, r"\[0, 1\]"), "rho": (-0.1, r"\[0, 1\)"),
        "beta_1": (1.0, r"\[0, 1\)"), "beta_2": (2.0, r"\[0, 1\)"), "epsilon": (0.0, r"\(0, inf\)"),
        "weight_decay": (np.inf, r"\[0, inf\)"), "clip_value": (0.0, r"\(0, inf\)"), "clip_norm": (-1.0, r"\(0, inf\)"),
    }  # fmt: skip
    for field in dataclasses.fields(cls):
        if field.name in outside:
            value, interval = outside[field.name]
            with pytest.raises(ValueError, match=f"{field.name} must be in {interval}, got"):
                cls(**{field.name: value})
            with pytest.raises(TypeError, match=f"{field.name} must be a number, got b'x' of type bytes"):
                cls(**{field.name: b"x"})
        else:
            with pytest.raises(TypeError, match=f"{field.name} must be True or False, got 'yes' of type str"):
                cls(**{field.name: "yes"})


def test_unknown_names():
    with pytest.raises(ValueError, match=r"unknown optimizer 'adm'\. Did you mean 'adam'\? Known: adadelta, adagrad"):
        optimizers.get("adm")
    with pytest.raises(TypeError, match=r"optimizer must be a name or a cnn\.Optimizer, got 0\.1"):
        optimizers.get(0.1)
    with pytest.raises(ValueError, match="nesterov=True needs a momentum > 0, got momentum=0"):
        SGD(nesterov=True)
    assert issubclass(AdamW, Optimizer)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["adagrad", "rmsprop", "adadelta", "adam", "nadam", "amsgrad"])
def test_squares_that_overflow_are_named(name: str, dtype: str) -> None:
    """Else those weights would never move again, without a word: a g / sqrt(inf) is 0."""
    optimizer = cnn.Adam(1e-3, amsgrad=True) if name == "amsgrad" else name
    net = cnn.Network([cnn.Dense(1, use_bias=False)], optimizer=optimizer, dtype=dtype, seed=0).build(1)
    net.layers[0].weights[...] = 0.0  # so the loss is 1, the gradient some 1e25 (1e200), and its square no number
    X = np.full((4, 1), 1e25 if dtype == "float32" else 1e200)
    with pytest.raises(cnn.NonFiniteError, match="the update is not finite"):
        net.fit(X, np.ones(4), epochs=2, batch_size=4, verbose=0, metrics=())
    assert net.layers[0].weights.item() == 0
    assert np.isfinite(net.state).all()
