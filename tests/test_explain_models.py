"""Explanations of estimators, ensembles and tables: sums, scikit-learn's partial dependence, what is shown."""

from __future__ import annotations

import dataclasses
import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn
from cnn import plots
from cnn.explain import expected_gradients, integrated_gradients, partial_dependence

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3))
Y = X[:, 0] - X[:, 1] * X[:, 2]
LABELS = np.array(["a", "b", "c"])[(Y > -0.5).astype(int) + (Y > 0.5)]
QUICK = {"hidden_layer_sizes": (8,), "max_iter": 15, "random_state": 0, "dtype": "float64"}


NAMES = ["numbers", "counts", "two targets", "two classes", "three classes", "one against the rest", "several labels",
         "ensemble", "some features"]  # fmt: skip


@pytest.fixture(scope="module")
def fitted() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that they have not converged
        return estimators()


def estimators() -> dict[str, Any]:
    two = np.where(Y > 0, "yes", "no")
    quick = cnn.MLPClassifier(**QUICK)
    return {
        "numbers": cnn.MLPRegressor(**QUICK).fit(X, Y),
        "counts": cnn.MLPRegressor(loss="poisson", **QUICK).fit(X, np.exp(Y)),
        "two targets": cnn.MLPRegressor(**QUICK).fit(X, np.column_stack([Y, -Y])),
        "two classes": cnn.MLPClassifier(**QUICK).fit(X, two),
        "three classes": cnn.MLPClassifier(**QUICK).fit(X, LABELS),
        "one against the rest": cnn.MLPClassifier(loss="binary_cross_entropy", **QUICK).fit(X, LABELS),
        "several labels": cnn.MLPClassifier(**QUICK).fit(X, np.column_stack([Y > 0, X[:, 0] > 0]).astype(int)),
        "ensemble": cnn.EnsembleRegressor(cnn.MLPRegressor(**QUICK), 3, random_state=0).fit(X, Y),
        "some features": cnn.EnsembleClassifier(quick, 3, max_features=2, random_state=0).fit(X, LABELS),
    }


def predicted(est: Any, rows: Any) -> Any:
    if not hasattr(est, "classes_"):
        return est.predict(rows)
    p = est.predict_proba(rows)
    return p[:, 1] if len(est.classes_) == 2 and getattr(est, "_task", "") != "multilabel" else p


@pytest.mark.parametrize("name", NAMES)
def test_shares_add_up_to_what_the_estimator_predicts(fitted: dict[str, Any], name: str) -> None:
    est = fitted[name]
    found = integrated_gradients(est, X[:9], baseline=X[9:10])
    assert found.predictions == pytest.approx(predicted(est, X[:9]), abs=1e-12)
    assert found.base_values == pytest.approx(np.repeat(predicted(est, X[9:10]), 9, axis=0), abs=1e-12)
    assert np.abs(found.gap).max() < 0.02 * np.abs(found.values).max()  # kinks of relu
    assert np.abs(integrated_gradients(est, X[:9], steps=500).gap).max() < 4e-3
    h = 1e-5
    for j in range(3):  # at the end of a short path the share is the slope times the way
        near = X[:9] - h * np.eye(3)[j]
        short = integrated_gradients(est, X[:9], baseline=near)
        change = predicted(est, X[:9]) - predicted(est, near)
        assert short.values[:, j] == pytest.approx(change, abs=1e-4 * h + 1e-12)
    if hasattr(est, "classes_") and name != "two classes":
        assert found.output_names == tuple(map(str, est.classes_))
    assert expected_gradients(est, X[:4], X, samples=50).values.shape == found.values[:4].shape


def test_two_classes_are_explained_by_the_second(fitted: dict[str, Any]) -> None:
    assert integrated_gradients(fitted["two classes"], X[:2]).output_names == ("yes",)


@pytest.mark.parametrize("name", ["numbers", "two targets", "two classes", "three classes", "ensemble"])
def test_partial_dependence_is_that_of_scikit_learn(fitted: dict[str, Any], name: str) -> None:
    from sklearn.inspection import partial_dependence as sklearns

    est, grid = fitted[name], [-1.0, 0.0, 2.0]
    expected = sklearns(est, X, [1], custom_values={1: grid}, kind="both")
    found = partial_dependence(est, X, 1, grid=grid)
    mean, individual = np.atleast_2d(found.mean.T), found.individual
    assert mean == pytest.approx(expected["average"], abs=1e-12)
    if individual.ndim == 2:
        individual = individual[..., None]
    assert np.moveaxis(individual, 2, 0) == pytest.approx(expected["individual"], abs=1e-12)


