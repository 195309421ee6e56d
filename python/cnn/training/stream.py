"""Fits on rows that are read while the network trains: what is checked before the first step."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cnn import schedules
from cnn._common import checks, threads
from cnn._common.images import Images, Takes, is_bytes
from cnn.runtime import data, evaluation
from cnn.runtime.data import Data
from cnn.runtime.state import NetworkState
from cnn.streams.arrays import Arrays, is_mapped
from cnn.streams.batches import Batches, is_batches
from cnn.streams.parquet import Parquet
from cnn.streams.source import Form, Source
from cnn.training.calls import Evaluation
from cnn.training.checkpoint import Checkpoint
from cnn.training.fit import Asked, Fit, FitOptions, ready, trained_on
from cnn.training.loop import Loop
from cnn.training.stream_loop import HeldOut, StreamLoop


def is_stream(X: Any, y: Any) -> bool:
    """Whether rows are to be read: from a path, or from what gives batches.

    >>> is_stream("rows.parquet", "y"), is_stream([([[1.0]], [2.0])], None), is_stream([[1.0]], [2.0])
    (True, True, False)
    """
    return _is_path(X, y) or (y is None and is_batches(X))


def _is_path(X: Any, y: Any) -> bool:
    """Whether X is meant as one: a text beside numbers is a mistake."""
    if isinstance(y, list | tuple):
        y = y[0] if y else None
    return isinstance(X, os.PathLike) or (isinstance(X, str) and (y is None or isinstance(y, str)))


def is_wanted(asked: bool | None, X: Any, y: Any, net: NetworkState) -> bool:
    """Whether to read by pieces: streams always, arrays if asked to, or where they lie in a file and are too large."""
    if asked is not None:
        checks.flag("stream", asked)
    if is_stream(X, y) or asked:
        return True
    if isinstance(X, list | tuple) and is_batches(X):
        raise ValueError("X is a list of batches (X, y), which have their targets in them: leave y out")
    if asked is not None or not is_mapped(X):
        return False
    kept = is_bytes(X) and isinstance(net.takes, Images)
    return max(X.nbytes, 0 if kept else X.size * net.dtype.itemsize) > threads.free_memory()


def prepare(net: NetworkState, X: Any, y: Any, options: FitOptions) -> StreamFit:
    """The fit on such rows, or on arrays that are read by pieces; nothing is touched but the first batch of X."""
    asked = Asked.of(net, options)
    train, validation = sources(net, X, y, asked)
    batch, steps = steps_of(net, options.batch_size, train.rows, train.batches)
    return ready(StreamFit, net, train, validation, batch, asked, train.rows or 0, steps)


def steps_of(net: NetworkState, batch: int | None, rows: int | None, batches: int | None) -> tuple[int, int]:
    """(rows of a step, steps of an epoch) with 0 for what is not known; refuses schedules that need it."""
    steps = batches if batch is None else None if rows is None else -(-rows // batch)
    if batch is not None and rows is not None:
        batch = min(batch, rows)
    if steps is None:
        _step_alone(net)
    return batch or 0, steps or 0


def sources(net: NetworkState, X: Any, y: Any, asked: Asked) -> tuple[Source, Data | Source | None]:
    """(rows to train on, rows held out), all arguments of the fit checked."""
    options = asked.options
    share, batch = asked.share, options.batch_size
    if batch is not None:
        checks.integer("batch_size", batch, 1)
    for hook in asked.hooks:
        if isinstance(hook, Checkpoint) and hook.unit != "epochs":
            raise ValueError(f"Checkpoint of a stream is written at ends of epochs, got unit={hook.unit!r}")
    form = Form(net.loss, net.dtype, net.n_outputs)
    train = _source(X, y, options.sample_weight, form, net.takes)
    if batch is None and not isinstance(train, Batches):
        raise ValueError("batch_size=None takes all rows in one step; give a number for rows that are read by pieces")
    if train.once and asked.more > 1:
        raise ValueError(
            f"epochs={asked.epochs} of a {type(X).__name__}, which can be read once: give epochs=1, or what begins "
            "anew with each iter(), such as a list or a loader"
        )
    train, validation = _held_out(net, train, y, share, asked)
    train = _weighted(train, options.class_weight, net)
    for rows in (train, validation):
        evaluation.check(net.loss, rows.first() if isinstance(rows, Source) else rows, net.n_outputs, asked.metrics)
    return train, validation


def _step_alone(net: NetworkState) -> None:
    """Refuses schedules that look at the epoch or at the end of the fit."""
    for given in (net.optimizer.learning_rate, net.optimizer.weight_decay, net.dropout_factor):
        if given is not None and (schedule := schedules.get(given)).of_a_fit:
            raise ValueError(
                f"the schedule {type(schedule).__name__} needs the number of steps, which this stream does not tell: "
                "give a list, a Parquet file, arrays, or batch_size=None and batches that have a length"
            )


def _source(X: Any, y: Any, weights: Any, form: Form, takes: Takes) -> Source:
    """The rows of a path, of batches, or of arrays."""
    if _is_path(X, y):
        return Parquet.of(X, y, weights, form, takes)
    if y is None and is_batches(X):
        if weights is not None:
            raise ValueError("weights of batches stand in them, as (X, y, weights), not in sample_weight")
        return Batches(X, form, takes)
    return Arrays(X, y, weights, form, takes)


def _held_out(
    net: NetworkState, train: Source, y: Any, share: float, asked: Asked
) -> tuple[Source, Data | Source | None]:
    """(rows to train on, rows held out): the last ones of a file or of arrays, or those that are given."""
    given, form = asked.options.validation_data, replace(train.form, prefix="validation ")
    if share > 0:
        if not isinstance(train, Parquet | Arrays):
            raise ValueError("validation_split needs rows that are read from a file or arrays; give validation_data")
        assert train.rows is not None
        kept = trained_on(train.rows, share)
        return train.share(0, kept), train.share(kept, train.rows)
    if given is None:
        return train, None
    if isinstance(given, str | os.PathLike):
        given = (given, y)
    if isinstance(given, list) and given and all(isinstance(batch, tuple) for batch in given):
        pass  # batches
    elif isinstance(given, tuple | list):
        X, target, weights = data.validation_sets(given)
        if not isinstance(X, str | os.PathLike):
            return train, data.prepare(
                X, target, weights, net.loss, net.dtype, train.takes, net.n_outputs, "validation "
            )  # fmt: skip
        return train, _source(X, target, weights, form, train.takes)
    elif not is_batches(given):
        data.validation_sets(given)  # raises
    found = Batches(given, form, train.takes)
    if found.once and asked.more > 1:
        raise ValueError("validation_data must begin anew for each epoch, as a list or a loader does")
    return train, found


def _weighted(train: Source, class_weight: Any, net: NetworkState) -> Source:
    """The source with weights of classes in its form; "balanced" reads all rows once to count them."""
    if class_weight is None:
        return train
    n = max(net.n_outputs, 2)
    data.labels_of(train.first(), net.loss, net.n_outputs)  # raises where there are none
    counts = np.ones(n, np.int64)
    if class_weight == "balanced":
        if train.once:
            raise ValueError("class_weight='balanced' counts all rows first, and this stream can be read once")
        counts = np.zeros(n, np.int64)
        for rows in train.parts(0, None):
            counts += np.bincount(data.labels_of(rows, net.loss, net.n_outputs), minlength=n)
    factors = data.class_factors(class_weight, counts)
    data.warn_of_classes(class_weight, counts)
    train.form = replace(train.form, factors=factors)
    return train


@dataclass
class StreamFit(Fit):
    """A `Fit` whose rows are a `Source`."""

    train: Source  # type: ignore[assignment]

    @property
    def sample(self) -> Data:
        return self.train.first()

    def _loop(self) -> Loop:
        at, batch = self.identity.position, self.identity.batch
        seed = self.net.seed if self.identity.shuffle else None
        return StreamLoop(
            self.net, self.train, batch or None, seed, self.metrics, at, self.about.epochs, self.n_threads, self.begun,
            self.about.steps_per_epoch,
        )  # fmt: skip

    def _held_out(self) -> Evaluation | None:
        if isinstance(self.validation, Source):
            return Evaluation(HeldOut(self.net, self.validation, self.metrics), self.n_threads)
        return super()._held_out()
