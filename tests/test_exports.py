"""Networks elsewhere: ONNX Runtime, a C compiler, PyTorch and scikit-learn give what `predict` gives."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from helpers import ACTIVATIONS, run_tool

import cnn
import cnn_core
from cnn.export import pytorch
from cnn.export.functions import ACTIVATIONS as FUNCTIONS
from cnn.export.functions import LINKS

X = np.random.default_rng(0).normal(size=(20, 5)) * 2


def network(activation: str = "tanh", loss: str = "mse", outputs: int = 2, **changes: Any) -> cnn.Network:
    net = cnn.Network([cnn.Dense(7, activation), cnn.Dropout(0.2), cnn.Dense(outputs)], loss=loss, seed=1, **changes)
    return net.build(5)


def test_random_networks_agree_in_onnx_and_c() -> None:
    """In short; the long run is the command."""
    run_tool("export_test.py", "--count", "15", "--seed", "7")


def test_every_activation_and_link_is_known() -> None:
    assert set(FUNCTIONS) == set(ACTIVATIONS)
    assert set(LINKS) == {link.name.lower() for link in cnn_core.Link}


@dataclass(frozen=True)
class Twice(cnn.layers.Layer):
    """A layer that no export knows."""


@pytest.mark.parametrize(("export", "text"), [
    (lambda net, path: cnn.export_onnx(net, path / "m.onnx"), "is not known to export_onnx"),
    (lambda net, path: cnn.export_c(net, path), "is not known to export_c"),
    (lambda net, path: cnn.to_torch_state_dict(net), "is not known as a module of PyTorch"),
    (lambda net, path: cnn.to_torch(net), "is not known as a module of PyTorch"),
    (lambda net, path: cnn.from_torch_state_dict(net, {"0.weight": np.ones((1, 5))}), "is not known as a module"),
    (lambda net, path: cnn.to_sklearn(net), "scikit-learn has no network with such a layer"),
])  # fmt: skip
def test_an_unknown_layer_is_named_and_never_left_out(export: Any, text: str, tmp_path, monkeypatch) -> None:
    for package in ("onnx", "sklearn"):
        pytest.importorskip(package)
    if torch is None:
        monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(from_numpy=lambda array: array, nn=Recorded()))
    net = network()
    net.descriptions = (net.descriptions[0], Twice(), net.descriptions[2])
    with pytest.raises(ValueError, match=text) as caught:
        export(net, tmp_path)
    assert "layer 1, Twice()" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("export", [cnn.export_onnx, cnn.export_c])
def test_what_is_no_model_is_refused(export: Any, tmp_path) -> None:
    with pytest.raises(TypeError, match="takes a Network, an estimator or a TableModel, got Dense"):
        export(cnn.Dense(1), tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_onnx_has_every_activation(activation: str, dtype: str, tmp_path) -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    net = network(activation, dtype=dtype)
    cnn.export_onnx(net, tmp_path / "m.onnx")
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    for rows in (X, X[:1], X[:0]):
        (found,) = session.run(None, {"X": rows.astype(dtype)})
        np.testing.assert_allclose(found, net.predict(rows), rtol=1e-5, atol=1e-5)
        assert found.dtype == dtype


@pytest.mark.parametrize("name", ["a-b", "A", "1a", "int", "a;b", "", "../a", "a" * 50, "é", None, "a\n"])
def test_c_names_are_identifiers(name: Any, tmp_path) -> None:
    with pytest.raises(ValueError, match="name must be a C identifier"):
        cnn.export_c(network(), tmp_path / "c", name)
    assert list(tmp_path.iterdir()) == []


def test_c_refuses_what_it_can_not_say(tmp_path) -> None:
    net = network()
    net.layers[0].weights[0, 0] = np.nan
    with pytest.raises(ValueError, match="weights that are not finite"):
        cnn.export_c(net, tmp_path)
    with pytest.raises(cnn.NotBuiltError):
        cnn.export_c(cnn.Network([cnn.Dense(1)]), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_same_network_is_the_same_c(tmp_path) -> None:
    source, header = cnn.export_c(network(), tmp_path, "net_1")
    texts = source.read_text(), header.read_text()
    cnn.export_c(network(), tmp_path, "net_1")
    assert (source.read_text(), header.read_text()) == texts
    assert "void net_1_predict(const float *x, float *y);" in texts[1]
    assert "malloc" not in texts[0]


# PyTorch --------------------------------------------------------------------------------------------------------------


try:
    import torch
except ImportError:
    torch = None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_sequential(dtype: str, monkeypatch) -> None:
    """By torch.nn.Linear's formula, y = x Aᵀ + b with A (outputs, inputs), and by PyTorch itself where it is."""
    net = cnn.Network([cnn.Dense(7, "tanh"), cnn.Dropout(0.2), cnn.Dense(4, use_bias=False), cnn.Dense(3)],
                      loss="cross_entropy", dtype=dtype, seed=1).build(5)  # fmt: skip
    net.layers[0].biases[...] = np.linspace(-1, 1, 7)
    if torch is None:  # of which nothing else is used
        monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(from_numpy=lambda array: array))
    state = cnn.to_torch_state_dict(net)
    arrays = {name: np.asarray(value) for name, value in state.items()}
    # Linear, Tanh, Dropout, Linear, Linear
    assert {name: value.shape for name, value in arrays.items()} == {
        "0.weight": (7, 5), "0.bias": (7,), "3.weight": (4, 7), "4.weight": (3, 4), "4.bias": (3,)
    }  # fmt: skip
    assert {value.dtype.name for value in arrays.values()} == {dtype}
    assert all(value.flags.c_contiguous for value in arrays.values())
    hidden = np.tanh(X @ arrays["0.weight"].T + arrays["0.bias"])
    out = hidden @ arrays["3.weight"].T @ arrays["4.weight"].T + arrays["4.bias"]
    tolerance = {"rtol": 1e-10} if dtype == "float64" else {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(net.forward(X), out, **tolerance)
    again = cnn.Network(net.descriptions, loss="cross_entropy", dtype=dtype)
    for given in (state, arrays, {f"model.net.{name}": value for name, value in state.items()}):
        assert cnn.from_torch_state_dict(again, given).predict(X).tobytes() == net.predict(X).tobytes()
    arrays["0.weight"][0, 0] += 1  # a copy: the network does not follow
    assert again.predict(X).tobytes() == net.predict(X).tobytes()
    if torch is not None:
        nn = torch.nn
        model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Dropout(0.2), nn.Linear(7, 4, bias=False), nn.Linear(4, 3))
        model.to(getattr(torch, dtype)).eval().load_state_dict(cnn.to_torch_state_dict(net))
        with torch.no_grad():
            found = model(torch.from_numpy(X.astype(dtype))).numpy()
        np.testing.assert_allclose(found, net.forward(X), **tolerance)
        assert cnn.from_torch_state_dict(again, model.state_dict()).predict(X).tobytes() == net.predict(X).tobytes()


