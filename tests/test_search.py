"""Searches: what is trained and given up, beside plain fits; what goes on after a break, to the same bits."""

from __future__ import annotations

import math
import pickle
import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.9")
pytest.importorskip("optuna", minversion="5")
import optuna
from sklearn.model_selection import KFold

import cnn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3)).astype(np.float32)
Y = X[:, 0] * X[:, 1] + 0.5 * X[:, 2]
CLASSES = np.digitize(Y, [-0.3, 0.3])
HELD_OUT = X[80:], Y[80:]
SPACE = {"units": (2, 16), "learning_rate": (1e-3, 0.1, "log"), "activation": ["relu", "tanh"]}
QUICK: dict[str, Any] = {"epochs": 9, "batch_size": 32, "verbose": 0}


def search(space: Any = SPACE, **options: Any) -> cnn.SearchResult:
    given: dict[str, Any] = {"y": Y[:80], "budget": 9, "validation_data": HELD_OUT, **QUICK, **options}
    return cnn.search(space, X[:80], **given)


def test_a_function_may_give_the_network_that_it_gave_before() -> None:
    net = cnn.Network([cnn.Dense(3), cnn.Dense(1)], seed=1)

    def build(trial: Any) -> cnn.Network:
        trial.suggest_int("nothing", 0, 9)
        return net

    found = search(build, budget=3, factor=1)
    assert net.step == 0
    assert found.results["epochs"] == [9, 9, 9]
    assert len(set(found.results["rmse"])) == 1


def test_whole_numbers_of_numpy_are_whole() -> None:
    assert isinstance(search({"units": (np.int64(2), np.int64(5))}, budget=3).best_settings["units"], int)


def test_a_result_may_be_pickled() -> None:
    found = search()
    again = pickle.loads(pickle.dumps(found))
    assert again.results == found.results
    assert again.network.predict(X).tobytes() == found.network.predict(X).tobytes()


def states(found: cnn.SearchResult) -> dict[str, int]:
    return dict(Counter(found.results["state"]))


def test_the_best_score_is_that_of_the_network() -> None:
    found = search()
    assert found.best_score == pytest.approx(found.network.evaluate(*HELD_OUT)["rmse"], rel=1e-6)
    assert found.best_settings["activation"] in ("relu", "tanh")
    complete = [score for score, state in zip(found.results["rmse"], found.results["state"], strict=True)
                if state == "complete"]  # fmt: skip
    assert found.best_score == min(complete)
    assert found.networks == [found.network]
    assert found.network.descriptions[0].units == found.best_settings["units"]
    assert found.study.best_value == found.best_score


@pytest.mark.parametrize("schedule", ["constant", "one_cycle", "cosine"])
def test_a_network_trained_in_parts_is_one_trained_at_once(schedule: str) -> None:
    found = search({"units": [5], "schedule": [schedule], "weight_decay": [0.01], "dropout": [0.2]}, budget=3, seed=7)
    assert sorted(found.results["epochs"]) == [1, 1, 9]
    place = found.results["epochs"].index(9)
    rate = cnn.schedules.BY_NAME[schedule](0.001)
    stack = [cnn.Dense(5, "relu"), cnn.Dropout(0.2), cnn.Dense(5, "relu"), cnn.Dropout(0.2), cnn.Dense(1)]
    own = cnn.Network(stack, optimizer=cnn.Adam(rate, weight_decay=0.01), seed=7 + place)
    scores, weights = [], []

    def watch(network: cnn.Network, epoch: int, logs: dict[str, float]) -> None:
        scores.append(network.evaluate(*HELD_OUT)["rmse"])
        weights.append(network.flat.tobytes())

    own.fit(X[:80], Y[:80], epochs=9, batch_size=32, callbacks=[watch], verbose=0)
    assert own.history.loss == found.network.history.loss
    assert own.history.learning_rate == found.network.history.learning_rate
    best = int(np.argmin(scores))
    assert found.best_score == pytest.approx(scores[best], rel=1e-6)
    assert found.network.flat.tobytes() == weights[best]