@pytest.mark.filterwarnings("ignore:Stochastic")
def test_frames_give_estimators_their_names() -> None:
    frame = pd.DataFrame(X, columns=["u", "v", "w"])
    est = cnn.MLPRegressor(**QUICK).fit(frame, Y)
    assert integrated_gradients(est, frame[:2]).feature_names == ("u", "v", "w")
    assert partial_dependence(est, frame, "w", points=3).column == "w"
    with pytest.raises(ValueError, match="feature names"):
        integrated_gradients(est, frame[["w", "v", "u"]])
    with pytest.raises(ValueError, match="not fitted"):
        integrated_gradients(cnn.MLPRegressor(), X)


@pytest.fixture(scope="module")
def people() -> Any:
    n = 300
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({
        "age": rng.integers(18, 90, n).astype(float), "work": rng.choice(["office", "field", "home"], n),
        "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 1500, n), "D"),
        "member": rng.random(n) < 0.5,
    })  # fmt: skip
    frame["pay"] = 40 * frame["age"] + 900 * (frame["work"] == "field") + rng.normal(0, 100, n)
    frame.loc[::10, "age"] = np.nan
    frame["size"] = np.where(frame["pay"] > 2500, "much", np.where(frame["pay"] > 1200, "some", "little"))
    return frame


@pytest.fixture(scope="module")
def pay(people: Any) -> Any:
    return cnn.TableModel("pay", epochs=40, members=2, seed=0).fit(people.drop(columns="size"), verbose=0)


@pytest.fixture(scope="module")
def size(people: Any) -> Any:
    return cnn.TableModel("size", epochs=20, members=2, seed=0).fit(people.drop(columns="pay"), verbose=0)


def test_shares_of_the_columns_of_a_table(people: Any, pay: Any, size: Any) -> None:
    rows = people[:40]
    found = integrated_gradients(pay, rows)
    assert found.feature_names == ("age", "work", "since", "member")
    assert found.predictions == pytest.approx(pay.predict(rows), rel=1e-6)
    nothing = pd.DataFrame({name: [None] for name in found.feature_names})
    assert found.base_values == pytest.approx(np.repeat(pay.predict(nothing), 40), rel=1e-6)
    assert np.abs(found.gap).max() < 0.05 * np.abs(found.values).max()
    assert found.data[1].tolist() == [people.age[1], people.work[1], people.since[1], people.member[1]]
    assert np.isnan(found.data[0, 0])
    assert found.feature_names[int(found.importance.argmax())] == "age"
    classes = expected_gradients(size, rows, people, samples=100)
    assert classes.output_names == ("little", "much", "some") == tuple(size.classes)
    assert classes.predictions == pytest.approx(size.predict_proba(rows), abs=1e-6)
    assert np.abs(classes.values.sum(axis=2)).max() < 1e-6  # probabilities sum to 1
    again = expected_gradients(size, rows, people, samples=100, n_threads=1)
    assert np.array_equal(classes.values, again.values)
    with pytest.raises(cnn.TableError, match="background has no column 'age'; it has 'work'"):
        expected_gradients(pay, rows, people[["work"]])


def test_losses_with_a_logarithmic_link(people: Any) -> None:
    table = people[["age", "work", "pay"]].assign(pay=people["pay"].clip(lower=1))
    model = cnn.TableModel("pay", loss="gamma", epochs=5, members=2, seed=0).fit(table, verbose=0)
    found = integrated_gradients(model, table[:9])
    assert found.predictions == pytest.approx(model.predict(table[:9]), rel=1e-5)
    raw = integrated_gradients(model, table[:9], raw=True)
    each = [net.predict(model.encoder.encode(table[:9])) * model.goal.deviation for net in model.networks]
    assert raw.predictions == pytest.approx(np.log(each).mean(axis=0), rel=1e-5)


def test_a_single_column_with_a_gap() -> None:
    table = pd.DataFrame({"a": [*range(99), None]})
    model = cnn.TableModel(task="regression", members=1, epochs=1, seed=0).fit(table, np.arange(100.0) % 7)
    assert integrated_gradients(model, table).values.shape == (100, 1)


