"""Many fits side by side, in rounds: one call into the core makes a piece of each; large networks run by themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import cnn_core
from cnn._common import checks, interrupt, threads
from cnn.runtime.history import History
from cnn.training import choose_activation
from cnn.training.calls import Call, Pace, Piece
from cnn.training.fit import Fit

# A round lasts about so long, and is given up in its middle for a Ctrl-C from twice as long on.
_ROUND_SECONDS = 0.1
# Fits that are at work at once: each has buffers, and the longer its pieces are the less Python has to do around them.
_AT_WORK = 64
# A piece lasts that long at least: Python takes some 20 us around it.
_LEAST_SECONDS = 4e-4
# A minibatch of wide layers that feeds all threads, and takes so much arithmetic, is made by all of them.
_LARGE_FLOPS = 1e8


class Member:
    """A fit among many: its calls, of which it waits for the answer to one."""

    def __init__(self, fit: Fit) -> None:
        self.fit = fit
        self.ends: list[Callable[[], None]] = []
        self.calls: Any = None
        self.call: Call | None = None  # None: it has ended
        self.error: Exception | None = None

    def begin(self, pace: Pace, n_threads: int) -> None:
        """Up to the first call."""
        fit = self.fit
        fit.pace = pace

        def begun() -> Call:
            choose_activation.settle(fit)
            fit.begin()
            if fit.net.plan.uses_blas:
                threads.hold_blas(self.ends)
            fit.alone = is_large(fit, n_threads)
            self.calls = fit.calls(self.ends)
            return next(self.calls)

        self._on(begun)

    def answered(self, answer: Any) -> None:
        """On to the next call."""
        self._on(partial(self.calls.send, answer))

    def made(self) -> None:
        """Makes the call by itself, and goes on."""
        assert self.call is not None
        make = self.call.make
        self._on(lambda: self.calls.send(make()))

    def _on(self, next_call: Callable[[], Call]) -> None:
        try:
            self.call = next_call()
        except StopIteration:
            self.leave()
        except Exception as error:
            self.error = error
            self.leave()

    def leave(self) -> None:
        """Ends the fit, whatever it has come to; it may be called again."""
        self.call = None
        try:
            cnn_core.finishing(lambda: None, self.ends)
        except Exception as error:
            self.error = self.error or error


def is_large(fit: Fit, n_threads: int) -> bool:
    """Whether its minibatches are made by all threads, one fit after another."""
    net, rows = fit.net, fit.identity.batch
    cut = net.plan.taking(fit.train.X).cut(rows)
    return cut.wide and cut.feeds >= n_threads > 1 and 6.0 * net.plan.size * rows >= _LARGE_FLOPS


def arithmetic(fit: Fit) -> float:
    """About how much there is to do: the largest ones begin."""
    shape, weights = fit.train.X.shape[1:], 0
    for layer in fit.net.descriptions:
        inputs, shape = shape[-1], layer.output_shape(shape)  # of images those of a pixel
        weights += inputs * math.prod(shape)
    return float(weights) * len(fit.train) * (fit.about.epochs - fit.about.first_epoch)


@checks.quiet
def run(fits: Sequence[Fit], n_threads: int | None) -> list[History | Exception]:
    """Trains all of them, and gives the history of each, or what has ended it. All are checked by now."""
    members = [Member(fit) for fit in fits]
    rounds = _Rounds(members, n_threads)
    cnn_core.finishing(rounds.run, [rounds.leave])
    return [member.error or member.fit.history() for member in members]


class _Rounds:
    def __init__(self, members: Sequence[Member], n_threads: int | None) -> None:
        self.asked = n_threads
        # The last one is the first to be taken.
        self.waiting = sorted(members, key=lambda member: arithmetic(member.fit))
        self.at_work: list[Member] = []
        self.pace = Pace(_ROUND_SECONDS)

    @property
    def n_threads(self) -> int:
        n = threads.for_training(self.asked, 1 << 20)
        return n if self.asked is not None else threads.share(n)

    def run(self) -> None:
        while self.waiting or self.at_work:
            n = self.n_threads
            before, room = len(self.at_work), max(_AT_WORK, 4 * n)
            while self.waiting and len(self.at_work) < room:
                self.at_work.append(self.waiting.pop())
            there = len(self.at_work)
            self.pace.seconds = max(_LEAST_SECONDS, _ROUND_SECONDS * min(n, there) / there)
            for member in self.at_work[before:]:
                member.begin(self.pace, n)
            self.one([member for member in self.at_work if member.call is not None], n)
            self.at_work = [member for member in self.at_work if member.call is not None]

    def one(self, members: Sequence[Member], n_threads: int) -> None:
        """A round: the pieces of small networks in one call, then the calls of the others one by one."""
        small: list[tuple[Member, Piece]] = []
        others: list[Member] = []
        for member in members:
            if isinstance(member.call, Piece) and member.call.n_threads == 1:
                small.append((member, member.call))
            else:
                others.append(member)
        if len(small) == 1:
            others.append(small.pop()[0])
        if small:
            self.side_by_side(small, n_threads)
        for member in others:
            member.made()

    def side_by_side(self, small: list[tuple[Member, Piece]], n_threads: int) -> None:
        small.sort(key=lambda pair: pair[1].expected, reverse=True)
        make = partial(cnn_core.engine.run_many, [piece for _, piece in small], n_threads)
        long = sum(piece.expected for _, piece in small) > 2 * _ROUND_SECONDS * n_threads
        for (member, _), answer in zip(small, interrupt.interruptible(make) if long else make(), strict=True):
            member.answered(answer)

    def leave(self) -> None:
        """Ends those that are at work, whatever one of them does."""
        cnn_core.finishing(lambda: None, [member.leave for member in self.at_work])
