from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")

def finishing(work: Callable[[], T], ends: list[Callable[[], Any]]) -> T: ...
def locked(lock: Lock, work: Callable[[], T]) -> T: ...
