"""Checkpoints: a fit that was broken off anywhere goes on to the same bits, and refuses to go on with another one."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import OPTIMIZERS, Break, run

import cnn
from cnn.files import container
from cnn.training import loop, position, resume

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 5))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)


def network(optimizer: Any = "adam", **changes: Any) -> cnn.Network:
    settings = {"loss": "cross_entropy", "optimizer": optimizer, "seed": 3, **changes}
    return cnn.Network([cnn.Dense(8, "tanh"), cnn.Dropout(0.2), cnn.Dense(2)], **settings)


def fit(net: cnn.Network, callbacks: Any = (), X: Any = X, Y: Any = Y, **changes: Any) -> cnn.History:
    settings = {"epochs": 5, "batch_size": 9, "validation_split": 0.2, "verbose": 0, **changes}
    return net.fit(X, Y, callbacks=[*callbacks, cnn.EarlyStopping(patience=3), cnn.ReduceOnPlateau(patience=1)],
                   **settings)  # fmt: skip


def numbers(net: cnn.Network, history: cnn.History) -> tuple[Any, ...]:
    values = {name: values for name, values in history.to_dict().items() if name != "seconds"}
    return net.flat.tobytes(), net.state.tobytes(), net.scalars.tobytes(), net.step, net.rate_factor, repr(values)


def whole(net: cnn.Network, **changes: Any) -> tuple[Any, ...]:
    return numbers(net, fit(net, **changes))


def broken_up(make: Any, folder: Path, breaks: list[int], every: Any = (3, "steps"), **changes: Any) -> tuple[Any, ...]:
    """Fits that are broken off after so many pieces, each going on from the one before; then one to the end."""
    for n in breaks:
        with pytest.raises(KeyboardInterrupt):
            fit(make(), [cnn.Checkpoint(folder, *every), Break(n)], resume=folder, **changes)
    net = make()
    return numbers(net, fit(net, [cnn.Checkpoint(folder, *every)], resume=folder, **changes))


@pytest.fixture
def small_pieces(monkeypatch) -> None:
    """A call into the core makes a step or a few, so that there are moments within an epoch."""
    monkeypatch.setattr(loop, "_PIECE_SECONDS", 2e-6)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_bits_are_those_of_a_fit_without_interruption(name: str, tmp_path) -> None:
    def make() -> cnn.Network:
        return network(OPTIMIZERS[name])

    assert broken_up(make, tmp_path / "run", [7, 25, 4]) == whole(make())


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("every", [(1, "epochs"), (2, "epochs"), (1, "steps"), (1e-9, "seconds")])
@pytest.mark.parametrize(("schedule", "changes"), [
    (cnn.schedules.Cosine(0.01), {}), (cnn.schedules.OneCycle(0.1), {"metrics": (), "validation_split": 0.3}),
    (cnn.schedules.WarmUp(0.01, 50), {"shuffle": False, "class_weight": "balanced"}),
])  # fmt: skip
def test_every_kind_of_checkpoint(every: Any, schedule: Any, changes: dict[str, Any], tmp_path) -> None:
    def make() -> cnn.Network:
        return network(cnn.SGD(schedule, momentum=0.9), dtype="float64")

    assert broken_up(make, tmp_path / "run", [30, 30], every, **changes) == whole(make(), **changes)


def test_a_second_fit_of_a_network_is_resumed_as_such(tmp_path) -> None:
    expected = network()
    fit(expected)
    wanted = whole(expected)
    net = network()
    fit(net)
    with pytest.raises(KeyboardInterrupt):
        fit(net, [cnn.Checkpoint(tmp_path / "run"), Break(3)])
    again = network()
    assert numbers(again, fit(again, [], resume=tmp_path / "run")) == wanted


def test_a_fit_that_ended_is_not_made_again(tmp_path) -> None:
    first = network(cnn.Adam(0.1))
    expected = numbers(first, fit(first, [cnn.Checkpoint(tmp_path / "run")], epochs=30))
    assert len(first.history) < 30  # stopped early, and the best weights were restored
    again = network(cnn.Adam(0.1))
    assert numbers(again, fit(again, [Break(0)], epochs=30, resume=tmp_path / "run")) == expected


def test_more_epochs_go_on(tmp_path) -> None:
    fit(network(cnn.Adam(0.001)), [cnn.Checkpoint(tmp_path / "run")], epochs=2)
    net = network(cnn.Adam(0.001))
    assert numbers(net, fit(net, [], epochs=4, resume=tmp_path / "run")) == whole(network(cnn.Adam(0.001)), epochs=4)


def test_drawn_seed_and_chosen_activation_come_from_the_checkpoint(tmp_path) -> None:
    def make() -> cnn.Network:
        return cnn.Network([cnn.Dense(4, "auto"), cnn.Dense(2)], loss="cross_entropy")

    first = make()
    with pytest.raises(KeyboardInterrupt):
        first.fit(X, Y, epochs=4, verbose=0, callbacks=[cnn.Checkpoint(tmp_path), Break(2)])
    second = make()
    second.fit(X, Y, epochs=4, verbose=0, resume=tmp_path)
    assert second.seed == first.seed
    assert second.descriptions == first.descriptions
    assert second.activation_choice == first.activation_choice != ""
    assert len(second.history) == 4


def test_csv_lines_are_not_written_twice(tmp_path) -> None:
    log = tmp_path / "log.csv"
    with pytest.raises(KeyboardInterrupt):
        fit(network(), [cnn.CSVLogger(log), cnn.Checkpoint(tmp_path / "run", every=3), Break(4)])
    with log.open("a") as file:
        file.write("4,0.1")  # cut short
    history = fit(network(), [cnn.CSVLogger(log)], resume=tmp_path / "run")
    rows = list(csv.DictReader(log.read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2, 3, 4]
    assert [float(row["loss"]) for row in rows] == history.loss


def test_progress_goes_on_where_it_was(tmp_path, capsys) -> None:
    fit(network(), [cnn.Checkpoint(tmp_path)], epochs=2)
    fit(network(), epochs=4, resume=tmp_path, verbose=1)
    assert "epoch 4/4" in capsys.readouterr().err


def test_the_newest_stay_and_are_models(tmp_path) -> None:
    fit(network(), [cnn.Checkpoint(tmp_path / "run", keep=2)])
    names = [path.name for _, path in position.checkpoints(tmp_path / "run")]
    assert names == ["step-000000000072.cnn", "step-000000000090.cnn"]
    net = cnn.load(tmp_path / "run" / names[-1])
    assert isinstance(net, cnn.Network)
    assert net.predict(X).shape == (200, 2)
    fit(network(), [cnn.Checkpoint(tmp_path / "all", keep=None)])
    assert len(list((tmp_path / "all").iterdir())) == 5


def test_a_damaged_checkpoint_is_passed_over(tmp_path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(network(), [cnn.Checkpoint(tmp_path / "run"), Break(4)])
    for i, (_, path) in enumerate(reversed(position.checkpoints(tmp_path / "run"))):
        path.write_bytes(path.read_bytes()[:-1])
        if i == 0:
            net = network()
            with pytest.warns(UserWarning, match="an earlier checkpoint is looked for"):
                assert numbers(net, fit(net, [], resume=tmp_path / "run")) == whole(network())
    with pytest.warns(UserWarning, match="looked for"), pytest.raises(cnn.ModelFormatError, match="cut short"):
        fit(network(), [], resume=tmp_path / "run")


def test_a_callback_of_ones_own_keeps_its_state(tmp_path) -> None:
    class Mean(cnn.Callback):
        total, array = 0.0, np.zeros(2)

        def on_epoch_end(self, network: cnn.Network, epoch: int, logs: Any) -> None:
            self.total += logs["loss"]
            self.array = self.array + 1

        def state(self) -> dict[str, Any]:
            return {"total": self.total, "none": None, "name": "x", "array": self.array}

        def restore(self, state: dict[str, Any]) -> None:
            assert (state["none"], state["name"]) == (None, "x")
            self.total, self.array = state["total"], state["array"]

    mean, part = Mean(), Mean()
    fit(network(), [mean])
    with pytest.raises(KeyboardInterrupt):
        fit(network(), [part, cnn.Checkpoint(tmp_path), Break(3)])
    part = Mean()
    fit(network(), [part], resume=tmp_path)
    assert (part.total, part.array.tolist()) == (mean.total, [5, 5])
    part.state = lambda: {"x": object()}  # type: ignore[method-assign]
    with pytest.raises(TypeError, match="state of a callback must be numbers"):
        fit(network(), [part, cnn.Checkpoint(tmp_path / "other")])


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    fit(network(), [cnn.Checkpoint(folder)], epochs=2)
    return folder


OTHER = X.copy()
OTHER[3, 2] = np.nextafter(np.float32(OTHER[3, 2]), np.float32(9))


@pytest.mark.parametrize(("net", "changes", "text"), [
    (network(), {"X": OTHER}, "made with other training data"),
    (network(), {"Y": 1 - Y}, "made with other training data"),
    (network(), {"sample_weight": np.ones(200)}, "made with other training data"),
    (network(), {"validation_split": 0, "validation_data": (OTHER[:40], Y[:40])}, "made with other training data"),
    (network(), {"batch_size": 10}, "made with batch_size=9, this fit has 10"),
    (network(), {"shuffle": False}, "made with shuffle=True, this fit has False"),
    (network(), {"metrics": ()}, "made with names="),
    (network(), {"callbacks": [cnn.EarlyStopping()]}, "made with the callbacks"),
    (network("sgd"), {}, "is of another network: optimizer is Adam"),
    (network(seed=4), {}, "is of another network: seed is 3 there, 4 here"),
    (network(dtype="float64"), {}, "is of another network: dtype is 'float32' there"),
    (network(), {"X": X[:, :4]}, "is of another network: n_inputs is 5 there, 4 here"),
    (cnn.Network([cnn.Dense(8, "relu"), cnn.Dropout(0.2), cnn.Dense(2)], loss="cross_entropy"), {}, "layers is "),
    (cnn.Network([cnn.Dense(9, "auto"), cnn.Dropout(0.2), cnn.Dense(2)], loss="cross_entropy"), {}, "layers is "),
])  # fmt: skip
def test_another_fit_is_refused(net: cnn.Network, changes: dict[str, Any], text: str, kept: Path) -> None:
    with pytest.raises(ValueError, match=text):
        fit(net, resume=kept, **changes)
    assert net.known_inputs is None
    assert len(net.history) == 0


def test_validation_data_of_other_rows_are_refused(tmp_path) -> None:
    given = {"validation_split": 0, "validation_data": (X[:50], Y[:50])}
    fit(network(), [cnn.Checkpoint(tmp_path)], epochs=1, **given)
    with pytest.raises(ValueError, match="made with other validation data"):
        fit(network(), resume=tmp_path, **{**given, "validation_data": (X[1:51], Y[:50])})


def test_other_machines_are_told_of(kept: Path, tmp_path) -> None:
    path = position.checkpoints(kept)[-1][1]
    with container.read(path) as contents:
        payload = {**contents.payload, "isa": "sse9"}
        tensors = {name: contents.read_tensor(name, spec.dtype) for name, spec in contents.specs.items()}
    container.write(tmp_path / path.name, "checkpoint", payload, tensors)
    with pytest.warns(UserWarning, match="instruction set 'sse9'.*not to the same bits"):
        fit(network(), resume=tmp_path, epochs=3)


@pytest.mark.parametrize(("change", "text"), [
    ({"position": {}}, "'first_epoch' is missing"), ({"step": -1}, "at which step"),
    ({"history": [1]}, "of its history are not"),
    ({"rate_factor": None}, "at which step and rate"), ({"isa": 1}, "say where the fit stood"),
    ({"more": 1}, "unknown field"),
    ({"callbacks": 1}, "does not list callbacks"), ({"history": []}, "unknown tensor history.0"),
    ({"callbacks": [{"class": "A", "state": {"a": {"float": "x"}}, "tensors": []}]}, "a number that is none"),
    ({"callbacks": [{"class": "A", "state": {}, "tensors": ["w"]}]}, "the state of A is not whole"),
    ({"callbacks": [{"class": 1, "state": {}, "tensors": []}]}, "the states of callbacks"),
    ({"callbacks": [{"class": "A", "state": {"a": [1]}, "tensors": []}]}, "has a value that is none"),
    ({"rate_factor": -0.5}, "its factor on the rate is -0.5"),
])  # fmt: skip
def test_forged_checkpoints_are_refused(change: dict[str, Any], text: str, kept: Path, tmp_path) -> None:
    path = position.checkpoints(kept)[-1][1]
    with container.read(path) as contents:
        payload = {**contents.payload, **change}
        tensors = {name: contents.read_tensor(name, spec.dtype) for name, spec in contents.specs.items()}
    container.write(tmp_path / path.name, "checkpoint", payload, tensors)
    with pytest.raises(cnn.ModelFormatError, match=text):
        resume.read(tmp_path / path.name)


def test_folders_that_do_not_serve(kept: Path, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no checkpoint in"):
        fit(network(), resume=tmp_path)
    with pytest.raises(TypeError, match="resume must be the folder of a"):
        fit(network(), resume=True)
    with pytest.raises(ValueError, match=r"holds step-000000000036\.cnn of another fit; go on from it with"):
        fit(network(), [cnn.Checkpoint(kept)])
    with pytest.raises(ValueError, match=r"Checkpoint keeps what Network\.fit does"):  # with no word of a job
        cnn.Checkpoint(tmp_path / "run").check(cnn.callbacks.Run(0, 1, 1, 1, ()))
    (tmp_path / "file").touch()
    for folder in ("file", "none/run"):
        with pytest.raises(ValueError, match=r"Checkpoint can't write to .*: it is no folder"):
            fit(network(), [cnn.Checkpoint(tmp_path / folder)])
    for arguments, kind, text in [
        ({"unit": "hours"}, ValueError, "unit of Checkpoint must be one of epochs"),
        ({"every": 0}, ValueError, "every must be an integer >= 1"), ({"every": 1.5}, TypeError, "every must be"),
        ({"keep": 0}, ValueError, "keep must be an integer"),
        ({"every": 0, "unit": "seconds"}, ValueError, "every must be in"),
    ]:  # fmt: skip
        with pytest.raises(kind, match=text):
            cnn.Checkpoint("run", **arguments)


def test_a_fresh_process_goes_on_to_the_same_bits(tmp_path) -> None:
    program = f"""
        import numpy as np, cnn
        X = np.random.default_rng(0).normal(size=(300, 4))
        net = cnn.Network([cnn.Dense(8, "relu"), cnn.Dropout(0.1), cnn.Dense(1)], seed=1)
        run = {str(tmp_path)!r}
        class Break(cnn.Callback):
            def on_epoch_begin(self, network, epoch):
                if BREAK and epoch == 3: raise KeyboardInterrupt
        try:
            net.fit(X, X[:, 0], epochs=6, verbose=0, callbacks=[cnn.Checkpoint(run), Break()], resume=run)
        except KeyboardInterrupt: pass
        print(net.step, hash(net.flat.tobytes()))
    """
    first = run(program.replace("BREAK", "True"), PYTHONHASHSEED="0")
    second = run(program.replace("BREAK", "False"), PYTHONHASHSEED="0")
    for path in tmp_path.iterdir():
        path.unlink()
    assert first.startswith("9 ")
    assert second == run(program.replace("BREAK", "False"), PYTHONHASHSEED="0")
