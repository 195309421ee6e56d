"""Losses by name or with their parameters; the functions themselves are compiled, in cnn_core/losses.pxd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

import cnn_core
from cnn._common import checks, naming

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Targets:
    """What a loss takes for targets.

    Args:
        name: real, count, positive, binary, classes or sign.
        expected: which they must be, for errors.
        wrong: where numbers are none of them.
        for_classes: whether they are labels.
    """

    name: str
    expected: str = ""
    wrong: Callable[[Array], Array] | None = None
    for_classes: bool = False


REAL = Targets("real")
COUNT = Targets("count", ">= 0", lambda t: t < 0)
POSITIVE = Targets("positive", "> 0", lambda t: t <= 0)
BINARY = Targets("binary", "in [0, 1]", lambda t: (t < 0) | (t > 1), for_classes=True)
CLASSES = Targets("classes", "probabilities", lambda t: t < 0, for_classes=True)
SIGN = Targets("sign", "-1 or 1 (or 0 and 1)", lambda t: (t != 1) & (t != 0) & (t != -1), for_classes=True)


@dataclass(frozen=True)
class Facts:
    """What there is to know of a loss beside its formula and its link, which are in the core.

    Args:
        targets: what they may be.
        aliases: other usual names.
        parameter: the default of the field of that name in the core's LossSpec.
        outputs: how many the network has for each target.
        halved: whether scikit-learn means half of it by the loss of a row.
        log_constant: whether the deviance of a row has a part t log t - t, which no output can change, beside it.
    """

    targets: Targets = REAL
    aliases: tuple[str, ...] = ()
    parameter: float = 0.0
    outputs: int = 1
    halved: bool = False
    log_constant: bool = False


FACTS = {
    "mse": Facts(aliases=("mean_squared_error", "squared_error", "l2"), halved=True),
    "mae": Facts(aliases=("mean_absolute_error", "absolute_error", "l1")),
    "huber": Facts(parameter=1.0),
    "log_cosh": Facts(aliases=("logcosh",)),
    "quantile": Facts(aliases=("pinball",), parameter=0.5),
    "poisson": Facts(COUNT, log_constant=True),
    "binary_cross_entropy": Facts(BINARY, ("binary_crossentropy", "bce")),
    "cross_entropy": Facts(
        CLASSES,
        ("categorical_crossentropy", "sparse_categorical_crossentropy", "crossentropy", "log_loss", "softmax"),
    ),
    "hinge": Facts(SIGN),
    "gamma": Facts(POSITIVE, ("gamma_deviance",)),
    "tweedie": Facts(COUNT, ("tweedie_deviance",), parameter=1.5),
    "squared_hinge": Facts(SIGN),
    "gaussian_nll": Facts(outputs=2),
}
NAMES = tuple(kind.name.lower() for kind in cnn_core.Loss)
_ALIASES = {alias: name for name, facts in FACTS.items() for alias in facts.aliases}
# For type checkers and editors; at run time case does not matter.
LossName = Literal[
    "mse", "mae", "huber", "log_cosh", "quantile", "poisson", "binary_cross_entropy", "cross_entropy", "hinge",
    "gamma", "tweedie", "squared_hinge", "gaussian_nll", "gamma_deviance", "tweedie_deviance",
    "mean_squared_error", "squared_error", "l2", "mean_absolute_error", "absolute_error", "l1", "logcosh",
    "pinball", "binary_crossentropy", "bce", "categorical_crossentropy", "sparse_categorical_crossentropy",
    "crossentropy", "log_loss", "softmax",
]  # fmt: skip


@dataclass(frozen=True)
class Loss:
    """A loss of raw outputs f and targets t, d = f - t; a row's loss is the mean over its outputs.

    mse d²; mae |d|; huber (see `Huber`); log_cosh log cosh d; quantile (see `Quantile`); poisson eᶠ - t f (log link);
    binary_cross_entropy (see `BinaryCrossEntropy`); cross_entropy (see `CrossEntropy`); hinge max(0, 1 - t f) with
    t = ±1 (0 counts as -1), squared_hinge its square;
    gamma t e⁻ᶠ + f (log link), for targets > 0 whose spread grows with their mean;
    tweedie (see `Tweedie`); gaussian_nll (s + (m - t)² e⁻ˢ) / 2 for two outputs a target, its mean m and the logarithm
    s of its variance: of k targets the first k outputs are the means, and `predict` gives those and then k variances.

    Args:
        name: of the loss, or another one that libraries have for it; case does not matter.

    Raises:
        TypeError: a name that is no string.
        ValueError: unknown name.

    >>> Loss("mean_squared_error").name
    'mse'
    """

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"the name of a loss must be a string, got {self.name!r}")
        name = naming.normalise(self.name)
        name = _ALIASES.get(name, name)
        if name not in NAMES:
            raise naming.unknown("loss", self.name, NAMES)
        object.__setattr__(self, "name", name)

    @property
    def kind(self) -> int:
        """The number by which the core knows the loss."""
        return int(cnn_core.Loss[self.name.upper()])

    @property
    def facts(self) -> Facts:
        """Its entry in the table."""
        return FACTS[self.name]

    @property
    def link(self) -> str:
        """The output link, which `predict` applies to raw outputs: softmax, sigmoid, exp, mean_variance or identity."""
        return cnn_core.Link(cnn_core.engine.loss_link(self.kind)).name.lower()

    @property
    def target(self) -> str:
        """What targets are: real, classes, binary, count (>= 0), positive or sign (±1)."""
        return self.facts.targets.name

    @property
    def for_classes(self) -> bool:
        """Whether targets are labels."""
        return self.facts.targets.for_classes

    @property
    def one_class(self) -> bool:
        """Whether a row has one class, and the network an output for each."""
        return self.facts.targets is CLASSES

    @property
    def margins(self) -> bool:
        """Whether outputs say yes above 0, and are no probabilities."""
        return self.facts.targets is SIGN

    @property
    def raw(self) -> bool:
        """Whether outputs stand for something else than targets, so that no activation may bound them."""
        return self.margins or self.link != "identity"

    def n_targets(self, n_outputs: int) -> int:
        """How many numbers a row of targets has."""
        return n_outputs // self.facts.outputs

    def check_targets(self, name: str, y: Array) -> None:
        """ValueError, which calls them by that `name`, for targets y that the loss is not defined for."""
        targets = self.facts.targets
        if targets.wrong is None or y.size == 0:
            return
        wrong = targets.wrong(y)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            what = f"got {y[row, column]:g} at row {row}, column {column}"
            raise ValueError(f"{name} must be {targets.expected} for {self.name}, {what}")
        if self.one_class and np.abs((sums := y.sum(axis=1, dtype=np.float64)) - 1).max() > 1e-3:
            row = int(np.abs(sums - 1).argmax())
            raise ValueError(
                f"{name} must hold probabilities that sum to 1 in every row, got {sums[row]:g} at row {row}"
            )

    def parameters(self) -> dict[str, float]:
        """The fields of the core's LossSpec that this loss sets."""
        return {"parameter": self.facts.parameter, "smoothing": 0.0}

    def spec(self, n_outputs: int) -> np.ndarray[Any, Any]:
        """The loss as the core takes it."""
        spec = np.zeros(1, cnn_core.loss_dtype)
        spec["kind"], spec["n_outputs"], spec["scale"] = self.kind, n_outputs, 1.0
        spec["n_targets"] = self.n_targets(n_outputs)
        for name, value in self.parameters().items():
            spec[name] = value
        return spec


