"""The kinds of columns of a table, one at a time, beside SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnn.table import columns
from cnn.table.columns import Boolean, Category, Date, Number

pd = pytest.importorskip("pandas")
scipy_stats = pytest.importorskip("scipy.stats")
QUICK: dict[str, Any] = {"epochs": 3, "members": 2, "hidden": (8,), "seed": 0}


def test_number_by_rank_is_normal_and_the_same_as_scipy_says() -> None:
    x = np.random.default_rng(1).lognormal(size=250)
    out = np.empty((250, 2))
    Number.learn("x", x).write_values(x, out)
    ranks = (scipy_stats.rankdata(x) - 0.5) / 250
    assert np.allclose(out[:, 0], scipy_stats.norm.ppf(np.clip(ranks, 1e-3, 1 - 1e-3)), atol=0.02)
    t = (x - np.median(x)) / ((np.quantile(x, 0.75) - np.quantile(x, 0.25)) / 1.349)
    assert np.allclose(out[:, 1], t / np.sqrt(1 + (t / 3) ** 2))


def test_ties_share_a_rank_and_outliers_stay_small() -> None:
    x = np.array([0.0] * 50 + [1.0] * 50 + [1e300])
    number = Number.learn("x", x)
    out = np.empty((4, 2))
    number.write_values(np.array([0.0, 1.0, 1e308, -1e308]), out)
    assert out[0, 0] == pytest.approx(scipy_stats.norm.ppf(25 / 101))
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= 3.2


def test_gaps_are_marked_only_where_training_had_them() -> None:
    with_gaps = Number.learn("x", np.array([1.0, 2.0, np.nan]))
    out = np.empty((2, 3))
    with_gaps.write_values(np.array([np.nan, 1.0]), out)
    assert out[0].tolist() == [0, 0, 1]
    assert out[1, 2] == 0
    assert Number.learn("x", np.array([1.0, 2.0])).inputs == ["rank", "value"]


def test_categories_rare_new_and_missing() -> None:
    series = pd.Series(["a"] * 30 + ["b"] * 20 + ["c"] + [None] * 5, name="x")
    learnt = columns.learn(series, np.arange(len(series)), 64)
    assert learnt == Category("x", ("a", "b"), rare=True, gaps=True)
    out = np.empty((5, 4))
    learnt.write(pd.Series(["b", " a ", "c", "never seen", None]), out)
    assert out.tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_whole_numbers_as_categories_survive_a_gap() -> None:
    learnt = columns.learn(pd.Series([1, 2] * 20, name="x").astype("category"), np.arange(40), 64)
    assert isinstance(learnt, Category)
    assert learnt.codes(pd.Series([1.0, np.nan, 2.0])).tolist() == [0, -1, 1]


def test_booleans_and_dates_as_text() -> None:
    rows = np.arange(40)
    flags = columns.learn(pd.Series(["TRUE", "false"] * 20, name="x"), rows, 64)
    assert flags == Boolean("x", gaps=False)
    days = pd.Series([f"2024-{1 + i % 12:02}-{1 + i % 28:02}T06:00Z" for i in range(40)], name="d")
    learnt = columns.learn(days, rows, 64)
    assert isinstance(learnt, Date)
    assert learnt.periods == ("year", "week", "day")
    as_text, as_dates = np.empty((40, len(learnt.inputs))), np.empty((40, len(learnt.inputs)))
    learnt.write(days, as_text)
    learnt.write(pd.to_datetime(days), as_dates)
    assert np.array_equal(as_text, as_dates)
    assert as_text[0, learnt.inputs.index("sine of day")] == pytest.approx(1)
