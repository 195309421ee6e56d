"""Columns of numbers that are learnt and encoded many at a time: the bits of one after another, by NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cnn
from cnn.table import blocks, columns, frames
from cnn.table.columns import Number
from cnn.table.encode import Encoder

pd = pytest.importorskip("pandas")
Array = np.ndarray[Any, Any]


def learnt(x: Array) -> tuple[Array, Array, float, float, bool]:
    """(nodes, heights, center, scale, gaps) of one column, by np.quantile and np.unique."""
    from scipy.special import ndtri

    known = np.sort(x[~np.isnan(x)])
    nodes = np.unique(np.quantile(known, np.linspace(0, 1, 256), method="closest_observation"))
    below, upto = np.searchsorted(known, nodes, "left"), np.searchsorted(known, nodes, "right")
    heights = ndtri(np.clip((below + upto) / (2 * len(known)), 1e-3, 1 - 1e-3))
    low, center, high = 2 * np.quantile(known / 2, [0.25, 0.5, 0.75])
    with np.errstate(over="ignore"):
        scale = (high - low) / 1.349 or known.std() or 1.0
    return nodes, heights, center, min(scale, np.finfo(np.float64).max), len(known) < len(x)


def inputs(number: Number, x: Array) -> Array:
    """(n, 2 or 3) float32 of one column, by np.interp."""
    missing = ~np.isfinite(x)
    x = np.where(missing, number.center, x)
    with np.errstate(over="ignore"):
        t = np.clip(x / number.scale - number.center / number.scale, -1e6, 1e6)
    rank = np.where(missing, 0, np.interp(x, number.nodes, number.heights))
    return np.column_stack([rank, t / np.sqrt(1 + (t / 3) ** 2), missing])[:, : 2 + number.gaps].astype(np.float32)


def table(n: int, seed: int = 0) -> Any:
    """Columns of all kinds of numbers, gaps, ties, extremes; of every type that pandas keeps numbers in."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    frame = pd.DataFrame({
        "normal": x, "skew": np.exp(3 * x), "ties": np.round(x), "two": x > 0.5, "mostly": np.where(x > 1, x, 0.0),
        "gaps": np.where(rng.random(n) < 0.3, np.nan, x), "huge": x * 1e307, "tiny": x * 1e-300, "far": x + 1e15,
        "infinite": np.where(rng.random(n) < 0.1, np.inf, x), "f4": x.astype(np.float32),
        "i1": (x * 30).astype(np.int8),
        "u8": rng.integers(0, 2**64, n, dtype=np.uint64), "i8": rng.integers(-(2**63), 2**63, n),
        "rows": rng.permutation(n),
        "same": 3.0, "none": np.nan, "one": np.where(np.arange(n) == 3, 1.0, np.nan), "only inf": np.inf,
    })  # fmt: skip
    frame["Int64"] = pd.array(rng.integers(0, 99, n), "Int64")
    frame["boolean"] = pd.array(np.where(rng.random(n) < 0.2, None, x > 0), "boolean")
    frame.loc[::5, "Int64"] = None
    frame["town"] = rng.choice(["Bern", "Genf"], n)
    return frame


def numbers(cells: Any) -> Any:
    """As float64; float32 as the decimal of 7 digits that it stands for, if there is one."""
    values = cells.to_numpy(np.float64, na_value=np.nan)
    if cells.dtype != np.float32:
        return values
    decimals = np.array([float(f"{value:.7g}") for value in values])
    return np.where(decimals.astype(np.float32) == values.astype(np.float32), decimals, values)


