"""TableModel as an estimator of scikit-learn: fit(X, y), parameters, kinds, and the tools that take estimators."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn", minversion="1.9")
from sklearn.base import clone, is_classifier, is_regressor  # noqa: E402
from sklearn.ensemble import StackingClassifier, StackingRegressor, VotingClassifier  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.inspection import permutation_importance  # noqa: E402
from sklearn.linear_model import LogisticRegression, Ridge  # noqa: E402
from sklearn.metrics import accuracy_score, r2_score  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import estimator_checks_generator  # noqa: E402

QUICK: dict[str, Any] = {"epochs": 15, "members": 1, "hidden": (16,), "seed": 0}
_PUBLIC = "a fit sets attributes of TableModel that have been public names since before it was an estimator"
_AT_ONCE = "arguments that can't be are refused when they are given"
_FEW = "a table of one row, or of one class, is refused by what is wrong with it"
EXPECTED = {
    "check_no_attributes_set_in_init": _PUBLIC, "check_dont_overwrite_parameters": _PUBLIC,
    "check_do_not_raise_errors_in_init_or_set_params": _AT_ONCE, "check_classifiers_one_label": _FEW,
    "check_fit2d_1sample": _FEW, "check_supervised_y_2d": "y of one column is taken as it is meant, without a warning",
    "check_classifiers_one_label_sample_weights": _FEW,
    "check_sample_weight_equivalence_on_dense_data": "minibatches and held-out rows are drawn by the number of rows",
    "check_classifiers_regression_target": "numbers are classes where task='classification' asks for it",
}  # fmt: skip
FINE = {"regression": ("check_supervised_y_2d",)}  # it takes several targets


def contract() -> list[Any]:
    """(estimator, check) of both kinds, but for what is expected to fail."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is none of scikit-learn's classes
        for task in ("classification", "regression"):
            for est, check in estimator_checks_generator(cnn.TableModel(task=task, **QUICK)):  # type: ignore[arg-type]
                name = getattr(check, "func", check).__name__
                if name != "check_array_api_input":  # of arrays of other libraries, for what says that it takes them
                    fails = name in EXPECTED and name not in FINE.get(task, ())
                    marks = [pytest.mark.xfail(reason=EXPECTED[name], strict=True)] if fails else []
                    found.append(pytest.param(est, check, id=f"{task}-{name}", marks=marks))
    return found


