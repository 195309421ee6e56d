"""Columns of many categories: an input of its own for each, given as one number a cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn
from cnn.runtime.compact import CompactRows, Layout, compact
from cnn.runtime.sparse import SparseRows
from cnn.table import columns, encode
from cnn.table.architecture import network_of
from cnn.table.columns import Category
from cnn.table.encode import Encoder
from cnn.table.settings import Settings
from cnn.tuning import tables

pd = pytest.importorskip("pandas")
N, CODES = 3000, 150


def table(n: int = N, codes: int = CODES, seed: int = 0) -> Any:
    """A target that depends on the category alone, but for a number and noise."""
    rng = np.random.default_rng(seed)
    code = rng.integers(0, codes, n)
    frame = pd.DataFrame({"shop": [f"shop {i}" for i in code], "size": rng.normal(size=n)})
    frame["town"] = rng.choice(["Bern", "Genf"], n)
    frame["pay"] = np.random.default_rng(7).normal(size=codes)[code] + 0.1 * frame["size"]
    frame.loc[::50, "shop"] = None
    return frame


TABLE = table()


@pytest.fixture(scope="module")
def model() -> cnn.TableModel:
    return cnn.TableModel("pay", epochs=12, members=1, seed=0).fit(TABLE[:2500], verbose=0)


def test_more_values_than_64_have_inputs_of_their_own_and_another_one() -> None:
    for values, one in ((64, 1.0), (65, columns.ONE_OF_MANY)):
        series = pd.Series([f"v{i % values}" for i in range(values * 20)], name="x")
        learnt = columns.learn(series, np.arange(len(series)), 1024)
        assert isinstance(learnt, Category)
        assert (len(learnt.values), learnt.rare, learnt.one) == (values, False, one)
        out = np.empty((3, values))
        learnt.write(pd.Series(["v5", "new", None]), out)
        assert out.sum(axis=1).tolist() == [one, 0, 0]
        assert out[0, learnt.values.index("v5")] == one


def test_the_most_frequent_values_are_kept() -> None:
    column = Category("x", tuple("abcd"), rare=False, gaps=True, one=4.0)
    assert column.cut(4) == Category("x", tuple("abcd"), False, True)  # no longer many
    assert column.cut(2) == Category("x", ("a", "b"), True, True)
    assert column.cut(2).codes(pd.Series(["b", "c", None])).tolist() == [1, 2, 3]


def test_all_columns_together_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.concat([table(seed=i)[["shop"]].add_suffix(str(i)) for i in range(3)], axis=1).assign(y=TABLE.pay)
    rows = np.arange(N)
    for together, most in ((1 << 13, CODES), (3 * 130, 128), (100, 64)):
        monkeypatch.setattr(encode, "_TOGETHER", together)
        found = Encoder.learn(frame, "y", rows).columns
        assert [len(column.values) for column in found] == [most] * 3
        assert [column.rare for column in found] == [most < CODES] * 3


@pytest.mark.parametrize("used", [["shop", "size", "town", "pay"], ["shop", "pay"], ["town", "shop", "pay"]])
def test_features_are_the_dense_inputs(used: list[str]) -> None:
    frame, rows = TABLE[used], np.arange(0, N, 3)
    found = cnn.table.lesson.of_frame(frame, "pay", Settings(), 0, None).encoder
    assert found.in_short
    for some in (None, rows, rows[:0]):
        X = found.features(frame, some)
        assert isinstance(X, CompactRows if "size" in used else SparseRows)
        np.testing.assert_array_equal(X.to_scipy().toarray(), found.encode(frame, some))
    assert (np.diff(found.features(frame).indptr) <= 2 * len(used)).all()  # no number for each input


def test_numbers_in_the_place_of_one() -> None:
    X = compact(Layout(5, plain=(0,), one_hot=((1, 3), (3, 5))), np.float64, plain=[[2.0], [0.0]],
                codes=[[1, -1], [0, 1]], ones=[4.0, 0.5])  # fmt: skip
    assert X.to_scipy().toarray().tolist() == [[2, 0, 4, 0, 0], [0, 4, 0, 0, 0.5]]


def test_a_network_counts_a_column_as_64_inputs(model: cnn.TableModel) -> None:
    encoder = model.encoder
    shop = encoder.places["shop"]
    assert encoder.weight == len(encoder.inputs) - len(shop) + 64
    assert len(shop) > 64
    first = network_of(model.fitted, model.goal, encoder, 0).layers[0]
    assert first.learning_rate_factor == pytest.approx(encoder.weight**-0.5)


def test_many_values_teach(model: cnn.TableModel) -> None:
    """An encoding by 64 values can't know the other 86."""
    frame = TABLE[2500:]
    assert model.columns["shop"] == "category"
    assert model.evaluate(frame)["r2"] > 0.8
    means = TABLE[:2500].groupby("shop")["pay"].mean()
    few = TABLE[:2500]["shop"].value_counts().index[:64]
    known = means[few].reindex(frame["shop"]).fillna(means.mean())
    assert np.corrcoef(known, frame["pay"])[0, 1] ** 2 < 0.7


