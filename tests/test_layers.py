"""Every kind of layer that is neither dense nor a dropout, in every way through the engine: beside the reference."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import image_networks
import numpy as np
import pytest
import reference
from helpers import ONLY_TRAINING, ReferenceTraining, compiled, reference_gradient, reference_layers

import cnn
from cnn.layers import KINDS, Layer

# Hidden layers behind n inputs. Each stands in a narrow network, and between two layers of a wide one.
STACKS: dict[str, Callable[[int], list[Layer]]] = {
    "scale first": lambda n: [cnn.Scale("normal"), cnn.Dense(7, "tanh")],
    "scale": lambda n: [cnn.Dense(7, "gelu"), cnn.Scale("uniform")],
    "scales among dropouts": lambda n: [
        cnn.Dropout(0.2), cnn.Scale("normal"), cnn.Scale("normal"), cnn.Dropout(0.3), cnn.Dense(20, "mish"),
        cnn.Dropout(0.1), cnn.Scale("normal"), cnn.Dropout(0.2)],
    "norm first": lambda n: [cnn.LayerNorm(), cnn.Dense(7, "tanh")],
    "norms among dropouts": lambda n: [
        cnn.Dropout(0.2), cnn.LayerNorm(0.1), cnn.LayerNorm(), cnn.Dense(20, "mish"), cnn.Dropout(0.1),
        cnn.LayerNorm(1e-3, learning_rate_factor=3), cnn.Dropout(0.2)],
    "batch norm first": lambda n: [cnn.BatchNorm(), cnn.Dense(7, "tanh")],
    "batch norms among dropouts": lambda n: [
        cnn.Dropout(0.2), cnn.BatchNorm(0.1, 0.5), cnn.BatchNorm(activation="gelu"), cnn.Dense(21, use_bias=False),
        cnn.BatchNorm(activation="tanh"), cnn.Dropout(0.1), cnn.BatchNorm(1e-3, learning_rate_factor=3),
        cnn.LayerNorm(), cnn.Dropout(0.2)],
    "batch norms in residuals": lambda n: [
        cnn.Residual([cnn.BatchNorm(activation="mish"), cnn.Dropout(0.1), cnn.Dense(n)]), cnn.Dense(17),
        cnn.Residual([cnn.BatchNorm()]), cnn.Residual([cnn.Dense(17, "tanh"), cnn.BatchNorm(activation="relu")])],
    "frozen batch norms": lambda n: [
        cnn.BatchNorm(learning_rate_factor=0), cnn.Dense(19), cnn.BatchNorm(activation="mish", learning_rate_factor=0)],
    "residual first": lambda n: [cnn.Residual([cnn.Dense(n, "tanh")]), cnn.Dense(7, "gelu")],
    "residual": lambda n: [
        cnn.Dense(7, "tanh"), cnn.Residual([cnn.LayerNorm(), cnn.Dense(20, "relu"), cnn.Dropout(0.2), cnn.Dense(7)]),
        cnn.LayerNorm()],
    "residuals in a residual": lambda n: [
        cnn.Dense(9, "tanh"),
        cnn.Residual([cnn.Residual([cnn.Dense(12, "silu"), cnn.Dense(9)]), cnn.Residual([cnn.Scale("normal")])]),
        cnn.Dense(5, "relu")],
    "residuals around dropouts": lambda n: [
        cnn.Dropout(0.1), cnn.Residual([cnn.Dropout(0.3)]), cnn.Dense(8, "gelu"), cnn.Dropout(0.2),
        cnn.Residual([cnn.Dropout(0.2), cnn.Residual([cnn.Dropout(0.1), cnn.Dense(8, "tanh"), cnn.Dropout(0.1)])])],
    "category first": lambda n: [cnn.CategoryEmbedding(2, 5, "normal"), cnn.Dense(7, "tanh")],
    "categories among dropouts": lambda n: [
        cnn.Dense(9, "relu"), cnn.CategoryEmbedding(3, 1), cnn.Dropout(0.1), cnn.CategoryEmbedding(1, 20, "normal"),
        cnn.Dense(5, "gelu")],
    "categories in a row": lambda n: [
        cnn.CategoryEmbedding(2, 4), cnn.CategoryEmbedding(1, 3), cnn.Residual([cnn.Dense(n + 5, "tanh")])],
    "sums that overlap": lambda n: [
        cnn.Dense(6, "tanh"), cnn.Dense(6, "tanh"), cnn.Add(1), cnn.Add(2), cnn.Dense(6, "relu"), cnn.Add(2)],
    "prelu": lambda n: [cnn.PReLU(), cnn.Dense(19), cnn.PReLU(0.5), cnn.Dropout(0.2)],
    "parametric": lambda n: [
        cnn.ParametricActivation("tanh"), cnn.Dense(19), cnn.ParametricActivation("mish", "uniform"), cnn.Dropout(0.2),
        cnn.Dense(8), cnn.ParametricActivation("relu")],
    "embedding of all": lambda n: [cnn.NumericEmbedding(sigma=0.5), cnn.Dense(7, "tanh")],
    "embedding of some": lambda n: [
        cnn.Dropout(0.1), cnn.NumericEmbedding(5, 19, 3, 0.3), cnn.Dense(7, "tanh"), cnn.NumericEmbedding(1, 1, 10)],
    "piecewise of all": lambda n: [
        cnn.PiecewiseEmbedding([np.linspace(-2, 2, 2 + c % 23) for c in range(n)], 3), cnn.Dense(7, "tanh")],
    "piecewise of some": lambda n: [
        cnn.Dropout(0.1), cnn.PiecewiseEmbedding([[-1, 0, 0.5, 2], [-0.5, 0.5]], 5, "mish"), cnn.Dense(7, "tanh"),
        cnn.PiecewiseEmbedding([[-1, 0, 1]], 1, "tanh"), cnn.PiecewiseEmbedding([[-1, 1]], 2, "identity")],
    "noise": lambda n: [
        cnn.GaussianNoise(0.1), cnn.Dropout(0.1), cnn.Dense(7, "tanh"), cnn.Dropout(0.1), cnn.GaussianNoise(0.3),
        cnn.Residual([cnn.Dense(9, "relu"), cnn.GaussianNoise(0.2), cnn.Dense(7)])],
}  # fmt: skip
CASES = [(name, wide) for name in STACKS for wide in (False, True)]
ALL = pytest.mark.parametrize(("name", "wide"), CASES, ids=[f"{name}{', wide' * wide}" for name, wide in CASES])


def data(n: int, columns: int = 9) -> tuple[Any, Any]:
    rng = np.random.default_rng(n)
    return rng.normal(size=(n, columns)), rng.normal(size=(n, 2))


def network(name: str, wide: bool, dtype: str = "float64") -> cnn.Network:
    """A network of 9 inputs and 2 outputs, no parameter of which has a value that hides a mistake."""
    layers = [cnn.Dense(230, "relu"), *STACKS[name](230), cnn.Dense(310, "silu")] if wide else STACKS[name](9)
    net = cnn.Network([*layers, cnn.Dense(2)], optimizer=cnn.AdamW(0.01), dtype=dtype, seed=3).build(9)
    rng = np.random.default_rng(5)
    for what, view in net.parameters.items():
        if what.rpartition(".")[2] not in ("edges", "inverses"):
            view += 0.1 * rng.normal(size=view.shape)
    return net


def test_every_kind_is_here() -> None:
    nets = [network(name, wide) for name, wide in CASES]
    nets += [image_networks.stack(name) for name in image_networks.STACKS]
    assert {type(layer) for net in nets for layer in net.descriptions} == set(KINDS)


@pytest.mark.parametrize("name", STACKS)
def test_the_reference_is_central_differences(name: str) -> None:
    net = network(name, False)
    layers, (x, t) = reference_layers(net), data(20)
    gradient = reference.loss_and_gradient(layers, "mse", x, t, i=4)[2]
    rng = np.random.default_rng(0)
    for (index, what), g in gradient.items():
        if what in ("edges", "inverses", *reference.RUNNING):  # no gradient teaches them
            continue
        theta, way = layers[index][what], rng.normal(size=g.shape)
        sides = []
        for step in (1e-6, -1e-6):
            layers[index][what] = theta + step * way
            sides.append(reference.loss_and_gradient(layers, "mse", x, t, i=4)[0])
        layers[index][what] = theta
        assert (g * way).sum() == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-5, abs=1e-8), (index, what)


@pytest.mark.parametrize("training", [False, True])
@ALL
def test_gradient_agrees_with_the_reference(name: str, wide: bool, training: bool) -> None:
    net = network(name, wide)
    X, y = data(203)
    loss, gradient = net.loss_and_gradient(X, y, training=training)
    expected, reference_ = reference_gradient(net, X, y, training=training)
    assert loss == pytest.approx(expected, rel=1e-12)
    assert set(gradient) == set(reference_)
    for what, found in gradient.items():
        np.testing.assert_allclose(found, reference_[what], rtol=1e-9, atol=1e-12, err_msg=what)
    out = net.forward(X, training=training)
    dX = net.backward(2 * (out - y) / y.size)
    for what, found in gradient.items():
        np.testing.assert_allclose(net.gradients[what], found, rtol=1e-9, atol=1e-12, err_msg=what)
    if not training:
        way = np.random.default_rng(1).normal(size=X.shape)
        up, down = (((net.forward(X + step * way) - y) ** 2).mean() for step in (1e-6, -1e-6))
        assert (dX * way).sum() == pytest.approx((up - down) / 2e-6, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("n", [1, 15, 17, 4001])
@ALL
def test_gradient_in_float32_is_that_of_float64(name: str, wide: bool, n: int) -> None:
    """Whatever part of a vector is empty; sums lose no more than those of biases do."""
    X, y = data(n)
    single, double = (network(name, wide, dtype) for dtype in ("float32", "float64"))
    double.set_weights(single.get_weights())
    rounded = X.astype(np.float32), y.astype(np.float32)
    found, expected = single.loss_and_gradient(*rounded)[1], double.loss_and_gradient(*rounded)[1]
    for what, gradient in expected.items():
        bound = 1e-5 * np.abs(gradient).max()
        np.testing.assert_allclose(found[what], gradient, rtol=1e-4, atol=bound, err_msg=what)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@ALL
def test_steps_agree_with_the_reference_and_threads_change_no_bit(name: str, wide: bool, dtype: str) -> None:
    nets = [network(name, wide, dtype) for _ in range(2)]
    X, y = data(300)
    training = ReferenceTraining(nets[0])
    for begin in range(0, 300, 100):
        training.step(0.01, X[begin : begin + 100], y[begin : begin + 100])
    for net, n_threads in zip(nets, (1, 3), strict=True):
        net.fit(X, y, epochs=1, batch_size=100, shuffle=False, verbose=0, n_threads=n_threads)
    for what, expected in training.weights().items() if dtype == "float64" else ():
        np.testing.assert_allclose(nets[0].parameters[what], expected, rtol=1e-7, atol=1e-10, err_msg=what)
    assert nets[0].flat.tobytes() == nets[1].flat.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@ALL
def test_predictions_are_the_references(name: str, wide: bool, dtype: str) -> None:
    net = network(name, wide, dtype)
    layers = [layer | {name: 0.0 for name in ONLY_TRAINING if name in layer} for layer in reference_layers(net)]
    bound = 1e-11 if dtype == "float64" else 2e-4
    for n in (1, 3, 8, 9, 130, 2000):
        X = data(n)[0].astype(dtype)
        out, read, _ = reference.forward(layers, X.astype(float))
        found = net.predict(X)
        np.testing.assert_allclose(found, out, rtol=bound, atol=bound)
        assert found.tobytes() == net.predict(X, n_threads=2).tobytes() == net.predict(np.asfortranarray(X)).tobytes()
        assert net.predict(X[-1:]).tobytes() == found[-1:].tobytes()
        for below, expected in zip(net.layer_outputs(X), [*read[1:], out], strict=True):
            np.testing.assert_allclose(below, expected, rtol=bound, atol=bound)
    assert net.predict(X[:0]).shape == (0, 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", STACKS)
def test_it_is_kept_and_exported(name: str, dtype: str, tmp_path: Path) -> None:
    net = network(name, False, dtype)
    X = data(20)[0].astype(dtype)
    net.save(tmp_path / "m.cnn")
    again = cnn.load(tmp_path / "m.cnn", cnn.Network)
    assert again.descriptions == net.descriptions
    assert again.predict(X).tobytes() == net.predict(X).tobytes()
    source, _ = cnn.export_c(net, tmp_path)
    library = compiled(tmp_path, source.read_text())
    pointer = ctypes.POINTER(ctypes.c_double if dtype == "float64" else ctypes.c_float)
    out = np.empty((20, 2), dtype)
    for x, y in zip(X, out, strict=True):
        library.model_predict(x.ctypes.data_as(pointer), y.ctypes.data_as(pointer))
    bound = 1e-11 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(out, net.predict(X), rtol=bound, atol=bound)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", STACKS)
def test_onnx(name: str, dtype: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    net = network(name, False, dtype)
    cnn.export_onnx(net, tmp_path / "m.onnx")
    X = data(20)[0].astype(dtype)
    (found,) = runtime.InferenceSession(tmp_path / "m.onnx").run(None, {"X": X})
    bound = 1e-11 if dtype == "float64" else 1e-5
    if any(getattr(layer, "activation", "") == "gelu" for layer in net.descriptions):
        bound = max(bound, 1e-6)  # it is float32 there
    np.testing.assert_allclose(found, net.predict(X), rtol=bound, atol=bound)


@ALL
def test_diagnosis_looks_through_it(name: str, wide: bool) -> None:
    net = network(name, wide)
    X, y = data(50)
    gradients = net.loss_and_gradient(X, y)[1]
    found = cnn.diagnose(net, X, y).layers
    dense = [f"layers.{i}" for i, layer in enumerate(net.descriptions) if isinstance(layer, cnn.Dense)]
    assert [layer.name for layer in found] == dense
    for layer in found:
        assert layer.weight_gradient == pytest.approx(np.linalg.norm(gradients[f"{layer.name}.weights"]), rel=1e-9)
