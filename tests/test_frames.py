"""Data frames of numbers, whatever their types, as X, y and weights of a network; and what is no array is named."""

from __future__ import annotations

import decimal
import io
import sys
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import cnn
from cnn._common import checks

RNG = np.random.default_rng(0)
BASE = pd.DataFrame({"a": RNG.normal(size=60), "n": RNG.integers(0, 9, 60), "b": RNG.random(60) < 0.5})
Y = BASE["a"].to_numpy()


def fitted(X: Any, y: Any = Y, weights: Any = None) -> Any:
    net = cnn.Network([cnn.Dense(4, "tanh"), cnn.Dense(1)], seed=0)
    net.fit(X, y, epochs=2, verbose=0, sample_weight=weights)
    return net.predict(X), net.evaluate(X, y)["loss"], net.forward(X).tobytes()


FRAMES = {
    "plain": BASE, "nullable": BASE.convert_dtypes(), "Arrow's types": BASE.convert_dtypes(dtype_backend="pyarrow"),
    "Int64 beside float": BASE.astype({"n": "Int64"}), "small types": BASE.astype({"n": "uint8"}),
    "Fortran order": pd.DataFrame(np.asfortranarray(BASE.to_numpy(float)), columns=list("anb")),
    "an Arrow table": pa.Table.from_pandas(BASE),
    "decimals": BASE.astype({"n": object}).assign(n=[decimal.Decimal(int(v)) for v in BASE.n]),
    "chunks of Arrow": pa.concat_tables([pa.Table.from_pandas(BASE[:9]), pa.Table.from_pandas(BASE[9:])]),
    "a batch of Arrow": pa.RecordBatch.from_pandas(BASE), "objects": BASE.to_numpy(object),
    "two columns of one name": BASE.set_axis(["x", "x", "b"], axis=1),
}  # fmt: skip


@pytest.mark.parametrize("kind", FRAMES)
def test_frames_of_numbers_are_taken_whatever_their_types(kind: str) -> None:
    wanted, found = fitted(BASE.to_numpy(np.float64)), fitted(FRAMES[kind])
    assert np.array_equal(found[0], wanted[0])
    assert found[1:] == wanted[1:]


def test_polars_frames_too() -> None:
    polars = pytest.importorskip("polars")
    assert np.array_equal(fitted(polars.from_pandas(BASE))[0], fitted(BASE.to_numpy(np.float64))[0])


@pytest.mark.parametrize("kind", ["Int64", "Float64", "boolean", "double[pyarrow]", object])
def test_targets_and_weights_of_such_types(kind: Any) -> None:
    plain = (BASE.n % 2).to_numpy()
    column = (BASE.n % 2).astype(float).astype(bool if kind == "boolean" else "float64").astype(kind)
    for y, weights in ((column, None), (plain, column + 1 if kind != "boolean" else None)):
        other = None if weights is None else plain + 1
        assert np.array_equal(fitted(BASE, y, weights)[0], fitted(BASE, plain, other)[0])


