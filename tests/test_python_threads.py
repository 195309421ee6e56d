"""Python's own threads: each fits, predicts and saves its network while others do; some share one network.

The same bits as alone, with the GIL and without. `pytest --parallel-threads 8 --iterations 100` (pytest-run-parallel)
runs each test in eight threads at once, as the tests of wheels for free-threaded Python do.
"""

from __future__ import annotations

import sysconfig
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import run

import cnn
from cnn.runtime import passes

Array = np.ndarray[Any, Any]
Bits = tuple[bytes, ...]
THREADS = 8


def at_once(work: Callable[[int], Any], n: int = THREADS) -> list[Any]:
    """work(0), work(1), ..., each in a thread of its own; all of them begin together."""
    begin = threading.Barrier(n)

    def waits(i: int) -> Any:
        begin.wait(60)
        return work(i)

    with ThreadPoolExecutor(n) as threads:
        return list(threads.map(waits, range(n)))


def data(shape: tuple[int, ...] = (6,)) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    X = rng.random((200, *shape), np.float32)
    return X, X.reshape(200, -1)[:, :2].sum(1)


def dense(seed: int) -> cnn.Network:
    return cnn.Network([cnn.Dense(8, "gelu"), cnn.BatchNorm(), cnn.Dropout(0.2), cnn.Dense(1)], seed=seed)


def wide(seed: int) -> cnn.Network:
    """So wide that BLAS may compute its products, and a team of threads shares each of them."""
    return cnn.Network([cnn.Dense(300, "tanh"), cnn.Dense(300), cnn.Dense(1)], dtype="float64", seed=seed)


def images(seed: int) -> cnn.Network:
    return cnn.Network([cnn.Conv2D(4, 3, activation="relu"), cnn.MaxPool2D(2), cnn.Flatten(), cnn.Dense(1)], seed=seed)


MADE = {"dense": dense, "wide": wide, "images": images}


def rows_of(kind: str) -> tuple[Array, Array]:
    return data((8, 8, 1) if kind == "images" else (6,))


def fitted(kind: str, seed: int) -> cnn.Network:
    net, (X, y) = MADE[kind](seed), rows_of(kind)
    net.fit(X, y, epochs=2, batch_size=64, validation_split=0.2, verbose=0)
    return net


def bits(kind: str, seed: int, file: Path) -> Bits:
    """What a network has learnt, predicts, and predicts again after a file: fitted, saved and loaded here and now."""
    net, (X, _) = fitted(kind, seed), rows_of(kind)
    net.save(file)
    again = cnn.load(file)
    return net.flat.tobytes(), net.predict(X).tobytes(), net.predict(X[:1]).tobytes(), again.predict(X).tobytes()


