"""TableModel: kinds of columns, what becomes of gaps and new values, targets, files, bad tables."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn
from cnn.table import frames, target, words
from cnn.table.encode import Encoder
from cnn.table.frames import to_pandas

pd = pytest.importorskip("pandas")
scipy_stats = pytest.importorskip("scipy.stats")
QUICK: dict[str, Any] = {"epochs": 3, "members": 2, "hidden": (8,), "seed": 0}


@pytest.fixture(scope="module")
def frame() -> Any:
    """A column of each kind, with gaps, and three targets."""
    rng, n = np.random.default_rng(0), 400
    table = pd.DataFrame({
        "size": rng.lognormal(size=n), "town": rng.choice(["Bern", "Genf", "Zug"], n), "new": rng.random(n) < 0.5,
        "sold": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 400 * 24, n), "h"),
        "floor": [str(v) for v in rng.integers(0, 9, n)], "row": rng.permutation(n), "empty": [None] * n,
        "same": ["x"] * n, "who": [f"person {i}" for i in range(n)],
    })  # fmt: skip
    table["price"] = np.log(table["size"]) + (table["town"] == "Genf") * 2
    table["dear"] = np.where(table["price"] > 1, "yes", "no")
    table.loc[::7, "size"] = np.nan
    table.loc[::9, "town"] = None
    table.loc[5, "floor"] = "?"
    return table


@pytest.fixture(scope="module")
def model(frame: Any) -> cnn.TableModel:
    return cnn.TableModel("price", **QUICK).fit(frame.drop(columns="dear"), verbose=0)


def test_kinds_are_found(model: cnn.TableModel) -> None:
    assert model.columns == {
        "size": "number", "town": "category", "new": "boolean", "sold": "date", "floor": "number"
    }  # fmt: skip
    assert set(model.dropped) == {"row", "empty", "same", "who"}
    said = "\n".join(model.notes)
    for word in ("regression", "'row'", "'who'", "'?'"):
        assert word in said
    assert model.task == "regression"
    assert (len(model.networks), len(model.held_out), model.rows) == (2, 80, 400)


def test_rows_alone_teach(frame: Any) -> None:
    rows = np.arange(100)
    other = frame.copy()
    other.loc[100:, "size"] = 1e9
    ours, theirs = (Encoder.learn(f, "price", rows) for f in (frame, other))
    assert np.array_equal(ours.encode(frame, rows), theirs.encode(other, rows))


def test_few_categories_in_a_large_table(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"c": rng.integers(0, 60, 5000).astype(str), "y": rng.normal(size=5000)})
    table["c"] = "w" + table["c"]
    assert len(Encoder.learn(table, "y", np.arange(5000)).inputs) == 60
    monkeypatch.setattr("cnn.table.encode._SMALL", 0)
    assert len(Encoder.learn(table, "y", np.arange(5000)).inputs) <= 9


@pytest.mark.parametrize(
    ("cells", "task", "classes"),
    [
        (["a", "b"] * 20, "classification", ("a", "b")),
        ([True, False] * 20, "classification", (False, True)),
        ([0, 1, 2, 1] * 10, "classification", (0, 1, 2)),
        (["0", "1"] * 20, "classification", ("0", "1")),
        (list(np.linspace(0, 1, 40)), "regression", ()),
        (list(range(40)), "regression", ()),
        ([f"{v:.2f}" for v in np.linspace(0, 1, 40)], "regression", ()),
    ],
)  # fmt: skip
def test_task_follows_from_the_target(cells: list[Any], task: str, classes: tuple[Any, ...]) -> None:
    found = target.learn(pd.Series(cells, name="y"), np.arange(40), "auto")
    assert (found.task, found.classes) == (task, classes)
    assert found.reason


@pytest.mark.parametrize("goal", ["price", "dear", "town", "new"])
def test_file_holds_everything(frame: Any, goal: str, tmp_path: Path) -> None:
    model = cnn.TableModel(goal, **QUICK).fit(frame, verbose=0)
    model.save(tmp_path / "m.cnn")
    again = cnn.load(tmp_path / "m.cnn")
    assert isinstance(again, cnn.TableModel)
    assert np.array_equal(again.predict(frame), model.predict(frame))
    assert (again.notes, again.columns, again.dropped) == (model.notes, model.columns, model.dropped)
    assert (again.scores, again.settings, again.seed) == (model.scores, model.settings, model.seed)
    if model.task == "classification":
        p = again.predict_proba(frame)
        assert np.array_equal(p, model.predict_proba(frame))
        assert np.allclose(p.sum(axis=1), 1)
        assert p.shape == (len(frame), len(again.classes))
        assert np.array_equal(again.classes[p.argmax(axis=1)], again.predict(frame))


def test_cut_file_is_refused(model: cnn.TableModel, tmp_path: Path) -> None:
    model.save(tmp_path / "m.cnn")
    whole = (tmp_path / "m.cnn").read_bytes()
    (tmp_path / "m.cnn").write_bytes(whole[:-1])
    with pytest.raises(cnn.ModelFormatError, match=r"m\.cnn"):
        cnn.load(tmp_path / "m.cnn")


@pytest.mark.parametrize("change", [
    {"task": "sorting"}, {"deviation": 0.0}, {"classes": 3}, {"columns": [{}]}, {"networks": []}, {"labels": "path"},
    {"dropped": -1}, {"notes": 10**6}, {"settings": {"hidden": "x"}}, {"seed": "a"}, {"scores": 3},
])  # fmt: skip
def test_false_file_is_refused(
    model: cnn.TableModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    from cnn.files import container

    write = container.write

    def forge(path: Any, kind: str, payload: dict[str, Any], tensors: Any) -> None:
        write(path, kind, {**payload, **change}, tensors)

    monkeypatch.setattr(container, "write", forge)
    model.save(tmp_path / "m.cnn")
    with pytest.raises(cnn.ModelFormatError):
        cnn.load(tmp_path / "m.cnn")


def test_order_of_columns_and_others_beside_them_do_not_matter(model: cnn.TableModel, frame: Any) -> None:
    mixed = frame[frame.columns[::-1]].assign(more=1)
    assert np.array_equal(model.predict(mixed), model.predict(frame))
    assert len(model.predict(frame.iloc[:0])) == 0
    assert np.allclose(model.predict(frame.iloc[3:4]), model.predict(frame)[3:4])


def test_text_cells_predict_the_same(model: cnn.TableModel, frame: Any) -> None:
    """As a CSV file read without types gives them."""
    as_text = frame.astype(object).where(frame.notna(), None).map(lambda v: v if v is None else str(v))
    assert np.array_equal(model.predict(as_text), model.predict(frame))


def test_the_frame_is_not_changed(frame: Any) -> None:
    before = frame.copy(deep=True)
    cnn.TableModel("price", **QUICK).fit(frame, verbose=0).predict(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_seed_and_threads(frame: Any) -> None:
    one, two = (cnn.TableModel("dear", **QUICK).fit(frame, verbose=0, n_threads=n) for n in (1, 2))
    assert np.array_equal(one.predict_proba(frame), two.predict_proba(frame))
    other = cnn.TableModel("dear", **{**QUICK, "seed": 1}).fit(frame, verbose=0)
    assert not np.array_equal(one.predict_proba(frame), other.predict_proba(frame))


def test_each_class_gives_its_share_to_the_held_out_rows() -> None:
    table = pd.DataFrame({"x": np.arange(200.0) ** 2, "y": ["rare"] * 20 + ["often"] * 180})
    model = cnn.TableModel("y", **{**QUICK, "members": 1}).fit(table, verbose=0)
    assert (model.held_out < 20).sum() == 2
    assert len(model.held_out) == 20


def test_evaluate_is_scikit_learns(frame: Any) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    model = cnn.TableModel("dear", **QUICK).fit(frame, verbose=0)
    scores = model.evaluate(frame)
    assert scores["accuracy"] == pytest.approx(sk.accuracy_score(frame["dear"], model.predict(frame)))
    p = model.predict_proba(frame)[:, 1]
    assert scores["roc_auc"] == pytest.approx(sk.roc_auc_score(frame["dear"] == "yes", p))
    half = frame.assign(dear=frame["dear"].where(np.arange(len(frame)) < 200))
    assert model.evaluate(half) == pytest.approx(model.evaluate(frame.iloc[:200]))


def test_importance_finds_what_matters() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(600, 3)), columns=["much", "little", "none"])
    table["y"] = 3 * table["much"] + table["little"]
    model = cnn.TableModel("y", epochs=40, members=1, seed=0).fit(table, verbose=0)
    found = model.feature_importance(table, repeats=3)
    assert list(found.index) == ["much", "little", "none"]
    # A shuffled column of deviation 1 and slope 3 is wrong by 3 √2 in the mean of squares.
    assert found["importance"]["much"] == pytest.approx(3 * np.sqrt(2), rel=0.15)
    assert abs(found["importance"]["none"]) < 0.2


@pytest.mark.parametrize(("table", "said"), [
    ({"x": [1.0] * 20}, "has no column 'y'"),
    ({"x": range(20), "y": [3] * 20}, "3 in every row"),
    ({"x": np.arange(20.0) ** 2, "y": [None] * 20}, "no value in any row"),
    ({"x": [None] * 20, "y": range(20)}, "nothing|anything to learn"),
    ({"x": np.arange(5.0) ** 2, "y": range(5)}, "at least 10"),
    ({"x": np.arange(40.0) ** 2, "y": [f"n{i}" for i in range(40)]}, "neither numbers nor classes"),
    ({"x": np.arange(40.0) ** 2, "y": [*map(str, np.linspace(0, 1, 39)), "oops"]}, "'oops' at row 39"),
    ({"x": np.arange(40.0) ** 2, "y": pd.date_range("2024", periods=40)}, "dates"),
])  # fmt: skip
def test_bad_tables_are_refused(table: dict[str, Any], said: str) -> None:
    model = cnn.TableModel("y", **QUICK)
    with pytest.raises(cnn.TableError, match=said):
        model.fit(table, verbose=0)
    with pytest.raises(cnn.NotBuiltError):
        model.predict(table)


def test_a_table_to_hold_out_is_checked_first(frame: Any, capsys: pytest.CaptureFixture[str]) -> None:
    valid = frame.iloc[:30].reset_index(drop=True)
    odd = valid.astype({"size": object})
    odd.loc[7, "size"] = "huge"
    begun = []
    for given, kind, said in [
        (valid.drop(columns="price"), cnn.TableError, "validation has no column 'price'"),
        (valid.drop(columns="town"), cnn.TableError, "validation: the table has no column 'town'"),
        (valid.assign(price=np.nan), cnn.TableError, "no row of validation has a value of the target 'price'"),
        (valid.iloc[:0], cnn.TableError, "no row of validation has a value"),
        (odd, cnn.TableError, "validation: column 'size' must hold numbers, got 'huge' at row 7"),
        (valid.assign(price="dear"), cnn.TableError, "validation: the target 'price' must hold finite numbers"),
        (valid[["size", "size", "price"]], cnn.TableError, "validation has two columns with the name 'size'"),
        ([1, 2], TypeError, "validation must be a data frame"),
    ]:
        with pytest.raises(kind, match=said):
            cnn.TableModel("price", **QUICK).fit(
                frame, validation=given, verbose=1, callbacks=[lambda *_: begun.append(1)]
            )
    with pytest.raises(cnn.TableError, match=r"validation: the target 'dear' must hold one of.*'maybe'"):
        cnn.TableModel("dear", **QUICK).fit(frame, validation=valid.assign(dear="maybe"), verbose=1)
    assert (begun, capsys.readouterr().out) == ([], "")


def test_rows_to_hold_out_without_a_target_are_left_out(frame: Any) -> None:
    valid = frame.iloc[:30].assign(price=frame["price"].where(np.arange(len(frame)) % 2 == 0))
    one = cnn.TableModel("price", **QUICK).fit(frame, validation=valid, verbose=0)
    two = cnn.TableModel("price", **QUICK).fit(frame, validation=valid.iloc[::2], verbose=0)
    assert one.held_out.tolist() == list(range(0, 30, 2))
    assert one.scores == two.scores
    assert np.array_equal(one.predict(frame), two.predict(frame))


def test_bad_cells_and_columns_at_prediction(model: cnn.TableModel, frame: Any) -> None:
    with pytest.raises(cnn.TableError, match="no column 'town'"):
        model.predict(frame.drop(columns="town"))
    odd = frame.astype({"size": object})
    odd.loc[7, "size"] = "huge"
    with pytest.raises(cnn.TableError, match="'size' must hold numbers, got 'huge' at row 7"):
        model.predict(odd)
    twice = frame[["size", "size", "price"]]
    with pytest.raises(cnn.TableError, match="two columns with the name 'size'"):
        model.predict(twice)


@pytest.mark.parametrize("wrong", [
    {"task": "both"}, {"hidden": 8}, {"hidden": (0,)}, {"activation": "rellu"}, {"dropout": 1.0}, {"valid": 0.0},
    {"epochs": 0}, {"members": 0}, {"learning_rate": -1}, {"seed": -1}, {"patience": 1.5}, {"effort": "most"},
    {"max_seconds": 0}, {"weight_decay": -1},
])  # fmt: skip
def test_bad_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        cnn.TableModel("y", **wrong)


def test_a_failed_fit_leaves_the_model_as_it_was(frame: Any) -> None:
    model = cnn.TableModel("price", **QUICK).fit(frame, verbose=0)
    before = model.predict(frame)

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(frame.assign(more=1), callbacks=[stop], verbose=0)
    assert np.array_equal(model.predict(frame), before)


def test_other_frames(frame: Any, model: cnn.TableModel) -> None:
    pa = pytest.importorskip("pyarrow")
    assert np.array_equal(model.predict(pa.Table.from_pandas(frame)), model.predict(frame))
    with pytest.raises(TypeError, match="data frame"):
        to_pandas([1, 2])


@pytest.mark.parametrize("rows", [None, [0, 3, 4, 5, 8], []])
@pytest.mark.parametrize("dtype", ["str", object, "category"])
def test_cells_are_counted_in_pieces(rows: list[int] | None, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "PIECE", 3)
    series = pd.Series(["b", "a", None, "b", "c", "a", "b ", None, "d"], name="c", dtype=dtype)
    chosen = np.arange(9) if rows is None else np.array(rows, np.int64)
    found: dict[str, int] = {}
    for cells, counts in frames.counts(series, None if rows is None else chosen):
        for cell, count in zip(cells, counts, strict=True):
            found[cell] = found.get(cell, 0) + count
    expected = series.iloc[chosen].value_counts()
    assert found == expected[expected > 0].to_dict()
    texts = series.iloc[chosen].astype(object).str.strip().value_counts().to_dict()
    for least in (1, 2, 3, 4):
        different, filled, often = words.frequent(series, chosen, least)
        assert (different, filled) == (len(texts), sum(texts.values()))
        assert often == {text: n for text, n in texts.items() if n >= least or len(texts) <= 2}


def test_pieces_encode_the_same(frame: Any, model: cnn.TableModel, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [np.arange(len(frame))[::2], np.arange(9, 20), np.array([5, 399]), np.array([], np.int64)]
    whole = model.encoder.encode(frame)
    for piece in (frames.PIECE, 7):
        monkeypatch.setattr(frames, "PIECE", piece)
        assert model.encoder.encode(frame).tobytes() == whole.tobytes()
        for rows in chosen:
            assert model.encoder.encode(frame, rows).tobytes() == whole[rows].tobytes()


def test_errors_in_pieces_name_the_row(frame: Any, model: cnn.TableModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the table, not of the piece or of the rows that are looked at."""
    monkeypatch.setattr(frames, "PIECE", 7)
    wrong = frame.copy()
    wrong.loc[20, "floor"] = "cellar"
    with pytest.raises(cnn.TableError, match="column 'floor' must hold numbers, got 'cellar' at row 20"):
        model.encoder.encode(wrong, np.arange(0, 400, 2))


