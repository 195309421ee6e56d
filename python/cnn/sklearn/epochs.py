"""The epochs of an estimator's fit: order of rows, rates and stopping rules of scikit-learn, and what it lacks."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import cnn_core
from cnn import callbacks, schedules
from cnn._common import console, threads
from cnn.runtime import evaluation, passes
from cnn.runtime.data import Array, Data
from cnn.sklearn import build
from cnn.training import loop
from cnn.training.calls import drive
from cnn.training.events import check_all, those_that_need
from cnn.training.fit import hooked
from cnn.training.position import Position
from cnn.training.step_numbers import check_dropout

_SMALLEST_RATE = 1e-6  # "adaptive" stops instead of going below
_ADAPTIVE_DIVISOR = 5.0


class Loop(loop.Loop):
    """Epochs in the order and at the rates that scikit-learn would take, and their losses as it means them.

    Each epoch shuffles the order of the one before, with the numbers that scikit-learn draws.
    """

    def __init__(self, fit: MinibatchFit, train: Data, batch: int, epochs: int, incremental: bool) -> None:
        est, net = fit.est, fit.net
        first = len(est.loss_curve_)
        # `fit` runs the whole of a schedule, all calls of `partial_fit` after it one more.
        begun = est.__dict__.setdefault("_series", net.step) if incremental else net.step
        at = Position(first, begun, len(net.history), first)
        last = first + est.max_iter
        generator = fit.random._bit_generator
        super().__init__(
            net, train, batch, est.shuffle, fit.scores, at, last, est.n_threads, epochs, generator=generator
        )
        self.fit = fit
        self.training.divisor = build.reported_outputs(net)
        self.constant = build.deviance_constant(net.loss, train.targets)

    def learning_rates(self, epochs: int) -> Array:
        if isinstance(self.schedule, schedules.Constant):
            return np.full(epochs * self.steps, self.fit.rate * self.net.rate_factor)
        return super().learning_rates(epochs)

    @property
    def mean_losses(self) -> Array:
        """The loss of each epoch that is ended: the mean over rows of their minibatch's mean and penalty."""
        losses = self.found[: self.ended, 3]
        return losses if self.constant is None else losses + self._constant()

    def _constant(self) -> float:
        """What the constant adds to the loss of the last epoch."""
        assert self.constant is not None
        c = self.constant[self.index] if len(self.index) else self.constant
        if self.train.weights is not None:
            c = c * (self.train.weights[self.index] if len(self.index) else self.train.weights)
        weights = self.report[:, 1]
        sums = np.add.reduceat(c, np.arange(self.steps) * self.batch)
        rows = np.full(self.steps, float(self.batch))
        rows[-1] = len(self.train) - self.batch * (self.steps - 1)
        return float(rows @ np.divide(sums, weights, out=np.zeros_like(sums), where=weights > 0) / len(self.train))


