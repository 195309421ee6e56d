"""What the classifier and the regressor share: parameters, checks, the course of a fit, pickles."""

from __future__ import annotations

import os
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, column_or_1d

import cnn_core
from cnn import metrics
from cnn._common import checks, threads
from cnn._common.errors import DivergenceError, NonFiniteError
from cnn.losses import Loss
from cnn.network import Network
from cnn.runtime import sparse
from cnn.runtime.data import Array, Data
from cnn.runtime.history import History
from cnn.runtime.plan import build as build_plan
from cnn.runtime.sparse import SparseRows
from cnn.sklearn import build, lbfgs, save
from cnn.sklearn.compat import CallbackSupportMixin, validate_data
from cnn.sklearn.constraints import CONSTRAINTS
from cnn.sklearn.epochs import MinibatchFit

_NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)
_STOCHASTIC = "partial_fit is only available for stochastic solvers; {!r} is not one"


def has_partial_fit(est: Any) -> bool:
    """Whether the solver works by minibatches; an AttributeError if not, as scikit-learn has it."""
    if est.solver == "lbfgs":
        raise AttributeError(_STOCHASTIC.format(est.solver))
    return True


class BaseMLP(CallbackSupportMixin, BaseEstimator):
    """Base of both estimators: not to be used by itself."""

    validation_scores_: list[float] | None
    best_validation_score_: float | None
    best_loss_: float | None

    _parameter_constraints: ClassVar[dict[str, Any]] = CONSTRAINTS

    # What the two kinds of estimators tell each other apart by --------------------------------------------------------

    def _encode(self, y: Any, role: str) -> tuple[Array | None, Array | None, Array]:
        """(targets, classes, y for the metrics) of checked targets of a "first" or an "again" or for "validation"."""
        raise NotImplementedError

    def _settle(self) -> tuple[Loss, int]:
        """The loss and the number of outputs."""
        raise NotImplementedError

    def _targets(self, rows: Data) -> Array:
        """y of some rows as users gave it."""
        raise NotImplementedError

    # Made of a network ------------------------------------------------------------------------------------------------

    @classmethod
    def _like(cls, network: Network, other: str, *, network_is_for_classes: bool) -> Self:
        """The estimator with a network's descriptions, not fitted; ValueError where it is one for the `other` class."""
        if not isinstance(network, Network):
            raise TypeError(f"from_network takes a cnn.Network, got {type(network).__name__}")
        if network.loss.for_classes != network_is_for_classes:
            raise ValueError(f"a network with loss {network.loss.name!r} makes a cnn.{other}, not a {cls.__name__}")
        return cls(
            layers=list(network.descriptions), loss=network.loss, solver=network.optimizer, dtype=network.dtype.name,
            random_state=network.seed % 2**32, dropout_factor=network.dropout_factor,
        )  # fmt: skip

    def _with_weights_of(self, network: Network) -> Self:
        self.n_features_in_ = network.n_inputs
        self._partial = False
        loss = build.row_loss(network.loss, network.n_outputs)
        own = Network(network.descriptions, loss, network.optimizer, network.dtype, network.seed)
        own.dropout_factor = network.dropout_factor
        by_blas = network.plan.layers["by_blas"].tolist()
        own.adopt(build_plan(own.descriptions, network.input_shape, own.loss, own.optimizer, by_blas))
        own.set_weights(network.get_weights())
        self._adopt(own)
        return self

    # The parameters ---------------------------------------------------------------------------------------------------

    @property
    def network_(self) -> Network:
        """The `cnn.Network` itself."""
        net = self.__dict__.get("_network")
        if net is None:
            raise NotFittedError(f"This {type(self).__name__} instance is not fitted yet: call fit first")
        return net

    @property
    def coefs_(self) -> list[Array]:
        """Weights of each layer, (inputs, units): views of the network's."""
        return [weights for weights, _ in build.weights_and_biases(self.network_)]

    @coefs_.setter
    def coefs_(self, values: list[Array]) -> None:
        self._assign(self.coefs_, values)

    @property
    def intercepts_(self) -> list[Array]:
        """Biases of each layer, (units,): views of the network's."""
        return [biases for _, biases in build.weights_and_biases(self.network_)]

    @intercepts_.setter
    def intercepts_(self, values: list[Array]) -> None:
        self._assign(self.intercepts_, values)

    def _assign(self, views: list[Array], values: list[Array]) -> None:
        shapes, given = [v.shape for v in views], [np.shape(v) for v in values]
        if shapes != given:
            raise ValueError(f"arrays of the shapes {shapes} are expected, got {given}")
        for view, value in zip(views, values, strict=True):
            view[...] = value

    def __sklearn_is_fitted__(self) -> bool:
        return "_network" in self.__dict__

    # Fitting ----------------------------------------------------------------------------------------------------------

    @checks.quiet
    def _fit(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool = False,
        validation: tuple[Any, Any, Any] | None = None,
    ) -> BaseMLP:  # fmt: skip
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        first = not hasattr(self, "_network") or not (self.warm_start or incremental)
        splits = self.early_stopping and self.solver != "lbfgs"
        if self.scoring is not None and validation is None and not splits:
            raise ValueError("scoring needs rows to score: set early_stopping=True or give fit X_val and y_val")

        def work() -> None:
            try:
                rows = self._prepare(X, y, sample_weight, "first" if first else "again")
                random = check_random_state(self.random_state)
                if first:
                    self._initialize(rows, random)
                else:
                    self._take_parameters()
                scored = None
                if validation is not None:
                    scored = self._prepare(*validation, "validation")
                elif self.early_stopping and self.solver != "lbfgs":
                    rows, scored = self._split(rows, random)
                self._begin(scored)
                self._train(X, y, sample_weight, rows, scored, random, incremental)
            except Exception:
                if first:  # what was begun and has failed is not a fitted estimator
                    self.__dict__.pop("_network", None)
                raise

        threads.a_fit(self, work)
        return self

    def _train(
        self, X: Any, y: Any, sample_weight: Any, rows: Data, validation: Data | None, random: np.random.RandomState,
        incremental: bool,
    ) -> None:  # fmt: skip
        root = self._init_callback_context(max_subtasks=1 if incremental else self.max_iter)
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}

        def work() -> None:
            self._tells, self._in_fit = {"X": X, "y": y, "metadata": metadata}, True
            root.call_on_fit_task_begin(estimator=self, **self._tells)
            if self.solver == "lbfgs":
                lbfgs.fit(self, rows, validation, root)
            else:
                MinibatchFit(self, rows, validation, random).run(root, incremental)
            if not np.isfinite(self._network.flat).all():
                raise DivergenceError(_NOT_FINITE)
            root.call_on_fit_task_end(estimator=self, **self._tells, reconstruction_attributes=self._reconstruction)

        try:
            cnn_core.finishing(work, [partial(self.__dict__.pop, name, None) for name in ("_tells", "_in_fit")])
        except NonFiniteError as error:
            raise DivergenceError(f"{_NOT_FINITE} In detail: {error}") from None

    def _prepare(self, X: Any, y: Any, sample_weight: Any, role: str) -> Data:
        """Rows as the engine takes them."""
        first, suffix = role == "first", "_val" if role == "validation" else ""
        regressor = not is_classifier(self)
        wanted = (np.float64, np.float32)
        if not isinstance(self.dtype, str) or self.dtype != "auto":
            wanted = (checks.real_dtype(self.dtype).type,)  # type: ignore[assignment]
        if not first:
            wanted = (self._network.dtype.type,)  # type: ignore[assignment]
        if suffix and y is None:
            raise ValueError("X_val needs y_val")
        if sparse.is_sparse(X):
            sparse.check_positions(f"X{suffix}", X)
        X, y = validate_data(
            self, X, y, accept_sparse="csr", multi_output=True, y_numeric=regressor, dtype=wanted, order="C",
            reset=first,
        )  # fmt: skip
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        X = sparse.features(f"X{suffix}", X, X.dtype, None, look_for_nan=False)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, X, dtype=X.dtype)
            weights = checks.weights(f"sample_weight{suffix}", weights, X.dtype, len(X))
        factors = None if suffix else self._class_weights(y)
        if factors is not None:
            weights = (factors if weights is None else factors * weights).astype(X.dtype)
            checks.weights("class_weight times sample_weight", weights, X.dtype, len(X))
        targets, classes, labels = self._encode(y, role)
        if targets is not None:
            targets = np.require(targets, X.dtype, ["C_CONTIGUOUS", "ALIGNED"])
            checks.finite("y", targets)
        return Data(X, targets, classes, weights, labels)

    def _class_weights(self, y: Array) -> Array | None:
        """The weight of each row's class, or None."""
        return None

    def _initialize(self, rows: Data, random: np.random.RandomState) -> None:
        loss, n_outputs = self._settle()
        net = build.build(self, self.n_features_in_, n_outputs, loss, rows.X.dtype, random)
        self._adopt(net)

    def _adopt(self, net: Network) -> None:
        """Begins a new life with that network: all at once, or a Ctrl-C would leave a part of it."""
        for name in ("_rate", "_series"):
            self.__dict__.pop(name, None)
        self.__dict__.update(
            _network=net, n_outputs_=net.n_outputs, n_layers_=1 + len(build.weights_and_biases(net)),
            out_activation_=build.out_activation(net.loss), n_iter_=0, t_=0, loss_curve_=[], history_=History(),
            _no_improvement_count=0, validation_scores_=None, best_validation_score_=None, best_loss_=None,
        )  # fmt: skip

    def _begin(self, validation: Data | None) -> None:
        if validation is not None and self.validation_scores_ is None:
            self.validation_scores_, self.best_validation_score_ = [], -np.inf
        if self.best_loss_ is None and not self.early_stopping:
            self.best_loss_ = np.inf

    def _take_parameters(self) -> None:
        """Warm start and partial_fit go on with the parameters as they are now."""
        net = self._network
        build.check_unchanged(self, self._settle()[0], net)
        net.dropout_factor = self.dropout_factor
        layers = tuple(build.describe_layers(self, self.n_outputs_))
        optimizer = build.describe_optimizer(self)
        if layers == net.descriptions and optimizer == net.optimizer:
            return
        by_blas = net.plan.layers["by_blas"].tolist() if len(layers) == len(net.descriptions) else None
        made = build_plan(layers, net.input_shape, net.loss, optimizer, by_blas)
        if made.names != net.plan.names:
            raise ValueError("the layers can't change between two fits with warm_start: set warm_start=False")
        if optimizer.learning_rate != net.optimizer.learning_rate:
            self.__dict__.pop("_rate", None)
        fresh = type(optimizer) is not type(net.optimizer) or made.slots != net.plan.slots
        if fresh:
            self.__dict__.pop("_series", None)
        net.use_plan(made, layers, optimizer, fresh=fresh)

    def _split(self, rows: Data, random: np.random.RandomState) -> tuple[Data, Data]:
        """Sets aside the rows that scikit-learn would."""
        stratify = None
        if is_classifier(self) and self.n_outputs_ == 1:
            assert rows.targets is not None
            stratify = rows.targets.astype(bool)
        counting = np.arange(len(rows))
        if rows.weights is not None and not rows.weights.all():  # as bagging gives them: rows of no weight say nothing
            counting = np.flatnonzero(rows.weights)
            stratify = None if stratify is None else stratify[counting]
        train, held_out = train_test_split(
            counting, random_state=random, test_size=self.validation_fraction, stratify=stratify
        )
        if len(held_out) < 2:
            raise ValueError(
                f"The validation set is too small, {len(held_out)} rows: increase validation_fraction or give more data"
            )
        return rows.take(train), rows.take(held_out)

    def _validation_score(self, rows: Data, out: Array, loss: float) -> float:
        """What early stopping and the choice of the best epoch look at: larger is better."""
        if self.scoring == "loss":
            return -loss
        if self.scoring is not None:
            weights = {} if rows.weights is None else {"sample_weight": rows.weights}
            X = rows.X.to_scipy() if isinstance(rows.X, SparseRows) else rows.X
            return float(check_scoring(self, self.scoring)(self, X, self._targets(rows), **weights))
        predicted = np.exp(out) if self.out_activation_ == "exp" else out
        return metrics.r2(rows.y, predicted, rows.weights)

    # scikit-learn's callbacks -----------------------------------------------------------------------------------------

    def _begin_task(self, root: Any) -> Any:
        if not root._callbacks:
            return None
        return root.subcontext(task_name="iteration").call_on_fit_task_begin(estimator=self, **self._tells)

    def _end_task(self, task: Any) -> bool:
        if task is None:
            return False
        return bool(
            task.call_on_fit_task_end(
                estimator=self, **self._tells, reconstruction_attributes=self._reconstruction
            )
        )

    def _reconstruction(self) -> dict[str, Any]:
        """What makes a copy of the estimator one that was fitted up to now."""
        import copy

        return {"_network": copy.deepcopy(self._network)}

    # Prediction -------------------------------------------------------------------------------------------------------

    def _outputs(self, X: Any) -> Array:
        """(n, n_outputs), with the link applied. A few plain rows go straight to the engine, with checks of its own."""
        d = self.__dict__
        net = d.get("_network")
        if net is not None and ("feature_names_in_" not in d or "_in_fit" in d):
            few = net.predictor.few(X, None, False)
            if few is not None:
                return few
        check_is_fitted(self)
        if "_in_fit" not in d:
            if sparse.is_sparse(X):
                sparse.check_positions("X", X)
            X = validate_data(self, X, accept_sparse="csr", dtype=self._network.dtype, order="C", reset=False)
        return self._network.predict(X, n_threads=self.n_threads)

    # Copies -----------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the fitted estimator to one file (read by `cnn.load`), whole or not at all.

        The loaded one predicts the same to the last bit. For `warm_start` and after `partial_fit`, the optimizer's
        state is kept as well. Callbacks are not; functions in `scoring` and `metrics`, and a generator as
        `random_state`, neither: a warning says so.

        Raises:
            NotFittedError: there is nothing to save yet.
            TypeError: a layer, loss, optimizer or schedule of a class of one's own, labels that are no text or number.
            ValueError: parameters that a fit would refuse, or labels, curves and numbers that a file has no room for.

        >>> import tempfile, cnn
        >>> est = cnn.MLPRegressor(solver="lbfgs", random_state=0).fit([[0.0], [1.0], [2.0]], [0.0, 1.0, 2.0])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     est.save(f"{folder}/m.cnn")
        ...     again = cnn.load(f"{folder}/m.cnn")
        >>> bool((again.predict([[1.5]]) == est.predict([[1.5]])).all())
        True
        """
        save.save(self, path)

    def __getstate__(self) -> dict[str, Any]:
        """The weights once, and the optimizer's numbers only where a later fit goes on with them."""
        state = dict(super().__getstate__())
        net = state.pop("_network", None)
        if net is not None:
            goes_on = self.warm_start or state.get("_partial", False)
            state["_network_state"] = {
                "layers": net.descriptions, "loss": net.loss, "optimizer": net.optimizer, "dtype": net.dtype.name,
                "seed": net.seed, "dropout_factor": net.dropout_factor, "n_inputs": net.n_inputs,
                "flat": net.flat.copy(), "by_blas": net.plan.layers["by_blas"].tolist(),
                "state": net.state.copy() if goes_on else None, "scalars": net.scalars,
                "counter": net.counter if goes_on else np.zeros_like(net.counter), "rate_factor": net.rate_factor,
            }  # fmt: skip
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        kept = state.pop("_network_state", None)
        super().__setstate__(state)
        if kept is None:
            return
        net = Network(kept["layers"], kept["loss"], kept["optimizer"], kept["dtype"], kept["seed"])
        net.adopt(build_plan(net.descriptions, kept["n_inputs"], net.loss, net.optimizer, kept.get("by_blas")))
        net.flat[...] = kept["flat"]
        if kept["state"] is not None:
            net.state[...] = kept["state"]
        net.scalars[...], net.counter[...] = kept["scalars"], kept["counter"]
        net.rate_factor, net.dropout_factor = kept["rate_factor"], kept.get("dropout_factor")
        self._network = net

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
