"""Links of the core, on every engine, in both types: what `predict` makes of raw outputs."""

from __future__ import annotations

import numpy as np
import pytest
import reference

import cnn_core

NAMES = [kind.name.lower() for kind in cnn_core.Loss]
ENGINES = cnn_core.engines()
ROWS, OUTPUTS = (1, 63, 64, 65, 130), (1, 2, 3, 7, 64, 65)

engines = pytest.mark.parametrize("engine", ENGINES.values(), ids=list(ENGINES))
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@engines
@dtypes
@pytest.mark.parametrize("name", NAMES)
def test_link(name, dtype, engine):
    rng = np.random.default_rng(6)
    kind = cnn_core.Loss[name.upper()]
    for rows in ROWS:
        for k in OUTPUTS:
            f = np.ascontiguousarray(rng.normal(size=(rows, reference.n_outputs(name, k))) * 5, dtype)
            y = np.empty_like(f)
            engine.link(kind, f, y)
            expected = reference.link(name, f.astype(float))
            np.testing.assert_allclose(y, expected, rtol=2e-6 if dtype is np.float32 else 1e-14)
            engine.link(kind, f, f)
            np.testing.assert_array_equal(f, y)
            if name == "cross_entropy":
                np.testing.assert_allclose(y.sum(axis=1, dtype=float), 1, rtol=1e-6 if dtype is np.float32 else 4e-15)


@engines
@dtypes
def test_links_at_extremes(dtype, engine):
    big = float(np.finfo(dtype).max)
    f = np.array([[big, -big, 0], [-big, -big, -big], [1e4, -1e4, 1e4]], dtype)
    y = np.empty_like(f)
    with np.errstate(over="ignore"):
        engine.link(cnn_core.Loss.CROSS_ENTROPY, f, y)
    np.testing.assert_allclose(y, [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0, 0.5]], rtol=1e-6)
    engine.link(cnn_core.Loss.BINARY_CROSS_ENTROPY, f, y)
    np.testing.assert_array_equal(y, [[1, 0, 0.5], [0, 0, 0], [1, 0, 1]])
    engine.link(cnn_core.Loss.POISSON, f, y)
    np.testing.assert_array_equal(y, [[np.inf, 0, 1], [0, 0, 0], [np.inf, 0, np.inf]])