class MinibatchFit:
    """A fit by minibatches: `run` trains until a rule of the parameters ends it, and sets the fitted attributes."""

    def __init__(self, est: Any, train: Data, validation: Data | None, random: np.random.RandomState) -> None:
        self.est, self.net, self.train = est, est._network, train
        self.random = random
        self.metrics = metrics_of(est, train, validation)
        self.scores = evaluation.Scores(self.net, train, self.metrics)
        self.validation = None if validation is None else evaluation.Scores(self.net, validation, self.metrics)
        self.recorded = len(est.history_)
        self.before = self.recorded, len(est.loss_curve_), len(est.validation_scores_ or ())
        self.callbacks = callbacks.all_of([] if est.callbacks is None else est.callbacks)
        self.is_sgd = isinstance(est.solver, str) and est.solver == "sgd" and est.learning_rate in build.RATE_MODES
        if not hasattr(est, "_rate"):
            rate = self.net.optimizer.learning_rate
            est._rate = rate if isinstance(rate, float) else est.learning_rate_init
        self.best: Array | None = None
        self.restores = est.restore_best is True or (est.restore_best == "auto" and validation is not None)

    @property
    def rate(self) -> float:
        return float(self.est._rate)

    @rate.setter
    def rate(self, rate: float) -> None:
        """scikit-learn's velocity holds the rate, ours does not: it is turned into that of the new rate."""
        if self.net.optimizer.kind == "SGD" and len(self.net.state):
            self.net.state *= self.net.dtype.type(self.rate / rate)
        self.est._rate = rate

    def run(self, root: Any, incremental: bool) -> None:
        """All epochs; `root` is the context of scikit-learn's callbacks."""
        est, net, n = self.est, self.net, len(self.train)
        batch = min(200, n) if est.batch_size == "auto" else est.batch_size
        if batch > n:
            warnings.warn(f"batch_size={batch} is larger than the {n} rows of the data and is clipped", stacklevel=9)
        batch = int(np.clip(batch, 1, n))
        epochs = 1 if incremental else est.max_iter
        steps = -(-n // batch)
        names = ["loss", *self.metrics]
        names += ["val_loss", *(f"val_{name}" for name in self.metrics), "val_score"] if self.validation else []
        first = len(est.loss_curve_)
        shown = (*names, "learning_rate", "seconds")
        run = callbacks.Run(
            first, first + epochs, n, steps, shown, history=est.history_, begun=first,
            learning_rate=net.optimizer.learning_rate,
        )  # fmt: skip
        check_all(self.callbacks, run)
        evaluation.warn_of_range(net, self.train)
        net.stop_training = False
        est.n_iter_ = 0
        if not incremental:
            est.__dict__.pop("_series", None)

        def epochs_to_do() -> bool:
            loop = Loop(self, self.train, batch, epochs, incremental)
            check_dropout(net, loop.steps, loop.total)
            if at_batch := those_that_need("train_batch_end", self.callbacks):
                loop.each_step(at_batch)
            return self._epochs(loop, epochs, root, incremental)

        def fit() -> bool:
            ends: list[Callable[[], Any]] = [self.take_best, partial(even_curves, est, *self.before)]
            return cnn_core.finishing(lambda: hooked(self.callbacks, net, run, epochs_to_do), ends)

        try:
            all_made = threads.a_fit(net, fit)
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=9)
            return
        if all_made:
            from sklearn.exceptions import ConvergenceWarning

            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({est.max_iter}) reached and the optimization hasn't "
                "converged yet.", ConvergenceWarning, stacklevel=9,
            )  # fmt: skip

    def take_best(self) -> None:
        """The weights of the best epoch, where they were kept."""
        if self.best is not None:
            self.net.flat[...] = self.best

    def _epochs(self, loop: Loop, epochs: int, root: Any, incremental: bool) -> bool:
        """Whether all of max_iter were made and no rule ended them."""
        est, net = self.est, self.net
        one_by_one = self._one_by_one(loop, root, incremental)
        start, last = time.perf_counter(), loop.at.epoch + epochs
        while loop.at.epoch < last:
            if one_by_one:
                stop = self._epoch(loop, root) or incremental
            else:
                stop = False
                self._several(loop, last - loop.at.epoch)
            if self._rules_stop() or stop or net.stop_training:
                return False
            if est.max_seconds is not None:
                # At the pace so far; a schedule then ends with the last epoch that is made.
                now = time.perf_counter()
                affordable = int(min(est.max_seconds * est.n_iter_ / max(now - start, 1e-9), 2.0**62))
                loop.total = min(max(affordable, 1), est.max_iter) * loop.steps
                if affordable <= est.n_iter_:
                    return False
        return True

    def _one_by_one(self, loop: Loop, root: Any, incremental: bool) -> bool:
        """Whether anything but the training loss is asked for after each epoch."""
        est, scores = self.est, self.scores
        at_ends = [those_that_need(event, self.callbacks) for event in ("epoch_begin", "train_batch_end", "epoch_end")]
        others = self.restores or incremental or est.max_seconds is not None or loop.constant is not None
        changes = self.is_sgd and est.learning_rate == "invscaling"
        others = others or scores.in_python or self.validation is not None
        return bool(any(at_ends) or root._callbacks or others or changes)

    def _epoch(self, loop: Loop, root: Any) -> bool:
        """An epoch with what is due at its ends; whether a callback of scikit-learn's stops the fit."""
        est, net, epoch = self.est, self.net, loop.at.epoch
        begin = time.perf_counter()
        task = est._begin_task(root)
        for callback in those_that_need("epoch_begin", self.callbacks):
            callback.on_epoch_begin(net, epoch)
        drive(loop.run(1, those_that_need("progress", self.callbacks)))
        loop.at.epoch, loop.at.done = epoch + 1, 0
        logs, attributes, score, best = self._epoch_done(loop)
        logs.update(learning_rate=float(loop.rates[-1]), seconds=time.perf_counter() - begin)
        est.loss_curve_.append(logs["loss"])
        if score is not None:
            est.validation_scores_.append(score)
        self.best = best
        vars(est).update(attributes)
        est.history_.append(epoch, logs)  # last: what is not in there was broken off, and goes (see `even_curves`)
        for callback in those_that_need("epoch_end", self.callbacks):
            callback.on_epoch_end(net, epoch, logs)
        return bool(est._end_task(task))

    def _several(self, loop: Loop, most: int) -> None:
        """As many epochs as a call into the core makes, up to the one with which the loss has stood still too long."""
        est = self.est
        before, n = est.n_iter_, min(est.n_iter_no_change, 1 << 62)
        loop.training.watch(est.best_loss_, est.tol, est._no_improvement_count, n)
        keep = partial(self._keep, loop, loop.at.epoch, before, time.perf_counter())
        cnn_core.finishing(lambda: drive(loop.run(most, those_that_need("progress", self.callbacks))), [keep])
        if est.verbose:
            for i in range(before, est.n_iter_):
                console.say(f"Iteration {i + 1}, loss = {est.loss_curve_[i - est.n_iter_]:.8f}")

    def _keep(self, loop: Loop, epoch: int, before: int, start: float) -> None:
        """Takes over the epochs that are ended, from `epoch` on, after `before` of this fit; it may come twice."""
        est, n = self.est, loop.ended
        if loop.first != epoch or est.n_iter_ != before or not n:
            return
        losses, best, count = loop.mean_losses.tolist(), est.best_loss_, est._no_improvement_count
        for loss in losses:
            best, count = counted(best, count, loss, est.tol)
        columns = {"loss": losses, **{name: loop.found[:n, 4].tolist() for name in self.metrics}}
        columns["learning_rate"] = loop.rates[loop.steps - 1 : n * loop.steps : loop.steps].tolist()
        columns["seconds"] = [(time.perf_counter() - start) / n] * n
        est.history_.put(epoch - loop.at.first_epoch + self.recorded, epoch, columns)
        est.loss_curve_[epoch:] = losses
        loop.at.epoch, loop.at.done = epoch + n, 0
        vars(est).update(n_iter_=before + n, t_=est.t_ + n * len(self.train), loss_=losses[-1], best_loss_=best,
                         _no_improvement_count=count)  # fmt: skip

    def _epoch_done(self, loop: Loop) -> tuple[dict[str, float], dict[str, Any], float | None, Array | None]:
        """The epoch's numbers, the attributes, score and best weights that follow; nothing is recorded yet."""
        est, loss = self.est, float(loop.mean_losses[0])
        found: dict[str, Any] = {"n_iter_": est.n_iter_ + 1, "t_": est.t_ + len(self.train), "loss_": loss}
        logs = {"loss": loss, **loop.metrics()}
        if est.verbose:
            console.say(f"Iteration {found['n_iter_']}, loss = {loss:.8f}")
        score, count = None, est._no_improvement_count
        if self.validation is not None:
            measured, score = validate(est, self.validation)
            logs.update(measured)
            if est.verbose:
                console.say(f"Validation score: {score:f}")
            better = score > est.best_validation_score_
            found["_no_improvement_count"] = count + 1 if score < est.best_validation_score_ + est.tol else 0
            found["best_validation_score_"] = score if better else est.best_validation_score_
        if not est.early_stopping:
            better = loss < est.best_loss_ if score is None else better
            found["best_loss_"], found["_no_improvement_count"] = counted(est.best_loss_, count, loss, est.tol)
        return logs, found, score, self.net.flat.copy() if better and self.restores else self.best

    def _rules_stop(self) -> bool:
        """scikit-learn's rules of the learning rate and of stopping."""
        est = self.est
        if self.is_sgd and est.learning_rate == "invscaling":
            self.rate = est.learning_rate_init / (est.t_ + 1) ** est.power_t
        if est._no_improvement_count <= est.n_iter_no_change:
            return False
        what = "Validation score" if est.early_stopping else "Training loss"
        message = f"{what} did not improve more than tol={est.tol:f} for {est.n_iter_no_change} consecutive epochs."
        if self.is_sgd and est.learning_rate == "adaptive" and self.rate > _SMALLEST_RATE:
            self.rate /= _ADAPTIVE_DIVISOR
            if est.verbose:
                console.say(f"{message} Setting learning rate to {self.rate:f}")
            est._no_improvement_count = 0
            return False
        if est.verbose:
            too_small = self.is_sgd and est.learning_rate == "adaptive"
            console.say(f"{message}{' Learning rate too small.' if too_small else ''} Stopping.")
        return True


