"""`fit`: steps against the reference, equal bits for every number of threads, weights, schedules, validation."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest
from helpers import OPTIMIZERS, ReferenceTraining, same_bits, targets

import cnn
import cnn_core
from cnn import schedules

THREADS = (1, 2, 3, 4, 8)


def order(net: cnn.Network, epoch: int, n: int) -> np.ndarray:
    """The rows' order in an epoch: a function of seed and epoch alone."""
    rows = np.empty(n, np.int64)
    cnn_core.engine.permutation(net.seed, epoch, rows)  # test_random.py holds it to its reference
    return rows


def data(n: int = 100, d: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    return X, np.sin(X[:, 0]) + 0.1 * rng.normal(size=n)


# Against the reference ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_ten_steps_are_the_references(name: str, loss: str) -> None:
    rng = np.random.default_rng(0)
    n, batch = 70, 16  # two epochs of five minibatches, the last one of six rows
    X, y, w = rng.normal(size=(n, 4)), targets(loss, n, 3, rng), rng.uniform(0.1, 2, n)
    layers = [cnn.Dense(9, "tanh", l2=0.01), cnn.Dropout(0.2), cnn.Dense(5, "sigmoid", l1=0.001, bias_l2=0.01),
              cnn.Dense(3)]  # fmt: skip
    net = cnn.Network(layers, loss=loss, optimizer=OPTIMIZERS[name], dtype="float64", seed=7).build(4)
    reference = ReferenceTraining(net)
    history = net.fit(X, y, epochs=2, batch_size=batch, sample_weight=w, verbose=0, n_threads=2)
    for epoch in range(2):
        rows, losses, shares, penalties = order(net, epoch, n), [], [], []
        for begin in range(0, n, batch):
            i = rows[begin : begin + batch]
            penalty = sum(
                l1 * np.abs(layer[what]).sum() + l2 * (layer[what] ** 2).sum()
                for layer in reference.layers if "W" in layer for what, (l1, l2) in layer["penalty"].items()
            )  # fmt: skip
            losses.append(reference.step(net.optimizer.learning_rate, X[i], y[i], w[i]) - penalty)
            shares.append(w[i].sum())
            penalties.append(penalty)
        expected = np.average(losses, weights=shares) + np.mean(penalties)
        assert history.loss[epoch] == pytest.approx(expected, rel=1e-10)
    for parameter, expected_value in reference.weights().items():
        np.testing.assert_allclose(net.parameters[parameter], expected_value, rtol=1e-10, atol=1e-13, err_msg=parameter)


@pytest.mark.parametrize("schedule", [
    schedules.Step(0.1, epochs=1, factor=0.5), schedules.Exponential(0.1, factor=0.7), schedules.Cosine(0.1),
    schedules.OneCycle(0.1), schedules.InverseScaling(0.1), schedules.WarmUp(0.1, steps=4),
], ids=lambda s: type(s).__name__)  # fmt: skip
def test_schedules_are_applied_step_by_step(schedule: schedules.Schedule) -> None:
    X, y = data(50)
    layers = [cnn.Dense(3, "tanh"), cnn.Dense(1)]
    net = cnn.Network(layers, optimizer=cnn.SGD(schedule), dtype="float64", seed=1).build(4)
    reference = ReferenceTraining(net)
    history = net.fit(X, y, epochs=3, batch_size=20, verbose=0)
    rates = schedule.rates(0, 9, 3, 9)
    assert history.learning_rate == pytest.approx(list(rates[2::3]))
    for step, rate in enumerate(rates):
        i = order(net, step // 3, 50)[step % 3 * 20 : step % 3 * 20 + 20]
        reference.step(rate, X[i], y[i])
    for parameter, expected in reference.weights().items():
        np.testing.assert_allclose(net.parameters[parameter], expected, rtol=1e-10, atol=1e-13)


# Equal bits -----------------------------------------------------------------------------------------------------------

def plan(name: str) -> tuple[cnn.Network, np.ndarray, np.ndarray, dict[str, object]]:
    rng = np.random.default_rng(5)
    dense, drop = cnn.Dense, cnn.Dropout
    plans: dict[str, tuple[list[cnn.layers.Layer], dict[str, object], int, int, dict[str, object]]] = {
        "dropout": ([drop(0.1), dense(64, "relu"), drop(0.3), dense(32, "tanh"), dense(2)], {}, 500, 30,
                    {"batch_size": 256}),
        "clipping": ([dense(64, "gelu"), dense(2)], {"optimizer": cnn.SGD(0.1, clip_norm=0.01, clip_value=0.01)},
                     500, 40, {"batch_size": 250}),
        "penalties": ([dense(128, "silu", l1=1e-3, bias_l2=1e-2), dense(2, l2=1e-3)], {}, 500, 40, {"batch_size": 256}),
        "weights": ([dense(128, "elu"), dense(2)], {}, 500, 40,
                    {"batch_size": 200, "sample_weight": rng.uniform(0, 3, 500)}),
        "odd batch": ([dense(77, "mish"), dense(33, "selu"), dense(2)], {"dtype": "float64"}, 501, 31,
                      {"batch_size": 167}),
        "short last": ([dense(100, "relu"), dense(50), dense(2)], {}, 515, 64, {"batch_size": 256}),
        "wide": ([dense(700, "relu"), dense(500, "relu"), dense(2)], {}, 200, 300, {"batch_size": 128}),
        "batch above rows": ([dense(80, "relu"), dense(2)], {}, 300, 50, {"batch_size": 1000}),
        "full batch": ([dense(80, "relu"), dense(2)], {"dtype": "float64"}, 3000, 20, {"batch_size": None}),
        "in order": ([dense(80, "relu"), dense(2)], {}, 400, 50, {"batch_size": 128, "shuffle": False}),
        "small": ([dense(8, "tanh"), dense(2)], {}, 100, 3, {"batch_size": 32}),
        "one row": ([dense(40, "tanh"), dense(2)], {}, 30, 30, {"batch_size": 1}),
    }  # fmt: skip
    layers, options, n, d, settings = plans[name]
    return cnn.Network(layers, seed=3, **options), rng.normal(size=(n, d)), rng.normal(size=(n, 2)), settings


@pytest.mark.parametrize("name", ["dropout", "clipping", "penalties", "weights", "odd batch", "short last", "wide",
                                  "batch above rows", "full batch", "in order", "small", "one row"])  # fmt: skip
def test_equal_bits_for_every_number_of_threads(name: str) -> None:
    results = set()
    for n_threads in (*THREADS, None):
        net, X, y, settings = plan(name)
        history = net.fit(X, y, epochs=2, validation_split=0.1, verbose=0, n_threads=n_threads, **settings)
        numbers = {key: value for key, value in history.to_dict().items() if key != "seconds"}
        results.add((net.flat.tobytes(), net.state.tobytes(), repr(numbers), net.predict(X).tobytes()))
    assert len(results) == 1


def test_the_plans_have_several_chunks() -> None:
    """Else the test above would compare one thread with itself."""
    several = 0
    for name in ("dropout", "clipping", "penalties", "weights", "odd batch", "short last", "wide", "full batch"):
        net, X, _, settings = plan(name)
        batch = settings["batch_size"] or len(X)
        several += net.build(X.shape[1]).plan.cut(batch).feeds > 1
    assert several == 8


@pytest.mark.parametrize(("rows", "parts"), [(128, 2), (256, 4), (500, 8), (1024, 16), (2048, 32)])
def test_gradients_of_chunks_are_added_as_a_binary_tree(rows: int, parts: int) -> None:
    """A half of the chunks has a sum of its own: so may a process that has only their rows."""
    rng = np.random.default_rng(0)
    X, dout = rng.normal(size=(rows, 40)).astype("f4"), rng.normal(size=(rows, 3)).astype("f4")
    net = cnn.Network([cnn.Dense(40, "tanh"), cnn.Dense(3)], seed=0).build(40)
    assert net.plan.cut(rows).parts == parts

    def gradient(chosen: slice) -> np.ndarray:
        net.forward(X[chosen])
        net.backward(dout[chosen])
        return np.concatenate([g.ravel() for g in net.gradients.values()])

    def tree(sums: list[np.ndarray]) -> np.ndarray:
        half = len(sums) // 2
        return sums[0] if half == 0 else tree(sums[:half]) + tree(sums[half:])

    ends = [-(-rows // 16) * i // parts * 16 for i in range(parts)] + [rows]
    chunks = [gradient(slice(begin, end)) for begin, end in pairwise(ends)]
    np.testing.assert_array_equal(gradient(slice(None)), tree(chunks))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_equal_bits_for_every_optimizer(name: str) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 64)), rng.normal(size=300)
    nets = [cnn.Network([cnn.Dense(64, "relu"), cnn.Dense(1)], optimizer=OPTIMIZERS[name], seed=0) for _ in range(3)]
    for net, n_threads in zip(nets, (1, 2, 4), strict=True):
        net.fit(X, y, epochs=2, batch_size=256, verbose=0, n_threads=n_threads)
    assert same_bits(nets[0], nets[1])
    assert same_bits(nets[0], nets[2])


@pytest.mark.parametrize("optimizer", ["adam", "nadam", "lion", cnn.SGD(0.1, momentum=0.9)])
def test_a_fit_goes_on_where_the_last_one_stopped(optimizer) -> None:
    X, y = data(120)
    layers = [cnn.Dense(8, "relu"), cnn.Dropout(0.2), cnn.Dense(1)]
    whole, parts = (cnn.Network(layers, optimizer=optimizer, seed=0) for _ in range(2))
    long = whole.fit(X, y, epochs=10, batch_size=50, verbose=0)
    first = parts.fit(X, y, epochs=5, batch_size=50, verbose=0)
    second = parts.fit(X, y, epochs=5, batch_size=50, verbose=0)
    assert same_bits(whole, parts)
    assert long.loss == first.loss + second.loss == parts.history.loss
    assert (first.epoch, second.epoch) == ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9])


