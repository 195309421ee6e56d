"""Ctrl-C in the middle of a fit, forks, and that nothing is allocated in the loop."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import preloaded, run, same_bits

import cnn
from cnn._common import interrupt
from cnn.training import calls

INTERRUPTED = """
    import os, signal, threading, time
    import cnn, numpy as np
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=({rows}, 20)).astype(np.float32), rng.normal(size={rows})
    net = cnn.Network([cnn.Dense({units}, "tanh"), cnn.Dropout(0.1), cnn.Dense({units}, "tanh"), cnn.Dense(1)], seed=0)
    net.fit(X[:50], y[:50], epochs=2, verbose=0)
    steps = net.step
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        net.fit(X, y, epochs=100000, batch_size={batch}, validation_split=0.1, verbose={verbose}, n_threads={n_threads})
    except KeyboardInterrupt:
        h = net.history
        assert {{len(h[name]) for name in h.names}} == {{len(h.epoch)}}, h
        assert h.epoch == list(range(len(h))) and len(h) >= 2
        assert np.isfinite(net.flat).all()
        before = net.epoch
        net.fit(X[:50], y[:50], epochs=2, verbose=0)
        assert net.epoch == before + 2
        assert np.isfinite(net.predict(X[:50])).all()
        timer.join()
        time.sleep(0.05)
        print("interrupted", net.step > steps, [t.name for t in threading.enumerate() if "work" in t.name])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill can't send Ctrl-C there")
@pytest.mark.parametrize("options", [
    {"rows": 100, "units": 4, "batch": 1, "verbose": 0, "n_threads": 1},
    {"rows": 2000, "units": 64, "batch": 128, "verbose": 1, "n_threads": 2},
    {"rows": 200_000, "units": 256, "batch": None, "verbose": 0, "n_threads": 2},  # one step lasts for seconds
], ids=["small", "medium", "one long step"])  # fmt: skip
def test_ctrl_c(options) -> None:
    assert run(INTERRUPTED.format(**options)) == "interrupted True []"


def test_a_long_step_is_given_up_whole_and_has_the_same_bits() -> None:
    """The stop flag set before, between and never: no step, or the step as it is without a flag."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(600, 20)), rng.normal(size=600)
    plain = cnn.Network([cnn.Dense(64, "relu"), cnn.Dense(1)], optimizer="nadam", seed=0)
    plain.fit(X, y, epochs=3, batch_size=300, verbose=0, n_threads=2)
    watched = cnn.Network([cnn.Dense(64, "relu"), cnn.Dense(1)], optimizer="nadam", seed=0)

    def slow(self: calls.Piece) -> tuple[int, float]:
        before = watched.flat.copy(), watched.state.copy(), watched.scalars.copy(), watched.step
        stopped = self.run(np.ones(1, np.int32))
        assert stopped == 4
        after = watched.flat, watched.state, watched.scalars, watched.step
        assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
        return interrupt.interruptible(self.run), 1.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calls.Piece, "make", slow)
        watched.fit(X, y, epochs=3, batch_size=300, verbose=0, n_threads=2)
    assert same_bits(plain, watched)


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("widths", [(20, 16, 1), (300, 500, 3)])
def test_a_flag_that_is_up_leaves_the_work_undone(widths: tuple[int, ...], scale: bool) -> None:
    """Each pass looks at it within its layers: outputs and gradients are not there, and nothing waits for ever."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(2000, widths[0])), rng.normal(size=(2000, widths[-1]))
    layers = [layer for n in widths[1:] for layer in ([cnn.Scale()] if scale else []) + [cnn.Dense(n)]]
    net = cnn.Network(layers, dtype="float64", seed=0).build(widths[0])
    for n_threads in (1, 2):
        made = {"out": net.forward(X, n_threads=n_threads), "dX": net.backward(y), "predicted": net.predict(X)}
        made["gradient"] = net.loss_and_gradient(X, y, n_threads=n_threads)[1]["layers.0.weights"]
        assert all(np.abs(array).max() > 0 for array in made.values())

        def stopped(flops: float, call: Any) -> Any:
            return call(np.ones(1, np.int32))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(interrupt, "promptly", stopped)
            patch.setattr(interrupt, "LONG_FLOPS", 0)
            patch.setattr(interrupt, "interruptible", lambda call: call(np.ones(1, np.int32)))
            out = net.forward(X, n_threads=n_threads)
            assert np.array_equal(out, np.zeros_like(out))
            assert np.array_equal(net.backward(y), np.zeros_like(X))
            filled = np.full_like(made["predicted"], 7)
            net.predict(X, out=filled, n_threads=n_threads)
            assert (filled == 7).all()
            gradient = net.loss_and_gradient(X, y, n_threads=n_threads)[1]["layers.0.weights"]
            assert np.array_equal(gradient, np.zeros_like(gradient))
        again = net.forward(X, n_threads=n_threads)
        assert again.tobytes() == made["out"].tobytes()


