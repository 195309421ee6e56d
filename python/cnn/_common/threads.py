"""What the machine grants: the only reader of affinity, control groups, limits; keeps BLAS at one while we run."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import cnn_core
from cnn._common import checks

T = TypeVar("T")

# Below this much arithmetic a second thread costs more than it brings (waking it takes some 10 us).
_PREDICT_FLOPS = 4e6
_SHARE_FLOPS = 1e6  # that each of a team should have

_forked = False
_quota = 0.0, float("inf")  # until when it holds, cores
_moment = threading.Lock()


def _after_fork() -> None:
    # libgomp's threads do not survive a fork, and a parallel region would wait for them for ever.
    global _forked, _moment
    _forked = True
    # Nor does any other thread: what it fitted or limited is not being fitted or limited here.
    _moment = threading.Lock()
    _running.clear()
    _blas_limit.forget()


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


def free_memory() -> float:
    """Bytes that this process may still take: by the system, its control group and its own limits; infinite if unknown.

    >>> free_memory() > 0
    True
    """
    return max(1.0, min(_system_memory(), _cgroup_memory(), *_own_limits()))


def _fields(path: str, unit: int) -> dict[str, float]:
    """A file of lines "name value", with a colon or without; nothing where there is none."""
    try:
        lines = [line.replace(":", " ").split() for line in Path(path).read_text().splitlines()]
    except OSError:
        return {}
    return {line[0]: float(line[1]) * unit for line in lines if len(line) > 1 and line[1].isdecimal()}


def _system_memory() -> float:
    return _fields("/proc/meminfo", 1024).get("MemAvailable", float("inf"))


def _cgroup_memory() -> float:
    """What a control group (version 2, then 1) leaves; pages of files that it can drop are free."""
    for most, used, dropped in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        folder = Path("/sys/fs/cgroup")
        try:
            limit, now = ((folder / name).read_text().strip() for name in (most, used))
        except OSError:
            continue
        if not limit.isdecimal():  # "max"
            return float("inf")
        stat = _fields(str(folder / most.replace("max", "stat").replace("limit_in_bytes", "stat")), 1)
        return float(limit) - float(now) + stat.get(dropped, 0.0)
    return float("inf")


def _own_limits() -> list[float]:
    """What `ulimit -v` and `ulimit -d` leave."""
    try:
        import resource
    except ImportError:  # Windows
        return []
    taken = _fields("/proc/self/status", 1024)
    limits = (resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")
    soft = [(resource.getrlimit(which)[0], taken.get(name, 0.0)) for which, name in limits]
    return [limit - used for limit, used in soft if limit != resource.RLIM_INFINITY]


def _most() -> int:
    """More threads than that are of no use to anybody: each has its scratch memory, and waits for the others."""
    return max(64, 4 * available())


def for_training(n_threads: int | None, n_chunks: int) -> int:
    """Threads for a fit: as many as are asked for, or are there, and the chunks of a minibatch can feed."""
    if n_threads is not None:
        # A team larger than the work only waits for itself.
        n = min(checks.integer("n_threads", n_threads, 1), n_chunks)
        return 1 if _forked or n == 1 else min(n, _most())
    return min(available(), n_chunks) if n_chunks > 1 else 1


def for_prediction(n_threads: int | None, flops: float, tiles: int) -> int:
    """Threads for one call, a prediction or a gradient, of so much arithmetic in so many parts (`tiles`)."""
    if n_threads is not None:
        n_threads = checks.integer("n_threads", n_threads, 1)
        return 1 if _forked else max(min(n_threads, tiles, _most()), 1)
    if flops <= _PREDICT_FLOPS or tiles == 1:
        return 1
    return min(available(), tiles, int(flops / _SHARE_FLOPS))


class _BlasLimit:
    """BLAS at one thread from the first call that enters to the last that leaves, whichever threads they are in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users: set[object] = set()
        self._libraries: list[Any] | None = None
        self._before: list[int] = []  # their threads, while they are limited

    def around(self, work: Callable[[], T]) -> T:
        """work() within the limit."""
        user = object()

        def entered() -> T:
            self.enter(user)
            return work()

        return cnn_core.finishing(entered, [partial(self.leave, user)])

    def enter(self, user: object) -> None:
        cnn_core.locked(self._lock, partial(self._enter, user))

    def leave(self, user: object) -> None:
        cnn_core.locked(self._lock, partial(self._leave, user))

    def _enter(self, user: object) -> None:
        self._users.add(user)
        if self._before:
            return
        if self._libraries is None:
            from threadpoolctl import ThreadpoolController

            # Found once: looking through the loaded libraries takes longer than a small fit.
            self._libraries = ThreadpoolController().select(user_api="blas").lib_controllers
        self._before = [library.get_num_threads() for library in self._libraries]
        for library in self._libraries:
            library.set_num_threads(1)

    def _leave(self, user: object) -> None:
        self._users.discard(user)
        if self._users:
            return
        for library, n in zip(self._libraries or (), self._before, strict=False):
            library.set_num_threads(n)
        self._before = []

    def forget(self) -> None:
        """In the child of a fork nobody is within the limit."""
        self._lock, self._users = threading.Lock(), set()

    @property
    def users(self) -> int:
        """How many run now."""
        return len(self._users)


