"""The estimators beside scikit-learn's own, and what they have besides: copies, searches, callbacks, parameters."""

from __future__ import annotations

import io
import pickle
import threading
import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.9")
import sklearn
import sklearn.neural_network as peer
from helpers import run
from joblib import Parallel, delayed, parallel_backend
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import cnn

rng = np.random.default_rng(0)
X = rng.normal(size=(507, 6))  # the last minibatch is short
Y = X[:, 0] * 2 + np.sin(X[:, 1])
W = rng.uniform(0.5, 2, len(X))
TARGETS = {
    "regression": Y, "two": (Y > 0).astype(int), "several": np.array(["low", "mid", "top"])[np.digitize(Y, [-1, 1])],
    "labels": np.c_[Y > 0, X[:, 2] > 1].astype(int), "outputs": np.c_[Y, -3 * X[:, 2]],
}  # fmt: skip
FIXED: dict[str, Any] = {"hidden_layer_sizes": (10, 7), "max_iter": 12, "random_state": 3, "alpha": 0.1}
SOLVERS: dict[str, dict[str, Any]] = {
    "adam": {}, "adam_betas": {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
    "nesterov": {"solver": "sgd"}, "momentum": {"solver": "sgd", "nesterovs_momentum": False},
    "momentum_1": {"solver": "sgd", "momentum": 1.0, "learning_rate_init": 1e-4},
    "plain": {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.05},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1, "power_t": 0.1},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1, "tol": 1e-2,
                 "n_iter_no_change": 1},
    "early_stopping": {"early_stopping": True, "activation": "logistic", "n_iter_no_change": 3},
}  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def kinds(target: str) -> tuple[Any, Any]:
    if target in ("regression", "outputs"):
        return cnn.MLPRegressor, peer.MLPRegressor
    return cnn.MLPClassifier, peer.MLPClassifier


def agree(ours: Any, theirs: Any, bound: float = 1e-9) -> None:
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=bound, atol=bound)
    for mine, its in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(mine, its, rtol=bound, atol=bound)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_"):
        assert getattr(ours, name) == getattr(theirs, name)
    for name in ("loss_", "best_loss_", "best_validation_score_", "validation_scores_"):
        mine, its = getattr(ours, name), getattr(theirs, name)
        assert (mine is None) == (its is None)
        if its is not None:
            np.testing.assert_allclose(mine, its, rtol=bound)


@pytest.mark.parametrize(("weights", "shuffle"), [(None, False), (W, True)], ids=["in order", "weighted, shuffled"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_same_mathematics(solver: str, target: str, weights: Any, shuffle: bool) -> None:
    ours, theirs = (k(**{**FIXED, **SOLVERS[solver], "shuffle": shuffle}) for k in kinds(target))
    ours.fit(X, TARGETS[target], weights)
    agree(ours, theirs.fit(X, TARGETS[target], weights))
    if target in ("regression", "outputs"):
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-9)
    else:
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-9)
        np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), atol=1e-7)
    assert ours.score(X, TARGETS[target]) == pytest.approx(theirs.score(X, TARGETS[target]))


@pytest.mark.parametrize("weights", [None, W], ids=["", "weighted"])
def test_poisson_agrees(weights: Any) -> None:
    y = np.abs(np.round(TARGETS["outputs"]))
    agree(*(k("poisson", **FIXED).fit(X, y, weights) for k in kinds("regression")))


@pytest.mark.parametrize("target", ["regression", "two", "several"])
def test_partial_fit_agrees(target: str) -> None:
    ours, theirs = (k(**FIXED) for k in kinds(target))
    for begin in range(0, 500, 100):
        for est in (ours, theirs):
            classes = {} if target == "regression" or begin else {"classes": np.unique(TARGETS[target])}
            est.partial_fit(X[begin : begin + 100], TARGETS[target][begin : begin + 100], **classes)
    agree(ours, theirs)


@pytest.mark.parametrize("target", TARGETS)
def test_lbfgs_reaches_the_same_optimum(target: str) -> None:
    options = {"solver": "lbfgs", "alpha": 20.0, "tol": 1e-9, "max_iter": 3000, "activation": "tanh", "random_state": 0,
               "hidden_layer_sizes": 3}  # fmt: skip
    ours, theirs = (k(**options).fit(X, TARGETS[target], W) for k in kinds(target))
    if target != "outputs":  # where scikit-learn's loss and gradient do not belong together
        assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-4)
    assert ours.loss_curve_[-1] == pytest.approx(ours.loss_)
    assert len(ours.loss_curve_) == ours.n_iter_


