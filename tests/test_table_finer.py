"""Spikes and staircases of numbers: by their formulas and scikit-learn's trees, in tables and files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn
from cnn.runtime.compact import CompactRows, scattered
from cnn.table import columns, decimals, finer
from cnn.table.columns import Date, Number
from cnn.table.encode import Encoder
from cnn.table.finer import Finer

pd = pytest.importorskip("pandas")
Array = np.ndarray[Any, Any]


def staircase(x: Array, b: Array) -> Array:
    """(n, K) by the formula, term by term."""
    k = len(b) - 1
    with np.errstate(over="ignore"):
        z = [np.clip((x - b[i]) / (b[i + 1] - b[i]), -(i == 0), 1 + (i == k - 1)) for i in range(k)]
    return np.stack(z, axis=1).astype(np.float32)


def learnt(x: Array, y: Array, spikes: int = 256, leaves: int = 96) -> Number:
    return Number.learn("x", x, more=Finer(y.reshape(len(y), -1), spikes, leaves))


def target(x: Array, rng: np.random.Generator, d: int = 1) -> Array:
    return np.sin(3 * x)[:, None] * rng.normal(size=d) + rng.normal(size=(len(x), d)) / 2


@pytest.mark.parametrize(("n", "leaves", "d"), [(400, 8, 1), (1000, 96, 1), (900, 33, 3), (40, 96, 1), (5000, 200, 2)])
def test_edges_are_those_of_scikit_learns_best_first_tree(n: int, leaves: int, d: int) -> None:
    trees = pytest.importorskip("sklearn.tree")
    rng = np.random.default_rng(n)
    x = rng.normal(size=n).round(1 if n == 5000 else 9).astype(np.float32).astype(np.float64)  # as their trees take it
    y = target(x, rng, d)
    least = finer.fewest(n)
    tree = trees.DecisionTreeRegressor(max_leaf_nodes=leaves, min_samples_leaf=least).fit(x[:, None], y).tree_
    expected = np.sort(tree.threshold[tree.children_left >= 0])
    found = learnt(x, y, leaves=leaves).edges
    np.testing.assert_allclose(found, [x.min(), *expected, x.max()], rtol=1e-12)
    assert len(found) - 1 <= leaves
    assert np.histogram(x, found)[0].min() >= least


def test_a_tree_of_many_different_numbers_splits_at_quantiles() -> None:
    rng = np.random.default_rng(0)
    x = rng.lognormal(size=20_000)
    found = learnt(x, (x > 2.0) + 0.1 * target(np.log(x), rng)[:, 0], leaves=16).edges
    assert len(found) == 17
    assert min(abs(found - 2.0)) < 0.01  # the next of 1,023 quantiles
    ranks = np.sort(x).searchsorted(found[1:-1]) / len(x)
    np.testing.assert_allclose(ranks * 1024, np.round(ranks * 1024), atol=1024 / len(x))


def test_the_first_split_explains_most_and_noise_is_not_split_by_rows() -> None:
    x = np.arange(300.0)
    assert learnt(x, np.where(x < 100, 0.0, 1.0)).edges.tolist() == [0, 99.5, 299]
    assert len(learnt(x, np.zeros(300)).edges) == 0
    assert len(learnt(x[:20], target(x[:20], np.random.default_rng(0))).edges) == 0  # a leaf needs 12 rows


def test_classes_are_grown_on_the_sum_over_classes() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=600)
    y = np.digitize(x + rng.normal(size=600) / 3, [-1, 0, 1])
    one_hot = (y[:, None] == np.arange(4)).astype(float)
    found = finer.targets(y.astype(np.float64), 4)
    assert sorted(map(tuple, found.T)) == sorted(map(tuple, one_hot.T))
    np.testing.assert_allclose(learnt(x, found).edges, learnt(x, one_hot).edges)
    assert finer.targets(y, 100).shape == (600, 32)
    assert np.array_equal(finer.targets(y > 1, 2)[:, 0], y > 1)


def test_spikes_are_frequent_values() -> None:
    x = np.repeat([5.0, -1.0, 2.5, 7.0], [40, 30, 9, 10])
    y = np.zeros(len(x))
    assert learnt(x, y).spikes.tolist() == [-1, 5, 7]
    assert learnt(x, y, spikes=2).spikes.tolist() == []  # too many
    assert learnt(np.append(x, np.arange(100) + 0.5), y=np.zeros(189)).spikes.tolist() == []  # under half of the rows
    assert learnt(np.repeat([1.0, 2.0], 50), np.zeros(100)).spikes.tolist() == []  # a line tells all
    gaps = np.append(x, [np.nan] * 500)
    assert learnt(gaps, np.zeros(len(gaps))).spikes.tolist() == [-1, 5, 7]


def test_inputs_are_the_formulas() -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(-20, 20, 500) / 4
    x[::9] = np.nan
    number = learnt(x, target(np.nan_to_num(x), rng))
    k, b = len(number.spikes), number.edges
    assert k > 10
    assert len(b) > 10
    new = np.array([np.nan, -1e308, 1e308, 0.0, b[0], b[-1], b[3], np.nextafter(b[3], -9), np.nextafter(b[3], 9), 0.1])
    new = np.concatenate([new, rng.uniform(-9, 9, 200), x])
    out = np.full((len(new), len(number.inputs)), np.nan, np.float32)
    number.write_values(new, out)
    there = ~np.isnan(new)
    np.testing.assert_array_equal(out[:, 2], ~there)
    np.testing.assert_array_equal(out[:, 3 : 3 + k], new[:, None] == number.spikes)
    np.testing.assert_array_equal(out[:, 3 + k :], staircase(np.where(there, new, number.center), b))
    bins, z = number.stairs(new)
    assert bins.dtype == np.uint8
    np.testing.assert_array_equal(out[np.arange(len(new)), 3 + k + bins], z)
    assert [len(number.inputs), number.inputs[3], number.inputs[-1]] == [
        3 + k + len(b) - 1, f"is {number.spikes[0]}", f"from {b[-2]}",
    ]  # fmt: skip


@pytest.mark.parametrize("x", [
    np.array([-1.7e308, 1.7e308, 0.0] * 30), np.array([0.0, 5e-324, 1e-307] * 30),
    1e15 + np.arange(90.0) / 8, np.append(np.full(89, 1.0), 2.0),
])  # fmt: skip
def test_extreme_numbers_have_finite_inputs(x: Array) -> None:
    number = learnt(x, target(np.arange(90.0), np.random.default_rng(0)))
    assert (np.diff(number.edges) > 1e-306).all()
    out = np.empty((len(x), len(number.inputs)), np.float32)
    number.write_values(x, out)
    assert np.isfinite(out).all()


def frame(n: int = 600) -> Any:
    rng = np.random.default_rng(3)
    x = rng.normal(size=n)  # of 7 columns a column may have 8 spikes
    table = pd.DataFrame({
        "x": x, "gain": np.where(rng.random(n) < 0.8, 0, rng.integers(1, 5, n) * 1000),
        "gaps": np.where(rng.random(n) < 0.2, np.nan, rng.integers(0, 9, n)),
        "text": [f"{v:.1f}" for v in x], "town": rng.choice(["Bern", "Genf"], n),
        "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 60, n), "D"),
        "infinite": np.where(rng.random(n) < 0.1, np.inf, np.abs(x)),
    })  # fmt: skip
    table.loc[3, "text"] = "?"
    table["price"] = np.sin(3 * x) + (table["gain"] > 0) + rng.normal(size=n) / 5
    table["grade"] = np.digitize(table["price"], [0, 1]).astype(str)
    return table


def fitted(goal: str, **options: Any) -> tuple[cnn.TableModel, Any]:
    table = frame().drop(columns={"price", "grade"} - {goal})
    return cnn.TableModel(goal, epochs=1, members=2, hidden=(8,), seed=0, **options).fit(table, verbose=0), table


@pytest.mark.parametrize(("numbers", "goal", "spikes", "edges"), [
    ("auto", "price", False, True), ("spikes+embedding", "price", True, True), ("auto", "grade", True, True),
    ("plain", "price", False, False),
    ("both", "grade", True, True), ("spikes", "price", True, False), ("bins", "grade", False, True),
    ("embedding", "price", False, True), ("embedding", "grade", False, True),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore:infinite numbers")
def test_which_inputs_there_are(numbers: Any, goal: str, spikes: bool, edges: bool) -> None:
    model, table = fitted(goal, numbers=numbers)
    found = {column.name: column for column in model.encoder.columns}
    gain, text, day = found["gain"], found["text"], found["day"]
    assert isinstance(gain, Number)
    assert isinstance(text, Number)
    assert isinstance(day, Date)
    assert (len(gain.spikes), len(gain.edges) > 2) == (5 * spikes, edges)
    assert (len(text.edges) > 2, len(day.days.edges) > 2) == (edges, edges)
    assert len(day.days.spikes) == 0  # days do not come again
    assert np.isfinite(model.predict_proba(table) if goal == "grade" else model.predict(table)).all()


@pytest.mark.filterwarnings("ignore:infinite numbers")
def test_embedded_staircases_are_their_sums_before_all_other_inputs() -> None:
    model, table = fitted("price", numbers="spikes+embedding")
    encoder = model.encoder
    assert encoder.embedded
    assert not encoder.in_short
    dense = dataclasses.replace(encoder, embedded=False)
    for some in (None, np.arange(0, 600, 7), np.array([3]), np.arange(0)):
        X, every = encoder.encode(table, some), dense.encode(table, some)
        stairs = np.array([": from " in name for name in dense.inputs])
        sums = [
            every[:, place[stairs[place]]].sum(axis=1, dtype=np.float64)
            for place in dense.places.values() if stairs[place].any()
        ]  # fmt: skip
        assert X.shape[1] == encoder.n_inputs == len(encoder.inputs) == len(sums) + (~stairs).sum()
        np.testing.assert_array_equal(X[:, : len(sums)], np.stack(sums, axis=1).astype(np.float32))
        np.testing.assert_array_equal(X[:, len(sums) :], every[:, ~stairs])
        np.testing.assert_array_equal(encoder.features(table, some), X)
    assert sorted(np.concatenate(list(encoder.places.values())).tolist()) == list(range(encoder.n_inputs))
    for name, place in encoder.places.items():
        assert {encoder.inputs[i].split(": ")[0] for i in place} == {name}
    names = ("x", "gain", "gaps", "text", "day", "infinite")
    assert encoder.inputs[: len(sums)] == [f"{name}: place" for name in names]


@pytest.mark.filterwarnings("ignore:infinite numbers")
def test_a_network_begins_with_the_embeddings_of_staircases() -> None:
    model, table = fitted("price", numbers="spikes+embedding")
    X, every = (dataclasses.replace(model.encoder, embedded=flag).encode(table) for flag in (True, False))
    layer = model.networks[0].layers[0]
    names = dataclasses.replace(model.encoder, embedded=False).inputs
    at, k = 0, len(model.encoder.stairs)
    expected = []
    for column, bins in enumerate(model.encoder.stairs):
        name = model.encoder.inputs[column].split(":")[0]
        z = every[:, [n.startswith(f"{name}: from ") for n in names]].astype(np.float64)
        assert z.shape[1] == bins
        V, c = (np.asarray(part, np.float64)[column] for part in (layer.weights, layer.biases))
        expected.append(np.maximum(z @ V[:, :bins].T + c, 0))
        at += len(c)
    found = model.networks[0].layer_outputs(X)[0]
    assert found.shape == (len(X), at + X.shape[1] - k)
    np.testing.assert_allclose(found, np.hstack([*expected, X[:, k:]]), rtol=1e-4, atol=1e-5)


def test_many_categories_or_columns_are_not_embedded() -> None:
    rng = np.random.default_rng(0)
    more = Finer(rng.normal(size=(3000, 1)), 256, 96, embedded=True)
    narrow = pd.DataFrame({"x": rng.normal(size=3000), "town": rng.integers(0, 60, 3000).astype(str)})
    wide = narrow.assign(town="town " + pd.Series(rng.integers(0, 100, 3000).astype(str)))
    assert Encoder.learn(narrow.assign(town="a" + narrow["town"]), "y", np.arange(3000), more=more).embedded
    assert not Encoder.learn(wide, "y", np.arange(3000), more=more).embedded
    assert not Encoder.learn(wide[["town"]], "y", np.arange(3000), more=more).embedded
    for k in (64, 65):
        table = pd.DataFrame(rng.normal(size=(3000, k)), columns=[f"x{i}" for i in range(k)])
        assert Encoder.learn(table, "y", np.arange(3000), more=more).embedded == (k == 64)


@pytest.mark.filterwarnings("ignore:infinite numbers")
def test_columns_are_encoded_alone_as_among_others() -> None:
    model, table = fitted("price", numbers="both")
    for some in (None, np.arange(0, 600, 7), np.array([3]), np.arange(0)):
        X = model.encoder.encode(table, some)
        for column in model.encoder.columns:
            alone = np.full((len(X), len(column.inputs)), np.nan, np.float32)
            cells = table[column.name] if some is None else table[column.name].iloc[some]
            if column.name == "infinite":
                cells = cells.replace(np.inf, np.nan)
            column.write(cells, alone)
            np.testing.assert_array_equal(X[:, model.encoder.places[column.name]], alone, column.name)


def test_spikes_are_found_in_float32_and_float64() -> None:
    """0.99 is a frequent price, and np.float32(0.99), another number, the same price."""
    prices = pd.Series(np.random.default_rng(0).choice([0.99, 1.49, 12.05, 0.0, 3e7, 1e-9], 900), name="price")
    short = prices.astype("float32")
    for learnt, asked in ((prices, short), (short, prices), (prices, prices.astype("Float32"))):
        column = columns.learn(learnt, np.arange(900), 9, more=finer.Finer(np.zeros((900, 1)), 99, 0))
        assert len(column.spikes) == 6
        assert np.array_equal(column.codes(column.values(asked)), column.codes(column.values(learnt)))
        assert column.codes(column.values(asked)).min() == 0
    odd = np.array([1 / 3, np.pi, np.nan, np.inf, 1e38], np.float32).astype(np.float64)
    np.testing.assert_array_equal(decimals.of(odd), np.where(odd == np.float32(1e38), 1e38, odd))


@pytest.mark.filterwarnings("ignore:infinite numbers")
@pytest.mark.parametrize("numbers", ["both", "spikes+embedding"])
@pytest.mark.parametrize("goal", ["price", "grade"])
def test_files_keep_them(goal: str, numbers: Any, tmp_path: Path) -> None:
    model, table = fitted(goal, numbers=numbers)
    model.save(tmp_path / "m.cnn")
    again = cnn.load(tmp_path / "m.cnn")
    assert repr(again.encoder) == repr(model.encoder)
    np.testing.assert_array_equal(again.encoder.encode(table), model.encoder.encode(table))
    np.testing.assert_array_equal(again.predict(table), model.predict(table))


@pytest.mark.filterwarnings("ignore:infinite numbers")
@pytest.mark.parametrize("numbers", ["both", "spikes+embedding"])
@pytest.mark.parametrize("goal", ["price", "grade"])
def test_onnx_and_c_have_them(goal: str, numbers: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    model, table = fitted(goal, numbers=numbers)
    table = table.astype({"gain": np.float64})
    table.loc[:5, "gain"], table.loc[6:9, "x"] = [np.nan, 1000, 999, -5, 1e300, 4000], [1e300, -1e300, -np.inf, np.nan]
    cnn.export_onnx(model, tmp_path / "m.onnx")
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    days = (table["day"] - pd.Timestamp(0)) / pd.Timedelta("1D")
    cells = table.assign(day=days, text=pd.to_numeric(table["text"], errors="coerce"))
    feed = {n: cells[n].to_numpy(object if n == "town" else np.float64).reshape(-1, 1) for n in model.columns}
    found = session.run(None, feed)[-1]
    expected = model.predict(table) if goal == "price" else model.predict_proba(table)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    text = cnn.export_c(model, tmp_path)[0].read_text()
    assert "put_spikes(numbers[1], spikes1, 5, x + " in text
    assert f"put_{'stairs' if numbers == 'both' else 'place'}(numbers[0]" in text


@pytest.mark.filterwarnings("ignore:infinite numbers")
@pytest.mark.parametrize("numbers", ["bins", "both", "spikes"])
def test_networks_take_staircases_in_short(numbers: Any) -> None:
    model, table = fitted("price", numbers=numbers)
    for some in (None, np.arange(0, 600, 7), np.array([3]), np.arange(0)):
        X, dense = model.encoder.features(table, some), model.encoder.encode(table, some)
        assert isinstance(X, CompactRows) == model.encoder.in_short == (numbers != "spikes")
        if not isinstance(X, CompactRows):
            np.testing.assert_array_equal(X, dense)
            continue
        np.testing.assert_array_equal(X.to_scipy().toarray(), dense)
        np.testing.assert_allclose(model.outputs(X, None), model.outputs(dense, None), rtol=1e-5, atol=1e-6)
        assert len(X.values) <= 30 * len(X)
    again = np.concatenate([model.predict(table.iloc[[i]]) for i in range(20)])
    np.testing.assert_array_equal(again, model.predict(table)[:20])  # a row alone has the same bits


@pytest.mark.filterwarnings("ignore:infinite numbers")
def test_compact_rows_in_another_order() -> None:
    model, table = fitted("price", numbers="both", valid=0.2)
    whole: Any = model.encoder.features(table)
    places = np.random.default_rng(0).permutation(len(table))
    parts = [model.encoder.features(table.iloc[i : i + 130]) for i in range(0, 600, 130)]
    got: Any = scattered(parts, places)  # type: ignore[arg-type]
    assert parts == []
    np.testing.assert_array_equal(got.to_scipy().toarray()[places], whole.to_scipy().toarray())
    assert isinstance(got, CompactRows)


@pytest.mark.filterwarnings("ignore:infinite numbers")
@pytest.mark.parametrize("numbers", ["both", "spikes+embedding"])
def test_streams_learn_the_same_columns(numbers: Any) -> None:
    table = frame().drop(columns="grade")
    how: dict[str, Any] = {"epochs": 1, "members": 1, "hidden": (8,), "seed": 0, "numbers": numbers}
    here, there = (cnn.TableModel("price", **how) for _ in range(2))
    here.fit([table[:250], table[250:]], verbose=0)
    there.fit(table, stream=True, verbose=0)
    assert repr(here.encoder) == repr(there.encoder)
    assert (here.encoder.in_short, here.encoder.embedded) == (numbers == "both", numbers != "both")
    np.testing.assert_array_equal(here.predict(table), there.predict(table))


def test_wide_and_large_tables_get_fewer() -> None:
    rng = np.random.default_rng(0)
    more = Finer(rng.normal(size=(300, 1)), 256, 96)
    names = [f"x{i}" for i in range(30)]
    table = pd.DataFrame(rng.normal(size=(300, 30)), columns=names)
    some, fewer, least = (
        len(Encoder.learn(table, "y", np.arange(300), of=n, more=more).inputs) for n in (100_000, 200_000, 10**7)
    )
    assert some > fewer > least == 60
    assert 4 * 200_000 * (fewer - 60) <= 2**28
    dice = pd.DataFrame(rng.integers(0, 12, (1200, 10)), columns=[f"x{i}" for i in range(10)])
    more = Finer(rng.normal(size=(1200, 1)), 256, 0)
    for rows, spikes in ((1200, 12), (1190, 0)):  # ten rows a spike
        found = Encoder.learn(dice, "y", np.arange(rows), more=more)
        assert {len(column.inputs) for column in found.columns} == {2 + spikes}
    more = Finer(rng.normal(size=(300, 1)), 256, 96)
    for k, leaves in ((500, 16), (1100, 0)):
        wide = pd.DataFrame(rng.normal(size=(300, k)), columns=[f"x{i}" for i in range(k)])
        assert len(Encoder.learn(wide, "y", np.arange(300), more=more).inputs) == k * (2 + leaves)


@pytest.mark.parametrize(("wrong", "error"), [("none", ValueError), (1, ValueError), (None, ValueError)])
def test_bad_settings_are_refused(wrong: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="numbers must be 'auto', 'plain', 'spikes', 'bins', 'both', 'embedding' or "):
        cnn.TableModel("y", numbers=wrong)


def test_trees_of_many_rows_are_grown_on_a_sample_that_has_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x = np.full(50_000, np.nan)
    x[-900:] = rng.normal(size=900)
    y = target(np.nan_to_num(x), rng)
    whole = learnt(x, y)
    monkeypatch.setattr(finer, "_SAMPLE", 500)
    part = learnt(x, y)
    assert 2 < len(part.edges) < len(whole.edges)
    assert np.isin(part.edges[[0, -1]], x).all()
