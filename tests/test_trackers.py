"""TensorBoard, MLflow and Weights & Biases are told of a fit by their own packages; what they kept is read back."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn
from cnn.callbacks.tracker import plain

RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 4))
Y = X[:, 0] * X[:, 1]
FIT: dict[str, Any] = {"epochs": 3, "batch_size": 20, "validation_split": 0.2, "verbose": 0}  # four steps an epoch


def network(seed: int = 0) -> cnn.Network:
    return cnn.Network([cnn.Dense(8, "relu"), cnn.Dense(1)], optimizer=cnn.Adam(0.01), seed=seed)


def numbers(history: cnn.History) -> dict[str, list[float]]:
    return {name: history[name] for name in history.names}


@pytest.mark.parametrize(("make", "text"), [
    (lambda: cnn.TensorBoard(steps=-1), "steps of TensorBoard must be an integer >= 0, got -1"),
    (lambda: cnn.TensorBoard(histograms=-1), "histograms of TensorBoard must be an integer >= 0, got -1"),
    (lambda: cnn.MLflow(model="yes"), "model of MLflow must be True or False, got 'yes'"),
    (lambda: cnn.WandB(model=1), "model of WandB must be True or False, got 1"),
    (lambda: cnn.mlflow.autolog(log_models=1), "log_models must be True or False, got 1"),
    (lambda: cnn.mlflow.autolog(disable=None), "disable must be True or False, got None"),
])  # fmt: skip
def test_wrong_arguments(make: Any, text: str) -> None:
    with pytest.raises((TypeError, ValueError), match=text):
        make()


@pytest.mark.parametrize(("name", "module", "install"), [
    ("TensorBoard", "tensorboardX", "tensorboardX"), ("MLflow", "mlflow", "mlflow"), ("WandB", "wandb", "wandb"),
])  # fmt: skip
def test_a_package_that_is_not_there(name: str, module: str, install: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    net, extra = network(), name.lower()
    with pytest.raises(ImportError, match=rf"cnn.{name} needs {install} \(extra '{extra}'\): pip install {install}"):
        net.fit(X, Y, callbacks=[getattr(cnn, name)()], **FIT)
    assert net.known_inputs is None
    if name == "MLflow":
        with pytest.raises(ImportError, match="needs mlflow"):
            cnn.mlflow.autolog()


def test_long_texts_are_cut() -> None:
    assert plain("x" * 501) == "x" * 497 + "..."
    assert [plain(value) for value in (1, 0.5, None, True)] == [1, 0.5, None, True]
    assert plain(cnn.schedules.Cosine(0.1)) == "Cosine(learning_rate=0.1, floor=0.0)"


# TensorBoard ----------------------------------------------------------------------------------------------------------

def events(folder: Path) -> Iterator[Any]:
    """The events of all files of a folder, in their order: length, its checksum, an event, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.glob("events.out.tfevents.*"), key=lambda path: path.stat().st_mtime_ns):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack_from("<Q", data)
            yield Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for event in events(folder):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    net, logs = network(), tmp_path / "logs"
    history = net.fit(X, Y, callbacks=[cnn.TensorBoard(logs, histograms=2, steps=3)], **FIT)
    train, held_out, steps = (scalars(logs / name) for name in ("train", "validation", "steps"))
    assert set(train) == {"epoch_loss", "epoch_rmse", "epoch_learning_rate", "epoch_seconds"}
    assert set(held_out) == {"epoch_loss", "epoch_rmse"}
    for name, curve in (("loss", train["epoch_loss"]), ("val_rmse", held_out["epoch_rmse"])):
        assert [step for step, _ in curve] == [0, 1, 2]
        np.testing.assert_allclose([value for _, value in curve], history[name], rtol=1e-6)
    assert [step for step, _ in steps["batch_loss"]] == [3, 6, 9, 12]
    assert {value for _, value in steps["batch_learning_rate"]} == {float(np.float32(0.01))}
    written = [(event.step, value) for event in events(logs / "train") for value in event.summary.value]
    histograms = {(step, value.tag): value.histo for step, value in written if value.HasField("histo")}
    assert set(histograms) == {(1, name) for name in net.parameters}
    assert histograms[1, "layers.0.weights"].num == 32
    text = next(value.tensor.string_val[0].decode() for _, value in written if value.tag.startswith("fit"))
    assert "| optimizer.learning_rate | 0.01 |" in text
    assert "| batch_size | 20 |" in text


