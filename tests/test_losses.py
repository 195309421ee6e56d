"""Losses of the core, on every engine, in both types: values, derivatives, extremes, links."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import sklearn.metrics

import cnn
import cnn_core
from cnn.losses import KINDS, BinaryCrossEntropy, CrossEntropy, Huber, Loss, Quantile, RowLoss, Tweedie

NAMES = [kind.name.lower() for kind in cnn_core.Loss]
ENGINES = cnn_core.engines()
ROWS, OUTPUTS = (1, 63, 64, 65, 130), (1, 2, 3, 7, 64, 65)
CASES = [(name, p) for name in NAMES for p in reference.PARAMETERS.get(name, (0.0,))]
BOUND = {np.float32: 3e-6, np.float64: 1e-14}

engines = pytest.mark.parametrize("engine", ENGINES.values(), ids=list(ENGINES))
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def describe(name: str, p: float) -> Loss:
    made = {cls().name: cls for cls in KINDS if cls not in (Loss, RowLoss)}
    return made[name](p) if name in made else Loss(name)


def compute(engine, loss, f, targets=None, classes=None, weights=None, scale=1.0):
    """(sum of w * loss, delta) from the engine."""
    delta = np.full_like(f, np.nan)
    total = engine.loss_block(loss.spec(f.shape[1]), f, targets, classes, weights, scale, delta)
    return total, delta


def draw_targets(name, rng, rows, k, dtype):
    return np.ascontiguousarray(reference.draw_targets(name, rng, rows, k), dtype)


def draw_outputs(name, rng, rows, k, dtype, scale=1):
    """Those for k targets."""
    return np.ascontiguousarray(rng.normal(size=(rows, reference.n_outputs(name, k))) * scale, dtype)


@engines
@dtypes
@pytest.mark.parametrize(("name", "p"), CASES)
def test_value_and_delta_equal_the_reference(name, p, dtype, engine):
    rng = np.random.default_rng(1)
    for rows in ROWS:
        for k in OUTPUTS:
            f = draw_outputs(name, rng, rows, k, dtype, 3)
            t, w = draw_targets(name, rng, rows, k, dtype), rng.uniform(0, 2, rows).astype(dtype)
            value, slope = reference.row_losses(name, f.astype(float), t.astype(float), p)
            for weights in (None, w):
                factor = np.ones(rows) if weights is None else weights.astype(float)
                total, delta = compute(engine, describe(name, p), f, t, None, weights, 0.37)
                size = factor @ np.abs(value) + factor.sum()
                assert total == pytest.approx(factor @ value, abs=BOUND[dtype] * size)
                bound = BOUND[dtype] * (1 + np.abs(slope) * k)
                assert np.all(np.abs(delta - 0.37 * factor[:, None] * slope) <= bound)


@engines
@pytest.mark.parametrize(("name", "p"), CASES)
@pytest.mark.parametrize("k", [1, 3, 65])
def test_delta_is_the_central_difference(name, p, k, engine):
    rng = np.random.default_rng(2)
    f, w = draw_outputs(name, rng, 4, k, np.float64), rng.uniform(0.5, 2, 4)
    t = draw_targets(name, rng, 4, k, np.float64)
    # A kink (f = t, |f - t| = delta, t f = 1) within a step of f would spoil the difference: move such outputs away.
    f[:, :k][np.abs(np.abs(f[:, :k] - t) - p) < 1e-3] += 0.01
    f[np.abs(np.abs(f) - 1) < 1e-3] += 0.01
    loss, h = describe(name, p), 1e-5
    _, delta = compute(engine, loss, f, t, None, w, 0.5)
    for position in np.ndindex(f.shape):
        sides = []
        for sign in (1, -1):
            moved = f.copy()
            moved[position] += sign * h
            sides.append(compute(engine, loss, moved, t, None, w)[0])
        assert delta[position] == pytest.approx(0.5 * (sides[0] - sides[1]) / (2 * h), rel=1e-6, abs=1e-8)


@engines
@dtypes
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_classes_are_one_hot_probabilities(smoothing, dtype, engine):
    rng = np.random.default_rng(3)
    for rows in ROWS:
        for k in OUTPUTS:
            f, y = rng.normal(size=(rows, k)).astype(dtype), rng.integers(k, size=rows).astype(np.int32)
            w, loss = rng.uniform(0, 2, rows).astype(dtype), CrossEntropy(smoothing)
            by_class, delta_c = compute(engine, loss, f, None, y, w, 0.1)
            by_share, delta_s = compute(engine, loss, f, np.eye(k, dtype=dtype)[y], None, w, 0.1)
            assert by_class == pytest.approx(by_share, rel=4 * BOUND[dtype])
            np.testing.assert_allclose(delta_c, delta_s, atol=BOUND[dtype])


@engines
@dtypes
def test_weights_scale_a_row_and_nothing_else(dtype, engine):
    rng = np.random.default_rng(4)
    for name in NAMES:
        f, t = draw_outputs(name, rng, 3, 2, dtype), draw_targets(name, rng, 3, 2, dtype)
        whole, delta = compute(engine, Loss(name), f, t, None, np.array([0, 4, 1], dtype))
        rows = [compute(engine, Loss(name), f[r : r + 1], t[r : r + 1]) for r in range(3)]
        assert whole == pytest.approx(4 * rows[1][0] + rows[2][0], rel=1e-6)
        assert not delta[0].any()
        np.testing.assert_array_equal(delta[1], 4 * rows[1][1][0])
        np.testing.assert_array_equal(delta[2], rows[2][1][0])


@engines
@dtypes
@pytest.mark.parametrize(
    ("loss", "f", "t"),
    [
        (Loss("mae"), 0.5, 0.5),
        (Quantile(0.9), 0.5, 0.5),
        (Huber(1.0), 1.5, 0.5),
        (Huber(1.0), -0.5, 0.5),
        (Loss("hinge"), 1.0, 1.0),
        (Loss("hinge"), -1.0, 0.0),
        (Loss("squared_hinge"), 1.0, 1.0),
        (Loss("squared_hinge"), -1.0, 0.0),
        (Loss("log_cosh"), 0.5, 0.5),
    ],
)
def test_kinks(loss, f, t, dtype, engine):
    p = loss.parameters()["parameter"]
    value, slope = reference.row_losses(loss.name, np.array([[f]]), np.array([[t]]), p)
    total, delta = compute(engine, loss, np.array([[f]], dtype), np.array([[t]], dtype))
    assert total == value[0]
    assert delta[0, 0] == slope[0, 0]


@engines
@dtypes
def test_no_rows(dtype, engine):
    for name in NAMES:
        f = draw_outputs(name, np.random.default_rng(0), 0, 3, dtype)
        assert compute(engine, Loss(name), f, np.empty((0, 3), dtype))[0] == 0


# Losses that are infinite where a prediction is far off, and never NaN: (loss, outputs, target, value, slopes).
FAR = [
    (Loss("squared_hinge"), [1e30], 1, 0, [0]),
    (Loss("squared_hinge"), [-999], 1, 1e6, [-2e3]),
    (Loss("gaussian_nll"), [1, -1e4], 1, -5e3, [0, 0.5]),
    (Loss("gaussian_nll"), [2, -1e4], 1, np.inf, [np.inf, -np.inf]),
    (Loss("gaussian_nll"), [2, 1e4], 1, 5e3, [0, 0.5]), (Loss("gaussian_nll"), [2, 0], 1, 0.5, [1, 0]),
    (Tweedie(), [-1e4], 0, 0, [0]), (Tweedie(), [-1e4], 1, np.inf, [-np.inf]),
    (Tweedie(), [1e4], 1, np.inf, [np.inf]), (Tweedie(), [0], 0, 2, [1]),
    (Loss("gamma"), [1e4], 3, 1e4, [1]), (Loss("gamma"), [1e30], 3, 1e30, [1]),
    (Loss("gamma"), [-1e4], 3, np.inf, [-np.inf]),
    (Loss("poisson"), [1e4], 1, np.inf, [np.inf]), (Loss("poisson"), [-1e4], 1, 1e4, [-1]),
]  # fmt: skip


@engines
@dtypes
@pytest.mark.parametrize(("loss", "f", "t", "value", "slopes"), FAR)
def test_far_off(loss, f, t, value, slopes, dtype, engine):
    total, delta = compute(engine, loss, np.array([f], dtype), np.array([[t]], dtype))
    assert total == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(delta[0], slopes, rtol=1e-6)


def test_what_gamma_is_given_and_predicts():
    """Targets above 0; the link is exp; the default metric that of numbers."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    y = np.exp(X[:, 0]) * rng.gamma(4, 0.25, 200)
    net = cnn.Network([cnn.Dense(1)], loss="gamma", optimizer=cnn.Adam(0.05), dtype="float64", seed=0)
    history = net.fit(X, y, epochs=60, verbose=0)
    assert set(history.names) >= {"loss", "rmse"}
    np.testing.assert_allclose(net.layers[0].weights[:, 0], [1, 0], atol=0.15)
    np.testing.assert_allclose(net.predict(X), np.exp(net.forward(X)[:, 0]), rtol=1e-13)
    for wrong in (0.0, -1.0):
        with pytest.raises(ValueError, match=f"y must be > 0 for gamma, got {wrong:g} at row 3, column 0"):
            net.fit(X[:5], [1, 1, 1, wrong, 1], verbose=0)


