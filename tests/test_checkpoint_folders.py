"""Checkpoints in a folder with others: nothing of another training is removed, nothing forged is taken."""

from __future__ import annotations

import copy
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Break
from test_checkpoint import fit, network, numbers

import cnn
from cnn.files import container
from cnn.training import position, resume


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    fit(network(), [cnn.Checkpoint(folder)], epochs=2)
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("other", [
    network(seed=4), network("sgd"), network(),
    cnn.Network([cnn.Dense(9, "relu"), cnn.Dense(2)], loss="cross_entropy", seed=3),
])  # fmt: skip
def test_checkpoints_of_another_training_are_never_removed(other: cnn.Network, kept: Path, tmp_path) -> None:
    run = tmp_path / "run"
    shutil.copytree(kept, run)
    before = names(run)
    fit(other, epochs=8)  # now all steps in the folder are behind it
    with pytest.raises(ValueError, match=r"holds step-000000000036\.cnn of another fit"):
        fit(other, [cnn.Checkpoint(run)])
    assert names(run) == before


def test_a_copy_and_a_network_made_again_are_other_trainings(tmp_path) -> None:
    net = network()
    fit(net, [cnn.Checkpoint(tmp_path)], epochs=2)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        fit(other, epochs=1)
        with pytest.raises(ValueError, match="of another fit"):
            fit(other, [cnn.Checkpoint(tmp_path)])
    fit(net, [cnn.Checkpoint(tmp_path, keep=1)], epochs=1)  # its own training goes on
    assert names(tmp_path) == {"step-000000000054.cnn"}


