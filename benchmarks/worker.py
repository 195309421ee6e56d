"""One contestant in a process of its own, so that no thread pool disturbs another; it works only when asked to."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

TRIAL_SECONDS = 0.2
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Worker:
    """The parent's end: `prepare` a network, then `measure` it round by round."""

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

    def prepare(self, network: str) -> dict[str, Any]:
        """Trains one epoch with each variant; the fastest one's name, its loss after that epoch, whether that should be
        everybody's, and the loss before."""
        return self._ask("prepare", network)

    def measure(self, seconds: float) -> float:
        """Mean seconds of a step, over whole epochs that take at least so long."""
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
    from peers import MODULES

    try:
        module = importlib.import_module(f"peers.{MODULES[peer]}")
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
    def __init__(self, module: Any, threads: int) -> None:
        self.module, self.threads = module, threads
        self.trainer: Any = None
        self.n_batches = 0
        self.epoch_seconds = 0.0

    def prepare(self, name: str) -> dict[str, Any]:
        from networks import NETWORKS, loss, problem

        self.trainer = None  # its memory first
        data = problem(NETWORKS[name])
        self.n_batches = data.network.n_batches
        trials: dict[str, float] = {}
        for variant in self.module.VARIANTS:
            trainer = self.module.Trainer(data, variant, self.threads)
            trainer.epoch()
            after = loss(data, trainer.parameters())
            trials[variant] = _seconds_per_epoch(trainer.epoch, TRIAL_SECONDS)
            if trials[variant] == min(trials.values()):
                self.trainer, variant_loss, best = trainer, after, variant
        self.epoch_seconds = trials[best]
        return {
            "variant": best,
            "loss": variant_loss,
            "comparable": getattr(self.module, "comparable", lambda network: True)(data.network),
            "initial_loss": loss(data, data.parameters),
        }

    def measure(self, seconds: float) -> float:
        if self.epoch_seconds < seconds:  # others have had the caches since; to a long epoch that is nothing
            _seconds_per_epoch(self.trainer.epoch, seconds / 10)
        return _seconds_per_epoch(self.trainer.epoch, seconds) / self.n_batches


def _seconds_per_epoch(epoch: Callable[[], None], seconds: float) -> float:
    epochs, began, now = 0, time.perf_counter(), 0.0
    while now < seconds:
        epoch()
        epochs += 1
        now = time.perf_counter() - began
    return now / epochs