def test_what_tweedie_is_given_and_predicts():
    for power in (1, 2, 0.5, np.nan):
        with pytest.raises(ValueError, match=r"power of Tweedie must be in \(1, 2\), got"):
            Tweedie(power)
    assert Loss("tweedie").spec(1)["parameter"] == Tweedie().power == 1.5
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    y = np.exp(X[:, 0]) * 2 * rng.integers(0, 2, 300)
    net = cnn.Network([cnn.Dense(1)], loss=cnn.Tweedie(1.2), optimizer=cnn.Adam(0.05), dtype="float64", seed=0)
    history = net.fit(X, y, epochs=60, verbose=0)
    assert set(history.names) >= {"loss", "rmse"}
    np.testing.assert_allclose(net.layers[0].weights[:, 0], [1, 0], atol=0.2)
    np.testing.assert_allclose(net.predict(X), np.exp(net.forward(X)[:, 0]), rtol=1e-13)
    with pytest.raises(ValueError, match="y must be >= 0 for tweedie, got -1 at row 2, column 0"):
        net.fit(X[:3], [1, 0, -1], verbose=0)


def test_what_squared_hinge_is_given_and_predicts():
    """Targets, margins and classes as of hinge; the squared slacks are those of LinearSVC's loss."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 2))
    signs = np.where(X[:, 0] > 0, 1.0, -1.0)
    nets = [cnn.Network([cnn.Dense(1)], loss="squared_hinge", dtype="float64", seed=0) for _ in range(2)]
    for net, y in zip(nets, (signs, signs > 0), strict=True):
        history = net.fit(X, y, epochs=30, verbose=0)
        assert "rmse" not in history.names
    assert nets[0].flat.tobytes() == nets[1].flat.tobytes()
    np.testing.assert_array_equal(nets[0].predict(X), nets[0].forward(X)[:, 0])
    np.testing.assert_array_equal(nets[0].predict_classes(X), np.where(nets[0].predict(X) > 0, 1, -1))
    value = np.mean(np.maximum(0, 1 - signs * nets[0].predict(X)) ** 2)
    assert nets[0].evaluate(X, signs)["loss"] == pytest.approx(value, rel=1e-12)
    with pytest.raises(ValueError, match=r"y must be -1 or 1 \(or 0 and 1\) for squared_hinge, got 2 at row 1"):
        nets[0].fit(X[:2], [1, 2], verbose=0)


def test_gaussian_nll_learns_means_and_variances():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (2000, 1))
    y = 2 * X[:, 0] + np.exp(X[:, 0] - 1) * rng.normal(size=2000)
    net = cnn.Network([cnn.Dense(2)], loss="gaussian_nll", optimizer=cnn.Adam(0.05), dtype="float64", seed=0)
    history = net.fit(X, y, epochs=40, verbose=0, validation_data=(X, y[:, None]))
    np.testing.assert_allclose(net.layers[0].weights[0], [2, 2], atol=0.15)
    np.testing.assert_allclose(net.layers[0].biases, [0, -2], atol=0.15)
    mean, s = net.forward(X).T
    np.testing.assert_allclose(net.predict(X), np.column_stack([mean, np.exp(s)]), rtol=1e-13)
    found = net.evaluate(X, y)
    assert found["loss"] == pytest.approx(np.mean((s + (mean - y) ** 2 * np.exp(-s)) / 2), rel=1e-12)
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean((mean - y) ** 2)), rel=1e-12)
    assert history["val_rmse"][-1] == pytest.approx(found["rmse"], rel=1e-12)
    assert history["rmse"][-1] == pytest.approx(found["rmse"], rel=0.05)


def test_gaussian_nll_has_two_outputs_for_each_target():
    X = np.zeros((4, 3))
    with pytest.raises(ValueError, match="gaussian_nll needs 2 outputs for each target, and the network has 3"):
        cnn.Network([cnn.Dense(3)], loss="gaussian_nll")
    net = cnn.Network([cnn.Dense(4)], loss="gaussian_nll", seed=0)
    net.fit(X, np.zeros((4, 2)), epochs=1, verbose=0, metrics=["mae", "r2"])
    assert net.predict(X).shape == (4, 4)
    for wrong in (np.zeros(4), np.zeros((4, 4))):
        with pytest.raises(ValueError, match="but the network has 4 outputs per row, 2 for each target"):
            net.fit(X, wrong, verbose=0)
    with pytest.raises(ValueError, match="can't be trained by loss 'gaussian_nll', which has 2 outputs for each"):
        cnn.MLPRegressor("gaussian_nll").fit(X, np.zeros(4))
    with pytest.raises(ValueError, match="scikit-learn's networks know no loss 'gaussian_nll'"):
        cnn.to_sklearn(net)


# Numbers from elsewhere -----------------------------------------------------------------------------------------------


@engines
@pytest.mark.parametrize(
    ("loss", "f", "t", "value"),
    [
        (Loss("mse"), [[1.0, 2.0]], [[3.0, 2.0]], 2.0),
        (Loss("mae"), [[1.0, 2.0]], [[3.0, 2.5]], 1.25),
        (Huber(1.0), [[0.5]], [[0.0]], 0.125),
        (Huber(1.0), [[3.0]], [[0.0]], 2.5),
        (Huber(2.0), [[3.0]], [[0.0]], 4.0),
        (Loss("log_cosh"), [[1.0]], [[0.0]], 0.4337808304830272),
        (Quantile(0.9), [[1.0, 1.0]], [[3.0, 0.0]], (0.9 * 2 + 0.1) / 2),
        (Loss("poisson"), [[0.0]], [[2.0]], 1.0),
        (Loss("poisson"), [[1.0]], [[2.0]], 0.7182818284590451),
        (Loss("binary_cross_entropy"), [[0.0]], [[1.0]], 0.6931471805599453),
        (Loss("binary_cross_entropy"), [[1.5]], [[1.0]], 0.20141327798275246),  # -log sigmoid(1.5)
        (Loss("binary_cross_entropy"), [[1.5]], [[0.0]], 1.7014132779827524),
        (BinaryCrossEntropy(0.2), [[0.0]], [[1.0]], 0.6931471805599453),
        (BinaryCrossEntropy(0.2), [[1.5]], [[1.0]], 0.9 * 0.20141327798275246 + 0.1 * 1.7014132779827524),
        (Loss("cross_entropy"), [[0.0, 0.0]], [[0.5, 0.5]], 0.6931471805599453),
        (Loss("cross_entropy"), [[1.0, 2.0, 3.0]], [[0.0, 0.0, 1.0]], 0.4076059644443803),
        (CrossEntropy(0.3), [[1.0, 2.0, 3.0]], [[0.0, 0.0, 1.0]], 0.4076059644443803 + 0.3),  # 0.1 (0 + 1 + 2) more
        (Loss("hinge"), [[0.5, -2.0, 3.0]], [[1.0, 1.0, -1.0]], (0.5 + 3 + 4) / 3),
        (Loss("hinge"), [[0.5]], [[0.0]], 1.5),
        (Loss("squared_hinge"), [[0.5, -2.0, 3.0]], [[1.0, 1.0, -1.0]], (0.25 + 9 + 16) / 3),
        (Loss("squared_hinge"), [[0.5]], [[0.0]], 2.25),
        (Loss("gaussian_nll"), [[1.0, 0.5]], [[3.0]], (0.5 + 4 * np.exp(-0.5)) / 2),  # PyTorch's, full=False
        (Loss("gamma"), [[0.0, 1.0]], [[2.0, 2.0]], (2 + 2 / np.e + 1) / 2),
    ],
)
def test_values_computed_by_hand(loss, f, t, value, engine):
    """PyTorch's losses with reduction="mean" have these values (poisson: log_input=True, full=False)."""
    assert compute(engine, loss, np.array(f), np.array(t))[0] == pytest.approx(value, rel=1e-14)


