"""The shares of features in predictions, in the shape that the plots of `shap` take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Explanation:
    """What each feature of each row adds to the base value: predictions = base_values + values.sum(axis=1) + gap.

    Of images a feature is a number of a pixel: `values` and `data` are (n, height, width, channels), those of several
    outputs (n, height, width, channels, outputs), the sums are over all pixels, and there are no names.

    Args:
        values: (n, features), or (n, features, outputs) where the model has several; in units of the prediction.
        base_values: (n,) or (n, outputs), the prediction for the baseline, or the mean one for the background.
        data: (n, features) the features of the rows, as they were given.
        feature_names: of the columns.
        output_names: the classes or targets; a single one where `values` has two dimensions.
        predictions: (n,) or (n, outputs), what is explained.

    >>> import cnn, numpy as np
    >>> net = cnn.Network([cnn.Dense(1)], seed=0).build(2)
    >>> cnn.explain.integrated_gradients(net, np.eye(2)).values.shape
    (2, 2)
    """

    values: Array
    base_values: Array
    data: Array
    feature_names: tuple[str, ...]
    output_names: tuple[str, ...]
    predictions: Array

    @property
    def gap(self) -> Array:
        """(n,) or (n, outputs): by how much the shares miss predictions - base_values, for the integral is a sum."""
        gap: Array = self.predictions - self.base_values - self.values.sum(axis=tuple(range(1, self.data.ndim)))
        return gap

    @property
    def importance(self) -> Array:
        """(features,) or (features, outputs): the mean absolute share over all rows, 0 where there are none."""
        return np.abs(self.values).sum(axis=0) / max(len(self.values), 1)

    def to_shap(self) -> Any:
        """The same as a `shap.Explanation`, for `shap.plots` (extra `shap`)."""
        try:
            import shap
        except ImportError as error:
            raise ImportError("to_shap needs shap (extra 'shap'): pip install shap") from error
        several = self.values.ndim > self.data.ndim
        return shap.Explanation(
            self.values, self.base_values, self.data, feature_names=list(self.feature_names) or None,
            output_names=list(self.output_names) if several else None,
        )  # fmt: skip

    def __repr__(self) -> str:
        several = f", {len(self.output_names)} outputs" if self.values.ndim > self.data.ndim else ""
        rows, *features = self.data.shape
        size = " x ".join(map(str, features))
        return f"Explanation({rows} rows, {size} features{several}: values, base_values, data, feature_names, ...)"
