"""Optimizers: what the user names. The updates are compiled, in cnn_core/optimizers.pxd; formulas are PyTorch's.

theta is a parameter, g its gradient, a the learning rate. All take, besides their own arguments and by keyword:

- `learning_rate`: a number or a schedule (`cnn.schedules`); it may come first without its name;
- `weight_decay`: w, a number or a schedule; coupled, g + w theta, or decoupled, theta - a w theta, for AdamW and Lion;
- `decay_biases`: whether biases decay too (default: no);
- `clip_value`: every element of the gradient is held within ± this;
- `clip_norm`: the gradient of all parameters together is scaled down to this Euclidean norm.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar

import numpy as np

import cnn_core
from cnn._common import checks, naming
from cnn._common.elsewhere import told
from cnn.schedules import Schedule, first_number
from cnn.schedules import get as get_schedule


@dataclass(frozen=True)
class Optimizer:
    """What all optimizers share; each has its own below.

    Args:
        learning_rate: a number or a schedule of `cnn.schedules`; it may come first without its name.
        weight_decay: w, a number or a schedule; coupled, g + w theta, or decoupled, theta - a w theta, for `AdamW` and
            `Lion`.
        decay_biases: whether biases decay, too.
        clip_value: every element of the gradient is held within ± this; None: none is.
        clip_norm: the gradient of all parameters together is scaled down to this Euclidean norm; None: it is not.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    >>> isinstance(Adam(0.01, clip_norm=1.0), Optimizer)
    True
    """

    kind: ClassVar[str]
    decoupled: ClassVar[bool] = False
    learning_rate: float | Schedule = 0.001
    _: KW_ONLY
    weight_decay: float | Schedule = 0.0
    decay_biases: bool = False
    clip_value: float | None = None
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.learning_rate, (Schedule, str)):
            object.__setattr__(self, "learning_rate", get_schedule(self.learning_rate))
        else:
            self._number("learning_rate", 0)
        if not isinstance(self.weight_decay, Schedule):
            self._number("weight_decay", 0)
        for name in ("clip_value", "clip_norm"):
            if getattr(self, name) is not None:
                self._number(name, 0, open_low=True)
        for name in ("momentum", "beta_1", "beta_2", "rho"):
            if hasattr(self, name):
                self._number(name, 0, 1, open_high=name != "momentum")  # of 1 it never slows down
        if hasattr(self, "epsilon"):
            self._number("epsilon", 0, open_low=True)
        for name in ("decay_biases", "nesterov", "amsgrad", "epsilon_hat"):
            if hasattr(self, name):
                object.__setattr__(self, name, checks.flag(name, getattr(self, name)))

    def _number(self, name: str, low: float, high: float = math.inf, **ends: bool) -> None:
        """Checks a field and makes it a plain float, so that the repr can be read back."""
        object.__setattr__(self, name, checks.number(name, getattr(self, name), low, high, **ends))

    def spec(self) -> np.ndarray[Any, Any]:
        """The optimizer as the core takes it."""
        spec = np.zeros(1, cnn_core.optimizer_dtype)
        spec["kind"] = int(cnn_core.Optimizer[self.kind])
        spec["decoupled"] = self.decoupled
        spec["weight_decay"] = first_number(self.weight_decay)  # on which a schedule is a factor
        for name in spec.dtype.names or ():
            if name not in ("kind", "decoupled", "weight_decay") and getattr(self, name, None) is not None:
                spec[name] = getattr(self, name)
        return spec


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent, theta -= a g; with momentum v = m v + g, theta -= a v, or a (g + m v) for Nesterov's.

    Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning".

    Args:
        momentum: m, in [0, 1].
        nesterov: whether the step looks ahead along the momentum, which must be > 0 then.

    >>> SGD(0.1, momentum=0.9, nesterov=True).momentum
    0.9
    """

    kind: ClassVar[str] = "SGD"
    learning_rate: float | Schedule = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov=True needs a momentum > 0, got momentum=0")


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """v = rho v + (1 - rho) g²; theta -= a g / (√v + epsilon) (Tieleman & Hinton 2012).

    Args:
        rho: share of the old running mean that is kept in each step, in [0, 1).
        momentum: of the step, as of `SGD`, in [0, 1].
        epsilon: what keeps the division from 0, > 0.

    >>> RMSprop().rho
    0.99
    """

    kind: ClassVar[str] = "RMSPROP"
    learning_rate: float | Schedule = 0.01
    rho: float = 0.99
    momentum: float = 0.0
    epsilon: float = 1e-8


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """v += g²; theta -= a g / (√v + epsilon) (Duchi, Hazan & Singer 2011).

    Args:
        epsilon: what keeps the division from 0, > 0.

    >>> Adagrad().epsilon
    1e-10
    """

    kind: ClassVar[str] = "ADAGRAD"
    learning_rate: float | Schedule = 0.01
    epsilon: float = 1e-10


