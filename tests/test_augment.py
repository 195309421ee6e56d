"""Augmentation: the images of each step are those of a NumPy reference, for every cut, thread and kind of X."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference

import cnn
from cnn import augment
from cnn.augment import Cutout, Flip, Noise, Shift
from cnn.files import container
from cnn.files.descriptions import describe, revive

RNG = np.random.default_rng(1)
SEED = 11


def words(k: int, step: int, row: int) -> list[int]:
    """Those of the k-th change of a row."""
    return reference.philox((row, 0xFF00 + k, step, 0), (SEED, 0))


def shifted(image: Any, distance: int, axis: int, outside: str) -> Any:
    """The image moved along an axis."""
    pad = [(abs(distance), abs(distance)) if i == axis else (0, 0) for i in range(3)]
    padded = np.pad(image, pad, mode={"zeros": "constant"}.get(outside, outside))
    return np.take(padded, np.arange(image.shape[axis]) + abs(distance) - distance, axis)


def changed(image: Any, changes: Any, step: int, row: int) -> Any:
    """An image (height, width, channels) as a step takes it."""
    height, width, _ = image.shape
    for k, change in enumerate(changes):
        drawn = words(k, step, row)
        if isinstance(change, Flip):
            for axis, wanted in enumerate((change.vertical, change.horizontal)):
                image = np.flip(image, axis) if wanted and drawn[axis] >> 31 else image
        elif isinstance(change, Shift):
            most = (change.pixels,) * 2 if isinstance(change.pixels, int) else change.pixels
            for axis in range(2):
                if image.shape[axis] > 1:
                    distance = (drawn[axis] * (2 * most[axis] + 1) >> 32) - most[axis]
                    image = shifted(image, distance, axis, change.outside)
    image = image.copy()
    for k, change in enumerate(changes):
        if isinstance(change, Cutout):
            drawn, size = words(k, step, row), (change.size,) * 2 if isinstance(change.size, int) else change.size
            y, x = (drawn[i] * n >> 32 for i, n in enumerate((height, width)))
            top, left = y - (size[0] // 2 if height > 1 else 0), x - size[1] // 2
            bottom = top + (size[0] if height > 1 else 1)
            image[max(top, 0) : bottom, max(left, 0) : left + size[1]] = 0
    for k, change in enumerate(changes):
        if isinstance(change, Noise):
            n = image.size
            normal = reference.normal_numbers(SEED, step, 0xFF00 + k, row * ((n + 3) // 4 * 4), n)
            image = image + change.stddev * normal.reshape(image.shape)
    return image


def seen(X: Any, changes: Any, batch: int, shape: Any = None, **options: Any) -> Any:
    """What one epoch makes of images in their order, by a network that passes on what it reads."""
    n, found = int(np.prod(X.shape[1:])), []

    def keep(y: Any, prediction: Any, weights: Any = None) -> float:
        found.append(prediction.copy())
        return 0.0

    net = cnn.Network([cnn.Flatten(), cnn.Dense(n, use_bias=False)], optimizer=cnn.SGD(0.0), dtype="float64", seed=SEED)
    net.build(X.shape[1:])
    net.set_weights({"layers.1.weights": np.eye(n)})
    fitted: dict[str, Any] = {"epochs": 1, "batch_size": batch, "shuffle": False, "metrics": keep, "verbose": 0}
    net.fit(X, np.zeros((len(X), n)), augment=changes, **(fitted | options))
    return found[0].reshape(X.shape)


def expected(X: Any, changes: Any, batch: int) -> Any:
    images = X if X.ndim == 4 else X[..., None]
    made = [changed(image, changes, 1 + i // batch, i % batch) for i, image in enumerate(images)]
    return np.array(made).reshape(X.shape)


@pytest.mark.parametrize(
    "changes",
    [
        [Shift(2)], [Shift((1, 3), "edge")], [Shift((3, 0), "reflect")], [Flip()], [Flip(vertical=True)], [Cutout(3)],
        [Cutout((1, 4))], [Noise(0.5)],
        [Noise(0.1), Flip(False, True), Shift(2), Shift(1, "reflect"), Cutout(2), Cutout(1)],
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("shape", [(6, 5, 1), (4, 9, 3)])
def test_images_are_those_of_the_reference(changes: Any, shape: Any) -> None:
    X = RNG.random((37, *shape))
    before = X.copy()
    np.testing.assert_allclose(seen(X, changes, 20), expected(X, changes, 20), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(X, before)
    some = seen(X[:, :, :, 0], changes, 20)  # flattened images need no axis of channels
    np.testing.assert_allclose(some, expected(X[:, :, :, 0], changes, 20), rtol=0, atol=1e-12)


def test_bytes_are_scaled_before_they_are_changed() -> None:
    X, changes = RNG.integers(0, 256, (40, 7, 6, 2), dtype=np.uint8), [Flip(), Shift(2), Noise(0.1)]
    np.testing.assert_allclose(seen(X, changes, 16), expected(X * (1 / 255), changes, 16), rtol=0, atol=1e-12)


def test_signals_move_along_their_length() -> None:
    X = RNG.random((20, 12, 2))
    net = cnn.Network([cnn.Conv1D(24, 12), cnn.Flatten(), cnn.Dense(1)], seed=SEED)
    assert net.takes.axes == (2,)  # type: ignore[union-attr]
    found = augment.changes((Shift(3), Flip(), Cutout(4)), X.shape[1:], (2,))
    assert found is not None
    assert found[1:] == (1, 12, 2)
    assert found.specs["size"].tolist() == [[0, 3], [0, 1], [1, 4]]
    history = net.fit(X, X[:, 0, 0], augment=[Shift(3), Flip(), Cutout(4)], epochs=2, verbose=0)
    assert len(history) == 2


def network(**options: Any) -> cnn.Network:
    return cnn.Network([cnn.Flatten(), cnn.Dense(16, "relu"), cnn.Dense(3)], "cross_entropy", seed=4, **options)


IMAGES, LABELS = RNG.random((200, 8, 8, 1)), np.arange(200) % 3
CHANGES = [Shift(2), Flip(), Cutout(3), Noise(0.1)]


@pytest.mark.parametrize("units", [16, 1100])
def test_every_number_of_threads_makes_the_same_images(units: int) -> None:
    def trained(n_threads: int) -> Any:
        net = cnn.Network([cnn.Flatten(), cnn.Dense(units, "relu"), cnn.Dense(3)], "cross_entropy", seed=4)
        net.fit(IMAGES, LABELS, augment=CHANGES, epochs=2, batch_size=150, n_threads=n_threads, verbose=0)
        return net.flat

    plain = network()
    plain.fit(IMAGES, LABELS, epochs=2, batch_size=150, verbose=0)
    assert units > 16 or not np.array_equal(trained(1), plain.flat)
    np.testing.assert_array_equal(trained(1), trained(2))
    np.testing.assert_array_equal(trained(1), trained(3))


def test_rows_that_are_held_out_stay_as_they_are() -> None:
    net = network()
    net.fit(IMAGES, LABELS, augment=CHANGES, validation_data=(IMAGES, LABELS), epochs=2, verbose=0)
    assert net.history["val_loss"][-1] == pytest.approx(net.evaluate(IMAGES, LABELS)["loss"], rel=1e-6)
    assert net.history["loss"][-1] != net.history["val_loss"][-1]


def test_streams_and_resumed_fits_make_the_same_images(tmp_path: Path) -> None:
    options: dict[str, Any] = {"augment": CHANGES, "batch_size": 32, "verbose": 0, "epochs": 3, "initial_epoch": 0}
    whole, streamed, first, second = (network() for _ in range(4))
    whole.fit(IMAGES, LABELS, shuffle=False, **options)
    streamed.fit([(IMAGES[:70], LABELS[:70]), (IMAGES[70:], LABELS[70:])], shuffle=False, **options)
    np.testing.assert_array_equal(streamed.flat, whole.flat)
    hooks = [cnn.Checkpoint(tmp_path, every=1, unit="steps")]
    first.fit(IMAGES, LABELS, shuffle=False, callbacks=hooks, **(options | {"epochs": 1}))
    with pytest.raises(ValueError, match=r"was made with augment=\[.Shift.*, this fit has \[\]"):
        network().fit(IMAGES, LABELS, shuffle=False, resume=tmp_path, callbacks=hooks, **(options | {"augment": None}))
    second.fit(IMAGES, LABELS, shuffle=False, resume=tmp_path, callbacks=hooks, **options)
    np.testing.assert_array_equal(second.flat, whole.flat)


def test_many_networks_have_changes_for_all_or_of_their_own() -> None:
    options: dict[str, Any] = {"epochs": 2, "batch_size": 32, "verbose": 0}
    for given, own in ((CHANGES, (CHANGES, CHANGES)), ([CHANGES, None], (CHANGES, None)), (Flip(), (Flip(), Flip()))):
        nets, alone = [network(), network()], [network(), network()]
        cnn.train_many(nets, IMAGES, LABELS, augment=given, **options)
        for net, other, changes in zip(nets, alone, own, strict=True):
            other.fit(IMAGES, LABELS, augment=changes, **options)
            np.testing.assert_array_equal(net.flat, other.flat)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Shift(0), ValueError, "pixels must be an integer >= 1, got 0"),
        (lambda: Shift(1.5), TypeError, "pixels must be an integer >= 1, got 1.5"),  # type: ignore[arg-type]
        (lambda: Shift((0, 0)), ValueError, "pixels must not be 0 along both axes"),
        (lambda: Shift((1, 2, 3)), ValueError, "pixels must be an integer or two, along y and x"),  # type: ignore[arg-type]
        (lambda: Shift(1, "wrap"), ValueError, "outside must be 'zeros', 'edge' or 'reflect'"),  # type: ignore[arg-type]
        (lambda: Flip(False), ValueError, "Flip needs horizontal or vertical"),
        (lambda: Flip(1), TypeError, "horizontal must be True or False"),  # type: ignore[arg-type]
        (lambda: Cutout((0, 2)), ValueError, "size must be an integer >= 1, got 0"),
        (lambda: Noise(0), ValueError, "stddev must be in (0, inf)"),
        (lambda: augment.all_of("flip"), TypeError, "augment must be cnn.augment.Shift, cnn.augment.Flip"),  # type: ignore[arg-type]
        (lambda: augment.all_of(3), TypeError, "augment must be one of cnn.augment.Shift"),  # type: ignore[arg-type]
        (lambda: augment.all_of([Flip()] * 17), ValueError, "augment must be 16 changes at most, got 17"),
    ],
)
def test_bad_arguments_are_named(make: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=re.escape(text)):
        make()


@pytest.mark.parametrize(
    ("layers", "X", "changes", "text"),
    [
        ([cnn.Dense(3)], IMAGES.reshape(200, -1), Noise(0.1), "augment changes images and signals, and these are rows"),
        ([cnn.Flatten(), cnn.Dense(3)], IMAGES, Shift(8), "moves images of 8 x 8 pixels out of themselves"),
        ([cnn.Flatten(), cnn.Dense(3)], IMAGES, Cutout(9), "is larger than images of 8 x 8 pixels"),
        ([cnn.Conv1D(2, 3), cnn.Flatten(), cnn.Dense(3)], IMAGES[..., 0], Flip(vertical=True),
         "needs images of more than one row of pixels"),
    ],
)  # fmt: skip
def test_what_can_not_be_changed_is_refused_at_once(layers: Any, X: Any, changes: Any, text: str) -> None:
    net = cnn.Network(layers, "cross_entropy")
    with pytest.raises(ValueError, match=re.escape(text)):
        net.fit(X, LABELS, augment=changes, verbose=0)
    assert net.known_inputs is None


@pytest.mark.parametrize("change", [Shift((1, 2), "edge"), Flip(vertical=True), Cutout(3), Noise(0.5)])
def test_changes_can_be_written_and_read(change: Any, tmp_path: Path) -> None:
    container.write(tmp_path / "x", "network", {"change": describe(change)}, {})
    with container.read(tmp_path / "x") as contents:
        assert revive(contents, contents.payload["change"], augment.Augmentation) == change
    assert eval(repr(change), vars(augment)) == change