@pytest.mark.parametrize("weights", [None, W], ids=["", "weighted"])
@pytest.mark.parametrize("target", ["regression", "several"])
def test_the_networks_loss_is_one_number(target: str, weights: Any) -> None:
    """The penalty too is divided by the sum of the weights, wherever it is asked for."""
    est = kinds(target)[0](**{**FIXED, "alpha": 20.0, "l1": 3.0}).fit(X, TARGETS[target])
    y = Y if target == "regression" else np.searchsorted(est.classes_, TARGETS[target])
    rows = np.ones(len(X)) if weights is None else weights
    if target == "regression":
        losses = 0.5 * (est.predict(X) - Y) ** 2
    else:
        losses = -np.log(est.predict_proba(X)[np.arange(len(X)), y])
    penalty = sum(10 * (w**2).sum() + 3 * np.abs(w).sum() for w in est.coefs_)
    expected = (rows @ losses + penalty) / rows.sum()
    assert est.network_.evaluate(X, y, weights)["loss"] == pytest.approx(expected, rel=1e-12)
    assert est.network_.loss_and_gradient(X, y, weights)[0] == pytest.approx(expected, rel=1e-12)


def test_float32_stays_float32() -> None:
    est = cnn.MLPRegressor(**FIXED).fit(X.astype(np.float32), Y)
    assert {a.dtype for a in est.coefs_} == {np.dtype(np.float32)}
    assert est.predict(X.astype(np.float32)).dtype == np.float32
    assert cnn.MLPRegressor(dtype="float32", **FIXED).fit(X, Y).coefs_[0].dtype == np.float32


def test_has_what_scikit_learns_has() -> None:
    for name in ("MLPClassifier", "MLPRegressor"):
        ours, theirs = getattr(cnn, name)(), getattr(peer, name)()
        defaults = theirs.get_params()
        assert {k: v for k, v in ours.get_params().items() if k in defaults} == defaults
        assert {m for m in dir(theirs) if not m.startswith("_")} <= set(dir(ours))
        y = TARGETS["several"] if name == "MLPClassifier" else Y
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted = theirs.set_params(max_iter=2).fit(X, y)
            ours.set_params(max_iter=2).fit(X, y)
        assert {a for a in vars(fitted) if not a.startswith("_") and a.endswith("_")} <= set(dir(ours))


def test_a_fit_that_goes_on_after_it_converged_makes_an_epoch() -> None:
    """Without an improvement for long the next fit ends again, but behind an epoch, as scikit-learn's."""
    options: dict[str, Any] = {**FIXED, "warm_start": True, "tol": 10.0, "n_iter_no_change": 2, "max_iter": 30}
    ours, theirs = kinds("regression")[0](**options), kinds("regression")[1](**options)
    for _ in range(4):
        for est in (ours, theirs):
            est.fit(X, Y)
        assert (ours.n_iter_, len(ours.loss_curve_)) == (theirs.n_iter_, len(theirs.loss_curve_))


def test_lbfgs_has_no_learning_rate_to_multiply() -> None:
    frozen = [cnn.Dense(4, "tanh", learning_rate_factor=0), cnn.Dense(1)]
    with pytest.raises(ValueError, match="learning_rate_factor of every layer must be 1"):
        cnn.MLPRegressor(layers=frozen, solver="lbfgs").fit(X, Y)


# What scikit-learn's does not have. -----------------------------------------------------------------------------------

def test_pickle_holds_the_weights_once() -> None:
    est = cnn.MLPRegressor(hidden_layer_sizes=(200, 200), max_iter=2, random_state=0).fit(X, Y)
    kept = pickle.dumps(est)
    assert len(kept) < 1.2 * sum(a.nbytes for a in est.coefs_ + est.intercepts_)
    np.testing.assert_array_equal(pickle.loads(kept).predict(X), est.predict(X))


