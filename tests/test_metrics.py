"""Metrics beside scikit-learn's, for one output, classes, several labels and several values a row."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

import cnn
import cnn_core
from cnn import metrics
from cnn.losses import Loss

TIGHT = {"rel": 1e-12, "abs": 1e-15}
AVERAGED = {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}
REGRESSION = {"mae": sk.mean_absolute_error, "rmse": sk.root_mean_squared_error, "r2": sk.r2_score}


def all_labels(name: str, true, predicted, weights, average: str):
    """scikit-learn's score; its warnings about one class only are not the point here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        score = sk.accuracy_score if name == "accuracy" else AVERAGED[name]
        options = {} if name == "accuracy" else {"average": average, "zero_division": 0}
        return score(true, predicted, sample_weight=weights, **options)


def weights_or_none(rng: np.random.Generator, n: int, weighted: bool):
    return rng.uniform(0.1, 3, n) if weighted else None


def test_every_metric_is_tested_here():
    assert set(metrics.BY_NAME) == {*REGRESSION, *AVERAGED, "accuracy", "top_k_accuracy", "roc_auc", "log_loss"}


# Regression -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REGRESSION)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("weighted", [False, True])
def test_regression(name, dtype, weighted):
    rng = np.random.default_rng(0)
    for n, k in [(2, 1), (50, 1), (50, 3), (1000, 2)]:
        y, p = (rng.normal(size=(2, n, k)) * 5).astype(dtype)
        w = weights_or_none(rng, n, weighted)
        oracle = REGRESSION[name](y.astype(float), p.astype(float), sample_weight=w)
        assert metrics.BY_NAME[name](y, p, w) == pytest.approx(oracle, rel=1e-11)
        if k == 1:
            assert metrics.BY_NAME[name](y[:, 0], p, w) == pytest.approx(oracle, rel=1e-11)
            assert metrics.BY_NAME[name](y, p[:, 0], w) == pytest.approx(oracle, rel=1e-11)


def test_r2_of_constants():
    ones = np.ones(4)
    assert metrics.r2(ones, ones) == sk.r2_score(ones, ones) == 1
    assert metrics.r2(ones, ones + 1) == sk.r2_score(ones, ones + 1) == 0
    assert np.isnan(metrics.r2(ones[:1], ones[:1]))
    y = np.stack([ones, np.arange(4.0)], axis=1)
    assert metrics.r2(y, y[:, ::-1]) == pytest.approx(sk.r2_score(y, y[:, ::-1]))


@pytest.mark.parametrize("name", REGRESSION)
def test_shapes_that_do_not_match(name):
    with pytest.raises(ValueError, match=r"of shape \(3,\) can't be compared with a prediction of shape \(3, 2\)"):
        metrics.BY_NAME[name](np.zeros(3), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="3 targets, but 4 predictions"):
        metrics.BY_NAME[name](np.zeros(3), np.zeros(4))


# Classification -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["accuracy", *AVERAGED])
@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.booleans(), st.booleans(), st.sampled_from([0.0, 0.3, 1.0]))
@settings(max_examples=60, deadline=None)
def test_binary(name, n, seed, weighted, column, share):
    rng = np.random.default_rng(seed)
    y, p = (rng.uniform(size=n) < share).astype(int), rng.integers(0, 11, n) / 10  # 0.5 comes up
    w = weights_or_none(rng, n, weighted)
    oracle = all_labels(name, y, p > 0.5, w, "binary")
    shaped = p[:, None] if column else p
    assert metrics.BY_NAME[name](y, shaped, w) == pytest.approx(oracle, **TIGHT)
    assert metrics.BY_NAME[name](y[:, None].astype(np.float32), shaped, w) == pytest.approx(oracle, **TIGHT)
    pair = np.stack([1 - p, p], axis=1)
    assert metrics.BY_NAME[name](y, pair, w) == pytest.approx(all_labels(name, y, pair.argmax(1), w, "binary"), **TIGHT)


@pytest.mark.parametrize("name", ["accuracy", *AVERAGED])
@given(st.integers(1, 60), st.integers(3, 7), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=60, deadline=None)
def test_several_classes(name, n, k, seed, weighted):
    rng = np.random.default_rng(seed)
    present = rng.choice(k, rng.integers(1, k + 1), replace=False)  # the others are absent from the targets
    y, p = rng.choice(present, n), rng.dirichlet(np.full(k, 0.3), n)
    w = weights_or_none(rng, n, weighted)
    if weighted:
        w[rng.integers(n)] = 0
        w[0] = 1
    oracle = all_labels(name, y, p.argmax(axis=1), w, "macro")
    for targets in (y, y[:, None], y.astype(np.float32), np.eye(k)[y]):
        assert metrics.BY_NAME[name](targets, p, w) == pytest.approx(oracle, **TIGHT)