@pytest.mark.parametrize(("estimator", "check"), contract())
def test_contract(estimator: Any, check: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


def rows(n: int = 120) -> Any:
    rng = np.random.default_rng(0)
    cells = {"size": rng.normal(size=n), "town": rng.choice(["Bern", "Genf"], n), "age": rng.normal(size=n)}
    table = pd.DataFrame(cells)
    table.loc[::9, "size"] = np.nan
    return table


X = rows()
PRICE = pd.Series(np.where(X["town"] == "Genf", 3.0, 0.0) + X["age"], name="price")
DEAR = PRICE.gt(1.5).map({True: "yes", False: "no"}).rename("dear")


@pytest.mark.parametrize("y", [PRICE, DEAR], ids=["numbers", "classes"])
def test_x_and_y_are_the_table_with_its_target(y: Any) -> None:
    one = cnn.TableModel(y.name, **QUICK).fit(X.assign(**{y.name: y}), verbose=0)
    two = cnn.TableModel(**QUICK).fit(X, y)
    three = cnn.TableModel("dear or not", **QUICK).fit(X, y.to_numpy().reshape(-1, 1))
    four = cnn.TableModel(**QUICK).fit(X.to_dict("list"), y.tolist())
    assert (two.target, three.target, four.target) == (y.name, "dear or not", "y")
    for other in (two, three, four):
        assert np.array_equal(one.predict(X), other.predict(X))
    assert one.score(X.assign(**{y.name: y})) == two.score(X, y)
    assert two.evaluate(X, y) == one.evaluate(X.assign(**{y.name: y}))
    assert two.feature_importance(X, y, repeats=1).equals(one.feature_importance(X.assign(**{y.name: y}), repeats=1))


def test_rows_of_y_are_those_of_x_by_their_order() -> None:
    table, y = X.set_axis(range(500, 620), axis=0), PRICE.set_axis(range(120, 0, -1))
    assert np.array_equal(
        cnn.TableModel(**QUICK).fit(table, y).predict(X), cnn.TableModel(**QUICK).fit(X, PRICE).predict(X)
    )
    assert table.columns.tolist() == ["size", "town", "age"]


def test_arrays_get_names_and_keep_their_places() -> None:
    cells, y = X[["size", "age"]].to_numpy(), PRICE.to_numpy()
    model = cnn.TableModel(**QUICK).fit(cells, y)
    assert (model.n_features_in_, list(model.columns)) == (2, ["x0", "x1"])
    assert not hasattr(model, "feature_names_in_")
    named = cnn.TableModel(**QUICK).fit(X[["size", "age"]], y)
    assert named.feature_names_in_.tolist() == ["size", "age"]
    assert np.array_equal(model.predict(cells), named.predict(X))
    assert np.array_equal(model.predict(cells.tolist()), named.predict(X))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        assert np.array_equal(named.predict(cells), model.predict(cells))
    mixed = X.to_numpy()  # of objects: numbers and text
    assert mixed.dtype == object
    assert list(cnn.TableModel(**QUICK).fit(mixed, y).columns.values()) == ["number", "category", "number"]


def test_names_stand_in_their_order_in_files_too(tmp_path: Path) -> None:
    table = X.assign(same=1)[["same", "age", "size", "town"]]
    model = cnn.TableModel(**QUICK).fit(table, PRICE)
    model.save(tmp_path / "m.cnn")
    again = cnn.load(tmp_path / "m.cnn")
    assert isinstance(again, cnn.TableModel)
    assert again.feature_names_in_.tolist() == model.feature_names_in_.tolist() == ["same", "age", "size", "town"]
    assert again.get_params() == model.get_params()
    assert again.score(table, PRICE) == model.score(table, PRICE)


@pytest.mark.parametrize("places", ["missing", None, 3, [], [0, 1], ["a"], [9]])
def test_false_places_are_refused(places: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cnn.files import container

    write = container.write

    def forge(path: Any, kind: str, payload: dict[str, Any], tensors: Any) -> None:
        changed = {**payload, "places": places}
        if places == "missing":  # as in files of earlier versions
            del changed["places"]
        write(path, kind, changed, tensors)

    monkeypatch.setattr(container, "write", forge)
    cnn.TableModel(**QUICK).fit(X.assign(same=1)[["same", "age"]], PRICE).save(tmp_path / "m.cnn")
    if places == "missing":
        assert cnn.load(tmp_path / "m.cnn").feature_names_in_.tolist() == ["age", "same"]  # type: ignore[union-attr]
        return
    with pytest.raises(cnn.ModelFormatError, match=r"place|count"):
        cnn.load(tmp_path / "m.cnn")


def test_parameters_are_those_given() -> None:
    widths = [8, 4]
    model = cnn.TableModel("price", hidden=widths, dropout=0.2)
    params = model.get_params()
    assert (params["hidden"] is widths, params["target"], params["seed"]) == (True, "price", None)
    copied = clone(model)
    assert copied.get_params() == params
    assert copied.seed != model.seed
    fitted = cnn.TableModel(**QUICK).fit(X, PRICE)
    before = fitted.predict(X)
    assert fitted.set_params(epochs=1, seed=3) is fitted
    assert (fitted.settings.epochs, fitted.seed) == (1, 3)
    assert np.array_equal(fitted.predict(X), before)
    with pytest.raises(ValueError, match=r"Invalid parameter 'widths' for estimator TableModel.*Valid parameters are"):
        fitted.set_params(widths=3)
    with pytest.raises(ValueError, match="dropout"):
        fitted.set_params(dropout=2.0, epochs=9)
    assert fitted.get_params()["epochs"] == 1


def test_a_file_has_the_settings_of_the_fit(tmp_path: Path) -> None:
    X = np.arange(60.0).reshape(30, 2)
    model = cnn.TableModel(task="regression", members=1, epochs=1, seed=0).fit(X, X[:, 0])
    model.set_params(loss="huber", hidden=(3,)).save(tmp_path / "m.cnn")
    found = cnn.load(tmp_path / "m.cnn", cnn.TableModel)
    assert (found.settings.loss, found.settings.hidden) == (None, None)
    np.testing.assert_array_equal(found.predict(X), model.predict(X))


def test_its_kind_is_known_by_task_or_fit() -> None:
    unknown = cnn.TableModel(**QUICK)
    assert (is_classifier(unknown), is_regressor(unknown)) == (False, False)
    assert hasattr(unknown, "predict_proba")
    for task, y, wanted in (("classification", DEAR, is_classifier), ("regression", PRICE, is_regressor)):
        assert wanted(cnn.TableModel(task=task))  # type: ignore[arg-type]
        fitted = clone(unknown).fit(X, y)
        assert wanted(fitted)
        assert hasattr(fitted, "predict_proba") == hasattr(fitted, "classes_") == (task == "classification")
    with pytest.raises(ValueError, match="'price' is predicted as a number: there are no classes"):
        fitted.classes  # noqa: B018
    with pytest.raises(ValueError, match="predict_proba is for classes; 'price' is predicted as a number"):
        fitted.predict_proba(X)
    with pytest.raises(AttributeError, match="task follows from the target"):
        unknown._estimator_type  # noqa: B018


def test_what_is_not_fitted_says_so_to_both() -> None:
    for kind in (NotFittedError, cnn.NotBuiltError, ValueError, AttributeError):
        with pytest.raises(kind, match="knows no table yet") as caught:
            cnn.TableModel().predict(X)
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, NotFittedError)
    assert str(again) == str(caught.value)
    for name in ("n_features_in_", "feature_names_in_", "classes_"):
        assert not hasattr(cnn.TableModel("price"), name)


def test_score_is_scikit_learns() -> None:
    weights = np.random.default_rng(1).random(len(X))
    numbers, classes = cnn.TableModel(**QUICK).fit(X, PRICE), cnn.TableModel(**QUICK).fit(X, DEAR)
    for w in (None, weights):
        assert numbers.score(X, PRICE, w) == pytest.approx(r2_score(PRICE, numbers.predict(X), sample_weight=w))
        assert classes.score(X, DEAR, w) == pytest.approx(accuracy_score(DEAR, classes.predict(X), sample_weight=w))
    new = DEAR.where(np.arange(len(X)) > 9, "perhaps")
    assert classes.score(X, new) == accuracy_score(new, classes.predict(X))
    gaps = PRICE.where(np.arange(len(X)) > 9)
    assert numbers.score(X, gaps, weights) == numbers.score(X[10:], gaps[10:], weights[10:])
    with pytest.raises(cnn.TableError, match="no row has a value of the target 'price'"):
        numbers.score(X, gaps * np.nan)


def test_tools_of_scikit_learn() -> None:
    how = {**QUICK, "epochs": 60}
    classifier, regressor = (cnn.TableModel(task=t, **how) for t in ("classification", "regression"))  # type: ignore[arg-type]
    # Sorted classes: every fold has each of them only if it is known to be a classifier.
    order = np.argsort(DEAR, kind="stable")
    assert cross_val_score(classifier, X.iloc[order], DEAR.iloc[order], cv=2).min() > 0.6
    assert cross_val_score(classifier, X, DEAR, cv=2, scoring="roc_auc").min() > 0.6
    assert cross_val_score(regressor, X, PRICE, cv=2).min() > 0.3
    assert cross_val_predict(classifier, X, DEAR, cv=2, method="predict_proba").shape == (120, 2)
    whole = cross_val_score(cnn.TableModel("price", **how), X.assign(price=PRICE), cv=2, params={"verbose": 0})
    assert np.array_equal(whole, cross_val_score(regressor, X, PRICE, cv=2))
    search = GridSearchCV(classifier, {"hidden": [(4,), [16]], "dropout": [0.0]}, cv=2).fit(X, DEAR)
    assert search.best_score_ == max(search.cv_results_["mean_test_score"])
    assert search.classes_.tolist() == ["no", "yes"]
    numbers = X[["size", "age"]].fillna(0)
    pipe = make_pipeline(StandardScaler(), regressor).fit(numbers, PRICE)
    assert pipe.score(numbers, PRICE) == pytest.approx(r2_score(PRICE, pipe.predict(numbers)))
    assert "TableModel" in pipe._repr_html_()
    importance = permutation_importance(classifier.fit(X, DEAR), X, DEAR, n_repeats=2, random_state=0)
    assert importance.importances_mean[1] > importance.importances_mean[0]


def test_stacks_and_votes() -> None:
    numbers, (classifier, regressor) = X[["age"]].assign(genf=X["town"] == "Genf"), (
        cnn.TableModel(task=t, **QUICK) for t in ("classification", "regression"))  # type: ignore[arg-type]  # fmt: skip
    pair = [("table", classifier), ("linear", LogisticRegression())]
    for combined in (StackingClassifier(pair, cv=2), VotingClassifier(pair, voting="soft")):
        assert combined.fit(numbers, DEAR).score(numbers, DEAR) > 0.9
    stack = StackingRegressor([("table", regressor), ("linear", Ridge())], cv=2).fit(numbers, PRICE)
    assert stack.score(numbers, PRICE) > 0.9
    assert stack.feature_names_in_.tolist() == ["age", "genf"]


def test_probabilities_of_several_classes_sum_to_one() -> None:
    three = np.arange(120) % 3
    p = cnn.TableModel(**{**QUICK, "members": 2}).fit(X, three).predict_proba(X)
    assert np.allclose(p.sum(axis=1), 1, rtol=0, atol=1e-15)


def test_a_fit_of_x_and_y_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    cnn.TableModel(**QUICK).fit(X, PRICE)
    assert capsys.readouterr() == ("", "")
    cnn.TableModel("price", **QUICK).fit(X.assign(price=PRICE))
    assert "'price' is predicted by regression" in capsys.readouterr().out


def test_rows_held_out_may_be_x_and_y() -> None:
    one = cnn.TableModel(**QUICK).fit(X[:90], PRICE[:90], validation=(X[90:], PRICE[90:]))
    two = cnn.TableModel(**QUICK).fit(X[:90], PRICE[:90], validation=X[90:].assign(price=PRICE))
    assert one.scores == two.scores


@pytest.mark.parametrize(("give", "kind", "said"), [
    (lambda m: m.fit(X), ValueError, "requires y to be passed, but the target y is None"),
    (lambda m: m.fit(X, PRICE[:-1]), cnn.TableError, "y has 119 rows, and X has 120"),
    (lambda m: m.fit(X, X["age"]), cnn.TableError, "X has the column 'age' that y is: leave it out of X"),
    (lambda m: m.fit(X, X[["age", "size"]]), cnn.TableError, "X has the column 'age' that y is: leave it out of X"),
    (lambda m: m.fit(X, PRICE, sample_weight=np.ones((120, 2))), ValueError,
     r"sample_weight must have one dimension \(rows,\), got shape \(120, 2\)"),
    (lambda m: m.fit(X, PRICE, sample_weight=X[["age", "size"]]), cnn.TableError,
     "sample_weight must be one column, got 2"),
    (lambda m: m.fit(X, np.zeros((120, 2, 2))), ValueError, r"y must have one dimension \(rows,\), got shape"),
    (lambda m: m.fit([X, X], PRICE), TypeError, "y is for a frame or an array X"),
    (lambda m: m.fit("rows.parquet", PRICE), TypeError, "y is for a frame or an array X"),
    (lambda m: m.fit(X["age"].to_numpy(), PRICE), ValueError, "X must have two dimensions"),
    (lambda m: m.fit(np.zeros((120, 0)), PRICE), ValueError, r"X has 0 feature\(s\)"),
    (lambda m: m.fit(np.ones((120, 2)) * 1j, PRICE), ValueError, "X holds complex numbers"),
    (lambda m: m.fit(X, PRICE, validation=(X,)), ValueError, r"validation must be a table, \(X, y\) or"),
    (lambda m: m.fit(X, PRICE, validation=(X, PRICE[:3])), cnn.TableError, "y of validation has 3 rows, and X of"),
    (lambda m: m.fit(X, PRICE).predict(np.zeros((5, 2))), cnn.TableError, "X has 2 features, but TableModel is expec"),
    (lambda m: m.fit(X, PRICE).predict(X[["size", "age"]]), cnn.TableError, "the table has no column 'town'"),
    (lambda m: m.fit(X, PRICE).score(X), cnn.TableError, "data has no column 'price'"),
    (lambda m: m.fit(X, PRICE).score(X, PRICE[1:]), cnn.TableError, "y has 119 rows, and X has 120"),
    (lambda m: m.fit(X, PRICE).score(X, PRICE, [1.0]), ValueError, "sample_weight"),
])  # fmt: skip
def test_bad_input(give: Any, kind: Any, said: str) -> None:
    with pytest.raises(kind, match=said):
        give(cnn.TableModel(**{**QUICK, "epochs": 1}))


def test_sparse_x_is_refused() -> None:
    from scipy.sparse import csr_array

    with pytest.raises(TypeError, match=r"X is sparse, but a table has all its cells: give X.toarray\(\)"):
        cnn.TableModel(**QUICK).fit(csr_array(np.eye(120)), PRICE)


def test_names_of_targets_give_way_to_columns() -> None:
    model = cnn.TableModel(**QUICK).fit(X.rename(columns={"age": "y"}), PRICE.to_numpy())
    assert model.target == "y_"


def test_the_package_needs_no_scikit_learn() -> None:
    program = (
        "import sys, numpy, pandas, cnn; sys.modules['sklearn'] = None\n"
        "X, y = numpy.arange(60.0).reshape(30, 2) ** 2, numpy.arange(30.0)\n"
        "model = cnn.TableModel(epochs=1, members=1, seed=0)\n"
        "try: model.predict(X)\n"
        "except cnn.NotBuiltError as error: print(type(error).__name__)\n"
        "print(model.fit(X, y).score(X, y) < 1, any(name.startswith('sklearn.') for name in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["NotBuiltError", "True", "False"]


@pytest.mark.parametrize("named", [True, False])
def test_a_model_from_a_file_has_its_arguments(named: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=60), "b": rng.normal(size=60)})
    y = pd.Series(X["a"] + 1, name="y")
    made = cnn.TableModel("y" if named else None, hidden=(8, 4), epochs=2, members=1, seed=3, task="regression")
    model = made.fit(X, y)
    model.save(tmp_path / "m.cnn")
    again = cnn.load(tmp_path / "m.cnn")
    assert again.target == "y"
    assert again.get_params() == model.get_params()
    assert type(again.get_params()["hidden"]) is tuple
    other = pd.Series(-y, name="z")  # another name is right where none was asked for
    for one in (model, again):
        one.fit(X, other)
    assert again.target == model.target
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
