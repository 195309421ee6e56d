"""From scikit-learn's parameters to a network: layers, loss, optimizer, initial weights drawn as scikit-learn does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.special import xlogy

from cnn import activations, losses, optimizers, schedules
from cnn._common import checks, naming
from cnn.activations import Activation
from cnn.layers import Dense, Dropout, Layer, checked
from cnn.losses import BinaryCrossEntropy, CrossEntropy, Loss, Quantile, RowLoss
from cnn.network import Network
from cnn.optimizers import Optimizer
from cnn.runtime.data import Array
from cnn.runtime.state import NetworkState

# scikit-learn's own modes of the learning rate; the last two change it between epochs only, and for sgd only.
RATE_MODES = ("constant", "invscaling", "adaptive")
_OUT_NAMES = {"sigmoid": "logistic"}  # where scikit-learn has its own name for a link


def row_loss(loss: Loss, n_outputs: int) -> RowLoss:
    """A row's loss as scikit-learn's gradients have it: the sum over its outputs, of halves of squares."""
    if loss.facts.outputs > 1:
        each = f"{loss.facts.outputs} outputs for each target"
        raise ValueError(f"an estimator can't be trained by loss {loss.name!r}, which has {each}: use a cnn.Network")
    scale = 1.0 if loss.one_class else n_outputs / (2 if loss.facts.halved else 1)
    return RowLoss(of=loss.of if isinstance(loss, RowLoss) else loss, scale=scale)


def reported_outputs(net: NetworkState) -> int:
    """By how many outputs scikit-learn divides the sum over outputs that it descends, where it reports a loss."""
    return net.n_outputs if net.loss.facts.halved else 1


def deviance_constant(loss: Loss, targets: Array | None) -> Array | None:
    """Of each row the part of scikit-learn's deviance that the weights can't change, and that the loss has not."""
    if targets is None or not loss.facts.log_constant:
        return None
    t = targets.astype(np.float64)
    return np.asarray((xlogy(t, t) - t).sum(axis=1))


def regression_loss(est: Any) -> Loss:
    """The loss of a regressor, which its parameter names."""
    loss = losses.get(est.loss)
    if loss.name == Quantile.name and isinstance(est.loss, str):
        loss = Quantile(0.5 if est.quantile is None else est.quantile)
    elif est.quantile is not None:
        raise ValueError(f"quantile={est.quantile!r} belongs to loss='quantile', got loss={est.loss!r}")
    if loss.for_classes:
        raise ValueError(f"a regressor can't be trained by loss {est.loss!r}, which is one for classes")
    if est.label_smoothing:
        raise ValueError("label_smoothing belongs to classifiers")
    return loss


def classification_loss(est: Any, task: str, n_classes: int) -> Loss:
    """The loss of a classifier for a task "binary", "multiclass" or "multilabel"."""
    loss = losses.get(est.loss)
    if loss.one_class and isinstance(est.loss, str):
        # "log_loss": one logistic output where there are two classes, as scikit-learn has it.
        soft = task == "multiclass" or (est.layers is not None and task == "binary" and _last_units(est.layers) == 2)
        loss = CrossEntropy(est.label_smoothing) if soft else BinaryCrossEntropy(est.label_smoothing)
    elif loss.name == BinaryCrossEntropy.name and isinstance(est.loss, str):
        loss = BinaryCrossEntropy(est.label_smoothing)
    elif est.label_smoothing:
        raise ValueError(f"label_smoothing belongs to loss='log_loss'; give it to {est.loss!r} itself")
    if not loss.for_classes:
        raise ValueError(f"a classifier can't be trained by loss {est.loss!r}: log_loss or hinge are expected")
    if loss.one_class and task == "multilabel":
        raise ValueError("cross_entropy takes one label a row; use loss='log_loss' for several")
    if loss.one_class and n_classes < 2:
        raise ValueError("cross_entropy needs two classes at least, got one")
    return loss


def _last_units(layers: Any) -> int:
    last = list(layers)[-1:]
    return last[0].units if last and isinstance(last[0], Dense) else 0


def out_activation(loss: Loss) -> str:
    """scikit-learn's name for the output link."""
    return _OUT_NAMES.get(loss.link, loss.link)


def hidden_sizes(value: Any) -> list[int]:
    """The widths of the hidden layers."""
    sizes = list(value) if hasattr(value, "__iter__") else [value]
    if any(not isinstance(n, (int, np.integer)) or n <= 0 for n in sizes):
        raise ValueError(f"hidden_layer_sizes must be > 0 (whole numbers), got {sizes}")
    return [int(n) for n in sizes]


def _per_layer(name: str, value: Any, n: int) -> list[Any]:
    """One value for all hidden layers, or one for each."""
    if isinstance(value, (str, Activation)) or not isinstance(value, Iterable):
        return [value] * n
    values = list(value)
    if len(values) != n:
        raise ValueError(f"{name} must be one for all or one for each of {n} hidden layers, got {values!r}")
    return values


