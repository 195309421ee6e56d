"""`Scale`, a kind of layer that is neither dense nor a mask, in every way through the engine: beside the reference."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import ReferenceTraining, compiled, reference_gradient
from scipy import sparse

import cnn

NARROW = [
    [cnn.Scale("normal"), cnn.Dense(7, "tanh"), cnn.Dense(2)],
    [cnn.Dense(7, "gelu"), cnn.Scale("uniform"), cnn.Dense(2)],
    [cnn.Dropout(0.2), cnn.Scale("normal"), cnn.Scale("normal"), cnn.Dropout(0.3), cnn.Dense(20, "mish"),
     cnn.Dropout(0.1), cnn.Scale("normal"), cnn.Dropout(0.2), cnn.Dense(2, use_bias=False)],
]  # fmt: skip
WIDE = [[cnn.Dense(230, "relu"), *layers[:-1], cnn.Dense(310, "silu"), layers[-1]] for layers in NARROW]
WIDE += [[cnn.Scale("normal"), cnn.Dense(300, "tanh"), cnn.Dense(300, "relu"), cnn.Dense(2)]]
ALL = [*NARROW, *WIDE]


def data(n: int, columns: int = 9) -> tuple[Any, Any]:
    rng = np.random.default_rng(n)
    return rng.normal(size=(n, columns)), rng.normal(size=(n, 2))


def network(layers: list[cnn.layers.Layer], dtype: str = "float64") -> cnn.Network:
    return cnn.Network(layers, optimizer=cnn.Adam(0.01), dtype=dtype, seed=3).build(9)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("layers", ALL, ids=range(len(ALL)))
def test_gradient_agrees_with_the_reference(layers: list[cnn.layers.Layer], training: bool) -> None:
    net = network(layers)
    X, y = data(203)
    loss, gradient = net.loss_and_gradient(X, y, training=training)
    expected, reference = reference_gradient(net, X, y, training=training)
    assert loss == pytest.approx(expected, rel=1e-12)
    assert set(gradient) == set(reference)
    for name, found in gradient.items():
        np.testing.assert_allclose(found, reference[name], rtol=1e-9, atol=1e-12, err_msg=name)
    out = net.forward(X, training=training)
    dX = net.backward(2 * (out - y) / y.size)
    step = 1e-6 * np.eye(9)[4]
    if not training:
        numeric = [(((net.forward(X + s) - y) ** 2).mean() - ((net.forward(X - s) - y) ** 2).mean()) for s in [step]]
        np.testing.assert_allclose(dX[:, 4].sum(), numeric[0] / 2e-6, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("n", [1, 15, 17, 4001])
@pytest.mark.parametrize("layers", ALL, ids=range(len(ALL)))
def test_gradient_in_float32_is_that_of_float64(layers: list[cnn.layers.Layer], n: int) -> None:
    """Whatever part of a vector is empty; sums lose no more than those of biases do."""
    X, y = data(n)
    single, double = (network(layers, dtype) for dtype in ("float32", "float64"))
    double.set_weights(single.get_weights())
    rounded = X.astype(np.float32), y.astype(np.float32)
    found, expected = single.loss_and_gradient(*rounded)[1], double.loss_and_gradient(*rounded)[1]
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-4, atol=1e-5 * np.abs(gradient).max(), err_msg=name)


@pytest.mark.parametrize("layers", ALL, ids=range(len(ALL)))
def test_steps_agree_with_the_reference_and_threads_change_no_bit(layers: list[cnn.layers.Layer]) -> None:
    nets = [network(layers) for _ in range(2)]
    X, y = data(150)
    training = ReferenceTraining(nets[0])
    for begin in range(0, 150, 50):
        training.step(0.01, X[begin : begin + 50], y[begin : begin + 50])
    for net, n_threads in zip(nets, (1, 3), strict=True):
        net.fit(X, y, epochs=1, batch_size=50, shuffle=False, verbose=0, n_threads=n_threads)
    for name, expected in training.weights().items():
        np.testing.assert_allclose(nets[0].parameters[name], expected, rtol=1e-7, atol=1e-10, err_msg=name)
    assert nets[0].flat.tobytes() == nets[1].flat.tobytes()


@pytest.mark.parametrize("n", [1, 3, 8, 9, 130, 2000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layers", ALL, ids=range(len(ALL)))
def test_predictions_are_numpys(layers: list[cnn.layers.Layer], dtype: str, n: int) -> None:
    net = network(layers, dtype)
    X = data(n)[0]
    a = X
    weights = {name: value.astype(float) for name, value in net.get_weights().items()}
    f = {"tanh": np.tanh, "relu": lambda z: np.maximum(z, 0), "silu": lambda z: z / (1 + np.exp(-z)),
         "mish": lambda z: z * np.tanh(np.log1p(np.exp(z))), "identity": lambda z: z}  # fmt: skip
    for i, layer in enumerate(net.descriptions):
        if isinstance(layer, cnn.Scale):
            a = a * weights[f"layers.{i}.weights"]
        elif isinstance(layer, cnn.Dense):
            z = a @ weights[f"layers.{i}.weights"] + weights.get(f"layers.{i}.biases", 0)
            a = net.layer_outputs(X)[i] if layer.activation == "gelu" else f[layer.activation](z)
    bound = 1e-11 if dtype == "float64" else 2e-4
    np.testing.assert_allclose(net.predict(X), a, rtol=bound, atol=bound)
    np.testing.assert_allclose(net.layer_outputs(X)[-1], a, rtol=bound, atol=bound)
    assert net.predict(X, n_threads=2).tobytes() == net.predict(X, n_threads=1).tobytes()


def test_it_is_kept_and_exported(tmp_path: Path) -> None:
    first = cnn.Scale("normal", learning_rate_factor=6)
    net = network([first, cnn.Dense(5, "tanh"), cnn.Scale("normal"), cnn.Dense(2)])
    X = data(20)[0]
    net.save(tmp_path / "m.cnn")
    again = cnn.load(tmp_path / "m.cnn", cnn.Network)
    assert again.descriptions == net.descriptions
    assert again.predict(X).tobytes() == net.predict(X).tobytes()
    source, _ = cnn.export_c(net, tmp_path)
    library = compiled(tmp_path, source.read_text())
    x, out = np.ascontiguousarray(X[0]), np.empty(2)
    pointer = ctypes.POINTER(ctypes.c_double)
    library.model_predict(x.ctypes.data_as(pointer), out.ctypes.data_as(pointer))
    np.testing.assert_allclose(out, net.predict(X)[0], rtol=1e-11)


def test_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    net = network([cnn.Scale("normal"), cnn.Dense(5, "tanh"), cnn.Scale("normal"), cnn.Dense(2)])
    cnn.export_onnx(net, tmp_path / "m.onnx")
    X = data(20)[0]
    (found,) = runtime.InferenceSession(tmp_path / "m.onnx").run(None, {"X": X})
    np.testing.assert_allclose(found, net.predict(X), rtol=1e-11)


def test_what_can_not_be_is_said() -> None:
    net = network([cnn.Scale(), cnn.Dense(2)])
    with pytest.raises(ValueError, match=r"sparse X needs a cnn\.Dense as the first layer, but for dropouts"):
        net.fit(sparse.csr_array(np.ones((4, 9))), np.ones((4, 2)), verbose=0)
    with pytest.raises(ValueError, match=r"sparse X needs a cnn\.Dense as the first layer"):
        net.predict(sparse.csr_array(np.ones((4, 9))))
    with pytest.raises(ValueError, match="initializer of Scale must be one of uniform, normal, zeros, ones, constant"):
        cnn.Scale("he_normal")
    with pytest.raises(ValueError, match="learning_rate_factor of Scale must be"):
        cnn.Scale(learning_rate_factor=-1)
    with pytest.raises(ValueError, match=r"the last layer must be a cnn\.Dense, got Scale"):
        cnn.Network([cnn.Dense(2), cnn.Scale()])
    with pytest.raises(ValueError, match="Scale"):
        cnn.to_sklearn(net)


def test_a_layers_own_rate() -> None:
    """Nothing but the factors learns where the dense layers have the rate 0."""
    X = np.random.default_rng(0).normal(size=(500, 4))
    net = cnn.Network([cnn.Scale(), cnn.Dense(1, learning_rate_factor=0)], optimizer=cnn.SGD(0.3), seed=0).build(4)
    before = net.get_weights()
    net.fit(X, X[:, 1], epochs=300, verbose=0)
    assert np.array_equal(before["layers.1.weights"], net.layers[1].weights)
    product = net.layers[0].weights * net.layers[1].weights[:, 0]
    np.testing.assert_allclose(product, [0, 1, 0, 0], atol=1e-3)


def test_diagnosis_looks_through_it() -> None:
    net = network(NARROW[2])
    X, y = data(50)
    gradients = net.loss_and_gradient(X, y)[1]
    found = cnn.diagnose(net, X, y).layers
    assert [layer.name for layer in found] == ["layers.4", "layers.8"]
    for layer in found:
        assert layer.weight_gradient == pytest.approx(np.linalg.norm(gradients[f"{layer.name}.weights"]), rel=1e-9)
