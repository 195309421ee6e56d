"""Batch normalisation: PyTorch's numbers, central differences, running averages wherever a network goes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Break, same_bits
from scipy import sparse

import cnn
from cnn.inspect import reports
from cnn.runtime.compact import Layout, compact

rng = np.random.default_rng(0)
X = rng.normal(3, 2, size=(203, 6))
Y = np.column_stack([X[:, 0] - X[:, 1], np.sin(X[:, 2])])
SINE = np.sin(np.arange(30.0) ** 2).reshape(10, 3)


def network(wide: bool = False, dtype: str = "float64", **how: Any) -> cnn.Network:
    """Batch normalisation first, behind a dense layer with a function, and in a block."""
    units = 260 if wide else 7
    layers = [
        cnn.BatchNorm(), cnn.Dense(units, use_bias=False), cnn.BatchNorm(activation="gelu"),
        cnn.Residual([cnn.BatchNorm(momentum=0.5), cnn.Dense(units, "tanh")]), cnn.Dense(2),
    ]  # fmt: skip
    return cnn.Network(layers, **{"optimizer": cnn.AdamW(0.01), "dtype": dtype, "seed": 3} | how).build(6)


def running(net: cnn.Network) -> dict[str, Any]:
    return {name: value.copy() for name, value in net.parameters.items() if "running" in name}


# What it computes -----------------------------------------------------------------------------------------------------


def test_values_and_slopes_of_pytorch() -> None:
    """Of `torch.nn.BatchNorm1d(2)` 2.x in float64, before and after one step, and in `eval` mode."""
    net = cnn.Network([cnn.BatchNorm(), cnn.Dense(2)], optimizer=cnn.SGD(1e-9), dtype="float64").build(2)
    net.layers[1].weights[...] = np.eye(2)
    x = np.array([[1.0, 10.0], [2.0, -20.0], [4.0, 30.0], [5.0, 4.0]])
    np.testing.assert_allclose(net.forward(x, training=True), [
        [-1.2649085342528132, 0.22430885810994894], [-0.6324542671264066, -1.458007577714668],
        [0.6324542671264064, 1.3458531486596934], [1.2649085342528128, -0.11215442905497444],
    ], rtol=1e-14)  # fmt: skip
    dx = net.backward(np.array([[1.0, 2.0], [3.0, 5.0], [-1.0, 4.0], [2.0, 7.0]]))
    np.testing.assert_allclose(dx, [
        [-0.4110942617093845, -0.1331392988641202], [0.9803046200073199, -0.017810686191142386],
        [-1.2965317535705234, 0.01428381746384346], [0.7273213952725879, 0.13666616759141917],
    ], rtol=1e-13)  # fmt: skip
    gradients = net.gradients
    np.testing.assert_allclose(gradients["layers.0.weights"], [-1.264908534252813, -2.243088581099489], rtol=1e-14)
    np.testing.assert_allclose(gradients["layers.0.biases"], [5.0, 18.0], rtol=1e-14)
    net.fit(x, x, epochs=1, batch_size=4, verbose=0)
    np.testing.assert_allclose(net.parameters["layers.0.running_mean"], [0.3, 0.6], rtol=1e-14)
    np.testing.assert_allclose(net.parameters["layers.0.running_variance"], [37 / 30, 43.3], rtol=1e-14)
    np.testing.assert_allclose(net.layer_outputs(x)[0], [
        [0.6303126811305467, 1.4285118760407052], [1.5307593684598992, -3.1305685794083535],
        [3.331652743118604, 4.467898846340078], [4.232099430447957, 0.5166957849508933],
    ], rtol=1e-6)  # fmt: skip


def test_a_training_of_pytorch() -> None:
    """Nine steps of Linear(3, 4), BatchNorm1d(4, momentum=0.3), ReLU, BatchNorm1d(4), Linear(4, 1) in PyTorch 2.x."""
    layers = [cnn.Dense(4), cnn.BatchNorm(momentum=0.3, activation="relu"), cnn.BatchNorm(), cnn.Dense(1)]
    net = cnn.Network(layers, optimizer=cnn.SGD(0.1, momentum=0.9), dtype="float64").build(3)
    net.set_weights({
        "layers.0.weights": np.sin(np.arange(12.0)).reshape(3, 4), "layers.0.biases": np.cos(np.arange(4.0)),
        "layers.1.weights": 1 + np.arange(4) / 10, "layers.1.biases": np.arange(4) / 10 - 0.1,
        "layers.3.weights": np.sin(np.arange(4.0))[:, None], "layers.3.biases": [0.5],
    }, partial=True)  # fmt: skip
    net.fit(SINE, np.cos(np.arange(10.0)), epochs=3, batch_size=4, shuffle=False, verbose=0)
    for name, expected in {
        "layers.0.weights": [[-0.1727461572, -0.665143207355, 0.455921505998, 0.13081744274],
                             [-0.805281484831, -1.940260675995, 1.122445797312, 0.663687160842],
                             [0.950042061986, 0.989969371119, -1.939934290915, -0.998930993572]],
        "layers.1.weights": [0.987872163119, 1.096212019339, 1.169831456019, 1.30236330311],
        "layers.1.biases": [-0.25688226143, 0.364395416507, 0.402501686185, 0.191279120204],
        "layers.1.running_mean": [1.074373799173, 0.971595797101, -0.517018629491, -1.032626176307],
        "layers.1.running_variance": [0.865255950347, 1.913085104783, 1.610291589426, 0.7968877292],
        "layers.2.running_mean": [0.223501549509, 0.374544579178, 0.42075485929, 0.411541767964],
        "layers.2.running_variance": [0.532210256401, 0.750415777918, 0.973676883771, 1.089784882191],
        "layers.3.biases": [-0.862840791964],
    }.items():  # fmt: skip
        np.testing.assert_allclose(net.parameters[name], expected, rtol=0, atol=1e-11, err_msg=name)
    expected = [1.136370467780718, -0.12191020209391223, 0.4648082680186628]
    np.testing.assert_allclose(net.predict(SINE)[:3], expected, rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("wide", "n"), [(False, 2), (False, 3), (False, 203), (True, 3), (True, 64), (True, 203)])
def test_gradients_are_central_differences(wide: bool, n: int, weighted: bool) -> None:
    """To 1e-7 of their length, through mean and variance of the minibatch, of parameters and of X."""
    net, way = network(wide), np.random.default_rng(n)
    for name, view in net.parameters.items():
        view += 0.1 * way.normal(size=view.shape) * ("running" not in name)
    x, y, w = X[:n].copy(), Y[:n], way.random(n) if weighted else np.ones(n)
    gradients = net.loss_and_gradient(x, y, w, training=True)[1]

    def loss() -> float:
        return net.loss_and_gradient(x, y, w, training=True)[0]

    def slope(array: Any, direction: Any) -> float:
        # Richardson's two central differences: their error is of the fourth order.
        kept, sides = array.copy(), []
        for h in (2e-3, -2e-3, 1e-3, -1e-3):
            array[...] = kept + h * direction
            sides.append(loss())
        array[...] = kept
        return (4 * (sides[2] - sides[3]) / 2e-3 - (sides[0] - sides[1]) / 4e-3) / 3

    for name, gradient in gradients.items():
        if "running" not in name:
            direction = way.normal(size=gradient.shape)
            direction /= np.linalg.norm(direction)
            bound = 1e-7 * max(np.linalg.norm(gradient), 1e-3)
            numeric = slope(net.parameters[name], direction)
            assert (gradient * direction).sum() == pytest.approx(numeric, abs=bound), name
    out = net.forward(x, training=True)
    dX = net.backward(2 * w[:, None] * (out - y) / (w.sum() * 2))
    direction = way.normal(size=x.shape) / np.sqrt(x.size)
    assert (dX * direction).sum() == pytest.approx(slope(x, direction), abs=1e-7 * max(np.linalg.norm(dX), 1e-3))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("wide", [False, True])
def test_threads_change_no_bit(wide: bool, dtype: str) -> None:
    nets = [network(wide, dtype) for _ in range(4)]
    for net, n in zip(nets, (1, 2, 3, 5), strict=True):
        net.fit(X, Y, epochs=3, batch_size=50, validation_split=0.1, verbose=0, n_threads=n)
        assert same_bits(net, nets[0])
        assert net.history["val_loss"] == nets[0].history["val_loss"]


@pytest.mark.parametrize("offset", [0.0, 1e3, -1e4])
def test_units_far_from_0_keep_their_digits(offset: float) -> None:
    """float32: the variance is taken of distances from the mean."""
    net = cnn.Network([cnn.BatchNorm(), cnn.Dense(6)], seed=0).build(6)
    net.layers[1].weights[...] = np.eye(6)
    x = (X + offset).astype(np.float32)
    normal = (x.astype(float) - x.mean(axis=0, dtype=float)) / np.sqrt(x.var(axis=0, dtype=float) + 1e-5)
    np.testing.assert_allclose(net.forward(x, training=True), normal, atol=5e-4 * max(abs(offset) / 1e3, 1e-2))


def test_a_unit_without_spread_is_the_bias() -> None:
    net = network()
    net.parameters["layers.0.biases"][...] = np.arange(6)
    x = np.full((5, 6), 1e6)
    found = net.loss_and_gradient(x, Y[:5], training=True)[1]
    assert all(np.isfinite(gradient).all() for gradient in found.values())
    assert net.plan.over_rows
    one = cnn.Network([cnn.BatchNorm(), cnn.Dense(6)], dtype="float64").build(6)
    one.layers[0].biases[...], one.layers[1].weights[...] = np.arange(6), np.eye(6)
    assert one.forward(x, training=True).tolist() == [list(range(6))] * 5


# Minibatches, weights, steps ------------------------------------------------------------------------------------------


def test_a_minibatch_of_one_row_is_normalised_by_the_running_averages() -> None:
    """And these stay; the last minibatch of 101 rows by 50 is one row."""
    net = network(optimizer=cnn.SGD(1e-12))
    net.fit(X[:100], Y[:100], epochs=1, batch_size=50, shuffle=False, verbose=0)
    again = network(optimizer=cnn.SGD(1e-12))
    again.fit(X[:101], Y[:101], epochs=1, batch_size=50, shuffle=False, verbose=0)
    for name, value in running(net).items():
        assert again.parameters[name].tobytes() == value.tobytes(), name
    assert (net.step, again.step) == (2, 3)
    one, many = again.forward(X[:1], training=True), again.forward(X[:1])
    assert one.tobytes() == many.tobytes()
    loss, gradients = again.loss_and_gradient(X[:1], Y[:1], training=True)
    expected, others = again.loss_and_gradient(X[:1], Y[:1])
    assert loss == expected
    assert all(gradients[name].tobytes() == others[name].tobytes() for name in others)
    alone = network()
    alone.fit(X, Y, epochs=1, batch_size=1, verbose=0)
    for name, value in running(alone).items():
        assert set(value.tolist()) == {float(name.endswith("variance"))}
    assert alone.predict(X[:0]).shape == (0, 2)


def test_weights_of_rows_count_in_the_loss_alone() -> None:
    """A row of weight 0 is part of mean and variance."""
    weights = np.r_[np.zeros(100), np.ones(103)]
    net = network()
    loss = net.loss_and_gradient(X, Y, weights, training=True)[0]
    out = net.forward(X, training=True)
    assert loss == pytest.approx(((out - Y) ** 2)[100:].mean(), rel=1e-13)


@pytest.mark.parametrize("optimizer", [
    cnn.AdamW(0.01, weight_decay=0.5, decay_biases=True), cnn.SGD(0.01, clip_norm=1e-3),
    cnn.Adam(0.01, clip_value=1e-4), cnn.Lion(0.01, weight_decay=0.3),
], ids=["decay", "norm", "value", "lion"])  # fmt: skip
def test_the_optimizer_leaves_running_averages_alone(optimizer: cnn.optimizers.Optimizer) -> None:
    net = network(optimizer=optimizer)
    net.fit(X, Y, epochs=1, batch_size=None, verbose=0)
    found = net.parameters["layers.0.running_mean"], net.parameters["layers.0.running_variance"]
    np.testing.assert_allclose(found[0], 0.1 * X.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(found[1], 0.9 + 0.1 * X.var(axis=0, ddof=1), rtol=1e-13)
    assert not net.state.reshape(-1, net.plan.size)[:, net.plan.names["layers.0.running_mean"][0]].any()


@pytest.mark.parametrize("how", [{}, {"clip_norm": 0.1}], ids=["plain", "clip_norm"])
@pytest.mark.parametrize("wide", [False, True])
def test_steps_by_hand_are_those_of_a_fit(wide: bool, how: dict[str, Any]) -> None:
    nets = [network(wide, optimizer=cnn.SGD(0.01, momentum=0.9, **how)) for _ in range(2)]
    nets[0].fit(X, Y, epochs=2, batch_size=100, shuffle=False, verbose=0)
    for begin in (0, 100, 200) * 2:
        rows = slice(begin, min(begin + 100, 203))
        nets[1].update(nets[1].loss_and_gradient(X[rows], Y[rows], training=True)[1])
    np.testing.assert_allclose(nets[0].flat, nets[1].flat, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("clip", [None, 1e3])
def test_a_step_that_is_not_finite_takes_running_averages_back(clip: float) -> None:
    net = network(optimizer=cnn.SGD(0.01, clip_norm=clip))
    net.fit(X, Y, epochs=1, batch_size=None, verbose=0)
    before = net.flat.copy()
    net.optimizer = cnn.SGD(1e308, clip_norm=clip)
    with pytest.raises(cnn.NonFiniteError, match="the update is not finite in epoch 2, batch 1 of 1"):
        net.fit(X, 1e4 * Y, epochs=3, batch_size=None, verbose=0)
    assert net.flat.tobytes() == before.tobytes()


def test_a_frozen_layer_stays_as_it_is_and_trains_as_it_predicts() -> None:
    taught = network()
    taught.fit(X, Y, epochs=2, batch_size=50, verbose=0)
    layers = [cnn.BatchNorm(learning_rate_factor=0), cnn.Dense(7, use_bias=False), cnn.Dense(2)]
    net = cnn.Network(layers, dtype="float64", seed=0).build(6)
    assert not net.plan.cut(50).wide
    assert not net.plan.over_rows
    kept = {name: value for name, value in taught.get_weights().items() if name.startswith("layers.0.")}
    net.set_weights(kept, partial=True)
    assert net.forward(X, training=True).tobytes() == net.forward(X).tobytes()
    net.fit(X, Y, epochs=2, batch_size=50, verbose=0)
    assert all(net.parameters[name].tobytes() == value.tobytes() for name, value in kept.items())


# Where a network goes -------------------------------------------------------------------------------------------------


def test_checkpoints_and_fits_in_parts_go_on_to_the_same_bits(tmp_path: Path) -> None:
    whole, parts, broken = network(), network(), network()
    more = {"batch_size": 50, "verbose": 0}
    whole.fit(X, Y, epochs=4, **more)
    for _ in range(2):
        parts.fit(X, Y, epochs=2, **more)
    assert same_bits(whole, parts)
    keep = {"epochs": 4, "initial_epoch": 0, "resume": tmp_path / "run"} | more
    with pytest.raises(KeyboardInterrupt):
        broken.fit(X, Y, callbacks=[cnn.Checkpoint(tmp_path / "run", every=1, unit="steps"), Break(2)], **keep)
    resumed = network()
    resumed.fit(X, Y, callbacks=[cnn.Checkpoint(tmp_path / "run")], **keep)
    assert same_bits(whole, resumed)
    whole.save(tmp_path / "m.cnn")
    again = cnn.load(tmp_path / "m.cnn", cnn.Network)
    assert again.predict(X).tobytes() == whole.predict(X).tobytes()
    assert all(again.parameters[name].tobytes() == value.tobytes() for name, value in running(whole).items())


def test_callbacks_that_set_weights_set_running_averages() -> None:
    """The best epoch's with the best epoch's weights; the mean of the last ones with theirs."""
    seen: list[Any] = []

    def keep(net: cnn.Network, epoch: int, logs: dict[str, float]) -> None:
        seen.append(net.flat.copy())

    net, best = network(), cnn.EarlyStopping(patience=3, restore_best=True)
    net.fit(X, Y, epochs=30, batch_size=20, validation_split=0.3, callbacks=[best, keep], verbose=0)
    assert net.flat.tobytes() == seen[best.best_epoch].tobytes()
    seen.clear()
    average = cnn.AverageWeights(start=0.5)
    net = network()
    net.fit(X, Y, epochs=4, batch_size=50, callbacks=[average, keep], verbose=0)
    np.testing.assert_allclose(net.flat, (seen[2] + seen[3]) / 2, rtol=1e-14)


def test_a_fit_without_learning_takes_them_anew() -> None:
    """As Izmailov et al. (2018) do for averaged weights."""
    net = network()
    net.fit(X, Y, epochs=4, batch_size=50, callbacks=[cnn.AverageWeights(start=0.5)], verbose=0)
    before = net.get_weights()
    net.optimizer = cnn.SGD(0)
    net.fit(X, Y, epochs=200, batch_size=None, verbose=0)
    np.testing.assert_allclose(net.parameters["layers.0.running_mean"], X.mean(axis=0), rtol=1e-8)
    assert all((net.parameters[name] == value).all() != ("running" in name) for name, value in before.items())


def test_many_networks_at_once_have_the_bits_of_one() -> None:
    alone, nets = [network(seed=s) for s in range(3)], [network(seed=s) for s in range(3)]
    for net in alone:
        net.fit(X, Y, epochs=3, batch_size=40, verbose=0)
    cnn.train_many(nets, X, Y, epochs=3, batch_size=40, verbose=0, n_threads=2)
    assert all(map(same_bits, alone, nets))
    found = cnn.predict_many(nets, X)
    assert all(a.tobytes() == net.predict(X).tobytes() for a, net in zip(found, nets, strict=True))


@pytest.mark.parametrize("wide", [False, True])
def test_sparse_rows_are_dense_ones(wide: bool) -> None:
    x = np.where(np.random.default_rng(1).random((203, 100)) < 0.05, 1.0, 0.0)
    layers = [cnn.Dense(700 if wide else 30), cnn.BatchNorm(activation="relu"), cnn.Dense(2)]
    nets = [cnn.Network(layers, optimizer=cnn.SGD(0.01), dtype="float64", seed=0) for _ in range(2)]
    for net, rows in zip(nets, (x, sparse.csr_array(x)), strict=True):
        net.fit(rows, Y, epochs=2, batch_size=64, shuffle=False, verbose=0)
    np.testing.assert_allclose(nets[0].flat, nets[1].flat, rtol=0, atol=1e-12)
    np.testing.assert_allclose(nets[1].predict(sparse.csr_array(x)), nets[0].predict(x), rtol=0, atol=1e-11)
    with pytest.raises(ValueError, match=r"sparse X needs a cnn\.Dense as the first layer"):
        network().fit(sparse.csr_array(X), Y, verbose=0)


@pytest.mark.parametrize("wide", [False, True])
def test_compact_rows_are_dense_ones(wide: bool) -> None:
    """A staircase of 90 inputs in the first layer."""
    draw = np.random.default_rng(2)
    bins, heights = draw.integers(0, 90, (203, 1)), draw.random((203, 1))
    rows = compact(Layout(90, stairs=((0, 90),)), np.float64, bins=bins, heights=heights)
    x = np.where(np.arange(90) < bins, 1.0, np.where(np.arange(90) == bins, heights, 0))
    layers = [cnn.Dense(800 if wide else 9), cnn.BatchNorm(activation="tanh"), cnn.Dense(2)]
    nets = [cnn.Network(layers, optimizer=cnn.SGD(0.01), dtype="float64", seed=0) for _ in range(3)]
    for net, given, n in zip(nets, (x, rows, rows), (1, 1, 3), strict=True):
        net.fit(given, Y, epochs=2, batch_size=64, shuffle=False, verbose=0, n_threads=n)
    np.testing.assert_allclose(nets[0].flat, nets[1].flat, rtol=0, atol=1e-12)
    assert same_bits(nets[1], nets[2])


def test_estimators_take_it(tmp_path: Path) -> None:
    """Minibatches of one row in `partial_fit`, files, refused exports."""
    pytest.importorskip("sklearn")
    layers = [cnn.Dense(16), cnn.BatchNorm(activation="relu"), cnn.Dense(1)]
    model = cnn.MLPRegressor(layers=layers, max_iter=100, learning_rate_init=0.01, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 100 epochs may not be enough for its tol
        model.fit(X, X[:, 0] - X[:, 1])
    assert model.score(X, X[:, 0] - X[:, 1]) > 0.9
    model.partial_fit(X[:1], Y[:1, 0])
    model.save(tmp_path / "m.cnn")
    assert cnn.load(tmp_path / "m.cnn").predict(X).tobytes() == model.predict(X).tobytes()
    with pytest.raises(ValueError, match="scikit-learn has no network with such a layer: layer 1, BatchNorm"):
        cnn.to_sklearn(model._network)


def test_streams_have_the_bits_of_arrays() -> None:
    nets = [network(), network()]
    nets[0].fit(X, Y, epochs=2, batch_size=50, shuffle=False, verbose=0)
    nets[1].fit([(X[b : b + 29], Y[b : b + 29]) for b in range(0, 203, 29)], epochs=2, batch_size=50, verbose=0)
    assert same_bits(*nets)


def test_gradient_check_and_summary_know_running_averages() -> None:
    net = network()
    net.fit(X, Y, epochs=2, batch_size=50, verbose=0)
    found = cnn.gradient_check(net, X, Y)
    assert found.error < 1e-7
    assert not any("running" in name for name in found.errors)
    assert "BatchNorm('gelu')" in reports.summary(net)


@pytest.mark.parametrize("constant", [2024.0, 100000.1, 1.7e9])
def test_a_constant_input_far_from_0_is_0_in_training_and_in_prediction(constant: float) -> None:
    x = np.random.default_rng(0).normal(size=400)
    X = np.c_[x, np.full(400, constant)].astype(np.float32)
    net = cnn.Network([cnn.BatchNorm(), cnn.Dense(4, "relu"), cnn.Dense(1)], seed=0).build(2)
    assert (net.layers[0].weights == 1).all()
    net.forward(X, training=True)
    net.fit(X, x, epochs=60, batch_size=40, verbose=0)
    assert net.parameters["layers.0.running_mean"][1] == np.float32(constant)
    beside = cnn.Network([cnn.BatchNorm(), cnn.Dense(4, "relu"), cnn.Dense(1)], seed=0).build(2)
    beside.fit(np.c_[x, np.zeros(400)].astype(np.float32), x, epochs=60, batch_size=40, verbose=0)
    np.testing.assert_array_equal(net.predict(X), beside.predict(np.c_[x, np.zeros(400)].astype(np.float32)))
