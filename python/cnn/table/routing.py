"""What scikit-learn's tools pass on to a table model beside X and y, such as weights (SLEP 6, metadata routing)."""

from __future__ import annotations

import copy
import inspect
from typing import Any, Self

_METHODS = ("fit", "score")
_GIVEN = ("self", "data", "X", "y")  # what every tool passes on


class Routed:
    """Base of estimators whose `fit` and `score` say which of their arguments are to be passed on."""

    _metadata_request: Any  # scikit-learn's `clone` copies it

    def set_fit_request(self, **passed: bool | str | None) -> Self:
        """Arguments of `fit` that scikit-learn's tools have `passed` on: True, False, None (an error if given), a name.

        >>> import cnn, sklearn
        >>> with sklearn.config_context(enable_metadata_routing=True):
        ...     model = cnn.TableModel(task="regression").set_fit_request(sample_weight=True)
        ...     model.get_metadata_routing().fit.requests["sample_weight"]
        True

        Raises:
            ImportError: there is no scikit-learn.
            RuntimeError: routing is not switched on.
            TypeError, ValueError: no argument of `fit`, or no request.
        """
        return self._request("fit", passed)

    def set_score_request(self, **passed: bool | str | None) -> Self:
        """The same of `score`, `passed`: `sample_weight`."""
        return self._request("score", passed)

    def get_metadata_routing(self) -> Any:
        """All requests, as scikit-learn's `MetadataRequest`; None for arguments without one."""
        from sklearn.utils.metadata_routing import MetadataRequest

        found = getattr(self, "_metadata_request", None)
        if found is None:
            found = MetadataRequest(owner=type(self).__name__)
            for method in _METHODS:
                for name in self._arguments(method):
                    getattr(found, method).add_request(param=name, alias=None)
        return copy.deepcopy(found)

    def _arguments(self, method: str) -> list[str]:
        return [name for name in inspect.signature(getattr(type(self), method)).parameters if name not in _GIVEN]

    def _request(self, method: str, passed: dict[str, bool | str | None]) -> Self:
        try:
            from sklearn import get_config
        except ImportError as error:
            text = "metadata routing needs scikit-learn 1.4 or newer (extra 'sklearn'): pip install -U scikit-learn"
            raise ImportError(text) from error
        if not get_config().get("enable_metadata_routing", False):
            raise RuntimeError(
                f"set_{method}_request is for metadata routing: sklearn.set_config(enable_metadata_routing=True) first"
            )
        known = self._arguments(method)
        if unknown := sorted(set(passed) - set(known)):
            raise TypeError(f"{method} has no argument {unknown[0]!r} to pass on; known: {', '.join(known)}")
        requests = self.get_metadata_routing()
        for name, alias in passed.items():
            getattr(requests, method).add_request(param=name, alias=alias)
        self._metadata_request = requests
        return self
