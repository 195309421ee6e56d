"""`cnn.find_learning_rate`: Smith's range test, a short training whose learning rate rises from step to step."""

from __future__ import annotations

import copy
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import gaussian_filter1d

from cnn import plots
from cnn._common import checks
from cnn._common.elsewhere import told
from cnn._common.errors import NonFiniteError
from cnn.augment import Augmentation
from cnn.callbacks import Callback, Logs, Run
from cnn.network import Network
from cnn.optimizers import Optimizer
from cnn.runtime.data import Array
from cnn.schedules import Rates, Schedule
from cnn.table import TableModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SMOOTHING = 0.03  # the width of the filter, as a share of the steps
_FALL = 0.95  # the suggested rate has made so much of the fall
_SLOW = 0.9  # of the moving average that tells whether the loss diverges
_FEWEST = 10
_BATCH = 128


@dataclass(frozen=True)
class LearningRateRange:
    """What a range test has found, and the rate that follows from it.

    Args:
        learning_rates, losses: of its steps, (n,) float64.
        smoothed: (n,) the losses without noise.
        suggestion: the smallest rate at which they have made 95 % of their fall, None where they do not fall.
        diverged: whether the test ended before its last rate because the loss rose far above where it began, or was no
            longer finite.

    >>> import numpy as np
    >>> LearningRateRange(np.ones(2), np.ones(2), np.ones(2), 0.01, False).suggestion
    0.01
    """

    learning_rates: Array
    losses: Array
    smoothed: Array
    suggestion: float | None
    diverged: bool

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """The losses over the rates (needs the extra `plot`)."""
        figure = plots.learning_rates(self.learning_rates, self.losses, self.smoothed, self.suggestion)
        if path is not None:
            figure.savefig(path, dpi=120)
        return figure

    def __repr__(self) -> str:
        found = "no rate that lowers the loss" if self.suggestion is None else f"suggestion {self.suggestion:.3g}"
        end = ", where the loss diverged" if self.diverged else ""
        low, high = self.learning_rates[[0, -1]]
        return f"LearningRateRange({found}; {len(self.losses)} steps from {low:.3g} to {high:.3g}{end})"


@told
def find_learning_rate(
    network: Any,
    X: Any,
    y: Any = None,
    *,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 200,
    batch_size: int | None = _BATCH,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | str | None = None,
    augment: Augmentation | Iterable[Augmentation] | None = None,
    n_threads: int | None = None,
) -> LearningRateRange:
    """The loss at every learning rate from `low` to `high`, by a short training of a copy, and a rate that suits.

    The rate of step i is low (high / low)^(i / (steps - 1)). The test ends early where the loss diverges. The network
    stays as it is: a copy is trained, from where the network stands, by the same optimizer but for its rate, in the
    order of rows that its seed draws; so the same call finds the same. Epochs are made until the steps are. What is
    suggested is meant as the peak of a schedule or as a constant rate for a fit with this batch size.

    Args:
        network: a `cnn.Network`; or a model whose parameters count, its batch size, too: a `cnn.MLPClassifier` or
            `cnn.MLPRegressor`, whose `learning_rate_init` is looked for, a `cnn.TableModel` or `cnn.ImageClassifier`,
            whose `learning_rate` is. Of a `TableModel` its first network is trained; an `ImageClassifier` changes
            images as its `augment` says, by "auto" not at all.
        X, y: as `fit` takes them, tables and folders of pictures too; batches must begin anew with each iter().
        low, high: the range, 0 < low < high.
        steps: of the test, >= 10; more of them are less noisy.
        batch_size, class_weight, augment: as of `Network.fit`; for networks alone.
        sample_weight: as of `fit`.
        n_threads: as of `fit`; the same bits for every number. Estimators and image classifiers have their own.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range, or what `fit` raises.
        NonFiniteError: the loss is not finite in the first step.

    Smith 2017, "Cyclical learning rates for training neural networks"; rates rise geometrically, as in fastai.

    >>> import cnn, numpy as np
    >>> X = np.random.default_rng(0).normal(size=(500, 3))
    >>> net = cnn.Network([cnn.Dense(16, "relu"), cnn.Dense(1)], seed=0)
    >>> found = cnn.find_learning_rate(net, X, X[:, 0] * X[:, 1])
    >>> 1e-3 < found.suggestion < 1.0, found.diverged
    (True, True)
    >>> net.optimizer = cnn.Adam(found.suggestion)
    >>> model = cnn.TableModel(seed=0)
    >>> model = cnn.TableModel(learning_rate=cnn.find_learning_rate(model, X, X[:, 0] * X[:, 1]).suggestion, seed=0)
    """
    low = checks.number("low", low, 0, open_low=True)
    high = checks.number("high", high, low, open_low=True)
    watch = _Watch(_Sweep(low, high, checks.integer("steps", steps, _FEWEST)))
    how: dict[str, Any] = {} if sample_weight is None else {"sample_weight": sample_weight}
    given: dict[str, Any] = {"batch_size": batch_size, "class_weight": class_weight, "augment": augment}
    if isinstance(network, Network):
        how |= {"epochs": steps, "metrics": (), "callbacks": [watch], "verbose": 0, "n_threads": n_threads, **given}
        watch.through(lambda: copy.deepcopy(network).fit(X, y, **how))
        return watch.found()
    if isinstance(network, TableModel):
        how |= {"callbacks": [watch], "verbose": 0, "n_threads": n_threads}
        made = _table(network, watch)
    else:
        made = _estimator(network, watch)
        given["n_threads"] = n_threads
    for name, value in given.items():
        if value != (_BATCH if name == "batch_size" else None):
            raise ValueError(
                f"{name} is for networks: an estimator has its own parameters, got {name}={value!r}"
            )
    watch.through(lambda: made.fit(X, y, **how))
    return watch.found()


