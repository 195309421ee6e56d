"""What a table model chooses by task, rows and effort; time as a budget; predictions within the range that taught."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn
from cnn.table import budget, lesson, pilot
from cnn.table.settings import Settings

pd = pytest.importorskip("pandas")
RNG, N = np.random.default_rng(0), 400
TABLE = pd.DataFrame({"x": RNG.normal(size=N), "c": RNG.choice(["a", "b"], N)})
TABLE["y"] = 3 * TABLE["x"] + (TABLE["c"] == "a")


def test_effort_buys_networks_epochs_and_width() -> None:
    fast, default, best = (
        Settings(effort=effort).chosen("regression", 10_000) for effort in ("fast", "default", "best")
    )
    for name in ("members", "epochs"):
        assert getattr(fast, name) < getattr(default, name) < getattr(best, name)
    assert fast.hidden == default.hidden < best.hidden
    given: dict[str, Any] = {
        "hidden": (7,), "dropout": 0.0, "weight_decay": 0.0, "batch_size": 3, "epochs": 5, "members": 6,
    }  # fmt: skip
    for effort in ("fast", "default", "best"):
        found = vars(Settings(effort=effort, **given).chosen("classification", 99))
        assert {name: found[name] for name in given} == given


def test_fewer_networks_than_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget may leave two networks, where five parts were to be held out: two of them are."""
    two = budget.dataclasses.replace
    monkeypatch.setattr(budget, "fitted", lambda settings, *rest: two(settings, members=2, epochs=2))
    model = cnn.TableModel("y", max_seconds=60, seed=0).fit(TABLE, verbose=0)
    assert model.out_of_member is not None
    assert (len(model.networks), len(model.held_out)) == (2, N // 2 // 5 * 2)
    np.testing.assert_array_equal(model.held_out, model.out_of_member.rows)


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_more_rows_need_fewer_epochs_and_networks(task: str) -> None:
    found = [
        Settings().chosen(task, n)
        for n in (10, 100, 1_000, 1_999, 2_000, 25_000, 25_001, 50_000, 50_001, 200_000, 200_001, 10**8)
    ]
    for name in ("members", "epochs"):
        numbers = [getattr(settings, name) for settings in found]
        assert numbers == sorted(numbers, reverse=True)
        assert min(numbers) >= 1
    sizes = [settings.batch_size for settings in found]
    assert sizes == sorted(sizes)  # type: ignore[type-var]


def test_layers_learn_by_the_root_of_their_inputs() -> None:
    model = cnn.TableModel("y", epochs=1, members=1, hidden=(16, 9), weight_decay=0.5, seed=0).fit(TABLE, verbose=0)
    (net,) = model.networks
    dense = [layer for layer in net.descriptions if isinstance(layer, cnn.Dense)]
    embedding = net.descriptions[0]
    assert isinstance(embedding, cnn.PiecewiseEmbedding)
    assert embedding.learning_rate_factor == 1 / embedding.decay_factor == 0.25
    for layer, n_inputs in zip(dense, (int(net.plan.layers["n_units"][0]), 16, 9), strict=True):
        assert layer.learning_rate_factor == pytest.approx(n_inputs**-0.5)
        assert layer.decay_factor == pytest.approx(n_inputs**0.5)
    assert net.optimizer.weight_decay == 0.5


def test_predictions_stay_within_what_was_seen(tmp_path: Path) -> None:
    model = cnn.TableModel("y", epochs=30, members=2, hidden=(16,), seed=0).fit(TABLE, verbose=0)
    assert model.predict(TABLE).max() < TABLE["y"].max()
    for net in model.networks:
        net.layers[-1].biases[...] = 1e3
    model.save(tmp_path / "m.cnn")
    for one in (model, cnn.load(tmp_path / "m.cnn")):
        assert set(one.predict(TABLE)) == {TABLE["y"].max()}
    for net in model.networks:
        net.layers[-1].biases[...] = -1e3
    assert set(model.predict(TABLE)) == {TABLE["y"].min()}
    assert model.out_of_member is not None
    assert model.out_of_member.outputs.max() <= TABLE["y"].max()


def taught(settings: Settings) -> lesson.Lesson:
    return lesson.of_frame(TABLE, "y", settings, 0, None)


@pytest.mark.parametrize(("seconds", "epochs", "members"), [
    (1000, 40, 6), (270, 40, 6), (262, 39, 6), (110, 16, 6), (100, 22, 4), (72, 16, 4), (70, 31, 2), (30, 13, 2),
    (3, 1, 2),
])  # fmt: skip
def test_epochs_and_networks_are_fitted_to_the_time(
    seconds: float, epochs: int, members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch of one network takes 2 s, two threads are at work, and 0.9 of the time is planned for."""
    monkeypatch.setattr(budget, "_seconds_of_an_epoch", lambda *_: 2.0)
    settings = Settings(epochs=40, members=6, max_seconds=seconds).chosen("regression", N)
    found = budget.fitted(settings, taught(settings), 0, time.perf_counter(), 2)
    assert (found.epochs, found.members) == (epochs, members)


def test_without_a_budget_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_seconds_of_an_epoch", lambda *_: 1 / 0)
    settings = Settings().chosen("regression", N)
    assert budget.fitted(settings, taught(settings), 0, 0.0, None) is settings


def test_a_budget_too_small_for_an_epoch_is_refused() -> None:
    model = cnn.TableModel("y", max_seconds=1e-6, seed=0)
    with pytest.raises(cnn.TableError, match=r"max_seconds=1e-06 is too short for one epoch, which takes about .* s"):
        model.fit(TABLE, verbose=0)
    assert model.networks == ()


def test_a_budget_that_is_enough_changes_nothing() -> None:
    how: dict[str, Any] = {"epochs": 3, "members": 2, "hidden": (8,), "seed": 0}
    plain = cnn.TableModel("y", **how).fit(TABLE, verbose=0)
    timed = cnn.TableModel("y", **how, max_seconds=1e6).fit(TABLE, verbose=0)
    assert np.array_equal(plain.predict(TABLE), timed.predict(TABLE))


def test_the_deadline_ends_each_network_after_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the first steps were quicker than the others."""
    monkeypatch.setattr(budget, "_seconds_of_an_epoch", lambda *_: 1e-9)
    monkeypatch.setattr(budget.Deadline, "on_epoch_end", late)
    model = cnn.TableModel("y", epochs=50, members=3, hidden=(8,), max_seconds=1e6, seed=0).fit(TABLE, verbose=0)
    assert [len(history) for history in model.histories] == [4, 4, 4]


def late(self: budget.Deadline, network: Any, epoch: int, logs: Any) -> None:
    """As if the time were up in the fourth epoch."""
    network.stop_training = time.perf_counter() > self.end or epoch == 3


def test_what_goes_on_can_have_no_budget(tmp_path: Path) -> None:
    model = cnn.TableModel("y", max_seconds=10, seed=0)
    with pytest.raises(ValueError, match="max_seconds is not for a fit that is resumed, whose steps must be known"):
        model.fit(TABLE, verbose=0, callbacks=[cnn.Checkpoint(tmp_path)], resume=tmp_path)
    with pytest.raises(ValueError, match="max_seconds is not for ranks of comm"):
        model.fit(TABLE, verbose=0, comm=object())


@pytest.mark.parametrize("best", [27, 9, 3, 1])
def test_few_rows_choose_the_length_of_the_schedule(best: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss of all rows held out at the end decides, of one network for each part."""
    found = taught(Settings(members=10))
    tried: list[int] = []

    def fitted_so(networks: Any, X: Any, y: Any, *, epochs: int, validation_data: Any, **how: Any) -> Any:
        tried.append(epochs)
        assert [len(part) for part in X] == [360] * 5
        assert [len(part) for part, _ in validation_data] == [40] * 5
        return [{"val_loss": [0.0, float(epochs != best)]}] * 5

    monkeypatch.setattr(pilot.many, "train_many", fitted_so)
    asked = Settings()
    settings = Settings(epochs=27).chosen("regression", N)
    assert pilot.fitted(asked, settings, found, 0, None).epochs == best
    assert tried == [27, 9, 3, 1]


def test_the_length_is_open_only_where_few_rows_are_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    few = taught(Settings())
    assert pilot.is_needed(Settings(), few)
    assert not pilot.is_needed(Settings(epochs=3), few)
    assert not pilot.is_needed(Settings(patience=3), few)
    monkeypatch.setattr(pilot, "FEW", 40)
    assert not pilot.is_needed(Settings(), few)
    settings = Settings().chosen("regression", N)
    assert pilot.fitted(Settings(), settings, few, 0, None) is settings


def test_few_rows_have_the_last_weights_and_many_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = TABLE.assign(y=RNG.normal(size=N))
    how: dict[str, Any] = {"epochs": 30, "members": 2, "hidden": (32,), "dropout": 0.0, "seed": 0}

    def losses() -> list[float]:
        model = cnn.TableModel("y", **how).fit(noise, verbose=0)
        found = lesson.of_frame(noise, "y", model.settings, 0, None)
        return [
            net.evaluate(found.of_member(i)[1].X, found.of_member(i)[1].scaled, metrics=())["loss"] - getter(history)
            for i, (net, history) in enumerate(zip(model.networks, model.histories, strict=True))
        ]

    getter = last = lambda history: history["val_loss"][-1]
    assert losses() == pytest.approx([0, 0], abs=1e-6)
    monkeypatch.setattr(pilot, "FEW", 1)
    getter = lambda history: min(history["val_loss"])  # noqa: E731
    assert losses() == pytest.approx([0, 0], abs=1e-6)
    getter = last
    assert max(losses(), key=abs) != pytest.approx(0, abs=1e-6)