def even_curves(est: Any, recorded: int, losses: int, scores: int) -> int:
    """Drops of the curves, which were so long before a fit, what is not in its history; how many epochs are."""
    est.history_.trim()
    n = len(est.history_) - recorded
    del est.loss_curve_[losses + n :]
    if est.validation_scores_ is not None:
        del est.validation_scores_[scores + n :]
    return n


def counted(best: float, count: int, loss: float, tolerance: float) -> tuple[float, int]:
    """The best loss so far, and how many epochs on end have not been better by the tolerance."""
    return min(best, loss), count + 1 if loss > best - tolerance else 0


def metrics_of(est: Any, *sets: Data | None) -> evaluation.Metrics:
    """The estimator's metrics, which suit these rows."""
    net = est._network
    chosen = evaluation.resolve(est.metrics, net.loss)
    if "score" in chosen:
        raise ValueError("a metric can't have the name 'score', which is the validation score; rename it")
    for rows in sets:
        evaluation.check(net.loss, rows, net.n_outputs, chosen)
    return chosen


def validate(est: Any, validation: evaluation.Scores) -> tuple[dict[str, float], float]:
    """(loss and metrics on held-out rows, the score that counts)."""
    net, rows = validation.net, validation.rows
    out = passes.outputs(net, rows.X, link=False, n_threads=est.n_threads)
    loss = validation.mean_loss(out)
    loss /= build.reported_outputs(net)
    logs = {"val_loss": loss}
    logs.update({f"val_{name}": value for name, value in validation.measure(out).items()})
    score = est._validation_score(rows, out, loss)
    logs["val_score"] = score
    return logs, score if math.isfinite(score) else math.nan
