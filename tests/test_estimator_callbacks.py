"""Callbacks of estimators are called alike, whichever solver trains the network."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.9")

import cnn

rng = np.random.default_rng(0)
X = rng.normal(size=(507, 6))
Y = X[:, 0] * 2 + np.sin(X[:, 1])
SETTINGS: dict[str, Any] = {"hidden_layer_sizes": (10, 7), "random_state": 3, "alpha": 0.1}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Recorder(cnn.Callback):
    """Notes every call, and the weights after each epoch."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.weights: list[Any] = []

    def check(self, run: cnn.callbacks.Run) -> None:
        self.run = run
        self.calls.append("check")

    def on_fit_begin(self, network: cnn.Network, run: cnn.callbacks.Run) -> None:
        self.calls.append("fit begins")

    def on_epoch_begin(self, network: cnn.Network, epoch: int) -> None:
        self.calls.append(f"{epoch} begins")

    def on_epoch_end(self, network: cnn.Network, epoch: int, logs: dict[str, float]) -> None:
        self.calls.append(f"{epoch} ends")
        self.logs = logs
        self.weights.append(network.flat.copy())

    def on_fit_end(self, network: cnn.Network) -> None:
        self.calls.append("fit ends")


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks_of_every_solver(solver: str, tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    recorder, path = Recorder(), tmp_path / "log.csv"
    settings = {**SETTINGS, "solver": solver, "max_iter": 3}
    callbacks = [recorder, cnn.callbacks.Progress(), cnn.CSVLogger(path)]
    est = cnn.MLPRegressor(callbacks=callbacks, **settings).fit(X, Y, X_val=X[:100], y_val=Y[:100])
    epochs = [f"{epoch} {what}" for epoch in range(3) for what in ("begins", "ends")]
    assert recorder.calls == ["check", "fit begins", *epochs, "fit ends"]
    assert (recorder.run.first_epoch, recorder.run.epochs, recorder.run.rows) == (0, 3, len(X))
    assert recorder.run.names == tuple(recorder.logs)
    lines = path.read_text().splitlines()
    assert lines[0] == ",".join(["epoch", *recorder.logs])
    assert [float(line.split(",")[1]) for line in lines[1:]] == est.loss_curve_
    shown = capsys.readouterr().err
    assert "epoch 3/3" in shown
    assert "100%" in shown


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_early_stopping_of_every_solver(solver: str) -> None:
    """The loss of rows that have nothing to do with the others goes up, and the best weights come back."""
    recorder = Recorder()
    stopping = cnn.EarlyStopping("val_loss", patience=4, restore_best=True)
    settings = {**SETTINGS, "alpha": 0.0, "solver": solver, "max_iter": 100, "restore_best": False, "tol": 0.0}
    est = cnn.MLPRegressor(callbacks=[recorder, stopping], **settings)
    est.fit(X, Y, X_val=X[:100], y_val=-Y[:100])
    assert stopping.stopped_epoch == stopping.best_epoch + 4 == len(recorder.weights) - 1 < 99
    assert stopping.best_epoch == int(np.argmin(est.history_.val_loss))
    np.testing.assert_array_equal(est.network_.flat, recorder.weights[stopping.best_epoch])
    with pytest.raises(ValueError, match="EarlyStopping watches 'val_los', which this fit does not have"):
        cnn.MLPRegressor(callbacks=[cnn.EarlyStopping("val_los")], **settings).fit(X, Y)


@pytest.mark.parametrize("restore", ["auto", False])
def test_an_interrupted_search_leaves_its_iterations(restore: Any) -> None:
    """As many as the curve has, and the weights of the best one on a validation set or of the last one."""
    seen: list[np.ndarray] = []

    def stop(network: cnn.Network, epoch: int, logs: dict[str, float]) -> None:
        seen.append(network.flat.copy())
        if epoch == 20:
            raise KeyboardInterrupt

    rng = np.random.default_rng(5)
    data = rng.normal(size=(60, 20)), rng.normal(size=60)
    held_out = {"X_val": rng.normal(size=(60, 20)), "y_val": rng.normal(size=60)}
    est = cnn.MLPRegressor(solver="lbfgs", max_iter=500, random_state=0, callbacks=[stop], restore_best=restore)
    with pytest.raises(KeyboardInterrupt):
        est.fit(*data, **held_out)
    assert (est.n_iter_, len(est.loss_curve_), len(est.validation_scores_)) == (21, 21, 21)
    assert est.loss_ == est.loss_curve_[-1] == est.best_loss_
    best = int(np.argmax(est.validation_scores_)) if restore == "auto" else 20
    np.testing.assert_array_equal(est.network_.flat, seen[best])


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_an_interrupted_scorer_leaves_curves_of_one_length(solver: str, error: type[BaseException]) -> None:
    """The epoch whose score was not to be had is in none of them, and the fit can go on."""
    calls: list[int] = []

    def scorer(est: Any, X: Any, y: Any) -> float:
        calls.append(1)
        if len(calls) == 4:
            raise error
        return -float(len(calls))

    est = cnn.MLPRegressor(solver=solver, max_iter=2, warm_start=True, **SETTINGS).fit(X, Y)
    est.set_params(scoring=scorer, max_iter=6)
    fit = partial(est.fit, X, Y, X_val=X[:100], y_val=Y[:100])
    if solver == "adam" and error is KeyboardInterrupt:  # scikit-learn's way
        with pytest.warns(UserWarning, match="Training interrupted by user"):
            fit()
    else:
        with pytest.raises(error):
            fit()
    assert len(est.loss_curve_) == len(est.history_) == 2 + 3
    assert est.n_iter_ == len(est.validation_scores_) == 3
    assert est.loss_ == est.loss_curve_[-1] == est.history_.loss[-1]
    assert est.best_validation_score_ == -1.0
    fit()
    assert len(est.loss_curve_) == len(est.history_) == len(est.validation_scores_) + 2