@dataclass(frozen=True)
class _Sweep(Schedule):
    """From `learning_rate` to `high` in so many steps, by the same factor each."""

    high: float = 1.0
    steps: int = 2

    @property
    def of_a_fit(self) -> bool:
        return False

    def at(self, step: Rates, per_epoch: int, total: int) -> Rates:
        return self.learning_rate * (self.high / self.learning_rate) ** np.minimum(step / (self.steps - 1), 1)


class _Enough(Exception):
    """The test has made its steps."""


class _Watch(Callback):
    """Has the rates rise and keeps the losses; ends the fit after the last step, or where the losses diverge."""

    def __init__(self, sweep: _Sweep) -> None:
        self.sweep, self.steps = sweep, sweep.steps
        self.losses: list[float] = []
        self.diverged = False
        self._sum, self._first, self._best = 0.0, math.nan, math.inf

    def on_fit_begin(self, network: Any, run: Run) -> None:
        network.optimizer, network.rate_factor = replace(network.optimizer, learning_rate=self.sweep), 1.0

    def on_train_batch_end(self, network: Any, batch: int, logs: Logs) -> None:
        self.losses.append(logs["loss"])
        n = len(self.losses)
        self._sum = _SLOW * self._sum + (1 - _SLOW) * logs["loss"]
        mean = self._sum / (1 - _SLOW**n)
        self._first = mean if n == 1 else self._first
        self._best = min(self._best, mean)
        self.diverged = mean - self._best > 3 * max(abs(self._first), abs(self._best))
        if self.diverged or n >= self.steps:
            raise _Enough

    def through(self, fit: Callable[[], object]) -> None:
        """Makes the fit, up to the end of the test."""
        try:
            fit()
        except _Enough:
            pass
        except NonFiniteError:
            if not self.losses:
                raise
            self.diverged = True

    def found(self) -> LearningRateRange:
        losses = np.array(self.losses)
        rates = self.sweep.rates(0, len(losses), 1, 1)
        smoothed = gaussian_filter1d(losses, _SMOOTHING * self.steps, mode="nearest")
        return LearningRateRange(rates, losses, smoothed, suggested(rates, smoothed), self.diverged)


def suggested(rates: Array, smoothed: Array) -> float | None:
    """The smallest rate at which the losses have made 95 % of their fall; None where they do not fall.

    >>> suggested(np.array([0.1, 0.2, 0.3, 0.4]), np.array([1.0, 0.5, 0.0, 2.0]))
    0.3
    """
    fall = smoothed[: int(np.argmin(smoothed)) + 1]
    high, low = fall.max(), fall[-1]
    if not high > low:
        return None
    return float(rates[np.flatnonzero(fall <= high - _FALL * (high - low))[0]])


def _table(model: TableModel, watch: _Watch) -> TableModel:
    """A fresh model with the same settings and seed, whose one network makes the test."""
    params = {**model.get_params(), "seed": model.seed}
    return TableModel(**{**params, "members": 1, "epochs": watch.steps, "patience": None, "max_seconds": None})


def _estimator(model: Any, watch: _Watch) -> Any:
    """A fresh estimator with the same parameters, which makes the test in its fit."""
    solver = getattr(model, "solver", None)
    if not hasattr(model, "get_params") or not (isinstance(solver, str | Optimizer) or _is_of_images(model)):
        raise TypeError(
            "find_learning_rate takes a cnn.Network, a cnn.MLPClassifier or MLPRegressor, a cnn.TableModel or a "
            f"cnn.ImageClassifier, got {model!r}"
        )
    from sklearn.base import clone

    how: dict[str, Any] = {"callbacks": [watch], "max_seconds": None, "verbose": 0}
    if solver is None:
        changes = None if isinstance(model.augment, str) else model.augment
        return clone(model).set_params(epochs=watch.steps, augment=changes, validation_split=0.0, **how)
    if solver == "lbfgs":
        raise ValueError("solver='lbfgs' has no learning rate")
    from cnn.sklearn.build import describe_optimizer

    return clone(model).set_params(
        solver=replace(describe_optimizer(model), learning_rate=watch.sweep), max_iter=watch.steps, tol=0.0,
        n_iter_no_change=watch.steps + 1, early_stopping=False, warm_start=False, metrics=(), **how,
    )  # fmt: skip


def _is_of_images(model: Any) -> bool:
    if "cnn.images" not in sys.modules:  # whose scikit-learn need not be there
        return False
    from cnn.images import ImageClassifier

    return isinstance(model, ImageClassifier)
