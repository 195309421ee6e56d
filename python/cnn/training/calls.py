"""What a fit asks of the core. A fit is a generator: it yields a call, and is sent the answer by whoever drives it."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

from cnn._common import interrupt, threads
from cnn.runtime.data import Array

T = TypeVar("T")


@dataclass
class Pace:
    """How many seconds the next pieces of the fits that share it should last."""

    seconds: float


class Piece(NamedTuple):
    """Minibatches begin .. end - 1 of one network: what `Training.run` of cnn_core is given.

    The answer: its status, and the seconds that it took; `expected` is how many. `shares` lets other fits have their
    part of the threads; a `long` one must be given up in its middle for a Ctrl-C to be prompt.
    """

    training: Any
    epoch: int
    begin: int
    end: int
    numbers: Array
    found: Array
    n_threads: int
    shares: bool
    long: bool
    expected: float

    def make(self) -> tuple[int, float]:
        start = time.perf_counter()
        status = interrupt.interruptible(self.run) if self.long else self.run(None)
        return status, time.perf_counter() - start

    def run(self, stop: Array | None) -> int:
        """The status, with a flag that ends it."""
        n = threads.share(self.n_threads) if self.shares else self.n_threads
        return int(self.training.run(self.epoch, self.begin, self.end, self.numbers, self.found, n, stop))


class Taking(Protocol):
    """Rows that were held out, in memory or read anew."""

    def take(self, n_threads: int | None) -> dict[str, float]: ...


class Evaluation(NamedTuple):
    """Loss and metrics on some rows, which are the answer."""

    scores: Taking
    n_threads: int | None

    def make(self) -> dict[str, float]:
        return self.scores.take(self.n_threads)


Call: TypeAlias = Piece | Evaluation
Calls: TypeAlias = Generator[Call, Any, T]


def drive(calls: Calls[T]) -> T:
    """Makes the calls one after another; what the generator returns."""
    answer: Any = None
    while True:
        try:
            call = calls.send(answer)
        except StopIteration as end:
            return end.value
        answer = call.make()
