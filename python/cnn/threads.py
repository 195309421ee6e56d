"""How many threads: the only reader of affinity, control groups and thread limits; keeps BLAS at one while we run."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import cnn_core
from cnn import _check

T = TypeVar("T")
Array = np.ndarray[Any, Any]

# Below this much arithmetic a second thread costs more than it brings (waking it takes some 10 us).
_PREDICT_FLOPS = 4e6

_forked = False
_quota = 0.0, float("inf")  # until when it holds, cores


def _after_fork() -> None:
    # libgomp's threads do not survive a fork, and a parallel region would wait for them for ever.
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _cgroup_cores() -> float:
    """The cores that the control group grants. Its files are read once a second at most: that takes some 50 us."""
    global _quota
    now = time.monotonic()
    if now >= _quota[0]:
        _quota = now + 1, _read_cgroup()
    return _quota[1]


def _read_cgroup() -> float:
    """The cores that a control group grants (version 2, then 1), or infinity."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()[:2]
    except (OSError, ValueError):
        try:
            quota = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").read_text()
            period = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us").read_text()
        except OSError:
            return float("inf")
    try:
        return max(1.0, float(quota) / float(period)) if float(quota) > 0 else float("inf")
    except ValueError:  # "max"
        return float("inf")


def available() -> int:
    """Cores that this process may use: the least of affinity, control group and OpenMP's limit.

    >>> available() >= 1
    True
    """
    if _forked:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(cores, _cgroup_cores(), cnn_core.engine.max_threads())))


def for_training(n_threads: int | None, n_chunks: int) -> int:
    """Threads for a fit: as many as are asked for, or are there, and the chunks of a minibatch can feed."""
    if n_threads is not None:
        # A team larger than the work only waits for itself.
        return 1 if _forked else min(_check.integer("n_threads", n_threads, 1), n_chunks)
    return min(available(), n_chunks) if n_chunks > 1 else 1


def for_prediction(n_threads: int | None, flops: float, tiles: int) -> int:
    """Threads for one call, a prediction or a gradient, of so much arithmetic in so many parts."""
    if n_threads is not None:
        n_threads = _check.integer("n_threads", n_threads, 1)
        return 1 if _forked else max(min(n_threads, tiles), 1)
    return min(available(), tiles) if flops > _PREDICT_FLOPS and tiles > 1 else 1


class _BlasLimit:
    """BLAS at one thread from the first fit that enters to the last that leaves, whichever threads they are in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._controller: Any = None
        self._limit: Any = None

    def enter(self) -> None:
        with self._lock:
            if self._users == 0:
                if self._controller is None:
                    from threadpoolctl import ThreadpoolController

                    # Found once: looking through the loaded libraries takes longer than a small fit.
                    self._controller = ThreadpoolController().select(user_api="blas")
                self._limit = self._controller.limit(limits=1)
            self._users += 1

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._limit.restore_original_limits()

    @property
    def users(self) -> int:
        """How many run now."""
        return self._users


def interruptible(call: Callable[[Array], T]) -> T:
    """call(stop) in a thread of its own, while this one listens for Ctrl-C; stop (1,) int32 is then set to 1.

    For single calls into the core that last too long to wait for their end. Signals reach the main thread alone: in
    others the call is made as it is.
    """
    stop = np.zeros(1, np.int32)
    if threading.current_thread() is not threading.main_thread():
        return call(stop)
    found: list[T] = []
    failed: list[BaseException] = []
    finished = threading.Event()  # join() takes a thread for ended when Ctrl-C comes in it (CPython 3.11)

    def work() -> None:
        try:
            if not stop[0]:  # set already when Ctrl-C came while this thread was being started
                found.append(call(stop))
        except BaseException as error:
            failed.append(error)
        finally:
            finished.set()

    worker = threading.Thread(target=work, daemon=True)
    try:
        worker.start()
        while not finished.wait(0.05):  # without a limit, Windows would not see the signal
            pass
    except BaseException:
        stop[0] = 1
        while worker.is_alive() and not finished.is_set():  # it writes to arrays that the caller is about to use
            with suppress(KeyboardInterrupt):
                finished.wait(0.05)
        raise
    worker.join()
    if failed:
        raise failed[0]
    return found[0]


_blas_limit = _BlasLimit()


def without_blas_threads() -> AbstractContextManager[None]:
    """Around calls into the core: BLAS at one thread, in builds that call it at all. (The limit costs some 0.2 ms.)"""
    return one_blas_thread() if cnn_core.engine.uses_blas else nullcontext()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Our threads call BLAS side by side: it must not start its own. (And one-thread calls repeat bit for bit.)"""
    _blas_limit.enter()
    try:
        yield
    finally:
        _blas_limit.leave()


_fits_lock = threading.Lock()
_fits = 0


@contextmanager
def a_fit() -> Iterator[None]:
    """Around a fit: BLAS at one thread where the core calls it, and the fit counted for `share`."""
    global _fits
    with _fits_lock:
        _fits += 1
    try:
        with without_blas_threads():
            yield
    finally:
        with _fits_lock:
            _fits -= 1


def share(n: int) -> int:
    """A fit's part of its n threads while others run in this process (no bit depends on the number of threads).

    >>> share(4)
    4
    """
    return max(1, n // max(_fits, 1))
