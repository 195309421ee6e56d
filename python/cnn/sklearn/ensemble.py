"""`EnsembleClassifier` and `EnsembleRegressor`: networks that differ in seeds, rows, columns or time of training."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.validation import check_is_fitted

from cnn.runtime.data import Array
from cnn.sklearn.classifier import MLPClassifier
from cnn.sklearn.ensemble_base import BaseEnsemble
from cnn.sklearn.regressor import MLPRegressor
from cnn.uncertainty import Residuals


class EnsembleRegressor(RegressorMixin, BaseEnsemble):
    """The mean of several networks for numbers, with the spread of their predictions.

    Lakshminarayanan et al. 2017 for independent members, Huang et al. 2017 for snapshots.

    Args:
        estimator: the `MLPRegressor` whose parameters the members have, None for `MLPRegressor()`. Members train
            `max_iter` epochs or until their fold gets no better (`tol`, `n_iter_no_change`); `early_stopping`,
            `validation_fraction`, `restore_best` and `warm_start` of the estimator are not looked at.
        n_estimators: how many members.
        method: "independent": each has its own initial weights and order of rows. "snapshots": of one network, whose
            learning rate restarts after each `max_iter` / n_estimators epochs; takes the time of one.
        max_samples: rows that each draws, a number or a share of those outside of its fold.
        max_features: columns that each draws, a number or a share.
        bootstrap: whether rows are drawn with replacement.
        early_stopping: whether each member holds out a fold, and stops by the loss on it. (Snapshots hold one out
            together, for `oom_score_` alone.)
        cv: the folds: a number, one of scikit-learn's splitters, or None: as many as members, from 5 to 10.
        random_state: of the draws, initial weights and orders.
        verbose: 1 a progress bar, 2 a line for each epoch, 0 nothing.
        n_threads: the result has the same bits for every number; None chooses.

    `oom_prediction_` (n,) or (n, n_targets) is for each row the mean of members whose training and stopping it had no
    part in (NaN where there are none), `oom_score_` its R²: as honest as a test set. Rows of a fold are predicted by
    weights that the other half of the fold has chosen.

    >>> import numpy as np, cnn
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> member = cnn.MLPRegressor(hidden_layer_sizes=8, learning_rate_init=0.02, max_iter=60)
    >>> ens = cnn.EnsembleRegressor(member, n_estimators=3, random_state=0).fit(X, X[:, 0] - X[:, 1])
    >>> ens.score(X, X[:, 0] - X[:, 1]) > 0.95, len(ens.networks_), ens.predict_std(X[:2]).shape
    (True, 3, (2,))
    """

    _in_files, _member = True, MLPRegressor

    def _values(self, est: Any, out: Array) -> Array:
        return out[:, 0] if out.shape[1] == 1 else out

    def _measure(self, y: Array, predicted: Array, weights: Array) -> float:
        return r2_score(y, predicted, sample_weight=weights)

    def _residuals(self, y: Array) -> Residuals | None:
        known = np.isfinite(self.oom_prediction_.reshape(len(y), -1)).all(axis=1)
        if y.ndim != 1 or not known.any():
            return None
        return Residuals.learn(y[known], self.oom_prediction_[known])

    def predict_interval(self, X: Any, coverage: float = 0.9) -> Array:
        """(n, 2) ends of intervals that hold the target in that share of rows like those of the fit.

        Conformal (Vovk et al. 2005, Lei et al. 2018), by the errors of `oom_prediction_`: noise is in them.

        Raises:
            ValueError: a coverage not in (0, 1) or for which too few rows were held out; several targets; no rows with
                an `oom_prediction_`.
        """
        check_is_fitted(self)
        if self.residuals_ is None:
            raise ValueError("predict_interval needs a single target, and rows that members were not trained on")
        return self.residuals_.interval(self._of_each(X).mean(axis=0), coverage)

    def __call__(self, X: Any) -> Array:
        """`predict(X)`, as `shap.Explainer(model, X)` asks a model."""
        return self.predict(X)

    def predict(self, X: Any) -> Array:
        """The mean of the members' values, (n,) or (n, n_targets)."""
        return self._of_each(X).mean(axis=0).astype(self.networks_[0].dtype)

    def predict_quantiles(self, X: Any, quantiles: Any = (0.05, 0.5, 0.95)) -> Array:
        """Quantiles of the members' values, (n, k) or (n, k, n_targets) for k quantiles, (n,) for a single number.

        Of the members, not of the targets: noise is not in them (it is in `predict_interval`, and in members with
        `loss="quantile"`).

        Raises:
            ValueError: a quantile that is not in [0, 1].
        """
        asked = np.asarray(quantiles, np.float64)
        if asked.ndim > 1 or not asked.size or not ((asked >= 0) & (asked <= 1)).all():
            raise ValueError(f"quantiles must be numbers in [0, 1], got {quantiles!r}")
        found = np.quantile(self._of_each(X), asked, axis=0)
        return np.moveaxis(found, 0, 1) if asked.ndim else found


class EnsembleClassifier(ClassifierMixin, BaseEnsemble):
    """Several networks for classes; their mean probabilities decide.

    Args:
        estimator: the `MLPClassifier` whose parameters the members have, None for `MLPClassifier()`.
        n_estimators .. n_threads: as of `EnsembleRegressor`.

    `oom_prediction_` are probabilities (n, n_classes) by members whose training and stopping a row had no part in (NaN
    where there are none), `oom_score_` is their accuracy.

    >>> import numpy as np, cnn
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> y = np.where(X[:, 0] > X[:, 1], "larger", "smaller")
    >>> member = cnn.MLPClassifier(8, learning_rate_init=0.02, max_iter=30)
    >>> clf = cnn.EnsembleClassifier(member, n_estimators=3, random_state=0).fit(X, y)
    >>> clf.score(X, y) > 0.9, clf.predict_proba(X[:4]).shape, clf.oom_score_ > 0.9
    (True, (4, 2), True)
    """

    _in_files, _member = True, MLPClassifier

    def _values(self, est: Any, out: Array) -> Array:
        return out if est.network_.loss.margins else est._probabilities(out)

    def _measure(self, y: Array, predicted: Array, weights: Array) -> float:
        labels = self._labels(predicted)
        return accuracy_score(y, labels.toarray() if hasattr(labels, "toarray") else labels, sample_weight=weights)

    def _labels(self, values: Array) -> Array:
        """The labels of mean probabilities, or of mean margins."""
        head = self.estimators_[0]
        two = self._task == "binary" and not head.network_.loss.margins and len(self.classes_) == 2
        return head._labels(values[:, 1:] if two and head.n_outputs_ == 1 else values)

    def __call__(self, X: Any) -> Array:
        """`predict_proba(X)`, as `shap.Explainer(model, X)` asks a model."""
        return self.predict_proba(X)

    def predict(self, X: Any) -> Array:
        """Labels (n,), or (n, n_labels) of 0 and 1."""
        return self._labels(self._of_each(X).mean(axis=0))

    def predict_proba(self, X: Any) -> Array:
        """The mean of the members' probabilities, (n, n_classes) in the order of `classes_`, or (n, n_labels)."""
        check_is_fitted(self)
        self.estimators_[0]._probabilities(np.zeros((0, self.n_outputs_)))  # an AttributeError where there are none
        return self._of_each(X).mean(axis=0)

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithm of `predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _more_tags(self) -> dict[str, Any]:
        """What scikit-learn before 1.6 asks instead of `__sklearn_tags__`."""
        return {"multilabel": True}
