"""Schedules of the weight decay and of dropout: against the reference step by step, in files, resumed, and refused."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Break, ReferenceTraining, same_bits

import cnn
from cnn import schedules
from cnn.schedules import Constant, Cosine, Exponential, InverseScaling, OneCycle, Schedule, Step, WarmUp
from cnn.training import loop, step_numbers

X = np.random.default_rng(0).normal(size=(50, 4))
Y = np.sin(X[:, 0])
SCHEDULES = [
    Step(0.8, epochs=1, factor=0.5), Exponential(0.8, factor=0.7), Cosine(0.8, floor=0.1), OneCycle(0.8),
    InverseScaling(0.8), WarmUp(Cosine(0.8), steps=4),
]  # fmt: skip
each = pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)


def network(optimizer: cnn.Optimizer, factor: Schedule | None = None) -> cnn.Network:
    layers = [cnn.Dropout(0.25), cnn.Dense(6, "tanh"), cnn.Dropout(0.5), cnn.Dense(1)]
    return cnn.Network(layers, optimizer=optimizer, dtype="float64", seed=1, dropout_factor=factor)


def fit(net: cnn.Network, epochs: int = 3, **how: Any) -> cnn.History:
    return net.fit(X, Y, epochs=epochs, batch_size=20, shuffle=False, verbose=0, **how)


class Cosine2(Schedule):
    """A schedule of one's own, between -1 and 1 times its number."""

    def at(self, step: Any, per_epoch: int, total: int) -> Any:
        return self.learning_rate * np.cos(np.pi * step / total)


@each
@pytest.mark.parametrize("optimizer", [cnn.SGD, cnn.AdamW, cnn.Lion], ids=lambda cls: cls.__name__)
def test_both_are_the_references(schedule: Schedule, optimizer: type[cnn.Optimizer], monkeypatch) -> None:
    monkeypatch.setattr(step_numbers, "_AHEAD", 4)  # they are made anew within the fit
    net = network(optimizer(0.01, weight_decay=schedule), schedule).build(4)
    reference = ReferenceTraining(net)
    fit(net)
    rates = [layer.get("rate") for layer in reference.layers]
    for step, number in enumerate(schedule.rates(0, 9, 3, 9)):
        reference.fields["weight_decay"] = number
        for layer, rate in zip(reference.layers, rates, strict=True):
            if rate is not None:
                layer["rate"] = rate * number
        i = slice(step % 3 * 20, step % 3 * 20 + 20)
        reference.step(0.01, X[i], Y[i])
    for parameter, expected in reference.weights().items():
        np.testing.assert_allclose(net.parameters[parameter], expected, rtol=1e-10, atol=1e-12, err_msg=parameter)


def test_a_constant_is_what_a_number_is() -> None:
    nets = [network(cnn.AdamW(0.01, weight_decay=0.3)),
            network(cnn.AdamW(0.01, weight_decay=Constant(0.3)), Constant(1))]  # fmt: skip
    for net in nets:
        fit(net)
    assert same_bits(*nets)


def test_none_is_left_of_what_ends_at_zero() -> None:
    """A factor of 0 in all steps trains as if there were neither."""
    nets = [network(cnn.SGD(0.1, weight_decay=Constant(0)), Constant(0)), network(cnn.SGD(0.1))]
    nets[1].descriptions = tuple(cnn.Dropout(0) if isinstance(d, cnn.Dropout) else d for d in nets[1].descriptions)
    for net in nets:
        fit(net)
    assert same_bits(*nets)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_every_fit_runs_the_whole_of_them_in_any_pieces(n_threads: int, monkeypatch) -> None:
    decay, factor = Cosine(0.5), WarmUp(Cosine(1.5), steps=2)
    nets = [network(cnn.SGD(0.1, weight_decay=decay), factor) for _ in range(3)]
    fit(nets[0], n_threads=n_threads)
    fit(nets[1], initial_epoch=0)
    monkeypatch.setattr(loop, "_PIECE_SECONDS", 2e-6)
    fit(nets[2], callbacks=[lambda network, epoch, logs: None])
    assert same_bits(nets[0], nets[1])
    assert same_bits(nets[0], nets[2])
    fit(nets[1], epochs=2)
    fit(nets[2], epochs=2)
    assert same_bits(nets[1], nets[2])