def test_a_pickle_goes_on_where_it_was() -> None:
    est = cnn.MLPRegressor(warm_start=True, **FIXED).fit(X, Y)
    other = pickle.loads(pickle.dumps(est))
    np.testing.assert_array_equal(est.fit(X, Y).predict(X), other.fit(X, Y).predict(X))


def test_warm_start_keeps_the_optimizers_state() -> None:
    options = {**FIXED, "shuffle": False, "alpha": 0.0}
    whole = cnn.MLPRegressor(**options).fit(X, Y)
    halves = cnn.MLPRegressor(**{**options, "max_iter": 6}, warm_start=True).fit(X, Y).fit(X, Y)
    np.testing.assert_array_equal(whole.coefs_[0], halves.coefs_[0])


@pytest.mark.parametrize("parameters", [
    {"dropout": 0.2}, {"dropout": [0.1, 0.0]}, {"l1": 0.1}, {"clip_norm": 0.5}, {"learning_rate": "cosine"},
    {"learning_rate": cnn.schedules.OneCycle(0.01)}, {"solver": "adamw"}, {"solver": cnn.Lion(1e-3)},
    {"activation": ["gelu", "tanh"]}, {"n_threads": 2}, {"dtype": "float32"}, {"max_seconds": 60.0},
    {"metrics": ["accuracy"]}, {"label_smoothing": 0.1}, {"class_weight": "balanced"}, {"loss": "hinge"},
    {"loss": "binary_cross_entropy"}, {"layers": [cnn.Dense(9, "mish"), cnn.Dropout(0.1), cnn.Dense(3)]},
], ids=str)  # fmt: skip
def test_parameters_of_our_own(parameters: dict[str, Any]) -> None:
    est = clone(cnn.MLPClassifier(**{**FIXED, "max_iter": 40, "learning_rate_init": 0.01, **parameters}))
    assert est.fit(X, TARGETS["several"]).score(X, TARGETS["several"]) > 0.6
    assert len(est.history_) == est.n_iter_


@pytest.mark.parametrize("loss", ["absolute_error", "huber", "quantile", "log_cosh", cnn.Quantile(0.8)], ids=str)
def test_losses_of_regression(loss: Any) -> None:
    options = {**FIXED, "max_iter": 100, "learning_rate_init": 0.01}
    assert cnn.MLPRegressor(loss, **options).fit(X, Y).score(X, Y) > 0.7


def test_quantile_is_one() -> None:
    est = cnn.MLPRegressor("quantile", quantile=0.9, learning_rate_init=0.01, learning_rate="cosine", max_iter=100,
                           tol=0, random_state=0, hidden_layer_sizes=10).fit(X, Y)  # fmt: skip
    assert np.mean(est.predict(X) >= Y) == pytest.approx(0.9, abs=0.02)


def test_the_best_epoch_on_a_validation_set_is_restored() -> None:
    est = cnn.MLPRegressor(**{**FIXED, "learning_rate_init": 0.1}).fit(X[:300], Y[:300], X_val=X[300:], y_val=Y[300:])
    assert est.score(X[300:], Y[300:]) == pytest.approx(max(est.validation_scores_))
    assert est.best_validation_score_ == max(est.validation_scores_)
    assert len(est.history_.val_loss) == est.n_iter_
    last = clone(est).set_params(restore_best=False).fit(X[:300], Y[:300], X_val=X[300:], y_val=Y[300:])
    assert last.score(X[300:], Y[300:]) == pytest.approx(last.validation_scores_[-1])


def test_early_stopping_by_a_scorer() -> None:
    options = {**FIXED, "early_stopping": True}
    est = cnn.MLPClassifier(scoring="neg_log_loss", **options).fit(X, TARGETS["several"])
    by_loss = cnn.MLPClassifier(scoring="loss", **options).fit(X, TARGETS["several"])
    np.testing.assert_allclose(est.validation_scores_, by_loss.validation_scores_)
    with pytest.raises(ValueError, match="scoring needs rows"):
        cnn.MLPClassifier(scoring="f1").fit(X, TARGETS["two"])


def test_callbacks_of_both_kinds() -> None:
    from sklearn.callback import ScoringMonitor

    seen: list[int] = []
    monitor = ScoringMonitor(scoring="r2")
    est = cnn.MLPRegressor(callbacks=[lambda net, epoch, logs: seen.append(epoch)], **FIXED).set_callbacks(monitor)
    est.fit(X, Y)
    assert seen == list(range(12))
    scores = [row["r2"] for row in monitor.get_logs().data if row["task_name"] == "iteration"]
    assert len(scores) == 12
    assert scores[-1] == pytest.approx(est.score(X, Y))


