"""`diagnose`, `gradient_check` and activation="auto": what they find in networks made to have it."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from helpers import reference_gradient

import cnn
import cnn_core
from cnn.runtime import passes
from cnn.training import choose_activation

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 5))
Y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2]


def network(*layers: cnn.layers.Layer, loss: str = "mse", **options: object) -> cnn.Network:
    return cnn.Network(layers, loss=loss, seed=0, **options).build(5)


def advice(found: cnn.Diagnosis) -> str:
    return "\n".join(found.advice)


def test_a_healthy_network_gets_no_advice() -> None:
    found = cnn.diagnose(network(cnn.Dense(16, "relu"), cnn.Dense(8, "tanh"), cnn.Dense(1)), X, Y)
    assert found.advice == ("Nothing stands out: units respond and gradients reach every layer.",)
    assert [s.name for s in found.layers] == ["layers.0", "layers.1", "layers.2"]
    assert all(s.saturated < 0.5 and s.dead < 0.1 and s.gradient > 0 for s in found.layers)
    assert "layers.1  tanh" in str(found)


def test_inputs_and_targets_far_from_the_order_of_one() -> None:
    net = network(cnn.Dense(16, "relu"), cnn.Dense(1))
    wide = X * [1, 1, 3e4, 1, 200]
    found = advice(cnn.diagnose(net, wide, Y))
    assert re.search(r"Column 2 of X has values of the order of 3e\+04, and 2 of 5 columns are above 100\. ", found)
    assert "Targets" not in found
    found = advice(cnn.diagnose(net, X, 5000 + Y))
    assert re.search(r"Targets are of the order of 5e\+03, .*Learn \(y - y\.mean\(\)\) / y\.std\(\)", found)
    assert "Column" not in found


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_a_first_fit_says_so_where_it_says_anything(verbose: int, capsys: pytest.CaptureFixture[str]) -> None:
    net = network(cnn.Dense(4, "relu"), cnn.Dense(1))

    def said(net: cnn.Network, X: np.ndarray, y: np.ndarray) -> list[str]:
        net.fit(X, y, epochs=1, verbose=verbose)
        return [line for line in capsys.readouterr().out.splitlines() if not line.startswith("epoch")]

    column = "Column 2 of X has values of the order of 5e+04, and 1 of 5 columns are above 100. Standardise them"
    found = said(net, X * [1, 1, 5e4, 1, 1], 5000 + Y)
    assert [line.partition(":")[0] for line in found[:1]] == ([column] if verbose else [])
    assert [line.partition(",")[0] for line in found[1:]] == (["Targets are of the order of 5e+03"] if verbose else [])
    assert said(net, X * [1, 1, 5e4, 1, 1], 5000 + Y) == []  # a further fit
    assert said(network(cnn.Dense(4, "relu"), cnn.Dense(1)), X, Y) == []
    assert said(network(cnn.BatchNorm(), cnn.Dense(1)), 1e4 * X, Y) == []
    many = np.tile([0, 0, 0, 0, 1e3], (5000, 1))  # of which a sample is looked at
    assert len(said(network(cnn.Dense(4, "relu"), cnn.Dense(1)), many, np.zeros(5000))) == (verbose > 0)
    several = [network(cnn.Dense(1)), network(cnn.Dense(1))]
    cnn.train_many(several, 1e3 * X, Y, epochs=1, verbose=verbose)
    assert "Column" not in capsys.readouterr().out


def test_sizes_that_are_no_fault_get_no_advice() -> None:
    """A count's logarithm is learnt, classes have no size, and a sparse X is not standardised."""
    counts = np.full(200, 5000.0)
    assert "order of" not in advice(cnn.diagnose(network(cnn.Dense(8), cnn.Dense(1), loss="poisson"), X, counts))
    classes = (Y > 0).astype(int)
    assert "order of" not in advice(cnn.diagnose(network(cnn.Dense(2), loss="cross_entropy"), X, classes))
    assert "order of" not in advice(cnn.diagnose(network(cnn.Dense(1)), scipy.sparse.csr_array(1e4 * X), Y))


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "hard_sigmoid", "hard_tanh", "softsign"])
def test_saturated_units(name: str) -> None:
    net = network(cnn.Dense(10, name), cnn.Dense(1))
    net.layers[0].weights[...] *= 1000
    found = cnn.diagnose(net, X, Y)
    assert found.layers[0].saturated > 0.9
    assert re.search(rf"layers.0 \({name}\): \d+ % of its outputs are saturated.*Standardise the inputs", advice(found))


def test_the_share_of_saturated_outputs_is_exact() -> None:
    net = network(cnn.Dense(2, "tanh"), cnn.Dense(1), dtype="float64")
    net.layers[0].weights[...] = 0
    net.layers[0].weights[0, 0] = 3.0
    slope = 1 - np.tanh(3 * X[:, 0]) ** 2
    assert cnn.diagnose(net, X, Y).layers[0].saturated == pytest.approx(np.mean(slope < 0.05) / 2)