@dataclass(frozen=True)
class Adadelta(Optimizer):
    """d = g √(u + epsilon) / √(v + epsilon), theta -= a d, u and v running means of d² and g² (Zeiler 2012).

    Args:
        rho: share of the old running mean that is kept in each step, in [0, 1).
        epsilon: what keeps the division from 0, > 0.

    >>> Adadelta().rho
    0.9
    """

    kind: ClassVar[str] = "ADADELTA"
    learning_rate: float | Schedule = 1.0
    rho: float = 0.9
    epsilon: float = 1e-6


@dataclass(frozen=True)
class Adam(Optimizer):
    """theta -= a m̂ / (√v̂ + epsilon), m and v running means of g and g², ^ for their bias correction.

    Kingma & Ba 2015; `amsgrad` keeps the largest v (Reddi, Kale & Kumar 2018); `epsilon_hat` adds epsilon to √v before
    its bias correction, as scikit-learn and TensorFlow do (section 2 of Kingma & Ba).

    Args:
        beta_1: share of the old running mean of g that is kept in each step, in [0, 1).
        beta_2: the same for the mean of g².
        epsilon: what keeps the division from 0, > 0.
        amsgrad: whether the largest v so far is taken.
        epsilon_hat: whether epsilon is added before the bias correction.

    >>> Adam(learning_rate=1e-3).beta_2
    0.999
    """

    kind: ClassVar[str] = "ADAM"
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    amsgrad: bool = False
    epsilon_hat: bool = False


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay, theta -= a w theta (Loshchilov & Hutter 2019).

    >>> AdamW().weight_decay
    0.01
    """

    decoupled: ClassVar[bool] = True
    weight_decay: float | Schedule = field(default=0.01, kw_only=True)


@dataclass(frozen=True)
class Nadam(Optimizer):
    """Adam with Nesterov's momentum (Dozat 2016); momentum decay 0.004.

    Args:
        beta_1: share of the old running mean of g that is kept in each step, in [0, 1).
        beta_2: the same for the mean of g².
        epsilon: what keeps the division from 0, > 0.

    >>> Nadam().learning_rate
    0.002
    """

    kind: ClassVar[str] = "NADAM"
    learning_rate: float | Schedule = 0.002
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8


@dataclass(frozen=True)
class Lion(Optimizer):
    """theta -= a sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g; decoupled weight decay (Chen et al. 2023).

    Args:
        beta_1: b1, how much of the running mean is in the step, in [0, 1).
        beta_2: b2, share of the old running mean that is kept, in [0, 1).

    >>> Lion().beta_2
    0.99
    """

    kind: ClassVar[str] = "LION"
    decoupled: ClassVar[bool] = True
    learning_rate: float | Schedule = 1e-4
    beta_1: float = 0.9
    beta_2: float = 0.99


BY_NAME = {cls.__name__.lower(): cls for cls in (SGD, RMSprop, Adagrad, Adadelta, Adam, AdamW, Nadam, Lion)}

for _class in BY_NAME.values():
    _class.__init__ = told(_class.__init__)  # type: ignore[method-assign]


def get(optimizer: str | Optimizer) -> Optimizer:
    """The optimizer of that name with its defaults, or the one given.

    >>> get("adam").learning_rate
    0.001
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    if not isinstance(optimizer, str):
        raise TypeError(f"optimizer must be a name or a cnn.Optimizer, got {optimizer!r}")
    name = naming.normalise(optimizer)
    if name not in BY_NAME:
        raise naming.unknown("optimizer", optimizer, BY_NAME)
    return BY_NAME[name]()
