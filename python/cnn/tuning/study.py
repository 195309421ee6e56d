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
from cnn.tuning.result import EPOCHS, JUDGED, SECONDS, SETTING, SearchResult, finished
from cnn.tuning.space import Function, Space

_PARTS = 3  # of the epochs: after each but the last, settings are given up
_DIGESTS = ("data", "held-out rows")
_LONG = (*_DIGESTS, "choices")  # what is not shown where it differs
_ABOUT = "cnn"  # where a study keeps what it is of
_OUTCOME, _WITHOUT_SCORE = "outcome", "without score"  # what a trial is told of; whether its metric was never finite


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
        known = _taken_up(optuna, study, options.sampler is not None)
        best: Candidate | None = None
        stops: list[None] = []
        study.stop = lambda: stops.append(None)  # called by samplers that have no more; Optuna's own is for `optimize`
        while (done := len(finished(study))) < options.budget and not stops:
            numbers = range(done, min(done + options.at_once, options.budget))
            batch = [_ask(optuna, study, build, task, options, number, known) for number in numbers]
            found = _try(optuna, study, batch, task, options)
            if found is not None and (best is None or task.measure.better(found.score, best.score)):
                best = found
            if options.say is not None:
                options.say(_progress(study, task.measure, options.budget))
        complete = [trial for trial in finished(study) if trial.state.name == "COMPLETE"]
        if not complete:
            raise DivergenceError(_nothing_left(study, task.measure, options.budget))
        winner = (max if task.measure.larger else min)(complete, key=lambda trial: trial.value)
        if best is None or best.trial.number != winner.number:  # it was found before the study went on: the same bits
            again = optuna.trial.FixedTrial(winner.params)
            best = candidates.candidate(again, build(again, options.seed + winner.user_attrs[SETTING]), task)
            for until in _parts(task.epochs, options):
                candidates.train([best], until, task)
        best.take_best()
        del study.stop
    return SearchResult(study, build, task.measure, best.networks, winner)


def _nothing_left(study: Any, measure: Measure, budget: int) -> str:
    """Why there is no best setting."""
    if any(trial.user_attrs.get(_WITHOUT_SCORE) for trial in finished(study)):
        return (f"none of {budget} settings has a score: {measure.name} of the held-out rows is never finite. Choose "
                "another metric, or other rows to hold out")  # fmt: skip
    return (f"none of {budget} settings could be trained to the end: their losses stop being finite. Lower the "
            "learning rates, and standardise inputs and targets")  # fmt: skip


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


def _taken_up(optuna: Any, study: Any, own_sampler: bool) -> dict[int, dict[str, Any]]:
    """What is fixed of the settings to come, by their numbers; trials that a break has left are ended.

    A batch that was broken off is tried anew as a whole, and where it had only to be told of, that is done: so the
    trials that samplers and pruners go by are those of a search without the break, in the same order. The settings are
    drawn anew too, by the same seed, but for those of a user's sampler, whose state is not known. Only one program at a
    time works on a study.
    """
    states, fixed, waiting = optuna.trial.TrialState, dict[int, dict[str, Any]](), []
    judged = study.user_attrs.get(JUDGED, 0)
    for trial in study.get_trials(deepcopy=False):
        number = trial.user_attrs.get(SETTING, -1)
        if trial.state == states.WAITING:
            waiting.append(trial)
        elif number >= judged:
            fixed[number] = {**trial.system_attrs.get("fixed_params", {}), **(trial.params if own_sampler else {})}
        if trial.state == states.RUNNING:
            if 0 <= number < judged:
                _tell(optuna, study, trial)
            else:
                study.tell(trial.number, state=states.FAIL)
    for trial in waiting:  # those that a user has put there come last
        number = trial.user_attrs.get(SETTING, max(fixed, default=judged - 1) + 1)
        fixed[number] = trial.system_attrs["fixed_params"]
        taken = study.ask()
        taken.set_user_attr(SETTING, number)
        study.tell(taken, state=states.FAIL)
    return fixed


def _ask(
    optuna: Any, study: Any, build: Space | Function, task: Task, options: Options, number: int,
    fixed: dict[int, dict[str, Any]],
) -> Candidate:  # fmt: skip
    """The setting of that number, with its networks."""
    if options.sampler is None:  # seeded anew, so that a study that goes on draws what it would have drawn
        study.sampler = optuna.samplers.TPESampler(seed=options.seed + number)
    if fixed.get(number):
        study.enqueue_trial(fixed[number], user_attrs={SETTING: number})
    trial = study.ask()
    trial.set_user_attr(SETTING, number)
    return candidates.candidate(trial, build(trial, options.seed + number), task)


def _parts(epochs: int, options: Options) -> list[int]:
    """The epochs after which settings are compared."""
    factor = max(options.factor, 3) if options.pruner is not None else options.factor
    return sorted({max(1, round(epochs / factor**k)) for k in range(_PARTS)})


def _try(optuna: Any, study: Any, batch: list[Candidate], task: Task, options: Options) -> Candidate | None:
    """Trains a batch part by part; the best that is left at the end."""
    pick, alive = (max if task.measure.larger else min), batch
    for until in _parts(task.epochs, options):
        if not alive:
            break
        candidates.train(alive, until, task)
        for one in alive:
            one.trial.set_user_attr(SECONDS, one.seconds)
            if not one.failed:
                one.trial.report(one.score, until)
        alive = [one for one in alive if not one.failed]
        if until < task.epochs:
            kept = _kept(study, alive, until, task.measure, options)
            if options.say is not None and alive:
                best = pick(alive, key=lambda one: one.score).score
                options.say(f"{_which(batch)} of {options.budget}, epoch {until} of {task.epochs}: best "
                            f"{task.measure.name} {best:.4g}, {len(kept)} of {len(batch)} go on")  # fmt: skip
            alive = kept
    for one in batch:
        one.trial.set_user_attr(EPOCHS, one.epochs)
        one.trial.set_user_attr(_WITHOUT_SCORE, one.without_score)
        one.trial.set_user_attr(_OUTCOME, "FAIL" if one.failed else "COMPLETE" if one in alive else "PRUNED")
    study.set_user_attr(JUDGED, 1 + batch[-1].trial.user_attrs[SETTING])  # from here on nothing of it is tried again
    for trial in study.get_trials(deepcopy=False)[-len(batch) :]:
        _tell(optuna, study, trial)
    return pick(alive, key=lambda one: one.score, default=None)


def _tell(optuna: Any, study: Any, trial: Any) -> None:
    """Tells the study what has become of a trial that is judged."""
    state = optuna.trial.TrialState[trial.user_attrs[_OUTCOME]]
    score = trial.intermediate_values[trial.last_step] if state == optuna.trial.TrialState.COMPLETE else None
    study.tell(trial.number, score, state=state)


def _which(batch: list[Candidate]) -> str:
    first, last = (one.trial.user_attrs[SETTING] + 1 for one in (batch[0], batch[-1]))
    return f"settings {first} to {last}" if last > first else f"setting {first}"


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
