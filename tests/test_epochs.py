"""Many epochs in one call into the core: what they leave is what epochs one by one do, and who is told of what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference
from helpers import LOSSES, same_bits, targets
from scipy import sparse

import cnn
import cnn_core
from cnn import metrics
from cnn.callbacks import Callback, Progress
from cnn.runtime import data
from cnn.runtime.evaluation import Scores
from cnn.runtime.history import History
from cnn.training.calls import Piece
from cnn.training.events import needed

Array = np.ndarray[Any, Any]


def rows(loss: str, n: int = 100, k: int = 3) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 10)), targets(loss, n, k, rng)


def network(loss: str = "mse", k: int = 3, **options: Any) -> cnn.Network:
    layers = [cnn.Dense(5, "tanh", l2=1e-3), cnn.Dropout(0.1), cnn.Dense(reference.n_outputs(loss, k))]
    return cnn.Network(layers, loss=loss, seed=1, **options)


def nothing(net: cnn.Network, epoch: int, logs: dict[str, float]) -> None:
    """Needs the end of every epoch."""


def numbers(history: cnn.History) -> dict[str, list[float]]:
    return {name: values for name, values in history.to_dict().items() if name != "seconds"}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The minibatches of each call into the core."""
    made: list[tuple[int, int]] = []
    run = Piece.run

    def noted(self: Piece, stop: Array | None) -> int:
        made.append((self.begin, self.end))
        return run(self, stop)

    monkeypatch.setattr(Piece, "run", noted)
    return made


# The same as one by one ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize("options", [
    {}, {"shuffle": False, "sample_weight": np.random.default_rng(1).uniform(size=100)}, {"metrics": ("mae", "r2")},
], ids=["defaults", "weighted", "other metrics"])  # fmt: skip
def test_the_bits_of_epochs_one_by_one(loss: str, batch_size: int | None, options: dict[str, Any], calls: Any) -> None:
    of_core = loss != "gaussian_nll"  # whose outputs are not all predictions of targets
    if "metrics" in options:
        of_core = False
        if cnn.losses.get(loss).for_classes:
            options = {**options, "metrics": ("accuracy", "f1")}
    X, y = rows(loss)
    schedule = cnn.schedules.OneCycle(0.01)
    together, apart = (network(loss, optimizer=cnn.Adam(schedule)) for _ in range(2))
    arguments: dict[str, Any] = {"epochs": 30, "batch_size": batch_size, "verbose": 0, **options}
    first = together.fit(X, y, **arguments)
    made = len(calls)
    second = apart.fit(X, y, callbacks=[nothing], **arguments)
    assert same_bits(together, apart)
    assert together.step == apart.step
    assert numbers(first) == numbers(second)
    assert first.names == second.names
    assert len(calls) - made >= 30
    assert (made < 30) == of_core


def test_a_thousand_epochs_are_a_few_calls(calls: Any) -> None:
    X, y = rows("mse")
    net = network()
    assert net.fit(X, y, epochs=1000, batch_size=None, verbose=0).epoch == list(range(1000))
    assert len(calls) < 100
    assert all(begin == 0 for begin, _ in calls)
    assert net.fit(X, y, epochs=3, batch_size=None, verbose=0).epoch == [1000, 1001, 1002]
    assert len(net.history) == len(net.history.seconds) == 1003