@engines
def test_scikit_learn_has_the_same_losses(engine):
    rng = np.random.default_rng(7)
    f, y, w = rng.normal(size=(40, 4)), rng.integers(4, size=40).astype(np.int32), rng.uniform(0.1, 2, 40)
    real = rng.normal(size=(40, 4))
    probability = np.empty_like(f)

    def mean(loss, targets=None, classes=None, outputs=f):
        return compute(engine, loss, outputs, targets, classes, w, 1.0)[0] / w.sum()

    engine.link(cnn_core.Loss.CROSS_ENTROPY, f, probability)
    assert mean(Loss("cross_entropy"), None, y) == pytest.approx(
        sklearn.metrics.log_loss(y, probability, sample_weight=w), rel=1e-13
    )
    column = np.ascontiguousarray(f[:, :1])
    binary = (y > 1).astype(float)[:, None]
    engine.link(cnn_core.Loss.BINARY_CROSS_ENTROPY, column, probability := np.empty_like(column))
    assert mean(Loss("binary_cross_entropy"), binary, outputs=column) == pytest.approx(
        sklearn.metrics.log_loss(binary[:, 0], probability[:, 0], sample_weight=w), rel=1e-13
    )
    assert mean(Loss("hinge"), binary, outputs=column) == pytest.approx(
        sklearn.metrics.hinge_loss(binary[:, 0], column[:, 0], sample_weight=w), rel=1e-13
    )
    for loss, oracle in (("mse", sklearn.metrics.mean_squared_error), ("mae", sklearn.metrics.mean_absolute_error)):
        assert mean(Loss(loss), real) == pytest.approx(oracle(real, f, sample_weight=w), rel=1e-13)
    for q in (0.1, 0.5, 0.9):
        pinball = sklearn.metrics.mean_pinball_loss(real, f, sample_weight=w, alpha=q)
        assert mean(Quantile(q), real) == pytest.approx(pinball, rel=1e-13)
    positive = rng.gamma(2, size=(40, 1)) + 0.01
    deviance = sklearn.metrics.mean_gamma_deviance(positive[:, 0], np.exp(column[:, 0]), sample_weight=w)
    least = np.average(1 + np.log(positive[:, 0]), weights=w)
    assert mean(Loss("gamma"), positive, outputs=column) == pytest.approx(deviance / 2 + least, rel=1e-12)
    some = positive * rng.integers(0, 2, (40, 1))
    for power in (1.2, 1.5, 1.9):
        deviance = sklearn.metrics.mean_tweedie_deviance(
            some[:, 0], np.exp(column[:, 0]), sample_weight=w, power=power)  # fmt: skip
        least = np.average(some[:, 0] ** (2 - power) / (1 - power) / (2 - power), weights=w)
        assert mean(Tweedie(power), some, outputs=column) == pytest.approx(deviance / 2 - least, rel=1e-12)
    counts = rng.poisson(2, (40, 1)).astype(float)
    deviance = sklearn.metrics.mean_poisson_deviance(counts[:, 0], np.exp(column[:, 0]), sample_weight=w)
    saturated = np.where(counts > 0, counts - counts * np.log(np.maximum(counts, 1)), 0.0)[:, 0]
    assert mean(Loss("poisson"), counts, outputs=column) == pytest.approx(
        deviance / 2 + np.average(saturated, weights=w), rel=1e-12
    )
