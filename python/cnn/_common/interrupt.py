"""Ctrl-C while a long call runs: the call is made in a thread of its own, and given up in its middle."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np

import cnn_core

T = TypeVar("T")
Array = np.ndarray[Any, Any]

# From this much arithmetic on, some 50 ms of a core, a call must be given up in its middle for a Ctrl-C to be prompt.
LONG_FLOPS = 3e9
# To sort so many numbers takes some 50 ms.
_MANY_NUMBERS = 1 << 20


def interruptible(call: Callable[[Array], T], *, waits: bool = True) -> T:
    """call(stop) in a thread of its own, while this one listens for Ctrl-C; stop (1,) int32 is then set to 1.

    For single calls that last too long to wait for their end. Signals reach the main thread alone: in others the call
    is made as it is. After a Ctrl-C the thread is waited for, unless it writes to nothing that anybody else has.
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
        try:
            worker.start()
        except RuntimeError:  # the system gives no further thread: Ctrl-C waits for the end of the call
            return call(stop)
        while not finished.wait(0.05):  # without a limit, Windows would not see the signal
            pass
    except BaseException:
        cnn_core.engine.raise_flag(stop)
        while waits and worker.is_alive() and not finished.is_set():  # it writes to what the caller is about to use
            with suppress(KeyboardInterrupt):
                finished.wait(0.05)
        raise
    worker.join()
    if failed:
        raise failed[0]
    return found[0]


def takes_long(numbers: int) -> bool:
    """Whether to sort, draw or shuffle so many numbers takes too long to wait for its end after a Ctrl-C."""
    return numbers > _MANY_NUMBERS


def apart(numbers: int, call: Callable[[], T]) -> T:
    """call(), a function of NumPy's or SciPy's of so many numbers; a long one is left to itself after a Ctrl-C."""
    return interruptible(lambda stop: call(), waits=False) if takes_long(numbers) else call()


def promptly(flops: float, call: Callable[[Array | None], T]) -> T:
    """call(stop) of so much arithmetic in the core, by `interruptible` where it may last long; else call(None)."""
    return interruptible(call) if flops > LONG_FLOPS else call(None)
