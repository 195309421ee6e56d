"""What the estimators use of scikit-learn 1.6 and 1.9, for its versions from 1.4 on."""

from __future__ import annotations

from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # before 1.9

    class _NoCallbacks:
        """The context of a fit where scikit-learn knows no callbacks."""

        _callbacks = ()

        def call_on_fit_task_begin(self, **_: Any) -> _NoCallbacks:
            return self

        def call_on_fit_task_end(self, **_: Any) -> bool:
            return False

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Of callbacks that there are none."""

        def _init_callback_context(self, **_: Any) -> _NoCallbacks:
            return _NoCallbacks()


try:
    from sklearn.utils.validation import validate_data as _validate
except ImportError:  # before 1.6, where it is a method

    def _validate(estimator: Any, X: Any, y: Any = "no_validation", **how: Any) -> Any:
        """What it was then."""
        return estimator._validate_data(X, y, **how)


_OF_TABLES = ("could not convert string to float", "contains NaN")
_NOTE = "cnn.TableModel learns from tables with text, dates and gaps as they are, and is an estimator, too."


def validate_data(estimator: Any, X: Any, y: Any = "no_validation", **how: Any) -> Any:
    """scikit-learn's; its error for a table with text or gaps gets a note on what takes such a table."""
    try:
        return _validate(estimator, X, y, **how)
    except ValueError as error:
        if any(words in str(error) for words in _OF_TABLES):
            error.add_note(_NOTE)
        raise


__all__ = ["CallbackSupportMixin", "validate_data"]
