"""The options of `cnn train` as arguments of `TableModel`."""

from __future__ import annotations

from typing import Any

from cnn import losses
from cnn.losses import Huber, Loss, Quantile, Tweedie
from cnn.table.frames import TableError

_WITH_NUMBER: dict[str, type[Loss]] = {"huber": Huber, "quantile": Quantile, "tweedie": Tweedie}
LOSSES = ("squared_error", "absolute_error", "huber", "log_cosh", "quantile", "poisson", "gamma", "tweedie", "log_loss")


def arguments(options: dict[str, Any]) -> dict[str, Any]:
    """What `TableModel` takes for the options that are text."""
    return {
        **options, "hidden": widths(options["hidden"]), "loss": loss(options["loss"]),
        "class_weight": class_weight(options["class_weight"]),
    }  # fmt: skip


def widths(text: str | None) -> tuple[int, ...] | None:
    """Widths of layers.

    >>> widths("128,64")
    (128, 64)
    """
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise TableError(f"--hidden must be widths such as 128,64, got {text!r}") from None


def loss(text: str | None) -> Loss | None:
    """A loss by name, those that have a number with it if it is not the usual one.

    >>> loss("quantile:0.9")
    Quantile(q=0.9)
    """
    if text is None:
        return None
    name, colon, number = text.partition(":")
    found = losses.get(name)
    if not colon:
        return found
    if found.name not in _WITH_NUMBER:
        raise TableError(f"--loss {text}: {found.name} takes no number; {', '.join(_WITH_NUMBER)} take one")
    try:
        value: Any = float(number)
    except ValueError:
        raise TableError(f"--loss {text}: {number!r} is no number") from None
    return _WITH_NUMBER[found.name](value)


def class_weight(text: str | None) -> Any:
    """The weight of each class.

    >>> class_weight("yes=5,no=1")
    {'yes': 5.0, 'no': 1.0}
    """
    if text is None or text == "balanced":
        return text
    found = {}
    for part in text.split(","):
        label, equals, number = part.rpartition("=")
        try:
            if not equals:
                raise ValueError
            found[label] = float(number)
        except ValueError:
            raise TableError(f"--class-weight must be balanced or such as yes=5,no=1, got {text!r}") from None
    return found