def test_two_fits_side_by_side() -> None:
    def fitted(n_threads: int) -> cnn.Network:
        net, X, y, settings = plan("dropout")
        net.fit(X, y, epochs=20, verbose=0, n_threads=n_threads, **settings)
        return net

    alone, found = fitted(2), []
    workers = [threading.Thread(target=lambda: found.append(fitted(2))) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert len(found) == 3
    assert all(same_bits(net, alone) for net in found)


def test_one_network_is_fitted_in_one_thread_at_a_time() -> None:
    X, y = data()
    net = cnn.Network([cnn.Dense(1)], seed=0)

    def again(network: cnn.Network, epoch: int, logs: object) -> None:
        network.fit(X, y, verbose=0)

    with pytest.raises(RuntimeError, match="fitted in another thread, or by the fit whose callback calls this one"):
        net.fit(X, y, callbacks=[again], verbose=0)
    assert len(net.fit(X, y, epochs=2, verbose=0)) == 2


# History, validation, weights -----------------------------------------------------------------------------------------

def test_the_history_holds_every_number() -> None:
    X, y = data(200)
    net = cnn.Network([cnn.Dense(8, "relu"), cnn.Dense(1)], seed=0)
    history = net.fit(X, y, epochs=4, validation_split=0.25, metrics=["mae", "r2"], verbose=0)
    assert history.names == ["loss", "mae", "r2", "val_loss", "val_mae", "val_r2", "learning_rate", "seconds"]
    assert history.epoch == [0, 1, 2, 3]
    assert history.learning_rate == [0.001] * 4
    assert all(len(history[name]) == 4 for name in history.names)
    assert min(history.seconds) > 0
    now = net.evaluate(X[150:], y[150:], metrics=["mae", "r2"])
    assert {f"val_{name}": value for name, value in now.items()} == pytest.approx(
        {name: history[name][-1] for name in ("val_loss", "val_mae", "val_r2")}, rel=1e-6
    )
    frame = pytest.importorskip("pandas") and history.to_frame()
    assert list(frame["val_loss"]) == history.val_loss
    assert history.to_dict()["loss"] == history.loss
    with pytest.raises(AttributeError, match="no 'val_accuracy'; it has loss, mae"):
        _ = history.val_accuracy


def test_the_history_plots_itself(tmp_path) -> None:
    pytest.importorskip("matplotlib")
    X, y = data()
    history = cnn.Network([cnn.Dense(1)], seed=0).fit(X, y, epochs=3, validation_split=0.2, verbose=0)
    figure = history.plot(tmp_path / "curve.png")
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "rmse"]
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_names_that_come_later_are_nan_before() -> None:
    X, y = data()
    net = cnn.Network([cnn.Dense(1)], seed=0)
    net.fit(X, y, epochs=2, verbose=0)
    net.fit(X, y, epochs=1, validation_split=0.5, verbose=0)
    assert np.isnan(net.history.val_loss).tolist() == [True, True, False]


