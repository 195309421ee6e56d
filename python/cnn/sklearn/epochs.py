"""The epochs of an estimator's fit: order of rows, rates and stopping rules of scikit-learn, and what it lacks."""

from __future__ import annotations

import math
import time
import warnings
from functools import partial
from typing import Any

import numpy as np
from scipy.special import xlogy

import cnn_core
from cnn import callbacks, schedules
from cnn._common import console, threads
from cnn.network import Network
from cnn.runtime import evaluation, passes
from cnn.runtime.data import Array, Data
from cnn.sklearn import build
from cnn.training import loop
from cnn.training.fit import hooked
from cnn.training.position import Position

_SMALLEST_RATE = 1e-6  # "adaptive" stops instead of going below
_ADAPTIVE_DIVISOR = 5.0


class Loop(loop.Loop):
    """An epoch in the order and at the rates that scikit-learn would take."""

    def __init__(self, course: Course, train: Data, batch: int, keep_outputs: bool, epochs: int,
                 incremental: bool) -> None:  # fmt: skip
        est, net = course.est, course.net
        first = len(est.loss_curve_)
        # `fit` runs the whole of a schedule, all calls of `partial_fit` after it one more.
        begun = est.__dict__.setdefault("_series", net.step) if incremental else net.step
        at = Position(first, begun, len(net.history), first)
        last = first + est.max_iter
        super().__init__(net, train, batch, est.shuffle, keep_outputs, at, last, est.n_threads, epochs)
        self.course = course
        self.index = np.arange(len(train) if est.shuffle else 0, dtype=np.int64)
        c = None  # Poisson's deviance has a part that the weights can't change, and the loss of a row has not
        if net.loss.name == "poisson" and train.targets is not None:
            t = train.targets.astype(np.float64)
            c = (xlogy(t, t) - t).sum(axis=1)
        self.constant = c

    def order(self, epoch: int) -> Array | None:
        """Each epoch shuffles the order of the one before, with the numbers that scikit-learn draws."""
        if not self.shuffle:
            return None
        shuffle = partial(cnn_core.engine.shuffle, self.course.random._bit_generator, self.index)
        threads.apart(len(self.index), shuffle)
        return self.index

    def learning_rates(self, epoch: int) -> Array:
        if isinstance(self.schedule, schedules.Constant):
            return np.full(self.steps, self.course.rate * self.net.rate_factor)
        return super().learning_rates(epoch)

    def mean_loss(self) -> float:
        """The epoch's loss as scikit-learn means it: the mean over rows of their minibatch's mean and penalty."""
        values, weights, penalties = self.report.T
        means = np.divide(values, weights, out=np.zeros_like(values), where=weights > 0)
        if self.net.loss.name == "mse":
            means = means / self.net.n_outputs  # scikit-learn's loss is the mean over outputs, its gradient the sum's
        if self.constant is not None:
            means = means + self._constants(weights)
        rows = np.full(self.steps, float(self.batch))
        rows[-1] = len(self.train) - self.batch * (self.steps - 1)
        return float(rows @ (means + penalties) / len(self.train))

    def _constants(self, weights: Array) -> Array:
        assert self.constant is not None
        c = self.constant if not self.shuffle else self.constant[self.index]
        if self.train.weights is not None:
            w = self.train.weights if not self.shuffle else self.train.weights[self.index]
            c = c * w
        sums = np.add.reduceat(c, np.arange(self.steps) * self.batch)
        return np.divide(sums, weights, out=np.zeros_like(sums), where=weights > 0)


