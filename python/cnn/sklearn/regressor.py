"""`MLPRegressor` in place of scikit-learn's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils._param_validation import Interval
from sklearn.utils.metaestimators import available_if

from cnn import losses
from cnn._common.types import MetricName, RealType
from cnn.callbacks import Hook
from cnn.layers import Layer
from cnn.losses import Loss, LossName
from cnn.metrics import Metric
from cnn.network import Network
from cnn.runtime.data import Array, Data
from cnn.schedules import Schedule
from cnn.sklearn import build
from cnn.sklearn.base import BaseMLP, has_partial_fit
from cnn.sklearn.constraints import Activations, Rate, Seed, Sizes, Solver


class MLPRegressor(RegressorMixin, BaseMLP):
    """A dense network for numbers with the parameters, attributes and methods of scikit-learn's `MLPRegressor`.

    One target or several (y (n,) or (n, n_targets)). With the parameters of scikit-learn alone the mathematics is
    scikit-learn's, and so are the initial weights and the order of rows of an equal `random_state`. See
    docs/from-scikit-learn.md for all parameters and what differs.

    Args:
        loss: "squared_error", "poisson" (targets >= 0, exp as output), "absolute_error", "huber", "quantile",
            "log_cosh", or a `cnn.Loss`.
        quantile: which one, for loss "quantile"; None is 0.5.
        hidden_layer_sizes .. max_fun, layers .. dropout_factor: as of `MLPClassifier`; validation sets are scored by R²
            unless `scoring` says otherwise.

    >>> import numpy as np, cnn
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> reg = cnn.MLPRegressor(hidden_layer_sizes=5, solver="lbfgs", alpha=0.1, max_iter=2000, random_state=0)
    >>> reg.fit(X, X[:, 0] - X[:, 1]).score(X, X[:, 0] - X[:, 1]) > 0.99
    True
    """

    _in_files = True
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints, "quantile": [Interval(Real, 0, 1, closed="neither"), None],
    }  # fmt: skip

    def __init__(
        self, loss: LossName | Loss = "squared_error", hidden_layer_sizes: Sizes = (100,),
        activation: Activations = "relu", *, solver: Solver = "adam", alpha: float = 0.0001,
        batch_size: int | Literal["auto"] = "auto", learning_rate: Rate = "constant", learning_rate_init: float = 0.001,
        power_t: float = 0.5, max_iter: int = 200, shuffle: bool = True, random_state: Seed = None, tol: float = 1e-4,
        verbose: bool | int = False, warm_start: bool = False, momentum: float = 0.9, nesterovs_momentum: bool = True,
        early_stopping: bool = False, validation_fraction: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.999,
        epsilon: float = 1e-8, n_iter_no_change: float = 10, max_fun: int = 15000,
        layers: Sequence[Layer] | None = None, dropout: float | Sequence[float] = 0.0, l1: float = 0.0,
        label_smoothing: float = 0.0, clip_norm: float | None = None, restore_best: bool | Literal["auto"] = "auto",
        scoring: str | Callable[..., float] | None = None,
        metrics: MetricName | Metric | Iterable[MetricName | Metric] = (), callbacks: Iterable[Hook] | None = None,
        max_seconds: float | None = None, dtype: RealType | Literal["auto"] = "auto", n_threads: int | None = None,
        dropout_factor: Schedule | None = None,
        quantile: float | None = None,
    ) -> None:  # fmt: skip
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.loss = loss
        self.layers = layers
        self.dropout = dropout
        self.dropout_factor = dropout_factor
        self.l1 = l1
        self.label_smoothing = label_smoothing
        self.clip_norm = clip_norm
        self.restore_best = restore_best
        self.scoring = scoring
        self.metrics = metrics
        self.callbacks = callbacks
        self.max_seconds = max_seconds
        self.dtype = dtype
        self.n_threads = n_threads
        self.quantile = quantile

    @classmethod
    def from_network(cls, network: Network) -> Self:
        """The regressor of a network's layers, loss, optimizer and, once built, weights.

        Raises:
            TypeError: it is no `cnn.Network`.
            ValueError: its loss is one for classes.

        >>> import cnn
        >>> est = MLPRegressor.from_network(cnn.Network([cnn.Dense(1)]))
        >>> est.set_params(solver="lbfgs").fit([[0.0], [1.0]], [0.0, 2.0]).n_outputs_
        1
        """
        self = cls._like(network, "MLPClassifier", network_is_for_classes=False)
        if network.known_inputs is None:
            return self
        self._n_targets = network.n_outputs
        return self._with_weights_of(network)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:  # fmt: skip
        """Trains on X (n, n_features), targets y (n,) or (n, n_targets), as `MLPClassifier.fit`; returns self.

        X_val, y_val, sample_weight_val: rows to validate on after each epoch, instead of a share of X.
        """
        validation = None if X_val is None else (X_val, y_val, sample_weight_val)
        self._partial = False
        return self._fit(X, y, sample_weight, validation=validation)

    @available_if(has_partial_fit)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One epoch over these rows. Returns self."""
        self._partial = True
        return self._fit(X, y, sample_weight, incremental=True)

    def _encode(self, y: Any, role: str) -> tuple[Array | None, Array | None, Array]:
        targets = np.asarray(y).reshape(len(y), -1)
        if role == "first":
            self._n_targets = targets.shape[1]
        elif targets.shape[1] != self._n_targets:
            raise ValueError(f"y must have {self._n_targets} columns as in the fit before, got {targets.shape[1]}")
        loss = losses.get(self.loss) if role == "first" else self._network.loss
        loss.check_targets("y", targets)
        return targets, None, targets

    def _settle(self) -> tuple[Loss, int]:
        return build.regression_loss(self), self._n_targets

    def _targets(self, rows: Data) -> Array:
        return rows.y[:, 0] if rows.y.shape[1] == 1 else rows.y

    def __call__(self, X: Any) -> Array:
        """`predict(X)`, as `shap.Explainer(model, X)` asks a model."""
        return self.predict(X)

    def predict(self, X: Any) -> Array:
        """Values (n,) or (n, n_targets)."""
        out = self._outputs(X)
        return out[:, 0] if out.shape[1] == 1 else out