@pytest.mark.parametrize("n", [12, 200, 3000])
def test_blocks_have_the_bits_of_single_columns(n: int) -> None:
    frame = table(n)
    rows = np.sort(np.random.default_rng(1).permutation(n)[: n - n // 10])
    encoder = Encoder.learn(frame, "y", rows)
    found = {column.name: column for column in encoder.columns}
    assert {n: w for n, w in encoder.dropped.items() if n != "one"} == {
        **({"rows": "it numbers the rows"} if n > 12 else {}), "same": "the same value everywhere", "none": "no values",
        "only inf": "no values in the training rows",
    }  # fmt: skip
    for some in (None, rows, rows[:1], rows[:0]):
        X = encoder.encode(frame, some)
        cells = frame if some is None else frame.iloc[some]
        assert X.dtype == np.float32
        for name, column in found.items():
            out = X[:, encoder.places[name]]
            if isinstance(column, Number):
                values = numbers(cells[name])
                np.testing.assert_array_equal(out, inputs(column, values), name)
            alone = np.empty(out.shape, np.float32)
            column.write(cells[name], alone)
            np.testing.assert_array_equal(out, alone, name)
    for name, column in found.items():
        assert repr(columns.learn(frame[name], rows, 64)) == repr(column)
        if isinstance(column, Number):
            values = numbers(frame[name])[rows]
            expected = learnt(np.where(np.isfinite(values), values, np.nan))
            got = (column.nodes, column.heights, column.center, column.scale, column.gaps)
            for ours, theirs in zip(got, expected, strict=True):
                np.testing.assert_array_equal(ours, theirs, name)


def test_blocks_of_any_size_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = table(500)
    rows = np.arange(0, 500, 3)
    whole = Encoder.learn(frame, "y", rows)
    X, all_X = whole.encode(frame, rows), whole.encode(frame)
    monkeypatch.setattr(blocks, "_READ", 1700)
    monkeypatch.setattr(blocks, "_WRITTEN", 130)
    monkeypatch.setattr(frames, "PIECE", 64)
    again = Encoder.learn(frame, "y", rows)
    assert repr(again) == repr(whole)
    np.testing.assert_array_equal(again.encode(frame, rows), X)
    np.testing.assert_array_equal(again.encode(frame), all_X)


def test_quantiles_of_many_rows_are_of_a_sample_that_has_some(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(2, 5000))
    monkeypatch.setattr(blocks, "_SAMPLE", 1000)
    sample = x[:, np.random.default_rng(0).integers(0, 5000, 1000)]
    for ours, row in zip(blocks.learn(x), sample, strict=True):
        for part, expected in zip(ours, learnt(row), strict=True):
            np.testing.assert_array_equal(part, expected)
    x[1, 1:] = np.nan  # the sample would hardly have the one
    assert [len(nodes) for nodes, *_ in blocks.learn(x)] == [256, 1]


def test_slopes_that_are_no_numbers_are_as_np_interp_has_them() -> None:
    number = Number("x", np.array([-1.7e308, 0.0, 5e-324, 1.7e308]), np.array([-2.0, 0.0, 1.0, 2.0]), 0.0, 1.0, False)
    x = np.array([-1.7e308, -1e308, -1.0, 0.0, 5e-324, 1.0, 1e308, 1.7e308])
    np.testing.assert_array_equal(number.curve.inputs(x[None])[0][0], np.interp(x, number.nodes, number.heights))


@pytest.mark.parametrize("names", [range(30), [f"x{i}" for i in range(30)], [1.5 * i for i in range(30)]])
def test_names_of_any_type(names: Any) -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 30)), columns=list(names))
    encoder = Encoder.learn(frame, str(names[7]), np.arange(40))
    assert [column.name for column in encoder.columns] == [str(name) for name in names if name != names[7]]
    np.testing.assert_array_equal(encoder.encode(frame[frame.columns[::-1]]), encoder.encode(frame))


def test_numbers_that_are_no_truth_values() -> None:
    frame = table(200)
    encoder = Encoder.learn(frame, "y", np.arange(200))
    assert np.array_equal(encoder.encode(frame.astype({"two": np.int64})), encoder.encode(frame))
    with pytest.raises(cnn.TableError, match="'two' must hold true and false, got '2' at row 7"):
        encoder.encode(frame.assign(two=np.where(np.arange(200) == 7, 2, 1)))


@pytest.mark.parametrize("kind", [object, "str", "string"])
def test_numbers_as_text_are_read_as_blocks(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = table(300)
    frame["f4"] = numbers(frame["f4"])  # else its text has more digits than it
    encoder = Encoder.learn(frame, "y", np.arange(250))
    text = frame.astype(object).where(frame.notna(), None).map(lambda v: v if v is None else str(v)).astype(kind)
    rows = np.arange(0, 300, 7)
    expected, alone = encoder.encode(frame), []
    write = Encoder._write_alone
    monkeypatch.setattr(Encoder, "_write_alone", lambda self, *how: (alone.append(how[2]), write(self, *how)))
    assert np.array_equal(encoder.encode(text), expected)
    assert np.array_equal(encoder.encode(text, rows), expected[rows])
    assert {encoder.columns[i].kind for i in alone} == {"boolean", "category"}
    text.loc[8, "gaps"] = "huge"
    assert np.array_equal(encoder.encode(text, rows), expected[rows])  # not of these rows
    text.loc[14, "gaps"] = "large"
    with pytest.raises(cnn.TableError, match="'gaps' must hold numbers, got 'large' at row 14"):
        encoder.encode(text, rows)


@pytest.mark.parametrize("data", [
    {}, {"a": []}, {"a": [1, 2], "b": [0.5, 1], "c": ["x", "y"], "d": [True, False], "e": [None, 1], "f": [True, 2]},
    {"a": np.array([1, 2], np.int8), "b": np.array([1, 2], ">f8"), "c": [2**63, -1], "d": [2**63, 1], "e": [2**70, 1]},
    {3: [1.0, 2.0], "x": np.array(["a", "b"]), "t": np.array(["2024-01-01", "NaT"], "M8[ns]")},
    {"a": [1, 2], "b": 3}, {"a": [1, 2], "b": np.array(3)}, {"a": [1, 2], "b": [[1], [2, 3]]},
    {"a": [1, 2], "b": pd.Series([1, 2], index=[1, 0])},
    {"a": [1, 2], "b": pd.Categorical([1, 2])},
])  # fmt: skip
def test_dicts_are_what_pandas_makes_of_them(data: dict[Any, Any]) -> None:
    pd.testing.assert_frame_equal(frames.to_pandas(data), pd.DataFrame(data))
    with pytest.raises(cnn.TableError, match="can't be made a table"):
        frames.to_pandas({**data, "more": [1, 2, 3], "less": [1.0]})