class Course:
    """A fit by minibatches: `run` trains until a rule of the parameters ends it, and sets the fitted attributes."""

    def __init__(self, est: Any, train: Data, held_out: Data | None, random: np.random.RandomState) -> None:
        self.est, self.net, self.train, self.held_out = est, est._network, train, held_out
        self.random = random
        self.metrics = metrics_of(est, train, held_out)
        self.hooks = callbacks.all_of([] if est.callbacks is None else est.callbacks)
        self.is_sgd = isinstance(est.solver, str) and est.solver == "sgd" and est.learning_rate in build.RATE_MODES
        if not hasattr(est, "_rate"):
            rate = self.net.optimizer.learning_rate
            est._rate = rate if isinstance(rate, float) else est.learning_rate_init
        self.best: Array | None = None
        self.restores = est.restore_best is True or (est.restore_best == "auto" and held_out is not None)

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
            warnings.warn(f"batch_size={batch} is larger than the {n} rows of the data and is clipped", stacklevel=6)
        batch = int(np.clip(batch, 1, n))
        epochs = 1 if incremental else est.max_iter
        steps = -(-n // batch)
        names = ["loss", *self.metrics]
        names += ["val_loss", *(f"val_{name}" for name in self.metrics), "val_score"] if self.held_out else []
        first = len(est.loss_curve_)
        run = callbacks.Run(first, first + epochs, n, steps, (*names, "learning_rate", "seconds"))
        for hook in self.hooks:
            hook.check(run)
        evaluation.warn_of_range(net, self.train)
        net.stop_training = False
        est.n_iter_ = 0
        if not incremental:
            est.__dict__.pop("_series", None)

        def epochs_to_do() -> bool:
            loop = Loop(self, self.train, batch, bool(self.metrics), epochs, incremental)
            return self._epochs(loop, epochs, root, incremental)

        def fit() -> bool:
            ends = [self.take_best, est.history_.trim]
            return cnn_core.finishing(lambda: hooked(self.hooks, net, run, epochs_to_do), ends)

        try:
            all_made = threads.a_fit(net, fit)
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=6)
            return
        if all_made:
            from sklearn.exceptions import ConvergenceWarning

            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({est.max_iter}) reached and the optimization hasn't "
                "converged yet.", ConvergenceWarning, stacklevel=6,
            )  # fmt: skip

    def take_best(self) -> None:
        """The weights of the best epoch, where they were kept."""
        if self.best is not None:
            self.net.flat[...] = self.best

    def _epochs(self, loop: Loop, epochs: int, root: Any, incremental: bool) -> bool:
        """Whether all of max_iter were made and no rule ended them."""
        est, net, hooks = self.est, self.net, self.hooks
        start = time.perf_counter()
        for epoch in range(len(est.loss_curve_), len(est.loss_curve_) + epochs):
            begin = time.perf_counter()
            task = self.est._begin_task(root)
            for hook in hooks:
                hook.on_epoch_begin(net, epoch)
            loop.epoch(epoch, hooks)
            loop.at.epoch, loop.at.done = epoch + 1, 0
            logs = self._epoch_done(loop)
            now = time.perf_counter()
            logs.update(learning_rate=float(loop.rates[-1]), seconds=now - begin)
            est.history_.append(epoch, logs)
            for hook in hooks:
                hook.on_epoch_end(net, epoch, logs)
            stop = est._end_task(task)
            if self._rules_stop() or stop or net.stop_training or incremental:
                break
            if est.max_seconds is not None:
                # At the pace so far; a schedule then ends with the last epoch that is made.
                affordable = int(min(est.max_seconds * est.n_iter_ / max(now - start, 1e-9), 2.0**62))
                loop.total = min(max(affordable, 1), est.max_iter) * loop.steps
                if affordable <= est.n_iter_:
                    break
        else:
            return True
        return False

    def _epoch_done(self, loop: Loop) -> dict[str, float]:
        """The epoch's numbers, and what follows from them: the attributes, the count without improvement, the best."""
        est, net = self.est, self.net
        est.n_iter_ += 1
        est.t_ += len(self.train)
        est.loss_ = loop.mean_loss()
        est.loss_curve_.append(est.loss_)
        logs = {"loss": est.loss_, **evaluation.measure(net, self.train, loop.outputs, self.metrics)}
        if est.verbose:
            console.say(f"Iteration {est.n_iter_}, loss = {est.loss_:.8f}")
        score = None
        if self.held_out is not None:
            found, score = validate(est, net, self.held_out, self.metrics)
            logs.update(found)
            est.validation_scores_.append(score)
            if est.verbose:
                console.say(f"Validation score: {score:f}")
        if self.held_out is not None and score is not None:
            better = score > est.best_validation_score_
            stuck = score < est.best_validation_score_ + est.tol
            est.best_validation_score_ = score if better else est.best_validation_score_
        if not est.early_stopping:
            better_loss = est.loss_ < est.best_loss_
            stuck = est.loss_ > est.best_loss_ - est.tol
            est.best_loss_ = est.loss_ if better_loss else est.best_loss_
            better = better_loss if score is None else better
        est._no_improvement_count = est._no_improvement_count + 1 if stuck else 0
        if better and self.restores:
            self.best = net.flat.copy()
        return logs

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


def metrics_of(est: Any, *sets: Data | None) -> evaluation.Metrics:
    """The estimator's metrics, which suit these rows."""
    net = est._network
    chosen = evaluation.resolve(est.metrics, net.loss)
    if "score" in chosen:
        raise ValueError("a metric can't have the name 'score', which is the validation score; rename it")
    for rows in sets:
        evaluation.check(net.loss, rows, net.n_outputs, chosen)
    return chosen


def validate(est: Any, net: Network, rows: Data, metrics: evaluation.Metrics) -> tuple[dict[str, float], float]:
    """(loss and metrics on held-out rows, the score that counts)."""
    out = passes.outputs(net, rows.X, link=False, n_threads=est.n_threads)
    loss = evaluation.mean_loss(net, rows, out)
    if net.loss.name == "mse":
        loss /= net.n_outputs
    logs = {"val_loss": loss}
    logs.update({f"val_{name}": value for name, value in evaluation.measure(net, rows, out, metrics).items()})
    score = est._validation_score(rows, out, loss)
    logs["val_score"] = score
    return logs, score if math.isfinite(score) else math.nan
