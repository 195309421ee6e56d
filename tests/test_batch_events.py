"""The event of a step: what it tells, that it changes no bit, and that nobody pays for it who has not asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn
from cnn.training import calls
from cnn.training.events import needed

RNG = np.random.default_rng(0)
X = RNG.normal(size=(103, 5))
Y = X[:, 0] * X[:, 1] + 0.1 * RNG.normal(size=103)


class Steps(cnn.Callback):
    """Notes every step, and the weights behind it."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int, float, float]] = []
        self.weights: list[bytes] = []

    def on_train_batch_end(self, network: cnn.Network, batch: int, logs: dict[str, float]) -> None:
        assert set(logs) == {"loss", "learning_rate"}
        self.steps.append((network.step, batch, logs["loss"], logs["learning_rate"]))
        self.weights.append(network.flat.tobytes())
        logs.clear()  # each callback has its own


def network(**changes: Any) -> cnn.Network:
    layers = [cnn.Dense(8, "tanh", l2=0.01), cnn.Dropout(0.2), cnn.Dense(1)]
    return cnn.Network(layers, **{"optimizer": cnn.Adam(cnn.schedules.Cosine(0.01)), "seed": 3, **changes})


def numbers(net: cnn.Network, history: cnn.History) -> tuple[Any, ...]:
    values = {name: values for name, values in history.to_dict().items() if name != "seconds"}
    return net.flat.tobytes(), net.state.tobytes(), net.step, repr(values)


