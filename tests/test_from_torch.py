"""Sequentials of PyTorch as networks: beside the outputs of PyTorch 2.13, recorded here, and its own where it is."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest
from torch_modules import filled, images, nn, torch

import cnn

# Modules, the shape of images here, and what PyTorch gives for two of them, their channels first.
CASES: dict[str, tuple[list[Any], tuple[int, ...], list[list[float]]]] = {
    "lenet": (
        [nn.Conv2d(1, 3, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 5), nn.ReLU(), nn.MaxPool2d(2),
         nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 2)], (16, 17, 1),
        [[0.252048127, -2.05722883], [0.131385464, -0.982977866]]),
    "pooling over all": (
        [nn.Conv2d(2, 5, 3, padding=1), nn.GELU(), nn.MaxPool2d(3, 2, ceil_mode=True), nn.Conv2d(5, 6, 2), nn.ELU(0.5),
         nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(6, 2)], (8, 10, 2),
        [[1.08256951, 0.809761895], [1.4282456, 1.21294535]]),
    "groups, strides and dilation": (
        [nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), 2, False), nn.BatchNorm2d(6, 1e-3), nn.SiLU(),
         nn.Conv2d(6, 12, 3, groups=6, padding="same"), nn.PReLU(12), nn.Dropout(0.2), nn.Flatten(), nn.Linear(300, 2)],
        (9, 7, 4),
        [[-0.0109571766, 0.549574705], [0.00507191665, 0.411332835]]),
    "averages": (
        [nn.Conv2d(2, 3, 3), nn.AvgPool2d(2, padding=1, count_include_pad=False), nn.Tanh(),
         nn.AdaptiveAvgPool2d((2, 1)), nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(4, 2)], (9, 8, 2),
        [[-0.902375654, -0.236234947], [-0.899251866, -0.232603435]]),
    "signals": (
        [nn.Conv1d(2, 4, 5, 2, 2), nn.BatchNorm1d(4), nn.ReLU(), nn.AvgPool1d(2), nn.Conv1d(4, 3, 2), nn.LeakyReLU(0.2),
         nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(3, 2)], (15, 2),
        [[-0.193853889, 0.40327896], [-0.197180092, 0.407190933]]),
    "behind a flatten": (
        [nn.Conv2d(1, 2, 2), nn.Flatten(), nn.BatchNorm1d(24), nn.PReLU(24), nn.Dropout(0.1), nn.LayerNorm(24),
         nn.Linear(24, 3), nn.Softplus(), nn.Linear(3, 2)], (4, 5, 1),
        [[0.618132875, -0.50569846], [0.655400991, -0.547280218]]),
    "zeros around": (
        [nn.ZeroPad2d((1, 1, 1, 2)), nn.Conv2d(2, 3, 4, (1, 2)), nn.Identity(), nn.Sigmoid(), nn.Flatten(),
         nn.Linear(135, 2)], (9, 10, 2),
        [[-0.0192850158, -0.145818692], [-0.0654584767, -0.0523540617]]),
    "rows": ([nn.BatchNorm1d(6), nn.Linear(6, 4), nn.PReLU(4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 2)], (6,),
        [[-0.93087828, -0.418666769], [-0.925163399, -0.424384679]]),
}  # fmt: skip


def by_torch(model: Any, X: Any) -> Any:
    with torch.no_grad():
        return model(torch.from_numpy(np.ascontiguousarray(np.moveaxis(X, -1, 1)))).numpy()


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """For PyTorch, where it is not installed."""
    if torch is None:
        monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(from_numpy=lambda array: array, nn=nn))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_same_outputs_there_and_back(name: str, dtype: str) -> None:
    modules, shape, expected = CASES[name]
    model, X = filled(nn.Sequential(*modules), dtype), images(shape, dtype=dtype)
    net = cnn.from_torch(model, shape, seed=0)
    tolerance = {"rtol": 1e-7} if dtype == "float64" else {"rtol": 1e-4, "atol": 1e-5}
    assert (net.dtype, net.input_shape) == (dtype, shape)
    np.testing.assert_allclose(net.forward(X), expected, **tolerance)
    back = cnn.to_torch(net)
    if torch is not None:
        np.testing.assert_allclose(by_torch(model, X), expected, **tolerance)
        np.testing.assert_allclose(by_torch(back, X), expected, **tolerance)
    again = cnn.from_torch(back, shape, seed=0)
    twin = cnn.Network(net.descriptions, dtype=dtype).build(shape)
    assert cnn.from_torch_state_dict(twin, model) is twin
    for other in (again, twin):
        np.testing.assert_allclose(other.forward(X), net.forward(X), rtol=1e-6)
        assert other.flat.tobytes() == net.flat.tobytes()


def test_activations_belong_to_the_layer_before_them() -> None:
    modules = [nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 4), nn.GELU("tanh"),
               nn.Linear(4, 3), nn.Softmax(1)]  # fmt: skip
    net = cnn.from_torch(filled(nn.Sequential(*modules)), [8, 8, 1], "cross_entropy", cnn.SGD(0.1), seed=3)
    assert net.descriptions == (
        cnn.Conv2D(2, 3, activation="relu"), cnn.MaxPool2D(), cnn.Flatten(), cnn.Dense(4, "gelu_tanh"),
        cnn.Dense(3, "softmax"),
    )  # fmt: skip
    assert (net.loss.name, net.optimizer, net.seed) == ("cross_entropy", cnn.SGD(0.1), 3)
    np.testing.assert_allclose(net.predict(np.ones((2, 8, 8, 1))).sum(axis=1), 1, rtol=1e-6)


def test_an_activation_that_falls_stays_behind_max_pooling() -> None:
    """max(f(x)) is f(max(x)) only where f never falls."""
    modules = [nn.Linear(3, 4), nn.LayerNorm(4), nn.Mish(), nn.Linear(4, 1)]
    net = cnn.from_torch(filled(nn.Sequential(*modules)))
    kinds = [type(layer) for layer in net.descriptions]
    assert kinds == [cnn.Dense, cnn.LayerNorm, cnn.ParametricActivation, cnn.Dense]
    before = net.layers[2].weights.copy()
    net.fit(np.eye(3), np.arange(3.0), epochs=3, verbose=0)
    assert np.array_equal(net.layers[2].weights, before)
    assert (before == 1).all()


class Mine(nn.Sequential):  # type: ignore[misc]
    """Runs in another way."""

    def forward(self, x: Any) -> Any:
        return x


class Block(nn.Sequential):  # type: ignore[misc]
    """A name for a Sequential."""


def test_sequentials_in_sequentials() -> None:
    linear = filled(nn.Sequential(nn.Linear(3, 2)))[0]
    net = cnn.from_torch(nn.Sequential(Block(linear, nn.ReLU()), nn.Sequential(nn.Sequential(linear_to(2)))))
    assert net.descriptions == (cnn.Dense(2, "relu"), cnn.Dense(1))
    with pytest.raises(ValueError, match="there is no such layer; known are AdaptiveAvgPool1d, "):
        cnn.from_torch(nn.Sequential(linear, Mine(linear_to(2))))


def test_one_slope_for_all_units() -> None:
    net = cnn.from_torch(filled(nn.Sequential(nn.Linear(3, 4), nn.PReLU(), nn.Linear(4, 1))))
    assert len(set(net.layers[1].weights.tolist())) == 1
    assert net.layers[1].weights.shape == (4,)


def linear_to(n: int) -> Any:
    return filled(nn.Sequential(nn.Linear(n, 1)))[0]


@pytest.mark.parametrize(("modules", "shape", "text"), [
    ([nn.Bilinear(2, 2, 2)], (2,), "module 0, Bilinear.*there is no such layer; known are "),
    ([nn.Conv2d(1, 2, 3, padding_mode="circular")], (5, 5, 1), "padding_mode 'circular' is not there"),
    ([nn.Conv2d(3, 2, 3)], (5, 5, 1), r"it gets inputs of shape \(5, 5, 1\), channels last, so weights must have"),
    ([nn.Conv2d(1, 2, 9)], (5, 5, 1), "kernel that reaches over 9 x 9 pixels"),
    ([nn.Conv2d(1, 2, 3)], (5,), r"module 0, .*takes inputs of shape \(height, width, channels\)"),
    ([nn.MaxPool2d(2, dilation=2)], (5, 5, 1), "dilation or return_indices is not there"),
    ([nn.AvgPool2d(3, padding=1)], (5, 5, 1), "averages are of what is inside the image: count_include_pad=False"),
    ([nn.AvgPool2d(3, divisor_override=2)], (6, 6, 1), "no divisor_override"),
    ([nn.MaxPool2d(4, 3, ceil_mode=True)], (8, 8, 1), r"\(ceil_mode\) are not those of 'same'"),
    ([nn.AdaptiveAvgPool2d(4)], (6, 6, 1), "output_size must divide the size of the images"),
    ([nn.ZeroPad2d((2, 0, 2, 0)), nn.Conv2d(1, 2, 3)], (6, 6, 1), "zeros around images, .* are not those of 'same'"),
    ([nn.ZeroPad2d(1), nn.MaxPool2d(2)], (6, 6, 1), "zeros around images must stand before a convolution"),
    ([nn.ZeroPad2d(1), nn.Conv2d(1, 2, 3, padding=1)], (6, 6, 1), "with padding of its own can't have more zeros"),
    ([nn.Flatten(2)], (6, 6, 1), r"only Flatten\(\) of all but the rows"),
    ([nn.Flatten(), nn.Linear(7, 1)], (2, 2, 2), "weights behind a Flatten are of 8 inputs, and these of 7"),
    ([nn.Linear(7, 1)], (8,), r"it gets inputs of shape \(8,\)"),
    ([nn.Linear(2, 1)], (2, 2, 2), "Dense takes rows of numbers, and gets images"),
    ([nn.BatchNorm1d(3, affine=False)], (3,), "BatchNorm has weights, running averages and a momentum"),
    ([nn.BatchNorm1d(3, momentum=None)], (3,), "BatchNorm has weights, running averages and a momentum"),
    ([nn.LayerNorm(4)], (4, 4, 1), "LayerNorm is of rows of numbers"),
    ([nn.Linear(3, 2), nn.Softmax(0)], (3,), "Softmax stands behind the last Linear"),
    ([nn.Softmax(1)], (3,), "Softmax stands behind the last Linear"),
    ([nn.Linear(3, 2), nn.Softplus(2)], (3,), "beta must be 1"),
])  # fmt: skip
def test_what_is_not_there_is_named(modules: list[Any], shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        cnn.from_torch(filled(nn.Sequential(*modules)), shape)


def test_what_is_no_sequential() -> None:
    for given in (Mine(linear_to(2)), linear_to(2), None):
        with pytest.raises(TypeError, match=r"from_torch takes a torch.nn.Sequential, got "):
            cnn.from_torch(given)
    with pytest.raises(ValueError, match=r"input_shape must be given: \(height, width, channels\) of images"):
        cnn.from_torch(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2, 1)))
    with pytest.raises(ValueError, match=r"the last layer must be a cnn\.Dense, got Dropout"):
        cnn.from_torch(nn.Sequential(linear_to(2), nn.Dropout()))


def test_state_dicts_of_networks_for_images() -> None:
    net = cnn.Network([cnn.Conv2D(2, 3), cnn.Flatten(), cnn.Dense(1)], seed=0)
    state = cnn.to_torch_state_dict(net.build((4, 5, 3)))
    assert {name: tuple(value.shape) for name, value in state.items()} == {
        "0.weight": (2, 3, 3, 3), "0.bias": (2,), "2.weight": (1, 12), "2.bias": (1,)
    }  # fmt: skip
    weights = {name: np.asarray(value) for name, value in state.items()}
    np.testing.assert_array_equal(weights["0.weight"], net.layers[0].weights.transpose(3, 2, 0, 1))
    ours = net.layers[2].weights.reshape(2, 3, 2)  # height, width, channels
    np.testing.assert_array_equal(weights["2.weight"].reshape(2, 2, 3), ours.transpose(2, 0, 1))
    with pytest.raises(ValueError, match=r"must know their shape: net.build\(\(height, width, channels\)\) first"):
        cnn.from_torch_state_dict(cnn.Network(net.descriptions), state)
    with pytest.raises(cnn.NotBuiltError):
        cnn.to_torch_state_dict(cnn.Network(net.descriptions))
    twin, before = cnn.Network(net.descriptions, seed=1).build((4, 5, 3)), None
    before = twin.get_weights()
    for wrong, text in (({"2.weight": np.ones((1, 13))}, "of 12 inputs, and these of 13"),
                        ({"0.weight": np.ones((2, 3, 3, 2))}, r"must have shape \(3, 3, 3, 2\)")):  # fmt: skip
        with pytest.raises(ValueError, match=text):
            cnn.from_torch_state_dict(twin, weights | wrong)
        assert all(np.array_equal(value, before[name]) for name, value in twin.get_weights().items())


def test_padding_that_pytorch_can_not_say() -> None:
    net = cnn.Network([cnn.AvgPool2D((2, 3), 2, "same"), cnn.Flatten(), cnn.Dense(1)], seed=0).build((6, 7, 1))
    model = cnn.to_torch(net)
    assert (model[0].ceil_mode, model[0].padding) == (False, (0, 1))
    net = cnn.Network([cnn.MaxPool2D((3, 2), 2, "same"), cnn.Flatten(), cnn.Dense(1)], seed=0).build((6, 6, 1))
    assert (cnn.to_torch(net)[0].ceil_mode, cnn.to_torch(net)[0].padding) == (True, (0, 0))
    net = cnn.Network([cnn.MaxPool2D((3, 4), (2, 1), "same"), cnn.Flatten(), cnn.Dense(1)]).build((6, 6, 1))
    with pytest.raises(ValueError, match=r"layer 0, MaxPool2D\(.* has no such padding in PyTorch for images of shape"):
        cnn.to_torch(net)