def test_inside_meta_estimators() -> None:
    y = TARGETS["several"]
    base = cnn.MLPClassifier(**{**FIXED, "max_iter": 30, "learning_rate_init": 0.01})
    assert make_pipeline(StandardScaler(), base).fit(X, y).score(X, y) > 0.6
    assert BaggingClassifier(base, n_estimators=2).fit(X, y).score(X, y) > 0.6
    assert CalibratedClassifierCV(base, cv=2).fit(X, y).predict_proba(X).shape == (507, 3)
    assert permutation_importance(base.fit(X, y), X, y, n_repeats=2).importances_mean.argmax() == 0
    with sklearn.config_context(enable_metadata_routing=True):
        routed = make_pipeline(
            StandardScaler().set_fit_request(sample_weight=True), clone(base).set_fit_request(sample_weight=True)
        )
        assert routed.fit(X, y, sample_weight=W).score(X, y) > 0.6


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_searches_in_parallel_find_the_same(backend: str) -> None:
    search = GridSearchCV(cnn.MLPRegressor(**FIXED), {"alpha": [0.1, 1.0]}, cv=2)
    alone = clone(search).fit(X, Y).cv_results_["mean_test_score"]
    with warnings.catch_warnings(), parallel_backend(backend, n_jobs=2):
        warnings.simplefilter("ignore")
        found = search.set_params(n_jobs=2).fit(X, Y).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(found, alone)