def test_tensorboard_goes_on(tmp_path: Path) -> None:
    """One that is resumed tells TensorBoard from where on it makes epochs again (a session's start)."""
    pytest.importorskip("tensorboardX")
    board, run = cnn.TensorBoard(tmp_path / "logs"), tmp_path / "run"

    def stop(network: cnn.Network, epoch: int, logs: Any) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    net = network()
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, Y, callbacks=[board, stop, cnn.Checkpoint(run)], **{**FIT, "epochs": 4})
    history = network().fit(X, Y, callbacks=[board, cnn.Checkpoint(run)], resume=run, **{**FIT, "epochs": 4})
    assert [step for step, _ in scalars(tmp_path / "logs" / "train")["epoch_loss"]] == [0, 1, 2, 2, 3]
    assert 2 in [event.step for event in events(tmp_path / "logs" / "train") if event.HasField("session_log")]
    assert len(history) == 4


def test_networks_side_by_side_have_folders_of_their_own(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    histories = cnn.train_many([network(), network(1)], X, Y, callbacks=[cnn.TensorBoard(tmp_path)], **FIT)
    for i, history in enumerate(histories):
        curve = scalars(tmp_path / f"member-{i}" / "train")["epoch_loss"]
        np.testing.assert_allclose([value for _, value in curve], history.loss, rtol=1e-6)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"TensorBoard can't write to .*file: it is no folder"):
        network().fit(X, Y, callbacks=[cnn.TensorBoard(tmp_path / "file")], **FIT)


# MLflow ---------------------------------------------------------------------------------------------------------------

@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """MLflow with a folder of its own; the file store needs no database."""
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    yield mlflow.MlflowClient()
    cnn.mlflow.autolog(disable=True)
    mlflow.set_tracking_uri(before)


def curve(client: Any, run_id: str, name: str) -> list[float]:
    found = sorted(client.get_metric_history(run_id, name), key=lambda metric: metric.step)
    assert [metric.step for metric in found] == list(range(len(found)))
    return [metric.value for metric in found]


def runs(client: Any, experiment: str = "0") -> list[Any]:
    return list(client.search_runs([experiment]))


def loaded(run_id: str) -> Any:
    mlflow = pytest.importorskip("mlflow")
    return mlflow.pyfunc.load_model(f"runs:/{run_id}/model")


def test_mlflow(client: Any) -> None:
    hook, net = cnn.MLflow("houses", "first", steps=5), network()
    history = net.fit(X, Y, callbacks=[hook], **FIT)
    assert hook.run_id is not None
    run = client.get_run(hook.run_id)
    assert client.get_experiment(run.info.experiment_id).name == "houses"
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    for name, values in numbers(history).items():
        assert curve(client, hook.run_id, name) == values
    assert [metric.step for metric in client.get_metric_history(hook.run_id, "batch_loss")] == [5, 10]
    parameters = run.data.params
    assert parameters["layers"] == "Dense(8, 'relu'), Dense(1, 'identity')"
    assert (parameters["optimizer"], parameters["optimizer.learning_rate"], parameters["seed"]) == ("Adam", "0.01", "0")
    assert (parameters["batch_size"], parameters["rows"], parameters["epochs"], parameters["parameters"]) == (
        "20", "80", "3", "49",
    )  # fmt: skip
    np.testing.assert_array_equal(loaded(hook.run_id).predict(X), net.predict(X))
    assert len(net.fit(X, Y, callbacks=[hook], **FIT)) == 3  # again: a run of its own
    assert len(runs(client, run.info.experiment_id)) == 2


def test_mlflow_in_a_run_that_is_active(client: Any) -> None:
    mlflow = pytest.importorskip("mlflow")
    hook = cnn.MLflow(model=False)
    with mlflow.start_run() as active:
        mlflow.log_param("seed", "mine")  # which stays
        history = network().fit(X, Y, callbacks=[hook], **FIT)
        assert client.get_run(active.info.run_id).info.status == "RUNNING"
    assert hook.run_id == active.info.run_id
    assert curve(client, hook.run_id, "val_loss") == history.val_loss
    assert client.get_run(hook.run_id).data.params["seed"] == "mine"
    assert client.list_artifacts(hook.run_id) == []


def test_a_fit_that_is_broken_off(client: Any) -> None:
    def stop(network: cnn.Network, epoch: int, logs: Any) -> None:
        raise KeyboardInterrupt

    hook = cnn.MLflow(model=False)
    with pytest.raises(KeyboardInterrupt):
        network().fit(X, Y, callbacks=[hook, stop], **FIT)
    assert client.get_run(hook.run_id).info.status == "KILLED"


def test_mlflow_of_several_networks(client: Any) -> None:
    histories = cnn.train_many([network(), network(1)], X, Y, callbacks=[cnn.MLflow(model=False)], **FIT)
    found = {run.info.run_name: run.info.run_id for run in runs(client)}
    assert set(found) == {"network-0", "network-1"}
    for i, history in enumerate(histories):
        assert curve(client, found[f"network-{i}"], "loss") == history.loss