def test_two_thirds_are_given_up_each_time() -> None:
    found = search(at_once=9)
    assert Counter(found.results["epochs"]) == {1: 6, 3: 2, 9: 1}
    assert states(found) == {"pruned": 8, "complete": 1}
    scores = np.array(found.results["rmse"])
    first = np.array(found.results["epochs"]) == 1
    trials = {t.user_attrs["setting"]: t.intermediate_values for t in found.study.trials}
    after_one = np.array([trials[i][1] for i in range(9)])
    assert after_one[first].min() >= after_one[~first].max()
    assert scores.argmin() in np.flatnonzero(~first) or scores.min() == scores[first].min()
    # Later batches are compared with all that came as far.
    later = search(at_once=3, budget=12)
    for step, epochs in ((1, 3), (3, 9)):
        trials = [trial.intermediate_values for trial in later.study.trials]
        went_on = [values[step] for values in trials if epochs in values]
        assert max(went_on) <= sorted(values[step] for values in trials if step in values)[-2]
    everything = search(factor=1, budget=4)
    assert states(everything) == {"complete": 4}
    assert everything.results["epochs"] == [9] * 4


def test_a_study_of_something_else_is_not_gone_on_with(tmp_path: Any) -> None:
    storage = tmp_path / "s.log"
    search(storage=storage)
    changed: list[tuple[dict[str, Any], str]] = [
        ({"epochs": 10}, "was begun with epochs 9, not 10"), ({"seed": 1}, "was begun with seed 0, not 1"),
        ({"metric": "mae"}, "was begun with metric 'rmse', not 'mae'"), ({"factor": 2}, "begun with factor 3, not 2"),
        ({"patience": 2}, "was begun with patience None, not 2"),
        ({"sample_weight": np.arange(80) + 1}, "was begun with other data: give the same, or another study"),
        ({"validation_data": (X[70:], Y[70:])}, "was begun with other held-out rows"),
        ({"space": {"units": (2, 17)}}, "was begun with other choices"),
        ({"loss": "huber", "metric": "rmse"}, "was begun with loss"), ({"batch_size": 8}, "with batch_size 32, not 8"),
    ]  # fmt: skip
    for options, text in changed:
        with pytest.raises(ValueError, match=text):
            search(storage=storage, **options)
    assert len(search(storage=storage, epochs=10, name="another").results["state"]) == 9
    url = f"sqlite:///{tmp_path}/s.db"  # a database is one of the storages
    optuna.create_study(storage=url, study_name="cnn").ask()
    with pytest.raises(ValueError, match="the study 'cnn' in this storage is not one of"):
        search(storage=url)
    assert search(storage=url, name="new", budget=3).study.user_attrs["cnn"]["epochs"] == 9


def test_optunas_samplers_and_pruners() -> None:
    grid = {"units": [3, 6], "activation": ["relu", "tanh"]}
    found = search(grid, budget=4, factor=1, sampler=optuna.samplers.GridSampler(grid, seed=0))
    tried = set(zip(found.results["units"], found.results["activation"], strict=True))
    assert tried == {(3, "relu"), (3, "tanh"), (6, "relu"), (6, "tanh")}
    median = optuna.pruners.MedianPruner(n_startup_trials=0, n_warmup_steps=0)
    found = search(budget=8, at_once=4, pruner=median)
    assert 0 < states(found).get("pruned", 0) < 8
    assert states(search(budget=2, pruner=optuna.pruners.NopPruner())) == {"complete": 2}


def test_folds() -> None:
    found = cnn.search({"learning_rate": [0.02]}, X, Y, budget=1, factor=1, cv=4, **QUICK)
    assert len(found.networks) == 4
    scores = [net.evaluate(X[test], Y[test])["rmse"]
              for net, (_, test) in zip(found.networks, KFold(4).split(X), strict=True)]  # fmt: skip
    assert found.best_score == pytest.approx(np.mean(scores), rel=1e-6)
    again = cnn.search({"learning_rate": [0.02]}, X, Y, budget=1, factor=1, cv=KFold(4), n_threads=3, **QUICK)
    assert [net.flat.tobytes() for net in again.networks] == [net.flat.tobytes() for net in found.networks]