@pytest.mark.parametrize("when", np.linspace(0, 0.02, 12))
def test_a_flag_that_goes_up_at_any_moment_leaves_a_whole_step_or_none(when: float) -> None:
    """In wide layers with kinds beside the dense one, which are phases of their own."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1500, 300)), rng.normal(size=1500)
    layers = [cnn.Scale(), *[cnn.Dense(300, "relu"), cnn.Scale(), cnn.Scale()] * 2, cnn.Dense(1)]
    made, broken = (cnn.Network(layers, seed=0).build(300) for _ in range(2))
    made.fit(X, y, epochs=1, batch_size=None, verbose=0, n_threads=2)
    before = broken.flat.tobytes()

    def raised(self: calls.Piece) -> tuple[int, float]:
        stop = np.zeros(1, np.int32)
        timer = threading.Timer(when, stop.fill, (1,))
        timer.start()
        status = self.run(stop)
        timer.join()
        if status == 4:
            raise KeyboardInterrupt
        return status, 1.0

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(calls.Piece, "make", raised)
        broken.fit(X, y, epochs=1, batch_size=None, verbose=0, n_threads=2)
    assert broken.flat.tobytes() == (made.flat.tobytes() if broken.step else before)


def test_panels_between_two_looks_change_no_bit(monkeypatch) -> None:
    """Large passes are computed some outputs at a time."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(3000, 301)).astype(np.float32), rng.normal(size=(3000, 259))
    net = cnn.Network([cnn.Dense(257, "tanh"), cnn.Dense(259)], seed=0).build(301)
    results = []
    for limit in (1e18, 0.0):
        monkeypatch.setattr(interrupt, "LONG_FLOPS", limit)
        out = net.forward(X)
        results.append((out.tobytes(), net.backward(y).tobytes(), net.gradients["layers.0.weights"].tobytes(),
                        net.predict(X).tobytes(), net.loss_and_gradient(X, y)[1]["layers.1.weights"].tobytes(),
                        ))  # fmt: skip
    assert results[0] == results[1]


@pytest.mark.skipif(sys.platform == "win32", reason="no signals of that kind there")
def test_ctrl_c_within_a_layer() -> None:
    """In processor time of the one thread that works: a busy machine does not matter. The step alone takes seconds."""
    assert run("""
        import os, signal, threading, time, numpy as np, cnn
        signal.signal(signal.SIGINT, signal.default_int_handler)
        X = np.ones((40_000, 1024), "f4"); y = X[:, 0].copy()
        net = cnn.Network([cnn.Dense(1024, "relu"), cnn.Dense(1024, "relu"), cnn.Dense(1)], seed=0)
        net.fit(X[:100], y[:100], epochs=1, verbose=0)
        before, sent = net.flat.copy(), []
        def send():
            time.sleep(0.7)
            sent.append(time.process_time())
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=send).start()
        try:
            net.fit(X, y, epochs=1000, batch_size=None, verbose=0, n_threads=1, metrics=())
        except KeyboardInterrupt:
            print(time.process_time() - sent[0] < 0.3, bool(np.isfinite(net.flat).all()))
    """) == "True True"  # fmt: skip


def test_what_is_raised_in_the_thread_is_raised_here() -> None:
    def fail(stop: np.ndarray) -> int:
        raise ZeroDivisionError("inside")

    with pytest.raises(ZeroDivisionError, match="inside"):
        interrupt.interruptible(fail)
    assert interrupt.interruptible(lambda stop: int(stop[0])) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill can't send Ctrl-C there")
