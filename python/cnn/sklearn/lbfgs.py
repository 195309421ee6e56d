"""L-BFGS (SciPy's) on the compiled loss and gradient of all rows."""

from __future__ import annotations

import time
import warnings
from functools import partial
from typing import Any

import numpy as np
from scipy.optimize import minimize

import cnn_core
from cnn import callbacks
from cnn._common import console, interrupt, threads
from cnn.network import Network
from cnn.runtime import evaluation, passes
from cnn.runtime.data import Array, Data
from cnn.sklearn import build
from cnn.sklearn.epochs import even_curves, metrics_of, validate
from cnn.training.events import check_all, those_that_need
from cnn.training.fit import hooked


class Objective:
    """Mean loss with penalties of a network, and its gradient, of all parameters as one float64 vector."""

    def __init__(self, net: Network, rows: Data, n_threads: int | None) -> None:
        self.net, self.rows = net, rows
        self.X = net.plan.without_zeros(rows.X)
        self.plan = net.plan.taking(self.X)
        self.cut = self.plan.cut_like(net.plan.taking(rows.X), len(rows))
        self.n = threads.for_prediction(n_threads, 6.0 * net.plan.size * len(rows), self.cut.feeds)
        self.memory = passes.step_buffers(net, self.plan, self.cut, self.n)
        self.training = passes.whole(self.memory, self.X, rows)
        self.parts = (0.0, 0.0)
        constant = build.deviance_constant(net.loss, rows.targets)
        self.constant = 0.0 if constant is None else float(np.average(constant, weights=rows.weights))

    def __call__(self, x: Array) -> tuple[float, Array]:
        self.net.flat[...] = x
        loss, gradient = interrupt.interruptible(self._evaluate)
        return loss, gradient

    def _evaluate(self, stop: Array) -> tuple[float, Array]:
        self.parts = self.training.loss_and_gradient(False, self.n, stop)
        return sum(self.parts), self.memory.gradients[: self.plan.size].astype(np.float64)

    def reported(self, x: Array) -> float:
        """The loss at x as scikit-learn means it: of squares the mean over outputs, with Poisson's constant."""
        self(x)
        data, penalty = self.parts
        return data / build.reported_outputs(self.net) + penalty + self.constant


def fit(est: Any, train: Data, validation: Data | None, root: Any) -> None:
    """Minimises the objective from the network's weights; sets the fitted attributes."""
    net = est._network
    dropped = any(int(layer["kind"]) == int(cnn_core.LayerKind.DROPOUT) for layer in net.plan.layers)
    if dropped or net.dropout_factor is not None:
        raise ValueError("solver='lbfgs' needs the same loss at every call: there can be no dropout")
    if any(int(layer["kind"]) == int(cnn_core.LayerKind.GAUSSIAN_NOISE) for layer in net.plan.layers):
        raise ValueError("solver='lbfgs' needs the same loss at every call: there can be no noise")
    if any(int(layer["kind"]) == int(cnn_core.LayerKind.BATCH_NORM) for layer in net.plan.layers):
        raise ValueError("solver='lbfgs' has no steps that move running averages: there can be no BatchNorm")
    shapes = net.plan.shapes
    learnt = [p for layer, shape in zip(net.descriptions, shapes, strict=False) for p in layer.parameters(shape)]
    if any(parameter.learning_rate_factor != 1 and parameter.values is None for parameter in learnt):
        raise ValueError("solver='lbfgs' has no learning rate: learning_rate_factor of every layer must be 1")
    minimisation = Minimisation(est, train, validation, root)
    found = threads.a_fit(net, minimisation.run)
    est.best_loss_ = min(est.loss_curve_, default=est.loss_)
    est.t_ += len(train) * est.n_iter_
    if found.status == 1:
        from sklearn.exceptions import ConvergenceWarning

        warnings.warn(
            f"lbfgs failed to converge after {found.nit} iteration(s) (status={found.status}): {found.message}. "
            "Increase max_iter or max_fun, or scale the data", ConvergenceWarning, stacklevel=9,
        )  # fmt: skip


