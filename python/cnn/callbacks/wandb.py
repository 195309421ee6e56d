"""Fits for Weights & Biases."""

from __future__ import annotations

import tempfile
from typing import Any

from cnn._common import checks
from cnn.callbacks.callback import Logs, Run
from cnn.callbacks.tracker import Tracker, package, parameters_of
from cnn.files.network import save_network
from cnn.runtime.state import NetworkState


class WandB(Tracker):
    """Logs a fit to Weights & Biases (extra `wandb`): parameters as its config, and the numbers of each epoch.

    It goes into the run that is active (`wandb.init(...)`), and else into one of its own, which ends with the fit.
    Numbers of epochs are over "epoch", those of steps over "step". `WANDB_MODE=offline` keeps all on this machine.

    Args:
        project: None takes W&B's default.
        model: whether the network that the fit leaves is logged, as an artifact of type "model".
        steps: loss and learning rate of every so many steps, 0 for none. Each step is a call into the core then.
        settings: what `wandb.init` takes besides: name="first", tags=[...], group="...", mode="offline", ...

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range. ImportError: in `fit`, before anything is
            touched, where wandb is not there.

    >>> WandB("houses", name="first").settings
    {'name': 'first'}
    """

    def __init__(self, project: str | None = None, *, model: bool = False, steps: int = 0, **settings: Any) -> None:
        super().__init__(steps)
        self.project, self.settings = project, settings
        self.model = checks.flag("model of WandB", model)
        self._run: Any = None
        self._own = False

    def check(self, run: Run) -> None:
        self.package()

    @staticmethod
    def package() -> Any:
        """The package, or an ImportError that names the extra."""
        return package("wandb", "cnn.WandB", "wandb", "wandb")

    def on_fit_begin(self, network: NetworkState, run: Run) -> None:
        wandb = self.package()
        self._own = wandb.run is None or self.member is not None
        if self._own:
            more = {} if self.member is None else {"reinit": "create_new"}
            self._run = wandb.init(project=self.project, **more, **self.settings)
        else:
            self._run = wandb.run
        self._run.config.update(parameters_of(network, run), allow_val_change=True)
        for over, names in (("epoch", run.names), ("step", ("batch_loss", "batch_learning_rate"))):
            self._run.define_metric(over, hidden=True)
            for name in names:
                self._run.define_metric(name, step_metric=over)

    def step_done(self, step: int, logs: Logs) -> None:
        self._run.log({"step": step, **logs})

    def on_epoch_end(self, network: NetworkState, epoch: int, logs: Logs) -> None:
        self._run.log({"epoch": epoch, **logs})

    def on_fit_end(self, network: NetworkState) -> None:
        if self._run is None:
            return
        run, self._run = self._run, None
        if self.model:
            with tempfile.TemporaryDirectory() as folder:
                save_network(network, f"{folder}/model.cnn")
                artifact = self.package().Artifact(f"network-{run.id}", "model")
                artifact.add_file(f"{folder}/model.cnn", policy="mutable")
                run.log_artifact(artifact)
                if not run.offline:
                    artifact.wait()
        if self._own:
            run.finish()
