"""Sums over ranks as a fixed binary tree: the same bits on all of them, and those of one process that adds so."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cnn.runtime.data import Array

Swap = Callable[[int, Array | None, Array | None], None]
"""swap(peer, send, receive): bytes to that rank and bytes from it at the same time; None where there are none."""

_SHORT = 1 << 15  # bytes; of longer messages the volume counts, not the number


class Tree:
    """The place of one rank in the sum ((r0 + r1) + (r2 + r3)) + ...

    Where the number of ranks is no power of two, the first ones are added in pairs so that a power of two is left.

    >>> values, sums = np.ones(3), np.ones(1)
    >>> Tree(0, 1, lambda peer, send, receive: None).add(values, sums)  # alone
    >>> values
    array([1., 1., 1.])
    """

    def __init__(self, rank: int, size: int, swap: Swap) -> None:
        self._size, self._swap = size, swap
        self._power = 1 << (size.bit_length() - 1)
        self._extra = size - self._power
        paired = rank < 2 * self._extra
        self._partner = rank ^ 1 if paired else None
        self._gives = paired and bool(rank & 1)
        self._place = rank // 2 if paired else rank - self._extra  # among those that are left
        self._received = np.empty(0, np.uint8)

    def add(self, values: Array, sums: Array) -> None:
        """In place, on all ranks: values (n,) and float64 sums (k,), C-contiguous, become their sums over ranks.

        Short ones travel together and whole, to one rank of each other subtree (recursive doubling). Of long values
        each rank adds a part, and the parts are gathered (Rabenseifner 2004): in the same order, so to the same bits.
        """
        if self._size == 1:
            return
        if values.nbytes > _SHORT:
            self._run(values.view(np.uint8), [values.dtype], [values.nbytes], self._halve)
            self._run(sums.view(np.uint8), [sums.dtype], [sums.nbytes], self._double)
            return
        message = np.concatenate([sums.view(np.uint8), values.view(np.uint8)])
        self._run(message, [sums.dtype, values.dtype], [sums.nbytes, values.nbytes], self._double)
        sums.view(np.uint8)[...] = message[: sums.nbytes]
        values.view(np.uint8)[...] = message[sums.nbytes :]

    def _run(self, message: Array, kinds: list[np.dtype], sizes: list[int], among: Callable[..., None]) -> None:
        """The sum of messages, each of them some numbers of one type after those of another."""
        if self._received.size < message.size:
            self._received = np.empty(message.size, np.uint8)
        theirs = self._received[: message.size]

        def plus(begin: int, end: int) -> None:
            """message += theirs, of numbers that lie in bytes begin .. end - 1."""
            at = 0
            for kind, size in zip(kinds, sizes, strict=True):
                here = slice(max(begin, at), min(end, at + size))
                at += size
                if here.start < here.stop:
                    mine = message[here].view(kind)
                    np.add(mine, theirs[here].view(kind), out=mine)

        with np.errstate(all="ignore"):
            if self._partner is None:
                among(message, theirs, plus)
            elif self._gives:
                self._swap(self._partner, message, None)
                self._swap(self._partner, None, message)
            else:
                self._swap(self._partner, None, theirs)
                plus(0, message.size)
                among(message, theirs, plus)
                self._swap(self._partner, message, None)

    def _peer(self, bit: int) -> int:
        """The rank whose place differs in that bit."""
        place = self._place ^ bit
        return 2 * place if place < self._extra else place + self._extra

    def _double(self, message: Array, theirs: Array, plus: Callable[[int, int], None]) -> None:
        bit = 1
        while bit < self._power:
            self._swap(self._peer(bit), message, theirs)
            plus(0, message.size)
            bit *= 2

    def _halve(self, message: Array, theirs: Array, plus: Callable[[int, int], None]) -> None:
        """Each time one half is kept, and the peer's is added to it; then the same way back with the sums."""
        begin, end, bit = 0, message.size, 1
        parts = list[tuple[int, int, int]]()
        while bit < self._power:
            middle = begin + (end - begin) // 2 // 64 * 64  # whole numbers, and whole lines of a cache
            parts.append((bit, begin, end))
            kept, given = ((begin, middle), (middle, end))[:: -1 if self._place & bit else 1]
            self._swap(self._peer(bit), message[slice(*given)], theirs[slice(*kept)])
            plus(*kept)
            begin, end = kept
            bit *= 2
        for bit, first, last in reversed(parts):
            other = (first, begin) if begin > first else (end, last)
            self._swap(self._peer(bit), message[begin:end], message[slice(*other)])
            begin, end = first, last
