"""Half vectors, which the products of tile.h take on some processors only: the same bits as whole ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import call, compiled

import cnn_core

SOURCE = """
#include "tile.h"
#define PRODUCT(name, T) \\
    void name(ptrdiff_t ni, ptrdiff_t nj, ptrdiff_t nk, const T *a, const T *b, ptrdiff_t ldb, T *c, ptrdiff_t ldc, \\
              const T *start, int add, int fill) \\
    { cnn_##name(ni, nj, nk, a, nk, 1, b, ldb, c, ldc, start, add, fill, a, ni * nk); }
PRODUCT(matmulf, float)
PRODUCT(matmul, double)
"""
pytestmark = pytest.mark.skipif("v4" not in cnn_core.engines(), reason="they are parts of vectors of 64 bytes")


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    flags = "-O2", "-march=x86-64-v4"
    return [compiled(tmp_path_factory.mktemp("halves"), SOURCE, *flags, f"-DCNN_HALF_PAYS={pays}") for pays in (0, 1)]


@pytest.mark.parametrize(("name", "dtype", "tolerance"), [("matmulf", np.float32, 1e-4), ("matmul", float, 1e-12)])
@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("fill", [False, True])
@pytest.mark.parametrize("nj", [1, 3, 7, 8, 9, 17, 20, 24, 33, 36, 49, 56, 100, 200])
def test_bits(libraries: list[Any], nj: int, fill: bool, add: bool, name: str, dtype: type, tolerance: float) -> None:
    ni, nk, ld = 29, 131, -(-nj // 16) * 16
    rng = np.random.default_rng(nj)
    a, start, b, before = (rng.standard_normal(shape).astype(dtype) for shape in ((ni, nk), ni, (nk, ld), (ni, ld)))
    got = []
    for library in libraries:
        c = before.copy()
        call(getattr(library, name), ni, nj, nk, a, b, ld, c, ld, None if add else start, add, fill)
        if not fill:
            np.testing.assert_array_equal(c[:, nj:], before[:, nj:])
        got.append(c[:, :nj])
    np.testing.assert_array_equal(got[0], got[1])
    expected = a.astype(np.float64) @ b[:, :nj] + (before[:, :nj] if add else start[:, None])
    np.testing.assert_allclose(got[0], expected, rtol=tolerance, atol=tolerance)