def test_a_table_that_nobody_keeps_is_let_go_before_the_training(frame: Any) -> None:
    tables = [frame.copy()]
    kept, seen = weakref.ref(tables[0]), []

    def look(*_: Any) -> None:
        gc.collect()
        seen.append(kept())

    cnn.TableModel("price", **QUICK).fit(tables.pop(), callbacks=[look], verbose=0)
    assert seen == [None] * 6


def test_infinite_numbers_are_said_and_count_as_missing(frame: Any) -> None:
    odd = frame.assign(size=frame["size"].where(np.arange(400) % 50 > 1, np.inf), only=-np.inf,
                       small=pd.array(frame["size"].fillna(1) / 2, "Float64"),
                       floor=frame["floor"].replace("?", "-inf"))  # fmt: skip
    odd["price"] = odd["price"].where(np.arange(400) != 3, -np.inf)
    odd.loc[7, "small"] = np.inf
    said = "infinite numbers count as missing: 16 in 'size', 1 in 'floor', 400 in 'only', 1 in 'small'"
    model = cnn.TableModel("price", **QUICK)
    with pytest.warns(UserWarning, match=f"{said}, 1 in 'price'$") as found:
        model.fit(odd, verbose=0)
    assert [Path(warning.filename).name for warning in found] == ["test_table.py"]
    assert model.notes[-1] == f"{said}, 1 in 'price'"
    with pytest.warns(UserWarning, match=f"{said}$") as found:
        predicted = model.predict(odd)
    assert [Path(warning.filename).name for warning in found] == ["test_table.py"]
    with pytest.warns(UserWarning, match=f"{said}, 1 in 'price'$"):
        model.evaluate(odd)
    clean = odd.replace([np.inf, -np.inf, "-inf"], np.nan)
    assert np.array_equal(model.predict(clean), predicted)
    same = cnn.TableModel("price", **QUICK).fit(clean, verbose=0)
    assert np.array_equal(same.predict(clean), predicted)


