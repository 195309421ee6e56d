"""Weights to and from PyTorch and scikit-learn, by the names and in the shapes that each expects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn.layers import Dense
from cnn.network import Network
from cnn.optimizers import SGD, Adam, Optimizer
from cnn.plan import layer_activation
from cnn.schedules import Constant, InverseScaling, Schedule

if TYPE_CHECKING:
    from torch import Tensor

Array = np.ndarray[Any, Any]
_SKLEARN = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}


# PyTorch --------------------------------------------------------------------------------------------------------------


def _torch_names(net: Network) -> dict[str, tuple[str, int]]:
    """{our name: (name in the state dict of the same nn.Sequential, layer)}.

    Linear, then the activation if there is one, and Dropout are a module each; the link of the loss is none.
    """
    names: dict[str, tuple[str, int]] = {}
    module = 0
    for i, layer in enumerate(net.descriptions):
        if not isinstance(layer, Dense):
            module += 1
            continue
        names[f"layers.{i}.weights"] = (f"{module}.weight", i)
        if layer.use_bias:
            names[f"layers.{i}.biases"] = (f"{module}.bias", i)
        activation = layer_activation(layer, net.loss, last=i == len(net.descriptions) - 1)
        module += 1 if activation.name == "identity" else 2
    return names


def to_torch_state_dict(net: Network) -> dict[str, Tensor]:
    """The weights for `load_state_dict` of the same `torch.nn.Sequential`: "0.weight" (units, inputs), "0.bias", ...

    The Sequential has a Linear for each Dense, the activation's module after it unless it is identity, a Dropout for
    each Dropout, and nothing for the link of the loss (PyTorch's losses, too, take raw outputs). Needs torch.

    Raises:
        ImportError: torch is not installed.
        NotBuiltError: the network has no weights yet.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError("to_torch_state_dict needs PyTorch: pip install torch") from error
    return {
        theirs: torch.from_numpy(np.array(net.parameters[ours].T, order="C"))
        for ours, (theirs, _) in _torch_names(net).items()
    }


def from_torch_state_dict(net: Network, state: Mapping[str, Any]) -> Network:
    """Sets the weights from such a state dict (of tensors or arrays), and builds the network if it is not; returns it.

    A prefix that all names share ("net.0.weight") is left out.

    Raises:
        ValueError: names or shapes are others; nothing is changed then.

    >>> import numpy as np, cnn
    >>> net = cnn.Network([cnn.Dense(1)])
    >>> net = from_torch_state_dict(net, {"0.weight": np.array([[1.0, 2.0]]), "0.bias": np.zeros(1)})
    >>> net.predict(np.ones((1, 2))).item()
    3.0
    """
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise TypeError(f"state must be a mapping of names to tensors, got {type(state).__name__}")
    expected = _torch_names(net)
    prefix = _prefix(list(state))
    arrays = {name.removeprefix(prefix): _array(name, value) for name, value in state.items()}
    if set(arrays) != (names := {theirs for theirs, _ in expected.values()}):
        raise ValueError(f"the state dict must hold {', '.join(sorted(names))}, got {', '.join(sorted(arrays))}")
    ready = {ours: arrays[theirs].T for ours, (theirs, _) in expected.items()}
    return _with_weights(net, ready)


def _prefix(names: Sequence[str]) -> str:
    """What stands in front of "0.weight" in all names."""
    heads = {".".join(name.split(".")[:-2]) for name in names}
    head = heads.pop() if len(heads) == 1 else ""
    return f"{head}." if head else ""


def _array(name: str, value: Any) -> Array:
    """A tensor, wherever it is, or an array."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) in ("torch.bfloat16", "torch.float16") else value
        value = value.numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must hold numbers, got dtype {array.dtype}")
    return array


def _with_weights(net: Network, weights: Mapping[str, Array]) -> Network:
    """The network with these weights, checked before a network that is not built becomes so."""
    first = next(iter(weights.values()))
    if first.ndim != 2 or not first.shape[0]:
        raise ValueError(f"the weights of the first layer must be a matrix, got shape {first.shape}")
    if net.known_inputs is None:
        trial = Network(net.descriptions, loss=net.loss, optimizer=net.optimizer, dtype=net.dtype, seed=net.seed)
        trial.build(first.shape[0]).set_weights(weights)
        net.build(first.shape[0])
    net.set_weights(weights)
    return net


# scikit-learn ---------------------------------------------------------------------------------------------------------


def from_sklearn(estimator: Any) -> Network:
    """The network of a fitted MLPClassifier or MLPRegressor: same weights, same predictions, same settings of training.

    `predict` gives probabilities for a classifier: of the second class when there are two, else one for each class.
    Penalties are alpha / (2 batch_size) for each weight, as scikit-learn applies them (200 for batch_size="auto").

    Raises:
        TypeError: not such an estimator.
        ValueError: it is not fitted.
    """
    kinds = {cls.__name__ for cls in type(estimator).__mro__} & {"MLPClassifier", "MLPRegressor"}
    if not kinds:
        raise TypeError(f"from_sklearn takes an MLPClassifier or MLPRegressor, got {type(estimator).__name__}")
    if not hasattr(estimator, "coefs_"):
        raise ValueError("the estimator is not fitted: call its fit first")
    loss = {"softmax": "cross_entropy", "logistic": "binary_cross_entropy", "exp": "poisson"}.get(
        estimator.out_activation_, "mse"
    )
    hidden = {theirs: ours for ours, theirs in _SKLEARN.items()}[estimator.activation]
    batch = estimator.batch_size if isinstance(estimator.batch_size, int) else 200
    coefs, last = estimator.coefs_, len(estimator.coefs_) - 1
    layers = [Dense(W.shape[1], "identity" if i == last else hidden, l2=estimator.alpha / (2 * batch))
              for i, W in enumerate(coefs)]  # fmt: skip
    seed = estimator.random_state if isinstance(estimator.random_state, int) else None
    net = Network(layers, loss=loss, optimizer=_optimizer(estimator), dtype=coefs[0].dtype, seed=seed)
    net = _with_weights(net, {
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


def to_sklearn(net: Network, classes: Sequence[Any] | None = None) -> Any:
    """A fitted MLPClassifier (for cross_entropy and binary_cross_entropy) or MLPRegressor with the same predictions.

    Args:
        classes: labels of the classes, in their order; 0 .. k - 1 by default.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: scikit-learn has no such network: hidden layers must share identity, sigmoid, tanh or relu, the last
            one must be linear, and the loss must be one for classes or have no link.
    """
    try:
        from sklearn.neural_network import MLPClassifier, MLPRegressor
    except ImportError as error:
        raise ImportError("to_sklearn needs scikit-learn: pip install scikit-learn") from error
    dense = [(i, layer) for i, layer in enumerate(net.descriptions) if isinstance(layer, Dense)]
    kinds = [layer_activation(layer, net.loss, i == len(net.descriptions) - 1).name for i, layer in dense]
    hidden = set(kinds[:-1]) or {"identity"}
    if len(hidden) > 1 or not hidden <= set(_SKLEARN) or kinds[-1] != "identity":
        raise ValueError(f"scikit-learn has no network with the activations {', '.join(kinds)}: one of "
                         f"{', '.join(_SKLEARN)} for all hidden layers, and a linear last one")  # fmt: skip
    if net.loss.link == "exp" or net.loss.target == "sign":
        raise ValueError(f"scikit-learn's networks know no loss {net.loss.name!r}")
    classifies = net.loss.target in ("classes", "binary")
    made = (MLPClassifier if classifies else MLPRegressor)(
        hidden_layer_sizes=[layer.units for _, layer in dense[:-1]], activation=_SKLEARN[hidden.pop()]
    )
    zeros = {i: np.zeros(layer.units, net.dtype) for i, layer in dense}
    made.coefs_ = [net.parameters[f"layers.{i}.weights"].copy() for i, _ in dense]
    made.intercepts_ = [np.array(net.parameters.get(f"layers.{i}.biases", zeros[i])) for i, _ in dense]
    made.n_layers_, made.n_outputs_, made.n_features_in_ = len(dense) + 1, net.n_outputs, net.n_inputs
    made.out_activation_ = {"softmax": "softmax", "sigmoid": "logistic"}.get(net.loss.link, "identity")
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

    several = net.loss.target == "binary" and net.n_outputs > 1  # each output on its own
    n = net.n_outputs if net.loss.target == "classes" or several else 2
    labels = np.arange(n) if classes is None else np.asarray(classes)
    if labels.shape != (n,) or len(set(labels.tolist())) != n or labels.tolist() != sorted(labels.tolist()):
        raise ValueError(f"classes must be {n} different labels in ascending order, got {classes!r}")
    made._label_binarizer = LabelBinarizer().fit(np.eye(n, dtype=int) if several else labels)
    if several:
        made._label_binarizer.fit(np.array([[0] * n, [1] * n]))
    made.classes_ = labels
