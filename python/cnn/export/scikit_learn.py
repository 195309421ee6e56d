"""Networks to and from scikit-learn's `MLPClassifier` and `MLPRegressor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnn.activations import Activation
from cnn.export.weights import with_weights
from cnn.layers import Dense, Dropout
from cnn.losses import Loss
from cnn.network import Network
from cnn.optimizers import SGD, Adam, Optimizer
from cnn.runtime.plan import placed
from cnn.schedules import Constant, InverseScaling, Schedule

_SKLEARN = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}
_OUT = {"softmax": "softmax", "sigmoid": "logistic", "identity": "identity"}  # links


def from_sklearn(estimator: Any) -> Network:
    """The network of a fitted MLPClassifier or MLPRegressor: same weights, same predictions, same settings of training.

    `predict` gives probabilities for a classifier: of the second class when there are two, else one for each class.
    Penalties are alpha / (2 batch_size) for each weight, as scikit-learn applies them (200 for batch_size="auto").

    Args:
        estimator: scikit-learn's, fitted.

    Raises:
        TypeError: not such an estimator.
        ValueError: it is not fitted.

    >>> import cnn, numpy as np
    >>> from sklearn.neural_network import MLPRegressor
    >>> X = np.random.default_rng(0).normal(size=(50, 2))
    >>> theirs = MLPRegressor(hidden_layer_sizes=3, solver="lbfgs", max_iter=500, random_state=0).fit(X, X[:, 0])
    >>> bool(np.allclose(cnn.from_sklearn(theirs).predict(X), theirs.predict(X), atol=1e-4))
    True
    """
    kinds = {cls.__name__ for cls in type(estimator).__mro__} & {"MLPClassifier", "MLPRegressor"}
    if not kinds:
        raise TypeError(f"from_sklearn takes an MLPClassifier or MLPRegressor, got {type(estimator).__name__}")
    if not hasattr(estimator, "coefs_"):
        raise ValueError("the estimator is not fitted: call its fit first")
    loss = Loss({"softmax": "cross_entropy", "logistic": "binary_cross_entropy", "exp": "poisson"}.get(
        estimator.out_activation_, "mse"
    ))
    hidden = Activation({theirs: ours for ours, theirs in _SKLEARN.items()}[estimator.activation])
    batch = estimator.batch_size if isinstance(estimator.batch_size, int) else 200
    coefs, last = estimator.coefs_, len(estimator.coefs_) - 1
    dense = [Dense(W.shape[1], "identity" if i == last else hidden, l2=estimator.alpha / (2 * batch))
             for i, W in enumerate(coefs)]  # fmt: skip
    seed = estimator.random_state if isinstance(estimator.random_state, int) else None
    net = Network(dense, loss=loss, optimizer=_optimizer(estimator), dtype=coefs[0].dtype, seed=seed)
    net = with_weights(net, {
        **{f"layers.{i}.weights": W for i, W in enumerate(coefs)},
        **{f"layers.{i}.biases": b for i, b in enumerate(estimator.intercepts_)},
    })  # fmt: skip
    net.one_dimensional = net.n_outputs == 1
    return net


def _optimizer(estimator: Any) -> Optimizer:
    if estimator.solver == "sgd":
        rate: Schedule = Constant(estimator.learning_rate_init)
        if estimator.learning_rate == "invscaling":
            rate = InverseScaling(estimator.learning_rate_init, estimator.power_t)
        momentum = float(estimator.momentum)
        return SGD(rate, momentum=momentum, nesterov=bool(estimator.nesterovs_momentum) and momentum > 0)
    if estimator.solver == "adam":
        return Adam(
            estimator.learning_rate_init, beta_1=estimator.beta_1, beta_2=estimator.beta_2, epsilon=estimator.epsilon,
            epsilon_hat=True,
        )  # fmt: skip
    return Adam()


def _dense(net: Network) -> list[tuple[int, Dense]]:
    """The layers that scikit-learn has; it predicts without Dropout, too."""
    found = []
    for i, layer in enumerate(placed(net.descriptions, net.loss)):
        if isinstance(layer, Dense):
            found.append((i, layer))
        elif not isinstance(layer, Dropout):
            raise ValueError(f"scikit-learn has no network with such a layer: layer {i}, {layer!r}")
    return found


def to_sklearn(net: Network, classes: Sequence[Any] | None = None) -> Any:
    """A fitted MLPClassifier (for cross_entropy and binary_cross_entropy) or MLPRegressor with the same predictions.

    Args:
        net: a network that is built.
        classes: labels of the classes, in their order; 0 .. k - 1 by default.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: scikit-learn has no such network: hidden layers must share identity, sigmoid, tanh or relu, the last
            one must be linear, and the loss must be one for classes or have no link.

    >>> import cnn, numpy as np
    >>> net = cnn.Network([cnn.Dense(3, "tanh"), cnn.Dense(1)], seed=0).build(2)
    >>> bool(np.allclose(cnn.to_sklearn(net).predict(np.eye(2)), net.predict(np.eye(2))[:, 0], atol=1e-6))
    True
    """
    try:
        from sklearn.neural_network import MLPClassifier, MLPRegressor
    except ImportError as error:
        raise ImportError("to_sklearn needs scikit-learn: pip install scikit-learn") from error
    dense = _dense(net)
    kinds = [layer.function.name for _, layer in dense]
    hidden = set(kinds[:-1]) or {"identity"}
    if len(hidden) > 1 or not hidden <= set(_SKLEARN) or kinds[-1] != "identity":
        raise ValueError(f"scikit-learn has no network with the activations {', '.join(kinds)}: one of "
                         f"{', '.join(_SKLEARN)} for all hidden layers, and a linear last one")  # fmt: skip
    if net.loss.link not in _OUT or net.loss.margins:
        raise ValueError(f"scikit-learn's networks know no loss {net.loss.name!r}")
    classifies = net.loss.for_classes
    made = (MLPClassifier if classifies else MLPRegressor)(
        hidden_layer_sizes=[layer.units for _, layer in dense[:-1]], activation=_SKLEARN[hidden.pop()]
    )
    zeros = {i: np.zeros(layer.units, net.dtype) for i, layer in dense}
    made.coefs_ = [net.parameters[f"layers.{i}.weights"].copy() for i, _ in dense]
    made.intercepts_ = [np.array(net.parameters.get(f"layers.{i}.biases", zeros[i])) for i, _ in dense]
    made.n_layers_, made.n_outputs_, made.n_features_in_ = len(dense) + 1, net.n_outputs, net.n_inputs
    made.out_activation_ = _OUT[net.loss.link]
    made.n_iter_, made.t_, made.loss_curve_ = len(net.history), 0, list(net.history.to_dict().get("loss", []))
    made.loss_, made.best_loss_ = made.loss_curve_[-1] if made.loss_curve_ else np.inf, np.inf
    made.best_validation_score_ = made.validation_scores_ = None
    made._no_improvement_count = 0  # partial_fit goes on from here
    made._random_state = np.random.RandomState(net.seed % 2**32)
    if classifies:
        _name_classes(made, net, classes)
    elif classes is not None:
        raise ValueError(f"classes are given, but the loss {net.loss.name!r} is not one for classes")
    return made


def _name_classes(made: Any, net: Network, classes: Sequence[Any] | None) -> None:
    """Gives a classifier its labels."""
    from sklearn.preprocessing import LabelBinarizer

    several = not net.loss.one_class and net.n_outputs > 1  # each output on its own
    n = net.n_outputs if net.loss.one_class or several else 2
    labels = np.arange(n) if classes is None else np.asarray(classes)
    if labels.shape != (n,) or len(set(labels.tolist())) != n or labels.tolist() != sorted(labels.tolist()):
        raise ValueError(f"classes must be {n} different labels in ascending order, got {classes!r}")
    made._label_binarizer = LabelBinarizer().fit(np.eye(n, dtype=int) if several else labels)
    if several:
        made._label_binarizer.fit(np.array([[0] * n, [1] * n]))
    made.classes_ = labels