def test_infinite_words_of_a_target_of_text() -> None:
    y = [*map(str, range(50)), "inf", "-Infinity"]
    table = {"x": np.arange(52.0) ** 2, "y": y}
    with pytest.warns(UserWarning, match="infinite numbers count as missing: 2 in 'y'"):
        model = cnn.TableModel("y", **{**QUICK, "members": 1}).fit(table, verbose=0)
    assert model.rows + len(model.held_out) == 50


def test_an_index_that_became_a_column_is_none() -> None:
    pa, n = pytest.importorskip("pyarrow"), 40
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.normal(size=n), "y": rng.normal(size=n)}, index=rng.permutation(900)[:n])
    arrow = pa.Table.from_pandas(table)
    assert "__index_level_0__" in arrow.column_names
    model = cnn.TableModel("y", **QUICK).fit(arrow, verbose=0)
    bare = cnn.TableModel("y", **QUICK).fit(arrow.replace_schema_metadata(), verbose=0)
    assert (list(bare.columns), bare.dropped) == (["x"], {})
    for data in (table, arrow, arrow.replace_schema_metadata()):
        assert np.array_equal(model.predict(data), bare.predict(data))


def test_repr_counts(model: cnn.TableModel) -> None:
    assert repr(model) == "TableModel('price': regression, 5 columns, 2 networks of 22 inputs)"
    one = cnn.TableModel("y", **{**QUICK, "members": 1}).fit({"x": [1.0, 2.0] * 10, "y": range(20)}, verbose=0)
    assert repr(one) == "TableModel('y': regression, 1 column, 1 network of 2 inputs)"
