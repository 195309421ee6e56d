"""`MLPClassifier` in place of scikit-learn's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal, Self

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
    type_of_target,
    unique_labels,
)

from cnn._common import console, interrupt
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


def _labels(y: Any) -> Any:
    """The different labels, ascending."""
    return interrupt.apart(np.size(y), partial(unique_labels, y))


class MLPClassifier(ClassifierMixin, BaseMLP):
    """A dense network for classes with the parameters, attributes and methods of scikit-learn's `MLPClassifier`.

    Two classes, several classes, or several labels a row (y an indicator matrix); labels of any type. With the
    parameters of scikit-learn alone the mathematics is scikit-learn's, and so are the initial weights and the order of
    rows of an equal `random_state`. See docs/from-scikit-learn.md for all parameters and what differs.

    Args:
        hidden_layer_sizes .. max_fun: as scikit-learn's; besides, `activation` takes all of ours and a list of one for
            each hidden layer, `solver` the names of our optimizers or a `cnn.Optimizer`, `learning_rate` the names of
            our schedules (by `learning_rate_init`) or a `cnn.schedules.Schedule`.
        loss: "log_loss" (softmax for several classes, else logistic), "binary_cross_entropy" (one against the rest),
            "hinge", "squared_hinge", or a `cnn.Loss`.
        layers: own list of layers such as `cnn.Dense`, the output layer included, instead of hidden_layer_sizes.
        dropout: share of units of each hidden layer that is dropped, one number or a list.
        dropout_factor: a schedule whose number is a factor on these shares in each step, as of `cnn.Network`.
        l1: L1 penalty, divided by the rows as `alpha` is.
        class_weight: {label: weight} or "balanced".
        label_smoothing: in [0, 1).
        clip_norm: largest Euclidean norm of the gradient.
        restore_best: "auto": the weights of the epoch that was best on the validation set, if there is one; True: of
            the best loss where there is none; False: of the last epoch.
        scoring: what validation sets are scored by: None for accuracy, "loss", or a scorer of scikit-learn.
        metrics: names of `cnn.metrics` taken after each epoch, kept in `history_`.
        callbacks: `cnn.Callback`s or functions f(network, epoch, logs).
        max_seconds: a budget of time, for whole epochs (one at least); a schedule ends with the last that it holds.
        dtype: "float32", "float64" or "auto", that of X.
        n_threads: None takes the cores there are.

    >>> import numpy as np, cnn
    >>> X = np.random.default_rng(0).normal(size=(200, 4))
    >>> y = np.where(X[:, 0] > X[:, 1], "larger", "smaller")
    >>> clf = cnn.MLPClassifier(hidden_layer_sizes=10, solver="lbfgs", alpha=1.0, max_iter=1000, random_state=1)
    >>> clf.fit(X, y).score(X, y) > 0.97
    True
    >>> clf.predict(X[:2]).tolist() == y[:2].tolist()
    True
    """

    _in_files = True
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints, "class_weight": [dict, StrOptions({"balanced"}), None],
    }  # fmt: skip

    def __init__(
        self, hidden_layer_sizes: Sizes = (100,), activation: Activations = "relu", *, solver: Solver = "adam",
        alpha: float = 0.0001, batch_size: int | Literal["auto"] = "auto", learning_rate: Rate = "constant",
        learning_rate_init: float = 0.001, power_t: float = 0.5, max_iter: int = 200, shuffle: bool = True,
        random_state: Seed = None, tol: float = 1e-4, verbose: bool | int = False, warm_start: bool = False,
        momentum: float = 0.9, nesterovs_momentum: bool = True, early_stopping: bool = False,
        validation_fraction: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8,
        n_iter_no_change: float = 10, max_fun: int = 15000, loss: LossName | Loss = "log_loss",
        layers: Sequence[Layer] | None = None, dropout: float | Sequence[float] = 0.0, l1: float = 0.0,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None, label_smoothing: float = 0.0,
        clip_norm: float | None = None, restore_best: bool | Literal["auto"] = "auto",
        scoring: str | Callable[..., float] | None = None,
        metrics: MetricName | Metric | Iterable[MetricName | Metric] = (), callbacks: Iterable[Hook] | None = None,
        max_seconds: float | None = None, dtype: RealType | Literal["auto"] = "auto", n_threads: int | None = None,
        dropout_factor: Schedule | None = None,
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
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.clip_norm = clip_norm
        self.restore_best = restore_best
        self.scoring = scoring
        self.metrics = metrics
        self.callbacks = callbacks
        self.max_seconds = max_seconds
        self.dtype = dtype
        self.n_threads = n_threads

    @classmethod
    def from_network(cls, network: Network) -> Self:
        """The classifier of a network's layers, loss, optimizer and, once built, weights; its classes are 0, 1, 2, ...

        Raises:
            TypeError: it is no `cnn.Network`.
            ValueError: its loss is one for numbers.

        >>> import cnn
        >>> net = cnn.Network([cnn.Dense(3)], loss="cross_entropy", seed=0).build(2)
        >>> MLPClassifier.from_network(net).predict([[0.0, 1.0]]).shape
        (1,)
        """
        self = cls._like(network, "MLPRegressor", network_is_for_classes=True)
        if network.known_inputs is None:
            return self
        n, single = network.n_outputs, network.loss.one_class
        self.classes_ = np.arange(n if n > 1 else 2)
        self._task = "multilabel" if n > 1 and not single else "multiclass" if len(self.classes_) > 2 else "binary"
        self._sparse_labels = False
        return self._with_weights_of(network)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:  # fmt: skip
        """Trains on X (n, n_features) and labels y (n,), or (n, n_labels) of 0 and 1; returns self.

        X_val, y_val, sample_weight_val: rows to validate on after each epoch, instead of a share of X.

        Raises:
            ValueError, TypeError: as scikit-learn's, before anything is trained.
            cnn.DivergenceError: the loss stopped being finite (a ValueError).
        """
        validation = None if X_val is None else (X_val, y_val, sample_weight_val)
        self._partial = False
        return self._fit(X, y, sample_weight, validation=validation)

    @available_if(has_partial_fit)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """One epoch over these rows; the first call names all `classes`. Returns self."""
        if self.class_weight == "balanced":
            raise ValueError("class_weight='balanced' needs all rows: give partial_fit a dict of weights")
        if _check_partial_fit_first_call(self, classes):
            self._task = "multilabel" if type_of_target(y).startswith("multilabel") else ""
            self.classes_ = _labels(y if self._task else classes)
            self._task = self._task or ("multiclass" if len(self.classes_) > 2 else "binary")
        self._partial = True
        return self._fit(X, y, sample_weight, incremental=True)

    def _class_weights(self, y: Array) -> Array | None:
        if self.class_weight is None:
            return None
        if isinstance(self.class_weight, dict) and y.ndim == 1:
            found, known = np.unique(y).tolist(), self.classes_.tolist() if self._partial else []
            for label in found:
                if label not in self.class_weight:
                    console.warn(f"class_weight has no weight for class {label!r}, which counts as 1")
            for label in self.class_weight:
                if label not in found and label not in known:
                    console.warn(f"class_weight names class {label!r}, which y does not hold")
        return compute_sample_weight(self.class_weight, y)

    def _encode(self, y: Any, role: str) -> tuple[Array | None, Array | None, Array]:
        check_classification_targets(y)
        self._check_classes(y, role)
        self._sparse_labels = hasattr(y, "toarray")
        if self._task == "multilabel":
            table = np.asarray(y.toarray() if hasattr(y, "toarray") else y)
            if table.ndim != 2 or table.shape[1] != len(self.classes_):
                raise ValueError(f"y must have a column for each of {len(self.classes_)} labels, got {table.shape}")
            return table, None, table
        if y.ndim != 1:
            raise ValueError(f"y must be labels (n,) or an indicator matrix, got shape {y.shape}")
        index = np.searchsorted(self.classes_, y).astype(np.int32)
        loss = self._settle()[0] if role == "first" else self._network.loss
        if loss.one_class:
            return None, index, index
        if self._task == "binary":
            return index[:, None], None, index
        return np.eye(len(self.classes_))[index], None, index

    def _check_classes(self, y: Any, role: str) -> None:
        """Takes the classes from y, or checks that they are the known ones."""
        found = _labels(y)
        if role == "first" and not self._partial:
            self.classes_ = found
            self._task = "multilabel" if y.ndim == 2 else "multiclass" if len(found) > 2 else "binary"
        elif role == "again" and not self._partial and set(found) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {found}"
            )
        elif len(np.setdiff1d(found, self.classes_)):
            raise ValueError(f"`y` has classes not in `self.classes_`: they are {self.classes_}, got {found}")

    def _settle(self) -> tuple[Loss, int]:
        n = len(self.classes_)
        loss = build.classification_loss(self, self._task, n)
        return loss, 1 if self._task == "binary" and not loss.one_class else n

    def _labels(self, out: Array) -> Array:
        """Predicted labels of probabilities (of margins, for the hinge losses)."""
        threshold = 0.0 if self._network.loss.margins else 0.5
        if self._task == "multilabel":
            table = (out > threshold).astype(np.int64)
            if not self._sparse_labels:
                return table
            from scipy.sparse import csr_matrix

            return csr_matrix(table)
        if self.n_outputs_ == 1:
            return self.classes_[(out[:, 0] > threshold).astype(np.intp) if len(self.classes_) > 1 else [0] * len(out)]
        return self.classes_[out.argmax(axis=1)]

    def _targets(self, rows: Data) -> Array:
        return rows.y if self._task == "multilabel" else self.classes_[rows.y]

    def _validation_score(self, rows: Data, out: Array, loss: float) -> float:
        if self.scoring is not None:
            return super()._validation_score(rows, out, loss)
        # Raw outputs: a logit above 0 is a probability above 1/2.
        if self.n_outputs_ == 1 or self._task == "multilabel":
            hit = (out > 0) == (rows.y.reshape(out.shape) > 0)
            return float(np.average(hit.all(axis=1), weights=rows.weights))
        return float(np.average(out.argmax(axis=1) == rows.y, weights=rows.weights))

    def __call__(self, X: Any) -> Array:
        """`predict_proba(X)`, as `shap.Explainer(model, X)` asks a model."""
        return self.predict_proba(X)

    def predict(self, X: Any) -> Array:
        """Labels (n,), or (n, n_labels) of 0 and 1."""
        return self._labels(self._outputs(X))

    def predict_proba(self, X: Any) -> Array:
        """Probabilities (n, n_classes) in the order of `classes_`; (n, n_labels) where there are several a row."""
        return self._probabilities(self._outputs(X))

    def _probabilities(self, out: Array) -> Array:
        """What `predict_proba` makes of outputs."""
        if self._network.loss.margins:
            name = self._network.loss.name
            raise AttributeError(f"loss={name!r} has no probabilities: train with loss='log_loss'")
        if self._task == "multilabel":
            return out
        if self.n_outputs_ == 1:
            return np.hstack([1 - out, out]) if len(self.classes_) > 1 else np.ones_like(out)
        if not self._network.loss.one_class:  # one against the rest
            total = out.sum(axis=1, keepdims=True)
            return np.divide(out, total, out=np.full_like(out, 1 / out.shape[1]), where=total > 0)
        return out

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithm of `predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _more_tags(self) -> dict[str, Any]:
        """What scikit-learn before 1.6 asks instead of `__sklearn_tags__`."""
        return {"multilabel": True}