@pytest.mark.parametrize("name", ["accuracy", *AVERAGED])
@given(st.integers(1, 40), st.integers(2, 5), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=60, deadline=None)
def test_several_labels(name, n, k, seed, weighted):
    rng = np.random.default_rng(seed)
    y, p = rng.integers(2, size=(n, k)), rng.uniform(size=(n, k))
    y[0] = 1  # so that the rows are not those of one class each
    w = weights_or_none(rng, n, weighted)
    assert metrics.BY_NAME[name](y, p, w) == pytest.approx(all_labels(name, y, p > 0.5, w, "macro"), **TIGHT)


def test_several_labels_whose_probabilities_happen_to_sum_to_one():
    y, p = np.array([[1, 1], [0, 0]]), np.array([[0.6, 0.4], [0.3, 0.7]])
    assert metrics.accuracy(y, p) == 0
    assert metrics.recall(y, p) == pytest.approx(0.5)


def test_labels_of_plus_and_minus_one_are_told_apart_at_zero():
    y, margin = np.array([-1, -1, 1, 1]), np.array([-0.2, 0.1, 0.3, -2.0])
    assert metrics.accuracy(y, margin) == 0.5
    assert metrics.precision(y, margin) == 0.5
    assert metrics.roc_auc(y, margin) == sk.roc_auc_score(y, margin)


