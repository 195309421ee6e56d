"""A fit in two halves: `prepare` checks everything and touches nothing, `Fit.run` trains."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import cnn_core
from cnn import augment, callbacks
from cnn._common import checks, console, images, threads
from cnn.mpi.shared import Shared
from cnn.runtime import data, evaluation, sizes
from cnn.runtime.data import Array, Data, Once
from cnn.runtime.history import History
from cnn.runtime.sparse import SparseRows
from cnn.runtime.state import NetworkState
from cnn.streams.source import Source
from cnn.training import checkpoint, resume
from cnn.training.calls import Calls, Evaluation, Pace, drive
from cnn.training.events import check_all, those_that_need
from cnn.training.loop import Loop
from cnn.training.position import FitIdentity, Position
from cnn.training.step_numbers import check_dropout

T = TypeVar("T")
F = TypeVar("F", bound="Fit")


@dataclass
class FitOptions:
    """The arguments of `Network.fit`."""

    epochs: int
    batch_size: int | None
    validation_split: float = 0.0
    validation_data: Any = None
    sample_weight: Any = None
    class_weight: Mapping[int, float] | str | None = None
    shuffle: bool = True
    initial_epoch: int | None = None
    metrics: str | Callable[..., float] | Iterable[Any] = "auto"
    callbacks: Any = ()
    verbose: int = 0
    n_threads: int | None = None
    resume: Any = None
    rows: Any = None  # of X and y, where not all are trained on
    same_rows: bool = False  # among several ranks: whether all have given the same ones
    exchange_every: int = 1  # steps that each rank makes alone
    augment: Any = None


@dataclass(frozen=True)
class Asked:
    """What a fit is asked for beside its rows: checked, with callbacks for what is shown."""

    epochs: int
    initial_epoch: int | None
    first: int
    verbose: int
    metrics: evaluation.Metrics
    hooks: list[callbacks.Callback]
    options: FitOptions

    @staticmethod
    def of(net: NetworkState, options: FitOptions) -> Asked:
        epochs = checks.integer("epochs", options.epochs, 0)
        given = options.initial_epoch
        first = net.epoch if given is None else checks.integer("initial_epoch", given, 0, 1 << 62)
        verbose = options.verbose
        verbose = int(verbose) if isinstance(verbose, bool) else checks.integer("verbose", verbose, 0)
        checks.flag("shuffle", options.shuffle)
        checks.flag("same_rows", options.same_rows)
        checks.integer("exchange_every", options.exchange_every, 1)
        options = replace(options, augment=augment.all_of(options.augment))  # an iterator is used up by it
        measured = evaluation.resolve(options.metrics, net.loss)
        hooks = _with_output(callbacks.all_of(options.callbacks), verbose)
        if options.n_threads is not None:
            checks.integer("n_threads", options.n_threads, 1)
        return Asked(epochs, given, first, verbose, measured, hooks, options)

    @property
    def more(self) -> int:
        """How many epochs are to come, if the fit is not resumed."""
        return self.epochs if self.initial_epoch is None else max(self.epochs - self.initial_epoch, 0)

    @property
    def share(self) -> float:
        """What is held out of the rows."""
        share = checks.number("validation_split", self.options.validation_split, 0, 1, open_high=True)
        if self.options.validation_data is not None and share > 0:
            raise ValueError("give validation_split or validation_data, not both")
        return share


def prepare(net: NetworkState, X: Any, y: Any, options: FitOptions, once: Once | None = None) -> Fit:
    """The fit of these arguments, all of them checked (see `Network.fit` for the errors); nothing is touched.

    Fits that are given the same `once` share the data that they are given alike.
    """
    asked = Asked.of(net, options)
    train, validation = split(net, X, y, asked, Once() if once is None else once)
    for rows in (train, validation):
        if rows is not None:
            suits = partial(evaluation.check, net.loss, rows, net.n_outputs, asked.metrics)
            rows.once(("metrics", net.loss, net.n_outputs, tuple(asked.metrics.items())), suits)
    batch = options.batch_size
    batch = len(train) if batch is None else min(checks.integer("batch_size", batch, 1), len(train))
    return ready(Fit, net, train, validation, batch, asked, len(train), -(-len(train) // batch))


def ready(
    kind: type[F], net: NetworkState, train: Any, validation: Any, batch: int, asked: Asked, rows: int, steps: int,
    among: Shared | None = None,
) -> F:  # fmt: skip
    """The fit that begins where the network stands, or the newest checkpoint; `rows` and `steps` are those of an epoch.

    Raises:
        ValueError: a checkpoint of another fit, a callback that this one can't serve.
    """
    options, first = asked.options, asked.first
    shape = (train.first() if isinstance(train, Source) else train).X.shape[1:]
    net.check_images(shape)
    changed = augment.all_of(options.augment)
    changes = augment.changes(changed, shape, net.takes.axes if isinstance(net.takes, images.Images) else ())
    names = ["loss", *asked.metrics]
    names += [f"val_{name}" for name in names] if validation is not None else []
    at = Position(first, net.step, len(net.history), first, training=net.training_id)
    identity = FitIdentity(
        batch, options.shuffle, tuple(names), train, validation, asked.hooks, at, among, options.exchange_every,
        tuple(map(repr, changed)),
    )
    folders = [hook.folder for hook in asked.hooks if isinstance(hook, checkpoint.Checkpoint)]
    saved = None
    if options.resume is not None:
        saved = identity.ranks.broadcast(resume.find(options.resume, folders) if identity.ranks.first else None)
    if saved is not None:
        saved.check(net, identity)
        at = identity.position = saved.position
    last = at.first_epoch + asked.epochs if asked.initial_epoch is None else max(asked.epochs, at.first_epoch)
    check_dropout(net, steps, (last - (at.first_epoch if asked.initial_epoch is None else 0)) * steps)
    step, resumed = (net.step, None) if saved is None else (saved.net.step, saved.path.parent)
    shown = (*names, "learning_rate", "seconds")
    begun = at.first_epoch if asked.initial_epoch is None else 0
    run = callbacks.Run(
        at.epoch, last, rows, steps, shown, step, resumed, identity, begun=begun,
        learning_rate=net.optimizer.learning_rate,
    )  # fmt: skip
    hooks = [hook for hook in asked.hooks if identity.ranks.first or not hook.writes]
    check_all(hooks, run)
    return kind(
        net, train, validation, asked.metrics, hooks, identity, run, saved, asked.verbose, options.n_threads,
        asked.initial_epoch, changes=changes,
    )  # fmt: skip


def of_rows(net: NetworkState, train: Data, epochs: int, batch: int) -> Fit:
    """The silent fit of a network on rows that are checked already."""
    at = Position(net.epoch, net.step, len(net.history), net.epoch, training=net.training_id)
    identity = FitIdentity(batch, True, ("loss",), train, None, [], at)
    names = ("loss", "learning_rate", "seconds")
    last, steps = at.epoch + epochs, -(-len(train) // batch)
    run = callbacks.Run(at.epoch, last, len(train), steps, names, net.step, None, identity)
    return Fit(net, train, None, {}, [], identity, run, None, 0, None, None)


def _with_output(hooks: list[callbacks.Callback], verbose: int) -> list[callbacks.Callback]:
    """With what `verbose` shows; checkpoints come last, for they keep what the others made of an epoch."""
    if verbose:
        hooks.append(callbacks.Progress() if verbose == 1 else callbacks.EpochLines())
    return sorted(hooks, key=lambda hook: isinstance(hook, checkpoint.Checkpoint))


def trained_on(rows: int, share: float) -> int:
    """How many of the rows are left when the last `share` of them is held out."""
    held_out = round(rows * share)
    if held_out in (0, rows):
        raise ValueError(
            f"validation_split={share:g} of {rows} rows leaves {rows - held_out} to train on and {held_out} to "
            "validate on"
        )
    return rows - held_out


def split(
    net: NetworkState, X: Any, y: Any, asked: Asked, once: Once,
    everywhere: Callable[[Array], Array] = lambda counts: counts,
) -> tuple[Data, Data | None]:  # fmt: skip
    """Training and validation rows, all checked; `everywhere` as of `with_class_weights`."""
    share, options, k = asked.share, asked.options, net.n_outputs
    everything = once(data.prepare, X, y, options.sample_weight, net.loss, net.dtype, net.takes, k)
    if options.rows is not None:
        everything = once(data.subset, everything, options.rows)
    train, validation = everything, None
    if share > 0:
        kept = trained_on(len(everything), share)
        train, validation = once(Data.rows, everything, 0, kept), once(Data.rows, everything, kept, len(everything))
    if options.validation_data is not None:
        given = data.validation_sets(options.validation_data)
        validation = once(data.prepare, *given, net.loss, net.dtype, _like(train), k, "validation ")
    for part, what in ((train, "training"), (validation, "validation")):
        if part is not None and part.weights is not None and not part.weights.any():
            raise ValueError(f"sample_weight is zero for every {what} row")
    return once(data.with_class_weights, train, options.class_weight, net.loss, k, net.dtype, everywhere), validation


def _like(train: Data) -> images.Takes:
    """What rows must be that follow those to train on."""
    takes = images.alike(train.X)
    return replace(takes, pixels=pixels_of(train)) if isinstance(takes, images.Images) else takes


def pixels_of(rows: Data) -> images.Pixels:
    """What images hold, looked at once."""
    return rows.once("pixels", partial(images.pixels, rows.X))


@dataclass
class Fit:
    """A fit that is ready to run: rows, metrics and callbacks, and the checkpoint that it goes on from, if any."""

    net: NetworkState
    train: Data
    validation: Data | None
    metrics: evaluation.Metrics
    hooks: list[callbacks.Callback]
    identity: FitIdentity
    about: callbacks.Run
    saved: resume.Saved | None
    verbose: int
    n_threads: int | None
    initial_epoch: int | None
    alone: bool = True  # else it shares the threads with others: each of its steps is made by one
    pace: Pace | None = None
    changes: augment.Changes | None = None  # of images, in each step

    @property
    def sample(self) -> Data:
        """Rows that show what all are like."""
        return self.train

    @checks.quiet
    def run(self) -> History:
        """Trains, and gives the history of this call. The activations are chosen by now, or the checkpoint's."""
        self.begin()
        ends: list[Callable[[], None]] = []
        work = partial(cnn_core.finishing, lambda: drive(self.calls(ends)), ends)
        threads.without_blas_threads(self.net.plan.uses_blas, work)
        return self.history()

    def begin(self) -> None:
        """Makes the network what it is before the first of its epochs."""
        net, at = self.net, self.identity.position
        if self.saved is not None:
            self.saved.restore(net)
        if net.known_inputs is None:
            net.build(images.plain(self.sample.X.shape[1:]))
        trains = self.about.epochs > at.epoch
        if trains and len(net.input_shape) > 1 and not isinstance(self.sample.X, SparseRows):
            net.pixels = pixels_of(self.sample) or net.pixels
        self._agree()
        if self.identity.ranks.first:
            evaluation.warn_of_range(net, self.sample)
            for sentence in sizes.far_from_one(net, self.sample) if self.verbose and not net.epoch else ():
                console.say(sentence)
        net.one_dimensional = net.n_outputs == 1 and self.sample.y.ndim == 1
        net.stop_training, self.about.history = at.stopped, net.history

    def _agree(self) -> None:
        """Where there are several ranks, all networks become rank 0's."""

    def history(self) -> History:
        """That of this fit alone."""
        return self.net.history.since(self.identity.position.first_record, self.about.names)

    def calls(self, ends: list[Callable[[], None]]) -> Calls[None]:
        """All of its epochs as calls into the core; `ends` gets what must be called however they end, the last first.

        So after a Ctrl-C, which may come between two of an epoch's numbers.
        """
        net, at, last = self.net, self.identity.position, self.about.epochs
        ends.append(net.history.trim)
        _begin(self.hooks, net, self.about, ends)
        if self.saved is not None:
            self.saved.restore_callbacks(self.identity.hooks)
        loop, held_out = self._loop(), self._held_out()
        if self.changes is not None:
            loop.augment(self.changes)
        self.about.held_out = None if held_out is None else held_out.scores
        if held_out is not None and loop.hold_out(held_out.scores):
            held_out = None
        ends.append(loop.close)
        at_begin, at_end = (those_that_need(event, self.hooks) for event in ("epoch_begin", "epoch_end"))
        if at_batch := those_that_need("train_batch_end", self.identity.hooks):  # among ranks on all alike
            loop.each_step([hook for hook in at_batch if hook in self.hooks])
        meanwhile = those_that_need("progress", self.hooks)
        one_by_one = bool(at_begin or at_end or at_batch) or held_out is not None or loop.one_by_one
        stopped = at.stopped
        while at.epoch < last and not stopped:
            if one_by_one:
                for hook in at_begin:
                    hook.on_epoch_begin(net, at.epoch)
                logs = yield from self._epoch(loop, held_out, meanwhile)
                for hook in at_end:
                    hook.on_epoch_end(net, at.epoch - 1, logs)
            else:
                yield from self._several(loop, last - at.epoch, meanwhile, ends)
            stopped = net.stop_training

    @property
    def begun(self) -> int | None:
        """The epoch that the schedule begins with; None for the first of this fit."""
        return None if self.initial_epoch is None else 0  # then the whole is that of `epochs` epochs, as in Keras

    def _loop(self) -> Loop:
        net, at, last, batch = self.net, self.identity.position, self.about.epochs, self.identity.batch
        scores = evaluation.Scores(net, self.train, self.metrics)
        shuffle = self.identity.shuffle and batch < len(self.train)  # in a batch of all their order would say nothing
        n_threads = self.n_threads if self.alone else 1
        return Loop(
            net, self.train, batch, shuffle, scores, at, last, n_threads, last - at.epoch, self.begun, pace=self.pace
        )

    def _held_out(self) -> Evaluation | None:
        if self.validation is None:
            return None
        return Evaluation(evaluation.Scores(self.net, self.validation, self.metrics), self.n_threads)

    def _epoch(
        self, loop: Loop, held_out: Evaluation | None, hooks: list[callbacks.Callback]
    ) -> Calls[dict[str, float]]:
        """An epoch and its numbers."""
        net, at = self.net, loop.at
        start = self._seconds(loop)
        yield from loop.run(1, hooks)
        logs = {"loss": loop.loss, **loop.metrics()}
        if held_out is not None:
            found: dict[str, float] = yield held_out
            logs.update({f"val_{name}": value for name, value in found.items()})
        logs["learning_rate"] = float(loop.rates[-1])
        logs["seconds"] = self.identity.ranks.broadcast(self._seconds(loop) - start)
        net.history.append(at.epoch, logs)
        at.epoch, at.done = at.epoch + 1, 0
        return logs

    def _seconds(self, loop: Loop) -> float:
        """The time; beside other fits that which was its own, without what Python does between calls."""
        return time.perf_counter() if self.pace is None else loop.spent

    def _several(
        self, loop: Loop, most: int, hooks: list[callbacks.Callback], ends: list[Callable[[], None]]
    ) -> Calls[None]:
        """As many epochs as a call into the core makes; they are kept whatever ends it, a Ctrl-C for one."""
        keep = partial(self._keep, loop, loop.at.epoch, len(self.net.history), self._seconds(loop))
        ends.append(keep)
        yield from loop.run(most, hooks)
        keep()
        ends.pop()

    def _keep(self, loop: Loop, epoch: int, before: int, start: float) -> None:
        """Puts the epochs that are ended, from `epoch` on, behind the `before` ones of the history; may come twice."""
        if loop.first == epoch and (n := loop.ended):
            columns = {"loss": loop.losses.tolist()}
            columns |= loop.measured(slice(n))
            columns["learning_rate"] = loop.rates[loop.steps - 1 : n * loop.steps : loop.steps].tolist()
            columns["seconds"] = [(self._seconds(loop) - start) / n] * n
            self.net.history.put(before, epoch, columns)
            loop.at.epoch, loop.at.done = epoch + n, 0


def hooked(hooks: list[callbacks.Callback], net: NetworkState, run: callbacks.Run, work: Callable[[], T]) -> T:
    """work() between beginning and end of the callbacks; those that have begun are ended whatever happens.

    BLAS is held at one thread where the core calls it.
    """
    ends: list[Callable[[], None]] = []

    def begun() -> T:
        _begin(hooks, net, run, ends)
        return work()

    return threads.without_blas_threads(net.plan.uses_blas, partial(cnn_core.finishing, begun, ends))


def _begin(
    hooks: list[callbacks.Callback], net: NetworkState, run: callbacks.Run, ends: list[Callable[[], None]]
) -> None:
    """Tells the callbacks that the fit begins; `ends` gets the ends of those that have begun."""
    for hook in hooks:
        ends.append(partial(hook.on_fit_end, net))  # first: Ctrl-C may come as soon as it has begun
        try:
            hook.on_fit_begin(net, run)
        except Exception:
            ends.pop()
            raise
