"""Losses, weights of rows and of classes in TableModel, and the options of `cnn train` for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn
from cnn.table import lesson, target
from cnn.table.settings import Settings
from cnn.table.weights import by_class

pd = pytest.importorskip("pandas")
RNG = np.random.default_rng(0)
N = 400
X = pd.DataFrame({"a": RNG.normal(size=N), "b": RNG.normal(size=N)})
Y = np.exp(X["a"] + 0.5 * RNG.normal(size=N)).rename("y")
QUICK: dict[str, Any] = {"epochs": 30, "members": 2, "hidden": (16,), "seed": 0}


def test_losses_have_their_minimum_where_they_should() -> None:
    """Of a table that tells nothing, the best constant: mean, median, quantile."""
    rng = np.random.default_rng(1)
    empty, y = pd.DataFrame({"a": rng.random(2000) < 0.5}), rng.gamma(2.0, size=2000)
    quick: dict[str, Any] = {"epochs": 150, "learning_rate": 0.02, "members": 1, "hidden": (), "seed": 0}
    for loss, best in [
        ("squared_error", y.mean()), ("absolute_error", np.median(y)), ("quantile", np.median(y)),
        (cnn.Quantile(0.9), np.quantile(y, 0.9)), ("poisson", y.mean()), ("gamma", y.mean()), ("tweedie", y.mean()),
        (cnn.Huber(1e-3), np.median(y)), (cnn.Huber(1e3), y.mean()),
    ]:  # fmt: skip
        model = cnn.TableModel(loss=loss, **quick).fit(empty, y, validation=(empty, y))
        assert model.predict(empty).mean() == pytest.approx(best, rel=0.03), loss


@pytest.mark.parametrize("loss", ["poisson", "gamma", "tweedie", cnn.Tweedie(1.2)])
def test_losses_with_a_logarithmic_link_do_not_depend_on_the_unit(loss: Any, tmp_path: Path) -> None:
    one, two = (cnn.TableModel(loss=loss, **QUICK).fit(X, Y * unit) for unit in (1.0, 1024.0))
    assert one.predict(X).min() > 0
    assert np.array_equal(one.predict(X) * 1024, two.predict(X))
    assert one.goal.mean == 0
    assert one.goal.deviation == pytest.approx(Y.mean(), rel=0.1)
    one.save(tmp_path / "m.cnn")
    again = cnn.load(tmp_path / "m.cnn")
    assert isinstance(again, cnn.TableModel)
    assert (again.settings, again.goal) == (one.settings, one.goal)
    assert np.array_equal(again.predict(X), one.predict(X))


def test_hubers_delta_is_in_units_of_the_target() -> None:
    one, two = (cnn.TableModel(loss=cnn.Huber(0.5 * unit), **QUICK).fit(X, Y * unit) for unit in (1.0, 1024.0))
    assert np.array_equal(one.predict(X) * 1024, two.predict(X))
    assert one.goal.loss == cnn.Huber(0.5 / one.goal.deviation)


def test_a_loss_says_what_the_task_is() -> None:
    counts = pd.Series(RNG.poisson(1.0, N), name="n").clip(upper=4)
    assert cnn.TableModel(**QUICK).fit(X, counts).task == "classification"
    assert cnn.TableModel(loss="poisson", **QUICK).fit(X, counts).task == "regression"
    smoothed = cnn.TableModel(loss=cnn.CrossEntropy(0.1), **QUICK).fit(X, counts % 2)
    assert smoothed.networks[0].loss == cnn.BinaryCrossEntropy(0.1)
    assert cnn.TableModel(loss="log_loss", **QUICK).fit(X, counts).networks[0].loss == cnn.CrossEntropy()


@pytest.mark.parametrize(("give", "kind", "said"), [
    ({"loss": "hinge"}, ValueError, "can't be trained by loss 'hinge', whose outputs are margins"),
    ({"loss": "gaussian_nll"}, ValueError, "'gaussian_nll', whose outputs are more than a number for each target"),
    ({"loss": "poisson", "task": "classification"}, ValueError, "'poisson' is one for numbers, and task is 'classif"),
    ({"loss": "log_loss", "task": "regression"}, ValueError, "'cross_entropy' is one for classes, and task is 'regr"),
    ({"loss": "poison"}, ValueError, "poisson"),
    ({"class_weight": "even"}, TypeError, "class_weight must be 'balanced' or a dict"),
    ({"class_weight": {"a": -1}}, ValueError, "the weight of class 'a'"),
    ({"class_weight": "balanced", "loss": "mae"}, ValueError, "class_weight is for classes"),
])  # fmt: skip
def test_bad_arguments(give: dict[str, Any], kind: Any, said: str) -> None:
    with pytest.raises(kind, match=said):
        cnn.TableModel("y", **give)


@pytest.mark.parametrize(("y", "options", "how", "said"), [
    (-Y, {"loss": "poisson"}, {}, r"the target 'y' must be >= 0 for poisson, got '-\d.*' at row 0"),
    (Y.where(Y.index != 7, 0.0), {"loss": "gamma"}, {}, "the target 'y' must be > 0 for gamma, got '0.0' at row 7"),
    (Y, {"class_weight": "balanced"}, {}, "class_weight is for classes; 'y' is predicted as a number"),
    (Y > 1, {"class_weight": {"yes": 2}}, {}, "class_weight has 'yes', but the classes of 'y' are False, True"),
    (Y > 1, {"class_weight": {False: 0, True: 0}}, {}, "class_weight is zero for every class"),
    (Y, {}, {"sample_weight": np.ones(3)}, "sample_weight has 3 rows, and the table has 400"),
    (Y, {}, {"sample_weight": "weight"}, "data has no column 'weight'"),
    (Y, {}, {"sample_weight": np.r_[np.ones(9), 1e39, np.ones(N - 10)]},
     r"the weight of row 9 is 1e\+39; the largest that training takes is 3.40282e\+38: scale the weights"),
    (Y > 1, {"class_weight": {True: 1e300}}, {}, r"the weight of row \d+ is 1e\+300; the largest"),
    (Y.rename("y"), {}, {"sample_weight": "y"},
     "sample_weight must be another column than the target, got 'y' for both"),
    (Y, {}, {"sample_weight": np.r_[np.ones(9), -1, np.ones(N - 10)]},
     "the weights 'sample_weight' must be finite numbers >= 0, got '-1.0' at row 9"),
    (Y, {}, {"sample_weight": np.where(X.index == 5, np.nan, 1.0)}, "finite numbers >= 0, got 'nan' at row 5"),
    (Y, {}, {"sample_weight": np.zeros(N)}, "sample_weight is zero for every row"),
    (Y, {}, {"sample_weight": np.ones((N, 2))}, r"sample_weight must have one dimension \(rows,\), got shape"),
    (Y, {}, {"validation": (X, Y, np.ones(N))}, "validation has sample_weight, but the rows to train on have none"),
])  # fmt: skip
def test_what_does_not_fit_the_table(y: Any, options: dict[str, Any], how: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        cnn.TableModel(**options, **QUICK).fit(X, y, **how)


def test_weights_of_a_table_in_pieces_are_a_column() -> None:
    with pytest.raises(TypeError, match="sample_weight is for a frame or an array X; a file and a table in pieces"):
        cnn.TableModel("y", **QUICK).fit([X.assign(y=Y)], sample_weight=np.ones(N))


def test_the_target_held_out_must_suit_the_loss() -> None:
    with pytest.raises(cnn.TableError, match="validation: the target 'y' must be >= 0 for poisson"):
        cnn.TableModel(loss="poisson", **QUICK).fit(X, Y, validation=(X, -Y))


def test_weights_are_a_column_or_an_array() -> None:
    w = RNG.random(N)
    table = X.assign(y=Y, w=w)
    column = cnn.TableModel("y", **QUICK).fit(table, verbose=0, sample_weight="w")
    assert set(column.columns) == {"a", "b"}
    assert column.feature_names_in_.tolist() == ["a", "b"]
    array = cnn.TableModel("y", **QUICK).fit(X.assign(y=Y), verbose=0, sample_weight=w)
    apart = cnn.TableModel(**QUICK).fit(X, Y, sample_weight=pd.Series(w, index=range(N, 0, -1)))
    tripled = cnn.TableModel(**QUICK).fit(X, Y, sample_weight=list(4 * w))
    for other in (array, apart, tripled):
        assert np.array_equal(other.predict(X), column.predict(X))
    assert not np.array_equal(cnn.TableModel(**QUICK).fit(X, Y).predict(X), column.predict(X))


def test_rows_of_no_weight_do_not_teach() -> None:
    good = X["b"] > 0
    y = X["a"].where(good, 5 - X["a"])
    model = cnn.TableModel(**QUICK).fit(X[["a"]], y, sample_weight=good)
    assert model.score(X[["a"]], X["a"]) > 0.95
    held = cnn.TableModel(**QUICK).fit(X[["a"]], y, sample_weight=good, validation=(X[["a"]], y, good))
    assert held.score(X[["a"]], X["a"]) > 0.95
    far = cnn.TableModel(**QUICK).fit(X[["a"]], y.where(good, 1e6).rename("y"), sample_weight=good)
    alone = cnn.TableModel(**QUICK).fit(X[["a"]][good], y[good].rename("y"))
    assert np.array_equal(far.predict(X[["a"]]), alone.predict(X[["a"]]))
    assert "without" not in " ".join(far.notes)


def test_a_network_gets_the_weights_of_its_rows() -> None:
    settings = Settings(members=2, class_weight={"yes": 3.0})
    w = RNG.random(N).astype(np.float32)
    cells = np.where(Y > 1, "yes", "no")
    cells[::10] = ""
    found = lesson.of_frame(X.assign(y=np.where(cells == "", None, cells), w=w), "y", settings, 0, None, "w")
    expected = w * np.where(cells == "yes", 3, 1).astype(np.float32)
    for member in range(2):
        for rows in found.of_member(member):
            assert rows.weights is not None
            assert rows.weights == pytest.approx(expected[rows.numbers])


def test_weights_of_classes() -> None:
    utils = pytest.importorskip("sklearn.utils.class_weight")
    cells = pd.Series(np.where(Y > 3, "hi", "lo"), name="y")
    goal = target.learn(cells, np.arange(N), "auto")
    balanced = by_class("balanced", goal, goal.numbers(cells))
    assert balanced == pytest.approx(utils.compute_class_weight("balanced", classes=np.array(["hi", "lo"]), y=cells))
    share = {}
    for name, given in {"none": None, "balanced": "balanced", "hi": {"hi": 5}, "lo": {"lo": 9.0}}.items():
        model = cnn.TableModel(class_weight=given, **QUICK).fit(X, cells)  # type: ignore[arg-type]
        share[name] = (model.predict(X) == "hi").mean()
    assert share["lo"] < share["none"] < share["hi"]
    assert share["balanced"] > share["none"]


@pytest.mark.parametrize("given", ["balanced", {True: 2.0}])
def test_weights_of_classes_stand_in_files(given: Any, tmp_path: Path) -> None:
    model = cnn.TableModel(class_weight=given, **QUICK).fit(X, Y > 1)
    model.save(tmp_path / "m.cnn")
    again = cnn.load(tmp_path / "m.cnn")
    assert isinstance(again, cnn.TableModel)
    assert again.settings.class_weight == ("balanced" if given == "balanced" else {False: 1.0, True: 2.0})
    assert again.fit(X, Y > 1).predict(X).tolist() == model.predict(X).tolist()


@pytest.mark.parametrize("options", [{}, {"loss": "gamma"}])
def test_tables_in_pieces_have_weights(options: dict[str, Any]) -> None:
    good = X["b"] > 0
    table = pd.DataFrame({"a": X["a"], "y": np.exp(X["a"].where(good, 2 - X["a"])), "w": good * 2.0})
    model = cnn.TableModel("y", **options, **QUICK).fit([table[:150], table[150:]], verbose=0, sample_weight="w")
    assert list(model.columns) == ["a"]
    assert model.score(X[["a"]], np.exp(X["a"])) > 0.8
    parts = [table.assign(y=np.where(Y > 3, "hi", "lo"))[i::2] for i in (0, 1)]
    plain, weighted = (
        cnn.TableModel("y", class_weight=given, **QUICK).fit(parts, verbose=0) for given in (None, {"hi": 5})
    )  # fmt: skip
    assert (weighted.predict(table) == "hi").mean() > (plain.predict(table) == "hi").mean()
    bad = [table[:150], table[150:].assign(y=[2.0, -1.0] * 125)]
    with pytest.raises(cnn.TableError, match=r"must be > 0 for gamma, got '-1\.0' at row 1"):
        cnn.TableModel("y", loss="gamma", **QUICK).fit(bad, verbose=0)


class TestCommandLine:
    @staticmethod
    def run(tmp_path: Path, *options: str) -> Any:
        from typer.testing import CliRunner

        from cnn.cli.app import app

        pytest.importorskip("typer")
        X.assign(y=Y, w=(X["b"] > 0) * 1.0, c=np.where(Y > 3, "hi", "lo")).to_csv(tmp_path / "t.csv", index=False)
        quick = ("--epochs", "5", "--members", "1", "--hidden", "8", "-q", "--out", str(tmp_path / "m.cnn"))
        return CliRunner().invoke(app, ["train", str(tmp_path / "t.csv"), *quick, *options])

    @pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
    def test_options(self, tmp_path: Path, stream: str) -> None:
        done = self.run(tmp_path, "-t", "y", "--loss", "quantile:0.9", "--weight", "w", stream)
        assert done.exit_code == 0, done.output
        model = cnn.load(tmp_path / "m.cnn")
        assert isinstance(model, cnn.TableModel)
        assert (model.settings.loss, set(model.columns)) == (cnn.Quantile(0.9), {"a", "b", "c"})
        done = self.run(tmp_path, "-t", "c", "--class-weight", "hi=5,lo=1", stream)
        assert done.exit_code == 0, done.output
        assert cnn.load(tmp_path / "m.cnn").settings.class_weight == {"hi": 5.0, "lo": 1.0}  # type: ignore[union-attr]

    @pytest.mark.parametrize(("options", "said"), [
        (("--loss", "poisson:2"), "--loss poisson:2: poisson takes no number; huber, quantile, tweedie take one"),
        (("--loss", "huber:x"), "--loss huber:x: 'x' is no number"),
        (("--class-weight", "hi"), "--class-weight must be balanced or such as yes=5,no=1, got 'hi'"),
        (("--weight", "v"), "has no column 'v'"),
    ])  # fmt: skip
    def test_errors(self, tmp_path: Path, options: tuple[str, ...], said: str) -> None:
        done = self.run(tmp_path, "-t", "y", *options)
        assert done.exit_code != 0
        assert said in done.output