def test_files_keep_it(model: cnn.TableModel, tmp_path: Path) -> None:
    model.save(tmp_path / "m.cnn")
    loaded = cnn.load(tmp_path / "m.cnn")
    assert loaded.encoder.inputs == model.encoder.inputs
    (shop,) = (column for column in loaded.encoder.columns if column.name == "shop")
    assert shop.one == columns.ONE_OF_MANY
    assert loaded.predict(TABLE).tobytes() == model.predict(TABLE).tobytes()


def test_pieces_and_streams_learn_the_same_columns() -> None:
    frame = table(codes=80)
    pieces = [frame[:1000], frame[1000:]]
    how: dict[str, Any] = {"epochs": 2, "members": 1, "seed": 0}
    streamed = cnn.TableModel("pay", **how).fit(pieces, verbose=0)
    whole = cnn.TableModel("pay", **how).fit(frame, verbose=0)
    ours, theirs = (next(c for c in m.encoder.columns if c.name == "shop") for m in (streamed, whole))
    assert sorted(ours.values) == sorted(theirs.values)
    assert (ours.rare, ours.gaps, ours.one) == (theirs.rare, theirs.gaps, theirs.one)
    assert ours.one > 1
    assert np.isfinite(streamed.predict(frame)).all()


def test_files_of_a_stream_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are dense: of many rows columns have fewer values there."""
    monkeypatch.setattr(encode, "_SMALL", 0)
    rows = np.arange(N)
    inputs = [len(Encoder.learn(TABLE, "pay", rows, of=of).inputs) for of in (None, 10 * N)]
    assert inputs[0] > CODES > 64 > inputs[1]


def test_threads_leave_the_bits() -> None:
    how: dict[str, Any] = {"epochs": 2, "members": 2, "seed": 0}
    one, two = (cnn.TableModel("pay", **how).fit(TABLE, verbose=0, n_threads=n).predict(TABLE) for n in (1, 2))
    assert one.tobytes() == two.tobytes()


def test_importance_and_explanations(model: cnn.TableModel) -> None:
    frame = TABLE[:60]
    importance = model.feature_importance(TABLE[2500:], repeats=1)
    assert importance.index[0] == "shop"
    shares = cnn.explain.integrated_gradients(model, frame)
    assert np.abs(shares.gap).max() < 0.02
    np.testing.assert_allclose(shares.predictions, model.predict(frame), rtol=1e-5)
    shop = shares.values[:, shares.feature_names.index("shop")]
    assert np.corrcoef(shop, frame["pay"])[0, 1] > 0.9
    found = cnn.explain.partial_dependence(model, frame, "shop", grid=["shop 3", "shop 4"])
    for i, value in enumerate(found.grid):
        np.testing.assert_allclose(found.individual[:, i], model.predict(frame.assign(shop=value)), atol=1e-5)


@pytest.mark.parametrize("how", ["integrated", "rows", "expected", "dependence"])
def test_explanations_are_those_of_dense_rows(model: cnn.TableModel, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    frame, other = TABLE[:40], TABLE[40:80]

    def found() -> Any:
        if how == "expected":
            return cnn.explain.expected_gradients(model, frame, other, samples=30).values
        if how == "dependence":
            return cnn.explain.partial_dependence(model, frame, "size", most_rows=20).individual
        return cnn.explain.integrated_gradients(model, frame, baseline=other if how == "rows" else None, steps=8).values

    short = found()
    monkeypatch.setattr(Encoder, "features", Encoder.encode)
    np.testing.assert_allclose(short, found(), atol=1e-5)


def test_a_search_takes_compact_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna")
    seen = []
    rows = tables._rows
    monkeypatch.setattr(tables, "_rows", lambda *given: seen.append(rows(*given)) or seen[-1])
    found, _ = tables.tune(TABLE, "pay", budget=3, given={"epochs": 2})
    assert set(found) >= {"hidden", "learning_rate"}
    assert [type(data.X) for data in seen] == [CompactRows] * 2


def test_many_values_beside_dates_without_staircases() -> None:
    rng = np.random.default_rng(0)
    shops = [f"shop {i}" for i in rng.integers(0, 80, 1500)]
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 60, 1500), "D")
    table = pd.DataFrame({"shop": shops, "day": days, "y": rng.normal(size=1500)})
    model = cnn.TableModel("y", numbers="plain", epochs=1, members=1, hidden=(4,), seed=0).fit(table, verbose=0)
    assert model.encoder.in_short
    dense = model.outputs(model.encoder.encode(table), None)
    np.testing.assert_allclose(model.predict(table), dense, rtol=1e-5, atol=1e-6)