def test_inputs_of_a_column_are_added(people: Any) -> None:
    """Beside the same rule by hand: the slopes of all inputs, by `forward` and `backward`."""
    rows = people[:5]
    how: dict[str, Any] = {"epochs": 3, "members": 2, "seed": 0, "numbers": "bins"}
    pay = cnn.TableModel("pay", **how).fit(people.drop(columns="size"), verbose=0)
    ends, start = pay.encoder.encode(rows), pay.encoder.encode(people[5:6])
    nodes, weights = np.polynomial.legendre.leggauss(7)
    total = np.zeros(ends.shape)
    for place, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        for net in pay.networks:
            net.forward((start + place * (ends - start)).astype(np.float32))
            total += weight * net.backward(np.ones((5, 1), np.float32)) * (ends - start)
    total *= pay.goal.deviation / len(pay.networks)
    expected = np.column_stack([total[:, place].sum(axis=1) for place in pay.encoder.places.values()])
    found = integrated_gradients(pay, rows, baseline=people[5:6], steps=7)
    assert found.values == pytest.approx(expected, rel=1e-4, abs=1e-2)


def test_partial_dependence_of_a_table_is_a_mean_of_predictions(people: Any, pay: Any, size: Any) -> None:
    for model in (pay, size):
        for name, kind in model.columns.items():
            found = partial_dependence(model, people, name, points=4)
            assert found.kind == kind
            assert len(found.grid) == {"boolean": 2, "category": 3}.get(kind, 4)
            for i in (0, len(found.grid) - 1):
                moved = people.copy()
                moved[name] = found.grid[i]
                told = model.predict(moved) if model is pay else model.predict_proba(moved)
                assert found.individual[:, i] == pytest.approx(told, rel=1e-5, abs=1e-5)
                assert found.mean[i] == pytest.approx(told.mean(axis=0), rel=1e-5, abs=1e-5)
    found = partial_dependence(pay, people, "work", grid=["field", "unknown"])
    assert found.grid.tolist() == ["field", "unknown"]
    assert partial_dependence(pay, people, "since").grid.dtype.kind == "M"
    with pytest.raises(ValueError, match="column 'age' has no value in any of the rows"):
        partial_dependence(pay, people[::10], "age")


def png(figure: Any) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=40)
    return out.getvalue()


@pytest.mark.parametrize("features", [1, 2, 4, 5, 6, 9])
def test_the_label_of_the_colours_leaves_room_for_low_and_high(features: int) -> None:
    agg = pytest.importorskip("matplotlib.backends.backend_agg")
    net = cnn.Network([cnn.Dense(1)], seed=0).build(features)
    figure = plots.attributions(integrated_gradients(net, RNG.normal(size=(20, features))))
    canvas = agg.FigureCanvasAgg(figure)
    canvas.draw()
    bar = figure.axes[1]
    label, *ends = (text.get_window_extent() for text in (bar.yaxis.label, *bar.get_yticklabels()))
    assert len(ends) == 2
    assert not any(label.overlaps(end) for end in ends)


def test_pictures(people: Any, pay: Any, size: Any) -> None:
    pytest.importorskip("matplotlib")
    found = integrated_gradients(pay, people[:50])
    axes = plots.attributions(found, most=2).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    order = np.argsort(-found.importance)
    assert names == [*(found.feature_names[i] for i in order[:2]), "2 more, added up"]
    points = np.concatenate([c.get_offsets()[:, 0] for c in axes.collections])
    assert sorted(points) == pytest.approx(sorted([
        *found.values[:, order[:2]].ravel(), *found.values[:, order[2:]].sum(axis=1)]))  # fmt: skip
    bars = plots.attribution(found, row=3).axes[0]
    assert sum(patch.get_width() for patch in bars.patches) == pytest.approx(found.values[3].sum())
    assert len(plots.attribution(found, row=3, most=1).axes[0].patches) == 2
    several = integrated_gradients(size, people[:50])
    for figure in (plots.attributions(found), plots.attribution(found, 0), plots.attributions(several, output=1),
                   plots.attribution(several, 1, output=2),
                   plots.attributions(integrated_gradients(pay, people[:1]))):  # fmt: skip
        assert png(figure).startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="output must be the number of one of the 3 outputs, got None"):
        plots.attributions(several)
    with pytest.raises(ValueError, match="there are no rows to draw"):
        plots.attributions(integrated_gradients(pay, people[:0]))
    with pytest.raises(ValueError, match=r"row must be an integer in \[0, 49\], got 50"):
        plots.attribution(found, row=50)
    moved = [partial_dependence(model, people, name, points=5) for model in (pay, size) for name in model.columns]
    figure = plots.partial_dependence(moved)
    assert len(figure.axes) == 8
    assert figure.axes[0].get_lines()[-2].get_ydata() == pytest.approx(moved[0].mean)
    assert png(figure).startswith(b"\x89PNG")
    assert len(plots.partial_dependence(moved[0], individual=False).axes[0].get_lines()) == 2
    with pytest.raises(TypeError, match="partial_dependence takes a Dependence or a list of them"):
        plots.partial_dependence([])


