"""Weights of Keras's models: from its files, as h5py writes them here in its layout, from mappings and from layers."""

from __future__ import annotations

import json
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn

Array = np.ndarray[Any, Any]
# A model of Keras: the class and name of each layer, and its weights by name and shape, all in Keras's order.
MODEL: list[tuple[str, str, dict[str, tuple[int, ...]]]] = [
    ("InputLayer", "input_layer", {}),
    ("Conv2D", "first", {"kernel": (3, 3, 2, 4), "bias": (4,)}),
    ("BatchNormalization", "batch_normalization",
     {"gamma": (4,), "beta": (4,), "moving_mean": (4,), "moving_variance": (4,)}),
    ("MaxPooling2D", "max_pooling2d", {}),
    ("DepthwiseConv2D", "depthwise_conv2d", {"kernel": (2, 2, 4, 2), "bias": (8,)}),
    ("PReLU", "p_re_lu", {"alpha": (1, 1, 8)}),
    ("LayerNormalization", "layer_normalization", {"gamma": (8,), "beta": (8,)}),
    ("Conv2D", "conv2d", {"kernel": (1, 1, 8, 3)}),
    ("Flatten", "flatten", {}),
    ("Dense", "dense", {"kernel": (27, 5), "bias": (5,)}),
    ("Dropout", "dropout", {}),
    ("Dense", "outputs", {"kernel": (5, 2), "bias": (2,)}),
]  # fmt: skip
FILE = {"Conv2D": "conv2d", "BatchNormalization": "batch_normalization", "DepthwiseConv2D": "depthwise_conv2d",
        "PReLU": "p_re_lu", "LayerNormalization": "layer_normalization", "Dense": "dense"}  # fmt: skip
# What Keras 3.15 gives for `images()`: Conv2D(4, 3, activation="relu", name="first"), BatchNormalization(),
# MaxPooling2D(), DepthwiseConv2D(2, depth_multiplier=2, padding="same"), PReLU(shared_axes=[1, 2]),
# LayerNormalization(), Conv2D(3, 1, use_bias=False), Flatten(), Dense(5, "tanh"), Dropout(0.1),
# Dense(2, name="outputs").
EXPECTED = [[-0.45165074, -0.45796096], [-0.45324123, -0.45917851]]


def weights() -> dict[str, dict[str, Array]]:
    """By a formula, those of a layer by its name."""
    made: dict[str, dict[str, Array]] = {}
    k = 0
    for _, name, shapes in MODEL:
        made[name] = {}
        for what, shape in shapes.items():
            values = np.sin(1.0 + np.arange(k, k + int(np.prod(shape)))).reshape(shape)
            k += values.size
            made[name][what] = (1.5 + values if what == "moving_variance" else 0.5 * values).astype(np.float32)
    return {name: arrays for name, arrays in made.items() if arrays}


def images() -> Array:
    return np.cos(np.arange(2 * 9 * 8 * 2)).reshape(2, 9, 8, 2).astype(np.float32)


def network() -> cnn.Network:
    return cnn.Network([
        cnn.Conv2D(4, 3, activation="relu"), cnn.BatchNorm(1e-3), cnn.MaxPool2D(),
        cnn.DepthwiseConv2D(2, depth_multiplier=2, padding="same"), cnn.PReLU(), cnn.LayerNorm(1e-3),
        cnn.Conv2D(3, 1, use_bias=False), cnn.Flatten(), cnn.Dense(5, "tanh"), cnn.Dropout(0.1), cnn.Dense(2)],
        seed=0).build((9, 8, 2))  # fmt: skip


def weights_file(h5py: Any, target: Any) -> None:
    """Keras 3's .weights.h5: a group for each layer by its class and number, arrays by number; groups stand sorted."""
    with h5py.File(target, "w") as file:
        seen: dict[str, int] = {}
        for kind, name, shapes in MODEL:
            if not shapes:
                continue
            key = FILE[kind] + (f"_{seen[kind]}" if kind in seen else "")
            seen[kind] = seen.get(kind, 0) + 1
            group = file.create_group(f"layers/{key}/vars")
            group.attrs["name"] = name
            for i, array in enumerate(weights()[name].values()):
                group[str(i)] = array


