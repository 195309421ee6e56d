"""One contestant in a process of its own, so that no thread pool disturbs another; it works only when asked to."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import time
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import image_networks
import networks
import numpy as np

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Worker:
    """The parent's end: `prepare` some work, then `measure` it round by round."""

    def __init__(self, peer: str, threads: int) -> None:
        self.peer, self.threads = peer, threads
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, peer, threads), daemon=True)
        with _limits(threads):
            self.process.start()
        other.close()
        self.absent: str | None = self._receive()

    def _receive(self) -> Any:
        try:
            answer = self.pipe.recv()
        except EOFError:
            raise RuntimeError(f"the worker of {self.peer} died") from None
        if isinstance(answer, Exception):
            raise RuntimeError(f"the worker of {self.peer} failed: {answer!r}") from answer
        return answer

    def _ask(self, command: str, argument: Any) -> Any:
        self.pipe.send((command, argument))
        return self._receive()

    def prepare(self, work: str, case: Any, trial: float) -> dict[str, Any] | None:
        """Makes ready for "training" on a network or "prediction" of (network, rows), with trials of so many seconds;
        None: that is not this contestant's work. In place of its name, a network of images is (name, folder of data).
        """
        return self._ask("prepare", (work, case, trial))

    def measure(self, seconds: float) -> float:
        """Mean seconds of a step or a call, over about so long a time."""
        return self._ask("measure", seconds)

    def stop(self) -> None:
        self.pipe.close()
        self.process.join()


@contextmanager
def _limits(threads: int) -> Iterator[None]:
    """A child started meanwhile inherits them: libraries read both as they are loaded, before any code of ours runs."""
    environment = dict(os.environ)
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    if cores is not None:  # the only limit that every library heeds
        os.sched_setaffinity(0, sorted(cores)[:threads])
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        if cores is not None:
            os.sched_setaffinity(0, cores)


def _serve(pipe: Connection, peer: str, threads: int) -> None:
    from peers import IMAGES, MODULES

    try:
        module = importlib.import_module(f"peers.{(MODULES | IMAGES)[peer]}")
    except ImportError as error:
        pipe.send(str(error))
        return
    pipe.send(None)
    contestant = _Contestant(module, threads)
    while True:
        try:
            command, argument = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(getattr(contestant, command)(argument))
        except Exception as error:  # the parent reports it
            pipe.send(error)


class _Contestant:
    """`run(n)` does n epochs or calls, each of so many `units` (steps), which take some `seconds`."""

    def __init__(self, module: Any, threads: int) -> None:
        self.module, self.threads = module, threads
        self.run: Callable[[int], object]
        self.units, self.seconds = 1, 0.0

    def prepare(self, argument: tuple[str, Any, float]) -> dict[str, Any] | None:
        work, case, trial = argument
        self.run = _nothing  # the memory of the work before
        return {"training": self._training, "prediction": self._prediction}[work](case, trial)

    def _training(self, given: Any, trial: float) -> dict[str, Any] | None:
        """Trains one epoch (or what a trainer's `first` is) with each variant; the fastest one's name, its loss after
        that, whether that should be everybody's, and the loss before."""
        source, network, data = _found(given)
        if not hasattr(self.module, "Trainer") or not getattr(self.module, "supports", _always)(network):
            return None
        trials: dict[str, float] = {}
        for variant in self.module.VARIANTS:
            trainer = self.module.Trainer(data, variant, self.threads)
            getattr(trainer, "first", partial(trainer.run, 1))()
            after = source.loss(data, trainer.parameters())
            trials[variant] = _seconds(trainer.run, trial)
            if trials[variant] == min(trials.values()):
                self.run, variant_loss, best = trainer.run, after, variant
        self.units, self.seconds = network.n_batches, trials[best]
        return {
            "variant": best,
            "loss": variant_loss,
            "comparable": getattr(self.module, "comparable", _always)(network),
            "initial_loss": source.loss(data, data.parameters),
        }

    def _prediction(self, case: tuple[Any, int], trial: float) -> dict[str, Any] | None:
        """The largest error of its predictions, by NumPy's in float64."""
        if not hasattr(self.module, "Predictor"):
            return None
        (source, network, data), rows = _found(case[0]), case[1]
        X = source.inputs(network, rows)
        predict = self.module.Predictor(data, self.threads).predict
        error = np.abs(predict(X).reshape(rows, -1) - source.predictions(network, data.parameters, X)).max()
        self.run = timeit.Timer("predict(X)", globals={"predict": predict, "X": X}).timeit
        self.units, self.seconds = 1, _seconds(self.run, trial)
        return {"error": float(error)}

    def measure(self, seconds: float) -> float:
        if self.seconds < seconds:  # others have had the caches since; to a long run that is nothing
            self.run(max(1, int(seconds / 10 / self.seconds)))
        n = max(1, round(seconds / self.seconds))
        began = time.perf_counter()
        self.run(n)
        return (time.perf_counter() - began) / (n * self.units)


def _found(given: Any) -> tuple[Any, Any, Any]:
    """The module that knows a network, the network and its problem."""
    if isinstance(given, str):
        return networks, networks.NETWORKS[given], networks.problem(networks.NETWORKS[given])
    name, folder = given
    network = image_networks.NETWORKS[name]
    return image_networks, network, image_networks.problem(network, folder)


def _nothing(n: int) -> None:
    pass


def _always(network: Any) -> bool:
    return True


def _seconds(run: Callable[[int], object], least: float) -> float:
    """Of one epoch or call: twice as many until they take at least so long."""
    n = 1
    while True:
        began = time.perf_counter()
        run(n)
        now = time.perf_counter() - began
        if now >= least:
            return now / n
        n *= 2