@dataclass(frozen=True)
class Huber(Loss):
    """d² / 2 for |d| <= delta, else delta (|d| - delta / 2): squares near 0, robust beyond (Huber 1964).

    Args:
        delta: where the square ends, > 0, in units of the target.

    >>> Huber(delta=2.0)
    Huber(delta=2.0)
    """

    name: str = field(default="huber", init=False, repr=False)
    delta: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "delta", checks.number("delta of Huber", self.delta, 0, open_low=True))

    def parameters(self) -> dict[str, float]:
        return {"parameter": self.delta}


@dataclass(frozen=True)
class Quantile(Loss):
    """The pinball loss max(q e, (q - 1) e), e = t - f: its minimum is the q-quantile (Koenker & Bassett 1978).

    Args:
        q: in (0, 1).

    >>> Quantile(q=0.9)
    Quantile(q=0.9)
    """

    name: str = field(default="quantile", init=False, repr=False)
    q: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "q", checks.number("q of Quantile", self.q, 0, 1, open_low=True, open_high=True))

    def parameters(self) -> dict[str, float]:
        return {"parameter": self.q}


@dataclass(frozen=True)
class Tweedie(Loss):
    """t e^((1 - p) f) / (p - 1) + e^((2 - p) f) / (2 - p) for a power p in (1, 2): log link, targets >= 0.

    Half the deviance, but for what it is at best, of numbers that are 0 at times and else positive, whose variance is a
    multiple of mean^p: rain, insurance claims (Tweedie 1984). Towards p = 1 it is poisson, towards p = 2 gamma.

    Args:
        power: p, in (1, 2).

    >>> Tweedie(power=1.9)
    Tweedie(power=1.9)
    """

    name: str = field(default="tweedie", init=False, repr=False)
    power: float = 1.5

    def __post_init__(self) -> None:
        power = checks.number("power of Tweedie", self.power, 1, 2, open_low=True, open_high=True)
        object.__setattr__(self, "power", power)

    def parameters(self) -> dict[str, float]:
        return {"parameter": self.power}