@pytest.fixture
def files(run: Any, people: Any, pay: Any, size: Any) -> Any:
    pytest.importorskip("typer")
    pytest.importorskip("rich")
    pay.save("pay.cnn")
    size.save("size.cnn")
    people.drop(columns=["size"]).to_csv("t.csv", index=False)
    people[:30].to_csv("few.csv", index=False)
    return run


def test_the_command_writes_the_shares(files: Any, people: Any, pay: Any) -> None:
    done = files("explain", "pay.cnn", "few.csv", "-o", "shares.csv")
    assert (done.code, done.err) == (0, "")
    for word in ("30 rows compared with a row with nothing in it", "age", "mean size", "pay", "shares.csv"):
        assert word in done.out
    found = integrated_gradients(pay, pd.read_csv("few.csv"))
    written = pd.read_csv("shares.csv")
    assert list(written.columns) == [*people.columns, "explained_prediction", "base_value",
                                     *(f"share_{name}" for name in found.feature_names)]  # fmt: skip
    assert written.filter(like="share_").to_numpy() == pytest.approx(found.values)
    assert written["base_value"].to_numpy() == pytest.approx(found.base_values)
    for name in ("only.json", "only.parquet", "only.tsv.gz"):
        done = files("explain", "pay.cnn", "few.csv", "--background", "t.csv", "--samples", "40", "--only-shares", "-o",
                     name, "--json")  # fmt: skip
        said = json.loads(done.out)
        expected = expected_gradients(pay, pd.read_csv("few.csv"), pd.read_csv("t.csv"), samples=40)
        assert said["importance"] == pytest.approx(dict(zip(expected.feature_names, expected.importance, strict=True)))
        assert said["gap"] == pytest.approx(np.abs(expected.gap).mean(), abs=1e-6)
        if name.endswith("json"):
            rows = json.loads(Path(name).read_text(encoding="utf-8"))
            shares = [[row[f"share_{column}"] for column in expected.feature_names] for row in rows]
        else:
            table = pd.read_parquet(name) if name.endswith("parquet") else pd.read_csv(name, sep="\t")
            shares = table.filter(like="share_").to_numpy()
        assert np.asarray(shares) == pytest.approx(expected.values)


def test_the_command_explains_classes(files: Any, people: Any, size: Any) -> None:
    found = integrated_gradients(size, pd.read_csv("few.csv"))
    best = size.predict_proba(people[:30]).argmax(axis=1)
    files("explain", "size.cnn", "few.csv", "-o", "best.csv")
    written = pd.read_csv("best.csv").filter(like="share_").to_numpy()
    assert written == pytest.approx(found.values[np.arange(30), :, best], abs=1e-7)
    done = files("explain", "size.cnn", "few.csv", "--class", "much", "--raw", "--picture", "p.png", "--json")
    assert json.loads(done.out)["explained"] == "much"
    assert Path("p.png").read_bytes().startswith(b"\x89PNG")
    done = files("explain", "size.cnn", "few.csv", "--class", "huge")
    assert (done.code, done.err) == (2, "cnn: --class must be one of little, much, some, got huge\n")


