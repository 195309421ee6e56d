"""Tables of other libraries than pandas: what TableModel makes of them, and predictions in their kind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cnn
from cnn.table import frames

pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")
pl = pytest.importorskip("polars")
duckdb = pytest.importorskip("duckdb")
pytest.importorskip("narwhals")
RNG = np.random.default_rng(0)
N = 100
TABLE = pl.DataFrame({
    "size": RNG.normal(size=N), "town": RNG.choice(["Bern", "Genf"], N), "new": RNG.random(N) < 0.5,
    "sold": np.datetime64("2024-01-01", "us") + RNG.integers(0, 10**14, N).astype("timedelta64[us]"),
    "floor": RNG.integers(0, 100, N),
}).with_columns(
    pl.when(pl.col("size") < 1).then(pl.col("size")).alias("size"),
    pl.when(pl.col("floor") > 5).then(pl.col("floor")).alias("floor"),
    pl.when(pl.col("town") != "Zug").then(pl.col("town")).alias("town"),
)  # fmt: skip
PRICE = pl.Series("price", np.where(TABLE["town"].to_numpy() == "Genf", 3.0, 0.0) + RNG.normal(size=N))
DEAR = pl.Series("dear", np.where(PRICE.to_numpy() > 1.5, "yes", "no"))
QUICK: dict[str, Any] = {"epochs": 5, "members": 1, "hidden": (8,), "seed": 0}


def relation(table: Any) -> Any:
    return duckdb.from_arrow(table.to_arrow())


KINDS: dict[str, Callable[[Any], Any]] = {
    "polars": lambda table: table, "lazy": lambda table: table.lazy(), "arrow": lambda table: table.to_arrow(),
    "batch": lambda table: table.to_arrow().combine_chunks().to_batches()[0], "duckdb": relation,
    "dict": lambda table: table.to_dict(as_series=False),
}  # fmt: skip
GIVEN = TABLE.to_pandas()
MODEL = cnn.TableModel(**QUICK).fit(GIVEN, PRICE.to_pandas())


@pytest.mark.parametrize("kind", KINDS)
def test_frames_of_other_libraries_are_pandas_ones(kind: str) -> None:
    whole = KINDS[kind](TABLE.with_columns(price=PRICE))
    model = cnn.TableModel("price", **QUICK).fit(whole, verbose=0)
    assert model.columns == MODEL.columns
    for other in (model, cnn.TableModel(**QUICK).fit(KINDS[kind](TABLE), PRICE)):
        assert np.array_equal(other.predict(KINDS[kind](TABLE)), MODEL.predict(GIVEN))
    assert model.evaluate(whole) == MODEL.evaluate(GIVEN, PRICE)
    assert model.score(whole) == MODEL.score(KINDS[kind](TABLE), PRICE.to_arrow())
    held = cnn.TableModel("price", **QUICK).fit(whole, verbose=0, validation=whole)
    assert held.held_out.tolist() == list(range(N))


@pytest.mark.parametrize("y", [PRICE, PRICE.to_arrow(), PRICE.to_frame(), PRICE.to_list(), PRICE.to_numpy(),
                               {"price": PRICE.to_list()}], ids=lambda y: type(y).__name__)  # fmt: skip
def test_targets_of_other_libraries(y: Any) -> None:
    assert np.array_equal(cnn.TableModel(**QUICK).fit(TABLE, y).predict(TABLE), MODEL.predict(GIVEN))


@pytest.mark.parametrize(("kind", "series", "frame"), [
    ("polars", pl.Series, pl.DataFrame), ("lazy", pl.Series, pl.DataFrame), ("arrow", pa.ChunkedArray, pa.Table),
    ("duckdb", pa.ChunkedArray, pa.Table), ("dict", dict, dict), ("batch", pa.DoubleArray, pa.RecordBatch),
])  # fmt: skip
def test_predictions_in_the_callers_kind(kind: str, series: Any, frame: Any) -> None:
    data = KINDS[kind](TABLE)
    classes = cnn.TableModel(**QUICK).fit(data, DEAR)
    assert isinstance(MODEL.predict(data), np.ndarray)
    numbers, labels = MODEL.predict(data, as_frame=True), classes.predict(data, as_frame=True)
    p = classes.predict_proba(data, as_frame=True)
    of_text = pa.StringArray if kind == "batch" else series
    assert (type(numbers), type(labels), type(p)) == (series, of_text, frame)
    if kind == "dict":
        numbers, labels = numbers["price"], labels["dear"]
    assert np.array_equal(np.asarray(numbers), MODEL.predict(data))
    assert list(map(str, np.asarray(labels).tolist())) == classes.predict(data).tolist()
    assert np.array_equal(frames.to_pandas(p).to_numpy(), classes.predict_proba(data))
    assert list(frames.to_pandas(p).columns) == ["no", "yes"]


def test_predictions_of_pandas_keep_the_index() -> None:
    rows = GIVEN.set_axis(range(7, 7 + N), axis=0)
    found = MODEL.predict(rows, as_frame=True)
    assert (found.name, found.index.tolist()) == ("price", rows.index.tolist())
    bare = cnn.TableModel(**QUICK).fit(GIVEN[["size"]].to_numpy(), PRICE.to_numpy())
    assert bare.predict(GIVEN[["size"]].to_numpy(), as_frame=True).index.tolist() == list(range(N))
    empty = cnn.TableModel(**QUICK).fit(TABLE, DEAR).predict(TABLE[:0], as_frame=True)
    assert (type(empty), len(empty)) == (pl.Series, 0)
    empty = cnn.TableModel(**QUICK).fit(TABLE, DEAR).predict(KINDS["batch"](TABLE)[:0], as_frame=True)
    assert (type(empty), len(empty)) == (pa.StringArray, 0)


def test_a_table_that_narwhals_does_not_know_may_give_a_pandas_frame() -> None:
    class Own:
        column_names = tuple(TABLE.columns)

        def to_pandas(self) -> Any:
            return GIVEN

    assert np.array_equal(MODEL.predict(Own()), MODEL.predict(GIVEN))
    assert type(MODEL.predict(Own(), as_frame=True)) is pd.Series


def test_pandas_alone_needs_no_narwhals_and_others_say_so() -> None:
    program = (
        "import sys, pandas, polars; sys.modules['narwhals'] = None\n"
        "import cnn\n"
        "table = pandas.DataFrame({'a': [i % 7 for i in range(40)], 'y': [i * i / 2 for i in range(40)]})\n"
        "model = cnn.TableModel('y', epochs=1, members=1).fit(table, verbose=0)\n"
        "try: model.predict(polars.DataFrame({'a': [1]}))\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "frames other than pandas' need narwhals (extra 'pandas'): pip install narwhals\n"


@pytest.mark.parametrize(("cells", "kind"), [
    ([1, 2, None] * 40, "number"), ([10**30 + i % 5 for i in range(120)], "category"), ([None] * 120, None),
])  # fmt: skip
@pytest.mark.parametrize("dtype", [pl.Int128, pl.UInt128])
def test_whole_numbers_of_128_bits(cells: list[Any], kind: str | None, dtype: Any) -> None:
    frame = pl.DataFrame({"k": pl.Series(cells, dtype=dtype), "y": np.arange(120) % 7.0, "z": np.arange(120) % 5})
    made = frames.to_pandas(frame)
    assert list(made.columns) == ["k", "y", "z"]
    assert made["k"].astype(object).where(made["k"].notna(), None).tolist() == cells
    model = cnn.TableModel("y", **QUICK).fit(frame, verbose=0)
    assert model.columns == ({"k": kind} if kind else {}) | {"z": "number"}
    assert np.isfinite(model.predict(frame)).all()


def test_long_whole_numbers_beside_gaps_stay() -> None:
    cells = [2**53 + 1, None, -(2**53) - 1, 5]
    made = frames.to_pandas(pl.DataFrame({"a": cells, "b": [1, None, 2, 3]}))
    assert made["a"].dtype == "Int64"
    assert [None if pd.isna(cell) else int(cell) for cell in made["a"]] == cells
    assert made["b"].dtype == "float64"
    frame = pl.DataFrame({"a": cells * 30, "x": np.arange(120) % 9})
    classes = cnn.TableModel("a", task="classification", **QUICK).fit(frame, verbose=0)
    assert classes.classes.tolist() == [-(2**53) - 1, 5, 2**53 + 1]


def test_masked_arrays_are_refused() -> None:
    X = np.random.default_rng(0).normal(size=(60, 2))
    model = cnn.TableModel(members=1, epochs=1, hidden=(4,), seed=0)
    masked = np.ma.masked_array(X, mask=X > 1)
    for bad in ((masked, X[:, 0]), (X, masked[:, 0])):
        with pytest.raises(TypeError, match="is a masked array, and what is masked would be used"):
            model.fit(*bad)
    model.fit(X, X[:, 0])
    with pytest.raises(TypeError, match="is a masked array, and what is masked would be used"):
        model.predict(masked)