@pytest.mark.parametrize("options", [
    {}, {"batch_size": 30, "max_iter": 400, "tol": 1e-3}, {"solver": "sgd", "learning_rate": "adaptive", "tol": 1e-2},
    {"solver": "sgd", "learning_rate": "invscaling"}, {"shuffle": False, "n_iter_no_change": 1, "tol": 0.1},
    {"metrics": "accuracy"},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators_too(options: dict[str, Any], weighted: bool) -> None:
    X, y = rows("cross_entropy")
    weights = np.random.default_rng(1).uniform(size=len(X)) if weighted else None
    settings = {"hidden_layer_sizes": (8,), "random_state": 0, **options}
    together, apart = cnn.MLPClassifier(**settings), cnn.MLPClassifier(callbacks=[nothing], **settings)
    together.fit(X, y, sample_weight=weights)
    apart.fit(X, y, sample_weight=weights)
    assert same_bits(together.network_, apart.network_)
    assert numbers(together.history_) == numbers(apart.history_)
    for name in ("n_iter_", "t_", "loss_", "best_loss_", "loss_curve_", "_no_improvement_count"):
        assert getattr(together, name) == getattr(apart, name), name


# Metrics of the core -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("loss", "k"), [
    ("mse", 1), ("mse", 3), ("poisson", 2), ("huber", 1), ("cross_entropy", 2), ("cross_entropy", 5),
    ("binary_cross_entropy", 1), ("binary_cross_entropy", 3),
])  # fmt: skip
@pytest.mark.parametrize("n", [1, 63, 64, 300])
def test_metrics_of_the_core_are_those_of_python(loss: str, k: int, weighted: bool, dtype: str, n: int) -> None:
    rng = np.random.default_rng(n)
    X, y = rng.normal(size=(n, 10)), targets(loss, n, k, rng)
    weights = rng.uniform(0.1, 3, n) if weighted else None
    net = network(loss, k, dtype=dtype).build(10)
    prepared = data.prepare(X, y, weights, net.loss, net.dtype, 10, k)
    name = metrics.default_for(net.loss)[0]
    scores = Scores(net, prepared, metrics.named([name]))
    assert scores.scorer.measures
    out = (3 * rng.normal(size=(n, k))).astype(dtype)
    seen = np.empty_like(out)
    cnn_core.engine.link(net.loss.kind, out, seen)
    p, w = seen.astype(np.float64), np.ones(n) if weights is None else weights.astype(dtype).astype(np.float64)
    if name == "rmse":
        t = np.asarray(y).astype(dtype).astype(np.float64).reshape(n, k)
        expected = np.sqrt(w @ (p - t) ** 2 / w.sum()).mean()
    else:
        met = p.argmax(axis=1) == y if loss == "cross_entropy" else ((p > 0.5) == (y > 0.5)).all(axis=1)
        expected = w @ met / w.sum()
    found = scores.measure(out)[name]
    assert found == pytest.approx(expected, rel=1e-14)
    flat = seen[:, 0] if prepared.y.ndim == 1 and k == 1 else seen
    assert found == pytest.approx(metrics.BY_NAME[name](prepared.y, flat, prepared.weights), rel=1e-14)


def test_tables_of_probabilities_have_their_largest_class() -> None:
    rng = np.random.default_rng(0)
    table = rng.dirichlet([1, 1, 1], 50)
    kind, labels = metrics.compiled(metrics.accuracy, cnn.losses.get("cross_entropy"), 3, table) or ("", np.zeros(0))
    assert kind == "classes"
    np.testing.assert_array_equal(labels, table.argmax(axis=1))
    net = network("cross_entropy")
    history = net.fit(rng.normal(size=(50, 10)), table, epochs=2, verbose=0)
    assert len(history.accuracy) == 2


@pytest.mark.parametrize(("metric", "loss"), [("mae", "mse"), ("accuracy", "mse"), ("rmse", "cross_entropy")])
def test_what_the_core_has_not_is_python_s(metric: str, loss: str) -> None:
    assert metrics.compiled(metrics.BY_NAME[metric], cnn.Loss(loss), 3, np.zeros((4, 3))) is None


# What ends a call ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("batch_size", [None, 30])
def test_a_loss_that_is_not_finite_in_the_middle_of_a_call(batch_size: int | None) -> None:
    """The same error, network and epochs as one by one."""
    X, y = rows("mse")
    said, nets = [], []
    for hooks in ([], [nothing]):
        net = network(optimizer=cnn.SGD(cnn.schedules.Exponential(0.1, factor=1e3)))
        with pytest.raises(FloatingPointError, match="is not finite in epoch ") as error:
            net.fit(X, y, epochs=100, batch_size=batch_size, verbose=0, callbacks=hooks)
        said.append(str(error.value))
        nets.append(net)
    assert said[0] == said[1]
    assert same_bits(*nets)
    assert nets[0].epoch > 1
    assert numbers(nets[0].history) == numbers(nets[1].history)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", ["plain", "weights", "sparse", "odd metrics"])
def test_what_is_held_out_has_the_numbers_of_an_evaluation(
    loss: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are taken by the core with each epoch, or by `Scores.take` after it; and `evaluate` gives the last."""
    X, y = rows(loss, 130)
    given: Any = sparse.csr_array(X * (X > 0.5)) if kind == "sparse" else X
    weights = (np.arange(30) % 3 + 0.5,) if kind == "weights" else ()
    options: dict[str, Any] = {"metrics": ("mae", "rmse")} if kind == "odd metrics" and loss == "mse" else {}
    histories = []
    for in_the_core in (True, False):
        net = network(loss, dtype="float64" if kind == "weights" else "float32")
        with monkeypatch.context() as patch:
            if not in_the_core:
                patch.setattr(Scores, "hold_out", lambda *_: 0.0)
            held_out = given[100:], y[100:], *weights
            net.fit(given[:100], y[:100], epochs=9, verbose=0, validation_data=held_out, **options)
        found = net.evaluate(*held_out, **options)
        assert {f"val_{name}": value for name, value in found.items()} == {
            name: net.history[name][-1] for name in net.history.names if name.startswith("val_")
        }
        histories.append(numbers(net.history))
    assert histories[0] == histories[1]
    assert list(histories[0]) == list(histories[1])
    assert len(set(histories[0]["val_loss"])) == 9


def test_rows_that_are_held_out_do_not_end_the_run_of_epochs(calls: list[tuple[int, int]]) -> None:
    X, y = rows("mse")
    network().fit(X, y, epochs=50, batch_size=30, validation_split=0.2, verbose=0)
    assert len(calls) < 10


def test_epochs_before_a_ctrl_c_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes behind the call: history and weights are of as many epochs."""
    X, y = rows("mse")
    net = network()
    run = Piece.run

    def broken(self: Piece, stop: Array | None) -> int:
        run(self, stop)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Piece, "run", broken)
        with pytest.raises(KeyboardInterrupt):
            net.fit(X, y, epochs=50, batch_size=30, verbose=0)
    assert len(net.history) == net.step // 4 == 50
    assert {len(net.history[name]) for name in net.history.names} == {50}
    assert net.fit(X, y, epochs=2, verbose=0).epoch == [50, 51]
    whole = network()
    whole.fit(X, y, epochs=50, batch_size=30, verbose=0)
    assert net.history.loss[:50] == whole.history.loss


