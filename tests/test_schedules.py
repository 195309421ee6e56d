"""Schedules beside loops and closed formulas; OneCycle and the others that PyTorch has, beside its documented rates."""

from __future__ import annotations

import dataclasses
import inspect
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cnn
from cnn import schedules
from cnn.schedules import (
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    InverseScaling,
    OneCycle,
    Schedule,
    Step,
    WarmUp,
)

CLASSES = list(schedules.BY_NAME.values())
EXAMPLES = [
    Constant(0.3), Step(0.3, epochs=2, factor=0.5), Exponential(0.3, factor=0.9), Cosine(0.3, floor=0.01),
    CosineRestarts(0.3, epochs=2, floor=0.02),
    OneCycle(0.3, warm=0.25, start=10.0, end=100.0), InverseScaling(0.3, power=0.75), WarmUp(0.3, steps=7),
    WarmUp(Cosine(0.3), steps=4), WarmUp(WarmUp(Step(0.3, epochs=1), steps=3), steps=2),
]  # fmt: skip
examples = pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)


def test_every_schedule_is_an_example():
    defined = {cls for _, cls in inspect.getmembers(schedules, inspect.isclass) if issubclass(cls, Schedule)}
    assert {type(schedule) for schedule in EXAMPLES} == set(CLASSES) == defined - {Schedule}