def test_autolog(client: Any) -> None:
    pytest.importorskip("sklearn")
    pd = pytest.importorskip("pandas")
    cnn.mlflow.autolog()
    cnn.mlflow.autolog()  # once is enough
    net = network()
    history = net.fit(X, Y, **FIT)
    est = cnn.MLPRegressor(hidden_layer_sizes=(8,), max_iter=4, random_state=0, tol=0.0)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        est.fit(X, Y)
    table = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "y": Y})
    model = cnn.TableModel("y", epochs=3, members=2, hidden=(4,), seed=0).fit(table, verbose=0)
    cnn.TableModel("y", epochs=2, members=1, hidden=(4,), seed=0).fit(table, verbose=0)  # by the fit of a network
    cnn.mlflow.autolog(disable=True)
    network().fit(X, Y, **FIT)  # of this nobody is told
    found = sorted(runs(client), key=lambda run: run.info.start_time)
    assert [run.info.status for run in found] == ["FINISHED"] * 4
    of_net, of_est, of_model, of_one = (run.info.run_id for run in found)
    assert len(curve(client, of_one, "loss")) == 2
    assert curve(client, of_net, "val_loss") == history.val_loss
    assert found[0].data.params["epochs"] == "3"
    assert found[0].data.params["layers"].startswith("Dense(8")
    np.testing.assert_array_equal(loaded(of_net).predict(X), net.predict(X))
    assert curve(client, of_est, "loss") == est.loss_curve_
    assert found[1].data.params["max_iter"] == "4"
    np.testing.assert_array_equal(loaded(of_est).predict(X), est.predict(X))
    assert [curve(client, of_model, f"member_{i}/loss") for i in range(2)] == [h.loss for h in model.histories]
    assert found[2].data.metrics["validation_rmse"] == model.scores["validation"]["rmse"]
    np.testing.assert_array_equal(loaded(of_model).predict(table), model.predict(table))


def test_autolog_leaves_a_fit_as_it_is(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bits, its errors, and its result where MLflow fails."""
    mlflow = pytest.importorskip("mlflow")
    plain_net, net = network(), network()
    plain_net.fit(X, Y, **FIT)
    cnn.mlflow.autolog(log_models=False)
    with mlflow.start_run() as active:
        net.fit(X, Y, **FIT)
    assert net.flat.tobytes() == plain_net.flat.tobytes()
    assert client.list_artifacts(active.info.run_id) == []
    with pytest.raises(ValueError, match="epochs must be an integer >= 0, got -1"):
        net.fit(X, Y, epochs=-1)
    assert [run.info.status for run in runs(client)].count("FAILED") == 1

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("the server is asleep")

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", fail)
    with pytest.warns(UserWarning, match="MLflow could not be told of a fit: the server is asleep"):
        assert len(net.fit(X, Y, **FIT)) == 3


# Weights & Biases -----------------------------------------------------------------------------------------------------

def records(path: Path) -> Iterator[Any]:
    """Of a run that was kept offline: 7 bytes, then records in blocks of 32 KiB (LevelDB's log)."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last of several parts
            yield Record.FromString(whole)
            whole = b""


def test_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own: what it starts ends with it."""
    pytest.importorskip("wandb")
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import json, cnn, wandb
from test_trackers import X, Y, FIT, network, numbers
def settings():
    return {{"mode": "offline", "dir": {str(tmp_path)!r}, "settings": wandb.Settings(silent=True, console="off")}}
net = network()
history = net.fit(X, Y, callbacks=[cnn.WandB("houses", model=True, steps=5, name="first", **settings())], **FIT)
assert wandb.run is None
with wandb.init(project="mine", **settings()) as run:
    network().fit(X, Y, callbacks=[cnn.WandB()], **FIT)
    assert wandb.run is run
print(json.dumps(numbers(history)))
"""
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kept = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime_ns)
    first, second = (list(records(path)) for path in kept)
    rows = [{(item.key or item.nested_key[0]): json.loads(item.value_json) for item in record.history.item}
            for record in first if record.HasField("history")]  # fmt: skip
    history = json.loads(done.stdout.splitlines()[-1])
    of_epochs = [row for row in rows if "epoch" in row]
    assert [row["epoch"] for row in of_epochs] == [0, 1, 2]
    for name, values in history.items():
        assert [row[name] for row in of_epochs] == values
    assert [row["step"] for row in rows if "batch_loss" in row] == [5, 10]
    config = {update.key or update.nested_key[0]: json.loads(update.value_json)
              for record in first for part in (record.config, record.run.config) for update in part.update}  # fmt: skip
    assert (config["optimizer"], config["optimizer.learning_rate"], config["batch_size"]) == ("Adam", 0.01, 20)
    assert next(record.run.project for record in first if record.HasField("run")) == "houses"
    assert any(record.request.HasField("log_artifact") or record.HasField("artifact") for record in first)
    assert sum(record.HasField("history") for record in second) == 3
