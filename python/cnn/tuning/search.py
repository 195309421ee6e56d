"""`cnn.search`: what is searched, on which rows, and by which measure; study.py does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cnn import losses, metrics
from cnn._common import checks, console
from cnn._common.elsewhere import told
from cnn._common.images import Takes, alike
from cnn._common.types import MetricName, Mode, RealType
from cnn.callbacks.monitors import LARGER
from cnn.losses import Loss, LossName
from cnn.metrics import Metric
from cnn.network import Network
from cnn.runtime import data, evaluation
from cnn.runtime.data import Array, Data
from cnn.tuning import study
from cnn.tuning.candidates import LOSS, Measure, Task
from cnn.tuning.result import SearchResult
from cnn.tuning.space import Function, Space


@told
def search(
    space: Mapping[str, Any] | Callable[[Any], Any], X: Any, y: Any, *, budget: int, epochs: int = 50,
    batch_size: int | None = 128, loss: LossName | Loss = "mse", valid: float = 0.2,
    validation_data: Sequence[Any] | None = None, cv: Any = None, groups: Any = None, sample_weight: Any = None,
    class_weight: Any = None, metric: MetricName | str | Metric = "auto", mode: Mode = "auto",
    patience: int | None = None, factor: int = 3, at_once: int = 16, sampler: Any = None, pruner: Any = None,
    storage: Any = None, name: str = "cnn", dtype: RealType = "float32", seed: int = 0, verbose: int = 1,
    n_threads: int | None = None,
) -> SearchResult:  # fmt: skip
    """Tries settings of a network that Optuna proposes, and gives the best. Needs the extra `search`.

    Batches of settings are trained side by side. After a ninth and a third of the epochs those that do not belong to
    the best third of all so far are given up (successive halving: Jamieson & Talwalkar 2016, Li et al. 2020).

    Args:
        space: settings by name: (low, high), (low, high, "log") or a list of choices for any of hidden (or units and
            depth), activation, dropout, l1, l2, optimizer, learning_rate, schedule, weight_decay, clip_norm,
            batch_size. Or a function of an Optuna trial that builds a `cnn.Network`, or a pair of it and
            {"batch_size": n}.
        X, y: as `Network.fit` takes them.
        budget: how many settings to try in all, those that `storage` has from before included.
        epochs: of a setting that is trained to the end.
        batch_size: where the space has none.
        loss, dtype: of the network where the space is a dict.
        valid: the share of the rows that is held out for the score, drawn by the seed (as of `TableModel`).
        validation_data: (X, y) or (X, y, sample_weight) for the score, instead.
        cv: a number of folds or a splitter of scikit-learn's, of which the mean score counts, instead.
        groups: (n,) of the rows, for such a splitter.
        sample_weight, class_weight: as `Network.fit` takes them.
        metric: what counts, a name of `cnn.metrics` or a function; "auto" is rmse for loss mse, else the loss, without
            penalties. The best epoch of each network counts.
        mode: "min", "max" or "auto" (by the name; a function's is "min").
        patience: epochs without a better score after which a network stops, None for none.
        factor: 1 of so many is kept each time; 1 gives none up.
        at_once: settings that are trained side by side, each fold a network.
        sampler, pruner: of Optuna's, in place of its TPESampler and of successive halving.
        storage, name: a file, a URL of a database or one of Optuna's storages that keeps what was tried, under the
            name: the same call with the same data goes on there, with a larger budget, or after a break: then it tries
            what it would have tried without the break, to the same bits. A `sampler` of your own begins with its seed
            again, for its state is not in the storage: what it had proposed is tried again, what follows may differ.
        seed: of the proposals, the networks and what is held out.
        n_threads: settings at work at the same time; None: as many as there are cores.
        verbose: 1 says how it goes after each part of a batch, 0 nothing.

    Raises:
        ValueError: a space without values, an unknown name, a budget below `factor`, a study in `storage` of other
            data or options.
        TypeError: descriptions that are none, a function that builds no network.
        ImportError: Optuna is not installed.
        cnn.DivergenceError: no setting could be trained to the end, or the metric was never finite.

    >>> import numpy as np, cnn
    >>> X = np.random.default_rng(0).normal(size=(300, 3))
    >>> space = {"units": (4, 32, "log"), "learning_rate": (1e-3, 0.1, "log"), "activation": ["relu", "tanh"]}
    >>> found = cnn.search(space, X, X[:, 0] * X[:, 1], budget=6, epochs=18, verbose=0)
    >>> sorted(found.best_settings), found.results["state"].count("complete") >= 1
    (['activation', 'learning_rate', 'units'], True)
    """
    say = console.say if checks.integer("verbose", verbose, 0) else None
    options = study.checked(budget, factor, at_once, sampler, pruner, storage, name, seed, say)
    checks.integer("epochs", epochs, 1)
    if patience is not None:
        checks.integer("patience", patience, 1)
    if n_threads is not None:
        checks.integer("n_threads", n_threads, 1)
    if batch_size is not None:
        checks.integer("batch_size", batch_size, 1)
    build, of_what = _builder(space, y, losses.get(loss), dtype, batch_size)
    rows = data.prepare(X, y, sample_weight, of_what[0], of_what[1], _takes(build), of_what[2])
    measure = measured(metric, mode, of_what[0])
    held_out = _held_out(rows, valid, validation_data, cv, groups, options.seed, *of_what)
    for _, fold in held_out:
        evaluation.check(of_what[0], fold, of_what[2], {} if measure.metric is None else {measure.name: measure.metric})
    data.with_class_weights(rows, class_weight, of_what[0], of_what[2], of_what[1])  # errors before anything is trained
    task = Task(rows, held_out, measure, epochs, patience, class_weight, n_threads)
    return study.run(build, task, options)


def _builder(
    space: Any, y: Any, loss: Loss, dtype: Any, batch_size: int | None
) -> tuple[Space | Function, tuple[Loss, Any, int]]:
    """What builds the networks; and the loss, the type and the outputs that they have."""
    if callable(space) and not isinstance(space, Network):
        build = Function(space, batch_size)
        net, _ = build(study.trial_to_try(), 0)
        build.expected = net
        return build, (net.loss, net.dtype, net.n_outputs)
    if not isinstance(space, Mapping):
        raise TypeError(f"space must be a dict of settings or a function of a trial, got {space!r}")
    kind, targets = checks.real_dtype(dtype), checks.array("y", y)
    n = targets.shape[1] if targets.ndim == 2 else 1
    if loss.one_class and targets.ndim == 1 and len(targets):
        n = int(checks.classes("y", targets, 1 << 31).max()) + 1
        if n > max(len(targets), 2):
            raise ValueError(
                f"y must hold classes 0, 1, 2, ... with rows of most of them, got {n - 1} in {len(targets)} rows; "
                "np.unique(y, return_inverse=True) numbers the labels"
            )
    n_outputs = max(n, 1) * loss.facts.outputs
    return Space(space, n_outputs, loss, kind, batch_size), (loss, kind, n_outputs)


def _takes(build: Space | Function) -> Takes:
    """What X must be for the networks that it builds, which may be images for those of a function."""
    return build.expected.takes if isinstance(build, Function) and build.expected is not None else None


def measured(metric: Any, mode: Any, loss: Loss) -> Measure:
    """What settings are compared by."""
    if mode not in ("auto", "min", "max"):
        raise ValueError(f"mode must be 'auto', 'min' or 'max', got {mode!r}")
    if isinstance(metric, str) and metric in ("auto", LOSS):
        if metric == LOSS or loss.name != "mse":
            return Measure(LOSS, None, mode == "max")
        metric = "rmse"
    name, function = metrics.get(metric)
    return Measure(name, function, name in LARGER if mode == "auto" else mode == "max")


def _held_out(
    rows: Data, valid: Any, validation_data: Any, cv: Any, groups: Any, seed: int, loss: Loss, dtype: Any, n: int
) -> list[tuple[Array, Data]]:
    """The rows to train on and those held out, of each fold."""
    everything = np.arange(len(rows))
    if validation_data is not None:
        if cv is not None:
            raise ValueError("give validation_data or cv, not both")
        given = data.validation_sets(validation_data)
        return [(everything, data.prepare(*given, loss, dtype, alike(rows.X), n, "validation "))]
    if cv is not None:
        try:
            from cnn.sklearn.cross_validation import splits
        except ImportError as error:
            raise ImportError("cv needs scikit-learn (extra 'sklearn'): pip install scikit-learn") from error
        return [(train, rows.take(test)) for train, test in splits(cv, rows, loss.for_classes, groups)]
    share = checks.number("valid", valid, 0, 1, open_low=True, open_high=True)
    order = np.random.default_rng(seed).permutation(len(rows))
    if rows.classes is not None:  # each class gives its share
        order = order[np.argsort(rows.classes[order], kind="stable")]
    taken = np.diff(np.floor(np.arange(len(rows) + 1) * share + 0.5)) > 0
    if taken.all() or not taken.any():
        raise ValueError(f"valid={share:g} of {len(rows)} rows leaves {int((~taken).sum())} to train on and "
                         f"{int(taken.sum())} to score on")  # fmt: skip
    held_out = rows.take(np.sort(order[taken]))
    if not held_out.weight:
        raise ValueError(f"sample_weight is zero for every row that valid={share:g} holds out")
    return [(np.sort(order[~taken]), held_out)]