def test_epochs_and_initial_epoch() -> None:
    X, y = data()
    net = cnn.Network([cnn.Dense(1)], seed=0)
    assert net.fit(X, y, epochs=0, verbose=0).epoch == []
    assert net.fit(X, y, epochs=5, initial_epoch=3, verbose=0).epoch == [3, 4]
    assert net.fit(X, y, epochs=2, verbose=0).epoch == [5, 6]


def test_training_metrics_are_those_of_the_training_outputs() -> None:
    """With a rate of 0 and no dropout, they are those of the network as it stands."""
    X, y = data(150)
    net = cnn.Network([cnn.Dense(8, "relu"), cnn.Dense(1)], optimizer=cnn.SGD(0.0), dtype="float64", seed=0)
    history = net.fit(X, y, epochs=1, batch_size=32, metrics=["rmse", "r2"], verbose=0)
    assert {name: history[name][0] for name in ("loss", "rmse", "r2")} == pytest.approx(
        net.evaluate(X, y, metrics=["rmse", "r2"]), rel=1e-12
    )


def test_default_metrics_and_ones_own() -> None:
    X, y = data(60)
    labels = (y > 0).astype(int)
    assert "rmse" in cnn.Network([cnn.Dense(1)], seed=0).fit(X, y, epochs=1, verbose=0)
    net = cnn.Network([cnn.Dense(2)], loss="cross_entropy", seed=0)

    def share(y_true: np.ndarray, p: np.ndarray, weights: np.ndarray | None) -> float:
        return float((p.argmax(axis=1) == y_true).mean())

    history = net.fit(X, labels, epochs=2, metrics=["accuracy", share], verbose=0)
    assert history.share == pytest.approx(history.accuracy)
    assert net.evaluate(X, labels, metrics=()).keys() == {"loss"}


