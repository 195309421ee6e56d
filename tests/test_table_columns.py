"""The kinds of columns of a table, one at a time, beside SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnn.table import columns, frames
from cnn.table.columns import Boolean, Category, Date, Number
from cnn.table.encode import Encoder

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


IDS = 2**53 + np.random.default_rng(3).integers(0, 4, 200)


@pytest.mark.parametrize("cells", [
    IDS, -IDS, pd.Series(IDS, dtype="Int64"), pd.Series(IDS.astype("uint64")), pd.Series(IDS.tolist(), dtype=object),
    [str(i) for i in IDS], pd.Series([10**400 + i for i in IDS.tolist()], dtype=object),
    [None, *IDS.tolist()] * 2, pd.Series(IDS).astype("category"), [2**53, 2**53 + 1] * 100,
], ids=str)  # fmt: skip
def test_whole_numbers_that_float64_merges_are_categories(cells: Any) -> None:
    series = pd.Series(cells, name="x", dtype=object if isinstance(cells, list) and None in cells else None)
    different = series.nunique()
    found = Encoder.learn(pd.DataFrame({"x": series, "y": np.arange(len(series))}), "y", np.arange(len(series)))
    (column,) = found.columns
    assert isinstance(column, Category)
    assert sorted(map(int, column.values)) == sorted(map(int, set(series.dropna())))
    X = found.encode(pd.DataFrame({"x": series}))
    assert len(np.unique(X, axis=0)) == different + series.isna().any()


@pytest.mark.parametrize("cells", [
    2**53 - np.arange(1, 200), 2**60 + 2**12 * np.arange(200), (2**53 + 4 * np.arange(200)).astype(str),
    np.r_[2**53 + np.arange(4), np.arange(400)], 1e300 * np.arange(200), np.arange(200.0).astype(str),
])  # fmt: skip
def test_others_are_numbers(cells: Any) -> None:
    frame = pd.DataFrame({"x": np.random.default_rng(0).permutation(cells).repeat(2), "y": np.arange(2 * len(cells))})
    (column,) = Encoder.learn(frame, "y", np.arange(len(frame))).columns
    assert isinstance(column, Number)


def test_python_numbers_beyond_float64_are_infinite_ones() -> None:
    """They are missing, and said; no words among numbers."""
    numbers = np.random.default_rng(0).integers(0, 1000, 400).tolist()
    series = pd.Series([*numbers, *((-1) ** i * 10 ** (400 + i) for i in range(30))], dtype=object, name="x")
    learnt = columns.learn(series, np.arange(len(series)), 64)
    assert isinstance(learnt, Number)
    assert (learnt.gaps, learnt.marks) == (True, ())
    assert np.isnan(learnt.values(series)[-30:]).all()
    assert frames.infinite(series) == 30
