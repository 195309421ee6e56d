"""Explanations of images beside an integral of the network in NumPy, in float64, and their pictures."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import reference_images
from helpers import reference_layers

import cnn
from cnn import plots
from cnn.explain import Explanation, expected_gradients, integrated_gradients, partial_dependence

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (3, 6, 5, 2), dtype=np.uint8)
BACKGROUND = RNG.integers(0, 256, (4, 6, 5, 2), dtype=np.uint8)


def network(loss: str = "cross_entropy", units: int = 3, dtype: str = "float64") -> cnn.Network:
    layers = [cnn.Conv2D(4, 3, activation="tanh"), cnn.AvgPool2D(2), cnn.Flatten(), cnn.Dense(units)]
    return cnn.Network(layers, loss=loss, dtype=dtype, seed=1).build((6, 5, 2))


def in_numpy(net: cnn.Network, images: np.ndarray) -> np.ndarray:
    """(n, classes) probabilities: the sums of the convolution, the pool and the dense layer by the specification."""
    conv, pool, _, dense = reference_layers(net)
    z = np.tanh(reference_images.product(conv, images) + conv["b"])
    scores = reference_images.average_pool(pool, z)[0].reshape(len(images), -1) @ dense["W"] + dense["b"]
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def integral(net: cnn.Network, image: np.ndarray, start: np.ndarray, points: int = 60) -> np.ndarray:
    """(height, width, channels, classes): the midpoint rule and slopes by differences, of the network in NumPy."""
    size, h = image.size, 1e-5
    steps = h * np.eye(size).reshape(size, *image.shape)
    slopes = np.zeros((size, net.n_outputs))
    for place in (np.arange(points) + 0.5) / points:
        at = start + place * (image - start)
        slopes += (in_numpy(net, at + steps) - in_numpy(net, at - steps)) / (2 * h) / points
    return slopes.reshape(*image.shape, -1) * (image - start)[..., None]


def test_beside_an_integral_in_numpy() -> None:
    net = network()
    found = integrated_gradients(net, BYTES)
    assert found.values.shape == (3, 6, 5, 2, 3)
    assert found.data.dtype == np.uint8
    assert np.array_equal(found.data, BYTES)
    expected = np.stack([integral(net, image / 255, np.zeros_like(image, float)) for image in BYTES])
    assert found.values == pytest.approx(expected, abs=1e-6)
    assert np.abs(expected).max() > 1e-3
    assert found.predictions == pytest.approx(in_numpy(net, BYTES / 255), abs=1e-12)
    assert np.array_equal(found.predictions, net.predict(BYTES))
    from_another = integrated_gradients(net, BYTES[:1], baseline=BACKGROUND[:1], output=2)
    expected = integral(net, BYTES[0] / 255, BACKGROUND[0] / 255)[..., 2]
    assert from_another.values == pytest.approx(expected[None], abs=1e-6)


@pytest.mark.parametrize("raw", [False, True])
def test_shares_add_up(raw: bool) -> None:
    net = network()
    found = integrated_gradients(net, BYTES, baseline=BACKGROUND[:3], raw=raw)
    outputs = (lambda X: net.forward(X)) if raw else net.predict
    total = found.values.sum(axis=(1, 2, 3))
    assert total == pytest.approx(outputs(BYTES) - outputs(BACKGROUND[:3]), abs=1e-10)
    assert np.abs(found.gap).max() < 1e-10
    assert found.gap.shape == (3, 3)
    assert found.importance.shape == (6, 5, 2, 3)
    assert repr(found) == (
        "Explanation(3 rows, 6 x 5 x 2 features, 3 outputs: values, base_values, data, feature_names, ...)"
    )


def test_expected_gradients_are_the_mean_over_baselines() -> None:
    net = network()
    found = expected_gradients(net, BYTES, BACKGROUND, samples=8000)
    each = [integrated_gradients(net, BYTES, baseline=b[None]).values for b in BACKGROUND]
    assert found.values == pytest.approx(np.mean(each, axis=0), abs=2e-4)
    assert found.base_values == pytest.approx(np.tile(net.predict(BACKGROUND).mean(axis=0), (3, 1)), abs=1e-12)
    one, two = (expected_gradients(net, BYTES, BACKGROUND, samples=20, n_threads=n).values for n in (1, 2))
    assert one.tobytes() == two.tobytes()


def test_bytes_are_so_many_255ths() -> None:
    net = network(dtype="float32")
    of_bytes = integrated_gradients(net, BYTES)
    of_numbers = integrated_gradients(net, BYTES / 255)
    assert of_bytes.values == pytest.approx(of_numbers.values, abs=1e-6)
    flat = integrated_gradients(net, (BYTES / 255).reshape(3, -1))
    assert np.array_equal(flat.values, of_numbers.values)


def test_signals() -> None:
    net = cnn.Network([cnn.Conv1D(3, 2, activation="tanh"), cnn.Flatten(), cnn.Dense(1)], dtype="float64", seed=0)
    X = RNG.normal(size=(2, 7, 2))
    found = integrated_gradients(net.build((7, 2)), X)
    assert found.values.shape == (2, 7, 2)
    assert found.values.sum(axis=(1, 2)) == pytest.approx(found.predictions - found.base_values, abs=1e-10)
    with pytest.raises(ValueError, match=r"attributions draws rows of numbers, or images .* got shape \(2, 7, 2\)"):
        plots.attributions(found)


def test_networks_of_maxima_and_norms_add_up() -> None:
    """There the integral has bends: more points make the gap smaller."""
    net = cnn.Network(
        [cnn.Conv2D(4, 3, use_bias=False), cnn.BatchNorm(activation="relu"), cnn.MaxPool2D(2), cnn.Flatten(),
         cnn.Dense(3)], loss="cross_entropy", dtype="float64", seed=0,
    )  # fmt: skip
    net.fit(BYTES, [0, 1, 2], epochs=5, verbose=0)
    gaps = [np.abs(integrated_gradients(net, BYTES, steps=n).gap).max() for n in (8, 2000)]
    assert gaps[1] < 1e-4
    assert gaps[1] < gaps[0] / 10


def classifier() -> tuple[Any, np.ndarray]:
    images = RNG.integers(0, 100, (60, 8, 8), dtype=np.uint8)
    labels = np.array(["dark", "grey", "weiß"])[np.arange(60) % 3]
    images += (70 * (np.arange(60) % 3)).astype(np.uint8)[:, None, None]
    return cnn.ImageClassifier(epochs=3, random_state=0).fit(images, labels), images


def test_image_classifiers(tmp_path: Any) -> None:
    pytest.importorskip("sklearn")
    model, images = classifier()
    found = expected_gradients(model, images[:2], images, samples=60)
    assert found.values.shape == (2, 8, 8, 1, 3)
    assert found.output_names == ("dark", "grey", "weiß")
    assert found.predictions == pytest.approx(model.predict_proba(images[:2]), abs=1e-6)
    same = expected_gradients(model.network_, images[:2, ..., None], images[..., None], samples=60)
    assert np.array_equal(found.values, same.values)
    assert same.output_names == ("output 0", "output 1", "output 2")
    image = pytest.importorskip("PIL.Image")
    image.fromarray(images[0]).save(tmp_path / "0.png")
    of_file = expected_gradients(model, [tmp_path / "0.png"], images, samples=60)
    assert np.array_equal(of_file.values[0], found.values[0])


def test_to_shap() -> None:
    shap = pytest.importorskip("shap")
    given = integrated_gradients(network(), BYTES).to_shap()
    assert isinstance(given, shap.Explanation)
    assert given.values.shape == (3, 6, 5, 2, 3)
    assert given.output_names == ["output 0", "output 1", "output 2"]


@pytest.mark.parametrize(("X", "text"), [
    (np.zeros((2, 5, 6, 2)), r"X must have shape \(rows, 6, 5, 2\) for this network, got shape \(2, 5, 6, 2\)"),
    (np.zeros((6, 5, 2)), r"got shape \(6, 5, 2\); for one image use X\[None\]"),
    (np.zeros((1, 2, 6, 5)), r"channels come last: np\.moveaxis"),
    (np.full((1, 6, 5, 2), np.nan), "X holds nan"),
])  # fmt: skip
def test_wrong_images(X: np.ndarray, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        integrated_gradients(network(), X)
    with pytest.raises(ValueError, match=text.replace("X", "background")):
        expected_gradients(network(), BYTES, X)


def test_wrong_uses() -> None:
    pytest.importorskip("sklearn")
    net = network()
    with pytest.raises(ValueError, match="baseline must be one row, or one for each of the 3 rows of X, got 2"):
        integrated_gradients(net, BYTES, baseline=BYTES[:2])
    with pytest.raises(ValueError, match=r"partial_dependence takes .* reads inputs of shape \(6, 5, 2\)"):
        partial_dependence(net, BYTES, 0)
    with pytest.raises(cnn.NotBuiltError):
        integrated_gradients(cnn.Network([cnn.Conv2D(2, 2), cnn.Flatten(), cnn.Dense(1)]), BYTES)
    with pytest.raises(ValueError, match="this ImageClassifier is not fitted yet"):
        integrated_gradients(cnn.ImageClassifier(), BYTES)
    with pytest.raises(ValueError, match=r"X must be images of shape \(8, 8, 1\), as those of the fit"):
        integrated_gradients(classifier()[0], BYTES)


# Pictures -------------------------------------------------------------------------------------------------------------

def test_the_picture_of_pixels() -> None:
    pytest.importorskip("matplotlib")
    rgb = Explanation(
        RNG.normal(size=(2, 6, 5, 3, 4)), np.zeros((2, 4)), np.zeros((2, 6, 5, 3), np.uint8), (), tuple("abcd"),
        np.eye(4)[[2, 1]],
    )  # fmt: skip
    axes = plots.attributions(rgb).axes
    assert [one.get_title() for one in axes] == ["c", "", "b", ""]
    (drawn,) = axes[1].get_images()
    shares = np.asarray(drawn.get_array())
    assert shares == pytest.approx(rgb.values[0, ..., 2].sum(axis=-1))
    assert drawn.get_clim() == pytest.approx((-np.abs(shares).max(), np.abs(shares).max()))
    assert plots.attributions(rgb, output=0).axes[2].get_title() == "a"
    one = integrated_gradients(cnn.Network([cnn.Conv2D(2, 2), cnn.Flatten(), cnn.Dense(2)], seed=0).build((4, 4, 1)),
                               np.ones((1, 4, 4, 1)), output=1)  # fmt: skip
    out = io.BytesIO()
    plots.attributions(one).savefig(out, format="png")
    assert out.getvalue().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="output must be an integer in"):
        plots.attributions(rgb, output=4)
    with pytest.raises(ValueError, match="1 or 3 channels"):
        plots.attributions(integrated_gradients(network(), BYTES))
    with pytest.raises(ValueError, match="of images: attributions"):
        plots.attribution(rgb)
