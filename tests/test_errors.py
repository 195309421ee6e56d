"""Bad input: every error's type and text, and that nothing was touched before it."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import cnn
from cnn._common import checks, threads

X = np.random.default_rng(0).normal(size=(20, 3))
Y = X[:, 0]
LABELS = np.arange(20) % 3
BAD_X, BAD_Y = X.copy(), Y.copy()
BAD_X[7, 2] = np.nan
BAD_Y[4] = np.inf


def network(loss: Any = "mse", units: int = 1, **options: Any) -> cnn.Network:
    return cnn.Network([cnn.Dense(4, "relu"), cnn.Dense(units)], loss=loss, seed=0, **options)


# (what is given to fit besides the defaults, the loss, type and text of the error)
FIT: list[tuple[dict[str, Any], str, type[Exception], str]] = [
    ({"X": X[:, 0]}, "mse", ValueError,
     r"X must have two dimensions \(rows, inputs\), got shape \(20,\); for one row use X"),
    ({"X": X[None]}, "mse", ValueError, r"X must have two dimensions \(rows, inputs\), got shape \(1, 20, 3\)"),
    ({"X": 3.0}, "mse", ValueError, r"X must have two dimensions"),
    ({"X": X[:, :0]}, "mse", ValueError, r"X has no columns: shape \(20, 0\)"),
    ({"X": X[:0], "y": Y[:0]}, "mse", ValueError, r"X has no rows: shape \(0, 3\)"),
    ({"X": BAD_X}, "mse", ValueError, "X holds nan at row 7, column 2; fill or drop such values first"),
    ({"X": np.where(np.isclose(X, X[3, 1]), 1e300, X)}, "mse", ValueError, "X holds inf at row 3, column 1"),
    ({"X": X.astype(str)}, "mse", TypeError, "X must hold numbers, got dtype <U.*; encode text and categories first"),
    ({"X": X.astype(str).astype(object)}, "mse", TypeError, "X must hold numbers, got '.*' at row 0, column 0"),
    ({"X": X.astype(complex)}, "mse", TypeError, "X must hold numbers, got dtype complex128"),
    ({"X": np.ma.masked_greater(X, 1)}, "mse", TypeError, "X is a masked array"),
    ({"X": [[1, 2], [3]]}, "mse", ValueError, "X can't be made an array"),
    ({"y": Y[:7]}, "mse", ValueError, "y has 7 rows, but X has 20"),
    ({"y": None}, "mse", TypeError, "y is None; a fit needs a target for every row"),
    ({"y": 1.0}, "mse", ValueError, "y has 0 rows, but X has 20"),
    ({"y": np.ones((20, 2))}, "mse", ValueError, r"y has shape \(20, 2\), but the network has 1 outputs per row"),
    ({"y": BAD_Y}, "mse", ValueError, "y holds inf at row 4"),
    ({"y": Y.astype(str)}, "mse", TypeError, "y must hold numbers, got dtype <U"),
    ({"y": sparse.csr_array(Y[:, None])}, "mse", TypeError,
     r"y is a sparse matrix; a dense array is expected here \(use y.toarray\(\)\)"),
    ({"y": [[1], [1, 2]] * 10}, "mse", ValueError, "y can't be made an array"),
    ({"y": LABELS + 1}, "cross_entropy", ValueError, r"y must hold classes 0 \.\. 2 for 3 outputs, got 3 at row 2"),
    ({"y": LABELS - 1}, "cross_entropy", ValueError, r"y must hold classes 0 \.\. 2 for 3 outputs, got -1 at row 0"),
    ({"y": LABELS + 0.5}, "cross_entropy", ValueError, r"y must hold whole classes, got .*0\.5.* at row 0"),
    ({"y": LABELS.astype(str)}, "cross_entropy", TypeError,
     r"y must hold integer classes 0 \.\. 2, got dtype <U.*np\.unique"),
    ({"y": np.where(LABELS == 2, np.nan, LABELS)}, "cross_entropy", ValueError, "y holds nan at row 2"),
    ({"y": np.ones((20, 4))}, "cross_entropy", ValueError, r"y has shape \(20, 4\), but the network has 3 outputs"),
    ({"y": np.full((20, 3), 0.5)}, "cross_entropy", ValueError,
     "probabilities that sum to 1 in every row, got 1.5 at row 0"),
    ({"y": np.tile([2, -1, 0], (20, 1))}, "cross_entropy", ValueError,
     "y must be probabilities for cross_entropy, got -1 at"),
    ({"y": LABELS}, "binary_cross_entropy", ValueError,
     r"y must be in \[0, 1\] for binary_cross_entropy, got 2 at row 2"),
    ({"y": -LABELS}, "poisson", ValueError, "y must be >= 0 for poisson, got -1 at row 1, column 0"),
    ({"y": LABELS}, "hinge", ValueError, r"y must be -1 or 1 \(or 0 and 1\) for hinge, got 2 at row 2"),
    ({"epochs": -1}, "mse", ValueError, "epochs must be an integer >= 0, got -1"),
    ({"epochs": 2.0}, "mse", TypeError, "epochs must be an integer >= 0, got 2.0 of type float"),
    ({"epochs": True}, "mse", TypeError, "epochs must be an integer >= 0, got True of type bool"),
    ({"initial_epoch": -1}, "mse", ValueError, "initial_epoch must be an integer >= 0, got -1"),
    ({"initial_epoch": 2**63}, "mse", ValueError, f"initial_epoch must be an integer in \\[0, {2**62}\\], got {2**63}"),
    ({"batch_size": 0}, "mse", ValueError, "batch_size must be an integer >= 1, got 0"),
    ({"batch_size": "all"}, "mse", TypeError, "batch_size must be an integer >= 1, got 'all'"),
    ({"n_threads": 0}, "mse", ValueError, "n_threads must be an integer >= 1, got 0"),
    ({"n_threads": 1.5}, "mse", TypeError, "n_threads must be an integer >= 1, got 1.5"),
    ({"verbose": -1}, "mse", ValueError, "verbose must be an integer >= 0, got -1"),
    ({"verbose": "auto"}, "mse", TypeError, "verbose must be an integer >= 0, got 'auto'"),
    ({"shuffle": "yes"}, "mse", TypeError, "shuffle must be True or False, got 'yes'"),
    ({"validation_split": 1.0}, "mse", ValueError, r"validation_split must be in \[0, 1\), got 1.0"),
    ({"validation_split": "0.1"}, "mse", TypeError, "validation_split must be a number, got '0.1'"),
    ({"validation_split": 0.01}, "mse", ValueError,
     "validation_split=0.01 of 20 rows leaves 20 to train on and 0 to validate"),
    ({"validation_split": 0.2, "validation_data": (X, Y)}, "mse", ValueError,
     "validation_split or validation_data, not both"),
    ({"validation_data": X}, "mse", TypeError,
     r"validation_data must be \(X, y\) or \(X, y, sample_weight\), got ndarray"),
    ({"validation_data": (X,)}, "mse", ValueError,
     r"validation_data must be \(X, y\) or \(X, y, sample_weight\), got 1 items"),
    ({"validation_data": (X[:, :2], Y)}, "mse", ValueError,
     "validation X has 2 columns, but the network takes 3 inputs"),
    ({"validation_data": (X, Y[:3])}, "mse", ValueError, "validation y has 3 rows, but X has 20"),
    ({"validation_data": (BAD_X, Y)}, "mse", ValueError, "validation X holds nan at row 7, column 2"),
    ({"validation_data": (X, Y, -Y)}, "mse", ValueError, "validation sample_weight must not be negative"),
    ({"sample_weight": np.ones((20, 1))}, "mse", ValueError,
     r"sample_weight must have one dimension \(rows,\), got shape \(20, 1"),
    ({"sample_weight": np.ones(3)}, "mse", ValueError, "sample_weight has 3 rows, but X has 20"),
    ({"sample_weight": np.arange(20) - 2}, "mse", ValueError, "sample_weight must not be negative, got -2 at row 0"),
    ({"sample_weight": np.zeros(20)}, "mse", ValueError, "sample_weight is zero for every row"),
    ({"sample_weight": BAD_Y}, "mse", ValueError, "sample_weight holds inf at row 4"),
    ({"sample_weight": np.where(np.arange(len(BAD_Y)) == 3, 1e300, 1.0)}, "mse", ValueError,
     r"sample_weight holds 1e\+300 at row 3, which is infinite in float32, whose largest number is 3.40282e"),
    ({"sample_weight": ["a"] * 20}, "mse", TypeError, "sample_weight must hold numbers"),
    ({"sample_weight": np.arange(20) < 10, "validation_split": 0.5}, "mse", ValueError,
     "sample_weight is zero for every validation row"),
    ({"sample_weight": np.arange(20) >= 10, "validation_split": 0.5}, "mse", ValueError,
     "sample_weight is zero for every training row"),
    ({"class_weight": "balanced"}, "mse", ValueError,
     "class_weight needs integer classes and a loss for them, got loss 'mse'"),
    ({"y": LABELS, "class_weight": "even"}, "cross_entropy", ValueError,
     "dict of class: weight or 'balanced', got 'even'"),
    ({"y": LABELS, "class_weight": [1, 2, 3]}, "cross_entropy", TypeError,
     r"class: weight or 'balanced', got \[1, 2, 3\]"),
    ({"y": LABELS, "class_weight": {3: 1.0}}, "cross_entropy", ValueError, r"names class 3; the classes are 0 \.\. 2"),
    ({"y": LABELS, "class_weight": {"a": 1.0}}, "cross_entropy", ValueError, "class_weight names class 'a'"),
    ({"y": LABELS, "class_weight": {0: -1.0}}, "cross_entropy", ValueError,
     r"class_weight\[0\] must be in \[0, inf\), got -1"),
    ({"y": LABELS, "class_weight": {0: 0, 1: 0, 2: 0}}, "cross_entropy", ValueError, "together are zero for every row"),
    ({"y": LABELS, "class_weight": {0: 1e300}}, "cross_entropy", ValueError,
     "class_weight times sample_weight holds inf at row 0"),
    ({"metrics": "acuracy"}, "mse", ValueError, "unknown metric 'acuracy'. Did you mean 'accuracy'?"),
    ({"metrics": [3]}, "mse", TypeError, "a metric must be a name or a function, got 3"),
    ({"callbacks": [3]}, "mse", TypeError,
     r"a callback must be a cnn.Callback or a function f\(network, epoch, logs\), got 3"),
    ({"callbacks": [cnn.EarlyStopping]}, "mse", TypeError, "a callback must be a cnn.Callback or a function"),
    ({"callbacks": cnn.EarlyStopping()}, "mse", TypeError, "callbacks must be a list of callbacks, got <"),
    ({"callbacks": None}, "mse", TypeError, "callbacks must be a list of callbacks, got None"),
    ({"callbacks": [cnn.EarlyStopping()]}, "mse", ValueError,
     r"EarlyStopping watches 'val_loss'.*\(give validation_split or"),
    ({"callbacks": [cnn.ReduceOnPlateau("f1")]}, "mse", ValueError,
     "ReduceOnPlateau watches 'f1', .*it has loss, rmse, learning"),
    ({"callbacks": [cnn.SaveModel("m.cnn", monitor="f1")]}, "mse", ValueError, "SaveModel watches 'f1'"),
    ({"callbacks": [cnn.SaveModel("none/m.cnn")]}, "mse", ValueError,
     "can't write to none/m.cnn: there is no folder none"),
    ({"callbacks": [cnn.SaveModel(".")]}, "mse", ValueError, "SaveModel can't write to .: that is a folder"),
    ({"callbacks": [cnn.CSVLogger(".")]}, "mse", ValueError, "CSVLogger can't write to .: that is a folder"),
    ({"callbacks": [cnn.CSVLogger("none/log.csv")]}, "mse", ValueError,
     "CSVLogger can't write to .*: there is no folder none"),
]  # fmt: skip


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize(("given", "loss", "kind", "text"), FIT, ids=[f"{'-'.join(row[0])}" for row in FIT])
def test_fit_refuses_before_anything_is_touched(given, loss, kind, text, built, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    net = network(loss, 3 if loss == "cross_entropy" else 1)
    if built:
        net.build(3)
    arguments = {"X": X, "y": LABELS if loss == "cross_entropy" else np.abs(np.sign(Y)), "verbose": 0, **given}
    state = {k: v for k, v in vars(net).items() if k != "history"}
    before = net.flat.tobytes() if built else b""
    with pytest.raises(kind, match=text):
        net.fit(arguments.pop("X"), arguments.pop("y"), **arguments)
    assert len(net.history) == 0
    assert (net.known_inputs, net.step) == (3 if built else None, 0)
    assert {k: v for k, v in vars(net).items() if k != "history"} == state
    assert not built or net.flat.tobytes() == before
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")
    assert threads.fits() == 0


OTHERS: list[tuple[Any, type[Exception], str]] = [
    (lambda: cnn.Network([]), ValueError, "the last layer must be a cnn.Dense, got 'no layers'"),
    (lambda: cnn.Network(cnn.Dense(1)), TypeError, "layers must be a list of layers such as"),
    (lambda: cnn.Network(3), TypeError, "layers must be a list of layers such as"),
    (lambda: cnn.Network([8, 1]), TypeError,
     "layers must be cnn.Dense, cnn.Dropout, cnn.Scale, cnn.LayerNorm, cnn.BatchNorm, cnn.PReLU, "
     "cnn.ParametricActivation, cnn.NumericEmbedding, cnn.PiecewiseEmbedding, cnn.CategoryEmbedding, "
     "cnn.GaussianNoise, cnn.Add, cnn.Conv2D, cnn.DepthwiseConv2D, cnn.Conv1D, cnn.MaxPool2D, cnn.MaxPool1D, "
     "cnn.AvgPool2D, cnn.AvgPool1D, cnn.GlobalAvgPool2D, cnn.GlobalAvgPool1D, cnn.GlobalMaxPool2D, "
     "cnn.GlobalMaxPool1D, cnn.Flatten or cnn.Residual, got 8"),
    (lambda: cnn.Network([cnn.Dense(2), cnn.Dropout(0.5)]), ValueError,
     "the last layer must be a cnn.Dense, got Dropout"),
    (lambda: cnn.Network([cnn.Dense(1)], loss="msee"), ValueError, "unknown loss 'msee'. Did you mean 'mse'"),
    (lambda: cnn.Network([cnn.Dense(1)], loss=3), TypeError, "loss must be a name or a cnn.Loss, got 3"),
    (lambda: cnn.Network([cnn.Dense(1)], optimizer="adm"), ValueError, "unknown optimizer 'adm'. Did you mean 'adam'"),
    (lambda: cnn.Network([cnn.Dense(1)], optimizer=3), TypeError, "optimizer must be a name or a cnn.Optimizer, got 3"),
    (lambda: cnn.Network([cnn.Dense(1)], dtype="float16"), ValueError,
     "dtype must be 'float32' or 'float64', got 'float16'"),
    (lambda: cnn.Network([cnn.Dense(1)], dtype="nonsense"), ValueError,
     "dtype must be 'float32' or 'float64', got 'nonsense'"),
    (lambda: cnn.Network([cnn.Dense(1)], dtype=None), ValueError, "dtype must be 'float32' or 'float64', got None"),
    (lambda: cnn.Network([cnn.Dense(1)], seed=-1), ValueError, "seed must be an integer >= 0, got -1"),
    (lambda: cnn.Network([cnn.Dense(1)], seed=2**64), ValueError,
     r"seed must be an integer in \[0, 18446744073709551615\]"),
    (lambda: cnn.Network([cnn.Dense(1)], seed="a"), TypeError, "seed must be an integer >= 0, got 'a'"),
    (lambda: cnn.Network([cnn.Dense(1)], loss="cross_entropy"), ValueError,
     "cross_entropy needs an output for each class, got 1"),
    (lambda: cnn.Network([cnn.Dense(3, "softmax")]), ValueError,
     "softmax belongs on the last layer.*here it stands with loss="),
    (lambda: cnn.Network([cnn.Dense(3, "softmax"), cnn.Dense(3)], "cross_entropy"), ValueError,
     "before the last layer"),
    (lambda: cnn.Dense(8, "reul"), ValueError, "unknown activation 'reul'. Did you mean 'relu'"),
    (lambda: cnn.Dense(0), ValueError, "units must be an integer >= 1, got 0"),
    (lambda: cnn.Dropout(1.0), ValueError, r"rate of Dropout must be in \[0, 1\), got 1.0"),
    (lambda: network().build(0), ValueError, "n_inputs must be an integer >= 1, got 0"),
    (lambda: network().build(3).build(4), ValueError, "the network takes 3 inputs already, got n_inputs=4"),
    (lambda: cnn.Network([cnn.Dense(1, "auto")]).build(2), ValueError, "activation='auto' is chosen by the first fit"),
    (lambda: cnn.Network([cnn.Dense(2**16), cnn.Dense(2**15)]).build(1), ValueError,
     "a layer of 65,536 x 32,768 weights overflows the 32-bit integers of BLAS"),
    (lambda: cnn.Network([cnn.Dense(2**40)]).build(1), ValueError, "overflows the 32-bit integers of BLAS"),
    (lambda: network().predict(X), cnn.NotBuiltError,
     r"does not know its number of inputs: fit it, or call build\(n_inputs\)"),
    (lambda: network().evaluate(X, Y), cnn.NotBuiltError, "does not know its number of inputs"),
    (lambda: network().forward(X), cnn.NotBuiltError, "does not know its number of inputs"),
    (lambda: network().get_weights(), cnn.NotBuiltError, "does not know its number of inputs"),
    (lambda: network().layers[0].weights, cnn.NotBuiltError, "does not know its number of inputs"),
    (lambda: network().layers[0].n_inputs, cnn.NotBuiltError, "does not know its number of inputs"),
    (lambda: network().summary(), cnn.NotBuiltError, "does not know its number of inputs"),
    (lambda: network().save("m.cnn"), cnn.NotBuiltError, "does not know its number of inputs"),
    (lambda: cnn.diagnose(network(), X, Y), cnn.NotBuiltError, "does not know its number of inputs"),
    (lambda: network().build(3).layers[0].colour, AttributeError, "no attribute 'colour'"),
    (lambda: network().layers[0]._secret, AttributeError, "_secret"),
    (lambda: cnn.Network([cnn.Dropout(0.1), cnn.Dense(1)]).build(2).layers[0].weights, AttributeError,
     "has no weights"),
    (lambda: network().build(3).predict(X[:, :2]), ValueError, "X has 2 columns, but the network takes 3 inputs"),
    (lambda: network().build(3).predict(BAD_X), ValueError, "X holds nan at row 7, column 2"),
    (lambda: network().build(3).predict(X, n_threads=0), ValueError, "n_threads must be an integer >= 1, got 0"),
    (lambda: network().build(3).loss_and_gradient(X, Y, n_threads=0), ValueError,
     "n_threads must be an integer >= 1, got 0"),
    (lambda: network().build(3).predict_classes(X), ValueError,
     "needs a loss for classes; this network was made with 'mse'"),
    (lambda: network().build(3).evaluate(X[:0], Y[:0]), ValueError, "X has no rows"),
    (lambda: network().build(3).set_weights([1]), TypeError, "weights must be a mapping of names to arrays, got list"),
    (lambda: network().build(3).set_weights({"layers.0.weigths": 1}), ValueError,
     "unknown parameter 'layers.0.weigths'. Did you mean 'layers.0.weights'"),
    (lambda: network().build(3).set_weights({"layers.0.biases": [1, 2]}), ValueError,
     r"must have shape \(4,\), got \(2,\)"),
    (lambda: network().build(3).set_weights({"layers.0.biases": [0] * 4}), ValueError,
     "no value for layers.0.weights, layers.1"),
    (lambda: network().build(3).update({}), ValueError, "no gradient for layers.0.weights; there must be one for"),
    (lambda: network().build(3).update({name: [1] for name in network().build(3).parameters}), ValueError,
     r"the gradient for layers.0.weights must have shape \(3, 4\), got \(1,\)"),
    (lambda: network().build(3).update({n: p * np.nan for n, p in network().build(3).parameters.items()}), ValueError,
     "the gradient for layers.0.weights holds nan at row 0, column 0"),
    (lambda: network().build(3).update(network().build(3).get_weights(), learning_rate=-1), ValueError,
     "learning_rate must be in"),
    (lambda: network().build(3).backward(X), RuntimeError,
     r"backward needs the forward pass before it: call forward\(X\) first"),
    (lambda: network().build(3).gradients, RuntimeError, "there are no gradients yet"),
    (lambda: cnn.EarlyStopping(monitor=3), TypeError, "monitor must be a name such as 'val_loss', got 3"),
    (lambda: cnn.EarlyStopping(mode="up"), ValueError, "mode must be 'auto', 'min' or 'max', got 'up'"),
    (lambda: cnn.EarlyStopping(patience=0), ValueError, "patience must be an integer >= 1, got 0"),
    (lambda: cnn.EarlyStopping(min_delta=-1), ValueError, r"min_delta must be in \[0, inf\), got -1"),
    (lambda: cnn.ReduceOnPlateau(factor=1.0), ValueError, r"factor must be in \(0, 1\), got 1.0"),
    (lambda: cnn.SaveModel("m", every=0), ValueError, "every must be an integer >= 1, got 0"),
    (lambda: cnn.diagnose(network().build(3), X, Y, max_rows=0), ValueError, "max_rows must be an integer >= 1, got 0"),
    (lambda: cnn.diagnose(network().build(3), X, Y, validation_data=(X,)), ValueError, "validation_data must be"),
    (lambda: cnn.gradient_check(network().build(3), X, Y, step=0), ValueError, r"step must be in \(0, inf\), got 0"),
    (lambda: cnn.gradient_check(network().build(3), X, Y, n=0), ValueError, "n must be an integer >= 1, got 0"),
    (lambda: cnn.History().loss, AttributeError, "this history has no 'loss'; it has no epochs yet"),
    (lambda: checks.flag("use_bias", 1), TypeError, "use_bias must be True or False, got 1 of type int"),
    (lambda: checks.number("x", float("nan")), ValueError, r"x must be in \(-inf, inf\), got nan"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "text"), OTHERS, ids=range(len(OTHERS)))
def test_the_others(call, kind: type[Exception], text: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=text):
        call()
    assert list(tmp_path.iterdir()) == []


def test_dout_has_the_shape_of_the_outputs() -> None:
    net = network().build(3)
    net.forward(X)
    with pytest.raises(ValueError, match=r"dout must have the shape of the outputs, \(20, 1\), got \(20,\)"):
        net.backward(Y)


def test_weights_are_set_all_or_none() -> None:
    net = network().build(3)
    before = net.flat.copy()
    with pytest.raises(ValueError, match="must have shape"):
        net.set_weights({"layers.0.biases": np.ones(4), "layers.1.biases": np.ones(9)}, partial=True)
    assert net.flat.tobytes() == before.tobytes()


def test_missing_extras_say_what_to_install(monkeypatch) -> None:
    history = network().fit(X, Y, epochs=1, verbose=0)
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    monkeypatch.setitem(__import__("sys").modules, "cnn._common.figure", None)
    with pytest.raises(ImportError, match=re.escape("(extra 'pandas'): pip install pandas")):
        history.to_frame()
    with pytest.raises(ImportError, match=re.escape("(extra 'plot'): pip install matplotlib")):
        history.plot()


def literal(node: ast.expr) -> str:
    """A raise's text as a pattern: what is filled in becomes a wildcard."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.escape(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(literal(v) if isinstance(v, ast.Constant) else ".*" for v in node.values)
    return ".*"