def describe_layers(est: Any, n_outputs: int) -> list[Layer]:
    """The layers that the parameters ask for."""
    if est.layers is not None:
        layers = list(est.layers)
        if est.dropout or est.l1:
            raise ValueError("dropout and l1 belong to hidden_layer_sizes; with layers, give them to the layers")
        if _last_units(layers) != n_outputs:
            raise ValueError(f"the last of layers must be a cnn.Dense of {n_outputs} units for this y, got {layers!r}")
        return list(checked(layers))
    sizes = hidden_sizes(est.hidden_layer_sizes)
    l1, l2 = float(est.l1), float(est.alpha) / 2
    layers = []
    kinds = _per_layer("activation", est.activation, len(sizes))
    rates = _per_layer("dropout", est.dropout, len(sizes))
    for units, activation, rate in zip(sizes, kinds, rates, strict=True):
        layers.append(Dense(units, activations.get(activation), initializer="zeros", l1=l1, l2=l2))
        if rate:
            layers.append(Dropout(rate))
    layers.append(Dense(n_outputs, initializer="zeros", l1=l1, l2=l2))
    return layers


def describe_optimizer(est: Any) -> Optimizer:
    """The optimizer; scikit-learn's names take its parameters, a `cnn.Optimizer` is taken as it is."""
    if isinstance(est.solver, Optimizer):
        return est.solver
    clip = {} if est.clip_norm is None else {"clip_norm": est.clip_norm}
    rate = learning_rate(est)
    name = "adam" if est.solver == "lbfgs" else naming.normalise(est.solver)  # never used by L-BFGS
    if name == "sgd":
        momentum = float(est.momentum)
        nesterov = bool(est.nesterovs_momentum) and momentum > 0
        return optimizers.SGD(rate, momentum=momentum, nesterov=nesterov, **clip)
    if name not in optimizers.BY_NAME:
        raise naming.unknown("solver", est.solver, ["lbfgs", *optimizers.BY_NAME])
    if name in ("adam", "adamw", "nadam"):
        clip.update(beta_1=est.beta_1, beta_2=est.beta_2, epsilon=est.epsilon)
    if name in ("adam", "adamw"):
        clip["epsilon_hat"] = True
    return optimizers.BY_NAME[name](rate, **clip)


def learning_rate(est: Any) -> float | schedules.Schedule:
    """The constant rate (to be changed between epochs by scikit-learn's modes), or a schedule of ours."""
    if isinstance(est.learning_rate, schedules.Schedule):
        return est.learning_rate
    if est.learning_rate in RATE_MODES:
        return float(est.learning_rate_init)
    name = naming.normalise(est.learning_rate)
    if name not in schedules.BY_NAME:
        raise naming.unknown("learning_rate", est.learning_rate, [*RATE_MODES, *schedules.BY_NAME])
    return schedules.BY_NAME[name](est.learning_rate_init)


def check_unchanged(est: Any, loss: Loss, net: Network) -> None:
    """ValueError where a further fit asks for another loss or another type than its network has."""
    loss, changed = row_loss(loss, net.n_outputs), ""
    if loss != net.loss:
        by_number = isinstance(est.loss, str) and loss.name == net.loss.name
        changed = ("label_smoothing" if loss.for_classes else "quantile") if by_number else "loss"
    elif est.dtype != "auto" and checks.real_dtype(est.dtype) != net.dtype:
        changed = "dtype"
    if changed:
        raise ValueError(f"{changed} can't change between two fits with warm_start: set warm_start=False")


def build(est: Any, n_features: int, n_outputs: int, loss: Loss, dtype: Any, random: np.random.RandomState) -> Network:
    """The network with its initial weights, the first numbers drawn from `random`."""
    layers = describe_layers(est, n_outputs)
    own = est.layers is not None
    # Only what scikit-learn has not may move its stream of random numbers.
    seed = int(random.randint(2**31 - 1)) if own else 0
    net = Network(layers, row_loss(loss, n_outputs), describe_optimizer(est), dtype, seed, est.dropout_factor)
    net.build(n_features)
    if not own:
        _draw(net, random)
        if est.dropout:
            net.seed = int(random.randint(2**31 - 1))
    return net


def _draw(net: Network, random: np.random.RandomState) -> None:
    """Glorot & Bengio's uniform weights and biases, in scikit-learn's order and with its bounds."""
    views = weights_and_biases(net)
    kinds = [layer.activation for layer in net.descriptions if isinstance(layer, Dense)]
    kinds[-1] = kinds[-2] if len(kinds) > 1 else kinds[-1]  # the output layer is drawn for the last hidden function
    for (weights, biases), kind in zip(views, kinds, strict=True):
        bound = np.sqrt((2.0 if kind == "sigmoid" else 6.0) / sum(weights.shape))
        weights[...] = random.uniform(-bound, bound, weights.shape)
        biases[...] = random.uniform(-bound, bound, biases.shape)


def weights_and_biases(net: Network) -> list[tuple[Array, Array]]:
    """Views of each dense layer's parameters; a layer without biases has zeros."""
    found = []
    for i, layer in enumerate(net.descriptions):
        if isinstance(layer, Dense):
            biases = net.parameters.get(f"layers.{i}.biases")
            found.append((net.parameters[f"layers.{i}.weights"],
                          np.zeros(layer.units, net.dtype) if biases is None else biases))  # fmt: skip
    return found
