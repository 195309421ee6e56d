"""Intervals, quantiles and probabilities: MAPIE and scikit-learn beside them, coverage, files, errors, the page."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn
from cnn import plots, uncertainty
from cnn.table import calibration
from cnn.table.target import Target
from cnn.table.training import OutOfMember
from cnn.uncertainty import Residuals, reliability

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")
from sklearn.base import BaseEstimator, RegressorMixin  # noqa: E402

RNG = np.random.default_rng(0)


def plain(errors: np.ndarray) -> Residuals:
    """With a constant scale."""
    return Residuals(len(errors), np.arange(1, len(errors) + 1), np.sort(errors), np.zeros(1), np.ones(1))


# Residuals ------------------------------------------------------------------------------------------------------------


class Fixed(RegressorMixin, BaseEstimator):
    """Predicts its first column."""

    def fit(self, X: Any, y: Any) -> Fixed:
        self.fitted_ = True
        return self

    def predict(self, X: Any) -> np.ndarray:
        return X[:, 0]


@pytest.mark.parametrize("n", [41, 99, 100, 501])
def test_ends_are_those_of_mapie(n: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        regression = pytest.importorskip("mapie.regression")
        from mapie.conformity_scores import AbsoluteConformityScore
    X = RNG.normal(size=(n, 2))
    y = X[:, 0] + RNG.normal(size=n) ** 3
    found = plain(y - X[:, 0])
    for coverage in (0.5, 0.8, 0.9, 0.95):
        score = AbsoluteConformityScore(sym=False)
        oracle = regression.SplitConformalRegressor(
            Fixed().fit(X, y), confidence_level=coverage, conformity_score=score, prefit=True
        ).conformalize(X, y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _, ends = oracle.predict_interval(X[:5])
        assert found.interval(X[:5, 0], coverage) == pytest.approx(ends[..., 0], abs=1e-12)


def test_a_scale_is_a_normalised_score() -> None:
    """(y - f) / s(f) in order, times s of what is predicted."""
    f = RNG.uniform(0, 4, 4000)
    y = f + (0.1 + f) * RNG.normal(size=4000)
    found = Residuals.learn(y, f)
    assert len(found.places) == 20
    scores = np.sort((y - f) / np.interp(f, found.places, found.sizes))
    ends = found.interval(np.array([0.2, 3.9]), 0.9)
    low, high = scores[int(np.floor(4001 * 0.05)) - 1], scores[int(np.ceil(4001 * 0.95)) - 1]
    scale = np.interp([0.2, 3.9], found.places, found.sizes)
    assert ends == pytest.approx(np.array([0.2, 3.9])[:, None] + scale[:, None] * [low, high])
    assert 4 < scale[1] / scale[0] < 20
    width = np.diff(found.interval(f, 0.9), axis=1).mean()
    assert width < 0.9 * np.diff(plain(y - f).interval(f, 0.9), axis=1).mean()
    assert len(Residuals.learn(f + RNG.normal(size=4000), f).places) == 1  # where it does not vary
    assert len(Residuals.learn(y[:400], f[:400]).places) == 1  # few rows


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.99])
def test_the_coverage_is_the_one_asked_for(coverage: float) -> None:
    """Over many draws, of scale and new rows as well; the rank is rounded outward, so not less."""
    hits = []
    for _ in range(60):
        f = RNG.uniform(0, 4, 1400)
        y = f + (0.1 + f) * RNG.standard_t(4, size=1400)
        ends = Residuals.learn(y[:700], f[:700]).interval(f[700:], coverage)
        hits.append(np.mean((y[700:] >= ends[:, 0]) & (y[700:] <= ends[:, 1])))
    assert np.mean(hits) == pytest.approx(coverage, abs=4 * np.std(hits) / 60**0.5 + 0.004)


def test_many_errors_are_thinned_and_quantiles_never_cross() -> None:
    error = RNG.normal(size=30_000)
    found, all_of = Residuals.learn(error, np.zeros(30_000)), plain(error)
    assert len(found.scores) == 4096
    levels = np.linspace(0.001, 0.999, 77)
    near = found.quantiles(np.zeros(1), levels)[0]
    assert (np.diff(near) >= 0).all()
    exact = all_of.quantiles(np.zeros(1), levels)[0]
    assert (near[levels < 0.5] <= exact[levels < 0.5]).all()
    assert (near[levels > 0.5] >= exact[levels > 0.5]).all()
    beyond = [(error <= end).mean() for end in near]
    assert beyond == pytest.approx(levels, abs=0.0006)
    assert found.deviation(np.zeros(2)) == pytest.approx([error.std()] * 2, rel=1e-3)
    assert all_of.deviation(np.zeros(1)) == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-12)


def test_edges_of_residuals() -> None:
    one = Residuals.learn(np.array([2.0]), np.array([1.0]))
    assert one.quantiles(np.array([5.0]), [0.5]).tolist() == [[6.0]]
    exact = Residuals.learn(np.ones(700), np.ones(700))  # no error at all
    assert exact.interval(np.array([3.0]), 0.9).tolist() == [[3.0, 3.0]]
    assert exact.interval(np.zeros(0), 0.9).shape == (0, 2)
    zeros = Residuals.learn(np.repeat([0.0, 1.0], 400), np.repeat([0.0, 0.5], 400))  # none in one half
    assert (zeros.sizes > 0).all()
    few = plain(np.arange(19.0))
    assert few.interval(np.zeros(1), 0.9).tolist() == [[0.0, 18.0]]
    with pytest.raises(ValueError, match=r"intervals of coverage 0.95 need 39 rows that were held out, there are 19"):
        few.interval(np.zeros(1), 0.95)
    for level in (0.01, 0.99):
        with pytest.raises(ValueError, match=rf"the quantile {level} needs 99 rows that were held out, there are 19"):
            few.quantiles(np.zeros(1), [level])
    for coverage in (0.0, 1.0, -1, 2):
        with pytest.raises(ValueError, match="coverage must be in"):
            few.interval(np.zeros(1), coverage)
    with pytest.raises(ValueError, match=r"quantiles must be numbers in \(0, 1\), got \[0.5, 1\]"):
        uncertainty.check_levels([0.5, 1])


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"ranks": np.array([1, 2])}, "3 errors in order with 2 ranks of 3 rows"),
        ({"ranks": np.array([1, 3, 2])}, "with 3 ranks of 3 rows|ascending order"),
        ({"scores": np.array([1.0, 0.0, 2.0])}, "not finite numbers in ascending order"),
        ({"scores": np.array([0.0, 1.0, np.inf])}, "not finite numbers in ascending order"),
        ({"places": np.zeros(2), "sizes": np.ones(2)}, "without places in ascending order"),
        ({"sizes": np.zeros(1)}, "a scale that is not positive"),
        ({"parts": np.array([0, 1])}, "parts that are not a number >= 0 for each error"),
        ({"parts": np.array([0, -1, 0])}, "parts that are not a number >= 0 for each error"),
    ],
)
def test_residuals_that_can_not_be(wrong: dict[str, Any], text: str) -> None:
    right = {"rows": 3, "ranks": np.arange(1, 4), "scores": np.arange(3.0), "places": np.zeros(1), "sizes": np.ones(1)}
    with pytest.raises(ValueError, match=text):
        Residuals(**{**right, **wrong})


# Probabilities --------------------------------------------------------------------------------------------------------


def test_reliability_is_scikit_learns() -> None:
    from sklearn.calibration import calibration_curve

    p = RNG.uniform(size=2000)
    y = (RNG.uniform(size=2000) < p**2).astype(int)
    found = reliability(y, p, bins=10)
    true, predicted = calibration_curve(y, p, n_bins=10)
    assert found.true == pytest.approx(true)
    assert found.predicted == pytest.approx(predicted)
    assert found.error == pytest.approx(np.average(np.abs(true - predicted), weights=found.rows))
    many = RNG.dirichlet(np.ones(4), 500)
    labels = RNG.integers(0, 4, 500)
    top = reliability(labels, many)
    hit, said = labels == many.argmax(axis=1), many.max(axis=1)
    expected = sum(abs(hit[b].mean() - said[b].mean()) * b.mean() for i in range(15)
                   if (b := np.minimum((said * 15).astype(int), 14) == i).any())  # fmt: skip
    assert top.error == pytest.approx(expected)
    assert reliability([1], [1.0]).error == 0
    with pytest.raises(ValueError, match="reliability needs as many classes as probabilities, at least one; got 0"):
        reliability([], [])
    with pytest.raises(ValueError, match=r"probabilities must be in \[0, 1\]"):
        reliability([1], [1.5])


def sure(T: float, k: int, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """(classes, probabilities that are too sure of themselves by T)."""
    z = RNG.normal(size=(n, k)) * 1.5
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    y = np.array([RNG.choice(k, p=row) for row in p])
    q = np.exp(T * z) / np.exp(T * z).sum(axis=1, keepdims=True)
    return y, (q[:, 1] if k == 2 else q)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("T", [2.0, 0.6])
def test_the_temperature_is_found(k: int, T: float) -> None:
    y, p = sure(T, k)
    goal = Target("y", "classification", "", tuple("abc"[:k]))
    assert calibration.temperature(OutOfMember(np.arange(len(y)), y, p), goal) == pytest.approx(T, rel=0.1)
    y, p = sure(1.0, k)
    assert calibration.temperature(OutOfMember(np.arange(len(y)), y, p), goal) == 1
    few = OutOfMember(np.arange(5), y[:5], p[:5])
    assert calibration.temperature(few, goal) == 1


@pytest.mark.parametrize("k", [1, 3])
def test_a_temperature_divides_the_logits(k: int) -> None:
    loss = "binary_cross_entropy" if k == 1 else "cross_entropy"
    net = cnn.Network([cnn.Dense(4, "relu"), cnn.Dropout(0.1), cnn.Dense(k)], loss=loss, seed=0).build(3)
    net.set_weights({**net.get_weights(), "layers.2.biases": np.arange(k) + 1.0})
    X = RNG.normal(size=(9, 3)).astype(np.float32)
    before = net.forward(X)
    calibration.cool([net], 1.7)
    assert net.forward(X) == pytest.approx(before / 1.7, rel=1e-5)


# Tables ---------------------------------------------------------------------------------------------------------------


def houses(n: int = 900, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"area": rng.uniform(20, 200, n), "town": rng.choice(["Bern", "Genf"], n)})
    frame["price"] = 5 * frame.area + 300 * (frame.town == "Genf") + rng.normal(0, 1, n) * (10 + frame.area / 4)
    frame["kind"] = np.where(frame.price + rng.normal(0, 100, n) > 700, "dear", "cheap")
    return frame


@pytest.fixture(scope="module")
def price() -> cnn.TableModel:
    return cnn.TableModel("price", epochs=40, seed=0).fit(houses().drop(columns="kind"), verbose=0)


@pytest.fixture(scope="module")
def kind() -> cnn.TableModel:
    return cnn.TableModel("kind", epochs=10, members=2, seed=0).fit(houses().drop(columns="price"), verbose=0)


def test_a_table_model_tells_intervals(price: cnn.TableModel, tmp_path: Path) -> None:
    new = houses(3000, 1)
    ends = price.predict_interval(new, coverage=0.9)
    inside = np.mean((new.price >= ends[:, 0]) & (new.price <= ends[:, 1]))
    assert 0.86 < inside < 0.94
    found = price.out_of_member
    assert found is not None
    assert price.residuals.rows == len(found.rows)
    expected = Residuals.learn(found.y, found.outputs).interval(price.predict(new), 0.9)
    assert np.array_equal(ends, expected)
    three = price.predict_quantiles(new, [0.05, 0.5, 0.95])
    assert np.array_equal(three[:, [0, 2]], ends)
    assert (np.diff(three, axis=1) >= 0).all()
    assert np.array_equal(price.predict_quantiles(new, 0.5), three[:, 1])
    deviation = price.predict_std(new)
    assert deviation.shape == (3000,)
    assert np.sqrt(np.mean((new.price - price.predict(new)) ** 2)) == pytest.approx(
        np.sqrt(np.mean(deviation**2)), rel=0.15)  # fmt: skip
    price.save(tmp_path / "m.cnn")
    again = cnn.load(tmp_path / "m.cnn")
    assert np.array_equal(again.predict_interval(new, coverage=0.8), price.predict_interval(new, coverage=0.8))
    assert np.array_equal(price.predict_interval(new, n_threads=1), price.predict_interval(new, n_threads=3))


def test_intervals_of_positive_targets_are_not_below_0() -> None:
    X = np.random.default_rng(0).normal(size=(300, 2))
    model = cnn.TableModel(loss="gamma", members=2, epochs=4, seed=0).fit(X, np.exp(X[:, 0]))
    assert model.predict_interval(X).min() == model.predict_interval(X, method="cv+").min() == 0
    assert model.predict_quantiles(X, 0.05).min() == 0


def test_what_is_refused(price: cnn.TableModel, kind: cnn.TableModel) -> None:
    new = houses(5)
    for call in (kind.predict_interval, kind.predict_quantiles, kind.predict_std):
        with pytest.raises(ValueError, match=r"is for numbers; 'kind' is predicted as a class: see predict_proba"):
            call(new)
    with pytest.raises(ValueError, match=r"need .* rows that were held out"):
        price.predict_interval(new, coverage=0.9999)
    with pytest.raises(ValueError, match="coverage must be in"):
        price.predict_interval(new, coverage=90)
    with pytest.raises(ValueError, match="quantiles must be numbers in"):
        price.predict_quantiles(new, [])
    with pytest.raises(cnn.NotBuiltError, match="call fit"):
        cnn.TableModel("price").predict_interval(new)
    older = cnn.load(Path(__file__).parent / "data" / "v1-table.cnn")
    with pytest.raises(ValueError, match="does not know the errors of rows that it was not trained on"):
        older.predict_std({name: [None] for name in older.columns})


def test_a_fit_calibrates_its_probabilities(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = houses().drop(columns="price")
    plainly = cnn.TableModel("kind", epochs=3, members=2, seed=0)
    with monkeypatch.context() as patch:
        patch.setattr(calibration, "temperature", lambda *_: 1.0)
        plainly.fit(table, verbose=0)
    with monkeypatch.context() as patch:
        patch.setattr(calibration, "temperature", lambda *_: 2.0)
        cooled = cnn.TableModel("kind", epochs=3, members=2, seed=0).fit(table, verbose=0)
        weighted = cnn.TableModel("kind", class_weight="balanced", epochs=3, members=2, seed=0).fit(table, verbose=0)
    assert "probabilities are calibrated by the temperature 2: log loss" in cooled.notes[-1]
    logits, halves = (
        np.stack([net.forward(model.encoder.encode(table)) for net in model.networks]) for model in (plainly, cooled)
    )
    assert logits == pytest.approx(2 * halves, rel=1e-5, abs=1e-5)
    assert cooled.scores["validation"]["log_loss"] != plainly.scores["validation"]["log_loss"]
    cooled.save(tmp_path / "m.cnn")
    assert np.array_equal(cnn.load(tmp_path / "m.cnn").predict_proba(table), cooled.predict_proba(table))
    assert not any("temperature" in note for note in weighted.notes)
    learnt = cnn.TableModel("kind", epochs=3, members=2, seed=0).fit(table, verbose=0)
    assert learnt.scores["validation"]["log_loss"] <= plainly.scores["validation"]["log_loss"] + 1e-9


# Ensembles ------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Stochastic")
def test_an_ensemble_tells_intervals(tmp_path: Path) -> None:
    X = RNG.normal(size=(2400, 3))
    y = X[:, 0] - X[:, 1] + 0.3 * RNG.normal(size=2400)
    member = cnn.MLPRegressor(hidden_layer_sizes=8, learning_rate_init=0.02, max_iter=60)
    found = cnn.EnsembleRegressor(member, 3, random_state=0).fit(X[:600], y[:600])
    ends = found.predict_interval(X[600:], 0.9)
    assert 0.86 < np.mean((y[600:] >= ends[:, 0]) & (y[600:] <= ends[:, 1])) < 0.94
    known = np.isfinite(found.oom_prediction_)
    expected = Residuals.learn(y[:600][known], found.oom_prediction_[known])
    assert ends == pytest.approx(expected.interval(found.predict(X[600:]).astype(float), 0.9), abs=1e-6)
    found.save(tmp_path / "e.cnn")
    assert np.array_equal(cnn.load(tmp_path / "e.cnn").predict_interval(X[:9]), found.predict_interval(X[:9]))
    two = cnn.EnsembleRegressor(member, 2, random_state=0).fit(X[:100], np.column_stack([y, y])[:100])
    with pytest.raises(ValueError, match="predict_interval needs a single target, and rows that members were not"):
        two.predict_interval(X)
    two.save(tmp_path / "two.cnn")
    assert cnn.load(tmp_path / "two.cnn").residuals_ is None
    with pytest.raises(ValueError, match="not fitted"):
        cnn.EnsembleRegressor().predict_interval(X)


# The command ----------------------------------------------------------------------------------------------------------


def test_the_command_writes_intervals(run: Any, price: cnn.TableModel, kind: cnn.TableModel) -> None:
    pytest.importorskip("typer")
    price.save("price.cnn")
    kind.save("kind.cnn")
    houses(20, 1)[["area", "town"]].to_csv("new.csv", index=False)
    done = run("predict", "price.cnn", "new.csv", "--interval", "0.9", "-o", "out.csv")
    assert (done.code, done.err) == (0, "")
    written = pd.read_csv("out.csv")
    assert list(written.columns) == ["area", "town", "predicted_price", "lower_price", "upper_price"]
    ends = price.predict_interval(pd.read_csv("new.csv"))
    assert written[["lower_price", "upper_price"]].to_numpy() == pytest.approx(ends, abs=1e-4)
    for arguments, text in [
        (["kind.cnn", "new.csv", "--interval", "0.9"], "--interval is for numbers, predicted by models of"),
        (["price.cnn", "new.csv", "--interval", "0.9999"], "intervals of coverage 0.9999 need 19,999 rows"),
        (["price.cnn", "new.csv", "--interval", "90"], "coverage must be in (0, 1), got 90"),
    ]:
        done = run("predict", *arguments)
        assert (done.code, done.out) == (2, "")
        assert text in done.err


@pytest.mark.filterwarnings("ignore:Stochastic")
def test_the_command_writes_intervals_of_ensembles(run: Any) -> None:
    pytest.importorskip("typer")
    X = RNG.normal(size=(300, 2))
    member = cnn.MLPRegressor(hidden_layer_sizes=4, max_iter=3)
    found = cnn.EnsembleRegressor(member, 2, random_state=0).fit(X, X[:, 0])
    found.save("e.cnn")
    pd.DataFrame(X[:5]).to_csv("x.csv", index=False)
    asked = ["--header", "--interval", "0.8", "--only-predictions", "-o", "out.csv"]
    assert run("predict", "e.cnn", "x.csv", *asked).code == 0
    written = pd.read_csv("out.csv")
    assert list(written.columns) == ["prediction", "lower", "upper"]
    assert written[["lower", "upper"]].to_numpy() == pytest.approx(found.predict_interval(X[:5], 0.8), abs=1e-5)


def test_the_page_shows_classes(run: Any) -> None:
    pytest.importorskip("typer")
    pytest.importorskip("matplotlib")
    houses(300).drop(columns="price").to_csv("t.csv", index=False)
    done = run("train", "t.csv", "-t", "kind", "--epochs", "3", "--report", "page.html", "--json")
    assert json.loads(done.out)["task"] == "classification"
    page = Path("page.html").read_text(encoding="utf-8")
    for word in ("precision", "recall", "Reliability of the probabilities", "ROC curves", "cheap", "dear"):
        assert word in page


def test_pictures_of_probabilities() -> None:
    pytest.importorskip("matplotlib")
    from sklearn.metrics import roc_curve

    y, p = sure(2.0, 2, 800)
    axes = plots.roc(y, p, ["no", "yes"]).axes[0]
    false, hit, _ = roc_curve(y, p, drop_intermediate=False)
    assert axes.get_lines()[0].get_xdata() == pytest.approx(false)
    assert axes.get_lines()[0].get_ydata() == pytest.approx(hit)
    figure = plots.reliability(y, p, ["no", "yes"])
    found = reliability(y, p)
    assert f"{found.error:.3f}" in figure.axes[0].get_title()
    assert [bar.get_height() for bar in figure.axes[1].patches] == found.rows.tolist()
    y, p = sure(1.0, 3, 300)
    assert len(plots.roc(y, p).axes[0].get_lines()) == 4
    assert plots.reliability(y, p).axes[0].get_ylabel() == "share that came true"
    assert len(plots.roc(np.zeros(3, int), np.ones(3)).axes[0].get_lines()) == 1  # one class alone
    with pytest.raises(ValueError, match="as many classes as probabilities are needed"):
        plots.roc([0], [0.5, 0.5])