class Minimisation:
    """A fit by L-BFGS; to callbacks an iteration is an epoch, which begins with the first loss that it asks for."""

    def __init__(self, est: Any, train: Data, validation: Data | None, root: Any) -> None:
        net = est._network
        self.est, self.net, self.train, self.root = est, net, train, root
        self.objective = Objective(net, train, est.n_threads)
        self.metrics = metrics_of(est, train, validation)
        self.validation = None if validation is None else evaluation.Scores(net, validation, self.metrics)
        self.callbacks = callbacks.all_of([] if est.callbacks is None else est.callbacks)
        self.best: Array | None = None
        self.before = len(est.history_), len(est.loss_curve_), len(est.validation_scores_ or ())
        self.last: Array | None = None  # the parameters after the last iteration
        names = ["loss"]
        names += ["val_loss", *(f"val_{name}" for name in self.metrics), "val_score"] if validation is not None else []
        first = len(est.loss_curve_)
        self.fit = callbacks.Run(
            first, first + est.max_iter, len(train), 1, (*names, "seconds"), history=est.history_,
            begun=first,
        )  # fmt: skip
        check_all(self.callbacks, self.fit)
        evaluation.warn_of_range(net, train)
        net.stop_training = False
        self.start = self.begin = time.perf_counter()
        self.begun = -1  # the last epoch that has

    def run(self) -> Any:
        """What SciPy found."""
        work = partial(hooked, self.callbacks, self.net, self.fit, self._minimise)
        return cnn_core.finishing(work, [self._take_best])

    def _take_best(self) -> None:
        if self.best is not None and self.est.restore_best is not False:
            self.net.flat[...] = self.best

    def _minimise(self) -> Any:
        est = self.est
        search = partial(
            minimize, self._loss_and_gradient, self.net.flat.astype(np.float64), method="L-BFGS-B", jac=True,
            callback=self._iteration_done, options={"maxfun": est.max_fun, "maxiter": est.max_iter, "gtol": est.tol},
        )  # fmt: skip
        found = cnn_core.finishing(search, [self._leave])
        est.n_iter_ = min(int(found.nit), est.max_iter)
        est.loss_ = self.objective.reported(found.x)
        return found

    def _leave(self) -> None:
        """What the iterations so far have found, where a Ctrl-C or an error ends the search."""
        est, n = self.est, even_curves(self.est, *self.before)
        if self.last is not None and n:
            est.n_iter_, est.loss_ = n, est.loss_curve_[-1]
            est.best_loss_ = min(est.loss_curve_)
            self.net.flat[...] = self.last  # it may have been on its way to another

    def _loss_and_gradient(self, x: Array) -> tuple[float, Array]:
        epoch = len(self.est.loss_curve_)
        if self.begun < epoch:
            self.begun = epoch
            for callback in those_that_need("epoch_begin", self.callbacks):
                callback.on_epoch_begin(self.net, epoch)
        return self.objective(x)

    def _iteration_done(self, intermediate_result: Any) -> None:
        """The numbers of an iteration, and the callbacks; StopIteration where the fit is to end."""
        est, net, epoch = self.est, self.net, len(self.est.loss_curve_)
        x, loss = intermediate_result.x, intermediate_result.fun
        if net.n_outputs > 1 or self.objective.constant:
            loss = self.objective.reported(x)
        logs, score = {"loss": float(loss)}, None
        net.flat[...] = x
        if self.validation is not None:
            found, score = validate(est, self.validation)
            logs.update(found)
        now = time.perf_counter()
        logs["seconds"], self.begin = now - self.begin, now
        est.loss_curve_.append(logs["loss"])
        self.last = x.copy()
        if score is not None:
            est.validation_scores_.append(score)
            if score > est.best_validation_score_:
                self.best, est.best_validation_score_ = self.last, score
        est.history_.append(epoch, logs)  # last: what is not in there was broken off, and goes (see `even_curves`)
        if est.verbose:
            console.say(f"Iteration {epoch + 1}, loss = {loss:.8f}")
        for callback in those_that_need("train_batch_end", self.callbacks):
            callback.on_train_batch_end(net, 0, {"loss": logs["loss"]})
        for callback in those_that_need("progress", self.callbacks):
            callback.on_progress(net, epoch, len(self.train))
        for callback in those_that_need("epoch_end", self.callbacks):
            callback.on_epoch_end(net, epoch, logs)
        stop = est._end_task(est._begin_task(self.root))
        if stop or net.stop_training or (est.max_seconds is not None and now - self.start > est.max_seconds):
            raise StopIteration