class Recorded:
    """Stands in for torch.nn where PyTorch is not: modules that tell how they were made."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **how: (name, *args, *(how[key] for key in sorted(how) if key != "dtype"))

    class Sequential(list):
        def __init__(self, *modules: Any) -> None:
            super().__init__(modules)

        def load_state_dict(self, state: Any) -> None:
            self.state = state

        def eval(self) -> Any:
            return self


def modules(given: cnn.Activation) -> dict[str, Any]:
    """Those that PyTorch has, with their arguments."""
    return {
        "identity": None, "sigmoid": ("Sigmoid",), "tanh": ("Tanh",), "relu": ("ReLU",), "relu6": ("ReLU6",),
        "leaky_relu": ("LeakyReLU", given.alpha or 0.01), "elu": ("ELU", given.alpha or 1.0), "selu": ("SELU",),
        "celu": ("CELU", given.alpha or 1.0), "gelu": ("GELU",), "gelu_tanh": ("GELU", "tanh"), "silu": ("SiLU",),
        "mish": ("Mish",), "softplus": ("Softplus",), "softsign": ("Softsign",), "hard_sigmoid": ("Hardsigmoid",),
        "hard_swish": ("Hardswish",), "hard_tanh": ("Hardtanh",),
    }  # fmt: skip


def test_what_pytorch_has_no_module_for_is_named(monkeypatch) -> None:
    """Its weights have names: one's own module may stand there."""
    if torch is None:
        monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(from_numpy=lambda array: array, nn=Recorded()))
    monkeypatch.delitem(pytorch.TORCH, "mish")
    with pytest.raises(ValueError, match="PyTorch has no module for the activation mish"):
        cnn.to_torch(network("mish"))
    assert list(cnn.to_torch_state_dict(network("mish"))) == ["0.weight", "0.bias", "3.weight", "3.bias"]