def _smoothing(value: float) -> float:
    return checks.number("label_smoothing", value, 0, 1, open_high=True)


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Softmax cross-entropy of logits f: log Σ eᶠ - Σ q f, q = (1 - s) t + s / k for label smoothing s.

    Targets are integer classes (n,) or probabilities (n, k). (Szegedy et al. 2016 for the smoothing.)

    Args:
        label_smoothing: s, in [0, 1).

    >>> CrossEntropy(label_smoothing=0.1)
    CrossEntropy(label_smoothing=0.1)
    """

    name: str = field(default="cross_entropy", init=False, repr=False)
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "label_smoothing", _smoothing(self.label_smoothing))

    def parameters(self) -> dict[str, float]:
        return {"smoothing": self.label_smoothing}


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """Sigmoid cross-entropy of logits f: log(1 + eᶠ) - t f, each output on its own (multi-label); t (1 - s) + s / 2.

    Args:
        label_smoothing: s, in [0, 1).

    >>> BinaryCrossEntropy().link
    'sigmoid'
    """

    name: str = field(default="binary_cross_entropy", init=False, repr=False)
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "label_smoothing", _smoothing(self.label_smoothing))

    def parameters(self) -> dict[str, float]:
        return {"smoothing": self.label_smoothing}


@dataclass(frozen=True)
class RowLoss(Loss):
    """scale · `of`; penalties are divided by the sum of a minibatch's weights: scikit-learn's objective.

    The networks of the estimators have it.

    Args:
        of: the loss, by keyword.
        scale: what it is multiplied by, > 0.

    >>> RowLoss(of=Loss("mse"), scale=0.5).name
    'mse'
    """

    name: str = field(default="", init=False, repr=False)
    of: Loss = field(kw_only=True)
    scale: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.of, Loss) or isinstance(self.of, RowLoss):
            raise TypeError(f"`of` of RowLoss must be another cnn.Loss, got {self.of!r}")
        object.__setattr__(self, "name", self.of.name)
        object.__setattr__(self, "scale", checks.number("scale of RowLoss", self.scale, 0, open_low=True))

    def parameters(self) -> dict[str, float]:
        return {**self.of.parameters(), "scale": self.scale, "shared_penalty": 1.0}


KINDS: tuple[type[Loss], ...] = (Loss, Huber, Quantile, Tweedie, CrossEntropy, BinaryCrossEntropy, RowLoss)  # in files


def get(loss: str | Loss) -> Loss:
    """The loss of that name, or the one given.

    >>> get("log_loss")
    Loss(name='cross_entropy')
    """
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, str):
        raise TypeError(f"loss must be a name or a cnn.Loss, got {loss!r}")
    return Loss(loss)
