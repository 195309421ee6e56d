"""`max_seconds`: a budget of time, with a clock of its own."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

pytest.importorskip("sklearn", minversion="1.9")
from sklearn.exceptions import ConvergenceWarning
from test_estimators import X, Y

import cnn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Clock(cnn.Callback):
    """A clock that only an epoch moves on: by the seconds of that epoch."""

    def __init__(self, seconds: list[float]) -> None:
        self.seconds, self.now = list(seconds), 0.0

    def perf_counter(self) -> float:
        return self.now

    def on_epoch_begin(self, network: cnn.Network, epoch: int) -> None:
        self.now += self.seconds.pop(0)


def with_a_budget(monkeypatch: pytest.MonkeyPatch, seconds: list[float], budget: float | None, **options: Any) -> Any:
    clock = Clock(seconds)
    monkeypatch.setattr("cnn.sklearn.epochs.time", clock)
    settings = {"max_iter": 40, "tol": 0, "learning_rate_init": 0.01, **options}
    est = cnn.MLPRegressor(hidden_layer_sizes=5, random_state=0, callbacks=[clock], max_seconds=budget, **settings)
    return est.fit(X, Y)


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("second", "budget", "epochs"), [
    (1.0, 10.0, 10), (1.0, 10.9, 10), (0.25, 3.1, 12), (9.0, 1.0, 1), (1.0, 1e308, 40),
])  # fmt: skip
def test_a_budget_is_spent_in_whole_epochs_and_a_schedule_ends_with_them(
    monkeypatch: pytest.MonkeyPatch, second: float, budget: float, epochs: int
) -> None:
    est = with_a_budget(monkeypatch, [second] * 40, budget, learning_rate="cosine")
    assert est.n_iter_ == epochs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        planned = with_a_budget(monkeypatch, [second] * 40, None, learning_rate="cosine", max_iter=epochs)
    # Only the first epoch is made before there is a pace.
    assert est.history_.learning_rate[1:] == planned.history_.learning_rate[1:]
    assert epochs == 1 or est.history_.learning_rate[-1] < 0.01 / 50


def test_a_budget_follows_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    slower = with_a_budget(monkeypatch, [1.0] * 4 + [2.0] * 36, 20.0, learning_rate="one_cycle")
    assert slower.n_iter_ == 12  # 4 + 8 * 2
    faster = with_a_budget(monkeypatch, [2.0] * 4 + [1.0] * 36, 20.0, learning_rate="one_cycle")
    assert faster.n_iter_ == 15  # which took 19; at their mean pace a sixteenth would end at 20.3
    for est in (slower, faster):
        assert est.history_.learning_rate[-1] < 1e-5


@pytest.mark.filterwarnings("default::sklearn.exceptions.ConvergenceWarning")
def test_a_budget_that_is_not_used_up_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.warns(ConvergenceWarning):
        est = with_a_budget(monkeypatch, [1.0] * 8, 1e6, learning_rate="cosine", max_iter=8)
    with pytest.warns(ConvergenceWarning):
        plain = with_a_budget(monkeypatch, [1.0] * 8, None, learning_rate="cosine", max_iter=8)
    assert est.loss_curve_ == plain.loss_curve_
    assert est.n_iter_ == 8