@pytest.mark.parametrize("activation", [*pytorch.TORCH, "identity", *map(cnn.Activation, ("leaky_relu", "elu", "celu"),
                                                                     (0.3, 2.0, 0.5))])  # fmt: skip
def test_modules_of_pytorch(activation: Any, monkeypatch) -> None:
    """The classes and arguments of PyTorch's documentation; where it is installed, its own numbers."""
    net = cnn.Network([cnn.Dense(6, activation), cnn.Dropout(0.25), cnn.Dense(2, use_bias=False)], dtype="float64",
                      seed=3).build(5)  # fmt: skip
    if torch is not None:
        model = cnn.to_torch(net)
        assert isinstance(model, torch.nn.Sequential)
        assert not model.training
        with torch.no_grad():
            np.testing.assert_allclose(model(torch.from_numpy(X)).numpy(), net.forward(X), rtol=1e-7, atol=1e-8)
        again = cnn.Network(net.descriptions, dtype="float64")
        assert np.array_equal(cnn.from_torch_state_dict(again, model).predict(X), net.predict(X))
        return
    fake = types.SimpleNamespace(from_numpy=lambda array: array, nn=Recorded())
    monkeypatch.setitem(sys.modules, "torch", fake)
    given = activation if isinstance(activation, cnn.Activation) else cnn.Activation(activation)
    module = modules(given)[given.name]
    wanted = [("Linear", 5, 6, True), module, ("Dropout", 0.25), ("Linear", 6, 2, False)]
    model = cnn.to_torch(net)
    assert model == [found for found in wanted if found is not None]
    assert {name: value.tolist() for name, value in model.state.items()} == {
        name: value.tolist() for name, value in cnn.to_torch_state_dict(net).items()
    }