def at(schedule: Schedule, step: int, per_epoch: int, total: int) -> float:
    """The rate of one step, by plain arithmetic."""
    if isinstance(schedule, WarmUp):
        then = schedule.learning_rate
        rate = at(then, step, per_epoch, total) if isinstance(then, Schedule) else then
        return rate * (step + 1) / schedule.steps if step + 1 < schedule.steps else rate
    rate = schedule.learning_rate
    if isinstance(schedule, Step):
        for epoch in range(1, step // per_epoch + 1):
            if epoch % schedule.epochs == 0:
                rate *= schedule.factor
    elif isinstance(schedule, Exponential):
        rate *= schedule.factor ** (step / per_epoch)
    elif isinstance(schedule, Cosine):
        angle = math.pi * min(step / total, 1)
        rate = schedule.floor + (rate - schedule.floor) * 0.5 * (1 + math.cos(angle))
    elif isinstance(schedule, CosineRestarts):
        while step >= schedule.epochs * per_epoch:
            step -= schedule.epochs * per_epoch
        return at(Cosine(rate, floor=schedule.floor), step, per_epoch, schedule.epochs * per_epoch)
    elif isinstance(schedule, OneCycle):
        # torch.optim.lr_scheduler.OneCycleLR: two phases, each annealed by a cosine, with these first and last steps.
        low, peak_step = rate / schedule.start, schedule.warm * total - 1
        if step <= peak_step:
            begin, end, share = low, rate, step / peak_step
        else:
            begin, end, share = rate, low / schedule.end, min((step - peak_step) / (total - 1 - peak_step), 1)
        rate = end + (begin - end) / 2 * (1 + math.cos(math.pi * share))
    elif isinstance(schedule, InverseScaling):
        rate /= math.pow(step + 1, schedule.power)
    return rate


@examples
@pytest.mark.parametrize(("per_epoch", "epochs"), [(10, 10), (7, 3), (1, 40)])
def test_rates(schedule, per_epoch, epochs):
    total = per_epoch * epochs
    rates = schedule.rates(0, total, per_epoch, total)
    assert rates.dtype == np.float64
    np.testing.assert_allclose(rates, [at(schedule, i, per_epoch, total) for i in range(total)], rtol=1e-12)


@given(st.sampled_from(EXAMPLES), st.integers(0, 99), st.integers(0, 60), st.integers(1, 30), st.integers(0, 150))
def test_rates_do_not_depend_on_where_they_are_asked_for(schedule, first, n, per_epoch, total):
    whole = schedule.rates(0, 160, per_epoch, total)
    part = schedule.rates(first, n, per_epoch, total)
    np.testing.assert_array_equal(part, whole[first : first + n])
    assert np.isfinite(whole).all()
    assert (whole >= 0).all()


@examples
def test_a_fit_that_goes_on_beyond_its_end(schedule):
    rates = schedule.rates(0, 300, 10, 100)
    if isinstance(schedule, Cosine):
        np.testing.assert_array_equal(rates[100:], schedule.floor)
    if isinstance(schedule, OneCycle):
        np.testing.assert_allclose(rates[99:], 0.3 / 10 / 100, rtol=1e-12)


def test_values_from_the_documentation_of_pytorch():
    # StepLR(lr=0.05, step_size=30, gamma=0.1): 0.05, 0.005 from epoch 30, 0.0005 from epoch 60
    rates = Step(0.05, epochs=30, factor=0.1).rates(0, 90, 1, 90)
    np.testing.assert_allclose(rates, np.repeat([0.05, 0.005, 0.0005], 30), rtol=1e-12)
    # OneCycleLR(max_lr=1, total_steps=10): initial lr 1 / 25, peak at step 0.3 * 10 - 1, end 1 / 25 / 1e4
    rates = OneCycle(1.0).rates(0, 10, 1, 10)
    np.testing.assert_allclose(rates[[0, 1, 2, 9]], [0.04, 0.52, 1.0, 4e-6], rtol=1e-12)
    assert (np.diff(rates)[2:] < 0).all()
    # CosineAnnealingLR(T_max=4)
    half = math.sqrt(0.5)
    np.testing.assert_allclose(Cosine(2.0).rates(0, 5, 1, 4), [2, 1 + half, 1, 1 - half, 0], atol=1e-15)


@examples
def test_repr_reads_back(schedule):
    assert eval(repr(schedule)) == schedule
    assert dataclasses.replace(schedule) == pickle.loads(pickle.dumps(schedule)) == schedule
    assert hash(eval(repr(schedule))) == hash(schedule)


def test_numbers_of_numpy_are_plain_inside():
    assert repr(Step(np.float64(0.5), epochs=np.int64(3))) == "Step(learning_rate=0.5, epochs=3, factor=0.1)"
    assert repr(WarmUp(np.float32(0.5), steps=np.int8(3))) == "WarmUp(learning_rate=0.5, steps=3)"


def test_get():
    for name, cls in schedules.BY_NAME.items():
        assert schedules.get(name) == schedules.get(name.upper().replace("_", " ")) == cls()
    assert schedules.get(0.1) == Constant(0.1)
    assert schedules.get(EXAMPLES[0]) is EXAMPLES[0]
    with pytest.raises(ValueError, match=r"unknown schedule 'cosin'\. Did you mean 'cosine'\? Known: constant, cosine"):
        schedules.get("cosin")
    with pytest.raises(TypeError, match="learning_rate must be a number, got None of type NoneType"):
        schedules.get(None)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Constant(-1), r"learning_rate must be in \[0, inf\), got -1"),
        (lambda: WarmUp(math.nan), r"learning_rate must be in \[0, inf\), got nan"),
        (lambda: Step(epochs=0), "epochs must be an integer >= 1, got 0"),
        (lambda: Step(factor=0), r"factor must be in \(0, inf\), got 0"),
        (lambda: Exponential(factor=-0.5), r"factor must be in \(0, inf\), got -0.5"),
        (lambda: Cosine(0.1, floor=0.2), r"floor must be in \[0, 0.1\], got 0.2"),
        (lambda: OneCycle(warm=1), r"warm must be in \(0, 1\), got 1"),
        (lambda: OneCycle(start=0.5), r"start must be in \[1, inf\), got 0.5"),
        (lambda: OneCycle(end=0), r"end must be in \[1, inf\), got 0"),
        (lambda: InverseScaling(power=-1), r"power must be in \[0, inf\), got -1"),
        (lambda: WarmUp(steps=0), "steps must be an integer >= 1, got 0"),
    ],
)
def test_values_out_of_range(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_values_of_the_wrong_type():
    with pytest.raises(TypeError, match="learning_rate must be a number, got True of type bool"):
        Constant(True)
    with pytest.raises(TypeError, match=r"epochs must be an integer >= 1, got 2\.5 of type float"):
        Step(epochs=2.5)
    with pytest.raises(TypeError, match="learning_rate must be a number, got 'cosine' of type str"):
        WarmUp("cosine")


WHOLE = [cnn.schedules.Cosine(0.01), cnn.schedules.OneCycle(0.01), cnn.schedules.Step(0.01, epochs=2),
         cnn.schedules.WarmUp(cnn.schedules.Exponential(0.01), steps=3)]  # fmt: skip


@pytest.mark.parametrize("schedule", WHOLE, ids=str)
def test_each_fit_runs_its_whole_schedule(schedule: cnn.schedules.Schedule) -> None:
    X = np.random.default_rng(0).normal(size=(64, 2))

    def rates(net: cnn.Network, **how: int) -> list[float]:
        return net.fit(X, X[:, 0], epochs=5, batch_size=16, verbose=0, **how).learning_rate

    net = cnn.Network([cnn.Dense(1)], optimizer=cnn.SGD(schedule), seed=0)
    net.fit(X, X[:, 0], epochs=9, batch_size=32, verbose=0)
    wanted = schedule.rates(0, 20, 4, 20)[3::4]  # of the last step of each epoch, by the schedule alone
    np.testing.assert_allclose(rates(net), wanted, rtol=1e-12)
    np.testing.assert_allclose(rates(net), wanted, rtol=1e-12)


@pytest.mark.parametrize("schedule", WHOLE, ids=str)
def test_initial_epoch_takes_the_rest_of_a_schedule(schedule: cnn.schedules.Schedule, tmp_path) -> None:
    """As in Keras `epochs` is the last one, and the schedule that of all of them; a fit that is resumed goes on."""
    X = np.random.default_rng(0).normal(size=(64, 2))

    def net() -> cnn.Network:
        made = cnn.Network([cnn.Dense(1)], optimizer=cnn.SGD(schedule), seed=0)
        made.fit(X, X[:, 0], epochs=3, batch_size=16, verbose=0)
        return made

    def stop(network: cnn.Network, epoch: int, logs: object) -> None:
        if epoch == 4:
            raise KeyboardInterrupt

    how = {"initial_epoch": 2, "epochs": 6, "batch_size": 16, "verbose": 0}
    whole = net()
    rates = whole.fit(X, X[:, 0], **how).learning_rate
    np.testing.assert_allclose(rates, schedule.rates(0, 24, 4, 24)[3::4][2:], rtol=1e-12)
    with pytest.raises(KeyboardInterrupt):
        net().fit(X, X[:, 0], callbacks=[cnn.Checkpoint(tmp_path), stop], **how)
    again = net()
    again.fit(X, X[:, 0], callbacks=[cnn.Checkpoint(tmp_path)], resume=tmp_path, **how)
    assert again.flat.tobytes() == whole.flat.tobytes()


def test_a_schedule_of_a_fit_gives_no_rate_to_a_single_step() -> None:
    """Without a fit it has no end, and no epochs."""
    gradients = {"layers.0.weights": np.ones((1, 1)), "layers.0.biases": np.ones(1)}
    for schedule in WHOLE:
        net = cnn.Network([cnn.Dense(1)], optimizer=cnn.SGD(schedule), seed=0).build(1)
        with pytest.raises(ValueError, match="is known within a fit alone: give update"):
            net.update(gradients)
        net.update(gradients, learning_rate=0.1)
    for constant in (0.1, cnn.schedules.InverseScaling(0.1), cnn.schedules.WarmUp(0.1, steps=3)):
        cnn.Network([cnn.Dense(1)], optimizer=cnn.SGD(constant), seed=0).build(1).update(gradients)


def test_partial_fits_walk_through_a_schedule() -> None:
    X = np.random.default_rng(0).normal(size=(60, 2))
    make = {"solver": cnn.SGD(cnn.schedules.Cosine(0.1)), "batch_size": 20, "random_state": 0}
    est, whole = cnn.MLPRegressor(max_iter=4, **make), cnn.MLPRegressor(max_iter=4, tol=0, n_iter_no_change=99, **make)
    for _ in range(4):
        est.partial_fit(X, X[:, 0])
    with pytest.warns(UserWarning, match="Maximum iterations"):
        whole.fit(X, X[:, 0])
    assert est.history_.learning_rate == whole.history_.learning_rate
    for _ in range(4):  # after a fit they begin the schedule again
        whole.partial_fit(X, X[:, 0])
    assert whole.history_.learning_rate[4:] == est.history_.learning_rate