@pytest.mark.parametrize("changes", [
    {}, {"batch_size": None}, {"batch_size": 1, "epochs": 1}, {"validation_split": 0.3}, {"n_threads": 2},
    {"metrics": ("mae", "r2")}, {"sample_weight": np.arange(103) % 3}, {"shuffle": False},
], ids=str)  # fmt: skip
def test_the_bits_are_those_of_a_fit_without_it(changes: dict[str, Any]) -> None:
    settings = {"epochs": 4, "batch_size": 20, "verbose": 0, **changes}
    plain, seen, steps = network(), network(), Steps()
    expected = numbers(plain, plain.fit(X, Y, **settings))
    assert numbers(seen, seen.fit(X, Y, callbacks=[Steps(), steps], **settings)) == expected
    rows = 72 if "validation_split" in changes else 103
    of_epoch = 1 if settings["batch_size"] is None else -(-rows // settings["batch_size"])
    n = settings["epochs"] * of_epoch
    assert [step for step, *_ in steps.steps] == list(range(1, n + 1))
    assert [batch for _, batch, *_ in steps.steps] == list(range(of_epoch)) * settings["epochs"]
    assert len(set(steps.weights)) == n  # each is seen behind its own step
    rates = cnn.schedules.Cosine(0.01).rates(0, n, of_epoch, n)
    assert [rate for *_, rate in steps.steps] == rates.tolist()


def test_the_loss_is_that_of_the_rows_of_the_step_before_it() -> None:
    """By gradient descent in NumPy on a network without an activation."""
    net = cnn.Network([cnn.Dense(1, l2=0.5)], optimizer=cnn.SGD(0.05), dtype="float64", seed=0).build(5)
    w, b, steps = net.layers[0].weights.copy(), net.layers[0].biases.copy(), Steps()
    net.fit(X, Y, epochs=2, batch_size=40, shuffle=False, callbacks=[steps], verbose=0)
    for (_, batch, loss, _), left in zip(steps.steps, steps.weights, strict=True):
        rows = slice(40 * batch, 40 * batch + 40)
        d = X[rows] @ w + b - Y[rows, None]
        assert loss == pytest.approx(np.mean(d**2) + 0.5 * np.sum(w**2), rel=1e-12)
        w, b = w - 0.05 * (2 * X[rows].T @ d / len(d) + w), b - 0.05 * 2 * d.mean(axis=0)
        np.testing.assert_allclose(np.frombuffer(left)[: w.size], w.ravel(), rtol=1e-10)


def test_rows_without_weight_have_no_loss() -> None:
    steps = Steps()
    net = cnn.Network([cnn.Dense(1)], seed=0)
    net.fit(X, Y, epochs=1, batch_size=50, shuffle=False, sample_weight=np.arange(103) >= 50, callbacks=[steps],
            verbose=0)  # fmt: skip
    assert steps.steps[0][2] == 0 < steps.steps[1][2]


def test_nobody_pays_who_has_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    class Counted(calls.Piece):
        def make(self) -> tuple[int, float]:
            made.append(self.end - self.begin)
            return super().make()

    monkeypatch.setattr("cnn.training.loop.Piece", Counted)
    network().fit(X, Y, epochs=50, batch_size=20, callbacks=[cnn.Callback()], verbose=0)
    assert sum(made) == 300
    assert len(made) < 30
    made.clear()
    network().fit(X, Y, epochs=50, batch_size=20, callbacks=[Steps()], verbose=0)
    assert made == [1] * 300


def test_who_needs_it() -> None:
    class Quiet(Steps):
        needs = ()

    class OfAnObject(cnn.Callback):
        def __init__(self, *needs: str) -> None:
            self.needs = needs

    assert needed(Steps()) == {"train_batch_end"}
    assert needed(Quiet()) == set()
    assert needed(OfAnObject("train_batch_end")) == {"train_batch_end"}
    with pytest.raises(ValueError, match=r"unknown event in `needs` of OfAnObject: 'batch_ends'"):
        needed(OfAnObject("batch_ends"))


@pytest.mark.parametrize(("batch_size", "of_epoch"), [(15, 6), (None, 4)])
def test_a_stream_tells_of_its_steps_too(batch_size: int | None, of_epoch: int) -> None:
    """Batches of several sizes, taken as they are, come to the core one after another."""
    rng, steps = np.random.default_rng(1), Steps()
    batches = [(rng.normal(size=(n, 5)), rng.normal(size=n)) for n in (20, 20, 7, 33)]
    settings: dict[str, Any] = {"epochs": 2, "batch_size": batch_size, "verbose": 0}
    plain, seen = network(optimizer="adam"), network(optimizer="adam")
    expected = numbers(plain, plain.fit(batches, **settings))
    assert numbers(seen, seen.fit(batches, callbacks=[steps], **settings)) == expected
    assert [batch for _, batch, *_ in steps.steps] == [*range(of_epoch)] * 2
    assert [step for step, *_ in steps.steps] == list(range(1, 2 * of_epoch + 1))


def test_a_fit_that_is_resumed_tells_of_the_steps_that_are_left(tmp_path: Path) -> None:
    class StopAt(Steps):
        def on_train_batch_end(self, network: cnn.Network, batch: int, logs: dict[str, float]) -> None:
            super().on_train_batch_end(network, batch, logs)
            if network.step == 9:
                raise KeyboardInterrupt

    settings: dict[str, Any] = {"epochs": 4, "batch_size": 20, "verbose": 0}
    whole, steps = network(), Steps()
    expected = numbers(whole, whole.fit(X, Y, callbacks=[steps], **settings))
    broken, folder = network(), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        broken.fit(X, Y, callbacks=[StopAt(), cnn.Checkpoint(folder, 1, "steps")], **settings)
    net, rest = network(), Steps()
    history = net.fit(X, Y, callbacks=[rest, cnn.Checkpoint(folder, 1, "steps")], resume=folder, **settings)
    assert numbers(net, history) == expected
    assert rest.steps == steps.steps[8:]  # the ninth had no checkpoint yet
    assert rest.weights == steps.weights[8:]


def test_networks_side_by_side_tell_of_their_own_steps() -> None:
    hooks = [[Steps()] for _ in range(3)]
    nets, plain = [network(seed=i) for i in range(3)], [network(seed=i) for i in range(3)]
    cnn.train_many(nets, X, Y, epochs=2, batch_size=20, callbacks=hooks, verbose=0)
    cnn.train_many(plain, X, Y, epochs=2, batch_size=20, verbose=0)
    for net, other, (steps,) in zip(nets, plain, hooks, strict=True):
        assert net.flat.tobytes() == other.flat.tobytes() == steps.weights[-1]
        assert [step for step, *_ in steps.steps] == list(range(1, 13))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators_tell_of_their_steps(solver: str) -> None:
    pytest.importorskip("sklearn")
    seen: list[tuple[int, set[str]]] = []

    class Notes(cnn.Callback):
        def on_train_batch_end(self, network: cnn.Network, batch: int, logs: dict[str, float]) -> None:
            seen.append((batch, set(logs)))

    settings: dict[str, Any] = {"solver": solver, "max_iter": 3, "batch_size": 40, "random_state": 0}
    est, plain = (cnn.MLPRegressor(hidden_layer_sizes=(8,), callbacks=hooks, **settings) for hooks in ([Notes()], None))
    assert est.fit(X, Y).network_.flat.tobytes() == plain.fit(X, Y).network_.flat.tobytes()
    steps = [0] * 3 if solver == "lbfgs" else [0, 1, 2] * 3
    names = {"loss"} if solver == "lbfgs" else {"loss", "learning_rate"}
    assert seen == [(batch, names) for batch in steps]


def test_a_wish_to_stop_holds_behind_the_epoch() -> None:
    class Stop(cnn.Callback):
        def on_train_batch_end(self, network: cnn.Network, batch: int, logs: dict[str, float]) -> None:
            network.stop_training = network.step == 2

    net = network()
    assert net.fit(X, Y, epochs=5, batch_size=60, callbacks=[Stop()], verbose=0).epoch == [0]
    assert net.step == 2