def test_a_share_of_each_class_is_held_out() -> None:
    found = cnn.search(
        {"units": [6], "learning_rate": (0.01, 0.1)}, X, CLASSES, budget=3, loss="cross_entropy", metric="accuracy",
        valid=0.25, class_weight="balanced", sample_weight=np.ones(120), **QUICK,
    )  # fmt: skip
    assert found.larger_is_better
    assert found.metric == "accuracy"
    assert 0.4 < found.best_score == max(found.results["accuracy"]) <= 1
    assert found.network.n_outputs == 3
    from cnn.tuning.search import _held_out

    rows = cnn.runtime.data.prepare(X, CLASSES, None, cnn.Loss("cross_entropy"), np.dtype("float32"), None, 3)
    ((train, held_out),) = _held_out(rows, 0.25, None, None, None, 0, None, None, 3)
    assert len(train) == 90
    assert np.abs(np.bincount(held_out.classes) - np.bincount(CLASSES) / 4).max() <= 1


def test_a_space_that_builds_networks() -> None:
    sizes = []

    def build(trial: Any) -> Any:
        depth = trial.suggest_int("depth", 0, 2)
        stack = [cnn.Dense(trial.suggest_int(f"width {i}", 2, 8), "tanh") for i in range(depth)]
        sizes.append(trial.suggest_categorical("batch", [8, 80]))
        return cnn.Network([*stack, cnn.Dense(1)], seed=0, optimizer=cnn.Adam(0.01)), {"batch_size": sizes[-1]}

    found = search(build, budget=6)
    assert set(found.results) == {"state", "rmse", "epochs", "seconds", "depth", "batch", "width 0", "width 1"}
    assert len(found.network.descriptions) == 1 + found.best_settings["depth"]
    assert found.network.step == (90 if found.best_settings["batch"] == 8 else 9)
    assert None in found.results["width 1"]
    assert "-" in str(found)


def test_settings_that_diverge_leave_the_others_alone() -> None:
    found = search({"learning_rate": [0.01, 1e18], "optimizer": ["sgd"], "units": [4]}, budget=8, factor=1)
    for state, rate, score in zip(*(found.results[name] for name in ("state", "learning_rate", "rmse")), strict=True):
        assert (state, score is None) == (("diverged", True) if rate > 1 else ("complete", False))
    assert {"diverged", "complete"} == set(found.results["state"])
    assert found.best_settings["learning_rate"] == 0.01
    with pytest.raises(cnn.DivergenceError, match="none of 3 settings could be trained to the end: their losses stop"):
        search({"learning_rate": [1e18], "optimizer": ["sgd"]}, budget=3)


def test_a_metric_that_is_never_finite_is_named() -> None:
    def nothing(y: Any, p: Any, weights: Any = None) -> float:
        return math.nan

    text = "none of 3 settings has a score: nothing of the held-out rows is never finite. Choose another metric"
    with pytest.raises(cnn.DivergenceError, match=text):
        search(metric=nothing, budget=3)


def test_it_says_how_it_goes_after_each_part(capsys: Any) -> None:
    search(budget=5, at_once=4, verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": best")[0] for line in lines[:2]] == [
        "settings 1 to 4 of 5, epoch 1 of 9", "settings 1 to 4 of 5, epoch 3 of 9"
    ]  # fmt: skip
    assert lines[0].endswith("2 of 4 go on")
    assert lines[2].startswith("4 of 5 settings, best rmse ")
    assert lines[3].startswith("setting 5 of 5, epoch 1 of 9: best rmse ")
    assert max(map(len, lines)) <= 80


def test_patience_ends_a_network() -> None:
    found = search({"learning_rate": [0.05], "units": [16]}, budget=1, factor=1, epochs=400, patience=3)
    assert found.results["epochs"][0] < 400
    assert len(found.network.history) == found.results["epochs"][0]


def test_what_counts() -> None:
    def worst(y: Any, p: Any, weights: Any = None) -> float:
        return float(np.abs(y - p).max())

    found = search(metric=worst, budget=3)
    assert found.best_score == pytest.approx(np.abs(found.network.predict(HELD_OUT[0]) - HELD_OUT[1]).max(), rel=1e-6)
    assert search(metric="r2", budget=3).larger_is_better
    assert not search(metric="r2", mode="min", budget=3).larger_is_better
    plain = search({"l2": [1.0], "units": [4]}, metric="loss", budget=1, factor=1)
    expected = plain.network.evaluate(*HELD_OUT)["rmse"] ** 2  # without penalties
    assert plain.best_score == pytest.approx(expected, rel=1e-5)
    assert search({"units": [4]}, loss="huber", budget=1, factor=1).metric == "loss"


