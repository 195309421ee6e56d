"""Fits for MLflow."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from cnn._common import checks
from cnn._common.elsewhere import told
from cnn._version import __version__
from cnn.callbacks.callback import Logs, Run
from cnn.callbacks.tracker import Tracker, package, parameters_of
from cnn.files.network import save_network
from cnn.runtime.state import NetworkState


class MLflow(Tracker):
    """Logs a fit to MLflow (extra `mlflow`): parameters, the numbers of each epoch, and the network that it leaves.

    It goes into the run that is active (`with mlflow.start_run(): ...`), and else into one of its own, which ends with
    the fit: "FINISHED" where all epochs were made or something stopped it, "KILLED" where it was broken off. The
    network is a model of MLflow's, which `mlflow.pyfunc.load_model(f"runs:/{run_id}/model")` loads.
    `cnn.mlflow.autolog()` logs all fits without a callback.

    Args:
        experiment: its name, made where it is not there; None takes MLflow's current one.
        run_name: of a run of its own; None lets MLflow name it.
        model: whether the network is logged when the fit ends.
        steps: loss and learning rate of every so many steps, 0 for none. Each step is a call into the core then.

    `run_id` is that of the last fit.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range. ImportError: in `fit`, before anything is
            touched, where MLflow is not there.

    >>> MLflow("houses", model=False).experiment
    'houses'
    """

    @told
    def __init__(
        self, experiment: str | None = None, run_name: str | None = None, model: bool = True, steps: int = 0
    ) -> None:
        super().__init__(steps)
        self.experiment, self.run_name = experiment, run_name
        self.model = checks.flag("model of MLflow", model)
        self.run_id: str | None = None
        self._client: Any = None
        self._own = False  # whether the run is this callback's
        self._last, self._done = 0, 0

    def check(self, run: Run) -> None:
        self.package()

    @staticmethod
    def package() -> Any:
        """The package, or an ImportError that names the extra."""
        return package("mlflow", "cnn.MLflow", "mlflow", "mlflow")

    def on_fit_begin(self, network: NetworkState, run: Run) -> None:
        self._client, active = self.package().MlflowClient(), self.package().active_run()
        self._own = active is None or self.member is not None
        if self._own:
            name = self.run_name if self.member is None else f"{self.run_name or 'network'}-{self.member}"
            above = {} if active is None else {"mlflow.parentRunId": active.info.run_id}
            made = self._client.create_run(self._experiment(), run_name=name, tags=above)
            self.run_id = made.info.run_id
        else:
            self.run_id = active.info.run_id
        self._last, self._done = run.epochs, run.first_epoch
        log(self._client, self.run_id, parameters=parameters_of(network, run))

    def _experiment(self) -> str:
        if self.experiment is None:
            return str(import_module("mlflow.tracking.fluent")._get_experiment_id())
        found = self._client.get_experiment_by_name(self.experiment)
        return str(self._client.create_experiment(self.experiment) if found is None else found.experiment_id)

    def step_done(self, step: int, logs: Logs) -> None:
        log(self._client, self.run_id, {step: logs})

    def on_epoch_end(self, network: NetworkState, epoch: int, logs: Logs) -> None:
        log(self._client, self.run_id, {epoch: logs})
        self._done = epoch + 1

    def on_fit_end(self, network: NetworkState) -> None:
        if self._client is None:
            return
        client, self._client = self._client, None
        if self.model:
            log_model(client, self.run_id, lambda path: save_network(network, path))
        if self._own:
            ended = network.stop_training or self._done >= self._last
            client.set_terminated(self.run_id, "FINISHED" if ended else "KILLED")


def log(
    client: Any, run_id: str | None, numbers: Mapping[int, Logs] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Logs the numbers of some steps or epochs, and parameters that the run does not have yet."""
    entities, now = import_module("mlflow.entities"), int(1000 * time.time())
    metrics = [entities.Metric(name, float(value), now, step)
               for step, logs in (numbers or {}).items() for name, value in logs.items()]  # fmt: skip
    for begin in range(0, len(metrics), 1000):  # no more at once
        client.log_batch(run_id, metrics=metrics[begin : begin + 1000])
    if parameters:
        there = client.get_run(run_id).data.params
        fresh = [entities.Param(name, str(value)) for name, value in parameters.items() if name not in there]
        client.log_batch(run_id, params=fresh)


def log_model(client: Any, run_id: str | None, save: Callable[[str], None]) -> None:
    """Logs what save(path) writes as the run's "model"; a pyfunc whose data is the file."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import warns of type hints of its own
        save(f"{folder}/model.cnn")
        import_module("mlflow.pyfunc").save_model(
            f"{folder}/model", loader_module="cnn.mlflow", data_path=f"{folder}/model.cnn",
            pip_requirements=[f"cnn-core=={__version__}"],
        )  # fmt: skip
        client.log_artifacts(run_id, f"{folder}/model", "model")