@pytest.mark.parametrize("name", ["relu", "elu", "gelu", "silu"])
def test_dead_units(name: str) -> None:
    net = network(cnn.Dense(10, name), cnn.Dropout(0.5), cnn.Dense(1))
    net.layers[0].biases[:4] = -100
    found = cnn.diagnose(net, X, Y)
    assert found.layers[0].dead == 0.4
    assert f"layers.0 ({name}): 40 % of its units respond to no row" in advice(found)


def test_a_leaky_unit_is_not_dead() -> None:
    net = network(cnn.Dense(10, "leaky_relu"), cnn.Dense(1))
    net.layers[0].biases[...] = -100
    assert cnn.diagnose(net, X, Y).layers[0].dead == 0


def test_vanishing_gradients() -> None:
    deep = network(*[cnn.Dense(16, "sigmoid")] * 8, cnn.Dense(1))
    assert "Vanishing gradients: from layers.8 down to layers.0" in advice(cnn.diagnose(deep, X, Y))


def test_exploding_gradients() -> None:
    deep = network(*[cnn.Dense(16, "relu")] * 6, cnn.Dense(1))
    deep.set_weights({name: w * 10 for name, w in deep.get_weights().items()})
    assert "Exploding gradients: from layers.6 down to layers.0" in advice(cnn.diagnose(deep, X, Y))


def test_overfitting_from_the_history_and_from_validation_data() -> None:
    noise = np.random.default_rng(1)
    few, target = noise.normal(size=(40, 5)), noise.normal(size=40)
    net = network(cnn.Dense(200, "relu"), cnn.Dense(1), optimizer=cnn.Adam(0.01))
    history = net.fit(few, target, epochs=150, validation_split=0.5, verbose=0)
    found = advice(cnn.diagnose(net, few, target))
    assert "Overfitting: the validation loss was lowest in epoch" in found
    assert f"({min(history.val_loss):.4g})" in found
    assert "cnn.EarlyStopping" in found
    held_out = few[20:], target[20:], np.ones(20)
    now = advice(cnn.diagnose(net, few[:20], target[:20], validation_data=held_out))
    assert "Overfitting: the loss is" in now
    same = few[:20], target[:20]
    assert "Overfitting" not in advice(cnn.diagnose(net, *same, validation_data=same))


def test_the_gradients_are_those_of_the_loss() -> None:
    net = network(cnn.Dense(6, "gelu"), cnn.Dropout(0.3), cnn.Dense(4, "tanh"), cnn.Dense(1), dtype="float64")
    w = np.random.default_rng(2).uniform(0.1, 1, 200)
    gradient = reference_gradient(net, X, Y, w)[1]
    for signals in cnn.diagnose(net, X, Y, w).layers:
        assert signals.weight_gradient == pytest.approx(np.linalg.norm(gradient[f"{signals.name}.weights"]), rel=1e-10)


def test_many_rows_are_thinned_evenly() -> None:
    net = network(cnn.Dense(4, "tanh"), cnn.Dense(1), dtype="float64")
    some = cnn.diagnose(net, X, Y, max_rows=3).layers
    assert some == cnn.diagnose(net, X[[0, 99, 199]], Y[[0, 99, 199]]).layers


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "poisson"])
def test_every_kind_of_loss_can_be_looked_at(loss: str) -> None:
    units = 3 if loss == "cross_entropy" else 1
    y = (np.arange(200) % 2).astype(int)
    net = network(cnn.Dense(4, "tanh"), cnn.Dense(units), loss=loss)
    assert len(cnn.diagnose(net, X, y).layers) == 2
    assert cnn.gradient_check(net, X, y).error < 1e-7


# The check of gradients -----------------------------------------------------------------------------------------------

def test_a_right_gradient_passes_and_leaves_the_network_alone() -> None:
    net = network(cnn.Dense(6, "tanh", l2=0.01), cnn.Dropout(0.2), cnn.Dense(1))
    before = net.flat.copy()
    found = cnn.gradient_check(net, X, Y, np.arange(1.0, 201.0))
    assert found.error == max(found.errors.values()) < 1e-7
    assert set(found.errors) == set(net.parameters)
    assert net.flat.tobytes() == before.tobytes()


def test_a_wrong_gradient_is_found(monkeypatch) -> None:
    right = passes.loss_and_gradient

    def wrong(net: Any, *args: Any):
        loss, gradient = right(net, *args)
        at, shape = net.plan.names["layers.1.weights"]
        gradient[at : at + math.prod(shape)] *= 1.01
        return loss, gradient

    monkeypatch.setattr(passes, "loss_and_gradient", wrong)
    found = cnn.gradient_check(network(cnn.Dense(6, "tanh"), cnn.Dense(1)), X, Y)
    assert found.errors["layers.1.weights"] == pytest.approx(0.005, rel=0.01)
    assert found.errors["layers.0.weights"] < 1e-7
    assert found.error > 1e-3


