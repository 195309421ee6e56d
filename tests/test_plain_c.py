"""The kernels of tile.h as a compiler without vector types (MSVC) gets them, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import call, compiled

SOURCE = """
#define CNN_PLAIN
#include "sparse.h"
void product(ptrdiff_t ni, ptrdiff_t nj, ptrdiff_t nk, const double *a, ptrdiff_t ai, ptrdiff_t ak, const double *b,
             double *c, const double *start, int add)
{ cnn_matmul(ni, nj, nk, a, ai, ak, b, nj, c, nj, start, add, 0, b, nk * nj); }
void matmul_narrow(ptrdiff_t ni, ptrdiff_t nj, ptrdiff_t nk, const double *a, const double *b, double *c, int add)
{ cnn_matmul_narrow(ni, nj, nk, a, nk, b, nk, c, add); }
void row_dots(ptrdiff_t n, ptrdiff_t nk, const double *d, const double *a, double *out, int add)
{ cnn_row_dots(n, nk, d, a, nk, out, add); }
void transpose(ptrdiff_t n, ptrdiff_t nk, const double *d, double *out, double *sums)
{ cnn_transpose(n, nk, d, nk, out, n, sums, 0); }
void there_and_back(ptrdiff_t rows, ptrdiff_t n, const double *x, const int64_t *order, double *slab, double *y)
{ cnn_gather(rows, rows, n, x, order, 0, slab); cnn_scatter(rows, rows, n, slab, order, 0, y); }
"""


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return compiled(tmp_path_factory.mktemp("plain"), SOURCE, "-O1")


def normal(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(sum(shape)).normal(size=shape)


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 5, 3), (13, 9, 130), (6, 2, 300), (25, 17, 1)])
def test_product(kernels: Any, shape: tuple[int, int, int]) -> None:
    ni, nj, nk = shape
    a, b, start, c = normal(ni, nk), normal(nk, nj), normal(ni), normal(ni, nj)
    expected = a @ b
    first, second = c.copy(), c.copy()
    call(kernels.product, ni, nj, nk, a, nk, 1, b, first, start, 0)
    np.testing.assert_allclose(first, expected + start[:, None], rtol=1e-12, atol=1e-12)
    call(kernels.product, ni, nj, nk, np.ascontiguousarray(a.T), 1, ni, b, second, None, 1)
    np.testing.assert_allclose(second, expected + c, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("nj", range(1, 9))
def test_dots(kernels: Any, nj: int) -> None:
    a, b, c = normal(19, 11), normal(nj, 11), normal(19, nj)
    expected = a @ b.T + c
    call(kernels.matmul_narrow, 19, nj, 11, a, b, c, 1)
    np.testing.assert_allclose(c, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("rows", "n"), [(1, 1), (5, 1), (5, 3), (40, 17)])
def test_rows_and_columns(kernels: Any, rows: int, n: int) -> None:
    x, order = normal(rows, n), np.random.default_rng(0).permutation(rows)
    slab, back, transposed, sums = np.empty((n, rows)), np.empty((rows, n)), np.empty((rows, n)), np.empty(n)
    call(kernels.there_and_back, rows, n, x, order, slab, back)
    np.testing.assert_array_equal(slab, x[order].T)
    np.testing.assert_array_equal(back, x)
    call(kernels.transpose, n, rows, slab, transposed, sums)
    np.testing.assert_array_equal(transposed, x[order])
    np.testing.assert_allclose(sums, x.sum(0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", [1, 7, 16, 35])
def test_sums_of_products_along_rows(kernels: Any, n: int) -> None:
    d, a, out = normal(n, 11), normal(n, 11)[::-1].copy(), normal(n)
    expected = (d * a).sum(axis=1)
    for add in (1, 0):
        found = out.copy()
        call(kernels.row_dots, n, 11, d, a, found, add)
        np.testing.assert_allclose(found, expected + add * out, rtol=1e-12, atol=1e-12)