def test_state_dicts_of_modules_with_names_of_their_own() -> None:
    """A Linear for each Dense: as they stand, or by number."""
    rng = np.random.default_rng(0)
    net = cnn.Network([cnn.Dense(4, "relu"), cnn.Dropout(0.1), cnn.Dense(4, "tanh"), cnn.Dense(4)], dtype="float64")
    A, B, C = (rng.normal(size=(4, 4)) for _ in range(3))
    a, b, c = (rng.normal(size=4) for _ in range(3))
    wanted = np.tanh(np.maximum(X[:, :4] @ A.T + a, 0) @ B.T + b) @ C.T + c
    for first, second, third in (("0", "2", "10"), ("fc1", "fc2", "fc3"), ("net.hidden", "net.mix", "net.head"),
                                 ("body.0.lin", "body.1.lin", "body.2.lin"), ("b", "a", "out")):  # fmt: skip
        state = {f"{first}.weight": A, f"{first}.bias": a, f"{second}.weight": B, f"{second}.bias": b,
                 f"{third}.weight": C, f"{third}.bias": c}  # fmt: skip
        np.testing.assert_allclose(cnn.from_torch_state_dict(net, state).predict(X[:, :4]), wanted, rtol=1e-12)
        module = types.SimpleNamespace(state_dict=lambda state=state: state)
        np.testing.assert_allclose(cnn.from_torch_state_dict(net, module).predict(X[:, :4]), wanted, rtol=1e-12)
    # As a file sorts its names: 10 stands before 2.
    state = {"fc10.weight": C, "fc10.bias": c, "fc2.weight": B, "fc2.bias": b, "fc1.weight": A, "fc1.bias": a}
    np.testing.assert_allclose(cnn.from_torch_state_dict(net, state).predict(X[:, :4]), wanted, rtol=1e-12)
    before = net.get_weights()
    for state, text in [
        ({"fc2.weight": A, "fc2.bias": a, "fc1.weight": B, "fc1.bias": b, "out.weight": C, "out.bias": c},
         "has 'fc2' before 'fc1'; give modules in the order of the layers"),
        ({"fc1.weight": A, "fc1.bias": a, "fc2.weight": B, "fc2.bias": b}, "one Linear for each Dense"),
        ({"fc1.weight": A, "fc1.bias": a, "norm.weight": a, "norm.bias": b, "norm.running_mean": b, "fc2.weight": B,
          "fc2.bias": b, "fc3.weight": C, "fc3.bias": c}, "one Linear for each Dense"),
        ({"fc1.weight": A, "fc2.weight": B, "fc2.bias": b, "fc3.weight": C, "fc3.bias": c}, "one Linear for each"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=text):
            cnn.from_torch_state_dict(net, state)
        assert all(np.array_equal(value, before[name]) for name, value in net.get_weights().items())


def test_state_dicts_that_do_not_fit() -> None:
    net = cnn.Network([cnn.Dense(2, "relu"), cnn.Dense(1)])
    good = {"0.weight": np.ones((2, 3)), "0.bias": np.ones(2), "2.weight": np.ones((1, 2)), "2.bias": np.ones(1)}
    for state, kind, text in [
        ({**good, "1.weight": 1}, ValueError, "the state dict must hold 0.bias, 0.weight, 2.bias, 2.weight, got"),
        ({**good, "0.weight": np.ones(3)}, ValueError, "weights of the first layer must be a matrix"),
        ({**good, "2.weight": np.ones((1, 3))}, ValueError, "must have shape"),
        ({**good, "0.bias": np.array(["a", "b"])}, TypeError, "0.bias must hold numbers, got dtype"),
        ([1], TypeError, "state must be a mapping of names to tensors"),
    ]:  # fmt: skip
        with pytest.raises(kind, match=text):
            cnn.from_torch_state_dict(net, state)
        assert net.known_inputs is None
    assert cnn.from_torch_state_dict(net, good).predict(np.ones((1, 3))).item() == 9


# scikit-learn ---------------------------------------------------------------------------------------------------------

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("case", ["binary", "classes", "labels", "value", "values"])
def test_scikit_learn_and_back(case: str, activation: str) -> None:
    neural = pytest.importorskip("sklearn.neural_network")
    rng = np.random.default_rng(0)
    y = {"binary": X[:, 0] > 0, "classes": rng.choice(["a", "b", "c"], 20), "labels": rng.integers(0, 2, (20, 3)),
         "value": X[:, 0], "values": X[:, :2]}[case]  # fmt: skip
    cls = neural.MLPRegressor if case.startswith("value") else neural.MLPClassifier
    theirs = cls(hidden_layer_sizes=(6, 4), activation=activation, max_iter=5, random_state=0, solver="sgd",
                 learning_rate="invscaling")  # fmt: skip
    theirs.fit(X, y)
    net = cnn.from_sklearn(theirs)
    expected = theirs.predict_proba(X) if cls is neural.MLPClassifier else theirs.predict(X)
    found = net.predict(X)
    np.testing.assert_allclose(found, expected[:, 1] if case == "binary" else expected, rtol=1e-10)
    assert net.dtype == np.float64
    assert isinstance(net.optimizer, cnn.SGD)
    labels = None if case in ("labels", "value", "values") else theirs.classes_
    back = cnn.to_sklearn(net, labels)
    assert type(back) is cls
    np.testing.assert_allclose(
        back.predict_proba(X) if cls is neural.MLPClassifier else back.predict(X), expected, rtol=1e-10
    )
    np.testing.assert_array_equal(back.predict(X), theirs.predict(X))
    back.partial_fit(X, y)


def test_what_scikit_learn_does_not_have() -> None:
    neural = pytest.importorskip("sklearn.neural_network")
    for net, text in [
        (network("gelu"), "no network with the activations gelu, identity"),
        (network(loss="poisson"), "know no loss 'poisson'"), (network(loss="hinge"), "know no loss 'hinge'"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=text):
            cnn.to_sklearn(net)
    with pytest.raises(ValueError, match="is not one for classes"):
        cnn.to_sklearn(network(), [0, 1])
    for classes in ([1, 0], [0, 0], [0, 1, 2]):
        with pytest.raises(ValueError, match="classes must be 2 different labels in ascending order"):
            cnn.to_sklearn(network(loss="cross_entropy"), classes)
    with pytest.raises(TypeError, match="takes an MLPClassifier or MLPRegressor, got Network"):
        cnn.from_sklearn(network())
    with pytest.raises(ValueError, match="the estimator is not fitted"):
        cnn.from_sklearn(neural.MLPRegressor())
    assert cnn.to_sklearn(network("relu", "mae")).predict(X).shape == (20, 2)


@pytest.mark.parametrize(("call", "module", "text"), [
    (lambda path: cnn.export_onnx(network(), path), "onnx", r"needs onnx \(extra 'onnx'\): pip install onnx"),
    (lambda path: cnn.to_torch_state_dict(network()), "torch", "needs PyTorch"),
    (lambda path: cnn.to_torch(network()), "torch", "to_torch needs PyTorch"),
    (lambda path: cnn.to_sklearn(network()), "sklearn.neural_network", "needs scikit-learn"),
])  # fmt: skip
def test_missing_packages_are_named(call: Any, module: str, text: str, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=text):
        call(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []
