"""Images and signals through the Python layer: shapes, errors, streams, checkpoints; uint8 kept and scaled."""

from __future__ import annotations

import copy
import pickle
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn
from cnn.inspect.diagnosis import diagnose
from cnn.inspect.gradient_check import gradient_check
from cnn.runtime import data

RNG = np.random.default_rng(0)
IMAGES = RNG.random((40, 6, 5, 2))
LABELS = np.arange(40) % 3
FLAT = IMAGES.reshape(40, -1)


def network(*, flatten: bool = True, dtype: Any = "float64", **options: Any) -> cnn.Network:
    """With images, or the same network of their numbers."""
    layers = [cnn.Flatten()] if flatten else []
    return cnn.Network([*layers, cnn.Dense(7, "tanh"), cnn.Dense(3)], "cross_entropy", dtype=dtype, seed=3, **options)


def with_weights_of(net: cnn.Network, shape: Any) -> cnn.Network:
    """The dense network with the weights of one that begins with Flatten: their seeds count layers."""
    dense = network(flatten=False, dtype=net.dtype).build(60)
    made = net.build(shape)
    dense.set_weights({f"layers.{i - 1}.{p}": made.get_weights()[f"layers.{i}.{p}"] for i in (1, 2)
                       for p in ("weights", "biases")})  # fmt: skip
    dense.seed = net.seed
    return dense


def test_a_network_for_images_is_that_of_their_numbers() -> None:
    net = network()
    dense = with_weights_of(net, IMAGES.shape[1:])
    options: dict[str, Any] = {"epochs": 4, "batch_size": 16, "verbose": 0}
    here = net.fit(IMAGES, LABELS, validation_data=(IMAGES[:9], LABELS[:9]), **options)
    there = dense.fit(FLAT, LABELS, validation_data=(FLAT[:9], LABELS[:9]), **options)
    assert here.loss == there.loss
    assert here.val_loss == there.val_loss
    assert net.input_shape == (6, 5, 2)
    for X in (IMAGES, FLAT, np.asfortranarray(IMAGES), IMAGES[:, ::-1][:, ::-1], IMAGES.tolist()):
        np.testing.assert_array_equal(net.predict(X), dense.predict(FLAT))
    np.testing.assert_array_equal(net.predict(IMAGES[:1]), dense.predict(FLAT)[:1])
    np.testing.assert_array_equal(net.predict_classes(IMAGES), dense.predict_classes(FLAT))
    assert net.predict(IMAGES[:0]).shape == (0, 3)
    out = np.empty((40, 3))
    assert net.predict(IMAGES, out=out) is out
    np.testing.assert_array_equal(out, dense.predict(FLAT))
    assert net.evaluate(IMAGES, LABELS) == dense.evaluate(FLAT, LABELS)


def test_gradients_have_the_shape_of_images() -> None:
    net = network()
    dense = with_weights_of(net, IMAGES.shape[1:])
    loss, gradients = net.loss_and_gradient(IMAGES, LABELS)
    expected, others = dense.loss_and_gradient(FLAT, LABELS)
    assert loss == expected
    np.testing.assert_array_equal(gradients["layers.1.weights"], others["layers.0.weights"])
    np.testing.assert_array_equal(net.forward(IMAGES), dense.forward(FLAT))
    dout = RNG.normal(size=(40, 3))
    dX = net.backward(dout)
    assert dX is not None
    assert dX.shape == IMAGES.shape
    np.testing.assert_array_equal(dX.reshape(40, -1), dense.backward(dout))
    assert gradient_check(net, IMAGES, LABELS).error < 1e-7
    assert len(diagnose(net, IMAGES, LABELS).layers) == 2


def test_outputs_of_layers_have_their_shapes() -> None:
    net = cnn.Network([cnn.Dropout(0.5), cnn.Flatten(), cnn.Dense(3)], seed=0).build((6, 5, 2))
    shapes = [outputs.shape for outputs in net.layer_outputs(IMAGES)]
    assert shapes == [(40, 6, 5, 2), (40, 60), (40, 3)]
    np.testing.assert_array_equal(net.layer_outputs(IMAGES)[0], IMAGES.astype(np.float32))


def test_images_without_channels_and_rows_of_numbers_can_be_flattened() -> None:
    for X in (IMAGES[..., 0], FLAT):
        net = network()
        net.fit(X, LABELS, epochs=1, verbose=0)
        assert net.input_shape == X.shape[1:]
        assert net.predict(X).shape == (40, 3)


def test_many_networks_share_images() -> None:
    nets = [network() for _ in range(3)]
    alone = network()
    cnn.train_many(nets, IMAGES, LABELS, epochs=2, batch_size=8, verbose=0)
    alone.fit(IMAGES, LABELS, epochs=2, batch_size=8, verbose=0)
    for net, out in zip(nets, cnn.predict_many(nets, IMAGES), strict=True):
        np.testing.assert_array_equal(net.flat, alone.flat)
        np.testing.assert_array_equal(out, alone.predict(IMAGES))
    some = [network() for _ in range(2)]
    cnn.train_many(some, [IMAGES, IMAGES[:, :5]], LABELS, epochs=1, verbose=0, rows=np.arange(5, 30))
    assert [net.input_shape for net in some] == [(6, 5, 2), (5, 5, 2)]


@pytest.mark.parametrize("stream", ["batches", "arrays"])
def test_streams_of_images(stream: str) -> None:
    net, other = network(), network()
    batches = [(IMAGES[i : i + 10], LABELS[i : i + 10]) for i in range(0, 40, 10)]
    given: Any = (batches,) if stream == "batches" else (IMAGES, LABELS)
    options: dict[str, Any] = {"epochs": 2, "batch_size": 8, "verbose": 0, "shuffle": False}
    net.fit(*given, stream=stream == "arrays", validation_data=(IMAGES, LABELS), **options)
    other.fit(IMAGES, LABELS, **options)
    np.testing.assert_array_equal(net.flat, other.flat)
    with pytest.raises(ValueError, match=r"X.* must have shape \(rows, 6, 5, 2\) for this network, got shape"):
        net.fit([(IMAGES[:, 1:], LABELS)], verbose=0)


def test_a_parquet_file_holds_no_images(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"a": [1.0, 2.0], "y": [0, 1]}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="is a table, and the network takes images: give arrays or batches"):
        network().fit(tmp_path / "t.parquet", "y", verbose=0)


def test_resumed_fits_of_images_go_on_to_the_same_bits(tmp_path: Path) -> None:
    whole, first, second = network(), network(), network()
    whole.fit(IMAGES, LABELS, epochs=4, verbose=0, batch_size=8)
    first.fit(IMAGES, LABELS, epochs=2, verbose=0, batch_size=8, initial_epoch=0, callbacks=[cnn.Checkpoint(tmp_path)])
    options: dict[str, Any] = {"verbose": 0, "batch_size": 8, "callbacks": [cnn.Checkpoint(tmp_path)]}
    with pytest.raises(ValueError, match=r"of another network: n_inputs is \(6, 5, 2\) there, \(5, 6, 2\) here"):
        network().fit(IMAGES.reshape(40, 5, 6, 2), LABELS, epochs=4, initial_epoch=0, resume=tmp_path, **options)
    second.fit(IMAGES, LABELS, epochs=4, initial_epoch=0, resume=tmp_path, **options)
    np.testing.assert_array_equal(second.flat, whole.flat)
    whole.save(tmp_path / "net.cnn")
    again = cnn.load(tmp_path / "net.cnn")
    np.testing.assert_array_equal(again.predict(IMAGES), whole.predict(IMAGES))


CONV = [cnn.Conv2D(4, 5), cnn.Flatten(), cnn.Dense(3)]
BUILT = network().build((6, 5, 2))
BAD = IMAGES.copy()
BAD[3, 4, 2, 1] = np.nan


@pytest.mark.parametrize(
    ("X", "text"),
    [
        (IMAGES[:, 1:], "X must have shape (rows, 6, 5, 2) for this network, got shape (40, 5, 5, 2)"),
        (IMAGES[..., :1], "X must have shape (rows, 6, 5, 2) for this network, got shape (40, 6, 5, 1)"),
        (IMAGES[0], "got shape (6, 5, 2); for one image use X[None]"),
        (np.moveaxis(IMAGES, -1, 1), "got shape (40, 2, 6, 5); channels come last: np.moveaxis(X, 1, -1)"),
        (FLAT[:, 1:], "X must have shape (rows, 6, 5, 2) for this network, got shape (40, 59)"),
        (FLAT[0], "X must have shape (rows, 6, 5, 2) for this network, got shape (60,)"),
        (BAD, "X holds nan at image 3, y 4, x 2, channel 1; fill or drop such values first"),
    ],
)
def test_wrong_images_are_named(X: Any, text: str) -> None:
    before = BUILT.flat.copy()
    for call in (
        BUILT.predict, BUILT.forward, BUILT.layer_outputs, lambda X: BUILT.evaluate(X, LABELS),
        lambda X: BUILT.predict(X, out=np.empty((len(X), 3))), lambda X: BUILT.fit(X, LABELS, verbose=0),
        lambda X: cnn.predict_many([BUILT], X),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=re.escape(text)):
            call(X)
    np.testing.assert_array_equal(BUILT.flat, before)
    assert BUILT.step == 0


@pytest.mark.parametrize(
    ("layers", "X", "text"),
    [
        (CONV, IMAGES[..., 0], "X must have shape (rows, height, width, channels), got shape (40, 6, 5); a last axis "
         "of 1 makes images of one channel: X[..., None]"),
        (CONV, FLAT, "got shape (40, 60); build the network for flat rows first: net.build((height, width, channels))"),
        (CONV, IMAGES[:0], "X has no rows: shape (0, 6, 5, 2)"),
        (CONV, IMAGES[:, :, :0], "X has empty images: shape (40, 6, 0, 2)"),
        (CONV, IMAGES[:, :4], "Conv2D has a kernel that reaches over 5 x 5 pixels, and the images have 4 x 5"),
        (CONV[1:], FLAT[:, :0], "X has no columns: shape (40, 0)"),
        ([cnn.Conv1D(2, 3), *CONV[1:]], FLAT, "X must have shape (rows, length, channels), got shape (40, 60); a last "
         "axis of 1 makes signals of one channel: X[..., None]"),
        ([cnn.Conv1D(2, 3), cnn.Dense(3)], IMAGES[..., 0], "Dense takes rows of numbers, and gets images of shape"),
        ([cnn.Dense(3)], IMAGES[..., 0], "X must have two dimensions (rows, inputs), got shape (40, 6, 5)"),
        (CONV[1:], IMAGES[None], "X must have shape (rows, inputs) or (rows, length, channels) or (rows, height,"),
    ],
)  # fmt: skip
def test_wrong_first_images_are_named(layers: Any, X: Any, text: str) -> None:
    net = cnn.Network(layers, "cross_entropy")
    for options in ({}, {"stream": True}):
        with pytest.raises(ValueError, match=re.escape(text[2 if text.startswith("X ") else 0 :])):
            net.fit(X, LABELS[: len(X)], verbose=0, **options)
        assert net.known_inputs is None


def test_channels_that_stand_first_are_warned_of() -> None:
    net = network()
    with pytest.warns(UserWarning, match=re.escape("give np.moveaxis(X, 1, -1)")):
        net.fit(RNG.random((4, 3, 8, 8)), LABELS[:4], epochs=1, verbose=0)


def test_numbers_that_are_not_finite_are_found_in_signals() -> None:
    net = network().build((6, 10))
    X = IMAGES.reshape(40, 6, 10).copy()
    X[7, 5, 9] = np.inf
    with pytest.raises(ValueError, match="X holds inf at row 7, position 5, channel 9"):
        net.predict(X)


# uint8 ----------------------------------------------------------------------------------------------------------------

BYTES = RNG.integers(0, 256, (40, 6, 5, 2), dtype=np.uint8)
BYTES[0, 0, 0, 0], BYTES[0, 0, 0, 1] = 0, 255


def as_numbers(X: Any, dtype: Any) -> Any:
    """What the core makes of bytes."""
    return X.astype(dtype) * np.dtype(dtype).type(1 / 255)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 1), (6, 5, 2), (9, 7, 1), (8, 8, 1), (1, 65, 1), (13, 11, 3)])
@pytest.mark.parametrize("rows", [1, 3, 16, 33, 150])
def test_bytes_are_scaled_to_the_bits_of_numbers(dtype: str, shape: Any, rows: int) -> None:
    X = RNG.integers(0, 256, (rows, *shape), dtype=np.uint8)
    net, other = (cnn.Network([cnn.Flatten(), cnn.Dense(5, "tanh"), cnn.Dense(2)], dtype=dtype, seed=1).build(shape)
                  for _ in range(2))  # fmt: skip
    numbers, y, before = as_numbers(X, dtype), RNG.normal(size=(rows, 2)), X.copy()
    X.flags.writeable = False
    for given in (X, X.reshape(rows, -1), np.asfortranarray(X)):
        np.testing.assert_array_equal(net.predict(given), net.predict(numbers))
        np.testing.assert_array_equal(net.predict(given, n_threads=2), net.predict(numbers))
    np.testing.assert_array_equal(net.forward(X), net.forward(numbers))
    assert net.backward(np.ones((rows, 2))) is not None
    assert net.loss_and_gradient(X, y)[0] == net.loss_and_gradient(numbers, y)[0]
    assert net.evaluate(X, y) == net.evaluate(numbers, y)
    for options in ({"batch_size": 7}, {"batch_size": 64, "shuffle": False}):
        net.fit(X, y, epochs=2, verbose=0, validation_data=(X, y), **options)
        other.fit(numbers, y, epochs=2, verbose=0, **options)
        np.testing.assert_array_equal(net.flat, other.flat)
    np.testing.assert_array_equal(X, before)


def test_wide_networks_and_convolutions_read_bytes() -> None:
    X = RNG.integers(0, 256, (70, 12, 10, 1), dtype=np.uint8)
    numbers, y = as_numbers(X, np.float32), np.arange(70) % 3
    for layers in (
        [cnn.Flatten(), cnn.Dense(600, "relu"), cnn.Dense(3)],
        [cnn.Conv2D(4, 3, activation="relu"), cnn.MaxPool2D(2), cnn.Flatten(), cnn.Dense(3)],
    ):
        net, other = (cnn.Network(layers, "cross_entropy", seed=0) for _ in range(2))
        net.fit(X, y, epochs=2, verbose=0, validation_split=0.2)
        other.fit(numbers, y, epochs=2, verbose=0, validation_split=0.2)
        np.testing.assert_array_equal(net.flat, other.flat)
        assert net.history["val_loss"] == other.history["val_loss"]
        for n in (1, 5, 70):
            np.testing.assert_array_equal(net.predict(X[:n]), other.predict(numbers[:n]))
        np.testing.assert_array_equal(net.layer_outputs(X)[0], other.layer_outputs(numbers)[0])
        np.testing.assert_array_equal(cnn.predict_many([net, net], X)[1], other.predict(numbers))
        np.testing.assert_array_equal(cnn.predict_many([net, net], np.tile(X, (40, 1, 1, 1)))[1][:70], net.predict(X))


def test_mapped_bytes_are_never_copied_whole(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", BYTES)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    net, other = network(), network()
    net.fit(mapped, LABELS, epochs=2, batch_size=8, verbose=0)
    other.fit(BYTES, LABELS, epochs=2, batch_size=8, verbose=0, class_weight={0: 1.0, 1: 1.0, 2: 1.0})
    np.testing.assert_array_equal(net.flat, other.flat)
    rows = data.prepare(mapped, LABELS, None, net.loss, net.dtype, net.takes, 3)
    assert np.shares_memory(rows.X, mapped)
    assert rows.X.dtype == np.uint8
    streamed = network()
    streamed.fit(mapped, LABELS, epochs=2, batch_size=8, verbose=0, stream=True, shuffle=False)
    whole = network()
    whole.fit(BYTES, LABELS, epochs=2, batch_size=8, verbose=0, shuffle=False, class_weight="balanced")
    again = network()
    again.fit([(BYTES, LABELS)], epochs=2, batch_size=8, verbose=0, class_weight="balanced")
    np.testing.assert_array_equal(again.flat, whole.flat)
    with pytest.raises(cnn.StreamError, match="batch 2 has no uint8 images, but the first one has some"):
        streamed.fit([(BYTES, LABELS), (IMAGES, LABELS)], epochs=1, verbose=0)


def test_tables_of_bytes_are_not_scaled() -> None:
    X = BYTES.reshape(40, -1)
    net = network(flatten=False).build(60)
    np.testing.assert_array_equal(net.predict(X), net.predict(X.astype(float)))
    flat = network()
    flat.fit(X, LABELS, epochs=1, verbose=0)
    np.testing.assert_array_equal(flat.predict(X), flat.predict(X.astype(float)))
    assert flat.pixels is None


def test_networks_remember_what_images_they_know(tmp_path: Path) -> None:
    net = network()
    assert net.pixels is None
    net.fit(BYTES, LABELS, epochs=1, verbose=0)
    net.save(tmp_path / "net.cnn")
    loaded = cnn.load(tmp_path / "net.cnn")
    for known in (net, loaded, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert known.pixels == "bytes"
        known.predict(IMAGES)  # in [0, 1]
        for n in (1, 40):
            X, y = 255 * IMAGES[:n], LABELS[:n]
            for call in (
                partial(known.predict, X), partial(known.forward, X), partial(known.predict_classes, X),
                partial(known.evaluate, X, y), partial(cnn.predict_many, [known, known], X),
                partial(known.fit, X, y, epochs=0, verbose=0),
            ):  # fmt: skip
                known.pixels = "bytes"
                with pytest.warns(UserWarning, match=r"X holds numbers from .* trained on bytes \(uint8\)") as said:
                    call()
                assert len(said) == 1
    net.fit(IMAGES, LABELS, epochs=1, verbose=0)
    assert net.pixels == "bytes"
    other = network()
    other.fit(300 * IMAGES, LABELS, epochs=1, verbose=0)
    assert other.pixels == "beyond"
    for n in (1, 40):
        with pytest.warns(UserWarning, match=r"X holds bytes \(uint8\), which are scaled to \[0, 1\]") as said:
            other.predict(BYTES[:n])
        assert len(said) == 1
    with pytest.warns(UserWarning, match="validation X holds numbers from"):
        network().fit(BYTES, LABELS, validation_data=(300 * IMAGES, LABELS), epochs=1, verbose=0)
    with pytest.warns(UserWarning, match="validation X holds bytes"):
        network().fit(300 * IMAGES, LABELS, validation_data=(BYTES, LABELS), epochs=1, verbose=0)