def test_a_validation_split_is_the_last_rows() -> None:
    X, y = data(100)
    w = np.random.default_rng(0).uniform(0.5, 1, 100)
    a, b, c = (cnn.Network([cnn.Dense(4, "tanh"), cnn.Dense(1)], seed=0) for _ in range(3))
    split = a.fit(X, y, epochs=3, validation_split=0.2, sample_weight=w, verbose=0)
    given = b.fit(X[:80], y[:80], epochs=3, validation_data=(X[80:], y[80:], w[80:]), sample_weight=w[:80], verbose=0)
    c.fit(X[:80], y[:80], epochs=3, sample_weight=w[:80], verbose=0)
    assert split.val_loss == given.val_loss
    assert same_bits(a, b)
    assert same_bits(a, c)


def test_the_order_of_rows_depends_on_seed_and_epoch_alone() -> None:
    n = 64
    X = np.arange(n, dtype=float)[:, None]

    def seen(seed: int, epochs: int, units: int) -> list[tuple[float, ...]]:
        """What the first minibatch of each epoch held, read from the gradient of a linear unit."""
        net = cnn.Network([cnn.Dense(units), cnn.Dense(1)], optimizer=cnn.SGD(0.0), dtype="float64", seed=seed)
        found = []
        for _ in range(epochs):
            i = order(net, net.epoch, n)
            history = net.fit(X / n, X[:, 0], epochs=1, batch_size=8, verbose=0)
            found.append((*i[:8], history.loss[0]))
        return found

    a = seen(1, 3, 2)
    assert a[0][:8] != a[1][:8]
    assert a == seen(1, 3, 2)
    assert [row[:8] for row in a] == [row[:8] for row in seen(1, 3, 5)]
    assert a[0][:8] != seen(2, 1, 2)[0][:8]


