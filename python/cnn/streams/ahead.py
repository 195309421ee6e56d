"""A thread that reads ahead: the next items are made while the last one is worked on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

from cnn._common import checks

T = TypeVar("T")
_LOOK = 0.05  # seconds after which a thread that waits looks whether it is still wanted
_GRACE = 0.1  # seconds that a source gets to end, which may be waiting for something else


class ReadAhead(Generic[T]):
    """Iterates over make(unwanted), an iterator, which runs in a thread of its own, `most` items ahead at most.

    It starts when the first item is asked for. What it raises comes out where its items would. `close` sets the event
    `unwanted`, which ends the thread when the next item is there, or when the iterator sees it and ends; whoever
    iterates must call it, or the thread waits for ever.

    >>> with ReadAhead(lambda unwanted: iter("abc")) as letters:
    ...     print(*letters)
    a b c
    """

    def __init__(self, make: Callable[[threading.Event], Iterator[T]], most: int = 2) -> None:
        self._items: queue.Queue[tuple[bool, T | BaseException | None]] = queue.Queue(most)
        self._make, self._unwanted, self._ended = make, threading.Event(), False
        self._thread: threading.Thread | None = None

    def _work(self) -> None:
        last: BaseException | None = None
        try:
            items = self._make(self._unwanted)
            try:
                for item in items:
                    if not self._put(True, item):
                        break
            finally:
                if hasattr(items, "close"):
                    items.close()
        except BaseException as error:
            last = error
        self._put(False, last)

    def _put(self, good: bool, item: T | BaseException | None) -> bool:
        """Whether somebody wanted it."""
        while not self._unwanted.is_set():
            with suppress(queue.Full):
                self._items.put((good, item), timeout=_LOOK)
                return True
        return False

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._thread is None and not self._ended:
            self._thread = threading.Thread(target=checks.quiet(self._work), name="cnn reads ahead", daemon=True)
            self._thread.start()
        while not self._ended:
            try:
                good, item = self._items.get(timeout=_LOOK)  # without a limit, Windows would not see Ctrl-C
            except queue.Empty:
                continue
            if good:
                return item  # type: ignore[return-value]
            self._ended = True
            if isinstance(item, BaseException):
                raise item
        raise StopIteration

    def close(self) -> None:
        """Ends the thread; may come twice. One that waits for its source is left to it."""
        self._ended = True
        self._unwanted.set()
        if self._thread is not None and self._thread.ident is not None:  # else Ctrl-C came before it was started
            self._thread.join(_GRACE)

    def __enter__(self) -> ReadAhead[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
