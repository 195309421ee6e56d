"""Sets of classes: MAPIE beside them, coverage, table models, files, errors."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_forged_files import forged

import cnn
from cnn.uncertainty import Residuals, mass, set_scores, sets

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")
from sklearn.base import BaseEstimator, ClassifierMixin  # noqa: E402

RNG = np.random.default_rng(0)


class Fixed(ClassifierMixin, BaseEstimator):
    """Its columns are the probabilities."""

    def fit(self, X: Any, y: Any) -> Fixed:
        self.classes_ = np.arange(X.shape[1])
        return self

    def predict_proba(self, X: Any) -> Any:
        return X

    def predict(self, X: Any) -> Any:
        return X.argmax(axis=1)


def drawn(n: int, k: int, spread: float = 0.5) -> tuple[Any, Any]:
    """(class numbers, probabilities that they are drawn by)."""
    p = RNG.dirichlet(np.full(k, spread), n)
    return (p.cumsum(axis=1) > RNG.random((n, 1))).argmax(axis=1), p


@pytest.mark.parametrize(("method", "k"), [("lac", 2), ("lac", 3), ("lac", 7), ("aps", 3), ("aps", 7)])
def test_sets_are_those_of_mapie(method: str, k: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mapie = pytest.importorskip("mapie.classification")
        from mapie.conformity_scores import APSConformityScore, LACConformityScore
    y, p = drawn(301, k)
    _, new = drawn(200, k)
    for coverage in (0.6, 0.8, 0.9, 0.95):
        score = LACConformityScore() if method == "lac" else APSConformityScore()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            oracle = mapie.SplitConformalClassifier(
                Fixed().fit(p, y), confidence_level=coverage, conformity_score=score, prefit=True, random_state=3
            ).conformalize(p, y)
            expected = oracle.predict_set(new)[1][..., 0]
        u = np.random.RandomState(3).uniform(size=301)
        np.testing.assert_array_equal(sets(new, coverage, set_scores(y, p, u), method), expected)


@pytest.mark.parametrize("coverage", [0.3, 0.8, 0.9])
def test_the_coverage_is_the_one_asked_for(coverage: float) -> None:
    """Over many draws, of wrong probabilities too; "lac" no more, "aps" with its last class somewhat more."""
    hits: dict[str, list[float]] = {"lac": [], "aps": []}
    for _ in range(60):
        y, p = drawn(1400, 5)
        wrong = p**3 / (p**3).sum(axis=1, keepdims=True)
        known = set_scores(y[:700], wrong[:700], RNG.random(700))
        for method, found in hits.items():
            found.append(np.mean(sets(wrong[700:], coverage, known, method)[np.arange(700), y[700:]]))
    noise = 4 * np.std(hits["lac"]) / 60**0.5
    assert np.mean(hits["lac"]) == pytest.approx(coverage, abs=noise + 0.002)
    assert np.mean(hits["aps"]) >= coverage - noise


def test_sets_by_hand() -> None:
    p = np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6], [0.4, 0.4, 0.2], [1.0, 0.0, 0.0]])
    expected = [[0.0, 0.5, 0.8], [0.6, 0.8, 0.0], [0.0, 0.4, 0.8], [0.0, 1.0, 1.0]]
    np.testing.assert_allclose(mass(p), expected, atol=1e-15)
    known = {"lac": Residuals.of(np.arange(1, 10) / 10), "aps": Residuals.of(np.arange(1, 10) / 10)}
    assert known["lac"].bound(0.5) == 0.5
    assert sets(p, 0.5, known, "lac").tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0], [1, 0, 0]]
    assert sets(p, 0.8, known, "aps").tolist() == [[1, 1, 0], [1, 0, 1], [1, 1, 0], [1, 0, 0]]
    assert sets(p, 0.01, known, "aps").sum(axis=1).tolist() == [1, 1, 1, 1]
    assert sets(p[:0], 0.8, known, "aps").shape == (0, 3)
    many = Residuals.of(np.arange(1, 30_001) / 30_000)
    assert len(many.scores) == 4096
    assert 0 <= many.bound(0.9) - 0.9 < 0.0005
    with pytest.raises(ValueError, match=r"sets of coverage 0\.95 need 19 rows that were held out, there are 9"):
        known["lac"].bound(0.95)
    with pytest.raises(ValueError, match="coverage must be in"):
        known["lac"].bound(1.0)


# Table models ---------------------------------------------------------------------------------------------------------


def table(n: int, k: int) -> Any:
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, 2))
    logits = np.column_stack([np.zeros(n), 2 * x[:, 0], x[:, 1] - x[:, 0]])[:, :k]
    found = (logits + rng.gumbel(size=(n, k))).argmax(axis=1)
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "kind": np.array(["red", "green", "blue"])[found]})


@pytest.fixture(scope="module", params=[2, 3])
def learnt(request: Any) -> tuple[cnn.TableModel, Any]:
    model = cnn.TableModel("kind", epochs=10, members=5, hidden=(16,), seed=0)
    model.fit(table(1500, request.param), verbose=0)
    return model, table(2000, request.param)


@pytest.mark.parametrize("method", ["lac", "aps"])
def test_table_models_tell_sets(learnt: tuple[cnn.TableModel, Any], method: Any, tmp_path: Path) -> None:
    model, new = learnt
    known = model.out_of_member
    assert known is not None
    p = known.outputs if known.outputs.ndim == 2 else np.column_stack([1 - known.outputs, known.outputs])
    scores = set_scores(known.y.astype(int), p, np.random.default_rng((0, 5)).random(len(known.y)))
    for coverage in (0.5, 0.9):
        found = model.predict_set(new, coverage=coverage, method=method)
        np.testing.assert_array_equal(found, sets(model.predict_proba(new), coverage, scores, method))
        held = found[np.arange(2000), [model.classes.tolist().index(kind) for kind in new["kind"]]].mean()
        assert coverage - 0.03 < held < (coverage + 0.03 if method == "lac" else 1)
    assert found.dtype == bool
    frame = model.predict_set(new, method=method, as_frame=True)
    assert frame.columns.tolist() == model.classes.tolist()
    np.testing.assert_array_equal(frame.to_numpy(), found)
    assert model.predict_set(new[:0], method=method).shape == (0, len(model.classes))
    model.save(tmp_path / "m.cnn")
    again = cnn.load(tmp_path / "m.cnn", cnn.TableModel)
    np.testing.assert_array_equal(again.predict_set(new, method=method), found)
    again.save(tmp_path / "again.cnn")
    assert (tmp_path / "m.cnn").read_bytes() == (tmp_path / "again.cnn").read_bytes()


def test_bad_input(learnt: tuple[cnn.TableModel, Any]) -> None:
    model, new = learnt
    for give, said in (
        ({"coverage": 1}, "coverage must be in"), ({"coverage": 0.9999}, "sets of coverage 0.9999 need 9,999 rows"),
        ({"method": "raps"}, "method must be 'lac' or 'aps', got 'raps'"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            model.predict_set(new, **give)  # type: ignore[arg-type]
    with pytest.raises(cnn.NotBuiltError, match="knows no table yet"):
        cnn.TableModel("kind", task="classification").predict_set(new)
    numbers = cnn.TableModel("b", epochs=1, members=1, seed=0).fit(new, verbose=0)
    assert not hasattr(numbers, "predict_set")
    with pytest.raises(ValueError, match="predict_set is for classes; 'b' is predicted as a number"):
        numbers.predict_set(new)
    older = cnn.load(Path(__file__).parent / "data" / "v1-table-classes.cnn", cnn.TableModel)
    with pytest.raises(ValueError, match="does not know the errors of rows that it was not trained on"):
        older.predict_set({name: [None] for name in older.columns})


@pytest.mark.parametrize(("change", "said"), [
    (lambda payload, tensors: payload.update(sets="3"), "residuals must be an integer"),
    (lambda payload, tensors: payload.update(sets=payload["sets"] + 1), "errors in order with"),
    (lambda payload, tensors: payload.update(sets=None), "unknown tensor sets"),
    (lambda payload, tensors: tensors.pop("sets.aps.scores"), "sets.aps.scores"),
    (lambda payload, tensors: tensors.update({"sets.lac.scores": tensors["sets.lac.scores"][::-1].copy()}), "ascend"),
])  # fmt: skip
def test_forged_sets_are_refused(learnt: tuple[cnn.TableModel, Any], change: Any, said: str, tmp_path: Path) -> None:
    learnt[0].save(tmp_path / "m.cnn")
    (tmp_path / "m.cnn").write_bytes(forged((tmp_path / "m.cnn").read_bytes(), change))
    with pytest.raises(cnn.ModelFormatError, match=said):
        cnn.load(tmp_path / "m.cnn")


def test_sets_of_numbers_are_refused(tmp_path: Path) -> None:
    cnn.TableModel("b", epochs=1, members=1, seed=0).fit(table(60, 2), verbose=0).save(tmp_path / "m.cnn")
    content = (tmp_path / "m.cnn").read_bytes()
    (tmp_path / "m.cnn").write_bytes(forged(content, lambda payload, tensors: payload.update(sets=3)))
    with pytest.raises(cnn.ModelFormatError, match="sets of classes for numbers"):
        cnn.load(tmp_path / "m.cnn")