def test_a_resumed_fit_removes_what_the_broken_one_wrote(tmp_path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(network(), [cnn.Checkpoint(tmp_path, keep=2), Break(3)])
    assert names(tmp_path) == {"step-000000000036.cnn", "step-000000000054.cnn"}
    net = network()
    fit(net, [cnn.Checkpoint(tmp_path, keep=2)], resume=tmp_path)
    assert names(tmp_path) == {"step-000000000072.cnn", "step-000000000090.cnn"}
    fit(net, [cnn.Checkpoint(tmp_path, keep=1)], epochs=1)
    assert names(tmp_path) == {"step-000000000108.cnn"}


def test_two_fits_that_write_to_one_folder(tmp_path) -> None:
    """Neither takes a file of the other's: the second to come is told."""

    class Meanwhile(cnn.Callback):
        def on_epoch_begin(self, network_: cnn.Network, epoch: int) -> None:
            if epoch == 1:
                for _, path in position.checkpoints(tmp_path):
                    path.unlink()
                fit(network(seed=9), [cnn.Checkpoint(tmp_path, keep=None)])

    with pytest.raises(ValueError, match="is of another fit, which writes to the same folder"):
        fit(network(), [Meanwhile(), cnn.Checkpoint(tmp_path, keep=1)])
    assert len(names(tmp_path)) == 5


def test_what_is_no_checkpoint_is_passed_over(kept: Path, tmp_path) -> None:
    for _, path in position.checkpoints(kept):
        shutil.copy(path, tmp_path)
    (tmp_path / "step-000000000099.cnn").mkdir()
    (tmp_path / "step-000000000098.cnn").symlink_to(tmp_path / "nowhere")
    expected = network()
    wanted = numbers(expected, fit(expected, epochs=3))
    net = network()
    assert numbers(net, fit(net, [cnn.Checkpoint(tmp_path, keep=1)], epochs=3, resume=tmp_path)) == wanted
    assert names(tmp_path) == {"step-000000000099.cnn", "step-000000000098.cnn", "step-000000000054.cnn"}


def test_a_file_that_may_not_be_read_is_passed_over(kept: Path, monkeypatch) -> None:
    real = resume.read

    def read(path: Path) -> Any:
        if path.name == "step-000000000036.cnn":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(resume, "read", read)
    net = network()
    with pytest.warns(UserWarning, match="an earlier checkpoint is looked for"):
        fit(net, resume=kept, epochs=2)
    assert net.step == 36


STATES = {
    "a name less": lambda state: state.pop("best"), "another name": lambda state: state.update(more=1),
    "null": lambda state: state.update(best=None), "a text": lambda state: state.update(best="x"),
    "nan": lambda state: state.update(best={"float": "nan"}), "a whole number": lambda state: state.update(best=1),
    "truth": lambda state: state.update(best_epoch=True),
    "a fraction": lambda state: state.update(best_epoch={"float": "0x1p-1"}),
    "too large": lambda state: state.update(best_epoch=2**63), "too low": lambda state: state.update(best_epoch=-2),
    "a stop": lambda state: state.update(stopped_epoch="x"), "no stop": lambda state: state.pop("stopped_epoch"),
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_forged_states_are_refused_before_anything_is_touched(name: str, tmp_path) -> None:
    """A state with names or values that a callback can't take."""
    fit(network(), [cnn.Checkpoint(tmp_path)], epochs=2)
    path = position.checkpoints(tmp_path)[-1][1]
    with container.read(path) as contents:
        payload = contents.payload
        tensors = {name: contents.read_tensor(name, spec.dtype) for name, spec in contents.specs.items()}
    STATES[name](payload["callbacks"][0]["state"])
    run = tmp_path / "forged"
    run.mkdir()
    container.write(run / path.name, "checkpoint", payload, tensors)
    net = network().build(5)
    before = net.flat.tobytes()
    with pytest.raises(cnn.ModelFormatError, match=r"EarlyStopping"):
        fit(net, resume=run)
    assert (net.flat.tobytes(), len(net.history)) == (before, 0)


@pytest.mark.parametrize("change", [
    {"done": 99}, {"epoch": 0, "first_epoch": 1}, {"first_record": 9}, {"report": (2, 3)}, {"report": (1, 2)},
    {"outputs": (160, 3)}, {"outputs": (0, 0)},
], ids=str)  # fmt: skip
def test_a_place_that_the_fit_never_had_is_refused(change: dict[str, Any], tmp_path) -> None:
    fit(network(), [cnn.Checkpoint(tmp_path)], epochs=2)
    path = position.checkpoints(tmp_path)[-1][1]
    with container.read(path) as contents:
        payload = contents.payload
        tensors = {name: contents.read_tensor(name, spec.dtype) for name, spec in contents.specs.items()}
    at = {"done": 1, **{name: value for name, value in change.items() if isinstance(value, int)}}
    payload["position"] |= at
    tensors["epoch.report"] = np.zeros(change.get("report", (at["done"], 3)))
    tensors["epoch.outputs"] = np.zeros(change.get("outputs", (160, 2)), np.float32)
    run = tmp_path / "forged"
    run.mkdir()
    container.write(run / path.name, "checkpoint", payload, tensors)
    net = network().build(5)
    before = net.flat.tobytes()
    with pytest.raises(cnn.ModelFormatError, match="does not hold the steps of its epoch"):
        fit(net, resume=run)
    assert (net.flat.tobytes(), len(net.history)) == (before, 0)


@pytest.mark.parametrize("training", ["", "x" * 16, 1, None, "0123456789abcdeF"])
def test_a_training_is_sixteen_digits(training: Any, kept: Path, tmp_path) -> None:
    path = position.checkpoints(kept)[-1][1]
    with container.read(path) as contents:
        payload = {**contents.payload, "position": {**contents.payload["position"], "training": training}}
        tensors = {name: contents.read_tensor(name, spec.dtype) for name, spec in contents.specs.items()}
    container.write(tmp_path / path.name, "checkpoint", payload, tensors)
    with pytest.raises(cnn.ModelFormatError, match="its training is no 16 digits"):
        cnn.load(tmp_path / path.name)


def test_states_of_other_callbacks_are_looked_at_as_well() -> None:
    net = network().build(5)
    plateau = {"best": 1.0, "best_epoch": 0, "since": 1}
    cnn.ReduceOnPlateau().check_state(plateau, net)
    stop = {"best": 1.0, "best_epoch": 0, "stopped_epoch": None}
    weights = {f"weights.{name}": value for name, value in net.get_weights().items()}
    cnn.EarlyStopping().check_state({**stop, **weights}, net)

    class Own(cnn.Callback):
        def state(self) -> dict[str, Any]:
            return {"total": 0, "last": None, "name": "", "array": np.zeros(3), "on": True}

    good = {"total": 0.5, "last": "any", "name": "x", "array": np.zeros(9), "on": False, "more": 1}
    Own().check_state(good, net)
    Own().check_state({**good, "array": None}, net)
    for hook, state in [
        (cnn.ReduceOnPlateau(), {**plateau, "since": -1}), (cnn.ReduceOnPlateau(), {"best": 1.0, "best_epoch": 0}),
        (cnn.EarlyStopping(), {**stop, **dict(list(weights.items())[1:])}),
        (cnn.EarlyStopping(), {**stop, **weights, "weights.layers.0.biases": np.zeros(3, np.float32)}),
        (cnn.EarlyStopping(), {**stop, **weights, "weights.layers.0.biases": np.zeros(8)}),
        (cnn.EarlyStopping(), {**stop, **weights, "weights.layers.9.biases": np.zeros(8)}),
        (cnn.SaveModel("x"), {**plateau}), (Own(), {**good, "total": "x"}), (Own(), {**good, "on": 1}),
        (Own(), {**good, "array": 1}), (Own(), {k: v for k, v in good.items() if k != "last"}),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=r"missing|must be|unknown"):
            hook.check_state(state, net)


def test_a_tensor_that_nobody_named_is_refused_by_load_as_well(kept: Path, tmp_path) -> None:
    path = position.checkpoints(kept)[-1][1]
    with container.read(path) as contents:
        payload = contents.payload
        tensors = {name: contents.read_tensor(name, spec.dtype) for name, spec in contents.specs.items()}
    container.write(tmp_path / path.name, "checkpoint", payload, {**tensors, "more": np.zeros(1)})
    with pytest.raises(cnn.ModelFormatError, match="unknown tensor more"):
        cnn.load(tmp_path / path.name)
