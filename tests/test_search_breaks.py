"""Searches that are broken off, and go on: nothing is lost, and what is found is what would have been found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.9")
pytest.importorskip("optuna", minversion="5")
import optuna

import cnn
from cnn.tuning import candidates

X = np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32)
Y = X[:, 0] * X[:, 1] + 0.5 * X[:, 2]
SPACE = {"units": (2, 16), "learning_rate": (1e-3, 0.1, "log"), "activation": ["relu", "tanh"]}


def search(space: Any = SPACE, **options: Any) -> cnn.SearchResult:
    how = {"budget": 9, "epochs": 9, "batch_size": 32, "validation_data": (X[80:], Y[80:]), "verbose": 0}
    return cnn.search(space, X[:80], Y[:80], **{**how, **options})


def test_a_search_that_goes_on_finds_what_it_would_have_found(tmp_path: Any) -> None:
    options: dict[str, Any] = {"at_once": 4, "seed": 3}
    whole = search(budget=12, **options)
    for storage in (tmp_path / "s.log", optuna.storages.InMemoryStorage()):
        search(budget=4, storage=storage, **options)
        parts = search(budget=12, storage=storage, **options)
        assert parts.results | {"seconds": 0} == whole.results | {"seconds": 0}
        assert parts.network.flat.tobytes() == whole.network.flat.tobytes()
        again = search(budget=12, storage=storage, **options)  # there is nothing left to try
        assert again.results == parts.results
        assert again.network.flat.tobytes() == whole.network.flat.tobytes()


def test_a_search_that_was_broken_off_loses_nothing(tmp_path: Any) -> None:
    class Breaks:
        left = 6

        def __call__(self, trial: Any) -> cnn.Network:
            rate = trial.suggest_float("rate", 1e-3, 0.1, log=True)
            units = trial.suggest_int("units", 2, 9)
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt
            return cnn.Network([cnn.Dense(units, "tanh"), cnn.Dense(1)], optimizer=cnn.Adam(rate), seed=units)

    class Never(Breaks):
        left = 1000

    options: dict[str, Any] = {"at_once": 4, "budget": 8}
    with pytest.raises(KeyboardInterrupt):
        search(Breaks(), storage=tmp_path / "s.log", **options)
    found, whole = search(Never(), storage=tmp_path / "s.log", **options), search(Never(), **options)
    assert found.results | {"seconds": 0} == whole.results | {"seconds": 0}
    assert found.network.flat.tobytes() == whole.network.flat.tobytes()


def interrupt(monkeypatch: Any, owner: Any, name: str, count: int) -> None:
    """Ctrl-C comes at that call."""
    method, calls = getattr(owner, name), iter(range(1, 1000))

    def broken(*args: Any, **more: Any) -> Any:
        if next(calls) == count:
            raise KeyboardInterrupt
        return method(*args, **more)

    monkeypatch.setattr(owner, name, broken)


BREAKS: list[list[tuple[str, int]]] = [
    [("tell", 2)], [("tell", 5)], [("tell", 7)], [("train_many", 2), ("enqueue_trial", 1)], [("tell", 3), ("tell", 1)],
    [("ask", 3), ("enqueue_trial", 2), ("ask", 2)],
]  # fmt: skip


@pytest.mark.parametrize("breaks", BREAKS, ids=str)
def test_settings_that_are_broken_off_are_tried_again_once(breaks: list[tuple[str, int]], monkeypatch) -> None:
    """A trial that is about to be told of has its numbers, another about to be repeated; by a sampler of one's own."""
    storage = optuna.storages.InMemoryStorage()
    for i, (name, count) in enumerate(breaks):
        sampler = optuna.samplers.RandomSampler(seed=i)
        with monkeypatch.context() as patch:
            interrupt(patch, candidates if name == "train_many" else optuna.Study, name, count)
            with pytest.raises(KeyboardInterrupt):
                search(budget=9, at_once=5, storage=storage, sampler=sampler)
    found = search(budget=9, at_once=5, storage=storage, sampler=optuna.samplers.RandomSampler(seed=9))
    states = [trial.state.name for trial in found.study.trials]
    assert states.count("COMPLETE") + states.count("PRUNED") == 9
    assert set(found.results["state"]) == {"complete", "pruned"}
    assert len(found.results["state"]) == 9
    assert {trial.user_attrs["setting"] for trial in found.study.trials} == set(range(9))
    assert len(set(found.results["rmse"])) == 9


@pytest.mark.parametrize("breaks", [
    [("tell", 11)], [("ask", 13)], [("train_many", 2)], [("train_many", 6)], [("set_user_attr", 4)],
    [("train_many", 5), ("tell", 3)], [("ask", 19), ("ask", 4), ("train_many", 3)],
], ids=str)  # fmt: skip
def test_a_search_that_is_broken_off_anywhere_finds_what_it_would_have_found(breaks: Any, monkeypatch: Any) -> None:
    """More settings than the sampler draws at random: it goes by all trials before, in their order."""
    options: dict[str, Any] = {"budget": 24, "at_once": 8, "seed": 5}
    storage, whole = optuna.storages.InMemoryStorage(), search(**options)
    for name, count in breaks:
        with monkeypatch.context() as patch:
            interrupt(patch, candidates if name == "train_many" else optuna.Study, name, count)
            with pytest.raises(KeyboardInterrupt):
                search(storage=storage, **options)
    found = search(storage=storage, **options)
    assert found.results | {"seconds": 0} == whole.results | {"seconds": 0}
    assert found.network.flat.tobytes() == whole.network.flat.tobytes()


def test_settings_that_a_user_puts_into_a_study_are_tried_next(monkeypatch: Any) -> None:
    storage = optuna.storages.InMemoryStorage()
    study = search(budget=3, storage=storage).study
    study.enqueue_trial({"units": 11, "learning_rate": 0.05})
    study.enqueue_trial({"units": 12})
    with monkeypatch.context() as patch:
        interrupt(patch, optuna.Study, "ask", 4)  # both are taken up, and the first is asked for
        with pytest.raises(KeyboardInterrupt):
            search(budget=7, at_once=4, storage=storage)
    found = search(budget=7, at_once=4, storage=storage)
    assert found.results["units"][3:5] == [11, 12]
    assert found.results["learning_rate"][3] == 0.05
    assert len(found.results["units"]) == 7