def test_a_resumed_fit_goes_on_to_the_same_bits(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(loop, "_PIECE_SECONDS", 2e-6)

    cosine, step = Cosine(0.5), Step(1.2, epochs=1, factor=0.5)

    def make(factor: Schedule | None = step, decay: Any = cosine) -> cnn.Network:
        return network(cnn.SGD(0.1, weight_decay=decay), factor)

    whole, net = make(), make()
    fit(whole, epochs=4)
    for n in (2, 4):
        with pytest.raises(KeyboardInterrupt):
            fit(make(), 4, callbacks=[cnn.Checkpoint(tmp_path, 1, "steps"), Break(n)], resume=tmp_path)
    others = (make(Constant(1)), "dropout_factor"), (make(None), "dropout_factor"), (make(decay=0.5), "optimizer")
    for other, what in others:
        with pytest.raises(ValueError, match=f"is of another network: {what} is"):
            fit(other, 4, resume=tmp_path)
    fit(net, 4, resume=tmp_path)
    assert same_bits(net, whole)


def test_they_are_saved_and_copied(tmp_path: Path) -> None:
    net = network(cnn.AdamW(weight_decay=WarmUp(Cosine(0.1, floor=0.01), steps=5)), OneCycle(1.5))
    fit(net)
    net.save(tmp_path / "m.cnn")
    read_back = eval(repr(net), {**vars(cnn), **vars(schedules)})
    for other in (cnn.load(tmp_path / "m.cnn"), copy.copy(net), pickle.loads(pickle.dumps(net)), read_back):
        assert (other.optimizer, other.dropout_factor) == (net.optimizer, net.dropout_factor)
        assert repr(other) == repr(net)
    assert "dropout_factor" not in repr(network(cnn.SGD()))


def test_a_single_update_decays_by_what_is_known() -> None:
    gradients = {name: np.zeros_like(value) for name, value in network(cnn.SGD()).build(4).parameters.items()}
    known = network(cnn.SGD(0.1, weight_decay=InverseScaling(0.5))).build(4)
    before = known.get_weights()["layers.1.weights"]
    for i in range(3):
        known.update(gradients)
        before = before * (1 - 0.1 * 0.5 / np.sqrt(i + 1))
    np.testing.assert_allclose(known.parameters["layers.1.weights"], before, rtol=1e-12)
    assert known.plan.optimizer["weight_decay"][0] == 0.5  # the plan is as it was
    of_a_fit = network(cnn.SGD(0.1, weight_decay=Cosine(0.5))).build(4)
    with pytest.raises(ValueError, match="known within a fit alone: update needs a weight_decay that is a number"):
        of_a_fit.update(gradients)
    assert of_a_fit.step == 0


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: cnn.AdamW(weight_decay="cosine"), TypeError, "weight_decay must be a number, got 'cosine'"),
        (lambda: cnn.AdamW(weight_decay=-0.1), ValueError, r"weight_decay must be in \[0, inf\), got -0.1"),
        (lambda: cnn.AdamW(weight_decay=Cosine(-0.1)), ValueError, r"must be in \[0, inf\), got -0.1"),
        (lambda: network(cnn.SGD(), 0.5), TypeError, r"dropout_factor must be a cnn\.schedules\.Schedule, got 0\.5"),
        (lambda: cnn.Dropout(Cosine(0.5)), TypeError, r"rate of Dropout must be a number, got Cosine.*dropout_factor="),
        (lambda: fit(network(cnn.SGD(), Constant(2))), ValueError, r"a rate of 1 in step 1 of the fit: .* in \[0, 1\)"),
        (lambda: fit(network(cnn.SGD(), Exponential(1, factor=2)), 2), ValueError, "a rate of 1 in step 4 of the fit"),
        (lambda: fit(network(cnn.SGD(), Cosine2(1.0)), 2), ValueError, "a rate of -.* in step 5 of the fit"),
        (lambda: cnn.Network([cnn.Dense(1)], dropout_factor=Cosine(1)).fit(X, Y, verbose=0), ValueError,
         "needs a cnn.Dropout among the layers"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


def test_an_error_comes_before_anything_is_touched() -> None:
    net = network(cnn.SGD(0.1), Exponential(1.0, factor=2.0))
    fit(net, 1)
    flat = net.flat.copy()
    with pytest.raises(ValueError, match=re.escape("dropout_factor=Exponential(learning_rate=1.0, factor=2.0) makes")):
        fit(net, 2)
    assert (net.flat == flat).all()
    assert len(net.history) == 1
    fit(net, 1)


def test_a_file_of_an_earlier_version_has_no_factor(tmp_path: Path) -> None:
    from cnn.files import network as files

    net = network(cnn.SGD()).build(4)
    described = files.describe_network(net)
    assert described.pop("dropout_factor") is None
    files.container.write(tmp_path / "m.cnn", "network", described, files.network_tensors(net))
    assert cnn.load(tmp_path / "m.cnn").dropout_factor is None
    for wrong, text in (({"class": "Dense", "units": 1}, "Dense where a Schedule belongs"), (3, "it names None")):
        described["dropout_factor"] = wrong
        files.container.write(tmp_path / "m.cnn", "network", described, files.network_tensors(net))
        with pytest.raises(cnn.ModelFormatError, match=text):
            cnn.load(tmp_path / "m.cnn")


def test_estimators_take_a_schedule_of_the_decay() -> None:
    pytest.importorskip("sklearn")
    made = [cnn.MLPRegressor(hidden_layer_sizes=(4,), solver=cnn.SGD(0.1, weight_decay=decay), max_iter=5,
                             random_state=0) for decay in (0.5, Constant(0.5), Cosine(0.5))]  # fmt: skip
    for est in made:
        with pytest.warns(UserWarning, match="Maximum iterations"):
            est.fit(X, Y)
    flats = [est.network_.flat.tobytes() for est in made]
    assert flats[0] == flats[1] != flats[2]


def test_estimators_have_schedules_of_dropout(tmp_path: Path) -> None:
    """They are those of a network: the same bits where the rest of a fit is alike."""
    sklearn = pytest.importorskip("sklearn")
    how = {"hidden_layer_sizes": (6,), "dropout": 0.4, "max_iter": 4, "random_state": 0}
    factors = None, Constant(1.0), Cosine(1.0), Constant(0.0)
    made = [cnn.MLPRegressor(**how, dropout_factor=factor) for factor in factors]
    made.append(cnn.MLPRegressor(**{**how, "dropout": 1e-12}))
    ensemble = cnn.EnsembleRegressor(made[2], n_estimators=2, random_state=0).fit(X, Y)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        flats = [est.fit(X, Y).network_.flat for est in made]
    assert flats[0].tobytes() == flats[1].tobytes() != flats[2].tobytes()
    np.testing.assert_allclose(flats[3], flats[4], rtol=1e-6)
    assert not np.allclose(flats[2], flats[3])
    assert all(est.network_.dropout_factor == Cosine(1.0) for est in ensemble.estimators_)
    made[2].save(tmp_path / "m.cnn")
    for again in (cnn.load(tmp_path / "m.cnn"), pickle.loads(pickle.dumps(made[2])), sklearn.base.clone(made[2])):
        assert again.dropout_factor == Cosine(1.0)
        if hasattr(again, "n_iter_"):
            assert again.network_.dropout_factor == Cosine(1.0)
    from_network = cnn.MLPRegressor.from_network(network(cnn.SGD(), Cosine(1)).build(4))
    assert from_network.dropout_factor == from_network.network_.dropout_factor == Cosine(1)
    warm = made[0].set_params(warm_start=True, dropout_factor=Cosine(0.5))
    with pytest.warns(UserWarning, match="Maximum iterations"):
        assert warm.fit(X, Y).network_.dropout_factor == Cosine(0.5)


def test_schedules_of_dropout_that_estimators_can_not_have() -> None:
    pytest.importorskip("sklearn")
    with pytest.raises(ValueError, match=r"needs a cnn.Dropout among the layers"):
        cnn.MLPRegressor(dropout_factor=Cosine(1)).fit(X, Y)
    with pytest.raises(ValueError, match=r"makes a rate of 1.5 in step 1 of the fit"):
        cnn.MLPRegressor(dropout=0.5, dropout_factor=Constant(3.0)).fit(X, Y)
    with pytest.raises(ValueError, match="The 'dropout_factor' parameter of MLPRegressor must be an instance of"):
        cnn.MLPRegressor(dropout=0.5, dropout_factor=0.5).fit(X, Y)
    for more in ({"dropout": 0.1}, {"dropout_factor": Cosine(1)}):
        with pytest.raises(ValueError, match="solver='lbfgs' needs the same loss at every call: there can be no"):
            cnn.MLPRegressor(solver="lbfgs", **more).fit(X, Y)
