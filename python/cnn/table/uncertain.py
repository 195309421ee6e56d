"""Intervals, quantiles and deviations of a table model's predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from cnn import uncertainty
from cnn._common import checks
from cnn.network import Network
from cnn.table import answers, calibration
from cnn.table.estimator import Estimator, of_classes, two_columns
from cnn.table.frames import Array
from cnn.table.target import Target
from cnn.table.targets import each_name
from cnn.uncertainty import Residuals, check_levels


class Uncertain(Estimator):
    """What a `TableModel` says of how far its predictions may be off; of k targets, of each."""

    residuals: Residuals | tuple[Residuals, ...] | None
    set_scores: dict[str, Residuals] | None
    networks: tuple[Network, ...]
    parts: int | None

    def predict_interval(
        self, data: Any, *, coverage: float = 0.9, method: Literal["mean", "cv+"] = "mean", as_frame: bool = False,
        n_threads: int | None = None,
    ) -> Any:  # fmt: skip
        """(n, 2) lower and upper ends of intervals that hold the target in that share of rows like those of the fit.

        Of k targets (n, k, 2), the share of each one's. With `as_frame` a frame like the data with the columns
        "lower_price" and "upper_price" of the target "price". Conformal (Vovk et al. 2005, Lei et al. 2018): by the
        errors of networks that were not trained on a row. The share holds over all rows, not for each kind of them.

        Args:
            method: "mean": the errors of the networks that did not see a row, around the mean of all networks. "cv+"
                (Barber et al. 2021): each error around what those networks predict now: wider where networks disagree.

        Raises:
            ValueError: a target of classes, another method, a coverage not in (0, 1) or for which too few rows were
                held out, a model from a file of an earlier version.
        """
        coverage = checks.number("coverage", coverage, 0, 1, open_low=True, open_high=True)
        if method not in ("mean", "cv+"):
            raise ValueError(f"method must be 'mean' or 'cv+', got {method!r}")
        known = self._residuals("predict_interval")
        if method == "mean":
            found = self._of_each(known, self._outputs_of(data, n_threads), lambda one, p: one.interval(p, coverage))
        elif self.parts is None:
            raise ValueError(calibration.MISSING)
        else:
            p = self._outputs_of_parts(data, n_threads)
            found = self._of_each(known, p, lambda one, p: one.cross(p.T, coverage))
        found = self._possible(found)
        return self._like(data, found, ("lower", "upper")) if as_frame else found

    def predict_quantiles(
        self, data: Any, quantiles: Any = (0.05, 0.5, 0.95), *, as_frame: bool = False, n_threads: int | None = None
    ) -> Any:
        """(n, q) quantiles of the target, which never cross; (n,) for a single number. See `predict_interval`.

        Of k targets (n, k, q) or (n, k). With `as_frame` the columns are "quantile_0.05_price", ... The quantiles 0.05
        and 0.95 are the ends of the interval of coverage 0.9.
        """
        levels = check_levels(quantiles)
        known = self._residuals("predict_quantiles")
        p = self._outputs_of(data, n_threads)
        found = self._possible(self._of_each(known, p, lambda one, p: one.quantiles(p, levels)))
        if as_frame:
            return self._like(data, found, [f"quantile_{level!r}" for level in levels], np.ndim(quantiles) == 0)
        return found if np.ndim(quantiles) else found[..., 0]

    def predict_std(self, data: Any, *, as_frame: bool = False, n_threads: int | None = None) -> Any:
        """(n,) the standard deviation of the target around its prediction, noise and what the networks do not know.

        Of k targets (n, k). With `as_frame` a series named "std_price", or a frame.
        """
        known = self._residuals("predict_std")
        found = self._of_each(known, self._outputs_of(data, n_threads), Residuals.deviation)
        return self._like(data, found[..., None], ("std",), True) if as_frame else found

    @of_classes
    def predict_set(
        self, data: Any, *, coverage: float = 0.9, method: Literal["lac", "aps"] = "lac", as_frame: bool = False,
        n_threads: int | None = None,
    ) -> Any:  # fmt: skip
        """(n, k) truth values: sets of classes that hold the true one in that share of rows like those of the fit.

        In the order of `classes`; `as_frame` a frame like the data with a column for each. Conformal, by the
        probabilities that networks gave to rows that they were not trained on. The share holds over all rows.

        Args:
            method: "lac" (Sadinle, Lei & Wasserman 2019): classes whose probability is at least the one bound of all
                rows: the smallest sets in the mean, and none of a row where no class is probable enough. "aps" (Romano,
                Sesia & Candès 2020): from the most probable class on, until their probabilities add up to the bound:
                larger sets, never empty, whose coverage varies less with the difficulty of rows.

        Raises:
            ValueError: a target of numbers, another method, a coverage not in (0, 1) or for which too few rows were
                held out, a model from a file of an earlier version.
        """
        coverage = checks.number("coverage", coverage, 0, 1, open_low=True, open_high=True)
        if method not in ("lac", "aps"):
            raise ValueError(f"method must be 'lac' or 'aps', got {method!r}")
        self.encoder  # noqa: B018 (raises before the fit)
        if self.set_scores is None:
            raise ValueError(calibration.MISSING)
        found = uncertainty.sets(two_columns(self._outputs_of(data, n_threads)), coverage, self.set_scores, method)
        columns = zip(map(str, self.classes), found.T, strict=True)
        return answers.like(data, dict(columns), alone=False) if as_frame else found

    def _of_each(self, known: tuple[Residuals, ...], p: Array, say: Callable[[Residuals, Array], Array]) -> Array:
        """What the residuals of each target say of its predictions p, (..., n) or (..., n, k); of k along axis 1."""
        if isinstance(self.goal, Target):
            return say(known[0], p)
        return np.stack([say(one, p[..., i]) for i, one in enumerate(known)], axis=1)

    def _outputs_of_parts(self, data: Any, n_threads: int | None) -> Array:
        """(parts, n), or (parts, n, k) of k targets: what the networks predict that do not see each part."""
        raise NotImplementedError

    def _like(self, data: Any, found: Array, kinds: Sequence[str], alone: bool = False) -> Any:
        """These numbers of each target, (n, kinds) or (n, k, kinds), as a frame, or one that is `alone` as a series."""
        names = [f"{kind}_{name}" for name in each_name(self.target) for kind in kinds]
        columns = found.reshape(len(found), len(names)).T
        return answers.like(data, dict(zip(names, columns, strict=True)), alone and len(names) == 1)

    def _possible(self, found: Array) -> Array:
        """Not below 0 where the loss or the logarithm says that no target is."""
        positive = self.networks[0].loss.link == "exp" or self.goal.logarithmic
        return np.maximum(found, 0.0) if positive else found

    def _residuals(self, name: str) -> tuple[Residuals, ...]:
        if self.task == "classification":
            raise ValueError(f"{name} is for numbers; {self.target!r} is predicted as a class: see predict_proba")
        if self.residuals is None:
            raise ValueError(calibration.MISSING)
        return self.residuals if isinstance(self.residuals, tuple) else (self.residuals,)

    @property
    def residuals_of_each(self) -> tuple[Residuals | None, ...]:
        """`residuals` as a tuple with a place for each target."""
        return self.residuals if isinstance(self.residuals, tuple) else (self.residuals,) * len(self.goal.each)