@pytest.mark.filterwarnings("ignore:Stochastic")
def test_the_command_explains_networks_and_estimators(files: Any) -> None:
    frame = pd.DataFrame(X[:10], columns=["u", "v", "w"])
    frame.to_csv("x.csv", index=False)
    net = cnn.Network([cnn.Dense(3, "tanh"), cnn.Dense(2)], seed=0).build(3)
    net.save("net.cnn")
    cnn.MLPClassifier(**QUICK).fit(pd.DataFrame(X, columns=frame.columns), LABELS).save("est.cnn")
    done = files("explain", "net.cnn", "x.csv", "--class", "output 1", "--only-shares", "-o", "net.csv")
    assert done.code == 0
    assert pd.read_csv("net.csv").filter(like="share_").to_numpy() == pytest.approx(
        integrated_gradients(net, X[:10], output=1).values, abs=1e-6)  # fmt: skip
    assert files("explain", "est.cnn", "x.csv", "-b", "x.csv", "--samples", "20", "-o", "-").code == 0
    done = files("explain", "net.cnn", "x.csv")
    assert (done.code, done.err) == (
        2, "cnn: the model has several outputs: say which with --class, one of output 0, output 1\n")  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["few.csv", "-o", "nowhere/x.csv"], "--out nowhere/x.csv: there is no folder nowhere"),
        (["few.csv", "-o", "-", "--json"], "--json needs --out: both would go to standard output"),
        (["few.csv", "-o", "x.xlsx"], "are written as .csv, .tsv, .json (each also .gz) or .parquet, got x.xlsx"),
        (["few.csv", "--picture", "x.txt"], "--picture must end in .png, .svg, .pdf, got 'x.txt'"),
        (["few.csv", "--picture", "-"], "--picture must be a file"),
        (["few.csv", "--decimal", ","], "has learnt how its numbers are written"),
        (["shares.csv", "-o", "x.csv"], "the table has a column 'base_value' already; use --only-shares"),
        (["none.csv"], "none.csv"),
        (["few.csv", "--background", "empty.csv"], "empty.csv has a header but no rows"),
    ],
)
def test_what_the_command_refuses(files: Any, arguments: list[str], text: str) -> None:
    files("explain", "pay.cnn", "few.csv", "-o", "shares.csv", "--quiet")
    Path("empty.csv").write_text("age,work,since,member\n")
    done = files("explain", "pay.cnn", *arguments)
    assert done.code == 2
    assert text in done.err
    assert not Path("x.csv").exists()


def test_a_path_is_straight_in_the_stairs_of_embedded_numbers() -> None:
    """The shares are those of the dense form: staircases z in float64, on a straight path, e = V z + c, and relu."""
    rng = np.random.default_rng(5)
    table = pd.DataFrame({"a": rng.normal(size=400), "b": rng.normal(size=400), "t": rng.choice(["x", "y"], 400)})
    table["y"] = np.sin(3 * table["a"]) + table["b"] * (table["t"] == "x")
    model = cnn.TableModel("y", members=2, epochs=6, hidden=(16,), seed=0).fit(table, verbose=0)
    encoder = model.encoder
    assert encoder.embedded
    wide = dataclasses.replace(encoder, embedded=False)
    nothing = pd.DataFrame({"a": [None], "b": [None], "t": [None]}, dtype=object)
    begin, ends = (wide.encode(frame).astype(float) for frame in (nothing, table[:5]))
    stairs = [np.array([name.startswith(f"{column}: from") for name in wide.inputs]) for column in "ab"]
    others = ~(stairs[0] | stairs[1])
    nodes, weights = np.polynomial.legendre.leggauss(64)
    expected = np.zeros((5, 3))
    for net in model.networks:
        first, rest = net.layers[0], [net.layers[i] for i in range(1, len(net.layers)) if i != 2]
        V, c = np.asarray(first.weights, float), np.asarray(first.biases, float)
        (W, b), (W2, b2) = ((np.asarray(layer.weights, float), np.asarray(layer.biases, float)) for layer in rest)
        for place, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            x = begin + place * (ends - begin)
            e = [x[:, z] @ V[i, :, : z.sum()].T + c[i] for i, z in enumerate(stairs)]
            h = np.hstack([*(np.maximum(part, 0) for part in e), x[:, others]])
            u = h @ W + b
            soft = np.logaddexp(0, u)
            slope = np.tanh(soft) + u * (1 - np.tanh(soft) ** 2) / (1 + np.exp(-u))  # of mish
            dh = (slope * W2[:, 0]) @ W.T
            for i, z in enumerate(stairs):
                de = dh[:, i * 16 : i * 16 + 16] * (e[i] > 0)
                expected[:, i] += weight * ((de @ V[i, :, : z.sum()]) * (ends - begin)[:, z]).sum(axis=1)
            dx = dh[:, 32:] * (ends - begin)[:, others]
            for column, name in enumerate("abt"):
                own = np.array([n.startswith(f"{name}:") for n in np.array(wide.inputs)[others]])
                expected[:, column] += weight * dx[:, own].sum(axis=1)
        assert b.shape == (16,)
        assert b2.shape == (1,)
    found = integrated_gradients(model, table[:5])
    np.testing.assert_allclose(found.values, expected * model.goal.deviation / 2, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.predictions, model.predict(table[:5]), rtol=1e-5, atol=1e-6)
    assert np.abs(found.gap).max() < 0.01
