"""CV+ intervals: MAPIE beside them, by hand from a table model's networks, files, errors."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn
from cnn.uncertainty import Residuals

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")
from sklearn.linear_model import LinearRegression  # noqa: E402
from sklearn.model_selection import KFold  # noqa: E402
from test_uncertainty import houses  # noqa: E402

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def price() -> cnn.TableModel:
    return cnn.TableModel("price", epochs=40, seed=0).fit(houses().drop(columns="kind"), verbose=0)


@pytest.mark.parametrize("n", [60, 101, 300])
def test_cross_ends_are_those_of_mapie(n: int) -> None:
    """CV+, of a regression that is fitted to all folds but one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        regression = pytest.importorskip("mapie.regression")
        from mapie.conformity_scores import AbsoluteConformityScore
    X = RNG.normal(size=(n, 20))
    y, new = X[:, 0] + RNG.normal(size=n) ** 3, RNG.normal(size=(50, 20))
    parts, left_out, each = np.empty(n, np.int64), np.empty(n), []
    for k, (train, test) in enumerate(KFold(5).split(X)):
        model = LinearRegression().fit(X[train], y[train])
        parts[test], left_out[test] = k, model.predict(X[test])
        each.append(model.predict(new))
    found = Residuals.of(y - left_out, parts=parts)
    for coverage in (0.5, 0.8, 0.9):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            oracle = regression.CrossConformalRegressor(
                LinearRegression(), confidence_level=coverage, method="plus", cv=KFold(5),
                conformity_score=AbsoluteConformityScore(sym=False),
            ).fit_conformalize(X, y)
            _, ends = oracle.predict_interval(new)
        assert found.cross(np.transpose(each), coverage) == pytest.approx(ends[..., 0], abs=1e-9)
    with pytest.raises(ValueError, match=r"intervals of coverage 0\.999 need 1,999 rows that were held out"):
        found.cross(np.transpose(each), 0.999)


def test_cross_ends_of_one_part_are_those_of_the_interval() -> None:
    f = RNG.uniform(0, 4, 4000)
    y = f + (0.1 + f) * RNG.normal(size=4000)
    found, new = Residuals.learn(y, f, np.zeros(4000, np.int64)), RNG.uniform(0, 4, 700)
    assert len(found.places) == 20
    assert found.cross(new[:, None], 0.9) == pytest.approx(found.interval(new, 0.9), abs=1e-12)
    many = Residuals.learn(np.tile(y, 3), np.tile(f, 3), np.zeros(12_000, np.int64))
    assert many.cross(new[:, None], 0.9) == pytest.approx(many.interval(new, 0.9), rel=0.02, abs=0.02)


def test_a_table_model_tells_cross_intervals(price: cnn.TableModel, tmp_path: Path) -> None:
    """By hand: ten networks, of which the i-th holds out part i % 5."""
    new, known = houses(3000, 1), price.out_of_member
    assert known is not None
    assert known.parts is not None
    assert (price.parts, len(price.networks)) == (5, 10)
    X = price.encoder.encode(new)
    raw = [np.mean([net.predict(X).astype(float) for net in price.networks[part::5]], axis=0) for part in range(5)]
    each = np.clip(np.array(raw) * price.goal.deviation + price.goal.mean, price.goal.low, price.goal.high)
    scale = Residuals.learn(known.y, known.outputs)
    scores = (known.y - known.outputs) / scale.scale(known.outputs)
    around = each[known.parts] + scale.scale(each[known.parts]) * scores[:, None]
    n = len(known.y)
    low, high = np.sort(around, axis=0)[[int(np.floor((n + 1) * 0.05)) - 1, int(np.ceil((n + 1) * 0.95)) - 1]]
    found = price.predict_interval(new, method="cv+")
    np.testing.assert_allclose(found, np.column_stack([low, high]), rtol=1e-5)
    assert 0.88 < np.mean((new.price >= low) & (new.price <= high)) < 0.97
    price.save(tmp_path / "m.cnn")
    again = cnn.load(tmp_path / "m.cnn", cnn.TableModel)
    assert again.parts == 5
    np.testing.assert_array_equal(again.predict_interval(new, method="cv+"), found)
    frame = price.predict_interval(new, method="cv+", as_frame=True)
    assert frame.columns.tolist() == ["lower_price", "upper_price"]
    assert price.predict_interval(new[:0], method="cv+").shape == (0, 2)
    aside = cnn.TableModel("price", epochs=5, members=3, seed=0)
    aside.fit(houses().drop(columns="kind"), verbose=0, validation=new.drop(columns="kind"))
    np.testing.assert_allclose(aside.predict_interval(new, method="cv+"), aside.predict_interval(new), rtol=1e-9)
    with pytest.raises(ValueError, match=r"method must be 'mean' or 'cv\+', got 'jackknife'"):
        price.predict_interval(new, method="jackknife")  # type: ignore[arg-type]
    again.parts = None  # as in files of earlier versions
    with pytest.raises(ValueError, match="does not know the errors of rows that it was not trained on"):
        again.predict_interval(new, method="cv+")


@pytest.mark.parametrize("y", [["no", "yes", "no"], [0, 1, 2], [0, 0.5, 1], [-1, 1, 1]])
def test_reliability_is_of_class_numbers(y: Any) -> None:
    with pytest.raises(ValueError, match="y must be numbers of classes, 0 to 1, got"):
        cnn.uncertainty.reliability(y, [0.1, 0.5, 0.9])


def test_near_quantiles_keep_their_names() -> None:
    X = np.random.default_rng(0).normal(size=(300, 2))
    model = cnn.TableModel(members=1, epochs=1, hidden=(4,), seed=0).fit(pd.DataFrame(X, columns=["a", "b"]), X[:, 0])
    found = model.predict_quantiles(pd.DataFrame(X[:9], columns=["a", "b"]), [0.1234567, 0.1234568], as_frame=True)
    assert found.columns.tolist() == ["quantile_0.1234567_y", "quantile_0.1234568_y"]
