"""Networks of images keep the promises of all: bits, files, checkpoints, many at once, diagnosis, other processes."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import BLAS, Break, same_bits
from image_networks import STACKS, build, data, stack

import cnn
from cnn.training import loop

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
EACH = pytest.mark.parametrize("name", STACKS)


def numbers(history: cnn.History) -> dict[str, list[float]]:
    return {name: values for name, values in history.to_dict().items() if name != "seconds"}


def typed(net: cnn.Network, rows: int) -> tuple[Any, Any]:
    X, y = data(net, rows)
    return X.astype(net.dtype), y.astype(net.dtype)


@DTYPES
@EACH
def test_threads_change_no_bit_of_a_fit(name: str, dtype: str) -> None:
    nets = [stack(name, dtype) for _ in range(4)]
    X, y = typed(nets[0], 290)
    for net, n_threads in zip(nets, (1, 2, 3, 4), strict=True):
        for batch_size in (290, 128, 33):
            net.fit(X, y, epochs=1, batch_size=batch_size, validation_data=(X[:50], y[:50]), verbose=0,
                    n_threads=n_threads)  # fmt: skip
    for net in nets[1:]:
        assert same_bits(net, nets[0])
        assert numbers(net.history) == numbers(nets[0].history)
    assert np.isfinite(nets[0].flat).all()


@DTYPES
@EACH
def test_a_row_has_the_same_bits_in_any_company(name: str, dtype: str) -> None:
    net = stack(name, dtype)
    X, _ = typed(net, 300)
    whole = net.predict(X)
    for n_threads in (1, 2, 3, 4):
        assert net.predict(X, n_threads=n_threads).tobytes() == whole.tobytes()
    assert net.predict(np.asfortranarray(X)).tobytes() == whole.tobytes()
    X.flags.writeable = False
    assert net.predict(X[::-1])[::-1].tobytes() == whole.tobytes()
    for begin, n in ((0, 1), (299, 1), (7, 2), (20, 8), (31, 9), (100, 64), (3, 65)):
        part = net.predict(X[begin : begin + n])
        if BLAS:
            np.testing.assert_allclose(part, whole[begin : begin + n], rtol=1e-4, atol=1e-5)
        else:
            assert part.tobytes() == whole[begin : begin + n].tobytes(), (begin, n)
    out = np.empty_like(whole)
    assert net.predict(X, out=out) is out
    assert out.tobytes() == whole.tobytes()


@DTYPES
@EACH
def test_gradients_have_the_same_bits_for_all_threads(name: str, dtype: str) -> None:
    net = stack(name, dtype)
    X, y = typed(net, 150)
    found = [net.loss_and_gradient(X, y, training=True, n_threads=n) for n in (1, 2, 3, 4)]
    for loss, gradient in found[1:]:
        assert loss == found[0][0]
        for what, g in gradient.items():
            assert g.tobytes() == found[0][1][what].tobytes(), what
    passes = []
    for n_threads in (1, 2, 3, 4):
        out = net.forward(X, training=True, n_threads=n_threads)
        dX = net.backward(out - y)
        assert dX is not None
        passes.append((out.tobytes(), dX.tobytes(), *(g.tobytes() for g in net.gradients.values())))
    assert set(passes) == {passes[0]}


@DTYPES
@EACH
def test_files(name: str, dtype: str, tmp_path: Path) -> None:
    net = stack(name, dtype)
    X, y = typed(net, 60)
    net.fit(X, y, epochs=1, batch_size=20, verbose=0)
    net.save(tmp_path / "m.cnn")
    again = cnn.load(tmp_path / "m.cnn", cnn.Network)
    assert again.descriptions == net.descriptions
    assert again.input_shape == net.input_shape == X.shape[1:]
    for other in (again, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert other.predict(X).tobytes() == net.predict(X).tobytes()
        assert other.flat.tobytes() == net.flat.tobytes()


@pytest.mark.parametrize("name", ["lenet", "depthwise", "dropouts and noise", "signals", "wide convolutions"])
def test_checkpoints_go_on_to_the_same_bits(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_PIECE_SECONDS", 2e-6)  # there are moments within an epoch

    def fit(*callbacks: cnn.Callback, **options: Any) -> cnn.Network:
        net = stack(name)
        X, y = data(net, 60)
        net.fit(X, y, epochs=3, batch_size=9, validation_split=0.2, verbose=0, callbacks=list(callbacks), **options)
        return net

    whole = fit()
    checkpoint = cnn.Checkpoint(tmp_path / "kept", 2, "steps")
    for n in (1, 3, 5):
        with pytest.raises(KeyboardInterrupt):
            fit(checkpoint, Break(n), resume=tmp_path / "kept")
    assert same_bits(fit(checkpoint, resume=tmp_path / "kept"), whole)


@DTYPES
def test_many_networks_have_the_bits_of_each_alone(dtype: str) -> None:
    names = [name for name, (shape, _) in STACKS.items() if shape == (6, 6, 2) or name == "same"]

    def nets() -> list[cnn.Network]:
        return [build((6, 6, 2), STACKS[name][1], dtype, seed) for seed, name in enumerate(names)]

    together, alone = nets(), nets()
    X, y = typed(alone[0], 100)
    cnn.train_many(together, X, y, epochs=3, batch_size=32, verbose=0, n_threads=2)
    for a, b in zip(together, alone, strict=True):
        b.fit(X, y, epochs=3, batch_size=32, verbose=0)
        assert same_bits(a, b)
    for found, net in zip(cnn.predict_many(together, X), alone, strict=True):
        assert found.tobytes() == net.predict(X).tobytes()
    assert len(together) >= 2


def test_gradient_check_and_diagnosis_take_images() -> None:
    net = stack("same")
    X, y = data(net, 20)
    assert cnn.gradient_check(net, X, y).error < 1e-7
    assert cnn.diagnose(net, X, y).layers


def test_a_network_learns_where_bars_stand() -> None:
    """Whether a bright bar stands upright or lies, which no pixel tells."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(0, 0.3, (600, 9, 9, 1)).astype(np.float32), rng.integers(0, 2, 600)
    for image, upright in zip(X, y, strict=True):
        r, c = rng.integers(1, 8), rng.integers(1, 8)
        image[slice(r - 1, r + 2) if upright else r, c if upright else slice(c - 1, c + 2)] += 1.5
    layers = [cnn.Conv2D(8, 3, activation="relu"), cnn.GlobalMaxPool2D(), cnn.Dense(2)]
    net = cnn.Network(layers, loss="cross_entropy", optimizer=cnn.Adam(0.01), seed=0)
    net.fit(X[:400], y[:400], epochs=40, batch_size=32, verbose=0)
    assert (net.predict_classes(X[400:]) == y[400:]).mean() > 0.93
