"""Several targets in one TableModel: by hand from its networks, by scikit-learn, in files, exports and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn
from cnn.table import large, lesson
from cnn.table.settings import Settings
from cnn.uncertainty import Residuals

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn", minversion="1.9")
from sklearn.base import clone  # noqa: E402
from sklearn.inspection import permutation_importance  # noqa: E402
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score  # noqa: E402
from sklearn.multioutput import MultiOutputClassifier  # noqa: E402

NAMES = ["price", "rent"]
HOW: dict[str, Any] = {"epochs": 40, "members": 2, "hidden": (32,), "seed": 0}
QUICK: dict[str, Any] = {"epochs": 2, "members": 1, "hidden": (4,), "seed": 0}


def table(n: int = 400) -> Any:
    rng = np.random.default_rng(0)
    found = pd.DataFrame({"area": rng.uniform(20, 200, n), "town": rng.choice(["Bern", "Genf"], n)})
    found["price"] = 5000 * found["area"] + 3e5 * (found["town"] == "Genf") + 2e4 * rng.normal(size=n)
    found["rent"] = found["area"] / 10 - 4 * (found["town"] == "Genf") + rng.normal(size=n)
    return found


TABLE = table()
X, Y = TABLE[["area", "town"]], TABLE[NAMES]


@pytest.fixture(scope="module")
def model() -> cnn.TableModel:
    return cnn.TableModel(NAMES, **HOW).fit(TABLE, verbose=0)


def test_predictions_are_those_of_one_network_in_units_of_each_target(model: cnn.TableModel) -> None:
    assert [net.n_outputs for net in model.networks] == [2, 2]
    assert model.target == ("price", "rent")
    raw = np.mean([net.predict(model.encoder.encode(TABLE)).astype(np.float64) for net in model.networks], axis=0)
    rows = np.arange(400)  # all of them teach one of the networks
    scaled = raw * Y.iloc[rows].std(ddof=0).to_numpy() + Y.iloc[rows].mean().to_numpy()
    expected = np.clip(scaled, Y.min().to_numpy(), Y.max().to_numpy())
    found = model.predict(TABLE)
    assert found.shape == (400, 2)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)
    assert (scaled != expected).any()  # some are held to the range that taught
    assert r2_score(Y, found, multioutput="raw_values").min() > 0.9


def test_both_are_scaled_by_the_rows_that_teach() -> None:
    rows = TABLE.assign(rent=np.where(np.arange(400) % 5 == 0, None, TABLE["rent"])).infer_objects()
    found = lesson.of_frame(rows, ("price", "rent"), Settings(members=2), 5, TABLE[:50])
    known = TABLE[np.arange(400) % 5 > 0]
    assert found.n == 320
    assert found.circle.y.shape == (320, 2)
    expected = (known[NAMES] - known[NAMES].mean()) / known[NAMES].std(ddof=0)
    np.testing.assert_allclose(found.circle.scaled, expected, atol=1e-6)
    assert "left out 80 rows without a value of each of 'price' and 'rent'" in found.notes
    assert found.aside is not None
    assert found.aside.y.shape == (50, 2)


def test_scores_are_scikit_learns(model: cnn.TableModel) -> None:
    predicted, weights = model.predict(TABLE), np.random.default_rng(1).random(400)
    found = model.evaluate(TABLE)
    for name, theirs in (("rmse", root_mean_squared_error), ("mae", mean_absolute_error), ("r2", r2_score)):
        each = theirs(Y, predicted, multioutput="raw_values")
        assert [found[f"{name}_price"], found[f"{name}_rent"]] == pytest.approx(each)
        assert found[name] == pytest.approx(theirs(Y, predicted))
    assert list(found)[:3] == ["rmse", "mae", "r2"]
    for w in (None, weights):
        assert model.score(X, Y, w) == pytest.approx(r2_score(Y, predicted, sample_weight=w))
    gaps = TABLE.assign(rent=TABLE["rent"].where(TABLE.index > 9))
    assert model.score(gaps) == model.score(TABLE[10:])
    assert model.evaluate(gaps) == model.evaluate(TABLE[10:])
    known = model.out_of_member
    assert known is not None
    assert model.scores["validation"]["r2_rent"] == pytest.approx(r2_score(known.y[:, 1], known.outputs[:, 1]))


def test_x_and_y_are_the_table_with_its_targets(model: cnn.TableModel) -> None:
    expected = model.predict(X)
    for given, y in (
        (None, Y), (NAMES, Y), (NAMES, Y[::-1][["rent", "price"]].iloc[::-1]), (NAMES, Y.to_numpy()),
        (None, Y.to_numpy().tolist()), (tuple(NAMES), {"price": list(Y["price"]), "rent": list(Y["rent"])}),
        (None, Y.set_axis([7, 8], axis=1)),
    ):  # fmt: skip
        other = cnn.TableModel(given, **HOW).fit(X, y)
        np.testing.assert_array_equal(other.predict(X), expected)
        assert other.score(X, y) == model.score(TABLE)
        assert other.evaluate(X, Y.to_numpy())["r2"] == model.evaluate(TABLE)["r2"]
    assert cnn.TableModel(**QUICK).fit(X, Y.to_numpy()).target == ("y0", "y1")
    assert cnn.TableModel(**QUICK).fit(X.rename(columns={"town": "y1"}), Y.to_numpy()).target == ("y0", "y1_")
    one = cnn.TableModel(["price"], **QUICK).fit(TABLE, verbose=0)  # a list of one is that one
    assert one.target == "price"
    assert one.predict(TABLE).shape == (400,)


@pytest.mark.parametrize("library", ["pandas", "polars", "dict"])
def test_answers_in_the_kind_of_the_table(model: cnn.TableModel, library: str) -> None:
    rows: Any = TABLE[5:9]
    if library == "polars":
        rows = pytest.importorskip("polars").from_pandas(rows)
    elif library == "dict":
        rows = rows.to_dict("list")
    found: dict[str, Any] = {
        "predict": model.predict(rows, as_frame=True), "interval": model.predict_interval(rows, as_frame=True),
        "std": model.predict_std(rows, as_frame=True),
        "quantiles": model.predict_quantiles(rows, [0.1, 0.5], as_frame=True),
        "median": model.predict_quantiles(rows, 0.5, as_frame=True),
    }  # fmt: skip
    names = {
        "predict": NAMES, "interval": ["lower_price", "upper_price", "lower_rent", "upper_rent"],
        "std": ["std_price", "std_rent"], "median": ["quantile_0.5_price", "quantile_0.5_rent"],
        "quantiles": [f"quantile_{q}_{name}" for name in NAMES for q in (0.1, 0.5)],
    }  # fmt: skip
    plain = {
        "predict": model.predict(rows), "interval": model.predict_interval(rows), "std": model.predict_std(rows),
        "quantiles": model.predict_quantiles(rows, [0.1, 0.5]), "median": model.predict_quantiles(rows, 0.5),
    }  # fmt: skip
    for part, frame in found.items():
        assert type(frame) is type(rows)
        assert list(frame) == names[part] if library == "dict" else list(frame.columns) == names[part]
        cells = np.column_stack([np.asarray(frame[name]) for name in names[part]])
        np.testing.assert_array_equal(cells, plain[part].reshape(4, -1))
    if library == "pandas":
        assert found["interval"].index.equals(rows.index)
    assert model.predict(TABLE[:0]).shape == (0, 2)
    assert model.predict_interval(TABLE[:0]).shape == (0, 2, 2)
    assert list(model.predict_interval(TABLE[:0], as_frame=True).columns) == names["interval"]


def test_intervals_are_those_of_each_target_alone(model: cnn.TableModel) -> None:
    known = model.out_of_member
    assert known is not None
    assert isinstance(model.residuals, tuple)
    predicted = model.predict(TABLE)
    for i in range(2):
        alone = Residuals.learn(known.y[:, i], known.outputs[:, i])
        np.testing.assert_array_equal(model.residuals[i].scores, alone.scores)
        np.testing.assert_array_equal(
            model.predict_interval(TABLE, coverage=0.8)[:, i], alone.interval(predicted[:, i], 0.8)
        )
        np.testing.assert_array_equal(model.predict_std(TABLE)[:, i], alone.deviation(predicted[:, i]))
        np.testing.assert_array_equal(
            model.predict_quantiles(TABLE, [0.3, 0.6])[:, i], alone.quantiles(predicted[:, i], [0.3, 0.6])
        )
    crossed = model.predict_interval(TABLE, method="cv+")
    assert crossed.shape == (400, 2, 2)
    inputs = model.encoder.features(TABLE)
    each = [model.goal.predicted(net.predict(inputs).astype(float)) for net in model.networks]
    alone = model.residuals[1].cross(np.column_stack([p[:, 1] for p in each]), 0.9)
    np.testing.assert_array_equal(crossed[:, 1], alone)
    new = table(3000)[400:]
    ends = model.predict_interval(new)
    inside = ((new[NAMES] >= ends[..., 0]) & (new[NAMES] <= ends[..., 1])).mean()
    assert inside.between(0.8, 0.99).all()


@pytest.mark.parametrize("loss", ["absolute_error", "quantile", "huber", "poisson", cnn.Quantile(0.9)])
def test_losses_are_those_of_each_target(loss: Any) -> None:
    positive = TABLE.assign(rent=TABLE["rent"] - TABLE["rent"].min())
    found = cnn.TableModel(NAMES, loss=loss, **HOW).fit(positive, verbose=0)
    assert np.corrcoef(found.predict(positive).T, positive[NAMES].T)[0:2, 2:4].diagonal().min() > 0.9
    if loss == "poisson":
        assert (found.predict(positive) >= 0).all()
        assert (found.predict_interval(positive) >= 0).all()
        np.testing.assert_allclose([one.deviation for one in found.goal.each], positive[NAMES].mean(), rtol=1e-12)


def test_what_matters_is_the_mean_over_the_targets_in_their_units(model: cnn.TableModel) -> None:
    found = model.feature_importance(TABLE, repeats=2)
    rng = np.random.default_rng(0)
    encoded, units = model.encoder.encode(TABLE), Y.std(ddof=0).to_numpy()
    shuffled = encoded.copy()
    place = model.encoder.places["area"]
    rises = []
    for _ in range(2):
        shuffled[:, place] = encoded[rng.permutation(400)][:, place]
        rises.append(root_mean_squared_error(Y / units, model.outputs(shuffled, None) / units))
    before = root_mean_squared_error(Y / units, model.predict(TABLE) / units)
    assert found["importance"]["area"] == pytest.approx(np.mean(rises) - before, rel=1e-6)
    assert model.feature_importance(X, Y, repeats=2).equals(found)


def test_logarithms_are_those_of_each_target() -> None:
    """What matters, intervals and files are in units of the targets none the less."""
    skewed = TABLE.assign(price=np.exp(TABLE["price"] / 2e5), rent=np.exp(TABLE["rent"] / 5))
    found = cnn.TableModel(NAMES, target_scale="log", **HOW).fit(skewed, verbose=0)
    for one in found.goal.each:
        logs = np.log(skewed[one.name])
        assert one.deviation == pytest.approx(logs.std(ddof=0))
    assert found.evaluate(skewed)["r2"] > 0.7
    importance = found.feature_importance(skewed, repeats=2)["importance"]
    assert 0.2 < importance["area"] < 3  # in deviations of the targets, not of their logarithms
    for method in ("mean", "cv+"):
        ends = found.predict_interval(skewed, method=method)  # type: ignore[arg-type]
        inside = (skewed[NAMES] >= ends[..., 0]) & (skewed[NAMES] <= ends[..., 1])
        assert inside.mean().min() > 0.8
    constant = skewed[:30].assign(rent=1.0)
    assert np.isfinite(found.feature_importance(constant, repeats=1)["importance"]).all()


def test_explanations_are_of_each_target(model: cnn.TableModel) -> None:
    found = cnn.explain.integrated_gradients(model, TABLE[:20], steps=1000)
    assert found.output_names == ("price", "rent")
    assert found.values.shape == (20, 2, 2)
    np.testing.assert_allclose(found.predictions, model.predict(TABLE[:20]), rtol=1e-5)
    total = found.values.sum(axis=1) + found.base_values
    np.testing.assert_allclose(total / [1e5, 1], found.predictions / [1e5, 1], atol=0.05)
    rent = cnn.explain.integrated_gradients(model, TABLE[:20], output=1, steps=1000)
    np.testing.assert_allclose(rent.values, found.values[..., 1], rtol=1e-12)
    apart = cnn.explain.partial_dependence(model, TABLE[:20], "area", grid=[50.0])
    assert apart.output_names == ("price", "rent")
    expected = model.predict(TABLE[:20].assign(area=50.0)).mean(axis=0)
    np.testing.assert_allclose(apart.mean, expected[None], rtol=1e-5)


def test_files_keep_all_of_it(model: cnn.TableModel, tmp_path: Path) -> None:
    model.save(tmp_path / "m.cnn")
    again = cnn.load(tmp_path / "m.cnn", cnn.TableModel)
    np.testing.assert_array_equal(again.predict_interval(TABLE), model.predict_interval(TABLE))
    assert (again.target, again.scores, again.notes) == (model.target, model.scores, model.notes)
    assert again.goal == model.goal
    assert again.evaluate(TABLE) == model.evaluate(TABLE)
    again.save(tmp_path / "again.cnn")
    assert (tmp_path / "again.cnn").read_bytes() == (tmp_path / "m.cnn").read_bytes()
    n = int.from_bytes((tmp_path / "m.cnn").read_bytes()[:8], "little")
    header = json.loads((tmp_path / "m.cnn").read_bytes()[8 : 8 + n])["__metadata__"]["model"]
    assert not any(name in header for name in NAMES)  # no text of the table is in the header
    older = cnn.TableModel(NAMES, **QUICK).fit(TABLE, verbose=0)
    older.residuals = None
    older.save(tmp_path / "older.cnn")
    with pytest.raises(ValueError, match="does not know the errors of rows that it was not trained on"):
        cnn.load(tmp_path / "older.cnn", cnn.TableModel).predict_interval(TABLE)


@pytest.mark.parametrize("threads", [1, 3])
def test_pieces_teach_what_the_table_does(threads: int) -> None:
    rows = TABLE.assign(rent=TABLE["rent"].where(TABLE.index != 17))
    how: dict[str, Any] = {**HOW, "epochs": 10}
    found = cnn.TableModel(NAMES, **how).fit(rows, stream=True, verbose=0, n_threads=threads)
    again = cnn.TableModel(NAMES, **how).fit([rows[:150], rows[150:]], verbose=0, n_threads=2)
    np.testing.assert_array_equal(found.predict(rows), again.predict(rows))
    assert "left out 1 rows without a value of each of 'price' and 'rent'" in found.notes
    taught = np.setdiff1d(np.delete(np.arange(400), 17), found.held_out)
    for one in found.goal.each:
        cells = rows[one.name].iloc[taught]
        assert (one.mean, one.deviation) == pytest.approx((cells.mean(), cells.std(ddof=0)))
        assert (one.low, one.high) == (cells.min(), cells.max())
    assert found.scores["validation"]["r2"] > 0.5
    lessons = large.of_pieces([rows], ("price", "rent"), Settings(), 0, (rows[:30]))
    assert lessons.aside is not None
    assert lessons.aside.y.shape == (29, 2)
    lessons.close()


def test_a_broken_fit_and_threads_leave_the_same_bits(model: cnn.TableModel) -> None:
    again = cnn.TableModel(NAMES, **HOW).fit(TABLE, verbose=0, n_threads=3)
    np.testing.assert_array_equal(again.predict(TABLE), model.predict(TABLE))
    weighted = cnn.TableModel(NAMES, **HOW).fit(X, Y, sample_weight=np.ones(400), validation=(X[:40], Y[:40]))
    assert weighted.rows == 400
    assert weighted.scores["validation"]["r2_rent"] > 0.5


def test_tools_of_scikit_learn() -> None:
    estimator = cnn.TableModel(task="regression", **HOW)
    copied = clone(cnn.TableModel(NAMES, **HOW))
    assert copied.get_params()["target"] == NAMES
    assert cross_val_score(estimator, X, Y, cv=2).min() > 0.8
    assert cross_val_predict(estimator, X, Y, cv=2).shape == (400, 2)
    assert cross_val_score(cnn.TableModel(NAMES, **QUICK), TABLE, cv=2, params={"verbose": 0}).shape == (2,)
    search = GridSearchCV(estimator, {"hidden": [(4,), (8,)]}, cv=2, scoring="neg_root_mean_squared_error").fit(X, Y)
    assert search.predict(X).shape == (400, 2)
    found = permutation_importance(search.best_estimator_, X, Y, n_repeats=2, random_state=0)
    assert found.importances_mean.shape == (2,)
    labels = np.column_stack([TABLE["price"] > 7e5, TABLE["town"] == "Bern"])
    both = MultiOutputClassifier(cnn.TableModel(task="classification", **QUICK)).fit(X[["area"]], labels)
    assert both.predict(X[["area"]]).shape == (400, 2)


@pytest.mark.parametrize(("give", "kind", "said"), [
    (lambda: cnn.TableModel([]), TypeError, r"target must be the name of a column, or a list of such names, got \[\]"),
    (lambda: cnn.TableModel(["a", 3]), TypeError, "or a list of such names, got"),
    (lambda: cnn.TableModel(["a", "a"]), ValueError, r"target names a column twice: \['a', 'a'\]"),
    (lambda: cnn.TableModel(NAMES, task="classification"), ValueError, "classes take a model each, scikit-learn's Mul"),
    (lambda: cnn.TableModel(NAMES, loss="log_loss"), ValueError, "several targets are predicted as numbers; classes"),
    (lambda: fit(NAMES, TABLE.drop(columns="rent")), cnn.TableError, "data has no column 'rent'"),
    (lambda: fit(["price", "town"]), cnn.TableError,
     r"several targets are predicted as numbers, and 'town' is of classes \(text\): classes take a model each, scikit-"
     r"learn's MultiOutputClassifier\(TableModel\(task='classification'\)\)"),
    (lambda: fit(["price", "stars"], TABLE.assign(stars=np.arange(400) % 4)), cnn.TableError,
     r"'stars' is of classes \(4 different whole numbers\): task='regression' predicts its numbers, and classes take"),
    (lambda: fit(NAMES, task="classification"), ValueError, "several targets are predicted as numbers; classes take"),
    (lambda: cnn.TableModel(task="classification", **QUICK).fit(X, Y), ValueError, "several targets are predicted as"),
    (lambda: fit(NAMES, loss=cnn.Huber(2.0)), cnn.TableError, r"cnn.Huber\(delta\) is in units of the target, and sev"),
    (lambda: fit(NAMES, loss="poisson"), cnn.TableError, "the target 'rent' must be >= 0 for poisson, got '-"),
    (lambda: fit(NAMES, TABLE.assign(rent=1.0)), cnn.TableError, "the target 'rent' is 1.0 in every row"),
    (lambda: fit(NAMES, TABLE.assign(rent=TABLE["rent"].where(TABLE["price"].isna()))), cnn.TableError,
     "no row has a value of each of the targets 'price', 'rent'"),
    (lambda: fit(["area", "price", "rent"], TABLE.drop(columns="town")), cnn.TableError,
     "no column beside 'area', 'price', 'rent' has anything to learn from"),
    (lambda: cnn.TableModel("price", **QUICK).fit(X, Y), cnn.TableError, "y has 2 columns, and the model has one targ"),
    (lambda: cnn.TableModel(NAMES, **QUICK).fit(X, Y["rent"]), cnn.TableError, "y has 1 columns, and the model has 2"),
    (lambda: cnn.TableModel(NAMES, **QUICK).fit(X, Y.assign(other=1)[["price", "other"]]), cnn.TableError,
     "y has no column 'rent'"),
    (lambda: cnn.TableModel(NAMES, **QUICK).fit(TABLE, Y), cnn.TableError, "X has the column 'price' that y is"),
    (lambda: cnn.TableModel(**QUICK).fit(X, Y[:-1]), cnn.TableError, "y has 399 rows, and X has 400"),
    (lambda: cnn.TableModel(NAMES, **QUICK).fit(TABLE, sample_weight="rent"), cnn.TableError, "must be another column"),
    (lambda: cnn.TableModel(NAMES, class_weight="balanced", **QUICK).fit(TABLE), cnn.TableError,
     "class_weight is for classes; each of 'price' and 'rent' is predicted as a number"),
    (lambda: fit(NAMES).score(TABLE.assign(rent=np.nan)), cnn.TableError, "no row has a value of each of the target"),
    (lambda: fit(NAMES).evaluate(TABLE.assign(rent=np.nan)), cnn.TableError, "no row has a value of each of the targ"),
    (lambda: cnn.TableModel(NAMES, **QUICK).fit(TABLE, validation=TABLE.assign(rent=np.nan)), cnn.TableError,
     "no row of validation has a value of each of the targets 'price' and 'rent'"),
    (lambda: cnn.TableModel(**QUICK).fit(X, Y.set_axis(["a", "a"], axis=1)), cnn.TableError, "y has two columns with"),
    (lambda: cnn.TableModel(**QUICK).fit(X, Y.iloc[:, :0]), cnn.TableError, "y has 0 columns, and the model has a tar"),
    (lambda: fit(NAMES).classes, ValueError, r"\('price', 'rent'\) is predicted as a number"),
])  # fmt: skip
def test_bad_input(give: Any, kind: Any, said: str) -> None:
    with pytest.raises(kind, match=said):
        give()


def fit(target: Any, rows: Any = TABLE, **more: Any) -> cnn.TableModel:
    return cnn.TableModel(target, **QUICK, **more).fit(rows, verbose=0)


# The command ----------------------------------------------------------------------------------------------------------


def test_the_command_takes_several_targets(run: Any) -> None:
    pytest.importorskip("typer")
    TABLE.to_csv("t.csv", index=False)
    train = ["train", "t.csv", "-t", "price", "--target", "rent", "--epochs", "30", "--members", "1"]
    done = run(*train, "--report", "page.html", "--json")
    assert done.code == 0
    found = json.loads(done.out)
    assert found["target"] == ["price", "rent"]
    assert found["scores"]["validation"]["r2_rent"] > 0.5
    page = Path("page.html").read_text()
    assert "<h1>price, rent</h1>" in page
    assert page.count("Residuals of") == 2
    assert "rise of the RMSE in deviations" in page
    X.to_csv("new.csv", index=False)
    assert run("predict", "model.cnn", "new.csv", "--interval", "0.9", "-o", "p.csv").code == 0
    predicted = pd.read_csv("p.csv")
    assert predicted.columns.tolist() == [
        "area", "town", *(f"{part}_{name}" for name in NAMES for part in ("predicted", "lower", "upper")),
    ]  # fmt: skip
    loaded = cnn.load("model.cnn", cnn.TableModel)
    expected = loaded.predict_interval(pd.read_csv("t.csv"))
    np.testing.assert_allclose(predicted[["lower_price", "upper_price"]], expected[:, 0], rtol=1e-6)
    np.testing.assert_allclose(predicted[["lower_rent", "upper_rent"]], expected[:, 1], rtol=1e-5, atol=1e-5)
    whole = json.loads(run("evaluate", "model.cnn", "t.csv", "--json", "--importance").out)
    pieces = json.loads(run("evaluate", "model.cnn", "t.csv", "--json", "--stream").out)
    assert pieces["scores"] == pytest.approx(whole["scores"])
    assert whole["scores"] == pytest.approx(loaded.evaluate(pd.read_csv("t.csv")))
    assert whole["importance"].keys() == {"area", "town"}
    assert "price, rent in 400 rows" in run("evaluate", "model.cnn", "t.csv").out
    done = run("explain", "model.cnn", "new.csv")
    assert done.code == 2
    assert "say which with --class, one of price, rent" in done.err
    assert json.loads(run("explain", "model.cnn", "new.csv", "--class", "rent", "--json").out)["explained"] == "rent"
    assert run("inspect", "model.cnn").code == 0
    assert "t.csv has no column 'rents'" in run("train", "t.csv", "-t", "price", "-t", "rents").err


def test_the_command_tunes_for_several_targets(run: Any) -> None:
    pytest.importorskip("optuna")
    TABLE.to_csv("t.csv", index=False)
    done = run("tune", "t.csv", "-t", "price", "-t", "rent", "-n", "3", "--epochs", "3", "--json")
    assert done.code == 0, done.err
    assert cnn.load("model.cnn", cnn.TableModel).target == ("price", "rent")


def test_a_target_that_has_the_name_of_an_input_is_scored() -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(60, 2)), columns=["c", "x"])
    Y = pd.DataFrame({"c": rng.normal(size=60), "d": rng.normal(size=60)})
    model = cnn.TableModel(members=1, epochs=1, hidden=(4,), seed=0).fit(X, Y, validation=(X, Y))
    assert model.target == ("c_", "d")
    expected = np.mean([cnn.metrics.r2(Y[name].to_numpy(), model.predict(X)[:, i]) for i, name in enumerate("cd")])
    assert model.score(X, Y) == pytest.approx(expected)
