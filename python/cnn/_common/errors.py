"""The errors that only this package raises."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


class NonFiniteError(FloatingPointError):
    """The loss, its gradient or an update stopped being finite; the network keeps its last finite weights."""


class DivergenceError(NonFiniteError, ValueError):
    """The loss of an estimator stopped being finite: a ValueError, as users of scikit-learn expect."""


class ModelFormatError(ValueError):
    """The file is not a whole model of a format that this version reads."""


class StreamError(ValueError):
    """Rows that are read while a network trains are not what they were or should be; steps made so far are kept."""


class NotBuiltError(ValueError, AttributeError):
    """The network does not know its number of inputs yet: fit it, or call `build(n_inputs)`."""

    def __init__(
        self, message: str = "the network does not know its number of inputs: fit it, or call build(n_inputs)"
    ) -> None:
        super().__init__(message)


class NoClassesError(ValueError, AttributeError):
    """What only models of classes have was asked of a model of numbers; `hasattr` says that it is not there."""


def not_fitted(message: str) -> NotBuiltError:
    """The error; scikit-learn's `NotFittedError` as well, if its users may expect that one."""
    theirs = getattr(sys.modules.get("sklearn.exceptions"), "NotFittedError", None)
    return NotBuiltError(message) if theirs is None else _both(theirs)(message)


@cache
def _both(theirs: Any) -> Any:
    def reduced(error: NotBuiltError) -> Any:
        return not_fitted, error.args

    return type("NotFittedError", (NotBuiltError, theirs), {"__doc__": NotBuiltError.__doc__, "__reduce__": reduced})


def of_network(i: int, call: Callable[[], T]) -> T:
    """call(); its error says which of several networks it is of."""
    try:
        return call()
    except Exception as error:
        named(error, i)
        raise


def named(error: Exception, i: int) -> Exception:
    """The error, which says which of several networks it is of."""
    error.add_note(f"This is of networks[{i}].")
    return error


class RankError(RuntimeError):
    """Another process of the same fit failed, which ends it on all; its own error has the traceback."""