def test_choices_of_any_kind_and_ranges() -> None:
    found = search({"hidden": [(), (4,), (8, 4)], "activation": [cnn.Activation("elu", 0.5), "relu"],
                    "schedule": [cnn.schedules.Step(epochs=2)], "learning_rate": (1e-3, 1e-2), "clip_norm": [None, 1.0],
                    "batch_size": (8, 64, "log"), "l1": (1e-6, 1e-3, "log")}, budget=6)  # fmt: skip
    widths = [layer.units for layer in found.network.descriptions]
    assert (*found.best_settings["hidden"], 1) == tuple(widths)
    assert all(8 <= size <= 64 and isinstance(size, int) for size in found.results["batch_size"])
    assert all(1e-3 <= rate <= 1e-2 for rate in found.results["learning_rate"])
    assert found.network.optimizer.learning_rate.epochs == 2


def test_the_table_and_the_picture(tmp_path: Any, capsys: Any) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib")
    found = search(budget=12, verbose=1)
    said = capsys.readouterr().out
    assert "12 of 12 settings, best rmse" in said
    lines = str(found).splitlines()
    assert lines[0].split() == ["rmse", "state", "epochs", "seconds", "units", "learning_rate", "activation"]
    assert float(lines[1].split()[0]) == pytest.approx(found.best_score, rel=1e-3)
    assert lines[-1] == "... and 2 more"
    assert repr(found) == f"SearchResult(12 settings, best rmse {found.best_score:.4g})"
    assert found._repr_html_().count("<tr>") == 11
    frame = found.to_frame()
    assert frame["units"].tolist() == found.results["units"]
    figure = found.plot(tmp_path / "s.png")
    assert (tmp_path / "s.png").stat().st_size > 1000
    assert [axes.get_xlabel() for axes in figure.axes] == ["trial", "units", "learning_rate", "activation"]
    assert figure.axes[2].get_xscale() == "log"
    *points, ring = figure.axes[1].lines
    drawn, top = np.concatenate([line.get_ydata() for line in points]), figure.axes[1].get_ylim()[1]
    assert sorted(drawn) == sorted(np.minimum(found.results["rmse"], top))
    assert ring.get_ydata() == [found.best_score]
    best = figure.axes[0].lines[-1].get_ydata()
    assert (np.diff(best) <= 0).all()
    assert best[-1] == found.best_score


def test_optuna_says_what_it_said_before() -> None:
    before = optuna.logging.get_verbosity()
    search(budget=3)
    assert optuna.logging.get_verbosity() == before


def test_without_optuna_it_says_what_to_install(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"needs Optuna 5 or newer \(extra 'search'\): pip install -U optuna"):
        search()
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "cnn.sklearn.cross_validation", None)
    with pytest.raises(ImportError, match=r"cv needs scikit-learn \(extra 'sklearn'\): pip install scikit-learn"):
        cnn.search(SPACE, X, Y, budget=3, cv=3)


def network(trial: Any, units: int = 1, **options: Any) -> cnn.Network:
    trial.suggest_float("rate", 0, 1)
    return cnn.Network([cnn.Dense(units)], **options)


def changing(trial: Any) -> cnn.Network:
    return network(trial, dtype="float32" if trial.number == 0 else "float64")


