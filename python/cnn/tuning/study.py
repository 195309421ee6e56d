"""A search as a study of Optuna's: settings are asked for in batches, trained part by part, and told of."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cnn._common import checks
from cnn._common.errors import DivergenceError
from cnn.training.position import fingerprint
from cnn.tuning import candidates
from cnn.tuning.candidates import Candidate, Measure, Task
from cnn.tuning.result import EPOCHS, SECONDS, SETTING, SearchResult, finished
from cnn.tuning.space import Function, Space

_PARTS = 3  # of the epochs: after each but the last, settings are given up
_DIGESTS = ("data", "held-out rows")
_LONG = (*_DIGESTS, "choices")  # what is not shown where it differs
_ABOUT = "cnn"  # where a study keeps what it is of


@dataclass(frozen=True)
class Options:
    """How a search goes; see `cnn.search`."""

    budget: int
    factor: int
    at_once: int
    sampler: Any
    pruner: Any
    storage: Any
    name: str
    seed: int
    say: Callable[[str], object] | None  # is told how it goes


def checked(
    budget: Any, factor: Any, at_once: Any, sampler: Any, pruner: Any, storage: Any, name: Any, seed: Any,
    say: Callable[[str], object] | None,
) -> Options:  # fmt: skip
    """The options, all of them checked."""
    budget, factor = checks.integer("budget", budget, 1), checks.integer("factor", factor, 1)
    if pruner is None and budget < factor:
        raise ValueError(f"budget={budget} is too small: successive halving keeps 1 of {factor} settings; try {factor} "
                         "at least, or take factor=1")  # fmt: skip
    if not isinstance(name, str):
        raise TypeError(f"name must be that of a study, got {name!r}")
    at_once, seed = checks.integer("at_once", at_once, 1), checks.integer("seed", seed, 0, 2**31)
    return Options(budget, factor, at_once, sampler, pruner, storage, name, seed, say)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ImportError("cnn.search needs Optuna 5 or newer (extra 'search'): pip install -U optuna") from error
    return optuna


@contextmanager
def _quiet() -> Iterator[Any]:
    """Optuna, which says nothing of each trial meanwhile."""
    optuna = _optuna()
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield optuna
    finally:
        optuna.logging.set_verbosity(before)


def trial_to_try() -> Any:
    """A trial of no study that anybody keeps."""
    with _quiet() as optuna:
        return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()


def run(build: Space | Function, task: Task, options: Options) -> SearchResult:
    """Searches until the budget is used up; what was tried is in the study, whatever ends it."""
    with _quiet() as optuna:
        study = _study(optuna, build, task, options)
        _try_again(optuna, study)
        best: Candidate | None = None
        stops: list[None] = []
        study.stop = lambda: stops.append(None)  # called by samplers that have no more; Optuna's own is for `optimize`
        while (done := len(finished(study))) < options.budget and not stops:
            n = min(options.at_once, options.budget - done)
            batch = [_ask(optuna, study, build, task, options) for _ in range(n)]
            found = _try(optuna, study, batch, task, options)
            if found is not None and (best is None or task.measure.better(found.score, best.score)):
                best = found
            if options.say is not None:
                options.say(_progress(study, task.measure, options.budget))
        complete = [trial for trial in finished(study) if trial.state.name == "COMPLETE"]
        if not complete:
            raise DivergenceError(
                f"none of {options.budget} settings could be trained to the end: their losses stop being finite. Lower "
                "the learning rates, and standardise inputs and targets"
            )
        winner = (max if task.measure.larger else min)(complete, key=lambda trial: trial.value)
        if best is None or best.trial.number != winner.number:  # it was found before the study went on: the same bits
            again = optuna.trial.FixedTrial(winner.params)
            best = candidates.candidate(again, build(again, options.seed + winner.user_attrs[SETTING]), task)
            for until in _parts(task.epochs, options):
                candidates.train([best], until, task)
        best.take_best()
        del study.stop
    return SearchResult(study, build, task.measure, best.networks, winner)


def _study(optuna: Any, build: Space | Function, task: Task, options: Options) -> Any:
    """The study, new or from the storage, where it must be one of the same data and options."""
    storage = options.storage
    if isinstance(storage, os.PathLike) or (isinstance(storage, str) and "://" not in storage):
        journal = optuna.storages.journal
        storage = optuna.storages.JournalStorage(journal.JournalFileBackend(os.fspath(storage)))
    elif not isinstance(storage, (str, optuna.storages.BaseStorage, type(None))):
        raise TypeError(f"storage must be a file, a URL or one of Optuna's storages, got {storage!r}")
    study = optuna.create_study(
        storage=storage, sampler=options.sampler, pruner=options.pruner, study_name=options.name, load_if_exists=True,
        direction="maximize" if task.measure.larger else "minimize",
    )  # fmt: skip
    folds = hashlib.sha256()
    for train, held_out in task.folds:
        folds.update(train.tobytes() + fingerprint(held_out).encode())
    about = {
        **dict(zip(_DIGESTS, (fingerprint(task.rows), folds.hexdigest()), strict=True)), "metric": task.measure.name,
        "epochs": task.epochs, "patience": task.patience, "factor": options.factor, "seed": options.seed,
        "class_weight": None if task.class_weight is None else repr(task.class_weight), **build.about,
    }  # fmt: skip
    known = study.user_attrs.get(_ABOUT)
    if known is None and study.get_trials(deepcopy=False):
        raise ValueError(f"the study {options.name!r} in this storage is not one of cnn.search: give another name")
    for what, value in about.items():
        if known is not None and known.get(what) != value:
            said = f"other {what}" if what in _LONG else f"{what} {known.get(what)!r}, not {value!r}"
            raise ValueError(
                f"the study {options.name!r} in this storage was begun with {said}: give the same, or another study"
            )
    study.set_user_attr(_ABOUT, about)
    return study


def _try_again(optuna: Any, study: Any) -> None:
    """Settings whose trials were broken off are the next ones; only one program at a time works on a study."""
    trials = study.get_trials(deepcopy=False)
    last = {trial.user_attrs.get(SETTING): trial.number for trial in trials}
    for trial in trials:
        if trial.state == optuna.trial.TrialState.RUNNING:
            number = trial.user_attrs.get(SETTING)
            if number is not None and last[number] == trial.number:
                study.enqueue_trial(trial.params, user_attrs={SETTING: number})  # first: a break here loses nothing
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


def _ask(optuna: Any, study: Any, build: Space | Function, task: Task, options: Options) -> Candidate:
    """The next setting, with its networks."""
    known = [other.user_attrs.get(SETTING, -1) for other in study.get_trials(deepcopy=False)]
    number = max(known, default=-1) + 1
    if options.sampler is None:  # seeded anew, so that a study that goes on draws what it would have drawn
        study.sampler = optuna.samplers.TPESampler(seed=options.seed + number)
    trial = study.ask()
    if SETTING not in trial.user_attrs:
        trial.set_user_attr(SETTING, number)
    return candidates.candidate(trial, build(trial, options.seed + trial.user_attrs[SETTING]), task)


def _parts(epochs: int, options: Options) -> list[int]:
    """The epochs after which settings are compared."""
    factor = max(options.factor, 3) if options.pruner is not None else options.factor
    return sorted({max(1, round(epochs / factor**k)) for k in range(_PARTS)})


def _try(optuna: Any, study: Any, batch: list[Candidate], task: Task, options: Options) -> Candidate | None:
    """Trains a batch part by part; the best that is left at the end."""
    states, alive = optuna.trial.TrialState, batch
    for until in _parts(task.epochs, options):
        if not alive:
            break
        candidates.train(alive, until, task)
        for one in alive:
            one.trial.set_user_attr(SECONDS, one.seconds)
            if one.error is None:
                one.trial.report(one.score, until)
            else:
                one.trial.set_user_attr(EPOCHS, one.epochs)
                study.tell(one.trial, state=states.FAIL)
        alive = [one for one in alive if one.error is None]
        if until == task.epochs:
            break
        kept = _kept(study, alive, until, task.measure, options)
        for one in alive:
            if one not in kept:
                one.trial.set_user_attr(EPOCHS, one.epochs)
                study.tell(one.trial, state=states.PRUNED)
        alive = kept
    for one in alive:
        one.trial.set_user_attr(EPOCHS, one.epochs)
        study.tell(one.trial, one.score)
    return (max if task.measure.larger else min)(alive, key=lambda one: one.score, default=None)


def _kept(study: Any, alive: list[Candidate], until: int, measure: Measure, options: Options) -> list[Candidate]:
    """Those that go on: the pruner's, or who is among the best 1 / factor of all that came as far."""
    if options.pruner is not None:
        return [one for one in alive if not one.trial.should_prune()]
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name != "FAIL"]
    scores = sorted((trial.intermediate_values[until] for trial in trials if until in trial.intermediate_values),
                    reverse=measure.larger)  # fmt: skip
    limit = scores[math.ceil(len(scores) / options.factor) - 1] if scores else 0.0
    return [one for one in alive if not measure.better(limit, one.score)]


def _progress(study: Any, measure: Measure, budget: int) -> str:
    trials = finished(study)
    scored = [trial for trial in trials if trial.state.name == "COMPLETE"]
    best = (max if measure.larger else min)(scored, key=lambda trial: trial.value, default=None)
    if best is None:
        return f"{len(trials)} of {budget} settings"
    return f"{len(trials)} of {budget} settings, best {measure.name} {best.value:.4g}"
