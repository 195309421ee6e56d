"""How text in tables is read: words for what is missing, writings of numbers and dates, dates of any year."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import cnn
from cnn.files import container
from cnn.table import columns, frames, kinds, writings
from cnn.table.frames import TableError
from cnn.table.kinds import kind_of

pd = pytest.importorskip("pandas")
FAST: dict[str, Any] = {"epochs": 1, "members": 1, "hidden": (4,), "seed": 0}
X = np.random.default_rng(0).normal(size=400).round(3) * 100


def learn(cells: Any, decimal: str | None = None) -> Any:
    series = pd.Series(cells, name="x")
    return columns.learn(series, np.arange(len(series)), 64, decimal)


# Missing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", [
    "NA", "", "NaN", "-nan", "-NaN", "Null", " NA ", "NaT", "#NA", "#N/A N/A", "-1.#IND", "1.#QNAN", "#DIV/0!", "-",
    ".", "None", "nil", "missing", "n.a.", "?", "unknown", "not measured", "<NA>",
])  # fmt: skip
@pytest.mark.parametrize("every", [2, 8])
def test_words_for_missing_leave_a_column_of_numbers_one(word: str, every: int) -> None:
    column = learn([word if i % every == 0 else str(v) for i, v in enumerate(X)])
    assert isinstance(column, columns.Number)
    assert column.gaps
    assert column.marks == ((word.strip(),) if word.strip() else ())
    cells = pd.Series([word.upper(), word.lower(), "3"], name="x")
    assert np.array_equal(column.values(cells), [np.nan, np.nan, 3], equal_nan=True)
    with pytest.raises(TableError, match="column 'x' must hold numbers, got 'other' at row 1"):
        column.values(pd.Series(["1", "other"], name="x"))


@pytest.mark.parametrize("cells", [["A1", "B2", "3"] * 30, ["1", "2", "3", "4", "5", "X"] * 20])
def test_codes_stay_categories(cells: list[str]) -> None:
    assert kind_of(pd.Series(cells)).kind == "category"


def test_codes_with_missing_ones_are_numbers() -> None:
    assert kind_of(pd.Series(["1", "2", "3", "N/A"] * 20)).kind == "number"


@pytest.mark.parametrize("word", ["NA", "", " null ", "-"])
def test_truth_values_and_dates_with_words_for_missing(word: str) -> None:
    truths = learn([word, "True", "false"] * 40)
    assert isinstance(truths, columns.Boolean)
    assert truths.gaps
    dates = learn([word if i % 3 == 0 else f"2020-01-{i % 28 + 1:02}" for i in range(90)])
    assert isinstance(dates, columns.Date)
    assert dates.days.gaps


def test_a_few_impossible_dates_are_missing() -> None:
    cells = [f"2020-{m:02}-{d:02}" for m in range(1, 13) for d in range(1, 29)]
    column = learn([*cells, "2021-02-30", "0000-00-00", "soon"])
    assert isinstance(column, columns.Date)
    assert column.days.marks == ("0000-00-00", "2021-02-30", "soon")
    days = column.values(pd.Series(["2022-13-01", "Soon", "1970-01-03"], name="x"))
    assert np.array_equal(days, [np.nan, np.nan, 2], equal_nan=True)
    with pytest.raises(TableError, match="column 'x' must hold dates, got 'never' at row 0"):
        column.values(pd.Series(["never"], name="x"))


# Numbers --------------------------------------------------------------------------------------------------------------


def written(value: float, mark: str, group: str, unit: str, before: bool) -> str:
    text = f"{abs(value):,.2f}".replace(",", "\0").replace(".", mark).replace("\0", group)
    sign = "-" if value < 0 else ""
    return f"{sign}{unit}{text}" if before else f"{sign}{text} {unit}".strip()


@given(
    st.lists(st.integers(-(10**9), 10**9), min_size=20, max_size=60, unique=True),
    st.sampled_from(["", "%", "$", "€", "£"]),
    st.booleans(),
    st.sampled_from([".,", ". ", ".'", ".\u00a0", ".", ",.", ", ", ",’", ",\u202f", ","]),
)
def test_numbers_in_every_writing_are_read_back(cents: list[int], unit: str, before: bool, marks: str) -> None:
    values = np.array(cents) / 100
    cells = pd.Series([written(v, marks[0], marks[1:], unit, before) for v in values], name="x")
    found = kind_of(cells)
    assert found.kind == "number"
    assert found.marks == ()
    read, bad = frames.as_numbers(cells, found.writing)
    assert not bad.any()
    assert np.allclose(read, values, rtol=1e-15)


@pytest.mark.parametrize(("cells", "numbers"), [
    (["1,234", "999", "1,5"], [1.234, 999, 1.5]),
    (["1.234", "1.234.567", "12"], [1234, 1234567, 12]),
    (["1.234", "1.234"], [1.234, 1.234]),
    (["1,234,567", "12"], [1234567, 12]),
    (["0,123", "1,234"], [0.123, 1.234]),
    (["-3,5e-2", "+1,5"], [-0.035, 1.5]),
    (["$1,200", "$3", "7.5"], [1200, 3, 7.5]),
    (["12 %", "1.5%"], [12, 1.5]),
    ([*(f"{i},{i + 100}" for i in range(1, 11)), "999"], [*(1000 * i + i + 100 for i in range(1, 11)), 999]),
])  # fmt: skip
def test_writings_of_numbers(cells: list[str], numbers: list[float]) -> None:
    found = kind_of(pd.Series(cells))
    assert found.kind == "number"
    assert np.allclose(frames.as_numbers(pd.Series(cells), found.writing)[0], numbers, rtol=1e-15)


def test_what_is_no_writing_of_numbers() -> None:
    for text in ("12%;13", "$5;5 €", "1,2,3;2,3", "12,34,567", "1 2;3 4", "1.2.3.4", "$;%", "٣,٤;1,5"):
        cells = text.split(";")
        assert kind_of(pd.Series(cells * 5)).kind == "category", cells


def test_a_comma_that_may_be_either_is_not_read_unless_told() -> None:
    cells = [f"{1 + i % 9},{i + 100}" for i in range(100)]
    assert learn(cells) == "numbers whose comma may group digits or be the decimal mark: give decimal="
    assert learn(cells, ".").values(pd.Series(["1,100"], name="x")) == 1100
    assert learn(cells, ",").values(pd.Series(["1,100"], name="x")) == 1.1
    points = [cell.replace(",", ".") for cell in cells]
    assert learn(points).values(pd.Series(["1.100"], name="x")) == 1.1
    assert learn(points, ",").values(pd.Series(["1.100"], name="x")) == 1100
    with pytest.raises(ValueError, match=r"decimal must be '\.' or ',' or None, got ';'"):
        cnn.TableModel("y", decimal=";")


@pytest.mark.parametrize("writing", writings.NUMBERS[1:])
def test_examples_are_read_as_what_they_show(writing: str) -> None:
    assert writings.numbers([writings.example(writing)], writing).tolist() == [1234.5]


@pytest.mark.parametrize(("cells", "said"), [
    ("{}.{:03},50 €", "1.234,5 €"), ("€ {}.{:03},50", "1.234,5 €"), ("${},{:03}.50", "$1,234.5"),
    ("-£{},{:03}.50", "£1,234.5"), ("{}.{}%", "1,234.5%"),
])  # fmt: skip
def test_a_currency_is_shown_on_its_side(cells: str, said: str) -> None:
    x = [cells.format(i % 7 + 1, (37 * i) % 1000) for i in range(60)]
    table = {"x": x, "y": np.arange(60) % 7 + 0.5}
    model = cnn.TableModel("y", members=1, epochs=1, seed=0).fit(table, verbose=0)
    assert f"'x' is read as numbers written as {said}" in model.notes
    with pytest.raises(ValueError, match=re.escape(f"numbers written as '{said}'")):
        model.predict({"x": ["a lot"] * 3})


def test_the_writing_is_kept_in_the_file_and_said(tmp_path: Path) -> None:
    def comma(values: Any) -> list[str]:
        return [f"{v:,.2f}".replace(",", "\0").replace(".", ",").replace("\0", ".") for v in values]

    numbers = 1e4 * X
    days = pd.to_datetime(np.arange(400) * 5, unit="D")
    table = pd.DataFrame({"x": comma(numbers), "day": days.strftime("%d.%m.%Y"), "y": comma(3 * numbers)})
    table.loc[::3, "x"] = "unknown"
    table.loc[1::40, "y"] = "-"
    model = cnn.TableModel("y", **FAST).fit(table, verbose=0)
    assert model.columns == {"x": "number", "day": "date"}
    assert model.task == "regression"
    assert "'x' is read as numbers written as 1.234,5, 'unknown' as missing" in model.notes
    assert "'day' is read as dates written as d.m.y" in model.notes
    assert "'y' is read as numbers written as 1.234,5" in model.notes
    assert "left out 10 rows without a value of 'y'" in model.notes
    model.save(tmp_path / "m.cnn")
    again = cnn.load(tmp_path / "m.cnn")
    assert np.array_equal(again.predict(table), model.predict(table))
    assert again.evaluate(table) == model.evaluate(table)
    plain = pd.DataFrame({"x": numbers, "day": days, "y": 3 * numbers})  # the numbers and dates themselves
    plain.loc[::3, "x"] = np.nan
    plain.loc[1::40, "y"] = np.nan
    assert np.array_equal(again.predict(plain), model.predict(table))
    assert again.evaluate(plain) == pytest.approx(model.evaluate(table), rel=1e-12)
    table.loc[7, "x"] = "1.5e"
    with pytest.raises(TableError, match=r"'x' must hold numbers written as '1\.234,5', got '1\.5e' at row 7"):
        again.predict(table)


# Dates ----------------------------------------------------------------------------------------------------------------

FORMS = {
    "y-m-d": "{0:04}-{1:02}-{2:02}", "y/m/d": "{0:04}/{1}/{2}", "y.m.d": "{0:04}.{1}.{2:02}",
    "d.m.y": "{2:02}.{1:02}.{0:04}", "d/m/y": "{2}/{1}/{0:04}", "m/d/y": "{1:02}/{2:02}/{0:04}",
    "d-m-y": "{2}-{1}-{0:04}", "m-d-y": "{1}-{2:02}-{0:04}",
}  # fmt: skip


@pytest.mark.parametrize("order", FORMS)
@given(days=st.lists(st.dates(), min_size=1, max_size=30))
def test_dates_of_all_years_in_every_writing(order: str, days: list[datetime.date]) -> None:
    days = [*days, datetime.date(1, 1, 31), datetime.date(9999, 12, 31)]
    cells = pd.Series([FORMS[order].format(d.year, d.month, d.day) for d in days])
    found = kind_of(cells)
    assert (found.kind, found.writing) == ("date", order)
    read, bad = frames.as_days(cells, order)
    assert not bad.any()
    assert read.tolist() == [d.toordinal() - 719163 for d in days]


def test_day_and_month_that_may_be_either_are_not_guessed() -> None:
    cells = [f"{i % 12 + 1}/{i % 11 + 1}/{2000 + i}" for i in range(60)]
    assert learn(cells) == "dates that may be d/m/y or m/d/y: write them as 2020-01-31"
    assert kind_of(pd.Series(["5/1/2020", "2020-01-05"] * 20)).kind == "category"


@given(st.datetimes(timezones=st.none() | st.timezones()))
def test_times_are_those_of_datetime(when: datetime.datetime) -> None:
    shift = when.utcoffset() or datetime.timedelta()
    naive = when.replace(tzinfo=None)
    try:
        exact = (naive - shift) - datetime.datetime(1970, 1, 1)
    except OverflowError:
        return
    if shift.seconds % 60:  # historical offsets with seconds are not in ISO 8601
        return
    expected = exact.days + (exact.seconds + exact.microseconds / 1e6) / 86_400
    read, bad = frames.as_days(pd.Series([when.isoformat(), when.isoformat(" ")], dtype=object))
    assert not bad.any()
    assert np.allclose(read, expected, rtol=0, atol=1e-12 * max(1, abs(expected)))


def of_many_types(days: np.ndarray) -> dict[str, Any]:
    units = {unit: pd.Series(days.astype(f"datetime64[{unit}]")) for unit in ("s", "ms", "us")}
    dates = days.astype(object).tolist()
    return {
        **units,
        "zone": units["us"].dt.tz_localize("UTC"),
        "text": pd.Series(days.astype("U10")),
        "date objects": pd.Series(dates, dtype=object),
        "datetime objects": pd.Series([datetime.datetime(d.year, d.month, d.day) for d in dates], dtype=object),
    }


def test_dates_and_durations_beyond_nanoseconds_keep_their_place() -> None:
    days = np.array(["0001-01-01", "1600-02-29", "1969-12-31", "2020-05-05", "9999-12-31", "NaT"], "datetime64[D]")
    expected = np.where(np.isnat(days), np.nan, days.astype(np.int64))
    for name, series in of_many_types(days[:-1]).items():
        gap = series.reindex(range(6))
        assert kind_of(gap).kind == "date", name
        assert np.array_equal(frames.as_days(gap)[0], expected, equal_nan=True), name
        if name in ("s", "ms", "us"):
            long = gap - pd.Timestamp(0).as_unit(name)
            assert np.array_equal(frames.as_numbers(long)[0], expected * 86_400, equal_nan=True), name


def test_dates_of_arrow_and_polars() -> None:
    pa, pl = pytest.importorskip("pyarrow"), pytest.importorskip("polars")
    dates = [datetime.date(1, 1, 1), datetime.date(2020, 5, 5), None, datetime.date(9999, 12, 31)]
    expected = [-719162, 18387, np.nan, 2932896]
    stamps = [d and datetime.datetime(d.year, d.month, d.day) for d in dates]
    arrow = pa.table({"d": pa.array(dates), "e": pa.array(dates, pa.date64()), **{
        unit: pa.array(stamps, pa.timestamp(unit)) for unit in ("s", "ms", "us")
    }})  # fmt: skip
    for frame in (arrow, pl.from_arrow(arrow), arrow.to_pandas(types_mapper=pd.ArrowDtype)):
        table = frames.to_pandas(frame)
        for name in table.columns:
            assert kind_of(table[name]).kind == "date", name
            assert np.array_equal(frames.as_days(table[name])[0], expected, equal_nan=True), (type(frame), name)


def test_a_day_has_the_same_bits_in_all_types() -> None:
    texts = ["2020-03-04T05:06:07.123", "1931-12-31 23:59:59.001"]
    stamps = pd.Series(np.array([text.replace(" ", "T") for text in texts], "datetime64[ms]"))
    expected = frames.as_days(pd.Series(texts))[0]
    for unit in ("ms", "us", "ns"):
        assert np.array_equal(frames.as_days(stamps.dt.as_unit(unit))[0], expected)


# What is left out -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cells", "said"), [
    ([[1, 2], None] * 20, "it holds lists"),
    ([np.arange(2)] * 40, "it holds lists"),
    ([{"a": 1}] * 40, "it holds cells of the type dict"),
    ([b"a", b"b"] * 20, "it holds cells of the type bytes"),
    (pd.period_range("2020", periods=40, freq="D"), "it holds periods"),
    (pd.interval_range(0, 40), "it holds intervals"),
    (np.arange(40) * 1j, "it holds complex numbers"),
    ([1j, 2] * 20, "it holds complex numbers"),
    ([object()] * 40, "it holds cells of the type object"),
])  # fmt: skip
def test_columns_of_something_else_are_left_out_and_said(cells: Any, said: str) -> None:
    table = pd.DataFrame({"odd": pd.Series(cells), "x": X[:40], "y": X[:40] * 2})
    model = cnn.TableModel("y", **FAST).fit(table, verbose=0)
    assert model.dropped == {"odd": said}
    assert f"left out 'odd': {said}" in model.notes
    assert model.predict(table).shape == (40,)


def test_lists_and_structs_of_arrow_and_polars_are_left_out() -> None:
    pa, pl = pytest.importorskip("pyarrow"), pytest.importorskip("polars")
    odd = {"lists": [[1.0]] * 40, "structs": [{"a": 1}] * 40, "bytes": [b"a"] * 40}
    arrow = pa.table({**odd, "x": X[:40], "y": X[:40] + 1})
    for frame in (arrow, pl.from_arrow(arrow), arrow.to_pandas(types_mapper=pd.ArrowDtype)):
        model = cnn.TableModel("y", **FAST).fit(frame, verbose=0)
        assert list(model.columns) == ["x"]
        assert set(model.dropped) == {"lists", "structs", "bytes"}


# Tiny numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cells", [
    X * 1e-310, X * 1e-320, 5e-324 * (np.arange(400) % 2), np.where(np.arange(400) % 7, 5e-324, 1.0),
    1e-307 + X * 1e-315,
    np.where(np.arange(400) < 3, 1e300, X * 1e-312), 1 + np.spacing(1.0) * (np.arange(400) % 5), X * 1e-200,
    np.where(np.arange(400) % 50, 0.0, 1e-170),
])  # fmt: skip
def test_columns_of_numbers_below_the_smallest_normal_one(cells: np.ndarray, tmp_path: Path) -> None:
    table = pd.DataFrame({"tiny": cells, "x": X, "y": 2 * X})
    with np.errstate(all="raise"):
        column = columns.learn(table["tiny"], np.arange(400), 64)
        if isinstance(column, columns.Number):
            out = np.empty((400, 2))
            column.write(pd.Series(cells), out)
            assert np.isfinite(out).all()
            assert np.ptp(out, axis=0).max() > 0
        else:
            assert column == "the same value everywhere"
            assert np.ptp(cells) < 1e-300
    model = cnn.TableModel("y", **FAST).fit(table, verbose=0)
    assert np.isfinite(model.predict(table)).all()


def test_a_file_from_before_writings_were_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pd.DataFrame({"x": X, "day": pd.date_range("2020", periods=400), "y": 2 * X})
    model = cnn.TableModel("y", **FAST).fit(table, verbose=0)
    write = container.write

    def older(path: Any, kind: str, payload: dict[str, Any], tensors: Any) -> None:
        del payload["writing"], payload["settings"]["decimal"]
        for column in payload["columns"]:
            del column["order" if column["kind"] == "date" else "writing"]
        write(path, kind, payload, tensors)

    monkeypatch.setattr(container, "write", older)
    model.save(tmp_path / "m.cnn")
    assert np.array_equal(cnn.load(tmp_path / "m.cnn").predict(table), model.predict(table))


@given(st.lists(st.text(min_size=1).filter(lambda text: text.strip()[:1].isalpha()), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
@example(["nan1", "Infinit", "inf.", "truee", "e5", "ETF", "Ⅷ", "d20"])
def test_no_way_of_reading_takes_what_begins_with_a_letter(cells: list[str]) -> None:
    """So a column of which many cells do is one of categories, without a try of each."""
    cells = [cell for cell in cells if cell.strip().lower() not in {*writings.MISSING, *kinds._READABLE}]
    series = pd.Series(cells, dtype=object)
    for writing in writings.NUMBERS:
        assert np.isnan(frames.as_numbers(series, writing)[0]).all()
    assert np.isnan(frames.as_booleans(series)[0]).all()
    for order in writings.DATES:
        assert np.isnan(frames.as_days(series, order)[0]).all()


@pytest.mark.parametrize("others", [[], ["NaN", "unknown", "?", "1"]])
def test_few_words_do_not_make_a_category(others: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    words = [f"word {i}" for i in range(21)]
    numbers = [str(i) for i in range(500)]
    for some, kind in ((words[:20], "number"), (words, "category")):
        column = pd.Series([*others, *some, *numbers], dtype=object)
        assert kind_of(column).kind == kind
        monkeypatch.setattr(kinds, "_HEAD", 1)  # too few to decide by themselves
        assert kind_of(column).kind == kind
        monkeypatch.undo()