BAD: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    ({}, {}, ValueError, "the space is empty: give it one of hidden, units"),
    ({"unit": (1, 2)}, {}, ValueError, r"unknown setting 'unit'. Did you mean 'units'\? Known: activation"),
    ({"units": []}, {}, ValueError, "units has no values to choose from: the list is empty"),
    ({"units": (8, 8)}, {}, ValueError, r"units has no values: its range must rise, got \(8, 8\)"),
    ({"units": (9, 8)}, {}, ValueError, "units has no values: its range must rise"),
    ({"units": 8}, {}, TypeError, r"units must be \(low, high\), \(low, high, 'log'\) or a list of choices, got 8"),
    ({"units": (1, 2, 3)}, {}, ValueError, "the third of units can only be 'log', got 3"),
    ({"activation": ("relu", "tanh")}, {}, TypeError, r"choices are a list, \[...\], got \('relu', 'tanh'\)"),
    ({"learning_rate": (0, 1, "log")}, {}, ValueError, "learning_rate on a log scale must begin above 0"),
    ({"learning_rate": (0.1, None)}, {}, TypeError, "an end of learning_rate must be a number, got None"),
    ({"activation": ["rleu"]}, {}, ValueError, "unknown activation 'rleu'"),
    ({"optimizer": ["adm"]}, {}, ValueError, "unknown optimizer 'adm'"),
    ({"schedule": ["cosin"]}, {}, ValueError, "unknown schedule 'cosin'"),
    ({"dropout": (0.0, 1.5)}, {}, ValueError, "1.5"),
    ({"batch_size": [0]}, {}, ValueError, "batch_size must be an integer >= 1, got 0"),
    ({"units": (0.5, 2.5)}, {}, TypeError, "units must be an integer >= 1"),
    ({"hidden": [8]}, {}, TypeError, r"hidden must be choices of widths such as \[\(32,\), \(64, 64\)\], got 8"),
    ({"hidden": [(8,)], "units": (1, 2)}, {}, ValueError, "hidden gives the widths of all hidden layers; units and"),
    (cnn.Network([cnn.Dense(1)]), {}, TypeError, "space must be a dict of settings or a function of a trial, got N"),
    (SPACE, {"validation_split": 0.2}, TypeError, "search has no argument 'validation_split': here it is 'valid'"),
    (SPACE, {"random_state": 1}, TypeError, "search has no argument 'random_state': here it is 'seed'"),
    ("space", {}, TypeError, "space must be a dict of settings or a function of a trial, got 'space'"),
    (lambda trial: cnn.Network([cnn.Dense(1)]), {}, ValueError, "the function asked its trial for none"),
    (lambda trial: 3, {}, TypeError, "a space that is a function must return a cnn.Network"),
    (lambda trial: (network(trial), {"epochs": 3}), {}, ValueError, "unknown argument of a fit 'epochs'"),
    (changing, {}, ValueError, "all networks of a space must have the same dtype, got float64 and float32"),
    (SPACE, {"budget": 2}, ValueError, "budget=2 is too small: successive halving keeps 1 of 3 settings; try 3 at le"),
    (SPACE, {"budget": 0}, ValueError, "budget must be an integer >= 1, got 0"),
    (SPACE, {"factor": 0}, ValueError, "factor must be an integer >= 1, got 0"),
    (SPACE, {"epochs": 0}, ValueError, "epochs must be an integer >= 1, got 0"),
    (SPACE, {"metric": "rmsle"}, ValueError, "unknown metric 'rmsle'"),
    (SPACE, {"mode": "least"}, ValueError, "mode must be 'auto', 'min' or 'max', got 'least'"),
    (SPACE, {"storage": 3}, TypeError, "storage must be a file, a URL or one of Optuna's storages, got 3"),
    (SPACE, {"name": 3}, TypeError, "name must be that of a study, got 3"),
    (SPACE, {"loss": "mean"}, ValueError, "unknown loss 'mean'"),
    (SPACE, {"cv": 3}, ValueError, "give validation_data or cv, not both"),
    (SPACE, {"validation_data": None, "valid": 0.001}, ValueError, "valid=0.001 of 80 rows leaves 80 to train on and"),
    (SPACE, {"validation_data": (X, Y[:3])}, ValueError, "validation y has 3 rows, but X has 120"),
    (SPACE, {"sample_weight": -np.ones(80)}, ValueError, "sample_weight must not be negative"),
    (SPACE, {"validation_data": None, "sample_weight": np.eye(80)[0]}, ValueError,
     "sample_weight is zero for every row that valid=0.2 holds out"),
    (SPACE, {"class_weight": "balanced"}, ValueError, "class_weight needs integer classes"),
    (SPACE, {"loss": "cross_entropy", "y": np.arange(80) % 2 * 10**9}, ValueError,
     "y must hold classes 0, 1, 2, ... with rows of most of them, got 1000000000 in 80 rows; np.unique"),
    (SPACE, {"loss": "cross_entropy"}, ValueError, "y must hold whole classes, got"),
    (SPACE, {"metric": "f1"}, ValueError, "f1"),
]  # fmt: skip


@pytest.mark.parametrize(("space", "options", "kind", "text"), BAD, ids=range(len(BAD)))
def test_bad_input(space: Any, options: dict[str, Any], kind: type[Exception], text: str, tmp_path: Any) -> None:
    storage = {} if space is changing else {"storage": tmp_path / "s.log"}
    with pytest.raises(kind, match=text):
        search(space, **storage | options)
    assert list(tmp_path.iterdir()) == []