def test_ctrl_c_sets_the_flag_and_waits_for_the_thread() -> None:
    seen = []

    def work(stop: np.ndarray) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        until = time.monotonic() + 30  # only for a broken flag
        while not stop[0] and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(0.05)
        seen.append(int(stop[0]))

    with pytest.raises(KeyboardInterrupt):
        interrupt.interruptible(work)
    assert seen == [1]


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill can't send Ctrl-C there")
def test_these_tests_pass_where_ctrl_c_is_ignored() -> None:
    """As under nohup and in the background of a script: pytest inherits it, and would wait for ever."""
    test = f"{__file__}::test_ctrl_c_sets_the_flag_and_waits_for_the_thread"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        done = subprocess.run([sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", test], text=True,
                              capture_output=True, timeout=100, check=False)  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill can't send Ctrl-C there")
def test_an_ignored_ctrl_c_stays_ignored() -> None:
    """A fit that nohup or a script started in the background outlives the Ctrl-C that is meant for others."""
    out = run("""
        import os, signal
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        import cnn, cnn.cli, numpy as np
        X, y = np.ones((9, 2)), np.ones(9)
        net = cnn.Network([cnn.Dense(1)], seed=0)
        net.fit(X, y, epochs=3, callbacks=[lambda *_: os.kill(os.getpid(), signal.SIGINT)], verbose=0)
        cnn._common.interrupt.interruptible(lambda stop: os.kill(os.getpid(), signal.SIGINT))
        print(net.epoch, signal.getsignal(signal.SIGINT) == signal.SIG_IGN)
    """)
    assert out == "3 True"


def test_a_build_that_is_broken_off_leaves_the_network_unbuilt(monkeypatch) -> None:
    net = cnn.Network([cnn.Dense(3), cnn.Dense(1)], seed=0)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cnn.Initializer, "draw", interrupt)
        with pytest.raises(KeyboardInterrupt):
            net.build(4)
    assert net.known_inputs is None
    assert net.build(2).flat.tobytes() == cnn.Network([cnn.Dense(3), cnn.Dense(1)], seed=0).build(2).flat.tobytes()


def test_an_epoch_that_is_half_written_is_dropped() -> None:
    """Ctrl-C between two of an epoch's numbers."""
    history = cnn.History()
    history.append(0, {"loss": 1.0, "rmse": 2.0})
    history.loss.append(0.5)
    history.trim()
    history.append(1, {"loss": 0.25, "rmse": 0.5})
    assert (history.epoch, history.loss, history.rmse) == ([0, 1], [1.0, 0.25], [2.0, 0.5])


