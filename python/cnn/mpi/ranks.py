"""The ranks of a communicator: sums as a fixed binary tree, what each has for all, and one's error as everybody's end.

All waiting is done here, by polling: so Ctrl-C is seen, and so is the notice that a rank sends when it fails.
"""

from __future__ import annotations

import math
import os
import pickle
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import numpy as np

from cnn._common.errors import RankError
from cnn.mpi.alone import ALONE, Alone
from cnn.mpi.tree import Tree
from cnn.runtime.data import Array

T = TypeVar("T")

_NOTICE, _PART = 1, 2  # tags
_NOTICE_BYTES = 1000
_SPINS = 200  # polls between two looks at notices; whoever has waited that long lets others have the core
_FAREWELL = 2.0  # seconds that a failing rank gives its notices
_yield = getattr(os, "sched_yield", partial(time.sleep, 0))


def together(comm: Any, work: Callable[[Alone], T]) -> T:
    """work(ranks) on every rank of a communicator, or alone without one; one's error ends it on all.

    Raises:
        ImportError, TypeError, RuntimeError: as `Ranks`.
        RankError: another rank failed; its number and its error are named.
    """
    if comm is None:
        return work(ALONE)
    ranks = Ranks(comm)
    try:
        found = work(ranks)
        ranks.close()
    except BaseException as error:
        ranks.fail(error)
        raise
    return found


class Ranks(Alone):
    """This process among those of a communicator; one fit uses it, from one thread at a time.

    Every rank must make the same calls in the same order. A rank that can't go on calls `fail`, and whoever waits for
    it raises a RankError.

    Args:
        comm: mpi4py's communicator. It is duplicated: messages of the user's own are not touched.

    Raises:
        ImportError: mpi4py is not there.
        TypeError: `comm` is no communicator of its.
        RuntimeError: MPI was initialised for a single thread alone.
    """

    def __init__(self, comm: Any) -> None:
        try:
            from mpi4py import MPI
        except ImportError as error:
            raise ImportError("comm needs mpi4py (extra 'mpi'): pip install mpi4py mpich") from error
        if not isinstance(comm, MPI.Intracomm) or comm == MPI.COMM_NULL:
            raise TypeError(f"comm must be a communicator of mpi4py such as MPI.COMM_WORLD, got {comm!r}")
        if MPI.Query_thread() < MPI.THREAD_SERIALIZED:
            raise RuntimeError("MPI was initialised for one thread; a fit needs mpi4py.rc.thread_level 'serialized'")
        self._mpi = MPI
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self._notices: list[Any] = []  # those that were sent
        self._text = bytearray(_NOTICE_BYTES)
        self._notice: Any = None
        self._pending: list[Any] = []
        self._stop: Array | None = None
        self._tree = Tree(self.rank, self.size, self._swap)
        self._comm, request = comm.Idup()
        self._wait([request])
        self._notice = self._comm.Irecv(self._text, MPI.ANY_SOURCE, _NOTICE)

    # Collective calls -------------------------------------------------------------------------------------------------

    def add(self, values: Array, sums: Array, stop: Array | None = None) -> None:
        self._stop = stop
        self._tree.add(values, sums)
        self._stop = None

    def broadcast(self, value: Any) -> Any:
        content = pickle.dumps(value) if self.rank == 0 else b""
        length = np.array([len(content)], np.int64)
        self._wait([self._comm.Ibcast(length, 0)])
        buffer = np.frombuffer(content, np.uint8) if self.rank == 0 else np.empty(length[0], np.uint8)
        self._wait([self._comm.Ibcast(buffer, 0)])
        return value if self.rank == 0 else pickle.loads(buffer.data)

    def gather(self, value: Any) -> list[Any]:
        content = np.frombuffer(pickle.dumps(value), np.uint8)
        lengths = np.empty(self.size, np.int64)
        self._wait([self._comm.Iallgather(np.array([content.size], np.int64), lengths)])
        everything = self._bytes(content, lengths.tolist())
        return [pickle.loads(part.data) for part in np.split(everything, np.cumsum(lengths)[:-1])]

    def rows(self, own: Array, counts: Sequence[int]) -> Array:
        width = own.dtype.itemsize * math.prod(own.shape[1:])
        content = np.ascontiguousarray(own).reshape(-1).view(np.uint8)
        everything = self._bytes(content, [n * width for n in counts])
        return everything.view(own.dtype).reshape(sum(counts), *own.shape[1:])

    def relay(self, values: Array, go_on: Callable[[Array], None]) -> None:
        if self.rank > 0:
            self._wait([self._comm.Irecv(values, self.rank - 1, _PART)])
        go_on(values)
        if self.rank < self.size - 1:
            self._wait([self._comm.Isend(values, self.rank + 1, _PART)])
        self._wait([self._comm.Ibcast(values, self.size - 1)])

    def _bytes(self, own: Array, counts: list[int]) -> Array:
        out = np.empty(sum(counts), np.uint8)
        begins = np.cumsum([0, *counts])[:-1].tolist()
        self._wait([self._comm.Iallgatherv(own, [out, counts, begins, self._mpi.BYTE])])
        return out

    def close(self) -> None:
        """Waits for all, and gives back what MPI has given: at the end of a fit that all have made."""
        self._wait([self._comm.Ibarrier()])
        self._release()
        self._comm.Free()

    # Errors -----------------------------------------------------------------------------------------------------------

    def fail(self, error: BaseException) -> None:
        """Tells the others that this rank can't go on, unless it is one of them that has failed."""
        if not isinstance(error, RankError) and self._notice is not None:
            text = f"{type(error).__name__}: {error}".encode()[:_NOTICE_BYTES]
            others = [r for r in range(self.size) if r != self.rank]
            self._notices = [self._comm.Isend(text, r, _NOTICE) for r in others]
            until = time.monotonic() + _FAREWELL
            while not self._mpi.Request.Testall(self._notices) and time.monotonic() < until:
                time.sleep(0.001)
        self._release()

    def _release(self) -> None:
        notice, self._notice = self._notice, None
        if notice is not None:
            notice.Cancel()
            notice.Wait()
        for request in self._pending:
            with suppress(self._mpi.Exception):
                if request != self._mpi.REQUEST_NULL:
                    request.Cancel()

    def _wait(self, requests: list[Any]) -> None:
        """Until all of them are done."""
        self._pending, polls = requests, 0
        done = self._mpi.Request.Testall
        while not done(requests):
            polls += 1
            if polls % _SPINS == 0:
                self._look()
            if polls > _SPINS:
                _yield()
        self._pending = []

    def _look(self) -> None:
        """Raises what ends the waiting: another rank's error, or a stop from outside."""
        if self._stop is not None and self._stop[0]:
            raise KeyboardInterrupt
        if self._notice is not None:
            status = self._mpi.Status()
            if self._notice.Test(status):
                self._notice = None
                text = bytes(self._text[: status.Get_count(self._mpi.BYTE)]).decode(errors="replace")
                raise RankError(f"rank {status.Get_source()} of {self.size} failed: {text}")

    def _swap(self, peer: int, send: Array | None, receive: Array | None) -> None:
        """Bytes to a rank and bytes from it at the same time; None where there are none."""
        comm, requests = self._comm, []
        if receive is not None:
            requests.append(comm.Irecv(receive, peer, _PART))
        if send is not None:
            requests.append(comm.Isend(send, peer, _PART))
        self._wait(requests)
