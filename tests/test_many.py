"""Networks trained side by side: the bits of each alone, whatever the others are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from many_networks import CLASSES, RNG, Array, Recorder, X, Y, alike, networks, numbers, twins
from scipy import sparse

import cnn
import cnn_core
from cnn.callbacks import Callback
from cnn.runtime import data
from cnn.training import many

# The same bits --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("n_threads", [1, 2, 3, None])
@pytest.mark.parametrize("batch_size", [None, 32])
def test_the_bits_are_those_of_each_alone(n_threads: int | None, batch_size: int | None) -> None:
    nets, alone = twins()
    for _ in range(2):  # a further call goes on
        found = cnn.train_many(nets, X, Y, epochs=7, batch_size=batch_size, verbose=0, n_threads=n_threads)
        expected = [net.fit(X, Y, epochs=7, batch_size=batch_size, verbose=0) for net in alone]
        assert [numbers(a) for a in found] == [numbers(b) for b in expected]
    assert alike(nets, alone)
    assert [len(net.history) for net in nets] == [14] * 6


def test_everything_may_be_another_for_each() -> None:
    nets, alone = twins()
    rows = [None, np.arange(100), RNG.permutation(150)[:90], RNG.integers(0, 150, 200), Y > 0, list(range(50, 150))]
    weights = [None, RNG.random(150), None, RNG.random(150), RNG.random(150), None]
    options: dict[str, list[Any]] = {
        "epochs": [3, 9, 5, 0, 2, 40], "batch_size": [None, 16, 20, 7, 64, 1000], "shuffle": [True, False] * 3,
        "validation_split": [0, 0.2, 0.5, 0, 0.1, 0.3], "metrics": [("r2",), (), ("rmse",), ("mae", "rmse"), (), ()],
    }  # fmt: skip
    cnn.train_many(nets, X, Y, rows=rows, sample_weight=weights, verbose=0, **options)
    for i, net in enumerate(alone):
        index = np.arange(150) if rows[i] is None else np.asarray(rows[i])
        weight = None if weights[i] is None else weights[i][index]
        own = {name: values[i] for name, values in options.items()}
        net.fit(X[index], Y[index], sample_weight=weight, verbose=0, **own)
    assert nets.pop(3).step == alone.pop(3).step == 0
    assert alike(nets, alone)


def test_data_of_their_own_dense_and_sparse() -> None:
    nets, alone = twins()
    wide = RNG.normal(size=(40, 9)) * (RNG.random((40, 9)) < 0.2)
    Xs: list[Any] = [X[i : i + 100] for i in range(5)] + [sparse.csr_array(wide)]
    ys = [Y[i : i + 100] for i in range(5)] + [Y[:40]]
    validation = [None, (X[:30], Y[:30]), (X[:9], Y[:9], np.arange(9) + 1.0), None, None, (wide[:20], Y[:20])]
    cnn.train_many(nets, Xs, ys, epochs=6, batch_size=16, validation_data=validation, verbose=0)
    for net, own, y, held_out in zip(alone, Xs, ys, validation, strict=True):
        net.fit(own, y, epochs=6, batch_size=16, validation_data=held_out, verbose=0)
    assert alike(nets, alone)


def test_classes_and_their_weights() -> None:
    def made() -> list[cnn.Network]:
        return [cnn.Network([cnn.Dense(n, "auto" if n == 4 else "tanh"), cnn.Dense(3)], loss="cross_entropy", seed=n)
                for n in range(3, 7)]  # fmt: skip

    nets, alone = made(), made()
    weights = [None, "balanced", {0: 1.0, 1: 2.0, 2: 0.5}, None]
    cnn.train_many(nets, X, CLASSES, epochs=5, batch_size=32, class_weight=weights, verbose=0)
    for net, weight in zip(alone, weights, strict=True):
        net.fit(X, CLASSES, epochs=5, batch_size=32, class_weight=weight, verbose=0)
    assert alike(nets, alone)
    assert nets[1].activation_choice == alone[1].activation_choice != ""


def test_more_networks_than_are_at_work_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "_AT_WORK", 3)
    monkeypatch.setattr(many, "_LEAST_SECONDS", 1e-6)
    monkeypatch.setattr(many, "_ROUND_SECONDS", 1e-5)  # pieces of some steps
    epochs = list(range(1, 41))

    def made() -> list[cnn.Network]:
        return [cnn.Network([cnn.Dense(2 + n % 5, "tanh"), cnn.Dense(1)], seed=n) for n in epochs]

    nets, alone = made(), made()
    cnn.train_many(nets, X, Y, epochs=epochs, batch_size=50, verbose=0, n_threads=1)
    for net, n in zip(alone, epochs, strict=True):
        net.fit(X, Y, epochs=n, batch_size=50, verbose=0)
    assert alike(nets, alone)


def test_large_networks_run_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    nets, alone = twins()
    monkeypatch.setattr(many, "_LARGE_FLOPS", 0)
    made: list[int] = []
    run_many = cnn_core.engine.run_many

    def noted(pieces: list[Any], n_threads: int, stop: Array | None = None) -> Any:
        made.append(len(pieces))
        return run_many(pieces, n_threads, stop)

    monkeypatch.setattr(cnn_core.engine, "run_many", noted)
    cnn.train_many(nets, X, Y, epochs=2, batch_size=128, verbose=0, n_threads=2)
    for net in alone:
        net.fit(X, Y, epochs=2, batch_size=128, verbose=0)
    assert alike(nets, alone)
    assert made[0] == 5


def test_data_are_prepared_and_kept_once(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared, calls = data.prepare, []
    monkeypatch.setattr(data, "prepare", lambda *a: calls.append(a[0]) or prepared(*a))
    rows = np.arange(70)
    nets = [cnn.Network([cnn.Dense(3), cnn.Dense(1)], seed=i) for i in range(20)]
    cnn.train_many(nets, X, Y, epochs=1, verbose=0, rows=[rows] * 20, validation_data=(X[:20], Y[:20]))
    assert len(calls) == 2


# Callbacks ------------------------------------------------------------------------------------------------------------

def stopping() -> list[Callback]:
    return [cnn.EarlyStopping(patience=2), cnn.ReduceOnPlateau(patience=1)]


@pytest.mark.parametrize("form", ["for all", "lists", "function"])
def test_early_stopping_and_rates_of_each(form: str) -> None:
    nets, alone = twins()
    options: dict[str, Any] = {"epochs": 30, "batch_size": 16, "validation_split": 0.3, "verbose": 0}
    own = [stopping() for _ in nets]
    given = {"for all": stopping(), "lists": own, "function": own.__getitem__}[form]
    cnn.train_many(nets, X, Y, callbacks=given, **options)
    for net, hooks in zip(alone, (single := [stopping() for _ in nets]), strict=True):
        net.fit(X, Y, callbacks=hooks, **options)
    assert alike(nets, alone)
    assert len({len(net.history) for net in nets}) > 1
    if form != "for all":
        assert [hooks[0].stopped_epoch for hooks in own] == [hooks[0].stopped_epoch for hooks in single]


def test_callbacks_are_told_of_their_network_alone() -> None:
    nets, alone = twins()
    hooks, single, seen = [Recorder() for _ in nets], [Recorder() for _ in nets], []
    together = [[hook, lambda net, epoch, logs: seen.append((net, epoch))] for hook in hooks]
    cnn.train_many(nets, X, Y, epochs=3, verbose=0, callbacks=together)
    for net, hook in zip(alone, single, strict=True):
        net.fit(X, Y, epochs=3, verbose=0, callbacks=[hook])
    assert [hook.events for hook in hooks] == [hook.events for hook in single]
    assert {(id(net), epoch) for net, epoch in seen} == {(id(net), epoch) for net in nets for epoch in range(3)}


def test_a_function_is_for_all() -> None:
    nets, seen = networks(), []
    cnn.train_many(nets, X, Y, epochs=2, verbose=0, callbacks=[lambda net, epoch, logs: seen.append((id(net), epoch))])
    assert sorted(seen) == sorted((id(net), epoch) for net in nets for epoch in range(2))


@pytest.mark.parametrize("verbose", [1, 2])
def test_what_is_shown(verbose: int, capsys: pytest.CaptureFixture[str]) -> None:
    nets = networks()
    cnn.train_many(nets, X, Y, epochs=[4, 1, 1, 1, 1, 0], verbose=verbose)
    out, err = capsys.readouterr()
    if verbose == 1:
        assert "6/6 networks" in err
        assert "1.20k/1.20k" in err
        assert not out
    else:
        assert [line.partition(":")[0] for line in sorted(out.splitlines())] == [
            *(f"network 0, epoch {n}" for n in range(1, 5)), *(f"network {i}, epoch 1" for i in range(1, 5))
        ]  # fmt: skip


# Checkpoints of the whole set -----------------------------------------------------------------------------------------

class Break(Callback):
    """Ctrl-C in the middle of an epoch of one network."""

    needs = ("epoch_end",)

    def on_epoch_end(self, network: Any, epoch: int, logs: dict[str, float]) -> None:
        if epoch == 3:
            raise KeyboardInterrupt


@pytest.mark.parametrize("unit", ["epochs", "steps"])
def test_a_set_of_checkpoints_goes_on_to_the_same_bits(
    unit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "_AT_WORK", 2)  # one has ended by then, one is at work, and one has not begun
    folder = tmp_path / "set"

    def made() -> list[cnn.Network]:
        return [cnn.Network([cnn.Dense(n, "tanh"), cnn.Dropout(0.1), cnn.Dense(1)], seed=n) for n in (9, 5, 3)]

    def fit(nets: list[cnn.Network], last: Any, resume: Any = None) -> Any:
        def hooks(i: int) -> list[Any]:
            own = [cnn.EarlyStopping(patience=50), cnn.Checkpoint(folder / f"member-{i}", every=1, unit=unit)]
            return [*own, last] if i == 1 else own

        given = hooks if last else [cnn.EarlyStopping(patience=50), cnn.Checkpoint(folder, every=1, unit=unit)]
        return cnn.train_many(
            nets, X, Y, epochs=[2, 8, 5], batch_size=16, validation_split=0.2, verbose=0, callbacks=given, resume=resume
        )

    whole, nets = made(), made()
    for net, epochs in zip(whole, (2, 8, 5), strict=True):
        net.fit(X, Y, epochs=epochs, batch_size=16, validation_split=0.2, verbose=0,
                callbacks=[cnn.EarlyStopping(patience=50)])  # fmt: skip
    folder.mkdir()
    with pytest.raises(KeyboardInterrupt):
        fit(nets, Break())
    assert len(nets[1].history) == 4
    resumed = made()
    found = fit(resumed, None, folder)
    assert [len(history) for history in found] == [2, 8, 5]
    assert alike(resumed, whole)
    assert (folder / "networks.json").read_text() == '{"networks":3}'
    assert alike_again(fit, made, whole, folder)


def alike_again(fit: Any, made: Any, whole: list[cnn.Network], folder: Path) -> bool:
    """What has ended is resumed to where it is, and other numbers of networks are refused."""
    again = made()
    fit(again, None, folder)
    with pytest.raises(ValueError, match="holds the checkpoints of 3 networks, here are 2"):
        cnn.train_many(made()[:2], X, Y, verbose=0, resume=folder)
    with pytest.raises(ValueError, match="holds the checkpoints of 3 networks, here are 2"):
        cnn.train_many(made()[:2], X, Y, verbose=0, callbacks=[cnn.Checkpoint(folder)])
    (folder / "networks.json").write_text("3")
    with pytest.raises(cnn.ModelFormatError, match="does not say how many networks there are"):
        fit(made(), None, folder)
    return alike(again, whole)
