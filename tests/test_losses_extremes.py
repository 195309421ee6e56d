"""Losses of the core for outputs of any size, on every engine, in both types: finite, exact, and NaN for NaN."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import reference
from test_losses import NAMES, compute, draw_outputs, draw_targets, dtypes, engines

from cnn.losses import BinaryCrossEntropy, CrossEntropy, Loss, Tweedie

SIZES = [50.0, 88.8, 104.0, 745.0, 1e4, 1e30]


@engines
@dtypes
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_finite_for_any_logit(smoothing, dtype, engine):
    # The distance of two logits, which is what the loss can come to, must itself be representable.
    for size in [*SIZES, float(np.finfo(dtype).max) / 2.5]:
        for pattern in [(1, -1, 0), (-1, 1, 1), (0, 0, -1), (-1, -1, -1), (1, 1, 1)]:
            f = np.array([pattern], dtype) * dtype(size)
            for y in range(3):
                t = np.eye(3, dtype=dtype)[[y]]
                value, slope = reference.row_losses("cross_entropy", f.astype(float), t.astype(float), smoothing)
                for given_as in ((None, np.array([y], np.int32)), (t, None)):
                    total, delta = compute(engine, CrossEntropy(smoothing), f, *given_as)
                    assert total == pytest.approx(value[0], rel=1e-6, abs=1e-6)
                    np.testing.assert_allclose(delta, slope, atol=1e-6)


@engines
@dtypes
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_binary_cross_entropy_is_finite_for_any_logit(smoothing, dtype, engine):
    for size in [*SIZES, float(np.finfo(dtype).max)]:
        for f in (np.array([[size]], dtype), np.array([[-size]], dtype)):
            for t in (np.zeros((1, 1), dtype), np.ones((1, 1), dtype), np.full((1, 1), 0.25, dtype)):
                value, slope = reference.row_losses("binary_cross_entropy", f.astype(float), t.astype(float), smoothing)
                total, delta = compute(engine, BinaryCrossEntropy(smoothing), f, t)
                assert total == pytest.approx(value[0], rel=1e-6, abs=1e-20)
                np.testing.assert_allclose(delta, slope, rtol=1e-6, atol=1e-20)


@engines
@dtypes
@pytest.mark.parametrize("name", ["mae", "huber", "log_cosh", "quantile", "hinge"])
@pytest.mark.parametrize("size", [1e4, 1e30])
def test_linear_losses_are_finite_for_large_outputs(name, size, dtype, engine):
    f, t = np.array([[size, -size]], dtype), np.array([[1, -1], [-1, 1]], dtype)
    for target in t:
        p = Loss(name).parameters()["parameter"]
        value, slope = reference.row_losses(name, f.astype(float), target[None].astype(float), p)
        total, delta = compute(engine, Loss(name), f, target[None].copy())
        assert total == pytest.approx(value[0], rel=1e-6)
        np.testing.assert_allclose(delta, slope, atol=1e-6)


@engines
@dtypes
def test_log_cosh_keeps_its_digits(dtype, engine):
    edges = [0.0399, 0.0401, 0.0024, 0.0026]
    d = np.concatenate([np.logspace(-12, 2, 400), -np.logspace(-6, 3, 50), edges]).astype(dtype)
    mpmath.mp.dps = 40
    for x in d:
        exact = float(mpmath.log(mpmath.cosh(mpmath.mpf(float(x)))))
        total, _ = compute(engine, Loss("log_cosh"), np.array([[x]]), np.zeros((1, 1), dtype))
        # Where the series ends, log 2 is taken from d + log(1 + ...): half a digit of 0.7 is left in d^2 / 2.
        assert total == pytest.approx(exact, rel=6e-5 if dtype is np.float32 else 5e-11)


@engines
@dtypes
@pytest.mark.parametrize("near", [1e-9, 1e-6, 1e-4, 5e-4, 0.1])
@pytest.mark.parametrize("end", [1, 2])
def test_tweedie_keeps_its_digits_near_its_ends(end, near, dtype, engine):
    """A power that is rounded to float32 first has no digits of p - 1 and 2 - p there."""
    power = 1 + near if end == 1 else 2 - near
    mpmath.mp.dps = 40
    p, tolerance = mpmath.mpf(power), 1e-6 if dtype is np.float32 else 4e-15
    for x, t in [(0.3, 2.0), (-1.7, 0.25), (4.0, 30.0), (2.5, 0.0)]:
        f, target = np.array([[x]], dtype), np.array([[t]], dtype)
        exact_f, exact_t = (mpmath.mpf(float(a[0, 0])) for a in (f, target))
        first, second = exact_t * mpmath.exp((1 - p) * exact_f), mpmath.exp((2 - p) * exact_f)
        total, delta = compute(engine, Tweedie(power), f, target)
        assert total == pytest.approx(float(first / (p - 1) + second / (2 - p)), rel=tolerance)
        assert float(delta[0, 0]) == pytest.approx(float(second - first), rel=10 * tolerance)


@engines
@dtypes
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("k", [1, 3, 20])
def test_nan_propagates(name, k, dtype, engine):
    rng = np.random.default_rng(5)
    for column in range(reference.n_outputs(name, k)):
        f, t = draw_outputs(name, rng, 4, k, dtype), draw_targets(name, rng, 4, k, dtype)
        f[2, column] = np.nan
        for weights in (None, np.ones(4, dtype)):
            total, delta = compute(engine, Loss(name), f, t, None, weights)
            assert np.isnan(total)
            assert np.isfinite(delta[[0, 1, 3]]).all()
            assert np.isnan(delta[2, column]) or name == "hinge"  # whose slope is 0 where the slack is not positive
        if name == "cross_entropy":
            assert np.isnan(compute(engine, Loss(name), f, None, np.zeros(4, np.int32))[0])
