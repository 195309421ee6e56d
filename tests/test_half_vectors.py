"""Half vectors, which the products of tile.h take on some processors only: the same bits as whole ones."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import cnn_core

SOURCE = """
#include "tile.h"
void product(ptrdiff_t ni, ptrdiff_t nj, ptrdiff_t nk, const float *a, const float *b, ptrdiff_t ldb, float *c,
             ptrdiff_t ldc, const float *start, int add, int fill)
{ cnn_productf(ni, nj, nk, a, nk, 1, b, ldb, c, ldc, start, add, fill); }
"""
pytestmark = pytest.mark.skipif("v4" not in cnn_core.engines(), reason="they are parts of vectors of 64 bytes")


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> list[Callable[..., None]]:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("halves")
    (folder / "halves.c").write_text(SOURCE)
    found = []
    for pays in "01":
        command = [compiler, "-O2", "-march=x86-64-v4", f"-DCNN_HALF_PAYS={pays}", "-shared", "-fPIC", "-w",
                   "-I", str(Path(cnn_core.__file__).parent), "halves.c", "-o", f"halves{pays}.so"]
        subprocess.run(command, cwd=folder, check=True)
        found.append(ctypes.CDLL(str(folder / f"halves{pays}.so")).product)
    return found


@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("fill", [False, True])
@pytest.mark.parametrize("nj", [1, 7, 8, 9, 17, 24, 33, 36, 49, 56, 100, 200])
def test_bits(products: list[Callable[..., None]], nj: int, fill: bool, add: bool) -> None:
    ni, nk, ld = 29, 131, -(-nj // 16) * 16
    rng = np.random.default_rng(nj)
    a, start = (rng.standard_normal(shape).astype(np.float32) for shape in ((ni, nk), ni))
    b, before = (rng.standard_normal((n, ld)).astype(np.float32) for n in (nk, ni))
    got = []
    for product in products:
        c = before.copy()
        product(*map(ctypes.c_ssize_t, (ni, nj, nk)), *(array.ctypes.data_as(ctypes.c_void_p) for array in (a, b)),
                ctypes.c_ssize_t(ld), c.ctypes.data_as(ctypes.c_void_p), ctypes.c_ssize_t(ld),
                None if add else start.ctypes.data_as(ctypes.c_void_p), add, fill)  # fmt: skip
        if not fill:
            np.testing.assert_array_equal(c[:, nj:], before[:, nj:])
        got.append(c[:, :nj])
    np.testing.assert_array_equal(got[0], got[1])
    expected = a.astype(np.float64) @ b[:, :nj] + (before[:, :nj] if add else start[:, None])
    np.testing.assert_allclose(got[0], expected, rtol=1e-4, atol=1e-4)