def test_an_estimator_keeps_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = rows("cross_entropy")
    run = Piece.run

    def broken(self: Piece, stop: Array | None) -> int:
        run(self, stop)
        raise KeyboardInterrupt

    monkeypatch.setattr(Piece, "run", broken)
    estimator = cnn.MLPClassifier(hidden_layer_sizes=(4,), random_state=0, max_iter=20)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        estimator.fit(X, y)
    assert estimator.n_iter_ == len(estimator.loss_curve_) == len(estimator.history_) == 20
    assert estimator.t_ == 2000


def test_numbers_are_put_in_place_of_others() -> None:
    history = History()
    history.append(0, {"loss": 1.0})
    for _ in range(2):
        history.put(1, 5, {"loss": [0.5, 0.25], "more": [2.0, 3.0]})
    assert history.epoch == [0, 5, 6]
    assert history.loss == [1.0, 0.5, 0.25]
    assert history.more[1:] == [2.0, 3.0]
    assert np.isnan(history.more[0])


# Events --------------------------------------------------------------------------------------------------------------

class Told(Progress):
    """Counts the rows it is told of."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, int]] = []

    def on_fit_begin(self, network: cnn.Network, run: cnn.callbacks.Run) -> None:
        """Draws nothing."""

    def on_progress(self, network: cnn.Network, epoch: int, rows: int) -> None:
        self.rows.append((epoch, rows))

    def on_fit_end(self, network: cnn.Network) -> None:
        """Draws nothing."""


class OfEpochs(Told):
    def on_epoch_end(self, network: cnn.Network, epoch: int, logs: dict[str, float]) -> None:
        """Needs it, which the class above does not."""


class Misspelt(Callback):
    needs = ("epoch_ends",)


class NoTuple(Callback):
    needs = "progress"  # type: ignore[assignment]


def test_what_a_callback_needs() -> None:
    assert needed(Callback()) == set()
    assert needed(Progress()) == needed(Told()) == {"progress"}
    assert needed(OfEpochs()) == {"progress", "epoch_end"}
    assert needed(cnn.callbacks.get(nothing)) == needed(cnn.EarlyStopping()) == {"epoch_end"}

    class Pieces(Callback):
        def on_progress(self, network: cnn.Network, epoch: int, rows: int) -> None:
            """Of each epoch."""

    assert needed(Pieces()) == {"progress", "epoch_end"}


def test_progress_alone_is_told_of_many_epochs_at_once() -> None:
    X, y = rows("mse")
    once, each = Told(), OfEpochs()
    network().fit(X, y, epochs=200, batch_size=30, callbacks=[once], verbose=0)
    network().fit(X, y, epochs=200, batch_size=30, callbacks=[each], verbose=0)
    assert sum(n for _, n in once.rows) == sum(n for _, n in each.rows) == 20_000
    assert once.rows[-1][0] == each.rows[-1][0] == 199
    assert len(once.rows) < 100 <= len(each.rows)


@pytest.mark.parametrize("fit", [
    lambda X, y, hooks: network().fit(X, y, callbacks=hooks, verbose=0),
    lambda X, y, hooks: cnn.MLPRegressor(callbacks=hooks).fit(X, y),
    lambda X, y, hooks: cnn.MLPRegressor(callbacks=hooks, solver="lbfgs").fit(X, y),
], ids=["network", "estimator", "lbfgs"])  # fmt: skip
def test_an_unknown_event_is_named(fit: Any) -> None:
    said = r"unknown event in `needs` of Misspelt: 'epoch_ends'. Did you mean 'epoch_end'\? Known: epoch_begin, "
    with pytest.raises(ValueError, match=said):
        fit(*rows("mse"), [Misspelt()])
    with pytest.raises(TypeError, match=r"`needs` of NoTuple must be a tuple of events, got 'progress'"):
        fit(*rows("mse"), [NoTuple()])
