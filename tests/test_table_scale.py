"""Targets whose logarithm is learnt: when, in which units, how well, and that it goes everywhere a model goes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn
from cnn.table import lesson, scale, target
from cnn.table.settings import Settings

pd = pytest.importorskip("pandas")

N = 400
RNG = np.random.default_rng(0)
X = pd.DataFrame({"a": RNG.normal(size=N), "b": RNG.uniform(-1, 1, N)})
GROWTH = np.exp(2 * X["a"] + X["b"] + RNG.normal(0, 0.2, N)).to_numpy()  # what a logarithm makes easy
SMALL: dict[str, Any] = {"members": 2, "hidden": (16,), "epochs": 30, "seed": 0}


def fitted(y: Any, frame: Any = X, **changed: Any) -> cnn.TableModel:
    return cnn.TableModel("y", **{**SMALL, **changed}).fit(frame.assign(y=y), verbose=0)


@pytest.fixture(scope="module")
def model() -> cnn.TableModel:
    return fitted(GROWTH, target_scale="log")


@pytest.mark.parametrize("zeros", [0, 50])
def test_what_networks_learn(zeros: int) -> None:
    y = np.where(np.arange(N) < zeros, 0.0, GROWTH)
    goal = target.learn(pd.Series(y, name="y"), np.arange(N), "regression", log=True)
    offset = np.median(y[y > 0]) if zeros else 0.0
    logs = np.log(y + offset)
    assert goal.offset == offset
    np.testing.assert_allclose((goal.mean, goal.deviation), (logs.mean(), logs.std()))
    np.testing.assert_allclose(goal.scaled(y), (logs - logs.mean()) / logs.std(), atol=1e-6)
    np.testing.assert_allclose(goal.predicted((logs - logs.mean()) / logs.std()), y, atol=1e-9)
    below = goal.scaled(np.array([-1e9, y.min()]))  # of a table held out
    assert below[0] == below[1]
    np.testing.assert_allclose(goal.predicted(np.array([-100.0, 100.0])), [y.min(), y.max()])


def test_numbers_of_one_magnitude_and_extreme_ones() -> None:
    for y in (np.array([1e-310, 5e-324, 1.0, 1e300] * 10), np.array([3.0, 4.0] * 20)):
        goal = target.learn(pd.Series(y, name="y"), np.arange(40), "regression", log=True)
        with np.errstate(all="ignore"):
            again = goal.predicted(goal.scaled(y).astype(float))
        assert np.isfinite(goal.scaled(y)).all()
        np.testing.assert_allclose(again[y > 1e-300], y[y > 1e-300], rtol=1e-3)
    same = pd.Series([1e15, np.nextafter(1e15, 2e15)] * 20, name="y")  # their logarithms are one number
    with pytest.raises(cnn.TableError, match="scale them first"):
        target.learn(same, np.arange(40), "regression", log=True)


def test_predictions_are_numbers_whose_mean_is_right(model: cnn.TableModel) -> None:
    known = model.out_of_member
    assert known is not None
    assert np.mean(known.y / known.outputs) == pytest.approx(1, abs=1e-3)  # clipped ones are off
    found = model.predict(X)
    assert found.min() >= GROWTH.min()
    assert np.corrcoef(np.log(found), np.log(GROWTH))[0, 1] > 0.97
    logs = np.mean([net.predict(model.encoder.encode(X)).astype(float) for net in model.networks], axis=0)
    expected = np.exp(logs * model.goal.deviation + model.goal.mean)
    np.testing.assert_allclose(found, np.clip(expected, GROWTH.min(), GROWTH.max()), rtol=1e-5)
    assert model.scores["validation"]["rmse"] == pytest.approx(np.sqrt(np.mean((known.y - known.outputs) ** 2)))


@pytest.mark.parametrize(("loss", "factor"), [("mse", 2.0), ("mae", 1.0), (cnn.Quantile(0.9), 1.0)])
def test_only_a_mean_is_corrected(loss: Any, factor: float) -> None:
    """A median of logarithms is that of the numbers."""
    goal = target.learn(pd.Series(GROWTH, name="y"), np.arange(N), "regression", loss=cnn.losses.get(loss), log=True)
    z = (np.log(GROWTH) - goal.mean) / goal.deviation
    again = goal.unbiased(2 * GROWTH, GROWTH)
    np.testing.assert_allclose(np.exp(z * again.deviation + again.mean), factor * GROWTH)
    assert fitted(GROWTH, target_scale="log", loss=loss, epochs=1).predict(X).min() > 0


def test_auto_takes_what_is_better_on_held_out_rows() -> None:
    found = fitted(GROWTH)
    assert found.goal.offset == 0
    assert "the logarithm of 'y' is learnt: RMSE" in found.notes[-1]
    forced = fitted(GROWTH, target_scale="log")
    np.testing.assert_array_equal(found.predict(X), forced.predict(X))
    assert found.goal == forced.goal
    square = np.maximum(X["a"], 0) ** 2 + np.exp(np.random.default_rng(3).normal(-9, 4, N))  # noise, in a logarithm
    plain = fitted(square)
    assert plain.goal.offset is None
    assert "'y' is learnt as it is, its logarithm was tried: RMSE" in plain.notes[-1]
    np.testing.assert_array_equal(plain.predict(X), fitted(square, target_scale="linear").predict(X))


@pytest.mark.parametrize(("y", "changed"), [
    (GROWTH - 0.2, {}), (X["a"] + 9, {}), (GROWTH, {"loss": "poisson"}),
    (GROWTH, {"loss": "mae"}), (np.where(GROWTH > 1, "yes", "no"), {}), (GROWTH, {"target_scale": "linear"}),
    (GROWTH, {"max_seconds": 4.9, "epochs": None}), (np.where(np.arange(N) < 30, GROWTH, np.nan), {}),
], ids=["negative", "not skewed", "poisson", "mae", "classes", "linear", "little time", "few rows"])  # fmt: skip
def test_where_it_is_not_tried(y: Any, changed: dict[str, Any], monkeypatch) -> None:
    monkeypatch.setattr(scale, "_compared", None)
    found = fitted(y, **changed)
    assert found.goal.offset is None
    assert not any("logarithm" in note for note in found.notes)


def test_a_pilot_that_can_not_be_leaves_it_to_the_fit(monkeypatch) -> None:
    frame = pd.DataFrame({"y": GROWTH, "constant": 1.0})
    with pytest.raises(cnn.TableError, match="column"):
        cnn.TableModel("y", **SMALL).fit(frame, verbose=0)
    with pytest.raises(cnn.TableError, match="weights"):
        cnn.TableModel("y", **SMALL).fit(X.assign(y=GROWTH, w="x"), sample_weight="w", verbose=0)


def test_the_pilot_of_many_rows_and_of_weighted_ones() -> None:
    rng = np.random.default_rng(1)
    many = pd.DataFrame({"a": rng.normal(size=4000), "w": np.arange(4000) % 3})
    y = np.exp(2 * many["a"] + rng.normal(0, 0.2, 4000))
    found, said = scale.settled(many.assign(y=y), "y", Settings(hidden=(64,)), 0, "w", None)
    assert found.target_scale == "log"
    assert len(said) == 1
    again, _ = scale.settled(many.assign(y=y), "y", Settings(hidden=(64,)), 0, "w", 1)
    assert again == found


def test_it_goes_to_files(model: cnn.TableModel, tmp_path: Path) -> None:
    model.save(tmp_path / "m.cnn")
    again = cnn.load(tmp_path / "m.cnn")
    assert again.goal == model.goal
    assert again.settings.target_scale == "log"
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_array_equal(again.predict_interval(X), model.predict_interval(X))


def test_intervals_and_deviations_are_those_of_numbers() -> None:
    rows = X.assign(y=GROWTH)
    found = cnn.TableModel("y", **{**SMALL, "members": 5, "target_scale": "log"}).fit(rows[:250], verbose=0)
    ends = found.predict_interval(rows[250:])
    inside = (ends[:, 0] <= GROWTH[250:]) & (GROWTH[250:] <= ends[:, 1])
    assert 0.8 <= inside.mean() <= 0.98
    assert (ends[:, 0] >= 0).all()
    assert (found.predict_std(rows) > 0).all()
    assert (found.predict_quantiles(rows, 0.001 + 0.01) >= 0).all()


def test_explanations_are_in_units_of_the_target(model: cnn.TableModel) -> None:
    found = cnn.explain.integrated_gradients(model, X[:20], baseline=X[20:21], steps=300)
    whole = found.values.sum(axis=1) + found.base_values
    inside = (model.predict(X[:20]) > GROWTH.min()) & (model.predict(X[:20]) < GROWTH.max())
    np.testing.assert_allclose(whole[inside], model.predict(X[:20])[inside], rtol=0.02, atol=1e-3)
    raw = cnn.explain.integrated_gradients(model, X[:20], baseline=X[20:21], steps=300, raw=True)
    np.testing.assert_allclose(
        (raw.values.sum(axis=1) + raw.base_values)[inside], np.log(model.predict(X[:20]))[inside], rtol=0.02, atol=0.01
    )
    lines = cnn.explain.partial_dependence(model, X[:50], "a")
    assert lines.individual.min() >= 0


@pytest.mark.parametrize(("arguments", "text"), [
    ({"target_scale": "sqrt"}, "target_scale must be 'auto', 'linear' or 'log', got 'sqrt'"),
    ({"target_scale": "log", "task": "classification"}, "target_scale='log' is for numbers, and task or loss is one"),
    ({"target_scale": "log", "loss": "gamma"}, "not for loss 'gamma', which has a logarithmic link itself"),
    ({"target_scale": "log", "loss": "huber"}, "not for loss 'huber', which is in units of the target"),
])  # fmt: skip
def test_arguments_that_can_not_be(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        cnn.TableModel("y", **arguments)


@pytest.mark.parametrize(("y", "text"), [
    (GROWTH - 1, "target_scale='log' needs numbers >= 0, and the target 'y' has -0.9"),
    (np.where(GROWTH > 1, "yes", "no"), "target_scale='log' is for numbers; 'y' is predicted as a class"),
])  # fmt: skip
def test_targets_that_have_no_logarithm(y: Any, text: str) -> None:
    found = fitted(GROWTH, target_scale="log", epochs=1)
    before = copy.copy(vars(found))
    with pytest.raises(cnn.TableError, match=text):
        found.fit(X.assign(y=y), verbose=0)
    assert vars(found) == before


def test_tables_in_pieces() -> None:
    rows = X.assign(y=GROWTH)
    found = cnn.TableModel("y", **SMALL).fit([rows[:150], rows[150:]], stream=True, verbose=0)
    assert found.goal.offset == 0
    assert "the logarithm of 'y' is learnt" in found.notes[-1]
    taught = np.setdiff1d(np.arange(N), found.held_out)
    logs = np.log(GROWTH[taught])
    known = found.out_of_member
    assert known is not None
    assert np.mean(known.y / known.outputs) == pytest.approx(1, abs=1e-2)
    np.testing.assert_allclose(found.goal.deviation, logs.std(), rtol=1e-9)
    assert np.corrcoef(np.log(found.predict(X)), np.log(GROWTH))[0, 1] > 0.9


def test_rows_that_the_sample_has_not_seen(monkeypatch) -> None:
    """A number below those of the sample, which may have no logarithm, counts as the lowest."""
    from cnn.table import large

    survey = large.survey
    monkeypatch.setattr(large, "survey", lambda *given: (lambda found: (found[0][found[0]["y"] > 0], found[1]))(
        survey(*given)))  # fmt: skip
    y = np.where(np.arange(N) == 7, -5.0, GROWTH)
    model = cnn.TableModel("y", **SMALL, target_scale="log").fit([X.assign(y=y)], stream=True, verbose=0)
    assert np.isfinite(model.predict(X)).all()
    assert model.goal.low >= GROWTH.min()


def test_a_validation_table_may_have_smaller_numbers() -> None:
    rows = X.assign(y=GROWTH)
    found = cnn.TableModel("y", **SMALL, target_scale="log").fit(
        rows[:300], validation=rows[300:].assign(y=-1.0), verbose=0
    )
    assert np.isfinite(found.predict(X)).all()


def test_a_lesson_of_logarithms_has_bins_of_them() -> None:
    settings = Settings(target_scale="log", members=2)
    plain = lesson.of_frame(X.assign(y=np.log(GROWTH)), "y", Settings(members=2), 0, None)
    found = lesson.of_frame(X.assign(y=GROWTH), "y", settings, 0, None)
    np.testing.assert_array_equal(found.circle.numbers, plain.circle.numbers)
    np.testing.assert_allclose(found.circle.scaled, plain.circle.scaled, rtol=1e-5, atol=1e-6)
    assert found.encoder.inputs == plain.encoder.inputs


def test_the_command_takes_it(run: Any) -> None:
    pytest.importorskip("typer")
    X.assign(y=GROWTH).to_csv("t.csv", index=False)
    short = ["train", "t.csv", "-t", "y", "--epochs", "1", "--members", "1", "--hidden", "4", "--quiet"]
    for asked, offset in (("log", 0.0), ("linear", None)):
        assert run(*short, "--target-scale", asked) == (0, "", "")
        assert cnn.load("model.cnn").goal.offset == offset
    status, _, said = run(*short, "--target-scale", "root")
    assert status == 2
    assert "root" in said


def test_several_targets_have_a_logarithm_each(tmp_path: Path) -> None:
    rows = X.assign(y=GROWTH, z=np.where(GROWTH > 3, GROWTH, 0.0))
    found = cnn.TableModel(["y", "z"], **SMALL, target_scale="log").fit(rows, verbose=0)
    offsets = [one.offset for one in found.goal.each]
    assert offsets == [0.0, np.median(rows["z"][rows["z"] > 0])]
    p = found.predict(X)
    for i, one in enumerate(found.goal.each):
        logs = np.mean([net.predict(found.encoder.encode(X))[:, i] for net in found.networks], axis=0)
        expected = np.exp(logs * one.deviation + one.mean) - one.offset
        np.testing.assert_allclose(p[:, i], np.clip(expected, one.low, one.high), rtol=1e-4, atol=1e-4)
    found.save(tmp_path / "m.cnn")
    np.testing.assert_array_equal(cnn.load(tmp_path / "m.cnn").predict(X), p)
    lines = cnn.explain.partial_dependence(found, X[:20], "a")
    assert lines.mean.shape[1] == 2
    plain = cnn.TableModel(["y", "z"], **SMALL).fit(rows, verbose=0)
    assert not plain.goal.logarithmic
