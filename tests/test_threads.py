"""How many threads run, who is obeyed, and that BLAS's own limit is put back."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from helpers import BLAS, run
from threadpoolctl import ThreadpoolController, threadpool_limits

import cnn
import cnn_core
from cnn._common import interrupt, threads
from cnn.runtime import products

X = np.random.default_rng(0).normal(size=(300, 20))
Y = X[:, 0]


def blas_threads() -> list[int]:
    return [library["num_threads"] for library in ThreadpoolController().select(user_api="blas").info()]


def files(monkeypatch: pytest.MonkeyPatch, contents: dict[str, str]) -> None:
    """Control-group files of that content; the others are missing."""
    class FakePath:
        def __init__(self, path: str) -> None:
            self.path = path

        def read_text(self) -> str:
            if self.path not in contents:
                raise FileNotFoundError(self.path)
            return contents[self.path]

    monkeypatch.setattr(threads, "Path", FakePath)
    monkeypatch.setattr(threads, "_quota", (0.0, 0.0))  # to be read anew


V2 = "/sys/fs/cgroup/cpu.max"
QUOTA, PERIOD = "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"


@pytest.mark.parametrize(("contents", "cores"), [
    ({}, 64), ({V2: "max 100000\n"}, 64), ({V2: "200000 100000\n"}, 2), ({V2: "150000 100000"}, 1),
    ({V2: "50000 100000"}, 1), ({QUOTA: "-1", PERIOD: "100000"}, 64), ({QUOTA: "300000\n", PERIOD: "100000\n"}, 3),
    ({V2: "nonsense"}, 64), ({V2: ""}, 64),
])  # fmt: skip
def test_control_groups_are_obeyed(monkeypatch, contents: dict[str, str], cores: int) -> None:
    files(monkeypatch, contents)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)

    class Engine:
        @staticmethod
        def max_threads() -> int:
            return 64

    monkeypatch.setattr(cnn_core, "engine", Engine)
    assert threads.available() == cores


def test_the_least_of_affinity_group_and_openmp_counts(monkeypatch) -> None:
    for affinity, group, openmp in ((3, 9, 9), (9, 3, 9), (9, 9, 3)):
        files(monkeypatch, {V2: f"{group}00000 100000"})
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, n=affinity: set(range(n)), raising=False)
        monkeypatch.setattr(cnn_core, "engine", type("Engine", (), {"max_threads": staticmethod(lambda n=openmp: n)}))
        assert threads.available() == 3


def available(prefix: str = "", **environment: str) -> int:
    return int(run(f"{prefix}\nimport cnn\nprint(cnn._common.threads.available())", **environment))


@pytest.mark.skipif(not cnn_core.engine.openmp, reason="built without OpenMP")
def test_the_environment_and_the_affinity_are_obeyed() -> None:
    assert available(OMP_NUM_THREADS="1") == 1
    if hasattr(os, "sched_setaffinity"):
        assert available("import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])") == 1


@pytest.mark.skipif(not cnn_core.engine.openmp, reason="built without OpenMP")
def test_limits_of_threadpoolctl_are_obeyed() -> None:
    with threadpool_limits(1, user_api="openmp"):
        assert threads.available() == 1


def test_a_team_is_no_larger_than_its_work(monkeypatch) -> None:
    monkeypatch.setattr(threads, "available", lambda: 4)
    assert [threads.for_training(n, 3) for n in (None, 1, 2, 3, 1000)] == [3, 1, 2, 3, 3]
    assert threads.for_training(None, 16) == 4
    assert threads.for_training(16, 16) == 16  # more than there are, when asked for
    assert [threads.for_prediction(n, 1e9, 2) for n in (None, 1, 2, 1000)] == [2, 1, 2, 2]
    assert threads.for_prediction(None, 1e3, 50) == 1
    assert threads.for_prediction(8, 0, 0) == 1


def test_after_a_fork_there_is_one(monkeypatch) -> None:
    monkeypatch.setattr(threads, "_forked", True)
    assert (threads.available(), threads.for_training(4, 8), threads.for_prediction(4, 1e9, 8)) == (1, 1, 1)


def test_many_threads_for_little_work() -> None:
    nets = [cnn.Network([cnn.Dense(3), cnn.Dense(1)], seed=0) for _ in range(2)]
    for net, n_threads in zip(nets, (1, 10_000), strict=True):
        net.fit(X, Y, epochs=2, verbose=0, n_threads=n_threads)
        net.predict(X, n_threads=n_threads)
    assert nets[0].flat.tobytes() == nets[1].flat.tobytes()


@pytest.mark.parametrize("choice", ["own", "blas"])
@pytest.mark.parametrize("limit", [1, 2, 3])
def test_the_limit_of_blas_is_put_back(limit: int, choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network whose products BLAS computes holds it at one thread while it runs; another leaves it alone."""
    monkeypatch.setattr(products, "_choice", choice)
    inside = []

    def look(network: cnn.Network, epoch: int, logs: object) -> None:
        inside.extend(blas_threads())

    def fail(network: cnn.Network, epoch: int, logs: object) -> None:
        raise RuntimeError("on purpose")

    net = cnn.Network([cnn.Dense(8), cnn.Dense(1)], seed=0)
    with threadpool_limits(limit, user_api="blas"):
        before = blas_threads()
        net.fit(X, Y, epochs=1, callbacks=[look], verbose=0)
        assert blas_threads() == before
        with pytest.raises(RuntimeError, match="on purpose"):
            net.fit(X, Y, callbacks=[fail], verbose=0)
        assert blas_threads() == before
        with pytest.raises(cnn.NonFiniteError):
            net.fit(X, Y * 1e30, verbose=0)
        net.predict(X)
        net.backward(net.forward(X))
        net.loss_and_gradient(X, Y)
        assert blas_threads() == before
    assert set(inside) == ({1} if choice == "blas" else set(before))