def test_fits_in_threads_at_once_give_the_same_bits() -> None:
    alone = cnn.MLPRegressor(**FIXED).fit(X, Y).coefs_[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits = Parallel(3, backend="threading")(delayed(cnn.MLPRegressor(**FIXED).fit)(X, Y) for _ in range(6))
    assert all(np.array_equal(est.coefs_[0], alone) for est in fits)
    assert threading.active_count() >= 1


def test_an_estimator_of_a_network() -> None:
    net = cnn.Network([cnn.Dense(8, "tanh"), cnn.Dense(1)], optimizer=cnn.Adam(0.01), dtype="float64", seed=0)
    fresh = cnn.MLPRegressor.from_network(net)
    assert cross_val_score(fresh.set_params(max_iter=60), X, Y, cv=2).min() > 0.6
    net.fit(X, Y, epochs=3, verbose=0)
    np.testing.assert_array_equal(cnn.MLPRegressor.from_network(net).predict(X), net.predict(X))
    wide = cnn.Network([cnn.Dense(3)], loss="cross_entropy", dtype="float64", seed=0).build(6)
    np.testing.assert_array_equal(cnn.MLPClassifier.from_network(wide).predict(X), wide.predict_classes(X))
    with pytest.raises(TypeError, match=r"from_network takes a cnn\.Network, got str"):
        cnn.MLPRegressor.from_network("net")
    with pytest.raises(ValueError, match=r"a network with loss 'mse' makes a cnn\.MLPRegressor, not a MLPClassifier"):
        cnn.MLPClassifier.from_network(net)
    with pytest.raises(ValueError, match=r"a network with loss 'cross_entropy' makes a cnn\.MLPClassifier"):
        cnn.MLPRegressor.from_network(wide)


@pytest.mark.parametrize(("error", "parameters"), [
    (ValueError, {"solver": "adamm"}), (ValueError, {"activation": "rellu"}), (ValueError, {"learning_rate": "cosin"}),
    (ValueError, {"hidden_layer_sizes": (4, 0)}), (ValueError, {"alpha": -1}), (ValueError, {"dtype": "float16"}),
    (ValueError, {"layers": [cnn.Dense(4)]}), (ValueError, {"dropout": [0.1]}), (ValueError, {"loss": "mse"}),
    (ValueError, {"solver": "lbfgs", "dropout": 0.5}), (ValueError, {"momentum": 2.0}),
], ids=str)  # fmt: skip
def test_bad_parameters(error: type[Exception], parameters: dict[str, Any]) -> None:
    with pytest.raises(error):
        cnn.MLPClassifier(**{**FIXED, **parameters}).fit(X, TARGETS["several"])


def test_bad_data() -> None:
    with pytest.raises(ValueError, match=">= 0 for poisson"):
        cnn.MLPRegressor("poisson").fit(X, Y)
    with pytest.raises(ValueError, match="X_val needs y_val"):
        cnn.MLPRegressor(**FIXED).fit(X, Y, X_val=X)
    with pytest.raises(ValueError, match="has 5 features"):
        cnn.MLPRegressor(**FIXED).fit(X, Y, X_val=X[:, :5], y_val=Y)
    with pytest.raises(ValueError, match="negative"):
        cnn.MLPRegressor(**FIXED).fit(X, Y, -W)
    est = cnn.MLPClassifier(**FIXED).partial_fit(X, TARGETS["two"], classes=[0, 1])
    with pytest.raises(ValueError, match="classes not in"):
        est.partial_fit(X, TARGETS["two"] + 1)
    with pytest.raises(ValueError, match="does not support early_stopping"):
        cnn.MLPRegressor(early_stopping=True).partial_fit(X, Y)
    assert not hasattr(cnn.MLPRegressor(solver="lbfgs"), "partial_fit")


def test_divergence_is_an_error() -> None:
    est = cnn.MLPRegressor(solver="sgd", learning_rate_init=1e3, **FIXED)
    with pytest.raises(ValueError, match="not finite") as caught:
        est.fit(X * 100, Y)
    assert not hasattr(est, "coefs_")
    assert isinstance(caught.value, cnn.NonFiniteError)


def test_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    outputs = []
    for kind in kinds("regression"):
        with pytest.warns(ConvergenceWarning):
            kind(verbose=True, early_stopping=True, **FIXED).fit(X, Y)
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    assert io.StringIO(outputs[0]).readline().startswith("Iteration 1, loss = ")


@pytest.mark.parametrize("there", ['"sklearn"] = None', '"sklearn.base"] = sys'], ids=["none", "an old one"])
def test_import_works_without_scikit_learn(there: str) -> None:
    program = f"""
        import sys
        sys.modules[{there}
        import cnn
        for door in (lambda: cnn.MLPClassifier, lambda: cnn.MLPRegressor.from_network(None)):
            try:
                door()
            except ImportError as error:
                print(error)
    """
    assert run(program).count("needs scikit-learn 1.4 or newer (extra 'sklearn'): pip install -U scikit-learn") == 2


@pytest.mark.parametrize("kind", [cnn.MLPRegressor, cnn.MLPClassifier])
def test_held_out_rows_are_drawn_of_those_that_count(kind: Any) -> None:
    """Bagging gives most rows a weight of 0: a validation set of such rows alone has no score."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    y, w = X[:, 0] > 0, np.zeros(60)
    w[::4] = 1.0
    for seed in range(20):
        est = kind(early_stopping=True, max_iter=2, random_state=seed, validation_fraction=0.3)
        with pytest.warns(UserWarning, match="Maximum iterations"):
            est.fit(X, y, sample_weight=w)
        assert np.isfinite(est.validation_scores_).all()
    w[:] = 0
    w[[3, 4]] = 1
    with pytest.raises(ValueError, match=r"validation set|least populated|test_size"):
        kind(early_stopping=True, max_iter=2, random_state=0).fit(X, y, sample_weight=w)


def test_new_losses_train_estimators() -> None:
    """As networks do: the link is applied, margins are margins, what has no probabilities says so by its name."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    y = np.exp(X[:, 0]) * rng.gamma(4, 0.25, 200)
    for loss in ("gamma", "tweedie", cnn.Tweedie(1.9)):
        est = cnn.MLPRegressor(loss, (), learning_rate_init=0.05, max_iter=60, random_state=0).fit(X, y)
        assert np.corrcoef(np.log(est.predict(X)), X[:, 0])[0, 1] > 0.98
    labels = np.where(X[:, 0] > 0, "b", "a")
    clf = cnn.MLPClassifier(loss="squared_hinge", hidden_layer_sizes=(), max_iter=60, learning_rate_init=0.05)
    assert clf.fit(X, labels).score(X, labels) > 0.95
    with pytest.raises(AttributeError, match="loss='squared_hinge' has no probabilities"):
        clf.predict_proba(X)