# activation="auto" ----------------------------------------------------------------------------------------------------

AUTO = [cnn.Dense(8, "auto"), cnn.Dense(8, "auto"), cnn.Dense(1)]


def test_auto_chooses_says_so_and_is_deterministic(capsys) -> None:
    chosen = []
    for n_threads in (1, 2):
        net = cnn.Network(AUTO, seed=0)
        assert net.chooses_activation
        net.fit(X, Y, epochs=3, verbose=0, n_threads=n_threads)
        assert not net.chooses_activation
        chosen.append((net.activation_choice, net.flat.tobytes()))
    assert chosen[0] == chosen[1]
    best = net.descriptions[0].activation
    assert best in choose_activation.CANDIDATES
    assert net.descriptions[1].activation == best
    assert net.activation_choice.startswith(f"activation='auto' became '{best}': its loss on held-out rows was")
    assert all(name in net.activation_choice for name in choose_activation.CANDIDATES)
    assert capsys.readouterr() == ("", "")
    cnn.Network(AUTO, seed=0).fit(X, Y, epochs=1, verbose=2)
    assert "activation='auto' became" in capsys.readouterr().out
    assert AUTO[0].activation == "auto"  # the description is shared


def test_after_the_choice_it_is_a_network_of_that_activation() -> None:
    net = cnn.Network(AUTO, seed=0)
    net.fit(X, Y, epochs=3, verbose=0)
    named = cnn.Network(choose_activation.with_activation(tuple(AUTO), net.descriptions[0].activation), seed=0)
    named.fit(X, Y, epochs=3, verbose=0)
    assert net.flat.tobytes() == named.flat.tobytes()


def test_auto_finds_what_suits_the_data(monkeypatch) -> None:
    """Only one candidate can bend: the others stay lines, however long they train."""
    monkeypatch.setattr(choose_activation, "CANDIDATES", ("identity", "tanh", "relu"))
    monkeypatch.setattr(choose_activation, "_STEPS", 400)
    net = cnn.Network([cnn.Dense(8, "auto"), cnn.Dense(1)], optimizer=cnn.Adam(0.02), seed=0)
    x = np.random.default_rng(3).uniform(-2, 2, (300, 1))
    net.fit(x, x[:, 0] ** 2, epochs=1, verbose=0)
    assert net.descriptions[0].activation in ("tanh", "relu")
    assert "identity" in net.activation_choice


@pytest.mark.parametrize("n", [1, 5, 19, 20])
def test_auto_with_few_rows(n: int) -> None:
    net = cnn.Network(AUTO, seed=0)
    net.fit(X[:n], Y[:n], epochs=1, verbose=0)
    assert net.activation_choice


def test_auto_with_weights_that_are_mostly_zero() -> None:
    w = np.zeros(200)
    w[[3, 5]] = 1
    cnn.Network(AUTO, seed=0).fit(X, Y, epochs=1, sample_weight=w, verbose=0)


def test_auto_with_classes_and_probabilities() -> None:
    y = np.arange(200) % 3
    layers = [cnn.Dense(8, "auto"), cnn.Dense(3)]
    a, b = (cnn.Network(layers, loss="cross_entropy", seed=0) for _ in range(2))
    a.fit(X, y, epochs=1, verbose=0)
    b.fit(X, np.eye(3)[y], epochs=1, verbose=0)
    assert a.descriptions == b.descriptions


def test_a_candidate_that_diverges_loses(monkeypatch) -> None:
    monkeypatch.setattr(choose_activation, "CANDIDATES", ("relu", "tanh"))
    layers = [cnn.Dense(8, "auto"), cnn.Dense(8, "auto"), cnn.Dense(1)]
    net = cnn.Network(layers, optimizer=cnn.SGD(0.05), seed=0)
    net.fit(1000 * X, Y, epochs=1, verbose=0)
    assert net.descriptions[0].activation == "tanh"
    assert "that of relu inf" in net.activation_choice


def test_the_slopes_of_saturating_functions_are_those_that_diagnose_assumes() -> None:
    from cnn.inspect import diagnosis

    for name, largest in diagnosis._SATURATING.items():
        kind = cnn_core.Activation[name]
        z = np.linspace(-2, 2, 401)
        a, slope = np.empty_like(z), np.ones_like(z)
        cnn_core.engine.activation_forward(kind, z, a, 0.0)
        cnn_core.engine.activation_backward(kind, z if cnn_core.engine.activation_keeps_input(kind) else a, slope, 0.0)
        assert slope.max() == pytest.approx(largest)