@given(st.integers(2, 60), st.integers(3, 8), st.integers(1, 9), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=100, deadline=None)
def test_top_k(n, k, top, seed, weighted):
    rng = np.random.default_rng(seed)
    y, p = rng.integers(k, size=n), rng.integers(0, 4, (n, k)) / 4  # ties
    w = weights_or_none(rng, n, weighted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = sk.top_k_accuracy_score(y, p, k=top, sample_weight=w, labels=np.arange(k))
    assert metrics.top_k_accuracy(y, p, w, top) == pytest.approx(oracle, **TIGHT)


def test_top_k_of_one_output_and_of_labels():
    y, p = np.array([0, 1, 1]), np.array([0.7, 0.8, 0.1])
    assert metrics.top_k_accuracy(y, p, k=1) == pytest.approx(sk.top_k_accuracy_score(y, p, k=1))
    assert metrics.top_k_accuracy(y, p[:, None], k=1) == pytest.approx(1 / 3)
    assert metrics.top_k_accuracy(y, p) == 1
    with pytest.raises(ValueError, match="top_k_accuracy needs one class a row, got several labels a row"):
        metrics.top_k_accuracy(np.ones((2, 3)), np.full((2, 3), 0.9))


# ROC and log loss -----------------------------------------------------------------------------------------------------


@given(st.integers(2, 80), st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([3, 10, 10**6]))
@settings(max_examples=150, deadline=None)
def test_binary_roc_auc(n, seed, weighted, levels):
    rng = np.random.default_rng(seed)
    y, p = rng.integers(2, size=n), rng.integers(0, levels, n) / levels
    y[:2] = 0, 1
    w = weights_or_none(rng, n, weighted)
    oracle = pytest.approx(sk.roc_auc_score(y, p, sample_weight=w), **TIGHT)
    assert metrics.roc_auc(y, p, w) == oracle
    assert metrics.roc_auc(y[:, None], p[:, None].astype(np.float32), w) == oracle
    assert metrics.roc_auc(y, np.stack([1 - p, p], axis=1), w) == oracle


@pytest.mark.parametrize("weighted", [False, True])
def test_roc_auc_of_classes_and_of_labels(weighted):
    rng = np.random.default_rng(2)
    y, p = rng.integers(4, size=90), rng.dirichlet(np.ones(4), 90)
    w = weights_or_none(rng, 90, weighted)
    oracle = sk.roc_auc_score(y, p, multi_class="ovr", average="macro", sample_weight=w)
    for targets in (y, y[:, None], np.eye(4)[y]):
        assert metrics.roc_auc(targets, p, w) == pytest.approx(oracle, **TIGHT)
    labels, score = rng.integers(2, size=(90, 3)), rng.uniform(size=(90, 3))
    oracle = sk.roc_auc_score(labels, score, sample_weight=w)
    assert metrics.roc_auc(labels, score, w) == pytest.approx(oracle, **TIGHT)


def test_roc_auc_of_one_class_is_nan():
    assert np.isnan(metrics.roc_auc(np.zeros(3), np.arange(3.0)))
    assert np.isnan(metrics.roc_auc(np.ones(3), np.arange(3.0)))
    assert np.isnan(metrics.roc_auc(np.array([0, 1, 1]), np.eye(3)))
    assert np.isnan(metrics.roc_auc(np.array([0, 1]), np.arange(2.0), np.array([1.0, 0.0])))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_loss(weighted, dtype):
    rng = np.random.default_rng(3)
    y, p = rng.integers(2, size=50), rng.uniform(size=50).astype(dtype)
    p[:4] = 0, 1, 0, 1  # held at the type's epsilon
    y[:4] = 0, 1, 1, 0
    w = weights_or_none(rng, 50, weighted)
    bound = 1e-6 if dtype is np.float32 else 1e-12
    oracle = sk.log_loss(y, p, sample_weight=w)
    for targets, given_as in [(y, p), (y[:, None], p[:, None]), (y.astype(float), p[:, None])]:
        assert metrics.log_loss(targets, given_as, w) == pytest.approx(oracle, rel=bound)
    classes, table = rng.integers(4, size=50), softmax(rng.normal(size=(50, 4)) * 3, axis=1).astype(dtype)
    table[0], classes[0] = (1, 0, 0, 0), 2
    oracle = sk.log_loss(classes, table, sample_weight=w, labels=range(4))
    for targets in (classes, classes[:, None], np.eye(4)[classes]):
        assert metrics.log_loss(targets, table, w) == pytest.approx(oracle, rel=bound)
    labels, shares = rng.integers(2, size=(50, 3)), rng.uniform(size=(50, 3)).astype(dtype)
    oracle = np.mean([sk.log_loss(labels[:, j], shares[:, j], sample_weight=w) for j in range(3)])
    assert metrics.log_loss(labels, shares, w) == pytest.approx(oracle, rel=bound)


# Names ----------------------------------------------------------------------------------------------------------------


def test_get():
    for name, function in metrics.BY_NAME.items():
        assert metrics.get(name) == (name, function)
        assert metrics.get(name.upper().replace("_", "-")) == (name, function)
    assert metrics.get("AUC") == ("roc_auc", metrics.roc_auc)

    def largest_error(y, p, weights):
        return float(np.abs(y - p).max())

    assert metrics.get(largest_error) == ("largest_error", largest_error)
    with pytest.raises(ValueError, match=r"unknown metric 'acuracy'\. Did you mean 'accuracy'\? Known: accuracy, f1"):
        metrics.get("acuracy")
    with pytest.raises(TypeError, match="a metric must be a name or a function, got 3"):
        metrics.get(3)


def test_default_for_every_loss():
    for kind in cnn_core.Loss:
        names = metrics.default_for(Loss(kind.name))
        assert all(name in metrics.BY_NAME for name in names)
        assert ("accuracy" in names) == kind.name.endswith("CROSS_ENTROPY")
        assert ("rmse" in names) == (not kind.name.endswith("CROSS_ENTROPY") and not kind.name.endswith("HINGE"))


def test_two_metrics_of_one_name_are_refused() -> None:
    X, y = np.ones((8, 1)), np.zeros(8)

    def rmse(y: Any, p: Any, w: Any) -> float:
        return 0.0

    def loss(y: Any, p: Any, w: Any) -> float:
        return 0.0

    def val_mae(y: Any, p: Any, w: Any) -> float:
        return 0.0

    def largest(y: Any, p: Any, w: Any) -> float:
        return float(np.abs(y - p).max())

    net = cnn.Network([cnn.Dense(1)], seed=0)
    for chosen in (["rmse", rmse], [lambda *_: 0.0, lambda *_: 1.0]):
        with pytest.raises(ValueError, match="two metrics have the name"):
            net.fit(X, y, metrics=chosen, verbose=0)
    for own in (loss, val_mae):
        with pytest.raises(ValueError, match=r"a metric can't have the name .* which logs have for something else"):
            net.fit(X, y, metrics=[own], verbose=0)
    with pytest.raises(TypeError, match=r"must be a name, a function or a list of them \(\(\) for none\), got None"):
        net.fit(X, y, metrics=None, verbose=0)
    assert net.known_inputs is None
    assert "largest" in net.fit(X, y, metrics=largest, epochs=1, verbose=0).names
    assert "rmse" in net.fit(X, y, metrics=["rmse", "root_mean_squared_error"], epochs=1, verbose=0).names


@pytest.mark.parametrize("name", ["accuracy", "f1", "precision", "recall", "roc_auc", "log_loss", "top_k_accuracy"])
def test_metrics_of_classes_are_refused_for_numbers(name: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 2))
    net = cnn.Network([cnn.Dense(1)], seed=0).build(2)
    for y in (X[:, 0], rng.integers(0, 9, 30), X[:, 0] * 0.01):
        for ask in (net.fit, net.evaluate):
            how = {"verbose": 0} if ask == net.fit else {}
            with pytest.raises(ValueError, match=f"{name} compares classes, and the target holds"):
                ask(X, y, metrics=(name,), **how)
    assert net.step == 0
    net.fit(X, (X[:, 0] > 0).astype(float), metrics=("accuracy",), epochs=1, verbose=0)  # yes and no by squares


