"""Predictions by many threads, Ctrl-C within one, and the memory that they take."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import preloaded, run
from test_interrupt import SHIM
from test_predict import Array, network, rows, same

from cnn.runtime import passes

# Threads and memory ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("sizes", [[5, 4, 1], [40, 300, 300, 7]], ids=str)
def test_many_python_threads_at_once(sizes: list[int]) -> None:
    net = network(sizes, "gelu")
    X = rows(net, 64)
    expected = net.predict(X)
    wrong = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(200):
            i = int(rng.integers(60))
            n = int(rng.integers(1, 5))
            if not same(net.predict(X[i : i + n]), expected[i : i + n]):
                wrong.append(i)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill can't send Ctrl-C there")
def test_ctrl_c_ends_a_long_prediction_in_its_middle() -> None:
    out = run("""
        import os, signal, threading
        import cnn, numpy as np
        net = cnn.Network([cnn.Dense(400, "tanh"), cnn.Dense(400, "tanh"), cnn.Dense(1)], seed=0).build(20)
        X, out = np.ones((400_000, 20), np.float32), np.full((400_000, 1), np.nan, np.float32)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            net.predict(X, out=out, n_threads=1)
        except KeyboardInterrupt:
            print(np.isnan(out[0, 0]), np.isnan(out[-1, 0]))
    """)
    assert out == "False True"


COUNTED = """
    import ctypes
    import cnn, numpy as np
    shim = ctypes.CDLL(None)
    shim.counted.restype = ctypes.c_long
    net = cnn.Network([cnn.Dense({units}, "tanh"), cnn.Dense(1)], seed=0).build(8)
    X, out = np.ones((3, 8), np.float32), np.empty((3, 1), np.float32)

    def counted(n, out):
        numbers = [None] * n
        shim.count(1)
        for _ in numbers:
            net.predict(X, out=out)
        found = shim.counted(0)
        shim.count(0)
        return found

    counted(2000, out), counted(2000, None)
    print(counted(10, out), counted(2000, out), counted(10, None), counted(2000, None))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="LD_PRELOAD is for Linux")
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_nothing_but_the_result_is_allocated(tmp_path: Path) -> None:
    source, library = tmp_path / "count.c", tmp_path / "count.so"
    source.write_text(SHIM)
    built = subprocess.run(["cc", "-shared", "-fPIC", "-O1", str(source), "-o", str(library), "-ldl"],
                           capture_output=True, check=False)  # fmt: skip
    if built.returncode:
        pytest.skip("this C library has no __libc_malloc")
    few_with, with_out, few_without, without = map(int, run(COUNTED.format(units=40), **preloaded(library)).split())
    assert with_out - few_with == 0
    assert without - few_without <= 2 * 1990  # an array and its numbers, and NumPy keeps some of both


def test_pieces_and_the_check_of_each(monkeypatch) -> None:
    net = network([4, 60, 2])
    X = rows(net, 3000)
    expected = net.predict(X)
    pieces = []

    class Watched:
        few, at_once = net.predictor.few, net.predictor.at_once
        parts, bytes = net.predictor.parts, net.predictor.bytes

        @staticmethod
        def many(X: Array, *arguments: Any, **options: Any) -> bool:
            pieces.append(len(X))
            return original.many(X, *arguments, **options)

    original = net.predictor
    monkeypatch.setattr(net, "predictor", Watched)
    monkeypatch.setattr(passes, "_PIECE_FLOPS", 1e5)
    assert np.array_equal(net.predict(X), expected)
    assert len(pieces) > 3
    assert sum(pieces) == 3000
    X[-1, 0] = np.nan
    with pytest.raises(ValueError, match="X holds nan at row 2999, column 0"):
        net.predict(X)
