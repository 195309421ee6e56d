"""Intervals, quantiles and deviations of a table model's predictions."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnn._common import checks
from cnn.network import Network
from cnn.table import calibration
from cnn.table.estimator import Estimator
from cnn.table.frames import Array
from cnn.uncertainty import Residuals, check_levels


class Uncertain(Estimator):
    """What a `TableModel` says of how far its predictions may be off."""

    residuals: Residuals | None
    networks: tuple[Network, ...]

    def predict_interval(self, data: Any, *, coverage: float = 0.9, n_threads: int | None = None) -> Array:
        """(n, 2) lower and upper ends of intervals that hold the target in that share of rows like those of the fit.

        Conformal (Vovk et al. 2005, Lei et al. 2018): by the errors of networks that were not trained on a row. The
        share holds over all rows, not for each kind of them.

        Raises:
            ValueError: a target of classes, a coverage not in (0, 1) or for which too few rows were held out, a model
                from a file of an earlier version.
        """
        coverage = checks.number("coverage", coverage, 0, 1, open_low=True, open_high=True)
        found = self._residuals("predict_interval").interval(self._outputs_of(data, n_threads), coverage)
        return self._possible(found)

    def predict_quantiles(
        self, data: Any, quantiles: Any = (0.05, 0.5, 0.95), *, n_threads: int | None = None
    ) -> Array:
        """(n, k) quantiles of the target, which never cross; (n,) for a single number. See `predict_interval`.

        The quantiles 0.05 and 0.95 are the ends of the interval of coverage 0.9.
        """
        levels = check_levels(quantiles)
        found = self._residuals("predict_quantiles").quantiles(self._outputs_of(data, n_threads), levels)
        found = self._possible(found)
        return found if np.ndim(quantiles) else found[:, 0]

    def predict_std(self, data: Any, *, n_threads: int | None = None) -> Array:
        """(n,) the standard deviation of the target around its prediction, noise and what the networks do not know."""
        return self._residuals("predict_std").deviation(self._outputs_of(data, n_threads))

    def _possible(self, found: Array) -> Array:
        """Not below 0 where the loss says that no target is."""
        return np.maximum(found, 0.0) if self.networks[0].loss.link == "exp" else found

    def _residuals(self, name: str) -> Residuals:
        if self.task == "classification":
            raise ValueError(f"{name} is for numbers; {self.target!r} is predicted as a class: see predict_proba")
        if self.residuals is None:
            raise ValueError(calibration.MISSING)
        return self.residuals
