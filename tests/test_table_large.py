"""Tables larger than memory: the sample, what is learnt of it, the rows that are encoded to files, and the models."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from helpers import QUICK, same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

import cnn
from cnn import TableError
from cnn.table import large
from cnn.table.architecture import network_of
from cnn.table.encode import Encoder

N = 3000


def made(n: int = N) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({
        "id": np.arange(n), "size": rng.exponential(size=n), "depth": rng.normal(size=n),
        "town": rng.choice(["Bern", "Genf", "Chur"], n, p=[0.6, 0.3, 0.1]),
        "count": rng.choice(["1", "2.5", "4"], n), "flag": rng.random(n) < 0.3,
        "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), "D"),
    })  # fmt: skip
    table.loc[n // 2 :: 97, "size"] = np.nan
    table["price"] = 3 * table.depth + np.log1p(table["size"].fillna(0)) + np.where(table.town == "Genf", 2, 0)
    return table


TABLE = made()


class Pieces:
    """Of a frame, cut anywhere, as often as they are asked for."""

    def __init__(self, table: pd.DataFrame, *cuts: int) -> None:
        self.table, self.cuts = table, [0, *cuts, len(table)]

    def __iter__(self) -> Iterator[pd.DataFrame]:
        for begin, end in zip(self.cuts, self.cuts[1:], strict=False):
            yield self.table.iloc[begin:end].reset_index(drop=True)


def model(target: str = "price", **options: Any) -> cnn.TableModel:
    return cnn.TableModel(target, **{"epochs": 2, "members": 1, "hidden": (8,), "seed": 1, **options})


# Samples --------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**63), st.floats(0.01, 0.99))
@settings(max_examples=30, deadline=None)
def test_rows_are_held_out_by_seed_and_number(seed: int, share: float) -> None:
    rows = np.arange(20_000)
    found = large.held_out(seed, rows, share)
    assert abs(found.mean() - share) < 5 * np.sqrt(share * (1 - share) / len(rows)) + 1e-9
    order = np.random.default_rng(0).permutation(rows)
    np.testing.assert_array_equal(large.held_out(seed, order, share), found[order])
    assert (found != large.held_out(seed + 1, rows, share)).any()


def test_the_sample_is_even_and_the_same_however_the_table_is_cut(monkeypatch) -> None:
    monkeypatch.setattr(large, "_ROWS", 1)
    monkeypatch.setattr(large, "_SAMPLE", 500)
    many = pd.DataFrame({"x": np.arange(20_000.0), "y": np.arange(20_000) % 7 / 3})
    frame, rows = large.survey(Pieces(many, 1, 7000, 7001, 19_000), "y", 3)
    again, _ = large.survey(Pieces(many), "y", 3)
    assert rows == 20_000
    pd.testing.assert_frame_equal(frame, again)
    assert 500 <= len(frame) <= 507  # with the first row of each of the seven targets
    np.testing.assert_array_equal(frame.index, frame.x)
    # The statement of the docs: no quantile's rank is wrong by more than sqrt(7.3 / n).
    ranks = np.sort(frame.x.to_numpy()) / 20_000
    assert np.abs(ranks - (np.arange(len(ranks)) + 0.5) / len(ranks)).max() < np.sqrt(7.3 / len(ranks))
    assert not frame.x.equals(large.survey(Pieces(many), "y", 4)[0].x)


def test_rows_that_are_first_with_something_are_in_the_sample(monkeypatch) -> None:
    monkeypatch.setattr(large, "_ROWS", 1)
    monkeypatch.setattr(large, "_SAMPLE", 50)
    table = pd.DataFrame({"x": np.arange(5000.0), "t": ["3"] * 5000, "y": np.arange(5000) % 3 > 0})
    table["y"] = table.y.astype(object)
    table.loc[4000, "x"], table.loc[3000, "t"], table.loc[3500, "t"] = np.nan, "Unknown", "n/a"
    table.loc[2222, "y"] = "rare"
    frame, _ = large.survey(Pieces(table, 2500), "y", 0)
    assert {4000, 3000, 3500, 2222} <= set(frame.index)


def test_a_target_of_many_values_adds_no_rows(monkeypatch) -> None:
    monkeypatch.setattr(large, "_ROWS", 1)
    monkeypatch.setattr(large, "_SAMPLE", 50)
    assert len(large.survey(Pieces(made(5000)), "price", 0)[0]) <= 50 + 1  # and the first gap


# What is learnt -------------------------------------------------------------------------------------------------------


def columns_of(encoder: Encoder) -> list[Any]:
    return [(column.name, *column.describe()) for column in encoder.columns]


def test_a_sample_of_all_rows_teaches_what_the_table_does() -> None:
    found = model().fit(Pieces(TABLE, 10, 1777), verbose=0)
    train = np.setdiff1d(np.arange(N), found.held_out)
    assert (found.rows, len(found.held_out)) == (len(train), N - len(train))
    more = found.settings.finer(found.goal, TABLE.price.to_numpy()[train])
    expected = Encoder.learn(TABLE, "price", train, more=more)
    assert max(len(column.inputs) for column in expected.columns) > 60
    assert found.encoder.dropped == expected.dropped == {"id": "it numbers the rows"}
    for here, there in zip(columns_of(found.encoder), columns_of(expected), strict=True):
        assert here[:2] == there[:2]
        for key in here[2]:
            np.testing.assert_array_equal(here[2][key], there[2][key])
    price = TABLE.price.to_numpy()[train]
    mean, deviation, low, high = large._moments(np.concatenate([price] * 700), found.goal)  # more than one part
    assert (low, high) == (price.min(), price.max()) == (found.goal.low, found.goal.high)
    assert (mean, deviation) == pytest.approx((price.mean(), price.std()), rel=1e-12)
    assert found.goal.mean == pytest.approx(price.mean(), rel=1e-12)
    assert found.goal.deviation == pytest.approx(price.std(), rel=1e-12)


# Rows with staircases are dense in a file and compact in memory: the same to rounding.
@pytest.mark.parametrize(("numbers", "bound"), [("plain", 1e-9), ("auto", 1e-9), ("bins", 1e-6)])
def test_networks_are_those_of_the_encoded_rows(numbers: Any, bound: float) -> None:
    found = model(numbers=numbers).fit(TABLE, stream=True, verbose=0)
    train = np.setdiff1d(np.arange(N), found.held_out)
    scaled = [found.goal.scaled(TABLE.price.to_numpy()[rows]) for rows in (train, found.held_out)]
    X = [found.encoder.encode(TABLE, rows) for rows in (train, found.held_out)]
    chosen = found.settings.chosen(found.task, len(train), found.encoder.embedded)
    net = network_of(chosen, found.goal, found.encoder, 1)
    net.fit(
        X[0], scaled[0], epochs=2, batch_size=chosen.batch_size, stream=True, metrics=(),
        validation_data=(X[1], scaled[1]), callbacks=[cnn.EarlyStopping(restore_best=True)], verbose=0,
    )  # fmt: skip
    assert same_bits(net, found.networks[0])
    scores = found.evaluate(TABLE.iloc[found.held_out])
    for name, value in found.scores["validation"].items():
        assert value == pytest.approx(scores[name], rel=bound)


def test_any_cut_gives_the_same_model() -> None:
    first, second = model().fit(Pieces(TABLE, 10, 1777), verbose=0), model().fit(TABLE, stream=True, verbose=0)
    assert same_bits(first.networks[0], second.networks[0])
    np.testing.assert_array_equal(first.held_out, second.held_out)
    np.testing.assert_array_equal(first.predict(TABLE), second.predict(TABLE))


def test_classes_that_the_sample_would_miss(monkeypatch) -> None:
    monkeypatch.setattr(large, "_ROWS", 1)
    monkeypatch.setattr(large, "_SAMPLE", 200)
    table = TABLE.assign(kind=np.where(TABLE.depth > 0, "up", "down"))
    table.loc[2345, "kind"] = "gone"
    found = model("kind").fit(Pieces(table, 1500), verbose=0)
    assert found.classes.tolist() == ["down", "gone", "up"]
    assert found.rows + len(found.held_out) == N
    assert set(found.scores["validation"]) >= {"accuracy", "log_loss", "f1"}


def test_gaps_of_the_target_infinite_numbers_and_a_table_to_validate_on() -> None:
    table = TABLE.copy()
    table.loc[5:14, "price"] = np.nan
    table.loc[20, "depth"] = np.inf
    with pytest.warns(UserWarning, match="infinite numbers count as missing: 1 in 'depth'"):
        found = model().fit(Pieces(table, 100), validation=TABLE[:500], verbose=0)
    assert found.rows == N - 10
    assert len(found.held_out) == 500
    assert "left out 10 rows without a value of 'price'" in found.notes


def test_a_model_learns_as_well_as_from_the_whole_table() -> None:
    table, test = made(8000), made(8000).iloc[:500]
    whole, pieces = (
        model(epochs=12, hidden=(32,)).fit(table, stream=stream, verbose=0).evaluate(test)["r2"]
        for stream in (False, True)
    )
    assert min(whole, pieces) > 0.9
    assert abs(whole - pieces) < 0.05


# Where the table comes from -------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "rows"
    path.mkdir()
    for name, part in (("a", TABLE[:1000]), ("b", TABLE[1000:])):
        table = pa.Table.from_pandas(part, preserve_index=False)
        parquet.write_table(table, path / f"{name}.parquet", row_group_size=300)
    return path


def test_parquet_is_read_whole_where_it_fits(folder: Path, monkeypatch) -> None:
    whole = model().fit(TABLE, verbose=0)
    assert same_bits(model().fit(folder, verbose=0).networks[0], whole.networks[0])
    streamed = model().fit(TABLE, stream=True, verbose=0)
    assert same_bits(model().fit(str(folder), stream=True, verbose=0).networks[0], streamed.networks[0])
    monkeypatch.setattr("cnn._common.threads.free_memory", lambda: 1e5)
    assert same_bits(model().fit(folder, verbose=0).networks[0], streamed.networks[0])
    assert same_bits(model().fit(folder, stream=False, verbose=0).networks[0], whole.networks[0])
    assert same_bits(model().fit([TABLE[:7], TABLE[7:]], stream=False, verbose=0).networks[0], whole.networks[0])


def test_columns_in_the_names_of_folders_are_columns(tmp_path: Path) -> None:
    table = TABLE.assign(year=np.arange(len(TABLE)) // 1500 + 2020, place=np.arange(len(TABLE)) // 1000)
    table = table.assign(place=table["place"].map({0: "a", 1: "b", 2: "ü b"}))
    for (year, place), part in table.groupby(["year", "place"], sort=True):
        path = tmp_path / "rows" / f"year={year}" / f"place={place}"
        path.mkdir(parents=True)
        part.drop(columns=["year", "place"]).to_parquet(path / "0.parquet", index=False)
    for stream in (False, True):
        whole = model().fit(table, stream=stream, verbose=0)
        found = model().fit(tmp_path / "rows", stream=stream, verbose=0)
        assert found.columns == whole.columns
        assert found.columns["place"] == "category"
        assert same_bits(found.networks[0], whole.networks[0])


def test_a_file_of_a_folder_that_differs_is_named(folder: Path) -> None:
    parquet.write_table(pa.Table.from_pandas(TABLE.drop(columns="town"), preserve_index=False), folder / "c.parquet")
    with pytest.raises(TableError, match=r"the columns of .*c.parquet differ in 'town': they must be those of .*a.p"):
        model().fit(folder, verbose=0)


class Shrinking:
    """A piece less each time."""

    def __init__(self, pieces: list[Any]) -> None:
        self.pieces = [*pieces, None]

    def __iter__(self) -> Any:
        self.pieces.pop()
        return iter(self.pieces)


def test_no_row_to_train_on() -> None:
    with pytest.raises(TableError, match="no row is left to train on; give valid another share"):
        model(valid=0.99999).fit([TABLE], verbose=0)


@pytest.mark.parametrize(("data", "text"), [
    ((TABLE[i : i + 1000] for i in (0, 1000)), "a table in pieces is read several times: give a list, or an object"),
    ([TABLE[:1000], TABLE[1000:].drop(columns="town")], "the columns of the piece from row 1,000 on differ in 'town'"),
    ([TABLE[:1000], TABLE[TABLE.columns[::-1]]], "the columns of the piece from row 1,000 on stand in another order"),
    ([TABLE[:0]], "the table has no rows"),
    ([TABLE[:5]], "the table has 5 rows with a target; a fit needs at least 10"),
    ([TABLE.drop(columns="price")], "data has no column 'price'"),
    ([TABLE[:20].assign(price=3.0)], "the target 'price' is 3.0 in every row"),
    (Shrinking([TABLE[:1000], TABLE[1000:]]), "the table gives 1,000 rows, but it had 3,000 when it was read before"),
])  # fmt: skip
def test_pieces_that_can_not_be(data: Any, text: str, tmp_path: Path, monkeypatch) -> None:
    # Other test processes write to the usual one at the same time.
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(TableError, match=text):
        model().fit(data, verbose=0)
    assert list(tmp_path.iterdir()) == []


def test_rows_that_do_not_fit_on_the_disk(monkeypatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(TableError, match=r"the encoded rows take 0.0 GB in .*: let TMPDIR name a folder on a"):
        model().fit(TABLE, stream=True, verbose=0)


def test_no_file_is_left_behind(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def stop(network: Any, epoch: int, logs: Any) -> None:
        assert len(list(tmp_path.iterdir())) == 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model().fit(TABLE, stream=True, callbacks=[stop], verbose=0)
    assert list(tmp_path.iterdir()) == []
    model().fit(TABLE, stream=True, verbose=0)
    assert list(tmp_path.iterdir()) == []


# The command ----------------------------------------------------------------------------------------------------------


def test_train_reads_in_pieces(folder: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    from cnn.cli import app
    from cnn.cli import large as cli_large

    monkeypatch.chdir(tmp_path)
    TABLE.to_csv("t.csv", index=False)
    TABLE.to_csv("t.csv.gz", index=False)

    def train(*words: str) -> cnn.TableModel:
        app.app(["train", *words, "-t", "price", *QUICK, "-q"], standalone_mode=False)
        return cnn.load("model.cnn", cnn.TableModel)

    whole, streamed = train("t.csv"), train("t.csv", "--stream")
    assert streamed.columns == whole.columns
    assert streamed.goal.mean != whole.goal.mean
    assert same_bits(train("t.csv.gz", "--stream").networks[0], streamed.networks[0])
    monkeypatch.setattr(cli_large.threads, "free_memory", lambda: 1e5)
    assert same_bits(train("t.csv").networks[0], streamed.networks[0])
    assert same_bits(train("t.csv", "--no-stream").networks[0], whole.networks[0])
    assert train("rows", "--report", "page.html").columns == whole.columns
    assert "held-out" in Path("page.html").read_text(encoding="utf-8")


def test_rows_of_weight_0_are_as_if_they_were_not_there() -> None:
    """Whatever stands in them: neither columns, nor the scale of the target, nor networks know it."""
    none = np.arange(N) % 5 == 0
    found = []
    for factor in (1.0, 1e3):
        table = TABLE.assign(w=np.where(none, 0.0, 2.0))
        for name in ("depth", "price"):
            table[name] = np.where(none, factor * table[name] + factor, table[name])
        found.append(model().fit(Pieces(table, 10, 1777), sample_weight="w", verbose=0))
    one, other = found
    assert one.goal == other.goal
    assert one.goal.high == TABLE.price[~none & ~np.isin(np.arange(N), one.held_out)].max()
    np.testing.assert_array_equal(one.predict(TABLE), other.predict(TABLE))
    assert not none[one.held_out].any()
    assert one.rows + len(one.held_out) == N - none.sum()


def test_weights_that_are_all_0() -> None:
    with pytest.raises(ValueError, match="sample_weight is zero for every training row"):
        model().fit(Pieces(TABLE.assign(w=0.0), 10), sample_weight="w", verbose=0)
    with pytest.raises(TableError, match=r"the weights 'w' must be finite numbers >= 0, got '-1\.0' at row 2000"):
        model().fit(Pieces(TABLE.assign(w=np.where(TABLE.id == 2000, -1.0, 1.0)), 10), sample_weight="w", verbose=0)