@cache
def alone(kind: str, seed: int, folder: Path) -> Bits:
    return bits(kind, seed, folder / f"{kind}{seed}.cnn")


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With what every test compares with, made before any thread runs."""
    made = tmp_path_factory.mktemp("alone")
    for kind in MADE:
        for seed in range(THREADS):
            alone(kind, seed, made)
    return made


@pytest.mark.parametrize("kind", MADE)
def test_a_fit_a_prediction_and_a_file(kind: str, folder: Path) -> None:
    """Of a network of its own; it is pytest-run-parallel that runs it in many threads."""
    assert bits(kind, 0, folder / f"{threading.get_ident()}.cnn") == alone(kind, 0, folder)


@pytest.mark.parametrize("kind", MADE)
def test_networks_of_their_own(kind: str, folder: Path) -> None:
    found = at_once(lambda i: bits(kind, i, folder / f"{threading.get_ident()}.cnn"))
    assert found == [alone(kind, i, folder) for i in range(THREADS)]


def test_different_networks(folder: Path) -> None:
    kinds = [list(MADE)[i % len(MADE)] for i in range(THREADS)]
    found = at_once(lambda i: bits(kinds[i], i, folder / f"{threading.get_ident()}.cnn"))
    assert found == [alone(kind, i, folder) for i, kind in enumerate(kinds)]


@pytest.mark.parametrize("kind", MADE)
def test_predictions_of_one_network(kind: str) -> None:
    """A few rows and many, outputs of layers, gradients; none of it leaves a trace in the network."""
    net, (X, y) = fitted(kind, 0), rows_of(kind)

    def asked(i: int) -> Bits:
        loss, gradient = net.loss_and_gradient(X[:50], y[:50])
        inside = net.layer_outputs(X[:20])
        parts = [net.predict(X[i : i + 3]), net.predict(X), *gradient.values(), *inside]
        return np.float64(loss).tobytes(), *(np.asarray(part).tobytes() for part in parts)

    before = net.flat.tobytes()
    expected = [asked(i) for i in range(THREADS)]
    assert at_once(lambda i: [asked(i) for _ in range(10)]) == [[wanted] * 10 for wanted in expected]
    assert net.flat.tobytes() == before


def test_one_file_written_by_all(folder: Path) -> None:
    """It is one of them, whole, whenever it is read."""
    nets = [fitted("dense", i) for i in range(THREADS)]
    path = folder / f"one{threading.get_ident()}.cnn"
    nets[0].save(path)
    known = {net.flat.tobytes() for net in nets}

    def work(i: int) -> set[bytes]:
        nets[i].save(path)
        return {cnn.load(path).flat.tobytes() for _ in range(3)}

    assert set().union(*at_once(work)) <= known


def test_one_network_is_fitted_by_one_of_them() -> None:
    """Each of the others is refused before anything is touched, or comes when that one is done."""
    X, y = data()
    net = cnn.Network([cnn.Dense(4, "tanh"), cnn.Dense(1)], seed=0).build(6)

    def work(i: int) -> str:
        try:
            net.fit(X, y, epochs=3, shuffle=False, verbose=0)
        except RuntimeError as error:
            return str(error)
        return ""

    said = at_once(work)
    assert all("fitted in another thread" in text for text in said if text)
    one = cnn.Network([cnn.Dense(4, "tanh"), cnn.Dense(1)], seed=0).build(6)
    for _ in range(said.count("")):
        one.fit(X, y, epochs=3, shuffle=False, verbose=0)
    assert net.step == one.step
    assert net.flat.tobytes() == one.flat.tobytes()


class BuiltMeanwhile(cnn.Network):
    """While its weights are drawn, another thread builds it for 64 inputs."""

    begun = False

    def _draw(self, *args: Any) -> None:
        super()._draw(*args)
        if not self.begun:
            self.begun = True
            with ThreadPoolExecutor(1) as other:
                other.submit(self.build, 64).result(60)


def test_a_network_is_built_by_one_of_them() -> None:
    """Parameters and plan are of the same thread, or the core would read beyond the parameters."""
    net = BuiltMeanwhile([cnn.Dense(16, "tanh"), cnn.Dense(1)], seed=0)
    with pytest.raises(ValueError, match="the network takes 64 inputs already, got n_inputs=6"):
        net.build(6)
    one = cnn.Network([cnn.Dense(16, "tanh"), cnn.Dense(1)], seed=0).build(64)
    assert net.flat.tobytes() == one.flat.tobytes()
    X = np.ones((3, 64), np.float32)
    assert net.predict(X).tobytes() == one.predict(X).tobytes()


def test_another_optimizer_is_not_given_the_state_of_the_one_before() -> None:
    net = cnn.Network([cnn.Dense(1)], optimizer="adam", seed=0).build(6)
    seen = net.plan
    net.optimizer = cnn.SGD()  # has no state, and Adam would write beyond it
    with pytest.raises(RuntimeError, match="another thread has set another optimizer meanwhile"):
        passes.step_buffers(net, seen, seen.cut(10), 1)


class TapesOfOthers(cnn.Network):
    """Whenever it looks at the last pass forward, another thread has just made one."""

    @property
    def _tape(self) -> passes.Tape | None:
        tape, self.tape = self.tape, None if self.tape is None else passes.forward(self, self.others, False, 1)[1]
        return tape

    @_tape.setter
    def _tape(self, made: passes.Tape | None) -> None:
        self.tape = made


def test_a_way_back_is_that_of_one_pass_forward() -> None:
    """Whose rows `dout` has been checked for, or the core would read beyond it."""
    X, _ = data()
    net = TapesOfOthers([cnn.Dense(8, "tanh"), cnn.Dense(1)], seed=0).build(6)
    net.others = X
    out = net.forward(X[:3])
    dX = net.backward(np.ones_like(out))
    assert dX is not None
    assert dX.shape == (3, 6)


def test_one_estimator_is_fitted_by_one_of_them() -> None:
    pytest.importorskip("sklearn")
    X, y = data()
    model = cnn.MLPRegressor(hidden_layer_sizes=(8,), tol=1e9, n_iter_no_change=2, random_state=0)

    def work(i: int) -> str:
        try:
            model.fit(X, y)
        except RuntimeError as error:
            return str(error)
        return ""

    said = at_once(work)
    assert all("this MLPRegressor is being fitted in another thread" in text for text in said if text)
    assert model.predict(X).tobytes() == type(model)(**model.get_params()).fit(X, y).predict(X).tobytes()


def test_estimators() -> None:
    pytest.importorskip("sklearn")
    X, y = data()

    def work(i: int) -> bytes:
        model = cnn.MLPRegressor(hidden_layer_sizes=(8,), tol=1e9, n_iter_no_change=2, random_state=i)
        scored = model.fit(X, y).predict(X)
        assert isinstance(scored, np.ndarray)
        return scored.tobytes()

    expected = [work(i) for i in range(THREADS)]
    assert at_once(work) == expected


def test_tables() -> None:
    pandas = pytest.importorskip("pandas")
    X, y = data()
    frame = pandas.DataFrame(X, columns=list("abcdef")).assign(word=np.where(X[:, 0] > 0.5, "high", "low"), y=y)

    def work(i: int) -> bytes:
        model = cnn.TableModel("y", members=2, epochs=2, hidden=(4,), seed=i % 2).fit(frame.copy())
        return np.asarray(model.predict(frame)).tobytes()

    expected = [work(i) for i in range(2)]
    assert at_once(work) == [expected[i % 2] for i in range(THREADS)]


def test_the_package_leaves_the_gil_as_it_is() -> None:
    """A module that is not made for free-threaded Python would switch the GIL on, for the whole process."""
    program = """
        import sys, cnn, cnn_core
        cnn_core.engines()
        print(getattr(sys, "_is_gil_enabled", lambda: True)())
    """
    assert run(program) == ("False" if sysconfig.get_config_var("Py_GIL_DISABLED") else "True")