@pytest.mark.parametrize(("change", "kind", "text"), [
    ({"n": pd.array([1, None] + [2] * 58, "Int64")}, ValueError, "column 'n' of X is empty at row 1; fill or drop"),
    ({"b": pd.array([True] * 7 + [None] + [False] * 52, "boolean")}, ValueError, "column 'b' of X is empty at row 7"),
    ({"town": ["u"] * 60}, TypeError, "column 'town' of X holds .*not.* numbers?: encode it first"),
    ({"town": pd.Categorical(["u"] * 60)}, TypeError, "column 'town' of X holds 'u' at row 0, not a number: encode it"),
    ({"when": pd.Timestamp("2020-01-01")}, TypeError, "column 'when' of X holds dates, not numbers: encode it first"),
    ({"n": pd.array([1] * 60, "Int64"), "a": [1.0, np.nan] * 30}, ValueError, "column 'a' of X is empty at row 1"),
    ({"a": [1.0, np.nan] * 30}, ValueError, "X holds nan at row 1, column 'a'"),
    ({"a": [1.0, 1e300] * 30}, ValueError, "X holds inf at row 1, column 'a'"),
], ids=str)  # fmt: skip
def test_what_is_wrong_in_a_frame_is_named(change: dict[str, Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        fitted(BASE.assign(**change))


@pytest.mark.parametrize(("data", "text"), [
    ({"a": [1.0]}, "X must be an array, a data frame or a list of numbers, got a dict"),
    (lambda: iter([]), "X must be an array, a data frame or a list of numbers, got a function; call it, for what"),
    (([1.0] for _ in range(3)), "got a generator; list"), ({1.0}, "got a set"), ("12", "got a str"),
    (b"1", "got a bytes"), ({1: 2}.values(), "got a dict_values; list"), (map(float, "1"), "got a map; list"),
    (None, "got a NoneType"), (len, "got a builtin_function"),
    (np.array([["u"]], object), "got 'u' at row 0, column 0"),
])  # fmt: skip
def test_what_is_no_array_is_told_as_what_it_is(data: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        cnn.Network([cnn.Dense(1)], seed=0).fit(data, [1.0], verbose=0)


def test_a_gap_among_objects_is_named() -> None:
    for gap in (None, pd.NA, pd.NaT):
        with pytest.raises(ValueError, match="X is empty at row 1, column 0"):
            fitted(np.array([[1, 2, 3], [gap, 2, 3]], object), [1.0, 2.0])


def test_a_frame_without_columns() -> None:
    with pytest.raises(ValueError, match="X has no columns"):
        checks.array("X", pd.DataFrame(index=range(3)))


# Streams that are not there -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", [None, "ascii", "cp1252"])
def test_a_fit_goes_on_where_nobody_can_look_on(encoding: str | None, monkeypatch) -> None:
    out = None if encoding is None else io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", None if encoding is None else io.StringIO())
    X = RNG.normal(size=(60, 2))
    net = cnn.Network([cnn.Dense(2, "auto"), cnn.Dense(1)], seed=0)
    for verbose in (1, 2):
        net.fit(X, X[:, 0], epochs=1, verbose=verbose)
    net.summary()
    cnn.show_config()
    model = cnn.TableModel("y", epochs=1, members=1, seed=0)
    model.fit(pd.DataFrame({"数": X[:, 0], "größe": X[:, 1], "y": X[:, 0]}))
    if out is not None:
        out.flush()
        assert b"\\u6570" in out.buffer.getvalue()  # type: ignore[attr-defined]


class Gone(io.StringIO):
    """No console behind the stream."""

    def write(self, text: str) -> int:
        raise OSError(9, "Bad file descriptor")

    def flush(self) -> None:
        raise OSError(9, "Bad file descriptor")


@pytest.mark.parametrize("kind", ["gone", "closed", "ascii"])
def test_streams_that_can_not_be_written_to(kind: str, monkeypatch) -> None:
    def größe(y: Any, p: Any, weights: Any) -> float:
        return 1.0

    for name in ("stdout", "stderr"):
        stream = Gone() if kind == "gone" else io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        if kind == "closed":
            stream.close()
        monkeypatch.setattr(sys, name, stream)
    for verbose in (1, 2):
        net = cnn.Network([cnn.Dense(1)], seed=0)
        net.fit(BASE, Y, epochs=2, verbose=verbose, metrics=[größe])
    net.summary()
    if kind == "ascii":
        sys.stderr.flush()
        assert b"gr\\xf6\\xdfe=1" in sys.stderr.buffer.getvalue()  # type: ignore[attr-defined]


# What the program wants NumPy to do about underflow -------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_program_that_makes_numpy_raise(tmp_path) -> None:
    X = RNG.normal(size=(200, 4))
    X[:, 0] *= 1e-300
    X[0, 2] = 1e-310
    y, k = X[:, 1].copy(), RNG.integers(0, 3, 200)
    y[3] = 1e-320
    table = pd.DataFrame(X, columns=list("abcd")).assign(e=1e-310 * np.arange(200), f=1e300 * X[:, 3], y=y)
    with np.errstate(all="raise"):
        cnn.schedules.Exponential(1e-200, factor=1e-3).rates(0, 900, 1, 900)
        for dtype in ("float32", "float64"):
            net = cnn.Network([cnn.Dense(8, "tanh"), cnn.Dense(1)], dtype=dtype, seed=0)
            net.fit(X, y, epochs=2, verbose=0, validation_split=0.2, metrics=("rmse", "r2", "mae"))
            net.predict(X)
            net.evaluate(X, y)
            net.loss_and_gradient(X, y)
            net.backward(net.forward(X))
            cnn.diagnose(net, X, y)
            cnn.gradient_check(net, X, y)
        classifier = cnn.Network([cnn.Dense(8, "relu"), cnn.Dense(3)], loss="cross_entropy", seed=0)
        classifier.fit(X, k, epochs=2, verbose=0, metrics=("accuracy", "f1", "roc_auc", "log_loss"))
        estimator = cnn.MLPRegressor(max_iter=2, random_state=0).fit(X, y)
        estimator.score(X, y)
        model = cnn.TableModel("y", epochs=2, members=1, seed=0).fit(table, verbose=0)
        model.evaluate(table)
        model.feature_importance(table, repeats=1)
        model.save(tmp_path / "m.cnn")
        assert np.isfinite(cnn.load(tmp_path / "m.cnn").predict(table)).all()
        assert set(np.geterr().values()) == {"raise"}


@pytest.mark.parametrize("target", [
    pd.Series(["ä", "b"] * 30), pd.Series(["ä", "b"] * 30, dtype="category"), pd.DataFrame({"u": ["ä", "b"] * 30}),
])  # fmt: skip
@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_labels_are_told_how_they_become_numbers(loss: str, target: Any) -> None:
    """Columns of their own, as those of X, would not be what the loss wants."""
    net = cnn.Network([cnn.Dense(2 if loss == "cross_entropy" else 1)], loss=loss, seed=0)
    with pytest.raises(TypeError, match=r"y holds 'ä' .*: np\.unique\(y, return_inverse=True\) turns labels"):
        net.fit(np.zeros((60, 2)), target)
    with pytest.raises(TypeError, match=r"column 'u' of X holds 'ä' .*: encode it first"):
        net.fit(pd.DataFrame({"u": ["ä", "b"] * 30}), np.zeros(60))