_blas_limit = _BlasLimit()


def without_blas_threads(calls_blas: bool, work: Callable[[], T]) -> T:
    """work(), which calls into the core: BLAS at one thread, if it is called at all. (That costs some 0.2 ms.)

    Our threads call BLAS side by side: it must not start its own. (And one-thread calls repeat bit for bit.)
    """
    return _blas_limit.around(work) if calls_blas else work()


def hold_blas(ends: list[Callable[[], None]]) -> None:
    """BLAS at one thread from here on, until what is put into `ends` is called."""
    user = object()
    ends.append(partial(_blas_limit.leave, user))  # first: Ctrl-C may come as soon as it is held
    _blas_limit.enter(user)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS at one thread within a `with` block, for those who call the core themselves."""
    user = object()
    _blas_limit.enter(user)
    try:
        yield
    finally:
        _blas_limit.leave(user)


def at_a_moment(work: Callable[[], T]) -> T:
    """work(), of some microseconds, while no other thread is in here: between its look and its deed nothing changes."""
    return cnn_core.locked(_moment, work)


# The fits that run: what is fitted, and in which thread. Whoever is not in here does not run.
_running: dict[object, tuple[object, int]] = {}


def a_fit(what: object, work: Callable[[], T]) -> T:
    """work(), a fit of `what`: alone on it, counted for `share`.

    Raises:
        RuntimeError: another fit of the same runs.
    """
    return fits_of([what], work)


def fits_of(whats: Sequence[object], work: Callable[[], T]) -> T:
    """work(), in which all of these are fitted; see `a_fit`."""
    tokens = {object(): what for what in whats}

    def counted() -> T:
        _running.update({token: (what, threading.get_ident()) for token, what in tokens.items()})
        first: dict[int, object] = {}
        for token, (what, _) in list(_running.items()):
            first.setdefault(id(what), token)
        for token, what in tokens.items():
            if first[id(what)] is not token:
                kind = "network" if type(what).__name__ == "Network" else type(what).__name__
                raise RuntimeError(
                    f"this {kind} is being fitted in another thread, or by the fit whose callback calls this one; make "
                    "a copy for each (copy.deepcopy)"
                )
        return work()

    def ended() -> None:
        for token in tokens:
            _running.pop(token, None)

    return cnn_core.finishing(counted, [ended])


def share(n: int) -> int:
    """A fit's part of its n threads while others run in this process (no bit depends on the number of threads).

    >>> share(4)
    4
    """
    return max(1, n // max(fits(), 1))


def fits() -> int:
    """How many threads fit now; one that trains further networks within its fit counts once.

    >>> fits()
    0
    """
    return len({thread for _, thread in list(_running.values())})


def __getattr__(name: str) -> int:
    if name == "_fits":
        return fits()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