def raised_texts() -> list[tuple[str, list[str]]]:
    """(place, fixed parts of the text) of every error raised in the files whose checks are tested here."""
    found = []
    for name in (
        "_common/checks", "files/states", "runtime/data", "runtime/state", "runtime/layer_view", "runtime/plan",
        "network", "streams/arrays", "streams/batches", "streams/parquet", "training/stream", "training/stream_loop",
        "callbacks/callback", "callbacks/monitors", "callbacks/output", "training/fit", "training/loop",
        "training/position", "training/checkpoint",
        "training/resume", "inspect/diagnosis", "inspect/gradient_check",
    ):  # fmt: skip
        path = Path(cnn.__file__).parent / f"{name}.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                parts = literal(node.exc.args[0]).replace("\\", "").split(".*")
                found.append((f"{name}.py:{node.lineno}", parts))
    return found


def test_every_text_is_asked_for_somewhere() -> None:
    """Each error's fixed words, or some of them, stand in a test; a new check without one fails here."""
    files = Path(__file__).parent.glob("test_*.py")
    tests = "".join(path.read_text(encoding="utf-8") for path in files).replace("\\", "")
    missing = []
    for place, parts in raised_texts():
        runs = [" ".join(words[i : i + 3]) for words in map(str.split, parts) for i in range(len(words) - 2)]
        if runs and not any(run in tests for run in runs):
            missing.append((place, parts))
    assert missing == []