def test_the_limit_lasts_until_the_last_one_leaves() -> None:
    before = blas_threads()
    with threads.one_blas_thread():
        with threads.one_blas_thread():
            assert set(blas_threads()) == {1}
        assert set(blas_threads()) == {1}
    assert blas_threads() == before


def test_show_config(capsys) -> None:
    cnn.show_config()
    text = capsys.readouterr().out
    found = {line[:22].strip(): line[23:] for line in text.splitlines()}
    assert found["cnn"] == cnn.__version__
    assert found["instruction set"] == cnn_core.isa
    assert found["threads"] == str(threads.available())
    assert found["OpenMP"].startswith("yes" if cnn_core.engine.openmp else "no")
    assert found["BLAS"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork there")
def test_a_child_of_a_fork_fits_what_another_thread_was_fitting() -> None:
    """The thread is not in the child; in the parent the network is taken until its fit ends."""
    assert run("""
        import os, sys, threading, warnings, numpy as np, cnn
        from cnn._common import threads
        warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads
        X = np.ones((64, 3)); y = X[:, 0]
        net = cnn.Network([cnn.Dense(4), cnn.Dense(1)], seed=0).build(3)
        fitting, go_on = threading.Event(), threading.Event()
        def wait(network, epoch, logs):
            fitting.set()
            go_on.wait()
        thread = threading.Thread(target=net.fit, args=(X, y), kwargs=dict(epochs=1, verbose=0, callbacks=[wait]))
        thread.start()
        fitting.wait()
        try:
            net.fit(X, y, epochs=1, verbose=0)
        except RuntimeError as error:
            print("taken" if "fitted in another thread" in str(error) else error, threads.fits())
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            net.fit(X, y, epochs=2, verbose=0)
            os._exit(10 + threads.fits())
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        go_on.set()
        thread.join()
        net.fit(X, y, epochs=1, verbose=0)
        print(threads.fits())
    """).split("\n") == ["taken 1", "10", "0"]  # fmt: skip


def test_a_fit_within_a_fit_counts_once() -> None:
    """A callback that trains another network takes no threads from it."""
    X, seen = np.ones((8, 2)), []

    def inner(*_: object) -> None:
        cnn.Network([cnn.Dense(1)], seed=0).fit(X, X[:, 0], epochs=1, verbose=0,
                                                callbacks=[lambda *_: seen.append(threads.fits())])  # fmt: skip

    net = cnn.Network([cnn.Dense(1)], seed=0)
    net.fit(X, X[:, 0], epochs=1, verbose=0, callbacks=[inner])
    assert (seen, threads.fits()) == ([1], 0)

    def again(*_: object) -> None:
        net.fit(X, X[:, 0], epochs=1, verbose=0)

    with pytest.raises(RuntimeError, match="this network is being fitted in another thread"):
        net.fit(X, X[:, 0], epochs=1, verbose=0, callbacks=[again])
    assert threads.fits() == 0


def test_more_threads_than_are_of_use_are_not_asked_for() -> None:
    """n_threads=100000 was a crash: OpenMP lays out its team on the stack."""
    most = max(64, 4 * threads.available())
    assert threads.for_training(100_000, 10**9) == threads.for_prediction(100_000, 1e12, 10**9) == most
    assert threads.for_training(3, 10**9) == 3
    net = cnn.Network([cnn.Dense(300, "relu"), cnn.Dense(300), cnn.Dense(1)], seed=0)
    net.fit(X, Y, epochs=1, batch_size=None, verbose=0, n_threads=100_000)
    alone = cnn.Network(net.descriptions, seed=0)
    alone.fit(X, Y, epochs=1, batch_size=None, verbose=0, n_threads=1)
    assert net.flat.tobytes() == alone.flat.tobytes()


LIMITED = """
    import os, resource, numpy as np, cnn, cnn_core
    X = np.random.default_rng(0).normal(size=(2000, 64)).astype("f4"); y = X[:, 0].copy()
    net = cnn.Network([cnn.Dense(128, "relu"), cnn.Dense(1)], seed=0).build(64)
    net.fit(X, y, epochs=1, batch_size=512, verbose=0, n_threads=1)
    before = net.get_weights()
    used = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + (14 << 20), -1))
    try:
        {work}
    except MemoryError:  # an array of NumPy's
        pass
    print("alive")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory as Linux has them")
@pytest.mark.skipif(BLAS, reason="OpenBLAS waits for ever where it gets no memory")
@pytest.mark.parametrize("work", [
    "net.fit(X, y, epochs=1, batch_size=512, verbose=0, n_threads=4)", "net.predict(X, n_threads=4)",
    "net.loss_and_gradient(X, y, n_threads=4)", "net.backward(net.forward(X, n_threads=4))",
    "cnn._common.interrupt.interruptible(lambda stop: 1)",
])  # fmt: skip
def test_where_the_system_gives_no_thread_the_process_lives(work: str) -> None:
    """Fewer do the work; OpenMP's runtime would end the process."""
    assert run(LIMITED.format(work=work), OPENBLAS_NUM_THREADS="1") == "alive"


def test_threads_are_granted_where_there_are_some() -> None:
    if cnn_core.engine.openmp:
        assert [cnn_core.engine.threads_granted(n) for n in (1, 3, 2, 5)] == [1, 3, 2, 5]


def test_without_a_thread_an_interruptible_call_is_made_as_it_is(monkeypatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert interrupt.interruptible(lambda stop: threading.current_thread() is threading.main_thread())


def test_what_is_left_to_itself_is_not_waited_for() -> None:
    """A sort of many numbers looks at no flag: after a Ctrl-C it ends by itself."""
    go_on, ended = threading.Event(), threading.Event()

    def sort() -> None:
        signal.raise_signal(signal.SIGINT)
        go_on.wait(60)
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        interrupt.apart(interrupt._MANY_NUMBERS + 1, sort)
    assert not ended.is_set()
    go_on.set()
    assert ended.wait(60)
    assert interrupt.apart(1, threading.current_thread) is threading.current_thread()


MEMORY = """
    import resource
    from cnn._common import threads
    free = threads.free_memory()
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, resource.RLIM_INFINITY))
    print(free > 0, 0 < threads.free_memory() < 4 << 30)
    resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, resource.RLIM_INFINITY))
    print(0 < threads.free_memory() < 1 << 30)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_free_memory_is_what_limits_leave() -> None:
    assert run(MEMORY).split() == ["True", "True", "True"]


@pytest.mark.parametrize(("files", "free"), [
    ({"memory.max": "3000", "memory.current": "1000", "memory.stat": "anon 5\ninactive_file 200"}, 2200),
    ({"memory.max": "max", "memory.current": "1000"}, np.inf),
    ({"memory/memory.limit_in_bytes": "3000", "memory/memory.usage_in_bytes": "2500",
      "memory/memory.stat": "total_inactive_file 100"}, 600),
    ({}, np.inf),
])  # fmt: skip
def test_the_control_group_grants_memory(files: dict[str, str], free: float, tmp_path, monkeypatch) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(threads, "Path", lambda name: tmp_path if name == "/sys/fs/cgroup" else Path(name))
    assert threads._cgroup_memory() == free