def test_fit_drops_it() -> None:
    net = cnn.Network([cnn.Dense(1)], seed=0)

    def half(network: cnn.Network, epoch: int, logs: dict[str, float]) -> None:
        if epoch == 1:
            network.history.loss.append(0.0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        net.fit(np.ones((9, 2)), np.ones(9), epochs=3, callbacks=[half], verbose=0)
    assert len(net.history.loss) == len(net.history.rmse) == len(net.history.epoch) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_after_a_fit_can_fit_and_predict() -> None:
    """libgomp's threads do not survive a fork: the child must not wait for them."""
    out = run("""
        import multiprocessing, warnings
        import cnn, numpy as np
        warnings.simplefilter("ignore", DeprecationWarning)
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(2000, 64)).astype(np.float32), rng.normal(size=2000)

        def fitted():
            net = cnn.Network([cnn.Dense(128, "relu"), cnn.Dense(1)], seed=0)
            net.fit(X, y, epochs=2, batch_size=512, verbose=0, n_threads=4)
            net.predict(X, n_threads=4)
            net.forward(X, n_threads=4), net.backward(np.ones((2000, 1)))
            net.loss_and_gradient(X, y, n_threads=4)
            return net.flat.tobytes()

        def child(queue):
            queue.put((fitted(), cnn._common.threads.available()))

        context = multiprocessing.get_context("fork")
        parent = fitted()
        queue = context.Queue()
        process = context.Process(target=child, args=(queue,))
        process.start()
        flat, cores = queue.get(timeout=60)
        process.join(60)
        print(flat == parent, cores, process.exitcode)
    """)
    assert out == "True 1 0"


SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>
extern void* __libc_malloc(size_t); extern void* __libc_calloc(size_t, size_t);
extern void* __libc_realloc(void*, size_t); extern void* __libc_memalign(size_t, size_t);
static long ours, blas;
static int on;
void count(int whether) { on = whether; ours = blas = 0; }
long counted(int of_blas) { return of_blas ? blas : ours; }
static void seen(void* caller) {
    Dl_info info;
    if (on) {
        int inside = dladdr(caller, &info) && info.dli_fname && strstr(info.dli_fname, "blas");
        __atomic_add_fetch(inside ? &blas : &ours, 1, __ATOMIC_SEQ_CST);
    }
}
#define SEEN seen(__builtin_return_address(0))
void* malloc(size_t n) { SEEN; return __libc_malloc(n); }
void* calloc(size_t n, size_t m) { SEEN; return __libc_calloc(n, m); }
void* realloc(void* p, size_t n) { SEEN; return __libc_realloc(p, n); }
void* memalign(size_t a, size_t n) { SEEN; return __libc_memalign(a, n); }
void* aligned_alloc(size_t a, size_t n) { SEEN; return __libc_memalign(a, n); }
int posix_memalign(void** p, size_t a, size_t n) { SEEN; *p = __libc_memalign(a, n); return *p ? 0 : 12; }
"""

COUNTED = """
    import ctypes
    import cnn, cnn_core, numpy as np
    from cnn._common import threads
    from helpers import training
    shim = ctypes.CDLL(None)
    rng = np.random.default_rng(0)
    batch, batches = 64, 1000
    X = rng.normal(size=(batch * batches, 20)).astype(np.float32)
    y = rng.normal(size=(batch * batches, 2)).astype(np.float32)
    layers = [cnn.Dense(100, "gelu", l2=0.01), cnn.Dropout(0.1), cnn.Dense(100, "tanh"), cnn.Dense(2)]
    net = cnn.Network(layers, optimizer=cnn.Adam(clip_norm=1.0), seed=0).build(20)
    plan, n_threads = net.plan, {n_threads}
    outputs, numbers, epochs = np.zeros((len(X), 2), np.float32), np.tile([1e-3, 1, 1], (3000, 1)), np.zeros((3, 5))
    made, _, _ = training(plan, X, targets=y, weights=np.ones(len(X), np.float32), batch=batch, n_threads=n_threads,
                          shuffle=True, outputs=outputs, parameters=net.flat, metric=("rmse", y.astype(float)))

    def counted(n):
        shim.count(1)
        made.run(0, 0, n, numbers, epochs, n_threads)
        found = shim.counted(0)
        shim.count(0)
        return found

    with threads.one_blas_thread():
        counted(300), counted(3000)  # the team's threads and BLAS's buffers are made once
        calls = [counted(n) for n in (300, 3000, 300, 3000)]  # Python keeps integers below 257: 10 would be one less
    print(plan.cut(batch).parts, *calls)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="LD_PRELOAD is for Linux")
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize("n_threads", [1, 2])
def test_nothing_is_allocated_in_the_loop(tmp_path: Path, n_threads: int) -> None:
    """As many calls of malloc and its kin in 300 minibatches as in 3,000, of three epochs with their metric.

    BLAS's own are left out: OpenBLAS's kernel for small matrices takes its buffer from malloc on CPUs with AVX-512.
    """
    source, library = tmp_path / "count.c", tmp_path / "count.so"
    source.write_text(SHIM)
    command = ["cc", "-shared", "-fPIC", "-O1", str(source), "-o", str(library), "-ldl"]
    built = subprocess.run(command, capture_output=True, check=False)
    if built.returncode:
        pytest.skip("this C library has no __libc_malloc")
    out = run(COUNTED.format(n_threads=n_threads), **preloaded(library), PYTHONMALLOC="malloc")
    chunks, *counts = map(int, out.split())
    assert chunks >= n_threads
    assert counts[0] > 0  # the call's own few, at its beginning: the shim is at work
    assert len(set(counts)) == 1, counts
