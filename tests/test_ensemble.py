"""Ensembles beside their members trained one by one, and scores of rows that a member has not seen."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.9")
from scipy import sparse
from sklearn.base import clone
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, PredefinedSplit

import cnn
from cnn.runtime import passes
from cnn.sklearn import build
from cnn.sklearn.members import Stopping

RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 4)).astype(np.float32)
Y = X[:, 0] * X[:, 1] + 0.5 * X[:, 2] + 0.1 * RNG.normal(size=240).astype(np.float32)
LABELS = np.array(["low", "mid", "top"])[np.digitize(Y, [-0.4, 0.4])]
SMALL = {"hidden_layer_sizes": 12, "learning_rate_init": 0.02, "max_iter": 30, "batch_size": 32}


def regressor(member: dict[str, Any] | None = None, **options: Any) -> cnn.EnsembleRegressor:
    return cnn.EnsembleRegressor(cnn.MLPRegressor(**SMALL | (member or {})), **{"random_state": 0, **options})


def classifier(member: dict[str, Any] | None = None, **options: Any) -> cnn.EnsembleClassifier:
    return cnn.EnsembleClassifier(cnn.MLPClassifier(**SMALL | (member or {})), **{"random_state": 0, **options})


@pytest.fixture(scope="module")
def fitted() -> cnn.EnsembleRegressor:
    return regressor(n_estimators=6).fit(X, Y)


def test_mean_spread_and_quantiles_are_those_of_the_members(fitted: cnn.EnsembleRegressor) -> None:
    each = np.stack([est.predict(X) for est in fitted.estimators_]).astype(np.float64)
    assert fitted.predict(X).dtype == np.float32
    np.testing.assert_allclose(fitted.predict(X), each.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(fitted.predict_std(X), each.std(axis=0), rtol=1e-12)
    asked = [0.1, 0.5, 0.9]
    np.testing.assert_allclose(fitted.predict_quantiles(X, asked), np.quantile(each, asked, axis=0).T, rtol=1e-12)
    np.testing.assert_allclose(fitted.predict_quantiles(X, 0.5), np.median(each, axis=0), rtol=1e-12)
    assert fitted.predict_quantiles(X).shape == (240, 3)
    assert len({net.flat.tobytes() for net in fitted.networks_}) == 6
    assert fitted.score(X, Y) > max(est.score(X, Y) for est in fitted.estimators_) > 0.8


def untrained(est: Any) -> cnn.Network:
    """The network of a member with its initial weights."""
    net = build.build(est, 4, 1, est.network_.loss, X.dtype, np.random.RandomState(est.random_state))
    net.seed = est.random_state
    return net


def test_members_are_networks_trained_one_by_one() -> None:
    ens = regressor(n_estimators=3, early_stopping=False, max_samples=0.6).fit(X, Y)
    for est, rows in zip(ens.estimators_, ens.estimators_samples_, strict=True):
        assert len(rows) == len(set(rows.tolist())) == 144
        net = untrained(est)
        net.fit(X[rows], Y[rows][:, None], epochs=30, batch_size=32, verbose=0)
        assert net.flat.tobytes() == est.network_.flat.tobytes()


@pytest.mark.parametrize(("members", "count"), [(6, 6), (3, 5), (12, 10)])
def test_each_member_holds_out_another_fold(members: int, count: int) -> None:
    ens = regressor({"max_iter": 1}, n_estimators=members).fit(X, Y)
    out = [np.setdiff1d(np.arange(240), rows) for rows in ens.estimators_samples_]
    assert {len(fold) for fold in out} == {240 // count}
    first = np.concatenate(out[:count])
    assert len(set(first.tolist())) == len(first) == min(members, count) * 240 // count
    assert np.isfinite(ens.oom_prediction_).sum() == len(first)


def test_classes_are_in_equal_parts_of_every_fold() -> None:
    ens = classifier({"max_iter": 1}, n_estimators=4, cv=4).fit(X, LABELS)
    for rows in ens.estimators_samples_:
        fold = np.setdiff1d(np.arange(240), rows)
        for label in ens.classes_:
            assert abs(np.sum(LABELS[fold] == label) - np.sum(label == LABELS) / 4) <= 1


def test_a_row_is_predicted_by_members_that_have_not_seen_it() -> None:
    ens = regressor(n_estimators=5, early_stopping=False, bootstrap=True, max_samples=0.5, max_features=3).fit(X, Y)
    total, times = np.zeros(240), np.zeros(240)
    for est, rows, features in zip(ens.estimators_, ens.estimators_samples_, ens.estimators_features_, strict=True):
        assert len(rows) == 120 > len(set(rows.tolist()))
        assert len(features) == est.network_.n_inputs == 3
        left = np.setdiff1d(np.arange(240), rows)
        total[left] += est.predict(X[left][:, features])
        times[left] += 1
    known = times > 0
    np.testing.assert_allclose(ens.oom_prediction_[known], total[known] / times[known], rtol=1e-6)
    assert np.isnan(ens.oom_prediction_[~known]).all()
    assert ens.oom_score_ == pytest.approx(r2_score(Y[known], ens.oom_prediction_[known]))


def test_rows_drawn_twice_count_twice() -> None:
    ens = regressor(n_estimators=2, bootstrap=True, early_stopping=False).fit(X, Y, sample_weight=1 + (Y > 0))
    for est, drawn in zip(ens.estimators_, ens.estimators_samples_, strict=True):
        assert len(drawn) == 240
        rows, times = np.unique(drawn, return_counts=True)
        assert times.max() > 1
        net, y = untrained(est), Y[rows][:, None]
        net.fit(X[rows], y, sample_weight=times * (1 + (y[:, 0] > 0)), epochs=30, batch_size=32, verbose=0)
        assert net.flat.tobytes() == est.network_.flat.tobytes()


def test_scores_out_of_members_are_honest() -> None:
    """Where there is nothing to learn the mean score is below 0; rows that choose their own epoch score better."""
    honest, chosen = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        noise_X, noise = rng.normal(size=(80, 3)), rng.normal(size=80)
        member = {"max_iter": 40, "hidden_layer_sizes": 20, "n_iter_no_change": 40, "learning_rate_init": 0.01}
        ens = regressor(member, n_estimators=5, random_state=seed).fit(noise_X, noise)
        honest.append(ens.oom_score_)
        naive = np.zeros(80)
        for est, rows in zip(ens.estimators_, ens.estimators_samples_, strict=True):
            fold = np.setdiff1d(np.arange(80), rows)
            naive[fold] = est.predict(noise_X[fold])
        chosen.append(r2_score(noise, naive))
    assert np.mean(honest) < 0
    assert np.mean(chosen) > np.mean(honest) + 0.02


def test_each_half_of_a_fold_is_predicted_by_the_choice_of_the_other() -> None:
    """The weights of the best epoch on one half, found by training again epoch by epoch."""
    held: list[Stopping] = []
    made = Stopping.__init__

    def init(self: Stopping, *arguments: Any) -> None:
        made(self, *arguments)
        held.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stopping, "__init__", init)
        ens = regressor({"n_iter_no_change": 30, "max_iter": 20}, n_estimators=5, cv=5).fit(X, Y)
    for est, stop, rows in zip(ens.estimators_, held, ens.estimators_samples_, strict=True):
        curve = []
        for epochs in range(1, 21):
            net = untrained(est)
            net.fit(X[rows], Y[rows][:, None], epochs=epochs, batch_size=32, verbose=0)
            parts = [stop.fold.rows(half.start, half.stop) for half in stop.halves]
            curve.append([0.5 * np.mean((net.predict(half.X)[:, 0] - half.y[:, 0]) ** 2) for half in parts])
        first, second = np.array(curve).T
        assert stop.first.loss == pytest.approx(first.min(), rel=1e-5)
        assert stop.second.loss == pytest.approx(second.min(), rel=1e-5)
        assert stop.both.loss == pytest.approx(np.mean(curve, axis=1).min(), rel=1e-5)
        assert stop.honest == (stop.second.weights, stop.first.weights)
        assert est.network_.flat.tobytes() == stop.both.weights.tobytes()


def test_patience_ends_the_training_of_each_member() -> None:
    patient = regressor({"max_iter": 200, "n_iter_no_change": 3}, n_estimators=4).fit(X, Y)
    epochs = [est.n_iter_ for est in patient.estimators_]
    assert max(epochs) < 200
    assert len(set(epochs)) > 1
    assert [len(est.loss_curve_) for est in patient.estimators_] == epochs


def test_snapshots_are_of_one_network() -> None:
    ens = regressor({"max_iter": 32}, n_estimators=3, method="snapshots").fit(X, Y)
    est = ens.estimators_[0]
    assert est.n_iter_ == 30
    assert est.learning_rate == cnn.schedules.CosineRestarts(0.02, epochs=10)
    kept: list[bytes] = []
    net = untrained(est)
    rows = ens.estimators_samples_[0]
    keep = lambda network, epoch, logs: kept.append(network.flat.tobytes())  # noqa: E731
    net.fit(X[rows], Y[rows][:, None], epochs=30, batch_size=32, callbacks=[keep], verbose=0)
    assert [net.flat.tobytes() for net in ens.networks_] == [kept[i] for i in (9, 19, 29)]
    assert np.isfinite(ens.oom_prediction_).sum() == 48
    assert ens.score(X, Y) > 0.7


def test_probabilities_are_the_mean_of_the_members() -> None:
    clf = classifier(n_estimators=4).fit(X, LABELS)
    each = np.stack([est.predict_proba(X) for est in clf.estimators_]).astype(np.float64)
    np.testing.assert_allclose(clf.predict_proba(X), each.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(clf.predict_log_proba(X), np.log(each.mean(axis=0)), rtol=1e-12)
    np.testing.assert_allclose(clf.predict_std(X), each.std(axis=0), rtol=1e-12)
    assert clf.predict(X).tolist() == clf.classes_[each.mean(axis=0).argmax(axis=1)].tolist()
    known = np.isfinite(clf.oom_prediction_).all(axis=1)
    assert clf.oom_prediction_.shape == (240, 3)
    labels = clf.classes_[clf.oom_prediction_[known].argmax(axis=1)]
    assert clf.oom_score_ == accuracy_score(LABELS[known], labels) > 0.7
    assert clf.score(X, LABELS) > 0.8


@pytest.mark.parametrize("kind", ["two", "hinge", "several", "one", "rest"])
def test_every_kind_of_classes(kind: str) -> None:
    y: Any = {"two": Y > 0, "hinge": Y > 0, "several": np.c_[Y > 0, X[:, 0] > 0].astype(int), "one": np.full(240, "a"),
              "rest": LABELS}[kind]  # fmt: skip
    loss = {"hinge": "hinge", "rest": "binary_cross_entropy"}.get(kind, "log_loss")
    clf = classifier({"loss": loss}, n_estimators=3, cv=4).fit(X, y)
    assert clf.score(X, y) > 0.75
    assert clf.oom_score_ > 0.6
    if kind == "hinge":
        with pytest.raises(AttributeError, match="loss='hinge' has no probabilities"):
            clf.predict_proba(X)
        assert clf.oom_prediction_.shape == (240, 1)
    elif kind != "several":
        assert clf.predict(X).tolist() == clf.classes_[clf.predict_proba(X).argmax(axis=1)].tolist()
    else:
        assert (clf.predict(X) == (clf.predict_proba(X) > 0.5)).all()


def test_targets_of_several_columns_and_sparse_rows() -> None:
    two = np.c_[Y, -Y]
    rows = sparse.csr_array(np.where(np.abs(X) > 0.5, X, 0))
    ens = regressor(n_estimators=3, max_features=3).fit(rows, two)
    dense = clone(ens).fit(rows.toarray(), two)
    np.testing.assert_allclose(ens.predict(rows), dense.predict(rows.toarray()), rtol=1e-5, atol=1e-5)
    assert ens.predict(rows).shape == ens.predict_std(rows).shape == ens.oom_prediction_.shape == (240, 2)
    assert ens.predict_quantiles(rows, (0.2, 0.5, 0.8)).shape == (240, 3, 2)


def test_rows_without_weight_are_no_members() -> None:
    weights = np.where(np.arange(240) % 3 == 0, 0, 1 + np.arange(240) % 2)
    ens = regressor(n_estimators=3).fit(X, Y, sample_weight=weights)
    for rows in ens.estimators_samples_:
        assert (weights[rows] > 0).all()
    known = np.isfinite(ens.oom_prediction_) & (weights > 0)
    assert np.isfinite(ens.oom_prediction_[weights == 0]).all()
    assert ens.oom_score_ == pytest.approx(r2_score(Y[known], ens.oom_prediction_[known], sample_weight=weights[known]))


def test_folds_of_a_splitter() -> None:
    folds = np.arange(240) % 4
    ens = regressor({"max_iter": 1}, n_estimators=5, cv=PredefinedSplit(folds)).fit(X, Y)
    out = [np.setdiff1d(np.arange(240), rows) for rows in ens.estimators_samples_]
    assert [set(folds[fold].tolist()) for fold in out] == [{0}, {1}, {2}, {3}, {0}]


def test_folds_of_a_splitter_are_of_all_rows_those_without_weight_too() -> None:
    folds, weights = np.arange(240) % 4, np.where(np.arange(240) < 100, 0.0, 1.0)
    ens = regressor({"max_iter": 1}, n_estimators=4, cv=PredefinedSplit(folds)).fit(X, Y, sample_weight=weights)
    for fold, rows in enumerate(ens.estimators_samples_):
        assert rows.tolist() == [i for i in range(100, 240) if i % 4 != fold]


def test_one_weight_for_all_rows_as_a_member_takes_it() -> None:
    alone, weighted = (regressor({"max_iter": 1}).fit(X, Y, sample_weight=weight) for weight in (None, 2.0))
    assert weighted.oom_score_ == pytest.approx(alone.oom_score_, rel=1e-4)


@pytest.mark.parametrize("options", [{}, {"method": "snapshots"}, {"bootstrap": True, "max_features": 0.5}])
def test_the_same_bits_again_and_for_every_number_of_threads(options: dict[str, Any]) -> None:
    ens = regressor(n_estimators=3, n_threads=1, **options).fit(X, Y)
    again = clone(ens).set_params(n_threads=3).fit(X, Y)
    assert ens.predict(X).tobytes() == again.predict(X).tobytes()
    assert ens.oom_prediction_.tobytes() == again.oom_prediction_.tobytes()
    other = clone(ens).set_params(random_state=1).fit(X, Y)
    assert ens.predict(X).tobytes() != other.predict(X).tobytes()


def test_copies(fitted: cnn.EnsembleRegressor, tmp_path) -> None:
    assert pickle.loads(pickle.dumps(fitted)).predict(X).tobytes() == fitted.predict(X).tobytes()
    assert not hasattr(clone(fitted), "estimators_")
    own = regressor({"max_iter": 1}, n_estimators=2, cv=KFold(3)).fit(X, Y)
    with pytest.warns(UserWarning, match="saved without cv: a file holds names and numbers, not functions, splitters"):
        own.save(tmp_path / "m.cnn")
    assert cnn.load(tmp_path / "m.cnn", cnn.EnsembleRegressor).cv is None

    class Own(cnn.EnsembleRegressor):
        pass

    with pytest.raises(TypeError, match="a file can hold cnn's own EnsembleClassifier and EnsembleRegressor, not a Ow"):
        Own(fitted.estimator, n_estimators=1).fit(X, Y).save(tmp_path / "m.cnn")


def test_a_search_reaches_the_members_parameters() -> None:
    search = GridSearchCV(regressor(n_estimators=2), {"estimator__max_iter": [1, 20]}, cv=2).fit(X, Y)
    assert search.best_params_ == {"estimator__max_iter": 20}


def test_callbacks_and_metrics_are_for_each_member() -> None:
    class Counter(cnn.Callback):
        epochs = 0

        def on_epoch_end(self, network: Any, epoch: int, logs: dict[str, float]) -> None:
            self.epochs += 1
            assert self.epochs == epoch + 1
            assert "mae" in logs

    counter = Counter()
    ens = regressor({"callbacks": [counter], "metrics": ["mae"]}, n_estimators=2).fit(X, Y)
    assert counter.epochs == 0
    assert all(len(est.history_.mae) == est.n_iter_ for est in ens.estimators_)


def test_folds_are_scored_by_the_thread_of_their_member(monkeypatch: Any) -> None:
    """A team of threads for each of these small predictions waits for cores on a busy machine, epoch after epoch."""
    calls, outputs = [], passes.outputs
    monkeypatch.setattr(passes, "outputs", lambda *args, **more: calls.append(1) or outputs(*args, **more))
    ens = regressor({"max_iter": 40, "n_iter_no_change": 40}, n_estimators=3).fit(X, Y)
    assert [est.n_iter_ for est in ens.estimators_] == [40] * 3
    assert len(calls) <= 3 * 3  # those out of members, at the end
    fold = ens.estimators_[0].history_.val_loss
    assert fold[-1] < fold[0]


class Interrupt(cnn.Callback):
    def on_epoch_end(self, network: Any, epoch: int, logs: dict[str, float]) -> None:
        raise KeyboardInterrupt


def test_what_fails_leaves_the_ensemble_as_it_was(fitted: cnn.EnsembleRegressor) -> None:
    ens = pickle.loads(pickle.dumps(fitted))
    ens.set_params(estimator__callbacks=[Interrupt()])
    with pytest.raises(KeyboardInterrupt):
        ens.fit(X[:, :2], Y)
    assert ens.n_features_in_ == 4
    assert ens.predict(X).tobytes() == fitted.predict(X).tobytes()
    wild = regressor({"solver": "sgd", "learning_rate_init": 1e6}, n_estimators=2)
    with pytest.raises(cnn.DivergenceError, match="is not finite in epoch 1"):
        wild.fit(X, Y)
    assert not hasattr(wild, "estimators_")


MLP = cnn.MLPRegressor
BAD: list[tuple[Any, type[Exception], str]] = [
    (cnn.EnsembleRegressor(cnn.MLPClassifier()), TypeError, "estimator must be a cnn.MLPRegressor, got MLPClassifier"),
    (cnn.EnsembleClassifier(MLP()), TypeError, "estimator must be a cnn.MLPClassifier, got MLPRegressor"),
    (cnn.EnsembleRegressor(MLP), TypeError, "estimator must be a cnn.MLPRegressor, got a class: call it"),
    (cnn.EnsembleRegressor(cnn.Network([cnn.Dense(1)])), TypeError,
     "estimator must be a cnn.MLPRegressor, got Network: cnn.MLPRegressor.from_network makes one of it"),
    (cnn.EnsembleRegressor(3), ValueError, "The 'estimator' parameter of EnsembleRegressor must be"),
    (cnn.EnsembleRegressor(MLP(alpha=-1)), ValueError, "The 'alpha' parameter of MLPRegressor must be"),
    (cnn.EnsembleRegressor(MLP(solver="lbfgs")), ValueError, "members are not trained with solver='lbfgs': give"),
    (cnn.EnsembleRegressor(MLP(learning_rate="adaptive")), ValueError, "not trained with learning_rate='adaptive'"),
    (cnn.EnsembleRegressor(MLP(max_seconds=1)), ValueError, "stop by their loss: max_seconds of the estimator must be"),
    (cnn.EnsembleRegressor(MLP(scoring="r2")), ValueError, "scoring of the estimator must be None, got 'r2'"),
    (cnn.EnsembleRegressor(MLP(max_iter=3), method="snapshots"), ValueError,
     "8 snapshots need as many epochs, got max_iter=3"),
    (cnn.EnsembleRegressor(MLP(learning_rate="cosine"), method="snapshots"), ValueError,
     "snapshots have a schedule of their own"),
    (cnn.EnsembleRegressor(MLP(solver=cnn.Adam()), method="snapshots"), ValueError, "snapshots have a schedule of th"),
    (cnn.EnsembleRegressor(method="boosting"), ValueError, "The 'method' parameter of EnsembleRegressor must be"),
    (cnn.EnsembleRegressor(n_estimators=0), ValueError, "The 'n_estimators' parameter of EnsembleRegressor must be"),
    (cnn.EnsembleRegressor(max_samples=1000), ValueError,
     "max_samples=1000 is more than the 210 rows outside of its fold that a member may draw from"),
    (cnn.EnsembleRegressor(max_features=5), ValueError, "max_features=5 is more than the 4 columns that a member may"),
    (cnn.EnsembleRegressor(cv=300), ValueError, "300 folds can't be made of n_samples=240"),
    (cnn.EnsembleRegressor(cv=GroupKFold(2)), ValueError, "groups"),
    (cnn.EnsembleRegressor(cv=[]), ValueError, r"cv makes no folds: \[\]"),
    (cnn.EnsembleRegressor(cv=[(range(240), [240])]), ValueError, "a fold of cv holds out row 240; the rows are 0"),
    (cnn.EnsembleRegressor(cv=[(range(240), [])]), ValueError, "a fold of cv holds out 0 of 240 rows: it must be some"),
]  # fmt: skip


@pytest.mark.parametrize(("ensemble", "kind", "text"), BAD, ids=range(len(BAD)))
def test_bad_parameters(ensemble: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        ensemble.fit(X, Y if isinstance(ensemble, cnn.EnsembleRegressor) else LABELS)
    assert not hasattr(ensemble, "estimators_")


@pytest.mark.parametrize("quantiles", [1.5, [-0.1], [], [[0.5]], [math.nan]])
def test_bad_quantiles(fitted: cnn.EnsembleRegressor, quantiles: Any) -> None:
    with pytest.raises(ValueError, match=r"quantiles must be numbers in \[0, 1\], got"):
        fitted.predict_quantiles(X, quantiles)


def test_commands_take_the_file(fitted: cnn.EnsembleRegressor, tmp_path, run: Any) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("typer")
    fitted.save(tmp_path / "m.cnn")
    pd.DataFrame(X, columns=list("abcd")).to_csv(tmp_path / "t.csv", index=False)
    done = run("predict", "m.cnn", "t.csv", "--only-predictions", "-o", "p.csv")
    assert done.code == 0, done.err
    np.testing.assert_allclose(pd.read_csv("p.csv")["prediction"], fitted.predict(X), rtol=1e-5)
    shown = run("inspect", "m.cnn")
    assert "EnsembleRegressor" in shown.out
    assert "out-of-member score" in shown.out
    classifier(n_estimators=2).fit(X, LABELS).save(tmp_path / "c.cnn")
    done = run("predict", "c.cnn", "t.csv", "--probabilities", "--only-predictions", "-o", "p.csv")
    assert done.code == 0, done.err
    assert list(pd.read_csv("p.csv")) == ["prediction", "probability_low", "probability_mid", "probability_top"]
