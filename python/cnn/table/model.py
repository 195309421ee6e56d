"""`TableModel`: from a data frame to predictions, with all that lies between kept in one place."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from html import escape
from typing import Any, Literal

import numpy as np

import cnn_core
from cnn import callbacks
from cnn._common import checks, console, html_tables
from cnn._common.elsewhere import told
from cnn.activations import ActivationName
from cnn.callbacks import Hook
from cnn.callbacks import all_of as hooks_of
from cnn.losses import Loss
from cnn.network import Network
from cnn.runtime.history import History
from cnn.runtime.sparse import SparseRows
from cnn.table import (
    answers,
    budget,
    calibration,
    given,
    importance,
    large,
    lesson,
    pilot,
    save,
    scale,
    targets,
    training,
)  # fmt: skip
from cnn.table.encode import Encoder
from cnn.table.estimator import of_classes, two_columns
from cnn.table.frames import Array, TableError
from cnn.table.lesson import Lesson
from cnn.table.settings import Effort, Numbers, Settings, TargetScale
from cnn.table.targets import Goal, each_name
from cnn.table.training import OutOfMember
from cnn.table.uncertain import Uncertain
from cnn.table.weights import ClassWeight
from cnn.uncertainty import Residuals

_PIECE = 1 << 16  # rows predicted at a time


class TableModel(Uncertain):
    """Networks that learn one or several columns of a table from the others: text, dates, truth, numbers and gaps.

    `fit` learns what kind each column is, turns it into inputs (numbers by rank and by size, a 0/1 input for each
    frequent text, missing cells marked), and trains a few networks side by side whose mean is the prediction. Each
    holds out another part of the rows, and is trained until these get no better.

    Args:
        target: the name of the column to predict, or a list of names of columns of numbers, which one network predicts
            together; None where `fit` is given y.
        task: "regression", "classification", or "auto": by the target's cells. Tools of scikit-learn that ask before
            the fit whether it is a classifier (stratified folds, voting) must be told.
        hidden, activation, dropout: the layers of each network; None chooses by the task.
        learning_rate: the highest of a one-cycle schedule of AdamW, times 1/√inputs for each layer; None chooses by the
            task.
        weight_decay: AdamW's; None chooses by the task.
        batch_size, epochs, members: chosen by the number of rows if None; `members` is the number of networks.
        patience: epochs without an improvement on the held-out rows after which a network stops; None: never. In any
            case it has the weights of its best epoch.
        valid: share of the rows that each network holds out, drawn by the seed, the classes in equal parts.
        loss: what is made small: by its name or as a `cnn.Loss`; None: the square of the error (regression), or the log
            loss. For numbers: "squared_error", "absolute_error", "huber" and "log_cosh" (in units of the target's
            deviation; `cnn.Huber(delta)` is in units of the target), "quantile" (the median; `cnn.Quantile(0.9)`),
            "poisson" (targets >= 0), "gamma" (> 0), "tweedie" (>= 0); the last three predict numbers > 0, by a
            logarithmic link.
        class_weight: how much rows of each class count in training: a dict {label: weight}, others 1, or "balanced".
        decimal: the decimal mark of numbers that are given as text, "." or ","; None finds it out for each column.
        numbers: what columns of numbers become beside rank and value: "spikes" (an input of 0 or 1 for each frequent
            value), "bins" (a staircase at the edges of a tree grown on the target), "both", "embedding" (what the
            network learns to make of each staircase), "spikes+embedding", or "plain", none of these. "auto" is
            "embedding" for regression and "spikes+embedding" for classification.
        target_scale: "linear", or "log": networks learn the logarithm of the numbers, which must be >= 0 (of y + m
            where some are 0, m the median of the others); predictions are numbers none the less. "auto" tries it for a
            skewed target and the squared error, and takes what predicts held-out rows better in a short pilot.
        effort: "fast", "default" or "best": fewer or more networks and epochs, and wider layers.
        max_seconds: the longest that `fit` may take: epochs and networks are fitted to it, by the time that the first
            steps take. So the result depends on the machine and what else it does, as it does on nothing else.
        seed: of all that is random; None draws one (kept in `seed`).

    Raises:
        TypeError, ValueError: arguments that can't be; TableError (a ValueError) for tables that can't be learnt.

    >>> import numpy as np, pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"area": rng.uniform(20, 200, 400), "town": rng.choice(["Bern", "Genf"], 400)})
    >>> table["price"] = 5 * table.area + np.where(table.town == "Genf", 300, 0)
    >>> model = TableModel("price", epochs=60, members=1, seed=0).fit(table, verbose=0)
    >>> model.task, bool(model.evaluate(table)["r2"] > 0.98)
    ('regression', True)
    """

    @told
    def __init__(
        self,
        target: str | Sequence[str] | None = None,
        *,
        task: Literal["auto", "regression", "classification"] = "auto",
        hidden: Iterable[int] | None = Settings.hidden,
        activation: ActivationName = Settings.activation,
        dropout: float | None = Settings.dropout,
        learning_rate: float | None = Settings.learning_rate,
        weight_decay: float | None = Settings.weight_decay,
        batch_size: int | None = None,
        epochs: int | None = None,
        patience: int | None = Settings.patience,
        valid: float = Settings.valid,
        members: int | None = None,
        loss: str | Loss | None = None,
        class_weight: ClassWeight = None,
        decimal: str | None = None,
        numbers: Numbers = Settings.numbers,
        target_scale: TargetScale = Settings.target_scale,
        effort: Effort = Settings.effort,
        max_seconds: float | None = None,
        seed: int | None = None,
    ) -> None:
        settings: dict[str, Any] = {
            "task": task, "hidden": hidden, "activation": activation, "dropout": dropout,
            "learning_rate": learning_rate, "weight_decay": weight_decay, "batch_size": batch_size, "epochs": epochs,
            "patience": patience, "valid": valid, "members": members, "loss": loss, "class_weight": class_weight,
            "decimal": decimal, "numbers": numbers, "target_scale": target_scale, "effort": effort,
            "max_seconds": max_seconds,
        }  # fmt: skip
        self.settings = Settings(**settings)
        self._given = {"target": target, **settings, "seed": seed}
        if isinstance(targets.asked(target), tuple):
            targets.refuse_classes(self.settings.aim)
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1)[0])
        self.seed = checks.integer("seed", seed, 0, 2**63)
        self.networks: tuple[Network, ...] = ()
        self.histories: tuple[History, ...] = ()
        self.notes: tuple[str, ...] = ()
        self.scores: dict[str, dict[str, float]] = {}
        self.seconds = 0.0
        self.rows = 0  # that any network was trained on
        self.held_out: Array = np.empty(0, np.int64)  # the numbers, from 0, of the table's rows that any held out
        self.parts: int | None = None  # different rows that networks hold out: the i-th part i % parts
        self.out_of_member: OutOfMember | None = None  # what the others predict of these; in no file
        # What their errors say of those of new rows, for each target.
        self.residuals: Residuals | tuple[Residuals, ...] | None = None
        self.set_scores: dict[str, Residuals] | None = None  # the same of classes, by the methods of `predict_set`

    # What was learnt --------------------------------------------------------------------------------------------------

    @property
    def columns(self) -> dict[str, str]:
        """The kind of each column in use: number, boolean, category or date."""
        return {column.name: column.kind for column in self.encoder.columns}

    @property
    def dropped(self) -> dict[str, str]:
        """The columns left out, and why."""
        return dict(self.encoder.dropped)

    # Training ---------------------------------------------------------------------------------------------------------

    def fit(
        self,
        data: Any,
        y: Any = None,
        *,
        sample_weight: Any = None,
        validation: Any = None,
        callbacks: Iterable[Hook] = (),
        verbose: int | None = None,
        n_threads: int | None = None,
        resume: str | os.PathLike[str] | None = None,
        stream: bool | None = None,
        comm: Any = None,
    ) -> TableModel:
        """Learns the table from scratch; the model is as before if that fails or is interrupted. Returns the model.

        Args:
            data: a data frame (pandas, polars, Arrow) or a dict of columns; never changed. Or the path of a Parquet
                file or folder, or a table in pieces: an iterable of frames that begins anew with each iter(). With y
                also an array (rows, columns).
            y: the target of each row, in the order of the rows, or (rows, k) numbers of k targets; None: the column
                `target` of the table, or all those that it names.
            sample_weight: how much each row counts in training, and among the rows held out when it ends: (n,) numbers
                >= 0, or the name of a column of the table, which is then no input.
            validation: a table, or (X, y), or (X, y, sample_weight), that all networks hold out, instead of shares of
                `data`; its rows without a target are left out.
            callbacks: for the fit of each network, see `cnn.train_many`; with one that can't be for several, the
                networks are trained one after another. A `Checkpoint` keeps each in a folder of its own.
            verbose: 1 says what was learnt and shows progress bars, 2 a line for each epoch, 0 nothing; None: 1, with y
                0.
            n_threads: the result has the same bits for every number; None chooses.
            resume: the folder of a `cnn.Checkpoint` among the callbacks of the same fit, which was broken off: goes on
                to the same bits. Needs a `seed`.
            stream: whether the table is larger than memory: learnt from a sample, encoded piece by piece to a temporary
                file, trained on from there; None: pieces are, files if they need more memory than is free.
            comm: a communicator of mpi4py, all of whose processes make this call with the same table and a `seed`: they
                share out the steps of each network, and all have the same model.
        """

        def learnt() -> TableModel:
            nonlocal data, y, sample_weight
            start, hooks, said = time.perf_counter(), hooks_of(callbacks), (y is None if verbose is None else verbose)
            if self.settings.max_seconds is not None and (resume is not None or comm is not None):
                what = "a fit that is resumed" if resume is not None else "ranks of comm"
                raise ValueError(f"max_seconds is not for {what}, whose steps must be known before: give epochs")
            frame, parts, name, weight = given.learnt(
                data, y, targets.asked(self._given["target"]), stream, sample_weight
            )
            held_out = given.held_out(validation, name, weight)
            del data, y, sample_weight  # a table that the caller does not keep takes no memory while the networks train
            if parts is None:
                settings, said_of_it = scale.settled(frame, name, self.settings, self.seed, weight, n_threads)
                found = lesson.of_frame(frame, name, settings, self.seed, held_out, weight, said_of_it)
            else:
                found = large.of_pieces(parts, name, self.settings, self.seed, held_out, weight, n_threads)
            del frame
            work = partial(self._taught, found, hooks, start, int(said), n_threads, resume, comm)
            return cnn_core.finishing(work, [found.close])

        return checks.quiet(learnt)()

    def _taught(
        self, found: Lesson, hooks: list[callbacks.Callback], start: float, verbose: int, n_threads: int | None,
        resume: str | os.PathLike[str] | None, comm: Any,
    ) -> TableModel:  # fmt: skip
        """Trains the networks on what the table has taught; all at once the model is a new one."""
        if found.infinite:
            console.warn(found.infinite)
        if verbose:
            console.say("\n".join(found.notes))
        asked, settings = self.settings, self.settings.chosen(found.goal.task, found.n, found.encoder.embedded)
        settings = budget.fitted(settings, found, self.seed, start, n_threads, pilot.is_needed(asked, found))
        settings = pilot.fitted(asked, settings, found, self.seed, n_threads)
        if settings.max_seconds is not None:
            hooks = [*hooks, budget.Deadline(start + settings.max_seconds)]
        networks, histories = training.train(settings, found, self.seed, hooks, verbose, n_threads, resume, comm)
        made = copy.copy(self)
        goal, out_of_member, residuals, note = calibration.of_a_fit(found, networks, n_threads)
        made.adopt(found.encoder, goal, networks, found.notes + note)
        made.histories = histories
        made.rows, made.held_out = len(found.teaching), found.held_out_by(len(networks))
        made.parts = min(found.parts, len(networks))
        made.out_of_member, made.residuals = out_of_member, residuals
        made.set_scores = calibration.set_scores(found.goal, out_of_member, self.seed)
        seen = training.in_memory(found.teaching)
        made.scores = {
            "training": training.scores(goal, seen.y, made.outputs(seen.X, n_threads)),
            "validation": training.scores(goal, out_of_member.y, out_of_member.outputs),
        }
        made.seconds = time.perf_counter() - start
        vars(self).update(vars(made))  # all at once: no Ctrl-C leaves a part of it
        return self

    def adopt(self, encoder: Encoder, goal: Goal, networks: tuple[Network, ...], notes: tuple[str, ...]) -> None:
        """Takes what a fit has learnt, or a file holds: `encoder` of the columns, `goal`, `networks` and `notes`."""
        self._encoder, self._target, self.networks, self.notes = encoder, goal, networks, notes
        self.histories, self.rows, self.held_out, self.out_of_member = (), 0, np.empty(0, np.int64), None
        self.parts = self.residuals = self.set_scores = None
        self.fitted = self.settings  # which `set_params` leaves alone

    # Prediction -------------------------------------------------------------------------------------------------------

    def predict(self, data: Any, *, as_frame: bool = False, n_threads: int | None = None) -> Any:
        """(n,) numbers, (n, k) of k targets, or the most probable class of each row; `as_frame` a series like the data.

        Columns may come in any order, and others beside them; cells may be missing, texts may be new. Classes are of
        the type and the spelling that `fit` was given. The series (a frame of several targets) is of the library of the
        data, with the index of pandas; of lazy data one in memory, of a dict a dict. Warns of infinite numbers, which
        count as missing.
        """
        found = self.answers(self._outputs_of(data, n_threads))
        if not as_frame:
            return found
        names = each_name(self.target)
        columns = dict(zip(names, found.reshape(len(found), len(names)).T, strict=True))
        return answers.like(data, columns, alone=len(names) == 1)

    @of_classes
    def predict_proba(self, data: Any, *, as_frame: bool = False, n_threads: int | None = None) -> Any:
        """(n, k) probabilities, in the order of `classes`: an array, or `as_frame` a data frame like the data."""
        p = two_columns(self._outputs_of(data, n_threads))
        return answers.like(data, dict(zip(map(str, self.classes), p.T, strict=True)), alone=False) if as_frame else p

    def __call__(self, data: Any) -> Any:
        """`predict(data)`, of classes `predict_proba(data)`, as `shap.Explainer(model, table)` asks a model."""
        return self.predict(data) if self.goal.task == "regression" else self.predict_proba(data)

    def evaluate(self, data: Any, y: Any = None, *, n_threads: int | None = None) -> dict[str, float]:
        """Scores on rows with a target (the others are left out): rmse, mae, r2, or accuracy, log_loss, f1, roc_auc.

        Of several targets the means, and those of each ("r2_price" of "price"), on rows that have them all.
        The target is y, or a column of the table if None.
        """
        frame = self._table(data, y)
        rows = self.goal.known(self.goal.cells(frame))
        if not len(rows):
            raise TableError(f"no row has a value of {self.goal.described}")
        y = lesson.numbers(self.goal, frame, rows)
        return training.scores(self.goal, y, self._outputs_of(frame, n_threads, rows, self.goal))

    def feature_importance(
        self,
        data: Any,
        y: Any = None,
        *,
        repeats: int = 5,
        most_rows: int = 5000,
        seed: int = 0,
        n_threads: int | None = None,
    ) -> Any:
        """How much worse predictions get when a column is shuffled (Breiman 2001), as a data frame, largest first.

        For each column in use "importance", the mean over `repeats` shuffles of the rise of the RMSE (in units of the
        target; of several the mean over them, in units of each one's deviation) or of the log loss, and "deviation"
        over the shuffles; on at most `most_rows` rows, drawn by the seed. Columns that tell the same share their
        importance: each seems to matter less than it does.
        """
        table = self._table(data, y)
        return importance.permutation(self.encoder, self.goal, self.outputs, table, repeats, most_rows, seed, n_threads)

    def _outputs_of(
        self, data: Any, n_threads: int | None, rows: Array | None = None, goal: Goal | None = None
    ) -> Array:
        return self._in_pieces(data, lambda X: self.outputs(X, n_threads), rows, goal)

    def _outputs_of_parts(self, data: Any, n_threads: int | None) -> Array:
        def outputs(X: Array | SparseRows) -> Array:
            parts = self.parts or 1
            each = (self.networks[part::parts] for part in range(parts))
            return np.stack([training.mean_output(some, self.goal, X, n_threads) for some in each], axis=1)

        return self._in_pieces(data, checks.quiet(outputs)).swapaxes(0, 1)

    def _in_pieces(
        self, data: Any, outputs: Callable[[Array | SparseRows], Array], rows: Array | None = None,
        goal: Goal | None = None,
    ) -> Array:  # fmt: skip
        encoder, frame = self.encoder, self._table(data)
        if infinite := lesson.infinite(encoder, frame, goal):
            console.warn(infinite)
        rows = np.arange(len(frame)) if rows is None else rows
        pieces = [rows[i : i + _PIECE] for i in range(0, max(len(rows), 1), _PIECE)]
        return np.concatenate([outputs(encoder.features(frame, piece)) for piece in pieces])

    @checks.quiet
    def outputs(self, X: Array | SparseRows, n_threads: int | None) -> Array:
        """See `training.mean_output`."""
        return training.mean_output(self.networks, self.goal, X, n_threads)

    def answers(self, outputs: Array) -> Array:
        """What `predict` makes of such outputs."""
        if self.task == "regression":
            return outputs
        return self.classes[two_columns(outputs).argmax(axis=1)]

    # Keeping it -------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes all of it to one file (read by `cnn.load`), whole or not at all."""
        save.save(self, path)

    def _repr_html_(self) -> str:
        if self._encoder is None:
            return f"<code>{escape(repr(self))}</code>"
        scores = [[part, *(f"{value:.4g}" for value in found.values())] for part, found in self.scores.items() if found]
        names = list(next(iter(self.scores.values()), {}))
        table = html_tables.table([["", *names], *scores]) if scores else ""
        return f"<code>{escape(repr(self))}</code>{table}{html_tables.listed(self.notes)}"

    def __repr__(self) -> str:
        if self._encoder is None:
            return "TableModel()" if self.target is None else f"TableModel({self.target!r})"
        columns, networks = (
            f"{n} {what}s" if n > 1 else f"1 {what}"
            for n, what in ((len(self.encoder.columns), "column"), (len(self.networks), "network"))
        )
        return f"TableModel({self.target!r}: {self.task}, {columns}, {networks} of {self.networks[0].n_inputs} inputs)"