def test_sample_weights_of_one_change_nothing_and_zero_leaves_out() -> None:
    X, y = data(80)
    a, b = (cnn.Network([cnn.Dense(4, "tanh"), cnn.Dense(1)], dtype="float64", seed=0) for _ in range(2))
    a.fit(X, y, epochs=2, verbose=0)
    b.fit(X, y, epochs=2, sample_weight=np.ones(80), verbose=0)
    np.testing.assert_allclose(a.flat, b.flat, rtol=1e-12)
    keep = np.arange(80) < 50
    a, b = (cnn.Network([cnn.Dense(4, "tanh"), cnn.Dense(1)], dtype="float64", seed=0) for _ in range(2))
    a.fit(X, y, epochs=3, batch_size=None, sample_weight=keep, verbose=0)
    b.fit(X[keep], y[keep], epochs=3, batch_size=None, verbose=0)
    np.testing.assert_allclose(a.flat, b.flat, rtol=1e-9)


@pytest.mark.filterwarnings("ignore:class_weight has no weight for class 0")
@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "hinge"])
def test_class_weights_are_sample_weights(loss: str) -> None:
    X, y = data(90)
    labels = (y > 0.5).astype(int)
    w = np.random.default_rng(0).uniform(0.5, 1, 90).astype(np.float32)  # rounded once in both
    counts = np.bincount(labels)
    units = 2 if loss == "cross_entropy" else 1
    for class_weight, factors in (({0: 1.0, 1: 3.0}, [1, 3]), ({1: 3}, [1, 3]), ("balanced", 90 / (2 * counts))):
        a, b = (cnn.Network([cnn.Dense(units)], loss=loss, seed=0) for _ in range(2))
        a.fit(X, labels, epochs=2, class_weight=class_weight, sample_weight=w, verbose=0)
        b.fit(X, labels, epochs=2, sample_weight=np.asarray(factors, float)[labels] * w, verbose=0)
        assert same_bits(a, b)


def test_balanced_weights_count_the_training_rows_and_leave_validation_alone() -> None:
    X, _ = data(100)
    labels = (np.arange(100) % 10 == 0).astype(int)
    a, b = (cnn.Network([cnn.Dense(2)], loss="cross_entropy", seed=0) for _ in range(2))
    history = a.fit(X, labels, epochs=1, class_weight="balanced", validation_split=0.3, verbose=0)
    factors = 70 / (2 * np.bincount(labels[:70]))
    b.fit(X[:70], labels[:70], epochs=1, sample_weight=factors[labels[:70]], verbose=0)
    assert same_bits(a, b)
    assert history.val_loss[0] == pytest.approx(b.evaluate(X[70:], labels[70:])["loss"], rel=1e-12)
