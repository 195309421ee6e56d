"""Cross-validation beside a plain loop over scikit-learn's folds, and beside scikit-learn's own."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.9")
from scipy import sparse
from sklearn import model_selection
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GroupKFold, KFold, PredefinedSplit, ShuffleSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import cnn
from cnn.runtime import passes

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 3)).astype(np.float32)
Y = X[:, 0] * X[:, 1] + 0.5 * X[:, 2]
CLASSES = np.digitize(Y, [-0.3, 0.3])
WEIGHTS = RNG.uniform(0.5, 2, 90)


def network(loss: Any = "mse", units: int = 1, **options: Any) -> cnn.Network:
    return cnn.Network([cnn.Dense(6, "tanh"), cnn.Dense(units)], loss=loss, **{"seed": 3, **options})


CASES: dict[str, tuple[Any, Any, Any, dict[str, Any]]] = {
    "numbers": (network(), Y, KFold(5), {}),
    "classes": (network("cross_entropy", 3), CLASSES, StratifiedKFold(5), {}),
    "yes or no": (network("binary_cross_entropy"), Y > 0, StratifiedKFold(5), {"class_weight": "balanced"}),
    "weights": (network(), Y, KFold(5), {"sample_weight": WEIGHTS}),
    "splitter": (network(), Y, ShuffleSplit(5, random_state=0), {"shuffle": False, "batch_size": 20}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_folds_are_trained_as_in_a_loop(case: str) -> None:
    net, y, splitter, options = CASES[case]
    cv = 5 if not isinstance(splitter, ShuffleSplit) else splitter
    found = cnn.cross_validate(net, X, y, cv=cv, epochs=4, return_networks=True, return_train_score=True, **options)
    weights = options.pop("sample_weight", None)
    metric = "rmse" if case in ("numbers", "weights", "splitter") else "accuracy"
    assert list(found) == ["fit_time", "score_time", "epochs", "test_loss", f"test_{metric}", "train_loss",
                           f"train_{metric}", "network"]  # fmt: skip
    for i, (train, test) in enumerate(splitter.split(X, y)):
        own = network(net.loss, net.descriptions[-1].units)
        own.fit(X[train], y[train], epochs=4, verbose=0,
                sample_weight=None if weights is None else weights[train], **options)  # fmt: skip
        assert found["network"][i].flat.tobytes() == own.flat.tobytes()
        for part, rows in (("test", test), ("train", train)):
            expected = own.evaluate(X[rows], y[rows], None if weights is None else weights[rows])
            assert {name: found[f"{part}_{name}"][i] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert net.known_inputs is None
    assert (found["epochs"] == 4).all()
    assert (found["fit_time"] > 0).all()


def test_the_factor_on_dropout_is_that_of_the_network() -> None:
    def scores(rate: float, factor: cnn.schedules.Schedule | None) -> list[float]:
        layers = [cnn.Dense(6, "tanh"), cnn.Dropout(rate), cnn.Dense(1)]
        net = cnn.Network(layers, dtype="float64", seed=0, dropout_factor=factor)
        return cnn.cross_validate(net, X, Y, cv=3, epochs=2)["test_loss"].tolist()

    assert scores(0.5, cnn.schedules.Constant(0)) == scores(0, None) != scores(0.5, None)


def test_several_networks_at_once() -> None:
    nets = [network(), network("huber", optimizer="sgd"), network(seed=4)]
    found = cnn.cross_validate(nets, X, Y, cv=3, epochs=3, return_networks=True)
    assert len(found) == 3
    for net, one in zip(nets, found, strict=True):
        alone = cnn.cross_validate(net, X, Y, cv=3, epochs=3)
        assert one["test_rmse"].tolist() == alone["test_rmse"].tolist()
        assert [copy.loss for copy in one["network"]] == [net.loss] * 3
    for other, text in ((network(dtype="float64"), "one dtype; it is float32 of the first, and float64 of number 1"),
                        (network(units=2), "one n_outputs; it is 1 of the first, and 2 of number 1"),
                        (network("hinge"), "one kind of loss, got 'mse' and 'hinge'")):  # fmt: skip
        with pytest.raises(ValueError, match=f"the networks of a list must have {text}"):
            cnn.cross_validate([network(), other], X, Y)


def test_scores_by_name_and_by_function() -> None:
    def largest(y: Any, p: Any, weights: Any = None) -> float:
        return float(np.abs(y - p).max())

    found = cnn.cross_validate(network(), X, Y, cv=3, epochs=2, scoring=["r2", "mae", largest], return_networks=True)
    for i, (_, test) in enumerate(KFold(3).split(X)):
        p = found["network"][i].predict(X[test])
        assert found["test_largest"][i] == pytest.approx(np.abs(p - Y[test]).max())
        assert found["test_mae"][i] == pytest.approx(np.abs(p - Y[test]).mean())
    assert "test_r2" in found


def test_groups_stay_together() -> None:
    groups = np.arange(90) // 9
    found = cnn.cross_validate(network(), X, Y, cv=GroupKFold(5), groups=groups, epochs=3, return_networks=True)
    for i, (train, _) in enumerate(GroupKFold(5).split(X, Y, groups)):
        own = network()
        own.fit(X[train], Y[train], epochs=3, verbose=0)
        assert own.flat.tobytes() == found["network"][i].flat.tobytes()


def test_sparse_rows_and_a_single_fold() -> None:
    rows = sparse.csr_array(np.where(np.abs(X) > 0.4, X, 0))
    fold = PredefinedSplit(np.where(np.arange(90) < 30, 0, -1))
    found = cnn.cross_validate(network(), rows, Y, cv=fold, epochs=2, return_networks=True)
    own = network()
    own.fit(rows[30:], Y[30:], epochs=2, verbose=0)
    assert found["network"][0].flat.tobytes() == own.flat.tobytes()
    assert found["test_rmse"].shape == (1,)


def test_a_trained_network_stays_as_it_is_and_is_not_trained_on() -> None:
    net = network()
    net.fit(X, Y, epochs=5, verbose=0)
    before = net.flat.tobytes()
    found, again = (cnn.cross_validate(model, X, Y, epochs=2)["test_rmse"] for model in (net, network()))
    assert net.flat.tobytes() == before
    assert found.tolist() == again.tolist()


def test_callbacks_are_copied_for_each_fold() -> None:
    stop = cnn.EarlyStopping("loss", patience=1, min_delta=1e9)
    found = cnn.cross_validate(network(), X, Y, epochs=9, callbacks=[stop])
    assert found["epochs"].tolist() == [2.0] * 5
    assert stop.stopped_epoch is None


def test_the_same_bits_for_every_number_of_threads() -> None:
    one, three = (cnn.cross_validate(network(), X, Y, epochs=3, n_threads=n, return_networks=True) for n in (1, 3))
    for a, b in zip(one["network"], three["network"], strict=True):
        assert a.flat.tobytes() == b.flat.tobytes()


def test_a_fold_that_fails_has_no_scores() -> None:
    y = Y.copy()
    y[:30] = 1e30  # in float32 its square is infinite
    fold = PredefinedSplit(np.arange(90) // 30)
    with pytest.warns(UserWarning, match="fold [12] has no scores: the loss is not finite in epoch 1"):
        found = cnn.cross_validate(network(), X, y, cv=fold, epochs=2, return_train_score=True)
    assert np.isnan(found["train_rmse"]).tolist() == [False, True, True]


def test_estimators_are_scored_as_by_scikit_learn() -> None:
    alone = cnn.MLPRegressor(solver="lbfgs", random_state=0, tol=1e-1)
    for est in (alone, make_pipeline(StandardScaler(), alone)):
        found = cnn.cross_validate(est, X, Y, scoring=["r2", "neg_max_error"], return_train_score=True)
        theirs = model_selection.cross_validate(est, X, Y, scoring=["r2", "neg_max_error"], return_train_score=True)
        for name in ("test_r2", "test_neg_max_error", "train_r2"):
            assert found[name].tolist() == theirs[name].tolist()
    ens = cnn.EnsembleClassifier(cnn.MLPClassifier(4, max_iter=3), n_estimators=2, random_state=0)
    found = cnn.cross_validate(ens, X, CLASSES, cv=3, sample_weight=WEIGHTS, return_networks=True)
    expected = model_selection.cross_validate(ens, X, CLASSES, cv=3, params={"sample_weight": WEIGHTS})
    assert found["test_score"].tolist() == expected["test_score"].tolist()
    assert len(found["estimator"][0].networks_) == 2
    assert not hasattr(ens, "estimators_")


def test_folds_of_estimators_run_side_by_side() -> None:
    """Each waits until the others are there, too: one after another they would wait for ever."""
    barrier = threading.Barrier(2, timeout=60)

    class Meets(cnn.MLPRegressor):
        def fit(self, X: Any, y: Any) -> Any:
            barrier.wait()
            return super().fit(X, y)

    est = Meets(solver="lbfgs", max_iter=5, tol=1.0)
    assert len(cnn.cross_validate(est, X, Y, cv=2, n_threads=2)["test_score"]) == 2


def test_folds_are_predicted_in_one_call(monkeypatch: Any) -> None:
    """A team of threads for each of many small predictions waits for cores on a busy machine."""
    monkeypatch.setattr(passes, "outputs", lambda *args, **more: pytest.fail("a call for one network"))
    found = cnn.cross_validate(network(), X, Y, cv=4, epochs=2, return_train_score=True)
    assert np.isfinite(found["test_rmse"] + found["train_rmse"]).all()
    assert (found["score_time"] > 0).all()


def test_warnings_of_estimators_are_said_of_the_line_that_called() -> None:
    with pytest.warns(ConvergenceWarning, match="Maximum iterations") as caught:
        cnn.cross_validate(cnn.MLPRegressor(hidden_layer_sizes=4, max_iter=2), X, Y, cv=3, n_threads=2)
    assert [one.filename for one in caught] == [__file__] * 3

    class Warns(cnn.MLPRegressor):
        def score(self, X: Any, y: Any) -> float:  # type: ignore[override]
            warnings.warn("from here", FutureWarning, stacklevel=1)
            return 1.0

    with pytest.warns(FutureWarning, match="from here") as caught:
        cnn.cross_validate(Warns(hidden_layer_sizes=4, solver="lbfgs", max_iter=2, tol=9.0), X, Y, cv=2)
    assert len(caught) == 2


def test_it_prints_as_a_table() -> None:
    found = cnn.cross_validate(network(), X, Y, cv=3, epochs=1, return_networks=True)
    lines = str(found).splitlines()
    assert lines[0].split() == ["fold", "fit_time", "score_time", "epochs", "test_loss", "test_rmse"]
    assert [line.split()[0] for line in lines[1:]] == ["0", "1", "2", "mean", "std"]
    assert float(lines[-2].split()[-1]) == pytest.approx(found["test_rmse"].mean(), rel=1e-3)
    assert float(lines[-1].split()[-1]) == pytest.approx(found["test_rmse"].std(), rel=1e-3)
    assert repr(found) == str(found)
    assert found._repr_html_().count("<tr>") == 6


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"model": "net"}, TypeError, "cross_validate takes a cnn.Network or an estimator of scikit-learn's kind, got 'n"),
    ({"epoch": 3}, TypeError, "cross_validate has no argument 'epoch': here it is 'epochs'; of a fit it takes epochs"),
    ({"model": cnn.MLPRegressor(), "epochs": 3}, TypeError, "'epochs' is for networks; give the estimator MLPRegres"),
    ({"epochs": 0}, ValueError, "epochs must be an integer >= 1, got 0"),
    ({"epochs": -1}, ValueError, "epochs must be an integer >= 1, got -1"),
    ({"cv": 1}, ValueError, "n_splits=1"),
    ({"cv": 91}, ValueError, "n_splits=91"),
    ({"cv": [(np.arange(90), np.arange(0))]}, ValueError, "fold 0 has 90 rows to train on and 0 to score on"),
    ({"cv": []}, ValueError, r"cv makes no folds: \[\]"),
    ({"cv": [(np.arange(90), [90])]}, ValueError, "fold 0 names row 90; the rows are 0 .. 89"),
    ({"sample_weight": np.arange(90) // 18}, ValueError, "sample_weight is zero for every row that fold 0 has to sco"),
    ({"scoring": "rmsle"}, ValueError, "unknown metric 'rmsle'"),
    ({"scoring": "roc_auc"}, ValueError, "roc_auc"),
    ({"X": X[:9]}, ValueError, "y has 90 rows, but X has 9"),
    ({"sample_weight": -WEIGHTS}, ValueError, "sample_weight must not be negative"),
    ({"n_threads": 0}, ValueError, "n_threads must be an integer >= 1, got 0"),
    ({"callbacks": 3}, TypeError, "callbacks must be a list of callbacks, got 3"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "kind", "text"), BAD, ids=range(len(BAD)))
def test_bad_input(given: dict[str, Any], kind: type[Exception], text: str) -> None:
    given = {"model": network(), "X": X, "y": Y, **given}
    with pytest.raises(kind, match=text):
        cnn.cross_validate(**given)