@pytest.mark.parametrize("name", ["accuracy", "f1", "precision", "recall", "roc_auc", "log_loss", "top_k_accuracy"])
def test_targets_that_are_no_classes(name: str) -> None:
    """By the function itself, through a partial, by an estimator, and in rows held out alone: before the fit."""
    rng = np.random.default_rng(0)
    X, metric, p = rng.normal(size=(30, 2)), getattr(metrics, name), np.full((30, 3), 1 / 3)
    labels = np.arange(30) % 3
    for y, prediction in ((X[:, 0], X[:, 1]), (labels + 0.5, p), (labels + 1, p), (labels - 1, p), (X, X)):
        with pytest.raises(ValueError, match=r"targets must be|needs one class"):
            metric(y, prediction)
    net = cnn.Network([cnn.Dense(1)], seed=0)
    with pytest.raises(ValueError, match="partial compares classes"):
        net.fit(X, X[:, 0], metrics=[partial(metric)], verbose=0)
    with pytest.raises(ValueError, match=f"{name} compares classes"):
        net.fit(X, (X[:, 0] > 0) * 1.0, validation_data=(X, X[:, 0]), metrics=[name], verbose=0)
    assert len(net.history) == 0
    for solver in ("adam", "lbfgs"):
        with pytest.raises(ValueError, match=f"{name} compares classes"):
            cnn.MLPRegressor(metrics=[name], solver=solver).fit(X, X[:, 0])


def test_metrics_of_margins_say_yes_above_zero() -> None:
    """Whether targets are ±1 or 0 and 1, and where all are the same."""
    X = np.random.default_rng(0).normal(size=(60, 2))
    y = np.where(X[:, 0] > 0.1, 1, -1)
    net = cnn.Network([cnn.Dense(1)], loss="hinge", seed=0).build(2)
    yes = net.predict_classes(X)[:, 0]
    for rows in (y != 0, y == 1, y == -1):
        wanted = np.mean(yes[rows] == y[rows])
        for targets in (y, (y + 1) // 2):
            found = net.evaluate(X[rows], targets[rows], metrics=["accuracy", "recall"])
            assert found["accuracy"] == wanted
            assert found["recall"] == sk.recall_score(y[rows], yes[rows], zero_division=0)
    with pytest.raises(ValueError, match="log_loss needs probabilities, and the outputs of hinge are margins"):
        net.fit(X, y, metrics=["log_loss"], verbose=0)


def test_the_score_of_an_estimator_is_no_metric() -> None:
    def score(y: Any, p: Any, w: Any) -> float:
        return 0.0

    with pytest.raises(ValueError, match="a metric can't have the name 'score'"):
        cnn.MLPRegressor(metrics=[score]).fit([[0.0], [1.0]], [0.0, 1.0])


def test_metrics_of_numbers_are_refused_for_classes_before_the_fit() -> None:
    net = cnn.Network([cnn.Dense(3)], loss="cross_entropy", seed=0).build(2)
    with pytest.raises(ValueError, match="can't be compared with a prediction of shape"):
        net.fit(np.ones((9, 2)), np.arange(9) % 3, metrics=("rmse",), sample_weight=np.arange(9) % 2, verbose=0)
    assert net.step == 0
