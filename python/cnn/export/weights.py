"""Weights to and from PyTorch and scikit-learn, by the names and in the shapes that each expects."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn.activations import Activation
from cnn.layers import BatchNorm, Dense, Dropout, Layer, LayerNorm, PReLU
from cnn.losses import Loss
from cnn.network import Network
from cnn.optimizers import SGD, Adam, Optimizer
from cnn.runtime.plan import placed
from cnn.schedules import Constant, InverseScaling, Schedule

if TYPE_CHECKING:
    from torch import Tensor

Array = np.ndarray[Any, Any]
_SKLEARN = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}
_OUT = {"softmax": "softmax", "sigmoid": "logistic", "identity": "identity"}  # links


# PyTorch --------------------------------------------------------------------------------------------------------------


# Activations as modules of torch.nn: the class, and by which name it takes our alpha.
_TORCH = {
    "sigmoid": ("Sigmoid", None), "tanh": ("Tanh", None), "relu": ("ReLU", None),
    "leaky_relu": ("LeakyReLU", "negative_slope"), "relu6": ("ReLU6", None), "elu": ("ELU", "alpha"),
    "selu": ("SELU", None), "celu": ("CELU", "alpha"), "gelu": ("GELU", None), "gelu_tanh": ("GELU", None),
    "silu": ("SiLU", None), "mish": ("Mish", None), "softplus": ("Softplus", None), "softsign": ("Softsign", None),
    "hard_sigmoid": ("Hardsigmoid", None), "hard_swish": ("Hardswish", None), "hard_tanh": ("Hardtanh", None),
}  # fmt: skip


_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")
_COUNTER = "num_batches_tracked"  # of steps, beside them, which only PyTorch's momentum=None takes


@dataclass(frozen=True)
class _Module:
    """A module of PyTorch: what its parameters are called there and here; made from torch.nn and their values."""

    names: dict[str, str]
    make: Callable[[Any, Mapping[str, Any]], Any]


@singledispatch
def _modules(layer: Layer, i: int) -> list[_Module]:
    """What stands in the same nn.Sequential for the layer at place i."""
    raise ValueError(f"layer {i}, {layer!r}, is not known as a module of PyTorch")


@_modules.register
def _(layer: Dense, i: int) -> list[_Module]:
    names = {"weight": f"layers.{i}.weights"} | ({"bias": f"layers.{i}.biases"} if layer.use_bias else {})

    def linear(nn: Any, values: Mapping[str, Any]) -> Any:
        n_units, n_inputs = values["weight"].shape
        return nn.Linear(n_inputs, n_units, bias=layer.use_bias, dtype=values["weight"].dtype)

    return [_Module(names, linear), *_functions(layer.function)]


@_modules.register
def _(layer: Dropout, i: int) -> list[_Module]:
    return [_Module({}, lambda nn, values: nn.Dropout(layer.rate))]


@_modules.register
def _(layer: LayerNorm, i: int) -> list[_Module]:
    names = {"weight": f"layers.{i}.weights", "bias": f"layers.{i}.biases"}

    def norm(nn: Any, values: Mapping[str, Any]) -> Any:
        return nn.LayerNorm(len(values["weight"]), eps=layer.epsilon, dtype=values["weight"].dtype)

    return [_Module(names, norm)]


@_modules.register
def _(layer: BatchNorm, i: int) -> list[_Module]:
    ours = ("weights", "biases", "running_mean", "running_variance")
    names = {theirs: f"layers.{i}.{name}" for theirs, name in zip(_BATCH_NORM, ours, strict=True)}

    def norm(nn: Any, values: Mapping[str, Any]) -> Any:
        units, dtype = len(values["weight"]), values["weight"].dtype
        return nn.BatchNorm1d(units, eps=layer.epsilon, momentum=layer.momentum, dtype=dtype)

    return [_Module(names, norm), *_functions(layer.function)]


@_modules.register
def _(layer: PReLU, i: int) -> list[_Module]:
    def prelu(nn: Any, values: Mapping[str, Any]) -> Any:
        return nn.PReLU(len(values["weight"]), dtype=values["weight"].dtype)

    return [_Module({"weight": f"layers.{i}.weights"}, prelu)]


def _functions(activation: Activation) -> list[_Module]:
    if activation.name == "identity":
        return []

    def function(nn: Any, values: Mapping[str, Any]) -> Any:
        if activation.name not in _TORCH:
            raise ValueError(f"PyTorch has no module for the activation {activation.name}")
        name, parameter = _TORCH[activation.name]
        how: dict[str, Any] = {} if parameter is None else {parameter: activation.value}
        how |= {"approximate": "tanh"} if activation.name == "gelu_tanh" else {}
        return getattr(nn, name)(**how)

    return [_Module({}, function)]


def _sequential(net: Network) -> list[_Module]:
    """The modules of the same nn.Sequential: one for each layer, and activations."""
    return [module for i, layer in enumerate(placed(net.descriptions, net.loss)) for module in _modules(layer, i)]


def to_torch_state_dict(net: Network) -> dict[str, Tensor]:
    """The weights for `load_state_dict` of the same `torch.nn.Sequential`: "0.weight" (units, inputs), "0.bias", ...

    The Sequential has a Linear for each Dense, the activation's module after it unless it is identity, a Dropout for
    each Dropout, and nothing for the link of the loss (PyTorch's losses, too, take raw outputs). Needs torch.

    Raises:
        ImportError: torch is not installed.
        NotBuiltError: the network has no weights yet.
        ValueError: PyTorch has no such layer or activation.
    """
    torch = _torch("to_torch_state_dict")
    return {
        f"{place}.{theirs}": torch.from_numpy(np.array(net.parameters[ours].T, order="C"))
        for place, module in enumerate(_sequential(net)) for theirs, ours in module.names.items()
    }  # fmt: skip


def to_torch(net: Network) -> Any:
    """The network as a `torch.nn.Sequential` with a copy of the weights, in `eval` mode: it gives raw outputs.

    Those of `Network.forward`, to rounding. Its modules are named in `to_torch_state_dict`: the link of the loss
    (softmax, sigmoid, exp) is none of them, for PyTorch's losses bring their own. `train()` turns its Dropouts on.

    Raises:
        ImportError: torch is not installed.
        NotBuiltError: the network has no weights yet.
        ValueError: PyTorch has no such layer or activation.
    """
    nn = _torch("to_torch").nn
    weights = to_torch_state_dict(net)
    made = nn.Sequential(*(
        module.make(nn, {theirs: weights[f"{place}.{theirs}"] for theirs in module.names})
        for place, module in enumerate(_sequential(net))
    ))  # fmt: skip
    made.load_state_dict(weights)
    return made.eval()


def _torch(name: str) -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError(f"{name} needs PyTorch: pip install torch") from error
    return torch


def from_torch_state_dict(net: Network, state: Any) -> Network:
    """Sets the weights from a state dict or a module of PyTorch, and builds the network if it is not; returns it.

    Modules may have any names ("0.weight", "net.0.weight", "fc1.weight"): one Linear for each Dense, in the order in
    which the module has registered them, or by their numbers where the names differ by numbers alone.

    Args:
        state: a mapping of names to tensors or arrays, or a `torch.nn.Module`, whose `state_dict()` is taken.

    Raises:
        ValueError: other modules, or other shapes; nothing is changed then.

    >>> import numpy as np, cnn
    >>> net = cnn.Network([cnn.Dense(1)])
    >>> net = from_torch_state_dict(net, {"fc.weight": np.array([[1.0, 2.0]]), "fc.bias": np.zeros(1)})
    >>> net.predict(np.ones((1, 2))).item()
    3.0
    """
    if not isinstance(state, Mapping) and callable(getattr(state, "state_dict", None)):
        state = state.state_dict()
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise TypeError(f"state must be a mapping of names to tensors or a torch.nn.Module, got {type(state).__name__}")
    state = {name: value for name, value in state.items() if name.rpartition(".")[2] != _COUNTER}
    expected = {place: module.names for place, module in enumerate(_sequential(net)) if module.names}
    heads = _in_order(dict.fromkeys(name.rpartition(".")[0] for name in state))
    names = {
        f"{head}.{theirs}" if head else theirs: ours
        for head, parts in zip(heads, expected.values(), strict=False) for theirs, ours in parts.items()
    }  # fmt: skip
    if len(heads) != len(expected) or set(names) != set(state):
        usual = sorted(f"{module}.{what}" for module, parts in expected.items() for what in parts)
        raise ValueError(
            f"the state dict must hold {', '.join(usual)}, got {', '.join(sorted(state))}; names of modules may be "
            "others, but there must be one Linear for each Dense, in their order"
        )
    return _with_weights(net, {ours: _array(theirs, state[theirs]).T for theirs, ours in names.items()})


def _in_order(heads: Iterable[str]) -> list[str]:
    """Names of modules in the order of the layers: as they stand, or by number where they differ by numbers alone."""
    given = list(heads)
    parts = {head: re.split(r"(\d+)", head) for head in given}
    numbers = {head: tuple(map(int, found[1::2])) for head, found in parts.items()}
    stems = {head: tuple(found[::2]) for head, found in parts.items()}
    if len(set(stems.values())) == 1:
        return sorted(given, key=numbers.__getitem__)
    for one, other in itertools.pairwise(sorted(given, key=stems.__getitem__)):  # of each stem as they stand
        if stems[one] == stems[other] and numbers[one] > numbers[other]:
            raise ValueError(f"the state dict has {one!r} before {other!r}; give modules in the order of the layers")
    return given


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
    learns = next(layer for layer in net.descriptions if layer.parameters((1,)))
    if first.ndim != len(learns.parameters((1,))[0].shape) or not first.shape[0]:
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
