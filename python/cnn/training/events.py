"""The events of a fit: which of them a callback needs, by what its class says or overrides."""

from __future__ import annotations

from collections.abc import Iterable

from cnn._common import naming
from cnn.callbacks import Callback, Run

# What happens around epochs, and the method that is called then.
EVENTS = {
    "epoch_begin": "on_epoch_begin", "train_batch_end": "on_train_batch_end", "progress": "on_progress",
    "epoch_end": "on_epoch_end",
}  # fmt: skip


def needed(callback: Callback) -> set[str]:
    """Its events: what it says in `needs`, or its class, and what the classes derived from that one override.

    Who overrides `on_progress` and says nothing is told of each epoch's rows, for which epochs are made one by one.

    Raises:
        ValueError: `needs` names an event that there is not.

    >>> needed(Callback())
    set()
    """
    kinds = type(callback).__mro__
    found = set[str]()
    for own in (vars(callback), *map(vars, kinds[: kinds.index(Callback)])):
        if own.get("needs") is not None:
            if isinstance(own["needs"], str) or not isinstance(own["needs"], Iterable):
                raise TypeError(f"`needs` of {type(callback).__name__} must be a tuple of events, got {own['needs']!r}")
            for event in own["needs"]:
                if event not in EVENTS:
                    raise naming.unknown(f"event in `needs` of {type(callback).__name__}:", event, EVENTS)
            return found | set(own["needs"])
        found |= {event for event, method in EVENTS.items() if method in own}
    return found | {"epoch_end"} if "progress" in found else found


def check_all(callbacks: Iterable[Callback], run: Run) -> None:
    """Raises ValueError where one of them can't be served by this fit: before anything is touched.

    >>> check_all([Callback()], Run(0, 1, 1, 1, ("loss",)))
    """
    for callback in callbacks:
        needed(callback)
        callback.check(run)


def those_that_need(event: str, callbacks: Iterable[Callback]) -> list[Callback]:
    """The callbacks that need that event.

    >>> those_that_need("epoch_end", [Callback()])
    []
    """
    return [callback for callback in callbacks if event in needed(callback)]