def keras_file(h5py: Any, path: Path) -> None:
    weights_file(h5py, path.with_suffix(".weights"))
    config = {"config": {"layers": [{"class_name": kind, "config": {"name": name}} for kind, name, _ in MODEL]}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.write(path.with_suffix(".weights"), "model.weights.h5")


def older_file(h5py: Any, path: Path) -> None:
    """Of Keras 2: names in attributes."""
    with h5py.File(path, "w") as file:
        inside = file.create_group("model_weights")
        inside.attrs["layer_names"] = [name.encode() for _, name, _ in MODEL]
        for _, name, shapes in MODEL:
            group = inside.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{what}:0".encode() for what in shapes]
            for what, array in weights().get(name, {}).items():
                group[f"{name}/{what}:0"] = array


def layers() -> Any:
    """A model, as far as it is asked."""
    def layer(kind: str, name: str, arrays: dict[str, Array]) -> Any:
        made = type(kind, (), {})()
        made.name, made.weights = name, [types.SimpleNamespace(name=what) for what in arrays]
        made.get_weights = lambda: list(arrays.values())
        return made

    made = [layer(kind, name, weights().get(name, {})) for kind, name, _ in MODEL]
    inner = types.SimpleNamespace(name="inner", layers=made[3:])
    return types.SimpleNamespace(layers=[*made[:3], inner], get_weights=list)


SOURCES = {
    "weights.h5": lambda h5py, folder: weights_file(h5py, folder / "m.weights.h5") or folder / "m.weights.h5",
    "keras": lambda h5py, folder: keras_file(h5py, folder / "m.keras") or str(folder / "m.keras"),
    "h5": lambda h5py, folder: older_file(h5py, folder / "m.h5") or folder / "m.h5",
    "lists": lambda h5py, folder: {name: list(arrays.values()) for name, arrays in weights().items()},
    "names": lambda h5py, folder: weights(),
    "paths": lambda h5py, folder: {
        f"sequential/{name}/{what}:0": array for name, arrays in weights().items() for what, array in arrays.items()},
    "model": lambda h5py, folder: layers(),
}  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
def test_same_outputs(source: str, tmp_path: Path) -> None:
    net = network()
    assert cnn.from_keras(net, SOURCES[source](pytest.importorskip("h5py"), tmp_path)) is net
    np.testing.assert_allclose(net.forward(images()), EXPECTED, rtol=1e-5)
    kernel = weights()["depthwise_conv2d"]["kernel"]
    assert net.layers[3].weights.shape == (2, 2, 1, 8)
    assert net.layers[3].weights[1, 0, 0, 5] == kernel[1, 0, 2, 1]  # of channel 2 the second


def test_some_layers_by_name(tmp_path: Path) -> None:
    weights_file(pytest.importorskip("h5py"), tmp_path / "m.weights.h5")
    net = network()
    before = net.get_weights()
    cnn.from_keras(net, tmp_path / "m.weights.h5", layers={0: "first", 6: "conv2d_1", 10: "outputs"})
    for i, name in ((0, "first"), (6, "conv2d"), (10, "outputs")):
        np.testing.assert_array_equal(net.layers[i].weights, weights()[name]["kernel"])
    np.testing.assert_array_equal(net.layers[8].weights, before["layers.8.weights"])
    other = cnn.Network([cnn.Dense(5), cnn.Dense(2)], seed=0).build(27)  # of the end alone
    cnn.from_keras(other, weights(), layers={0: "dense", 1: "outputs"})
    np.testing.assert_array_equal(other.layers[1].biases, weights()["outputs"]["bias"])


def test_separable_convolutions_are_two(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(0)
    arrays = {"depthwise_kernel": rng.normal(size=(2, 2, 3, 2)), "pointwise_kernel": rng.normal(size=(1, 1, 6, 4)),
              "bias": rng.normal(size=4)}  # fmt: skip
    dense = {"kernel": rng.normal(size=(4, 1)), "bias": rng.normal(size=1)}
    layers = [cnn.DepthwiseConv2D(2, depth_multiplier=2, use_bias=False), cnn.Conv2D(4, 1), cnn.GlobalAvgPool2D()]
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        for key, values in (("separable_conv2d", arrays), ("dense", dense)):
            for i, value in enumerate(values.values()):
                file[f"layers/{key}/vars/{i}"] = value
    for source in ({"separable": arrays, "dense": dense}, tmp_path / "m.weights.h5"):
        net = cnn.from_keras(cnn.Network([*layers, cnn.Dense(1)], dtype="float64").build((5, 5, 3)), source)
        np.testing.assert_array_equal(net.layers[0].weights.ravel(), arrays["depthwise_kernel"].ravel())
        np.testing.assert_array_equal(net.layers[1].weights, arrays["pointwise_kernel"])
        np.testing.assert_array_equal(net.layers[1].biases, arrays["bias"])


def test_norms_without_a_gain() -> None:
    net = cnn.Network([cnn.BatchNorm(), cnn.Dense(1)], seed=0).build(2)
    norm = {"moving_mean": np.ones(2), "moving_variance": np.full(2, 4.0)}
    with pytest.raises(ValueError, match="has gamma, beta, moving_mean, moving_variance, and Keras's layer 'norm' h"):
        cnn.from_keras(net, {"norm": norm, "dense": {"kernel": np.ones((2, 1)), "bias": np.ones(1)}})


def test_groups_of_a_file_have_no_order(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        for key, shape in (("dense", (2, 3)), ("sequential/layers/dense", (3, 1))):
            file[f"layers/{key}/vars/0"], file[f"layers/{key}/vars/1"] = np.ones(shape), np.ones(1)
    net = cnn.Network([cnn.Dense(3), cnn.Dense(1)], seed=0).build(2)
    with pytest.raises(ValueError, match=r"the order of 'dense', 'dense' is not in the file: save the model as .keras"):
        cnn.from_keras(net, tmp_path / "m.weights.h5")
    cnn.from_keras(net, tmp_path / "m.weights.h5", layers={1: "sequential/dense"})
    assert (net.layers[1].weights == 1).all()


@pytest.mark.parametrize(("given", "layers", "kind", "text"), [
    ({"a": [np.ones((3, 2)), np.ones(2)]}, None, ValueError, "the network's layers with weights are Dense, Dense, and"),
    ({"a": [np.ones((2, 2)), np.ones(2)], "b": [np.ones((2, 1)), np.ones(1)]}, None, ValueError,
     r"weights of layer 0, Dense\(.*, have shape \(3, 2\), and those of Keras's layer 'a' have \(2, 2\)"),
    ({"a": [np.ones((3, 2))], "b": [np.ones((2, 1)), np.ones(1)]}, None, ValueError, "has kernel, bias, and Keras's"),
    ({"a": ["x", "y"], "b": [np.ones((2, 1)), np.ones(1)]}, None, TypeError, "kernel of a must hold numbers"),
    ({"a": [np.ones((3, 2)), np.ones(2)]}, {0: "c"}, ValueError, "no layer of Keras's with weights is called 'c': "),
    ({"a": [np.ones((3, 2)), np.ones(2)]}, {2: "a"}, ValueError, "layers must have places of the network's layers"),
    ({"a": [np.ones((3, 2)), np.ones(2)]}, {True: "a"}, ValueError, "0 to 1, got True"),
    ({1: [np.ones((3, 2))]}, None, TypeError, "names of Keras's layers must be text, got 1"),
    ([np.ones((3, 2))], None, TypeError, "takes a path, a mapping of names to arrays or a Keras model, got list"),
])  # fmt: skip
def test_what_does_not_fit(given: Any, layers: Any, kind: type[Exception], text: str) -> None:
    net = cnn.Network([cnn.Dense(2), cnn.Dense(1)], seed=0).build(3)
    before = net.get_weights()
    with pytest.raises(kind, match=text):
        cnn.from_keras(net, given, layers)
    assert all(np.array_equal(value, before[name]) for name, value in net.get_weights().items())


def test_layers_that_keras_has_no_weights_for() -> None:
    net = cnn.Network([cnn.Dense(2), cnn.Scale(), cnn.Dense(1)], seed=0).build(3)
    with pytest.raises(ValueError, match=r"layer 1, Scale\(.*, has no weights that Keras has"):
        cnn.from_keras(net, {"a": [np.ones(2)]}, layers={1: "a"})


def test_files_that_are_not_keras_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("h5py")
    net = network()
    with pytest.raises(FileNotFoundError):
        cnn.from_keras(net, tmp_path / "nothing.h5")
    (tmp_path / "text.h5").write_text("a, b")
    with pytest.raises(ValueError, match=r"text.h5 is no file of Keras's: neither HDF5 nor a zip archive"):
        cnn.from_keras(net, tmp_path / "text.h5")
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(ValueError, match=r"other.keras is no file of Keras's: it holds no model.weights.h5"):
        cnn.from_keras(net, tmp_path / "other.keras")
    with pytest.raises(cnn.NotBuiltError):
        cnn.from_keras(cnn.Network([cnn.Dense(1)]), weights())
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"needs h5py \(extra 'keras'\): pip install h5py"):
        cnn.from_keras(net, tmp_path / "text.h5")
